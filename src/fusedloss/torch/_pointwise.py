"""Pointwise losses in torch: kernel calls, and formulas in torch's differentiable operations.

A formula answers where the kernels do not: it says what is wrong with bad input, runs on other
devices and under torch's transforms, and is what second derivatives are taken of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import _reduction

from fusedloss import _check
from fusedloss._core import PointwiseCall, pointwise_plain
from fusedloss._lower.loss import lookup
from fusedloss._lower.traced import TRACED
from fusedloss.torch._autograd import (
    Tensors,
    evaluate,
    expect_arguments,
    expect_mask,
    expect_tensors,
)
from fusedloss.torch._operators.calls import operate, operated_pointwise


class Pointwise(NamedTuple):
    """A call of a pointwise kernel; its tensors are the loss's operands and a weight."""

    row: str
    #: the loss of the same tensors in torch
    by_torch: Callable[..., Tensor]
    reduction: str
    parameters: tuple[float, ...] = ()
    differentiable: int = 2
    weighted_mean: bool = False
    divisor: float = 0.0  # of a sum, if it is not 0
    #: how many of the tensors, all of one dtype, have the first one's shape; 0: they may differ
    whole: int = 0
    #: whether the last tensor is a mask of the elements that take part
    masked: bool = False
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
        *operands, weight, where = tensors if self.masked else (*tensors, None)
        call = PointwiseCall(
            self.row,
            tuple(operands),
            self.parameters,
            weight,
            self.reduction,
            self.divisor,
            self.weighted_mean,
            torch.get_num_threads(),
            where,
        )
        places = out if wanted else None
        result = pointwise_plain(call, wanted, grad_output, places, False, True, self.whole)
        return result[0] if wanted and result is not None else result

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations."""
        return self.by_torch(*tensors)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Pointwise losses have no extra outputs."""
        return {}


def numbers(tensor: Tensor) -> Tensor:
    """Return a tensor of numbers, bools as 0 and 1."""
    return tensor.view(torch.uint8) if tensor.dtype is torch.bool else tensor


#: Losses of distributions in rows, of which there is a mean: "batchmean".
DISTRIBUTIONS = ("generalized_kl_div", "js_div", "total_variation_loss")


def own_loss(
    loss: Callable[..., Any],
    formula: Callable[..., Tensor],
    operands: tuple[Tensor, ...],
    weight: Tensor | None,
    reduction: str,
    where: Tensor | None = None,
    named: dict[str, Tensor] | None = None,
    **options: Any,
) -> Tensor:
    """Compute a loss of tensors that is this package's own.

    `loss` is the same of arrays, whose kernel and checks are taken; `formula` gives the losses of
    operands of one dtype in torch's operations. The operands that are `named` come last. where:
    the elements that take part.
    """
    expect_arguments(loss, *operands)
    expect_tensors(weight)
    operands, named = tuple(map(numbers, operands)), named or {}
    if not operands[0].is_floating_point():
        raise TypeError(f"the prediction has dtype {operands[0].dtype}: expected floating point")
    record, rows = lookup(loss), 0
    if where is None and operated_pointwise(loss.__name__, *operands, weight):
        given = dict(zip(record.parameters, operands, strict=False)) | named
        result: Tensor = operate(
            loss.__name__, weight=weight, reduction=reduction, **given, **options
        )
        return result
    if reduction == "batchmean" and record.name in DISTRIBUTIONS:
        rows = operands[0].shape[0] if operands[0].dim() else 1
        reduction = "sum" if rows else "mean"
    threads = {"num_threads": TRACED} if is_compiling() else {}
    (lowered,) = record.lower(
        *operands, weight=weight, reduction=reduction, **named, **options, **threads
    )[1]
    losses, mode = partial(formula, **options), _check.reduction(reduction)
    call = Pointwise(
        lowered.name,
        partial(_by_formula, losses, mode, where is not None, lowered.weighted_mean, rows),
        reduction,
        lowered.parameters,
        len(record.differentiable),
        lowered.weighted_mean,
        rows or lowered.divisor,
        masked=where is not None,
    )
    if where is not None:
        expect_mask(where)
        masked: Tensor = evaluate(call, *operands, *named.values(), weight, where)
        return masked
    value: Tensor = evaluate(call, *operands, *named.values(), weight)
    return value


def masked_loss(
    loss: Callable[..., Any],
    formula: Callable[..., Tensor],
    operands: tuple[Tensor, ...],
    weight: Tensor | None,
    reduction: tuple[bool | None, bool | None, str],
    where: Tensor,
    **options: Any,
) -> Tensor:
    """Compute a loss of torch's of the elements that `where` has take part.

    reduction: torch's `size_average`, `reduce` and `reduction`; formula: torch's function.
    """
    size_average, reduce, mode = reduction
    if size_average is not None or reduce is not None:
        mode = _reduction.legacy_get_string(size_average, reduce)
    losses = partial(formula, reduction="none")
    return own_loss(loss, losses, operands, weight, mode, where, **options)


def _by_formula(
    formula: Callable[..., Tensor],
    reduction: str,
    masked: bool,
    weighted_mean: bool,
    rows: int,
    prediction: Tensor,
    *others: Tensor | None,
) -> Tensor:
    """Compute losses in float32 or float64, weigh and reduce them; masked: a mask comes last.

    A sum is divided by the rows, if there are some.
    """
    dtype = torch.float32 if prediction.itemsize < 4 else prediction.dtype
    where = others[-1] if masked else None
    given = (prediction, *others[: len(others) - masked])
    *operands, weight = [None if x is None else x.to(dtype) for x in given]
    if where is not None:
        weight = torch.where(where, 1.0 if weight is None else weight, 0.0).to(dtype)
    if weight is not None:
        operands = [replace_silent(x, weight == 0) for x in operands]
    losses = formula(*operands)
    if where is None or reduction != "mean":
        total = reduced(losses, weight, reduction)
        return (total / rows if rows else total).to(prediction.dtype)
    counts = weight if weighted_mean else where.to(dtype)
    divisor = cast("Tensor", counts).expand_as(losses).sum()
    nothing = divisor == 0
    # The mean of nothing is nan, but its gradient zero.
    mean = reduced(losses, weight, "sum") / divisor.masked_fill(nothing, 1)
    return mean.masked_fill(nothing, math.nan).to(prediction.dtype)


def replace_silent(x: Tensor | None, silent: Tensor) -> Tensor | None:
    """Return a number that every loss takes, for the places of elements that are left out."""
    return None if x is None else torch.where(silent, 0.5, x)


def reduced(losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Weigh and reduce losses; a mean divides by the number of elements."""
    if weight is not None:
        losses = losses * weight
    if reduction == "mean":
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses
