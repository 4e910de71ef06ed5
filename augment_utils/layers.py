"""The four contrast transforms as Keras layers, which travel inside a saved model.

Written with ``keras.ops`` alone, so that they run in a graph, under XLA, on a GPU and with each
of Keras' backends. They give what the functions of :mod:`augment_utils.contrast` give, to within
one grey level of 255, and their first arguments mean the same; the others are those of
:class:`ContrastLayer`.

A layer cannot refuse numbers: what lies outside the range is clipped to it, and NaN is its lower
end. Of the shape and the dtype it complains when it is built.

With JAX as the backend set JAX_ENABLE_X64=1: without float64 some pixels get into the next bin of
a histogram, of floats and of the V of bytes. In a ``tf.data`` pipeline they want TensorFlow's
backend; :func:`augment_utils.as_dataset_map` does not.
"""

import math
import sys
from typing import Any

import numpy as np

from augment_utils.contrast import (
    Color,
    check_clip_limit,
    check_color,
    check_percentiles,
    sides_of_tile,
)
from augment_utils.keras_bridge import check_probability, check_range, check_seed, quiet_startup
from augment_utils.kernels import BIN_WIDTH, BINS, TOP_LEVEL

with quiet_startup():
    import keras
    from keras import ops

register = keras.saving.register_keras_serializable("augment_utils")
Range = tuple[float, float]
# what decides a grey level's bin; JAX has float64 only if it was told
HAS_FLOAT64 = keras.backend.backend() != "jax" or sys.modules["jax"].config.jax_enable_x64


