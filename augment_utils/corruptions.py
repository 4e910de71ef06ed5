"""Images as a worse camera or worse light would give them: twelve corruptions, five severities.

Contrast, brightness, fog, noise, blur, JPEG and saturation are those of CIFAR-10-C, with its
constants. Gamma is ours, and so are the four whose light differs from place to place.

References
----------
D. Hendrycks, T. Dietterich: Benchmarking neural network robustness to common corruptions and
perturbations. ICLR 2019; constants in `make_cifar_c.py` (https://github.com/hendrycks/robustness).
A. Fournier, D. Fussell, L. Carpenter: Computer rendering of stochastic models.
Communications of the ACM 25(6):371-384, 1982 (the midpoint displacement that makes the fog).
"""

import io

import numpy as np
from PIL import Image
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

from augment_utils.contrast import as_batch

SEVERITIES = (1, 2, 3, 4, 5)
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # factor on each value's distance from its channel's mean
BRIGHTNESS = (0.05, 0.1, 0.15, 0.2, 0.3)  # added to V of HSV
FOG = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))  # thickness, decay of its roughness
GAMMA = (1.25, 1.5, 2.0, 2.5, 3.0)  # exponent: above 1 darkens
NOISE = (0.04, 0.06, 0.08, 0.09, 0.1)  # standard deviation
BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)  # standard deviation of the Gaussian, in pixels
JPEG = (80, 65, 58, 50, 40)  # quality
SATURATION = ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))  # factor on S, added to it
SHADING = (0.5, 0.6, 0.7, 0.8, 0.9)  # share of the light that the right edge loses
HAZE = (0.35, 0.5, 0.6, 0.7, 0.85)  # share of haze at the right edge
HAZE_LEVEL = 0.86  # of pure haze
SHADOW = (0.6, 0.45, 0.35, 0.25, 0.15)  # what is left of the light in the left half
SPOTLIGHT = (0.5, 0.4, 0.3, 0.2, 0.12)  # what is left of the light far from the middle
SPOT = 0.24  # standard deviation of the spotlight, in sides of the image


def contrast(images: np.ndarray, severity: int) -> np.ndarray:
    """Move every value towards the mean of its channel in its image.

    v' = c (v - mean) + mean, with c = 0.75, 0.5, 0.4, 0.3, 0.15.

    Parameters
    ----------
    images : ndarray, (H, W), (H, W, C) or (N, H, W, C), C = 1 or 3
        uint8 in 0..255, uint16 in 0..65535 or float in 0..1.
    severity : int, 1..5

    Returns
    -------
    ndarray
        A new array, same shape, dtype and range; whole numbers are rounded down, as in CIFAR-10-C.

    Raises
    ------
    TypeError, ValueError
        What the transforms refuse, or an unknown severity.
    """
    factor = _constant(CONTRAST, severity)

    def lower(unit):
        mean = unit.mean(axis=(1, 2), keepdims=True)
        return (unit - mean) * factor + mean

    return _on_unit_batch(images, lower)


def brightness(images: np.ndarray, severity: int) -> np.ndarray:
    """Add 0.05, 0.1, 0.15, 0.2 or 0.3 to V of HSV (to a grey image, to its level).

    Parameters, result and errors as :func:`contrast`.
    """
    added = _constant(BRIGHTNESS, severity)

    def brighten(unit):
        if unit.shape[-1] == 1:
            return unit + added
        hsv = rgb2hsv(unit)
        hsv[..., 2] = np.clip(hsv[..., 2] + added, 0, 1)
        return hsv2rgb(hsv)

    return _on_unit_batch(images, brighten)


