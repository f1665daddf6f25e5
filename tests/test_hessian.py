"""grad_and_hess: the gradient and the diagonal Hessian of the summed loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import LOGITS, Case, Options
from checks import (
    DTYPES,
    assert_quantity,
    assert_same_bits,
    assert_within,
    softmax_ulps,
    truth_dtype,
    ulp,
)
from parts import Array
from reference import class_axis, evaluate

SHAPES: tuple[tuple[int, ...], ...] = (
    (5,),
    (0, 5),
    (33, 10),
    (5, 128),
    (4, 129),
    (2, 5003),
    (3, 9, 17),
    (2, 130, 5),
)

OPTIONS = (
    Options(),
    Options(weight=True, ignore="default"),
    Options(label_smoothing=0.1, sample_weight=True),
    Options("probability", weight=True),
    Options(softcap=4.0),
    Options(z_loss=0.3, ignore="class"),
    Options(entropy_bonus=0.3, softcap=3.0, weight=True, ignore="default"),
    Options("probability", weight=True, sample_weight=True, softcap=3.0, z_loss=0.1),
    Options(
        weight=True,
        ignore="default",
        label_smoothing=0.05,
        sample_weight=True,
        softcap=2.0,
        z_loss=0.5,
    ),
)

CASES = tuple(
    Case(shape, options, ("normal", "wide", "ties", "shifted")[(i + j) % 4])
    for i, shape in enumerate(SHAPES)
    for j, options in enumerate(OPTIONS)
)

CROSS_ENTROPY = fl.grad_and_hess(fl.cross_entropy)
FOCAL = fl.grad_and_hess(fl.focal_loss)


def assert_right(loss: str, logits: Array, target: Array, **options: Any) -> None:
    dtype = logits.dtype
    gradient, hessian = fl.grad_and_hess(getattr(fl, loss))(logits, target, **options)
    truth = evaluate(loss, logits, target, reduction="sum", dtype=truth_dtype(dtype), **options)
    ulps = softmax_ulps(logits.shape[class_axis(logits.ndim)])
    assert_quantity(gradient, truth.gradient, dtype, ulps)
    assert_quantity(hessian, truth.hessian, dtype, 2 * ulps)  # products of two probabilities
    summed = fl.value_and_grad(getattr(fl, loss))(logits, target, reduction="sum", **options)
    # the same formula; a call with a Hessian may take another path
    assert_quantity(summed[1], truth.gradient, dtype, ulps)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_cross_entropy(case: Case, dtype: str) -> None:
    logits, target, options = case.build(dtype)
    assert_right("cross_entropy", logits, target, **options)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", [0, 0.5, 1.0, 2.0, 3.7])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_focal_loss(
    shape: tuple[int, ...], gamma: float, dtype: str, rng: np.random.Generator
) -> None:
    axis = class_axis(len(shape))
    rows, classes = shape[:axis] + shape[axis + 1 :], shape[axis]
    target = np.asarray(rng.integers(0, classes, size=rows))
    target = np.where(rng.random(rows) < 0.3, -100, target) if rows else target
    alpha = rng.uniform(0.1, 2, size=classes)
    v = np.asarray(rng.uniform(0.1, 2, size=rows)).astype(dtype)
    logits = LOGITS["normal"](shape, rng).astype(dtype)
    options: dict[str, Any] = {"gamma": gamma}
    assert_right("focal_loss", logits, target, alpha=0.25, **options)
    options |= {"alpha": alpha, "sample_weight": v}
    assert_right("focal_loss", logits, target, **options)
    assert_right("focal_loss", logits, target, softcap=3.0, z_loss=0.1, **options)
    logits = LOGITS["wide"](shape, rng).astype(dtype)
    assert_right("focal_loss", logits, target, **options)


# ---- What is known of it -----------------------------------------------------------------------


def test_worked_values(isa: str) -> None:
    """Two classes at even odds: p (1 - p) = 1/4; and the focal loss by hand."""
    gradient, hessian = CROSS_ENTROPY(np.zeros((1, 2)), [0])
    np.testing.assert_allclose(gradient, [[-0.5, 0.5]], rtol=1e-15)
    np.testing.assert_allclose(hessian, [[0.25, 0.25]], rtol=1e-15)
    # F(p) = -(1-p)^2 log p, dp/dz = p (1-p): F'' of z at p = 1/2, l = log 2, is
    # p u (u^3 + ...) = 5/16 + l / 8 - ... : by differences of the gradient instead
    step = 1e-5
    _, hessian = FOCAL(np.zeros((1, 2)), [0])
    above, below = (
        fl.value_and_grad(fl.focal_loss)(np.array([[s * step, 0.0]]), [0])[1][0, 0] for s in (1, -1)
    )
    np.testing.assert_allclose(hessian[0, 0], (above - below) / (2 * step), rtol=1e-9)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", ["cross_entropy", "focal_loss"])
@pytest.mark.parametrize("shape", [(4, 5), (2, 150), (2, 5, 3)], ids=str)
def test_is_the_difference_of_gradients(
    loss: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Central differences of the gradient; their error as in test_gradients.py."""
    logits = rng.normal(size=shape)
    rows = (shape[0], *shape[2:])
    target = rng.integers(0, shape[1], size=rows)
    options: dict[str, Any] = {
        "sample_weight": rng.uniform(0.1, 2, size=rows),
        "softcap": 3.0,
        "z_loss": 0.1,
    }
    _, hessian = fl.grad_and_hess(getattr(fl, loss))(logits, target, **options)
    grad = fl.value_and_grad(getattr(fl, loss))
    step = 1e-5
    for index in list(np.ndindex(shape))[:: max(1, logits.size // 60)]:
        moved = np.zeros(shape)
        moved[index] = step
        above, below = (
            grad(logits + sign * moved, target, reduction="sum", **options)[1] for sign in (1, -1)
        )
        difference = (above[index] - below[index]) / (2 * step)
        np.testing.assert_allclose(hessian[index], difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(9, 2), (5, 16), (3, 300), (2, 3, 33)], ids=str)
def test_confident_rows_keep_their_digits(isa: str, shape: tuple[int, ...], dtype: str) -> None:
    """p (1 - p) of 1e-9 is no difference of rounded numbers."""
    rows = (shape[0], *shape[2:])
    for gap in (20, 30):
        logits = np.zeros(shape, dtype)
        target = np.arange(np.prod(rows)).reshape(rows) * 7 % shape[1]
        np.put_along_axis(logits, np.expand_dims(target, 1), gap, 1)
        for loss in ("cross_entropy", "focal_loss"):
            _, hessian = fl.grad_and_hess(getattr(fl, loss))(logits, target)
            truth = evaluate(loss, logits, target, reduction="sum", dtype=np.longdouble).hessian
            # the gradient's 8 and another product; (1 - p)^2 is exp(2 log(1 - p))
            allowed = 10 + 4 * (gap + 1) * (loss == "focal_loss")
            tiny = 4 * np.finfo(dtype).tiny
            assert_within(hessian, truth.exact, allowed * ulp(truth.exact, dtype) + tiny)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [Case(shape) for shape in SHAPES], ids=str)
