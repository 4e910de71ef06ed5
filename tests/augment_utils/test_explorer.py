"""The explorer without a browser: its controls, what it says, and the line of code it gives."""

import base64
import inspect
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import skimage
from bs4 import BeautifulSoup
from PIL import Image

import augment_utils as au
from augment_utils.explorer import MOST_PIXELS, PHOTOGRAPHS, TRANSFORMS, explore, read_image
from tests.common import write_notebook
from tools import notebooks

IMPORTS = {"au": au, "skimage": skimage, "np": np}  # what the line of code is promised


def what_the_line_gives(panel):
    assert "\n" not in panel.line.value
    return eval(panel.line.value, dict(IMPORTS))


def drawn(panel):
    """Original, result and difference as they are shown, all else, and the alternative text."""
    soup = BeautifulSoup(panel.picture.value, "html.parser")
    shown = []
    for image in soup.find_all("img"):
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        shown.append(np.asarray(Image.open(io.BytesIO(png))))
    return shown, str(soup.find_all("svg")), soup.img["alt"]


def text(widget):
    return BeautifulSoup(widget.value, "html.parser").text


def save(path, image):
    Image.fromarray(image).save(path)
    return str(path)


@pytest.fixture
def photo(tmp_path):
    """The path of a small RGB file."""
    return save(tmp_path / "my photo's é.png", skimage.data.astronaut()[100:140, 200:250])


# ---- a moved control changes all that is shown


@pytest.mark.parametrize("image", [10, "camera"])
@pytest.mark.parametrize(
    ("transform", "control", "value"),
    [
        ("stretching", "low", 10),
        ("stretching", "high", 80.5),
        ("stretching", "color", "channel"),
        ("HE", "color", "joint"),
        ("AHE", "kernel_size", 11),
        ("CLAHE", "kernel_size", 16),
        ("CLAHE", "clip_limit", 0.235),
    ],
)
def test_everything_follows_a_control(image, transform, control, value):
    if image == 10:  # or the next that has colours: some patches are grey
        images = au.load_cifar10().x_train[10:]
        image += int(np.argmax(np.ptp(images, axis=-1).any(axis=(1, 2))))
    panel = explore(image, transform).panels[0]
    before = drawn(panel), text(panel.readout), panel.line.value
    panel.controls[control].value = value
    after = drawn(panel), text(panel.readout), panel.line.value
    if control == "color" and image == "camera":  # a grey image has but one way
        assert panel.controls["color"].layout.display == "none" and before[1:] == after[1:]
        return
    assert np.array_equal(before[0][0][0], after[0][0][0])
    assert all(not np.array_equal(before[0][0][i], after[0][0][i]) for i in (1, 2))
    assert all(old != new for old, new in zip(before[0][1:], after[0][1:], strict=True))
    assert before[1] != after[1] and before[2] != after[2]
    assert text(panel.readout) in drawn(panel)[2]
    assert f"{control}={panel.controls[control].value!r}" in panel.line.value


