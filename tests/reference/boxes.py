"""Losses of bounding boxes: of their intersection over union (torchvision).

A box is (x1, y1, x2, y2): of each axis the edge `low` and, two further, the edge `high`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference.pointwise import Terms
from reference.rowwise import rowwise
from rounding import Numbers

__all__ = [
    "complete_box_iou_loss",
    "distance_box_iou_loss",
    "generalized_box_iou_loss",
]

#: 4 / pi^2.
FACTOR = 0.40528473456935108578


class _Slopes(NamedTuple):
    """The derivatives of a loss by what it is made of: one number, or one of each axis."""

    common: Numbers  # the intersection's area; the union's besides
    union: Numbers
    outside: Numbers  # the sides of the enclosing box
    apart: Numbers = 0.0  # the distance of the centers
    shape: tuple[Numbers, Numbers] = (0.0, 0.0)  # the sides of either box


def _area(sides: Numbers) -> Numbers:
    return sides[..., :1] * sides[..., 1:]


def _larger(x: Numbers, y: Numbers) -> Numbers:
    """How much of the larger of two numbers the first is; equal ones share, as in torch."""
    return np.where(x > y, 1.0, np.where(x < y, 0.0, 0.5))


class _Pair:
    """Boxes and their targets."""

    def __init__(self, x: Numbers, t: Numbers, eps: float) -> None:
        self.low, self.high = (x[..., :2], t[..., :2]), (x[..., 2:], t[..., 2:])
        self.sides = tuple(high - low for low, high in zip(self.low, self.high, strict=True))
        self.inside = np.minimum(*self.high) - np.maximum(*self.low)
        self.outside = np.maximum(*self.high) - np.minimum(*self.low)
        self.apart = (self.low[0] + self.high[0] - self.low[1] - self.high[1]) / 2
        self.overlap = (self.inside[..., :1] > 0) & (self.inside[..., 1:] > 0)
        common = np.where(self.overlap, _area(self.inside), 0.0)
        self.union = _area(self.sides[0]) + _area(self.sides[1]) - common
        self.iou = common / (self.union + eps)

    def terms(self, value: Numbers, by: _Slopes) -> Terms:
        """The loss with its slopes by the edges."""
        by_common = by.common - by.union  # the union is less what is common
        by_inside = np.where(self.overlap, by_common * self.inside[..., ::-1], 0.0)
        slopes = []
        for i, sign in enumerate((1, -1)):
            low, high = self.low[:: 1 - 2 * i], self.high[:: 1 - 2 * i]  # this box's first
            by_sides = by.union * self.sides[i][..., ::-1] + by.shape[i]
            by_center = by.apart * (sign / 2)
            by_low = by_inside * _larger(*low) + by.outside * _larger(low[1], low[0])
            by_high = by_inside * _larger(high[1], high[0]) + by.outside * _larger(*high)
            both = by_center - by_low - by_sides, by_center + by_high + by_sides
            slopes.append(np.concatenate(both, axis=-1))
        return Terms(value[..., 0], tuple(slopes))


@rowwise("input", "target", of_classes=False)
def generalized_box_iou_loss(input: Numbers, target: Numbers, *, eps: float = 1e-7) -> Terms:
    """1 - IoU + (E - U) / E: the area E encloses both, U is the union's."""
    pair = _Pair(input, target, eps)
    area, union = _area(pair.outside) + eps, pair.union + eps
    by_union = pair.iou / union - 1 / area
    by_outside = union / (area * area) * pair.outside[..., ::-1]
    value = 1 - pair.iou + (area - union) / area
    return pair.terms(value, _Slopes(-1 / union, by_union, by_outside))


def _distance(pair: _Pair, eps: float) -> tuple[Numbers, _Slopes]:
    """1 - IoU + d^2 / c^2: d is the distance of the centers, c the enclosing box's diagonal."""
    square = (pair.outside * pair.outside).sum(axis=-1, keepdims=True) + eps
    share = (pair.apart * pair.apart).sum(axis=-1, keepdims=True) / square
    union = pair.union + eps
    by_outside = -2 * share / square * pair.outside
    by = _Slopes(-1 / union, pair.iou / union, by_outside, 2 * pair.apart / square)
    return 1 - pair.iou + share, by


@rowwise("input", "target", of_classes=False)
def distance_box_iou_loss(input: Numbers, target: Numbers, *, eps: float = 1e-7) -> Terms:
    """1 - IoU + d^2 / c^2: d is the distance of the centers, c the enclosing box's diagonal."""
    pair = _Pair(input, target, eps)
    return pair.terms(*_distance(pair, eps))


@rowwise("input", "target", of_classes=False)
def complete_box_iou_loss(input: Numbers, target: Numbers, *, eps: float = 1e-7) -> Terms:
    """The same and alpha v: v = 4 / pi^2 (arctan w_t / h_t - arctan w_x / h_x)^2.

    alpha = v / (1 - IoU + v) is constant to the gradient.
    """
    pair = _Pair(input, target, eps)
    value, by = _distance(pair, eps)
    angles = [np.arctan(sides[..., :1] / sides[..., 1:]) for sides in pair.sides]
    turn = angles[1] - angles[0]
    v = FACTOR * turn * turn
    alpha = v / (1 - pair.iou + v + eps)
    shape = []
    for sides, sign in zip(pair.sides, (-2, 2), strict=True):
        slope = sign * alpha * FACTOR * turn / (sides * sides).sum(axis=-1, keepdims=True)
        shape.append(slope * sides[..., ::-1] * np.array([1, -1]))
    return pair.terms(value + alpha * v, by._replace(shape=tuple(shape)))
