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
from experiments import fair, figures, report, runs
from tests.common import call
from tests.notebooks.rules import look_alike
from tools import ROOT
from tools.pages import marks

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
    assert (none.label, none.difference, none.verdict) == ("none", 0, "equal") and not none.star
    assert both.label == "CLAHE, both sides" and both.seeds == 5
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (both.low, both.high) == pytest.approx((expected.low, expected.high))
    assert both.difference == pytest.approx(1.7) and both.verdict == "better" and both.after_holm
    assert alone.label == "CLAHE, training only" and alone.verdict == "worse"
    assert alone.difference == pytest.approx(-10.17)


def test_an_interval_around_zero_is_not_distinguishable():
    *_, both = compared.compare(small_grid([2.0, -3.0, 1.0, -0.4, 0.8]), "A", 10_000)
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


@pytest.mark.parametrize("spread", [0.9, 1.0])
def test_equal_is_what_two_one_sided_tests_say(spread):
    differences = spread * np.array([1.0, -0.6, 1.2, -0.2, 0.4])
    *_, both = compared.compare(small_grid(differences), "A", 10_000)
    tests = [
        stats.ttest_1samp(differences, edge, alternative=side).pvalue
        for edge, side in ((-1, "greater"), (1, "less"))
    ]
    assert 0.04 < max(tests) < 0.07
    assert both.verdict == ("equal" if max(tests) < 0.05 else "not distinguishable")
    assert both.after_holm == (max(tests) < 0.05)  # the only sound use of its table
    narrow = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    words = f"; 90 % {narrow.low:+.1f} to {narrow.high:+.1f})"
    assert compared.sentence(both).endswith(words) == (both.verdict == "equal")


def test_the_smallest_effects_get_their_star():
    """By hand: what is measured is at the edge of Holm's first step, what is true gets 80 %."""
    rng = np.random.default_rng(0)
    seeds, uses, error = 5, 12, 0.3
    row = compared.compare(small_grid([1.0, 2.0]), "A", 10_000)[-1]
    rows = [row._replace(seeds=seeds, error=error * (1 + i - 6)) for i in range(1, uses)]
    rows.append(rows[0]._replace(error=99))
    measured, true = compared.smallest_effects([r._replace(error=abs(r.error)) for r in rows])
    scatter = sorted(abs(r.error) for r in rows)[uses // 2]
    edge = measured / scatter
    assert 2 * stats.t.sf(edge, seeds - 1) == pytest.approx(0.05 / uses)
    draws = rng.normal(true, scatter * np.sqrt(seeds), (100_000, seeds))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(seeds))
    assert np.mean(t > edge) == pytest.approx(0.8, abs=0.005)


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
    return [row.after_holm and row.verdict != "equal" for row in rows]


def test_holms_procedure_stops_at_the_first_that_fails():
    # his rule by hand: 0.005 < 0.05/4, 0.015 < 0.05/3, 0.03 > 0.05/2, so no further
    assert surviving([0.015, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert surviving([1, 0.04, 1]) == [False, True, False]  # what is the same is no hypothesis


def test_holms_procedure_keeps_the_known_mistake_and_other_augmentations_apart():
    """Two sound uses at p = 0.02 stand alone, and would not among four tests that fail."""
    records = [scored("A", "none", 10_000, seed, {"raw": 0.5}) for seed in (0, 1)]
    t = np.tan(np.pi / 2 * (1 - 0.02))
    near, far = ({s: 0.5 + k * (t + d) / 10_000 for s, d in ((0, 1), (1, -1))} for k in (1, -1))
    for seed in (0, 1):
        records.append(scored("A", "CLAHE", 10_000, seed, {"raw": 0.6 + 0.2 * seed,
                                                           "transformed": near[seed]}))  # fmt: skip
        records.append(scored("A", "CLAHE, p = 0.5", 10_000, seed, {"raw": far[seed]}))
        for name in ("flips", "geometric", training.TODAYS_ADADELTA):
            records.append(scored("A", name, 10_000, seed, {"raw": 0.4 + 0.2 * seed}))
    found = {row.label: row.after_holm for row in compared.compare(records, "A", 10_000)}
    assert [name for name, stands in found.items() if stands] == [
        "CLAHE, both sides",
        "CLAHE, random, p = 0.5",
    ]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([1.0, 1.1, 0.9], "CLAHE, both sides: better than none by 1.0 points (95 % interval +0.8"),
        ([-1.0, -1.1, -0.9], "CLAHE, both sides: worse than none by 1.0 points"),
        ([1.0, -1.0, 0.0], "CLAHE, both sides: not distinguishable from none (+0.0 points"),
        ([0.1, -0.1, 0.0], "CLAHE, both sides: equal to none within 1 point (+0.0 points"),
    ],
)
def test_a_sentence_says_the_verdict_and_the_interval(differences, words):
    records = small_grid(differences)
    *_, both = compared.compare(records, "A", 10_000)
    line = compared.sentence(both)
    assert line.startswith(words) and line.count("over 3 seeds") == 1
    assert line.endswith("it does not survive Holm's correction)") == (
        both.verdict in ("better", "worse") and not both.after_holm
    )
    assert f"| {both.label} | {both.verdict}{both.star} | {both.difference:+.1f}" in page_of(
        records
    )


