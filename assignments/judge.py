"""Judges a notebook: runs its cells, and calls what they define with values of its own.

The student's code runs in a process of its own (sandbox.py). Here what comes back is compared with
what is right, so that no student's code can reach what decides about points. A file in checks/ says
for each assignment what is right; the classes below are what it is written with.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from nbformat import NotebookNode

from assignments.sandbox import Process
from assignments.worker import FigureData, Gone, Raised
from augment_utils.classroom import Personal

CALL = 30  # seconds that a function may take
IN_ALL = 5  # times as long as a cell may a whole notebook run, and nothing is begun later
FEW = 12  # values are shown, of more only how many there are


class Wrong(Exception):
    """What was expected, and what came."""


class Part(NamedTuple):
    """What gets points: a function that is called, or values that are looked at.

    ``check`` yields points as soon as they are earned, and raises :class:`Wrong`; what it has
    yielded by then is kept. Where a function does not get all of them, ``right``, which has the
    function's name and its parameters, takes its place, so that an error costs its own part only.
    """

    name: str  # its test is the cell test-NAME
    check: Callable[["Student"], Iterator[float]]
    right: Callable | None = None


class Judged(NamedTuple):
    """What a part got, and why not more."""

    points: float
    says: str = ""


class Student:
    """A student's notebook, as checks see it."""

    def __init__(self, process: Process, own: Personal) -> None:
        self._process, self.own = process, own

    def call(self, name: str, *arguments: Any, by_hand: bool = False, copy: bool = False) -> Any:
        """Call a function by position; what it is given must not change.

        Parameters
        ----------
        name : str
        *arguments : arrays, numbers, words, or functions of the grader's
        by_hand : bool
            Whether no library may do the work.
        copy : bool
            Whether the result must not lie in an argument's memory.
        """
        what = shown(name, *arguments)
        try:
            result, changed, shared, libraries = self._process.call(
                name, *arguments, by_hand=by_hand, seconds=CALL
            )
        except Raised as error:
            raise Wrong(f"{what} raised {error}") from error
        if libraries:
            raise Wrong(
                f"{name} is to be written in NumPy, without {', '.join(map(str, libraries))}"
            )
        if changed:
            raise Wrong(f"{what} changed what it was given; work on a copy")
        if copy and shared:
            raise Wrong(f"{what} returned a part of what it was given; return a copy")
        return result

    def compare(self, right: Callable, *arguments: Any, within: float = 0, **options: Any) -> None:
        """Call the function that has the name of the right one, and compare what they return.

        `options` are those of :meth:`call`, and `dtype` of :func:`same`.
        """
        dtype = options.pop("dtype", None)
        expected = right(*arguments)
        found = self.call(right.__name__, *arguments, **options)
        same(shown(right.__name__, *arguments), found, expected, within, dtype)

    def value(self, name: str) -> Any:
        """What a name stands for."""
        try:
            return self._process.value(name)
        except Raised as error:
            raise Wrong(f"{name} is not defined") from error

    def results(self, right: Callable, *arguments: Any, within: float) -> list:
        """What the right function returns; and what the student's does, if it is as right."""
        found = [right(*arguments)]
        with contextlib.suppress(Wrong):
            own = self.call(right.__name__, *arguments)
            same("", own, found[0], within)
            found.append(own)
        return found

    def number(self, name: str, expected: list[float], within: float, hint: str = "") -> None:
        """Compare a number with those that are right for this student."""
        found = self.value(name)
        if isinstance(found, np.ndarray) and found.size == 1:
            found = found.item()
        if isinstance(found, bool) or not isinstance(found, int | float | np.number):
            raise Wrong(f"{name} is to be a number, got {brief(found)}")
        if not any(abs(float(found) - one) <= within * (1 + 1e-9) for one in expected):
            raise Wrong(f"{name} is {brief(found)}, which is not so for your own data{hint}")

    def figure(self, name: str, *arguments: Any) -> FigureData:
        """The data of the figure that a function returns."""
        found = self.call(name, *arguments)
        if not isinstance(found, FigureData):
            raise Wrong(f"{shown(name, *arguments)} is to return a figure, got {brief(found)}")
        arrays = (*found.lines, *found.bars)
        if not all(isinstance(array, np.ndarray) and array.ndim == 1 for array in arrays):
            raise Wrong("the figure has lines or bars that are no numbers")
        return found


