"""The guide's table of other packages' losses of images: each row against the package's formula.

The formulas are those of monai.losses (MONAI 1.5), segmentation_models_pytorch.losses (0.5) and
nnunetv2.training.loss (2.6), written in NumPy: with the packages' names, and their defaults.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from parts import Array

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "segmentation.md"

RNG = np.random.default_rng(18)

#: What the rows of the table name. Every class is in every image.
N, C = 3, 4
z = RNG.normal(size=(N, C, 6, 5)) * 2
y = RNG.permuted(np.arange(N * 30).reshape(N, 30) % C, axis=1).reshape(N, 6, 5)
bits = RNG.integers(0, 2, z.shape)
z1, y1 = z[:, :1], (y > 1).astype(int)
w = np.array([0.5, 1.0, 2.0, 0.25])


def softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits)))


def one_hot(labels: Array) -> Array:
    return np.moveaxis(np.eye(C)[labels], -1, 1)


def cross_entropy(logits: Array, labels: Array, label_smoothing: float = 0.0) -> float:
    """torch.nn.CrossEntropyLoss."""
    t = one_hot(labels) * (1 - label_smoothing) + label_smoothing / C
    return float(-(t * np.log(softmax(logits))).sum(axis=1).mean())


def binary_cross_entropy(logits: Array, labels: Array) -> float:
    """torch.nn.BCEWithLogitsLoss."""
    p = sigmoid(logits)
    return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())


# ---- MONAI -------------------------------------------------------------------------------------


def monai_dice(
    p: Array,
    t: Array,
    include_background: bool = True,
    jaccard: bool = False,
    batch: bool = False,
    weight: Any = 1.0,
) -> float:
    """DiceLoss.forward, with smooth_nr = smooth_dr = 1e-5."""
    if not include_background:
        p, t = p[:, 1:], t[:, 1:]
    axes = (0, 2, 3) if batch else (2, 3)
    intersection = (t * p).sum(axis=axes)
    denominator = t.sum(axis=axes) + p.sum(axis=axes)
    if jaccard:
        denominator = 2 * (denominator - intersection)
    f = 1 - (2 * intersection + 1e-5) / (denominator + 1e-5)
    return float((f * weight).mean())


def monai_tversky(p: Array, t: Array, alpha: float, beta: float) -> float:
    """TverskyLoss.forward."""
    tp = (p * t).sum(axis=(2, 3))
    fp, fn = alpha * (p * (1 - t)).sum(axis=(2, 3)), beta * ((1 - p) * t).sum(axis=(2, 3))
    return float((1 - (tp + 1e-5) / (tp + fp + fn + 1e-5)).mean())


def monai_generalized_dice(p: Array, t: Array, power: int = 2, batch: bool = False) -> float:
    """GeneralizedDiceLoss.forward: w_type "square" or "simple"; no class is missing here."""
    axes = (0, 2, 3) if batch else (2, 3)
    intersection, truth, chance = (x.sum(axis=axes) for x in (t * p, t, p))
    weight = 1 / truth**power
    last = 0 if batch else 1
    numerator = 2 * (intersection * weight).sum(axis=last, keepdims=True) + 1e-5
    denominator = ((truth + chance) * weight).sum(axis=last, keepdims=True) + 1e-5
    return float((1 - numerator / denominator).mean())


# ---- segmentation-models-pytorch ---------------------------------------------------------------


def smp_scores(p: Array, t: Array) -> tuple[Array, Array, Array]:
    """tp, fp and fn over dims (0, 2)."""
    p, t = p.reshape(*p.shape[:2], -1), t.reshape(*t.shape[:2], -1)
    tp, fp, fn = ((x).sum(axis=(0, 2)) for x in (p * t, p * (1 - t), (1 - p) * t))
    return tp, fp, fn


def smp_dice(p: Array, t: Array) -> float:
    """DiceLoss.forward with smooth = 0, eps = 1e-7."""
    tp, fp, fn = smp_scores(p, t)
    score = 2 * tp / np.maximum(2 * tp + fp + fn, 1e-7)
    return float(((1 - score) * ((tp + fn) > 0)).mean())


def smp_jaccard(p: Array, t: Array) -> float:
    """JaccardLoss.forward."""
    tp, fp, fn = smp_scores(p, t)
    return float(((1 - tp / np.maximum(tp + fp + fn, 1e-7)) * ((tp + fn) > 0)).mean())


def smp_tversky(p: Array, t: Array, alpha: float, beta: float, gamma: float = 1.0) -> float:
    """TverskyLoss.compute_score and aggregate_loss."""
    tp, fp, fn = smp_scores(p, t)
    score = tp / np.maximum(tp + alpha * fp + beta * fn, 1e-7)
    return float(((1 - score) * ((tp + fn) > 0)).mean() ** gamma)


def lovasz_grad(sorted_labels: Array) -> Array:
    """_lovasz_grad, Algorithm 1 of the paper."""
    total = sorted_labels.sum()
    jaccard = 1 - (total - sorted_labels.cumsum()) / (total + (1 - sorted_labels).cumsum())
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return jaccard


def smp_lovasz_softmax(p: Array, labels: Array, per_image: bool = False) -> float:
    """_lovasz_softmax with classes="present"."""
    if per_image:
        each = zip(p, labels, strict=True)
        return float(np.mean([smp_lovasz_softmax(a[None], b[None]) for a, b in each]))
    losses = []
    for c in np.unique(labels):
        own = (labels == c).ravel().astype(float)
        errors = np.abs(own - p[:, c].ravel())
        order = np.argsort(-errors)
        losses.append(errors[order] @ lovasz_grad(own[order]))
    return float(np.mean(losses))


def smp_lovasz_hinge(logits: Array, labels: Array) -> float:
    """_lovasz_hinge with per_image=False."""
    own = labels.ravel().astype(float)
    errors = 1 - logits.ravel() * (2 * own - 1)
    order = np.argsort(-errors)
    return float(np.maximum(errors[order], 0) @ lovasz_grad(own[order]))


# ---- nnU-Net -----------------------------------------------------------------------------------


def nnunet_dice(p: Array, t: Array, batch_dice: bool, do_bg: bool, smooth: float) -> float:
    """MemoryEfficientSoftDiceLoss.forward, and SoftDiceLoss's, whose sums are the same."""
    if not do_bg:
        p, t = p[:, 1:], t[:, 1:]
    intersect, predicted, truth = (x.sum(axis=(2, 3)) for x in (p * t, p, t))
    if batch_dice:
        intersect, predicted, truth = (x.sum(axis=0) for x in (intersect, predicted, truth))
    dc = (2 * intersect + smooth) / np.maximum(truth + predicted + smooth, 1e-8)
    return float(-dc.mean())


