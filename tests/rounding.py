"""What arithmetic in a narrower type may be off: running error analysis.

A formula written with NumPy's operators and functions takes `Rounded` numbers in place of arrays:
it then gives, next to the exact result, a bound of what its own steps lose in the narrower type
(N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.3). A fused kernel may
not be further off than the formula as it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, DTypeLike

from parts import Array

#: What a formula computes with: arrays, numbers, or `Rounded`.
Numbers: TypeAlias = Any

#: Units in the last place that one operation loses: half of one where the processor rounds, and as
#: many as a good vector library's function does otherwise.
_ULPS: dict[np.ufunc, float] = {
    np.add: 0.5,
    np.subtract: 0.5,
    np.multiply: 0.5,
    np.divide: 0.5,
    np.sqrt: 0.5,
    np.exp: 1,
    np.log: 1,
    np.log1p: 1,
    np.expm1: 2,
    np.tanh: 2,
    np.arctan: 1,
    np.power: 1,
    np.negative: 0,
    np.absolute: 0,
    np.maximum: 0,
    np.minimum: 0,
}

#: Whose results below the smallest normal number may be 0.
_FLUSHED = (np.exp, np.power)

_COMPARISONS = (
    np.less,
    np.less_equal,
    np.greater,
    np.greater_equal,
    np.equal,
    np.not_equal,
)

#: Functions that only move numbers about.
_STRUCTURAL = (np.broadcast_to, np.expand_dims, np.moveaxis, np.take_along_axis)

#: Additions one after another in a sum over a row, before partial sums are added.
LONGEST_RUN = 64

#: The same in a sum over all elements: a block of 1024, in two vectors of two lanes at least.
LONGEST_BLOCK = 256


def _power(x: Array, ex: Array, y: Array, ey: Array, eps: float) -> Array:
    """x^y as exp(y log x), whose exponent is rounded three times by half a unit."""
    log = np.where(x > 0, np.log(np.where(x > 0, x, 1)), 0)
    spread = np.abs(y) * np.where(x > ex, -np.log1p(-ex / np.where(x > ex, x, np.inf)), 0)
    moved = spread + np.abs(log) * ey + 1.5 * eps * np.abs(y * log)
    near_zero = np.where(y > 0, (x + ex) ** y, np.where(y == 0, 0, np.inf))
    return np.where(x > ex, np.abs(x) ** y * np.expm1(moved), np.where(ex > 0, near_zero, 0))


def _extreme(x: Array, ex: Array, y: Array, ey: Array, chosen: Array) -> Array:
    """Of a maximum or minimum: the error of what is chosen, or of what may have been."""
    either = np.abs(x - y) <= ex + ey
    return np.where(either, np.maximum(ex, ey), np.where(chosen == x, ex, ey))


def _product(x: Array, y: Array) -> Array:
    """x y; an error without bound of what is multiplied by 0 counts nothing."""
    return np.where((x == 0) | (y == 0), 0, x * y)


#: The error in a result that the operands' errors cause, before the result itself is rounded.
_PROPAGATED: dict[np.ufunc, Callable[..., Array]] = {
    np.add: lambda z, x, ex, y, ey, eps: ex + ey,
    np.subtract: lambda z, x, ex, y, ey, eps: ex + ey,
    np.multiply: lambda z, x, ex, y, ey, eps: (
        _product(np.abs(x), ey) + _product(np.abs(y), ex) + _product(ex, ey)
    ),
    np.divide: lambda z, x, ex, y, ey, eps: (
        (ex + np.abs(z) * ey) / np.where(np.abs(y) > ey, np.abs(y) - ey, 0)
    ),
    np.maximum: lambda z, x, ex, y, ey, eps: _extreme(x, ex, y, ey, z),
    np.minimum: lambda z, x, ex, y, ey, eps: _extreme(x, ex, y, ey, z),
    np.power: lambda z, x, ex, y, ey, eps: _power(x, ex, y, ey, eps),
    np.negative: lambda z, x, ex, eps: ex,
    np.absolute: lambda z, x, ex, eps: ex,
    np.sqrt: lambda z, x, ex, eps: np.where(ex == 0, 0, z - np.sqrt(np.maximum(x - ex, 0))),
    np.exp: lambda z, x, ex, eps: z * np.expm1(ex),
    np.expm1: lambda z, x, ex, eps: (z + 1) * np.expm1(ex),
    np.log: lambda z, x, ex, eps: -np.log1p(-ex / x),
    np.log1p: lambda z, x, ex, eps: -np.log1p(-ex / (1 + x)),
    np.tanh: lambda z, x, ex, eps: ex * np.cosh(np.maximum(np.abs(x) - ex, 0)) ** -2,
    np.arctan: lambda z, x, ex, eps: ex / (1 + np.maximum(np.abs(x) - ex, 0) ** 2),
}


class Rounded(NDArrayOperatorsMixin):
    """Exact numbers, and how far off they may be in another type's arithmetic."""

    def __init__(self, exact: ArrayLike, error: ArrayLike, arithmetic: DTypeLike) -> None:
        self.exact = np.asarray(exact)
        self.error = np.broadcast_to(error, self.exact.shape)
        self.arithmetic: np.dtype[Any] = np.dtype(arithmetic)

    @classmethod
    def of(cls, x: ArrayLike, dtype: DTypeLike, arithmetic: DTypeLike) -> Rounded:
        """Numbers as the arithmetic's type can hold them."""
        exact = np.asarray(x).astype(dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(exact - exact.astype(arithmetic).astype(dtype))
        return cls(exact, np.where(np.isfinite(exact), error, 0), arithmetic)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.exact.shape

    @property
    def ndim(self) -> int:
        return self.exact.ndim

    def reshape(self, shape: tuple[int, ...]) -> Rounded:
        return Rounded(self.exact.reshape(shape), self.error.reshape(shape), self.arithmetic)

    def __getitem__(self, index: Any) -> Rounded:
        return Rounded(self.exact[index], self.error[index], self.arithmetic)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        """The sum of runs in the arithmetic itself, and of all the runs in double."""
        count = self.exact.size // max(self.exact.sum(axis=axis).size, 1)
        ulps = min(count, LONGEST_RUN) / 2 * np.finfo(self.arithmetic).eps
        ulps += count * np.finfo(np.float64).eps
        exact = self.exact.sum(axis=axis, keepdims=keepdims)
        error = (self.error + ulps * np.abs(self.exact)).sum(axis=axis, keepdims=keepdims)
        return Rounded(exact, np.where(np.isfinite(exact), error, 0), self.arithmetic)

    def max(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        """The maximum, off by no more than the worst of its operands."""
        exact, error = (x.max(axis=axis, keepdims=keepdims) for x in (self.exact, self.error))
        return Rounded(exact, error, self.arithmetic)

    def _operand(self, x: Any) -> Rounded:
        return x if isinstance(x, Rounded) else Rounded.of(x, self.exact.dtype, self.arithmetic)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        operands = [self._operand(x) for x in inputs]
        numbers = [x.exact for x in operands]
        errors = [x.error for x in operands]
        limits = np.finfo(self.arithmetic)
        with np.errstate(all="ignore"):
            exact = ufunc(*numbers)
            if ufunc in _COMPARISONS:
                reach = errors[0] + errors[1]
                uncertain = (np.abs(numbers[0] - numbers[1]) <= reach) & (reach > 0)
                return Decision(exact, uncertain, self)
            if ufunc not in _ULPS:  # isnan, isfinite and the like: no number comes out
                return exact if exact.dtype == bool else NotImplemented
            pairs = (part for x in operands for part in (x.exact, x.error))
            error = _PROPAGATED[ufunc](exact, *pairs, eps=float(limits.eps))
            error = error + _ULPS[ufunc] * limits.eps * np.abs(exact)
            if ufunc in (np.multiply, np.divide):  # which sums do not need
                error = error + np.where(exact == 0, 0, limits.smallest_subnormal)
            if ufunc in _FLUSHED:
                error = error + np.where(np.isfinite(numbers[0]), limits.tiny, 0)
        return Rounded(exact, np.where(np.isfinite(exact), error, 0), self.arithmetic)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, options: Any
    ) -> Any:
        if function is np.where:
            return _where(self, *args)
        if function is np.concatenate:
            parts = [self._operand(x) for x in args[0]]
            exact = function([x.exact for x in parts], *args[1:], **options)
            error = function([x.error for x in parts], *args[1:], **options)
            return Rounded(exact, error, self.arithmetic)
        if function in _STRUCTURAL:
            exact, error = (
                function(x, *args[1:], **options) for x in (args[0].exact, args[0].error)
            )
            return Rounded(exact, error, self.arithmetic)
        return NotImplemented


class Decision(NDArrayOperatorsMixin):
    """The outcome of a comparison, and where rounding may have reversed it."""

    def __init__(self, exact: Array, uncertain: Array, like: Rounded) -> None:
        self.exact, self.uncertain, self.like = exact, uncertain, like

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc not in (np.bitwise_and, np.bitwise_or, np.invert) or options:
            return NotImplemented
        exact = ufunc(*(x.exact if isinstance(x, Decision) else x for x in inputs))
        uncertain = np.zeros(exact.shape, bool)
        for x in inputs:
            if isinstance(x, Decision):
                uncertain = uncertain | x.uncertain
        return Decision(exact, uncertain, self.like)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, options: Any
    ) -> Any:
        return _where(self.like, *args) if function is np.where else NotImplemented


