"""`python -m augment_utils data`, as a user calls it."""

import numpy as np
import pytest

from augment_utils import load_cifar10
from tests.common import NO_NETWORK, call


def test_a_subset_is_small_and_balanced_and_used(tmp_path):
    out = tmp_path / "on a stick.npz"
    done = call("augment_utils", "data", "--subset", 500, out, AUGMENT_DATA="patches")
    assert done.returncode == 0, done.stderr
    part = load_cifar10(out)
    assert np.bincount(part.y_train).tolist() == [50] * 10
    assert np.bincount(part.y_test).tolist() == [10] * 10
    assert out.stat().st_size < 5_000_000
    assert part.class_names[2] == "cat" and part.class_names[0] == "astronaut"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subset", "500"], "--subset N and OUT go together"),
        (["out.npz"], "--subset N and OUT go together"),
        (["--subset", "33", "out.npz"], "multiple of 50"),
        (["--subset", "0", "out.npz"], "multiple of 50"),
        (["--subset", "50000", "out.npz"], "there are only"),
    ],
)
def test_impossible_subsets_are_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = call("augment_utils", "data", *arguments, AUGMENT_DATA="patches")
    assert done.returncode != 0 and message in done.stderr
    assert "Traceback" not in done.stderr and list(tmp_path.iterdir()) == []


def test_data_without_a_network_fails_with_a_reason(tmp_path):
    done = call("augment_utils", "data", KERAS_HOME=tmp_path / "keras", **NO_NETWORK)
    assert done.returncode == 1
    assert "CIFAR-10 could not be fetched" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["run", "bench", "experiments", "assignments", "nonsense"])
def test_other_commands_are_elsewhere(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    done = call("augment_utils", word, "--help")
    assert done.returncode == 2 and done.stdout == ""
    assert f"Error: got '{word}', but" in done.stderr and "clone of the repository" in done.stderr
