"""Self-supervised losses of two views of a batch: statistics of features, no negatives."""

from __future__ import annotations

from torch import Tensor

from fusedloss import self_supervised
from fusedloss.torch._pairs import pair_loss

__all__ = [
    "barlow_twins_loss",
    "vicreg_loss",
]


def vicreg_loss(
    embeddings: Tensor,
    ref_embeddings: Tensor,
    *,
    invariance_lambda: float = 25.0,
    variance_mu: float = 25.0,
    covariance_v: float = 1.0,
    eps: float = 1e-4,
) -> Tensor:
    """VICReg: views alike, features that vary apart: `fusedloss.vicreg_loss`.

    Parameters
    ----------
    embeddings, ref_embeddings, invariance_lambda, variance_mu, covariance_v, eps
        As in `fusedloss.vicreg_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.vicreg_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]])
    >>> y = torch.tensor([[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]])
    >>> F.vicreg_loss(x, y)
    tensor(14.3850)
    """
    return pair_loss(
        self_supervised.vicreg_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {},
        invariance_lambda=invariance_lambda,
        variance_mu=variance_mu,
        covariance_v=covariance_v,
        eps=eps,
    )


def barlow_twins_loss(
    embeddings: Tensor,
    ref_embeddings: Tensor,
    *,
    lambd: float = 0.0051,
    eps: float = 1e-5,
) -> Tensor:
    """Barlow Twins: correlations of two views' features: `fusedloss.barlow_twins_loss`.

    Parameters
    ----------
    embeddings, ref_embeddings, lambd, eps
        As in `fusedloss.barlow_twins_loss`.

    Returns
    -------
    Tensor
        The loss, differentiable in `embeddings` and `ref_embeddings`.

    See Also
    --------
    fusedloss.barlow_twins_loss : The same for arrays.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]])
    >>> y = torch.tensor([[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]])
    >>> F.barlow_twins_loss(x, y)
    tensor(0.0101)
    """
    return pair_loss(
        self_supervised.barlow_twins_loss,
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        {},
        lambd=lambd,
        eps=eps,
    )
