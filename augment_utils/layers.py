"""The four contrast transforms as Keras layers, which travel inside a saved model.

Written with ``keras.ops`` alone, so that they run in a graph, under XLA, on a GPU and with each
of Keras' backends. They give what the functions of :mod:`augment_utils.contrast` give, to within
one grey level of 255, and their first arguments mean the same; the others are those of
:class:`ContrastLayer`.

A layer cannot refuse numbers: what lies outside the range is clipped to it. Of the shape and the
dtype it complains when it is built.
"""

from typing import Any

import numpy as np

from augment_utils.contrast import (
    Color,
    check_clip_limit,
    check_color,
    check_percentiles,
    sides_of_tile,
)
from augment_utils.keras_bridge import check_probability, check_range, quiet_startup
from augment_utils.kernels import BIN_WIDTH, BINS, TOP_LEVEL

with quiet_startup():
    import keras
    from keras import ops

register = keras.saving.register_keras_serializable("augment_utils")
Range = tuple[float, float]
# of what decides a grey level's bin; JAX has no more, unless it is told to
PRECISE = "float32" if keras.backend.backend() == "jax" else "float64"


class ContrastLayer(keras.layers.Layer):
    """Images in a range to levels in 0..1 and back; what happens between, its subclasses say.

    Parameters
    ----------
    value_range : (float, float)
        Of float images, (N, H, W, C) or (H, W, C) with C = 1 or 3, which come back in the
        layer's compute dtype. uint8 is in 0..255 and stays uint8.
    probability : float
        At 1 every image is transformed, in training and at inference. Below 1 none is at
        inference, and in training each by a draw of its own.
    seed : int or None
        Of the draws.

    Raises
    ------
    TypeError, ValueError
        An argument, or, when it is built, a shape or a dtype, is impossible.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        color: Color,
        value_range: Range,
        probability: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_probability(probability)
        self.value_range, self.probability = check_range(value_range), probability
        self.settings, self.color = settings, check_color(color)
        self.own_config = {"value_range": value_range, "probability": probability, "seed": seed}
        self.seed_generator = keras.random.SeedGenerator(seed) if probability < 1 else None

    def build(self, input_shape):
        *_, self.height, self.width, self.channels = (None, *input_shape)
        if len(input_shape) not in (3, 4) or not self.height or not self.width:
            raise ValueError(f"got shape {input_shape}, expected (N, H, W, C) or (H, W, C)")
        if self.channels not in (1, 3):
            raise ValueError(f"got shape {input_shape}, expected 1 or 3 channels, as the last axis")

    def get_config(self):
        return super().get_config() | self.settings | self.own_config

    def compute_output_spec(self, images, training=None):
        return keras.KerasTensor(images.shape, self._output_dtype(images))

    def call(self, images, training=None):
        dtype = self._output_dtype(images)
        batch = images if len(images.shape) == 4 else images[None]
        (low, high), is_bytes = self.value_range, dtype == "uint8"
        if is_bytes:
            low, high, unit = 0, 255, ops.cast(batch, "float32") / 255
        else:
            # a compiler may divide by a constant by multiplying, which float32 would show
            unit = (ops.cast(batch, PRECISE) - low) / (high - low)
            unit = ops.clip(ops.cast(unit, "float32"), 0, 1)
        levels = self._gathered(unit)
        whole = ops.cast(ops.round(levels * 255), "int32") if is_bytes else None
        result = self._scattered(unit, levels, self._transformed(levels, whole))
        result = result * (high - low) + low
        result = ops.cast(ops.round(result) if is_bytes else result, dtype)
        if self.probability < 1:
            draws = keras.random.uniform((ops.shape(batch)[0], 1, 1, 1), seed=self.seed_generator)
            chosen = ops.logical_and(draws < self.probability, bool(training))
            result = ops.where(chosen, result, ops.cast(batch, dtype))
        return ops.reshape(result, ops.shape(images))

    def _output_dtype(self, images):
        dtype = keras.backend.standardize_dtype(images.dtype)
        if dtype != "uint8" and not keras.backend.is_float_dtype(dtype):
            raise TypeError(f"got {dtype}, expected uint8 in 0..255 or float in {self.value_range}")
        return "uint8" if dtype == "uint8" else self.compute_dtype

    def _gathered(self, batch):
        """In a row what shares a histogram."""
        if self.channels == 1 or self.color == "joint":
            return ops.reshape(batch, (-1, self.height * self.width * self.channels))
        if self.color == "channel":
            planes = ops.transpose(batch, (0, 3, 1, 2))
        else:
            red, green, blue = ops.unstack(batch, axis=-1)
            planes = ops.maximum(ops.maximum(red, green), blue)
        return ops.reshape(planes, (-1, self.height * self.width))

    def _scattered(self, batch, levels, new):
        """Rows to a batch again; for V, RGB times V'/V, and black becomes grey."""
        if self.channels == 1 or self.color == "joint":
            return ops.reshape(new, ops.shape(batch))
        if self.color == "channel":
            new = ops.reshape(new, (-1, self.channels, self.height, self.width))
            return ops.transpose(new, (0, 2, 3, 1))
        is_black, sides = levels == 0, (-1, self.height, self.width, 1)
        factor = ops.where(is_black, 0, new / ops.where(is_black, 1, levels))
        grey = ops.where(is_black, new, 0)
        return ops.minimum(batch * ops.reshape(factor, sides) + ops.reshape(grey, sides), 1)

    def _transformed(self, levels, whole):
        """Rows of levels in 0..1, and of the whole numbers 0..255 that they were, to new ones."""
        raise NotImplementedError


