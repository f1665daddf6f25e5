"""What happens when a check in `_core` fails: find the fault and word it, or mend what is only odd.

Valid arguments that the kernels do not take as they are (lists, byte-swapped or misaligned arrays,
other float dtypes) are brought into the form that they do take. Every error text of the NumPy API
lives here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fusedloss._loss import Array, Extras

FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
REDUCTIONS = ("none", "mean", "sum")
OUTPUTS = ("lse", "entropy", "accuracy")
MOST_GAMMA = 64.0
NOTHING_IGNORED = -(2**63)  # an ignore_index that is no class of anybody
MOST_POWER = 64.0
MOST_DIMENSIONS = 8
MOST_THREADS = 1 << 20

#: What an operand of a loss of rows is, after the first: a row for each of the first's, one number
#: for each row, one class index, either an index or a row, or a row of class indices ended by -1.
ROWS, VALUES, INDICES, INDICES_OR_ROWS, LABELS = range(5)


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
    if array.dtype.newbyteorder("=").name not in FLOAT_DTYPES:
        raise TypeError(f"{name} has dtype {array.dtype}: expected {' or '.join(FLOAT_DTYPES)}")
    return array


def plain_prediction(name: str, x: Any) -> Array:
    """Return a prediction as the kernels take it."""
    return _plain(_prediction(name, x))


def classes(name: str, x: Any) -> int:
    """Return the number of classes of a prediction whose axis of classes is the usual one."""
    array = _prediction(name, x)
    return int(array.shape[_class_axis(name, array, None)])


def compute_dtype(array: Array) -> np.dtype[Any]:
    """Return the dtype that losses of an array are computed in."""
    return np.dtype(np.float64 if array.dtype.name == "float64" else np.float32)


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


def _first(name: str, array: Array, bad: Array) -> tuple[str, Any]:
    """Return where the first bad element of an array is, as an expression, and the element."""
    position = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"{name}[{', '.join(map(str, position))}]" if position else name
    return where, array[position]


# ---- Options ----------------------------------------------------------------------------------


def number(name: str, x: Any) -> float:
    """Return an option as a float."""
    try:
        if isinstance(x, str):
            raise TypeError
        return float(x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}: expected a number") from None


def in_range(name: str, x: Any, lowest: float, highest: float) -> float:
    """Return an option as a float, if it lies in a closed range."""
    value = number(name, x)
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}: expected a number from {lowest:g} to {highest:g}")
    return value


def positive(name: str, x: Any) -> float:
    """Return an option as a float, if it is positive and finite."""
    value = number(name, x)
    if not 0 < value < np.inf:
        raise ValueError(f"{name} is {value}: expected a positive number")
    return value


def not_negative(name: str, x: Any) -> float:
    """Return an option as a float, if it is finite and not negative."""
    value = number(name, x)
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} is {value}: expected a number of at least 0")
    return value


def less_than_one(name: str, x: Any) -> float:
    """Return an option as a float, if it is at least 0 and less than 1."""
    value = number(name, x)
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}: expected a number of at least 0 and less than 1")
    return value


def finite(name: str, x: Any) -> float:
    """Return an option as a float, if it is finite."""
    value = number(name, x)
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}: expected a finite number")
    return value


def one_or_two(name: str, x: Any) -> float:
    """Return a power as a float, if it is 1 or 2."""
    value = number(name, x)
    if value not in (1, 2):
        raise ValueError(f"{name} is {x!r}: expected 1 or 2")
    return value


def norm(name: str, x: Any) -> float:
    """Return the power of a norm as a float."""
    value = number(name, x)
    if not 1 <= value <= MOST_POWER and value != math.inf:
        raise ValueError(f"{name} is {value}: expected a number from 1 to {MOST_POWER:g} or inf")
    return value


def one_of(name: str, x: Any, choices: Iterable[str]) -> str:
    """Return a name, if it is one of the choices."""
    *others, last = map(repr, choices)
    if not isinstance(x, str) or repr(str(x)) not in (*others, last):
        raise ValueError(f"{name} is {x!r}: expected {', '.join(others)} or {last}")
    return str(x)


def outputs(names: Any) -> tuple[str, ...]:
    """Return the names of extra outputs, checked."""
    if names == ():
        return ()
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"outputs is {names!r}: expected a tuple of names out of {OUTPUTS}")
    listed = tuple(names)
    for name in listed:
        if not isinstance(name, str) or name not in OUTPUTS:
            raise ValueError(f"outputs holds {name!r}: expected names out of {OUTPUTS}")
    return listed


def checked_extras(extras: Extras | None) -> Extras | None:
    """Return the options of few calls, checked."""
    if extras is None:
        return None
    return extras._replace(
        gamma=in_range("gamma", extras.gamma, 0, MOST_GAMMA),
        temperature=positive("temperature", extras.temperature),
        softcap=None if extras.softcap is None else positive("softcap", extras.softcap),
        z_loss=not_negative("z_loss", extras.z_loss),
    )


def integer(name: str, x: Any) -> int:
    """Return an option as a 64-bit integer."""
    try:
        if isinstance(x, (bool, np.bool_)):
            raise TypeError
        value = operator.index(x)
    except TypeError:
        raise TypeError(f"{name} is {x!r}: expected an integer") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is {value}: expected a 64-bit integer")
    return value


def num_threads(x: Any) -> int | None:
    """Return a call's number of threads, checked."""
    if x is None:
        return None
    count = integer("num_threads", x)
    if not 0 < count < MOST_THREADS:
        raise ValueError(f"num_threads is {count}: expected a positive number of threads")
    return count


