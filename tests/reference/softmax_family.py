"""The softmax family: the helpers, and losses of rows of logits or probabilities.

The gradient is the vector-Jacobian product ``sum(grad_output * d value / d prediction)``;
``grad_output`` defaults to ones. ``dtype`` is the type that the formula is evaluated in: float64,
or ``numpy.longdouble`` as the truth for float64. `evaluate` gives the Hessian too, and what the
rounding errors of each result are relative to.

``naive_cross_entropy`` and ``naive_log_softmax`` are the formulas as frameworks spell them, in the
loss's own dtype. Their error against the truth is the most that a fused kernel may show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from parts import Array, Evaluation, Part, Quantity, reduced, where_counted
from rounding import LONGEST_RUN

__all__ = [
    "EXPONENT_ULPS",
    "LEAST",
    "Result",
    "categorical_cross_entropy",
    "class_axis",
    "cross_entropy",
    "distillation_loss",
    "evaluate",
    "evaluate_helper",
    "focal_loss",
    "log_softmax",
    "logsumexp",
    "naive_cross_entropy",
    "naive_log_softmax",
    "nll_loss",
    "outputs",
    "soft_cross_entropy",
    "softmax",
    "softmax_of",
]


class Result(NamedTuple):
    """A loss and its gradient with respect to the prediction."""

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
    negative_log_p = negative_log_softmax(z)
    gradient = g[..., np.newaxis] * np.exp(-negative_log_p)
    return Result(_log_sum_exp(z, negative_log_p), np.moveaxis(gradient, -1, axis))


def _log_sum_exp(logits: Array, negative_log_p: Array) -> Array:
    maximum = logits.max(axis=-1)
    return np.where(np.isinf(maximum), maximum, maximum + negative_log_p.min(axis=-1))


def _prepare(
    logits: ArrayLike, axis: int, grad_output: ArrayLike | None, dtype: DTypeLike
) -> tuple[Array, Array]:
    """The logits and grad_output with the class axis last."""
    z = np.asarray(logits, dtype)
    g = np.ones_like(z) if grad_output is None else np.asarray(grad_output, dtype)
    return np.moveaxis(z, axis, -1), np.moveaxis(g, axis, -1)


# ---- The softmax, and what losses take from it -------------------------------------------------

#: tanh is good to some 2 ULP, and its argument, the cap and the temperature lose half of one each,
#: or a whole one as rounded reciprocals: so many ULP of an exponent s(z) / T, at most.
EXPONENT_ULPS = 5


@dataclass(frozen=True)
class Softmax:
    """p = softmax(a), a = s(z) / T, s(z) = cap tanh(z / cap), over the last axis."""

    slope: Array  # da/dz
    slope_size: Array  # as sech^2 = 1 - tanh^2 it has the rounding errors of 1,
    slope_ulps: float  # so many of them
    curvature: Array  # d^2 a/dz^2, of which sech^2 is a factor
    curvature_size: Array
    p: Array
    rest: Array  # 1 - p, without a difference
    negative_log_p: Array
    moved: Array  # by how many eps log p_c moves when the exponents are rounded
    log_sum: Quantity  # log sum_k exp(a_k)


def softmax_of(z: Array, softcap: float | None = None, temperature: float = 1.0) -> Softmax:
    """The softmax of classes on the last axis."""
    t = np.asarray(temperature, z.dtype)
    s, slope, bend = z, np.ones_like(z), np.zeros_like(z)
    if softcap is not None:
        cap = np.asarray(softcap, z.dtype)
        tanh = np.tanh(z / cap)
        with np.errstate(over="ignore"):
            s, slope = cap * tanh, np.cosh(z / cap) ** -2
        bend = -2 * tanh / cap
    a = s / t
    negative_log_p = negative_log_softmax(a)
    maximum = a.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shift = np.abs(a - maximum) / 2  # a - max, rounded
        if softcap is not None or temperature != 1:
            shift += np.where(a == maximum, 0, EXPONENT_ULPS * (np.abs(a) + np.abs(maximum)))
        log_sum = _log_sum_exp(a, negative_log_p)
        above = np.abs(log_sum - maximum[..., 0])
    shift = np.where(np.isfinite(shift), shift, 0)
    p = np.exp(-negative_log_p)
    mean_shift = (p * shift).sum(axis=-1, keepdims=True)
    top = np.abs(maximum[..., 0])
    shift_of_all = mean_shift[..., 0]
    if softcap is not None or temperature != 1:
        shift_of_all = shift_of_all + EXPONENT_ULPS * top
    return Softmax(
        slope=slope / t,
        slope_size=np.ones_like(z) / t,
        slope_ulps=0 if softcap is None and temperature == 1 else EXPONENT_ULPS,
        curvature=bend * slope / t,
        curvature_size=np.abs(bend) / t,
        p=p,
        rest=-np.expm1(-negative_log_p),
        negative_log_p=negative_log_p,
        moved=shift + mean_shift,
        # a logarithm of a sum, at least 1, that was rounded, is added to the maximum
        log_sum=Quantity(log_sum, 1 + top + above, shift_of_all),
    )


def evaluate_helper(
    name: str,
    logits: ArrayLike,
    axis: int = -1,
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
) -> tuple[Quantity, Quantity]:
    """Value and gradient of softmax, log_softmax or logsumexp, with their sizes."""
    formulas = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}
    value, gradient = formulas[name](logits, axis, grad_output, dtype)
    z = _classes_last(logits, axis, dtype)
    s = softmax_of(z)
    g = np.abs(np.ones_like(value) if grad_output is None else np.asarray(grad_output, dtype))
    g = g[..., np.newaxis] if name == "logsumexp" else np.moveaxis(g, axis, -1)
    p, moved = s.p, s.p * s.moved
    # logarithms are of a sum, at least 1, that was rounded; log-sum-exp adds it to the maximum
    value_size = np.maximum(np.abs(value), 1)
    value_moved = np.zeros_like(value)
    if name == "softmax":
        value_size, value_moved = np.abs(value), np.moveaxis(moved, -1, axis)
        inner, inner_moved = ((g * x).sum(axis=-1, keepdims=True) for x in (p, moved))
        size, gradient_moved = p * (g + inner), moved * (g + inner) + p * inner_moved
    elif name == "log_softmax":
        total = g.sum(axis=-1, keepdims=True)
        size, gradient_moved = g + p * total, moved * total
    else:
        value_size = np.maximum(value_size, np.abs(z.max(axis=-1)))
        size, gradient_moved = p * g, moved * g
    gradient_sizes = (np.moveaxis(x, -1, axis) for x in (size, gradient_moved))
    return Quantity(value, value_size, value_moved), Quantity(gradient, *gradient_sizes)


def _part(
    s: Softmax, value: Quantity, first: Quantity, second: Quantity, counted: Array, share: Array
) -> Part:
    """A term whose first and second derivatives by the exponents a_c are given: the chain rule."""
    size = first.size * s.slope_size
    gradient = Quantity(first.exact * s.slope, size, first.moved * s.slope + s.slope_ulps * size)
    size = second.size * s.slope_size**2 + first.size * s.curvature_size
    hessian = Quantity(
        second.exact * s.slope**2 + first.exact * s.curvature,
        size,
        second.moved * s.slope**2 + first.moved * np.abs(s.curvature) + 2 * s.slope_ulps * size,
    )
    return Part(value, gradient, hessian, counted, share)


def _cross_entropy_part(
    s: Softmax, t: Array, counted: Array, share: Array, separate: bool = False
) -> Part:
    """sum_c t_c (-log p_c), and its gradient p_c sum_k t_k - t_c.

    The gradient is written (sum_k t_k - t_c) p_c - t_c (1 - p_c). ``separate`` says that where one
    of the two is 0 (a class index without smoothing) the other alone is what errors are relative
    to, because nothing need cancel.
    """
    # 0 * log 0 = 0: a class without a target has no say, even at probability 0
    silent = (t == 0) & np.isposinf(s.negative_log_p)
    total = t.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        terms = np.where(silent, 0, t * s.negative_log_p)
        others = (total - t) * s.p
        own = t * s.rest
    # of a distribution the logarithm of the sum, at least 1, that was rounded counts
    value_size = np.abs(terms) if separate else np.abs(terms) + np.abs(t)
    value = Quantity(terms.sum(axis=-1), value_size.sum(axis=-1), (t * s.moved).sum(axis=-1))
    moved = np.abs(total) * s.p * s.moved
    size = np.abs(others) + np.abs(own) if separate else np.abs(total) * s.p + np.abs(t)
    # 1 - p_c of the other classes is a difference; the Hessian there has the rounding errors of p_c
    second_size = np.where((t != 0) & separate, np.abs(total) * s.p * s.rest, np.abs(total) * s.p)
    return _part(
        s,
        value,
        Quantity(others - own, size, moved),
        Quantity(total * s.p * s.rest, second_size, moved),
        counted,
        share,
    )


def _z_part(s: Softmax, counted: Array, weighed: Array) -> Part:
    """The square of lse = log sum_k exp(a_k): gradient 2 lse p_c.

    A position that is not `weighed`, whose class has no weight, has none, and counts in a mean.
    """
    lse, size, moved = (x[..., np.newaxis] for x in s.log_sum)
    square = Quantity(lse**2, 2 * np.abs(lse) * size, 2 * np.abs(lse) * moved)
    first = Quantity(2 * lse * s.p, 2 * size * s.p, 2 * s.p * (moved + np.abs(lse) * s.moved))
    second = Quantity(
        2 * s.p * (s.p + lse * s.rest),
        2 * s.p * (s.p + size),  # 1 - p is a difference
        2 * s.p * (moved + (2 + np.abs(lse)) * s.moved),
    )
    square, first, second = (
        Quantity(*(np.where(weighed[..., np.newaxis], x, 0) for x in quantity))
        for quantity in (square, first, second)
    )
    value = Quantity(*(x[..., 0] for x in square))
    return _part(s, value, first, second, counted, counted.astype(s.p.dtype))


def _entropy_part(s: Softmax, counted: Array, weighed: Array) -> Part:
    """The entropy H = sum_c p_c (-log p_c); with q_c = log p_c + H its gradient is -p_c q_c.

    Its Hessian is -p_c (1 - p_c) - p_c (1 - 2 p_c) q_c. `weighed` as in `_z_part`.
    """
    nothing = s.p == 0  # 0 log 0 = 0
    with np.errstate(invalid="ignore"):
        surprise = np.where(nothing, 0, s.negative_log_p)
        moved = np.where(nothing, 0, s.moved)
        entropy = (s.p * surprise).sum(axis=-1, keepdims=True)
        of_entropy = (s.p * moved * (1 + surprise)).sum(axis=-1, keepdims=True)
        q, size = entropy - surprise, 1 + entropy + surprise
    first = Quantity(-s.p * q, s.p * size, s.p * (moved * size + of_entropy))
    second = Quantity(
        -s.p * (s.rest + (s.rest - s.p) * q),
        s.p * (1 + size),
        s.p * (2 * moved * (1 + size) + of_entropy),
    )
    value, first, second = (
        Quantity(*(np.where(weighed[..., np.newaxis], x, 0) for x in quantity))
        for quantity in (Quantity(entropy, 1 + entropy, of_entropy), first, second)
    )
    rows = Quantity(*(x[..., 0] for x in value))
    return _part(s, rows, first, second, counted, counted.astype(s.p.dtype))


def _further_parts(
    s: Softmax, counted: Array, weighed: Array, z_loss: float, entropy_bonus: float
) -> list[Part]:
    """What a mean divides by the number of positions."""
    z_part = [_z_part(s, counted, weighed).times(z_loss)] if z_loss else []
    if not entropy_bonus:
        return z_part
    return [*z_part, _entropy_part(s, counted, weighed).times(-entropy_bonus)]


def _focal_part(s: Softmax, one_hot: Array, alpha: Array, gamma: float, counted: Array) -> Part:
    """-alpha_y u^gamma log p_y with u = 1 - p_y.

    With M = u^gamma (1 - gamma p_y log p_y / u) its gradient is alpha_y (p_c - [c = y]) M, and its
    Hessian alpha_y (p_c (1 - p_c) M - r_c^2 p_y u^2 dM/dp_y), r_c = (p_c - [c = y]) / u.
    """

    def at_target(x: Array) -> Array:
        return np.where(one_hot, x, 0).sum(axis=-1, keepdims=True)

    p, u, negative_log_p, moved = map(at_target, (s.p, s.rest, s.negative_log_p, s.p * s.moved))
    lost = at_target(s.moved)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        loss = u**gamma * negative_log_p
        p_log_p = np.where(p == 0, 0, p * negative_log_p)
        over_u = np.where(u == 0, 1, p_log_p / u)  # -p log p / (1 - p), which tends to 1
        factor = u**gamma * (1 + gamma * over_u)
        r = np.where(u == 0, 0, np.where(one_hot, -1, s.p / u))
        # p_y u^2 dM/dp_y, of which each term has a sign
        bends = np.stack(
            [
                -2 * gamma * u ** (gamma + 1) * p,
                gamma * u ** (gamma + 1) * p_log_p,
                -gamma * (gamma - 1) * u ** (gamma + 1) * p * over_u,
            ]
        )
        # how far powers of u move, relative to themselves: by the rounding of gamma log u, and by
        # that of the exponents in u
        moved_u = np.where(u == 0, 0, 1.5 * gamma * np.abs(np.log(u)) + (gamma + 2) * moved / u)
        value = Quantity(loss, loss, u**gamma * lost + loss * moved_u)
    difference = np.where(one_hot, -s.rest, s.p)
    first = Quantity(
        difference * factor,
        np.abs(difference) * factor,
        (s.p * s.moved + np.abs(difference) * (moved_u + gamma * p * lost)) * factor,
    )
    bend_size = r**2 * np.abs(bends).sum(axis=0)
    second = Quantity(
        s.p * s.rest * factor - r**2 * bends.sum(axis=0),
        # as for cross-entropy, 1 - p_c is a difference but at the target
        s.p * np.where(one_hot, s.rest, 1) * factor + bend_size,
        s.p * (s.moved + moved_u) * factor + bend_size * (2 * moved_u + 2 * lost + 2 * s.moved),
    )
    part = _part(
        s,
        Quantity(*(x[..., 0] for x in value)),
        first,
        second,
        counted,
        counted.astype(s.p.dtype),
    )
    weight = at_target(alpha)
    return Part(
        part.value.times(weight[..., 0]),
        part.gradient.times(weight),
        part.hessian.times(weight),
        counted,
        part.share,
    )


# ---- The losses --------------------------------------------------------------------------------
# Each takes its prediction with the classes on the last axis, its targets as the caller gave them
# and where their classes are, and returns the parts that it is the sum of.


def _classes_last(x: ArrayLike, axis: int, dtype: DTypeLike) -> Array:
    return np.moveaxis(np.asarray(x).astype(dtype), axis, -1)


def _one_hot(target: ArrayLike, z: Array, ignore_index: int) -> tuple[Array, Array]:
    """[c = y] and whether the position counts, for class indices y."""
    y = np.asarray(target)
    counted = np.asarray(y != ignore_index)
    labels = np.where(counted, y, 0).astype(np.int64)[..., np.newaxis]
    return (np.arange(z.shape[-1]) == labels) & counted[..., np.newaxis], counted


def _smoothed(
    z: Array,
    target: ArrayLike,
    axis: int,
    weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
) -> tuple[Array, Array, Array]:
    """t_c of every kind of target, which positions count, and what they add to a mean's divisor.

    Index target y:        t_c = (1-e) w_y [c = y] + e/C w_c
    Probability target q:  t_c = w_c ((1-e) q_c + e/C)
    """
    classes = z.shape[-1]
    w = np.ones(classes, z.dtype) if weight is None else np.asarray(weight).astype(z.dtype)
    e = np.asarray(label_smoothing, z.dtype)
    if np.shape(target) == np.moveaxis(z, -1, axis).shape:
        t = w * ((1 - e) * _classes_last(target, axis, z.dtype) + e / classes)
        counted = np.ones(z.shape[:-1], bool)
        return t, counted, np.ones(z.shape[:-1], z.dtype)
    one_hot, counted = _one_hot(target, z, ignore_index)
    t = np.where(one_hot, (1 - e) * w, 0) + e / classes * w
    return t, counted, np.where(one_hot, w, 0).sum(axis=-1)


def _cross_entropy(
    z: Array,
    target: ArrayLike,
    axis: int,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
) -> list[Part]:
    s = softmax_of(z, softcap)
    t, counted, share = _smoothed(z, target, axis, weight, ignore_index, label_smoothing)
    separate = np.shape(target) != np.moveaxis(z, -1, axis).shape and not label_smoothing
    parts = [_cross_entropy_part(s, t, counted, share, separate)]
    weighed = share != 0 if separate else np.ones_like(counted)
    return [*parts, *_further_parts(s, counted, weighed, z_loss, entropy_bonus)]


def _focal_loss(
    z: Array,
    target: ArrayLike,
    axis: int,
    *,
    alpha: ArrayLike | None = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
) -> list[Part]:
    s = softmax_of(z, softcap)
    one_hot, counted = _one_hot(target, z, ignore_index)
    weights = np.broadcast_to(np.asarray(1 if alpha is None else alpha).astype(z.dtype), z.shape)
    parts = [_focal_part(s, one_hot, weights, gamma, counted)]
    weighed = np.where(one_hot, weights, 0).any(axis=-1)
    return [*parts, *_further_parts(s, counted, weighed, z_loss, entropy_bonus)]


def _soft_cross_entropy(
    z: Array, target_logits: ArrayLike, axis: int, *, temperature: float = 1.0
) -> list[Part]:
    """T^2 sum_c q_c (-log softmax(z / T)_c), q = softmax(t / T)."""
    teacher = softmax_of(_classes_last(target_logits, axis, z.dtype), temperature=temperature)
    s = softmax_of(z, temperature=temperature)
    everywhere = np.ones(z.shape[:-1], bool)
    part = _cross_entropy_part(s, teacher.p, everywhere, everywhere.astype(z.dtype))
    return [_with_moved_target(part, s, teacher).times(temperature**2)]


def _with_moved_target(part: Part, s: Softmax, teacher: Softmax) -> Part:
    """The part with what the rounding of the teacher's exponents adds."""
    moved = teacher.p * teacher.moved
    with np.errstate(invalid="ignore"):
        lost = np.where(moved == 0, 0, moved * s.negative_log_p).sum(axis=-1)
    value = part.value._replace(moved=part.value.moved + lost)
    gradient = part.gradient._replace(moved=part.gradient.moved + moved * s.slope_size)
    return Part(value, gradient, part.hessian, part.counted, part.share)


