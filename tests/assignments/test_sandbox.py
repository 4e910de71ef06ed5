"""Where submissions run: what they can see, change and use up, and what is taken of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from assignments import sandbox
from assignments.worker import FigureData, Gone, Other, Raised, decode, encode

SECRET = "the points of somebody else"


@pytest.fixture(scope="module", params=["bwrap", "nobody", "alone"])
def box(request):
    """A sandbox of each kind that this machine has."""
    if request.param == "bwrap":
        request.getfixturevalue("bwrap")
    elif request.param == "nobody" and not sandbox.works("nobody"):
        pytest.skip("only root can run programs as nobody, and here nobody cannot read Python")
    with sandbox.sandbox(request.param) as made:
        yield made


@pytest.fixture
def process(box):
    with sandbox.shared_folder() as folder:  # pytest's own are its user's
        started = box.start(folder_with(folder, "helper.py", "x = 5"))
        yield started
        started.stop()


@pytest.fixture
def apart(bwrap, tmp_path):
    """A process that is kept apart by bubblewrap."""
    with sandbox.sandbox("bwrap") as made:
        started = made.start(folder_with(tmp_path, "helper.py", "x = 5"))
        yield started
        started.stop()


def folder_with(tmp_path, name, text):
    folder = tmp_path / "handed-in"
    folder.mkdir()
    (folder / name).write_text(text)
    return folder


def shows(process, source, seconds=20):
    """What a cell prints and shows, as text."""
    outputs = process.run(source, seconds)
    return "".join(
        one.get("text", "") + one.get("data", {}).get("text/plain", "") + one.get("ename", "")
        for one in outputs
    )


# ---- in every kind of sandbox


def test_a_notebook_runs_as_it_does_at_home(process):
    assert shows(process, "import helper\nhelper.x") == "5"  # handed in with the notebook
    assert shows(process, "print('a'); display(6); 7") == "a\n67"
    assert shows(process, "1 / 0") == "ZeroDivisionError"
    assert shows(process, "%%capture\nprint(1)") == ""
    assert shows(process, "import asyncio\nawait asyncio.sleep(0, 3)") == "3"
    assert "xy" in shows(process, "!echo x'y'")
    picture = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    assert any("image/png" in one.get("data", {}) for one in process.run(picture, 60))
    ours = "import augment_utils as au, numpy as np\nau.clahe(np.eye(8)).shape"
    assert shows(process, ours, 60) == "(8, 8)"


def test_a_function_is_called_by_position_and_told_on(process):
    process.run("def f(a, b=2, *, c=3):\n    a[0] = 9\n    return a, b, 'word', None, True", 20)
    result, changed, _, used = process.call(
        "f", np.zeros(3), np.float32(1), by_hand=False, seconds=20
    )
    assert result[0].tolist() == [9, 0, 0] and result[1:] == (1, "word", None, True)
    assert changed == [0] and used == []
    process.run("def g(a):\n    return a[1:]\ndef h(image):\n    return au.clahe(image)", 20)
    assert process.call("g", np.zeros(3), by_hand=False, seconds=20)[2] is True
    process.run("import augment_utils as au", 20)
    used = process.call("h", np.eye(8), by_hand=True, seconds=60)[3]
    assert "augment_utils.contrast" in used
    with pytest.raises(Raised, match="Undefined"):
        process.call("nothing", by_hand=False, seconds=20)


def test_functions_travel_both_ways(process):
    process.functions["right"] = lambda name, values, how: [how(value) for value in values]
    process.run("def ours(values, how):\n    return 'wrong'", 20)
    process.replace("ours", ["values", "how"])
    assert shows(process, "ours(how=lambda x: 10 * x, values=[1, 2])") == "[10, 20]"
    process.run("def twice(f, x):\n    return f(f(x, add=1), add=1)", 20)
    result = process.call("twice", lambda x, add: 2 * x + add, 3, by_hand=False, seconds=20)
    assert result[0] == 15


def test_what_runs_too_long_is_interrupted_and_what_does_not_hear_is_ended(process, monkeypatch):
    monkeypatch.setattr(sandbox, "GRACE", 2)
    process.run("x = 1", 20)
    assert shows(process, "while True:\n    pass", 0.5) == "TooLong"
    assert shows(process, "x") == "1"  # and goes on
    caught = "try:\n    while True:\n        pass\nexcept BaseException:\n    pass"
    assert shows(process, caught, 0.5) == "TooLong"
    assert shows(process, "x") == "1"
    deaf = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
    for source in (
        f"{deaf}while True:\n    pass",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "import os\nos._exit(0)",
    ):
        with pytest.raises(Gone):
            process.run(source, 0.5)
        assert shows(process, "x") == "NameError"  # in a new process
        process.run("x = 1", 20)


def test_memory_files_and_output_have_their_limits(process):
    assert shows(process, "x = bytearray(9 * 2**30)") == "MemoryError"
    assert shows(process, "open('x', 'wb').write(bytes(10**8))") == "OSError"
    assert len(shows(process, "for i in range(10**5):\n    print('x' * 100)", 60)) <= 20_000
    many = "for i in range(50):\n    plt.figure()\n    plt.show()"
    assert len(process.run(f"import matplotlib.pyplot as plt, warnings\n{many}", 60)) < 60


NONSENSE = {
    "no line": "b'x' * (40 << 20)",
    "no JSON": r"b'nonsense\n'",
    "no answer": r"""b'{"a": 1}\n'""",
    "a list": r"b'[]\n'",
    "a deep list": r"b'[' * 10**6 + b'\n'",
    "no array": r"""b'{"gave": {"array": "eA=="}}\n'""",
    "a pickle": r"""b'{"gave": {"array": "gASVDAAAAAAAAACMAm9zlIwGc3lzdGVtlJOULg=="}}\n'""",
    "a large array": r"""b'{"gave": {"array": "' + base64.b64encode(HUGE) + b'"}}\n'""",
}
HUGE = (
    "import base64, io, os, numpy as np\nfile = io.BytesIO()\n"
    "np.lib.format.write_array_header_1_0(file, "
    "dict(descr='<f8', fortran_order=False, shape=(10**14,)))\nHUGE = file.getvalue()\n"
)


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_ends_the_process_and_not_the_grader(process, what):
    speak = f"for f in range(3, 20):\n    try:\n        os.write(f, {NONSENSE[what]})\n"
    with pytest.raises(Gone):
        process.run(f"{HUGE}{speak}    except OSError:\n        pass", 20)
    assert shows(process, "1 + 1") == "2"


def test_all_that_a_submission_started_ends_with_it(process):
    mark = f"sleep {time.time():.3f}1"
    process.run(f"import subprocess\nsubprocess.Popen({mark.split()!r})", 20)
    process.stop()
    deadline = time.monotonic() + 10
    while mark in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_files_that_were_handed_in_do_not_stop_the_start(box):
    with sandbox.shared_folder() as folder:
        there = folder_with(folder, "traitlets.py", "raise ValueError")
        for name in ("json", "IPython", "numpy"):
            (there / f"{name}.py").write_text("raise ValueError")
        started = box.start(there)
        assert shows(started, "1 + 1") == "2"
        started.stop()


def test_that_nothing_can_be_started_is_no_students_fault(tmp_path):
    with sandbox.sandbox() as box:
        (box._kit / "worker.py").write_text("raise SystemExit")
        with pytest.raises(OSError, match="no process for submissions can be started"):
            box.start(folder_with(tmp_path, "x", "")).run("1", 5)


# ---- with bubblewrap


def test_nothing_of_the_machine_can_be_changed(apart, tmp_path):
    paths = [sys.prefix, os.path.dirname(sandbox.__file__), tmp_path, "/", "/usr", "/etc", "/home"]
    for path in paths:
        shows(apart, f"open({str(path)!r} + '/x', 'w')")
        assert not os.path.exists(f"{path}/x")
    shows(apart, f"import shutil\nshutil.rmtree({str(tmp_path)!r}, ignore_errors=True)")
    assert (tmp_path / "handed-in" / "helper.py").exists()
    removed = shows(apart, "%pip uninstall --yes nbgrader\n!pip uninstall --yes nbgrader", 60)
    assert "Successfully" not in removed


def test_what_is_others_cannot_be_read(apart, tmp_path, monkeypatch):
    (tmp_path / "gradebook.db").write_text(SECRET)
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    for path in (tmp_path / "gradebook.db", sandbox.__file__, "/etc/passwd", "/etc/shadow"):
        assert shows(apart, f"open({str(path)!r}).read()") == "FileNotFoundError"
    apart.stop()
    assert "TOKEN" not in shows(apart, "import os\nprint(dict(os.environ))")


def test_there_is_no_network_and_no_other_process(apart):
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        assert shows(apart, f"import socket\n{call}") in ("ConnectionRefusedError", "OSError")
    numbers = shows(apart, "import os\nprint([int(n) for n in os.listdir('/proc') if n.isdigit()])")
    assert str(os.getpid()) not in numbers.strip("[]\n").split(", ")
    assert shows(apart, f"os.kill({os.getpid()}, 0)") == "ProcessLookupError"


def test_the_folder_has_a_limit(apart):
    fill = "for i in range(100):\n    open(f'{i}', 'wb').write(bytes(6 * 10**7))"
    assert shows(apart, fill, 60) == "OSError"


# ---- without


def test_what_is_not_kept_apart_is_said():
    assert sandbox.WORDS["bwrap"] == ""
    assert "network" in sandbox.WORDS["nobody"] and "read" in sandbox.WORDS["nobody"]
    assert "gradebook" in sandbox.WORDS["alone"] and "network" in sandbox.WORDS["alone"]


def test_without_bubblewrap_the_next_best_is_taken(monkeypatch):
    monkeypatch.setattr(sandbox, "works", lambda way: False)
    with sandbox.sandbox() as box:
        assert box.way == "alone" and "no bubblewrap" in box.not_kept_apart
    monkeypatch.setattr(sandbox, "works", lambda way: way == "nobody")
    with sandbox.sandbox() as box:
        assert box.way == "nobody"


def test_bubblewrap_that_may_make_no_namespaces_does_not_count(tmp_path, monkeypatch):
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert sandbox.works.__wrapped__("bwrap") is False
    monkeypatch.setenv("PATH", "/nowhere")
    assert sandbox.works.__wrapped__("bwrap") is False


def test_a_stopped_grader_leaves_no_process(tmp_path):
    code = (
        "import sys, time, pathlib\nfrom assignments.sandbox import sandbox\n"
        "with sandbox() as box:\n    process = box.start(pathlib.Path(sys.argv[1]))\n"
        "    process.run('1', 20)\n    print(process._running.pid, flush=True)\n    time.sleep(99)"
    )
    grader = subprocess.Popen(
        [sys.executable, "-c", code, str(folder_with(tmp_path, "x", ""))],
        stdout=subprocess.PIPE,
        text=True,
    )
    with contextlib.closing(grader.stdout):
        child = int(grader.stdout.readline())
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and "Z" not in status_of(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status_of(process):
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat") as file:
        return file.read().split(")")[1].split()[0]
    return "Z"


# ---- what travels


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2.5, "word", [1, [2]], (1, "a"), np.arange(6).reshape(2, 3), np.float32(1.5)],
)
def test_a_value_comes_back_as_it_was(value):
    back = decode(encode(value))
    assert type(back) is type(value)
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value


def test_what_is_like_an_array_or_a_list_becomes_one():
    import itertools

    assert decode(encode(range(3))) == [0, 1, 2]
    assert decode(encode(x for x in "ab")) == ["a", "b"]
    assert len(encode(itertools.count())) == 1_000_000
    assert isinstance(decode(encode(np.ma.array([1, 2]))), np.ndarray)
    assert decode(encode(np.array([None, 1]))) == [None, 1]
    assert isinstance(decode(encode({"a": 1})), Other)
    assert repr(decode(encode(object()))) == "a object"


def test_of_a_figure_its_data_travels():
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots()
    axis.plot([1, 2])
    found = decode(encode(figure))
    plt.close(figure)
    assert isinstance(found, FigureData) and found.lines[0].tolist() == [1, 2]
