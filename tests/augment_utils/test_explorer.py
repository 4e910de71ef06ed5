"""The explorer without a browser: its controls, what it says, and the line of code it gives."""

import base64
import io
import re
from datetime import UTC, datetime
from pathlib import Path

import ipywidgets
import nbformat
import numpy as np
import pytest
import skimage
from bs4 import BeautifulSoup
from PIL import Image

import augment_utils as au
from augment_utils.explorer import MOST_PIXELS, PHOTOGRAPHS, TRANSFORMS, explore, settings_of
from tests.common import write_notebook
from tools import notebooks

IMPORTS = {"au": au, "skimage": skimage, "np": np}  # what the line of code is promised


def what_the_line_gives(panel):
    assert "\n" not in panel.line.value
    return eval(panel.line.value, dict(IMPORTS))


def drawn(panel):
    """The picture in the panel, and its alternative text."""
    image = BeautifulSoup(panel.picture.value, "html.parser").img
    png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png))), image["alt"]


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
    panel = explore(image, transform).panels[0]
    before = drawn(panel), text(panel.readout), panel.line.value
    panel.controls[control].value = value
    after = drawn(panel), text(panel.readout), panel.line.value
    if control == "color" and image == "camera":  # a grey image has but one way
        assert panel.controls["color"].disabled and before[1:] == after[1:]
        return
    assert not np.array_equal(before[0][0], after[0][0])
    assert before[0][1] != after[0][1] and before[1] != after[1] and before[2] != after[2]
    assert text(panel.readout) in drawn(panel)[1]
    assert f"{control}={panel.controls[control].value!r}" in panel.line.value


