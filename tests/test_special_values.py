"""Infinities, NaN, extremes and empty arrays: what torch does, and better where it has holes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fusedloss as fl
from checks import DTYPES, eps
from parts import Array

INF, NAN = np.inf, np.nan

#: (C,) rows are walked along their classes; with positions behind the class axis the same row is
#: walked across positions: (N, C) and (N, C, d).
LAYOUTS = ("rows", "columns")


def none_value_and_grad(
    row: Any, target: Any, layout: str, dtype: str, **options: Any
) -> tuple[float, Array]:
    """Loss and gradient of one row, which stands among ordinary rows that it must not disturb."""
    row = np.asarray(row, dtype)
    probabilities = np.ndim(target) == 1
    ordinary = np.linspace(-1, 1, len(row)).astype(dtype)
    logits = np.stack([ordinary, row, ordinary, ordinary, row])
    other = np.full(len(row), 1 / len(row)) if probabilities else 0
    targets = np.stack([other, target, other, other, target])
    if layout == "columns":
        logits = np.ascontiguousarray(logits.T)[None]
        targets = (np.ascontiguousarray(targets.T) if probabilities else targets)[None]
    value, gradient = fl.value_and_grad(fl.cross_entropy)(
        logits, targets, reduction="none", **options
    )
    value, gradient = value.ravel(), gradient[0].T if layout == "columns" else gradient
    value, gradient = value.astype(float), gradient.astype(float)
    assert np.all(np.isfinite(value[[0, 2, 3]]))
    assert np.all(np.isfinite(gradient[[0, 2, 3]]))
    np.testing.assert_array_equal(value[1], value[4])
    np.testing.assert_array_equal(gradient[1], gradient[4])
    return value[1], gradient[1]


def filled(classes: int, value: float, **at: float) -> Array:
    row = np.full(classes, value)
    for index, special in at.items():
        row[int(index[1:])] = special
    return row


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[2, 5, 16, 33, 1500])
def classes(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.usefixtures("isa")
class TestRow:
    def test_all_minus_infinity_is_nan(self, classes: int, layout: str, dtype: str) -> None:
        row = filled(classes, -INF)
        for target in (1, np.eye(classes)[1]):
            value, gradient = none_value_and_grad(row, target, layout, dtype)
            assert np.isnan(value)
            assert np.all(np.isnan(gradient))

    @pytest.mark.parametrize("bad", [INF, NAN])
    @pytest.mark.parametrize("place", ["first", "last", "target"])
    def test_infinity_or_nan_makes_its_row_nan(
        self, bad: float, place: str, classes: int, layout: str, dtype: str
    ) -> None:
        row = filled(classes, 0.5)
        row[{"first": 0, "last": -1, "target": 1}[place]] = bad
        for target in (1, np.eye(classes)[1]):
            value, gradient = none_value_and_grad(row, target, layout, dtype)
            assert np.isnan(value)
            assert np.all(np.isnan(gradient))

    def test_nan_beside_minus_infinity(self, classes: int, layout: str, dtype: str) -> None:
        """A maximum that drops NaN would call this row all -inf, or worse, finite."""
        for place in (0, classes - 1):
            row = filled(classes, -INF)
            row[place] = NAN
            value, gradient = none_value_and_grad(row, 1, layout, dtype)
            assert np.isnan(value)
            assert np.all(np.isnan(gradient))

    def test_minus_infinity_beside_the_target(self, classes: int, layout: str, dtype: str) -> None:
        """A masked class has probability 0: as if it were not there."""
        row = filled(classes, 2.0, _0=-INF)
        row[1] = 1.0
        value, gradient = none_value_and_grad(row, 1, layout, dtype)
        kept, kept_gradient = none_value_and_grad(row[1:], 0, layout, dtype)
        tolerance = 8 * eps(dtype)  # the other classes lie elsewhere in the vectors
        np.testing.assert_allclose(value, kept, rtol=tolerance)
        np.testing.assert_allclose(gradient[1:], kept_gradient, rtol=tolerance)
        assert gradient[0] == 0

    def test_only_the_target_is_finite(self, classes: int, layout: str, dtype: str) -> None:
        value, gradient = none_value_and_grad(filled(classes, -INF, _1=3.0), 1, layout, dtype)
        assert value == 0
        assert np.all(gradient == 0)

    def test_minus_infinity_at_the_target(self, classes: int, layout: str, dtype: str) -> None:
        row = filled(classes, 0.0, _1=-INF)
        for target in (1, np.eye(classes)[1]):
            value, gradient = none_value_and_grad(row, target, layout, dtype)
            assert value == INF
            assert gradient[1] == -1
            expected = 1 / (classes - 1)
            np.testing.assert_allclose(
                np.delete(gradient, 1), expected, rtol=4 * eps(dtype)
            )  # a division

    def test_minus_infinity_with_smoothing(self, classes: int, layout: str, dtype: str) -> None:
        row = filled(classes, 0.0, _0=-INF)
        for target in (1, np.eye(classes)[1]):
            value, gradient = none_value_and_grad(row, target, layout, dtype, label_smoothing=0.25)
            assert value == INF
            assert np.all(np.isfinite(gradient))
            expected = -0.25 / classes
            np.testing.assert_allclose(gradient[0], expected, rtol=max(1e-6, eps(dtype)))  # float32

    def test_zero_probability_times_log_zero(self, classes: int, layout: str, dtype: str) -> None:
        """0 * log 0 = 0, where torch gives NaN."""
        row = filled(classes, 0.0, _0=-INF)
        target = filled(classes, 1 / (classes - 1), _0=0.0)
        value, gradient = none_value_and_grad(row, target, layout, dtype)
        np.testing.assert_allclose(
            value, np.log(classes - 1), rtol=8 * eps(dtype), atol=eps(dtype)
        )  # a sum
        np.testing.assert_allclose(
            gradient, 0, atol=2 * eps(dtype)
        )  # p - t with p = t but for rounding
        assert gradient[0] == 0

    def test_extreme_logits(self, classes: int, layout: str, dtype: str) -> None:
        value, gradient = none_value_and_grad(filled(classes, -1e4, _1=1e4), 1, layout, dtype)
        assert value == 0
        assert np.all(gradient == 0)
        value, gradient = none_value_and_grad(filled(classes, -1e4, _0=1e4), 1, layout, dtype)
        assert value == 2 * float(np.array(1e4).astype(dtype))
        assert gradient[0] == 1
        assert gradient[1] == -1
        assert np.all(gradient[2:] == 0)

    @pytest.mark.parametrize("level", [1e4, -1e4, 1e38, -1e38])
    def test_far_from_zero(self, level: float, classes: int, layout: str, dtype: str) -> None:
        """Only differences count, wherever the row lies."""
        if np.abs(level) > float(ml_dtypes.finfo(np.dtype(dtype)).max):
            level = np.copysign(float(ml_dtypes.finfo(np.dtype(dtype)).max), level)
        value, gradient = none_value_and_grad(filled(classes, level), 1, layout, dtype)
        np.testing.assert_allclose(value, np.log(classes), rtol=2 * eps(dtype))  # one log
        np.testing.assert_allclose(gradient[0], 1 / classes, rtol=4 * eps(dtype))  # one division

    def test_difference_beyond_the_largest_number(self, classes: int, layout: str) -> None:
        """The loss of 2 * 3e38 is no float32: inf, and the gradient that of certainty."""
        row = filled(classes, -3e38, _0=3e38)
        value, gradient = none_value_and_grad(row, 1, layout, "float32")
        assert value == INF
        assert gradient[0] == 1
        assert gradient[1] == -1

    def test_nan_in_an_ignored_row(self, classes: int, layout: str, dtype: str) -> None:
        """Exact zeros, where torch lets the NaN through."""
        for row in (filled(classes, NAN), filled(classes, 0.0, _0=INF), filled(classes, -INF)):
            for smoothing in (0.0, 0.1):
                value, gradient = none_value_and_grad(
                    row, -100, layout, dtype, label_smoothing=smoothing
                )
                assert value == 0
                assert np.all(gradient == 0)

    def test_subnormal_logits(self, classes: int, layout: str, dtype: str) -> None:
        row = filled(classes, 0.0, _0=float(ml_dtypes.finfo(np.dtype(dtype)).smallest_subnormal))
        value, _ = none_value_and_grad(row, 1, layout, dtype)
        np.testing.assert_allclose(value, np.log(classes), rtol=2 * eps(dtype))  # one log


@pytest.mark.usefixtures("isa")
class TestBatch:
    def test_nan_in_an_ignored_row_leaves_the_mean(self, layout: str, dtype: str) -> None:
        logits = np.array([[1, 2, 3], [NAN, NAN, NAN], [3, 2, 1]], dtype)
        target = np.array([0, -100, 2])
        if layout == "columns":
            logits, target = np.ascontiguousarray(logits.T)[None], target[None]
        value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target)
        np.testing.assert_allclose(value, 2.4076059, rtol=1e-6)  # 2 + log(1 + e^-1 + e^-2)
        assert np.all(np.isfinite(gradient))

    @pytest.mark.parametrize("shape", [(0, 5), (0, 5, 3), (3, 5, 0), (2, 5, 0, 4), (0, 5, 0)])
    @pytest.mark.parametrize("probabilities", [False, True])
    def test_no_positions(self, shape: tuple[int, ...], probabilities: bool, dtype: str) -> None:
        logits = np.zeros(shape, dtype)
        rows = (shape[0], *shape[2:])
        target = np.zeros(shape) if probabilities else np.zeros(rows, int)
        grad = fl.value_and_grad(fl.cross_entropy)
        value, gradient = grad(logits, target)
        assert np.isnan(value)
        assert gradient.shape == shape
        value, gradient = grad(logits, target, reduction="sum")
        assert value == 0
        out = np.empty(shape, dtype)
        value, gradient = grad(logits, target, reduction="none", out=out)
        assert value.shape == rows
        assert gradient is out
        for function in (fl.softmax, fl.log_softmax, fl.logsumexp):
            value, gradient = fl.value_and_grad(function)(logits, axis=1, out=out)
            assert gradient is out
            assert value.shape == (rows if function is fl.logsumexp else shape)

    @pytest.mark.parametrize("positions", [1, 3, 1000])
    def test_all_ignored(self, positions: int, layout: str, dtype: str) -> None:
        logits = np.ones((positions, 7), dtype)
        target = np.full(positions, -100)
        if layout == "columns":
            logits, target = np.ones((1, 7, positions), dtype), target[None]
        out = np.full_like(logits, 9)
        grad = fl.value_and_grad(fl.cross_entropy)
        value, _ = grad(logits, target, out=out)
        assert np.isnan(value)
        assert np.all(out == 0)
        value, gradient = grad(logits, target, reduction="sum")
        assert value == 0
        assert np.all(gradient == 0)
        value, gradient = grad(logits, target, reduction="none")
        assert np.all(value == 0)
        assert np.all(gradient == 0)

    def test_weights_that_sum_to_zero(self, dtype: str) -> None:
        logits = np.array([[1, 2, 3], [3, 2, 1]], dtype)
        value, gradient = fl.value_and_grad(fl.cross_entropy)(
            logits, [0, 0], weight=np.array([0, 1, 1], dtype)
        )
        assert np.isnan(value)
        assert np.all(gradient == 0)

    @pytest.mark.parametrize("shape", [(1,), (4, 1), (4, 1, 5)], ids=str)
    def test_one_class(self, shape: tuple[int, ...], dtype: str) -> None:
        logits = np.full(shape, -7, dtype)
        rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
        for reduction in ("none", "mean", "sum"):
            for target in (np.zeros(rows, int), np.ones(shape)):
                value, gradient = fl.value_and_grad(fl.cross_entropy)(
                    logits, target, reduction=reduction
                )
                assert np.all(np.asarray(value) == 0)
                assert np.all(gradient == 0)
            value, gradient = fl.value_and_grad(fl.cross_entropy)(
                logits, np.zeros(rows, int), reduction=reduction, label_smoothing=0.1
            )
            assert np.all(np.asarray(value) == 0)
            np.testing.assert_allclose(gradient, 0, atol=2 * eps(dtype))  # 0.9 + 0.1 - 1

    @pytest.mark.parametrize("shape", [(0,), (3, 0), (3, 0, 2), (0, 0)], ids=str)
    def test_no_classes_is_an_error(self, shape: tuple[int, ...], dtype: str) -> None:
        rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
        with pytest.raises(ValueError, match="logits"):
            fl.cross_entropy(np.zeros(shape, dtype), np.zeros(rows, int))
        for function in (fl.softmax, fl.log_softmax, fl.logsumexp):
            with pytest.raises(ValueError, match="logits"):
                function(np.zeros(shape, dtype), axis=min(1, len(shape) - 1))


@pytest.mark.usefixtures("isa")
class TestHelpers:
    """softmax, log_softmax and logsumexp on the same rows."""

    def test_softmax(self, layout: str, dtype: str) -> None:
        rows = [[0, -INF, 0], [-INF, -INF, -INF], [INF, 0, 0], [NAN, 0, 0], [1e4, -1e4, 1e4]]
        expected = np.array([[0.5, 0, 0.5], [NAN] * 3, [NAN] * 3, [NAN] * 3, [0.5, 0, 0.5]])
        logits = np.array(rows, dtype)
        p, log_p = (
            _along(function, logits, layout).astype(float)
            for function in (fl.softmax, fl.log_softmax)
        )
        np.testing.assert_array_equal(p, expected)
        with np.errstate(divide="ignore"):
            log_expected = np.log(expected)
        log_expected[4, 1] = -2 * float(logits[4, 0]) + np.log(0.5)
        np.testing.assert_allclose(log_p, log_expected, rtol=2 * eps(dtype))  # one log

    def test_logsumexp(self, layout: str, dtype: str) -> None:
        rows = [[0, -INF, 0], [-INF, -INF, -INF], [INF, 0, -INF], [NAN, 0, 0], [1e4, -1e4, 1e4]]
        log2 = np.log(2)
        logits = np.array(rows, dtype)
        value = _along(fl.logsumexp, logits, layout).astype(float)
        # one log, one addition
        expected = [log2, -INF, INF, NAN, float(logits[4, 0]) + log2]
        np.testing.assert_allclose(value, expected, rtol=2 * eps(dtype))


def _along(function: Any, logits: Array, layout: str) -> Array:
    if layout == "rows":
        return np.asarray(function(logits))
    result: Array = np.asarray(function(np.ascontiguousarray(logits.T), axis=0)).T
    return result
