"""Bad input of every kind: which exception, what its message names, and nothing written.

Messages are matched by what they must hold (the argument, the position, the value, what was
expected), not by their wording.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import ml_dtypes  # noqa: F401  (makes NumPy know its dtypes by name)
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import fusedloss as fl
from conftest import Something
from parts import Array

CANARY = -12345.0

#: A valid call, of which each test spoils one argument.
VALID: dict[str, Any] = {
    "logits": np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3),
    "target": np.array([0, 1, 2, 1]),
    "weight": np.array([1, 2, 3], "float32"),
}


def assert_raises(
    error: type[Exception] | tuple[type[Exception], ...], match: str, **spoiled: Any
) -> None:
    """Value, and value and gradient, raise; neither out nor any input array is written."""
    arguments = {**VALID, **spoiled}
    out = arguments.pop("out", None)
    alone = {key: value for key, value in arguments.items() if key != "grad_output"}
    if out is None and "logits" not in spoiled:
        out = np.full_like(VALID["logits"], CANARY)
    arrays = [x for x in (*arguments.values(), out) if isinstance(x, np.ndarray)]
    before = [np.array(x, copy=True) for x in arrays]
    if alone.keys() == arguments.keys() and "out" not in spoiled:
        with pytest.raises(error, match=match):
            fl.cross_entropy(alone.pop("logits"), alone.pop("target"), **alone)
    with pytest.raises(error, match=match):
        fl.value_and_grad(fl.cross_entropy)(
            arguments.pop("logits"), arguments.pop("target"), out=out, **arguments
        )
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


def test_the_valid_call_is_valid() -> None:
    arguments = dict(VALID)
    fl.value_and_grad(fl.cross_entropy)(
        arguments.pop("logits"), arguments.pop("target"), out=np.empty((4, 3), "f"), **arguments
    )


# ---- Logits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    ["int64", "uint8", "bool", "complex64", "complex128", "longdouble", "U3", "S3", "M8[s]"],
)
def test_logits_of_no_float_dtype(dtype: str) -> None:
    logits = np.zeros((4, 3), dtype)
    if np.dtype(dtype) == np.float64:
        pytest.skip("long double is double here")
    name = (
        logits.dtype.name.rstrip("0123456789") if logits.dtype.kind in "US" else logits.dtype.name
    )
    name = {"str": "U3", "bytes": "S3", "datetime64[s]": "datetime64"}.get(name, name)
    assert_raises(TypeError, f"(?s)logits.*{name}.*float32", logits=logits)


def test_logits_of_another_16_bit_or_8_bit_dtype() -> None:
    """bfloat16 is taken; the other types of ml_dtypes, and bits without a meaning, are not."""
    for dtype in ("float8_e4m3fn", "float8_e5m2", "int4", "uint16"):
        name = np.zeros(1, dtype).dtype.name
        assert_raises(TypeError, f"(?s)logits.*{name}.*bfloat16", logits=np.zeros((4, 3), dtype))


@pytest.mark.parametrize(
    "logits",
    [
        None,
        "text",
        b"bytes",
        Something(),
        [["a", "b"]],
        [[1, 2, 3]] * 4,
        [[None] * 3] * 4,
        {},
        1 + 2j,
    ],
    ids=repr,
)
def test_logits_that_are_no_array_of_floats(logits: Any) -> None:
    assert_raises(TypeError, "logits", logits=logits)


def test_ragged_logits() -> None:
    assert_raises((TypeError, ValueError), "logits", logits=[[1.0, 2.0], [3.0]])


def test_masked_logits() -> None:
    assert_raises(TypeError, "(?s)logits.*mask", logits=np.ma.masked_array(VALID["logits"]))


def test_object_logits() -> None:
    assert_raises(TypeError, "(?s)logits.*object", logits=VALID["logits"].astype(object))


def test_structured_logits() -> None:
    assert_raises(TypeError, "logits", logits=np.zeros((4, 3), [("x", "f4")]))


def test_torch_tensors_are_sent_to_their_front() -> None:
    torch = pytest.importorskip("torch")
    match = r"fusedloss\.torch"
    assert_raises(TypeError, f"(?s)logits.*{match}", logits=torch.zeros(4, 3))
    assert_raises(TypeError, f"(?s)logits.*{match}", logits=torch.zeros(4, 3, requires_grad=True))
    assert_raises(TypeError, f"(?s)target.*{match}", target=torch.zeros(4, dtype=torch.long))
    assert_raises(TypeError, f"(?s)weight.*{match}", weight=torch.ones(3))
    assert_raises(TypeError, match, grad_output=torch.ones(()))
    for function in (fl.softmax, fl.log_softmax, fl.logsumexp):
        with pytest.raises(TypeError, match=match):
            function(torch.zeros(4, 3))


def test_jax_arrays_are_to_be_converted() -> None:
    """JAX need not be installed: its arrays are known by the module of their type."""
    jax_array = type("ArrayImpl", (), {"__module__": "jaxlib._jax", "__array__": lambda self: 0})
    assert_raises(TypeError, r"(?s)logits.*numpy\.asarray", logits=jax_array())


def test_zero_dimensional_logits() -> None:
    for logits in (np.float32(1), np.array(1.0), 1.0):
        assert_raises(ValueError, "logits", logits=logits, target=0)
        for function in (fl.softmax, fl.log_softmax, fl.logsumexp):
            with pytest.raises(ValueError, match="logits"):
                function(logits)


# ---- Target ------------------------------------------------------------------------------------

SHAPES: dict[str, tuple[int, ...]] = {
    "rows": (40, 3),
    "columns": (2, 3, 20),
    "strided": (2, 3, 4, 5),
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_label_out_of_range(shape: tuple[int, ...], dtype: str) -> None:
    """The first bad label's position and value, wherever it lies; nothing is written."""
    classes, rows = shape[1], (shape[0], *shape[2:])
    bad_labels = [classes, np.iinfo(dtype).max]
    bad_labels += [-1, -99, np.iinfo(dtype).min] if np.iinfo(dtype).min < 0 else []
    count = int(np.prod(rows))
    for flat in (0, 17, count - 1):
        position = tuple(int(i) for i in np.unravel_index(flat, rows))
        for bad in bad_labels:
            target = np.zeros(rows, dtype)
            target[position] = bad
            target.flat[-1] = bad  # a later one is not the one named
            where = rf"target\[{', '.join(map(str, position))}\]"
            match = rf"(?s){where} is {bad}\b.*{classes} classes.*ignore_index -100"
            for reduction in ("none", "mean", "sum"):
                out = np.full(shape, CANARY, "float32")
                with pytest.raises(IndexError, match=match):
                    fl.value_and_grad(fl.cross_entropy)(
                        np.zeros(shape, "float32"), target, out=out, reduction=reduction
                    )
                assert np.all(out == CANARY)
                with pytest.raises(IndexError, match=match):
                    fl.cross_entropy(np.zeros(shape, "float32"), target, reduction=reduction)


