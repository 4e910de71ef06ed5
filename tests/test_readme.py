"""The README keeps step with the notebooks, the commands and the lock."""

import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from notebook_rules import code_cells, pictures_of, tags_of

from augment_utils.cli import NOTEBOOKS, main

ROOT = NOTEBOOKS.parent
README = (ROOT / "README.md").read_text("utf-8")
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_row_of_the_table_says_what_the_notebook_says(path):
    notebook = nbformat.read(path, 4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = re.search(r"^# \d+ · (.*)", prose, re.MULTILINE)[1]
    minutes = re.search(r"\*\*Time\*\* about (\d+) minutes", prose)[1]
    (picture,) = [
        picture
        for cell in code_cells(notebook)
        if "thumbnail" in tags_of(cell)
        for picture in pictures_of(cell)
    ]
    (row,) = [line for line in README.splitlines() if line.startswith(f"| {path.name[:2]} |")]
    image = BeautifulSoup(row, "html.parser").img
    assert f"[{title}](notebooks/{path.name})" in row
    assert row.endswith(f"| {minutes} |")
    assert image["src"] == f"images/{path.stem}.png" and image["alt"] == picture[1]


def test_there_is_no_row_too_many():
    assert len(re.findall(r"^\| \d\d \|", README, re.MULTILINE)) == len(PATHS)


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    headings = re.findall(r"^#+ (.*)", README, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert {link for link in links if link.startswith("#")} <= anchors
    local = [link for link in links if not link.startswith(("https://", "#"))]
    assert [link for link in local if not (ROOT / link).exists()] == []
    assert len(local) > 2 * len(PATHS)


def test_pictures_have_alt_text():
    assert all(len(alt.split()) > 5 for alt in re.findall(r"!\[([^\]]*)\]", README))


def test_every_command_exists():
    code = "\n".join(re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    code += "\n".join(re.findall(r"`([^`\n]+)`", README))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", code)) <= targets
    commands = set(re.findall(r"python -m augment_utils ([a-z]+)", code))
    assert {"run", "data"} <= commands <= set(main.commands)


def test_the_version_of_tensorflow_is_the_locked_one():
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    locked = re.search(r"^tensorflow==(\S+)", lock, re.MULTILINE)[1]
    assert re.findall(r"tensorflow\[and-cuda\]==([\d.]+)", README) == [locked]


def test_files_that_it_speaks_of_are_there():
    for name in ("LICENSE", "LICENSE-text", "CITATION.cff", "environment.yml", "requirements.lock"):
        assert name in README and Path(ROOT / name).is_file()
