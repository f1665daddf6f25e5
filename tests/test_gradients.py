"""Gradients: finite differences, invariants, in place, into any memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import CASES, SMALL_CASES, Case
from checks import DTYPES, assert_same_bits, eps
from parts import Array
from reference import class_axis

#: Central differences in float64: the truncation is step^2 times the third derivative, the
#: rounding 1e-16 * |value| / step; with values of about 10 both stay below 1e-9, asserted as 1e-8.
STEP, DIFFERENCE_ERROR = 1e-5, 1e-8


def assert_gradient_is_the_difference(
    function: Callable[[Array], Any], logits: Array, gradient: Array, grad_output: Any
) -> None:
    differences = np.empty_like(logits)
    for index in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[index] += STEP
        below[index] -= STEP
        change = np.asarray(function(above)) - np.asarray(function(below))
        differences[index] = (grad_output * change).sum() / (2 * STEP)
    np.testing.assert_allclose(gradient, differences, rtol=0, atol=DIFFERENCE_ERROR)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
def test_cross_entropy_gradient_is_the_finite_difference(
    case: Case, reduction: str, rng: np.random.Generator
) -> None:
    logits, target, options = case.build("float64")
    options["reduction"] = reduction
    rows = tuple(np.delete(logits.shape, 1)) if reduction == "none" else ()
    grad_output = rng.normal(size=rows)
    _, gradient = fl.value_and_grad(fl.cross_entropy)(
        logits, target, grad_output=grad_output, **options
    )
    assert_gradient_is_the_difference(
        lambda z: fl.cross_entropy(z, target, **options), logits, gradient, grad_output
    )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("function", [fl.softmax, fl.log_softmax, fl.logsumexp])
def test_helper_gradient_is_the_finite_difference(
    function: Callable[..., Array], axis: int, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=(3, 4, 5))
    grad_output = rng.normal(size=function(logits, axis=axis).shape)
    _, gradient = fl.value_and_grad(function)(logits, axis=axis, grad_output=grad_output)
    assert_gradient_is_the_difference(
        lambda z: function(z, axis=axis), logits, gradient, grad_output
    )


# ---- Invariants --------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [case for case in CASES if case.logits != "masked"], ids=str)
def test_gradient_sums_to_zero_over_the_classes(case: Case, dtype: str) -> None:
    """Adding a constant to a row leaves its loss as it is, whatever the target."""
    logits, target, options = case.build(dtype)
    _, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, reduction="sum", **options)
    axis = class_axis(logits.ndim)
    wide = gradient.astype(float)
    # the elements' errors are each a few ULP relative, so that their sum's is of their magnitude;
    # the two terms of each element, p and t, are of the size of the weights, at most 2
    size = np.abs(wide).sum(axis=axis) + 2
    error = np.abs(wide.sum(axis=axis))
    # exp's argument is off by half an ULP of at most 180 (the "wide" logits): 90 eps of p
    assert np.all(error <= 100 * eps(dtype) * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4,), (3, 17), (3, 17, 5)], ids=str)
def test_perfect_prediction(isa: str, shape: tuple[int, ...], dtype: str) -> None:
    """All the probability on the target: no loss, no gradient, exactly."""
    axis = class_axis(len(shape))
    target = np.ones(np.delete(shape, axis), int)
    logits = np.full(shape, -1e4, dtype)
    np.moveaxis(logits, axis, 0)[1] = 1e4
    one_hot = np.moveaxis(np.eye(shape[axis])[target], -1, axis)
    for labels in (target, one_hot):
        value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, labels, reduction="none")
        assert np.all(value == 0)
        assert np.all(gradient == 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_logits(isa: str, dtype: str) -> None:
    for classes in (1, 2, 10, 1000):
        logits = np.full((3, classes), 7, dtype)
        value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, [0] * 3, reduction="none")
        np.testing.assert_allclose(value, np.log(classes), rtol=2 * eps(dtype))  # one log
        expected = np.full(classes, 1 / classes)
        expected[0] -= 1
        np.testing.assert_allclose(gradient, [expected] * 3, rtol=4 * eps(dtype))  # one division


@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_gradient_is_linear_in_grad_output(case: Case, dtype: str) -> None:
    """Powers of two scale the bits' exponents only (but float16's run out); zero gives zero."""
    logits, target, options = case.build(dtype)
    grad = fl.value_and_grad(fl.cross_entropy)
    _, plain = grad(logits, target, **options)
    _, quarter = grad(logits, target, grad_output=-0.25, **options)
    np.testing.assert_array_equal(quarter, -0.25 * plain)
    _, zero = grad(logits, target, grad_output=0.0, **options)
    assert np.all(zero == 0)


# ---- Where the gradient goes -------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_place_equals_out_of_place(case: Case, dtype: str) -> None:
    logits, target, options = case.build(dtype)
    grad = fl.value_and_grad(fl.cross_entropy)
    value, gradient = grad(logits, target, reduction="none", **options)
    buffer = logits.copy()
    value_in_place, gradient_in_place = grad(
        buffer, target, reduction="none", out=buffer, **options
    )
    assert gradient_in_place is buffer
    assert_same_bits(value_in_place, value)
    assert_same_bits(gradient_in_place, gradient)
    out = np.full_like(logits, np.nan)
    _, gradient_out = grad(logits, target, reduction="none", out=out, **options)
    assert gradient_out is out
    assert_same_bits(out, gradient)


@pytest.mark.parametrize("shape", [(6, 33), (4, 5, 6), (3, 17, 2, 4)], ids=str)
def test_in_place_with_any_strides(
    isa: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """The very memory of the logits, transposed, gapped or reversed."""
    logits = rng.normal(size=shape).astype("float32")
    target = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
    grad = fl.value_and_grad(fl.cross_entropy)
    gapped = np.full((shape[0], 2 * shape[1], *shape[2:]), 9, "float32")[:, ::2]
    for memory in (
        np.empty_like(logits.T).T,
        gapped,
        np.empty_like(logits)[::-1],
        np.empty_like(logits)[..., ::-1],
    ):
        memory[...] = logits
        fresh = np.empty_like(logits)
        _, gradient = grad(memory, target, out=fresh)
        _, in_place = grad(memory, target, out=memory)
        assert in_place is memory
        # a call may take another path (streaming stores, tiles) by the strides of its output
        np.testing.assert_allclose(in_place, gradient, rtol=4e-7, atol=1e-9)
    assert gapped.base is not None
    assert np.all(gapped.base[:, 1::2] == 9)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
def test_value_is_the_same_with_and_without_gradient(isa: str, case: Case, reduction: str) -> None:
    for dtype in DTYPES:
        logits, target, options = case.build(dtype)
        options["reduction"] = reduction
        value, _ = fl.value_and_grad(fl.cross_entropy)(logits, target, **options)
        assert_same_bits(value, fl.cross_entropy(logits, target, **options))