def test_label_out_of_range_in_place_leaves_the_logits() -> None:
    logits = np.linspace(0, 1, 3_000_000, dtype="float32").reshape(300_000, 10)
    before, target = logits.copy(), np.zeros(300_000, int)
    target[299_999] = 10
    with pytest.raises(IndexError, match=r"target\[299999\] is 10\b"):
        fl.value_and_grad(fl.cross_entropy)(logits, target, out=logits, num_threads=2)
    np.testing.assert_array_equal(logits, before)


def test_label_out_of_range_by_thread_count(num_threads: int) -> None:
    """The first bad position, not the one that some thread saw first."""
    logits, target = np.zeros((300_000, 3), "float32"), np.zeros(300_000, int)
    target[[150_001, 299_999]] = 7
    for smoothing in (0.0, 0.1):
        with pytest.raises(IndexError, match=r"target\[150001\] is 7\b"):
            fl.cross_entropy(logits, target, num_threads=num_threads, label_smoothing=smoothing)


def test_label_out_of_range_unbatched() -> None:
    for target in (7, np.int8(7), np.array(7), np.array(7, "uint64")):
        with pytest.raises(IndexError, match=r"(?s)target is 7\b.*3 classes"):
            fl.cross_entropy([1.0, 2.0, 3.0], target)


def test_label_out_of_range_in_odd_memory() -> None:
    for target in ([0, 5], np.array([0, 5], ">i4"), np.array([0, 9, 5])[::2], memoryview(b"\0\5")):
        with pytest.raises(IndexError, match=r"target\[1\] is 5\b"):
            fl.cross_entropy(np.zeros((2, 3)), target)


