"""categorical_cross_entropy: probabilities, normalised and clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from checks import DTYPES, assert_loss_right, assert_same_bits, compute_dtype, eps, softmax_ulps
from parts import Array
from reference import LEAST

#: (shape, axis)
SHAPES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((5,), -1),
    ((0, 5), 1),
    ((33, 1), 1),
    ((65, 10), -1),
    ((9, 128), 1),
    ((7, 129), 1),
    ((2, 4099), -1),
    ((4, 10, 17), 1),
    ((10, 33), 0),
    ((2, 3, 150), -1),
    ((2, 3, 4, 5), 2),
)

GRAD = fl.value_and_grad(fl.categorical_cross_entropy)

PROBS = [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]


def positions_of(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(np.delete(shape, axis).tolist())


def problem(
    shape: tuple[int, ...], axis: int, kind: str, dtype: str, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Probabilities that sum to anything, none near a clip, and a target of the kind."""
    probs = rng.uniform(0.05, 1, size=shape).astype(dtype)
    rows = positions_of(shape, axis)
    if kind == "index":
        target = np.asarray(rng.integers(0, shape[axis], size=rows))
        return probs, np.where(rng.random(rows) < 0.3, -100, target) if rows else target
    target = rng.dirichlet(np.ones(shape[axis]), size=rows)
    return probs, np.moveaxis(target, -1, axis)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_worked_value(isa: str, dtype: str) -> None:
    """Keras' example: -log 0.95 and -log 0.1, whatever the target's form."""
    probs = np.array(PROBS, dtype)
    for target in (np.array([[0, 1, 0], [0, 0, 1]], dtype), np.array([1, 2])):
        assert round(fl.categorical_cross_entropy(probs, target), 6) == 1.176939
        rows = fl.categorical_cross_entropy(probs, target, reduction="none")
        # given with seven decimals; 0.95 rounded to float32 is half an ULP of 1 off
        np.testing.assert_allclose(rows, [0.0512933, 2.3025851], rtol=0, atol=1.2e-7)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["index", "probability"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_value_and_gradient(
    shape: tuple[int, ...], axis: int, kind: str, dtype: str, rng: np.random.Generator
) -> None:
    probs, target = problem(shape, axis, kind, dtype, rng)
    rows = positions_of(shape, axis)
    plain: dict[str, Any] = {"axis": axis, "reduction": "none"}
    loss = "categorical_cross_entropy"
    grad_output = rng.normal(size=rows)
    assert_loss_right(loss, probs, target, grad_output=grad_output, **plain)
    plain["label_smoothing"] = 0.1
    plain["sample_weight"] = np.asarray(rng.uniform(0.1, 2, size=rows)).astype(dtype)
    assert_loss_right(loss, probs, target, grad_output=grad_output, **plain)
    for reduction in ("mean", "sum"):
        assert_loss_right(loss, probs, target, **{**plain, "reduction": reduction})
    if kind == "index" and rows and target.size:
        plain |= {"ignore_index": int(target.max()), "reduction": "mean"}
        target = np.where(target < 0, 0, target)
        assert_loss_right(loss, probs, target, grad_output=3.0, **plain)


# ---- Normalised and clipped --------------------------------------------------------------------


def test_a_row_may_sum_to_anything(isa: str, rng: np.random.Generator) -> None:
    """The loss does not change with a row's scale, so its gradient is orthogonal to the row."""
    probs, target = problem((33, 10), 1, "probability", "float64", rng)
    value, gradient = GRAD(probs, target, reduction="none")
    for scale in (1e-3, 7.0, 1e30):
        scaled, other = GRAD(probs * scale, target, reduction="none")
        np.testing.assert_allclose(scaled, value, rtol=1e-14)  # roundings of float64
        np.testing.assert_allclose(other * scale, gradient, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose((gradient * probs).sum(axis=1), 0, atol=1e-14)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 200), (1, 3, 2)], ids=str)
