"""Losses of scores, logits or probabilities of classes, row by row, beside the softmax family."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Reduction


class MultiMarginLoss(nn.MultiMarginLoss):
    """Hinge loss of several classes: `torch.nn.MultiMarginLoss`.

    Parameters
    ----------
    p, margin, weight, size_average, reduce, reduction
        As in `torch.nn.MultiMarginLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MultiMarginLoss
    >>> MultiMarginLoss()(torch.tensor([[0.5, 2.0, 1.5, 0.0]]), torch.tensor([1]))
    tensor(0.1250)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
        )


class MultiLabelMarginLoss(nn.MultiLabelMarginLoss):
    """Hinge loss of several labels a row: `torch.nn.MultiLabelMarginLoss`.

    Parameters
    ----------
    size_average, reduce, reduction
        As in `torch.nn.MultiLabelMarginLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MultiLabelMarginLoss
    >>> target = torch.tensor([[3, 0, -1, 1]])
    >>> MultiLabelMarginLoss()(torch.tensor([[0.1, 0.2, 0.4, 0.8]]), target)
    tensor(0.8500)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(nn.MultiLabelSoftMarginLoss):
    """Binary cross-entropy of a row's labels: `torch.nn.MultiLabelSoftMarginLoss`.

    Parameters
    ----------
    weight, size_average, reduce, reduction
        As in `torch.nn.MultiLabelSoftMarginLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MultiLabelSoftMarginLoss
    >>> MultiLabelSoftMarginLoss()(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.multilabel_soft_margin_loss(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
        )


class CategoricalHingeLoss(nn.Module):
    """Hinge loss of the best other class: `fusedloss.torch.functional.categorical_hinge_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CategoricalHingeLoss
    >>> CategoricalHingeLoss()(torch.tensor([[0.5, 2.0, 1.5, 0.0]]), torch.tensor([1]))
    tensor(0.5000)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(
        self, scores: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.categorical_hinge_loss(
            scores,
            target,
            sample_weight=sample_weight,
            reduction=self.reduction,
        )


class Poly1CrossEntropyLoss(nn.Module):
    """Cross-entropy with another first coefficient: `functional.poly1_cross_entropy`.

    Parameters
    ----------
    epsilon, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import Poly1CrossEntropyLoss
    >>> Poly1CrossEntropyLoss()(torch.zeros(1, 2), torch.tensor([1]))
    tensor(1.6931)
    """

    def __init__(self, epsilon: float = 2.0, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.epsilon = epsilon
        self.reduction: Reduction = reduction

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.poly1_cross_entropy(
            logits,
            target,
            epsilon=self.epsilon,
            sample_weight=sample_weight,
            reduction=self.reduction,
        )


class GeneralizedCrossEntropyLoss(nn.Module):
    """Loss for labels that may be wrong: `fusedloss.torch.functional.generalized_cross_entropy`.

    Parameters
    ----------
    q, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GeneralizedCrossEntropyLoss
    >>> GeneralizedCrossEntropyLoss()(torch.tensor([[0.75, 0.25]]), torch.tensor([1]))
    tensor(1.)
    """

    def __init__(self, q: float = 0.5, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.q = q
        self.reduction: Reduction = reduction

    def forward(self, probs: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.generalized_cross_entropy(
            probs,
            target,
            q=self.q,
            sample_weight=sample_weight,
            reduction=self.reduction,
        )


class SparsemaxLoss(nn.Module):
    """Cross-entropy's counterpart for sparse probabilities: `functional.sparsemax_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SparsemaxLoss
    >>> SparsemaxLoss()(torch.tensor([[1.5, 1.0, -1.0]]), torch.tensor([1]))
    tensor(0.5625)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(
        self, scores: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.sparsemax_loss(
            scores,
            target,
            sample_weight=sample_weight,
            reduction=self.reduction,
        )