def _distillation_loss(
    z: Array,
    teacher: Any,
    target: ArrayLike | None = None,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    alpha: float = 0.5,
    ignore_index: int = -100,
) -> list[Part]:
    """alpha T^2 KL(q || softmax(z / T)) + (1 - alpha) cross-entropy(z, target).

    A teacher is logits, q = softmax(t / T), or the indices and logarithms of some of q.
    """
    s = softmax_of(z, temperature=temperature)
    counted = np.ones(z.shape[:-1], bool)
    if target is not None:
        one_hot, counted = _one_hot(target, z, ignore_index)
    share = counted.astype(z.dtype)
    if isinstance(teacher, tuple):
        log_q = _classes_last(teacher[1], axis, z.dtype)
        indices = np.moveaxis(np.asarray(teacher[0]), axis, -1)[..., np.newaxis]
        chosen = (indices == np.arange(z.shape[-1])) & (log_q > -np.inf)[..., np.newaxis]
        q = np.where(chosen, np.exp(log_q)[..., np.newaxis], 0).sum(axis=-2)
        part = _cross_entropy_part(s, q, counted, share)
    else:
        soft = softmax_of(_classes_last(teacher, axis, z.dtype), temperature=temperature)
        q, log_q = soft.p, -soft.negative_log_p
        part = _with_moved_target(_cross_entropy_part(s, q, counted, share), s, soft)
    with np.errstate(invalid="ignore"):
        information = np.where(np.exp(log_q) == 0, 0, np.exp(log_q) * log_q)
    entropy = Quantity(
        information.sum(axis=-1),
        np.abs(information).sum(axis=-1),
        # log q was rounded once; a teacher's exponents moved its cross-entropy alike
        part.value.moved,
    )
    part = Part(part.value.plus(entropy), part.gradient, part.hessian, counted, share)
    if target is None:
        return [part.times(temperature**2)]
    hard = _cross_entropy_part(softmax_of(z), one_hot.astype(z.dtype), counted, share, True)
    return [part.times(alpha * temperature**2), hard.times(1 - alpha)]


