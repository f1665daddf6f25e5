"""float16 and bfloat16: every bit pattern read, every kind of number rounded to the nearest.

The losses are chosen so that a number passes through unchanged: the log-sum-exp of one class is
its logit, nll_loss multiplies one number by weights, and a target whose entries sum to 0 is, but
for the sign, the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fusedloss as fl
from cases import Case, Options
from checks import assert_quantity, assert_same_bits, eps, softmax_ulps, stored, ulp
from fusedloss import _core
from parts import Array
from reference import class_axis, evaluate

SHORT = ("float16", "bfloat16")

#: (N, C) rows in lanes, rows by themselves, and positions behind the classes, of two classes or so
#: many; the numbers lie at one class of each position.
LAYOUTS: dict[str, Callable[[int], tuple[int, ...]]] = {
    "short_rows": lambda n: (n, 2),
    "rows": lambda n: (n, 131),
    "columns": lambda n: (1, 2, n),
    "many_columns": lambda n: (2, 33, n // 2),
}


@pytest.fixture(params=SHORT)
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    return np.dtype(request.param)


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS.keys())
def shape_of(request: pytest.FixtureRequest) -> Callable[[int], tuple[int, ...]]:
    return request.param  # type: ignore[no-any-return]


def every_pattern(dtype: np.dtype[Any]) -> Array:
    """All 65536 numbers of a type, in no order, the NaNs among them."""
    patterns = np.random.default_rng(0).permutation(2**16)
    return patterns.astype(np.uint16).view(dtype)


def around_every_tie(dtype: np.dtype[Any]) -> Array:
    """float32 numbers: the middle of any two neighbours of a type, and those beside it.

    The last middle lies halfway to the first number that is too large.
    """
    bits = np.arange(ml_dtypes.finfo(dtype).max.view(np.uint16) + 1, dtype=np.uint16)
    lower = bits.view(dtype).astype(np.float64)
    middle = (lower + np.append(lower[1:], 2 * lower[-1] - lower[-2])) / 2
    tie = middle.astype(np.float32)
    np.testing.assert_array_equal(tie, middle)  # float32 holds them all
    down, up = (np.nextafter(tie, np.float32(end)) for end in (0, np.inf))
    numbers = np.concatenate([down, tie, up, lower.astype(np.float32)])
    numbers = numbers[np.isfinite(numbers)]
    return np.concatenate([numbers, -numbers, np.float32([np.inf, -np.inf, np.nan])])


def sampled(numbers: Array, count: int) -> Array:
    """An even count of them, the ends included."""
    return numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers) // 2 * 2)).astype(int)]


def placed(
    numbers: Array, shape: tuple[int, ...], others: float, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """An array with one number per position, at classes that walk; and those classes."""
    axis = class_axis(len(shape))
    classes = np.arange(numbers.size) * 7 % shape[axis]
    rows = shape[:axis] + shape[axis + 1 :]
    array = np.full(shape, others, dtype)
    where = np.expand_dims(classes.reshape(rows), axis)
    np.put_along_axis(array, where, np.expand_dims(numbers.reshape(rows), axis), axis)
    return array, classes.reshape(rows)


# ---- Read --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
def test_logits_are_read_exactly(
    shape_of: Callable[[int], tuple[int, ...]], dtype: np.dtype[Any]
) -> None:
    """log(exp(x) + 0): the number itself, as float32; its zero has no sign."""
    numbers = every_pattern(dtype)
    shape = shape_of(numbers.size)
    logits, target = placed(numbers, shape, -np.inf, dtype)
    _, arrays = fl.cross_entropy(logits, target, outputs=("lse",), reduction="sum")
    exact = numbers.astype(np.float32)
    np.testing.assert_array_equal(arrays["lse"].ravel(), exact)
    value = fl.logsumexp(logits, axis=1)
    assert value.dtype == dtype
    np.testing.assert_array_equal(value.ravel().astype(np.float32), exact)


@pytest.mark.usefixtures("isa")
def test_log_probs_are_read_and_losses_written_exactly(
    shape_of: Callable[[int], tuple[int, ...]], dtype: np.dtype[Any]
) -> None:
    numbers = every_pattern(dtype)
    log_probs, target = placed(numbers, shape_of(numbers.size), np.nan, dtype)
    loss = fl.nll_loss(log_probs, target, reduction="none")
    assert loss.dtype == dtype
    assert_same_bits(loss.ravel(), -numbers)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("computed", ["float32", "float64", "float16", "bfloat16"])
def test_weights_and_targets_are_read_exactly(
    shape_of: Callable[[int], tuple[int, ...]], dtype: np.dtype[Any], computed: str
) -> None:
    """Sample weights, grad_output and probability targets of 16 bits beside any logits."""
    numbers = sampled(every_pattern(dtype), 4096)
    numbers[~np.isfinite(numbers.astype(np.float32))] = 1
    shape = shape_of(numbers.size)
    exact = numbers.astype(np.float64)
    with np.errstate(over="ignore"):
        expected = exact.astype(computed)
    target, classes = placed(numbers, shape, 0, dtype)
    rows = numbers.reshape(classes.shape)
    log_probs = np.full(shape, -1, computed)
    options: dict[str, Any] = {"reduction": "none"}
    loss = fl.nll_loss(log_probs, classes, sample_weight=rows, **options)
    np.testing.assert_array_equal(loss.ravel(), expected)
    _, gradient = fl.value_and_grad(fl.nll_loss)(log_probs, classes, grad_output=rows, **options)
    index = np.expand_dims(classes, 1)
    np.testing.assert_array_equal(np.take_along_axis(gradient, index, 1).ravel(), -expected)
    # a target of x and -x: nothing but its negative is left of the gradient
    other = np.expand_dims((classes + 1) % shape[1], 1)
    np.put_along_axis(target, other, np.expand_dims(-rows, 1), 1)
    _, gradient = fl.value_and_grad(fl.cross_entropy)(
        np.zeros(shape, computed), target, reduction="sum"
    )
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(gradient, -target.astype(np.float64).astype(computed))


# ---- Written -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
def test_gradients_are_rounded_to_the_nearest(
    shape_of: Callable[[int], tuple[int, ...]], dtype: np.dtype[Any]
) -> None:
    """Ties to even, subnormals kept, infinity from half a unit beyond the largest number on."""
    numbers = around_every_tie(dtype)
    numbers = numbers[np.isfinite(numbers)]
    few = shape_of(2)[1] > 2
    numbers = sampled(numbers, 8192) if few else sampled(numbers, numbers.size)
    shape = shape_of(numbers.size)
    target, classes = placed(numbers, shape, 0, np.dtype(np.float32))
    other = np.expand_dims((classes + 1) % shape[1], 1)
    np.put_along_axis(target, other, np.expand_dims(-numbers.reshape(classes.shape), 1), 1)
    _, gradient = fl.value_and_grad(fl.cross_entropy)(
        np.zeros(shape, dtype), target, reduction="sum"
    )
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(gradient, (-target).astype(dtype))


@pytest.mark.usefixtures("isa")
def test_losses_are_rounded_to_the_nearest(
    shape_of: Callable[[int], tuple[int, ...]], dtype: np.dtype[Any]
) -> None:
    numbers = around_every_tie(dtype)
    few = shape_of(2)[1] > 2
    numbers = sampled(numbers, 8192) if few else sampled(numbers, numbers.size)
    log_probs, target = placed(np.full(numbers.shape, -1, dtype), shape_of(numbers.size), 0, dtype)
    weight = numbers.reshape(target.shape)
    options: dict[str, Any] = {"sample_weight": weight, "reduction": "none"}
    loss, gradient = fl.value_and_grad(fl.nll_loss)(log_probs, target, **options)
    with np.errstate(over="ignore"):
        expected = numbers.astype(dtype).astype(float)
    np.testing.assert_array_equal(loss.ravel().astype(float), expected)
    chosen = np.take_along_axis(gradient, np.expand_dims(target, 1), 1)
    np.testing.assert_array_equal(chosen.ravel().astype(float), -expected)


def test_reduced_losses_are_not_rounded(isa: str, dtype: np.dtype[Any]) -> None:
    """A mean is a double: 1/3 of a float16 sum keeps its digits."""
    log_probs = np.full((3, 2), -1, dtype)
    for shape in ((3, 2), (1, 2, 3)):
        weight = np.array([1, 2, 4], dtype).reshape(shape[:1] + shape[2:])
        x = log_probs.reshape(shape).copy()
        x[0, 0] = -1.5
        target = np.zeros(weight.shape, int)
        value = fl.nll_loss(x, target, sample_weight=weight)
        exact = (x[:, 0] * -weight).astype(float).sum() / 7
        assert value == exact


# ---- Computed in between -----------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("classes", [1, 2, 3, 5, 7, 8, 15, 17, 33, 63, 65, 127, 129, 1001, 4099])
def test_arithmetic_is_that_of_float32(
    classes: int, dtype: np.dtype[Any], rng: np.random.Generator
) -> None:
    """A result is the float32 result's nearest number, or its neighbour where that is near a tie.

    Sums of thousands of terms are what 16-bit arithmetic could not do.
    """
    for shape in ((5, classes), (2, classes, 7), (classes,)):
        axis = class_axis(len(shape))
        logits = (rng.normal(size=shape) * 2).astype(dtype)
        target = np.asarray(rng.integers(0, classes, size=shape[:axis] + shape[axis + 1 :]))
        grad = fl.value_and_grad(fl.cross_entropy)
        value, gradient = grad(logits, target, reduction="none")
        wide, wide_gradient = grad(logits.astype(np.float32), target, reduction="none")
        for short, full in ((value, wide), (gradient, wide_gradient)):
            difference = np.abs(short.astype(np.float64) - full)
            # half a unit of 16 bits, and what two float32 results may differ by
            allowed = ulp(full, dtype) / 2 + 16 * eps("float32") * np.abs(full)
            assert np.all(difference <= allowed)
        reduced = grad(logits, target)[0]
        np.testing.assert_allclose(
            reduced, grad(logits.astype(np.float32), target)[0], rtol=8 * eps("float32"), atol=1e-9
        )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(9, 10), (3, 257), (2, 10, 7)], ids=str)
def test_small_gradients_of_a_mean_are_subnormal(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Not flushed where float32 still has them: float16's smallest is 6e-8."""
    logits, target, options = Case(shape, Options(weight=True)).build(dtype)
    for factor in (1e-4, 3e-6):
        gradient = fl.value_and_grad(fl.cross_entropy)(
            logits, target, grad_output=factor, **options
        )[1]
        truth = evaluate("cross_entropy", logits, target, grad_output=factor, **options)
        assert_quantity(gradient, truth.gradient, dtype, softmax_ulps(shape[1]))
        assert np.any(
            (gradient != 0) & (np.abs(gradient) < float(ml_dtypes.finfo(dtype).tiny))
        ) or (
            dtype == "bfloat16"  # whose range is float32's
        )


