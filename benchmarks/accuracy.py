"""Whoever is timed must compute the right thing: every answer against a better one."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

import reference
from fusedloss._types import Array
from fusedloss.cli import _peers
from fusedloss.cli._contenders import (
    COMPILE,
    TORCH,
    VALUE_AND_GRADIENT,
    Mode,
    Problem,
)

# Up to here the tests' reference in float64, which takes many copies; beyond, torch in float32.
EXACT_UP_TO = 1_000_000
# Gradients are compared in so many elements: all, or whole rows at equal distances.
COMPARED = 2_000_000

# torch sums up to 128256 classes in float32 and is off by 2e-5 then: 1e-4 leaves room for it. In 16
# bits all are equal but for the last rounding, a unit in the last place at most. A gradient is a
# difference: where its terms cancel, its error is relative to an element of usual size.
TOLERANCES = {"float64": 1e-4, "float32": 1e-4, "float16": 2.0**-10, "bfloat16": 2.0**-7}
# torch keeps log-probabilities in the logits' dtype: one beyond -16, usual here, is off by up to
# eight such units, absolutely, and so, relatively, is its gradient. Twice that leaves room for more
# roundings.
TORCH_GRADIENT = 16
# The least number above 0; gradients of a mean over 10^8 logits fall below that of float16.
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
SHORT = (torch.float16, torch.bfloat16)

_expected: WeakKeyDictionary[Problem, tuple[float, Array]] = WeakKeyDictionary()


def assert_right(problem: Problem, mode: Mode, name: str) -> None:
    """Compare a contender's value and, in some rows, gradient."""
    if problem not in _expected:
        _expected[problem] = _better_answer(problem)
    expected_value, expected_rows = _expected[problem]
    answer: Any = problem.contender(name, mode)()
    value, gradient = answer if mode == VALUE_AND_GRADIENT else (answer, None)
    if isinstance(value, tuple):  # outputs beside it
        value = value[0]
    dtype = problem.work.dtype
    tolerance = TOLERANCES[dtype]
    # torch adds float16 losses up in float16: over 65504 its mean is infinite, its gradient right.
    if not (dtype == "float16" and name == TORCH and np.isinf(float(value))):
        np.testing.assert_allclose(float(value), expected_value, rtol=tolerance)
    if gradient is None:
        return
    rows = gradient[:: _step(problem)]
    if isinstance(rows, torch.Tensor):
        rows = rows.double().numpy()
    if dtype in SMALLEST and name in (TORCH, COMPILE):
        tolerance *= TORCH_GRADIENT
    np.testing.assert_allclose(
        np.asarray(rows).astype(np.float64),
        expected_rows,
        rtol=tolerance,
        atol=max(tolerance * np.median(np.abs(expected_rows)), SMALLEST.get(dtype, 0)),
    )


def _step(problem: Problem) -> int:
    """Say which rows of the gradient to take: every so manieth."""
    return max(1, min(problem.work.elements // COMPARED, problem.work.shape[0]))


def _better_answer(problem: Problem) -> tuple[float, Array]:
    """Return the value and some rows of the gradient, in at least float32."""
    arrays, options = problem.inputs
    if problem.work.elements <= EXACT_UP_TO:
        loss = getattr(reference, problem.computation.loss.__name__)
        options = {name: option for name, option in options.items() if name != "outputs"}
        value, gradient = loss(*arrays, **options)
        return float(value), gradient[:: _step(problem)]

    def widen(argument: Any) -> Any:
        if isinstance(argument, tuple):
            return tuple(map(widen, argument))
        short = isinstance(argument, torch.Tensor) and argument.dtype in SHORT
        return argument.float() if short else argument

    prediction, *others = widen(_peers.to_tensor(torch, arrays))
    tensors = {name: widen(_peers.to_tensor(torch, option)) for name, option in options.items()}
    leaf = prediction.detach().requires_grad_()
    loss = problem.computation.torch(torch)(leaf, *others, **tensors)
    loss.backward()
    assert leaf.grad is not None
    return loss.item(), leaf.grad[:: _step(problem)].clone().numpy()
