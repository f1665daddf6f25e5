"""Losses of log-probabilities: of answers, element by element, and of tokens with advantages."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from parts import Array
from reference.elementary import product, sigmoid, softplus, weighted
from reference.pointwise import Evaluation, Terms, pointwise
from reference.rowwise import exact_part
from rounding import Numbers, Rounded, in_blocks

__all__ = [
    "cpo_loss",
    "dpo_loss",
    "grpo_loss",
    "ipo_loss",
    "kto_loss",
    "orpo_loss",
    "simpo_loss",
]

FOUR = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected")


@pointwise(*FOUR)
def dpo_loss(
    policy_chosen: Numbers,
    policy_rejected: Numbers,
    reference_chosen: Numbers,
    reference_rejected: Numbers,
    *,
    beta: float = 0.1,
) -> Terms:
    """-log sigmoid of beta times the policy's preference less the reference's."""
    z = beta * ((policy_chosen - policy_rejected) - (reference_chosen - reference_rejected))
    slope = beta * sigmoid(-z)
    curvature = (beta * beta) * (sigmoid(z) * sigmoid(-z))
    return Terms(softplus(-z), (-slope, slope, slope, -slope), curvature)


@pointwise(*FOUR)
def ipo_loss(
    policy_chosen: Numbers,
    policy_rejected: Numbers,
    reference_chosen: Numbers,
    reference_rejected: Numbers,
    *,
    beta: float = 0.1,
) -> Terms:
    """The square of the same difference less 1 / (2 beta)."""
    d = (policy_chosen - policy_rejected) - (reference_chosen - reference_rejected)
    e = d - 0.5 / beta
    return Terms(e * e, (2 * e, -2 * e, -2 * e, 2 * e), 2)


@pointwise(*FOUR[:2])
def simpo_loss(
    policy_chosen: Numbers, policy_rejected: Numbers, *, beta: float = 2.0, gamma: float = 1.0
) -> Terms:
    """-log sigmoid(beta (pc - pr) - gamma)."""
    z = beta * (policy_chosen - policy_rejected) - gamma
    slope = beta * sigmoid(-z)
    return Terms(softplus(-z), (-slope, slope), (beta * beta) * (sigmoid(z) * sigmoid(-z)))


@pointwise(*FOUR[:2])
def cpo_loss(policy_chosen: Numbers, policy_rejected: Numbers, *, beta: float = 0.1) -> Terms:
    """-log sigmoid(beta (pc - pr))."""
    z = beta * (policy_chosen - policy_rejected)
    slope = beta * sigmoid(-z)
    return Terms(softplus(-z), (-slope, slope), (beta * beta) * (sigmoid(z) * sigmoid(-z)))


@pointwise(*FOUR[:2])
def orpo_loss(policy_chosen: Numbers, policy_rejected: Numbers, *, beta: float = 0.1) -> Terms:
    """Beta log(1 + r a / (c b)): c, r are the probabilities over the larger, a, b their rests."""
    most = np.maximum(policy_chosen, policy_rejected)
    a, b = np.abs(np.expm1(policy_chosen)), np.abs(np.expm1(policy_rejected))
    c, r = np.exp(policy_chosen - most), np.exp(policy_rejected - most)
    both = c * b + r * a
    z = (policy_chosen - policy_rejected) + np.log(b) - np.log(a)
    slope = np.where(np.isnan(exact_part(z)), np.nan, beta * r / both)  # both certain
    return Terms(beta * softplus(-z), (-slope, slope * (a / b)))


@pointwise("policy", "reference")
def kto_loss(
    policy: Numbers,
    reference: Numbers,
    desirable: Numbers,
    *,
    beta: float = 0.1,
    kl: float = 0.0,
) -> Terms:
    """1 - sigmoid(z) where desirable, else sigmoid(z); z = beta (policy - reference - kl)."""
    sign = 2 * desirable - 1
    z = sign * (beta * ((policy - reference) - kl))
    slope = beta * sign * (sigmoid(z) * sigmoid(-z))
    return Terms(sigmoid(-z), (-slope, slope))


# ---- Tokens with advantages --------------------------------------------------------------------


def _surrogate(
    log_probs: Numbers,
    old_log_probs: Numbers,
    advantages: Numbers,
    ref_log_probs: Numbers,
    *,
    epsilon: float,
    epsilon_high: float,
    beta: float,
) -> Terms:
    """-min(r A, clip(r) A) + beta (e^d - d - 1): r = e^(p - old), d = ref - p."""
    ratio = np.exp(log_probs - old_log_probs)
    least, most = 1 - epsilon, 1 + epsilon_high
    raw = product(advantages, ratio)
    clipped = advantages * np.where(ratio < least, least, np.where(ratio > most, most, ratio))
    outside = clipped < raw
    value, slope = -np.where(outside, clipped, raw), -np.where(outside, 0.0, raw)
    if beta:
        d = ref_log_probs - log_probs
        value = value + beta * (np.expm1(d) - d)
        slope = slope - beta * np.expm1(d)
    return Terms(value, (slope,))


def grpo_loss(
    log_probs: ArrayLike,
    old_log_probs: ArrayLike,
    advantages: ArrayLike,
    *,
    ref_log_probs: ArrayLike | None = None,
    where: Array | None = None,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    beta: float = 0.0,
    loss_type: str = "token",
    divisor: float | None = None,
    grad_output: float | None = None,
    dtype: DTypeLike = np.float64,
    arithmetic: DTypeLike | None = None,
) -> Evaluation:
    """Value and gradient by the policy: arrays, or `Rounded` where an ``arithmetic`` is given."""

    def numbers(x: ArrayLike) -> Numbers:
        if arithmetic is None:
            return np.asarray(x).astype(dtype)
        return Rounded.of(x, dtype, arithmetic)

    shape = np.shape(log_probs)
    taken = np.broadcast_to(True if where is None else where, shape)
    a = np.asarray(advantages)
    a = a[..., np.newaxis] if len(shape) > 1 and a.shape == shape[:-1] else a
    ref = np.zeros(()) if ref_log_probs is None else ref_log_probs
    high = epsilon if epsilon_high is None else epsilon_high
    options = {"epsilon": epsilon, "epsilon_high": high, "beta": beta}
    given = map(numbers, (log_probs, old_log_probs, a, ref))
    with np.errstate(all="ignore"):
        value, (slope,), _ = _surrogate(*given, **options)
        # the share of each token, and what their sum is divided by
        share, total = taken * np.ones(shape), taken.sum()
        if loss_type == "sequence":
            share = share / np.maximum(taken.sum(-1, keepdims=True), 1)
            total = np.prod(shape[:-1])
        elif loss_type == "dapo":
            assert divisor is not None
            total = divisor
        w, all_of = numbers(share), numbers(float(total))
        g = numbers(1.0 if grad_output is None else grad_output)
        factor = np.where(all_of != 0, g / all_of, 0.0)
        gradient = np.broadcast_to(weighted(w, factor * slope), shape)
        value = np.broadcast_to(weighted(w, value), shape)
        return Evaluation(in_blocks(value) / all_of, (gradient,), None)
