"""Notebooks made wrong on purpose: the rules and nbval must see it."""

import base64
import io
import re

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

from augment_utils import clahe
from augment_utils.plotting import plot_histograms, plot_images
from tests.common import python, write_notebook
from tests.notebooks.rules import (
    PATHS,
    code_cells,
    differences,
    missing_names,
    pictures_of,
    problems,
    tags_of,
)
from tools import ROOT


@pytest.fixture
def notebook():
    """One of the committed."""
    return nbformat.read(PATHS[3], 4)


def with_figure(notebook):
    """The first cell that shows a figure, and that output."""
    cell = next(cell for cell in code_cells(notebook) if pictures_of(cell))
    return cell, next(o for o in cell.outputs if "image/png" in o.get("data", {}))


def puts_out(notebook, kind, **content):
    code_cells(notebook)[4].outputs = [nbformat.v4.new_output(kind, **content)]


def has_alt(notebook, **alt):
    with_figure(notebook)[1].metadata["image/png"] = alt


def adds(notebook, text):
    notebook.cells.append(nbformat.v4.new_markdown_cell(text))


def replaces(notebook, old, new):
    for cell in notebook.cells:
        cell.source = cell.source.replace(old, new)


def cuts_a_figure_off(notebook):
    output = with_figure(notebook)[1]
    picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    png = io.BytesIO()
    picture.crop((0, 60, *picture.size)).save(png, "png")
    output.data["image/png"] = base64.b64encode(png.getvalue()).decode()


def is_solution(cell):
    return "solution" in tags_of(cell)


SPOILT = {  # {what the rules say: how to come by it}
    "not executed once from top to bottom": lambda n: code_cells(n)[4].update(execution_count=None),
    "once from top to bottom": lambda n: code_cells(n)[-1].update(execution_count=99),
    "alt text is ''": has_alt,
    "alt text is 'A figure.'": lambda n: has_alt(n, alt="A figure."),
    "cut off at an edge": cuts_a_figure_off,
    "path of a machine: '/home/'": lambda n: puts_out(n, "stream", text="in /home/ann/deer.png"),
    "path of a machine: 'C:": lambda n: puts_out(n, "stream", text="in C:\\Users\\ann\\deer.png"),
    "stderr: 'UserWarning": lambda n: puts_out(n, "stream", name="stderr", text="UserWarning: hm"),
    "ends in KeyError": lambda n: puts_out(n, "error", ename="KeyError", evalue="", traceback=[]),
    "has 21 lines": lambda n: code_cells(n)[4].update(source="x = 1\n" * 21),
    "leaves color= out: au.contrast_stretching(deer": lambda n: replaces(
        n, ', color="value")', ")"
    ),
    "leaves color= out: contrast_stretching(": lambda n: code_cells(n)[4].update(
        source="contrast_stretching(deer, 2, 98)"
    ),
    "not exactly one title": lambda n: adds(n, "# More"),
    "skips a level of headings": lambda n: replaces(n, "## Watch out", "#### Watch out"),
    "goes on as a list: 'The weights sum to": lambda n: adds(n, "The weights sum to\n1. Notice."),
    "empty cell in its header": lambda n: adds(n, "| | HE |\n| --- | --- |\n| a | b |"),
    "lacks ## References": lambda n: replaces(n, "## References", "## More"),
    "no link: 'doi:'": lambda n: adds(n, "- A. Author, *A Book*, doi:10.1000/182."),
    "no link: 'issue 7'": lambda n: adds(n, "- Keras, issue 7, 2016."),
    "links 'doi:10.1000/182' to": lambda n: adds(n, "[doi:10.1000/182](https://doi.org/10.1000/1)"),
    "links 'issue 7' to": lambda n: adds(n, "[issue 7](https://github.com/a/b/issues/8)"),
    "beside its fold: 'No.": lambda n: n.cells.insert(
        1 + next(i for i, cell in enumerate(n.cells) if is_solution(cell)),
        nbformat.v4.new_markdown_cell("No. Only the darkest level goes to 0."),
    ),
    "0 solutions": lambda n: n.update(cells=[c for c in n.cells if not is_solution(c)]),
    "not hidden": lambda n: next(filter(is_solution, n.cells)).metadata.pop("jupyter"),
}


@pytest.mark.parametrize("message", SPOILT)
def test_a_spoilt_notebook_has_problems(notebook, message):
    assert problems(notebook) == []
    SPOILT[message](notebook)
    assert message in "; ".join(problems(notebook))


SECOND = {  # {code of a second section: the names that it lacks}
    "deer = 2\nprint(deer)": {},
    "print(np.abs(data), bright(3), sorted([deer for deer in (1, 2)]))": {},
    "def bright(image, deer):\n    return image + deer": {},
    "print(deer)": {"deer"},
    "def dark(image):\n    v = image - deer\n    return v": {"deer"},
    "print(v)\nclass A:\n    v = deer": {"deer", "v"},
    "print([v * deer for v in (1, 2)])": {"deer"},
}


