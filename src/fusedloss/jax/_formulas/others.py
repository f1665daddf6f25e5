"""Losses of images, sequences, teachers, layers and tuplets, and the softmax itself."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from fusedloss._check import Images, LinearCall
from fusedloss._lower.indices import lists
from fusedloss._lower.manifold import Manifold
from fusedloss._lower.segmentation import GeneralizedDice, Overlap
from fusedloss._lower.soft_margin import SoftMargin
from fusedloss._lower.tuplets import Angular
from fusedloss.jax._formulas import pairs, points
from fusedloss.jax._formulas.elementary import (
    log_sum_exp,
    product,
    reduced,
    relu,
    root,
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
    given: Any,
    scores: Any,
    target: Any,
    weight: Any,
    where: Any,
    reduction: str,
    num_threads: Any,
) -> Any:
    """Return the share of wrong classes."""
    z, w, mask = given(scores), given(weight), given(where)
    axis = 1 if z.ndim > 1 else 0
    wrong = (jnp.argmax(z, axis) != given(target)).astype(wide(z).dtype)
    counts = None
    if mask is not None:
        counts = jnp.broadcast_to(mask != 0, wrong.shape).astype(wrong.dtype)
        w = counts if w is None else jnp.where(counts == 0, 0, w)
    return reduced(wrong, w, counts, reduction).astype(z.dtype)


# ---- Images -----------------------------------------------------------------------------------


class _Pixels(NamedTuple):
    """Numbers of pixels, (N, C, P), 0 where a label does not count."""

    z: Any
    p: Any
    t: Any
    counts: Any  # the weight of each label
    of_pixels: Any  # (N, P): that of each pixel
    class_weight: Any  # (C,), ones if absent
    bad: Any  # (N, P): class indices out of range
    indices: bool
    first: int  # the first class that has a loss
    batch: bool

    def spoiled(self) -> Any:
        """Return zeros, (N,), but nan for images with a class index out of range."""
        zeros = jnp.zeros(self.bad.shape, self.z.dtype)
        return spoiled(zeros, self.bad, jnp.moveaxis(self.z, 1, -1)).sum(1)

    def grouped(self, x: Any) -> Any:
        """Return numbers of images as those of groups."""
        return x.sum(0, keepdims=True) if self.batch else x

    def delivered(self, losses: Any) -> Any:
        """Return losses of groups without a reduction."""
        return losses[0] if self.batch else losses


def _pixels(given: Any, images: Images) -> _Pixels:
    z, t = given(images.logits), given(images.target)
    w, v = given(images.class_weight), given(images.sample_weight)
    shape, activation = z.shape, images.activation
    z = wide(z).reshape(*shape[:2], -1)
    w = jnp.ones(shape[1], z.dtype) if w is None else w.astype(z.dtype)
    of_pixels = jnp.ones_like(z[:, 0])
    if v is not None:
        of_pixels = v.astype(z.dtype).reshape(of_pixels.shape)
    if activation != "softmax" and shape[1] == 1 and t.shape == shape[:1] + shape[2:]:
        t = t[:, None]
    indices, bad = t.shape != shape, jnp.zeros(of_pixels.shape, bool)
    if indices:
        index, ignored, bad = labels_of(t.reshape(shape[0], -1), shape[1], int(images.ignore_index))
        of_pixels = jnp.where(ignored | bad, 0, of_pixels)
        t = jax.nn.one_hot(index, shape[1], axis=1, dtype=z.dtype)
    else:
        t = t.astype(z.dtype).reshape(z.shape)
    counts = jnp.broadcast_to(of_pixels[:, None], t.shape)
    silent = counts == 0
    if activation != "softmax":
        if not indices:
            counts = jnp.where(t == int(images.ignore_index), 0, counts)
        silent = (counts == 0) | (w == 0)[:, None]
    plain = jnp.where(silent, 0, z)
    t = jnp.where(silent, 0, t)
    p = plain
    if activation is not None:
        p = jax.nn.softmax(plain, 1) if activation == "softmax" else jax.nn.sigmoid(plain)
    first = int(not images.include_background)
    raw = jnp.where(bad[:, None], z, plain)  # whose gradient is to be nan
    batch = bool(images.batch)
    return _Pixels(raw, p, t, counts, of_pixels, w, bad, indices, first, batch)


def _overlap_losses(pixels: _Pixels, score: Overlap | GeneralizedDice) -> tuple[Any, Any]:
    """Return losses of groups, and what their mean is divided by."""
    p, t, v = (x[:, pixels.first :] for x in (pixels.p, pixels.t, pixels.counts))
    w = pixels.class_weight[pixels.first :]
    sums = ((v * x).sum(2) for x in (p * t, p * (1 - t), (1 - p) * t))
    true, wrong, missed = (pixels.grouped(x) for x in sums)
    if isinstance(score, Overlap):
        lost = score.alpha * wrong + score.beta * missed
        whole = true + lost + score.smooth
        rest = lost / jnp.where(whole == 0, 1, whole)
        losses = rest if score.gamma == 1 else points.power(rest, score.gamma)
        return w * jnp.where(w == 0, 0, losses), len(losses) * w.sum()
    true, wrong, missed = (jnp.where(w == 0, 0, x) for x in (true, wrong, missed))
    volume = jax.lax.stop_gradient(true + missed)
    power = {"square": 2, "simple": 1, "uniform": 0}[score.weight_type]
    there = (volume != 0) & (w > 0)
    share = jnp.where(there, jnp.where(there, volume, 1) ** -power, 0)
    absent = share.max(1, keepdims=True) if power else 1
    share = w * jnp.where(there, share, absent)
    lost = (share * (wrong + missed)).sum(1)
    whole = (share * (2 * true + wrong + missed)).sum(1) + score.smooth
    return lost / jnp.where(whole == 0, 1, whole), len(lost)


def _entropies(pixels: _Pixels, activation: str, smoothing: float) -> tuple[Any, Any]:
    """Return the sum of cross-entropies, and what their mean is divided by."""
    w = pixels.class_weight[:, None]
    plain = jnp.where(pixels.bad[:, None], 0, pixels.z)
    if activation == "sigmoid":
        t = pixels.t * (1 - smoothing) + smoothing / 2
        bits = product(t, softplus(-plain)) + product(1 - t, softplus(plain))
        counts = w * pixels.counts
        return (counts * jnp.where(counts == 0, 0, bits)).sum(), counts.sum()
    q = w * (pixels.t * (1 - smoothing) + smoothing / pixels.t.shape[1])
    entropies = product(q, -jax.nn.log_softmax(plain, 1)).sum(1)
    v = pixels.of_pixels
    divisor = v * (w * pixels.t).sum(1) if pixels.indices else v
    return (v * entropies).sum(), divisor.sum()


def _mean(total: Any, divisor: Any) -> Any:
    """Return a mean, which of nothing is nan, with a gradient of 0."""
    nothing = divisor == 0
    return jnp.where(nothing, jnp.nan, total / jnp.where(nothing, 1, divisor))


def overlap(
    given: Any,
    images: Images,
    score: Overlap | GeneralizedDice,
    factors: tuple[float, float],
    label_smoothing: float,
    reduction: str,
) -> Any:
    """Return the overlap loss and the cross-entropy, times their factors."""
    pixels = _pixels(given, images)
    dtype = given(images.logits).dtype
    losses, divisor = _overlap_losses(pixels, score)
    of_bad = pixels.grouped(pixels.spoiled())
    if reduction == "none":
        of_bad = of_bad[:, None] if losses.ndim > 1 else of_bad
        return pixels.delivered(losses + of_bad).astype(dtype)
    means = reduction == "mean"
    value = factors[0] * (_mean(losses.sum(), divisor) if means else losses.sum()) + of_bad.sum()
    if factors[1]:
        entropy, counts = _entropies(pixels, images.activation, label_smoothing)
        value = value + factors[1] * (_mean(entropy, counts) if means else entropy)
    return value.astype(dtype)


def lovasz(given: Any, images: Images, hinge: bool, reduction: str) -> Any:
    """Return Lovasz extensions of the Jaccard losses of classes."""
    pixels = _pixels(given, images)
    dtype = given(images.logits).dtype
    if hinge:
        plain = jnp.where(pixels.counts == 0, 0, pixels.z)
        errors = relu(1 - plain * (2 * pixels.t - 1))
    else:
        errors = jnp.where(pixels.t == 1, 1 - pixels.p, pixels.p)
    lines = [jnp.moveaxis(x[:, pixels.first :], 1, 0) for x in (errors, pixels.t, pixels.counts)]
    if pixels.batch:
        lines = [x.reshape(len(x), 1, -1) for x in lines]

    def of_class(errors: Any, own: Any, weight: Any) -> Any:
        order = jnp.argsort(-jnp.where(weight == 0, -1, errors))
        weight = weight[order]
        own = own[order] * weight
        total = own.sum()
        inside, either = total - own.cumsum(), total + (weight - own).cumsum()
        jaccard = jnp.where(either == 0, 0, 1 - inside / jnp.where(either == 0, 1, either))
        steps = jax.lax.stop_gradient(jnp.diff(jaccard, prepend=0.0))
        return jnp.where(weight == 0, 0, errors[order] * steps).sum(), total

    losses, total = (x.T for x in jax.vmap(jax.vmap(of_class))(*lines))  # (groups, C)
    there = jnp.ones_like(total) if hinge else (total > 0).astype(total.dtype)
    shares = pixels.class_weight[pixels.first :] * there
    of_groups = shares.sum(1, keepdims=True)
    if reduction == "mean":
        shares = jnp.where(of_groups > 0, shares / jnp.where(of_groups > 0, of_groups, 1), 0)
    losses = shares * jnp.where(shares == 0, 0, losses)
    of_bad = pixels.grouped(pixels.spoiled())
    if reduction == "none":
        return pixels.delivered(losses + of_bad[:, None]).astype(dtype)
    value = losses.sum()
    if reduction == "mean":
        value = _mean(value, (of_groups > 0).sum())
    return (value + of_bad.sum()).astype(dtype)


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
    where: Any,
    divergence: bool,
    num_threads: Any,
) -> Any:
    """Return alpha T^2 soft + (1 - alpha) hard."""
    x, temperature = given(student), given.number("temperature", temperature)
    axis = 1 if x.ndim > 1 else 0
    z = jnp.moveaxis(wide(x), axis, -1)
    v = given(sample_weight)
    silent = jnp.zeros(z.shape[:-1], bool) if v is None else v == 0
    kept = given(where)
    if kept is not None:
        silent = silent | ~kept
    bad = jnp.zeros_like(silent)
    at = ignored = None
    if target is not None:
        at, ignored, bad = labels_of(given(target), z.shape[-1], int(ignore_index))
        bad = bad if kept is None else bad & kept
        silent = silent | ignored | bad
    rows, z = z, jnp.where(silent[..., None], 1, z)

    def filled(q: Any) -> Any:
        return jnp.where(silent[..., None], 1, jnp.moveaxis(q.astype(z.dtype), axis, -1))

    log_p = jax.nn.log_softmax(z / temperature, -1)
    if isinstance(teacher, tuple | list):
        classes, log_q = (given(q) for q in teacher)
        log_q = filled(log_q)
        classes = jnp.moveaxis(classes, axis, -1)
        if kept is not None:
            classes = jnp.where(kept[..., None], classes, 0)
        log_p = jnp.take_along_axis(log_p, classes, -1)
    else:
        log_q = jax.nn.log_softmax(filled(given(teacher)) / temperature, -1)
    kind = "forward" if divergence else "none"
    losses = distilled(z, log_p, log_q, at, temperature, alpha, kind)
    counts = jnp.where(silent, 0, 1 if v is None else v).astype(z.dtype)
    value = reduced(losses, counts, counts, reduction)
    of_bad = spoiled(jnp.zeros_like(losses), bad, rows)
    return (value + (of_bad if reduction == "none" else of_bad.sum())).astype(x.dtype)


def distilled(
    z: Any, log_p: Any, log_q: Any, at: Any, temperature: Any, alpha: float, divergence: str
) -> Any:
    """Return the losses of rows of logits: their share of a divergence, and of cross-entropy.

    log_p and log_q are the student's and the teacher's at the temperature; at: class indices, if
    there are any; divergence: "none" for the cross-entropy between the two.
    """
    soft = temperature**2 * _divergence(divergence, log_p, log_q)
    if at is None:
        return soft
    hard = losses_of_indices(jax.nn.log_softmax(z, -1), at, None, 0.0, 0.0)
    return alpha * soft + (1 - alpha) * hard


def _divergence(name: str, log_p: Any, log_q: Any) -> Any:
    def mean(log_a: Any, x: Any) -> Any:
        return product(jnp.exp(log_a), x).sum(-1)

    if name == "none":
        return mean(log_q, -log_p)
    if name == "forward":
        return mean(log_q, log_q - log_p)
    if name == "reverse":
        return mean(log_p, log_p - log_q)
    log_m = jnp.logaddexp(log_p, log_q) - math.log(2)
    return (mean(log_p, log_p - log_m) + mean(log_q, log_q - log_m)) / 2


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
    sample_weight: Any,
) -> Any:
    """Return the loss of sequences, whose log-probabilities are a log-softmax's."""
    x, labels, v = given(log_probs), given(targets), given(sample_weight)
    frames, lengths = given(input_lengths).reshape(-1), given(target_lengths).reshape(-1)
    z = wide(x)
    z = z[:, None] if x.ndim == 2 else z
    if v is not None:
        v = v.reshape(-1).astype(z.dtype)
        z = jnp.where((v == 0)[:, None], 0, z)
    log_p = jax.nn.log_softmax(z, -1)
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
    if v is not None:
        losses = jnp.where(v == 0, 0, losses) * v
    if reduction == "none":
        return losses.reshape(x.shape[1:-1]).astype(x.dtype)
    if reduction == "mean":
        total = (losses / jnp.maximum(lengths, 1)).sum()
        if v is not None:
            return _mean(total, v.sum()).astype(x.dtype)
        return (total / len(losses)).astype(x.dtype)
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


