"""nll_loss: it reads one number per position, and uses it as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import INTEGER_DTYPES, LOGITS
from checks import DTYPES, assert_loss_right, assert_same_bits, assert_within, eps
from parts import Array
from reference import class_axis

SHAPES: tuple[tuple[int, ...], ...] = (
    (3,),
    (0, 3),
    (65, 10),
    (7, 129),
    (2, 5003),
    (4, 3, 17),
    (2, 200, 3),
    (2, 3, 0),
    (1, 5, 9, 33),
)

GRAD = fl.value_and_grad(fl.nll_loss)


def positions_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    axis = class_axis(len(shape))
    return shape[:axis] + shape[axis + 1 :]


def labels(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    rows = positions_of(shape)
    target = np.asarray(rng.integers(0, shape[class_axis(len(shape))], size=rows))
    return np.where(rng.random(rows) < 0.3, -100, target) if rows else target


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_gradient(
    shape: tuple[int, ...], weighted: bool, dtype: str, rng: np.random.Generator
) -> None:
    """Of any numbers: they need be no logarithms of probabilities."""
    log_probs = LOGITS["wide"](shape, rng).astype(dtype)
    target, rows = labels(shape, rng), positions_of(shape)
    options: dict[str, Any] = {}
    if weighted:
        classes = shape[class_axis(len(shape))]
        options["weight"] = rng.uniform(0.1, 2, size=classes).astype(dtype)
        options["sample_weight"] = np.asarray(rng.uniform(0.1, 2, size=rows)).astype(dtype)
        options["ignore_index"] = 1
        target = np.where(target == -100, 1, target)
    grad_output = rng.normal(size=rows)
    assert_loss_right(
        "nll_loss", log_probs, target, reduction="none", grad_output=grad_output, **options
    )
    for reduction in ("mean", "sum"):
        assert_loss_right("nll_loss", log_probs, target, reduction=reduction, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softmax_then_nll_is_cross_entropy(
    isa: str, dtype: str, rng: np.random.Generator
) -> None:
    for shape in ((65, 10), (7, 300), (3, 10, 17)):
        logits = rng.normal(size=shape).astype(dtype)
        target = labels(shape, rng)
        log_probs = fl.log_softmax(logits, axis=1)
        # log p of about 3, rounded once
        np.testing.assert_allclose(
            fl.nll_loss(log_probs, target), fl.cross_entropy(logits, target), rtol=8 * eps(dtype)
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_unweighted_values_are_exact(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        log_probs, target = rng.normal(size=shape).astype(dtype), labels(shape, rng)
        value, gradient = GRAD(log_probs, target, reduction="none")
        axis = class_axis(len(shape))
        index = np.expand_dims(np.maximum(target, 0), axis)
        chosen = np.take_along_axis(log_probs, index, axis).reshape(target.shape)
        assert_same_bits(value, np.where(target == -100, log_probs.dtype.type(0), -chosen))
        expected = np.zeros(shape, dtype)
        np.put_along_axis(expected, index, np.expand_dims(-1.0 * (target >= 0), axis), axis)
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4), (3, 200), (1, 4, 3)], ids=str)
def test_infinities_and_nan(shape: tuple[int, ...], dtype: str) -> None:
    """Only the target's number counts: the others may be anything."""
    log_probs = np.full(shape, np.nan, dtype)
    log_probs[:, 1] = -np.inf
    target = np.ones(positions_of(shape), int)
    value, gradient = GRAD(log_probs, target, reduction="none")
    assert np.all(value == np.inf)
    assert np.all(gradient[:, 1] == -1)
    assert np.all(np.delete(gradient, 1, axis=1) == 0)
    value, gradient = GRAD(log_probs, target + 1, reduction="none")
    assert np.all(np.isnan(value))
    assert np.all(np.isnan(gradient[:, 2]))
    value, gradient = GRAD(log_probs, target, ignore_index=1)
    assert np.isnan(value)
    assert np.all(gradient == 0)


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_every_integer_dtype(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape in ((65, 100), (2, 100, 33)):
        log_probs = rng.normal(size=shape).astype("float32")
        target = rng.integers(0, 100, size=positions_of(shape))
        expected = GRAD(log_probs, target)
        actual = GRAD(log_probs, target.astype(dtype))
        assert actual[0] == expected[0]
        assert_same_bits(actual[1], expected[1])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(50_001, 10), (1021, 300), (2, 21, 5003)], ids=str)
def test_same_bits_for_any_number_of_threads(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    log_probs, target = rng.normal(size=shape).astype(dtype), labels(shape, rng)
    weight = rng.uniform(0.1, 2, size=shape[1]).astype(dtype)
    results = set()
    for count in (1, 2, 3, 7):
        value, gradient = GRAD(log_probs, target, weight=weight, num_threads=count)
        assert fl.nll_loss(log_probs, target, weight=weight, num_threads=count) == value
        results.add((value, gradient.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_and_into_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        log_probs, target = rng.normal(size=shape).astype(dtype), labels(shape, rng)
        value, gradient = GRAD(log_probs, target)
        memory = np.full((*shape[:-1], 2 * shape[-1]), 7, dtype)
        assert_same_bits(GRAD(log_probs, target, out=memory[..., ::2])[1], gradient)
        assert np.all(memory[..., 1::2] == 7)
        in_place, same = GRAD(log_probs, target, out=log_probs)
        assert same is log_probs
        assert_same_bits(same, gradient)
        np.testing.assert_array_equal(in_place, value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    plain = rng.normal(size=(9, 6, 5)).astype(dtype)
    target = labels(plain.shape, rng)
    expected = GRAD(plain, target, reduction="none")
    for log_probs in (
        plain.copy(order="F"),
        plain[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        np.repeat(plain, 2, axis=1)[:, ::2],
        np.moveaxis(np.moveaxis(plain, 1, -1).copy(), -1, 1),
    ):
        value, gradient = GRAD(log_probs, target, reduction="none")
        assert_same_bits(value, expected[0])
        assert_same_bits(gradient, expected[1])


def test_large_batch_sums_in_double() -> None:
    log_probs = np.full((300_000, 2), -0.1, "float32")
    target = np.zeros(300_000, np.int8)
    exact = float(np.float32(0.1))
    # as many additions in double
    assert_within(np.float64(fl.nll_loss(log_probs, target)), np.float64(exact), 3e5 * 2**-52)
