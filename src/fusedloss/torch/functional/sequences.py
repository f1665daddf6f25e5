"""Losses of sequences, whose frames are not aligned with their labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import expect_tensors, fused, overridden, transformed
from fusedloss.torch._ctc import CTC
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._softmax import expect_shape
from fusedloss.torch.functional._recognition import recognised_rows

__all__ = [
    "ctc_loss",
]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Connectionist temporal classification: `torch.nn.functional.ctc_loss`.

    Parameters
    ----------
    log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
        As in `torch.nn.functional.ctc_loss`. `log_probs` may have 16 bits here.
    sample_weight : Tensor of floats, shape (N,) or (), optional
        What the loss of each sequence is multiplied by; a mean divides by the sum of weights.

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
    weights = () if sample_weight is None else (sample_weight,)
    expect_tensors(*weights)
    if (
        recognised_rows(log_probs, others=(targets, *lengths, *weights))
        and all([x.ndim <= 1 for x in lengths])
        and targets is not None
        and targets.dtype in (torch.int64, torch.int32)
        and isinstance(blank, int)
        and isinstance(zero_infinity, bool)
    ):
        if operated(log_probs, targets, *lengths, *weights):
            result: Tensor = operate(
                "ctc_loss",
                log_probs=log_probs,
                targets=targets,
                input_lengths=torch.as_tensor(input_lengths),
                target_lengths=torch.as_tensor(target_lengths),
                blank=blank,
                reduction=reduction,
                zero_infinity=zero_infinity,
                sample_weight=sample_weight,
            )
            return result
        loss: Tensor | None = None
        if not is_compiling():  # a compiler reads no further
            lengths = (_constant(input_lengths), _constant(target_lengths))
            call = CTC(*lengths, blank, reduction, zero_infinity)
            loss = fused(call, log_probs, targets, *weights)
        if loss is not None:
            return loss
    _expect_labels(log_probs, targets, target_lengths)
    if sample_weight is not None:
        if log_probs.dim() > 1:
            expect_shape("sample_weight", sample_weight, log_probs.shape[1:-1])
        call = CTC(input_lengths, target_lengths, blank, reduction, zero_infinity)
        return call.formula(log_probs, targets, sample_weight)
    return functional.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
    )


def _constant(lengths: Any) -> Any:
    """Return lengths that stay what they are until the backward pass."""
    if isinstance(lengths, Tensor):
        lengths = lengths.reshape(-1).tolist()
    return tuple(lengths) if isinstance(lengths, list) else lengths


def _expect_labels(log_probs: Any, targets: Any, target_lengths: Any) -> None:
    """Raise IndexError for a label out of range: torch reads and writes memory by it unchecked.

    Whatever else is wrong is torch's to find.
    """
    if overridden(log_probs, targets, target_lengths) or transformed():
        return
    if not (isinstance(targets, Tensor) and targets.is_cpu and isinstance(log_probs, Tensor)):
        return
    lengths = torch.as_tensor(target_lengths).reshape(-1)
    labels = targets
    if targets.dim() < 2:
        labels = targets.reshape(1, -1)
        lengths = lengths.sum(0, keepdim=True)
    if log_probs.dim() == 0 or len(lengths) != len(labels) or labels.dim() != 2:
        return
    classes = log_probs.shape[-1]
    bad = (labels < 0) | (labels >= classes)
    bad &= torch.arange(labels.shape[1]) < lengths[:, None]
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        at = f"[{column}]" if targets.dim() < 2 else f"[{row}, {column}]"
        raise IndexError(
            f"targets{at} is {labels[row, column].item()}: expected a label in [0, {classes})"
        )
