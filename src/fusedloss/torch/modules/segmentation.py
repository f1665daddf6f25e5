"""Losses of images, whose pixels have classes."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Reduction


class DiceLoss(nn.Module):
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

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.smooth = smooth
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.dice_loss(
            logits,
            target,
            smooth=self.smooth,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class TverskyLoss(nn.Module):
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

    def __init__(
        self,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        smooth: float = 1.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.tversky_loss(
            logits,
            target,
            alpha=self.alpha,
            beta=self.beta,
            smooth=self.smooth,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class FocalTverskyLoss(nn.Module):
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

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 1.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.smooth = smooth
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.focal_tversky_loss(
            logits,
            target,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            smooth=self.smooth,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class IoULoss(nn.Module):
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

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.smooth = smooth
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.iou_loss(
            logits,
            target,
            smooth=self.smooth,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class LovaszSoftmaxLoss(nn.Module):
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

    def __init__(
        self,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.lovasz_softmax_loss(
            logits,
            target,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class DiceCELoss(nn.Module):
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

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        lambda_dice: float = 1.0,
        lambda_ce: float = 1.0,
        ignore_index: int = -100,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        self.smooth = smooth
        self.lambda_dice = lambda_dice
        self.lambda_ce = lambda_ce
        self.ignore_index = ignore_index
        self.reduction: Literal["mean", "sum"] = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.dice_ce_loss(
            logits,
            target,
            smooth=self.smooth,
            lambda_dice=self.lambda_dice,
            lambda_ce=self.lambda_ce,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )
