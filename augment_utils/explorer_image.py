"""Where the explorer's image comes from: the widgets that choose it, and what they refuse."""

import functools
import html
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import skimage
from PIL import Image

import augment_utils as au

TRAINING, PHOTOGRAPH, FILE = "training images", "photographs", "a file"
PHOTOGRAPHS = (  # functions of skimage.data whose files are in its wheel
    *("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel"),
    *("immunohistochemistry", "moon", "page", "retina", "rocket"),
)
ANY = "any"
MOST_PIXELS = 2048 * 2048


class Chosen(NamedTuple):
    """An image, what it is called, the code that makes it, and what to know about that."""

    pixels: np.ndarray
    name: str
    code: str
    comment: str = ""


class ImageChooser(widgets.VBox):
    """Choose a training image, a photograph or a file; what was `chosen` last stays until then."""

    def __init__(self, image: int | str, on_choice: Callable[[], object]) -> None:
        self.source = widgets.Dropdown(
            options=[TRAINING, PHOTOGRAPH, FILE], description="Image from"
        )
        self.label = widgets.Dropdown(options=[ANY], description="Class")
        self.number = widgets.BoundedIntText(max=0, description="Number")
        self.photograph = widgets.Dropdown(options=PHOTOGRAPHS, description="Photograph")
        self.path = widgets.Text(description="Path", continuous_update=False)
        # Jupyter's server drops a larger message, and with it the connection
        self.upload = widgets.FileUpload(
            accept="image/*", description="Upload a file, up to 9 MB", layout={"width": "18em"}
        )
        self.message = widgets.HTML()
        self.sources = {
            TRAINING: (self.label, self.number),
            PHOTOGRAPH: (self.photograph,),
            FILE: (self.path, self.upload),
        }
        self._start_with(image)
        self.chosen, self.on_choice = self._choice(), on_choice
        controls = [self.source, *(c for group in self.sources.values() for c in group)]
        for control in controls:
            control.observe(self._choose, "value")
        self._show_what_applies()
        row = widgets.HBox(controls, layout={"flex_flow": "row wrap"})
        super().__init__([row, self.message])

    def _start_with(self, image):
        if image in PHOTOGRAPHS:
            self.source.value, self.photograph.value = PHOTOGRAPH, image
        elif isinstance(image, str) and Path(image).is_file():
            self.source.value, self.path.value = FILE, image
        else:
            self._training_images()
            if image in self.label.options:
                self.label.value = image
            elif isinstance(image, int) and 0 <= image <= self.number.max:
                self.number.value = image
            else:
                raise ValueError(
                    f"got image={image!r}, expected the number of a training image "
                    f"(0 to {self.number.max}), a class ({', '.join(self.label.options[1:])}), "
                    f"a photograph ({', '.join(PHOTOGRAPHS)}) or the path of a file"
                )

    def _choose(self, change):
        self._show_what_applies()
        try:
            self.chosen = self._choice(change["owner"])
        except (OSError, ValueError) as error:
            problem = f"<b>Not shown:</b> {html.escape(str(error))}. The last image stays."
            self.message.value = f'<p role="alert">{problem}</p>'
        else:
            self.message.value = ""
            self.on_choice()

    def _show_what_applies(self):
        for source, controls in self.sources.items():
            show_only_if(source == self.source.value, *controls)

    def _choice(self, owner=None):
        """The image that the controls choose now; `owner` is the one that was used last."""
        if self.source.value == PHOTOGRAPH:
            name = self.photograph.value
            return Chosen(getattr(skimage.data, name)(), name, f"skimage.data.{name}()")
        if self.source.value == FILE:
            if owner is self.upload:
                return _uploaded(self.upload.value[0])
            path = self.path.value
            return Chosen(read_image(path), Path(path).name, f"skimage.io.imread({path!r})")
        data, rows = self._training_images(), np.arange(self.total)
        if self.label.value != ANY:
            rows = np.flatnonzero(data.y_train == data.class_names.index(self.label.value))
        self.number.max = len(rows) - 1
        row = rows[self.number.value]
        name = f"training image {row} ({data.class_names[data.y_train[row]]})"
        return Chosen(data.x_train[row], name, f"au.load_cifar10().x_train[{row}]")

    def _training_images(self):
        """The data, read only if it is wanted; its classes become options."""
        data = _load_once()
        if len(self.label.options) == 1:
            self.label.options = [ANY, *data.class_names]
            self.total = len(data.y_train)
            self.number.max = self.total - 1
        return data


def show_only_if(wanted: bool, *controls: widgets.Widget) -> None:
    for control in controls:
        control.layout.display = None if wanted else "none"


# ---- files


def read_image(path: str | os.PathLike) -> np.ndarray:
    """A grey or an RGB image of bytes from a file, just as skimage.io.imread reads it.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    ndarray, (H, W) or (H, W, 3), uint8

    Raises
    ------
    ValueError
        There is no such file, or it is too large, damaged, or holds something else; in words
        that do not name its folder.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path.name}: there is no such file" if path.name else "no file yet")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as header:  # reads no pixel yet
                width, height = header.size
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} is too large: {error}") from error
    except OSError as error:
        raise ValueError(f"{path.name} holds no image, or none of a kind known here") from error
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{path.name} has {height:,} × {width:,} pixels, which is too large: make it "
            f"{MOST_PIXELS:,} pixels at most, such as 2,048 × 2,048"
        )
    try:
        pixels = skimage.io.imread(path)
    except Exception as error:  # each format's reader raises its own
        raise ValueError(f"{path.name} is damaged or cut short ({error})") from error
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"{path.name} has shape {pixels.shape} and dtype {pixels.dtype}, expected grey (H, W) "
            'or RGB (H, W, 3), uint8; Pillow\'s Image.open(...).convert("RGB") makes that'
        )
    return pixels


def _uploaded(file):
    """From FileUpload's dict; under its own name, by whose end its reader is chosen."""
    name = Path(file["name"]).name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(file["content"])
        pixels = read_image(path)
    return Chosen(pixels, name, f"skimage.io.imread({name!r})", f"  # {name} beside the notebook")


@functools.cache
def _load_once():
    return au.load_cifar10()
