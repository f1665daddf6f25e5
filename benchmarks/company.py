"""Calls where a program makes them: right after matrix products, boosters and estimators.

Their threads still spin on the cores for a while. A call that waits for threads of its own then
waits for theirs. The yardstick is the same call on one thread in the same place, where nothing is
waited for; for long calls it is the time of the same threads with nothing before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from time import sleep
from typing import Any

import numpy as np
import torch

import fusedloss as fl
from comparisons import Comparison, Contenders
from fusedloss.cli import _plain_numpy
from fusedloss.cli._contenders import FRONT, FUSEDLOSS, NUMPY
from fusedloss.cli._timing import After
from fusedloss.torch import functional
from targets import Target

ONE_THREAD = "one thread"
ALONE = "alone"
PRODUCTS = "products"
#: Longer than any runtime lets its threads spin: OpenBLAS's do for a tenth of a second.
REST_SECONDS = 0.12

Call = Callable[[], object]
#: Makes something that computes on threads, with so many of them.
Partner = Callable[[int], Call]

_value_and_grad = fl.value_and_grad(fl.cross_entropy)


# ---- The company ------------------------------------------------------------------------------


def numpy_product(_num_threads: int = 0) -> Call:
    """NumPy's product, on the threads of its BLAS."""
    a = np.ones((512, 512), "float32")
    place = np.empty_like(a)
    return lambda: np.matmul(a, a, out=place)


def torch_product(num_threads: int) -> Call:
    """Torch's product, on the OpenMP threads that fusedloss can share."""
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
    """One more tree, on XGBoost's own OpenMP threads."""
    xgboost = importlib.import_module("xgboost")
    features, target = _table()
    data = xgboost.DMatrix(features, target, nthread=num_threads)
    booster = xgboost.Booster({"max_depth": 3, "nthread": num_threads}, [data])
    return lambda: booster.update(data, 0)


def lightgbm_round(num_threads: int) -> Call:
    """One more tree, on the OpenMP threads that fusedloss can share."""
    lightgbm = importlib.import_module("lightgbm")
    options = {"max_depth": 3, "num_threads": num_threads, "verbose": -1}
    booster = lightgbm.Booster(options, lightgbm.Dataset(*_table(), params=options))
    return booster.update


def sklearn_loss(num_threads: int) -> Call:
    """A loss of scikit-learn, on its own OpenMP threads."""
    loss = importlib.import_module("sklearn._loss").HalfBinomialLoss()
    raw, target = np.zeros(200_000), np.ones(200_000)
    return lambda: loss.gradient_hessian(target, raw, n_threads=num_threads)


# ---- The calls --------------------------------------------------------------------------------


def cross_entropy(rows: int, classes: int) -> Callable[[int], Call]:
    """Value and gradient, in memory that is there."""

    def make(num_threads: int) -> Call:
        random = np.random.default_rng(0)
        logits = random.standard_normal((rows, classes), dtype=np.float32)
        labels, out = random.integers(classes, size=rows), np.zeros_like(logits)
        return lambda: _value_and_grad(logits, labels, out=out, num_threads=num_threads)

    return make


def mse_loss(num_threads: int) -> Call:
    """Value and gradient of 200,000 elements."""
    prediction, out = np.ones(200_000, "float32"), np.zeros(200_000, "float32")
    call, target = fl.value_and_grad(fl.mse_loss), np.zeros_like(prediction)
    return lambda: call(prediction, target, out=out, num_threads=num_threads)


def front(rows: int, classes: int) -> Callable[[int], Call]:
    """Value and gradient in torch, whose threads the call takes."""

    def make(num_threads: int) -> Call:
        logits = torch.randn(rows, classes, requires_grad=True)
        labels = torch.zeros(rows, dtype=torch.int64)

        def call() -> None:
            torch.set_num_threads(num_threads)
            functional.cross_entropy(logits, labels).backward()
            logits.grad = None

        return call

    return make


def _beside(
    label: str,
    partner: Partner,
    call: Callable[[int], Call],
    *targets: Target,
    name: str = FUSEDLOSS,
    alone: bool = False,
) -> Comparison:
    """A call right after its company, against itself on one thread there, or alone."""
    yardstick = ALONE if alone else ONE_THREAD

    def make(num_threads: int, _small: bool) -> Contenders:
        before = partner(num_threads)
        places = {
            name: After(before, call(num_threads)),
            ONE_THREAD: After(before, call(1)),
            ALONE: After(lambda: sleep(REST_SECONDS), call(num_threads)),
        }
        return {each: places[each] for each in (name, yardstick)}

    return Comparison("in company", label, (name, yardstick), make, targets, rounds=15)


