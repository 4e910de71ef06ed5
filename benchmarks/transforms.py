"""Measure the transforms beside their peers; report.py makes the tables.

Everything in one cell of the measurement gets the same images, as many threads, and its turn
in every round (A B C A B C ...), so that whatever else the machine does falls on all alike.
Peers that know only single images are called in a loop, on several threads with a part of the
batch each where that is quicker, and their results are not even collected. What a peer needs to
have made of the images (a picture, a tensor) is made before the clock starts.
"""

import contextvars
import importlib.metadata
import itertools
import math
import statistics
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import skimage
from tqdm import tqdm

from augment_utils.contrast import THREADS, thread_count
from augment_utils.datasets import PHOTOGRAPHS, load_cifar10
from benchmarks import optional
from benchmarks.epochs import measure_epochs
from benchmarks.explorer import measure_explorer
from benchmarks.layers import layer_calls
from benchmarks.peers import NAME, OURS, PEERS, Peer
from tools.files import write_json
from tools.pages import machine

SEED = 0
SHORTEST = 0.005  # seconds: a run is repeated until the clock can measure it
SLOW_RUN = 0.1  # seconds: a peer that needs longer gets fewer images
LARGER_IMAGES = [PHOTOGRAPHS[name] for name in ("astronaut", "coffee", "cat", "rocket", "tissue")]
PACKAGES = (
    "numpy", "numba", "scikit-image", "opencv-python-headless", "pillow", "kornia-rs",
    "albumentations", "tensorflow", "keras",
)  # fmt: skip

FULL: dict = {
    "quick": False,
    "sides": [32, 224, 1024],
    "batches": [1, 64, 4096],
    "largest": 2**24,  # numbers in a batch; 4,096 images of 32 × 32 have three quarters of that
    "seconds": 0.8,  # for the rounds of a cell
    "goal_seconds": 4.0,  # of a cell that has goals: the smallest side, the largest batch
    "rounds": 3,  # at least
    "epoch_images": 10_000,  # all cats and dogs
    "epochs": 5,
    "slow_epochs": 1,
    "moves": 60,  # of a slider of the explorer
    "layer_images": 1024,
}
QUICK = FULL | {
    "quick": True,
    "sides": [32, 96],
    "batches": [1, 4096],
    "largest": 2**16,
    "seconds": 0.0,
    "goal_seconds": 0.0,
    "rounds": 2,
    "epoch_images": 160,
    "epochs": 1,
    "slow_epochs": 1,
    "moves": 2,
    "layer_images": 16,
}


def run(out: Path, earlier: dict, only: str | None = None, quick: bool = False) -> None:
    """Measure, and write it down as JSON.

    Parameters
    ----------
    out : pathlib.Path
        The file to write, whole or not at all.
    earlier : dict
        What it had, or nothing: what is not measured now is kept.
    only : "explorer", "optional" or None
        What to measure; without, all but the optional peers.
    quick : bool
        Seconds instead of minutes: few images and few rounds, so no figures to quote.

    Raises
    ------
    ModuleNotFoundError
        A peer is not installed; they are in the extra ``bench``.
    OSError, ValueError
        The images in ``AUGMENT_DATA`` cannot be read, ``out`` cannot be written, or an optional
        peer is not installed.
    """
    plan = QUICK if quick else FULL
    measured = {
        None: lambda: measure_all(plan) | {"explorer": measure_explorer(plan["moves"])},
        "explorer": lambda: {"explorer": measure_explorer(plan["moves"])},
        "optional": lambda: {"optional": measure_optional(plan)},
    }[only]()
    write_json(out, earlier | measured)


def measure_all(plan: dict) -> dict:
    """Of the transforms beside their peers, and of the epochs."""
    dataset = load_cifar10()
    return {
        **_circumstances(PACKAGES),
        "plan": plan,
        "seed": SEED,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "larger": "cut at random places from photographs that scikit-image ships, mirrored "
            f"where they are too small: {', '.join(LARGER_IMAGES)}",
        },
        "rows": measure_transforms(dataset.x_test, plan),
        "epochs": measure_epochs(dataset, plan, SEED),
        "layers": measure_layers(dataset.x_test[: plan["layer_images"]], plan),
    }


def measure_optional(plan: dict) -> dict:
    """Of the transforms beside the peers that no extra installs."""
    try:
        circumstances = _circumstances(optional.PACKAGES)
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; CONTRIBUTING.md says how to install it") from error
    rows = measure_transforms(load_cifar10().x_test, plan, optional.PEERS)
    return {**circumstances, "plan": plan, "rows": rows}


def _circumstances(packages):
    import psutil

    memory = round(psutil.virtual_memory().total / 2**30)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {**machine(), "cores": thread_count(), "memory_gib": memory},
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def measure_transforms(small: np.ndarray, plan: dict, peers: Sequence[Peer] = PEERS) -> list[dict]:
    """A row for each transform and each peer, at each side, batch and number of threads.

    Parameters
    ----------
    small : ndarray, (N, 32, 32, 3), uint8
    plan : dict
        ``sides``, ``batches``, ``largest``, ``seconds``, ``goal_seconds`` and ``rounds``.
    peers : sequence of Peer

    Returns
    -------
    list of dict
    """
    cores, rows, batches = thread_count(), [], list(_batches(plan))
    cells = [
        (threads, transform, taking_part)
        for threads, transform in itertools.product(sorted({1, cores}), OURS)
        if (taking_part := _taking_part(peers, transform, threads, cores))
    ]
    with tqdm(total=len(batches) * len(cells), desc="transforms", unit="cell") as bar:
        for side, batch, count in batches:
            images = make_images(small, side, count)
            for threads, transform, taking_part in cells:
                cell = {"transform": transform, "side": side, "batch": batch, "threads": threads}
                bar.set_postfix_str(f"{transform}, {side} px, batch {batch}, threads {threads}")
                context = contextvars.copy_context()  # so that the number holds for this cell
                context.run(THREADS.set, threads)
                measured = context.run(_measure_cell, images, plan, cell, taking_part)
                rows += [cell | row for row in measured]
                bar.update()
    return rows