@pytest.mark.parametrize("image", [3, "cat", "coins", "coffee"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_line_gives_the_pixels_shown(image, transform):
    if image == "cat":  # a class in CIFAR-10 and among the patches
        assert explore(image).chosen.name.endswith("(cat)")
    panel = explore(image, transform, low=3.5, color="channel", clip_limit=0.1).panels[0]
    result = what_the_line_gives(panel)
    assert result.dtype == np.uint8 and np.array_equal(result, panel.result)
    before, after, difference = drawn(panel)[0]
    if result.shape[0] == 32:  # larger ones are drawn smaller
        assert np.array_equal(after, result) and np.array_equal(before, panel.chosen.pixels)
        change = (after.astype(int) - before) / 2
        assert np.abs(difference - 128.0 - change).max() < 1


def test_the_line_of_a_file_gives_the_pixels_shown(photo):
    panel = explore(photo, "HE").panels[0]
    assert np.array_equal(what_the_line_gives(panel), panel.result)


def test_only_controls_that_apply_are_shown():
    panel = explore("coffee", "none").panels[0]
    for transform, (_, names) in TRANSFORMS.items():
        panel.controls["transform"].value = transform
        shown = [k for k, c in panel.controls.items() if c.layout.display is None]
        assert shown == ["transform", *names]


@pytest.mark.parametrize("transform", [name for name in TRANSFORMS if name != "none"])
def test_a_transform_has_all_its_settings(transform):
    function, names = TRANSFORMS[transform]
    assert [*inspect.signature(function).parameters][1:] == names


def test_every_control_has_a_name_of_its_own():
    explorer = explore("camera")
    names = [c.description for panel in explorer.panels for c in panel.controls.values()]
    names += [panel.line.description for panel in explorer.panels]
    names.append(explorer.compared.description)
    assert all(names) and len(set(names)) == len(names)


# ---- what it says is true


def test_the_readout_states_what_numpy_computes():
    panel = explore(10, "stretching", low=10, high=90).panels[0]
    image = au.load_cifar10().x_train[10]
    result = au.contrast_stretching(image, 10, 90, color="value")
    old, new = image.max(axis=-1), result.max(axis=-1)
    expected = [new.mean(), old.mean(), new.std(), old.std()]
    expected += [100 * np.mean(v == end) for end in (0, 255) for v in (new, old)]
    expected += [np.abs(result.astype(int) - image).max()]
    said = re.findall(r"-?\d+(?:\.\d+)?", text(panel.readout).partition("mean")[2])
    del said[8], said[5]  # the words "at 0" and "at 255"
    assert [float(x) for x in said] == [round(float(x), 1) for x in expected]


def test_nothing_changes_without_a_transform():
    panel = explore("moon", "none").panels[0]
    assert "Largest difference: 0 grey levels" in text(panel.readout)
    assert panel.line.value == "skimage.data.moon()"
    assert np.unique(drawn(panel)[0][2]).tolist() == [128]


@pytest.mark.parametrize(("side", "alive"), [(4, 2), (8, 2), (16, 2), (32, 5)])
def test_it_warns_in_the_dead_zone_and_only_there(side, alive):
    panel = explore(0, "CLAHE", kernel_size=side).panels[0]
    strictest = au.clahe(panel.chosen.pixels, side, 0.0001)
    for clip_limit in (0.002, 0.0035, 0.0045, *np.arange(1, 41) / 200):
        panel.controls["clip_limit"].value = clip_limit
        warned = "Dead zone" in text(panel.readout)
        assert warned == np.array_equal(panel.result, strictest)
        if warned:
            assert f"below {alive}/{side**2} = {alive / side**2:.3g} gives" in text(panel.readout)


def test_two_settings_of_one_image_are_compared():
    settings = {"clip_limit": 0.01, "compare": {"clip_limit": 0.03}}
    explorer = explore(0, "CLAHE", kernel_size=8, **settings)
    assert "A and B are the same picture" in text(explorer.comparison)
    explorer.panels[1].controls["clip_limit"].value = 0.5
    one, other = (panel.result.astype(int) for panel in explorer.panels)
    largest = np.abs(one - other).max()
    assert f"by {largest} grey levels at most" in text(explorer.comparison) and largest > 0
    explorer = explore("astronaut", **settings)
    assert [panel.result.shape for panel in explorer.panels] == [(512, 512, 3)] * 2
    assert [panel.controls["kernel_size"].value for panel in explorer.panels] == [64, 64]
    assert f"{(explorer.panels[0].result != explorer.panels[1].result).any(axis=-1).mean():.1%}"[
        :-1
    ] in text(explorer.comparison)
    explorer.compared.value = False
    assert explorer.panels[1].layout.display == explorer.comparison.layout.display == "none"
    assert "A and B" not in explorer.words


# ---- the choice of an image


def test_classes_and_numbers_lead_to_images(real_images):
    explorer = explore(5)
    assert np.array_equal(explorer.chosen.pixels, real_images[5])
    data = au.load_cifar10()
    row = np.flatnonzero(data.y_train == data.class_names.index("cat"))[0]
    by_class = explore("cat")  # a class in CIFAR-10 and among the patches, and no photograph
    assert f"x_train[{row}]" in by_class.chosen.code
    assert np.array_equal(by_class.chosen.pixels, data.x_train[row])


def test_every_photograph_can_be_shown():
    for name in PHOTOGRAPHS:
        explorer = explore(name, "none")
        assert explorer.chosen.name == name and explorer.chosen.note == ""
        assert explorer.chosen.pixels.size <= 3 * MOST_PIXELS
        assert np.array_equal(explorer.panels[0].result, explorer.chosen.pixels)


BAD_FILES = {  # a part of the message about each
    "gone.png": "gone.png",
    "a folder": "a folder cannot be read: ",
    "text.png": "text.png holds no image",
    "empty.jpg": "empty.jpg holds no image",
    "cut.png": "cut.png cannot be read: ",
    "cut.jpg": "cut.jpg cannot be read: ",
}


@pytest.fixture
def folder_of_bad_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    (tmp_path / "a folder").mkdir()
    (tmp_path / "text.png").write_text("no image", "utf-8")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("cut.png", "cut.jpg"):
        path = Path(save(tmp_path / name, noise[..., :3]))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return tmp_path


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named(folder_of_bad_files, name):
    path, message = folder_of_bad_files / name, BAD_FILES[name]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        explore(str(path))
    if path.exists():
        assert str(folder_of_bad_files) not in str(caught.value)


PHOTO = skimage.data.astronaut()[100:140, 200:250]
ODD_FILES = {  # how a picture is saved, what is shown of it, and what is said
    "rgba.png": (Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]])), PHOTO, "mode RGBA"),
    "palette.png": (Image.fromarray(PHOTO[..., 0]).convert("P"), None, "mode P"),
    "deep.png": (Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 16), None, "4095 white"),
    "deeper.png": (
        Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257),
        PHOTO[..., 0],
        "65535 white",
    ),
    "floats.tiff": (Image.fromarray(PHOTO[..., 0].astype(np.float32)), PHOTO[..., 0], "255 white"),
    "bit.png": (Image.fromarray(PHOTO[..., 0] > 99), 255 * np.uint8(PHOTO[..., 0] > 99), "mode 1"),
    "cmyk.jpg": (Image.fromarray(PHOTO).convert("CMYK"), None, "mode CMYK"),
    "large.png": (Image.new("L", (4096, 2048), 7), np.full((1024, 2048), 7, np.uint8), "every 2."),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_file_is_shown_as_people_have_them_and_said_how(name, tmp_path):
    picture, wanted, words = ODD_FILES[name]
    picture.save(tmp_path / name)
    explorer = explore(tmp_path / name, "none")
    assert words in text(explorer.note)
    pixels = explorer.chosen.pixels
    assert pixels.dtype == np.uint8 and pixels.shape[2:] in ((), (3,))
    assert wanted is None or np.array_equal(pixels, wanted)
    if name == "deep.png":
        wanted = np.rint(PHOTO[..., 0] * 16.0 * 255 / 4095)
    assert wanted is None or np.array_equal(pixels, wanted)
    assert np.array_equal(what_the_line_gives(explorer.panels[0]), pixels)


