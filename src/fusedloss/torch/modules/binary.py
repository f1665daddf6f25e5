"""Losses of scores and of logits, element by element."""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar

from torch import Tensor, nn
from torch.nn._reduction import legacy_get_string

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import Module, of_torch, with_options

__all__ = [
    "AsymmetricLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BinarySparsemaxLoss",
    "ExponentialLoss",
    "HingeLoss",
    "LogisticLoss",
    "PerceptronLoss",
    "SigmoidFocalLoss",
    "SoftMarginLoss",
    "SquaredHingeLoss",
    "ZeroOneLoss",
]


@of_torch
class BCELoss(Module, nn.BCELoss):
    """Binary cross-entropy of probabilities: `torch.nn.BCELoss`.

    Parameters
    ----------
    weight, size_average, reduce, reduction
        As in `torch.nn.BCELoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BCELoss
    >>> BCELoss()(torch.tensor([0.4, 0.6]), torch.tensor([0.0, 1.0]))
    tensor(0.5108)
    """

    function = staticmethod(functional.binary_cross_entropy)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.binary_cross_entropy(
            input, target, weight=self.weight, reduction=self.reduction, where=where
        )


@with_options
class BCEWithLogitsLoss(Module, nn.BCEWithLogitsLoss):
    """Sigmoid cross-entropy: `torch.nn.BCEWithLogitsLoss` with an option more.

    Parameters
    ----------
    weight, size_average, reduce, reduction, pos_weight
        As in `torch.nn.BCEWithLogitsLoss`.
    label_smoothing
        As in `fusedloss.torch.functional.binary_cross_entropy_with_logits`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BCEWithLogitsLoss
    >>> BCEWithLogitsLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.4100)
    """

    function = staticmethod(functional.binary_cross_entropy_with_logits)

    weight: Tensor | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    pos_weight: Tensor | None = None
    _: KW_ONLY
    label_smoothing: float = 0.0

    def __post_init__(self, size_average: bool | None, reduce: bool | None) -> None:
        """Take torch's former names of reductions, too."""
        if size_average is not None or reduce is not None:
            self.reduction = legacy_get_string(size_average, reduce)
        super().__post_init__()

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return self.call(input, target, where=where)


@of_torch
class SoftMarginLoss(Module, nn.SoftMarginLoss):
    """Logistic loss of scores and classes -1 and 1: `torch.nn.SoftMarginLoss`.

    Parameters
    ----------
    size_average, reduce, reduction
        As in `torch.nn.SoftMarginLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SoftMarginLoss
    >>> SoftMarginLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, -1.0]))
    tensor(0.4100)
    """

    function = staticmethod(functional.soft_margin_loss)

    def forward(self, input: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.soft_margin_loss(input, target, reduction=self.reduction, where=where)


LogisticLoss = SoftMarginLoss


@with_options
class HingeLoss(Module):
    """Hinge loss, of the support vector machine: `fusedloss.torch.functional.hinge_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import HingeLoss
    >>> HingeLoss()(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.2500)
    """

    function = staticmethod(functional.hinge_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(scores, target, weight=weight, where=where)


@with_options
class PerceptronLoss(Module):
    """Perceptron loss: `fusedloss.torch.functional.perceptron_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import PerceptronLoss
    >>> PerceptronLoss()(torch.tensor([0.5, -2.0]), torch.tensor([-1.0, -1.0]))
    tensor(0.2500)
    """

    function = staticmethod(functional.perceptron_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(scores, target, weight=weight, where=where)


@with_options
class BinarySparsemaxLoss(Module):
    """Sparsemax loss of two classes: `fusedloss.torch.functional.binary_sparsemax_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BinarySparsemaxLoss
    >>> BinarySparsemaxLoss()(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))
    tensor(0.1250)
    """

    function = staticmethod(functional.binary_sparsemax_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, weight=weight, where=where)


@with_options
class SquaredHingeLoss(Module):
    """Square of the hinge loss: `fusedloss.torch.functional.squared_hinge_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SquaredHingeLoss
    >>> SquaredHingeLoss()(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.1250)
    """

    function = staticmethod(functional.squared_hinge_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(scores, target, weight=weight, where=where)


@with_options
class ExponentialLoss(Module):
    """Exponential loss, of AdaBoost: `fusedloss.torch.functional.exponential_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ExponentialLoss
    >>> ExponentialLoss()(torch.tensor([0.5, -2.0]), torch.tensor([1.0, -1.0]))
    tensor(0.3709)
    """

    function = staticmethod(functional.exponential_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        scores: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(scores, target, weight=weight, where=where)


@with_options
class SigmoidFocalLoss(Module):
    """Focal loss of two classes: `fusedloss.torch.functional.sigmoid_focal_loss`.

    Parameters
    ----------
    alpha, gamma, label_smoothing, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SigmoidFocalLoss
    >>> SigmoidFocalLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.0652)
    """

    function = staticmethod(functional.sigmoid_focal_loss)

    alpha: float | None = 0.25
    gamma: float = 2.0
    _: KW_ONLY
    label_smoothing: float = 0.0
    reduction: Reduction = "mean"

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, weight=weight, where=where)


@with_options
class AsymmetricLoss(Module):
    """Asymmetric loss of many labels: `fusedloss.torch.functional.asymmetric_loss`.

    Parameters
    ----------
    gamma_neg, gamma_pos, clip, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AsymmetricLoss
    >>> AsymmetricLoss()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor(0.0198)
    """

    function = staticmethod(functional.asymmetric_loss)

    gamma_neg: float = 4.0
    gamma_pos: float = 1.0
    clip: float = 0.05
    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target, weight=weight, where=where)


@with_options
class ZeroOneLoss(Module):
    """Share of wrong predictions: `fusedloss.torch.functional.zero_one_loss`.

    Parameters
    ----------
    reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ZeroOneLoss
    >>> ZeroOneLoss()(torch.tensor([1, 2, 3, 3]), torch.tensor([1, 2, 3, 4]))
    tensor(0.2500)
    """

    function = staticmethod(functional.zero_one_loss)

    _: KW_ONLY
    reduction: Reduction = "mean"

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(prediction, target, weight=weight, where=where)
