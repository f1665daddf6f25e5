"""Connectionist temporal classification, one sequence and one state after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from parts import Array
from reference.softmax_family import Result

__all__ = [
    "ctc_loss",
]


def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    sample_weight: ArrayLike | None = None,
    grad_output: Any = 1.0,
) -> Result:
    """Of (T, N, C) or (T, C), in float64."""
    x = np.asarray(log_probs).astype(np.float64)
    y, frames, lengths = np.asarray(targets), np.ravel(input_lengths), np.ravel(target_lengths)
    batch = x if x.ndim == 3 else x[:, np.newaxis]
    parts = np.split(y, np.cumsum(lengths)[:-1]) if y.ndim == 1 else y
    losses = np.zeros(len(lengths))
    gradient = np.zeros(batch.shape)
    for n, (labels, t, count) in enumerate(zip(parts, frames, lengths, strict=True)):
        losses[n], gradient[:t, n] = _sequence(batch[:t, n], labels[:count], blank)
        if zero_infinity and losses[n] == np.inf:
            losses[n], gradient[:, n] = 0, 0
    v = np.ones(len(lengths)) if sample_weight is None else np.ravel(sample_weight).astype(float)
    share = v / np.maximum(lengths, 1) / v.sum() if reduction == "mean" else v
    losses = share * np.where(v == 0, 0, losses)
    gradient = np.where((v == 0)[:, np.newaxis], 0, gradient)
    gradient *= (np.ravel(grad_output) * share)[:, np.newaxis]
    value = losses.reshape(x.shape[1:-1]) if reduction == "none" else losses.sum()
    return Result(value, gradient.reshape(x.shape))


def _sequence(x: Array, labels: Array, blank: int) -> tuple[Any, Array]:
    """The loss and the gradient of frames (T, C), by a matrix of the steps that paths may take."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    step = np.arange(len(states)) - np.arange(len(states))[:, np.newaxis]
    is_label = np.arange(len(states)) % 2 == 1
    over_a_blank = (step == 2) & is_label & (states != states[:, np.newaxis])
    steps = np.where((step == 0) | (step == 1) | over_a_blank, 0.0, -np.inf)

    emissions = x[:, states]
    before, after = np.full((2, len(x) + 1, len(states)), -np.inf)
    before[0, 0] = 0  # as if at the first blank before the first frame
    after[-1, -2:] = 0
    for t in range(len(x)):
        before[t + 1] = emissions[t] + np.logaddexp.reduce(before[t][:, np.newaxis] + steps, axis=0)
    for t in reversed(range(1, len(x))):
        after[t] = np.logaddexp.reduce(steps + (emissions[t] + after[t + 1]), axis=1)
    loss = -np.logaddexp.reduce(before[-1, -2:])
    with np.errstate(invalid="ignore"):
        shares = np.exp(before[1:] + after[1:] + loss)  # of the paths, by the states they are at
    gradient = np.exp(x)
    np.subtract.at(gradient, (slice(None), states), shares)
    return loss, gradient if loss < np.inf else np.full(x.shape, np.nan)
