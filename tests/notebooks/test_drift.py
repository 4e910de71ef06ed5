"""Canaries: what the pages say of foreign libraries still holds, or which page to rewrite.

Each test is one fact, said in its docstring. Notebooks 09 and 11 teach none.
"""

import functools
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
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
TAUGHT = set()  # (page, section) of every canary


def taught(page, section):
    """Marks a canary: where the fact in its docstring does not hold, say what to rewrite."""
    path = PAGES.get(page, page)
    TAUGHT.add((path, section))

    def mark(test):
        @functools.wraps(test)
        def canary(*arguments, **options):
            try:
                test(*arguments, **options)
            except (Exception, pytest.fail.Exception) as error:
                raise AssertionError(
                    f"no longer so: {test.__doc__} Rewrite {path}, section “{section}”."
                ) from error

        return canary

    return mark


def ImageDataGenerator(**arguments):
    """Looked up in each test, so that each says what to rewrite when the class is gone."""
    return tf.keras.preprocessing.image.ImageDataGenerator(**arguments)


def old(image, draw, **arguments):
    """What the generator makes of an image by a given draw."""
    return ImageDataGenerator(**arguments).apply_transform(image.astype("float32"), draw)


def batch_of(images, **arguments):
    generator = ImageDataGenerator(**arguments)
    return next(generator.flow(images, batch_size=len(images), shuffle=False, seed=0))


def draws(key, count=200, **arguments):
    """What the generator draws for 32 × 32 pixels."""
    generator = ImageDataGenerator(**arguments)
    np.random.seed(0)
    return np.array([generator.get_random_transform((32, 32, 3))[key] for _ in range(count)])


def new(layer, images):
    return np.asarray(layer(np.asarray(images, "float32"), training=True))


