"""Linear layers and margin-softmax heads: the cross-entropy of logits that are products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

from fusedloss._check import NO_LABEL, NOTHING_IGNORED, LinearCall, Margin
from fusedloss.jax._formulas.elementary import reduced, softplus, spoiled, unit_rows, wide
from fusedloss.jax._formulas.others import distilled
from fusedloss.jax._formulas.softmax import labels_of, of_logits


def axes(number: int, *call: Any) -> tuple[int, ...] | None:
    """Return the axis of features of the first argument; the others have a part in every loss."""
    return (-1,) if number == 0 else None


def formula(given: Any, call: LinearCall) -> tuple[Any, ...]:
    """Return the loss, and extra outputs."""
    x = given(call.input)
    dtype = x.dtype
    t, v, w = given(call.target), given(call.sample_weight), given(call.class_weight)
    weight, bias = given(call.weight), given(call.bias)
    if call.margin is not None:
        return (_head(given, x, weight, t, w, v, call, call.margin).astype(dtype),)
    x, weight = wide(x), wide(weight)
    silent = jnp.zeros(x.shape[:-1], bool) if v is None else v == 0
    where = given(call.where)
    if where is not None:
        silent = silent | ~where
    is_index = t.ndim < x.ndim
    if is_index:
        silent = silent | (t == call.ignore_index) if _holds(t, call.ignore_index) else silent
    # 0 times NaN is NaN: a position that is ignored enters the weight's gradient as zeros
    z = jnp.where(silent[..., None], 0, x) @ weight.T
    if bias is not None:
        z = z + bias.astype(z.dtype)
    options = (call.ignore_index, call.label_smoothing, call.reduction, call.extras)
    t = t if is_index else t.astype(z.dtype)
    outputs = of_logits(z, t, w, v, where, is_index, *options)
    return (outputs[0].astype(dtype), *outputs[1:])


def distilled_layer(
    given: Any,
    student: Any,
    student_weight: Any,
    teacher: Any,
    teacher_weight: Any,
    target: Any,
    temperature: float,
    alpha: float,
    ignore_index: int,
    divergence: str,
    reduction: str,
    sample_weight: Any,
    *resources: Any,
) -> Any:
    """Return alpha T^2 divergence + (1 - alpha) cross-entropy."""
    x, y = given(student), given(teacher)
    v, temperature = given(sample_weight), given.number("temperature", temperature)
    silent = jnp.zeros(x.shape[:-1], bool) if v is None else v == 0
    bad = jnp.zeros_like(silent)
    weight = wide(given(student_weight))
    at = None
    if target is not None:
        at, ignored, bad = labels_of(given(target), weight.shape[0], int(ignore_index))
        silent = silent | ignored | bad
    z = jnp.where(silent[..., None], 0, wide(x)) @ weight.T
    t = jnp.where(silent[..., None], 0, wide(y)) @ wide(given(teacher_weight)).T
    log_p = jax.nn.log_softmax(z / temperature, -1)
    log_q = jax.nn.log_softmax(t.astype(z.dtype) / temperature, -1)
    losses = distilled(z, log_p, log_q, at, temperature, alpha, divergence)
    counts = jnp.where(silent, 0, 1 if v is None else v).astype(z.dtype)
    value = reduced(losses, counts, counts, reduction)
    of_bad = spoiled(jnp.zeros_like(losses), bad, wide(x)) * (1 + 0 * weight.sum())
    return (value + (of_bad if reduction == "none" else of_bad.sum())).astype(x.dtype)


def labelled_layer(
    given: Any, input: Any, linear_weight: Any, target: Any, reduction: str, *resources: Any
) -> Any:
    """Return the binary cross-entropy against sets of labels, the mean over the classes."""
    x, weight = given(input), wide(given(linear_weight))
    z = wide(x) @ weight.T
    classes = z.shape[-1]
    at, absent, bad = labels_of(given(target), classes, NO_LABEL)
    at = jnp.where(absent | bad, classes, at).reshape(-1, at.shape[-1])
    rows = jnp.zeros((len(at), classes + 1), bool)
    own = rows.at[jnp.arange(len(at))[:, None], at].set(True)[:, :-1].reshape(z.shape)
    losses = softplus(jnp.where(own, -z, z)).mean(-1)
    losses = spoiled(losses, bad.any(-1), wide(x)) * (1 + 0 * weight.sum())
    return reduced(losses, None, None, reduction).astype(x.dtype)


def adaptive_layers(
    given: Any,
    input: Any,
    head_weight: Any,
    tail_weights: Any,
    target: Any,
    bias: Any,
    reduction: str,
    outputs: tuple[str, ...],
    *resources: Any,
) -> tuple[Any, ...]:
    """Return the cross-entropy of the head, and of the clusters' layers for all rows."""
    given_x, tails = given(input), [wide(given(x)) for x in tail_weights]
    x = wide(given_x)
    z = x @ wide(given(head_weight)).T
    if bias is not None:
        z = z + wide(given(bias))
    layers = list(zip(tails[::2], tails[1::2], strict=True))
    shortlist = z.shape[-1] - len(layers)
    classes = shortlist + sum(len(weight) for _, weight in layers)
    at, nowhere, bad = labels_of(given(target), classes, NOTHING_IGNORED)
    bad = bad | nowhere
    of_head, begin = jnp.where(at < shortlist, at, shortlist - 1), shortlist
    of_tails = jnp.zeros_like(z[..., 0])
    for projection, weight in layers:
        of_head = of_head + (at >= begin)
        log_p = jax.nn.log_softmax(x @ projection.T @ weight.T, -1)
        own = jnp.clip(at - begin, 0, len(weight) - 1)[..., None]
        here = (at >= begin) & (at < begin + len(weight))
        of_tails = of_tails + jnp.where(here, jnp.take_along_axis(log_p, own, -1)[..., 0], 0)
        begin += len(weight)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(z, -1), of_head[..., None], -1)[..., 0]
    everything = sum(each.sum() for each in (z, *tails))
    losses = spoiled(-log_p - of_tails, bad, x) + jnp.where(bad, 0 * everything, 0)
    value = reduced(losses, None, None, reduction).astype(given_x.dtype)
    return (value, *(-losses for _ in outputs))


