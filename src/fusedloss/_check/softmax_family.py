"""Calls of the softmax family."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fusedloss._check.labels import (
    axis_of_classes,
    class_target,
    mask,
    weight_of_classes,
    weight_of_samples,
)
from fusedloss._check.operands import MOST_DIMENSIONS, as_plain, as_prediction
from fusedloss._check.options import (
    checked_extras,
    in_range,
    integer,
    num_threads,
    outputs_of,
    reduction,
)
from fusedloss._check.results import as_output, derivative_places, loss_cotangent, takes_output
from fusedloss._types import Array

if TYPE_CHECKING:
    from fusedloss._core import SoftmaxCall

TARGETLESS = (2, 3, 4)  # kinds, by fusedloss.h: log-sum-exp, log-softmax and entropy
PREDICTIONS = ("logits", "log_probs", "probs")  # by Extras.prediction


def softmax(
    kernel: Callable[..., Any],
    call: SoftmaxCall,
    gradient: bool,
    grad_output: Any,
    out: Any,
    hessian: bool,
) -> Any:
    """Check a call of the softmax family, convert unusual arguments, and run the kernel."""
    extras = call.extras
    prediction = PREDICTIONS[0 if extras is None else extras.prediction]
    given = as_prediction(prediction, call.logits)
    class_axis = axis_of_classes(prediction, given, call.axis)
    z = as_plain(given)
    positions = z.shape[:class_axis] + z.shape[class_axis + 1 :]
    classes = z.shape[class_axis]
    t = None
    if call.kind not in TARGETLESS:
        t = class_target(call.target, z, class_axis, call.kind, floats=hessian)
    # Focal losses pass alpha as class weights, which their mean does not divide by.
    weight_name = "alpha" if extras is not None and extras.mean_of_positions else "weight"
    w, s, g = call.weight, call.sample_weight, None
    if w is not None:
        w = weight_of_classes(weight_name, w, z, classes)
    if s is not None:
        s = weight_of_samples(s, z, positions)
    m = None if call.where is None else mask(call.where, positions)
    mode = reduction(call.reduction)
    if grad_output is not None:
        g = loss_cotangent(grad_output, mode, z, positions)
    checked = call._replace(
        ignore_index=integer("ignore_index", call.ignore_index),
        label_smoothing=in_range("label_smoothing", call.label_smoothing, 0, 1),
        reduction=mode,
        axis=class_axis,
        num_threads=num_threads(call.num_threads),
        extras=None if extras is None else checked_extras(extras, z),
    )
    if extras is not None:
        outputs_of(extras.outputs, t is not None and t.shape == z.shape)
    inputs = {
        "target": call.target,
        weight_name: call.weight,
        "sample_weight": call.sample_weight,
        "where": call.where,
        "grad_output": grad_output,
    }
    places = derivative_places(out, prediction, given, inputs) if hessian else (out,)
    if out is not None and not hessian:
        as_output("out", out, prediction, given, inputs)

    folded = z.ndim > MOST_DIMENSIONS
    if folded:
        z, t, s, m, g = (fold(x, z.ndim, class_axis) for x in (z, t, s, m, g))
        checked = checked._replace(axis=1)
    others = (t, w, s, m, g)
    taken = [x if not folded and takes_output(x, z, others) else None for x in places]
    checked = checked._replace(logits=z, target=t, weight=w, sample_weight=s, where=m)
    result = kernel(checked, gradient, g, tuple(taken) if hessian else taken[0], hessian)
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    if folded:
        result = unfold(result, positions, class_axis)
    if hessian:
        return tuple(in_place(made, x) for made, x in zip(result, places, strict=True))
    return (result[0], in_place(result[1], out)) if gradient else result


def in_place(made: Array, out: Any) -> Any:
    """Return what a kernel made, in the place that was given for it, if any."""
    if out is None or made is out:
        return made
    np.copyto(out, made, casting="same_kind")
    return out


def fold(x: Any, ndim: int, axis: int) -> Any:
    """Reshape an array of too many dimensions to (1, classes, positions) or (1, positions)."""
    if not isinstance(x, np.ndarray):
        return x
    if x.ndim < ndim:
        return x.reshape(1, -1)
    return np.moveaxis(x, axis, 0).reshape(1, x.shape[axis], -1)


def unfold(x: Any, positions: tuple[int, ...], axis: int) -> Any:
    """Undo `fold` in a kernel's results."""
    if isinstance(x, tuple):
        return tuple(unfold(part, positions, axis) for part in x)
    if isinstance(x, dict):
        return {name: unfold(part, positions, axis) for name, part in x.items()}
    if not isinstance(x, np.ndarray):
        return x
    if x.ndim == 2:
        return x.reshape(positions)
    return np.moveaxis(x.reshape(x.shape[1], *positions), 0, axis)
