"""linear_cross_entropy, value and both gradients, against torch and the bare products.

The yardstick, `GEMM`, is logits = X W', dX = G W and dW = G' X by `torch.mm(out=)`, into arrays
that are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import torch

import fusedloss as fl
from fusedloss.cli._contenders import FUSEDLOSS, TORCH
from products import Contenders, Products
from targets import Target

GEMM, CHUNKED = "gemm", "torch chunked"
CONTENDERS = (FUSEDLOSS, TORCH, CHUNKED, GEMM)


@dataclass(frozen=True)
class Head:
    """A linear layer and its loss: positions, features, classes."""

    dtype: str
    shape: tuple[int, int, int]
    precision: fl.linear.Precision = "highest"
    workspace: int | None = None

    def __str__(self) -> str:
        parts = [" x ".join(map(str, self.shape))]
        parts += [self.dtype] if self.dtype != "float32" else []
        parts += [f"precision {self.precision}"] if self.precision != "highest" else []
        parts += [f"workspace {self.workspace >> 20} MiB"] if self.workspace else []
        return ", ".join(parts)

    def make(self, num_threads: int, small: bool) -> Contenders:
        """Build the arrays and what is timed on them."""
        positions, features, classes = (64, 48, 500) if small else self.shape
        torch.set_num_threads(num_threads)
        dtype = getattr(torch, self.dtype)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(positions, features, generator=generator).to(dtype)
        weight = (torch.randn(classes, features, generator=generator) * 0.02).to(dtype)
        target = torch.randint(0, classes, (positions,), generator=generator)
        x_leaf, weight_leaf = (each.detach().requires_grad_() for each in (x, weight))
        logits = torch.zeros(positions, classes, dtype=dtype)
        by_input, by_weight = torch.zeros_like(x), torch.zeros_like(weight)
        arrays = [_numpy(each) for each in (x, weight, target)]
        places = (_numpy(torch.zeros_like(x)), _numpy(torch.zeros_like(weight)))
        value_and_grad = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))

        def ours() -> None:
            value_and_grad(
                *arrays,
                out=places,
                precision=self.precision,
                workspace=self.workspace,
                num_threads=num_threads,
            )

        def theirs(options: Any = None) -> None:
            x_leaf.grad = weight_leaf.grad = None
            torch.nn.functional.linear_cross_entropy(
                x_leaf, weight_leaf, target, options=options
            ).backward()

        def gemm() -> None:
            torch.mm(x, weight.t(), out=logits)
            torch.mm(logits, weight, out=by_input)
            torch.mm(logits.t(), x, out=by_weight)

        return {
            FUSEDLOSS: ours,
            TORCH: theirs,
            CHUNKED: lambda: theirs(torch.nn.LinearCrossEntropyOptions()),
            GEMM: gemm,
        }


def _numpy(tensor: torch.Tensor) -> Any:
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _case(head: Head, bound: float, rounds: int = 5) -> Products:
    return Products(
        "linear_cross_entropy",
        str(head),
        CONTENDERS,
        head.make,
        (Target(bound, (GEMM,)),),
        rounds,
    )


LINEAR_HEADS = (
    _case(Head("float32", (2048, 768, 32000)), 1.1),
    _case(Head("bfloat16", (2048, 768, 32000)), 1.15),
    _case(Head("bfloat16", (2048, 768, 32000), workspace=2**28), 0.9),
)
