"""The runs of the experiments: reproducible, resumable, and not lost when anything is killed."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psutil
import pytest

from augment_utils import contrast, corruptions, load_photo_patches
from experiments.runs import PACKAGES, Run, grid, perform, read_records, record_path, run_all
from tests.common import call, python, wait_for

PATCHES = load_photo_patches()
QUICK = grid("smoke", "C")  # fractions of a second each
SLOW = [  # seconds each
    Run("smoke", "B", name, 100, seed)
    for name in ("none", "AHE", "CLAHE, p = 0.5")
    for seed in range(2)
]


def perform_here(run):
    return perform(run, "patches", PATCHES.fingerprint)


def without_seconds(record):
    return {key: value for key, value in record.items() if key not in ("seconds", "finished")}


def paths_of(folder, runs):
    return {record_path(folder, run, PATCHES) for run in runs}


def files_in(folder):
    return set(folder.iterdir()) if folder.exists() else set()


def times_of(folder):
    """When each record was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}


# ---- the grid


def test_the_grid_of_the_paper_is_what_the_page_says():
    counts = {
        (study, images): len(list(runs))
        for (study, images), runs in itertools.groupby(
            sorted(grid("paper"), key=lambda r: (r.study, r.images)), lambda r: (r.study, r.images)
        )
    }
    assert counts == {
        ("A", 2_000): 16 * 10,
        ("A", 10_000): 16 * 10,
        ("B", 1_000): 15 * 5,
        ("B", 10_000): 15 * 5,
        ("C", 2_000): 7 * 5,
        ("D", 50_000): 10 * 6,
        ("E", 2_000): 10 * 8,
        ("F", 5_170): 8 * 8,
        ("G", 50_000): 5 * 4,
    }
    assert len(set(grid("paper"))) == sum(counts.values())


def test_seeds_come_one_after_the_other_so_that_what_is_done_can_be_compared():
    of_a = [run for run in grid("paper", "A") if run.images == 2_000]
    assert [run.seed for run in of_a] == sorted(run.seed for run in of_a)


@pytest.mark.parametrize(("tier", "studies"), [("huge", "A"), ("smoke", "AX")])
def test_an_unknown_tier_or_study_is_refused(tier, studies):
    with pytest.raises(ValueError, match="expected"):
        grid(tier, studies)


# ---- one run


def test_a_record_says_all_that_defines_it():
    record = perform_here(SLOW[2])
    assert record["run"] == {
        **{"tier": "smoke", "study": "B", "condition": "AHE"},
        **{"images": 100, "seed": 0},
    }
    assert record["data"]["fingerprint"] == PATCHES.fingerprint
    assert record["data"]["name"] == "photo patches (not CIFAR-10)"
    assert set(record["versions"]) == {*PACKAGES}
    assert set(record["machine"]) == {"processor", "threads", "system", "python"}
    assert record["model"] == {"name": "small_cnn", "parameters": 71_242}
    assert record["sizes"] == {"test": 100, "corrupted": 20, "epochs": 1, "batch": 64}
    assert len(record["history"]["loss"]) == 1 and record["seconds"] > 0
    assert len(record["scores"]) == 2 + 4 * 5
    for scores in record["scores"].values():
        assert set(scores) == {"raw", "transformed"}
        assert all(0 <= score <= 1 for score in scores.values())


@pytest.mark.parametrize("run", [SLOW[0], SLOW[5], grid("smoke", "A")[1], QUICK[3]], ids=str)
def test_the_same_seed_gives_the_same_record(run):
    assert without_seconds(perform_here(run)) == without_seconds(perform_here(run))


def test_runs_at_once_in_one_process_do_not_disturb_each_other():
    runs = [SLOW[0], SLOW[1], SLOW[5]]
    with ThreadPoolExecutor(len(runs)) as pool:
        at_once = [without_seconds(record) for record in pool.map(perform_here, runs)]
    assert at_once == [without_seconds(perform_here(run)) for run in runs]


def test_study_a_is_of_two_classes_and_not_of_corruptions():
    record = perform_here(grid("smoke", "A")[0])
    assert set(record["scores"]) == {"clean"} and record["model"]["parameters"] == 25_546


def test_a_distance_is_what_it_is_said_to_be():
    run = Run("smoke", "C", "CLAHE", 20, 1)
    rows = np.random.default_rng(1).permutation(len(PATCHES.x_test))[:20]
    clean = contrast.clahe(PATCHES.x_test[rows]).astype(float)
    moved = contrast.clahe(corruptions.contrast(PATCHES.x_test[rows], 5)).astype(float)

    def distance(one, other):
        return np.mean([np.sqrt(((a - b) ** 2).mean()) for a, b in zip(one, other, strict=True)])

    expected = distance(moved, clean) / distance(clean, np.roll(clean, 1, axis=0))
    distances = perform_here(run)["distances"]
    assert distances["contrast 5"] == pytest.approx(expected, abs=1e-5)
    assert len(distances) == 4 * 5


def test_other_images_than_the_drivers_are_refused():
    with pytest.raises(ValueError, match=r"expected 000000000000.*this worker reads other data"):
        perform(QUICK[0], "patches", "0" * 64)


def test_names_of_records_are_readable_and_all_different(tmp_path):
    names = [record_path(tmp_path, run, PATCHES).name for run in grid("paper")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-G]_[a-z0-9-]+_\d+_seed\d+_[0-9a-f]{8}\.json", n) for n in names)
    other, renamed = PATCHES.subset(train=100), replace(PATCHES, name="the same images")
    assert record_path(tmp_path, QUICK[0], renamed) == record_path(tmp_path, QUICK[0], PATCHES)
    assert record_path(tmp_path, QUICK[0], other) != record_path(tmp_path, QUICK[0], PATCHES)


# ---- many runs


def test_runs_are_shared_out_and_not_repeated(tmp_path):
    told = []
    runs = [*QUICK[:5], *SLOW[:2]]
    assert run_all(runs, tmp_path, "patches", workers=2, progress=lambda *n: told.append(n)) == []
    assert files_in(tmp_path) == paths_of(tmp_path, runs)
    assert told[0] == (0, 2, 0, 7) and told[-1] == (7, 0, 0, 7) and len(told) == 8
    threads = {record["machine"]["threads"] for record in read_records(tmp_path)}
    assert threads == {max(1, contrast.processor_count() // 2)}  # not all of them for each
    before = times_of(tmp_path)
    again = []
    assert run_all(runs, tmp_path, "patches", progress=lambda *n: again.append(n)) == []
    assert again == [(7, 0, 0, 7)]
    assert times_of(tmp_path) == before


def test_a_failed_run_is_recorded_and_the_rest_go_on(tmp_path):
    bad = Run("smoke", "B", "no such condition", 100, 0)
    failures = run_all([bad, *QUICK[:3]], tmp_path, "patches", workers=1)
    assert failures == [(bad, "KeyError: 'no such condition'")]
    failure = record_path(tmp_path, bad, PATCHES).with_suffix(".failed.json")
    written = json.loads(failure.read_text("utf-8"))
    assert written["run"] == bad._asdict() and "Traceback" in written["error"]
    assert files_in(tmp_path) == paths_of(tmp_path, QUICK[:3]) | {failure}
    assert len(read_records(tmp_path)) == 3  # a failure is no record


def test_what_is_no_record_is_named(tmp_path):
    (tmp_path / "B_none_1_seed0_00000000.json").write_text('{"run": ')
    with pytest.raises(ValueError, match=r"B_none_1_seed0_00000000.json is no record"):
        read_records(tmp_path)


def test_without_a_scheduler_at_the_address_it_says_so(tmp_path):
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        run_all(QUICK[:1], tmp_path, "patches", scheduler="tcp://127.0.0.1:9")


# ---- killed


SWEEP = [*QUICK[:9], *SLOW, *QUICK[9:]]
DRIVER = """
import sys
from tests.experiments.test_runs import SWEEP, run_all
folder, scheduler = sys.argv[1], sys.argv[2] or None
if __name__ == "__main__":
    sys.exit(len(run_all(SWEEP, folder, "patches", scheduler, workers=2)))
"""
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1"}  # sums of floats depend on their number


def start_driver(folder, scheduler=""):
    """As a process of its own, which can be killed."""
    script = folder.with_name("driver.py")
    script.write_text(DRIVER)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), scheduler],
        stderr=subprocess.PIPE,
        text=True,
    )


