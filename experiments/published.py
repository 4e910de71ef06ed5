"""results/published.csv: what notebooks 08 and 09 show of the published runs, in a small table."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from augment_utils.corruptions import CORRUPTIONS
from experiments import fair, verdicts
from experiments.compare import CLEAN, Arm, arms, corrupted, provenance, sentence, tables
from experiments.runs import conditions_of

CURVES = ("none", "CLAHE, training only")  # whose accuracies after each epoch 08 takes apart
EXPLANATION = (
    "Made by `make results` from the records in runs/. A line is one measure of one use, with a "
    "number for each seed. Uses: 'training only' transforms all training images, 'both sides' "
    "the test images too, 'random' another half of the training images in each epoch. Measures "
    "in studies A and B are accuracies: on all test images ('clean'), on those that are corrupted "
    "too ('clean, the same images'), on these with a severity ('fog 3') and as the mean of the "
    "five ('fog'), of the last epoch's training batches ('training'), of the validation images "
    "after an epoch ('validation 3'). In study C they are distances to the clean image, 1 being "
    "that of another image. Verdict and words compare with none; 'equal' is within 1 point of it; "
    "* survives Holm's correction among the sound uses ('both sides' and 'random'), among those on "
    "the training images only, or among the other augmentations. Studies D to G, once they are "
    "complete, compare as experiments/plan.md says: 'clean', or the mean of a corruption's five "
    "severities ('local light': of four corruptions), and * only at the plan's questions; a use "
    "'CLAHE - standardization' has the difference of both. "
    "The next line says where the numbers come from."
)


def published_table(records: list[dict], later: Sequence[dict] = ()) -> str:
    """The text of the file: an explanation, the provenance, and a table with commas.

    ``later`` has the records of studies D to G; a study that is not complete is left out.
    """
    groups: dict[tuple[str, int], list[dict]] = {}
    for record in records:
        groups.setdefault((record["run"]["study"], record["run"]["images"]), []).append(record)
    complete = {
        study: verdicts.by_plan(later, study)
        for study in fair.STUDIES
        if verdicts.is_complete(later, study)
    }
    seeds = range(1 + max(record["run"]["seed"] for record in records))
    sources = [
        provenance(records),
        *(f"Study {study}: {verdicts.provenance(own)}" for study, own in complete.items()),
    ]
    text = io.StringIO()
    text.write(f"# {EXPLANATION}\n# {' '.join(sources)}\n")
    write = csv.writer(text, lineterminator="\n").writerow
    write(["study", "images", "measure", "use", "verdict", "words", *(f"seed {s}" for s in seeds)])
    for (study, images), group in sorted(groups.items()):
        paired = _paired(group)
        said = _verdicts_and_words(paired)
        for measure, uses in _measures(paired, study).items():
            for use, numbers in uses.items():
                words = said.get((measure, use), ("", ""))
                write([study, images, measure, use, *words, *(numbers.get(s) for s in seeds)])
    for study, own in complete.items():
        images = own[0]["run"]["images"]
        for measure, use, verdict, words, numbers in verdicts.measures(own, study):
            write([study, images, measure, use, verdict, words, *(numbers.get(s) for s in seeds)])
    return text.getvalue()


def _paired(records):
    """Those with a seed that all conditions have, so that the numbers of two uses make pairs."""
    seeds: dict[str, set[int]] = {}
    for run in (record["run"] for record in records):
        seeds.setdefault(run["condition"], set()).add(run["seed"])
    common = set.intersection(*seeds.values())
    return [record for record in records if record["run"]["seed"] in common]


def _verdicts_and_words(records):
    """{(measure, use): both} of what the report compares with none."""
    return {
        (table.corruption or CLEAN, row.label): (row.verdict + row.star, sentence(row))
        for table in tables(records)
        for row in table.rows
        if row.label != "none"
    }


def _measures(records, study):
    """{measure: {use: {seed: number}}} of the records of one study and size."""
    measures: dict[str, dict[str, dict[int, float]]] = {}
    for arm in _uses(study):
        for record in (r for r in records if r["run"]["condition"] == arm.condition):
            of_run = record["distances"] if study == "C" else _accuracies(record, arm)
            for measure, number in of_run.items():
                uses = measures.setdefault(measure, {})
                uses.setdefault(arm.label, {})[record["run"]["seed"]] = number
    return measures


def _uses(study):
    """Study C transforms the corrupted image and the clean one."""
    if study != "C":
        return arms(study)
    names = conditions_of("C")
    return [Arm(name if name == "none" else f"{name}, both sides", name, "") for name in names]


def _accuracies(record, arm):
    """{measure: accuracy} of a run, scored in the arm's way."""
    scores = {name: ways[arm.way] for name, ways in record["scores"].items()}
    for name in CORRUPTIONS:
        if {*corrupted(name)} <= {*scores}:
            # unrounded: half a printed digit is rounded here as in the report
            scores[name] = float(np.mean([scores[each] for each in corrupted(name)]))
    if record["run"]["study"] == "A":
        scores["training"] = record["history"]["accuracy"][-1]
        if arm.label in CURVES:
            curve = record["history"]["validation"]
            scores |= {f"validation {epoch}": value for epoch, value in enumerate(curve, 1)}
    return scores
