"""Losses of pairs and of lists."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fusedloss import ranking
from fusedloss._types import Reduction
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import fused
from fusedloss.torch._pointwise import Pointwise, masked_loss
from fusedloss.torch._rowwise import own_row_loss
from fusedloss.torch.functional._recognition import is_number

__all__ = [
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "ranking_softmax_loss",
]


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Hinge loss of the difference of two scores: `torch.nn.functional.margin_ranking_loss`.

    Parameters
    ----------
    input1, input2, target, margin, size_average, reduce, reduction
        As in `torch.nn.functional.margin_ranking_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input1`, `input2` and `target`.

    See Also
    --------
    fusedloss.margin_ranking_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> target = torch.tensor([1.0, -1.0])
    >>> F.margin_ranking_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0]), target)
    tensor(1.)
    """
    if where is not None:
        return masked_loss(
            ranking.margin_ranking_loss,
            functional.margin_ranking_loss,
            (input1, input2, target),
            None,
            (size_average, reduce, reduction),
            where,
            margin=margin,
        )
    if not is_compiling() and size_average is None and reduce is None and is_number(margin):
        call = Pointwise(
            "margin_ranking_loss",
            lambda x1, x2, t, _: functional.margin_ranking_loss(
                x1, x2, t, margin, reduction=reduction
            ),
            reduction,
            (margin,),
            differentiable=3,
            whole=3,
        )
        loss: Tensor | None = fused(call, input1, input2, target, None)
        if loss is not None:
            return loss
    return functional.margin_ranking_loss(
        input1, input2, target, margin, size_average, reduce, reduction
    )


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Hinge loss of distances: `torch.nn.functional.hinge_embedding_loss`.

    Parameters
    ----------
    input, target, margin, size_average, reduce, reduction
        As in `torch.nn.functional.hinge_embedding_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input`.

    See Also
    --------
    fusedloss.hinge_embedding_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.hinge_embedding_loss(torch.tensor([0.5, 0.25]), torch.tensor([1.0, -1.0]))
    tensor(0.6250)
    """
    if where is not None:
        return masked_loss(
            ranking.hinge_embedding_loss,
            functional.hinge_embedding_loss,
            (input, target),
            None,
            (size_average, reduce, reduction),
            where,
            margin=margin,
        )
    if not is_compiling() and size_average is None and reduce is None and is_number(margin):
        call = Pointwise(
            "hinge_embedding_loss",
            lambda x, t, _: functional.hinge_embedding_loss(x, t, margin, reduction=reduction),
            reduction,
            (margin,),
            differentiable=1,
            whole=2,
        )
        loss: Tensor | None = fused(call, input, target, None)
        if loss is not None:
            return loss
    return functional.hinge_embedding_loss(input, target, margin, size_average, reduce, reduction)


def ranking_softmax_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Listwise softmax loss; `fusedloss.ranking_softmax_loss`.

    Parameters
    ----------
    logits : Tensor of floats, shape (..., L)
        Scores of the items of lists.
    labels : Tensor, shape (..., L)
        The items' relevances t.
    where : Tensor of bools, shape (..., L), optional
        The items that lists have; all if absent. A list without any has no loss.
    sample_weight : Tensor, shape (...), optional
        A weight per list; ones if absent.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of lists, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        -sum t log softmax, of the dtype of `logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.ranking_softmax_loss(torch.zeros(1, 2), torch.tensor([[2.0, 1.0]]))
    tensor(2.0794)
    """
    loss = ranking.ranking_softmax_loss
    named = {}
    if where is not None:
        named["where"] = where
    return own_row_loss(
        loss, _ranking_softmax, (logits, labels), sample_weight, reduction, named=named
    )


def _ranking_softmax(logits: Tensor, labels: Tensor, where: Tensor | None = None) -> Tensor:
    if where is None:
        return -(labels * functional.log_softmax(logits, -1)).sum(-1)
    there = where != 0
    some = there.any(-1, keepdim=True)
    log_p = functional.log_softmax(torch.where(there | ~some, logits, -torch.inf), -1)
    return -torch.where(there, labels * log_p, 0).sum(-1)
