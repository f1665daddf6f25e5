"""The public surface: names, signatures, docstrings, types."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import inspect
import json
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from conftest import REPOSITORY
from fusedloss import _core, mining

#: name -> positional arguments of a valid call
LOSSES: dict[str, tuple[Any, ...]] = {
    "cross_entropy": (np.array([[0.0, 1.0]]), np.array([1])),
    "nll_loss": (np.array([[0.0, -1.0]]), np.array([1])),
    "categorical_cross_entropy": (np.array([[0.25, 0.75]]), np.array([1])),
    "focal_loss": (np.array([[0.0, 1.0]]), np.array([1])),
    "soft_cross_entropy": (np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])),
    "distillation_loss": (np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), np.array([1])),
    "softmax": (np.array([[0.0, 1.0]]),),
    "log_softmax": (np.array([[0.0, 1.0]]),),
    "logsumexp": (np.array([[0.0, 1.0]]),),
}

PUBLIC = {
    *LOSSES,
    *(name for name, value in vars(fl).items() if hasattr(value, "__fusedloss__")),
    *(name for name in vars(mining) if name.startswith("mine_")),
    "value_and_grad",
    "grad_and_hess",
    "sample_classes",
    "soft_margin_histogram",
    "set_num_threads",
    "get_num_threads",
    "threads",
    "show_config",
    "empty_cache",
    "get_include",
    "__version__",
}

#: name -> its signature's parameters in order: (name, default or "required"), keyword-only after *.
SIGNATURES: dict[str, list[tuple[str, Any]]] = {
    "cross_entropy": [
        ("logits", "required"),
        ("target", "required"),
        ("*", None),
        ("weight", None),
        ("ignore_index", -100),
        ("reduction", "mean"),
        ("label_smoothing", 0.0),
        ("sample_weight", None),
        ("where", None),
        ("softcap", None),
        ("z_loss", 0.0),
        ("entropy_bonus", 0.0),
        ("outputs", ()),
        ("num_threads", None),
    ],
    "nll_loss": [
        ("log_probs", "required"),
        ("target", "required"),
        ("*", None),
        ("weight", None),
        ("ignore_index", -100),
        ("reduction", "mean"),
        ("sample_weight", None),
        ("where", None),
        ("num_threads", None),
    ],
    "categorical_cross_entropy": [
        ("probs", "required"),
        ("target", "required"),
        ("*", None),
        ("axis", -1),
        ("label_smoothing", 0.0),
        ("gamma", 0.0),
        ("alpha", None),
        ("ignore_index", -100),
        ("reduction", "mean"),
        ("sample_weight", None),
        ("where", None),
        ("num_threads", None),
    ],
    "focal_loss": [
        ("logits", "required"),
        ("target", "required"),
        ("*", None),
        ("alpha", None),
        ("gamma", 2.0),
        ("ignore_index", -100),
        ("reduction", "mean"),
        ("sample_weight", None),
        ("where", None),
        ("softcap", None),
        ("z_loss", 0.0),
        ("entropy_bonus", 0.0),
        ("outputs", ()),
        ("num_threads", None),
    ],
    "soft_cross_entropy": [
        ("logits", "required"),
        ("target_logits", "required"),
        ("*", None),
        ("temperature", 1.0),
        ("reduction", "mean"),
        ("sample_weight", None),
        ("where", None),
        ("num_threads", None),
    ],
    "distillation_loss": [
        ("student_logits", "required"),
        ("teacher_logits", "required"),
        ("target", None),
        ("*", None),
        ("temperature", 1.0),
        ("alpha", 0.5),
        ("ignore_index", -100),
        ("reduction", "mean"),
        ("sample_weight", None),
        ("where", None),
        ("num_threads", None),
    ],
    "softmax": [("logits", "required"), ("*", None), ("axis", -1), ("num_threads", None)],
    "log_softmax": [("logits", "required"), ("*", None), ("axis", -1), ("num_threads", None)],
    "logsumexp": [("logits", "required"), ("*", None), ("axis", -1), ("num_threads", None)],
    "value_and_grad": [("loss", "required"), ("argnums", 0)],
    "grad_and_hess": [("loss", "required")],
}

FUNCTIONS = sorted(name for name in PUBLIC if name != "__version__")


#: What only `make check` has the package for.
NOT_INSTALLED = {"fusedloss.keras._backends._tensorflow"}


def modules() -> list[ModuleType]:
    """Every module of the package but the command line's."""
    names = [info.name for info in pkgutil.walk_packages(fl.__path__, "fusedloss.")]
    names = [name for name in names if not name.startswith(("fusedloss.cli", "fusedloss.__main__"))]
    names = [name for name in names if name not in NOT_INSTALLED]
    return [fl, *(importlib.import_module(name) for name in names)]