def _taking_part(peers, transform, threads, cores):
    return [
        peer
        for peer in peers
        if peer.transform == transform
        and (peer.one_thread or threads == cores)
        and (peer.all_threads or threads == 1)
    ]


def measure_layers(images: np.ndarray, plan: dict) -> list[dict]:
    """A row for each of our Keras layers and Keras' own, which take turns."""
    seconds = _in_turn(layer_calls(images), plan["seconds"], plan["rounds"])
    return [
        {
            "transform": transform,
            "layer": whose,
            "images": len(images),
            "runs": len(measured),
            "images_per_second": round(len(images) / statistics.median(measured), 2),
        }
        for (transform, whose), measured in seconds.items()
    ]


def make_images(small: np.ndarray, side: int, count: int) -> np.ndarray:
    """(count, side, side, 3) uint8: `small` over and over, or pieces of photographs."""
    if side == small.shape[1]:
        return small[np.arange(count) % len(small)]
    photographs = [getattr(skimage.data, name)() for name in LARGER_IMAGES]
    rng, images = np.random.default_rng(SEED), np.empty((count, side, side, 3), np.uint8)
    for i in range(count):
        whole = photographs[i % len(photographs)]
        missing = [(0, max(0, side - n)) for n in whole.shape[:2]]
        whole = np.pad(whole, [*missing, (0, 0)], "symmetric")
        y, x = (rng.integers(n - side + 1) for n in whole.shape[:2])
        images[i] = whole[y : y + side, x : x + side]
    return images


def _batches(plan):
    """Side, batch and how many images it may have; of batches with as many, the largest."""
    for side in plan["sides"]:
        most = max(1, plan["largest"] // (3 * side**2))
        for count, batch in {min(batch, most): batch for batch in plan["batches"]}.items():
            yield side, batch, count


# ---- a cell


def _measure_cell(images, plan, cell, peers):
    """Rows of our transform and its peers, all on the same images and as many threads."""
    import cv2

    # OpenCV's own threads help where there is but one image
    cv2.setNumThreads(cell["threads"] if len(images) == 1 else 1)
    function, compared = OURS[cell["transform"]]
    calls, counts, words = {NAME: lambda: function(images)}, {NAME: len(images)}, {NAME: compared}
    for peer in peers:
        share, calls[peer.name] = _at_its_best(peer, images, cell["threads"])
        counts[peer.name], words[peer.name] = len(share), peer.compared
    at_goals = cell["side"] == plan["sides"][0] and cell["batch"] == plan["batches"][-1]
    seconds = _in_turn(calls, plan["goal_seconds" if at_goals else "seconds"], plan["rounds"])
    speeds = {name: counts[name] / statistics.median(seconds[name]) for name in calls}
    return [
        {
            "peer": name,
            "compared": words[name],
            "images": counts[name],
            "runs": len(seconds[name]),
            "images_per_second": round(speeds[name], 2),
            "ratio": round(speeds[NAME] / speeds[name], 3),
        }
        for name in calls
    ]


def _in_turn(calls, seconds, rounds):
    """Seconds of every call, measured in turn after a warm-up, which compiles."""
    repeats = {}
    measured: dict[Hashable, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        repeats[name] = max(1, math.ceil(SHORTEST / _warm_seconds(call)))
    end = time.perf_counter() + seconds
    while min(map(len, measured.values())) < rounds or time.perf_counter() < end:
        for name, call in calls.items():
            measured[name].append(_seconds(call, repeats[name]))
    return measured


def _seconds(call, repeats=1):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _warm_seconds(call):
    """After a first call, which may compile; what is slow is not called twice to know it."""
    first = _seconds(call)
    return first if first > SLOW_RUN else _seconds(call)


def _at_its_best(peer, images, threads):
    """The peer's share of the images, and a call that sends it on as many threads as pay off."""
    if peer.batched:
        share = images[: max(1, min(peer.numbers, images.size) // images[0].size)]
    else:
        one = _warm_seconds(_calls(peer, images[:1], 1))
        share = images[: max(threads, int(SLOW_RUN * threads / one))]
    most = min(threads, len(share)) if peer.one_thread else 1  # or it has threads of its own
    choices = [_calls(peer, share, count) for count in sorted({1, most})]
    return share, min(choices, key=_warm_seconds) if most > 1 else choices[0]


def _calls(peer, images, threads):
    """A function without arguments that sends the images, in its form, through the peer."""
    shares = np.array_split(images, min(threads, len(images)))
    functions = [peer.make(images.shape[1]) for _ in shares]
    parts = [list(map(peer.form, [share] if peer.batched else share)) for share in shares]

    def send(function, part):
        for image_or_batch in part:
            function(image_or_batch)

    def send_parts():
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(send, functions, parts))

    return send_parts if len(parts) > 1 else lambda: send(functions[0], parts[0])