def test_every_run_of_the_grid_has_its_row():
    for study in "AB":
        labels = [arm.label for arm in compared.arms(study)]
        assert len(labels) == len(set(labels)) == 3 + 3 * 6 + (study == "A")
        assert {arm.condition for arm in compared.arms(study)} == set(runs.conditions_of(study))


def foretold(sign):
    """Records in which the error grows (or falls) with the distance, and nothing else matters."""
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
    for of in (found["error"], found["loss"]):  # the same, as all begin at 0.9
        assert of["overall"] == pytest.approx((sign, 0)) == of["within"]
        assert of["by_corruption"] == dict.fromkeys(CORRUPTIONS, pytest.approx((sign, 0)))
        assert abs(of["severity"][0]) < 0.3  # the distances are drawn without it
    assert found["distance"].shape == (7, 20) and found["accuracy"].shape == (7, 20, 3)
    assert compared.prediction(foretold(sign), 10_000) is None


DESCRIBED = [figure for figure in figures.FIGURES if figure.alt]  # the answer's are in a template


@pytest.mark.parametrize("figure", DESCRIBED, ids=lambda figure: figure.name)
def test_the_words_for_a_figure_are_few(figure):
    assert 30 < len(figure.alt(compared.published_records()).split()) < 120
    assert figure.alt([]).endswith("No results yet.")


def test_what_a_transform_costs_on_clean_images_counts_as_error_and_not_as_loss():
    records = foretold(1)
    for each in records:
        if "scores" in each and each["run"]["condition"] == "CLAHE":
            for ways in each["scores"].values():
                ways["transformed"] -= 0.3
    found = compared.prediction(records, 1_000)
    assert found["loss"]["overall"] == pytest.approx((1, 0)) == found["loss"]["within"]
    assert found["error"]["overall"][0] < 0.99 > found["error"]["within"][0]


def test_the_severity_alone_is_the_rival():
    records = foretold(1)
    for each in records:
        own = runs.conditions_of("C").index(each["run"]["condition"]) / 1_000
        for name in NAMES if "scores" in each else ():
            each["scores"][name] = {w: own - int(name[-1]) / 9 for w in each["scores"][name]}
    found = compared.prediction(records, 1_000)["error"]
    assert found["severity"][0] > 0.95 and found["overall"][0] < 0.3


