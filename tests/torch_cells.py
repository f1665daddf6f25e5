"""Every public function under every transform of torch: cells of one table, each of them run.

    python tests/torch_cells.py > docs/guides/compiled_table.inc

writes the table of the documentation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.exc import UserError
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

import calls
import fusedloss.torch.operators  # noqa: F401
from fusedloss.torch import functional as F
from fusedloss.torch._operators.calls import OPERATORS

#: Two computations of a loss differ by rounding alone: some thousand ULP of float64.
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}

_RANDOM = np.random.default_rng(0)


@cache
def arguments(name: str) -> dict[str, Any]:
    """A function's valid arguments: float64 and int64 tensors, and options."""
    given = calls.valid(name, optional=False) if name in calls.FUNCTIONS else _OTHERS[name]
    names = list(inspect.signature(getattr(F, name)).parameters)
    # torch calls the first ones otherwise
    given = {key if key in names else names[k]: x for k, (key, x) in enumerate(given.items())}
    return {key: _tensors(x) for key, x in given.items()}


def _tensors(x: Any) -> Any:
    if isinstance(x, list):
        return [_tensors(each) for each in x]
    if not isinstance(x, np.ndarray):
        return x
    tensor = torch.from_numpy(x.copy())
    return tensor.double() if tensor.is_floating_point() else tensor


_OTHERS: dict[str, dict[str, Any]] = {
    "triplet_margin_with_distance_loss": {
        key: _RANDOM.normal(size=(6, 4)) for key in ("anchor", "positive", "negative")
    },
}


