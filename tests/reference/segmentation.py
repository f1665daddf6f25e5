"""Losses of images: scores of classes over all pixels, from logits (N, C, d1, ...).

The target holds class indices (N, d1, ...) or one-hot or soft labels like the logits. p is the
softmax over the classes, the sigmoid of each logit, or given. What is ``ignore_index`` does not
count.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from parts import Array
from reference.elementary import product, sigmoid, softplus, weighted
from reference.multiclass import softmax_rows
from reference.pointwise import Evaluation
from reference.rowwise import exact_part, one_hot
from reference.softmax_family import Result
from rounding import Numbers, Rounded, in_blocks

__all__ = [
    "dice_ce_loss",
    "dice_loss",
    "focal_tversky_loss",
    "generalized_dice_loss",
    "iou_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "tversky_loss",
]


@dataclass(frozen=True)
class Pixels:
    """Images with their pixels in a row and their classes last: (N, P, C)."""

    z: Numbers  # 0 where a label does not count
    p: Numbers
    others: Numbers  # 1 - p, without a difference: next to 0 it is what is lost
    negative_log_p: Numbers  # of the softmax
    t: Numbers  # the labels, 0 where they do not count
    counts: Numbers  # the weight of each label
    of_pixels: Numbers  # (N, P): that of each pixel
    class_weight: Numbers  # (C,)
    activation: str | None
    indices: bool  # the target holds class indices
    first: int  # the first class that has a loss
    batch: bool

    @property
    def weights(self) -> Numbers:
        """Those of the classes that have a loss."""
        return self.class_weight[self.first :]

    def of_groups(self, x: Numbers) -> Numbers:
        """The sums over the pixels of each group, of the classes that have a loss."""
        sums = in_blocks(x[..., self.first :], (0, 1) if self.batch else (1,))
        return np.expand_dims(sums, 0) if self.batch else sums

    def delivered(self, losses: Numbers) -> Numbers:
        """Losses of groups as they are without a reduction."""
        return losses[0] if self.batch else losses

    def by_logits(self, slope: Numbers) -> Numbers:
        """The gradient by the logits, of one by p of the classes that have a loss, (N, P, C).

        Of the softmax p_c sum_k p_k (s_c - s_k), not s_c less the mean, which says nothing where
        p_c is 1 but for the smallest number.
        """
        if self.first:
            classes = np.arange(self.p.shape[-1])
            slope = np.where(classes < self.first, 0.0, slope[..., np.maximum(classes - 1, 0)])
        if self.activation is None:
            return slope
        if self.activation == "sigmoid":
            return self.p * self.others * slope
        apart = np.expand_dims(slope, -1) - np.expand_dims(slope, -2)
        return self.p * (np.expand_dims(self.p, -2) * apart).sum(axis=-1)


class Part(NamedTuple):
    """A term of a loss: a number for every score, its gradient, and what a mean is.

    The gradient is that by the logits, of the scores' sum with the factors that it is called with.
    """

    value: Numbers
    divisor: Numbers  # of the mean of values,
    gradient: Callable[[Numbers], Numbers]
    shares: Numbers = 1.0  # after each is multiplied by its own


Terms = Callable[..., list[Part]]

SEGMENTATION: dict[str, Terms] = {}


def segmentation(terms: Terms) -> Callable[..., Result]:
    """Enter a loss into the table."""
    name = terms.__name__
    SEGMENTATION[name] = terms

    def loss(logits: ArrayLike, target: ArrayLike, **options: Any) -> Result:
        value, (gradient,), _ = evaluate(name, logits, target, **options)
        return Result(value, gradient)

    loss.__name__, loss.__doc__ = name, terms.__doc__
    return loss


def options_of(name: str) -> set[str]:
    """The names of a loss's own options."""
    parameters = inspect.signature(SEGMENTATION[name]).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def evaluate(
    loss: str,
    logits: ArrayLike,
    target: ArrayLike,
    *,
    activation: str | None = "softmax",
    batch: bool | None = None,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
    arithmetic: DTypeLike | None = None,
    **options: Any,
) -> Evaluation:
    """Value and gradient of a loss: arrays, or `Rounded` where an ``arithmetic`` is given."""

    def numbers(x: ArrayLike) -> Numbers:
        if arithmetic is None:
            return np.asarray(x).astype(dtype)
        return Rounded.of(x, dtype, arithmetic)

    def pixels_last(x: Array) -> Array:
        return np.moveaxis(x.reshape(*shape[:2], -1), 1, -1)

    if loss == "lovasz_hinge_loss":
        activation = None
    shape = np.shape(logits)
    z, labels = pixels_last(np.asarray(logits)), np.asarray(target)
    of_pixels = np.ones(z.shape[:2])
    if sample_weight is not None:
        of_pixels = np.asarray(sample_weight).reshape(of_pixels.shape)
    if activation != "softmax" and shape[1] == 1 and labels.shape == (shape[0], *shape[2:]):
        labels = labels[:, np.newaxis]
    if indices := labels.shape != shape:
        index = labels.reshape(z.shape[:2])
        of_pixels = np.where(index == ignore_index, 0, of_pixels)
        y = one_hot(np.where(index == ignore_index, -1, index).astype(np.int64), shape[1]) * 1.0
        counts = np.broadcast_to(of_pixels[..., np.newaxis], z.shape)
    else:
        y = pixels_last(labels)
        counts = np.broadcast_to(of_pixels[..., np.newaxis], z.shape)
        if activation != "softmax":
            counts = np.where(y == ignore_index, 0, counts)
    w = numbers(np.ones(shape[1]) if class_weight is None else class_weight)
    silent = counts == 0
    if activation != "softmax":  # a class of weight 0 is nothing to the others
        silent = silent | (exact_part(w) == 0)
    x, t = numbers(np.where(silent, 0, z)), numbers(np.where(silent, 0, y))
    with np.errstate(all="ignore"):
        logs: Numbers = x
        if activation == "softmax":
            logs, p = softmax_rows(x)
            others = -np.expm1(-logs)
        elif activation == "sigmoid":
            p, others = sigmoid(x), sigmoid(-x)
        else:
            p, others = x, 1 - x
        if batch is None:
            batch = loss == "lovasz_softmax_loss"
        pixels = Pixels(
            *(x, p, others, logs, t, numbers(counts), numbers(of_pixels), w),
            *(activation, indices, int(not include_background), batch),
        )
        total, gradient = numbers(0.0), numbers(np.zeros(z.shape))
        g = numbers(1.0 if grad_output is None else grad_output)
        if pixels.batch and reduction == "none":
            g = np.expand_dims(g, 0)
        for part in SEGMENTATION[loss](pixels, **options):
            value, factor = part.value, np.broadcast_to(g, part.value.shape)
            if reduction == "mean":
                # the mean of nothing is nan, but its gradient is 0
                nothing = exact_part(part.divisor) == 0
                factor = factor * np.where(nothing, 0.0, part.shares / part.divisor)
                value = in_blocks(part.shares * value) / part.divisor
            else:
                value = pixels.delivered(value) if reduction == "none" else in_blocks(value)
            total = total + value
            gradient = gradient + np.where(silent, 0.0, part.gradient(factor))
    return Evaluation(total, (np.moveaxis(gradient, -1, 1).reshape(shape),), None)


