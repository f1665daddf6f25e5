"""Losses as operators of torch: what torch checks of them, and what becomes of them elsewhere."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.testing._internal.optests.generate_tests import OpCheckError  # noqa: E402

import torch_cells  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from fusedloss.torch._operators.calls import OPERATORS  # noqa: E402
from fusedloss.torch._operators.kernels import flat  # noqa: E402


def _given(
    name: str, reduction: str | None, outputs: tuple[str, ...] = ()
) -> tuple[list[Any], dict[str, Any]]:
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
    if outputs:
        given["outputs"] = outputs
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


#: Operators whose second derivatives a compiler cannot trace, and what torch says.
NOT_TWICE = {
    **{
        name: "torch has no second derivative of its formula"
        for name in ("ctc_loss", "multi_margin_loss", "multilabel_margin_loss")
    },
    **{
        name: "the formula's size depends on how many pairs the labels make"
        for name in ("angular_loss", "n_pairs_loss")
    },
}

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
    given = (*[None for _ in operator.cotangents], [], *tensors)
    if name in NOT_TWICE and utilities != _QUICK:
        with pytest.raises(OpCheckError):  # once it works, the reason goes
            torch.library.opcheck(operator.of_gradients, given, options, test_utils=utilities)
        return
    torch.library.opcheck(operator.of_gradients, given, options, test_utils=utilities)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("name", [name for name in OPERATORS if OPERATORS[name].has_outputs])
def test_operators_with_outputs(name: str, reduction: str) -> None:
    operator = OPERATORS[name]
    others_too = () if name == "adaptive_log_softmax_loss" else ("lse",)
    outputs = (*others_too, *operator.of_outputs)
    tensors, options = _given(name, reduction, outputs)
    tensors[0] = tensors[0].clone().requires_grad_()
    torch.library.opcheck(operator.of_loss, tuple(tensors), options, test_utils=_QUICK)
    loss, *others = operator.of_loss(*tensors, **options)
    others = others[len(others_too) :]
    options["wanted"] = [k == 0 for k in range(len(flat(tuple(tensors))))]
    each = [torch.ones_like(x) for x in (loss, *others)]
    some = [[x if k == j else None for k, x in enumerate(each)] for j in range(len(each))]
    for cotangents in ([None] * len(each), *some, each):
        given = (*cotangents, [], *tensors)
        torch.library.opcheck(operator.of_gradients, given, options, test_utils=_QUICK)


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


PAIRS = """
import resource
import torch
from fusedloss.torch import functional as F

compiled = torch.compile(getattr(F, "LOSS"), fullgraph=True, dynamic=True)


def operands(rows):
    embeddings = torch.randn(rows, 64, requires_grad=True)
    embeddings.grad = torch.zeros_like(embeddings)
    return embeddings, torch.arange(rows) // 4


compiled(*operands(64)).backward()
given = operands(8192)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
compiled(*given).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.long
@pytest.mark.parametrize("name", ["supcon_loss", "contrastive_loss", "circle_loss"])
def test_a_compiled_loss_of_pairs_holds_no_pairs(name: str) -> None:
    """As above; the pairs of 8192 embeddings would be 256 MiB, and so would their gradients."""
    script = PAIRS.replace("LOSS", name)
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert float(run.stdout) <= 72


#: A package of all operators in a process of its own; the last argument says what is imported.
LOADED = """
import sys
import torch

package, given, imported = sys.argv[1:]
if imported:
    __import__(imported)
xs, expected = torch.load(given)
made = torch._inductor.aoti_load_package(package)(xs)
for name in expected:
    torch.testing.assert_close(made[name], expected[name])
print(len(expected))
"""


@pytest.mark.long
def test_ahead_of_time(tmp_path: Path) -> None:
    """AOTInductor's package finds operators where they are imported, and names one elsewhere."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("AOTInductor takes a C++ compiler")
    losses = {name: torch_cells.of_prediction(name) for name in OPERATORS}

    class All(nn.Module):
        def forward(self, xs: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: losses[name][0](x) for name, x in xs.items()}

    xs = {name: x for name, (_, x) in losses.items()}
    program = torch.export.export(All(), (xs,))
    package = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "all.pt2")
    )
    given = str(tmp_path / "given.pt")
    torch.save((xs, All()(xs)), given)

    def loaded(imported: str) -> Any:
        command = [sys.executable, "-c", LOADED, package, given, imported]
        return subprocess.run(command, capture_output=True, text=True)

    run = loaded("fusedloss.torch.operators")
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == len(OPERATORS)
    run = loaded("")
    assert run.returncode != 0
    assert "Could not find schema for fusedloss::" in run.stderr
