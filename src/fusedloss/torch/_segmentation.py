"""Losses of images in torch: their kernels, and formulas in torch's differentiable operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusedloss import _check
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import (
    Tensors,
    array,
    detached,
    evaluate,
    expect_arguments,
)
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._operators.calls import operate, operated


class Pixels(NamedTuple):
    """Probabilities and labels, (N, C, P), 0 where a pixel does not count."""

    log_p: Tensor
    p: Tensor
    t: Tensor
    counted: Tensor  # (N, P)


class Segmentation(NamedTuple):
    """A call of a loss of images; its tensors are logits and target."""

    loss: Callable[..., Any]  # the same of arrays
    losses: Callable[..., Tensor]  # reduced, by pixels and options
    reduction: str
    ignore_index: int
    options: dict[str, Any]
    differentiable: int = 1

    @property
    def deferred(self) -> bool:
        """Whether the gradient is left to the backward pass."""
        return self.reduction == "none"

    def lowered(self, logits: Any, target: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return a function of arrays and its arguments; an error if options are wrong."""
        return lookup(self.loss).lower(
            logits,
            target,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            num_threads=torch.get_num_threads(),
            **self.options,
        )

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernels and return the loss; an error if they do not take the arguments."""
        logits, target = tensors
        kernel, arguments = self.lowered(
            numbers_of_bits(detached(logits)), numbers_of_bits(array(target))
        )
        if not wanted:
            return bits_of_numbers(kernel(*arguments))
        if isinstance(grad_output, np.ndarray):
            grad_output = numbers_of_bits(grad_output)
        return bits_of_numbers(kernel(*arguments, True, grad_output, numbers_of_bits(out[0]))[0])

    def formula(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss from torch's operations."""
        z = logits.float() if logits.itemsize < 4 else logits
        z = z.flatten(2) if z.ndim > 2 else z[..., None]
        if target.shape == logits.shape:
            t = target.to(z.dtype).reshape(z.shape)
            counted = torch.ones_like(z[:, 0], dtype=torch.bool)
        else:
            index = target.reshape(z.shape[0], -1).long()
            counted = index != self.ignore_index
            t = functional.one_hot(torch.where(counted, index, 0), z.shape[1]).movedim(-1, 1)
            t = t.to(z.dtype) * counted[:, None]
        log_p = functional.log_softmax(torch.where(counted[:, None], z, 0), 1)
        pixels = Pixels(log_p, log_p.exp() * counted[:, None], t, counted)
        return self.losses(pixels, self.reduction, **self.options).to(logits.dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Losses of images have no extra outputs."""
        return {}


def loss_of_images(
    loss: Callable[..., Any],
    losses: Callable[..., Tensor],
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    reduction: str,
    **options: Any,
) -> Tensor:
    """Compute a loss of tensors: `loss` is the same of arrays, `losses` that of pixels in torch."""
    expect_arguments(loss, logits, target)
    if not logits.is_floating_point():
        raise TypeError(f"logits has dtype {logits.dtype}: expected floating point")
    _check.integer("ignore_index", ignore_index)
    _check.several_classes(tuple(logits.shape))
    if operated(logits, target):
        result: Tensor = operate(
            loss.__name__,
            logits=logits,
            target=target,
            ignore_index=ignore_index,
            reduction=reduction,
            **options,
        )
        return result
    call = Segmentation(loss, losses, reduction, ignore_index, options)
    call.lowered(logits, target)
    value: Tensor = evaluate(call, logits, target)
    return value
