"""Proxy-Anchor in torch: a kernel call, and its formula in torch's differentiable operations."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fusedloss import proxy_anchor_loss
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.torch._autograd import (
    Tensors,
    array,
    detached,
    evaluate,
    expect_arguments,
)
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._margin import expect_labels, expect_one_dtype, expect_options
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._pairs import LEAST_NORM, log_sum_exp, softplus
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
