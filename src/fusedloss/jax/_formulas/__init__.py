"""The losses' formulas in JAX's operations, by the kernels that compute them.

They are what second derivatives are taken of, and what runs on other devices. A formula takes the
arguments of a lowered call, whose arrays stand for JAX's, and returns the loss, followed by its
extra outputs. Unlike the kernels it makes whatever arrays it needs: logits, pairs, probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusedloss import _core
from fusedloss._types import Array, Call
from fusedloss.jax._formulas import points, rows, softmax


class Given:
    """JAX's arrays, by the arrays of zeros that stand for them in a lowered call."""

    def __init__(self, zeros: Sequence[Array], leaves: Sequence[Any]) -> None:
        self._leaves = {id(x): leaf for x, leaf in zip(zeros, leaves, strict=True)}
        self._at = {
            x.ctypes.data: leaf for x, leaf in zip(zeros, leaves, strict=True) if x.size > 0
        }

    def __call__(self, x: Any) -> Any:
        """Return what an array stands for; None for None."""
        if x is None:
            return None
        leaf = self._leaves.get(id(x))
        if leaf is None and isinstance(x, np.ndarray):
            leaf = self._at.get(x.ctypes.data)  # of another shape
            if leaf is not None:
                leaf = leaf.reshape(x.shape)
        if leaf is None:
            raise SystemError("fusedloss: an array of a lowered call stands for none of JAX's")
        return leaf


#: By the functions that lowered calls are of.
FORMULAS: dict[Callable[..., Any], Callable[..., Any]] = {
    _core.softmax: softmax.formula,
    _core.pointwise: points.formula,
    _core.rowwise: rows.formula,
}

#: The axes of the gradient by an argument, by its number, that belong to one loss.
AXES: dict[Callable[..., Any], Callable[..., Any]] = {
    _core.softmax: softmax.axes,
    _core.pointwise: points.axes,
    _core.rowwise: rows.axes,
}


def formula_of(lowered: Call, given: Given) -> tuple[Any, ...]:
    """Return the outputs of a lowered call."""
    kernel, arguments = lowered
    made = FORMULAS[kernel](given, *arguments)
    return made if isinstance(made, tuple) else (made,)


def axes_of(lowered: Call, number: int) -> tuple[int, ...] | None:
    """Return the axes of a gradient that belong to one loss; None if it has a part in several."""
    kernel, arguments = lowered
    return AXES[kernel](number, *arguments) if kernel in AXES else None
