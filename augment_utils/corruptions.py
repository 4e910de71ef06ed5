"""Images as a worse camera or worse light would give them: twelve corruptions, five severities.

Contrast, brightness, fog, noise, blur, JPEG and saturation are those of CIFAR-10-C, with its
constants. Gamma is ours, and so are the four whose light differs from place to place.

Each takes images as the transforms do, (H, W), (H, W, C) or (N, H, W, C) with C = 1 or 3, uint8 in
0..255, uint16 in 0..65535 or float in 0..1, and a severity, 1..5. It gives a new array of the same
shape, dtype and range; whole numbers are rounded down, as in CIFAR-10-C. TypeError and ValueError:
what the transforms refuse, or an unknown severity.

References
----------
D. Hendrycks, T. Dietterich: Benchmarking neural network robustness to common corruptions and
perturbations. ICLR 2019; constants in `make_cifar_c.py` (https://github.com/hendrycks/robustness).
A. Fournier, D. Fussell, L. Carpenter: Computer rendering of stochastic models.
Communications of the ACM 25(6):371-384, 1982 (the midpoint displacement that makes the fog).
"""

import functools
import inspect
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

from augment_utils.contrast import as_batch

SEVERITIES = (1, 2, 3, 4, 5)
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # factor on each value's distance from its channel's mean
FOG = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))  # thickness, decay of its roughness


def _of_severity(constants: Sequence) -> Callable[[Callable], Callable[..., np.ndarray]]:
    """Make a change of floats (N, H, W, C) in 0..1, with a constant, one of images by severity."""

    def decorate(change):
        def corruption(images, severity, *seed, **named_seed):
            if not isinstance(severity, (int, np.integer)) or severity not in SEVERITIES:
                raise ValueError(f"got severity={severity!r}, expected one of {SEVERITIES}")
            batch = as_batch(images)
            # a hair above 255, so that a whole number stays one in spite of rounding
            whole = batch.dtype.kind == "u"
            top, hair = (np.iinfo(batch.dtype).max, 1e-9) if whole else (1, 0)
            unit = batch.astype(np.float64) / top
            changed = change(unit, constants[severity - 1], *seed, **named_seed)
            values = np.clip(changed, 0, 1) * (top + hair)
            return values.astype(images.dtype).reshape(images.shape)

        names = inspect.Signature.from_callable(change).parameters.values()
        positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
        images = inspect.Parameter("images", positional, annotation=np.ndarray)
        severity = inspect.Parameter("severity", positional, annotation=int)
        own = inspect.Signature([images, severity, *[*names][2:]], return_annotation=np.ndarray)
        functools.update_wrapper(corruption, change)
        vars(corruption)["__signature__"] = own
        return corruption

    return decorate


@_of_severity(CONTRAST)
def contrast(unit: np.ndarray, factor: float) -> np.ndarray:
    """Move every value towards the mean of its channel in its image.

    v' = c (v - mean) + mean, with c = 0.75, 0.5, 0.4, 0.3, 0.15.
    """
    mean = unit.mean(axis=(1, 2), keepdims=True)
    return (unit - mean) * factor + mean


@_of_severity((0.05, 0.1, 0.15, 0.2, 0.3))
def brightness(unit: np.ndarray, added: float) -> np.ndarray:
    """Add 0.05, 0.1, 0.15, 0.2 or 0.3 to V of HSV (to a grey image, to its level)."""
    return _with_hsv(unit, 2, lambda value: value + added) if unit.shape[-1] == 3 else unit + added


@_of_severity(FOG)
def fog(unit: np.ndarray, constants: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Lay fog over each image: a random cloud, the same for all channels, then less contrast.

    v' = (v + c f) m / (m + c), with f the cloud in 0..1, m the largest value of the image, and
    c = 0.2, 0.5, 0.75, 1, 1.5. The cloud's roughness falls by 3, 3, 2.5, 2, 1.75 an octave.
    Each image of a batch gets another cloud, by the seed; the first the one that it gets alone.
    """
    thickness, decay = constants
    count, height, width = unit.shape[:3]
    clouds = plasma(count, 1 << (max(height, width, 2) - 1).bit_length(), decay, seed)
    largest = unit.max(axis=(1, 2, 3), keepdims=True)
    foggy = unit + thickness * clouds[:, :height, :width, np.newaxis]
    return foggy * largest / (largest + thickness)


@_of_severity((1.25, 1.5, 2.0, 2.5, 3.0))
def gamma(unit: np.ndarray, exponent: float) -> np.ndarray:
    """Raise every value to the power 1.25, 1.5, 2, 2.5 or 3: darker, the dark parts most.

    Not part of CIFAR-10-C.
    """
    return unit**exponent


@_of_severity((0.04, 0.06, 0.08, 0.09, 0.1))
def noise(unit: np.ndarray, deviation: float, seed: int = 0) -> np.ndarray:
    """Add Gaussian noise with a standard deviation of 0.04, 0.06, 0.08, 0.09 or 0.1.

    Each image of a batch gets other noise, by the seed; the first the one that it gets alone.
    """
    generators = np.random.default_rng(seed).spawn(len(unit))
    return unit + np.stack([rng.normal(0, deviation, unit.shape[1:]) for rng in generators])


@_of_severity((0.4, 0.6, 0.7, 0.8, 1.0))
def blur(unit: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian whose standard deviation is 0.4, 0.6, 0.7, 0.8 or 1 pixel."""
    return gaussian(unit, (0, sigma, sigma, 0))


@_of_severity((80, 65, 58, 50, 40))
def jpeg(unit: np.ndarray, quality: int) -> np.ndarray:
    """Write the image, as bytes, as JPEG of quality 80, 65, 58, 50 or 40, and read it again."""

    def reencode(image):
        file = io.BytesIO()
        picture = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
        picture.save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)).reshape(image.shape)

    return np.stack([reencode(image) for image in np.rint(unit * 255).astype(np.uint8)]) / 255


