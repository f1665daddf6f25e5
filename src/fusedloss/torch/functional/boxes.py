"""Losses of bounding boxes: of their intersection over union."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusedloss import boxes
from fusedloss._types import Reduction
from fusedloss.torch._rowwise import own_row_loss

__all__ = [
    "complete_box_iou_loss",
    "distance_box_iou_loss",
    "generalized_box_iou_loss",
]


def generalized_box_iou_loss(
    input: Tensor,
    target: Tensor,
    *,
    eps: float = 1e-7,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the generalized loss of boxes; `fusedloss.generalized_box_iou_loss`.

    Parameters
    ----------
    input : Tensor of floats, shape (..., 4)
        Boxes, each (x1, y1, x2, y2) with x1 < x2 and y1 < y2.
    target : Tensor, shape (..., 4)
        The boxes that they should be. The two are broadcast against each other.
    eps : float, default 1e-7
        Is added to what divides.
    sample_weight : Tensor, one number per box, optional
        A weight per box; ones if absent.
    where : Tensor of bools, one per box, optional
        Which boxes take part; all do if absent. The others are ignored, whatever they hold.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of boxes, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        1 - IoU + the share of the enclosing box that is in neither, of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> input = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> F.generalized_box_iou_loss(input, torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor(0.6667)
    """
    loss, operands = boxes.generalized_box_iou_loss, (input, target)
    return own_row_loss(
        loss, _generalized, operands, sample_weight, reduction, where=where, eps=eps
    )


def distance_box_iou_loss(
    input: Tensor,
    target: Tensor,
    *,
    eps: float = 1e-7,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of boxes and their distance; `fusedloss.distance_box_iou_loss`.

    Parameters
    ----------
    input : Tensor of floats, shape (..., 4)
        Boxes, each (x1, y1, x2, y2) with x1 < x2 and y1 < y2.
    target : Tensor, shape (..., 4)
        The boxes that they should be. The two are broadcast against each other.
    eps : float, default 1e-7
        Is added to what divides.
    sample_weight : Tensor, one number per box, optional
        A weight per box; ones if absent.
    where : Tensor of bools, one per box, optional
        Which boxes take part; all do if absent. The others are ignored, whatever they hold.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of boxes, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        1 - IoU + the squared distance of centers over that of corners, of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> input = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> F.distance_box_iou_loss(input, torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor(0.7436)
    """
    loss, operands = boxes.distance_box_iou_loss, (input, target)
    return own_row_loss(loss, _distance, operands, sample_weight, reduction, where=where, eps=eps)


def complete_box_iou_loss(
    input: Tensor,
    target: Tensor,
    *,
    eps: float = 1e-7,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of boxes, distance and shapes; `fusedloss.complete_box_iou_loss`.

    Parameters
    ----------
    input : Tensor of floats, shape (..., 4)
        Boxes, each (x1, y1, x2, y2) with x1 < x2 and y1 < y2.
    target : Tensor, shape (..., 4)
        The boxes that they should be. The two are broadcast against each other.
    eps : float, default 1e-7
        Is added to what divides.
    sample_weight : Tensor, one number per box, optional
        A weight per box; ones if absent.
    where : Tensor of bools, one per box, optional
        Which boxes take part; all do if absent. The others are ignored, whatever they hold.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of boxes, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        1 - IoU + the squared distance of centers over that of corners + alpha v,
        of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> input = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> F.complete_box_iou_loss(input, torch.tensor([[1.0, 0.0, 3.0, 1.0]]))
    tensor(0.8982)
    """
    loss, operands = boxes.complete_box_iou_loss, (input, target)
    return own_row_loss(loss, _complete, operands, sample_weight, reduction, where=where, eps=eps)


# ---- Formulas, as torchvision has them -----------------------------------------------------------


def _parts(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the areas of intersection and union, and the sides of the enclosing box."""
    low, high = torch.maximum(x[..., :2], t[..., :2]), torch.minimum(x[..., 2:], t[..., 2:])
    overlap = (high > low).all(-1)
    intersection = torch.where(overlap, (high - low).prod(-1), 0)
    union = _area(x) + _area(t) - intersection
    least = torch.minimum(x[..., :2], t[..., :2])
    most = torch.maximum(x[..., 2:], t[..., 2:])
    return intersection, union, most - least


def _area(x: Tensor) -> Tensor:
    return (x[..., 2:] - x[..., :2]).prod(-1)


def _generalized(x: Tensor, t: Tensor, eps: float) -> Tensor:
    intersection, union, size = _parts(x, t)
    area = size.prod(-1)
    return 1 - intersection / (union + eps) + (area - union) / (area + eps)


def _iou_and_distance(x: Tensor, t: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    intersection, union, size = _parts(x, t)
    apart = (x[..., :2] + x[..., 2:] - t[..., :2] - t[..., 2:]) / 2
    distance = apart.square().sum(-1) / (size.square().sum(-1) + eps)
    return intersection / (union + eps), distance


def _distance(x: Tensor, t: Tensor, eps: float) -> Tensor:
    iou, distance = _iou_and_distance(x, t, eps)
    return 1 - iou + distance


def _complete(x: Tensor, t: Tensor, eps: float) -> Tensor:
    iou, distance = _iou_and_distance(x, t, eps)
    (w, h), (of_w, of_h) = (((y[..., 2] - y[..., 0]), (y[..., 3] - y[..., 1])) for y in (x, t))
    shape = 4 / math.pi**2 * ((of_w / of_h).atan() - (w / h).atan()).square()
    alpha = (shape / (1 - iou + shape + eps)).detach()
    return 1 - iou + distance + alpha * shape
