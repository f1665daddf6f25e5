"""Losses of scores, logits or probabilities of classes, row by row, beside the softmax family."""

from __future__ import annotations

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.rowwise import rowwise
from fusedloss._types import Call, Reduction

__all__ = [
    "categorical_hinge_loss",
    "generalized_cross_entropy",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "poly1_cross_entropy",
    "sparsemax_loss",
]


@loss("scores")
def multi_margin_loss(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    p: int = 1,
    margin: float = 1.0,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Multi-class hinge loss: the target's score should exceed every other by a margin.

    .. math:: \ell = \frac{w_y}{C} \sum_{c \ne y} \max(0, m - x_y + x_c)^p

    Parameters
    ----------
    scores : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        The scores :math:`x`: float16, bfloat16, float32 or float64.
    target : array of integers, shape (), (N,) or (N, d1, ...)
        Class indices :math:`y` in [0, C).
    p : {1, 2}, default 1
        The power of the hinge.
    margin : float, default 1
        The margin :math:`m`, in units of the scores.
    weight : array of floats, shape (C,), optional
        A weight per class; ones if absent.
        A position whose target class has weight 0 is ignored, whatever it holds.
    sample_weight : array of floats, of the target's shape, optional
        A weight per row; ones if absent.
        A row of weight 0 is ignored, whatever it holds.
    where : array of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the target's shape and the dtype of
        `scores` for "none". The mean over no row is nan (and its gradient zero).

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``torch.nn.functional.multi_margin_loss(scores, target, p, margin, weight)``.
    The slope where a hinge is 0 is 0.

    References
    ----------
    J. Weston and C. Watkins, "Support vector machines for multi-class pattern recognition", ESANN
    1999.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.multi_margin_loss([[0.5, 2.0, 1.5, 0.0]], [1])
    0.125
    """
    operands = {"scores": scores, "target": target}
    parameters = (_check.one_or_two("p", p), _check.finite("margin", margin))
    return rowwise(
        *("multi_margin_loss", operands, (_check.INDICES,), parameters, reduction, num_threads),
        weight=weight,
        sample_weight=sample_weight,
        where=where,
    )


@loss("scores")
def categorical_hinge_loss(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Hinge loss against the best other class.

    .. math:: \ell = \max\left(0,\; 1 + \max_c (1 - t_c)\, x_c - \sum_c t_c x_c\right)

    With a class index :math:`y` as target, :math:`t` is its one-hot row; the maximum is then over
    the scores of all other classes and 0.

    Parameters
    ----------
    scores : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        The scores :math:`x`: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (), (N,) or (N, d1, ...); or rows
        :math:`t` of any float dtype, the shape of `scores`.
    sample_weight : array of floats, one per row, optional
        A weight per row; ones if absent.
        A row of weight 0 is ignored, whatever it holds.
    where : array of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per row, of the dtype of
        `scores`, for "none". The mean over no row is nan (and its gradient zero).

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``keras.losses.CategoricalHinge()(one_hot, scores)``. Of equal maxima the first
    has the slope; where the hinge is 0 the slope is 0. In torch, for one-hot targets y,
    ``(((1 - y) * scores).amax(1) - (y * scores).sum(1) + 1).clamp(0).mean()``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.categorical_hinge_loss([[0.5, 2.0, 1.5, 0.0]], [1])
    0.5
    """
    operands = {"scores": scores, "target": target}
    return rowwise(
        *("categorical_hinge_loss", operands, (_check.INDICES_OR_ROWS,), ()),
        *(reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
    )


@loss("input")
def multilabel_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Multi-label hinge loss: every label's score should exceed all others by 1.

    .. math:: \ell = \frac1C \sum_{y \in Y} \sum_{c \notin Y} \max(0, 1 - x_y + x_c)

    Parameters
    ----------
    input : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        The scores :math:`x`: float16, bfloat16, float32 or float64.
    target : array of integers, of the shape of `input`
        Along the axis of classes, the class indices :math:`Y` of a row, ended by a first -1.
    sample_weight : array of floats, one per row, optional
        A weight per row; ones if absent.
        A row of weight 0 is ignored, whatever it holds.
    where : array of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per row, of the dtype of
        `input`, for "none". The mean over no row is nan (and its gradient zero).

    Raises
    ------
    IndexError
        For a class index that is neither in [0, C) nor -1.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``torch.nn.functional.multilabel_margin_loss(input, target)``. A label that is
    listed twice counts twice. The slope where a hinge is 0 is 0.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.multilabel_margin_loss([[0.1, 0.2, 0.4, 0.8]], [[3, 0, -1, 1]]), 6)
    0.85
    """
    operands = {"input": input, "target": target}
    return rowwise(
        *("multilabel_margin_loss", operands, (_check.LABELS,), (), reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
    )


@loss("input", "target")
def multilabel_soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Binary cross-entropy, averaged over the labels of a row.

    .. math::

        \ell = -\frac1C \sum_c w_c \left(t_c \log \sigma(z_c) + (1 - t_c) \log \sigma(-z_c)\right)

    Parameters
    ----------
    input : array of floats, shape (..., C)
        Logits :math:`z`: float16, bfloat16, float32 or float64. Classes are along the last axis.
    target : array of real numbers, of the shape of `input`
        Labels :math:`t` in [0, 1].
    weight : array of floats, shape (C,), optional
        A weight per class; ones if absent.
        A label of weight 0 is ignored, whatever its logit is.
    sample_weight : array of floats, shape (...), optional
        A weight per row; ones if absent.
        A row of weight 0 is ignored, whatever it holds.
    where : array of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per row, of the dtype of
        `input`, for "none". The mean over no row is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``torch.nn.functional.multilabel_soft_margin_loss(input, target, weight)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.multilabel_soft_margin_loss([[0.0, 0.0]], [[1, 0]]), 6)
    0.693147
    """
    operands = {"input": input, "target": target}
    return rowwise(
        *("multilabel_soft_margin_loss", operands, (_check.ROWS,), (), reduction, num_threads),
        weight=weight,
        sample_weight=sample_weight,
        where=where,
        axis=-1,
    )


@loss("logits")
def poly1_cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 2.0,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Cross-entropy whose expansion in :math:`1 - p` has another first coefficient.

    With :math:`p = \mathrm{softmax}(z)` and the target :math:`t`, the one-hot row of a class index
    or a distribution,

    .. math:: \ell = -\sum_c t_c \log p_c + \epsilon \left(1 - \sum_c t_c p_c\right)

    Parameters
    ----------
    logits : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities :math:`z`: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (), (N,) or (N, d1, ...); or
        probabilities :math:`t` of any float dtype, the shape of `logits`.
    epsilon : float, default 2
        What is added to the first coefficient.
    sample_weight : array of floats, one per row, optional
        A weight per row; ones if absent.
        A row of weight 0 is ignored, whatever it holds.
    where : array of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per row, of the dtype of
        `logits`, for "none". The mean over no row is nan (and its gradient zero).

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``optax.losses.poly_loss_cross_entropy(logits, one_hot, epsilon=epsilon)``, row
    by row. 1 - p is exact to a few units in the last place where p is near 1. In torch
    ``torch.nn.functional.cross_entropy(logits, target) + epsilon * (1 - p_y).mean()``.

    References
    ----------
    Z. Leng et al., "PolyLoss: a polynomial expansion perspective of classification loss functions",
    ICLR 2022.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.poly1_cross_entropy([[0.0, 0.0]], [1]), 6)
    1.693147
    """
    operands = {"logits": logits, "target": target}
    parameters = (_check.finite("epsilon", epsilon),)
    return rowwise(
        *("poly1_cross_entropy", operands, (_check.INDICES_OR_ROWS,), parameters),
        *(reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
    )


@loss("probs")
def generalized_cross_entropy(
    probs: ArrayLike,
    target: ArrayLike,
    *,
    q: float = 0.5,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Loss between cross-entropy and mean absolute error, for labels that may be wrong.

    With the target :math:`t`, the one-hot row of a class index or a distribution,

    .. math:: \ell = \sum_c t_c (1 - p_c^q) / q

    Parameters
    ----------
    probs : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Probabilities :math:`p`, taken as they are: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (), (N,) or (N, d1, ...); or
        probabilities :math:`t` of any float dtype, the shape of `probs`.
    q : float, default 0.5
        From above 0, towards cross-entropy, to 1, half the absolute error to the one-hot row.
    sample_weight : array of floats, one per row, optional
        A weight per row; ones if absent.
        A row of weight 0 is ignored, whatever it holds.
    where : array of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per row, of the dtype of
        `probs`, for "none". The mean over no row is nan (and its gradient zero).

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``keras.losses.CategoricalGeneralizedCrossEntropy(q)(target, probs)``. The slope
    at a probability of 0 is infinite unless `q` is 1. In torch
    ``((1 - probs.gather(1, target[:, None]) ** q) / q).mean()``.

    References
    ----------
    Z. Zhang and M. R. Sabuncu, "Generalized cross entropy loss for training deep neural networks
    with noisy labels", NeurIPS 2018.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.generalized_cross_entropy([[0.75, 0.25]], [1])
    1.0
    """
    operands = {"probs": probs, "target": target}
    parameters = (_check.in_range("q", _check.positive("q", q), 0, 1),)
    return rowwise(
        *("generalized_cross_entropy", operands, (_check.INDICES_OR_ROWS,), parameters),
        *(reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
    )


@loss("scores")
def sparsemax_loss(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Sparsemax loss: the counterpart of cross-entropy for sparse probabilities.

    With :math:`p` the sparsemax of the scores :math:`x`, their projection onto the simplex,

    .. math::

        \ell = \frac12 \sum_c \left(x_c^2 - (x_c - p_c)^2\right) - x_y + \frac12,
        \qquad \nabla \ell = p - e_y

    Parameters
    ----------
    scores : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        The scores :math:`x`: float16, bfloat16, float32 or float64.
    target : array of integers, shape (), (N,) or (N, d1, ...)
        Class indices :math:`y` in [0, C).
    sample_weight : array of floats, of the target's shape, optional
        A weight per row; ones if absent.
        A row of weight 0 is ignored, whatever it holds.
    where : array of bools, one per row, optional
        Which rows take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of rows, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the target's shape and the dtype of
        `scores` for "none". The mean over no row is nan (and its gradient zero).

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``optax.losses.multiclass_sparsemax_loss(scores, target)``, row by row; torch has
    none. Nothing is sorted.

    References
    ----------
    A. F. T. Martins and R. F. Astudillo, "From softmax to sparsemax", ICML 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> value, gradient = fl.value_and_grad(fl.sparsemax_loss)([[1.5, 1.0, -1.0]], [1])
    >>> value, gradient.tolist()
    (0.5625, [[0.75, -0.75, 0.0]])
    """
    operands = {"scores": scores, "target": target}
    return rowwise(
        *("sparsemax_loss", operands, (_check.INDICES,), (), reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
    )
