"""Losses of images, sequences, teachers, layers and tuplets, and the softmax itself."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from fusedloss._lower.segmentation import Overlap
from fusedloss._lower.tuplets import Angular
from fusedloss.jax._formulas import pairs, points
from fusedloss.jax._formulas.elementary import (
    log_sum_exp,
    product,
    reduced,
    softplus,
    spoiled,
    unit_rows,
    wide,
)
from fusedloss.jax._formulas.softmax import labels_of, losses_of_indices

# ---- The softmax ------------------------------------------------------------------------------


def softmax(given: Any, logits: Any, axis: int, num_threads: Any) -> Any:
    """Return the softmax."""
    z = given(logits)
    return jax.nn.softmax(wide(z), axis).astype(z.dtype)


def log_softmax(given: Any, logits: Any, axis: int, num_threads: Any) -> Any:
    """Return its logarithm."""
    z = given(logits)
    return jax.nn.log_softmax(wide(z), axis).astype(z.dtype)


def logsumexp(given: Any, logits: Any, axis: int, num_threads: Any) -> Any:
    """Return the log-sum-exp."""
    z = given(logits)
    return jax.nn.logsumexp(wide(z), axis).astype(z.dtype)


def logsumexp_axes(number: int, logits: Any, axis: int, num_threads: Any) -> tuple[int, ...] | None:
    """Return the axis that is summed over."""
    return (axis % logits.ndim,)


def zero_one_of_scores(
    given: Any, scores: Any, target: Any, weight: Any, reduction: str, num_threads: Any
) -> Any:
    """Return the share of wrong classes."""
    z, w = given(scores), given(weight)
    axis = 1 if z.ndim > 1 else 0
    wrong = (jnp.argmax(z, axis) != given(target)).astype(wide(z).dtype)
    return reduced(wrong, w, None, reduction).astype(z.dtype)


# ---- Images -----------------------------------------------------------------------------------


def _pixels(z: Any, t: Any, ignore_index: int) -> tuple[Any, ...]:
    """Return log-probabilities and labels, (N, C, P), pixels that count, bad ones, and logits."""
    shape = z.shape
    z = wide(z).reshape(*shape[:2], -1)
    if t.shape == shape:
        counted = jnp.ones((shape[0], z.shape[2]), bool)
        one_hot, bad = t.astype(z.dtype).reshape(z.shape), ~counted
    else:
        index, ignored, bad = labels_of(t.reshape(shape[0], -1), shape[1], ignore_index)
        counted = ~(ignored | bad)
        one_hot = jax.nn.one_hot(index, shape[1], axis=1, dtype=z.dtype) * counted[:, None]
    log_p = jax.nn.log_softmax(jnp.where(counted[:, None], z, 0), 1)
    return log_p, one_hot, counted, bad, jnp.moveaxis(z, 1, -1)


def overlap(
    given: Any,
    logits: Any,
    target: Any,
    score: Overlap,
    factors: tuple[float, float],
    ignore_index: int,
    reduction: str,
    num_threads: Any,
) -> Any:
    """Return the overlap loss and the cross-entropy, times their factors."""
    x = given(logits)
    log_p, t, counted, bad, z = _pixels(x, given(target), int(ignore_index))
    p = jnp.exp(log_p) * counted[:, None]
    true, wrong, missed = (p * t).sum(2), (p * (counted[:, None] - t)).sum(2), ((1 - p) * t).sum(2)
    lost = score.alpha * wrong + score.beta * missed
    whole = true + lost + score.smooth
    rest = lost / jnp.where(whole == 0, 1, whole)
    losses = rest if score.gamma == 1 else points.power(rest, score.gamma)
    of_bad = spoiled(jnp.zeros(bad.shape, z.dtype), bad, z).sum(1)
    if reduction == "none":
        return (losses + of_bad[:, None]).astype(x.dtype)
    entropy, pixels = product(t, -log_p).sum(), counted.sum()
    means = reduction == "mean"
    value = factors[0] * (losses.mean() if means else losses.sum()) + of_bad.sum()
    if factors[1]:
        value = value + factors[1] * (entropy / jnp.maximum(pixels, 1) if means else entropy)
    return value.astype(x.dtype)


def lovasz(
    given: Any, logits: Any, target: Any, ignore_index: int, reduction: str, num_threads: Any
) -> Any:
    """Return the Lovasz extension of the Jaccard losses of classes."""
    x = given(logits)
    log_p, t, counted, bad, z = _pixels(x, given(target), int(ignore_index))
    p = jnp.moveaxis(jnp.exp(log_p), 1, 0).reshape(x.shape[1], -1)
    own = jnp.moveaxis(t, 1, 0).reshape(x.shape[1], -1) > 0
    some = counted.reshape(-1)
    errors = jnp.where(some, jnp.where(own, 1 - p, p), -1)  # -1: at the end of the order

    def of_class(errors: Any, own: Any) -> Any:
        order = jnp.argsort(-errors)
        hit, counts = own[order], some[order]
        number = own.sum()
        union = number + (counts & ~hit).cumsum()
        steps = 1 - (number - hit.cumsum()) / jnp.where(union == 0, 1, union)
        steps = jnp.where(counts, jnp.diff(steps, prepend=0.0), 0)
        return (errors[order] * jax.lax.stop_gradient(steps)).sum()

    present = own.any(1)
    losses = jnp.where(present, jax.vmap(of_class)(errors, own), 0)
    of_bad = spoiled(jnp.zeros(bad.shape, z.dtype), bad, z).sum()
    if reduction == "none":
        return (losses + of_bad).astype(x.dtype)
    total = losses.sum()
    if reduction == "mean":
        count = present.sum()
        total = jnp.where(count == 0, jnp.nan, total / jnp.maximum(count, 1))
    return (total + of_bad).astype(x.dtype)


# ---- Teachers ---------------------------------------------------------------------------------


def distillation_axes(number: int, student: Any, *others: Any) -> tuple[int, ...] | None:
    """Return the axis of classes."""
    return (1 if student.ndim > 1 else 0,)


def distillation(
    given: Any,
    student: Any,
    teacher: Any,
    target: Any,
    temperature: float,
    alpha: float,
    ignore_index: int,
    reduction: str,
    sample_weight: Any,
    divergence: bool,
    num_threads: Any,
) -> Any:
    """Return alpha T^2 soft + (1 - alpha) hard."""
    x = given(student)
    axis = 1 if x.ndim > 1 else 0
    z = jnp.moveaxis(wide(x), axis, -1)
    v = given(sample_weight)
    silent = jnp.zeros(z.shape[:-1], bool) if v is None else v == 0
    bad = jnp.zeros_like(silent)
    at = ignored = None
    if target is not None:
        at, ignored, bad = labels_of(given(target), z.shape[-1], int(ignore_index))
        silent = silent | ignored | bad
    rows, z = z, jnp.where(silent[..., None], 1, z)

    def filled(q: Any) -> Any:
        return jnp.where(silent[..., None], 1, jnp.moveaxis(q.astype(z.dtype), axis, -1))

    log_p = jax.nn.log_softmax(z / temperature, -1)
    if isinstance(teacher, tuple | list):
        classes, log_q = (given(q) for q in teacher)
        log_q = filled(log_q)
        log_p = jnp.take_along_axis(log_p, jnp.moveaxis(classes, axis, -1), -1)
    else:
        log_q = jax.nn.log_softmax(filled(given(teacher)) / temperature, -1)
    q = jnp.exp(log_q)
    soft = product(q, log_q - log_p if divergence else -log_p).sum(-1)
    share = 1.0 if target is None else alpha
    losses = share * temperature**2 * soft
    if target is not None:
        hard = losses_of_indices(jax.nn.log_softmax(z, -1), at, None, 0.0, 0.0)
        losses = losses + (1 - share) * hard
    counts = jnp.where(silent, 0, 1 if v is None else v).astype(z.dtype)
    value = reduced(losses, counts, counts, reduction)
    of_bad = spoiled(jnp.zeros_like(losses), bad, rows)
    return (value + (of_bad if reduction == "none" else of_bad.sum())).astype(x.dtype)


# ---- Sequences --------------------------------------------------------------------------------

#: The logarithm of no probability; the difference of infinities would have no derivative.
IMPOSSIBLE = -1e30


def ctc_axes(number: int, log_probs: Any, *others: Any) -> tuple[int, ...] | None:
    """Return the axes of frames and classes."""
    return (0, log_probs.ndim - 1)


def ctc(
    given: Any,
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    zero_infinity: bool,
    reduction: str,
    num_threads: Any,
) -> Any:
    """Return the loss of sequences, whose log-probabilities are a log-softmax's."""
    x, labels = given(log_probs), given(targets)
    frames, lengths = given(input_lengths).reshape(-1), given(target_lengths).reshape(-1)
    log_p = jax.nn.log_softmax(wide(x), -1)
    log_p = log_p[:, None] if x.ndim == 2 else log_p
    most, sequences, classes = log_p.shape
    longest = labels.shape[-1]
    if labels.ndim == 1:
        first = jnp.cumsum(lengths) - lengths
        at = first[:, None] + jnp.arange(longest)
        labels = jnp.take(labels, jnp.minimum(at, max(longest - 1, 0)))
    listed = jnp.arange(longest) < lengths[:, None]
    bad = (listed & ((labels < 0) | (labels >= classes) | (labels == blank))).any(1)
    labels = jnp.where(listed & ~bad[:, None], labels, blank)
    states = jnp.full((sequences, 2 * longest + 1), blank).at[:, 1::2].set(labels)
    earlier = jnp.pad(states, ((0, 0), (2, 0)), constant_values=-1)[:, :-2]
    skips = (states != blank) & (states != earlier)
    emitted = jnp.take_along_axis(log_p, jnp.broadcast_to(states, (most, *states.shape)), 2)
    nothing = jnp.full(states.shape, IMPOSSIBLE, log_p.dtype)

    def shifted(alpha: Any, by: int) -> Any:
        return jnp.concatenate([nothing[:, :by], alpha[:, :-by]], 1)[:, : alpha.shape[1]]

    def step(alpha: Any, frame: Any) -> Any:
        number, own = frame
        moved = jnp.logaddexp(alpha, shifted(alpha, 1))
        moved = jnp.logaddexp(moved, jnp.where(skips, shifted(alpha, 2), IMPOSSIBLE))
        return jnp.where((number < frames)[:, None], moved + own, alpha), None

    start = jnp.where(jnp.arange(states.shape[1]) < 2, emitted[0], IMPOSSIBLE)
    alpha, _ = jax.lax.scan(step, start, (jnp.arange(1, most), emitted[1:]))
    ends = jnp.take_along_axis(alpha, 2 * lengths[:, None], 1)[:, 0]
    last = jnp.take_along_axis(alpha, jnp.maximum(2 * lengths[:, None] - 1, 0), 1)[:, 0]
    losses = -jnp.where(lengths > 0, jnp.logaddexp(ends, last), ends)
    impossible = losses > -IMPOSSIBLE / 2
    losses = jnp.where(impossible, 0 if zero_infinity else jnp.inf, losses)
    losses = losses * jnp.where(bad, jnp.nan, 1)
    if reduction == "none":
        return losses.reshape(x.shape[1:-1]).astype(x.dtype)
    if reduction == "mean":
        return (losses / jnp.maximum(lengths, 1)).mean().astype(x.dtype)
    return losses.sum().astype(x.dtype)


