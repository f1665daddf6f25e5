"""Divergences of distributions, element by element."""

from __future__ import annotations

import numpy as np

from reference.elementary import product, sign
from reference.pointwise import Terms, pointwise
from rounding import Numbers

__all__ = [
    "generalized_kl_div",
    "js_div",
    "kl_div",
    "total_variation_loss",
]


def _kullback_leibler(log_q: Numbers, p: Numbers, log_p: Numbers) -> tuple[Numbers, Numbers]:
    """p (log p - log q), 0 where p is, and log p - log q."""
    difference = np.where((p == 0) & (log_q == -np.inf), 0, log_p - log_q)
    return product(p, difference), difference


@pointwise("log_probs", "target")
def kl_div(log_probs: Numbers, target: Numbers, *, log_target: bool = False) -> Terms:
    """t (log t - x), or exp(t) (t - x) for logarithms t; 0 where the target's probability is."""
    if log_target:
        p = np.exp(target)
        value, difference = _kullback_leibler(log_probs, p, target)
        return Terms(value, (-p, product(p, difference + 1)))
    value, difference = _kullback_leibler(log_probs, target, np.log(target))
    return Terms(value, (-target, difference + 1))


@pointwise("log_prediction", "target")
def generalized_kl_div(
    log_prediction: Numbers, target: Numbers, *, log_target: bool = False
) -> Terms:
    """p log(p / q) - p + q = p (exp(d) - 1 - d), d = log q - log p."""
    p, log_p = (np.exp(target), target) if log_target else (target, np.log(target))
    q = np.exp(log_prediction)
    value, difference = _kullback_leibler(log_prediction, p, log_p)
    near = np.abs(difference) < 0.5
    change = np.expm1(-difference)
    return Terms(
        np.where(near, p * (change + difference), value + (q - p)),
        (
            np.where(near, p * change, q - p),
            product(p, difference) if log_target else difference,
        ),
        q,
    )


@pointwise("log_probs", "log_target")
def js_div(log_probs: Numbers, log_target: Numbers, *, beta: float = 0.5) -> Terms:
    """beta P log(P / M) + (1 - beta) Q log(Q / M), M = beta P + (1 - beta) Q (Liger).

    P is the target. beta = 0 is KL(P || Q), as of kl_div, and 1 is KL(Q || P).
    """
    q, p = np.exp(log_probs), np.exp(log_target)
    if beta == 0:
        value, difference = _kullback_leibler(log_probs, p, log_target)
        return Terms(value, (-p, product(p, difference + 1)))
    if beta == 1:
        value, difference = _kullback_leibler(log_target, q, log_probs)
        return Terms(value, (product(q, difference + 1), -q))
    d = log_target - log_probs
    # log M is counted from the larger of the two, which so cannot underflow
    share = np.exp(-np.abs(d))
    log_m = np.log(np.where(d > 0, beta + (1 - beta) * share, (1 - beta) + beta * share))
    log_p_m, log_q_m = np.where(d > 0, 0, d) - log_m, np.where(d > 0, -d, 0) - log_m
    # a class that both rule out has no say, though the ratios there are undefined
    slope = np.where(q == 0, 0, (1 - beta) * q * log_q_m)
    target_slope = np.where(p == 0, 0, beta * p * log_p_m)
    return Terms(slope + target_slope, (slope, target_slope))


@pointwise("probs", "target")
def total_variation_loss(probs: Numbers, target: Numbers) -> Terms:
    """|p - q| / 2."""
    slope = 0.5 * sign(probs - target)
    return Terms(0.5 * np.abs(probs - target), (slope, -slope))
