"""zero_one_loss: classes, integer or float, and scores of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from checks import DTYPES, assert_same_bits
from parts import Array

CLASSES = 7


def draw(rng: np.random.Generator, shape: tuple[int, ...] = (300, 11)) -> tuple[Array, Array]:
    """Classes, and others of which about half are the same."""
    target = rng.integers(0, CLASSES, size=shape)
    return np.where(rng.random(shape) < 0.5, target, rng.integers(0, CLASSES, size=shape)), target


def assert_shares(loss: Any, wrong: Array, weight: Array) -> None:
    """Every reduction of the losses of what is wrong; the sums are of small whole numbers."""
    assert loss(reduction="sum") == wrong.sum()
    assert loss() == wrong.sum() / wrong.size
    np.testing.assert_array_equal(loss(reduction="none"), wrong)
    assert loss(reduction="sum", weight=weight) == (wrong * weight).sum()
    assert loss(weight=weight) == (wrong * weight).sum() / wrong.size


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "uint8", "bool"])
@pytest.mark.parametrize("target_dtype", ["int64", "int8", "float32"])
def test_classes(dtype: str, target_dtype: str, rng: np.random.Generator) -> None:
    prediction, target = draw(rng)
    prediction = prediction.astype(dtype)
    wrong = prediction.astype("int64") != target

    def loss(**options: Any) -> Any:
        return fl.zero_one_loss(prediction, target.astype(target_dtype), **options)

    assert_shares(loss, wrong, rng.integers(0, 4, size=11))
    assert loss(reduction="none").dtype == (dtype if dtype in DTYPES else "float64")


def test_integers_are_compared_exactly() -> None:
    large = 2**53
    assert fl.zero_one_loss(np.array([large, large + 1]), np.array([large + 1] * 2)) == 0.5


def test_classes_that_broadcast() -> None:
    assert fl.zero_one_loss(np.array([[1], [2]]), np.array([1, 2, 1])) == 0.5
    assert fl.zero_one_loss(np.array([[1.0], [2.0]]), np.array([[1, 2, 1]])) == 0.5
    assert fl.zero_one_loss(3, 3) == 0.0


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(), (300,), (40, 3, 2)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scores(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """Their first maximum is the class: few different numbers, so that there are several."""
    axis = min(1, len(shape))
    scores = rng.integers(0, 3, size=(*shape[:1], CLASSES, *shape[1:])).astype(dtype)
    target = np.asarray(rng.integers(0, CLASSES, size=shape))
    wrong = np.asarray(np.argmax(scores.astype("float64"), axis=axis) != target)

    def loss(**options: Any) -> Any:
        return fl.zero_one_loss(scores, target, **options)

    assert_shares(loss, wrong, np.asarray(rng.integers(0, 4, size=shape)))
    assert loss(reduction="none").dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_zero(dtype: str, rng: np.random.Generator) -> None:
    scores = rng.normal(size=(5, 3)).astype(dtype)
    for target in (rng.integers(0, 3, size=5), rng.integers(0, 3, size=(5, 3))):
        out = np.ones((5, 3), dtype)
        value, gradient = fl.value_and_grad(fl.zero_one_loss)(scores, target, out=out)
        assert value == fl.zero_one_loss(scores, target)
        assert gradient is out
        assert_same_bits(gradient, np.zeros((5, 3), dtype))
        _, made = fl.value_and_grad(fl.zero_one_loss)(scores, target)
        assert_same_bits(made, gradient)


SCORES, TARGET = np.eye(3, dtype="float32"), np.arange(3)


@pytest.mark.parametrize("label", [3, -1, -100])
def test_label_out_of_range(label: int) -> None:
    """No label is ignored."""
    match = rf"^target\[1\] is {label}: out of range for 3 classes$"
    with pytest.raises(IndexError, match=match):
        fl.zero_one_loss(SCORES, np.array([0, label, 2]))


@pytest.mark.parametrize(
    ("error", "match", "arguments", "options"),
    [
        (TypeError, "prediction has dtype <U1: expected integers or", (["a"], ["a"]), {}),
        (TypeError, "prediction is None", (None, TARGET), {}),
        (TypeError, "target is None", (TARGET, None), {}),
        (TypeError, "target has dtype complex64", (TARGET, TARGET.astype("complex64")), {}),
        (ValueError, r"prediction \(3,\), target \(2,\)", (TARGET, TARGET[:2]), {}),
        (ValueError, r"target has shape \(2,\): expected \(3,\)", (SCORES, TARGET[:2]), {}),
        (ValueError, r"weight \(2,\)", (SCORES, TARGET), {"weight": np.ones(2)}),
        (ValueError, "reduction is 'max'", (SCORES, TARGET), {"reduction": "max"}),
    ],
)
def test_bad_arguments(error: type[Exception], match: str, arguments: Any, options: Any) -> None:
    with pytest.raises(error, match=match):
        fl.zero_one_loss(*arguments, **options)


def test_bad_arguments_of_the_gradient() -> None:
    grad = fl.value_and_grad(fl.zero_one_loss)
    with pytest.raises(ValueError, match=r"out has shape \(3,\): expected \(3, 3\)"):
        grad(SCORES, TARGET, out=np.empty(3, "float32"))
    with pytest.raises(ValueError, match=r"grad_output has shape \(2,\)"):
        grad(SCORES, TARGET, reduction="none", grad_output=np.ones(2))