def test_the_words_for_a_figure_count_its_rows():
    words = figures.STUDY_A.alt(small_grid([1.0, 2.5, 0.5, 3.0, 1.5]))
    assert words.endswith(
        "With 10,000 training images, 1 better, 0 worse, 0 equal, from +1.7 (CLAHE, both sides) "
        "to +1.7 (CLAHE, both sides)."
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
    assert "\n| A, 10,000" in full and "\n| B" not in full
    assert full.count("There are no results yet.") == 1 + len(CORRUPTIONS)
    assert full.count("not known before") == 2  # the answer, and the prediction
    assert "\n| A，10,000" in in_chinese and "\n| B" not in in_chinese
    assert in_chinese.count("还不知道") == 2
    for figure in figures.FIGURES:
        figure.draw(records)
    for figure in DESCRIBED:
        assert ("No results yet." in figure.alt(records)) == (figure is not figures.STUDY_A)


def test_the_report_begins_with_the_answer_and_its_tables_with_the_verdict():
    page = (ROOT / REPORTS[0]).read_text("utf-8")
    places = [page.index(each) for each in ("**On clean images", "| A, 10,000", "| Study A, ")]
    assert places == sorted(places) and places[0] < 100
    headers = re.findall(r"^\| (Study [AB], .*?) \| (.*) \|$", page, re.MULTILINE)
    assert [title for title, _ in headers] == [
        *("Study A, 10,000 images", "Study A, 2,000 images"),
        *("Study B, 10,000 images", "Study B, 1,000 images") * (1 + len(CORRUPTIONS)),
    ]
    assert {columns for _, columns in headers} == {
        "verdict | difference, points | accuracy, % | seeds"
    }
    assert page.count("\nSmallest effect with a star: ") == len(headers)


@pytest.mark.parametrize(
    ("readme", "page"),
    [("README.md", "results/fair.md"), ("README.zh-CN.md", "results/fair.zh-CN.md")],
)
def test_readme_report_and_book_give_the_same_answer(readme, page):
    begin, end = marks(report.COMMAND)
    answer = (ROOT / readme).read_text("utf-8").split(begin)[1].split(end)[0].strip()
    said = (ROOT / page).read_text("utf-8").split("\n## ")[0]
    assert answer.replace('src="images/', 'src="../images/') in said
    book = (ROOT / "book" / "index.md").read_text("utf-8")
    first = (ROOT / "results" / "fair.md").read_text("utf-8")
    after, before = re.findall(r'^:(?:start-after|end-before): "(.*)"$', book, re.MULTILINE)
    included = first.split(after)[1].split(before)[0]
    answer = (ROOT / "README.md").read_text("utf-8").split(begin)[1].split(end)[0].strip()
    assert included.strip().startswith(answer.split("<img")[0].strip()) and "\n## " not in included


def test_the_known_mistake_has_a_table_of_its_own_and_counts_nowhere_else():
    page = (ROOT / REPORTS[0]).read_text("utf-8")
    before, after = page.split("## The known mistake")
    assert "training only" not in before.split("## In short")[1]
    lines = [line for line in after.split("## Study C")[0].splitlines() if "images |" in line]
    made = compared.tables(compared.published_records())
    for table, line in zip(made, lines, strict=True):
        rows = {row.label: row for row in table.rows}
        for name, cell in zip(training.TRANSFORMS, line.split(" | ")[1:], strict=True):
            row = rows[f"{name}, training only"]
            assert cell.startswith(f"{row.difference:+.1f} ± {(row.high - row.low) / 2:.1f}")
            assert ("*" in cell) == (row.after_holm and row.verdict in ("better", "worse"))


def test_headlines_count_stars_over_the_sound_uses():
    for table in compared.tables(compared.published_records()):
        (each,) = compared.headlines([table])
        rows = [row for row in table.rows if row.label.endswith(("both sides", "p = 0.5"))]
        assert len(rows) == each.uses == 12
        for verdict in ("better", "worse"):
            stars = [row.verdict == verdict and row.star == "*" for row in rows]
            assert each.starred[verdict] == sum(stars)
        assert each.equal == [row.verdict for row in rows].count("equal")
        assert each.highest.difference == max(row.difference for row in rows)
        assert each.lowest.difference == min(row.difference for row in rows)
        assert each.open >= 0


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


def test_runs_done_again_elsewhere_say_how_far_they_differ(tmp_path):
    records = small_grid([1.0, 2.0])
    assert compared.repeated(records, tmp_path) == ""
    for each, loss, points in zip(records, (0, 2, 4), (1.5, 0, 0), strict=False):
        each["history"] = {"loss": [1.5]}
        ways = {way: value + points / 100 for way, value in each["scores"]["clean"].items()}
        again = each | {
            "history": {"loss": [1.5 + loss * 1e-6]},
            "scores": {"clean": ways},
            "machine": {"processor": "another"},
        }
        path = tmp_path / f"{each['run']['condition']}_seed{each['run']['seed']}.json"
        path.write_text(json.dumps(again), "utf-8")
    assert compared.repeated(records, tmp_path) == (
        "A record repeats on its own kind of processor. On another (another), 3 runs (study A "
        "with 10,000 images) were done again: the loss of the first epoch differed by at most "
        "0.000004, the accuracy by 0.4 points on average and at most 1.5."
    )


def test_the_chinese_sentences_say_what_the_english_ones_say():
    records = compared.published_records()
    for each in ("headline", "report"):
        english, translated = (
            page_of(records, f"{each}.{language}.md").split("\n## ") for language in ("en", "zh")
        )
        assert len(translated) in (1, 3)  # the answer; what was asked, headlines
        for own, other in zip(english[::2], translated[::2], strict=False):
            own, other = (" ".join(text.split()) for text in (own, other))
            numbers = [re.findall(r"[+-]?\d[\d.,]*\b", text) for text in (own, other)]
            assert numbers[0] == numbers[1] != []
            assert own.count("*") == other.count("*")


def test_every_name_has_a_chinese_one():
    values = report.values_of(small_grid([1.0, 2.0]), "") | {"images": ""}
    answer, full = (
        report.TEMPLATES.get_template(name).make_module(values)
        for name in ("answer.zh.md", "report.zh.md")
    )
    assert list(answer.TRANSFORMS) == list(training.TRANSFORMS)
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
    paths = list((ROOT / "results" / "runs").iterdir())
    families = (compared.OLD, *fair.STUDIES)
    records = [compared.published_records(studies=studies) for studies in families]
    assert sum(map(len, records)) == len(paths)  # no failure, nothing of another protocol
    assert sum(path.stat().st_size for path in paths) < 8_000_000
    for own in records:
        for key in ("machine", "versions"):
            assert len({json.dumps(each[key], sort_keys=True) for each in own}) <= 1
