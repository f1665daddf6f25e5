"""Calls of losses of triplets whose distance is a loss itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fusedloss._check.operands import as_prediction, is_real
from fusedloss._check.results import gradient_places
from fusedloss._lower.loss import Loss
from fusedloss._types import Array


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


def distance(function: Any) -> Callable[..., Any]:
    """Return a loss of two arguments, if it is differentiable in both and takes a reduction."""
    record = getattr(function, "__fusedloss__", None)
    if not isinstance(record, Loss):
        raise TypeError(
            f"distance_function is {function!r}: expected one of fusedloss's losses, such as "
            "fusedloss.cosine_similarity_loss"
        )
    named = f"distance_function is {record.name}"
    if record.differentiable[:2] != record.parameters[:2]:
        raise ValueError(
            f"{named}: expected a loss that is differentiable in its first two arguments, not in "
            f"{', '.join(record.differentiable)}"
        )
    try:
        inspect.signature(function).bind(None, None, reduction="none", num_threads=None)
    except TypeError as error:
        raise TypeError(f"{named}: expected a loss of two arguments ({error})") from None
    checked: Callable[..., Any] = function
    return checked


def distances(function: Callable[..., Any], returned: Any, shape: tuple[int, ...]) -> Array:
    """Return what a distance of arrays of a shape returned: numbers of their rows or elements."""
    made = np.asarray(returned)
    is_of_rows = made.shape == shape[: made.ndim] and (made.ndim > 0 or len(shape) < 2)
    if not (is_of_rows and is_real(made.dtype)):
        what = f"an array of shape {made.shape} and dtype {made.dtype}"
        raise ValueError(
            f"distance_function {function.__name__} returned "
            f"{what if isinstance(returned, np.ndarray) else repr(returned)}: expected a number "
            f"for each row or element of arrays of shape {shape}"
        )
    return made.astype(np.float64)
