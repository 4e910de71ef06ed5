"""Release the assignments and grade what is handed in, in one nbgrader course folder.

``source/`` and ``checks/`` are ours. From ``source/`` comes ``release/`` for the students; from
``submitted/`` come ``autograded/``, ``feedback/`` and ``grades/``. Nothing in ``submitted/`` is
ever changed. nbgrader makes the release, keeps the gradebook with the points given by hand, and
makes the feedback; the points of the checks come from judge.py.
"""

import contextlib
import hashlib
import importlib.util
import io
import itertools
import json
import os
import re
import shutil
import signal
import sys
import sysconfig
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import nbformat
from traitlets.config import PyFileConfigLoader

from assignments import judge, sandbox, submission, worker
from assignments.judge import Part, grade_id
from assignments.roster import (
    ROSTER,
    check_class_file,
    handed_in_at,
    late_rule,
    read_roster,
    time_remark,
    write_tables,
)
from assignments.sandbox import Sandbox
from assignments.submission import STUDENT_LINE, Submission, same_id
from augment_utils.classroom import CLASS_FILE, Personal
from tools.commands import align
from tools.files import make_writable, write_file, write_json

EXAMPLE = "example"  # the id with which sources are validated and releases tried
SECONDS = 120  # that a cell may run
PYTEST_INI = """\
# `python -m pytest` in this folder runs the notebook, a test for each cell
[pytest]
addopts = --nbval-lax --nbval-current-env --nbval-cell-timeout=120
"""
JUDGED = "judged.json"  # beside the notebook in autograded/: what it got, and of which submission


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
    late: float = 0.0  # points taken off

    @property
    def waiting(self) -> list[str]:
        """The parts where a human has to look."""
        return [part for part, points in self.parts.items() if points is None]

    @property
    def points(self) -> float:
        """Of the other parts, less what is taken off."""
        return sum(points for points in self.parts.values() if points is not None) - self.late


def assignments_of(course: str | os.PathLike) -> list[str]:
    """The names of a course's assignments, in order."""
    return sorted(path.parent.name for path in Path(course).glob("source/*/*.ipynb"))


def checks_of(course: str | os.PathLike, assignment: str) -> list[Part]:
    """The parts of an assignment: of ``1_some_name`` those in ``checks/some_name.py``."""
    file = Path(course) / "checks" / f"{assignment.partition('_')[2]}.py"
    spec = importlib.util.spec_from_file_location(f"assignments.checks.{file.stem}", file)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module.PARTS


