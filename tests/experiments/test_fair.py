"""Studies D to G: arms, batches, records, and their plan."""

import contextlib
import subprocess
from datetime import datetime

import numpy as np
import pytest

from augment_utils import load_photo_patches, training
from experiments import fair, runs
from tools import ROOT

PATCHES = load_photo_patches()
IMAGES, LABELS = PATCHES.x_train[:64], PATCHES.y_train[:64]


def batches(arm, seed=0):
    return fair.batches(IMAGES, LABELS, fair.ARMS[arm], seed)


def first(arm, seed=0):
    return next(batches(arm, seed))[0]


@pytest.mark.parametrize("arm", fair.ARMS)
def test_batches_are_floats_in_0_to_1_with_their_labels(arm):
    images, labels = next(batches(arm))
    assert images.shape == (64, 32, 32, 3) and images.dtype == np.float32
    if arm != "standardization":
        assert images.min() >= 0 and images.max() <= 1 and images.max() > 0.5
    assert np.array_equal(np.sort(labels.argmax(axis=1)), np.sort(LABELS))
    assert (labels.sum(axis=1) == 1).all()


def test_an_epoch_has_every_image_once_in_another_order():
    both = batches("nothing")
    one, two = ([image.tobytes() for image in next(both)[0]] for _ in range(2))
    assert one != two
    assert sorted(one) == sorted(two) == sorted(i.tobytes() for i in IMAGES / np.float32(255))


def test_every_arm_has_the_same_order_flips_and_crops():
    plain, stretched = batches("none"), batches("stretching")
    moved = fair.Arm(training.TRANSFORMS["stretching"])
    again = fair.batches(IMAGES, LABELS, moved, 0)
    for _ in range(3):
        assert np.array_equal(next(again)[0], next(stretched)[0])
    for arm in ("jitter", "CLAHE, random", "CLAHE"):
        other, labels = batches(arm), batches("none")
        assert all(np.array_equal(next(other)[1], next(labels)[1]) for _ in range(3))
    half, clahe = first("CLAHE, random"), first("CLAHE")
    kept = (half == next(plain)[0]).all(axis=(1, 2, 3))
    assert 16 < kept.sum() < 48 and np.array_equal(half[~kept], clahe[~kept])


def test_another_seed_gives_other_batches():
    assert not np.array_equal(first("none", 0), first("none", 1))


def test_a_standardized_image_has_the_same_mean_and_deviation_as_all():
    images = fair.standardize(IMAGES[(IMAGES.std(axis=(1, 2)) > 1).all(axis=1)])
    assert len(images) > 50
    assert np.allclose(images.mean(axis=(1, 2)), 128, atol=1e-2)
    assert np.allclose(images.std(axis=(1, 2)), 64, atol=1e-2)
    flat = fair.standardize(np.full((1, 4, 4, 3), 9, np.uint8))
    assert (flat == 128).all()


def test_jitter_moves_light_and_contrast_of_each_image_and_not_the_order_of_levels():
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[:, np.newaxis, np.newaxis], (500, 1, 8, 3))
    rng = np.random.default_rng(0)
    jittered = fair.jitter(ramp, rng)
    assert jittered.min() >= 0 and jittered.max() <= 255
    assert (np.diff(jittered[:, :, 0, 0], axis=1) >= 0).all()
    means = jittered.mean(axis=(1, 2, 3))
    assert means.min() < 90 < 160 < means.max() and len(np.unique(means)) > 490


def test_flips_and_crops_show_parts_of_the_reflected_image():
    numbered = np.arange(8 * 8).reshape(1, 8, 8, 1).repeat(400, axis=0)
    moved = training.flip_and_crop(numbered, np.random.default_rng(0), pixels=2)
    padded = np.pad(numbered[0], ((2, 2), (2, 2), (0, 0)), mode="reflect")
    possible = {
        part[:, ::step].tobytes()
        for top in range(5)
        for left in range(5)
        for part in [padded[top : top + 8, left : left + 8]]
        for step in (1, -1)
    }
    assert len(possible) == 50
    assert {image.tobytes() for image in moved} == possible
    assert moved.dtype == numbered.dtype and (numbered[0] == numbered[1]).all()


