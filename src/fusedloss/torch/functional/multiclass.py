"""Losses of scores, logits or probabilities of classes, row by row, beside the softmax family."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fusedloss import _check, multiclass
from fusedloss._types import Reduction
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import as_autocast, expect_arguments, fused
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._rowwise import Rowwise, masked_rows, own_row_loss
from fusedloss.torch._softmax import classes_second
from fusedloss.torch.functional._recognition import is_number, recognised_rows

__all__ = [
    "categorical_hinge_loss",
    "generalized_cross_entropy",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "poly1_cross_entropy",
    "sparsemax_loss",
]

# ---- Losses of torch -----------------------------------------------------------------------------


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Hinge loss of several classes: `torch.nn.functional.multi_margin_loss`.

    Parameters
    ----------
    input, target, p, margin, weight, size_average, reduce, reduction
        As in `torch.nn.functional.multi_margin_loss`. `input` may have 16 bits here.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.

    Returns
    -------
    Tensor
        The loss, differentiable in `input`.

    See Also
    --------
    fusedloss.multi_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.multi_margin_loss(torch.tensor([[0.5, 2.0, 1.5, 0.0]]), torch.tensor([1]))
    tensor(0.1250)
    """
    if where is not None:
        return masked_rows(
            multiclass.multi_margin_loss,
            functional.multi_margin_loss,
            {"input": input, "target": target},
            (size_average, reduce, reduction),
            where,
            p=p,
            margin=margin,
            weight=weight,
        )
    if (
        size_average is None
        and reduce is None
        and recognised_rows(input, others=(target, weight))
        and target is not None
        and target.dtype is torch.int64
        and target.shape == input.shape[:-1]
        and input.ndim <= 2
        and is_number(p)
        and p in (1, 2)
        and is_number(margin)
        and (weight is None or weight.dtype is input.dtype)
    ):
        call = Rowwise(
            "multi_margin_loss",
            lambda x, t, w, _: functional.multi_margin_loss(
                x, t, p, margin, w, reduction=reduction
            ),
            reduction,
            (_check.INDICES,),
            (p, margin),
        )
        loss: Tensor | None = None if is_compiling() else fused(call, input, target, weight, None)
        if loss is None and operated(input, target, weight):
            loss = operate(
                "multi_margin_loss",
                input=input,
                target=target,
                p=p,
                margin=margin,
                weight=weight,
                reduction=reduction,
            )
        if loss is not None:
            return loss
    return functional.multi_margin_loss(
        input, target, p, margin, weight, size_average, reduce, reduction
    )


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Hinge loss of several labels a row: `torch.nn.functional.multilabel_margin_loss`.

    Parameters
    ----------
    input, target, size_average, reduce, reduction
        As in `torch.nn.functional.multilabel_margin_loss`. `input` may have 16 bits here.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.

    Returns
    -------
    Tensor
        The loss, differentiable in `input`.

    See Also
    --------
    fusedloss.multilabel_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> target = torch.tensor([[3, 0, -1, 1]])
    >>> F.multilabel_margin_loss(torch.tensor([[0.1, 0.2, 0.4, 0.8]]), target)
    tensor(0.8500)
    """
    if where is not None:
        return masked_rows(
            multiclass.multilabel_margin_loss,
            functional.multilabel_margin_loss,
            {"input": input, "target": target},
            (size_average, reduce, reduction),
            where,
        )
    if (
        size_average is None
        and reduce is None
        and recognised_rows(input, others=(target,))
        and target is not None
        and target.dtype is torch.int64
        and target.shape == input.shape
        and input.ndim <= 2
    ):
        call = Rowwise(
            "multilabel_margin_loss",
            lambda x, t, *_: functional.multilabel_margin_loss(x, t, reduction=reduction),
            reduction,
            (_check.LABELS,),
        )
        loss: Tensor | None = None if is_compiling() else fused(call, input, target, None, None)
        if loss is None and operated(input, target):
            loss = operate(
                "multilabel_margin_loss",
                input=input,
                target=target,
                reduction=reduction,
            )
        if loss is not None:
            return loss
    return functional.multilabel_margin_loss(input, target, size_average, reduce, reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of a row's labels: `torch.nn.functional.multilabel_soft_margin_loss`.

    Parameters
    ----------
    input, target, weight, size_average, reduce, reduction
        As in `torch.nn.functional.multilabel_soft_margin_loss`.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.multilabel_soft_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.multilabel_soft_margin_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    if where is not None:
        return masked_rows(
            multiclass.multilabel_soft_margin_loss,
            functional.multilabel_soft_margin_loss,
            {"input": input, "target": target},
            (size_average, reduce, reduction),
            where,
            weight=weight,
        )
    input, target, weight = as_autocast(input, target, weight)  # torch's own stays in 16 bits
    if (
        size_average is None
        and reduce is None
        and recognised_rows(input, target, others=(weight,))
        and (weight is None or weight.dtype is input.dtype)
    ):
        call = Rowwise(
            "multilabel_soft_margin_loss",
            lambda x, t, w, _: functional.multilabel_soft_margin_loss(x, t, w, reduction=reduction),
            reduction,
            (_check.ROWS,),
            differentiable=2,
            axis=-1,
        )
        loss: Tensor | None = None if is_compiling() else fused(call, input, target, weight, None)
        if loss is None and operated(input, target, weight):
            loss = operate(
                "multilabel_soft_margin_loss",
                input=input,
                target=target,
                weight=weight,
                reduction=reduction,
            )
        if loss is not None:
            return loss
    return functional.multilabel_soft_margin_loss(
        input, target, weight, size_average, reduce, reduction
    )


# ---- This package's own --------------------------------------------------------------------------


def categorical_hinge_loss(
    scores: Tensor,
    target: Tensor,
    *,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Hinge loss of the best other class; `fusedloss.categorical_hinge_loss`.

    Parameters
    ----------
    scores : Tensor of floats, shape (C,), (N, C) or (N, C, d1, ...)
        The scores x.
    target : Tensor
        Class indices of shape (), (N,) or (N, d1, ...), or rows t of the shape of `scores`.
    sample_weight : Tensor, one number per row, optional
        A weight per row; ones if absent.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        max(0, 1 + max (1 - t) x - sum t x), of the dtype of `scores`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.categorical_hinge_loss(torch.tensor([[0.5, 2.0, 1.5, 0.0]]), torch.tensor([1]))
    tensor(0.5000)
    """
    loss = multiclass.categorical_hinge_loss
    return own_row_loss(
        loss, _categorical_hinge, (scores, target), sample_weight, reduction, where=where
    )


