"""Losses of images: scores of classes over all pixels, from logits (N, C, d1, ...).

The target holds class indices (N, d1, ...) or one-hot or soft labels like the logits. p is the
softmax over the classes; pixels whose index is ``ignore_index`` do not count.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from parts import Array
from reference.elementary import product
from reference.multiclass import softmax_rows
from reference.pointwise import Evaluation
from reference.rowwise import exact_part, one_hot
from reference.softmax_family import Result
from rounding import Numbers, Rounded, in_blocks


@dataclass(frozen=True)
class Pixels:
    """Images with their pixels in a row and their classes last: (N, P, C)."""

    negative_log_p: Numbers
    p: Numbers
    t: Numbers  # the labels, 0 where a pixel does not count
    counted: Array  # (N, P)

    @property
    def others(self) -> Numbers:
        """1 - p, without a difference: next to 0 it is what is lost."""
        return -np.expm1(-self.negative_log_p)

    def through_softmax(self, slope: Numbers) -> Numbers:
        """The gradient by the logits, of one by p: p_c sum_k p_k (s_c - s_k).

        Not s_c less the mean, which says nothing where p_c is 1 but for the smallest number.
        """
        apart = np.expand_dims(slope, -1) - np.expand_dims(slope, -2)
        return self.p * (np.expand_dims(self.p, -2) * apart).sum(axis=-1)


class Part(NamedTuple):
    """A term of a loss: a number for every score, what a mean divides by, and its gradient."""

    value: Numbers
    divisor: float
    gradient: Callable[[Numbers], Numbers]  # by the logits, of the scores' sum with these factors


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

    shape = np.shape(logits)
    labels = np.asarray(target)
    if labels.shape == shape:
        t = numbers(pixels_last(labels))
        counted = np.ones((shape[0], math.prod(shape[2:])), bool)
    else:
        flat = labels.reshape(shape[0], -1)
        counted = flat != ignore_index
        t = one_hot(np.where(counted, flat, -1).astype(np.int64), shape[1]) * 1.0
    with np.errstate(all="ignore"):
        pixels = Pixels(*softmax_rows(numbers(pixels_last(np.asarray(logits)))), t, counted)
        total, gradient = numbers(0.0), numbers(np.zeros(pixels.p.shape))
        g = numbers(1.0 if grad_output is None else grad_output)
        for part in SEGMENTATION[loss](pixels, **options):
            divisor = part.divisor if reduction == "mean" else 1.0
            value = part.value if reduction == "none" else in_blocks(part.value) / divisor
            total = total + value
            # the mean of nothing is nan, but its gradient is 0
            factor = np.broadcast_to(g * (1 / divisor if divisor else 0.0), part.value.shape)
            slope = part.gradient(factor)
            gradient = gradient + np.where(counted[..., np.newaxis], slope, 0.0)
    return Evaluation(total, (np.moveaxis(gradient, -1, 1).reshape(shape),), None)


def _overlap(
    pixels: Pixels, alpha: float, beta: float, smooth: float, gamma: float = 1.0
) -> list[Part]:
    """(1 - S)^gamma, S = (TP + s) / (TP + alpha FP + beta FN + s), of every image and class.

    1 - S is (alpha FP + beta FN) / the denominator, without a difference.
    """
    p = np.where(pixels.counted[..., np.newaxis], pixels.p, 0.0)
    true = in_blocks(p * pixels.t, (1,))
    wrong = alpha * in_blocks(p * (1 - pixels.t), (1,))
    others = np.where(pixels.counted[..., np.newaxis], pixels.others, 0.0)
    missed = beta * in_blocks(others * pixels.t, (1,))
    whole = true + wrong + missed + smooth
    rest = (wrong + missed) / whole
    score = (true + smooth) / whole
    bend = 1.0 if gamma == 1 else np.where(rest > 0, gamma * np.power(rest, gamma - 1), 0.0)

    def gradient(factor: Numbers) -> Numbers:
        # d rest / dp = (d(wrong + missed) - rest d whole) / whole
        share = np.expand_dims(factor * bend / whole, 1)
        t = pixels.t
        by_p = (alpha * (1 - t) - beta * t) * np.expand_dims(score, 1) - t * np.expand_dims(rest, 1)
        return pixels.through_softmax(share * by_p)

    value = rest if gamma == 1 else np.power(rest, gamma)
    return [Part(value, float(math.prod(rest.shape)), gradient)]


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
def lovasz_softmax_loss(pixels: Pixels) -> list[Part]:
    """The Lovasz extension of the Jaccard loss, of every class over all images (Berman et al.).

    A mean is over the classes that there are; of the others the loss is 0.
    """
    counted = pixels.counted.reshape(-1)
    classes = pixels.p.shape[-1]
    # 1 where a pixel is of the class
    own = exact_part(pixels.t).reshape(-1, classes)[counted]
    p = pixels.p.reshape((-1, classes))[counted]
    errors = np.where(own == 1, 1 - p, p)
    order = np.argsort(-exact_part(errors), axis=0, kind="stable")
    sorted_own = np.take_along_axis(own, order, 0)
    total = own.sum(axis=0)
    union = total + (1 - sorted_own).cumsum(axis=0)
    jaccard = 1 - (total - sorted_own.cumsum(axis=0)) / np.maximum(union, 1)
    steps = np.diff(jaccard, axis=0, prepend=0)
    steps = np.where(total > 0, steps, 0)
    value = (np.take_along_axis(errors, order, 0) * steps).sum(axis=0)
    unsorted = np.zeros_like(steps)
    np.put_along_axis(unsorted, order, steps, 0)

    def gradient(factor: Numbers) -> Numbers:
        slope = np.zeros((counted.size, classes), steps.dtype)
        slope[counted] = np.where(own == 1, -unsorted, unsorted)
        return pixels.through_softmax(factor * slope.reshape(pixels.p.shape))

    return [Part(value, float((total > 0).sum()), gradient)]


@segmentation
def dice_ce_loss(
    pixels: Pixels, *, smooth: float = 1.0, lambda_dice: float = 1.0, lambda_ce: float = 1.0
) -> list[Part]:
    """lambda_dice dice_loss + lambda_ce cross_entropy, each a mean or sum of its own (MONAI)."""
    (dice,) = _overlap(pixels, 0.5, 0.5, smooth / 2)
    t = pixels.t

    def gradient(factor: Numbers) -> Numbers:
        total = (t * 1.0).sum(axis=-1, keepdims=True)
        return np.expand_dims(factor, -1) * (lambda_ce * (total * pixels.p - t))

    entropy = np.where(pixels.counted, product(t, pixels.negative_log_p).sum(axis=-1), 0.0)
    return [
        Part(lambda_dice * dice.value, dice.divisor, lambda f: dice.gradient(lambda_dice * f)),
        Part(lambda_ce * entropy, float(pixels.counted.sum()), gradient),
    ]
