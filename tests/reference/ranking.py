"""Losses of pairs, element by element."""

from __future__ import annotations

import numpy as np

from reference.pointwise import Terms, pointwise
from rounding import Numbers

__all__ = [
    "hinge_embedding_loss",
    "margin_ranking_loss",
]


@pointwise("input1", "input2", "target")
def margin_ranking_loss(
    input1: Numbers, input2: Numbers, target: Numbers, *, margin: float = 0.0
) -> Terms:
    """max(0, margin - t (x1 - x2)); its slope at 0 is that of the other side of 0, as in torch."""
    d = input1 - input2
    gap = margin - target * d
    slope = np.where(gap >= 0, target, 0)
    return Terms(np.maximum(gap, 0), (-slope, slope, np.where(gap >= 0, -d, 0)))


@pointwise("input")
def hinge_embedding_loss(input: Numbers, target: Numbers, *, margin: float = 1.0) -> Terms:
    """x where t = 1, max(0, margin - x) where t = -1, and both together for any other t (torch)."""
    gap = margin - input
    value = np.where(target != -1, input, 0) + np.where(target != 1, np.maximum(gap, 0), 0)
    slope = np.where(target != -1, 1, 0) - np.where((target != 1) & (gap >= 0), 1, 0)
    return Terms(value, (slope,))
