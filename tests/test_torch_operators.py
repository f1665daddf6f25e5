"""Losses as operators of torch: what torch checks of them, and what becomes of them elsewhere."""

from __future__ import annotations

import inspect
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch_cells  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from fusedloss.torch._operators.calls import OPERATORS  # noqa: E402


def _given(name: str, reduction: str | None) -> tuple[list[Any], dict[str, Any]]:
    """A valid call of an operator: its tensors and options."""
    operator = OPERATORS[name]
    function = getattr(F, name)
    arguments = dict(torch_cells.arguments(name))
    if name == "linear_cross_entropy":
        arguments |= {"workspace": 1 << 20, "dtype": torch.float64, "filter_eps": 0.0}
    if reduction is not None:
        arguments["reduction"] = reduction
    defaults = {k: p.default for k, p in inspect.signature(function).parameters.items()}
    given = defaults | arguments
    tensors = [x.encoded(given[x.name]) for x in operator.tensors]
    options = {x.name: x.encoded(given[x.name]) for x in operator.options}
    return tensors, options


def _cases() -> list[tuple[str, str | None]]:
    """The operators with a reduction to a number, and without reduction where they have that."""
    cases: list[tuple[str, str | None]] = []
    for name in sorted(OPERATORS):
        if not any(x.name == "reduction" for x in OPERATORS[name].options):
            cases.append((name, None))
            continue
        cases.append((name, "sum"))
        with suppress(ValueError):
            getattr(F, name)(**torch_cells.arguments(name), reduction="none")
            cases.append((name, "none"))
    return cases


_QUICK = ("test_schema", "test_autograd_registration", "test_faketensor")


@pytest.mark.parametrize(
    "utilities",
    [_QUICK, pytest.param(("test_aot_dispatch_dynamic",), marks=pytest.mark.long)],
    ids=["quick", "compiled"],
)
@pytest.mark.parametrize(("name", "reduction"), _cases())
def test_operators_are_what_they_say(
    name: str, reduction: str | None, utilities: tuple[str, ...]
) -> None:
    """torch's own checks: schema, autograd's registration, shapes and strides, compilation."""
    operator = OPERATORS[name]
    tensors, options = _given(name, reduction)
    tensors[0] = tensors[0].clone().requires_grad_()
    torch.library.opcheck(operator.of_loss, tuple(tensors), options, test_utils=utilities)
    count = sum(len(x) if isinstance(x, list) else 1 for x in tensors)
    options["wanted"] = [k == 0 for k in range(count)]
    given = (None, [], *tensors)
    torch.library.opcheck(operator.of_gradients, given, options, test_utils=utilities)


HEAD = """
import resource
import torch
from fusedloss.torch import functional as F

compiled = torch.compile(F.linear_cross_entropy, fullgraph=True, dynamic=True)


def operands(rows, classes):
    x, w = (torch.randn(n, 64, requires_grad=True) for n in (rows, classes))
    x.grad, w.grad = torch.zeros_like(x), torch.zeros_like(w)
    return x, w, torch.randint(classes, (rows,))


compiled(*operands(16, 50)).backward()
given = operands(1024, 40000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
compiled(*given).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.long
def test_a_compiled_head_makes_no_logits() -> None:
    """By Inductor: 64 MiB of workspace, and 8 MiB for what the process takes besides.

    Logits and their gradients would be 312 MiB.
    """
    run = subprocess.run([sys.executable, "-c", HEAD], check=True, capture_output=True, text=True)
    assert float(run.stdout) <= 72
