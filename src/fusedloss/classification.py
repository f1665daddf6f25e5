"""Classification losses, row by row, and the softmax helpers."""

from __future__ import annotations

from typing import Any, Literal

from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._loss import Call, loss

Reduction = Literal["none", "mean", "sum"]


@loss("logits")
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    num_threads: int | None = None,
) -> Call:
    r"""Softmax cross-entropy between logits and class indices or probabilities.

    With :math:`p = \mathrm{softmax}(z)` over :math:`C` classes, class weights :math:`w`, label
    smoothing :math:`\epsilon`, and a class index :math:`y` or probabilities :math:`t` as target,

    .. math::

        \ell &= -(1 - \epsilon)\, w_y \log p_y - \frac{\epsilon}{C} \sum_c w_c \log p_c \\
        \ell &= -\sum_c w_c \left((1 - \epsilon)\, t_c + \frac{\epsilon}{C}\right) \log p_c

    Parameters
    ----------
    logits : array of float32 or float64, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities. -inf rules a class out.
    target : array
        Class indices in [0, C): any integer dtype, shape (), (N,) or (N, d1, ...); or
        probabilities: float32 or float64, the shape of `logits`. They need not sum to 1.
    weight : array of floats, shape (C,), optional
        A weight per class; ones if absent.
    ignore_index : int, default -100
        Positions whose class index equals it count nothing, and their gradient is zero.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the class weights of the positions that count, or, for
        probabilities, by the number of positions.
    label_smoothing : float in [0, 1], default 0
        The share of each target that is spread evenly over the classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the logits' dtype and the positions'
        shape for "none". The mean over no position is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For a class index that is out of range and not `ignore_index`.

    See Also
    --------
    value_and_grad : the gradient in the same pass.

    Notes
    -----
    No array of the logits' size is made: no log-probabilities, no one-hot targets, no permuted
    copy of (N, C, d1, ...). Sums over positions are kept in float64. The loss of a confident row
    and its gradient are right to a few ULP, because 1 - p is never formed by subtraction. A NaN
    or +inf in a row, or a row of -inf, makes the loss and gradient of that row nan, unless it is
    ignored. A zero probability counts nothing, even against a logit of -inf.

    The same in torch: ``torch.nn.functional.cross_entropy``.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016
       (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> logits = np.array([[0.8, 0.5, 0.2, 0.5], [0.2, 0.9, 0.3, 0.2]])
    >>> round(fl.cross_entropy(logits, np.array([0, 1])), 4)
    1.0208
    >>> fl.cross_entropy(logits, np.eye(4)[:2], reduction="none").round(4)
    array([1.1087, 0.9329])
    """
    return _core.softmax, (
        _core.CROSS_ENTROPY,
        logits,
        target,
        weight,
        ignore_index,
        label_smoothing,
        reduction,
        None,
        num_threads,
    )


# ---- The softmax helpers ----------------------------------------------------------------------


def _family(
    kind: int,
    logits: Any,
    target: Any,
    reduction: Reduction,
    axis: int,
    num_threads: int | None,
    gradient: bool,
    grad_output: Any,
    out: Any,
) -> Any:
    """Call the kernel of the softmax family without the options of cross-entropy."""
    options = (None, -100, 0.0, reduction, axis, num_threads)
    return _core.softmax(kind, logits, target, *options, gradient, grad_output, out)


def _logsumexp(
    logits: Any,
    axis: int,
    num_threads: int | None,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    return _family(
        _core.LOGSUMEXP, logits, None, "none", axis, num_threads, gradient, grad_output, out
    )


def _log_softmax(
    logits: Any,
    axis: int,
    num_threads: int | None,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    _, value = _family(_core.LOG_SOFTMAX, logits, None, "sum", axis, num_threads, True, None, None)
    if not gradient:
        return value
    # g - p sum(g) is the gradient of -sum(g log p): that of cross-entropy against -g.
    cotangent = _check.cotangent(grad_output, value, out)
    kind = _core.PROBABILITY_TARGET
    return value, _family(kind, logits, cotangent, "sum", axis, num_threads, True, -1.0, out)[1]


def _softmax(
    logits: Any,
    axis: int,
    num_threads: int | None,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    # The softmax is the gradient of the log-sum-exp.
    _, value = _family(_core.LOGSUMEXP, logits, None, "sum", axis, num_threads, True, None, None)
    if not gradient:
        return value
    # p (g - sum(g p)) is the gradient of sum(g p log p), p g being held fixed.
    cotangent = value * _check.cotangent(grad_output, value, out)
    kind = _core.PROBABILITY_TARGET
    return value, _family(kind, logits, cotangent, "sum", axis, num_threads, True, -1.0, out)[1]


@loss("logits", returns="np.ndarray")
def softmax(logits: ArrayLike, *, axis: int = -1, num_threads: int | None = None) -> Call:
    r"""Softmax along one axis: :math:`p_c = e^{z_c} / \sum_k e^{z_k}`.

    Parameters
    ----------
    logits : array of float32 or float64
        Any shape of at least one dimension.
    axis : int, default -1
        The axis along which the probabilities sum to 1.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    array
        Of the shape and dtype of `logits`.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For an axis that is out of range, or of length 0.

    Notes
    -----
    Differentiable by `value_and_grad`. The same in torch: ``torch.softmax(logits, dim)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.softmax([0.0, 0.0])
    array([0.5, 0.5])
    """
    return _softmax, (logits, axis, num_threads)


@loss("logits", returns="np.ndarray")
def log_softmax(logits: ArrayLike, *, axis: int = -1, num_threads: int | None = None) -> Call:
    r"""Logarithm of the softmax along one axis: :math:`z_c - \log \sum_k e^{z_k}`.

    Parameters
    ----------
    logits : array of float32 or float64
        Any shape of at least one dimension.
    axis : int, default -1
        The axis along which the probabilities sum to 1.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    array
        Of the shape and dtype of `logits`.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For an axis that is out of range, or of length 0.

    Notes
    -----
    Differentiable by `value_and_grad`. The same in torch: ``torch.log_softmax(logits, dim)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.log_softmax([0.0, 0.0]).round(4)
    array([-0.6931, -0.6931])
    """
    return _log_softmax, (logits, axis, num_threads)


@loss("logits", returns="np.ndarray")
def logsumexp(logits: ArrayLike, *, axis: int = -1, num_threads: int | None = None) -> Call:
    r"""Logarithm of the sum of exponentials along one axis: :math:`\log \sum_k e^{z_k}`.

    Parameters
    ----------
    logits : array of float32 or float64
        Any shape of at least one dimension.
    axis : int, default -1
        The axis that is summed over.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    array
        Of the dtype of `logits`, without that axis.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For an axis that is out of range, or of length 0.

    Notes
    -----
    Differentiable by `value_and_grad`; its gradient is the softmax. The same in torch:
    ``torch.logsumexp(logits, dim)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.logsumexp([[0.0, 0.0], [1.0, 1.0]]).round(4)
    array([0.6931, 1.6931])
    """
    return _logsumexp, (logits, axis, num_threads)
