"""The images that one plays with in the web edition, in scripts: a page on disk reads no file."""

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from augment_utils import load_cifar10
from augment_utils.datasets import find_cached_archive, is_cifar10

PHOTOGRAPHS = "moon", "camera", "page", "astronaut"  # in scikit-image's wheel, up to 512 × 512
CIFAR10 = {"ship": 69, "deer": 10, "dog": 27, "cat": 91}
PATCHES = {"cat": 15, "astronaut": 50, "motorcycle": 22, "rocket": 12}


def choices() -> list[tuple[str, str, np.ndarray]]:
    """The name, the line of Python and the pixels of each, (H, W) or (H, W, 3), uint8.

    Four are CIFAR-10's where it is at hand; it is neither fetched for that nor part of the
    repository. Elsewhere they are photo patches.
    """
    data = load_cifar10(os.environ.get("AUGMENT_DATA") or find_cached_archive() or "patches")
    source, line, rows = "patch", "load_photo_patches()", PATCHES
    if is_cifar10(data):
        source, line, rows = "CIFAR-10", "load_cifar10()", CIFAR10
    small = [
        (f"{name} ({source})", f"au.{line}.x_train[{row}]", data.x_train[row])
        for name, row in rows.items()
    ]
    return small + [
        (f"{name} (photograph)", f"skimage.data.{name}()", getattr(skimage.data, name)())
        for name in PHOTOGRAPHS
    ]


def write_scripts(folder: Path) -> None:
    """``images.js`` with all choices and the pixels of the small, and a script for each large."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, code, pixels in choices():
        listed.append({"name": name, "code": code, "channels": 3 if pixels.ndim == 3 else 1})
        file, url = f"{name.split()[0]}.js", _data_url(pixels)
        if max(pixels.shape) == 32:
            listed[-1]["url"] = url
        else:
            listed[-1]["file"] = file
            (folder / file).write_text(f"play.loaded({json.dumps(name)}, {json.dumps(url)});\n")
    script = f"play.images = {json.dumps(listed, indent=1)};\n"
    (folder / "images.js").write_text(script)


def _data_url(pixels):
    """A PNG, without loss and without a colour profile, so that a browser gets these very bytes."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
