"""Lower connectionist temporal classification to its kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss import _check, _core


def ctc(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: Any,
    zero_infinity: Any,
    reduction: Any,
    num_threads: Any,
    sample_weight: Any = None,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient)."""
    call = _check.ctc(
        *(log_probs, targets, input_lengths, target_lengths),
        *(blank, zero_infinity, reduction, num_threads, sample_weight),
    )
    given = np.asarray(log_probs)
    losses = given.shape[1:-1]
    g: Any = 1.0
    if grad_output is not None:
        g = _check.loss_cotangent(grad_output, call.reduction, given, losses)
    place = None
    if out is not None:
        inputs = {"targets": targets, "grad_output": grad_output}
        inputs |= {"input_lengths": input_lengths, "target_lengths": target_lengths}
        inputs["sample_weight"] = sample_weight
        _check.as_output("out", out, "log_probs", given, inputs)
        place = _check.place(out.reshape(call.log_probs.shape), call.log_probs)
    elif gradient:
        place = _core.new_like(call.log_probs)
    value = _core.ctc(call, g if isinstance(g, float) else g.reshape(-1), place)
    if isinstance(value, np.ndarray):
        value = value.reshape(losses)
    if place is None:
        return value
    if out is None:
        return value, place.reshape(given.shape)
    if not np.may_share_memory(out, place):
        np.copyto(out, place.reshape(given.shape))
    return value, out