def release(course: str | os.PathLike, check: bool = True) -> list[Released]:
    """Make the students' versions; check the sources, and that the released fail their tests.

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
    api = _nbgrader(course)
    for name in assignments_of(course):
        _release(api, course, name)
    for name in assignments_of(course):
        notebook = course / "release" / name / f"{name}.ipynb"
        most = _most(nbformat.read(notebook, 4))
        parts = checks_of(course, name)
        wrong = _check(course, name, parts) if check else []
        points = sum(most.values())
        by_checks = sum(most[part.name] for part in parts)
        results.append(Released(name, points, points - by_checks, wrong))
    return results


def grade(
    course: str | os.PathLike,
    progress: Callable[[Graded], object] | None = None,
    jobs: int | None = None,
    seconds: float = SECONDS,
    box: Sandbox | None = None,
) -> list[Graded]:
    """Grade all that is in ``submitted/STUDENT/ASSIGNMENT``, with feedback.

    What was graded before, and has not changed since, is not run again; points given by hand stay
    as long as what they were given for does.

    Parameters
    ----------
    course : path
    progress : callable or None
        Called with each :class:`Graded` as soon as it is there.
    jobs : int or None
        How many submissions run at a time; None: as many as there are cores.
    seconds : float
        That a cell may run.
    box : Sandbox or None
        Where they run; None: kept apart as well as this machine can.

    Returns
    -------
    list of Graded
        By assignment, then student.

    Raises
    ------
    ValueError
        There is nothing to grade; the roster or the class file is none; a student has two folders.
    """
    course = Path(course).absolute()
    names, folders = assignments_of(course), _folders(course / "submitted")
    handed_in = [(path.name, path.parent.name) for path in folders if path.name in names]
    if not handed_in:
        raise ValueError(
            f"found nothing to grade in {course / 'submitted'}, expected submitted/STUDENT/"
            f"ASSIGNMENT/ASSIGNMENT.ipynb, where ASSIGNMENT is one of {', '.join(names)}"
        )
    make_writable(course)
    people = read_roster(course)  # what is wrong with it, and these, is said before the work
    check_class_file(course, names)
    _refuse_twins(course / "submitted")
    results = {}
    with contextlib.ExitStack() as stack:
        api = _nbgrader(course)
        box = box or stack.enter_context(sandbox.sandbox())
        for name in sorted({name for name, _ in handed_in}):
            _release(api, course, name)
        writer = _Writer(api, course)
        parts = {name: checks_of(course, name) for name in names}
        pool = stack.enter_context(_pool(box, jobs))
        waiting: dict[Future, tuple] = {
            pool.submit(_judge, box, course, name, student, parts[name], seconds): (name, student)
            for name, student in sorted(handed_in)
        }
        for done in as_completed(waiting):
            key = waiting.pop(done)
            results[key] = writer.write(*key, *done.result())
            if progress:
                progress(results[key])
    graded = [results[key] for key in sorted(results)]
    for one in graded:
        if people and not any(same_id(one.student, person["student"]) for person in people):
            one.remarks.append(f"is not in {ROSTER}")
    write_tables(course, graded)
    left = {path: "no assignment has this name" for path in folders if path.name not in names}
    left |= {path: "lies in no assignment's folder" for path in _loose(course / "submitted")}
    return graded + [
        Graded(path.parent.name, path.name, {}, {}, [remark]) for path, remark in left.items()
    ]


def _folders(submitted):
    """STUDENT/ASSIGNMENT, by listing: ids may have signs that a pattern would take for its own."""
    students = [path for path in sorted(submitted.glob("*")) if path.is_dir()]
    return [path for student in students for path in sorted(student.iterdir()) if path.is_dir()]


def _loose(submitted):
    """Notebooks, and zip files, beside the folders."""
    paths = [path for folder in (submitted, *submitted.glob("*")) for path in folder.glob("*")]
    return sorted(p for p in paths if p.suffix.lower() in (".ipynb", ".zip") and p.is_file())


def _refuse_twins(submitted):
    """Two folders of one student."""
    students = [path.name for path in sorted(submitted.glob("*")) if path.is_dir()]
    for one, other in itertools.combinations(students, 2):
        if same_id(one, other):
            raise ValueError(
                f"{submitted} has folders {one} and {other}, which is the same id; make them one"
            )


@contextlib.contextmanager
def _pool(box, jobs):
    """Threads that wait for processes; who stops them, ends the processes too."""
    pool = ThreadPoolExecutor(jobs or os.cpu_count())
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        box.close()
        raise
    finally:
        pool.shutdown()


# ---- release


def _release(api, course, name):
    """nbgrader's release, with the class file and pytest's settings beside the notebook."""
    result = _quietly(api.generate_assignment, name)
    if not result["success"]:
        raise ValueError(f"nbgrader could not release {name}: {_reason(result)}\n{result['log']}")
    folder = course / "release" / name
    shutil.copy(course / CLASS_FILE, folder / CLASS_FILE)
    write_file(folder / "pytest.ini", PYTEST_INI.encode())


def _check(course, name, parts):
    """Run source and release as the example student; what is wrong with them."""
    wrong, folder = [], course / "release" / name
    most = _most(nbformat.read(folder / f"{name}.ipynb", 4))
    with sandbox.sandbox() as box:
        for kind in ("source", "release"):
            nb = nbformat.read(course / kind / name / f"{name}.ipynb", 4)
            for cell in nb.cells:
                cell.source = STUDENT_LINE.sub(f'STUDENT = "{EXAMPLE}"', cell.source)
            own, process = Personal(EXAMPLE, name, course), box.start(folder)
            judged, _ = judge.judge(nb, process, parts, own, SECONDS)
            errors = {
                grade_id(cell): output.evalue
                for cell in nb.cells
                for output in cell.get("outputs", [])
                if output.output_type == "error"
            }
            got = {part: one.points for part, one in judged.items()}
            if kind == "source":
                wrong += [f"the source's cell {cell} fails: {e}" for cell, e in errors.items()]
                wrong += [
                    f"the source gets {got.get(part.name, 0):g} of {most[part.name]:g} points for "
                    f"{part.name}: {judged[part.name].says}"
                    for part in parts
                    if got.get(part.name) != most[part.name]
                ]
            else:
                tests = [f"test-{part.name}" for part in parts]
                wrong += [f"the released {cell} passes" for cell in tests if cell not in errors]
                wrong += [f"the released {part} gets points" for part in got if got[part]]
    return wrong


def _most(nb):
    """{part: points there are} of a notebook."""
    marks = (cell.metadata.get("nbgrader", {}) for cell in nb.cells)
    return {m.grade_id.removeprefix("test-"): float(m.points) for m in marks if m.get("grade")}


# ---- grading: where the students' code runs


def _judge(box, course, name, student, parts, seconds):
    """What a submission gets, as it stands in JUDGED; and the notebook, if it was run just now."""
    folder = course / "submitted" / student / name
    released = nbformat.read(course / "release" / name / f"{name}.ipynb", 4)
    try:
        own = Personal(student, name, course)
        mine = Submission(folder, released, student, course / CLASS_FILE)
    except (OSError, ValueError) as error:
        return {
            "digest": "",
            "points": {},
            "answers": {},
            "says": {},
            "remarks": [str(error)],
        }, None
    digest = _digest(course, name, mine, seconds)
    with contextlib.suppress(OSError, ValueError):
        before = json.loads((course / "autograded" / student / name / JUDGED).read_text("utf-8"))
        if before["digest"] == digest:
            return {**before, "remarks": mine.remarks + before["ran"]}, None
    own.image()  # without images nobody can be judged
    with _handed_in(course, folder) as copy:
        judged, ran = judge.judge(mine.notebook, box.start(copy), parts, own, seconds)
    for cell in mine.notebook.cells:
        test, _, part = (grade_id(cell) or "").partition("test-")
        if part in judged and not test:
            text = _says(part, judged[part], cell.metadata.nbgrader.points)
            cell.outputs.append(nbformat.v4.new_output("stream", text=text))
    return {
        "digest": digest,
        "points": {part: one.points for part, one in judged.items()},
        "says": {part: one.says for part, one in judged.items()},
        "answers": {part: text and _hash(text) for part, text in mine.answers.items()},
        "ran": ran,
        "remarks": mine.remarks + ran,
    }, mine.notebook


def _says(part, judged, most):
    return f"{part}: {judged.points:g} of {most:g} points. {judged.says}".rstrip() + "\n"


@contextlib.contextmanager
def _handed_in(course, folder):
    """A copy of what was handed in with the notebook, with the course's own class file."""
    with sandbox.shared_folder() as place:
        copy = place / "handed-in"
        total = sum(f.lstat().st_size for f in folder.rglob("*") if not f.is_symlink())
        if total < sandbox.SPACE // 4:
            shutil.copytree(folder, copy, ignore=_links, copy_function=shutil.copyfile)
        copy.mkdir(exist_ok=True)
        shutil.copyfile(course / CLASS_FILE, copy / CLASS_FILE)
        for path in (copy, *copy.rglob("*")):  # for who runs it, perhaps another user
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield copy


