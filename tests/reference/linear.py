"""The loss of a linear layer: products around the formula of the softmax cross-entropy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from parts import Array, Quantity
from reference.softmax_family import evaluate


class Linear(NamedTuple):
    """The loss, and its gradients by the input, the weights and the bias."""

    value: Quantity
    input: Quantity
    weight: Quantity
    bias: Quantity


def evaluate_linear(
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    softcap: float | None = None,
    grad_output: ArrayLike | None = None,
    gradient_eps: float = 0.0,
    product_eps: float = 0.0,
    dtype: DTypeLike = np.float64,
    **options: Any,
) -> Linear:
    """Loss and gradients, with what their rounding errors may be.

    Positions lie on one axis. The moved part of each `Quantity` bounds, in eps, all that products
    lose: a sum of n products, in whatever order, is off by no more than n/2 eps of the sum of their
    absolute values (Higham, 2002, section 3.1). Logits that are off by d move the loss by d times
    its gradients' sizes, and a gradient by no more than 2 d of its size; that of z_loss, which is
    small where the log-sum-exp is, by what a shift of all logits adds to it. `gradient_eps` is the
    unit that the logits' gradient is rounded to before it is multiplied, `product_eps` what a
    product of two factors is off by, relative to that of the arithmetic.
    """
    x, weight = np.asarray(x, dtype), np.asarray(weight, dtype)
    b = np.zeros(len(weight), dtype) if bias is None else np.asarray(bias, dtype)
    features, classes = x.shape[-1], len(weight)
    z = x @ weight.T + b
    off = (features + 1) / 2 * (np.abs(x) @ np.abs(weight).T + np.abs(b))
    off = (off + product_eps * (np.abs(x) @ np.abs(weight).T)).max(-1)
    if softcap is not None:
        off = off * (1 + 1 / softcap)  # the slope of the softcap moves too
    options = {"weight": class_weight, "softcap": softcap, "dtype": dtype, **options}
    value, one, _ = evaluate("cross_entropy", z, target, **options)
    g, size, moved = evaluate(
        "cross_entropy", z, target, grad_output=grad_output, **options
    ).gradient
    moved = moved + 2 * off[:, None] * size + gradient_eps / 2 * np.abs(g)
    if options.get("z_loss"):
        options["grad_output"] = grad_output
        raised = evaluate("cross_entropy", z + 1, target, **options).gradient.exact
        moved = moved + off[:, None] * np.abs(raised - g)
    value_moved = off * one.size.sum(-1)

    def product(left: Array, right: Array, terms: int, moved: Array) -> Quantity:
        sizes = np.abs(left) @ np.abs(right)
        return Quantity(left @ right, sizes, (terms / 2 + product_eps) * sizes + moved)

    return Linear(
        value._replace(
            moved=value.moved + (value_moved if value.exact.ndim else value_moved.sum())
        ),
        product(g, weight, classes, moved @ np.abs(weight)),
        product(g.T, x, len(x), moved.T @ np.abs(x)),
        product(g.T, np.ones((len(x), 1), dtype), len(x), moved.sum(0)[:, None]),
    )


class Layer(NamedTuple):
    """A loss of a layer's outputs, and its gradients by the input and the weights."""

    value: Quantity
    input: Quantity
    weight: Quantity


class Logits(NamedTuple):
    """A loss by position, and its gradient by the logits."""

    losses: Quantity
    gradient: Quantity


def _product_off(x: Array, weight: Array, product_eps: float) -> Array:
    """What a row of logits may be off by, in eps: see `evaluate_linear`."""
    sizes = (np.abs(x) @ np.abs(weight).T).max(-1, initial=0)
    return ((x.shape[-1] + 1) / 2 + product_eps) * sizes


