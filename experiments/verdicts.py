"""What the records of study D say, by the rules and the questions of plan.md."""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from augment_utils.corruptions import LOCAL_CORRUPTIONS
from experiments import fair, runs
from experiments.compare import LEVEL, circumstances, corrupted, holm, p_values_of, quantile
from tools.pages import markdown_table

DRAWS = 2_000  # of the bootstrap
UNDER = {  # name of a kind of test images: the corruptions over which accuracy is averaged
    "clean": (),
    **{name: (name,) for name in fair.ALL_CORRUPTIONS},
    "local light": tuple(LOCAL_CORRUPTIONS),
}


class Question(NamedTuple):
    """Is an arm more often right than its rival, on one kind of test images?"""

    arm: str
    rival: str
    under: str  # a key of UNDER


class Verdict(NamedTuple):
    """Its answer, in percent points, with the interval over seeds and test images."""

    question: Question
    difference: float
    low: float
    high: float
    word: str  # "better", "worse", "equal" or "open"
    star: str  # "*" where the word survives Holm's correction
    seeds: int
    images: int


def questions(study: str) -> list[Question]:
    """The primary questions of a study, from the table in plan.md."""
    rows = re.findall(
        r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", fair.plan_text(study)[1], re.MULTILINE
    )
    return [Question(*row[1:]) for row in rows]


def verdicts(records: list[dict], asked: Sequence[Question]) -> list[Verdict]:
    """The answers to questions asked together, as far as the records have two seeds.

    Holm's correction is over all that are given: over the differences for "better" and "worse",
    over the two one-sided tests for "equal".

    References
    ----------
    A. B. Owen: The pigeonhole bootstrap. Annals of Applied Statistics 1:386-411, 2007.
    S. Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of
    Statistics 6:65-70, 1979.
    D. J. Schuirmann: A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and
    Biopharmaceutics 15:657-680, 1987.
    """
    found, differences, equalities = [], {}, {}
    for question in asked:
        own, rival = (
            correct(records, arm, question.under) for arm in (question.arm, question.rival)
        )
        seeds = sorted({*own} & {*rival})
        if len(seeds) < 2:
            continue
        difference = 100 * np.stack([own[seed] - rival[seed] for seed in seeds])
        mean, error = difference.mean(), standard_error(difference)
        reach = quantile(len(seeds), LEVEL) * error
        differs, equal = p_values_of(mean, error, len(seeds))
        differences[question], equalities[question] = differs, equal
        word = "equal" if equal < LEVEL else "open"
        if differs < LEVEL:
            word = "better" if mean > 0 else "worse"
        found.append(
            Verdict(question, mean, mean - reach, mean + reach, word, "", *difference.shape)
        )
    stands = {False: holm(differences), True: holm(equalities)}
    return [
        verdict._replace(star="*" * (verdict.question in stands[verdict.word == "equal"]))
        for verdict in found
    ]


def correct(records: list[dict], arm: str, under: str) -> dict[int, np.ndarray]:
    """{seed: for each test image the share of its versions that an arm's network gets right}."""
    names = [each for name in UNDER[under] for each in corrupted(name)]
    return {
        record["run"]["seed"]: np.mean(
            [fair.is_right(record, name) for name in names or [fair.CLEAN]], axis=0
        )
        for record in records
        if record["run"]["condition"] == arm
    }


def standard_error(difference: np.ndarray) -> float:
    """Of the mean of (seeds, images), both drawn anew: the bootstrap's, corrected for few seeds."""
    seeds, images = difference.shape
    of_images = _redrawn(seeds) @ difference.astype(np.float32)
    means = np.einsum("di,di->d", of_images, _redrawn(images)) / difference.size
    return float(np.std(means) * np.sqrt(seeds / (seeds - 1)))


@functools.cache
def _redrawn(count):
    """How often each of so many is drawn, in each of the bootstrap's draws."""
    rng = np.random.default_rng(count)
    return rng.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float32)


# ---- the page


GROUPS = (
    ("clean", "contrast", "brightness", "fog", "gamma"),
    ("noise", "blur", "JPEG", "saturation"),
    ("local light", *LOCAL_CORRUPTIONS),
)


def pages(records: list[dict]) -> list[dict]:
    """What templates/fair.en.md says of each study."""
    return [_page(records, study) for study in fair.STUDIES]


def _page(records, study):
    own = [record for record in records if record["run"]["study"] == study]
    planned = runs.grid("paper", [study])
    seeds = {run.seed for run in planned}
    whole = {
        seed
        for seed in seeds
        if sum(record["run"]["seed"] == seed for record in own) == len(fair.ARMS)
    }
    own = [record for record in own if record["run"]["seed"] in whole]
    found = verdicts(own, questions(study))
    over = "The study is complete." if whole == seeds else "Its headline waits for the rest."
    return {
        "title": fair.plan_text(study)[1].partition("\n")[0],
        "done": sum(record["run"]["study"] == study for record in records),
        "runs": len(planned),
        "seeds": len(whole),
        "planned": len(seeds),
        "note": over,
        "control": _control(own) if found else "",
        "questions": _questions(found),
        "tables": [_exploratory(own, study, group) for group in GROUPS] if found else [],
        "provenance": _provenance(own) if found else "",
    }


def in_words(verdict: Verdict) -> str:
    """Its difference and interval."""
    return f"{verdict.difference:+.1f} [{verdict.low:+.1f}, {verdict.high:+.1f}]"


def _control(records):
    (found,) = verdicts(records, [Question("none", "nothing", "clean")])
    return f"The control, none against nothing: {found.word}{found.star}, {in_words(found)} points."


def _questions(found):
    if not found:
        return ""
    lines = [
        [v.question.arm, v.question.rival, v.question.under, v.word + v.star, in_words(v)]
        for v in found
    ]
    return markdown_table(["Arm", "Rival", "Under", "Verdict", "Points"], lines, text_columns=4)


def _exploratory(records, study, group):
    none = [np.mean([*correct(records, "none", under).values()]) for under in group]
    lines = [["none, %", *(f"{100 * share:.1f}" for share in none)]]
    for arm in fair.ARMS:
        if arm != "none":
            asked = [Question(arm, "none", under) for under in group]
            found = verdicts(records, asked)
            lines.append(
                [arm, *(f"{v.difference:+.1f} ± {v.high - v.difference:.1f}" for v in found)]
            )
    return markdown_table(["Arm", *group], lines)


def _provenance(records):
    model = records[0]["model"]
    network = f"{model['name']}, {model['parameters']:,} parameters, {model['precision']}"
    return f"Network: {network}. {circumstances(records)}"
