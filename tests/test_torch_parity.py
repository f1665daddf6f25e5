"""The same numbers as torch.nn.functional, over every option that both have."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import checks
import fusedloss as fl
from checks import assert_within, compute_dtype, eps, storage_rounding, stored
from parts import Array

torch = pytest.importorskip("torch")
F = torch.nn.functional

#: The same examples in every run; a machine shared with others sets no deadline.
PROFILE = settings(derandomize=True, deadline=None, max_examples=400)

REDUCTIONS = st.sampled_from(["none", "mean", "sum"])
DTYPES = st.sampled_from(checks.DTYPES)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    """(C,), (N, C) or (N, C, d1, ...) with up to some 5000 elements."""
    classes = draw(st.one_of(st.integers(1, 40), st.sampled_from([64, 100, 257])))
    if draw(st.integers(0, 9)) == 0:
        return (classes,)
    inner = draw(st.lists(st.integers(0, 9), max_size=3))
    room = max(5000 // (classes * max(math.prod(inner), 1)), 1)
    return (draw(st.integers(0, min(room, 70))), classes, *inner)


def tensor(array: Array, requires_grad: bool = False) -> Any:
    """What torch computes with: float32 for 16 bits, where torch rounds every step to 16."""
    wide = array.astype(compute_dtype(array.dtype)) if array.dtype.kind not in "iu" else array
    return torch.tensor(wide, requires_grad=requires_grad)


def assert_close(ours: Any, theirs: Any, dtype: str, size: float) -> None:
    """Both round in their own order: each is off by a few ULP of the largest number involved.

    Torch's sums over the batch are float32 for float32, ours double: hence 16 and not 4. An array
    of 16 bits is rounded once more.
    """
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    tolerance = 16 * eps(compute_dtype(dtype))
    if ours.dtype == dtype:
        theirs = stored(theirs, dtype)
        rounded = storage_rounding(theirs, dtype)
    else:
        assert ours.dtype == np.float64  # a reduced loss
        rounded = np.zeros(())
    allowed = tolerance * (np.abs(theirs) + size) + rounded
    assert_within(ours, theirs.astype(float), np.where(np.isfinite(allowed), allowed, 0))


class Problem(NamedTuple):
    """What both losses of a row are called with, the arrays as NumPy's."""

    logits: Array
    target: Array
    options: dict[str, Any]  # but the weight
    weight: Array | None
    grad_output: Array


@st.composite
def problems(draw: st.DrawFn, probabilities: bool) -> Problem:
    """Every combination of shape, dtype and option that torch has."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape, dtype = draw(shapes()), draw(DTYPES)
    axis = min(1, len(shape) - 1)
    classes, rows = shape[axis], shape[:axis] + shape[axis + 1 :]
    logits = (rng.normal(size=shape) * draw(st.sampled_from([0.0, 1.0, 10.0]))).astype(dtype)
    options: dict[str, Any] = {"reduction": draw(REDUCTIONS)}
    target: Array
    # where a scalar label's shape could be that of the logits only the latter is meant
    if probabilities and draw(st.booleans()):
        target = np.moveaxis(rng.dirichlet(np.ones(classes), size=rows), -1, axis).astype(dtype)
    else:
        target = rng.integers(0, classes, size=rows)
        ignore_index = draw(st.sampled_from([-100, -1, 0, classes - 1]))
        if draw(st.booleans()):
            target = np.where(rng.random(rows) < 0.4, ignore_index, target)
        options["ignore_index"] = ignore_index
    weight = rng.uniform(0, 2, size=classes).astype(dtype) if draw(st.booleans()) else None
    reduced = options["reduction"] != "none"
    grad_output = np.asarray(rng.normal(size=() if reduced else rows)).astype(dtype)
    return Problem(logits, target, options, weight, grad_output)


def assert_same_as_torch(name: str, problem: Problem) -> None:
    logits, target, options, weight, grad_output = problem
    dtype = logits.dtype.name
    z = tensor(logits, requires_grad=True)
    expected = getattr(F, name)(
        z, tensor(target), weight=None if weight is None else tensor(weight), **options
    )
    expected.backward(tensor(grad_output))
    value, gradient = fl.value_and_grad(getattr(fl, name))(
        logits, target, weight=weight, grad_output=grad_output, **options
    )
    # a row's loss is at most the logits' range times a weight, a sum's the rows' sum
    span = max(float(np.ptp(logits.astype(float))) if logits.size else 0, 1)
    positions = math.prod(target.shape) if options["reduction"] == "sum" else 1
    assert_close(value, expected, dtype, size=2 * span * max(positions, 1))
    # p is off by as many eps as its exponent is large; a mean over few weights divides by little
    exact = z.grad.numpy()
    total = np.abs(exact).max(initial=1, where=np.isfinite(exact))
    assert_close(gradient, z.grad, dtype, size=float(total) * span / 2)


@PROFILE
@given(problem=problems(probabilities=True), smoothing=st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_cross_entropy(problem: Problem, smoothing: float) -> None:
    if smoothing:
        problem.options["label_smoothing"] = smoothing
    assert_same_as_torch("cross_entropy", problem)


@PROFILE
@given(problem=problems(probabilities=False))
def test_nll_loss(problem: Problem) -> None:
    assert_same_as_torch("nll_loss", problem)


@PROFILE
@given(data=st.data(), dtype=DTYPES, name=st.sampled_from(["softmax", "log_softmax", "logsumexp"]))
def test_helpers(data: st.DataObject, dtype: str, name: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4), label="shape"))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), label="axis")
    logits = (rng.normal(size=shape) * 3).astype(dtype)
    z = tensor(logits, requires_grad=True)
    expected = torch.logsumexp(z, axis) if name == "logsumexp" else getattr(F, name)(z, axis)
    grad_output = np.asarray(rng.normal(size=tuple(expected.shape))).astype(dtype)
    expected.backward(tensor(grad_output))
    value, gradient = fl.value_and_grad(getattr(fl, name))(
        logits, axis=axis, grad_output=grad_output
    )
    assert_close(value, expected, dtype, size=20)  # the logits' range
    assert_close(gradient, z.grad, dtype, size=20)


def test_special_values(rng: np.random.Generator) -> None:
    """Infinities and NaN where torch's answer is the contract's."""
    inf, nan = np.inf, np.nan
    rows = [
        [-inf] * 4,
        [inf, 0, 0, 0],
        [nan, 0, 0, 0],
        [0, -inf, 0, 0],
        [-inf, 0, 0, 0],
        [1e4, 0, -1e4, 0],
    ]
    logits = np.array(rows, "float32")
    target = np.zeros(len(rows), int)
    z = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(z, torch.tensor(target), reduction="none")
    expected.sum().backward()
    value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, reduction="none")
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-6)  # float32
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0), (0, 3, 0)], ids=str)
def test_nothing(shape: tuple[int, ...], reduction: Any) -> None:
    rows = (shape[0], *shape[2:])
    value = fl.cross_entropy(np.zeros(shape), np.zeros(rows, int), reduction=reduction)
    expected = F.cross_entropy(
        torch.zeros(shape), torch.zeros(rows, dtype=torch.long), reduction=reduction
    )
    np.testing.assert_array_equal(value, expected.numpy())
