"""Losses of pairs and triplets of embeddings, without a matrix of pairs or a list of triplets."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from fusedloss import metric
from fusedloss._types import Distance, Mining, PairReduction
from fusedloss.torch._pairs import pair_loss
from fusedloss.torch.functional._types import Indices

__all__ = [
    "contrastive_loss",
    "fast_ap_loss",
    "generalized_lifted_structure_loss",
    "lifted_structure_loss",
    "margin_loss",
    "nca_loss",
    "ranked_list_loss",
    "triplet_loss",
]


def triplet_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    margin: float = 0.2,
    mining: Mining = "all",
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    soft: bool = False,
    normalize: bool = False,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean_nonzero",
) -> Tensor:
    """Triplet loss over the triplets of a batch: `fusedloss.triplet_loss`.

    Parameters
    ----------
    embeddings, labels, margin, mining, distance, p, power, soft, normalize, ref_embeddings,
    ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.triplet_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.triplet_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.triplet_loss(e, y, margin=1.0)
    tensor(0.8711)
    """
    return pair_loss(
        metric.triplet_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        margin=margin,
        mining=mining,
        distance=distance,
        p=p,
        power=power,
        soft=soft,
        normalize=normalize,
    )


def contrastive_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    pos_margin: float = 0.0,
    neg_margin: float = 1.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean_nonzero",
) -> Tensor:
    """Contrastive loss of pairs' distances: `fusedloss.contrastive_loss`.

    Parameters
    ----------
    embeddings, labels, pos_margin, neg_margin, distance, p, power, normalize,
    ref_embeddings, ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.contrastive_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.contrastive_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.contrastive_loss(e, y)
    tensor(1.2620)
    """
    return pair_loss(
        metric.contrastive_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        pos_margin=pos_margin,
        neg_margin=neg_margin,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def margin_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    margin: float = 0.2,
    beta: float | Tensor = 1.2,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean_nonzero",
) -> Tensor:
    """Margin loss of distances around a boundary: `fusedloss.margin_loss`.

    Parameters
    ----------
    embeddings, labels, margin, beta, distance, p, power, normalize, ref_embeddings,
    ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.margin_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`, `beta` and `ref_embeddings`.

    See Also
    --------
    fusedloss.margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.margin_loss(e, y)
    tensor(0.7675)
    """
    return pair_loss(
        metric.margin_loss,
        {"embeddings": embeddings, "beta": beta, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        margin=margin,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def lifted_structure_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    neg_margin: float = 1.0,
    pos_margin: float = 0.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    reduction: Literal["mean_nonzero", "mean", "sum"] = "mean",
) -> Tensor:
    """Lifted structure loss: `fusedloss.lifted_structure_loss`.

    Parameters
    ----------
    embeddings, labels, neg_margin, pos_margin, distance, p, power, normalize,
    ref_embeddings, ref_labels, indices_tuple, reduction
        As in `fusedloss.lifted_structure_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.lifted_structure_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.lifted_structure_loss(e, y)
    tensor(1.3428)
    """
    return pair_loss(
        metric.lifted_structure_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels},
        indices_tuple=indices_tuple,
        reduction=reduction,
        neg_margin=neg_margin,
        pos_margin=pos_margin,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def generalized_lifted_structure_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    neg_margin: float = 1.0,
    pos_margin: float = 0.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Generalized lifted structure loss: `fusedloss.generalized_lifted_structure_loss`.

    Parameters
    ----------
    embeddings, labels, neg_margin, pos_margin, distance, p, power, normalize,
    ref_embeddings, ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.generalized_lifted_structure_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.generalized_lifted_structure_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.generalized_lifted_structure_loss(e, y)
    tensor(0.8288)
    """
    return pair_loss(
        metric.generalized_lifted_structure_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        neg_margin=neg_margin,
        pos_margin=pos_margin,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def nca_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    softmax_scale: float = 1.0,
    distance: Distance = "squared_euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Neighbourhood component analysis: `fusedloss.nca_loss`.

    Parameters
    ----------
    embeddings, labels, softmax_scale, distance, p, power, normalize, ref_embeddings,
    ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.nca_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.nca_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.nca_loss(e, y)
    tensor(0.5881)
    """
    return pair_loss(
        metric.nca_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        softmax_scale=softmax_scale,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def ranked_list_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.4,
    Tn: float = 10.0,
    imbalance: float = 0.5,
    alpha: float | None = None,
    Tp: float = 0.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Ranked list loss: `fusedloss.ranked_list_loss`.

    Parameters
    ----------
    embeddings, labels, margin, Tn, imbalance, alpha, Tp, distance, p, power, normalize,
    ref_embeddings, ref_labels, sample_weight, reduction
        As in `fusedloss.ranked_list_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.ranked_list_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.ranked_list_loss(e, y)
    tensor(0.2207)
    """
    return pair_loss(
        metric.ranked_list_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        reduction=reduction,
        margin=margin,
        Tn=Tn,
        imbalance=imbalance,
        alpha=alpha,
        Tp=Tp,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def fast_ap_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    num_bins: int = 10,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Average precision by a soft histogram: `fusedloss.fast_ap_loss`.

    Parameters
    ----------
    embeddings, labels, num_bins, normalize, ref_embeddings, ref_labels, indices_tuple,
    sample_weight, reduction
        As in `fusedloss.fast_ap_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.fast_ap_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.fast_ap_loss(e, y)
    tensor(0.2500)
    """
    return pair_loss(
        metric.fast_ap_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        num_bins=num_bins,
        normalize=normalize,
    )
