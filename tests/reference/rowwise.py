"""What losses of rows share: the axis of the rows, sample weights, reduction, gradients.

A loss is a function of arrays whose rows lie on the last axis, and of arrays with a number per row;
it returns `Terms` with a value per row and gradients like its rows. `rowwise` enters it into
`ROWWISE` and makes the public form of it; `evaluate` is that of pointwise.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from parts import Array
from reference.elementary import weighted
from reference.pointwise import Evaluation, Terms
from reference.softmax_family import Result, class_axis
from rounding import Numbers, Rounded, in_blocks


@dataclass(frozen=True)
class Formula:
    """A row of the table of losses."""

    terms: Callable[..., Terms]
    arguments: tuple[str, ...]
    differentiable: tuple[str, ...]
    of_classes: bool  # rows are classes, on the axis 1 of (N, C, d1, ...); else the last axis


ROWWISE: dict[str, Formula] = {}


def rowwise(
    *differentiable: str, of_classes: bool = True
) -> Callable[[Callable[..., Terms]], Callable[..., Result]]:
    """Enter a loss into the table, with the names of its differentiable arguments."""

    def register(terms: Callable[..., Terms]) -> Callable[..., Result]:
        parameters = inspect.signature(terms).parameters.values()
        arguments = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        name = terms.__name__
        ROWWISE[name] = Formula(terms, arguments, differentiable, of_classes)

        def loss(*arrays: ArrayLike, **options: Any) -> Result:
            value, gradients, _ = evaluate(name, *arrays, **options)
            return Result(value, gradients[0])

        loss.__name__, loss.__doc__ = name, terms.__doc__
        return loss

    return register


def evaluate(
    loss: str,
    *arrays: ArrayLike,
    axis: int | None = None,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
    arithmetic: DTypeLike | None = None,
    **options: Any,
) -> Evaluation:
    """Value and gradients of a loss: arrays, or `Rounded` where an ``arithmetic`` is given."""

    def numbers(x: ArrayLike) -> Numbers:
        if np.asarray(x).dtype.kind in "biu":  # class indices, or numbers that are exact
            return np.asarray(x)
        if arithmetic is None:
            return np.asarray(x).astype(dtype)
        return Rounded.of(x, dtype, arithmetic)

    formula = ROWWISE[loss]
    ndim = np.ndim(arrays[0])
    if axis is None:
        axis = class_axis(ndim) if formula.of_classes else -1
    inputs = [numbers(x) for x in arrays]
    rows = [np.moveaxis(x, axis, -1) if x.ndim == ndim else x for x in inputs]
    options = {k: numbers(x) if isinstance(x, np.ndarray) else x for k, x in options.items()}
    shape = rows[0].shape[:-1]
    with np.errstate(all="ignore"):
        value, gradients, _ = formula.terms(*rows, **options)
        w = numbers(np.ones(shape) if sample_weight is None else sample_weight)
        value = np.broadcast_to(weighted(w, value), shape)
        divisor = in_blocks(w) if reduction == "mean" else numbers(1.0)
        g = numbers(1.0 if grad_output is None else grad_output)
        # the mean of nothing is nan, but its gradient is 0
        factor = np.where(divisor != 0, g / divisor, 0.0)
        factor = np.expand_dims(np.broadcast_to(factor, shape), -1)
        w = np.expand_dims(w, -1)
        gradients = tuple(np.moveaxis(weighted(w, factor * x), -1, axis) for x in gradients)
        total = value if reduction == "none" else in_blocks(value) / divisor
    return Evaluation(total, gradients, None)


def one_hot(target: Array, classes: int) -> Array:
    """[c = target]; a class that there is not, such as padding, is none."""
    hot: Array = np.arange(classes) == target[..., np.newaxis]
    return hot


def at_index(x: Numbers, index: Array) -> Numbers:
    """x at one class of each row, with an axis for it."""
    return np.take_along_axis(x, index[..., np.newaxis].astype(np.int64), -1)


def exact_part(x: Numbers) -> Array:
    return x.exact if isinstance(x, Rounded) else np.asarray(x)


def first_largest(x: Numbers) -> Array:
    """The class of a row's largest number, the first of several."""
    return np.asarray(exact_part(x).argmax(axis=-1))


def shares_of_largest(x: Numbers) -> Array:
    """1 at a row's largest number, shared by several."""
    largest = exact_part(x) == exact_part(x).max(axis=-1, keepdims=True)
    return np.asarray(largest / largest.sum(axis=-1, keepdims=True))
