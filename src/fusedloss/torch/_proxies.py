"""Proxy-Anchor and P2SGrad in torch: kernel calls, and their formulas in torch's operations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fusedloss import _check, p2s_grad_loss, proxy_anchor_loss
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.torch._autograd import (
    Tensors,
    array,
    detached,
    evaluate,
    expect_arguments,
    wide,
)
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._margin import expect_labels, expect_one_dtype, expect_options
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._pairs import LEAST_NORM, log_sum_exp, softplus
from fusedloss.torch._softmax import expect_shape, without_masked
from fusedloss.torch._unit import unit_rows


class ProxyAnchorCall(NamedTuple):
    """A call of proxy_anchor_loss."""

    margin: float
    alpha: float
    reduction: str = "mean"
    differentiable: int = 2
    deferred: bool = False

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss."""
        x, weight, target = tensors
        kernel, arguments = lookup(proxy_anchor_loss).lower(
            numbers_of_bits(detached(x)),
            numbers_of_bits(detached(weight)),
            array(target),
            margin=self.margin,
            alpha=self.alpha,
            num_threads=torch.get_num_threads(),
        )
        if not wanted:
            return bits_of_numbers(kernel(*arguments))
        places = tuple(map(numbers_of_bits, out))
        return bits_of_numbers(kernel(*arguments, wanted, grad_output, places)[0])

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations, in float32 or float64."""
        expect_options(proxy_anchor_loss, margin=self.margin, alpha=self.alpha)
        x, weight, target = tensors
        expect_labels(target, x.shape[:-1])
        expect_one_dtype(x, weight)
        wide = torch.float32 if x.itemsize < 4 else x.dtype
        proxies, units = (unit_rows(y.to(wide), least=LEAST_NORM) for y in (weight, x))
        cosine = proxies @ units.T
        own = one_hot(target.long(), len(weight)).T.to(wide)
        pull = log_sum_exp(self.alpha * (self.margin - cosine), own, -torch.inf)
        push = log_sum_exp(self.alpha * (cosine + self.margin), 1 - own, -torch.inf)
        present = own.any(1).sum().clamp(min=1)
        return (softplus(pull).sum() / present + softplus(push).mean()).to(x.dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Return none: it has no extra outputs."""
        return {}


def proxy_anchor(
    embeddings: Tensor, weight: Tensor, target: Tensor, margin: float, alpha: float
) -> Tensor:
    """Compute proxy_anchor_loss."""
    expect_arguments(proxy_anchor_loss, embeddings, weight, target)
    if operated(embeddings, weight, target):
        result: Tensor = operate(
            "proxy_anchor_loss",
            embeddings=embeddings,
            weight=weight,
            target=target,
            margin=margin,
            alpha=alpha,
        )
        return result
    loss: Tensor = evaluate(ProxyAnchorCall(margin, alpha), embeddings, weight, target)
    return loss


class P2SGradCall(NamedTuple):
    """A call of p2s_grad_loss; its tensors are embeddings, weight, target and sample weight."""

    ignore_index: int
    reduction: str
    workspace: int | None
    differentiable: int = 2

    @property
    def deferred(self) -> bool:
        """Whether gradients are left to the backward pass."""
        return self.reduction == "none"

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernels and return the loss."""
        x, weight, target, sample_weight = tensors
        kernel, arguments = lookup(p2s_grad_loss).lower(
            numbers_of_bits(detached(x)),
            numbers_of_bits(detached(weight)),
            array(target),
            sample_weight=None if sample_weight is None else numbers_of_bits(array(sample_weight)),
            num_threads=torch.get_num_threads(),
            **self.options(),
        )
        if not wanted:
            return bits_of_numbers(kernel(*arguments))
        if isinstance(grad_output, np.ndarray):
            grad_output = numbers_of_bits(grad_output)
        places = tuple(map(numbers_of_bits, out))
        return bits_of_numbers(kernel(*arguments, wanted, grad_output, places)[0])

    def options(self) -> dict[str, Any]:
        """Return the options that the function of arrays has, too."""
        return {name: getattr(self, name) for name in ("ignore_index", "reduction", "workspace")}

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations, in float32 or float64."""
        expect_options(p2s_grad_loss, **self.options())
        x, weight, target, sample_weight = tensors
        expect_labels(target, x.shape[:-1])
        expect_one_dtype(x, weight)
        counts = wide(torch.ones_like(target, dtype=x.dtype))
        if sample_weight is not None:
            expect_shape("sample_weight", sample_weight, x.shape[:-1])
            counts = sample_weight.to(counts.dtype)
        target = target.long()
        counts = counts.masked_fill(target == self.ignore_index, 0)
        silent = (counts == 0).unsqueeze(-1)
        rows = wide(x).masked_fill(silent, 1)  # 0 times NaN is NaN
        cosine = unit_rows(rows) @ unit_rows(wide(weight)).T
        at = torch.where(target == self.ignore_index, 0, target).unsqueeze(-1)
        errors = cosine.scatter_add(-1, at, torch.full_like(cosine[..., :1], -1))
        losses = (counts * errors.square().mean(-1)).masked_fill(silent.squeeze(-1), 0)
        if self.reduction == "mean":
            losses = losses.sum() / counts.sum()
        elif self.reduction == "sum":
            losses = losses.sum()
        return losses.to(x.dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Return none: it has no extra outputs."""
        return {}


def p2s_grad(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    sample_weight: Tensor | None,
    where: Tensor | None,
    call: P2SGradCall,
) -> Tensor:
    """Compute p2s_grad_loss."""
    expect_arguments(p2s_grad_loss, embeddings, weight, target)
    if where is not None:
        shape = embeddings.shape[:-1]
        expect_labels(target, shape)
        target, _ = without_masked(where, shape, target, None, call.ignore_index)
    if operated(embeddings, weight, target, sample_weight):
        result: Tensor = operate(
            "p2s_grad_loss",
            embeddings=embeddings,
            weight=weight,
            target=target,
            sample_weight=sample_weight,
            **call.options(),
        )
        return result
    _check.reduction(call.reduction)
    loss: Tensor = evaluate(call, embeddings, weight, target, sample_weight)
    return loss