def same(what: str, found: Any, expected: Any, within: float = 0, dtype: Any = None) -> None:
    """See that two arrays, or numbers, agree.

    Parameters
    ----------
    what : str
        The call, for the message.
    found, expected : arrays, or what NumPy takes for such
    within : float
        By how much they may differ.
    dtype : dtype or None
        That `found` must have, which then is an array.

    Raises
    ------
    Wrong
        They do not; it says where, what was expected and what came.
    """
    expected = np.asarray(expected)
    if dtype is not None and not (isinstance(found, np.ndarray) and found.dtype == dtype):
        came = f"one of {found.dtype}" if isinstance(found, np.ndarray) else brief(found)
        raise Wrong(f"{what} is to be an array of {np.dtype(dtype)}, got {came}")
    try:
        array = np.asarray(found)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise Wrong(f"{what} is to be numbers, got {brief(found)}")
    if array.shape != expected.shape:
        raise Wrong(f"{what} is to have the shape {expected.shape}, got {array.shape}")
    close = np.abs(array.astype(float) - expected.astype(float)) <= within * (1 + 1e-9)
    if not close.all():
        first = tuple(int(i) for i in np.argwhere(~close)[0])
        where = f" at {list(first)}" if first else ""
        others = f", and {n - 1} more are wrong" if (n := int((~close).sum())) > 1 else ""
        raise Wrong(
            f"{what}{where}: expected {brief(expected[first])}, got {brief(array[first])}{others}"
        )


def shown(name: str, *arguments: Any) -> str:
    """A call, in few words."""
    return f"{name}({', '.join(map(brief, arguments))})"


def brief(value: Any) -> str:
    """A value, in few words."""
    if isinstance(value, np.ndarray):
        if 0 < value.size <= FEW:
            return np.array2string(value, separator=", ").replace("\n", "")
        sides = " × ".join(map(str, value.shape))
        span = (
            f", {value.min():g} to {value.max():g}"
            if value.size and value.dtype.kind in "iuf"
            else ""
        )
        return f"<{sides} {value.dtype}{span}>"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, str | bool | int | np.generic | type(None)):
        return f"{value!r:.60}" if isinstance(value, str) else str(value)[:60]
    if isinstance(value, list | tuple):
        inner = ", ".join(map(brief, value[:FEW])) + (", …" if len(value) > FEW else "")
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return f"<{getattr(value, '__name__', None) or repr(value):.60}>"


def judge(
    notebook: NotebookNode,
    process: Process,
    parts: list[Part],
    own: Personal,
    seconds: float,
) -> tuple[dict[str, Judged], list[str]]:
    """Run a notebook, and look at each part as soon as its test has run.

    The cells get their outputs. A cell that ends the process, or that does not stop, is left out
    when the others are run again.

    Parameters
    ----------
    notebook : NotebookNode
    process : Process
    parts : list of Part
    own : Personal
        Whose numbers are right.
    seconds : float
        That a cell may run.

    Returns
    -------
    judged : {part: Judged}
    remarks : list of str
    """
    return _Judge(notebook, process, parts, own, seconds).judge()


