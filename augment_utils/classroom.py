"""What an assignment needs where it is worked on: a student's own images and constants."""

import functools
import hashlib
import json
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augment_utils.datasets import is_cifar10, load_cifar10

if TYPE_CHECKING:  # slow to import
    from matplotlib.figure import Figure

LEAST_CONTRAST = 20  # grey levels: of a flat image there is nothing to tell
LEAST_COLOUR = 10  # grey levels between a pixel's channels, on average
CLASS_FILE = "class.json"  # {"year": 2026, "images": "patches"}; or a path; or
CIFAR10 = "cifar10"  # wherever a machine has it


class Personal:
    """Images and constants of one student, for one assignment of one class.

    Any letters, digits and signs are an id; capitals, spaces around it and the ways in which
    Unicode can write a letter do not matter.

    Parameters
    ----------
    student, assignment : str
    folder : path
        Where the class file is.

    Raises
    ------
    ValueError
        No id; no class file, or one that cannot be read.
    """

    def __init__(self, student: str, assignment: str, folder: str | os.PathLike = ".") -> None:
        self.student = "" if student is None else plain_id(str(student))
        if not self.student:
            raise ValueError(
                "got no student id; write yours between the quotes of STUDENT and run that cell"
            )
        self.assignment = assignment
        self._class = read_class_file(find_class_file(folder))

    def choose(self, what: str, choices: Sequence) -> Any:
        """One of the choices."""
        return choices[self._number(what) % len(choices)]

    def image(self, number: int = 0) -> np.ndarray:
        """One of the test images, (32, 32, 3) uint8, darkened a little; each number has another.

        There are fewer images than a large class may need; how much each is darkened, by a factor
        from 0.7 to 1, makes them the student's own.
        """
        images = _test_images(self._class["images"])
        # a prime step comes by every image before it meets one again
        image = images[(self._number("image") + 7919 * number) % len(images)]
        return np.rint(image * self.rng("exposure").uniform(0.7, 1)).astype(np.uint8)

    def rng(self, what: str) -> np.random.Generator:
        """A generator of random numbers."""
        return np.random.default_rng(self._number(what))

    def _number(self, what):
        text = json.dumps([self._class["year"], self.assignment, self.student, what])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def plain_id(student: str) -> str:
    """An id without what does not matter in it: capitals, spaces around it, invisible signs."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", student).casefold())
    return "".join(c for c in text if unicodedata.category(c) != "Cf").strip()


def find_class_file(folder: str | os.PathLike) -> Path:
    """The class file in a folder, or in one of the two that it lies in."""
    here = Path(folder).absolute()
    for place in (here, *here.parents[:2]):
        if (place / CLASS_FILE).exists():
            return place / CLASS_FILE
    raise ValueError(f"found no {CLASS_FILE} in {here}; keep the notebook in the folder it came in")


def read_class_file(path: str | os.PathLike) -> dict[str, Any]:
    """What is the same for a class: ``year``, any number, and where its ``images`` come from."""
    try:
        settings = json.loads(Path(path).read_text("utf-8-sig"))
        year, images = int(settings["year"]), settings["images"]
        if not (isinstance(images, str) and images):
            raise ValueError(f"images is {images!r}")
        return {"year": year, "images": images}
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(
            f'{path} is no class file ({error!r}), expected {{"year": 2026, "images": "patches"}}; '
            "take it from the assignment's folder again"
        ) from error


def figure_data(figure: "Figure") -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """The y values of a figure's lines, the heights of its bars or steps, its axes' labels.

    Points of ``scatter`` and lines of ``hlines`` and ``vlines`` are not among them.
    """
    from matplotlib.container import BarContainer
    from matplotlib.patches import StepPatch

    lines, bars, labels = [], [], []
    for axis in figure.axes:
        lines += [np.asarray(line.get_ydata(), float) for line in axis.lines]
        groups = [group for group in axis.containers if isinstance(group, BarContainer)]
        bars += [np.array([bar.get_height() for bar in group]) for group in groups]
        steps = [patch for patch in axis.patches if isinstance(patch, StepPatch)]
        bars += [np.asarray(patch.get_data()[0], float) for patch in steps]  # values, edges, ...
        labels += [text for text in (axis.get_xlabel(), axis.get_ylabel()) if text]
    return lines, bars, labels


@functools.lru_cache(1)
def _test_images(source):
    """Those that have some contrast and some colour to work with."""
    dataset = load_cifar10(None if source == CIFAR10 else source)
    if source == CIFAR10 and not is_cifar10(dataset):
        raise ValueError(
            f"your class works on CIFAR-10, and here are {dataset.name}; fetch CIFAR-10 with "
            "`python -m augment_utils data`, or set AUGMENT_DATA to a file of it"
        )
    images = dataset.x_test[:1000]  # which are the same in every file that is CIFAR-10 to us
    contrast = images.max(axis=-1).std(axis=(1, 2))
    colour = np.ptp(images, axis=-1).mean(axis=(1, 2))
    return images[(contrast > LEAST_CONTRAST) & (colour > LEAST_COLOUR)]