PEERS: dict[str, Callable[[], float]] = {
    "DiceLoss(to_onehot_y=True, softmax=True)": lambda: monai_dice(softmax(z), one_hot(y)),
    "DiceLoss(sigmoid=True)": lambda: monai_dice(sigmoid(z), bits),
    "DiceLoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)": (
        lambda: monai_dice(softmax(z), one_hot(y), include_background=False, batch=True)
    ),
    "DiceLoss(to_onehot_y=True, softmax=True, jaccard=True)": (
        lambda: monai_dice(softmax(z), one_hot(y), jaccard=True)
    ),
    "DiceLoss(to_onehot_y=True, softmax=True, weight=w)": (
        lambda: monai_dice(softmax(z), one_hot(y), weight=w)
    ),
    "TverskyLoss(to_onehot_y=True, softmax=True, alpha=0.3, beta=0.7)": (
        lambda: monai_tversky(softmax(z), one_hot(y), 0.3, 0.7)
    ),
    "GeneralizedDiceLoss(to_onehot_y=True, softmax=True)": (
        lambda: monai_generalized_dice(softmax(z), one_hot(y))
    ),
    'GeneralizedDiceLoss(sigmoid=True, w_type="simple", batch=True)': (
        lambda: monai_generalized_dice(sigmoid(z), bits, power=1, batch=True)
    ),
    "DiceCELoss(to_onehot_y=True, softmax=True, label_smoothing=0.1)": (
        lambda: monai_dice(softmax(z), one_hot(y)) + cross_entropy(z, y, label_smoothing=0.1)
    ),
    "DiceCELoss(sigmoid=True)": (
        lambda: monai_dice(sigmoid(z1), y1[:, None]) + binary_cross_entropy(z1, y1[:, None])
    ),
    'DiceLoss("multiclass")': lambda: smp_dice(softmax(z), one_hot(y)),
    'DiceLoss("multilabel")': lambda: smp_dice(sigmoid(z), bits),
    'DiceLoss("binary")': lambda: smp_dice(sigmoid(z1), y1[:, None]),
    'JaccardLoss("multiclass")': lambda: smp_jaccard(softmax(z), one_hot(y)),
    'TverskyLoss("multiclass", alpha=0.3, beta=0.7)': (
        lambda: smp_tversky(softmax(z), one_hot(y), 0.3, 0.7)
    ),
    'LovaszLoss("multiclass")': lambda: smp_lovasz_softmax(softmax(z), y),
    'LovaszLoss("multiclass", per_image=True)': (
        lambda: smp_lovasz_softmax(softmax(z), y, per_image=True)
    ),
    'LovaszLoss("binary")': lambda: smp_lovasz_hinge(z1, y1),
    "SoftDiceLoss(softmax_helper_dim1)": (
        lambda: nnunet_dice(softmax(z), one_hot(y), batch_dice=False, do_bg=True, smooth=1.0)
    ),
    "MemoryEfficientSoftDiceLoss(softmax_helper_dim1, batch_dice=True, do_bg=False, smooth=1e-5)": (
        lambda: nnunet_dice(softmax(z), one_hot(y), batch_dice=True, do_bg=False, smooth=1e-5)
    ),
    'DC_and_CE_loss({"batch_dice": False, "do_bg": False, "smooth": 1e-5}, {})': (
        lambda: (
            cross_entropy(z, y)
            + nnunet_dice(softmax(z), one_hot(y), batch_dice=False, do_bg=False, smooth=1e-5)
        )
    ),
    'DC_and_BCE_loss({}, {"batch_dice": True, "do_bg": True, "smooth": 1e-5})': (
        lambda: (
            binary_cross_entropy(z, bits)
            + nnunet_dice(sigmoid(z), bits, batch_dice=True, do_bg=True, smooth=1e-5)
        )
    ),
}

#: The rows of the guide's table: what a loss is there, and here.
ROWS = dict(
    re.findall(r"^\| [\w-]+ \| `([A-Z][^`]*)`[^|]*\| `(fl\.[^`]*)` \|$", GUIDE.read_text(), re.M)
)


def test_every_row_has_its_formula() -> None:
    assert ROWS.keys() == PEERS.keys()


@pytest.mark.parametrize("there", PEERS)
def test_row_of_the_guide(there: str) -> None:
    names = {"fl": fl, "z": z, "y": y, "bits": bits, "z1": z1, "y1": y1, "w": w}
    value = eval(ROWS[there], names)  # the table's own words
    np.testing.assert_allclose(value, PEERS[there](), rtol=1e-12)