def _sums(pixels: Pixels) -> tuple[Numbers, Numbers, Numbers]:
    """Sums of true, wrong and missed labels, (groups, C)."""
    p, others, t, v = pixels.p, pixels.others, pixels.t, pixels.counts
    true, wrong, missed = (pixels.of_groups(v * x) for x in (p * t, p * (1 - t), others * t))
    return true, wrong, missed


def _overlap(
    pixels: Pixels, alpha: float, beta: float, smooth: float, gamma: float = 1.0
) -> list[Part]:
    """(1 - S)^gamma, S = (TP + s) / (TP + alpha FP + beta FN + s), of every group and class.

    1 - S is (alpha FP + beta FN) / the denominator, without a difference.
    """
    true, wrong, missed = _sums(pixels)
    wrong, missed = alpha * wrong, beta * missed
    whole = true + wrong + missed + smooth
    rest = (wrong + missed) / whole
    score = (true + smooth) / whole
    bend = 1.0 if gamma == 1 else np.where(rest > 0, gamma * np.power(rest, gamma - 1), 0.0)
    w = pixels.weights

    def gradient(factor: Numbers) -> Numbers:
        # d rest / dp = (d(wrong + missed) - rest d whole) / whole
        share = np.expand_dims(factor * w * bend / whole, 1)
        t, v = pixels.t[..., pixels.first :], pixels.counts[..., pixels.first :]
        by_p = (alpha * (1 - t) - beta * t) * np.expand_dims(score, 1) - t * np.expand_dims(rest, 1)
        return pixels.by_logits(v * share * by_p)

    value = weighted(w, rest if gamma == 1 else np.power(rest, gamma))
    return [Part(value, rest.shape[0] * w.sum(), gradient)]


