"""Losses of class scores, row by row."""

from __future__ import annotations

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Outputs, Reduction


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss` with three options more.

    Parameters
    ----------
    weight, size_average, ignore_index, reduce, reduction, label_smoothing
        As in `torch.nn.CrossEntropyLoss`.
    softcap, z_loss, outputs
        As in `fusedloss.torch.functional.cross_entropy`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CrossEntropyLoss
    >>> loss = CrossEntropyLoss(label_smoothing=0.1)
    >>> loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.4600)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        softcap: float | None = None,
        z_loss: float = 0.0,
        outputs: Outputs = (),
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        self.softcap = softcap
        self.z_loss = z_loss
        self.outputs = outputs

    def forward(  # type: ignore[override]
        self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss; with `outputs` also a dict of them."""
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            sample_weight=sample_weight,
            softcap=self.softcap,
            z_loss=self.z_loss,
            outputs=self.outputs,
        )


class NLLLoss(nn.NLLLoss):
    """`torch.nn.NLLLoss`.

    Parameters
    ----------
    weight, size_average, ignore_index, reduce, reduction
        As in `torch.nn.NLLLoss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import NLLLoss
    >>> NLLLoss()(torch.tensor([[-0.5, -1.0], [-2.0, -0.25]]), torch.tensor([0, 1]))
    tensor(0.3750)
    """

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            sample_weight=sample_weight,
        )


class CategoricalCrossEntropyLoss(nn.Module):
    """Cross-entropy of probabilities: `fusedloss.torch.functional.categorical_cross_entropy`.

    Parameters
    ----------
    axis, label_smoothing, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CategoricalCrossEntropyLoss
    >>> loss = CategoricalCrossEntropyLoss()
    >>> loss(torch.tensor([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]), torch.tensor([1, 2]))
    tensor(1.1769)
    """

    def __init__(
        self,
        *,
        axis: int = -1,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.axis = axis
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(self, probs: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Compute the loss."""
        return functional.categorical_cross_entropy(
            probs,
            target,
            axis=self.axis,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            sample_weight=sample_weight,
        )


class FocalLoss(nn.Module):
    """Softmax focal loss: `fusedloss.torch.functional.focal_loss`.

    Parameters
    ----------
    alpha, gamma, ignore_index, reduction, softcap, z_loss, outputs
        As in the function. A tensor of `alpha` is a buffer of the module.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import FocalLoss
    >>> FocalLoss()(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.0875)
    """

    alpha: float | Tensor | None

    def __init__(
        self,
        alpha: float | Tensor | None = None,
        gamma: float = 2.0,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        softcap: float | None = None,
        z_loss: float = 0.0,
        outputs: Outputs = (),
    ) -> None:
        super().__init__()
        if isinstance(alpha, Tensor):
            self.register_buffer("alpha", alpha)
        else:
            self.alpha = alpha
        self.gamma = gamma
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.softcap = softcap
        self.z_loss = z_loss
        self.outputs = outputs

    def forward(
        self, logits: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss; with `outputs` also a dict of them."""
        return functional.focal_loss(
            logits,
            target,
            alpha=self.alpha,
            gamma=self.gamma,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            sample_weight=sample_weight,
            softcap=self.softcap,
            z_loss=self.z_loss,
            outputs=self.outputs,
        )


class SoftCrossEntropyLoss(nn.Module):
    """Cross-entropy between two softmaxes: `fusedloss.torch.functional.soft_cross_entropy`.

    Parameters
    ----------
    temperature, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SoftCrossEntropyLoss
    >>> SoftCrossEntropyLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    tensor(0.4325)
    """

    def __init__(self, temperature: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.temperature = temperature
        self.reduction: Reduction = reduction

    def forward(
        self, logits: Tensor, target_logits: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss."""
        return functional.soft_cross_entropy(
            logits,
            target_logits,
            temperature=self.temperature,
            reduction=self.reduction,
            sample_weight=sample_weight,
        )


class DistillationLoss(nn.Module):
    """Divergence from a teacher and labels: `fusedloss.torch.functional.distillation_loss`.

    Parameters
    ----------
    temperature, alpha, ignore_index, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DistillationLoss
    >>> z, t = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    >>> DistillationLoss(temperature=2.0)(z, t, torch.tensor([0]))
    tensor(0.2093)
    """

    def __init__(
        self,
        temperature: float = 1.0,
        alpha: float = 0.5,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.alpha = alpha
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | tuple[Tensor, Tensor],
        target: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return functional.distillation_loss(
            student_logits,
            teacher_logits,
            target,
            temperature=self.temperature,
            alpha=self.alpha,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            sample_weight=sample_weight,
        )
