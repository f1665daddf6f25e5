"""The vector exp and log against the truth: errors as vmath.inc states them, special values."""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from conftest import ISAS, REPOSITORY, build_script, c_compiler
from parts import Array

#: The functions in the order of vmath_probe.c's enumeration, and the formula of each.
FORMULAS: dict[str, tuple[Callable[[Array], Array], Callable[[Any], Any]]] = {
    "vexp": (np.exp, mpmath.exp),
    "vexp_nonpositive": (np.exp, mpmath.exp),
    "vlog": (np.log, mpmath.log),
    "vlog1p": (np.log1p, mpmath.log1p),
    "vlog1p_of_fraction": (np.log1p, mpmath.log1p),
    "vtanh": (np.tanh, mpmath.tanh),
    "vpow_of_fraction": (lambda x: np.power(x, power_of(x)), lambda x: x ** mpmath.mpf(POWER)),
}
DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
#: vmath_probe.c's power: with it the fraction of the exponent varies, and no product is exact.
POWER = 2.7


def power_of(x: Array) -> float:
    """POWER as the float32 that is passed on: only float32 is held against NumPy's formula."""
    return float(np.float32(POWER))


#: The largest x whose exponential is finite.
LARGEST_EXPONENT = {"f32": 88.72283172607422, "f64": 709.782712893384}
#: From here down the exponential is 0: half the smallest subnormal is above it.
LOWEST_EXPONENT = {"f32": -104.0, "f64": -745.2}


@functools.cache
def stated_errors() -> dict[str, tuple[float, float]]:
    """What each function's comment in vmath.inc states: ULP on AVX-512, ULP elsewhere."""
    text = (REPOSITORY / "src" / "kernels" / "vmath.inc").read_text()
    comment = (
        r"Max error: ([\d.]+) ULP(?: \(([\d.]+) without AVX-512\))?"
        r"(?:(?!\*/).)*\*/\s*ALWAYS_INLINE vec (\w+)\("
    )
    found = re.findall(comment, text, re.DOTALL)
    return {name: (float(best), float(other or best)) for best, other, name in found}


class Probe:
    """The vector functions of one variant, on arrays."""

    def __init__(self, library: str, isa: str, real: str) -> None:
        self.isa, self.real, self.dtype = isa, real, DTYPES[real]
        self.library = ctypes.CDLL(library)
        self.library.probe.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self.library.probe.argtypes.append(ctypes.c_int64)
        self.library.probe.restype = None
        self.library.probe_lane_sum.argtypes = [ctypes.c_void_p]
        self.library.probe_lane_sum.restype = ctypes.c_double
        self.library.probe_lane_max.argtypes = [ctypes.c_void_p]
        self.library.probe_lane_max.restype = ctypes.c_float if real == "f32" else ctypes.c_double
        self.lanes = ctypes.c_int64.in_dll(self.library, "probe_lanes").value

    def __call__(self, function: str, x: Array) -> Array:
        assert x.dtype == self.dtype
        y = np.full_like(x, 17)
        number = list(FORMULAS).index(function)
        self.library.probe(number, x.ctypes.data, y.ctypes.data, x.size)
        return y

    def lane_sum(self, x: Array) -> float:
        assert x.dtype == self.dtype
        assert x.size == self.lanes
        return float(self.library.probe_lane_sum(x.ctypes.data))

    def lane_max(self, x: Array) -> float:
        assert x.dtype == self.dtype
        assert x.size == self.lanes
        return float(self.library.probe_lane_max(x.ctypes.data))


@pytest.fixture(scope="module", params=[f"{isa} {real}" for isa in ISAS for real in DTYPES])
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """Every variant that this machine runs, compiled with the kernels' own flags."""
    isa, real = request.param.split()
    setup = build_script()
    (variant,) = (variant for variant in setup.VARIANTS if variant.name == isa)
    flags = [*setup.KERNEL_FLAGS, *variant.flags, *setup.REALS[real], "-shared", "-fPIC"]
    library = str(tmp_path_factory.mktemp("vmath") / f"probe_{isa}_{real}.so")
    source = str(REPOSITORY / "tests" / "vmath_probe.c")
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [*c_compiler(), *flags, *warnings, source, "-o", library, "-lm"], check=True, timeout=120
    )
    return Probe(library, isa, real)