def test_a_phones_photo_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # to be turned to the right
    Image.fromarray(np.rot90(PHOTO)).save(tmp_path / "phone.png", exif=exif)
    explorer = explore(str(tmp_path / "phone.png"), "HE")
    assert np.array_equal(explorer.chosen.pixels, PHOTO)
    assert "turned upright" in text(explorer.note)
    panel = explorer.panels[0]
    assert np.array_equal(what_the_line_gives(panel), panel.result)


@pytest.mark.parametrize(
    "image",
    [
        *(PHOTO, PHOTO / 255, PHOTO * 1.0, PHOTO.astype(np.uint16) * 257, PHOTO[np.newaxis]),
        *(np.moveaxis(PHOTO, -1, 0), Image.fromarray(PHOTO), PHOTO.tolist(), PHOTO[..., :1]),
    ],
)
def test_an_array_or_what_one_is_made_of_can_be_shown(image):
    explorer = explore(image, "CLAHE")
    panel = explorer.panels[0]
    wanted = PHOTO[..., 0] if np.shape(image)[-1] == 1 else PHOTO
    assert np.array_equal(explorer.chosen.pixels, wanted)
    assert np.array_equal(eval(panel.line.value, IMPORTS | {"image": image}), panel.result)


def test_numbers_of_numpy_are_numbers():
    assert np.array_equal(explore(np.int64(3)).panels[0].result, explore(3).panels[0].result)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[True, False]]), [255, 0]),
        (np.array([[-1.0, 0, 1]]), [0, 128, 255]),
        (np.array([[-1000, 0, 1000]], np.int16), [0, 128, 255]),
        (np.array([[0, 1, 2]]), [0, 128, 255]),  # of a mask
        (np.array([[0, np.nan, 1, np.inf]]), [0, 0, 255, 255]),
        (np.array([[-0.01, 0.5, 1.02]]), [0, 128, 255]),  # a spline
        (np.array([[0, 40000, 65535]], ">u2"), [0, 156, 255]),
        (np.array([[0, 51, 255]], np.uint64), [0, 51, 255]),
        (np.full((1, 2), np.nan), [0, 0]),
        (np.full((1, 2), -3.0), [0, 0]),
    ],
)
def test_values_become_bytes_and_it_is_said(values, wanted):
    explorer = explore(values, "none")
    assert explorer.chosen.pixels.tolist() == [wanted] == read_image(values).tolist()
    assert "is black and" in text(explorer.note)


