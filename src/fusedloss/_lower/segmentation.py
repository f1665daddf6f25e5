"""Segmentation losses: functions of sums over pixels, which the kernels compute.

One pass sums up how much of each class is right, wrong and missed in each image; a loss is a
function of those few numbers, and its derivatives make a second pass's gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower.softmax import softmax
from fusedloss._types import Array


class Overlap(NamedTuple):
    """The loss (1 - S)^gamma of an image's class, S = (TP + s) / (TP + alpha FP + beta FN + s)."""

    alpha: float
    beta: float
    smooth: float
    gamma: float = 1.0

    def losses(self, sums: Array) -> tuple[Array, Array]:
        """Return losses by sums (N, C, 3), and their derivatives by p: (N, C, 2).

        The second is what labels are multiplied by. 1 - S is (alpha FP + beta FN) / the
        denominator, without a difference; where that is 0 nothing is lost.
        """
        true, wrong, missed = np.moveaxis(sums, -1, 0)
        lost = self.alpha * wrong + self.beta * missed
        whole = true + lost + self.smooth
        whole = np.where(whole == 0, np.inf, whole)
        rest, score = lost / whole, (true + self.smooth) / whole
        by_label = np.where(true + missed == 0, 0.0, -(self.alpha + self.beta) * score - rest)
        slopes = np.stack([self.alpha * score, by_label], axis=-1) / whole[..., np.newaxis]
        if self.gamma == 1:
            return rest, slopes
        # The derivative of the power is 0 at a score of 1.
        power = np.power(rest, self.gamma - 1, out=0 * rest, where=rest > 0)
        return rest**self.gamma, self.gamma * power[..., np.newaxis] * slopes


def overlap(
    logits: Any,
    target: Any,
    score: Overlap,
    factors: tuple[float, float],
    ignore_index: Any,
    reduction: str,
    num_threads: Any,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), of the sum of overlap loss and cross-entropy times factors.

    A mean is over images and classes, and over pixels.
    """
    ignored = _check.integer("ignore_index", ignore_index)
    threads = _check.num_threads(num_threads)
    z, y, shape = _check.segmentation(logits, target, out, soft=True)
    means = reduction == "mean"
    g: Any = 1.0
    if grad_output is not None:
        g = _check.loss_cotangent(grad_output, reduction, z, z.shape[:2])

    sums = _core.segmentation_sums(z, y, ignored, threads)
    if sums is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    entropy, pixels = map(float, sums[:, -2:].sum(axis=0))
    with np.errstate(all="ignore"):
        losses, slopes = score.losses(sums[:, :-2].reshape(*z.shape[:2], 3))
    divisors = (losses.size, pixels) if means else (1, 1)
    shares = [f / n if n else 0.0 for f, n in zip(factors, divisors, strict=True)]
    if reduction == "none":
        value: Any = losses.astype(z.dtype)
    else:
        totals = (float(losses.sum()), entropy)
        parts = zip(factors, totals, divisors, strict=True)
        value = sum(f * (total / n if n else np.nan) for f, total, n in parts if f)
    if not gradient:
        return value
    by_p = np.asarray(g * shares[0], np.float64)[..., np.newaxis] * slopes
    largest = float(np.finfo(_check.compute_dtype(z)).max)  # no infinity of the kernels' type
    by_p = np.ascontiguousarray(np.clip(by_p, -largest, largest))
    place = _check.place(out, z) if z.shape == shape else _core.new_array(z.shape, z.dtype)
    _core.segmentation_gradient(
        z, y, ignored, threads, by_p, g * shares[1] if shares[1] else 0.0, place
    )
    return value, delivered(place, shape, out)


def delivered(gradient: Array, shape: tuple[int, ...], out: Array | None) -> Array:
    """Return a gradient in the shape of the logits, in `out` if given."""
    if out is None:
        return gradient.reshape(shape)
    if out is not gradient:
        np.copyto(out, gradient.reshape(shape))
    return out


def lovasz(
    logits: Any,
    target: Any,
    ignore_index: Any,
    reduction: str,
    num_threads: Any,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), of the Lovasz extension of every class's Jaccard loss."""
    ignored = _check.integer("ignore_index", ignore_index)
    threads = _check.num_threads(num_threads)
    z, y, shape = _check.segmentation(logits, target, out, soft=False)
    _check.class_indices("target", y, z.shape[1], ignored)
    wide = z.astype(_check.compute_dtype(z), copy=False)
    classes = z.shape[1]
    g: Any = 1.0
    if grad_output is not None:
        g = _check.loss_cotangent(grad_output, reduction, z, (classes,))

    counted = y != ignored
    probabilities = np.moveaxis(softmax(wide, 1, threads), 1, 0)
    slopes = np.zeros(wide.shape, wide.dtype)
    losses = np.zeros(classes)
    present = np.zeros(classes, bool)
    for c in range(classes):
        own = y[counted] == c
        present[c] = own.any()
        if present[c]:
            p = probabilities[c][counted]
            losses[c], slope = _lovasz_of_class(np.where(own, 1 - p, p), own)
            slopes[:, c][counted] = np.where(own, -slope, slope)
    divisor = int(present.sum()) if reduction == "mean" else 1
    if reduction == "none":
        value: Any = losses.astype(z.dtype)
    else:
        value = float(losses.sum() / divisor) if divisor else np.nan
    if not gradient:
        return value
    factors = np.broadcast_to(np.asarray(g / divisor if divisor else 0.0, wide.dtype), (classes,))
    slopes *= factors.reshape(-1, *(1,) * (z.ndim - 2))
    made = softmax(wide, 1, threads, True, slopes)[1]
    np.copyto(made, 0, where=~counted[:, np.newaxis])
    return value, delivered(made.astype(z.dtype, copy=False), shape, out)


def _lovasz_of_class(errors: Array, own: Array) -> tuple[float, Array]:
    """Return the loss of one class, and its derivatives by the errors of pixels."""
    order = np.argsort(-errors)
    intersection = own.sum() - own[order].cumsum()
    union = own.sum() + (~own[order]).cumsum()
    steps = np.diff(1 - intersection / union, prepend=0.0)
    slope = np.empty(errors.shape, errors.dtype)
    slope[order] = steps
    return float(errors[order].astype(np.float64) @ steps), slope
