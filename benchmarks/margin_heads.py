"""ArcFace, value and both gradients, against insightface, pytorch-metric-learning, products.

The yardstick is the `GEMM` of `linear_heads`, of the classes that are sampled where some are.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pytorch_metric_learning.losses import ArcFaceLoss
from torch.nn.functional import cross_entropy, linear, normalize

import fusedloss as fl
import fusedloss.torch as front
from comparisons import Comparison, Contenders
from fusedloss.cli._contenders import FUSEDLOSS
from linear_heads import GEMM, Arrays
from targets import Target

INSIGHTFACE, METRIC_LEARNING = "insightface", "pytorch-metric-learning"

SHAPE = 512, 512, 100_000
SAMPLED_SHAPE, SHARE = (256, 512, 1_000_000), 0.1
MARGIN, SCALE = 0.5, 64.0


def make(num_threads: int, small: bool) -> Contenders:
    """Build the arrays and what is timed on them."""
    arrays = Arrays.make((64, 48, 500) if small else SHAPE, "float32", num_threads)
    x, weight, target = arrays.inputs
    x_leaf, weight_leaf = (each.detach().requires_grad_() for each in (x, weight))
    rows = torch.arange(len(x))
    given, places = arrays.for_numpy()
    value_and_grad = fl.value_and_grad(fl.arcface_loss, argnums=(0, 1))

    def ours() -> None:
        options: dict[str, Any] = {"margin": MARGIN, "scale": SCALE, "num_threads": num_threads}
        value_and_grad(*given, out=places, **options)

    def insightface() -> None:
        x_leaf.grad = weight_leaf.grad = None
        cosine = linear(normalize(x_leaf), normalize(weight_leaf)).clamp(-1, 1)
        with torch.no_grad():
            cosine.arccos_()
            cosine[rows, target] += MARGIN
            cosine.cos_()
        cross_entropy(SCALE * cosine, target).backward()

    theirs = ArcFaceLoss(*weight.shape, margin=math.degrees(MARGIN), scale=SCALE)
    with torch.no_grad():
        theirs.W.copy_(weight.t())

    def metric_learning() -> None:
        x_leaf.grad = theirs.W.grad = None
        theirs(x_leaf, target).backward()

    return {
        FUSEDLOSS: ours,
        INSIGHTFACE: insightface,
        METRIC_LEARNING: metric_learning,
        GEMM: arrays.gemm(),
    }


def make_sampled(num_threads: int, small: bool) -> Contenders:
    """Build a head of torch that trains on a share of its classes, and the products of these."""
    positions, features, classes = (64, 48, 500) if small else SAMPLED_SHAPE
    arrays = Arrays.make((positions, features, round(SHARE * classes)), "float32", num_threads)
    x = arrays.inputs[0].requires_grad_()
    target = torch.randint(0, classes, (positions,))
    head = front.ArcFaceLoss(features, classes, MARGIN, SCALE, sample_rate=SHARE, seed=0)

    def ours() -> None:
        x.grad = head.weight.grad = None
        head(x, target).backward()

    return {FUSEDLOSS: ours, GEMM: arrays.gemm()}


MARGIN_HEADS = (
    Comparison(
        "arcface_loss",
        f"{' x '.join(map(str, SHAPE))}, arcface",
        (FUSEDLOSS, INSIGHTFACE, METRIC_LEARNING, GEMM),
        make,
        (Target(1.15, (GEMM,)), Target(0.33, (INSIGHTFACE,)), Target(0.33, (METRIC_LEARNING,))),
        rounds=3,
    ),
    Comparison(
        "arcface_loss",
        f"{' x '.join(map(str, SAMPLED_SHAPE))}, arcface, {SHARE:.0%} sampled",
        (FUSEDLOSS, GEMM),
        make_sampled,
        rounds=3,
    ),
)
