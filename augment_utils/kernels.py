"""The compiled loops behind contrast.py: no checks, no policy.

A kernel takes a batch ``(N, H, W, C)`` with C = 1 or 3, uint8 in 0..255 or float in 0..1, and
writes the result into ``out``, image by image. It needs memory for one image at a time, and
holds no lock, so that several threads can work on parts of one batch. Numba compiles it when
it is first called and keeps the result on disk.

What numbers share a histogram is called a unit: all channels, one channel, or V.
"""

import numba
import numpy as np

JOINT, CHANNEL, VALUE = range(3)

BINS = 256
# As in scikit-image, AHE and CLAHE round V to 16,384 grey levels, of which 65 neighbours
# share a bin.
TOP_LEVEL = 2**14 - 1
BIN_WIDTH = 65

# Bytes are multiplied by V'/V as integers with so many binary places.
PLACES = 22
HALF = 1 << (PLACES - 1)

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


# ---- contrast stretching


@compiled
def stretch_bytes(images, out, unit, low, high):
    unit = unit if images.shape[3] == 3 else JOINT
    counts, table = np.empty(256, np.int64), np.empty(256)
    scale = 1 / 255 if unit == VALUE else 1.0  # V is a float
    for i in range(len(images)):
        for c in range(3 if unit == CHANNEL else 1):
            total = _count(images[i], unit, c, counts)
            first, last = _ends(counts)
            p = _percentile_of_counts(counts, total, low, scale)
            q = _percentile_of_counts(counts, total, high, scale)
            for k in range(first, last + 1):
                table[k] = _stretched(k * scale, p, q) if p < q else p / scale / 255
            _look_up(images[i], out[i], unit, c, table, first, last)


@compiled
def stretch_floats(images, out, unit, low, high):
    unit = unit if images.shape[3] == 3 else JOINT
    levels = np.empty(_size_of(images, unit), images.dtype)
    new = np.empty(levels.size)
    for i in range(len(images)):
        for c in range(3 if unit == CHANNEL else 1):
            least, most = _gather(images[i], unit, c, levels)
            if least < most:
                p, q = _percentiles(levels, low, high)
                for j in range(levels.size):
                    new[j] = _stretched(levels[j], p, q) if p < q else p
            _scatter(images[i], out[i], unit, c, levels, new, least < most)


@compiled
def _stretched(x, p, q):
    return (min(max(x, p), q) - p) / (q - p)


@compiled
def _percentile_of_counts(counts, total, percent, scale):
    """As numpy.percentile: between the two nearest in order."""
    place = percent / 100 * (total - 1)
    below = int(np.floor(place))
    k, seen = 0, counts[0]
    while seen <= below:
        k += 1
        seen += counts[k]
    after = k
    if below + 1 < total and seen <= below + 1:
        after += 1
        while counts[after] == 0:
            after += 1
    return _between(k * scale, after * scale, place - below)


@compiled
def _percentiles(levels, low, high):
    in_order = np.sort(levels)
    ends = np.empty(2)
    for j, percent in enumerate((low, high)):
        place = percent / 100 * (levels.size - 1)
        below = int(np.floor(place))
        after = min(below + 1, levels.size - 1)
        ends[j] = _between(in_order[below], in_order[after], place - below)
    return ends[0], ends[1]


@compiled
def _between(a, b, weight):
    difference = b - a
    return b - difference * (1 - weight) if weight >= 0.5 else a + difference * weight


# ---- histogram equalization


@compiled
def equalize_bytes(images, out, unit):
    unit = unit if images.shape[3] == 3 else JOINT
    counts, table = np.empty(256, np.int64), np.empty(256)
    for i in range(len(images)):
        for c in range(3 if unit == CHANNEL else 1):
            total = _count(images[i], unit, c, counts)
            first, last = _ends(counts)
            for k in range(first + 1, last + 1):
                counts[k] += counts[k - 1]
            if unit == VALUE and first < last:
                _interpolated_cdf(counts, total, first, last, table)
            else:
                for k in range(first, last + 1):
                    table[k] = counts[k] / total
            _look_up(images[i], out[i], unit, c, table, first, last)


