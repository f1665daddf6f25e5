"""What pointwise losses do with arrays: any shape, stride and dtype, broadcast, in place, threads.

One loop serves them all, so that a few losses stand for every kind of call: `KINDS`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import INTEGER_DTYPES
from checks import DTYPES, assert_rounded, assert_same_bits, assert_value, compute_dtype
from parts import Array
from pointwise_cases import CASES, LOSSES, Case, Shape
from test_pointwise import truth

#: A weighted mean; two operands; three; an option that is an array; one differentiable argument.
KINDS = tuple(
    case
    for case in CASES
    if str(case)
    in (
        "mse_loss",
        "kl_div",
        "gaussian_nll_loss",
        "binary_cross_entropy_with_logits-pos_weight_drawn",
        "hinge_embedding_loss",
    )
)

each_kind = pytest.mark.parametrize("case", KINDS, ids=str)

#: Sizes around vectors of 2 to 16 lanes, pairs of them, and blocks of 1024.
SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 1023, 1024, 1025, 5000)


def gradients_of(case: Case, arrays: list[Any], **options: Any) -> tuple[Any, tuple[Array, ...]]:
    function = fl.value_and_grad(getattr(fl, case.name), argnums=case.argnums)
    value, gradients = function(*arrays, **options)
    return value, gradients


def assert_right(case: Case, arrays: list[Array], **options: Any) -> None:
    """Value and gradients, for every reduction."""
    dtype = arrays[0].dtype.newbyteorder("=")
    for reduction in case.loss.reductions:
        expected = truth(case, arrays, reduction=reduction, **options)
        value, gradients = gradients_of(case, arrays, reduction=reduction, **options)
        assert_value(value, expected.value, dtype)
        for position, gradient, exact in zip(
            case.argnums, gradients, expected.gradients, strict=True
        ):
            assert gradient.shape == arrays[position].shape
            assert_rounded(gradient, exact, dtype)


def draw(case: Case, shape: Shape, dtype: str, rng: np.random.Generator) -> list[Array]:
    return case.draw(shape, dtype, rng)[0]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_every_size(case: Case, dtype: str, rng: np.random.Generator) -> None:
    for size in SIZES:
        arrays, options = case.draw((size,), dtype, rng)
        assert_right(case, arrays, **options)


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (4, 1, 6), (2,) * 10, (3, 0, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
@each_kind
def test_every_shape(case: Case, dtype: str, shape: Shape, rng: np.random.Generator) -> None:
    assert_right(case, draw(case, shape, dtype, rng))
    weight = np.asarray(rng.uniform(0.1, 2, size=shape)).astype(dtype)
    assert_right(case, draw(case, shape, dtype, rng), weight=weight)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@each_kind
def test_of_no_element(case: Case, reduction: str) -> None:
    arrays = [np.empty((0, 3)) for _ in case.formula.arguments]
    value, gradients = gradients_of(case, arrays, reduction=reduction)
    if reduction == "none":
        assert value.shape == (0, 3)
    else:
        assert value == 0 if reduction == "sum" else np.isnan(value)
    assert all(gradient.shape == (0, 3) for gradient in gradients)


# ---- Weights and broadcasting ------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_weights(name: str, dtype: str, rng: np.random.Generator) -> None:
    """Of every loss, as the mean's divisor is its own."""
    case = Case(name, LOSSES[name], LOSSES[name].options[0])
    arrays, options = case.draw((9, 40), dtype, rng)
    weight = rng.uniform(0.1, 2, size=(9, 40)).astype(dtype)
    weight[2:4] = 0
    assert_right(case, arrays, weight=weight, **options)


@each_kind
def test_weights_of_zero(case: Case, rng: np.random.Generator) -> None:
    """Their sum divides a weighted mean: nan then, and no gradient; 0 of the others."""
    arrays = draw(case, (7,), "float32", rng)
    value, gradients = gradients_of(case, arrays, weight=np.zeros(7))
    assert np.isnan(value) if case.formula.weighted_mean else value == 0
    for gradient in gradients:
        assert np.all(gradient == 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    ("first", "other", "weight"),
    [
        ((4, 5, 6), (6,), (5, 1)),
        ((4, 5, 6), (5, 1), ()),
        ((4, 5, 6), (), (4, 1, 1)),
        ((4, 5, 6), (4, 1, 6), (4, 5, 6)),
        ((6,), (4, 5, 6), (6,)),
        ((5, 1), (4, 1, 6), (1, 1, 1)),
        ((), (3, 4), (4,)),
    ],
    ids=str,
)
@each_kind
def test_broadcasting(
    case: Case, first: Shape, other: Shape, weight: Shape, dtype: str, rng: np.random.Generator
) -> None:
    """Of every argument against every other; gradients have the arguments' own shapes."""
    arrays = draw(case, other, dtype, rng)
    arrays[0] = draw(case, first, dtype, rng)[0]
    weights = np.asarray(rng.uniform(0.1, 2, size=weight)).astype(dtype)
    assert_right(case, arrays, weight=weights)


