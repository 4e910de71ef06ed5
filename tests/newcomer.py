"""Follow the README as a newcomer does, and measure it: an empty folder, an empty home, no data.

`make newcomer` puts the times into both READMEs. The commands are read out of FOLLOWED; what a
command must do, or why it is left out, is in OUTCOMES, and one that is not there is an error. Of
the network only the package index is within reach.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from augment_utils.contrast import processor_count
from tests.common import NO_NETWORK
from tools import ROOT
from tools.files import write_file, write_json
from tools.pages import machine, put_between_marks

COMMAND = "make newcomer"
RESULTS = ROOT / "results" / "newcomer.json"
FOLLOWED = ("README.md", "book/run.md", "results/report.md", "results/speed.md")
CLONE = "Notizbücher 笔记本"  # a path with a space, and with more than ASCII
KEPT = (
    *("PATH", "LANG", "LC_ALL", "TERM", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *("PYTHON", "PYTEST_ADDOPTS"),  # which Python make takes, and which tests
)
PATCHES = "photo patches (not CIFAR-10)"
LAB = re.compile(r"http://127\.0\.0\.1:\d+/lab/tree/\S+token=\w+")
LONGEST = 2 * 60 * 60  # seconds


# ---- what must come of a command


class Done(NamedTuple):
    code: int
    printed: str
    clone: Path


def all_notebooks_ran(done):
    names = [path.name for path in sorted((done.clone / "notebooks").glob("*.ipynb"))]
    rows = re.findall(r"^(\d\d_\w+\.ipynb) +[\d.]+ +(\d+) +(.*)$", done.printed, re.M)
    assert done.code == 0 and [name for name, _, _ in rows] == names
    assert all(int(figures) > 0 and data == PATCHES for _, figures, data in rows), rows
    assert done.printed.count("THESE ARE NOT CIFAR-10'S IMAGES") == 1


def all_tests_passed(done):
    last = done.printed.strip().splitlines()[-1]
    assert done.code == 0 and re.search(r"\b\d+ passed\b", last), last
    assert f"images: {PATCHES}" in done.printed


def lab_opened(done):
    assert "<title>JupyterLab</title>" in done.printed


def targets_were_listed(done):
    assert done.code == 0 and re.search(r"^run +\w+", done.printed, re.M)


def book_was_built(done):
    page = re.search(r"^Open (.*\.html)$", done.printed, re.M)[1]
    assert done.code == 0 and (done.clone / page).exists()


def download_failed(done):
    assert done.code != 0 and "CIFAR-10 could not be fetched" in done.printed


def archive_was_missed(done):
    assert done.code != 0 and "there is no such file or folder" in done.printed


def subset_was_written(done):
    name = re.search(r"AUGMENT_DATA=(\S+\.npz)", done.printed)[1]
    assert done.code == 0 and (done.clone / name).stat().st_size < 3e6


def no_page_changed(done):
    command = ["git", "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(command, cwd=done.clone, capture_output=True, text=True, check=True)
    assert done.code == 0 and changed.stdout == "", changed.stdout


def it_ended_well(done):
    assert done.code == 0


OUTCOMES: dict[str, Callable | str] = {
    r"make run": all_notebooks_ran,
    r"make test": all_tests_passed,
    r"make lab": lab_opened,
    r"make help": targets_were_listed,
    r"make book": book_was_built,
    r"make data": download_failed,
    r"AUGMENT_DATA=\S+\.tar\.gz make run": archive_was_missed,
    r"python .* data --subset .*": subset_was_written,
    r"make results": no_page_changed,
    r"python -m benchmarks --quick": it_ended_well,
    r"(AUGMENT_DATA=patches )?make run.*": "like the first, but for Python, images or sizes",
    r"make bench|make newcomer|python -m experiments run": "minutes and hours of measuring",
    r"python -m venv .*|\.venv.Scripts.*|pip .*|pytest|jupyter lab": "make, by hand",
    r"python -m tools.notebooks": "make run, by hand",
    r"python -m tools.notebooks --output-dir FOLDER": "test_faults.py has the read-only checkout",
    r"conda .*": "conda comes from elsewhere",
    r".*and-cuda.*": "gigabytes for a GPU",
}


# ---- what the README says


def commands():
    """What the pages say to type, once, in their order."""
    text = "\n".join((ROOT / page).read_text("utf-8") for page in FOLLOWED)
    text = re.sub(
        r"<!-- made by `(.+?)`: begin -->.*?<!-- made by `\1`: end -->", "", text, flags=re.S
    )
    found = re.findall(r"^```sh\n(.*?)^```|`((?:make|python) [^`]+)`", text, re.M | re.S)
    lines = [
        line.partition(" # ")[0].strip() for pair in found for line in "".join(pair).split("\n")
    ]
    return [line for line in dict.fromkeys(lines) if line]


def outcome_of(command):
    """The check of its outcome, or why it is left out."""
    found = [outcome for pattern, outcome in OUTCOMES.items() if re.fullmatch(pattern, command)]
    if not found:
        raise ValueError(f"a page says `{command}`, of which {Path(__file__).name} knows nothing")
    return found[0]


def activation():
    """How book/run.md says to enter the environment."""
    return re.search(r"`(source [^`]+)`", (ROOT / "book/run.md").read_text("utf-8"))[1]


# ---- following it


def follow(folder):
    """Clone into an empty folder, and type what the README says; return what was measured.

    Everything goes into the folder, and what was printed into log.txt there.
    """
    folder = Path(folder).resolve()
    clone, environment = folder / CLONE, newcomers(folder / "home")
    watch = Watch(folder, clone)
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    watch.start()
    seconds = {}
    for command in commands():
        outcome = outcome_of(command)
        if isinstance(outcome, str):
            print(f"{command:55} left out: {outcome}", flush=True)
            continue
        begin = time.perf_counter()
        outcome(Done(*type_in(command, clone, environment, folder / "log.txt"), clone))
        seconds[command] = round(time.perf_counter() - begin)
        print(f"{command:55} {seconds[command]} s: {outcome.__name__}", flush=True)
    return {
        "first_figure": {"seconds": round(watch.seconds), "bytes": watch.bytes},
        "seconds": seconds,
        "bytes": size_of(folder),
    }


class Watch(threading.Thread):
    """How long it takes from now to the first figure, and how much there is on the disk by then."""

    def __init__(self, folder, clone):
        super().__init__(daemon=True)
        self.folder, self.executed = folder, clone / "build" / "executed"
        self.start_of_clone = time.perf_counter()
        self.seconds, self.bytes = None, None

    def run(self):
        while not self.has_a_figure():
            time.sleep(0.2)
        self.seconds = time.perf_counter() - self.start_of_clone
        self.bytes = size_of(self.folder)

    def has_a_figure(self):
        for path in self.executed.glob("*.ipynb"):
            with contextlib.suppress(FileNotFoundError):  # gets another name when it is done
                if b'"image/png"' in path.read_bytes():
                    return True
        return False


def newcomers(home):
    """The environment of somebody who has nothing yet; only the package index can be reached."""
    home.mkdir(parents=True)
    if os.geteuid() == 0:  # JupyterLab refuses root, who is alone in a container
        settings = home / ".jupyter" / "jupyter_server_config.json"
        write_json(settings, {"ServerApp": {"allow_root": True}})
    kept = {k: v for k, v in os.environ.items() if k in KEPT or k.startswith("PIP_")}
    index = urlsplit(os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple")).hostname
    near = ",".join(["127.0.0.1", "localhost", index, "files.pythonhosted.org"])
    if own_proxy := os.environ.get("HTTPS_PROXY", os.environ.get("https_proxy")):
        kept["PIP_PROXY"] = own_proxy
    kept |= {"HOME": str(home), "BROWSER": "true"}  # `true` opens nothing
    return kept | NO_NETWORK | {"NO_PROXY": near, "no_proxy": near}


def type_in(command, clone, environment, log):
    """Exit status and what is printed; of JupyterLab, which does not end, its page too."""
    if command.startswith("python "):
        command = f"{activation()} && {command}"
    printed = ""
    with (
        open(log, "a", encoding="utf-8") as file,
        subprocess.Popen(
            ["bash", "-c", command],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            encoding="utf-8",
        ) as process,
    ):
        file.write(f"$ {command}\n")
        stop = threading.Timer(LONGEST, os.killpg, [process.pid, signal.SIGKILL])
        stop.daemon = True
        stop.start()
        for line in process.stdout:
            file.write(line)
            file.flush()
            printed += line
            if (address := LAB.search(line)) and "<title>" not in printed:
                printed += page_at(address[0])
                os.killpg(process.pid, signal.SIGTERM)
        stop.cancel()
    return process.returncode, printed


def page_at(address):
    """The text of a page whose server is about to listen, or why there is none."""
    for _ in range(60):
        try:
            with urllib.request.urlopen(address, timeout=60) as page:
                return page.read().decode()
        except OSError as error:
            reason = str(error)
            time.sleep(1)
    return reason


def size_of(folder):
    """Of all files in it on the disk, in bytes."""
    files = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_blocks * 512 for path in files if path.is_symlink() or path.exists())


# ---- what both READMEs say of it


def english(results):
    """The README's sentence."""
    of = results["machine"]
    return textwrap.fill(
        f"Measured on {results['date']} with {of['cores']} cores and no GPU ({of['system']}, "
        f"Python {of['python']}), from an empty home: the first figure "
        f"{minutes(results['first_figure']['seconds'])} after `git clone`, `make run` done in "
        f"{minutes(results['seconds']['make run'])}, {gigabytes(results['first_figure']['bytes'])} "
        "on the disk, pip's cache among them.",
        100,
        break_on_hyphens=False,
    )


