"""The report: its tables say what the records say, and the pages what the tables say."""

import json
import re
import shutil

import numpy as np
import pytest
from scipy import stats

from augment_utils import training
from augment_utils.corruptions import CORRUPTIONS, SEVERITIES
from experiments import compare as compared
from experiments import figures, report, runs
from tests.common import call
from tests.notebooks.rules import look_alike
from tools import ROOT

NAMES = [f"{name} {severity}" for name in CORRUPTIONS for severity in SEVERITIES]
PICTURES = [f"{figure.name}.png" for figure in figures.FIGURES]
READMES, REPORTS = list(report.READMES), [*report.REPORTS, "results/published.csv"]


def record(study, condition, images, seed, **content):
    run = runs.Run("paper", study, condition, images, seed)
    return {
        "protocol": runs.PROTOCOL,
        "run": run._asdict(),
        "sizes": runs.sizes_of(run),
        "data": {"name": "made up", "fingerprint": "f" * 64},
        "versions": {"numpy": "0"},
        "machine": {"processor": "none", "threads": 1, "system": "none", "python": "0"},
        **content,
    }


def scored(study, condition, images, seed, accuracies):
    """A record with an accuracy for each way, the same for every score."""
    names = ["clean"] if study == "A" else ["clean", compared.SAME, *NAMES]
    return record(study, condition, images, seed, scores={name: accuracies for name in names})


def small_grid(differences, study="A", images=10_000):
    """Records of `none` and of CLAHE always, which is better by these differences, in points."""
    base = np.random.default_rng(0).uniform(0.5, 0.6, len(differences))
    records = []
    for seed, (own, difference) in enumerate(zip(base, differences, strict=True)):
        records.append(scored(study, "none", images, seed, {"raw": own}))
        both = {"raw": own - 0.1 - difference / 1000, "transformed": own + difference / 100}
        records.append(scored(study, "CLAHE", images, seed, both))
    return records


def test_a_difference_is_paired_and_has_its_t_interval():
    differences = [1.0, 2.5, 0.5, 3.0, 1.5]
    none, alone, both = compared.compare(small_grid(differences), "A", 10_000)
    assert (none.label, none.difference, none.verdict) == ("none", 0, "not distinguishable")
    assert both.label == "CLAHE, both sides" and both.seeds == 5
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (both.low, both.high) == pytest.approx((expected.low, expected.high))
    assert both.difference == pytest.approx(1.7) and both.verdict == "better" and both.after_holm
    assert alone.label == "CLAHE, training only" and alone.verdict == "worse"
    assert alone.difference == pytest.approx(-10.17)


def test_an_interval_around_zero_is_not_distinguishable():
    *_, both = compared.compare(small_grid([1.0, -1.5, 0.5, -0.2, 0.4]), "A", 10_000)
    assert both.verdict == "not distinguishable" and both.low < 0 < both.high
    assert not both.after_holm


def test_one_seed_gives_no_comparison():
    assert compared.compare(small_grid([5.0]), "A", 10_000) == []


def test_only_seeds_that_both_have_are_compared():
    records = small_grid([1.0, 2.0, 3.0, 4.0])
    del records[0]  # none with seed 0
    *_, both = compared.compare(records, "A", 10_000)
    assert both.seeds == 3 and both.difference == pytest.approx(3)


def test_several_scores_count_with_their_mean():
    records = small_grid([1.0, 2.0], study="B")
    for each in records:
        for way in each["scores"]["fog 2"]:
            each["scores"]["fog 2"][way] = 0
    clean = compared.compare(records, "B", 10_000)
    foggy = compared.compare(records, "B", 10_000, compared.corrupted("fog"))
    assert foggy[0].mean == pytest.approx(0.8 * clean[0].mean)


