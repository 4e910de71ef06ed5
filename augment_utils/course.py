"""Release the assignments and grade what is handed in, with nbgrader, in one course folder.

``source/`` is ours; from it come ``release/`` for the students, and from ``submitted/`` the
folders ``staged/`` (the same, repaired where it must be), ``autograded/``, ``feedback/`` and
``grades/``. Nothing in ``submitted/`` is ever changed.
"""

import contextlib
import csv
import io
import os
import re
import shutil
import sysconfig
import warnings
from pathlib import Path
from typing import NamedTuple

import nbformat

from augment_utils.classroom import CLASS_FILE, read_class_file
from augment_utils.cli import replace_file

EXAMPLE = "example"  # the id with which sources are validated and releases tried
PYTEST_INI = """\
# `python -m pytest` in this folder runs the notebook, a test for each cell
[pytest]
addopts = --nbval-lax --nbval-current-env --nbval-cell-timeout=120
"""
STUDENT_LINE = re.compile(r"^STUDENT\s*=\s*(['\"])(.*?)\1", re.MULTILINE)


class Released(NamedTuple):
    """What releasing an assignment found."""

    assignment: str
    points: float
    by_hand: float  # of them
    wrong: list[str]  # cells of the source that fail, and tests that pass before work is done


class Graded(NamedTuple):
    """What a submission got."""

    student: str
    assignment: str
    parts: dict  # {part: points, or None where a human has to look}
    most: dict  # {part: points there are}
    remarks: list[str]


def assignments_of(course):
    """The names of a course's assignments, in order."""
    return sorted(path.parent.name for path in Path(course).glob("source/*/*.ipynb"))


def release(course, check=True):
    """Make the students' versions; validate the sources, and that the released fail their tests.

    Parameters
    ----------
    course : path
    check : bool
        Whether to run both.

    Returns
    -------
    list of Released
    """
    course, results = Path(course).absolute(), []
    api = _nbgrader(course)
    for name in assignments_of(course):
        _release(api, course, name)
        notebook = course / "release" / name / f"{name}.ipynb"
        tests, wrong = _tests(nbformat.read(notebook, 4)), []
        if check:
            fails = _errors(course / "source" / name / f"{name}.ipynb")
            wrong += [f"the source's cell {cell} fails: {error}" for cell, error in fails.items()]
            fails = _errors(notebook)
            wrong += [f"the released {cell} passes" for cell in tests if cell not in fails]
        points = {cell["grade_id"]: cell["points"] for cell in _graded_cells(notebook)}
        by_hand = sum(points.values()) - sum(points[cell] for cell in tests)
        results.append(Released(name, sum(points.values()), by_hand, wrong))
    return results


def grade(course, progress=None):
    """Grade all that is in ``submitted/STUDENT/ASSIGNMENT``, with feedback and a CSV each.

    Parameters
    ----------
    course : path
    progress : callable or None
        Called with each :class:`Graded` as soon as it is there.

    Returns
    -------
    list of Graded
        By assignment, then student.

    Raises
    ------
    ValueError
        There is nothing to grade.
    """
    course = Path(course).absolute()
    api, results = _nbgrader(course), []
    handed_in = sorted(
        (path.name, path.parent.name)
        for path in course.glob("submitted/*/*")
        if path.is_dir() and path.name in assignments_of(course)
    )
    if not handed_in:
        raise ValueError(
            f"found nothing to grade in {course / 'submitted'}, expected "
            f"submitted/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb with an ASSIGNMENT of "
            f"{', '.join(assignments_of(course))}"
        )
    for name in sorted({name for name, _ in handed_in}):
        _release(api, course, name)
    for name, student in handed_in:
        results.append(_grade_one(api, course, name, student))
        if progress:
            progress(results[-1])
    for name in sorted({name for name, _ in handed_in}):
        _write_csv(course / "grades" / f"{name}.csv", [r for r in results if r.assignment == name])
    return results


# ---- release


