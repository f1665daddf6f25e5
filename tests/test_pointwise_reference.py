"""The formulas of the pointwise losses: against finite differences, torch and scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import reference
from parts import Array
from pointwise_cases import CASES, LOGIT, LOSSES, Case
from reference.pointwise import POINTWISE, evaluate

SHAPE = (40, 5)

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_formula_has_its_cases() -> None:
    assert LOSSES.keys() == POINTWISE.keys()
    for name in LOSSES:
        assert callable(getattr(reference, name))


@each_case
def test_derivatives_are_finite_differences(case: Case, rng: np.random.Generator) -> None:
    """In long double: of a step of 1e-6, truncation leaves some 1e-12 and rounding 1e-13."""
    arrays, options = case.draw(SHAPE, np.longdouble, rng)
    if case.loss.domains[0] is LOGIT:
        arrays[0] /= 4  # towards saturation powers of a probability bend more and more
    options |= {"dtype": np.longdouble, "reduction": "none"}
    exact = evaluate(case.name, *arrays, **options)
    assert (exact.hessian is not None) == LOSSES[case.name].hessian
    for k, (position, gradient) in enumerate(zip(case.argnums, exact.gradients, strict=True)):
        step = np.longdouble(1e-6) * np.maximum(np.abs(arrays[position]), 0.01)
        sides = []
        for moved in (arrays[position] + step, arrays[position] - step):
            moved_arrays = [*arrays[:position], moved, *arrays[position + 1 :]]
            sides.append(evaluate(case.name, *moved_arrays, **options))
        difference = (sides[0].value - sides[1].value) / (2 * step)
        np.testing.assert_allclose(gradient, difference, rtol=1e-8, atol=1e-9)
        if k == 0 and exact.hessian is not None:
            bend = (sides[0].gradients[0] - sides[1].gradients[0]) / (2 * step)
            np.testing.assert_allclose(exact.hessian, bend, rtol=1e-8, atol=1e-9)


def peer_derivatives(
    case: Case, arrays: list[Array], options: dict[str, Any], grad_output: Array
) -> tuple[Array, list[Array]]:
    """A peer's loss of every element, and its gradients."""
    tensors = [torch.tensor(x) for x in arrays]
    for position in case.argnums:
        tensors[position].requires_grad_()
    given = {k: torch.tensor(x) if isinstance(x, np.ndarray) else x for k, x in options.items()}
    peer = case.loss.torch or case.loss.formula
    assert peer is not None
    value = peer(*tensors, **given)
    value.backward(torch.tensor(grad_output))
    gradients = [tensors[position].grad for position in case.argnums]
    return value.detach().numpy(), [x.numpy() for x in gradients if x is not None]


@each_case
def test_agrees_with_the_source(case: Case, rng: np.random.Generator) -> None:
    arrays, options = case.draw(SHAPE, np.float64, rng)
    if case.name == "asymmetric_loss":
        arrays[1] = np.round(arrays[1])
    grad_output = rng.normal(size=SHAPE)
    value, gradients = peer_derivatives(case, arrays, options, grad_output)
    exact = evaluate(case.name, *arrays, reduction="none", grad_output=grad_output, **options)
    # float64 formulas, some of which lose digits where 1 - p is a difference
    np.testing.assert_allclose(exact.value, value, rtol=1e-9, atol=1e-12)
    assert len(gradients) == len(exact.gradients)
    for actual, expected in zip(exact.gradients, gradients, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if case.loss.torch], ids=str)
def test_special_values_are_torch_s(case: Case, rng: np.random.Generator) -> None:
    """Wherever torch has finite numbers."""
    arrays = case.special(np.float64)
    options = case.draw_options((1,), np.float64, rng)
    value, gradients = peer_derivatives(case, arrays, options, np.ones(arrays[0].shape))
    exact = evaluate(case.name, *arrays, reduction="none", **options)
    assert np.isfinite(value).any()
    pairs = zip((exact.value, *exact.gradients), (value, *gradients), strict=True)
    for actual, expected in pairs:
        finite = np.isfinite(expected)
        # torch's 1e-12 in the gradient of binary_cross_entropy is a float32
        np.testing.assert_allclose(actual[finite], expected[finite], rtol=1e-8, atol=1e-12)


