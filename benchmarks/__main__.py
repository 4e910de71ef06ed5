"""`python -m benchmarks`."""

from pathlib import Path

import click

from benchmarks import optional, report, transforms
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
    type=click.Choice(["explorer", "optional"]),
    help="Measure only the explorer, or only the peers that no extra installs, in a minute or two; "
    "keep what results/bench.json has of the rest.",
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
            earlier = report.read_results(results) if only or results.exists() else {}
            transforms.run(results, earlier, only, quick)
            if not only:
                names = dict.fromkeys(peer.name for peer in optional.PEERS)
                click.echo(f"Left out, see --only optional: {', '.join(names)}")
        report.report(folder)


start(main, "benchmarks")