@_of_severity(((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)))
def saturation(unit: np.ndarray, constants: tuple[float, float]) -> np.ndarray:
    """Take 0.3, 0.1, 1.5, 2 or 2.5 times S of HSV, at 2 and 2.5 plus 0.1 and 0.2.

    A grey image has none, and comes back.
    """
    factor, added = constants
    return _with_hsv(unit, 1, lambda s: s * factor + added) if unit.shape[-1] == 3 else unit


@_of_severity((0.5, 0.6, 0.7, 0.8, 0.9))
def shading(unit: np.ndarray, lost: float) -> np.ndarray:
    """Let the light fall off evenly from the left edge to the right: v' = v (1 - a x).

    x is 0 at the left edge and 1 at the right; a = 0.5, 0.6, 0.7, 0.8, 0.9. Ours.
    """
    return unit * (1 - lost * _across(unit))


@_of_severity((0.35, 0.5, 0.6, 0.7, 0.85))
def haze(unit: np.ndarray, most: float) -> np.ndarray:
    """Let haze grow from nothing at the left edge: v' = v (1 - a x) + 0.86 a x.

    x is 0 at the left edge and 1 at the right; a = 0.35, 0.5, 0.6, 0.7, 0.85. Ours.
    """
    share = most * _across(unit)
    return unit * (1 - share) + 0.86 * share


@_of_severity((0.6, 0.45, 0.35, 0.25, 0.15))
def shadow(unit: np.ndarray, left: float) -> np.ndarray:
    """Leave the left half 0.6, 0.45, 0.35, 0.25 or 0.15 of its light: a hard edge. Ours."""
    return unit * np.where(_across(unit) < 0.5, left, 1)


@_of_severity((0.5, 0.4, 0.3, 0.2, 0.12))
def spotlight(unit: np.ndarray, left: float) -> np.ndarray:
    """Light the middle alone: v' = v (b + (1 - b) exp(-r^2 / (2 0.24^2))).

    r is the distance to the middle, in sides of the image; b = 0.5, 0.4, 0.3, 0.2, 0.12. Ours.
    """
    down, across = (((np.arange(side) + 0.5) / side - 0.5) ** 2 for side in unit.shape[1:3])
    lamp = np.exp(-(down[:, np.newaxis] + across) / (2 * 0.24**2))[..., np.newaxis]
    return unit * (left + (1 - left) * lamp)


CORRUPTIONS = {"contrast": contrast, "brightness": brightness, "fog": fog, "gamma": gamma}
MORE_CORRUPTIONS = {"noise": noise, "blur": blur, "JPEG": jpeg, "saturation": saturation}
LOCAL_CORRUPTIONS = {"shading": shading, "haze": haze, "shadow": shadow, "spotlight": spotlight}


def plasma(count: int, side: int, decay: float, seed: int = 0) -> np.ndarray:
    """Clouds by the diamond-square algorithm of Fournier et al., tiling at the edges.

    Their side is a power of two, at least 2; each octave's random part is that of the last over
    ``decay``. The result is (count, side, side), float64; each cloud reaches 0 and 1.
    """
    generators = np.random.default_rng(seed).spawn(count)
    clouds, step, roughness = np.zeros((count, side, side)), side, 1.0

    def displaced(sums):
        noise = np.stack([rng.uniform(-1, 1, sums.shape[1:]) for rng in generators])
        return sums / 4 + roughness * noise

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        clouds[:, half::step, half::step] = displaced(pairs + np.roll(pairs, -1, axis=2))
        centres = clouds[:, half::step, half::step]
        above = centres + np.roll(centres, 1, axis=1)
        clouds[:, ::step, half::step] = displaced(above + corners + np.roll(corners, -1, axis=2))
        beside = centres + np.roll(centres, 1, axis=2)
        clouds[:, half::step, ::step] = displaced(beside + corners + np.roll(corners, -1, axis=1))
        step, roughness = half, roughness / decay
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    return clouds / clouds.max(axis=(1, 2), keepdims=True)


def _with_hsv(unit, channel, change):
    """The colour images with one channel of HSV changed, and kept in 0..1."""
    hsv = rgb2hsv(unit)
    hsv[..., channel] = np.clip(change(hsv[..., channel]), 0, 1)
    return hsv2rgb(hsv)


def _across(unit):
    """0 at the left edge to 1 at the right, to multiply a batch with."""
    return np.linspace(0, 1, unit.shape[2])[:, np.newaxis]