def surviving(p_values):
    """Which of so many conditions survive, whose two differences to "none" have these p values."""
    arms = [arm for arm in compared.arms("A") if arm.condition.endswith("p = 0.5")]
    records = [scored("A", "none", 10_000, seed, {"raw": 0.5}) for seed in (0, 1)]
    for arm, p in zip(arms, p_values, strict=False):
        t = np.tan(np.pi / 2 * (1 - p))  # of one degree of freedom, a Cauchy variable
        for seed, share in ((0, t + 1), (1, t - 1)):
            score = 0.5 + share / 10_000 if p < 1 else 0.5
            records.append(scored("A", arm.condition, 10_000, seed, {arm.way: score}))
    none, *rows = compared.compare(records, "A", 10_000)
    assert not none.after_holm and len(rows) == len(p_values)
    return [row.after_holm for row in rows]


def test_holms_procedure_stops_at_the_first_that_fails():
    # his rule by hand: 0.005 < 0.05/4, 0.015 < 0.05/3, 0.03 > 0.05/2, so no further
    assert surviving([0.015, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert surviving([1, 0.04, 1]) == [False, True, False]  # what is the same is no hypothesis


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([1.0, 1.1, 0.9], "CLAHE, both sides: better than none by 1.0 points (95 % interval +0.8"),
        ([-1.0, -1.1, -0.9], "CLAHE, both sides: worse than none by 1.0 points"),
        ([1.0, -1.0, 0.0], "CLAHE, both sides: not distinguishable from none (+0.0 points"),
    ],
)
def test_a_sentence_says_the_verdict_and_the_interval(differences, words):
    records = small_grid(differences)
    *_, both = compared.compare(records, "A", 10_000)
    (line,) = re.findall(r"^- (CLAHE, both sides: .*)$", page_of(records), re.MULTILINE)
    assert line.startswith(words) and line.count("over 3 seeds") == 1
    assert line.endswith("it does not survive Holm's correction)") == (
        both.verdict != "not distinguishable" and not both.after_holm
    )


def test_every_run_of_the_grid_has_its_row():
    for study in "AB":
        labels = [arm.label for arm in compared.arms(study)]
        assert len(labels) == len(set(labels)) == 3 + 3 * 6 + (study == "A")
        assert {arm.condition for arm in compared.arms(study)} == set(runs.conditions_of(study))


def foretold(sign):
    """Records in which the loss grows (or falls) with the distance, and nothing else matters."""
    rng = np.random.default_rng(1)
    records = []
    for condition in runs.conditions_of("C"):
        distances = dict(zip(NAMES, rng.uniform(0, 1, len(NAMES)).round(6), strict=True))
        records.append(record("C", condition, 2_000, 0, distances=distances))
        for seed in range(3):
            scores = {compared.SAME: 0.9, **{n: 0.9 - sign * d / 2 for n, d in distances.items()}}
            ways = ["raw"] if condition == "none" else ["raw", "transformed"]
            each = {name: dict.fromkeys(ways, score) for name, score in scores.items()}
            records.append(record("B", condition, 1_000, seed, scores=each))
    return records


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_prediction_is_one(sign):
    found = compared.prediction(foretold(sign), 1_000)
    assert found["overall"] == pytest.approx((sign, 0)) == found["within"]
    assert found["distance"].shape == (7, 20) and found["loss"].shape == (7, 20, 3)
    assert compared.prediction(foretold(sign), 10_000) is None


DESCRIBED = [figure for figure in figures.FIGURES if figure.alt]  # the answer's are in a template


@pytest.mark.parametrize("figure", DESCRIBED, ids=lambda figure: figure.name)
def test_the_words_for_a_figure_are_few(figure):
    assert 30 < len(figure.alt(compared.published_records()).split()) < 120
    assert figure.alt([]).endswith("No results yet.")


def test_the_words_for_a_figure_count_its_rows():
    words = figures.STUDY_A.alt(small_grid([1.0, 2.5, 0.5, 3.0, 1.5]))
    assert words.endswith(
        "With 10,000 training images, 1 better, 1 worse, 0 not distinguishable, from -10.2 "
        "(CLAHE, training only) to +1.7 (CLAHE, both sides)."
    )


