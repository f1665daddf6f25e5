"""Connectionist temporal classification in torch: its kernel, and torch's own."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, get_num_threads

from fusedloss._core import ctc_plain
from fusedloss._lower.ctc import ctc
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import Tensors, array, detached
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits


class CTC(NamedTuple):
    """A call of the loss; its tensors are log-probabilities and targets."""

    input_lengths: Any
    target_lengths: Any
    blank: int
    reduction: str
    zero_infinity: bool
    differentiable: int = 1
    takes_tensors: bool = True

    @property
    def deferred(self) -> bool:
        """Whether the gradient is left to the backward pass."""
        return self.reduction == "none"

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: Any = None,
        out: tuple[Any, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss; an error if it does not take the arguments."""
        log_probs, targets, *weights = tensors
        gradient: Any = (True, grad_output, out[0]) if wanted else ()
        options: Any = self.blank, self.zero_infinity, self.reduction, get_num_threads()
        lengths = self.input_lengths, self.target_lengths
        value = None
        if type(lengths[0]) is type(lengths[1]) is tuple and not weights:
            value = ctc_plain(log_probs, targets, *lengths, *options, *gradient)
        if value is None:
            gradient = [numbers_of_bits(array(x)) if isinstance(x, Tensor) else x for x in gradient]
            z = numbers_of_bits(detached(log_probs))
            v = numbers_of_bits(array(weights[0])) if weights else None
            arguments: Any = (z, array(targets), *lengths, *options, v, *gradient)
            result = ctc(*arguments)
            value = bits_of_numbers(result[0] if wanted else result)
        return value

    def formula(
        self, log_probs: Tensor, targets: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss from torch's operations."""
        if sample_weight is None:
            return functional.ctc_loss(log_probs, targets, *self[:-2])
        v = sample_weight.to(log_probs.dtype)
        x = torch.where((v == 0)[..., None], 0, log_probs)
        options: Any = self.blank, "none", self.zero_infinity
        losses: Tensor = functional.ctc_loss(x, targets, *self[:2], *options)
        losses = v * torch.where(v == 0, 0, losses)
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return losses.sum()
        labels = torch.as_tensor(self.target_lengths, device=x.device).reshape(losses.shape)
        return (losses / labels.clamp(min=1)).sum() / v.sum()

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """There are no extra outputs."""
        return {}