def test_infinite_gradients_of_what_is_broadcast_have_no_sum() -> None:
    """NaN, as the mean of inf and -inf is, and no warning of NumPy's."""
    target = np.array([np.inf, -np.inf])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, gradient = fl.value_and_grad(fl.mse_loss)(np.zeros(1), target)
        _, by_row = fl.value_and_grad(fl.triplet_margin_loss)(
            *(np.full((n, 2), x) for n, x in ((1, 0.0), (2, np.inf), (2, 0.0)))
        )
    assert np.isnan(gradient).all()
    assert by_row.shape == (1, 2)


# ---- Dtypes ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target_dtype", [*INTEGER_DTYPES, "bool", *DTYPES])
def test_targets_of_every_dtype(target_dtype: str, dtype: str, rng: np.random.Generator) -> None:
    """They mean what the same numbers of the prediction's dtype mean."""
    prediction = rng.normal(size=(40, 3)).astype(dtype)
    target = rng.integers(0, 2, size=(40, 3))
    for function in (fl.mse_loss, fl.binary_cross_entropy_with_logits):
        grad = fl.value_and_grad(function)
        expected = grad(prediction, target.astype(dtype), reduction="none")
        actual = grad(prediction, target.astype(target_dtype), reduction="none")
        assert_same_bits(actual[0], expected[0])
        assert_same_bits(actual[1], expected[1])