class ContrastLayer(keras.layers.Layer):
    """Images in a range to levels in 0..1 and back; what happens between, its subclasses say.

    It takes images (N, H, W, C) or one (H, W, C), C = 1 or 3, H and W known: uint8 in 0..255, which
    stay uint8, or floats in ``value_range``, which come back in the layer's compute dtype.

    Parameters
    ----------
    value_range : (float, float)
        Of float images.
    probability : float
        At 1 every image is transformed, in training and at inference. Below 1 none is at
        inference, and in training each by a draw of its own.
    seed : int or None
        Of the draws. None takes one from ``keras.utils.set_random_seed``, if that was called.

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
        self.color, self.value_range = check_color(color), check_range(value_range)
        self.probability = probability
        seed = check_seed(seed)
        own = {"value_range": self.value_range, "probability": probability, "seed": seed}
        self.settings = settings | own
        self.seed_generator = keras.random.SeedGenerator(seed) if probability < 1 else None

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.settings

    def compute_output_shape(self, images_shape: Any, *_: Any, **__: Any) -> Any:
        return images_shape

    def compute_output_spec(self, images: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(images.shape, self._checked(images))

    def call(self, images: Any, training: bool | None = None) -> Any:
        dtype = self._checked(images)
        if (self.probability < 1 and not training) or images.shape[0] == 0:
            return ops.cast(images, dtype)
        batch = ops.reshape(images, (-1, *images.shape[-3:]))
        (low, high), top = self.value_range, 255 if dtype == "uint8" else 1
        if top == 255:
            numbers = ops.cast(batch, "float32")
        else:
            # a compiler may divide by a constant by multiplying, which float32 would show
            unit = ops.cast((_precise(batch) - low) / (high - low), "float32")
            numbers = ops.where(unit > 0, ops.minimum(unit, 1), 0)
        color: Color = "joint" if batch.shape[-1] == 1 else self.color
        levels = _gathered(numbers, color)
        new, is_flat = self._transformed(levels, top, batch.shape)
        new = ops.where(is_flat, levels, top * new)
        result = ops.minimum(_scattered(numbers, color, levels, new), top)
        result = ops.round(result) if top == 255 else result * (high - low) + low
        result = ops.cast(result, dtype)
        if self.probability < 1:
            draws = keras.random.uniform((ops.shape(batch)[0], 1, 1, 1), seed=self.seed_generator)
            result = ops.where(draws < self.probability, result, ops.cast(batch, dtype))
        return ops.reshape(result, ops.shape(images))

    def _checked(self, images):
        """The dtype of the result, if shape and dtype are possible."""
        shape, dtype = images.shape, keras.backend.standardize_dtype(images.dtype)
        if len(shape) not in (3, 4) or not shape[-3] or not shape[-2]:
            raise ValueError(f"got shape {shape}, expected (N, H, W, C) or (H, W, C)")
        if shape[-1] not in (1, 3):
            raise ValueError(f"got shape {shape}, expected 1 or 3 channels, as the last axis")
        if dtype != "uint8" and not keras.backend.is_float_dtype(dtype):
            raise TypeError(f"got {dtype}, expected uint8 in 0..255 or float in {self.value_range}")
        wide = max(map(abs, self.value_range)) > 65504  # the largest float16
        if wide and dtype != "uint8" and self.compute_dtype == "float16":
            raise ValueError(f"{self.value_range} is too wide for float16: `dtype='float32'`")
        return "uint8" if dtype == "uint8" else self.compute_dtype

    def _transformed(self, levels, top, shape):
        """Rows of levels, floats in 0..1 or whole in 0..255, to 0..1; and which rows are flat."""
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

    def _transformed(self, levels, top, shape):
        least, most = _ends(levels)
        levels = levels if top == 255 else _precise(levels)  # for a narrow range
        low, high = (_percentile(levels, self.settings[end]) for end in ("low", "high"))
        stretched = (ops.clip(levels, low, high) - low) / ops.where(low < high, high - low, 1)
        new = ops.where(low < high, stretched, low / top)
        return ops.cast(new, "float32"), least == most


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

    def _transformed(self, levels, top, shape):
        least, most = _ends(levels)
        if top == 1:
            bins = _bin_of(levels, least, most)
            cdf = _cdf(bins, ops.ones_like(levels))
            # 256 bins need 256 different floats between their ends
            is_flat = most - least <= BINS * np.finfo(np.float32).eps * most
            return _interpolated(cdf, bins, levels, least, most), is_flat
        whole = ops.cast(levels, "int32")
        counts = _histogram(whole, ops.ones_like(levels))
        cdf = ops.cumsum(counts, axis=1) / levels.shape[1]
        if shape[-1] == 3 and self.color == "value":  # V is counted as a float
            every = _precise(ops.arange(BINS))[None] * (1 / 255)
            ends = _precise(least) * (1 / 255), _precise(most) * (1 / 255)
            bins = _bin_of(every, *ends)
            cdf = ops.cast(_interpolated(_cdf(bins, counts), bins, every, *ends), "float32")
        return _look_up(cdf, whole), least == most


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
        if isinstance(kernel_size, np.ndarray):  # which no configuration could keep
            kernel_size = kernel_size.tolist()
        sides_of_tile(kernel_size, (1, 1))
        settings = {"kernel_size": kernel_size, "clip_limit": clip_limit}
        super().__init__(settings, "value", value_range, probability, seed, **kwargs)
        self.kernel_size, self.clip_limit = kernel_size, check_clip_limit(clip_limit)

    def _checked(self, images):
        dtype = super()._checked(images)
        sides_of_tile(self.kernel_size, images.shape[-3:-1])
        return dtype

    def _transformed(self, levels, top, shape):
        sides = shape[1:3]
        tile = sides_of_tile(self.kernel_size, sides)
        fine = _precise(levels if top == 255 else ops.round(levels * 65535))
        least, most = _ends(fine)
        share = (fine - least) / ops.where(least < most, most - least, 1)
        bins = ops.cast(ops.round(share * TOP_LEVEL), "int32") // BIN_WIDTH
        tiles = _tiles(ops.reshape(bins, (-1, *sides)), tile)
        new = _between_tiles(_maps(tiles, self.clip_limit), bins, sides, tile)
        lowest, highest = _ends(new)
        stretched = (new - lowest) / ops.where(lowest < highest, highest - lowest, 1)
        return ops.where(lowest < highest, stretched, ops.minimum(new, 1)), least == most


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
        del self.settings["clip_limit"]


# ---- from images to rows, (M, n), of the numbers that share a histogram, and back


def _gathered(batch, color):
    if color == "joint":
        return ops.reshape(batch, (-1, math.prod(batch.shape[1:])))
    if color == "channel":
        planes = ops.transpose(batch, (0, 3, 1, 2))
    else:
        red, green, blue = ops.unstack(batch, axis=-1)
        planes = ops.maximum(ops.maximum(red, green), blue)
    return ops.reshape(planes, (-1, math.prod(batch.shape[1:3])))


def _scattered(batch, color, levels, new):
    """For V, RGB times V'/V, and black becomes grey."""
    if color == "joint":
        return ops.reshape(new, ops.shape(batch))
    _, height, width, channels = batch.shape
    if color == "channel":
        new = ops.reshape(new, (-1, channels, height, width))
        return ops.transpose(new, (0, 2, 3, 1))
    is_black, sides = levels == 0, (-1, height, width, 1)
    factor = ops.where(is_black, 0, new / ops.where(is_black, 1, levels))
    grey = ops.where(is_black, new, 0)
    return batch * ops.reshape(factor, sides) + ops.reshape(grey, sides)


