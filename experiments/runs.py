"""The grid of runs behind the published tables: who runs what, and one JSON record a run.

A run is a study, a condition, a number of images and a seed. Its record is a file named by all
that defines it, written whole or not at all, so whatever was killed is started again and nothing
finished is repeated. Dask shares the runs out; report.py makes the tables.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from augment_utils import training
from augment_utils.contrast import processor_count
from augment_utils.corruptions import CORRUPTIONS, SEVERITIES
from augment_utils.datasets import Dataset, load_cifar10
from experiments import fair
from tools import ROOT
from tools.files import make_writable, write_json
from tools.pages import machine

PACKAGES = ("numpy", "scikit-image", "numba", "pillow", "tensorflow", "keras")
PROTOCOL = 1  # to be raised when a run does something else than before: old records don't count
RUNS = ROOT / "results" / "runs"  # the records of the published tables
ELSEWHERE = ROOT / "results" / "elsewhere"  # of runs done again on another kind of processor
STUDIES = ("A", "B", "C", *fair.STUDIES)
CONDITIONS = {  # of studies A and B, in the order of the tables
    "none": training.Condition(),
    "flips": training.Condition(augmentation="flips"),
    "geometric": training.Condition(augmentation="geometric"),
    **training.CONDITIONS,
}
# scores; SAME is of those that are corrupted too
CLEAN, SAME = fair.CLEAN, "clean, the same images"
ONE_AT_A_TIME = threading.Lock()  # TensorFlow's seed is the process's: a worker may have threads
# What is known of a data set's pixels, by the first digits of its fingerprint.
FIDELITY = {
    "5258b9d3514d": "50,000 and 10,000 images in CIFAR-10's order; exact pixels at 6,187 of them, "
    "the first 1,000 of both splits among these, and elsewhere a JPEG re-encoding of CIFAR-10 "
    "(median PSNR 30 dB), so other accuracies than on the official file are possible",
    "6f91fbfefe0b": "5,170 and 1,017 images of CIFAR-10 with its exact pixels, the first 1,000 of "
    "both splits among them",
}
# what TensorFlow, our transforms and OpenMP take their number of threads from
THREADS = (
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "AUGMENT_THREADS", "OMP_NUM_THREADS"
)  # fmt: skip
MOST_DEATHS = 10  # of workers that held a run, before the run itself is taken to be the cause


class Run(NamedTuple):
    tier: str
    study: str
    condition: str
    images: int
    seed: int


def grid(tier: training.Tier, studies: Sequence[str] = STUDIES) -> list[Run]:
    """The runs of a tier, one seed of everything after the other, the small sizes first.

    Parameters
    ----------
    tier : {"smoke", "class", "paper"}
    studies : sequence of {"A", "B", "C", "D", "E", "F", "G"}

    Returns
    -------
    list of Run

    Raises
    ------
    ValueError
        An unknown tier or study.
    """
    if tier not in training.TIERS:
        raise ValueError(f"got tier={tier!r}, expected one of {', '.join(training.TIERS)}")
    if unknown := [study for study in studies if study not in STUDIES]:
        raise ValueError(f"got study {unknown[0]!r}, expected some of {', '.join(STUDIES)}")
    runs = [
        Run(tier, study, condition, images, seed)
        for study in studies
        for images in _plan(tier, study)["sizes"]
        for seed in range(_plan(tier, study)["seeds"])
        for condition in conditions_of(study)
    ]
    return sorted(runs, key=lambda run: (run.images, run.seed))


def conditions_of(study: str) -> list[str]:
    """The names of a study's conditions, in the order of the tables."""
    if study == "C":
        return ["none", *training.TRANSFORMS]
    if study in fair.STUDIES:
        return list(fair.STUDIES[study].arms)
    names = list(CONDITIONS)
    return names if study == "A" else [n for n in names if n != training.TODAYS_ADADELTA]


def perform(run: Run, source: str | None, fingerprint: str) -> dict:
    """Do one run, anywhere.

    Parameters
    ----------
    run : Run
    source : str or None
        Where the images are, as :func:`augment_utils.load_cifar10` takes it.
    fingerprint : str
        Of the data set that is expected there.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    ValueError
        There are other images, or too few.
    """
    start = time.perf_counter()
    dataset = _load(source)
    if dataset.fingerprint != fingerprint:
        raise ValueError(
            f"got images with the fingerprint {dataset.fingerprint[:12]}..., expected "
            f"{fingerprint[:12]}...: this worker reads other data than the others"
        )
    with ONE_AT_A_TIME:
        measured = _measure(run, dataset)
    return {
        **identity(run, dataset),
        **measured,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": machine() | {"threads": int(os.environ.get(THREADS[0], processor_count()))},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(time.perf_counter() - start, 1),
    }


