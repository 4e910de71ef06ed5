"""README, its long version, CONTRIBUTING and guide: short, and in step with what they speak of."""

import functools
import itertools
import re
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from tests.common import anchor, call, links_of, python
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
PAGES = ("README.md", "book/run.md", "CONTRIBUTING.md", "assignments/README.md")
every_page = pytest.mark.parametrize("page", PAGES)


def text_of(page):
    return (ROOT / page).read_text("utf-8")


def code_of(page):
    """What is set as code, a command or a name on each line; not the marks of what is made."""
    text = re.sub(r"<!--.*?-->", "", text_of(page))
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])


@pytest.fixture(scope="module")
def rendered():
    """The README as a page."""
    html = MarkdownIt("commonmark").enable("table").render(README)
    return BeautifulSoup(html, "html.parser")


def test_it_is_one_page_long(rendered):
    assert len(README.split()) <= 1200  # as wc -w counts
    assert len(rendered.get_text(" ").split()) <= 900


def test_it_says_first_what_decides(rendered):
    """What it is, a picture, the answer and its figure, clone and two commands, a snippet, ..."""
    marks = [
        *("<h1>", "images/04_histogram_equalization.png", "made by `make results`: begin"),
        *("images/answer.png", "git clone ", "make run\nmake test\n", "```python", "```text"),
        *("| Notebook |", "| 00 ", "CITATION.cff"),
    ]
    places = [README.replace("# Image", "<h1> Image", 1).find(mark) for mark in marks]
    assert -1 not in places and places == sorted(places)
    assert re.findall(r"`{3}sh\n((?:.*\n)+?)`{3}", README)[1] == "make run\nmake test\n"


def test_its_tables_are_as_wide_as_a_phone(rendered):
    """Two columns: one that breaks its lines, with pictures that shrink, and one of a number."""
    tables = rendered.find_all("table")
    assert len(tables) == 1
    for row in tables[0].find_all("tr"):
        wide, number = row.find_all(["th", "td"])
        assert max(map(len, wide.get_text(" ").split())) <= len("ImageDataGenerator")
        assert len(number.get_text()) <= len("Minutes")
    assert all(int(image["width"]) <= 460 for image in rendered.select("img[width]"))


def test_its_snippet_prints_what_it_shows(tmp_path):
    """In a process of its own, from another folder: it can be pasted."""
    shown = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", README, re.M | re.S)
    assert shown and README.count("```python") == len(shown)
    for source, printed in shown:
        assert len(source.splitlines()) <= 12
        done = python("-c", source, cwd=tmp_path, PYTHONPATH=ROOT, TF_CPP_MIN_LOG_LEVEL=3)
        assert done.returncode == 0, done.stderr
        assert done.stdout == printed


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
    (row,) = [line for line in README.splitlines() if line.startswith(f"| {path.name[:2]} ")]
    image = BeautifulSoup(row, "html.parser").img
    assert f"[{title}](notebooks/{path.name})" in row
    assert row.endswith(f"| {minutes} |")
    assert image["src"] == f"images/{path.stem}.png"
    assert picture[1].startswith(image["alt"].rstrip(".")) and len(image["alt"].split()) >= 5


def test_there_is_no_row_too_many():
    assert len(re.findall(r"^\| \d\d ", README, re.MULTILINE)) == len(PATHS)


@pytest.mark.parametrize("page", [*PAGES, "README.zh-CN.md"])
def test_every_link_leads_somewhere(page):
    local = [link for link in links_of(text_of(page)) if not link.startswith("https://")]
    assert [link for link in local if not leads_somewhere(link, ROOT / page)] == []
    assert local


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
    assert ours or page == "README.md"
    assert [words for words in ours if not is_ours(words.split())] == []
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
    assert re.findall(r"tensorflow\[and-cuda\]==([\d.]+)", text_of("book/run.md")) == [locked]


def test_files_that_it_speaks_of_are_there():
    text = README + text_of("book/run.md")
    for name in ("LICENSE", "LICENSE-text", "CITATION.cff", "environment.yml", "requirements.lock"):
        assert name in text and (ROOT / name).is_file()
