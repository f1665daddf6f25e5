"""Losses of pairs, element by element."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.torch import functional


class MarginRankingLoss(nn.MarginRankingLoss):
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

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.margin_ranking_loss(
            input1,
            input2,
            target,
            margin=self.margin,
            reduction=self.reduction,
        )


class HingeEmbeddingLoss(nn.HingeEmbeddingLoss):
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

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.hinge_embedding_loss(
            input,
            target,
            margin=self.margin,
            reduction=self.reduction,
        )