# ---- Layers and tuplets -----------------------------------------------------------------------


def layers(
    given: Any, row: str, each: list[dict[str, Any]], factors: list[float], reduction: str, *_: Any
) -> Any:
    """Return the sum of a pointwise loss of each layer times a factor."""
    total, dtype = jnp.zeros(()), None
    for operands, factor in zip(each, factors, strict=True):
        arrays = [given(x) if x.ndim or given.has(x) else jnp.zeros(()) for x in operands.values()]
        dtype = arrays[0].dtype if dtype is None else dtype
        x, t = jnp.broadcast_arrays(*map(wide, arrays))
        losses = points.POINTS[row](x, t)
        total = total + factor * reduced(losses, None, None, reduction)
    return total.astype(dtype)


def triplets(
    given: Any,
    operands: dict[str, Any],
    distance: Any,
    margin: float,
    swap: bool,
    reduction: str,
    num_threads: Any,
) -> Any:
    """Raise an error: distances of NumPy's arrays cannot be differentiated by JAX."""
    raise TypeError("distance_function is given: expected None in JAX")


def angular(given: Any, call: Angular) -> Any:
    """Return the angular loss, from all triplets."""
    e, labels = given(call.embeddings), given(call.labels)
    dtype, e = e.dtype, wide(e)
    other = e if call.reference is None else wide(given(call.reference))
    other_labels = labels if call.reference_labels is None else given(call.reference_labels)
    unit = [unit_rows(x, least=pairs.LEAST_NORM) if call.normalize else x for x in (e, other)]
    same = labels[:, None] == other_labels
    positive = same if call.reference is not None else same & ~jnp.eye(len(e), dtype=bool)
    times = positive.astype(e.dtype)
    if call.listed is not None:
        times = jnp.zeros_like(times).at[call.listed].add(1)
    square = math.tan(call.alpha) ** 2
    s = unit[0] @ unit[1].T
    z = 4 * square * ((unit[0] @ other.T)[:, None] + (unit[1] @ other.T)[None])
    z = z - 2 * (1 + square) * s[..., None]
    negative = jnp.broadcast_to((~same)[:, None], z.shape).reshape(-1, z.shape[2])
    lse = log_sum_exp(z.reshape(-1, z.shape[2]), negative.astype(z.dtype), -jnp.inf)
    losses = softplus(lse).reshape(s.shape)
    total = (losses * times).sum()
    divisor: Any = 1.0
    if call.reduction != "sum":
        divisor = (times if call.reduction == "mean" else times * (losses > 0)).sum()
    return (total / jnp.where(divisor == 0, 1, divisor)).astype(dtype)


