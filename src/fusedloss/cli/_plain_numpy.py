"""Softmax cross-entropy in a few lines of NumPy: what one writes without a library.

The peer that ``bench`` and ``demo`` compare with: stable, classes on axis 1, in the logits' dtype
or, for 16 bits, in float32.
"""

from __future__ import annotations

import numpy as np

from fusedloss._types import Array


def cross_entropy(logits: Array, target: Array) -> float:
    """Mean cross-entropy."""
    shifted = _shifted(logits)
    chosen = np.take_along_axis(shifted, np.expand_dims(target, 1), axis=1)
    log_sum = np.log(np.exp(shifted, out=shifted).sum(axis=1, keepdims=True))
    return float(np.mean(log_sum - chosen))


def cross_entropy_and_grad(logits: Array, target: Array) -> tuple[float, Array]:
    """Mean cross-entropy and its gradient with respect to the logits: (softmax - one-hot) / N."""
    index = np.expand_dims(target, 1)
    shifted = _shifted(logits)
    chosen = np.take_along_axis(shifted, index, axis=1)
    grad = np.exp(shifted, out=shifted)
    sums = grad.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(sums) - chosen))
    grad /= sums
    np.put_along_axis(grad, index, np.take_along_axis(grad, index, axis=1) - 1, axis=1)
    grad /= target.size
    return loss, grad.astype(logits.dtype, copy=False)


def _shifted(logits: Array) -> Array:
    """Logits less their maximum, so that no exponential overflows."""
    wide = logits.astype(np.promote_types(logits.dtype, np.float32), copy=False)
    shifted: Array = wide - wide.max(axis=1, keepdims=True)
    return shifted