@segmentation
def dice_loss(pixels: Pixels, *, smooth: float = 1.0) -> list[Part]:
    """1 - (2 TP + s) / (2 TP + FP + FN + s) of every image and class (Milletari; nnU-Net)."""
    return _overlap(pixels, 0.5, 0.5, smooth / 2)


@segmentation
def tversky_loss(
    pixels: Pixels, *, alpha: float = 0.5, beta: float = 0.5, smooth: float = 1.0
) -> list[Part]:
    """1 - (TP + s) / (TP + alpha FP + beta FN + s) of every image and class (Salehi; optax)."""
    return _overlap(pixels, alpha, beta, smooth)


@segmentation
def focal_tversky_loss(
    pixels: Pixels,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 1.0,
) -> list[Part]:
    """The Tversky loss of every image and class to the power gamma (Abraham and Khan)."""
    return _overlap(pixels, alpha, beta, smooth, gamma)


@segmentation
def iou_loss(pixels: Pixels, *, smooth: float = 1.0) -> list[Part]:
    """1 - (TP + s) / (TP + FP + FN + s) of every image and class (Rahman and Wang)."""
    return _overlap(pixels, 1.0, 1.0, smooth)


@segmentation
def generalized_dice_loss(
    pixels: Pixels, *, weight_type: str = "square", smooth: float = 1e-5
) -> list[Part]:
    """1 - (2 sum_c w_c TP_c + s) / (sum_c w_c (2 TP_c + FP_c + FN_c) + s), w = 1 / (sum t)^2.

    A class that is not there has the largest weight of its image (Sudre; MONAI).
    """
    true, wrong, missed = _sums(pixels)
    volume = true + missed
    power = {"square": 2, "simple": 1, "uniform": 0}[weight_type]
    w = pixels.weights
    there = (exact_part(volume) != 0) & (exact_part(w) > 0)
    share = np.where(there, 1 / np.where(there, volume, 1.0) if power else 1.0, 0.0)
    share = share * share if power == 2 else share
    share = weighted(w, np.where(there, share, _largest(share) if power else 1.0))
    # of a class of weight 0 nothing counts
    true, wrong, missed = (np.where(exact_part(w) == 0, 0.0, x) for x in (true, wrong, missed))
    lost = (share * (wrong + missed)).sum(axis=1)
    whole = (share * (2 * true + wrong + missed)).sum(axis=1) + smooth
    losses = np.where(exact_part(whole) == 0, 0.0, lost / whole)

    def gradient(factor: Numbers) -> Numbers:
        t, v = pixels.t[..., pixels.first :], pixels.counts[..., pixels.first :]
        rest, scale = (np.expand_dims(np.expand_dims(x, 1), 1) for x in (losses, factor / whole))
        return pixels.by_logits(v * np.expand_dims(share, 1) * scale * (1 - rest - 2 * t))

    return [Part(losses, float(losses.shape[0]), gradient)]


def _largest(share: Numbers) -> Numbers:
    return share.max(axis=1, keepdims=True)


