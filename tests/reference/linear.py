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
