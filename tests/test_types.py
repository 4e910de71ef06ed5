"""Type hints: every public function has them, and mypy finds nothing wrong with them."""

import importlib
import inspect
import pkgutil

import assignments
import augment_utils
import benchmarks
import experiments
import tools
from tests.common import python
from tools import ROOT

PACKAGES = (augment_utils, experiments, benchmarks, assignments, tools)


def modules():
    """The names of all of them, but for the command lines and nbgrader's settings."""
    for package in PACKAGES:
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] not in ("__main__", "nbgrader_config"):
                yield module.name


def public_functions():
    """{name: function}, methods too; none of the compiled ones or commands, which are objects."""
    found = {}
    for name in modules():
        module = importlib.import_module(name)
        own = {key: value for key, value in vars(module).items() if is_public(key, value, module)}
        for key, value in own.items():
            if inspect.isfunction(value):
                found[f"{name}.{key}"] = value
            elif inspect.isclass(value):
                found |= {f"{name}.{key}.{method.__name__}": method for method in methods(value)}
    return found


def is_public(name, value, module):
    return not name.startswith("_") and getattr(value, "__module__", None) == module.__name__


def methods(cls):
    """Those that are written in the class, properties too."""
    for name, value in vars(cls).items():
        function = getattr(value, "fget", None) or getattr(value, "func", None) or value
        if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
            yield function


def lacks_hints(function):
    signature = inspect.signature(function)
    hints = [each.annotation for name, each in signature.parameters.items() if name != "self"]
    return inspect.Signature.empty in (*hints, signature.return_annotation)


def test_every_public_function_has_hints():
    functions = public_functions()
    assert [name for name, function in functions.items() if lacks_hints(function)] == []
    promised = {getattr(augment_utils, name) for name in augment_utils.__all__}
    assert promised <= {*functions.values(), augment_utils.Dataset}
    assert {f"augment_utils.datasets.Dataset.{name}" for name in ("subset", "fingerprint")} <= {
        *functions
    }


def test_mypy_finds_nothing():
    done = python("-m", "mypy", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found" in done.stdout
