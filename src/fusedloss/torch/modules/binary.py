"""Losses of scores and of logits, element by element."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Reduction


class BCELoss(nn.BCELoss):
    """Binary cross-entropy of probabilities: `torch.nn.BCELoss`.

    Parameters
    ----------
    weight, size_average, reduce, reduction
        As in `torch.nn.BCELoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BCELoss
    >>> BCELoss()(torch.tensor([0.4, 0.6]), torch.tensor([0.0, 1.0]))
    tensor(0.5108)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.binary_cross_entropy(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
        )


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """Sigmoid cross-entropy: `torch.nn.BCEWithLogitsLoss`.

    Parameters
    ----------
    weight, size_average, reduce, reduction, pos_weight
        As in `torch.nn.BCEWithLogitsLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BCEWithLogitsLoss
    >>> BCEWithLogitsLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.4100)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            pos_weight=self.pos_weight,
            reduction=self.reduction,
        )


class SoftMarginLoss(nn.SoftMarginLoss):
    """Logistic loss of scores and classes -1 and 1: `torch.nn.SoftMarginLoss`.

    Parameters
    ----------
    size_average, reduce, reduction
        As in `torch.nn.SoftMarginLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SoftMarginLoss
    >>> SoftMarginLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, -1.0]))
    tensor(0.4100)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.soft_margin_loss(
            input,
            target,
            reduction=self.reduction,
        )


LogisticLoss = SoftMarginLoss


class HingeLoss(nn.Module):
    """Hinge loss, of the support vector machine: `fusedloss.torch.functional.hinge_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import HingeLoss
    >>> HingeLoss()(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.2500)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.hinge_loss(
            scores,
            target,
            weight=weight,
            reduction=self.reduction,
        )


class SquaredHingeLoss(nn.Module):
    """Square of the hinge loss: `fusedloss.torch.functional.squared_hinge_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SquaredHingeLoss
    >>> SquaredHingeLoss()(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.1250)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.squared_hinge_loss(
            scores,
            target,
            weight=weight,
            reduction=self.reduction,
        )


class ExponentialLoss(nn.Module):
    """Exponential loss, of AdaBoost: `fusedloss.torch.functional.exponential_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ExponentialLoss
    >>> ExponentialLoss()(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.3709)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.exponential_loss(
            scores,
            target,
            weight=weight,
            reduction=self.reduction,
        )


class SigmoidFocalLoss(nn.Module):
    """Focal loss of two classes: `fusedloss.torch.functional.sigmoid_focal_loss`.

    Parameters
    ----------
    alpha, gamma, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SigmoidFocalLoss
    >>> SigmoidFocalLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.0652)
    """

    def __init__(
        self, alpha: float | None = 0.25, gamma: float = 2.0, *, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.sigmoid_focal_loss(
            logits,
            target,
            alpha=self.alpha,
            gamma=self.gamma,
            weight=weight,
            reduction=self.reduction,
        )


class AsymmetricLoss(nn.Module):
    """Asymmetric loss of many labels: `fusedloss.torch.functional.asymmetric_loss`.

    Parameters
    ----------
    gamma_neg, gamma_pos, clip, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AsymmetricLoss
    >>> AsymmetricLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.0198)
    """

    def __init__(
        self,
        gamma_neg: float = 4.0,
        gamma_pos: float = 1.0,
        clip: float = 0.05,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.clip = clip
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.asymmetric_loss(
            logits,
            target,
            gamma_neg=self.gamma_neg,
            gamma_pos=self.gamma_pos,
            clip=self.clip,
            weight=weight,
            reduction=self.reduction,
        )


class ZeroOneLoss(nn.Module):
    """Share of wrong predictions: `fusedloss.torch.functional.zero_one_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ZeroOneLoss
    >>> ZeroOneLoss()(torch.tensor([1, 2, 3, 3]), torch.tensor([1, 2, 3, 4]))
    tensor(0.2500)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.zero_one_loss(
            prediction,
            target,
            weight=weight,
            reduction=self.reduction,
        )
