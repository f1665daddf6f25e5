"""Linear layers and margin-softmax heads: the cross-entropy of logits that are products."""

from __future__ import annotations

import math
from typing import Any

import jax
from jax import numpy as jnp

from fusedloss._check import LinearCall, Margin
from fusedloss.jax._formulas.elementary import reduced, unit_rows, wide
from fusedloss.jax._formulas.softmax import labels_of, of_logits


def axes(number: int, call: LinearCall) -> tuple[int, ...] | None:
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
    if margin.kind == "adaface":
        margin = _with_statistics(margin, norm, silent, given.static)
    share = 1 / (1 + margin.annealing)
    psi = share * (margin.annealing * c + _psi(inside, norm, silent, margin))
    if margin.detached:
        psi = c + jax.lax.stop_gradient(psi - c)
    if margin.filter:
        cosine = jnp.where(cosine > margin.filter, 0, cosine)
    if margin.kind == "curricularface":
        m, t = margin.parameters
        hard = cosine > jnp.cos(jnp.arccos(jnp.clip(c, -1, 1)) + m)[..., None]
        cosine = jnp.where(hard, cosine * (t + cosine), cosine)
    own = jnp.arange(classes) == at
    z = margin.scale * jnp.where(own, psi[..., None], cosine)
    if margin.keep_norm:
        z = z * norm[..., None]
    if margin.keep_weight_norm:
        z = z * jnp.sqrt((weight * weight).sum(-1))
    penalty: Any = 0.0
    if margin.kind in ("magface", "easy_magface"):
        least, most_norm, _, _, factor = margin.parameters
        a = jnp.where(norm < least, least, jnp.where(norm > most_norm, most_norm, norm))
        counts = jnp.where(silent, 0, 1 if v is None else v).astype(x.dtype)
        divisors = jnp.where(ignored | bad, 0, 1 if v is None else v).astype(x.dtype)
        divisors = divisors if w is None else divisors * w[labels]
        each = factor * (a / most_norm**2 + 1 / a)
        penalty = reduced(each, counts, divisors, call.reduction)
    # a bad class index makes its row nan, and the gradient by weights, which has a part of it
    reach = rows.sum(-1, keepdims=True) * (1 if weight is None else weight.sum())
    z = jnp.where(bad[..., None], jnp.where(bad[..., None], reach, 0), z)
    options = (call.ignore_index, call.label_smoothing, call.reduction, call.extras)
    return of_logits(z, target, w, v, where, True, *options)[0] + penalty


def _shifted(c: Any, m: Any, easy: bool) -> Any:
    theta = jnp.arccos(c)
    if easy:
        return jnp.where(c > 0, jnp.cos(theta + m), c)
    return jnp.where(theta <= math.pi - m, jnp.cos(theta + m), c - m * jnp.sin(m))


def _with_statistics(margin: Margin, norm: Any, silent: Any, static: dict[str, Any]) -> Margin:
    """Return AdaFace's margin with the mean and the deviation of the norms that count."""
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


def _psi(c: Any, norm: Any, silent: Any, margin: Margin) -> Any:
    """Return what takes the place of the target's cosine."""
    kind, parameters = margin.kind, margin.parameters
    if kind in ("arcface", "curricularface"):
        return _shifted(c, parameters[0], False)
    if kind == "easy_arcface":
        return _shifted(c, parameters[0], True)
    if kind == "combined":
        m1, m2, m3 = parameters
        return (c if (m1, m2) == (1, 0) else jnp.cos(m1 * jnp.arccos(c) + m2)) - m3
    if kind == "multiplicative":
        theta = parameters[0] * jnp.arccos(c)
        k = jax.lax.stop_gradient(jnp.floor(theta / math.pi))
        return (1 - 2 * (k % 2)) * jnp.cos(theta) - 2 * k
    if kind == "adaface":
        m, h, mean, deviation = parameters
        norm = jax.lax.stop_gradient(jnp.clip(norm, 1e-3, 100))
        q = jnp.clip(h * (norm - mean) / (deviation + 1e-3), -1, 1)
        theta = jnp.arccos(jnp.clip(c, -1 + 1e-3, 1 - 1e-3))
        angle = jnp.clip(theta - m * q, 1e-3, math.pi - 1e-3)
        return jnp.cos(angle) - m - m * q
    if kind not in ("magface", "easy_magface"):
        raise NotImplementedError(f"the margin {kind} has no formula in JAX")
    least, most, l_margin, u_margin, _ = parameters
    a = jnp.where(norm < least, least, jnp.where(norm > most, most, norm))
    rise = (u_margin - l_margin) / (most - least)
    return _shifted(c, rise * (a - least) + l_margin, kind == "easy_magface")
