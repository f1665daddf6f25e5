"""Losses row by row: of scores of classes, and of vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp

from fusedloss import _check
from fusedloss._core import RowwiseCall
from fusedloss.jax._formulas.elementary import (
    at_least,
    product,
    reduced,
    relu,
    root,
    softplus,
    spoiled,
    wide,
)
from fusedloss.jax._formulas.softmax import labels_of

#: No class index is ignored.
NONE_IGNORED = 1 << 62

#: Norms are no less (Keras), and what is added to squared ones (torch).
EPSILON, SQUARED_EPSILON = 1e-7, 1e-12


def _axis(ndim: int, axis: int | None) -> int:
    return (1 if ndim > 1 else 0) if axis is None else int(axis) % ndim


def axes(number: int, call: RowwiseCall) -> tuple[int, ...] | None:
    """Return the axis of a row; None for an argument that is broadcast."""
    first, *rest = call.operands.values()
    whole = [x for x, role in zip(rest, call.roles, strict=True) if role == _check.ROWS]
    if any(x.shape != first.shape for x in whole):
        return None
    return (_axis(first.ndim, call.axis),)


def formula(given: Any, call: RowwiseCall) -> Any:
    """Return the loss."""
    first, *others = [given(x) for x in call.operands.values()]
    dtype, at, roles = first.dtype, _axis(first.ndim, call.axis), call.roles
    if any(role == _check.ROWS for role in roles):
        shapes = [x.shape for x, r in zip(others, roles, strict=True) if r == _check.ROWS]
        first = jnp.broadcast_to(first, jnp.broadcast_shapes(first.shape, *shapes))
    shape = first.shape
    x = jnp.moveaxis(wide(first), at, -1)
    v = given(call.sample_weight)
    where = given(call.where)
    if where is not None:
        v = jnp.where(where, 1 if v is None else v, 0)
    silent = jnp.zeros(x.shape[:-1], bool) if v is None else v == 0
    bad = jnp.zeros_like(silent)

    def filled(y: Any) -> Any:
        return y if v is None else jnp.where(silent[..., None], 0.5, y)

    each = []
    for y, role in zip(others, roles, strict=True):
        if role == _check.LABELS:
            y, bad = _listed(jnp.moveaxis(y, at, -1), x.shape[-1])
        elif role == _check.VALUES:
            y = y.astype(x.dtype)
        elif role == _check.INDICES or y.ndim < first.ndim:
            y, _, bad = labels_of(y, x.shape[-1], NONE_IGNORED)
        else:
            y = filled(jnp.moveaxis(jnp.broadcast_to(y, shape), at, -1).astype(x.dtype))
        each.append(y)
    bad = bad if where is None else bad & where
    options = {} if call.weight is None else {"weight": given(call.weight).astype(x.dtype)}
    row = filled(jnp.where(bad[..., None], 0, x))
    losses = ROWS[call.name](row, *each, *call.parameters, **options)
    counts = None if v is None else v.astype(x.dtype)
    value = reduced(jnp.where(bad, 0, losses), counts, counts, call.reduction)
    of_bad = spoiled(jnp.zeros_like(losses), bad, x)
    value = value + (of_bad if call.reduction == "none" else of_bad.sum())
    return value.astype(dtype)


def _listed(target: Any, classes: int) -> tuple[Any, Any]:
    """Return rows of class indices with -1 from the first of them on, and which rows are bad."""
    target = target.astype(jnp.int32)
    listed = jnp.cumprod((target != -1).astype(jnp.int32), -1) == 1
    bad = (listed & ((target < 0) | (target >= classes))).any(-1)
    return jnp.where(listed & ~bad[..., None], target, -1), bad


def _at(x: Any, index: Any) -> Any:
    return jnp.take_along_axis(x, index[..., None], -1)


def _one_hot(index: Any, like: Any) -> Any:
    return jax.nn.one_hot(index, like.shape[-1], dtype=like.dtype)


def _multi_margin(x: Any, y: Any, p: float, margin: float, weight: Any = None) -> Any:
    gap = relu(margin - _at(x, y) + x)
    own = _one_hot(y, x) > 0
    powers = jnp.where(own, 0, gap if p == 1 else gap * gap).sum(-1) / x.shape[-1]
    return powers if weight is None else weight[y] * powers


def _categorical_hinge(x: Any, t: Any) -> Any:
    t = _one_hot(t, x) if t.ndim < x.ndim else t
    others = (1 - t) * x
    largest = _at(others, jnp.argmax(others, -1))[..., 0]
    return relu(largest - (t * x).sum(-1) + 1)


def _multilabel_margin(x: Any, target: Any) -> Any:
    listed = target >= 0
    right = (jax.nn.one_hot(target, x.shape[-1], dtype=x.dtype) > 0).any(-2)
    own = jnp.take_along_axis(x, jnp.where(listed, target, 0), -1)
    gap = relu(1 - own[..., None] + x[..., None, :])
    counted = listed[..., :, None] & ~right[..., None, :]
    return jnp.where(counted, gap, 0).sum((-1, -2)) / x.shape[-1]


def _multilabel_soft_margin(x: Any, t: Any, weight: Any = None) -> Any:
    share = (1.0 if weight is None else weight) / x.shape[-1]
    value = product(t, softplus(-x)) + product(1 - t, softplus(x))
    return (share * value).sum(-1)


def _poly1(z: Any, t: Any, epsilon: float) -> Any:
    index = t.ndim < z.ndim
    log_p = jax.nn.log_softmax(z, -1)
    if index:
        entropy = -_at(log_p, t)[..., 0]
        rest = -jnp.expm1(-entropy)
    else:
        entropy = product(t, -log_p).sum(-1)
        rest = 1 - (t * jnp.exp(log_p)).sum(-1)
    return entropy + epsilon * rest


def _generalized_cross_entropy(p: Any, t: Any, q: float) -> Any:
    if t.ndim < p.ndim:
        return (1 - _at(p, t)[..., 0] ** q) / q
    return (t * (1 - jnp.where(t == 0, 1, p) ** q)).sum(-1) / q


def _focal_of_shares(z: Any, t: Any, gamma: float, weight: Any = None) -> Any:
    log_p = jax.nn.log_softmax(z, -1)
    # 1 - p, and not quite 0: a power below 1 has no derivative there.
    rest = jnp.maximum(-jnp.expm1(log_p), jnp.finfo(z.dtype).tiny)
    shares = t if weight is None else weight * t
    return product(shares, rest**gamma * -jnp.where(shares == 0, 0, log_p)).sum(-1)


def _sparsemax(x: Any, y: Any) -> Any:
    z = x - jax.lax.stop_gradient(x.max(-1, keepdims=True))
    ordered = jnp.flip(jnp.sort(z, -1), -1)
    count = jnp.arange(1, z.shape[-1] + 1)
    size = (1 + count * ordered > ordered.cumsum(-1)).sum(-1, keepdims=True)
    supported = z >= jnp.take_along_axis(ordered, jnp.maximum(size - 1, 0), -1)
    tau = (jnp.where(supported, z, 0).sum(-1, keepdims=True) - 1) / size
    p = relu(z - tau)
    return (p * (z - _at(z, y))).sum(-1) + (1 - (p * p).sum(-1)) / 2


def _ranking_softmax(z: Any, labels: Any) -> Any:
    return product(labels, -jax.nn.log_softmax(z, -1)).sum(-1)


def _cosine_similarity(x: Any, y: Any) -> Any:
    lengths = [root((a * a).sum(-1, keepdims=True)) for a in (x, y)]
    a, b = (u / at_least(n, EPSILON) for u, n in zip((x, y), lengths, strict=True))
    return -(a * b).sum(-1)


def _cosine_embedding(x: Any, y: Any, t: Any, margin: float) -> Any:
    squares = [(a * a).sum(-1) + SQUARED_EPSILON for a in (x, y)]
    cosine = (x * y).sum(-1) / jnp.sqrt(squares[0] * squares[1])
    gap = cosine - margin
    beyond = jnp.where(gap < 0, 0, gap)
    return jnp.where(t == 1, 1 - cosine, jnp.where(t == -1, beyond, 0))


def _distance(x: Any, y: Any, p: float, eps: float) -> Any:
    d = x - y + eps
    if p == 1:
        return jnp.abs(d).sum(-1)
    if p == 2:
        return root((d * d).sum(-1))
    if p == math.inf:
        return jnp.abs(d).max(-1)
    size = jnp.abs(d)
    zero = size == 0
    powers = jnp.where(zero, 0, jnp.where(zero, 1, size) ** p).sum(-1)
    zero = powers == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, powers) ** (1 / p))


def _triplet_margin(
    a: Any, p: Any, n: Any, margin: float, order: float, eps: float, swap: float
) -> Any:
    near, far = _distance(a, p, order, eps), _distance(a, n, order, eps)
    if swap:
        far = jnp.minimum(far, _distance(p, n, order, eps))
    gap = margin + near - far
    return jnp.where(gap < 0, 0, gap)


def _larger(a: Any, b: Any) -> Any:
    """Return the larger one; of equal ones half the gradient is each one's."""
    return jnp.where(a == b, (a + b) / 2, jnp.maximum(a, b))


