"""Losses of real predictions, element by element."""

from __future__ import annotations

import numpy as np

from reference.elementary import sigmoid, sign
from reference.pointwise import Terms, pointwise
from rounding import Numbers

__all__ = [
    "epsilon_insensitive_loss",
    "gamma_loss",
    "gaussian_nll_loss",
    "huber_loss",
    "l1_loss",
    "log_cosh_loss",
    "mape_loss",
    "mse_loss",
    "msle_loss",
    "poisson_nll_loss",
    "pseudo_huber_loss",
    "quantile_loss",
    "smooth_l1_loss",
    "smooth_quantile_loss",
    "tweedie_loss",
]

#: What Keras keeps numbers away from 0 with.
EPSILON = 1e-7


@pointwise("input", "target", weighted_mean=True)
def l1_loss(input: Numbers, target: Numbers) -> Terms:
    """|input - target|."""
    slope = sign(input - target)
    return Terms(np.abs(input - target), (slope, -slope), 0)


@pointwise("input", "target", weighted_mean=True)
def mse_loss(input: Numbers, target: Numbers) -> Terms:
    """(input - target)^2."""
    d = input - target
    return Terms(d * d, (2 * d, -2 * d), 2)


@pointwise("input", "target")
def smooth_l1_loss(input: Numbers, target: Numbers, *, beta: float = 1.0) -> Terms:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2."""
    d = input - target
    if beta == 0:
        return Terms(np.abs(d), (sign(d), -sign(d)), 0)
    near = np.abs(d) < beta
    slope = np.where(near, d / beta, sign(d))
    value = np.where(near, d * d / (2 * beta), np.abs(d) - beta / 2)
    return Terms(value, (slope, -slope), np.where(near, 1 / beta, 0))


@pointwise("input", "target")
def huber_loss(input: Numbers, target: Numbers, *, delta: float = 1.0) -> Terms:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)."""
    d = input - target
    near = np.abs(d) <= delta
    slope = np.where(near, d, delta * sign(d))
    value = np.where(near, d * d / 2, delta * (np.abs(d) - delta / 2))
    return Terms(value, (slope, -slope), np.where(near, 1, 0))


@pointwise("input", "target")
def pseudo_huber_loss(input: Numbers, target: Numbers, *, delta: float = 1.0) -> Terms:
    """delta^2 (sqrt(1 + (d / delta)^2) - 1), and d^2 / (1 + the root) for its digits."""
    d = input - target
    root = np.sqrt(1 + (d / delta) * (d / delta))
    far = np.abs(d) == np.inf
    slope = np.where(far, delta * sign(d), d / root)
    value = np.where(far, np.abs(d), d * (d / (1 + root)))
    return Terms(value, (slope, -slope), 1 / (root * root * root))


@pointwise("input", "target")
def smooth_quantile_loss(
    input: Numbers, target: Numbers, *, quantile: float = 0.5, alpha: float = 0.1
) -> Terms:
    """q (t - x) + alpha log(1 + exp((x - t) / alpha)), the two lines without a difference."""
    d = input - target
    z = d / alpha
    line = np.where(d > 0, 1 - quantile, -quantile) * d
    share, rest = sigmoid(z), sigmoid(-z)
    slope = np.where(d > 0, (1 - quantile) - rest, share - quantile)
    value = line + alpha * np.log1p(np.exp(-np.abs(z)))
    return Terms(value, (slope, -slope), share * rest / alpha)


@pointwise("input", "target")
def log_cosh_loss(input: Numbers, target: Numbers) -> Terms:
    """Log cosh d; near 0 cosh d is 1 + m^2 / (2 - 2 m) with m = 1 - exp(-|d|)."""
    d = input - target
    a = np.abs(d)
    m = -np.expm1(-a)
    e = np.exp(-2 * a)
    value = np.where(a < 1, np.log1p(m * m / (2 - 2 * m)), a + np.log1p(e) - np.log(2))
    return Terms(value, (np.tanh(d), -np.tanh(d)), 4 * e / ((1 + e) * (1 + e)))


@pointwise("input", "target")
def epsilon_insensitive_loss(input: Numbers, target: Numbers, *, epsilon: float = 0.1) -> Terms:
    """max(0, |d| - epsilon)."""
    d = input - target
    outside = np.abs(d) > epsilon
    slope = np.where(outside, sign(d), 0)
    return Terms(np.where(outside, np.abs(d) - epsilon, 0), (slope, -slope))


