"""The class: what an LMS sent is sorted, who was late loses points, and tables have everybody."""

import csv
import json
import os
import re
import unicodedata
import zipfile
from datetime import datetime, timedelta

import pytest

from assignments import course, roster
from assignments.course import Graded
from assignments.submission import notebooks_in
from augment_utils.classroom import CLASS_FILE
from tests.common import call
from tools import ROOT

ONE, TWO = "1_stretch_and_equalize", "2_adapt_and_clip"
PEOPLE = """\
student,name,email,login,lms_id,section
ab1234,Anna Bäcker,anna@example.org,abaecker,71,A
x[1],Émile de la Tour,emile@example.org,emile,72,A
0042,Wei Zhang,wei@example.org,wzhang,73,B
=cmd,Max Muster,max@example.org,max,74,B
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / CLASS_FILE).write_text(json.dumps({"year": 2026, "images": "patches"}))
    (tmp_path / roster.ROSTER).write_text(PEOPLE, "utf-8-sig")
    (tmp_path / "source").mkdir()
    return tmp_path


def graded(student, assignment, points, **options):
    parts = {"first": points, "explain": options.pop("explain", 2.0)}
    return Graded(student, assignment, parts, {"first": 10.0, "explain": 4.0}, [], **options)


def table(folder, name):
    text = (folder / "grades" / f"{name}.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    key = next(key for key in ("student", "ID number", "SIS User ID") if key in rows[0])
    return {row[key]: row for row in rows}


# ---- collecting


MOODLE_FOLDERS = {  # {what is in the zip file: what it says}
    "Anna Bäcker_991_assignsubmission_file_/1_stretch_and_equalize.ipynb": "anna",
    "Émile de la Tour_992_assignsubmission_file_/work (2).ipynb": "emile",
    "Somebody Else_993_assignsubmission_file_/1_stretch_and_equalize.ipynb": "unknown",
}
MOODLE_FILES = {
    "Anna Bäcker_991_assignsubmission_file_1_stretch_and_equalize.ipynb": "anna",
    "Émile de la Tour_992_assignsubmission_file_work.ipynb": "emile",
    "Somebody Else_993_assignsubmission_file_x.ipynb": "unknown",
}
CANVAS = {
    "bäckeranna_71_5001_1_stretch_and_equalize.ipynb": "anna",
    "delatouremile_LATE_72_5002_work-1.ipynb": "emile",
    "elsesomebody_99_5003_x.ipynb": "unknown",
}
BY_ID = {
    "ab1234.ipynb": "anna",
    "x[1]/1_stretch_and_equalize.ipynb": "emile",
    "zz9999.ipynb": "unknown",
}
BY_ADDRESS = {
    "submissions/anna@example.org_1.ipynb": "anna",
    "submissions/emile.v2 work.ipynb": "emile",
    "submissions/nobody@example.org.ipynb": "unknown",
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("sent", [MOODLE_FOLDERS, MOODLE_FILES, CANVAS, BY_ID, BY_ADDRESS])
def test_what_an_lms_sent_is_sorted_by_student(folder, tmp_path_factory, sent, zipped):
    download = tmp_path_factory.mktemp("download")
    for name, text in sent.items():
        (download / name).parent.mkdir(exist_ok=True)
        (download / name).write_text(text)
    if zipped:
        file = tmp_path_factory.mktemp("zip") / "all.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for name in sent:
                archive.write(download / name, name)
        download = file
    collected, unknown, _ = roster.collect(folder, ONE, download)
    assert collected == ["ab1234", "x[1]"] and len(unknown) == 1
    for student, says in (("ab1234", "anna"), ("x[1]", "emile")):
        (notebook,) = (folder / "submitted" / student / ONE).glob("*.ipynb")
        assert notebook.read_text() == says


def test_of_two_by_one_student_the_newest_counts(folder, tmp_path_factory):
    download = tmp_path_factory.mktemp("download")
    for number, text, age in ((1, "old", 3600), (2, "new", 60)):
        file = download / f"bäckeranna_71_{number}_x.ipynb"
        file.write_text(text)
        os.utime(file, (file.stat().st_mtime - age,) * 2)
    left = ["bäckeranna_71_1_x.ipynb of ab1234 is older than bäckeranna_71_2_x.ipynb"]
    assert roster.collect(folder, ONE, download) == (["ab1234"], [], left)
    assert (folder / "submitted/ab1234" / ONE / f"{ONE}.ipynb").read_text() == "new"


def put(folder, name, text, age=0.0):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    os.utime(folder / name, (1.7e9 - age,) * 2)


def test_only_what_holds_a_notebook_becomes_one(folder, tmp_path_factory):
    download = tmp_path_factory.mktemp("download")
    put(download, "bäckeranna_71_1_x.ipynb", "anna", age=60)
    put(download, "bäckeranna_71_2_class.json", "{}")  # is newer
    put(download, "Wei Zhang_9_assignsubmission_file_/answer.docx", "no notebook")
    put(download, "Wei Zhang_9_assignsubmission_file_/.ipynb_checkpoints/x.ipynb", "nor this")
    put(download, "max.zip", "this is no zip file")
    collected, unknown, left = roster.collect(folder, ONE, download)
    assert (collected, unknown) == (["ab1234"], [])
    assert len(left) == 3 and all("holds no notebook" in text for text in left)
    (notebook,) = (folder / "submitted" / "ab1234" / ONE).glob("*.ipynb")
    assert notebook.read_text() == "anna"


@pytest.mark.parametrize("name", ["ab1234.zip", "Anna Bäcker_9_assignsubmission_file_/my.ZIP"])
def test_a_students_zip_file_is_unpacked(folder, tmp_path_factory, name):
    download = tmp_path_factory.mktemp("download")
    (download / name).parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(download / name, "w") as archive:
        archive.writestr("work/x.ipynb", "anna")
        archive.writestr("__MACOSX/work/._x.ipynb", "?")
    assert roster.collect(folder, ONE, download) == (["ab1234"], [], [])
    (notebook,) = notebooks_in(folder / "submitted" / "ab1234" / ONE)
    assert notebook.read_text() == "anna"
    assert (download / name).is_file()  # the download is as it was


def test_of_two_folders_the_one_with_the_newest_notebook_counts(folder, tmp_path_factory):
    download = tmp_path_factory.mktemp("download")
    put(download, "ab1234 a/x.ipynb", "new", age=60)
    put(download, "ab1234 b/x.ipynb", "old", age=3600)
    put(download, "ab1234 b/notes.txt", "newest, but no notebook")
    put(download, "bäckeranna_71_8_x.ipynb", "first of two at a time", age=9)
    put(download, "bäckeranna_71_10_x-1.ipynb", "second", age=9)
    collected, _, left = roster.collect(folder, ONE, download)
    assert collected == ["ab1234"] and len(left) == 3
    assert (folder / "submitted" / "ab1234" / ONE / f"{ONE}.ipynb").read_text() == "second"


def test_the_number_of_an_assignment_is_nobodys_id(folder, tmp_path_factory):
    (folder / roster.ROSTER).write_text("student\n1\n2\n")
    download = tmp_path_factory.mktemp("download")
    put(download, f"{ONE}/2.ipynb", "two")
    assert roster.collect(folder, ONE, download)[0] == ["2"]
    put(download, f"{ONE}.ipynb", "whose?")
    assert roster.collect(folder, ONE, download)[0] == []


def test_two_students_of_one_name_are_not_guessed(folder, tmp_path_factory):
    with open(folder / roster.ROSTER, "a", encoding="utf-8") as file:
        file.write("cd5678,Anna Bäcker,other@example.org,,75,A\n")
    download = tmp_path_factory.mktemp("download")
    (download / "Anna Bäcker_991_assignsubmission_file_x.ipynb").write_text("whose?")
    (download / "bäckeranna_75_1_x.ipynb").write_text("the second's")
    assert roster.collect(folder, ONE, download)[0] == ["cd5678"]


def test_moodles_number_is_nobodys_id(folder, tmp_path_factory):
    download = tmp_path_factory.mktemp("download")
    (download / "Somebody Else_71_assignsubmission_file_").mkdir()  # 71 is Anna's ID in Canvas
    (download / "Somebody Else_71_assignsubmission_file_" / "x.ipynb").write_text("not Anna's")
    (download / "Wei Zhang_72_assignsubmission_file_x.ipynb").write_text("Wei's")
    (download / "Emile Else_8_assignsubmission_file_x.ipynb").write_text("a name, and no login")
    collected, unknown = roster.collect(folder, ONE, download)[:2]
    assert collected == ["0042"] and len(unknown) == 2


MANY = """\
student,name,email,login,lms_id
ab1234,Anna Bäcker,,anna.baecker,
anna,Anna Other,,,
Müller 7,,,,
ef_90,,emile@example.org,,
ef,,,,
x[1],,,,
1,Ann Lee,,,71
"""
WHOSE = {
    "ab1234-work.ipynb": "ab1234",
    "AB1234": "ab1234",
    "ab12345.ipynb": None,
    "anna.baecker": "ab1234",
    "anna.baeckers": "anna",
    "anna.ipynb": "anna",
    "annabel": None,
    "Anna (2).ipynb": "anna",
    "Müller 7 work.ipynb": "Müller 7",
    "Mu\u0308ller 7": "Müller 7",
    "Müller 71.ipynb": None,
    "ef_90_work.ipynb": "ef_90",
    "ef_90_2_work.ipynb": "ef_90",
    "ef_9.ipynb": "ef",
    "emile@example.org": "ef_90",
    "emile@example.org.ipynb": "ef_90",
    "x[1] v1.2.ipynb": "x[1]",
    "leeann_71_5_x.ipynb": "1",
    "leeann_72_5_x.ipynb": None,
    "Anna Nobody_71_assignsubmission_file_": None,
}


@pytest.mark.parametrize("name", WHOSE)
def test_a_name_belongs_to_the_longest_id_that_it_begins_with(folder, name):
    (folder / roster.ROSTER).write_text(MANY, "utf-8")
    assert roster._who(name, roster.read_roster(folder)) == WHOSE[name]


def broken_zip(folder, how):
    file = folder / "all.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ab1234.ipynb", "anna " * 1000)
    data = bytearray(file.read_bytes())
    match how:
        case "empty":
            data.clear()
        case "cut":
            del data[len(data) // 2 :]
        case "other":
            data = bytearray(b"{}" * 100)
        case "damaged":
            data[45:60] = b"\xff" * 15
        case "locked":
            for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
                data[data.index(mark) + at] |= 1
        case "method":
            for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
                data[data.index(mark) + at] = 77
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("how", ["empty", "cut", "other", "damaged", "locked", "method"])
def test_what_is_no_zip_file_is_refused(folder, tmp_path_factory, how):
    file = broken_zip(tmp_path_factory.mktemp("zip"), how)
    with pytest.raises(ValueError, match=r"all\.zip is no zip file .*give the zip or a folder"):
        roster.collect(folder, ONE, file)


@pytest.mark.parametrize("date", [(1980, 0, 0), (2026, 2, 31), (1980, 15, 1)])
def test_a_zip_file_may_have_dates_that_are_none_and_a_macs_folders(folder, tmp_path_factory, date):
    file = tmp_path_factory.mktemp("zip") / "all.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("all/ab1234.ipynb", (*date, 0, 0, 0)), "anna")
        archive.writestr("__MACOSX/all/._ab1234.ipynb", "?")
    assert roster.collect(folder, ONE, file)[:2] == (["ab1234"], [])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "name", ["Anna Bäcker_9_assignsubmission_file_/x.ipynb", "bäckeranna_71_5_x.ipynb"]
)
def test_a_macs_zip_file_has_names_in_utf_8_and_does_not_say_so(
    folder, tmp_path_factory, name, form
):
    (folder / roster.ROSTER).write_text("student,name\nab1234,Anna Bäcker\n", "utf-8")
    file = tmp_path_factory.mktemp("zip") / "all.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(unicodedata.normalize(form, name), "anna")
    data = bytearray(file.read_bytes())
    for mark, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        data[data.index(mark) + at] &= ~8
    file.write_bytes(data)
    assert roster.collect(folder, ONE, file) == (["ab1234"], [], [])


def test_collecting_needs_a_roster(folder):
    (folder / roster.ROSTER).unlink()
    with pytest.raises(ValueError, match=r"write .*roster\.csv first"):
        roster.collect(folder, ONE, folder)


def test_the_command_names_what_belongs_to_nobody(folder, tmp_path_factory):
    (folder / "source" / ONE).mkdir()
    (folder / "source" / ONE / f"{ONE}.ipynb").write_text("{}")
    download = tmp_path_factory.mktemp("download")
    (download / "ab1234.ipynb").write_text("anna")
    done = call("assignments", "collect", "--course", folder, ONE, download)
    assert done.returncode == 0 and "Collected 1: ab1234" in done.stdout
    (download / "nobody.ipynb").write_text("?")
    done = call("assignments", "collect", "--course", folder, ONE, download)
    assert done.returncode == 1 and "nobody in the roster: nobody.ipynb" in done.stderr
    done = call("assignments", "collect", "--course", folder, "9_unknown", download)
    assert done.returncode == 2 and "none of" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "name\nAnna\n",
        "student,name\na,A\n,B\n",
        "student\nÉva\ne\u0301va\n",
        "student\na/b\n",
        "student\n..\n",
    ],
)
def test_what_is_no_roster_is_refused(folder, text):
    (folder / roster.ROSTER).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"roster\.csv"):
        roster.read_roster(folder)


def test_a_spreadsheets_roster_is_read(folder):
    (folder / roster.ROSTER).write_text("Student; Name\na1;Anna\n;\n\nb2;Bo;more\n", "utf-8-sig")
    people = roster.read_roster(folder)
    assert people == [{"student": "a1", "name": "Anna"}, {"student": "b2", "name": "Bo"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={}"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_roster_is_read_as_excel_writes_it(folder, encoding, mark, first, end):
    lines = ["Student|Name", "0042|Müller – Æ", 'ß7|"Bo', 'two"', ""]
    text = end.join([*([first] if first else []), *lines]).format(mark).replace("|", mark)
    (folder / roster.ROSTER).write_bytes(text.encode(encoding))
    one, two = roster.read_roster(folder)
    assert one == {"student": "0042", "name": "Müller – Æ"} and two["student"] == "ß7"


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04\0\0\x81", "student".encode("utf-16-le"), b"\x81\x8d"]
)
def test_a_roster_that_is_no_text_is_refused(folder, data):
    (folder / roster.ROSTER).write_bytes(data)
    with pytest.raises(ValueError, match=r"save roster\.csv as CSV UTF-8"):
        roster.read_roster(folder)


# ---- late


DEADLINE = datetime.fromisoformat("2026-12-01T23:59+01:00")


@pytest.mark.parametrize(
    ("minutes", "points"),
    [(-9999, 0), (0, 0), (10, 0), (11, 2), (24 * 60, 2), (24 * 60 + 1, 4), (99 * 24 * 60, 7)],
)
def test_each_day_begun_costs_points(folder, minutes, points):
    settings = {
        **{"year": 2026, "images": "patches", "deadlines": {ONE: DEADLINE.isoformat()}},
        "late": {"grace_minutes": 10, "points_a_day": 2, "at_most": 7},
    }
    (folder / CLASS_FILE).write_text(json.dumps(settings))
    rule, time = roster.late_rule(folder, ONE), DEADLINE + timedelta(minutes=minutes)
    assert rule.taken_off(time) == points
    assert roster.late_rule(folder, TWO).taken_off(time) == 0
    there = folder / "submitted" / "ab1234" / ONE
    there.mkdir(parents=True)
    (there / "x.ipynb").write_text("")
    os.utime(there / "x.ipynb", (time.timestamp(), time.timestamp()))
    assert rule.taken_off(roster.handed_in_at(there)) == points
    (there / roster.TIMESTAMP).write_text("2020-01-01 12:00:00.000000 UTC")  # as nbgrader writes it
    assert rule.taken_off(roster.handed_in_at(there)) == 0


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("Anna Bäcker_9_assignsubmission_file_/x.ipynb", False, "not known"),
        ("Anna Bäcker_9_assignsubmission_file_x.ipynb", False, "not known"),
        ("bäckeranna_71_5001_x.ipynb", False, "not known"),
        ("bäckeranna_LATE_71_5001_x.ipynb", False, "Canvas says LATE"),
        ("ab1234.ipynb", True, ""),
        ("ab1234/x.ipynb", True, ""),
    ],
)
def test_the_time_of_a_download_is_not_that_of_handing_in(
    folder, tmp_path_factory, name, known, says
):
    download = tmp_path_factory.mktemp("download")
    put(download, name, "anna")
    there = folder / "submitted" / "ab1234" / ONE
    there.mkdir(parents=True)
    (there / roster.UNKNOWN_TIME).write_text("of before")
    assert roster.collect(folder, ONE, download)[0] == ["ab1234"]
    rule = roster.Late(DEADLINE, 0, 2)
    assert (roster.handed_in_at(there) is not None) == known
    remarks = roster.time_remark(there, rule)
    assert len(remarks) == (not known) and says in "".join(remarks)
    assert bool(roster.time_remark(there, roster.Late())) == ("LATE" in says)
    (there / roster.TIMESTAMP).write_text("2026-12-02T08:15+01:00")
    assert rule.taken_off(roster.handed_in_at(there)) == 2 and not roster.time_remark(there, rule)


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadlines": {ONE: "2026-12-01T23:59"}},
        {"deadlines": {ONE: "tomorrow"}},
        {"late": {"points_a_day": 2}},
        {"late": {"grace_minutes": 0, "points_a_day": "two", "at_most": 4}},
    ],
)
def test_a_rule_that_says_nothing_is_refused(folder, wrong):
    (folder / CLASS_FILE).write_text(json.dumps({"year": 1, "images": "patches", **wrong}))
    with pytest.raises(ValueError, match="has no rule for what is late"):
        roster.late_rule(folder, ONE)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '{"year": 2026}', '{"year": 1e999, "images": "patches"}'),
        '{"year": 1, "images": "patches", "deadlines": []}',
        '{"year": 1, "images": "patches", "late": "no"}',
        '{"year": 1, "images": "patches", "deadlines": {"2_unknown": "2026-12-01T23:59Z"}}',
    ],
)
def test_a_broken_class_file_is_named_and_nobody_gets_0_for_it(folder, text):
    (folder / "source" / ONE).mkdir()
    (folder / "source" / ONE / f"{ONE}.ipynb").write_text("{}")
    (folder / "submitted" / "ab1234" / ONE).mkdir(parents=True)
    (folder / CLASS_FILE).write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(folder / CLASS_FILE))):
        course.grade(folder)
    assert not (folder / "grades").exists()


def test_a_class_file_may_begin_with_a_byte_order_mark(folder):
    settings = {"year": 1, "images": "patches", "deadlines": {ONE: DEADLINE.isoformat()}}
    (folder / CLASS_FILE).write_text(json.dumps(settings), "utf-8-sig")
    roster.check_class_file(folder, [ONE])
    assert roster.late_rule(folder, ONE).deadline == DEADLINE


# ---- tables


def test_tables_have_everybody_and_sums_over_the_assignments(folder):
    results = [
        graded("AB1234", ONE, 8.0, late=2.0),
        graded("0042", ONE, 5.0, explain=None),
        graded("ab1234", TWO, 10.0),
        graded("stranger", TWO, 1.5),
    ]
    roster.write_tables(folder, results)
    one, total = table(folder, ONE), table(folder, "total")
    assert set(one) == set(total) == {"ab1234", "x[1]", "0042", "'=cmd", "stranger"}
    assert (one["ab1234"]["late"], one["ab1234"]["points"], one["ab1234"]["of"]) == (
        "-2",
        "8",
        "14",
    )
    assert (one["0042"]["explain"], one["0042"]["to grade by hand"]) == ("", "explain")
    assert one["x[1]"]["remarks"] == "not handed in" and one["x[1]"]["points"] == "0"
    assert total["ab1234"]["points"] == "20" and total["ab1234"]["handed in"] == "2 of 2"
    assert total["ab1234"]["name"] == "Anna Bäcker" and total["x[1]"]["handed in"] == "0 of 2"
    assert total["0042"]["to grade by hand"] == "1"


def test_two_lms_get_the_columns_that_their_guides_name(folder):
    roster.write_tables(
        folder, [graded("ab1234", ONE, 8.0), graded("0042", ONE, 5.0, explain=None)]
    )
    moodle, canvas = table(folder, "moodle"), table(folder, "canvas")
    assert list(moodle["ab1234"]) == ["ID number", "Email address", ONE]
    assert moodle["ab1234"][ONE] == "10" and moodle["ab1234"]["Email address"] == "anna@example.org"
    assert moodle["0042"][ONE] == ""  # who waits for a human has no grade yet
    first = (folder / "grades" / "canvas.csv").read_text("utf-8").splitlines()
    assert first[0] == f"Student,ID,SIS User ID,SIS Login ID,Section,{ONE}"
    assert first[1] == "    Points Possible,,,,,14"
    known = [canvas["ab1234"][key] for key in ("ID", "SIS Login ID", "Section", ONE)]
    assert known == ["71", "abaecker", "A", "10"]


def test_no_cell_is_taken_for_a_formula(folder):
    bad = "=HYPERLINK(1)"
    one = graded("@SUM(1)", ONE, -1.5)._replace(remarks=[bad])
    roster.write_tables(folder, [one])
    for file in (folder / "grades").glob("*.csv"):
        for row in csv.reader(file.read_text("utf-8-sig").splitlines()):
            assert not [cell for cell in row if cell[:1] in "=@+" and cell]
    assert (folder / "grades" / f"{ONE}.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_the_guide_tells_of_rule_and_roster_as_they_are(folder):
    guide = (ROOT / "assignments" / "README.md").read_text("utf-8")
    for word in (
        "cp -p",
        "2026-12-02T08:15+01:00",
        *roster.Late._fields[1:2],
        "points_a_day",
        "at_most",
        "lms_id",
        "moodle.csv",
    ):
        assert word in guide
    shown = guide.partition("```json\n")[2].partition("```")[0]
    assert set(json.loads(shown)) == {"year", "images", "deadlines", "late"}
    (folder / CLASS_FILE).write_text(shown)
    assert roster.late_rule(folder, ONE) == roster.Late(DEADLINE, 10, 2, 10)
