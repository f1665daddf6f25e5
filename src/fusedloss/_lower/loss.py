"""What a loss is: a function whose body says which kernel call computes it.

The body of a function under `@loss` lowers its arguments to a kernel and the kernel's arguments.
The function itself runs that call for the value; `value_and_grad` runs the same call for the
gradient too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np

from fusedloss._types import Array, Call, LossFunction, P

R = TypeVar("R")


def quietly(function: Callable[P, R]) -> Callable[P, R]:
    """Silence NumPy's warnings in a function: infinities and NaN are valid results."""

    @functools.wraps(function)
    def silent(*args: P.args, **options: P.kwargs) -> R:
        with np.errstate(all="ignore"):
            return function(*args, **options)

    return silent


class Loss(NamedTuple):
    """The record of a loss: its lowering, and the arguments in which it is differentiable."""

    name: str
    lower: Callable[..., Call]
    parameters: tuple[str, ...]
    differentiable: tuple[str, ...]
    hessian: bool
    by_targets: tuple[str, ...] = ()  # differentiable, too, but not by a kernel: see targets.py


@overload
def loss(
    *differentiable: str, returns: Literal["np.ndarray"]
) -> Callable[[Callable[P, Call]], Callable[P, Array]]: ...
@overload
def loss(
    *differentiable: str,
    returns: Literal["float", "float | np.ndarray"] = ...,
    hessian: bool = ...,
    by_targets: tuple[str, ...] = ...,
) -> Callable[[Callable[P, Call]], LossFunction[P]]: ...
def loss(
    *differentiable: str,
    returns: str = "float | np.ndarray",
    hessian: bool = False,
    by_targets: tuple[str, ...] = (),
) -> Callable[[Callable[P, Call]], Any]:
    """Turn a function that lowers its arguments to a kernel call into a public loss."""

    def register(lower: Callable[P, Call]) -> Any:
        @functools.wraps(lower)
        def value(*args: P.args, **options: P.kwargs) -> Any:
            kernel, arguments = lower(*args, **options)
            return kernel(*arguments)

        record = Loss(
            lower.__name__, lower, parameters_of(lower), differentiable, hessian, by_targets
        )
        value.__annotations__["return"] = returns
        value.__fusedloss__ = record  # type: ignore[attr-defined]
        return value

    return register


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's parameters, without `inspect`, which is slow to import."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def lookup(function: object) -> Loss:
    """Return the record of a loss; TypeError for any other object."""
    record = getattr(function, "__fusedloss__", None)
    if not isinstance(record, Loss):
        raise TypeError(
            f"loss is {function!r}: expected one of fusedloss's losses, "
            "such as fusedloss.cross_entropy"
        )
    return record
