"""Losses of the angles and distances of vectors."""

from __future__ import annotations

import numpy as np

from reference.elementary import sign
from reference.pointwise import Terms
from reference.regression import EPSILON
from reference.rowwise import rowwise, shares_of_largest
from rounding import Numbers

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity_loss",
    "triplet_margin_loss",
]

#: What torch adds to squared lengths.
SQUARED_EPSILON = 1e-12


def _dot(x: Numbers, y: Numbers) -> Numbers:
    return (x * y).sum(axis=-1, keepdims=True)


@rowwise("input", "target", of_classes=False)
def cosine_similarity_loss(input: Numbers, target: Numbers) -> Terms:
    """-x.t / (|x| |t|), lengths no less than 1e-7 (Keras)."""

    def slope(x: Numbers, y: Numbers, length: Numbers, unit: Numbers, cosine: Numbers) -> Numbers:
        """-(y / |y| - cos x / |x|) / |x|; of a length that is raised, it is constant."""
        return -(y - np.where(length > EPSILON, cosine, 0.0) * unit) / np.maximum(length, EPSILON)

    lengths = [np.sqrt(_dot(x, x)) for x in (input, target)]
    x, t = (y / np.maximum(n, EPSILON) for y, n in zip((input, target), lengths, strict=True))
    cosine = _dot(x, t)
    slopes = slope(input, t, lengths[0], x, cosine), slope(target, x, lengths[1], t, cosine)
    return Terms(-cosine[..., 0], slopes)


@rowwise("input1", "input2", of_classes=False)
def cosine_embedding_loss(
    input1: Numbers, input2: Numbers, target: Numbers, *, margin: float = 0.0
) -> Terms:
    """1 - cos where t = 1, max(0, cos - margin) where t = -1, 0 for any other t (torch).

    cos = x.y / sqrt((|x|^2 + 1e-12) (|y|^2 + 1e-12)); the slope at the margin is that beyond it.
    """
    x, y = input1, input2
    squares = [_dot(z, z) + SQUARED_EPSILON for z in (x, y)]
    length = np.sqrt(squares[0] * squares[1])
    cosine = _dot(x, y) / length
    t = np.expand_dims(target, -1)
    value = np.where(t == 1, 1 - cosine, np.where(t == -1, np.maximum(cosine - margin, 0.0), 0.0))
    beyond = np.where(cosine - margin >= 0, 1.0, 0.0)
    side = np.where(t == 1, -1.0, np.where(t == -1, beyond, 0.0))
    slopes = (
        side * (y / length - cosine * x / squares[0]),
        side * (x / length - cosine * y / squares[1]),
    )
    return Terms(value[..., 0], slopes)


def _distance(x: Numbers, y: Numbers, p: float, eps: float) -> tuple[Numbers, Numbers]:
    """|x - y + eps|_p, and its gradient by x, 0 where the distance is."""
    d = x - y + eps
    a = np.abs(d)
    if p == 1:
        return a.sum(axis=-1, keepdims=True), sign(d)
    if p == 2:
        length = np.sqrt(_dot(d, d))
        return length, np.where(length > 0, d / length, 0.0)
    if p == np.inf:
        length = a.max(axis=-1, keepdims=True)
        return length, sign(d) * shares_of_largest(a)
    length = np.power(np.power(a, p).sum(axis=-1, keepdims=True), 1 / p)
    return length, np.where(length > 0, sign(d) * np.power(a / length, p - 1), 0.0)


@rowwise("anchor", "positive", "negative", of_classes=False)
def triplet_margin_loss(
    anchor: Numbers,
    positive: Numbers,
    negative: Numbers,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Terms:
    """max(0, margin + d(a, p) - d(a, n)), d(x, y) = |x - y + eps|_p (torch).

    With swap d(a, n) is the lesser of it and d(p, n). The slope at 0 is that of the other side.
    """
    near, near_slope = _distance(anchor, positive, p, eps)
    far, far_slope = _distance(anchor, negative, p, eps)
    by_anchor, by_positive, by_negative = near_slope - far_slope, -near_slope, far_slope
    if swap:
        other, other_slope = _distance(positive, negative, p, eps)
        # equal distances share the slope
        own = np.where(far < other, 1.0, np.where(far > other, 0.0, 0.5))
        far_slope, other_slope = own * far_slope, (1 - own) * other_slope
        by_anchor, by_positive = near_slope - far_slope, -near_slope - other_slope
        by_negative = far_slope + other_slope
        far = np.minimum(far, other)
    gap = margin + near - far
    slopes = (np.where(gap >= 0, slope, 0.0) for slope in (by_anchor, by_positive, by_negative))
    return Terms(np.maximum(gap, 0.0)[..., 0], tuple(slopes))
