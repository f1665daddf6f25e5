"""Losses of more than a pair of embeddings at once: tuples, triangles and distributions."""

from __future__ import annotations

from dataclasses import KW_ONLY, field
from typing import Any

import torch
from torch import Tensor

from fusedloss import _check
from fusedloss._types import Reduction, TupletReduction
from fusedloss.torch import functional
from fusedloss.torch._pairs import soft_margin_counts
from fusedloss.torch.functional._types import Indices
from fusedloss.torch.modules._fields import with_options
from fusedloss.torch.modules.metric import Labelled

__all__ = [
    "AngularLoss",
    "DynamicSoftMarginLoss",
    "HistogramLoss",
    "InstanceLoss",
    "NPairsLoss",
]


@with_options
class NPairsLoss(Labelled):
    """N-pairs loss: `fusedloss.torch.functional.n_pairs_loss`.

    Parameters
    ----------
    normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import NPairsLoss
    >>> e = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]])
    >>> NPairsLoss()(e, torch.tensor([0, 0, 1, 1]))
    tensor(0.4782)
    """

    function = staticmethod(functional.n_pairs_loss)

    _: KW_ONLY
    normalize: bool = True
    reduction: TupletReduction = "mean"


@with_options
class InstanceLoss(Labelled):
    """Instance loss: `fusedloss.torch.functional.instance_loss`.

    Parameters
    ----------
    gamma, reduction, workspace
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import InstanceLoss
    >>> e = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> InstanceLoss(gamma=4.0)(e, torch.arange(3))
    tensor(0.3614)
    """

    function = staticmethod(functional.instance_loss)

    gamma: float = 64.0
    _: KW_ONLY
    reduction: Reduction = "mean"
    workspace: int | None = None


@with_options
class AngularLoss(Labelled):
    """Angular loss: `fusedloss.torch.functional.angular_loss`.

    Parameters
    ----------
    alpha, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AngularLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> AngularLoss()(e, y)
    tensor(0.8026)
    """

    function = staticmethod(functional.angular_loss)

    alpha: float = 40.0
    _: KW_ONLY
    normalize: bool = True
    reduction: TupletReduction = "mean"


@with_options
class HistogramLoss(Labelled):
    """Histogram loss: `fusedloss.torch.functional.histogram_loss`.

    Parameters
    ----------
    n_bins
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import HistogramLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> HistogramLoss()(e, y)
    tensor(0.5000)
    """

    function = staticmethod(functional.histogram_loss)

    n_bins: int = 100


@with_options
class DynamicSoftMarginLoss(Labelled):
    """Dynamic soft margin: `fusedloss.torch.functional.dynamic_soft_margin_loss`.

    Parameters
    ----------
    min_val, num_bins
        As in the function.
    momentum : float in [0, 1], default 0.01
        How much a batch's triplets count in the buffer `histogram`, each of them beside the
        histogram of the batches before, whose sum is 1.

    Notes
    -----
    A call in training moves `histogram` before it computes the loss: ``(1 - momentum) * histogram +
    momentum * counts``, divided by its sum; at first it is that of the batch.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DynamicSoftMarginLoss
    >>> loss = DynamicSoftMarginLoss(num_bins=4)
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> loss(e, y)
    tensor(0.0463)
    >>> loss.histogram
    tensor([0.0000, 0.2599, 0.6091, 0.1310])
    """

    function = staticmethod(functional.dynamic_soft_margin_loss)
    of_module = ("momentum",)
    statistics = ("histogram",)

    histogram: Tensor = field(init=False)
    min_val: float = -2.0
    num_bins: int = 10
    momentum: float = 0.01

    def __post_init__(self) -> None:
        """Start from no triplets."""
        self.register_buffer("histogram", torch.zeros(_check.count("num_bins", self.num_bins)))
        super().__post_init__()
        self.momentum = _check.in_range("momentum", self.momentum, 0, 1)

    def keywords(self) -> dict[str, Any]:
        """Return the function's options."""
        return {**super().keywords(), "histogram": self.histogram}

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Indices = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; in training after moving `histogram`."""
        if self.training and sample_weight is None:
            counts = soft_margin_counts(
                {"embeddings": embeddings, "ref_embeddings": ref_emb},
                {"labels": labels, "ref_labels": ref_labels},
                indices_tuple=indices_tuple,
                num_bins=self.num_bins,
                min_val=self.min_val,
            ).to(self.histogram)
            total = self.histogram.sum()
            share = torch.where(total == 0, torch.ones_like(total), self.momentum)
            moved = (1 - share) * self.histogram + share * counts
            moved /= moved.sum()
            self.histogram.copy_(torch.where(counts.sum() == 0, self.histogram, moved))
        return super().forward(
            embeddings, labels, indices_tuple, ref_emb, ref_labels, sample_weight
        )
