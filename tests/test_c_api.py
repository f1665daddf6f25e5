"""The public header from plain C: compiled, linked with the static libraries, run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from conftest import ISAS, REPOSITORY, c_compiler

GUIDE = REPOSITORY / "docs" / "guides" / "c.md"
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


# ---- The guide's programs --------------------------------------------------------------------

guide = pytest.mark.skipif(not GUIDE.exists(), reason="this copy has no documentation")


def blocks(language: str) -> list[str]:
    """The guide's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def linked(folder: Path) -> list[str]:
    """What the guide's command links with, from a folder of static libraries."""
    kernels = [str(path) for path in sorted(folder.glob("libfusedloss_*.a"))]
    return [str(folder / "libfusedloss.a"), *kernels, "-fopenmp", "-lm", "-lpthread"]


@guide
def test_programs_of_the_guide(static_libraries: Path, tmp_path: Path) -> None:
    """Each prints what the guide says below it."""
    programs, outputs = blocks("c"), blocks("text")
    assert len(programs) == len(outputs) == 2
    for program, output in zip(programs, outputs, strict=True):
        source, executable = tmp_path / "program.c", tmp_path / "program"
        source.write_text(program)
        flags = ["-O1", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", INCLUDE]
        flags += [str(source), *linked(static_libraries), "-o", str(executable)]
        subprocess.run([*c_compiler(), "-fopenmp", *flags], check=True, timeout=120)
        done = subprocess.run([str(executable)], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, output)


@guide
def test_lines_of_the_readme(static_libraries: Path, tmp_path: Path) -> None:
    """In the function around them that a reader would write, they give the guide's loss."""
    readme = (REPOSITORY / "README.md").read_text()
    [lines] = re.findall(r"^```c\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    arrays = "".join(re.findall(r"^    (?:const .*|float .*)\n", blocks("c")[0], re.MULTILINE))
    source, executable = tmp_path / "program.c", tmp_path / "program"
    source.write_text(
        "#include <fusedloss.h>\n#include <stdio.h>\n"
        "static _Alignas(64) char workspace[1 << 20];\n"
        f'int main(void) {{\n{arrays}{lines}printf("%.4f\\n", call.value);\n}}\n'
    )
    flags = ["-O1", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", INCLUDE]
    flags += [str(source), *linked(static_libraries), "-o", str(executable)]
    subprocess.run([*c_compiler(), "-fopenmp", *flags], check=True, timeout=120)
    done = subprocess.run([str(executable)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0.8955\n")


@guide
def test_extension_of_the_guide(static_libraries: Path, tmp_path: Path) -> None:
    """The module in Cython is built, and its loss is NumPy's."""
    pytest.importorskip("Cython")
    [module] = blocks("cython")
    (tmp_path / "distance.pyx").write_text(module)
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "distance.pyx"],
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    flags = ["-shared", "-fPIC", f"-I{sysconfig.get_path('include')}", INCLUDE, "distance.c"]
    subprocess.run(
        [*c_compiler(), "-O1", *flags, *linked(static_libraries), "-o", f"distance{suffix}"],
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    code = (
        "import numpy as np, distance\n"
        "x, target = np.arange(5.0), np.full(5, 2.0)\n"
        "assert distance.mean_squared_error(x, target) == 2\n"
        "try: distance.mean_squared_error(x, target[:4])\n"
        "except ValueError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