def of_prediction(name: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A function of its first argument, or of that one's first tensor, and the argument."""
    function, given = getattr(F, name), dict(arguments(name))
    first = next(iter(given))
    if isinstance(given[first], list):
        head, *rest = given[first]
        return lambda x: function(**{**given, first: [x, *rest]}), head
    return lambda x: function(**{**given, first: x}), given[first]


def gradient(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    (made,) = torch.autograd.grad(loss(x), x)
    return made


def direction(x: Tensor) -> Tensor:
    return torch.linspace(-1, 1, x.numel(), dtype=x.dtype).cos().reshape(x.shape)


def eager(name: str) -> None:
    loss, x = of_prediction(name)
    assert loss(x).isfinite()
    assert gradient(loss, x).isfinite().all()


def compiled(name: str, backend: Any = None) -> None:
    """In one graph, with its operator in it if there is one; sizes may vary then."""
    loss, x = of_prediction(name)
    torch._dynamo.reset()
    graphs = []

    def recorded(graph: Any, inputs: Any) -> Any:
        graphs.append(graph.code)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    again = torch.compile(
        lambda x: loss(x) * 2,
        backend=backend or recorded,
        fullgraph=True,
        dynamic=name in OPERATORS or None,
    )
    torch.testing.assert_close(again(x), loss(x) * 2, **CLOSE)
    torch.testing.assert_close(gradient(again, x), gradient(loss, x) * 2, **CLOSE)
    assert backend or (f"fusedloss.{name}" in graphs[0]) == (name in OPERATORS)


class _Model(torch.nn.Module):
    def __init__(self, loss: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(x)


def exported(name: str) -> None:
    loss, x = of_prediction(name)
    program = torch.export.export(_Model(loss), (x,))
    torch.testing.assert_close(program.module()(x), loss(x), **CLOSE)
    assert (f"fusedloss.{name}" in program.graph_module.code) == (name in OPERATORS)


def func_grad(name: str) -> None:
    loss, x = of_prediction(name)
    torch.testing.assert_close(torch.func.grad(loss)(x), gradient(loss, x), **CLOSE)


def vmap(name: str) -> None:
    loss, x = of_prediction(name)
    two = torch.stack([x, x.flip(0)])
    expected = torch.stack([loss(each) for each in two])
    torch.testing.assert_close(torch.func.vmap(loss)(two), expected, **CLOSE)


def jvp(name: str) -> None:
    loss, x = of_prediction(name)
    v = direction(x)
    value, tangent = torch.func.jvp(loss, (x,), (v,))
    torch.testing.assert_close(value, loss(x), **CLOSE)
    torch.testing.assert_close(tangent, (gradient(loss, x) * v).sum(), **CLOSE)


def second_order(name: str) -> None:
    loss, x = of_prediction(name)
    v = direction(x)
    y = x.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y, create_graph=True)
    expected = torch.zeros_like(x)
    if g.requires_grad:
        (expected,) = torch.autograd.grad((g * v).sum(), y)
    made = torch.func.grad(lambda x: (torch.func.grad(loss)(x) * v).sum())(x)
    torch.testing.assert_close(made, expected, **CLOSE)


def hessian(name: str) -> None:
    """Forward mode over backward mode, against backward mode twice."""
    loss, x = of_prediction(name)
    v = direction(x)
    _, made = torch.func.jvp(torch.func.grad(loss), (x,), (v,))
    expected = torch.func.grad(lambda x: (torch.func.grad(loss)(x) * v).sum())(x)
    torch.testing.assert_close(made, expected, **CLOSE)


def autocast(name: str) -> None:
    """A loss of 16-bit tensors is float32 there, that of the same numbers in float32."""
    function, given = getattr(F, name), arguments(name)

    def cast(x: Any, dtype: torch.dtype) -> Any:
        if isinstance(x, list):
            return [cast(each, dtype) for each in x]
        return x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x

    low = {key: cast(x, torch.bfloat16) for key, x in given.items()}
    with torch.autocast("cpu", torch.bfloat16):
        made = function(**low)
    expected = function(**{key: cast(x, torch.float32) for key, x in low.items()})
    torch.testing.assert_close(made, expected, rtol=1e-2, atol=1e-2)  # products of 16 bits


def fake(name: str) -> None:
    loss, x = of_prediction(name)
    expected = loss(x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        y = mode.from_tensor(x).requires_grad_()
        made = loss(y)
        made.backward()
    assert made.shape == expected.shape
    assert made.dtype is expected.dtype
    assert y.grad is not None
    assert y.grad.shape == x.shape


COLUMNS: dict[str, Callable[[str], None]] = {
    "eager": eager,
    "compile": compiled,
    "export": exported,
    "func.grad": func_grad,
    "vmap": vmap,
    "jvp": jvp,
    "second order": second_order,
    "hessian": hessian,
    "autocast": autocast,
    "fake": fake,
}

#: Those that take long.
LONG = {"export"}

_FORWARD = "torch has no forward mode of its formula"
_TWICE = "torch has no second derivative of its formula"
_FORWARD_OVER = "torch has no forward mode of its formula's derivative"
_CONSTANT = "it has no gradient"

#: What torch raises for what it does not do.
FAILURES = (NotImplementedError, RuntimeError, TypeError, UserError, GuardOnDataDependentSymNode)

#: Why cells are empty.
EXCEPTIONS: dict[tuple[str, str], str] = {
    **{
        (name, column): reason
        for name in ("ctc_loss", "multi_margin_loss", "multilabel_margin_loss")
        for column, reason in (
            ("jvp", _FORWARD),
            ("second order", _TWICE),
            ("hessian", _FORWARD),
        )
    },
    **{
        (name, "hessian"): _FORWARD_OVER
        for name in (
            "huber_loss",
            "logistic_loss",
            "mse_loss",
            "perceptual_loss",
            "soft_margin_loss",
        )
    },
    **{
        ("zero_one_loss", column): _CONSTANT
        for column in ("eager", "compile", "func.grad", "jvp", "second order", "fake")
    },
    **{
        ("gaussian_nll_loss", column): "torch looks whether a variance is negative"
        for column in ("compile", "export", "fake")
    },
}


def table() -> Iterator[str]:
    """The lines of the table in Markdown; test_torch_transforms.py runs each cell of it."""
    notes = sorted(set(EXCEPTIONS.values()))
    yield "| function | " + " | ".join(COLUMNS) + " |"
    yield "| --- |" + " :-: |" * len(COLUMNS)
    for name in F.__all__:
        reasons = [EXCEPTIONS.get((name, column)) for column in COLUMNS]
        cells = ["yes" if x is None else f"({notes.index(x) + 1})" for x in reasons]
        operator = " \\*" if name in OPERATORS else ""
        yield f"| `{name}`{operator} | " + " | ".join(cells) + " |"
    for k, note in enumerate(notes, 1):
        yield ""
        yield f"({k}) {note[0].upper()}{note[1:]}."


if __name__ == "__main__":
    print("\n".join(table()))
