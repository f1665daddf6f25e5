"""Segmentation losses: functions of sums over pixels, which the kernels compute.

One pass sums up how much of each class is right, wrong and missed in each image; a loss is a
function of those few numbers, and its derivatives make a second pass's gradient.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from fusedloss import _check, _core
from fusedloss._check import CheckedImages, Images, PixelCall
from fusedloss._types import Array

#: What the kernels have in the place of a derivative where a label does not count: `lovasz.inc`.
NO_SLOPE = 2


class Scores(NamedTuple):
    """Losses of groups of pixels, their derivatives by p, and what a mean divides them by."""

    losses: Array
    slopes: Array  # (groups, classes, 2); the second is what labels are multiplied by
    divisor: float


class Score(Protocol):
    """A loss as a function of the sums over pixels."""

    @property
    def by_class(self) -> bool:
        """Whether there is a loss for each class of a group."""

    def scores(self, sums: Array, weights: Array) -> Scores:
        """Return losses by sums (groups, classes, 3) and weights of classes."""


class Overlap(NamedTuple):
    """The loss (1 - S)^gamma of an image's class, S = (TP + s) / (TP + alpha FP + beta FN + s)."""

    alpha: float
    beta: float
    smooth: float
    gamma: float = 1.0

    @property
    def by_class(self) -> bool:
        """There is a loss for each class of an image."""
        return True

    def scores(self, sums: Array, weights: Array) -> Scores:
        """Return the losses of classes.

        1 - S is (alpha FP + beta FN) / the denominator, without a difference; where that is 0
        nothing is lost.
        """
        true, wrong, missed = np.moveaxis(sums, -1, 0)
        lost = self.alpha * wrong + self.beta * missed
        whole = true + lost + self.smooth
        whole = np.where(whole == 0, np.inf, whole)
        losses, score = lost / whole, (true + self.smooth) / whole
        by_label = np.where(true + missed == 0, 0.0, -(self.alpha + self.beta) * score - losses)
        slopes = np.stack([self.alpha * score, by_label], axis=-1) / whole[..., np.newaxis]
        if self.gamma != 1:
            # The derivative of the power is 0 at a score of 1.
            power = np.power(losses, self.gamma - 1, out=0 * losses, where=losses > 0)
            losses, slopes = losses**self.gamma, self.gamma * power[..., np.newaxis] * slopes
        counted = weighted(weights, losses), weighted(weights[:, np.newaxis], slopes)
        return Scores(*counted, len(sums) * float(weights.sum()))


class GeneralizedDice(NamedTuple):
    """The Dice loss of all classes of an image together, each weighted by its labels' inverse."""

    weight_type: str
    smooth: float

    @property
    def by_class(self) -> bool:
        """There is one loss for an image."""
        return False

    def scores(self, sums: Array, weights: Array) -> Scores:
        """Return the losses of images. A class that is not there has the largest weight of all."""
        true, wrong, missed = np.moveaxis(weighted(weights[:, np.newaxis], sums), -1, 0)
        plain = np.moveaxis(sums, -1, 0)
        volume = plain[0] + plain[2]
        power = {"square": 2, "simple": 1, "uniform": 0}[self.weight_type]
        there = (volume != 0) & (weights > 0)
        share = np.power(volume, -power, out=np.zeros_like(volume), where=there)
        largest = share.max(axis=1, keepdims=True, initial=0.0)
        share = np.where(there, share, np.where(power, largest, 1.0))
        lost = (share * (wrong + missed)).sum(axis=1)
        whole = (share * (2 * true + wrong + missed)).sum(axis=1) + self.smooth
        whole = np.where(whole == 0, np.inf, whole)
        losses = lost / whole
        share = weighted(weights, share / whole[:, np.newaxis])
        slopes = np.stack([share * (1 - losses[:, np.newaxis]), -2 * share], axis=-1)
        return Scores(losses, slopes, float(len(sums)))


def weighted(weights: Array, x: Array) -> Array:
    """Return their product: 0 where the weight is 0, whatever `x` holds there."""
    return weights * np.where(weights == 0, 0.0, x)


