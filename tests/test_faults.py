"""A hostile machine: disks that are full or cannot be written, two at once, and being stopped.

Whatever happens, there is a message and no traceback, nothing half-written is left to be read,
and the next try works. Bad networks and bad files are in augment_utils/test_datasets.py; killed
runs of the experiments in experiments/test_runs.py.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

import nbformat
import psutil
import pytest

from assignments import course
from augment_utils import datasets, load_cifar10
from tests.assignments import kept_submissions
from tests.augment_utils.test_datasets import archive_of, arrays, batches_of, serving, sha256
from tests.common import call, wait_for, write_notebook
from tests.experiments.test_runs import QUICK, paths_of
from tests.tools.test_notebooks import GOOD
from tools import ROOT

DATA = [sys.executable, "-m", "augment_utils", "data"]
NOTEBOOKS = [sys.executable, "-m", "tools.notebooks"]
EXPERIMENTS = [sys.executable, "-m", "experiments", "run", "--tier", "smoke", "--study", "C"]
COMPILING = (
    "import augment_utils as au, numpy as np; print(au.__file__);"
    "print(au.contrast_stretching(np.eye(9, dtype=np.uint8)).max())"
)
SLEEPING = ["print('begun')", "import time\ntime.sleep(100)"]
LARGE = ["for i in range(4000):\n    print('x' * 76)"]
ONE_TEXT = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
COULD_NOT = "could not be written: "
FULL, READ_ONLY = "No space left on device", "Read-only file system"


# ---- disks, as this process's own: others don't see them, and nobody's rights are needed

IN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
ON_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && "$@"'
ON_FULL = """
mount -t tmpfs -o size=64k none "$0" || exit
"$@" || echo failed
find "$0" -type f -printf 'left %P\\n'
mount -o remount,size=100m "$0" && echo ROOM && "$@" && echo done
"""


@pytest.fixture
def on_disk(tmp_path):
    """Call a program with `tmp_path / "disk"` mounted by a script; its stdout and stderr."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def start(script, *command, **environment):
        done = subprocess.run(
            [*IN_NAMESPACE, script, str(disk), *map(str, command)],
            env=os.environ | {"AUGMENT_DATA": "patches"} | environment,
            **ONE_TEXT,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    try:
        if "left" not in start(ON_FULL, "touch", disk / "file"):
            pytest.skip("this machine does not let users mount disks of their own")
    except OSError as error:
        pytest.skip(f"there is no unshare: {error}")
    return start


def copy_of_checkout(folder):
    """As much of it as the commands need."""
    folder.mkdir(parents=True)
    without = shutil.ignore_patterns("__pycache__")
    for name in ("augment_utils", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=without)
    (folder / "images").mkdir()
    return folder


@pytest.mark.slow
def test_a_read_only_checkout_and_home(tmp_path, on_disk, monkeypatch):
    checkout = copy_of_checkout(tmp_path / "disk" / "checkout")
    monkeypatch.chdir(checkout)
    (tmp_path / "disk" / "home").mkdir()
    note = write_notebook(checkout / "note.ipynb", GOOD)
    before = note.read_bytes()
    environment = {"PYTHONPATH": str(checkout), "HOME": str(tmp_path / "disk" / "home")}
    told = on_disk(ON_READ_ONLY, sys.executable, "-c", COMPILING, **environment)
    assert told.splitlines() == [str(checkout / "augment_utils" / "__init__.py"), "255"]
    told = on_disk(ON_READ_ONLY, *NOTEBOOKS, note, **environment)
    assert f"{checkout / 'build' / 'executed'} {COULD_NOT}{READ_ONLY}" in told
    out = tmp_path / "out"
    told = on_disk(
        *(ON_READ_ONLY, *NOTEBOOKS, note, "--output-dir", out, "--refresh"),
        **environment,
    )
    assert nbformat.read(out / "note.ipynb", 4).cells[2].outputs
    assert f"{checkout / 'images' / 'note.png'} {COULD_NOT}{READ_ONLY}" in told
    assert note.read_bytes() == before


@pytest.mark.parametrize(
    "command", ["benchmarks --quick", "experiments report", "assignments release"]
)
def test_a_read_only_repository_is_noticed(tmp_path, on_disk, command):
    folder = tmp_path / "disk"
    for name in ("source", "checks"):
        shutil.copytree(ROOT / "assignments" / name, folder / name)
    for name in ("README.md", "README.zh-CN.md", "results"):
        there = ROOT / name
        (shutil.copytree if there.is_dir() else shutil.copy)(there, folder / name)
    option = "--course" if "assignments" in command else "--folder"
    told = on_disk(ON_READ_ONLY, sys.executable, "-m", *command.split(), option, folder)
    assert f"{COULD_NOT}{READ_ONLY}" in told and "Error: " in told
    assert "cell/s" not in told  # nothing is measured that cannot be written


def test_a_full_disk_under_a_subset(tmp_path, on_disk):
    out = tmp_path / "disk" / "out.npz"
    first, second = on_disk(ON_FULL, *DATA, "--subset", 500, out).split("ROOM")
    assert f"{out} {COULD_NOT}{FULL}" in first and "failed" in first and "\nleft " not in first
    assert "done" in second


@pytest.mark.slow
def test_a_full_disk_under_a_notebook(tmp_path, on_disk):
    note = write_notebook(tmp_path / "note.ipynb", LARGE)
    out = tmp_path / "disk" / "out"
    told = on_disk(ON_FULL, *NOTEBOOKS, note, "--output-dir", out)
    first, second = told.split("ROOM")
    assert "FAILED note.ipynb, OSError: " in first and FULL in first and "\nleft " not in first
    assert "done" in second


@pytest.mark.slow
def test_a_full_disk_under_the_records(tmp_path, on_disk):
    runs = tmp_path / "disk" / "runs"
    fill = 'head -c 60000 /dev/zero > "$0"/fill\n"$@"'
    told = on_disk(ON_FULL.replace('"$@"', fill, 1), *EXPERIMENTS, "--workers", 1, "--folder", runs)
    first, second = told.split("ROOM")
    assert FULL in first and "failed" in first and "done" in second
    left = {line for line in first.splitlines() if line.startswith("left runs/")}
    assert all(line.endswith(".json") for line in left) and len(left) < len(QUICK)


# ---- the download, from this machine

COMMAND_OF = """
import sys
from augment_utils import datasets
datasets.CIFAR10_URL, datasets.CIFAR10_SHA256 = sys.argv[1:3]
sys.argv[1:] = sys.argv[3:]
import augment_utils.__main__
"""


@pytest.fixture
def archive():
    return archive_of(batches_of(arrays()))


def fetching(url, archive, home):
    """A command that fetches the archive, and its environment."""
    environment = {"AUGMENT_DATA": "", "KERAS_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    return [sys.executable, "-c", COMMAND_OF, url, sha256(archive), "data"], environment


def test_a_full_disk_under_the_download(tmp_path, on_disk, archive):
    with serving(archive) as (url, _):
        command, environment = fetching(url, archive, tmp_path / "disk")
        first, second = on_disk(ON_FULL, *command, **environment).split("ROOM")
    assert "could not be fetched" in first and FULL in first and "KERAS_HOME" in first
    assert "\nleft " not in first and "50 training and 10 test images" in second


def test_two_downloads_at_once(tmp_path, archive):
    with serving(archive) as (url, _):
        command, environment = fetching(url, archive, tmp_path)
        outputs = at_once(command, **environment)
    assert all("50 training and 10 test images" in text for text in outputs)
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == [datasets.ARCHIVE_NAMES[0]]


# ---- two at once


def start(command, **environment):
    """In a session of its own, with the signals of a terminal's."""
    return subprocess.Popen(
        list(map(str, command)),
        env=os.environ | {"AUGMENT_DATA": "patches"} | environment,
        **ONE_TEXT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def at_once(command, **environment):
    """What two processes say that do the same; both must do it without an error."""
    processes = [start(command, **environment) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert not any("Traceback" in text for text in outputs), outputs
    return outputs


def test_two_runs_into_one_folder(tmp_path):
    note, out = write_notebook(tmp_path / "note.ipynb", GOOD), tmp_path / "out"
    for text in at_once([*NOTEBOOKS, note, "--output-dir", out]):
        assert text.rstrip().endswith("1  photo patches (not CIFAR-10)")
    assert {path.name for path in out.iterdir()} == {"note", "note.ipynb"}
    assert [path.name for path in (out / "note").iterdir()] == ["figure_01.png"]
    assert nbformat.read(out / "note.ipynb", 4).cells[2].outputs


@pytest.mark.slow
def test_two_experiments_into_one_folder(tmp_path):
    at_once([*EXPERIMENTS, "--workers", 1, "--folder", tmp_path])
    patches = paths_of(tmp_path, QUICK)
    assert set(tmp_path.iterdir()) == patches
    assert all(json.loads(path.read_text("utf-8")) for path in patches)


@pytest.mark.slow
def test_two_first_compilations(tmp_path):
    outputs = at_once([sys.executable, "-c", COMPILING], NUMBA_CACHE_DIR=str(tmp_path))
    assert [text.splitlines()[1:] for text in outputs] == [["255"], ["255"]]
    assert list(tmp_path.rglob("*stretch_bytes*.nbi"))


# ---- stopped

STOPS = pytest.mark.parametrize(("stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def stopped(process, stop, begun):
    """What it says if it is stopped when it has begun; none of its children outlives it."""
    try:
        wait_for(begun, process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(stop)
        told, _ = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
    finally:
        process.kill()
    if stop == signal.SIGINT:
        assert "Stopped. The same command can be given again." in told
    return told


@STOPS
def test_a_stopped_download(tmp_path, archive, stop, status):
    with serving(archive, stall=True) as (url, _):
        command, environment = fetching(url, archive, tmp_path)
        process = start(command, **environment)
        told = stopped(process, stop, lambda: any(p.stat().st_size for p in tmp_path.glob("*/*")))
    assert process.returncode == status and "Traceback" not in told
    assert list((tmp_path / "datasets").iterdir()) == []


@STOPS
def test_a_stopped_notebook(tmp_path, stop, status):
    note, out = write_notebook(tmp_path / "note.ipynb", SLEEPING), tmp_path / "out"
    process = start([*NOTEBOOKS, note, "--output-dir", out])
    stopped(process, stop, lambda: any("begun" in p.read_text("utf-8") for p in out.glob("*")))
    assert process.returncode == status
    assert list(out.iterdir()) == []


@pytest.mark.slow
@STOPS
def test_a_stopped_sweep_goes_on(tmp_path, stop, status):
    command = [*EXPERIMENTS, "--workers", "1", "--folder", tmp_path]
    process = start(command)
    told = stopped(process, stop, lambda: list(tmp_path.glob("*.json")))
    assert process.returncode == status and "Traceback" not in told
    assert set(tmp_path.iterdir()) < paths_of(tmp_path, QUICK)
    at_once(command)
    assert set(tmp_path.iterdir()) == paths_of(tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "stop", "status"),
    [
        ("grade", signal.SIGINT, 130),
        ("grade", signal.SIGTERM, 143),
        ("release", signal.SIGINT, 130),
    ],
)
def test_a_stopped_course(tmp_path, command, stop, status):
    folder, name = tmp_path / "course", course.assignments_of(ROOT / "assignments")[0]
    kept_submissions.build(folder, [name], ["nothing-done", "right"])
    process = start([sys.executable, "-m", "assignments", command, "--course", folder])
    children = psutil.Process(process.pid).children
    stopped(process, stop, lambda: "worker.py" in str([one.cmdline() for one in children()]))
    assert process.returncode == status
    assert not (folder / "grades").exists()  # nobody has no points because of it


# ---- names


def test_names_with_spaces_and_other_letters(tmp_path, monkeypatch):
    folder = tmp_path / "mes données 中文"
    checkout = copy_of_checkout(folder / "ma copie")
    monkeypatch.chdir(checkout)
    (folder / "home é").mkdir()
    environment = {
        "PYTHONPATH": str(checkout),
        "HOME": str(folder / "home é"),
        "KERAS_HOME": str(folder / "keras ü"),
    }
    small = folder / "klein ß.npz"
    done = call(
        "augment_utils", "data", "--subset", 50, small, AUGMENT_DATA="patches", **environment
    )
    assert done.returncode == 0, done.stderr
    assert len(load_cifar10(small).x_train) == 50
    (checkout / "notebooks").mkdir()
    note = write_notebook(
        checkout / "notebooks" / "mon carnet.ipynb", [*GOOD, "print(au.__file__)"]
    )
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        ["make", "--old-file", ".venv/.made-from-lock", "run"],
        env=os.environ | environment | {"AUGMENT_DATA": str(small)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "klein ß.npz" in done.stdout
    executed = nbformat.read(checkout / "build" / "executed" / note.name, 4)
    assert str(checkout) in executed.cells[3].outputs[0].text
