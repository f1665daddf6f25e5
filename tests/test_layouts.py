"""Odd but valid memory: any strides, alignment, byte order, owner. Results do not depend on it.

Other strides may take another path through the kernels (classes in the vector's lanes, or
positions), so results are compared with the formula, not with the contiguous call's bits.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import Case, Options
from checks import DTYPES, assert_cross_entropy_right, assert_same_bits, eps
from parts import Array


def gapped(a: Array) -> Array:
    """Every second element of every axis of a larger array."""
    large = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
    view = large[(slice(None, None, 2),) * a.ndim + (...,)]
    view[...] = a
    return view


def reversed_axes(a: Array) -> Array:
    """Every axis walked backwards: negative strides."""
    flip = (slice(None, None, -1),) * a.ndim + (...,)
    return a[flip].copy()[flip]


def channels_last(a: Array) -> Array:
    """The class axis innermost in memory, as NHWC images have it."""
    if a.ndim < 2:
        return a.copy()
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1)


def padded(a: Array) -> Array:
    """Odd gaps after every axis: no two axes merge into one."""
    large = np.zeros(tuple(n + 3 for n in a.shape), a.dtype)
    view = large[(*(slice(1, n + 1) for n in a.shape), ...)]
    view[...] = a
    return view


def misaligned(a: Array) -> Array:
    """Elements at odd addresses."""
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    view = buffer[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned or a.itemsize == 1
    return view


def record_field(a: Array) -> Array:
    """A packed record's field: its first element aligned, its stride no multiple of an element."""
    records = np.zeros(a.shape, np.dtype([("field", a.dtype), ("end", "u2")]))
    records["field"] = a
    return np.asarray(records["field"])


def byte_swapped(a: Array) -> Array:
    """(bfloat16, which is no dtype of NumPy's own, has no swapped form.)"""
    return a.astype(a.dtype if a.dtype == "bfloat16" else a.dtype.newbyteorder("S"))


def read_only(a: Array) -> Array:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": lambda a: a.copy(order="F"),
    "gapped": gapped,
    "reversed": reversed_axes,
    "channels_last": channels_last,
    "padded": padded,
    "misaligned": misaligned,
    "record_field": record_field,
    "byte_swapped": byte_swapped,
    "byte_swapped_gapped": lambda a: gapped(byte_swapped(a)),
    "read_only": read_only,
}

CASES = (
    Case((33,)),
    Case((33,), Options("probability")),
    Case((65, 10), Options(weight=True, ignore="default", label_smoothing=0.1)),
    Case((5, 257), Options(weight=True)),
    Case((17, 10), Options("probability", weight=True), target_dtype="float32"),
    Case((3, 10, 17), Options(ignore="class")),
    Case((2, 5, 7, 9), Options(weight=True, label_smoothing=0.1), target_dtype="int32"),
    Case((2, 5, 7, 9), Options("probability"), target_dtype="float64"),
    Case((2, 33, 3, 2, 3), target_dtype="uint8"),
)


def same_values(left: Array, right: Array) -> None:
    np.testing.assert_array_equal(left, right)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("case", CASES, ids=str)