def p2s_grad(given: Any, call: LinearCall) -> Any:
    """Return the mean squared error of each position's cosines."""
    x, weight = given(call.input), wide(given(call.weight))
    at, ignored, bad = labels_of(given(call.target), len(weight), call.ignore_index)
    v, where = given(call.sample_weight), given(call.where)
    if where is not None:
        ignored, bad = ignored | ~where, bad & where
    silent = ignored | bad if v is None else ignored | bad | (v == 0)
    rows = jnp.where(silent[..., None], 0.5, wide(x))
    errors = unit_rows(rows) @ unit_rows(weight).T - (at[..., None] == jnp.arange(len(weight)))
    losses = spoiled((errors * errors).mean(-1), bad, wide(x)) * (1 + 0 * weight.sum())
    counts = jnp.where(ignored, 0, 1 if v is None else v).astype(losses.dtype)
    return reduced(losses, counts, counts, call.reduction).astype(x.dtype)


def _holds(labels: Any, number: int) -> bool:
    bits = jnp.iinfo(labels.dtype)
    return bool(bits.min <= number <= bits.max)


def _head(
    given: Any, x: Any, weight: Any, target: Any, w: Any, v: Any, call: LinearCall, margin: Margin
) -> Any:
    x = wide(x)
    centers = margin.centers
    classes = (x.shape[-1] if weight is None else weight.shape[0]) // centers
    labels, ignored, bad = labels_of(target, classes, call.ignore_index)
    where = given(call.where)
    if where is not None:
        ignored, bad = ignored | ~where, bad & where
    silent = ignored | bad
    if v is not None:
        silent = silent | (v == 0)
    w = None if w is None else w.astype(x.dtype)
    if w is not None and not call.label_smoothing:
        silent = silent | (w[labels] == 0)
    rows, x = x, jnp.where(silent[..., None], 0.5, x)
    norm: Any = None
    if weight is None:
        cosine = x
    else:
        weight = wide(weight)
        norm = jnp.sqrt((x * x).sum(-1))
        cosine = unit_rows(x) @ unit_rows(weight).T
        if centers > 1:
            cosine = cosine.reshape(*cosine.shape[:-1], classes, centers)
            if margin.temperature:
                cosine = (jax.nn.softmax(cosine / margin.temperature, -1) * cosine).sum(-1)
            else:
                cosine = cosine.max(-1)
    at = labels[..., None]
    c = jnp.take_along_axis(cosine, at, -1)[..., 0]
    most = 1 - float(jnp.finfo(x.dtype).eps) / 2
    inside = jnp.where(c > most, most, jnp.where(c < -most, -most, c)).astype(x.dtype)
    row = MARGINS.get(margin.kind)
    if row is None:
        raise NotImplementedError(f"the margin {margin.kind} has no formula in JAX")
    if row.of_statistics:
        margin = _with_statistics(margin, norm, silent, given.static)
    share = 1 / (1 + margin.annealing)
    psi = share * (margin.annealing * c + row.psi(inside, norm, *margin.parameters))
    if margin.detached:
        psi = c + jax.lax.stop_gradient(psi - c)
    if margin.filter:
        cosine = jnp.where(cosine > margin.filter, 0, cosine)
    if row.bend is not None:
        cosine = row.bend(cosine, c[..., None], *margin.parameters)
    own = jnp.arange(classes) == at
    z = margin.scale * jnp.where(own, psi[..., None], cosine)
    if margin.keep_norm:
        z = z * norm[..., None]
    if margin.keep_weight_norm:
        z = z * jnp.sqrt((weight * weight).sum(-1))
    penalty: Any = 0.0
    if row.penalty is not None:
        counts = jnp.where(silent, 0, 1 if v is None else v).astype(x.dtype)
        divisors = jnp.where(ignored | bad, 0, 1 if v is None else v).astype(x.dtype)
        divisors = divisors if w is None else divisors * w[labels]
        each = row.penalty(norm, *margin.parameters)
        penalty = reduced(each, counts, divisors, call.reduction)
    # a bad class index makes its row nan, and the gradient by weights, which has a part of it
    reach = rows.sum(-1, keepdims=True) * (1 if weight is None else weight.sum())
    z = jnp.where(bad[..., None], jnp.where(bad[..., None], reach, 0), z)
    options = (call.ignore_index, call.label_smoothing, call.reduction, call.extras)
    return of_logits(z, target, w, v, where, True, *options)[0] + penalty


