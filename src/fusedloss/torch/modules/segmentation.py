"""Losses of images, whose pixels have classes."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

from torch import Tensor

from fusedloss._types import Activation, Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, labels, ones, with_options

__all__ = [
    "DiceCELoss",
    "DiceLoss",
    "FocalTverskyLoss",
    "GeneralizedDiceLoss",
    "IoULoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "TverskyLoss",
]


@with_options
class DiceLoss(Module):
    """Soft Dice loss of every image and class: `fusedloss.torch.functional.dice_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    smooth, activation, batch, include_background, class_weight, ignore_index, reduction
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
    activation: Activation = "softmax"
    batch: bool = False
    include_background: bool = True
    class_weight: Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)


@with_options
class TverskyLoss(Module):
    """Tversky loss of every image and class: `fusedloss.torch.functional.tversky_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    alpha, beta, smooth, activation, batch, include_background, class_weight, ignore_index,
    reduction
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
    activation: Activation = "softmax"
    batch: bool = False
    include_background: bool = True
    class_weight: Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)


@with_options
class FocalTverskyLoss(Module):
    """Tversky loss to a power: `fusedloss.torch.functional.focal_tversky_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    alpha, beta, gamma, smooth, activation, batch, include_background, class_weight,
    ignore_index, reduction
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
    activation: Activation = "softmax"
    batch: bool = False
    include_background: bool = True
    class_weight: Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)


@with_options
class IoULoss(Module):
    """Soft intersection over union: `fusedloss.torch.functional.iou_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    smooth, activation, batch, include_background, class_weight, ignore_index, reduction
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
    activation: Activation = "softmax"
    batch: bool = False
    include_background: bool = True
    class_weight: Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)


@with_options
class GeneralizedDiceLoss(Module):
    """Dice loss of classes by inverse size: `fusedloss.torch.functional.generalized_dice_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    weight_type, smooth, activation, batch, include_background, class_weight, ignore_index,
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GeneralizedDiceLoss
    >>> GeneralizedDiceLoss()(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    tensor(0.5000)
    """

    function = staticmethod(functional.generalized_dice_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    weight_type: Literal["square", "simple", "uniform"] = "square"
    smooth: float = 1e-5
    activation: Activation = "softmax"
    batch: bool = False
    include_background: bool = True
    class_weight: Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)


@with_options
class LovaszSoftmaxLoss(Module):
    """Lovász extension of the Jaccard loss: `fusedloss.torch.functional.lovasz_softmax_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    activation, batch, include_background, class_weight, ignore_index, reduction
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
    activation: Activation = "softmax"
    batch: bool = True
    include_background: bool = True
    class_weight: Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)


@with_options
class LovaszHingeLoss(Module):
    """Lovász extension of hinge errors: `fusedloss.torch.functional.lovasz_hinge_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    batch, include_background, class_weight, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LovaszHingeLoss
    >>> LovaszHingeLoss()(torch.tensor([[[0.5, -2.0, 0.0]]]), torch.tensor([[1, 0, 0]]))
    tensor(0.7500)
    """

    function = staticmethod(functional.lovasz_hinge_loss)
    trial = (ones(1, 2, 1), labels(1, 1))

    _: KW_ONLY
    batch: bool = False
    include_background: bool = True
    class_weight: Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)


@with_options
class DiceCELoss(Module):
    """Dice loss and cross-entropy in one pass: `fusedloss.torch.functional.dice_ce_loss`.

    It is called with a sample weight as an optional third argument.

    Parameters
    ----------
    smooth, lambda_dice, lambda_ce, activation, batch, include_background, class_weight,
    label_smoothing, ignore_index, reduction
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
    activation: Literal["softmax", "sigmoid"] = "softmax"
    batch: bool = False
    include_background: bool = True
    class_weight: Tensor | None = None
    label_smoothing: float = 0.0
    ignore_index: int = -100
    reduction: Literal["mean", "sum"] = "mean"

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight)
