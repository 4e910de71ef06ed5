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
from assignments.sandbox import works
from augment_utils.classroom import CLASS_FILE
from tools import ROOT

CLASS = {"year": 2026, "images": "patches"}  # of their students' images, whatever the course's
# In place of a network's training: its lines in a notebook's cell `run`, and in its checks
TRAINING = """\
    model = training.make_model("A", split, condition, EPOCHS, seed)
    training.train(model, split, condition, EPOCHS, seed)
"""
QUICK = """\
    level = np.random.default_rng(seed).uniform(0.2, 0.6)
    model = lambda x, **_: np.eye(2)[(np.mean(x, axis=(1, 2, 3)) > level).astype(int)]
    model.predict = model
"""
BLANK = {
    **{"edits": [], "delete": [], "clear": [], "lost": {}, "remarks": []},
    **{"released": False, "year": None, "broken": None, "bom": False, "harmful": False},
}
KEPT = Path(__file__).with_name("submissions")
SOLUTION = re.compile(r"^[ ]*### BEGIN SOLUTION\n(.*?)^[ ]*### END SOLUTION\n?", re.S | re.M)


def kept(assignment):
    """What is kept for an assignment: dicts, with defaults for what is not said."""
    found = tomllib.loads((KEPT / f"{assignment}.toml").read_text("utf-8"))["submission"]
    file = f"{assignment}.ipynb"
    return [{**BLANK, "says": one["student"], "file": file, **one} for one in found]


def build(folder, names=None, students=None, quick=True):
    """A course in an empty folder, released, with what is kept handed in.

    `names` of assignments and `students` choose; what would harm this machine where submissions
    are not kept apart is left out there. Where it is `quick`, nothing is trained.
    """
    folder = Path(folder)
    shutil.copytree(ROOT / "assignments" / "checks", folder / "checks")
    for name in names or course.assignments_of(ROOT / "assignments"):
        shutil.copytree(ROOT / "assignments" / "source" / name, folder / "source" / name)
    (folder / CLASS_FILE).write_text(json.dumps(CLASS), "utf-8")
    shutil.copy(ROOT / "assignments" / "nbgrader_config.py", folder)
    if quick:
        _train_nothing(folder)
    course.release(folder, check=False)
    for name in course.assignments_of(folder) if names is None else names:
        for one in kept(name):
            harmless = not one["harmful"] or works("bwrap")
            if harmless and (students is None or one["student"] in students):
                _hand_in(folder, name, one)
    return folder


def _train_nothing(folder):
    changed = 0
    for file in folder.glob("source/3_*/*.ipynb"):
        nb = nbformat.read(file, 4)
        for cell in nb.cells:
            changed += TRAINING in cell.source
            cell.source = cell.source.replace(TRAINING, QUICK)
        nbformat.write(nb, file)
    indented = textwrap.indent(TRAINING, "    ")
    for file in folder.glob("checks/augment*.py"):
        text = file.read_text("utf-8")
        changed += indented in text
        text = text.replace(indented, textwrap.indent(QUICK, "    "))
        file.write_text(text.replace("AGAIN = 2", "AGAIN = 8"), "utf-8")
    if changed not in (1, 2):  # the notebook is not always there
        raise ValueError("the training is not where it was")


def _hand_in(folder, name, one):
    there = folder / "submitted" / one["student"] / name
    shutil.copytree(folder / "release" / name, there)
    (there / f"{name}.ipynb").unlink()
    if one["year"]:
        (there / CLASS_FILE).write_text(json.dumps({**CLASS, "year": one["year"]}), "utf-8")
    text = one["broken"] or nbformat.writes(_notebook(folder, name, one))
    (there / one["file"]).write_text(text, "utf-8-sig" if one["bom"] else "utf-8")


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
        _edit(nb.cells, edit)
    for cell in nb.cells:
        if "marks" in one["clear"]:
            cell.metadata = {}
    if "ids" in one["clear"]:
        nb.nbformat_minor = 4
        for cell in nb.cells:
            del cell["id"]
    return nb


def _edit(cells, edit):
    place = [_id(cell) for cell in cells].index(edit["cell"])
    cell = cells[place]
    match edit:
        case {"top": text}:
            cell.source = text
        case {"body": text}:  # of the cell's function: its first line and its docstring stay
            head = re.match(r'(?s).*?""".*?"""\n', cell.source)[0]
            cell.source = head + textwrap.indent(text.strip("\n"), "    ")
        case {"from": text, "to": other}:
            if cell.source.count(text) != 1:
                raise ValueError(f"{text!r} is not once in {edit['cell']}")
            cell.source = cell.source.replace(text, other)
        case {"before": text}:
            cells.insert(place, nbformat.v4.new_code_cell(text))
        case {"after": text}:
            cells.insert(place + 1, nbformat.v4.new_code_cell(text))
        case {"below": text}:
            cells.insert(place + 1, nbformat.v4.new_markdown_cell(text))
        case {"copy": True}:  # with its marks, as JupyterLab does, and an id of its own
            cells.insert(place + 1, nbformat.from_dict({**cell, "id": f"copy-of-{place}"}))
        case {"split": text}:
            at = cell.source.index(text)
            second = {**cell, "source": cell.source[at:], "id": f"half-of-{place}"}
            cells.insert(place + 1, nbformat.from_dict(second))
            cell.source = cell.source[:at]


def _id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


if __name__ == "__main__":
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    build(sys.argv[1])