@compiled
def _interpolated_cdf(cumulative, total, first, last, table):
    """V of bytes, counted as the float that it is, in 256 bins between its ends.

    Bins are narrower than a grey level, so that each level has a bin of its own, and the bin
    before or after it is empty or holds the level before or after.
    """
    least, most = first * (1 / 255), last * (1 / 255)
    for k in range(first, last + 1):
        if k > first and cumulative[k] == cumulative[k - 1]:
            continue
        x = k * (1 / 255)
        j = _bin_of(x, least, most)
        other, other_count = j, cumulative[k]
        if x < _centre(j, least, most):
            if j > 0:
                other, other_count = j - 1, cumulative[k - 1]
        elif k < last and _bin_of((k + 1) * (1 / 255), least, most) == j + 1:
            other, other_count = j + 1, cumulative[k + 1]
        lower, upper = min(j, other), max(j, other)
        a, b = min(cumulative[k], other_count) / total, max(cumulative[k], other_count) / total
        table[k] = _on_line(x, lower, upper, a, b, least, most)


@compiled
def equalize_floats(images, out, unit):
    unit = unit if images.shape[3] == 3 else JOINT
    levels = np.empty(_size_of(images, unit), images.dtype)
    new, counts = np.empty(levels.size), np.empty(BINS, np.int64)
    for i in range(len(images)):
        for c in range(3 if unit == CHANNEL else 1):
            least, most = _gather(images[i], unit, c, levels)
            # 256 bins need 256 different floats between their ends
            equalized = most - least > BINS * np.spacing(most)
            if equalized:
                counts[:] = 0
                for j in range(levels.size):
                    counts[_bin_of(levels[j], least, most)] += 1
                for k in range(1, BINS):
                    counts[k] += counts[k - 1]
                for j in range(levels.size):
                    k = _bin_of(levels[j], least, most)
                    lower = k - 1 if levels[j] < _centre(k, least, most) else k
                    upper = min(lower + 1, BINS - 1)
                    lower = max(lower, 0)
                    a, b = counts[lower] / levels.size, counts[upper] / levels.size
                    new[j] = _on_line(levels[j], lower, upper, a, b, least, most)
            _scatter(images[i], out[i], unit, c, levels, new, equalized)


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
    kind = type(least)
    j = min(int((x - least) / (most - least) * kind(BINS)), BINS - 1)
    if x < _edge(j, least, most):
        return j - 1
    if j < BINS - 1 and x >= _edge(j + 1, least, most):
        return j + 1
    return j


@compiled
def _on_line(x, lower, upper, a, b, least, most):
    """numpy.interp between the centres of two bins, where the CDF is a and b."""
    if lower == upper:
        return a
    left, right = np.float64(_centre(lower, least, most)), np.float64(_centre(upper, least, most))
    return (b - a) / (right - left) * (np.float64(x) - left) + a


# ---- AHE and CLAHE


@compiled
def clahe_bytes(images, out, height, width, clip_limit):
    n, rows, columns, channels = images.shape
    unit = VALUE if channels == 3 else JOINT
    levels, bins = np.empty(rows * columns, np.uint8), np.empty((rows, columns), np.uint8)
    new, table = np.empty(rows * columns), np.empty(256, np.uint8)
    for i in range(n):
        least, most = _gather(images[i], unit, 0, levels)
        if least == most:
            out[i] = images[i]
            continue
        for k in range(least, most + 1):
            table[k] = _bin_of_fine((k - least) / (most - least))
        for j in range(levels.size):
            bins.flat[j] = table[levels[j]]
        _equalize_tiles(bins, height, width, clip_limit, new)
        if channels == 1:
            for y in range(rows):
                for x in range(columns):
                    out[i, y, x, 0] = np.uint8(np.rint(255 * new[y * columns + x]))
        else:
            _scale_bytes(images[i], out[i], levels, new)


@compiled
def clahe_floats(images, out, height, width, clip_limit):
    n, rows, columns, channels = images.shape
    unit = VALUE if channels == 3 else JOINT
    levels, bins = np.empty(rows * columns, images.dtype), np.empty((rows, columns), np.uint8)
    new = np.empty(rows * columns)
    for i in range(n):
        least, most = _gather(images[i], unit, 0, levels)
        fine_least, fine_most = _fine(least), _fine(most)
        if fine_least < fine_most:
            for j in range(levels.size):
                fine = np.float64(_fine(levels[j]))
                bins.flat[j] = _bin_of_fine((fine - fine_least) / (fine_most - fine_least))
            _equalize_tiles(bins, height, width, clip_limit, new)
        _scatter(images[i], out[i], unit, 0, levels, new, fine_least < fine_most)


