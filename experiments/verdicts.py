"""What the records of studies D to G say, by the rules and the questions of plan.md."""

import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from augment_utils.corruptions import LOCAL_CORRUPTIONS
from experiments import fair, runs
from experiments.compare import LEVEL, MARGIN, circumstances, corrupted, holm, p_values_of, quantile
from tools.pages import markdown_table

DRAWS = 2_000  # of the bootstrap
UNDER = {  # name of a kind of test images: the corruptions over which accuracy is averaged
    "clean": (),
    **{name: (name,) for name in fair.ALL_CORRUPTIONS},
    "local light": tuple(LOCAL_CORRUPTIONS),
}
MOVED = f"{fair.EXACT} - {fair.REENCODED}"  # of study F: how much more on exact pixels


class Question(NamedTuple):
    """Is an arm more often right than its rival, on one kind of test images?"""

    arm: str
    rival: str
    under: str  # a key of UNDER; of study F "exact", "re-encoded" or MOVED


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
    if under == MOVED:
        exact, other = (correct(records, arm, each) for each in (fair.EXACT, fair.REENCODED))
        return {seed: exact[seed] - other[seed] for seed in {*exact} & {*other}}
    if under in (fair.EXACT, fair.REENCODED):
        return correct(records, f"{arm}, {under}", fair.CLEAN)
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


def whole_seeds(records: Sequence[dict], study: str) -> list[dict]:
    """A study's records of the seeds that have run with every arm."""
    own = by_plan(records, study)
    runs_of = Counter(record["run"]["seed"] for record in own)
    return [r for r in own if runs_of[r["run"]["seed"]] == len(fair.STUDIES[study].arms)]


def by_plan(records: Sequence[dict], study: str) -> list[dict]:
    """A study's records, but for those of other words in plan.md."""
    digest = fair.plan_digest(study)
    return [r for r in records if r["run"]["study"] == study and r["plan"] == digest]


def is_complete(records: Sequence[dict], study: str) -> bool:
    """Whether every planned run of a study has its record."""
    return len(runs.grid("paper", [study])) == len(by_plan(records, study))


def measures(
    records: list[dict], study: str
) -> Iterator[tuple[str, str, str, str, dict[int, float]]]:
    """Lines of results/published.csv: measure, use, verdict, words, and a number for each seed.

    A use is an arm, with its accuracies and its verdict against none; or "arm - rival", where
    the plan asks for another rival, with differences.
    """
    asked = questions(study)
    primary = {v.question: v for v in verdicts(records, asked)}
    for under in (under for group in _groups(study) for under in group):
        for arm in _arms(study):
            numbers = {s: _mean(x) for s, x in correct(records, arm, under).items()}
            question = Question(arm, "none", under)
            found = primary.get(question) or verdicts(records, [question])[0]._replace(star="")
            said = (found.word + found.star, in_words(found)) if arm != "none" else ("", "")
            yield under, arm, *said, numbers
        for question in asked:
            if question.under == under and question.rival != "none":
                own, rival = (correct(records, arm, under) for arm in question[:2])
                numbers = {seed: _mean(own[seed] - rival[seed]) for seed in own}
                found = primary[question]
                use = f"{question.arm} - {question.rival}"
                yield under, use, found.word + found.star, in_words(found), numbers


FIGURE = ("clean", "contrast", "local light")  # kinds of test images
USES = ("stretching", "HE channel", "HE value", "AHE", "CLAHE", "CLAHE, random")  # of contrast


class Headline(NamedTuple):
    """What study D says in two sentences."""

    none: float  # accuracy on clean test images, in percent
    reencoded: bool  # whether most of these images are, as far as is known
    uses: int  # of contrast
    clean: dict[str, list[Verdict]]  # they against none, by word and star
    clahe: Verdict  # against none, clean images
    local: list[Verdict]  # AHE and CLAHE against none, where the light is local
    of_ahe: list[Verdict]  # AHE against none, where it gains least and most of these
    exploratory: list[Verdict]  # jitter there; standardization under contrast and fog
    ends: dict[str, list[Verdict]]  # lowest and highest arm against none, as the figure has them


