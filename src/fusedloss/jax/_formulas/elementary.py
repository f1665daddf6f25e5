"""Functions that several formulas are made of, in JAX's operations, and how losses are reduced."""

from __future__ import annotations

from typing import Any

import jax
from jax import numpy as jnp


def wide(x: Any) -> Any:
    """Return an array in the dtype that losses of it are computed in."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def relu(x: Any) -> Any:
    """max(0, x), with a derivative of 0 at 0."""
    return jnp.where(x <= 0, 0, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1; 0 for NaN."""
    return jnp.where(x > 0, 1.0, jnp.where(x < 0, -1.0, 0.0)).astype(x.dtype)


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return jax.nn.softplus(x)


def product(factor: Any, x: Any) -> Any:
    """Their product, 0 where the factor is 0 and the other infinite: 0 log 0 = 0."""
    nothing = (factor == 0) & jnp.isinf(x)
    return factor * jnp.where(nothing, 0, x)


def clipped(x: Any, least: float, most: float) -> Any:
    """Return x within bounds, with a derivative of 0 beyond them."""
    return jnp.where(x < least, least, jnp.where(x > most, most, x)).astype(x.dtype)


def at_least(x: Any, least: float) -> Any:
    """Return max(x, least), with a derivative of 0 below it."""
    return jnp.where(x > least, x, jnp.where(jnp.isnan(x), x, least)).astype(x.dtype)


def root(x: Any) -> Any:
    """Return the square root, with a derivative of 0 at 0."""
    return jnp.where(x == 0, 0, jnp.sqrt(jnp.where(x == 0, 1, x)))


def reduced(losses: Any, counts: Any, divisors: Any, reduction: str) -> Any:
    """Reduce losses, those of count 0 left out; a mean divides by the sum of divisors.

    The mean of nothing is nan, but its gradient zero.
    """
    if counts is not None:
        losses = jnp.where(counts == 0, 0, losses) * counts
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    if divisors is None:
        return total / losses.size if losses.size else total * jnp.nan
    divisor = jnp.broadcast_to(divisors, losses.shape).sum()
    nothing = divisor == 0
    return jnp.where(nothing, jnp.nan, total / jnp.where(nothing, 1, divisor))


def spoiled(losses: Any, bad: Any, rows: Any) -> Any:
    """Make losses nan where a position is bad, and their gradients by its row too."""
    own = jnp.where(bad[..., None], rows, 0).sum(-1)
    return losses + jnp.where(bad, jnp.nan, 0).astype(losses.dtype) * own


def log_sum_exp(z: Any, times: Any, of_nothing: float = 0.0) -> Any:
    """Log-sum-exp of each row's elements, of which some come several times and others never."""
    some = (times > 0).any(1)
    z = jnp.where(times > 0, z + jnp.log(jnp.maximum(times, 1)), -jnp.inf)
    z = jnp.where(some[:, None], z, 0)
    return jnp.where(some, jax.nn.logsumexp(z, 1), of_nothing)


def unit_rows(x: Any, order: float = 2.0, least: float = 0.0) -> Any:
    """Divide rows by their norms, or by `least` where that is more; a zero row's gradient is 0.

    Rows are scaled first, so that no power over- or underflows.
    """
    most = jax.lax.stop_gradient(jnp.abs(x).max(-1, keepdims=True))
    zero = most == 0
    scale = jnp.where(zero | jnp.isinf(most), 1, most)
    scaled = jnp.where(zero, 1, x / scale)
    if order == 2:
        norm = jnp.sqrt((scaled * scaled).sum(-1, keepdims=True))
    else:
        size = jnp.abs(scaled)
        powers = jnp.where(size == 0, 0, jnp.where(size == 0, 1, size) ** order)
        norm = powers.sum(-1, keepdims=True) ** (1 / order)
    norm = at_least(norm, 0) if not least else jnp.where(norm < least / scale, least / scale, norm)
    return jnp.where(zero, 0, scaled / norm)
