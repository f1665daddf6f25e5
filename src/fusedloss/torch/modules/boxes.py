"""Losses of bounding boxes: of their intersection over union."""

from __future__ import annotations

from dataclasses import KW_ONLY

from torch import Tensor

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, ones, with_options

__all__ = [
    "CompleteBoxIoULoss",
    "DistanceBoxIoULoss",
    "GeneralizedBoxIoULoss",
]


@with_options
class GeneralizedBoxIoULoss(Module):
    """Generalized loss of boxes: `fusedloss.torch.functional.generalized_box_iou_loss`.

    Parameters
    ----------
    eps, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GeneralizedBoxIoULoss
    >>> input = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> GeneralizedBoxIoULoss()(input, torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor(0.6667)
    """

    function = staticmethod(functional.generalized_box_iou_loss)
    trial = (ones(1, 4), ones(1, 4))

    _: KW_ONLY
    eps: float = 1e-7
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, sample_weight=sample_weight, where=where)


@with_options
class DistanceBoxIoULoss(Module):
    """Loss of boxes and their distance: `fusedloss.torch.functional.distance_box_iou_loss`.

    Parameters
    ----------
    eps, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DistanceBoxIoULoss
    >>> input = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> DistanceBoxIoULoss()(input, torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor(0.7436)
    """

    function = staticmethod(functional.distance_box_iou_loss)
    trial = (ones(1, 4), ones(1, 4))

    _: KW_ONLY
    eps: float = 1e-7
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, sample_weight=sample_weight, where=where)


@with_options
class CompleteBoxIoULoss(Module):
    """Loss of boxes, their distance and shapes: `fusedloss.torch.functional.complete_box_iou_loss`.

    Parameters
    ----------
    eps, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CompleteBoxIoULoss
    >>> input = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> CompleteBoxIoULoss()(input, torch.tensor([[1.0, 0.0, 3.0, 1.0]]))
    tensor(0.8982)
    """

    function = staticmethod(functional.complete_box_iou_loss)
    trial = (ones(1, 4), ones(1, 4))

    _: KW_ONLY
    eps: float = 1e-7
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, sample_weight=sample_weight, where=where)
