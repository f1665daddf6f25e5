"""Calls of losses of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fusedloss import _core
from fusedloss._check.labels import (
    axis_of_classes,
    class_target,
    mask,
    weight_of_classes,
    weight_of_samples,
)
from fusedloss._check.operands import (
    MOST_DIMENSIONS,
    as_array,
    as_numbers,
    as_plain,
    as_prediction,
    broadcast,
    compute_dtype,
    first_bad,
)
from fusedloss._check.options import num_threads, reduction
from fusedloss._check.results import delivered, gradient_places, loss_cotangent
from fusedloss._check.softmax_family import fold, unfold
from fusedloss._types import Array

if TYPE_CHECKING:
    from fusedloss._core import RowwiseCall

#: What an operand of a loss of rows is, after the first: a row for each of the first's, one number
#: for each row, one class index, either an index or a row, or a row of class indices ended by -1.
ROWS, VALUES, INDICES, INDICES_OR_ROWS, LABELS = range(5)


MOST_LABEL_CLASSES = 1 << 24


def raise_bad_class(
    target: Any, classes: int, labels: bool, where: Any = None, axis: int = 0
) -> NoReturn:
    """Raise IndexError for the first class index out of range; -1 ends `labels`.

    Rows that `where` leaves out have none that is.
    """
    array = np.asarray(target)
    bad = (array < (-1 if labels else 0)) | (array >= classes)
    if where is not None:
        bad &= np.expand_dims(where, axis) if labels else where
    where, value = first_bad("target", array, bad)
    unless = " (and not -1)" if labels else ""
    raise IndexError(f"{where} is {value}: out of range for {classes} classes{unless}")


def boxes(name: str, x: Any) -> None:
    """Raise ValueError unless x has boxes along its last axis."""
    shape = getattr(x, "shape", None)
    if shape is None:  # a list, perhaps
        shape = as_numbers(name, x).shape
    if not shape or shape[-1] != 4:
        raise ValueError(f"{name} has shape {tuple(shape)}: expected boxes, shape (..., 4)")


def _row_shape(arrays: dict[str, Array], first: Array) -> tuple[int, ...]:
    """Return the shape that rows broadcast to; the class axis does not move."""
    for name, array in arrays.items():
        if array.ndim != first.ndim:
            raise ValueError(
                f"{name} has shape {array.shape}: expected {first.ndim} dimensions, as in "
                f"{first.shape}"
            )
    return broadcast(arrays)


def _labels(name: str, array: Array, shape: tuple[int, ...], axis: int) -> Array:
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: expected integer class indices")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}: expected {shape}, ended by -1")
    if shape[axis] > MOST_LABEL_CLASSES:
        raise ValueError(f"{name} has shape {shape}: expected at most {MOST_LABEL_CLASSES} classes")
    return as_plain(array)


def _row_operand(name: str, array: Array, role: int, of: Array, axis: int) -> Array:
    """Return an operand as the kernels take it for the rows of another."""
    positions = of.shape[:axis] + of.shape[axis + 1 :]
    if role == ROWS:
        return as_numbers(name, np.broadcast_to(array, of.shape))
    if role == LABELS:
        return _labels(name, array, of.shape, axis)
    if role != VALUES:
        return class_target(array, of, axis, 0 if role == INDICES else -1)
    if array.shape != positions:
        raise ValueError(f"{name} has shape {array.shape}: expected {positions}, one per row")
    return as_numbers(name, array)


def rowwise(
    kernel: Callable[..., Any],
    call: RowwiseCall,
    gradient: bool | tuple[int, ...],
    grad_output: Any,
    out: Any,
) -> Any:
    """Check a call of a row loss, convert unusual arguments, and run the kernel."""
    operands, weight, sample_weight = call.operands, call.weight, call.sample_weight
    names = tuple(operands)
    first = as_prediction(names[0], operands[names[0]])
    class_axis = axis_of_classes(names[0], first, call.axis)
    given = {names[0]: first} | {name: as_array(name, operands[name]) for name in names[1:]}
    role_of = dict(zip(names, (ROWS, *call.roles), strict=True))
    shape = _row_shape({name: x for name, x in given.items() if role_of[name] == ROWS}, first)
    positions = shape[:class_axis] + shape[class_axis + 1 :]
    if shape[class_axis] == 0:
        listed = ", ".join(f"{name} {x.shape}" for name, x in given.items())
        raise ValueError(f"the last axis of rows is empty: expected at least one value in {listed}")
    x = as_plain(np.broadcast_to(first, shape))
    plain = {names[0]: x} | {
        name: _row_operand(name, given[name], role_of[name], x, class_axis) for name in names[1:]
    }
    w = None if weight is None else weight_of_classes("weight", weight, x, shape[class_axis])
    s = None if sample_weight is None else weight_of_samples(sample_weight, x, positions)
    m = None if call.where is None else mask(call.where, positions)
    mode = reduction(call.reduction)
    g = None if grad_output is None else loss_cotangent(grad_output, mode, x, positions)
    thread_count = num_threads(call.num_threads)
    more = {
        "weight": weight,
        "sample_weight": sample_weight,
        "where": call.where,
        "grad_output": grad_output,
    }
    wanted, places = gradient_places(gradient, out, given, operands | more)

    # The kernels write gradients of the broadcast shape, in the compute dtype.
    made = tuple(_core.new_array(shape, compute_dtype(x)) for _ in wanted)
    folded = len(shape) > MOST_DIMENSIONS
    arrays = (*plain.values(), s, m, g)
    kernel_axis = class_axis
    buffers = made
    if folded:
        arrays = tuple(fold(y, len(shape), class_axis) for y in arrays)
        buffers = tuple(np.ascontiguousarray(fold(y, len(shape), class_axis)) for y in made)
        kernel_axis = 1
    checked = call._replace(
        operands=arrays[:-3],
        weight=w,
        sample_weight=arrays[-3],
        where=arrays[-2],
        reduction=mode,
        axis=kernel_axis,
        num_threads=thread_count,
    )
    result = kernel(checked, wanted, arrays[-1], buffers if wanted else None)
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    if folded:
        result = unfold(result, positions, class_axis)
    if not wanted:
        return result
    gradients = delivered(result[1], [given[names[k]] for k in wanted], places, x.dtype)
    return result[0], gradients if isinstance(gradient, tuple) else gradients[0]