@pytest.mark.parametrize("image", [3, "cat", "coins", "coffee"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_line_gives_the_pixels_shown(image, transform):
    if image == "cat":  # a class in CIFAR-10 and among the patches
        assert explore(image).chooser.chosen.name.endswith("(cat)")
    panel = explore(image, transform, low=3.5, color="channel", clip_limit=0.1).panels[0]
    result = what_the_line_gives(panel)
    assert result.dtype == np.uint8 and np.array_equal(result, panel.result)
    shown = panel.axes[0, 1].images[0].get_array()
    assert np.array_equal(shown, result)


def test_the_line_of_a_file_gives_the_pixels_shown(photo):
    panel = explore(photo, "HE").panels[0]
    assert np.array_equal(what_the_line_gives(panel), panel.result)


def test_the_line_of_an_upload_names_the_file_and_where_it_belongs(photo, tmp_path, monkeypatch):
    explorer = explore("camera", "HE")
    explorer.chooser.source.value = "a file"
    upload(explorer, photo)
    panel = explorer.panels[0]
    assert panel.line.value.endswith("# my photo's é.png beside the notebook")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(what_the_line_gives(panel), panel.result)
    assert panel.result.shape == (40, 50, 3)


def upload(explorer, path):
    path = Path(path)
    content = memoryview(path.read_bytes())
    file = {"name": path.name, "type": "image/png", "size": len(content), "content": content}
    if ipywidgets.__version__.startswith("7."):  # Colab's
        value = {path.name: {"metadata": file, "content": path.read_bytes()}}
    else:
        value = ({**file, "last_modified": datetime.now(UTC)},)
    explorer.chooser.upload.set_trait("value", value)


def test_the_button_shows_the_line():
    panel = explore("camera").panels[0]
    assert panel.line.layout.display == "none"
    panel.button.click()
    assert panel.line.layout.display is None


def test_only_controls_that_apply_are_shown():
    panel = explore("coffee", "none").panels[0]
    for transform in TRANSFORMS:
        names = settings_of(transform)
        panel.controls["transform"].value = transform
        shown = [k for k, c in panel.controls.items() if c.layout.display is None]
        assert shown == ["transform", *names]
    chooser = explore("coffee").chooser
    for source, controls in chooser.sources.items():
        chooser.source.value = source
        every = [c for group in chooser.sources.values() for c in group]
        assert [c for c in every if c.layout.display is None] == list(controls)


def test_every_control_has_a_name_of_its_own():
    explorer = explore("camera")
    names = [c.description for panel in explorer.panels for c in panel.controls.values()]
    names += [w.description for panel in explorer.panels for w in (panel.button, panel.line)]
    names += [c.description for group in explorer.chooser.sources.values() for c in group]
    names += [explorer.chooser.source.description, explorer.compared.description]
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
    assert np.unique(panel.axes[0, 2].images[0].get_array()).tolist() == [128]


@pytest.mark.parametrize("side", [4, 8, 16])
def test_it_warns_in_the_dead_zone_and_only_there(side):
    panel = explore(0, "CLAHE", kernel_size=side).panels[0]
    strictest = au.clahe(panel.chosen.pixels, side, 0.0001)
    for clip_limit in np.arange(1, 41) / 200:
        panel.controls["clip_limit"].value = clip_limit
        warned = "Dead zone" in text(panel.readout)
        assert warned == np.array_equal(panel.result, strictest)
        if warned:
            assert f"below 2/{side**2} = {2 / side**2:g} is 1 pixel" in text(panel.readout)


def test_two_settings_of_one_image_are_compared():
    explorer = explore(0, "CLAHE", kernel_size=8, clip_limit=0.01, compare={"clip_limit": 0.03})
    assert "A and B are the same picture" in text(explorer.comparison)
    explorer.panels[1].controls["clip_limit"].value = 0.5
    one, other = (panel.result.astype(int) for panel in explorer.panels)
    largest = np.abs(one - other).max()
    assert f"by {largest} grey levels at most" in text(explorer.comparison) and largest > 0
    explorer.chooser.source.value = "photographs"  # of another size
    assert [panel.result.shape for panel in explorer.panels] == [(512, 512, 3)] * 2
    assert [panel.controls["kernel_size"].value for panel in explorer.panels] == [64, 64]
    explorer.compared.value = False
    assert explorer.panels[1].layout.display == "none" and text(explorer.comparison) == ""


# ---- the choice of an image


def test_classes_and_numbers_lead_to_images(real_images):
    chooser = explore(5).chooser
    assert np.array_equal(chooser.chosen.pixels, real_images[5])
    data = au.load_cifar10()
    chooser.label.value = data.class_names[3]
    chooser.number.value = 2
    row = np.flatnonzero(data.y_train == 3)[2]
    assert np.array_equal(chooser.chosen.pixels, data.x_train[row])
    assert f"x_train[{row}]" in chooser.chosen.code
    assert chooser.number.max == np.count_nonzero(data.y_train == 3) - 1


def test_every_photograph_can_be_shown():
    chooser = explore(PHOTOGRAPHS[0]).chooser
    for name in PHOTOGRAPHS:
        chooser.photograph.value = name
        assert chooser.chosen.name == name and chooser.message.value == ""
        assert chooser.chosen.pixels.size <= 3 * MOST_PIXELS


BAD_FILES = {  # a part of the message about each
    "gone.png": "gone.png: there is no such file",
    "a folder": "there is no such file",
    "text.png": "text.png holds no image",
    "empty.jpg": "empty.jpg holds no image",
    "cut.png": "cut.png is damaged or cut short",
    "cut.jpg": "cut.jpg is damaged or cut short",
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
def test_a_bad_file_gets_a_message_and_the_last_image_stays(folder_of_bad_files, name, photo):
    path, message = folder_of_bad_files / name, BAD_FILES[name]
    explorer = explore(photo, "HE")
    before = explorer.panels[0].picture.value
    explorer.chooser.path.value = str(path)
    assert message in text(explorer.chooser.message)
    assert 'role="alert"' in explorer.chooser.message.value
    assert str(folder_of_bad_files) not in text(explorer.chooser.message)
    assert explorer.panels[0].picture.value == before
    if path.is_file():
        with pytest.raises(ValueError, match=re.escape(message)):
            explore(str(path))
        upload(explorer, path)
        assert message in text(explorer.chooser.message)
    explorer.chooser.path.value = photo
    assert explorer.chooser.message.value == ""


PHOTO = skimage.data.astronaut()[100:140, 200:250]
ODD_FILES = {  # how a picture is saved, what is shown of it, and what is said
    "rgba.png": (Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]])), PHOTO, "mode RGBA"),
    "palette.png": (Image.fromarray(PHOTO[..., 0]).convert("P"), None, "mode P"),
    "deep.png": (Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 16), PHOTO[..., 0], "12 bits"),
    "deeper.png": (Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257), PHOTO[..., 0], ""),
    "floats.tiff": (Image.fromarray(PHOTO[..., 0].astype(np.float32)), PHOTO[..., 0], "/ 255"),
    "bit.png": (Image.fromarray(PHOTO[..., 0] > 99), 255 * np.uint8(PHOTO[..., 0] > 99), "mode 1"),
    "cmyk.jpg": (Image.fromarray(PHOTO).convert("CMYK"), None, "mode CMYK"),
    "large.png": (Image.new("L", (4096, 2048), 7), np.full((1024, 2048), 7, np.uint8), "every 2."),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_file_is_shown_as_people_have_them_and_said_how(name, tmp_path):
    picture, wanted, words = ODD_FILES[name]
    picture.save(tmp_path / name)
    explorer = explore(tmp_path / name, "none")
    assert words in text(explorer.chooser.message) or not words
    pixels = explorer.chooser.chosen.pixels
    assert pixels.dtype == np.uint8 and pixels.shape[2:] in ((), (3,))
    assert wanted is None or np.array_equal(pixels, wanted)
    assert np.array_equal(what_the_line_gives(explorer.panels[0]), pixels) or name == "deeper.png"


