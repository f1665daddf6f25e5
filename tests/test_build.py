"""What the build promises: one parallel loop, one symbol per variant, flags in one table."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY, build_script, c_compiler
from fusedloss import _core

SOURCES = REPOSITORY / "src"

#: The files of src/core that start threads, or run on them.
ENGINE = ("threads", "engine", "job", "openmp", "pool")

#: What a kernel may not call: it allocates nothing and starts nothing.
FORBIDDEN = re.compile(
    r"^(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|memalign|mmap|brk|sbrk|alloca"
    r"|pthread_\w+|GOMP_\w+|omp_\w+|__kmpc_\w+|printf|abort|exit|getenv|_Zn\w+|__tls_get_addr)$"
)


def symbols(library: Path, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """(type, name) of every symbol of a static library, some of its objects left out, by nm."""
    if shutil.which("nm") is None:
        pytest.skip("needs nm, of binutils")
    # -A begins each line with "library[object]: "
    output = subprocess.run(
        ["nm", "-A", "--format=posix", str(library)], check=True, capture_output=True, text=True
    ).stdout
    found = []
    for line in output.splitlines():
        place, _, rest = line.partition(": ")
        if not any(f"[{name}]" in place for name in without):
            name, kind, *_ = rest.split()
            found.append((kind, name))
    return found


def variant_libraries(folder: Path) -> dict[str, Path]:
    """The kernels' libraries by "<variant>_<real>"."""
    libraries = sorted(folder.glob("libfusedloss_*.a"))
    return {library.stem.removeprefix("libfusedloss_"): library for library in libraries}


def test_every_variant_is_built(static_libraries: Path) -> None:
    """Each is a library of its own, but tiles, which share that of vectors."""
    names = [name for name in _core.isa_names() if name != "amx"]
    assert len(variant_libraries(static_libraries)) == 2 * len(names)