def reduction(x: Any) -> str:
    """Return a reduction's name, checked."""
    return one_of("reduction", x, REDUCTIONS)


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


PREDICTIONS = ("logits", "log_probs", "probs")  # by Extras.prediction


def _class_axis(name: str, logits: Array, axis: Any) -> int:
    if logits.ndim == 0:
        raise ValueError(f"{name} is 0-dimensional: expected an axis of classes")
    if axis is None:
        axis = 1 if logits.ndim > 1 else 0
    position = integer("axis", axis)
    if not -logits.ndim <= position < logits.ndim:
        raise ValueError(f"axis is {position}: out of range for {name} of shape {logits.shape}")
    if logits.shape[position] == 0:
        raise ValueError(f"{name} has shape {logits.shape}: expected at least one class")
    return position % logits.ndim


def _target(target: Any, logits: Array, axis: int, kind: int) -> Array:
    """kind: less than 0 if the target may be of either kind, 0 for class indices, else 1."""
    array = _array("target", target)
    positions = logits.shape[:axis] + logits.shape[axis + 1 :]
    if array.shape == logits.shape and kind != 0:
        if not _is_real(array.dtype):
            raise TypeError(
                f"target has dtype {array.dtype}: expected float probabilities, its shape being "
                f"that of the logits, or class indices of shape {positions}"
            )
        exact = array.dtype.newbyteorder("=").name in FLOAT_DTYPES
        return _plain(array, None if exact else logits.dtype)
    if array.shape != positions or kind > 0:
        either = "" if kind == 0 else f" or {logits.shape} (probabilities)"
        raise ValueError(
            f"target has shape {array.shape}: expected {positions} (class indices){either} for "
            f"logits of shape {logits.shape}"
        )
    if array.dtype.kind not in "iu":
        either = "" if kind == 0 else f", or probabilities of the logits' shape {logits.shape}"
        raise TypeError(f"target has dtype {array.dtype}: expected integer class indices{either}")
    return _plain(array)


def _class_weight(name: str, weight: Any, logits: Array, classes: int) -> Array:
    array = _reals(name, weight)
    if array.shape != (classes,):
        raise ValueError(f"{name} has shape {array.shape}: expected ({classes},), one per class")
    return np.ascontiguousarray(_plain(array, compute_dtype(logits)))


def _sample_weight(weight: Any, logits: Array, positions: tuple[int, ...]) -> Array:
    array = _reals("sample_weight", weight)
    if array.shape != positions:
        raise ValueError(
            f"sample_weight has shape {array.shape}: expected {positions}, one per position"
        )
    exact = array.dtype.newbyteorder("=").name in FLOAT_DTYPES
    return _plain(array, None if exact else logits.dtype)


def _cotangent(grad_output: Any) -> Array:
    array = _array("grad_output", grad_output)
    if array.dtype.kind not in "fiu" and not _is_real(array.dtype):
        raise TypeError(f"grad_output has dtype {array.dtype}: expected real numbers")
    return array


def scalar_cotangent(grad_output: Any, of: str) -> float:
    """Return what the gradient of a reduced loss is multiplied by."""
    array = _cotangent(grad_output)
    if array.shape != ():
        raise ValueError(f"grad_output has shape {array.shape}: expected a scalar for {of}")
    return float(array)


def loss_cotangent(
    grad_output: Any, reduction: str, logits: Array, positions: tuple[int, ...]
) -> Any:
    """Return what a loss's gradient is multiplied by: a float, or an array for "none"."""
    if reduction != "none":
        return scalar_cotangent(grad_output, f"reduction={reduction!r}")
    array = _cotangent(grad_output)
    if array.shape != positions:
        raise ValueError(
            f"grad_output has shape {array.shape}: expected {positions} for reduction='none'"
        )
    return _plain(array, compute_dtype(logits))


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
    ignored = None if ignore_index == NOTHING_IGNORED else ignore_index
    _raise_bad_index("target", array, bad, classes, ignored)


def _raise_bad_index(
    name: str, array: Array, bad: Array, classes: int, ignore_index: int | None
) -> NoReturn:
    where, value = _first(name, array, bad)
    unless = "" if ignore_index is None else f" (and not ignore_index {ignore_index})"
    raise IndexError(f"{where} is {value}: out of range for {classes} classes{unless}")


