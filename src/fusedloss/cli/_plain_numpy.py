"""Softmax cross-entropy in a few lines of NumPy: what one writes without a library.

The peer that ``bench`` and ``demo`` compare with: stable, in the logits' dtype, classes on axis 1.
"""

from __future__ import annotations

import numpy as np

from fusedloss._loss import Array


def cross_entropy(logits: Array, target: Array) -> float:
    """Mean cross-entropy."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, np.expand_dims(target, 1), axis=1)
    log_sum = np.log(np.exp(shifted, out=shifted).sum(axis=1, keepdims=True))
    return float(np.mean(log_sum - chosen))


def cross_entropy_and_grad(logits: Array, target: Array) -> tuple[float, Array]:
    """Mean cross-entropy and its gradient with respect to the logits: (softmax - one-hot) / N."""
    index = np.expand_dims(target, 1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, index, axis=1)
    grad = np.exp(shifted, out=shifted)
    sums = grad.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(sums) - chosen))
    grad /= sums
    np.put_along_axis(grad, index, np.take_along_axis(grad, index, axis=1) - 1, axis=1)
    grad /= target.size
    return loss, grad
