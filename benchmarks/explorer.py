"""How long the explorer takes from a moved slider to the new picture."""

import importlib.metadata
import itertools
import time
from datetime import UTC, datetime

import numpy as np

from augment_utils.contrast import COLORS, thread_count
from augment_utils.explorer import explore
from tools.pages import machine

IMAGES: dict[int, int | str] = {32: 10, 512: "astronaut"}  # side: what `explore` is told
GOALS = {32: 150, 512: 400}  # side: milliseconds
MOVES = {  # transform: the control that is moved, and where to, again and again
    "stretching": ("low", np.arange(0, 20, 0.5).tolist()),
    "HE": ("color", list(COLORS)),
    "AHE": ("kernel_size", list(range(8, 32))),
    "CLAHE": ("clip_limit", np.arange(0.05, 0.5, 0.005).tolist()),
}


def measure_explorer(moves: int) -> dict:
    """Milliseconds for each transform and side, from a control's new value to the picture.

    They are spent in the kernel; the way between browser and kernel comes on top.

    Parameters
    ----------
    moves : int
        How many, after three that are not counted.

    Returns
    -------
    dict
        ``rows``, and when and with what they were measured.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine() | {"cores": thread_count()},
        "versions": {
            name: importlib.metadata.version(name) for name in ("ipywidgets", "matplotlib")
        },
        "moves": moves,
        "rows": [_measure(side, transform, moves) for transform in MOVES for side in IMAGES],
    }


def _measure(side, transform, moves):
    panel = explore(IMAGES[side], transform).panels[0]
    control, values = MOVES[transform]
    milliseconds = []
    for value in itertools.islice(itertools.cycle(values), moves + 3):
        before, start = panel.picture.value, time.perf_counter()
        panel.controls[control].value = value
        milliseconds.append(1000 * (time.perf_counter() - start))
        if panel.picture.value is before and len(milliseconds) > 1:
            raise RuntimeError(f"{control}={value} drew no new picture")
    median, slow = np.percentile(milliseconds[3:], (50, 90))
    return {
        "transform": transform,
        "control": control,
        "side": side,
        "goal_ms": GOALS[side],
        "median_ms": round(median, 1),
        "p90_ms": round(slow, 1),
    }
