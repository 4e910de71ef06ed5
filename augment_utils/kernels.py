"""The compiled loops behind contrast.py: no checks, no policy.

A kernel takes a batch ``(N, H, W, C)`` with C = 1 or 3, uint8 in 0..255 or float in 0..1, and
writes the result into ``out``, image by image. It needs memory for one image at a time, and
holds no lock, so that several threads can work on parts of one batch. Numba compiles it when
it is first called and keeps the result on disk.

What numbers share a histogram is called a unit: all channels, one channel, or V.
"""

import contextlib
from collections.abc import Callable

import numba
import numpy as np

JOINT, CHANNEL, VALUE = range(3)

BINS = 256
# As in scikit-image, AHE and CLAHE round V to 16,384 grey levels, of which 65 neighbours
# share a bin.
TOP_LEVEL = 2**14 - 1
BIN_WIDTH = 65

PIXELS_IN_CACHE = 1024  # are scaled at a time


def compiled(function: Callable) -> Callable:
    """By Numba, when it is first called."""
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    # neither here nor in the home can be written, or NUMBA_DISABLE_JIT gave the function back
    with contextlib.suppress(RuntimeError, AttributeError):
        dispatcher.enable_caching()
    return dispatcher


# ---- contrast stretching


@compiled
def stretch_bytes(images, out, unit, low, high):
    unit = unit if images.shape[3] == 3 else JOINT
    levels = np.empty(_size_of(images, VALUE), np.uint8)  # those of JOINT are the image's own
    counts, table = np.empty(256, np.int64), np.empty(256)
    scale = 1 / 255 if unit == VALUE else 1.0  # V is a float
    for i in range(len(images)):
        image, result = np.ascontiguousarray(images[i]).reshape(-1), out[i].reshape(-1)
        for c in range(3 if unit == CHANNEL else 1):
            first, last = _gather_and_count(image, unit, c, levels, counts)
            p = _percentile_of_counts(counts, low, scale)
            q = _percentile_of_counts(counts, high, scale)
            for k in range(first, last + 1):
                table[k] = _stretched(k * scale, p, q) if p < q else p / scale / 255
            _look_up(image, result, unit, c, levels, table, first, last)


@compiled
def stretch_floats(images, out, unit, low, high):
    unit = unit if images.shape[3] == 3 else JOINT
    levels = np.empty(_size_of(images, unit), images.dtype)
    new = np.empty(levels.size)
    for i in range(len(images)):
        image, result = np.ascontiguousarray(images[i]).reshape(-1), out[i].reshape(-1)
        for c in range(3 if unit == CHANNEL else 1):
            _gather(image, unit, c, levels)
            least, most = levels.min(), levels.max()
            if least < most:
                in_order = np.sort(levels)
                p, q = _percentile(in_order, low), _percentile(in_order, high)
                for j in range(levels.size):
                    new[j] = _stretched(levels[j], p, q) if p < q else p
            _write_floats(image, result, unit, c, levels, new, least < most)


@compiled
def _stretched(x, p, q):
    return (min(max(x, p), q) - p) / (q - p)


@compiled
def _percentile_of_counts(counts, percent, scale):
    """As numpy.percentile: between the two nearest in order."""
    total = counts.sum()
    place = percent / 100 * (total - 1)
    k, seen = 0, counts[0]
    while seen <= int(place):
        k += 1
        seen += counts[k]
    after = k
    while seen <= min(int(place) + 1, total - 1):
        after += 1
        seen += counts[after]
    return _between(k * scale, after * scale, place - int(place))


@compiled
def _percentile(in_order, percent):
    place = percent / 100 * (in_order.size - 1)
    below, after = in_order[int(place)], in_order[min(int(place) + 1, in_order.size - 1)]
    return np.float64(_between(below, after, place - int(place)))


@compiled
def _between(a, b, weight):
    difference = b - a
    return b - difference * (1 - weight) if weight >= 0.5 else a + difference * weight


# ---- histogram equalization


