"""What measured pages share: the machine, text between two marks, tables, figures as bytes."""

import io
import platform
from pathlib import Path

PIXELS = 1400  # twice the width at which a page shows a figure


def machine():
    """What kind of machine this is, but not which."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def marks(command):
    """The lines between which a page has what a command made."""
    return tuple(f"<!-- made by `{command}`: {word} -->" for word in ("begin", "end"))


def put_between_marks(page, text, command):
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


def markdown_table(header, lines, text_columns=1):
    """A table in Markdown, the columns of numbers aligned to the right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *lines])


def figure_png(fig):
    """The PNG of a figure, the same bytes each time."""
    png = io.BytesIO()
    fig.savefig(png, format="png", dpi=PIXELS / fig.get_figwidth(), facecolor="white")
    return png.getvalue()
