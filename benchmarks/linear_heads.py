"""linear_cross_entropy, value and both gradients, against torch and the bare products.

The yardstick, `GEMM`, is logits = X W', dX = G W and dW = G' X by `torch.mm(out=)`, into arrays
that are there.
"""

from __future__ import annotations

from collections.abc import Callable
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
class Arrays:
    """Input, weight and target of a head."""

    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def make(cls, shape: tuple[int, int, int], dtype: str, num_threads: int) -> Arrays:
        """Draw them, of positions, features, classes."""
        positions, features, classes = shape
        torch.set_num_threads(num_threads)
        kind = getattr(torch, dtype)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(positions, features, generator=generator).to(kind)
        weight = (torch.randn(classes, features, generator=generator) * 0.02).to(kind)
        return cls((x, weight, torch.randint(0, classes, (positions,), generator=generator)))

    def for_numpy(self) -> tuple[list[Any], tuple[Any, ...]]:
        """Return the inputs, and where the gradients go."""
        given = [_numpy(each) for each in self.inputs]
        return given, tuple(_numpy(torch.zeros_like(each)) for each in self.inputs[:2])

    def gemm(self) -> Callable[[], None]:
        """Return the products alone."""
        x, weight, _ = self.inputs
        logits = torch.zeros(len(x), len(weight), dtype=x.dtype)
        by_input, by_weight = torch.zeros_like(x), torch.zeros_like(weight)

        def gemm() -> None:
            torch.mm(x, weight.t(), out=logits)
            torch.mm(logits, weight, out=by_input)
            torch.mm(logits.t(), x, out=by_weight)

        return gemm


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
        arrays = Arrays.make((64, 48, 500) if small else self.shape, self.dtype, num_threads)
        x, weight, target = arrays.inputs
        x_leaf, weight_leaf = (each.detach().requires_grad_() for each in (x, weight))
        given, places = arrays.for_numpy()
        value_and_grad = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))

        def ours() -> None:
            value_and_grad(
                *given,
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

        return {
            FUSEDLOSS: ours,
            TORCH: theirs,
            CHUNKED: lambda: theirs(torch.nn.LinearCrossEntropyOptions()),
            GEMM: arrays.gemm(),
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