def test_a_phones_photo_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # to be turned to the right
    Image.fromarray(np.rot90(PHOTO)).save(tmp_path / "phone.png", exif=exif)
    explorer = explore(str(tmp_path / "phone.png"), "HE")
    assert np.array_equal(explorer.chooser.chosen.pixels, PHOTO)
    assert "turned upright" in text(explorer.chooser.message)
    panel = explorer.panels[0]
    assert np.array_equal(what_the_line_gives(panel), panel.result)


@pytest.mark.parametrize(
    "image",
    [
        *(PHOTO, PHOTO / 255, PHOTO * 1.0, PHOTO.astype(np.uint16) * 16, PHOTO[np.newaxis]),
        *(np.moveaxis(PHOTO, -1, 0), Image.fromarray(PHOTO), PHOTO.tolist(), PHOTO[..., :1]),
    ],
)
def test_an_array_or_what_one_is_made_of_can_be_shown(image):
    explorer = explore(image, "CLAHE")
    panel = explorer.panels[0]
    wanted = PHOTO[..., 0] if np.shape(image)[-1] == 1 else PHOTO
    assert np.array_equal(explorer.chooser.chosen.pixels, wanted)
    assert np.array_equal(eval(panel.line.value, IMPORTS | {"image": image}), panel.result)
    explorer.chooser.source.value = "photographs"
    explorer.chooser.source.value = "an array"
    assert np.array_equal(explorer.chooser.chosen.pixels, wanted)


def test_numbers_of_numpy_are_numbers():
    assert np.array_equal(explore(np.int64(3)).panels[0].result, explore(3).panels[0].result)


def test_a_bomb_is_not_opened(monkeypatch, photo):
    explorer = explore("camera")
    explorer.chooser.source.value = "a file"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    explorer.chooser.path.value = photo
    assert "is too large" in text(explorer.chooser.message)


def test_names_cannot_put_markup_into_the_page(tmp_path):
    path = save(tmp_path / "<b onclick=x>.png", np.eye(9, dtype=np.uint8))
    explorer = explore(path)
    for widget in (explorer.panels[0].readout, explorer.panels[0].picture):
        assert BeautifulSoup(widget.value, "html.parser").find(onclick=True) is None
    explorer.chooser.path.value = str(tmp_path / "<b>gone.png")
    assert "<b>gone" not in explorer.chooser.message.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": -1}, "got image=-1, expected the number of a training image"),
        ({"image": None}, "got image=None, expected"),
        ({"image": np.zeros((5, 5, 5, 3))}, "got shape (5, 5, 5, 3), expected one image"),
        ({"image": "unicorn"}, "got image='unicorn', expected"),
        ({"image": "camera", "transform": "clahe"}, "got transform='clahe'"),
        ({"image": "camera", "low": 60}, "got low=60, expected 0.0 to 49.0"),
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
    one = drawn(explorer.panels[0])[0]
    assert picture.size == (one.shape[1], 2 * one.shape[0])
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