def n_pairs(given: Any, embeddings: Any, at: Any, call: Any) -> Any:
    """Return the N-pairs loss, of each label's first two embeddings."""
    e = given(embeddings)
    dtype, e = e.dtype, wide(e)
    anchors: Any
    positives: Any
    indices = given.static.get("indices_tuple")
    if indices is not None:
        anchors, positives = (np.asarray(x) for x in at)
        valid = jnp.ones(len(anchors), bool)
    else:
        labels = given.named["labels"]
        order = jnp.argsort(labels, stable=True)
        y = labels[order]
        begins = jnp.concatenate([jnp.ones(1, bool), y[1:] != y[:-1]])
        valid = begins[:-1] & ~begins[1:]
        anchors, positives = order[:-1], order[1:]
    x, y = e[anchors], e[positives]
    if call.normalize:
        x, y = (unit_rows(u, least=pairs.LEAST_NORM) for u in (x, y))
    s = x @ y.T
    own = jnp.diagonal(s)
    negative = (valid & ~jnp.eye(len(s), dtype=bool)).astype(s.dtype)
    losses = softplus(log_sum_exp(s - own[:, None], negative, -jnp.inf))
    losses = jnp.where(valid & (valid.sum() > 1), losses, 0)
    if call.reduction == "sum":
        return losses.sum().astype(dtype)
    count = (losses > 0).sum() if call.nonzero else valid.sum()
    return (losses.sum() / jnp.maximum(count, 1)).astype(dtype)
