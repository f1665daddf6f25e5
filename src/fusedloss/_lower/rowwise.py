"""Lower a row loss to its kernel."""

from __future__ import annotations

from typing import Any

from fusedloss import _core
from fusedloss._lower.traced import TRACED, RowwiseTuple
from fusedloss._types import Call


def rowwise(
    name: str,
    operands: dict[str, Any],
    roles: tuple[int, ...],
    parameters: tuple[float, ...],
    reduction: Any,
    num_threads: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    axis: Any = None,
    where: Any = None,
) -> Call:
    """Return the call of the kernels' ROW_LOSS(name): see `_core.RowwiseCall`."""
    of: Any = RowwiseTuple if num_threads is TRACED else _core.RowwiseCall
    call = of(
        *(name, operands, roles, parameters, weight, sample_weight),
        *(reduction, axis, num_threads, False, where),
    )
    return _core.rowwise, (call,)
