"""The assignments: released without their solutions, and graded as a fair teacher would."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from assignments import course, judge, roster
from assignments.submission import STUDENT_LINE
from augment_utils import classroom
from tests.assignments import kept_submissions
from tests.common import call, python
from tools import ROOT

COURSE = ROOT / "assignments"
NAMES = course.assignments_of(COURSE)
SECONDS = 15  # a cell may run here, for an endless loop is waited for
KEPT = [(name, one["student"]) for name in NAMES for one in kept_submissions.kept(name)]
A_FEW = ["cdf-off-by-one", "last-years-class", "marks-and-ids-cleared"]  # of the first assignment,
A_FEW += ["two-errors", "second-mistakes"]  # of the second and the third; each is of its own kind
FEW_KEPT = [(name, student) for name, student in KEPT if student in A_FEW]


def source(name):
    return nbformat.read(COURSE / "source" / name / f"{name}.ipynb", 4)


def page_of(name):
    """All that stands in the source, solutions and tests too."""
    return "\n".join(cell.source for cell in source(name).cells)


def role(cell):
    return cell.metadata.get("nbgrader", {})


def by_a_human(name):
    """The parts that no test decides: {part: None}."""
    graded = (role(cell) for cell in source(name).cells if role(cell).get("grade"))
    return {cell["grade_id"]: None for cell in graded if cell["solution"]}


# ---- release


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    for part in ("source", "checks", classroom.CLASS_FILE, "nbgrader_config.py"):
        there = COURSE / part
        (shutil.copytree if there.is_dir() else shutil.copy)(there, folder / part)
    return folder, course.release(folder)


def test_sources_pass_all_their_tests_and_what_is_released_fails_each(released):
    _, results = released
    assert [one.assignment for one in results] == NAMES
    assert [one.wrong for one in results] == [[]] * len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_points_are_those_on_the_page(released, name):
    found = next(one for one in released[1] if one.assignment == name)
    page = page_of(name)
    points, by_hand_ = re.search(r"\*\*Points\*\* (\d+), of which (\d+) by hand", page).groups()
    assert (found.points, found.by_hand) == (int(points), int(by_hand_))
    headings = re.findall(r"^## .*?\((\d+) points?", page, re.MULTILINE)
    assert sum(map(int, headings)) == found.points


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_released_gives_a_solution_away(released, name):
    folder = released[0] / "release" / name
    files = {f"{name}.ipynb", classroom.CLASS_FILE, "pytest.ini"}
    assert {path.name for path in folder.iterdir()} == files
    student = "\n".join(cell.source for cell in nbformat.read(folder / f"{name}.ipynb", 4).cells)
    everything = "".join(path.read_text("utf-8") for path in folder.iterdir())
    for word in ("BEGIN SOLUTION", "HIDDEN", "Model answer", "Rubric"):
        assert word not in everything
    hidden = re.compile(r"### BEGIN (SOLUTION)\n(.*?)### END", re.DOTALL)
    secrets = {
        line.strip()
        for cell in source(name).cells
        for _, block in hidden.findall(cell.source)
        for line in block.splitlines()
        if len(line.strip()) > 20
    }
    assert len(secrets) > 10
    visible = hidden.sub("", page_of(name))
    assert [line for line in secrets if line in student and line not in visible] == []


def test_a_source_that_fails_and_a_test_that_tests_nothing_are_found(tmp_path):
    name = NAMES[0]
    folder = kept_submissions.build(tmp_path / "course", [])
    for other in NAMES[1:]:
        shutil.rmtree(folder / "source" / other)
    file = folder / "source" / name / f"{name}.ipynb"
    nb = nbformat.read(file, 4)
    tests = [cell for cell in nb.cells if role(cell).get("grade") and role(cell)["locked"]]
    tests[-1].source = "pass"
    tests[0].source += "\nassert False, 'too hard'"
    nbformat.write(nb, file)
    done = call("assignments", "release", "--course", folder)
    assert done.returncode == 1 and "WRONG" in done.stdout
    assert f"the released {role(tests[-1])['grade_id']} passes" in done.stderr
    assert f"the source's cell {role(tests[0])['grade_id']} fails: too hard" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_what_to_hand_in_and_how_long_it_may_run(name):
    page = " ".join(page_of(name).split())
    cell, in_all = course.SECONDS // 60, judge.IN_ALL * course.SECONDS // 60
    assert "hand in the `.ipynb` file" in page
    assert f"a cell may run for {cell} minutes, and the notebook for {in_all}" in page


PERCENT = """
def draw(grey, draw=draw):
    figure = draw(grey)
    line = next(line for axis in figure.axes for line in axis.lines)
    line.set_ydata(100 * line.get_ydata())
    return figure"""
DENSITY = """
def draw(grey, draw=draw):
    figure = draw(grey)
    steps = next(patch for axis in figure.axes for patch in axis.patches)
    steps.set_data(steps.get_data().values / grey.size)
    return figure"""
IN_PLACE = """
def clip_histogram(histogram, limit, clip=clip_histogram):
    result = clip(histogram, limit)
    histogram[histogram > limit] = limit
    return result"""


@pytest.mark.parametrize(
    ("name", "part", "mistake", "says"),
    [
        (NAMES[0], "figure", PERCENT, "it ends at 1, and yours at 100"),
        (NAMES[0], "figure", DENSITY, "each pixel once: 1024, and yours 1"),
        (NAMES[1], "clip", IN_PLACE, "stays as it was: copy it first"),
    ],
)
def test_a_visible_check_finds_what_costs_the_points(monkeypatch, name, part, mistake, says):
    monkeypatch.chdir(COURSE)
    names = {}
    for cell in source(name).cells:
        if role(cell).get("grade_id") == f"test-{part}":
            exec(cell.source, names)
            exec(mistake, names)
            with pytest.raises(AssertionError, match=says):
                exec(cell.source, names)
            return
        if cell.cell_type == "code":
            exec(STUDENT_LINE.sub('STUDENT = "example"', cell.source), names)


@pytest.mark.parametrize("solved", [True, False])
def test_what_is_released_can_be_checked_at_home(tmp_path, solved):
    student = "right" if solved else "nothing-done"
    folder = kept_submissions.build(tmp_path / "course", NAMES[:1], [student])
    there = folder / "submitted" / student / NAMES[0]
    done = python("-m", "pytest", cwd=there)
    assert done.returncode == (0 if solved else 1), done.stdout
    assert (" failed" in done.stdout) != solved
    done = python("-m", "nbgrader", "validate", f"{NAMES[0]}.ipynb", cwd=there)
    assert ("Success" in done.stdout + done.stderr) == solved


# ---- grading


@pytest.fixture(scope="module")
def a_few_graded(tmp_path_factory):
    return graded_in(tmp_path_factory.mktemp("graded") / "course", A_FEW)


@pytest.fixture(scope="module")
def all_graded(tmp_path_factory):
    return graded_in(tmp_path_factory.mktemp("graded") / "course")


def graded_in(folder, students=None):
    """Kept submissions, graded in one course: its folder, {(assignment, student): result}."""
    kept_submissions.build(folder, students=students)
    before = {path: path.read_bytes() for path in folder.glob("submitted/*/*/*")}
    graded = course.grade(folder, seconds=SECONDS)
    assert {path: path.read_bytes() for path in folder.glob("submitted/*/*/*")} == before
    return folder, {(one.assignment, one.student): one for one in graded}


def of(request, graded, name, student):
    """Its result; skipped where it does harm and cannot be kept apart."""
    kept = next(one for one in kept_submissions.kept(name) if one["student"] == student)
    if kept["harmful"]:
        request.getfixturevalue("bwrap")
    return graded[1][name, student], kept


@pytest.mark.parametrize(("name", "student"), FEW_KEPT)
def test_a_kept_submission_gets_its_points_by_part(request, a_few_graded, name, student):
    assert_points_are_those_kept(*of(request, a_few_graded, name, student), name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "student"), sorted({*KEPT} - {*FEW_KEPT}))
def test_every_kept_submission_gets_its_points_by_part(request, all_graded, name, student):
    assert_points_are_those_kept(*of(request, all_graded, name, student), name)


def assert_points_are_those_kept(result, kept, name):
    assert set(kept["lost"]) <= set(result.most)
    assert result.parts == {**result.most, **by_a_human(name), **kept["lost"]}
    assert len(result.remarks) == len(kept["remarks"]), result.remarks
    for remark in kept["remarks"]:
        assert any(remark in one for one in result.remarks), result.remarks


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_for_each_part_a_wrong_submission_loses_that_part_alone(all_graded, name):
    results = [one for one in all_graded[1].values() if one.assignment == name]
    assert len(results) >= 8
    lost = [
        {part for part, points in one.parts.items() if points not in (None, one.most[part])}
        for one in results
    ]
    automatic = set(results[0].most) - set(by_a_human(name))
    assert {part for parts in lost if len(parts) == 1 for part in parts} == automatic


@pytest.mark.parametrize("name", NAMES)
def test_grades_are_a_table_with_a_row_for_each_student(a_few_graded, name):
    assert_grades_are_a_table(*a_few_graded, FEW_KEPT, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_grades_of_everybody_are_a_table(all_graded, name):
    assert_grades_are_a_table(*all_graded, [key for key in KEPT if key in all_graded[1]], name)


def assert_grades_are_a_table(folder, results, kept, name):
    table = (folder / "grades" / f"{name}.csv").read_text("utf-8-sig")
    rows = {row["student"]: row for row in csv.DictReader(table.splitlines())}
    assert {student for other, student in kept if other == name} <= set(rows)
    for student, row in rows.items():
        if (name, student) not in results:
            assert (row["points"], row["remarks"]) == ("0", "not handed in")
            continue
        one = results[name, student]
        assert list(row)[2:-5] == list(one.most)
        for part, points in one.parts.items():
            assert row[part] == ("" if points is None else f"{points:g}")
        assert float(row["points"]) == sum(points or 0 for points in one.parts.values())
        assert row["of"] == "25" and row["to grade by hand"].split() == one.waiting


def test_feedback_says_what_was_expected_and_what_came(a_few_graded):
    folder, _ = a_few_graded
    page = next(folder.glob(f"feedback/cdf-off-by-one/{NAMES[0]}/*.html")).read_text("utf-8")
    assert "does your sum include level k itself?" in page
    text = re.sub(r"&lt;|&gt;", "", page)
    assert re.search(r"\ncdf +0 +3 +cdf\(.*\) at \[\d+\]: expected [\d.]+, got [\d.]+, and", text)
    assert re.search(r"\nstretch +4 +4 +-", page)
    checks = (COURSE / "checks" / "stretch_and_equalize.py").read_text("utf-8")
    secret = [line for line in checks.splitlines() if "default_rng" in line or "student." in line]
    assert len(secret) > 5 and not any(line.strip() in page for line in secret)


HOSTILE = """\
from IPython.display import HTML, Javascript, display
display(HTML("<script>alert('out')</script>"), Javascript("alert('js')"))
print("<script>alert('print')</script>")
class Page:
    def _repr_html_(self): return "<img src=x onerror=alert('repr')>"
    def _repr_svg_(self): return "<svg onload=alert('svg')></svg>"
    def __repr__(self): return "<script>alert('repr')</script>"
