"""Contrastive losses: softmax and related losses of similarities, without a similarity matrix."""

from __future__ import annotations

from dataclasses import KW_ONLY

from torch import Tensor

from fusedloss._types import Distance, PairReduction, RankPenalty, Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, ones, with_options
from fusedloss.torch.modules.metric import Labelled, OfDistances

__all__ = [
    "CLIPLoss",
    "CircleLoss",
    "InfoNCELoss",
    "IntraPairVarianceLoss",
    "MultiSimilarityLoss",
    "NTXentLoss",
    "PNPLoss",
    "SigLIPLoss",
    "SmoothAPLoss",
    "SupConLoss",
    "ThresholdConsistentMarginLoss",
    "TupletMarginLoss",
]


@with_options
class NTXentLoss(OfDistances):
    """Cross-entropy of each positive pair: `fusedloss.torch.functional.ntxent_loss`.

    Parameters
    ----------
    temperature, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import NTXentLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> NTXentLoss()(e, y)
    tensor(1.4566)
    """

    function = staticmethod(functional.ntxent_loss)
    learnable = ("temperature",)

    temperature: float | Tensor = 0.07
    _: KW_ONLY
    distance: Distance = "cosine"


@with_options
class SupConLoss(OfDistances):
    """Supervised contrastive loss: `fusedloss.torch.functional.supcon_loss`.

    Parameters
    ----------
    temperature, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SupConLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> SupConLoss()(e, y)
    tensor(1.0647)
    """

    function = staticmethod(functional.supcon_loss)
    learnable = ("temperature",)

    temperature: float | Tensor = 0.1
    _: KW_ONLY
    distance: Distance = "cosine"
    reduction: PairReduction = "mean_nonzero"


@with_options
class MultiSimilarityLoss(OfDistances):
    """Multi-similarity loss: `fusedloss.torch.functional.multi_similarity_loss`.

    Parameters
    ----------
    alpha, beta, base, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MultiSimilarityLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> MultiSimilarityLoss()(e, y)
    tensor(0.3994)
    """

    function = staticmethod(functional.multi_similarity_loss)

    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5
    _: KW_ONLY
    distance: Distance = "cosine"


@with_options
class CircleLoss(Labelled):
    """Circle loss: `fusedloss.torch.functional.circle_loss`.

    Parameters
    ----------
    m, gamma, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CircleLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> CircleLoss()(e, y)
    tensor(19.2000)
    """

    function = staticmethod(functional.circle_loss)

    m: float = 0.4
    gamma: float = 80.0
    _: KW_ONLY
    normalize: bool = True
    reduction: PairReduction = "mean_nonzero"


@with_options
class ThresholdConsistentMarginLoss(Labelled):
    """Fixed margins: `fusedloss.torch.functional.threshold_consistent_margin_loss`.

    Parameters
    ----------
    lambda_plus, lambda_minus, margin_plus, margin_minus, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ThresholdConsistentMarginLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> ThresholdConsistentMarginLoss()(e, y)
    tensor(0.6000)
    """

    function = staticmethod(functional.threshold_consistent_margin_loss)

    lambda_plus: float = 1.0
    lambda_minus: float = 1.0
    margin_plus: float = 0.9
    margin_minus: float = 0.5
    _: KW_ONLY
    normalize: bool = True
    reduction: PairReduction = "mean_nonzero"


@with_options
class TupletMarginLoss(Labelled):
    """Tuplet margin loss: `fusedloss.torch.functional.tuplet_margin_loss`.

    Parameters
    ----------
    margin, scale, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TupletMarginLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> TupletMarginLoss()(e, y)
    tensor(3.9402)
    """

    function = staticmethod(functional.tuplet_margin_loss)

    margin: float = 5.73
    scale: float = 64.0
    _: KW_ONLY
    normalize: bool = True
    reduction: PairReduction = "mean"


@with_options
class IntraPairVarianceLoss(OfDistances):
    """Intra-pair variance loss: `fusedloss.torch.functional.intra_pair_variance_loss`.

    Parameters
    ----------
    pos_eps, neg_eps, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import IntraPairVarianceLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> IntraPairVarianceLoss()(e, y)
    tensor(0.0784)
    """

    function = staticmethod(functional.intra_pair_variance_loss)

    pos_eps: float = 0.01
    neg_eps: float = 0.01
    _: KW_ONLY
    distance: Distance = "cosine"


@with_options
class SmoothAPLoss(Labelled):
    """Average precision by sigmoids of ranks: `fusedloss.torch.functional.smooth_ap_loss`.

    Parameters
    ----------
    temperature, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SmoothAPLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> SmoothAPLoss()(e, y)
    tensor(0.0556)
    """

    function = staticmethod(functional.smooth_ap_loss)

    temperature: float = 0.01
    _: KW_ONLY
    normalize: bool = True
    reduction: PairReduction = "mean"


@with_options
class PNPLoss(Labelled):
    """PNP, a penalty of negatives ahead of positives: `fusedloss.torch.functional.pnp_loss`.

    Parameters
    ----------
    b, alpha, anneal, variant, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import PNPLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> PNPLoss()(e, y)
    tensor(0.2500)
    """

    function = staticmethod(functional.pnp_loss)

    b: float = 2.0
    alpha: float = 1.0
    anneal: float = 0.01
    variant: RankPenalty = "O"
    _: KW_ONLY
    normalize: bool = True
    reduction: PairReduction = "mean"


@with_options
class InfoNCELoss(Module):
    """Cross-entropy of each query's key: `fusedloss.torch.functional.info_nce_loss`.

    Parameters
    ----------
    temperature, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import InfoNCELoss
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    >>> InfoNCELoss()(x, y)
    tensor(0.1269)
    """

    function = staticmethod(functional.info_nce_loss)
    trial = (ones(1, 1), ones(1, 1))
    learnable = ("temperature",)

    temperature: float | Tensor = 0.1
    _: KW_ONLY
    normalize: bool = True
    reduction: Reduction = "mean"

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        *,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(query, key, sample_weight=sample_weight, where=where)


@with_options
class CLIPLoss(Module):
    """CLIP's loss of images and texts: `fusedloss.torch.functional.clip_loss`.

    Parameters
    ----------
    normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CLIPLoss
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    >>> CLIPLoss()(x, y, 2.0)
    tensor(0.5130)
    """

    function = staticmethod(functional.clip_loss)
    trial = (ones(1, 1), ones(1, 1))

    _: KW_ONLY
    normalize: bool = True
    reduction: Reduction = "mean"

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: float | Tensor = 1 / 0.07,
        *,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(
            image_features, text_features, logit_scale, sample_weight=sample_weight, where=where
        )


@with_options
class SigLIPLoss(Module):
    """SigLIP's logistic loss of images and texts: `fusedloss.torch.functional.siglip_loss`.

    Parameters
    ----------
    normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SigLIPLoss
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    >>> SigLIPLoss()(x, y, 2.0, -1.0)
    tensor(1.2356)
    """

    function = staticmethod(functional.siglip_loss)
    trial = (ones(1, 1), ones(1, 1))

    _: KW_ONLY
    normalize: bool = True
    reduction: Reduction = "mean"

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: float | Tensor = 10.0,
        logit_bias: float | Tensor = -10.0,
        *,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(
            image_features,
            text_features,
            logit_scale,
            logit_bias,
            sample_weight=sample_weight,
            where=where,
        )
