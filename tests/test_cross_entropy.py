"""cross_entropy's value and gradient against the formula, for every size, option and path."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

import fusedloss as fl
from cases import CASES, INTEGER_DTYPES, SMALL_CASES, Case
from checks import (
    DTYPES,
    assert_cross_entropy_right,
    assert_within,
    eps,
    expected_cross_entropy,
    ulp,
)
from conftest import ISAS, instruction_set
from parts import Array
from reference import class_axis, cross_entropy

WORKED_LOGITS = [
    [0.8, 0.5, 0.2, 0.5],
    [0.2, 0.9, 0.3, 0.2],
    [0.4, 0.3, 0.7, 0.1],
    [0.1, 0.2, 0.4, 0.8],
]


@pytest.mark.parametrize("dtype", ["16-bit", "float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """With every instruction set, against a truth that is computed once."""
    if dtype == "16-bit":  # by turns
        dtype = ("float16", "bfloat16")[CASES.index(case) % 2]
    logits, target, options = case.build(dtype)
    axis = class_axis(logits.ndim)
    rows = tuple(np.delete(logits.shape, axis))
    reduction = ("mean", "sum")[CASES.index(case) % 2]
    for given in (
        {"reduction": "none", "grad_output": rng.normal(size=rows)},
        {"reduction": reduction, "grad_output": -2.5},
    ):
        call = {**options, **given}
        expected = expected_cross_entropy(logits, target, **call)
        for isa in ISAS:
            with instruction_set(isa):
                assert_cross_entropy_right(logits, target, expected=expected, **call)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("one_hot", [False, True], ids=["index", "one_hot"])
def test_worked_values(isa: str, dtype: str, one_hot: bool) -> None:
    logits = np.array(WORKED_LOGITS, dtype)
    target = np.eye(4) if one_hot else np.arange(4)
    rows = fl.cross_entropy(logits, target, reduction="none")
    # the values are given with four and seven decimals
    np.testing.assert_allclose(rows, [1.1087, 0.9329, 1.0852, 0.9991], rtol=0, atol=5e-5)
    assert round(fl.cross_entropy(logits, target), 7) == 1.0314708


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
@pytest.mark.parametrize("byte_order", ["=", "S"])
def test_every_integer_dtype(
    isa: str, dtype: str, byte_order: Literal["=", "S"], rng: np.random.Generator
) -> None:
    logits = rng.normal(size=(65, 100)).astype("float32")
    labels = rng.integers(0, 100, size=65)
    labels[::7] = 99
    target = labels.astype(np.dtype(dtype).newbyteorder(byte_order))
    for ignore_index in (-100, 99):
        expected = fl.value_and_grad(fl.cross_entropy)(logits, labels, ignore_index=ignore_index)
        actual = fl.value_and_grad(fl.cross_entropy)(logits, target, ignore_index=ignore_index)
        assert actual[0] == expected[0]
        np.testing.assert_array_equal(actual[1], expected[1])
        np.testing.assert_allclose(
            actual[0],
            cross_entropy(logits, labels, ignore_index=ignore_index).value,
            rtol=1e-6,  # float32
        )


# ---- Confident rows ----------------------------------------------------------------------------

#: Units in the last place of the loss of a row whose target is certain but for 1e-12. The naive
#: formula gives 0 there. exp is good to 1 ULP, the sum of the others to 1, log1p to 1, and the
#: argument of exp is exact; the gradient divides once more.
CONFIDENT_ULPS = 8


def confident(shape: tuple[int, ...], gap: float, dtype: str) -> tuple[Array, Array]:
    """Logits of 0 but for the target's, which is ``gap``; targets spread over the classes."""
    axis = class_axis(len(shape))
    logits = np.zeros(shape, dtype)
    positions = tuple(np.delete(shape, axis))
    target = (np.arange(np.prod(positions, dtype=int)) * 7 % shape[axis]).reshape(positions)
    np.put_along_axis(logits, np.expand_dims(target, axis), gap, axis)
    return logits, target


