"""Arguments of every loss of `fusedloss.jax`, for what is said of all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import fusedloss as fl
from pointwise_cases import LOSSES, Case, operands

N, C, D = 6, 5, 8

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

RNG = np.random.default_rng(19)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def shares(*shape: int) -> Any:
    return RNG.uniform(0.1, 0.9, shape).astype(np.float32)


def labels(*shape: int, classes: int = C) -> Any:
    return RNG.integers(0, classes, shape).astype(np.int32)


def signs(*shape: int) -> Any:
    return np.where(RNG.random(shape) < 0.5, -1, 1).astype(np.float32)


def log_softmax(z: Any) -> Any:
    return (z - np.log(np.exp(z).sum(-1, keepdims=True))).astype(np.float32)


def _points() -> tuple[Any, ...]:
    return normal(N, C), shares(N, C)


def _classes() -> tuple[Any, ...]:
    return normal(N, C), labels(N)


def _logs() -> tuple[Any, ...]:
    return np.log(shares(N, C)), np.log(shares(N, C))


def _boxes() -> tuple[Any, ...]:
    low = normal(2, N, 2)
    return tuple(np.concatenate([low, low + shares(2, N, 2) + 0.5], -1))


def _head(centers: int = 1) -> tuple[Any, ...]:
    return normal(N, D), normal(C * centers, D), labels(N)


def _batch() -> tuple[Any, ...]:
    return normal(8, D), np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)


def _images() -> tuple[Any, ...]:
    return normal(2, 3, 4, 4), labels(2, 4, 4, classes=3)


def _triplets() -> tuple[Any, ...]:
    return normal(N, D), normal(N, D), normal(N, D)


#: What makes the arguments of losses, where it does not follow from their signatures.
KINDS: dict[Callable[[], tuple[Any, ...]], str] = {
    _points: "multilabel_soft_margin_loss ranking_softmax_loss cosine_similarity_loss "
    "soft_cross_entropy",
    _classes: "cross_entropy focal_loss poly1_cross_entropy sparsemax_loss multi_margin_loss "
    "categorical_hinge_loss zero_one_loss",
    lambda: (normal(N, C), signs(N, C)): "logistic_loss",
    lambda: (*_logs(), normal(N)): "grpo_loss",
    lambda: _head(3): "subcenter_arcface_loss",
    lambda: _head(10): "soft_triple_loss",
    lambda: (normal(N, D), normal(N + 2, D)): "clip_loss siglip_loss info_nce_loss",
    lambda: (normal(N, D), normal(N, D)): "vicreg_loss barlow_twins_loss",
    _images: "dice_loss dice_ce_loss focal_tversky_loss iou_loss tversky_loss lovasz_softmax_loss "
    "generalized_dice_loss lovasz_hinge_loss",
    _boxes: "generalized_box_iou_loss distance_box_iou_loss complete_box_iou_loss",
    _head: "linear_cross_entropy",
    _triplets: "triplet_margin_loss triplet_margin_with_distance_loss",
    lambda: (normal(N, C),): "softmax log_softmax logsumexp",
    lambda: ([normal(3, 2), normal(4)], 0.1): "l1_penalty l2_penalty",
    lambda: ([normal(3, 2), normal(4)], [normal(3, 2), normal(4)]): "perceptual_loss",
    lambda: (log_softmax(normal(N, C)), labels(N)): "nll_loss",
    lambda: (np.exp(log_softmax(normal(N, C))), labels(N)): "categorical_cross_entropy "
    "generalized_cross_entropy",
    lambda: (normal(N, D), normal(N, D), signs(N)): "cosine_embedding_loss",
    lambda: (shares(N, C), labels(N)): "margin_cross_entropy",
    lambda: (normal(N, C), normal(N, C), labels(N)): "distillation_loss",
    lambda: (normal(N, D), normal(C, D), normal(N, 3), normal(C, 3)): "linear_distillation_loss",
    lambda: (
        normal(N, D),
        normal(C, D),
        np.array([[0, 2], [1, -1]] * N, np.int32)[:N],
    ): "linear_binary_cross_entropy",
    lambda: (
        normal(N, D),
        normal(3, D),
        [normal(2, D), normal(1, 2), normal(1, D), normal(C - 2, 1)],
        labels(N),
    ): "adaptive_log_softmax_loss",
    lambda: (normal(N, C), np.array([[0, 2, -1, 0, 0]] * N, np.int32)): "multilabel_margin_loss",
    lambda: (
        log_softmax(normal(7, 3, C)),
        labels(3, 2, classes=C - 1) + 1,
        np.array([7, 6, 7], np.int32),
        np.array([2, 1, 2], np.int32),
    ): "ctc_loss",
}

NAMED = {name: make for make, names in KINDS.items() for name in names.split()}

#: The same by the arguments that a loss requires.
REQUIRED = {
    ("embeddings", "labels"): _batch,
    ("embeddings", "weight", "labels"): _head,  # proxies
    ("embeddings", "weight", "target"): _head,
}


def _made(name: str) -> tuple[Any, ...]:
    if name in NAMED:
        return NAMED[name]()
    if name in LOSSES:
        return tuple(operands(Case(name, LOSSES[name], {}), (N, C), "float32"))
    parameters = inspect.signature(getattr(fl, name)).parameters.values()
    return REQUIRED[tuple(p.name for p in parameters if p.default is p.empty)]()


#: Heads, whose usual scale leaves gradients without digits in 16 bits.
SCALED = (
    *("arcface_loss", "cosface_loss", "combined_margin_loss", "curricularface_loss"),
    *("adaface_loss", "magface_loss", "margin_cross_entropy", "normface_loss"),
    *("sphereface_loss", "subcenter_arcface_loss", "soft_triple_loss"),
)


def arguments(name: str) -> Arguments:
    """Return positional arguments and options of a loss."""
    return _made(name), {"scale": 4.0} if name in SCALED else {}
