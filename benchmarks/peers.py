"""What the benchmark compares with what: our transforms and their peers.

A peer is made for images of one side, once for each thread, because some of OpenCV's and
Albumentations' functions keep a state.
"""

import functools
import math
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import skimage

from augment_utils import keras_bridge
from augment_utils.keras_bridge import Transform
from augment_utils.kernels import compiled
from augment_utils.training import TRANSFORMS

TILE, CLIP_LIMIT = 8, 0.03
KERAS_NUMBERS = 2**20  # at once: the layer needs a kilobyte of memory for each

NAME = "augment_utils"  # our own, among the peers' names

# as the tables call it: (what it is, its settings in words)
OURS: dict[str, tuple[Transform, str]] = {
    "contrast stretching": (TRANSFORMS["stretching"], "R, G and B together"),
    "HE, joint": (TRANSFORMS["HE joint"], "R, G and B together"),
    "HE on V": (TRANSFORMS["HE value"], "V of HSV"),
    "AHE": (functools.partial(TRANSFORMS["AHE"], kernel_size=TILE), "V of HSV, 8-pixel tiles"),
    "CLAHE": (
        functools.partial(TRANSFORMS["CLAHE"], kernel_size=TILE, clip_limit=CLIP_LIMIT),
        "V of HSV, 8-pixel tiles, clip 0.03",
    ),
}


class Peer(NamedTuple):
    transform: str
    name: str
    compared: str  # what it does: colour space, tiles, clip
    make: Callable[[int], Transform]  # of images of a side
    goal: float | None = None  # we are at least so many times as fast
    batched: bool = False  # takes a batch
    numbers: float = math.inf  # at most, at once
    one_thread: bool = True  # whether a process can hold it to one thread at one time


def skimage_stretching(side: int) -> Transform:
    def stretch(image):
        low, high = np.percentile(image, (2, 98))
        return skimage.exposure.rescale_intensity(image, in_range=(low, high))

    return stretch


def skimage_equalize(side: int) -> Transform:
    def equalize(image):  # flat, or it warns that this might be a colour image
        return skimage.exposure.equalize_hist(image.reshape(side, 3 * side))

    return equalize


def skimage_equalize_value(side: int) -> Transform:
    def equalize(image):
        hsv = skimage.color.rgb2hsv(image)
        hsv[..., 2] = skimage.exposure.equalize_hist(hsv[..., 2])
        return skimage.color.hsv2rgb(hsv)

    return equalize


def skimage_clahe(side: int, clip_limit: float = CLIP_LIMIT) -> Transform:
    return functools.partial(
        skimage.exposure.equalize_adapthist, kernel_size=TILE, clip_limit=clip_limit
    )


def opencv_equalize(side: int) -> Transform:
    import cv2

    def equalize(image):
        return cv2.equalizeHist(image.reshape(side, 3 * side)).reshape(image.shape)

    return equalize


def opencv_equalize_luma(side: int) -> Transform:
    import cv2

    def equalize(image):
        ycrcb = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
        ycrcb[..., 0] = cv2.equalizeHist(ycrcb[..., 0])
        return cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB)

    return equalize


def opencv_clahe(side: int, clip_limit: float = CLIP_LIMIT) -> Transform:
    import cv2

    grid = (side // TILE, side // TILE)
    equalizer = cv2.createCLAHE(clipLimit=256 * clip_limit, tileGridSize=grid)

    def equalize(image):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 2] = equalizer.apply(hsv[..., 2])
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    return equalize


def albumentations_transform(side: int, name: str, **arguments: object) -> Transform:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the network when imported
    import albumentations

    transform = getattr(albumentations, name)(p=1, **arguments)
    return lambda image: transform(image=image)["image"]


