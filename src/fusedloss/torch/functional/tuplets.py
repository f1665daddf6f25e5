"""Losses of more than a pair of embeddings at once: tuples, triangles and distributions."""

from __future__ import annotations

from torch import Tensor

from fusedloss import tuplets
from fusedloss._types import Reduction, TupletReduction
from fusedloss.torch._pairs import pair_loss
from fusedloss.torch.functional._types import Indices

__all__ = [
    "angular_loss",
    "dynamic_soft_margin_loss",
    "histogram_loss",
    "instance_loss",
    "n_pairs_loss",
]


def n_pairs_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    normalize: bool = True,
    indices_tuple: Indices = None,
    reduction: TupletReduction = "mean",
) -> Tensor:
    """N-pairs loss: `fusedloss.n_pairs_loss`.

    Parameters
    ----------
    embeddings, labels, normalize, indices_tuple, reduction
        As in `fusedloss.n_pairs_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`.

    See Also
    --------
    fusedloss.n_pairs_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]])
    >>> F.n_pairs_loss(e, torch.tensor([0, 0, 1, 1]))
    tensor(0.4782)
    """
    return pair_loss(
        tuplets.n_pairs_loss,
        {"embeddings": embeddings},
        {"labels": labels},
        normalize=normalize,
        indices_tuple=indices_tuple,
        reduction=reduction,
    )


def instance_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    gamma: float = 64.0,
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Instance loss: `fusedloss.instance_loss`.

    Parameters
    ----------
    embeddings, labels, gamma, reduction, workspace
        As in `fusedloss.instance_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`.

    See Also
    --------
    fusedloss.instance_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> F.instance_loss(e, torch.arange(3), gamma=4.0)
    tensor(0.3614)
    """
    return pair_loss(
        tuplets.instance_loss,
        {"embeddings": embeddings},
        {"labels": labels},
        gamma=gamma,
        reduction=reduction,
        workspace=workspace,
    )


def angular_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    alpha: float = 40.0,
    normalize: bool = True,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
    reduction: TupletReduction = "mean",
) -> Tensor:
    """Angular loss: `fusedloss.angular_loss`.

    Parameters
    ----------
    embeddings, labels, alpha, normalize, ref_embeddings, ref_labels, indices_tuple, reduction
        As in `fusedloss.angular_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.angular_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.angular_loss(e, y)
    tensor(0.8026)
    """
    return pair_loss(
        tuplets.angular_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels},
        alpha=alpha,
        normalize=normalize,
        indices_tuple=indices_tuple,
        reduction=reduction,
    )


def histogram_loss(
    embeddings: Tensor, labels: Tensor | None, *, n_bins: int = 100, indices_tuple: Indices = None
) -> Tensor:
    """Histogram loss: `fusedloss.histogram_loss`.

    Parameters
    ----------
    embeddings, labels, n_bins, indices_tuple
        As in `fusedloss.histogram_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings`.

    See Also
    --------
    fusedloss.histogram_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.histogram_loss(e, y)
    tensor(0.5000)
    """
    return pair_loss(
        tuplets.histogram_loss,
        {"embeddings": embeddings},
        {"labels": labels},
        n_bins=n_bins,
        indices_tuple=indices_tuple,
    )


def dynamic_soft_margin_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    *,
    histogram: Tensor | None = None,
    num_bins: int = 10,
    min_val: float = -2.0,
    ref_embeddings: Tensor | None = None,
    ref_labels: Tensor | None = None,
    indices_tuple: Indices = None,
) -> Tensor:
    """Dynamic soft margin: `fusedloss.dynamic_soft_margin_loss`.

    Parameters
    ----------
    embeddings, labels, histogram, num_bins, min_val
        As in `fusedloss.dynamic_soft_margin_loss`.
    ref_embeddings, ref_labels, indices_tuple
        As in `fusedloss.dynamic_soft_margin_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.dynamic_soft_margin_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> F.dynamic_soft_margin_loss(e, y)
    tensor(0.0492)
    """
    return pair_loss(
        tuplets.dynamic_soft_margin_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {"labels": labels, "ref_labels": ref_labels, "histogram": histogram},
        num_bins=num_bins,
        min_val=min_val,
        indices_tuple=indices_tuple,
    )
