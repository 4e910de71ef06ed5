"""What the records of the experiments say: comparisons over seeds, in numbers and in words."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from augment_utils import training
from augment_utils.corruptions import CORRUPTIONS, SEVERITIES
from experiments import runs
from experiments.runs import CLEAN, SAME

CONFIDENCE = 0.95
VERDICTS = ("better", "worse", "not distinguishable")
WAYS = {  # what is done in training and testing: (probability, way of scoring)
    "training only": (1.0, "raw"),
    "both sides": (1.0, "transformed"),
    "random, p = 0.5": (0.5, "raw"),
}
SOUND = {  # contrast on the training images only is a mistake
    "both sides": "on training and test images",
    "random, p = 0.5": "on a random half of the training images",
}
# What is known of a data set's pixels, by the first digits of its fingerprint.
FIDELITY = {
    "5258b9d3514d": "50,000 and 10,000 images in CIFAR-10's order; exact pixels at 6,187 of them, "
    "the first 1,000 of both splits among these, and elsewhere a JPEG re-encoding of CIFAR-10 "
    "(median PSNR 30 dB), so other accuracies than on the official file are possible",
}


def published_records(folder: str | os.PathLike = runs.RUNS) -> list[dict]:
    """The records of the tier `paper`, checked to be of one data set."""
    records = [r for r in runs.read_records(folder) if r["run"]["tier"] == "paper"]
    if not records:
        raise FileNotFoundError(
            f"{folder}: there is no record of a run at tier paper; "
            "make them with python -m experiments run"
        )
    fingerprints = {record["data"]["fingerprint"][:12] for record in records}
    if len(fingerprints) > 1:
        raise ValueError(
            f"got records of {len(fingerprints)} data sets ({', '.join(sorted(fingerprints))}), "
            "expected one: keep those of the other in another folder (--folder)"
        )
    return records


class Arm(NamedTuple):
    """A row of the tables: a condition, and which of its scores counts."""

    label: str
    condition: str
    way: str


class Comparison(NamedTuple):
    """An arm's accuracy over seeds, and its difference to no contrast step, in percent points."""

    label: str
    mean: float
    half_width: float  # of the confidence interval of the mean
    difference: float
    low: float  # of the confidence interval of the paired difference
    high: float
    verdict: str  # one of VERDICTS
    seeds: int
    after_holm: bool = False  # whether the verdict stands when all rows are taken together


class Table(NamedTuple):
    """Every arm of a study, after training with so many images, on one kind of test images."""

    study: str
    corruption: str | None  # None: clean test images
    images: int
    rows: list[Comparison]


class Headline(NamedTuple):
    """All uses of contrast in one table, in short."""

    study: str
    corruption: str | None
    images: int
    verdicts: Counter[str]  # how many uses have which
    highest: Comparison
    lowest: Comparison


class Answer(NamedTuple):
    """What a user may conclude: of sound uses, which are those on both sides and at random."""

    uses: int
    comparisons: int  # tables of clean test images
    costs: list[Comparison]  # of HE and AHE on both sides, clean test images; the least first
    none: Comparison  # on test images of low contrast
    gain: Comparison  # the best use there
    price: Comparison  # the same use on clean test images
    mistake: Comparison  # the worst use on the training images only, clean test images
    both_clean: list[Comparison]  # all uses on both sides, the lowest first
    both_low: list[Comparison]
    random: list[Comparison]  # all at random, on clean test images and on those of low contrast


def arms(study: str) -> list[Arm]:
    """The rows of a study's tables."""
    names = runs.conditions_of(study)
    plain = [Arm(name, name, "raw") for name in names if not runs.CONDITIONS[name].transform]
    contrast = [
        Arm(f"{transform}, {label}", name, way)
        for transform in training.TRANSFORMS
        for label, (probability, way) in WAYS.items()
        for name in names
        if runs.CONDITIONS[name][:2] == (transform, probability)
    ]
    last = [arm for arm in plain if arm.label == training.TODAYS_ADADELTA]
    return [*(arm for arm in plain if arm not in last), *contrast, *last]


