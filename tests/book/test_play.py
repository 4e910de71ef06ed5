"""The web edition's sliders: contrast.js gives the bytes of augment_utils, play.js shows them."""

import base64
import functools
import io
import itertools
import shutil

import numpy as np
import pytest
import skimage.data
import skimage.io

import augment_utils as au
from augment_utils import corruptions
from augment_utils.contrast import COLORS
from book.images import write_scripts
from tools import ROOT

STATIC = ROOT / "book" / "static"
FUNCTIONS = {  # of contrast.js, beside their models
    "contrastStretching": au.contrast_stretching,
    "histogramEqualization": au.histogram_equalization,
    "adaptiveHistogramEqualization": au.adaptive_histogram_equalization,
    "clahe": au.clahe,
    "loseContrast": corruptions.contrast,
}
PERCENTILES = (2, 98), (0, 100), (0, 1.5), (99.5, 100), (49, 51), (12.5, 77)
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


# ---- the page


@pytest.fixture(scope="module")
def page_of(browser, tmp_path_factory):
    """A function that opens a page with the sliders from disk; errors there fail."""
    folder = tmp_path_factory.mktemp("play")
    for name in ("contrast.js", "play.js", "play.css"):
        shutil.copy(STATIC / name, folder)
    write_scripts(folder / "play")
    scripts = "".join(
        f'<script src="{name}"></script>' for name in ("contrast.js", "play.js", "play/images.js")
    )
    errors = []

    def open_one(attributes=""):
        (folder / "page.html").write_text(
            f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="play.css">{scripts}'
            f'<div class="play" {attributes}></div>'
        )
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((folder / "page.html").as_uri())
        page.wait_for_function("document.querySelector('.words').textContent")
        return page

    yield open_one
    assert errors == []


def move(page, name, value):
    """Set a control, and wait for the words that say what it changed."""
    page.evaluate("document.querySelector('.words').textContent = ''")
    control = page.locator(f"[name={name}]:visible").first
    if control.evaluate("one => one.tagName") == "SELECT":
        control.select_option(value)
    elif control.get_attribute("type") == "checkbox":
        control.set_checked(value)
    else:
        control.fill(str(value))
    page.wait_for_function("document.querySelector('.words').textContent")


def shown(page, figure):
    """The pixels of a picture, (H, W, 3)."""
    url = page.eval_on_selector(f"{figure} canvas", "canvas => canvas.toDataURL()")
    return skimage.io.imread(io.BytesIO(base64.b64decode(url.partition(",")[2])))[..., :3]


def made(page):
    """What the lines of Python below the pictures make, as pictures of three channels."""
    imports, lines = page.inner_text(".code pre").split("\n\n")
    names = {}
    exec(imports, names)
    results = [eval(line, names) for line in lines.splitlines()]
    return [np.stack([one] * 3, axis=-1) if one.ndim == 2 else one for one in results]


def test_the_line_of_python_makes_what_is_shown(page_of, monkeypatch):
    monkeypatch.setattr(au, "load_cifar10", functools.cache(au.load_cifar10))
    page = page_of()
    assert page.locator("[name=image] option").count() == 8
    settings = [
        *(("image", "1"), ("severity", 3), ("clip_limit", 80), ("transform", "HE")),
        *(("color", "channel"), ("transform", "stretching"), ("low", 12.5), ("color", "joint")),
        *(("image", "5"), ("transform", "AHE"), ("kernel_size", 20), ("image", "7")),
        *(("compare", True), ("transform", "HE")),
    ]
    for name, value in settings:
        move(page, name, value)
        results = made(page)
        assert np.array_equal(shown(page, ".result.A"), results[0]), (name, value)
    assert np.array_equal(shown(page, ".result.B"), results[1])
    one, other = (result.astype(int) for result in results)
    assert np.array_equal(shown(page, ".apart"), (256 + other - one) // 2)
    assert page.inner_text(".original figcaption") == "Original, 512 × 512"


def test_gain_and_histogram_are_those_of_numpy(page_of):
    page = page_of()
    move(page, "transform", "HE")
    old, new = (shown(page, f).max(axis=-1) for f in (".original", ".result.A"))
    spreads = [
        np.array([[v[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4].std() for x in range(32)]
                  for y in range(32)])
        for v in (old, new)
    ]  # fmt: skip
    powers = np.log2(spreads[1] / spreads[0])
    gain = shown(page, ".gain")
    assert (gain[powers >= 3] == (213, 94, 0)).all() and (powers > 0.5).any()
    assert np.abs(gain[..., 2] - (255 - 255 * np.clip(powers, 0, 3) / 3))[powers > 0].max() <= 1
    path = page.get_attribute(".result.A .cdf", "d")
    cdf = np.bincount(new.ravel(), minlength=256).cumsum() / new.size
    drawn = [float(step.split()[1]) for step in path.removeprefix("M").split("L")]
    assert np.allclose(drawn, 64 * (1 - cdf), atol=0.051)


def test_words_say_what_changed_and_where_a_slider_does_nothing(page_of):
    page = page_of()
    words = page.locator(".words")
    assert words.get_attribute("role") == "status"
    assert "clip limit is 1 of a tile's 64 pixels. Dead zone" in words.inner_text()
    slider = page.locator("[name=clip_limit]:visible")
    before = slider.get_attribute("aria-valuetext")
    for _ in range(5):
        slider.press("ArrowRight")
    assert before == "0.03, 1 of 64 pixels" != slider.get_attribute("aria-valuetext")
    page.wait_for_function("!document.querySelector('.words').textContent.includes('Dead')")
    move(page, "compare", True)
    assert "A and B differ at" in words.inner_text()
    move(page, "transform", "AHE")
    assert words.inner_text().endswith("A and B are the same picture, pixel by pixel.")


def test_a_small_one_has_three_sliders(page_of):
    page = page_of('data-image="0"')
    assert page.locator(".play [name]:visible").count() == 3
    move(page, "severity", 5)
    assert "standard deviation" in page.inner_text(".words")


def test_a_picture_of_ones_own_stays_on_the_machine(page_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = skimage.data.astronaut()
    skimage.io.imsave("colour.png", photo[:60, :80])
    skimage.io.imsave("grey.png", photo[:40, :30, 0], check_contrast=False)
    skimage.io.imsave("large.png", np.tile(photo, (2, 3, 1)))
    (tmp_path / "none.png").write_text("no picture")
    page, requests = page_of(), []
    page.on("request", lambda request: requests.append(request.url))
    for name in ("colour.png", "grey.png"):
        page.evaluate("document.querySelector('.words').textContent = ''")
        page.set_input_files("[name=file]", name)
        page.wait_for_function("document.querySelector('.words').textContent")
        assert np.array_equal(shown(page, ".result.A"), made(page)[0])
    page.set_input_files("[name=file]", "large.png")
    page.wait_for_function("document.querySelector('.original canvas').width == 512")
    assert "# here 341 × 512 pixels of it" in page.inner_text(".code")
    page.set_input_files("[name=file]", "none.png")
    page.wait_for_function("document.querySelector('.words').textContent.startsWith('Not shown')")
    assert shown(page, ".original").shape == (341, 512, 3)
    move(page, "image", "0")
    assert shown(page, ".original").shape == (32, 32, 3)
    assert [url for url in requests if not url.startswith("blob:")] == []
