"""What the judge makes of what comes back, without a process: points, order and messages."""

import nbformat
import numpy as np
import pytest

from assignments import judge
from assignments.judge import Judged, Part, Wrong, brief, same
from assignments.worker import Gone, Raised


class Pretended:
    """In place of a student's process: answers from a dict, and notes what it is asked."""

    def __init__(self, answers=None, deadly=()):
        self.answers, self.deadly, self.asked, self.functions = answers or {}, deadly, [], {}

    def run(self, source, seconds):
        self.asked.append(source)
        if source in self.deadly:
            raise Gone("it has ended")
        return []

    def call(self, name, *arguments, by_hand, seconds):
        self.asked.append(name)
        if name not in self.answers:
            raise Raised(f"Undefined: {name}")
        return self.answers[name], [], False, []

    def value(self, name):
        return self.call(name, by_hand=False, seconds=0)[0]

    def replace(self, name, parameters):
        self.asked.append((name, parameters))

    def stop(self):
        self.asked.append("stop")


def notebook(*sources):
    nb = nbformat.v4.new_notebook()
    for source in sources:
        mark = {"nbgrader": {"grade_id": source}} if source.startswith("test-") else {}
        nb.cells.append(nbformat.v4.new_code_cell(source, metadata=mark))
    return nb


def ours(grey, low):
    return grey + low


def check_ours(student):
    student.compare(ours, np.arange(3), 1)
    yield 2


def check_number(student):
    student.number("number", [3.0], 0.1)
    yield 1


PARTS = [Part("ours", check_ours, ours), Part("number", check_number)]


def judged(process, *sources, parts=PARTS, seconds=5):
    return judge.judge(notebook(*sources), process, parts, None, seconds)


def test_a_part_is_looked_at_after_its_test_and_replaced_if_wrong():
    process = Pretended({"ours": np.array([1, 2, 3]), "number": 3.04})
    got, remarks = judged(process, "a", "test-ours", "b", "test-number")
    assert got == {"ours": Judged(2), "number": Judged(1)} and remarks == []
    assert process.asked == ["a", "test-ours", "ours", "b", "test-number", "number", "stop"]
    process = Pretended({"ours": np.array([1, 2, 9]), "number": 3.2})
    got, _ = judged(process, "a", "test-ours", "b", "test-number")
    assert got["ours"] == Judged(0, "ours([0, 1, 2], 1) at [2]: expected 3, got 9")
    assert got["number"].points == 0 and "number is 3.2" in got["number"].says
    assert process.asked[3] == ("ours", ["grey", "low"])
    assert process.functions["right"]("ours", np.arange(2), 5).tolist() == [5, 6]


def test_only_what_has_failed_can_be_asked_for():
    process = Pretended({"ours": np.array([1, 2, 3]), "number": 3})
    judged(process, "test-ours", "test-number")
    with pytest.raises(KeyError):
        process.functions["right"]("ours", np.arange(2), 5)


def test_what_ends_the_process_is_left_out_when_the_rest_runs_again():
    process = Pretended({"ours": np.array([1, 2, 3]), "number": 3}, deadly=["x", "test-ours"])
    got, remarks = judged(process, "a", "x", "test-ours", "b", "test-number")
    assert got == {"ours": Judged(0, "it did not come to an end"), "number": Judged(1)}
    assert remarks == ["the cell `x` ended the process", "test-ours ended the process"]
    runs = [one for one in process.asked if isinstance(one, str)]
    assert runs == ["a", "x", "a", "test-ours", "a", "b", "test-number", "number", "stop"]


def test_what_is_defined_below_its_test_counts():
    process = Pretended({"number": 3})
    later = Pretended.run

    def run(source, seconds):
        if source == "late":
            process.answers["ours"] = np.array([1, 2, 3])
        return later(process, source, seconds)

    process.run = run
    got, _ = judged(process, "test-ours", "test-number", "late")
    assert got["ours"] == Judged(2)
    got, _ = judged(Pretended({"number": 3}), "test-ours", "test-number")
    assert got["ours"] == Judged(0, "ours is not defined")


def test_a_notebook_has_a_time_of_its_own(monkeypatch):
    monkeypatch.setattr(judge, "IN_ALL", -1)
    got, remarks = judged(Pretended(), "a", "test-ours")
    assert got == dict.fromkeys(("ours", "number"), Judged(0, "its test did not run"))
    assert len(remarks) == 1 and "the rest did not run" in remarks[0]


def test_what_a_check_did_not_think_of_is_remarked():
    def check(student):
        yield 1
        raise ZeroDivisionError("in the check")

    got, remarks = judged(Pretended(), "test-odd", parts=[Part("odd", check)])
    assert got == {"odd": Judged(1, "what came could not be compared")}
    assert "odd could not be compared: ZeroDivisionError" in remarks[0]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (np.array([[1.0, 2.0]]), None),
        ([[1, 2.05]], None),
        ([[1, 2.2]], r"at \[0, 1\]: expected 2, got 2.2"),
        ([[9, 9]], r"at \[0, 0\]: expected 1, got 9, and 1 more are wrong"),
        ([1, 2], r"shape \(1, 2\), got \(2,\)"),
        ([[np.nan, 2]], "got nan"),
        ([[np.inf, 2]], "got inf"),
        (None, "to be numbers, got None"),
        ("ab", "to be numbers, got 'ab'"),
        ([[1], [1, 2]], "to be numbers"),
        (np.array([[1j, 2]]), "to be numbers"),
    ],
)
def test_numbers_are_compared_one_by_one(found, says):
    expected = np.array([[1.0, 2.0]])
    if says is None:
        same("it", found, expected, 0.1)
    else:
        with pytest.raises(Wrong, match=says):
            same("it", found, expected, 0.1)


def test_a_dtype_that_is_asked_for_is_asked_for():
    with pytest.raises(Wrong, match="array of uint8, got one of int64"):
        same("it", np.array([1]), [1], dtype=np.uint8)
    with pytest.raises(Wrong, match=r"array of uint8, got \[1\]"):
        same("it", [1], [1], dtype=np.uint8)
    same("it", np.array([1], np.uint8), [1], dtype=np.uint8)


def test_values_are_shown_in_few_words():
    assert brief(np.zeros((7, 5), np.uint8)) == "<7 × 5 uint8, 0 to 0>"
    assert brief(np.array([1.5, 2])) == "[1.5, 2. ]"
    assert brief((0.123456789, "word", [None])) == "(0.123457, 'word', [None])"
    assert brief(list(range(99))).endswith(", …]") and len(brief("x" * 999)) <= 60
    assert brief(np.sqrt) == "<sqrt>"