@pointwise("input", "target")
def quantile_loss(input: Numbers, target: Numbers, *, quantile: float = 0.5) -> Terms:
    """Pinball: q d where d = target - input is positive, else (q - 1) d."""
    d = target - input
    slope = np.where(d > 0, -quantile, np.where(d < 0, 1 - quantile, 0))
    return Terms(np.where(d > 0, quantile * d, (quantile - 1) * d), (slope, -slope), 0)


@pointwise("input", "target")
def msle_loss(input: Numbers, target: Numbers) -> Terms:
    """(log(1 + input) - log(1 + target))^2, both at least 1e-7 (Keras)."""
    x, t = np.maximum(input, EPSILON), np.maximum(target, EPSILON)
    d = np.log1p((x - t) / (1 + t))
    slope = np.where(input > EPSILON, 2 * d / (1 + x), 0)
    target_slope = np.where(target > EPSILON, -2 * d / (1 + t), 0)
    hessian = np.where(input > EPSILON, 2 * (1 - d) / ((1 + x) * (1 + x)), 0)
    return Terms(d * d, (slope, target_slope), hessian)


@pointwise("input", "target")
def mape_loss(input: Numbers, target: Numbers) -> Terms:
    """100 |target - input| / |target|, that at least 1e-7 (Keras)."""
    size = np.maximum(np.abs(target), EPSILON)
    d = input - target
    slope = 100 * sign(d) / size
    # of |d| / |t|: the terms of the quotient rule together are -sign(d) sign(t) x / t^2
    whole = -100 * sign(d) * sign(target) * (input / size) / size
    return Terms(
        100 * (np.abs(d) / size),
        (slope, np.where(np.abs(target) > EPSILON, whole, -slope)),
        0,
    )


def _poisson(x: Numbers, t: Numbers) -> Terms:
    """exp(x) - t x."""
    rate = np.exp(x)
    return Terms(rate - t * x, (rate - t, -x), rate)


def _gamma(x: Numbers, t: Numbers) -> Terms:
    """x + t exp(-x)."""
    e = np.exp(-x)
    ratio = t * e
    return Terms(x + ratio, (1 - ratio, e), ratio)


@pointwise("input", "target")
def poisson_nll_loss(
    input: Numbers,
    target: Numbers,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> Terms:
    """exp(x) - t x, or x - t log(x + eps); full: + t log t - t + log(2 pi t) / 2 where t > 1."""
    if log_input:
        value, (slope, target_slope), hessian = _poisson(input, target)
    else:
        ratio = target / (input + eps)
        target_slope = -np.log(input + eps)
        value = input + target * target_slope
        slope, hessian = 1 - ratio, ratio / (input + eps)
    if full:
        t = np.where(target > 1, target, 2)
        stirling = t * np.log(t) - t + 0.5 * np.log(2 * np.pi * t)
        value = value + np.where(target > 1, stirling, 0)
        target_slope = target_slope + np.where(target > 1, np.log(t) + 0.5 / t, 0)
    return Terms(value, (slope, target_slope), hessian)


@pointwise("input", "target", "var")
def gaussian_nll_loss(
    input: Numbers, target: Numbers, var: Numbers, *, full: bool = False, eps: float = 1e-6
) -> Terms:
    """(log v + d^2 / v) / 2, v = max(var, eps); full: + log(2 pi) / 2.

    As in torch the gradient by var is that by v even where var is less than eps.
    """
    v = np.maximum(var, eps)
    d = input - target
    value = 0.5 * (np.log(v) + d * d / v)
    if full:
        value = value + 0.5 * np.log(2 * np.pi)
    slope = d / v
    return Terms(value, (slope, -slope, 0.5 * (1 / v - slope * slope)), 1 / v)


@pointwise("input", "target")
def gamma_loss(input: Numbers, target: Numbers) -> Terms:
    """Half the gamma deviance with log link, without what does not depend on x: x + t exp(-x)."""
    return _gamma(input, target)


@pointwise("input", "target")
def tweedie_loss(input: Numbers, target: Numbers, *, power: float = 1.5) -> Terms:
    """Half the Tweedie deviance with log link, without what does not depend on x.

    exp((2-p) x) / (2-p) - t exp((1-p) x) / (1-p), with its limits at the powers 1 and 2, and
    (t - exp(x))^2 / 2 at 0.
    """
    if power == 0:
        e = np.exp(input)
        d = e - target
        return Terms(d * d / 2, (e * d, -d), e * (d + e))
    if power in (1, 2):
        return (_poisson if power == 1 else _gamma)(input, target)
    mean, part = np.exp((2 - power) * input), np.exp((1 - power) * input)
    weighed = target * part
    value = mean / (2 - power) + weighed / (power - 1)
    hessian = (2 - power) * mean + (power - 1) * weighed
    return Terms(value, (mean - weighed, part / (power - 1)), hessian)
