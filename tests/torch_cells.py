"""Every public function under every transform of torch: cells of one table, each of them run.

    python tests/torch_cells.py > docs/guides/compiled_table.inc

writes the table of the documentation.
"""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental import proxy_tensor

import calls
import fusedloss.torch.operators  # noqa: F401
from fusedloss.torch import functional as F
from fusedloss.torch._operators.calls import OPERATORS
from parts import public

#: Two computations of a loss differ by rounding alone: some thousand ULP of float64.
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}

#: Functions without a gradient.
CONSTANT = ("zero_one_loss",)

_RANDOM = np.random.default_rng(0)


@cache
def arguments(name: str) -> dict[str, Any]:
    """A function's valid arguments: float64 and int64 tensors, and options."""
    given = calls.valid(name, optional=False) if name in calls.FUNCTIONS else _OTHERS[name]
    names = list(inspect.signature(getattr(F, name)).parameters)
    # torch calls the first ones otherwise
    given = {key if key in names else names[k]: x for k, (key, x) in enumerate(given.items())}
    given |= _INSTEAD.get(name, {})
    seen: list[np.ndarray[Any, Any]] = []
    return {key: _tensors(x, seen) for key, x in given.items()}


def _tensors(x: Any, seen: list[np.ndarray[Any, Any]]) -> Any:
    """Tensors of arrays; of one that was there before its rows in another order.

    Where a prediction is the target, losses have no gradient, or a kink.
    """
    if isinstance(x, list):
        return [_tensors(each, seen) for each in x]
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype.kind == "f":
        seen.append(x)
        x = np.roll(x, sum(each is x for each in seen) - 1, 0)
    tensor = torch.from_numpy(x.copy())
    return tensor.double() if tensor.is_floating_point() else tensor


_SIGNS = np.sign(_RANDOM.normal(size=(calls.ROWS, calls.CLASSES)))

#: Arguments of which more depends.
_INSTEAD: dict[str, dict[str, Any]] = {
    "hinge_embedding_loss": {"target": _SIGNS},
    "histogram_loss": {"labels": np.array([0, 1, 2, 0, 1, 2])},
    "margin_ranking_loss": {"target": _SIGNS},
    "perceptron_loss": {"target": _SIGNS},
}

_OTHERS: dict[str, dict[str, Any]] = {
    "triplet_margin_with_distance_loss": {
        key: _RANDOM.normal(size=(6, 4)) for key in ("anchor", "positive", "negative")
    },
}


def of_prediction(name: str, **options: Any) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A function of its first argument, or of that one's first tensor, and the argument."""
    function, given = getattr(F, name), dict(arguments(name)) | options
    first = next(iter(given))
    if isinstance(given[first], list):
        head, *rest = given[first]
        return lambda x: function(**{**given, first: [x, *rest]}), head
    return lambda x: function(**{**given, first: x}), given[first]


