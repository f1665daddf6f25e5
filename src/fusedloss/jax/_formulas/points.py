"""Losses element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from fusedloss._check.points import DOMAINS
from fusedloss._core import PointwiseCall
from fusedloss.jax._formulas.elementary import at_least, product, reduced, relu, softplus, wide

#: What Keras keeps numbers away from 0 with.
EPSILON = 1e-7

#: Logarithms of probabilities are no less than this (torch).
LEAST_LOG = -100


def axes(number: int, call: PointwiseCall) -> tuple[int, ...] | None:
    """Return no axis; None for an argument that is broadcast."""
    each = list(call.operands.values())
    shape = np.broadcast_shapes(*(x.shape for x in each))
    return () if each[number].shape == shape else None


def in_domain(row: str, operands: list[Any]) -> list[Any]:
    """Return operands with nan in the places of values outside of the loss's domain."""
    for k, (_, least, most) in DOMAINS.get(row, {}).items():
        x = operands[k]
        outside = ~((x >= least) & (x <= most))
        if jnp.issubdtype(x.dtype, jnp.floating):
            operands[k] = x * jnp.where(outside, jnp.nan, 1).astype(x.dtype)
    return operands


def formula(given: Any, call: PointwiseCall) -> Any:
    """Return the loss."""
    first, *others = [given(x) for x in call.operands.values()]
    dtype = first.dtype
    first = wide(first)
    each = in_domain(call.name, [first, *(x.astype(first.dtype) for x in others)])
    each = list(jnp.broadcast_arrays(*each))
    w = given(call.weight)
    divisors = w if call.weighted_mean else None
    if w is not None:
        w = jnp.broadcast_to(w, each[0].shape)
    if call.where is not None:
        where = jnp.broadcast_to(given(call.where), each[0].shape)
        w = jnp.where(where, 1 if w is None else w, 0)
        divisors = w if call.weighted_mean else where.astype(first.dtype)
    if w is not None:
        each = [jnp.where(w == 0, 0.5, x) for x in each]
        w = w.astype(first.dtype)
    losses = POINTS[call.name](*each, *call.parameters)
    value = reduced(losses, w, divisors, call.reduction)
    if call.divisor:
        value = value / call.divisor
    return value.astype(dtype)


def variances_of_rows(given: Any, call: PointwiseCall) -> Any:
    """Return the loss of a variance for each row of the first operand."""
    variances = call.operands["var"][..., np.newaxis]
    return formula(given, call._replace(operands=call.operands | {"var": variances}))


def _smooth_l1(x: Any, t: Any, beta: float) -> Any:
    a = jnp.abs(x - t)
    if beta == 0:
        return a
    return jnp.where(a < beta, (x - t) ** 2 / (2 * beta), a - beta / 2)


def _huber(x: Any, t: Any, delta: float) -> Any:
    a = jnp.abs(x - t)
    return jnp.where(a <= delta, (x - t) ** 2 / 2, delta * (a - delta / 2))


def _pseudo_huber(x: Any, t: Any, delta: float) -> Any:
    # e^2 / (1 + root), root - 1 without a difference
    root = jnp.sqrt(1 + ((x - t) / delta) ** 2)
    return (x - t) ** 2 / (1 + root)


def _log_cosh(x: Any, t: Any) -> Any:
    # near 0 the sum of small numbers keeps their digits: log(cosh d) = log1p(2 sinh(d/2)^2)
    d = x - t
    near = jnp.abs(d) < 1
    small = jnp.where(near, d, 0)
    far = jnp.abs(jnp.where(near, 1, d))
    of_small = jnp.log1p(2 * jnp.sinh(small / 2) ** 2)
    return jnp.where(near, of_small, far + jnp.log1p(jnp.exp(-2 * far)) - math.log(2))


def _epsilon_insensitive(x: Any, t: Any, epsilon: float) -> Any:
    excess = jnp.abs(t - x) - epsilon
    return jnp.where(excess <= 0, 0, excess)


def _quantile(x: Any, t: Any, q: float) -> Any:
    d = t - x
    return jnp.where(d > 0, q * d, jnp.where(d == 0, 0, (q - 1) * d))


def _msle(x: Any, t: Any) -> Any:
    x, t = at_least(x, EPSILON), at_least(t, EPSILON)
    return jnp.log1p((x - t) / (1 + t)) ** 2


def _mape(x: Any, t: Any) -> Any:
    return 100 * jnp.abs((t - x) / jnp.where(jnp.abs(t) > EPSILON, jnp.abs(t), EPSILON))


def _stirling(value: Any, t: Any, full: float) -> Any:
    if not full:
        return value
    large = jnp.where(t > 1, t, 2)
    extra = large * jnp.log(large) - large + 0.5 * jnp.log(2 * math.pi * large)
    return value + jnp.where(t > 1, extra, 0)


def _poisson(x: Any, t: Any, full: float = 0, eps: float = 0) -> Any:
    return _stirling(jnp.exp(x) - t * x, t, full)


