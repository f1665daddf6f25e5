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
    activations: tuple[str | None, ...] = ("softmax", "sigmoid", None)
    by_class: bool = True  # each class has a loss of its own


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


def _generalized_dice(p: Any, t: Any, weight_type: str = "square", smooth: float = 1e-5) -> Any:
    """MONAI's GeneralizedDiceLoss."""
    truth, chance = t.flatten(2).sum(-1), p.flatten(2).sum(-1)
    power = {"square": 2, "simple": 1, "uniform": 0}[weight_type]
    w = truth**-power
    found = torch.where(w.isinf(), 0, w)
    w = torch.where(w.isinf(), found.amax(1, keepdim=True), w)
    both = (p * t).flatten(2).sum(-1)
    return 1 - (2 * (w * both).sum(1) + smooth) / ((w * (truth + chance)).sum(1) + smooth)


def _of_sorted(errors: Any, own: Any) -> Any:
    """Algorithm 1 of Berman et al. (2018)."""
    errors, order = errors.sort(descending=True)
    own = own[order]
    jaccard = 1 - (own.sum() - own.cumsum(0)) / (own.sum() + (1 - own).cumsum(0))
    return errors @ torch.diff(jaccard, prepend=jaccard.new_zeros(1))


def _lovasz(p: Any, t: Any) -> Any:
    """The losses of images and classes; 0 of classes that are not there."""
    losses = []
    for own, chance in zip(t.flatten(2).flatten(0, 1), p.flatten(2).flatten(0, 1), strict=True):
        errors = (own - chance).abs()
        losses.append(_of_sorted(errors, own) if own.sum() > 0 else 0 * errors.sum())
    return torch.stack(losses).reshape(p.shape[:2])


def _lovasz_hinge(z: Any, t: Any) -> Any:
    """lovasz_hinge_flat of Berman's code, for each image and label."""
    losses = []
    for own, score in zip(t.flatten(2).flatten(0, 1), z.flatten(2).flatten(0, 1), strict=True):
        losses.append(_of_sorted((1 - score * (2 * own - 1)).relu(), own))
    return torch.stack(losses).reshape(z.shape[:2])


def _entropy(p: Any, t: Any, activation: str, smoothing: float) -> Any:
    """The mean cross-entropy: of a softmax's pixels, or binary ones."""
    if activation == "sigmoid":
        return F.binary_cross_entropy(p, t * (1 - smoothing) + smoothing / 2)
    q = t * (1 - smoothing) + smoothing / t.shape[1]
    return -(q * p.log()).sum(1).mean()


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
    "generalized_dice_loss": Loss(
        _generalized_dice,
        ({}, {"weight_type": "simple", "smooth": 1.0}, {"weight_type": "uniform"}),
        {"smooth": NEGATIVE},
        by_class=False,
    ),
    "lovasz_softmax_loss": Loss(_lovasz, soft=False),
    "lovasz_hinge_loss": Loss(_lovasz_hinge, soft=False, activations=()),
    "dice_ce_loss": Loss(
        _dice,
        ({}, {"lambda_dice": 0.3, "lambda_ce": 2.0, "label_smoothing": 0.1}),
        {"smooth": NEGATIVE, "lambda_dice": NEGATIVE, "lambda_ce": NEGATIVE},
        reductions=("mean", "sum"),
        activations=("softmax", "sigmoid"),
    ),
}

#: Losses that sort errors, of which equal ones come in any order.
SORTED = ("lovasz_softmax_loss", "lovasz_hinge_loss")

#: Those that are not nan for a pixel with an infinite logit: it has a hinge.
OF_HINGE = "lovasz_hinge_loss"

#: Weights, drawn for a case: of classes, one of them 0, and of pixels, some of them 0.
WEIGHTS = ("class_weight", "sample_weight")

#: What all of the losses may be given, besides the options of their own.
COMMON: tuple[dict[str, Any], ...] = (
    {"activation": "sigmoid"},
    {"activation": None},
    {"batch": True},
    {"batch": False, "include_background": False},
    {"class_weight": True},
    {"sample_weight": True},
    {"batch": True, "include_background": False, "class_weight": True, "sample_weight": True},
    {"activation": "sigmoid", "batch": True, "class_weight": True, "sample_weight": True},
    {"activation": None, "batch": False, "include_background": False, "class_weight": True},
)


