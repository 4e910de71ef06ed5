"""Questions people ask: each has an address of its own, and leads to a section that there is.

That the page's links lead to anchors of the web edition is tested in test_book.py.
"""

import re
from collections import Counter
from difflib import get_close_matches

import nbformat
import pytest

from tests.common import anchor
from tests.notebooks.rules import FENCED, PATHS, prose_of
from tools import ROOT

ENTRY = re.compile(
    r"(?P<symptom>.*[.?!]”?) → \[(?P<number>\d\d), (?P<heading>[^]]+)\]"
    r"\(\.\./notebooks/(?P<stem>(?P=number)_\w+)\.ipynb#(?P<anchor>[\w-]+)\)"
    r" · \[[^]]+ (?P<thread>\d+)\]\((?P<address>\S+)\)"
)
ADDRESS = r"https://(github\.com/[\w-]+/[\w-]+/(issues|pull)|{others}\.com/questions)/{thread}"
FORUMS = r"(stackoverflow|stats\.stackexchange)"
PAGE = (ROOT / "book/questions.md").read_text("utf-8")
ITEMS = [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", PAGE, re.MULTILINE)]
ENTRIES = [match for match in map(ENTRY.fullmatch, ITEMS) if match]


@pytest.fixture(scope="module")
def headings():
    """{notebook: its headings}."""
    prose = {path.stem: FENCED.sub("", prose_of(nbformat.read(path, 4))) for path in PATHS}
    return {stem: re.findall(r"^#+ (.*)", text, re.MULTILINE) for stem, text in prose.items()}


def lost(entries, headings):
    """Of each entry that leads nowhere: where it should lead, and what is there of that name."""
    return [
        (entry["stem"], entry["heading"], get_close_matches(entry["heading"], own, 3, 0.3))
        for entry in entries
        if entry["heading"] not in (own := headings.get(entry["stem"], []))
    ]


def test_each_entry_has_the_form():
    assert [item for item in ITEMS if not ENTRY.fullmatch(item)] == []
    assert len(ENTRIES) >= 40
    assert all(len(entry["symptom"].split()) <= 20 for entry in ENTRIES)
    assert all(entry["anchor"] == anchor(entry["heading"]) for entry in ENTRIES)


def test_each_address_is_well_formed_and_there_once():
    for entry in ENTRIES:
        form = ADDRESS.format(others=FORUMS, thread=entry["thread"])
        assert re.fullmatch(form, entry["address"]), entry["address"]
    assert [a for a, times in Counter(e["address"] for e in ENTRIES).items() if times > 1] == []


def test_each_leads_to_a_section_that_there_is(headings):
    assert lost(ENTRIES, headings) == []


def test_a_section_that_disappears_is_missed(headings):
    entry = ENTRIES[0]
    fewer = [heading for heading in headings[entry["stem"]] if heading != entry["heading"]]
    assert lost([entry], headings | {entry["stem"]: fewer})
    assert lost([entry], {})


def test_the_groups_are_small_enough_to_look_through():
    groups = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert max(len(re.findall(r"^- ", group, re.MULTILINE)) for group in groups) <= 12
