"""Contrastive losses: softmax and related losses of similarities, without a similarity matrix."""

from __future__ import annotations

from torch import Tensor

from fusedloss import contrastive
from fusedloss._types import Distance, PairReduction, RankPenalty, Reduction
from fusedloss.torch._pairs import pair_loss
from fusedloss.torch.functional._types import Indices

__all__ = [
    "circle_loss",
    "clip_loss",
    "info_nce_loss",
    "intra_pair_variance_loss",
    "multi_similarity_loss",
    "ntxent_loss",
    "pnp_loss",
    "siglip_loss",
    "smooth_ap_loss",
    "supcon_loss",
    "threshold_consistent_margin_loss",
    "tuplet_margin_loss",
]


def ntxent_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    temperature: float | Tensor = 0.07,
    distance: Distance = "cosine",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Cross-entropy of each positive pair against negatives: `fusedloss.ntxent_loss`.

    Parameters
    ----------
    embeddings, labels, temperature, distance, p, power, normalize, ref_embeddings,
    ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.ntxent_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`, `ref_embeddings` and `temperature`.

    See Also
    --------
    fusedloss.ntxent_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.ntxent_loss(e, y)
    tensor(1.4566)
    """
    return pair_loss(
        contrastive.ntxent_loss,
        {
            "embeddings": embeddings,
            "ref_embeddings": ref_embeddings,
            "temperature": temperature,
        },
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def supcon_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    temperature: float | Tensor = 0.1,
    distance: Distance = "cosine",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean_nonzero",
) -> Tensor:
    """Supervised contrastive loss: `fusedloss.supcon_loss`.

    Parameters
    ----------
    embeddings, labels, temperature, distance, p, power, normalize, ref_embeddings,
    ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.supcon_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`, `ref_embeddings` and `temperature`.

    See Also
    --------
    fusedloss.supcon_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.supcon_loss(e, y)
    tensor(1.0647)
    """
    return pair_loss(
        contrastive.supcon_loss,
        {
            "embeddings": embeddings,
            "ref_embeddings": ref_embeddings,
            "temperature": temperature,
        },
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def multi_similarity_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    distance: Distance = "cosine",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Multi-similarity loss: `fusedloss.multi_similarity_loss`.

    Parameters
    ----------
    embeddings, labels, alpha, beta, base, distance, p, power, normalize, ref_embeddings,
    ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.multi_similarity_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.multi_similarity_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.multi_similarity_loss(e, y)
    tensor(0.3994)
    """
    return pair_loss(
        contrastive.multi_similarity_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        alpha=alpha,
        beta=beta,
        base=base,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def circle_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    m: float = 0.4,
    gamma: float = 80.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean_nonzero",
) -> Tensor:
    """Circle loss: `fusedloss.circle_loss`.

    Parameters
    ----------
    embeddings, labels, m, gamma, normalize, ref_embeddings, ref_labels, indices_tuple,
    sample_weight, reduction
        As in `fusedloss.circle_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.circle_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.circle_loss(e, y)
    tensor(19.2000)
    """
    return pair_loss(
        contrastive.circle_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        m=m,
        gamma=gamma,
        normalize=normalize,
    )


def threshold_consistent_margin_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    lambda_plus: float = 1.0,
    lambda_minus: float = 1.0,
    margin_plus: float = 0.9,
    margin_minus: float = 0.5,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean_nonzero",
) -> Tensor:
    """Threshold-consistent margin loss: `fusedloss.threshold_consistent_margin_loss`.

    Parameters
    ----------
    embeddings, labels, lambda_plus, lambda_minus, margin_plus, margin_minus, normalize,
    ref_embeddings, ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.threshold_consistent_margin_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.threshold_consistent_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.threshold_consistent_margin_loss(e, y)
    tensor(0.6000)
    """
    return pair_loss(
        contrastive.threshold_consistent_margin_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        lambda_plus=lambda_plus,
        lambda_minus=lambda_minus,
        margin_plus=margin_plus,
        margin_minus=margin_minus,
        normalize=normalize,
    )


