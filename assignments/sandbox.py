"""Where submissions run: a process each, that sees and changes as little as this machine allows."""

import base64
import binascii
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import augment_utils
from assignments import worker
from assignments.worker import Gone, Peer, Raised
from augment_utils.datasets import find_cached_archive

SPACE = 512 << 20  # bytes that a submission may fill: in memory, where there is bubblewrap
NOBODY = 65534
GRACE = 10  # seconds after its time is over, until a process is killed
START = 120  # seconds, on a busy machine
SYSTEM = (  # what programs need of it, and nothing that is anybody's own
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/fonts",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
)  # fmt: skip
WORDS = {  # how submissions are kept apart: what is not
    "bwrap": "",
    "nobody": (
        "There is no bubblewrap (bwrap): submissions run as the user nobody, in a folder of their "
        "own. They can use the network, see other processes, and read what everybody may read."
    ),
    "alone": (
        "There is no bubblewrap (bwrap): submissions run in a folder of their own, but with all "
        "your rights. They can read and change the gradebook, other submissions, this environment, "
        "use the network, and leave processes behind."
    ),
}


class Sandbox:
    """Starts processes for submissions, each kept apart from all the rest in the way that is named.

    Attributes
    ----------
    way : "bwrap", "nobody" or "alone"
    not_kept_apart : str
        What a teacher has to know of it; empty with bubblewrap.
    """

    def __init__(self, kit: Path, way: str) -> None:
        self.way, self.not_kept_apart = way, WORDS[way]
        self._kit, self._images, self._closed = kit, _images(), False
        self._processes: weakref.WeakSet[Process] = weakref.WeakSet()

    def start(self, handed_in: Path) -> "Process":
        """A process for one submission, with a copy of a folder."""
        process = Process(functools.partial(self._started, handed_in))
        self._processes.add(process)
        return process

    def close(self) -> None:
        """End all processes, and start no more."""
        self._closed = True
        for process in list(self._processes):
            process.stop()

    def _started(self, handed_in):
        if self._closed:
            raise RuntimeError("no more submissions are run")
        variables = {
            **{name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ},
            "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), "/usr/bin", "/bin"]),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as a notebook's kernel
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONHASHSEED": "0",
        }
        visible = [sys.prefix, sys.base_prefix, str(self._kit), str(handed_in)]
        if self._images:
            variables["AUGMENT_DATA"] = self._images
            visible += [self._images] if os.path.exists(self._images) else []
        program = [sys.executable, f"{self._kit}/worker.py", f"{self._kit}/home", str(handed_in)]
        place = None
        if self.way == "bwrap":
            program = [*_bwrap(visible), *program]
        else:
            place = tempfile.mkdtemp(prefix="submission-")
            if self.way == "nobody":
                os.chown(place, NOBODY, NOBODY)
        process = subprocess.Popen(
            program,
            cwd=place,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **_user(self.way),
        )
        return process, place


