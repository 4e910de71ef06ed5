"""The tables, figures and sentences of the experiments, all from the records of their runs."""

import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from augment_utils import experiments, training
from augment_utils.cli import replace_file
from augment_utils.corruptions import CORRUPTIONS, SEVERITIES
from augment_utils.pages import figure_png, markdown_table, put_between_marks
from augment_utils.plotting import BLUE, GREEN, INK, ORANGE, RED

COMMAND = "make results"
CONFIDENCE = 0.95
CLEAN, SAME = "clean", "clean, the same images"
VERDICTS = {"better": BLUE, "worse": RED, "not distinguishable": "#6B7780"}
WAYS = {  # what is done in training and testing: (probability, way of scoring)
    "training only": (1.0, "raw"),
    "both sides": (1.0, "transformed"),
    "random, p = 0.5": (0.5, "raw"),
}
# What is known of a data set's pixels, by the first digits of its fingerprint.
FIDELITY = {
    "5258b9d3514d": "50,000 and 10,000 images in CIFAR-10's order; exact pixels at 6,187 of them, "
    "the first 1,000 of both splits among these, and elsewhere a JPEG re-encoding of CIFAR-10 "
    "(median PSNR 30 dB), so other accuracies than on the official file are possible",
}


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
    verdict: str  # a key of VERDICTS
    seeds: int
    after_holm: bool = False  # whether the verdict stands when all rows are taken together


def arms(study):
    """The rows of a study's tables."""
    names = experiments.conditions_of(study)
    plain = [Arm(name, name, "raw") for name in names if not training.CONDITIONS[name].transform]
    contrast = [
        Arm(f"{transform}, {label}", name, way)
        for transform in training.TRANSFORMS
        for label, (probability, way) in WAYS.items()
        for name in names
        if training.CONDITIONS[name][:2] == (transform, probability)
    ]
    last = [arm for arm in plain if arm.label == training.TODAYS_ADADELTA]
    return [*(arm for arm in plain if arm not in last), *contrast, *last]


