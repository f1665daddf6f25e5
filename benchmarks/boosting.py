"""Training with this package's objectives beside the boosters' own, and derivatives beside theirs.

A training is timed whole: binning, trees and the objective, in the threads of both libraries.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import fusedloss as fl
from comparisons import Comparison, Contenders
from fusedloss.boosting import Objective
from fusedloss.cli._contenders import FUSEDLOSS
from targets import Target

CLASSES, ROUNDS = 8, 10
THEIRS = "built-in"


def _table(small: bool) -> tuple[np.ndarray, np.ndarray]:
    """20 features, 8 classes."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400 if small else 40_000, 20))
    scores = features @ rng.standard_normal((20, CLASSES))
    return features, (scores + rng.gumbel(size=scores.shape)).argmax(1)


def _lightgbm(num_threads: int, small: bool) -> Contenders:
    lightgbm = importlib.import_module("lightgbm")
    features, labels = _table(small)
    options = {"num_class": CLASSES, "verbose": -1, "num_threads": num_threads}

    def train(objective: Any) -> object:
        data = lightgbm.Dataset(features, labels, params=options)
        return lightgbm.train(options | {"objective": objective}, data, ROUNDS)

    ours = Objective(fl.cross_entropy).lightgbm
    return {FUSEDLOSS: partial(train, ours), THEIRS: partial(train, "multiclass")}


def _xgboost(num_threads: int, small: bool) -> Contenders:
    xgboost = importlib.import_module("xgboost")
    features, labels = _table(small)
    options = {"num_class": CLASSES, "nthread": num_threads, "base_score": 0.0}

    def train(objective: Any) -> object:
        data = xgboost.DMatrix(features, labels, nthread=num_threads)
        if isinstance(objective, str):
            return xgboost.train(options | {"objective": objective}, data, ROUNDS)
        return xgboost.train(options, data, ROUNDS, obj=objective)

    ours = Objective(fl.cross_entropy).xgboost
    return {FUSEDLOSS: partial(train, ours), THEIRS: partial(train, "multi:softprob")}


def _derivatives(
    loss: Callable[..., Any], own: str, classes: int, num_threads: int, small: bool
) -> Contenders:
    scikit = importlib.import_module("sklearn._loss.loss")
    rng = np.random.default_rng(0)
    n = 100 if small else 200_000 // classes
    raw = rng.standard_normal((n, classes) if classes > 1 else n)
    labels = rng.integers(max(2, classes), size=n)
    target = labels.astype(raw.dtype)
    theirs = getattr(scikit, own)(**({"n_classes": classes} if classes > 1 else {}))
    function = fl.grad_and_hess(loss)
    given = labels if classes > 1 else target
    return {
        FUSEDLOSS: lambda: function(raw, given, num_threads=num_threads),
        THEIRS: lambda: theirs.gradient_hessian(target, raw, n_threads=num_threads),
    }


def _training(
    library: str, make: Callable[[int, bool], Contenders], bound: float = 1.2
) -> Comparison:
    label = f"40000 x 20, {CLASSES} classes, {ROUNDS} rounds of {library}"
    asked = (Target(bound, (THEIRS,)),)
    return Comparison("boosting", label, (FUSEDLOSS, THEIRS), make, asked)


def _hessian(loss: Callable[..., Any], own: str, classes: int) -> Comparison:
    label = f"grad_and_hess of {200_000 // classes} x {classes} {loss.__name__}, scikit-learn"
    asked = (Target(1.0, (THEIRS,)),)
    return Comparison(
        "boosting", label, (FUSEDLOSS, THEIRS), partial(_derivatives, loss, own, classes), asked
    )


BOOSTING = (
    _training("LightGBM", _lightgbm),
    _training("XGBoost", _xgboost),
    _hessian(fl.mse_loss, "HalfSquaredError", 1),
    _hessian(fl.binary_cross_entropy_with_logits, "HalfBinomialLoss", 1),
    _hessian(fl.cross_entropy, "HalfMultinomialLoss", 8),
)