def test_a_bomb_is_not_opened(monkeypatch, photo):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="exceeds limit"):
        explore(photo)


def test_names_cannot_put_markup_into_the_page(tmp_path):
    path = save(tmp_path / "<b onclick=x>.png", np.eye(9, dtype=np.uint8))
    explorer = explore(path)
    for widget in (explorer.panels[0].readout, explorer.panels[0].picture):
        assert BeautifulSoup(widget.value, "html.parser").find(onclick=True) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": -1}, "got image=-1, expected the number of a training image"),
        ({"image": None}, "got image=None, expected"),
        ({"image": np.zeros((5, 5, 5, 3))}, "got shape (5, 5, 5, 3), expected one image"),
        ({"image": "unicorn"}, "got image='unicorn', expected"),
        ({"image": "camera", "transform": "clahe"}, "got transform='clahe'"),
        ({"image": "camera", "low": 60}, "got low=60, expected such as low=49.0"),
        ({"image": "camera", "clip_limit": "much"}, "got clip_limit='much'"),
        ({"image": "camera", "tiles": 3}, "got tiles=3, expected settings of"),
        ({"image": "camera", "compare": {"color": "hue"}}, "got color='hue'"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        explore(**arguments)


# ---- without a kernel


def test_a_page_without_a_kernel_gets_a_picture_and_words():
    explorer = explore("camera", "HE", compare={"transform": "none"})
    data, metadata = explorer._repr_mimebundle_()
    assert set(data) == {notebooks.WIDGET_VIEW, "image/png", "text/plain"}
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.width > picture.height > 300
    assert plt.get_fignums() == []
    alt = metadata["image/png"]["alt"]
    assert all(text(panel.readout) in alt for panel in explorer.panels)
    assert text(explorer.comparison) in alt and text(explorer.comparison) in data["text/plain"]


def test_refresh_leaves_the_picture_and_drops_the_widget(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "IMAGES", tmp_path / "images")
    monkeypatch.setenv("AUGMENT_DATA", "patches")
    cells = ["from augment_utils.explorer import explore", 'explore("coins")']
    widgets = {"state of": "an earlier session"}
    path, out = write_notebook(tmp_path / "small.ipynb", cells, widgets=widgets), tmp_path / "out"
    notebooks.main([str(path), "--output-dir", str(out), "--refresh"], standalone_mode=False)
    assert notebooks.WIDGET_VIEW in nbformat.read(out / "small.ipynb", 4).cells[1].outputs[0].data
    notebook = nbformat.read(path, 4)
    assert "widgets" not in notebook.metadata
    (output,) = notebook.cells[1].outputs
    assert set(output.data) == {"image/png", "text/plain"}
    assert "coins" in output.metadata["image/png"]["alt"]
