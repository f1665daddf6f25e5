"""Losses of pairs and of lists."""

from __future__ import annotations

from dataclasses import KW_ONLY

from torch import Tensor, nn

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, of_torch, ones, with_options

__all__ = [
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "RankingSoftmaxLoss",
]


@of_torch
class MarginRankingLoss(Module, nn.MarginRankingLoss):
    """Hinge loss of the difference of two scores: `torch.nn.MarginRankingLoss`.

    Parameters
    ----------
    margin, size_average, reduce, reduction
        As in `torch.nn.MarginRankingLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MarginRankingLoss
    >>> MarginRankingLoss()(torch.tensor([1.0, 2.0]), torch.zeros(2), torch.tensor([1.0, -1.0]))
    tensor(1.)
    """

    function = staticmethod(functional.margin_ranking_loss)
    trial = (ones(1), ones(1), ones(1))

    def forward(
        self, input1: Tensor, input2: Tensor, target: Tensor, where: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.margin_ranking_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction, where=where
        )


@of_torch
class HingeEmbeddingLoss(Module, nn.HingeEmbeddingLoss):
    """Hinge loss of distances: `torch.nn.HingeEmbeddingLoss`.

    Parameters
    ----------
    margin, size_average, reduce, reduction
        As in `torch.nn.HingeEmbeddingLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import HingeEmbeddingLoss
    >>> HingeEmbeddingLoss()(torch.tensor([0.5, 0.25]), torch.tensor([1.0, -1.0]))
    tensor(0.6250)
    """

    function = staticmethod(functional.hinge_embedding_loss)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.hinge_embedding_loss(
            input, target, margin=self.margin, reduction=self.reduction, where=where
        )


@with_options
class RankingSoftmaxLoss(Module):
    """Listwise softmax loss: `fusedloss.torch.functional.ranking_softmax_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import RankingSoftmaxLoss
    >>> RankingSoftmaxLoss()(torch.zeros(1, 2), torch.tensor([[2.0, 1.0]]))
    tensor(2.0794)
    """

    function = staticmethod(functional.ranking_softmax_loss)
    trial = (ones(1, 2), ones(1, 2))

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        where: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, labels, where=where, sample_weight=sample_weight)
