"""linear_cross_entropy, value and both gradients, against torch and the bare products.

The yardstick is `GEMM`: logits = X W', dX = G W and dW = G' X by `torch.mm(out=)`, into arrays that
are there. Contenders of a group take turns, as in `test_softmax_family`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import fusedloss as fl
from fusedloss.cli._timing import Samples, time_in_turn
from measure import ROUNDS, SECONDS, Bench
from test_softmax_family import replay

GEMM, FUSEDLOSS, TORCH, CHUNKED = "gemm", "fusedloss", "torch", "torch chunked"
CONTENDERS = (FUSEDLOSS, TORCH, CHUNKED, GEMM)


@dataclass(frozen=True)
class Head:
    """A linear layer and its loss: positions, features, classes."""

    dtype: str
    shape: tuple[int, int, int]
    precision: fl.linear.Precision = "highest"
    workspace: int | None = None

    def __str__(self) -> str:
        parts = (self.dtype, "x".join(map(str, self.shape)), self.precision, self.workspace)
        return "-".join(str(part) for part in parts if part not in (None, "highest"))


HEADS = (
    Head("float32", (2048, 768, 32000)),
    Head("float32", (2048, 768, 32000), precision="medium"),
    Head("bfloat16", (2048, 768, 32000)),
    Head("bfloat16", (2048, 768, 32000), workspace=2**28),
    Head("bfloat16", (4096, 1024, 128256)),
)


def make_contenders(head: Head, bench: Bench) -> dict[str, Callable[[], Any]]:
    """Build the arrays and what is timed on them."""
    positions, features, classes = (64, 48, 500) if bench.small else head.shape
    torch.set_num_threads(bench.num_threads)
    dtype = getattr(torch, head.dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(positions, features, generator=generator).to(dtype)
    weight = (torch.randn(classes, features, generator=generator) * 0.02).to(dtype)
    target = torch.randint(0, classes, (positions,), generator=generator)
    x_leaf, weight_leaf = (each.detach().requires_grad_() for each in (x, weight))

    def gemm() -> None:
        torch.mm(x, weight.t(), out=logits)
        torch.mm(logits, weight, out=by_input)
        torch.mm(logits.t(), x, out=by_weight)

    logits = torch.zeros(positions, classes, dtype=dtype)
    by_input, by_weight = torch.zeros_like(x), torch.zeros_like(weight)
    arrays = [_numpy(each) for each in (x, weight, target)]
    places = tuple(np.zeros_like(each) for each in arrays[:2])
    grad = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))

    def ours() -> None:
        grad(
            *arrays,
            out=places,
            precision=head.precision,
            workspace=head.workspace,
            num_threads=bench.num_threads,
        )

    def theirs(options: Any) -> Callable[[], None]:
        def run() -> None:
            x_leaf.grad = weight_leaf.grad = None
            loss = torch.nn.functional.linear_cross_entropy(
                x_leaf, weight_leaf, target, options=options
            )
            loss.backward()

        return run

    chunked = theirs(torch.nn.LinearCrossEntropyOptions())
    return {FUSEDLOSS: ours, TORCH: theirs(None), CHUNKED: chunked, GEMM: gemm}


def _numpy(tensor: torch.Tensor) -> Any:
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


@cache
def measure(head: Head, bench: Bench) -> Samples:
    """Time all contenders of a head, once."""
    return time_in_turn(make_contenders(head, bench), seconds=SECONDS, min_rounds=ROUNDS)


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize("head", HEADS, ids=str)
def test_head(benchmark: BenchmarkFixture, bench: Bench, head: Head, name: str) -> None:
    if benchmark.disabled:  # --benchmark-disable: only see that it runs
        benchmark.pedantic(make_contenders(head, bench)[name])
        return
    samples = measure(head, bench)
    benchmark.group = str(head)
    ratio = np.median(np.divide(samples[name], samples[GEMM]))
    benchmark.extra_info.update(over_gemm=round(float(ratio), 3), num_threads=bench.num_threads)
    replay.play(benchmark, samples[name])
