"""Arrays so large that gradients are stored past the caches, or that 32-bit counts overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from checks import assert_same_bits, assert_within, compute_dtype, eps, storage_rounding
from parts import Array
from reference import cross_entropy

#: (shape, dtype) of 33 to 45 MB: long rows, rows of odd length, rows whose exponentials are not
#: kept, short rows, and the classes in front of the pixels.
LARGE = [
    ((257, 33_001), "float32"),
    ((60, 70_001), "float64"),
    ((90_001, 129), "float32"),
    ((900_001, 10), "float32"),
    ((2, 21, 457, 459), "float32"),
    ((3, 150, 101, 101), "float64"),
    ((257, 66_001), "bfloat16"),
    ((160_001, 129), "float16"),
    ((1_900_001, 10), "bfloat16"),
    ((2, 21, 657, 659), "float16"),
]


def uniform(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
    """Logits from 0 to 1."""
    wide = "float64" if dtype == "float64" else "float32"
    return rng.random(size=shape, dtype=wide).astype(dtype, copy=False)  # type: ignore[call-overload]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("shape", "dtype"), LARGE, ids=str)
def test_streamed_gradient_equals_the_gradient_in_place(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    """In place nothing is streamed: elsewhere the same bits, and the neighbours untouched."""
    logits = uniform(shape, dtype, rng)
    target = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
    grad = fl.value_and_grad(fl.cross_entropy)
    canary = -12288.0  # exact in every dtype
    memory = np.full(logits.size + 66, canary, dtype)
    out = memory[33:-33].reshape(shape)  # no multiple of a cache line
    value, gradient = grad(logits, target, reduction="sum", out=out)
    value_in_place, in_place = grad(logits, target, reduction="sum", out=logits)
    assert value == value_in_place
    assert_same_bits(gradient, in_place)
    assert np.all(memory[:33] == canary)
    assert np.all(memory[-33:] == canary)


@pytest.mark.parametrize("number", [4, 6])
@pytest.mark.parametrize(
    "name",
    [
        "cross_entropy",
        "focal_loss",
        "nll_loss",
        "categorical_cross_entropy",
        "soft_cross_entropy",
        "distillation_loss",
    ],
)
def test_other_losses_and_options_in_place(
    name: str, number: int, rng: np.random.Generator
) -> None:
    """What else is done to the logits on their way changes nothing of this."""
    shape, dtype = LARGE[number]
    probs = uniform(shape, dtype, rng)
    rows = (shape[0], *shape[2:])
    target = rng.integers(0, shape[1], size=rows)
    options: dict[str, Any] = {"sample_weight": uniform(rows, "float32", rng)}
    targets: tuple[Any, ...] = (target,)
    if name == "cross_entropy":
        options |= {"label_smoothing": 0.1, "softcap": 2.0, "z_loss": 0.1}
    elif name == "categorical_cross_entropy":
        options["axis"] = 1
    elif name == "soft_cross_entropy":
        targets = (probs.copy(),)
    elif name == "distillation_loss":
        targets = (probs.copy(), target)
    grad = fl.value_and_grad(getattr(fl, name))
    value, gradient = grad(probs, *targets, **options)
    value_in_place, in_place = grad(probs, *targets, out=probs, **options)
    assert value == value_in_place
    assert_same_bits(gradient, in_place)


@pytest.mark.parametrize(("shape", "dtype"), LARGE, ids=str)
def test_large_batch_against_the_formula(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    """The first, some middle and the last positions of a streamed gradient."""
    logits = uniform(shape, dtype, rng)
    target = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
    value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, reduction="none")
    last = tuple(n - 1 for n in target.shape)
    middle = [tuple(rng.integers(0, target.shape)) for _ in range(5)]
    for position in ((0,) * target.ndim, *middle, last):
        row = (position[0], slice(None), *position[1:])
        truth = cross_entropy(logits[row], target[position], dtype=np.longdouble)
        # logits within 1 of each other: a sum of C terms, an exp, a log, a division
        allowed = 16 * eps(compute_dtype(dtype))
        for actual, exact in ((value[position], truth.value), (gradient[row], truth.gradient)):
            rounded = storage_rounding(exact, dtype)
            assert_within(actual, exact, allowed * np.abs(exact) + rounded)


@pytest.mark.long
def test_more_than_two_to_the_31_elements() -> None:
    """Broadcast inputs take no memory: 2.2e9 logits, each row the same."""
    classes, count = 1000, 2_200_000
    row: Array = np.linspace(-1, 1, classes, dtype="float32")
    one = fl.cross_entropy(row[np.newaxis], [7])
    logits = np.broadcast_to(row, (count, classes))
    target = np.broadcast_to(np.int8(7), count)
    # equal rows: a mean is off by the double sum of 2e6 equal float32 numbers
    np.testing.assert_allclose(fl.cross_entropy(logits, target), one, rtol=1e-9)
    bad = np.full(count, 7, np.int16)
    bad[-1] = classes
    with pytest.raises(IndexError, match=rf"target\[{count - 1}\] is {classes}\b"):
        fl.cross_entropy(logits, bad)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("shape", [(600, 4099), (2, 21, 300, 301)], ids=["rows", "columns"])
def test_same_bits_wherever_the_gradient_lies(shape: tuple[int, ...], dtype: str) -> None:
    # Streamed lines start where the memory's do; neither the value nor the gradient may tell. In
    # float64 the sum of the losses rounds and so shows in which order it was taken.
    rng = np.random.default_rng(0)
    factor = 1 if dtype == "float64" else 4  # as many bytes
    shape = (factor * shape[0], *shape[1:])
    logits = rng.standard_normal(shape).astype(dtype)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    results = set()
    for shift in (0, 1, 2, 5, 7):
        memory = np.empty(logits.size + 64, dtype)
        first = -memory.ctypes.data % 64 // logits.itemsize + shift
        out = memory[first : first + logits.size].reshape(shape)
        value, _ = fl.value_and_grad(fl.cross_entropy)(logits, target, out=out)
        results.add((value, out.tobytes()))
    assert len(results) == 1
