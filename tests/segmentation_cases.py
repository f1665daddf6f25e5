"""The table of losses of images: their options, and the formulas of their sources.

A loss is one entry of `LOSSES`; every test of test_segmentation*.py runs over it. Its formula is in
the table of reference/segmentation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import DTypeLike

from parts import Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Loss:
    """An entry: what the tests know of a loss besides its formula."""

    formula: Callable[..., Any]  # of the source in torch's words: every score, by p and labels
    options: tuple[dict[str, Any], ...] = ({},)
    bad: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # values of options that raise
    reductions: tuple[str, ...] = ("none", "mean", "sum")
    soft: bool = True  # whether labels may be probabilities


def _counts(p: Any, t: Any) -> tuple[Any, Any, Any]:
    return tuple((x * y).flatten(2).sum(-1) for x, y in ((p, t), (p, 1 - t), (1 - p, t)))  # type: ignore[return-value]


def _dice(p: Any, t: Any, smooth: float = 1.0) -> Any:
    """nnU-Net's SoftDiceLoss, which is -dc."""
    tp, fp, fn = _counts(p, t)
    return 1 - (2 * tp + smooth) / (2 * tp + fp + fn + smooth)


def _tversky(p: Any, t: Any, alpha: float = 0.5, beta: float = 0.5, smooth: float = 1.0) -> Any:
    tp, fp, fn = _counts(p, t)
    return 1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)


def _focal(
    p: Any, t: Any, alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75, smooth: float = 1.0
) -> Any:
    return _tversky(p, t, alpha, beta, smooth) ** gamma


def _iou(p: Any, t: Any, smooth: float = 1.0) -> Any:
    return _tversky(p, t, 1.0, 1.0, smooth)


def _lovasz(p: Any, t: Any) -> Any:
    """Algorithm 1 of Berman et al. (2018), class by class."""
    losses = []
    for c in range(p.shape[1]):
        own = t[:, c].flatten()
        errors, order = (own - p[:, c].flatten()).abs().sort(descending=True)
        sorted_own = own[order]
        intersection = own.sum() - sorted_own.cumsum(0)
        jaccard = 1 - intersection / (own.sum() + (1 - sorted_own).cumsum(0))
        steps = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
        losses.append(errors @ steps if own.sum() > 0 else 0 * errors.sum())
    return torch.stack(losses)


def _dice_ce(
    p: Any, t: Any, smooth: float = 1.0, lambda_dice: float = 1.0, lambda_ce: float = 1.0
) -> Any:
    """MONAI's DiceCELoss, of means."""
    return lambda_dice * _dice(p, t, smooth).mean() - lambda_ce * (t * p.log()).sum(1).mean()


NEGATIVE = (-1.0, np.nan, np.inf)

LOSSES: dict[str, Loss] = {
    "dice_loss": Loss(_dice, ({}, {"smooth": 1e-3}), {"smooth": NEGATIVE}),
    "tversky_loss": Loss(
        _tversky,
        ({}, {"alpha": 0.3, "beta": 0.7}),
        {"alpha": NEGATIVE, "beta": NEGATIVE, "smooth": NEGATIVE},
    ),
    "focal_tversky_loss": Loss(
        _focal,
        ({}, {"gamma": 2.0, "alpha": 0.5, "beta": 0.5}),
        {"gamma": (0.0, *NEGATIVE), "smooth": NEGATIVE},
    ),
    "iou_loss": Loss(_iou, ({}, {"smooth": 1e-3}), {"smooth": NEGATIVE}),
    "lovasz_softmax_loss": Loss(_lovasz, soft=False),
    "dice_ce_loss": Loss(
        _dice_ce,
        ({}, {"lambda_dice": 0.3, "lambda_ce": 2.0}),
        {"smooth": NEGATIVE, "lambda_dice": NEGATIVE, "lambda_ce": NEGATIVE},
        reductions=("mean", "sum"),
    ),
}


@dataclass(frozen=True)
class Case:
    """A loss with one set of its options, and the kind of its labels."""

    name: str
    loss: Loss
    options: dict[str, Any]
    labels: str

    def __str__(self) -> str:
        return "-".join([self.name, self.labels, *(f"{k}_{v}" for k, v in self.options.items())])

    def draw(self, shape: Shape, dtype: DTypeLike, rng: np.random.Generator) -> tuple[Array, Array]:
        """Logits of a shape (N, C, d1, ...), and their target."""
        logits = (rng.normal(size=shape) * 2).astype(dtype)
        index = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
        if self.labels == "soft":
            weights = rng.exponential(size=shape)
            return logits, (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)
        if self.labels == "ignored":
            index[rng.random(index.shape) < 0.3] = -100
        return logits, index


CASES = tuple(
    Case(name, loss, options, labels)
    for name, loss in LOSSES.items()
    for options in loss.options
    for labels in (("index", "ignored", "soft") if loss.soft else ("index", "ignored"))
)


def source(case: Case, logits: Any, target: Any) -> Any:
    """Every score of the source's formula, of labels without ignored pixels."""
    p = torch.softmax(logits, 1)
    t = target if case.labels == "soft" else F.one_hot(target, logits.shape[1]).movedim(-1, 1)
    return case.loss.formula(p, t.to(p.dtype), **case.options)
