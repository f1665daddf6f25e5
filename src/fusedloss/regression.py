"""Losses of a real-valued prediction."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._loss import Call, loss
from fusedloss._pointwise import pointwise

Reduction = Literal["none", "mean", "sum"]


@loss("input", "target", hessian=True)
def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Squared error: :math:`w (x - t)^2`.

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        A weight :math:`w` per element; ones if absent.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the weights.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the input's dtype for "none". The mean
        over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    Equivalent to ``torch.nn.functional.mse_loss(input, target, weight=weight)``. The difference is
    never an array.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mse_loss([[1.0], [1.0]], [[0.0], [1.0]])
    0.5
    """
    operands = {"input": input, "target": target}
    return pointwise("mse_loss", operands, (), weight, reduction, num_threads, weighted_mean=True)


@loss("input", "target", hessian=True)
def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Huber's loss: a parabola near the target, straight lines beyond.

    .. math::

        \ell = \begin{cases} \frac12 (x - t)^2 & |x - t| \le \delta \\
               \delta (|x - t| - \frac12 \delta) & \text{else} \end{cases}

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    delta : float, default 1
        Where the straight lines begin; positive.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the input's dtype for "none". The mean
        over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    Equivalent to ``torch.nn.functional.huber_loss(input, target, delta=delta, weight=weight)``.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics
    35(1), 1964.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.huber_loss([[0.6], [0.4]], [[0.0], [1.0]]), 6)
    0.18
    """
    operands = {"input": input, "target": target}
    parameters = (_check.positive("delta", delta),)
    return pointwise("huber_loss", operands, parameters, weight, reduction, num_threads)
