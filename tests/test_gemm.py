"""Products of pairs of bfloat16: by vectors and by tiles, which any machine can emulate."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conftest import ISAS, REPOSITORY
from parts import Array
from test_vmath import build_script

PANEL = 32

#: Rows, columns and pairs of depth: less than a tile, tiles and blocks of them, tails of each, and
#: more than the depth that is worked on at a time (1024 pairs, 256 of a transposed factor).
SIZES = (
    (1, 32, 1),
    (32, 32, 16),
    (31, 32, 16),
    (32, 31, 16),
    (32, 32, 15),
    (33, 33, 17),
    (64, 96, 32),
    (70, 100, 47),
    (95, 65, 300),
    (40, 64, 256),
    (40, 40, 1100),
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels' products: by the CPU's vectors, and by emulated tiles."""
    if "avx512bf16" not in ISAS:
        pytest.skip("needs AVX512-BF16")
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        pytest.skip("needs a C compiler")
    setup = build_script()
    tiles = [variant for variant in setup.compiled_variants() if variant.tiles]
    if not tiles:
        pytest.skip("the compiler has no tiles")
    folder = REPOSITORY / "tests"
    path = tmp_path_factory.mktemp("gemm") / "probe.so"
    subprocess.run(
        [
            *(*command, *setup.KERNEL_FLAGS, *tiles[0].flags, "-shared", "-fPIC"),
            *("-Wno-unused-function", "-Werror", f"-I{REPOSITORY / 'include'}"),
            *("-include", str(folder / "amx_emulation.h"), str(folder / "gemm_probe.c")),
            *("-o", str(path), "-lm"),
        ],
        check=True,
        timeout=300,
    )
    library = ctypes.CDLL(str(path))
    matrices: list[Any] = [ctypes.c_void_p, ctypes.c_int64] * 3
    library.probe.argtypes = [*matrices, *[ctypes.c_int64] * 3, *[ctypes.c_int] * 3]
    library.probe.restype = None
    library.probe_faults.restype = ctypes.c_int64
    return library


def packed(matrix: Array, rows: int) -> Array:
    """A matrix of pairs (rows x columns x 2) in panels, with memory for `rows`; NaN pads it."""
    height, width, _ = matrix.shape
    panels = -(-width // PANEL)
    padded = np.full((max(rows, height), panels * PANEL, 2), np.nan, ml_dtypes.bfloat16)
    padded[:height, :width] = matrix
    by_panel = padded.view("uint32")[..., 0].reshape(len(padded), panels, PANEL).swapaxes(0, 1)
    aligned = aligned_zeros(by_panel.size).reshape(by_panel.shape)
    aligned[:] = by_panel
    return aligned


def aligned_zeros(size: int) -> Array:
    """As the kernels' workspace is: aligned to 64 bytes."""
    memory = np.zeros(size + 16, "uint32")
    start = -memory.ctypes.data // 4 % 16
    return memory[start : start + size]


def multiply(
    library: ctypes.CDLL, a: Array, b: Array, c: Array, *, transposed: bool, add: bool, tiles: bool
) -> Array:
    """The product, or its sum with c, of pairs a (m x k x 2) and b (k x n x 2).

    NaN lies around both and around the result, where it has to stay.
    """
    m, k, _ = a.shape
    n = b.shape[1]
    left = packed(a.swapaxes(0, 1) if transposed else a, 0 if transposed else -(-m // 8) * 8)
    right = packed(b, 0)
    place = np.full((m + 1, n + 3), np.nan, "float32")
    place[:m, :n] = c
    library.probe(
        *(left.ctypes.data, left[0].size, right.ctypes.data, right[0].size),
        *(place.ctypes.data, place.shape[1], m, n, k, add, transposed, tiles),
    )
    result = place[:m, :n].copy()
    place[:m, :n] = np.nan
    assert np.isnan(place).all()
    return result


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_products_of_pairs(
    library: ctypes.CDLL,
    size: tuple[int, int, int],
    transposed: bool,
    add: bool,
    rng: np.random.Generator,
) -> None:
    """No further from the exact product than sums of runs of float32 are."""
    m, n, k = size
    a = rng.normal(size=(m, k, 2)).astype(ml_dtypes.bfloat16)
    b = rng.normal(size=(k, n, 2)).astype(ml_dtypes.bfloat16)
    c = rng.normal(size=(m, n)).astype("float32")
    exact = np.einsum("mkp,knp->mn", a.astype(float), b.astype(float)) + add * c.astype(float)
    sizes = np.einsum("mkp,knp->mn", abs(a.astype(float)), abs(b.astype(float))) + add * abs(c)
    # a term is rounded once for each other one of its run of 32 pairs, each run of its part of the
    # depth, each part, and once where it is added to c
    additions = min(2 * k, 64) + -(-min(k, 1024) // 16) + -(-k // 256) + 3
    for tiles in (False, True):
        result = multiply(library, a, b, c, transposed=transposed, add=add, tiles=tiles)
        assert (abs(result - exact) <= additions * 2.0**-24 * sizes).all(), f"{tiles=}"
    assert library.probe_faults() == 0
    assert library.probe_in_use() == 0


def test_tiles_are_used(library: ctypes.CDLL) -> None:
    """Sums whose order shows: 1 - 2^30 + 2^30 is 0 in one chain of sums, here 1.

    The instruction sums the first halves of pairs apart from the second ones.
    """
    a = np.zeros((32, 16, 2), ml_dtypes.bfloat16)
    a[:, 0], a[:, 1] = (1, -(2.0**30)), (0, 2.0**30)
    b = np.ones((16, 32, 2), ml_dtypes.bfloat16)
    results = [
        multiply(library, a, b, np.zeros((32, 32)), transposed=False, add=False, tiles=tiles)
        for tiles in (False, True)
    ]
    assert (results[0] == 0).all()
    assert (results[1] == 1).all()


@pytest.mark.parametrize(
    ("factor", "rows", "row_bytes"),
    [(1, 15, 64), (1, 16, 60), (2, 15, 64), (2, 16, 60), (1, 16, 62), (1, 17, 64), (1, 0, 0)],
)
def test_emulated_tiles_refuse_what_does_not_fit(
    library: ctypes.CDLL, factor: int, rows: int, row_bytes: int
) -> None:
    before = library.probe_faults()
    library.probe_shapes(1, 16, 64)
    assert library.probe_faults() == before
    library.probe_shapes(factor, rows, row_bytes)
    faults = library.probe_faults()
    assert faults > before
    library.probe_shapes(1, 16, 64)  # forgets nothing else
    assert library.probe_faults() == faults