def poly1_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    epsilon: float = 2.0,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy with another first coefficient; `fusedloss.poly1_cross_entropy`.

    Parameters
    ----------
    logits : Tensor of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities.
    target : Tensor
        Class indices of shape (), (N,) or (N, d1, ...), or probabilities t of the shape of
        `logits`.
    epsilon : float, default 2
        What is added to the first coefficient.
    sample_weight : Tensor, one number per row, optional
        A weight per row; ones if absent.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        -sum t log p + epsilon (1 - sum t p), of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.poly1_cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
    tensor(1.6931)
    """
    loss, operands = multiclass.poly1_cross_entropy, (logits, target)
    return own_row_loss(
        loss, _poly1, operands, sample_weight, reduction, where=where, epsilon=epsilon
    )


def generalized_cross_entropy(
    probs: Tensor,
    target: Tensor,
    *,
    q: float = 0.5,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    axis: int | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Loss for labels that may be wrong; `fusedloss.generalized_cross_entropy`.

    Parameters
    ----------
    probs : Tensor of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Probabilities p, taken as they are.
    target : Tensor
        Class indices, shape (), (N,) or (N, d1, ...), or probabilities, of the shape of `probs`.
    q : float, default 0.5
        From above 0, towards cross-entropy, to 1, half the absolute error.
    sample_weight : Tensor, one number per row, optional
        A weight per row; ones if absent.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.
    axis : int, optional
        The axis of the classes, which a view then has second; no copy is made. If absent the
        second one, or the only one.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        (1 - p_y^q) / q, of the dtype of `probs`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.generalized_cross_entropy(torch.tensor([[0.75, 0.25]]), torch.tensor([1]))
    tensor(1.)
    """
    loss = multiclass.generalized_cross_entropy
    expect_arguments(loss, probs, target)
    operands = classes_second(axis, probs, target)
    return own_row_loss(loss, _generalized, operands, sample_weight, reduction, where=where, q=q)


def sparsemax_loss(
    scores: Tensor,
    target: Tensor,
    *,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy's counterpart for sparse probabilities; `fusedloss.sparsemax_loss`.

    Parameters
    ----------
    scores : Tensor of floats, shape (C,), (N, C) or (N, C, d1, ...)
        The scores x.
    target : Tensor of integers, shape (), (N,) or (N, d1, ...)
        Class indices y.
    sample_weight : Tensor, one number per row, optional
        A weight per row; ones if absent.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        The loss, whose gradient is the sparsemax of the scores less the one-hot row.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.sparsemax_loss(torch.tensor([[1.5, 1.0, -1.0]]), torch.tensor([1]))
    tensor(0.5625)
    """
    loss = multiclass.sparsemax_loss
    return own_row_loss(loss, _sparsemax, (scores, target), sample_weight, reduction, where=where)


def _classes_last(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions and labels, one-hot for class indices, with the classes last."""
    x = x.movedim(1, -1) if x.ndim > 1 else x
    if target.is_floating_point():
        return x, target.movedim(1, -1) if target.ndim > 1 else target
    return x, functional.one_hot(target.long(), x.shape[-1]).to(x.dtype)


def _categorical_hinge(scores: Tensor, target: Tensor) -> Tensor:
    x, t = _classes_last(scores, target)
    return torch.relu(1 + ((1 - t) * x).max(-1).values - (t * x).sum(-1))


def _poly1(logits: Tensor, target: Tensor, epsilon: float) -> Tensor:
    z, t = _classes_last(logits, target)
    agreement = (t * functional.softmax(z, -1)).sum(-1)
    return -(t * functional.log_softmax(z, -1)).sum(-1) + epsilon * (1 - agreement)


def _generalized(probs: Tensor, target: Tensor, q: float) -> Tensor:
    p, t = _classes_last(probs, target)
    # The slope at a probability of 0 is infinite; that of a class without a share is 0.
    return (t * (1 - p.masked_fill(t == 0, 1) ** q)).sum(-1) / q


def _sparsemax(scores: Tensor, target: Tensor) -> Tensor:
    x, t = _classes_last(scores, target)
    z = x - x.max(-1, keepdim=True).values.detach()
    ordered = z.sort(-1, descending=True).values
    thresholds = (ordered.cumsum(-1) - 1) / torch.arange(1, z.shape[-1] + 1, device=z.device)
    support = (ordered > thresholds).sum(-1, keepdim=True)
    p = torch.relu(z - thresholds.gather(-1, support - 1))
    return (p * (z - p / 2)).sum(-1) + 0.5 - (t * z).sum(-1)
