"""softmax, log_softmax and logsumexp: value and gradient against the formula, along any axis."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fusedloss as fl
import reference
from cases import CLASS_COUNTS, LOGITS
from checks import (
    DTYPES,
    assert_same_bits,
    assert_within,
    compute_dtype,
    eps,
    tolerance,
    truth_dtype,
)
from parts import Array

FUNCTIONS = ("softmax", "log_softmax", "logsumexp")

#: (shape, axis): every number of classes, and axes at the front, in the middle and at the end.
SHAPES = [((3, classes), -1) for classes in CLASS_COUNTS] + [
    ((5,), 0),
    ((0, 3), 1),
    ((3, 0, 2), 0),
    ((10, 33), 0),
    ((4, 10, 33), 1),
    ((4, 10, 33), -2),
    ((2, 3, 4, 5), 0),
    ((2, 3, 4, 5), 2),
    ((2, 3, 4, 5), -1),
    ((2, 1, 3, 2, 17, 2), 4),
]


def naive(name: str, logits: Array, axis: int, grad_output: Array) -> tuple[Array, Array]:
    """The textbook formulas, every step rounded to the type that computes."""
    arithmetic = compute_dtype(logits.dtype)
    z = np.moveaxis(logits, axis, -1).astype(arithmetic)
    grad_output = grad_output.astype(arithmetic)
    log_p = reference.naive_log_softmax(z)
    p = np.exp(log_p)
    if name == "logsumexp":
        value = z.max(axis=-1) + np.log(np.exp(z - z.max(axis=-1, keepdims=True)).sum(axis=-1))
        return value, np.moveaxis(p * grad_output[..., np.newaxis], -1, axis)
    g = np.moveaxis(grad_output, axis, -1)
    if name == "softmax":
        gradient = p * (g - (g * p).sum(axis=-1, keepdims=True))
    else:
        gradient = g - p * g.sum(axis=-1, keepdims=True)
    value = p if name == "softmax" else log_p
    return np.moveaxis(value, -1, axis), np.moveaxis(gradient, -1, axis)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_value_and_gradient(
    shape: tuple[int, ...], axis: int, name: str, dtype: str, rng: np.random.Generator
) -> None:
    kinds = [kind for kind in LOGITS if kind != "masked"]
    logits = LOGITS[kinds[sum(shape) % len(kinds)]](shape, rng).astype(dtype)
    function = getattr(fl, name)
    output_shape = shape
    if name == "logsumexp":
        output_shape = tuple(np.delete(shape, axis).tolist())
    grad_output = rng.normal(size=output_shape).astype(dtype)
    value, gradient = fl.value_and_grad(function)(logits, axis=axis, grad_output=grad_output)
    assert_same_bits(value, function(logits, axis=axis))
    assert value.dtype == gradient.dtype == dtype
    truth = reference.evaluate_helper(name, logits, axis, grad_output, truth_dtype(dtype))
    rough = naive(name, logits, axis, grad_output)
    for actual, quantity, naive_result in zip((value, gradient), truth, rough, strict=True):
        exact, size, moved = quantity
        allowed = tolerance(exact, naive_result, dtype, size, 2 * moved)
        assert_within(actual, exact, allowed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_sum_to_one(isa: str, dtype: str, rng: np.random.Generator) -> None:
    logits = (rng.normal(size=(50, 1000)) * 10).astype(dtype)
    p = fl.softmax(logits)
    assert np.all(p >= 0)
    # each p is off by a few ULP of itself, so their sum by a few of 1
    np.testing.assert_allclose(p.sum(axis=1, dtype=float), 1, atol=8 * eps(dtype))
    # exp of a log-probability, itself off by half an ULP of at most 64
    np.testing.assert_allclose(np.exp(fl.log_softmax(logits)), p, rtol=64 * eps(dtype))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_axis_defaults_to_the_last(name: str, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(3, 4, 5))
    function = getattr(fl, name)
    np.testing.assert_array_equal(function(logits), function(logits, axis=2))
    np.testing.assert_array_equal(function(logits, axis=1), function(logits, axis=-2))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_in_place_gradient(isa: str, name: str, axis: int, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(5, 17, 9)).astype("float32")
    grad = fl.value_and_grad(getattr(fl, name))
    value, gradient = grad(logits, axis=axis)
    buffer = logits.copy()
    value_in_place, gradient_in_place = grad(buffer, axis=axis, out=buffer)
    assert gradient_in_place is buffer
    assert_same_bits(value, value_in_place)
    assert_same_bits(gradient, gradient_in_place)


MANY_CLASSES = """
import resource
import numpy as np
import fusedloss as fl

x = np.random.default_rng(0).normal(size=(2_000_000, 2)).astype("float32")
fl.logsumexp(x[:1000], axis=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = fl.logsumexp(x, axis=0)
more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
expected = np.log(np.exp(x.astype(float)).sum(axis=0))
np.testing.assert_allclose(found, expected, rtol=1e-6)
print(more)
"""


def test_many_classes_along_the_first_axis_take_no_tile() -> None:
    """Of 2 positions of 2 million classes, 16 MB, nothing of that size is made."""
    pytest.importorskip("resource")
    command = [sys.executable, "-c", MANY_CLASSES]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(result.stdout) < 8 * 1024, "kilobytes"


@pytest.mark.parametrize("classes", [5400, 5600])
@pytest.mark.parametrize("shape", [(), (1,), (3,)], ids=str)
def test_classes_along_the_first_axis(classes: int, shape: tuple[int, ...]) -> None:
    """Few positions, on both sides of the number from which they are walked one by one."""
    x = np.random.default_rng(0).normal(size=(classes, *shape, 2)).astype("float32")[..., 0]
    last = np.ascontiguousarray(np.moveaxis(x, 0, -1))
    for function in (fl.logsumexp, fl.softmax, fl.log_softmax):
        found, gradient = fl.value_and_grad(function)(x, axis=0, grad_output=None)
        value, expected = fl.value_and_grad(function)(last, axis=-1)
        if function is not fl.logsumexp:
            value = np.moveaxis(value, -1, 0)
        # Logits and log-sum-exp of up to 13, whose rounding is that of their difference.
        np.testing.assert_allclose(found, value, rtol=1e-6, atol=2e-6)
        np.testing.assert_allclose(gradient, np.moveaxis(expected, -1, 0), rtol=1e-5, atol=2e-6)