@compiled
def _fine(level):
    return np.rint(level * type(level)(65535))


@compiled
def _bin_of_fine(share):
    return int(np.rint(share * TOP_LEVEL)) // BIN_WIDTH


@compiled
def _equalize_tiles(bins, height, width, clip_limit, new):
    """From bins to V in 0..1, through the maps of the four tiles around each pixel."""
    rows, columns = bins.shape
    down, across = (rows + height - 1) // height, (columns + width - 1) // width
    maps = np.empty((2, across, BINS), np.float32)  # of two rows of tiles, one at odd places
    left, right = np.empty(columns, np.int64), np.empty(columns, np.int64)
    weight = np.empty(columns)
    for x in range(columns):
        left[x], right[x], weight[x] = _tiles_around(x, width, across)
    made = -1
    least, most = np.float64(TOP_LEVEL), 0.0
    for y in range(rows):
        upper, lower, b = _tiles_around(y, height, down)
        while made < lower:
            made += 1
            for tile in range(across):
                _map_tile(bins, made, tile, height, width, clip_limit, maps[made % 2, tile])
        above, below = maps[upper % 2], maps[lower % 2]
        for x in range(columns):
            k, a = bins[y, x], weight[x]
            # summed in float32, as in scikit-image: the last stretch would enlarge any
            # other rounding where a result has few levels
            s = np.float32(above[left[x], k] * ((1 - a) * (1 - b)))
            s += np.float32(above[right[x], k] * (a * (1 - b)))
            s += np.float32(below[left[x], k] * ((1 - a) * b))
            s += np.float32(below[right[x], k] * (a * b))
            level = np.floor(np.float64(s))
            new[y * columns + x] = level
            least, most = min(least, level), max(most, level)
    for j in range(new.size):
        new[j] = (new[j] - least) / (most - least) if least < most else min(new[j], 1.0)


