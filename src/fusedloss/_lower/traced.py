"""Calls that a compiler traces, which has no use for kernels and cannot follow Cython's classes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

#: Given in the place of a number of threads, it has a loss lowered to one of the tuples below.
TRACED: Final[Any] = "traced"


class PointwiseTuple(NamedTuple):
    """The fields of `_core.PointwiseCall`."""

    name: str
    operands: Any
    parameters: tuple[float, ...]
    weight: Any
    reduction: Any
    divisor: float
    weighted_mean: bool
    num_threads: Any
    where: Any


class RowwiseTuple(NamedTuple):
    """The fields of `_core.RowwiseCall`."""

    name: str
    operands: Any
    roles: tuple[int, ...]
    parameters: tuple[float, ...]
    weight: Any
    sample_weight: Any
    reduction: Any
    axis: Any
    num_threads: Any
    wide: bool
    where: Any