def fog(images: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
    """Lay fog over each image: a random cloud, the same for all channels, then less contrast.

    v' = (v + c f) m / (m + c), with f the cloud in 0..1, m the largest value of the image, and
    c = 0.2, 0.5, 0.75, 1, 1.5. The cloud's roughness falls by 3, 3, 2.5, 2, 1.75 an octave.
    Each image of a batch gets another cloud, by the seed; the first the one that it gets alone.
    Parameters, result and errors as :func:`contrast`.
    """
    thickness, decay = _constant(FOG, severity)

    def cover(unit):
        count, height, width = unit.shape[:3]
        clouds = plasma(count, 1 << (max(height, width, 2) - 1).bit_length(), decay, seed)
        largest = unit.max(axis=(1, 2, 3), keepdims=True)
        foggy = unit + thickness * clouds[:, :height, :width, np.newaxis]
        return foggy * largest / (largest + thickness)

    return _on_unit_batch(images, cover)


def gamma(images: np.ndarray, severity: int) -> np.ndarray:
    """Raise every value to the power 1.25, 1.5, 2, 2.5 or 3: darker, the dark parts most.

    Not part of CIFAR-10-C. Parameters, result and errors as :func:`contrast`.
    """
    exponent = _constant(GAMMA, severity)
    return _on_unit_batch(images, lambda unit: unit**exponent)


def noise(images: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
    """Add Gaussian noise with a standard deviation of 0.04, 0.06, 0.08, 0.09 or 0.1.

    Each image of a batch gets other noise, by the seed; the first the one that it gets alone.
    Parameters, result and errors as :func:`contrast`.
    """
    deviation = _constant(NOISE, severity)

    def disturb(unit):
        generators = np.random.default_rng(seed).spawn(len(unit))
        return unit + np.stack([rng.normal(0, deviation, unit.shape[1:]) for rng in generators])

    return _on_unit_batch(images, disturb)


def blur(images: np.ndarray, severity: int) -> np.ndarray:
    """Blur with a Gaussian whose standard deviation is 0.4, 0.6, 0.7, 0.8 or 1 pixel.

    Parameters, result and errors as :func:`contrast`.
    """
    sigma = _constant(BLUR, severity)
    return _on_unit_batch(images, lambda unit: gaussian(unit, (0, sigma, sigma, 0)))


def jpeg(images: np.ndarray, severity: int) -> np.ndarray:
    """Write the image, as bytes, as JPEG of quality 80, 65, 58, 50 or 40, and read it again.

    Parameters, result and errors as :func:`contrast`.
    """
    quality = _constant(JPEG, severity)

    def reencode(image):
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
            file, "JPEG", quality=quality
        )
        return np.asarray(Image.open(file)).reshape(image.shape)

    def compress(unit):
        return np.stack([reencode(each) for each in np.rint(unit * 255).astype(np.uint8)]) / 255

    return _on_unit_batch(images, compress)


def saturation(images: np.ndarray, severity: int) -> np.ndarray:
    """Take 0.3, 0.1, 1.5, 2 or 2.5 times S of HSV, at 2 and 2.5 plus 0.1 and 0.2.

    A grey image has none and comes back. Parameters, result and errors as :func:`contrast`.
    """
    factor, added = _constant(SATURATION, severity)

    def colour(unit):
        if unit.shape[-1] == 1:
            return unit
        hsv = rgb2hsv(unit)
        hsv[..., 1] = np.clip(hsv[..., 1] * factor + added, 0, 1)
        return hsv2rgb(hsv)

    return _on_unit_batch(images, colour)


def shading(images: np.ndarray, severity: int) -> np.ndarray:
    """Let the light fall off evenly from the left edge to the right: v' = v (1 - a x).

    x is 0 at the left edge and 1 at the right, a = 0.5, 0.6, 0.7, 0.8, 0.9. Not part of
    CIFAR-10-C. Parameters, result and errors as :func:`contrast`.
    """
    lost = _constant(SHADING, severity)
    return _on_unit_batch(images, lambda unit: unit * (1 - lost * _across(unit)))


def haze(images: np.ndarray, severity: int) -> np.ndarray:
    """Let haze grow from nothing at the left edge: v' = v (1 - h) + 0.86 h, with h = a x.

    x is 0 at the left edge and 1 at the right, a = 0.35, 0.5, 0.6, 0.7, 0.85. Not part of
    CIFAR-10-C. Parameters, result and errors as :func:`contrast`.
    """
    most = _constant(HAZE, severity)

    def veil(unit):
        share = most * _across(unit)
        return unit * (1 - share) + HAZE_LEVEL * share

    return _on_unit_batch(images, veil)


def shadow(images: np.ndarray, severity: int) -> np.ndarray:
    """Leave the left half 0.6, 0.45, 0.35, 0.25 or 0.15 of its light: a shadow's hard edge.

    Not part of CIFAR-10-C. Parameters, result and errors as :func:`contrast`.
    """
    left = _constant(SHADOW, severity)
    return _on_unit_batch(images, lambda unit: unit * np.where(_across(unit) < 0.5, left, 1))


def spotlight(images: np.ndarray, severity: int) -> np.ndarray:
    """Light the middle alone: v' = v (b + (1 - b) exp(-r^2 / (2 0.24^2))).

    r is the distance to the middle, in sides of the image; b = 0.5, 0.4, 0.3, 0.2, 0.12. Not part
    of CIFAR-10-C. Parameters, result and errors as :func:`contrast`.
    """
    left = _constant(SPOTLIGHT, severity)

    def light(unit):
        height, width = unit.shape[1:3]
        down, across = ((np.arange(side) - (side - 1) / 2) / side for side in (height, width))
        lamp = np.exp(
            -(down[:, np.newaxis, np.newaxis] ** 2 + across[:, np.newaxis] ** 2) / (2 * SPOT**2)
        )
        return unit * (left + (1 - left) * lamp)

    return _on_unit_batch(images, light)


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


def _across(unit):
    """0 at the left edge to 1 at the right, to multiply a batch with."""
    return np.linspace(0, 1, unit.shape[2])[:, np.newaxis]


def _constant(constants, severity):
    if not isinstance(severity, (int, np.integer)) or severity not in SEVERITIES:
        raise ValueError(f"got severity={severity!r}, expected one of {SEVERITIES}")
    return constants[severity - 1]


def _on_unit_batch(images, change):
    """Apply a change of a float batch (N, H, W, C) in 0..1 to what images may be."""
    batch = as_batch(images)
    # a hair above 255, so that a whole number stays one in spite of rounding
    top, hair = (np.iinfo(batch.dtype).max, 1e-9) if batch.dtype.kind == "u" else (1, 0)
    changed = np.clip(change(batch.astype(np.float64) / top), 0, 1) * (top + hair)
    return changed.astype(images.dtype).reshape(images.shape)
