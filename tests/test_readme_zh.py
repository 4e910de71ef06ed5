"""The README in Chinese: it keeps step with the English one, section by section.

That its links lead somewhere: test_readme.py.
"""

import re
from collections import Counter

import pytest
from bs4 import BeautifulSoup

from tests.common import anchor, links_of
from tools import ROOT

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
MADE = re.compile(r"<!-- made by `([^`]+)`: begin -->.*?<!-- made by `\1`: end -->", re.DOTALL)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
WORDS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
WORDS = (WORDS + "sixteen seventeen eighteen nineteen twenty").split()  # from 2; "one" is a pronoun
DIGITS = {"两": 2, **{digit: i for i, digit in enumerate("一二三四五六七八九", 1)}}


def sections(name):
    """Each heading with the text below it, but for what a command makes."""
    text = MADE.sub("", (ROOT / name).read_text("utf-8"))
    return re.split(r"^(?=#+ )", text, flags=re.MULTILINE)[1:]


def anchors(name):
    """Of its headings, in order."""
    headings = [section.partition("\n")[0].lstrip("# ") for section in sections(name)]
    return [f"#{anchor(heading)}" for heading in headings]


def shared_links(name, text):
    """Where a section's links lead: one within the page to the heading with this number."""
    places = anchors(name)
    return Counter(
        places.index(link) if link.startswith("#") else link
        for link in links_of(text)
        if not link.startswith("README")
    )


def numbers(text):
    """Those in digits, and those in words from two on."""
    found = re.findall(r"\d+(?:[.,]\d+)*", text)
    for word in re.findall(rf"\b(?:{'|'.join(WORDS)})\b", text.lower()):
        found.append(str(WORDS.index(word) + 2))
    for word in re.findall(
        r"[二三四五六七八九]?十[一二三四五六七八九]?|[两二三四五六七八九]", text
    ):
        tens, ten, ones = word.rpartition("十")
        found.append(str((DIGITS.get(tens, 1) * 10 if ten else 0) + DIGITS.get(ones, 0)))
    return Counter(found)


def test_both_have_the_same_headings():
    levels = [[text.split()[0] for text in sections(name)] for name in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1] and len(levels[0]) > 5


@pytest.fixture(params=range(len(sections(ENGLISH))), ids=anchors(ENGLISH))
def pair(request):
    return [sections(name)[request.param] for name in (ENGLISH, CHINESE)]


def test_a_section_has_the_same_code(pair):
    blocks, spans = (
        [CODE.findall(text) for text in pair],
        [Counter(re.findall(r"`[^`\n]+`", CODE.sub("", text))) for text in pair],
    )
    assert blocks[0] == blocks[1] and spans[0] == spans[1]


def test_a_section_has_the_same_links_and_pictures(pair):
    english, chinese = map(shared_links, (ENGLISH, CHINESE), pair)
    assert english == chinese


def test_a_section_has_the_same_numbers(pair):
    english, chinese = map(numbers, pair)
    assert english == chinese


def test_a_row_of_the_table_has_the_same_link_minutes_and_numbers():
    english, chinese = (
        re.findall(r"^\| \d\d .*$", (ROOT / name).read_text("utf-8"), re.MULTILINE)
        for name in (ENGLISH, CHINESE)
    )
    assert len(english) == len(chinese) > 5
    for own, other in zip(english, chinese, strict=True):
        assert links_of(own) == links_of(other)
        assert numbers(own) == numbers(other)


def test_titles_and_alternative_texts_are_chinese():
    text = (ROOT / CHINESE).read_text("utf-8")
    words = [image["alt"] for image in BeautifulSoup(text, "html.parser").find_all("img")]
    words += re.findall(r"!\[([^\]]*)\]", text) + re.findall(r"^#+ (.*)", text, re.MULTILINE)
    words += re.findall(r"\[([^\]]*)\]\(notebooks/", text)
    assert [each for each in words if not re.search(r"[\u4e00-\u9fff]", each)] == []


def test_each_leads_to_the_other():
    for name, other in ((ENGLISH, CHINESE), (CHINESE, ENGLISH)):
        assert other in links_of(sections(name)[0])
