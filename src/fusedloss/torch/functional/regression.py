"""Losses of a real-valued prediction."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fusedloss import _check, regression
from fusedloss._types import Reduction
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import as_autocast, expect_tensors, fused
from fusedloss.torch._operators.calls import readable
from fusedloss.torch._pointwise import Pointwise, masked_loss, own_loss, reduced
from fusedloss.torch.functional._recognition import (
    is_number,
)

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

#: Numbers whose logarithms are taken, or that are divided by, are no less (as in Keras).
EPSILON = 1e-7


# ---- Losses of torch -----------------------------------------------------------------------------


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Absolute error: `torch.nn.functional.l1_loss`.

    Parameters
    ----------
    input, target, size_average, reduce, reduction, weight
        As in `torch.nn.functional.l1_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.l1_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.l1_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(1.5000)
    """
    if where is not None:
        return masked_loss(
            regression.l1_loss,
            functional.l1_loss,
            (input, target),
            weight,
            (size_average, reduce, reduction),
            where,
        )
    if not is_compiling() and size_average is None and reduce is None:
        call = Pointwise(
            "l1_loss",
            lambda x, t, w: functional.l1_loss(x, t, reduction=reduction, weight=w),  # type: ignore[call-arg]
            reduction,
            weighted_mean=True,
            whole=3,
        )
        loss: Tensor | None = fused(call, input, target, weight)
        if loss is not None:
            return loss
    return functional.l1_loss(input, target, size_average, reduce, reduction, weight)  # type: ignore[call-arg]


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Squared error: `torch.nn.functional.mse_loss`.

    Parameters
    ----------
    input, target, size_average, reduce, reduction, weight
        As in `torch.nn.functional.mse_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.mse_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.mse_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(2.5000)
    """
    if where is not None:
        return masked_loss(
            regression.mse_loss,
            functional.mse_loss,
            (input, target),
            weight,
            (size_average, reduce, reduction),
            where,
        )
    if not is_compiling() and size_average is None and reduce is None:
        call = Pointwise(
            "mse_loss",
            lambda x, t, w: functional.mse_loss(x, t, reduction=reduction, weight=w),  # type: ignore[call-arg]
            reduction,
            weighted_mean=True,
            whole=3,
        )
        loss: Tensor | None = fused(call, input, target, weight)
        if loss is not None:
            return loss
    return functional.mse_loss(input, target, size_average, reduce, reduction, weight)  # type: ignore[call-arg]


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Squared error near the target, absolute beyond: `torch.nn.functional.smooth_l1_loss`.

    Parameters
    ----------
    input, target, size_average, reduce, reduction, beta
        As in `torch.nn.functional.smooth_l1_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.smooth_l1_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.smooth_l1_loss(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.8125)
    """
    if where is not None:
        return masked_loss(
            regression.smooth_l1_loss,
            functional.smooth_l1_loss,
            (input, target),
            None,
            (size_average, reduce, reduction),
            where,
            beta=beta,
        )
    if (
        not is_compiling()
        and size_average is None
        and reduce is None
        and is_number(beta)
        and beta >= 0
    ):
        call = Pointwise(
            "smooth_l1_loss",
            lambda x, t, _: functional.smooth_l1_loss(x, t, reduction=reduction, beta=beta),
            reduction,
            (beta,),
            whole=2,
        )
        loss: Tensor | None = fused(call, input, target, None)
        if loss is not None:
            return loss
    return functional.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Huber's loss: `torch.nn.functional.huber_loss`.

    Parameters
    ----------
    input, target, reduction, delta, weight
        As in `torch.nn.functional.huber_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.huber_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.huber_loss(torch.tensor([0.6, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.8400)
    """
    if where is not None:
        return masked_loss(
            regression.huber_loss,
            functional.huber_loss,
            (input, target),
            weight,
            (None, None, reduction),
            where,
            delta=delta,
        )
    if not is_compiling() and is_number(delta) and delta > 0:
        call = Pointwise(
            "huber_loss",
            lambda x, t, w: functional.huber_loss(x, t, reduction, delta, w),  # type: ignore[call-arg]
            reduction,
            (delta,),
            whole=3,
        )
        loss: Tensor | None = fused(call, input, target, weight)
        if loss is not None:
            return loss
    return functional.huber_loss(input, target, reduction, delta, weight)  # type: ignore[call-arg]


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of counts: `torch.nn.functional.poisson_nll_loss`.

    Parameters
    ----------
    input, target, log_input, full, size_average, eps, reduce, reduction
        As in `torch.nn.functional.poisson_nll_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.poisson_nll_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.poisson_nll_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor(0.8591)
    """
    if where is not None:
        return masked_loss(
            regression.poisson_nll_loss,
            functional.poisson_nll_loss,
            (input, target),
            None,
            (size_average, reduce, reduction),
            where,
            log_input=log_input,
            full=full,
            eps=eps,
        )
    if (
        not is_compiling()
        and size_average is None
        and reduce is None
        and type(log_input) is bool
        and type(full) is bool
        and is_number(eps)
    ):
        call = Pointwise(
            "poisson_nll_loss" if log_input else "poisson_nll_loss_of_rate",
            lambda x, t, _: functional.poisson_nll_loss(
                x, t, log_input, full, eps=eps, reduction=reduction
            ),
            reduction,
            (full, eps),
            whole=2,
        )
        loss: Tensor | None = fused(call, input, target, None)
        if loss is not None:
            return loss
    return functional.poisson_nll_loss(
        input, target, log_input, full, size_average, eps, reduce, reduction
    )


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of a normal density: `torch.nn.functional.gaussian_nll_loss`.

    Parameters
    ----------
    input, target, var, full, eps, reduction
        As in `torch.nn.functional.gaussian_nll_loss`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input`, `target` and `var`.

    See Also
    --------
    fusedloss.gaussian_nll_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.gaussian_nll_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]), torch.ones(2))
    tensor(1.2500)
    """
    if where is not None:
        expect_tensors(var)
        of_rows = isinstance(var, Tensor) and var.shape == input.shape[:-1] != input.shape
        variances = cast("Tensor", var).unsqueeze(-1) if of_rows else cast("Tensor", var)
        return masked_loss(
            regression.gaussian_nll_loss,
            functional.gaussian_nll_loss,
            (input, target, variances),
            None,
            (None, None, reduction),
            where,
            full=full,
            eps=eps,
        )
    input, target, var = as_autocast(input, target, var)  # torch's own stays in 16 bits
    if not is_compiling() and is_number(eps):
        call = Pointwise(
            "gaussian_nll_loss",
            lambda x, t, v, _: functional.gaussian_nll_loss(x, t, v, full, eps, reduction),
            reduction,
            (bool(full), eps),
            differentiable=3,
            whole=3,
        )
        loss: Tensor | None = fused(call, input, target, var, None)
        if loss is not None:
            return loss
    if isinstance(var, Tensor) and not readable(var) and is_number(eps):
        return _gaussian(input, target, var, full, eps, reduction)
    return functional.gaussian_nll_loss(input, target, var, full, eps, reduction)


def _gaussian(x: Tensor, t: Tensor, var: Tensor, full: bool, eps: float, reduction: str) -> Tensor:
    """Compute torch's formula of the Gaussian loss, whose variances are looked at when it runs."""
    torch._assert_async(~(var < 0).any(), "var has negative entry/entries")
    if var.shape != x.shape:
        if var.shape == x.shape[:-1]:
            var = var.unsqueeze(-1)
        elif (
            var.dim() != x.dim()
            or sum(n for m, n in zip(x.shape, var.shape, strict=True) if m != n) != 1
        ):
            raise ValueError("var is of incorrect size")
    _check.reduction(reduction)
    var = var.clone()
    with torch.no_grad():  # a variance that is clamped has the gradient of one that is not
        var.clamp_(min=eps)
    losses = 0.5 * (torch.log(var) + (x - t) ** 2 / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, None, reduction)