def _nll_loss(
    log_probs: Array,
    target: ArrayLike,
    axis: int,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
) -> list[Part]:
    """-w_y x_y: its gradient is -w_y at the target and 0 elsewhere."""
    classes = log_probs.shape[-1]
    w = np.ones(classes) if weight is None else np.asarray(weight)
    one_hot, counted = _one_hot(target, log_probs, ignore_index)
    weights = np.where(one_hot, w.astype(log_probs.dtype), 0)
    value = np.where(one_hot, -weights * np.where(one_hot, log_probs, 0), 0).sum(axis=-1)
    nothing = np.zeros_like(weights)
    return [
        Part(
            Quantity(value, np.abs(value), np.zeros_like(value)),
            Quantity(-weights, weights, nothing),
            Quantity(nothing, nothing, nothing),
            counted,
            weights.sum(axis=-1),
        )
    ]


#: Probabilities are clipped to [LEAST, 1 - LEAST].
LEAST = 1e-7


def _categorical_cross_entropy(
    probs: Array,
    target: ArrayLike,
    axis: int,
    *,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    alpha: ArrayLike | None = None,
    ignore_index: int = -100,
    arithmetic: DTypeLike = np.float64,
) -> list[Part]:
    """-sum_c t_c (1 - q_c)^gamma log q_c, q = p / sum(p) clipped, t_c times alpha_c.

    The rounding of the arithmetic moves the clips. With m_c = 1 where q_c is not clipped and u_c =
    t_c (1 - q_c)^gamma (1 - gamma q_c log q_c / (1 - q_c)), which is t_c if gamma is 0, its
    gradient is (sum_k m_k u_k - m_c u_c / q_c) / sum(p).
    """
    weight = None if alpha is None else np.broadcast_to(alpha, probs.shape[-1:])
    t, counted, _ = _smoothed(probs, target, axis, weight, ignore_index, label_smoothing)
    one = np.dtype(arithmetic).type(1)
    least = np.dtype(arithmetic).type(LEAST)
    most = one - least
    total = probs.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = probs / total
        kept = (q >= least) & (q <= most)
        # where the roundings of a sum and a quotient may decide otherwise
        reach = (min(probs.shape[-1], LONGEST_RUN) / 2 + 1) * np.finfo(arithmetic).eps
        near = [np.abs(q - bound) <= reach * bound for bound in (least, most)]
        uncertain = near[0] | near[1]
        q = np.clip(q, least.astype(probs.dtype), most.astype(probs.dtype))
        # the largest apart from the others, so that 1 - q keeps its digits
        top = np.arange(probs.shape[-1]) == probs.argmax(axis=-1)[..., np.newaxis]
        others = np.where(top, np.where(top, 0, probs).sum(-1, keepdims=True), total - probs)
        rest = np.where(kept, others / total, 1 - q)
        surprise = np.where(top, np.log1p(rest / q), -np.log(q))
        value = t * rest**gamma * surprise
        u = t * rest**gamma * (1 + gamma * q * surprise / rest)
        all_kept = np.where(kept, u, 0).sum(axis=-1, keepdims=True)
        own = np.where(kept, u / q, 0)
        undecided = np.where(uncertain, u, 0).sum(axis=-1, keepdims=True)
        other = (undecided + np.where(uncertain, u / q, 0)) / np.abs(total)
        size = (all_kept + own) / np.abs(total) + other
        exact = (all_kept - own) / total
        if gamma:
            # at the largest u (1 - q) / q, nothing lost; powers have an error gamma times larger
            u = np.where(kept, u, 0)
            of_top = (all_kept - u + u * rest / q) / np.abs(total) + other
            size = (1 + gamma) * np.where(top, of_top, size)
            exact = np.where(top & kept, (all_kept - u - u * rest / q) / total, exact)
        gradient = Quantity(exact, size, other / np.finfo(arithmetic).eps)
    # the rounding of q, a quotient of a sum, counts as it is: log q moves by it near log 1 = 0
    size = ((1 + gamma) * np.abs(value) + (t if gamma == 0 else 0)).sum(axis=-1)
    return [
        Part(
            Quantity(value.sum(axis=-1), size, np.zeros_like(size)),
            gradient,
            gradient.times(np.nan),  # not offered
            counted,
            counted.astype(probs.dtype),
        )
    ]


