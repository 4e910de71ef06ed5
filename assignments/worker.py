"""Runs a student's notebook, cell by cell, and calls its functions: all of their code runs in here.

sandbox.py starts this file as a program of its own, where it can do no harm; it imports nothing of
this folder. Grader and worker call each other over a pipe, in JSON, a line each. Arrays travel as
npy files, never as pickles, and functions as numbers: who calls such a number has it called at the
other end. Nothing that comes from here decides about points by itself: the grader compares it.
"""

import base64
import contextlib
import inspect
import io
import json
import os
import resource
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

MESSAGE = 32 << 20  # bytes at most
KINDS = "biufcUS"  # of arrays that travel: numbers and texts
# What does by itself what an assignment asks to write; _skimage2: from scikit-image 0.27 on
LIBRARIES = (
    "augment_utils.contrast", "augment_utils.kernels", "skimage.exposure", "_skimage2.exposure",
    "cv2", "PIL.ImageOps", "albumentations", "keras",
)  # fmt: skip
LIMITS = {
    resource.RLIMIT_DATA: 6 << 30,  # bytes of memory; TensorFlow wants one or two
    resource.RLIMIT_FSIZE: 64 << 20,
    resource.RLIMIT_NPROC: 512,  # threads too
    resource.RLIMIT_NOFILE: 512,
    resource.RLIMIT_CORE: 0,
}
ALARMS: list[float] = []  # when they rang
TEXT, PICTURES, PICTURE = 20_000, 12, 3 << 19  # characters, number and bytes that a cell may show


class Raised(Exception):
    """What was called at the other end raised this."""


class Undefined(Exception):
    """The student has no such name, or only the grader's version of it."""


class TooLong(KeyboardInterrupt):
    """What a cell or a call ends with when its time is over."""


class Gone(Exception):
    """The other end has ended, was stopped, or does not keep to the rules."""


# ---- the pipe


class Peer:
    """One of two ends that call each other; what one end waits for, it serves the other's calls."""

    def __init__(self, source: int, sink: int, functions: dict[str, Callable]) -> None:
        self._source, self._sink, self.functions = source, sink, functions
        self._buffer = bytearray()
        self._lent: list[Callable] = []
        self.deadline: float | None = None  # by time.monotonic
        os.set_blocking(source, False)
        os.set_blocking(sink, False)

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Have the other end call one of its functions.

        Raises
        ------
        Raised
            The function did.
        Gone
            There is no answer, by the deadline or at all.
        """
        lend = self._lend
        values = {key: encode(value, lend) for key, value in named.items()}
        self._send({"do": name, "with": [encode(a, lend) for a in arguments], "named": values})
        return self.serve()

    def serve(self) -> Any:
        """Answer calls until the answer to the own one is there."""
        while True:
            message = self._receive()
            if "gave" in message:
                return decode(message["gave"], self._borrow)
            if "raised" in message:
                raise Raised(str(message["raised"]))
            self._send(self._answer(message))

    def _answer(self, message):
        try:
            arguments = [decode(value, self._borrow) for value in message["with"]]
            named = {key: decode(value, self._borrow) for key, value in message["named"].items()}
            name = message["do"]
            function = self._lent[name] if isinstance(name, int) else self.functions[name]
            return {"gave": encode(function(*arguments, **named), self._lend)}
        except Gone:
            raise
        except BaseException as error:
            return {"raised": f"{type(error).__name__}: {error}"[:500].rstrip(": ")}

    def _lend(self, function):
        self._lent.append(function)
        return len(self._lent) - 1

    def _borrow(self, number):
        return Remote(self, int(number))

    def _send(self, message):
        line = json.dumps(message).encode() + b"\n"
        if len(line) > MESSAGE:
            raise ValueError(f"{len(line)} bytes are too many to send")
        view = memoryview(line)
        while view:
            self._wait(self._sink, select.POLLOUT)
            try:
                view = view[os.write(self._sink, view) :]
            except OSError as error:
                raise Gone("it has ended") from error

    def _receive(self):
        while (end := self._buffer.find(b"\n")) < 0:
            self._wait(self._source, select.POLLIN)
            part = os.read(self._source, 1 << 20)
            self._buffer += part
            if not part or len(self._buffer) > MESSAGE:
                raise Gone("it sent too much" if part else "it has ended")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
            if not {"gave", "raised", "do"} & set(message):
                raise ValueError("neither call nor answer")
            return message
        except (ValueError, TypeError, RecursionError) as error:
            raise Gone(f"it sent nonsense: {error}") from error

    def _wait(self, file, event):
        poll = select.poll()
        poll.register(file, event)
        left = None if self.deadline is None else 1000 * (self.deadline - time.monotonic())
        if (left is not None and left <= 0) or not poll.poll(left):
            raise Gone("its time was over")


class Remote:
    """A function, or a model, at the other end."""

    def __init__(self, peer: Peer, number: int) -> None:
        self._peer, self._number = peer, number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._peer.call(self._number, *arguments, **named)  # type: ignore[arg-type]

    predict = __call__


class Other:
    """In place of what cannot be sent: its type's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"a {self.name}"