def _poisson_of_rate(x: Any, t: Any, full: float, eps: float) -> Any:
    return _stirling(x - t * jnp.log(x + eps), t, full)


def _gaussian(x: Any, t: Any, var: Any, full: float, eps: float) -> Any:
    # as in torch the slope is that of the variance which is raised
    v = var + jax.lax.stop_gradient(jnp.where(var < eps, eps - var, 0))
    return 0.5 * (jnp.log(v) + (x - t) ** 2 / v) + (0.5 * math.log(2 * math.pi) if full else 0)


def _tweedie(x: Any, t: Any, p: float) -> Any:
    return jnp.exp((2 - p) * x) / (2 - p) + t * jnp.exp((1 - p) * x) / (p - 1)


def _bce(p: Any, t: Any) -> Any:
    log_p, log_q = jnp.log(p), jnp.log1p(-p)

    def kept(x: Any) -> Any:
        return jnp.where(x < LEAST_LOG, LEAST_LOG, x)

    value = -t * kept(log_p) - (1 - t) * kept(log_q)
    return _with_slopes(value, p, t)


@jax.custom_jvp
def _with_slopes(value: Any, p: Any, t: Any) -> Any:
    """Give the binary cross-entropy torch's derivatives, which no clamp makes 0."""
    return value


@_with_slopes.defjvp
def _slopes(primals: Any, tangents: Any) -> Any:
    value, p, t = primals
    slope = (p - t) / jnp.maximum(p * (1 - p), 1e-12)
    target_slope = jnp.log1p(-p) - jnp.log(p)
    return value, slope * tangents[1] + target_slope * tangents[2]


def _smooth_quantile(x: Any, t: Any, quantile: float, alpha: float) -> Any:
    return quantile * (t - x) + alpha * softplus((x - t) / alpha)


def _smoothed(t: Any, smoothing: float) -> Any:
    return t * (1 - smoothing) + smoothing / 2 if smoothing else t


def _bce_with_logits(z: Any, t: Any, *options: Any) -> Any:
    *others, smoothing = options
    pos_weight = others[0] if others else 1.0
    t = _smoothed(t, smoothing)
    return product(pos_weight * t, softplus(-z)) + product(1 - t, softplus(z))


def _binary_sparsemax(z: Any, t: Any) -> Any:
    positive = z >= 0
    a = jnp.where(positive, z, -z)
    return product(jnp.where(positive, 1 - t, t), a) + relu(1 - a) ** 2 / 4


def _sigmoid_focal(z: Any, t: Any, alpha: float, gamma: float, smoothing: float) -> Any:
    t = _smoothed(t, smoothing)
    p, q = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    b = product(t, softplus(-z)) + product(1 - t, softplus(z))
    u = t * q + (1 - t) * p
    a = 1.0 if alpha < 0 else alpha * t + (1 - alpha) * (1 - t)
    return a * product(power(u, gamma), b)


def power(x: Any, exponent: float) -> Any:
    """Return x to a power, with a derivative of 0 at 0."""
    if exponent == 0:
        return jnp.ones_like(x)
    if exponent == 1:
        return x
    zero = x == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, x) ** exponent)


def _asymmetric(z: Any, t: Any, gamma_neg: float, gamma_pos: float, clip: float) -> Any:
    p, q = jax.nn.sigmoid(z), jax.nn.sigmoid(-z)
    kept = p > clip
    m = jnp.where(kept, p - clip, 0)
    other = softplus(z) if clip == 0 else jnp.where(kept, -jnp.log(q + clip), 0)
    value = product(power(q, gamma_pos), softplus(-z))
    return product(t, value) + product(1 - t, product(power(m, gamma_neg), other))


def _divergence(log_q: Any, p: Any, log_p: Any) -> Any:
    difference = jnp.where((p == 0) & (log_q == -jnp.inf), 0, log_p - log_q)
    return product(p, difference)


def _kl_div(x: Any, t: Any) -> Any:
    zero = t == 0
    entropy = jnp.where(zero, 0, t * jnp.log(jnp.where(zero, 1, t)))
    return entropy - product(t, x)


def _kl_div_of_logs(x: Any, t: Any) -> Any:
    return _divergence(x, jnp.exp(t), t)


def _generalized_kl(x: Any, p: Any, d: Any) -> Any:
    """P (exp d - 1 - d), d = x - log p; where d is large, exp x in the place of p exp d."""
    near = jnp.abs(d) < 0.5
    small = jnp.where(near, d, 0)
    return jnp.where(near, p * (jnp.expm1(small) - small), jnp.exp(x) - p - product(p, d))


def _generalized_kl_div(x: Any, t: Any) -> Any:
    zero = t == 0
    d = x - jnp.log(jnp.where(zero, 1, t))
    return jnp.where(zero, jnp.exp(x), _generalized_kl(x, jnp.where(zero, 1, t), d))


def _generalized_kl_div_of_logs(x: Any, t: Any) -> Any:
    p = jnp.exp(t)
    return _generalized_kl(x, p, jnp.where((p == 0) & (x == -jnp.inf), -1, x - t))


