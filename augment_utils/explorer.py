"""The live explorer: move a slider and see image, histogram, CDF and difference change."""

import base64
import functools
import html
import inspect
import math
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import skimage

try:
    import ipywidgets as widgets
    import traitlets
    from matplotlib.figure import Figure
    from PIL import Image, ImageOps, UnidentifiedImageError
except ModuleNotFoundError as missing:
    missing.msg += "; the explorer needs augment-utils' extra `notebooks`"
    raise

import augment_utils as au
from augment_utils import datasets
from augment_utils.contrast import COLORS, find_fault, refuse_unless_good
from augment_utils.plotting import draw_histogram, draw_image, label_histogram, to_png

TRANSFORMS: dict[str, tuple[str, str]] = {  # the function of augment_utils, its settings in words
    "none": ("", "unchanged"),
    "stretching": ("contrast_stretching", "percentiles {low:g} to {high:g}, {color}"),
    "HE": ("histogram_equalization", "{color}"),
    "AHE": ("adaptive_histogram_equalization", "tiles of {kernel_size} pixels"),
    "CLAHE": ("clahe", "tiles of {kernel_size} pixels, clip limit {clip_limit:g}"),
}
COLOR_WORDS = {"joint": "R, G, B together", "channel": "R, G, B each", "value": "V alone"}

TRAINING, PHOTOGRAPH, FILE, ARRAY = "training images", "photographs", "a file", "an array"
# functions of skimage.data whose files are in its wheel; a stereo pair is not one photograph
PHOTOGRAPHS = sorted(
    {*datasets.PHOTOGRAPHS.values(), "camera", "moon", "page", "retina"} - {"stereo_motorcycle"}
)
ANY = "any"
MOST_PIXELS = 2048 * 2048

WARNING = "Dead zone:"
LAYOUT = "Original, result and difference; histogram and CDF under the first two."

# ipywidgets 8.1 gives the handle of a slider no name and rounds what it says of its value. Each
# new picture mends that, and lets the text below it be spoken when it changes.
FOR_SCREEN_READERS = (
    "const all = selector => this.closest('.explorer').querySelectorAll(selector);"
    "all('.widget-slider [role=slider]').forEach(handle => {"
    "const slider = handle.closest('.widget-slider');"
    "handle.setAttribute('aria-label', slider.querySelector('label').textContent);"
    "handle.setAttribute('aria-valuetext', slider.querySelector('.widget-readout').textContent)});"
    "all('.readout .widget-html-content').forEach(e => e.setAttribute('aria-live', 'polite'))"
)


def explore(
    image: int | str | os.PathLike | np.ndarray = 10,
    transform: str = "CLAHE",
    compare: dict | None = None,
    **settings: float | str,
) -> "Explorer":
    """Show an image beside what a transform makes of it, with a slider for each setting.

    The line of code that it gives needs ``import augment_utils as au`` and ``import skimage``;
    for a file that is not shown as it is ``import augment_utils.explorer``, and for an array
    the array as ``image``, and ``import numpy as np``.

    Parameters
    ----------
    image : int, str, path, or image
        The number of a training image of :func:`augment_utils.load_cifar10`; or one of
        scikit-image's photographs (``"camera"``, ...), or a class (``"ship"``: its first
        image), or the path of a file that :func:`read_image` reads; or one image as an array,
        or as what an array can be made of.
    transform : {"none", "stretching", "HE", "AHE", "CLAHE"}
    compare : dict or None
        The settings of a second panel, as far as they differ from the first, such as
        ``{"clip_limit": 0.1}`` or ``{"transform": "AHE"}``. None: one panel only.
    **settings
        As the functions of :mod:`augment_utils.contrast` take them.

    Returns
    -------
    Explorer
        A widget, and a picture of it for pages without a kernel.

    Raises
    ------
    ValueError
        There is no such image, transform or setting, or the file cannot be shown.
    """
    return Explorer(image, {"transform": transform, **settings}, compare)


