"""`python -m assignments release` and `python -m assignments grade`."""

import sys
from pathlib import Path

import click
from tqdm import tqdm

from assignments.course import SECONDS, assignments_of, grade, release
from assignments.roster import collect
from assignments.sandbox import sandbox
from tools import ROOT
from tools.commands import StoppableGroup, align, plain_errors, start


@click.group(cls=StoppableGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """The course: make what the students get, and grade what they hand in."""


course_option = click.option(
    "--course",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT / "assignments",
    help="The course's folder, with source/ in it.  [default: assignments]",
)


@main.command("release")
@course_option
def release_assignments(course):
    """Make the students' notebooks in release/, and check them.

    The sources must pass all tests, and what is released must fail each before work is done.
    """
    with plain_errors(extra="classroom"):
        rows = release(course)
    columns = ["assignment", "points", "by hand", "checked"]
    lines = [
        [one.assignment, f"{one.points:g}", f"{one.by_hand:g}", "WRONG" if one.wrong else "ok"]
        for one in rows
    ]
    click.echo(f"{align([columns, *lines])}\n\nFor the students: {course / 'release'}")
    for one in rows:
        for text in one.wrong:
            click.secho(f"{one.assignment}: {text}", fg="red", err=True)
    if any(one.wrong for one in rows):
        sys.exit(1)


@main.command("collect")
@course_option
@click.argument("assignment")
@click.argument("download", type=click.Path(exists=True, path_type=Path))
def collect_downloads(course, assignment, download):
    """Sort what an LMS sent (DOWNLOAD, a zip file or a folder) into submitted/, by roster.csv."""
    names = assignments_of(course)
    if assignment not in names:
        raise click.BadParameter(f"{assignment} is none of {', '.join(names)}")
    with plain_errors():
        collected, unknown, left = collect(course, assignment, download)
    click.echo(f"Collected {len(collected)}: {', '.join(collected)}")
    for text in left:
        click.echo(f"not taken: {text}")
    for name in unknown:
        click.secho(f"nobody in the roster: {name}", fg="red", err=True)
    if unknown:
        sys.exit(1)


@main.command("grade")
@course_option
@click.option("--jobs", type=click.IntRange(1), help="At a time.  [default: one for each core]")
@click.option("--seconds", default=SECONDS, show_default=True, help="That a cell may run.")
def grade_submissions(course, jobs, seconds):
    """Grade submitted/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb: feedback/ and grades/.

    This runs the students' code: read in assignments/README.md how it is kept apart.
    """
    with plain_errors(extra="classroom"), sandbox() as box:
        if box.not_kept_apart:
            click.secho(box.not_kept_apart, fg="red", err=True)
        with tqdm(desc="graded", unit="submission") as bar:
            rows = grade(course, lambda one: bar.update(), jobs, seconds, box)
    columns = ["assignment", "student", "points", "not all of", "by hand", "remarks"]
    lines = [
        [
            one.assignment,
            one.student,
            f"{one.points:g}/{sum(one.most.values()):g}",
            " ".join(p for p in one.parts if one.parts[p] not in (None, one.most[p])) or "-",
            " ".join(one.waiting) or "-",
            "; ".join(one.remarks) or "-",
        ]
        for one in rows
    ]
    click.echo(f"{align([columns, *lines])}\n\nFeedback and grades: {course}")


start(main, "assignments")
