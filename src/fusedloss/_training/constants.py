"""The best constant prediction, by formula or by search."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fusedloss._types import Array


def mean(target: Array, weight: Array, _options: dict[str, Any]) -> float:
    return float(np.average(target, weights=weight))


def log_mean(target: Array, weight: Array, options: dict[str, Any]) -> float:
    return float(np.log(max(mean(target, weight, options), np.finfo(np.float64).tiny)))


def log_odds(target: Array, weight: Array, options: dict[str, Any]) -> float:
    share = np.clip(mean(target, weight, options), 1e-15, 1 - 1e-15)
    return float(np.log(share / (1 - share)))


def quantile_of(level: float, target: Array, weight: Array) -> float:
    """Return the least target up to which there is this share of the weights."""
    order = np.argsort(target, kind="stable")
    sums = np.cumsum(weight[order])
    return float(target[order][np.searchsorted(sums, level * sums[-1])])


def median(target: Array, weight: Array, _options: dict[str, Any]) -> float:
    return quantile_of(0.5, target, weight)


def quantile(target: Array, weight: Array, options: dict[str, Any]) -> float:
    return quantile_of(options.get("quantile", 0.5), target, weight)


def median_of_shares(target: Array, weight: Array, _options: dict[str, Any]) -> float:
    return quantile_of(0.5, target, weight / np.maximum(np.abs(target), 1e-7))


def minimum(function: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
    """Return where a function that gives its value and gradient is least."""
    # scipy comes with LightGBM, XGBoost and scikit-learn.
    optimize = importlib.import_module("scipy.optimize")
    found: Array = optimize.minimize(
        function, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 0}
    ).x
    return found
