"""Losses of a linear layer whose outputs are never held."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import KW_ONLY, InitVar
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.adaptive import _ASMoutput

from fusedloss import _check
from fusedloss._types import Reduction
from fusedloss.torch import functional
from fusedloss.torch.functional._types import Loss, Outputs
from fusedloss.torch.modules._fields import Module, labels, ones, with_options

__all__ = [
    "AdaptiveLogSoftmaxWithLoss",
    "LinearBinaryCrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "LinearDistillationLoss",
]


@with_options
class LinearCrossEntropyLoss(Module, nn.LinearCrossEntropyLoss):
    """`torch.nn.LinearCrossEntropyLoss` with six options more.

    Parameters
    ----------
    in_features, num_classes, out_features, bias, device, dtype, reduction, weight, ignore_index
        As in `torch.nn.LinearCrossEntropyLoss`.
    label_smoothing, options
        As in `torch.nn.LinearCrossEntropyLoss`.
    softcap, z_loss, shift, filter_eps, outputs, workspace
        As in `fusedloss.torch.functional.linear_cross_entropy`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LinearCrossEntropyLoss
    >>> loss = LinearCrossEntropyLoss(2, 3)
    >>> _ = torch.nn.init.eye_(loss.linear.weight)
    >>> round(loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])).item(), 4)
    0.6691
    """

    function = staticmethod(functional.linear_cross_entropy)
    trial = (ones(1, 1), ones(2, 1), labels(1))
    of_input = ("shift",)
    of_module = ("in_features", "num_classes", "out_features")

    in_features: int
    num_classes: int
    _: KW_ONLY
    out_features: tuple[int, ...] = ()
    bias: InitVar[bool] = False
    device: InitVar[Any] = None
    dtype: InitVar[torch.dtype | None] = None
    reduction: str = "mean"
    weight: Tensor | None = None
    ignore_index: int | None = None
    label_smoothing: float = 0.0
    options: nn.LinearCrossEntropyOptions | None = None
    softcap: float | None = None
    z_loss: float = 0.0
    shift: int = 0
    filter_eps: float | None = None
    outputs: Outputs = ()
    workspace: int | None = None

    def __post_init__(self, bias: bool, device: Any, dtype: torch.dtype | None) -> None:
        """Make the layer as torch does."""
        made = nn.LinearCrossEntropyLoss(
            self.in_features,
            self.num_classes,
            out_features=self.out_features,
            bias=bias,
            device=device,
            dtype=dtype,
            weight=self.weight,
            label_smoothing=self.label_smoothing,
        )
        self.linear = made.linear
        super().__post_init__()

    def check(self) -> None:
        """Raise what a call raises for options that are wrong whatever the input."""
        super().check()
        _check.shifted_by(self.shift, (sys.maxsize, 1))

    def forward(  # type: ignore[override]
        self,
        input: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Loss:
        """Compute the loss; with `outputs` also a dict of them."""
        of_classes = (self.num_classes, *self.out_features)
        weight: Tensor = self.linear.weight
        bias: Tensor | None = self.linear.bias
        if self.out_features:  # else a view in the graph would be for nothing
            weight = weight.reshape(*of_classes, -1)
            bias = None if bias is None else bias.reshape(of_classes)
        given = self.keywords() | {
            "linear_bias": bias,
            "sample_weight": sample_weight,
            "where": where,
        }
        loss: Loss = functional.linear_cross_entropy(input, weight, target, **given)
        return loss


@with_options
class LinearDistillationLoss(Module):
    """Distillation without logits: `fusedloss.torch.functional.linear_distillation_loss`.

    The weights of both layers are those of the models, and come with each call.

    Parameters
    ----------
    temperature, alpha, divergence, ignore_index, reduction, workspace
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LinearDistillationLoss
    >>> x, w = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> y, v = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [0.0]])
    >>> LinearDistillationLoss(divergence="js")(x, w, y, v)
    tensor(0.0539)
    """

    function = staticmethod(functional.linear_distillation_loss)
    trial = (ones(1, 1), ones(2, 1), ones(1, 1), ones(2, 1))

    _: KW_ONLY
    temperature: float = 1.0
    alpha: float = 1.0
    divergence: Literal["forward", "reverse", "js"] = "forward"
    ignore_index: int = -100
    reduction: Reduction = "mean"
    workspace: int | None = None

    def forward(
        self,
        student: Tensor,
        student_weight: Tensor,
        teacher: Tensor,
        teacher_weight: Tensor,
        target: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        layers = (student, student_weight, teacher, teacher_weight)
        return self.call(*layers, target=target, sample_weight=sample_weight)


@with_options
class LinearBinaryCrossEntropyLoss(Module):
    """Very many labels: `fusedloss.torch.functional.linear_binary_cross_entropy`.

    The layer's weights come with each call.

    Parameters
    ----------
    reduction, workspace
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LinearBinaryCrossEntropyLoss
    >>> w = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    >>> LinearBinaryCrossEntropyLoss()(torch.eye(2), w, torch.tensor([[0, 2], [1, -1]]))
    tensor(0.7021)
    """

    function = staticmethod(functional.linear_binary_cross_entropy)
    trial = (ones(1, 1), ones(2, 1), labels(1, 1))

    _: KW_ONLY
    reduction: Reduction = "mean"
    workspace: int | None = None

    def forward(self, input: Tensor, linear_weight: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return self.call(input, linear_weight, target)


@with_options
class AdaptiveLogSoftmaxWithLoss(Module, nn.AdaptiveLogSoftmaxWithLoss):
    """`torch.nn.AdaptiveLogSoftmaxWithLoss` that holds no logits, except in `log_prob`.

    A call returns the targets' log-probabilities and the loss, as torch's; `predict` and `log_prob`
    are torch's own, and so is the state.

    Parameters
    ----------
    in_features, n_classes, cutoffs, div_value, head_bias, device, dtype
        As in `torch.nn.AdaptiveLogSoftmaxWithLoss`.
    workspace
        As in `fusedloss.torch.functional.adaptive_log_softmax_loss`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AdaptiveLogSoftmaxWithLoss
    >>> _ = torch.manual_seed(0)
    >>> loss = AdaptiveLogSoftmaxWithLoss(8, 100, [10, 40])
    >>> output = loss(torch.zeros(3, 8), torch.tensor([2, 20, 99]))
    >>> output.output.detach()
    tensor([-2.4849, -5.8861, -6.5793])
    >>> round(output.loss.item(), 4)
    4.9834
    """

    function = staticmethod(functional.adaptive_log_softmax_loss)
    trial = (ones(1, 1), ones(2, 1), (ones(1, 1), ones(1, 1)), labels(1))
    of_module = ("in_features", "n_classes", "cutoffs", "div_value", "head_bias")

    in_features: int
    n_classes: int
    cutoffs: Sequence[int]  # type: ignore[assignment]
    div_value: float = 4.0
    head_bias: bool = False
    device: InitVar[Any] = None
    dtype: InitVar[torch.dtype | None] = None
    _: KW_ONLY
    workspace: int | None = None

    def __post_init__(self, device: Any, dtype: torch.dtype | None) -> None:
        """Make the layers as torch does."""
        made = nn.AdaptiveLogSoftmaxWithLoss(
            self.in_features,
            self.n_classes,
            self.cutoffs,
            self.div_value,
            self.head_bias,
            device=device,
            dtype=dtype,
        )
        self.cutoffs = made.cutoffs
        self.shortlist_size, self.n_clusters = made.shortlist_size, made.n_clusters
        self.head_size, self.head, self.tail = made.head_size, made.head, made.tail
        super().__post_init__()

    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        """Compute the targets' log-probabilities, and the mean of minus them."""
        if target_.dim() > 1 or input_.shape[:-1] != target_.shape:
            return nn.AdaptiveLogSoftmaxWithLoss.forward(self, input_, target_)  # which raises
        loss, outputs = functional.adaptive_log_softmax_loss(
            input_,
            self.head.weight,
            tuple(self.tail.parameters()),
            target_,
            bias=self.head.bias,
            outputs=("log_prob",),
            **self.keywords(),
        )
        return _ASMoutput(outputs["log_prob"].to(loss.dtype), loss)
