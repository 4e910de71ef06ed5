"""`python -m experiments run` and `python -m experiments report`."""

import os
import sys
from pathlib import Path

import click
from tqdm import tqdm

from experiments import report, runs
from tools import ROOT
from tools.commands import StoppableGroup, look_for_images_once, plain_errors, start


@click.group(cls=StoppableGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """The runs behind the tables of "does it help?": do them, and make the tables."""


@main.command("run")
@click.option(
    "--tier", type=click.Choice(["smoke", "class", "paper"]), default="paper", show_default=True
)
@click.option(
    "--study",
    "studies",
    multiple=True,
    type=click.Choice(runs.STUDIES),
    help="Only this study; may be given again.  [default: all]",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the records go.  [default: results/runs at tier paper, else build/runs]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers were started in the root "
    "of a clone, with python -m dask worker.  [default: processes on this machine]",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes on this machine.  [default: one for each processor]",
)
def do_runs(tier, studies, folder, scheduler, workers):
    """Do the runs that have no record yet. Stop it at any time; the same command goes on."""
    look_for_images_once()
    folder = folder or (runs.RUNS if tier == "paper" else ROOT / "build" / "runs")
    wanted = runs.grid(tier, studies or runs.STUDIES)
    bars: list[tqdm] = []

    def show(done, running, failed, total):
        if not bars:  # only now is known what an earlier call did, which says nothing of the speed
            bars.append(tqdm(total=total, initial=done, unit="run", desc=f"tier {tier}"))
        bars[0].update(done - bars[0].n)
        bars[0].set_postfix(running=running, failed=failed)

    source = os.environ.get("AUGMENT_DATA")
    try:
        with plain_errors(extra="experiments"):
            failures = runs.run_all(wanted, folder, source, scheduler, workers, show)
    finally:
        for bar in bars:
            bar.close()
    for failed, error in failures:
        click.secho(f"FAILED {failed}: {error}", fg="red", err=True)
    if failures:
        sys.exit(1)


@main.command("report")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT,
    help="Where README.md, results/ and images/ are.  [default: the repository]",
)
def make_report(folder):
    """Make every table and figure anew from the records in results/runs; say what is missing."""
    with plain_errors():
        click.echo(report.report(folder))


start(main, "experiments")