def of_positions(name: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The same without reduction, where the function has that."""
    with suppress(TypeError, ValueError):
        loss, x = of_prediction(name, reduction="none")
        loss(x)
        return loss, x
    return of_prediction(name)


def mapped(given: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Arguments with each tensor changed."""
    if isinstance(given, dict):
        return {key: mapped(x, change) for key, x in given.items()}
    if isinstance(given, list):
        return [mapped(x, change) for x in given]
    return change(given) if isinstance(given, Tensor) else given


def gradient(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient; zeros of a loss that has none."""
    x = x.detach().clone().requires_grad_()
    value = loss(x)
    if not value.requires_grad:
        return torch.zeros_like(x)
    (made,) = torch.autograd.grad(value, x)
    return made


def direction(x: Tensor) -> Tensor:
    return torch.linspace(-1, 1, x.numel(), dtype=x.dtype).cos().reshape(x.shape)


def eager(name: str) -> None:
    loss, x = of_prediction(name)
    assert loss(x).isfinite()
    found = gradient(loss, x)
    assert found.isfinite().all()
    assert (found != 0).any() == (name not in CONSTANT)


def compiled(name: str, backend: Any = None) -> None:
    """In one graph, with its operator in it if there is one."""
    loss, x = of_prediction(name)
    torch._dynamo.reset()
    recorded = Recorded()
    again = torch.compile(lambda x: loss(x) * 2, backend=backend or recorded, fullgraph=True)
    torch.testing.assert_close(again(x), loss(x) * 2, **CLOSE)
    torch.testing.assert_close(gradient(again, x), gradient(loss, x) * 2, **CLOSE)
    assert backend or (f"fusedloss.{name}" in recorded.graphs[0]) == (name in OPERATORS)


class Recorded:
    """The compiler aot_eager, and the graphs that it is given."""

    def __init__(self) -> None:
        self.graphs: list[str] = []

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs.append(graph.code)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)


def dynamic(name: str, backend: Any = None) -> None:
    """One graph for two sizes, and for options that are numbers."""
    function, given = getattr(F, name), dict(arguments(name))
    for key, parameter in inspect.signature(function).parameters.items():
        if type(parameter.default) in (float, int):
            given.setdefault(key, parameter.default)
    head, rest = first_tensor(given)

    def doubled(x: Tensor, options: dict[str, Any]) -> Tensor:
        loss: Tensor = function(**with_first(options, x)) * 2
        return loss

    torch._dynamo.reset()
    again = torch.compile(doubled, backend=backend or "aot_eager", fullgraph=True, dynamic=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for size in (1, 2):
            x, options = mapped([head, rest], _twice) if size == 2 else (head, rest)
            x = x.clone().requires_grad_()
            made, expected = again(x, options), doubled(x, options)
            torch.testing.assert_close(made, expected, **CLOSE)
            if name not in CONSTANT:
                of_made, of_expected = (torch.autograd.grad(y, x)[0] for y in (made, expected))
                torch.testing.assert_close(of_made, of_expected, **CLOSE)


def _twice(x: Tensor) -> Tensor:
    return torch.cat([x, x]) if x.dim() and len(x) == calls.ROWS else x


def first_tensor(given: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The first of the arguments, or its first tensor, and all of them without it."""
    first = next(iter(given))
    if isinstance(given[first], list):
        head, *rest = given[first]
        return head, {**given, first: rest}
    return given[first], {**given, first: None}


def with_first(given: dict[str, Any], x: Tensor) -> dict[str, Any]:
    """The arguments with their first tensor."""
    first = next(iter(given))
    return {**given, first: x if given[first] is None else [x, *given[first]]}


class _Model(torch.nn.Module):
    def __init__(self, loss: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(x)


def exported(name: str) -> None:
    """Saved, loaded and run."""
    loss, x = of_prediction(name)
    program = torch.export.export(_Model(loss), (x,))
    assert (f"fusedloss.{name}" in program.graph_module.code) == (name in OPERATORS)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file)
    torch.testing.assert_close(loaded.module()(x.flip(0)), loss(x.flip(0)), **CLOSE)


def func_grad(name: str) -> None:
    loss, x = of_prediction(name)
    torch.testing.assert_close(torch.func.grad(loss)(x), gradient(loss, x), **CLOSE)


def vjp(name: str) -> None:
    """Of the losses of positions, where there are such."""
    loss, x = of_positions(name)
    value, pull = torch.func.vjp(loss, x)
    torch.testing.assert_close(value, loss(x), **CLOSE)
    v = direction(value)
    (made,) = pull(v)
    torch.testing.assert_close(made, gradient(lambda x: (loss(x) * v).sum(), x), **CLOSE)


def vmap(name: str) -> None:
    """Within each other; gradients too."""
    loss, x = of_prediction(name)
    four = torch.stack([x, x.flip(0), x * 0.9, x.flip(0) * 0.9]).reshape(2, 2, *x.shape)
    each = four.flatten(0, 1)
    made = torch.func.vmap(torch.func.vmap(loss))(four)
    expected = torch.stack([loss(y) for y in each])
    torch.testing.assert_close(made.flatten(), expected, **CLOSE)
    if name not in CONSTANT:
        made = torch.func.vmap(torch.func.grad(loss))(each)
        torch.testing.assert_close(made, torch.stack([gradient(loss, y) for y in each]), **CLOSE)


def jvp(name: str) -> None:
    loss, x = of_positions(name)
    v = direction(x)
    value, tangent = torch.func.jvp(loss, (x,), (v,))
    torch.testing.assert_close(value, loss(x), **CLOSE)
    w = direction(value)
    expected = (gradient(lambda x: (loss(x) * w).sum(), x) * v).sum()
    torch.testing.assert_close((tangent * w).sum(), expected, **CLOSE)


def _jacobian(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """By one pass backwards for each loss."""
    shape = loss(x).shape
    rows = [
        gradient(lambda x, k=k: loss(x).flatten()[k], x)  # type: ignore[misc]
        for k in range(shape.numel())
    ]
    return torch.stack(rows).reshape(*shape, *x.shape)


def jacrev(name: str) -> None:
    loss, x = of_positions(name)
    torch.testing.assert_close(torch.func.jacrev(loss)(x), _jacobian(loss, x), **CLOSE)


def jacfwd(name: str) -> None:
    loss, x = of_positions(name)
    torch.testing.assert_close(torch.func.jacfwd(loss)(x), _jacobian(loss, x), **CLOSE)


def second_order(name: str) -> None:
    """Backward mode twice, in eager mode and as a transform."""
    loss, x = of_prediction(name)
    v = direction(x)
    made = torch.func.grad(lambda x: (torch.func.grad(loss)(x) * v).sum())(x)
    torch.testing.assert_close(made, _second(loss, x, v), **CLOSE)


def _second(loss: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """The second derivatives in a direction, backward mode twice."""
    y = x.detach().clone().requires_grad_()
    value = loss(y)
    if not value.requires_grad:
        return torch.zeros_like(x)
    (g,) = torch.autograd.grad(value, y, create_graph=True)
    if not g.requires_grad:
        return torch.zeros_like(x)
    (made,) = torch.autograd.grad((g * v).sum(), y)
    return made


def gradgradcheck(name: str) -> None:
    """Second derivatives by finite differences, in all tensors that torch differentiates."""
    given = arguments(name)
    flat = [y for x in given.values() for y in (x if isinstance(x, list) else [x])]
    at = [k for k, x in enumerate(flat) if isinstance(x, Tensor) and x.is_floating_point()]

    def loss(*tensors: Tensor) -> Tensor:
        everything = list(flat)
        for k, x in zip(at, tensors, strict=True):
            everything[k] = x
        left = iter(everything)
        changed = {
            key: [next(left) for _ in x] if isinstance(x, list) else next(left)
            for key, x in given.items()
        }
        made: Tensor = getattr(F, name)(**changed)
        return made

    tensors = [flat[k].clone() for k in at]
    for x in tensors:
        x.requires_grad_()
        try:
            (found,) = torch.autograd.grad(loss(*tensors), x, allow_unused=True)
        except RuntimeError:  # "not differentiable with respect to argument"
            found = None
        x.requires_grad_(found is not None)
    # The fast mode looks along random directions, in which a difference may not show.
    torch.manual_seed(0)
    is_quick = (name, "gradgradcheck") not in EXCEPTIONS
    assert torch.autograd.gradgradcheck(loss, tensors, fast_mode=is_quick)


def forward_over_backward(name: str) -> None:
    """The second derivatives in a direction, forward mode of backward mode."""
    loss, x = of_prediction(name)
    v = direction(x)
    _, made = torch.func.jvp(torch.func.grad(loss), (x,), (v,))
    torch.testing.assert_close(made, _second(loss, x, v), **CLOSE)


def hessian(name: str) -> None:
    """torch.func.hessian, against backward mode twice."""
    loss, x = of_prediction(name)
    made = torch.func.hessian(loss)(x).reshape(x.numel(), *x.shape)
    basis = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    expected = torch.stack([_second(loss, x, each) for each in basis])
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


def _without_memory(name: str, placed: Callable[[Tensor], Tensor], mode: Any = None) -> None:
    """Value and gradient are of the right shapes, dtypes and devices."""
    loss, x = of_prediction(name)
    expected = loss(x)
    head, rest = first_tensor(arguments(name))
    with mode or nullcontext():
        y = placed(head).requires_grad_()
        made = getattr(F, name)(**with_first(mapped(rest, placed), y))
        assert (made.shape, made.dtype, made.device) == (expected.shape, expected.dtype, y.device)
        if name not in CONSTANT:
            made.backward()
            assert y.grad is not None
            assert (y.grad.shape, y.grad.dtype, y.grad.device) == (x.shape, x.dtype, y.device)


def fake(name: str) -> None:
    """Tensors of torch's FakeTensorMode; labels may be in memory."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    _without_memory(name, mode.from_tensor, mode)
    _without_memory(name, lambda x: mode.from_tensor(x) if x.is_floating_point() else x, mode)


def meta(name: str) -> None:
    """Tensors of the device "meta"; labels may be on the CPU."""
    _without_memory(name, lambda x: x.to("meta") if x.is_floating_point() else x)
    _without_memory(name, lambda x: x.to("meta"))


def make_fx(name: str) -> None:
    """The graph of a loss and its gradient, with sizes that are fixed and others that are not."""
    loss, x = of_prediction(name)

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        value = loss(x)
        return value, torch.autograd.grad(value, x)[0] if value.requires_grad else x

    given, other = (y.detach().clone().requires_grad_() for y in (x, x.flip(0)))
    for mode in ("real", "symbolic"):
        graph = proxy_tensor.make_fx(both, tracing_mode=mode, _allow_non_fake_inputs=True)(given)
        assert (f"fusedloss.{name}" in graph.code) == (name in OPERATORS)
        for made, expected in zip(graph(other), both(other), strict=True):
            torch.testing.assert_close(made, expected, **CLOSE)


def jit_trace(name: str) -> None:
    """What torch.jit.trace records is the formula; it follows its input."""
    loss, x = of_prediction(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of conditions, and that it is to go
        traced = torch.jit.trace(loss, (x,), check_trace=False)
    torch.testing.assert_close(traced(x.flip(0)), loss(x.flip(0)), **CLOSE)
    assert f"fusedloss::{name}" not in str(traced.inlined_graph)


COLUMNS: dict[str, Callable[[str], None]] = {
    "eager": eager,
    "compile": compiled,
    "Inductor": partial(compiled, backend="inductor"),
    "dynamic": dynamic,
    "export": exported,
    "make_fx": make_fx,
    "jit.trace": jit_trace,
    "grad": func_grad,
    "vjp": vjp,
    "vmap": vmap,
    "jvp": jvp,
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "second order": second_order,
    "gradgradcheck": gradgradcheck,
    "jvp of grad": forward_over_backward,
    "hessian": hessian,
    "autocast": autocast,
    "fake": fake,
    "meta": meta,
}

#: Those that take long.
LONG = {"Inductor", "dynamic", "export", "hessian"}

#: What torch raises for what it does not do.
FAILURES = (AssertionError, NotImplementedError, RuntimeError, ValueError)

_FORWARD = "forward AD.*has not been implemented"
_NO_TANGENT = "torch has no forward mode of its formula", _FORWARD
_NO_TANGENT_OF_GRADIENT = "torch has no forward mode of its formula's derivative", _FORWARD
_TWICE = "torch has no second derivative of its formula", "derivative for .* is not implemented"
_ZEROS = (
    "torch's derivative of a mean of squared errors writes to a tangent that is zero for good; "
    "of a sum, and in `hessian`, it works",
    "ZeroTensors are immutable",
)
_NESTED = (
    "torch's rule for batches of it does not take, in a batch of batches, one tensor that is in "
    "them beside one that is not; in a single batch it works",
    "must match the size of tensor",
)
_CONSTANTS = (
    "it takes some of its factors for constants, as its paper does, and so do second derivatives",
    "Jacobian mismatch",
)

#: Why cells are empty, and what torch says then.
EXCEPTIONS: dict[tuple[str, str], tuple[str, str]] = {
    **{
        (name, column): reason
        for name in ("ctc_loss", "multi_margin_loss", "multilabel_margin_loss")
        for column, reason in (
            *((column, _NO_TANGENT) for column in ("jvp", "jacfwd", "jvp of grad", "hessian")),
            *((column, _TWICE) for column in ("second order", "gradgradcheck")),
        )
    },
    **{
        (name, column): _NO_TANGENT_OF_GRADIENT
        for name in ("logistic_loss", "soft_margin_loss")
        for column in ("jvp of grad", "hessian")
    },
    ("huber_loss", "jvp of grad"): _NO_TANGENT_OF_GRADIENT,
    **{(name, "jvp of grad"): _ZEROS for name in ("mse_loss", "perceptual_loss")},
    **{
        (name, "vmap"): _NESTED
        for name in ("huber_loss", "mse_loss", "perceptual_loss", "smooth_l1_loss")
    },
    **{
        (name, "gradgradcheck"): _CONSTANTS
        for name in (
            *("adaface_loss", "circle_loss", "complete_box_iou_loss"),
            "dynamic_soft_margin_loss",
        )
    },
    **{
        (name, "gradgradcheck"): ("it has no gradient", "none of them have requires_grad=True")
        for name in CONSTANT
    },
}


def table() -> Iterator[str]:
    """The lines of the table in Markdown; test_torch_transforms.py runs what it leaves out."""
    rows: dict[tuple[str, str], list[str]] = {}
    for name in public(F):
        found = {column: EXCEPTIONS.get((name, column), ("",))[0] for column in COLUMNS}
        for reason in dict.fromkeys(filter(None, found.values())):
            columns = ", ".join(column for column in COLUMNS if found[column] == reason)
            rows.setdefault((columns, reason), []).append(f"`{name}`")
    yield "| function | what does not work | why |"
    yield "| --- | --- | --- |"
    for (columns, reason), names in rows.items():
        yield f"| {', '.join(names)} | {columns} | {reason} |"


if __name__ == "__main__":
    print("\n".join(table()))