class Process:
    """A student's notebook at work; started anew when it has ended.

    Every method raises :class:`~assignments.worker.Gone` where the process ends instead of
    answering, and :class:`~assignments.worker.Raised` where the student's code raises.
    """

    def __init__(self, start: Callable) -> None:
        self._start, self._place = start, None
        self._running: Any = None
        self.functions: dict[str, Callable] = {}  # that the worker may call

    def run(self, source: str, seconds: float) -> list[dict]:
        """Run a cell: its outputs, as in a notebook's file."""
        sent = self._ask(seconds, "run", source, seconds)
        try:
            return [_output(**one) for one in json.loads(sent)]
        except (TypeError, ValueError, AttributeError) as error:
            self.stop()
            raise Gone("it sent nonsense") from error

    def call(self, name: str, *arguments: Any, by_hand: bool, seconds: float) -> tuple:
        """Call a function by position: result, changed arguments, shared memory, libraries."""
        found = self._ask(seconds, "call", name, list(arguments), by_hand, seconds)
        if not isinstance(found, tuple) or len(found) != 4:
            raise Gone("it sent nonsense")
        return found

    def value(self, name: str) -> Any:
        """What a name stands for."""
        return self._ask(GRACE, "value", name)

    def replace(self, name: str, parameters: list[str]) -> None:
        """Put the grader's version of a function in place of the student's."""
        self._ask(GRACE, "replace", name, parameters)

    def stop(self) -> None:
        """End it, and all that it started."""
        if self._running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()
        for pipe in (self._running.stdin, self._running.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        if self._place:
            shutil.rmtree(self._place, ignore_errors=True)
        self._running = None

    def _ask(self, seconds, name, *arguments):
        if self._running is None:
            self._running, self._place = self._start()
            files = self._running.stdout.fileno(), self._running.stdin.fileno()
            self._peer = Peer(*files, self.functions)
            self._peer.deadline = time.monotonic() + START
            try:
                self._peer.call("run", "", START)
            except Exception as error:  # no student's fault: none of their code has run yet
                self.stop()
                raise OSError(f"no process for submissions can be started: {error}") from error
        self._peer.deadline = time.monotonic() + seconds + GRACE
        try:
            return self._peer.call(name, *arguments)
        except Raised:
            raise
        except Exception as error:  # whatever nonsense an answer can be
            self.stop()
            raise (
                error if isinstance(error, Gone) else Gone(f"it sent nonsense: {error}")
            ) from error
        except BaseException:
            self.stop()
            raise


def _output(output_type, text="", data=None, ename="", evalue="", traceback=(), **_):
    """An output with nothing in it but text and a picture, whatever a student's process sends."""
    if output_type == "stream":
        return {"output_type": "stream", "name": "stdout", "text": str(text)}
    if output_type == "error":
        lines = [str(line) for line in traceback]
        what = {"ename": str(ename), "evalue": str(evalue), "traceback": lines}
        return {"output_type": "error", **what}
    kept = {"text/plain": str(data.get("text/plain", ""))}
    with contextlib.suppress(binascii.Error):
        picture = base64.b64encode(base64.b64decode(data.get("image/png", "")))
        kept |= {"image/png": picture.decode()} if picture else {}
    return {"output_type": "display_data", "data": kept, "metadata": {}}


@contextlib.contextmanager
def sandbox(way: str | None = None) -> Iterator[Sandbox]:
    """Find out how this machine can keep submissions apart, and prepare what they need.

    Parameters
    ----------
    way : "bwrap", "nobody", "alone" or None
        None: the first of them that works here.
    """
    _compile_kernels()
    with shared_folder() as kit:
        home = kit / "home"
        shutil.copytree(Path(augment_utils.__file__).parent, home / "augment_utils")
        shutil.copy(worker.__file__, kit / "worker.py")
        _copy_fonts(home / "matplotlib")
        yield Sandbox(kit, way or next(filter(works, ("bwrap", "nobody")), "alone"))


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder for a while, that other users may read."""
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@functools.cache
def works(way: str) -> bool:
    """Whether a way of keeping submissions apart works on this machine."""
    program = [sys.executable, "-c", "import numpy"]
    if way == "bwrap":
        if not shutil.which("bwrap"):
            return False
        program = [*_bwrap([sys.prefix, sys.base_prefix]), *program]
    if way == "nobody" and (not hasattr(os, "geteuid") or os.geteuid() != 0):
        return False
    with contextlib.suppress(OSError):
        done = subprocess.run(program, capture_output=True, cwd="/", env={}, **_user(way))
        return done.returncode == 0
    return False


def _user(way):
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if way == "nobody" else {}


def _bwrap(visible):
    """Nothing but this can be seen, and only an empty folder in memory can be written in."""
    read_only = [part for path in SYSTEM for part in ("--ro-bind-try", path, path)]
    own = [part for path in dict.fromkeys(visible) for part in ("--ro-bind", path, path)]
    here = str(Path("/tmp", "here"))
    return [
        *(
            shutil.which("bwrap") or "bwrap",
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
        ),
        *(*read_only, "--proc", "/proc", "--dev", "/dev", "--size", str(SPACE), "--tmpfs", "/tmp"),
        *("--dir", here, *own, "--chdir", here),
    ]


def _images():
    """Where the class's images are: "patches", a file, or None."""
    named = os.environ.get("AUGMENT_DATA") or find_cached_archive()
    return os.path.abspath(named) if named and named != "patches" else named or None


@functools.cache
def _compile_kernels():
    """Have the transforms compiled, for each submission gets a copy of what Numba keeps on disk."""
    for dtype in (np.uint8, np.float32, np.float64):
        image = np.zeros((8, 8, 3), dtype)
        image[:4] = 1
        for transform in ("contrast_stretching", "histogram_equalization", "clahe"):
            getattr(augment_utils, transform)(image)
        augment_utils.adaptive_histogram_equalization(image)


def _copy_fonts(folder):
    """What Matplotlib found of fonts takes seconds to find again."""
    import matplotlib.font_manager

    folder.mkdir(parents=True)
    for file in Path(matplotlib.get_cachedir()).glob("fontlist*.json"):
        shutil.copy(file, folder)