@dataclass(frozen=True)
class Case:
    """A loss with one set of its options, and the kind of its labels."""

    name: str
    loss: Loss
    given: dict[str, Any]  # the options; True for weights that are drawn
    labels: str

    def __str__(self) -> str:
        return "-".join([self.name, self.labels, *(f"{k}_{v}" for k, v in self.given.items())])

    @property
    def activation(self) -> str | None:
        """What makes chances of the logits."""
        return self.given.get("activation", "softmax" if self.loss.activations else None)

    @property
    def options(self) -> dict[str, Any]:
        """The options that are no arrays."""
        return {k: v for k, v in self.given.items() if k not in WEIGHTS}

    def draw(self, shape: Shape, dtype: DTypeLike, rng: np.random.Generator) -> tuple[Array, Array]:
        """Logits of a shape (N, C, d1, ...), or chances, and their target."""
        logits = (rng.normal(size=shape) * 2).astype(dtype)
        if self.loss.activations and self.activation is None:
            logits = rng.uniform(0.02, 0.98, shape).astype(dtype)
        index = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
        if self.labels == "soft":
            weights = rng.exponential(size=shape)
            return logits, (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)
        if self.labels == "bits":
            return logits, rng.integers(0, 2, shape).astype(np.uint8)
        if self.labels == "skipped":
            bits = rng.integers(0, 2, shape)
            bits[rng.random(shape) < 0.3] = -100
            return logits, bits.astype(np.int16)
        if self.labels == "ignored":
            index[rng.random(index.shape) < 0.3] = -100
        return logits, index

    def weights(self, shape: Shape, rng: np.random.Generator) -> dict[str, Array]:
        """Those that the case has, as options."""
        made = {}
        if "class_weight" in self.given:
            made["class_weight"] = rng.uniform(0.5, 2, shape[1]).astype("float32")
            made["class_weight"][-1] = 0
        if "sample_weight" in self.given:
            v = rng.uniform(0.5, 2, (shape[0], *shape[2:])).astype("float32")
            made["sample_weight"] = np.where(rng.random(v.shape) < 0.3, np.float32(0), v)
        return made


def _kinds(loss: Loss, options: dict[str, Any]) -> tuple[str, ...]:
    """The kinds of labels that a case is tried with."""
    if "activation" in options or not loss.activations:
        return ("ignored", "skipped", *(["soft"] if loss.soft else ["bits"]))
    return ("index", "ignored", "soft" if loss.soft else "bits")


CASES = tuple(
    Case(name, loss, options, labels)
    for name, loss in LOSSES.items()
    for options in (*loss.options, *COMMON)
    if "activation" not in options or options["activation"] in loss.activations
    for labels in _kinds(loss, options)
)


def source(case: Case, logits: Any, target: Any) -> Any:
    """Every score of the source's formula, of labels that all count, without weights."""
    options = dict(case.options)
    options.pop("activation", None)
    batch = options.pop("batch", case.name == "lovasz_softmax_loss")
    first = int(not options.pop("include_background", True))
    p = logits
    if case.activation is not None:
        p = torch.softmax(logits, 1) if case.activation == "softmax" else torch.sigmoid(logits)
    t = F.one_hot(target, logits.shape[1]).movedim(-1, 1) if case.labels == "index" else target
    t = t.to(p.dtype)
    chances, labels = p[:, first:], t[:, first:]
    if batch:
        chances, labels = (x.movedim(0, 1).flatten(1)[None] for x in (chances, labels))
    if case.name != "dice_ce_loss":
        return case.loss.formula(chances, labels, **options)[0 if batch else slice(None)]
    smoothing, factors = options.get("label_smoothing", 0.0), {"lambda_dice": 1.0, "lambda_ce": 1.0}
    factors |= {k: v for k, v in options.items() if k in factors}
    entropy = _entropy(p, t, str(case.activation), smoothing)
    dice = case.loss.formula(chances, labels).mean()
    return factors["lambda_dice"] * dice + factors["lambda_ce"] * entropy
