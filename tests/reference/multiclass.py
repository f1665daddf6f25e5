"""Losses of rows of scores: many classes, one or more of them right."""

from __future__ import annotations

import numpy as np

from reference.elementary import product, sigmoid, softplus
from reference.pointwise import Terms
from reference.rowwise import at_index, exact_part, first_largest, one_hot, rowwise
from rounding import Numbers

__all__ = [
    "categorical_hinge_loss",
    "generalized_cross_entropy",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "poly1_cross_entropy",
    "ranking_softmax_loss",
    "sparsemax_loss",
]


@rowwise("scores")
def multi_margin_loss(
    scores: Numbers,
    target: Numbers,
    *,
    p: int = 1,
    margin: float = 1.0,
    weight: Numbers = None,
) -> Terms:
    """w_y / C sum over the other classes of max(0, margin - x_y + x_c)^p."""
    classes = scores.shape[-1]
    right = one_hot(target, classes)
    w = 1.0 if weight is None else weight[target[..., np.newaxis]]
    gap = margin - at_index(scores, target) + scores
    lost = (gap > 0) & ~right
    powers = np.where(lost, gap if p == 1 else gap * gap, 0.0)
    slopes = np.where(lost, 1.0 if p == 1 else 2 * gap, 0.0) * (w / classes)
    own = slopes.sum(axis=-1, keepdims=True)
    value = (powers * (w / classes)).sum(axis=-1)
    return Terms(value, (np.where(right, -own, slopes),))


@rowwise("scores")
def categorical_hinge_loss(scores: Numbers, target: Numbers) -> Terms:
    """max(0, max_c (1 - t_c) x_c - sum_c t_c x_c + 1) of a class index or one-hot t (Keras).

    The gradient is that of the first of several maxima.
    """
    classes = scores.shape[-1]
    t = one_hot(target, classes) * 1.0 if target.ndim < scores.ndim else target
    others = (1.0 - t) * scores
    largest = first_largest(others)
    gap = at_index(others, largest)[..., 0] - (t * scores).sum(axis=-1) + 1
    slope = np.where(one_hot(largest, classes), 1.0 - t, 0.0) - t
    return Terms(np.maximum(gap, 0.0), (np.where(np.expand_dims(gap, -1) > 0, slope, 0.0),))


@rowwise("input")
def multilabel_margin_loss(input: Numbers, target: Numbers) -> Terms:
    """1 / C sum over right classes y and wrong ones c of max(0, 1 - x_y + x_c).

    A row's right classes are its targets before the first -1.
    """
    classes = input.shape[-1]
    listed = np.logical_and.accumulate(target >= 0, axis=-1)
    right = one_hot(np.where(listed, target, -1), classes)  # (..., target, class)
    wrong = ~right.any(axis=-2)
    own = np.expand_dims(np.take_along_axis(input, np.where(listed, target, 0), -1), -1)
    gap = 1 - own + np.expand_dims(input, -2)
    lost = (gap > 0) & (listed[..., :, np.newaxis] & wrong[..., np.newaxis, :])
    count = np.where(lost, 1.0, 0.0)
    value = (np.where(lost, gap, 0.0) / classes).sum(axis=(-1, -2))
    by_target = np.expand_dims(count.sum(axis=-1), -1)
    slope = (count.sum(axis=-2) - (by_target * right).sum(axis=-2)) / classes
    return Terms(value, (slope,))


@rowwise("input", "target", of_classes=False)
def multilabel_soft_margin_loss(
    input: Numbers, target: Numbers, *, weight: Numbers = None
) -> Terms:
    """The mean over the classes of w_c (t_c log(1 + exp(-x_c)) + (1 - t_c) log(1 + exp(x_c)))."""
    share = (1.0 if weight is None else weight) / input.shape[-1]
    other = 1.0 - target
    value = product(target, softplus(-input)) + product(other, softplus(input))
    slope = other * sigmoid(input) - target * sigmoid(-input)
    return Terms((share * value).sum(axis=-1), (share * slope, -share * input))