# ---- Where, and the truth there ----------------------------------------------------------------


def neighbours(x: Array, dtype: np.dtype[Any]) -> Array:
    """Each x rounded to ``dtype``, and the two numbers of that type on either side."""
    with np.errstate(over="ignore"):
        middle = x.astype(dtype)
        below, above = (
            np.nextafter(middle, dtype.type(-np.inf)),
            np.nextafter(middle, dtype.type(np.inf)),
        )
        edges = np.nextafter(below, dtype.type(-np.inf)), np.nextafter(above, dtype.type(np.inf))
    return np.concatenate([edges[0], below, middle, above, edges[1]])


@functools.cache
def points(function: str, real: str) -> Array:
    """Arguments with a finite result: uniform, log-uniform, subnormal, and where methods break."""
    dtype = DTYPES[real]
    limits = np.finfo(dtype)
    few = real == "f64"  # mpmath's truth takes 10 us each
    random = np.random.default_rng(list(f"{function} {real}".encode()))
    count = 4_001 if few else 400_001

    def log_uniform(low: float, high: float) -> Array:
        return 2.0 ** random.uniform(np.log2(low), np.log2(high), count)

    smallest = float(limits.smallest_subnormal)
    if function.startswith("vexp"):
        low = LOWEST_EXPONENT[real]
        high = LARGEST_EXPONENT[real] if function == "vexp" else 1.0
        # the steps of n, at odd multiples of ln(2)/2, and of the table of 16 below
        steps = np.arange(np.ceil(low * 32 / np.log(2)), high * 32 / np.log(2))
        steps = steps[(steps % 16 == 0) | (random.random(steps.size) < 0.05)] if few else steps
        x = [
            random.uniform(low, high, count),
            random.uniform(-2, min(high, 2), count),
            -log_uniform(smallest, -low),
            log_uniform(smallest, high),
            neighbours(steps * np.log(2) / 32, dtype),
            neighbours(np.array([low, high, np.log(limits.tiny)]), dtype),
        ]
    elif function == "vtanh":
        low, high = -float(limits.max), float(limits.max)
        x = [
            random.uniform(-1, 1, count),
            random.uniform(-20, 20, count),
            log_uniform(smallest, high),
            -log_uniform(smallest, high),
            neighbours(np.array([-0.625, 0.625]), dtype),
        ]
    elif function == "vpow_of_fraction":
        low, high = 0.0, 1.0
        steps = np.exp2(np.arange(np.log2(smallest), 0.5, 0.5))
        lowest = float(limits.tiny) ** (1 / POWER)
        x = [
            random.uniform(low, high, count),
            log_uniform(lowest, 1),
            log_uniform(smallest, lowest),
            neighbours(steps, dtype),
        ]
    elif function == "vlog1p_of_fraction":
        low, high = 0.0, 1.0
        x = [
            random.uniform(low, high, count),
            log_uniform(smallest, high),
            neighbours(np.arange(0.5, 31) / 31, dtype),  # the steps of its table
            neighbours(np.array([0.5, high]), dtype),
        ]
    else:
        low, high = (0.0 if function == "vlog" else -1.0), float(limits.max)
        # the steps of the exponent, at powers of two and sqrt(1/2) times powers of two
        steps = np.concatenate([np.arange(np.log2(smallest), limits.maxexp), [-0.5, 0.5, 1.5]])
        steps = np.concatenate([np.exp2(steps), np.exp2(random.choice(steps[:-3], 99) + 0.5)])
        x = [
            random.uniform(low, low + 3, count),
            random.uniform(low + 0.70, low + 0.72, count),
            random.uniform(low + 1.40, low + 1.42, count),
            log_uniform(smallest, high),
            log_uniform(smallest, limits.tiny),
            neighbours(steps, dtype),
            neighbours(
                1 + low + np.array([-1, 1]) * log_uniform(limits.eps, 1)[:99, None], dtype
            ).ravel(),
        ]
        if function == "vlog1p":
            x += [-log_uniform(smallest, 1), neighbours(np.concatenate([steps - 1, -steps]), dtype)]
    with np.errstate(over="ignore"):
        rounded = np.concatenate([part.astype(dtype) for part in x])
    if function.startswith("vexp"):
        inside = (rounded >= low) & (rounded <= high)
    else:
        inside = (rounded > low) & (rounded <= high)
    return np.unique(rounded[inside])


