"""What the records of the experiments say: comparisons over seeds, in numbers and in words."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import special, stats

from augment_utils import training
from augment_utils.corruptions import CORRUPTIONS, SEVERITIES
from experiments import runs
from experiments.runs import CLEAN, SAME

Label = TypeVar("Label")
OLD = ("A", "B", "C")  # studies; verdicts.py has the later ones
LEVEL = 0.05  # of every test; an interval has the rest
MARGIN = 1.0  # in points: what is no further from none is called equal
POWER = 0.8  # in which share of experiments an effect that "could have been seen" gets its star
VERDICTS = ("better", "worse", "equal", "not distinguishable")
WAYS = {  # what is done in training and testing: (probability, way of scoring)
    "training only": (1.0, "raw"),
    "both sides": (1.0, "transformed"),
    "random, p = 0.5": (0.5, "raw"),
}
SOUND = {  # contrast on the training images only is a known mistake
    "both sides": "on training and test images",
    "random, p = 0.5": "on a random half of the training images",
}


def published_records(
    folder: str | os.PathLike = runs.RUNS, studies: Sequence[str] = OLD
) -> list[dict]:
    """The records of some studies at the tier `paper`, checked to be of one data set."""
    records = [r for r in runs.read_records(folder) if r["run"]["tier"] == "paper"]
    if not records:
        raise FileNotFoundError(
            f"{folder}: there is no record of a run at tier paper; "
            "make them with python -m experiments run"
        )
    records = [record for record in records if record["run"]["study"] in studies]
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
    error: float  # standard error of the difference
    verdict: str  # one of VERDICTS
    seeds: int
    after_holm: bool = False  # whether the verdict stands with all rows of its family

    @property
    def star(self) -> str:
        return "*" * self.after_holm

    @property
    def clear(self) -> str:
        """Its star, if that is of a difference: beside a number, one of equality misleads."""
        return self.star * (self.verdict != "equal")


class Table(NamedTuple):
    """Every arm of a study, after training with so many images, on one kind of test images."""

    study: str
    corruption: str | None  # None: clean test images
    images: int
    rows: list[Comparison]

    def of(self, family: str) -> list[Comparison]:
        """The uses of contrast in a family (see :func:`family_of`), the lowest difference first."""
        rows = [row for row in self.rows if family_of(row.label) == family]
        return sorted(rows, key=lambda row: row.difference)


class Headline(NamedTuple):
    """The sound uses of contrast in one table, in short."""

    study: str
    corruption: str | None
    images: int
    uses: int
    starred: Counter[str]  # how many uses have which verdict, with Holm's star
    equal: int  # with a star or without
    highest: Comparison
    lowest: Comparison
    measured: float  # the smallest effects that get a star, see smallest_effects
    true: float

    @property
    def open(self) -> int:
        """How many uses are neither better nor worse with a star, nor equal."""
        return self.uses - self.starred["better"] - self.starred["worse"] - self.equal


class Answer(NamedTuple):
    """What a user may conclude: of sound uses, which are those on both sides and at random."""

    uses: int
    comparisons: int  # tables of clean test images
    seen: float  # the smallest true gain that every one of them could have seen
    clean: Comparison  # none, with ten classes, on clean test images
    equal: int  # uses that are equal to it
    costs: list[Comparison]  # of HE and AHE on both sides, clean test images; the least first
    none: Comparison  # on test images of low contrast
    gain: Comparison  # the best use there
    price: Comparison  # the same use on clean test images
    mistake: Comparison  # the worst use on the training images only, clean test images
    controls: dict[str, Comparison]  # flips and geometric: ten classes, clean test images
    both_clean: list[Comparison]  # all uses on both sides, the lowest first
    both_low: list[Comparison]
    random: list[Comparison]  # all at random, on clean test images and on those of low contrast


def family_of(label: str) -> str:
    """With which rows of its table Holm's correction takes one: "sound", "mistake" or "other"."""
    transform, _, way = label.partition(", ")
    if transform in training.TRANSFORMS:
        return "sound" if way in SOUND else "mistake"
    return "other"


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
        the difference leaves out 0; else "equal" where its 90 % interval lies within 1 point of
        0, which is what two one-sided tests (TOST) at a level of 5 % say. ``after_holm`` says
        whether the verdict survives Holm's correction for all such tests of its family.

    References
    ----------
    S. Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of
    Statistics 6:65-70, 1979.
    D. J. Schuirmann: A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and
    Biopharmaceutics 15:657-680, 1987.
    """
    rows: list[Comparison] = []
    p_values: dict[tuple[str, bool], dict[str, float]] = {}
    for label, own, base in _seed_by_seed(records, study, images, scores):
        (mean, half_width), (shift, reach) = _interval(own), _interval(own - base)
        error, seeds = _error(own - base), len(own)
        differs, equal = p_values_of(shift, error, seeds)
        verdict = "equal" if equal < LEVEL else "not distinguishable"
        if differs < LEVEL:
            verdict = "better" if shift > 0 else "worse"
        low, high = shift - reach, shift + reach
        rows.append(Comparison(label, mean, half_width, shift, low, high, error, verdict, seeds))
        if label != "none":
            p_values.setdefault((family_of(label), False), {})[label] = differs
            p_values.setdefault((family_of(label), True), {})[label] = equal
    stands = {test: holm(of_test) for test, of_test in p_values.items()}
    return [
        row._replace(
            after_holm=row.label in stands.get((family_of(row.label), row.verdict == "equal"), ())
        )
        for row in rows
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
    """How many sound uses have which verdict, the extremes, and what could have been seen."""
    found = []
    for table in made:
        if rows := table.of("sound"):
            starred = Counter(row.verdict for row in rows if row.after_holm)
            equal = sum(row.verdict == "equal" for row in rows)
            measured, true = smallest_effects(rows)
            found.append(
                Headline(
                    table.study, table.corruption, table.images, len(rows), starred, equal,
                    rows[-1], rows[0], measured, true,
                )
            )  # fmt: skip
    return found


def smallest_effects(rows: list[Comparison]) -> tuple[float, float]:
    """The smallest effects that get Holm's star, in points.

    Those of a row whose differences scatter over the seeds as the median row's do, at Holm's first
    and strictest step: the smallest that has to be measured; and the smallest that has to be true,
    so that a share :data:`POWER` of all such experiments give it a star (from the noncentral t
    distribution).
    """
    row = sorted(rows, key=lambda row: row.error)[len(rows) // 2]
    reached = quantile(row.seeds, LEVEL / len(rows))
    needed = special.nctdtrinc(row.seeds - 1, 1 - POWER, reached)
    return row.error * reached, row.error * needed


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
    sound = [row for table in clean for row in table.of("sound")]
    both_clean, both_low = ([r for r in t.of("sound") if "both" in r.label] for t in (ten, low))
    random = [row for table in (ten, low) for row in table.of("sound") if "random" in row.label]
    gain, rows = both_low[-1], {row.label: row for row in ten.rows}
    found = Answer(
        uses=len({row.label for row in sound}),
        comparisons=len(clean),
        seen=max(smallest_effects(table.of("sound"))[1] for table in clean),
        clean=rows["none"],
        equal=sum(row.verdict == "equal" for row in ten.of("sound")),
        costs=[row for row in reversed(both_clean) if row.label.startswith(("HE ", "AHE"))],
        none=next(row for row in low.rows if row.label == "none"),
        gain=gain,
        price=rows[gain.label],
        mistake=min((table.of("mistake")[0] for table in clean), key=lambda row: row.difference),
        controls={name: rows[name] for name in ("flips", "geometric")},
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
        and [(row.verdict, row.after_holm) for row in found.controls.values()]
        == [("better", True), ("worse", True)]
    ):
        raise ValueError(
            "the records do not say what the sentences in experiments/templates/answer.*.md say: "
            "write these anew, and what compare.answer takes for granted"
        )
    return found


def sentence(row: Comparison) -> str:
    """A comparison in words, with its interval."""
    interval = f"95 % interval {row.low:+.1f} to {row.high:+.1f} over {row.seeds} seeds"
    points = f"{row.difference:+.1f} points, {interval}"
    if row.verdict == "not distinguishable":
        return f"{row.label}: not distinguishable from none ({points})"
    if row.verdict == "equal":
        reach = quantile(row.seeds, 2 * LEVEL) * row.error
        narrow = f"90 % {row.difference - reach:+.1f} to {row.difference + reach:+.1f}"
        return f"{row.label}: equal to none within {MARGIN:.0f} point ({points}; {narrow})"
    held = "" if row.after_holm else "; it does not survive Holm's correction"
    return (
        f"{row.label}: {row.verdict} than none by {abs(row.difference):.1f} points "
        f"({interval}{held})"
    )


def corrupted(name: str) -> tuple[str, ...]:
    """The scores of a corruption at its five severities."""
    return tuple(f"{name} {severity}" for severity in SEVERITIES)


def prediction(records: list[dict], images: int) -> dict | None:
    """How well study C's distances, which need no training, foretell study B's accuracies.

    For each transform on both sides (and none), corruption and severity there is a distance (C,
    mean over seeds) and an accuracy (B, seed by seed).

    Parameters
    ----------
    records : list of dict
    images : int
        Size of study B's training set.

    Returns
    -------
    dict or None
        ``distance``, (transforms, corruptions x severities), and ``accuracy``, the same with a
        last axis for seeds, in percent; ``error`` and ``loss``, Spearman's rank correlations with
        100 less the accuracy, which a user wants low, and with what is lost of the accuracy on
        the clean images: ``overall`` of the distances, ``severity`` of the severity alone, its
        rival, and ``within`` of the distances of the transforms under one corruption and severity,
        averaged, over all and for each corruption: each as (mean, half width of the 95 % t
        interval) over B's seeds. None: too few records.
    """
    names = [name for corruption in CORRUPTIONS for name in corrupted(corruption)]
    conditions = runs.conditions_of("C")
    distances, accuracies = [], []
    for condition in conditions:
        way = "raw" if condition == "none" else "transformed"
        own = [r for r in records if r["run"]["condition"] == condition]
        moved = [[r["distances"][n] for n in names] for r in own if r["run"]["study"] == "C"]
        distances.append(np.mean(moved, axis=0) if moved else None)
        accuracies.append(
            {
                r["run"]["seed"]: [100 * r["scores"][name][way] for name in (SAME, *names)]
                for r in own
                if (r["run"]["study"], r["run"]["images"]) == ("B", images)
            }
        )
    seeds = sorted(set.intersection(*map(set, accuracies)))
    if len(seeds) < 2 or any(row is None for row in distances):
        return None
    distance = np.array(distances)
    accuracy = np.array([[of[seed] for seed in seeds] for of in accuracies]).transpose(0, 2, 1)
    clean, accuracy = accuracy[:, :1], accuracy[:, 1:]
    return {
        "conditions": conditions,
        "corruptions": names,
        "seeds": len(seeds),
        "distance": distance,
        "accuracy": accuracy,
        "error": _correlations(distance, 100 - accuracy),
        "loss": _correlations(distance, clean - accuracy),
    }


def predictions(records: list[dict]) -> dict[int, dict]:
    """{size of study B's training set: its :func:`prediction`}, of the sizes that have one."""
    sizes = sizes_with_results(records, "B")
    return {images: found for images in sizes if (found := prediction(records, images))}


def circumstances(records: list[dict]) -> str:
    """The images, the machines and the versions."""
    data = records[0]["data"]
    fidelity = runs.FIDELITY.get(data["fingerprint"][:12])
    kinds = {
        f"{r['machine']['processor']}, {r['machine']['threads']} thread(s) a run, "
        f"{r['machine']['system']}, Python {r['machine']['python']}"
        for r in records
    }
    versions = {", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in records}
    return (
        f"Images: {data['name']}, SHA-256 of its arrays {data['fingerprint'][:12]}…"
        f"{f' ({fidelity})' if fidelity else ''}. {len(records)} runs; "
        f"{'; '.join(sorted(kinds))}; {'; '.join(sorted(versions))}."
    )


def provenance(records: list[dict]) -> str:
    """Where the numbers come from."""
    seeds = [
        f"{len(found)} in study {study} with {images:,} images"
        for (study, images), found in sorted(_seeds(records).items())
    ]
    return (
        f"{circumstances(records)} Seeds: {', '.join(seeds)}. A "
        "seed draws the training images and a tenth of them for validation, the first weights and "
        "the order. Nothing was chosen by the test or the validation images: every run trains a "
        "fixed number of epochs. Accuracy is on the test images after the last one, ± the 95 % t "
        "interval over seeds. Differences are to none, paired by seed; * stands where a verdict "
        "survives Holm's correction for all sound uses of its table, which are those on both sides "
        "and at random; those on the training images only, and the other augmentations, are taken "
        f"among themselves. Equal is what two one-sided tests (Schuirmann 1987) put within "
        f"{MARGIN:.0f} point of none. The intervals hold for other seeds, not for other test "
        f"images, models or data. {repeated(records)}"
    ).rstrip()


def repeated(records: list[dict], folder: str | os.PathLike = runs.ELSEWHERE) -> str:
    """How far the runs that were done again on another kind of processor differ, in words."""
    of_run = {tuple(record["run"].values()): record for record in records}
    again = [r for r in runs.read_records(folder) if tuple(r["run"].values()) in of_run]
    if not again:
        return ""
    losses, points = [], []
    for other in again:
        own = of_run[tuple(other["run"].values())]
        first, second = (each["history"]["loss"][0] for each in (own, other))
        losses.append(abs(first - second))
        ways = own["scores"][CLEAN].items()
        points += [100 * abs(value - other["scores"][CLEAN][way]) for way, value in ways]
    kinds = sorted({record["machine"]["processor"] for record in again})
    sizes = sorted({"study {study} with {images:,} images".format_map(r["run"]) for r in again})
    return (
        f"A record repeats on its own kind of processor. On another ({', '.join(kinds)}), "
        f"{len(again)} runs ({', '.join(sizes)}) were done again: the loss of the first epoch "
        f"differed by at most {max(losses):.6f}, the accuracy by {np.mean(points):.1f} points on "
        f"average and at most {max(points):.1f}."
    )


def missing(records: list[dict], folder: str | os.PathLike) -> str:
    """Which runs of the tier have no record, in words; and which failed."""
    have = {tuple(record["run"].values()) for record in records}
    lacking = Counter(
        (run.study, run.images) for run in runs.grid("paper", OLD) if tuple(run) not in have
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


def _interval(values, level=LEVEL):
    """Mean, and half the width of its t interval, of 95 % or another."""
    return np.mean(values), quantile(len(values), level) * _error(values)


def _error(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))


def quantile(count: int, level: float) -> float:
    """Of Student's distribution, which a two-sided test of so many values has to reach."""
    return special.stdtrit(count - 1, 1 - level / 2)


def p_values_of(mean: float, error: float, count: int) -> tuple[float, float]:
    """Of the tests that the mean is 0 (t), and that it is beyond the margin (two one-sided t)."""
    with np.errstate(divide="ignore", invalid="ignore"):  # all the same: as sure as can be
        differs, equal = np.abs(mean) / error, (MARGIN - np.abs(mean)) / error
    return 2 * special.stdtr(count - 1, -differs), special.stdtr(count - 1, -equal)


def holm(p_values: Mapping[Label, float]) -> list[Label]:
    """Whose hypotheses Holm's procedure rejects; what is the same (p is NaN) is no hypothesis."""
    order = sorted((p, label) for label, p in p_values.items() if p == p)
    survivors = []
    for rank, (p, label) in enumerate(order):
        if p > LEVEL / (len(order) - rank):
            break
        survivors.append(label)
    return survivors


def _correlations(distance, target):
    """Rank correlations with a target of each seed, see :func:`prediction`."""
    severity = np.tile(SEVERITIES, len(CORRUPTIONS))
    everywhere = np.broadcast_to(severity, distance.shape)
    overall, alone, within = [], [], []
    for of_seed in np.moveaxis(target.round(6), -1, 0):  # what is the same must have the same rank
        overall.append(_rank_correlation(distance.ravel(), of_seed.ravel()))
        alone.append(_rank_correlation(everywhere.ravel(), of_seed.ravel()))
        columns = zip(distance.T, of_seed.T, strict=True)
        within.append([_rank_correlation(*column) for column in columns])
    parts = np.split(np.array(within), len(CORRUPTIONS), axis=1)
    return {
        "overall": _interval(overall),
        "severity": _interval(alone),
        "within": _interval(np.mean(within, axis=1)),
        "by_corruption": {
            name: _interval(part.mean(axis=1))
            for name, part in zip(CORRUPTIONS, parts, strict=True)
        },
    }


def _rank_correlation(some, others):
    return stats.spearmanr(some, others).statistic
