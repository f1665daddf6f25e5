"""Gradients by a distribution of classes, or by the logits that it is the softmax of.

They are computed in float64, a block of positions at a time; no kernel has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fusedloss import _check
from fusedloss._lower.distillation import blocks_of
from fusedloss._lower.loss import quietly
from fusedloss._types import Array

#: Elements of a block: a few megabytes.
BLOCK_ELEMENTS = 1 << 18

#: What a slope is given: a block's logits and targets with the classes last, and the arguments.
Slope = Callable[[Array, Array, dict[str, Any]], Array]


@quietly
def by_target(loss: str, name: str, given: dict[str, Any], grad_output: Any) -> Array:
    """Return the gradient by the target of a call that is known to be valid."""
    first = next(iter(given))
    z = _check.plain_prediction(first, given[first])
    if isinstance(given[name], tuple):
        raise ValueError(f"argnums asks for the gradient by {name}: expected logits of all classes")
    t = _check.as_array(name, given[name])
    if t.shape != z.shape or t.dtype.kind in "iub":
        raise ValueError(
            f"argnums asks for the gradient by {name}, which has dtype {t.dtype} and shape "
            f"{t.shape}: expected probabilities of shape {z.shape}"
        )
    axis = 1 if z.ndim > 1 else 0
    scale = _scale_of(z, axis, given, grad_output)
    made = np.empty(t.shape, t.dtype.newbyteorder("="))
    lead = (None,) if z.ndim == 1 else ()
    z, t, to, scale = z[lead], t[lead], made[lead], scale[lead]
    for block in blocks_of(z, BLOCK_ELEMENTS):
        rows, shares = (np.moveaxis(x[block].astype(np.float64), 1, -1) for x in (z, t))
        slope = SLOPES[loss](rows, shares, given) * scale[block][..., None]
        slope[scale[block] == 0] = 0  # whatever is there
        to[block] = np.moveaxis(slope, -1, 1)
    return made


def _scale_of(z: Array, axis: int, given: dict[str, Any], grad_output: Any) -> Array:
    """Return what the slope of each position's loss is multiplied by."""
    positions = z.shape[:axis] + z.shape[axis + 1 :]
    scale = np.ones(positions)
    if given["sample_weight"] is not None:
        scale = np.asarray(given["sample_weight"]).astype(np.float64)
    if given["where"] is not None:
        scale = np.where(given["where"], scale, 0.0)
    labels = given["target"] if "alpha" in given else None  # of the classes beside a teacher
    if labels is not None:
        scale = np.where(np.asarray(labels) == given["ignore_index"], 0.0, scale)
    if given["reduction"] == "mean":
        divisor = scale.sum()
        scale = scale / divisor if divisor else np.zeros(positions)
    if grad_output is not None:
        cotangent = _check.loss_cotangent(grad_output, given["reduction"], z, positions)
        scale = np.where(scale == 0, 0.0, scale * cotangent)
    return scale


def _surprise(z: Array) -> Array:
    """Minus the logarithm of the softmax over the last axis."""
    largest = z.max(-1, keepdims=True)
    behind = np.where(z == largest, 0.0, largest - z)
    surprise: Array = behind + np.log(np.exp(-behind).sum(-1, keepdims=True))
    return surprise


def _of_cross_entropy(z: Array, t: Array, given: dict[str, Any]) -> Array:
    """(1 - label_smoothing) w (-log p), of logits capped first."""
    cap = given["softcap"]
    factor = np.asarray(1.0 - given["label_smoothing"])
    if given["weight"] is not None:
        factor = factor * np.asarray(given["weight"]).astype(np.float64)
    surprise = _surprise(z if cap is None else cap * np.tanh(z / cap))
    return np.where(factor == 0, 0.0, factor * surprise)


def _of_teacher(z: Array, t: Array, given: dict[str, Any]) -> Array:
    """T q (x - sum of q x), x being -log p or, of the divergence, log q - log p."""
    temperature = float(given["temperature"])
    surprise = _surprise(t / temperature)
    q = np.exp(-surprise)
    x = _surprise(z / temperature)
    share = 1.0
    if "alpha" in given:
        x = x - surprise
        share = 1.0 if given["target"] is None else float(given["alpha"])
    x = np.where(q == 0, 0.0, x)
    slope: Array = share * temperature * q * (x - (q * x).sum(-1, keepdims=True))
    return slope


SLOPES: dict[str, Slope] = {
    "cross_entropy": _of_cross_entropy,
    "distillation_loss": _of_teacher,
    "soft_cross_entropy": _of_teacher,
}