display(Page())
raise ValueError("<script>alert('error')</script>")"""


def test_nothing_of_a_students_runs_in_the_feedback(tmp_path, browser):
    name = NAMES[0]
    folder = kept_submissions.build(tmp_path / "course", [name], ["right"])
    file = folder / "submitted" / "right" / name / f"{name}.ipynb"
    nb = nbformat.read(file, 4)
    text = "<script>alert('text')</script> <img src=x onerror=alert('img')>\n\n"
    text += "[x](javascript:alert(1)) [y]\n\n[y]: javascript:alert(2)"
    nb.cells += [nbformat.v4.new_code_cell(HOSTILE), nbformat.v4.new_markdown_cell(text)]
    next(cell for cell in nb.cells if role(cell).get("grade_id") == "explain").source = text
    nbformat.write(nb, file)
    (result,) = course.grade(folder)
    assert result.points == 21
    page, said = browser.new_page(), []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.route(
        "**/*", lambda route: route.abort() if "http" in route.request.url else route.continue_()
    )
    page.goto((folder / "feedback" / "right" / name / f"{name}.html").as_uri())
    assert page.get_by_text("alert('print')").count() == 2  # as code, and as what it printed
    assert page.locator("a[href^='javascript']").count() == 0
    assert said == []


def by_hand(folder, name, student, points=None):
    """Give the points of the written answer; or tell which there are."""
    with course._nbgrader(folder).gradebook as gradebook:
        part = next(iter(by_a_human(name)))
        grade = gradebook.find_grade(part, name, name, student)
        if points is not None:
            grade.manual_score, grade.needs_manual_grade = points, False
            gradebook.db.commit()
        return grade.manual_score, grade.needs_manual_grade


def change(file, old, new):
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def test_points_given_by_hand_stay_and_nothing_is_run_twice(tmp_path):
    name = NAMES[0]
    folder = kept_submissions.build(tmp_path / "course", [name], ["right"])
    assert course.grade(folder)[0].waiting == ["explain"]
    notebook = folder / "autograded" / "right" / name / f"{name}.ipynb"
    first = notebook.stat().st_mtime_ns
    by_hand(folder, name, "right", 3.0)
    (again,) = course.grade(folder)
    assert again.waiting == [] and again.parts["explain"] == 3 and again.points == 24
    assert notebook.stat().st_mtime_ns == first
    file = folder / "submitted" / "right" / name / f"{name}.ipynb"
    change(file, "minlength=256", "minlength=255")
    (later,) = course.grade(folder)
    assert later.parts["histogram"] == 0 and notebook.stat().st_mtime_ns > first
    assert later.parts["explain"] == 3  # the answer is the same
    change(file, "minlength=255", "minlength=256")  # what was graded once and handed in again
    assert course.grade(folder)[0].parts["histogram"] == 2
    (folder / "gradebook.db").unlink()
    assert course.grade(folder)[0].parts["histogram"] == 2


@pytest.fixture
def graded_by_hand(tmp_path):
    """A course, and its one student's notebook, whose written answer has got 4 points."""
    name = NAMES[0]
    folder = kept_submissions.build(tmp_path / "course", [name], ["right"])
    course.grade(folder)
    by_hand(folder, name, "right", 4.0)
    return folder, folder / "submitted" / "right" / name / f"{name}.ipynb"