@pytest.mark.parametrize("variant", build_script().VARIANTS, ids=lambda variant: variant.name)
def test_variants_are_free_of_warnings(variant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the compiler's front end: all that -Wall and -Wextra say without optimising."""
    setup = build_script()
    monkeypatch.chdir(REPOSITORY)
    for real in setup.REALS:
        _, library = setup.kernel_library(variant, real)
        folders = [f"-I{folder}" for folder in library["include_dirs"]]
        flags = [*folders, *library["cflags"], "-Werror", "-fsyntax-only"]
        subprocess.run([*c_compiler(), *flags, *library["sources"]], check=True, timeout=120)


@pytest.mark.parametrize("flag", ["-O2", "-fno-such-flag"])
def test_flags_are_tried(flag: str) -> None:
    """A compiler that does not take one, OpenMP's say, builds without it."""
    setup = build_script()
    assert setup.links("int main(void) { return 0; }\n", (flag,)) == (flag == "-O2")
    assert not setup.links("not C\n", (flag,))


def test_one_exported_symbol_per_variant(static_libraries: Path) -> None:
    """A variant's library defines its table, constant, and nothing else that others can see."""
    for variant, library in variant_libraries(static_libraries).items():
        visible = [
            (kind, name) for kind, name in symbols(library) if kind.isupper() and kind != "U"
        ]
        assert [name for _, name in visible] == [f"fl_kernels_{variant}"]
        # R: read-only data; D: read-only after relocation (it holds pointers)
        assert visible[0][0] in "RD"


def test_kernels_have_no_state(static_libraries: Path) -> None:
    """No writable data but the tables of pointers, which the loader makes read-only."""
    for variant, library in variant_libraries(static_libraries).items():
        written = [name for kind, name in symbols(library) if kind in "bBcCdDgGsS"]
        tables = {"margin_rows", "point_losses", "row_losses", "pair_losses"}
        assert set(written) <= {f"fl_kernels_{variant}", *tables}


def test_kernels_allocate_nothing_and_start_nothing(static_libraries: Path) -> None:
    for variant, library in variant_libraries(static_libraries).items():
        undefined = {name for kind, name in symbols(library) if kind == "U"}
        assert not {name for name in undefined if FORBIDDEN.match(name)}, variant


def test_public_functions_allocate_nothing_and_start_nothing(static_libraries: Path) -> None:
    """As the header says; the Python package's threads and memory are in objects of their own."""
    library = static_libraries / "libfusedloss.a"
    own = ("memory", "buffers", "recording", "xla", *ENGINE)
    others = symbols(library, without=tuple(f"{name}.o" for name in own))
    undefined = {name for kind, name in others if kind == "U"}
    assert undefined
    assert not {name for name in undefined if FORBIDDEN.match(name)}


def test_extension_exports_little() -> None:
    """Its entry point, the kernels' tables and Cython's own; no name that may clash."""
    if sys.platform != "linux" or shutil.which("nm") is None:
        pytest.skip("needs nm, of binutils, and ELF")
    output = subprocess.run(
        ["nm", "-D", "--defined-only", _core.__file__], check=True, capture_output=True, text=True
    ).stdout
    names = [line.split()[-1] for line in output.splitlines()]
    assert "PyInit__core" in names
    allowed = re.compile(r"PyInit__core|_init|_fini|fl_kernels_\w+_f(32|64)|__pyx_\w+")
    assert [name for name in names if not allowed.fullmatch(name)] == []


# ---- The sources -------------------------------------------------------------------------------


def test_one_parallel_loop() -> None:
    """One call of the engine; threads are created in one place, and no OpenMP region is opened."""
    found: dict[str, list[str]] = {"fl_parallel(": [], "pthread_create(": [], "omp": []}
    patterns = {
        "fl_parallel(": re.compile(r"^ *if fl_parallel\("),
        "pthread_create(": re.compile(r"pthread_create\("),
        "omp": re.compile(r"#\s*pragma\s+omp|_Pragma\s*\(\s*\"omp|prange\("),
    }
    for path in SOURCES.rglob("*.*"):
        if path.suffix not in (".c", ".h", ".inc", ".pyx", ".pxi"):
            continue
        if path.with_suffix(".pyx").exists() and path.suffix == ".c":
            continue  # what Cython wrote
        for line in path.read_text().splitlines():
            for name, pattern in patterns.items():
                if pattern.search(line):
                    found[name].append(path.name)
    assert found == {
        "fl_parallel(": ["core.pyx"],
        "pthread_create(": ["pool.c"],
        "omp": [],
    }


def test_instruction_set_flags_live_in_one_table() -> None:
    """In setup.py's variants; no other build file, no pragma, no function attribute."""
    flag = re.compile(r"-m(avx|fma|sse|f16c|bmi|arch|tune|cpu|popcnt|amx)|-ffast-math|-Ofast")
    attribute = re.compile(r"__attribute__\s*\(\(\s*target|#pragma\s+(GCC|clang)\s+target")
    setup = (REPOSITORY / "setup.py").read_text()
    table = re.search(r"^\w*VARIANTS = \(.*?^VARIANTS = .*?\n}", setup, re.DOTALL | re.MULTILINE)
    assert table is not None
    rest = "\n".join(line.partition("#")[0] for line in setup.replace(table[0], "").splitlines())
    assert not flag.search(rest)
    build_files = [REPOSITORY / name for name in ("pyproject.toml", "Makefile", "MANIFEST.in")]
    for path in filter(Path.exists, build_files):
        assert not flag.search(path.read_text()), path
    cython = [*SOURCES.rglob("*.pyx"), *SOURCES.rglob("*.pxi")]
    for path in [*SOURCES.rglob("*.[ch]"), *SOURCES.rglob("*.inc"), *cython]:
        text = path.read_text()
        assert not attribute.search(text), path
        if path.suffix == ".pyx":
            assert "distutils:" not in text


def imported(path: Path) -> set[str]:
    """The modules of this package that a file imports, or imports names from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "fusedloss"}


def test_private_modules_import_no_public_ones() -> None:
    """Public modules stand on private ones: _lower on _check, both on _core and _types."""
    package = SOURCES / "fusedloss"
    public = {f"fusedloss.{path.stem}" for path in package.glob("[a-z]*.py")}
    private = [package / "_types.py", *package.glob("_lower/*.py"), *package.glob("_check/*.py")]
    assert len(private) > 20
    upwards = {path.name: imported(path) & public for path in private}
    assert {name: modules for name, modules in upwards.items() if modules} == {}


def test_nothing_generated_is_tracked() -> None:
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("needs a git checkout")
    tracked = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files"], check=True, capture_output=True, text=True
    ).stdout.split()
    generated = re.compile(r"\.(so|o|a|pyc|pyd|whl|egg-info)$|(^|/)(build|dist|\.venv)/|core\.c$")
    assert [name for name in tracked if generated.search(name)] == []


# ---- The instruction set at run time -----------------------------------------------------------

CURRENT = "from fusedloss import _core; print(_core.current_isa())"


@pytest.mark.parametrize("name", _core.isa_names())
def test_environment_forces_an_instruction_set(run_python: Callable[..., str], name: str) -> None:
    if not _core.isa_available(name):
        pytest.skip(f"this machine has no {name}")
    assert run_python(CURRENT, FUSEDLOSS_ISA=name).strip() == name


def test_best_instruction_set_is_the_default(run_python: Callable[..., str]) -> None:
    best = next(name for name in _core.isa_names() if _core.isa_available(name))
    assert run_python(CURRENT, FUSEDLOSS_ISA=None).strip() == best
    assert run_python(CURRENT, FUSEDLOSS_ISA="").strip() == best


@pytest.mark.parametrize("name", ["avx9000", "AVX2 ", "sve"])
def test_unknown_instruction_set_is_an_error(name: str) -> None:
    """The import fails, naming the variable, its value and the choices."""
    result = subprocess.run(
        [sys.executable, "-c", "import fusedloss"],
        env={**os.environ, "FUSEDLOSS_ISA": name},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError")
    for part in ("FUSEDLOSS_ISA", name, *(n for n in _core.isa_names() if _core.isa_available(n))):
        assert part in last


def test_select_isa_refuses_what_is_not_there() -> None:
    before = _core.current_isa()
    for name in ("avx9000", "", "AVX512"):
        assert not _core.isa_available(name)
        with pytest.raises(ValueError, match=before):
            _core.select_isa(name)
    assert _core.current_isa() == before


def test_source_distribution_has_what_is_kept_beside_the_package(tmp_path: Path) -> None:
    """All tracked files of these folders, examples among them."""
    command = ["setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    subprocess.run(
        [sys.executable, *command, "sdist", "--dist-dir", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        timeout=300,
    )
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    for folder in ("examples", "src", "include", "tests", "benchmarks"):
        kept = {
            str(path.relative_to(REPOSITORY))
            for path in (REPOSITORY / folder).rglob("*")
            if path.suffix in (".py", ".c", ".h", ".inc", ".pyx", ".pxi", ".pyi")
            and path.name != "core.c"
        }
        assert kept
        assert kept <= names, sorted(kept - names)