@compiled
def equalize_bytes(images, out, unit):
    unit = unit if images.shape[3] == 3 else JOINT
    levels = np.empty(_size_of(images, VALUE), np.uint8)
    counts, cdf, table = np.empty(256, np.int64), np.empty(258), np.empty(256)
    for i in range(len(images)):
        image, result = np.ascontiguousarray(images[i]).reshape(-1), out[i].reshape(-1)
        for c in range(3 if unit == CHANNEL else 1):
            first, last = _gather_and_count(image, unit, c, levels, counts)
            _fill_in_cdf(counts, cdf)
            if unit == VALUE and first < last:
                _interpolate_cdf(cdf, first, last, table)
            else:
                table[:] = cdf[1:257]
            _look_up(image, result, unit, c, levels, table, first, last)


@compiled
def _fill_in_cdf(counts, cdf):
    """With one more at each end, so that every bin has a neighbour."""
    for k in range(1, BINS):
        counts[k] += counts[k - 1]
    for k in range(BINS):
        cdf[k + 1] = counts[k] / counts[BINS - 1]
    cdf[0], cdf[BINS + 1] = cdf[1], cdf[BINS]


@compiled
def _interpolate_cdf(cdf, first, last, table):
    """V of bytes, counted as the float that it is, in 256 bins between its ends.

    Bins are narrower than a grey level, so that each level has a bin of its own, and the bin
    before or after it is empty or holds the level before or after.
    """
    least, most = first * (1 / 255), last * (1 / 255)
    bins = np.full(257, -1.0)
    for k in range(first, last + 1):
        bins[k] = _bin_of(k * (1 / 255), least, most)
    for k in range(256):
        before, here, after = cdf[k], cdf[k + 1], cdf[k + 2]
        after = after if bins[k + 1] == bins[k] + 1 else here
        table[k] = _on_line(k * (1 / 255), bins[k], before, here, after, least, most)
    table[first], table[last] = cdf[first + 1], cdf[last + 1]


@compiled
def equalize_floats(images, out, unit):
    unit = unit if images.shape[3] == 3 else JOINT
    levels = np.empty(_size_of(images, unit), images.dtype)
    bins, new = np.empty_like(levels), np.empty(levels.size)
    counts, cdf = np.empty(BINS, np.int64), np.empty(BINS + 2)
    for i in range(len(images)):
        image, result = np.ascontiguousarray(images[i]).reshape(-1), out[i].reshape(-1)
        for c in range(3 if unit == CHANNEL else 1):
            _gather(image, unit, c, levels)
            least, most = levels.min(), levels.max()
            # 256 bins need 256 different floats between their ends
            equalized = most - least > BINS * np.spacing(most)
            if equalized:
                for j in range(levels.size):
                    bins[j] = _bin_of(levels[j], least, most)
                counts[:] = 0
                for j in range(levels.size):
                    counts[int(bins[j])] += 1
                _fill_in_cdf(counts, cdf)
                for j in range(levels.size):
                    k = int(bins[j])
                    before, here, after = cdf[k], cdf[k + 1], cdf[k + 2]
                    new[j] = _on_line(levels[j], bins[j], before, here, after, least, most)
            _write_floats(image, result, unit, c, levels, new, equalized)


@compiled
def _edge(j, least, most):
    """Of the bins that numpy.histogram makes, in the floats' own precision."""
    kind = type(least)
    return most if j == BINS else kind(j) * ((most - least) / kind(BINS)) + least


@compiled
def _centre(j, least, most):
    kind = type(least)
    return (_edge(j, least, most) + _edge(j + 1, least, most)) / kind(2)


@compiled
def _bin_of(x, least, most):
    """As a float, like all that is reckoned with it, so that the loops become wide."""
    kind = type(least)
    j = min(np.floor((x - least) / (most - least) * kind(BINS)), kind(BINS - 1))
    j = kind(j - (x < _edge(j, least, most)))
    return kind(j + ((j < BINS - 1) & (x >= _edge(j + 1, least, most))))


