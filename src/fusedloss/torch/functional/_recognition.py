"""What the kernels answer as torch does, and more quickly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, is_grad_enabled
from torch._C import _is_tracing
from torch.compiler import is_compiling
from torch.nn import _reduction
from torch.overrides import has_torch_function_variadic

from fusedloss.torch._autograd import overridden, transformed

#: torch's number of a reduction, which its operators take; typed as some of their stubs have it.
get_enum: Callable[[str], Any] = _reduction.get_enum

#: More elements than any input has.
NEVER = 1 << 62


class BreakEven(NamedTuple):
    """Elements of an input from which a call is worth taking from torch. Measured."""

    value: int  # without a gradient
    gradient: int  # with one
    row_value: int = 0  # the same of a row
    row_gradient: int = 0

    def passed(self, *rows: Tensor) -> bool:
        """Whether a call is as large."""
        with_gradient = is_grad_enabled() and any([x.requires_grad for x in rows])
        elements, row = rows[0].numel(), rows[0].shape[-1]
        if with_gradient:
            return elements >= self.gradient and row >= self.row_gradient
        return elements >= self.value and row >= self.row_value


def recognised(break_even: BreakEven, input: Any, target: Any, *others: Any) -> bool:
    """Whether a pointwise kernel answers a call as torch does, and is quicker.

    All tensors have one dtype, so that torch promotes none. Input and target have one shape;
    whether the others broadcast to it is the kernel's to say. They are None where absent.
    """
    return (
        not is_compiling()  # which reads no further
        and not _is_tracing()
        and isinstance(input, Tensor)
        and isinstance(target, Tensor)
        # Soon, because small calls take torch a few microseconds.
        and input.numel()
        >= (
            break_even.gradient
            if (input.requires_grad or target.requires_grad) and is_grad_enabled()
            else break_even.value
        )
        and target.dtype is input.dtype
        and target.shape == input.shape
        and all([x is None or (isinstance(x, Tensor) and x.dtype is input.dtype) for x in others])
        and not overridden(input, target, *others)
        and not transformed()
        and not (input.itemsize == 2 and torch.is_autocast_enabled("cpu"))
    )


def small(break_even: BreakEven, input: Any, target: Any) -> bool:
    """Whether a call goes straight to torch's operator.

    A kernel would not be quicker, and what torch's own function does before has no effect on such
    tensors. It costs some tenths of a microsecond, which are a tenth of such a call.
    """
    return (
        not is_compiling()  # which reads no further
        and not _is_tracing()  # in which a number is a tensor
        and type(input) is Tensor
        and type(target) is Tensor
        and input.numel()
        < (
            break_even.gradient
            if (input.requires_grad or target.requires_grad) and is_grad_enabled()
            else break_even.value
        )
        and input.shape == target.shape
        and not has_torch_function_variadic(input, target)
    )


def recognised_rows(
    break_even: BreakEven, *rows: Any, others: tuple[Tensor | None, ...] = ()
) -> bool:
    """Whether a kernel of rows answers a call as torch does, and is quicker.

    The rows have one dtype and one shape, and are more than none; the others are None where absent.
    """
    first = rows[0]
    return (
        not overridden(*rows, *others)
        and all([isinstance(x, Tensor) for x in rows])
        and all([x is None or isinstance(x, Tensor) for x in others])
        and first.ndim > 0
        and first.numel() > 0
        and break_even.passed(*rows)
        and all([x.dtype is first.dtype and x.shape == first.shape for x in rows])
        and not transformed()
        and not (first.itemsize == 2 and torch.is_autocast_enabled("cpu"))
    )


def is_number(option: Any) -> bool:
    """Whether an option is a plain number, and not a tensor or what torch would refuse."""
    return isinstance(option, float | int)
