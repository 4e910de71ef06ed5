"""What command lines share: errors and stops in a line, a look for the images, aligned columns."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from augment_utils.datasets import load_cifar10


class Stoppable(click.Command):
    """A command that ends with a line and the usual status when it is stopped."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nStopped. The same command can be given again.", err=True)
            sys.exit(130)


class StoppableGroup(Stoppable, click.Group):
    """The same of several commands."""


def start(command: click.Command, module: str) -> None:
    """Do what `python -m MODULE` was called with.

    What is stopped by the system stops its kernels and workers, and removes what is half-written.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command(prog_name=f"python -m {module}")


@contextlib.contextmanager
def plain_errors(extra: str | None = None) -> Iterator[None]:
    """What a user can mend is said in a line, and not as a traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        raise click.ClickException(f"{error}; install it: pip install -e '.[{extra}]'") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def look_for_images_once() -> None:
    """Settle AUGMENT_DATA, so that six kernels or workers need not wait for six downloads."""
    try:
        dataset = load_cifar10()
    except (OSError, ValueError) as error:
        raise click.ClickException(f"AUGMENT_DATA: {error}") from error
    if "AUGMENT_DATA" not in os.environ and "photo patches" in dataset.name:
        os.environ["AUGMENT_DATA"] = "patches"
    elif os.environ.get("AUGMENT_DATA", "patches") != "patches":
        # the kernels work in notebooks/, where a relative path would point elsewhere
        os.environ["AUGMENT_DATA"] = str(Path(os.environ["AUGMENT_DATA"]).expanduser().absolute())


def align(lines: Sequence[Sequence[str]], sides: str | None = None) -> str:
    """Lines of cells as text, each column as wide as its widest cell, to the left (<) or right.

    In ten lines, because tabulate would be one more package for everybody who runs a notebook.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = sides or "<" * len(widths)
    return "\n".join(
        "  ".join(
            f"{c:{side}{width}}" for c, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    )