@compiled
def _on_line(x, j, before, here, after, least, most):
    """numpy.interp between the centres of bin j and of one beside it; the CDF of all three."""
    left, right = np.float64(_centre(j - 1, least, most)), np.float64(_centre(j + 1, least, most))
    centre = np.float64(_centre(j, least, most))
    is_left = x < centre
    left, right = left if is_left else centre, centre if is_left else right
    a, b = before if is_left else here, here if is_left else after
    on_line = (b - a) / (right - left) * (np.float64(x) - left) + a
    return a if a == b else on_line  # where bins are hardly wider than a float, centres may be one


# ---- AHE and CLAHE


@compiled
def clahe_bytes(images, out, height, width, clip_limit):
    n, rows, columns, channels = images.shape
    unit = VALUE if channels == 3 else JOINT
    levels, bins = np.empty(rows * columns, np.uint8), np.empty(rows * columns, np.uint8)
    new, share = np.empty(rows * columns, np.int32), np.empty(PIXELS_IN_CACHE, np.float32)
    table = np.empty(256, np.uint8)
    for i in range(n):
        image, result = np.ascontiguousarray(images[i]).reshape(-1), out[i].reshape(-1)
        _gather(image, unit, 0, levels)
        least, most = int(levels.min()), int(levels.max())
        if least == most:
            out[i] = images[i]
            continue
        for k in range(least, most + 1):
            table[k] = _bin_of_fine((k - least) / (most - least))
        for j in range(levels.size):
            bins[j] = table[levels[j]]
        tiled = bins.reshape(rows, columns)
        darkest, span = _equalize_tiles(tiled, height, width, clip_limit, new)
        if channels == 1:
            for j in range(levels.size):
                result[j] = np.uint8(np.rint(255 * ((new[j] - darkest) / span)))
            continue
        for start in range(0, levels.size, PIXELS_IN_CACHE):
            part, equalized = levels[start : start + PIXELS_IN_CACHE], new[start:]
            for j in range(part.size):
                share[j] = (equalized[j] - darkest) / span * (255 / max(part[j], 1))
            _scale_bytes(image[3 * start :], result[3 * start :], part, share)


@compiled
def clahe_floats(images, out, height, width, clip_limit):
    n, rows, columns, channels = images.shape
    unit = VALUE if channels == 3 else JOINT
    levels, bins = np.empty(rows * columns, images.dtype), np.empty((rows, columns), np.uint8)
    new, equalized = np.empty(rows * columns), np.empty(rows * columns, np.int32)
    for i in range(n):
        image, result = np.ascontiguousarray(images[i]).reshape(-1), out[i].reshape(-1)
        _gather(image, unit, 0, levels)
        least, most = levels.min(), levels.max()
        fine_least, fine_most = np.float64(_fine(least)), np.float64(_fine(most))
        if fine_least < fine_most:
            for y in range(rows):
                for x in range(columns):
                    fine = np.float64(_fine(levels[y * columns + x]))
                    bins[y, x] = _bin_of_fine((fine - fine_least) / (fine_most - fine_least))
            darkest, span = _equalize_tiles(bins, height, width, clip_limit, equalized)
            for j in range(new.size):
                new[j] = (equalized[j] - darkest) / span
        _write_floats(image, result, unit, 0, levels, new, fine_least < fine_most)


@compiled
def _fine(level):
    return np.rint(level * type(level)(65535))


@compiled
def _bin_of_fine(share):
    # half a level more, so that a product, which is quicker than //, is never just under a bin
    return np.int32((np.rint(share * TOP_LEVEL) + 0.5) * (1 / BIN_WIDTH))


