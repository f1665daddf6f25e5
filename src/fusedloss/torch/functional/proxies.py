"""Proxy losses: pairs and triplets of embeddings and the weights of classes, their proxies."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedloss import proxies
from fusedloss._types import Gradient, Reduction
from fusedloss.torch import _proxies
from fusedloss.torch._autograd import expect_arguments
from fusedloss.torch._margin import expect_labels, expect_one_dtype, head
from fusedloss.torch._pairs import pair_loss

__all__ = [
    "manifold_loss",
    "p2s_grad_loss",
    "proxy_anchor_loss",
    "proxy_nca_loss",
    "soft_triple_loss",
]


def proxy_nca_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    softmax_scale: float = 1.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Proxy-NCA: the probability of the embedding's own proxy; `fusedloss.proxy_nca_loss`.

    Parameters
    ----------
    embeddings, weight, target, softmax_scale
        As in the function of arrays.
    class_weight, sample_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient
        As in the function of arrays.
    reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.proxy_nca_loss(rows, weight, torch.tensor([0, 1]), softmax_scale=4.0)
    tensor(0.0210)
    """
    return head(
        proxies.proxy_nca_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {},
        reduction,
        softmax_scale=softmax_scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def soft_triple_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 0.01,
    scale: float = 20.0,
    centers_per_class: int = 10,
    gamma: float = 0.1,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Several centers per class, near ones counting more; `fusedloss.soft_triple_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale, centers_per_class, gamma
        As in the function of arrays.
    class_weight, sample_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient
        As in the function of arrays.
    reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.soft_triple_loss(rows, weight, torch.tensor([0, 1]), centers_per_class=1)
    tensor(0.0002)
    """
    return head(
        proxies.soft_triple_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin, "centers_per_class": centers_per_class, "gamma": gamma},
        reduction,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def proxy_anchor_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 0.1,
    alpha: float = 32.0,
) -> Tensor:
    """Each proxy pulls its class and pushes others; `fusedloss.proxy_anchor_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, alpha
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.proxy_anchor_loss(rows, weight, torch.tensor([0, 1]), alpha=4.0)
    tensor(1.6083)
    """
    return _proxies.proxy_anchor(embeddings, weight, target, margin, alpha)


def p2s_grad_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """P2SGrad: the squared error of cosines; `fusedloss.p2s_grad_loss`.

    Parameters
    ----------
    embeddings, weight, target, sample_weight, where, ignore_index
        As in the function of arrays.
    reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.p2s_grad_loss(rows, weight, torch.tensor([0, 1]))
    tensor(0.2333)
    """
    call = _proxies.P2SGradCall(ignore_index, reduction, workspace)
    return _proxies.p2s_grad(embeddings, weight, target, sample_weight, where, call)


def manifold_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    lambdaC: float = 1.0,
    alpha: float = 0.8,
    margin: float = 5e-4,
    reduction: Reduction = "mean",
) -> Tensor:
    """Random walks from embeddings end at their own proxies; `fusedloss.manifold_loss`.

    Parameters
    ----------
    embeddings, weight, target, lambdaC, alpha, margin, reduction
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`; differentiable in `embeddings` and `weight`.

    See Also
    --------
    fusedloss.manifold_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[2.0, 0.0], [1.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 1.0], [0.0, 3.0]])
    >>> F.manifold_loss(rows, weight, torch.tensor([0, 1]))
    tensor(0.7021)
    """
    expect_arguments(proxies.manifold_loss, embeddings, weight, target)
    expect_labels(target, embeddings.shape[:-1])
    if not torch.is_autocast_enabled("cpu"):  # which makes them one
        expect_one_dtype(embeddings, weight)
    return pair_loss(
        proxies.manifold_loss,
        {"embeddings": embeddings, "weight": weight},
        {"target": target},
        lambdaC=lambdaC,
        alpha=alpha,
        margin=margin,
        reduction=reduction,
    )
