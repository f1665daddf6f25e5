"""Losses of rows in torch: kernel calls, and formulas in torch's differentiable operations.

A formula answers where the kernels do not: it says what is wrong with bad input, runs on other
devices and under torch's transforms, and is what second derivatives are taken of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import _reduction

from fusedloss import _check
from fusedloss._core import RowwiseCall, rowwise_plain
from fusedloss._lower.loss import lookup
from fusedloss._lower.traced import TRACED
from fusedloss.torch._autograd import (
    Tensors,
    evaluate,
    expect_arguments,
    expect_mask,
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
    where: Tensor | None = None,
    weight: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Compute a loss of tensors that is this package's own.

    `loss` is the same of arrays, whose kernel and checks are taken; `formula` gives the losses of
    the rows of operands in torch's operations, floating-point ones being of one dtype. The operands
    that are `named` come last. where: the rows that take part. weight: of classes, if the loss
    takes one.
    """
    named = named or {}
    expect_arguments(loss, *operands)
    expect_tensors(*named.values(), sample_weight)
    operands = tuple(map(numbers, operands))
    named = {name: numbers(x) for name, x in named.items()}
    if not operands[0].is_floating_point():
        raise TypeError(f"the prediction has dtype {operands[0].dtype}: expected floating point")
    record = lookup(loss)
    if where is not None:
        operands, sample_weight = _without_masked(where, operands, sample_weight, options)
    if operated(*operands):
        given = dict(zip(record.parameters, operands, strict=False)) | named
        result: Tensor = operate(
            loss.__name__, sample_weight=sample_weight, reduction=reduction, **given, **options
        )
        return result
    threads = {"num_threads": TRACED} if is_compiling() else {}
    (lowered,) = record.lower(
        *operands, sample_weight=sample_weight, reduction=reduction, **named, **options, **threads
    )[1]
    losses = partial(formula, **options)
    call = Rowwise(
        lowered.name,
        partial(by_formula, losses, _check.reduction(reduction), lowered.axis),
        reduction,
        lowered.roles,
        lowered.parameters,
        len(record.differentiable),
        lowered.axis,
    )
    value: Tensor = evaluate(call, *operands, *named.values(), weight, sample_weight)
    return value


def masked_rows(
    loss: Callable[..., Any],
    formula: Callable[..., Tensor],
    operands: dict[str, Tensor],
    reduction: tuple[bool | None, bool | None, str],
    where: Tensor,
    **options: Any,
) -> Tensor:
    """Compute a loss of torch's of the rows that `where` has take part.

    The operands have the names of torch's function, `formula`. reduction: its `size_average`,
    `reduce` and `reduction`.
    """
    size_average, reduce, mode = reduction
    if size_average is not None or reduce is not None:
        mode = _reduction.legacy_get_string(size_average, reduce)
    if operated(*operands.values()):
        result: Tensor = operate(loss.__name__, where=where, reduction=mode, **operands, **options)
        return result
    losses = partial(formula, reduction="none")
    return own_row_loss(loss, losses, tuple(operands.values()), None, mode, where=where, **options)


def _without_masked(
    where: Tensor,
    operands: tuple[Tensor, ...],
    sample_weight: Tensor | None,
    options: dict[str, Any],
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return operands, and sample weights that are 0 for the rows that `where` leaves out.

    Class indices are valid ones there, and labels end with the first.
    """
    expect_mask(where)
    first, *others = operands
    axis = options.get("axis", 1 if first.dim() > 1 and where.dim() > 0 else 0)
    if sample_weight is None:
        sample_weight = where.to(torch.promote_types(first.dtype, torch.float32))
    else:
        sample_weight = sample_weight.masked_fill(~where, 0)
    for k, x in enumerate(others):
        if x.is_floating_point():
            continue
        if x.dim() == where.dim():
            others[k] = x.masked_fill(~where, 0)
        elif x.dim() == where.dim() + 1:
            others[k] = x.masked_fill(~where.unsqueeze(axis), -1 if x.dtype.is_signed else 0)
    return (first, *others), sample_weight


def _replace_silent_rows(x: Tensor | None, silent: Tensor, axis: int | None) -> Tensor | None:
    """Return an operand with other numbers in the rows that are ignored."""
    if x is None or not x.is_floating_point():
        return x
    if x.dim() > silent.dim():
        silent = silent.unsqueeze(silent.dim() and 1 if axis is None else axis)
    return replace_silent(x, silent)


def by_formula(
    formula: Callable[..., Tensor],
    reduction: str,
    axis: int | None,
    prediction: Tensor,
    *others: Tensor | None,
) -> Tensor:
    """Compute losses in float32 or float64, weigh and reduce them."""
    dtype = torch.float32 if prediction.itemsize < 4 else prediction.dtype
    *operands, of_classes, weight = [
        x.to(dtype) if x is not None and x.is_floating_point() else x for x in (prediction, *others)
    ]
    if of_classes is not None:
        formula = partial(formula, weight=of_classes)
    if weight is not None:
        operands = [_replace_silent_rows(x, weight == 0, axis) for x in operands]
    losses = formula(*operands)
    if weight is not None:
        expect_shape("sample_weight", weight, losses.shape)
    if weight is None or reduction != "mean":
        return reduced(losses, weight, reduction).to(prediction.dtype)
    divisor = weight.sum()
    nothing = divisor == 0
    # The mean of nothing is nan, but its gradient zero.
    mean = (losses * weight).sum() / divisor.masked_fill(nothing, 1)
    return mean.masked_fill(nothing, math.nan).to(prediction.dtype)