def identity(run: Run, dataset: Dataset) -> dict:
    """What a record says of its run: its place in the grid, its sizes, its images."""
    return {
        "protocol": PROTOCOL,
        "run": run._asdict(),
        "sizes": sizes_of(run),
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
    }


def record_path(folder: str | os.PathLike, run: Run, dataset: Dataset) -> Path:
    """The file of a run's record: readable, and different for whatever defines it differently."""
    defining = [PROTOCOL, run._asdict(), sizes_of(run), dataset.fingerprint]
    digest = hashlib.sha256(json.dumps(defining, sort_keys=True).encode())
    condition = re.sub(r"[^a-z0-9]+", "-", run.condition.lower()).strip("-")
    name = f"{run.study}_{condition}_{run.images}_seed{run.seed}_{digest.hexdigest()[:8]}.json"
    return Path(folder) / name


def run_all(
    runs: Sequence[Run],
    folder: str | os.PathLike,
    source: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int, int, int], object] | None = None,
) -> list[tuple[Run, str]]:
    """Do all runs that have no record yet.

    Parameters
    ----------
    runs : sequence of Run
    folder : path
        Where the records go.
    source : str or None
        As in :func:`perform`; a path must hold the same images on every worker's machine.
    scheduler : str or None
        Address of a Dask scheduler; None starts processes on this machine.
    workers : int or None
        How many processes, where none are given by a scheduler; None: one for each processor.
    progress : callable or None
        Called as ``progress(done, running, failed, total)`` whenever one of them changes.

    Returns
    -------
    list of (Run, str)
        The runs that failed, and their errors, which are in ``*.failed.json`` too.

    Raises
    ------
    OSError, ValueError
        There is no scheduler at that address, or the images cannot be read.
    """
    folder = Path(folder)
    make_writable(folder)
    dataset = _load(source)
    there = len(dataset.x_train), len(dataset.x_test)
    for run in runs:
        wanted = run.images, sizes_of(run).get("test")
        if (run.tier, run.study) == ("paper", "F") and there != wanted:
            raise ValueError(
                f"got {there[0]:,} and {there[1]:,} images, and study F asks for its own "
                f"{wanted[0]:,} and {wanted[1]:,} of exact pixels; set AUGMENT_DATA to a file of "
                "these, or leave F out: --study D, for one"
            )
    missing = [run for run in runs if not record_path(folder, run, dataset).exists()]
    done = len(runs) - len(missing)
    failed: list[tuple[Run, str]] = []
    if not missing:
        _tell(progress, done, 0, 0, len(runs))
        return failed
    from distributed import as_completed

    with _client(scheduler, min(workers or processor_count(), len(missing))) as client:
        runs_of = {
            client.submit(perform, run, source, dataset.fingerprint, pure=False): run
            for run in missing
        }
        _tell(progress, done, _running(client, len(missing)), 0, len(runs))
        for future in as_completed(runs_of, loop=client.loop):
            run = runs_of.pop(future)
            path = record_path(folder, run, dataset)
            failure = path.with_suffix(".failed.json")
            error = future.exception()  # waits if the result died with its worker
            if error is None:
                write_json(path, future.result())
                failure.unlink(missing_ok=True)
                done += 1
            else:
                text = "".join(traceback.format_exception(error))
                write_json(failure, {**identity(run, dataset), "error": text})
                failed.append((run, f"{type(error).__name__}: {error}"))
            future.release()
            _tell(progress, done, _running(client, len(runs_of)), len(failed), len(runs))
    return failed


def read_records(folder: str | os.PathLike = RUNS) -> list[dict]:
    """All records in a folder, sorted by their files' names.

    Left out are the errors of failed runs, and records of another protocol or other sizes than
    today's, which are not of the same runs.

    Raises
    ------
    ValueError
        A file that is no record.
    """
    records = []
    for path in sorted(Path(folder).glob("*_seed*.json")):
        if path.name.endswith(".failed.json"):
            continue
        try:
            record = json.loads(path.read_text("utf-8"))
            run = Run(**record["run"])
            if (record["protocol"], record["sizes"]) == (PROTOCOL, sizes_of(run)):
                records.append(record)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path.name} is no record of a run ({error!r}); remove it and run again"
            ) from error
    return records


# ---- what a run does