def _js_div(x: Any, t: Any, beta: float) -> Any:
    q, p = jnp.exp(x), jnp.exp(t)
    if beta == 0:
        return _divergence(x, p, t)
    if beta == 1:
        return _divergence(t, q, x)
    none = (p == 0) & (q == 0)
    d = jnp.where(none, 0, t - x)
    share = jnp.exp(-jnp.abs(d))
    log_m = jnp.log(jnp.where(d > 0, beta + (1 - beta) * share, (1 - beta) + beta * share))
    of_p = jnp.where(d > 0, 0, d) - log_m
    of_q = jnp.where(d > 0, -d, 0) - log_m
    return product((1 - beta) * q, of_q) + product(beta * p, of_p)


def _margin_ranking(x: Any, y: Any, t: Any, margin: float) -> Any:
    gap = margin - t * (x - y)
    return jnp.where(gap < 0, 0, gap)


def _hinge_embedding(x: Any, t: Any, margin: float) -> Any:
    gap = margin - x
    return jnp.where(t != -1, x, 0) + jnp.where((t != 1) & ~(gap < 0), gap, 0)


def _tweedie_of_power_0(x: Any, t: Any) -> Any:
    return (jnp.exp(x) - t) ** 2 / 2


def _dpo(pc: Any, pr: Any, rc: Any, rr: Any, beta: float) -> Any:
    return softplus(-beta * ((pc - pr) - (rc - rr)))


def _orpo(pc: Any, pr: Any, beta: float) -> Any:
    odds = jnp.exp(pr - pc) * jnp.expm1(pc) / jnp.expm1(pr)
    return beta * jnp.log1p(odds)


def _kto(p: Any, r: Any, desirable: Any, beta: float, kl: float) -> Any:
    return jax.nn.sigmoid((1 - 2 * desirable) * (beta * (p - r - kl)))


def _grpo(p: Any, old: Any, a: Any, *others: Any) -> Any:
    *ref, below, above, beta = others
    ratio = jnp.exp(p - old)
    clipped = jnp.clip(ratio, 1 - below, 1 + above)
    # Where both are equal the gradient is the ratio's own, not half of it.
    surrogate = jnp.where(clipped * a < ratio * a, clipped * a, ratio * a)
    losses = -jnp.where(a == 0, 0, surrogate)
    return losses + beta * (jnp.expm1(ref[0] - p) - (ref[0] - p)) if ref else losses


#: By the kernels' rows.
POINTS: dict[str, Callable[..., Any]] = {
    "asymmetric_loss": _asymmetric,
    "binary_cross_entropy": _bce,
    "binary_cross_entropy_with_logits": _bce_with_logits,
    "binary_sparsemax_loss": _binary_sparsemax,
    "dpo_loss": _dpo,
    "exponential_loss": lambda x, t: jnp.exp(-(t * x)),
    "gamma_loss": lambda x, t: x + t * jnp.exp(-x),
    "gaussian_nll_loss": _gaussian,
    "generalized_kl_div": _generalized_kl_div,
    "generalized_kl_div_of_logs": _generalized_kl_div_of_logs,
    "grpo_loss": _grpo,
    "hinge_embedding_loss": _hinge_embedding,
    "hinge_loss": lambda x, t: relu(1 - t * x),
    "huber_loss": _huber,
    "ipo_loss": lambda pc, pr, rc, rr, beta: ((pc - pr) - (rc - rr) - 0.5 / beta) ** 2,
    "js_div": _js_div,
    "kl_div": _kl_div,
    "kl_div_of_logs": _kl_div_of_logs,
    "kto_loss": _kto,
    "l1_loss": lambda x, t: jnp.abs(x - t),
    "log_cosh_loss": _log_cosh,
    "mape_loss": _mape,
    "margin_ranking_loss": _margin_ranking,
    "mse_loss": lambda x, t: (x - t) ** 2,
    "msle_loss": _msle,
    "orpo_loss": _orpo,
    "perceptron_loss": lambda x, t: jnp.maximum(-t * x, 0),
    "poisson_nll_loss": _poisson,
    "poisson_nll_loss_of_rate": _poisson_of_rate,
    "pseudo_huber_loss": _pseudo_huber,
    "epsilon_insensitive_loss": _epsilon_insensitive,
    "quantile_loss": _quantile,
    "sigmoid_focal_loss": _sigmoid_focal,
    "simpo_loss": lambda pc, pr, beta, gamma: softplus(gamma - beta * (pc - pr)),
    "smooth_l1_loss": _smooth_l1,
    "smooth_quantile_loss": _smooth_quantile,
    "soft_margin_loss": lambda x, t: softplus(-t * x),
    "squared_hinge_loss": lambda x, t: relu(1 - t * x) ** 2,
    "total_variation_loss": lambda p, q: 0.5 * jnp.abs(p - q),
    "tweedie_loss": _tweedie,
    "tweedie_loss_of_power_0": _tweedie_of_power_0,
    "zero_one_loss": lambda x, t: (x != t).astype(x.dtype),
}
