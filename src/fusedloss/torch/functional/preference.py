"""Losses that train policies: of preferred answers, and of answers with rewards."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from fusedloss import _check, preference
from fusedloss._lower.policy import ratio_options
from fusedloss._types import Reduction
from fusedloss.torch._autograd import (
    evaluate,
    expect_arguments,
    expect_mask,
    expect_tensors,
)
from fusedloss.torch._pointwise import Pointwise, numbers, own_loss

__all__ = [
    "cpo_loss",
    "dpo_loss",
    "grpo_loss",
    "ipo_loss",
    "kto_loss",
    "orpo_loss",
    "simpo_loss",
]


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of direct preference optimisation; `fusedloss.dpo_loss`.

    Parameters
    ----------
    policy_chosen : Tensor of floats
        Log-probabilities of the chosen answers by the policy, summed over tokens.
    policy_rejected : Tensor, broadcastable to `policy_chosen`
        The same of the rejected answers.
    reference_chosen, reference_rejected : Tensor, broadcastable to `policy_chosen`
        The same by the reference model.
    beta : float, default 0.1
        How closely the policy keeps to the reference; positive.
    weight : Tensor, broadcastable to `policy_chosen`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        -log sigmoid(beta ((pc - pr) - (rc - rr))), of the dtype of `policy_chosen`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> chosen, rejected = torch.tensor([-10.0]), torch.tensor([-15.0])
    >>> F.dpo_loss(chosen, rejected, torch.tensor([-11.0]), torch.tensor([-14.0]))
    tensor(0.5981)
    """
    operands = (policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return own_loss(preference.dpo_loss, _dpo, operands, weight, reduction, where, beta=beta)


def ipo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of identity preference optimisation; `fusedloss.ipo_loss`.

    Parameters
    ----------
    policy_chosen : Tensor of floats
        Log-probabilities of the chosen answers by the policy, averaged over tokens.
    policy_rejected : Tensor, broadcastable to `policy_chosen`
        The same of the rejected answers.
    reference_chosen, reference_rejected : Tensor, broadcastable to `policy_chosen`
        The same by the reference model.
    beta : float, default 0.1
        The margin's inverse, but for a factor of 2; positive.
    weight : Tensor, broadcastable to `policy_chosen`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        ((pc - pr) - (rc - rr) - 1 / (2 beta))^2, of the dtype of `policy_chosen`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> chosen, rejected = torch.tensor([-1.0]), torch.tensor([-3.0])
    >>> F.ipo_loss(chosen, rejected, torch.tensor([-2.0]), torch.tensor([-2.0]), beta=0.5)
    tensor(1.)
    """
    operands = (policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return own_loss(preference.ipo_loss, _ipo, operands, weight, reduction, where, beta=beta)


def simpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of simple preference optimisation; `fusedloss.simpo_loss`.

    Parameters
    ----------
    policy_chosen : Tensor of floats
        Log-probabilities of the chosen answers by the policy, averaged over tokens.
    policy_rejected : Tensor, broadcastable to `policy_chosen`
        The same of the rejected answers.
    beta : float, default 2
        What the difference is multiplied by; positive.
    gamma : float, default 1
        The margin, after that multiplication.
    weight : Tensor, broadcastable to `policy_chosen`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        -log sigmoid(beta (pc - pr) - gamma), of the dtype of `policy_chosen`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.simpo_loss(torch.tensor([-0.5, -1.0]), torch.tensor([-1.5, -1.0]))
    tensor(0.8133)
    """
    operands = (policy_chosen, policy_rejected)
    return own_loss(
        preference.simpo_loss, _simpo, operands, weight, reduction, where, beta=beta, gamma=gamma
    )


def cpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    *,
    beta: float = 0.1,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of contrastive preference optimisation; `fusedloss.cpo_loss`.

    Parameters
    ----------
    policy_chosen : Tensor of floats
        Log-probabilities of the chosen answers by the policy, summed over tokens.
    policy_rejected : Tensor, broadcastable to `policy_chosen`
        The same of the rejected answers.
    beta : float, default 0.1
        What the difference is multiplied by; positive.
    weight : Tensor, broadcastable to `policy_chosen`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        -log sigmoid(beta (pc - pr)), of the dtype of `policy_chosen`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.cpo_loss(torch.tensor([-10.0]), torch.tensor([-30.0]))
    tensor(0.1269)
    """
    operands = (policy_chosen, policy_rejected)
    return own_loss(preference.cpo_loss, _simpo, operands, weight, reduction, where, beta=beta)


def orpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    *,
    beta: float = 0.1,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of odds-ratio preference optimisation; `fusedloss.orpo_loss`.

    Parameters
    ----------
    policy_chosen : Tensor of floats
        Log-probabilities of the chosen answers by the policy, averaged over tokens.
    policy_rejected : Tensor, broadcastable to `policy_chosen`
        The same of the rejected answers.
    beta : float, default 0.1
        What the term is multiplied by; positive.
    weight : Tensor, broadcastable to `policy_chosen`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        -beta log sigmoid of the difference of the log odds, of the dtype of `policy_chosen`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.orpo_loss(torch.tensor([-0.5]), torch.tensor([-1.5]), beta=1.0)
    tensor(0.1709)
    """
    operands = (policy_chosen, policy_rejected)
    return own_loss(preference.orpo_loss, _orpo, operands, weight, reduction, where, beta=beta)


def kto_loss(
    policy: Tensor,
    reference: Tensor,
    desirable: Tensor,
    *,
    beta: float = 0.1,
    kl: float = 0.0,
    weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss of Kahneman-Tversky optimisation; `fusedloss.kto_loss`.

    Parameters
    ----------
    policy : Tensor of floats
        Log-probabilities of the answers by the policy, summed over tokens.
    reference : Tensor, broadcastable to `policy`
        The same by the reference model.
    desirable : Tensor of bools, broadcastable to `policy`
        Which answers are desirable.
    beta : float, default 0.1
        How closely the policy keeps to the reference; positive.
    kl : float, default 0
        The divergence that gains and losses are seen from; not negative.
    weight : Tensor, broadcastable to `policy`, optional
        What the loss of each element is multiplied by; ones if absent.
    where : Tensor of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        1 - sigmoid(z) where desirable, else sigmoid(z), z = beta (p - r - kl),
        of the dtype of `policy`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> policy, reference = torch.tensor([-10.0, -20.0]), torch.tensor([-12.0, -18.0])
    >>> F.kto_loss(policy, reference, torch.tensor([True, False]), beta=0.5)
    tensor(0.2689)
    """
    operands = (policy, reference, desirable)
    return own_loss(preference.kto_loss, _kto, operands, weight, reduction, where, beta=beta, kl=kl)


def grpo_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    *,
    ref_log_probs: Tensor | None = None,
    where: Tensor | None = None,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    beta: float = 0.0,
    loss_type: Literal["token", "sequence", "dapo"] = "token",
    divisor: float | None = None,
) -> Tensor:
    """Compute the loss of group-relative policy optimisation; `fusedloss.grpo_loss`.

    Parameters
    ----------
    log_probs : Tensor of floats, shape (..., T)
        Log-probabilities of the answers' tokens by the policy.
    old_log_probs : Tensor, shape (..., T)
        The same by the policy that the answers were sampled from.
    advantages : Tensor, shape (...) or (..., T)
        What an answer, or a token, is better than others of its group.
    ref_log_probs : Tensor, shape (..., T), optional
        Log-probabilities by a reference model; needed where `beta` is not 0.
    where : Tensor of bools, shape (..., T), optional
        True for the tokens that take part.
    epsilon, epsilon_high : float, default 0.2 and `epsilon`
        How far below and above 1 the ratio is followed.
    beta : float, default 0
        The weight of the estimated divergence from the reference.
    loss_type : {"token", "sequence", "dapo"}, default "token"
        The mean over tokens, the mean of means over sequences, or the sum divided by `divisor`.
    divisor : float, optional
        For "dapo": the number of tokens of all processes and all micro-batches.

    Returns
    -------
    Tensor
        The loss, a scalar of the dtype of `log_probs`, differentiable in `log_probs`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> old = torch.tensor([[-0.7, -0.7], [-1.4, -0.7]])
    >>> F.grpo_loss(old, old, torch.tensor([1.0, 2.0]))
    tensor(-1.5000)
    """
    expect_arguments(preference.grpo_loss, log_probs, old_log_probs, advantages)
    expect_tensors(ref_log_probs, where)
    if not log_probs.is_floating_point():
        raise TypeError(f"log_probs has dtype {log_probs.dtype}: expected floating point")
    if advantages.dim() == log_probs.dim() - 1 and advantages.shape == log_probs.shape[:-1]:
        advantages = advantages.unsqueeze(-1)
    given = {"log_probs": log_probs, "old_log_probs": old_log_probs, "advantages": advantages}
    options = ratio_options(epsilon, epsilon_high, beta, ref_log_probs)
    if options[2] != 0 and ref_log_probs is not None:
        given["ref_log_probs"] = ref_log_probs
    others = given if where is None else given | {"where": where}
    _check.broadcast_to_first({name: tuple(x.shape) for name, x in others.items()})
    total, weight = _check.tokens_divisor(loss_type, divisor), None
    if where is not None:
        expect_mask(where)
        if loss_type == "sequence" and log_probs.dim():
            total = float(math.prod(log_probs.shape[:-1]))
            tokens = where.expand(log_probs.shape).sum(-1, keepdim=True).clamp(min=1)
            weight = 1 / tokens.to(torch.promote_types(log_probs.dtype, torch.float32))
    call = Pointwise(
        "grpo_loss",
        partial(_reduced_grpo, options, total, where is not None),
        "sum" if total else "mean",
        options,
        1,
        divisor=total,
        masked=where is not None,
    )
    operands = (numbers(x.detach()) for x in tuple(given.values())[1:])
    masks = () if where is None else (where,)
    value: Tensor = evaluate(call, log_probs, *operands, weight, *masks)
    return value


def _reduced_grpo(
    options: tuple[float, ...], divisor: float, masked: bool, *tensors: Tensor | None
) -> Tensor:
    """Compute the loss in float32 or float64 from torch's operations; masked: a mask comes last."""
    *operands, weight = tensors[:-1] if masked else tensors
    where = tensors[-1] if masked else None
    given = cast("list[Tensor]", operands)
    dtype = torch.float32 if given[0].itemsize < 4 else given[0].dtype
    each = [x.to(dtype) for x in given]
    if where is not None:
        each = [torch.where(where, x, 0.5) for x in each]
    losses = _grpo(*each, options=options)
    count: float | Tensor = divisor or losses.numel()
    if where is not None:
        counted = where.expand(losses.shape)
        losses = torch.where(counted, losses, 0)
        count = divisor or counted.sum()
    if weight is not None:
        losses = losses * weight.to(dtype)
    return (losses.sum() / count).to(given[0].dtype)


# ---- Formulas ------------------------------------------------------------------------------------


def _dpo(pc: Tensor, pr: Tensor, rc: Tensor, rr: Tensor, beta: float) -> Tensor:
    return torch_functional.softplus(-beta * ((pc - pr) - (rc - rr)), threshold=math.inf)


def _ipo(pc: Tensor, pr: Tensor, rc: Tensor, rr: Tensor, beta: float) -> Tensor:
    return ((pc - pr) - (rc - rr) - 0.5 / beta).square()


def _simpo(pc: Tensor, pr: Tensor, beta: float, gamma: float = 0.0) -> Tensor:
    return torch_functional.softplus(gamma - beta * (pc - pr), threshold=math.inf)


def _orpo(pc: Tensor, pr: Tensor, beta: float) -> Tensor:
    """Beta log(1 + odds of pr / odds of pc); its own odds cancel where pc is 0."""
    chosen, rejected = -pc.expm1(), -pr.expm1()
    return beta * ((pr - pc).exp() * chosen / rejected).log1p()


def _kto(p: Tensor, r: Tensor, desirable: Tensor, beta: float, kl: float) -> Tensor:
    return torch.sigmoid((1 - 2 * desirable) * (beta * (p - r - kl)))


def _grpo(p: Tensor, old: Tensor, a: Tensor, *ref: Tensor, options: tuple[float, ...]) -> Tensor:
    below, above, beta = options
    ratio = (p - old).exp()
    clipped = ratio.clamp(1 - below, 1 + above)
    losses = -torch.where(a == 0, 0, torch.minimum(ratio * a, clipped * a))
    if not ref:
        return losses
    d = ref[0] - p
    return losses + beta * (d.expm1() - d)
