"""The contrast transforms inside Keras' and TensorFlow's input pipelines."""

import contextlib
import functools
import hashlib
import mmap
import multiprocessing
import operator
import os
import re
import reprlib
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np

from augment_utils.contrast import NUMBER, TOLERANCE, Fault, find_fault, refuse_unless_good

Transform = Callable[[np.ndarray], np.ndarray]
By = Literal["content", "order"]


def as_preprocessing_function(
    transform: Transform,
    probability: float = 1.0,
    value_range: tuple[float, float] = (0, 255),
    seed: int | None = None,
    by: By = "content",
) -> "_Bridge":
    """Make a transform into an ``ImageDataGenerator``'s ``preprocessing_function``.

    Parameters
    ----------
    transform : callable
        Takes a float image in 0..1, (H, W, C), and returns such an image; for instance
        :func:`augment_utils.clahe`, or a ``functools.partial`` of it.
    probability : float
        Share of the images that are transformed, 0..1. At 1 this is preprocessing; below
        1 it is augmentation, because an image can look different in every epoch.
    value_range : (float, float)
        The range that the generator's images come in. ``rescale`` is applied after the
        function, so this is usually (0, 255). Images in 0..1 lie inside that range, too, and
        are taken to be nearly black, with one warning: for them say (0, 1).
    seed : int or None
        Of the choice of images. None draws anew each time. With a seed, the same images are
        chosen again by any number of threads and of forked worker processes, in each epoch
        others. Spawned workers (as on Windows and macOS), which get a copy, draw anew.
    by : {"content", "order"}
        What a seed's choice hangs on: an image's content and how often it has come by; or
        the number of the call. Two functions with one seed and "order" keep two streams in
        step (two resolutions, say), if both get their images one by one, in one thread.

    Returns
    -------
    callable
        (H, W, C) float in ``value_range`` to a new array of the same shape, dtype and range;
        uint8 and uint16 too, if the range is theirs, rounded. It can be pickled if the
        transform can. With a seed it keeps a table of 16 MB: from some 100,000 different
        images on, one may be counted with another, so that the order plays a part.

    Raises
    ------
    TypeError, ValueError
        An argument is impossible; or, when called, another type, values outside the range,
        what the transform refuses, or what it gives back: it has to keep shape and range.
    """
    return _Bridge(transform, value_range, _Chooser(probability, seed, by))


def as_dataset_map(
    transform: Transform,
    probability: float = 1.0,
    seed: int | None = None,
    value_range: tuple[float, float] = (0, 1),
    by: By = "content",
) -> "_DatasetMap":
    """Make a transform into a function for :meth:`tf.data.Dataset.map`.

    Use it on batches, and prefetch after it::

        dataset.batch(64).map(as_dataset_map(clahe), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    Parameters
    ----------
    transform : callable
        Takes and returns images as the transforms of this module do: for instance
        :func:`augment_utils.clahe`, or a ``functools.partial`` of it.
    probability, seed, by
        As in :func:`as_preprocessing_function`, for each image of a batch. For two maps in
        step with "order", leave out ``num_parallel_calls``.
    value_range : (float, float)
        The range of float images: (0, 255) for Keras' ``image_dataset_from_directory``. The
        transform gets them in 0..1.

    Returns
    -------
    callable
        Takes an element and returns it with its images transformed, dtype and static shape
        kept: uint8, uint16 or float, (N, H, W, C) or (H, W, C). They are the first part that
        has so many axes; a dict may have but one.

    Raises
    ------
    TypeError, ValueError
        An argument is impossible, or an element has no such images, or none of one size. What
        the images' numbers are to blame for, and what the transform refuses, reaches the
        reader of the dataset as TensorFlow's ``InvalidArgumentError``, in the same words.
    """
    with quiet_startup():
        import tensorflow  # noqa: F401 - slow to import, and needed only here
    return _DatasetMap(transform, value_range, _Chooser(probability, seed, by))


@contextlib.contextmanager
def quiet_startup() -> Iterator[None]:
    """Keep quiet while TensorFlow is imported; use as ``with quiet_startup(): import ...``.

    Its compiled part writes lines with timestamps straight to the process's standard error, which
    no setting stops and a notebook would show. They are left out; what any thread writes there
    meanwhile comes afterwards. If it is not installed, the error names the extra that brings it.
    """
    with contextlib.ExitStack() as stack:
        heard = None
        with contextlib.suppress(AttributeError, OSError, ValueError):  # if there is none
            sys.stderr.flush()
            kept = os.dup(2)
            stack.callback(os.close, kept)
            file = stack.enter_context(tempfile.TemporaryFile())
            os.dup2(file.fileno(), 2)
            heard = file
        try:
            yield
        except ModuleNotFoundError as missing:
            missing.msg += "; TensorFlow comes with augment-utils' extra `notebooks`"
            raise
        finally:
            if heard:
                sys.stderr.flush()
                os.dup2(kept, 2)
                heard.seek(0)
                for line in heard:
                    if not STARTUP_LINE.match(line):
                        os.write(2, line)