# ---- rows: (M, n) numbers, (M, bins) histograms


def _precise(numbers):
    return ops.cast(numbers, "float64" if HAS_FLOAT64 else "float32")


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


def _histogram(bins, weight):
    """How much weight each bin has."""
    count = ops.shape(bins)[0]
    places = bins + BINS * ops.arange(count, dtype="int32")[:, None]
    sums = ops.segment_sum(ops.reshape(weight, (-1,)), ops.reshape(places, (-1,)), count * BINS)
    return ops.reshape(sums, (-1, BINS))


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


def _tiles(bins, tile):
    """(N, H, W) to a row for each tile, an image's tiles one after the other."""
    for axis, side in enumerate(tile, 1):
        pixels = bins.shape[axis]
        if excess := -pixels % side:  # past the border the image is mirrored
            mirrored = np.pad(np.arange(pixels), (0, excess), "reflect" if pixels > 1 else "edge")
            bins = ops.take(bins, mirrored, axis=axis)
    (height, width), (_, rows, columns) = tile, bins.shape
    tiles = ops.reshape(bins, (-1, rows // height, height, columns // width, width))
    return ops.reshape(ops.transpose(tiles, (0, 1, 3, 2, 4)), (-1, height * width))


def _maps(tiles, clip_limit):
    """What each tile makes of each bin, 0..16,383."""
    pixels = tiles.shape[1]
    limit = max(int(clip_limit * pixels), 1) if clip_limit > 0 else pixels
    histogram = _histogram(tiles, ops.ones_like(tiles, "float32"))
    if limit < pixels:
        histogram = _clipped(histogram, limit, pixels)
    given = _precise(ops.cumsum(histogram, axis=1))  # may come to more than the pixels
    return ops.cast(ops.floor(ops.minimum(given * (TOP_LEVEL / pixels), TOP_LEVEL)), "float32")


def _between_tiles(maps, bins, sides, tile):
    """Between the maps of the four tiles around each pixel."""
    down, across = (-(-side // of_tile) for side, of_tile in zip(sides, tile, strict=True))
    maps, total = ops.reshape(maps, (-1, down * across * BINS)), 0
    for row, b in _around(sides[0], tile[0], down):
        for column, a in _around(sides[1], tile[1], across):
            first = BINS * (row[:, None] * across + column).reshape(1, -1)
            corner = _look_up(maps, bins + first.astype(np.int32))
            share = ops.cast(_precise(corner) * (b[:, None] * a).reshape(1, -1), "float32")
            # in float32 and in this order, as in scikit-image; the maximum changes nothing, but
            # keeps TensorFlow from another order
            total = ops.maximum(total + share, 0)
    return ops.floor(total)


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
        turns = ops.slice(ops.convert_to_tensor(TURNS), (0 * start, BINS - start), (BINS + 1, BINS))
        given = room * ops.take(turns, ops.cast(ops.where(left > 0, step, 0), "int32"), axis=0)
        left = ops.where(free > 0, left - ops.sum(given, axis=1), 0)
        return histogram + given, left[:, None], (start + 1) % BINS

    start = ops.zeros((), "int32")
    return ops.while_loop(is_left, hand_out, (cut, excess, start))[0]


# for each step, a row of 256 zeros and then 1 at each bin whose turn it is: none for a step of 0
TURNS = np.zeros((BINS + 1, 2 * BINS), np.float32)
TURNS[1:, BINS:] = np.arange(BINS) % np.arange(1, BINS + 1)[:, np.newaxis] == 0