def compare(
    records: list[dict], study: str, images: int, scores: Sequence[str] = (CLEAN,)
) -> list[Comparison]:
    """Every arm against the condition "none", seed by seed.

    Parameters
    ----------
    records : list of dict
        As :func:`experiments.runs.read_records` gives them.
    study : {"A", "B"}
    images : int
        Which size of training set.
    scores : sequence of str
        Names of scores in the records; a run counts with their mean.

    Returns
    -------
    list of Comparison
        In the order of :func:`arms`, those without two seeds left out. Intervals are 95 %
        t intervals over seeds; a difference is that of two runs with the same seed, so with the
        same images and first weights. The verdict is "better" or "worse" where the interval of
        the difference leaves out 0; ``after_holm`` says whether it survives Holm's correction.

    References
    ----------
    S. Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of
    Statistics 6:65-70, 1979.
    """
    rows, p_values = [], []
    for label, own, base in _seed_by_seed(records, study, images, scores):
        mean, half_width = _interval(own)
        shift, reach = _interval(own - base)
        low, high = shift - reach, shift + reach
        verdict = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
        rows.append(Comparison(label, mean, half_width, shift, low, high, verdict, len(own)))
        p_values.append(_p_value(own - base))
    survivors = _holm(p_values)
    return [
        row._replace(after_holm=survives) for row, survives in zip(rows, survivors, strict=True)
    ]


def accuracy_by_seed(
    records: list[dict], study: str, images: int, scores: Sequence[str] = (CLEAN,)
) -> dict[tuple[str, str], dict[int, float]]:
    """{(condition, way of scoring): {seed: percent}}, the arguments as :func:`compare` has them."""
    accuracy: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        run = record["run"]
        if (run["study"], run["images"]) == (study, images):
            for way in record["scores"][scores[0]]:
                percent = 100 * np.mean([record["scores"][name][way] for name in scores])
                accuracy.setdefault((run["condition"], way), {})[run["seed"]] = percent
    return accuracy


def tables(records: list[dict]) -> list[Table]:
    """Studies A and B, clean test images before corrupted ones, most training images first."""
    kinds: list[tuple[str, str | None, tuple[str, ...]]] = [
        ("A", None, (CLEAN,)),
        ("B", None, (CLEAN,)),
        *(("B", name, corrupted(name)) for name in CORRUPTIONS),
    ]
    return [
        Table(study, corruption, images, compare(records, study, images, scores))
        for study, corruption, scores in kinds
        for images in sizes_with_results(records, study)
    ]


def headlines(made: list[Table]) -> list[Headline]:
    """How many uses of contrast are better or worse, and the extremes.

    Clean test images for every size; corrupted ones for the largest that has results.
    """
    largest = max((table.images for table in made if table.study == "B"), default=None)
    found = []
    for study, corruption, images, all_rows in made:
        rows = [row for row in all_rows if row.label.split(",")[0] in training.TRANSFORMS]
        if rows and (corruption is None or images == largest):
            verdicts = Counter(row.verdict for row in rows)
            extremes = (pick(rows, key=lambda row: row.difference) for pick in (max, min))
            found.append(Headline(study, corruption, images, verdicts, *extremes))
    return found


def answer(made: list[Table]) -> Answer | None:
    """The numbers of the answer, or None before both studies have run.

    Raises
    ------
    ValueError
        The records do not say what the sentences in templates/answer.*.md say.
    """
    clean = [table for table in made if table.corruption is None]
    ten = next((table for table in clean if table.study == "B"), None)
    low = next((table for table in made if table.corruption == "contrast"), None)
    if not (ten and low and any(table.study == "A" for table in clean)):
        return None
    sound = [row for table in clean for way in SOUND for row in _of_way(table, way)]
    both_clean, both_low = _of_way(ten, "both sides"), _of_way(low, "both sides")
    random = _of_way(ten, "random, p = 0.5") + _of_way(low, "random, p = 0.5")
    gain = max(both_low, key=lambda row: row.difference)
    found = Answer(
        uses=len({row.label for row in sound}),
        comparisons=len(clean),
        costs=[row for row in reversed(both_clean) if row.label.startswith(("HE ", "AHE"))],
        none=next(row for row in low.rows if row.label == "none"),
        gain=gain,
        price=next(row for row in both_clean if row.label == gain.label),
        mistake=min(
            (row for table in clean for row in _of_way(table, "training only")),
            key=lambda row: row.difference,
        ),
        both_clean=both_clean,
        both_low=both_low,
        random=sorted(random, key=lambda row: row.difference),
    )
    if not (
        all(row.verdict != "better" for row in sound)
        and all(row.verdict == "worse" and row.after_holm for row in found.costs)
        and all(row.difference < gain.difference for row in random)
        and (gain.verdict, gain.after_holm) == ("better", True)
        and (found.price.verdict, found.price.after_holm) == ("worse", False)
    ):
        raise ValueError(
            "the records do not say what the sentences in experiments/templates/answer.*.md say: "
            "write these anew, and what compare.answer takes for granted"
        )
    return found


