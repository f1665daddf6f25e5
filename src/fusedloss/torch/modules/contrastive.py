"""Contrastive losses: softmax and its like of similarities, of which no matrix is made."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.contrastive import TowerReduction
from fusedloss.metric import Distance, Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules.metric import Labelled


class NTXentLoss(Labelled):
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

    def __init__(
        self,
        temperature: float = 0.07,
        *,
        distance: Distance = "cosine",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            temperature=temperature,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


class SupConLoss(Labelled):
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

    def __init__(
        self,
        temperature: float = 0.1,
        *,
        distance: Distance = "cosine",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean_nonzero",
    ) -> None:
        super().__init__(
            temperature=temperature,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


class MultiSimilarityLoss(Labelled):
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

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        *,
        distance: Distance = "cosine",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            alpha=alpha,
            beta=beta,
            base=base,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


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

    def __init__(
        self,
        m: float = 0.4,
        gamma: float = 80.0,
        *,
        normalize: bool = True,
        reduction: Reduction = "mean_nonzero",
    ) -> None:
        super().__init__(m=m, gamma=gamma, normalize=normalize, reduction=reduction)


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

    def __init__(
        self,
        margin: float = 5.73,
        scale: float = 64.0,
        *,
        normalize: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(margin=margin, scale=scale, normalize=normalize, reduction=reduction)


class InfoNCELoss(nn.Module):
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

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        normalize: bool = True,
        reduction: TowerReduction = "mean",
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.normalize = normalize
        self.reduction: TowerReduction = reduction

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        *,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return functional.info_nce_loss(
            query,
            key,
            temperature=self.temperature,
            normalize=self.normalize,
            reduction=self.reduction,
            sample_weight=sample_weight,
        )


class CLIPLoss(nn.Module):
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

    def __init__(
        self,
        *,
        normalize: bool = True,
        reduction: TowerReduction = "mean",
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.reduction: TowerReduction = reduction

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: float | Tensor = 1 / 0.07,
        *,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return functional.clip_loss(
            image_features,
            text_features,
            logit_scale,
            normalize=self.normalize,
            reduction=self.reduction,
            sample_weight=sample_weight,
        )


class SigLIPLoss(nn.Module):
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

    def __init__(
        self,
        *,
        normalize: bool = True,
        reduction: TowerReduction = "mean",
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.reduction: TowerReduction = reduction

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: float | Tensor = 10.0,
        logit_bias: float | Tensor = -10.0,
        *,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return functional.siglip_loss(
            image_features,
            text_features,
            logit_scale,
            logit_bias,
            normalize=self.normalize,
            reduction=self.reduction,
            sample_weight=sample_weight,
        )