def soft_margin(given: Any, call: SoftMargin) -> Any:
    """Return the dynamic soft margin loss, from all triplets."""
    given_e, x, times = _differences(given, call)
    nodes = jnp.asarray(call.nodes, x.dtype)
    at = jax.lax.stop_gradient(x)
    first = jnp.clip(jnp.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 1)
    beyond = jnp.clip((at - nodes[first]) / call.width, 0, 1) * times
    counts = jnp.zeros_like(nodes).at[first].add(times - beyond)
    counts = counts.at[jnp.minimum(first + 1, len(nodes) - 1)].add(beyond)
    if call.histogram is not None:
        histogram = given.named["histogram"].astype(x.dtype)
        counts = jax.lax.stop_gradient(jnp.where(histogram.sum() == 0, counts, histogram))
    total = counts.sum()
    weights = counts.cumsum() / jnp.where(total > 0, total, 1)
    losses = jnp.where(times > 0, weights[first] * x, 0) * times
    return (losses.sum() / jnp.maximum(times.sum(), 1)).astype(given_e.dtype)


def _differences(given: Any, call: SoftMargin) -> tuple[Any, Any, Any]:
    """Return the embeddings, d(a, p) - d(a, n) of triplets, and how often each counts."""
    e = given.named["embeddings"]
    other = e if call.reference is None else given.named["ref_embeddings"]
    a, b = (unit_rows(wide(x), least=pairs.LEAST_NORM) for x in (e, other))
    d = root(((a[:, None] - b) ** 2).sum(2))
    listed = call.listed
    if listed is not None and len(listed) == 3:
        i, p, n = listed
        x = d[i, p] - d[i, n]
        return e, x, jnp.ones_like(x)
    own = jnp.eye(len(a), len(b), dtype=bool)
    if listed is None and call.labels is None:
        others = jnp.where(own, jnp.inf, d)
        of_row, of_column = others.min(1), others.min(0)
        x = jnp.diagonal(d) - jnp.where(of_row <= of_column, of_row, of_column)
        return e, x, jnp.ones_like(x)
    if listed is not None:
        found = lists(listed, len(a), len(b), "pairs")
        positive, negative = (pairs._times(kind, d) for kind in found[:2])
    else:
        labels = given.named["labels"]
        same = labels[:, None] == (labels if call.reference is None else given.named["ref_labels"])
        positive = (same & ~own if call.reference is None else same).astype(d.dtype)
        negative = (~same).astype(d.dtype)
    x = d[:, :, None] - d[:, None, :]
    return e, x.ravel(), (positive[:, :, None] * negative[:, None, :]).ravel()


