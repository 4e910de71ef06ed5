"""The assignments: released without their solutions, and graded as a fair teacher would."""

import csv
import itertools
import json
import re
import shutil
import sys

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import skimage.exposure

from assignments import course
from augment_utils import classroom, load_cifar10
from augment_utils.classroom import Personal, by_hand, figure_data
from tests.assignments import kept_submissions
from tests.common import call, python
from tools import ROOT

COURSE = ROOT / "assignments"
NAMES = course.assignments_of(COURSE)
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
    for part in ("source", classroom.CLASS_FILE, "nbgrader_config.py"):
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
    for word in ("BEGIN SOLUTION", "HIDDEN", "Model answer", "Rubric", "true_"):
        assert word not in everything
    hidden = re.compile(r"### BEGIN (SOLUTION|HIDDEN TESTS)\n(.*?)### END", re.DOTALL)
    secrets = {
        line.strip()
        for cell in source(name).cells
        for _, block in hidden.findall(cell.source)
        for line in block.splitlines()
        if len(line.strip()) > 20
    }
    assert len(secrets) > 20
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


@pytest.mark.parametrize("solved", [True, False])
def test_what_is_released_can_be_checked_with_pytest_alone(tmp_path, solved):
    student = "right" if solved else "nothing-done"
    folder = kept_submissions.build(tmp_path / "course", NAMES[:1], [student])
    done = python("-m", "pytest", cwd=folder / "submitted" / student / NAMES[0])
    assert done.returncode == (0 if solved else 1), done.stdout
    assert (" failed" in done.stdout) != solved


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
    results = {(one.assignment, one.student): one for one in course.grade(folder)}
    assert {path: path.read_bytes() for path in folder.glob("submitted/*/*/*")} == before
    return folder, results


@pytest.mark.parametrize(("name", "student"), FEW_KEPT)
def test_a_kept_submission_gets_its_points_by_part(a_few_graded, name, student):
    assert_points_are_those_kept(a_few_graded[1][name, student], name, student)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "student"), sorted({*KEPT} - {*FEW_KEPT}))
def test_every_kept_submission_gets_its_points_by_part(all_graded, name, student):
    assert_points_are_those_kept(all_graded[1][name, student], name, student)


def assert_points_are_those_kept(result, name, student):
    kept = next(one for one in kept_submissions.kept(name) if one["student"] == student)
    if kept["fails"]:
        assert set(result.parts.values()) == {None}
    else:
        assert set(kept["lost"]) <= set(result.most)
        assert result.parts == {**result.most, **by_a_human(name), **kept["lost"]}
    assert len(result.remarks) == len(kept["remarks"])
    for remark in kept["remarks"]:
        assert any(remark in one for one in result.remarks)


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
    assert_grades_are_a_table(*all_graded, KEPT, name)


def assert_grades_are_a_table(folder, results, kept, name):
    table = (folder / "grades" / f"{name}.csv").read_text("utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert [(name, row["student"]) for row in rows] == sorted(k for k in kept if k[0] == name)
    for row in rows:
        one = results[name, row["student"]]
        assert list(row) == [*("student", *one.most, "points", "of", "to grade by hand", "remarks")]
        for part, points in one.parts.items():
            assert row[part] == ("" if points is None else f"{points:g}")
        assert float(row["points"]) == sum(points or 0 for points in one.parts.values())
        assert row["of"] == "25" and row["to grade by hand"].split() == one.waiting


def test_feedback_says_what_to_look_at(a_few_graded):
    folder, _ = a_few_graded
    page = next(folder.glob(f"feedback/cdf-off-by-one/{NAMES[0]}/*.html")).read_text("utf-8")
    assert "does your sum include level k itself?" in page


def test_points_given_by_hand_stay_and_nothing_is_run_twice(tmp_path):
    name = NAMES[0]
    folder = kept_submissions.build(tmp_path / "course", [name], ["right"])
    assert course.grade(folder)[0].waiting == ["explain"]
    notebook = folder / "autograded" / "right" / name / f"{name}.ipynb"
    first = notebook.stat().st_mtime_ns
    with course._nbgrader(folder) as api, api.gradebook as gradebook:
        grade = gradebook.find_grade("explain", name, name, "right")
        grade.manual_score, grade.needs_manual_grade = 3.0, False
        gradebook.db.commit()
    (again,) = course.grade(folder)
    assert again.waiting == [] and again.parts["explain"] == 3 and again.points == 24
    assert notebook.stat().st_mtime_ns == first
    file = folder / "submitted" / "right" / name / f"{name}.ipynb"
    original = file.read_text("utf-8")
    file.write_text(original.replace("minlength=256", "minlength=255"), "utf-8")
    (later,) = course.grade(folder)
    assert later.parts["histogram"] == 0 and notebook.stat().st_mtime_ns > first
    file.write_text(original, "utf-8")  # what was graded once and handed in again
    assert course.grade(folder)[0].parts["histogram"] == 2
    (folder / "gradebook.db").unlink()
    assert course.grade(folder)[0].parts["histogram"] == 2


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


# ---- a student's own


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a class file, worked in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    write_class(tmp_path)
    return tmp_path


def write_class(folder, year=2026, images="patches"):
    (folder / classroom.CLASS_FILE).write_text(json.dumps({"year": year, "images": images}))


def test_an_image_is_its_students_own(here):
    images = {student: Personal(student, "one").image() for student in map(str, range(200))}
    assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 for image in images.values())
    assert len({image.tobytes() for image in images.values()}) == 200
    assert np.array_equal(Personal(" 17 ", "one").image(), images["17"])
    assert np.array_equal(Personal("Éva", "one").image(), Personal("éVA", "one").image())
    assert not np.array_equal(Personal("17", "two").image(), images["17"])
    assert not np.array_equal(Personal("17", "one").image(1), images["17"])
    write_class(here, year=2027)
    assert not np.array_equal(Personal("17", "one").image(), images["17"])


