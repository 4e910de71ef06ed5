"""What the README says works on a machine that has nothing yet, and its times are the measured."""

import json
import os
import tempfile

import pytest

from tests.newcomer import COMMAND, PAGES, RESULTS, commands, follow, outcome_of
from tools.pages import put_between_marks

# The rest runs without data as it does with it, and would take as long again. The notebooks that
# train have just been executed by `make run`.
FEW = (
    "notebooks --ignore-glob=*/0[789]_* tests/augment_utils/test_contrast.py "
    "tests/test_environment.py"
)


def test_every_command_of_the_readme_is_followed_or_left_out_for_a_reason():
    followed = [command for command in commands() if callable(outcome_of(command))]
    assert {"make run", "make test"} < set(followed) and len(followed) > 8


def test_an_unknown_command_is_noticed():
    with pytest.raises(ValueError, match="a page says `make tea`"):
        outcome_of("make tea")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_times_are_the_measured_ones(page):
    text = page.read_text("utf-8")
    assert put_between_marks(text, PAGES[page](json.loads(RESULTS.read_text())), COMMAND) == text


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the README's commands for Windows are others")
def test_a_newcomer_gets_what_the_readme_promises(monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", FEW)
    with tempfile.TemporaryDirectory() as folder:  # pytest's own would stay, with all its gigabytes
        follow(folder)
