"""Losses of images, whose pixels have classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fusedloss import segmentation
from fusedloss._types import Reduction
from fusedloss.torch._pointwise import reduced
from fusedloss.torch._segmentation import Pixels, loss_of_images


def dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Soft Dice loss of every image and class; `fusedloss.dice_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...), or labels of the shape of `logits`.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.dice_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.3333)
    """
    return loss_of_images(
        *(segmentation.dice_loss, _dice, logits, target, ignore_index, reduction), smooth=smooth
    )


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Tversky loss of every image and class; `fusedloss.tversky_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...), or labels of the shape of `logits`.
    alpha, beta : float, default 0.5
        The weights of false positives and of false negatives; not negative.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.tversky_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]), alpha=0.3, beta=0.7)
    tensor(0.2500)
    """
    return loss_of_images(
        *(segmentation.tversky_loss, _tversky, logits, target, ignore_index, reduction),
        alpha=alpha,
        beta=beta,
        smooth=smooth,
    )


def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Tversky loss of every image and class to a power; `fusedloss.focal_tversky_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...), or labels of the shape of `logits`.
    alpha, beta : float, default 0.3 and 0.7
        The weights of false positives and of false negatives; not negative.
    gamma : float, default 0.75
        The power; positive.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.focal_tversky_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]), gamma=0.5)
    tensor(0.5000)
    """
    loss = segmentation.focal_tversky_loss
    return loss_of_images(
        *(loss, _focal_tversky, logits, target, ignore_index, reduction),
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        smooth=smooth,
    )


def iou_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Soft intersection over union of every image and class, as a loss; `fusedloss.iou_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...), or labels of the shape of `logits`.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.iou_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.4000)
    """
    return loss_of_images(
        *(segmentation.iou_loss, _iou, logits, target, ignore_index, reduction), smooth=smooth
    )


def lovasz_softmax_loss(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Lovász extension of the Jaccard loss of every class; `fusedloss.lovasz_softmax_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities.
    target : Tensor of integers, shape (N,) or (N, d1, ...)
        Class indices.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of classes that there are.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.lovasz_softmax_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.5000)
    """
    loss = segmentation.lovasz_softmax_loss
    return loss_of_images(loss, _lovasz, logits, target, ignore_index, reduction)


def dice_ce_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    lambda_dice: float = 1.0,
    lambda_ce: float = 1.0,
    ignore_index: int = -100,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Dice loss and cross-entropy in one pass; `fusedloss.dice_ce_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...), or labels of the shape of `logits`.
    smooth : float, default 1
        As in `dice_loss`.
    lambda_dice, lambda_ce : float, default 1
        The factors of the two; not negative.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum"}, default "mean"
        "mean" divides the Dice losses by the number of images times that of classes, and the
        cross-entropies by the number of pixels that count.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.dice_ce_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(1.0265)
    """
    return loss_of_images(
        *(segmentation.dice_ce_loss, _dice_ce, logits, target, ignore_index, reduction),
        smooth=smooth,
        lambda_dice=lambda_dice,
        lambda_ce=lambda_ce,
    )


# ---- Formulas ------------------------------------------------------------------------------------


def _overlap(pixels: Pixels, alpha: float, beta: float, smooth: float) -> Tensor:
    p, t = pixels.p, pixels.t
    lost = (alpha * p * (1 - t) + beta * (1 - p) * t).sum(-1)
    whole = (p * t).sum(-1) + lost + smooth
    nothing = whole == 0  # neither there nor predicted: nothing is lost
    return torch.where(nothing, 0, lost / whole.masked_fill(nothing, 1))


def _dice(pixels: Pixels, reduction: str, smooth: float) -> Tensor:
    return reduced(_overlap(pixels, 0.5, 0.5, smooth / 2), None, reduction)


def _tversky(pixels: Pixels, reduction: str, alpha: float, beta: float, smooth: float) -> Tensor:
    return reduced(_overlap(pixels, alpha, beta, smooth), None, reduction)


def _focal_tversky(
    pixels: Pixels, reduction: str, alpha: float, beta: float, gamma: float, smooth: float
) -> Tensor:
    lost = _overlap(pixels, alpha, beta, smooth)
    # Where nothing is lost the power has no slope to speak of.
    some = lost > 0
    return reduced(torch.where(some, torch.where(some, lost, 1) ** gamma, 0), None, reduction)


def _iou(pixels: Pixels, reduction: str, smooth: float) -> Tensor:
    return reduced(_overlap(pixels, 1.0, 1.0, smooth), None, reduction)


def _lovasz(pixels: Pixels, reduction: str) -> Tensor:
    classes = pixels.p.shape[1]
    counted = pixels.counted.flatten()
    p, t = (x.movedim(1, 0).reshape(classes, -1) for x in (pixels.p, pixels.t))
    # Pixels that do not count come last, and take no step: a compiler need not know their number.
    t = t.masked_fill(~counted, 0)
    errors, order = (
        torch.where(t == 1, 1 - p, p).masked_fill(~counted, -1).sort(-1, descending=True)
    )
    own, total = t.gather(-1, order), t.sum(-1, keepdim=True)
    union = total + (1 - own).cumsum(-1)
    jaccard = 1 - (total - own.cumsum(-1)) / union.clamp(min=1)
    steps = torch.diff(jaccard, prepend=torch.zeros_like(jaccard[:, :1]))
    present, steps = total[:, 0] > 0, steps.masked_fill(errors < 0, 0)
    losses = torch.where(present, (errors * steps).sum(-1), 0)
    return losses.sum() / present.sum() if reduction == "mean" else reduced(losses, None, reduction)


def _dice_ce(
    pixels: Pixels, reduction: str, smooth: float, lambda_dice: float, lambda_ce: float
) -> Tensor:
    entropy = -(pixels.t * pixels.log_p).sum()
    if reduction == "mean":
        entropy = entropy / pixels.counted.sum()
    return lambda_dice * _dice(pixels, reduction, smooth) + lambda_ce * entropy
