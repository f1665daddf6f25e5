"""Losses of bounding boxes, held to torchvision's formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import fusedloss as fl
from checks import assert_same_bits
from fusedloss.torch import functional as F
from parts import Array

NAMES = ("generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss")
every_loss = pytest.mark.parametrize("name", NAMES)


# ---- torchvision 0.28, torchvision/ops/{giou,diou,ciou}_loss.py ----------------------------------


def _inter_union(x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x1, y1, x2, y2 = x.unbind(-1)
    x1g, y1g, x2g, y2g = t.unbind(-1)
    left, top = torch.max(x1, x1g), torch.max(y1, y1g)
    right, bottom = torch.min(x2, x2g), torch.min(y2, y2g)
    inside = torch.zeros_like(x1)
    mask = (bottom > top) & (right > left)
    inside[mask] = (right[mask] - left[mask]) * (bottom[mask] - top[mask])
    return inside, (x2 - x1) * (y2 - y1) + (x2g - x1g) * (y2g - y1g) - inside


def _around(x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x1, y1, x2, y2 = x.unbind(-1)
    x1g, y1g, x2g, y2g = t.unbind(-1)
    width = torch.max(x2, x2g) - torch.min(x1, x1g)
    return width, torch.max(y2, y2g) - torch.min(y1, y1g)


def _generalized(x: torch.Tensor, t: torch.Tensor, eps: float) -> torch.Tensor:
    inside, union = _inter_union(x, t)
    width, height = _around(x, t)
    area = width * height
    return 1 - (inside / (union + eps) - (area - union) / (area + eps))


def _distance(x: torch.Tensor, t: torch.Tensor, eps: float) -> torch.Tensor:
    inside, union = _inter_union(x, t)
    width, height = _around(x, t)
    diagonal = width**2 + height**2 + eps
    centers = [((b[..., k] + b[..., k + 2]) / 2) for b in (x, t) for k in (0, 1)]
    apart = (centers[0] - centers[2]) ** 2 + (centers[1] - centers[3]) ** 2
    return 1 - inside / (union + eps) + apart / diagonal


def _complete(x: torch.Tensor, t: torch.Tensor, eps: float) -> torch.Tensor:
    inside, union = _inter_union(x, t)
    of_x, of_t = ((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1]) for b in (x, t))
    v = (4 / math.pi**2) * (torch.atan(of_t) - torch.atan(of_x)) ** 2
    with torch.no_grad():
        alpha = v / (1 - inside / (union + eps) + v + eps)
    return _distance(x, t, eps) + alpha * v


PEERS: dict[str, Callable[..., torch.Tensor]] = dict(
    zip(NAMES, (_generalized, _distance, _complete), strict=True)
)


def boxes(shape: tuple[int, ...], rng: np.random.Generator, whole: bool = False) -> Array:
    """Boxes some of which overlap; of whole numbers edges are often equal."""
    low = rng.integers(0, 4, (*shape, 2)) if whole else rng.normal(size=(*shape, 2))
    size = rng.integers(1, 4, (*shape, 2)) if whole else rng.uniform(0.2, 3, (*shape, 2))
    return np.concatenate([low, low + size], -1) * 1.0


# ---- NumPy ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@every_loss
@pytest.mark.parametrize("whole", [False, True], ids=["reals", "whole numbers"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_is_torchvisions(name: str, dtype: str, whole: bool, rng: np.random.Generator) -> None:
    """Values and both gradients, those of equal edges too."""
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    for shape, eps in (((1,), 1e-7), ((50,), 1e-7), ((3, 40), 0.5), ((0,), 1e-7)):
        x, t = (boxes(shape, rng, whole).astype(kind) for _ in range(2))
        if shape == (50,):
            t[:10] = x[:10]
        leaves = [torch.tensor(b.astype(np.float64), requires_grad=True) for b in (x, t)]
        expected = PEERS[name](*leaves, eps)
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


@pytest.mark.parametrize("name", NAMES[:2])
def test_gradient_by_differences(name: str, rng: np.random.Generator) -> None:
    """The complete loss is not compared: alpha is constant to its gradient alone."""
    function = getattr(fl, name)
    x, t = boxes((5,), rng), boxes((5,), rng)
    _, gradients = fl.value_and_grad(function, (0, 1))(x, t, reduction="sum")
    for k, gradient in enumerate(gradients):
        for place in np.ndindex(x.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [x.copy(), t.copy()]
                moved[k][place] += step
                ends.append(function(*moved, reduction="sum"))
            assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


@every_loss
def test_equal_boxes(name: str) -> None:
    box = np.array([[0.25, 0.5, 2.0, 1.5]])
    assert getattr(fl, name)(box, box) == pytest.approx(0, abs=1e-6)


@every_loss
def test_weights_and_nan(name: str, rng: np.random.Generator) -> None:
    """A box of weight 0 may hold anything; another's nan is in its value and gradient."""
    x, t = boxes((3,), rng), boxes((3,), rng)
    x[1] = np.nan
    gradient_of = fl.value_and_grad(getattr(fl, name))
    value, gradient = gradient_of(x, t, sample_weight=[1.0, 0.0, 2.0])
    each = getattr(fl, name)(x, t, reduction="none")
    assert value == pytest.approx((each[0] + 2 * each[2]) / 3)
    assert not gradient[1].any()
    value, gradient = gradient_of(x, t)
    assert np.isnan(value)
    assert np.isnan(gradient[1]).all()


@every_loss
def test_errors(name: str) -> None:
    function, four = getattr(fl, name), np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"input has shape \(2, 5\): expected boxes"):
        function(np.zeros((2, 5)), four)
    with pytest.raises(ValueError, match=r"target has shape \(4, 2\): expected boxes"):
        function(four, four.T)
    with pytest.raises(ValueError, match=r"eps is 0\.0: expected a positive number"):
        function(four, four, eps=0)


# ---- torch ---------------------------------------------------------------------------------------


@every_loss
def test_torch(name: str, rng: np.random.Generator) -> None:
    """The kernel's numbers, and the second derivatives of the formula."""
    x, t = (boxes((6,), rng) for _ in range(2))
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
    if name != "complete_box_iou_loss":
        assert torch.autograd.gradgradcheck(function, leaves)
