"""The formulas of the losses of images: against finite differences and their sources."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import reference
from reference.segmentation import SEGMENTATION, evaluate, options_of
from segmentation_cases import CASES, LOSSES, Case, source

SHAPE = (2, 4, 5, 3)

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_formula_has_its_cases() -> None:
    assert LOSSES.keys() == SEGMENTATION.keys()
    for name, loss in LOSSES.items():
        assert callable(getattr(reference, name))
        assert set(loss.bad) <= options_of(name)


@each_case
def test_gradients_are_finite_differences(case: Case, rng: np.random.Generator) -> None:
    """In long double: of a step of 1e-6, truncation leaves some 1e-12 and rounding 1e-13."""
    logits, target = case.draw(SHAPE, np.longdouble, rng)
    weights = case.weights(SHAPE, rng)
    step = np.longdouble(1e-6)
    for reduction in case.loss.reductions:
        options = {**case.options, **weights, "reduction": reduction, "dtype": np.longdouble}
        shape = np.shape(evaluate(case.name, logits, target, **options).value)
        grad_output = rng.normal(size=shape)
        _, (gradient,), _ = evaluate(case.name, logits, target, grad_output=grad_output, **options)
        for index in np.ndindex(SHAPE):
            moved = np.zeros(SHAPE, np.longdouble)
            moved[index] = step
            above, below = (
                evaluate(case.name, z, target, **options).value
                for z in (logits + moved, logits - moved)
            )
            difference = (grad_output * (above - below)).sum() / (2 * step)
            np.testing.assert_allclose(gradient[index], difference, rtol=1e-8, atol=1e-10)


SOURCES = [
    case
    for case in CASES
    if case.labels in ("index", "soft", "bits") and case.options == case.given
]


@pytest.mark.parametrize("case", SOURCES, ids=str)
def test_agrees_with_the_source(case: Case, rng: np.random.Generator) -> None:
    logits, target = case.draw(SHAPE, np.float64, rng)
    z = torch.tensor(logits, requires_grad=True)
    value = source(case, z, torch.tensor(target))
    reduction = "none" if "none" in case.loss.reductions else "mean"
    grad_output = rng.normal(size=value.shape)
    value.backward(torch.tensor(grad_output))
    exact = evaluate(
        case.name, logits, target, reduction=reduction, grad_output=grad_output, **case.options
    )
    # sums of 15 pixels, and 1 - S as a difference
    np.testing.assert_allclose(exact.value, value.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(exact.gradients[0], z.grad.numpy(), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("case", [case for case in CASES if case.labels == "ignored"], ids=str)
def test_ignored_pixels_are_as_if_they_were_not(case: Case, rng: np.random.Generator) -> None:
    """One image whose last pixels are ignored, NaN and all, and the image without them."""
    logits, target = case.draw((1, 4, 20), np.float64, rng)
    target = np.where(target == -100, 0, target)
    target[:, 12:] = -100
    logits[..., 12:] = np.nan
    weights = case.weights((1, 4, 20), rng)
    kept = {k: v[:, :12] if k == "sample_weight" else v for k, v in weights.items()}
    expected = evaluate(case.name, logits[..., :12], target[:, :12], **case.options, **kept)
    actual = evaluate(case.name, logits, target, **case.options, **weights)
    np.testing.assert_allclose(actual.value, expected.value, rtol=1e-14)
    np.testing.assert_allclose(actual.gradients[0][..., :12], expected.gradients[0], rtol=1e-13)
    assert np.all(actual.gradients[0][..., 12:] == 0)


def test_special_images() -> None:
    """Perfect predictions; no class at all; classes that are not there."""
    target = np.arange(8).reshape(1, 8) % 4
    logits = np.where(np.arange(4)[:, None] == target, 1e4, -1e4)[None]
    for name in LOSSES:
        value, (gradient,), _ = evaluate(name, logits, target)
        assert value == 0
        assert np.all(gradient == 0)
    value, (gradient,), _ = evaluate("lovasz_softmax_loss", logits, np.full((1, 8), -100))
    assert np.isnan(value)
    assert np.all(gradient == 0)
    absent = evaluate("lovasz_softmax_loss", logits, target % 2, reduction="none").value
    assert np.all(absent[2:] == 0)
