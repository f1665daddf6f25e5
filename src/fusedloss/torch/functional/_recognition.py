"""Which calls of torch's losses the kernels answer: all of these, of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C import _is_tracing
from torch.compiler import is_compiling

from fusedloss.torch._autograd import overridden, transformed


def recognised(input: Any, target: Any, *others: Any) -> bool:
    """Whether a pointwise kernel answers a call.

    All tensors have one dtype, so that torch promotes none. Input and target have one shape;
    whether the others broadcast to it is the kernel's to say. They are None where absent.
    """
    return (
        not is_compiling()  # which reads no further
        and not _is_tracing()
        and isinstance(input, Tensor)
        and isinstance(target, Tensor)
        and target.dtype is input.dtype
        and target.shape == input.shape
        and all([x is None or (isinstance(x, Tensor) and x.dtype is input.dtype) for x in others])
        and not overridden(input, target, *others)
        and not transformed()
        and not (input.itemsize == 2 and torch.is_autocast_enabled("cpu"))
    )


def recognised_rows(*rows: Any, others: tuple[Tensor | None, ...] = ()) -> bool:
    """Whether a kernel of rows answers a call.

    The rows have one dtype and one shape, and are more than none; the others are None where absent.
    """
    first = rows[0]
    return (
        not overridden(*rows, *others)
        and all([isinstance(x, Tensor) for x in rows])
        and all([x is None or isinstance(x, Tensor) for x in others])
        and first.ndim > 0
        and first.numel() > 0
        and all([x.dtype is first.dtype and x.shape == first.shape for x in rows])
        and not transformed()
        and not (first.itemsize == 2 and torch.is_autocast_enabled("cpu"))
    )


def is_number(option: Any) -> bool:
    """Whether an option is a plain number, and not a tensor or what torch would refuse."""
    return isinstance(option, float | int)