STARTUP_LINE = re.compile(rb"WARNING: All log messages before absl|[IWEF]\d{4} |\d{4}-\d\d-\d\d ")


def check_range(value_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError, OverflowError):
        low = high = np.nan
    if not (low < high and np.isfinite(high - low)):
        raise ValueError(
            f"got value_range={value_range!r}, expected (low, high) with low < high, such as "
            "`value_range=(0, 255)` or (0, 1)"
        )
    return low, high


def check_probability(probability: float) -> None:
    if not (isinstance(probability, NUMBER) and 0 <= probability <= 1):
        raise ValueError(
            f"got probability={probability!r}, expected a share of images, 0..1, such as "
            "`probability=0.5`"
        )


def check_seed(seed: int | None) -> int | None:
    try:
        return None if seed is None else operator.index(seed)
    except TypeError:
        raise TypeError(f"got seed={seed!r}, expected an int or None, such as `seed=0`") from None


class _Bridge:
    """A function of images in a range; the transform gets some of them, in 0..1."""

    def __init__(self, transform, value_range, choose):
        if not callable(transform):
            raise TypeError(
                f"got {reprlib.repr(transform)} as transform, expected a function of images, such "
                "as `clahe`"
            )
        self.transform, self.value_range = transform, check_range(value_range)
        self.choose, self.warned = choose, False

    def __call__(self, image):
        ends = refuse_unless_good(image, self.value_range)
        image = np.asarray(image)
        return self._in_range(image, ends) if self.choose(image) else np.array(image)

    def _in_range(self, images, ends):
        (low, high), dtype = self.value_range, images.dtype
        if dtype == np.float16:  # too coarse to reckon with
            images = images.astype(np.float32)
        if ends and ends[1] <= 1 and low >= 0 and high > 2 and not self.warned:
            self._warn_of_another_range(images)
        result = self._checked(np.clip((images - low) / (high - low), 0, 1)) * (high - low) + low
        result = np.clip(result, -65504, 65504) if dtype == np.float16 else result
        return (np.rint(result) if dtype.kind == "u" else result).astype(dtype)

    def _warn_of_another_range(self, images):
        # more than half of them fractions: no dark picture of whole grey levels
        if 2 * np.count_nonzero(images % 1) > images.size:
            self.warned = True
            warnings.warn(
                "got floats up to {:.3g} where value_range is {:g} to {:g}, so that they count "
                "as nearly black; for floats in 0..1: `value_range=(0, 1)`".format(
                    images.max(), *self.value_range
                ),
                stacklevel=4,
            )

    def _checked(self, images):
        """What the transform makes of them, if it keeps shape, dtype and range."""
        result = self.transform(images)
        is_array = isinstance(result, np.ndarray) and not isinstance(result, np.ma.MaskedArray)
        if is_array and result.shape == images.shape:
            if result.dtype == images.dtype and images.dtype.kind == "u":
                return result
            if result.dtype.kind == images.dtype.kind == "f":
                low, high = result.min(), result.max()
                if low >= -TOLERANCE and high <= 1 + TOLERANCE:
                    return result if low >= 0 and high <= 1 else np.clip(result, 0, 1)
        raise _wrong_result(result, images, _name(self.transform))


class _DatasetMap(_Bridge):
    """The same for the images of a dataset's element."""

    def __call__(self, *element):
        import tensorflow as tf

        parts = tf.nest.flatten(element)
        ranks = [tf.TensorShape(getattr(part, "shape", ())).rank for part in parts]
        places = [place for place, rank in enumerate(ranks) if rank not in (0, 1, 2)]
        places = [place for place in places if ranks[place] == 4] or places  # no key points
        is_one = places and isinstance(parts[places[0]], (tf.Tensor, tf.Variable, np.ndarray))
        if not is_one or (isinstance(element[0], Mapping) and len(places) > 1):
            raise TypeError(_wrong_element(element, parts, places, _name(self.transform)))
        images = parts[places[0]]
        parts[places[0]] = tf.numpy_function(self._transform_chosen, [images], images.dtype)
        parts[places[0]].set_shape(images.shape)
        mapped = tf.nest.pack_sequence_as(element, parts)
        return mapped if len(element) > 1 else mapped[0]

    def _transform_chosen(self, images):
        transform = self._checked  # whole numbers need no range
        if images.dtype.kind == "f":
            ends = refuse_unless_good(images, self.value_range)
            transform = functools.partial(self._in_range, ends=ends)
        batch = images if images.ndim == 4 else images[np.newaxis]
        chosen = np.array([self.choose(image) for image in batch], bool)
        result = batch.copy()
        if chosen.any():
            result[chosen] = transform(batch[chosen])
        return result.reshape(images.shape)