# ---- pages


@pytest.fixture
def repository(tmp_path):
    """As much of the repository as `report` reads."""
    return copy_of_repository(tmp_path)


def copy_of_repository(folder):
    (folder / "images").mkdir()
    for name in READMES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "results" / "runs", folder / "results" / "runs")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The repository as the command leaves it, and what that printed."""
    folder = copy_of_repository(tmp_path_factory.mktemp("made"))
    done = call("experiments", "report", "--folder", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.strip()


def page_of(records, template="report.en.md"):
    return report.page(template, report.values_of(records, ""), "../images")


def test_pages_and_figures_are_those_of_the_records(made):
    repository, said = made
    assert said == compared.missing(compared.published_records(), runs.RUNS)
    for name in (*READMES, *REPORTS):
        assert (repository / name).read_text("utf-8") == (ROOT / name).read_text("utf-8"), name
    assert sorted(path.name for path in (repository / "images").iterdir()) == sorted(PICTURES)
    for name in PICTURES:
        made, committed = ((folder / "images" / name).read_bytes() for folder in (repository, ROOT))
        assert look_alike(made, committed), name


def test_twice_gives_the_same_bytes(made, repository):
    report.report(repository)
    for name in (*READMES, *REPORTS, *(f"images/{name}" for name in PICTURES)):
        assert (repository / name).read_bytes() == (made[0] / name).read_bytes(), name


def change_accuracy(repository, pattern, difference):
    for path in (repository / "results" / "runs").glob(pattern):
        changed = json.loads(path.read_text("utf-8"))
        changed["scores"]["clean"]["raw"] += difference
        path.write_text(json.dumps(changed), "utf-8")


def test_changed_records_change_the_pages(repository):
    change_accuracy(repository, "B_none_10000_*", 0.001)
    report.report(repository)
    for name in (*READMES, *REPORTS):
        assert (repository / name).read_text("utf-8") != (ROOT / name).read_text("utf-8")


def test_records_that_contradict_the_answer_are_not_written_down(repository):
    change_accuracy(repository, "B_none_10000_*", -0.1)
    with pytest.raises(ValueError, match=r"the records do not say what .*answer.*write these anew"):
        report.report(repository)
    assert (repository / "README.md").read_text("utf-8") == (ROOT / "README.md").read_text("utf-8")


def test_what_is_missing_or_failed_is_said(made, repository):
    folder = repository / "results" / "runs"
    _, before = made
    next(folder.glob("A_none_2000_seed0_*.json")).unlink()
    (folder / "A_none_2000_seed0_00000000.failed.json").write_text("{}")
    said = report.report(repository)
    assert said != before and "of study A with 2,000 images" in said
    assert "Failed at their last try: 1." in said
    assert said.split(".")[0] in (repository / REPORTS[0]).read_text("utf-8").replace("\n", " ")


def test_one_study_alone_gives_pages_and_figures():
    records = small_grid([1.0, 2.5, 0.5])
    full, in_chinese = page_of(records), page_of(records, "report.zh.md")
    assert "**Study A" in full and "**Study B" not in full
    assert full.count("There are no results yet.") == 1 + len(CORRUPTIONS)
    assert full.count("is not known before") == 3  # the answer, and twice the prediction
    assert "**研究 A" in in_chinese and "**研究 B" not in in_chinese
    assert in_chinese.count("还不知道") == 2
    for figure in figures.FIGURES:
        figure.draw(records)
    for figure in DESCRIBED:
        assert ("No results yet." in figure.alt(records)) == (figure is not figures.STUDY_A)


def test_the_report_begins_with_the_answer_and_its_tables_with_the_verdict():
    page = (ROOT / REPORTS[0]).read_text("utf-8")
    places = [page.index(each) for each in ("**On clean images", "**Study A, ", "| Study A, ")]
    assert places == sorted(places) and places[0] < 100
    headers = re.findall(r"^\| (Study .*?) \| (.*) \|$", page, re.MULTILINE)
    assert [title for title, _ in headers] == [
        *("Study A, 10,000 images", "Study A, 2,000 images"),
        *("Study B, 10,000 images", "Study B, 1,000 images") * (1 + len(CORRUPTIONS)),
    ]
    assert {columns for _, columns in headers} == {
        "verdict | difference, points | accuracy, % | seeds"
    }


def test_records_of_two_data_sets_are_not_mixed(repository):
    folder = repository / "results" / "runs"
    other = record("A", "none", 2_000, 99, scores={"clean": {"raw": 0.5}})
    (folder / "A_none_2000_seed99_00000000.json").write_text(json.dumps(other), "utf-8")
    with pytest.raises(
        ValueError, match=r"got records of 2 data sets .*ffffffffffff.*expected one"
    ):
        report.report(repository)


@pytest.mark.parametrize("stale", [{"protocol": 0}, {"sizes": {"epochs": 1}}])
def test_records_of_other_protocols_or_sizes_do_not_count(tmp_path, stale):
    own = record("A", "none", 2_000, 0, scores={"clean": {"raw": 0.5}})
    (tmp_path / "A_none_2000_seed0_00000000.json").write_text(json.dumps(own), "utf-8")
    (tmp_path / "A_none_2000_seed0_11111111.json").write_text(json.dumps(own | stale), "utf-8")
    assert runs.read_records(tmp_path) == [own]


def test_the_page_counts_the_seeds_of_the_records():
    records = small_grid([1.0, 2.0, 3.0]) + small_grid([1.0, 2.0], images=2_000)
    said = compared.provenance(records)
    assert "Seeds: 2 in study A with 2,000 images, 3 in study A with 10,000 images." in said


def test_the_chinese_sentences_say_what_the_english_ones_say():
    records = compared.published_records()
    for templates in (report.READMES, report.REPORTS):
        english, translated = (page_of(records, name).split("\n## ") for name in templates.values())
        assert len(translated) in (1, 3)  # the answer; what was asked, headlines
        for own, other in zip(english[::2], translated[::2], strict=False):
            own, other = (" ".join(text.split()) for text in (own, other))
            numbers = [re.findall(r"[+-]?\d[\d.,]*\b", text) for text in (own, other)]
            assert numbers[0] == numbers[1] != []
            assert own.count("better than none by") == other.count("比不用时高")
            assert own.count("worse than none by") == other.count("比不用时低")
            assert own.count("; it does not survive") == other.count("；经 Holm 校正后不再成立")


def test_every_name_has_a_chinese_one():
    values = report.values_of(small_grid([1.0, 2.0]), "") | {"images": ""}
    answer, full = (
        report.TEMPLATES.get_template(name).make_module(values)
        for name in ("answer.zh.md", "report.zh.md")
    )
    assert list(answer.TRANSFORMS) == list(training.TRANSFORMS)
    assert list(full.WAYS) == list(compared.WAYS)
    assert tuple(full.VERDICTS) == compared.VERDICTS
    assert tuple(full.UNDER) == tuple(CORRUPTIONS)


@pytest.mark.parametrize("name", READMES)
def test_without_records_or_marks_it_says_so(repository, name):
    (repository / name).write_text("nothing", "utf-8")
    with pytest.raises(ValueError, match="the README needs one line <!-- made by `make results`"):
        report.report(repository)
    shutil.rmtree(repository / "results" / "runs")
    (repository / "results" / "runs").mkdir()
    with pytest.raises(FileNotFoundError, match="experiments run"):
        report.report(repository)


def test_the_records_are_small_and_all_of_one_kind():
    records = compared.published_records()
    paths = list((ROOT / "results" / "runs").iterdir())
    assert len(records) == len(paths)  # no failure, nothing of another protocol
    assert sum(path.stat().st_size for path in paths) < 4_000_000
    assert len({json.dumps(r["machine"], sort_keys=True) for r in records}) == 1
    assert len({json.dumps(r["versions"], sort_keys=True) for r in records}) == 1