class FigureData:
    """In place of a figure: its lines, its bars and its labels."""

    def __init__(self, lines: list, bars: list, labels: list) -> None:
        self.lines, self.bars, self.labels = lines, bars, labels

    def __repr__(self) -> str:
        return f"a figure of {len(self.lines)} lines and {len(self.bars)} groups of bars"


def encode(value: Any, lend: Callable[[Any], int] | None = None) -> Any:
    """A value as JSON: as an array what is one to NumPy, and as a list what can be iterated."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "__array__") and not isinstance(value, type):
        array = np.asarray(value)
        if array.dtype.hasobject:
            return encode(array.tolist(), lend)
        if array.nbytes > MESSAGE // 2:
            raise ValueError(f"an array of {array.shape} is too large")
        if array.dtype.kind not in KINDS:
            return {"other": f"array of {array.dtype}"}
        file = io.BytesIO()
        np.lib.format.write_array(file, array, allow_pickle=False)
        kind = "scalar" if isinstance(value, np.generic) else "array"
        return {kind: base64.b64encode(file.getvalue()).decode()}
    if isinstance(value, tuple):
        return {"tuple": [encode(item, lend) for item in value]}
    if type(value).__name__ == "Figure" and hasattr(value, "axes"):
        from augment_utils.classroom import figure_data

        return {"figure": [encode(data) for data in figure_data(value)]}
    if callable(value) and lend:
        return {"function": lend(value)}
    if isinstance(value, Iterable) and not isinstance(value, dict | bytes):
        return [encode(item, lend) for item, _ in zip(value, range(1_000_000), strict=False)]
    with contextlib.suppress(Exception):
        return float(value)
    return {"other": type(value).__name__}


def decode(value: Any, borrow: Callable[[int], Any] | None = None) -> Any:
    """What :func:`encode` made JSON of."""
    if isinstance(value, list):
        return [decode(item, borrow) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind in ("array", "scalar"):
        file = io.BytesIO(base64.b64decode(content))
        array = np.lib.format.read_array(file, allow_pickle=False)
        if array.dtype.kind not in KINDS:
            raise ValueError(f"arrays of {array.dtype} are not taken")
        return array[()] if kind == "scalar" else array
    if kind == "tuple":
        return tuple(decode(item, borrow) for item in content)
    if kind == "figure":
        return FigureData(*(decode(item) for item in content))
    if kind == "function" and borrow:
        return borrow(content)
    return Other(str(content))


# ---- the student's notebook


class Notebook:
    """What the grader has done in here, by name: `run`, `call`, `value` and `replace`."""

    def __init__(self) -> None:
        self._shell = _shell()
        self._names: dict[str, Any] = self._shell.user_ns
        self._peer: Peer | None = None
        self._replaced: dict[str, Any] = {}

    def serve(self, source: int, sink: int) -> None:
        """Until the grader hangs up."""
        names = ("run", "call", "value", "replace")
        self._peer = Peer(source, sink, {name: getattr(self, name) for name in names})
        signal.signal(signal.SIGALRM, _too_long)
        with contextlib.suppress(Gone):
            self._peer.serve()

    def run(self, source: str, seconds: float) -> str:
        """Run a cell; its outputs as nbformat has them, in JSON, the last one the error."""
        outputs = self._shell.outputs = []
        printed, alarms = _Limited(), len(ALARMS)
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            _time(seconds),
        ):
            self._shell.run_cell(source, store_history=True)
        if len(ALARMS) > alarms and not (outputs and outputs[-1].get("ename") == "TooLong"):
            # it was caught, or rang again while IPython wrote of it
            what = {"ename": "TooLong", "evalue": "ran too long", "traceback": []}
            outputs.append({"output_type": "error", **what})
        if text := printed.getvalue():
            stream = {"output_type": "stream", "name": "stdout", "text": text}
            outputs.insert(0, stream)
        return json.dumps(outputs)

    def call(self, name: str, arguments: list, by_hand: bool, seconds: float) -> tuple:
        """Call one of the student's functions by position.

        Gives the result, the arguments that it changed (their places), whether the result lies in
        an argument's memory, and the libraries that did its work.
        """
        function, before = self._find(name), [np.copy(a) for a in arguments if _is_array(a)]
        arrays = [(place, a) for place, a in enumerate(arguments) if _is_array(a)]
        nowhere = _Limited()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            with _time(seconds), _watched(by_hand) as used:
                result = function(*arguments)
            changed = [
                place
                for (place, array), old in zip(arrays, before, strict=True)
                if not np.array_equal(array, old, equal_nan=array.dtype.kind == "f")
            ]
            shared = [p for p, a in arrays if _is_array(result) and np.shares_memory(result, a)]
            if pyplot := sys.modules.get("matplotlib.pyplot"):
                pyplot.close("all")
        return result, changed, bool(shared), sorted(used)

    def value(self, name: str) -> Any:
        """What one of the student's names stands for."""
        return self._find(name)

    def replace(self, name: str, parameters: list[str]) -> None:
        """Put the grader's version in a function's place, to be called as the student's is."""
        own = self._names.get(name)
        ours = inspect.Signature(
            [inspect.Parameter(p, inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in parameters]
        )
        try:
            theirs = inspect.signature(own)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            theirs = ours

        peer = self._peer
        assert peer is not None  # it is who asks for this

        def right(*arguments, **named):
            try:
                bound = theirs.bind(*arguments, **named)
            except TypeError:
                bound = ours.bind(*arguments, **named)
            bound.apply_defaults()
            given = [*bound.args, *bound.kwargs.values()][: len(parameters)]
            return peer.call("right", name, *given)

        right.__name__ = right.__qualname__ = name
        self._names[name] = self._replaced[name] = right

    def _find(self, name):
        ours = name in self._replaced and self._names.get(name) is self._replaced[name]
        if ours or name not in self._names:
            raise Undefined(name)
        return self._names[name]


def _shell():
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Hook(DisplayHook):
        def write_output_prompt(self):
            pass

        def write_format_data(self, format_dict, md_dict=None):
            _keep(shell.outputs, format_dict)

    class Publisher(DisplayPublisher):
        def publish(self, data, metadata=None, *arguments, **options):
            _keep(shell.outputs, data)

    class Shell(InteractiveShell):
        outputs: list = []  # noqa: RUF012 (a new one for each cell)

        def _showtraceback(self, etype, evalue, stb):
            name = getattr(etype, "__name__", str(etype))
            what = {"ename": name, "evalue": str(evalue)[:TEXT], "traceback": _short(stb)}
            self.outputs.append({"output_type": "error", **what})

        def ask_exit(self):
            raise SystemExit("exit")

    config = Config(HistoryManager={"enabled": False}, InteractiveShell={"colors": "NoColor"})
    shell = Shell.instance(displayhook_class=Hook, display_pub_class=Publisher, config=config)
    return shell


def _keep(outputs, data):
    """Text and pictures, and nothing that a page could run."""
    kept = {"text/plain": str(data.get("text/plain", ""))[:TEXT]}
    picture = data.get("image/png", "")
    if isinstance(picture, bytes):
        picture = base64.b64encode(picture).decode()
    if (
        0 < len(picture) < PICTURE
        and sum("image/png" in o.get("data", {}) for o in outputs) < PICTURES
    ):
        kept["image/png"] = picture
    if len(outputs) < 10 * PICTURES:
        outputs.append({"output_type": "display_data", "data": kept})


def _short(lines):
    return [line[:TEXT] for line in lines[-30:]]


class _Limited(io.StringIO):
    """Keeps the beginning of what is printed."""

    def write(self, text):
        if (left := TEXT - self.tell()) > 0:
            super().write(text[:left])
        return len(text)

    def isatty(self):
        return False


def _is_array(value):
    return isinstance(value, np.ndarray)


@contextlib.contextmanager
def _time(seconds):
    """An alarm, and again some seconds later for who does not hear it."""
    signal.setitimer(signal.ITIMER_REAL, seconds, 4)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(number, frame):
    ALARMS.append(time.monotonic())
    raise TooLong("ran too long")


@contextlib.contextmanager
def _watched(by_hand):
    """Which libraries do the work."""
    used: set[str] = set()

    def watch(frame, event, argument):
        called = frame.f_globals.get("__name__") if event == "call" else None
        called = getattr(argument, "__module__", None) if event == "c_call" else called
        used.update(name for name in LIBRARIES if f"{called}.".startswith(f"{name}."))

    if not by_hand:
        yield used
        return
    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield used
    finally:
        if sys.getprofile() is not watch:
            used.add("sys.setprofile")
        sys.setprofile(None)
        threading.setprofile(None)


def main(kit: str, handed_in: str) -> None:
    """Set the limits, take what is needed into this folder, the only one, and serve."""
    for limit, most in LIMITS.items():
        resource.setrlimit(limit, (most, most))
    here = Path.cwd()
    shutil.copytree(kit, here / "home")  # a copy, for Numba and Matplotlib write beside their files
    with contextlib.suppress(OSError, shutil.Error):  # what is too large, or gone
        shutil.copytree(handed_in, here / "work")
    (here / "work").mkdir(exist_ok=True)
    sys.path[0] = str(here / "home")  # and not this file's folder
    os.environ |= {
        "HOME": str(here / "home"),
        "PYTHONPATH": str(here / "home"),
        "MPLCONFIGDIR": str(here / "home" / "matplotlib"),
    }
    os.chdir(here / "work")
    source, sink = os.dup(0), os.dup(1)  # which the student's own processes do not inherit
    with open(os.devnull, "r+b") as nowhere:
        for file in range(3):
            os.dup2(nowhere.fileno(), file)
    notebook = Notebook()
    sys.path.insert(0, "")  # from here on, what was handed in beside the notebook
    notebook.serve(source, sink)


if __name__ == "__main__":
    main(*sys.argv[1:])
