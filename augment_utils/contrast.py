"""The four contrast transforms, for one image or a batch, uint8, uint16 or float.

All four share one contract. ``images`` is a grey image ``(H, W)``, an image ``(H, W, 3)`` or
``(H, W, 1)``, or a batch ``(N, H, W, C)``, channels last; uint8 in 0..255, uint16 in 0..65535 or
float in 0..1, where what rounding left outside (by 1e-6 at most) is clipped. The result is a new
array of the same shape, dtype, byte order and range, and a batch gives exactly what its images
give one by one. An image of one grey level comes back unchanged: there is nothing to stretch.
What is refused, is refused with a line of code that takes a step towards images, if one is known.

16 bits are transformed as the floats that they stand for, and rounded; where equalization counts
grey levels one by one it counts all 65,536. 12 bits in 16 can come as they are: they are only dark.

A batch is shared out among as many threads as there are processors (or as the environment
variable AUGMENT_THREADS says), and any number of threads may call at once. Besides the result,
memory is needed for one image in each thread; for float16, another byte order, and images that
do not lie in memory in order, also for a copy of the images. The first call of a transform
compiles it, which takes seconds; the compiled code is kept on disk.

A subclass of NumPy's array, such as ``np.matrix``, counts as the array that it is; a masked array
is refused, because the pixels under its mask would be counted.
"""

import math
import operator
import os
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

import numpy as np

from augment_utils import kernels

Color = Literal["joint", "channel", "value"]
COLORS = {"joint": kernels.JOINT, "channel": kernels.CHANNEL, "value": kernels.VALUE}

BYTES, WORDS = np.dtype(np.uint8), np.dtype(np.uint16)
NUMBER = (int, float, np.integer, np.floating)
TOLERANCE = 1e-6  # of the range: what rounding in an earlier step may add, and is clipped

# Fewer numbers than this in a batch are not worth a second thread.
WORTH_A_THREAD = 2**19
THREADS: ContextVar[int] = ContextVar("threads")  # where set, it decides their number

# A tile can be larger than the image, which is then mirrored to fill it.
LARGEST_TILE_SIDE = 4096


def contrast_stretching(
    images: np.ndarray, low: float = 2.0, high: float = 98.0, color: Color = "joint"
) -> np.ndarray:
    """Stretch the grey levels between two percentiles to the full range.

    With :math:`p` the ``low`` and :math:`q` the ``high`` percentile of the image's grey levels, a
    grey level :math:`x` of the range 0..1 becomes :math:`(x - p) / (q - p)`, clipped to 0..1.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255, uint16 in 0..65535 or float in 0..1.
    low, high : float
        Percentiles, ``0 <= low < high <= 100``. What lies outside is clipped;
        0 and 100 give min–max stretching.
    color : {"joint", "channel", "value"}
        Percentiles of all channels together, of each channel, or of HSV's V,
        which keeps hue and saturation. The default is not that of the other
        transforms, which work on V: with a colour image, write what you mean.

    Returns
    -------
    ndarray
        A new array, same shape, dtype and range as ``images``. If the two percentiles are one and
        the same grey level, everything is clipped to it, as in scikit-image.

    Raises
    ------
    TypeError, ValueError
        Where ``images``, ``low``, ``high`` or ``color`` break the contract.

    References
    ----------
    R. C. Gonzalez and R. E. Woods, *Digital Image Processing*, 4th ed., 2018,
    section 3.2. Agrees with :func:`skimage.exposure.rescale_intensity` between
    the same percentiles to one grey level of 255.
    """
    check_percentiles(low, high)
    pair = kernels.stretch_bytes, kernels.stretch_floats
    return _run(pair, images, as_batch(images), COLORS[check_color(color)], float(low), float(high))


