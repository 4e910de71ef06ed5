"""What records of studies D, E and G say: by made-up records whose truth is known."""

import numpy as np
import pytest

from experiments import fair, verdicts
from experiments.verdicts import Question

IMAGES = 400


def records(arms, seeds=6, scatter=0.0):
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
            made.append({"run": {"condition": arm, "seed": seed, "study": "D"}, **answers})
    return made


def test_the_questions_are_those_of_the_plan():
    asked = verdicts.questions("D")
    assert asked[0] == ("standardization", "none", "clean") and len(asked) == 14
    for question in asked:
        assert {question.arm, question.rival} <= {*fair.ARMS} and question.under in verdicts.UNDER


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
