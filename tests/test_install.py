"""Installing: the lock from an index that has moved on, the package beside what others have.

An older pip that meets a requirement with extras (coverage[toml]) takes the newest release for it,
not the one that the lock pins without extras, and then refuses that for not being pinned. The index
here is a folder of pages and of wheels that hold nothing but metadata.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from conftest import NO_PIP
from tests.common import python
from tests.test_environment import ENVIRONMENT, PROJECT, UV_LOCK, locked_metadata
from tools import ROOT

# 3.12 brings the pip of 3.11
PYTHONS = ("3.11", pytest.param("3.12", marks=pytest.mark.slow), "3.13")
NEWEST = "the newest pip"
LOCK = (ROOT / "requirements.lock").read_text("utf-8")


# ---- the index


def metadata_of(package):
    """Requires-Dist and Provides-Extra of a locked package: the real ones, if it is installed."""
    fields = locked_metadata(package["name"], package["version"]).items() or [
        ("Requires-Dist", "; ".join(filter(None, [needed["name"], needed.get("marker")])))
        for needed in package.get("dependencies", [])
    ]
    kept = ("Requires-Dist", "Provides-Extra")
    return [f"{name}: {value}" for name, value in fields if name in kept]


def write_wheel(folder, name, version, metadata):
    """A wheel that holds its metadata alone; its name and SHA-256."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", "\n".join(metadata) + "\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", wheel)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path.name, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """(the index's folder, the lock with the hashes of what is in it)."""
    folder = tmp_path_factory.mktemp("index")
    hashes = {}
    for package in UV_LOCK:
        if "registry" not in package["source"]:
            continue
        name, project = package["name"], folder / package["name"]
        project.mkdir()
        metadata, page = metadata_of(package), ["<!DOCTYPE html>"]
        for version in ("99999", package["version"]):
            file, hashes[name] = write_wheel(project, name, version, metadata)
            page.append(f'<a href="{file}#sha256={hashes[name]}">{file}</a><br>')
        (project / "index.html").write_text("\n".join(page), "utf-8")
    lock = []
    for line in re.sub(r" *\\\n", " ", LOCK).splitlines():
        if line and line[0] not in "# ":
            pin = line.split(" --hash")[0]
            lock.append(f"{pin} --hash=sha256:{hashes[Requirement(pin).name]}\n")
    return folder, "".join(lock)


# ---- the pips


@pytest.fixture(scope="module", params=[*PYTHONS, NEWEST])
def pip(request, tmp_path_factory):
    """Runs the pip that a fresh environment of that Python has, or the newest that can be had."""
    interpreter = sys.executable if request.param == NEWEST else interpreter_of(request.param)
    folder = tmp_path_factory.mktemp("pip")
    wheel = newest_pip(folder) if request.param == NEWEST else bundled_pip(interpreter)
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder / "environment"], check=True)
    python = next(path for path in folder.glob("environment/*/python*") if path.is_file())
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(*arguments, installed=""):
        return subprocess.run(
            [python, "-m", "pip", *map(str, arguments)],
            env=variables | {"PYTHONPATH": f"{wheel}{os.pathsep}{installed}"},
            capture_output=True,
            text=True,
        )

    return run


def bundled_pip(interpreter):
    """The wheel from which `python -m venv` installs pip."""
    code = (
        "import ensurepip, pathlib, sysconfig\n"
        "here = pathlib.Path(ensurepip.__file__).parent / '_bundled'\n"
        "here = pathlib.Path(sysconfig.get_config_var('WHEEL_PKG_DIR') or here)\n"
        "print(*here.glob('pip-*.whl'), end='')"
    )
    asked = subprocess.run([interpreter, "-c", code], capture_output=True, text=True)
    return asked.stdout or pytest.skip(f"{interpreter} brings no pip: {asked.stderr}")


def newest_pip(folder):
    """Its wheel, from the index that is in use on this machine."""
    command = ["download", "--no-deps", "--retries=0", "--timeout=20", "--dest", folder, "pip"]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True)
    return next(folder.glob("pip-*.whl"), None) or pytest.skip(f"{NO_PIP}: {done.stderr}")


