"""What counts nothing changes nothing in torch either: by the kernels, and by torch's formulas."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fusedloss.torch as front
from counted_cases import Call, Case
from fusedloss.torch import functional
from parts import Array
from test_counted import CONTENTS, TABLE, filled, silent_positions, weight_of

SHAPES = ((67, 17), (9, 300))
DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


def tensor_of(x: Any) -> Any:
    return torch.from_numpy(np.asarray(x).copy()) if isinstance(x, np.ndarray) else x


def graph_of(case: Case, call: Call, **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss and the float tensors that it is a function of."""
    tensors = {name: tensor_of(x) for name, x in call.arrays.items()}
    differentiable = [name for name in case.differentiable(call) if name in tensors]
    for name in differentiable:
        tensors[name].requires_grad_()
    parameters = inspect.signature(case.loss).parameters
    by_name = {name for name, x in parameters.items() if x.kind is x.KEYWORD_ONLY}
    positional = [x for name, x in tensors.items() if name not in by_name]
    options = {name: tensor_of(x) for name, x in (call.options | options).items()}
    options |= {name: x for name, x in tensors.items() if name in by_name}
    value = getattr(functional, case.name)(*positional, **options)
    value = value[0] if isinstance(value, tuple) else value
    return value, {name: tensors[name] for name in differentiable}


def is_torchs_own(case: Case, kind: str) -> bool:
    """Whether torch has the same function, with that weight: its own formula is not ours."""
    function = getattr(torch.nn.functional, case.name, None)
    return function is not None and kind in inspect.signature(function).parameters


#: With the weights that torch's functions have, too.
WEIGHTED = [
    (case, kind)
    for case, kind in TABLE
    if kind in inspect.signature(getattr(functional, case.name)).parameters
]


def numbers(x: Tensor) -> Array:
    return np.asarray(x.detach().double().numpy())


@pytest.mark.parametrize(("case", "kind"), WEIGHTED, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_counts_nothing_changes_nothing(
    case: Case, kind: str, dtype: str, rng: np.random.Generator
) -> None:
    # dice_ce_loss has no loss of each class.
    each = "sum" if case.name == "dice_ce_loss" else "none"
    for shape, reduction in zip(SHAPES, ("mean", each), strict=True):
        call = case.make(rng, shape, dtype)
        silent = silent_positions(case, call, kind, rng)
        weight = weight_of(case, call, kind, silent, rng)
        found = []
        for content in (None, *CONTENTS):
            odd = call if content is None else filled(case, call, silent, content)
            value, inputs = graph_of(case, odd, **{kind: weight}, reduction=reduction)
            gradients = torch.autograd.grad(value.sum(), list(inputs.values()))
            found.append([numbers(x) for x in (value, *gradients)])
        for other in found[1:]:
            for x, y in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(x, y)
        assert not any(np.isnan(x).any() for x in found[0])


@pytest.mark.parametrize(("case", "kind"), [x for x in WEIGHTED if not is_torchs_own(*x)], ids=str)
def test_second_derivatives(case: Case, kind: str, rng: np.random.Generator) -> None:
    """Formulas give no NaN, and the same whatever a position of weight 0 holds."""
    call = case.make(rng, (7, 5), "float64")
    silent = silent_positions(case, call, kind, rng)
    weight = weight_of(case, call, kind, silent, rng)
    found = []
    for content in (None, np.nan, np.inf, -np.inf):
        odd = call if content is None else filled(case, call, silent, content)
        value, inputs = graph_of(case, odd, **{kind: weight}, reduction="sum")
        tensors = list(inputs.values())
        first = torch.autograd.grad(value, tensors, create_graph=True)
        slope = sum(
            (torch.linspace(1, 2, x.numel(), dtype=x.dtype).view_as(x) * x).sum() for x in first
        )
        second: Any = (None,) * len(tensors)
        if isinstance(slope, Tensor) and slope.requires_grad:
            second = torch.autograd.grad(slope, tensors, allow_unused=True)
        found.append([numbers(x) for x in (*first, *second) if x is not None])
    for other in found:
        for x, y in zip(found[0], other, strict=True):
            assert np.isfinite(y).all()
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)  # the order of sums


@pytest.mark.parametrize("head", [front.AdaFaceLoss, front.CurricularFaceLoss])
@pytest.mark.parametrize("by_class", [False, True])
def test_running_statistics(head: Any, by_class: bool) -> None:
    """They are those of the embeddings that count."""
    x, y = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    silent = y == 0
    found = []
    for content in (1.0, torch.nan):
        weights = {} if by_class else {"sample_weight": (~silent).float()}
        options = {"class_weight": torch.tensor([0.0, 1.0, 1.0])} if by_class else {}
        torch.manual_seed(0)
        module = head(5, 3, **options)
        loss = module(x.masked_fill(silent[:, None], content), y, **weights)
        loss.backward()
        found.append([loss.detach(), *module.buffers(), module.weight.grad])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
        assert bool(a.isfinite().all())
