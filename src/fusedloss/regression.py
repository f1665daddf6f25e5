"""Losses of a real-valued prediction."""

from __future__ import annotations

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.pointwise import lacks_last_axis, pointwise, variances_of_rows
from fusedloss._types import Call, Reduction

__all__ = [
    "epsilon_insensitive_loss",
    "gamma_loss",
    "gaussian_nll_loss",
    "huber_loss",
    "l1_loss",
    "log_cosh_loss",
    "mape_loss",
    "mse_loss",
    "msle_loss",
    "poisson_nll_loss",
    "pseudo_huber_loss",
    "quantile_loss",
    "smooth_l1_loss",
    "smooth_quantile_loss",
    "tweedie_loss",
]


@loss("input", "target", hessian=True)
def l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    """Absolute error: :math:`w |x - t|`.

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        A weight :math:`w` per element; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the weights.
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
    At :math:`x = t` the subgradient is 0. Equivalent to ``torch.nn.functional.l1_loss(input,
    target, weight=weight)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.l1_loss([[1.0], [1.0]], [[0.0], [0.0]])
    1.0
    """
    operands = {"input": input, "target": target}
    return pointwise(
        "l1_loss", operands, (), weight, reduction, num_threads, where=where, weighted_mean=True
    )


@loss("input", "target", hessian=True)
def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    """Squared error: :math:`w (x - t)^2`.

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        A weight :math:`w` per element; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the weights.
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
    Equivalent to ``torch.nn.functional.mse_loss(input, target, weight=weight)``. The difference is
    never an array.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mse_loss([[1.0], [1.0]], [[0.0], [1.0]])
    0.5
    """
    operands = {"input": input, "target": target}
    return pointwise(
        "mse_loss", operands, (), weight, reduction, num_threads, where=where, weighted_mean=True
    )


@loss("input", "target", hessian=True)
def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    beta: float = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Smooth L1 loss: absolute error, quadratic near the target.

    .. math::

        \ell = \begin{cases} \frac1{2 \beta} (x - t)^2 & |x - t| < \beta \\
               |x - t| - \frac12 \beta & \text{else} \end{cases}

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    beta : float, default 1
        Where the straight lines begin; not negative. 0 gives the `l1_loss`.
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
    It is `huber_loss` with ``delta=beta``, divided by beta. Equivalent to
    ``torch.nn.functional.smooth_l1_loss(input, target, beta=beta)``.

    References
    ----------
    R. Girshick, "Fast R-CNN", ICCV 2015.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.smooth_l1_loss([0.5, 2.0], [0.0, 0.0], beta=1.0)
    0.8125
    """
    operands = {"input": input, "target": target}
    parameters = (_check.not_negative("beta", beta),)
    return pointwise(
        "smooth_l1_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("input", "target", hessian=True)
def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Huber loss: quadratic near the target, linear beyond.

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
    return pointwise(
        "huber_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("input", "target", hessian=True)
def pseudo_huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Smooth form of Huber's loss: a parabola near the target, nearly straight lines far from it.

    .. math:: \ell = \delta^2 \left( \sqrt{1 + \left( (x - t) / \delta \right)^2} - 1 \right)

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    delta : float, default 1
        The slope of the lines, and where the parabola turns into them; positive.
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
    About :math:`(x - t)^2 / 2` near the target and :math:`\delta |x - t| - \delta^2` far from it;
    neither overflows, and near the target no digits are lost. The second derivative is positive
    everywhere.

    Equivalent to ``scipy.special.pseudo_huber(delta, input - target)``, and to XGBoost's
    ``reg:pseudohubererror`` with ``huber_slope=delta``; in torch ``e = (input - target) / delta``
    and ``(delta**2 * ((1 + e**2).sqrt() - 1)).mean()``.

    References
    ----------
    P. Charbonnier, L. Blanc-Féraud, G. Aubert, M. Barlaud, "Deterministic edge-preserving
    regularization in computed imaging", IEEE Transactions on Image Processing 6(2), 1997.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.pseudo_huber_loss([3.0, 1000.0], [3.0, 0.0], reduction="sum"), 4)
    999.0005
    """
    operands = {"input": input, "target": target}
    parameters = (_check.positive("delta", delta),)
    return pointwise(
        "pseudo_huber_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("input", "target", hessian=True)
def log_cosh_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Logarithm of the hyperbolic cosine of the error: :math:`\log \cosh (x - t)`.

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
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
    About :math:`(x - t)^2 / 2` near the target and :math:`|x - t| - \log 2` far from it; neither
    overflows, and near the target no digits are lost.

    Keras' ``log_cosh``; in torch ``e = x - t`` and ``(e + torch.nn.functional.softplus(-2 * e) -
    math.log(2)).mean()``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.log_cosh_loss([1.0, 1000.0], [0.0, 0.0], reduction="sum"), 4)
    999.7406
    """
    operands = {"input": input, "target": target}
    return pointwise("log_cosh_loss", operands, (), weight, reduction, num_threads, where=where)


@loss("input", "target")
def epsilon_insensitive_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    epsilon: float = 0.1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Distance beyond a tolerance: the loss of support vector regression.

    .. math:: \ell = \max(0, |t - x| - \epsilon)

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    epsilon : float, default 0.1
        Errors of this size or less are free; not negative. 0 gives `l1_loss`.
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
    At the edge of the tolerance the subgradient is 0. The loss of scikit-learn's `SGDRegressor` and
    `LinearSVR` of that name; in torch ``((t - x).abs() - epsilon).relu().mean()``.

    References
    ----------
    V. Vapnik, "The Nature of Statistical Learning Theory", Springer, 1995.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.epsilon_insensitive_loss([1.0, 3.0], [1.25, 1.0], epsilon=0.5)
    0.75
    """
    operands = {"input": input, "target": target}
    parameters = (_check.not_negative("epsilon", epsilon),)
    return pointwise(
        "epsilon_insensitive_loss",
        operands,
        parameters,
        weight,
        reduction,
        num_threads,
        where=where,
    )


