"""torch's losses of rows by kernels: torch's numbers, gradients, dtypes, errors and warnings.

The truth is torch in float64 on the same numbers. Calls that the kernels do not take give what
torch gives. A new loss is an entry of `LOSSES`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fusedloss.torch as front
import rowwise_cases
from fusedloss.torch import functional as F
from test_torch_pointwise import UNUSUAL, fraction, leaf, option, positive, real
from torch_parts import (
    DTYPES,
    REDUCTIONS,
    assert_close,
    by_kernel,
    outcome,
    same_numbers,
)

T = nn.functional


# ---- The table ---------------------------------------------------------------------------------


def index(shape: Any, generator: torch.Generator) -> Tensor:
    """A class for each row."""
    return torch.randint(shape[-1], shape[:-1], generator=generator)


def labels(shape: Any, generator: torch.Generator) -> Tensor:
    """Classes of each row, the first -1 after some of them."""
    drawn = torch.rand(shape, generator=generator).argsort(-1)
    ends = torch.randint(shape[-1] + 1, (*shape[:-1], 1), generator=generator)
    return torch.where(torch.arange(shape[-1]) < ends, drawn, -1)


def row_sign(shape: Any, generator: torch.Generator) -> Tensor:
    return torch.randint(2, shape[:-1], generator=generator) * 2 - 1


def class_weight(shape: Any, generator: torch.Generator) -> Tensor:
    return positive(shape[-1:], generator)


class Loss(NamedTuple):
    arguments: tuple[Callable[..., Tensor], ...]
    options: tuple[dict[str, Any], ...] = ({},)  # a function stands for a tensor that is drawn
    differentiable: int = 1  # arguments, from the first on
    shapes: tuple[tuple[int, ...], ...] = ((37, 11), (5, 40), (1, 1), (17,))


WEIGHTED: tuple[dict[str, Any], ...] = ({}, {"weight": class_weight})
TRIPLET = (real, real, real)

LOSSES = {
    "multi_margin_loss": Loss(
        (real, index),
        (*WEIGHTED, {"p": 2, "margin": 0.5, "weight": class_weight}),
    ),
    "multilabel_margin_loss": Loss((real, labels)),
    "multilabel_soft_margin_loss": Loss(
        (real, fraction), WEIGHTED, 2, shapes=((37, 11), (3, 2, 17), (17,))
    ),
    "cosine_embedding_loss": Loss((real, real, row_sign), ({}, {"margin": 0.5}), 2),
    "triplet_margin_loss": Loss(
        TRIPLET,
        ({}, {"margin": 3, "swap": True}, {"p": 1}, {"p": 3.5, "eps": 0.0}, {"p": math.inf}),
        3,
        shapes=((37, 11), (3, 2, 17), (17,)),
    ),
    "triplet_margin_with_distance_loss": Loss(
        TRIPLET,
        ({}, {"swap": True}, {"distance_function": nn.PairwiseDistance(1.0), "margin": 9}),
        3,
    ),
}


class Case(NamedTuple):
    """A loss with one set of its options."""

    name: str
    options: dict[str, Any]

    @property
    def loss(self) -> Loss:
        return LOSSES[self.name]

    @property
    def ours(self) -> Any:
        return getattr(F, self.name)

    @property
    def theirs(self) -> Any:
        return getattr(T, self.name)

    def draw(
        self, shape: Any, dtype: torch.dtype = torch.float32
    ) -> tuple[list[Tensor], dict[str, Any]]:
        """Arguments and options."""
        generator = torch.Generator().manual_seed(0)

        def drawn(draw: Any) -> Tensor:
            x: Tensor = draw(shape, generator)
            return x.to(dtype) if x.is_floating_point() else x

        functions = (class_weight,)
        options = {k: drawn(x) if x in functions else x for k, x in self.options.items()}
        return [drawn(draw) for draw in self.loss.arguments], options

    def __str__(self) -> str:
        return "-".join([self.name, *self.options])


CASES = [Case(name, options) for name, loss in LOSSES.items() for options in loss.options]
FIRST = [Case(name, {}) for name in LOSSES]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_loss = pytest.mark.parametrize("case", FIRST, ids=str)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


# ---- torch's numbers ---------------------------------------------------------------------------


@every_dtype
@every_reduction
@every_case
def test_values_and_gradients(case: Case, reduction: str, dtype: torch.dtype) -> None:
    """Of every differentiable argument at once and of each alone."""
    for shape in case.loss.shapes:
        arguments, options = case.draw(shape, dtype)
        options["reduction"] = reduction
        exact_options = {name: same_numbers(x) for name, x in options.items()}
        everything = tuple(range(case.loss.differentiable))
        for wanted in {everything, *((k,) for k in everything)}:
            inputs = [leaf(x) if k in wanted else x for k, x in enumerate(arguments)]
            exact = [
                leaf(y) if k in wanted else y for k, y in enumerate(map(same_numbers, arguments))
            ]
            loss, truth = case.ours(*inputs, **options), case.theirs(*exact, **exact_options)
            assert by_kernel(loss)
            assert loss.dtype is dtype
            # distances add up to as much as the largest coordinates do
            size = 1 + 4 * float(arguments[0].abs().max()) ** 2 * max(1, shape[-1] ** 0.5)
            rows = arguments[0].numel() / shape[-1] if reduction == "sum" else 1
            assert_close(loss.detach(), truth.detach(), size * rows)
            scale = torch.linspace(0.5, 2, loss.numel()).to(loss.dtype).reshape(loss.shape)
            gradients = torch.autograd.grad(loss, [inputs[k] for k in wanted], scale)
            truths = torch.autograd.grad(truth, [exact[k] for k in wanted], scale.double())
            for k, gradient, expected in zip(wanted, gradients, truths, strict=True):
                assert gradient.dtype is arguments[k].dtype
                # what is left of slopes of about 1, each times its share of the mean
                share = 1 / math.prod(shape[:-1]) if reduction == "mean" else 1.0
                assert_close(gradient, expected, 4 * share + float(expected.abs().max()))
        value = case.ours(*arguments, **options)
        assert not value.requires_grad
        assert torch.equal(value, loss.detach())


def test_better_than_torch() -> None:
    """Duplicates have a gradient, even where nothing is added to their difference."""
    x = torch.ones(2, 3, requires_grad=True)
    F.triplet_margin_loss(x, x.detach(), x.detach() + 1, eps=0.0, margin=9.0).backward()
    assert x.grad.isfinite().all()


# ---- Derivatives -------------------------------------------------------------------------------


@every_reduction
@every_case
def test_second_derivatives_are_those_of_torch(case: Case, reduction: str) -> None:
    """Of all arguments, through all arguments; what torch cannot differentiate, we cannot."""
    arguments, options = case.draw((5, 3), torch.float64)

    def derivatives(function: Any) -> Any:
        inputs = [leaf(x) for x in arguments[: case.loss.differentiable]]
        loss = function(*inputs, *arguments[len(inputs) :], **options, reduction=reduction)
        first = torch.autograd.grad(loss.sum(), inputs, create_graph=True)
        size = sum(g.square().sum() for g in first)
        if not size.requires_grad:
            return first
        return first, torch.autograd.grad(size, inputs, allow_unused=True)

    expected, _ = outcome(derivatives, case.theirs)
    result, _ = outcome(derivatives, case.ours)
    if isinstance(expected[1], str):
        assert result == expected
    else:
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)


def test_cosines_are_differentiable_in_both_arguments() -> None:
    inputs = [leaf(real((3, 5), torch.Generator().manual_seed(k))) for k in (0, 1)]
    for reduction in REDUCTIONS:

        def loss(x: Tensor, t: Tensor, reduction: Any = reduction) -> Tensor:
            return F.cosine_similarity_loss(x, t, axis=0, reduction=reduction)

        assert by_kernel(loss(*inputs))
        assert torch.autograd.gradcheck(loss, inputs)
        assert torch.autograd.gradgradcheck(loss, inputs)


# ---- Losses that torch lacks -------------------------------------------------------------------

#: Their formulas are those of the tests of NumPy's front.
OWN = [case for case in rowwise_cases.CASES if case.loss.formula]

every_own_case = pytest.mark.parametrize("case", OWN, ids=str)


def tensors_of(case: rowwise_cases.Case, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
    """Arguments, leaves among them, and options."""
    arrays, options = case.draw(shape, np.float64, np.random.default_rng(0))
    tensors = [torch.tensor(x) for x in arrays]
    tensors = [x.to(dtype) if x.is_floating_point() else x for x in tensors]
    return [leaf(x) if k in case.argnums else x for k, x in enumerate(tensors)], options


@every_dtype
@every_reduction
@every_own_case
def test_own_losses(case: rowwise_cases.Case, reduction: str, dtype: torch.dtype) -> None:
    """The formula's numbers in float64, and its gradients by every argument that has one."""
    given, options = tensors_of(case, (37, 11), dtype)
    exact = [leaf(same_numbers(x)) if x.requires_grad else same_numbers(x) for x in given]
    loss = getattr(F, case.name)(*given, **options, reduction=reduction)
    assert case.loss.formula is not None
    truth = case.loss.formula(*exact, **options)
    truth = truth if reduction == "none" else getattr(truth, reduction)()
    assert by_kernel(loss)
    assert loss.dtype is dtype
    assert_close(loss.detach(), truth.detach(), 4 + float(truth.detach().abs().max()))
    scale = torch.linspace(0.5, 2, loss.numel()).to(dtype).reshape(loss.shape)
    gradients, truths = (
        torch.autograd.grad(y, [x for x in inputs if x.requires_grad], g)
        for y, inputs, g in ((loss, given, scale), (truth, exact, scale.double()))
    )
    for gradient, expected in zip(gradients, truths, strict=True):
        assert gradient.dtype is dtype
        assert_close(gradient, expected, float(expected.abs().max()))