def overlap(
    images: Images,
    score: Score,
    factors: tuple[float, float],
    label_smoothing: float,
    reduction: str,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), of the sum of overlap loss and cross-entropy times factors.

    A mean is over images and classes, and over pixels.
    """
    call = _check.images(images, out, label_smoothing)
    pixels, z = call.pixels, call.pixels.logits
    groups, classes = call.groups, len(call.weights)
    shape = (groups, classes)[: 1 + score.by_class][call.batch :]
    g: Any = 1.0
    if grad_output is not None:
        g = _check.loss_cotangent(grad_output, reduction, z, shape)

    sums = _core.segmentation_sums(pixels, factors[1] != 0)
    entropy, counts = map(float, sums[:, -2:].sum(axis=0))
    by_class = sums[:, :-2].reshape(*z.shape[:2], 3)[:, call.first :]
    if call.batch:
        by_class = by_class.sum(axis=0, keepdims=True)
    with np.errstate(all="ignore"):
        losses, slopes, divisor = score.scores(by_class, call.weights)
    divisors = (divisor, counts) if reduction == "mean" else (1, 1)
    shares = [f / n if n else 0.0 for f, n in zip(factors, divisors, strict=True)]
    if reduction == "none":
        value: Any = losses.astype(z.dtype).reshape(shape)
    else:
        totals = (float(losses.sum()), entropy)
        parts = zip(factors, totals, divisors, strict=True)
        value = sum(f * (total / n if n else np.nan) for f, total, n in parts if f)
    if not gradient:
        return value
    factor = np.asarray(g * shares[0], np.float64)
    if reduction == "none" and grad_output is not None:
        factor = factor.reshape(groups, -1, 1)
    with np.errstate(all="ignore"):
        by_p = by_chances(call, factor * slopes)
    place = _check.place(out, z) if z.shape == call.shape else _core.new_array(z.shape, z.dtype)
    _core.segmentation_gradient(pixels, by_p, g * shares[1] if shares[1] else 0.0, place)
    return value, delivered(place, call.shape, out)


def by_chances(call: CheckedImages, slopes: Array) -> Array:
    """Return derivatives of groups' classes as the kernels take them: of all classes and images."""
    z = call.pixels.logits
    every = np.zeros((*z.shape[:2], 2))
    every[:, call.first :] = slopes
    largest = float(np.finfo(_check.compute_dtype(z)).max)  # no infinity of the kernels' type
    return np.clip(every, -largest, largest)


def delivered(gradient: Array, shape: tuple[int, ...], out: Array | None) -> Array:
    """Return a gradient in the shape of the logits, in `out` if given."""
    if out is None:
        return gradient.reshape(shape)
    if out is not gradient:
        np.copyto(out, gradient.reshape(shape))
    return out


def lovasz(
    images: Images,
    hinge: bool,
    reduction: str,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), of Lovasz extensions of every class's Jaccard loss.

    A mean is over a group's classes that there are, then over groups that have some; of a hinge,
    over all.
    """
    call = _check.images(images, out)
    _check.sortable(call)
    pixels, z = call.pixels, call.pixels.logits
    shape = (call.groups, z.shape[1] - call.first)[call.batch :]
    g: Any = 1.0
    if grad_output is not None:
        g = _check.loss_cotangent(grad_output, reduction, z, shape)

    made = _core.lovasz(pixels, hinge, call.batch, call.first)
    if made is None:
        _check.raise_bad_label(call)
    losses, total = np.moveaxis(made[0][:, call.first :], -1, 0)
    there = np.ones_like(total) if hinge else (total > 0) * 1.0
    shares = call.weights * there
    if reduction == "mean":
        of_groups = shares.sum(axis=1, keepdims=True)
        some = int((of_groups > 0).sum())
        with np.errstate(all="ignore"):
            none = np.zeros_like(shares)
            shares = np.divide(shares, of_groups * some, out=none, where=of_groups > 0)
    value: Any = weighted(shares, losses)
    if reduction == "none":
        value = value.astype(z.dtype).reshape(shape)
    else:
        value = float(value.sum()) if reduction == "sum" or shares.any() else math.nan
    if not gradient:
        return value
    if reduction == "none" and grad_output is not None:
        g = g.reshape(shares.shape)
    factors = shares * g
    by_p = by_chances(call, np.stack([0 * factors, factors], axis=-1))
    place = _check.place(out, z) if z.shape == call.shape else _core.new_array(z.shape, z.dtype)
    sorted_pixels = PixelCall(
        z,
        made[1],
        sample_weight=None,
        class_weight=None,
        activation=2 if hinge else pixels.activation,
        ignore_index=NO_SLOPE,
        skips=True,
        label_smoothing=0.0,
        num_threads=pixels.num_threads,
    )
    _core.segmentation_gradient(sorted_pixels, by_p, 0.0, place)
    return value, delivered(place, call.shape, out)
