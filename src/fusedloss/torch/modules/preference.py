"""Losses that train policies: of preferred answers, and of answers with rewards."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any, Literal

from torch import Tensor

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, ones, with_options

__all__ = [
    "CPOLoss",
    "DPOLoss",
    "GRPOLoss",
    "IPOLoss",
    "KTOLoss",
    "ORPOLoss",
    "SimPOLoss",
]


@with_options
class DPOLoss(Module):
    """Direct preference optimisation: `fusedloss.torch.functional.dpo_loss`.

    Parameters
    ----------
    beta, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DPOLoss
    >>> chosen, rejected = torch.tensor([-10.0]), torch.tensor([-15.0])
    >>> DPOLoss()(chosen, rejected, torch.tensor([-11.0]), torch.tensor([-14.0]))
    tensor(0.5981)
    """

    function = staticmethod(functional.dpo_loss)
    trial = (ones(1), ones(1), ones(1), ones(1))

    beta: float = 0.1
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(
            policy_chosen,
            policy_rejected,
            reference_chosen,
            reference_rejected,
            weight=weight,
            where=where,
        )


@with_options
class IPOLoss(Module):
    """Identity preference optimisation: `fusedloss.torch.functional.ipo_loss`.

    Parameters
    ----------
    beta, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import IPOLoss
    >>> chosen, rejected = torch.tensor([-1.0]), torch.tensor([-3.0])
    >>> IPOLoss(beta=0.5)(chosen, rejected, torch.tensor([-2.0]), torch.tensor([-2.0]))
    tensor(1.)
    """

    function = staticmethod(functional.ipo_loss)
    trial = (ones(1), ones(1), ones(1), ones(1))

    beta: float = 0.1
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(
            policy_chosen,
            policy_rejected,
            reference_chosen,
            reference_rejected,
            weight=weight,
            where=where,
        )


@with_options
class SimPOLoss(Module):
    """Simple preference optimisation: `fusedloss.torch.functional.simpo_loss`.

    Parameters
    ----------
    beta, gamma, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SimPOLoss
    >>> SimPOLoss()(torch.tensor([-0.5, -1.0]), torch.tensor([-1.5, -1.0]))
    tensor(0.8133)
    """

    function = staticmethod(functional.simpo_loss)

    beta: float = 2.0
    gamma: float = 1.0
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(policy_chosen, policy_rejected, weight=weight, where=where)


@with_options
class CPOLoss(Module):
    """Contrastive preference optimisation: `fusedloss.torch.functional.cpo_loss`.

    Parameters
    ----------
    beta, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CPOLoss
    >>> CPOLoss()(torch.tensor([-10.0]), torch.tensor([-30.0]))
    tensor(0.1269)
    """

    function = staticmethod(functional.cpo_loss)

    beta: float = 0.1
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(policy_chosen, policy_rejected, weight=weight, where=where)


@with_options
class ORPOLoss(Module):
    """Odds-ratio preference optimisation: `fusedloss.torch.functional.orpo_loss`.

    Parameters
    ----------
    beta, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ORPOLoss
    >>> ORPOLoss(beta=1.0)(torch.tensor([-0.5]), torch.tensor([-1.5]))
    tensor(0.1709)
    """

    function = staticmethod(functional.orpo_loss)

    beta: float = 0.1
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        policy_chosen: Tensor,
        policy_rejected: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(policy_chosen, policy_rejected, weight=weight, where=where)


@with_options
class KTOLoss(Module):
    """Kahneman-Tversky optimisation: `fusedloss.torch.functional.kto_loss`.

    Parameters
    ----------
    beta, kl, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import KTOLoss
    >>> policy, reference = torch.tensor([-10.0, -20.0]), torch.tensor([-12.0, -18.0])
    >>> KTOLoss(beta=0.5)(policy, reference, torch.tensor([True, False]))
    tensor(0.2689)
    """

    function = staticmethod(functional.kto_loss)
    trial = (ones(1), ones(1), ones(1))

    beta: float = 0.1
    kl: float = 0.0
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        policy: Tensor,
        reference: Tensor,
        desirable: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(policy, reference, desirable, weight=weight, where=where)


@with_options
class GRPOLoss(Module):
    """Group-relative policy optimisation: `fusedloss.torch.functional.grpo_loss`.

    Parameters
    ----------
    epsilon, epsilon_high, beta, loss_type
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GRPOLoss
    >>> old = torch.tensor([[-0.7, -0.7], [-1.4, -0.7]])
    >>> GRPOLoss()(old, old, torch.tensor([1.0, 2.0]))
    tensor(-1.5000)
    """

    function = staticmethod(functional.grpo_loss)
    trial = (ones(1, 1), ones(1, 1), ones(1, 1))

    epsilon: float = 0.2
    epsilon_high: float | None = None
    beta: float = 0.0
    _: KW_ONLY
    loss_type: Literal["token", "sequence", "dapo"] = "token"

    def with_trial(self) -> dict[str, Any]:
        """Return a reference's log-probabilities, and the divisor that "dapo" takes."""
        return {"ref_log_probs": ones(1, 1), "divisor": 1.0 if self.loss_type == "dapo" else None}

    def forward(
        self,
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        ref_log_probs: Tensor | None = None,
        where: Tensor | None = None,
        divisor: float | None = None,
    ) -> Tensor:
        """Compute the loss; "dapo" divides by `divisor`, which may change with every batch."""
        return self.call(
            log_probs,
            old_log_probs,
            advantages,
            ref_log_probs=ref_log_probs,
            where=where,
            divisor=divisor,
        )