def _links(folder, names):
    """What is no file and no folder."""
    paths = {name: Path(folder, name) for name in names}
    return [n for n, p in paths.items() if p.is_symlink() or not (p.is_file() or p.is_dir())]


def _digest(course, name, mine, seconds):
    """Of all that decides the points."""
    ours = [course / "source" / name / f"{name}.ipynb", course / CLASS_FILE]
    ours += [course / "checks" / f"{name.partition('_')[2]}.py"]
    modules = (judge, worker, sandbox, submission)
    ours += [Path(str(module.__file__)) for module in modules]
    texts = [nbformat.writes(mine.notebook), str(seconds), *map(str, sorted(mine.answers.items()))]
    return _hash("\0".join([*texts, *(path.read_text("utf-8") for path in ours)]))


def _hash(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ---- grading: gradebook and feedback


class _Writer:
    """Takes what was judged into nbgrader's gradebook, and makes the feedback."""

    def __init__(self, api, course):
        from nbgrader.converters import GenerateFeedback

        self._gradebook, self._course = api.gradebook, course
        feedback = GenerateFeedback(coursedir=api.coursedir, parent=api)
        self._exporter = feedback.exporter_class(parent=feedback, config=feedback.config)
        for one in feedback.preprocessors:
            self._exporter.register_preprocessor(one)

    def write(self, name, student, judged, notebook):
        """Graded."""
        folder, before = self._course / "autograded" / student / name, {}
        with contextlib.suppress(OSError, ValueError):
            before = json.loads((folder / JUDGED).read_text("utf-8"))
        most = _most(nbformat.read(self._course / "release" / name / f"{name}.ipynb", 4))
        parts, remarks, had = {}, list(judged["remarks"]), {}
        submitted, rule = self._course / "submitted" / student / name, late_rule(self._course, name)
        handed_in = handed_in_at(submitted)
        remarks += time_remark(submitted, rule)
        with self._gradebook as gradebook, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its database's are its own
            gradebook.update_or_create_student(student)
            gradebook.update_or_create_submission(name, student)
            notebook_there = gradebook.find_submission_notebook(name, name, student)
            for grade in notebook_there.grades:
                part = grade.name.removeprefix("test-")
                parts[part], had[part] = _take(grade, part, judged, before)
            late = rule.taken_off(handed_in)
            late = min(late, sum(points for points in parts.values() if points))
            notebook_there.late_submission_penalty = late or None
            gradebook.db.commit()
        for part, points in had.items():
            if points is not None:
                remarks.append(f"{part} has changed since it got {points:g} points by hand")
        if late:
            remarks.append(f"handed in at {handed_in:%Y-%m-%d %H:%M} UTC, too late")
        graded = Graded(student, name, {part: parts[part] for part in most}, most, remarks, late)
        if judged["digest"]:
            file = folder / f"{name}.ipynb"
            if notebook is not None:
                write_file(file, _bytes(nbformat.writes(submission.harmless(notebook))))
            write_json(folder / JUDGED, {**judged, "had": had})
            self._feedback(file, graded, judged["says"])
        return graded

    def _feedback(self, file, graded, says):
        """nbgrader's page, with a table of the parts in front."""
        name, nb = graded.assignment, nbformat.read(file, 4)
        lines = [["part", "points", "of", "what was expected, and what came"]]
        for part, points in graded.parts.items():
            got = "-" if points is None else f"{points:g}"
            lines.append([part, got, f"{graded.most[part]:g}", says.get(part) or "-"])
        table = nbformat.v4.new_output("stream", text=align(lines))
        nb.cells.insert(0, nbformat.v4.new_code_cell(outputs=[table]))
        where = {"student": graded.student, "assignment": name, "notebook": name}
        where["db_url"] = self._exporter.parent.coursedir.db_url
        resources = {"nbgrader": where, "metadata": {"name": name}}
        page, _ = self._exporter.from_notebook_node(nb, resources=resources)
        there = self._course / "feedback" / graded.student / name
        write_file(there / f"{name}.html", _bytes(page))


def _take(grade, part, judged, before):
    """Set nbgrader's grade.

    Returns the points, or None where a human has to look; and the points that were once given by
    hand, for what has changed since, or None.
    """
    if grade.name.startswith("test-"):
        now, then = judged["digest"], before.get("digest")
        grade.auto_score, waits = judged["points"].get(part, 0.0), False
    else:
        now, then = judged["answers"].get(part), before.get("answers", {}).get(part)
        grade.auto_score, waits = (0.0, False) if now is None else (None, True)
    had = None
    if grade.manual_score is None:
        had = before.get("had", {}).get(part)
    elif now == then or not judged["digest"]:  # what could not be read has not changed
        waits = False
    else:
        had, grade.manual_score = grade.manual_score, None
    grade.needs_manual_grade = waits
    points = grade.auto_score if grade.manual_score is None else grade.manual_score
    return None if waits else points, had


def _bytes(text):
    return text.encode("utf-8", "replace")  # a student's text may have halves of characters


# ---- nbgrader


def _nbgrader(course):
    """Its interface to a course, with the settings of the course's nbgrader_config.py."""
    from nbgrader.apps import NbGraderAPI

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    return NbGraderAPI(config=config)


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
    # it takes a stop for an error in this assignment, and would go on with the next
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
