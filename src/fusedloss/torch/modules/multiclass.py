"""Losses of scores, logits or probabilities of classes, row by row, beside the softmax family."""

from __future__ import annotations

from dataclasses import KW_ONLY

from torch import Tensor, nn

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, labels, of_torch, ones, with_options

__all__ = [
    "CategoricalHingeLoss",
    "GeneralizedCrossEntropyLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "Poly1CrossEntropyLoss",
    "SparsemaxLoss",
]


@of_torch
class MultiMarginLoss(Module, nn.MultiMarginLoss):
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

    function = staticmethod(functional.multi_margin_loss)
    trial = (ones(1, 2), labels(1))

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
            where=where,
        )


@of_torch
class MultiLabelMarginLoss(Module, nn.MultiLabelMarginLoss):
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

    function = staticmethod(functional.multilabel_margin_loss)
    trial = (ones(1, 2), labels(1, 2))

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.multilabel_margin_loss(
            input, target, reduction=self.reduction, where=where
        )


@of_torch
class MultiLabelSoftMarginLoss(Module, nn.MultiLabelSoftMarginLoss):
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

    function = staticmethod(functional.multilabel_soft_margin_loss)
    trial = (ones(1, 2), ones(1, 2))

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.multilabel_soft_margin_loss(
            input, target, weight=self.weight, reduction=self.reduction, where=where
        )


@with_options
class CategoricalHingeLoss(Module):
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

    function = staticmethod(functional.categorical_hinge_loss)
    trial = (ones(1, 2), labels(1))

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(scores, target, sample_weight=sample_weight, where=where)


@with_options
class Poly1CrossEntropyLoss(Module):
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

    function = staticmethod(functional.poly1_cross_entropy)
    trial = (ones(1, 2), labels(1))

    epsilon: float = 2.0
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, sample_weight=sample_weight, where=where)


@with_options
class GeneralizedCrossEntropyLoss(Module):
    """Loss for labels that may be wrong: `fusedloss.torch.functional.generalized_cross_entropy`.

    Parameters
    ----------
    q, reduction, axis
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GeneralizedCrossEntropyLoss
    >>> GeneralizedCrossEntropyLoss()(torch.tensor([[0.75, 0.25]]), torch.tensor([1]))
    tensor(1.)
    """

    function = staticmethod(functional.generalized_cross_entropy)
    of_input = ("axis",)
    trial = (ones(1, 2), labels(1))

    q: float = 0.5
    _: KW_ONLY
    reduction: Reduction = "mean"
    axis: int | None = None

    def forward(
        self,
        probs: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(probs, target, sample_weight=sample_weight, where=where)


@with_options
class SparsemaxLoss(Module):
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

    function = staticmethod(functional.sparsemax_loss)
    trial = (ones(1, 2), labels(1))

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(scores, target, sample_weight=sample_weight, where=where)
