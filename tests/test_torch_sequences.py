"""torch's CTC loss by its kernel: torch's numbers, gradients, errors and warnings."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import fusedloss.torch as front
from fusedloss.torch import functional as F
from torch_parts import (
    DTYPES,
    REDUCTIONS,
    assert_close,
    by_kernel,
    outcome,
)

T = torch.nn.functional


every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def draw(dtype: torch.dtype = torch.float32, frames: int = 30) -> list[Tensor]:
    """Log-probabilities of three sequences, their targets, and both lengths."""
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(frames, 3, 9, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, 9, (3, 7), generator=generator)
    targets[0, 3] = targets[0, 2]
    lengths = torch.tensor([frames, frames - 4, frames - 1]), torch.tensor([7, 4, 0])
    return [scores.log_softmax(-1).to(dtype), targets, *lengths]


def single(x: list[Tensor]) -> list[Tensor]:
    return [x[0][:, 0], x[1][0], x[2][0], x[3][0]]


def leaf(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return x.detach().clone().to(dtype or x.dtype).requires_grad_()


@every_dtype
@every_reduction
@pytest.mark.parametrize("alone", [False, True])
def test_values_and_gradients(alone: bool, reduction: str, dtype: torch.dtype) -> None:
    x, *others = single(draw(dtype)) if alone else draw(dtype)
    exact = leaf(x, torch.float64)
    for zero_infinity in (False, True):
        options: dict[str, Any] = {"reduction": reduction, "zero_infinity": zero_infinity}
        inputs = leaf(x)
        loss = F.ctc_loss(inputs, *others, **options)
        truth = T.ctc_loss(exact, *others, **options)
        assert by_kernel(loss)
        assert loss.dtype is dtype
        # each frame adds a few roundings of its logarithms
        assert_close(loss.detach(), truth.detach(), 3 * len(x))
        assert torch.equal(F.ctc_loss(x, *others, **options), loss.detach())
        scale = torch.linspace(0.5, 2, loss.numel()).to(dtype).reshape(loss.shape)
        (gradient,) = torch.autograd.grad(loss, inputs, scale)
        (expected,) = torch.autograd.grad(truth, exact, scale.double())
        assert gradient.dtype is dtype
        assert_close(gradient, expected, len(x))


def test_another_blank() -> None:
    x, targets, frames, lengths = draw()
    y = x.roll(5, -1)
    expected = F.ctc_loss(x, targets, frames, lengths)
    assert torch.equal(F.ctc_loss(y, (targets + 5) % 9, frames, lengths, blank=5), expected)


def test_targets_and_lengths_in_other_forms() -> None:
    x, targets, frames, lengths = draw()
    expected = F.ctc_loss(leaf(x), targets, frames, lengths)
    parts = torch.cat([row[:n] for row, n in zip(targets, lengths, strict=True)])
    for other in (targets.int(), parts, parts.int(), targets.T.contiguous().T):
        loss = F.ctc_loss(leaf(x), other, frames.int(), lengths.to(torch.uint8))
        assert by_kernel(loss)
        assert torch.equal(loss, expected)
    by_tuples = F.ctc_loss(leaf(x), targets, tuple(frames.tolist()), lengths.tolist())  # type: ignore[arg-type]
    assert by_kernel(by_tuples)
    assert torch.equal(by_tuples, expected)


def test_nothing_but_blanks() -> None:
    x, targets, frames, lengths = draw()
    for empty in (targets[:, :0], targets[0, :0]):
        y, z = leaf(x), leaf(x, torch.float64)
        loss = F.ctc_loss(y, empty, frames, lengths * 0)
        truth = T.ctc_loss(z, empty, frames, lengths * 0)
        assert by_kernel(loss)
        assert_close(loss.detach(), truth.detach(), 3 * len(x))
        for result, expected in zip(*map(torch.autograd.grad, (loss, truth), (y, z)), strict=True):
            assert_close(result, expected, len(x))


def test_lengths_may_change_before_the_backward_pass() -> None:
    x, targets, frames, lengths = draw()
    expected = torch.autograd.grad(F.ctc_loss(y := leaf(x), targets, frames, lengths), y)[0]
    for reduction in ("mean", "none"):
        y, changed = leaf(x), lengths.clone()
        loss = F.ctc_loss(y, targets, frames, changed, reduction=reduction)
        changed.zero_()
        share = torch.ones(()) if reduction == "mean" else 1 / lengths.clamp(min=1) / 3
        torch.testing.assert_close(torch.autograd.grad(loss, y, share)[0], expected)


@every_reduction
def test_infinite_losses(reduction: str) -> None:
    x, targets, frames, lengths = draw()
    frames[0] = 7  # one too few for the repeated label
    for zero_infinity in (False, True):
        results = []
        for function in (F.ctc_loss, T.ctc_loss):
            y = leaf(x)
            loss = function(
                y, targets, frames, lengths, reduction=reduction, zero_infinity=zero_infinity
            )
            results.append((loss, torch.autograd.grad(loss.sum(), y)[0]))
        assert by_kernel(results[0][0])
        torch.testing.assert_close(*results, equal_nan=True, rtol=1e-5, atol=1e-5)


def test_better_than_torch() -> None:
    """A class of no probability has a gradient."""
    x, *others = draw()
    x[4, :2, 0] = -math.inf
    y = leaf(x)
    F.ctc_loss(y, *others).backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()


def spoil(position: int, value: Any) -> Any:
    def changed(arguments: list[Any]) -> list[Any]:
        x = arguments[position]
        arguments[position] = value(x) if callable(value) else value
        return arguments

    return changed


#: Calls that are left to torch, or errors; with their options.
UNUSUAL: dict[str, tuple[Any, dict[str, Any]]] = {
    "complex log-probabilities": (spoil(0, lambda x: x + 0j), {}),
    "integer log-probabilities": (spoil(0, Tensor.long), {}),
    "no frames": (spoil(0, lambda x: x[:0]), {}),
    "no sequences": (spoil(0, lambda x: x[:, :0]), {}),
    "four dimensions": (spoil(0, lambda x: x[None]), {}),
    "list": (spoil(0, Tensor.tolist), {}),
    "float targets": (spoil(1, Tensor.float), {}),
    "16-bit targets": (spoil(1, Tensor.short), {}),
    "targets of two rows": (spoil(1, lambda x: x[:2]), {}),
    "short targets": (spoil(1, lambda x: x[:, :6]), {}),
    "targets one after another, too many": (spoil(1, lambda x: x.reshape(-1)), {}),
    "targets of the blank": (spoil(1, lambda x: x * 0), {}),
    "None": (spoil(1, None), {}),
    "list of targets": (spoil(1, Tensor.tolist), {}),
    "float lengths": (spoil(2, Tensor.float), {}),
    "two lengths": (spoil(2, lambda x: x[:2]), {}),
    "lengths of two dimensions": (spoil(2, lambda x: x[None]), {}),
    "long lengths": (spoil(2, lambda x: x + 1), {}),
    "negative lengths": (spoil(2, lambda x: x - 99), {}),
    "long targets": (spoil(3, lambda x: x + 1), {}),
    "number of frames": (spoil(2, 30), {}),
    "blank out of range": (list, {"blank": 9}),
    "negative blank": (list, {"blank": -1}),
    "blank of a float": (list, {"blank": 0.0}),
    "reduction": (list, {"reduction": "batchmean"}),
    "reduction of no type": (list, {"reduction": None}),
    "zero_infinity of an integer": (list, {"zero_infinity": 1}),
    "an option of another loss": (list, {"label_smoothing": 0.1}),
}


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_unusual_calls_do_what_torch_does(unusual: str) -> None:
    """The same result, or the error's type and text; the warnings."""
    change, options = UNUSUAL[unusual]
    arguments = change(draw())
    expected, warned = outcome(T.ctc_loss, *arguments, **options)
    result, warned_here = outcome(F.ctc_loss, *arguments, **options)
    assert warned_here == warned
    if isinstance(expected, Tensor):
        torch.testing.assert_close(result, expected, equal_nan=True)
    else:
        assert result == expected


