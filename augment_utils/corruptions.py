"""Images as a worse camera or worse light would give them: four corruptions, five severities.

Contrast, brightness and fog are those of CIFAR-10-C, with its constants; gamma is ours.

References
----------
D. Hendrycks, T. Dietterich: Benchmarking neural network robustness to common corruptions and
perturbations. ICLR 2019; constants in `make_cifar_c.py` (https://github.com/hendrycks/robustness).
A. Fournier, D. Fussell, L. Carpenter: Computer rendering of stochastic models.
Communications of the ACM 25(6):371-384, 1982 (the midpoint displacement that makes the fog).
"""

import numpy as np
from skimage.color import hsv2rgb, rgb2hsv

from augment_utils.contrast import as_batch

SEVERITIES = (1, 2, 3, 4, 5)
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # factor on each value's distance from its channel's mean
BRIGHTNESS = (0.05, 0.1, 0.15, 0.2, 0.3)  # added to V of HSV
FOG = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))  # thickness, decay of its roughness
GAMMA = (1.25, 1.5, 2.0, 2.5, 3.0)  # exponent: above 1 darkens


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


CORRUPTIONS = {"contrast": contrast, "brightness": brightness, "fog": fog, "gamma": gamma}


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
