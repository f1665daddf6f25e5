"""Losses of pairs, element by element."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fusedloss.torch._autograd import fused
from fusedloss.torch._pointwise import Pointwise
from fusedloss.torch.functional._recognition import BreakEven, is_number, recognised

MARGIN_RANKING_LOSS = BreakEven(value=1 << 13, gradient=1 << 9)
HINGE_EMBEDDING_LOSS = BreakEven(value=0, gradient=0)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Hinge loss of the difference of two scores: `torch.nn.functional.margin_ranking_loss`.

    Parameters
    ----------
    input1, input2, target, margin, size_average, reduce, reduction
        As in `torch.nn.functional.margin_ranking_loss`.

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
    if (
        recognised(MARGIN_RANKING_LOSS, input1, input2, target)
        and size_average is None
        and reduce is None
        and isinstance(target, Tensor)
        and target.shape == input1.shape
        and is_number(margin)
    ):
        call = Pointwise(
            "margin_ranking_loss",
            lambda x1, x2, t, _: functional.margin_ranking_loss(
                x1, x2, t, margin, reduction=reduction
            ),
            reduction,
            (margin,),
            differentiable=3,
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
) -> Tensor:
    """Hinge loss of distances: `torch.nn.functional.hinge_embedding_loss`.

    Parameters
    ----------
    input, target, margin, size_average, reduce, reduction
        As in `torch.nn.functional.hinge_embedding_loss`.

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
    if (
        recognised(HINGE_EMBEDDING_LOSS, input, target)
        and size_average is None
        and reduce is None
        and is_number(margin)
    ):
        call = Pointwise(
            "hinge_embedding_loss",
            lambda x, t, _: functional.hinge_embedding_loss(x, t, margin, reduction=reduction),
            reduction,
            (margin,),
            differentiable=1,
        )
        loss: Tensor | None = fused(call, input, target, None)
        if loss is not None:
            return loss
    return functional.hinge_embedding_loss(input, target, margin, size_average, reduce, reduction)
