"""What records of studies D to G say: by made-up records whose truth is known."""

import re

import numpy as np
import pytest

from augment_utils import training
from experiments import compare, fair, report, verdicts
from experiments.published import published_table
from experiments.verdicts import Question

IMAGES = 400


def records(arms, seeds=6, scatter=0.0, study="D"):
    """Of networks right with a probability: {arm: share}, or {arm: {corruption: share}}."""
    made = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        hard = rng.random(IMAGES)  # the same images are hard for every arm
        for arm, shares in arms.items():
            answers = {"right": {}}
            for name in [fair.CLEAN, *fair.CORRUPTED]:
                of = (
                    shares if isinstance(shares, float) else shares[name.rpartition(" ")[0] or name]
                )
                right = hard < of + scatter * rng.standard_normal()
                if name == fair.CLEAN:
                    answers["answers"] = fair._text(np.where(right, 0, 1).astype(np.int8))
                else:
                    answers["right"][name] = fair._text(np.packbits(right))
            run = {"condition": arm, "seed": seed, "study": study}
            made.append({"run": run, "plan": fair.plan_digest(study), **answers})
    return made


def test_the_questions_are_those_of_the_plan():
    assert verdicts.questions("D")[0] == ("standardization", "none", "clean")
    counts = {study: len(verdicts.questions(study)) for study in fair.STUDIES}
    assert counts == {"D": 14, "E": 10, "F": 3, "G": 10}
    for study in fair.STUDIES:
        for question in verdicts.questions(study):
            assert {question.arm, question.rival} <= {*verdicts._arms(study)}
            assert question.under in (verdicts.UNDER if study != "F" else {verdicts.MOVED})


def test_says_better_worse_equal_and_open():
    made = records({"none": 0.8, "up": 0.9, "down": 0.7, "same": 0.8})
    unsteady = records({"unsteady": 0.8}, scatter=0.1)
    asked = [Question(arm, "none", "clean") for arm in ("up", "down", "same", "unsteady")]
    found = verdicts.verdicts(made + unsteady, asked)
    assert [v.word + v.star for v in found] == ["better*", "worse*", "equal*", "open"]
    assert found[0].low < 10 < found[0].high and found[1].low < -10 < found[1].high
    assert (found[2].difference, found[2].low, found[2].high) == (0, 0, 0)
    assert found[3].high - found[3].low > 4


def test_averages_over_severities_and_over_the_local_corruptions():
    flat = dict.fromkeys([fair.CLEAN, *fair.ALL_CORRUPTIONS], 0.5)
    lower = flat | {"shading": 0.3, "contrast": 0.9}
    made = records({"none": flat, "other": lower})
    found = verdicts.verdicts(
        made, [Question("other", "none", under) for under in ("clean", "contrast", "local light")]
    )
    assert [round(v.difference) for v in found] == [
        0,
        pytest.approx(40, abs=3),
        pytest.approx(-5, abs=1),
    ]


def test_study_f_asks_whether_a_difference_moves():
    shares = {"none, exact": 0.7, "AHE, exact": 0.6, "none, re-encoded": 0.65}
    made = records({**shares, "AHE, re-encoded": 0.45})
    found = verdicts.verdicts(
        made, [Question("AHE", "none", u) for u in (fair.EXACT, fair.REENCODED, verdicts.MOVED)]
    )
    assert [round(v.difference) for v in found] == [
        pytest.approx(true, abs=4) for true in (-10, -20, 10)
    ]
    assert [v.word for v in found] == ["worse", "worse", "better"]


def test_without_two_common_seeds_there_is_no_answer():
    made = records({"none": 0.8}, seeds=3) + records({"up": 0.9}, seeds=1)
    assert verdicts.verdicts(made, [Question("up", "none", "clean")]) == []


def test_an_interval_covers_seeds_and_images():
    """In 95 % of experiments in which nothing differs, without being much wider for that."""
    rng, inside, widths = np.random.default_rng(0), 0, []
    for _ in range(300):
        seeds, images = rng.normal(0, 1, (6, 1)), rng.normal(0, 20, (1, 200))
        difference = seeds + images + rng.normal(0, 20, (6, 200))
        error = verdicts.standard_error(difference)
        inside += abs(difference.mean()) < 2.571 * error
        widths.append(error)
    truth = np.sqrt(1 / 6 + 400 / 200 + 400 / 1200)
    assert inside / 300 > 0.95 and np.mean(widths) < 1.35 * truth


# ---- once a study is complete


def whole_study(study, shares):
    """Made up, with what a record has beside its answers."""
    (real, *_) = compare.published_records()
    model = {"name": "fast_cnn", "parameters": 280_288, "precision": "float32"}
    seeds = fair.TIERS["paper"][study]["seeds"]
    made = records(shares, seeds=seeds, study=study)
    return [
        {**real, **record, "model": model, "run": {**real["run"], **record["run"]}}
        for record in made
    ]