def chinese(results):
    """The same for the README in Chinese."""
    of = results["machine"]
    return (
        f"{results['date']} 实测（{of['cores']} 个核心，没有 GPU，{of['system']}，"
        f"Python {of['python']}，主目录为空）：`git clone` 之后"
        f" {minutes(results['first_figure']['seconds'], ' 分钟')}出现第一幅图，"
        f"`make run` 用 {minutes(results['seconds']['make run'], ' 分钟')}，"
        f"占用磁盘 {gigabytes(results['first_figure']['bytes'])}（含 pip 的缓存）。"
    )


PAGES = {ROOT / "README.md": english, ROOT / "README.zh-CN.md": chinese}


def minutes(seconds, unit=" minutes"):
    return f"{seconds / 60:.0f}{unit}"


def gigabytes(count):
    return f"{count / 1e9:.1f} GB"


def main():
    """Follow the README in a temporary folder; write down what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        measured = follow(folder)
    of = machine() | {"cores": processor_count()}
    tests = os.environ.get("PYTEST_ADDOPTS", "all")
    date = datetime.now(UTC).date().isoformat()
    results = {"date": date, "machine": of, "tests": tests, **measured}
    texts = {
        page: put_between_marks(page.read_text("utf-8"), text(results), COMMAND)
        for page, text in PAGES.items()
    }
    write_json(RESULTS, results)
    for page, text in texts.items():
        write_file(page, text.encode())


if __name__ == "__main__":
    main()