def _layer(
    x: Array,
    weight: Array,
    logits: Logits,
    counts: Array,
    reduction: str,
    grad_output: ArrayLike | None,
) -> Layer:
    """Weigh and reduce losses, and multiply their gradients."""
    losses, factor = logits.losses.times(counts), counts
    if grad_output is not None:
        factor = counts * np.asarray(grad_output)
    if reduction != "none":
        divisor = np.asarray(counts.sum() if reduction == "mean" else 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            losses = Quantity(*(np.asarray(part.sum() / divisor) for part in losses))
        factor = factor / divisor if divisor else factor
    g = logits.gradient.times(factor[:, None])

    def product(left: Array, right: Array, terms: int, moved: Array) -> Quantity:
        sizes = np.abs(left) @ np.abs(right)
        return Quantity(left @ right, sizes, terms / 2 * sizes + moved @ np.abs(right))

    # terms that cancel in the gradient by the logits are rounded for themselves
    moved = g.moved + 8 * g.size
    return Layer(
        losses,
        product(g.exact, weight, len(weight), moved),
        product(g.exact.T, x, len(x), moved.T),
    )


def evaluate_distilled(
    x: ArrayLike,
    weight: ArrayLike,
    teacher: ArrayLike,
    teacher_weight: ArrayLike,
    target: ArrayLike | None = None,
    *,
    divergence: str = "forward",
    temperature: float = 1.0,
    alpha: float = 1.0,
    ignore_index: int = -100,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
    grad_output: ArrayLike | None = None,
    gradient_eps: float = 0.0,
    dtype: DTypeLike = np.float64,
) -> Layer:
    """alpha T^2 D(p, q) - (1 - alpha) log softmax(z)_y, with what products may be off by.

    Both logits are off, and so are all exponents: log p - log q by the sum d of both over T. A
    divergence moves by d times the sizes of its derivatives, p and q times 1 and their logarithms'
    differences; its gradient by d times these once more.
    """
    x, weight, y, v = (np.asarray(a, dtype) for a in (x, weight, teacher, teacher_weight))
    counts = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, "float64")
    if target is None:
        alpha = 1.0
    else:
        counts = np.where(np.asarray(target) == ignore_index, 0, counts)
    x, y = (np.where(counts[:, None] == 0, 0, a) for a in (x, y))
    z, t = x @ weight.T, y @ v.T
    off = _product_off(x, weight, 0) + _product_off(y, v, 0)
    # exponents are rounded, too, and the logarithm of each sum
    off = (off + 4 * (np.abs(z).max(-1) + np.abs(t).max(-1)) + 8)[:, None] / temperature
    log_p, log_q = (_log_softmax(a / temperature) for a in (z, t))
    p, q, apart = np.exp(log_p), np.exp(log_q), log_p - log_q
    size = (p + q) * (1 + np.abs(apart))
    if divergence == "forward":
        terms, g = -q * apart, p - q
    elif divergence == "reverse":
        terms = p * apart
        g = terms - p * terms.sum(-1, keepdims=True)
        size = size + p * np.abs(terms).sum(-1, keepdims=True)
    else:
        log_m = np.logaddexp(log_p, log_q) - np.log(np.asarray(2, dtype))
        by_student = p * (log_p - log_m)
        terms = (by_student + q * (log_q - log_m)) / 2
        g = (by_student - p * by_student.sum(-1, keepdims=True)) / 2
        size = size + p * np.abs(by_student).sum(-1, keepdims=True)
    soft, hard = alpha * temperature**2, 1 - alpha
    losses = Quantity(soft * terms.sum(-1), soft * size.sum(-1), soft * (off * size).sum(-1))
    gradient = Quantity(g, size, 2 * off * size).times(soft / temperature)
    if target is not None and hard:
        labels = np.where(counts == 0, 0, target).astype(int)
        one_hot = np.eye(len(weight))[labels]
        log_s = _log_softmax(z)
        s, off = np.exp(log_s), off * temperature
        of_labels = -(one_hot * log_s).sum(-1)
        of_classes = s + one_hot
        losses = losses.plus(
            Quantity(of_labels, of_labels + 1, (off * of_classes).sum(-1)).times(hard)
        )
        gradient = gradient.plus(
            Quantity(s - one_hot, of_classes, 2 * off * of_classes).times(hard)
        )
    gradient = gradient._replace(moved=gradient.moved + gradient_eps / 2 * np.abs(gradient.exact))
    return _layer(x, weight, Logits(losses, gradient), counts, reduction, grad_output)


def _log_softmax(z: Array) -> Array:
    z = z - z.max(-1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(-1, keepdims=True)))


def evaluate_labelled(
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    grad_output: ArrayLike | None = None,
    gradient_eps: float = 0.0,
    dtype: DTypeLike = np.float64,
) -> Layer:
    """The mean over the classes of the binary cross-entropy, with what products may be off by."""
    x, weight, y = np.asarray(x, dtype), np.asarray(weight, dtype), np.asarray(target)
    z = x @ weight.T
    is_label = np.zeros((len(x), len(weight) + 1), bool)
    np.put_along_axis(is_label, np.where(y == -1, len(weight), y), True, -1)
    is_label = is_label[:, :-1]
    signed = np.where(is_label, -z, z)
    off = _product_off(x, weight, 0)[:, None]
    terms, slope = np.logaddexp(0, signed), 1 / (1 + np.exp(-signed))
    losses = Quantity(terms.mean(-1), terms.mean(-1), (slope * off).mean(-1))
    g = np.where(is_label, -slope, slope) / len(weight)
    moved = np.abs(g) * (off + gradient_eps / 2)  # the slope's own is less than it
    logits = Logits(losses, Quantity(g, np.abs(g), moved))
    return _layer(x, weight, logits, np.ones(len(x)), reduction, grad_output)
