"""Proxy losses that own the proxies of their classes."""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from fusedloss import _check
from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, labels, ones, with_options
from fusedloss.torch.modules.margin import Head, expect_features

__all__ = [
    "ManifoldLoss",
    "P2SGradLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "SoftTripleLoss",
]


@with_options
class ProxyNCALoss(Head):
    """The probability of the embedding's own proxy: `fusedloss.torch.functional.proxy_nca_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    softmax_scale
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

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

    softmax_scale: float = 1.0


@with_options
class SoftTripleLoss(Head):
    """Several centers per class: `fusedloss.torch.functional.soft_triple_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, of shape (num_classes * centers_per_class, embedding_dim).
    margin, scale, centers_per_class, gamma
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

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

    margin: float = 0.01
    scale: float = 20.0
    centers_per_class: int = 10
    gamma: float = 0.1


@with_options
class Proxies(Module):
    """A loss that owns its proxies: a weight of shape (num_classes, embedding_dim)."""

    trial = (ones(1, 1), ones(1, 1), labels(1))
    of_module = ("embedding_dim", "num_classes")

    embedding_dim: int
    num_classes: int
    _: KW_ONLY
    device: InitVar[Any] = None
    dtype: InitVar[torch.dtype | None] = None

    def __post_init__(self, device: Any, dtype: torch.dtype | None) -> None:
        """Check the options, and make the weight."""
        super().__post_init__()
        classes = _check.count("num_classes", self.num_classes)
        features = _check.count("embedding_dim", self.embedding_dim)
        self.weight = nn.Parameter(torch.empty(classes, features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from Kaiming's normal distribution."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Return the cosines of the angles between embeddings and proxies."""
        return linear(normalize(embeddings, dim=-1), normalize(self.weight, dim=-1))


@with_options
class ProxyAnchorLoss(Proxies):
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

    function = staticmethod(functional.proxy_anchor_loss)

    margin: float = 0.1
    alpha: float = 32.0

    def forward(self, embeddings: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        embeddings : Tensor of floats, shape (N, embedding_dim)
            What a network gives; normalised here.
        target : Tensor of integers, shape (N,)
            Class indices in [0, num_classes).

        Returns
        -------
        Tensor
            The loss, a scalar.
        """
        expect_features(self, embeddings)
        return self.call(embeddings, self.weight, target)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the scaled cosines, for evaluation."""
        return self.alpha * self.cosines(embeddings)


@with_options
class P2SGradLoss(Proxies):
    """The squared error of cosines: `fusedloss.torch.functional.p2s_grad_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    ignore_index, reduction, workspace
        As in the function.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import P2SGradLoss
    >>> head = P2SGradLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    function = staticmethod(functional.p2s_grad_loss)

    _: KW_ONLY
    ignore_index: int = -1
    reduction: Reduction = "mean"
    workspace: int | None = None

    def forward(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        embeddings : Tensor of floats, shape (..., embedding_dim)
            What a network gives; normalised here.
        target : Tensor of integers, shape (...)
            Class indices in [0, num_classes), or `ignore_index`.
        sample_weight : Tensor of floats, shape (...), optional
            A weight per embedding; ones if absent. A mean divides by its sum.
        where : Tensor of bools, shape (...), optional
            Which embeddings take part; all do if absent. The others are ignored.

        Returns
        -------
        Tensor
            The loss, of the target's shape if it is not reduced.
        """
        expect_features(self, embeddings)
        given = {"sample_weight": sample_weight, "where": where}
        return self.call(embeddings, self.weight, target, **given)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the cosines, for evaluation."""
        return self.cosines(embeddings)


@with_options
class ManifoldLoss(Module):
    """Random walks end at their own proxies: `fusedloss.torch.functional.manifold_loss`.

    Called as pytorch-metric-learning's, whose `l` and `K` are the first two options, with the
    target in the place of its indices_tuple.

    Parameters
    ----------
    embedding_dim, num_proxies
        The sizes of `weight`, a parameter of shape (num_proxies, embedding_dim).
    lambdaC, alpha, margin, reduction
        As in the function.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ManifoldLoss
    >>> loss = ManifoldLoss(8, 3)
    >>> loss(torch.randn(5, 8)).backward()
    >>> loss.weight.grad.shape
    torch.Size([3, 8])
    """

    function = staticmethod(functional.manifold_loss)
    trial = (ones(1, 1), ones(1, 1), labels(1))
    of_module = ("embedding_dim", "num_proxies")

    embedding_dim: int
    num_proxies: int = 50
    lambdaC: float = 1.0
    alpha: float = 0.8
    margin: float = 5e-4
    _: KW_ONLY
    reduction: Reduction = "mean"
    device: InitVar[Any] = None
    dtype: InitVar[torch.dtype | None] = None

    def __post_init__(self, device: Any, dtype: torch.dtype | None) -> None:
        """Check the options, and make the weight."""
        super().__post_init__()
        proxies = _check.count("num_proxies", self.num_proxies)
        features = _check.count("embedding_dim", self.embedding_dim)
        self.weight = nn.Parameter(torch.empty(proxies, features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from the standard normal distribution."""
        nn.init.normal_(self.weight)

    def forward(self, embeddings: Tensor, target: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        embeddings : Tensor of floats, shape (N, embedding_dim)
            What a network gives; normalised here.
        target : Tensor of integers, shape (N,), optional
            The proxy of each embedding, in [0, num_proxies); if absent, drawn by torch's generator,
            each of the proxies at least once.

        Returns
        -------
        Tensor
            The loss, a scalar or, for reduction "none", of shape (N,).
        """
        target = self.drawn(embeddings) if target is None else target
        return self.call(embeddings, self.weight, target)

    def drawn(self, embeddings: Tensor) -> Tensor:
        """Draw the proxy of each embedding, as pytorch-metric-learning does."""
        count, proxies = len(embeddings), self.num_proxies
        if count < proxies:
            raise ValueError(
                f"embeddings has {count} rows: expected at least {proxies}, one per proxy, or a "
                "target"
            )
        more = torch.randint(0, proxies, (count - proxies,))
        target = torch.cat([torch.arange(proxies), more])[torch.randperm(count)]
        return target.to(embeddings.device)