def softmax(
    kernel: Callable[..., Any],
    kind: int,
    logits: Any,
    target: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    reduction_name: Any,
    axis: Any,
    threads: Any,
    extras: Extras | None,
    gradient: bool,
    grad_output: Any,
    out: Any,
    hessian: bool,
) -> Any:
    """Check a call of the softmax family, mend what is only odd, and run the kernel on it."""
    prediction = PREDICTIONS[0 if extras is None else extras.prediction]
    given = _prediction(prediction, logits)
    class_axis = _class_axis(prediction, given, axis)
    z = _plain(given)
    positions = z.shape[:class_axis] + z.shape[class_axis + 1 :]
    classes = z.shape[class_axis]
    has_target = kind <= 0 or target is not None
    t = _target(target, z, class_axis, kind) if has_target else None
    # A mean of positions leaves the weights of classes out: that of the focal loss, whose is alpha.
    weight_name = "alpha" if extras is not None and extras.mean_of_positions else "weight"
    w = None if weight is None else _class_weight(weight_name, weight, z, classes)
    s = None if sample_weight is None else _sample_weight(sample_weight, z, positions)
    mode = reduction(reduction_name)
    g = None if grad_output is None else loss_cotangent(grad_output, mode, z, positions)
    options = (
        integer("ignore_index", ignore_index),
        in_range("label_smoothing", label_smoothing, 0, 1),
        mode,
    )
    thread_count = num_threads(threads)
    more = checked_extras(extras)
    if out is not None:
        inputs = {
            "target": target,
            weight_name: weight,
            "sample_weight": sample_weight,
            "grad_output": grad_output,
        }
        _output("out", out, prediction, given, inputs)

    folded = z.ndim > MOST_DIMENSIONS
    if folded:
        z, t, s, g = (_fold(x, z.ndim, class_axis) for x in (z, t, s, g))
    place = out if not folded and _takes_output(out, z, (t, w, s, g)) else None
    result = kernel(
        *(kind, z, t, w, s, *options, 1 if folded else class_axis, thread_count, more),
        *(gradient, g, place, hessian),
    )
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    if folded:
        result = _unfold(result, positions, class_axis)
    if out is not None and gradient and result[1] is not out:
        np.copyto(out, result[1])
        result = result[0], out
    return result


def _takes_output(out: Any, z: Array, inputs: tuple[Any, ...]) -> bool:
    """Whether the kernels can write straight to a checked output."""
    if out is None or type(out) is not np.ndarray or _plain(out) is not out:
        return False
    apart = _same_memory(out, z) or not np.may_share_memory(out, z)
    return apart and not any(
        isinstance(x, np.ndarray) and np.may_share_memory(out, x) for x in inputs
    )


def _fold(x: Any, ndim: int, axis: int) -> Any:
    """Return an array of too many dimensions as (1, classes, positions) or (1, positions)."""
    if not isinstance(x, np.ndarray):
        return x
    if x.ndim < ndim:
        return x.reshape(1, -1)
    return np.moveaxis(x, axis, 0).reshape(1, x.shape[axis], -1)


def _unfold(x: Any, positions: tuple[int, ...], axis: int) -> Any:
    """Undo `_fold` in whatever a kernel returned."""
    if isinstance(x, tuple):
        return tuple(_unfold(part, positions, axis) for part in x)
    if isinstance(x, dict):
        return {name: _unfold(part, positions, axis) for name, part in x.items()}
    if not isinstance(x, np.ndarray):
        return x
    if x.ndim == 2:
        return x.reshape(positions)
    return np.moveaxis(x.reshape(x.shape[1], *positions), 0, axis)


# ---- Pointwise losses -------------------------------------------------------------------------

#: Of operands that a loss is not defined everywhere in: name, lowest and highest value.
DOMAINS: dict[str, dict[int, tuple[str, float, float]]] = {
    "binary_cross_entropy": {0: ("probs", 0, 1), 1: ("target", 0, 1)},
    "gaussian_nll_loss": {2: ("var", 0, np.inf)},
}


def raise_bad_value(loss: str, operands: tuple[Any, ...]) -> NoReturn:
    """Raise the ValueError of the first value that is outside of a loss's domain."""
    for k, (name, lowest, highest) in DOMAINS[loss].items():
        array = np.asarray(operands[k])
        bad = ~((array >= lowest) & (array <= highest))
        if bad.any():
            where, value = _first(name, array, bad)
            limits = (
                f"at least {lowest:g}" if highest == np.inf else f"in [{lowest:g}, {highest:g}]"
            )
            raise ValueError(f"{where} is {value}: expected a value {limits}")
    raise SystemError(f"{loss}: no value is out of range")


