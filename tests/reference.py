"""The formula of every loss and its gradient in NumPy: the oracle of the tests and benchmarks.

Each function returns ``(value, gradient)``. The gradient is the vector-Jacobian product
``sum(grad_output * d value / d logits)``; ``grad_output`` defaults to ones. ``dtype`` is the type
that the formula is evaluated in: float64, or ``numpy.longdouble`` as the truth for float64.

``naive_cross_entropy`` and ``naive_softmax`` are the formulas as frameworks spell them, in the
loss's own dtype. Their error against the truth is the most that a fused kernel may show.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]


class Result(NamedTuple):
    """A loss and its gradient with respect to the logits."""

    value: Any
    gradient: Array


def class_axis(ndim: int) -> int:
    """The axis of the classes in logits of shape (C,), (N, C) or (N, C, d1, ...)."""
    return 0 if ndim == 1 else 1


# ---- softmax, log-softmax, log-sum-exp --------------------------------------------------------


def negative_log_softmax(logits: Array) -> Array:
    """-log p_c = (m - z_c) + log(1 + sum over the others of exp(z_k - m)), over the last axis.

    m is the row's maximum, "the others" all classes but one that attains it. Both terms are
    non-negative, so nothing cancels: a loss of 1e-12 is as exact as one of 1.
    """
    rows = logits.reshape(-1, logits.shape[-1])
    maximum = rows.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # inf - inf: the row is NaN, as it must be
        exponentials = np.exp(rows - maximum)
        exponentials[np.arange(len(rows)), rows.argmax(axis=-1)] -= 1
        rest = exponentials.sum(axis=-1, keepdims=True)
        negative_log_p: Array = (maximum - rows) + np.log1p(rest)
    return negative_log_p.reshape(logits.shape)


def softmax(
    logits: ArrayLike,
    axis: int = -1,
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
) -> Result:
    """p_c = exp(z_c) / sum_k exp(z_k); gradient p * (g - sum(g * p))."""
    z, g = _prepare(logits, axis, grad_output, dtype)
    p = np.exp(-negative_log_softmax(z))
    gradient = p * (g - (g * p).sum(axis=-1, keepdims=True))
    return Result(np.moveaxis(p, -1, axis), np.moveaxis(gradient, -1, axis))


def log_softmax(
    logits: ArrayLike,
    axis: int = -1,
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
) -> Result:
    """Log p_c = z_c - log sum_k exp(z_k); gradient g - p * sum(g)."""
    z, g = _prepare(logits, axis, grad_output, dtype)
    log_p = -negative_log_softmax(z)
    gradient = g - np.exp(log_p) * g.sum(axis=-1, keepdims=True)
    return Result(np.moveaxis(log_p, -1, axis), np.moveaxis(gradient, -1, axis))


def logsumexp(
    logits: ArrayLike,
    axis: int = -1,
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
) -> Result:
    """Log sum_k exp(z_k), -inf or inf where the row's maximum is; gradient g * p."""
    z = np.moveaxis(np.asarray(logits, dtype), axis, -1)
    g = np.ones(z.shape[:-1], dtype) if grad_output is None else np.asarray(grad_output, dtype)
    maximum = z.max(axis=-1)
    negative_log_p = negative_log_softmax(z)
    value = np.where(np.isinf(maximum), maximum, maximum + negative_log_p.min(axis=-1))
    gradient = g[..., np.newaxis] * np.exp(-negative_log_p)
    return Result(value, np.moveaxis(gradient, -1, axis))


def _prepare(
    logits: ArrayLike, axis: int, grad_output: ArrayLike | None, dtype: DTypeLike
) -> tuple[Array, Array]:
    """The logits and grad_output with the class axis last."""
    z = np.asarray(logits, dtype)
    g = np.ones_like(z) if grad_output is None else np.asarray(grad_output, dtype)
    return np.moveaxis(z, axis, -1), np.moveaxis(g, axis, -1)


# ---- cross-entropy ----------------------------------------------------------------------------


class _Terms(NamedTuple):
    """A cross-entropy as sum_c t_c (-log p_c) per position, classes on the last axis."""

    logits: Array  # z, shape (..., C)
    target: Array  # t, shape (..., C): the target after smoothing and class weights
    ignored: Array  # shape (...)
    divisor: Any  # what "mean" divides by


