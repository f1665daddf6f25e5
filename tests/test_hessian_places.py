"""grad_and_hess: where its results go, and class targets that are floats."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from checks import assert_same_bits
from parts import Array

CROSS_ENTROPY = fl.grad_and_hess(fl.cross_entropy)
HUBER = fl.grad_and_hess(fl.huber_loss)

#: Short rows, rows walked in place, several blocks of them; whole vectors and not.
SHAPES = ((37, 3), (64, 8), (21, 130), (5, 3001))


def empty(like: Array, dtype: Any, order: Any) -> Array:
    return np.full(like.shape, 7, dtype, order=order)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_places_in_any_order(
    shape: tuple[int, int], dtype: str, order: Any, rng: np.random.Generator
) -> None:
    """The same bits as in new arrays; in float32 those rounded once."""
    logits = np.asarray(rng.normal(size=shape).astype(dtype), order=order)
    target = rng.integers(shape[1], size=shape[0])
    expected = CROSS_ENTROPY(logits, target)
    assert all(x.flags.f_contiguous == logits.flags.f_contiguous for x in expected)
    for orders in itertools.product("CF", repeat=2):
        out = tuple(empty(logits, dtype, x) for x in orders)
        made = CROSS_ENTROPY(logits, target, out=out)
        assert made[0] is out[0]
        assert made[1] is out[1]
        for x, y in zip(out, expected, strict=True):
            assert np.array_equal(x, y)
        out = tuple(empty(logits, "float32", x) for x in orders)
        CROSS_ENTROPY(logits, target, out=out)
        for x, y in zip(out, expected, strict=True):
            assert np.array_equal(x.astype(dtype) if dtype == "float16" else x, y.astype(x.dtype))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 9, 1024, 5003])
def test_places_of_pointwise_losses(size: int, dtype: str, rng: np.random.Generator) -> None:
    x, t, w = (rng.uniform(0.1, 3, size=size).astype(dtype) for _ in range(3))
    for options in ({}, {"weight": w}):
        expected = HUBER(x, t, **options)
        for stride, narrow in itertools.product((1, 2), ("float32", dtype)):
            out = tuple(np.empty(size * stride, kind)[::stride] for kind in (narrow, dtype))
            made = HUBER(x, t, out=out, **options)
            for place, y, z in zip(out, made, expected, strict=True):
                assert y is place
                assert np.array_equal(y, z.astype(y.dtype))


def test_large_results_are_the_small_ones(rng: np.random.Generator) -> None:
    """Of which gradients are written past the caches."""
    x, t = rng.normal(size=(2, 1_200_001))
    parts = [HUBER(x[i : i + 400_000], t[i : i + 400_000]) for i in range(0, len(x), 400_000)]
    for out in (None, tuple(np.empty(len(x), "float32") for _ in range(2))):
        for whole, pieces in zip(HUBER(x, t, out=out), zip(*parts, strict=True), strict=True):
            assert np.array_equal(whole, np.concatenate(pieces).astype(whole.dtype))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_place_of_two_and_in_place(shape: tuple[int, int], rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=shape), rng.integers(shape[1], size=shape[0])
    gradient, hessian = CROSS_ENTROPY(logits, target)
    place = np.empty(shape)
    made = CROSS_ENTROPY(logits, target, out=(None, place))
    assert made[1] is place
    assert_same_bits(made[0], gradient)
    assert_same_bits(place, hessian)
    made = CROSS_ENTROPY(logits, target, out=(logits, None))
    assert made[0] is logits
    assert_same_bits(logits, gradient)
    assert_same_bits(made[1], hessian)


def test_places_that_the_kernels_do_not_take(rng: np.random.Generator) -> None:
    """Arrays of more dimensions, misaligned memory, predictions that are broadcast."""
    logits, target = rng.normal(size=(4, 3)), rng.integers(3, size=4)
    expected = CROSS_ENTROPY(logits, target)
    odd = np.empty(12 * 4 + 1, np.uint8)[1:].view("float32").reshape(4, 3)
    CROSS_ENTROPY(logits, target, out=(odd, None))
    assert np.array_equal(odd, expected[0].astype("float32"))
    x, t = rng.normal(size=(3, 1)), rng.normal(size=(3, 5))
    gradient, hessian = HUBER(x, t)
    assert gradient.shape == hessian.shape == x.shape  # of the sum of all losses
    full = HUBER(np.broadcast_to(x, t.shape), t)
    np.testing.assert_allclose(hessian[:, 0], full[1].sum(1), rtol=1e-15)
    out = np.empty((3, 1), "float32"), np.empty((3, 1))
    HUBER(x, t, out=out)
    assert np.array_equal(out[0], gradient.astype("float32"))
    assert np.array_equal(out[1], hessian)
    deep = rng.normal(size=(2, 1) * 5)
    places = np.empty_like(deep), np.empty_like(deep, "float32")
    HUBER(deep, 0.5, out=places)
    assert np.array_equal(places[0], HUBER(deep.ravel(), 0.5)[0].reshape(deep.shape))


Z, Y = np.zeros((4, 3)), np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: CROSS_ENTROPY(Z, Y, out=Z), ValueError, r"out is a ndarray: expected a tuple"),
        (lambda: CROSS_ENTROPY(Z, Y, out=(None,)), ValueError, r"out is a tuple: expected a t"),
        (lambda: CROSS_ENTROPY(Z, Y, out=(np.ones(3), None)), ValueError, r"out\[0\] has shape"),
        (lambda: CROSS_ENTROPY(Z, Y, out=(None, np.ones(3))), ValueError, r"out\[1\] has shape"),
        (
            lambda: CROSS_ENTROPY(Z, Y, out=(None, Z.astype("float16"))),
            TypeError,
            r"out\[1\] has dtype float16: expected float64, that of logits, or float32",
        ),
        (lambda: CROSS_ENTROPY(Z, Y, out=(None, Z)), ValueError, r"out\[1\] overlaps logits"),
        (lambda: CROSS_ENTROPY(Z, Y, out=(x := Z + 1, x)), ValueError, r"overlaps out\[0\]"),
        (lambda: HUBER(Z, Z + 1, out=(None, Z)), ValueError, r"out\[1\] overlaps input"),
        (lambda: HUBER(Z, Z, out=(Z.T, None)), ValueError, r"out\[0\] has shape"),
        (lambda: CROSS_ENTROPY(Z, Y, reduction="sum"), TypeError, "reduction is given"),
    ],
)
def test_wrong_places(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
    assert not Z.any()


# ---- Classes that are floats --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes_may_be_floats(dtype: str, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(20, 5))
    target = rng.integers(5, size=20)
    target[3] = -100  # is ignored as ever
    for loss in (fl.cross_entropy, fl.focal_loss):
        function = fl.grad_and_hess(loss)
        made = function(logits, target.astype(dtype))
        for x, y in zip(made, function(logits, target), strict=True):
            assert_same_bits(x, y)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: CROSS_ENTROPY(Z, Y + 0.5), ValueError, r"target\[0\] is 0.5: expected a whole"),
        (lambda: CROSS_ENTROPY(Z, [0, 1, np.nan, 2]), ValueError, r"target\[2\] is nan"),
        (lambda: CROSS_ENTROPY(Z, [0, 1e300, 0, 2]), ValueError, r"target\[1\] is 1e\+300"),
        (lambda: CROSS_ENTROPY(Z, [0.0, 3, 0, 2]), IndexError, r"target\[1\] is 3: out of range"),
        # only beside (N, C), and nowhere else
        (lambda: CROSS_ENTROPY(Z[0], 1.0), TypeError, "target has dtype float64"),
        (lambda: fl.cross_entropy(Z, Y * 1.0), TypeError, "target has dtype float64"),
        (
            lambda: fl.value_and_grad(fl.focal_loss)(Z, Y * 1.0),
            TypeError,
            "target has dtype float64",
        ),
    ],
)
def test_classes_that_are_none(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_variances_of_rows(rng: np.random.Generator) -> None:
    """One for each row, as torch takes them, with a Hessian too."""
    x, t, var = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.uniform(1, 2, size=4)
    function = fl.grad_and_hess(fl.gaussian_nll_loss)
    for found, expected in zip(function(x, t, var), function(x, t, var[:, None]), strict=True):
        assert np.array_equal(found, expected)