@loss("input", "target", hessian=True)
def quantile_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    quantile: float = 0.5,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Pinball loss, whose minimum is a quantile of the targets.

    .. math:: \ell = \max(q\, (t - x),\; (q - 1) (t - x))

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    quantile : float in [0, 1], default 0.5
        The quantile :math:`q`; 0.5 gives half the `l1_loss`.
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
    At :math:`x = t` the subgradient is 0. scikit-learn's pinball loss; in torch ``e = t - x`` and
    ``torch.maximum(q * e, (q - 1) * e).mean()``.

    References
    ----------
    R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46(1), 1978.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.quantile_loss([1.0, 1.0], [2.0, 0.0], quantile=0.9, reduction="sum"), 6)
    1.0
    """
    operands = {"input": input, "target": target}
    parameters = (_check.in_range("quantile", quantile, 0, 1),)
    return pointwise(
        "quantile_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("input", "target", hessian=True)
def smooth_quantile_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    quantile: float = 0.5,
    alpha: float = 0.1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Smooth pinball loss, with a second derivative that is positive everywhere.

    .. math:: \ell = q\, (t - x) + \alpha \log \left( 1 + e^{(x - t) / \alpha} \right)

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    quantile : float in [0, 1], default 0.5
        The quantile :math:`q`.
    alpha : float, default 0.1
        How wide the bend around the target is, in units of the target, :math:`\alpha`; positive.
        Towards 0 the loss becomes `quantile_loss`.
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
    More than `quantile_loss` by at most :math:`\alpha \log 2`, which it is at the target. The
    gradient is :math:`\sigma((x - t) / \alpha) - q`, the second derivative
    :math:`\sigma (1 - \sigma) / \alpha`. In torch ``e = target - input`` and
    ``(quantile * e + alpha * torch.nn.functional.softplus(-e / alpha)).mean()``.

    References
    ----------
    S. Zheng, "Gradient descent algorithms for quantile regression with smooth approximation",
    International Journal of Machine Learning and Cybernetics 2, 2011.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.smooth_quantile_loss([1.0, 3.0], [1.0, 1.0], quantile=0.9, reduction="sum"), 4)
    0.2693
    """
    operands = {"input": input, "target": target}
    parameters = (
        _check.in_range("quantile", quantile, 0, 1),
        _check.positive("alpha", alpha),
    )
    return pointwise(
        "smooth_quantile_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("input", "target", hessian=True)
def msle_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Squared logarithmic error: :math:`(\log(1 + x) - \log(1 + t))^2`.

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
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
    Numbers below 1e-7 count as 1e-7; the gradient there is 0. Keras'
    ``mean_squared_logarithmic_error``; in torch ``f = lambda x: x.clamp(min=1e-7).log1p()`` and
    ``mse_loss(f(x), f(t))``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> import math
    >>> round(fl.msle_loss([math.e - 1], [0.0]), 6)
    1.0
    """
    operands = {"input": input, "target": target}
    return pointwise("msle_loss", operands, (), weight, reduction, num_threads, where=where)


@loss("input", "target", hessian=True)
def mape_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Absolute error in percent of the target: :math:`100\, |x - t| / |t|`.

    Parameters
    ----------
    input : array of floats
        The prediction :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
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
    The denominator is no less than 1e-7. At :math:`x = t` the subgradient is 0. Keras'
    ``mean_absolute_percentage_error``; in torch ``100 * ((x - t).abs() /
    t.abs().clamp(min=1e-7)).mean()``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mape_loss([1.5, 8.0], [1.0, 10.0])
    35.0
    """
    operands = {"input": input, "target": target}
    return pointwise("mape_loss", operands, (), weight, reduction, num_threads, where=where)


@loss("input", "target", hessian=True)
def poisson_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Negative log-likelihood of counts under a Poisson distribution.

    .. math::

        \ell &= e^x - t x \\
        \ell &= x - t \log(x + \epsilon) && \text{if log\_input is False}

    Parameters
    ----------
    input : array of floats
        The rate's logarithm :math:`x`, or the rate if `log_input` is False: float16, bfloat16,
        float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    log_input : bool, default True
        Whether `input` is the logarithm of the rate.
    full : bool, default False
        Whether to add Stirling's approximation of :math:`\log t!`, :math:`t \log t - t + \frac12
        \log 2 \pi t`, where :math:`t > 1`.
    eps : float, default 1e-8
        What is added to a rate before its logarithm is taken; not negative.
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
    Without `full`, a constant :math:`\log t!` is left out: scikit-learn's half deviance is this
    loss, less what depends on the target alone. Equivalent to
    ``torch.nn.functional.poisson_nll_loss(input, target, log_input, full, eps=eps)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.poisson_nll_loss([0.0], [3.0])
    1.0
    >>> round(fl.poisson_nll_loss([2.0], [3.0], log_input=False), 4)
    -0.0794
    """
    operands = {"input": input, "target": target}
    of_log = _check.flag("log_input", log_input)
    row = "poisson_nll_loss" if of_log else "poisson_nll_loss_of_rate"
    parameters = (float(_check.flag("full", full)), _check.not_negative("eps", eps))
    return pointwise(row, operands, parameters, weight, reduction, num_threads, where=where)


@loss("input", "target", "var", hessian=True)
def gaussian_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    *,
    full: bool = False,
    eps: float = 1e-6,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Negative log-likelihood under a normal distribution of predicted variance.

    .. math::

        \ell = \frac12 \left(\log v + \frac{(x - t)^2}{v}\right), \quad
        v = \max(\mathrm{var}, \epsilon)

    Parameters
    ----------
    input : array of floats
        The mean :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    var : array of real numbers
        The variance, not negative; values below `eps` count as `eps`. Without the last dimension of
        `input`, it is that of each row, as in torch.
    full : bool, default False
        Whether to add the constant :math:`\frac12 \log 2 \pi`.
    eps : float, default 1e-6
        The least variance; positive.
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
        For shapes that do not broadcast, an option that does not fit, or a negative variance.

    Notes
    -----
    Below `eps` the gradient by the variance is that at `eps`, not 0: it keeps pointing out.
    Equivalent to ``torch.nn.functional.gaussian_nll_loss(input, target, var, full, eps)``, where
    arrays may broadcast.

    References
    ----------
    D. A. Nix, A. S. Weigend, "Estimating the mean and variance of the target probability
    distribution", ICNN 1994.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.gaussian_nll_loss([1.0, 3.0], [0.0, 0.0], [1.0, 1.0])
    2.5
    """
    operands = {"input": input, "target": target, "var": var}
    parameters = (float(_check.flag("full", full)), _check.positive("eps", eps))
    kernel, arguments = pointwise(
        "gaussian_nll_loss", operands, parameters, weight, reduction, num_threads, where=where
    )
    return variances_of_rows if lacks_last_axis("var", var, "input", input) else kernel, arguments


@loss("input", "target", hessian=True)
def gamma_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    """Half the gamma deviance of a mean :math:`e^x`: :math:`x + t e^{-x}`.

    Parameters
    ----------
    input : array of floats
        The logarithm of the mean, :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
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
    What depends on the target alone is left out. scikit-learn's ``HalfGammaLoss``; in torch ``(x +
    t * torch.exp(-x)).mean()``.

    References
    ----------
    P. McCullagh, J. A. Nelder, "Generalized Linear Models", 1989.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.gamma_loss([0.0], [2.0])
    2.0
    """
    operands = {"input": input, "target": target}
    return pointwise("gamma_loss", operands, (), weight, reduction, num_threads, where=where)


@loss("input", "target", hessian=True)
def tweedie_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    power: float = 1.5,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Half the Tweedie deviance of a mean :math:`e^x`.

    .. math:: \ell = \frac{e^{(2 - p) x}}{2 - p} - t\, \frac{e^{(1 - p) x}}{1 - p}

    Its limits at the powers 1 and 2 are `poisson_nll_loss` and `gamma_loss`; at 0 it is
    :math:`\frac12 (t - e^x)^2`.

    Parameters
    ----------
    input : array of floats
        The logarithm of the mean, :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        The target :math:`t`, of any real dtype. The arrays are broadcast against each other.
    power : float, default 1.5
        The power :math:`p` of the mean that the variance grows with: 0 is normal, 1 Poisson, 2
        gamma, 3 inverse Gaussian.
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
    What depends on the target alone is left out, but at the power 0. scikit-learn's
    ``HalfTweedieLoss``; in torch ``(torch.exp((2 - p) * x) / (2 - p) - t * torch.exp((1 - p) * x) /
    (1 - p)).mean()``.

    References
    ----------
    B. Jørgensen, "Exponential dispersion models", Journal of the Royal Statistical Society B
    49(2), 1987.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.tweedie_loss([0.0], [2.0], power=1.5)
    6.0
    """
    power = _check.finite("power", power)
    operands = {"input": input, "target": target}
    row: str = "tweedie_loss"
    parameters: tuple[float, ...] = (power,)
    if power == 0:
        row, parameters = "tweedie_loss_of_power_0", ()
    elif power == 1:
        row, parameters = "poisson_nll_loss", (0.0,)
    elif power == 2:
        row, parameters = "gamma_loss", ()
    return pointwise(row, operands, parameters, weight, reduction, num_threads, where=where)
