"""Losses of a real-valued prediction."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Reduction


class L1Loss(nn.L1Loss):
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

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.l1_loss(
            input,
            target,
            reduction=self.reduction,
        )


class MSELoss(nn.MSELoss):
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

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.mse_loss(
            input,
            target,
            reduction=self.reduction,
        )


class SmoothL1Loss(nn.SmoothL1Loss):
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

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.smooth_l1_loss(
            input,
            target,
            beta=self.beta,
            reduction=self.reduction,
        )


class HuberLoss(nn.HuberLoss):
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

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.huber_loss(
            input,
            target,
            delta=self.delta,
            reduction=self.reduction,
        )


class PoissonNLLLoss(nn.PoissonNLLLoss):
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

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class GaussianNLLLoss(nn.GaussianNLLLoss):
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

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Compute the loss."""
        return functional.gaussian_nll_loss(
            input,
            target,
            var,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class LogCoshLoss(nn.Module):
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

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.log_cosh_loss(
            input,
            target,
            weight=weight,
            reduction=self.reduction,
        )


class QuantileLoss(nn.Module):
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

    def __init__(self, quantile: float = 0.5, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.quantile = quantile
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.quantile_loss(
            input,
            target,
            quantile=self.quantile,
            weight=weight,
            reduction=self.reduction,
        )


class MSLELoss(nn.Module):
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

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.msle_loss(
            input,
            target,
            weight=weight,
            reduction=self.reduction,
        )


class MAPELoss(nn.Module):
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

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.mape_loss(
            input,
            target,
            weight=weight,
            reduction=self.reduction,
        )


class GammaLoss(nn.Module):
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

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.gamma_loss(
            input,
            target,
            weight=weight,
            reduction=self.reduction,
        )


class TweedieLoss(nn.Module):
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

    def __init__(self, power: float = 1.5, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.power = power
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.tweedie_loss(
            input,
            target,
            power=self.power,
            weight=weight,
            reduction=self.reduction,
        )