def dot(rows=9, columns=9):
    image = np.zeros((rows, columns, 1))
    image[rows // 2, columns // 2] = 1
    return image


def places(image):
    return np.argwhere(image[..., 0] > 0.5).tolist()


def adapthist(image, **settings):
    return exposure.equalize_adapthist(image, **settings)


def the_page(thing):
    return " ".join(thing.__doc__.split())


PHOTO = data.astronaut()[64:96, 200:232]  # 32 × 32 of a face
GREY = PHOTO.max(axis=-1)
FLAT = np.full((32, 32), 90, np.uint8)
NUMBERED = np.arange(10).reshape(10, 1, 1, 1) * np.ones((1, 2, 2, 1))  # images of their row number


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


# ---- 01: ImageDataGenerator


@taught("01", "One dog, nine epochs")
def test_the_generator_calls_itself_deprecated():
    """ImageDataGenerator's documentation string says DEPRECATED, and no more."""
    assert type(ImageDataGenerator()).__doc__.strip() == "DEPRECATED."


@taught("01", "One image in, one batch out")
def test_flow_wants_four_axes():
    """flow refuses a single image, of three axes."""
    with pytest.raises(ValueError, match="should have rank 4"):
        ImageDataGenerator().flow(PHOTO)


@taught("01", "One image in, one batch out")
def test_a_batch_is_float32_on_the_scale_that_came():
    """uint8 comes out as float32, still from 0 to 255."""
    batch = batch_of(PHOTO[np.newaxis])
    assert batch.dtype == np.float32 and np.array_equal(batch[0], PHOTO)


@taught("01", "Each argument alone")
@pytest.mark.parametrize(
    ("name", "place"), [("width_shift_range", [7, 4]), ("height_shift_range", [4, 7])]
)
def test_the_shifts_have_each_others_names(name, place):
    """width_shift_range moves images up and down, height_shift_range sideways."""
    assert places(batch_of(dot()[np.newaxis], **{name: [3]})[0]) == [place]


@taught("01", "Each argument alone")
def test_only_square_images_turn_about_their_centre():
    """In an image that is not square, rotation and zoom have the wrong centre."""
    half_turn = {"theta": 180}
    assert places(old(dot(), half_turn, fill_mode="constant")) == [[4, 4]]
    assert places(old(dot(9, 11), half_turn, fill_mode="constant")) == [[6, 3]]


@taught("01", "Each argument alone")
def test_a_shift_says_where_a_pixel_looks():
    """A positive draw of a shift moves the picture up or to the left."""
    assert places(old(dot(), {"ty": 3}, fill_mode="constant")) == [[1, 4]]
    assert places(old(dot(), {"tx": 3}, fill_mode="constant")) == [[4, 1]]


@taught("01", "Each argument alone")
def test_shear_is_in_degrees():
    """shear_range is an angle in degrees, so that 0.2 changes next to nothing."""
    tenth, radians = (
        np.abs(old(PHOTO, {"shear": s}) - PHOTO).mean() for s in (0.2, np.rad2deg(0.2))
    )
    assert tenth < 1 < 10 * tenth < radians


@taught("01", "Each argument alone")
def test_zoom_draws_a_factor_for_each_axis():
    """zoom_range=0.4 draws two factors from 0.6 to 1.4; below 1 enlarges."""
    x, y = (draws(key, zoom_range=0.4) for key in ("zx", "zy"))
    assert 0.6 <= min(x) < 0.7 and 1.3 < max(x) <= 1.4 and (x != y).any()
    square = np.pad(np.ones((4, 4, 1)), ((3, 3), (3, 3), (0, 0)))
    assert old(square, {"zx": 0.5, "zy": 0.5}).sum() > 2 * square.sum()


@taught("01", "Each argument alone")
def test_brightness_multiplies():
    """brightness_range draws a factor: black stays black."""
    greys = np.array([0, 20, 100, 200]).reshape(1, 4, 1) * np.ones(3)
    assert np.allclose(old(greys, {"brightness": 1.4})[0, :, 0], [0, 28, 140, 255])


@taught("01", "Your turn")
def test_channel_shift_adds_one_number():
    """channel_shift_range adds the same to all channels and clips at the image's own maximum."""
    shifted = old(PHOTO, {"channel_shift_intensity": 30})
    assert np.array_equal(shifted, np.minimum(PHOTO + 30.0, PHOTO.max()))


@taught("01", "Your turn")
@pytest.mark.parametrize(
    ("shift", "largest", "whole"), [(1, 0, True), (1.0, 1, False), (4, 3, True), (0.125, 4, False)]
)
def test_a_whole_shift_draws_whole_pixels_and_a_float_does_not(shift, largest, whole):
    """A whole shift k draws −(k−1) to k−1 pixels, a float a share or from 1 on pixels."""
    drawn = draws("ty", 1000, width_shift_range=shift)
    assert largest - 0.1 < max(drawn) <= largest and (drawn == drawn.round()).all() == whole


@taught("01", "What fills the border: `fill_mode`")
def test_the_generator_repeats_the_border():
    """fill_mode is "nearest" unless told otherwise; constant, reflect and wrap do as they say."""
    assert ImageDataGenerator().fill_mode == "nearest"
    row = np.arange(1.0, 6).reshape(1, 5, 1).repeat(5, axis=0)
    filled = {"nearest": [5, 5], "constant": [0, 0], "reflect": [5, 4], "wrap": [2, 3]}
    for mode, border in filled.items():
        moved = old(row, {"tx": 2}, fill_mode=mode)[2, :, 0]
        assert np.allclose(moved, [3, 4, 5, *border], atol=1e-4)


@taught("01", "How many batches")
def test_an_epoch_is_rounded_up_and_the_stream_has_no_end():
    """An epoch has n/b batches, rounded up; the last is smaller; then it begins again."""
    flow = ImageDataGenerator().flow(np.zeros((100, 2, 2, 1)), batch_size=32)
    assert len(flow) == 4 and [len(next(flow)) for _ in range(5)] == [32, 32, 32, 4, 32]


@taught("01", "Shuffle and seed")
def test_flow_shuffles_in_each_epoch():
    """flow shuffles anew in each epoch unless shuffle=False."""
    flow = ImageDataGenerator().flow(NUMBERED, batch_size=10, seed=1)
    first, second = (next(flow)[:, 0, 0, 0].tolist() for _ in range(2))
    assert first != second and sorted(first) == sorted(second) == list(range(10))
    assert np.array_equal(batch_of(NUMBERED), NUMBERED)


@taught("01", "Shuffle and seed")
def test_the_seed_fixes_a_stream_but_not_its_epochs():
    """The same seed gives the same images; the epochs of one stream differ."""

    def stream(seed):
        moving = ImageDataGenerator(rotation_range=30)
        return moving.flow(PHOTO[np.newaxis], shuffle=False, seed=seed)

    one = stream(1)
    first, second = next(one), next(one)
    assert np.array_equal(first, next(stream(1)))
    assert not np.array_equal(first, second) and not np.array_equal(first, next(stream(2)))


@taught("01", "Shuffle and seed")
def test_the_seed_resets_numpys_global_numbers():
    """A generator's seed resets np.random for the whole program."""
    after = []
    for mine in (123, 456):
        np.random.seed(mine)
        batch_of(NUMBERED)
        after.append(np.random.random())
    assert after[0] == after[1]


@taught("01", "The order of its steps")
def test_geometry_comes_before_flips():
    """Shift and rotation are done before the flips: a flip mirrors the shift too."""
    draw = {"tx": 3, "flip_horizontal": True}
    assert places(old(dot(), draw, fill_mode="constant")) == [[4, 7]]


@taught("01", "The order of its steps")
def test_channel_shift_comes_before_brightness():
    """channel_shift_range is added before brightness_range multiplies."""
    greys = np.array([0.0, 50, 100]).reshape(1, 3, 1) * np.ones(3)
    draw = {"channel_shift_intensity": 20, "brightness": 2.0}
    assert np.allclose(old(greys, draw)[0, :, 0], [40, 140, 200])


@taught("01", "The order of its steps")
def test_brightness_and_flip_come_before_the_function():
    """preprocessing_function sees a flipped and brightened image, before rescale and centring."""
    seen, ramp = [], np.array([0, 80, 120]).reshape(1, 1, 3, 1) * np.ones(3)

    def spy(image):
        seen.append(image[0, :, 0].copy())
        return image

    settings = {"brightness_range": (2.0, 2.0), "horizontal_flip": True}
    settings |= {"rescale": 1 / 255, "samplewise_center": True, "preprocessing_function": spy}
    for _ in range(4):
        batch_of(ramp.repeat(4, axis=0), **settings)
    assert {tuple(row) for row in seen} == {(0, 160, 240), (240, 160, 0)}


@taught("01", "The order of its steps")
def test_the_function_comes_before_rescale_and_that_before_samplewise_steps():
    """y = (r · f(x) − mean) / (standard deviation + 10⁻⁶), the mean being that of r · f(x)."""
    settings = {"samplewise_center": True, "samplewise_std_normalization": True}
    batch = batch_of(
        PHOTO[np.newaxis],
        preprocessing_function=lambda image: np.minimum(image, 100),
        rescale=1 / 255,
        **settings,
    )
    scaled = np.minimum(PHOTO, 100) / 255
    assert np.allclose(batch[0], (scaled - scaled.mean()) / (scaled.std() + 1e-6), atol=1e-3)
    tiny = np.array([0, 2e-6]).reshape(1, 1, 2, 1)
    assert np.allclose(batch_of(tiny, **settings).ravel(), [-0.5, 0.5], atol=1e-3)


@taught("01", "The order of its steps")
def test_samplewise_comes_before_featurewise():
    """Featurewise steps come after samplewise ones."""
    steps = {"samplewise_center": True, "samplewise_std_normalization": True}
    generator = ImageDataGenerator(featurewise_center=True, **steps)
    generator.mean = np.float32(5)
    image = np.array([1.0, 3.0]).reshape(1, 2, 1)
    assert np.allclose(generator.standardize(image).ravel(), [-6, -4], atol=1e-4)


@taught("01", "The order of its steps")
def test_the_generators_source_is_where_the_page_says():
    """The order stands in keras/src/legacy/preprocessing/image.py."""
    path = Path(keras.__file__).parent / "src/legacy/preprocessing/image.py"
    assert "def standardize" in path.read_text(encoding="utf-8")


@taught("01", "When `fit` matters")
def test_without_fit_there_is_a_warning_only():
    """Featurewise steps without fit warn, and leave the images as they are."""
    with pytest.warns(UserWarning, match="it hasn't been fit on any training data"):
        batch = batch_of(NUMBERED, featurewise_center=True)
    assert np.array_equal(batch, NUMBERED)


@taught("01", "When `fit` matters")
def test_fit_takes_numpys_mean_and_deviation():
    """fit computes each channel's mean and standard deviation as NumPy does."""
    generator = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    generator.fit(PHOTO[np.newaxis])
    assert np.allclose(generator.mean, PHOTO.mean(axis=(0, 1)), atol=0.05)
    assert np.allclose(generator.std, PHOTO.std(axis=(0, 1)), atol=0.05)


@taught("01", "When `fit` matters")
def test_fit_computes_only_what_is_asked_for():
    """Without a featurewise argument, fit computes nothing."""
    generator = ImageDataGenerator(rotation_range=30)
    generator.fit(PHOTO[np.newaxis])
    assert generator.mean is None and generator.std is None


@taught("01", "`horizontal_flip=0.5` is not a probability")
@pytest.mark.parametrize(("value", "share"), [(False, 0), (True, 0.5), (0.5, 0.5), (0.1, 0.5)])
def test_a_flip_is_a_switch(value, share):
    """horizontal_flip is a switch: whatever is true flips half of the images."""
    thousand = np.tile(np.array([0, 1]).reshape(1, 1, 2, 1), (1000, 1, 1, 1))
    flipped = batch_of(thousand, horizontal_flip=value)[:, 0, 0, 0].mean()
    assert flipped == pytest.approx(share, abs=0.05)


class CountBatches(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = []

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.batches[-1] += 1


@taught("01", "`steps_per_epoch = n // batch_size`")
def test_steps_rounded_down_leave_a_batch_to_the_next_epoch():
    """With one step too few, every other epoch is one batch long, under a warning."""
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    flow = ImageDataGenerator().flow(np.zeros((5, 2, 2, 1)), np.zeros(5), batch_size=2)
    counter = CountBatches()
    with pytest.warns(UserWarning, match="Your input ran out of data; interrupting training"):
        model.fit(flow, epochs=4, steps_per_epoch=5 // 2, callbacks=[counter], verbose=0)
    assert counter.batches == [2, 1, 2, 1]


@taught("01", "What `fit` and `validation_split` do behind your back")
def test_fit_knows_rescale_but_not_the_function():
    """fit applies rescale, and ignores preprocessing_function."""
    generators = [
        ImageDataGenerator(featurewise_center=True, **scale)
        for scale in ({"preprocessing_function": lambda x: x / 255}, {"rescale": 1 / 255})
    ]
    for generator, mean in zip(generators, (PHOTO.mean(), PHOTO.mean() / 255), strict=True):
        generator.fit(PHOTO[np.newaxis])
        assert np.mean(generator.mean) == pytest.approx(mean, rel=1e-3)


@taught("01", "What `fit` and `validation_split` do behind your back")
def test_validation_split_takes_the_first_rows():
    """validation_split sets the first rows aside, unshuffled."""
    generator = ImageDataGenerator(validation_split=0.2)
    for subset, rows in (("validation", range(2)), ("training", range(2, 10))):
        taken = next(generator.flow(NUMBERED, subset=subset, shuffle=False))
        assert taken[:, 0, 0, 0].tolist() == list(rows)


@taught("01", "What `fit` and `validation_split` do behind your back")
def test_validation_images_are_augmented():
    """The images of a validation_split are altered like those for training."""
    generator = ImageDataGenerator(validation_split=0.5, rotation_range=30)
    images = np.stack([PHOTO, PHOTO])
    taken = next(generator.flow(images, subset="validation", shuffle=False, seed=0))
    assert not np.array_equal(taken[0], PHOTO)


@taught("01", "What `fit` and `validation_split` do behind your back")
def test_sorted_labels_are_noticed():
    """validation_split refuses labels that are sorted by class."""
    generator = ImageDataGenerator(validation_split=0.2)
    with pytest.raises(ValueError, match="sorted by the label"):
        generator.flow(NUMBERED, np.arange(10) // 5, subset="validation")


@taught("01", "`brightness_range` on images from 0 to 1")
def test_brightness_range_blacks_out_images_from_0_to_1():
    """brightness_range makes an image from 0 to 1 black."""
    assert not batch_of(GREY[np.newaxis, ..., np.newaxis] / 256, brightness_range=(1.3, 1.3)).any()


# ---- 02 to 04: histograms, stretching, HE


@taught("02", "Grey levels, and one number per pixel: V")
def test_v_is_the_largest_channel():
    """V of scikit-image's rgb2hsv is the largest of R, G and B."""
    assert np.allclose(255 * color.rgb2hsv(PHOTO)[..., 2], GREY)


@taught("02", "The histogram counts")
def test_histograms_left_alone_have_other_bins():
    """NumPy makes ten bins between the ends; scikit-image counts from darkest to brightest."""
    assert len(np.histogram(GREY)[0]) == 10
    assert len(exposure.histogram(GREY)[0]) == np.ptp(GREY) + 1 < 256
    assert len(exposure.histogram(GREY, source_range="dtype")[0]) == 256


@taught("02", "Shares instead of counts, then the running sum: the CDF")
def test_the_cdf_starts_at_the_darkest_level():
    """scikit-image's cumulative_distribution starts at the darkest level that occurs."""
    cdf, levels = exposure.cumulative_distribution(GREY)
    assert levels[0] == GREY.min() and cdf[-1] == 1 and len(cdf) == np.ptp(GREY) + 1


@taught("02", "Shares instead of counts, then the running sum: the CDF")
def test_a_percentile_can_lie_between_two_pixels():
    """np.percentile interpolates between neighbouring pixels."""
    assert np.percentile([10, 20], 25) == 12.5


@taught("02", "A library that chooses for you")
def test_equalize_hist_warns_of_one_colour_image_but_not_of_a_batch():
    """equalize_hist counts all numbers jointly; it warns of a colour image, not of a batch."""
    with pytest.warns(UserWarning, match="This might be a color image"):
        joint = exposure.equalize_hist(PHOTO)
    batch = exposure.equalize_hist(np.stack([PHOTO, PHOTO]))
    assert np.allclose(joint.ravel(), exposure.equalize_hist(PHOTO.reshape(32, 96)).ravel())
    assert np.allclose(batch[0], joint)


@taught("02", "A plot that flatters")
def test_imshow_stretches_grey_images():
    """Matplotlib's imshow paints an image's darkest level black and its brightest white."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots()
    assert axis.imshow(GREY, cmap="gray").get_clim() == (GREY.min(), GREY.max())
    plt.close(figure)


@taught("02", "Bytes that wrap round")
def test_bytes_wrap_round_in_silence():
    """A uint8 array plus a number starts again at 0 beyond 255, without a warning."""
    assert (np.array([100, 250], np.uint8) + 60).tolist() == [160, 54]


@taught("03", "Bytes that wrap round")
def test_products_of_bytes_wrap_round_too():
    """255 times a uint8 array is cut to bytes, and so is a difference below 0."""
    x = np.array([28, 40], np.uint8)
    assert (255 * (x - 28)).tolist() == [0, 255 * 12 % 256]
    assert (x - np.uint8(45)).tolist() == [239, 251]


@taught("03", "Percentiles instead of extremes")
def test_rescale_intensity_cuts_fractions_off():
    """rescale_intensity of uint8 cuts the fraction off, and does not round."""
    x = np.array([0, 1, 2, 3], np.uint8)
    assert exposure.rescale_intensity(x, in_range=(0, 3)).tolist() == [0, 85, 170, 255]
    assert exposure.rescale_intensity(x, in_range=(0, 2.9)).tolist() == [0, 87, 175, 255]


@taught("03", "`in_range` misunderstood")
def test_in_range_is_in_grey_levels_and_left_out_means_min_max():
    """rescale_intensity takes in_range as grey levels of the image; left out, it is min–max."""
    x = np.array([50, 100, 150], np.uint8)
    assert exposure.rescale_intensity(x).tolist() == [0, 127, 255]
    assert exposure.rescale_intensity(x, in_range=(2, 98)).tolist()[1:] == [255, 255]
    assert not exposure.rescale_intensity(x / 255, in_range=(50, 150)).any()


@taught("04", "From scratch, and from the library")
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_equalize_hist_returns_shares(kind):
    """equalize_hist returns floats from 0 to 1, the CDF, whatever came in."""
    result = exposure.equalize_hist(GREY.astype(kind))
    assert result.dtype.kind == "f" and result.max() == 1
    if kind == np.uint8:
        assert np.allclose(result, np.mean(GREY.ravel() <= GREY[..., None], axis=-1))


@taught("04", "uint8 or float: a few grey levels apart")
def test_floats_are_counted_in_256_bins():
    """equalize_hist lays 256 bins over floats and interpolates: at most half the tallest bar."""
    apart = np.abs(exposure.equalize_hist(GREY) - exposure.equalize_hist(GREY / 255))
    assert 0 < apart.max() <= np.bincount(GREY.ravel()).max() / GREY.size / 2 + 1e-9


@taught("04", "Floats in, floats out")
def test_equalize_hist_takes_floats_in_0_to_255():
    """equalize_hist takes floats from 0 to 255 without a word, and returns 0 to 1."""
    assert exposure.equalize_hist(GREY.astype(float)).max() == 1


@taught("04", "A flat image")
@pytest.mark.parametrize("level", [0, 90])
def test_equalize_hist_turns_a_flat_image_white(level):
    """equalize_hist turns an image of one grey level white."""
    assert (exposure.equalize_hist(np.full((8, 8), level, np.uint8)) == 1).all()


@taught("04", "Your turn")
def test_opencv_sends_the_darkest_level_to_0(cv2):
    """OpenCV's equalizeHist maps by (c − c_min) / (1 − c_min)."""
    c = np.bincount(GREY.ravel(), minlength=256).cumsum() / GREY.size
    expected = 255 * np.clip((c - c[GREY.min()]) / (1 - c[GREY.min()]), 0, 1)[GREY]
    assert np.abs(cv2.equalizeHist(GREY) - expected).max() <= 0.501


@taught("04", "Your turn")
def test_match_histograms_goes_back_through_the_other_cdf():
    """match_histograms interpolates in the other image's CDF."""
    other = data.camera()[:64:2, :64:2]
    cdf, other_cdf = (
        np.bincount(x.ravel(), minlength=256).cumsum() / x.size for x in (GREY, other)
    )
    levels = np.unique(other)
    expected = np.interp(cdf, other_cdf[levels], levels)[GREY]
    assert np.abs(exposure.match_histograms(GREY, other) - expected).max() < 0.01


# ---- 05 and 06: AHE and CLAHE


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


@taught("05", "The library's call")
def test_a_tiles_centre_is_half_a_pixel_off_and_the_result_is_stretched():
    """equalize_adapthist puts the centre of a tile of 8 at pixel 4, and stretches the result."""
    few_levels = GREY // 2  # more than 253 would share bins

    def distance(centre, stretched):
        result = by_hand(few_levels, 8, centre)
        if stretched:
            result = (result - result.min()) / np.ptp(result)
        theirs = adapthist(few_levels, kernel_size=8, clip_limit=1)
        return 255 * np.abs(result - theirs).mean()

    assert distance(4, True) < 0.5 < min(distance(3.5, True), distance(4, False))


@taught("05", "The library's call")
def test_scikit_image_counts_253_bins():
    """scikit-image rounds V to 16,384 levels and counts 65 of them in one bin."""
    from skimage.exposure import _adapthist

    assert _adapthist.NR_OF_GRAY == 2**14
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    merged = adapthist(levels, kernel_size=16, clip_limit=1)
    assert len(np.unique(merged)) == 253 == -(-(2**14) // 65)


@taught("05", "Calling it AHE when it is not")
def test_the_default_clip_limit_is_not_ahe():
    """equalize_adapthist has a clip_limit of 0.01 unless told otherwise; 1 means no limit."""
    results = [adapthist(PHOTO, kernel_size=32, **limit) for limit in ({}, {"clip_limit": 0.01})]
    assert np.array_equal(*results)
    for limit in (0.009, 0.011, 1):  # 9, 11 and all of 1,024 pixels, not 10
        assert not np.array_equal(results[0], adapthist(PHOTO, kernel_size=32, clip_limit=limit))


@taught("05", "Taking the size of a tile for the number of tiles")
def test_opencv_counts_tiles(cv2):
    """OpenCV's tileGridSize is the number of tiles in a row and a column, by default 8 × 8."""
    assert cv2.createCLAHE().getTilesGridSize() == (8, 8)
    one_tile = cv2.createCLAHE(clipLimit=0, tileGridSize=(1, 1)).apply(GREY)
    cdf = np.mean(GREY.ravel() <= GREY[..., None], axis=-1)
    assert np.abs(one_tile - 255 * cdf).max() <= 0.501  # plain HE: a tile as large as the image


@taught("05", "Flipping before or after")
def test_the_last_tile_is_filled_up_with_mirrored_pixels():
    """Where tiles do not fit, scikit-image mirrors at the right and at the bottom."""
    cut = data.camera()[:60:2, :60:2]
    whole = np.pad(cut, ((0, 2), (0, 2)), "reflect")
    settings = {"kernel_size": 8, "clip_limit": 1}
    # the same but for the last stretch
    ours, theirs = adapthist(whole, **settings)[:30, :30], adapthist(cut, **settings)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9999


@taught("06", "From one tile to the image")
def test_the_limit_is_a_share_of_the_tile_rounded_down():
    """The limit is int(clip_limit × pixels of the tile), at least one pixel."""
    limits = [adapthist(PHOTO, kernel_size=8, clip_limit=k / 64) for k in (1, 1.99, 2, 0.01)]
    assert np.array_equal(limits[0], limits[1]) and not np.array_equal(limits[0], limits[2])
    assert np.array_equal(limits[0], limits[3])


@taught("06", "The dead zone at 32 × 32")
def test_the_default_tile_is_an_eighth_of_the_side():
    """scikit-image's tile is an eighth of the side, 4 pixels at 32 × 32."""
    for side, tile in ((32, 4), (64, 8)):
        photo = data.camera()[:side, :side]
        assert np.array_equal(adapthist(photo), adapthist(photo, kernel_size=tile))


@taught("06", "The dead zone at 32 × 32")
def test_small_limits_do_nothing_at_32_pixels():
    """At 32 × 32, scikit-image's default tile makes every clip_limit below 0.125 the same."""
    results = [adapthist(PHOTO, clip_limit=limit) for limit in (0.0001, 0.03, 0.124, 0.125)]
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[3])


@taught("06", "The two ends: stretching and AHE")
def test_one_pixel_of_256_is_min_max_stretching():
    """In tiles of 16, one pixel a bar leaves the stretching that scikit-image does anyway."""
    stretched = (GREY - GREY.min()) / np.ptp(GREY)
    apart = np.abs(adapthist(GREY, kernel_size=16, clip_limit=1 / 256) - stretched)
    assert apart.max() <= 1 / 255


@taught("06", "scikit-image and OpenCV, side by side")
def test_opencvs_limit_is_40_unless_told_otherwise(cv2):
    """OpenCV's clipLimit is 40 unless told otherwise."""
    assert cv2.createCLAHE().getClipLimit() == 40


@taught("06", "scikit-image and OpenCV, side by side")
def test_opencvs_limit_is_a_multiple_of_the_mean_bar(cv2):
    """OpenCV's limit is max(int(clipLimit × pixels / 256), 1), with the same dead zone."""

    def result(clip):
        return cv2.createCLAHE(clip, (8, 8)).apply(GREY)

    assert np.array_equal(result(1), result(31.9)) and not np.array_equal(result(1), result(32))


@taught("06", "scikit-image and OpenCV, side by side")
def test_opencv_takes_0_as_no_limit(cv2):
    """OpenCV takes a clipLimit of 0 and below as no limit."""
    results = [cv2.createCLAHE(clip, (4, 4)).apply(GREY) for clip in (0.0, -1.0, 256.0)]
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


@taught("06", "scikit-image and OpenCV, side by side")
def test_opencv_hands_out_to_full_bars_too(cv2):
    """OpenCV hands what it cuts off to all bars alike, so one may end above the limit."""
    nearly_flat = np.full((64, 64), 100, np.uint8)
    nearly_flat[0, :2] = 99, 101
    levels = cv2.createCLAHE(2.0, (1, 1)).apply(nearly_flat)
    assert levels[1, 0] - levels[0, 0] > 2


@taught("06", "scikit-image and OpenCV, side by side")
def test_opencv_does_not_stretch(cv2):
    """OpenCV stretches neither V before nor the result after."""
    dark = GREY // 4
    strict = cv2.createCLAHE(1.0, (1, 1)).apply(dark)
    assert strict.max() < 100 < 255 * adapthist(dark, kernel_size=32, clip_limit=1 / 1024).max()


@taught("06", "scikit-image and OpenCV, side by side")
def test_opencv_makes_tiles_larger_where_scikit_image_adds_one(cv2):
    """Where tiles do not fit, OpenCV completes by reflection and keeps their number."""
    cut = data.camera()[:60:2, :60:2]
    whole = np.pad(cut, ((0, 2), (0, 2)), "reflect")
    clahe = cv2.createCLAHE(4.0, (4, 4))
    assert np.array_equal(clahe.apply(cut), clahe.apply(whole)[:30, :30])


@taught("06", "scikit-image and OpenCV, side by side")
def test_scikit_image_takes_colour_and_works_on_v():
    """equalize_adapthist of an RGB image changes V and keeps hue and saturation."""
    before, after = color.rgb2hsv(PHOTO), color.rgb2hsv(adapthist(PHOTO, kernel_size=8))
    lit = after[..., 2] > 0  # black has neither
    assert np.allclose(before[lit][:, :2], after[lit][:, :2], atol=1e-6)
    assert np.allclose(after[..., 2], adapthist(before[..., 2], kernel_size=8), atol=1e-6)


@taught("06", "Floats in 0–255")
def test_equalize_adapthist_refuses_floats_in_0_to_255():
    """equalize_adapthist refuses floats beyond 1, and allows −1 to 1."""
    with pytest.raises(ValueError, match=r"^Images of type float must be between -1 and 1\.$"):
        adapthist(GREY.astype("float32"))
    adapthist(GREY / 127.5 - 1)


@taught("06", "OpenCV's 2.0 in scikit-image's `clip_limit`")
def test_scikit_image_takes_2_and_0_as_no_limit():
    """equalize_adapthist takes a clip_limit above 1, and 0, as no limit, without a word."""
    results = [adapthist(PHOTO, kernel_size=8, clip_limit=limit) for limit in (2.0, 1.0, 0)]
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


@taught("augment_utils/contrast.py", "def clahe")
def test_equalize_adapthist_turns_a_flat_image_white():
    """equalize_adapthist turns an image of one grey level white."""
    assert (adapthist(FLAT, kernel_size=8) == 1).all()


# ---- 07 and 08: functions and optimizers


@taught("07", "What a `preprocessing_function` gets, and must give back")
def test_the_function_gets_one_float32_image():
    """preprocessing_function gets one image (H, W, C), float32, on the scale that came."""
    seen = []
    batch_of(PHOTO[np.newaxis], preprocessing_function=lambda image: seen.append(image) or image)
    assert seen[0].dtype == np.float32 and np.array_equal(seen[0], PHOTO)


REFUSED = {
    "smaller": (lambda image: image[:16, :16], ValueError, ValueError),
    "one channel": (lambda image: image[..., :1], None, None),
    "nothing": (lambda image: None, None, TypeError),
    "uint8": (lambda image: image.astype("uint8"), None, TypeError),
    "float64": (lambda image: image.astype("float64"), None, None),
}


@taught("07", "What a `preprocessing_function` gets, and must give back")
@pytest.mark.parametrize("name", REFUSED)
def test_not_all_that_a_function_gives_back_is_refused(name):
    """One channel is accepted and copied, None fills with NaN, uint8 fails with rescale only."""
    function, *refusals = REFUSED[name]
    for refusal, scale in zip(refusals, ({}, {"rescale": 1 / 255}), strict=True):
        if refusal:
            with pytest.raises(refusal):
                batch_of(PHOTO[np.newaxis], preprocessing_function=function, **scale)
        else:
            batch = batch_of(PHOTO[np.newaxis], preprocessing_function=function, **scale)[0]
            assert batch.shape == PHOTO.shape and np.isnan(batch).all() == (name == "nothing")
            if name == "one channel":
                assert np.array_equal(batch[..., 0], batch[..., 2])


@taught("07", "Remember the result, and watch it fade")
def test_rescale_multiplies_the_functions_own_array():
    """Keras multiplies the array that the function returned in place."""
    kept = np.full((2, 2, 1), 255.0)
    batch_of(np.zeros((1, 2, 2, 1)), preprocessing_function=lambda image: kept, rescale=1 / 255)
    assert np.allclose(kept, 1)


@taught("08", "A default that changed")
def test_adadeltas_rate_is_a_thousandth():
    """Adadelta() has a learning rate of 0.001 today, and its page says that the paper's is 1."""
    assert float(keras.optimizers.Adadelta().learning_rate) == pytest.approx(0.001)
    assert "To match the exact form in the original paper, use 1.0" in the_page(
        keras.optimizers.Adadelta
    )


@taught("08", "A default that changed")
def test_adadelta_keeps_its_constants():
    """Adadelta() has rho = 0.95 and epsilon = 10⁻⁷."""
    optimizer = keras.optimizers.Adadelta()
    assert (optimizer.rho, optimizer.epsilon) == (0.95, 1e-7)


@taught("08", "The curve of 2017, taken apart")
def test_a_logged_accuracy_is_a_mean_over_the_epoch():
    """The logged training score is added up during the epoch, while the weights move on."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=True)
    model.set_weights([np.zeros((1, 1))])
    ones = np.ones((2, 1))  # after the first of two batches the weight is right
    assert model.fit(ones, ones, batch_size=1, verbose=0).history["loss"] == [pytest.approx(0.5)]


# ---- 10: Keras' layers and tf.data


@taught("10", "Rotation, and what fills the border")
def test_rotation_counts_full_turns_with_the_generators_sign():
    """RandomRotation counts full turns, with the generator's sign, and agrees with it."""
    layer = layers.RandomRotation((0.1, 0.1), fill_mode="nearest")
    assert np.abs(new(layer, PHOTO) - old(PHOTO, {"theta": 36})).mean() < 0.1


@taught("10", "Rotation, and what fills the border")
def test_layers_mirror_at_the_border():
    """The four layers that move pixels fill by "reflect"; RandomTranslation's page has another."""
    movers = [layers.RandomRotation(0.1), layers.RandomTranslation(0.1, 0.1)]
    movers += [layers.RandomZoom(0.1), layers.RandomShear(0.1)]
    assert {layer.fill_mode for layer in movers} == {"reflect"}
    assert 'Defaults to `"constant"`' in the_page(layers.RandomTranslation)


@taught("10", "Rotation, and what fills the border")
def test_layers_turn_images_of_any_shape_about_their_middle():
    """RandomRotation turns an image that is not square about its true middle."""
    layer = layers.RandomRotation((0.5, 0.5), fill_mode="constant")
    assert places(new(layer, dot(9, 21))) == [[4, 10]]


@taught("10", "Translation")
@pytest.mark.parametrize(("factors", "place"), [((3, 0), [7, 4]), ((0, 3), [4, 7])])
def test_translation_has_the_height_first_and_plus_is_down_and_right(factors, place):
    """RandomTranslation takes shares of the side, height first; plus is down and right."""
    height, width = ((factor / 9, factor / 9) for factor in factors)
    layer = layers.RandomTranslation(height, width, fill_mode="constant")
    assert places(new(layer, dot())) == [place]


@taught("10", "Zoom")
def test_zoom_is_the_factor_less_1_with_the_height_first():
    """RandomZoom takes the factor less 1, height first; the generator's zx is the width."""
    layer = layers.RandomZoom((-0.2, -0.2), (0.3, 0.3), fill_mode="nearest")
    assert np.abs(new(layer, PHOTO) - old(PHOTO, {"zx": 1.3, "zy": 0.8})).mean() < 0.1


@taught("10", "Zoom")
def test_zoom_with_one_argument_keeps_proportions():
    """RandomZoom with one argument draws one factor for both sides."""
    layer = layers.RandomZoom(0.4, fill_mode="constant", seed=0)
    drawn = layer.get_random_transformation(np.zeros((20, 9, 9, 1)), training=True)
    assert np.allclose(drawn["height_zoom"], drawn["width_zoom"])


@taught("10", "Flips")
@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [((), {(0, 1, 2, 3), (3, 2, 1, 0)}), (("horizontal",), {(0, 1, 2, 3), (1, 0, 3, 2)})],
)
def test_flip_draws_once(arguments, outcomes):
    """RandomFlip() flips both ways or not at all; with a mode it flips half of the images."""
    four = np.tile(np.arange(4.0).reshape(1, 2, 2, 1), (1000, 1, 1, 1))
    flipped = new(layers.RandomFlip(*arguments, seed=0), four).reshape(-1, 4)
    assert set(map(tuple, flipped.tolist())) == outcomes
    assert np.mean(flipped[:, 0] == 0) == pytest.approx(0.5, abs=0.06)


@taught("10", "Shear")
def test_shear_is_a_slope_about_the_corner_to_either_side():
    """RandomShear takes a slope, starts from the corner, and draws the side by lot."""
    sheared = functools.partial(layers.RandomShear, (0.5, 0.5), 0.0, "bilinear", "constant")
    columns = {int(new(sheared(seed=seed), dot())[4, :, 0].argmax()) for seed in range(8)}
    assert columns == {2, 6}
    with pytest.raises(ValueError, match=r"in the range \[0, 1.0\]"):
        layers.RandomShear((-0.5, 0.5))


@taught("10", "Brightness: times or plus")
def test_random_brightness_adds():
    """RandomBrightness adds its share of the value range, and clips at that range."""
    greys = np.array([0, 100, 200]).reshape(1, 3, 1)
    assert np.allclose(new(layers.RandomBrightness((0.4, 0.4)), greys).ravel(), [102, 202, 255])


@taught("10", "Scale, mean and standard deviation")
def test_rescale_and_the_featurewise_and_samplewise_steps_have_successors():
    """Rescaling, Normalization and per_image_standardization do as the generator did."""
    x = np.stack([PHOTO, PHOTO[::-1] // 2])
    normalization = layers.Normalization()
    normalization.adapt(x)
    both = ("center", "std_normalization")
    featurewise = ImageDataGenerator(**{f"featurewise_{step}": True for step in both})
    featurewise.fit(x)
    old_batch = next(featurewise.flow(x, batch_size=2, shuffle=False))
    assert np.allclose(old_batch, normalization(x), atol=0.01)
    samplewise = batch_of(x, **{f"samplewise_{step}": True for step in both})
    assert np.allclose(samplewise, tf.image.per_image_standardization(x), atol=0.01)
    assert np.allclose(batch_of(x, rescale=1 / 255), layers.Rescaling(1 / 255)(x), atol=1e-6)


@taught("10", "Scale, mean and standard deviation")
def test_zca_has_no_successor():
    """No layer of Keras has ZCA in its name."""
    assert not [name for name in dir(layers) if "zca" in name.lower()]


@taught("10", "Validation images")
def test_split_dataset_takes_the_end_unless_it_shuffles():
    """split_dataset sets the last rows aside unless it is asked to shuffle."""
    last, mixed = (
        keras.utils.split_dataset(np.arange(10), right_size=0.2, shuffle=shuffle, seed=0)[1]
        for shuffle in (False, True)
    )
    assert [int(row) for row in last] == [8, 9] != sorted(int(row) for row in mixed)


@taught("10", "Validation images")
def test_a_layer_that_is_called_trains():
    """A random layer alters what it is called on, unless training=False; a model's predict not."""
    layer, floats = layers.RandomRotation((0.1, 0.1)), PHOTO[np.newaxis].astype("float32")
    assert not np.array_equal(layer(floats), floats)
    assert np.array_equal(layer(floats, training=False), floats)
    assert np.array_equal(keras.Sequential([layer]).predict(floats, verbose=0), floats)


def passes(dataset, count=2):
    return [[int(row) for row in dataset.as_numpy_iterator()] for _ in range(count)]


@taught("10", "Where to put contrast")
def test_a_pipeline_ends_after_one_epoch_and_a_cache_spares_the_second():
    """A dataset ends after an epoch, its last batch smaller; from the cache nothing is redone."""
    calls = []
    dataset = tf.data.Dataset.range(10).map(
        lambda row: tf.numpy_function(lambda value: calls.append(value) or value, [row], tf.int64)
    )
    cached = dataset.cache()
    assert passes(cached) == [list(range(10))] * 2 and len(calls) == 10
    assert [len(batch) for batch in cached.batch(4)] == [4, 4, 2]


@taught("10", "Random contrast belongs after the cache")
def test_a_cache_freezes_what_is_random():
    """What is random before the cache is the same in every epoch."""
    rows = tf.data.Dataset.range(100)
    frozen, fresh = rows.shuffle(100).cache(), rows.cache().shuffle(100)
    assert passes(frozen)[0] == passes(frozen)[1] and passes(fresh)[0] != passes(fresh)[1]


@taught("10", "The same seed, the same images")
def test_a_layers_seed_holds_one_call_after_the_other():
    """A layer's seed gives the same images where calls come one after the other."""

    def run():
        layer = layers.RandomRotation(0.1, seed=1)
        images = tf.data.Dataset.from_tensor_slices(np.stack([PHOTO] * 3)).batch(1)
        return np.concatenate(list(images.map(lambda x: layer(x, training=True))))

    assert np.array_equal(run(), run())


@taught("10", "What each choice costs")
def test_keras_clahe_treats_each_channel_and_counts_by_one_hot():
    """Keras' CLAHE layer treats the channels separately, and its page tells of one_hot."""
    layer = layers.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(4, 4))
    alone = [new(layer, PHOTO[np.newaxis, ..., c : c + 1])[0, ..., 0] for c in range(3)]
    assert np.allclose(new(layer, PHOTO[np.newaxis])[0], np.stack(alone, axis=-1), atol=1)
    assert "one_hot" in the_page(type(layer))


MAKERS = {
    "RandomBrightness": lambda **scale: layers.RandomBrightness((0.2, 0.2), **scale),
    "AutoContrast": lambda **scale: layers.AutoContrast(**scale),
    "RandomPosterization": lambda **scale: layers.RandomPosterization((3, 3), **scale),
    "CLAHE": lambda **scale: layers.ContrastLimitedAdaptiveHistogramEqualization(
        tile_grid_size=(4, 4), **scale
    ),
}


@taught("10", "`value_range` on images from 0 to 1")
@pytest.mark.parametrize("name", MAKERS)
def test_value_range_is_0_to_255_unless_told_otherwise(name):
    """Layers take value_range=(0, 255) unless told otherwise, and do not look at the image."""
    unit = (PHOTO / 255)[np.newaxis]
    wrong, right = (new(MAKERS[name](**scale), unit) for scale in ({}, {"value_range": (0, 1)}))
    assert 0 < right.max() <= 1.001 and right.max() - right.min() > 0.5
    assert wrong.max() == 0 or wrong.max() > 50


@taught("10", "Whole numbers that overflow")
def test_random_brightness_overflows_on_bytes():
    """RandomBrightness called on uint8 starts again at 0; in a dataset it converts first."""
    levels = np.array([10, 250], np.uint8).reshape(1, 2, 1)
    layer = layers.RandomBrightness((0.2, 0.2))
    assert np.ravel(layer(levels, training=True)).tolist() == [61, 45]
    dataset = tf.data.Dataset.from_tensors(levels).map(lambda x: layer(x, training=True))
    assert next(dataset.as_numpy_iterator()).ravel().tolist() == [61, 255]


@taught("10", "`Equalization`: three promises not kept")
def test_equalization_pools_over_the_batch():
    """Keras' Equalization counts one histogram over the whole batch."""
    alone = new(layers.Equalization(), PHOTO[np.newaxis])[0]
    together = new(layers.Equalization(), np.stack([PHOTO, PHOTO // 4]))[0]
    assert np.abs(alone - together).mean() > 10


@taught("10", "`Equalization`: three promises not kept")
def test_equalization_does_nothing_at_inference():
    """Keras' Equalization does nothing at inference, though its page says that it does."""
    floats = PHOTO[np.newaxis].astype("float32")
    assert np.array_equal(layers.Equalization()(floats, training=False), floats)
    assert not np.array_equal(new(layers.Equalization(), floats), floats)
    says = "At inference time, the equalization is consistently applied."
    assert says in the_page(layers.Equalization)


@taught("10", "`Equalization`: three promises not kept")
def test_equalization_breaks_in_a_sequential_model():
    """Keras' Equalization cannot stand in Sequential: "part of a cycle"."""
    with pytest.raises(ValueError, match="is part of a cycle"):
        keras.Sequential([layers.Equalization()])(PHOTO[np.newaxis].astype("float32"))


@taught("10", "`Equalization`: three promises not kept")
def test_equalization_alone_is_he_of_each_channel():
    """Keras' Equalization of a single image is HE of each channel, to one grey level."""
    alone = new(layers.Equalization(), PHOTO[np.newaxis])[0].astype("uint8")
    planes = [255 * exposure.equalize_hist(PHOTO[..., c]) for c in range(3)]
    assert np.abs(alone - np.rint(np.stack(planes, axis=-1))).max() <= 1


@taught("10", "`RandomContrast(0.2)` only ever adds contrast")
@pytest.mark.parametrize(
    ("factor", "least", "most"), [(0.2, 1, 1.2), ((0.2, 0.2), 0.8, 1.2), ((0.4, 0.1), 0.9, 1.4)]
)
def test_random_contrast_with_one_number_only_adds(factor, least, most):
    """RandomContrast(0.2) draws 1 to 1.2, and sorts a pair; its page says lower = upper."""
    two = np.tile(np.array([100.0, 150.0]).reshape(1, 1, 2, 1), (1000, 1, 1, 1))
    altered = new(layers.RandomContrast(factor, seed=0), two)[..., 0]
    drawn = (altered[:, 0, 1] - altered[:, 0, 0]) / 50
    assert (drawn.min(), drawn.max()) == pytest.approx((least, most), abs=0.02)
    assert "single float, lower = upper" in the_page(layers.RandomContrast)


@taught("10", "Shuffling batches instead of images")
def test_shuffle_after_batch_mixes_batches():
    """shuffle mixes what comes to it, anew in each epoch: after batch, whole batches."""
    batches = tf.data.Dataset.range(12).batch(4).shuffle(12, seed=2)
    whole = {(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)}
    assert {tuple(batch) for batch in batches.as_numpy_iterator()} == whole
    first, second = passes(tf.data.Dataset.range(12).shuffle(12, seed=2))
    assert first != second


@taught("10", "Your turn")
def test_shuffle_hands_out_from_a_buffer():
    """shuffle(20) holds 20 elements, so the tenth that it hands out is at most row 28."""
    thousand = tf.data.Dataset.range(1000)
    firsts = [max(passes(thousand.shuffle(20, seed=s).take(10), 1)[0]) for s in range(100)]
    assert max(firsts) == 28


# ---- what other files say of their tools


def with_alt_text(alt):
    """A notebook whose only output is a picture with alternative text in its metadata."""
    output = nbformat.v4.new_output(
        "display_data", {"image/png": "iVBORw0KGgo="}, metadata={"image/png": {"alt": alt}}
    )
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()", outputs=[output])])


@taught("augment_utils/plotting.py", "def show")
def test_nbconverts_lab_template_leaves_alt_text_out():
    """nbconvert's lab template leaves a picture's alternative text out of the page."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(template_name="lab").from_notebook_node(with_alt_text("a dark deer"))
    assert "iVBORw0KGgo=" in page and "a dark deer" not in page


@taught("book/conf.py", "def with_alt_text")
def test_myst_nb_leaves_alt_text_out(tmp_path):
    """MyST-NB leaves a picture's alternative text out of the page."""
    pytest.importorskip("myst_nb")
    nbformat.write(with_alt_text("a dark deer"), tmp_path / "index.ipynb")
    settings = "extensions = ['myst_nb']\nnb_execution_mode = 'off'\n"
    settings += "nb_mime_priority_overrides = [('html', 'image/png', 0)]\n"
    (tmp_path / "conf.py").write_text(settings)
    done = python("-m", "sphinx", "-q", "-b", "html", tmp_path, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<img" in page and "a dark deer" not in page


@taught("assignments/course.py", "def release")
def test_nbgrader_validate_exits_0_though_a_test_fails(tmp_path):
    """`nbgrader validate` exits 0 even where a test fails, so release runs the cells itself."""
    pytest.importorskip("nbgrader")
    cell = nbformat.v4.new_code_cell("assert False")
    cell.metadata["nbgrader"] = {
        **{"grade": True, "solution": False, "locked": True, "task": False},
        **{"grade_id": "part", "points": 1, "schema_version": 3},
    }
    write_notebook(tmp_path / "a.ipynb", [cell])
    done = python("-m", "nbgrader", "validate", "a.ipynb", cwd=tmp_path)
    assert done.returncode == 0 and "failed" in (done.stdout + done.stderr).lower()


# ---- the pages that the canaries name


@pytest.mark.parametrize(("path", "section"), sorted(TAUGHT))
def test_the_page_to_rewrite_exists(path, section):
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".ipynb"):
        prose = prose_of(nbformat.reads(text, 4))
        assert section in re.findall(r"^##+ (.+)$", prose, re.MULTILINE)
    else:
        assert f"{section}(" in text


def test_a_canary_says_what_to_rewrite(monkeypatch):
    def sums():
        """Two and two make five."""
        assert 2 + 2 == 5

    monkeypatch.setattr(sys.modules[__name__], "TAUGHT", set())
    with pytest.raises(AssertionError) as caught:
        taught("06", "Your turn")(sums)()
    told = "Two and two make five. Rewrite notebooks/06_clahe.ipynb, section “Your turn”."
    assert str(caught.value) == f"no longer so: {told}"
