"""The four contrast transforms, for one image or a batch, uint8 or float.

All four share one contract. ``images`` is a grey image ``(H, W)``, an image
``(H, W, 3)`` or ``(H, W, 1)``, or a batch ``(N, H, W, C)``, channels last;
uint8 in 0..255 or float in 0..1. The result is a new array of the same shape,
dtype and range, and a batch gives exactly what its images give one by one.
Where there is only one grey level there is nothing to stretch: such an image
comes back unchanged.

A batch is shared out among as many threads as there are processors (or as the
environment variable AUGMENT_THREADS says), and any number of threads may call
at once. Besides the result, memory is needed for one image in each thread; for
float16, for floats in another byte order, and for images that do not lie in
memory in order, also for a copy of the images. The first call of a transform
compiles it, which takes seconds; the compiled code is kept on disk.

A subclass of NumPy's array, such as ``np.matrix``, counts as the array that it
is, and the result is a plain array. A masked array is refused, because the
pixels under its mask would be counted. The result has the byte order that came.
"""

import operator
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Literal

import numpy as np

from augment_utils import kernels

Color = Literal["joint", "channel", "value"]
COLORS = {"joint": kernels.JOINT, "channel": kernels.CHANNEL, "value": kernels.VALUE}

NUMBER = (int, float, np.integer, np.floating)

# Fewer numbers than this in a batch are not worth a second thread.
WORTH_A_THREAD = 2**19
THREADS: ContextVar[int] = ContextVar("threads")  # where set, it decides their number

# A tile can be larger than the image, which is then mirrored to fill it.
LARGEST_TILE_SIDE = 4096


