"""Company for a call: what computes on threads of its own right before, in the same program.

These threads still spin on the cores for a while. A call that waits for threads of its own then
waits for theirs. The yardstick is the same call on one thread in the same place, where nothing is
waited for. ``fusedloss bench`` uses them, and so does the ``benchmarks/`` folder of the repository.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fusedloss as fl

ONE_THREAD = "one thread"

Call = Callable[[], object]
#: Makes something that computes on threads, with so many of them.
Partner = Callable[[int], Call]


class Company(NamedTuple):
    """A partner, in words, and the module without which it is not here."""

    label: str
    module: str
    make: Partner


def numpy_product(_num_threads: int = 0) -> Call:
    """Multiply in NumPy, on the threads of its BLAS."""
    a = np.ones((512, 512), "float32")
    place = np.empty_like(a)
    return lambda: np.matmul(a, a, out=place)


def torch_product(num_threads: int) -> Call:
    """Multiply in torch, on the OpenMP threads that fusedloss can share."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(num_threads)
    a = torch.ones(512, 512)
    place = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=place)


def _table() -> tuple[Any, Any]:
    """Draw features and targets."""
    random = np.random.default_rng(0)
    features = random.standard_normal((20_000, 10), dtype=np.float32)
    return features, features[:, 0] + random.standard_normal(20_000, dtype=np.float32)


def xgboost_round(num_threads: int) -> Call:
    """Grow one more tree, on XGBoost's own OpenMP threads."""
    xgboost = importlib.import_module("xgboost")
    features, target = _table()
    data = xgboost.DMatrix(features, target, nthread=num_threads)
    booster = xgboost.Booster({"max_depth": 3, "nthread": num_threads}, [data])
    return lambda: booster.update(data, 0)


def lightgbm_round(num_threads: int) -> Call:
    """Grow one more tree, on the OpenMP threads that fusedloss can share."""
    lightgbm = importlib.import_module("lightgbm")
    options = {"max_depth": 3, "num_threads": num_threads, "verbose": -1}
    booster = lightgbm.Booster(options, lightgbm.Dataset(*_table(), params=options))
    update: Call = booster.update
    return update


def sklearn_loss(num_threads: int) -> Call:
    """Compute a loss of scikit-learn, on its own OpenMP threads."""
    loss = importlib.import_module("sklearn._loss").HalfBinomialLoss()
    raw, target = np.zeros(200_000), np.ones(200_000)
    return lambda: loss.gradient_hessian(target, raw, n_threads=num_threads)


COMPANIES = (
    Company("a NumPy product", "numpy", numpy_product),
    Company("a torch product", "torch", torch_product),
    Company("an XGBoost round", "xgboost", xgboost_round),
    Company("a LightGBM round", "lightgbm", lightgbm_round),
    Company("a scikit-learn loss", "sklearn._loss", sklearn_loss),
)


# ---- The calls --------------------------------------------------------------------------------


def cross_entropy(rows: int, classes: int) -> Callable[[int], Call]:
    """Make the call of value and gradient, in memory that is there."""
    function = fl.value_and_grad(fl.cross_entropy)

    def make(num_threads: int) -> Call:
        random = np.random.default_rng(0)
        logits = random.standard_normal((rows, classes), dtype=np.float32)
        labels, out = random.integers(classes, size=rows), np.zeros_like(logits)
        return lambda: function(logits, labels, out=out, num_threads=num_threads)

    return make


def mse_loss(num_threads: int) -> Call:
    """Make the call of value and gradient of 200,000 elements."""
    prediction, out = np.ones(200_000, "float32"), np.zeros(200_000, "float32")
    call, target = fl.value_and_grad(fl.mse_loss), np.zeros_like(prediction)
    return lambda: call(prediction, target, out=out, num_threads=num_threads)
