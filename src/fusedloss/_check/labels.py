"""Classes: their axis, targets, weights, and indices out of range."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from fusedloss._check.operands import (
    FLOAT_DTYPES,
    as_array,
    as_floats,
    as_plain,
    as_prediction,
    bools,
    compute_dtype,
    first_bad,
    is_real,
)
from fusedloss._check.options import integer
from fusedloss._types import Array

NOTHING_IGNORED = -(2**63)  # an ignore_index that is no class of anybody


def classes(name: str, x: Any, axis: int | None = None) -> int:
    """Return the number of classes of a prediction; axis: None for the usual class axis."""
    array = as_prediction(name, x)
    return int(array.shape[axis_of_classes(name, array, axis)])


def axis_of_classes(name: str, logits: Array, axis: Any) -> int:
    if logits.ndim == 0:
        raise ValueError(f"{name} is 0-dimensional: expected an axis of classes")
    if axis is None:
        axis = 1 if logits.ndim > 1 else 0
    position = integer("axis", axis)
    if not -logits.ndim <= position < logits.ndim:
        raise ValueError(f"axis is {position}: out of range for {name} of shape {logits.shape}")
    if logits.shape[position] == 0:
        raise ValueError(f"{name} has shape {logits.shape}: expected at least one class")
    return position % logits.ndim


def class_target(
    target: Any, logits: Array, axis: int, kind: int, *, floats: bool = False
) -> Array:
    """Return a target of classes as the kernels take it.

    kind: less than 0 if the target may be of either kind, 0 for class indices, else 1. floats: one
    class index for each row of (N, C) may be a whole-number float, as boosters hand them out.
    """
    array = as_array("target", target)
    positions = logits.shape[:axis] + logits.shape[axis + 1 :]
    if array.shape == logits.shape and kind != 0:
        if not is_real(array.dtype):
            raise TypeError(
                f"target has dtype {array.dtype}: expected float probabilities, its shape being "
                f"that of the logits, or class indices of shape {positions}"
            )
        exact = array.dtype.newbyteorder("=").name in FLOAT_DTYPES
        return as_plain(array, None if exact else logits.dtype)
    if array.shape != positions or kind > 0:
        either = "" if kind == 0 else f" or {logits.shape} (probabilities)"
        raise ValueError(
            f"target has shape {array.shape}: expected {positions} (class indices){either} for "
            f"logits of shape {logits.shape}"
        )
    if floats and array.dtype.kind == "f" and logits.ndim == 2 and axis == 1:
        return whole_numbers("target", array, "a whole number, the index of a class")
    if array.dtype.kind not in "iu":
        either = "" if kind == 0 else f", or probabilities of the logits' shape {logits.shape}"
        raise TypeError(f"target has dtype {array.dtype}: expected integer class indices{either}")
    return as_plain(array)


def whole_numbers(name: str, array: Array, expected: str) -> Array:
    """Return floats that are whole numbers as integers."""
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
        bad = ~((whole == array) & (np.abs(array) < 2**53))
    if bad.any():
        where, value = first_bad(name, array, bad)
        raise ValueError(f"{where} is {value}: expected {expected}")
    return whole


def weight_of_classes(name: str, weight: Any, logits: Array, classes: int) -> Array:
    array = as_floats(name, weight)
    if array.shape != (classes,):
        raise ValueError(f"{name} has shape {array.shape}: expected ({classes},), one per class")
    return np.ascontiguousarray(as_plain(array, compute_dtype(logits)))


def weight_of_samples(weight: Any, logits: Array, positions: tuple[int, ...]) -> Array:
    array = as_floats("sample_weight", weight)
    if array.shape != positions:
        raise ValueError(
            f"sample_weight has shape {array.shape}: expected {positions}, one per position"
        )
    exact = array.dtype.newbyteorder("=").name in FLOAT_DTYPES
    return as_plain(array, None if exact else logits.dtype)


def are_shares(logits: Any, target: Any) -> bool:
    """Whether a target is one of probabilities: of floats, with the logits' axes."""
    if type(target) is np.ndarray and target.dtype.kind in "iu":
        return False
    array = as_array("target", target)
    return array.dtype.kind not in "iub" and array.ndim == as_array("logits", logits).ndim


def mask(where: Any, shape: tuple[int, ...], each: str = "position") -> Array:
    """Return a mask of positions, or of what `each` names, as the kernels take it."""
    array = bools("where", where)
    if array.shape != shape:
        raise ValueError(f"where has shape {array.shape}: expected {shape}, one per {each}")
    return as_plain(array)


def identities(*labels: Array) -> tuple[Array, ...]:
    """Return integer labels of any dtypes as arrays that compare like the numbers they hold.

    No dtype holds every int64 and uint64. Labels without uint64 among them are returned as given.
    """
    wide = [x for x in labels if x.dtype.kind == "u" and x.dtype.itemsize == 8]
    if not wide:
        return labels
    if all(x.dtype.kind == "u" or bool((x >= 0).all()) for x in labels):
        # Less 2**63, of which the order is that of the numbers.
        return tuple((x.astype(np.uint64) ^ np.uint64(2**63)).view(np.int64) for x in labels)
    if all(bool((x <= np.iinfo(np.int64).max).all()) for x in wide):
        return tuple(x.astype(np.int64) for x in labels)
    numbers = np.concatenate([x.astype(object) for x in labels])
    ranks = np.unique(numbers, return_inverse=True)[1]
    return tuple(np.split(ranks, np.cumsum([len(x) for x in labels[:-1]])))


def raise_bad_index(
    target: Any, classes: int, ignore_index: int, shift: int = 0, where: Any = None
) -> NoReturn:
    """Raise IndexError for the first class index out of range.

    The first `shift` of each sequence are not used, nor are those that `where` leaves out.
    """
    array = np.asarray(target)
    bad = ((array < 0) | (array >= classes)) & (array != ignore_index)
    if where is not None:
        bad &= where
    if shift:
        bad[..., :shift] = False
    ignored = None if ignore_index == NOTHING_IGNORED else ignore_index
    _raise_bad_index("target", array, bad, classes, ignored)


def _raise_bad_index(
    name: str,
    array: Array,
    bad: Array,
    classes: int,
    ignore_index: int | None,
    called: str = "ignore_index",
) -> NoReturn:
    where, value = first_bad(name, array, bad)
    unless = "" if ignore_index is None else f" (and not {called} {ignore_index})"
    raise IndexError(f"{where} is {value}: out of range for {classes} classes{unless}")


def class_indices(
    name: str,
    indices: Array,
    classes: int,
    ignore_index: int | None,
    called: str = "ignore_index",
) -> None:
    """Raise IndexError if a class index is out of range; called: what the ignored one is."""
    bad = (indices < 0) | (indices >= classes)
    if ignore_index is not None:
        bad &= indices != ignore_index
    if bad.any():
        _raise_bad_index(name, indices, bad, classes, ignore_index, called)


def class_labels(target: Any, num_classes: Any, ignore_index: Any) -> Array:
    """Return class indices; raise IndexError if one is neither in range nor ignored."""
    y, ignored = as_array("target", target), integer("ignore_index", ignore_index)
    if y.dtype.kind not in "iu":
        raise TypeError(f"target has dtype {y.dtype}: expected integer class indices")
    class_indices("target", y, integer("num_classes", num_classes), ignored)
    return y
