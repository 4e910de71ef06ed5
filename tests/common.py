"""What several test files use: other processes, small notebooks, links, what axe-core finds."""

import os
import re
import subprocess
import sys
import time

import nbformat

NO_NETWORK = dict.fromkeys(  # to where nobody answers
    ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
)


# ---- processes


def call(module, *arguments, **environment):
    """`python -m MODULE`; without AUGMENT_DATA, unless it is given."""
    return python("-m", module, *arguments, **{"AUGMENT_DATA": None} | environment)


def python(*arguments, cwd=None, **environment):
    """Run to its end, with what is given (None: without) and nothing of pytest's environment."""
    variables = {
        name: str(value)
        for name, value in (os.environ | environment).items()
        if value is not None and not name.startswith("PYTEST_")
    }
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def wait_for(condition, process, seconds=120):
    """Until the condition holds, or the process that should bring it about has ended."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended with status {process.returncode}"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# ---- notebooks and pages


def write_notebook(path, cells, **metadata):
    """A notebook for Python's kernel, of cells or of sources of code cells; its path."""
    cells = [nbformat.v4.new_code_cell(c) if isinstance(c, str) else c for c in cells]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, **metadata}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def anchor(heading):
    """As GitHub and MyST make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def links_of(text):
    """Where the links and pictures of a page in Markdown lead."""
    return re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)


def violations(page, context, at_least=1, **options):
    """What is serious in a part of a browser's page, by axe-core, where so many rules apply."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=context, options=options).response
    assert len(found["passes"]) >= at_least
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
