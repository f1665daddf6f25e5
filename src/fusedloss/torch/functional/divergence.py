"""Divergences between distributions, element by element."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fusedloss import divergence
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import fused
from fusedloss.torch._pointwise import Pointwise, masked_loss, own_loss

__all__ = [
    "generalized_kl_div",
    "js_div",
    "kl_div",
    "total_variation_loss",
]

_NOTHING = torch.empty(0)


# ---- Losses of torch -----------------------------------------------------------------------------


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    where: Tensor | None = None,
) -> Tensor:
    """Kullback-Leibler divergence: `torch.nn.functional.kl_div`.

    Parameters
    ----------
    input, target, size_average, reduce, reduction, log_target
        As in `torch.nn.functional.kl_div`.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.

    Returns
    -------
    Tensor
        The loss, differentiable in `input` and `target`.

    See Also
    --------
    fusedloss.kl_div : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> log_probs = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    >>> F.kl_div(log_probs, torch.tensor([[1.0, 0.0], [0.5, 0.5]]), reduction="batchmean")
    tensor(0.6020)
    """
    if where is not None:
        rows = max(1, input.shape[0] if input.dim() else 1) if reduction == "batchmean" else 1
        legacy = (size_average, reduce, "sum" if reduction == "batchmean" else reduction)
        value = masked_loss(
            divergence.kl_div,
            functional.kl_div,
            (input, target),
            None,
            legacy,
            where,
            log_target=log_target,
        )
        return value / rows if reduction == "batchmean" else value
    if not is_compiling() and size_average is None and reduce is None and type(log_target) is bool:
        rows = 0
        if reduction == "batchmean" and isinstance(input, Tensor):
            rows = input.shape[0] if input.dim() else 1
        call = Pointwise(
            "kl_div_of_logs" if log_target else "kl_div",
            lambda x, t, _: functional.kl_div(x, t, reduction=reduction, log_target=log_target),
            "sum" if rows else reduction,
            divisor=rows,
            whole=2,
        )
        loss: Tensor | None = fused(call, input, target, None)
        if loss is not None:
            if reduction == "mean":
                functional.kl_div(_NOTHING, _NOTHING)  # warns of that reduction, as torch does
            return loss
    return functional.kl_div(input, target, size_average, reduce, reduction, log_target)


# ---- Losses of this package ----------------------------------------------------------------------


def js_div(
    log_probs: Tensor,
    log_target: Tensor,
    *,
    beta: float = 0.5,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
) -> Tensor:
    """Generalised Jensen-Shannon divergence; `fusedloss.js_div`.

    Parameters
    ----------
    log_probs : Tensor of floats
        The log-probabilities of Q.
    log_target : Tensor, broadcastable to `log_probs`
        Those of P.
    beta : float in [0, 1], default 0.5
        The weight of P; 0 gives KL(P, Q) and 1 KL(Q, P).
    weight : Tensor, broadcastable to `log_probs`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "batchmean", "none"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis.

    Returns
    -------
    Tensor
        beta P log(P / M) + (1 - beta) Q log(Q / M) with M = beta P + (1 - beta) Q, of the
        dtype of `log_probs`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.js_div(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.9, 0.1]).log(), reduction="sum")
    tensor(0.1017)
    """
    return own_loss(
        divergence.js_div,
        _jensen_shannon,
        (log_probs, log_target),
        weight,
        reduction,
        where,
        beta=beta,
    )


def _jensen_shannon(x: Tensor, t: Tensor, beta: float) -> Tensor:
    if beta == 0:
        return _expected(t, t - x)
    if beta == 1:
        return _expected(x, x - t)
    log_m = torch.logaddexp(t + math.log(beta), x + math.log(1 - beta))
    return beta * _expected(t, t - log_m) + (1 - beta) * _expected(x, x - log_m)


def _expected(log_p: Tensor, ratio: Tensor) -> Tensor:
    """Multiply probabilities by logarithms; 0 where a probability is."""
    p = log_p.exp()
    return p * ratio.masked_fill(p == 0, 0)


def generalized_kl_div(
    log_prediction: Tensor,
    target: Tensor,
    *,
    log_target: bool = False,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
) -> Tensor:
    """Kullback-Leibler divergence of positive numbers; `fusedloss.generalized_kl_div`.

    Parameters
    ----------
    log_prediction : Tensor of floats
        The logarithms of what is predicted, q.
    target : Tensor, broadcastable to `log_prediction`
        The target p, no number of it negative; its logarithms if `log_target`.
    log_target : bool, default False
        Whether `target` holds logarithms.
    weight : Tensor, broadcastable to `log_prediction`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "batchmean", "none"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis.

    Returns
    -------
    Tensor
        p log(p / q) - p + q, of the dtype of `log_prediction`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> log_prediction = torch.tensor([2.0, 3.0]).log()
    >>> F.generalized_kl_div(log_prediction, torch.tensor([1.0, 3.0]), reduction="sum")
    tensor(0.3069)
    """
    return own_loss(
        divergence.generalized_kl_div,
        _generalized_kullback_leibler,
        (log_prediction, target),
        weight,
        reduction,
        where,
        log_target=log_target,
    )


def _generalized_kullback_leibler(x: Tensor, t: Tensor, log_target: bool) -> Tensor:
    """Return p (exp d - 1 - d), d = x - log p; where d is large, exp x in place of p exp d."""
    p = t.exp() if log_target else t
    none = p == 0
    log_p = t if log_target else t.masked_fill(none, 1).log()
    entropy = p * t.masked_fill(none, 0) if log_target else torch.xlogy(t, t)
    d = (x - log_p).masked_fill(none, 1)
    near = d.abs() < 0.5
    small = d.masked_fill(~near, 0)
    far = x.exp() - p + entropy - p * x.masked_fill(none, 0)
    return torch.where(near, p * (small.expm1() - small), far)


def total_variation_loss(
    probs: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
) -> Tensor:
    """Total variation distance; `fusedloss.total_variation_loss`.

    Parameters
    ----------
    probs : Tensor of floats
        The probabilities q.
    target : Tensor, broadcastable to `probs`
        Those of the target, p.
    weight : Tensor, broadcastable to `probs`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "batchmean", "none"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis.

    Returns
    -------
    Tensor
        abs(p - q) / 2, of the dtype of `probs`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.total_variation_loss(torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1]), reduction="sum")
    tensor(0.4000)
    """
    return own_loss(
        divergence.total_variation_loss, _half_absolute, (probs, target), weight, reduction, where
    )


def _half_absolute(q: Tensor, p: Tensor) -> Tensor:
    return 0.5 * (p - q).abs()
