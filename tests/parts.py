"""What the formulas of losses are made of: terms per position, their sizes, and their reduction."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]


class Quantity(NamedTuple):
    """A result, and what its rounding errors are relative to."""

    exact: Array
    size: Array  # the sum of the sizes of the terms that it is added up from
    moved: Array  # how far it moves, in eps, when every exponent and power in it is rounded

    def times(self, factor: ArrayLike) -> Quantity:
        size = np.abs(factor)
        return Quantity(self.exact * factor, self.size * size, self.moved * size)

    def plus(self, other: Quantity) -> Quantity:
        return Quantity(*(x + y for x, y in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Part:
    """One term of a loss at every position, before sample weights and reduction.

    Positions have the shape (...), classes are on the last axis.
    """

    value: Quantity  # (...)
    gradient: Quantity  # (..., C)
    hessian: Quantity  # (..., C): its diagonal
    counted: Array  # (...): False where ignored
    share: Array  # (...): what each position adds to the divisor of a mean

    def times(self, factor: ArrayLike) -> Part:
        """The term with a factor."""
        value, gradient, hessian = (
            x.times(factor) for x in (self.value, self.gradient, self.hessian)
        )
        return Part(value, gradient, hessian, self.counted, self.share)


class Evaluation(NamedTuple):
    """A loss, its gradient, and the diagonal Hessian of the summed loss."""

    value: Quantity
    gradient: Quantity
    hessian: Quantity


def reduced(
    parts: list[Part],
    axis: int,
    reduction: str,
    sample_weight: ArrayLike | None,
    grad_output: ArrayLike | None,
) -> Evaluation:
    """Multiply by the sample weights, reduce each part by its own divisor, and add the parts."""
    sums: list[Evaluation] = []
    for part in parts:
        dtype = part.gradient.exact.dtype
        v = np.ones_like(part.share) if sample_weight is None else np.asarray(sample_weight)
        v = np.where(part.counted, v.astype(dtype), 0)
        divisor = np.asarray(1, dtype)
        if reduction == "mean":
            divisor = np.asarray((v * np.where(part.counted, part.share, 0)).sum())
        g = np.ones((), dtype) if grad_output is None else np.asarray(grad_output, dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = where_counted(part.counted, part.value.times(v))
            if reduction != "none":
                value = Quantity(*(np.asarray(x.sum() / divisor) for x in value))
            # the mean of nothing is nan, but its gradient is 0
            factor = np.asarray(g * v / divisor if divisor else 0 * v)[..., np.newaxis]
            counted = part.counted[..., np.newaxis]
            gradient = where_counted(counted, part.gradient.times(factor), axis)
            hessian = where_counted(counted, part.hessian.times(v[..., np.newaxis]), axis)
        sums.append(Evaluation(value, gradient, hessian))
    total = sums[0]
    for other in sums[1:]:
        total = Evaluation(*(x.plus(y) for x, y in zip(total, other, strict=True)))
    return total


def where_counted(counted: Array, quantity: Quantity, axis: int | None = None) -> Quantity:
    """0 where ignored, whatever else is there; the classes back at their axis."""
    kept = (np.where(counted, x, 0) for x in quantity)
    return Quantity(*(x if axis is None else np.moveaxis(x, -1, axis) for x in kept))


def public(module: ModuleType) -> list[str]:
    """The public names of a package that star imports make, where type checkers see no list."""
    return list(module.__all__)
