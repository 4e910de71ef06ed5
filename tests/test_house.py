"""The house: which folder may import from which, no circles, and a small augment_utils."""

import ast
import re
from graphlib import CycleError, TopologicalSorter

import nbformat
import pytest

from tools import ROOT

MAY_IMPORT = {  # folder: from which others
    "augment_utils": set(),
    "tools": {"augment_utils"},
    "experiments": {"augment_utils", "tools"},
    "benchmarks": {"augment_utils", "tools"},
    "assignments": {"augment_utils", "tools"},
    "book": {"augment_utils", "tools"},
    "notebooks": {"augment_utils"},
}
MOST_FILES, MOST_LINES = 12, 3_820


def sources(folder):
    """{module, or a notebook's file: its code}."""
    notebooks = [*(ROOT / folder).rglob("*.ipynb")]
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text("utf-8")
        for path in (ROOT / folder).rglob("*.py")
    }
    for path in notebooks if folder in ("notebooks", "assignments") else ():
        if path.relative_to(ROOT).parts[1] not in ("release", "submitted", "staged", "autograded"):
            cells = (c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
            lines = "\n".join(cells).splitlines()
            found[path.name] = "\n".join(line for line in lines if line.lstrip()[:1] not in "%!")
    return found


SOURCES = {folder: sources(folder) for folder in MAY_IMPORT}
MODULES = {name.removesuffix(".__init__") for own in SOURCES.values() for name in own}


def imports(source):
    """The modules of ours that it imports, also inside functions."""
    named = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            named |= {f"{node.module}.{alias.name}" for alias in node.names}
    whole = {name if name in MODULES else name.rpartition(".")[0] for name in named}
    return {name for name in whole if name.split(".")[0] in {*MAY_IMPORT, "tests"}}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_from_those_it_may(folder):
    allowed = {folder, *MAY_IMPORT[folder]}
    found = {
        (name, other)
        for name, source in SOURCES[folder].items()
        for other in imports(source)
        if other.split(".")[0] not in allowed
    }
    assert SOURCES[folder] and found == set()


def test_contributing_shows_the_house():
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Where is what")[2]
    rows = re.findall(r"^\| (\[.*) \| .* \| (.*) \|$", page.partition("\n## ")[0], re.MULTILINE)
    shown = {
        folder: set() if others == "nothing" else {*others.split(", ")}
        for links, others in rows
        for folder in re.findall(r"\[(\w+)\]", links)
    }
    assert {folder: shown.pop(folder) for folder in MAY_IMPORT} == MAY_IMPORT
    assert shown == {"results": set(), "images": set(), "tests": {"all"}}


def test_nothing_imports_from_a_command_line():
    found = {
        (name, other)
        for own in (*SOURCES.values(), sources("tests"))
        for name, source in own.items()
        for other in imports(source)
        if other.endswith(".__main__")
    }
    assert found == set()


def test_there_are_no_circles():
    graph = {
        name.removesuffix(".__init__"): imports(source) - {name.removesuffix(".__init__")}
        for own in SOURCES.values()
        for name, source in own.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_module_is_small():
    own = SOURCES["augment_utils"].values()
    assert len(own) <= MOST_FILES
    assert sum(source.count("\n") for source in own) <= MOST_LINES
