"""Build a course whose submissions are kept as small edits to the solutions, in submissions/.

`python -m tests.assignments.kept_submissions FOLDER` makes one to be graded as any other.
"""

import json
import re
import shutil
import sys
import textwrap
import tomllib
from pathlib import Path

import nbformat

from assignments import course
from augment_utils.classroom import CLASS_FILE
from tools import ROOT

CLASS = {"year": 2026, "images": "patches"}  # of their students' images, whatever the course's
SECONDS = 90  # a cell may run: long enough for a training, and an endless loop is not waited for
BLANK = {
    **{"edits": [], "delete": [], "clear": [], "lost": {}, "remarks": []},
    **{"released": False, "fails": False, "year": None, "broken": None},
}
KEPT = Path(__file__).with_name("submissions")
SOLUTION = re.compile(r"^[ ]*### BEGIN SOLUTION\n(.*?)^[ ]*### END SOLUTION\n?", re.S | re.M)


def kept(assignment):
    """What is kept for an assignment: dicts, with defaults for what is not said."""
    found = tomllib.loads((KEPT / f"{assignment}.toml").read_text("utf-8"))["submission"]
    file = f"{assignment}.ipynb"
    return [{**BLANK, "says": one["student"], "file": file, **one} for one in found]


def build(folder, names=None, students=None):
    """A course in an empty folder, released, with what is kept handed in.

    `names` of assignments and `students` choose.
    """
    folder = Path(folder)
    shutil.copytree(ROOT / "assignments" / "source", folder / "source")
    (folder / CLASS_FILE).write_text(json.dumps(CLASS), "utf-8")
    settings = (ROOT / "assignments" / "nbgrader_config.py").read_text("utf-8")
    limited = re.sub(r"(?m)^(c.Execute.timeout = )\d+", rf"\g<1>{SECONDS}", settings)
    (folder / "nbgrader_config.py").write_text(limited, "utf-8")
    course.release(folder, check=False)
    for name in course.assignments_of(folder) if names is None else names:
        for one in kept(name):
            if students is None or one["student"] in students:
                _hand_in(folder, name, one)
    return folder


def _hand_in(folder, name, one):
    there = folder / "submitted" / one["student"] / name
    shutil.copytree(folder / "release" / name, there)
    (there / f"{name}.ipynb").unlink()
    if one["year"]:
        (there / CLASS_FILE).write_text(json.dumps({**CLASS, "year": one["year"]}), "utf-8")
    text = one["broken"] or nbformat.writes(_notebook(folder, name, one))
    (there / one["file"]).write_text(text, "utf-8")


def _notebook(folder, name, one):
    nb = nbformat.read(folder / "release" / name / f"{name}.ipynb", 4)
    solved = nbformat.read(folder / "source" / name / f"{name}.ipynb", 4)
    solutions = {
        cell.metadata.nbgrader.grade_id: SOLUTION.sub(r"\1", cell.source + "\n").rstrip("\n")
        for cell in solved.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }
    nb.cells = [cell for cell in nb.cells if _id(cell) not in one["delete"]]
    for cell in nb.cells:
        if _id(cell) in solutions and not one["released"]:
            cell.source = solutions[_id(cell)]
        cell.source = cell.source.replace('STUDENT = ""', f"STUDENT = {one['says']!r}")
        for edit in one["edits"]:
            if edit["cell"] == _id(cell):
                cell.source = _edited(cell.source, edit)
        if "marks" in one["clear"]:
            cell.metadata = {}
    if "ids" in one["clear"]:
        nb.nbformat_minor = 4
        for cell in nb.cells:
            del cell["id"]
    return nb


def _edited(source, edit):
    if "top" in edit:
        return edit["top"]
    if "body" in edit:  # of the cell's function: its first line and its docstring stay
        head = re.match(r'(?s).*?""".*?"""\n', source)[0]
        return head + textwrap.indent(edit["body"].strip("\n"), "    ")
    if source.count(edit["from"]) != 1:
        raise ValueError(f"{edit['from']!r} is not once in {edit['cell']}")
    return source.replace(edit["from"], edit["to"])


def _id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


if __name__ == "__main__":
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    build(sys.argv[1])