class _Chooser:
    """Heads or tails for an image, from its content or its place, and the seed."""

    def __init__(self, probability, seed, by):
        check_probability(probability)
        if not isinstance(by, str) or by not in ("content", "order"):
            raise ValueError(f"got by={by!r}, expected content or order, such as `by='content'`")
        self.probability, self.by = probability, by
        self.key = None if seed is None else str(check_seed(seed)).encode()[:64]
        self.counts = self._table()

    def __call__(self, image):
        if self.probability in (0, 1):
            return self.probability == 1
        draw = os.urandom(8)
        if self.key is not None:
            what = np.ascontiguousarray(image).view("u1").data if self.by == "content" else b""
            content = hashlib.blake2b(what, key=self.key).digest()
            again = content + str(self._count(content)).encode()
            draw = hashlib.blake2b(again, key=self.key, digest_size=8).digest()
        return int.from_bytes(draw) / 2**64 < self.probability

    def _table(self):
        """How often each content came by; forked processes share it, and a seed needs it."""
        if self.key is not None and 0 < self.probability < 1:
            return np.frombuffer(mmap.mmap(-1, ROWS * PLACES * 4), np.uint32)
        return None

    def _count(self, content):
        """In a few places, of which others may have some: the least is the number."""
        places = np.frombuffer(content, np.uint32, ROWS) % PLACES + PLACES * np.arange(ROWS)
        with COUNTING:
            self.counts[places] += 1
            return self.counts[places].min()

    def __getstate__(self):
        return self.__dict__ | {"counts": None}

    def __setstate__(self, state):
        self.__dict__ = state
        self.counts = self._table()
        # a copy does not know what the other workers have seen, nor those of the last epoch;
        # parent_process() is not yet set where a process gets its arguments, its name is
        if self.key is not None and multiprocessing.current_process().name != "MainProcess":
            self.key = hashlib.blake2b(os.urandom(16), key=self.key).digest()


ROWS, PLACES = 4, 2**20
COUNTING = threading.Lock()
if hasattr(os, "register_at_fork"):  # or a process could begin with a lock that nobody opens
    os.register_at_fork(
        before=COUNTING.acquire,
        after_in_parent=COUNTING.release,
        after_in_child=COUNTING.release,
    )


# ---- what came back from a transform, or came instead of images


def _name(transform):
    name = getattr(transform, "__name__", "")
    return name if name.isidentifier() else "transform"


def _wrong_result(result, images, name):
    """The error about it, with a function that takes a step towards a good one."""
    fault, dtype, code = find_fault(result), images.dtype, ""
    top = np.iinfo(dtype).max if dtype.kind == "u" else 1
    if result is None:
        advice = "is its return missing?"
    elif isinstance(result, np.ndarray) and result.shape != images.shape:
        fault, advice = None, "it has to keep the shape"
    else:
        advice = "wrap it"
        if fault:
            code = fault.code
        elif result.dtype.kind == "u":
            code = f"images / {np.iinfo(result.dtype).max}"
        else:
            code = f"np.rint({top} * images).astype(np.{dtype})"
        if code:
            code = "lambda images: " + re.sub(r"\bimages\b", f"{name}(images)", code)
    came = fault.came if fault else f"{result.dtype} of shape {result.shape}"
    expected = f"{dtype} in 0..{top} of shape {images.shape}, as it got"
    return ValueError(Fault(f"{came} from {name}", expected, advice, code))


def _wrong_element(element, parts, places, name):
    """The words about an element of which it is not clear what its images are."""
    bridge, more = f"as_dataset_map({name})", ", *rest" if element[1:] else ""
    came = type(parts[places[0]] if places else element[0]).__name__
    if places and not isinstance(element[0], Mapping):  # a ragged tensor
        advice, code = "map them before batching", f"dataset.map({bridge}).ragged_batch(8)"
        return str(Fault(came, "images of one size", advice, code))
    advice, code = "grey images need a last axis", f"{bridge}(images[..., None])"
    if places:
        came, advice = f"a dict of {[*element[0]]}", "say which are the images"
        keys = [key for key, part in element[0].items() if part is parts[places[0]]]
        code = f"images | {{{keys[0]!r}: {bridge}(images[{keys[0]!r}])}}" if keys else ""
    code = f"lambda images{more}: ({code}{more})" if code else ""
    return str(Fault(came, "images, (N, H, W, C) or (H, W, C), in an element", advice, code))
