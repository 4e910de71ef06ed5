"""The class: who is in it, what a learning management system (LMS) sent, who was late, tables."""

import codecs
import contextlib
import csv
import io
import itertools
import json
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from assignments.submission import LARGEST, notebooks_in, same_id
from augment_utils.classroom import CLASS_FILE, plain_id, read_class_file
from tools.files import write_file

ROSTER = "roster.csv"  # columns: student, and what there is of name, email, lms_id, login, section
TIMESTAMP = "timestamp.txt"  # nbgrader's, beside a notebook: when it was handed in
UNKNOWN_TIME = "time-unknown.txt"  # what collecting writes there, where an LMS does not say it
GUARDED = "=+-@\t\r"  # what a spreadsheet takes for the beginning of a formula
# Name_1234567_assignsubmission_file_; the number is the submission's, and says nothing of who it is
MOODLE = re.compile(r"(?P<name>.+)_\d+_assignsubmission_(?:file|onlinetext).*", re.DOTALL)
# namename_LATE_123_4567_file.ipynb: the student's ID, and the file's
CANVAS = re.compile(
    r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<lms_id>\d+)_(?P<file>\d+)_.+", re.IGNORECASE | re.DOTALL
)


class Late(NamedTuple):
    """The rule of a class for what comes too late: nothing taken off, where it has none."""

    deadline: datetime | None = None
    grace: float = 0.0  # minutes
    a_day: float = 0.0  # points taken off for each day begun
    at_most: float = float("inf")

    def taken_off(self, handed_in: datetime | None) -> float:
        """Points, for what was handed in at that time."""
        if self.deadline is None or handed_in is None:
            return 0.0
        seconds = (handed_in - self.deadline).total_seconds()
        if seconds <= 60 * self.grace:
            return 0.0
        return min(self.a_day * (-(-seconds // 86400)), self.at_most)


def late_rule(course: Path, assignment: str) -> Late:
    """What the course's class file says under ``deadlines`` and ``late``.

    Raises
    ------
    ValueError
        It says something else than a time with its zone, and numbers.
    """
    try:
        settings = json.loads((course / CLASS_FILE).read_text("utf-8-sig"))
        deadline = settings.get("deadlines", {}).get(assignment)
        rule = settings.get("late", {})
        when = datetime.fromisoformat(deadline) if deadline else None
        if when and when.tzinfo is None:
            raise ValueError("a time without its zone")
        keys = ("grace_minutes", "points_a_day", "at_most") if rule else ()
        return Late(when, *(float(rule[key]) for key in keys))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{course / CLASS_FILE} has no rule for what is late ({error!r}), expected "
            f'"deadlines": {{"{assignment}": "2026-12-01T23:59+01:00"}}, '
            '"late": {"grace_minutes": 10, "points_a_day": 2, "at_most": 10}'
        ) from error


def check_class_file(course: Path, assignments: Sequence[str]) -> None:
    """See that the course's class file can be read, and what it says of the assignments.

    Raises
    ------
    ValueError
        It cannot; or it has a deadline for what is no assignment.
    """
    file = course / CLASS_FILE
    read_class_file(file)
    for name in assignments:
        late_rule(course, name)
    deadlines = json.loads(file.read_text("utf-8-sig")).get("deadlines", {})
    if unknown := sorted(set(deadlines) - set(assignments)):
        raise ValueError(
            f"{file} has deadlines for {', '.join(unknown)}, expected some of "
            f"{', '.join(assignments)}"
        )


def handed_in_at(folder: Path) -> datetime | None:
    """When: by nbgrader's file, else by the newest notebook's time; None where nobody knows."""
    try:
        text = (folder / TIMESTAMP).read_text("utf-8").strip().removesuffix(" UTC")
        time = datetime.fromisoformat(text)
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    except (OSError, ValueError):
        if (folder / UNKNOWN_TIME).exists():
            return None
        times = [path.stat().st_mtime for path in notebooks_in(folder)]
        return datetime.fromtimestamp(max(times), UTC) if times else None


def time_remark(folder: Path, rule: Late) -> list[str]:
    """What the teacher has to know where the time is not known: perhaps that Canvas says LATE."""
    file = folder / UNKNOWN_TIME
    if handed_in_at(folder) or not file.is_file():
        return []
    text = file.read_text("utf-8", "replace").strip()
    return [text] if rule.deadline or "LATE" in text else []


def read_roster(course: Path) -> list[dict[str, str]]:
    """Who is in the class, as ROSTER has it; empty without one.

    Raises
    ------
    ValueError
        It is no text, has no column ``student``, an id with a slash, or somebody twice.
    """
    file = course / ROSTER
    if not file.exists():
        return []
    text = _text(file).lstrip("\n")
    head = text.partition("\n")[0].strip()
    mark = max(",;\t", key=head.count)  # a spreadsheet's, where the comma is in numbers
    if head.lower().startswith("sep="):
        mark, text = head[4:] or "\t", text.partition("\n")[2]
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    except (csv.Error, TypeError) as error:
        raise ValueError(f"{file}: {error}; save it as CSV UTF-8") from error
    names, *rows = [[cell.strip() for cell in row] for row in table if any(row)] or [[]]
    names = [name.lower() for name in names]
    people = [dict(zip(names, row, strict=False)) for row in rows if any(row)]
    if people and "student" not in names:
        raise ValueError(f"{file} has no column `student`, only {', '.join(names)}")
    if not all(person.get("student") for person in people):
        raise ValueError(f"{file} is to have a column `student` with an id in each row")
    for at, person in enumerate(people):
        if "/" in person["student"] or person["student"] in (".", ".."):
            raise ValueError(f"{file} has {person['student']}, which can name no folder")
        if any(same_id(person["student"], other["student"]) for other in people[:at]):
            raise ValueError(f"{file} has {person['student']} twice")
    return people


def _text(file):
    """In UTF-8, or as Excel writes it: UTF-16 with a mark, or a Western European Windows'."""
    data = file.read_bytes()
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if utf_16 else ("utf-8-sig", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            if "\0" not in text:
                return re.sub(r"\r\n?", "\n", text)
    raise ValueError(f"{file} is no text that can be read; save {ROSTER} as CSV UTF-8")


def collect(
    course: Path, assignment: str, download: Path
) -> tuple[list[str], list[str], list[str]]:
    """Sort a download of an LMS into ``submitted/STUDENT/ASSIGNMENT``.

    Parameters
    ----------
    course : path
    assignment : str
    download : path
        A folder, or the zip file: Moodle's, of folders or of files; Canvas'; or any other whose
        folders or files begin with the id of the roster. Zip files in it are unpacked.

    Returns
    -------
    collected, unknown, left : lists of str
        The ids; the names for which nobody was found; and those, with the reason, that were left
        because they hold no notebook, or an older one.

    Raises
    ------
    ValueError
        There is no roster, or the file is no zip file.
    """
    people = read_roster(course)
    if not people:
        raise ValueError(f"write {course / ROSTER} first, which says whose a download is")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "download"
        if download.is_dir():
            shutil.copytree(download, source, symlinks=True)
        else:
            _unpack(download, source)
        _unpack_inner(source)
        entries = _entries(source)
        if len(entries) == 1 and entries[0].is_dir():
            inner = _entries(entries[0])  # a zip file often holds one folder with all
            entries = entries if _whose(entries[0], people, assignment) else inner
        taken: dict[str, Path] = {}
        unknown, left = [], []
        for entry in sorted(entries, key=_age, reverse=True):
            student = _whose(entry, people, assignment)
            if student is None:
                unknown.append(entry.name)
            elif not notebooks_in(entry):
                left.append(f"{entry.name} of {student} holds no notebook")
            elif student in taken:
                left.append(f"{entry.name} of {student} is older than {taken[student].name}")
            else:
                taken[student] = entry
        for student, entry in taken.items():
            _take(entry, course / "submitted" / student / assignment, assignment)
    return sorted(taken), sorted(unknown), sorted(left)


def _age(entry):
    """The time of its newest notebook; of several of one time, the number of Canvas' file."""
    canvas = CANVAS.fullmatch(entry.name)
    times = [path.stat().st_mtime for path in notebooks_in(entry)]
    return max(times, default=0.0), int(canvas["file"]) if canvas else 0


def _entries(folder):
    """What is in it, but for what systems leave there."""
    return [p for p in sorted(folder.iterdir()) if not p.name.startswith((".", "__MACOSX"))]


def _unpack(file, folder):
    """A zip file; with the times that it has, and nothing outside the folder."""
    folder.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(file) as archive:
            for one in archive.infolist():
                if not one.flag_bits & 0x800:  # a Mac's names are UTF-8, and do not say so
                    with contextlib.suppress(UnicodeError):
                        one.filename = one.filename.encode("cp437").decode("utf-8")
                there = Path(archive.extract(one, folder))
                try:
                    time = datetime(*one.date_time)
                except ValueError:  # as zeros, where there is none
                    time = datetime(1980, 1, 1)
                os.utime(there, (time.timestamp(),) * 2)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(f"{file} is no zip file ({error}); give the zip or a folder") from error


def _unpack_inner(source):
    """Students' zip files, each into a folder of its name; what is none, or too large, stays."""
    for file in [p for p in sorted(source.rglob("*")) if p.suffix.lower() == ".zip"]:
        if not file.is_file() or file.is_symlink():
            continue
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            try:
                with zipfile.ZipFile(file) as archive:
                    large = sum(one.file_size for one in archive.infolist()) > LARGEST
                if large:
                    continue
                _unpack(file, Path(folder) / "inner")
            except (OSError, ValueError, zipfile.BadZipFile):
                continue
            file.unlink()
            shutil.move(Path(folder) / "inner", file)


def _whose(entry, people, assignment):
    """Whose it is; not his whose id is the number of the assignment."""
    return None if entry.name.startswith(assignment) else _who(entry.name, people)


def _who(name, people):
    """The student's id: by an LMS's name for a file, or by the id, login or address it begins with.

    None where that is nobody, or could be two.
    """
    if found := MOODLE.fullmatch(name):
        return _only(p for p in people if _alike(p.get("name", ""), found["name"]))
    if found := CANVAS.fullmatch(name):
        known = _only(p for p in people if same_id(p.get("lms_id", ""), found["lms_id"]))
        nameless = [p for p in people if not p.get("lms_id")]
        known = known or _only(p for p in nameless if _alike(p.get("name", ""), found["name"]))
        if known:
            return known
    text, lengths = plain_id(name), []
    for person in people:
        keys = {plain_id(person.get(key, "")) for key in ("student", "login", "email")} - {""}
        begins = [k for k in keys if text.startswith(k) and not text[len(k) : len(k) + 1].isalnum()]
        lengths.append(max(map(len, begins), default=0))
    longest = max(lengths, default=0)
    return _only(p for p, n in zip(people, lengths, strict=True) if n == longest > 0)


def _only(people):
    ids = [person["student"] for person in people]
    return ids[0] if len(ids) == 1 else None


def _alike(one, other):
    """The same, or the words of a name in any order and without spaces, as Canvas writes it."""
    words = re.findall(r"\w+", plain_id(one))
    joined = "".join(re.findall(r"\w+", plain_id(other)))
    orders = itertools.permutations(words) if 1 < len(words) < 6 else ()
    return same_id(one, other) or any("".join(order) == joined for order in orders)


def _take(entry, there, assignment):
    shutil.rmtree(there, ignore_errors=True)
    if entry.is_dir():
        shutil.copytree(entry, there, symlinks=True)
    else:
        there.mkdir(parents=True)
        shutil.copy2(entry, there / f"{assignment}.ipynb")
    canvas = CANVAS.fullmatch(entry.name)
    if canvas or MOODLE.fullmatch(entry.name):
        # their zip files have the time of the download
        text = "when it was handed in is not known, and nothing taken off"
        text += "; Canvas says LATE" if canvas and canvas["late"] else ""
        (there / UNKNOWN_TIME).write_text(f"{text}\n", "utf-8")
    else:
        (there / UNKNOWN_TIME).unlink(missing_ok=True)


def write_tables(course: Path, results: Iterable) -> None:
    """``grades/``: a table for each assignment, one of totals, and files for two LMSs.

    Parameters
    ----------
    course : path
    results : of course.Graded
    """
    people = read_roster(course)
    by_assignment: dict[str, dict] = {}
    for one in results:
        if one.most:
            by_assignment.setdefault(one.assignment, {})[one.student] = one
    folder = course / "grades"
    everybody = {person["student"]: person for person in people}
    for graded in by_assignment.values():
        for student in graded:
            known = next((s for s in everybody if same_id(s, student)), student)
            everybody.setdefault(known, {"student": student})
    total: dict[str, dict] = {}
    for name, graded in sorted(by_assignment.items()):
        first = next(iter(graded.values()))
        parts, of = list(first.most), f"{sum(first.most.values()):g}"
        rows = [["student", "name", *parts, "late", "points", "of", "to grade by hand", "remarks"]]
        for student in sorted(everybody):
            one = next((g for s, g in graded.items() if same_id(s, student)), None)
            total.setdefault(student, {})[name] = one
            who = [student, everybody[student].get("name", "")]
            if one is None:
                rows.append([*who, *("" for _ in parts), "", "0", of, "", "not handed in"])
                continue
            points = ("" if one.parts[part] is None else f"{one.parts[part]:g}" for part in parts)
            late, remarks = f"{-one.late:g}" if one.late else "", "; ".join(one.remarks)
            rows.append(
                [*who, *points, late, f"{one.points:g}", of, " ".join(one.waiting), remarks]
            )
        _write(folder / f"{name}.csv", rows)
    names = sorted(by_assignment)
    _write(folder / "total.csv", _totals(everybody, total, names))
    _write(folder / "moodle.csv", _for_moodle(everybody, total, names), mark=False)
    _write(folder / "canvas.csv", _for_canvas(everybody, total, names, by_assignment), mark=False)


def _totals(everybody, total, names):
    rows = [["student", "name", *names, "points", "handed in", "to grade by hand"]]
    for student in sorted(everybody):
        ones = [total[student][name] for name in names]
        points = ["" if one is None else f"{one.points:g}" for one in ones]
        there = [one for one in ones if one is not None]
        waiting = sum(len(one.waiting) for one in there)
        who = [student, everybody[student].get("name", "")]
        sums = [f"{sum(one.points for one in there):g}", f"{len(there)} of {len(names)}"]
        rows.append([*who, *points, *sums, str(waiting or "")])
    return rows


def _grades(total, student, names):
    """The points; empty, and so not imported, where a human has still to look."""
    for name in names:
        one = total[student][name]
        yield "" if one is not None and one.waiting else f"{one.points if one else 0:g}"


def _for_moodle(everybody, total, names):
    """Its import maps a column to the user's address or ID number, the others to grade items."""
    rows = [["ID number", "Email address", *names]]
    for student in sorted(everybody):
        email = everybody[student].get("email", "")
        rows.append([student, email, *_grades(total, student, names)])
    return rows


def _for_canvas(everybody, total, names, graded):
    """Its import knows a student by these columns, and an assignment by its name."""
    rows = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *names]]
    most = [f"{sum(next(iter(graded[name].values())).most.values()):g}" for name in names]
    rows.append(["    Points Possible", "", "", "", "", *most])
    for student in sorted(everybody):
        person = everybody[student]
        known = [person.get(key, "") for key in ("name", "lms_id")]
        known += [student, person.get("login", ""), person.get("section", "")]
        rows.append([*known, *_grades(total, student, names)])
    return rows


def _write(path: Path, rows: Sequence[Sequence[str]], mark: bool = True) -> None:
    """With the mark by which a spreadsheet knows UTF-8, and no cell that it takes for a formula."""
    text = io.StringIO()
    safe = ([f"'{c}" if c[:1] in GUARDED and not _is_number(c) else c for c in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(safe)
    write_file(path, text.getvalue().encode("utf-8-sig" if mark else "utf-8"))


def _is_number(text):
    return re.fullmatch(r"|[+-]?\d+(\.\d+)?", text) is not None
