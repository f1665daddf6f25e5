"""Calls where a program makes them: right after matrix products, boosters and estimators.

The company is that of ``fusedloss bench --family company``. The yardstick is the same call on one
thread in the same place; for long calls it is the time of the same threads with nothing before.
"""

from __future__ import annotations

from collections.abc import Callable
from time import sleep

import numpy as np
import torch

import fusedloss as fl
from comparisons import Comparison, Contenders
from fusedloss.cli import _plain_numpy
from fusedloss.cli._company import (
    ONE_THREAD,
    Call,
    Partner,
    cross_entropy,
    lightgbm_round,
    mse_loss,
    numpy_product,
    sklearn_loss,
    torch_product,
    xgboost_round,
)
from fusedloss.cli._contenders import FRONT, FUSEDLOSS, NUMPY
from fusedloss.cli._timing import After
from fusedloss.torch import functional
from targets import Target

ALONE = "alone"
PRODUCTS = "products"
#: Longer than any runtime lets its threads spin: OpenBLAS's do for a tenth of a second.
REST_SECONDS = 0.12

_value_and_grad = fl.value_and_grad(fl.cross_entropy)


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
