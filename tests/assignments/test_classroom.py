"""What a student's notebook imports: an image and constants of one's own, and a figure's data."""

import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from augment_utils import classroom, load_cifar10
from augment_utils.classroom import Personal, figure_data

NAME = "1_stretch_and_equalize"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a class file, worked in."""
    monkeypatch.chdir(tmp_path)
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
    assert np.array_equal(Personal("e\u0301va", "one").image(), Personal("Éva", "one").image())
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


def test_the_class_file_is_found_in_the_folder_that_is_named(here, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_class(elsewhere, year=1999)
    folder = elsewhere / "submitted" / "anna"
    folder.mkdir(parents=True)
    assert classroom.find_class_file(folder) == elsewhere / classroom.CLASS_FILE
    there, own = Personal("anna", "one", folder), Personal("anna", "one")
    assert not np.array_equal(there.image(), own.image())


def test_an_image_has_colour(here):
    for student in range(100):
        image = Personal(str(student), "one").image().astype(int)
        assert np.ptp(image, axis=-1).mean() > 5


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


def test_capitals_and_invisible_signs_make_no_other_student(here):
    for one, other in (("Anna", "anna"), ("Γαΐα", "Γαΐα".upper()), ("ann", "\ufeffann")):
        assert Personal(one, "one").student == Personal(other, "one").student


def test_a_class_file_may_begin_with_a_byte_order_mark(here):
    path = here / classroom.CLASS_FILE
    path.write_text(path.read_text("utf-8"), "utf-8-sig")
    assert Personal("anna", "one").image().shape == (32, 32, 3)


@pytest.mark.parametrize("student", ["", "  ", "\u200b", None])
def test_no_id_is_refused(here, student):
    with pytest.raises(ValueError, match="got no student id; write yours"):
        Personal(student, "one")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"year": "x", "images": "patches"}', '{"year": 1}', '{"year": 1, "images": ""}'],
)
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
        own = Personal(student, NAME)
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
