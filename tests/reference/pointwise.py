"""What every pointwise loss shares: broadcasting, weights, reduction, vector-Jacobian products.

A loss is a function of arrays that returns `Terms`; `pointwise` enters it into `POINTWISE` and
makes the public form of it, which returns ``(value, gradient)`` of its first argument. `evaluate`
gives the gradients of all differentiable arguments and the Hessian, and with ``arithmetic`` what
each result may be off in that type.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from reference.elementary import weighted
from reference.softmax_family import Result
from rounding import Numbers, Rounded, in_blocks


class Terms(NamedTuple):
    """A loss at every element, and its derivatives there."""

    value: Numbers
    gradients: tuple[Numbers, ...]  # by each differentiable argument
    hessian: Numbers = None  # the second derivative by the first argument, where it is offered


class Evaluation(NamedTuple):
    """A loss, its gradients, and the diagonal Hessian of the summed loss."""

    value: Numbers
    gradients: tuple[Numbers, ...]
    hessian: Numbers


@dataclass(frozen=True)
class Formula:
    """A row of the table of losses."""

    terms: Callable[..., Terms]
    arguments: tuple[str, ...]
    differentiable: tuple[str, ...]
    weighted_mean: bool  # whether a mean divides by the sum of the weights


POINTWISE: dict[str, Formula] = {}


def pointwise(
    *differentiable: str, weighted_mean: bool = False
) -> Callable[[Callable[..., Terms]], Callable[..., Result]]:
    """Enter a loss into the table, with the names of its differentiable arguments."""

    def register(terms: Callable[..., Terms]) -> Callable[..., Result]:
        parameters = inspect.signature(terms).parameters.values()
        arguments = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        name = terms.__name__
        POINTWISE[name] = Formula(terms, arguments, differentiable, weighted_mean)

        def loss(*arrays: ArrayLike, **options: Any) -> Result:
            value, gradients, _ = evaluate(name, *arrays, **options)
            return Result(value, gradients[0])

        loss.__name__, loss.__doc__ = name, terms.__doc__
        return loss

    return register


def evaluate(
    loss: str,
    *arrays: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
    arithmetic: DTypeLike | None = None,
    **options: Any,
) -> Evaluation:
    """Every result of a loss: arrays, or `Rounded` where an ``arithmetic`` is given."""

    def numbers(x: ArrayLike) -> Numbers:
        return (
            np.asarray(x).astype(dtype) if arithmetic is None else Rounded.of(x, dtype, arithmetic)
        )

    formula = POINTWISE[loss]
    inputs = [numbers(x) for x in arrays]
    w = numbers(1 if weight is None else weight)
    options = {k: numbers(x) if isinstance(x, np.ndarray) else x for k, x in options.items()}
    arrays_of = dict(zip(formula.arguments, inputs, strict=True))
    option_shapes = (x.shape for x in options.values() if hasattr(x, "shape"))
    shape = np.broadcast_shapes(*(x.shape for x in inputs), w.shape, *option_shapes)
    with np.errstate(all="ignore"):
        value, gradients, hessian = formula.terms(**arrays_of, **options)
        value = np.broadcast_to(weighted(w, value), shape)
        divisor: Numbers = numbers(1)
        if reduction == "mean":
            weights = np.broadcast_to(w, shape)
            divisor = in_blocks(weights) if formula.weighted_mean else numbers(math.prod(shape))
        elif reduction == "batchmean":
            divisor = numbers(inputs[0].shape[0] if inputs[0].ndim else 1)
        g = numbers(1 if grad_output is None else grad_output)
        # the mean of nothing is nan, but its gradient is 0
        factor = np.where(divisor != 0, g / divisor, 0)
        gradients = tuple(
            _summed_to(np.broadcast_to(weighted(w, factor * x), shape), arrays_of[name].shape)
            for name, x in zip(formula.differentiable, gradients, strict=True)
        )
        return Evaluation(
            value if reduction == "none" else in_blocks(value) / divisor,
            gradients,
            None if hessian is None else np.broadcast_to(weighted(w, hessian), shape),
        )


def _summed_to(gradient: Numbers, shape: tuple[int, ...]) -> Numbers:
    """The gradient of an argument that was broadcast."""
    missing = gradient.ndim - len(shape)
    repeated = tuple(i for i, n in enumerate(shape, missing) if n == 1 != gradient.shape[i])
    axes = (*range(missing), *repeated)
    if not axes:
        return gradient
    return in_blocks(gradient, axes).reshape(shape)
