"""The live explorer: move a slider and see image, histogram, CDF and difference change."""

import base64
import contextlib
import functools
import html
import io
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import skimage
import tifffile

try:
    import ipywidgets as widgets
    import matplotlib.pyplot as plt
    from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
    from traitlets import TraitError
except ModuleNotFoundError as missing:
    missing.msg += "; the explorer needs augment-utils' extra `notebooks`"
    raise

import augment_utils as au
from augment_utils import datasets
from augment_utils.contrast import COLORS, LARGEST_TILE_SIDE
from augment_utils.plotting import GREY, plot_histograms, to_png

TRANSFORMS: dict[str, tuple[Callable[..., np.ndarray] | None, list[str]]] = {
    "none": (None, []),
    "stretching": (au.contrast_stretching, ["low", "high", "color"]),
    "HE": (au.histogram_equalization, ["color"]),
    "AHE": (au.adaptive_histogram_equalization, ["kernel_size"]),
    "CLAHE": (au.clahe, ["kernel_size", "clip_limit"]),
}
# functions of skimage.data whose files are in its wheel; a stereo pair is not one photograph
PHOTOGRAPHS = sorted(
    {*datasets.PHOTOGRAPHS.values(), "camera", "moon", "page", "retina"} - {"stereo_motorcycle"}
)
MOST_PIXELS, LARGEST_SIDE_DRAWN = 2048 * 2048, 480
WHITES = (1, 255, 4095, 65535)  # of floats, and of whole numbers of 8, 12 and 16 bits
WARNING = "Dead zone:"

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


