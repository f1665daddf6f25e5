"""categorical_cross_entropy with gamma and alpha: the focal loss of probabilities."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fusedloss as fl
from checks import (
    DTYPES,
    assert_loss_right,
    assert_same_bits,
    assert_within,
    compute_dtype,
    eps,
    softmax_ulps,
    ulp,
)
from parts import Array
from reference import LEAST, evaluate
from test_categorical import GRAD, SHAPES, positions_of, problem

LOSS = "categorical_cross_entropy"
GAMMAS = (0.3, 1.0, 2.0, 7.5)
KINDS = ("index", "probability")


def problem_of(
    shape: tuple[int, ...], axis: int, kind: str, dtype: str, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """The same with a weight of each class, and with some classes that are likely."""
    probs, target = problem(shape, axis, kind, dtype, rng)
    likely = rng.random(shape) < 1 / shape[axis]
    alpha = np.asarray(rng.uniform(0.1, 2, size=shape[axis])).astype(compute_dtype(dtype))
    return np.where(likely, 100 * probs, probs), target, alpha


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_worked_values(isa: str, dtype: str) -> None:
    """Two of Keras' examples, whatever the target's form."""
    for middle, expected in (
        ([0.05, 0.9, 0.05], [2.63401289e-04, 6.75912094e-01]),
        ([0.05, 0.95, 0], [3.2058331e-05, 4.6627346e-01]),
    ):
        last = [0.1, 0.85, 0.05] if middle[2] else [0.1, 0.8, 0.1]
        probs = np.array([middle, last], dtype)
        for target in (np.array([[0, 1, 0], [0, 0, 1]], dtype), np.array([1, 2])):
            rows = fl.categorical_cross_entropy(
                probs, target, alpha=0.25, gamma=2.0, reduction="none"
            )
            # 1 - q in float32 is off by half a unit of 1, twice as much when squared
            np.testing.assert_allclose(rows, expected, rtol=4e-6)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_value_and_gradient(
    shape: tuple[int, ...], axis: int, kind: str, dtype: str, rng: np.random.Generator
) -> None:
    probs, target, alpha = problem_of(shape, axis, kind, dtype, rng)
    rows = positions_of(shape, axis)
    grad_output = rng.normal(size=rows)
    for gamma in GAMMAS:
        plain: dict[str, Any] = {"axis": axis, "reduction": "none", "gamma": gamma}
        assert_loss_right(LOSS, probs, target, grad_output=grad_output, **plain)
        plain["alpha"] = 0.25 if gamma == 2 else alpha
        plain["sample_weight"] = np.asarray(rng.uniform(0.1, 2, size=rows)).astype(dtype)
        assert_loss_right(LOSS, probs, target, **{**plain, "reduction": "mean"})
        plain["label_smoothing"] = 0.1
        assert_loss_right(LOSS, probs, target, grad_output=grad_output, **plain)
        assert_loss_right(LOSS, probs, target, **{**plain, "reduction": "sum"})
    assert_loss_right(LOSS, probs, target, axis=axis, alpha=alpha, label_smoothing=0.2)


def test_without_focusing_it_is_the_cross_entropy(isa: str, rng: np.random.Generator) -> None:
    for kind in KINDS:
        probs, target, alpha = problem_of((33, 10), 1, kind, "float32", rng)
        for smoothing in (0.0, 0.1):
            options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": "none"}
            plain = GRAD(probs, target, **options)
            for same in ({"gamma": 0}, {"alpha": 1}, {"alpha": np.ones(10, "f2"), "gamma": 0.0}):
                found = GRAD(probs, target, **options, **same)
                assert_same_bits(found[0], plain[0])
                assert_same_bits(found[1], plain[1])
            # a gamma that rounds away meets the formula without it
            found = GRAD(probs, target, gamma=1e-20, alpha=alpha, **options)
            expected = GRAD(probs, target, alpha=alpha, **options)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=4 * eps("float32"))


def test_alpha_is_a_number_or_one_per_class(isa: str, rng: np.random.Generator) -> None:
    for shape, axis in (((9, 4), 1), ((3, 200), -1), ((2, 4, 5), 1), ((6, 3), 0)):
        for kind in KINDS:
            probs, target, _ = problem_of(shape, axis, kind, "float32", rng)
            options: dict[str, Any] = {"axis": axis, "gamma": 1.5, "reduction": "sum"}
            plain = GRAD(probs, target, **options)
            halves = np.full(shape[axis], 0.5)
            for alpha in (0.5, np.float32(0.5), halves, halves.astype("f2")):
                value, gradient = GRAD(probs, target, alpha=alpha, **options)
                assert value == plain[0] / 2
                assert_same_bits(gradient, plain[1] / 2)


def test_mean_counts_positions(isa: str, rng: np.random.Generator) -> None:
    """Neither alpha nor (1 - q)^gamma is in the divisor; sample weights are."""
    probs, target = rng.uniform(0.1, 1, size=(6, 4)), np.array([0, 1, -100, 3, 2, 1])
    alpha, v = rng.uniform(0.1, 2, size=4), rng.uniform(0.1, 2, size=6)
    for gamma in (0.0, 2.0):
        options: dict[str, Any] = {"alpha": alpha, "gamma": gamma}
        rows = fl.categorical_cross_entropy(probs, target, reduction="none", **options)
        mean = fl.categorical_cross_entropy(probs, target, **options)
        np.testing.assert_allclose(mean, rows.sum() / 5, rtol=1e-15)  # one division
        options["sample_weight"] = v
        rows = fl.categorical_cross_entropy(probs, target, reduction="none", **options)
        mean = fl.categorical_cross_entropy(probs, target, **options)
        np.testing.assert_allclose(mean, rows.sum() / v[target >= 0].sum(), rtol=1e-15)


def test_it_is_the_focal_loss_of_logarithms(isa: str, rng: np.random.Generator) -> None:
    """The losses of probabilities, and of logits that have them as softmax."""
    for shape in ((33, 7), (4, 200), (3, 5, 9)):
        probs, target, alpha = problem_of(shape, 1, "index", "float64", rng)
        options: dict[str, Any] = {"gamma": 2.5, "alpha": alpha, "reduction": "none"}
        value, gradient = GRAD(probs, target, axis=1, **options)
        others = fl.value_and_grad(fl.focal_loss)(np.log(probs), target, **options)
        # roundings of float64: of a logarithm and an exponential
        np.testing.assert_allclose(value, others[0], rtol=1e-12)
        np.testing.assert_allclose(gradient * probs, others[1], rtol=1e-11, atol=1e-14)


def test_a_row_may_sum_to_anything(isa: str, rng: np.random.Generator) -> None:
    """The loss does not change with a row's scale, so its gradient is orthogonal to the row."""
    for kind in KINDS:
        probs, target, alpha = problem_of((33, 10), 1, kind, "float64", rng)
        options: dict[str, Any] = {"gamma": 1.7, "alpha": alpha, "reduction": "none"}
        value, gradient = GRAD(probs, target, **options)
        for scale in (1e-3, 7.0, 1e30):
            scaled, other = GRAD(probs * scale, target, **options)
            np.testing.assert_allclose(scaled, value, rtol=1e-13)  # roundings of float64
            np.testing.assert_allclose(other * scale, gradient, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose((gradient * probs).sum(axis=1), 0, atol=1e-13)


# ---- Near 0 and 1 ------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("kind", ["index", "one hot", "smoothed"])
@pytest.mark.parametrize("shape", [(9, 2), (5, 16), (3, 300)], ids=str)
def test_confident_rows_keep_their_digits(
    shape: tuple[int, ...], kind: str, gamma: float, dtype: str
) -> None:
    """1 - q of 1e-2 to 2e-7 is no difference of rounded numbers, nor are its powers."""
    for rest in (1e-2, 3e-5, 2e-7):
        index = np.arange(shape[0]) * 7 % shape[1]
        probs = np.full(shape, rest / (shape[1] - 1), dtype)
        np.put_along_axis(probs, index[:, np.newaxis], 1, axis=1)
        smoothing = 1e-3 if kind == "smoothed" else 0.0
        target = np.eye(shape[1])[index] if kind == "one hot" else index
        options: dict[str, Any] = {
            "gamma": gamma,
            "label_smoothing": smoothing,
            "reduction": "none",
        }
        value, gradient = GRAD(probs, target, **options)
        truth = evaluate(
            *(LOSS, probs, target), dtype=np.longdouble, arithmetic=np.dtype(dtype), **options
        )
        # the sum of the others and what is made of it, and (1 - q)^gamma, whose exponent
        # gamma log(1 - q) is off by its own rounding and gamma times log's
        allowed = softmax_ulps(shape[1]) + 2 * gamma * (1 - np.log(rest))
        for actual, (exact, _, _) in ((value, truth.value), (gradient, truth.gradient)):
            tiny = 4 * np.finfo(dtype).tiny
            assert_within(actual, exact, allowed * ulp(exact, dtype) + tiny)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 200), (1, 3, 2)], ids=str)
