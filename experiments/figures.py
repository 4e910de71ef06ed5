"""The figures of the experiments, each from the records, with the words for who cannot see it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from augment_utils import training
from augment_utils.corruptions import CORRUPTIONS
from augment_utils.plotting import BLUE, GREEN, INK, ORANGE, RED
from experiments import verdicts
from experiments.compare import (
    CLEAN,
    SAME,
    SOUND,
    VERDICTS,
    Table,
    arms,
    compare,
    corrupted,
    family_of,
    headlines,
    prediction,
    sizes_with_results,
)

LOOKS = dict(  # a verdict's colour and marker
    zip(VERDICTS, ((BLUE, ">"), (RED, "<"), (GREEN, "s"), ("#6B7780", "o")), strict=True)
)
NOT_DRAWN = ("none", training.TODAYS_ADADELTA)  # the zero line, and a row far off the others
LINES = {  # colour and style of the rows whose accuracy is drawn against severity
    "none": (INK, "-"),
    "stretching, both sides": (BLUE, "--"),
    "HE channel, both sides": (ORANGE, "-."),
    "CLAHE, both sides": (GREEN, ":"),
    "HE channel, random, p = 0.5": (RED, (0, (5, 1))),
}
NEAR = 0.2  # the distance at which the words of study C's figure cut it in two


class ReportFigure(NamedTuple):
    name: str
    draw: Callable[[list[dict]], Figure]  # from the records
    alt: Callable[[list[dict]], str] | None  # None: templates/answer.*.md has the words


def draw_answer(records: list[dict]) -> Figure:
    """Study B: what sound uses gain and cost, readable on a phone."""
    fig = Figure(figsize=(4.6, 5.4), layout="constrained")
    axis, ticks = fig.subplots(), dict[str, int]()
    for block, (way, title) in enumerate(SOUND.items()):
        top = block * (len(training.TRANSFORMS) + 1)
        axis.text(0, top, title, transform=axis.get_yaxis_transform(), va="center", weight="bold")
        ticks |= {f"{name}, {way}": top + i for i, name in enumerate(training.TRANSFORMS, 1)}
    for images in sizes_with_results(records, "B")[:1]:
        for label, scores, colour, marker, shift in (
            ("clean", (CLEAN,), ORANGE, "o", -0.17),
            ("low contrast", corrupted("contrast"), BLUE, "D", 0.17),
        ):
            rows = [row for row in compare(records, "B", images, scores) if row.label in ticks]
            axis.errorbar(
                [row.difference for row in rows], [ticks[row.label] + shift for row in rows],
                xerr=[[row.difference - row.low for row in rows],
                      [row.high - row.difference for row in rows]],
                fmt=marker, color=colour, markersize=6, capsize=2, label=label,
            )  # fmt: skip
        fig.legend(loc="outside upper center", ncols=2, title="test images", frameon=False)
    axis.axvline(0, color=INK, linewidth=0.8, zorder=0)
    axis.set_yticks(list(ticks.values()), [label.partition(",")[0] for label in ticks])
    axis.set_ylim(max(ticks.values()) + 0.5, -0.5)
    axis.set_xlabel("accuracy gained or lost, in points")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return fig


def draw_headline(records: list[dict]) -> Figure:
    """Study D: what each arm gains and costs against none, readable on a phone."""
    fig = Figure(figsize=(4.6, 5.4), layout="constrained")
    axis = fig.subplots()
    looks = (("clean", ORANGE, "o"), ("low contrast", BLUE, "D"), ("local light", GREEN, "s"))
    for place, (under, look) in enumerate(zip(verdicts.FIGURE, looks, strict=True)):
        found, (label, colour, marker) = verdicts.against_none(records, under), look
        axis.errorbar(
            [v.difference for v in found], np.arange(len(found)) + (place - 1) / 4,
            xerr=[v.high - v.difference for v in found],
            fmt=marker, color=colour, markersize=6, capsize=2, label=label,
        )  # fmt: skip
    fig.legend(loc="outside upper center", ncols=3, title="test images", frameon=False)
    axis.axvline(0, color=INK, linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(found)), [v.question.arm for v in found])
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.set_xlabel("accuracy gained or lost, in points")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return fig


def draw_study_a(records: list[dict]) -> Figure:
    sizes = sizes_with_results(records, "A")
    return _forest("A", {f"{images:,} images": compare(records, "A", images) for images in sizes})


def draw_study_b(records: list[dict]) -> Figure:
    sizes = sizes_with_results(records, "B")
    return _forest("B", {f"{images:,} images": compare(records, "B", images) for images in sizes})


def draw_corrupted(records: list[dict]) -> Figure:
    """Study B under each corruption, with the most images for which there are results."""
    images = sizes_with_results(records, "B")[:1]
    panels = {
        name: compare(records, "B", size, corrupted(name))
        for size in images
        for name in CORRUPTIONS
    }
    return _forest("B", panels, f" ({images[0]:,} training images)" if images else "")


def _forest(study, panels, remark=""):
    """Differences with their intervals: a row for each arm but the known mistake's."""
    names = [arm.label for arm in arms(study) if family_of(arm.label) != "mistake"]
    labels = [name for name in names if name not in NOT_DRAWN]
    width = 9 if len(panels) > 2 else 7
    fig = Figure(figsize=(width, 0.27 * len(labels) + 1.4), layout="constrained")
    axes = fig.subplots(1, max(len(panels), 1), sharey=True, squeeze=False)[0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=False):
        axis.axvline(0, color=INK, linewidth=0.8)
        for row in rows:
            if row.label in labels:
                colour, marker = LOOKS[row.verdict]
                axis.errorbar(
                    row.difference, labels.index(row.label),
                    xerr=[[row.difference - row.low], [row.high - row.difference]],
                    fmt=marker, color=colour, markersize=5, capsize=2,
                    markerfacecolor=colour if row.after_holm else "white",
                )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    for place in range(len(labels)):
        if place % 2 == 0:
            for axis in axes:
                axis.axhspan(place - 0.5, place + 0.5, color="#F2F4F5", zorder=0)
    axes[0].set_yticks(range(len(labels)), labels, fontsize=9)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    about = f"difference to none in percentage points, with its 95 % interval{remark}"
    fig.supxlabel(about, fontsize=10)
    return fig


