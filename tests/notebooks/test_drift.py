"""Canaries: what the pages say of foreign libraries still holds, or which page to rewrite.

A table: under each page and section the facts that it tells, and for each fact what is seen of
it and what is expected. Notebooks 09 and 11 tell none.
"""

import importlib
import io
import itertools
import re
import tempfile
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from skimage import color, data, exposure

from augment_utils.keras_bridge import quiet_startup
from tests.common import python, write_notebook
from tests.notebooks.rules import prose_of
from tools import ROOT

with quiet_startup():
    import keras
    import tensorflow as tf
    from keras import layers

# Keras' generator takes affine_transform from where SciPy 2 will no longer have it.
pytestmark = pytest.mark.filterwarnings("ignore:Please import `affine_transform`")

PAGES = {path.name[:2]: f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
FACTS = {}  # {(page, section): [(the fact, what sees it, what is expected: an error, too)]}

# ---- images, and how they are compared

PHOTO = data.astronaut()[64:96, 200:232]  # 32 × 32 of a face
GREY = PHOTO.max(axis=-1)
LEVELS = np.arange(GREY.min(), int(GREY.max()) + 1)  # fewer than 256
CUT = data.camera()[:60:2, :60:2]  # 30 × 30: no whole number of tiles
WHOLE = np.pad(CUT, ((0, 2), (0, 2)), "reflect")
OTHER = data.camera()[:64:2, :64:2]
FLOATS, TWO = PHOTO[np.newaxis].astype("float32"), np.stack([PHOTO, PHOTO[::-1] // 2])
NUMBERED = np.arange(10).reshape(10, 1, 1, 1) * np.ones((1, 2, 2, 1))  # images of their row number
BLACK_WHITE = np.tile([[[0], [1]]], (1000, 1, 1, 1))


def uint8(*levels):
    return np.array(levels, np.uint8)


def greys(*levels):
    """(1, W, 3): one row of a grey picture."""
    return np.reshape(levels, (1, -1, 1)) * np.ones(3)


def dot(columns=9):
    return np.pad([[[1.0]]], ((4, 4), (columns // 2, columns // 2), (0, 0)))


def place(image):
    """Of the only bright pixel."""
    [[row, column]] = np.argwhere(image[..., 0] > 0.5).tolist()
    return row, column


def near(values, tolerance):
    return pytest.approx(np.asarray(values, float), rel=0, abs=tolerance)


same = np.array_equal


def same_as_first(first, *others):
    return [same(first, other) for other in others]


def mean_apart(image, other):
    return np.abs(np.asarray(image, float) - other).mean()


def most_apart(image, other):
    return np.abs(np.asarray(image, float) - other).max()


def fills(drawn, low, high):
    return low <= min(drawn) < low + 0.1 and high - 0.1 < max(drawn) <= high


def mixed(first, second):
    """Whether both are all rows, in different orders."""
    return first != second and sorted(first) == sorted(second) == list(range(len(first)))


def cdf_of(image):
    return np.bincount(image.ravel(), minlength=256).cumsum() / image.size


def says(thing, words):
    return words in " ".join(thing.__doc__.split())


def warned(message, call):
    with pytest.warns(UserWarning, match=message):
        return call()


# ---- 01: ImageDataGenerator


def generator(**arguments):
    """Looked up for each fact, so that each says what to rewrite when the class is gone."""
    return tf.keras.preprocessing.image.ImageDataGenerator(**arguments)


def old(image, draw, **arguments):
    """What the generator makes of an image by a given draw."""
    return generator(**arguments).apply_transform(image.astype("float32"), draw)


def moved(draw, columns=9):
    """Where the dot is after a given draw."""
    return place(old(dot(columns), draw, fill_mode="constant"))


def draws(key, **arguments):
    """What the generator draws for 32 × 32 pixels."""
    np.random.seed(0)
    draw = generator(**arguments).get_random_transform
    return np.array([draw((32, 32, 3))[key] for _ in range(1000)])


def fitted(images, **arguments):
    fresh = generator(**arguments)
    fresh.fit(images)
    return fresh


def flow(images, *labels, **arguments):
    """The generator's arguments and those of its flow together."""
    own = {name: arguments.pop(name) for name in FLOW & arguments.keys()}
    return generator(**arguments).flow(np.asarray(images), *labels, **own)


def batches(count, images, **arguments):
    return list(itertools.islice(flow(images, **arguments), count))


def orders(count, **arguments):
    """The rows in the first batches."""
    return [batch[:, 0, 0, 0].tolist() for batch in batches(count, NUMBERED, **arguments)]


def batch_of(images, **arguments):
    return next(flow(images, batch_size=len(images), shuffle=False, seed=0, **arguments))


def random_number_after(seed):
    np.random.seed(seed)
    batch_of(NUMBERED)
    return np.random.random()


def handed(images, **arguments):
    """What a preprocessing_function gets."""
    seen = []
    batch_of(images, preprocessing_function=lambda x: seen.append(+x) or x, **arguments)
    return seen


def steps_of_four_epochs():
    """The number, within its epoch, of each batch that a model is trained on."""
    model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    five, steps = flow(np.zeros((5, 2, 2, 1)), np.zeros(5), batch_size=2), []
    spy = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step))
    model.fit(five, epochs=4, steps_per_epoch=5 // 2, callbacks=[spy], verbose=0)
    return steps


def at_most(images):
    """A preprocessing_function that raises after so many."""
    seen = []

    def count(image):
        seen.append(1)
        if len(seen) > images:
            raise RuntimeError("the limit is reached")
        return image

    return count


FLOW = {"batch_size", "shuffle", "seed", "subset"}
SAMPLEWISE = {"samplewise_center": True, "samplewise_std_normalization": True}
FEATUREWISE = {"featurewise_center": True, "featurewise_std_normalization": True}
SHIFTS = (1, 1.0, 4, 0.125)
GENERATOR = "src/legacy/preprocessing/image.py"

# fmt: off
FACTS["00", "The generator"] = [
    ("horizontal_flip=0.5 flips half of the images and shifts none.",
     lambda: (batch := batch_of(BLACK_WHITE, horizontal_flip=0.5)[:, 0, :, 0]).mean(axis=0)
     .tolist() == near([0.5, 0.5], 0.05) and {*map(tuple, batch)} == {(0, 1), (1, 0)}, True),
    ("With these arguments fit computes nothing.",
     lambda: fitted(FLOATS, rotation_range=30, horizontal_flip=0.5).mean, None)]
FACTS["00", "Four contrast functions"] = [
    ("At 32 × 32 pixels equalize_adapthist does not heed a limit of 0.03.",
     lambda: with_limits(PHOTO, (0.001, 0.03, 0.12)), [True, True])]
FACTS["00", "Into the generator"] = [
    ("equalize_adapthist refuses floats from 0 to 255.",
     lambda: exposure.equalize_adapthist(FLOATS[0]), ValueError("must be between -1 and 1")),
    ("equalize_hist takes them without a word of the scale, and returns 0 to 1.",
     lambda: exposure.equalize_hist(FLOATS[0, ..., 0]).max(), 1)]
FACTS["00", "One training without contrast, one with"] = [
    ("Adadelta's rate is a thousandth of that of 2017.",
     lambda: float(keras.optimizers.Adadelta().learning_rate), pytest.approx(0.001))]

FACTS["01", "One dog, nine times"] = [
    ("ImageDataGenerator's documentation string says DEPRECATED, and no more.",
     lambda: type(generator()).__doc__.strip(), "DEPRECATED.")]
FACTS["01", "One image in, one batch out"] = [
    ("flow refuses a single image, of three axes.",
     lambda: flow(PHOTO), ValueError("should have rank 4")),
    ("A batch is float32.", lambda: batch_of([PHOTO]).dtype, np.float32),
    ("uint8 comes out still from 0 to 255.", lambda: batch_of([PHOTO])[0], near(PHOTO, 0))]
FACTS["01", "Each argument alone"] = [
    ("width_shift_range moves images up and down, height_shift_range sideways.",
     lambda: [place(batch_of([dot()], **{f"{side}_shift_range": [3]})[0])
              for side in ("width", "height")], [(7, 4), (4, 7)]),
    ("In an image that is not square, rotation and zoom have the wrong centre.",
     lambda: [moved({"theta": 180}, columns) for columns in (9, 11)], [(4, 4), (6, 3)]),
    ("A positive draw of a shift moves the picture up or to the left.",
     lambda: [moved({"ty": 3}), moved({"tx": 3})], [(1, 4), (4, 1)]),
    ("shear_range is an angle in degrees, so that 0.2 changes next to nothing.",
     lambda: (near_nothing := mean_apart(old(PHOTO, {"shear": 0.2}), PHOTO)) < 1
     and 1 < 10 * near_nothing < mean_apart(old(PHOTO, {"shear": np.rad2deg(0.2)}), PHOTO), True),
    ("zoom_range=0.4 draws a factor from 0.6 to 1.4.",
     lambda: fills(draws("zx", zoom_range=0.4), 0.6, 1.4), True),
    ("zoom_range draws another factor for the other axis.",
     lambda: same(draws("zx", zoom_range=0.4), draws("zy", zoom_range=0.4)), False),
    ("A zoom below 1 enlarges.",
     lambda: old(np.pad(np.ones((4, 4, 1)), ((3, 3), (3, 3), (0, 0))), {"zx": 0.5, "zy": 0.5}).sum()
     > 2 * 16, True),
    ("brightness_range draws a factor: black stays black.",
     lambda: old(greys(0, 20, 100, 200), {"brightness": 1.4})[0, :, 0],
     near([0, 28, 140, 255], 1e-3))]
FACTS["01", "Your turn"] = [
    ("channel_shift_range adds the same to all channels and clips at the image's own maximum.",
     lambda: old(PHOTO, {"channel_shift_intensity": 30}),
     near(np.minimum(PHOTO + 30.0, PHOTO.max()), 0)),
    ("A whole shift k draws −(k−1) to k−1, a float a share of the side or from 1 on pixels.",
     lambda: [fills(draws("ty", width_shift_range=shift), -most, most)
              for shift, most in zip(SHIFTS, (0, 1, 3, 4), strict=True)], [True] * 4),
    ("A whole shift draws whole pixels, and a float does not.",
     lambda: [all(draw == round(draw) for draw in draws("ty", width_shift_range=shift))
              for shift in SHIFTS], [True, False, True, False])]
FACTS["01", "What fills the border: `fill_mode`"] = [
    ("fill_mode is nearest unless told otherwise.", lambda: generator().fill_mode, "nearest"),
    ("fill_mode nearest, constant, reflect and wrap do as they say.",
     lambda: [old(np.tile([[[1], [2], [3], [4], [5]]], (5, 1, 1)), {"tx": 2}, fill_mode=mode)
              [2, :, 0] for mode in ("nearest", "constant", "reflect", "wrap")],
     near([[3, 4, 5, 5, 5], [3, 4, 5, 0, 0], [3, 4, 5, 5, 4], [3, 4, 5, 2, 3]], 1e-4))]
FACTS["01", "How many batches"] = [
    ("An epoch has n/b batches, rounded up.",
     lambda: len(flow(BLACK_WHITE[:100], batch_size=32)), 4),
    ("The last batch of an epoch is smaller; then it begins again.",
     lambda: [len(batch) for batch in batches(5, BLACK_WHITE[:100], batch_size=32)],
     [32, 32, 32, 4, 32])]
FACTS["01", "Shuffle and seed"] = [
    ("flow shuffles anew in each epoch.", lambda: mixed(*orders(2, seed=1)), True),
    ("flow does not shuffle with shuffle=False.",
     lambda: orders(2, shuffle=False), [[*range(10)], [*range(10)]]),
    ("The same seed gives the same images, another seed others.",
     lambda: same_as_first(*(batches(1, [PHOTO], rotation_range=30, seed=seed)
                             for seed in (1, 1, 2))), [True, False]),
    ("The epochs of one stream differ.",
     lambda: same(*batches(2, [PHOTO], rotation_range=30, seed=1)), False),
    ("A generator's seed resets np.random for the whole program.",
     lambda: random_number_after(123) == random_number_after(456), True)]
FACTS["01", "The order of its steps"] = [
    ("Shift and rotation are done before the flips: a flip mirrors the shift too.",
     lambda: moved({"tx": 3, "flip_horizontal": True}), (4, 7)),
    ("channel_shift_range is added before brightness_range multiplies.",
     lambda: old(greys(0, 50, 100), {"channel_shift_intensity": 20, "brightness": 2.0})
     [0, :, 0], near([40, 140, 200], 1e-3)),
    ("preprocessing_function sees a flipped and brightened image, not rescaled or centred.",
     lambda: {tuple(image[0, :, 0]) for image in handed(
         [greys(0, 80, 120)] * 16, brightness_range=(2.0, 2.0), horizontal_flip=True,
         rescale=1 / 255, samplewise_center=True)}, {(0, 160, 240), (240, 160, 0)}),
    ("Featurewise steps come after samplewise ones.",
     lambda: fitted(np.full((1, 1, 2, 1), 5.0), featurewise_center=True, **SAMPLEWISE)
     .standardize(np.array([[[1.0], [3.0]]])).ravel(), near([-6, -4], 1e-4)),
    ("The order stands in keras/src/legacy/preprocessing/image.py.",
     lambda: "def standardize" in (Path(keras.__file__).parent / GENERATOR).read_text("utf-8"),
     True)]
FACTS["01", "When `fit` matters"] = [
    ("Featurewise steps without fit warn, and leave the images as they are.",
     lambda: warned("it hasn't been fit on any training data",
                    lambda: batch_of(NUMBERED, featurewise_center=True)), near(NUMBERED, 0)),
    ("fit computes each channel's mean and standard deviation as NumPy does.",
     lambda: [np.ravel(getattr(fitted(FLOATS, **FEATUREWISE), of)) for of in ("mean", "std")],
     near([PHOTO.mean(axis=(0, 1)), PHOTO.std(axis=(0, 1))], 0.05)),
    ("Without a featurewise argument, fit computes nothing.",
     lambda: [getattr(fitted(FLOATS), of) for of in ("mean", "std")], [None, None])]
FACTS["01", "`horizontal_flip=0.5` is not a probability"] = [
    ("horizontal_flip is a switch: whatever is true flips half of the images.",
     lambda: [batch_of(BLACK_WHITE, horizontal_flip=value)[:, 0, 0, 0].mean()
              for value in (False, True, 0.5, 0.1)], near([0, 0.5, 0.5, 0.5], 0.05))]
FACTS["01", "`steps_per_epoch = n // batch_size`"] = [
    ("With one step too few, every other epoch is one batch long, under a warning.",
     lambda: warned("Your input ran out of data; interrupting training", steps_of_four_epochs),
     [0, 1, 0, 0, 1, 0])]
FACTS["01", "`featurewise_` from a directory"] = [
    ("fit that is given a stream reads on without end.",
     lambda: fitted(flow(NUMBERED, preprocessing_function=at_most(1000)), featurewise_center=True),
     RuntimeError("the limit is reached"))]
FACTS["01", "What `fit` and `validation_split` do behind your back"] = [
    ("fit applies rescale.",
     lambda: np.mean(fitted(FLOATS, featurewise_center=True, rescale=1 / 255).mean),
     pytest.approx(PHOTO.mean() / 255, rel=1e-3)),
    ("fit ignores preprocessing_function.",
     lambda: np.mean(fitted(FLOATS, featurewise_center=True, preprocessing_function=np.sqrt).mean),
     pytest.approx(PHOTO.mean(), rel=1e-3)),
    ("validation_split sets the first rows aside, unshuffled.",
     lambda: [orders(1, validation_split=0.2, subset=subset, shuffle=False)
              for subset in ("validation", "training")], [[[0, 1]], [[*range(2, 10)]]]),
    ("The images of a validation_split are altered like those for training.",
     lambda: same(PHOTO, batches(1, [PHOTO, PHOTO], validation_split=0.5, rotation_range=30,
                                 subset="validation", shuffle=False, seed=0)[0][0]), False),
    ("validation_split refuses labels that are sorted by class.",
     lambda: flow(NUMBERED, np.arange(10) // 5, validation_split=0.2, subset="validation"),
     ValueError("sorted by the label"))]
FACTS["01", "`brightness_range` on images from 0 to 1"] = [
    ("brightness_range makes an image from 0 to 1 black.",
     lambda: batch_of([GREY[..., None] / 256], brightness_range=(1.3, 1.3)).any(), False)]
# fmt: on


# ---- 02 to 04: histograms, stretching, HE


cv2 = partial(pytest.importorskip, "cv2")
SHARES = cdf_of(GREY)[GREY]
LEAST_SHARE = SHARES.min()

# fmt: off
FACTS["02", "Grey levels, and one number per pixel: V"] = [
    ("V of scikit-image's rgb2hsv is the largest of R, G and B.",
     lambda: 255 * color.rgb2hsv(PHOTO)[..., 2], near(GREY, 1e-3))]
FACTS["02", "The histogram counts"] = [
    ("NumPy's histogram makes ten bins between the ends.", lambda: len(np.histogram(GREY)[0]), 10),
    ("scikit-image's histogram counts from darkest to brightest.",
     lambda: len(exposure.histogram(GREY)[0]), len(LEVELS)),
    ("scikit-image's histogram has 256 bins with source_range=\"dtype\".",
     lambda: len(exposure.histogram(GREY, source_range="dtype")[0]), 256)]
FACTS["02", "Shares instead of counts, then the running sum: the CDF"] = [
    ("scikit-image's cumulative_distribution starts at the darkest level that occurs.",
     lambda: [*exposure.cumulative_distribution(GREY)],
     [near(cdf_of(GREY)[LEVELS], 1e-6), near(LEVELS, 0)]),
    ("np.percentile interpolates between neighbouring pixels.",
     lambda: np.percentile([10, 20], 25), 12.5)]
FACTS["02", "A library that chooses for you"] = [
    ("equalize_hist warns of a colour image, and counts all its numbers jointly.",
     lambda: warned("This might be a color image", lambda: exposure.equalize_hist(PHOTO)),
     near(cdf_of(PHOTO)[PHOTO], 1e-6)),
    ("equalize_hist counts a batch jointly, without a warning.",
     lambda: exposure.equalize_hist(TWO), near(cdf_of(TWO)[TWO], 1e-6))]
FACTS["02", "A plot that flatters"] = [
    ("Matplotlib's imshow paints an image's darkest level black and its brightest white.",
     lambda: Figure().subplots().imshow(GREY, cmap="gray").get_clim(), (GREY.min(), GREY.max()))]
FACTS["02", "Bytes that wrap round"] = [
    ("A uint8 array plus a number starts again at 0 beyond 255, without a warning.",
     lambda: (uint8(100, 250) + 60).tolist(), [160, 54])]

FACTS["03", "Bytes that wrap round"] = [
    ("255 times a uint8 array is cut to bytes.",
     lambda: (255 * uint8(0, 12)).tolist(), [0, 255 * 12 % 256]),
    ("So is a difference below 0.", lambda: (uint8(28, 40) - np.uint8(45)).tolist(), [239, 251])]
FACTS["03", "Percentiles instead of extremes"] = [
    ("rescale_intensity of uint8 cuts the fraction off, and does not round.",
     lambda: [exposure.rescale_intensity(uint8(0, 1, 2, 3), in_range=(0, top)).tolist()
              for top in (3, 2.9)], [[0, 85, 170, 255], [0, 87, 175, 255]])]
FACTS["03", "`in_range` misunderstood"] = [
    ("rescale_intensity without in_range is min–max.",
     lambda: exposure.rescale_intensity(uint8(50, 100, 150)).tolist(), [0, 127, 255]),
    ("rescale_intensity takes in_range as grey levels of the image.",
     lambda: exposure.rescale_intensity(uint8(50, 100, 150), in_range=(2, 98)).tolist()[1:],
     [255, 255]),
    ("rescale_intensity of floats in 0–1 by grey levels is black.",
     lambda: exposure.rescale_intensity(uint8(50, 150) / 255, in_range=(50, 150)).any(), False)]

FACTS["04", "From scratch, and from the library"] = [
    ("equalize_hist returns floats from 0 to 1, whatever came in.",
     lambda: [(result.dtype.kind, result.max()) for result in (
         exposure.equalize_hist(GREY.astype(kind)) for kind in ("u1", "f4", "f8"))],
     [("f", 1)] * 3),
    ("equalize_hist of uint8 returns the CDF.",
     lambda: exposure.equalize_hist(GREY), near(SHARES, 1e-6))]
FACTS["04", "Floats in, floats out"] = [
    ("equalize_hist takes floats from 0 to 255 without a word, and returns 0 to 1.",
     lambda: exposure.equalize_hist(GREY.astype(float)).max(), 1)]
FACTS["04", "A flat image"] = [
    ("equalize_hist turns an image of one grey level white.",
     lambda: [exposure.equalize_hist(uint8([level] * 9)).min() for level in (0, 90)], [1, 1])]
FACTS["04", "Your turn"] = [
    ("OpenCV's equalizeHist maps by (c − c_min) / (1 − c_min).", lambda: cv2().equalizeHist(GREY),
     near(255 * (SHARES - LEAST_SHARE) / (1 - LEAST_SHARE), 0.501)),
    ("match_histograms interpolates in the other image's CDF.",
     lambda: exposure.match_histograms(GREY, OTHER),
     near(np.interp(SHARES, cdf_of(OTHER)[np.unique(OTHER)], np.unique(OTHER)), 0.01))]
# fmt: on


# ---- 05 and 06: AHE and CLAHE


def adapthist(image, **settings):
    return exposure.equalize_adapthist(image, **settings)


def adapthist_module():
    return importlib.import_module("skimage.exposure._adapthist")


def with_limits(image, limits, **settings):
    """For each limit after the first, whether it gives what the first one gives."""
    return same_as_first(*(adapthist(image, clip_limit=limit, **settings) for limit in limits))


def with_opencvs_limits(limits, tiles):
    clahes = [cv2().createCLAHE(limit, (tiles, tiles)) for limit in limits]
    return same_as_first(*(each.apply(GREY) for each in clahes))


def by_hand(levels, side, centre):
    """AHE of whole tiles: each pixel mixes the mappings of the four nearest tiles; unstretched."""
    count = len(levels) // side
    tiles = levels.reshape(count, side, count, side).swapaxes(1, 2).reshape(count, count, -1)
    mappings = (tiles[..., None, :] <= np.arange(256)[:, None]).mean(axis=-1)
    place = np.clip((np.arange(len(levels)) - centre) / side, 0, count - 1)
    first = np.minimum(place.astype(int), count - 2)
    mixed = np.zeros(levels.shape)
    for y, y_share in ((first, 1 - place + first), (first + 1, place - first)):
        for x, x_share in ((first, 1 - place + first), (first + 1, place - first)):
            mixed += np.outer(y_share, x_share) * mappings[y[:, None], x, levels]
    return mixed


def from_by_hand(centre, stretched):
    """How far scikit-image's AHE is from it, in grey levels."""
    few_levels = GREY // 2  # more than 253 would share bins
    result = by_hand(few_levels, 8, centre)
    if stretched:
        result = (result - result.min()) / np.ptp(result)
    return 255 * mean_apart(result, adapthist(few_levels, kernel_size=8, clip_limit=1))


def equalized_in_v():
    hsv = color.rgb2hsv(PHOTO)
    hsv[..., 2] = adapthist(hsv[..., 2], kernel_size=8)
    return color.hsv2rgb(hsv)


WALL = np.uint8(127 + np.arange(1024).reshape(32, 32) % 3)
NEARLY_FLAT = np.full((64, 64), 100, np.uint8)
NEARLY_FLAT[0, :2] = 99, 101

# fmt: off
FACTS["05", "Write AHE from scratch"] = [
    ("equalize_adapthist puts the centre of a tile of 8 at pixel 4, and stretches the result.",
     lambda: from_by_hand(4, True) < 0.5 < min(from_by_hand(3.5, True), from_by_hand(4, False)),
     True)]
FACTS["05", "Calling it AHE when it is not"] = [
    ("equalize_adapthist has a clip_limit of 0.01 unless told otherwise.",
     lambda: same_as_first(adapthist(PHOTO, kernel_size=32),
                           *(adapthist(PHOTO, kernel_size=32, clip_limit=pixels / 1024)
                             for pixels in (10.24, 9.5, 11.5, 1024))),
     [True, False, False, False])]
FACTS["05", "Taking the size of a tile for the number of tiles"] = [
    ("OpenCV's tileGridSize is by default 8 × 8.",
     lambda: cv2().createCLAHE().getTilesGridSize(), (8, 8)),
    ("OpenCV's tileGridSize is the number of tiles: one tile is plain HE.",
     lambda: cv2().createCLAHE(clipLimit=0, tileGridSize=(1, 1)).apply(GREY),
     near(255 * SHARES, 0.501))]
FACTS["05", "Flipping before or after"] = [
    ("Where tiles do not fit, scikit-image mirrors at the right and at the bottom.",
     lambda: np.corrcoef(  # the same but for the last stretch
         *(adapthist(image, kernel_size=8, clip_limit=1)[:30, :30].ravel()
           for image in (WHOLE, CUT)))[0, 1] > 0.9999, True)]

FACTS["06", "Two knobs: `kernel_size` and `clip_limit`"] = [
    ("The limit is int(clip_limit × pixels of the tile), at least one pixel.",
     lambda: with_limits(PHOTO, (1 / 64, 1.99 / 64, 0.01 / 64, 2 / 64), kernel_size=8),
     [True, True, False])]
FACTS["06", "The ceiling is counted from a stretched image"] = [
    ("equalize_adapthist stretches before it clips: of three levels nothing is left between.",
     lambda: np.unique(np.rint(255 * adapthist(WALL, kernel_size=8, clip_limit=1 / 64)))[[0, -1]],
     near([0, 255], 0))]
FACTS["06", "The dead zone at 32 × 32"] = [
    ("scikit-image's tile is an eighth of the side, 4 pixels at 32 × 32.",
     lambda: [same(adapthist(photo), adapthist(photo, kernel_size=len(photo) // 8))
              for photo in (data.camera()[:side, :side] for side in (32, 64))], [True, True]),
    ("At 32 × 32, scikit-image's default tile makes every clip_limit below 0.125 the same.",
     lambda: with_limits(PHOTO, (0.0001, 0.03, 0.124, 0.125)), [True, True, False]),
    ("In tiles of 16, one pixel a bar leaves the stretching that scikit-image does anyway.",
     lambda: adapthist(GREY, kernel_size=16, clip_limit=1 / 256),
     near((GREY - GREY.min()) / np.ptp(GREY), 1 / 255))]
FACTS["06", "scikit-image and OpenCV, side by side"] = [
    ("scikit-image rounds V to 16,384 levels.",
     lambda: adapthist_module().NR_OF_GRAY, 16_384),
    ("scikit-image counts 65 of its levels in one bin.",
     lambda: len(np.unique(adapthist(np.arange(256, dtype=np.uint8).reshape(16, 16),
                                     kernel_size=16, clip_limit=1))), -(-16_384 // 65)),
    ("OpenCV's clipLimit is 40 unless told otherwise.",
     lambda: cv2().createCLAHE().getClipLimit(), 40),
    ("OpenCV's limit is max(int(clipLimit × pixels / 256), 1), with the same dead zone.",
     lambda: with_opencvs_limits((1, 31.9, 32), tiles=8), [True, False]),
    ("OpenCV takes a clipLimit of 0 and below as no limit.",
     lambda: with_opencvs_limits((0.0, -1.0, 256.0), tiles=4), [True, True]),
    ("OpenCV hands what it cuts off to all bars alike, so one may end above the limit.",
     lambda: np.ptp(cv2().createCLAHE(2.0, (1, 1)).apply(NEARLY_FLAT)[:2, 0]) > 2, True),
    ("scikit-image hands out more than it cut off.",
     lambda: adapthist_module().clip_histogram(np.bincount([1, 2, 3, 100] * 16, minlength=256),
                                               1).sum() > 64, True),
    ("The photograph comes out of both nearly alike, with clipLimit 4 for 4 / 256.",
     lambda: mean_apart(cv2().createCLAHE(4.0, (8, 8)).apply(data.camera()),
                        255 * adapthist(data.camera(), clip_limit=4 / 256)), near(2.4, 0.3)),
    ("OpenCV stretches neither V before nor the result after.",
     lambda: cv2().createCLAHE(1.0, (1, 1)).apply(GREY // 4).max() < 100
     < 255 * adapthist(GREY // 4, kernel_size=32, clip_limit=1 / 1024).max(), True),
    ("Where tiles do not fit, OpenCV completes by reflection and keeps their number.",
     lambda: same(*(cv2().createCLAHE(4.0, (4, 4)).apply(image)[:30, :30]
                    for image in (CUT, WHOLE))), True),
    ("equalize_adapthist of an RGB image changes V and keeps hue and saturation.",
     lambda: mean_apart(adapthist(PHOTO, kernel_size=8), equalized_in_v()) < 1e-6, True)]
FACTS["06", "OpenCV's 2.0 in scikit-image's `clip_limit`"] = [
    ("equalize_adapthist takes a clip_limit above 1, and 0, as no limit, without a word.",
     lambda: with_limits(PHOTO, (2.0, 1.0, 0), kernel_size=8), [True, True])]

FACTS["augment_utils/contrast.py", "def clahe"] = [
    ("equalize_adapthist turns an image of one grey level white.",
     lambda: adapthist(np.full((32, 32), 90, np.uint8), kernel_size=8).min(), 1)]
# fmt: on


# ---- 07 and 08: functions and optimizers


def after_function(function):
    """What a preprocessing_function's result becomes, without rescale and with it."""
    became = []
    for scale in ({}, {"rescale": 1 / 255}):
        try:
            batch = batch_of([PHOTO], preprocessing_function=function, **scale)
            grey = "grey" if same(batch[..., 0], batch[..., 2]) else "colour"
            became.append("NaN" if np.isnan(batch).all() else grey)
        except (TypeError, ValueError) as error:
            became += [kind for kind in (TypeError, ValueError) if isinstance(error, kind)]
    return became


def rescaled_result():
    kept = np.full((2, 2, 1), 255.0)
    batch_of(np.zeros((1, 2, 2, 1)), preprocessing_function=lambda image: kept, rescale=1 / 255)
    return kept.ravel()


def logged_loss():
    """Of two batches, when after the first the weight is right."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=True)
    model.set_weights([np.zeros((1, 1))])
    return model.fit(np.ones((2, 1)), np.ones((2, 1)), batch_size=1, verbose=0).history["loss"]


# fmt: off
FACTS["07", "What a `preprocessing_function` gets, and must give back"] = [
    ("preprocessing_function gets one image (H, W, C), float32, on the scale that came.",
     lambda: [(image.dtype, same(image, PHOTO)) for image in handed([PHOTO])],
     [(np.float32, True)]),
    ("A smaller image is refused.",
     lambda: after_function(lambda image: image[:16, :16]), [ValueError, ValueError]),
    ("One channel is accepted and copied.",
     lambda: after_function(lambda image: image[..., :1]), ["grey", "grey"]),
    ("None fills with NaN, and fails with rescale.",
     lambda: after_function(lambda image: None), ["NaN", TypeError]),
    ("uint8 fails with rescale only.",
     lambda: after_function(lambda image: image.astype("uint8")), ["colour", TypeError]),
    ("float64 is accepted.",
     lambda: after_function(lambda image: image.astype("float64")), ["colour", "colour"])]
FACTS["07", "A function of scikit-image, straight into the generator"] = [
    ("equalize_adapthist refuses floats beyond 1.", lambda: adapthist(GREY.astype("float32")),
     ValueError("Images of type float must be between -1 and 1."))]
FACTS["07", "Remember the result, and watch it fade"] = [
    ("Keras multiplies the array that the function returned in place.",
     rescaled_result, near([1, 1, 1, 1], 1e-6))]

FACTS["08", "A default that changed"] = [
    ("Adadelta() has a learning rate of 0.001 today.",
     lambda: float(keras.optimizers.Adadelta().learning_rate), pytest.approx(0.001)),
    ("Adadelta's page says that the paper's learning rate is 1.",
     lambda: says(keras.optimizers.Adadelta,
                  "To match the exact form in the original paper, use 1.0"), True),
    ("Adadelta() has rho = 0.95.", lambda: keras.optimizers.Adadelta().rho, 0.95),
    ("Adadelta() has epsilon = 10⁻⁷.", lambda: keras.optimizers.Adadelta().epsilon, 1e-7)]
FACTS["08", "The curve of 2017, taken apart"] = [
    ("The logged training score is added up during the epoch, while the weights move on.",
     logged_loss, [pytest.approx(0.5)])]
# fmt: on


# ---- 10: Keras' layers and tf.data


def new(layer, images):
    return np.asarray(layer(np.asarray(images, "float32"), training=True))


def same_zoom_on_both_sides():
    layer = layers.RandomZoom(0.4, fill_mode="constant", seed=0)
    drawn = layer.get_random_transformation(np.zeros((20, 9, 9, 1)), training=True)
    return most_apart(drawn["height_zoom"], drawn["width_zoom"]) < 1e-6


def flipped(*mode):
    """What becomes of four pixels, and the share of images that stay."""
    four = np.tile(np.arange(4.0).reshape(1, 2, 2, 1), (1000, 1, 1, 1))
    results = new(layers.RandomFlip(*mode, seed=0), four).reshape(-1, 4).astype(int).tolist()
    stayed = sum(result == [0, 1, 2, 3] for result in results) / 1000
    return {*map(tuple, results)}, stayed


def normalized(images):
    layer = layers.Normalization()
    layer.adapt(images)
    return layer(images)


def set_aside(**order):
    kept = keras.utils.split_dataset(np.arange(10), right_size=0.2, seed=0, **order)[1]
    return sorted(int(row) for row in kept)


def passes(dataset, count=2):
    return [[int(row) for row in dataset.as_numpy_iterator()] for _ in range(count)]


def calls_behind_a_cache():
    calls = []
    counted = tf.data.Dataset.range(10).map(
        lambda row: tf.numpy_function(lambda value: calls.append(value) or value, [row], tf.int64)
    )
    return passes(counted.cache()), len(calls)


def flips_of_two_passes(flip):
    """Whether the second is as the first, where all random numbers hang on one seed."""
    keras.utils.set_random_seed(0)
    flipped = tf.data.Dataset.from_tensors(np.stack([PHOTO] * 20)).map(flip)
    return same(*(next(flipped.as_numpy_iterator()) for _ in range(2)))


def loops_of(layer):
    call = tf.function(layer).get_concrete_function(tf.TensorSpec((None, 32, 32, 3)))
    graph = call.graph.as_graph_def()
    nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
    return sum("While" in node.op for node in nodes)


def keras_clahe(image):
    layer = layers.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(4, 4))
    return new(layer, [image])[0]


def by_channel(function):
    return np.stack([function(PHOTO[..., channel]) for channel in range(3)], axis=-1)


def value_range_matters(layer, *arguments, **options):
    """Whether an image in 0..1 becomes black or far too bright without it, and well with it."""
    right = new(layer(*arguments, value_range=(0, 1), **options), FLOATS / 255)
    wrong = new(layer(*arguments, **options), FLOATS / 255)
    well = 0 < right.max() <= 1.001 and right.max() - right.min() > 0.5
    return well and (wrong.max() == 0 or wrong.max() > 50)


def contrast_factors(factor):
    """The least and the most that RandomContrast draws."""
    two = np.tile(np.array([100.0, 150.0]).reshape(1, 1, 2, 1), (1000, 1, 1, 1))
    altered = new(layers.RandomContrast(factor, seed=0), two)[:, 0, :, 0]
    drawn = np.diff(altered) / 50
    return drawn.min(), drawn.max()


# fmt: off
FACTS["10", "The same numbers, other images"] = [
    ("RandomShear takes a slope, starts from the corner, and draws the side by lot.",
     lambda: {new(layer, dot())[4, :, 0].argmax() for layer in (
         layers.RandomShear((0.5, 0.5), fill_mode="constant", seed=seed) for seed in range(8))},
     {2, 6})]
FACTS["10", "Rotation, and what fills the border"] = [
    ("RandomRotation counts full turns, with the generator's sign, and agrees with it.",
     lambda: mean_apart(new(layers.RandomRotation((0.1, 0.1), fill_mode="nearest"), PHOTO),
                        old(PHOTO, {"theta": 36})) < 0.1, True),
    ("The four layers that move pixels fill by \"reflect\".",
     lambda: [layer.fill_mode for layer in (
         layers.RandomRotation(0.1), layers.RandomTranslation(0.1, 0.1),
         layers.RandomZoom(0.1), layers.RandomShear(0.1))], ["reflect"] * 4),
    ("RandomTranslation's page says that it fills by \"constant\".",
     lambda: says(layers.RandomTranslation, 'Defaults to `"constant"`'), True),
    ("RandomRotation turns an image that is not square about its true middle.",
     lambda: place(new(layers.RandomRotation((0.5, 0.5), fill_mode="constant"), dot(21))),
     (4, 10))]
FACTS["10", "Translation"] = [
    ("RandomTranslation takes shares of the side, height first; plus is down and right.",
     lambda: [place(new(layers.RandomTranslation(*shares, fill_mode="constant"), dot()))
              for shares in (((3 / 9, 3 / 9), (0, 0)), ((0, 0), (3 / 9, 3 / 9)))],
     [(7, 4), (4, 7)])]
FACTS["10", "Zoom"] = [
    ("RandomZoom takes the factor less 1, height first; the generator's zx is the width.",
     lambda: mean_apart(
         new(layers.RandomZoom((-0.2, -0.2), (0.3, 0.3), fill_mode="nearest"), PHOTO),
         old(PHOTO, {"zx": 1.3, "zy": 0.8})) < 0.1, True),
    ("RandomZoom with one argument draws one factor for both sides.",
     same_zoom_on_both_sides, True)]
FACTS["10", "Flips"] = [
    ("RandomFlip() flips both ways or not at all.",
     flipped, ({(0, 1, 2, 3), (3, 2, 1, 0)}, pytest.approx(0.5, abs=0.06))),
    ("RandomFlip with a mode flips half of the images.", partial(flipped, "horizontal"),
     ({(0, 1, 2, 3), (1, 0, 3, 2)}, pytest.approx(0.5, abs=0.06)))]
FACTS["10", "Brightness: times or plus"] = [
    ("RandomBrightness adds its share of the value range, and clips at that range.",
     lambda: new(layers.RandomBrightness((0.4, 0.4)), greys(0, 100, 200))[0, :, 0],
     near([102, 202, 255], 1e-3))]
FACTS["10", "Scale, mean and standard deviation"] = [
    ("Normalization does as the featurewise steps did.",
     lambda: most_apart(normalized(TWO), fitted(TWO, **FEATUREWISE).standardize(1.0 * TWO))
     < 0.01, True),
    ("per_image_standardization does as the samplewise steps did.",
     lambda: most_apart(tf.image.per_image_standardization(TWO), batch_of(TWO, **SAMPLEWISE))
     < 0.01, True),
    ("Rescaling does as rescale did.",
     lambda: most_apart(layers.Rescaling(1 / 255)(TWO), batch_of(TWO, rescale=1 / 255)) < 1e-6,
     True),
    ("No layer of Keras has ZCA in its name.",
     lambda: [name for name in dir(layers) if "zca" in name.lower()], [])]
FACTS["10", "Validation images"] = [
    ("split_dataset sets the last rows aside.", lambda: set_aside(shuffle=False), [8, 9]),
    ("split_dataset sets others aside if it is asked to shuffle.",
     lambda: set_aside(shuffle=True) == [8, 9], False),
    ("A random layer alters what it is called on, unless training=False.",
     lambda: same_as_first(FLOATS, layers.RandomRotation((0.1, 0.1))(FLOATS),
                           layers.RandomRotation((0.1, 0.1))(FLOATS, training=False)),
     [False, True]),
    ("A model's predict does not alter images.",
     lambda: keras.Sequential([layers.RandomRotation((0.1, 0.1))]).predict(FLOATS, verbose=0),
     near(FLOATS, 0))]
FACTS["10", "Where to put contrast"] = [
    ("A dataset ends after an epoch; from the cache nothing is redone.",
     calls_behind_a_cache, ([[*range(10)], [*range(10)]], 10)),
    ("The last batch of a dataset is smaller.",
     lambda: [len(batch) for batch in tf.data.Dataset.range(10).cache().batch(4)], [4, 4, 2])]
FACTS["10", "Random contrast belongs after the cache"] = [
    ("What is random before the cache is the same in every epoch.",
     lambda: same(*passes(tf.data.Dataset.range(100).shuffle(100).cache())), True),
    ("What is random after the cache is new in every epoch.",
     lambda: mixed(*passes(tf.data.Dataset.range(100).cache().shuffle(100))), True)]
FACTS["10", "A seed that repeats itself"] = [
    ("With a seed set, each pass gives a function of tf.image the same random numbers.",
     lambda: flips_of_two_passes(tf.image.random_flip_left_right), True),
    ("A layer goes on from pass to pass.",
     lambda: flips_of_two_passes(layers.RandomFlip("horizontal")), False)]
FACTS["10", "Layers are slow, people say"] = [
    ("RandomFlip, RandomRotation and RandomZoom take a batch without a loop over its images.",
     lambda: [loops_of(layer) for layer in (
         layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1))],
     [0, 0, 0])]
FACTS["10", "What each choice costs"] = [
    ("Keras' CLAHE layer treats the channels separately.",
     lambda: most_apart(keras_clahe(PHOTO), by_channel(
         lambda plane: keras_clahe(plane[..., np.newaxis])[..., 0])) <= 1, True),
    ("The page of Keras' CLAHE layer tells of one_hot.",
     lambda: says(layers.ContrastLimitedAdaptiveHistogramEqualization, "one_hot"), True)]
FACTS["10", "`value_range` on images from 0 to 1"] = [
    ("Layers take value_range=(0, 255) unless told otherwise, and do not look at the image.",
     lambda: [value_range_matters(layers.RandomBrightness, (0.2, 0.2)),
              value_range_matters(layers.AutoContrast),
              value_range_matters(layers.RandomPosterization, (3, 3)),
              value_range_matters(layers.ContrastLimitedAdaptiveHistogramEqualization,
                                  tile_grid_size=(4, 4))], [True] * 4)]
FACTS["10", "`Equalization`: three promises not kept"] = [
    ("Keras' Equalization counts one histogram over the whole batch.",
     lambda: mean_apart(new(layers.Equalization(), [PHOTO])[0],
                        new(layers.Equalization(), [PHOTO, PHOTO // 4])[0]) > 10, True),
    ("Keras' Equalization does nothing at inference.",
     lambda: [same(FLOATS, layers.Equalization()(FLOATS, training=training))
              for training in (False, True)], [True, False]),
    ("The page of Keras' Equalization says that it equalizes at inference.",
     lambda: says(layers.Equalization,
                  "At inference time, the equalization is consistently applied."), True),
    ("Keras' Equalization cannot stand in Sequential.",
     lambda: keras.Sequential([layers.Equalization()])(FLOATS), ValueError("is part of a cycle")),
    ("Keras' Equalization of a single image is HE of each channel, to one grey level.",
     lambda: most_apart(new(layers.Equalization(), [PHOTO])[0].astype("uint8"), by_channel(
         lambda plane: np.rint(255 * exposure.equalize_hist(plane)))) <= 1, True)]
FACTS["10", "`RandomContrast(0.2)` only ever adds contrast"] = [
    ("RandomContrast(0.2) draws 1 to 1.2, and sorts a pair.",
     lambda: [contrast_factors(factor) for factor in (0.2, (0.2, 0.2), (0.4, 0.1))],
     near([(1, 1.2), (0.8, 1.2), (0.9, 1.4)], 0.02)),
    ("RandomContrast's page says lower = upper.",
     lambda: says(layers.RandomContrast, "single float, lower = upper"), True)]
FACTS["10", "Shuffling batches instead of images"] = [
    ("shuffle mixes what comes to it: after batch, whole batches.",
     lambda: sorted(batch.tolist() for batch in tf.data.Dataset.range(12).batch(4).shuffle(
         12, seed=2).as_numpy_iterator()), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
    ("shuffle mixes anew in each epoch.",
     lambda: mixed(*passes(tf.data.Dataset.range(12).shuffle(12, seed=2))), True)]
# fmt: on


# ---- 12: files


TWELVE_BITS = np.arange(4096, dtype=np.uint16).reshape(64, 64)
CORNER = np.pad(np.uint8([[255]]), ((0, 40), (0, 40)))


def stored(image, kind="PNG", **options):
    """A file in memory."""
    Image.fromarray(image).save(file := io.BytesIO(), kind, **options)
    return file


def loaded(file, **options):
    """What Keras' generator reads of a file."""
    return keras.utils.img_to_array(keras.utils.load_img(file, **options))


def turned_to_the_right():
    """A file whose EXIF says so."""
    orientation = Image.Exif()
    orientation[274] = 6
    return stored(CORNER, "JPEG", exif=orientation)


def with_palette():
    Image.fromarray(np.uint8([[0, 200]])).quantize(2).save(file := io.BytesIO(), "PNG")
    return file


def from_directory():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").mkdir()
        (Path(folder) / "a" / "1.png").write_bytes(stored(PHOTO).getvalue())
        return next(iter(keras.utils.image_dataset_from_directory(folder, verbose=False)))[0]


def both_turned():
    turn = layers.RandomRotation((0.1, 0.1), fill_mode="constant")
    square = np.pad(np.full((9, 9, 1), 255.0), ((16, 16), (16, 16), (0, 0)))
    both = {"images": square, "segmentation_masks": square}
    turned = {key: value.numpy() for key, value in turn(both, training=True).items()}
    return np.unique(turned["segmentation_masks"]).tolist(), np.unique(turned["images"]).size > 2


def overwritten():
    image = FLOATS.copy()
    keras.applications.resnet50.preprocess_input(image)
    return not same(image, FLOATS)


def pairs():
    model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model.fit(zip(flow(FLOATS), flow(FLOATS), strict=False), steps_per_epoch=1)


# fmt: off
FACTS["12", "Look before anything else"] = [
    ("A file cut short opens, and fails when its pixels are asked for.",
     lambda: np.asarray(Image.open(io.BytesIO(stored(PHOTO, "JPEG").getvalue()[:-100]))),
     OSError("image file is truncated"))]
FACTS["12", "Bring them to one form"] = [
    ("Keras' loader and TensorFlow's decoder leave a picture as it lies, whatever EXIF says.",
     lambda: [picture[0, 0, 0] > 128 for picture in (
         loaded(turned_to_the_right()),
         tf.io.decode_jpeg(turned_to_the_right().getvalue()).numpy())], [True, True]),
    ("Keras' loader drops alpha, and shows what was cut away.",
     lambda: loaded(stored(np.dstack([PHOTO, 0 * GREY]))), near(PHOTO, 0)),
    ("Keras' loader looks up a palette.",
     lambda: loaded(with_palette()), near(greys(0, 200), 0))]
FACTS["12", "Four ways from 16 bits to a picture"] = [
    ("Pillow's convert to RGB sets all above 255 to 255.",
     lambda: np.asarray(Image.open(stored(TWELVE_BITS)).convert("RGB"))[..., 0],
     near(np.minimum(TWELVE_BITS, 255), 0))]
FACTS["12", "Train from a folder"] = [
    ("image_dataset_from_directory gives floats from 0 to 255, of 256 × 256.",
     lambda: (images := from_directory()).dtype == tf.float32 and images.shape[1:3] == (256, 256)
     and images.numpy().max() > 100, True)]
FACTS["12", "Images and masks in step"] = [
    ("Keras' layers turn image and mask alike, the mask without new values.",
     both_turned, ([0, 255], True)),
    ("Keras' fit refuses a zip of generators.", pairs, ValueError("Unrecognized data type"))]
FACTS["12", "Save what came out without losing bits"] = [
    ("JPEG holds no 16 bits.",
     lambda: stored(TWELVE_BITS, "JPEG"), OSError("cannot write mode I;16 as JPEG"))]
FACTS["12", "16 bits through Keras' loaders"] = [
    ("Keras' loader keeps 16 bits of a grey file, if it reads in grey, and clips them otherwise.",
     lambda: [loaded(stored(TWELVE_BITS), color_mode=mode).max() for mode in ("grayscale", "rgb")],
     [4095, 255]),
    ("TensorFlow's decode_image keeps the upper 8 bits.",
     lambda: tf.io.decode_image(stored(TWELVE_BITS).getvalue()).numpy()[..., 0],
     near(TWELVE_BITS // 256, 0))]
FACTS["12", "Contrast after `preprocess_input`"] = [
    ("preprocess_input overwrites a float array.", overwritten, True)]
# fmt: on


# ---- what other files say of their tools


def picture_with_alt_text():
    """A notebook whose only output is a picture with alternative text in its metadata."""
    output = nbformat.v4.new_output(
        "display_data", {"image/png": "iVBORw0KGgo="}, metadata={"image/png": {"alt": "a deer"}}
    )
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()", outputs=[output])])


def by_nbconvert():
    """Whether picture and alternative text are on the page."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(template_name="lab").from_notebook_node(picture_with_alt_text())
    return "iVBORw0KGgo=" in page, "a deer" in page


def by_myst_nb():
    pytest.importorskip("myst_nb")
    settings = "extensions = ['myst_nb']\nnb_execution_mode = 'off'\n"
    settings += "nb_mime_priority_overrides = [('html', 'image/png', 0)]\n"
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(picture_with_alt_text(), f"{folder}/index.ipynb")
        Path(folder, "conf.py").write_text(settings)
        done = python("-m", "sphinx", "-q", "-b", "html", folder, f"{folder}/out")
        assert done.returncode == 0, done.stderr
        page = Path(folder, "out/index.html").read_text(encoding="utf-8")
    return "<img" in page, "a deer" in page


def by_nbgrader():
    """The exit status for a test that fails, and whether it says so."""
    pytest.importorskip("nbgrader")
    cell = nbformat.v4.new_code_cell("assert False")
    cell.metadata["nbgrader"] = {
        **{"grade": True, "solution": False, "locked": True, "task": False},
        **{"grade_id": "part", "points": 1, "schema_version": 3},
    }
    with tempfile.TemporaryDirectory() as folder:
        write_notebook(f"{folder}/a.ipynb", [cell])
        done = python("-m", "nbgrader", "validate", "a.ipynb", cwd=folder)
    return done.returncode, "failed" in (done.stdout + done.stderr).lower()


# fmt: off
FACTS["augment_utils/plotting.py", "def show"] = [
    ("nbconvert's lab template leaves a picture's alternative text out of the page.",
     by_nbconvert, (True, False))]

FACTS["book/conf.py", "def with_alt_text"] = [
    ("MyST-NB leaves a picture's alternative text out of the page.", by_myst_nb, (True, False))]

FACTS["assignments/course.py", "def release"] = [
    ("`nbgrader validate` exits 0 even where a test fails, so release runs the cells itself.",
     by_nbgrader, (0, True))]
# fmt: on


# ---- the tests


@pytest.mark.parametrize(
    ("page", "section", "fact", "see", "expected"),
    [
        pytest.param(page, section, *row, id=f"{page}: {row[0]}")
        for (page, section), rows in FACTS.items()
        for row in rows
    ],
)
def test_it_is_still_so(page, section, fact, see, expected):
    try:
        if isinstance(expected, Exception):
            with pytest.raises(type(expected), match=re.escape(str(expected))):
                see()
        else:
            assert see() == expected
    except (Exception, pytest.fail.Exception) as error:
        told = f"no longer so: {fact} Rewrite {PAGES.get(page, page)}, section “{section}”."
        raise AssertionError(told) from error


@pytest.mark.parametrize(("page", "section"), FACTS)
def test_the_page_to_rewrite_exists(page, section):
    path = ROOT / PAGES.get(page, page)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        prose = prose_of(nbformat.reads(text, 4))
        assert section in re.findall(r"^##+ (.+)$", prose, re.MULTILINE)
    else:
        assert f"{section}(" in text


@pytest.mark.parametrize(
    ("see", "expected"), [(lambda: 2 + 2, 5), (lambda: 2 + 2, ValueError()), (lambda: 1 / 0, 5)]
)
def test_a_canary_says_what_to_rewrite(see, expected):
    told = "no longer so: As it was. Rewrite notebooks/06_clahe.ipynb, section “Your turn”."
    with pytest.raises(AssertionError, match=f"^{re.escape(told)}$"):
        test_it_is_still_so("06", "Your turn", "As it was.", see, expected)