def histogram_equalization(images: np.ndarray, color: Color = "value") -> np.ndarray:
    r"""Map every grey level to its place in the cumulative histogram (HE).

    :math:`s_k = \sum_{j \le k} n_j / n`, where :math:`n_j` of the image's
    :math:`n` pixels have grey level :math:`j`.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255, uint16 in 0..65535 or float in 0..1.
    color : {"joint", "channel", "value"}
        One histogram over all channels, one for each channel, or one of HSV's
        V, which keeps hue and saturation. A grey image has but one. The default
        is not that of :func:`contrast_stretching`.

    Returns
    -------
    ndarray
        A new array, same shape, dtype and range as ``images``.

    Raises
    ------
    TypeError, ValueError
        Where ``images`` or ``color`` break the contract.

    Notes
    -----
    As in scikit-image, whole numbers are counted one by one, while floats (and V, which is
    a float) are counted in 256 bins between the smallest and the largest, and the cumulative
    histogram is interpolated between their centres. scikit-image turns a flat image white.

    References
    ----------
    R. C. Gonzalez and R. E. Woods, *Digital Image Processing*, 4th ed., 2018,
    section 3.3. Agrees with :func:`skimage.exposure.equalize_hist` to one grey
    level of 255.
    """
    pair = kernels.equalize_bytes, kernels.equalize_floats
    batch, unit = as_batch(images), COLORS[check_color(color)]
    if batch.dtype == WORDS and (unit != kernels.VALUE or batch.shape[3] == 1):
        pair = (_equalize_words,) * 2
    return _run(pair, images, batch, unit)


def adaptive_histogram_equalization(
    images: np.ndarray, kernel_size: int | tuple[int, int] | None = None
) -> np.ndarray:
    """Equalize each pixel by the histograms of the tiles around it (AHE).

    Parameters, result and errors as :func:`clahe`, which without a limit (``clip_limit=1``) is AHE.

    References
    ----------
    S. M. Pizer et al., "Adaptive Histogram Equalization and Its Variations",
    *Computer Vision, Graphics, and Image Processing* 39:355–368, 1987. Agrees
    with :func:`skimage.exposure.equalize_adapthist` at ``clip_limit=1`` to one
    grey level of 255.
    """
    return clahe(images, kernel_size, clip_limit=1.0)


def clahe(
    images: np.ndarray,
    kernel_size: int | tuple[int, int] | None = None,
    clip_limit: float = 0.03,
) -> np.ndarray:
    """AHE whose tile histograms are clipped first, so that noise grows less.

    No histogram bin of a tile keeps more than ``clip_limit`` of the tile's
    pixels (though always one pixel); the excess is spread over the other bins.
    Colour images are treated on HSV's V; hue and saturation are kept. V is first stretched to the
    full range, and so is the result: the slope that the limit allows, about ``256 * clip_limit``,
    counts from the stretched V, not from the image's own.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255, uint16 in 0..65535 or float in 0..1.
    kernel_size : int, (int, int) or None
        Height and width of a tile in pixels, each up to 4,096 or the image's side. None: an eighth
        of the image's side, but at least 8. (scikit-image's own default lacks the 8.)
    clip_limit : float
        A fraction of the tile's pixels, 0..1. Smaller means less contrast; 1
        means no clipping, and so does 0, as in scikit-image.

    Returns
    -------
    ndarray
        A new array, same shape, dtype and range as ``images``.

    Raises
    ------
    TypeError, ValueError
        Where ``images``, ``kernel_size`` or ``clip_limit`` break the contract.

    References
    ----------
    K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", *Graphics
    Gems IV*, 474–485, 1994. Agrees with
    :func:`skimage.exposure.equalize_adapthist` to one grey level of 255, but
    for flat images, which scikit-image turns white.
    """
    clip_limit = check_clip_limit(clip_limit)
    batch = as_batch(images)
    tile = sides_of_tile(kernel_size, batch.shape[1:3])
    pair = kernels.clahe_bytes, kernels.clahe_floats
    return _run(pair, images, batch, *tile, clip_limit)


# ---- from checked arguments to kernels


