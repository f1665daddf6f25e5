"""Losses of rows of features: of the angles and distances between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import lookup, loss
from fusedloss._lower.rowwise import rowwise
from fusedloss._lower.triplets import triplets
from fusedloss._types import Call, Reduction

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


@loss("input", "target")
def cosine_similarity_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Cosine of the angle between two vectors, negated: -1 is the same direction.

    .. math:: \ell = -\frac{x \cdot t}{\max(|x|, 10^{-7}) \max(|t|, 10^{-7})}

    Parameters
    ----------
    input : array of floats
        The vectors :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The vectors :math:`t`, of any real dtype. The arrays are broadcast against each other and
        have as many dimensions.
    axis : int, default -1
        The axis of `input` that vectors lie along.
    sample_weight : array of floats, one per vector, optional
        A weight per vector; ones if absent.
    where : array of bools, one per vector, optional
        Which vectors take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of vectors, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per vector, of the dtype of
        `input`, for "none". The mean over no vector is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``keras.losses.CosineSimilarity(axis)(target, input)`` and, but for that of zeros,
    to ``-torch.nn.functional.cosine_similarity(input, target, axis).mean()``. The loss of a vector
    of zeros is 0, and its gradient is finite.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.cosine_similarity_loss([[0.0, 1.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 3.0]])
    -0.5
    """
    operands = {"input": input, "target": target}
    return rowwise(
        *("cosine_similarity_loss", operands, (_check.ROWS,), (), reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
        axis=axis,
    )


@loss("input1", "input2")
def cosine_embedding_loss(
    input1: ArrayLike,
    input2: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.0,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Cosine embedding loss of pairs that should, or should not, point the same way.

    .. math::

        \ell = \begin{cases} 1 - \cos(x_1, x_2) & t = 1 \\
               \max(0, \cos(x_1, x_2) - m) & t = -1 \end{cases}

    Parameters
    ----------
    input1 : array of floats, shape (..., D)
        Vectors :math:`x_1`: float16, bfloat16, float32 or float64.
    input2 : array of real numbers, shape (..., D)
        Vectors :math:`x_2`. The two are broadcast against each other and have as many dimensions.
    target : array of real numbers, shape (...)
        1 where the vectors of a pair should point the same way, -1 where not.
    margin : float, default 0
        The cosine :math:`m` up to which vectors do not point the same way.
    sample_weight : array of floats, shape (...), optional
        A weight per pair; ones if absent.
    where : array of bools, one per pair, optional
        Which pairs take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of pairs, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the target's shape and the dtype of
        `input1` for "none". The mean over no pair is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``torch.nn.functional.cosine_embedding_loss(input1, input2, target, margin)``:
    :math:`10^{-12}` is added to the squared lengths, a target other than 1 and -1 has no loss, and
    the slope where the hinge is 0 is that of its positive side.

    Examples
    --------
    >>> import fusedloss as fl
    >>> x1, x2 = [[3.0, 4.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 0.0]]
    >>> round(fl.cosine_embedding_loss(x1, x2, [1, -1], margin=0.5), 6)
    0.35
    """
    operands = {"input1": input1, "input2": input2, "target": target}
    return rowwise(
        *("cosine_embedding_loss", operands, (_check.ROWS, _check.VALUES)),
        *((_check.finite("margin", margin),), reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
        axis=-1,
    )


@loss("anchor", "positive", "negative")
def triplet_margin_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Triplet margin loss: the anchor should be nearer to the positive than to the negative.

    .. math::

        \ell = \max(0, m + d(a, p) - d(a, n)), \qquad d(a, b) = \lVert a - b + \epsilon \rVert_p

    Parameters
    ----------
    anchor : array of floats, shape (..., D)
        Vectors :math:`a`: float16, bfloat16, float32 or float64.
    positive, negative : array of real numbers, shape (..., D)
        Vectors that belong with the anchors, and that do not. The three are broadcast against each
        other and have as many dimensions.
    margin : float, default 1
        How much nearer the positive should be; positive.
    p : float, default 2
        The norm that distances are measured in: from 1 to 64, or inf.
    eps : float, default 1e-6
        What is added to each coordinate's difference; not negative.
    swap : bool, default False
        Take the distance between positive and negative where that is less than the one between
        anchor and negative.
    sample_weight : array of floats, shape (...), optional
        A weight per triplet; ones if absent.
    where : array of bools, one per triplet, optional
        Which triplets take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of triplets, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per triplet, of the dtype of
        `anchor`, for "none". The mean over no triplet is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``torch.nn.functional.triplet_margin_loss(anchor, positive, negative, margin, p,
    eps, swap)``. The gradient of a distance of 0 is 0. As in torch, the slope where the hinge is 0
    is that of its positive side, and equal distances share the slope of a swap.

    References
    ----------
    V. Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional
    neural networks", BMVC 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.triplet_margin_loss([[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 2.0]]), 4)
    4.0
    """
    operands = {"anchor": anchor, "positive": positive, "negative": negative}
    parameters = (
        *(_check.positive("margin", margin), _check.norm("p", p)),
        *(_check.not_negative("eps", eps), float(_check.flag("swap", swap))),
    )
    return rowwise(
        *("triplet_margin_loss", operands, (_check.ROWS, _check.ROWS), parameters),
        *(reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
        axis=-1,
    )


@loss("anchor", "positive", "negative")
def triplet_margin_with_distance_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    distance_function: Callable[..., Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Loss of triplets by any distance: :math:`\ell = \max(0, m + d(a, p) - d(a, n))`.

    Parameters
    ----------
    anchor, positive, negative : array of floats, of one shape
        Vectors :math:`a`, those that belong with them :math:`p`, and those that do not :math:`n`:
        float16, bfloat16, float32 or float64.
    distance_function : function, optional
        The distance :math:`d`: one of this package's losses that is differentiable in its first two
        arguments, such as `cosine_similarity_loss`; its losses are taken without reduction. That of
        `triplet_margin_loss` if absent.
    margin : float, default 1
        How much nearer the positive should be; positive.
    swap : bool, default False
        Take the distance between positive and negative where that is less than the one between
        anchor and negative.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of distances.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the distances' shape and the dtype of
        `anchor` for "none". The mean over nothing is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken, or a distance that is none of this package's losses of two
        arguments.
    ValueError
        For a shape or an option that does not fit, or a distance that is not differentiable or does
        not return a number for each row or element.

    Notes
    -----
    Like ``torch.nn.functional.triplet_margin_with_distance_loss``, which takes any function of
    tensors.

    Examples
    --------
    >>> import fusedloss as fl
    >>> a, p, n = [[1.0, 0.0]], [[0.0, 2.0]], [[3.0, 4.0]]
    >>> distance = fl.cosine_similarity_loss
    >>> round(fl.triplet_margin_with_distance_loss(a, p, n, distance_function=distance), 6)
    1.6
    """
    if distance_function is None:
        return lookup(triplet_margin_loss).lower(
            anchor,
            positive,
            negative,
            margin=margin,
            swap=swap,
            reduction=reduction,
            num_threads=num_threads,
        )
    operands = {"anchor": anchor, "positive": positive, "negative": negative}
    return triplets, (
        *(
            operands,
            _check.distance(distance_function),
            _check.positive("margin", margin),
            _check.flag("swap", swap),
        ),
        *(_check.reduction(reduction), _check.num_threads(num_threads)),
    )
