"""The four contrast transforms, for one image or a batch, uint8 or float.

All four share one contract. ``images`` is a grey image ``(H, W)``, an image
``(H, W, 3)`` or ``(H, W, 1)``, or a batch ``(N, H, W, C)``, channels last;
uint8 in 0..255 or float in 0..1. The result is a new array of the same shape,
dtype and range, and a batch gives exactly what its images give one by one.
Where there is only one grey level there is nothing to stretch: such an image
comes back unchanged.
"""

import operator

import numpy as np

COLORS = ("joint", "channel", "value")

BINS = 256  # of a histogram
# As in scikit-image, AHE and CLAHE round V to 16,384 grey levels, of which 65 neighbours
# share a bin.
CLAHE_LEVELS = 2**14
CLAHE_BIN_WIDTH = 1 + CLAHE_LEVELS // BINS


def contrast_stretching(images, low=2.0, high=98.0, color="joint"):
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
    if not 0 <= low < high <= 100:
        raise ValueError(
            f"got low={low!r} and high={high!r}, expected percentiles with "
            "0 <= low < high <= 100, such as low=2, high=98"
        )
    return _apply(lambda levels: _stretch(levels, low, high), images, color)


def histogram_equalization(images, color="value"):
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
    return _apply(_equalize, images, color)