def _with_statistics(margin: Margin, norm: Any, silent: Any, static: dict[str, Any]) -> Margin:
    """Return a margin with the mean and the deviation of the norms that count, where not given."""
    given: Any = margin.parameters
    norm = jax.lax.stop_gradient(jnp.clip(norm, 1e-3, 100))
    count = jnp.maximum((~silent).sum(), 1)
    mean: Any = jnp.where(silent, 0, norm).sum() / count
    squares = jnp.where(silent, 0, (norm - mean) ** 2).sum()
    deviation: Any = jnp.sqrt(squares / jnp.maximum(count - 1, 1))
    if static["norm_mean"] is not None:
        mean = given[2]
    if static["norm_std"] is not None:
        deviation = given[3]
    return margin._replace(parameters=(*given[:2], mean, deviation))


# ---- The rows of src/kernels/margin.inc, with the same traits -----------------------------------


class Row(NamedTuple):
    """A margin: nothing but its row says how its logits differ from scaled cosines."""

    psi: Callable[..., Any]  # in the target's place, of its cosine, the norm and the parameters
    bend: Callable[..., Any] | None = None  # cosines of other classes, of those and the target's
    penalty: Callable[..., Any] | None = None  # of the embedding's norm, added to the loss
    of_statistics: bool = False  # the last two parameters are the norms' mean and deviation


def _shifted(c: Any, m: Any) -> Any:
    return jnp.where(jnp.arccos(c) <= math.pi - m, jnp.cos(jnp.arccos(c) + m), c - m * jnp.sin(m))


def _eased(c: Any, m: Any) -> Any:
    return jnp.where(c > 0, jnp.cos(jnp.arccos(c) + m), c)


def _combined(c: Any, _: Any, m1: float, m2: float, m3: float) -> Any:
    return (c if (m1, m2) == (1, 0) else jnp.cos(m1 * jnp.arccos(c) + m2)) - m3


def _multiplicative(c: Any, _: Any, m: float) -> Any:
    theta = m * jnp.arccos(c)
    k = jax.lax.stop_gradient(jnp.floor(theta / math.pi))
    return (1 - 2 * (k % 2)) * jnp.cos(theta) - 2 * k


def _harder(cosine: Any, c: Any, m: float, t: float) -> Any:
    hard = cosine > jnp.cos(jnp.arccos(jnp.clip(c, -1, 1)) + m)
    return jnp.where(hard, cosine * (t + cosine), cosine)


def _adaface(c: Any, norm: Any, m: float, h: float, mean: Any, deviation: Any) -> Any:
    norm = jax.lax.stop_gradient(jnp.clip(norm, 1e-3, 100))
    q = jnp.clip(h * (norm - mean) / (deviation + 1e-3), -1, 1)
    theta = jnp.arccos(jnp.clip(c, -1 + 1e-3, 1 - 1e-3))
    angle = jnp.clip(theta - m * q, 1e-3, math.pi - 1e-3)
    return jnp.cos(angle) - m - m * q


def _of_length(norm: Any, least: float, most: float, low: float, high: float, _: float) -> Any:
    """Return MagFace's margin."""
    return (high - low) / (most - least) * (_between(norm, least, most) - least) + low


def _between(norm: Any, least: float, most: float) -> Any:
    """Return a norm within bounds, at which the slope is 1."""
    return jnp.where(norm < least, least, jnp.where(norm > most, most, norm))


def _penalty_of_length(norm: Any, least: float, most: float, _l: float, _u: float, g: float) -> Any:
    a = _between(norm, least, most)
    return g * (a / most**2 + 1 / a)


MARGINS: dict[str, Row] = {
    "arcface": Row(lambda c, _, m: _shifted(c, m)),
    "easy_arcface": Row(lambda c, _, m: _eased(c, m)),
    "combined": Row(_combined),
    "multiplicative": Row(_multiplicative),
    "curricularface": Row(lambda c, _, m, t: _shifted(c, m), bend=_harder),
    "adaface": Row(_adaface, of_statistics=True),
    "magface": Row(
        lambda c, norm, *of: _shifted(c, _of_length(norm, *of)), penalty=_penalty_of_length
    ),
    "easy_magface": Row(
        lambda c, norm, *of: _eased(c, _of_length(norm, *of)), penalty=_penalty_of_length
    ),
}
