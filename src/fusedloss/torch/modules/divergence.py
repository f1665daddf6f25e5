"""Divergences between distributions, element by element."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, of_torch, with_options

__all__ = [
    "GeneralizedKLDivLoss",
    "JSDivLoss",
    "KLDivLoss",
    "TotalVariationLoss",
]


@of_torch
class KLDivLoss(Module, nn.KLDivLoss):
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

    function = staticmethod(functional.kl_div)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.kl_div(
            input, target, log_target=self.log_target, reduction=self.reduction, where=where
        )


@with_options
class JSDivLoss(Module):
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

    function = staticmethod(functional.js_div)

    beta: float = 0.5
    _: KW_ONLY
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean"

    def forward(
        self,
        log_probs: Tensor,
        log_target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(log_probs, log_target, weight=weight, where=where)


@with_options
class GeneralizedKLDivLoss(Module):
    """Divergence of positive numbers: `fusedloss.torch.functional.generalized_kl_div`.

    Parameters
    ----------
    log_target, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GeneralizedKLDivLoss
    >>> log_prediction = torch.tensor([2.0, 3.0]).log()
    >>> GeneralizedKLDivLoss(reduction="sum")(log_prediction, torch.tensor([1.0, 3.0]))
    tensor(0.3069)
    """

    function = staticmethod(functional.generalized_kl_div)

    log_target: bool = False
    _: KW_ONLY
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean"

    def forward(
        self,
        log_prediction: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(log_prediction, target, weight=weight, where=where)


@with_options
class TotalVariationLoss(Module):
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

    function = staticmethod(functional.total_variation_loss)

    _: KW_ONLY
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean"

    def forward(
        self,
        probs: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(probs, target, weight=weight, where=where)
