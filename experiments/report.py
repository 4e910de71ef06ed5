"""The pages of the experiments: what the README shows, and all of it in results/report.md."""

import textwrap
from pathlib import Path

import numpy as np

from augment_utils.corruptions import CORRUPTIONS
from experiments import runs
from experiments.chinese import chinese_page
from experiments.compare import (
    CLEAN,
    VERDICTS,
    arms,
    compare,
    corrupted,
    headlines,
    missing,
    prediction_sentence,
    provenance,
    published,
    sentence,
    sizes_with_results,
)
from experiments.figures import (
    CORRUPTED,
    FIGURES,
    SEVERITY,
    STUDY_A,
    STUDY_B,
    STUDY_C,
)
from tools.files import write_file
from tools.pages import figure_png, markdown_table, put_between_marks

COMMAND = "make results"


def report(folder: Path, readme: Path, chinese: Path, page: Path, images: Path) -> str:
    """Put the short tables into the README, all of them into a page, and draw the figures.

    Parameters
    ----------
    folder, readme, chinese, page, images : pathlib.Path
        The records to read; the README, which has the two marks that the short tables go
        between; the Chinese README, which has them too and gets the sentences; the page to
        write, results/report.md; the folder for the figures.

    Returns
    -------
    str
        What is missing, or that nothing is.

    Raises
    ------
    FileNotFoundError
        There are no records, or one README is missing.
    ValueError
        A file that is no record, records of several data sets, or no marks in a README.
    """
    records = published(folder)
    state = missing(records, folder)
    pages = {readme: short_page(records, state), chinese: chinese_page(records)}
    texts = {
        path: put_between_marks(path.read_text("utf-8"), made, COMMAND)
        for path, made in pages.items()
    }
    pictures = {figure.name: figure_png(figure.draw(records)) for figure in FIGURES}
    for name, png in pictures.items():
        write_file(images / f"{name}.png", png)
    write_file(page, full_page(records, state).encode())
    for path, text in texts.items():
        write_file(path, text.encode())
    return state


def short_page(records: list[dict], state: str) -> str:
    """What the README shows: the headlines, and for studies A and B a figure and a table."""
    parts = [*headline_sentences(records), prediction_sentence(records)]
    for study, figure in (("A", STUDY_A), ("B", STUDY_B)):
        if sizes_with_results(records, study):
            parts += [_picture(records, figure), comparison_table(records, study)]
    for images in sizes_with_results(records, "B")[:1]:
        parts += [_picture(records, SEVERITY), DIFFERENCE_NOTE, corruption_table(records, images)]
    parts += [provenance(records)]
    parts += [f"{state} All tables, figures and sentences: [results/report.md](results/report.md)."]
    return _paragraphs(*parts)


def full_page(records: list[dict], state: str) -> str:
    """results/report.md."""
    text = _paragraphs(
        "# Does contrast equalization help a CNN?",
        f"Made by `{COMMAND}` from the records in [runs](runs). {state}",
        *headline_sentences(records),
        prediction_sentence(records),
        "## Where the numbers come from",
        provenance(records),
        "## Study A: the post's experiment, repaired",
        *_study(records, "A", STUDY_A),
        "## Study B: ten classes, a small modern CNN",
        *_study(records, "B", STUDY_B),
        *_corruptions(records),
        "## Study C: how far a corrupted image ends from the clean one, without training",
        distance_table(records),
        prediction_sentence(records),
        _picture(records, STUDY_C, "../images"),
    )
    return text + "\n"


def _study(records, study, figure):
    """On the clean test images."""
    if not sizes_with_results(records, study):
        return ["There are no results yet."]
    parts = [_picture(records, figure, "../images"), comparison_table(records, study)]
    for images in sizes_with_results(records, study):
        parts += [f"### In words, {images:,} images", _sentences(records, study, images)]
    return parts


def _corruptions(records):
    """Study B on the corrupted test images."""
    sizes, parts = sizes_with_results(records, "B"), []
    if sizes:
        parts += ["## Study B under corruption", _picture(records, CORRUPTED, "../images")]
        parts += [_picture(records, SEVERITY, "../images"), DIFFERENCE_NOTE]
    for images in sizes:
        parts += [f"### {images:,} images", corruption_table(records, images)]
        for name in CORRUPTIONS:
            parts += [
                f"#### {name.capitalize()}, in words, {images:,} images",
                _sentences(records, "B", images, corrupted(name)),
            ]
    return parts


DIFFERENCE_NOTE = (
    "Study B under corruption: difference to none in points, mean of the five severities, with its "
    "95 % interval; = is not distinguishable."
)


def headline_sentences(records: list[dict]) -> list[str]:
    """A paragraph for each headline."""
    paragraphs = []
    for each in headlines(records):
        under = f" under {each.corruption}" if each.corruption else ""
        counted = ", ".join(f"{each.verdicts[verdict]} {verdict}" for verdict in VERDICTS)
        paragraphs.append(
            f"**Study {each.study}{under}, {each.images:,} images**: of {each.verdicts.total()} "
            f"uses of contrast, {counted}. "
            f"Highest: {sentence(each.highest)}. Lowest: {sentence(each.lowest)}."
        )
    return paragraphs


def comparison_table(records: list[dict], study: str) -> str:
    """Accuracy, difference and verdict of every arm, for each size of training set."""
    sizes = sizes_with_results(records, study)
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


def corruption_table(records: list[dict], images: int) -> str:
    """Differences of every arm under each corruption, and their verdicts."""
    columns = {
        name: {row.label: row for row in compare(records, "B", images, corrupted(name))}
        for name in CORRUPTIONS
    }
    accuracies = [f"{rows['none'].mean:.1f} %" for rows in columns.values()]
    lines = [["none: accuracy", *accuracies]]
    for arm in arms("B"):
        rows = [of_label.get(arm.label) for of_label in columns.values()]
        if arm.label != "none" and all(rows):
            lines.append([arm.label, *map(_difference_and_verdict, rows)])
    seeds = next(iter(columns.values()))["none"].seeds
    return markdown_table([f"Study B, {images:,} images, {seeds} seeds", *CORRUPTIONS], lines)


def distance_table(records: list[dict]) -> str:
    """Study C: mean over severities and seeds."""
    own = [record for record in records if record["run"]["study"] == "C"]
    lines = []
    for condition in runs.conditions_of("C"):
        found = [record["distances"] for record in own if record["run"]["condition"] == condition]
        if found:
            means = [
                np.mean([[run[name] for name in corrupted(corruption)] for run in found])
                for corruption in CORRUPTIONS
            ]
            lines.append([condition, *(f"{mean:.2f}" for mean in means)])
    return (
        "Distance between a transformed corrupted image and the transformed clean one, in units of "
        "the distance between two transformed clean images; mean of five severities.\n\n"
        + markdown_table(["Transform", *CORRUPTIONS], lines)
    )


def _sentences(records, study, images, scores=(CLEAN,)):
    rows = [row for row in compare(records, study, images, scores) if row.label != "none"]
    return "\n".join(f"- {sentence(row)}" for row in rows)


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
    table = figure in (STUDY_A, STUDY_B, CORRUPTED)
    words = figure.alt(records) + table * " The table below has all the numbers."
    return f"![{words}]({folder}/{figure.name}.png)"


def _paragraphs(*parts):
    return "\n\n".join(
        part if part[0] in "!|#-" or "\n" in part
        else textwrap.fill(part, 100, break_on_hyphens=False, break_long_words=False)
        for part in parts
        if part
    )  # fmt: skip
