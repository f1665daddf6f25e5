"""Calls of losses of images."""

from __future__ import annotations

import math
from typing import Any

from fusedloss._check.labels import axis_of_classes, class_target
from fusedloss._check.operands import MOST_DIMENSIONS, as_plain, as_prediction
from fusedloss._check.results import as_output
from fusedloss._types import Array


def several_classes(shape: tuple[int, ...]) -> None:
    """Raise ValueError for logits of images with a single class."""
    if shape[1:2] == (1,):
        raise ValueError(
            f"logits has shape {shape}: expected at least 2 classes, as the softmax over one is 1 "
            "everywhere; for logits z of one class and the rest, stack (0, z) along axis 1"
        )


def segmentation(
    logits: Any, target: Any, out: Any, soft: bool
) -> tuple[Array, Array, tuple[int, ...]]:
    """Return logits and target as the kernels take them, with pixel axes, and the logits' shape.

    soft: whether the target may be probabilities. An `out` is checked, too.
    """
    given = as_prediction("logits", logits)
    if given.ndim < 2:
        raise ValueError(f"logits has shape {given.shape}: expected (N, C) or (N, C, d1, ...)")
    several_classes(given.shape)
    axis = axis_of_classes("logits", given, None)
    y = class_target(target, given, axis, -1 if soft else 0)
    if out is not None:
        as_output("out", out, "logits", given, {"target": target})
    z = as_plain(given)
    if not 2 < z.ndim <= MOST_DIMENSIONS:
        z = z.reshape(*z.shape[:2], math.prod(z.shape[2:]))
        y = y.reshape(z.shape if y.ndim == given.ndim else (len(z), z.shape[2]))
    return z, y, given.shape