@pytest.fixture(scope="module")
def complete():
    return whole_study("F", {arm: 0.6 + i / 100 for i, arm in enumerate(fair.STUDIES["F"].arms)})


def test_a_study_is_complete_with_its_last_run(complete):
    assert verdicts.is_complete(complete, "F") and not verdicts.is_complete(complete[1:], "F")
    assert not verdicts.is_complete(complete, "D")
    lacking = verdicts.whole_seeds(complete[1:], "F")
    assert len(lacking) == 7 * 8 and {r["run"]["seed"] for r in lacking} == {*range(1, 8)}


def test_its_lines_are_in_the_table_once_it_is_complete(complete, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    old = compare.published_records()
    for later in (complete[1:], complete):
        (tmp_path / "published.csv").write_text(published_table(old, later), "utf-8")
        provenance, published = training.published_runs()
        found = {key[2]: uses for key, uses in published.items() if key[0] == "F"}
        if later is not complete:
            assert not found and "Study F" not in provenance
    assert "Study F: Network: fast_cnn, 280,288 parameters, float32." in provenance
    assert {*found} == {fair.EXACT, fair.REENCODED, verdicts.MOVED}
    asked = verdicts.verdicts(complete, verdicts.questions("F"))
    for verdict in asked:
        use = found[verdicts.MOVED][verdict.question.arm]
        assert use.verdict == verdict.word + verdict.star
        gain = use.numbers - found[verdicts.MOVED]["none"].numbers
        assert 100 * gain.mean() == pytest.approx(verdict.difference) and len(gain) == 8
    assert not any("*" in use.verdict for use in found[fair.EXACT].values())  # exploratory


TRUE = {  # accuracy of an arm: clean, under contrast, in local light; elsewhere 0.6
    "nothing": (0.8, 0.5, 0.6), "none": (0.9, 0.5, 0.6), "standardization": (0.9, 0.8, 0.5),
    "jitter": (0.9, 0.6, 0.7), "stretching": (0.9, 0.7, 0.6), "HE channel": (0.8, 0.7, 0.6),
    "HE value": (0.8, 0.7, 0.6), "AHE": (0.7, 0.6, 0.8), "CLAHE": (0.9, 0.7, 0.7),
    "CLAHE, random": (0.9, 0.6, 0.7),
}  # fmt: skip


def of_truth(**changed):
    def shares(clean, contrast, local):
        names = dict.fromkeys(fair.ALL_CORRUPTIONS, 0.6)
        return (
            names
            | {fair.CLEAN: clean, "contrast": contrast}
            | dict.fromkeys(fair.LOCAL_CORRUPTIONS, local)
        )

    return whole_study("D", {arm: shares(*TRUE[arm]) for arm in TRUE} | changed)


def test_the_headline_waits_for_the_last_run_and_says_what_the_verdicts_say():
    made = of_truth()
    assert verdicts.headline(made[1:]) is None
    found = verdicts.headline(made)
    assert found.none == pytest.approx(90, abs=3)
    arms = {word: [v.question.arm for v in rows] for word, rows in found.clean.items()}
    assert arms == {
        "equal*": ["stretching", "CLAHE", "CLAHE, random"],
        "worse*": ["HE channel", "HE value", "AHE"],
    }
    assert [v.question.arm for v in found.ends["contrast"]] == ["jitter", "standardization"]
    values = {"headline": found, "answer": None}
    english, chinese = (
        re.findall(r"[+-]?\d[\d.,]*\b", report.page(f"headline.{language}.md", values, "images"))
        for language in ("en", "zh")
    )
    assert english == chinese and f"{found.none:.1f}" in english
    assert {f"{end:+.1f}" for end in (*found.clahe[2:4], *found.local[0][2:4])} <= {*english}


@pytest.mark.parametrize(("arm", "share"), [("CLAHE", 0.99), ("nothing", 0.95), ("AHE", 0.6)])
def test_a_headline_that_the_records_contradict_is_refused(arm, share):
    """A use that helps, a bed that is broken, and AHE that does not help in local light."""
    with pytest.raises(ValueError, match="write these anew"):
        verdicts.headline(
            of_truth(**{arm: dict.fromkeys([fair.CLEAN, *fair.ALL_CORRUPTIONS], share)})
        )


def test_no_verdict_is_told_before_the_last_run():
    early, late = (verdicts.pages(made)[0] for made in (of_truth()[:-1], of_truth()))
    assert (early["done"], early["seeds"], late["seeds"]) == (59, 5, 6)
    assert not early["questions"] and not early["tables"] and not early["control"]
    assert late["questions"].count("*") > 5 and "*" not in late["control"]


def test_records_of_another_plan_do_not_count():
    made = [{**record, "plan": "0" * 64} for record in of_truth()]
    assert verdicts.whole_seeds(made, "D") == [] and verdicts.headline(made) is None
