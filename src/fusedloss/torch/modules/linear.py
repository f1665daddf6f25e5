"""Losses of a linear layer whose outputs are never held."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fusedloss.torch import functional
from fusedloss.torch.functional._types import Loss, Outputs


class LinearCrossEntropyLoss(nn.LinearCrossEntropyLoss):
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

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: nn.LinearCrossEntropyOptions | None = None,
        softcap: float | None = None,
        z_loss: float = 0.0,
        shift: int = 0,
        filter_eps: float | None = None,
        outputs: Outputs = (),
        workspace: int | None = None,
    ) -> None:
        super().__init__(
            in_features,
            num_classes,
            out_features=out_features,
            bias=bias,
            device=device,
            dtype=dtype,
            reduction=reduction,
            weight=weight,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            options=options,
        )
        self.softcap = softcap
        self.z_loss = z_loss
        self.shift = shift
        self.filter_eps = filter_eps
        self.outputs = outputs
        self.workspace = workspace

    def forward(  # type: ignore[override]
        self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Loss:
        """Compute the loss; with `outputs` also a dict of them."""
        of_classes = (self.num_classes, *self.out_features)
        weight: Tensor = self.linear.weight
        bias: Tensor | None = self.linear.bias
        if self.out_features:  # else a view in the graph would be for nothing
            weight = weight.reshape(*of_classes, -1)
            bias = None if bias is None else bias.reshape(of_classes)
        return functional.linear_cross_entropy(
            input,
            weight,
            target,
            linear_bias=bias,
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
            sample_weight=sample_weight,
            softcap=self.softcap,
            z_loss=self.z_loss,
            shift=self.shift,
            filter_eps=self.filter_eps,
            outputs=self.outputs,
            workspace=self.workspace,
        )
