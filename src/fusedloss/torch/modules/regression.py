"""Losses of a real-valued prediction."""

from __future__ import annotations

from dataclasses import KW_ONLY

from torch import Tensor, nn

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, of_torch, ones, with_options

__all__ = [
    "EpsilonInsensitiveLoss",
    "GammaLoss",
    "GaussianNLLLoss",
    "HuberLoss",
    "L1Loss",
    "LogCoshLoss",
    "MAPELoss",
    "MSELoss",
    "MSLELoss",
    "PoissonNLLLoss",
    "PseudoHuberLoss",
    "QuantileLoss",
    "SmoothL1Loss",
    "SmoothQuantileLoss",
    "TweedieLoss",
]


@of_torch
class L1Loss(Module, nn.L1Loss):
    """Absolute error: `torch.nn.L1Loss`.

    Parameters
    ----------
    size_average, reduce, reduction
        As in `torch.nn.L1Loss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import L1Loss
    >>> L1Loss()(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(1.5000)
    """

    function = staticmethod(functional.l1_loss)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.l1_loss(input, target, reduction=self.reduction, where=where)


@of_torch
class MSELoss(Module, nn.MSELoss):
    """Squared error: `torch.nn.MSELoss`.

    Parameters
    ----------
    size_average, reduce, reduction
        As in `torch.nn.MSELoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MSELoss
    >>> MSELoss()(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(2.5000)
    """

    function = staticmethod(functional.mse_loss)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.mse_loss(input, target, reduction=self.reduction, where=where)


@of_torch
class SmoothL1Loss(Module, nn.SmoothL1Loss):
    """Squared error near the target, absolute beyond: `torch.nn.SmoothL1Loss`.

    Parameters
    ----------
    size_average, reduce, reduction, beta
        As in `torch.nn.SmoothL1Loss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SmoothL1Loss
    >>> SmoothL1Loss()(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.8125)
    """

    function = staticmethod(functional.smooth_l1_loss)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.smooth_l1_loss(
            input, target, beta=self.beta, reduction=self.reduction, where=where
        )


@of_torch
class HuberLoss(Module, nn.HuberLoss):
    """Huber's loss: `torch.nn.HuberLoss`.

    Parameters
    ----------
    reduction, delta
        As in `torch.nn.HuberLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import HuberLoss
    >>> HuberLoss()(torch.tensor([0.6, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.8400)
    """

    function = staticmethod(functional.huber_loss)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.huber_loss(
            input, target, delta=self.delta, reduction=self.reduction, where=where
        )


@of_torch
class PoissonNLLLoss(Module, nn.PoissonNLLLoss):
    """Negative log-likelihood of counts: `torch.nn.PoissonNLLLoss`.

    Parameters
    ----------
    log_input, full, size_average, eps, reduce, reduction
        As in `torch.nn.PoissonNLLLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import PoissonNLLLoss
    >>> PoissonNLLLoss()(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor(0.8591)
    """

    function = staticmethod(functional.poisson_nll_loss)

    def forward(self, log_input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
            where=where,
        )


@of_torch
class GaussianNLLLoss(Module, nn.GaussianNLLLoss):
    """Negative log-likelihood of a normal density: `torch.nn.GaussianNLLLoss`.

    Parameters
    ----------
    full, eps, reduction
        As in `torch.nn.GaussianNLLLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GaussianNLLLoss
    >>> GaussianNLLLoss()(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]), torch.ones(2))
    tensor(1.2500)
    """

    function = staticmethod(functional.gaussian_nll_loss)
    trial = (ones(1), ones(1), ones(1))

    def forward(
        self, input: Tensor, target: Tensor, var: Tensor | float, where: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction, where=where
        )


@with_options
class LogCoshLoss(Module):
    """Logarithm of the hyperbolic cosine of the error: `fusedloss.torch.functional.log_cosh_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LogCoshLoss
    >>> LogCoshLoss()(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.7226)
    """

    function = staticmethod(functional.log_cosh_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class PseudoHuberLoss(Module):
    """Smooth form of Huber's loss: `fusedloss.torch.functional.pseudo_huber_loss`.

    Parameters
    ----------
    delta, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import PseudoHuberLoss
    >>> PseudoHuberLoss()(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.6771)
    """

    function = staticmethod(functional.pseudo_huber_loss)

    delta: float = 1.0
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class EpsilonInsensitiveLoss(Module):
    """Distance beyond a tolerance: `fusedloss.torch.functional.epsilon_insensitive_loss`.

    Parameters
    ----------
    epsilon, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import EpsilonInsensitiveLoss
    >>> EpsilonInsensitiveLoss(0.5)(torch.tensor([1.0, 3.0]), torch.tensor([1.25, 1.0]))
    tensor(0.7500)
    """

    function = staticmethod(functional.epsilon_insensitive_loss)

    epsilon: float = 0.1
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class QuantileLoss(Module):
    """Pinball loss: `fusedloss.torch.functional.quantile_loss`.

    Parameters
    ----------
    quantile, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import QuantileLoss
    >>> QuantileLoss(0.75)(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(0.6250)
    """

    function = staticmethod(functional.quantile_loss)

    quantile: float = 0.5
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class SmoothQuantileLoss(Module):
    """Smooth pinball loss: `fusedloss.torch.functional.smooth_quantile_loss`.

    Parameters
    ----------
    quantile, alpha, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SmoothQuantileLoss
    >>> SmoothQuantileLoss(0.9)(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(0.1347)
    """

    function = staticmethod(functional.smooth_quantile_loss)

    quantile: float = 0.5
    alpha: float = 0.1
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class MSLELoss(Module):
    """Squared error of logarithms: `fusedloss.torch.functional.msle_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MSLELoss
    >>> MSLELoss()(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(0.4805)
    """

    function = staticmethod(functional.msle_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class MAPELoss(Module):
    """Absolute error in percent of the target: `fusedloss.torch.functional.mape_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MAPELoss
    >>> MAPELoss()(torch.tensor([1.5, 3.0]), torch.tensor([1.0, 4.0]))
    tensor(37.5000)
    """

    function = staticmethod(functional.mape_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class GammaLoss(Module):
    """Half the gamma deviance: `fusedloss.torch.functional.gamma_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GammaLoss
    >>> GammaLoss()(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor(1.3679)
    """

    function = staticmethod(functional.gamma_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)


@with_options
class TweedieLoss(Module):
    """Half the Tweedie deviance: `fusedloss.torch.functional.tweedie_loss`.

    Parameters
    ----------
    power, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TweedieLoss
    >>> TweedieLoss()(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor(4.8618)
    """

    function = staticmethod(functional.tweedie_loss)

    power: float = 1.5
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, weight=weight, where=where)
