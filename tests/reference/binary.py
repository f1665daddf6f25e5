"""Classification element by element: two classes, or many labels."""

from __future__ import annotations

import numpy as np

from reference.elementary import product, sigmoid, softplus
from reference.pointwise import Terms, pointwise
from rounding import Numbers

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_sparsemax_loss",
    "exponential_loss",
    "hinge_loss",
    "perceptron_loss",
    "sigmoid_focal_loss",
    "soft_margin_loss",
    "squared_hinge_loss",
]

#: Logarithms of probabilities are no less than this, and the gradient's denominator than the other.
LEAST_LOG = -100
LEAST_VARIANCE = 1e-12

#: Below this u, -log(1 - u) / u is 1 in every type.
SATURATED = 1e-25


@pointwise("probs", "target")
def binary_cross_entropy(probs: Numbers, target: Numbers) -> Terms:
    """-t log p - (1 - t) log(1 - p), logarithms clamped at -100 (torch).

    As in torch the gradient is (p - t) / max(p (1 - p), 1e-12), and that by the target is of
    logarithms that are not clamped.
    """
    log_p, log_q = np.log(probs), np.log1p(-probs)
    value = -target * np.maximum(log_p, LEAST_LOG) - (1 - target) * np.maximum(log_q, LEAST_LOG)
    slope = (probs - target) / np.maximum(probs * (1 - probs), LEAST_VARIANCE)
    return Terms(value, (slope, log_q - log_p))


def smoothed(target: Numbers, label_smoothing: float) -> Numbers:
    """Labels of which a share has become 1/2."""
    return target * (1 - label_smoothing) + label_smoothing / 2 if label_smoothing else target


@pointwise("logits", "target")
def binary_cross_entropy_with_logits(
    logits: Numbers,
    target: Numbers,
    *,
    pos_weight: Numbers = None,
    label_smoothing: float = 0.0,
) -> Terms:
    """w y log(1 + exp(-z)) + (1 - y) log(1 + exp(z)), w = pos_weight, y = (1 - s) t + s / 2."""
    w = 1 if pos_weight is None else pos_weight
    y = smoothed(target, label_smoothing)
    positive, negative = w * y, 1 - y
    p, q = sigmoid(logits), sigmoid(-logits)
    value = product(positive, softplus(-logits)) + product(negative, softplus(logits))
    # without pos_weight the two logarithms differ by z
    target_slope = -logits if pos_weight is None else w * softplus(-logits) - softplus(logits)
    return Terms(
        value,
        (negative * p - positive * q, (1 - label_smoothing) * target_slope),
        (positive + negative) * p * q,
    )


@pointwise("scores", "target")
def hinge_loss(scores: Numbers, target: Numbers) -> Terms:
    """max(0, 1 - t f)."""
    margin = 1 - target * scores
    lost = margin > 0
    return Terms(np.maximum(margin, 0), (np.where(lost, -target, 0), np.where(lost, -scores, 0)), 0)


@pointwise("scores", "target")
def perceptron_loss(scores: Numbers, target: Numbers) -> Terms:
    """max(0, -t f), of whose two slopes at 0 the mean is taken (optax)."""
    margin = -(target * scores)
    share = np.where(margin > 0, 1.0, np.where(margin == 0, 0.5, 0.0))
    return Terms(np.maximum(margin, 0), (-target * share, product(share, -scores)), 0)


@pointwise("logits", "target")
def binary_sparsemax_loss(logits: Numbers, target: Numbers) -> Terms:
    """s(z) - t z, s(z) = (z + 1)^2 / 4 for |z| < 1, else max(z, 0): s(z) - z is s(-z)."""
    inside = np.abs(logits) < 1
    share = np.where(inside, (1 - np.abs(logits)) / 2, 0)
    other = np.where(logits >= 0, 1 - target, target)
    slope = other - share
    return Terms(
        product(other, np.abs(logits)) + share * share,
        (np.where(logits >= 0, slope, -slope), -logits),
        np.where(inside, 0.5, 0),
    )


