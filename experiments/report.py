"""The pages of the experiments: the READMEs' answer and the reports; templates/ has their words.

The Chinese templates say in their own words what the English ones say, from the same values.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

from augment_utils import training
from augment_utils.corruptions import CORRUPTIONS
from experiments import fair, runs
from experiments.compare import (
    Comparison,
    Table,
    answer,
    corrupted,
    family_of,
    headlines,
    missing,
    predictions,
    provenance,
    published_records,
    tables,
)
from experiments.figures import FIGURES, draw_headline
from experiments.published import published_table
from experiments.verdicts import headline, pages
from tools.files import write_file
from tools.pages import figure_png, fill, markdown_table, put_between_marks

COMMAND = "make results"
READMES = {"README.md": "headline.en.md", "README.zh-CN.md": "headline.zh.md"}
REPORTS = {
    "results/report.md": "report.en.md",
    "results/report.zh-CN.md": "report.zh.md",
    "results/fair.md": "fair.en.md",
    "results/fair.zh-CN.md": "fair.zh.md",
}
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    "size": lambda points: f"{abs(points):.1f}",
    "signed": "{:+.1f}".format,
    "thousands": "{:,}".format,
    "plusminus": lambda found: "{:.2f} ± {:.2f}".format(*found),
    "marked": lambda row: f"{row.difference:+.1f}{row.clear}",
    "transform": lambda row: row.label.partition(", ")[0],
    "arms": lambda found, last: _listed([v.question.arm for v in found], last),
    "ends": lambda found, last: f" {last} ".join(
        f"{v.difference:+.1f} ({v.question.arm})" for v in found
    ),
    "way": lambda row: row.label.partition(", ")[2],
}


def report(root: Path) -> str:
    """Put the answer into both READMEs, write reports and table to results/, draw the figures.

    Parameters
    ----------
    root : pathlib.Path
        The folder with README.md, README.zh-CN.md, images and results/runs.

    Returns
    -------
    str
        What is missing, or that nothing is.

    Raises
    ------
    FileNotFoundError
        There are no records, or a README is missing.
    ValueError
        A file that is no record, records of several data sets, records that do not say what the
        answer's sentences say, or no marks in a README.
    """
    folder = root / "results" / "runs"
    records = published_records(folder)
    later = [record for study in fair.STUDIES for record in published_records(folder, study)]
    state = missing(records, folder)
    values = values_of(records, state, later)
    texts = {
        name: put_between_marks(
            (root / name).read_text("utf-8"), page(template, values, "images"), COMMAND
        )
        for name, template in READMES.items()
    }
    texts |= {
        name: page(template, values, "../images") + "\n" for name, template in REPORTS.items()
    }
    texts["results/published.csv"] = published_table(records, later)
    pictures = {figure.name: figure_png(figure.draw(records)) for figure in FIGURES}
    if values["headline"]:
        pictures["headline"] = figure_png(draw_headline(later))
    for name, png in pictures.items():
        write_file(root / "images" / f"{name}.png", png)
    for name, text in texts.items():
        write_file(root / name, text.encode())
    return state


def values_of(records: list[dict], state: str, later: Sequence[dict] = ()) -> dict:
    """What the templates name."""
    made, found = tables(records), predictions(records)
    return {
        "headline": headline(later),
        "studies": pages(later),
        "answer": answer(made),
        "headlines": headlines(made),
        "predictions": found,
        "correlations": prediction_table(found),
        "tables": [{**table._asdict(), "markdown": comparison_table(table)} for table in made],
        "mistakes": mistake_table(made),
        "distances": distance_table(records),
        "alts": {figure.name: figure.alt(records) for figure in FIGURES if figure.alt},
        "provenance": provenance(records),
        "state": state,
        "corruptions": CORRUPTIONS,
    }


def page(template: str, values: dict, images: str) -> str:
    """A template with its values, its paragraphs filled; `images` is the way to the figures."""
    text = TEMPLATES.get_template(template).render(values, images=images)
    return "\n\n".join(map(fill, re.split(r"\n{2,}", text.strip())))


def comparison_table(table: Table) -> str:
    """The verdict of every arm but those of the known mistake, and the numbers behind it."""
    columns = ["verdict", "difference, points", "accuracy, %", "seeds"]
    header = [f"Study {table.study}, {table.images:,} images", *columns]
    rows = [row for row in table.rows if family_of(row.label) != "mistake"]
    return markdown_table(header, map(_cells, rows), text_columns=2)


def mistake_table(made: list[Table]) -> str:
    """Contrast on the training images only: a line for each table, a column for each transform."""
    lines = []
    for table in made:
        rows = {
            row.label.partition(", ")[0]: f"{row.difference:+.1f} ± "
            f"{(row.high - row.low) / 2:.1f}{row.clear}"
            for row in table.of("mistake")
        }
        under = f" under {table.corruption}" if table.corruption else ""
        if rows:
            title = f"{table.study}{under}, {table.images:,} images"
            lines.append([title, *(rows.get(name, "") for name in training.TRANSFORMS)])
    return markdown_table(["Study", *training.TRANSFORMS], lines)


def prediction_table(found: dict[int, dict]) -> str:
    """Study C's rank correlations with what study B measured."""
    measured = {
        f"{target}, {images:,} images": of_size[target]
        for images, of_size in found.items()
        for target in ("error", "loss")
    }
    lines = {
        "distance, overall": [each["overall"] for each in measured.values()],
        "severity alone, overall": [each["severity"] for each in measured.values()],
        "distance, within one corruption and severity": [
            each["within"] for each in measured.values()
        ],
    }
    for corruption in CORRUPTIONS:
        within = [each["by_corruption"][corruption] for each in measured.values()]
        lines[f"the same under {corruption}"] = within
    cells = [
        [name, *("{:.2f} ± {:.2f}".format(*pair) for pair in pairs)]
        for name, pairs in lines.items()
    ]
    return markdown_table(["With", *measured], cells)


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
    return markdown_table(["Transform", *CORRUPTIONS], lines)


def _listed(names, last):
    """A, B and C."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _cells(row: Comparison) -> list[str]:
    accuracy, seeds = f"{row.mean:.1f} ± {row.half_width:.1f}", str(row.seeds)
    if row.label == "none":
        return [row.label, "", "", accuracy, seeds]
    return [row.label, f"{row.verdict}{row.star}", _difference(row), accuracy, seeds]


def _difference(row):
    return f"{row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}]"
