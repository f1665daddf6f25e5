"""The reduction "batchmean" of kl_div, at its edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fusedloss as fl


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


def test_batchmean_counts_the_rows_of_the_prediction() -> None:
    log_probs, target = np.log([[0.25, 0.75]]), np.full((4, 2), 0.5)
    total = fl.kl_div(log_probs, target, reduction="sum")
    assert fl.kl_div(log_probs, target, reduction="batchmean") == total


@pytest.mark.parametrize("reduction", ["max", None, 1])
def test_reductions(reduction: Any) -> None:
    with pytest.raises(ValueError, match="expected 'none', 'mean', 'sum' or 'batchmean'"):
        fl.kl_div([0.0], [1.0], reduction=reduction)
