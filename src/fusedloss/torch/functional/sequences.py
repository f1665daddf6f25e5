"""Losses of sequences, whose frames are not aligned with their labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fusedloss.torch._autograd import fused
from fusedloss.torch._ctc import CTC
from fusedloss.torch.functional._recognition import BreakEven, recognised_rows

#: Frames times labels from which a call is worth taking from torch. Measured.
LEAST_STEPS = 1 << 11

ANY_SIZE = BreakEven(value=0, gradient=0)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification: `torch.nn.functional.ctc_loss`.

    Parameters
    ----------
    log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
        As in `torch.nn.functional.ctc_loss`. `log_probs` may have 16 bits here.

    Returns
    -------
    Tensor
        The loss, differentiable in `log_probs`.

    See Also
    --------
    fusedloss.ctc_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> log_probs = torch.zeros(2, 1, 3).log_softmax(-1)
    >>> F.ctc_loss(log_probs, torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]))
    tensor(1.0986)
    """
    lengths = tuple(x for x in (input_lengths, target_lengths) if isinstance(x, Tensor))
    if (
        recognised_rows(ANY_SIZE, log_probs, others=(targets, *lengths))
        and all([x.ndim <= 1 for x in lengths])
        and targets is not None
        and targets.dtype in (torch.int64, torch.int32)
        and len(log_probs) * targets.numel() >= LEAST_STEPS
        and isinstance(blank, int)
        and isinstance(zero_infinity, bool)
    ):
        call = CTC(
            _constant(input_lengths), _constant(target_lengths), blank, reduction, zero_infinity
        )
        loss: Tensor | None = fused(call, log_probs, targets)
        if loss is not None:
            return loss
    return functional.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
    )


def _constant(lengths: Any) -> Any:
    """Return lengths that stay what they are until the backward pass."""
    return tuple(lengths.reshape(-1).tolist()) if isinstance(lengths, Tensor) else lengths
