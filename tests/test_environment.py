"""One environment for everybody: locks, environment.yml, versions, and what no file may name."""

import importlib.metadata
import itertools
import re
import subprocess
import tomllib
from email.message import Message

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import BuildString, MatchSpec, PackageRecord

from tests.common import python
from tools import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
UV_LOCK = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]


def uv_lock():
    """name: (version, its files' SHA-256), of every locked package but our own."""
    return {
        p["name"]: (
            p["version"],
            {f["hash"] for f in [*p.get("wheels", []), *filter(None, [p.get("sdist")])]},
        )
        for p in UV_LOCK
        if "registry" in p["source"]
    }


def requirements_lock():
    """name: (version, SHA-256s, extras), of every line."""
    text = (ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ")
    locked = {}
    for line in text.splitlines():
        if line and line[0] not in "# ":
            requirement = Requirement(line.split(" --hash")[0])
            (pin,) = requirement.specifier
            hashes = set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", line))
            assert pin.operator == "==" and hashes, line
            assert requirement.name not in locked, f"{requirement.name} is locked twice"
            locked[requirement.name] = (pin.version, hashes, requirement.extras)
    return locked


def locked_metadata(name, version):
    """What a locked release says of itself; nothing, if another one is installed or none."""
    try:
        found = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:  # not for this system
        return Message()
    return found if found["Version"] == version else Message()


def test_both_locks_are_one_resolution():
    here, there = requirements_lock(), uv_lock()
    assert {name: here[name][0] for name in here} == {name: there[name][0] for name in there}
    assert [name for name in there if not there[name][1] <= here[name][1]] == []


def test_the_lock_names_every_extra_that_a_package_asks_for():
    """Or an older pip takes the newest release for it, and refuses that for not being pinned."""
    locked = requirements_lock()
    asked = []
    for name, (version, _, extras) in locked.items():
        for needed in map(Requirement, locked_metadata(name, version).get_all("Requires-Dist", [])):
            active = not needed.marker or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras | {""}
            )
            if needed.extras and active:
                asked.append((name, canonicalize_name(needed.name), needed.extras))
    for package in UV_LOCK:  # what is not for this system, too; it drops extras that add nothing
        optional = package.get("optional-dependencies", {}).values()
        for needed in itertools.chain(package.get("dependencies", []), *optional):
            asked.append((package["name"], needed["name"], set(needed.get("extra", ()))))
    assert any(extras for _, _, extras in asked)
    assert [line for line in asked if not line[2] <= locked[line[1]][2]] == []


def test_no_locked_package_has_to_be_built():
    """Building one would fetch the newest setuptools or the like, whatever the lock says."""
    for package in UV_LOCK:
        files = [file["url"].rsplit("/")[-1] for file in package.get("wheels", [])]
        linux = [file for file in files if "-none-any" in file or "manylinux" in file]
        assert linux or any("-win" in file for file in files) or "editable" in package["source"]


def test_every_dependency_is_locked_within_its_bounds_and_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    locked = requirements_lock()
    for requirement in map(Requirement, itertools.chain(*groups)):
        assert requirement.specifier.contains(locked[requirement.name][0])
        assert re.search(rf'"{requirement.name}[^"]*", *# \w', text), f"why {requirement.name}?"
    assert "tensorflow" in locked  # the plain package: its CUDA extra can be added


def test_what_is_installed_is_what_is_locked():
    for name, (version, _, _) in requirements_lock().items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not for this system
        assert Version(installed) == Version(version), name


# ---- conda and Binder

ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
SPECS = {MatchSpec(s).name.normalized: MatchSpec(s) for s in ENVIRONMENT["dependencies"][:-1]}


def test_environment_yml_has_the_keys_that_conda_knows():
    assert list(ENVIRONMENT) == ["name", "channels", "dependencies"]
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    assert set(SPECS) == {"python", "pip"}


def test_environment_yml_uses_the_lock_that_everybody_uses():
    assert ENVIRONMENT["dependencies"][-1] == {"pip": ["-r requirements.lock"]}
    assert "requirements.lock" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize(
    ("version", "fits"),
    [("3.10.18", False), ("3.11.0", True), ("3.12.9", True), ("3.13.7", True), ("3.14.0", False)],
)
def test_conda_picks_a_python_that_the_project_supports(version, fits):
    record = PackageRecord(
        name="python", version=version, build=BuildString("0"), build_number=0, subdir="linux-64"
    )
    assert SPECS["python"].matches(record) == fits
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version) == fits


# ---- what no file may name

HOST = re.compile(r"\bhttps?://(?!127\.0\.0\.1\b)([\w.-]+)")  # the loopback is every machine's own
PUBLIC = re.compile(
    r"(^|\.)(pypi\.org|pythonhosted\.org|github\.com|creativecommons\.org|doi\.org|arxiv\.org|"
    r"cs\.toronto\.edu|keras\.io|tensorflow\.org|scikit-image\.org|numpy\.org|matplotlib\.org|"
    r"opencv\.org|towardsdatascience\.com|python\.org|jupyter\.org|readthedocs\.io|conda\.io|"
    r"astral\.sh|jstor\.org|w3\.org|mybinder\.org|stackoverflow\.com|stackexchange\.com|colab\.research\.google\.com)$"
)
MACHINE = re.compile(r"file:/|(?<![\w.:/-])/(?:home|root|Users|tmp|opt|work|mnt|var)/")


def committed_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_names_a_path_of_a_machine_or_a_private_host():
    found = []
    for path in committed_files():
        is_test = path.suffix == ".py" and path.is_relative_to(ROOT / "tests")
        if path.suffix == ".png" or is_test or not path.exists():
            continue
        text = re.sub(r'"image/png": "[^"]*"', "", path.read_text("utf-8"))
        found += [f"{path.name}: {hit[0]}" for hit in MACHINE.finditer(text)]
        hosts = {hit[1].rstrip(".") for hit in HOST.finditer(text)}
        found += [f"{path.name}: {host}" for host in hosts if not PUBLIC.search(host)]
    assert found == []


# ---- small agreements


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"] == importlib.metadata.version("augment-utils")
    assert [p["version"] for p in UV_LOCK if p["name"] == PROJECT["name"]] == [PROJECT["version"]]
    assert citation["cff-version"] == "1.2.0" and citation["authors"] and citation["message"]


def test_ruff_finds_nothing():
    for command in (["check"], ["format", "--check"]):
        done = python("-m", "ruff", *command, ".", cwd=ROOT)
        assert done.returncode == 0, done.stdout


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == targets
