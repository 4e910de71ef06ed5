"""Which images and which browser the tests use, and how strictly nbval compares the notebooks.

With CIFAR-10 at hand (AUGMENT_DATA, or a verified copy in Keras' cache) every output is
compared. Without it everything runs on the embedded photo patches, and only what is tagged
`nbval-check-output`, which holds on any images, is compared. Nothing is downloaded.

Tests that are marked slow are left to `make check`, among them nbval of the notebooks that train.

Tests that need a browser ask for the fixture `browser`, and those that need submissions kept apart
for `bwrap`. Where there is none they are skipped, and the last lines of the run say so in red.
"""

import contextlib
import functools
import os
import shutil
import sys

import nbformat
import nbval.kernel
import pytest
from hypothesis import settings
from jupyter_client import KernelManager
from nbval.plugin import IPyNbCell

from augment_utils import load_cifar10
from augment_utils.datasets import find_cached_archive, is_cifar10
from tests.notebooks.rules import other_pictures
from tools.kernels import private_kernels
from tools.notebooks import has_parameters

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER = "there is no Chromium to drive"
NO_PIP = "the newest pip is out of reach"
NO_BWRAP = "there is no bubblewrap to keep submissions apart"
HINTS = {
    NO_BROWSER: f"Put one of {', '.join(BROWSERS)} on the PATH, or: playwright install chromium",
    NO_PIP: "A package index is needed for that.",
    NO_BWRAP: "Install bubblewrap (bwrap), and let it make namespaces.",
}
AT_HAND = "AUGMENT_TESTS_CIFAR10"  # from the first process to xdist's workers

settings.register_profile("many")  # --hypothesis-profile=many: more random inputs, in test_fuzz.py


def pytest_configure(config):
    # kernels and commands that tests start find this checkout's folders, wherever they start
    os.environ["PYTHONPATH"] = str(config.rootpath)
    if AT_HAND not in os.environ:
        source = os.environ.get("AUGMENT_DATA") or find_cached_archive() or "patches"
        dataset = load_cifar10(source)
        os.environ["AUGMENT_DATA"] = str(source) if source == "patches" else os.path.abspath(source)
        os.environ[AT_HAND] = str(int(is_cifar10(dataset)))
    if hasattr(config.option, "nbval"):
        config.option.nbval = cifar10_at_hand()
        config.option.nbval_lax = not cifar10_at_hand()
    until_the_end = contextlib.ExitStack()
    config.add_cleanup(until_the_end.close)
    of_kernels = until_the_end.enter_context(private_kernels())
    nbval.kernel.KernelManager = functools.partial(KernelManager, config=of_kernels)


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.suffix == ".ipynb" and trains(item.path):
            item.add_marker("slow")


trains = functools.cache(has_parameters)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Where nbval compares a cell's outputs it leaves the figures out."""
    result = yield
    if isinstance(item, IPyNbCell) and item.options["check"]:
        executed = nbformat.from_dict({"outputs": item.test_outputs})
        if other := other_pictures(item.cell, executed):
            item.raise_cell_error(other)
    return result


def pytest_report_header():
    compared = "every output" if cifar10_at_hand() else "only outputs that hold on any images"
    return f"images: {load_cifar10()}; of the notebooks, {compared} compared"


def cifar10_at_hand():
    return os.environ[AT_HAND] == "1"


@pytest.fixture(autouse=True)
def closed_figures():
    """What a test left open is closed, for another may count its own."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):  # if anybody has drawn
        pyplot.close("all")


@pytest.fixture(scope="session")
def real_images():
    """(40, 32, 32, 3) uint8, photographs all of them."""
    return load_cifar10().x_train[:40]


@pytest.fixture(scope="session")
def needs_cifar10():
    if not cifar10_at_hand():
        pytest.skip("needs CIFAR-10: the committed outputs are of its first 1,000 images")


@pytest.fixture(scope="session")
def bwrap():
    from assignments.sandbox import works

    if not works("bwrap"):
        pytest.skip(NO_BWRAP)


@pytest.fixture(scope="session")
def browser():
    """Playwright's Browser: the system's Chromium without a window, or else Playwright's own."""
    from playwright.sync_api import Error, sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox refuses root
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=found, args=["--no-sandbox"] if is_root else []
            )
        except Error as error:
            pytest.skip(f"{NO_BROWSER}: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, hint in HINTS.items():
        missed = [report.nodeid for report in skipped if reason in str(report.longrepr)]
        if missed:
            terminalreporter.section(f"NOT TESTED: {reason}", red=True, bold=True)
            for line in (f"{len(missed)} tests were skipped:", *missed, hint):
                terminalreporter.write_line(line, red=True)