def test_labels_beyond_int64_are_not_wrapped() -> None:
    """As a signed number 2**64 - 100 would be ignore_index, 2**64 - 1 would be -1."""
    for label in (2**64 - 100, 2**64 - 1, 2**63, 2**32):
        with pytest.raises(IndexError, match=rf"target\[0\] is {label}\b"):
            fl.cross_entropy(np.zeros((1, 3)), np.array([label], "uint64"))
    for dtype, label in (("uint8", 156), ("uint16", 2**16 - 100), ("uint32", 2**32 - 100)):
        with pytest.raises(IndexError, match=rf"target\[0\] is {label}\b"):
            fl.cross_entropy(np.zeros((1, 3)), np.array([label], dtype))


def test_message_names_another_ignore_index() -> None:
    assert_raises(IndexError, "ignore_index 1", target=np.array([0, 1, -100, 2]), ignore_index=1)


@pytest.mark.parametrize("dtype", ["bool", "float32", "complex64", "U1", "M8[s]", "object"])
def test_index_target_of_no_integer_dtype(dtype: str) -> None:
    target = np.zeros(4).astype(dtype)
    assert_raises(TypeError, "(?s)target.*dtype.*integer", target=target)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "complex64", "object"])
def test_probability_target_of_no_float_dtype(dtype: str) -> None:
    """A target of the logits' shape holds probabilities, as in torch."""
    match = f"(?s)target.*{np.dtype(dtype).name}.*float"
    assert_raises(TypeError, match, target=np.eye(4, 3).astype(dtype))


@pytest.mark.parametrize("target", [None, "text", Something(), {}], ids=repr)
def test_target_that_is_no_array(target: Any) -> None:
    assert_raises((TypeError, ValueError), "target", target=target)


def test_masked_target() -> None:
    target = np.ma.masked_array(VALID["target"], mask=[False, True, False, False])
    assert_raises(TypeError, "(?s)target.*mask", target=target)


@pytest.mark.parametrize(
    "shape", [(), (3,), (5,), (4, 1), (1, 4), (4, 2), (4, 4), (3, 4), (4, 3, 1), (0,)]
)
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_target_of_the_wrong_shape(shape: tuple[int, ...], dtype: str) -> None:
    """The message gives both shapes. (A float target of (N,) is a matter of dtype.)"""
    match = rf"(?s)target.*{_escaped(shape)}.*(\(4, 3\)|\(4,\))"
    assert_raises(ValueError, match, target=np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("logits", "target"),
    [((2, 3, 5), (2, 3)), ((2, 3, 5), (2, 4)), ((2, 3, 5), (2,)), ((3,), (3, 1)), ((3,), (2,))],
)
def test_target_of_the_wrong_shape_elsewhere(
    logits: tuple[int, ...], target: tuple[int, ...]
) -> None:
    match = rf"(?s)target.*{_escaped(target)}.*{_escaped(logits)}"
    with pytest.raises(ValueError, match=match):
        fl.cross_entropy(np.zeros(logits), np.zeros(target, int))


def _escaped(shape: tuple[int, ...]) -> str:
    return str(shape).replace("(", r"\(").replace(")", r"\)")


# ---- Options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["foo", "", "MEAN", None, 1, b"mean", ["mean"]], ids=repr)
def test_reduction(reduction: Any) -> None:
    match = r"(?s)reduction.*none.*mean.*sum"
    assert_raises((TypeError, ValueError), match, reduction=reduction)


@pytest.mark.parametrize("amount", [-0.1, 1.0000001, 2, -1, np.nan, np.inf, np.float32(1.5)])
def test_label_smoothing_out_of_range(amount: Any) -> None:
    match = rf"(?s)label_smoothing.*{str(float(amount))[:4]}"
    assert_raises(ValueError, match, label_smoothing=amount)


@pytest.mark.parametrize("amount", ["0.1", None, [0.1, 0.2], 0.1j], ids=repr)
def test_label_smoothing_that_is_no_number(amount: Any) -> None:
    assert_raises(TypeError, "label_smoothing", label_smoothing=amount)


@pytest.mark.parametrize("amount", [0, 1, np.float32(0.5), np.float64(0.5), np.array(0.5)])
def test_label_smoothing_of_other_number_types(amount: Any) -> None:
    logits, target = VALID["logits"], VALID["target"]
    assert fl.cross_entropy(logits, target, label_smoothing=amount) == fl.cross_entropy(
        logits, target, label_smoothing=float(amount)
    )


