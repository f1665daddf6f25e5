"""The reduction "batchmean" of divergences, at its edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fusedloss as fl
from fusedloss.torch import functional


@pytest.mark.parametrize("shape", [(4, 3), (7,), (), (2, 3, 5), (3, 0), (0, 3)], ids=str)
def test_batchmean_is_torch_s(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """A number alone is one row; the mean of no row is nan, that of empty rows 0."""
    log_probs, target = np.asarray(-rng.exponential(size=shape)), np.asarray(rng.random(shape))
    tensor = torch.tensor(log_probs, requires_grad=True)
    expected = F.kl_div(tensor, torch.tensor(target), reduction="batchmean")
    expected.backward()  # type: ignore[no-untyped-call]
    value, gradient = fl.value_and_grad(fl.kl_div)(log_probs, target, reduction="batchmean")
    # sums of no more than 30 numbers
    np.testing.assert_allclose(value, expected.item(), rtol=1e-13)
    assert tensor.grad is not None
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-15)


OTHERS = ["generalized_kl_div", "js_div", "total_variation_loss"]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("shape", [(4, 3), (7,), (), (2, 3, 5), (3, 0), (0, 3)], ids=str)
def test_batchmean_is_kl_div_s(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """The same reduction of other losses, of arrays and of tensors."""
    x, t = (np.asarray(-rng.exponential(size=shape)) for _ in range(2))
    if name != "js_div":
        t = np.exp(t)
    if name == "total_variation_loss":
        x = np.exp(x)
    function, rows = getattr(fl, name), shape[0] if shape else 1
    value, gradient = fl.value_and_grad(function)(x, t, reduction="batchmean")
    if rows:
        expected = fl.value_and_grad(function)(x, t, reduction="sum", grad_output=1 / rows)
        np.testing.assert_allclose(value, expected[0] / rows, rtol=1e-14)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-14)
    else:
        assert np.isnan(value)
    tensor = torch.tensor(x, requires_grad=True)
    loss = getattr(functional, name)(tensor, torch.tensor(t), reduction="batchmean")
    np.testing.assert_array_equal(loss.detach().numpy(), value)
    (found,) = torch.autograd.grad(loss, tensor, create_graph=True)
    np.testing.assert_allclose(found.detach().numpy(), gradient, rtol=1e-12)


def test_batchmean_counts_the_rows_of_the_prediction() -> None:
    log_probs, target = np.log([[0.25, 0.75]]), np.full((4, 2), 0.5)
    total = fl.kl_div(log_probs, target, reduction="sum")
    assert fl.kl_div(log_probs, target, reduction="batchmean") == total


@pytest.mark.parametrize("reduction", ["max", None, 1])
def test_reductions(reduction: Any) -> None:
    match = "expected 'none', 'mean', 'sum' or 'batchmean'"
    for name in ("kl_div", *OTHERS):
        with pytest.raises(ValueError, match=match):
            getattr(fl, name)([0.0], [1.0], reduction=reduction)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_nearly_equal_keeps_its_digits(
    dtype: str, log_target: bool, rng: np.random.Generator
) -> None:
    """Of numbers around 1: d = x - log p has an error of some eps, and the loss is p d^2 / 2."""
    p = rng.uniform(0.9, 1.1, 300).astype(dtype)
    t = np.log(p) if log_target else p
    x = (np.log(p) + rng.uniform(-1, 1, 300).astype(dtype) * 2e-3).astype(dtype)
    target = np.exp(t.astype("longdouble")) if log_target else t.astype("longdouble")
    d = x.astype("longdouble") - np.log(target)
    value, gradient = fl.value_and_grad(fl.generalized_kl_div)(
        x, t, log_target=log_target, reduction="none"
    )
    # log p and x are at most 0.11, whose spacing is eps / 16
    off = 2 * np.finfo(dtype).eps * (np.abs(d) + 0.15)
    change = np.expm1(d)
    assert np.all(np.abs(value - target * (change - d)) <= target * (np.abs(d) * off + off**2))
    assert np.all(np.abs(gradient - target * change) <= target * off)
    assert np.all(value >= 0)


def test_a_distribution_s_sum_is_kl_div(rng: np.random.Generator) -> None:
    """Where both sum to one, what is added sums to nothing."""
    log_probs, target = fl.log_softmax(rng.normal(size=(5, 7))), fl.softmax(rng.normal(size=(5, 7)))
    expected = fl.kl_div(log_probs, target, reduction="batchmean")
    found = fl.generalized_kl_div(log_probs, target, reduction="batchmean")
    np.testing.assert_allclose(found, expected, rtol=1e-13)  # sums of 35 terms


def test_generalized_kl_div_is_half_the_deviance(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    x, t = rng.normal(size=50), rng.poisson(2.0, size=50)
    deviance = metrics.mean_poisson_deviance(t, np.exp(x))
    np.testing.assert_allclose(2 * fl.generalized_kl_div(x, t), deviance, rtol=1e-13)
