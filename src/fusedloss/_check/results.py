"""Outputs of gradients, and the `grad_output` that multiplies them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss import _core
from fusedloss._check.operands import as_array, as_floats, as_plain, compute_dtype, is_real
from fusedloss._types import Array


def cotangent(grad_output: Any, value: Array, out: Any) -> Array:
    """Return `grad_output` of a helper: an array like its value, ones if absent."""
    if grad_output is None:
        return np.ones_like(value)
    array = as_floats("grad_output", grad_output)
    _refuse_overlap("out", out, {"grad_output": array})
    if array.shape != value.shape:
        raise ValueError(f"grad_output has shape {array.shape}: expected {value.shape}")
    return array.astype(value.dtype, copy=False)


def _cotangent(grad_output: Any) -> Array:
    array = as_array("grad_output", grad_output)
    if array.dtype.kind not in "fiu" and not is_real(array.dtype):
        raise TypeError(f"grad_output has dtype {array.dtype}: expected real numbers")
    return array


def scalar_cotangent(grad_output: Any, of: str) -> float:
    """Return `grad_output` of a reduced loss."""
    array = _cotangent(grad_output)
    if array.shape != ():
        raise ValueError(f"grad_output has shape {array.shape}: expected a scalar for {of}")
    return float(array)


def loss_cotangent(
    grad_output: Any, reduction: str, logits: Array, positions: tuple[int, ...]
) -> Any:
    """Return `grad_output` of a loss: a float, or an array for reduction "none"."""
    if reduction != "none":
        return scalar_cotangent(grad_output, f"reduction={reduction!r}")
    array = _cotangent(grad_output)
    if array.shape != positions:
        raise ValueError(
            f"grad_output has shape {array.shape}: expected {positions} for reduction='none'"
        )
    return as_plain(array, compute_dtype(logits))


def as_output(
    name: str,
    out: Any,
    of_name: str,
    of: Array,
    inputs: dict[str, Any],
    *,
    or_float32: bool = False,
) -> Array:
    """Check `out` for the gradient of `of`; it may not overlap `inputs`."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} is a {type(out).__name__}: expected a NumPy array")
    dtype = of.dtype.newbyteorder("=")
    fits = out.dtype == dtype or (or_float32 and out.dtype == np.float32)
    if not fits or not out.dtype.isnative:
        other = ", or float32" if or_float32 and dtype != np.float32 else ""
        raise TypeError(f"{name} has dtype {out.dtype}: expected {dtype}, that of {of_name}{other}")
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


def _same_memory(a: Array, b: Array) -> bool:
    return a.ctypes.data == b.ctypes.data and a.strides == b.strides and a.shape == b.shape


def _shares_memory(a: Array, b: Array) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10**6)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(array: Array) -> bool:
    """Return True if elements may share memory: a stride is less than the span of smaller ones."""
    reach = array.itemsize
    if array.size == 0:
        return False
    dimensions = zip(array.strides, array.shape, strict=True)
    for stride, size in sorted((abs(stride), size) for stride, size in dimensions if size > 1):
        if stride < reach:
            return True
        reach += stride * (size - 1)
    return False


def takes_output(out: Any, z: Array, inputs: tuple[Any, ...]) -> bool:
    """Return True if the kernels can write to a checked output directly."""
    if out is None or type(out) is not np.ndarray or as_plain(out) is not out:
        return False
    apart = _same_memory(out, z) or not np.may_share_memory(out, z)
    return apart and not any(
        isinstance(x, np.ndarray) and np.may_share_memory(out, x) for x in inputs
    )


def place(out: Any, of: Array) -> Array:
    """Return the array that the kernels write: a checked `out`, if they can, or a new one."""
    return out if takes_output(out, of, ()) else _core.new_array(of.shape, of.dtype)


def zeros_like(name: str, of: Array, out: Any, inputs: dict[str, Any]) -> Array:
    """Return a gradient of zeros, in `out` if given."""
    if out is None:
        return np.zeros(of.shape, of.dtype.newbyteorder("="))
    place = as_output("out", out, name, of, inputs)
    place[...] = 0
    return place


def gradient_places(
    gradient: bool | tuple[int, ...],
    out: Any,
    given: dict[str, Array],
    inputs: dict[str, Any],
) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Return which gradients are wanted and their checked outputs; None means a new array."""
    names = tuple(given)
    several = isinstance(gradient, tuple)
    wanted = gradient if isinstance(gradient, tuple) else (0,) if gradient else ()
    places = out if several and out is not None else (out,) * len(wanted)
    for i, (k, place) in enumerate(zip(wanted, places, strict=True)):
        if place is not None:
            others = {name: value for name, value in inputs.items() if name != names[k]}
            earlier = {f"out[{j}]": places[j] for j in range(i)}
            name = f"out[{i}]" if several else "out"
            as_output(name, place, names[k], given[names[k]], others | earlier)
    return wanted, places


def derivative_places(
    out: tuple[Any, Any] | None, name: str, of: Array, inputs: dict[str, Any]
) -> tuple[Any, Any]:
    """Return where gradient and Hessian go, checked; None: to a new array."""
    gradient, hessian = (None, None) if out is None else out
    if gradient is not None:
        as_output("out[0]", gradient, name, of, inputs, or_float32=True)
    if hessian is not None:
        others = inputs | {name: of, "out[0]": gradient}
        as_output("out[1]", hessian, name, of, others, or_float32=True)
    return gradient, hessian


def delivered(
    made: tuple[Array, ...],
    operands: list[Array],
    places: tuple[Any, ...],
    dtype: np.dtype[Any],
) -> tuple[Array, ...]:
    """Reduce gradients of the broadcast shape to those of the operands, in their outputs."""
    gradients = []
    for whole, operand, place in zip(made, operands, places, strict=True):
        own = operand.dtype.newbyteorder("=") if is_real(operand.dtype) else dtype
        gradient = _core.new_array(operand.shape, own) if place is None else place
        # too large for its dtype is inf, and infinities of both signs have no sum
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(gradient, _summed_to(whole, operand.shape), casting="unsafe")
        gradients.append(gradient)
    return tuple(gradients)


def _summed_to(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array summed over the axes that were broadcast."""
    missing = array.ndim - len(shape)
    stretched = (d + missing for d, size in enumerate(shape) if size != array.shape[d + missing])
    axes = (*range(missing), *stretched)
    if not axes:
        return array
    return np.asarray(array.sum(axes, np.float64, keepdims=True)).reshape(shape)