def _release(api, course, name):
    """nbgrader's release, with the class file and pytest's settings beside the notebook."""
    result = _quietly(api.generate_assignment, name)
    if not result["success"]:
        raise ValueError(f"nbgrader could not release {name}:\n{_reason(result)}")
    folder = course / "release" / name
    shutil.copy(course / CLASS_FILE, folder / CLASS_FILE)
    replace_file(folder / "pytest.ini", PYTEST_INI.encode())


def _errors(notebook):
    """Run a notebook as the example student; {cell: error} of all cells that fail."""
    from nbclient import NotebookClient

    nb = nbformat.read(notebook, 4)
    for cell in nb.cells:
        cell.source = STUDENT_LINE.sub(f'STUDENT = "{EXAMPLE}"', cell.source)
    client = NotebookClient(
        nb, timeout=300, allow_errors=True, resources={"metadata": {"path": str(notebook.parent)}}
    )
    client.execute()
    return {
        cell.metadata.get("nbgrader", {}).get("grade_id", cell.get("id")): output.evalue
        for cell in nb.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    }


def _graded_cells(notebook):
    cells = (cell.metadata.get("nbgrader", {}) for cell in nbformat.read(notebook, 4).cells)
    return [cell for cell in cells if cell.get("grade")]


def _tests(nb):
    """The ids of the cells whose points a test decides."""
    return [
        cell.metadata.nbgrader.grade_id
        for cell in nb.cells
        if cell.metadata.get("nbgrader", {}).get("grade") and not cell.metadata.nbgrader.solution
    ]


# ---- grading


def _grade_one(api, course, name, student):
    most = {
        _part(c["grade_id"]): c["points"]
        for c in _graded_cells(course / "release" / name / f"{name}.ipynb")
    }
    nothing = dict.fromkeys(most, 0.0)
    try:
        remarks = _stage(course, name, student)
    except ValueError as error:
        return Graded(student, name, nothing, most, [str(error)])
    result = _quietly(api.autograde, name, student)
    if not result["success"]:
        remarks.append(f"could not be graded: {_reason(result).splitlines()[-1]}")
        return Graded(student, name, dict.fromkeys(most), most, remarks)
    graded = nbformat.read(course / "autograded" / student / name / f"{name}.ipynb", 4)
    remarks += [
        f"{cell.metadata.get('nbgrader', {}).get('grade_id', cell.get('id'))} ran too long"
        for cell in graded.cells
        if any(o.get("ename") in TOO_LONG for o in cell.get("outputs", []))
    ]
    result = _quietly(api.generate_feedback, name, student)
    if not result["success"]:
        remarks.append("no feedback could be made")
    parts = {}
    with api.gradebook as gradebook:
        for cell in gradebook.find_submission_notebook(name, name, student).grades:
            waits = cell.needs_manual_grade and cell.manual_score is None
            parts[_part(cell.name)] = None if waits else cell.score
    return Graded(student, name, {part: parts[part] for part in most}, most, remarks)


TOO_LONG = ("CellTimeoutError", "KeyboardInterrupt")


