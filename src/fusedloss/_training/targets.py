"""Targets: what a loss takes, in the form that it takes them in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fusedloss._check.operands import first_bad
from fusedloss._types import Array

#: What targets are to be, and which are not so.
EXPECTED: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "real": ("finite numbers", lambda t: ~np.isfinite(t)),
    "share": ("numbers in [0, 1]", lambda t: ~((t >= 0) & (t <= 1))),
    "sign": ("-1 or 1", lambda t: np.abs(t) != 1),
    "count": ("numbers of at least 0", lambda t: ~((t >= 0) & (t < np.inf))),
    "positive": ("positive numbers", lambda t: ~((t > 0) & (t < np.inf))),
}


def checked(kind: str, target: Array) -> Array:
    """Return targets of a kind; ValueError names the first that is not."""
    expected, bad = EXPECTED[kind]
    refuse("target", target, bad(target), expected)
    return target


def as_classes(target: Array, number: int | None) -> Array:
    """Return class indices, which boosters hand out as floats."""
    bad = ~((target >= 0) & (target == np.floor(target)))
    expected = "whole numbers of at least 0"
    if number is not None:
        bad |= ~(target < number)
        expected = f"whole numbers in [0, {number})"
    refuse("target", target, bad, expected)
    return target.astype(np.int64, copy=False)


def refuse(name: str, array: Array, bad: Array, expected: str) -> None:
    """Raise the ValueError of the first bad element, if there is one."""
    if bad.any():
        where, value = first_bad(name, array, bad)
        raise ValueError(f"{where} is {value}: expected {expected}")
