"""Losses of sequences, whose frames are not aligned with their labels."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, labels, of_torch, ones

__all__ = [
    "CTCLoss",
]


@of_torch
class CTCLoss(Module, nn.CTCLoss):
    """Connectionist temporal classification: `torch.nn.CTCLoss`.

    It is called with a sample weight as an optional fifth argument.

    Parameters
    ----------
    blank, reduction, zero_infinity
        As in `torch.nn.CTCLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CTCLoss
    >>> log_probs = torch.zeros(2, 1, 3).log_softmax(-1)
    >>> CTCLoss()(log_probs, torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]))
    tensor(1.0986)
    """

    function = staticmethod(functional.ctc_loss)
    trial = (-ones(1, 1, 1), labels(1, 0), labels(1) + 1, labels(1))
    of_input = ("blank",)

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor,
        target_lengths: Tensor,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return functional.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank,
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
            sample_weight=sample_weight,
        )