def softmax_rows(z: Numbers) -> tuple[Numbers, Numbers]:
    """-log p = (max - z) + log(1 + the others' exponentials), and p, over the last axis."""
    top = one_hot(first_largest(z), z.shape[-1])
    maximum = z.max(axis=-1, keepdims=True)
    e = np.where(top, 0.0, np.exp(z - maximum))
    rest = e.sum(axis=-1, keepdims=True)
    return (maximum - z) + np.log1p(rest), np.where(top, 1.0, e) / (1 + rest)


@rowwise("logits")
def poly1_cross_entropy(logits: Numbers, target: Numbers, *, epsilon: float = 2.0) -> Terms:
    """-sum_c t_c log p_c + epsilon (1 - sum_c t_c p_c), t an index or probabilities (optax)."""
    index = target.ndim < logits.ndim
    t = one_hot(target, logits.shape[-1]) * 1.0 if index else target
    negative_log_p, p = softmax_rows(logits)
    entropy = product(t, negative_log_p).sum(axis=-1)
    agreement = (t * p).sum(axis=-1, keepdims=True)
    total = t.sum(axis=-1, keepdims=True)
    # of an index 1 - p_y is the sum of the others
    rest = ((1.0 - t) * p).sum(axis=-1) if index else 1 - agreement[..., 0]
    slope = total * p - t - epsilon * (p * (t - agreement))
    if index:
        others = np.expand_dims(rest, -1)
        slope = np.where(t == 1, -others - epsilon * (p * others), p + epsilon * (p * agreement))
    return Terms(entropy + epsilon * rest, (slope,))


@rowwise("probs")
def generalized_cross_entropy(probs: Numbers, target: Numbers, *, q: float = 0.5) -> Terms:
    """(1 - p_y^q) / q (Keras), or its mean under a distribution of classes."""
    if target.ndim == probs.ndim:
        p = np.where(target == 0, 1.0, probs)
        terms = target * ((1 - np.power(p, q)) / q)
        return Terms(terms.sum(axis=-1), (-target * np.power(p, q - 1),))
    right = one_hot(target, probs.shape[-1])
    p = at_index(probs, target)
    value = (1 - np.power(p, q)) / q
    return Terms(value[..., 0], (np.where(right, -np.power(p, q - 1), 0.0),))


@rowwise("scores")
def sparsemax_loss(scores: Numbers, target: Numbers) -> Terms:
    """sum_c p_c (x_c - x_y) + (1 - sum_c p_c^2) / 2, p the projection of x on the simplex (optax).

    p_c = max(0, x_c - tau), where tau makes their sum 1; the gradient is p - one-hot.
    """
    right = one_hot(target, scores.shape[-1])
    z = scores - scores.max(axis=-1, keepdims=True)
    exact = exact_part(z)
    ordered = -np.sort(-exact, axis=-1)
    count = np.arange(1, exact.shape[-1] + 1)
    size = (1 + count * ordered > ordered.cumsum(axis=-1)).sum(axis=-1, keepdims=True)
    supported = exact >= np.take_along_axis(ordered, np.maximum(size - 1, 0), -1)
    tau = (np.where(supported, z, 0.0).sum(axis=-1, keepdims=True) - 1) / size
    p = np.maximum(z - tau, 0.0)
    value = (p * (z - at_index(z, target))).sum(axis=-1) + (1 - (p * p).sum(axis=-1)) / 2
    return Terms(value, (p - np.where(right, 1.0, 0.0),))


@rowwise("logits", of_classes=False)
def ranking_softmax_loss(logits: Numbers, labels: Numbers) -> Terms:
    """-sum_c y_c log softmax(z)_c of relevances y, which need not sum to 1 (optax)."""
    negative_log_p, p = softmax_rows(logits)
    total = (labels * 1.0).sum(axis=-1, keepdims=True)
    return Terms(product(labels, negative_log_p).sum(axis=-1), (total * p - labels,))