def test_choices_are_spread_and_draws_repeat(here):
    chosen = [Personal(student, "one").choose("low", "abcd") for student in range(400)]
    assert all(70 < chosen.count(letter) < 130 for letter in "abcd")
    first, again = (Personal("x", "one").rng("table").normal(size=5) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, Personal("y", "one").rng("table").normal(size=5))


def test_the_submissions_folder_says_whose_it_is_and_the_course_which_class(here, monkeypatch):
    folder = here / "autograded" / "anna" / "one"
    folder.mkdir(parents=True)
    write_class(folder, year=1999)  # handed in with the notebook
    monkeypatch.chdir(folder)
    assert classroom.student_id("bert") == "bert"
    assert classroom.find_class_file() == folder / classroom.CLASS_FILE
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert classroom.student_id("bert") == "anna"
    assert classroom.find_class_file() == here / classroom.CLASS_FILE


def test_a_class_can_work_on_cifar10(here, needs_cifar10):
    write_class(here, images="cifar10")
    images = load_cifar10().x_test[:1000].astype(float)
    own = Personal("anna", "one").image().astype(float)
    factors = (own * images).sum(axis=(1, 2, 3)) / (images**2).sum(axis=(1, 2, 3))
    off = np.abs(own - factors[:, None, None, None] * images).max(axis=(1, 2, 3))
    assert off.min() < 1 and 0.69 < factors[off.argmin()] < 1.01  # one of them, darkened


def test_patches_are_not_taken_for_cifar10(here, monkeypatch):
    monkeypatch.setenv("AUGMENT_DATA", "patches")
    write_class(here, images="cifar10")
    classroom._test_images.cache_clear()
    with pytest.raises(ValueError, match=r"works on CIFAR-10, and here are photo patches"):
        Personal("anna", "one").image()


@pytest.mark.parametrize("student", ["", "  "])
def test_no_id_is_refused(here, student):
    with pytest.raises(ValueError, match="got no student id; write yours"):
        Personal(student, "one")


@pytest.mark.parametrize("text", ["{", "[]", '{"year": "x", "images": "patches"}', '{"year": 1}'])
def test_what_is_no_class_file_is_refused(here, text):
    (here / classroom.CLASS_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"class\.json is no class file"):
        Personal("anna", "one")


def test_without_a_class_file_it_says_so(here):
    (here / classroom.CLASS_FILE).unlink()
    with pytest.raises(ValueError, match=r"found no class\.json in"):
        Personal("anna", "one")


def test_numbers_typed_from_somebody_else_are_wrong(here):
    """Of 100 students hardly two share an answer to assignment 1's questions."""

    def answers(student):
        own = Personal(student, NAMES[0])
        grey = own.image().max(axis=-1)
        equal = np.rint(255 * np.bincount(grey.ravel(), minlength=256).cumsum() / grey.size)[grey]
        bounds = own.choose("low", [1, 2, 3, 4]), own.choose("high", [92, 94, 96, 98])
        p, q = np.percentile(grey, bounds)
        bright = np.rint(np.clip(255 * (grey - p) / (q - p), 0, 255)).mean()
        return bright, np.abs(equal - grey).mean(), equal.std() / grey.std()

    pairs = list(itertools.combinations([answers(student) for student in range(100)], 2))
    for column, tolerance in enumerate((0.1, 0.1, 0.005)):
        same = np.mean([abs(a[column] - b[column]) <= tolerance for a, b in pairs])
        assert same < 0.02


# ---- what tests of assignments use


def test_by_hand_means_without_the_library():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    with by_hand():
        np.histogram(image)
    for library in (skimage.exposure.equalize_hist, _ours, _through_numpy):
        with pytest.raises(AssertionError, match="write it in NumPy, without"), by_hand():
            library(image)
    assert sys.getprofile() is None


def _ours(image):
    from augment_utils import histogram_equalization

    return histogram_equalization(image)


def _through_numpy(image):
    return np.apply_along_axis(skimage.exposure.rescale_intensity, 1, image)


def test_drawn_finds_lines_bars_steps_and_labels():
    figure, (left, right) = plt.subplots(1, 2)
    left.bar([0, 1], [3, 4])
    left.set_xlabel("level")
    right.stairs([5, 6, 7])
    right.plot([1, 2], [8, 9])
    right.errorbar([1], [2], yerr=[1])
    lines, bars, labels = figure_data(figure)
    plt.close(figure)
    assert lines[0].tolist() == [8, 9]
    assert sorted(heights.tolist() for heights in bars) == [[3, 4], [5, 6, 7]]
    assert labels == ["level"]