PARTS: dict[str, Callable[..., list[Part]]] = {
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
    "categorical_cross_entropy": _categorical_cross_entropy,
    "focal_loss": _focal_loss,
    "soft_cross_entropy": _soft_cross_entropy,
    "distillation_loss": _distillation_loss,
}


def evaluate(
    loss: str,
    prediction: ArrayLike,
    *targets: Any,
    axis: int | None = None,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
    **options: Any,
) -> Evaluation:
    """Every result of a loss, with what the rounding errors of each are relative to."""
    z = np.asarray(prediction, dtype)
    if axis is None:
        axis = -1 if loss == "categorical_cross_entropy" else class_axis(z.ndim)
    parts = PARTS[loss](np.moveaxis(z, axis, -1), *targets, axis=axis, **options)
    return reduced(parts, axis, reduction, sample_weight, grad_output)


def _result(loss: str) -> Callable[..., Result]:
    def result(prediction: ArrayLike, *targets: Any, **options: Any) -> Result:
        evaluation = evaluate(loss, prediction, *targets, **options)
        return Result(evaluation.value.exact, evaluation.gradient.exact)

    result.__doc__ = f"Value and gradient of `{loss}`."
    return result


cross_entropy = _result("cross_entropy")
nll_loss = _result("nll_loss")
categorical_cross_entropy = _result("categorical_cross_entropy")
focal_loss = _result("focal_loss")
soft_cross_entropy = _result("soft_cross_entropy")
distillation_loss = _result("distillation_loss")


