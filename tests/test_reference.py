"""The oracle itself: against hand-computed values, finite differences and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from reference import Array

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight": {"weight": [0.5, 2.0, 1.0, 0.0]},
    "ignore": {"ignore_index": 2},
    "smoothing": {"label_smoothing": 0.3},
    "all": {"weight": [0.5, 2.0, 1.0, 0.25], "ignore_index": 1, "label_smoothing": 0.1},
}


def inputs(probabilities: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    logits = rng.normal(size=(5, 4, 3)) * 3
    if probabilities:
        target = rng.dirichlet(np.ones(4), size=(5, 3)).transpose(0, 2, 1)
        return logits, target
    return logits, rng.integers(0, 4, size=(5, 3))


def test_worked_values() -> None:
    logits = [
        [0.8, 0.5, 0.2, 0.5],
        [0.2, 0.9, 0.3, 0.2],
        [0.4, 0.3, 0.7, 0.1],
        [0.1, 0.2, 0.4, 0.8],
    ]
    for target in (np.arange(4), np.eye(4)):
        rows = reference.cross_entropy(logits, target, reduction="none").value
        # the values are given with four and seven decimals
        np.testing.assert_allclose(rows, [1.1087, 0.9329, 1.0852, 0.9991], rtol=0, atol=5e-5)
        mean = reference.cross_entropy(logits, target).value
        np.testing.assert_allclose(mean, 1.0314708, rtol=0, atol=5e-8)


@pytest.mark.parametrize("gap", [30.0, 300.0])
def test_confident_row_keeps_every_digit(gap: float) -> None:
    """log(1 + 2 exp(-gap)) is 2 exp(-gap) to 1e-12 relative; the naive formula gives 0."""
    loss, gradient = reference.cross_entropy([[gap, 0.0, 0.0]], [0])
    # 1e-12: what the series' next term, exp(-30), leaves
    np.testing.assert_allclose(loss, 2 * np.exp(-gap), rtol=1e-12)
    np.testing.assert_allclose(gradient[0, 0], -2 * np.exp(-gap), rtol=1e-12)
    assert reference.naive_cross_entropy([[40.0, 0.0, 0.0]], [0], dtype=np.float64).value == 0


@pytest.mark.parametrize("probabilities", [False, True], ids=["index", "probability"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradient_is_the_finite_difference(
    options: dict[str, Any], reduction: str, probabilities: bool, rng: np.random.Generator
) -> None:
    logits, target = inputs(probabilities, rng)
    shape = (5, 3) if reduction == "none" else ()
    options = {**options, "reduction": reduction}
    grad_output = rng.normal(size=shape)

    def total(z: Array) -> float:
        return float((grad_output * reference.cross_entropy(z, target, **options).value).sum())

    gradient = reference.cross_entropy(logits, target, grad_output=grad_output, **options).gradient
    step = 1e-5  # error: step^2 of truncation and 1e-16 / step of rounding, times a few
    for index in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[index] = step
        difference = (total(logits + moved) - total(logits - moved)) / (2 * step)
        np.testing.assert_allclose(gradient[index], difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_helper_gradient_is_the_finite_difference(
    name: str, axis: int, rng: np.random.Generator
) -> None:
    function = getattr(reference, name)
    logits = rng.normal(size=(3, 4, 2))
    grad_output = rng.normal(size=function(logits, axis).value.shape)
    gradient = function(logits, axis, grad_output).gradient
    step = 1e-5  # as above
    for index in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[index] = step
        above, below = function(logits + moved, axis).value, function(logits - moved, axis).value
        difference = (grad_output * (above - below)).sum() / (2 * step)
        np.testing.assert_allclose(gradient[index], difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("probabilities", [False, True], ids=["index", "probability"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_naive_and_exact_and_torch_agree(
    options: dict[str, Any], reduction: str, probabilities: bool, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    logits, target = inputs(probabilities, rng)
    options = {**options, "reduction": reduction}
    if probabilities:
        options.pop("ignore_index", None)  # torch takes none beside probabilities
    grad_output = rng.normal(size=(5, 3) if reduction == "none" else ())
    exact = reference.cross_entropy(logits, target, grad_output=grad_output, **options)
    naive = reference.naive_cross_entropy(
        logits, target, grad_output=grad_output, dtype=np.float64, **options
    )
    z = torch.tensor(logits, requires_grad=True)
    weight = options.pop("weight", None)
    weight = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    value = torch.nn.functional.cross_entropy(z, torch.tensor(target), weight=weight, **options)
    value.backward(torch.tensor(grad_output))
    for result in (naive, (value.detach().numpy(), z.grad.numpy())):
        # a few roundings of float64 on values of about 10
        np.testing.assert_allclose(exact.value, result[0], rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(exact.gradient, result[1], rtol=1e-12, atol=1e-14)
