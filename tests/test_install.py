"""The lock against an index that has moved on: newer releases of everything, older pips and new.

An older pip that meets a requirement with extras (coverage[toml]) takes the newest release for it,
not the one that the lock pins without extras, and then refuses that for not being pinned. The index
here is a folder of pages and of wheels that hold nothing but metadata.
"""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from test_environment import ENVIRONMENT, ROOT, UV_LOCK

PYTHONS = ("3.11", "3.12", "3.13")
NEWEST = "the newest pip"
LOCK = (ROOT / "requirements.lock").read_text("utf-8")


# ---- the index


def metadata_of(package):
    """Requires-Dist and Provides-Extra of a locked package: the real ones, if it is installed."""
    try:
        installed = importlib.metadata.metadata(package["name"]).items()
    except importlib.metadata.PackageNotFoundError:  # not for this system
        installed = [
            ("Requires-Dist", "; ".join(filter(None, [needed["name"], needed.get("marker")])))
            for needed in package.get("dependencies", [])
        ]
    kept = ("Requires-Dist", "Provides-Extra")
    return [f"{name}: {value}" for name, value in installed if name in kept]


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
    variables |= {"PYTHONPATH": str(wheel), "PIP_CONFIG_FILE": os.devnull}

    def run(*arguments):
        return subprocess.run(
            [python, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
            env=variables,
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
    return next(folder.glob("pip-*.whl"), None) or pytest.skip(f"no index: {done.stderr}")


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


def try_to_install(pip, index, *arguments):
    return pip("install", "--dry-run", "--index-url", index.as_uri(), *arguments)


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