def _lovasz(pixels: Pixels, errors: Numbers, sign: Array, every: bool) -> list[Part]:
    """The Lovasz extension of the Jaccard loss by errors (N, P, C), whose slopes by p have a sign.

    every: of classes that are not there, too.
    """
    kept = (slice(None), slice(None), slice(pixels.first, None))
    shape = errors[kept].shape
    groups = (1, shape[0] * shape[1], shape[2]) if pixels.batch else shape
    e = errors[kept].reshape(groups)
    own, v = (exact_part(x)[kept].reshape(groups) for x in (pixels.t, pixels.counts))
    order = np.argsort(-np.where(v == 0, -1, exact_part(e)), axis=1, kind="stable")
    v = np.take_along_axis(v, order, 1)
    own = np.take_along_axis(own, order, 1) * v
    total = own.sum(axis=1, keepdims=True)
    # The Jaccard loss 1 - inside / either, pixel by pixel; its steps in a form that keeps digits.
    later = np.flip(np.flip(own, axis=1).cumsum(axis=1), axis=1)
    wrong, inside = v - own, later - own
    either = total + wrong.cumsum(axis=1)
    before = either - wrong
    first = (before == 0) & (wrong > 0)
    missed = np.where(own > 0, own / np.where(own > 0, either, 1), 0)
    product = np.where(before * either == 0, 1, before * either)
    steps = missed + np.where(first, 1, inside * wrong / product)
    there = np.ones(total[:, 0].shape) if every else total[:, 0] > 0
    steps = np.where(there[:, np.newaxis], steps, 0)
    value = (np.take_along_axis(e, order, 1) * steps).sum(axis=1)
    unsorted = np.zeros_like(steps)
    np.put_along_axis(unsorted, order, steps, 1)
    w = pixels.weights
    shares = there * np.ones(value.shape)
    of_groups = (exact_part(w) * shares).sum(axis=1, keepdims=True)
    some = of_groups > 0
    shares = np.where(some, shares / np.where(some, of_groups, 1), 0)

    def gradient(factor: Numbers) -> Numbers:
        slope = np.expand_dims(factor * w, 1) * (unsorted.reshape(shape) * sign[kept])
        return pixels.by_logits(slope)

    return [Part(weighted(w, value), float(some.sum()), gradient, shares)]


@segmentation
def lovasz_softmax_loss(pixels: Pixels) -> list[Part]:
    """The Lovasz extension of the Jaccard loss, of every class over all images (Berman et al.).

    A mean is over the classes that there are; of the others the loss is 0.
    """
    own = exact_part(pixels.t) == 1
    errors = np.where(own, pixels.others, pixels.p)
    return _lovasz(pixels, errors, np.where(own, -1, 1), every=False)


@segmentation
def lovasz_hinge_loss(pixels: Pixels) -> list[Part]:
    """The same of the errors max(0, 1 - z) and max(0, 1 + z), of every image and label (Berman)."""
    sign = np.where(exact_part(pixels.t) == 1, -1, 1)
    errors = 1 + pixels.z * sign
    kept = exact_part(errors) > 0
    return _lovasz(pixels, np.where(kept, errors, 0.0), sign * kept, every=True)


@segmentation
def dice_ce_loss(
    pixels: Pixels,
    *,
    smooth: float = 1.0,
    lambda_dice: float = 1.0,
    lambda_ce: float = 1.0,
    label_smoothing: float = 0.0,
) -> list[Part]:
    """lambda_dice dice_loss + lambda_ce cross_entropy, each a mean or sum of its own (MONAI)."""
    (dice,) = _overlap(pixels, 0.5, 0.5, smooth / 2)
    part = _entropies_of_labels if pixels.activation == "sigmoid" else _entropies
    entropies = part(pixels, label_smoothing)
    return [
        Part(lambda_dice * dice.value, dice.divisor, lambda f: dice.gradient(lambda_dice * f)),
        Part(
            lambda_ce * entropies.value,
            entropies.divisor,
            lambda f: entropies.gradient(lambda_ce * f),
        ),
    ]


def _entropies(pixels: Pixels, smoothing: float) -> Part:
    """Cross-entropies of pixels, divided as torch has it: indices by their classes' weights."""
    w, v = pixels.class_weight, pixels.of_pixels
    q = w * (pixels.t * (1 - smoothing) + smoothing / pixels.p.shape[-1])
    losses = v * product(q, pixels.negative_log_p).sum(axis=-1)

    def gradient(factor: Numbers) -> Numbers:
        total = q.sum(axis=-1, keepdims=True)
        return np.expand_dims(factor * v, -1) * (total * pixels.p - q)

    divisor = v * (w * pixels.t).sum(axis=-1) if pixels.indices else v
    return Part(losses, in_blocks(divisor), gradient)


def _entropies_of_labels(pixels: Pixels, smoothing: float) -> Part:
    """Binary cross-entropies of labels."""
    counts = pixels.class_weight * pixels.counts
    t = pixels.t * (1 - smoothing) + smoothing / 2
    losses = product(t, softplus(-pixels.z)) + product(1 - t, softplus(pixels.z))

    def gradient(factor: Numbers) -> Numbers:
        return factor * counts * (pixels.p - t)

    return Part(weighted(counts, losses), in_blocks(counts), gradient)