def test_a_changed_answer_has_to_be_looked_at_again(graded_by_hand):
    name, (folder, file) = NAMES[0], graded_by_hand
    change(file, "HE gives all pixels", "Nobody gives all pixels")
    for _ in range(2):
        (result,) = course.grade(folder)
        assert result.waiting == ["explain"] and result.points == 21
        assert result.remarks == ["explain has changed since it got 4 points by hand"]
        assert by_hand(folder, name, "right") == (None, True)
    by_hand(folder, name, "right", 1.0)
    (result,) = course.grade(folder)
    assert (result.parts["explain"], result.remarks) == (1, [])


def test_what_could_not_be_read_for_a_while_keeps_its_points_by_hand(graded_by_hand):
    folder, file = graded_by_hand
    whole = file.read_bytes()
    file.write_bytes(b"")
    assert course.grade(folder)[0].points == 4
    file.write_bytes(whole)
    (result,) = course.grade(folder)
    assert (result.parts["explain"], result.points, result.waiting) == (4, 25, [])


def test_without_bubblewrap_it_grades_and_says_what_is_not_kept_apart(tmp_path):
    folder = kept_submissions.build(tmp_path / "course", NAMES[:1], ["cdf-off-by-one"])
    nowhere = Path(sys.executable).parent  # where there is Python, and no bwrap
    done = call("assignments", "grade", "--course", folder, PATH=nowhere)
    assert done.returncode == 0 and "There is no bubblewrap" in done.stderr
    assert re.search(r"cdf-off-by-one +18/25 +cdf +explain +-\n", done.stdout)


