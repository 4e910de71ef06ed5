"""What was handed in is read as it was meant."""

import json

import nbformat
import pytest

from assignments.submission import Submission, same_id
from augment_utils.classroom import CLASS_FILE

NAME = "1_some_name"


@pytest.fixture
def read(tmp_path):
    """Read cells that were handed in for some that were released, all of code."""
    (tmp_path / CLASS_FILE).write_text(json.dumps({"year": 1, "images": "patches"}))
    (tmp_path / NAME).mkdir()

    def read(sources, released=(), student="42"):
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
        (tmp_path / NAME / f"{NAME}.ipynb").write_text(nbformat.writes(nb), "utf-8")
        ours = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in released])
        for number, cell in enumerate(ours.cells):
            cell.metadata.nbgrader = {"grade_id": str(number), "locked": True, "grade": False}
            cell.metadata.nbgrader |= {"solution": False}
        return Submission(tmp_path / NAME, ours, student, tmp_path / CLASS_FILE)

    return read


@pytest.mark.parametrize(
    ("line", "remarks"),
    [
        ("STUDENT = 42", []),
        ("STUDENT=42  # mine", []),
        ('STUDENT = "\u200b42 "', []),
        ("STUDENT = 421", ["says STUDENT = '421'"]),
        ('STUDENT = ""', ["says STUDENT = ''"]),
        ("STUDENT = None", ["names no STUDENT"]),
    ],
)
def test_the_id_may_be_a_number(read, line, remarks):
    assert read([line]).remarks == remarks


def test_ids_are_the_same_where_the_images_are():
    for one, other in (("Anna", "\ufeffanna "), ("x\u00ad1", "X1"), ("e\u0301va", "Éva")):
        assert same_id(one, other)
    assert not same_id("anna", "anna1")


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_the_ends_of_lines_are_no_edit(read, end):
    cell = "one = 1\ntwo = 2"
    found = read(["STUDENT = 42", cell.replace("\n", end)], [cell])
    assert not [text for text in found.remarks if "edited" in text]
    assert found.notebook.cells[1].source == cell


def test_what_is_installed_is_nothing_unusual(read):
    assert read(["STUDENT = 42", "!pip install x\n%pip install y"]).remarks == []
    assert read(["STUDENT = 42", "import ctypes"]).remarks == ["look at its use of ctypes"]