@pytest.mark.parametrize(
    ("dtype", "gap"),
    [("float32", gap) for gap in (17, 30, 60, 80)] + [("float64", gap) for gap in (37, 300, 690)],
)
@pytest.mark.parametrize(
    "shape",
    [
        (2,),
        (9, 2),
        (5, 3),
        (33, 10),
        (3, 16),
        (3, 17),
        (2, 1000),
        (1, 5003),
        (2, 3, 33),
        (2, 100, 5),
    ],
    ids=str,
)
def test_confident_rows_keep_their_digits(
    isa: str, shape: tuple[int, ...], dtype: str, gap: float
) -> None:
    logits, target = confident(shape, gap, dtype)
    value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, reduction="none")
    truth = cross_entropy(logits, target, reduction="none", dtype=np.longdouble)
    assert np.all(truth.value < 1e-3)
    assert_within(value, truth.value, CONFIDENT_ULPS * ulp(truth.value, dtype))
    assert_within(gradient, truth.gradient, CONFIDENT_ULPS * ulp(truth.gradient, dtype))


def test_confident_mean_keeps_its_digits(isa: str) -> None:
    logits, target = confident((40, 10), 30, "float32")
    truth = cross_entropy(logits, target).value
    np.testing.assert_allclose(
        fl.cross_entropy(logits, target), truth, rtol=CONFIDENT_ULPS * 2**-23
    )


# ---- Reductions and options --------------------------------------------------------------------


@pytest.mark.parametrize("case", SMALL_CASES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_result_types(case: Case, dtype: str) -> None:
    logits, target, options = case.build(dtype)
    rows = fl.cross_entropy(logits, target, reduction="none", **options)
    assert type(rows) is np.ndarray
    assert rows.dtype == dtype
    assert rows.shape == tuple(np.delete(logits.shape, 1))
    assert rows.flags.writeable
    for reduction in ("mean", "sum"):
        assert type(fl.cross_entropy(logits, target, reduction=reduction, **options)) is float


@pytest.mark.parametrize("dtype", DTYPES)
def test_unbatched_none_is_zero_dimensional(dtype: str) -> None:
    logits = np.array([1, 2, 4], dtype)
    for target in (2, np.int64(2), np.array(2), np.array(2, "uint8"), np.array([0, 0, 1.0])):
        value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, reduction="none")
        assert isinstance(value, np.ndarray)
        assert (value.shape, value.dtype) == ((), dtype)
        assert (gradient.shape, gradient.dtype) == ((3,), dtype)
        # log(1 + e^-2 + e^-3), six decimals
        np.testing.assert_allclose(value.astype(float), 0.169846, rtol=eps(dtype), atol=5e-7)


def test_float32_sum_is_the_unrounded_double(isa: str, rng: np.random.Generator) -> None:
    """The reduced loss is a double: a float32 accumulator would lose the small rows."""
    logits = rng.normal(size=(20_000, 3)).astype("float32")
    logits[0] = [0, 3e7, 0]
    target = np.zeros(20_000, int)
    rows = fl.cross_entropy(logits, target, reduction="none").astype(float)
    total = fl.cross_entropy(logits, target, reduction="sum")
    # 1e-7 of the small rows' sum, which is below float32's spacing of 2 at 3e7
    np.testing.assert_allclose(total, rows.sum(), rtol=0, atol=1e-7 * rows[1:].sum())


def test_mean_divides_by_the_weights_of_the_rows_that_count() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]])
    weight = np.array([1.0, 3.0])
    rows = fl.cross_entropy(logits, [0, 1, -100], weight=weight, reduction="none")
    assert rows[2] == 0
    mean = fl.cross_entropy(logits, [0, 1, -100], weight=weight)
    np.testing.assert_allclose(mean, (rows[0] + rows[1]) / 4, rtol=1e-15)  # one division
    probabilities = np.eye(2)[[0, 1, 0]]
    rows = fl.cross_entropy(logits, probabilities, weight=weight, reduction="none")
    mean = fl.cross_entropy(logits, probabilities, weight=weight)
    np.testing.assert_allclose(mean, rows.sum() / 3, rtol=1e-15)