@pytest.mark.parametrize("target_dtype", ["float32", "float64", "longdouble"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_that_the_prediction_s_dtype_cannot_hold(
    dtype: str, target_dtype: str, rng: np.random.Generator
) -> None:
    """They are rounded to the type that computes, not to that of the prediction."""
    prediction = rng.normal(size=500).astype(dtype)
    target = rng.normal(size=500).astype(target_dtype)
    expected = fl.mse_loss(
        prediction.astype(compute_dtype(dtype)),
        target.astype(compute_dtype(dtype)),
        reduction="sum",
    )
    assert fl.mse_loss(prediction, target, reduction="sum") == expected


def test_large_integers_are_converted_once() -> None:
    target = np.array([2**53 + 1, -(2**62), 2**31 - 1])
    value = fl.l1_loss(np.zeros(3), target, reduction="none")
    assert_same_bits(value, np.abs(target.astype(np.float64)))


@pytest.mark.parametrize("weight_dtype", [*DTYPES, "int32", "bool"])
def test_weights_of_every_dtype(weight_dtype: str, rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 33)).astype("float32")
    weight = rng.integers(0, 2, size=33)
    expected = fl.mse_loss(prediction, target, weight=weight.astype("float32"))
    assert fl.mse_loss(prediction, target, weight=weight.astype(weight_dtype)) == expected


def test_gradients_by_integers_have_the_prediction_s_dtype(rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=8).astype("float16"), np.arange(8)
    _, gradient = fl.value_and_grad(fl.mse_loss, argnums=1)(prediction, target)
    assert gradient.dtype == "float16"


# ---- Strides -----------------------------------------------------------------------------------


def odd_copies(x: Array) -> list[Array]:
    """The same numbers, laid out in every way."""
    gapped = np.repeat(x, 2, axis=-1)[..., ::2]
    backwards = x[::-1, ::-1].copy()[::-1, ::-1]
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    swapped = x.astype(x.dtype.newbyteorder("S")) if x.dtype.kind == "f" else x.copy()
    return [x.copy(order="F"), gapped, backwards, raw, read_only, swapped]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_strides(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """Nothing but the memory differs: not the bits of the results."""
    arrays = draw(case, (37, 29), dtype, rng)
    weight = rng.uniform(0.1, 2, size=(37, 29)).astype(dtype)
    value, gradients = gradients_of(case, arrays, weight=weight, reduction="none")
    layouts = zip(*map(odd_copies, [*arrays, weight]), strict=True)
    for *given, odd_weight in layouts:
        actual = gradients_of(case, given, weight=odd_weight, reduction="none")
        assert_same_bits(actual[0], value)
        for left, right in zip(actual[1], gradients, strict=True):
            assert_same_bits(left, right)


@each_kind
def test_memory_that_several_elements_share(case: Case, rng: np.random.Generator) -> None:
    row = draw(case, (29,), "float32", rng)
    arrays = [np.broadcast_to(x, (37, 29)) for x in row]
    value, gradients = gradients_of(case, arrays, reduction="none")
    expected = gradients_of(case, [x.copy() for x in arrays], reduction="none")
    assert_same_bits(value, expected[0])
    for left, right in zip(gradients, expected[1], strict=True):
        assert_same_bits(left, right)


def test_lists_and_numbers() -> None:
    assert fl.mse_loss([[1.0], [1.0]], [[0], [1]]) == 0.5
    value, gradient = fl.value_and_grad(fl.mse_loss)(3.0, 1)
    assert (value, gradient.shape, float(gradient)) == (4.0, (), 4.0)


# ---- Outputs -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_in_place(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """Every gradient over its own argument, at once."""
    for shape in ((1025,), (37, 29)):
        arrays = draw(case, shape, dtype, rng)
        value, gradients = gradients_of(case, arrays, reduction="none")
        outs = tuple(arrays[position] for position in case.argnums)
        in_place, same = gradients_of(case, arrays, reduction="none", out=outs)
        assert_same_bits(in_place, value)
        for out, actual, expected in zip(outs, same, gradients, strict=True):
            assert actual is out
            assert_same_bits(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_into_any_memory(case: Case, dtype: str, rng: np.random.Generator) -> None:
    arrays = draw(case, (37, 29), dtype, rng)
    function = fl.value_and_grad(getattr(fl, case.name))
    value, gradient = function(*arrays)
    gapped = np.full((37, 58), 7, dtype)
    for out in (
        np.empty((37, 29), dtype),
        np.empty((29, 37), dtype).T,
        np.empty((37, 29), dtype)[::-1, ::-1],
        gapped[:, ::2],
    ):
        again, same = function(*arrays, out=out)
        assert same is out
        assert again == value
        assert_same_bits(out, gradient)
    assert np.all(gapped[:, 1::2] == 7)


@each_kind
def test_some_outputs(case: Case, rng: np.random.Generator) -> None:
    """None in the tuple of outputs stands for a new array."""
    arrays = draw(case, (40,), "float32", rng)
    _, gradients = gradients_of(case, arrays)
    outs = tuple(None if k else np.empty(40, "float32") for k in range(len(case.argnums)))
    _, actual = gradients_of(case, arrays, out=outs)
    assert actual[0] is outs[0]
    for left, right in zip(actual, gradients, strict=True):
        assert_same_bits(left, right)


@each_kind
def test_inputs_are_not_written(case: Case, rng: np.random.Generator) -> None:
    arrays = draw(case, (40,), "float64", rng)
    before = [x.copy() for x in arrays]
    gradients_of(case, arrays)
    for x, copy in zip(arrays, before, strict=True):
        assert_same_bits(x, copy)


# ---- Threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(300_007,), (611, 503)], ids=str)
@each_kind
def test_same_bits_for_any_number_of_threads(
    case: Case, shape: Shape, dtype: str, rng: np.random.Generator
) -> None:
    arrays, options = case.draw(shape, dtype, rng)
    options["weight"] = rng.uniform(0.1, 2, size=shape[-1]).astype(dtype)
    results = set()
    for count in (1, 2, 3, 7):
        value, gradients = gradients_of(case, arrays, num_threads=count, **options)
        assert getattr(fl, case.name)(*arrays, num_threads=count, **options) == pytest.approx(
            value,
            rel=1e-6,  # the value alone may be compiled into other operations
        )
        results.add((value, *(gradient.tobytes() for gradient in gradients)))
        if case.loss.hessian:
            both = fl.grad_and_hess(getattr(fl, case.name))(*arrays, num_threads=count, **options)
            results.add(tuple(x.tobytes() for x in both))
    assert len(results) == 1 + case.loss.hessian