def albumentations_clahe(side: int, clip_limit: float = CLIP_LIMIT) -> Transform:
    grid, limit = (side // TILE, side // TILE), 256 * clip_limit
    return albumentations_transform(side, "CLAHE", clip_limit=(limit, limit), tile_grid_size=grid)


def keras_clahe(side: int) -> Transform:
    with keras_bridge.quiet_startup():
        import tensorflow as tf

    layer = tf.keras.layers.ContrastLimitedAdaptiveHistogramEqualization(
        clip_limit=256 * CLIP_LIMIT, tile_grid_size=(side // TILE, side // TILE)
    )
    graph = tf.function(lambda images: layer(images))
    return lambda images: graph(images).numpy()


def ready_made_table(side: int) -> Transform:
    brighter = 255 * np.sqrt(np.arange(1, 256) / 255) / np.arange(1, 256)
    table = np.concatenate([[0], np.rint(brighter * 2**16)]).astype(np.int32)

    def look_up(images):
        out = np.empty_like(images)
        _scale_by_table(images.reshape(-1, 3), out.reshape(-1, 3), table)
        return out

    return look_up


@compiled
def _scale_by_table(pixels, out, table):
    """What HE on V has left to do when its table is known: the floor of its time."""
    for i in range(len(pixels)):
        r, g, b = pixels[i, 0], pixels[i, 1], pixels[i, 2]
        scale = table[max(r, g, b)]
        out[i, 0] = (r * scale + 2**15) >> 16
        out[i, 1] = (g * scale + 2**15) >> 16
        out[i, 2] = (b * scale + 2**15) >> 16


def _albumentations(name, **arguments):
    return functools.partial(albumentations_transform, name=name, **arguments)


SKIMAGE, OPENCV, KERAS = "scikit-image", "OpenCV", "Keras"
ALBUMENTATIONS, FLOOR = "Albumentations", "the floor"
PEERS = (
    Peer(
        "contrast stretching",
        SKIMAGE,
        "the same: `np.percentile`, `rescale_intensity`",
        skimage_stretching,
        goal=25,
    ),
    Peer(
        "contrast stretching",
        ALBUMENTATIONS,
        "`AutoContrast`: R, G and B each, 2 % cut off at both ends",
        _albumentations("AutoContrast", cutoff=2, method="pil"),
        goal=2,
    ),
    Peer("HE, joint", SKIMAGE, "the same: `equalize_hist`", skimage_equalize, goal=40),
    Peer("HE, joint", OPENCV, "the same: `equalizeHist` of a flat view", opencv_equalize),
    Peer(
        "HE, joint",
        ALBUMENTATIONS,
        "`Equalize`: R, G and B each",
        _albumentations("Equalize"),
        goal=2,
    ),
    Peer("HE on V", SKIMAGE, "the same: `equalize_hist` of V of HSV", skimage_equalize_value),
    Peer("HE on V", OPENCV, "`equalizeHist` of Y of YCrCb", opencv_equalize_luma, goal=2),
    Peer(
        "HE on V",
        ALBUMENTATIONS,
        "`Equalize`: Y of YCrCb",
        _albumentations("Equalize", by_channels=False),
        goal=2,
    ),
    Peer(
        "HE on V",
        FLOOR,
        "the same loop with a ready-made table",
        ready_made_table,
        goal=0.5,
        batched=True,
    ),
    Peer(
        "AHE",
        SKIMAGE,
        "the same: `equalize_adapthist`, 8-pixel tiles, clip 1",
        functools.partial(skimage_clahe, clip_limit=1.0),
    ),
    Peer(
        "AHE",
        OPENCV,
        "`createCLAHE`: V of HSV, 8-pixel tiles, clip 256",
        functools.partial(opencv_clahe, clip_limit=1.0),
    ),
    Peer(
        "AHE",
        ALBUMENTATIONS,
        "`CLAHE`: L of Lab, 8-pixel tiles, clip 256",
        functools.partial(albumentations_clahe, clip_limit=1.0),
        goal=2,
    ),
    Peer(
        "CLAHE",
        SKIMAGE,
        "the same: `equalize_adapthist`, 8-pixel tiles, clip 0.03",
        skimage_clahe,
        goal=60,
    ),
    Peer(
        "CLAHE",
        OPENCV,
        "`createCLAHE`: V of HSV, 8-pixel tiles, clip 7.68",
        opencv_clahe,
        goal=1.5,
    ),
    Peer(
        "CLAHE",
        ALBUMENTATIONS,
        "`CLAHE`: L of Lab, 8-pixel tiles, clip 7.68",
        albumentations_clahe,
        goal=2,
    ),
    Peer(
        "CLAHE",
        KERAS,
        "`ContrastLimitedAdaptiveHistogramEqualization` in a `tf.function`: R, G and B each, "
        "8-pixel tiles, clip 7.68",
        keras_clahe,
        goal=25,
        batched=True,
        numbers=KERAS_NUMBERS,
        one_thread=False,
    ),
)