@pytest.mark.parametrize("value", [1.5, 1.0, "1", None, [1], np.float64(1)], ids=repr)
def test_ignore_index_that_is_no_integer(value: Any) -> None:
    assert_raises(TypeError, "ignore_index", ignore_index=value)


def test_ignore_index_beyond_int64() -> None:
    assert_raises((TypeError, ValueError), "ignore_index", ignore_index=2**70)


class Label(enum.IntEnum):
    PADDING = 1


@pytest.mark.parametrize("value", [np.int32(1), np.uint8(1), Label.PADDING, np.array(1)], ids=repr)
def test_ignore_index_of_other_integer_types(value: Any) -> None:
    logits, target = VALID["logits"], VALID["target"]
    expected = fl.cross_entropy(logits, target, ignore_index=1)
    assert fl.cross_entropy(logits, target, ignore_index=value) == expected


@pytest.mark.parametrize("count", [0, -1, -(2**40), 2**70])
def test_num_threads_out_of_range(count: int) -> None:
    assert_raises(ValueError, f"num_threads.*{count}", num_threads=count)
    for function in (fl.softmax, fl.log_softmax, fl.logsumexp):
        with pytest.raises(ValueError, match="num_threads"):
            function(VALID["logits"], num_threads=count)
    with pytest.raises(ValueError, match=f"{count}"):
        fl.set_num_threads(count)
    before = fl.get_num_threads()
    with pytest.raises(ValueError, match=f"{count}"), fl.threads(count):
        pass
    assert fl.get_num_threads() == before


@pytest.mark.parametrize("count", [1.5, 2.0, "2", [2], Something()], ids=repr)
def test_num_threads_that_is_no_integer(count: Any) -> None:
    assert_raises(TypeError, "num_threads", num_threads=count)
    with pytest.raises(TypeError):
        fl.set_num_threads(count)
    with pytest.raises(TypeError), fl.threads(count):
        pass


@pytest.mark.parametrize("count", [np.int64(2), np.uint8(2)])
def test_num_threads_of_other_integer_types(count: Any) -> None:
    logits, target = VALID["logits"], VALID["target"]
    expected = fl.cross_entropy(logits, target)
    assert fl.cross_entropy(logits, target, num_threads=count) == expected


@pytest.mark.parametrize("shape", [(), (2,), (4,), (1,), (0,), (3, 1), (1, 3), (4, 3)])
def test_weight_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    match = rf"(?s)weight.*{_escaped(shape)}.*3"
    assert_raises(ValueError, match, weight=np.ones(shape, "float32"))


@pytest.mark.parametrize("dtype", ["complex64", "U1", "object", "bool", "M8[s]"])
def test_weight_of_no_float_dtype(dtype: str) -> None:
    assert_raises(TypeError, "(?s)weight.*dtype.*float", weight=np.ones(3, int).astype(dtype))


def test_masked_weight() -> None:
    assert_raises(TypeError, "(?s)weight.*mask", weight=np.ma.masked_array(VALID["weight"]))


def test_unknown_keyword() -> None:
    assert_raises(TypeError, "temperature", temperature=2.0)
    with pytest.raises(TypeError, match="dim"):
        fl.softmax(VALID["logits"], dim=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        fl.cross_entropy(VALID["logits"], VALID["target"], VALID["weight"])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="target"):
        fl.cross_entropy(VALID["logits"])  # type: ignore[call-overload]


# ---- softmax's axis ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [fl.softmax, fl.log_softmax, fl.logsumexp])
def test_axis(function: Callable[..., Array]) -> None:
    logits = VALID["logits"]
    for axis in (2, -3, 100):
        with pytest.raises((ValueError, IndexError), match=f"axis.*{axis}"):
            function(logits, axis=axis)
        with pytest.raises((ValueError, IndexError), match=f"axis.*{axis}"):
            fl.value_and_grad(function)(logits, axis=axis)
    for wrong in (1.0, "1", (0, 1)):
        with pytest.raises(TypeError, match="axis"):
            function(logits, axis=wrong)