def test_ignore_index_may_be_a_valid_class(isa: str, rng: np.random.Generator) -> None:
    """The rows of that class are ignored; the class stays in the others' softmax."""
    logits = rng.normal(size=(50, 4)).astype("float32")
    target = np.arange(50) % 4
    value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, ignore_index=2)
    counted = target != 2
    assert np.all(gradient[~counted] == 0)
    assert np.all(gradient[counted, 2] > 0)
    expected, _ = fl.value_and_grad(fl.cross_entropy)(logits[counted], target[counted])
    np.testing.assert_allclose(value, expected, rtol=1e-6)  # float32, other places in the vectors


@pytest.mark.parametrize("weight_dtype", ["float16", "bfloat16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_of_any_float_dtype(dtype: str, weight_dtype: str, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(9, 4)).astype(dtype)
    weight = np.array([0.5, 1, 2, 0.25])  # exact in every float dtype
    expected = fl.cross_entropy(logits, np.arange(9) % 4, weight=weight.astype(dtype))
    actual = fl.cross_entropy(logits, np.arange(9) % 4, weight=weight.astype(weight_dtype))
    assert actual == expected


@pytest.mark.parametrize("target_dtype", [*DTYPES, ">f8"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(33, 10), (5, 300), (3, 10, 17)], ids=str)
def test_probability_target_of_any_float_dtype(
    isa: str, shape: tuple[int, ...], dtype: str, target_dtype: str, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=shape).astype(dtype)
    target = rng.integers(0, 9, size=shape) / 8  # exact in every float dtype
    grad = fl.value_and_grad(fl.cross_entropy)
    expected = grad(logits, target.astype(dtype), label_smoothing=0.1)
    value, gradient = grad(logits, target.astype(target_dtype), label_smoothing=0.1)
    assert value == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_grad_output_of_any_float_dtype(dtype: str, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(9, 4)).astype(dtype)
    target = np.arange(9) % 4
    grad = fl.value_and_grad(fl.cross_entropy)
    rows = np.arange(9) * 0.25 - 1  # exact in both
    _, plain = grad(logits, target, reduction="none", grad_output=rows.astype(dtype))
    for other in (rows.astype("float32"), rows.astype("float64"), rows.tolist()):
        _, gradient = grad(logits, target, reduction="none", grad_output=other)
        np.testing.assert_array_equal(gradient, plain)
    _, plain = grad(logits, target, grad_output=2)
    for scalar in (2.0, np.float32(2), np.array(2.0), np.array(2.0, "float32")):
        np.testing.assert_array_equal(grad(logits, target, grad_output=scalar)[1], plain)


def test_grad_output_defaults_to_ones(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(9, 4)), np.arange(9) % 4
    grad = fl.value_and_grad(fl.cross_entropy)
    for reduction, ones in (("none", np.ones(9)), ("mean", 1.0), ("sum", 1.0)):
        _, default = grad(logits, target, reduction=reduction)
        _, explicit = grad(logits, target, reduction=reduction, grad_output=ones)
        np.testing.assert_array_equal(default, explicit)


def test_options_are_what_they_say(rng: np.random.Generator) -> None:
    """Label smoothing mixes with the uniform distribution; a one-hot target is a class index."""
    logits, target = rng.normal(size=(9, 4)), np.arange(9) % 4
    one_hot = np.eye(4)[target]
    options: dict[str, Any] = {"reduction": "none"}
    index = fl.cross_entropy(logits, target, **options)
    uniform = fl.cross_entropy(logits, np.full((9, 4), 0.25), **options)
    mixed = fl.cross_entropy(logits, target, label_smoothing=0.2, **options)
    # a few roundings of float64
    np.testing.assert_allclose(fl.cross_entropy(logits, one_hot, **options), index, rtol=1e-14)
    np.testing.assert_allclose(mixed, 0.8 * index + 0.2 * uniform, rtol=1e-14)