def _numbers(name: str, x: Any) -> Array:
    """Return real numbers of any dtype as the kernels take them."""
    array = _array(name, x)
    if array.dtype.kind not in "biuf" and not _is_real(array.dtype):
        raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers")
    if array.dtype.kind == "b":
        return _plain(array).view(np.uint8)
    exact = array.dtype.kind in "iu" or array.dtype.newbyteorder("=").name in FLOAT_DTYPES
    return _plain(array, None if exact else np.float64)


def pointwise(
    kernel: Callable[..., Any],
    loss: str,
    operands: dict[str, Any],
    weight: Any,
    parameters: tuple[float, ...],
    reduction_name: Any,
    divisor: float,
    weighted_mean: bool,
    threads: Any,
    gradient: bool | tuple[int, ...],
    grad_output: Any,
    out: Any,
    hessian: bool,
) -> Any:
    """Check a call of a pointwise loss, mend what is only odd, and run the kernel on it."""
    names = tuple(operands)
    given = {names[0]: _prediction(names[0], operands[names[0]])}
    given |= {name: _array(name, operands[name]) for name in names[1:]}
    x = _plain(given[names[0]])
    plain = {names[0]: x} | {name: _numbers(name, given[name]) for name in names[1:]}
    w = None if weight is None else _numbers("weight", weight)
    shape = _broadcast(plain if w is None else plain | {"weight": w})
    mode = reduction(reduction_name)
    g = None if grad_output is None else loss_cotangent(grad_output, mode, x, shape)
    thread_count = num_threads(threads)

    inputs = operands | {"weight": weight, "grad_output": grad_output}
    wanted, places = _places(gradient, out, given, inputs)

    # The kernels write gradients of the broadcast shape, in the dtype that they compute in.
    full = tuple(_flat(np.broadcast_to(y, shape)) for y in plain.values())
    dtype = compute_dtype(x)
    made = tuple(np.empty(_folded(shape), dtype) for _ in wanted)
    result = kernel(
        loss,
        full,
        None if w is None else _flat(np.broadcast_to(w, shape)),
        parameters,
        mode,
        divisor,
        weighted_mean,
        thread_count,
        wanted,
        _flat(g) if isinstance(g, np.ndarray) else g,
        made if wanted else None,
        hessian,
    )
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    if not wanted:
        return result.reshape(shape) if isinstance(result, np.ndarray) else result
    value, curvature = (None, result[1]) if hessian else (result[0], None)
    whole = tuple(array.reshape(shape) for array in made)
    gradients = _delivered(whole, [given[names[k]] for k in wanted], places, x.dtype)
    of_calls = gradients if isinstance(gradient, tuple) else gradients[0]
    if hessian:
        assert curvature is not None
        return of_calls, curvature.reshape(shape)
    if isinstance(value, np.ndarray):
        value = value.reshape(shape)
    return value, of_calls


def _places(
    gradient: bool | tuple[int, ...],
    out: Any,
    given: dict[str, Array],
    inputs: dict[str, Any],
) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Return which gradients are wanted, and where they go, checked; None: to a new array."""
    names = tuple(given)
    several = isinstance(gradient, tuple)
    wanted = gradient if isinstance(gradient, tuple) else (0,) if gradient else ()
    places = out if several and out is not None else (out,) * len(wanted)
    for i, (k, place) in enumerate(zip(wanted, places, strict=True)):
        if place is not None:
            others = {name: value for name, value in inputs.items() if name != names[k]}
            earlier = {f"out[{j}]": places[j] for j in range(i)}
            name = f"out[{i}]" if several else "out"
            _output(name, place, names[k], given[names[k]], others | earlier)
    return wanted, places


def _delivered(
    made: tuple[Array, ...],
    operands: list[Array],
    places: tuple[Any, ...],
    dtype: np.dtype[Any],
) -> tuple[Array, ...]:
    """Return gradients of the broadcast shape as those of the operands, in their places."""
    gradients = []
    for whole, operand, place in zip(made, operands, places, strict=True):
        own = operand.dtype.newbyteorder("=") if _is_real(operand.dtype) else dtype
        gradient = np.empty(operand.shape, own) if place is None else place
        np.copyto(gradient, _summed_to(whole, operand.shape), casting="unsafe")
        gradients.append(gradient)
    return tuple(gradients)


def _broadcast(arrays: dict[str, Array]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(x.shape for x in arrays.values()))
    except ValueError:
        listed = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
        raise ValueError(f"shapes do not broadcast: {listed}") from None


def _folded(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) <= MOST_DIMENSIONS else (math.prod(shape),)


def _flat(array: Array) -> Array:
    """Return an array of more dimensions than the kernels take as one dimension."""
    return array.reshape(_folded(array.shape))


def _summed_to(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array summed over what was broadcast to its shape."""
    missing = array.ndim - len(shape)
    stretched = (d + missing for d, size in enumerate(shape) if size != array.shape[d + missing])
    axes = (*range(missing), *stretched)
    if not axes:
        return array
    return np.asarray(array.sum(axes, np.float64, keepdims=True)).reshape(shape)


