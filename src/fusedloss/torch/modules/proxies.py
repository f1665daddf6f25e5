"""Proxy losses that own the proxies of their classes."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from fusedloss import _check, proxy_anchor_loss
from fusedloss.torch import functional
from fusedloss.torch._margin import expect_options
from fusedloss.torch.modules.margin import Head, HeadOptions


class ProxyNCALoss(Head):
    """The probability of the embedding's own proxy: `fusedloss.torch.functional.proxy_nca_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    softmax_scale
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ProxyNCALoss
    >>> head = ProxyNCALoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "proxy_nca_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        softmax_scale: float = 1.0,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(embedding_dim, num_classes, {"softmax_scale": softmax_scale}, options)


class SoftTripleLoss(Head):
    """Several centers per class: `fusedloss.torch.functional.soft_triple_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, of shape (num_classes * centers_per_class, embedding_dim).
    margin, scale, centers_per_class, gamma
        As in the function.
    **options
        class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction and
        workspace, as in the function; sample_rate and seed, as in `fusedloss.sample_classes`, with
        which the weight's gradient is a sparse tensor; device and dtype of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SoftTripleLoss
    >>> head = SoftTripleLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "soft_triple_loss"

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 0.01,
        scale: float = 20.0,
        centers_per_class: int = 10,
        gamma: float = 0.1,
        **options: Unpack[HeadOptions],
    ) -> None:
        margins = {
            "margin": margin,
            "scale": scale,
            "centers_per_class": centers_per_class,
            "gamma": gamma,
        }
        super().__init__(embedding_dim, num_classes, margins, options, centers_per_class)


class ProxyAnchorLoss(nn.Module):
    """Each proxy pulls its class and pushes others: `fusedloss.torch.functional.proxy_anchor_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, alpha
        As in the function.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ProxyAnchorLoss
    >>> head = ProxyAnchorLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        margin: float = 0.1,
        alpha: float = 32.0,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        expect_options(proxy_anchor_loss, margin=margin, alpha=alpha)
        sizes = (
            _check.count("num_classes", num_classes),
            _check.count("embedding_dim", embedding_dim),
        )
        self.margin = margin
        self.alpha = alpha
        self.weight = nn.Parameter(torch.empty(sizes, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from Kaiming's normal distribution."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def forward(self, embeddings: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.proxy_anchor_loss(
            embeddings, self.weight, target, margin=self.margin, alpha=self.alpha
        )

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the scaled cosines, for evaluation."""
        x, weight = normalize(embeddings, dim=-1), normalize(self.weight, dim=-1)
        return self.alpha * linear(x, weight)

    def extra_repr(self) -> str:
        """Say the sizes and the options."""
        classes, features = self.weight.shape
        return f"{features}, {classes}, margin={self.margin}, alpha={self.alpha}"
