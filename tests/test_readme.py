"""README, CONTRIBUTING and guide: they keep step with notebooks, commands, files and the lock."""

import functools
import itertools
import re
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from tests.common import anchor, call, links_of
from tests.notebooks.rules import (
    EMPTY_HEADER,
    PATHS,
    code_cells,
    every_notebook,
    pictures_of,
    prose_of,
    tags_of,
)
from tools import ROOT

README = (ROOT / "README.md").read_text("utf-8")
OURS = r"augment_utils|experiments|benchmarks|assignments|tools\.notebooks"
FOLDERS = r"\.ci|assignments|augment_utils|benchmarks|book|experiments|images|notebooks|results"
FOLDERS += r"|tests|tools"
PLACEHOLDER = re.compile(r"NN_\w+|[A-Z]{4,}")  # of a name that its reader chooses
PAGES = ("README.md", "CONTRIBUTING.md", "assignments/README.md")
every_page = pytest.mark.parametrize("page", PAGES)


def text_of(page):
    return (ROOT / page).read_text("utf-8")


def code_of(page):
    """What is set as code, a command or a name on each line."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text_of(page))])


@every_notebook
def test_a_row_of_the_table_says_what_the_notebook_says(path):
    notebook = nbformat.read(path, 4)
    prose = prose_of(notebook)
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


@pytest.mark.parametrize("page", [*PAGES, "README.zh-CN.md"])
def test_every_link_leads_somewhere(page):
    local = [link for link in links_of(text_of(page)) if not link.startswith("https://")]
    assert [link for link in local if not leads_somewhere(link, ROOT / page)] == []
    assert len(local) > 5


def leads_somewhere(link, page):
    """Whether there is this file, and in it, of a page in Markdown, this heading."""
    path, _, fragment = link.partition("#")
    target = page.parent / path if path else page
    if not fragment or target.suffix != ".md":
        return target.exists() and not fragment
    headings = re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
    return fragment in map(anchor, headings)


@every_page
def test_pictures_have_alt_text_and_columns_have_names(page):
    text = text_of(page)
    assert all(len(alt.split()) > 5 for alt in re.findall(r"!\[([^\]]*)\]", text))
    assert not EMPTY_HEADER.search(text)


@every_page
def test_every_command_exists(page):
    makefile, code = (ROOT / "Makefile").read_text("utf-8"), code_of(page)
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    found = re.findall(r"\bmake ([a-z]+)(?: ([A-Z]+)=)?", code)
    assert found and {target for target, _ in found} <= targets
    assert {name for _, name in found if name} <= {*re.findall(r"[A-Z]+", makefile)}
    ours = re.findall(rf"python -m ((?:{OURS})\b[^#\n]*)", code)
    assert ours and [words for words in ours if not is_ours(words.split())] == []
    modules = re.findall(r"python -m (\w+)", code)
    assert [name for name in modules if PathFinder.find_spec(name) is None] == []
    programs = Path(sysconfig.get_path("scripts"))
    for name in re.findall(r"\.venv/bin/([\w-]+)", code):
        assert (programs / name).exists(), name


def is_ours(words):
    """Whether there is a command of these names, with these options."""
    names = itertools.takewhile(re.compile(r"[a-z_.]+$").match, words)
    told = help_of(*names)
    return bool(told) and {word for word in words if word.startswith("-")} <= {*told.split()}


@functools.cache
def help_of(*names):
    done = call(*names, "--help")
    return done.stdout if done.returncode == 0 else ""


@every_page
def test_every_path_exists(page):
    paths = re.findall(rf"(?<![\w./-])((?:{FOLDERS})/[\w./-]+)", code_of(page))
    assert [each for each in paths if not any(ROOT.glob(PLACEHOLDER.sub("*", each)))] == []


def test_the_version_of_tensorflow_is_the_locked_one():
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    locked = re.search(r"^tensorflow==(\S+)", lock, re.MULTILINE)[1]
    assert re.findall(r"tensorflow\[and-cuda\]==([\d.]+)", README) == [locked]


def test_files_that_it_speaks_of_are_there():
    for name in ("LICENSE", "LICENSE-text", "CITATION.cff", "environment.yml", "requirements.lock"):
        assert name in README and (ROOT / name).is_file()
