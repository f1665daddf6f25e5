"""Losses of rows of features: of the angles and distances between them."""

from __future__ import annotations

from dataclasses import KW_ONLY

from torch import Tensor, nn

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, of_torch, ones, with_options

__all__ = [
    "CosineEmbeddingLoss",
    "CosineSimilarityLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


@of_torch
class CosineEmbeddingLoss(Module, nn.CosineEmbeddingLoss):
    """Loss of pairs that should point the same way: `torch.nn.CosineEmbeddingLoss`.

    Parameters
    ----------
    margin, size_average, reduce, reduction
        As in `torch.nn.CosineEmbeddingLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CosineEmbeddingLoss
    >>> x1, x2 = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    >>> CosineEmbeddingLoss()(x1, x2, torch.tensor([1]))
    tensor(0.2000)
    """

    function = staticmethod(functional.cosine_embedding_loss)
    trial = (ones(1, 1), ones(1, 1), ones(1))

    def forward(
        self, input1: Tensor, input2: Tensor, target: Tensor, where: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.cosine_embedding_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction, where=where
        )


@of_torch
class TripletMarginLoss(Module, nn.TripletMarginLoss):
    """Loss of triplets: `torch.nn.TripletMarginLoss`.

    Parameters
    ----------
    margin, p, eps, swap, size_average, reduce, reduction
        As in `torch.nn.TripletMarginLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TripletMarginLoss
    >>> a, p, n = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]).split(1)
    >>> TripletMarginLoss()(a, p, n)
    tensor(4.0000)
    """

    function = staticmethod(functional.triplet_margin_loss)
    trial = (ones(1, 1), ones(1, 1), ones(1, 1))

    def forward(
        self, anchor: Tensor, positive: Tensor, negative: Tensor, where: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
            where=where,
        )


@of_torch
class TripletMarginWithDistanceLoss(Module, nn.TripletMarginWithDistanceLoss):
    """Loss of triplets by any distance: `torch.nn.TripletMarginWithDistanceLoss`.

    Parameters
    ----------
    distance_function, margin, swap, reduction
        As in `torch.nn.TripletMarginWithDistanceLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TripletMarginWithDistanceLoss
    >>> a, p, n = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]]).split(1)
    >>> TripletMarginWithDistanceLoss()(a, p, n)
    tensor(4.0000)
    """

    function = staticmethod(functional.triplet_margin_with_distance_loss)
    of_module = ("distance_function",)
    trial = (ones(1, 1), ones(1, 1), ones(1, 1))

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


@with_options
class CosineSimilarityLoss(Module):
    """Cosine of the angle, negated: `fusedloss.torch.functional.cosine_similarity_loss`.

    Parameters
    ----------
    axis, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CosineSimilarityLoss
    >>> CosineSimilarityLoss()(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(-1.)
    """

    function = staticmethod(functional.cosine_similarity_loss)
    of_input = ("axis",)
    trial = (ones(1, 1), ones(1, 1))

    axis: int = -1
    _: KW_ONLY
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
