"""The public header from plain C: compiled, linked with the static libraries, run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ISAS, REPOSITORY, c_compiler

INCLUDE = f"-I{REPOSITORY / 'include'}"


def test_c_program(static_libraries: Path, tmp_path: Path) -> None:
    """tests/c_api.c, strict C11 without warnings: every check passes on every instruction set."""
    program = tmp_path / "c_api"
    kernels = [str(path) for path in sorted(static_libraries.glob("libfusedloss_*.a"))]
    # what an initialiser leaves out is zero, which means absent or default
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wno-missing-field-initializers", "-Werror"]
    flags = ["-std=c11", *warnings, "-O1", "-fopenmp"]
    inputs = [str(REPOSITORY / "tests" / "c_api.c"), str(static_libraries / "libfusedloss.a")]
    subprocess.run(
        [*c_compiler(), *flags, INCLUDE, *inputs, *kernels, "-lm", "-lpthread", "-o", str(program)],
        check=True,
        timeout=120,
    )
    result = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=False)
    lines = result.stdout.splitlines()
    assert result.returncode == 0, lines[-1:]
    assert all(line.startswith("OK ") for line in lines)
    for isa in ISAS:
        assert sum(line.startswith(f"OK {isa}: ") for line in lines) > 20


def test_header_is_cpp_too(tmp_path: Path) -> None:
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    source = tmp_path / "header.cpp"
    source.write_text('#include "fusedloss.h"\nint main() { return fl_softmax_args{}.ndim; }\n')
    subprocess.run(
        ["c++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", INCLUDE, str(source)],
        check=True,
        timeout=60,
    )
