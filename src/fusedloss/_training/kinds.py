"""What a loss's raw predictions and targets are, and which second derivative it trains by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from fusedloss._training import constants
from fusedloss._types import Array
from fusedloss.classification import softmax as softmax_of

Hessian: TypeAlias = Literal["auto", "exact", "positive", "gauss_newton", "constant"]

# ---- From raw predictions to what the loss predicts ----


def same(raw: Array) -> Array:
    return raw


def sigmoid(raw: Array) -> Array:
    """Return 1 / (1 + exp(-raw)), without overflow."""
    small = np.exp(-np.abs(raw))
    made: Array = np.where(raw >= 0, 1, small) / (1 + small)
    return made


def sigmoid_of_double(raw: Array) -> Array:
    return sigmoid(2 * raw)


def softmax(raw: Array) -> Array:
    probabilities: Array = softmax_of(raw, axis=-1)
    return probabilities


# ---- Expected Hessians: never negative ----


def expected_of_classes(
    raw: Array, gradient: Array, target: Array, _options: dict[str, Any]
) -> Array:
    """Return -l' times the curvature of -log p_y, for a loss l(log p_y).

    The curvature is p_c (1 - p_c), and the gradient -l' (p_c - [c = y]), so that one factor of each
    is left. Of cross-entropy it is the Hessian.
    """
    hessian = softmax(raw)
    at = np.expand_dims(target, -1)
    of_target = np.take_along_axis(hessian, at, -1)
    np.subtract(1, hessian, out=hessian)
    np.put_along_axis(hessian, at, -of_target, -1)
    hessian *= gradient
    return hessian


def expected_of_shares(
    raw: Array, gradient: Array, target: Array, _options: dict[str, Any]
) -> Array:
    """Return the same for two classes, of which one has raw prediction 0."""
    p = sigmoid(raw)
    return np.abs(gradient) * np.where(target > 0.5, p, 1 - p)


# ---- Losses with kinks: gradients of the size of signs, and Hessians to go with them ----


def signs(gradient: Array, _options: dict[str, Any]) -> tuple[Array, Array]:
    return gradient, np.ones_like(gradient)


def levels(gradient: Array, options: dict[str, Any]) -> tuple[Array, Array]:
    """Divide by the standard deviation of the gradient at its quantile: signs at the median."""
    level = options.get("quantile", 0.5)
    return gradient / max(level * (1 - level), 1e-6) ** 0.5, np.ones_like(gradient)


def signs_by_size(gradient: Array, _options: dict[str, Any]) -> tuple[Array, Array]:
    size = np.abs(gradient)
    scale = size.mean() or 1.0
    return gradient / scale, size / scale


@dataclass(frozen=True)
class Kind:
    """What the Hessian policies have to know of a loss."""

    #: From raw predictions to what the loss predicts.
    link: Callable[[Array], Array] = same
    #: The Hessian that "auto" stands for.
    auto: Hessian = "exact"
    #: The largest second derivative, by the loss's options; None where there is no bound.
    curvature: Callable[[dict[str, Any]], float] | None = None
    #: For a loss with kinks instead of curvature: scales the gradient so that a leaf at the median
    #: can move by one spread of the targets, and gives the Hessian to go with it.
    kinked: Callable[[Array, dict[str, Any]], tuple[Array, Array]] | None = None
    #: What targets may be: "real", "share", "sign", "count", "positive" or "class".
    target: str = "real"
    #: The expected Hessian, of the raw predictions, the gradient and the classes or targets.
    expected: Callable[[Array, Array, Array, dict[str, Any]], Array] | None = None
    #: The best constant, of targets and weights; found numerically where there is no formula.
    initial: Callable[[Array, Array, dict[str, Any]], float] | None = None


_SHARES: dict[str, Any] = {"link": sigmoid, "target": "share", "expected": expected_of_shares}

#: The losses of lists that gradient boosting can train: each list is a query's items.
KINDS_OF_LISTS: dict[str, Kind] = {
    "ranking_softmax_loss": Kind(target="count", initial=lambda *_: 0.0),
}

#: The losses that gradient boosting can train sample by sample, by name.
KINDS: dict[str, Kind] = {
    "binary_cross_entropy_with_logits": Kind(
        **_SHARES, curvature=lambda options: 0.25, initial=constants.log_odds
    ),
    "cross_entropy": Kind(
        softmax, curvature=lambda options: 0.25, target="class", expected=expected_of_classes
    ),
    "exponential_loss": Kind(sigmoid_of_double, target="sign"),
    "focal_loss": Kind(softmax, "gauss_newton", target="class", expected=expected_of_classes),
    "gamma_loss": Kind(
        np.exp,
        target="positive",
        expected=lambda raw, *_: np.ones_like(raw),
        initial=constants.log_mean,
    ),
    "hinge_loss": Kind(auto="constant", curvature=lambda options: 1.0, target="sign"),
    "huber_loss": Kind(auto="constant", curvature=lambda options: 1.0),
    "l1_loss": Kind(auto="constant", kinked=signs, initial=constants.median),
    "log_cosh_loss": Kind(auto="constant", curvature=lambda options: 1.0),
    "logistic_loss": Kind(sigmoid, curvature=lambda options: 0.25, target="sign"),
    "mape_loss": Kind(auto="constant", kinked=signs_by_size, initial=constants.median_of_shares),
    "mse_loss": Kind(curvature=lambda options: 2.0, initial=constants.mean),
    "poisson_nll_loss": Kind(
        np.exp, target="count", expected=lambda raw, *_: np.exp(raw), initial=constants.log_mean
    ),
    "pseudo_huber_loss": Kind(auto="constant", curvature=lambda options: 1.0),
    "quantile_loss": Kind(auto="constant", kinked=levels, initial=constants.quantile),
    "sigmoid_focal_loss": Kind(**_SHARES, auto="gauss_newton"),
    "smooth_quantile_loss": Kind(
        auto="constant", curvature=lambda options: 0.25 / options.get("alpha", 0.1)
    ),
    "smooth_l1_loss": Kind(auto="constant", curvature=lambda options: 1 / options.get("beta", 1.0)),
    "soft_margin_loss": Kind(sigmoid, curvature=lambda options: 0.25, target="sign"),
    "squared_hinge_loss": Kind(auto="constant", curvature=lambda options: 2.0, target="sign"),
    "tweedie_loss": Kind(
        np.exp,
        target="count",
        expected=lambda raw, _g, _t, options: np.exp((2 - options.get("power", 1.5)) * raw),
        initial=constants.log_mean,
    ),
}