def interpreter_of(version):
    """A Python of that version that runs."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    asked = (
        subprocess.run(  # pyenv's names run only where their version is chosen
            [f"python{version}", "-c", "import sys; print(sys.executable)"],
            env=os.environ | {"PYENV_VERSION": version},
            capture_output=True,
            text=True,
        )
        if shutil.which(f"python{version}")
        else None
    )
    if asked is None or asked.returncode:
        pytest.skip(f"Python {version} is not at hand")
    return asked.stdout.strip()


def try_to_install(pip, index, *arguments, **beside):
    return pip("install", "--dry-run", "--index-url", index.as_uri(), *arguments, **beside)


def test_the_lock_installs_when_everything_has_a_newer_release(pip, index, tmp_path):
    folder, lock = index
    (tmp_path / "lock").write_text(lock, "utf-8")
    done = try_to_install(pip, folder, "--require-hashes", "-r", tmp_path / "lock")
    assert done.returncode == 0, done.stderr
    assert "99999" not in done.stdout and "tensorflow" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("pip", ["3.11"], indirect=True)
def test_without_its_extras_an_older_pip_refuses_the_lock(pip, index, tmp_path):
    if Version(pip("--version").stdout.split()[1]) >= Version("23.3"):
        pytest.skip("since 23.3 pip finds the pin by itself")
    folder, lock = index
    (tmp_path / "lock").write_text(re.sub(r"\[[^]]*\]==", "==", lock), "utf-8")
    done = try_to_install(pip, folder, "--require-hashes", "-r", tmp_path / "lock")
    assert done.returncode == 1 and "-99999-" in done.stderr


@pytest.mark.parametrize("pip", [NEWEST], indirect=True)
def test_conda_installs_the_lock_from_a_file_beside_it(pip, index, tmp_path):
    """What conda and mamba make of environment.yml's pip section: a file beside it, and -U."""
    folder, lock = index
    (tmp_path / "requirements.lock").write_text(lock, "utf-8")
    section = ENVIRONMENT["dependencies"][-1]["pip"]
    (tmp_path / "condaenv.requirements.txt").write_text("\n".join(section), "utf-8")
    done = try_to_install(pip, folder, "-U", "-r", tmp_path / "condaenv.requirements.txt")
    assert done.returncode == 0, done.stderr
    assert "99999" not in done.stdout and "tensorflow" in done.stdout.splitlines()[-1]


# ---- what a machine that is not ours needs


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package's wheel, built by the locked setuptools outside of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "augment_utils", folder / "augment_utils")
    done = python(
        *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"),
        *("--wheel-dir", folder, folder),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize("pip", ["3.13"], indirect=True)
@pytest.mark.parametrize("extra", ["", "[notebooks]"])
def test_beside_what_colab_has_the_package_replaces_nothing(pip, index, wheel, tmp_path, extra):
    colab = [
        Requirement(line)
        for line in (ROOT / "tests/environment/colab-2026-08-19.txt").read_text().splitlines()
        if line and line[0] != "#"
    ]
    for pin in colab:
        (version,) = pin.specifier
        write_wheel(tmp_path, pin.name, version.version, [])
    for path in tmp_path.glob("*.whl"):
        zipfile.ZipFile(path).extractall(tmp_path / "installed")
    done = try_to_install(pip, index[0], f"{wheel}{extra}", installed=tmp_path / "installed")
    assert done.returncode == 0, done.stderr
    changes = done.stdout.splitlines()[-1]
    assert changes.startswith("Would install") and " augment-utils-" in changes
    assert [pin.name for pin in colab if re.search(rf" {pin.name}-\d", changes)] == []


LIGHT = """
import importlib.abc, json, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

refused = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Refuse())
import augment_utils as au
"""
USE = """
images = au.load_photo_patches(train_per_class=20, test_per_class=10).x_train[::20]
for transform in (au.contrast_stretching, au.histogram_equalization,
                  au.adaptive_histogram_equalization, au.clahe):
    assert transform(images).shape == images.shape
au.as_preprocessing_function(au.clahe, probability=0.5)(images[0].astype("float32"))
import augment_utils.corruptions, augment_utils.training, augment_utils.classroom
"""


def run_with_light_dependencies(code):
    """Run code that finds, of all that is installed, only what the package itself depends on."""
    needs, found = [Requirement(line) for line in PROJECT["dependencies"]], set()
    while needs:
        needed = needs.pop()
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        if (name := canonicalize_name(needed.name)) not in found:
            found.add(name)
            needs += map(Requirement, importlib.metadata.requires(name) or [])
    refused = [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not found.intersection(map(canonicalize_name, owners)) and module != "augment_utils"
    ]
    assert {"tensorflow", "keras", "matplotlib", "IPython", "ipywidgets"} <= set(refused)
    return python("-c", LIGHT + code, json.dumps(refused), PYTHONPATH=ROOT)


def test_the_transforms_need_the_light_dependencies_alone():
    done = run_with_light_dependencies(USE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import augment_utils.plotting", "matplotlib"),
        ("import augment_utils.explorer", "ipywidgets"),
        ("au.as_dataset_map(au.clahe)", "tensorflow"),
    ],
)
def test_what_needs_more_names_the_extra_that_brings_it(code, missing):
    done = run_with_light_dependencies(code)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"No module named '{missing}'; " in last and "extra `notebooks`" in last
    assert any(missing in line for line in PROJECT["optional-dependencies"]["notebooks"])


def test_from_a_wheel_the_notebooks_cannot_be_run_and_that_is_said(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"augment_utils"}
    done = python("-m", "augment_utils", "run", cwd=tmp_path, PYTHONPATH=tmp_path)
    assert done.returncode != 0 and done.stdout == ""
    assert "in a clone of the repository" in done.stderr
