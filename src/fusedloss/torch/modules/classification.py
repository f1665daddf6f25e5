"""Losses of class scores, row by row."""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar

from torch import Tensor, nn
from torch.nn._reduction import legacy_get_string

from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.functional._types import Outputs
from fusedloss.torch.modules._fields import Module, labels, of_torch, ones, with_options

__all__ = [
    "CategoricalCrossEntropyLoss",
    "CrossEntropyLoss",
    "DistillationLoss",
    "FocalLoss",
    "NLLLoss",
    "SoftCrossEntropyLoss",
]


@with_options
class CrossEntropyLoss(Module, nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss` with five options more.

    Parameters
    ----------
    weight, size_average, ignore_index, reduce, reduction, label_smoothing
        As in `torch.nn.CrossEntropyLoss`.
    softcap, z_loss, entropy_bonus, outputs, axis
        As in `fusedloss.torch.functional.cross_entropy`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CrossEntropyLoss
    >>> loss = CrossEntropyLoss(label_smoothing=0.1)
    >>> loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.4600)
    """

    function = staticmethod(functional.cross_entropy)
    of_input = ("axis",)
    trial = (ones(1, 2), labels(1))

    weight: Tensor | None = None
    size_average: InitVar[bool | None] = None
    ignore_index: int = -100
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    label_smoothing: float = 0.0
    _: KW_ONLY
    softcap: float | None = None
    z_loss: float = 0.0
    entropy_bonus: float = 0.0
    outputs: Outputs = ()
    axis: int | None = None

    def __post_init__(self, size_average: bool | None, reduce: bool | None) -> None:
        """Take torch's former names of reductions, too."""
        if size_average is not None or reduce is not None:
            self.reduction = legacy_get_string(size_average, reduce)
        super().__post_init__()

    def forward(  # type: ignore[override]
        self,
        input: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
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
            entropy_bonus=self.entropy_bonus,
            outputs=self.outputs,
            axis=self.axis,
            where=where,
        )


@of_torch
class NLLLoss(Module, nn.NLLLoss):
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

    function = staticmethod(functional.nll_loss)
    trial = (ones(1, 2), labels(1))

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return functional.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            sample_weight=sample_weight,
            where=where,
        )


@with_options
class CategoricalCrossEntropyLoss(Module):
    """Cross-entropy of probabilities: `fusedloss.torch.functional.categorical_cross_entropy`.

    Parameters
    ----------
    axis, label_smoothing, gamma, alpha, ignore_index, reduction
        As in the function. A tensor of `alpha` is a buffer of the module.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CategoricalCrossEntropyLoss
    >>> loss = CategoricalCrossEntropyLoss()
    >>> loss(torch.tensor([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]), torch.tensor([1, 2]))
    tensor(1.1769)
    """

    function = staticmethod(functional.categorical_cross_entropy)
    of_input = ("axis",)
    trial = (ones(1, 2), labels(1))

    _: KW_ONLY
    axis: int = -1
    label_smoothing: float = 0.0
    gamma: float = 0.0
    alpha: float | Tensor | None = None
    ignore_index: int = -100
    reduction: Reduction = "mean"

    def forward(
        self,
        probs: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(probs, target, sample_weight=sample_weight, where=where)


@with_options
class FocalLoss(Module):
    """Softmax focal loss: `fusedloss.torch.functional.focal_loss`.

    Parameters
    ----------
    alpha, gamma, ignore_index, reduction, softcap, z_loss, entropy_bonus, outputs, axis
        As in the function. A tensor of `alpha` is a buffer of the module.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import FocalLoss
    >>> FocalLoss()(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.0875)
    """

    function = staticmethod(functional.focal_loss)
    of_input = ("axis",)
    trial = (ones(1, 2), labels(1))

    alpha: float | Tensor | None = None
    gamma: float = 2.0
    _: KW_ONLY
    ignore_index: int = -100
    reduction: Reduction = "mean"
    softcap: float | None = None
    z_loss: float = 0.0
    entropy_bonus: float = 0.0
    outputs: Outputs = ()
    axis: int | None = None

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss; with `outputs` also a dict of them."""
        return self.call(logits, target, sample_weight=sample_weight, where=where)


@with_options
class SoftCrossEntropyLoss(Module):
    """Cross-entropy between two softmaxes: `fusedloss.torch.functional.soft_cross_entropy`.

    Parameters
    ----------
    temperature, reduction, axis
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SoftCrossEntropyLoss
    >>> SoftCrossEntropyLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    tensor(0.4325)
    """

    function = staticmethod(functional.soft_cross_entropy)
    of_input = ("axis",)
    trial = (ones(1, 2), ones(1, 2))

    temperature: float = 1.0
    _: KW_ONLY
    reduction: Reduction = "mean"
    axis: int | None = None

    def forward(
        self,
        logits: Tensor,
        target_logits: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(logits, target_logits, sample_weight=sample_weight, where=where)


@with_options
class DistillationLoss(Module):
    """Divergence from a teacher and labels: `fusedloss.torch.functional.distillation_loss`.

    Parameters
    ----------
    temperature, alpha, ignore_index, reduction, axis
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DistillationLoss
    >>> z, t = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    >>> DistillationLoss(temperature=2.0)(z, t, torch.tensor([0]))
    tensor(0.2093)
    """

    function = staticmethod(functional.distillation_loss)
    of_input = ("axis",)
    trial = (ones(1, 2), ones(1, 2), labels(1))

    temperature: float = 1.0
    alpha: float = 0.5
    _: KW_ONLY
    ignore_index: int = -100
    reduction: Reduction = "mean"
    axis: int | None = None

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | tuple[Tensor, Tensor],
        target: Tensor | None = None,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        return self.call(
            student_logits, teacher_logits, target, sample_weight=sample_weight, where=where
        )