class Explorer(widgets.VBox):
    """Show an image beside what a transform makes of it, with a slider for each setting.

    In a notebook a widget, on a page without a kernel a picture of it. The line of code that it
    gives needs ``import augment_utils as au``, ``import skimage`` and, for an array, ``image``.

    Parameters
    ----------
    image : int, str, path, or image
        The number of a training image of :func:`augment_utils.load_cifar10`, or a class
        (``"ship"``: its first image); one of scikit-image's photographs (``"camera"``, ...); or
        what :func:`read_image` takes.
    transform : {"none", "stretching", "HE", "AHE", "CLAHE"}
    compare : dict or None
        The settings of a second panel, as far as they differ from the first, such as
        ``{"clip_limit": 0.1}`` or ``{"transform": "AHE"}``. None: one panel only.
    **settings
        As the functions of :mod:`augment_utils.contrast` take them.

    Raises
    ------
    TypeError, ValueError
        There is no such image, transform or setting, or it cannot be shown.
    """

    def __init__(
        self,
        image: Any = 10,
        transform: str = "CLAHE",
        compare: dict | None = None,
        **settings: float | str,
    ) -> None:
        self.compared = widgets.Checkbox(
            compare is not None, description="Compare two settings", indent=False
        )
        self.chosen, self.comparison = find_image(image), widgets.HTML()
        self.note = widgets.HTML(html.escape(self.chosen.note))
        show_only_if(bool(self.chosen.note), self.note)
        one = {"transform": transform, **settings}
        other = one | (compare or {})
        self.panels = [Panel("A", self.chosen, one), Panel("B", self.chosen, other)]
        self._draw()
        for control in (self.compared, *(c for p in self.panels for c in p.controls.values())):
            control.observe(self._draw, "value")
        row = widgets.HBox(self.panels, layout={"flex_flow": "row wrap"})
        super().__init__([self.compared, self.note, self.comparison, row])
        self.add_class("explorer")
        self.comparison.add_class("readout")

    _ipython_display_ = None  # of ipywidgets 7, which Colab has: it would come before the other

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and its picture for a page without a kernel."""
        images = [self.chosen.pixels, *(panel.result for panel in self.visible)]
        titles = ["\n".join([panel.title, *panel.arguments]) for panel in self.visible]
        fig = plot_histograms(images, ["original", *titles])
        plt.close(fig)
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        data = {
            "application/vnd.jupyter.widget-view+json": view,
            "image/png": base64.b64encode(to_png(fig)).decode(),
            "text/plain": f"<Explorer: {self.words}>",
        }
        alt = f"The original and each result over its histogram with its CDF. {self.words}"
        return data, {"image/png": {"alt": alt}}

    def _draw(self, change=None):
        """Show, and say, what the controls ask for."""
        show_only_if(self.compared.value, self.panels[1], self.comparison)
        self.visible = self.panels if self.compared.value else self.panels[:1]
        for panel in self.visible:
            panel.draw()
        said = [panel.words for panel in self.visible]
        if self.compared.value:
            one, other = (panel.result.astype(int) for panel in self.panels)
            apart = over_channels(np.abs(one - other))
            where = f"at {_percent(apart > 0)} of the pixels, by {apart.max()} grey levels at most"
            same = "A and B are the same picture, pixel by pixel."
            said.append(f"A and B differ {where}." if apart.any() else same)
            self.comparison.value = said[-1]
        self.words = " ".join(said)


explore = Explorer  # which reads better where it is called


class Panel(widgets.HBox):
    """One setting: its controls, the picture, what it shows in words, and the line of code."""

    def __init__(self, name: str, chosen: "Chosen", settings: dict) -> None:
        look = {"style": {"description_width": "7em"}, "layout": {"width": "auto"}}
        percentile = functools.partial(widgets.FloatSlider, step=0.5, readout_format=".1f", **look)
        sides = chosen.pixels.shape[:2]
        self.controls = {
            "transform": widgets.Dropdown(options=list(TRANSFORMS), **look),
            "low": percentile(2, min=0, max=49),
            "high": percentile(98, min=51, max=100),
            "color": widgets.Dropdown(options=list(COLORS), value="value", **look),
            "kernel_size": widgets.IntSlider(
                max(8, min(sides) // 8),
                min=4,
                max=max(8, min(sides), min(max(sides), LARGEST_TILE_SIDE)),
                **look,
            ),
            "clip_limit": widgets.FloatLogSlider(0.03, min=-3, max=0, step=0.02, **look),
        }
        for key, control in self.controls.items():
            control.description = f"{name}: {key}"
        self.line = widgets.Textarea(description=f"{name}: code", rows=2, **look)
        self.picture, self.readout = widgets.HTML(), widgets.HTML()
        self.readout.add_class("readout")
        self.name, self.chosen = name, chosen
        for key, value in settings.items():
            if key not in self.controls:
                raise ValueError(f"got {key}={value!r}, expected settings of {[*self.controls]}")
            with contextlib.suppress(TraitError):
                self.controls[key].value = value
            if (nearest := self.controls[key].value) != value:
                raise ValueError(f"got {key}={value!r}, expected such as {key}={nearest!r}")
        left = widgets.VBox([*self.controls.values(), self.line], layout={"flex": "1 1 22em"})
        right = widgets.VBox([self.picture, self.readout])
        right.layout = {"flex": "99 1 24em", "max_width": "640px"}  # below, where there is no room
        super().__init__([left, right], layout={"flex_flow": "row wrap", "flex": "1 1 28em"})

    def draw(self) -> None:
        """Transform the image and show it all."""
        chosen = self.chosen
        transform = self.controls["transform"].value
        function, names = TRANSFORMS[transform]
        names = [name for name in names if name != "color" or chosen.pixels.ndim == 3]
        for key in [*self.controls][1:]:
            show_only_if(key in names, self.controls[key])
        values = {key: self.controls[key].value for key in names}
        values = {k: v if isinstance(v, str) else round(v, 6) for k, v in values.items()}
        self.arguments = [f"{key}={value!r}" for key, value in values.items()]
        code = ", ".join([chosen.code, *self.arguments])
        code = f"au.{function.__name__}({code})" if function else code
        if code == self.line.value:
            return
        self.line.value = code
        self.result = function(chosen.pixels, **values) if function else chosen.pixels
        self.title = f"{self.name}: {transform}"
        self.words = f"{self.name}: {', '.join([chosen.name, transform, *self.arguments])}. "
        self.words += facts(chosen.pixels, self.result)
        if transform == "CLAHE":
            self.words += limit_in_words(**values)
        words = html.escape(self.words)
        marked = words.replace(WARNING, f"<br><b>{WARNING}</b>")
        self.readout.value = f'<div style="line-height: 1.4">{marked}</div>'
        self.picture.value = pictures(chosen.pixels, self.result, self.title, words)


# ---- pictures and words


def pictures(before: np.ndarray, after: np.ndarray, title: str, words: str) -> str:
    """Original, result and difference with histograms and CDFs, as HTML of any width."""
    change = np.clip(128 + (after.astype(float) - before) / 2, 0, 255).astype(np.uint8)
    size = " × ".join(map(str, before.shape[:2]))
    alt = f"Original and result; below, their histograms with CDF, and the difference. {words}"
    cells = (
        (4, f"original, {size} pixels", _image(before, alt)),
        (4, title, _image(after)),
        (3, "histogram and CDF", _histogram(before)),
        (3, title, _histogram(after)),
        (2, "difference", _image(change)),
    )
    inside = "".join(
        f'<div style="grid-column: span {width}; min-width: 0">{caption}<br>{content}</div>'
        for width, caption, content in cells
    )
    look = "display: grid; grid-template-columns: repeat(8, 1fr); gap: 0 8px; line-height: 1.3"
    return f'<div style="{look}">{inside}</div>'


def _image(image, alt=""):
    picture, png = Image.fromarray(image), io.BytesIO()
    scaling = "pixelated" if max(picture.size) < LARGEST_SIDE_DRAWN / 2 else "auto"
    picture.thumbnail((LARGEST_SIDE_DRAWN, LARGEST_SIDE_DRAWN))
    picture.save(png, "PNG", compress_level=1)
    return (
        f'<img alt="{alt}" style="width: 100%; image-rendering: {scaling}" '
        f'onload="{html.escape(FOR_SCREEN_READERS)}" '
        f'src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
    )


def _histogram(image):
    """64 bars, of which the highest is 150, and the CDF, over the grey levels."""
    v = over_channels(image)
    counts, _ = np.histogram(v, 64, (0, 256))
    cdf = np.bincount(v.ravel(), minlength=256).cumsum() / v.size
    bars = [f"M{4 * i} 150v-{150 * n / counts.max():.1f}h4V150" for i, n in enumerate(counts)]
    line = [f"{level},{150 - 150 * share:.1f}" for level, share in enumerate(cdf)]
    return (
        f'<svg viewBox="0 0 256 150" aria-hidden="true" style="border-bottom: 1px solid {GREY}">'
        f'<path d="{"".join(bars)}" fill="{GREY}"/>'
        f'<polyline points="{" ".join(line)}" fill="none" stroke="currentColor"/></svg>'
        '<div style="display: flex; justify-content: space-between">0<i>grey level</i>255</div>'
    )


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
    alive = max(2, pixels // 256 + 1)  # 256 bars of fewer pixels hold the whole tile
    words = f" The clip limit is {limit} of a tile's {pixels} pixels."
    if limit < alive:
        words += f" {WARNING} every clip limit below {alive}/{pixels} = {alive / pixels:.3g} gives "
        words += "this same picture; notebook 06 explains it."
    return words


def over_channels(image: np.ndarray) -> np.ndarray:
    """V, or of differences the largest."""
    return image.max(axis=-1) if image.ndim == 3 else image


def _percent(where):
    return f"{100 * where.mean():.1f} %"


def show_only_if(wanted: bool, *controls: widgets.Widget) -> None:
    for control in controls:
        control.layout.display = None if wanted else "none"


# ---- from what people have to bytes


class Chosen(NamedTuple):
    """An image, what was changed for show, its name, and the code that makes it."""

    pixels: np.ndarray
    note: str
    name: str
    code: str


_load_once = functools.cache(au.load_cifar10)


def find_image(image: Any) -> Chosen:
    """What `explore` is given, ready to be shown."""
    is_path = isinstance(image, (str, os.PathLike))
    if is_path and image in PHOTOGRAPHS:
        return Chosen(getattr(skimage.data, image)(), "", image, f"skimage.data.{image}()")
    if is_path and Path(image).exists():
        pixels, note = _to_show(image)
        code = f"au.explorer.read_image({os.fspath(image)!r})"
        return Chosen(pixels, note, Path(image).name, code)
    if not (is_path or image is None or isinstance(image, (int, np.integer))):
        pixels, note = _to_show(image)
        code = "image" if pixels is image else "au.explorer.read_image(image)"
        return Chosen(pixels, note, "your image", code)
    data, row = _load_once(), image
    if image in data.class_names:
        row = int(np.argmax(data.y_train == data.class_names.index(image)))
    if row not in range(len(data.x_train)):
        names = ", ".join([*data.class_names, *PHOTOGRAPHS])
        raise ValueError(
            f"got image={image!r}, expected the number of a training image (0 to "
            f"{len(data.x_train) - 1}), one of {names}, a file that is there, or an image"
        )
    name = f"training image {row} ({data.class_names[data.y_train[row]]})"
    return Chosen(data.x_train[row], "", name, f"au.load_cifar10().x_train[{row}]")


def read_image(image: Any) -> np.ndarray:
    """What the explorer shows of a file or an image: (H, W) or (H, W, 3), uint8.

    ``image`` is a path, an image of Pillow, or an array, or what NumPy makes one of, with its
    channels last or first. It is turned as its EXIF data says; alpha is left out, a palette looked
    up; of more than 2,048 × 2,048 pixels every second is kept, or fewer. Floats up to 1, and
    numbers of 8, 12 or 16 bits, keep their black and white; others go from their smallest to
    their largest. TypeError, ValueError: it is no image, damaged, or too large for Pillow.
    """
    return _to_show(image)[0]


def _read(name, read_bytes):
    """What is in a file, or a ValueError that does not name its folder."""
    try:
        content = io.BytesIO(read_bytes())
        try:
            picture = Image.open(content)
            picture.load()
            return picture
        except UnidentifiedImageError:
            content.seek(0)
            return tifffile.imread(content)  # knows more of its kind
    except tifffile.TiffFileError as error:
        raise ValueError(f"{name} holds no image, or none of a kind known here") from error
    except Exception as error:  # the readers of damaged files raise nearly anything
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{name} cannot be read: {why}") from error


def _to_show(image):
    """The bytes, and in words what was changed for them."""
    notes = []
    if isinstance(image, (str, os.PathLike)):
        image = _read(Path(image).name, Path(image).read_bytes)
    if isinstance(image, Image.Image):
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            notes.append("turned upright")
        image = ImageOps.exif_transpose(image)
        if not re.fullmatch("L|I|I;16.*|F|RGB", image.mode):
            notes.append(f"from mode {image.mode}")
            image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    pixels = np.asarray(image)
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[2] > 4:
        pixels = np.moveaxis(pixels, 0, -1)
        notes.append("channels put last")
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
        notes.append("alpha left out")
    if pixels.shape[2:] == (1,):
        pixels = pixels[..., 0]
    if not pixels.size or pixels.ndim < 2 or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"got shape {np.shape(image)}, expected one image, (H, W) or (H, W, 3)")
    step = math.ceil(math.sqrt(math.prod(pixels.shape[:2]) / MOST_PIXELS))
    if step > 1:
        pixels = pixels[::step, ::step]
        notes.append(f"every {step}. pixel")
    if pixels.dtype != np.uint8:
        pixels, black, white = _as_bytes(pixels)
        notes.append(f"{black:g} is black and {white:g} white")
    return pixels, f"Changed for show: {', '.join(notes)}." if notes else ""


def _as_bytes(pixels):
    """Bytes, and which values became 0 and 255: of floats 0 and 1, of whole numbers all bits."""
    values = pixels.astype(float)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    is_float, is_whole = pixels.dtype.kind == "f", pixels.dtype.kind in "ui"
    slack = high / 10 if is_float else 0  # for what splines leave outside
    tops = [top for top in WHITES[is_whole:] if top / 100 < high <= top + slack and low >= -slack]
    black, white = (0, tops[0]) if tops else (low, high)
    share = np.clip((values - black) / (white - black or 1), 0, 1)
    return np.rint(255 * np.nan_to_num(share)).astype(np.uint8), black, white
