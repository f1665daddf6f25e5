"""Losses of rows in torch: kernel calls, and formulas in torch's differentiable operations.

A formula answers where the kernels do not: it says what is wrong with bad input, runs on other
devices and under torch's transforms, and is what second derivatives are taken of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusedloss import _check
from fusedloss._core import RowwiseCall, rowwise_plain
from fusedloss._lower.loss import lookup
from fusedloss.torch._autograd import (
    Tensors,
    evaluate,
    expect_arguments,
    expect_tensors,
    in_computing_type,
)
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._pointwise import numbers, reduced, replace_silent
from fusedloss.torch._softmax import expect_shape


class Rowwise(NamedTuple):
    """A call of a kernel of rows; its tensors are the operands, class and sample weights."""

    name: str
    #: the loss of the same tensors in torch
    by_torch: Callable[..., Tensor]
    reduction: str
    #: what each operand after the first is, by `_check`'s names
    roles: tuple[int, ...]
    parameters: tuple[float, ...] = ()
    differentiable: int = 1
    axis: int | None = None
    takes_tensors: bool = True

    @property
    def deferred(self) -> bool:
        """Whether the gradients are left to the backward pass."""
        return self.reduction == "none"

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: Any = None,
        out: tuple[Any, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss; None if it does not take the arguments."""
        operands = len(self.roles) + 1
        weight, sample_weight = tensors[operands:]
        if weight is not None:
            weight = in_computing_type(weight, tensors[0])
        call = RowwiseCall(
            self.name,
            tensors[:operands],
            self.roles,
            self.parameters,
            weight,
            sample_weight,
            self.reduction,
            self.axis,
            torch.get_num_threads(),
        )
        result = rowwise_plain(call, wanted, grad_output, out if wanted else None, True)
        return result[0] if wanted and result is not None else result

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations."""
        return self.by_torch(*tensors)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Losses of rows have no extra outputs."""
        return {}


def own_row_loss(
    loss: Callable[..., Any],
    formula: Callable[..., Tensor],
    operands: tuple[Tensor, ...],
    sample_weight: Tensor | None,
    reduction: str,
    named: dict[str, Tensor] | None = None,
    **options: Any,
) -> Tensor:
    """Compute a loss of tensors that is this package's own.

    `loss` is the same of arrays, whose kernel and checks are taken; `formula` gives the losses of
    the rows of operands in torch's operations, floating-point ones being of one dtype. The operands
    that are `named` come last.
    """
    named = named or {}
    expect_arguments(loss, *operands)
    expect_tensors(*named.values(), sample_weight)
    operands = tuple(map(numbers, operands))
    named = {name: numbers(x) for name, x in named.items()}
    if not operands[0].is_floating_point():
        raise TypeError(f"the prediction has dtype {operands[0].dtype}: expected floating point")
    record = lookup(loss)
    if operated(*operands):
        given = dict(zip(record.parameters, operands, strict=False)) | {"where": None} | named
        result: Tensor = operate(
            loss.__name__, sample_weight=sample_weight, reduction=reduction, **given, **options
        )
        return result
    (lowered,) = record.lower(
        *operands, sample_weight=sample_weight, reduction=reduction, **named, **options
    )[1]
    losses = partial(formula, **options)
    call = Rowwise(
        lowered.name,
        partial(_by_formula, losses, _check.reduction(reduction), lowered.axis),
        reduction,
        lowered.roles,
        lowered.parameters,
        len(record.differentiable),
        lowered.axis,
    )
    value: Tensor = evaluate(call, *operands, *named.values(), None, sample_weight)
    return value


def _replace_silent_rows(x: Tensor | None, silent: Tensor, axis: int | None) -> Tensor | None:
    """Return an operand with other numbers in the rows that count nothing."""
    if x is None or not x.is_floating_point():
        return x
    if x.dim() > silent.dim():
        silent = silent.unsqueeze(silent.dim() and 1 if axis is None else axis)
    return replace_silent(x, silent)


def _by_formula(
    formula: Callable[..., Tensor],
    reduction: str,
    axis: int | None,
    prediction: Tensor,
    *others: Tensor | None,
) -> Tensor:
    """Compute losses in float32 or float64, weigh and reduce them."""
    dtype = torch.float32 if prediction.itemsize < 4 else prediction.dtype
    *operands, _, weight = [
        x.to(dtype) if x is not None and x.is_floating_point() else x for x in (prediction, *others)
    ]
    if weight is not None:
        operands = [_replace_silent_rows(x, weight == 0, axis) for x in operands]
    losses = formula(*operands)
    if weight is not None:
        expect_shape("sample_weight", weight, losses.shape)
    if weight is None or reduction != "mean":
        return reduced(losses, weight, reduction).to(prediction.dtype)
    return ((losses * weight).sum() / weight.sum()).to(prediction.dtype)
