"""Calls of pointwise losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fusedloss import _core
from fusedloss._check.operands import (
    FLOAT_DTYPES,
    MOST_DIMENSIONS,
    as_array,
    as_numbers,
    as_plain,
    as_prediction,
    bools,
    broadcast,
    compute_dtype,
    first_bad,
    is_real,
)
from fusedloss._check.options import REDUCTIONS, num_threads, one_of, positive, reduction, shown
from fusedloss._check.results import (
    delivered,
    derivative_places,
    gradient_places,
    loss_cotangent,
)
from fusedloss._types import Array

if TYPE_CHECKING:
    from fusedloss._core import PointwiseCall

#: The domains of operands of losses that are not defined everywhere: name, lowest, highest.
DOMAINS: dict[str, dict[int, tuple[str, float, float]]] = {
    "binary_cross_entropy": {0: ("probs", 0, 1), 1: ("target", 0, 1)},
    "gaussian_nll_loss": {2: ("var", 0, np.inf)},
}


def raise_bad_value(call: PointwiseCall, operands: tuple[Any, ...]) -> NoReturn:
    """Raise ValueError for the first value outside a loss's domain that counts."""
    shape = np.shape(operands[0])
    counts = np.ones(shape, bool)
    if call.weight is not None:
        counts &= np.asarray(call.weight) != 0
    if call.where is not None:
        counts &= call.where
    for k, (name, lowest, highest) in DOMAINS[call.name].items():
        array = np.asarray(operands[k])
        if array.shape == shape and not counts.all():
            array = np.where(counts, array, max(lowest, 0.5))
        with np.errstate(invalid="ignore"):
            bad = ~((array >= lowest) & (array <= highest))
        if bad.any():
            where, value = first_bad(name, array, bad)
            limits = (
                f"at least {lowest:g}" if highest == np.inf else f"in [{lowest:g}, {highest:g}]"
            )
            raise ValueError(f"{where} is {value}: expected a value {limits}")
    raise SystemError(f"{call.name}: no value is out of range")


def pointwise(
    kernel: Callable[..., Any],
    call: PointwiseCall,
    gradient: bool | tuple[int, ...],
    grad_output: Any,
    out: Any,
    hessian: bool,
) -> Any:
    """Check a call of a pointwise loss, convert unusual arguments, and run the kernel."""
    operands, weight = call.operands, call.weight
    names = tuple(operands)
    given = {names[0]: as_prediction(names[0], operands[names[0]])}
    given |= {name: as_array(name, operands[name]) for name in names[1:]}
    x = as_plain(given[names[0]])
    plain = {names[0]: x} | {name: as_numbers(name, given[name]) for name in names[1:]}
    w = None if weight is None else as_numbers("weight", weight)
    m = None if call.where is None else as_plain(bools("where", call.where))
    others = {"weight": w, "where": m}
    shape = broadcast(plain | {name: y for name, y in others.items() if y is not None})
    mode = reduction(call.reduction)
    g = None if grad_output is None else loss_cotangent(grad_output, mode, x, shape)
    thread_count = num_threads(call.num_threads)

    inputs = operands | {"weight": weight, "where": call.where, "grad_output": grad_output}
    wanted: tuple[int, ...] = (0,)
    places: tuple[Any, ...]
    if hessian:
        inputs.pop(names[0])
        places = derivative_places(out, names[0], given[names[0]], inputs)
    else:
        wanted, places = gradient_places(gradient, out, given, inputs)

    # The kernels write gradients of the broadcast shape, in the compute dtype.
    full = tuple(_flat(np.broadcast_to(y, shape)) for y in plain.values())
    dtype = compute_dtype(x)
    made = tuple(_core.new_array(_folded(shape), dtype) for _ in wanted)
    curvature = _core.new_array(_folded(shape), dtype) if hessian else None
    checked = call._replace(
        operands=full,
        weight=None if w is None else _flat(np.broadcast_to(w, shape)),
        where=None if m is None else _flat(np.broadcast_to(m, shape)),
        reduction=mode,
        num_threads=thread_count,
    )
    result = kernel(
        checked,
        wanted,
        _flat(g) if isinstance(g, np.ndarray) else g,
        (made, curvature) if hessian else made if wanted else None,
        hessian,
    )
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    if not wanted:
        return result.reshape(shape) if isinstance(result, np.ndarray) else result
    if curvature is not None:
        made, wanted = (*made, curvature), (0, 0)
    whole = tuple(array.reshape(shape) for array in made)
    derivatives = delivered(whole, [given[names[k]] for k in wanted], places, x.dtype)
    if hessian:
        return derivatives
    value = result[0].reshape(shape) if isinstance(result[0], np.ndarray) else result[0]
    return value, derivatives if isinstance(gradient, tuple) else derivatives[0]


def _folded(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) <= MOST_DIMENSIONS else (math.prod(shape),)


def _flat(array: Array) -> Array:
    """Return an array of more dimensions than the kernels take as one dimension."""
    return array.reshape(_folded(array.shape))


def batch_mean(name: str, x: Any, reduction: Any) -> tuple[Any, float]:
    """Return the kernels' reduction and divisor for a reduction that may be "batchmean"."""
    mode = one_of("reduction", reduction, (*REDUCTIONS, "batchmean"))
    if mode != "batchmean":
        return mode, 0.0
    shape = as_array(name, x).shape
    rows = shape[0] if shape else 1
    return ("sum", float(rows)) if rows else ("mean", 0.0)  # of no row: the mean of nothing


def scores_or_classes(prediction: Any, target: Any) -> tuple[Array, Array, bool]:
    """Return a prediction and its target, and whether the prediction is one of scores.

    Integer classes become 0 where they are right and 1 where they are not, the target 0: no float
    holds every integer.
    """
    x, t = as_array("prediction", prediction), as_array("target", target)
    if is_real(x.dtype):
        return x, t, x.ndim == t.ndim + 1
    if x.dtype.kind not in "biu":
        raise TypeError(
            f"prediction has dtype {x.dtype}: expected integers or {' or '.join(FLOAT_DTYPES)}"
        )
    t = as_numbers("target", t)
    broadcast({"prediction": x, "target": t})
    return np.asarray(x != t).astype(np.float64), np.zeros(()), False


#: How the losses of an answer's tokens are reduced.
LOSS_TYPES = ("token", "sequence", "dapo")


def tokens_divisor(loss_type: Any, divisor: Any) -> float:
    """Return what a sum over tokens is divided by: the option, or 0 for a mean."""
    if one_of("loss_type", loss_type, LOSS_TYPES) == "dapo":
        if divisor is None:
            raise ValueError('divisor is None: loss_type="dapo" needs the number of tokens of all')
        return positive("divisor", divisor)
    if divisor is not None:
        raise ValueError(f'divisor is {shown(divisor)}: loss_type="{loss_type}" takes none')
    return 0.0


def broadcast_to_first(shapes: dict[str, tuple[int, ...]]) -> None:
    """Check that arrays of these shapes broadcast to that of the first."""
    first = next(iter(shapes))
    shape = shapes[first]
    for name, own in shapes.items():
        padded = (1,) * (len(shape) - len(own)) + own
        if len(padded) > len(shape) or any(
            n not in (1, m) for n, m in zip(padded, shape, strict=True)
        ):
            raise ValueError(
                f"{name} has shape {own}: expected one that broadcasts to {shape}, that of {first}"
            )
