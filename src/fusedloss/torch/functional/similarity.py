"""Losses of rows of features: of the angles and distances between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import PairwiseDistance

from fusedloss import _check, similarity
from fusedloss._types import Reduction
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import as_autocast, fused
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._rowwise import Rowwise, masked_rows, own_row_loss
from fusedloss.torch.functional._recognition import is_number, recognised_rows

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

#: No length counts as less (as in Keras).
LEAST_LENGTH = 1e-7

EUCLIDEAN = PairwiseDistance()


# ---- Losses of torch -----------------------------------------------------------------------------


def cosine_embedding_loss(
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
    """Loss of pairs that should point the same way: `torch.nn.functional.cosine_embedding_loss`.

    Parameters
    ----------
    input1, input2, target, margin, size_average, reduce, reduction
        As in `torch.nn.functional.cosine_embedding_loss`.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.

    Returns
    -------
    Tensor
        The loss, differentiable in `input1` and `input2`.

    See Also
    --------
    fusedloss.cosine_embedding_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x1, x2 = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    >>> F.cosine_embedding_loss(x1, x2, torch.tensor([1]))
    tensor(0.2000)
    """
    if where is not None:
        return masked_rows(
            similarity.cosine_embedding_loss,
            functional.cosine_embedding_loss,
            {"input1": input1, "input2": input2, "target": target},
            (size_average, reduce, reduction),
            where,
            margin=margin,
        )
    if (
        size_average is None
        and reduce is None
        and recognised_rows(input1, input2, others=(target,))
        and target is not None
        and input1.ndim <= 2
        and target.shape == input1.shape[:-1]
        and is_number(margin)
    ):
        call = Rowwise(
            "cosine_embedding_loss",
            lambda x1, x2, t, *_: functional.cosine_embedding_loss(
                x1, x2, t, margin, reduction=reduction
            ),
            reduction,
            (_check.ROWS, _check.VALUES),
            (margin,),
            differentiable=2,
            axis=-1,
        )
        loss: Tensor | None = (
            None if is_compiling() else fused(call, input1, input2, target, None, None)
        )
        if loss is None and operated(input1, input2, target):
            loss = operate(
                "cosine_embedding_loss",
                input1=input1,
                input2=input2,
                target=target,
                margin=margin,
                reduction=reduction,
            )
        if loss is not None:
            return loss
    return functional.cosine_embedding_loss(
        input1, input2, target, margin, size_average, reduce, reduction
    )


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Loss of triplets: `torch.nn.functional.triplet_margin_loss`.

    Parameters
    ----------
    anchor, positive, negative, margin, p, eps, swap, size_average, reduce, reduction
        As in `torch.nn.functional.triplet_margin_loss`.
    where : Tensor of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold.

    Returns
    -------
    Tensor
        The loss, differentiable in `anchor`, `positive` and `negative`.

    See Also
    --------
    fusedloss.triplet_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> a, p, n = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]).split(1)
    >>> F.triplet_margin_loss(a, p, n)
    tensor(4.0000)
    """
    if where is not None:
        return masked_rows(
            similarity.triplet_margin_loss,
            functional.triplet_margin_loss,
            {"anchor": anchor, "positive": positive, "negative": negative},
            (size_average, reduce, reduction),
            where,
            margin=margin,
            p=p,
            eps=eps,
            swap=swap,
        )
    if size_average is None and reduce is None:
        loss = _triplets(
            *(anchor, positive, negative, margin, p, eps, swap, reduction),
            lambda a, b, c, *_: functional.triplet_margin_loss(
                a, b, c, margin, p, eps, swap, reduction=reduction
            ),
        )
        if loss is not None:
            return loss
    return functional.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, size_average, reduce, reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Loss of triplets: `torch.nn.functional.triplet_margin_with_distance_loss`.

    Parameters
    ----------
    anchor, positive, negative, distance_function, margin, swap, reduction
        As in `torch.nn.functional.triplet_margin_with_distance_loss`. There is a kernel for none,
        which is Euclid's distance, and for a `torch.nn.PairwiseDistance`.

    Returns
    -------
    Tensor
        The loss, differentiable in `anchor`, `positive` and `negative`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> a, p, n = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]).split(1)
    >>> F.triplet_margin_with_distance_loss(a, p, n)
    tensor(4.0000)
    """
    anchor, positive, negative = as_autocast(anchor, positive, negative)
    norm = EUCLIDEAN if distance_function is None else distance_function
    if type(norm) is PairwiseDistance and not norm.keepdim:
        loss = _triplets(
            *(anchor, positive, negative, margin, norm.norm, norm.eps, swap, reduction),
            lambda a, b, c, *_: functional.triplet_margin_with_distance_loss(
                *(a, b, c),
                distance_function=distance_function,
                margin=margin,
                swap=swap,
                reduction=reduction,
            ),
        )
        if loss is not None:
            return loss
    return functional.triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=distance_function,
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def _triplets(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: Any,
    p: Any,
    eps: Any,
    swap: Any,
    reduction: str,
    by_torch: Callable[..., Tensor],
) -> Tensor | None:
    if not (
        recognised_rows(anchor, positive, negative)
        and all(map(is_number, (margin, p, eps)))
        and 0 < margin < math.inf
        and (1 <= p <= _check.MOST_POWER or p == math.inf)
        and 0 <= eps < math.inf
        and isinstance(swap, bool)
    ):
        return None
    call = Rowwise(
        "triplet_margin_loss",
        by_torch,
        reduction,
        (_check.ROWS, _check.ROWS),
        (margin, p, eps, swap),
        differentiable=3,
        axis=-1,
    )
    tensors = (anchor, positive, negative)
    loss: Tensor | None = None if is_compiling() else fused(call, *tensors, None, None)
    if loss is None and operated(*tensors):
        loss = operate(
            "triplet_margin_loss",
            anchor=anchor,
            positive=positive,
            negative=negative,
            margin=margin,
            p=p,
            eps=eps,
            swap=swap,
            reduction=reduction,
        )
    return loss


# ---- This package's own --------------------------------------------------------------------------


def cosine_similarity_loss(
    input: Tensor,
    target: Tensor,
    *,
    axis: int = -1,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cosine of the angle between two vectors, negated; `fusedloss.cosine_similarity_loss`.

    Parameters
    ----------
    input : Tensor of floats
        Vectors x.
    target : Tensor
        Vectors t. The two are broadcast against each other and have as many dimensions.
    axis : int, default -1
        The axis that vectors lie along.
    sample_weight : Tensor, one number per vector, optional
        A weight per vector; ones if absent.
    where : Tensor of bools, one per vector, optional
        Which vectors take part; all do if absent. The others are ignored, whatever they hold.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of vectors, or by the sum of `sample_weight`.

    Returns
    -------
    Tensor
        ``-x t / (|x| |t|)``, of the dtype of `input`, no length counting as less than 1e-7.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.cosine_similarity_loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(-1.)
    """
    loss, operands = similarity.cosine_similarity_loss, (input, target)
    return own_row_loss(loss, _cosine, operands, sample_weight, reduction, where=where, axis=axis)


def _cosine(x: Tensor, t: Tensor, axis: int) -> Tensor:
    of_x, of_t = (x.norm(dim=axis).clamp(min=LEAST_LENGTH) for x in (x, t))
    loss: Tensor = -(x * t).sum(axis) / (of_x * of_t)
    return loss