def ends_with_all_records(driver, folder):
    _, messages = driver.communicate(timeout=500)
    assert driver.returncode == 0, messages
    assert set(folder.glob("*.json")) == paths_of(folder, SWEEP)


@pytest.mark.parametrize(
    "targets", [(10,), pytest.param((1, 4, 10, 12), marks=pytest.mark.slow)], ids=str
)
def test_the_driver_is_killed_and_nothing_is_lost_or_repeated(tmp_path, targets):
    folder = tmp_path / "runs"
    finished = {}
    for target in targets:  # it is killed in the middle of what comes after so many
        driver = start_driver(folder)
        wait_for(lambda target=target: len(files_in(folder)) >= target, driver)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        now = times_of(folder)
        assert finished.items() <= now.items()  # what was there was not written again
        assert len(read_records(folder)) == len(now) < len(SWEEP)  # and is whole
        finished = now
    ends_with_all_records(start_driver(folder), folder)
    assert finished.items() <= times_of(folder).items()


def test_the_command_shows_how_far_it_is(tmp_path):
    options = ("--workers", 1, "--tier", "smoke", "--study", "C", "--folder", tmp_path)
    done = call("experiments", "run", *options, AUGMENT_DATA="patches")
    assert done.returncode == 0, done.stderr
    assert f"{len(QUICK)}/{len(QUICK)}" in done.stderr
    assert "running=1" in done.stderr and "failed=0" in done.stderr
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", done.stderr)  # time gone, time left


@contextlib.contextmanager
def dask_processes():
    """A scheduler and workers as processes of their own, as on other machines, over TCP."""
    environment = os.environ | {
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "50",
        "PYTHONUNBUFFERED": "1",
        **ONE_THREAD,
    }
    dask = [sys.executable, "-m", "dask"]
    processes = [
        subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
    ]
    try:
        lines = iter(processes[0].stderr.readline, "")
        address = next(m[1] for m in (re.search(r"(tcp://127\S+)", line) for line in lines) if m)
        processes.append(
            subprocess.Popen(
                [
                    *(*dask, "worker", address, "--nworkers", "2", "--nthreads", "1"),
                    *("--no-dashboard", "--host", "127.0.0.1", "--memory-limit", "0"),
                ],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
        )
        yield address, processes[1]
    finally:
        for process in reversed(processes):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.communicate()


def workers_of(process):
    """The processes that do the runs: their nannies start others when they die."""
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]


@pytest.mark.slow
def test_workers_over_tcp_are_killed_in_the_middle_of_runs_and_every_run_is_done(tmp_path):
    folder = tmp_path / "runs"
    with dask_processes() as (address, nannies):
        driver = start_driver(folder, address)
        for target in (1, 9, 12):
            wait_for(lambda target=target: len(list(folder.glob("*.json"))) >= target, driver)
            workers = workers_of(nannies)
            assert workers
            for worker in workers:  # all at once: nobody holds what was done
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
        ends_with_all_records(driver, folder)
    for alone in perform_alone([QUICK[2], *SLOW]):
        path = record_path(folder, Run(**alone["run"]), PATCHES)
        assert without_seconds(json.loads(path.read_text("utf-8"))) == without_seconds(alone)


def perform_alone(runs):
    """The records of runs without Dask, in a process with as many threads as its workers."""
    script = """
import json, sys
from tests.experiments.test_runs import Run, perform_here
print(json.dumps([perform_here(Run(*run)) for run in json.loads(sys.argv[1])]))
"""
    done = python("-c", script, json.dumps(runs), **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