def batch_mean(name: str, x: Any, reduction: Any) -> tuple[Any, float]:
    """Return a reduction that may be "batchmean" as one of the kernels', and its divisor."""
    mode = one_of("reduction", reduction, (*REDUCTIONS, "batchmean"))
    if mode != "batchmean":
        return mode, 0.0
    shape = _array(name, x).shape
    rows = shape[0] if shape else 1
    return ("sum", float(rows)) if rows else ("mean", 0.0)  # of no row: the mean of nothing


def scores_or_classes(prediction: Any, target: Any) -> tuple[Array, Array, bool]:
    """Return a prediction and its target, and whether the prediction is one of scores.

    Integer classes become 0 where they are right and 1 where they are not, the target 0: no float
    holds every integer.
    """
    x, t = _array("prediction", prediction), _array("target", target)
    if _is_real(x.dtype):
        return x, t, x.ndim == t.ndim + 1
    if x.dtype.kind not in "biu":
        raise TypeError(
            f"prediction has dtype {x.dtype}: expected integers or {' or '.join(FLOAT_DTYPES)}"
        )
    t = _numbers("target", t)
    _broadcast({"prediction": x, "target": t})
    return np.asarray(x != t).astype(np.float64), np.zeros(()), False


def zeros_like(name: str, of: Array, out: Any, inputs: dict[str, Any]) -> Array:
    """Return a gradient of zeros, in `out` if that is given."""
    if out is None:
        return np.zeros(of.shape, of.dtype.newbyteorder("="))
    place = _output("out", out, name, of, inputs)
    place[...] = 0
    return place


# ---- Losses of several arrays -----------------------------------------------------------------


def arrays(name: str, x: Any) -> list[Any]:
    """Return a list or tuple of arrays as a list."""
    if not isinstance(x, (list, tuple)):
        raise TypeError(f"{name} is a {type(x).__name__}: expected a list of arrays")
    return list(x)


def same_length(name: str, x: Any, of_name: str, of: list[Any]) -> list[Any]:
    """Return a list or tuple as a list, if it is as long as another."""
    listed = arrays(name, x)
    if len(listed) != len(of):
        raise ValueError(f"{name} holds {len(listed)}: expected {len(of)}, as many as {of_name}")
    return listed


def places(
    out: Any, layers: list[dict[str, Any]], wanted: tuple[int, ...], several: bool
) -> list[tuple[Any, ...] | None]:
    """Check the lists of arrays where gradients go; return what each layer's kernel takes.

    Then no layer may fail after another's gradient is written: each is checked whole.
    """
    lists = tuple(out) if several and out is not None else (out,) * len(wanted)
    if all(each is None for each in lists):
        return [None] * len(layers)
    inputs: dict[str, Array] = {}
    for operands in layers:
        first, *others = operands
        given = {first: _prediction(first, operands[first])}
        given |= {name: _numbers(name, operands[name]) for name in others}
        _broadcast(given)
        inputs |= {name: np.asarray(x) for name, x in operands.items()}
    columns = []
    for i, (k, each) in enumerate(zip(wanted, lists, strict=True)):
        of_names = [tuple(operands)[k] for operands in layers]
        name = f"out[{i}]" if several else "out"
        column = same_length(name, [None] * len(layers) if each is None else each, "layers", layers)
        for j, (place, of) in enumerate(zip(column, of_names, strict=True)):
            if place is not None:
                others_of = {other: x for other, x in inputs.items() if other != of}
                inputs[f"{name}[{j}]"] = _output(f"{name}[{j}]", place, of, inputs[of], others_of)
        columns.append(column)
    return list(zip(*columns, strict=True))


# ---- Losses of rows ---------------------------------------------------------------------------

MOST_LABEL_CLASSES = 1 << 24


def raise_bad_class(target: Any, classes: int, labels: bool) -> NoReturn:
    """Raise the IndexError of the first class index that is out of range; -1 ends `labels`."""
    array = np.asarray(target)
    bad = (array < (-1 if labels else 0)) | (array >= classes)
    where, value = _first("target", array, bad)
    unless = " (and not -1)" if labels else ""
    raise IndexError(f"{where} is {value}: out of range for {classes} classes{unless}")


def _row_shape(arrays: dict[str, Array], first: Array) -> tuple[int, ...]:
    """Return what rows broadcast to, which leaves the axis of classes where it is."""
    for name, array in arrays.items():
        if array.ndim != first.ndim:
            raise ValueError(
                f"{name} has shape {array.shape}: expected {first.ndim} dimensions, as in "
                f"{first.shape}"
            )
    return _broadcast(arrays)