@compiled
def _equalize_tiles(bins, height, width, clip_limit, levels):
    """From bins to levels, through the maps of the four tiles around each pixel.

    Returns what is to become 0, and how much more becomes 1.
    """
    rows, columns = bins.shape
    pixels = height * width
    limit = max(int(clip_limit * pixels), 1) if clip_limit > 0 else pixels
    down, across = (rows + height - 1) // height, (columns + width - 1) // width
    maps = np.empty((2, across, BINS), np.float32)  # of two rows of tiles, one at odd places
    histogram = np.empty(BINS, np.int64)
    left, right = np.empty(columns, np.int64), np.empty(columns, np.int64)
    weight, corners = np.empty(columns), np.empty((4, columns), np.float32)
    for x in range(columns):
        left[x], right[x], weight[x] = _tiles_around(x, width, across)
    made = -1
    for y in range(rows):
        upper, lower, b = _tiles_around(y, height, down)
        while made < lower:
            made += 1
            for tile in range(across):
                top, start = made * height, tile * width
                _count_tile(bins, top, start, height, width, histogram)
                _clip(histogram, limit)
                low = high = 0  # two sums at once, as each waits for its last step
                for k in range(BINS // 2):
                    low += histogram[k]
                    high += histogram[k + BINS // 2]
                    histogram[k], histogram[k + BINS // 2] = low, high
                for k in range(BINS // 2, BINS):
                    histogram[k] += low
                of_tile = maps[made % 2, tile]
                for k in range(BINS):  # a tile can be given more pixels than it has
                    level = min(histogram[k] * (TOP_LEVEL / pixels), np.float64(TOP_LEVEL))
                    of_tile[k] = np.floor(level)
        above, below = maps[upper % 2], maps[lower % 2]
        for x in range(columns):
            k, before, after = bins[y, x], left[x], right[x]
            corners[0, x], corners[1, x] = above[before, k], above[after, k]
            corners[2, x], corners[3, x] = below[before, k], below[after, k]
        for x in range(columns):
            a = weight[x]
            # summed in float32, as in scikit-image: the last stretch would enlarge any
            # other rounding where a result has few levels
            total = np.float32(corners[0, x] * ((1 - a) * (1 - b)))
            total += np.float32(corners[1, x] * (a * (1 - b)))
            total += np.float32(corners[2, x] * ((1 - a) * b))
            total += np.float32(corners[3, x] * (a * b))
            levels[y * columns + x] = np.int32(total)
    least, most = np.int32(TOP_LEVEL), np.int32(0)
    for j in range(levels.size):
        least, most = min(least, levels[j]), max(most, levels[j])
    if least == most:  # all white, or all black
        return max(least - 1, 0), np.float64(1)
    return least, np.float64(most - least)


@compiled
def _tiles_around(position, side, count):
    """The tiles before and after a pixel, by their centres, and the weight of the one after."""
    after, offset = divmod(position + side // 2, side)
    return max(after - 1, 0), min(after, count - 1), offset / side


@compiled
def _count_tile(bins, top, left, height, width, histogram):
    rows, columns = bins.shape
    histogram[:] = 0
    inside = min(left + width, columns)
    for y in range(top, top + height):
        line = bins[_mirrored(y, rows)]
        for x in range(left, inside):
            histogram[line[x]] += 1
        for x in range(inside, left + width):  # past the border the image is mirrored
            histogram[line[_mirrored(x, columns)]] += 1


@compiled
def _mirrored(position, n):
    if position < n:
        return position
    if n == 1:
        return 0
    position %= 2 * n - 2
    return position if position < n else 2 * n - 2 - position


@compiled
def _clip(histogram, limit):
    """Spread what is over the limit over the bins that are not full, as scikit-image does.

    First an equal share to each bin, then what is left one by one. A bin within a share of the
    limit is filled to it, so that in large tiles more can be given than was cut.
    """
    excess = start = full = 0
    for k in range(BINS):
        excess += max(histogram[k] - limit, 0)
        histogram[k] = min(histogram[k], limit)
        full += histogram[k] == limit
    share = excess // BINS
    if share:
        full = 0
        for k in range(BINS):
            before = histogram[k]
            if before < limit - share:
                histogram[k] = before + share
            if histogram[k] >= limit - share:
                histogram[k] = limit
            excess -= histogram[k] - before
            full += histogram[k] == limit
    while excess > 0 and full < BINS:
        step = max(1, (BINS - full) // excess)
        some = histogram[start::step]
        for j in range(some.size):
            room = some[j] < limit
            some[j] += room
            full += room & (some[j] == limit)
            excess -= room
        start = (start + 1) % BINS


# ---- from an image, as one long row of numbers, to a unit's numbers and back


@compiled
def _size_of(images, unit):
    _, rows, columns, channels = images.shape
    return rows * columns * (channels if unit == JOINT else 1)


@compiled
def _gather(image, unit, c, levels):
    """Fill in the unit's numbers."""
    if unit == VALUE:
        for j in range(levels.size):
            levels[j] = max(max(image[3 * j], image[3 * j + 1]), image[3 * j + 2])
    elif unit == CHANNEL:
        levels[:] = image[c::3]
    else:
        levels[:] = image


@compiled
def _gather_and_count(image, unit, c, levels, counts):
    """Fill in also how many have each level; return the first and the last that occurs."""
    if unit == JOINT:
        _count(image, counts)
    else:
        _gather(image, unit, c, levels)
        _count(levels, counts)
    first, last = 0, 255
    while counts[first] == 0:
        first += 1
    while counts[last] == 0:
        last -= 1
    return first, last


@compiled
def _count(levels, counts):
    # two counters in turn: neighbours often have one level, and would wait for each other
    counts[:] = 0
    others = np.zeros(256, np.int64)
    for j in range(levels.size // 2):
        counts[levels[2 * j]] += 1
        others[levels[2 * j + 1]] += 1
    if levels.size % 2:
        counts[levels[levels.size - 1]] += 1
    counts += others


@compiled
def _look_up(image, result, unit, c, levels, table, first, last):
    """Send the unit's numbers through the table; one level alone stays as it is."""
    if first == last:
        _copy(image, result, unit, c)
    elif unit == VALUE:
        scales, share = np.empty(256, np.float32), np.empty(PIXELS_IN_CACHE, np.float32)
        for k in range(256):
            scales[k] = table[k] * (255 / max(k, 1))
        for start in range(0, levels.size, PIXELS_IN_CACHE):
            part = levels[start : start + PIXELS_IN_CACHE]
            for j in range(part.size):
                share[j] = scales[part[j]]
            _scale_bytes(image[3 * start :], result[3 * start :], part, share)
    else:
        new = np.empty(256, np.uint8)
        for k in range(first, last + 1):
            new[k] = np.uint8(np.rint(255 * table[k]))
        if unit == CHANNEL:
            for j in range(levels.size):
                result[3 * j + c] = new[levels[j]]
        else:
            for j in range(image.size):
                result[j] = new[image[j]]


@compiled
def _copy(image, result, unit, c):
    first, step = (c, 3) if unit == CHANNEL else (0, 1)
    result[first::step] = image[first::step]


@compiled
def _scale_bytes(image, result, value, share):
    """RGB times V'/V, which keeps hue and saturation.

    Black has no hue and becomes grey: it is taken for 1, and `share` is V' itself.
    """
    for j in range(value.size):
        is_black = value[j] == 0
        for c in range(3):
            scaled = np.float32(image[3 * j + c] + is_black) * share[j]
            result[3 * j + c] = np.uint8(np.int32(np.rint(scaled)))


@compiled
def _write_floats(image, result, unit, c, levels, new, changed):
    """Floats: write the unit's new numbers, or, for V, RGB times V'/V."""
    first, step = (c, 3) if unit == CHANNEL else (0, 1)
    if not changed:
        _copy(image, result, unit, c)
    elif unit == VALUE:
        for j in range(levels.size):
            for c in range(3):
                share = image[3 * j + c] / levels[j]
                share = share if levels[j] > 0 else 1
                result[3 * j + c] = min(max(share * new[j], 0.0), 1.0)
    else:
        for j in range(levels.size):
            result[first + step * j] = min(max(new[j], 0.0), 1.0)
