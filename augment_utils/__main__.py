"""`python -m augment_utils data`: fetch CIFAR-10, or cut a small part of the data into a file."""

import signal
import sys
from pathlib import Path

import click

from augment_utils.datasets import download_cifar10, load_cifar10, save_npz


class OnlyData(click.Group):
    """Says where other commands are, and ends with a line when it is stopped."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple:
        if args[0] not in self.commands:
            raise click.UsageError(
                f"got {args[0]!r}, but this module only fetches data. Everything else is run in a "
                "clone of the repository, with make"
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nStopped. The same command can be given again.", err=True)
            sys.exit(130)


@click.group(cls=OnlyData, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """Fetch the images that the notebooks use."""


@main.command()
@click.option(
    "--subset",
    type=int,
    metavar="N",
    help="Write N training images and a fifth as many test images, the same number of each class, "
    "to OUT. N must be a multiple of 50.",
)
@click.argument("out", required=False, type=click.Path(dir_okay=False, path_type=Path))
def data(subset, out):
    """Fetch and verify CIFAR-10 once; or cut a small part of the data into the file OUT (.npz).

    The part is cut from what the notebooks would use: AUGMENT_DATA, the copy in Keras' cache,
    the official download.
    """
    if (subset is None) != (out is None):
        raise click.UsageError("--subset N and OUT go together: data --subset 500 out.npz")
    if subset is None:
        try:
            archive = download_cifar10()
        except (OSError, ValueError) as error:
            raise click.ClickException(
                f"CIFAR-10 could not be fetched: {error}\n"
                "The notebooks run without it, on photo patches; or set AUGMENT_DATA to a file, or "
                "KERAS_HOME to a folder for it with 200 MB of room."
            ) from error
        click.echo(f"{load_cifar10(archive)}\n{archive}")
        return
    if subset % 50 or subset < 50:
        raise click.UsageError(f"got --subset {subset}, expected a multiple of 50, such as 500")
    try:
        part = load_cifar10().subset(train=subset, test=subset // 5)
        save_npz(part, out)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {part}\nUse it: AUGMENT_DATA={out}")


# what is stopped by the system removes what is half-written
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
main(prog_name="python -m augment_utils")
