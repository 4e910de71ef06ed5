"""The web edition's sliders: contrast.js gives the bytes of augment_utils, play.js shows them."""

import base64
import itertools

import numpy as np
import pytest
import skimage.data

import augment_utils as au
from augment_utils import corruptions
from augment_utils.contrast import COLORS
from tools import ROOT

STATIC = ROOT / "book" / "static"
FUNCTIONS = {  # of contrast.js, beside their models
    "contrastStretching": au.contrast_stretching,
    "histogramEqualization": au.histogram_equalization,
    "adaptiveHistogramEqualization": au.adaptive_histogram_equalization,
    "clahe": au.clahe,
    "loseContrast": corruptions.contrast,
}
PERCENTILES = (2, 98), (0, 100), (0, 0.5), (99.5, 100), (49, 51), (12.5, 77)
CLIP_LIMITS = 0, 0.0005, 0.005, 0.03, 0.1, 0.5, 1
APPLY = """async ([base64, height, width, channels, cases]) => {
  const pixels = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const image = { pixels, height, width, channels };
  const read = (bytes) => new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(new Blob([bytes]));
  });
  const results = [];
  for (const [name, ...settings] of cases) {
    results.push(await read(contrast[name](image, ...settings)));
  }
  return results;
}"""


@pytest.fixture(scope="module")
def compare(browser):
    """A function that counts the values in which contrast.js and augment_utils differ."""
    page = browser.new_page()
    page.add_script_tag(path=STATIC / "contrast.js")

    def compare_one(image, tiles, clip_limits=CLIP_LIMITS):
        cases = list(cases_of(tiles, clip_limits))
        shape = (*image.shape, 1)[:3]
        pixels = base64.b64encode(image.tobytes()).decode()
        results = page.evaluate(APPLY, [pixels, *shape, cases])
        differing = {}
        for case, result in zip(cases, results, strict=True):
            name, *settings = case
            expected = FUNCTIONS[name](image, *settings)
            bytes_ = np.frombuffer(base64.b64decode(result), np.uint8).reshape(image.shape)
            if count := np.count_nonzero(bytes_ != expected):
                differing[(image.shape, *map(str, case))] = count
        return differing

    yield compare_one
    page.close()


def cases_of(tiles, clip_limits):
    for color in COLORS:
        yield "histogramEqualization", color
        for low, high in PERCENTILES:
            yield "contrastStretching", low, high, color
    for tile in tiles:
        yield "adaptiveHistogramEqualization", tile
        yield from (("clahe", tile, clip_limit) for clip_limit in clip_limits)
    yield from (("loseContrast", severity) for severity in corruptions.SEVERITIES)


# ---- the transforms


def test_small_photographs_get_the_same_bytes(compare, real_images):
    for image in (*real_images[:20], *real_images[20:26].max(axis=-1)):
        assert compare(image, (None, 1, 4, 13, (8, 32), 64)) == {}


def test_large_photographs_get_the_same_bytes(compare):
    for image in (skimage.data.page(), skimage.data.astronaut()):
        assert compare(image, (None, (100, 36)), (0.0005, 0.03)) == {}


def test_odd_flat_and_random_images_get_the_same_bytes(compare):
    rng = np.random.default_rng(0)
    shapes = (1, 1, 3), (1, 9), (9, 1, 3), (17, 23, 3), (31, 33), (8, 8, 3), (2, 70)
    ranges = (0, 256), (0, 2), (254, 256), (100, 104), (0, 1), (90, 91), (255, 256)
    for shape, (low, high) in itertools.product(shapes, ranges):
        assert compare(rng.integers(low, high, shape, np.uint8), (None, 1, (5, 2))) == {}
    assert compare(rng.integers(0, 256, (3, 5, 3), np.uint8), (256,)) == {}


@pytest.mark.slow
def test_many_images_get_the_same_bytes(compare):
    for image in au.load_cifar10().x_train[40:540]:
        assert compare(image, (None, 4, 13, 32)) == {}
    for image in (skimage.data.camera(), skimage.data.moon(), skimage.data.chelsea()):
        assert compare(image, (None, 8, 13, 512)) == {}