def _smaller(a: Any, b: Any) -> Any:
    return -_larger(-a, -b)


def _parts(x: Any, t: Any) -> tuple[Any, Any, Any]:
    """Return the areas of intersection and union of boxes, and the enclosing box's sides."""
    sides = _smaller(x[..., 2:], t[..., 2:]) - _larger(x[..., :2], t[..., :2])
    overlap = (sides > 0).all(-1)
    common = jnp.where(overlap, jnp.where(overlap[..., None], sides, 1).prod(-1), 0)
    areas = ((y[..., 2:] - y[..., :2]).prod(-1) for y in (x, t))
    around = _larger(x[..., 2:], t[..., 2:]) - _smaller(x[..., :2], t[..., :2])
    return common, sum(areas) - common, around


def _generalized_box_iou(x: Any, t: Any, eps: float) -> Any:
    common, union, around = _parts(x, t)
    area = around.prod(-1)
    return 1 - common / (union + eps) + (area - union) / (area + eps)


def _distance_box_iou(x: Any, t: Any, eps: float) -> Any:
    common, union, around = _parts(x, t)
    apart = (x[..., :2] + x[..., 2:] - t[..., :2] - t[..., 2:]) / 2
    distance = (apart**2).sum(-1) / ((around**2).sum(-1) + eps)
    return 1 - common / (union + eps) + distance


