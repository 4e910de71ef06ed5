"""The benchmark: it runs, and its tables come from its JSON; not how fast anything is."""

import json
import math

import numpy as np
import pytest

from augment_utils.explorer import TRANSFORMS
from benchmarks import peers, transforms
from benchmarks.peers import NAME, OURS, PEERS
from tests.common import call
from tools import ROOT

PAGE = "results/speed.md"


def bench(folder, *options):
    return call("benchmarks", "--folder", folder, *options, AUGMENT_DATA="patches")


@pytest.fixture
def repository(tmp_path):
    """As much of the repository as `--report` reads."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results/bench.json").write_bytes((ROOT / "results/bench.json").read_bytes())
    return tmp_path


def test_a_quick_run_measures_everything(repository):
    path = repository / "results" / "bench.json"
    before = json.loads(path.read_text("utf-8"))
    kept = {key: before[key] for key in ("date", "plan", "machine", "versions", "rows")}
    path.write_text(json.dumps({"optional": kept}), "utf-8")
    done = bench(repository, "--quick")
    assert done.returncode == 0, done.stderr
    assert "Left out, see --only optional: torchvision, Kornia, SimpleITK" in done.stdout
    results = json.loads(path.read_text("utf-8"))
    assert results.pop("optional") == kept
    assert set(results) == {
        *("date", "plan", "seed", "machine", "versions", "data"),
        *("rows", "epochs", "layers", "explorer"),
    }
    assert set(results["versions"]) >= {"albumentations", "keras", "numba", "scikit-image"}
    assert results["data"]["name"] == "photo patches (not CIFAR-10)"
    assert len(results["data"]["fingerprint"]) == 64
    plan, cores = results["plan"], results["machine"]["cores"]
    expected = {
        (transform, name, side, batch, threads)
        for transform in OURS
        for name in [NAME, *(peer.name for peer in PEERS if peer.transform == transform)]
        for side in plan["sides"]
        for batch in plan["batches"]  # none of them are cut to the same number of images
        for threads in {1 if name != "Keras" else cores, cores if name != "kornia-rs" else 1}
    }
    keys = ("transform", "peer", "side", "batch", "threads")
    assert {tuple(row[key] for key in keys) for row in results["rows"]} == expected
    assert len(results["rows"]) == len(expected)
    for row in results["rows"]:
        assert 1 <= row["images"] <= row["batch"] and row["runs"] >= plan["rounds"]
        assert row["compared"]
    measured = [row[key] for row in results["rows"] for key in ("images_per_second", "ratio")]
    measured += [
        epoch[key] for epoch in results["epochs"] for key in ("seconds", "input_seconds", "ratio")
    ]
    rows = results["explorer"]["rows"]
    assert {(row["transform"], row["side"]) for row in rows} == {
        (transform, side) for transform in set(TRANSFORMS) - {"none"} for side in (32, 512)
    }
    measured += [row[key] for row in rows for key in ("median_ms", "p90_ms")]
    assert all(math.isfinite(x) and x > 0 for x in measured)
    page = (repository / PAGE).read_text("utf-8")
    assert "A quick run" in page and results["date"] in page and kept["date"] in page
    assert (repository / "images" / "bench.png").read_bytes()[:4] == b"\x89PNG"


def test_the_explorer_is_measured_alone(repository):
    path = repository / "results" / "bench.json"
    before = json.loads(path.read_text("utf-8"))
    done = bench(repository, "--only", "explorer", "--quick")
    assert done.returncode == 0, done.stderr
    after = json.loads(path.read_text("utf-8"))
    assert after.pop("explorer") != before.pop("explorer") and after == before
    assert (repository / PAGE).read_text("utf-8") != (ROOT / PAGE).read_text("utf-8")


def test_the_page_says_what_the_json_says(repository):
    done = bench(repository, "--report")
    assert done.returncode == 0, done.stderr
    assert (repository / PAGE).read_bytes() == (ROOT / PAGE).read_bytes()
    assert (repository / "images" / "bench.png").exists() and (ROOT / "images/bench.png").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; make it with"),
        ("{", "bench.json is no JSON"),
        ("[]", "bench.json lacks what the tables need"),
        ('{"plan": {}}', "bench.json lacks what the tables need"),
    ],
)
def test_a_report_of_nothing_is_refused(repository, content, message):
    path = repository / "results" / "bench.json"
    path.unlink()
    if content is not None:
        path.write_text(content, "utf-8")
    done = bench(repository, "--report")
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (repository / "images").exists()


@pytest.mark.parametrize("side", [32, 96, 600])
def test_images_are_photographs_of_the_size_asked_for(real_images, side):
    images = transforms.make_images(real_images, side, 45 if side == 32 else 6)
    assert images.dtype == np.uint8 and images.shape[1:] == (side, side, 3)
    assert np.median([image.std() for image in images]) > 10  # a photo patch may be flat
    assert np.array_equal(images, transforms.make_images(real_images, side, len(images)))


@pytest.mark.parametrize("transform", [name for name in OURS if name != "contrast stretching"])
def test_what_is_called_the_same_is_the_same(real_images, transform):
    (peer,) = [p for p in PEERS if p.transform == transform and p.name == peers.SKIMAGE]
    function, _ = OURS[transform]
    for image in real_images[:10]:
        theirs = np.rint(255 * peer.make(32)(image)).reshape(image.shape)
        assert np.abs(function(image) - theirs).max() <= 1
