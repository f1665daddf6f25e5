"""Losses of pairs and of lists."""

from __future__ import annotations

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.pointwise import pointwise
from fusedloss._lower.rowwise import rowwise
from fusedloss._types import Call, Reduction

__all__ = [
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "ranking_softmax_loss",
]


@loss("input1", "input2", "target")
def margin_ranking_loss(
    input1: ArrayLike,
    input2: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Ranking loss of pairs of scores: :math:`\max(0, m - t (x_1 - x_2))`.

    Parameters
    ----------
    input1 : array of floats
        Scores :math:`x_1`: float16, bfloat16, float32 or float64.
    input2 : array of real numbers
        Scores :math:`x_2`.
    target : array of real numbers
        1 where the first should be higher, -1 where the second. The arrays are broadcast against
        each other.
    margin : float, default 0
        The difference :math:`m` that is enough.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `input1` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    Where the difference is exactly the margin, the gradient is that of a smaller difference, as in
    torch. Equivalent to ``torch.nn.functional.margin_ranking_loss(input1, input2, target,
    margin=margin)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.margin_ranking_loss([2.0, 1.0], [1.0, 2.0], [1, 1], margin=0.5)
    0.75
    """
    operands = {"input1": input1, "input2": input2, "target": target}
    parameters = (_check.finite("margin", margin),)
    return pointwise(
        "margin_ranking_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("input")
def hinge_embedding_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Hinge loss of distances of pairs that are alike or not.

    .. math::

        \ell = \begin{cases} x & t = 1 \\ \max(0, m - x) & t = -1 \end{cases}

    Parameters
    ----------
    input : array of floats
        Distances :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        1 for pairs that are alike, -1 for others. The arrays are broadcast against each other.
    margin : float, default 1
        Pairs of target -1 that are farther apart than :math:`m` add nothing to the loss.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `input` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    For any other target the loss is the sum of both, as in torch, and where :math:`x = m` the
    gradient is that of a smaller distance. Equivalent to
    ``torch.nn.functional.hinge_embedding_loss(input, target, margin=margin)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.hinge_embedding_loss([0.5, 0.25], [1, -1])
    0.625
    """
    operands = {"input": input, "target": target}
    parameters = (_check.finite("margin", margin),)
    return pointwise(
        "hinge_embedding_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("logits")
def ranking_softmax_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Listwise softmax loss: cross-entropy with relevances that need not sum to 1.

    .. math:: \ell = -\sum_i t_i \log \mathrm{softmax}(z)_i

    Parameters
    ----------
    logits : array of floats, shape (..., L)
        Scores :math:`z` of the items of lists: float16, bfloat16, float32 or float64.
    labels : array of real numbers, shape (..., L)
        The items' relevances :math:`t`, not negative.
    where : array of bools, shape (..., L), optional
        The items that lists have; all if absent. A list without any has no loss.
    sample_weight : array of floats, shape (...), optional
        A weight per list; ones if absent.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of lists, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per list, of the dtype of
        `logits`, for "none". The mean over no list is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``optax.losses.ranking_softmax_loss(logits, labels, where=where)``. In torch
    ``-(labels * torch.log_softmax(logits, -1)).sum(-1).mean()``.

    References
    ----------
    Z. Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.ranking_softmax_loss([[0.0, 0.0]], [[2, 1]]), 6)
    2.079442
    """
    operands = {"logits": logits, "labels": labels}
    if where is not None:
        operands["where"] = where
    roles = (_check.ROWS,) * (len(operands) - 1)
    return rowwise(
        *("ranking_softmax_loss", operands, roles, (), reduction, num_threads),
        sample_weight=sample_weight,
        axis=-1,
    )
