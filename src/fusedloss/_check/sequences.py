"""Calls of losses of sequences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fusedloss._check.operands import (
    as_array,
    as_floats,
    as_plain,
    as_prediction,
    first_bad,
)
from fusedloss._check.options import flag, integer, num_threads, reduction
from fusedloss._types import Array


class CTCCall(NamedTuple):
    """A call of `ctc_loss`, checked, its arrays as the kernels take them."""

    log_probs: Array  # frames, sequences, classes
    labels: Array  # of all sequences; this and what follows are int64
    first_labels: Array  # where in it those of each sequence begin
    input_lengths: Array
    target_lengths: Array
    blank: int
    zero_infinity: bool
    reduction: str
    num_threads: int | None
    sample_weight: Array | None = None  # contiguous float64


def ctc(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: Any,
    zero_infinity: Any,
    reduction_name: Any,
    threads: Any,
    sample_weight: Any = None,
) -> CTCCall:
    """Check a call; a single sequence gets the batch axis that it lacks."""
    given = as_prediction("log_probs", log_probs)
    if given.ndim not in (2, 3) or given.shape[-1] == 0:
        raise ValueError(f"log_probs has shape {given.shape}: expected (T, N, C) or (T, C)")
    x = as_plain(given)
    x = x if x.ndim == 3 else x[:, np.newaxis]
    frames, sequences, classes = x.shape
    blank = integer("blank", blank)
    if not 0 <= blank < classes:
        raise ValueError(f"blank is {blank}: out of range for {classes} classes")
    most = f"{frames}, the number of frames"
    inputs = _lengths("input_lengths", input_lengths, given.ndim == 3, sequences, frames, most)
    y = as_array("targets", targets)
    if y.dtype.kind not in "iu":
        raise TypeError(f"targets has dtype {y.dtype}: expected integer class indices")
    y = y.copy()  # what is checked stays so, whatever another thread does to the caller's
    padded = y.ndim == 2
    room = y.shape[1] if padded else y.size
    most = f"{room}, the targets' length"
    lengths = _lengths("target_lengths", target_lengths, given.ndim == 3, sequences, room, most)
    first = np.arange(sequences) * room if padded else lengths.cumsum() - lengths
    if padded and len(y) == sequences:
        used = np.arange(room) < lengths[:, np.newaxis]
    elif y.ndim == 1 and y.size == lengths.sum():
        used = np.ones(y.shape, bool)
    else:
        raise ValueError(
            f"targets has shape {y.shape}: expected ({sequences}, S), or one after the other "
            f"({lengths.sum()},)"
        )
    _labels(y, used, classes, blank)
    return CTCCall(
        log_probs=x,
        labels=np.ascontiguousarray(y, np.int64).reshape(-1),
        first_labels=first.astype(np.int64),
        input_lengths=inputs,
        target_lengths=lengths,
        blank=blank,
        zero_infinity=flag("zero_infinity", zero_infinity),
        reduction=reduction(reduction_name),
        num_threads=num_threads(threads),
        sample_weight=_weights(sample_weight, given.shape[1:-1]),
    )


def _weights(sample_weight: Any, expected: tuple[int, ...]) -> Array | None:
    """Return the weights of sequences as the kernels take them."""
    if sample_weight is None:
        return None
    array = as_floats("sample_weight", sample_weight)
    if array.shape != expected:
        raise ValueError(
            f"sample_weight has shape {array.shape}: expected {expected}, one per sequence"
        )
    return np.ascontiguousarray(array, np.float64).reshape(-1)


def _lengths(
    name: str, lengths: Any, batched: bool, sequences: int, most: int, explained: str
) -> Array:
    """Return the lengths of sequences as int64, each at most `most`."""
    array = as_array(name, lengths).copy()
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: expected integers")
    if array.shape != (sequences,) and (batched or array.shape != ()):
        raise ValueError(f"{name} has shape {array.shape}: expected ({sequences},)")
    bad = (array < 0) | (array > most)
    if bad.any():
        where, value = first_bad(name, array, bad)
        raise ValueError(f"{where} is {value}: expected a length of at most {explained}")
    return np.ascontiguousarray(array, np.int64).reshape(sequences)


def _labels(targets: Array, used: Array, classes: int, blank: int) -> None:
    """Raise an error for the first label that is no class, or is the blank."""
    bad = used & ((targets < 0) | (targets >= classes) | (targets == blank))
    if bad.any():
        where, value = first_bad("targets", targets, bad)
        if value == blank:
            raise ValueError(f"{where} is {value}, the blank: expected another class")
        raise IndexError(f"{where} is {value}: out of range for {classes} classes")
