"""`python -m augment_utils data`: fetch CIFAR-10, or cut a small part of the data into a file."""

import signal
import sys
from pathlib import Path

import click

from augment_utils.datasets import download_cifar10, load_cifar10, save_npz

UNFETCHED = """CIFAR-10 could not be fetched: %s
The notebooks run without it, on photo patches; or set AUGMENT_DATA to a file, or KERAS_HOME to a
folder for it with 200 MB of room."""


class OnlyData(click.Group):
    """Says where other commands are."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple:
        if args[0] not in self.commands:
            raise click.UsageError(
                f"got {args[0]!r}, but this module only fetches data. Everything else is run in a "
                "clone of the repository, with make"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=OnlyData, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """Fetch the images that the notebooks use."""


@main.command()
@click.option(
    "--subset",
    metavar="N",
    type=int,
    help="Write N training images, a multiple of 50, and a fifth as many for testing to OUT.",
)
@click.argument("out", required=False, type=click.Path(dir_okay=False, path_type=Path))
def data(subset, out):
    """Fetch and verify CIFAR-10 once; or cut a part of what the notebooks use into OUT (.npz)."""
    if (subset is None) != (out is None):
        raise click.UsageError("--subset N and OUT go together: data --subset 500 out.npz")
    if subset is not None and (subset % 50 or subset < 50):
        raise click.UsageError(f"got --subset {subset}, expected a multiple of 50, such as 500")
    try:
        if subset is None:
            archive = download_cifar10()
            click.echo(f"{load_cifar10(archive)}\n{archive}")
        else:
            part = load_cifar10().subset(train=subset, test=subset // 5)
            save_npz(part, out)
            click.echo(f"{out}: {part}\nUse it: AUGMENT_DATA={out}")
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error) if out else UNFETCHED % error) from error


def stop(number: int, frame: object) -> None:
    """What is stopped, by hand or by the system, removes what is half-written."""
    click.echo("\nStopped. The same command can be given again.", err=True)
    sys.exit(128 + number)


for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, stop)
main(prog_name="python -m augment_utils")
