"""The web edition: complete, self-contained, usable from disk, and accessible."""

import functools
import http.server
import io
import itertools
import os
import re
import shlex
import shutil
import threading
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pytest
import skimage.io
from bs4 import BeautifulSoup

from tests.common import python, violations
from tests.notebooks.rules import PATHS, code_cells, every_notebook, pictures_of, tags_of
from tools import ROOT
from tools.address import public_address

OTHERS = (  # pages that are no notebooks
    *("README.zh-CN", "book/index", "book/play", "book/run", "book/glossary"),
    *("book/questions", "book/references", "book/reference"),
    *("results/report", "results/report.zh-CN", "results/speed"),
    *("results/fair", "results/fair.zh-CN", "experiments/plan"),
    *("assignments/README", "CONTRIBUTING"),
)
PAGES = [*OTHERS, *(f"notebooks/{path.stem}" for path in PATHS)]
CITED = re.compile(  # in references and questions, where their own tests hold the form
    r"https://(doi\.org|arxiv\.org/abs|github\.com/[\w-]+/[\w-]+/(issues|pull)"
    r"|(stackoverflow|stats\.stackexchange)\.com/questions)/\S+"
)
OUTSIDE = {  # where links may lead
    "https://github.com/opencv/opencv/blob/4.x/modules/imgproc/src/clahe.cpp",
    "https://github.com/opencv/opencv/blob/4.x/modules/imgproc/src/histogram.cpp",
    "https://github.com/sukilau/Ziff-deep-learning",
    "https://docs.opencv.org/4.x/d6/db6/classcv_1_1CLAHE.html",
    "https://keras.io/api/layers/preprocessing_layers/",
    "https://keras.io/api/optimizers/adadelta/",
    "https://scikit-image.org/docs/0.26.x/api/skimage.data.html",
    "https://scikit-image.org/docs/0.26.x/api/skimage.exposure.html",
    "https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
    "https://www.jstor.org/stable/4615733",
    "https://www.tensorflow.org/guide/data_performance",
    "https://www.tensorflow.org/guide/keras/preprocessing_layers",
    "https://www.tensorflow.org/versions/r2.12/api_docs/python/tf/keras/preprocessing/image",
    "https://github.com/hendrycks/robustness",
    "https://github.com/sukilau/Ziff-deep-learning/tree/master/2-CIFAR10-data-generator",
    "https://docs.astral.sh/uv/",
    "https://nbgrader.readthedocs.io/",
    "https://towardsdatascience.com/image-augmentation-for-deep-learning-histogram-equalization"
    "-a71387f609b2",
}
LAUNCHERS = ("https://colab.research.google.com/github/", "https://mybinder.org/v2/gh/")
NO_EXCERPTS = (  # a search's, from disk: there the browser lets no page read the others
    *("Access to fetch at 'file:", "Failed to load resource: net::ERR_FAILED", "Failed to fetch"),
)
KINDS = (  # of page
    *("book/index", "book/play", "notebooks/11_explore", "_modules/augment_utils/contrast"),
)
TABLES = "article .pst-scrollable-table-container"
TOO_WIDE = (
    """all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)"""
)
BROKEN_WORDS = """all => all.flatMap(one => {
  const walker = document.createTreeWalker(one, NodeFilter.SHOW_TEXT), broken = [];
  for (let text; (text = walker.nextNode()); )
    for (const word of text.data.matchAll(/[\\p{L}\\p{N}]+/gu)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const tops = new Set([...range.getClientRects()].map(box => box.top));
      if (tops.size > 1) broken.push(word[0]);
    }
  return broken;
})"""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The folder that the Makefile's own command made, in which warnings are errors."""
    folder = tmp_path_factory.mktemp("book")
    recipe = re.search(r"^book:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)[1]
    (command,) = [line for line in recipe.splitlines() if "sphinx" in line]
    words = shlex.split(command.strip())
    assert words[0] == "$(BIN)/python" and words[-1] == "build/book" and "-W" in words
    words[words.index("-d") + 1], words[-1] = folder / "doctrees", folder / "html"
    done = python(*words[1:], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="session")
def pages(book):
    """{name: parsed page} of all that was built, the source code's pages too."""
    return {
        path.relative_to(book).with_suffix("").as_posix(): BeautifulSoup(
            path.read_text("utf-8"), "html.parser"
        )
        for path in book.rglob("*.html")
        if "_static" not in path.parts
    }


@pytest.fixture(scope="session")
def served(book):
    """The book's address on loopback."""
    handler = functools.partial(QuietHandler, directory=book)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


# ---- what was built


def test_every_page_is_there_and_in_reading_order(pages):
    assert set(PAGES) <= set(pages)
    links = [a["href"] for a in pages["book/index"].select("nav.bd-links a.reference")]
    names = [os.path.normpath(f"book/{link}")[:-5] for link in links]
    assert names[:2] == ["book/play", "book/run"]
    chinese = ["README.zh-CN", "results/fair.zh-CN", "results/report.zh-CN"]
    assert names[-3:] == chinese  # beside the path, not in it
    assert sorted(names) == sorted({*PAGES} - {"book/index"})
    notebooks = [name for name in names if name.startswith("notebooks/")]
    assert notebooks == [f"notebooks/{path.stem}" for path in PATHS]
    for before, after in itertools.pairwise(names):
        (following,) = pages[before].select("a.right-next")
        assert os.path.normpath(os.path.join(before, "..", following["href"]))[:-5] == after


def test_the_gallery_shows_every_notebook(pages):
    cards = pages["book/index"].select(".sd-card")
    assert len(cards) == len(PATHS)
    for card, path in zip(cards, PATHS, strict=True):
        assert card.select_one("a.sd-stretched-link")["href"].endswith(f"{path.stem}.html")
        assert card.img["src"].endswith(f"{path.stem}.png") and len(card.img["alt"].split()) > 5


@every_notebook
def test_a_page_shows_its_notebook_as_committed(path, pages):
    page, cells = pages[f"notebooks/{path.stem}"], code_cells(nbformat.read(path, 4))
    shown = [image["alt"] for image in page.select("div.cell_output img")]
    assert shown == [" ".join(alt.split()) for cell in cells for _, alt in pictures_of(cell)]
    code = " ".join(" ".join(box.get_text().split()) for box in page.select(".cell_input"))
    assert shown and not any(alt[:40] in code for alt in shown)  # it would give figures away
    folded = page.select("details.hide")
    assert len(folded) == sum("hide-cell" in tags_of(cell) for cell in cells) > 0
    assert not any(detail.has_attr("open") for detail in folded)
    assert "Show the solution" in folded[0].summary.get_text()
    source = page.select_one(".btn-download-source-button")["href"]
    assert source.endswith(f"/{path.name}")


def test_a_page_by_nbconvert_is_without_solutions(tmp_path):
    command = re.search(r"^jupyter (nbconvert .*)", (ROOT / "book/run.md").read_text("utf-8"), re.M)
    done = python("-m", *command[1].split(), "--output-dir", tmp_path, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.glob("*.html")
    text = page.read_text("utf-8")
    assert "Exercise 1" in text and "Solution to exercise" not in text


def test_links_inside_lead_somewhere(book, pages):
    broken = []
    for name, page in pages.items():
        folder = (book / name).parent
        for tag in page.select("[href], [src]"):
            link = urlsplit(tag.get("href") or tag.get("src"))
            if link.scheme or link.netloc:
                continue
            target = (folder / unquote(link.path)) if link.path else (book / f"{name}.html")
            if not target.exists() or (
                link.fragment
                and target.suffix == ".html"
                and not _has_id(pages, book, target, link)
            ):
                broken.append(f"{name}: {link.geturl()}")
    assert broken == []


def _has_id(pages, book, target, link):
    page = pages[target.resolve().relative_to(book.resolve()).with_suffix("").as_posix()]
    return page.find(id=unquote(link.fragment)) is not None


def test_links_outside_are_well_formed_and_known(pages):
    links = {a["href"] for page in pages.values() for a in page.select("a[href*='//']")}
    if address := public_address():
        links = {link for link in links if not link.startswith((address, *LAUNCHERS))}
    cited = {link for link in links if CITED.fullmatch(link)}
    assert len(cited) > 10 and links - cited == OUTSIDE
    for link in map(urlsplit, links):
        assert link.scheme == "https" and re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", link.netloc)
        assert re.fullmatch(r"/[\w./~%-]*", link.path) and not link.query


@pytest.mark.slow
def test_with_a_public_address_there_are_its_links_and_no_pictures_of_others(tmp_path):
    """In a copy with one notebook; links to the others lead nowhere there."""
    for folder in ("augment_utils", "book", "results", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("pyproject.toml", "CITATION.cff", "README.md", "README.zh-CN.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    shutil.copy(PATHS[-1], tmp_path / "notebooks")
    settings = re.sub(
        r"^(# )?Repository = .*",
        'Repository = "https://github.com/example/example"',
        (tmp_path / "pyproject.toml").read_text("utf-8"),
        flags=re.MULTILINE,
    )
    (tmp_path / "pyproject.toml").write_text(settings, "utf-8")
    for words in (["tools.address"], ["sphinx", "-q", "-c", "book", ".", "html"]):
        done = python("-m", *words, cwd=tmp_path, PYTHONPATH=None)
        assert done.returncode == 0, done.stderr
    notebook = f"notebooks/{PATHS[-1].name}"
    wanted = {
        f"notebooks/{PATHS[-1].stem}": {
            "https://github.com/example/example",
            f"https://github.com/example/example/blob/main/{notebook}?plain=1",
            f"https://colab.research.google.com/github/example/example/blob/main/{notebook}",
            f"https://mybinder.org/v2/gh/example/example/main?urlpath=lab/tree/{notebook}",
        },
        "README.zh-CN": {"https://mybinder.org/v2/gh/example/example/HEAD?labpath=notebooks"},
    }
    for name, links in wanted.items():
        text = (tmp_path / "html" / f"{name}.html").read_text("utf-8")
        page = BeautifulSoup(text, "html.parser")
        found = {a["href"] for a in page.select("a[href^='https:']")}
        assert links <= found
        assert any("/issues/new?" in link for link in found)
        assert not page.select("[src*='//']")


def test_tables_have_headers_and_headings_nest(pages):
    for name in PAGES:
        article = pages[name].select_one("article")
        for table in article.select("table"):
            heads = table.select("thead th")
            assert heads and all(head.get_text(strip=True) for head in heads), (name, table)
        levels = [int(heading.name[1]) for heading in article.select("h1, h2, h3, h4, h5, h6")]
        assert levels.count(1) == 1 and levels[0] == 1, name
        assert all(b <= a + 1 for a, b in itertools.pairwise(levels)), name


def test_every_picture_has_alternative_text(pages):
    short = [
        (name, image["src"])
        for name in PAGES
        for image in pages[name].select("article img")
        if len(image.get("alt", "").encode()) < 25  # three for a Chinese character
    ]
    assert short == []


# ---- in a browser


@pytest.fixture
def open_page(browser):
    """A function that opens a page and returns it; what it asks of others, and errors, fail."""
    contexts, requests, errors = [], [], []

    def note_error(text):
        if not text.startswith(NO_EXCERPTS):
            errors.append(text)

    def open_one(address, viewport=DESKTOP, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and note_error(said.text))
        page.on("pageerror", lambda error: note_error(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield open_one
    for context in contexts:
        context.close()
    ours = ("file:", "data:", "blob:", "http://127.0.0.1:")
    assert [url for url in requests if not url.startswith(ours)] == [] and errors == []


@pytest.mark.parametrize(
    "name", [*KINDS, *(pytest.param(n, marks=pytest.mark.slow) for n in PAGES if n not in KINDS)]
)
def test_a_page_is_accessible_and_fits(name, served, open_page):
    for viewport, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
        page = open_page(f"{served}/{name}.html", viewport, scheme)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        # code and printed tables of 100 columns fit on a desktop, and scroll on a phone
        boxes = (
            "article :is(pre, .pst-scrollable-table-container)" if viewport == DESKTOP else TABLES
        )
        too_wide = page.eval_on_selector_all(boxes, TOO_WIDE)
        if viewport == PHONE:  # a table of numbers alone scrolls there beside its first column
            too_wide = [box for box in too_wide if "verdict" in box or name != "results/report"]
        assert too_wide == []
        assert violations(page, "article", preload=False) == []


def test_two_settings_beside_each_other_are_accessible_and_fit(book, open_page):
    for viewport, scheme in ((DESKTOP, "dark"), (PHONE, "light")):
        page = open_page((book / "book/play.html").as_uri(), viewport, scheme)
        page.check("[name=compare]")
        page.get_by_text("A and B differ at").wait_for()
        ends = [
            page.locator(f".{part}").bounding_box() for part in ("A canvas >> nth=0", "controls.B")
        ]
        assert ends[1]["y"] + ends[1]["height"] - ends[0]["y"] <= viewport["height"]
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert violations(page, "article", preload=False) == []


@pytest.mark.parametrize("name", ["README.zh-CN", "results/report", "results/speed"])
def test_tables_fit_on_a_phone(name, book, open_page):
    """But for those of numbers alone, which scroll beside their first column."""
    page = open_page((book / f"{name}.html").as_uri(), PHONE)
    assert page.locator(TABLES).count() > 0
    too_wide = page.eval_on_selector_all(TABLES, TOO_WIDE)
    assert len(too_wide) <= 2 and not any("verdict" in table for table in too_wide)
    page = open_page((book / f"{name}.html").as_uri(), DESKTOP)
    assert page.eval_on_selector_all(TABLES, TOO_WIDE) == []


def test_what_scrolls_on_a_phone_says_so(book, open_page):
    """The shadow at its end goes when it has been scrolled there."""
    page = open_page((book / "notebooks/09_does_it_help.html").as_uri(), PHONE)
    code = page.locator("article .cell_input pre").first
    ends = []
    for place in (0, 10_000):
        code.evaluate("(one, place) => one.scrollTo(place, 0)", place)
        picture = skimage.io.imread(io.BytesIO(code.screenshot()))
        ends.append(picture[4:10, -20:-2].astype(int))  # above the first line
    assert np.ptp(ends[0]) > 60 > 10 > np.ptp(ends[1])


def test_words_of_titles_stay_whole_on_a_phone(book, open_page):
    for name in ("01_image_data_generator", "10_todays_input_pipelines"):
        page = open_page((book / f"notebooks/{name}.html").as_uri(), PHONE)
        broken = page.eval_on_selector_all("article :is(h1, h2, h3)", BROKEN_WORDS)
        assert broken == []


def test_focus_is_seen_on_cards_and_code_can_be_copied_by_keyboard(book, open_page):
    page = open_page((book / "book/index.html").as_uri())
    page.locator(".sd-card a").first.focus()
    page.keyboard.press("Tab")
    ring = "one => getComputedStyle(one).outlineStyle"
    assert page.locator(".sd-card").nth(1).evaluate(ring) == "solid"
    page = open_page((book / "book/run.html").as_uri())
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("button.copybtn").first.focus()
    page.keyboard.press("Enter")
    page.locator("button.copybtn.success").wait_for()
    assert "make run" in page.evaluate("navigator.clipboard.readText()")


def test_a_figure_leads_to_itself_in_full_size(book, open_page):
    page = open_page((book / "notebooks/02_histograms_and_contrast.html").as_uri(), PHONE)
    figure = page.locator(".cell_output a > img").first
    assert figure.evaluate("one => one.clientWidth < one.naturalWidth")
    figure.click()
    page.wait_for_url("**/_images/*.png")


@pytest.mark.parametrize("name", ["README.zh-CN", "results/report", "notebooks/06_clahe"])
def test_figures_keep_their_proportions(name, book, open_page):
    for viewport in (DESKTOP, PHONE):
        page = open_page((book / f"{name}.html").as_uri(), viewport)
        sides = (
            "all => all.map(one => [one.width / one.height, one.naturalWidth / one.naturalHeight])"
        )
        shown, drawn = np.transpose(page.eval_on_selector_all("article img", sides))
        assert np.allclose(shown, drawn, rtol=0.05)


def test_the_gallery_leads_to_a_notebook_from_disk_and_served(book, served, open_page):
    for root in (book.as_uri(), served):
        page = open_page(f"{root}/index.html")
        page.wait_for_url("**/book/index.html")
        page.click(".sd-card:nth-of-type(1) >> nth=0")
        page.wait_for_url("**/notebooks/00_*.html")


def test_formulas_are_drawn(book, open_page):
    page = open_page((book / "notebooks/04_histogram_equalization.html").as_uri())
    page.wait_for_selector("mjx-container")
    page.wait_for_function(
        "document.querySelectorAll('.math:not(:has(mjx-container))').length == 0"
    )
    assert page.locator("mjx-merror").count() == 0


@pytest.mark.parametrize("from_disk", [True, False])
def test_the_search_finds_words(book, served, open_page, from_disk):
    page = open_page(f"{book.as_uri() if from_disk else served}/search.html?q=clip+limit")
    page.wait_for_selector("ul.search li")
    links = page.eval_on_selector_all("ul.search a", "all => all.map(one => one.href)")
    assert any("06_clahe" in link for link in links)


def test_a_solution_folds_open_by_keyboard(book, open_page):
    page = open_page((book / "notebooks/04_histogram_equalization.html").as_uri())
    fold = page.locator("details.hide").first
    assert not fold.locator("pre").first.is_visible()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.locator("pre").first.is_visible()


def test_dark_and_light_can_be_changed_and_pictures_stay_true(book, open_page):
    page = open_page((book / "notebooks/02_histograms_and_contrast.html").as_uri(), scheme="dark")
    assert page.eval_on_selector("article img", "one => getComputedStyle(one).filter") == "none"
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("button.theme-switch-button")
    page.click("button.theme-change-button[data-mode=light]")
    page.wait_for_function("document.documentElement.dataset.theme == 'light'")
    assert page.evaluate(ground) != dark
