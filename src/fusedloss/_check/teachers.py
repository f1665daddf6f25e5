"""Calls of distillation, whose teacher may be given by its best classes alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss._check.labels import (
    axis_of_classes,
    class_indices,
    class_target,
    mask,
    weight_of_samples,
)
from fusedloss._check.operands import as_array, as_floats, as_plain, as_prediction
from fusedloss._check.results import as_output
from fusedloss._types import Array


def distillation(
    student: Any,
    teacher: Any,
    target: Any,
    ignore_index: int,
    sample_weight: Any,
    where: Any,
    out: Any,
    names: tuple[str, str],
) -> tuple[Array, tuple[Array, ...], Array | None, Array]:
    """Return student, teacher, target and sample weights, checked.

    The student's logits are plain; so are the teacher's, or its classes and their
    log-probabilities. The weights are float64, 0 where a mask leaves a position out; classes are 0
    there.
    """
    student_name, teacher_name = names
    given = as_prediction(student_name, student)
    axis = axis_of_classes(student_name, given, None)
    positions = given.shape[:axis] + given.shape[axis + 1 :]
    kept = None if where is None else mask(where, positions)
    parts: tuple[Array, ...]
    if isinstance(teacher, tuple) and len(teacher) == 2:
        parts = _top_k(teacher_name, teacher, given, axis, kept)
    else:
        parts = (as_prediction(teacher_name, teacher),)
        if parts[0].shape != given.shape:
            raise ValueError(
                f"{teacher_name} has shape {parts[0].shape}: expected {given.shape}, that of "
                f"{student_name}, or a tuple (indices, log_probs)"
            )
    y = None if target is None else class_target(target, given, axis, 0)
    if y is not None:
        y = y if kept is None else np.where(kept, y, y.dtype.type(0))
        class_indices("target", y, given.shape[axis], ignore_index)
    weights = np.ones(positions)
    if sample_weight is not None:
        weights = weight_of_samples(sample_weight, given, positions).astype(np.float64)
    if kept is not None:
        weights = np.where(kept, weights, 0.0)
    if out is not None:
        inputs: dict[str, Any] = {
            "target": target,
            "sample_weight": sample_weight,
            "where": where,
        }
        inputs |= {
            teacher_name if len(parts) == 1 else f"{teacher_name}[{i}]": part
            for i, part in enumerate(parts)
        }
        as_output("out", out, student_name, given, inputs)
    return as_plain(given), tuple(map(as_plain, parts)), y, weights


def _top_k(
    name: str, teacher: Any, logits: Array, axis: int, kept: Array | None
) -> tuple[Array, Array]:
    indices = as_array(f"{name}[0]", teacher[0])
    log_probs = as_floats(f"{name}[1]", teacher[1])
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name}[0] has dtype {indices.dtype}: expected class indices")
    fitting = list(logits.shape)
    fitting[axis] = indices.shape[axis] if indices.ndim == logits.ndim else 0
    if indices.shape != tuple(fitting):
        expected = ", ".join("k" if d == axis else str(n) for d, n in enumerate(logits.shape))
        raise ValueError(f"{name}[0] has shape {indices.shape}: expected ({expected})")
    if indices.shape[axis] == 0:
        raise ValueError(f"{name}[0] has shape {indices.shape}: expected at least one class")
    if log_probs.shape != indices.shape:
        raise ValueError(
            f"{name}[1] has shape {log_probs.shape}: expected {indices.shape}, that of {name}[0]"
        )
    if kept is not None:
        indices = np.where(np.expand_dims(kept, axis), indices, indices.dtype.type(0))
    class_indices(f"{name}[0]", indices, logits.shape[axis], None)
    return indices, log_probs