# ---- value_and_grad ----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [len, lambda z: z, np.exp, "cross_entropy", None, fl.show_config])
def test_what_is_no_loss(loss: Any) -> None:
    with pytest.raises(TypeError, match="loss"):
        fl.value_and_grad(loss)


@pytest.mark.parametrize("argnums", [2, -5, 100, (0, 2), (0, 0), ()], ids=repr)
def test_argnums_that_cannot_be_differentiated(argnums: Any) -> None:
    with pytest.raises(ValueError, match="argnums"):
        fl.value_and_grad(fl.cross_entropy, argnums=argnums)


@pytest.mark.parametrize("argnums", [0.0, "logits", None, (0.5,)], ids=repr)
def test_argnums_that_are_no_integers(argnums: Any) -> None:
    with pytest.raises(TypeError):
        fl.value_and_grad(fl.cross_entropy, argnums=argnums)


def test_value_takes_no_out() -> None:
    with pytest.raises(TypeError, match="out"):
        fl.cross_entropy(VALID["logits"], VALID["target"], out=np.empty((4, 3)))  # type: ignore[call-overload]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_grad_output_of_a_scalar_loss(reduction: str) -> None:
    for shape in ((4,), (1,), (4, 3)):
        match = rf"(?s)grad_output.*{_escaped(shape)}"
        assert_raises(ValueError, match, reduction=reduction, grad_output=np.ones(shape, "f"))


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), (4, 3), (0,)])
def test_grad_output_of_rows(shape: tuple[int, ...]) -> None:
    match = rf"(?s)grad_output.*{_escaped(shape)}.*\(4,\)"
    assert_raises(ValueError, match, reduction="none", grad_output=np.ones(shape, "f"))


@pytest.mark.parametrize("value", ["1", 1j, None, Something(), np.array(1j), b"1"], ids=repr)
def test_grad_output_that_is_no_number(value: Any) -> None:
    if value is None:
        return  # absent: ones
    assert_raises(TypeError, "grad_output", grad_output=value)
    assert_raises(TypeError, "grad_output", grad_output=np.full(4, value), reduction="none")


@pytest.mark.parametrize("function", [fl.softmax, fl.log_softmax, fl.logsumexp])
def test_grad_output_of_the_helpers(function: Callable[..., Array]) -> None:
    logits = VALID["logits"]
    for shape in ((), (3,), (4, 2), (4, 3, 1)):
        out = np.full_like(logits, CANARY)
        with pytest.raises(ValueError, match=rf"(?s)grad_output.*{_escaped(shape)}"):
            fl.value_and_grad(function)(logits, grad_output=np.ones(shape, "f"), out=out)
        assert np.all(out == CANARY)
    with pytest.raises(TypeError, match="grad_output"):
        fl.value_and_grad(function)(logits, grad_output=np.ones((4, 3), complex))


# ---- out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4), (4, 4), (12,), (4, 3, 1), (1, 4, 3), ()])
def test_out_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    match = rf"(?s)out.*{_escaped(shape)}.*\(4, 3\)"
    assert_raises(ValueError, match, out=np.full(shape, CANARY, "float32"))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "complex64", "S"])
def test_out_of_the_wrong_dtype(dtype: str) -> None:
    dtype = np.dtype("float32").newbyteorder("S").str if dtype == "S" else dtype
    match = "(?s)out.*dtype.*float32"
    assert_raises((TypeError, ValueError), match, out=np.full((4, 3), CANARY).astype(dtype))


def test_out_that_is_read_only() -> None:
    out = np.full((4, 3), CANARY, "float32")
    out.flags.writeable = False
    assert_raises(ValueError, "(?s)out.*(read-only|writ)", out=out)


@pytest.mark.parametrize("out", [[[0.0] * 3] * 4, "text", 1.0, True, bytearray(48)], ids=repr)
def test_out_that_is_no_array(out: Any) -> None:
    assert_raises(TypeError, "out", out=out)


def test_masked_out() -> None:
    assert_raises(TypeError, "out", out=np.ma.masked_array(np.zeros((4, 3), "f")))


def test_out_of_several_argnums() -> None:
    grad = fl.value_and_grad(fl.cross_entropy, argnums=(0,))
    logits, target = VALID["logits"], VALID["target"]
    for out in (np.empty((4, 3), "f"), (None, None), ()):
        with pytest.raises((TypeError, ValueError), match="out"):
            grad(logits, target, out=out)
    out = np.empty((4, 3), "f")
    value, (gradient,) = grad(logits, target, out=(out,))
    assert gradient is out
    assert grad(logits, target, out=(None,))[0] == value
    assert isinstance(grad(logits, target)[1], tuple)


