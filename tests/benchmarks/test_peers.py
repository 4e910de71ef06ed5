"""Fairness: what a peer does, in which form, on how many threads; not how fast."""

import contextvars
import functools
import time
from collections import Counter

import numpy as np
import psutil
import pytest

from augment_utils.contrast import THREADS
from benchmarks import optional, report, transforms
from benchmarks.optional import KORNIA, SIMPLEITK, TORCHVISION
from benchmarks.peers import (
    ALBUMENTATIONS,
    KERAS,
    KORNIA_RS,
    NAME,
    OPENCV,
    OURS,
    PEERS,
    PILLOW,
    PLAIN_LOOP,
    SKIMAGE,
    Peer,
)

ALL = [
    pytest.param(peer, id=f"{peer.transform}, {peer.name}") for peer in (*PEERS, *optional.PEERS)
]

# From our result, on grey pictures, where all channels and V, Y and L are one: levels of 255 at
# most, the mean over an image, in the median image; untouched, they are 30 to 90 away.
LEVELS = {
    "contrast stretching": {SKIMAGE: 1, PILLOW: 1, ALBUMENTATIONS: 2, TORCHVISION: 15},
    "HE, joint": {SKIMAGE: 1, OPENCV: 3, PILLOW: 4, KORNIA_RS: 3, ALBUMENTATIONS: 3}
    | {TORCHVISION: 4, KORNIA: 4},
    "HE on V": {SKIMAGE: 1, OPENCV: 3, PILLOW: 4, KORNIA_RS: 3, ALBUMENTATIONS: 3, KORNIA: 4},
    "AHE": {SKIMAGE: 1, OPENCV: 2, KORNIA_RS: 2, ALBUMENTATIONS: 8, SIMPLEITK: 40, KORNIA: 8},
    "CLAHE": {SKIMAGE: 1, OPENCV: 12, KORNIA_RS: 12, ALBUMENTATIONS: 12, KERAS: 20, KORNIA: 12},
}
FORMS = {PILLOW: "Image", KERAS: "EagerTensor", SIMPLEITK: "Image"} | dict.fromkeys(
    (TORCHVISION, KORNIA), "Tensor"
)


def needs(peer):
    if peer in optional.PEERS:
        pytest.importorskip(peer.name if peer.name != KORNIA else "kornia")


@functools.cache
def photographs(side, count):
    return transforms.make_images(np.empty((0, 0, 0, 3), np.uint8), side, count)


def levels(result, side):
    """In 0..255, channels last."""
    if type(result).__module__.startswith("SimpleITK"):
        import SimpleITK

        result = np.stack([SimpleITK.GetArrayFromImage(result)] * 3, axis=-1)
    array = np.asarray(result)
    if array.shape[:2] == (1, 3):
        array = np.moveaxis(array, 1, -1)
    return array.reshape(side, side, 3) * (
        255.0 if array.dtype.kind == "f" and array.max() < 2 else 1.0
    )


@pytest.mark.parametrize("peer", [p for p in ALL if p.values[0].name != PLAIN_LOOP])
def test_a_peer_does_what_we_do_in_its_own_way(peer):
    needs(peer)
    side, apart, untouched = 96, [], []
    function, _ = OURS[peer.transform]
    theirs = peer.make(side)
    for image in np.repeat(photographs(side, 10)[..., 1:2], 3, axis=-1):
        ours = function(image).astype(float)
        result = theirs(peer.form(image[None] if peer.batched else image))
        apart.append(np.abs(levels(result, side) - ours).mean())
        untouched.append(np.abs(image - ours).mean())
    assert np.median(apart) <= LEVELS[peer.transform][peer.name] < np.median(untouched)


@pytest.mark.parametrize("peer", ALL)
@pytest.mark.parametrize("threads", [1, 2])
def test_its_form_is_made_before_the_clock_starts(peer, threads):
    needs(peer)
    images, made, got = photographs(32, 4), [], []

    def form(image_or_batch):
        made.append(peer.form(image_or_batch))
        return made[-1]

    def make(side):
        return lambda given: got.append(given)

    call = transforms._calls(peer._replace(form=form, make=make), images, threads)
    assert len(made) == (threads if peer.batched else len(images)) and not got
    kind = FORMS.get(peer.name, "ndarray")
    assert all(type(one).__name__ == kind for one in made)
    before = len(made)
    call()
    assert len(made) == before and Counter(map(id, got)) == Counter(map(id, made))


@pytest.mark.parametrize("peer", [p for p in ALL if p.values[0].one_thread])
def test_one_thread_is_one_thread(peer):
    """kornia-rs has one of its own, for which the one that calls it waits."""
    needs(peer)
    cell = {"transform": peer.transform, "threads": 1, "side": 512, "batch": 1}
    context = contextvars.copy_context()
    context.run(THREADS.set, 1)

    def measure():
        context.run(transforms._measure_cell, photographs(512, 1), transforms.QUICK, cell, [peer])

    measure()  # and compile
    before = seconds_of_threads()
    time.sleep(0.3)  # whoever works now is not of the measurement
    now = seconds_of_threads()
    restless = {thread for thread in now if now[thread] - before.get(thread, 0) > 0.03}
    before, start = seconds_of_threads(), time.process_time()
    while time.process_time() < start + 0.4:
        measure()
    spent = [
        total - before.get(thread, 0)
        for thread, total in seconds_of_threads().items()
        if thread not in restless
    ]
    busy = [seconds for seconds in spent if seconds > 0.1 * sum(spent)]
    assert 1 <= len(busy) <= (2 if peer.name == KORNIA_RS else 1)


def seconds_of_threads():
    """Seconds of a processor that each thread has had."""
    return {one.id: one.user_time + one.system_time for one in psutil.Process().threads()}


def test_the_optional_peers_are_measured_apart(monkeypatch, real_images):
    peers = tuple(
        Peer(name, KORNIA, "its negative", lambda side: np.invert, all_threads=False)
        for name in OURS
    )
    monkeypatch.setattr(optional, "PEERS", peers)
    monkeypatch.setattr(optional, "PACKAGES", ("numpy",))
    measured = transforms.measure_optional(transforms.QUICK)
    assert list(measured["versions"]) == ["numpy"] and measured["machine"]["processor"]
    assert {row["threads"] for row in measured["rows"]} == {1}
    assert {row["peer"] for row in measured["rows"]} == {NAME, KORNIA}
    text = "\n".join(report.optional_paragraphs(measured))
    assert f"Measured on {measured['date']}" in text and "its negative" in text
    assert text.count("| CLAHE, Kornia |") == len(measured["plan"]["sides"])


def test_an_optional_peer_that_is_not_there(monkeypatch):
    monkeypatch.setattr(optional, "PACKAGES", ("numpy", "no-such-package"))
    with pytest.raises(ValueError, match=r"no-such-package; CONTRIBUTING\.md says how"):
        transforms.measure_optional(transforms.QUICK)
