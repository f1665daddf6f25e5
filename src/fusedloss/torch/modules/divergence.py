"""Divergences between distributions, element by element."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Reduction


class KLDivLoss(nn.KLDivLoss):
    """Kullback-Leibler divergence: `torch.nn.KLDivLoss`.

    Parameters
    ----------
    size_average, reduce, reduction, log_target
        As in `torch.nn.KLDivLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import KLDivLoss
    >>> KLDivLoss(reduction="sum")(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.9, 0.1]))
    tensor(0.3681)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.kl_div(
            input,
            target,
            log_target=self.log_target,
            reduction=self.reduction,
        )


class JSDivLoss(nn.Module):
    """Generalised Jensen-Shannon divergence: `fusedloss.torch.functional.js_div`.

    Parameters
    ----------
    beta, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import JSDivLoss
    >>> JSDivLoss(reduction="sum")(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.9, 0.1]).log())
    tensor(0.1017)
    """

    def __init__(self, beta: float = 0.5, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.beta = beta
        self.reduction: Reduction = reduction

    def forward(
        self, log_probs: Tensor, log_target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.js_div(
            log_probs,
            log_target,
            beta=self.beta,
            weight=weight,
            reduction=self.reduction,
        )


class TotalVariationLoss(nn.Module):
    """Total variation distance: `fusedloss.torch.functional.total_variation_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TotalVariationLoss
    >>> TotalVariationLoss(reduction="sum")(torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1]))
    tensor(0.4000)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, probs: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.total_variation_loss(
            probs,
            target,
            weight=weight,
            reduction=self.reduction,
        )