def _terms(
    logits: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    dtype: DTypeLike,
) -> _Terms:
    """t_c of every kind of target; e = label_smoothing, w = class weights.

    Index target y:        t_c = (1-e) w_y [c = y] + e/C w_c
    Probability target q:  t_c = w_c ((1-e) q_c + e/C)
    """
    z = np.asarray(logits, dtype)
    axis = class_axis(z.ndim)
    classes = z.shape[axis]
    w = np.ones(classes, dtype) if weight is None else np.asarray(weight, dtype)
    e = np.asarray(label_smoothing, dtype)
    y = np.asarray(target)
    if y.shape == z.shape:
        q = np.moveaxis(y.astype(dtype), axis, -1)
        t = w * ((1 - e) * q + e / classes)
        ignored = np.zeros(t.shape[:-1], bool)
        divisor = np.asarray(ignored.size, dtype)
    else:
        ignored = y == ignore_index
        is_target = np.arange(classes) == np.where(ignored, -1, y.astype(np.int64))[..., None]
        t = np.where(is_target, (1 - e) * w, 0) + e / classes * w
        t[ignored] = 0
        divisor = np.where(is_target, w, 0).sum()
    divisor = divisor if reduction == "mean" else np.asarray(1, dtype)
    return _Terms(np.moveaxis(z, axis, -1), t.astype(dtype), ignored, divisor)


def _result(
    terms: _Terms,
    negative_log_p: Array,
    d_logits: Array,
    reduction: str,
    grad_output: ArrayLike | None,
) -> Result:
    """Sum over the classes, reduce over the positions, multiply by grad_output."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # 0 * log 0 = 0: a class without a target has no say, even at probability 0
        silent = (terms.target == 0) & np.isposinf(negative_log_p)
        rows = np.where(silent, 0, terms.target * negative_log_p).sum(axis=-1)
        rows = np.where(terms.ignored, 0, rows)
        value = rows if reduction == "none" else rows.sum() / terms.divisor
        dtype = terms.logits.dtype
        g = np.ones((), dtype) if grad_output is None else np.asarray(grad_output, dtype)
        # the mean of nothing is nan, but its gradient is 0
        factor = g / terms.divisor if terms.divisor else np.zeros_like(g)
        gradient = np.where(terms.ignored[..., None], 0, factor[..., None] * d_logits)
    return Result(value, np.moveaxis(gradient, -1, class_axis(gradient.ndim)))


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
) -> Result:
    """sum_c t_c (-log p_c), and its gradient p_c sum_k t_k - t_c.

    The gradient is written (sum_k t_k - t_c) p_c + t_c (p_c - 1) with p - 1 = expm1(log p): for a
    class index without smoothing the first term is 0 at the target and nothing cancels.
    """
    terms = _terms(logits, target, weight, ignore_index, label_smoothing, reduction, dtype)
    negative_log_p = negative_log_softmax(terms.logits)
    others = terms.target.sum(axis=-1, keepdims=True) - terms.target
    d_logits = others * np.exp(-negative_log_p) + terms.target * np.expm1(-negative_log_p)
    return _result(terms, negative_log_p, d_logits, reduction, grad_output)


def naive_cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float32,
) -> Result:
    """The textbook formula, every step rounded to ``dtype``: log p = (z - m) - log sum exp(z - m).

    Its gradient is exp(log p) * sum(t) - t, as frameworks compute it from the saved log p.
    """
    terms = _terms(logits, target, weight, ignore_index, label_smoothing, reduction, dtype)
    log_p = naive_log_softmax(terms.logits)
    d_logits = np.exp(log_p) * terms.target.sum(axis=-1, keepdims=True) - terms.target
    return _result(terms, -log_p, d_logits, reduction, grad_output)


def naive_log_softmax(logits: Array) -> Array:
    """Log-softmax over the last axis by subtraction of the maximum, in the logits' own dtype."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
        log_p: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p


class GradientScale(NamedTuple):
    """What the rounding errors of a gradient are relative to."""

    magnitude: Array  # the size of the terms that an element is the difference of
    factor: Array  # what a row's probabilities are multiplied by; the class axis has length 1


def cross_entropy_gradient_scale(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    grad_output: ArrayLike | None = None,
) -> GradientScale:
    """The gradient p_c sum_k t_k - t_c is a difference: its error is relative to the terms' sum.

    For a class index without smoothing the difference can be avoided, and the gradient's own size
    counts.
    """
    terms = _terms(logits, target, weight, ignore_index, label_smoothing, reduction, np.float64)
    negative_log_p = negative_log_softmax(terms.logits)
    total = terms.target.sum(axis=-1, keepdims=True)
    if np.shape(target) == np.shape(logits) or label_smoothing:
        size = total * np.exp(-negative_log_p) + terms.target
    else:
        others = total - terms.target
        size = others * np.exp(-negative_log_p) - terms.target * np.expm1(-negative_log_p)
    zero = np.zeros_like(size)
    magnitude = _result(terms, zero, size, reduction, grad_output).gradient
    factor = _result(terms, zero, zero + total, reduction, grad_output).gradient
    axis = class_axis(magnitude.ndim)
    return GradientScale(np.abs(magnitude), np.abs(factor).max(axis=axis, keepdims=True))
