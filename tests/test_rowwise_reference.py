"""The formulas of the losses of rows: against finite differences, torch, and each other's axes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import reference
from reference.rowwise import ROWWISE, evaluate
from rowwise_cases import CASES, CONSTANT_FACTOR, LOSSES, Case

SHAPE = (30, 7)

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_formula_has_its_cases() -> None:
    assert LOSSES.keys() == ROWWISE.keys()
    for name in LOSSES:
        assert callable(getattr(reference, name))


@pytest.mark.parametrize("case", [c for c in CASES if c.name not in CONSTANT_FACTOR], ids=str)
def test_gradients_are_finite_differences(case: Case, rng: np.random.Generator) -> None:
    """In long double: of a step of 1e-6, truncation leaves some 1e-12 and rounding 1e-13."""
    arrays, options = case.draw(SHAPE, np.longdouble, rng)
    options |= {"dtype": np.longdouble, "reduction": "none"}
    exact = evaluate(case.name, *arrays, **options)
    step = np.longdouble(1e-6)
    for position, gradient in zip(case.argnums, exact.gradients, strict=True):
        for column in range(gradient.shape[-1]):
            sides = []
            for sign in (1, -1):
                moved = [x.copy() for x in arrays]
                moved[position][:, column] += sign * step
                sides.append(evaluate(case.name, *moved, **options).value)
            difference = (sides[0] - sides[1]) / (2 * step)
            np.testing.assert_allclose(gradient[:, column], difference, rtol=1e-8, atol=1e-9)


@each_case
def test_agrees_with_the_source(case: Case, rng: np.random.Generator) -> None:
    arrays, options = case.draw(SHAPE, np.float64, rng)
    grad_output = rng.normal(size=SHAPE[:-1])
    exact = evaluate(case.name, *arrays, reduction="none", grad_output=grad_output, **options)
    tensors = [torch.tensor(x) for x in arrays]
    for position in case.argnums:
        tensors[position].requires_grad_()
    given = {k: torch.tensor(x) if isinstance(x, np.ndarray) else x for k, x in options.items()}
    peer = case.loss.torch or case.loss.formula
    assert peer is not None
    value = peer(*tensors, **given)
    value.backward(torch.tensor(grad_output))
    # a few roundings of float64, and differences of numbers of 10
    np.testing.assert_allclose(exact.value, value.detach().numpy(), rtol=1e-11, atol=1e-13)
    for position, gradient in zip(case.argnums, exact.gradients, strict=True):
        np.testing.assert_allclose(gradient, tensors[position].grad.numpy(), rtol=1e-11, atol=1e-13)


@each_case
def test_rows_of_any_layout(case: Case, rng: np.random.Generator) -> None:
    """(N, C, d1, d2) is the same as its rows one by one; so is any axis."""
    arrays, options = case.draw((3, 4, 2, 7), np.float64, rng)
    options["sample_weight"] = rng.exponential(size=(3, 4, 2))
    plain = [x.reshape(24, -1) if x.ndim == 4 else x.reshape(24) for x in arrays]
    flat = {**options, "sample_weight": options["sample_weight"].reshape(24)}
    for reduction in ("none", "mean", "sum"):
        exact = evaluate(case.name, *plain, reduction=reduction, **flat)
        result = evaluate(case.name, *case.laid_out(arrays), reduction=reduction, **options)
        np.testing.assert_allclose(np.ravel(result.value), np.ravel(exact.value), rtol=1e-13)
        for actual, expected in zip(result.gradients, exact.gradients, strict=True):
            rows = np.moveaxis(actual, 1, -1) if case.formula.of_classes else actual
            np.testing.assert_allclose(rows.reshape(24, -1), expected, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("case", [case for case in CASES if case.loss.torch], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions_are_torch_s(case: Case, reduction: str, rng: np.random.Generator) -> None:
    arrays, options = case.draw(SHAPE, np.float64, rng)
    exact = evaluate(case.name, *arrays, reduction=reduction, **options)
    given = {k: torch.tensor(x) if isinstance(x, np.ndarray) else x for k, x in options.items()}
    value = getattr(F, case.name)(*map(torch.tensor, arrays), reduction=reduction, **given)
    np.testing.assert_allclose(exact.value, value.numpy(), rtol=1e-13)


def test_special_rows() -> None:
    """Duplicates, vectors of length 0, and one class have finite gradients."""
    zeros = np.zeros((2, 3))
    for gradient in evaluate("triplet_margin_loss", zeros, zeros, zeros, eps=0.0).gradients:
        assert np.all(gradient == 0)
    for gradient in evaluate("cosine_similarity_loss", zeros, np.ones((2, 3))).gradients:
        assert np.all(np.isfinite(gradient))
    value, gradients, _ = evaluate("sparsemax_loss", np.ones((2, 1)), np.zeros(2, int))
    assert value == 0
    assert np.all(gradients[0] == 0)


def test_signatures_take_options_by_keyword() -> None:
    for name, formula in ROWWISE.items():
        parameters = inspect.signature(formula.terms).parameters.values()
        given = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        assert set(LOSSES[name].bad) <= given
