"""Which functions are operators, and the shapes of their losses without reduction.

Few pointwise losses are: compilers fuse the formulas of others with what is before and after them.
"""

from __future__ import annotations

import inspect
from typing import Any

from fusedloss.torch import functional as F
from fusedloss.torch._margin import HEADS
from fusedloss.torch._operators.calls import POINTWISE
from fusedloss.torch._operators.kernels import Operator, Shape, register
from fusedloss.torch.functional import linear


def _first(given: dict[str, Any]) -> Any:
    """Return the shape of the prediction, which comes first."""
    return next(iter(given.values())).shape


def _positions(given: dict[str, Any]) -> Any:
    """Return the shape of scores without that of classes, on the second axis or another one."""
    shape, axis = _first(given), given.get("axis")
    at = (1 if axis is None else axis) % max(len(shape), 1) if len(shape) > 1 else 0
    return [*shape[:at], *shape[at + 1 :]]


def _at_axis(given: dict[str, Any]) -> Any:
    """Return the shape of vectors without the axis that is an option."""
    shape, axis = _first(given), given.get("axis", -1)
    return [*shape[:axis], *shape[axis:][1:]]


def _rows(given: dict[str, Any]) -> Any:
    """Return the shape of rows without the last axis."""
    return _first(given)[:-1]


def _anchors(given: dict[str, Any]) -> Any:
    """Return the number of embeddings."""
    return _first(given)[:1]


def _groups(given: dict[str, Any], together: bool = False) -> Any:
    """Return the number of images, none where all are together; `together` is the default."""
    return _first(given)[: 1 - given.get("batch", together)]


def _images(given: dict[str, Any], together: bool = False) -> Any:
    """Return the shape of images and their classes that have a loss."""
    classes = _first(given)[1] - (not given.get("include_background", True))
    return [*_groups(given, together), classes]


def _batches(given: dict[str, Any]) -> Any:
    """Return the same of a loss that takes all images together unless told otherwise."""
    return _images(given, together=True)


def _sequences(given: dict[str, Any]) -> Any:
    """Return the number of sequences, on the axis before the last one."""
    return _first(given)[1:-1]


#: The losses of labelled embeddings.
_LABELLED = [
    name
    for name in vars(F)["__all__"]
    if {"embeddings", "labels"} <= inspect.signature(getattr(F, name)).parameters.keys()
]

_TABLE: dict[Shape, tuple[str, ...]] = {
    _positions: (
        "categorical_hinge_loss",
        "cross_entropy",
        "distillation_loss",
        "focal_loss",
        "generalized_cross_entropy",
        "nll_loss",
        "poly1_cross_entropy",
        "soft_cross_entropy",
        "sparsemax_loss",
    ),
    _at_axis: ("categorical_cross_entropy", "cosine_similarity_loss"),
    _rows: (
        *HEADS,
        "complete_box_iou_loss",
        "cosine_embedding_loss",
        "distance_box_iou_loss",
        "generalized_box_iou_loss",
        "linear_binary_cross_entropy",
        "linear_distillation_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "p2s_grad_loss",
        "proxy_anchor_loss",
        "ranking_softmax_loss",
        "triplet_margin_loss",
    ),
    _anchors: (
        *_LABELLED,
        "barlow_twins_loss",
        "clip_loss",
        "info_nce_loss",
        "manifold_loss",
        "siglip_loss",
        "vicreg_loss",
    ),
    _groups: ("generalized_dice_loss",),
    _images: (
        "dice_ce_loss",
        "dice_loss",
        "focal_tversky_loss",
        "iou_loss",
        "lovasz_hinge_loss",
        "tversky_loss",
    ),
    _batches: ("lovasz_softmax_loss",),
    _sequences: ("ctc_loss",),
    _first: POINTWISE,
}

for _shape, _names in _TABLE.items():
    for _name in _names:
        register(Operator(_name, getattr(F, _name), _shape))
register(
    Operator(
        "adaptive_log_softmax_loss",
        F.adaptive_log_softmax_loss,
        _rows,
        of_outputs=("log_prob",),
    )
)
register(Operator("linear_cross_entropy", linear.of_layer, _rows, of_outputs=("log_prob",)))
