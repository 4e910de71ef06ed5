"""Notebook 11: in a real JupyterLab, in a real browser, with the keyboard."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.request

import nbformat
import pytest

from tests.common import violations, wait_for
from tests.notebooks.rules import code_cells
from tools.notebooks import NOTEBOOKS, WIDGET_VIEW

NAME = "11_explore.ipynb"
SHOWN = sum(
    cell.source.startswith("explore(") for cell in code_cells(nbformat.read(NOTEBOOKS / NAME, 4))
)


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory):
    """A folder with a copy of the notebook."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copy(NOTEBOOKS / NAME, folder)
    return folder


@pytest.fixture(scope="module")
def lab(lab_folder, tmp_path_factory):
    """The address of the copy in a JupyterLab that has a home of its own."""
    home = tmp_path_factory.mktemp("home")
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, base = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    places = {
        **{"HOME": home, "USERPROFILE": home, "JUPYTERLAB_SETTINGS_DIR": home / "settings"},
        **{"JUPYTERLAB_WORKSPACES_DIR": home / "workspaces", "IPYTHONDIR": home / "ipython"},
        **{f"JUPYTER_{kind}_DIR": home / kind for kind in ("CONFIG", "DATA", "RUNTIME")},
    }
    options = {"ip": "127.0.0.1", "port": port, "ServerApp.port_retries": 0}
    options |= {"ServerApp.root_dir": lab_folder, "IdentityProvider.token": token}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    with open(home / "log", "wb") as log:
        server = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env=os.environ | {name: str(place) for name, place in places.items()},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: answers(f"{base}/api?token={token}"), server)
        yield f"{base}/lab/tree/{NAME}?token={token}"
    finally:
        server.terminate()
        server.wait(30)
        print((home / "log").read_text("utf-8"))  # pytest shows it where the server did not start


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def page(browser, lab):
    """The notebook, run from its top to its end; what went wrong is in `page.complaints`."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(120_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.goto(lab)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".explorer img").nth(SHOWN - 1).wait_for(state="attached")
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    yield page
    page.close()


def focused(page):
    """The name of what has the focus."""
    return page.evaluate(
        "() => { const e = document.activeElement;"
        "return e.ariaLabel || (e.labels && e.labels[0] || e).textContent }"
    )


def tab_to(page, name, key="Tab"):
    """Press Tab until the control with this name has the focus."""
    for _ in range(20):
        page.keyboard.press(key)
        if focused(page) == name:
            return
    raise AssertionError(f"the Tab key does not reach {name!r}")


def shown(explorer):
    """Picture, alternative text, readout and line of code of panel A."""
    original, result, _ = explorer.locator("img:visible").all()
    return [
        result.get_attribute("src"),
        original.get_attribute("alt"),
        explorer.locator(".readout").nth(1).inner_text(),
        explorer.get_by_label("A: code").input_value(),
    ]


def test_the_notebook_runs_to_its_end(page, lab_folder):
    page.keyboard.press("Control+s")
    page.locator(".jp-mod-dirty").wait_for(state="detached")
    notebook = nbformat.read(lab_folder / NAME, 4)
    assert [cell.execution_count for cell in code_cells(notebook)] == list(
        range(1, len(code_cells(notebook)) + 1)
    )
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum(WIDGET_VIEW in output.get("data", {}) for output in outputs) == SHOWN


def test_everything_is_reached_and_moved_with_the_keyboard(page):
    explorer = page.locator(".explorer").first
    explorer.scroll_into_view_if_needed()
    explorer.get_by_label("Compare two settings").focus()
    for name in ("A: transform", "A: low", "A: high", "A: color"):
        tab_to(page, name)
    tab_to(page, "A: low", "Shift+Tab")
    before = shown(explorer)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "old => document.querySelectorAll('.explorer img')[1].src != old", arg=before[0]
    )
    explorer.get_by_text("stretching, low=2.5, high=98.0").wait_for()
    after = shown(explorer)
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert "low=2.0" in before[3] and "low=2.5" in after[3]
    slider = explorer.get_by_role("slider", name="A: low")
    assert slider.get_attribute("aria-valuetext") == "2.5"


def test_a_second_setting_is_shown_and_compared(page):
    explorer = page.locator(".explorer").first
    explorer.get_by_label("Compare two settings").focus()
    page.keyboard.press("Space")
    explorer.get_by_text("A and B ").wait_for()
    places = [image.bounding_box() for image in explorer.locator("img:visible").all()]
    assert len(places) == 6 and places[0]["y"] == places[3]["y"]  # A and B are side by side
    assert all(place["width"] > 200 for i, place in enumerate(places) if i % 3 < 2)
    assert explorer.bounding_box()["height"] < 700  # and on one screen


@pytest.mark.parametrize("number", range(SHOWN))
def test_an_automatic_checker_finds_nothing_serious(page, number):
    explorer = page.locator(".explorer").nth(number)
    explorer.scroll_into_view_if_needed()
    explorer.evaluate("(element, number) => element.id = `explorer-${number}`", number)
    assert violations(page, f"#explorer-{number}", at_least=11) == []


def test_the_console_stays_quiet(page):
    """Runs last, when all of the above has been done."""
    assert page.complaints == []