def headline(records: Sequence[dict]) -> Headline | None:
    """Of study D, or None before it is complete.

    Raises
    ------
    ValueError
        The records do not say what the sentences in templates/headline.*.md say.
    """
    if not is_complete(records, "D"):
        return None
    own = by_plan(records, "D")
    found = {v.question: v for v in verdicts(own, questions("D"))}
    clean: dict[str, list[Verdict]] = {}
    for use in USES:
        verdict = found[Question(use, "none", "clean")]
        clean.setdefault(verdict.word + verdict.star, []).append(verdict)
    local = [found[Question(use, "none", "local light")] for use in ("AHE", "CLAHE")]
    unasked = (
        ("jitter", "local light"),
        ("standardization", "contrast"),
        ("standardization", "fog"),
    )
    exploratory = verdicts(own, [Question(arm, "none", under) for arm, under in unasked])
    of_ahe = verdicts(own, [Question("AHE", "none", under) for under in LOCAL_CORRUPTIONS])
    of_ahe.sort(key=lambda verdict: verdict.difference)
    ends = {}
    for under in FIGURE:
        against = sorted(against_none(own, under), key=lambda verdict: verdict.difference)
        ends[under] = [against[0], against[-1]]
    (control,) = verdicts(own, [Question("none", "nothing", "clean")])
    if not (
        control.word == "better"
        and all(verdict.high < MARGIN for rows in clean.values() for verdict in rows)
        and "better" not in {word.rstrip("*") for word in clean}
        and "worse*" in clean
        and all(verdict.word + verdict.star == "better*" for verdict in local)
        and exploratory[1].word == "better" != exploratory[2].word
    ):
        raise ValueError(
            "the records do not say what the sentences in experiments/templates/headline.*.md say: "
            "write these anew, and what verdicts.headline takes for granted"
        )
    none = 100 * np.mean([*correct(own, "none", "clean").values()])
    clahe = found[Question("CLAHE", "none", "clean")]
    ahe = [of_ahe[0], of_ahe[-1]]
    reencoded = "re-encoding" in runs.FIDELITY.get(own[0]["data"]["fingerprint"][:12], "")
    return Headline(float(none), reencoded, len(USES), clean, clahe, local, ahe, exploratory, ends)


def against_none(records: list[dict], under: str) -> list[Verdict]:
    """The arms of study D that add something to none."""
    arms = [arm for arm in fair.ARMS if arm not in ("none", "nothing")]
    return verdicts(records, [Question(arm, "none", under) for arm in arms])


def _mean(correct):
    return round(float(correct.mean()), 6)


# ---- the page


GROUPS = (
    ("clean", "contrast", "brightness", "fog", "gamma"),
    ("noise", "blur", "JPEG", "saturation"),
    ("local light", *LOCAL_CORRUPTIONS),
)


def pages(records: Sequence[dict]) -> list[dict]:
    """What templates/fair.en.md says of each study."""
    return [_page(records, study) for study in fair.STUDIES]


def _page(records, study):
    planned = runs.grid("paper", [study])
    seeds = {run.seed for run in planned}
    own = whole_seeds(records, study)
    whole = {record["run"]["seed"] for record in own}
    # who looks often sees something: no verdict before the last run
    found = verdicts(own, questions(study)) if whole == seeds else []
    over = "The study is complete." if found else "Its verdicts wait for the rest."
    return {
        "name": study,
        "title": fair.plan_text(study)[1].partition("\n")[0],
        "done": len(by_plan(records, study)),
        "runs": len(planned),
        "seeds": len(whole),
        "planned": len(seeds),
        "note": over,
        "control": _control(own) if found and "nothing" in fair.STUDIES[study].arms else "",
        "questions": _questions(found),
        "tables": [_exploratory(own, study, group) for group in _groups(study)] if found else [],
        "provenance": provenance(own) if found else "",
    }


def in_words(verdict: Verdict) -> str:
    """Its difference and interval."""
    return f"{verdict.difference:+.1f} [{verdict.low:+.1f}, {verdict.high:+.1f}]"


def _control(records):
    (found,) = verdicts(records, [Question("none", "nothing", "clean")])
    return f"The control, none against nothing: {found.word}, {in_words(found)} points."


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
    for arm in _arms(study):
        if arm != "none":
            asked = [Question(arm, "none", under) for under in group]
            found = verdicts(records, asked)
            lines.append(
                [arm, *(f"{v.difference:+.1f} ± {v.high - v.difference:.1f}" for v in found)]
            )
    return markdown_table(["Arm", *group], lines)


def _groups(study):
    return GROUPS if study != "F" else ((fair.EXACT, fair.REENCODED, MOVED),)


def _arms(study):
    """Its arms, those of study F without their pixels."""
    names = fair.STUDIES[study].arms
    return dict.fromkeys(re.sub(f", ({fair.EXACT}|{fair.REENCODED})$", "", name) for name in names)


def provenance(records: list[dict]) -> str:
    """The network, the images, the machines and the versions."""
    model = records[0]["model"]
    network = f"{model['name']}, {model['parameters']:,} parameters, {model['precision']}"
    return f"Network: {network}. {circumstances(records)}"