def _of_way(table, way):
    """The uses of contrast in one way, the lowest difference first."""
    rows = [row for row in table.rows if row.label in {f"{t}, {way}" for t in training.TRANSFORMS}]
    return sorted(rows, key=lambda row: row.difference)


def sentence(row: Comparison) -> str:
    """A comparison in words, with its interval, for notebooks 08 and 09."""
    interval = f"95 % interval {row.low:+.1f} to {row.high:+.1f} over {row.seeds} seeds"
    if row.verdict == "not distinguishable":
        return (
            f"{row.label}: not distinguishable from none ({row.difference:+.1f} points, {interval})"
        )
    held = "" if row.after_holm else "; it does not survive Holm's correction"
    return (
        f"{row.label}: {row.verdict} than none by {abs(row.difference):.1f} points "
        f"({interval}{held})"
    )


def corrupted(name: str) -> tuple[str, ...]:
    """The scores of a corruption at its five severities."""
    return tuple(f"{name} {severity}" for severity in SEVERITIES)


def prediction(records: list[dict], images: int) -> dict | None:
    """How well study C's distances, which need no training, foretell study B's losses.

    For each transform on both sides (and none), corruption and severity there is a distance (C,
    mean over seeds) and a loss of accuracy against the clean images (B, seed by seed).

    Parameters
    ----------
    records : list of dict
    images : int
        Size of study B's training set.

    Returns
    -------
    dict or None
        ``distance``, (transforms, corruptions x severities), and ``loss``, the same with a last
        axis for seeds, in points; ``overall``, Spearman's rank correlation of all of them, and
        ``within``, that of the transforms under one corruption and severity, averaged: each as
        (mean, half width of the 95 % t interval) over B's seeds. None: too few records.
    """
    names = [name for corruption in CORRUPTIONS for name in corrupted(corruption)]
    conditions = runs.conditions_of("C")
    distances, losses = [], []
    for condition in conditions:
        way = "raw" if condition == "none" else "transformed"
        own = [r for r in records if r["run"]["condition"] == condition]
        moved = [[r["distances"][n] for n in names] for r in own if r["run"]["study"] == "C"]
        scores = {
            r["run"]["seed"]: [
                100 * (r["scores"][SAME][way] - r["scores"][name][way]) for name in names
            ]
            for r in own
            if (r["run"]["study"], r["run"]["images"]) == ("B", images)
        }
        distances.append(np.mean(moved, axis=0) if moved else None)
        losses.append(scores)
    seeds = sorted(set.intersection(*map(set, losses)))
    if len(seeds) < 2 or any(row is None for row in distances):
        return None
    distance = np.array(distances)
    loss = np.array([[scores[seed] for seed in seeds] for scores in losses]).transpose(0, 2, 1)
    overall, within = [], []
    for i in range(len(seeds)):
        overall.append(_rank_correlation(distance.ravel(), loss[..., i].ravel()))
        columns = zip(distance.T, loss[..., i].T, strict=True)
        within.append(np.mean([_rank_correlation(*column) for column in columns]))
    return {
        "conditions": conditions,
        "corruptions": names,
        "seeds": len(seeds),
        "distance": distance,
        "loss": loss,
        "overall": _interval(overall),
        "within": _interval(within),
    }


def predictions(records: list[dict]) -> dict[int, dict]:
    """{size of study B's training set: its :func:`prediction`}, of the sizes that have one."""
    sizes = sizes_with_results(records, "B")
    return {images: found for images in sizes if (found := prediction(records, images))}


