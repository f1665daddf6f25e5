"""Which calls of torch's losses the kernels answer, where the kernels do not say so themselves."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def recognised_rows(*rows: Any, others: tuple[Tensor | None, ...] = ()) -> bool:
    """Whether a kernel of rows answers a call.

    The rows have one dtype and one shape, and are more than none; the others are None where absent.
    """
    first = rows[0]
    return (
        all([isinstance(x, Tensor) for x in rows])
        and all([x is None or isinstance(x, Tensor) for x in others])
        and first.ndim > 0
        and first.numel() > 0
        and all([x.dtype is first.dtype and x.shape == first.shape for x in rows])
    )


def is_number(option: Any) -> bool:
    """Whether an option is a plain number, and not a tensor or what torch would refuse."""
    return isinstance(option, float | int)
