"""Peers that no extra installs, because they are large: measured alone, and on one thread."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import CLIP_LIMIT, TILE, Peer

PACKAGES = ("numpy", "numba", "simpleitk", "torch", "torchvision", "kornia")
NUMBERS = 2**20  # at once: what larger batches need no longer fits in a processor's cache


# ---- SimpleITK


def value_picture(image: np.ndarray) -> Any:
    import SimpleITK

    return SimpleITK.GetImageFromArray(image.max(axis=-1))


def simpleitk_ahe(side: int) -> Callable:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultThreader("Pool")  # "Platform" starts threads each time
    equalizer = SimpleITK.AdaptiveHistogramEqualizationImageFilter()
    equalizer.SetAlpha(0)  # histogram equalization, with nothing of an unsharp mask
    equalizer.SetBeta(0)
    equalizer.SetRadius(TILE // 2)
    equalizer.SetNumberOfWorkUnits(1)
    return equalizer.Execute


# ---- torchvision


def flat_tensor(images: np.ndarray) -> Any:
    return _torch().from_numpy(images.reshape(len(images), 1, images.shape[1], -1))


def torchvision_stretching(side: int) -> Callable:
    from torchvision.transforms.v2 import functional

    return functional.autocontrast


def torchvision_equalize(side: int) -> Callable:
    from torchvision.transforms.v2 import functional

    return functional.equalize


# ---- Kornia


def flat_float_tensor(images: np.ndarray) -> Any:
    return flat_tensor(images) / 255


def float_tensor(images: np.ndarray) -> Any:
    return _torch().from_numpy(images).permute(0, 3, 1, 2).contiguous() / 255


def kornia_equalize(side: int) -> Callable:
    import kornia

    return kornia.enhance.equalize


def kornia_equalize_luma(side: int) -> Callable:
    import kornia

    return _kornia_luma(kornia.enhance.equalize)


def kornia_clahe(side: int, clip_limit: float = CLIP_LIMIT) -> Callable:
    import kornia

    settings = {"clip_limit": 256 * clip_limit, "grid_size": (side // TILE, side // TILE)}
    return _kornia_luma(functools.partial(kornia.enhance.equalize_clahe, **settings))


def _kornia_luma(function):
    import kornia

    def equalize(images):
        colours = kornia.color.rgb_to_ycbcr(images)
        colours[:, :1] = function(colours[:, :1])
        return kornia.color.ycbcr_to_rgb(colours)

    return equalize


def _torch():
    import torch

    torch.set_num_threads(1)
    return torch


_one = functools.partial(Peer, all_threads=False)
_batch = functools.partial(_one, batched=True, numbers=NUMBERS)
SIMPLEITK, TORCHVISION, KORNIA = "SimpleITK", "torchvision", "Kornia"
PEERS = (
    _batch(
        "contrast stretching",
        TORCHVISION,
        "`v2.functional.autocontrast` of a flat view, between the least and the greatest number",
        torchvision_stretching,
        form=flat_tensor,
    ),
    _batch(
        "HE, joint",
        TORCHVISION,
        "`v2.functional.equalize` of a flat view",
        torchvision_equalize,
        form=flat_tensor,
    ),
    _batch(
        "HE, joint",
        KORNIA,
        "`equalize` of a flat view, in floats",
        kornia_equalize,
        form=flat_float_tensor,
    ),
    _batch(
        "HE on V",
        KORNIA,
        "`equalize` of Y of YCbCr, in floats",
        kornia_equalize_luma,
        form=float_tensor,
    ),
    _one(
        "AHE",
        SIMPLEITK,
        "`AdaptiveHistogramEqualization` of a ready-made V alone, in the 9 × 9 pixels about each",
        simpleitk_ahe,
        form=value_picture,
    ),
    _batch(
        "AHE",
        KORNIA,
        "`equalize_clahe`: Y of YCbCr, 8-pixel tiles, clip 256, in floats",
        functools.partial(kornia_clahe, clip_limit=1.0),
        form=float_tensor,
    ),
    _batch(
        "CLAHE",
        KORNIA,
        "`equalize_clahe`: Y of YCbCr, 8-pixel tiles, clip 7.68, in floats",
        kornia_clahe,
        form=float_tensor,
    ),
)
