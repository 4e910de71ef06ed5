"""The committed notebooks: how they are built, and what they show on other images."""

import nbformat
import numpy as np
import papermill
import pytest

from augment_utils import load_cifar10
from augment_utils.datasets import ARRAYS
from tests.common import NO_NETWORK, write_notebook
from tests.notebooks.rules import (
    PATHS,
    code_cells,
    differences,
    every_notebook,
    missing_names,
    problems,
    sections,
    tags_of,
    text_of,
)
from tools.kernels import private_kernels
from tools.notebooks import IMAGES, NOTEBOOKS, figures_of, has_parameters

# nbval runs the others, but on CIFAR-10 where that is at hand
those_that_train_and_slowly_the_others = pytest.mark.parametrize(
    "path",
    [
        path if has_parameters(path) else pytest.param(path, marks=pytest.mark.slow)
        for path in PATHS
    ],
    ids=lambda path: path.stem,
)


def execute(path, output_dir):
    with private_kernels() as settings:
        return papermill.execute_notebook(
            path,
            output_dir / path.name,
            parameters={"TIER": "smoke"} if has_parameters(path) else None,
            kernel_name="python3",
            cwd=NOTEBOOKS,
            progress_bar=False,
            execution_timeout=600,
            config=settings,
        )


def images_of(notebook):
    """Which it says that it has loaded."""
    (said,) = [text_of(cell) for cell in code_cells(notebook) if "dataset" in tags_of(cell)]
    return said


@every_notebook
def test_keeps_the_rules(path):
    assert problems(nbformat.read(path, 4)) == []
    assert path.stat().st_size < 1_500_000


def test_all_together_are_small_and_in_order():
    assert [path.name[:2] for path in PATHS] == [f"{i:02d}" for i in range(len(PATHS))]
    assert sum(path.stat().st_size for path in PATHS) < 10_000_000


@every_notebook
def test_each_section_makes_the_names_that_it_uses(path):
    assert missing_names(nbformat.read(path, 4)) == {}


@pytest.mark.slow
@every_notebook
def test_each_section_runs_after_the_set_up_alone(path, tmp_path, monkeypatch):
    """On the patches, with all names forgotten before each, and training made small."""
    monkeypatch.setenv("AUGMENT_DATA", "patches")
    setup, found = sections(nbformat.read(path, 4))
    sources = []
    for cells in found.values():
        sources.append("%reset -f")
        for cell in (*setup, *cells):
            small = '\nTIER = "smoke"' if "parameters" in tags_of(cell) else ""
            sources.append(cell.source + small)
    alone = write_notebook(tmp_path / path.name, sources)
    (tmp_path / "executed").mkdir()
    execute(alone, tmp_path / "executed")


@every_notebook
def test_its_thumbnail_is_the_figure_it_shows(path):
    (png,) = [png for tags, png in figures_of(nbformat.read(path, 4).cells) if "thumbnail" in tags]
    assert (IMAGES / f"{path.stem}.png").read_bytes() == png


@those_that_train_and_slowly_the_others
def test_runs_on_the_embedded_patches_without_a_network(path, tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_DATA", "patches")
    for variable, nowhere in NO_NETWORK.items():
        monkeypatch.setenv(variable, nowhere)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    executed = execute(path, tmp_path)
    assert differences(nbformat.read(path, 4), executed, only_tagged=True) == []
    assert "photo patches" in images_of(executed)


@pytest.fixture(scope="module")
def only_the_start(needs_cifar10, tmp_path_factory):
    """CIFAR-10's first 1,000 images of each split, and then 500 that are none of its own."""
    data = load_cifar10()
    rng = np.random.default_rng(0)
    arrays = {}
    for key in ARRAYS:
        start = getattr(data, key)[:1000]
        other = rng.integers(0, 10 if key[0] == "y" else 256, (500, *start.shape[1:]), start.dtype)
        arrays[key] = np.concatenate([start, other])
    path = tmp_path_factory.mktemp("data") / "start.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.slow
@every_notebook
def test_shows_the_same_with_the_first_1000_images_alone(
    path, tmp_path, monkeypatch, only_the_start
):
    """Every figure, and every output that nbval compares, but for what training showed."""
    monkeypatch.setenv("AUGMENT_DATA", str(only_the_start))
    executed = execute(path, tmp_path)
    assert differences(nbformat.read(path, 4), executed) == []
    assert only_the_start.name in images_of(executed)
