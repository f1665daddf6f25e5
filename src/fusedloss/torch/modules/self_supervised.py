"""Self-supervised losses of two views of a batch: statistics of features, no negatives."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

from torch import Tensor

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Indices
from fusedloss.torch.modules._fields import Module, ones, with_options

__all__ = [
    "BarlowTwinsLoss",
    "VICRegLoss",
]


class OfViews(Module):
    """A loss of two views, called as the losses of labels are."""

    trial = (ones(2, 1), ones(2, 1))

    def forward(
        self,
        embeddings: Tensor,
        labels: None = None,
        indices_tuple: Indices = None,
        ref_emb: Tensor | None = None,
        ref_labels: None = None,
    ) -> Tensor:
        """Compute the loss of the views `embeddings` and `ref_emb`; without it, of one view twice.

        Labels and index tuples are arguments of the other losses of embeddings: None here.
        """
        others: dict[str, Any] = {
            "labels": labels,
            "indices_tuple": indices_tuple,
            "ref_labels": ref_labels,
        }
        for name, x in others.items():
            if x is not None:
                raise ValueError(
                    f"{type(self).__name__} takes no {name}: expected the other view as ref_emb"
                )
        return self.call(embeddings, embeddings if ref_emb is None else ref_emb)


@with_options
class VICRegLoss(OfViews):
    """VICReg: `fusedloss.torch.functional.vicreg_loss`.

    Called as pytorch-metric-learning's, ``loss(x, ref_emb=y)``.

    Parameters
    ----------
    invariance_lambda, variance_mu, covariance_v, eps
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import VICRegLoss
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]])
    >>> y = torch.tensor([[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]])
    >>> VICRegLoss()(x, ref_emb=y)
    tensor(14.3850)
    """

    function = staticmethod(functional.vicreg_loss)

    invariance_lambda: float = 25.0
    variance_mu: float = 25.0
    covariance_v: float = 1.0
    eps: float = 1e-4


@with_options
class BarlowTwinsLoss(OfViews):
    """Barlow Twins: `fusedloss.torch.functional.barlow_twins_loss`.

    Called as `VICRegLoss`, ``loss(x, ref_emb=y)``.

    Parameters
    ----------
    lambd, eps
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BarlowTwinsLoss
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]])
    >>> y = torch.tensor([[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]])
    >>> BarlowTwinsLoss()(x, ref_emb=y)
    tensor(0.0101)
    """

    function = staticmethod(functional.barlow_twins_loss)

    lambd: float = 0.0051
    _: KW_ONLY
    eps: float = 1e-5
