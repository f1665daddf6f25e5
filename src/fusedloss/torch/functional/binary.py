"""Losses of scores and of logits, element by element."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fusedloss import _check, binary
from fusedloss._types import Reduction
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import (
    as_autocast,
    expect_given,
    expect_mask,
    expect_tensors,
    fused,
)
from fusedloss.torch._operators.calls import operate, operated_pointwise
from fusedloss.torch._pointwise import Pointwise, masked_loss, own_loss, reduced

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_sparsemax_loss",
    "exponential_loss",
    "hinge_loss",
    "logistic_loss",
    "perceptron_loss",
    "sigmoid_focal_loss",
    "soft_margin_loss",
    "squared_hinge_loss",
    "zero_one_loss",
]

# ---- Losses of torch -----------------------------------------------------------------------------


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of probabilities: `torch.nn.functional.binary_cross_entropy`.

    Parameters
    ----------
    input, target, weight, size_average, reduce, reduction
        As in `torch.nn.functional.binary_cross_entropy`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.binary_cross_entropy : The same for arrays.
    binary_cross_entropy_with_logits : From logits, which is more accurate.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.binary_cross_entropy(torch.tensor([0.4, 0.6]), torch.tensor([0.0, 1.0]))
    tensor(0.5108)
    """
    if where is not None:
        return masked_loss(
            binary.binary_cross_entropy,
            functional.binary_cross_entropy,
            (input, target),
            weight,
            (size_average, reduce, reduction),
            where,
        )
    if not is_compiling() and size_average is None and reduce is None:
        call = Pointwise(
            "binary_cross_entropy",
            lambda x, t, w: functional.binary_cross_entropy(x, t, w, reduction=reduction),
            reduction,
            whole=2,
        )
        loss: Tensor | None = fused(call, input, target, weight)
        if loss is not None:
            return loss
    return functional.binary_cross_entropy(input, target, weight, size_average, reduce, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Sigmoid cross-entropy: `torch.nn.functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    input, target, weight, size_average, reduce, reduction, pos_weight
        As in `torch.nn.functional.binary_cross_entropy_with_logits`.
    label_smoothing : float from 0 to 1, default 0
        The share e of each label that becomes 1/2: t is (1 - e) t + e / 2 then.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.binary_cross_entropy_with_logits : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.binary_cross_entropy_with_logits(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.4100)
    """
    if label_smoothing:
        _check.in_range("label_smoothing", label_smoothing, 0, 1)
    if where is not None:
        return masked_loss(
            binary.binary_cross_entropy_with_logits,
            lambda x, t, p=None, *, label_smoothing, **options: (
                functional.binary_cross_entropy_with_logits(
                    x, smoothed(t, label_smoothing), pos_weight=p, **options
                )
            ),
            (input, target),
            weight,
            (size_average, reduce, reduction),
            where,
            named=None if pos_weight is None else {"pos_weight": pos_weight},
            label_smoothing=label_smoothing,
        )
    if (
        size_average is None
        and reduce is None
        and isinstance(input, Tensor)
        and isinstance(target, Tensor)
        and target.dtype is input.dtype
        and target.shape == input.shape
        and operated_pointwise(
            "binary_cross_entropy_with_logits", input, target, weight, pos_weight
        )
    ):
        result: Tensor = operate(
            "binary_cross_entropy_with_logits",
            input=input,
            target=target,
            weight=weight,
            reduction=reduction,
            pos_weight=pos_weight,
            label_smoothing=label_smoothing,
        )
        return result
    if not is_compiling() and size_average is None and reduce is None:
        call = Pointwise(
            "binary_cross_entropy_with_logits",
            lambda x, t, p, w: functional.binary_cross_entropy_with_logits(
                x, smoothed(t, label_smoothing), w, reduction=reduction, pos_weight=p
            ),
            reduction,
            (label_smoothing,),
            whole=2,
        )
        loss: Tensor | None = fused(call, input, target, pos_weight, weight)
        if loss is not None:
            return loss
    return functional.binary_cross_entropy_with_logits(
        input,
        smoothed(target, label_smoothing),
        weight,
        size_average,
        reduce,
        reduction,
        pos_weight,
    )


def smoothed(target: Tensor, label_smoothing: float) -> Tensor:
    """Return labels of which a share has become 1/2: in float32 under autocast, as the loss is."""
    if not label_smoothing:
        return target
    if target.itemsize < 4 and torch.is_autocast_enabled("cpu"):
        target = target.float()
    return target * (1 - label_smoothing) + label_smoothing / 2


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Logistic loss of scores and classes -1 and 1: `torch.nn.functional.soft_margin_loss`.

    Parameters
    ----------
    input, target, size_average, reduce, reduction
        As in `torch.nn.functional.soft_margin_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input`. It is finite for finite scores, where torch's is not.

    See Also
    --------
    fusedloss.soft_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.soft_margin_loss(torch.tensor([2.0, 0.0]), torch.tensor([1.0, -1.0]))
    tensor(0.4100)
    """
    if where is not None:
        return masked_loss(
            binary.soft_margin_loss,
            functional.soft_margin_loss,
            (input, target),
            None,
            (size_average, reduce, reduction),
            where,
        )
    legacy = size_average is not None or reduce is not None
    # whole=1: the target may be broadcast, but an absent one would stand for ones
    if not is_compiling() and not legacy and target is not None:
        call = Pointwise(
            "soft_margin_loss",
            lambda x, t, _: functional.soft_margin_loss(x, t, reduction=reduction),
            reduction,
            differentiable=1,
            whole=1,
        )
        loss: Tensor | None = fused(call, input, target, None)
        if loss is not None:
            return loss
    return functional.soft_margin_loss(input, target, size_average, reduce, reduction)


logistic_loss = soft_margin_loss


# ---- Losses of this package ----------------------------------------------------------------------


def hinge_loss(
    scores: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Hinge loss, of the support vector machine; `fusedloss.hinge_loss`.

    Parameters
    ----------
    scores : Tensor of floats
        The scores f.
    target : Tensor, broadcastable to `scores`
        The classes t, -1 or 1.
    weight : Tensor, broadcastable to `scores`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        max(0, 1 - t f), of the dtype of `scores`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.hinge_loss(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.2500)
    """
    return own_loss(binary.hinge_loss, _hinge, (scores, target), weight, reduction, where)


def _hinge(f: Tensor, t: Tensor) -> Tensor:
    return (1 - t * f).relu()


def perceptron_loss(
    scores: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Perceptron loss; `fusedloss.perceptron_loss`.

    Parameters
    ----------
    scores : Tensor of floats
        The scores f.
    target : Tensor, broadcastable to `scores`
        The classes t, -1 or 1.
    weight : Tensor, broadcastable to `scores`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        max(0, -t f), of the dtype of `scores`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.perceptron_loss(torch.tensor([0.5, -2.0]), torch.tensor([-1.0, -1.0]))
    tensor(0.2500)
    """
    return own_loss(binary.perceptron_loss, _perceptron, (scores, target), weight, reduction, where)


def _perceptron(f: Tensor, t: Tensor) -> Tensor:
    return torch.maximum(-t * f, f.new_zeros(()))  # of which 0 has half the slope


def squared_hinge_loss(
    scores: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Square of the hinge loss; `fusedloss.squared_hinge_loss`.

    Parameters
    ----------
    scores : Tensor of floats
        The scores f.
    target : Tensor, broadcastable to `scores`
        The classes t, -1 or 1.
    weight : Tensor, broadcastable to `scores`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        max(0, 1 - t f)^2, of the dtype of `scores`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.squared_hinge_loss(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.1250)
    """
    return own_loss(
        binary.squared_hinge_loss, _squared_hinge, (scores, target), weight, reduction, where
    )


def _squared_hinge(f: Tensor, t: Tensor) -> Tensor:
    return _hinge(f, t).square()


def exponential_loss(
    scores: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Exponential loss, of AdaBoost; `fusedloss.exponential_loss`.

    Parameters
    ----------
    scores : Tensor of floats
        The scores f.
    target : Tensor, broadcastable to `scores`
        The classes t, -1 or 1.
    weight : Tensor, broadcastable to `scores`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        exp(-t f), of the dtype of `scores`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.exponential_loss(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.3709)
    """
    return own_loss(
        binary.exponential_loss, _exponential, (scores, target), weight, reduction, where
    )


def _exponential(f: Tensor, t: Tensor) -> Tensor:
    return (-t * f).exp()


def binary_sparsemax_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Sparsemax loss of two classes, or of many labels; `fusedloss.binary_sparsemax_loss`.

    Parameters
    ----------
    logits : Tensor of floats
        The logits z.
    target : Tensor, broadcastable to `logits`
        The labels t in [0, 1].
    weight : Tensor, broadcastable to `logits`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        s(z) - t z, where s(z) is (z + 1)^2 / 4 between -1 and 1, 0 below and z above, of the dtype
        of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.binary_sparsemax_loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))
    tensor(0.1250)
    """
    return own_loss(
        binary.binary_sparsemax_loss, _binary_sparsemax, (logits, target), weight, reduction, where
    )


def _binary_sparsemax(z: Tensor, t: Tensor) -> Tensor:
    positive = z >= 0
    a = torch.where(positive, z, -z)
    other = torch.where(positive, 1 - t, t)
    away = a.masked_fill((other == 0) & a.isinf(), 0)
    return other * away + (1 - a).relu().square() / 4


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Focal loss of two classes; `fusedloss.sigmoid_focal_loss`.

    Parameters
    ----------
    logits : Tensor of floats
        The logits z; p is their sigmoid.
    target : Tensor, broadcastable to `logits`
        The labels t in [0, 1].
    alpha : float in [0, 1] or None, default 0.25
        The weight of label 1, 1 - alpha being that of label 0; None weighs neither.
    gamma : float in [0, 64], default 2
        How much less an element counts that is classified well.
    label_smoothing : float from 0 to 1, default 0
        The share e of each label that becomes 1/2: t is (1 - e) t + e / 2 then.
    weight : Tensor, broadcastable to `logits`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        a q^gamma b with b the cross-entropy, q = p (1 - t) + (1 - p) t and a = alpha t +
        (1 - alpha) (1 - t), of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.sigmoid_focal_loss(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.0652)
    """
    return own_loss(
        binary.sigmoid_focal_loss,
        _sigmoid_focal,
        (logits, target),
        weight,
        reduction,
        where,
        alpha=alpha,
        gamma=gamma,
        label_smoothing=label_smoothing,
    )


def _sigmoid_focal(
    z: Tensor, t: Tensor, alpha: float | None, gamma: float, label_smoothing: float
) -> Tensor:
    t = smoothed(t, label_smoothing)
    losses = functional.binary_cross_entropy_with_logits(z, t, reduction="none")
    other = z.sigmoid() * (1 - t) + (-z).sigmoid() * t
    # Not quite 0: a power below 1 has no derivative there.
    losses = other.clamp_min(torch.finfo(z.dtype).tiny) ** gamma * losses
    return losses if alpha is None else (alpha * t + (1 - alpha) * (1 - t)) * losses


def asymmetric_loss(
    logits: Tensor,
    target: Tensor,
    *,
    gamma_neg: float = 4.0,
    gamma_pos: float = 1.0,
    clip: float = 0.05,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Asymmetric loss of many labels; `fusedloss.asymmetric_loss`.

    Parameters
    ----------
    logits : Tensor of floats
        The logits z; p is their sigmoid.
    target : Tensor, broadcastable to `logits`
        The labels t in [0, 1].
    gamma_neg : float in [0, 64], default 4
        How much less a label 0 counts that is classified well.
    gamma_pos : float in [0, 64], default 1
        How much less a label 1 counts that is classified well.
    clip : float in [0, 1), default 0.05
        Labels of 0 with a lower p add nothing to the loss.
    weight : Tensor, broadcastable to `logits`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        -t (1 - p)^gamma_pos log p - (1 - t) m^gamma_neg log(1 - m), m = max(p - clip, 0), of the
        dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.asymmetric_loss(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.0198)
    """
    return own_loss(
        binary.asymmetric_loss,
        _asymmetric,
        (logits, target),
        weight,
        reduction,
        where,
        gamma_neg=gamma_neg,
        gamma_pos=gamma_pos,
        clip=clip,
    )


def _asymmetric(z: Tensor, t: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    tiny = torch.finfo(z.dtype).tiny  # and not 0: a power below 1 has no derivative there
    shifted = (z.sigmoid() - clip).relu()
    log_rest = (-shifted).log1p() if clip else functional.logsigmoid(-z)
    positive = (-z).sigmoid().clamp_min(tiny) ** gamma_pos * functional.logsigmoid(z)
    negative = shifted.clamp_min(tiny) ** gamma_neg * log_rest
    return -t * positive - (1 - t) * negative


def zero_one_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Share of wrong predictions; `fusedloss.zero_one_loss`.

    Parameters
    ----------
    prediction : Tensor
        Classes; or scores of floats, shape (C,), (N, C) or (N, C, d1, ...), whose first maximum is
        the class.
    target : Tensor
        The true classes: of scores, a tensor without their axis.
    weight : Tensor, broadcastable to the classes, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, broadcastable to the classes, optional
        Which elements take part; all do if absent.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        The loss, of the prediction's dtype, or the default one for integers; without a gradient.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.zero_one_loss(torch.tensor([1, 2, 3, 3]), torch.tensor([1, 2, 3, 4]))
    tensor(0.2500)
    """
    expect_given(prediction=prediction, target=target)
    expect_tensors(weight)
    prediction, weight = as_autocast(prediction, weight)
    of_scores = prediction.is_floating_point() and prediction.dim() == target.dim() + 1
    classes = prediction.argmax(1 if target.dim() else 0) if of_scores else prediction
    dtype = prediction.dtype if prediction.is_floating_point() else torch.get_default_dtype()
    if classes.is_meta:
        target = target.to("meta")
    wrong = (classes != target).to(torch.promote_types(dtype, torch.float32))
    mode = _check.reduction(reduction)
    if where is None:
        return reduced(wrong, weight, mode).to(dtype)
    expect_mask(where)
    kept = torch.where(where, wrong if weight is None else wrong * weight, 0)
    if mode != "mean":
        return reduced(kept, None, mode).to(dtype)
    return (kept.sum() / where.expand_as(kept).sum()).to(dtype)
