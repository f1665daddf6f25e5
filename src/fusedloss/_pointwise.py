"""How a pointwise loss is lowered to its kernel."""

from __future__ import annotations

from typing import Any

from fusedloss import _core
from fusedloss._loss import Call


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
) -> Call:
    """Return the call of the kernels' row LOSS(row).

    The operands are the prediction, the target, and with some losses a third; the parameters are in
    the row's order. A sum is divided by `divisor`, if that is not 0.
    """
    return _core.pointwise, (
        *(row, operands, weight, parameters),
        *(reduction, divisor, weighted_mean, num_threads),
    )