class Explorer(widgets.VBox):
    """The choice of an image, a panel for each of two settings, and how the two differ."""

    def __init__(self, image: Any, settings: dict, compare: dict | None = None) -> None:
        self.chooser = ImageChooser(image, self._draw)
        self.compared = widgets.Checkbox(
            compare is not None, description="Compare with a second setting", indent=False
        )
        self.comparison = widgets.HTML()
        self.panels = [
            Panel("A", self.chooser.chosen, settings, self._say_difference),
            Panel("B", self.chooser.chosen, settings | (compare or {}), self._say_difference),
        ]
        self._draw()
        self.compared.observe(self._draw, "value")
        one, other = self.panels
        super().__init__([self.chooser, one, self.compared, other, self.comparison])
        self.add_class("explorer")
        self.comparison.add_class("readout")

    @property
    def words(self) -> str:
        """What is shown, for who cannot see it."""
        return " ".join([*(panel.words for panel in self._visible()), self.difference]).strip()

    _ipython_display_ = None  # of ipywidgets 7, which Colab has: it would come before the other

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and its picture for a page without a kernel."""
        png = to_png(*(panel.figure for panel in self._visible()))
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        data = {
            "application/vnd.jupyter.widget-view+json": view,
            "image/png": base64.b64encode(png).decode(),
            "text/plain": f"<Explorer: {self.words}>",
        }
        return data, {"image/png": {"alt": f"{LAYOUT} {self.words}"}}

    def _visible(self):
        return self.panels if self.compared.value else self.panels[:1]

    def _draw(self, change=None):
        show_only_if(self.compared.value, self.panels[1], self.comparison)
        for panel in self._visible():
            panel.show(self.chooser.chosen)
        self._say_difference()

    def _say_difference(self):
        self.difference = ""
        if self.compared.value:
            one, other = (panel.result.astype(int) for panel in self.panels)
            apart = over_channels(np.abs(one - other))
            self.difference = "A and B are the same picture, pixel by pixel."
            if apart.any():
                where, most = _percent(apart > 0), apart.max()
                self.difference = (
                    f"A and B differ at {where} of the pixels, by {most} grey levels at most."
                )
        self.comparison.value = f"<p>{self.difference}</p>"


class Panel(widgets.HBox):
    """One setting: its controls, the picture, what it shows in words, and the line of code."""

    def __init__(
        self, name: str, chosen: "Chosen", settings: dict, on_change: Callable[[], object]
    ) -> None:
        look = {"style": {"description_width": "7em"}, "layout": {"width": "22em"}}
        slider = functools.partial(widgets.FloatSlider, **look)
        self.controls = {
            "transform": widgets.Dropdown(options=list(TRANSFORMS), **look),
            "low": slider(2, min=0, max=49, step=0.5, readout_format=".1f"),
            "high": slider(98, min=51, max=100, step=0.5, readout_format=".1f"),
            "color": widgets.Dropdown(options=list(COLORS), value="value", **look),
            "kernel_size": widgets.IntSlider(min=4, **look),
            "clip_limit": slider(0.03, min=0.005, max=1, step=0.005, readout_format=".3f"),
        }
        self.button = widgets.Button(
            description=f"{name}: show the line of code", layout=look["layout"]
        )
        self.line = widgets.Textarea(description=f"{name}: code", rows=6, **look)
        self.picture, self.readout = widgets.HTML(), widgets.HTML()
        self.readout.add_class("readout")
        show_only_if(False, self.line)
        self.button.on_click(lambda _: show_only_if(True, self.line))
        self.name, self.chosen, self.on_change = name, chosen, on_change
        self._fit_tiles()
        self._set(settings)
        for key, control in self.controls.items():
            control.description = f"{name}: {key}"
            control.observe(self._changed, "value")
        self._make_figure()
        left = widgets.VBox([*self.controls.values(), self.button, self.line])
        right = widgets.VBox([self.picture, self.readout])
        right.layout = {"flex": "1 1 24em", "max_width": "800px"}  # below, where there is no room
        super().__init__([left, right], layout={"flex_flow": "row wrap"})

    def show(self, chosen: "Chosen") -> None:
        """Draw an image, with tiles of the usual size if it is of another size than the last."""
        resized = chosen.pixels.shape[:2] != self.chosen.pixels.shape[:2]
        self.chosen = chosen
        if resized:
            self._fit_tiles()
        self._draw()

    def _fit_tiles(self):
        sides, kernel_size = self.chosen.pixels.shape[:2], self.controls["kernel_size"]
        self.fitting = True
        kernel_size.max = max(8, *sides)
        kernel_size.value = max(8, min(sides) // 8)
        self.fitting = False

    def _set(self, settings):
        for key, value in settings.items():
            if key not in self.controls:
                raise ValueError(f"got {key}={value!r}, expected settings of {[*self.controls]}")
            control = self.controls[key]
            try:
                control.value = value
            except traitlets.TraitError as error:
                raise ValueError(f"got {key}={value!r}: {error}") from error
            if control.value != value:
                raise ValueError(f"got {key}={value!r}, expected {control.min} to {control.max}")

    def _changed(self, change):
        if not self.fitting:
            self._draw()
            self.on_change()

    def _draw(self):
        """Transform the image, and show the result in every way."""
        image, transform = self.chosen, self.controls["transform"].value
        function, words = TRANSFORMS[transform]
        names, is_grey = settings_of(transform), image.pixels.ndim == 2
        for key in [*self.controls][1:]:
            show_only_if(key in names, self.controls[key])
        self.controls["color"].disabled = is_grey
        values = {key: self.controls[key].value for key in names if key != "color" or not is_grey}
        values = {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}
        self.result, code = image.pixels, image.code
        if function:
            self.result = getattr(au, function)(image.pixels, **values)
            arguments = "".join(f", {key}={value!r}" for key, value in values.items())
            code = f"au.{function}({code}{arguments})"
        self.line.value = code + image.comment
        said = words.format_map(
            values | {"color": COLOR_WORDS.get(values.get("color", ""), "grey")}
        )
        self.words = f"{self.name}: {image.name}, {transform} ({said}). "
        self.words += facts(image.pixels, self.result)
        if transform == "CLAHE":
            self.words += limit_in_words(**values)
        said_of_it = html.escape(self.words).replace(WARNING, f"<br><b>{WARNING}</b>")
        self.readout.value = f"<p>{said_of_it}</p>"
        self._draw_figure(f"{self.name}: {transform}\n{said}")
        png = base64.b64encode(to_png(self.figure, small=False)).decode()
        self.picture.value = (
            f'<img alt="{LAYOUT} {html.escape(self.words)}" style="max-width: 100%" '
            f'onload="{html.escape(FOR_SCREEN_READERS)}" src="data:image/png;base64,{png}">'
        )

    # ---- the figure: made once; a change replaces what is drawn in its axes

    def _make_figure(self):
        self.figure = Figure(figsize=(7.2, 4.1))
        self.axes = self.figure.subplots(2, 3, height_ratios=(1.1, 1))
        self.figure.subplots_adjust(0.11, 0.12, 0.96, 0.9, wspace=0.32, hspace=0.12)
        self.cdf_axes = [axis.twinx() for axis in self.axes[1, :2]]
        for i, cdf_axis in enumerate(self.cdf_axes):
            label_histogram(self.axes[1, i], cdf_axis, first=i == 0, last=i == 1)
        key = self.axes[1, 2]
        key.imshow(np.arange(256)[np.newaxis], cmap="gray", aspect="auto")
        key.set(xticks=(0, 128, 255), xticklabels=("-255", "0", "+255"), yticks=())
        key.set(xlabel="change of grey level", box_aspect=0.1, anchor="NE")

    def _draw_figure(self, title):
        before, after = self.chosen.pixels, self.result
        change = np.clip(128 + (after.astype(float) - before) / 2, 0, 255).astype(np.uint8)
        for axis in (*self.axes[0], *self.axes[1, :2], *self.cdf_axes):
            for artist in (*axis.images, *axis.patches, *axis.lines):
                artist.remove()
        height, width = before.shape[:2]
        titles = f"original\n{height} × {width} pixels", title, "difference\n"
        for axis, image, text in zip(self.axes[0], (before, after, change), titles, strict=True):
            draw_image(axis, image, text, fontsize=9)
        below = zip(self.axes[1], self.cdf_axes, (before, after), strict=False)
        top = max(draw_histogram(*place, channels=False) for place in below)
        for axis in self.axes[1, :2]:
            axis.set_ylim(0, 1.05 * top)


# ---- which image: the widgets that choose it, and what they refuse


class Chosen(NamedTuple):
    """An image, its name, the code that makes it, what to know of that, and how it was changed."""

    pixels: np.ndarray
    name: str
    code: str
    comment: str = ""
    note: str = ""


class ImageChooser(widgets.VBox):
    """Choose a training image, a photograph or a file; `chosen` is the last that could be had."""

    def __init__(self, image: Any, on_choice: Callable[[], object]) -> None:
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
        self.message.value = _said(self.chosen)
        controls = [self.source, *(c for group in self.sources.values() for c in group)]
        for control in controls:
            control.observe(self._choose, "value")
        self._show_what_applies()
        row = widgets.HBox(controls, layout={"flex_flow": "row wrap"})
        super().__init__([row, self.message])

    def _start_with(self, image):
        is_path = isinstance(image, (str, os.PathLike))
        if is_path and image in PHOTOGRAPHS:
            self.source.value, self.photograph.value = PHOTOGRAPH, image
        elif is_path and Path(image).is_file():
            self.source.value, self.path.value = FILE, os.fspath(image)
        elif not is_path and not np.isscalar(image) and image is not None:
            self.array = _to_show(image)
            self.sources[ARRAY] = ()
            self.source.options = [*self.sources]
            self.source.value = ARRAY
        else:
            self._training_images()
            if is_path and image in self.label.options:
                self.label.value = image
            elif isinstance(image, (int, np.integer)) and 0 <= image <= self.number.max:
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
            self.message.value = _said(self.chosen)
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
                return _uploaded(self.upload.value)
            return _chosen_file(self.path.value, self.path.value)
        if self.source.value == ARRAY:
            return self.array
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


def settings_of(transform: str) -> list[str]:
    """The names of its settings, as its function has them."""
    function = TRANSFORMS[transform][0]
    return [*inspect.signature(getattr(au, function)).parameters][1:] if function else []


def show_only_if(wanted: bool, *controls: widgets.Widget) -> None:
    for control in controls:
        control.layout.display = None if wanted else "none"


# ---- files


def read_image(path: str | os.PathLike) -> np.ndarray:
    """A file's image, (H, W) or (H, W, 3), uint8, as a picture is shown.

    Turned as its EXIF data says, without alpha, its palette looked up, 12 or 16 bits scaled to
    bytes, and made smaller if it has more than 2,048 × 2,048 pixels.

    Raises
    ------
    ValueError
        There is no such file, or it is far too large, damaged, or no image; in words that do
        not name its folder.
    """
    return _chosen_file(path, "").pixels


def _chosen_file(path, code_path):
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path.name}: there is no such file" if path.name else "no file yet")
    turned = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files
            try:
                with Image.open(path) as picture:
                    turned = "turned upright" if picture.getexif().get(274, 1) != 1 else ""
                    chosen = _to_show(ImageOps.exif_transpose(picture))
            except UnidentifiedImageError:
                if path.suffix.lower() not in (".tif", ".tiff"):
                    raise
                chosen = _to_show(skimage.io.imread(path))  # knows more of them
    except UnidentifiedImageError as error:
        raise ValueError(f"{path.name} holds no image, or none of a kind known here") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} is too large: {error}") from error
    except OSError as error:
        raise ValueError(f"{path.name} is damaged or cut short ({error})") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name} {error}") from error
    note = ", ".join(filter(None, (turned, chosen.note)))
    reader = "au.explorer.read_image" if note else "skimage.io.imread"
    return Chosen(chosen.pixels, path.name, f"{reader}({str(code_path)!r})", note=note)


def _to_show(image):
    """One image as bytes: what the contract's advice makes of it, made smaller if it is large."""
    fault, code, notes = find_fault(image), "images", []
    if fault and fault.code:
        code = fault.code
        notes += [f"{fault.advice}: {code}"] * (code != "np.asarray(images)")
    pixels = eval(code, {"np": np, "images": image})
    refuse_unless_good(pixels)
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels, code = pixels[0], f"{code}[0]"
    if pixels.ndim == 4:
        raise ValueError(f"got shape {pixels.shape}, expected one image; take one: `images[0]`")
    if pixels.dtype == np.uint16 and pixels.max() < 4096:
        pixels, code = 16 * pixels, f"16 * {code}"
        notes.append("12 bits scaled")
    if pixels.dtype != np.uint8:
        pixels, code = skimage.util.img_as_ubyte(pixels), f"skimage.util.img_as_ubyte({code})"
    if pixels.shape[2:] == (1,):
        pixels, code = pixels[..., 0], f"{code}[..., 0]"
    if pixels.shape[0] * pixels.shape[1] > MOST_PIXELS:
        step = math.ceil(math.sqrt(pixels.shape[0] * pixels.shape[1] / MOST_PIXELS))
        pixels, code = pixels[::step, ::step], f"{code}[::{step}, ::{step}]"
        notes.append(f"every {step}. pixel")
    return Chosen(pixels, "your image", code.replace("images", "image"), note=", ".join(notes))


