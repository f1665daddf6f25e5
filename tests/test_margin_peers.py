"""Margin-softmax heads against pytorch-metric-learning: values and gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses

import fusedloss as fl
from test_margin import Case

DEGREES = math.degrees(0.5)

#: Theirs, ours, and what differs in their names.
PEERS: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    "arcface_loss": (losses.ArcFaceLoss, {"margin": DEGREES}, {}),
    "cosface_loss": (losses.CosFaceLoss, {}, {}),
    "normface_loss": (losses.NormalizedSoftmaxLoss, {"temperature": 0.05}, {}),
    "l_softmax_loss": (losses.LargeMarginSoftmaxLoss, {"margin": 4}, {}),
    "a_softmax_loss": (losses.SphereFaceLoss, {"margin": 4}, {}),
    "subcenter_arcface_loss": (
        losses.SubCenterArcFaceLoss,
        {"margin": DEGREES, "sub_centers": 3},
        {"sub_centers": 3},
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_as_pytorch_metric_learning(name: str) -> None:
    make, theirs, ours = PEERS[name]
    head = 11 if ours else 0  # whose weights have rows for three centers
    x, weight, target, _ = Case(head, 40, 12, 23).build("float64")
    loss = make(num_classes=23, embedding_size=12, **theirs).double()
    with torch.no_grad():
        loss.W.copy_(torch.from_numpy(weight.T))
    embeddings = torch.from_numpy(x).requires_grad_()
    expected = loss(embeddings, torch.from_numpy(target))
    expected.backward()
    value, (by_x, by_weight) = fl.value_and_grad(getattr(fl, name), argnums=(0, 1))(
        x, weight, target, **ours
    )
    # their cosines are clamped 1e-7 short of 1
    np.testing.assert_allclose(value, expected.item(), rtol=1e-9)
    np.testing.assert_allclose(by_x, embeddings.grad, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(by_weight.T, loss.W.grad, rtol=1e-6, atol=1e-9)