def test_public_names() -> None:
    assert set(fl.__all__) == PUBLIC
    submodules = {info.name for info in pkgutil.iter_modules(fl.__path__)}
    visible = {name for name in vars(fl) if not name.startswith("_")} - submodules
    assert visible <= PUBLIC
    assert sorted(fl.__all__) == list(fl.__all__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    actual: list[tuple[str, Any]] = []
    for parameter in inspect.signature(getattr(fl, name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and ("*", None) not in actual:
            actual.append(("*", None))
        default = "required" if parameter.default is parameter.empty else parameter.default
        actual.append((parameter.name, default))
    assert actual == SIGNATURES[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_has_a_type(name: str) -> None:
    signature = inspect.signature(getattr(fl, name))
    for parameter in signature.parameters.values():
        assert parameter.annotation is not parameter.empty, parameter.name
    if not inspect.isclass(getattr(fl, name)):
        assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring(name: str) -> None:
    """One line, then numpydoc's sections; a loss has all of them and a torch equivalent."""
    docstring = inspect.getdoc(getattr(fl, name))
    assert docstring
    first, *rest = docstring.splitlines()
    assert first.endswith(".")
    assert not rest or rest[0] == ""
    sections = set(re.findall(r"^(\w[\w ]*)\n-{3,}$", docstring, re.MULTILINE))
    assert "Examples" in sections
    parameters = inspect.signature(getattr(fl, name)).parameters
    if parameters:
        assert "Parameters" in sections
    for parameter in parameters:
        alone, among_others = rf"^\*?{parameter}\b.* : ", rf"^(\w+, )*{parameter}(, \w+)*( : .*)?$"
        assert re.search(f"{alone}|{among_others}", docstring, re.MULTILINE), parameter
    if hasattr(getattr(fl, name), "__fusedloss__"):
        assert sections >= {"Parameters", "Returns", "Raises", "Notes", "Examples"}
        assert "torch" in docstring
        assert re.search(":math:|.. math::", docstring)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_doctests(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_grad_takes_what_the_loss_takes(name: str) -> None:
    """Positionally and by name, and its two own options."""
    loss: Callable[..., Any] = getattr(fl, name)
    grad = fl.value_and_grad(loss)
    names = [name for name, _ in SIGNATURES[name]]
    arguments = dict(zip(names, LOSSES[name], strict=False))
    value, gradient = grad(*arguments.values())
    value_by_name, gradient_by_name = grad(**arguments, grad_output=None, out=None)
    np.testing.assert_array_equal(value, value_by_name)
    np.testing.assert_array_equal(gradient, gradient_by_name)
    np.testing.assert_array_equal(loss(**arguments), value)


def test_losses_survive_pickling() -> None:
    import pickle

    for name in LOSSES:
        assert pickle.loads(pickle.dumps(getattr(fl, name))) is getattr(fl, name)


def test_version() -> None:
    assert fl.__version__ == importlib.metadata.version("fusedloss")
    written = re.search(r'^version = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.M)
    assert written is not None
    assert fl.__version__ == written[1]


def test_get_include() -> None:
    header = Path(fl.get_include()) / "fusedloss.h"
    assert header.read_text() == (REPOSITORY / "include" / "fusedloss.h").read_text()


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert fl.show_config() is None
    text = capsys.readouterr().out
    assert fl.__version__ in text
    config = fl.show_config(mode="dicts")
    assert capsys.readouterr().out == ""
    assert isinstance(config, dict)
    json.dumps(config)  # plain types all through
    assert _core.current_isa() in json.dumps(config)
    with pytest.raises(ValueError, match="mode"):
        fl.show_config(mode="yaml")  # type: ignore[call-overload]


def test_package_is_typed() -> None:
    package = Path(fl.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "_core.pyi").exists()


def test_stub_names_exist() -> None:
    """What the stub of the compiled module declares is there."""
    import ast

    tree = ast.parse((Path(fl.__file__).parent / "_core.pyi").read_text())
    declared = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    declared += [
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    assert declared
    assert [name for name in declared if not hasattr(_core, name)] == []


def modules_after(run_python: Callable[..., str], names: str) -> set[str]:
    return set(run_python(f"import sys, {names}; print(*sys.modules)").split())


def test_import_brings_in_no_front(run_python: Callable[..., str]) -> None:
    """Importing the package imports NumPy, and no framework or extra."""
    heavy = {
        "torch",
        "jax",
        "keras",
        "sklearn",
        "scipy",
        "rich",
        "matplotlib",
        "lightgbm",
        "xgboost",
    }
    assert not heavy & modules_after(run_python, "fusedloss")


def test_import_is_quick(run_python: Callable[..., str]) -> None:
    """What takes milliseconds to import is left to the calls that need it."""
    slow = {"dataclasses", "inspect", "importlib.metadata", "logging", "re", "subprocess"}
    slow -= modules_after(run_python, "numpy")
    assert not slow & modules_after(run_python, "fusedloss")