def test_cross_entropy_has_none_that_is_negative(case: Case, dtype: str) -> None:
    logits, target, options = case.build(dtype)
    _, hessian = CROSS_ENTROPY(logits, target, **options)
    assert np.all(hessian >= 0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4), (3, 200), (1, 4, 3)], ids=str)
def test_special_rows(shape: tuple[int, ...], dtype: str) -> None:
    """Nothing at certainty, nothing where ignored, NaN in a row of NaN."""
    rows = (shape[0], *shape[2:])
    logits = np.full(shape, -1e4, dtype)
    logits[:, 1] = 1e4
    for grad_and_hess in (CROSS_ENTROPY, FOCAL):
        for label in (0, 1):
            gradient, hessian = grad_and_hess(logits, np.full(rows, label))
            assert np.all(hessian == 0)
            assert np.all(np.isfinite(gradient))
        bad = np.full(shape, np.nan, dtype)
        gradient, hessian = grad_and_hess(bad, np.full(rows, -100))
        assert np.all(gradient == 0)
        assert np.all(hessian == 0)
        gradient, hessian = grad_and_hess(bad, np.full(rows, 1))
        assert np.all(np.isnan(gradient))
        assert np.all(np.isnan(hessian))
        masked = np.zeros(shape, dtype)
        masked[:, 0] = -np.inf
        gradient, hessian = grad_and_hess(masked, np.full(rows, 1))
        assert np.all(hessian[:, 0] == 0)
        assert np.all(np.isfinite(hessian))
        gradient, hessian = grad_and_hess(masked, np.full(rows, 0))  # the loss is inf
        assert np.all(hessian[:, 0] == 0)
        assert np.all(gradient[:, 0] == -1)