@pytest.mark.parametrize("one_hot", [False, True])
def test_clipped_probabilities(shape: tuple[int, ...], one_hot: bool, dtype: str) -> None:
    """0 and 1 are clipped: finite losses, and no gradient from there."""
    arithmetic = compute_dtype(dtype).type
    most = arithmetic(1) - arithmetic(LEAST)
    for label, clipped in ((0, most), (1, arithmetic(LEAST))):
        probs = np.zeros(shape, dtype)
        probs[:, 0] = 1
        target: Array = np.full(positions_of(shape, 1), label)
        if one_hot:
            target = np.moveaxis(np.eye(shape[1])[target], -1, 1)
        for gamma in GAMMAS:
            value, gradient = GRAD(probs, target, axis=1, gamma=gamma, reduction="none")
            q = np.longdouble(clipped)
            expected = (1 - q) ** gamma * -np.log(q)
            least = float(ml_dtypes.finfo(dtype).smallest_subnormal)  # to which storage rounds
            np.testing.assert_allclose(
                value.astype(float), float(expected), rtol=(8 + 4 * gamma) * eps(dtype), atol=least
            )
            assert np.all(gradient == 0)


def test_clipped_classes_of_a_smoothed_target(isa: str) -> None:
    """Where a class is clipped its share of the target leaves the gradient of the others."""
    probs, gamma = np.array([[0.0, 0.25, 0.75]]), 1.5
    alpha = np.array([0.5, 2.0, 3.0])
    for smoothing in (0.3, 0.9):
        value, gradient = GRAD(probs, [1], label_smoothing=smoothing, gamma=gamma, alpha=alpha)
        t = alpha * (smoothing / 3 + np.array([0, 1 - smoothing, 0]))
        q = np.array([LEAST, 0.25, 0.75])
        expected = -(t * (1 - q) ** gamma * np.log(q)).sum()
        np.testing.assert_allclose(value, expected, rtol=1e-14)  # roundings of float64
        u = t * (1 - q) ** gamma * (1 - gamma * q * np.log(q) / (1 - q))
        passing = u[1] + u[2]
        by_hand = [passing, passing - u[1] / 0.25, passing - u[2] / 0.75]
        np.testing.assert_allclose(gradient[0], by_hand, rtol=1e-13)


