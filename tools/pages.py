"""What measured pages share: the machine, text between two marks, tables, figures as bytes."""

import platform
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from matplotlib.figure import Figure

PIXELS = 1400  # twice the width at which a page shows a figure


def machine() -> dict[str, str]:
    """What kind of machine this is, but not which."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def marks(command: str) -> tuple[str, str]:
    """The lines between which a page has what a command made."""
    return f"<!-- made by `{command}`: begin -->", f"<!-- made by `{command}`: end -->"


def put_between_marks(page: str, text: str, command: str) -> str:
    """The page with `text` in place of whatever stood between the command's marks.

    Raises
    ------
    ValueError
        The page does not have each of the two once.
    """
    begin, end = marks(command)
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the README needs one line {begin} and, below it, one line {end}")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"


def markdown_table(
    header: Sequence[str], lines: Iterable[Iterable[str]], text_columns: int = 1
) -> str:
    """A table in Markdown, the columns of numbers aligned to the right.

    Its cells are not padded, as libraries do: one new number would change all lines of a diff.
    """
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *lines])


def fill(paragraph: str) -> str:
    """In lines of 100 characters; a picture on one; a table, a heading or a list as it is."""
    if paragraph[0] in "|#-":
        return paragraph
    line = " ".join(paragraph.split())
    if line[0] in "!<":
        return line
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), line)
    lines = textwrap.fill(whole, 100, break_on_hyphens=False, break_long_words=False)
    return lines.replace("\0", " ")


def figure_png(fig: "Figure") -> bytes:
    """The PNG of a figure, the same bytes each time."""
    from augment_utils.plotting import to_png  # slow to import

    return to_png(fig, dpi=PIXELS / fig.get_figwidth())
