"""The softmax family: cross-entropy of logits, log-probabilities and probabilities."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from fusedloss import _core
from fusedloss._core import SoftmaxCall
from fusedloss._types import Extras
from fusedloss.jax._formulas.elementary import clipped, product, reduced, spoiled, wide

#: Probabilities are kept so far from 0 and 1.
EPSILON = 1e-7


def _axis(ndim: int, axis: int | None) -> int:
    if axis is None:
        return 1 if ndim > 1 else 0
    return int(axis) % ndim


def axes(number: int, call: SoftmaxCall) -> tuple[int, ...] | None:
    """Return the axis of classes."""
    return (_axis(call.logits.ndim, call.axis),)


def labels_of(target: Any, classes: int, ignore_index: int) -> tuple[Any, Any, Any]:
    """Return class indices in range, which positions are ignored, and which are bad."""
    bits = jnp.iinfo(target.dtype)
    ignored = jnp.zeros(target.shape, bool)
    if bits.min <= ignore_index <= bits.max:
        ignored = target == ignore_index
    bad = ~ignored & (target >= classes) if bits.max >= classes else jnp.zeros_like(ignored)
    if bits.min < 0:
        bad = bad | (~ignored & (target < 0))
    return jnp.where(ignored | bad, 0, target).astype(jnp.int32), ignored, bad


def losses_of_indices(log_p: Any, at: Any, w: Any, smoothing: float, focusing: float) -> Any:
    """Return the cross-entropy of each position with a class index."""
    classes = log_p.shape[-1]
    nll = -jnp.take_along_axis(log_p, at[..., None], -1)[..., 0]
    own = nll if w is None else w[at] * nll
    if focusing:
        rest = jnp.maximum(-jnp.expm1(-nll), jnp.finfo(nll.dtype).tiny)
        return rest**focusing * own
    if smoothing:
        even = product(jnp.ones((), nll.dtype) if w is None else w, -log_p).sum(-1)
        own = (1 - smoothing) * own + smoothing / classes * even
    return own


def formula(given: Any, call: SoftmaxCall) -> tuple[Any, ...]:
    """Return the loss, and extra outputs."""
    is_index = call.kind == _core.INDEX_TARGET or (
        call.kind == _core.CROSS_ENTROPY and call.target.shape != call.logits.shape
    )
    z = given(call.logits)
    dtype, axis = z.dtype, _axis(z.ndim, call.axis)
    z = jnp.moveaxis(wide(z), axis, -1)
    t = given(call.target)
    if t is not None and not is_index:
        t = jnp.moveaxis(t.astype(z.dtype), axis, -1)
    outputs = of_logits(
        z,
        t,
        given(call.weight),
        given(call.sample_weight),
        given(call.where),
        is_index,
        int(call.ignore_index),
        call.label_smoothing,
        call.reduction,
        call.extras or Extras(),
        logsumexp=call.kind == _core.LOGSUMEXP,
    )
    return (outputs[0].astype(dtype), *outputs[1:])


def of_logits(
    z: Any,
    t: Any,
    w: Any,
    v: Any,
    where: Any,
    is_index: bool,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    extras: Extras,
    logsumexp: bool = False,
) -> tuple[Any, ...]:
    """Return the loss, and extra outputs, of logits whose last axis is that of classes."""
    classes, positions = z.shape[-1], z.shape[:-1]
    bad = ignored = silent = jnp.zeros(positions, bool)
    at = jnp.zeros(positions, jnp.int32)
    if is_index:
        at, ignored, bad = labels_of(t, classes, ignore_index)
    if where is not None:
        ignored, bad = ignored | ~where, bad & where
    silent = ignored | bad
    if v is not None:
        silent = silent | (v == 0)
    w = None if w is None else w.astype(z.dtype)
    if w is not None and is_index and not label_smoothing:
        silent = silent | (w[at] == 0)

    given = z
    z = jnp.where(silent[..., None], 1, z)
    if t is not None and not is_index:
        t = jnp.where(silent[..., None], 0, t)

    def capped(x: Any) -> Any:
        s, temperature = extras.softcap, extras.temperature
        x = x if s is None else s * jnp.tanh(x / s)
        return x if temperature == 1 else x / temperature

    if extras.prediction == _core.LOG_PROBABILITIES:
        log_p = z
    elif extras.prediction == _core.PROBABILITIES:
        q = clipped(z / z.sum(-1, keepdims=True), EPSILON, 1 - EPSILON)
        log_p = jnp.log(q)
        if extras.gamma:  # in each class, whose loss is linear in this
            log_p, extras = log_p * (1 - q) ** extras.gamma, extras._replace(gamma=0.0)
    else:
        log_p = jax.nn.log_softmax(capped(z), -1)
    if logsumexp:
        losses = jax.nn.logsumexp(z, -1)
    elif is_index:
        losses = losses_of_indices(log_p, at, w, label_smoothing, extras.gamma)
    else:
        shares = (1 - label_smoothing) * t + label_smoothing / classes
        losses = product(shares if w is None else w * shares, -log_p).sum(-1)

    counts = jnp.ones(positions, z.dtype) if v is None else v.astype(z.dtype)
    counts = jnp.where(ignored | bad, 0, counts)
    divisors = counts
    if w is not None and is_index and not extras.mean_of_positions:
        divisors = counts * w[at]
    factors = jnp.where(silent, 0, counts)
    part: Any = 0  # which a mean divides by the number of positions
    if extras.z_loss:
        part = extras.z_loss * jax.nn.logsumexp(capped(z), -1) ** 2
    if extras.entropy_bonus:
        part = part - extras.entropy_bonus * product(jnp.exp(log_p), -log_p).sum(-1)
    if reduction == "none":
        value = spoiled(reduced(losses + part, factors, None, "none"), bad, given)
    else:
        value = reduced(losses, factors, divisors, reduction)
        if extras.z_loss or extras.entropy_bonus:
            value = value + reduced(part, factors, counts, reduction)
        value = value + spoiled(jnp.zeros(positions, z.dtype), bad, given).sum()
    return (value, *_extra_outputs(extras, capped(given), t, at, is_index, ignored, bad))


def _extra_outputs(
    extras: Extras, z: Any, t: Any, at: Any, is_index: bool, ignored: Any, bad: Any
) -> list[Any]:
    if not extras.outputs:
        return []
    z = jax.lax.stop_gradient(z)
    log_p = jax.nn.log_softmax(z, -1)
    label = at if is_index else jnp.argmax(t, -1)
    made = {
        "lse": jax.nn.logsumexp(z, -1),
        "entropy": product(jnp.exp(log_p), -log_p).sum(-1),
        "accuracy": (jnp.argmax(z, -1) == label).astype(z.dtype),
    }
    if is_index:
        made["log_prob"] = jnp.take_along_axis(log_p, at[..., None], -1)[..., 0]
    made = {k: jnp.where(bad, np.nan, jnp.where(ignored, 0, x)) for k, x in made.items()}
    return [made[name] for name in extras.outputs]