def test_index_and_one_hot_targets_agree(isa: str, rng: np.random.Generator) -> None:
    for shape, axis in SHAPES:
        for dtype in ("float32", "float64"):
            probs, _, alpha = problem_of(shape, axis, "index", dtype, rng)
            target = rng.integers(0, shape[axis], size=positions_of(shape, axis))
            one_hot = np.moveaxis(np.eye(shape[axis])[target], -1, axis)
            for smoothing in (0.0, 0.2):
                options: dict[str, Any] = {"axis": axis, "label_smoothing": smoothing}
                options |= {"gamma": 2.0, "alpha": alpha, "reduction": "none"}
                index, other = GRAD(probs, target, **options), GRAD(probs, one_hot, **options)
                # sums over the classes in another order, and the power's errors of them
                for a, b in zip(index, other, strict=True):
                    np.testing.assert_allclose(a, b, rtol=3e2 * eps(dtype), atol=8 * eps(dtype))


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
    alpha = np.ones(shape[1])
    alpha[0] = 0
    expected = (1 - 1 / shape[1]) ** 2 * np.log(shape[1])
    limit = 4 * softmax_ulps(shape[1]) * eps(compute_dtype(dtype))
    for smoothing in (0.0, 0.1):
        options: dict[str, Any] = {"axis": 1, "label_smoothing": smoothing, "gamma": 2.0}
        value, gradient = GRAD(probs, target, **options)
        np.testing.assert_allclose(value, expected, rtol=limit)
        assert np.all(np.isfinite(gradient))
        assert np.all(np.moveaxis(gradient, 1, -1)[target == -100] == 0)
        value, _ = GRAD(probs, np.zeros(rows, int), reduction="none", **options)
        np.testing.assert_array_equal(np.isnan(value.ravel()), [False, True])
        value, gradient = GRAD(probs, np.full(rows, -100), **options)
        assert np.isnan(value)
        assert np.all(gradient == 0)
    # a target class of weight 0 is ignored, whatever the row holds
    value, gradient = GRAD(
        *(probs, np.zeros(rows, int)), axis=1, gamma=2.0, alpha=alpha, reduction="sum"
    )
    assert value == 0
    assert np.all(gradient == 0)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("shape", "axis"), [((30_011, 10), 1), ((21, 10_007), 0)], ids=str)
