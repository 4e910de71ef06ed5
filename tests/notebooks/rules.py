"""What the notebooks are held to: how one is built, and how two executions are compared."""

import ast
import base64
import builtins
import io
import re
import symtable
from itertools import pairwise
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity
from skimage.transform import downscale_local_mean

from tools.notebooks import NOTEBOOKS

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)

MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(?:home|root|Users|tmp|var|opt|usr|mnt|work|content|private)/|[A-Z]:\\\\?\w"
)
SECTIONS = ("## Watch out", "## Your turn", "## What we have seen", "## References")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FOLDED_OR_NEXT = re.compile(r"<details>|\*\*Exercise \d|## ")
EMPTY_HEADER = re.compile(r"^\|(?:.*\|)? *\|.*\n\| *:?-", re.MULTILINE)  # of a table's column
LIST_BY_MISTAKE = re.compile(r"^(?!\s*(?:[-+*]|\d+[.)]) |  )\S.*\n(?:\d+[.)]|[-+*]) ", re.MULTILINE)
LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")
NAMED = re.compile(r"(doi:|arXiv:|issue |pull request )(.*)")
FORMS = {  # where it leads, by what is named and its number
    "doi:": r"https://doi\.org/(?=10\.\d{{4,9}}/.){}",
    "arXiv:": r"https://arxiv\.org/abs/(?=\d{{4}}\.\d{{4,5}}$){}",
    "issue ": r"https://github\.com/[\w-]+/[\w-]+/issues/(?=\d+$){}",
    "pull request ": r"https://github\.com/[\w-]+/[\w-]+/pull/(?=\d+$){}",
}
UNLINKED = re.compile(r"\bdoi:|\barXiv:|\b[Ii]ssue \d|\b[Pp]ull request \d|github\.com|https?:")
HAVE_COLOR = {"contrast_stretching", "histogram_equalization"}  # their defaults differ
MAX_LINES = 20
MIN_WORDS_A_CELL = 15

# Pictures are compared as a reader sees them, after averaging 4 x 4 pixels, block by block
# of 48 x 48: another font of the same width gives 0.76 and more in the worst block of the
# collection's figures, one mirrored image among 24 gives 0.18.
AVERAGED, BLOCK, SIMILAR = 4, 12, 0.6