# ---- Losses of this package ----------------------------------------------------------------------


def log_cosh_loss(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Logarithm of the hyperbolic cosine of the error; `fusedloss.log_cosh_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The prediction x.
    target : Tensor, broadcastable to `input`
        The target t.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        log cosh(x - t), of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.log_cosh_loss(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.7226)
    """
    return own_loss(regression.log_cosh_loss, _log_cosh, (input, target), weight, reduction, where)


def _log_cosh(x: Tensor, t: Tensor) -> Tensor:
    e = x - t  # and not its absolute value, whose slope at 0 is torch's 0 twice
    return e - functional.logsigmoid(2 * e) - math.log(2)


def pseudo_huber_loss(
    input: Tensor,
    target: Tensor,
    *,
    delta: float = 1.0,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Smooth form of Huber's loss; `fusedloss.pseudo_huber_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The prediction x.
    target : Tensor, broadcastable to `input`
        The target t.
    delta : float, default 1
        The slope far from the target; positive.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        delta^2 (sqrt(1 + ((x - t) / delta)^2) - 1), of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.pseudo_huber_loss(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.6771)
    """
    return own_loss(
        regression.pseudo_huber_loss,
        _pseudo_huber,
        (input, target),
        weight,
        reduction,
        where,
        delta=delta,
    )


def _pseudo_huber(x: Tensor, t: Tensor, delta: float) -> Tensor:
    e = x - t
    return e * e / (1 + (1 + (e / delta) ** 2).sqrt())


def smooth_quantile_loss(
    input: Tensor,
    target: Tensor,
    *,
    quantile: float = 0.5,
    alpha: float = 0.1,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Smooth pinball loss, which bends at the target; `fusedloss.smooth_quantile_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The prediction x.
    target : Tensor, broadcastable to `input`
        The target t.
    quantile : float in [0, 1], default 0.5
        q.
    alpha : float, default 0.1
        How wide the bend around the target is; positive.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        q (t - x) + alpha log(1 + exp((x - t) / alpha)), of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.smooth_quantile_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), quantile=0.9)
    tensor(0.1347)
    """
    return own_loss(
        regression.smooth_quantile_loss,
        _smooth_quantile,
        (input, target),
        weight,
        reduction,
        where,
        quantile=quantile,
        alpha=alpha,
    )


def _smooth_quantile(x: Tensor, t: Tensor, quantile: float, alpha: float) -> Tensor:
    z = (x - t) / alpha
    bend = functional.binary_cross_entropy_with_logits(z, torch.zeros_like(z), reduction="none")
    return quantile * (t - x) + alpha * bend  # log(1 + exp(z)), a cross-entropy


def epsilon_insensitive_loss(
    input: Tensor,
    target: Tensor,
    *,
    epsilon: float = 0.1,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Distance beyond a tolerance; `fusedloss.epsilon_insensitive_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The prediction x.
    target : Tensor, broadcastable to `input`
        The target t.
    epsilon : float, default 0.1
        Errors of this size or less are free; not negative.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        max(0, \|t - x\| - epsilon), of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.epsilon_insensitive_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.25, 1.0]), epsilon=0.5)
    tensor(0.7500)
    """
    return own_loss(
        regression.epsilon_insensitive_loss,
        _epsilon_insensitive,
        (input, target),
        weight,
        reduction,
        where,
        epsilon=epsilon,
    )


def _epsilon_insensitive(x: Tensor, t: Tensor, epsilon: float) -> Tensor:
    return ((t - x).abs() - epsilon).relu()


def quantile_loss(
    input: Tensor,
    target: Tensor,
    *,
    quantile: float = 0.5,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pinball loss, least where the input is a quantile of the target; `fusedloss.quantile_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The prediction x.
    target : Tensor, broadcastable to `input`
        The target t.
    quantile : float in [0, 1], default 0.5
        q.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        q max(0, t - x) + (1 - q) max(0, x - t), of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.quantile_loss(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0]), quantile=0.75)
    tensor(0.6250)
    """
    return own_loss(
        regression.quantile_loss,
        _pinball,
        (input, target),
        weight,
        reduction,
        where,
        quantile=quantile,
    )


def _pinball(x: Tensor, t: Tensor, quantile: float) -> Tensor:
    return quantile * (t - x).relu() + (1 - quantile) * (x - t).relu()


def msle_loss(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Squared error of logarithms; `fusedloss.msle_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The prediction x.
    target : Tensor, broadcastable to `input`
        The target t.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        (log(1 + x) - log(1 + t))^2, of the dtype of `input`; x and t are no less than 1e-7.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.msle_loss(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(0.4805)
    """
    return own_loss(
        regression.msle_loss, _squared_logarithmic, (input, target), weight, reduction, where
    )


