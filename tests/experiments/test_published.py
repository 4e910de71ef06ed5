"""The table that notebooks read: it is that of the records, and is read as `compare` has them."""

import copy

import numpy as np
import pytest

from augment_utils import training
from augment_utils.corruptions import CORRUPTIONS
from experiments import compare, fair
from experiments.published import published_table
from tools import ROOT
from tools.notebooks import NOTEBOOKS

TABLE = ROOT / "results" / "published.csv"
RECORDS = compare.published_records()
LATER = [r for study in fair.STUDIES for r in compare.published_records(studies=study)]
MEASURES = {  # study: {measure: its scores in the records}
    "A": {"clean": ("clean",)},
    "B": {"clean": ("clean",), "fog 3": ("fog 3",), compare.SAME: (compare.SAME,)}
    | {name: compare.corrupted(name) for name in CORRUPTIONS},
}


@pytest.fixture
def published(monkeypatch):
    """As a notebook gets it."""
    monkeypatch.chdir(NOTEBOOKS)
    return training.published_runs()[1]


def test_the_committed_table_is_that_of_the_records():
    assert TABLE.read_bytes() == published_table(RECORDS, LATER).encode()
    assert TABLE.stat().st_size < 200_000


@pytest.mark.parametrize("study", MEASURES)
def test_accuracies_verdicts_and_words_are_those_of_the_comparisons(published, study):
    for images in training.TIERS["paper"][study]["sizes"]:
        for measure, scores in MEASURES[study].items():
            uses = published[study, images, measure]
            accuracy = compare.accuracy_by_seed(RECORDS, study, images, scores)
            assert list(uses) == [arm.label for arm in compare.arms(study)]
            for arm in compare.arms(study):
                own = accuracy[arm.condition, arm.way]
                assert (100 * uses[arm.label].numbers).tolist() == [own[s] for s in sorted(own)]
            for row in compare.compare(RECORDS, study, images, scores):
                said = (row.verdict + row.star, compare.sentence(row))
                compared = measure in ("clean", *CORRUPTIONS) and row.label != "none"
                assert uses[row.label][:2] == (said if compared else ("", ""))


def test_distances_and_accuracies_are_those_of_the_prediction(published):
    for images, found in compare.predictions(RECORDS).items():
        for distance, accuracy, name in zip(
            found["distance"].T,
            found["accuracy"].transpose(1, 0, 2),
            found["corruptions"],
            strict=True,
        ):
            uses = published["C", 2_000, name]
            assert [use.numbers.mean() for use in uses.values()] == pytest.approx(distance)
            for label, percents in zip(uses, accuracy, strict=True):
                assert 100 * published["B", images, name][label].numbers == pytest.approx(percents)


def test_curves_are_those_of_the_records(published):
    for run in RECORDS:
        place, history = run["run"], run.get("history")
        if (place["study"], place["condition"]) == ("A", "CLAHE"):
            key, use = ("A", place["images"]), "CLAHE, training only"
            read = {
                m: uses[use].numbers[place["seed"]]
                for (*k, m), uses in published.items()
                if (*k,) == key
            }
            assert read["training"] == history["accuracy"][-1]
            assert [read[f"validation {e}"] for e in range(1, 11)] == history["validation"]


def test_a_changed_record_changes_the_table():
    changed = copy.deepcopy(RECORDS)
    next(r for r in changed if r["run"]["study"] == "C")["distances"]["fog 3"] += 0.1
    pairs = zip(*(published_table(r).splitlines() for r in (RECORDS, changed)), strict=True)
    assert sum(a != b for a, b in pairs) == 1


def test_a_seed_that_one_condition_lacks_is_left_out_for_all(tmp_path, monkeypatch):
    lacking = [r for r in RECORDS if tuple(r["run"].values())[1:] != ("B", "flips", 10_000, 2)]
    assert len(lacking) == len(RECORDS) - 1
    (tmp_path / "published.csv").write_text(published_table(lacking), "utf-8")
    monkeypatch.chdir(tmp_path)
    _, published = training.published_runs()
    whole = np.array(
        [
            r["scores"]["clean"]["raw"]
            for r in RECORDS
            if tuple(r["run"].values())[1:4] == ("B", "none", 10_000)
        ]
    )
    assert published["B", 10_000, "clean"]["none"].numbers.tolist() == np.delete(whole, 2).tolist()
    assert published["B", 10_000, "clean"]["flips"].numbers.size == 4
    assert published["B", 1_000, "clean"]["flips"].numbers.size == 5
