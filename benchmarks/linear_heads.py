"""linear_cross_entropy, value and both gradients, against torch and the bare products.

The yardstick, `GEMM`, is logits = X W', dX = G W and dW = G' X by `torch.mm(out=)`, into arrays
that are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ml_dtypes
import torch

import fusedloss as fl
from comparisons import Comparison, Contenders
from fusedloss.cli._contenders import FUSEDLOSS, TORCH
from fusedloss.cli._peers import products
from targets import Target

GEMM = "gemm"
#: torch's own chunks of positions, by what they accumulate in.
CHUNKED = {
    policy: f"torch chunked, {policy}" for policy in ("auto", "accurate", "balanced", "compact")
}
#: What a trained head's gradient is left out below: what Cut Cross-Entropy has for bfloat16.
FILTER_EPS = 2.0**-12


@dataclass(frozen=True)
class Arrays:
    """Input, weight and target of a head."""

    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def make(
        cls, shape: tuple[int, int, int], dtype: str, num_threads: int, *, trained: bool = False
    ) -> Arrays:
        """Draw them, of positions, features, classes; `trained`: the target is what is likely."""
        positions, features, classes = shape
        torch.set_num_threads(num_threads)
        kind = getattr(torch, dtype)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(positions, features, generator=generator).to(kind)
        weight = (torch.randn(classes, features, generator=generator) * 0.02).to(kind)
        target = torch.randint(0, classes, (positions,), generator=generator)
        if trained:
            x = trained_input(weight, target, generator).to(kind)
        return cls((x, weight, target))

    def for_numpy(self) -> tuple[list[Any], tuple[Any, ...]]:
        """Return the inputs, and where the gradients go."""
        given = [_numpy(each) for each in self.inputs]
        return given, tuple(_numpy(torch.zeros_like(each)) for each in self.inputs[:2])

    def gemm(self) -> Callable[[], object]:
        """Return the products alone."""
        x, weight = (each.detach() for each in self.inputs[:2])
        return products(torch, x, weight)


@dataclass(frozen=True)
class Head:
    """A linear layer and its loss: positions, features, classes."""

    dtype: str
    shape: tuple[int, int, int]
    precision: fl.linear.Precision = "highest"
    workspace: int | None = None
    #: the targets are likely, but for a tenth, and other classes are not
    trained: bool = False
    filter_eps: float | None = None

    def __str__(self) -> str:
        parts = [" x ".join(map(str, self.shape))]
        parts += [self.dtype] if self.dtype != "float32" else []
        parts += [f"precision {self.precision}"] if self.precision != "highest" else []
        parts += [f"workspace {self.workspace >> 20} MiB"] if self.workspace else []
        parts += ["trained"] if self.trained else []
        parts += [f"filter_eps {self.filter_eps:g}"] if self.filter_eps else []
        return ", ".join(parts)

    def make(self, num_threads: int, small: bool) -> Contenders:
        """Build the arrays and what is timed on them."""
        shape = (64, 48, 500) if small else self.shape
        arrays = Arrays.make(shape, self.dtype, num_threads, trained=self.trained)
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
                filter_eps=self.filter_eps,
                num_threads=num_threads,
            )

        def theirs(policy: Any = None) -> None:
            x_leaf.grad = weight_leaf.grad = None
            torch.nn.functional.linear_cross_entropy(
                x_leaf,
                weight_leaf,
                target,
                options=policy and torch.nn.LinearCrossEntropyOptions(acc_policy=policy),
            ).backward()

        return {
            FUSEDLOSS: ours,
            TORCH: theirs,
            **{name: partial(theirs, policy) for policy, name in CHUNKED.items()},
            GEMM: arrays.gemm(),
        }


def trained_input(weight: Any, target: Any, generator: torch.Generator) -> Any:
    """Return inputs that make most targets likelier than 0.9, and rivals most of the rest.

    Along the weights of the target and of three other classes, and a tenth of them of no class.
    """
    rivals = torch.randint(0, len(weight), (len(target), 3), generator=generator)
    weight = weight.float()
    x = weight[target] + 0.55 * weight[rivals].sum(1)
    x *= 18 / (x * weight[target]).sum(1, keepdim=True)
    x[::10] *= 0.3
    return x


def _numpy(tensor: torch.Tensor) -> Any:
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _case(head: Head, bound: float, *peers: str, rounds: int = 5) -> Comparison:
    return Comparison(
        "linear_cross_entropy",
        str(head),
        (FUSEDLOSS, *peers, GEMM),
        head.make,
        (Target(bound, (GEMM,)),),
        rounds,
        measure_memory=True,
    )


_SMALL, _LARGE = (2048, 768, 32000), (4096, 1024, 128256)
_PEERS = (TORCH, *CHUNKED.values())
_FILTERED: dict[str, Any] = {"trained": True, "filter_eps": FILTER_EPS}

LINEAR_HEADS = (
    _case(Head("float32", _SMALL), 1.1, TORCH, CHUNKED["auto"]),
    _case(Head("float32", _SMALL, **_FILTERED), 0.7),
    _case(Head("bfloat16", _SMALL), 1.15, *_PEERS, rounds=3),
    _case(Head("bfloat16", _SMALL, workspace=2**28), 0.9),
    _case(Head("bfloat16", _SMALL, **_FILTERED), 0.7),
    _case(Head("bfloat16", _LARGE), 1.15, TORCH, rounds=3),
    _case(Head("bfloat16", _LARGE, workspace=2**30), 0.9, rounds=3),
)