def tuplet_margin_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    margin: float = 5.73,
    scale: float = 64.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Tuplet margin loss: `fusedloss.tuplet_margin_loss`.

    Parameters
    ----------
    embeddings, labels, margin, scale, normalize, ref_embeddings, ref_labels, indices_tuple,
    sample_weight, reduction
        As in `fusedloss.tuplet_margin_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.tuplet_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.tuplet_margin_loss(e, y)
    tensor(3.9402)
    """
    return pair_loss(
        contrastive.tuplet_margin_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        margin=margin,
        scale=scale,
        normalize=normalize,
    )


def intra_pair_variance_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    pos_eps: float = 0.01,
    neg_eps: float = 0.01,
    distance: Distance = "cosine",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Intra-pair variance loss: `fusedloss.intra_pair_variance_loss`.

    Parameters
    ----------
    embeddings, labels, pos_eps, neg_eps, distance, p, power, normalize, ref_embeddings,
    ref_labels, indices_tuple, sample_weight, reduction
        As in `fusedloss.intra_pair_variance_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.intra_pair_variance_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.intra_pair_variance_loss(e, y)
    tensor(0.0784)
    """
    return pair_loss(
        contrastive.intra_pair_variance_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        pos_eps=pos_eps,
        neg_eps=neg_eps,
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
    )


def smooth_ap_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.01,
    normalize: bool = True,
    indices_tuple: Indices = None,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """Average precision by sigmoids of ranks: `fusedloss.smooth_ap_loss`.

    Parameters
    ----------
    embeddings, labels, temperature, normalize, indices_tuple, sample_weight, reduction
        As in `fusedloss.smooth_ap_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`.

    See Also
    --------
    fusedloss.smooth_ap_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.smooth_ap_loss(e, y)
    tensor(0.0556)
    """
    return pair_loss(
        contrastive.smooth_ap_loss,
        {"embeddings": embeddings},
        {"labels": labels, "sample_weight": sample_weight},
        indices_tuple=indices_tuple,
        reduction=reduction,
        temperature=temperature,
        normalize=normalize,
    )


def pnp_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    b: float = 2.0,
    alpha: float = 1.0,
    anneal: float = 0.01,
    variant: RankPenalty = "O",
    normalize: bool = True,
    sample_weight: Tensor | None = None,
    reduction: PairReduction = "mean",
) -> Tensor:
    """PNP, a penalty of negatives ahead of positives: `fusedloss.pnp_loss`.

    Parameters
    ----------
    embeddings, labels, b, alpha, anneal, variant, normalize, sample_weight, reduction
        As in `fusedloss.pnp_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`.

    See Also
    --------
    fusedloss.pnp_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.pnp_loss(e, y)
    tensor(0.2500)
    """
    return pair_loss(
        contrastive.pnp_loss,
        {"embeddings": embeddings},
        {"labels": labels, "sample_weight": sample_weight},
        reduction=reduction,
        b=b,
        alpha=alpha,
        anneal=anneal,
        variant=variant,
        normalize=normalize,
    )


def info_nce_loss(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    normalize: bool = True,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of each query's key: `fusedloss.info_nce_loss`.

    Parameters
    ----------
    query, key, temperature, normalize, sample_weight, where, reduction
        As in `fusedloss.info_nce_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `query`, `key` and `temperature`.

    See Also
    --------
    fusedloss.info_nce_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    >>> F.info_nce_loss(x, y)
    tensor(0.1269)
    """
    return pair_loss(
        contrastive.info_nce_loss,
        {"query": query, "key": key, "temperature": temperature},
        {"sample_weight": sample_weight, "where": where},
        reduction=reduction,
        normalize=normalize,
    )


def clip_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: float | Tensor = 1 / 0.07,
    *,
    normalize: bool = True,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """CLIP's loss of images and texts: `fusedloss.clip_loss`.

    Parameters
    ----------
    image_features, text_features, logit_scale, normalize, sample_weight, where, reduction
        As in `fusedloss.clip_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `image_features`, `text_features` and `logit_scale`.

    See Also
    --------
    fusedloss.clip_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    >>> F.clip_loss(x, y, 2.0)
    tensor(0.5130)
    """
    return pair_loss(
        contrastive.clip_loss,
        {
            "image_features": image_features,
            "text_features": text_features,
            "logit_scale": logit_scale,
        },
        {"sample_weight": sample_weight, "where": where},
        reduction=reduction,
        normalize=normalize,
    )


def siglip_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: float | Tensor = 10.0,
    logit_bias: float | Tensor = -10.0,
    *,
    normalize: bool = True,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """SigLIP's logistic loss of images and texts: `fusedloss.siglip_loss`.

    Parameters
    ----------
    image_features, text_features, logit_scale, logit_bias
        As in `fusedloss.siglip_loss`.
    normalize, sample_weight, where, reduction
        As in `fusedloss.siglip_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `image_features`, `text_features`, `logit_scale` and
        `logit_bias`.

    See Also
    --------
    fusedloss.siglip_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    >>> F.siglip_loss(x, y, 2.0, -1.0)
    tensor(1.2356)
    """
    return pair_loss(
        contrastive.siglip_loss,
        {
            "image_features": image_features,
            "text_features": text_features,
            "logit_scale": logit_scale,
            "logit_bias": logit_bias,
        },
        {"sample_weight": sample_weight, "where": where},
        reduction=reduction,
        normalize=normalize,
    )