def _measure(run, dataset):
    if run.study in fair.STUDIES:
        _, study, arm, images, seed = run
        return fair.train_and_score(dataset, study, arm, images, seed, sizes_of(run))
    return _distances(run, dataset) if run.study == "C" else _train_and_score(run, dataset)


def _train_and_score(run, dataset):
    plan, condition = _plan(run.tier, run.study), CONDITIONS[run.condition]
    if run.study == "A":
        dataset = training.cats_and_dogs(dataset)
    split = training.draw_split(dataset, run.images, run.seed)
    epochs = plan["sizes"][run.images]
    model = training.make_model(run.study, split, condition, epochs, run.seed)
    history = training.train(model, split, condition, epochs, run.seed)
    test = dataset.subset(test=plan["test"])
    scores = {CLEAN: _accuracies(model, test.x_test, test.y_test, condition)}
    if plan["corrupted"]:
        labels, corrupted = _corrupted(dataset, plan["corrupted"])
        for name, images in corrupted.items():
            scores[name] = _accuracies(model, images, labels, condition)
    return {
        "model": {"name": training.MODELS[run.study], "parameters": model.count_params()},
        "history": {key: [round(v, 6) for v in values] for key, values in history.items()},
        "scores": scores,
    }


def _accuracies(model, images, labels, condition):
    return {
        way: round(training.accuracy(model, scored, labels), 6)
        for way, scored in training.scored_ways(images, condition).items()
    }


def _distances(run, dataset):
    """How far corruption moves an image that is transformed after it: 1 is as far as another image.

    The distance between two images is the root of the mean squared difference of their values.
    """
    rng = np.random.default_rng(run.seed)
    rows = rng.permutation(len(dataset.x_test))[: run.images]
    transform = training.TRANSFORMS.get(run.condition, np.copy)

    def distance(some, others):
        squares = (some.astype(np.float32) - others) ** 2
        return float(np.sqrt(squares.mean(axis=(1, 2, 3))).mean())

    images = dataset.x_test[rows]
    clean = transform(images)
    between = distance(clean, np.roll(clean, 1, axis=0))
    return {
        "between_images": round(between, 6),
        "distances": {
            f"{name} {severity}": round(
                distance(transform(_corrupt(name, images, severity, run.seed)), clean) / between, 6
            )
            for name in CORRUPTIONS
            for severity in SEVERITIES
        },
    }


@functools.lru_cache(1)  # every run asks for the same
def _corrupted(dataset, count):
    """The labels of so many test images, and {corruption: the images under it}."""
    part = dataset.subset(train=len(dataset.class_names), test=count)
    images = {
        f"{name} {severity}": _corrupt(name, part.x_test, severity, 0)
        for name in CORRUPTIONS
        for severity in SEVERITIES
    }
    return part.y_test, {SAME: part.x_test, **images}


def _corrupt(name, images, severity, seed):
    seeded = {"seed": seed} if name == "fog" else {}
    return CORRUPTIONS[name](images, severity, **seeded)


@functools.lru_cache(1)
def _load(source):
    return load_cifar10(source)


def _plan(tier, study):
    return (fair if study in fair.STUDIES else training).TIERS[tier][study]


def sizes_of(run: Run) -> dict[str, int | None]:
    """How much a run trains and scores; epochs are None for a number of images not in the tier."""
    plan = _plan(run.tier, run.study)
    if run.study == "C":
        return {}
    batch = fair.BATCH if run.study in fair.STUDIES else training.BATCH
    epochs = {"epochs": plan["sizes"].get(run.images), "batch": batch}
    return {"test": plan["test"], "corrupted": plan["corrupted"], **epochs}


# ---- where it is done


@contextlib.contextmanager
def _client(scheduler, workers):
    """A Dask client: of the scheduler at an address, or of one process for each of the workers."""
    import dask
    from distributed import Client, LocalCluster

    if scheduler:
        with Client(scheduler, timeout="10s", set_as_default=False) as client:
            yield client
        return
    # runs that share the processors must not each take all of them
    threads = {name: str(max(1, processor_count() // workers)) for name in THREADS}
    settings = {
        "distributed.nanny.pre-spawn-environ": threads,
        "distributed.scheduler.allowed-failures": MOST_DEATHS,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any port: two clusters at once are no error
            host="127.0.0.1",
            memory_limit=0,
            silence_logs="ERROR",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _running(client, left):
    return min(left, sum(client.nthreads().values()))


def _tell(progress, *numbers):
    if progress:
        progress(*numbers)
