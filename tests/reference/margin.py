"""Margin-softmax heads: cosines, a margin on the target's, and the softmax cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from parts import Array, Quantity
from reference.softmax_family import evaluate


class Psi(NamedTuple):
    """What takes the place of the target's cosine, and its derivatives."""

    value: Array
    slope: Array  # by the cosine
    by_norm: Array | float = 0.0  # by the embedding's norm


class Head(NamedTuple):
    """The loss, and its gradients by embeddings and weights."""

    value: Quantity
    embeddings: Quantity
    weight: Quantity


def _angular(cosine: Array, m: ArrayLike, *, easy: bool = False) -> Psi:
    """cos(theta + m), and what continues it where it would rise again."""
    theta = np.arccos(cosine)
    inside = cosine > 0 if easy else theta <= np.arccos(-np.ones_like(cosine)) - m
    beyond = cosine if easy else cosine - m * np.sin(m)
    slope = np.sin(theta + m) / np.sin(theta)
    by_margin = np.where(inside, -np.sin(theta + m), 0 if easy else -np.sin(m) - m * np.cos(m))
    return Psi(np.where(inside, np.cos(theta + m), beyond), np.where(inside, slope, 1.0), by_margin)


def arcface(cosine: Array, norm: Array, *, margin: Any, easy_margin: bool = False) -> Psi:
    return _angular(cosine, cosine.dtype.type(margin), easy=easy_margin)._replace(by_norm=0.0)


def curricularface(cosine: Array, norm: Array, *, margin: Any, t: float) -> Psi:
    return arcface(cosine, norm, margin=margin)


def subcenter_arcface(cosine: Array, norm: Array, *, margin: Any, sub_centers: int) -> Psi:
    return arcface(cosine, norm, margin=margin)


def combined_margin(
    cosine: Array,
    norm: Array,
    *,
    m1: float = 1.0,
    m2: float = 0.0,
    m3: float = 0.0,
    interclass_filtering_threshold: float = 0.0,
) -> Psi:
    theta = np.arccos(cosine)
    slope = m1 * np.sin(m1 * theta + m2) / np.sin(theta)
    return Psi(np.cos(m1 * theta + m2) - m3, slope)


def cosface(cosine: Array, norm: Array, *, margin: float, **_: float) -> Psi:
    return Psi(cosine - margin, np.ones_like(cosine))


def plain(cosine: Array, norm: Array) -> Psi:
    return Psi(cosine, np.ones_like(cosine))


def multiplicative(cosine: Array, norm: Array, *, margin: float) -> Psi:
    theta = np.arccos(cosine)
    k = np.floor(margin * theta / np.arccos(-np.ones_like(cosine)))
    sign = np.where(k % 2 == 0, 1.0, -1.0)
    slope = sign * margin * np.sin(margin * theta) / np.sin(theta)
    return Psi(sign * np.cos(margin * theta) - 2 * k, slope)


def adaface(
    cosine: Array, norm: Array, *, margin: float, h: float, norm_mean: float, norm_std: float
) -> Psi:
    q = np.clip(h * (np.clip(norm, 1e-3, 100) - norm_mean) / (norm_std + 1e-3), -1, 1)
    theta, pi = np.arccos(np.clip(cosine, -1 + 1e-3, 1 - 1e-3)), np.arccos(-np.ones_like(cosine))
    angle = np.clip(theta - margin * q, 1e-3, pi - 1e-3)
    inside = (np.abs(cosine) < 1 - 1e-3) & (angle == theta - margin * q)
    slope = np.where(inside, np.sin(angle) / np.sin(theta), 0.0)
    return Psi(np.cos(angle) - margin - margin * q, slope)


def magface(
    cosine: Array,
    norm: Array,
    *,
    l_a: float,
    u_a: float,
    l_margin: float,
    u_margin: float,
    lambda_g: float,
    easy_margin: bool = True,
) -> Psi:
    rise = (u_margin - l_margin) / (u_a - l_a)
    psi = _angular(cosine, rise * (np.clip(norm, l_a, u_a) - l_a) + l_margin, easy=easy_margin)
    return psi._replace(by_norm=psi.by_norm * rise * ((norm > l_a) & (norm < u_a)))