def compare(records, study, images, scores=(CLEAN,), baseline="none"):
    """Every arm against the baseline, seed by seed.

    Parameters
    ----------
    records : list of dict
        As :func:`augment_utils.experiments.read_records` gives them.
    study : {"A", "B"}
    images : int
        Which size of training set.
    scores : sequence of str
        Names of scores in the records; a run counts with their mean.
    baseline : str
        The condition, scored on raw images, that the others are compared with.

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
    accuracy = _accuracy_by_seed(records, study, images, scores)
    base = accuracy.get((baseline, "raw"), {})
    rows, p_values = [], []
    for label, condition, way in arms(study):
        own = accuracy.get((condition, way), {})
        seeds = sorted(own.keys() & base.keys())
        if len(seeds) < 2:
            continue
        mean, half_width = _interval([own[seed] for seed in seeds])
        differences = [own[seed] - base[seed] for seed in seeds]
        shift, reach = _interval(differences)
        low, high = shift - reach, shift + reach
        verdict = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
        rows.append(Comparison(label, mean, half_width, shift, low, high, verdict, len(seeds)))
        p_values.append(stats.ttest_1samp(differences, 0).pvalue if any(differences) else 1.0)
    survivors = _holm(p_values)
    return [
        row._replace(after_holm=survives) for row, survives in zip(rows, survivors, strict=True)
    ]


def sentence(row):
    """A comparison in words, with its interval."""
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


def corrupted(name):
    """The scores of a corruption at its five severities."""
    return tuple(f"{name} {severity}" for severity in SEVERITIES)


def prediction(records, images):
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
    conditions = experiments.conditions_of("C")
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


def _accuracy_by_seed(records, study, images, scores):
    """{(condition, way): {seed: percent}}."""
    accuracy = {}
    for record in records:
        run = record["run"]
        if (run["study"], run["images"]) == (study, images):
            for way in record["scores"][scores[0]]:
                percent = 100 * np.mean([record["scores"][name][way] for name in scores])
                accuracy.setdefault((run["condition"], way), {})[run["seed"]] = percent
    return accuracy


def _interval(values):
    """Mean, and half the width of its 95 % t interval."""
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return np.mean(values), quantile * np.std(values, ddof=1) / np.sqrt(len(values))


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


# ---- the page: README and results/report.md


def report(folder, readme, page, images):
    """Put the short tables into the README, all of them into a page, and draw the figures.

    Parameters
    ----------
    folder, readme, page, images : pathlib.Path
        The records to read; the README, which has the two marks that the short tables go
        between; the page to write, results/report.md; the folder for the figures.

    Returns
    -------
    str
        What is missing, or that nothing is.

    Raises
    ------
    FileNotFoundError
        There are no records, or no README.
    ValueError
        A file that is no record, records of several data sets, or no marks in the README.
    """
    records = published(folder)
    state = missing(records, folder)
    text = put_between_marks(readme.read_text("utf-8"), short_page(records, state), COMMAND)
    pictures = {figure.name: figure_png(figure.draw(records)) for figure in FIGURES}
    for name, png in pictures.items():
        replace_file(images / f"{name}.png", png)
    replace_file(page, full_page(records, state).encode())
    replace_file(readme, text.encode())
    return state


def published(folder=experiments.RUNS):
    """The records of the tier `paper`, checked to be of one data set."""
    records = [r for r in experiments.read_records(folder) if r["run"]["tier"] == "paper"]
    if not records:
        raise FileNotFoundError(
            f"{folder}: there is no record of a run at tier paper; "
            "make them with python -m augment_utils experiments run"
        )
    fingerprints = {record["data"]["fingerprint"][:12] for record in records}
    if len(fingerprints) > 1:
        raise ValueError(
            f"got records of {len(fingerprints)} data sets ({', '.join(sorted(fingerprints))}), "
            "expected one: keep those of the other in another folder (--folder)"
        )
    return records


def missing(records, folder):
    """Which runs of the tier have no record, in words; and which failed."""
    have = {tuple(record["run"].values()) for record in records}
    lacking = Counter(
        (run.study, run.images) for run in experiments.grid("paper") if tuple(run) not in have
    )
    failed = len(list(Path(folder).glob("*.failed.json")))
    if not lacking and not failed:
        return "No run is missing, and none failed."
    parts = [
        f"{count} of study {study} with {images:,} images"
        for (study, images), count in sorted(lacking.items())
    ]
    return f"Runs still missing: {', '.join(parts) or 'none'}. Failed at their last try: {failed}."


def short_page(records, state):
    """What the README shows: the headlines, a figure and a table for each of studies A and B."""
    largest = {study: max(training.TIERS["paper"][study]["sizes"]) for study in "AB"}
    return _paragraphs(
        provenance(records),
        *headlines(records),
        _picture(records, STUDY_A),
        comparison_table(records, "A"),
        _picture(records, STUDY_B),
        comparison_table(records, "B"),
        f"Study B under corruption, {largest['B']:,} images: difference to none in points, mean "
        "of five severities.",
        corruption_table(records, largest["B"]),
        prediction_sentence(records),
        f"{state} All sentences, tables and figures: [results/report.md](results/report.md).",
    )


def full_page(records, state):
    """results/report.md."""
    parts = ["# Does contrast equalization help a CNN?", f"Made by `{COMMAND}`. {state}"]
    parts += [provenance(records), *headlines(records)]
    for study, about in ABOUT.items():
        parts += [f"## Study {study}: {about}"]
        if study == "C":
            parts += [distance_table(records), prediction_sentence(records)]
            parts += [_picture(records, STUDY_C, "../images")]
            continue
        figure = STUDY_A if study == "A" else STUDY_B
        parts += [_picture(records, figure, "../images"), comparison_table(records, study)]
        for images in _sizes_with_results(records, study):
            parts += [f"### In words, {images:,} images", _sentences(records, study, images)]
        if study == "B":
            for images in _sizes_with_results(records, study):
                parts += [f"### Under corruption, {images:,} images", DIFFERENCE_NOTE]
                parts += [corruption_table(records, images)]
                for name in CORRUPTIONS:
                    parts += [
                        f"#### {name.capitalize()}, {images:,} images",
                        _sentences(records, study, images, corrupted(name)),
                    ]
            parts += [_picture(records, SEVERITY, "../images")]
    return _paragraphs(*parts) + "\n"


ABOUT = {
    "A": "the post's experiment, repaired",
    "B": "ten classes, a small modern CNN, clean and corrupted images",
    "C": "how far a corrupted image ends from the clean one, without training",
}
DIFFERENCE_NOTE = "Difference to none in points, mean of five severities, 95 % interval."


def provenance(records):
    """Where the numbers come from."""
    data = records[0]["data"]
    fidelity = FIDELITY.get(data["fingerprint"][:12])
    kinds = {
        f"{r['machine']['processor']}, {r['machine']['threads']} thread(s) a run, "
        f"{r['machine']['system']}, Python {r['machine']['python']}"
        for r in records
    }
    versions = {", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in records}
    seeds = {study: training.TIERS["paper"][study]["seeds"] for study in "AB"}
    return (
        f"Images: {data['name']}, SHA-256 of its arrays {data['fingerprint'][:12]}…"
        f"{f' ({fidelity})' if fidelity else ''}. {len(records)} runs; "
        f"{'; '.join(sorted(kinds))}; {'; '.join(sorted(versions))}. {seeds['A']} seeds in study "
        f"A, {seeds['B']} in study B; a seed draws the training images and a tenth of them for "
        "validation, the first weights and the order. Nothing was chosen by the test images, or by "
        "the validation images: every run trains a fixed number of epochs. Accuracy is on the test "
        "images after the last one, ± the 95 % t interval over seeds. Differences are to none, "
        "paired by seed; * stands where a verdict survives Holm's correction for all rows of its "
        "column. The intervals hold for other seeds, not for other test images, models or data."
    )


def headlines(records):
    """A paragraph for each study and size: how many arms are better or worse, and the extremes."""
    paragraphs = []
    for study in "AB":
        for images in _sizes_with_results(records, study):
            rows = [r for r in compare(records, study, images) if _is_contrast(r.label)]
            if not rows:
                continue
            counts = Counter(row.verdict for row in rows)
            best, worst = (pick(rows, key=lambda r: r.difference) for pick in (max, min))
            paragraphs.append(
                f"**Study {study}, {images:,} images**: of {len(rows)} uses of contrast, "
                + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
                + f". Highest: {sentence(best)}. Lowest: {sentence(worst)}."
            )
    return paragraphs


def comparison_table(records, study):
    """Accuracy, difference and verdict of every arm, for each size of training set."""
    sizes = _sizes_with_results(records, study)
    by_size = [{row.label: row for row in compare(records, study, images)} for images in sizes]
    header = [f"Study {study}"]
    for images in sizes:
        header += [f"{images:,} images: accuracy, %", "difference, points", "verdict", "seeds"]
    lines = []
    for arm in arms(study):
        if any(arm.label in rows for rows in by_size):
            lines.append([arm.label])
            for rows in by_size:
                lines[-1] += _cells(rows.get(arm.label))
    return markdown_table(header, lines)


def corruption_table(records, images):
    """Differences of every arm under each corruption, and their verdicts."""
    columns = {
        name: {row.label: row for row in compare(records, "B", images, corrupted(name))}
        for name in CORRUPTIONS
    }
    lines = [
        [arm.label, *(_difference_and_verdict(rows.get(arm.label)) for rows in columns.values())]
        for arm in arms("B")
        if all(arm.label in rows for rows in columns.values())
    ]
    for line, accuracy in zip(lines[:1], [columns], strict=False):
        line[1:] = [f"accuracy {rows['none'].mean:.1f} %" for rows in accuracy.values()]
    return markdown_table([f"{images:,} images", *CORRUPTIONS], lines)


def distance_table(records):
    """Study C: mean over severities and seeds."""
    own = [record for record in records if record["run"]["study"] == "C"]
    lines = []
    for condition in experiments.conditions_of("C"):
        runs = [record["distances"] for record in own if record["run"]["condition"] == condition]
        if runs:
            means = [
                np.mean([[run[name] for name in corrupted(corruption)] for run in runs])
                for corruption in CORRUPTIONS
            ]
            lines.append([condition, *(f"{mean:.2f}" for mean in means)])
    return (
        "Distance between a transformed corrupted image and the transformed clean one, in units of "
        "the distance between two transformed clean images; mean of five severities.\n\n"
        + markdown_table(["", *CORRUPTIONS], lines)
    )


def prediction_sentence(records):
    """How well study C foretells study B, in words."""
    sentences = []
    for images in _sizes_with_results(records, "B"):
        found = prediction(records, images)
        if found:
            (overall, reach), (within, reach_within) = found["overall"], found["within"]
            sentences.append(
                f"with {images:,} images, the rank correlation of distance and loss of accuracy is "
                f"{overall:.2f} ± {reach:.2f} over all corruptions and severities, and "
                f"{within:.2f} ± {reach_within:.2f} among the transforms under one of them "
                f"({found['seeds']} seeds)"
            )
    if not sentences:
        return "How well study C foretells study B is not known before both have run."
    return f"**Study C foretells study B**: {'; '.join(sentences)}."


def _sentences(records, study, images, scores=(CLEAN,)):
    rows = [row for row in compare(records, study, images, scores) if row.label != "none"]
    return "\n".join(f"- {sentence(row)}" for row in rows)


def _is_contrast(label):
    return label.split(",")[0] in training.TRANSFORMS


def _sizes_with_results(records, study):
    """The sizes for which at least two arms can be compared, the largest first."""
    sizes = sorted(training.TIERS["paper"][study]["sizes"], reverse=True)
    return [images for images in sizes if len(compare(records, study, images)) > 1]


def _cells(row):
    if row is None:
        return ["", "", "", ""]
    accuracy = f"{row.mean:.1f} ± {row.half_width:.1f}"
    if row.label == "none":
        return [accuracy, "", "", str(row.seeds)]
    star = "*" if row.after_holm else ""
    return [accuracy, _difference(row), f"{row.verdict}{star}", str(row.seeds)]


def _difference(row):
    return f"{row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}]"


def _difference_and_verdict(row):
    words = {"better": "better", "worse": "worse", "not distinguishable": "="}
    return f"{_difference(row)} {words[row.verdict]}{'*' if row.after_holm else ''}"


def _picture(records, figure, folder="images"):
    return f"![{figure.alt(records)}]({folder}/{figure.name}.png)"


def _paragraphs(*parts):
    return "\n\n".join(
        part if part[0] in "!|#-" or "\n" in part
        else textwrap.fill(part, 100, break_on_hyphens=False, break_long_words=False)
        for part in parts
        if part
    )  # fmt: skip


# ---- the figures


class ReportFigure(NamedTuple):
    name: str
    draw: Callable
    alt: Callable


def draw_study_a(records):
    sizes = _sizes_with_results(records, "A")
    return _forest("A", {f"{images:,} images": compare(records, "A", images) for images in sizes})


def draw_study_b(records):
    panels = {}
    for images in _sizes_with_results(records, "B"):
        panels[f"clean, {images:,} images"] = compare(records, "B", images)
    largest = _sizes_with_results(records, "B")[:1]
    for images in largest:
        for name in CORRUPTIONS:
            panels[f"{name}, {images:,}"] = compare(records, "B", images, corrupted(name))
    return _forest("B", panels)


def _forest(study, panels):
    """Differences with their intervals: a row for each arm, a panel for each comparison."""
    labels = [
        arm.label for arm in arms(study) if arm.label not in ("none", training.TODAYS_ADADELTA)
    ]
    fig = Figure(
        figsize=(max(7, 2.2 + 1.7 * len(panels)), 0.27 * len(labels) + 1.4), layout="constrained"
    )
    axes = fig.subplots(1, max(len(panels), 1), sharey=True, squeeze=False)[0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=False):
        axis.axvline(0, color=INK, linewidth=0.8)
        for row in rows:
            if row.label in labels:
                marker = {"better": ">", "worse": "<", "not distinguishable": "o"}[row.verdict]
                axis.errorbar(
                    row.difference, labels.index(row.label),
                    xerr=[[row.difference - row.low], [row.high - row.difference]],
                    fmt=marker, color=VERDICTS[row.verdict], markersize=5, capsize=2,
                )  # fmt: skip
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    for place in range(len(labels)):
        if place % 2 == 0:
            for axis in axes:
                axis.axhspan(place - 0.5, place + 0.5, color="#F2F4F5", zorder=0)
    axes[0].set_yticks(range(len(labels)), labels, fontsize=9)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    fig.supxlabel("difference to none in percentage points, with its 95 % interval", fontsize=10)
    return fig


def draw_severity(records):
    """Accuracy against severity, both sides, with bands."""
    size = (_sizes_with_results(records, "B") or [max(training.TIERS["paper"]["B"]["sizes"])])[0]
    fig = Figure(figsize=(9, 3.2), layout="constrained")
    axes = fig.subplots(1, len(CORRUPTIONS), sharey=True)
    shown = {
        "none": ("none", INK, "-"),
        "stretching, both sides": ("stretching", BLUE, "--"),
        "HE channel, both sides": ("HE channel", ORANGE, "-."),
        "CLAHE, both sides": ("CLAHE", GREEN, ":"),
        "HE channel, random, p = 0.5": ("HE channel, random", RED, (0, (5, 1))),
    }
    for axis, name in zip(axes, CORRUPTIONS, strict=True):
        curves = {label: [] for label in shown}
        for scores in [(SAME,), *((score,) for score in corrupted(name))]:
            rows = {row.label: row for row in compare(records, "B", size, scores)}
            for label, curve in curves.items():
                curve.append(rows.get(label))
        for label, curve in curves.items():
            if all(curve):
                text, colour, style = shown[label]
                means = np.array([row.mean for row in curve])
                halves = np.array([row.half_width for row in curve])
                axis.plot(range(6), means, color=colour, linestyle=style, label=text)
                axis.fill_between(range(6), means - halves, means + halves, color=colour, alpha=0.2)
        axis.set_title(name, fontsize=10)
        axis.set_xticks(range(6))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy in %")
    fig.supxlabel("severity (0: clean)", fontsize=10)
    fig.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=9
    )
    return fig


def draw_study_c(records):
    """Loss of accuracy against distance, a point for each transform, corruption and severity."""
    fig = Figure(figsize=(7, 4), layout="constrained")
    axis = fig.subplots()
    sizes = _sizes_with_results(records, "B")
    found = prediction(records, sizes[0]) if sizes else None
    if found:
        looks = zip(CORRUPTIONS, (BLUE, ORANGE, GREEN, RED), "osD^", strict=True)
        for i, (name, colour, marker) in enumerate(looks):
            part = slice(5 * i, 5 * i + 5)
            axis.scatter(
                found["distance"][:, part], found["loss"][:, part].mean(axis=-1),
                color=colour, marker=marker, s=22, label=name, alpha=0.8,
            )  # fmt: skip
        axis.legend(fontsize=9)
    axis.set_xlabel("distance of the corrupted image from the clean one, both transformed")
    axis.set_ylabel("loss of accuracy in points")
    axis.grid(alpha=0.3)
    return fig


def _alt_of_differences(study):
    def alt(records):
        words = []
        for images in _sizes_with_results(records, study):
            rows = [row for row in compare(records, study, images) if row.label != "none"]
            named = [
                f"{verdict}: {', '.join(r.label for r in rows if r.verdict == verdict) or 'none'}"
                for verdict in ("better", "worse")
            ]
            words.append(f"with {images:,} images, clean, {'; '.join(named)}")
        return (
            f"Study {study}, difference to no contrast step with its 95 % interval, a row for each "
            f"use: {'. '.join(words)}; the others are not distinguishable."
        )

    return alt


def _alt_of_severity(records):
    return (
        "Accuracy against severity for contrast, brightness, fog and gamma, a line with a band for "
        "each of none, stretching, per-channel HE and CLAHE on both sides, and random HE."
    )


def _alt_of_prediction(records):
    found = prediction_sentence(records).replace("**", "")
    return (
        "Loss of accuracy against distance, a point for each transform, corruption and severity: "
        f"the larger the distance, the larger the loss. {found}"
    )


STUDY_A = ReportFigure("study_a", draw_study_a, _alt_of_differences("A"))
STUDY_B = ReportFigure("study_b", draw_study_b, _alt_of_differences("B"))
SEVERITY = ReportFigure("study_b_severity", draw_severity, _alt_of_severity)
STUDY_C = ReportFigure("study_c", draw_study_c, _alt_of_prediction)
FIGURES = (STUDY_A, STUDY_B, SEVERITY, STUDY_C)