@pytest.mark.parametrize("one_hot", [False, True])
def test_clipped_probabilities(shape: tuple[int, ...], one_hot: bool, dtype: str) -> None:
    """0 and 1 are clipped: finite losses, and no gradient from there."""
    rows = positions_of(shape, 1)
    arithmetic = compute_dtype(dtype).type
    for label, clipped in ((0, arithmetic(1) - arithmetic(LEAST)), (1, arithmetic(LEAST))):
        probs = np.zeros(shape, dtype)
        probs[:, 0] = 1
        target: Array = np.full(rows, label)
        if one_hot:
            target = np.moveaxis(np.eye(shape[1])[target], -1, 1)
        value, gradient = GRAD(probs, target, axis=1, reduction="none")
        expected = -np.log(float(clipped))
        np.testing.assert_allclose(value.astype(float), expected, rtol=4 * eps(dtype))
        assert np.all(gradient == 0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_at_the_clips_themselves(dtype: str) -> None:
    """The boundaries pass the gradient; the next number beyond does not."""
    real = np.dtype(dtype).type
    least, most = real(LEAST), real(1) - real(LEAST)
    # rows of two whose sum is 1 in either order, so that dividing by it changes nothing
    for low in (least, np.nextafter(least, real(0)), np.nextafter(least, real(1))):
        probs = np.array([[low, real(1) - low]], dtype)
        assert probs[0, 0] + probs[0, 1] == 1
        _, gradient = GRAD(probs, [0], reduction="sum")
        assert (gradient[0, 0] != 0) == (low >= least)
    for high in (most, np.nextafter(most, real(1)), np.nextafter(most, real(0))):
        probs = np.array([[high, real(1) - high]], dtype)
        assert probs[0, 0] + probs[0, 1] == 1
        _, gradient = GRAD(probs, [0], reduction="sum")
        assert (gradient[0, 0] != 0) == (high <= most)


def test_clipped_classes_of_a_smoothed_target(isa: str) -> None:
    """Where a class is clipped its share of the target leaves the gradient of the others."""
    probs = np.array([[0.0, 0.25, 0.75]])
    for smoothing in (0.3, 0.9):
        value, gradient = GRAD(probs, [1], label_smoothing=smoothing)
        t = smoothing / 3 + np.array([0, 1 - smoothing, 0])
        expected = -(t * np.log([LEAST, 0.25, 0.75])).sum()
        np.testing.assert_allclose(value, expected, rtol=1e-14)  # roundings of float64
        passing = t[1] + t[2]
        by_hand = [passing, passing - t[1] / 0.25, passing - t[2] / 0.75]
        np.testing.assert_allclose(gradient[0], by_hand, rtol=1e-13)


def test_index_and_one_hot_targets_agree(isa: str, rng: np.random.Generator) -> None:
    for shape, axis in SHAPES:
        for dtype in ("float32", "float64"):
            probs = rng.uniform(0.05, 1, size=shape).astype(dtype)
            target = rng.integers(0, shape[axis], size=positions_of(shape, axis))
            one_hot = np.moveaxis(np.eye(shape[axis])[target], -1, axis)
            for smoothing in (0.0, 0.2):
                options: dict[str, Any] = {"axis": axis, "label_smoothing": smoothing}
                index = GRAD(probs, target, reduction="none", **options)
                other = GRAD(probs, one_hot, reduction="none", **options)
                # log q near 1 is off by the rounding of q; a sum over the classes
                np.testing.assert_allclose(
                    index[0], other[0], rtol=1e2 * eps(dtype), atol=8 * eps(dtype)
                )
                np.testing.assert_allclose(
                    index[1], other[1], rtol=1e2 * eps(dtype), atol=8 * eps(dtype)
                )


# ---- Special rows ------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 200), (1, 3, 2)], ids=str)
def test_nan_and_ignored(shape: tuple[int, ...], dtype: str) -> None:
    rows = positions_of(shape, 1)
    probs = np.full(shape, 0.5, dtype)
    by_position = np.moveaxis(probs, 1, -1).reshape(2, -1)
    by_position[1] = np.nan
    probs = np.moveaxis(by_position.reshape(*rows, -1), -1, 1).copy()
    target = np.array([1, -100]).reshape(rows)
    for smoothing in (0.0, 0.1):
        options: dict[str, Any] = {"axis": 1, "label_smoothing": smoothing}
        value, gradient = GRAD(probs, target, **options)
        limit = softmax_ulps(shape[1]) * eps(compute_dtype(dtype))
        np.testing.assert_allclose(value, np.log(shape[1]), rtol=limit)
        assert np.all(np.isfinite(gradient))
        assert np.all(np.moveaxis(gradient, 1, -1)[target == -100] == 0)
        value, _ = GRAD(probs, np.zeros(rows, int), reduction="none", **options)
        np.testing.assert_array_equal(np.isnan(value.ravel()), [False, True])
        value, gradient = GRAD(probs, np.full(rows, -100), **options)
        assert np.isnan(value)
        assert np.all(gradient == 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_zeros(isa: str, dtype: str) -> None:
    """They have no shares: the loss is nan, and so is the gradient, whatever the target's form."""
    probs = np.array([[0, 0, 0], [0.25, 0.5, 0.25]], dtype)
    for target in (np.array([1, 1]), np.eye(3)[[1, 1]]):
        for options in ({}, {"label_smoothing": 0.1}, {"gamma": 2.0}, {"alpha": 0.5}):
            value, gradient = GRAD(probs, target, reduction="none", **options)
            np.testing.assert_array_equal(np.isnan(value), [True, False])
            np.testing.assert_array_equal(
                np.isnan(gradient.astype(float)), [[True] * 3, [False] * 3]
            )


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((30_011, 10), 1), ((1021, 300), 1), ((21, 10_007), 0)], ids=str
)
def test_same_bits_for_any_number_of_threads(
    shape: tuple[int, ...], axis: int, dtype: str, rng: np.random.Generator
) -> None:
    for kind in ("index", "probability"):
        probs, target = problem(shape, axis, kind, dtype, rng)
        results = set()
        for count in (1, 2, 3, 7):
            options: dict[str, Any] = {"axis": axis, "num_threads": count, "label_smoothing": 0.1}
            value, gradient = GRAD(probs, target, **options)
            assert fl.categorical_cross_entropy(probs, target, **options) == value
            results.add((value, gradient.tobytes()))
        assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_and_into_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape, axis in SHAPES:
        for kind in ("index", "probability"):
            probs, target = problem(shape, axis, kind, dtype, rng)
            memory = np.full((*shape[:-1], 2 * shape[-1]), 7, dtype)
            options: dict[str, Any] = {"axis": axis, "reduction": "none"}
            loss = "categorical_cross_entropy"
            assert_loss_right(loss, probs, target, out=memory[..., ::2], **options)
            assert np.all(memory[..., 1::2] == 7)
            value, gradient = GRAD(probs, target, **options)
            in_place, same = GRAD(probs, target, out=probs, **options)
            assert same is probs
            assert_same_bits(in_place, value)
            assert_same_bits(same, gradient)


@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    plain, target = problem((9, 6, 5), 1, "index", dtype, rng)
    for probs in (
        plain.copy(order="F"),
        plain[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        np.repeat(plain, 2, axis=1)[:, ::2],
        np.moveaxis(np.moveaxis(plain, 1, -1).copy(), -1, 1),
    ):
        assert_loss_right("categorical_cross_entropy", probs, target, axis=1)
