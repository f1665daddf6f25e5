"""Connectionist temporal classification in torch: its kernel, and torch's own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, get_num_threads

from fusedloss import sequences
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
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

    @property
    def deferred(self) -> bool:
        """Whether the gradient is left to the backward pass."""
        return self.reduction == "none"

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss; an error if it does not take the arguments."""
        log_probs, targets = tensors
        kernel, arguments = lookup(sequences.ctc_loss).lower(
            numbers_of_bits(detached(log_probs)),
            array(targets),
            self.input_lengths,
            self.target_lengths,
            blank=self.blank,
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
            num_threads=get_num_threads(),
        )
        if not wanted:
            return bits_of_numbers(kernel(*arguments))
        if isinstance(grad_output, np.ndarray):
            grad_output = numbers_of_bits(grad_output)
        return bits_of_numbers(kernel(*arguments, True, grad_output, numbers_of_bits(out[0]))[0])

    def formula(self, log_probs: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss from torch's operations."""
        return functional.ctc_loss(log_probs, targets, *self[:-1])

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """There are no extra outputs."""
        return {}