def scikit_takes(case: Case) -> bool:
    peer = case.loss.scikit
    return peer is not None and case.options.keys() <= inspect.signature(peer).parameters.keys()


@pytest.mark.parametrize("case", list(filter(scikit_takes, CASES)), ids=str)
def test_agrees_with_scikit_learn(case: Case, rng: np.random.Generator) -> None:
    assert case.loss.scikit is not None
    arrays, options = case.draw((200,), np.float64, rng)
    peer = case.loss.scikit(**options)
    prediction, target = arrays
    value, gradient = peer.loss_gradient(target, prediction)
    exact = evaluate(case.name, prediction, target, reduction="none", **options)
    # float64 formulas, as above
    np.testing.assert_allclose(exact.value, value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(exact.gradients[0], gradient, rtol=1e-9, atol=1e-12)
    if case.name != "quantile_loss":  # of which scikit-learn's Hessian is an approximation
        _, hessian = peer.gradient_hessian(target, prediction)
        np.testing.assert_allclose(exact.hessian, hessian, rtol=1e-9, atol=1e-12)


WEIGHTED_BY_TORCH = ("l1_loss", "mse_loss", "huber_loss", "binary_cross_entropy")


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize(
    ("name", "weighted"), [*((name, True) for name in WEIGHTED_BY_TORCH), ("kl_div", False)]
)
def test_reductions_are_torch_s(name: str, weighted: bool, rng: np.random.Generator) -> None:
    """The mean's divisor: the sum of the weights for two losses, the number of elements else."""
    arrays, _ = Case(name, LOSSES[name], {}).draw(SHAPE, np.float64, rng)
    weight = rng.exponential(size=SHAPE) if weighted else None
    given = {} if weight is None else {"weight": torch.tensor(weight)}
    for reduction in LOSSES[name].reductions:
        tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
        expected = getattr(F, name)(*tensors, reduction=reduction, **given)
        expected.sum().backward()
        exact = evaluate(name, *arrays, reduction=reduction, weight=weight)
        # a few roundings of float64
        np.testing.assert_allclose(exact.value, expected.detach().numpy(), rtol=1e-13, atol=1e-15)
        for actual, tensor in zip(exact.gradients, tensors, strict=True):
            np.testing.assert_allclose(actual, tensor.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_gradients_of_what_is_broadcast(rng: np.random.Generator) -> None:
    shapes = ((4, 1, 3), (5, 1), (3,))
    arrays = [rng.exponential(size=shape) for shape in shapes]
    weight = rng.exponential(size=(4, 1, 1))
    exact = evaluate("gaussian_nll_loss", *arrays, weight=weight, reduction="sum")
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    value = F.gaussian_nll_loss(*torch.broadcast_tensors(*tensors), reduction="none")
    (value * torch.tensor(weight)).sum().backward()
    for actual, tensor in zip(exact.gradients, tensors, strict=True):
        np.testing.assert_allclose(actual, tensor.grad.numpy(), rtol=1e-12)


def test_worked_values() -> None:
    """The examples of Keras' documentation, with the decimals that are given there."""
    assert reference.l1_loss([[1.0], [1.0]], [[0.0], [0.0]]).value == 1
    assert reference.mse_loss([[1.0], [1.0]], [[0.0], [1.0]]).value == 0.5
    huber = reference.huber_loss([[0.6], [0.4]], [[0.0], [1.0]]).value
    np.testing.assert_allclose(huber, 0.18, rtol=1e-15)
    # Keras adds 1e-7 to probabilities and computes in float32
    entropy = reference.binary_cross_entropy([[0.4], [0.6]], [[0.0], [1.0]]).value
    np.testing.assert_allclose(entropy, 0.5108254, rtol=0, atol=3e-7)