def draw_severity(records: list[dict]) -> Figure:
    """Accuracy against severity, both sides, with bands."""
    fig = Figure(figsize=(9, 3.4), layout="constrained")
    axes = fig.subplots(1, len(CORRUPTIONS), sharey=True)
    for axis, name in zip(axes, CORRUPTIONS, strict=True):
        for label, curve in _by_severity(records, name).items():
            if curve and all(curve):
                colour, style = LINES[label]
                means = np.array([row.mean for row in curve])
                halves = np.array([row.half_width for row in curve])
                axis.plot(range(6), means, color=colour, linestyle=style, label=label)
                axis.fill_between(range(6), means - halves, means + halves, color=colour, alpha=0.2)
        axis.set_title(name, fontsize=10)
        axis.set_xticks(range(6))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy in %")
    fig.supxlabel("severity (0: clean)", fontsize=10)
    fig.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9
    )
    return fig


def _by_severity(records, name):
    """{label: comparisons at severity 0 to 5}, with the most images that have results."""
    sizes = sizes_with_results(records, "B")[:1]
    by_severity = [
        {row.label: row for row in compare(records, "B", size, (score,))}
        for size in sizes
        for score in (SAME, *corrupted(name))
    ]
    return {label: [rows.get(label) for rows in by_severity] for label in LINES}