def code_cells(notebook):
    """Those with code in them, but for the one that papermill puts its parameters into."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code"
        and cell.source.strip()
        and "injected-parameters" not in tags_of(cell)
    ]


def tags_of(cell):
    return cell.metadata.get("tags", [])


def prose_of(notebook):
    """Its text in Markdown."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def pictures_of(cell):
    """(PNG bytes, alt text) of each figure in a cell's outputs."""
    return [
        (
            base64.b64decode(output.data["image/png"]),
            output.metadata.get("image/png", {}).get("alt", ""),
        )
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


def text_of(cell):
    """All that the cell printed or returned, but for the pictures."""
    return "".join(
        output["text"]
        if output.output_type == "stream"
        else output.get("data", {}).get("text/plain", output.get("evalue", ""))
        for output in cell.outputs
    )


# ---- one notebook


def problems(notebook):
    """What is wrong with a committed notebook, in words; nothing for a good one."""
    cells = code_cells(notebook)
    found = []
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("not executed once from top to bottom")
    for number, cell in enumerate(cells, 1):
        found += [f"code cell {number} {problem}" for problem in _cell_problems(cell)]
    shown = [cell for cell in cells if "parameters" not in tags_of(cell)]
    if not any(pictures_of(cell) for cell in shown[:3]):
        found.append("has no figure in its first three code cells")
    if sum("thumbnail" in tags_of(cell) for cell in cells) != 1:
        found.append("has not exactly one cell tagged thumbnail")
    if [tags_of(c) for c in cells if "load_cifar10()" in c.source] != [
        ["dataset", "nbval-ignore-output"]
    ]:
        found.append("has not exactly one cell that loads the data, tagged so")
    prose = prose_of(notebook)
    if len(prose.split()) < MIN_WORDS_A_CELL * len(cells):
        found.append(f"has only {len(prose.split())} words for {len(cells)} code cells")
    for wanted in ("**You will**", "**You need**", "**Time**", "**Next**", *SECTIONS):
        if wanted not in prose:
            found.append(f"lacks {wanted}")
    levels = [len(marks) for marks in re.findall(r"^(#+) ", FENCED.sub("", prose), re.MULTILINE)]
    if levels[:1] != [1] or levels.count(1) != 1:
        found.append("has not exactly one title, at its beginning")
    if any(below > above + 1 for above, below in pairwise(levels)):
        found.append("skips a level of headings")
    if EMPTY_HEADER.search(prose):
        found.append("has a table with an empty cell in its header")
    if hit := LIST_BY_MISTAKE.search(prose):
        found.append(f"has a paragraph that goes on as a list: {hit[0]!r}")
    found += _reference_problems(prose.partition("## References")[2])
    for cell, following in pairwise(notebook.cells):
        if "solution" in tags_of(cell) and not FOLDED_OR_NEXT.match(following.source):
            found.append(f"says what a solution shows beside its fold: {following.source[:40]!r}")
    exercises = len(re.findall(r"^\*\*Exercise \d|^### Exercise \d", prose, re.MULTILINE))
    solutions = sum("solution" in tags_of(cell) for cell in cells)
    if not 2 <= exercises <= solutions:
        found.append(f"has {exercises} exercises and {solutions} solutions")
    return found


def _reference_problems(references):
    """A DOI, a paper on arXiv, an issue and a pull request is a link, and to what it names."""
    if hit := UNLINKED.search(LINK.sub("", references)):
        yield f"has a reference that is no link: {hit[0]!r}"
    for words, address in LINK.findall(references):
        named = NAMED.fullmatch(words)
        form = named and FORMS[named[1]].format(re.escape(quote(named[2])))
        if not re.fullmatch(form or r"https://.*", address):
            yield f"links {words!r} to {address}"


def _cell_problems(cell):
    lines = [line for line in cell.source.splitlines() if line.strip()]
    if len(lines) > MAX_LINES:
        yield f"has {len(lines)} lines"
    for call in _calls_without_color(cell.source):
        yield f"leaves color= out: {call}"
    for png, alt in pictures_of(cell):
        if len(alt.split()) < 6:
            yield f"shows a figure whose alt text is {alt!r}"
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        if any(edge.min() < 250 for edge in (picture[0], picture[-1], *picture.T[[0, -1]])):
            yield "shows a figure that is cut off at an edge"
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"ends in {output.ename}"
        if output.get("name") == "stderr":
            yield f"prints to stderr: {output.text[:80]!r}"
    if hit := MACHINE_PATH.search(text_of(cell)):
        yield f"shows a path of a machine: {hit[0]!r}"
    if "solution" in tags_of(cell) and not cell.metadata.get("jupyter", {}).get("source_hidden"):
        yield "is a solution that is not hidden"


def _calls_without_color(source):
    for node in ast.walk(ast.parse(_python(source))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in HAVE_COLOR and "color" not in {keyword.arg for keyword in node.keywords}:
                yield ast.unparse(node)


def _python(source):
    """A cell's source with nothing in place of each line that is for IPython."""
    return re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE)


# ---- its sections, each alone


def sections(notebook):
    """(code cells of the set-up, {heading: the other code cells from there to the next heading}).

    The set-up is what a reader runs before any section: the cells tagged `dataset` and
    `parameters`, wherever they stand, and those before the first `##` that show nothing.
    """
    setup, found, heading, code = [], {}, "", code_cells(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            prose = FENCED.sub("", cell.source)
            heading = [heading, *re.findall(r"^##+ (.*)", prose, re.MULTILINE)][-1]
        elif cell in code:
            silent = not heading and not cell.outputs
            of_setup = silent or {"dataset", "parameters"} & {*tags_of(cell)}
            (setup if of_setup else found.setdefault(heading, [])).append(cell)
    return setup, found


def missing_names(notebook):
    """{heading: the names that its cells use before they, or the set-up, have made them}."""
    setup, found = sections(notebook)
    known = {*dir(builtins), "display"}.union(*(_names(cell.source)[0] for cell in setup))
    missing = {}
    for heading, cells in found.items():
        made = {*known}
        for cell in cells:
            makes, uses = _names(cell.source)
            made |= makes
            if unknown := uses - made:
                missing.setdefault(heading, set()).update(unknown)
    return missing


def _names(source):
    """Global names: (those that it makes, those that it uses)."""
    whole = symtable.symtable(_python(source), "cell", "exec")
    makes = {s.get_name() for s in whole.get_symbols() if s.is_assigned() or s.is_imported()}
    uses, tables = set(), [whole]
    for table in tables:
        tables += table.get_children()
        uses |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (table is whole or symbol.is_global())
        }
    return makes, uses


# ---- two executions of one notebook


def differences(committed, executed, only_tagged=False):
    """Where the outputs differ, in words.

    ``only_tagged`` compares only the cells tagged ``nbval-check-output``, whose outputs hold
    on any images; otherwise all but those tagged ``nbval-ignore-output`` are compared, and but
    for those tagged ``training``, which state what many images and not the first few show.
    """
    found = []
    pairs = zip(code_cells(committed), code_cells(executed), strict=True)
    for number, (before, after) in enumerate(pairs, 1):
        tags = tags_of(before)
        if {"nbval-ignore-output", "training"} & {*tags}:
            continue
        if only_tagged and "nbval-check-output" not in tags:
            continue
        if text_of(before) != text_of(after):
            found.append(f"code cell {number}: {text_of(before)!r} became {text_of(after)!r}")
        if other := other_pictures(before, after):
            found.append(f"code cell {number}: {other}")
    return found


def other_pictures(before, after):
    """How the figures of a cell differ, in words."""
    pictures = pictures_of(before), pictures_of(after)
    if len(pictures[0]) != len(pictures[1]):
        return "another number of figures"
    if not all(look_alike(a[0], b[0]) for a, b in zip(*pictures, strict=True)):
        return "another picture"
    return None


def look_alike(png, other):
    """Whether two pictures show the same, whatever the font."""
    images = [np.asarray(Image.open(io.BytesIO(p)).convert("RGB"), float) for p in (png, other)]
    if images[0].shape != images[1].shape:
        return False
    small = [downscale_local_mean(image, (AVERAGED, AVERAGED, 1)) for image in images]
    _, similarity = structural_similarity(*small, channel_axis=-1, data_range=255, full=True)
    similarity = similarity.mean(axis=-1)
    worst = min(
        similarity[row : row + BLOCK, column : column + BLOCK].mean()
        for row in range(0, similarity.shape[0], BLOCK)
        for column in range(0, similarity.shape[1], BLOCK)
    )
    return worst >= SIMILAR