def test_inputs(
    case: Case, layout: Callable[[Array], Array], dtype: str, rng: np.random.Generator
) -> None:
    """Every input laid out oddly, alone and all together; none is written."""
    logits, target, options = case.build(dtype)
    axis = min(1, logits.ndim - 1)
    rows = tuple(np.delete(logits.shape, axis).tolist())
    grad_output = rng.normal(size=rows).astype(dtype)
    odd = {"logits": layout(logits), "target": layout(target), "grad_output": layout(grad_output)}
    if "weight" in options:
        odd["weight"] = layout(options["weight"])
    before = {name: a.copy() for name, a in odd.items()}
    plain = {"logits": logits, "target": target, "grad_output": grad_output, **options}
    for names in (*([name] for name in odd), list(odd)):
        arguments = {**plain, **{name: odd[name] for name in names}}
        assert_cross_entropy_right(
            arguments.pop("logits"), arguments.pop("target"), reduction="none", **arguments
        )
    for name, a in odd.items():
        same_values(a, before[name])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["fortran", "gapped", "reversed", "channels_last", "padded"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_out(case: Case, layout: str, dtype: str) -> None:
    """The gradient into memory with gaps, which stay as they were."""
    logits, target, options = case.build(dtype)
    canary = -12288.0  # exact in every float dtype
    out = LAYOUTS[layout](np.full(logits.shape, 1, dtype))
    owner = out if out.base is None else out.base
    owner.fill(canary)
    out[...] = 1
    canaries = int(np.sum(owner == canary))
    assert canaries == owner.size - out.size
    assert_cross_entropy_right(logits, target, out=out, **options)
    assert int(np.sum(owner == canary)) == canaries


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_helpers(
    isa: str, name: str, axis: int, layout: Callable[[Array], Array], rng: np.random.Generator
) -> None:
    for dtype in DTYPES:
        logits = rng.normal(size=(5, 17, 6)).astype(dtype)
        odd, function = layout(logits), getattr(fl, name)
        before = odd.copy()
        expected = function(logits, axis=axis)
        actual = function(odd, axis=axis)
        assert actual.dtype == dtype
        # exp and log along lanes or across, each about 1 ULP of values of about 3
        tolerance = 16 * eps(dtype)
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
        grad_output = rng.normal(size=expected.shape).astype(dtype)
        grad = fl.value_and_grad(function)
        _, expected = grad(logits, axis=axis, grad_output=grad_output)
        _, actual = grad(odd, axis=axis, grad_output=layout(grad_output))
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
        same_values(odd, before)


def test_broadcast_inputs(isa: str, rng: np.random.Generator) -> None:
    """Strides of zero: one row, one label, one weight or one grad_output for all."""
    for shape in ((9, 10), (4, 10, 17), (2, 3, 5, 7)):
        rows = (shape[0], *shape[2:])
        one_row = rng.normal(size=(1, shape[1], *(1 for _ in shape[2:]))).astype("float32")
        one_class = rng.normal(size=(shape[0], 1, *shape[2:])).astype("float32")
        labels = np.broadcast_to(np.int32(1), rows)
        for logits in (one_row, one_class, np.float32(0.5)):
            assert_cross_entropy_right(
                np.broadcast_to(logits, shape),
                labels,
                weight=np.broadcast_to(np.float32(0.5), shape[1]),
                reduction="none",
                grad_output=np.broadcast_to(np.float32(2), rows),
            )
        probabilities = np.broadcast_to(np.float32(1 / shape[1]), shape)
        assert_cross_entropy_right(np.broadcast_to(one_row, shape), probabilities)


def test_transposed_matrix(isa: str, rng: np.random.Generator) -> None:
    """(C, N) memory seen as (N, C), wide and narrow."""
    for classes, count in ((3, 1000), (1000, 3), (64, 64), (17, 1)):
        logits = rng.normal(size=(classes, count)).astype("float32").T
        target = rng.integers(0, classes, size=count)
        assert_cross_entropy_right(logits, target, out=np.empty_like(logits))
        assert_cross_entropy_right(logits, target, out=np.empty(logits.shape, "float32"))


def test_many_dimensions(isa: str, rng: np.random.Generator) -> None:
    """More axes than most losses see, none of which merge."""
    shape = (2, 3, 2, 1, 3, 2, 2, 3)
    logits = padded(rng.normal(size=shape).astype("float32"))
    target = padded(rng.integers(0, 3, size=(2, *shape[2:])))
    assert_cross_entropy_right(logits, target, reduction="none")
    permuted = np.ascontiguousarray(logits.transpose(7, 2, 5, 0, 4, 1, 3, 6))
    logits = permuted.transpose(np.argsort([7, 2, 5, 0, 4, 1, 3, 6]))
    assert_cross_entropy_right(logits, target, reduction="none")


def test_interleaved_with_out(isa: str, rng: np.random.Generator) -> None:
    """Logits and gradient take turns in one buffer: no element is shared, so it is no overlap."""
    buffer = rng.normal(size=(9, 20)).astype("float32")
    logits, out = buffer[:, ::2], buffer[:, 1::2]
    values = logits.copy()
    target = rng.integers(0, 10, size=9)
    assert_cross_entropy_right(logits, target, out=out)
    same_values(logits, values)


def test_memory_map(isa: str, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "logits.npy"
    values = rng.normal(size=(33, 10)).astype("float32")
    np.save(path, values)
    target = rng.integers(0, 10, size=33)
    assert_cross_entropy_right(np.load(path, mmap_mode="r"), target)
    writable = np.load(path, mmap_mode="r+")
    _, gradient = fl.value_and_grad(fl.cross_entropy)(writable, target, out=writable)
    assert gradient is writable
    expected = fl.value_and_grad(fl.cross_entropy)(values, target)[1]
    assert_same_bits(np.asarray(writable), expected)


# ---- What is no NumPy array --------------------------------------------------------------------


class ArrayInterface:
    """An array library's array: NumPy can see its memory, through no buffer."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.values


WRAPPERS: dict[str, Callable[[Array], Any]] = {
    "memoryview": lambda a: memoryview(a),
    "list": lambda a: a.tolist(),
    "__array__": ArrayInterface,
    "subclass": lambda a: a.view(type("Subclass", (np.ndarray,), {})),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_other_containers(wrap: Callable[[Array], Any], rng: np.random.Generator) -> None:
    logits = rng.normal(size=(6, 4))  # float64, as the numbers of a list become
    target = rng.integers(0, 4, size=6)
    weight = np.array([0.5, 1, 2, 1])
    grad_output = rng.normal(size=6)
    plain = fl.value_and_grad(fl.cross_entropy)(
        logits, target, weight=weight, reduction="none", grad_output=grad_output
    )
    other = fl.value_and_grad(fl.cross_entropy)(
        wrap(logits),
        wrap(target),
        weight=wrap(weight),
        reduction="none",
        grad_output=wrap(grad_output),
    )
    for left, right in zip(plain, other, strict=True):
        assert type(right) is np.ndarray
        assert_same_bits(left, right)
    assert_same_bits(fl.softmax(wrap(logits)), fl.softmax(logits))


def test_array_module() -> None:
    logits = array.array("f", [1, 2, 4])
    value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, 2)
    np.testing.assert_allclose(value, 0.169846, atol=5e-7)  # six decimals
    assert gradient.dtype == "float32"
    labels = array.array("h", [2, 0])
    rows = fl.cross_entropy([[1.0, 2.0, 4.0]] * 2, labels, reduction="none")
    np.testing.assert_allclose(rows, [0.169846, 3.169846], atol=5e-7)


def test_python_scalars() -> None:
    np.testing.assert_allclose(fl.cross_entropy([1.0, 2.0, 4.0], 2), 0.169846, atol=5e-7)
    np.testing.assert_allclose(fl.logsumexp([1.0, 2.0, 4.0]), 4.169846, atol=5e-7)


def test_results_are_new_arrays(rng: np.random.Generator) -> None:
    """Nothing returned aliases an input."""
    logits = rng.normal(size=(6, 4))
    target = np.arange(6) % 4
    value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, target, reduction="none")
    for result in (value, gradient, fl.softmax(logits), fl.log_softmax(logits)):
        assert not np.shares_memory(result, logits)
        assert result.flags.writeable
