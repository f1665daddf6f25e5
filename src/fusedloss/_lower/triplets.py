"""Triplet losses whose distance is itself a loss: calls of it, and the hinge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fusedloss import _check
from fusedloss._lower.loss import quietly
from fusedloss._lower.transform import ValueAndGrad


@quietly
def triplets(
    operands: dict[str, Any],
    distance: Callable[..., Any],
    margin: float,
    swap: bool,
    reduction: str,
    num_threads: int | None,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradients), of max(0, margin + d(a, p) - d(a, n))."""
    given, wanted, places = _check.triplets(operands, gradient, grad_output, out)
    arrays = [x.astype(_check.compute_dtype(x), copy=False) for x in given.values()]
    pairs = ((0, 1), (0, 2), (1, 2)) if swap else ((0, 1), (0, 2))
    options = {"reduction": "none", "num_threads": num_threads}
    near, far, *others = (
        _check.distances(distance, distance(arrays[i], arrays[j], **options), arrays[0].shape)
        for i, j in pairs
    )
    other = others[0] if swap else far
    hinge = margin + near - np.minimum(far, other)
    losses = np.maximum(hinge, 0)
    divisor = losses.size if reduction == "mean" else 1
    value: Any
    if reduction == "none":
        value = losses.astype(given["anchor"].dtype)
    else:
        value = float(losses.sum() / divisor) if divisor else np.nan
    if not gradient:
        return value

    g: Any = 1.0
    if grad_output is not None:
        g = _check.loss_cotangent(grad_output, reduction, arrays[0], losses.shape)
    # As in torch, the slope at the kink is that of the positive side, and equal distances share it.
    slope = np.where(hinge >= 0, g / divisor if divisor else 0.0, 0.0)
    own = np.where(far < other, 1.0, np.where(far > other, 0.0, 0.5)) if swap else 1.0
    made = [np.zeros_like(x) for x in arrays]
    differentiated = ValueAndGrad(distance, (0, 1))
    for (i, j), by_distance in zip(pairs, (slope, -own * slope, (own - 1) * slope), strict=False):
        _, (by_first, by_second) = differentiated(
            arrays[i], arrays[j], grad_output=by_distance.astype(arrays[0].dtype), **options
        )
        made[i] += by_first
        made[j] += by_second
    inputs = list(given.values())
    gradients = _check.delivered(
        tuple(made[k] for k in wanted), [inputs[k] for k in wanted], places, arrays[0].dtype
    )
    return value, gradients if isinstance(gradient, tuple) else gradients[0]