@every_reduction
@pytest.mark.parametrize(
    "case", [case for case in OWN if case.name not in rowwise_cases.CONSTANT_FACTOR], ids=str
)
def test_own_second_derivatives(case: rowwise_cases.Case, reduction: str) -> None:
    given, options = tensors_of(case, (5, 3), torch.float64)
    loss = partial(getattr(F, case.name), **options, reduction=reduction)
    assert torch.autograd.gradcheck(loss, given)
    assert torch.autograd.gradgradcheck(loss, given)


# ---- Dice and cross-entropy, which have no losses without a reduction --------------------------


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_dice_with_cross_entropy(reduction: Any, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    z = leaf(real((2, 3, 5, 4), generator).to(dtype))
    target = torch.randint(3, (2, 5, 4), generator=generator)
    target[0, 0] = -100
    options = {"lambda_dice": 0.5, "lambda_ce": 2.0, "reduction": reduction}
    loss = F.dice_ce_loss(z, target, **options)
    assert by_kernel(loss)
    exact = leaf(z.double())
    truth = 0.5 * F.dice_loss(exact, target, reduction=reduction) + 2 * T.cross_entropy(
        exact, target, reduction=reduction
    )
    assert_close(loss.detach(), truth.detach(), truth.item())
    loss.backward()
    truth.backward()
    assert_close(z.grad, exact.grad, 1 if reduction == "sum" else 1 / 32)


# ---- What is left to torch ---------------------------------------------------------------------

MORE: dict[str, Callable[..., Any]] = {
    "class out of range": lambda x, options: ([x[0], x[1] + 9, *x[2:]], options),
    "negative class": lambda x, options: ([x[0], x[1] - 9, *x[2:]], options),
    "int32 target": lambda x, options: ([x[0], x[1].int(), *x[2:]], options),
    "no row": lambda x, options: ([y[:0] for y in x], options),
    "another dimension": lambda x, options: ([y[None] for y in x], options),
    "p of 3": option("p", 3),
    "p of a string": option("p", "2"),
    "margin of 0": option("margin", 0.0),
    "swap of an integer": option("swap", 1),
    "negative eps": option("eps", -1e-3),
    "distance": option("distance_function", lambda a, b: (a - b).abs().sum(-1)),
    "distance with its axis": option("distance_function", nn.PairwiseDistance(keepdim=True)),
}


#: Of no row these are in torch what happened to be in memory.
UNDEFINED = {"multi_margin_loss", "multilabel_margin_loss"}


@pytest.mark.parametrize(
    ("case", "unusual"),
    [
        pytest.param(case, unusual, id=f"{case}-{unusual}")
        for case in FIRST
        for unusual in (*UNUSUAL, *MORE)
        if not (unusual == "no row" and case.name in UNDEFINED)
    ],
)
def test_unusual_calls_do_what_torch_does(case: Case, unusual: str) -> None:
    """The same result, or the error's type and text; the warnings."""
    arguments, options = {**UNUSUAL, **MORE}[unusual](*case.draw((4, 3)))
    expected, warned = outcome(case.theirs, *arguments, **options)
    result, warned_here = outcome(case.ours, *arguments, **options)
    assert warned_here == warned
    if isinstance(expected, Tensor):
        torch.testing.assert_close(result, expected, equal_nan=True)
    else:
        assert result == expected


@every_loss
def test_compiled_without_a_graph_break(case: Case) -> None:
    """The eager value of torch, whose own compiled multilabel_margin_loss is wrong in 2.13."""
    arguments, options = case.draw((4, 3), torch.float64)
    torch._dynamo.reset()
    result = torch.compile(case.ours, backend="aot_eager", fullgraph=True)(*arguments, **options)
    torch.testing.assert_close(result, case.theirs(*arguments, **options), rtol=1e-13, atol=1e-15)


@every_loss
def test_torch_signature(case: Case) -> None:
    """torch's parameters, defaults and order, and a mask by keyword."""
    described = [
        [(p.name, p.default, p.kind) for p in inspect.signature(each).parameters.values()]
        for each in (case.ours, case.theirs)
    ]
    mask = ("where", None, inspect.Parameter.KEYWORD_ONLY)
    assert [each for each in described[0] if each != mask] == described[1]


def test_a_module_without_a_distance_has_a_kernel() -> None:
    arguments, _ = Case("triplet_margin_loss", {}).draw((4, 3))
    assert by_kernel(front.TripletMarginWithDistanceLoss()(leaf(arguments[0]), *arguments[1:]))
