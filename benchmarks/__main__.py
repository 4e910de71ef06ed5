"""`python -m benchmarks`."""

from pathlib import Path

import click

from benchmarks import report, transforms
from tools import ROOT
from tools.commands import Stoppable, plain_errors, start
from tools.files import make_writable


@click.command(cls=Stoppable, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Seconds, to see that it works: no figures to quote.")
@click.option(
    "--report", "report_only", is_flag=True, help="Measure nothing; make table and chart anew."
)
@click.option(
    "--only",
    type=click.Choice(["explorer"]),
    help="Measure only this (a minute), and keep what results/bench.json has of the rest.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT,
    help="Where results/ and images/ are.  [default: the repository]",
)
def main(quick, report_only, only, folder):
    """Measure the transforms beside their peers: images a second, and seconds an epoch.

    Writes results/bench.json, and from it results/speed.md and images/bench.png.
    """
    results = folder / "results" / "bench.json"
    with plain_errors(extra="bench"):
        if not report_only:
            make_writable(results.parent)
        if only and not report_only:
            transforms.run_explorer(results, report.read_results(results), quick)
        elif not report_only:
            transforms.run(results, quick)
        report.report(folder)


start(main, "benchmarks")
