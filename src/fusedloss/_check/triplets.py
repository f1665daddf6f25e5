"""Calls of losses of triplets whose distance is a loss itself."""

from __future__ import annotations

from typing import Any

from fusedloss._check.operands import as_prediction
from fusedloss._check.results import gradient_places
from fusedloss._loss import Array


def triplets(
    operands: dict[str, Any], gradient: bool | tuple[int, ...], grad_output: Any, out: Any
) -> tuple[dict[str, Array], tuple[int, ...], tuple[Any, ...]]:
    """Return arrays of floats of one shape, and which gradients are wanted, and where."""
    given = {name: as_prediction(name, x) for name, x in operands.items()}
    shape = next(iter(given.values())).shape
    for name, array in given.items():
        if array.shape != shape:
            raise ValueError(
                f"{name} has shape {array.shape}: expected {shape}, that of the anchor"
            )
    return given, *gradient_places(gradient, out, given, operands | {"grad_output": grad_output})