def test_losses_beyond_the_largest_number(isa: str) -> None:
    """The loss of one row may exceed float16; the mean, a double, holds it."""
    for shape in ((2, 3), (2, 300), (1, 3, 2)):
        logits = np.full(shape, 6e4, "float16")
        np.moveaxis(logits, 1, 0)[1] = -6e4
        target = np.ones((shape[0], *shape[2:]), int)
        value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, reduction="none")
        assert np.all(value == np.inf)
        assert np.all(gradient[:, 1] == -1)
        exact = 2 * float(logits.max())
        np.testing.assert_allclose(
            fl.cross_entropy(logits, target), exact + np.log(shape[1] - 1), rtol=eps("float32")
        )
        assert np.all(stored(np.array([exact]), "float16") == np.inf)


# ---- Where arrays lie --------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(37, 3), (5, 65), (3, 131), (2, 4099), (2, 9, 35)], ids=str)
def test_any_start_within_a_cache_line(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Rows of odd length start anywhere; nothing beside the gradient is written."""
    logits, target, options = Case(shape, Options(ignore="default")).build(dtype)
    grad = fl.value_and_grad(fl.cross_entropy)
    expected = grad(logits, target, **options)
    canary = dtype.type(-7)
    for start in range(0, 33):
        memory = np.full(logits.size + 128, canary, dtype)
        first = -memory.ctypes.data % 64 // 2 + start
        out = memory[first : first + logits.size].reshape(shape)
        source = np.empty(logits.size + 128, dtype)
        first_read = -source.ctypes.data % 64 // 2 + 32 - start
        z = source[first_read : first_read + logits.size].reshape(shape)
        z[...] = logits
        value, gradient = grad(z, target, out=out, **options)
        assert value == expected[0]
        assert_same_bits(gradient, expected[1])
        assert np.all(memory[:first] == canary)
        assert np.all(memory[first + logits.size :] == canary)


def test_bfloat16_is_told_from_uint16(dtype: np.dtype[Any]) -> None:
    """A view of the bits is no prediction."""
    with pytest.raises(TypeError, match="uint16"):
        fl.cross_entropy(np.zeros((2, 3), dtype).view(np.uint16), [0, 1])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(9, 10), (3, 257), (2, 10, 7)], ids=str)
@pytest.mark.parametrize("probabilities", [False, True])
def test_fronts_may_hand_over_the_bits(
    shape: tuple[int, ...], probabilities: bool, rng: np.random.Generator
) -> None:
    """Without ml_dtypes bfloat16 is passed, and returned, as uint16."""
    bfloat16 = np.dtype("bfloat16")
    rows = (shape[0], *shape[2:])
    logits = rng.normal(size=shape).astype(bfloat16)
    target: Array = rng.integers(0, 10, size=rows)
    if probabilities:
        target = rng.uniform(size=shape).astype(bfloat16)
    v, g = (rng.uniform(size=rows).astype(bfloat16) for _ in range(2))
    expected = fl.value_and_grad(fl.cross_entropy)(
        logits, target, sample_weight=v, grad_output=g, reduction="none", label_smoothing=0.1
    )
    out = np.zeros(shape, np.uint16)
    bits = [x.view(np.uint16) if x.dtype == bfloat16 else x for x in (logits, target, v, g)]
    call = _core.SoftmaxCall(
        *(_core.CROSS_ENTROPY, bits[0], bits[1]),
        sample_weight=bits[2],
        label_smoothing=0.1,
        reduction="none",
        axis=1,
    )
    value, gradient = _core.softmax_plain(call, True, bits[3], out, False, True)
    assert gradient is out
    assert value.dtype == np.uint16
    assert_same_bits(value, expected[0].view(np.uint16))
    assert_same_bits(gradient, expected[1].view(np.uint16))
    # without the word they are what they look like
    assert _core.softmax_plain(call._replace(sample_weight=None)) is None