@pytest.mark.parametrize("study", fair.STUDIES)
def test_a_record_has_an_answer_for_every_test_image_and_repeats(study):
    images = next(iter(fair.TIERS["smoke"][study]["sizes"]))
    arm = next(arm for arm in fair.STUDIES[study].arms if "CLAHE" in arm)
    run = runs.Run("smoke", study, arm, images, 1)
    record, again = (runs.perform(run, "patches", PATCHES.fingerprint) for _ in range(2))
    for name in [fair.CLEAN, *record["right"]]:
        right = fair.is_right(record, name)
        assert len(right) == (len(PATCHES.x_test) if name == fair.CLEAN else 40)
        assert right.mean() == pytest.approx(record["scores"][name], abs=1e-6)
    assert list(record["right"]) == fair.CORRUPTED
    assert record["plan"] == fair.plan_digest(study)
    changing = ("seconds", "finished")
    assert {k: v for k, v in record.items() if k not in changing} == {
        k: v for k, v in again.items() if k not in changing
    }


def test_study_f_changes_the_pixels_of_both_splits_and_nothing_else():
    written = fair.reencoded(PATCHES, 75)
    for split in ("x_train", "x_test"):
        before, after = getattr(PATCHES, split), getattr(written, split)
        assert after.shape == before.shape and after.dtype == np.uint8
        assert 2 < np.abs(after.astype(int) - before).mean() < 10
    assert written.y_train is PATCHES.y_train and written.fingerprint != PATCHES.fingerprint
    arms = fair.STUDIES["F"].arms
    for name in ("none", "AHE"):
        exact, other = (arms[f"{name}, {pixels}"] for pixels in (fair.EXACT, fair.REENCODED))
        assert (exact, other) == (fair.ARMS[name], fair.ARMS[name]._replace(quality=75))


def test_study_f_refuses_another_file_than_its_own(tmp_path):
    with pytest.raises(ValueError, match=r"got 5,000 and 1,000 images, and study F .* --study D"):
        runs.run_all(runs.grid("paper", "F"), tmp_path, "patches")


def test_resnet20_has_its_layers_and_repeats_with_its_seed():
    model, again, other = (fair.resnet20(10, 100, seed) for seed in (0, 0, 1))
    convolutions = [layer for layer in model.layers if layer.__class__.__name__ == "Conv2D"]
    assert len([each for each in convolutions if each.kernel_size == (3, 3)]) == 19
    assert model.count_params() == 274_042
    weights = [each.get_weights() for each in (model, again, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*weights[:2], strict=True))
    assert not np.array_equal(weights[0][0], weights[2][0])


# ---- the plan before the runs


RECORDS = [r for r in runs.read_records() if r["run"]["study"] in fair.STUDIES]


def test_records_follow_the_plan_that_stands():
    for record in RECORDS or pytest.skip("there is no record yet"):
        run = record["run"]
        assert record["plan"] == fair.plan_digest(run["study"])
        assert run["condition"] in fair.STUDIES[run["study"]].arms
        known = runs.FIDELITY[record["data"]["fingerprint"][:12]]
        assert known.startswith("5,170" if run["study"] == "F" else "50,000")
        assert record["model"]["precision"] == "float32"


def git(*arguments):
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else pytest.skip("there is no history here")


def test_the_plan_was_committed_before_the_first_record(monkeypatch, tmp_path):
    """The words that the records carry, before the first of them began."""
    if not RECORDS or git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("there is no record yet, or no history, as in a download")
    planned = {}
    monkeypatch.setattr(fair, "PLAN", tmp_path / "plan.md")
    for line in git(
        "log", "--reverse", "--format=%H %ct", "--", "experiments/plan.md"
    ).splitlines():
        commit, seconds = line.split()
        fair.PLAN.write_text(git("show", f"{commit}:experiments/plan.md"), "utf-8")
        for study in fair.STUDIES:
            with contextlib.suppress(ValueError):  # a study that it did not have yet
                planned.setdefault(fair.plan_digest(study), int(seconds))
    for record in RECORDS:
        finished = datetime.fromisoformat(record["finished"]).timestamp()
        assert planned[record["plan"]] < finished - record["seconds"]