class _Judge:
    def __init__(self, notebook, process, parts, own, seconds):
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.process, self.student, self.seconds = process, Student(process, own), seconds
        self.parts = {f"test-{part.name}": part for part in parts}
        self.judged, self.remarks, self.left_out, self.replaced = {}, [], set(), {}
        self.until = time.monotonic() + IN_ALL * seconds
        process.functions["right"] = self._right

    def judge(self):
        try:
            self._run_all()
        finally:
            self.process.stop()
        for name in (part.name for part in self.parts.values()):
            self.judged.setdefault(name, Judged(0.0, "its test did not run"))
        return self.judged, self.remarks

    def _run_all(self):
        undefined = []
        for place, cell in enumerate(self.cells):
            if time.monotonic() > self.until:
                self.remarks.append(
                    f"ran for {IN_ALL * self.seconds:g} s; {name_of(cell)} and the rest did not run"
                )
                break
            cell.outputs = self._run(place)
            if part := self.parts.get(grade_id(cell) or ""):
                self.judged[part.name] = self._look_at(part, place)
                if self.judged[part.name] is None:
                    undefined.append(part)
        for part in undefined:  # what is defined below its test
            self.judged[part.name] = self._look_at(part, len(self.cells) - 1) or Judged(
                0.0, f"{part.right.__name__ if part.right else part.name} is not defined"
            )

    def _run(self, place):
        cell = self.cells[place]
        try:
            outputs = self.process.run(cell.source, self.seconds)
        except Raised as error:
            outputs = [_error("Error", str(error))]
        except Gone as gone:
            outputs = [_error("Gone", f"the process did not outlive this cell: {gone}")]
            self._leave_out(
                place, "ended the process" if "ended" in str(gone) else "had to be stopped"
            )
            self._restore(place)
        if outputs and outputs[-1].get("ename") == "TooLong":
            self._leave_out(place, "ran too long")
        return [NotebookNode(output) for output in outputs]

    def _leave_out(self, place, why):
        self.left_out.add(place)
        self.remarks.append(f"{name_of(self.cells[place])} {why}")

    def _restore(self, end):
        """In a new process, run what came before, but for what must be left out."""
        done = False
        while not done and time.monotonic() < self.until:
            done = True
            for place, cell in enumerate(self.cells[:end]):
                try:
                    if place not in self.left_out:
                        self.process.run(cell.source, self.seconds)
                    self._replace(self.parts.get(grade_id(cell) or ""))
                except Raised:
                    pass
                except Gone:
                    self._leave_out(place, "ended the process")
                    done = False
                    break

    def _look_at(self, part, place):
        """What the part gets; None where there is nothing by its name."""
        if place in self.left_out and grade_id(self.cells[place]) == f"test-{part.name}":
            judged = Judged(0.0, "it did not come to an end")
        else:
            judged = self._check(part, place)
        if part.right and (judged is None or judged.says):
            self.replaced[part.right.__name__] = part.right
            self._replace(part)
        return judged

    def _check(self, part, place):
        points = 0.0
        try:
            for earned in part.check(self.student):
                points += earned
        except Wrong as wrong:
            undefined = isinstance(wrong.__cause__, Raised) and "Undefined" in str(wrong.__cause__)
            return None if undefined and not points else Judged(points, str(wrong))
        except Gone as gone:
            self.remarks.append(f"{part.name}: {gone} when it was called")
            self._restore(place + 1)
            return Judged(points, f"it was called, and {gone}")
        except Exception as error:  # something came that the check did not think of
            self.remarks.append(f"{part.name} could not be compared: {error!r:.80}; look at it")
            return Judged(points, "what came could not be compared")
        return Judged(points)

    def _replace(self, part):
        if part and part.right and (right := self.replaced.get(part.right.__name__)):
            names = right.__code__.co_varnames[: right.__code__.co_argcount]
            with contextlib.suppress(Gone):
                self.process.replace(right.__name__, list(names))

    def _right(self, name, *arguments):
        return self.replaced[name](*arguments)


def grade_id(cell: NotebookNode) -> str | None:
    """The mark that nbgrader knows a cell by."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def name_of(cell: NotebookNode) -> str:
    """The mark, or else the cell's first line."""
    return grade_id(cell) or f"the cell `{cell.source.strip().partition(chr(10))[0][:40]}`"


def _error(name, says):
    return {"output_type": "error", "ename": name, "evalue": says, "traceback": [f"{name}: {says}"]}
