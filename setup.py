"""Build fusedloss: each kernel source compiled once per instruction set and real type.

Everything that is not the build is declared in pyproject.toml.
"""

from __future__ import annotations

import contextlib
import copy
import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext


@dataclass(frozen=True)
class Variant:
    """One instruction set that the kernels run on."""

    name: str  # as FUSEDLOSS_ISA and show_config spell it
    token: str  # of the kernels, as C symbols spell it; those of tiles have vectors to share
    flags: tuple[str, ...]
    tiles: bool = False


ARM_VARIANTS = (Variant("neon", "neon", ()),)
PORTABLE_VARIANTS = (Variant("portable", "portable", ()),)
AVX512_FLAGS = (
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"),
    *("-mavx2", "-mfma", "-mf16c"),
)
AVX512_BF16_FLAGS = (*AVX512_FLAGS, "-mavx512bf16")
# No compiler uses tiles unless told to: the same kernels run where there are none.
AMX_FLAGS = (*AVX512_BF16_FLAGS, "-mamx-tile", "-mamx-bf16")
X86_VARIANTS = (
    Variant("amx", "avx512bf16", AMX_FLAGS, tiles=True),
    Variant("avx512bf16", "avx512bf16", AVX512_BF16_FLAGS),
    Variant("avx512", "avx512", AVX512_FLAGS),
    Variant("avx2", "avx2", ("-mavx2", "-mfma", "-mf16c")),
    Variant("x86-64-v2", "sse4", ("-msse4.2", "-mpopcnt")),
)

#: The instruction sets of this machine's architecture, best first.
VARIANTS = {
    "x86_64": X86_VARIANTS,
    "amd64": X86_VARIANTS,
    "aarch64": ARM_VARIANTS,
    "arm64": ARM_VARIANTS,
}.get(platform.machine().lower(), PORTABLE_VARIANTS)

#: The compute types, by the suffix of their table's symbol.
REALS: dict[str, tuple[str, ...]] = {"f32": (), "f64": ("-DFL_DOUBLE",)}

# Never -ffast-math: it flushes subnormals for the whole process as soon as the library loads.
# No LTO: the link step would mix instruction sets.
# Debug information down to lines: more of it takes a fifth of the compiler's time.
WARNINGS = ("-Wall", "-Wextra", "-g1")
C_FLAGS = ("-O3", "-std=gnu11", "-fvisibility=hidden", "-fno-math-errno", "-fno-lto", *WARNINGS)
# What GCC alone takes: short copies stay inline, where calls of memmove cost more than copying.
GCC_FLAGS = ("-fno-tree-loop-distribute-patterns",)
KERNEL_FLAGS = (
    *(*C_FLAGS, "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"),
    *GCC_FLAGS,
)

#: For builds that look for faults: flags after all others, and the instruction sets to compile.
EXTRA_FLAGS = tuple(shlex.split(os.environ.get("FUSEDLOSS_CFLAGS", "")))
CHOSEN_ISAS = os.environ.get("FUSEDLOSS_COMPILED_ISAS", "").split()

# Symbols and line numbers are four fifths of the extension; builds that look for faults keep them.
STRIP = ("-Wl,--strip-all",) if sys.platform == "linux" else ()

HEADERS = ["include/fusedloss.h", *sorted(glob("src/core/*.h") + glob("src/kernels/*.h"))]
KERNEL_PARTS = sorted(glob("src/kernels/*.inc"))
CYTHON_PARTS = sorted(glob("src/fusedloss/_core/*.pxi"))


def losses(macro: str) -> str:
    """List the losses that a macro defines, as the kernels take them: X(its arguments) each."""
    names = [
        match
        for part in KERNEL_PARTS
        for match in re.findall(rf"^{macro}\(([\w, ]+)\)", Path(part).read_text(), re.MULTILINE)
    ]
    return " ".join(f"X({name})" for name in names)


def kernel_library(variant: Variant, suffix: str) -> tuple[str, dict[str, Any]]:
    """Describe the static library of one row of the table, as build_clib takes it."""
    table = f"fl_kernels_{variant.token}_{suffix}"
    flags = [*KERNEL_FLAGS, *variant.flags, *REALS[suffix]]
    names = [f"-DFL_TABLE={table}", f"-DFL_POINTWISE_LOSSES={losses('LOSS')}"]
    names.append(f"-DFL_ROWWISE_LOSSES={losses('ROW_LOSS')}")
    names.append(f"-DFL_PAIR_LOSSES={losses('PAIR_LOSS')}")
    names.append(f"-DFL_MARGINS={losses('MARGIN')}")
    return f"fusedloss_{variant.token}_{suffix}", {
        "sources": ["src/kernels/kernels.c"],
        "obj_deps": {"src/kernels/kernels.c": HEADERS + KERNEL_PARTS},
        "include_dirs": ["include", "src/kernels"],
        "cflags": [*flags, *names, *EXTRA_FLAGS],
    }