def test_second_derivatives_are_as_in_torch() -> None:
    """There are none, and both say so."""

    def second(function: Any) -> Any:
        x, *others = draw(torch.float64)
        y = leaf(x)
        (first,) = torch.autograd.grad(function(y, *others), y, create_graph=True)
        return torch.autograd.grad(first.sum(), y)

    assert outcome(second, F.ctc_loss) == outcome(second, T.ctc_loss)
    assert outcome(second, F.ctc_loss)[0][0] is RuntimeError


def test_gradients_under_create_graph_are_those_of_torch() -> None:
    x, *others = draw(torch.float64)
    gradients = []
    for function in (F.ctc_loss, T.ctc_loss):
        y = leaf(x)
        gradients += torch.autograd.grad(function(y, *others), y, create_graph=True)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


def test_compiled() -> None:
    """With a break in the graph, as in torch, whose compiler does not know the loss."""
    arguments = draw(torch.float64)

    def compiled(function: Any) -> Any:
        torch._dynamo.reset()
        return torch.compile(function, backend="aot_eager")(*arguments)

    torch.testing.assert_close(compiled(F.ctc_loss), compiled(T.ctc_loss), rtol=1e-13, atol=1e-15)


@every_dtype
@every_reduction
@pytest.mark.parametrize("alone", [False, True])
def test_weights_of_sequences(alone: bool, reduction: str, dtype: torch.dtype) -> None:
    """The kernel's loss and gradients, torch's formula for second ones, and the module."""
    x, *others = single(draw(dtype)) if alone else draw(dtype)
    v = torch.tensor(1.5) if alone else torch.tensor([0.5, 2.0, 0.0])
    options: dict[str, Any] = {"reduction": reduction, "sample_weight": v}
    inputs = leaf(x)
    loss = F.ctc_loss(inputs, *others, **options)
    assert by_kernel(loss)
    losses = T.ctc_loss(x.double(), *others, reduction="none") * v
    if reduction == "mean":
        losses = (losses / others[2].clamp(min=1)).sum() / v.sum()
    truth = losses.sum() if reduction == "sum" else losses
    assert_close(loss.detach(), truth, 3 * len(x))
    module = front.CTCLoss(reduction=reduction)
    assert torch.equal(module(x, *others, v), loss.detach())
    (gradient,) = torch.autograd.grad(loss.sum(), inputs)
    if dtype is torch.float64:
        formula = F.ctc_loss(inputs, *others, **options).sum()
        (again,) = torch.autograd.grad(formula, inputs, create_graph=True)
        torch.testing.assert_close(again, gradient, rtol=1e-10, atol=1e-12)
    torch._dynamo.reset()
    compiled = torch.compile(F.ctc_loss, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x, *others, **options), loss.detach())


def test_torch_signature() -> None:
    """torch's parameters, defaults and order, and a weight by keyword."""
    described = [
        [(p.name, p.default, p.kind) for p in inspect.signature(each).parameters.values()]
        for each in (F.ctc_loss, T.ctc_loss)
    ]
    assert described[0][:-1] == described[1]
    assert described[0][-1] == ("sample_weight", None, inspect.Parameter.KEYWORD_ONLY)


def test_sample_weights_of_other_shapes_are_named() -> None:
    """By the kernels, and by the formula that answers for lengths of other shapes."""
    log_probs = torch.randn(5, 2, 4).log_softmax(-1)
    arguments = (log_probs, torch.tensor([[1, 2], [3, 1]]), (5, 4), (2, 1))
    F.ctc_loss(*arguments, sample_weight=torch.ones(2))
    for wrong in (torch.ones(1), torch.ones(3), torch.ones(2, 1), torch.ones(())):
        with pytest.raises(ValueError, match="sample_weight has shape"):
            F.ctc_loss(*arguments, sample_weight=wrong)
