"""Losses of images, whose pixels have classes."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

from torch import Tensor

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, labels, ones, with_options


@with_options
class DiceLoss(Module):
    """Soft Dice loss of every image and class: `fusedloss.torch.functional.dice_loss`.

    Parameters
    ----------
    smooth, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DiceLoss
    >>> DiceLoss()(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.3333)
    """

    function = staticmethod(functional.dice_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    smooth: float = 1.0
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target)


@with_options
class TverskyLoss(Module):
    """Tversky loss of every image and class: `fusedloss.torch.functional.tversky_loss`.

    Parameters
    ----------
    alpha, beta, smooth, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TverskyLoss
    >>> TverskyLoss(alpha=0.3, beta=0.7)(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.2500)
    """

    function = staticmethod(functional.tversky_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    alpha: float = 0.5
    beta: float = 0.5
    smooth: float = 1.0
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target)


@with_options
class FocalTverskyLoss(Module):
    """Tversky loss to a power: `fusedloss.torch.functional.focal_tversky_loss`.

    Parameters
    ----------
    alpha, beta, gamma, smooth, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import FocalTverskyLoss
    >>> FocalTverskyLoss(gamma=0.5)(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.5000)
    """

    function = staticmethod(functional.focal_tversky_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    alpha: float = 0.3
    beta: float = 0.7
    gamma: float = 0.75
    smooth: float = 1.0
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target)


@with_options
class IoULoss(Module):
    """Soft intersection over union: `fusedloss.torch.functional.iou_loss`.

    Parameters
    ----------
    smooth, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import IoULoss
    >>> IoULoss()(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.4000)
    """

    function = staticmethod(functional.iou_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    smooth: float = 1.0
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target)


@with_options
class LovaszSoftmaxLoss(Module):
    """Lovász extension of the Jaccard loss: `fusedloss.torch.functional.lovasz_softmax_loss`.

    Parameters
    ----------
    ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LovaszSoftmaxLoss
    >>> LovaszSoftmaxLoss()(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.5000)
    """

    function = staticmethod(functional.lovasz_softmax_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target)


@with_options
class DiceCELoss(Module):
    """Dice loss and cross-entropy in one pass: `fusedloss.torch.functional.dice_ce_loss`.

    Parameters
    ----------
    smooth, lambda_dice, lambda_ce, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DiceCELoss
    >>> DiceCELoss()(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(1.0265)
    """

    function = staticmethod(functional.dice_ce_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    smooth: float = 1.0
    lambda_dice: float = 1.0
    lambda_ce: float = 1.0
    ignore_index: int = -100
    reduction: Literal["mean", "sum"] = "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target)