def core_library(variants: list[Variant], openmp: bool) -> tuple[str, dict[str, Any]]:
    """Describe the static library of what is compiled once, for any CPU."""
    sources = sorted(glob("src/core/*.c"))
    rows = " ".join(f'X({each.token}, "{each.name}", {each.tiles:d})' for each in variants)
    return "fusedloss", {
        "sources": sources,
        "obj_deps": {source: HEADERS for source in sources},
        "include_dirs": ["include", "src/kernels", "src/core"],
        "cflags": [
            *C_FLAGS,
            f"-DFL_VARIANTS={rows}",
            *(["-fopenmp"] if openmp else []),
            *EXTRA_FLAGS,
        ],
    }


def links(program: str, flags: tuple[str, ...]) -> bool:
    """Whether the compiler takes flags, and makes a program with them."""
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.errors import CompileError, LinkError
    from setuptools._distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with open("probe.c", "w") as file:
            file.write(program)
        try:
            objects = compiler.compile(["probe.c"], extra_postargs=list(flags))
            compiler.link_executable(objects, "probe", extra_postargs=list(flags))
        except (CompileError, LinkError):
            return False
    return True


def has_openmp() -> bool:
    """Whether the compiler takes -fopenmp and links a program with it.

    The package's threads are its own. OpenMP's runtime is asked whether a call comes from inside
    one of its regions, and to end its workers before a fork. FUSEDLOSS_OPENMP=0 does without, as
    does macOS, where two runtimes in one process crash, unless FUSEDLOSS_OPENMP=1 promises one.
    """
    wanted = os.environ.get("FUSEDLOSS_OPENMP", "0" if sys.platform == "darwin" else "auto")
    if wanted in ("0", "1"):
        return wanted == "1"
    program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    return links(program, ("-fopenmp",))


def compiled_variants() -> list[Variant]:
    """List the instruction sets but that of tiles where the compiler has none (GCC before 11).

    FUSEDLOSS_COMPILED_ISAS names those that are wanted, if not all.
    """
    program = "#ifndef __AMX_BF16__\n#error\n#endif\nint main(void) { return 0; }\n"
    known = [each for each in VARIANTS if not each.tiles or links(program, each.flags)]
    return [each for each in known if not CHOSEN_ISAS or each.name in CHOSEN_ISAS]


class BuildLibraries(build_clib):
    """build_clib with an object folder per library, since the kernel libraries share one source.

    The libraries are built side by side: each is one long compilation. Objects are kept from build
    to build, but not from another one: of other flags, of another setup.py, or interrupted.
    """

    def build_libraries(self, libraries: list[tuple[str, dict[str, Any]]]) -> None:
        def build(library: tuple[str, dict[str, Any]]) -> None:
            command = copy.copy(self)
            command.build_temp = os.path.join(self.build_temp, library[0])
            build_clib.build_libraries(command, [library])

        built_with = Path(self.build_temp, "built-with")
        this_build = f"{libraries}\n{os.environ.get('CC')}\n{Path('setup.py').read_text()}"
        if not built_with.exists() or built_with.read_text() != this_build:
            shutil.rmtree(self.build_temp, ignore_errors=True)
        built_with.unlink(missing_ok=True)
        os.makedirs(self.build_clib, exist_ok=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(build, libraries))
        os.makedirs(self.build_temp, exist_ok=True)
        built_with.write_text(this_build)


class BuildExtension(build_ext):
    """build_ext that relinks when a static library changed."""

    def finalize_options(self) -> None:
        super().finalize_options()
        clib = self.get_finalized_command("build_clib")
        for extension in self.extensions:
            extension.depends += [
                os.path.join(clib.build_clib, f"lib{name}.a") for name, _ in clib.libraries or []
            ]

    def run(self) -> None:
        self.run_command("build_clib")
        super().run()


def main() -> None:
    openmp = has_openmp()
    openmp_flags = ["-fopenmp"] if openmp else []
    free_threaded = bool(__import__("sysconfig").get_config_var("Py_GIL_DISABLED"))
    limited_api = not free_threaded
    # The core library comes after the kernels' on a linker's line that names what it needs last.
    variants = compiled_variants()
    libraries = [core_library(variants, openmp)]
    # those of one token are compiled once, for the best of their instruction sets
    kernels = {variant.token: variant for variant in reversed(variants)}
    libraries += [
        kernel_library(variant, suffix) for variant in kernels.values() for suffix in REALS
    ]
    if not links("int main(void) { return 0; }\n", GCC_FLAGS):
        for _, library in libraries:
            library["cflags"] = [flag for flag in library["cflags"] if flag not in GCC_FLAGS]
    core = Extension(
        "fusedloss._core",
        ["src/fusedloss/_core/core.pyx"],
        include_dirs=["include", "src/core"],
        depends=[*CYTHON_PARTS, *HEADERS, *KERNEL_PARTS, *sorted(glob("src/core/*.c"))],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if limited_api else [],
        py_limited_api=limited_api,
        extra_compile_args=["-O2", "-fno-lto", *EXTRA_FLAGS],
        extra_link_args=["-pthread", *openmp_flags, *(EXTRA_FLAGS or STRIP)],
    )
    setup(
        libraries=libraries,
        ext_modules=[core],
        cmdclass={"build_clib": BuildLibraries, "build_ext": BuildExtension},
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited_api else {},
    )


if __name__ == "__main__":
    main()
