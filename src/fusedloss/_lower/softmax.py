"""The softmax, its logarithm and the log-sum-exp: calls of the softmax family's kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss import _check, _core
from fusedloss._types import Reduction


def family(
    kind: int,
    logits: Any,
    target: Any,
    reduction: Reduction,
    axis: int,
    num_threads: int | None,
    gradient: bool,
    grad_output: Any,
    out: Any,
) -> Any:
    """Call the softmax family's kernel without the options of cross-entropy."""
    call = _core.SoftmaxCall(
        kind, logits, target, reduction=reduction, axis=axis, num_threads=num_threads
    )
    return _core.softmax(call, gradient, grad_output, out)


def logsumexp(
    logits: Any,
    axis: int,
    num_threads: int | None,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    return family(
        _core.LOGSUMEXP, logits, None, "none", axis, num_threads, gradient, grad_output, out
    )


def log_softmax(
    logits: Any,
    axis: int,
    num_threads: int | None,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    _, value = family(_core.LOG_SOFTMAX, logits, None, "sum", axis, num_threads, True, None, None)
    if not gradient:
        return value
    # g - p sum(g) is the gradient of -sum(g log p): that of cross-entropy against -g.
    cotangent = _check.cotangent(grad_output, value, out)
    kind = _core.PROBABILITY_TARGET
    return value, family(kind, logits, cotangent, "sum", axis, num_threads, True, -1.0, out)[1]


def softmax(
    logits: Any,
    axis: int,
    num_threads: int | None,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    # The softmax is the gradient of the log-sum-exp.
    _, value = family(_core.LOGSUMEXP, logits, None, "sum", axis, num_threads, True, None, None)
    if not gradient:
        return value
    # p (g - sum(g p)) is the gradient of sum(g p log p), p g being held fixed.
    wide = value
    if value.itemsize == 2:
        # The product takes unrounded probabilities, so that 16-bit results are rounded once.
        z, wide = _check.plain_prediction("logits", logits), np.empty(value.shape, np.float32)
        family(_core.LOGSUMEXP, z, None, "sum", axis, num_threads, True, None, wide)
    cotangent = wide * _check.cotangent(grad_output, wide, out)
    kind = _core.PROBABILITY_TARGET
    return value, family(kind, logits, cotangent, "sum", axis, num_threads, True, -1.0, out)[1]