def test_cells_turned_into_text_are_turned_back(tmp_path):
    name = NAMES[0]
    folder = kept_submissions.build(tmp_path / "course", [name], ["right"])
    file = folder / "submitted" / "right" / name / f"{name}.ipynb"
    nb = nbformat.read(file, 4)
    for at, cell in enumerate(nb.cells):
        if role(cell).get("grade_id") in ("test-cdf", "stretch"):
            nb.cells[at] = nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata)
    nbformat.write(nb, file)
    (result,) = course.grade(folder)
    assert result.points == 21 and result.waiting == ["explain"]


def test_a_folder_of_no_assignment_is_reported_and_the_rest_is_graded(tmp_path):
    folder = kept_submissions.build(tmp_path / "course", NAMES[:1], ["no-notebook"])
    (folder / "submitted" / "someone" / "assignment one").mkdir(parents=True)
    (folder / "submitted" / "someone" / NAMES[0]).mkdir()
    done = call("assignments", "grade", "--course", folder)
    assert done.returncode == 0, done.stderr
    assert re.search(r"assignment one +someone .*no assignment has this name", done.stdout)
    assert "found 0 notebooks of other names" in done.stdout
    assert "is no readable notebook" in done.stdout


def test_what_is_not_where_it_belongs_is_named(tmp_path):
    name = NAMES[0]
    folder = kept_submissions.build(tmp_path / "course", [name], ["no-notebook"])
    submitted = folder / "submitted"
    shutil.copytree(submitted / "no-notebook", submitted / "NN")
    (folder / "roster.csv").write_text("student\nnn\n")
    settings = {**kept_submissions.CLASS, "deadlines": {name: "2026-12-01T23:59Z"}}
    (folder / classroom.CLASS_FILE).write_text(json.dumps(settings))
    (submitted / "NN" / name / roster.UNKNOWN_TIME).write_text("nobody knows when")
    for loose in ("one.ipynb", "someone/two.ipynb", "someone/three.zip"):
        (submitted / loose).parent.mkdir(exist_ok=True)
        (submitted / loose).write_text("{}")
    results = {(one.student, one.assignment): one.remarks for one in course.grade(folder)}
    assert "is not in roster.csv" in results["no-notebook", name]
    assert "is not in roster.csv" not in results["NN", name]
    assert "nobody knows when" in results["NN", name]
    for loose in (("submitted", "one.ipynb"), ("someone", "two.ipynb"), ("someone", "three.zip")):
        assert results[loose] == ["lies in no assignment's folder"]
    (submitted / "nn").mkdir()
    with pytest.raises(ValueError, match="has folders NN and nn, which is the same id"):
        course.grade(folder)


