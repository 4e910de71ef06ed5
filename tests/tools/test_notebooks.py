"""`python -m tools.notebooks`, as a user calls it."""

import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from tests.common import NO_NETWORK, call, write_notebook
from tools import notebooks

GOOD = [
    "import augment_utils as au\nfrom augment_utils.plotting import plot_images, show",
    new_code_cell(
        "data = au.load_cifar10()\nprint(data)",
        metadata={"tags": ["dataset", "nbval-ignore-output"]},
    ),
    new_code_cell(
        'show(plot_images(data.x_train[:3]), alt="Three images of the data, in a row.")',
        metadata={"tags": ["thumbnail"]},
    ),
]
BAD = ["x = 1", "x / 0", "print('never')"]


def test_run_goes_on_after_a_failure_and_ends_with_a_table(tmp_path):
    folder = tmp_path / "my notebooks é"
    folder.mkdir()
    bad = write_notebook(folder / "01_bad.ipynb", BAD)
    good = write_notebook(folder / "02_good.ipynb", GOOD)
    committed = good.read_bytes()
    out = tmp_path / "out"
    done = call("tools.notebooks", bad, good, "--output-dir", out, AUGMENT_DATA="patches")
    assert done.returncode == 1
    assert "FAILED 01_bad.ipynb, cell 2: ZeroDivisionError: division by zero" in done.stderr
    assert "02_good: 100%" in done.stderr and "3/3" in done.stderr  # notebook and cell
    header, *rows = done.stdout.strip().splitlines()
    assert header.split() == ["notebook", "seconds", "figures", "data"]
    assert [row.split()[0] for row in rows] == ["01_bad.ipynb", "02_good.ipynb"]
    assert [row.split()[2] for row in rows] == ["0", "1"]
    assert rows[1].endswith("photo patches (not CIFAR-10)")
    assert good.read_bytes() == committed
    assert nbformat.read(out / "02_good.ipynb", 4).cells[2].outputs
    assert (out / "02_good" / "figure_01.png").read_bytes()[:4] == b"\x89PNG"


def test_run_without_data_and_network_says_so_once_and_goes_on(tmp_path):
    good = write_notebook(tmp_path / "good.ipynb", GOOD)
    done = call(
        *("tools.notebooks", good, "--output-dir", tmp_path / "out"),
        KERAS_HOME=tmp_path / "keras",
        **NO_NETWORK,
    )
    assert done.returncode == 0
    assert done.stderr.count("THESE ARE NOT CIFAR-10'S IMAGES") == 1
    assert "photo patches (not CIFAR-10)" in done.stdout


def test_run_says_why_a_notebook_could_not_be_executed(tmp_path):
    text, dead = tmp_path / "01_text.ipynb", tmp_path / "02_dead.ipynb"
    text.write_text("no notebook", "utf-8")
    write_notebook(dead, ["import os\nos._exit(1)"])
    done = call(
        "tools.notebooks", text, dead, "--output-dir", tmp_path / "out", AUGMENT_DATA="patches"
    )
    assert done.returncode == 1
    assert "FAILED 01_text.ipynb, NotJSONError: " in done.stderr
    assert "FAILED 02_dead.ipynb, DeadKernelError: " in done.stderr
    assert [line.split()[2] for line in done.stdout.strip().splitlines()[1:]] == ["0", "0"]


def test_another_tier_is_not_committed(tmp_path):
    done = call("tools.notebooks", "--refresh", "--tier", "smoke", "--output-dir", tmp_path / "out")
    assert done.returncode == 2 and "no other" in done.stderr


def test_run_takes_a_relative_path_of_the_data(tmp_path, monkeypatch):
    write_notebook(tmp_path / "good.ipynb", GOOD)
    (tmp_path / "elsewhere").mkdir()
    call("augment_utils", "data", "--subset", 50, tmp_path / "small.npz", AUGMENT_DATA="patches")
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = call(
        "tools.notebooks", "../good.ipynb", "--output-dir", "out", AUGMENT_DATA="../small.npz"
    )
    assert done.returncode == 0 and "small.npz" in done.stdout


def test_run_refuses_data_that_is_not_there(tmp_path):
    done = call("tools.notebooks", AUGMENT_DATA=tmp_path / "gone.npz")
    assert done.returncode == 1
    assert "AUGMENT_DATA" in done.stderr and "gone.npz: there is no such file" in done.stderr


def test_refresh_takes_outputs_and_thumbnail(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "IMAGES", tmp_path / "images")
    monkeypatch.setenv("AUGMENT_DATA", "patches")
    good = write_notebook(tmp_path / "good.ipynb", GOOD)
    ids = [cell.id for cell in nbformat.read(good, 4).cells]
    notebooks.main(
        [str(good), "--output-dir", str(tmp_path / "out"), "--refresh"],
        standalone_mode=False,
    )
    notebook = nbformat.read(good, 4)
    assert [cell.id for cell in notebook.cells] == ids
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert "papermill" not in notebook.metadata
    ((_, png),) = notebooks.figures_of(notebook.cells)
    assert (tmp_path / "images" / "good.png").read_bytes() == png


def test_refresh_takes_nothing_when_a_notebook_fails(tmp_path):
    good = write_notebook(tmp_path / "good.ipynb", GOOD)
    bad = write_notebook(tmp_path / "bad.ipynb", BAD)
    before = good.read_bytes()
    done = call(
        *("tools.notebooks", good, bad, "--output-dir", tmp_path / "out", "--refresh"),
        AUGMENT_DATA="patches",
    )
    assert done.returncode == 1 and good.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sockets in files")
def test_a_kernel_listens_on_no_port(tmp_path):
    """Another program could take it before the kernel listens."""
    cells = ["import ipykernel", "ipykernel.get_connection_info(unpack=True)['transport']"]
    note = write_notebook(tmp_path / "note.ipynb", cells)
    assert notebooks.execute(note, tmp_path / "done.ipynb", tier=None) is None
    (output,) = nbformat.read(tmp_path / "done.ipynb", 4).cells[1].outputs
    assert output.data["text/plain"] == "'ipc'"