def _squared_logarithmic(x: Tensor, t: Tensor) -> Tensor:
    return (x.clamp_min(EPSILON).log1p() - t.clamp_min(EPSILON).log1p()).square()


def mape_loss(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Absolute error in percent of the target; `fusedloss.mape_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The prediction x.
    target : Tensor, broadcastable to `input`
        The target t.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        ``100 |x - t| / max(|t|, 1e-7)``, of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.mape_loss(torch.tensor([1.5, 3.0]), torch.tensor([1.0, 4.0]))
    tensor(37.5000)
    """
    return own_loss(
        regression.mape_loss, _absolute_percentage, (input, target), weight, reduction, where
    )


def _absolute_percentage(x: Tensor, t: Tensor) -> Tensor:
    return 100 * (x - t).abs() / t.abs().clamp_min(EPSILON)


def gamma_loss(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Half the gamma deviance, but for a constant; `fusedloss.gamma_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The logarithm x of the predicted mean.
    target : Tensor, broadcastable to `input`
        The target t, positive.
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        x + t exp(-x), of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.gamma_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor(1.3679)
    """
    return own_loss(regression.gamma_loss, _gamma, (input, target), weight, reduction, where)


def _gamma(x: Tensor, t: Tensor) -> Tensor:
    return x + t * (-x).exp()


def tweedie_loss(
    input: Tensor,
    target: Tensor,
    *,
    power: float = 1.5,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Half the Tweedie deviance, but for a constant; `fusedloss.tweedie_loss`.

    Parameters
    ----------
    input : Tensor of floats
        The logarithm x of the predicted mean.
    target : Tensor, broadcastable to `input`
        The target t, not negative, and positive for powers from 2.
    power : float, default 1.5
        p; 1 is Poisson's deviance, 2 the gamma deviance, and 0 half the squared error of exp(x).
    weight : Tensor, broadcastable to `input`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        exp((2 - p) x) / (2 - p) - t exp((1 - p) x) / (1 - p), of the dtype of `input`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.tweedie_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor(4.8618)
    """
    return own_loss(
        regression.tweedie_loss, _tweedie, (input, target), weight, reduction, where, power=power
    )


def _tweedie(x: Tensor, t: Tensor, power: float) -> Tensor:
    if power == 0:
        return 0.5 * (x.exp() - t).square()
    if power == 1:
        return x.exp() - t * x
    if power == 2:
        return _gamma(x, t)
    return ((2 - power) * x).exp() / (2 - power) - t * ((1 - power) * x).exp() / (1 - power)