def _labels(name: str, array: Array, shape: tuple[int, ...], axis: int) -> Array:
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: expected integer class indices")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}: expected {shape}, ended by -1")
    if shape[axis] > MOST_LABEL_CLASSES:
        raise ValueError(f"{name} has shape {shape}: expected at most {MOST_LABEL_CLASSES} classes")
    return _plain(array)


def _row_operand(name: str, array: Array, role: int, of: Array, axis: int) -> Array:
    """Return an operand as the kernels take it for the rows of another."""
    positions = of.shape[:axis] + of.shape[axis + 1 :]
    if role == ROWS:
        return _numbers(name, np.broadcast_to(array, of.shape))
    if role == LABELS:
        return _labels(name, array, of.shape, axis)
    if role != VALUES:
        return _target(array, of, axis, 0 if role == INDICES else -1)
    if array.shape != positions:
        raise ValueError(f"{name} has shape {array.shape}: expected {positions}, one per row")
    return _numbers(name, array)


def rowwise(
    kernel: Callable[..., Any],
    loss: str,
    operands: dict[str, Any],
    roles: tuple[int, ...],
    weight: Any,
    sample_weight: Any,
    parameters: tuple[float, ...],
    reduction_name: Any,
    axis: Any,
    threads: Any,
    gradient: bool | tuple[int, ...],
    grad_output: Any,
    out: Any,
) -> Any:
    """Check a call of a loss of rows, mend what is only odd, and run the kernel on it."""
    names = tuple(operands)
    first = _prediction(names[0], operands[names[0]])
    class_axis = _class_axis(names[0], first, axis)
    given = {names[0]: first} | {name: _array(name, operands[name]) for name in names[1:]}
    role_of = dict(zip(names, (ROWS, *roles), strict=True))
    shape = _row_shape({name: x for name, x in given.items() if role_of[name] == ROWS}, first)
    positions = shape[:class_axis] + shape[class_axis + 1 :]
    x = _plain(np.broadcast_to(first, shape))
    plain = {names[0]: x} | {
        name: _row_operand(name, given[name], role_of[name], x, class_axis) for name in names[1:]
    }
    w = None if weight is None else _class_weight("weight", weight, x, shape[class_axis])
    s = None if sample_weight is None else _sample_weight(sample_weight, x, positions)
    mode = reduction(reduction_name)
    g = None if grad_output is None else loss_cotangent(grad_output, mode, x, positions)
    thread_count = num_threads(threads)
    more = {"weight": weight, "sample_weight": sample_weight, "grad_output": grad_output}
    wanted, places = _places(gradient, out, given, operands | more)

    # The kernels write gradients of the broadcast shape, in the dtype that they compute in.
    made = tuple(np.empty(shape, compute_dtype(x)) for _ in wanted)
    folded = len(shape) > MOST_DIMENSIONS
    arrays = (*plain.values(), s, g)
    kernel_axis = class_axis
    buffers = made
    if folded:
        arrays = tuple(_fold(y, len(shape), class_axis) for y in arrays)
        buffers = tuple(np.ascontiguousarray(_fold(y, len(shape), class_axis)) for y in made)
        kernel_axis = 1
    result = kernel(
        *(loss, arrays[:-2], roles, w, arrays[-2], parameters, mode, kernel_axis, thread_count),
        *(wanted, arrays[-1], buffers if wanted else None),
    )
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    if folded:
        result = _unfold(result, positions, class_axis)
    if not wanted:
        return result
    gradients = _delivered(result[1], [given[names[k]] for k in wanted], places, x.dtype)
    return result[0], gradients if isinstance(gradient, tuple) else gradients[0]


# ---- Linear layer and cross-entropy -----------------------------------------------------------

PRECISIONS = ("highest", "high", "medium")


class LinearCall(NamedTuple):
    """A call of linear_cross_entropy, checked, its arrays as the kernels take them."""

    given: dict[str, Any]  # the arrays as the caller gave them, by name
    input: Array
    weight: Array
    target: Array
    bias: Array | None
    class_weight: Array | None
    sample_weight: Array | None
    reduction: str
    ignore_index: int
    label_smoothing: float
    softcap: float | None
    z_loss: float
    shift: int
    precision: str
    outputs: tuple[str, ...]
    workspace: int
    num_threads: int | None
    compute_dtype: np.dtype[Any]


