"""Calls of triplet losses whose distance is itself a loss."""

from __future__ import annotations

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
    """Return float arrays of one shape, which gradients are wanted, and their outputs."""
    given = {name: as_prediction(name, x) for name, x in operands.items()}
    shape = next(iter(given.values())).shape
    for name, array in given.items():
        if array.shape != shape:
            raise ValueError(
                f"{name} has shape {array.shape}: expected {shape}, that of the anchor"
            )
    return given, *gradient_places(gradient, out, given, operands | {"grad_output": grad_output})


def distance(function: Any) -> Callable[..., Any]:
    """Return a loss of two arguments; it must be differentiable in both and take a reduction."""
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
    from inspect import signature  # slow to import

    try:
        signature(function).bind(None, None, reduction="none", num_threads=None)
    except TypeError as error:
        raise TypeError(f"{named}: expected a loss of two arguments ({error})") from None
    checked: Callable[..., Any] = function
    return checked


def distances(function: Callable[..., Any], returned: Any, shape: tuple[int, ...]) -> Array:
    """Check the result of a distance: one number for each row, or for each element."""
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
