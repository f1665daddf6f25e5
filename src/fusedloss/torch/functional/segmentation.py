"""Losses of images, whose pixels have classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fusedloss import segmentation
from fusedloss._types import Activation, Reduction
from fusedloss.torch._segmentation import Pixels, loss_of_images

__all__ = [
    "dice_ce_loss",
    "dice_loss",
    "focal_tversky_loss",
    "generalized_dice_loss",
    "iou_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "tversky_loss",
]


def dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Soft Dice loss of every image and class; `fusedloss.dice_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, of the shape of `logits`, or of that
        of its pixels if C is 1.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What makes probabilities of `logits`: the softmax over the classes; sigmoids, of labels that
        do not exclude each other; or nothing.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : Tensor of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
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
        segmentation.dice_loss,
        _dice,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        smooth=smooth,
        activation=activation,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Tversky loss of every image and class; `fusedloss.tversky_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, of the shape of `logits`, or of that
        of its pixels if C is 1.
    alpha, beta : float, default 0.5
        The weights of false positives and of false negatives; not negative.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What makes probabilities of `logits`: the softmax over the classes; sigmoids, of labels that
        do not exclude each other; or nothing.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : Tensor of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
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
        segmentation.tversky_loss,
        _tversky,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        alpha=alpha,
        beta=beta,
        smooth=smooth,
        activation=activation,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Tversky loss of every image and class to a power; `fusedloss.focal_tversky_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, of the shape of `logits`, or of that
        of its pixels if C is 1.
    alpha, beta : float, default 0.3 and 0.7
        The weights of false positives and of false negatives; not negative.
    gamma : float, default 0.75
        The power; positive.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What makes probabilities of `logits`: the softmax over the classes; sigmoids, of labels that
        do not exclude each other; or nothing.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : Tensor of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
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
    return loss_of_images(
        segmentation.focal_tversky_loss,
        _focal_tversky,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        smooth=smooth,
        activation=activation,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


def iou_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Soft intersection over union of every image and class, as a loss; `fusedloss.iou_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, of the shape of `logits`, or of that
        of its pixels if C is 1.
    smooth : float, default 1
        What is added to numerator and denominator. With 0 a class that neither is there nor
        predicted has the loss 0, which jumps to 1 with the first probability that does not
        underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What makes probabilities of `logits`: the softmax over the classes; sigmoids, of labels that
        do not exclude each other; or nothing.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : Tensor of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
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
        segmentation.iou_loss,
        _iou,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        smooth=smooth,
        activation=activation,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


def generalized_dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weight_type: Literal["square", "simple", "uniform"] = "square",
    smooth: float = 1e-5,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Dice loss of every image, of classes by inverse size; `fusedloss.generalized_dice_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, of the shape of `logits`, or of that
        of its pixels if C is 1.
    weight_type : {"square", "simple", "uniform"}, default "square"
        What classes count: the inverse of the square of the sum of labels, of that sum, or 1. A
        class that is not there has the largest weight of the image.
    smooth : float, default 1e-5
        What is added to numerator and denominator.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What makes probabilities of `logits`: the softmax over the classes; sigmoids, of labels that
        do not exclude each other; or nothing.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : Tensor of floats, shape (C,), optional
        Factors of these weights.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.generalized_dice_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.5000)
    """
    return loss_of_images(
        segmentation.generalized_dice_loss,
        _generalized_dice,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        weight_type=weight_type,
        smooth=smooth,
        activation=activation,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


def lovasz_softmax_loss(
    logits: Tensor,
    target: Tensor,
    *,
    activation: Activation = "softmax",
    batch: bool = True,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Lovász extension of the Jaccard loss of every class; `fusedloss.lovasz_softmax_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, 0 or 1, of the shape of `logits`, or
        of that of its pixels if C is 1.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What makes probabilities of `logits`: the softmax over the classes; sigmoids, of labels that
        do not exclude each other; or nothing.
    batch : bool, default True
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : Tensor of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of classes that there are, of each image, and by the number of
        images that have any.

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
    return loss_of_images(
        segmentation.lovasz_softmax_loss,
        _lovasz_softmax,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        activation=activation,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


def lovasz_hinge_loss(
    logits: Tensor,
    target: Tensor,
    *,
    batch: bool = False,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Lovász extension of the Jaccard loss, of hinge errors; `fusedloss.lovasz_hinge_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...)
        Scores of labels.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, 0 or 1, of the shape of `logits`, or
        of that of its pixels if C is 1.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether label 0 has a loss.
    class_weight : Tensor of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count, and neither do labels that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of labels.

    Returns
    -------
    Tensor
        The loss, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.lovasz_hinge_loss(torch.tensor([[[0.5, -2.0, 0.0]]]), torch.tensor([[1, 0, 0]]))
    tensor(0.7500)
    """
    return loss_of_images(
        segmentation.lovasz_hinge_loss,
        _lovasz_hinge,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


def dice_ce_loss(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    lambda_dice: float = 1.0,
    lambda_ce: float = 1.0,
    activation: Literal["softmax", "sigmoid"] = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Dice loss and cross-entropy in one pass; `fusedloss.dice_ce_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities.
    target : Tensor
        Class indices of shape (N,) or (N, d1, ...); or labels, of the shape of `logits`, or of that
        of its pixels if C is 1.
    smooth : float, default 1
        As in `dice_loss`.
    lambda_dice, lambda_ce : float, default 1
        The factors of the two; not negative.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What makes probabilities of `logits`: the softmax over the classes; or sigmoids, of labels
        that do not exclude each other, whose cross-entropy is the binary one.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a Dice loss. The cross-entropy is of all classes.
    class_weight : Tensor of floats, shape (C,), optional
        Weights of the classes' Dice losses and cross-entropies.
    sample_weight : Tensor of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; those of weight 0 do not count.
    label_smoothing : float from 0 to 1, default 0
        The share of the cross-entropy's labels that is spread evenly over the classes, or over yes
        and no.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum"}, default "mean"
        "mean" divides the Dice losses by the number of images times that of classes, and the
        cross-entropies by the number of pixels that count, each by its index's class weight; with
        sigmoids by that of labels, each by its class's weight.

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
        segmentation.dice_ce_loss,
        _dice_ce,
        logits,
        target,
        class_weight,
        sample_weight,
        reduction,
        smooth=smooth,
        lambda_dice=lambda_dice,
        lambda_ce=lambda_ce,
        label_smoothing=label_smoothing,
        activation=activation,
        batch=batch,
        include_background=include_background,
        ignore_index=ignore_index,
    )


# ---- Formulas ------------------------------------------------------------------------------------


def _sums(pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums of true, wrong and missed labels over the pixels of groups, (groups, C)."""
    p, t, v = (x[:, pixels.first :] for x in (pixels.p, pixels.t, pixels.counts))
    sums = [(v * x).sum(pixels.groups) for x in (p * t, p * (1 - t), (1 - p) * t)]
    true, wrong, missed = (x[None] if pixels.batch else x for x in sums)
    return true, wrong, missed


def _of_whole(lost: Tensor, whole: Tensor) -> Tensor:
    nothing = whole == 0  # neither there nor predicted: nothing is lost
    return torch.where(nothing, 0, lost / whole.masked_fill(nothing, 1))


def _overlap(pixels: Pixels, alpha: float, beta: float, smooth: float) -> Tensor:
    true, wrong, missed = _sums(pixels)
    lost = alpha * wrong + beta * missed
    return _of_whole(lost, true + lost + smooth)


def _reduced(pixels: Pixels, losses: Tensor, reduction: str) -> Tensor:
    """Reduce the losses of classes, by their weights."""
    w = pixels.class_weight[pixels.first :]
    losses = w * torch.where(w == 0, 0, losses)
    if reduction == "none":
        return losses[0] if pixels.batch else losses
    total = losses.sum()
    return _mean(total, len(losses) * w.sum()) if reduction == "mean" else total


def _mean(total: Tensor, divisor: Tensor) -> Tensor:
    """Return a mean, which of nothing is nan, with a gradient of 0."""
    nothing = divisor == 0
    return torch.where(nothing, torch.nan, total / torch.where(nothing, 1, divisor))


def _dice(pixels: Pixels, reduction: str, smooth: float) -> Tensor:
    return _reduced(pixels, _overlap(pixels, 0.5, 0.5, smooth / 2), reduction)


def _tversky(pixels: Pixels, reduction: str, alpha: float, beta: float, smooth: float) -> Tensor:
    return _reduced(pixels, _overlap(pixels, alpha, beta, smooth), reduction)


def _focal_tversky(
    pixels: Pixels, reduction: str, alpha: float, beta: float, gamma: float, smooth: float
) -> Tensor:
    lost = _overlap(pixels, alpha, beta, smooth)
    # Where nothing is lost the power has no slope to speak of.
    some = lost > 0
    powers = torch.where(some, torch.where(some, lost, 1) ** gamma, 0 * lost)
    return _reduced(pixels, powers, reduction)


def _iou(pixels: Pixels, reduction: str, smooth: float) -> Tensor:
    return _reduced(pixels, _overlap(pixels, 1.0, 1.0, smooth), reduction)


def _generalized_dice(pixels: Pixels, reduction: str, weight_type: str, smooth: float) -> Tensor:
    w = pixels.class_weight[pixels.first :]
    true, wrong, missed = (torch.where(w == 0, 0, x) for x in _sums(pixels))
    volume = (true + missed).detach()
    power = {"square": 2, "simple": 1, "uniform": 0}[weight_type]
    there = (volume != 0) & (w > 0)
    share = torch.where(there, torch.where(there, volume, 1) ** -power, 0)
    if power:
        share = torch.where(there, share, share.amax(1, keepdim=True))
    else:
        share = torch.ones_like(share)
    share = w * share
    lost = (share * (wrong + missed)).sum(1)
    losses = _of_whole(lost, (share * (2 * true + wrong + missed)).sum(1) + smooth)
    if reduction == "none":
        return losses[0] if pixels.batch else losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _lovasz(pixels: Pixels, errors: Tensor, reduction: str, every: bool) -> Tensor:
    """Return the loss by errors, (N, C, P); every: of classes that are not there, too."""
    first = pixels.first
    errors, t, v = (x[:, first:].movedim(1, 0) for x in (errors, pixels.t, pixels.counts))
    if pixels.batch:
        errors, t, v = (x.reshape(len(x), 1, -1) for x in (errors, t, v))
    ordered, order = torch.where(v == 0, -1, errors).sort(-1, descending=True)
    own, weight = (t * v).gather(-1, order), v.gather(-1, order)
    total = own.sum(-1, keepdim=True)
    inside, either = total - own.cumsum(-1), total + (weight - own).cumsum(-1)
    jaccard = 1 - inside / torch.where(either == 0, 1, either)
    jaccard = torch.where(either == 0, 0, jaccard)
    steps = torch.diff(jaccard, prepend=torch.zeros_like(jaccard[..., :1])).detach()
    losses = torch.where(weight == 0, 0, ordered * steps).sum(-1)  # (C, groups)
    there = torch.ones_like(losses) if every else (total[..., 0] > 0).to(losses.dtype)
    shares = pixels.class_weight[first:, None] * there
    if reduction == "mean":
        of_groups = shares.sum(0)
        some = of_groups > 0
        shares = torch.where(some, shares / torch.where(some, of_groups, 1), 0)
        divisor = some.sum()
    losses = shares * torch.where(shares == 0, 0, losses)
    if reduction == "none":
        return losses[:, 0] if pixels.batch else losses.T
    return _mean(losses.sum(), divisor) if reduction == "mean" else losses.sum()


def _lovasz_softmax(pixels: Pixels, reduction: str) -> Tensor:
    errors = torch.where(pixels.t == 1, 1 - pixels.p, pixels.p)
    return _lovasz(pixels, errors, reduction, every=False)


def _lovasz_hinge(pixels: Pixels, reduction: str) -> Tensor:
    errors = 1 - pixels.z * (2 * pixels.t - 1)
    return _lovasz(pixels, torch.where(errors <= 0, 0, errors), reduction, every=True)


def _dice_ce(
    pixels: Pixels,
    reduction: str,
    smooth: float,
    lambda_dice: float,
    lambda_ce: float,
    label_smoothing: float,
) -> Tensor:
    entropy, divisor = pixels.cross_entropy(label_smoothing)
    if reduction == "mean":
        entropy = _mean(entropy, divisor)
    return lambda_dice * _dice(pixels, reduction, smooth) + lambda_ce * entropy
