"""Divergences between distributions, element by element."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.pointwise import pointwise
from fusedloss._types import Call

__all__ = [
    "generalized_kl_div",
    "js_div",
    "kl_div",
    "total_variation_loss",
]


@loss("log_probs", "target")
def kl_div(
    log_probs: ArrayLike,
    target: ArrayLike,
    *,
    log_target: bool = False,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Kullback-Leibler divergence of a target from log-probabilities.

    .. math:: \ell = p\, (\log p - \log q)

    Parameters
    ----------
    log_probs : array of floats
        Log-probabilities :math:`\log q`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Probabilities :math:`p`, or their logarithms if `log_target`. The arrays are broadcast
        against each other.
    log_target : bool, default False
        Whether `target` holds logarithms of probabilities.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "batchmean", "none"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis, which
        gives the divergence of the rows' distributions.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `log_probs` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    0 where :math:`p = 0`, whatever :math:`q` is. Equivalent to
    ``torch.nn.functional.kl_div(log_probs, target, log_target=log_target)``, whose "mean" warns
    that it is not the mathematical divergence: "batchmean" is.

    References
    ----------
    S. Kullback, R. A. Leibler, "On information and sufficiency", Annals of Mathematical Statistics
    22(1), 1951.

    Examples
    --------
    >>> import fusedloss as fl
    >>> import numpy as np
    >>> round(fl.kl_div(np.log([[0.5, 0.5]]), [[0.25, 0.75]], reduction="batchmean"), 4)
    0.1308
    """
    operands = {"log_probs": log_probs, "target": target}
    row = "kl_div_of_logs" if _check.flag("log_target", log_target) else "kl_div"
    mode, divisor = _check.batch_mean("log_probs", log_probs, reduction)
    return pointwise(row, operands, (), weight, mode, num_threads, where=where, divisor=divisor)


@loss("log_prediction", "target", hessian=True)
def generalized_kl_div(
    log_prediction: ArrayLike,
    target: ArrayLike,
    *,
    log_target: bool = False,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Kullback-Leibler divergence of positive numbers that need not sum to one.

    .. math:: \ell = p\, (\log p - \log q) - p + q

    Every element's loss is at least 0, and 0 only where :math:`q = p`. Summed over distributions it
    is `kl_div`.

    Parameters
    ----------
    log_prediction : array of floats
        Logarithms :math:`\log q` of what is predicted: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Numbers :math:`p` that are not negative, or their logarithms if `log_target`. The arrays are
        broadcast against each other.
    log_target : bool, default False
        Whether `target` holds logarithms.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "batchmean", "none"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis, which
        gives the divergence of the rows.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `log_prediction` for
        "none". The mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    The loss is :math:`q` where :math:`p = 0`. It keeps its digits where :math:`p` and :math:`q` are
    nearly equal. It is half the Poisson deviance, `poisson_nll_loss` less its least value: the
    gradients by :math:`\log q` are the same.

    The sum over an axis is ``optax.losses.generalized_kl_divergence(log_prediction, target)``; in
    torch ``(target.xlogy(target) - target * log_prediction - target + log_prediction.exp())
    .mean()``.

    References
    ----------
    I. Csiszár, "Why least squares and maximum entropy? An axiomatic approach to inference for
    linear inverse problems", Annals of Statistics 19(4), 1991.

    Examples
    --------
    >>> import fusedloss as fl
    >>> import numpy as np
    >>> round(fl.generalized_kl_div(np.log([2.0, 3.0]), [1.0, 3.0], reduction="sum"), 4)
    0.3069
    """
    operands = {"log_prediction": log_prediction, "target": target}
    of_logs = _check.flag("log_target", log_target)
    row = "generalized_kl_div_of_logs" if of_logs else "generalized_kl_div"
    mode, divisor = _check.batch_mean("log_prediction", log_prediction, reduction)
    return pointwise(row, operands, (), weight, mode, num_threads, where=where, divisor=divisor)


@loss("log_probs", "log_target")
def js_div(
    log_probs: ArrayLike,
    log_target: ArrayLike,
    *,
    beta: float = 0.5,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Generalised Jensen-Shannon divergence of log-probabilities.

    .. math::

        \ell = \beta\, p \log \frac{p}{m} + (1 - \beta)\, q \log \frac{q}{m}, \quad
        m = \beta p + (1 - \beta)\, q

    By convention :math:`\beta = 0` is :math:`p \log(p / q)`, as in `kl_div`, and :math:`\beta = 1`
    is :math:`q \log(q / p)`.

    Parameters
    ----------
    log_probs : array of floats
        Log-probabilities :math:`\log q`: float16, bfloat16, float32 or float64.
    log_target : array of real numbers
        The target's, :math:`\log p`. The arrays are broadcast against each other.
    beta : float in [0, 1], default 0.5
        The share of the target, :math:`\beta`.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "batchmean", "none"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis, which
        gives the divergence of the rows' distributions.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `log_probs` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    The mixture's logarithm is counted from the likelier of the two, so that it cannot underflow.
    Liger's ``liger_jsd``; in torch ``m = torch.log(beta * p + (1 - beta) * q)`` and ``(beta * p *
    (p.log() - m) + (1 - beta) * q * (q.log() - m)).mean()``.

    A target here is a distribution, not a class index, and so there is no `ignore_index`: a mask of
    rows, which is broadcast, leaves those of an index out, as in
    ``where=(labels != -100)[:, None]``. "mean" then divides by the elements that are left.

    References
    ----------
    J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
    Theory 37(1), 1991.

    Examples
    --------
    >>> import fusedloss as fl
    >>> import numpy as np
    >>> round(fl.js_div(np.log([0.5, 0.5]), np.log([0.25, 0.75]), reduction="sum"), 4)
    0.0338
    >>> q, p, labels = np.log([[0.5, 0.5]] * 2), np.log([[0.25, 0.75]] * 2), np.array([1, -100])
    >>> round(fl.js_div(q, p, where=(labels != -100)[:, None], reduction="sum"), 4)
    0.0338
    """
    operands = {"log_probs": log_probs, "log_target": log_target}
    parameters = (_check.in_range("beta", beta, 0, 1),)
    mode, divisor = _check.batch_mean("log_probs", log_probs, reduction)
    return pointwise(
        *("js_div", operands, parameters, weight, mode, num_threads), where=where, divisor=divisor
    )


@loss("probs", "target")
def total_variation_loss(
    probs: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Total variation distance: :math:`\frac12 |p - q|`.

    Parameters
    ----------
    probs : array of floats
        Probabilities :math:`q`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target's, :math:`p`. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "batchmean", "none"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis, which
        gives the divergence of the rows' distributions.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `probs` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    Summed over a distribution's elements it is the largest difference of the probabilities of any
    event. At :math:`p = q` the subgradient is 0. In torch ``0.5 * (probs - target).abs().mean()``.

    A target here is a distribution, not a class index, and so there is no `ignore_index`: a mask of
    rows, which is broadcast, leaves those of an index out, as in
    ``where=(labels != -100)[:, None]``. "mean" then divides by the elements that are left.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.total_variation_loss([0.5, 0.5], [0.25, 0.75], reduction="sum")
    0.25
    """
    operands = {"probs": probs, "target": target}
    row = "total_variation_loss"
    mode, divisor = _check.batch_mean("probs", probs, reduction)
    return pointwise(row, operands, (), weight, mode, num_threads, where=where, divisor=divisor)