def provenance(records: list[dict]) -> str:
    """Where the numbers come from."""
    data = records[0]["data"]
    fidelity = FIDELITY.get(data["fingerprint"][:12])
    kinds = {
        f"{r['machine']['processor']}, {r['machine']['threads']} thread(s) a run, "
        f"{r['machine']['system']}, Python {r['machine']['python']}"
        for r in records
    }
    versions = {", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in records}
    seeds = [
        f"{len(found)} in study {study} with {images:,} images"
        for (study, images), found in sorted(_seeds(records).items())
    ]
    return (
        f"Images: {data['name']}, SHA-256 of its arrays {data['fingerprint'][:12]}…"
        f"{f' ({fidelity})' if fidelity else ''}. {len(records)} runs; "
        f"{'; '.join(sorted(kinds))}; {'; '.join(sorted(versions))}. Seeds: {', '.join(seeds)}. A "
        "seed draws the training images and a tenth of them for validation, the first weights and "
        "the order. Nothing was chosen by the test or the validation images: every run trains a "
        "fixed number of epochs. Accuracy is on the test images after the last one, ± the 95 % t "
        "interval over seeds. Differences are to none, paired by seed; * stands where a verdict "
        "survives Holm's correction for all rows of its column. The intervals hold for other "
        "seeds, not for other test images, models or data."
    )


def missing(records: list[dict], folder: str | os.PathLike) -> str:
    """Which runs of the tier have no record, in words; and which failed."""
    have = {tuple(record["run"].values()) for record in records}
    lacking = Counter(
        (run.study, run.images) for run in runs.grid("paper") if tuple(run) not in have
    )
    failed = len(list(Path(folder).glob("*.failed.json")))
    if not lacking and not failed:
        return "No run is missing, and none failed."
    parts = [
        f"{count} of study {study} with {images:,} images"
        for (study, images), count in sorted(lacking.items())
    ]
    return f"Runs still missing: {', '.join(parts) or 'none'}. Failed at their last try: {failed}."


def sizes_with_results(records: list[dict], study: str) -> list[int]:
    """The sizes for which at least two arms can be compared, the largest first."""
    sizes = sorted(training.TIERS["paper"][study]["sizes"], reverse=True)
    return [images for images in sizes if len(_seed_by_seed(records, study, images, (CLEAN,))) > 1]


def _seed_by_seed(records, study, images, scores):
    """(label, percents, those of "none") of each arm, for the seeds that both have: two or more."""
    accuracy = accuracy_by_seed(records, study, images, scores)
    base = accuracy.get(("none", "raw"), {})
    pairs = []
    for label, condition, way in arms(study):
        own = accuracy.get((condition, way), {})
        seeds = sorted(own.keys() & base.keys())
        if len(seeds) > 1:
            pairs.append((label, *(np.array([of[seed] for seed in seeds]) for of in (own, base))))
    return pairs


def _seeds(records):
    """{(study, images): the seeds of its records}."""
    seeds: dict[tuple[str, int], set[int]] = {}
    for run in (record["run"] for record in records):
        seeds.setdefault((run["study"], run["images"]), set()).add(run["seed"])
    return seeds


def _interval(values):
    """Mean, and half the width of its 95 % t interval."""
    quantile = special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)
    return np.mean(values), quantile * np.std(values, ddof=1) / np.sqrt(len(values))


def _p_value(differences):
    """Of the two-sided t test that they are 0 in the mean; scipy.stats' takes 100 times as long."""
    if not np.any(differences):
        return 1.0
    error = np.std(differences, ddof=1) / np.sqrt(len(differences))
    with np.errstate(divide="ignore"):  # all the same: as sure as can be
        return 2 * special.stdtr(len(differences) - 1, -np.abs(np.mean(differences) / error))


def _holm(p_values):
    """Which hypotheses Holm's procedure rejects; those that compare the same are no hypothesis."""
    order = np.argsort(p_values)
    survivors, tests = [False] * len(p_values), sum(p < 1 for p in p_values)
    for rank, i in enumerate(order):
        if p_values[i] > (1 - CONFIDENCE) / max(tests - rank, 1):
            break
        survivors[i] = True
    return survivors


def _rank_correlation(some, others):
    return stats.spearmanr(some, others).statistic
