"""Lower a row loss to its kernel."""

from __future__ import annotations

from typing import Any

from fusedloss import _core
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
) -> Call:
    """Return the call of the kernels' ROW_LOSS(name).

    The operands are the prediction and up to two others; roles say what those are, by `_check`'s
    names. The parameters are in the loss's order.
    """
    return _core.rowwise, (
        *(name, operands, roles, weight, sample_weight, parameters),
        *(reduction, axis, num_threads),
    )