def centers_of(margins: dict[str, Any]) -> int:
    """How many rows of weights a class has."""
    return int(margins.get("sub_centers", margins.get("centers_per_class", 1)))


class Centers(NamedTuple):
    """The cosines of classes from those of their centers, and their derivatives by these."""

    cosine: Array
    slope: Array
    slope_size: Array
    slope_moved: Array  # when cosines move by one eps


def of_centers(cosines: Array, margins: dict[str, Any]) -> Centers:
    """The best center's cosine, or the mean weighted with exp(cosine / gamma)."""
    if "gamma" not in margins:
        chosen = np.arange(cosines.shape[-1]) == cosines.argmax(-1)[..., None]
        slope = chosen.astype(cosines.dtype)
        return Centers(cosines.max(-1), slope, slope, 0 * slope)
    gamma = cosines.dtype.type(margins["gamma"])
    p = np.exp((cosines - cosines.max(-1, keepdims=True)) / gamma)
    p = p / p.sum(-1, keepdims=True)
    mean = (p * cosines).sum(-1, keepdims=True)
    away = np.abs(cosines - mean) / gamma
    # p moves by 2 / gamma of itself, a difference of cosines by 2
    return Centers(
        mean[..., 0],
        p * (1 + (cosines - mean) / gamma),
        p * (1 + away),
        p * (2 + 2 * (1 + away)) / gamma,
    )


#: psi of each loss, and whether norms of embeddings and weights are factors of its logits.
HEADS: dict[str, tuple[Callable[..., Psi], bool, bool]] = {
    "arcface_loss": (arcface, False, False),
    "cosface_loss": (cosface, False, False),
    "combined_margin_loss": (combined_margin, False, False),
    "normface_loss": (plain, False, False),
    "l2_softmax_loss": (plain, False, True),
    "l_softmax_loss": (multiplicative, True, True),
    "a_softmax_loss": (multiplicative, True, False),
    "sphereface_loss": (multiplicative, False, False),
    "subcenter_arcface_loss": (subcenter_arcface, False, False),
    "curricularface_loss": (curricularface, False, False),
    "adaface_loss": (adaface, False, False),
    "magface_loss": (magface, False, False),
    "proxy_nca_loss": (plain, False, False),
    "soft_triple_loss": (cosface, False, False),
}


def negatives(cosine: Array, target_cosine: Array, options: dict[str, Any]) -> tuple[Array, Array]:
    """What takes the place of the other classes' cosines, and its slope."""
    one = np.ones_like(cosine)
    threshold = options.get("interclass_filtering_threshold", 0)
    if threshold:
        kept = cosine <= threshold
        return np.where(kept, cosine, 0), np.where(kept, one, 0)
    if "t" in options:
        hard = cosine > np.cos(np.arccos(target_cosine) + options["margin"])[:, None]
        t = options["t"]
        return np.where(hard, cosine * (t + cosine), cosine), np.where(hard, t + 2 * cosine, one)
    return cosine, one