def _where(like: Rounded, decision: Any, x: Any, y: Any) -> Rounded:
    """np.where: an uncertain decision costs the distance of its two outcomes."""
    x, y = like._operand(x), like._operand(y)
    chosen, uncertain = decision, np.False_
    if isinstance(decision, Decision):
        chosen, uncertain = decision.exact, decision.uncertain
    with np.errstate(invalid="ignore"):
        distance = np.abs(x.exact - y.exact) + np.maximum(x.error, y.error)
    error = np.where(uncertain, distance, np.where(chosen, x.error, y.error))
    return Rounded(np.where(chosen, x.exact, y.exact), error, like.arithmetic)


def in_blocks(x: Numbers, axes: tuple[int, ...] | None = None) -> Numbers:
    """The sum of many terms: of a block's in the arithmetic, of the blocks' in double."""
    if not isinstance(x, Rounded):
        return x.sum(axis=axes)
    exact = np.asarray(x.exact.sum(axis=axes))
    terms = x.exact.size // max(exact.size, 1)
    relative = terms * np.finfo(np.float64).eps
    relative += min(terms, LONGEST_BLOCK) / 2 * np.finfo(x.arithmetic).eps
    with np.errstate(invalid="ignore"):
        error = (x.error + relative * np.abs(x.exact)).sum(axis=axes)
    return Rounded(exact, np.where(np.isfinite(exact), error, 0), x.arithmetic)