def manifold(given: Any, call: Manifold) -> Any:
    """Return the manifold loss, from the inverse of a dense matrix."""
    e, y = given(call.embeddings), given(call.target)
    dtype, e, w = e.dtype, wide(e), wide(given(call.weight))
    u = unit_rows(jnp.concatenate([e, w]), least=pairs.LEAST_NORM)
    own, cosine = jnp.eye(len(u), dtype=bool), u @ u.T
    similarity = jnp.where(own, 0, jnp.exp(2 * jnp.where(cosine < 0, 0, cosine)))
    sums = similarity.sum(1)  # 0 of a node that is the only one
    scale = jnp.where(sums == 0, 0, 1 / jnp.sqrt(jnp.where(sums == 0, 1, sums)))
    walks = own - call.alpha * similarity * scale * scale[:, None]
    ends = (1 - call.alpha) * jnp.linalg.inv(walks)
    unit = ends / jnp.sqrt(jnp.square(ends).sum(1, keepdims=True))
    cosines = unit[: len(e)] @ unit[len(e) :].T
    is_own = y[:, None] == jnp.arange(len(w))
    losses = jnp.zeros(len(e), e.dtype)
    for share, s in zip(call.shares, (ends[: len(e), len(e) :], cosines), strict=True):
        x = s - jnp.where(is_own, s, 0).sum(1, keepdims=True) + call.margin
        counts = ~(x < 0) & ~is_own  # NaN does, too
        terms = jnp.pad(jnp.where(counts, x, -jnp.inf), ((0, 0), (1, 0)))
        losses = losses + share * jax.nn.logsumexp(terms, axis=1)
    losses = jnp.where(is_own.any(1), losses, jnp.nan)
    if call.reduction == "none":
        return losses.astype(dtype)
    return (losses.sum() / (max(len(e), 1) if call.reduction == "mean" else 1)).astype(dtype)


def instance(given: Any, embeddings: Any, call: LinearCall | None, nothing: Any) -> Any:
    """Return the instance loss: the k-th embedding stands for the k-th label."""
    e = given(embeddings)
    if call is None or call.margin is None:
        return jnp.zeros(np.shape(nothing), e.dtype)
    x, labels = unit_rows(wide(e)), given.named["labels"]
    order = jnp.argsort(labels, stable=True)
    y = labels[order]
    ranks = jnp.cumsum(jnp.concatenate([jnp.zeros(1, bool), y[1:] != y[:-1]]))
    target = jnp.zeros_like(ranks).at[order].set(ranks)
    z = call.margin.scale * (x @ x.T)
    own = jnp.take_along_axis(z, target[:, None], 1)[:, 0]
    losses = jax.nn.logsumexp(z, 1) - own
    return reduced(losses, None, None, call.reduction).astype(e.dtype)


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
