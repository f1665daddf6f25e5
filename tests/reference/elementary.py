"""Functions that several losses are made of, none of which overflows or cancels."""

from __future__ import annotations

import numpy as np

from rounding import Numbers


def sign(x: Numbers) -> Numbers:
    """-1, 0 or 1; 0 for NaN, as torch has it."""
    return np.where(x > 0, 1.0, np.where(x < 0, -1.0, 0.0))


def sigmoid(x: Numbers) -> Numbers:
    """1 / (1 + exp(-x))."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1 + e)


def softplus(x: Numbers) -> Numbers:
    """log(1 + exp(x)), which is -log sigmoid(-x)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def weighted(weight: Numbers, x: Numbers) -> Numbers:
    """Their product; what has a weight of 0 counts nothing, whatever it holds."""
    return np.where(weight == 0, 0.0, weight * x)


def product(factor: Numbers, x: Numbers) -> Numbers:
    """Their product, 0 where the factor is 0 and the other infinite: 0 * log 0 = 0."""
    return np.where((factor == 0) & np.isinf(x), 0.0, factor * x)