def test_same_bits_for_any_number_of_threads(
    shape: tuple[int, ...], axis: int, dtype: str, rng: np.random.Generator
) -> None:
    for kind in KINDS:
        probs, target, alpha = problem_of(shape, axis, kind, dtype, rng)
        for smoothing in (0.0, 0.1):
            results = set()
            options: dict[str, Any] = {"axis": axis, "label_smoothing": smoothing}
            options |= {"gamma": 2.0, "alpha": alpha}
            for count in (1, 2, 3, 7):
                value, gradient = GRAD(probs, target, num_threads=count, **options)
                alone = fl.categorical_cross_entropy(probs, target, num_threads=count, **options)
                assert alone == value
                results.add((value, gradient.tobytes()))
            assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_and_into_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape, axis in SHAPES:
        for kind in KINDS:
            probs, target, alpha = problem_of(shape, axis, kind, dtype, rng)
            memory = np.full((*shape[:-1], 2 * shape[-1]), 7, dtype)
            options: dict[str, Any] = {"axis": axis, "reduction": "none", "label_smoothing": 0.1}
            options |= {"gamma": 2.0, "alpha": alpha}
            assert_loss_right(LOSS, probs, target, out=memory[..., ::2], **options)
            assert np.all(memory[..., 1::2] == 7)
            value, gradient = GRAD(probs, target, **options)
            in_place, same = GRAD(probs, target, out=probs, **options)
            assert same is probs
            assert_same_bits(in_place, value)
            assert_same_bits(same, gradient)


@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for kind in KINDS:
        plain, target, alpha = problem_of((9, 6, 5), 1, kind, dtype, rng)
        for probs in (
            plain.copy(order="F"),
            plain[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
            np.repeat(plain, 2, axis=1)[:, ::2],
            np.moveaxis(np.moveaxis(plain, 1, -1).copy(), -1, 1),
        ):
            strided = np.repeat(alpha, 2)[::2]
            assert_loss_right(LOSS, probs, target, axis=1, gamma=2.0, alpha=strided)


# ---- Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"gamma": -0.1}, ValueError, r"gamma is -0\.1: expected a number from 0 to 64"),
        ({"gamma": 65}, ValueError, r"gamma is 65"),
        ({"gamma": np.nan}, ValueError, r"gamma is nan"),
        ({"gamma": "2"}, TypeError, r"gamma is '2': expected a number"),
        ({"gamma": None}, TypeError, r"gamma is None"),
        ({"alpha": "1"}, TypeError, r"alpha is '1': expected a number"),
        ({"alpha": np.ones(2)}, ValueError, r"alpha has shape \(2,\): expected \(3,\)"),
        ({"alpha": np.ones((1, 3))}, ValueError, r"alpha has shape \(1, 3\): expected \(3,\)"),
        ({"alpha": np.ones(3, int)}, TypeError, r"alpha has dtype int64"),
        ({"alpha": 0.25, "axis": 2}, ValueError, r"axis is 2: out of range for probs"),
        ({"alpha": 0.25, "axis": "1"}, TypeError, r"axis is '1'"),
    ],
    ids=str,
)
def test_errors(options: dict[str, Any], error: type[Exception], match: str) -> None:
    """They name the option and its value, and come before anything is written."""
    probs = np.full((2, 3), 0.25)
    for target in (np.array([0, 1]), np.full((2, 3), 1 / 3)):
        out = np.full((2, 3), 7.0)
        with pytest.raises(error, match=match):
            GRAD(probs, target, out=out, **options)
        assert np.all(out == 7)
        with pytest.raises(error, match=match):
            fl.categorical_cross_entropy(probs, target, **options)
