"""Release the assignments and grade what is handed in, with nbgrader, in one course folder.

``source/`` is ours; from it come ``release/`` for the students, and from ``submitted/`` the
folders ``staged/`` (the same, repaired where it must be), ``autograded/``, ``feedback/`` and
``grades/``. Nothing in ``submitted/`` is ever changed.
"""

import contextlib
import csv
import hashlib
import io
import os
import re
import shutil
import signal
import sys
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
from traitlets.config import PyFileConfigLoader

from augment_utils.classroom import CLASS_FILE, read_class_file
from tools.files import make_writable, write_file
from tools.kernels import private_kernels

EXAMPLE = "example"  # the id with which sources are validated and releases tried
PYTEST_INI = """\
# `python -m pytest` in this folder runs the notebook, a test for each cell
[pytest]
addopts = --nbval-lax --nbval-current-env --nbval-cell-timeout=120
"""
TOO_LONG = ("CellTimeoutError", "KeyboardInterrupt")  # what such a cell ends with
DIGEST = ".digest"  # the file that tells what was graded
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
    parts: dict[str, float | None]  # {part: points, or None where a human has to look}
    most: dict[str, float]  # {part: points there are}
    remarks: list[str]

    @property
    def waiting(self) -> list[str]:
        """The parts where a human has to look."""
        return [part for part, points in self.parts.items() if points is None]

    @property
    def points(self) -> float:
        """Of the other parts."""
        return sum(points for points in self.parts.values() if points is not None)


def assignments_of(course: str | os.PathLike) -> list[str]:
    """The names of a course's assignments, in order."""
    return sorted(path.parent.name for path in Path(course).glob("source/*/*.ipynb"))


def release(course: str | os.PathLike, check: bool = True) -> list[Released]:
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
    make_writable(course)
    with _nbgrader(course) as api:
        for name in assignments_of(course):
            _release(api, course, name)
    for name in assignments_of(course):
        notebook = course / "release" / name / f"{name}.ipynb"
        cells, wrong = _graded_cells(notebook), []
        tests = {cell["grade_id"]: cell["points"] for cell in cells if not cell["solution"]}
        if check:
            fails = _errors(course / "source" / name / f"{name}.ipynb")
            wrong += [f"the source's cell {cell} fails: {error}" for cell, error in fails.items()]
            fails = _errors(notebook)
            wrong += [f"the released {cell} passes" for cell in tests if cell not in fails]
        points = sum(cell["points"] for cell in cells)
        results.append(Released(name, points, points - sum(tests.values()), wrong))
    return results