def _stage(course, name, student):
    """Copy a submission, repaired so that nbgrader can grade it; what there is to remark."""
    source, folder = course / "submitted" / student / name, course / "staged" / student / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    remarks, released = [], nbformat.read(course / "release" / name / f"{name}.ipynb", 4)
    notebook = folder / f"{name}.ipynb"
    if not notebook.exists():
        found = sorted(folder.glob("*.ipynb"))
        if len(found) != 1:
            raise ValueError(f"expected {name}.ipynb, found {len(found)} notebooks of other names")
        found[0].rename(notebook)
        remarks.append(f"handed in as {found[0].name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without ids
            nb = nbformat.read(notebook, 4)
    except Exception as error:  # nbformat raises what JSON, its schema and its own checks raise
        raise ValueError(f"{name}.ipynb is no readable notebook: {error!r:.80}") from error
    remarks += _restore_cells(nb, released)
    remarks += _claims(nb, student, folder / CLASS_FILE, course / CLASS_FILE)
    replace_file(notebook, nbformat.writes(nb).encode())
    return remarks


def _restore_cells(nb, released):
    """Give cells back what marks them for nbgrader, and the notebook the cells it has lost."""
    remarks, place, lost_marks = [], 0, 0
    for cell in released.cells:
        if "nbgrader" not in cell.metadata:
            continue
        found = _find(cell, nb.cells, place)
        if found is None:
            nb.cells.insert(place, nbformat.from_dict(cell))
            remarks.append(f"{cell.metadata.nbgrader.grade_id} was deleted, and put back")
            place += 1
            continue
        place = found + 1
        own = nb.cells[found]
        lost_marks += "nbgrader" not in own.metadata
        own.metadata["nbgrader"] = cell.metadata.nbgrader
        if cell.metadata.nbgrader.locked and own.source.strip() != cell.source.strip():
            remarks.append(f"{cell.metadata.nbgrader.grade_id} was edited; the original is used")
    if lost_marks:
        remarks.append(f"{lost_marks} cells had lost their marks, and got them back")
    return remarks


def _find(cell, cells, place):
    """Where a released cell is: by its mark, else its id, else its first line, else its place."""

    def mark(one):
        return one.metadata.get("nbgrader", {}).get("grade_id")

    def first_line(one):
        return one.source.strip().partition("\n")[0]

    alike = (
        lambda at, one: mark(one) == mark(cell),
        lambda at, one: one.get("id") == cell.id,
        lambda at, one: first_line(one) == first_line(cell) != "",
        lambda at, one: at == place and not mark(one) and not cell.metadata.nbgrader.locked,
    )
    for is_alike in alike:
        for at, one in enumerate(cells):
            if one.cell_type == cell.cell_type and is_alike(at, one):
                return at
    return None


def _claims(nb, student, own_class, our_class):
    """Whose the notebook says it is, and of which class."""
    remarks = []
    named = [m[2] for cell in nb.cells if (m := STUDENT_LINE.search(cell.source))]
    if not any(name.strip().casefold() == student.strip().casefold() for name in named):
        remarks.append(f"says STUDENT = {named[-1]!r}" if named else "names no STUDENT")
    try:
        if own_class.exists() and read_class_file(own_class) != read_class_file(our_class):
            remarks.append(f"has the class file of {read_class_file(own_class)}")
    except ValueError:
        remarks.append("has an unreadable class file")
    return remarks


def _part(grade_id):
    return grade_id.removeprefix("test-")


def _write_csv(path, results):
    """A row a student, a column a part; empty where a human has to look."""
    text = io.StringIO()
    parts = list(results[0].most)
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["student", *parts, "points", "of", "to grade by hand", "remarks"])
    for one in results:
        waiting = [part for part, points in one.parts.items() if points is None]
        rows.writerow(
            [
                one.student,
                *("" if one.parts[part] is None else f"{one.parts[part]:g}" for part in parts),
                f"{sum(points or 0 for points in one.parts.values()):g}",
                f"{sum(one.most.values()):g}",
                " ".join(waiting),
                "; ".join(one.remarks),
            ]
        )
    path.parent.mkdir(exist_ok=True)
    replace_file(path, text.getvalue().encode("utf-8"))


# ---- nbgrader


def _nbgrader(course):
    """Its interface to a course, with the settings of the course's nbgrader_config.py."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.submitted_directory = "staged"
    return NbGraderAPI(config=config)


def _quietly(function, *arguments):
    """Call nbgrader; what it logs is in its result, and need not be on the screen."""
    before = os.environ["PATH"]
    # for a new gradebook it calls alembic, which is beside Python though perhaps not on the path
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return function(*arguments)
    finally:
        os.environ["PATH"] = before


def _reason(result):
    return "\n".join(filter(None, (result.get("log"), result.get("error")))).strip()