def evaluate_head(
    name: str,
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    margins: dict[str, Any],
    *,
    scale: float,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -1,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: str = "analytic",
    gradient_eps: float = 0.0,
    dtype: DTypeLike = np.float64,
    **options: Any,
) -> Head:
    """Loss and gradients, with what their rounding errors may be.

    Rounding is bounded as in `evaluate_linear`. A cosine of D products is off by (D/2 + 4) eps, one
    of them by its inverse norms; the target's logit and slope, of an angle in double, are in float
    off by a rounding, and in double by what that cosine's error moves them.
    """
    formula, keep_norm, keep_weight_norm = HEADS[name]
    x, w, y = np.asarray(x, dtype), np.asarray(weight, dtype), np.asarray(target)
    n, features = x.shape
    counted = y != ignore_index
    rows, at = np.arange(n), np.where(counted, y, 0)
    norm, weight_norm = np.linalg.norm(x, axis=-1), np.linalg.norm(w, axis=-1)
    centers = centers_of(margins)
    unit = x / norm[:, None]
    cosines = np.clip(unit @ (w / weight_norm[:, None]).T, -1, 1).reshape(n, -1, centers)
    cosine, by_center, center_size, center_moved = of_centers(cosines, margins)
    c = cosine[rows, at]

    psi = formula(c, norm, **margins)
    share = 1 / (1 + annealing)
    psi = Psi(
        share * (annealing * c + psi.value), share * (annealing + psi.slope), share * psi.by_norm
    )
    if gradient == "detached":
        psi = psi._replace(slope=np.ones_like(c), by_norm=0.0)
    logits, slopes = negatives(cosine, c, margins)
    logits, slopes = logits.copy(), slopes.copy()
    logits[rows, at], slopes[rows, at] = psi.value, psi.slope
    kept = np.full(n, scale, dtype) * (norm if keep_norm else 1)
    columns = weight_norm if keep_weight_norm else np.ones_like(weight_norm)
    factor = kept[:, None] * columns[::centers]
    z = factor * logits

    weights = np.asarray(options.get("sample_weight", np.ones(n)), dtype)
    weights_of_class = 1 if class_weight is None else np.asarray(class_weight, dtype)[at]
    loss = "cross_entropy"
    call = {"weight": class_weight, "ignore_index": ignore_index, "dtype": dtype, **options}
    if focal_gamma:  # whose mean takes weights of samples alone into account
        loss = "focal_loss"
        call |= {"gamma": focal_gamma, "sample_weight": weights * weights_of_class}
        del call["weight"]
    grad_output = call.pop("grad_output", None)
    value, one, _ = evaluate(loss, z, y, **call)
    g, size, moved = evaluate(loss, z, y, grad_output=grad_output, **call).gradient
    cosine_off = features / 2 + 4
    off = (factor * center_size.sum(-1)).max(-1) * cosine_off  # in eps
    sine = np.maximum(np.sin(np.arccos(c)), 1e-8)
    steep = cosine_off * (1 + np.abs(psi.slope)) / sine**2 / np.maximum(np.abs(slopes[rows, at]), 1)
    off = off + factor[rows, at] * (np.abs(psi.slope) * cosine_off + 4)
    moved = moved + ((2 + 2 * focal_gamma) * off[:, None] + 4) * size + gradient_eps / 2 * np.abs(g)
    moved[rows, at] += steep * size[rows, at]
    value_moved = off * one.size.sum(-1)
    value = value._replace(
        moved=value.moved + (value_moved if value.exact.ndim else value_moved.sum())
    )

    # By cosines, then by the directions of both factors, each without its part along itself.
    by_cosine = g * factor * slopes
    moved, size = (part * factor * np.abs(slopes) for part in (moved, size))
    moved = moved[..., None] * center_size + size[..., None] * (center_moved * cosine_off)
    parts = by_cosine[..., None] * by_center, size[..., None] * center_size, moved
    spread = np.stack(parts).reshape(3, n, len(w))
    inverse, weight_inverse = 1 / norm[:, None], 1 / weight_norm[:, None]

    # By norms, at constant angle: logits with norms as factors, and the margins of MagFace.
    by_norm = (g * z).sum(-1) / norm if keep_norm else g[rows, at] * scale * psi.by_norm
    by_norm = by_norm * counted
    by_weight_norm = np.zeros_like(weight_norm)
    if keep_weight_norm:
        by_weight_norm = (g * z).sum(0) / weight_norm
    if name == "magface_loss":
        a = np.clip(norm, margins["l_a"], margins["u_a"])
        penalty = margins["lambda_g"] * (a / margins["u_a"] ** 2 + 1 / a)
        mean = options.get("reduction", "mean") == "mean"
        divisor = (counted * weights * weights_of_class).sum() if mean else 1
        silent = (weights_of_class == 0) & (options.get("label_smoothing", 0) == 0)
        shares = counted * weights * np.logical_not(silent)
        none = value.exact.ndim > 0
        added = shares * penalty if none else (shares * penalty).sum()
        if divisor == 0:  # classes of weight 0, whose norms count: one fraction, no gradient
            value = Quantity(*(np.asarray(np.divide(added, 0)) for _ in range(3)))
            shares = 0 * shares
        else:
            added, shares = added / divisor, shares / divisor
            value = value.plus(Quantity(added, np.abs(added), np.abs(added)))
        slope = margins["lambda_g"] * (1 / margins["u_a"] ** 2 - 1 / a**2)
        outer = 1.0 if grad_output is None else np.asarray(grad_output, dtype)
        by_norm = by_norm + outer * shares * slope * (
            (norm > margins["l_a"]) & (norm < margins["u_a"])
        )

    def radial(along: Array, own: Array) -> Quantity:
        along = along[:, None] * own
        return Quantity(along, np.abs(along), (off.max(initial=0) + cosine_off) * np.abs(along))

    unit_weight = weight_inverse * w
    by_unit = tangent(spread, unit_weight, unit, inverse)
    by_unit_weight = tangent(spread.transpose(0, 2, 1), unit, unit_weight, weight_inverse)
    return Head(
        value,
        by_unit.plus(radial(by_norm, unit)),
        by_unit_weight.plus(radial(by_weight_norm, unit_weight)),
    )


