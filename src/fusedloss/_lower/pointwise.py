"""Lower a pointwise loss to its kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss import _check, _core
from fusedloss._core import PointwiseCall
from fusedloss._lower.traced import TRACED, PointwiseTuple
from fusedloss._types import Call


def pointwise(
    row: str,
    operands: dict[str, Any],
    parameters: tuple[float, ...],
    weight: Any,
    reduction: Any,
    num_threads: Any,
    *,
    weighted_mean: bool = False,
    divisor: float = 0.0,
    where: Any = None,
) -> Call:
    """Return the call of the kernels' row LOSS(row): see `_core.PointwiseCall`."""
    of: Any = PointwiseTuple if num_threads is TRACED else _core.PointwiseCall
    call = of(
        *(row, operands, parameters, weight, reduction),
        *(divisor, weighted_mean, num_threads, where),
    )
    return _core.pointwise, (call,)


def lacks_last_axis(name: str, x: Any, of_name: str, of: Any) -> bool:
    """Return True if an array has the shape of another without its last axis."""
    if getattr(x, "ndim", None) == getattr(of, "ndim", -1):
        return False
    shape = _check.as_array(of_name, of).shape
    return len(shape) > 1 and _check.as_array(name, x).shape == shape[:-1]


def variances_of_rows(
    call: PointwiseCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
    hessian: bool = False,
) -> Any:
    """Run `_core.pointwise` with one variance, the third operand, for each row of the first."""
    variances = _check.as_array("var", call.operands["var"])[..., np.newaxis]
    call = call._replace(operands=call.operands | {"var": variances})
    if not (isinstance(gradient, tuple) and 2 in gradient):
        return _core.pointwise(call, gradient, grad_output, out, hessian)
    at = gradient.index(2)
    places = [None] * len(gradient) if out is None else list(out)
    given = places[at]
    if isinstance(given, np.ndarray):
        places[at] = given[..., np.newaxis]
    value, gradients = _core.pointwise(call, gradient, grad_output, tuple(places))
    made = list(gradients)
    made[at] = made[at][..., 0] if given is None else given
    return value, tuple(made)