@compiled
def _tiles_around(position, side, count):
    """The tiles before and after a pixel, by their centres, and the weight of the one after."""
    after, offset = divmod(position + side // 2, side)
    return max(after - 1, 0), min(after, count - 1), offset / side


@compiled
def _map_tile(bins, row, column, height, width, clip_limit, tile_map):
    """What the tile's clipped histogram maps each bin to; past the border it is mirrored."""
    rows, columns = bins.shape
    pixels = height * width
    limit = max(int(clip_limit * pixels), 1) if clip_limit > 0 else pixels
    histogram = np.zeros(BINS, np.int64)
    excess = full = 0
    for y in range(row * height, (row + 1) * height):
        for x in range(column * width, (column + 1) * width):
            k = bins[_mirrored(y, rows), _mirrored(x, columns)]
            if histogram[k] < limit:
                histogram[k] += 1
                full += histogram[k] == limit
            else:
                excess += 1
    if excess:
        _hand_out(histogram, limit, excess, full)
    running, scale = 0, TOP_LEVEL / pixels
    for k in range(BINS):
        running += histogram[k]
        tile_map[k] = np.floor(min(running * scale, np.float64(TOP_LEVEL)))


@compiled
def _mirrored(position, n):
    if position < n:
        return position
    if n == 1:
        return 0
    position %= 2 * n - 2
    return position if position < n else 2 * n - 2 - position


@compiled
def _hand_out(histogram, limit, excess, full):
    """Spread the excess over the bins that are not full, as scikit-image does.

    First an equal share to each bin, then what is left one by one. A bin within a share of
    the limit is filled to the limit, so that in large tiles more can be handed out than was
    cut.
    """
    share = excess // BINS
    if share:
        full = 0
        for k in range(BINS):
            before = histogram[k]
            if before < limit - share:
                histogram[k] = before + share
            if histogram[k] >= limit - share:
                histogram[k] = limit
                full += 1
            excess -= histogram[k] - before
    start = 0
    while excess > 0 and full < BINS:
        step = max(1, (BINS - full) // excess)
        for k in range(start, BINS, step):
            if histogram[k] < limit:
                histogram[k] += 1
                full += histogram[k] == limit
                excess -= 1
        start = (start + 1) % BINS


# ---- from an image to a unit's numbers, and back


@compiled
def _size_of(images, unit):
    _, rows, columns, channels = images.shape
    return rows * columns * (channels if unit == JOINT else 1)


@compiled
def _gather(image, unit, c, levels):
    """Fill in the unit's numbers; return the smallest and the largest."""
    rows, columns, channels = image.shape
    j = 0
    for y in range(rows):
        for x in range(columns):
            if unit == VALUE:
                levels[j] = max(image[y, x, 0], image[y, x, 1], image[y, x, 2])
                j += 1
            elif unit == CHANNEL:
                levels[j] = image[y, x, c]
                j += 1
            else:
                for channel in range(channels):
                    levels[j] = image[y, x, channel]
                    j += 1
    return levels.min(), levels.max()


@compiled
def _count(image, unit, c, counts):
    """Fill in how many of the unit's numbers have each level; return how many there are."""
    rows, columns, channels = image.shape
    counts[:] = 0
    for y in range(rows):
        for x in range(columns):
            if unit == VALUE:
                counts[max(image[y, x, 0], image[y, x, 1], image[y, x, 2])] += 1
            elif unit == CHANNEL:
                counts[image[y, x, c]] += 1
            else:
                for channel in range(channels):
                    counts[image[y, x, channel]] += 1
    return rows * columns * (channels if unit == JOINT else 1)


@compiled
def _ends(counts):
    first, last = 0, 255
    while counts[first] == 0:
        first += 1
    while counts[last] == 0:
        last -= 1
    return first, last


@compiled
def _look_up(image, result, unit, c, table, first, last):
    """Send the unit's numbers through the table; one level alone stays as it is."""
    rows, columns, channels = image.shape
    if unit == VALUE:
        scales, black = np.empty(256, np.int64), 0
        for k in range(first, last + 1):
            value = table[k] if first < last else k / 255
            if k == 0:
                black = int(np.rint(255 * value))
            else:
                scales[k] = int(np.rint(value * (255 / k) * (1 << PLACES)))
        for y in range(rows):
            for x in range(columns):
                r, g, b = image[y, x, 0], image[y, x, 1], image[y, x, 2]
                _scale_pixel(result, y, x, r, g, b, scales[max(r, g, b)], black)
        return
    levels = np.empty(256, np.uint8)
    for k in range(first, last + 1):
        levels[k] = np.uint8(np.rint(255 * table[k])) if first < last else k
    for y in range(rows):
        for x in range(columns):
            if unit == CHANNEL:
                result[y, x, c] = levels[image[y, x, c]]
            else:
                for channel in range(channels):
                    result[y, x, channel] = levels[image[y, x, channel]]


@compiled
def _scale_bytes(image, result, levels, new):
    """RGB times V'/V, which keeps hue and saturation."""
    rows, columns, _ = image.shape
    over = np.empty(256)
    for k in range(1, 256):
        over[k] = 255 / k * (1 << PLACES)
    j = 0
    for y in range(rows):
        for x in range(columns):
            r, g, b = image[y, x, 0], image[y, x, 1], image[y, x, 2]
            black = int(np.rint(255 * new[j])) if levels[j] == 0 else 0
            scale = int(np.rint(new[j] * over[levels[j]])) if levels[j] else 0
            _scale_pixel(result, y, x, r, g, b, scale, black)
            j += 1


@compiled
def _scale_pixel(result, y, x, r, g, b, scale, black):
    if r | g | b:
        result[y, x, 0] = (r * scale + HALF) >> PLACES
        result[y, x, 1] = (g * scale + HALF) >> PLACES
        result[y, x, 2] = (b * scale + HALF) >> PLACES
    else:  # black has no hue: it becomes grey
        result[y, x, 0] = result[y, x, 1] = result[y, x, 2] = black


@compiled
def _scatter(image, result, unit, c, levels, new, changed):
    """Floats: write the unit's new numbers, or, for V, RGB times V'/V."""
    rows, columns, channels = image.shape
    j = 0
    for y in range(rows):
        for x in range(columns):
            if unit == VALUE:
                for channel in range(3):
                    result[y, x, channel] = image[y, x, channel]
                    if changed:
                        share = image[y, x, channel] / levels[j] if levels[j] > 0 else 1
                        result[y, x, channel] = min(max(share * new[j], 0.0), 1.0)
                j += 1
            elif unit == CHANNEL:
                result[y, x, c] = min(max(new[j], 0.0), 1.0) if changed else image[y, x, c]
                j += 1
            else:
                for channel in range(channels):
                    result[y, x, channel] = image[y, x, channel]
                    if changed:
                        result[y, x, channel] = min(max(new[j], 0.0), 1.0)
                    j += 1