def _complete_box_iou(x: Any, t: Any, eps: float) -> Any:
    common, union, _ = _parts(x, t)
    angles = (jnp.arctan((y[..., 2] - y[..., 0]) / (y[..., 3] - y[..., 1])) for y in (x, t))
    of_x, of_t = angles
    shape = 4 / math.pi**2 * (of_t - of_x) ** 2
    alpha = jax.lax.stop_gradient(shape / (1 - common / (union + eps) + shape + eps))
    return _distance_box_iou(x, t, eps) + alpha * shape


#: By the kernels' rows.
ROWS: dict[str, Callable[..., Any]] = {
    "categorical_hinge_loss": _categorical_hinge,
    "complete_box_iou_loss": _complete_box_iou,
    "cosine_embedding_loss": _cosine_embedding,
    "cosine_similarity_loss": _cosine_similarity,
    "distance_box_iou_loss": _distance_box_iou,
    "focal_loss_of_shares": _focal_of_shares,
    "generalized_box_iou_loss": _generalized_box_iou,
    "generalized_cross_entropy": _generalized_cross_entropy,
    "multi_margin_loss": _multi_margin,
    "multilabel_margin_loss": _multilabel_margin,
    "multilabel_soft_margin_loss": _multilabel_soft_margin,
    "poly1_cross_entropy": _poly1,
    "ranking_softmax_loss": _ranking_softmax,
    "sparsemax_loss": _sparsemax,
    "triplet_margin_loss": _triplet_margin,
}