def processor_count() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(most: int = sys.maxsize) -> int:
    """As many threads as THREADS or AUGMENT_THREADS says, or as there are processors for us."""
    count = THREADS.get(0)
    wanted = None if count else os.environ.get("AUGMENT_THREADS")
    if wanted is not None and (not wanted.isdigit() or int(wanted) < 1):
        raise ValueError(f"AUGMENT_THREADS={wanted}, expected a number of threads, at least 1")
    # whoever needs but one saves the time to ask how many processors there are
    return min(most, count or int(wanted or 0) or most == 1 or processor_count())


def _run(for_bytes_and_floats, images, batch, *arguments):
    """Run a kernel on parts of the batch that the images are, a thread for each."""
    kernel = for_bytes_and_floats[batch.dtype != BYTES]
    if batch.dtype == WORDS and kernel is not _equalize_words:
        kernel = _as_floats(kernel)
    out = np.empty(batch.shape, batch.dtype)
    parts = thread_count(min(len(batch), batch.size // WORTH_A_THREAD + 1))
    if parts == 1:
        kernel(batch, out, *arguments)
    else:
        ends = np.linspace(0, len(batch), parts + 1).astype(int)

        def run_part(start, stop):
            kernel(batch[start:stop], out[start:stop], *arguments)

        with ThreadPoolExecutor(parts) as pool:
            list(pool.map(run_part, ends[:-1], ends[1:]))
    out = out.reshape(images.shape)
    return out if out.dtype == images.dtype else out.astype(images.dtype)


def _as_floats(kernel):
    """16 bits, an image at a time, so that there is never more than one in float64."""

    def run(batch, out, *arguments):
        for image, result in zip(batch, out, strict=True):
            unit = image[np.newaxis] / 65535
            new = np.empty_like(unit)
            kernel(unit, new, *arguments)
            result[:] = np.rint(65535 * new[0])

    return run


def _equalize_words(batch, out, unit):
    """16 bits, all channels together or each."""
    for image, result in zip(batch, out, strict=True):
        for c in range(image.shape[2]) if unit == kernels.CHANNEL else [slice(None)]:
            levels = image[..., c]
            cdf = np.bincount(levels.ravel(), minlength=65536).cumsum() / levels.size
            is_flat = levels.min() == levels.max()
            result[..., c] = levels if is_flat else np.rint(65535 * cdf)[levels]


def as_batch(images: np.ndarray) -> np.ndarray:
    """Check `images` and view it as (N, H, W, C): uint8, uint16, float32 or float64, in C order."""
    ends = refuse_unless_good(images)
    images = np.asarray(images)
    if images.dtype.kind == "f":
        if ends[0] < 0 or ends[1] > 1:
            images = np.clip(images, 0, 1)  # by no more than the tolerance
        images = images.astype(np.float64 if images.dtype.itemsize > 4 else np.float32, copy=False)
    if not (images.flags.carray and images.dtype.isnative):  # each other would be compiled anew
        images = np.require(images, np.dtype(images.dtype.type), ["C", "ALIGNED"])
    images = images[..., np.newaxis] if images.ndim == 2 else images
    return images if images.ndim == 4 else images[np.newaxis]


# ---- what came instead of images, and what to do about it


class Fault(NamedTuple):
    """What came, what is expected, and what to do; `code` takes a step towards images."""

    came: str
    expected: str
    advice: str
    code: str = ""
    error: type[Exception] = ValueError

    def __str__(self) -> str:
        code = f": `{self.code}`" if self.code else ""
        return f"got {self.came}, expected {self.expected}; {self.advice}{code}"


def refuse_unless_good(
    images: object, value_range: tuple[float, float] | None = None
) -> tuple[float, ...]:
    """Raise what `find_fault` finds; or return the least and the greatest, if they are floats."""
    fault, ends = _inspect(images, value_range)
    if fault:
        raise fault.error(str(fault))
    return ends


def find_fault(images: object) -> Fault | None:
    """What the transforms would refuse."""
    return _inspect(images, None)[0]


def _inspect(images, value_range):
    """The fault, also for a bridge whose images lie in a range of their own; and floats' ends."""
    if not isinstance(images, np.ndarray):
        try:
            advice, code = _conversion(images)
        except Exception:  # whatever it is, it does not behave as it looks
            advice, code = "pass the pixels", ""
        return Fault(type(images).__name__, "a NumPy array", advice, code, TypeError), ()
    if isinstance(images, np.ma.MaskedArray):
        expected, advice = "a plain one, as every pixel counts", "put black under the mask, say"
        return Fault("a masked array", expected, advice, "images.filled(0)", TypeError), ()
    images = np.asarray(images)
    fault = _wrong_dtype(images, value_range) or _wrong_shape(images, value_range)
    if fault or images.dtype.kind != "f":
        return fault, ()
    ends = float(images.min()), float(images.max())
    return _wrong_values(images, *ends, value_range), ends


def _conversion(images):
    """What to do, and the code. By names, so that no library has to be imported."""
    name, home = type(images).__name__, type(images).__module__.partition(".")[0]
    if name in ("KerasTensor", "SymbolicTensor"):
        return BRIDGE, "dataset.map(as_dataset_map(transform))"
    if home == "tensorflow" and "Ragged" in name:
        return f"{BRIDGE} before batching", "dataset.map(as_dataset_map(transform)).ragged_batch(8)"
    if home == "tensorflow" and "Dataset" in name:
        return BRIDGE, "images.map(as_dataset_map(transform))"
    if home == "torch":
        return "convert it", "images.numpy(force=True)"
    if home == "PIL" and not re.match("(L|I|I;16.*|F|RGB)$", images.mode):
        wanted = "L" if images.mode in ("1", "LA") else "RGB"
        return f"from mode {images.mode}", f'np.asarray(images.convert("{wanted}"))'
    if isinstance(images, (str, os.PathLike)):
        return "read the file", "skimage.io.imread(images)"
    if hasattr(images, "x_train"):
        return "take one of its parts", "images.x_train"
    if isinstance(images, Mapping):
        key = next(key for key, value in images.items() if np.ndim(value) >= 2)
        return "take the images out of it", f"images[{key!r}]"
    if isinstance(images, (list, tuple)) and np.ndim(images[0]) != 1:
        return _conversion_of_each(images)
    if home == "keras" and hasattr(images, "__getitem__"):
        return "take the images of its first batch", "images[0][0]"
    if hasattr(images, "pixel_array"):  # of pydicom
        return "take its pixels", "images.pixel_array"
    if images is None:
        return "a reader that finds no file may give None", ""
    is_like_one = {*dir(images)} & {"__array__", "__array_interface__"}
    if (is_like_one or isinstance(images, (list, tuple, memoryview))) and np.ndim(images):
        return "convert it", "np.asarray(images)"
    return "pass the pixels", ""


BRIDGE = "in a pipeline of tf.data or Keras, map the bridge"


def _conversion_of_each(images):
    if isinstance(images[0], np.ndarray):
        if len({image.shape for image in images}) == 1:
            return "stack them", "np.stack(images)"
        if images[0].ndim == 4:  # with its labels
            return "take the batch out of it", "images[0]"
        return "their sizes differ: one by one", "[transform(image) for image in images]"
    advice, code = _conversion(images[0])
    each = re.sub(r"\bimages\b", "image", code)
    return advice, f"[{each} for image in images]" if code else ""


def _first(*rows):
    """Of (holds, advice, code) the first that holds."""
    return next(row[1:] for row in rows if row[0])


def _holds_numbers(images):
    try:
        return images.astype(float).size > 0
    except (TypeError, ValueError):
        return False


def _wrong_dtype(images, value_range):
    kind, size = images.dtype.kind, images.dtype.itemsize
    top = {1: 255, 2: 65535}.get(size) if kind == "u" else None
    least, most = value_range or (0, top)
    if kind == "f" or (top and (least, most) == (0, top)):
        return None
    came, expected = f"dtype {images.dtype}", "uint8 in 0..255, uint16 in 0..65535 or float in 0..1"
    low = high = -1
    if kind in "bui" and images.size:
        low, high = int(images.min()), int(images.max())
        came += f" from {low} to {high}"
    if value_range:
        expected = f"floats in {least:g} to {most:g}"
    advice, code = _first(
        (value_range and top, "pass their range", f"value_range=(0, {top})"),
        (value_range and kind in "bui", "convert it", "images.astype(np.float32)"),
        (0 <= low <= high <= 1, "1 is white", "images.astype(np.uint8) * 255"),
        (0 <= low <= high <= 255, "bytes hold it", "images.astype(np.uint8)"),
        (0 <= low <= high <= 65535, "16 bits hold it", "images.astype(np.uint16)"),
        (kind in "ui", WINDOW, _window(low, high)),
        (kind == "c", "take the real part", "images.real"),
        (kind == "O" and images.ndim == 1, "it holds one each", "[*images]"),
        (
            kind == "U" and images.ndim == 1,
            "read the files",
            "[skimage.io.imread(f) for f in images]",
        ),
        (kind in "OSU" and _holds_numbers(images), "convert it", "images.astype(float)"),
        (images.dtype.type.__module__ == "ml_dtypes", "convert it", "images.astype(np.float32)"),
        (True, "no picture is known to be made of it", ""),
    )
    return Fault(came, expected, advice, code, TypeError)


def _wrong_shape(images, value_range):
    shape, axes = images.shape, images.ndim
    good = value_range or axes == 2 or (axes in (3, 4) and shape[-1] in (1, 3))
    if good and images.size:
        return None
    expected = "(H, W), (H, W, 3), (H, W, 1) or (N, H, W, C) with C = 1 or 3 last"
    first, second, last = (0, 0, 0, *shape)[-3:]  # channels are first or last
    grey, flat = "a batch of grey images needs images[..., np.newaxis]", "images.reshape(-1"
    advice, code = _first(
        (images.size == 0, "it holds no pixel: look where it comes from", ""),
        (axes == 0, "one number is no picture", ""),
        (axes == 1, "give it back its sides", "images.reshape(height, width)"),
        (axes > 4, "make one batch of it", f"{flat}, *images.shape[-3:])"),
        (last == 4, "leave alpha out", "images[..., :3]"),
        (last == 2, "leave alpha out", "images[..., :1]"),
        (first in (1, 3, 4), f"channels go last ({grey})", f"np.moveaxis(images, {axes - 3}, -1)"),
        (2 * last < min(first, second), "each layer is a grey image", LAYERS),
        (axes == 4, "make one grey batch of it", f"{flat}, *images.shape[-2:], 1)"),
        (True, "a batch of grey images needs a last axis", "images[..., np.newaxis]"),
    )
    return Fault(f"shape {shape}", expected, advice, code)


LAYERS = "np.moveaxis(images, -1, -3).reshape(-1, *images.shape[-3:-1], 1)"
WINDOW = "choose one window for all images, here from the smallest to the largest"
RANGES = ((0, 1), (-1, 1), (0, 255), (0, 4095), (0, 65535))


def _window(low, high):
    low, high = math.floor(low), math.ceil(high)
    return f"(images - {low}.0) / {high - low or 1}".replace("- -", "+ ")


def _wrong_values(images, low, high, value_range):
    least, most = value_range or (0, 1)
    if not math.isfinite(high - low):
        finite = images[np.isfinite(images)]
        advice, code = "nothing else is there", ""
        if finite.size:
            low, high = math.floor(finite.min()), math.ceil(finite.max())
            advice = "find them with np.isfinite(images), or make them black and white"
            code = f"np.nan_to_num(images, nan={low}, posinf={high}, neginf={low})"
        expected = f"finite floats in {least:g}..{most:g}"
        return Fault("NaN or infinity among the floats", expected, advice, code)
    outside = max(least - low, high - most) / (most - least)  # so much of the range
    if outside <= TOLERANCE:
        return None
    ends = "{0:.{2}g} to {1:.{2}g}".format(low, high, 6 if outside > 1e-4 else 9)
    clip = "clip what a step before left outside", f"np.clip(images, {least:g}, {most:g})"
    if value_range:
        fits = next((r for r in RANGES if r[0] <= low and high <= r[1]), None)
        code = f"value_range={fits or (math.floor(low), math.ceil(high))}"
        advice = "contrast comes before rescale and preprocess_input; pass the range there"
        is_clip = outside <= 0.1 and high >= least + 0.1 * (most - least)  # and not another range
        advice, code = clip if is_clip else (advice, code)
        expected = f"the value_range {least:g} to {most:g}"
        return Fault(f"values from {ends}", expected, advice, code)
    from_zero = low >= -high / 5  # but for what a spline may add
    advice, code = _first(
        (outside <= 0.1, *clip),
        (low >= -0.5 and high <= 0.5, "shift them", "images + 0.5"),
        (low >= -0.5 and high <= 1.5, *clip),
        (low >= -1.1 and high <= 1.1, "shift and halve them", "(images + 1) / 2"),
        (from_zero and high <= 1.2 * 255, "divide by 255", "images / 255"),
        (from_zero and high <= 4095, "divide by 4095, if of 12 bits", "images / 4095"),
        (from_zero and high <= 1.2 * 65535, "divide by 65535", "images / 65535"),
        (low >= -128 and 10 < high <= 128, "shift and divide them", "(images + 128) / 255"),
        (True, WINDOW, _window(low, high)),
    )
    if images.dtype.itemsize == 2:  # which 65535 is too large for
        code = code.replace("images", "images.astype(np.float32)")
    return Fault(f"floats from {ends}", "0..1", advice, code)


# ---- the other arguments


def check_percentiles(low: float, high: float) -> None:
    if not (isinstance(low, NUMBER) and isinstance(high, NUMBER) and 0 <= low < high <= 100):
        raise ValueError(
            f"got low={low!r} and high={high!r}, expected percentiles with "
            "0 <= low < high <= 100; the usual ones are `low=2, high=98`"
        )
    if high <= 1:
        raise ValueError(
            f"got low={low!r} and high={high!r}, which would make all but the darkest pixels "
            "white, expected percentiles of 0..100 (not fractions); for these: "
            f"`low={100 * low:g}, high={100 * high:g}`"
        )


def check_clip_limit(clip_limit: float) -> float:
    is_number = isinstance(clip_limit, NUMBER)
    if not (is_number and 0 <= clip_limit <= 1):
        share = clip_limit / 256 if is_number and 1 < clip_limit <= 256 else 0.03
        raise ValueError(
            f"got clip_limit={clip_limit!r}, expected a fraction of the tile's pixels, 0..1; "
            "OpenCV's clipLimit is divided by its 256 bins: "
            f"`clip_limit={share:g}`"
        )
    return float(clip_limit)


def check_color(color: Color) -> Color:
    if not isinstance(color, str) or color not in COLORS:
        raise ValueError(
            f"got color={color!r}, expected one of {', '.join(COLORS)}, such as `color='value'`"
        )
    return color


def sides_of_tile(kernel_size: Any, image_sides: tuple[int, ...]) -> list[int]:
    """The tile's height and width."""
    if kernel_size is None:
        return [max(8, side // 8) for side in image_sides]
    is_pair = isinstance(kernel_size, tuple | list | np.ndarray) and np.iterable(kernel_size)
    try:
        sides = [operator.index(side) for side in (kernel_size if is_pair else [kernel_size] * 2)]
    except TypeError:
        sides = []
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(
            f"got kernel_size={kernel_size!r}, expected a tile's side in pixels, "
            "an int of at least 1, or a pair of them (height, width), such as `kernel_size=8`"
        )
    most = [max(side, LARGEST_TILE_SIDE) for side in image_sides]
    if sides[0] > most[0] or sides[1] > most[1]:
        raise ValueError(
            f"got kernel_size={kernel_size!r}, expected a tile of at most {most[0]} x {most[1]} "
            f"pixels for this image, such as `kernel_size={tuple(image_sides)}`"
        )
    return sides