def test_nothing_to_grade_is_said(tmp_path):
    folder = kept_submissions.build(tmp_path / "course", [])
    done = call("assignments", "grade", "--course", folder)
    assert done.returncode == 1
    assert "found nothing to grade" in done.stderr and NAMES[0] in done.stderr


# ---- the teacher's guide


GUIDE = (COURSE / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_says_of_an_assignment_what_its_page_says(name):
    page = page_of(name)
    number, title = re.search(r"^# Assignment (\d) · (.+)", page, re.MULTILINE).groups()
    minutes = re.search(r"\*\*Time\*\* about (\d+) minutes", page)[1]
    assert re.search(rf"^\| {number} \| {title} \| .* \| {minutes} \| 25 \| ", GUIDE, re.MULTILINE)
    assert name.startswith(number) and 60 <= int(minutes) <= 90
    last = re.findall(r"^## \d+ (.+?) \(", page, re.MULTILINE)[-1]
    assert re.search(rf"^\*\*{number}, {last}\.\*\* (?:[^·]+·){{3}}[^·]+$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_names_parts_and_headings_that_there_are(name):
    rows = re.findall(rf"^\| {name[0]} \| [^|]+ \| ([^|]+) \| (.+) \|$", GUIDE, re.MULTILINE)
    misconceptions = [(parts, where) for parts, where in rows if ".ipynb), *" in where]
    assert len(misconceptions) >= 5
    graded = {role(cell)["grade_id"] for cell in source(name).cells if role(cell).get("grade")}
    for parts, where in misconceptions:
        assert {*parts.split(", ")} <= {one.removeprefix("test-") for one in graded}
        notebook, text = re.search(r"\(\.\./(\S+)\), (.+)", where).groups()
        cells = nbformat.read(ROOT / notebook, 4).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for heading in re.findall(r"\*([^*]+)\*", text):
            assert re.search(rf"^(#+ |\*\*).*{re.escape(heading)}", prose, re.MULTILINE), heading