def linear(
    given: dict[str, Any],
    reduction_name: Any,
    ignore_index: Any,
    label_smoothing: Any,
    softcap: Any,
    z_loss: Any,
    shift: Any,
    precision: Any,
    output_names: Any,
    workspace: Any,
    threads: Any,
) -> LinearCall:
    """Check a call of linear_cross_entropy; `given` are its arrays."""
    x = plain_prediction("input", given["input"])
    weight = plain_prediction("linear_weight", given["linear_weight"])
    if weight.ndim != 2:
        raise ValueError(
            f"linear_weight has shape {weight.shape}: expected 2 dimensions, (classes, features)"
        )
    classes, features = weight.shape
    if classes == 0 or features == 0:
        raise ValueError(
            f"linear_weight has shape {weight.shape}: expected at least one class and one feature"
        )
    if x.ndim == 0 or x.shape[-1] != features:
        raise ValueError(
            f"input has shape {x.shape}: expected (..., {features}), the features of linear_weight "
            f"of shape {weight.shape}"
        )
    if x.ndim > MOST_DIMENSIONS + 1:
        raise ValueError(
            f"input has {x.ndim} dimensions: expected at most {MOST_DIMENSIONS + 1}, reshape it"
        )
    _same_dtype("linear_weight", weight, x)
    bias = None
    if given["linear_bias"] is not None:
        bias = plain_prediction("linear_bias", given["linear_bias"])
        _same_dtype("linear_bias", bias, x)
        if bias.shape != (classes,):
            raise ValueError(f"linear_bias has shape {bias.shape}: expected ({classes},)")

    # The logits' shape and dtype, without memory.
    logits = np.broadcast_to(np.zeros((), x.dtype), (*x.shape[:-1], classes))
    axis = x.ndim - 1
    target = _target(given["target"], logits, axis, -1)
    is_index = target.ndim < logits.ndim
    if ignore_index is None:
        ignore_index = -100
    elif not is_index:
        raise ValueError("ignore_index is given: expected class indices, target has probabilities")
    w, s = given["weight"], given["sample_weight"]
    class_weight = None if w is None else _class_weight("weight", w, x, classes)
    sample_weight = None if s is None else _sample_weight(s, x, x.shape[:-1])

    steps = _shift(shift, x)
    if steps:
        x = x[..., :-steps, :]
        target = target[..., steps:] if is_index else target[..., steps:, :]
        sample_weight = None if sample_weight is None else sample_weight[..., steps:]
    return LinearCall(
        given,
        x,
        weight,
        target,
        bias,
        class_weight,
        sample_weight,
        reduction(reduction_name),
        integer("ignore_index", ignore_index),
        in_range("label_smoothing", label_smoothing, 0, 1),
        None if softcap is None else positive("softcap", softcap),
        not_negative("z_loss", z_loss),
        steps,
        "highest" if precision is None else one_of("precision", precision, PRECISIONS),
        outputs(output_names),
        _workspace(workspace),
        num_threads(threads),
        compute_dtype(x),
    )


def _same_dtype(name: str, array: Array, like: Array) -> None:
    if array.dtype != like.dtype:
        raise TypeError(f"{name} has dtype {array.dtype}: expected {like.dtype}, that of input")


def _shift(shift: Any, x: Array) -> int:
    steps = integer("shift", shift)
    if steps < 0:
        raise ValueError(f"shift is {steps}: expected a number of at least 0")
    if steps and x.ndim < 2:
        raise ValueError(f"shift is {steps}: expected an input of shape (..., length, features)")
    if steps and steps > x.shape[-2]:
        raise ValueError(f"shift is {steps}: expected at most {x.shape[-2]}, the input's length")
    return steps


def _workspace(workspace: Any) -> int:
    if workspace is None:
        return 0
    size = integer("workspace", workspace)
    if size <= 0:
        raise ValueError(f"workspace is {size}: expected a positive number of bytes")
    return size


#: What the loss of a linear layer is differentiable in.
LINEAR_DIFFERENTIABLE = ("input", "linear_weight", "linear_bias")


class LinearGradients:
    """Where the gradients of a call of linear_cross_entropy go."""

    def __init__(
        self, call: LinearCall, gradient: bool | tuple[int, ...], grad_output: Any, out: Any
    ) -> None:
        self._several = isinstance(gradient, tuple)
        wanted = gradient if isinstance(gradient, tuple) else (0,) if gradient else ()
        places = out if self._several and out is not None else (out,) * len(wanted)
        self.grad_output: Any = 1.0
        if grad_output is not None:
            positions = call.input.shape[:-1]
            self.grad_output = loss_cotangent(grad_output, call.reduction, call.input, positions)
        inputs = call.given | {"grad_output": grad_output}
        self._results: list[Array] = []
        self._written: dict[str, Array] = {}
        for i, (k, place) in enumerate(zip(wanted, places, strict=True)):
            name = LINEAR_DIFFERENTIABLE[k]
            if call.given[name] is None:
                raise ValueError(f"{name} is None: there is no gradient by it")
            of = np.asarray(call.given[name])
            made = np.empty(of.shape, of.dtype.newbyteorder("="))
            if place is not None:
                label = f"out[{i}]" if self._several else "out"
                inputs[label] = _output(label, place, name, of, inputs)
                made = place if _takes_output(place, of, ()) else made
            self._results.append(made if place is None else place)
            self._written[name] = made
        self.weight = self._written.get("linear_weight")
        self.bias = self._written.get("linear_bias")
        self.input = self._written.get("input")
        if self.input is not None and call.shift:
            self.input[..., -call.shift :, :] = 0
            self.input = self.input[..., : -call.shift, :]

    def finish(self) -> Array | tuple[Array, ...]:
        """Return the gradients in the order in which they are wanted."""
        for result, written in zip(self._results, self._written.values(), strict=True):
            if result is not written:
                np.copyto(result, written)
        return tuple(self._results) if self._several else self._results[0]


