"""What happens when a check in `_core` fails: find the fault and word it, or mend what is only odd.

Valid arguments that the kernels do not take as they are (lists, byte-swapped or misaligned arrays,
other float dtypes) are brought into the form that they do take. Every error text of the NumPy API
lives here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from fusedloss._loss import Array

PREDICTION_DTYPES = ("float32", "float64")
REDUCTIONS = ("none", "mean", "sum")
MOST_DIMENSIONS = 8
MOST_THREADS = 1 << 20


# ---- Arrays -----------------------------------------------------------------------------------


def _array(name: str, x: Any) -> Array:
    """Return x as an ndarray without copying one; TypeError where that would lose a meaning."""
    if x is None:
        raise TypeError(f"{name} is None: expected an array")
    front = type(x).__module__.partition(".")[0]
    if front == "torch":
        raise TypeError(f"{name} is a torch.{type(x).__name__}: use fusedloss.torch for tensors")
    if front in ("jax", "jaxlib"):
        raise TypeError(f"{name} is a JAX array: use fusedloss.jax for it")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: expected an array without a mask")
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} does not form an array: {error}") from None


def _is_real(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _prediction(name: str, x: Any) -> Array:
    array = _array(name, x)
    if array.dtype.newbyteorder("=").name not in PREDICTION_DTYPES:
        raise TypeError(
            f"{name} has dtype {array.dtype}: expected {' or '.join(PREDICTION_DTYPES)}"
        )
    return array


def _reals(name: str, x: Any) -> Array:
    array = _array(name, x)
    if not _is_real(array.dtype):
        raise TypeError(f"{name} has dtype {array.dtype}: expected a float dtype")
    return array


def _plain(array: Array, dtype: Any = None) -> Array:
    """Return the array as the kernels take it: native, aligned, of whole-element strides."""
    dtype = array.dtype.newbyteorder("=") if dtype is None else dtype
    whole = all(stride % array.dtype.itemsize == 0 for stride in array.strides)
    if array.dtype == dtype and array.dtype.isnative and array.flags.aligned and whole:
        return array if type(array) is np.ndarray else array.view(np.ndarray)
    return array.astype(dtype, order="K", subok=False)


# ---- Options ----------------------------------------------------------------------------------


def _integer(name: str, x: Any) -> int:
    try:
        if isinstance(x, (bool, np.bool_)):
            raise TypeError
        number = operator.index(x)
    except TypeError:
        raise TypeError(f"{name} is {x!r}: expected an integer") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} is {number}: expected a 64-bit integer")
    return number


def _fraction(name: str, x: Any) -> float:
    try:
        if isinstance(x, str):
            raise TypeError
        number = float(x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}: expected a number") from None
    if not 0 <= number <= 1:
        raise ValueError(f"{name} is {number}: expected a number from 0 to 1")
    return number


def num_threads(x: Any) -> int | None:
    """Return a call's number of threads, checked."""
    if x is None:
        return None
    number = _integer("num_threads", x)
    if not 0 < number < MOST_THREADS:
        raise ValueError(f"num_threads is {number}: expected a positive number of threads")
    return number


def reduction(x: Any) -> str:
    """Return a reduction's name, checked."""
    if not isinstance(x, str) or x not in REDUCTIONS:
        raise ValueError(f"reduction is {x!r}: expected 'none', 'mean' or 'sum'")
    return str(x)


def cotangent(grad_output: Any, value: Array, out: Any) -> Array:
    """Return what a helper's gradient is multiplied by: an array like its value, ones if absent."""
    if grad_output is None:
        return np.ones_like(value)
    array = _reals("grad_output", grad_output)
    _refuse_overlap("out", out, {"grad_output": array})
    if array.shape != value.shape:
        raise ValueError(f"grad_output has shape {array.shape}: expected {value.shape}")
    return array.astype(value.dtype, copy=False)


# ---- The softmax family -----------------------------------------------------------------------


def _class_axis(logits: Array, axis: Any) -> int:
    if logits.ndim == 0:
        raise ValueError("logits is 0-dimensional: expected an axis of classes")
    if axis is None:
        axis = 1 if logits.ndim > 1 else 0
    number = _integer("axis", axis)
    if not -logits.ndim <= number < logits.ndim:
        raise ValueError(f"axis is {number}: out of range for logits of shape {logits.shape}")
    if logits.shape[number] == 0:
        raise ValueError(f"logits has shape {logits.shape}: expected at least one class")
    return number % logits.ndim


def _target(target: Any, logits: Array, axis: int, probabilities: bool) -> Array:
    array = _array("target", target)
    positions = logits.shape[:axis] + logits.shape[axis + 1 :]
    if array.shape == logits.shape:
        if not _is_real(array.dtype):
            raise TypeError(
                f"target has dtype {array.dtype}: expected float probabilities, its shape being "
                f"that of the logits, or class indices of shape {positions}"
            )
        exact = array.dtype.newbyteorder("=").name in PREDICTION_DTYPES
        return _plain(array, None if exact else logits.dtype)
    if array.shape != positions or probabilities:
        raise ValueError(
            f"target has shape {array.shape}: expected {positions} (class indices) or "
            f"{logits.shape} (probabilities) for logits of shape {logits.shape}"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"target has dtype {array.dtype}: expected integer class indices, or probabilities of "
            f"the logits' shape {logits.shape}"
        )
    return _plain(array)


def _class_weight(weight: Any, logits: Array, classes: int) -> Array:
    array = _reals("weight", weight)
    if array.shape != (classes,):
        raise ValueError(f"weight has shape {array.shape}: expected ({classes},), one per class")
    return np.ascontiguousarray(_plain(array, logits.dtype))