def test_out_that_overlaps_the_logits() -> None:
    """Only the very same memory will do: shifted, reversed or transposed it is an error."""
    memory = np.linspace(0, 1, 36, dtype="float32")
    logits = memory[:12].reshape(4, 3)
    for out in (
        memory[3:15].reshape(4, 3),
        memory[1:13].reshape(4, 3),
        logits[::-1],
        logits[:, ::-1],
        memory[:24].reshape(4, 6)[:, :3],
        memory[11:23].reshape(4, 3),
        memory[22:10:-1].reshape(4, 3),
        memory[14:2:-1].reshape(4, 3),
    ):
        assert_raises(ValueError, "(?s)out.*overlap.*logits", logits=logits, out=out)
    square = memory[:9].reshape(3, 3)
    assert_raises(
        ValueError, "(?s)out.*overlap.*logits", logits=square, target=np.arange(3), out=square.T
    )


def test_out_that_overlaps_another_input() -> None:
    memory = np.full(64, 0.5, "float32")
    out = memory[:12].reshape(4, 3)
    probabilities = memory[6:18].reshape(4, 3)
    assert_raises(ValueError, "(?s)out.*overlap.*target", target=probabilities, out=out)
    assert_raises(ValueError, "(?s)out.*overlap.*target", target=out, out=out)
    assert_raises(ValueError, "(?s)out.*overlap.*weight", weight=memory[11:14], out=out)
    labels = memory.view("int32")[10:14]
    labels[:] = 0
    assert_raises(ValueError, "(?s)out.*overlap.*target", target=labels, out=out)
    assert_raises(
        ValueError,
        "(?s)out.*overlap.*grad_output",
        grad_output=memory[8:12],
        reduction="none",
        out=out,
    )
    weights = memory[8:12]
    assert_raises(ValueError, "(?s)out.*overlap.*sample_weight", sample_weight=weights, out=out)
    backwards = memory[20:8:-1].reshape(4, 3)  # down to the tenth number
    assert_raises(ValueError, "(?s)out.*overlap", sample_weight=memory[8:12], out=backwards)
    assert_raises(ValueError, "(?s)out.*overlap", weight=memory[9:12], out=backwards)
    # through the buffer protocol too
    assert_raises(ValueError, "(?s)out.*overlap", weight=memoryview(memory[11:14]), out=out)
    labels8 = memory.view("uint8")[40:44]
    labels8[:] = 0
    assert_raises(ValueError, "(?s)out.*overlap", target=memoryview(labels8), out=out)


def test_out_that_overlaps_itself() -> None:
    memory = np.full(64, CANARY, "float32")
    for strides in ((0, 4), (12, 0), (4, 4), (0, 0), (8, 4)):
        out = as_strided(memory, (4, 3), strides)
        assert_raises(ValueError, "out", out=out)


@pytest.mark.parametrize("function", [fl.softmax, fl.log_softmax, fl.logsumexp])
def test_out_of_the_helpers(function: Callable[..., Array]) -> None:
    memory = np.linspace(0, 1, 36, dtype="float32")
    logits = memory[:12].reshape(4, 3)
    before = memory.copy()
    grad = fl.value_and_grad(function)
    with pytest.raises(ValueError, match="overlap"):
        grad(logits, out=memory[3:15].reshape(4, 3))
    with pytest.raises(ValueError, match="out"):
        grad(logits, out=memory[12:24].reshape(3, 4))
    with pytest.raises((TypeError, ValueError), match="out"):
        grad(logits, out=np.empty((4, 3)))
    with pytest.raises(TypeError, match="out"):
        grad(logits, out=[])
    np.testing.assert_array_equal(memory, before)
    shape = function(logits).shape
    whole = np.full(24, 0.5, "float32")
    size = int(np.prod(shape))
    with pytest.raises(ValueError, match=r"(?s)out.*overlap.*grad_output"):
        grad(
            logits,
            grad_output=whole[:size].reshape(shape),
            out=whole[size - 1 : size + 11].reshape(4, 3),
        )
    assert np.all(whole == 0.5)