# ---- Losses of images -------------------------------------------------------------------------


def segmentation(
    logits: Any, target: Any, out: Any, soft: bool
) -> tuple[Array, Array, tuple[int, ...]]:
    """Return logits and target as the kernels take them, with pixels, and the logits' own shape.

    soft: whether the target may be probabilities. An `out` is checked, too.
    """
    given = _prediction("logits", logits)
    if given.ndim < 2:
        raise ValueError(f"logits has shape {given.shape}: expected (N, C) or (N, C, d1, ...)")
    axis = _class_axis("logits", given, None)
    y = _target(target, given, axis, -1 if soft else 0)
    if out is not None:
        _output("out", out, "logits", given, {"target": target})
    z = _plain(given)
    if not 2 < z.ndim <= MOST_DIMENSIONS:
        z = z.reshape(*z.shape[:2], math.prod(z.shape[2:]))
        y = y.reshape(z.shape if y.ndim == given.ndim else (len(z), z.shape[2]))
    return z, y, given.shape


# ---- Distillation -----------------------------------------------------------------------------


def distillation(
    student: Any,
    teacher: Any,
    target: Any,
    ignore_index: int,
    sample_weight: Any,
    out: Any,
    names: tuple[str, str],
) -> tuple[Array, tuple[Array, ...], Array | None, Array]:
    """Return student, teacher, target and sample weights, checked.

    The student's logits are plain; so are the teacher's, or its classes and their
    log-probabilities. The weights are float64.
    """
    student_name, teacher_name = names
    given = _prediction(student_name, student)
    axis = _class_axis(student_name, given, None)
    positions = given.shape[:axis] + given.shape[axis + 1 :]
    parts: tuple[Array, ...]
    if isinstance(teacher, tuple) and len(teacher) == 2:
        parts = _top_k(teacher_name, teacher, given, axis)
    else:
        parts = (_prediction(teacher_name, teacher),)
        if parts[0].shape != given.shape:
            raise ValueError(
                f"{teacher_name} has shape {parts[0].shape}: expected {given.shape}, that of "
                f"{student_name}, or a tuple (indices, log_probs)"
            )
    y = None if target is None else _target(target, given, axis, 0)
    if y is not None:
        class_indices("target", y, given.shape[axis], ignore_index)
    weights = np.ones(positions)
    if sample_weight is not None:
        weights = _sample_weight(sample_weight, given, positions).astype(np.float64)
    if out is not None:
        inputs: dict[str, Any] = {"target": target, "sample_weight": sample_weight}
        inputs |= {
            teacher_name if len(parts) == 1 else f"{teacher_name}[{i}]": part
            for i, part in enumerate(parts)
        }
        _output("out", out, student_name, given, inputs)
    return _plain(given), tuple(map(_plain, parts)), y, weights


def place(out: Any, of: Array) -> Array:
    """Return where the kernels write a gradient that goes to a checked `out`, or to a new array."""
    return out if _takes_output(out, of, ()) else np.empty(of.shape, of.dtype)


def _top_k(name: str, teacher: Any, logits: Array, axis: int) -> tuple[Array, Array]:
    indices = _array(f"{name}[0]", teacher[0])
    log_probs = _reals(f"{name}[1]", teacher[1])
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name}[0] has dtype {indices.dtype}: expected class indices")
    fitting = list(logits.shape)
    fitting[axis] = indices.shape[axis] if indices.ndim == logits.ndim else 0
    if indices.shape != tuple(fitting):
        expected = ", ".join("k" if d == axis else str(n) for d, n in enumerate(logits.shape))
        raise ValueError(f"{name}[0] has shape {indices.shape}: expected ({expected})")
    if indices.shape[axis] == 0:
        raise ValueError(f"{name}[0] has shape {indices.shape}: expected at least one class")
    if log_probs.shape != indices.shape:
        raise ValueError(
            f"{name}[1] has shape {log_probs.shape}: expected {indices.shape}, that of {name}[0]"
        )
    class_indices(f"{name}[0]", indices, logits.shape[axis], None)
    return indices, log_probs


def class_indices(name: str, indices: Array, classes: int, ignore_index: int | None) -> None:
    """Raise the IndexError of a class index out of range, if there is one."""
    bad = (indices < 0) | (indices >= classes)
    if ignore_index is not None:
        bad &= indices != ignore_index
    if bad.any():
        _raise_bad_index(name, indices, bad, classes, ignore_index)