def grade(
    course: str | os.PathLike, progress: Callable[[Graded], object] | None = None
) -> list[Graded]:
    """Grade all that is in ``submitted/STUDENT/ASSIGNMENT``, with feedback, and a CSV for each.

    What was graded before, and has not changed since, is not run again; points given by hand stay.

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
    names, folders = assignments_of(course), sorted(course.glob("submitted/*/*/"))
    handed_in = [(path.name, path.parent.name) for path in folders if path.name in names]
    if not handed_in:
        raise ValueError(
            f"found nothing to grade in {course / 'submitted'}, expected submitted/STUDENT/"
            f"ASSIGNMENT/ASSIGNMENT.ipynb, where ASSIGNMENT is one of {', '.join(names)}"
        )
    make_writable(course)
    results = []
    with _nbgrader(course) as api:
        for name in sorted({name for name, _ in handed_in}):
            _release(api, course, name)
        for name, student in sorted(handed_in):
            results.append(_grade_one(api, course, name, student))
            if progress:
                progress(results[-1])
            of_this = [one for one in results if one.assignment == name]
            _write_csv(course / "grades" / f"{name}.csv", of_this)
    strangers = [path for path in folders if path.name not in names]
    return results + [
        Graded(path.parent.name, path.name, {}, {}, ["no assignment has this name"])
        for path in strangers
    ]


# ---- release


def _release(api, course, name):
    """nbgrader's release, with the class file and pytest's settings beside the notebook."""
    result = _quietly(api.generate_assignment, name)
    if not result["success"]:
        raise ValueError(f"nbgrader could not release {name}: {_reason(result)}\n{result['log']}")
    folder = course / "release" / name
    shutil.copy(course / CLASS_FILE, folder / CLASS_FILE)
    write_file(folder / "pytest.ini", PYTEST_INI.encode())


def _errors(notebook):
    """Run a notebook as the example student; {cell: error} of all cells that fail."""
    from nbclient import NotebookClient

    nb = nbformat.read(notebook, 4)
    for cell in nb.cells:
        cell.source = STUDENT_LINE.sub(f'STUDENT = "{EXAMPLE}"', cell.source)
    with private_kernels() as settings:
        client = NotebookClient(
            nb,
            timeout=300,
            allow_errors=True,
            resources={"metadata": {"path": str(notebook.parent)}},
            config=settings,
        )
        with client.setup_kernel():  # client.execute() would answer Ctrl-C with an error of its own
            for index, cell in enumerate(nb.cells):
                client.execute_cell(cell, index)
    return {
        cell.metadata.get("nbgrader", {}).get("grade_id", cell.get("id")): output.evalue
        for cell in nb.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    }


def _graded_cells(notebook):
    """What nbgrader notes of the cells that have points."""
    cells = (cell.metadata.get("nbgrader", {}) for cell in nbformat.read(notebook, 4).cells)
    return [cell for cell in cells if cell.get("grade")]


# ---- grading


def _grade_one(api, course, name, student):
    released = course / "release" / name / f"{name}.ipynb"
    most = {_part(cell["grade_id"]): cell["points"] for cell in _graded_cells(released)}
    try:
        remarks, digest = _stage(course, name, student)
    except (OSError, ValueError) as error:
        return Graded(student, name, dict.fromkeys(most, 0.0), most, [str(error)])
    folder = course / "autograded" / student / name  # nbgrader clears it before it grades again
    mark, points = folder / DIGEST, _points(api, name, student)
    if points is None or not mark.exists() or mark.read_text() != digest:
        result = _quietly(api.autograde, name, student)
        if not result["success"]:
            remarks.append(f"could not be graded: {_reason(result)}")
            return Graded(student, name, dict.fromkeys(most), most, remarks)
        points = _points(api, name, student)
        write_file(mark, digest.encode())
    graded = nbformat.read(folder / f"{name}.ipynb", 4)
    remarks += [
        f"{cell.metadata.get('nbgrader', {}).get('grade_id', cell.get('id'))} ran too long"
        for cell in graded.cells
        if any(output.get("ename") in TOO_LONG for output in cell.get("outputs", []))
    ]
    if not _quietly(api.generate_feedback, name, student)["success"]:
        remarks.append("no feedback could be made")
    return Graded(student, name, {part: points[part] for part in most}, most, remarks)


def _points(api, name, student):
    """{part: points, or None where a human has to look}; None if the gradebook has nothing."""
    from nbgrader.api import MissingEntry

    with api.gradebook as gradebook:
        try:
            grades = gradebook.find_submission_notebook(name, name, student).grades
        except MissingEntry:
            return None
        waits = {g.name: g.needs_manual_grade and g.manual_score is None for g in grades}
        return {_part(g.name): None if waits[g.name] else g.score for g in grades}


def _stage(course, name, student):
    """Copy a submission, repaired so that nbgrader can grade it.

    Returns what there is to remark, and a digest of all that decides the points.
    """
    source, folder = course / "submitted" / student / name, course / "staged" / student / name
    file, remarks = _notebook_in(source, name)
    released = nbformat.read(course / "release" / name / f"{name}.ipynb", 4)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without ids
            nb = nbformat.read(file, 4)
            remarks += _restore_cells(nb, released)
    except Exception as error:  # whatever JSON, its schema or a notebook's strange parts raise
        raise ValueError(f"{file.name} is no readable notebook: {error!r:.80}") from error
    remarks += _claims(nb, student, source / CLASS_FILE, course / CLASS_FILE)
    staged = nbformat.writes(nb).encode()
    write_file(folder / f"{name}.ipynb", staged)
    graded_with = [course / "source" / name / f"{name}.ipynb", course / CLASS_FILE]
    digest = hashlib.sha256(b"".join([staged, *(path.read_bytes() for path in graded_with)]))
    return remarks, digest.hexdigest()


def _notebook_in(folder, name):
    """The notebook that is meant, and a remark if it has another name."""
    file = folder / f"{name}.ipynb"
    if file.is_file():
        return file, []
    found = [path for path in sorted(folder.glob("*.ipynb")) if path.is_file()]
    if len(found) != 1:
        raise ValueError(f"expected {name}.ipynb, found {len(found)} notebooks of other names")
    return found[0], [f"handed in as {found[0].name}"]


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
        if own.cell_type != cell.cell_type:
            own = nb.cells[found] = nbformat.from_dict({**cell, "source": own.source})
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
        lambda at, one: (
            at == place
            and not (mark(one) or cell.metadata.nbgrader.locked)
            and one.cell_type == cell.cell_type
        ),
    )
    for is_alike in alike:
        for at, one in enumerate(cells):
            if is_alike(at, one):
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
        points = ("" if one.parts[part] is None else f"{one.parts[part]:g}" for part in parts)
        total = [f"{one.points:g}", f"{sum(one.most.values()):g}"]
        rows.writerow([one.student, *points, *total, " ".join(one.waiting), "; ".join(one.remarks)])
    write_file(path, text.getvalue().encode("utf-8"))


# ---- nbgrader


@contextlib.contextmanager
def _nbgrader(course):
    """Its interface to a course, with the settings of the course's nbgrader_config.py."""
    from nbgrader.apps import NbGraderAPI

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.submitted_directory = "staged"
    with private_kernels() as settings:
        config.merge(settings)
        yield NbGraderAPI(config=config)


def _quietly(function, *arguments):
    """Call nbgrader; what it logs is in its result, and its database's warnings are its own."""
    before = os.environ["PATH"]
    # for a new gradebook it calls alembic, which is beside Python though perhaps not on the path
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*arguments)
    finally:
        os.environ["PATH"] = before
    # it takes a stop for an error in this submission, and would go on with the next
    last = (result.get("error") or "").strip().rpartition("\n")[2]
    if last == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if last == f"SystemExit: {128 + signal.SIGTERM}":
        sys.exit(128 + signal.SIGTERM)
    return result


def _reason(result):
    """The innermost error in what nbgrader logged."""
    log = result.get("log") or result.get("error") or ""
    errors = re.findall(r"^\s*([\w.]*Error\b.*)$", log, re.MULTILINE)
    return errors[-1] if errors else log.strip().rpartition("\n")[2]