@register
class ContrastStretching(ContrastLayer):
    """:func:`augment_utils.contrast_stretching` as a layer."""

    def __init__(
        self,
        low: float = 2.0,
        high: float = 98.0,
        color: Color = "joint",
        value_range: Range = (0, 255),
        probability: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_percentiles(low, high)
        settings = {"low": low, "high": high, "color": color}
        super().__init__(settings, color, value_range, probability, seed, **kwargs)

    def _transformed(self, levels, whole):
        low, high = (_percentile(levels, self.settings[end]) for end in ("low", "high"))
        stretched = (ops.clip(levels, low, high) - low) / ops.where(low < high, high - low, 1)
        least, most = _ends(levels)
        return ops.where(least == most, levels, ops.where(low < high, stretched, low))


@register
class HistogramEqualization(ContrastLayer):
    """:func:`augment_utils.histogram_equalization` as a layer."""

    def __init__(
        self,
        color: Color = "value",
        value_range: Range = (0, 255),
        probability: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__({"color": color}, color, value_range, probability, seed, **kwargs)

    def _transformed(self, levels, whole):
        if whole is None:
            least, most = _ends(levels)
            bins = _bin_of(levels, least, most)
            cdf = _cdf(bins, ops.ones_like(levels))
            # 256 bins need 256 different floats between their ends
            is_flat = most - least <= BINS * np.finfo(np.float32).eps * most
            return ops.where(is_flat, levels, _interpolated(cdf, bins, levels, least, most))
        counts = _histogram(whole, ops.ones_like(levels))
        cdf = ops.cumsum(counts, axis=1) / levels.shape[1]
        if self.channels == 3 and self.color == "value":  # V is counted as a float
            every = ops.arange(BINS, dtype=PRECISE)[None] * (1 / 255)
            least, most = (ops.cast(end, PRECISE) * (1 / 255) for end in _ends(whole))
            bins = _bin_of(every, least, most)
            cdf = _interpolated(_cdf(bins, counts), bins, every, least, most)
        least, most = _ends(levels)
        return ops.where(least == most, levels, _look_up(ops.cast(cdf, "float32"), whole))


@register
class CLAHE(ContrastLayer):
    """:func:`augment_utils.clahe` as a layer."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int] | None = None,
        clip_limit: float = 0.03,
        value_range: Range = (0, 255),
        probability: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.clip_limit = check_clip_limit(clip_limit)
        sides_of_tile(kernel_size, (1, 1))
        settings = {"kernel_size": kernel_size, "clip_limit": clip_limit}
        super().__init__(settings, "value", value_range, probability, seed, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        sides = self.height, self.width
        self.tile = sides_of_tile(self.settings["kernel_size"], sides)
        self.tiles = [-(-side // tile) for side, tile in zip(sides, self.tile, strict=True)]
        # past the border the image is mirrored
        self.mirrored = [
            np.pad(np.arange(side), (0, count * tile - side), "reflect" if side > 1 else "edge")
            for side, count, tile in zip(sides, self.tiles, self.tile, strict=True)
        ]

    def _transformed(self, levels, whole):
        fine = ops.round(levels * 65535) if whole is None else whole
        least, most = (ops.cast(end, PRECISE) for end in _ends(fine))
        share = (ops.cast(fine, PRECISE) - least) / ops.where(least < most, most - least, 1)
        bins = ops.cast(ops.round(share * TOP_LEVEL), "int32") // BIN_WIDTH
        new = self._interpolated(self._maps(bins), bins)
        lowest, highest = _ends(new)
        stretched = (new - lowest) / ops.where(lowest < highest, highest - lowest, 1)
        new = ops.where(lowest < highest, stretched, ops.minimum(new, 1))
        return ops.where(least < most, new, levels)

    def _maps(self, bins):
        """What each tile makes of each bin: the image's tiles in a row, levels 0..16,383."""
        (height, width), (down, across) = self.tile, self.tiles
        pixels = height * width
        limit = max(int(self.clip_limit * pixels), 1) if self.clip_limit > 0 else pixels
        bins = ops.reshape(bins, (-1, self.height, self.width))
        for axis, places in enumerate(self.mirrored, 1):
            if len(places) > bins.shape[axis]:
                bins = ops.take(bins, places, axis=axis)
        tiles = ops.reshape(bins, (-1, down, height, across, width))
        tiles = ops.reshape(ops.transpose(tiles, (0, 1, 3, 2, 4)), (-1, pixels))
        histogram = _histogram(tiles, ops.ones_like(tiles, "float32"))
        if limit < pixels:
            histogram = _clipped(histogram, limit, pixels)
        given = ops.cumsum(histogram, axis=1)  # may come to more than the pixels
        levels = np.minimum(np.arange(pixels + BINS + 1) * (TOP_LEVEL / pixels), TOP_LEVEL)
        places = ops.minimum(ops.cast(given, "int32"), pixels + BINS)
        maps = ops.take(np.floor(levels).astype(np.float32), places)
        return ops.reshape(maps, (-1, down * across * BINS))

    def _interpolated(self, maps, bins):
        """Between the maps of the four tiles around each pixel."""
        total = 0
        rows, columns = (
            _around(*three)
            for three in zip((self.height, self.width), self.tile, self.tiles, strict=True)
        )
        for row, down in rows:
            for column, across in columns:
                tile = row[:, None] * self.tiles[1] + column
                corner = _look_up(maps, bins + BINS * tile.reshape(1, -1).astype(np.int32))
                weight = (down[:, None] * across).reshape(1, -1)
                if np.array_equal(weight, weight.astype(np.float32)):
                    total += corner * weight.astype(np.float32)
                else:
                    total += ops.cast(ops.cast(corner, PRECISE) * weight, "float32")
        return ops.floor(total)


@register
class AdaptiveHistogramEqualization(CLAHE):
    """:func:`augment_utils.adaptive_histogram_equalization` as a layer."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int] | None = None,
        value_range: Range = (0, 255),
        probability: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, 1.0, value_range, probability, seed, **kwargs)
        self.settings = {"kernel_size": kernel_size}


# ---- in rows: (M, n) numbers, (M, bins) histograms


def _ends(rows):
    return ops.min(rows, axis=1, keepdims=True), ops.max(rows, axis=1, keepdims=True)


def _percentile(rows, percent):
    """As numpy.percentile, from the nearer end, so that few numbers are put in order."""
    place = percent / 100 * (rows.shape[1] - 1)
    if place > rows.shape[1] / 2:
        return -_percentile(-rows, 100 - percent)
    below, weight = divmod(place, 1)
    in_order = -ops.top_k(-rows, min(int(below) + 2, rows.shape[1]))[0]
    a, b = in_order[:, int(below), None], in_order[:, -1:]
    return a + (b - a) * weight


def _histogram(index, weight, bins=BINS):
    """How much weight each index has."""
    count = ops.shape(index)[0]
    places = index + bins * ops.arange(count, dtype="int32")[:, None]
    sums = ops.segment_sum(ops.reshape(weight, (-1,)), ops.reshape(places, (-1,)), count * bins)
    return ops.reshape(sums, (-1, bins))


def _look_up(tables, index):
    """In each row of the index, from the same row of the tables."""
    first = tables.shape[1] * ops.arange(ops.shape(index)[0], dtype="int32")[:, None]
    return ops.take(ops.reshape(tables, (-1,)), index + first)


def _cdf(bins, weight):
    given = ops.cumsum(_histogram(bins, weight), axis=1)
    return given / given[:, -1:]


def _edge(j, least, most):
    """Of 256 bins, as numpy.histogram makes them."""
    # the maximum changes nothing, but keeps XLA from adding before the product is rounded
    from_least = ops.maximum(ops.cast(j, least.dtype) * ((most - least) / BINS), 0)
    return ops.where(j == BINS, most, from_least + least)


def _centre(j, least, most):
    return (_edge(j, least, most) + _edge(j + 1, least, most)) / 2


def _bin_of(x, least, most):
    share = (x - least) / ops.where(least < most, most - least, 1)
    j = ops.clip(ops.cast(share * BINS, "int32"), 0, BINS - 1)
    j = ops.maximum(j - ops.cast(x < _edge(j, least, most), "int32"), 0)
    goes_up = ops.logical_and(j < BINS - 1, x >= _edge(j + 1, least, most))
    return j + ops.cast(goes_up, "int32")


def _interpolated(cdf, bins, x, least, most):
    """The CDF between the centres of its bins, at numbers in known bins."""
    lower = bins - ops.cast(x < _centre(bins, least, most), "int32")
    upper, lower = ops.minimum(lower + 1, BINS - 1), ops.maximum(lower, 0)
    a, b = (ops.cast(_look_up(cdf, j), x.dtype) for j in (lower, upper))
    left, right = _centre(lower, least, most), _centre(upper, least, most)
    on_line = (b - a) / ops.where(lower < upper, right - left, 1) * (x - left) + a
    return ops.where(lower < upper, on_line, a)


# ---- CLAHE


def _around(pixels, side, count):
    """The tiles before and after each pixel of a row or column of them, with their weights."""
    after, offset = np.divmod(np.arange(pixels) + side // 2, side)
    weight = offset / side
    return (np.maximum(after - 1, 0), 1 - weight), (np.minimum(after, count - 1), weight)


def _clipped(histogram, limit, pixels):
    """Cut off what is over the limit and hand it out again, as the function does.

    First an equal share, then rounds of one for every step-th bin, for each tile with a step of
    its own, until nothing is left or every bin is full.
    """
    cut = ops.minimum(histogram, limit)
    excess = pixels - ops.sum(cut, axis=1, keepdims=True)
    if pixels >= BINS:  # or else a share is nothing
        share = ops.floor(excess / BINS)
        filled = ops.where(cut < limit - share, cut + share, cut)
        filled = ops.where(filled >= limit - share, limit, filled)
        excess, cut = excess - ops.sum(filled - cut, axis=1, keepdims=True), filled

    def is_left(histogram, excess, start):
        return ops.any(excess > 0)

    def hand_out(histogram, excess, start):
        room = ops.cast(histogram < limit, "float32")
        free = ops.sum(room, axis=1)
        left = excess[:, 0]
        step = ops.maximum(ops.floor(free / ops.maximum(left, 1)), 1)
        turns = ops.slice(ops.convert_to_tensor(TURNS), (0, BINS - start), (BINS + 1, BINS))
        given = room * ops.take(turns, ops.cast(ops.where(left > 0, step, 0), "int32"), axis=0)
        left = ops.where(free > 0, left - ops.sum(given, axis=1), 0)
        return histogram + given, left[:, None], (start + 1) % BINS

    start = ops.zeros((), "int32")
    return ops.while_loop(is_left, hand_out, (cut, excess, start))[0]


# for each step, a row of 256 zeros and then 1 at each bin whose turn it is: none for a step of 0
TURNS = np.zeros((BINS + 1, 2 * BINS), np.float32)
TURNS[1:, BINS:] = np.arange(BINS) % np.arange(1, BINS + 1)[:, np.newaxis] == 0
