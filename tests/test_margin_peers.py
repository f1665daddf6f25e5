"""Margin-softmax heads against pytorch-metric-learning: values and gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses

import fusedloss as fl
from reference.margin import centers_of
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
    "proxy_nca_loss": (losses.ProxyNCALoss, {"softmax_scale": 3}, {"softmax_scale": 3.0}),
    "proxy_anchor_loss": (losses.ProxyAnchorLoss, {}, {}),
    "soft_triple_loss": (
        losses.SoftTripleLoss,
        {"centers_per_class": 3},
        {"centers_per_class": 3},
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_as_pytorch_metric_learning(name: str) -> None:
    make, theirs, ours = PEERS[name]
    head = 11 if centers_of(ours) == 3 else 0  # with rows of weights for three centers
    x, weight, target, _ = Case(head, 40, 12, 23).build("float64")
    loss = make(num_classes=23, embedding_size=12, **theirs).double()
    weights = dict(loss.named_parameters())
    (proxies,) = weights.values()
    transposed = "proxies" not in weights  # they are columns
    with torch.no_grad():
        proxies.copy_(torch.from_numpy(weight.T if transposed else weight))
    embeddings = torch.from_numpy(x).requires_grad_()
    expected = loss(embeddings, torch.from_numpy(target))
    expected.backward()
    value, (by_x, by_weight) = fl.value_and_grad(getattr(fl, name), argnums=(0, 1))(
        x, weight, target, **ours
    )
    # their cosines are clamped 1e-7 short of 1
    np.testing.assert_allclose(value, expected.item(), rtol=1e-9)
    np.testing.assert_allclose(by_x, embeddings.grad, rtol=1e-6, atol=1e-9)
    assert proxies.grad is not None
    expected_by_weight = proxies.grad.T if transposed else proxies.grad
    np.testing.assert_allclose(by_weight, expected_by_weight, rtol=1e-6, atol=1e-9)