@pytest.mark.parametrize("source", SECOND)
def test_a_section_that_needs_another_lacks_names(source):
    code, prose = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    shown = [nbformat.v4.new_output("stream", text="1")]
    dataset = code("data = 1\nprint(data)", outputs=shown, metadata={"tags": ["dataset"]})
    cells = [
        *(prose("# A title"), code("import numpy as np"), dataset),
        *(code("def bright(image):\n    return image + 1"), code("v = 1\nprint(v)", outputs=shown)),
        *(prose("## The first"), code("deer = 1")),
        *(prose("```\n## no heading\n```\n\n### The second"), code(source), code("deer = 3")),
    ]
    found = missing_names(nbformat.v4.new_notebook(cells=cells))
    assert found == ({"The second": SECOND[source]} if SECOND[source] else {})


def test_a_changed_number_is_a_difference(notebook):
    changed = nbformat.from_dict(notebook)
    compared = [c for c in code_cells(changed) if "nbval-ignore-output" not in tags_of(c)]
    cell = next(c for c in compared if c.outputs and "text" in c.outputs[0])
    assert differences(notebook, changed) == []
    cell.outputs[0].text = "3" + cell.outputs[0].text
    (difference,) = differences(notebook, changed)
    assert "became '3" in difference


# ---- pictures


def png_of(fig):
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=110)
    plt.close(fig)
    return buffer.getvalue()


def with_picture(notebook, png):
    copy = nbformat.from_dict(notebook)
    with_figure(copy)[1].data["image/png"] = base64.b64encode(png).decode()
    return copy


def grid(images):
    return png_of(plot_images(images, [f"image {i}" for i in range(len(images))]))


def histograms(images):
    return png_of(plot_histograms(images, ["as it is", "CLAHE"]))


@pytest.mark.parametrize("form", ["grid", "histograms"])
def test_a_changed_font_is_no_difference(notebook, real_images, form):
    images = list(real_images[:24]) if form == "grid" else [real_images[1], clahe(real_images[1])]
    draw = grid if form == "grid" else histograms
    with matplotlib.rc_context({"font.family": "DejaVu Serif"}):
        other = draw(images)
    assert other != draw(images)
    pair = with_picture(notebook, draw(images)), with_picture(notebook, other)
    assert differences(*pair) == []


@pytest.mark.parametrize("change", ["one mirrored", "one replaced", "another size", "one less"])
def test_a_changed_picture_is_a_difference(notebook, real_images, change):
    before, after = list(real_images[:24]), list(real_images[:24])
    if change == "one mirrored":
        after[10] = after[10][:, ::-1]
    elif change == "one replaced":
        after[10] = real_images[30]
    elif change == "another size":
        after += list(real_images[24:32])
    else:
        after[10] = np.full_like(after[10], 255)
    pair = with_picture(notebook, grid(before)), with_picture(notebook, grid(after))
    (difference,) = differences(*pair)
    assert "another picture" in difference


def test_a_slightly_other_transform_is_a_difference(notebook, real_images):
    pair = [
        with_picture(notebook, histograms([real_images[1], clahe(real_images[1], clip_limit=c)]))
        for c in (0.03, 0.06)
    ]
    assert len(differences(*pair)) == 1


# ---- nbval itself, as pyproject.toml and conftest.py set it


def test_nbval_sees_a_changed_number_and_a_changed_picture(tmp_path):
    ramp = np.tile(np.arange(0, 192, 2, dtype=np.uint8), (96, 1))
    pngs = [png_bytes(image) for image in (ramp, ramp[:, ::-1])]
    show = f"from IPython.display import Image\nImage(bytes.fromhex('{pngs[0].hex()}'))"
    text = "<IPython.core.display.Image object>"
    outputs = [
        *(("print(6 * 7)", "stream", {"text": printed}) for printed in ("42\n", "43\n")),
        *(
            (show, "execute_result", {"data": {"text/plain": text, "image/png": png}})
            for png in (base64.b64encode(png).decode() for png in pngs)
        ),
    ]
    cells = []
    for source, kind, output in outputs:
        metadata = {"tags": ["nbval-check-output"]}
        cells.append(nbformat.v4.new_code_cell(source, execution_count=1, metadata=metadata))
        cells[-1].outputs = [nbformat.v4.new_output(kind, **output)]
    write_notebook(tmp_path / "a.ipynb", cells)
    options = ("-p", "conftest", "--nbval", "--nbval-current-env", "-q", "-rA")
    done = python("-m", "pytest", *options, "a.ipynb", cwd=tmp_path, PYTHONPATH=ROOT)
    ended = re.findall(r"^(PASSED|FAILED) .*::Cell (\d)", done.stdout, re.MULTILINE)
    assert {*ended} == {("PASSED", "0"), ("FAILED", "1"), ("PASSED", "2"), ("FAILED", "3")}
    assert "another picture" in done.stdout


def png_bytes(image):
    Image.fromarray(image).save(file := io.BytesIO(), "PNG")
    return file.getvalue()