@functools.cache
def truth(function: str, real: str) -> tuple[Array, Array, Array]:
    """The results at ``points``: (high + low) 2^exponent, 2^exponent being the unit of ``real``."""
    x = points(function, real)
    limits = np.finfo(DTYPES[real])
    numpy_formula, formula = FORMULAS[function]
    if real == "f32":  # float64 has 29 bits to spare
        result = numpy_formula(x.astype(np.float64))
        binade = np.where(result == 0, limits.minexp, np.frexp(result)[1] - 1)
        exponent = np.maximum(binade, limits.minexp) - limits.nmant
        return np.ldexp(result, -exponent), np.zeros_like(result), exponent
    with mpmath.workprec(160):
        exact = [formula(mpmath.mpf(value)) for value in x.tolist()]
        exponents = [
            int(max(mpmath.mag(value) - 1 if value else limits.minexp, limits.minexp))
            - limits.nmant
            for value in exact
        ]
        in_units = [mpmath.ldexp(value, -n) for value, n in zip(exact, exponents, strict=True)]
        high = np.array([float(value) for value in in_units])
        low = [float(value - top) for value, top in zip(in_units, high.tolist(), strict=True)]
    return high, np.array(low), np.array(exponents)


# ---- Tests -------------------------------------------------------------------------------------


def test_every_function_states_its_error() -> None:
    assert set(stated_errors()) == set(FORMULAS)


@pytest.mark.parametrize("function", FORMULAS)
def test_error_is_as_stated(probe: Probe, function: str) -> None:
    x = points(function, probe.real)
    high, low, exponent = truth(function, probe.real)
    actual = probe(function, x)
    error = np.abs((np.ldexp(actual.astype(np.float64), -exponent) - high) - low)
    if function == "vexp_nonpositive" and not probe.isa.startswith("avx512"):
        # documented: no AVX-512, no subnormal results below 0.7 times the smallest normal number
        tiny = np.finfo(probe.dtype).tiny
        flushed = (actual == 0) & (np.ldexp(high, exponent) < 0.7072 * tiny)
        error[flushed] = 0
    assert np.all(np.isfinite(actual))
    worst = int(np.argmax(error))
    stated = stated_errors()[function][not probe.isa.startswith("avx512")]
    assert error[worst] <= stated, f"{error[worst]:.3f} ULP at {float(x[worst]).hex()}"


@pytest.mark.parametrize("function", ["vexp", "vexp_nonpositive"])
def test_exp_special_values(probe: Probe, function: str) -> None:
    limits = np.finfo(probe.dtype)
    overflow = np.nextafter(
        probe.dtype.type(LARGEST_EXPONENT[probe.real]), probe.dtype.type(np.inf)
    )
    ones = [0.0, -0.0, limits.tiny, -limits.smallest_subnormal]
    zeros = [-np.inf, limits.min, -1e30, -1e9, LOWEST_EXPONENT[probe.real]]
    infinities = [np.inf, limits.max, 1e5, overflow] if function == "vexp" else []
    actual = probe(function, np.array([*ones, *zeros, *infinities], probe.dtype))
    expected = np.repeat([1.0, 0.0, np.inf], [len(ones), len(zeros), len(infinities)])
    np.testing.assert_array_equal(actual, expected)
    assert not np.any(np.signbit(actual))


def test_exp_flushes_only_tiny_results(probe: Probe) -> None:
    """Without AVX-512 the fast exp gives 0 below the normal numbers, and right results in them."""
    tiny = np.log(np.longdouble(np.finfo(probe.dtype).tiny))
    x = np.array([tiny + 0.01, tiny - 0.3, tiny - 0.4, tiny - 1, tiny - 20], probe.dtype)
    actual, full = probe("vexp_nonpositive", x), probe("vexp", x)
    assert actual[0] == full[0] > 0
    assert np.all(full[:4] > 0)
    if probe.isa.startswith("avx512"):
        np.testing.assert_array_equal(actual, full)
    else:
        assert actual[1] > 0
        np.testing.assert_array_equal(actual[2:], 0)