def tangent(parts: Array, others: Array, own: Array, inverse: Array) -> Quantity:
    """The gradient by rows of the unit vectors `own`, of that by their products with `others`.

    parts: that gradient, its size and how far it moves.
    """
    exact = parts[0] @ others
    exact = exact - (exact * own).sum(-1, keepdims=True) * own
    sizes, moves = (part @ np.abs(others) for part in parts[1:])
    moves = moves + len(others) / 2 * sizes
    radial = np.abs(own) * (sizes * np.abs(own)).sum(-1, keepdims=True)
    moves = moves + np.abs(own) * (moves * np.abs(own)).sum(-1, keepdims=True)
    moves = moves + (own.shape[-1] / 2 + 8) * radial
    return Quantity(inverse * exact, inverse * (sizes + radial), inverse * moves)


def evaluate_p2s_grad(
    x: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    reduction: str = "mean",
    grad_output: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
) -> Head:
    """The mean of (cosine - one-hot)^2 over the classes, with what rounding may do to it.

    A cosine is off as in `evaluate_head`. Squares are added up 256 at a time in the compute type,
    in at least four lanes.
    """
    x, w, y = np.asarray(x, dtype), np.asarray(weight, dtype), np.asarray(target)
    n, classes = len(x), len(w)
    counts = np.ones(n, dtype) if sample_weight is None else np.asarray(sample_weight, dtype)
    taken = y != ignore_index if where is None else (y != ignore_index) & where
    counts = np.where(taken, counts, 0)
    x = np.where((counts == 0)[:, None], 0, x)
    inverse, weight_inverse = (inverse_norms(rows) for rows in (x, w))
    unit, unit_weight = x * inverse, w * weight_inverse
    own = np.where(taken, y, classes)[:, None] == np.arange(classes)
    cosine = unit @ unit_weight.T
    off = (x.shape[-1] / 2 + 4) * (np.abs(unit) @ np.abs(unit_weight).T)
    error, size = cosine - own, np.abs(cosine) + own
    exact, sizes = (np.square(of).sum(-1) / classes for of in (error, size))
    moved = (2 * size * off).sum(-1) / classes + 64 * sizes
    losses = Quantity(exact, sizes, moved).times(counts)
    outer = counts * (1 if grad_output is None else np.asarray(grad_output, dtype))
    if reduction != "none":
        losses = Quantity(*(part.sum() for part in losses))
    if reduction == "mean":
        losses, outer = losses.times(1 / counts.sum()), outer / counts.sum()
    slope = 2 / classes * outer[:, None]
    parts = np.stack([slope * error, *(np.abs(slope) * of for of in (size, off + 8 * size))])
    return Head(
        losses,
        tangent(parts, unit_weight, unit, inverse),
        tangent(parts.transpose(0, 2, 1), unit, unit_weight, weight_inverse),
    )


def inverse_norms(rows: Array) -> Array:
    """Inverse norms, (N, 1); 0 of zeros, which have no direction."""
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(1, norm, where=norm > 0, out=np.zeros_like(norm))