def outputs(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    ignore_index: int = -100,
    softcap: float | None = None,
    dtype: DTypeLike = np.float64,
) -> dict[str, Quantity]:
    """lse, entropy = -sum_c p_c log p_c, accuracy and log_prob of every position, 0 where ignored.

    log_prob = log p_y is of class indices alone.
    """
    axis = class_axis(np.ndim(logits))
    z = _classes_last(logits, axis, dtype)
    s = softmax_of(z, softcap)
    t, counted, _ = _smoothed(z, target, axis, None, ignore_index, 0.0)
    labels = np.asarray(target)
    is_index = labels.shape != np.shape(logits)
    if not is_index:
        labels = labels.argmax(axis=axis)
    right = (z.argmax(axis=-1) == labels).astype(z.dtype)
    entropy = _cross_entropy_part(s, s.p, counted, counted).value
    with np.errstate(invalid="ignore"):
        uncertain = np.where(s.p == 0, 0, s.p * s.moved * (1 + s.negative_log_p)).sum(axis=-1)
    surprise = _cross_entropy_part(s, t, counted, counted, separate=True).value
    log_prob = {"log_prob": where_counted(counted, surprise._replace(exact=-surprise.exact))}
    return {
        **(log_prob if is_index else {}),
        "lse": where_counted(counted, s.log_sum),
        # log p_c is off by the logarithm of a sum that was rounded
        "entropy": where_counted(counted, Quantity(entropy.exact, 1 + entropy.size, uncertain)),
        "accuracy": where_counted(counted, Quantity(right, right * 0, right * 0)),
    }


# ---- The formulas as frameworks spell them -----------------------------------------------------


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
    axis = class_axis(np.ndim(logits))
    z = _classes_last(logits, axis, dtype)
    t, counted, share = _smoothed(z, target, axis, weight, ignore_index, label_smoothing)
    log_p = naive_log_softmax(z)
    with np.errstate(invalid="ignore"):
        value = np.where((t == 0) & np.isneginf(log_p), 0, -t * log_p).sum(axis=-1)
    gradient = np.exp(log_p) * t.sum(axis=-1, keepdims=True) - t
    rows, slopes = (Quantity(x, x, x) for x in (value, gradient))
    part = Part(rows, slopes, slopes, counted, share)
    evaluation = reduced([part], axis, reduction, None, grad_output)
    return Result(evaluation.value.exact, evaluation.gradient.exact)


def naive_log_softmax(logits: Array) -> Array:
    """Log-softmax over the last axis by subtraction of the maximum, in the logits' own dtype."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
        log_p: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p