def _grad_output(
    grad_output: Any, reduction: str, logits: Array, positions: tuple[int, ...]
) -> Any:
    array = _array("grad_output", grad_output)
    if array.dtype.kind not in "fiu" and not _is_real(array.dtype):
        raise TypeError(f"grad_output has dtype {array.dtype}: expected real numbers")
    if reduction != "none":
        if array.shape != ():
            raise ValueError(
                f"grad_output has shape {array.shape}: expected a scalar for "
                f"reduction={reduction!r}"
            )
        return float(array)
    if array.shape != positions:
        raise ValueError(
            f"grad_output has shape {array.shape}: expected {positions} for reduction='none'"
        )
    return _plain(array, logits.dtype)


def _same_memory(a: Array, b: Array) -> bool:
    return a.ctypes.data == b.ctypes.data and a.strides == b.strides and a.shape == b.shape


def _shares_memory(a: Array, b: Array) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10**6)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _output(name: str, out: Any, of_name: str, of: Array, inputs: dict[str, Any]) -> Array:
    """Check where the gradient of `of` goes; `inputs` are what it may not overlap."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} is a {type(out).__name__}: expected a NumPy array")
    dtype = of.dtype.newbyteorder("=")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"{name} has dtype {out.dtype}: expected {dtype}, that of {of_name}")
    if out.shape != of.shape:
        raise ValueError(f"{name} has shape {out.shape}: expected {of.shape}, that of {of_name}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not _same_memory(out, of) and _shares_memory(out, of):
        raise ValueError(f"{name} overlaps {of_name} without being the same memory")
    if _overlaps_itself(out):
        raise ValueError(f"{name} has strides {out.strides}: several elements share memory")
    _refuse_overlap(name, out, inputs)
    return out


def _refuse_overlap(name: str, out: Any, inputs: dict[str, Any]) -> None:
    if isinstance(out, np.ndarray):
        for other, x in inputs.items():
            if x is not None and _shares_memory(out, np.asarray(x)):
                raise ValueError(f"{name} overlaps {other}")


def _overlaps_itself(array: Array) -> bool:
    """Whether elements share memory, as far as strides tell: each must clear all smaller ones."""
    reach = array.itemsize
    if array.size == 0:
        return False
    dimensions = zip(array.strides, array.shape, strict=True)
    for stride, size in sorted((abs(stride), size) for stride, size in dimensions if size > 1):
        if stride < reach:
            return True
        reach += stride * (size - 1)
    return False


def raise_bad_index(target: Any, classes: int, ignore_index: int) -> NoReturn:
    """Raise the IndexError of the first class index that is out of range."""
    array = np.asarray(target)
    bad = ((array < 0) | (array >= classes)) & (array != ignore_index)
    position = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"target[{', '.join(map(str, position))}]" if position else "target"
    raise IndexError(
        f"{where} is {array[position]}: out of range for {classes} classes "
        f"(and not ignore_index {ignore_index})"
    )


def softmax(
    kernel: Callable[..., Any],
    kind: int,
    logits: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    reduction_name: Any,
    axis: Any,
    threads: Any,
    gradient: bool,
    grad_output: Any,
    out: Any,
) -> Any:
    """Check a call of the softmax family, mend what is only odd, and run the kernel on it."""
    given = _prediction("logits", logits)
    class_axis = _class_axis(given, axis)
    z = _plain(given)
    positions = z.shape[:class_axis] + z.shape[class_axis + 1 :]
    classes = z.shape[class_axis]
    has_target = kind < 0 or target is not None
    t = _target(target, z, class_axis, kind > 0) if has_target else None
    w = None if weight is None else _class_weight(weight, z, classes)
    mode = reduction(reduction_name)
    g = None if grad_output is None else _grad_output(grad_output, mode, z, positions)
    options = (
        _integer("ignore_index", ignore_index),
        _fraction("label_smoothing", label_smoothing),
        mode,
    )
    thread_count = num_threads(threads)
    if out is not None:
        inputs = {"target": target, "weight": weight, "grad_output": grad_output}
        _output("out", out, "logits", given, inputs)

    folded = z.ndim > MOST_DIMENSIONS
    if folded:
        z, t, g = _fold(z, t, g, class_axis)
    place = out if not folded and _takes_output(out, z, (t, w, g)) else None
    result = kernel(
        kind, z, t, w, *options, 1 if folded else class_axis, thread_count, gradient, g, place
    )
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")

    value, grad = result if gradient else (result, None)
    if folded:
        value = value.reshape(positions) if isinstance(value, np.ndarray) else value
        if grad is not None:
            grad = np.moveaxis(grad.reshape(classes, *positions), 0, class_axis)
    if out is not None and grad is not None and grad is not out:
        np.copyto(out, grad)
        grad = out
    return (value, grad) if gradient else value


def _takes_output(out: Any, z: Array, inputs: tuple[Any, ...]) -> bool:
    """Whether the kernels can write straight to a checked output."""
    if out is None or type(out) is not np.ndarray or _plain(out) is not out:
        return False
    apart = _same_memory(out, z) or not np.may_share_memory(out, z)
    return apart and not any(
        isinstance(x, np.ndarray) and np.may_share_memory(out, x) for x in inputs
    )


def _fold(z: Array, t: Any, g: Any, axis: int) -> tuple[Array, Any, Any]:
    """Return logits, target and grad_output as (1, classes, positions) or (1, positions)."""
    classes = z.shape[axis]
    if t is not None:
        rows = t.ndim == z.ndim
        t = np.moveaxis(t, axis, 0).reshape(1, classes, -1) if rows else t.reshape(1, -1)
    if isinstance(g, np.ndarray):
        g = g.reshape(1, -1)
    return np.moveaxis(z, axis, 0).reshape(1, classes, -1), t, g
