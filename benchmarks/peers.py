"""What the benchmark compares with what: our transforms and their peers.

Every peer is called the fastest way that its documentation shows, for as nearly the same work as
it can do: one histogram for all numbers of an image, or one channel that holds its brightness. It
is made for images of one side, once for each thread, because some of OpenCV's and Albumentations'
functions keep a state; and it gets the images in its own form, made before the clock starts.
"""

import functools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import skimage
from PIL import Image, ImageOps

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
    make: Callable[[int], Callable]  # of images of a side
    goal: float = 1  # we are at least so many times as fast
    form: Callable[[np.ndarray], Any] = np.asarray  # of an image, or of a batch, for the peer
    batched: bool = False  # takes a batch
    numbers: float = math.inf  # at most, at once
    one_thread: bool = True  # whether a process can hold it to one thread at one time
    all_threads: bool = True  # whether several threads can share its work


# ---- scikit-image


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


# ---- OpenCV


def opencv_equalize(side: int) -> Transform:
    import cv2

    return lambda image: cv2.equalizeHist(image.reshape(side, 3 * side))


def opencv_equalize_luma(side: int) -> Transform:
    import cv2

    return _opencv_channel(cv2.equalizeHist, "YCrCb", 0)


def opencv_clahe(side: int, clip_limit: float = CLIP_LIMIT) -> Transform:
    import cv2

    grid = (side // TILE, side // TILE)
    equalizer = cv2.createCLAHE(clipLimit=256 * clip_limit, tileGridSize=grid)
    return _opencv_channel(equalizer.apply, "HSV", 2)


def _opencv_channel(function, space, channel):
    import cv2

    there, back = (getattr(cv2, f"COLOR_{way}") for way in (f"RGB2{space}", f"{space}2RGB"))

    def equalize(image):
        colours = cv2.cvtColor(image, there)
        one = function(cv2.extractChannel(colours, channel))
        return cv2.cvtColor(cv2.insertChannel(one, colours, channel), back)

    return equalize


# ---- Pillow


def flat_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image.reshape(len(image), -1))


def pillow_stretching(side: int) -> Callable:
    return functools.partial(ImageOps.autocontrast, cutoff=2)


def pillow_equalize(side: int) -> Callable:
    return ImageOps.equalize


def pillow_equalize_luma(side: int) -> Callable:
    def equalize(picture):
        luma, *colours = picture.convert("YCbCr").split()
        return Image.merge("YCbCr", [ImageOps.equalize(luma), *colours]).convert("RGB")

    return equalize


# ---- kornia-rs


def kornia_rs_equalize(side: int) -> Transform:
    return _kornia_rs().equalize_hist


def kornia_rs_equalize_luma(side: int) -> Transform:
    return _kornia_rs_luma(_kornia_rs().equalize_hist)


def kornia_rs_clahe(side: int, clip_limit: float = CLIP_LIMIT) -> Transform:
    settings = {"clip_limit": 256 * clip_limit, "grid_size": (side // TILE, side // TILE)}
    return _kornia_rs_luma(functools.partial(_kornia_rs().clahe, **settings))


def _kornia_rs():
    os.environ["RAYON_NUM_THREADS"] = "1"  # is read when it first hands over work, and then kept
    from kornia_rs import imgproc

    return imgproc


def _kornia_rs_luma(function):
    imgproc = _kornia_rs()

    def equalize(image):
        colours = imgproc.ycbcr_from_rgb(image)
        colours[..., :1] = function(np.ascontiguousarray(colours[..., :1]))
        return imgproc.rgb_from_ycbcr(colours)

    return equalize


# ---- Albumentations, Keras, a plain loop


def albumentations_transform(side: int, name: str, **arguments: object) -> Transform:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the network when imported
    import albumentations

    transform = getattr(albumentations, name)(p=1, **arguments)
    return lambda image: transform(image=image)["image"]


def albumentations_clahe(side: int, clip_limit: float = CLIP_LIMIT) -> Transform:
    grid, limit = (side // TILE, side // TILE), 256 * clip_limit
    return albumentations_transform(side, "CLAHE", clip_limit=(limit, limit), tile_grid_size=grid)


def tensor(images: np.ndarray) -> Any:
    with keras_bridge.quiet_startup():
        import tensorflow as tf

    return tf.constant(images)


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
    """What HE on V has left to do when its table is known, in a plain loop."""
    for i in range(len(pixels)):
        r, g, b = pixels[i, 0], pixels[i, 1], pixels[i, 2]
        scale = table[max(r, g, b)]
        out[i, 0] = (r * scale + 2**15) >> 16
        out[i, 1] = (g * scale + 2**15) >> 16
        out[i, 2] = (b * scale + 2**15) >> 16


def _albumentations(name, **arguments):
    return functools.partial(albumentations_transform, name=name, **arguments)


SKIMAGE, OPENCV, PILLOW, KORNIA_RS = "scikit-image", "OpenCV", "Pillow", "kornia-rs"
ALBUMENTATIONS, KERAS, PLAIN_LOOP = "Albumentations", "Keras", "a plain loop"
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
        PILLOW,
        "`autocontrast` of a flat view, 2 % cut off at both ends",
        pillow_stretching,
        form=flat_picture,
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
        PILLOW,
        "`equalize` of a flat view",
        pillow_equalize,
        form=flat_picture,
    ),
    Peer(
        "HE, joint",
        KORNIA_RS,
        "`equalize_hist` of a flat view",
        kornia_rs_equalize,
        form=lambda image: image.reshape(len(image), -1, 1),
        all_threads=False,
    ),
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
        PILLOW,
        "`equalize` of Y of YCbCr",
        pillow_equalize_luma,
        form=Image.fromarray,
    ),
    Peer(
        "HE on V",
        KORNIA_RS,
        "`equalize_hist` of Y of YCbCr",
        kornia_rs_equalize_luma,
        all_threads=False,
    ),
    Peer(
        "HE on V",
        ALBUMENTATIONS,
        "`Equalize`: Y of YCrCb",
        _albumentations("Equalize", by_channels=False),
        goal=2,
    ),
    Peer(
        "HE on V",
        PLAIN_LOOP,
        "over the pixels, with a ready-made table",
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
        KORNIA_RS,
        "`clahe`: Y of YCbCr, 8-pixel tiles, clip 256",
        functools.partial(kornia_rs_clahe, clip_limit=1.0),
        all_threads=False,
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
        goal=2,
    ),
    Peer(
        "CLAHE",
        KORNIA_RS,
        "`clahe`: Y of YCbCr, 8-pixel tiles, clip 7.68",
        kornia_rs_clahe,
        all_threads=False,
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
        form=tensor,
        batched=True,
        numbers=KERAS_NUMBERS,
        one_thread=False,
    ),
)
