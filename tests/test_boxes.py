"""Losses of bounding boxes, a part of the table of row losses: equal edges, errors, torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import fusedloss as fl
from checks import DTYPES, assert_same_bits
from fusedloss.torch import functional as F
from rowwise_cases import LOSSES, whole_boxes

NAMES = [name for name in LOSSES if name.endswith("box_iou_loss")]
every_loss = pytest.mark.parametrize("name", NAMES)


@pytest.mark.usefixtures("isa")
@every_loss
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_edges_share_a_gradient(name: str, dtype: str, rng: np.random.Generator) -> None:
    """As in torchvision, of boxes of whole numbers and of equal ones."""
    peer = LOSSES[name].formula
    assert peer is not None
    for shape, eps in (((50, 4), 1e-7), ((3, 40, 4), 0.5)):
        x, t = (whole_boxes(rng, shape).astype(dtype) for _ in range(2))
        t[:10] = x[:10]
        leaves = [torch.tensor(b.astype(np.float64), requires_grad=True) for b in (x, t)]
        expected = peer(*leaves, eps)
        expected.sum().backward()
        gradient_of = fl.value_and_grad(getattr(fl, name), (0, 1))
        loss, gradients = gradient_of(x, t, eps=eps, reduction="none")
        # Computed in float64 of the same numbers, but for eps, and rounded once.
        rounding = {"float64": 1e-12, "float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
        tolerance = {"rtol": rounding, "atol": rounding}
        np.testing.assert_allclose(loss.astype(np.float64), expected.detach(), **tolerance)
        for found, leaf in zip(gradients, leaves, strict=True):
            assert leaf.grad is not None
            np.testing.assert_allclose(found.astype(np.float64), leaf.grad, **tolerance)


@every_loss
def test_equal_boxes(name: str) -> None:
    box = np.array([[0.25, 0.5, 2.0, 1.5]])
    assert getattr(fl, name)(box, box) == pytest.approx(0, abs=1e-6)


@every_loss
def test_rows_that_are_no_boxes(name: str) -> None:
    """Arrays and lists."""
    function, four = getattr(fl, name), np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"input has shape \(2, 5\): expected boxes"):
        function(np.zeros((2, 5)), four)
    with pytest.raises(ValueError, match=r"input has shape \(1, 2\): expected boxes"):
        function([[0.0, 1.0]], four)
    with pytest.raises(ValueError, match=r"target has shape \(4, 2\): expected boxes"):
        function(four, four.T)
    with pytest.raises(ValueError, match=r"target has shape \(\): expected boxes"):
        function(four, 1.0)


@every_loss
def test_torch(name: str, rng: np.random.Generator) -> None:
    """The kernel's bits, and the formula's numbers, a constant factor being one there too."""
    x, t = (draw(rng, (6, 4)) for draw in LOSSES[name].draws)
    leaves = [torch.tensor(b, requires_grad=True) for b in (x, t)]
    function: Any = getattr(F, name)
    function(*leaves).backward()
    _, gradients = fl.value_and_grad(getattr(fl, name), (0, 1))(x, t)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert leaf.grad is not None
        assert_same_bits(leaf.grad.numpy(), gradient)
    by_formula = torch.autograd.grad(function(*leaves), leaves, create_graph=True)
    for found, gradient in zip(by_formula, gradients, strict=True):
        np.testing.assert_allclose(found.detach(), gradient, rtol=1e-10, atol=1e-12)
