"""The contrast transforms inside Keras' and TensorFlow's input pipelines."""

import contextlib
import hashlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

import numpy as np

from augment_utils.contrast import NUMBER, as_plain_array

Transform = Callable[[np.ndarray], np.ndarray]
TOLERANCE = 1e-6  # of the range: what rounding in an earlier step may add
STARTUP_LINES = re.compile(rb"(?m)^(WARNING: All log|[IWEF]\d{4} |\d{4}-\d\d-\d\d ).*\n")


def as_preprocessing_function(
    transform: Transform,
    probability: float = 1.0,
    value_range: tuple[float, float] = (0, 255),
    seed: int | None = None,
) -> Transform:
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
        are taken to be nearly black: for them say (0, 1).
    seed : int or None
        Of the choice of images. The choice is drawn for an image's content and for how
        often it has come by, not for the order of calls: the same seed gives the same
        images with any number of threads. None draws anew each time. Counting takes 16 MB.

    Returns
    -------
    callable
        (H, W, C) float in ``value_range`` to a new array of the same shape, dtype and range;
        uint8 too, if the range lies in 0..255, and then the result is rounded.

    Raises
    ------
    TypeError, ValueError
        ``probability`` or ``value_range`` is impossible; or, when called, another type, values
        outside the range, or what the transform refuses.
    """
    choose = _Chooser(probability, seed)
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError, OverflowError):
        low = high = np.nan
    if not (low < high and np.isfinite(high - low)):
        raise ValueError(
            f"got value_range={value_range!r}, expected (low, high) with low < high, "
            "such as (0, 255) or (0, 1)"
        )

    def preprocess(image):
        image = as_plain_array(image)
        is_bytes = image.dtype == np.uint8 and low >= 0 and high <= 255
        if image.dtype.kind != "f" and not is_bytes:
            raise TypeError(f"got dtype {image.dtype}, expected floats in {low:g} to {high:g}")
        if image.size == 0:
            raise ValueError(f"got shape {image.shape}, which holds no pixel; expected (H, W, C)")
        unit = (image - low) / (high - low)
        if not (unit.min() >= -TOLERANCE and unit.max() <= 1 + TOLERANCE):  # or NaN
            raise ValueError(
                f"got values from {image.min():.6g} to {image.max():.6g}, expected the "
                f"value_range {low:g} to {high:g}; pass the range that the generator's images "
                "have before its rescale"
            )
        if not choose(image):
            return np.array(image)
        result = transform(np.clip(unit, 0, 1)) * (high - low) + low
        return (np.rint(result) if is_bytes else result).astype(image.dtype)

    return preprocess


def as_dataset_map(
    transform: Transform, probability: float = 1.0, seed: int | None = None
) -> Callable:
    """Make a transform into a function for :meth:`tf.data.Dataset.map`.

    Use it on batches, and prefetch after it::

        dataset.batch(64).map(as_dataset_map(clahe), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    Parameters
    ----------
    transform : callable
        Takes and returns images as the transforms of this module do: for instance
        :func:`augment_utils.clahe`, or a ``functools.partial`` of it.
    probability, seed
        As in :func:`as_preprocessing_function`, for each image of a batch.

    Returns
    -------
    callable
        Takes images, uint8 in 0..255 or float in 0..1, (N, H, W, C) or (H, W, C), and
        whatever else an element has (labels, weights); returns the same with the images
        transformed, dtype and static shape kept.

    Raises
    ------
    ValueError
        ``probability`` is impossible. What the transform refuses reaches the reader of the
        dataset as TensorFlow's ``InvalidArgumentError``, with the transform's own words.
    """
    with quiet_startup():
        import tensorflow as tf  # slow to import, and needed only here

    choose = _Chooser(probability, seed)

    def transform_chosen(images):
        batch = images if images.ndim == 4 else images[np.newaxis]
        chosen = np.array([choose(image) for image in batch], bool)
        result = batch.copy()
        if chosen.any():
            result[chosen] = transform(batch[chosen])
        return result.reshape(images.shape)

    def mapped(images, *rest):
        result = tf.numpy_function(transform_chosen, [images], images.dtype)
        result.set_shape(images.shape)
        return (result, *rest) if rest else result

    return mapped


@contextlib.contextmanager
def quiet_startup() -> Iterator[None]:
    """Keep quiet while TensorFlow is imported; use as ``with quiet_startup(): import ...``.

    Its compiled part writes lines with timestamps straight to the process's standard error, which
    no setting stops and a notebook would show. They are left out; what any thread writes there
    meanwhile comes afterwards. If it is not installed, the error names the extra that brings it.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except ModuleNotFoundError as missing:
            missing.msg += "; TensorFlow comes with augment-utils' extra `notebooks`"
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            heard.seek(0)
            sys.stderr.write(STARTUP_LINES.sub(b"", heard.read()).decode(errors="replace"))


class _Chooser:
    """Heads or tails for an image, from its content, the seed, and how often it came by."""

    def __init__(self, probability, seed):
        if not (isinstance(probability, NUMBER) and 0 <= probability <= 1):
            raise ValueError(f"got probability={probability!r}, expected a share of images, 0..1")
        self.probability = probability
        self.key = os.urandom(16) if seed is None else str(seed).encode()[:64]
        self.seen = np.zeros((4, 2**20), np.uint32)  # in each row, counts that contents share
        self.lock = threading.Lock()

    def __call__(self, image):
        if self.probability in (0, 1):
            return self.probability == 1
        content = hashlib.blake2b(np.ascontiguousarray(image).data, key=self.key).digest()
        places = range(4), np.frombuffer(content, np.uint32, 4) % 2**20
        with self.lock:
            self.seen[places] += 1
            time = self.seen[places].min()
        draw = hashlib.blake2b(content + str(time).encode(), key=self.key, digest_size=8).digest()
        return int.from_bytes(draw) / 2**64 < self.probability