# ---- Threads, memory, errors -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20_011, 10), (1021, 257), (2, 21, 5003)], ids=str)
def test_same_bits_for_any_number_of_threads(shape: tuple[int, ...], dtype: str) -> None:
    logits, target, options = Case(shape, OPTIONS[-1]).build(dtype)
    for grad_and_hess, given in ((CROSS_ENTROPY, options), (FOCAL, {"gamma": 1.5})):
        given["ignore_index"] = options["ignore_index"]
        results = set()
        for count in (1, 2, 3, 7):
            gradient, hessian = grad_and_hess(logits, target, num_threads=count, **given)
            results.add((gradient.tobytes(), hessian.tobytes()))
        assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_of_any_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape in ((9, 6), (3, 140), (4, 6, 5)):
        logits = rng.normal(size=shape).astype(dtype)
        target = rng.integers(0, 6, size=(shape[0], *shape[2:]))
        for odd in (
            logits.copy(order="F"),
            logits[::-1, ::-1].copy()[::-1, ::-1],
            np.repeat(logits, 2, axis=1)[:, ::2],
        ):
            before = odd.copy()
            assert_right("cross_entropy", odd, target)
            assert_right("focal_loss", odd, target)
            np.testing.assert_array_equal(odd, before)


def test_more_dimensions_than_the_kernels_take(isa: str, rng: np.random.Generator) -> None:
    shape = (2, 3, 2, 1, 3, 2, 2, 2, 2, 2)
    target = rng.integers(0, 3, size=(2, *shape[2:]))
    assert_right("cross_entropy", rng.normal(size=shape).astype("float32"), target)


def test_plain_lists() -> None:
    gradient, hessian = CROSS_ENTROPY([[0.0, 0.0], [0.0, 0.0]], [0, 1])
    assert_same_bits(gradient, np.array([[-0.5, 0.5], [0.5, -0.5]]))
    assert_same_bits(hessian, np.full((2, 2), 0.25))
    assert_within(CROSS_ENTROPY([0.0, 0.0], 0)[1], np.full(2, 0.25), 0)


@pytest.mark.parametrize("loss", [fl.nll_loss, fl.softmax, fl.soft_cross_entropy, len, None])
def test_losses_without_one(loss: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"(?i)hess|loss"):
        fl.grad_and_hess(loss)


def test_a_bad_label_is_named() -> None:
    for shape in ((4, 3), (4, 300), (1, 3, 4)):
        target = np.zeros((shape[0], *shape[2:]), int)
        target.flat[2] = 1000
        for grad_and_hess in (CROSS_ENTROPY, FOCAL):
            with pytest.raises(IndexError, match="is 1000"):
                grad_and_hess(np.zeros(shape), target)