def adaptive_histogram_equalization(images, kernel_size=None):
    """Equalize each pixel by the histograms of the tiles around it (AHE).

    Colour images are treated on HSV's V; hue and saturation are kept.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255 or float in 0..1.
    kernel_size : int, (int, int) or None
        Height and width of a tile in pixels. None: an eighth of the image's
        side, but at least 8.

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


def clahe(images, kernel_size=None, clip_limit=0.03):
    """AHE whose tile histograms are clipped first, so that noise grows less.

    No histogram bin of a tile keeps more than ``clip_limit`` of the tile's
    pixels (though always one pixel); the excess is spread over the other bins.
    Colour images are treated on HSV's V; hue and saturation are kept.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255 or float in 0..1.
    kernel_size : int, (int, int) or None
        Height and width of a tile in pixels. None: an eighth of the image's
        side, but at least 8. (scikit-image's own default lacks the 8.)
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
    if not 0 <= clip_limit <= 1:
        raise ValueError(
            f"got clip_limit={clip_limit!r}, expected a fraction of the tile's "
            "pixels, 0..1 (OpenCV's clipLimit divided by its 256 bins, say)"
        )
    tile = _check_kernel_size(kernel_size)

    def transform(levels):
        sides = tile or [max(8, side // 8) for side in levels.shape]
        return _clahe(levels, sides, clip_limit)

    return _apply(transform, images, "value")


# ---- from any image to planes of grey levels, and back


def _apply(transform, images, color):
    """Run `transform`, which maps grey levels to floats in 0..1 (or None: leave
    them), on each image's histogram unit."""
    if color not in COLORS:
        raise ValueError(f"got color={color!r}, expected one of {', '.join(COLORS)}")
    batch = _as_batch(images)
    out = np.empty(batch.shape, images.dtype)
    for image, result in zip(batch, out, strict=True):
        if image.shape[-1] == 1:
            result[..., 0] = _finish(image[..., 0], transform(image[..., 0]))
        elif color == "joint":
            result[...] = _finish(image, transform(image))
        elif color == "channel":
            for c in range(image.shape[-1]):
                result[..., c] = _finish(image[..., c], transform(image[..., c]))
        else:
            result[...] = _finish(image, _on_value(transform, image))
    return out.reshape(images.shape)


def _on_value(transform, image):
    """HSV with hue and saturation kept is RGB times V'/V; black has no hue."""
    value = _to_unit(image.max(axis=-1))
    new_value = transform(value)
    if new_value is None:
        return None
    value = value[..., None]
    colour = np.where(value > 0, _to_unit(image) / np.where(value > 0, value, 1), 1)
    return colour * new_value[..., None]


def _to_unit(levels):
    # times 1/255, as in scikit-image: levels / 255 can differ in its last bit, and
    # then fall on the other side of an edge between two histogram bins
    return levels * (1 / 255) if levels.dtype == np.uint8 else levels


def _finish(before, after):
    """Floats in 0..1 back to the range that `before` came in."""
    if after is None:
        return before
    if before.dtype == np.uint8:
        return np.rint(255 * after).astype(np.uint8)
    return np.clip(after, 0, 1)


def _as_batch(images):
    """Check `images` and view it as (N, H, W, C), uint8, float32 or float64."""
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"got {type(images).__name__}, expected a NumPy array; convert it with np.asarray(...)"
        )
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
        images = images.astype(np.promote_types(images.dtype.newbyteorder("="), np.float32))
    if images.ndim == 4:
        return images
    return images.reshape(1, *images.shape[:2], channels)


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


def _check_kernel_size(kernel_size):
    """None, or the tile's two sides as ints."""
    if kernel_size is None:
        return None
    pair = kernel_size if np.ndim(kernel_size) else (kernel_size, kernel_size)
    try:
        sides = [operator.index(side) for side in pair]
    except TypeError:
        sides = []
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(
            f"got kernel_size={kernel_size!r}, expected a tile's side in pixels, "
            "an int of at least 1, or a pair of them (height, width)"
        )
    return sides


# ---- the transforms of one histogram unit: grey levels in, floats 0..1 out


def _stretch(levels, low, high):
    if levels.min() == levels.max():
        return None
    p, q = np.percentile(levels, (low, high))
    if p == q:
        return np.full(levels.shape, _to_unit(np.asarray(p, levels.dtype)))
    return (np.clip(levels, p, q) - p) / (q - p)


def _equalize(levels):
    low, high = levels.min(), levels.max()
    if levels.dtype == np.uint8:
        cdf = np.bincount(levels.ravel(), minlength=BINS).cumsum() / levels.size
        return None if low == high else cdf[levels]
    if high - low <= BINS * np.spacing(high):  # 256 bins need 256 different floats
        return None
    histogram, edges = np.histogram(levels, bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    return np.interp(levels, centres, histogram.cumsum() / levels.size)


def _clahe(levels, sides, clip_limit):
    fine = levels if levels.dtype == np.uint8 else np.rint(levels * levels.dtype.type(65535))
    low, high = fine.min(), fine.max()
    if low == high:
        return None
    fine = (fine.astype(float) - low) / (float(high) - low)
    bins = np.rint(fine * (CLAHE_LEVELS - 1)).astype(int) // CLAHE_BIN_WIDTH

    # Mirror the border, so that whole tiles cover the image with half a tile to spare.
    before = [side // 2 for side in sides]
    after = [-n % side + (side + 1) // 2 for n, side in zip(bins.shape, sides, strict=True)]
    padded = np.pad(bins, list(zip(before, after, strict=True)), mode="reflect")
    maps = _tile_maps(padded, sides, clip_limit)

    # Each pixel lies between the centres of four tiles; at the border some coincide.
    rows, columns = (
        _between(np.arange(start, start + n), side, count)
        for start, n, side, count in zip(before, bins.shape, sides, maps.shape, strict=False)
    )
    # Summed in float32 and cut to whole levels, as the reference does: the last
    # stretch would enlarge any other rounding where a result has few levels.
    total = np.zeros(bins.shape, np.float32)
    for row, row_weight in rows:
        for column, column_weight in columns:
            mapped = maps[row[:, None], column[None, :], bins]
            total += (mapped * (column_weight[None, :] * row_weight[:, None])).astype(np.float32)
    total = np.floor(total).astype(float)
    low, high = total.min(), total.max()
    return np.clip(total, 0, 1) if low == high else (total - low) / (high - low)


def _between(position, side, count):
    """The tiles before and after each padded position, each with its weight."""
    upper, offset = np.divmod(position, side)
    weight = offset / side
    return [(np.clip(upper - 1, 0, count - 1), 1 - weight), (np.clip(upper, 0, count - 1), weight)]


def _tile_maps(padded, sides, clip_limit):
    """(rows, columns, 256): what each tile's clipped histogram maps each bin to."""
    height, width = sides
    rows, columns = (n // side - 1 for n, side in zip(padded.shape, sides, strict=True))
    inner = padded[height // 2 :, width // 2 :][: rows * height, : columns * width]
    tiles = inner.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(rows, columns, -1)
    pixels = height * width
    limit = max(int(clip_limit * pixels), 1) if clip_limit > 0 else pixels
    maps = np.empty((rows, columns, BINS))
    for row in range(rows):
        for column in range(columns):
            histogram = np.bincount(tiles[row, column], minlength=BINS)
            cumulative = _clip_histogram(histogram, limit).cumsum() * ((CLAHE_LEVELS - 1) / pixels)
            maps[row, column] = np.floor(np.minimum(cumulative, CLAHE_LEVELS - 1))
    return maps


def _clip_histogram(histogram, limit):
    """Cut each bin at `limit` and spread the excess over the bins below it.

    As scikit-image does it: first an equal share to each bin, then what is left one by
    one. A bin within a share of the limit is filled to the limit, so that in large tiles
    more can be handed out than was cut.
    """
    excess = int(np.maximum(histogram - limit, 0).sum())
    clipped = np.minimum(histogram, limit)
    share = excess // BINS
    raised = clipped + share * (clipped < limit - share)
    raised[raised >= limit - share] = limit
    excess -= int((raised - clipped).sum())
    while excess > 0 and (raised < limit).any():
        for start in range(BINS):
            step = max(1, np.count_nonzero(raised < limit) // excess)
            room = raised[start::step] < limit
            raised[start::step] += room
            excess -= np.count_nonzero(room)
            if excess <= 0:
                break
    return raised