def contrast_stretching(
    images: np.ndarray, low: float = 2.0, high: float = 98.0, color: Color = "joint"
) -> np.ndarray:
    """Stretch the grey levels between two percentiles to the full range.

    With :math:`p` the ``low`` and :math:`q` the ``high`` percentile of the
    image's grey levels, a grey level :math:`x` of the range 0..1 becomes
    :math:`(x - p) / (q - p)`, clipped to 0..1.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255 or float in 0..1.
    low, high : float
        Percentiles, ``0 <= low < high <= 100``. What lies outside is clipped;
        0 and 100 give min–max stretching.
    color : {"joint", "channel", "value"}
        Percentiles of all channels together, of each channel, or of HSV's V,
        which keeps hue and saturation.

    Returns
    -------
    ndarray
        A new array, same shape, dtype and range as ``images``. If the two
        percentiles are one and the same grey level, everything is clipped to
        it, as in scikit-image.

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
    if not (isinstance(low, NUMBER) and isinstance(high, NUMBER) and 0 <= low < high <= 100):
        raise ValueError(
            f"got low={low!r} and high={high!r}, expected percentiles with "
            "0 <= low < high <= 100, such as low=2, high=98"
        )
    pair = kernels.stretch_bytes, kernels.stretch_floats
    return _run(pair, images, as_batch(images), _unit(color), float(low), float(high))


def histogram_equalization(images: np.ndarray, color: Color = "value") -> np.ndarray:
    r"""Map every grey level to its place in the cumulative histogram (HE).

    :math:`s_k = \sum_{j \le k} n_j / n`, where :math:`n_j` of the image's
    :math:`n` pixels have grey level :math:`j`.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255 or float in 0..1.
    color : {"joint", "channel", "value"}
        One histogram over all channels, one for each channel, or one of HSV's
        V, which keeps hue and saturation. A grey image has but one.

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
    As in scikit-image, uint8 grey levels are counted one by one, while floats
    (and V, which is a float) are counted in 256 bins between the smallest and
    the largest, and the cumulative histogram is interpolated between their
    centres. scikit-image turns a flat image white; here it stays as it is.

    References
    ----------
    R. C. Gonzalez and R. E. Woods, *Digital Image Processing*, 4th ed., 2018,
    section 3.3. Agrees with :func:`skimage.exposure.equalize_hist` to one grey
    level of 255.
    """
    pair = kernels.equalize_bytes, kernels.equalize_floats
    return _run(pair, images, as_batch(images), _unit(color))


def adaptive_histogram_equalization(
    images: np.ndarray, kernel_size: int | tuple[int, int] | None = None
) -> np.ndarray:
    """Equalize each pixel by the histograms of the tiles around it (AHE).

    Colour images are treated on HSV's V; hue and saturation are kept.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255 or float in 0..1.
    kernel_size : int, (int, int) or None
        Height and width of a tile in pixels, each up to 4,096 or the image's
        side. None: an eighth of the image's side, but at least 8.

    Returns
    -------
    ndarray
        A new array, same shape, dtype and range as ``images``.

    Raises
    ------
    TypeError, ValueError
        Where ``images`` or ``kernel_size`` break the contract.

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
    Colour images are treated on HSV's V; hue and saturation are kept.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255 or float in 0..1.
    kernel_size : int, (int, int) or None
        Height and width of a tile in pixels, each up to 4,096 or the image's
        side. None: an eighth of the image's side, but at least 8.
        (scikit-image's own default lacks the 8.)
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
    if not (isinstance(clip_limit, NUMBER) and 0 <= clip_limit <= 1):
        raise ValueError(
            f"got clip_limit={clip_limit!r}, expected a fraction of the tile's "
            "pixels, 0..1 (OpenCV's clipLimit divided by its 256 bins, say)"
        )
    batch = as_batch(images)
    tile = _tile(kernel_size, batch.shape[1:3])
    pair = kernels.clahe_bytes, kernels.clahe_floats
    return _run(pair, images, batch, *tile, float(clip_limit))


# ---- from checked arguments to kernels


def processor_count() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count() -> int:
    """As many threads as THREADS or AUGMENT_THREADS says, or as there are processors for us."""
    if count := THREADS.get(0):
        return count
    wanted = os.environ.get("AUGMENT_THREADS")
    if wanted is None:
        return processor_count()
    if not wanted.isdigit() or int(wanted) < 1:
        raise ValueError(f"AUGMENT_THREADS={wanted}, expected a number of threads, at least 1")
    return int(wanted)


def _run(for_bytes_and_floats, images, batch, *arguments):
    """Run a kernel on parts of the batch that the images are, a thread for each."""
    kernel = for_bytes_and_floats[int(batch.dtype != np.uint8)]
    out = np.empty(batch.shape, batch.dtype)
    parts = min(thread_count(), len(batch), batch.size // WORTH_A_THREAD + 1)
    if parts == 1:
        kernel(batch, out, *arguments)
    else:
        ends = np.linspace(0, len(batch), parts + 1).astype(int)

        def run_part(start, stop):
            kernel(batch[start:stop], out[start:stop], *arguments)

        with ThreadPoolExecutor(parts) as pool:
            list(pool.map(run_part, ends[:-1], ends[1:]))
    return out.reshape(images.shape).astype(images.dtype, copy=False)


def _unit(color):
    if not isinstance(color, str) or color not in COLORS:
        raise ValueError(f"got color={color!r}, expected one of {', '.join(COLORS)}")
    return COLORS[color]


def as_batch(images: np.ndarray) -> np.ndarray:
    """Check `images` and view it as (N, H, W, C), uint8, float32 or float64, in C order."""
    images = as_plain_array(images)
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(
            f"got dtype {images.dtype}, expected uint8 in 0..255 or float in 0..1; "
            "convert with images.astype('uint8') or images / 255.0"
        )
    channels = images.shape[-1] if images.ndim in (3, 4) else 1
    if images.ndim not in (2, 3, 4) or channels not in (1, 3):
        raise ValueError(
            f"got shape {images.shape}, expected (H, W), (H, W, 3), (H, W, 1) or (N, H, W, C) "
            "with C = 1 or 3 last; a batch of grey images needs images[..., np.newaxis]"
        )
    if images.size == 0:
        raise ValueError(f"got shape {images.shape}, which holds no pixel; expected at least one")
    if images.dtype != np.uint8:
        _check_range(images)
        images = images.astype(_kernel_dtype(images.dtype), copy=False)
    # in one order: each other would be compiled anew
    images = np.require(images, requirements=["C", "ALIGNED"])
    return images if images.ndim == 4 else images.reshape(1, *images.shape[:2], channels)


def as_plain_array(images: np.ndarray) -> np.ndarray:
    """The array without what a subclass adds to it."""
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"got {type(images).__name__}, expected a NumPy array; convert it with np.asarray(...)"
        )
    if isinstance(images, np.ma.MaskedArray):
        raise TypeError(
            "got a masked array, expected a plain one, as every pixel counts; "
            "say what stands under the mask with images.filled(...)"
        )
    return np.asarray(images)


def _kernel_dtype(dtype):
    """float32 or float64, as the machine stores it."""
    return np.float64 if dtype.itemsize > 4 else np.float32


def _check_range(images):
    low, high = images.min(), images.max()
    if not np.isfinite([low, high]).all():
        raise ValueError(
            "got NaN or infinity among the floats, expected finite floats in 0..1; "
            "find them with np.isfinite(images)"
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"got floats from {low:.6g} to {high:.6g}, expected 0..1; "
            "divide by 255 if they are in 0..255, otherwise np.clip(images, 0, 1)"
        )


def _tile(kernel_size, image_sides):
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
            "an int of at least 1, or a pair of them (height, width)"
        )
    most = [max(side, LARGEST_TILE_SIDE) for side in image_sides]
    if sides[0] > most[0] or sides[1] > most[1]:
        raise ValueError(
            f"got kernel_size={kernel_size!r}, expected a tile of at most {most[0]} x {most[1]} "
            "pixels for this image"
        )
    return sides
