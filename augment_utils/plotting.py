"""The collection's figure forms, and `show`, without which no figure is shown."""

import base64
import io
from collections.abc import Sequence

import numpy as np

try:
    import matplotlib.pyplot as plt
    from IPython.display import display
    from matplotlib.figure import Figure
    from PIL import Image
except ModuleNotFoundError as missing:
    missing.msg += "; figures need augment-utils' extra `notebooks`"
    raise

from augment_utils.contrast import refuse_unless_good

# Okabe & Ito's colour-blind-safe palette; line styles say the same again.
INK, GREY = "#000000", "#9AA5AD"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
CHANNELS, V = (("R", RED, "-"), ("G", GREEN, "--"), ("B", BLUE, ":")), ("V", INK, "-")

DPI = 110


def show(fig: Figure, *, alt: str) -> None:
    """Show a figure in a notebook, and close it.

    ``alt`` says what it shows, for who cannot see it, and is kept in the output's metadata.

    Raises
    ------
    ValueError
        ``alt`` says nothing.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"got alt={alt!r}, expected a sentence on what the figure shows")
    png = base64.b64encode(to_png(fig)).decode()
    data = {"image/png": png, "text/plain": f"<Figure: {alt}>"}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)
    plt.close(fig)


def plot_images(
    images: Sequence[np.ndarray] | np.ndarray,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
) -> Figure:
    """Images in a grid, unsmoothed, for :func:`show`.

    Parameters
    ----------
    images : sequence of ndarray, (H, W), (H, W, 1) or (H, W, 3)
        uint8 in 0..255, uint16 in 0..65535 or float in 0..1. Grey images are drawn from black
        to white, not stretched to their own range.
    titles : sequence of str or None
    columns : int or None
        None: all in one row, up to 8.
    """
    titles = _refuse_unless_good(images, titles)
    columns = columns or min(len(images), 8)
    rows = -(-len(images) // columns)
    side = min(9 / columns, 2.6)
    lines = max(title.count("\n") + 1 for title in titles) if any(titles) else 0
    title_height = 0.1 + 0.16 * lines if lines else 0  # inches
    size = columns * side, rows * (side + title_height)
    fig, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        _draw_image(axis, image, titles[i], min(10, 6 + 2 * side))
    return fig


def plot_histograms(
    images: Sequence[np.ndarray] | np.ndarray, titles: Sequence[str], channels: bool = False
) -> Figure:
    """Each image over its histogram with its CDF on it, all on the same axes, for :func:`show`.

    Parameters
    ----------
    images : sequence of ndarray, (H, W), (H, W, 1) or (H, W, 3)
        uint8 in 0..255, uint16 in 0..65535 or float in 0..1; drawn on the scale 0..255.
    titles : sequence of str
    channels : bool
        For colour images: one curve each for R, G and B instead of HSV's V.
    """
    titles = _refuse_unless_good(images, titles)
    size = max(2.3 * len(images), 4.6), 4.2
    fig, axes = plt.subplots(
        2, len(images), figsize=size, layout="constrained", squeeze=False, height_ratios=(1.1, 1)
    )
    tops = []
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        first, last = column == 0, column == len(images) - 1
        axis, cdf_axis = axes[1, column], axes[1, column].twinx()
        _draw_image(axes[0, column], image, title)
        tops.append(_draw_histogram(axis, cdf_axis, image, channels))
        axis.set(xlim=(-6, 262), xticks=(0, 128, 255), xlabel="grey level")  # both end bars whole
        axis.set_ylabel("pixels" if first else "")
        axis.tick_params(labelleft=first)
        cdf_axis.set(ylim=(0, 1.02), yticks=(0, 0.5, 1), ylabel="CDF" if last else "")
        cdf_axis.tick_params(labelright=last)
    for axis in axes[1]:
        axis.set_ylim(0, 1.05 * max(tops))
    if channels:
        fig.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


# ---- the parts of them


def to_png(fig: Figure, dpi: float = DPI) -> bytes:
    """The figure as a PNG, as small as it gets without loss."""
    drawn, png = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, dpi=dpi, facecolor="white", pil_kwargs={"compress_level": 1})
    picture = Image.open(drawn).convert("RGB")
    red, green, blue = picture.split()  # one is enough where there is no colour
    (red if red == green == blue else picture).save(png, format="png", optimize=True)
    return png.getvalue()


def _refuse_unless_good(images, titles):
    """The titles as they are drawn. One image is a sequence too: of its rows."""
    shape = getattr(images, "shape", None)
    if len(images) == 0 or (shape and (len(shape) < 3 or (len(shape) == 3 and shape[2] in (1, 3)))):
        raise ValueError(f"got images of shape {shape or ()}, expected several; of one: `[image]`")
    if titles is not None and len(titles) != len(images):
        raise ValueError(
            f"got {len(images)} images and {len(titles)} titles, expected one for each"
        )
    for image in images:
        refuse_unless_good(image)
        if len(image.shape) == 4:
            raise ValueError(f"got a batch of shape {image.shape}, expected images: `[*batch]`")
    return [""] * len(images) if titles is None else [str(title) for title in titles]


def _draw_image(axis, image, title, fontsize=10.0):
    """Draw into the axes, unsmoothed and unstretched."""
    image = _for_show(image)
    image = image[..., 0] if image.shape[2:] == (1,) else image
    top = 255 if image.dtype == np.uint8 else 1
    axis.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    axis.set_title(title, fontsize=fontsize)
    axis.axis("off")


def _draw_histogram(axis, cdf_axis, image, channels):
    """Draw into the two axes; return the highest count."""
    image = _for_show(image)
    levels = image if image.dtype == np.uint8 else np.rint(255 * image).astype(np.uint8)
    levels = levels.reshape(*levels.shape[:2], -1)
    each = channels and levels.shape[-1] == 3
    planes = np.moveaxis(levels, -1, 0) if each else [levels.max(axis=-1)]
    tops = []
    for plane, (label, colour, style) in zip(planes, CHANNELS if each else [V], strict=True):
        counts, edges = np.histogram(plane, bins=64, range=(0, 256))
        tops.append(counts.max())
        if each:
            axis.stairs(counts, edges, color=colour, linestyle=style, label=label)
        else:
            axis.stairs(counts, edges, fill=True, color=GREY)
        cdf = np.bincount(plane.ravel(), minlength=256).cumsum() / plane.size
        cdf_axis.plot(np.arange(256), cdf, color=colour, linestyle=style, linewidth=1.2)
    return max(tops)


def _for_show(image):
    """16 bits as the floats that they stand for."""
    if image.dtype == np.uint8:
        return image
    return image / 65535 if image.dtype.kind == "u" else np.clip(image, 0, 1).astype(float)