@pytest.mark.parametrize(("function", "shift"), [("vlog", 0), ("vlog1p", -1)])
def test_log_special_values(probe: Probe, function: str, shift: int) -> None:
    limits = np.finfo(probe.dtype)
    table = [(shift, -np.inf), (1 + shift, 0), (np.inf, np.inf)]
    table += [(x, np.nan) for x in (shift - 1e-6, -2, limits.min, -np.inf)]
    if function == "vlog":
        table += [(-0.0, -np.inf), (-limits.smallest_subnormal, np.nan)]
    else:
        table += [(x, x) for x in (1e-30, -1e-30, limits.tiny, limits.smallest_subnormal)]
    x, expected = np.array(table, probe.dtype).T.copy()
    np.testing.assert_array_equal(probe(function, x), expected)


def test_tanh_special_values(probe: Probe) -> None:
    tiny = np.finfo(probe.dtype).tiny
    x = np.array([0.0, -0.0, np.inf, -np.inf, tiny, -tiny, 50, -50], probe.dtype)
    expected = np.array([0.0, -0.0, 1, -1, tiny, -tiny, 1, -1], probe.dtype)
    actual = probe("vtanh", x)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected))


def test_powers_of_zero_and_one(probe: Probe) -> None:
    x = np.array([0.0, 1.0, np.finfo(probe.dtype).smallest_subnormal], probe.dtype)
    np.testing.assert_array_equal(probe("vpow_of_fraction", x), [0, 1, 0])


@pytest.mark.parametrize("function", FORMULAS)
def test_nan_of_any_kind_in_any_lane(probe: Probe, function: str) -> None:
    """Quiet and signalling, of either sign, with and without payload; its lane alone is NaN."""
    bits = np.uint32 if probe.real == "f32" else np.uint64
    width, mantissa = (32, 23) if probe.real == "f32" else (64, 52)
    infinity = ((1 << (width - mantissa - 1)) - 1) << mantissa
    payloads = [1, 2, 0x1234, 1 << (mantissa - 1), (1 << mantissa) - 1]
    for pattern in [infinity | payload for payload in payloads]:
        for sign in (0, 1 << (width - 1)):
            for lane in range(probe.lanes):
                positive = function in ("vlog", "vpow_of_fraction")
                x = np.full(probe.lanes, 0.5 if positive else -0.5, probe.dtype)
                expected = probe(function, x)
                x.view(bits)[lane] = sign | pattern
                expected[lane] = np.nan
                np.testing.assert_array_equal(probe(function, x), expected)


def test_incomplete_vectors(probe: Probe) -> None:
    """The probe's own tail: results do not depend on a value's lane or on what is beside it."""
    x = np.linspace(-9, 0, 3 * probe.lanes, dtype=probe.dtype)
    whole = probe("vexp_nonpositive", x)
    for n in range(x.size):
        np.testing.assert_array_equal(probe("vexp_nonpositive", x[:n]), whole[:n])


# ---- Across the lanes --------------------------------------------------------------------------


def test_lane_sum_is_a_tree_in_double(probe: Probe) -> None:
    """Upper half onto lower until one is left, nothing rounded to float."""
    random = np.random.default_rng(3)
    for _ in range(100):
        x = (random.normal(size=probe.lanes) * 10.0 ** random.integers(-9, 9, probe.lanes)).astype(
            probe.dtype
        )
        total = x.astype(np.float64)
        while total.size > 1:
            total = total[: total.size // 2] + total[total.size // 2 :]
        assert probe.lane_sum(x) == total[0]


def test_lane_max(probe: Probe) -> None:
    x = np.full(probe.lanes, -np.inf, probe.dtype)
    assert probe.lane_max(x) == -np.inf
    for lane in range(probe.lanes):
        x = -np.arange(1, probe.lanes + 1, dtype=probe.dtype)
        x[lane] = 0.5
        assert probe.lane_max(x) == 0.5


def test_lane_sum_keeps_nan(probe: Probe) -> None:
    for lane in range(probe.lanes):
        for value in (np.nan, np.inf):
            x = np.zeros(probe.lanes, probe.dtype)
            x[lane] = value
            np.testing.assert_equal(probe.lane_sum(x), value)