@pointwise("scores", "target")
def squared_hinge_loss(scores: Numbers, target: Numbers) -> Terms:
    """max(0, 1 - t f)^2."""
    margin = np.maximum(1 - target * scores, 0)
    curvature = np.where(margin > 0, 2 * target * target, 0)
    return Terms(margin * margin, (-2 * target * margin, product(margin, -2 * scores)), curvature)


@pointwise("scores", "target")
def exponential_loss(scores: Numbers, target: Numbers) -> Terms:
    """exp(-t f)."""
    e = np.exp(-(target * scores))
    return Terms(e, (-target * e, product(e, -scores)), target * target * e)


@pointwise("input", "target")
def soft_margin_loss(input: Numbers, target: Numbers) -> Terms:
    """log(1 + exp(-t f))."""
    z = target * input
    share = sigmoid(-z)
    hessian = target * target * sigmoid(z) * share
    return Terms(softplus(-z), (-target * share, -input * share), hessian)


@pointwise("logits", "target")
def sigmoid_focal_loss(
    logits: Numbers,
    target: Numbers,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
) -> Terms:
    """a u^gamma b: b the binary cross-entropy, u = t (1 - p) + (1 - t) p, a = t alpha + ...

    With r = u'/u its gradient is a u^gamma (gamma r b + b').
    """
    t = smoothed(target, label_smoothing)
    other = 1 - t
    p, q = sigmoid(logits), sigmoid(-logits)
    b = product(t, softplus(-logits)) + product(other, softplus(logits))
    b_slope, variance = other * p - t * q, p * q
    u = t * q + other * p
    # of a target that is 0 or 1 the ratios have no quotient
    r = np.where(t == 0, q, np.where(t == 1, -p, (1 - 2 * t) * variance / u))
    r_slope = np.where((t == 0) | (t == 1), -variance, r * (q - p) - r * r)
    b_over_u = np.where(u < SATURATED, 1, b / u)
    a, a_slope = (1, 0) if alpha is None else (alpha * t + (1 - alpha) * other, 2 * alpha - 1)
    focus = np.power(u, gamma)
    rise = product(r, b)  # of an infinite logit 0: u does not move
    slope = gamma * rise + b_slope
    hessian = gamma * product(r, slope) + gamma * (product(r_slope, b) + r * b_slope) + variance
    target_slope = a_slope * b + a * (gamma * (q - p) * b_over_u - logits)
    target_slope = (1 - label_smoothing) * target_slope
    return Terms(
        a * product(focus, b),
        (a * product(focus, slope), product(focus, target_slope)),
        a * product(focus, hessian),
    )


@pointwise("logits", "target")
def asymmetric_loss(
    logits: Numbers,
    target: Numbers,
    *,
    gamma_neg: float = 4.0,
    gamma_pos: float = 1.0,
    clip: float = 0.05,
) -> Terms:
    """-t (1 - p)^gamma_pos log p - (1 - t) m^gamma_neg log(1 - m), m = max(p - clip, 0).

    timm clamps the logarithms at log(1e-8); here a loss goes on growing.
    """
    p, q = sigmoid(logits), sigmoid(-logits)
    kept = p > clip
    m = np.where(kept, p - clip, 0)
    focus, other_focus = np.power(q, gamma_pos), np.power(m, gamma_neg)
    surprise = softplus(-logits)
    other = softplus(logits) if clip == 0 else np.where(kept, -np.log(q + clip), 0)
    # -log(1 - m) / m tends to 1
    ratio = np.where(m < SATURATED, 1, other / m)
    # times p q where m is not clipped; p q / (q + clip) is p without a clip
    other_slope = p if clip == 0 else p * q / (q + clip)
    slope = -product(focus, q + gamma_pos * product(p, surprise))
    other_slope = np.where(kept, other_focus * (other_slope + gamma_neg * product(p * q, ratio)), 0)
    value, other_value = product(focus, surprise), product(other_focus, other)
    return Terms(
        product(target, value) + product(1 - target, other_value),
        (target * slope + (1 - target) * other_slope, value - other_value),
    )
