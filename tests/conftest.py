"""Fixtures that every test file shares."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import hypothesis
import numpy as np
import pytest

from fusedloss import _core

# Keras' own choice is TensorFlow, which only `make check` installs.
os.environ["KERAS_BACKEND"] = "torch"

REPOSITORY = Path(__file__).resolve().parent.parent

# The same examples in every run; `make check` takes others each time.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")

#: The instruction sets of this machine, best first.
ISAS = [name for name in _core.isa_names() if _core.isa_available(name)]


class Something:
    """Neither an array nor a number; its repr, part of tests' names, is the same in every run."""

    def __repr__(self) -> str:
        return "an object"


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Kernels of one instruction set, the choice restored afterwards."""
    before = _core.current_isa()
    _core.select_isa(name)
    try:
        yield
    except AssertionError as error:
        error.add_note(f"with {name}")
        raise
    finally:
        _core.select_isa(before)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set that this machine runs."""
    with instruction_set(request.param):
        yield request.param


@pytest.fixture(params=[1, 2, 3, 7])
def num_threads(request: pytest.FixtureRequest) -> int:
    """Fewer and more threads than most machines have cores."""
    return int(request.param)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that are the same in every run, and differ from test to test."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run a script in a fresh Python, with variables set (or, by None, unset), and give its output.

    A script that fails, or that hangs for two minutes, fails the test.
    """

    def run(script: str, *arguments: str, **variables: str | None) -> str:
        environment = {**os.environ, **variables}
        result = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@functools.cache
def build_script() -> ModuleType:
    """setup.py, imported for its table of variants."""
    spec = importlib.util.spec_from_file_location("fusedloss_setup", REPOSITORY / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    with contextlib.chdir(REPOSITORY):
        spec.loader.exec_module(module)
    return module


def c_compiler() -> list[str]:
    """The command of the C compiler; a skipped test where there is none."""
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        pytest.skip("needs a C compiler")
    return command


@pytest.fixture(scope="session")
def static_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the static libraries of the kernels and the core, built from the checkout.

    What the checkout's last build has compiled of the same sources is not compiled again.
    """
    folder = tmp_path_factory.mktemp("static_libraries")
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_clib", "-b", str(folder)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=600,
    )
    return folder