def _said(chosen):
    return f"<p>Changed for show: {html.escape(chosen.note)}.</p>" if chosen.note else ""


def _uploaded(files):
    """From FileUpload's value; under its own name, by whose end its reader is chosen."""
    (file,) = files.values() if isinstance(files, dict) else files  # ipywidgets 7, and later ones
    name = Path(file.get("metadata", file)["name"]).name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(file["content"])
        return _chosen_file(path, name)._replace(comment=f"  # {name} beside the notebook")


_load_once = functools.cache(au.load_cifar10)


# ---- words


def facts(before: np.ndarray, after: np.ndarray) -> str:
    """Mean, SD, clipped pixels and largest difference, in words."""
    old, new = over_channels(before), over_channels(after)
    return (
        f"V has mean {new.mean():.1f} (before: {old.mean():.1f}) and standard deviation "
        f"{new.std():.1f} ({old.std():.1f}); {_percent(new == 0)} of the pixels are at 0 "
        f"({_percent(old == 0)}) and {_percent(new == 255)} at 255 ({_percent(old == 255)}). "
        f"Largest difference: {np.abs(after.astype(int) - before).max()} grey levels."
    )


def limit_in_words(kernel_size: int, clip_limit: float) -> str:
    """The clip limit as the whole number of pixels that it stands for, which is never below 1."""
    pixels = kernel_size**2
    limit = max(1, int(clip_limit * pixels))
    text = f" The clip limit is {limit} of a tile's {pixels} pixels."
    if limit == 1:
        text += (
            f" {WARNING} every clip limit below 2/{pixels} = {2 / pixels:g} is 1 pixel "
            "and gives this same picture; notebook 06 explains it."
        )
    return text


def over_channels(image: np.ndarray) -> np.ndarray:
    """V, or of differences the largest."""
    return image.max(axis=-1) if image.ndim == 3 else image


def _percent(where):
    return f"{100 * where.mean():.1f} %"
