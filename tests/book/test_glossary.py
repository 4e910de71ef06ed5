"""The glossary: two languages, notebooks that use the term, and no link that leads nowhere."""

import re

import nbformat
import pytest

from tests.common import anchor
from tools import ROOT
from tools.notebooks import NOTEBOOKS

GLOSSARY = (ROOT / "book" / "glossary.md").read_text("utf-8")
ENTRIES = {
    heading: [part.replace("\n", " ") for part in body.strip().split("\n\n")]
    for heading, body in re.findall(r"^### (.+)\n+((?:(?!^#).*\n?)+)", GLOSSARY, re.MULTILINE)
}
NAMES = re.compile(r'\*\*<span lang="zh-Hans">([^<]+)</span>\*\*(?: · (.+))?')
PAGES = [*NOTEBOOKS.glob("*.ipynb"), *ROOT.glob("*.md"), *ROOT.glob("assignments/**/*.md")]
PAGES += [*ROOT.glob("assignments/source/**/*.ipynb"), *ROOT.glob("book/*.md")]


def text_of(path):
    """A page's own words: of a notebook, the sources of its cells."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    return "\n\n".join(cell.source for cell in nbformat.read(path, 4).cells)


TEXTS = {path: text_of(path) for path in PAGES}
LINKED = {path: set(re.findall(r"\bglossary\.md#([\w-]+)", text)) for path, text in TEXTS.items()}


def test_terms_and_chinese_names_are_unique():
    headings = re.findall(r"^#+ (.+)", GLOSSARY, re.MULTILINE)
    assert len({anchor(heading) for heading in headings}) == len(headings)
    names = [NAMES.fullmatch(first)[1] for first, *_ in ENTRIES.values()]
    assert len(set(names)) == len(names) == len(re.findall(r"^### ", GLOSSARY, re.MULTILINE))


@pytest.mark.parametrize("term", ENTRIES)
def test_a_term_has_a_chinese_name_a_sentence_and_notebooks_that_use_it(term):
    first, *body = ENTRIES[term]
    chinese, synonyms = NAMES.fullmatch(first).groups()
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert len(" ".join(body).split()) > 15 and body[-1].endswith(".")
    words = [term, *(synonyms or "").replace("`", "").split(", ")]
    used = re.compile("|".join(rf"\b{re.escape(word)}" for word in words if word), re.IGNORECASE)
    notebooks = re.findall(r"\]\(\.\./notebooks/([^)]+)\)", " ".join(body))
    assert notebooks
    for name in notebooks:
        said = re.sub(r"\]\([^)]*\)", "]", TEXTS[NOTEBOOKS / name]).replace("\n", " ")
        assert used.search(said), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_the_glossary_leads_to_a_term(path):
    assert LINKED[path] <= {anchor(heading) for heading in ENTRIES}


@pytest.mark.parametrize("term", ENTRIES)
def test_a_notebook_links_to_each_term(term):
    assert any(anchor(term) in LINKED[path] for path in NOTEBOOKS.glob("*.ipynb"))