def _product_after(rows: int, classes: int) -> Comparison:
    """NumPy's product right after a call, against one right after a product."""

    def make(num_threads: int, _small: bool) -> Contenders:
        product = numpy_product()
        call = cross_entropy(rows, classes)(num_threads)
        return {"product": After(call, product), ALONE: After(product, product)}

    label = f"NumPy product after {rows} x {classes}"
    names = ("product", ALONE)
    return Comparison("in company", label, names, make, (Target(1.1, (ALONE,)),), rounds=15)


def _numpy_step(rows: int, features: int, classes: int) -> Comparison:
    """A step of training a linear classifier, against its products and NumPy's formulas."""

    def make(num_threads: int, _small: bool) -> Contenders:
        random = np.random.default_rng(0)
        x = random.standard_normal((rows, features), dtype=np.float32)
        weight = random.standard_normal((features, classes), dtype=np.float32) * np.float32(0.05)
        labels = random.integers(classes, size=rows)
        logits = np.zeros((rows, classes), "float32")
        by_weight, by_input = np.zeros_like(weight), np.zeros_like(x)

        def products() -> None:
            np.matmul(x, weight, out=logits)
            np.matmul(x.T, logits, out=by_weight)
            np.matmul(logits, weight.T, out=by_input)

        def step() -> None:
            np.matmul(x, weight, out=logits)
            _value_and_grad(logits, labels, out=logits, num_threads=num_threads)
            np.matmul(x.T, logits, out=by_weight)
            np.matmul(logits, weight.T, out=by_input)

        def plain() -> None:
            np.matmul(x, weight, out=logits)
            _, gradient = _plain_numpy.cross_entropy_and_grad(logits, labels)
            np.matmul(x.T, gradient, out=by_weight)
            np.matmul(gradient, weight.T, out=by_input)

        return {FUSEDLOSS: step, NUMPY: plain, PRODUCTS: products}

    label = f"NumPy step {rows} x {features} x {classes}"
    targets = (Target(1.1, (PRODUCTS,)), Target(1, (NUMPY,)))
    return Comparison("in company", label, (FUSEDLOSS, NUMPY, PRODUCTS), make, targets, rounds=15)


def _held(*others: str, bound: float = 1.3) -> tuple[Target, ...]:
    return (Target(bound, others),)


_SMALL = cross_entropy(256, 1000)
_MEANT = (Target(1.3, (ONE_THREAD,)), Target(2, (ONE_THREAD,), average="mean"))

COMPANY = (
    _beside("256 x 1000 after a NumPy product", numpy_product, _SMALL, *_MEANT),
    _beside("256 x 1000 after XGBoost", xgboost_round, _SMALL, *_MEANT),
    _beside("256 x 1000 after scikit-learn", sklearn_loss, _SMALL, *_MEANT),
    _beside("mse_loss 200000 after a NumPy product", numpy_product, mse_loss, *_MEANT),
    _beside("mse_loss 200000 after XGBoost", xgboost_round, mse_loss, *_MEANT),
    _beside("mse_loss 200000 after scikit-learn", sklearn_loss, mse_loss, *_MEANT),
    _beside("mse_loss 200000 after LightGBM", lightgbm_round, mse_loss, *_MEANT),
    _beside("mse_loss 200000 after torch.mm", torch_product, mse_loss, *_held(ONE_THREAD, bound=1)),
    _beside(
        "256 x 1000 in torch after a NumPy product",
        numpy_product,
        front(256, 1000),
        *_MEANT,
        name=FRONT,
    ),
    *(
        _beside(
            f"{rows} x {classes} after a {word} product",
            partner,
            cross_entropy(rows, classes),
            *_held(ALONE),
            alone=True,
        )
        for word, partner in (("NumPy", numpy_product), ("torch", torch_product))
        for rows, classes in ((1024, 4000), (2048, 8000))
    ),
    _product_after(256, 1000),
    _product_after(1024, 4000),
    _numpy_step(256, 256, 100),
    _numpy_step(512, 512, 1000),
    _numpy_step(1024, 256, 4000),
)
