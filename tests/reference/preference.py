"""Losses of log-probabilities of answers, element by element."""

from __future__ import annotations

import numpy as np

from reference.elementary import sigmoid, softplus
from reference.pointwise import Terms, pointwise
from reference.rowwise import exact_part
from rounding import Numbers

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
