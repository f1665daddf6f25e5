"""The error analysis that tolerances come from: it holds for the formulas in NumPy's own float32.

And it is no looser than a few units: a result that is wrong by more is found out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pointwise_cases
import rowwise_cases
from checks import assert_rounded, assert_within
from reference import pointwise, rowwise
from rounding import Rounded

UNIT = float(np.finfo(np.float32).eps)

CASES: list[tuple[Any, Callable[..., pointwise.Evaluation]]] = [
    *((case, pointwise.evaluate) for case in pointwise_cases.CASES),
    *((case, rowwise.evaluate) for case in rowwise_cases.CASES),
]


@pytest.mark.parametrize(("case", "evaluate"), CASES, ids=[str(case) for case, _ in CASES])
def test_formulas_in_float32(
    case: Any, evaluate: Callable[..., pointwise.Evaluation], rng: np.random.Generator
) -> None:
    arrays, options = case.draw((300, 9), "float32", rng)
    given = {**options, "reduction": "none"}
    bound = evaluate(case.name, *arrays, dtype=np.float64, arithmetic=np.float32, **given)
    actual = evaluate(case.name, *arrays, dtype=np.float32, **given)
    pairs = zip((actual.value, *actual.gradients), (bound.value, *bound.gradients), strict=True)
    for result, expected in pairs:
        # NumPy's float32 functions are off by up to 3 units, where the analysis counts 1
        assert_within(np.float32(result), expected.exact, 3 * expected.error)
        # some units of each step, of up to two dozen steps, and of sums over nine classes
        assert expected.error.mean() <= 100 * UNIT * np.abs(expected.exact).mean()


def rounded(x: Any, error: Any = 0.0) -> Any:
    """A number of float32 arithmetic; of any type, as NumPy's functions are typed for arrays."""
    return Rounded(np.asarray(x, np.float64), error, np.float32)


def test_an_operation_loses_half_a_unit() -> None:
    for result in (rounded(3.0) + 0.5, rounded(3.0) * 1.0, rounded(3.0) / 1.0):
        assert result.error == pytest.approx(UNIT / 2 * float(result.exact))
    assert (-rounded(3.0)).error == 0


def test_errors_are_carried_along() -> None:
    x = rounded(2.0, 1e-3)
    assert (x - 1.999).error >= 1e-3
    assert (x * 10).error == pytest.approx(1e-2, rel=1e-3)
    assert (1 / x).error == pytest.approx(1e-3 / 4, rel=1e-2)
    assert np.exp(x).error == pytest.approx(1e-3 * np.exp(2), rel=1e-2)
    assert np.sqrt(x).error == pytest.approx(1e-3 / 2 / np.sqrt(2), rel=1e-2)
    assert np.log(x).error == pytest.approx(1e-3 / 2, rel=1e-2)


def test_numbers_that_the_type_cannot_hold_are_off() -> None:
    assert (rounded(1.0) * 0.1).error >= abs(np.float32(0.1) - 0.1)
    assert (rounded(1.0) * 0.25).error == pytest.approx(UNIT / 2 / 4)


def test_decisions_that_rounding_may_reverse_cost_the_difference() -> None:
    near, far = rounded(1.0, 1e-6), rounded(2.0, 1e-6)
    assert np.where(near > 1.0000005, 5.0, 3.0).error == pytest.approx(2.0)
    assert np.where(far > 1.0, 5.0, 3.0).error == 0
    assert np.where((far > 1.0) & (near > 1.0), 5.0, 3.0).error == pytest.approx(2.0)
    assert np.where(rounded(1.0) > 1.0, 5.0, 3.0).error == 0  # exact numbers compare exactly


def test_infinities_are_exact() -> None:
    with np.errstate(all="ignore"):
        assert np.exp(rounded(-np.inf)).error == 0
        assert np.log(rounded(0.0)).error == 0


def test_what_is_wrong_by_more_is_found_out() -> None:
    expected = rounded([1.0, 2.0]) * rounded(3.0)
    assert_rounded(np.float32([3, 6]), expected, "float32")
    with pytest.raises(AssertionError, match="1 of 2 elements are off"):
        assert_rounded(np.nextafter(np.float32([3, 6]), np.float32([4, 6])), expected, "float32")