def draw_study_c(records: list[dict]) -> Figure:
    """Accuracy against distance, a point for each transform, corruption and severity."""
    fig = Figure(figsize=(7, 4), layout="constrained")
    axis = fig.subplots()
    sizes = sizes_with_results(records, "B")
    found = prediction(records, sizes[0]) if sizes else None
    if found:
        looks = zip(CORRUPTIONS, (BLUE, ORANGE, GREEN, RED), "osD^", strict=True)
        for i, (name, colour, marker) in enumerate(looks):
            part = slice(5 * i, 5 * i + 5)
            axis.scatter(
                found["distance"][:, part], found["accuracy"][:, part].mean(axis=-1),
                color=colour, marker=marker, s=22, label=name, alpha=0.8,
            )  # fmt: skip
        axis.legend(fontsize=9)
    axis.set_xlabel("distance of the corrupted image from the clean one, both transformed")
    axis.set_ylabel("accuracy in %")
    axis.grid(alpha=0.3)
    return fig


def _alt_of_differences(study):
    def alt(records):
        panels = {
            f"With {images:,} training images": Table(
                study, None, images, compare(records, study, images)
            )
            for images in sizes_with_results(records, study)
        }
        return _alt_of_forest(f"Study {study} on clean test images", panels)

    return alt


def _alt_of_corrupted(records):
    panels = {
        f"Under {name}": Table("B", name, images, compare(records, "B", images, corrupted(name)))
        for images in sizes_with_results(records, "B")[:1]
        for name in CORRUPTIONS
    }
    return _alt_of_forest("Study B on corrupted test images", panels)


def _alt_of_forest(about, panels):
    """How many of the sound uses have which verdict, and how far they reach."""
    parts = [
        f"{title}, {each.starred['better']} better, {each.starred['worse']} worse, "
        f"{each.equal} equal, from "
        f"{each.lowest.difference:+.1f} ({each.lowest.label}) to "
        f"{each.highest.difference:+.1f} ({each.highest.label})."
        for title, table in panels.items()
        for each in headlines([table])
    ]
    return (
        f"{about}: each use's difference to none in points with its 95 % interval. Of the sound "
        f"uses, better and worse with a star: {' '.join(parts) or 'No results yet.'}"
    )


def _alt_of_severity(records):
    clean, parts = [], []
    for name in CORRUPTIONS:
        curves = [curve for curve in _by_severity(records, name).values() if curve and all(curve)]
        if curves:
            clean += [curve[0].mean for curve in curves]
            ends = [curve[-1] for curve in curves]
            low, high = (pick(ends, key=lambda row: row.mean) for pick in (min, max))
            parts.append(
                f"under {name} from {low.mean:.0f} % ({low.label}) to {high.mean:.0f} % "
                f"({high.label})"
            )
    about = f"Mean accuracy against severity, a line for each of {len(LINES)} uses. "
    if not parts:
        return f"{about}No results yet."
    return (
        f"{about}On clean images they lie between {min(clean):.0f} and {max(clean):.0f} %. At "
        f"severity 5 they lie {'; '.join(parts)}."
    )


def _alt_of_prediction(records):
    about = "Accuracy against distance, a point for each transform, corruption and severity"
    sizes = sizes_with_results(records, "B")
    found = prediction(records, sizes[0]) if sizes else None
    if not found:
        return f"{about}. No results yet."
    accuracy, near = found["accuracy"].mean(axis=-1), found["distance"] <= NEAR
    parts = (
        f"{part.min():.0f} and {part.max():.0f} %" for part in (accuracy[near], accuracy[~near])
    )
    return (
        f"{about} ({sizes[0]:,} training images). Up to a distance of {NEAR} they lie between "
        f"{next(parts)}, beyond it between {next(parts)}. The rank correlation of distance and "
        f"error is {found['error']['overall'][0]:.2f}."
    )


ANSWER = ReportFigure("answer", draw_answer, None)
STUDY_A = ReportFigure("study_a", draw_study_a, _alt_of_differences("A"))
STUDY_B = ReportFigure("study_b", draw_study_b, _alt_of_differences("B"))
CORRUPTED = ReportFigure("study_b_corrupted", draw_corrupted, _alt_of_corrupted)
SEVERITY = ReportFigure("study_b_severity", draw_severity, _alt_of_severity)
STUDY_C = ReportFigure("study_c", draw_study_c, _alt_of_prediction)
FIGURES = (ANSWER, STUDY_A, STUDY_B, CORRUPTED, SEVERITY, STUDY_C)
