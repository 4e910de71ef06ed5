"""`make address`, with an address and without one: on a copy of what it writes into."""

import re
import shutil

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.common import python
from tests.notebooks.rules import PATHS, code_cells, problems
from tools import ROOT
from tools.address import public_address, write_address
from tools.pages import marks

ADDRESS = "https://github.com/example/example"
STATES = pytest.mark.parametrize("address", [ADDRESS, None])
READMES = ("README.md", "README.zh-CN.md")
LAUNCH = (
    "https://colab.research.google.com/github/example/example/blob/main/",
    "https://mybinder.org/v2/gh/example/example/HEAD?labpath=",
)
LINE = re.compile(r"^(# )?Repository = .*", re.MULTILINE)
WITHOUT_THE_MODULE = """import sys
from IPython import get_ipython

def pip(line):
    print(line)
    del sys.modules["augment_utils"]

sys.modules["augment_utils"] = None
get_ipython().register_magic_function(pip)"""


@pytest.fixture
def copy(tmp_path):
    for name in ("pyproject.toml", "CITATION.cff", *READMES):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    return tmp_path


def set_address(folder, address):
    """What somebody does by hand, and then the command."""
    line = f'Repository = "{address}"' if address else '# Repository = ""'
    path = folder / "pyproject.toml"
    text, count = LINE.subn(line, path.read_text("utf-8"))
    assert count == 1
    path.write_text(text, "utf-8")
    write_address(folder)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made_part(folder, name):
    """What stands between the marks of a README."""
    begin, end = marks("make address")
    return (folder / name).read_text("utf-8").split(begin)[1].split(end)[0]


def test_what_is_committed_is_what_it_writes(copy):
    before = contents(copy)
    write_address(copy)
    assert contents(copy) == before


def test_a_second_time_changes_nothing_and_each_state_can_be_left_again(copy):
    seen = {}
    for address in (None, ADDRESS, None, ADDRESS):
        set_address(copy, address)
        after = contents(copy)
        assert seen.setdefault(address, after) == after
        write_address(copy)
        assert contents(copy) == after
    changed = {path.name for path in seen[None] if seen[None][path] != seen[ADDRESS][path]}
    assert changed == {"pyproject.toml", "CITATION.cff", *READMES, *(p.name for p in PATHS)}


@pytest.mark.parametrize("name", READMES)
def test_a_readme_without_an_address_has_no_badge(copy, name):
    set_address(copy, None)
    part = made_part(copy, name)
    assert "git clone ADDRESS image-augmentation\ncd image-augmentation\n" in part
    assert "https:" not in part and part.count("ADDRESS") == 2


@pytest.mark.parametrize("name", READMES)
def test_a_readme_with_an_address_has_badges_and_the_clone_command(copy, name):
    set_address(copy, ADDRESS)
    part = made_part(copy, name)
    assert f"git clone {ADDRESS} image-augmentation\ncd image-augmentation\n" in part
    assert re.findall(r"^\[!\[.{14,}\]\((.*)\)\]\((.*)\)$", part, re.MULTILINE) == [
        (
            "https://colab.research.google.com/assets/colab-badge.svg",
            f"{LAUNCH[0]}notebooks/{PATHS[0].name}",
        ),
        ("https://mybinder.org/badge_logo.svg", f"{LAUNCH[1]}notebooks"),
    ]
    assert "ADDRESS" not in part


def test_the_citation_names_the_address_if_there_is_one(copy):
    citations = {}
    for address in (ADDRESS, None):
        set_address(copy, address)
        citations[address] = yaml.safe_load((copy / "CITATION.cff").read_text("utf-8"))
    assert citations[ADDRESS] == citations[None] | {"repository-code": ADDRESS}


@STATES
def test_the_notebooks_keep_rules_outputs_and_style(copy, address):
    set_address(copy, address)
    lines = set()
    for path in PATHS:
        notebook = nbformat.read(copy / "notebooks" / path.name, 4)
        committed = nbformat.read(path, 4)
        assert problems(notebook) == []
        assert [c.get("outputs") for c in notebook.cells] == [
            c.get("outputs") for c in committed.cells
        ]
        lines.add(code_cells(notebook)[0].source.partition("\n\n")[0])
        places = re.findall(r"\]\((https:[^)]*)\)", notebook.cells[0].source)
        assert places == [f"{place}notebooks/{path.name}" for place in LAUNCH if address]
    (same,) = lines
    assert same.startswith("try:\n    import augment_utils as au\nexcept ModuleNotFoundError:")
    ours = 'lint.isort.known-first-party = ["augment_utils", "experiments"]'
    for command in (["check"], ["format", "--check"]):
        done = python("-m", "ruff", *command, "--config", ours, "notebooks", cwd=copy)
        assert done.returncode == 0, done.stdout


@STATES
def test_the_first_cell_without_the_module_says_what_to_install_and_goes_on(copy, address):
    set_address(copy, address)
    source = code_cells(nbformat.read(copy / "notebooks" / PATHS[2].name, 4))[0].source
    sources = [WITHOUT_THE_MODULE, source, "%pip install FOLDER", source, "au.clahe"]
    if address:
        sources[2:4] = []
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, sources)])
    NotebookClient(notebook, timeout=600, kernel_name="python3", allow_errors=True).execute()
    outputs = [cell.outputs for cell in notebook.cells]
    (said,) = outputs[1]
    if address:
        assert said.text == f'install -q "augment-utils @ git+{ADDRESS}"\n'
    else:
        assert said.ename == "ModuleNotFoundError" and "%pip install FOLDER" in said.evalue
        assert "\n" not in said.evalue and outputs[3] == []
    assert "function" in outputs[-1][0].data["text/plain"]


@pytest.mark.parametrize(
    "address", ["https://example.org/a/b", "https://github.com/a", f"{ADDRESS}.git", "example"]
)
def test_an_address_from_which_colab_opens_nothing_is_refused(copy, address):
    before = contents(copy)
    with pytest.raises(ValueError, match="expected https"):
        set_address(copy, address)
    before.pop(copy / "pyproject.toml")
    assert before.items() <= contents(copy).items()


def test_the_address_is_the_one_of_pyproject():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (line,) = LINE.finditer(text)
    assert (public_address() is None) == (line[1] is not None)
