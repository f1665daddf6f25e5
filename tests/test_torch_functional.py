"""torch's losses by kernels: torch's numbers, dtypes, shapes, errors and warnings.

The truth is torch in float64 on the same numbers. Calls that the kernels do not take give what
torch gives, to the bit, because it is torch that computes them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fusedloss as fl

ml_dtypes = pytest.importorskip("ml_dtypes")

from torch.autograd import forward_ad  # noqa: E402

from calls import ROWS, is_array, mapped, valid  # noqa: E402
from fusedloss.torch import _bfloat16  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from fuzz.arguments import names_of_torch  # noqa: E402
from parts import public  # noqa: E402
from pointwise_cases import LOSSES, VARIED, tensors  # noqa: E402
from torch_parts import (  # noqa: E402
    DTYPES,
    REDUCTIONS,
    assert_close,
    by_kernel,
    outcome,
    same_numbers,
)

T = torch.nn.functional

#: The same examples in every run; a machine shared with others sets no deadline.
PROFILE = settings(derandomize=True, deadline=None, max_examples=200)


def compare(
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    input: Tensor,
    target: Tensor,
    size: float,
    **options: Any,
) -> None:
    """Value and gradient, dtype and shape of one call, with and without a gradient."""
    z = input.detach().requires_grad_()
    loss = ours(z, target, **options)
    assert by_kernel(loss)
    # contiguous: torch's nll_loss has no backward for some strides
    truth_input = same_numbers(input).contiguous().requires_grad_()
    truth_options = {name: same_numbers(option) for name, option in options.items()}
    truth = theirs(truth_input, same_numbers(target), **truth_options)
    expected_dtype = theirs(input.detach(), target, **options).dtype
    assert loss.dtype is expected_dtype
    positions = max(truth_input.numel() / max(input.shape[min(1, input.dim() - 1)], 1), 1)
    terms = positions if options.get("reduction") == "sum" else 1
    assert_close(loss.detach(), truth.detach(), size * terms)
    value = ours(input.detach(), target, **options)
    assert not value.requires_grad
    assert torch.equal(value.nan_to_num(), loss.detach().nan_to_num())

    grad_output = torch.linspace(0.5, 2, max(loss.numel(), 1)).to(loss.dtype)
    grad_output = grad_output[: loss.numel()].reshape(loss.shape)
    (gradient,) = torch.autograd.grad(loss, z, grad_output)
    (expected,) = torch.autograd.grad(truth, truth_input, grad_output.double())
    assert gradient.dtype is input.dtype
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    assert_close(gradient, expected, largest * max(size, 1), torch.finfo(torch.float32).tiny)


# ---- torch's numbers ---------------------------------------------------------------------------


@st.composite
def calls(draw: st.DrawFn) -> tuple[Tensor, Tensor, float, dict[str, Any]]:
    """Logits of any layout, a target, the size of the losses, options."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    classes = draw(st.one_of(st.integers(1, 40), st.sampled_from([64, 129, 257])))
    inner = draw(st.lists(st.integers(0, 6), max_size=3))
    batch = draw(st.integers(0, 9))
    shape = (classes,) if draw(st.integers(0, 9)) == 0 else (batch, classes, *inner)
    axis = min(1, len(shape) - 1)
    dtype = draw(st.sampled_from(DTYPES))
    scale = draw(st.sampled_from([0.0, 1.0, 10.0]))
    order = draw(st.permutations(range(len(shape))))
    logits = torch.empty([shape[d] for d in order], dtype=dtype)
    logits = logits.permute([order.index(d) for d in range(len(shape))])
    logits.copy_(torch.randn(shape, generator=generator) * scale)
    if draw(st.booleans()) and logits.numel():
        logits = logits.repeat_interleave(2, dim=-1)[..., ::2]

    positions = shape[:axis] + shape[axis + 1 :]
    options: dict[str, Any] = {"reduction": draw(st.sampled_from(REDUCTIONS))}
    if draw(st.booleans()):
        options["weight"] = (torch.rand(classes, generator=generator) + 0.25).to(dtype)
    if draw(st.booleans()):
        options["label_smoothing"] = draw(st.sampled_from([0, 0.05, 0.5, 1.0, 1]))
    if draw(st.booleans()):
        target = torch.rand(shape, generator=generator).softmax(axis).to(dtype)
    else:
        target = torch.randint(classes, positions, generator=generator)
        options["ignore_index"] = draw(st.sampled_from([-100, -1, 0, classes - 1, classes]))
        if draw(st.booleans()):
            ignored = torch.rand(positions, generator=generator) < 0.4
            target = target.masked_fill(ignored, options["ignore_index"])
        if target.dim() == 1 and "weight" not in options and options["ignore_index"] >= 0:
            target = target.to(draw(st.sampled_from([torch.int64, torch.uint8])))
    size = 10 * scale + math.log(classes) + 1
    return logits, target, size, options


@PROFILE
@given(calls())
def test_cross_entropy(call: tuple[Tensor, Tensor, float, dict[str, Any]]) -> None:
    logits, target, size, options = call
    compare(F.cross_entropy, T.cross_entropy, logits, target, size, **options)


@PROFILE
@given(calls())
def test_nll_loss(call: tuple[Tensor, Tensor, float, dict[str, Any]]) -> None:
    logits, target, size, options = call
    if target.is_floating_point():
        target = target.argmax(min(1, logits.dim() - 1))
    options.pop("label_smoothing", None)
    compare(F.nll_loss, T.nll_loss, logits, target, size, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_extreme_logits(dtype: Any, reduction: str) -> None:
    """Infinities and NaN where torch's answer is the contract's."""
    inf, nan = math.inf, math.nan
    largest = 0.9 * torch.finfo(dtype).max
    for row in (
        [-inf] * 4,
        [inf, 0, 0, 0],
        [nan, 0, 0, 0],
        [0, -inf, 0, 0],
        [-inf, 0, 0, 0],
        [1e4, 0, -1e4, 0],
        [-largest, largest, 0, 0],
    ):
        z = torch.tensor([row, row], dtype=dtype, requires_grad=True)
        twin = z.detach().clone().requires_grad_()
        target = torch.zeros(2, dtype=torch.long)
        loss = F.cross_entropy(z, target, reduction=reduction)
        expected = T.cross_entropy(twin, target, reduction=reduction)
        assert by_kernel(loss)
        torch.testing.assert_close(loss, expected, equal_nan=True)
        loss.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(z.grad, twin.grad, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_sums_beyond_the_range_of_a_dtype_are_infinite(dtype: Any) -> None:
    z = torch.tensor([[0, 0.9]] * 2, dtype=dtype) * torch.finfo(dtype).max
    assert F.cross_entropy(z, torch.tensor([0, 0]), reduction="sum") == math.inf


def test_better_than_torch() -> None:
    """NaN in an ignored row stays there, and a zero probability counts nothing against -inf."""
    z = torch.tensor([[math.nan, 0.0], [0.0, 0.0]], requires_grad=True)
    F.cross_entropy(z, torch.tensor([-100, 1])).backward()
    assert torch.equal(z.grad, torch.tensor([[0.0, 0.0], [0.5, -0.5]]))
    z = torch.tensor([[-math.inf, 0.0, 0.0]])
    target = torch.tensor([[0.0, 0.5, 0.5]])
    assert T.cross_entropy(z, target).isnan()
    torch.testing.assert_close(F.cross_entropy(z, target), torch.tensor(math.log(2)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0), (0, 3, 0), (2, 3, 0, 4)], ids=str)
def test_nothing(shape: tuple[int, ...], reduction: str) -> None:
    target = torch.zeros((shape[0], *shape[2:]), dtype=torch.long)
    for either in (target, torch.zeros(shape)):
        z = torch.zeros(shape, requires_grad=True)
        loss = F.cross_entropy(z, either, reduction=reduction)
        assert by_kernel(loss)
        expected = T.cross_entropy(z.detach(), either, reduction=reduction)
        torch.testing.assert_close(loss.detach(), expected, equal_nan=True)
        loss.sum().backward()
        assert z.grad.shape == shape


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": torch.ones(3)}])
def test_the_mean_of_nothing_has_no_gradient(options: dict[str, Any]) -> None:
    z = torch.randn(4, 3, requires_grad=True)
    loss = F.cross_entropy(z, torch.full((4,), -100), **options)
    assert by_kernel(loss)
    assert loss.isnan()
    loss.backward()
    assert torch.equal(z.grad, torch.zeros(4, 3))


@pytest.mark.parametrize("options", [{"z_loss": 0.1}, {"sample_weight": torch.zeros(4)}], ids=str)
@pytest.mark.parametrize("name", ["cross_entropy", "focal_loss"])
def test_the_mean_of_nothing_has_no_gradient_by_formula(name: str, options: Any) -> None:
    z = torch.randn(4, 3, requires_grad=True)
    target = torch.full((4,), 0 if "sample_weight" in options else -100)
    with forward_ad.dual_level():
        loss = getattr(F, name)(z, target, **options)
    assert not by_kernel(loss)
    assert loss.isnan()
    loss.backward()
    assert torch.equal(z.grad, torch.zeros(4, 3))


def test_a_mean_of_weights_that_are_zero_has_no_gradient() -> None:
    z = torch.randn(4, 3, requires_grad=True)
    loss = F.cross_entropy(z, Y, torch.zeros(3), sample_weight=V)
    with forward_ad.dual_level():
        by_formula = F.cross_entropy(z, Y, torch.zeros(3), sample_weight=V)
    for either in (loss, by_formula):
        assert either.isnan()
        (gradient,) = torch.autograd.grad(either, z)
        assert torch.equal(gradient, torch.zeros(4, 3))


def test_a_saturated_focal_loss_has_a_gradient_by_formula() -> None:
    """The power below 1 of a 1 - p that is 0."""
    z = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    with forward_ad.dual_level():
        loss: Any = F.focal_loss(z, Y[:1], gamma=0.5)
        loss.backward()
    assert torch.equal(z.grad, torch.zeros(1, 3))


@pytest.mark.parametrize(
    "name", ["cross_entropy", "focal_loss", "categorical_cross_entropy", "distillation_loss"]
)
def test_ignored_nan(name: str) -> None:
    """By kernel or by formula, a NaN that is ignored does not reach the loss."""
    z = Z.softmax(1)
    z[1] = math.nan
    tensors = (z, IGNORED) if name == "distillation_loss" else (IGNORED,)
    options = {"z_loss": 0.1} if name in ("cross_entropy", "focal_loss") else {}
    loss = getattr(F, name)(z, *tensors, **options)
    assert loss.isfinite()
    with forward_ad.dual_level():
        by_formula = getattr(F, name)(z, *tensors, **options)
    torch.testing.assert_close(by_formula, loss, rtol=1e-6, atol=0)  # float32


def test_a_valid_class_may_be_ignored() -> None:
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 1])
    compare(F.cross_entropy, T.cross_entropy, z, target, 10, ignore_index=1)
    compare(F.cross_entropy, T.cross_entropy, z, target.byte(), 10, ignore_index=1)


def test_float64_sums_of_float32() -> None:
    """One large loss and many that float32 would lose beside it."""
    z = torch.zeros(100_000, 2)
    z[0, 1] = 2e7
    target = torch.zeros(len(z), dtype=torch.long)
    exact = T.cross_entropy(z.double(), target, reduction="sum")
    assert F.cross_entropy(z, target, reduction="sum") == exact.float()


# ---- torch's errors and warnings ---------------------------------------------------------------


Z = torch.linspace(-1, 1, 12).reshape(4, 3)
Z4 = torch.linspace(-1, 1, 48).reshape(2, 3, 4, 2)
Y = torch.tensor([0, 1, 2, 1])
Y4 = torch.ones(2, 4, 2, dtype=torch.long)
P = torch.full((4, 3), 1 / 3)

BAD = {
    "label too large": (Z, torch.tensor([0, 3, 1, 0]), {}),
    "label too small": (Z, torch.tensor([0, -1, 1, 0]), {}),
    "label too large, bytes": (Z, torch.tensor([0, 3, 1, 0], dtype=torch.uint8), {}),
    "label too large, strided": (Z4, Y4 + 2, {}),
    "label too large, smoothed": (Z, Y + 2, {"label_smoothing": 0.1}),
    "label too large, float16": (Z.half(), Y + 2, {}),
    "label too large, bfloat16": (Z.bfloat16(), Y + 2, {}),
    "label at the default of ignore_index": (Z, Y - 100, {"ignore_index": 1}),
    "no classes": (Z[:, :0], Y, {}),
    "no axis of classes": (torch.tensor(1.0), torch.tensor(1), {}),
    "int32 target": (Z, Y.int(), {}),
    "int8 target": (Z, Y.to(torch.int8), {}),
    "bool target": (Z, Y.bool(), {}),
    "float indices": (Z, Y.float(), {}),
    "bytes, strided": (Z4, Y4.byte(), {}),
    "bytes, smoothed and weighted": (
        Z,
        Y.byte(),
        {"label_smoothing": 0.1, "weight": torch.ones(3)},
    ),
    "integer probabilities": (Z, torch.ones(4, 3, dtype=torch.long), {}),
    "too few labels": (Z, Y[:3], {}),
    "labels of another shape": (Z4, Y4[:, :3], {}),
    "labels of too many dimensions": (Z, Y[:, None], {}),
    "probabilities of another shape": (Z, P[:, :2], {}),
    "integer logits": (Z.long(), Y, {}),
    "bool logits": (Z > 0, Y, {}),
    "uint16 logits": (Z.to(torch.uint16), Y, {}),
    "complex logits": (Z + 0j, Y, {}),
    "float8 logits": (Z.to(torch.float8_e4m3fn), Y, {}),
    "too few weights": (Z, Y, {"weight": torch.ones(2)}),
    "weights of two dimensions": (Z, Y, {"weight": torch.ones(3, 1)}),
    "float64 weights": (Z, Y, {"weight": torch.ones(3, dtype=torch.float64)}),
    "float32 weights of bfloat16": (Z.bfloat16(), Y, {"weight": torch.ones(3)}),
    "too few weights of probabilities": (Z, P, {"weight": torch.ones(1)}),
    "differentiable weight": (Z, Y, {"weight": torch.ones(3, requires_grad=True)}),
    "ignored probabilities": (Z, P, {"ignore_index": 1}),
    "reduction": (Z, Y, {"reduction": "foo"}),
    "reduction of no type": (Z, Y, {"reduction": None}),
    "batchmean": (Z, Y, {"reduction": "batchmean"}),
    "smoothing of 1.5": (Z, Y, {"label_smoothing": 1.5}),
    "smoothing of 1.5 with probabilities": (Z, P, {"label_smoothing": 1.5}),
    "smoothing of a string": (Z, Y, {"label_smoothing": "0.1"}),
    "ignore_index of a float": (Z, Y, {"ignore_index": 1.0}),
    "ignore_index of None": (Z, P, {"ignore_index": None}),
    "ignore_index of 70 bits": (Z, Y, {"ignore_index": 1 << 70}),
    "list": ([[0.0, 1.0]], torch.tensor([0]), {}),
    "list of labels": (Z, [0, 1, 2, 1], {}),
    "list of weights": (Z, Y, {"weight": [1.0, 1.0, 1.0]}),
    "arrays": (Z.numpy(), Y.numpy(), {}),
    "array of labels": (Z, Y.numpy(), {}),
    "array of weights": (Z, Y, {"weight": np.ones(3, "f")}),
    "None": (None, Y, {}),
    "no target": (Z, None, {}),
    "meta labels": (Z, Y.to("meta"), {}),
    "sparse logits": (Z.to_sparse(), Y, {}),
    "inference labels": (Z.clone().requires_grad_(), "inference", {}),
}


def bad_call(name: str) -> tuple[Any, Any, Any]:
    input, target, options = BAD[name]
    if isinstance(target, str):
        with torch.inference_mode():
            target = Y.clone()
    return input, target, options


@pytest.mark.parametrize("name", BAD)
def test_errors_of_cross_entropy_are_those_of_torch(name: str) -> None:
    input, target, options = bad_call(name)
    expected, _ = outcome(T.cross_entropy, input, target, **options)
    assert isinstance(expected, tuple), "torch takes it"
    assert outcome(F.cross_entropy, input, target, **options)[0] == expected
    if isinstance(input, Tensor) and input.is_floating_point() and input.itemsize > 1:
        differentiable = input.detach().requires_grad_()
        expected, _ = outcome(T.cross_entropy, differentiable, target, **options)
        assert outcome(F.cross_entropy, differentiable, target, **options)[0] == expected


@pytest.mark.parametrize(
    "name", [name for name in BAD if "smooth" not in name and "probabilities" not in name]
)
def test_errors_of_nll_loss_are_those_of_torch(name: str) -> None:
    input, target, options = bad_call(name)
    expected, _ = outcome(T.nll_loss, input, target, **options)
    result, _ = outcome(F.nll_loss, input, target, **options)
    if isinstance(expected, tuple):
        assert result == expected
    else:
        torch.testing.assert_close(result, expected, equal_nan=True)


@pytest.mark.parametrize(
    "legacy",
    [
        {"size_average": False},
        {"size_average": True},
        {"reduce": False},
        {"reduce": True, "size_average": False},
        {"reduce": False, "reduction": "sum"},
        {"reduction": "elementwise_mean"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_deprecated_options_warn_as_in_torch(name: str, legacy: dict[str, Any]) -> None:
    expected, warned = outcome(getattr(T, name), Z, Y, **legacy)
    result, warned_here = outcome(getattr(F, name), Z, Y, **legacy)
    assert warned
    assert warned_here == warned
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_torch_signature(name: str) -> None:
    """torch's parameters, defaults and order; what is added comes by keyword."""
    ours, theirs = (list(inspect.signature(getattr(f, name)).parameters.values()) for f in (F, T))
    described = [[(p.name, p.default, p.kind) for p in parameters] for parameters in (ours, theirs)]
    assert described[0][: len(theirs)] == described[1]
    assert all(p.kind is p.KEYWORD_ONLY for p in ours[len(theirs) :])


# ---- Calls that are not recognised -------------------------------------------------------------


class Subclass(torch.Tensor):
    """A tensor that watches what is done to it."""

    calls: ClassVar[list[Any]] = []

    @classmethod
    def __torch_function__(cls, function: Any, *arguments: Any, **options: Any) -> Any:
        cls.calls.append(function)
        return super().__torch_function__(function, *arguments, **options)


def negated(x: Tensor) -> Tensor:
    """The same numbers, lazily negated in memory."""
    return torch._neg_view(-x)


#: Valid to torch, and not what the kernels take or mean: torch's result, bit by bit.
OTHERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "float64 probabilities": (Z, P.double(), {}),
    "float32 probabilities of bfloat16": (Z.bfloat16(), P, {}),
    "differentiable probabilities": (Z, P.clone().requires_grad_(), {}),
    "differentiable bfloat16 probabilities": (
        Z.bfloat16(),
        P.bfloat16().requires_grad_(),
        {},
    ),
    "weights of another dtype": (Z, P, {"weight": torch.ones(3, dtype=torch.float64)}),
    "differentiable weight": (Z, P, {"weight": torch.ones(3, requires_grad=True)}),
    "negative smoothing": (Z, Y, {"label_smoothing": -0.5}),
    "smoothing of NaN": (Z, Y, {"label_smoothing": math.nan}),
    "smoothing of a tensor": (Z, Y, {"label_smoothing": torch.tensor(0.25)}),
    "ignore_index of a NumPy integer": (Z, Y, {"ignore_index": np.int64(1)}),
    "one label with an axis": (Z[0], Y[:1], {"reduction": "none"}),
    "no classes": (Z[:, :0], P[:, :0], {}),
    "many dimensions": (Z.reshape(4, 3, *[1] * 9), Y.reshape(4, *[1] * 9), {}),
    "negated logits": (negated(Z), Y, {}),
    "negated bfloat16 logits": (negated(Z.bfloat16()), Y, {}),
    "negated probabilities": (Z, negated(P), {}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_is_not_recognised_is_left_to_torch(name: str) -> None:
    input, target, options = OTHERS[name]
    z = input.clone() if input.is_neg() else input.detach().requires_grad_()
    expected = T.cross_entropy(z, target, **options)
    loss = F.cross_entropy(z, target, **options)
    assert not by_kernel(loss)
    assert loss.dtype is expected.dtype
    assert type(loss.grad_fn) is type(expected.grad_fn)
    assert torch.equal(loss.nan_to_num(), expected.nan_to_num())


def test_transforms_of_something_else() -> None:
    """Plain tensors too are left to torch while it transforms others."""
    z = Z.clone().requires_grad_()
    seen = []

    def function(w: Tensor) -> Tensor:
        seen.append(by_kernel(F.cross_entropy(z, Y)))
        return w

    torch.func.vmap(function)(torch.ones(2))
    assert seen == [False]


def test_subclasses_see_torch_functions() -> None:
    z = torch.randn(4, 3).as_subclass(Subclass)
    assert type(F.cross_entropy(z, Y)) is Subclass
    assert T.cross_entropy in Subclass.calls
    F.nll_loss(z, Y)
    assert T.nll_loss in Subclass.calls


def test_modes_see_torch_functions() -> None:
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, arguments: Any = (), options: Any = None
        ) -> Any:
            seen.append(function)
            return function(*arguments, **(options or {}))

    with Mode():
        F.cross_entropy(Z, Y)
    assert T.cross_entropy in seen


def test_parameters_are_tensors() -> None:
    assert by_kernel(F.cross_entropy(torch.nn.Parameter(Z), Y))


def test_other_devices() -> None:
    loss = F.cross_entropy(Z.to("meta"), Y.to("meta"))
    assert loss.is_meta
    assert loss.shape == ()
    outputs: Any = ("lse", "accuracy")
    loss, made = F.cross_entropy(Z.to("meta"), Y.to("meta"), z_loss=0.1, outputs=outputs)
    assert loss.is_meta
    assert [(name, made[name].shape) for name in made] == [("lse", (4,)), ("accuracy", (4,))]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_autocast(dtype: Any, name: str) -> None:
    """torch computes these losses of 16-bit logits in float32 there, and says so in the dtype."""
    z = Z.to(dtype, copy=True).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = getattr(F, name)(z, Y)
        expected = getattr(T, name)(z, Y)
    assert by_kernel(loss) == (dtype.itemsize > 2)
    assert loss.dtype is expected.dtype
    torch.testing.assert_close(loss, expected)


# ---- Losses of this package --------------------------------------------------------------------

W = torch.tensor([0.5, 1.0, 2.0])
V = torch.tensor([1.0, 0.5, 0.0, 2.0])
SIGNS = Z.sign()
INDICES = torch.tensor([[0, 1], [2, 0], [1, 2], [0, 2]])
Q = torch.tensor([[0.7, 0.2], [0.5, 0.5], [0.9, 0.0], [0.6, 0.3]]).log()
IGNORED = torch.tensor([0, -100, 2, 1])

#: Pointwise losses that torch has not.
OF_ELEMENTS = [case for case in VARIED if not hasattr(T, case.name)]

#: (loss, tensors after the prediction, options): each means the same in NumPy.
OWN: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("cross_entropy", (Y,), {"sample_weight": V}),
    ("cross_entropy", (IGNORED,), {"weight": W, "sample_weight": V, "z_loss": 0.1}),
    ("cross_entropy", (Y,), {"softcap": 2.0, "label_smoothing": 0.1}),
    ("cross_entropy", (P,), {"softcap": 2, "z_loss": 1, "weight": W, "sample_weight": V}),
    ("cross_entropy", (IGNORED,), {"outputs": ("lse", "entropy", "accuracy"), "softcap": 5.0}),
    ("cross_entropy", (IGNORED,), {"outputs": ("log_prob",), "weight": W, "label_smoothing": 0.1}),
    ("cross_entropy", (P,), {"outputs": ["accuracy", "lse"]}),
    ("nll_loss", (IGNORED,), {"weight": W, "sample_weight": V}),
    ("focal_loss", (Y,), {}),
    ("focal_loss", (IGNORED,), {"alpha": W, "gamma": 0.5}),
    ("focal_loss", (Y,), {"alpha": 0.3, "gamma": 3, "sample_weight": V, "z_loss": 0.1}),
    ("focal_loss", (Y,), {"gamma": 0.0, "softcap": 3.0, "outputs": ("entropy",)}),
    ("categorical_cross_entropy", (Y,), {}),
    ("categorical_cross_entropy", (P,), {"label_smoothing": 0.1, "sample_weight": V}),
    ("categorical_cross_entropy", (IGNORED,), {"label_smoothing": 0.2}),
    ("categorical_cross_entropy", (Y[:3],), {"axis": 0}),
    ("categorical_cross_entropy", (IGNORED,), {"gamma": 2, "alpha": W, "sample_weight": V}),
    ("categorical_cross_entropy", (P,), {"gamma": 0.5, "alpha": 0.25, "label_smoothing": 0.1}),
    ("categorical_cross_entropy", (Y[:3],), {"axis": 0, "gamma": 2.0, "alpha": V}),
    ("categorical_cross_entropy", (Y[:3],), {"axis": -2, "alpha": 0.5}),
    ("soft_cross_entropy", (Z.flip(0),), {}),
    ("soft_cross_entropy", (Z.flip(0),), {"temperature": 2, "sample_weight": V}),
    ("distillation_loss", (Z.flip(0), Y), {"temperature": 2.0}),
    ("distillation_loss", (Z.flip(0), IGNORED), {"alpha": 0.25, "sample_weight": V}),
    ("distillation_loss", (Z.flip(0),), {"temperature": 3.0}),
    ("distillation_loss", ((INDICES, Q), Y), {"temperature": 2.0}),
    ("distillation_loss", (Z.flip(0), Y), {"alpha": 1}),
    ("linear_distillation_loss", (Z.flip(1), P, Z), {"temperature": 2.0}),
    ("linear_distillation_loss", (Z.flip(1), P, Z), {"divergence": "js", "sample_weight": V}),
    (
        "linear_distillation_loss",
        (Z.flip(1), P, Z),
        {"divergence": "reverse", "target": IGNORED, "alpha": 0.25, "workspace": 1},
    ),
    ("linear_binary_cross_entropy", (P, INDICES), {}),
    ("adaptive_log_softmax_loss", (Z[:2], (P[:2], P[:2, :2]), Y), {"bias": V[:2]}),
    ("linear_binary_cross_entropy", (P, INDICES - 1), {"workspace": 1}),
    ("log_cosh_loss", (Z[0],), {"weight": V[:, None]}),
    ("ipo_loss", (P, P, Z), {"beta": 0.5, "weight": W}),
    ("kto_loss", (P, SIGNS > 0), {"beta": 2.0, "kl": 0.5}),
    ("quantile_loss", (Y[:, None],), {"quantile": 0}),
    ("mape_loss", (Y[:, None] * 0,), {}),
    ("tweedie_loss", (W,), {"power": 1, "weight": W}),
    ("sigmoid_focal_loss", (SIGNS > 0,), {"alpha": None, "gamma": 0.5, "weight": W}),
    ("asymmetric_loss", (SIGNS > 0,), {"gamma_neg": 0.5, "gamma_pos": 0, "clip": 0, "weight": W}),
    ("js_div", (P.flip(1).log(),), {"beta": 0, "weight": V[:, None]}),
    *((case.name, tensors(case, Z)[1:], {**case.options, "weight": W}) for case in OF_ELEMENTS),
    ("categorical_hinge_loss", (Y,), {"sample_weight": V}),
    ("categorical_hinge_loss", (P,), {}),
    ("poly1_cross_entropy", (Y,), {"sample_weight": V}),
    ("poly1_cross_entropy", (P,), {"epsilon": -0.5}),
    ("generalized_cross_entropy", (Y,), {"sample_weight": V}),
    ("generalized_cross_entropy", (Y,), {"q": 1}),
    ("generalized_cross_entropy", (P,), {"sample_weight": V}),
    ("focal_loss", (P,), {"sample_weight": V}),
    ("focal_loss", (P,), {"gamma": 0.5, "alpha": W}),
    ("sparsemax_loss", (Y,), {"sample_weight": V}),
    ("cosine_similarity_loss", (P,), {"sample_weight": V}),
    ("cosine_similarity_loss", (P,), {"axis": 0}),
    ("ranking_softmax_loss", (W.expand(4, 3),), {"sample_weight": V}),
    ("ranking_softmax_loss", (W.expand(4, 3),), {"where": SIGNS > 0}),
    ("dice_loss", (IGNORED,), {}),
    ("dice_loss", (P,), {"smooth": 0.5}),
    ("tversky_loss", (IGNORED,), {"alpha": 0.25, "beta": 1}),
    ("focal_tversky_loss", (Y,), {}),
    ("iou_loss", (P,), {}),
    ("lovasz_softmax_loss", (IGNORED,), {}),
]


def named(case: tuple[str, Any, dict[str, Any]]) -> str:
    return "-".join([case[0], *case[2]])


def converted(x: Any, convert: Callable[[Tensor], Any]) -> Any:
    """The same arguments with every tensor converted."""
    if isinstance(x, Tensor):
        return convert(x)
    if isinstance(x, tuple):
        return tuple(converted(part, convert) for part in x)
    if isinstance(x, dict):
        return {name: converted(part, convert) for name, part in x.items()}
    return x


def to_numpy(x: Tensor) -> Any:
    if x.dtype is torch.bfloat16:
        return x.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def of_dtype(dtype: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: x.to(dtype) if x.is_floating_point() else x


OF_PROBABILITIES = {"categorical_cross_entropy", "generalized_cross_entropy"}


def prediction_of(name: str, dtype: Any) -> Tensor:
    z = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.25, 0.0], [-2.0, 1.0, 1.5], [0.0, 0.0, 0.0]])
    z = z.softmax(1) if name in OF_PROBABILITIES else z
    if name in LOSSES:
        z = LOSSES[name].domains[0].of_real(z)
    return z.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", OWN, ids=named)
def test_own_losses_are_those_of_numpy(case: Any, reduction: str, dtype: Any) -> None:
    """The same kernels: the same bits."""
    name, tensors, options = converted(case, of_dtype(dtype))
    options = {**options, "reduction": reduction}
    z = prediction_of(name, dtype).requires_grad_()
    result = getattr(F, name)(z, *tensors, **options)
    numpy_arguments = converted((z.detach(), *tensors), to_numpy)
    numpy_options = converted(options, to_numpy)
    expected, gradient = fl.value_and_grad(getattr(fl, name))(*numpy_arguments, **numpy_options)
    if "outputs" in options:
        result, outputs = result
        expected, expected_outputs = expected
        assert list(outputs) == list(options["outputs"])
        for output, tensor in outputs.items():
            assert tensor.requires_grad == (output in ("log_prob", "entropy"))
            np.testing.assert_array_equal(tensor.detach().numpy(), expected_outputs[output])
    assert by_kernel(result)
    assert result.dtype is dtype
    torch.testing.assert_close(
        result.detach(), torch.tensor(np.float64(expected), dtype=dtype), rtol=0, atol=0
    )
    result.sum().backward()
    torch.testing.assert_close(
        z.grad, torch.tensor(np.float64(gradient), dtype=dtype), rtol=0, atol=0
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", OWN, ids=named)
def test_formulas_of_own_losses(case: Any, reduction: str, dtype: Any) -> None:
    """What answers where the kernels do not: under forward-mode differentiation, for one."""
    name, tensors, options = converted(case, of_dtype(dtype))
    options = {**options, "reduction": reduction}
    z = prediction_of(name, dtype).requires_grad_()
    by_formula = z.detach().clone().requires_grad_()
    result = getattr(F, name)(z, *tensors, **options)
    with forward_ad.dual_level():
        expected = getattr(F, name)(by_formula, *tensors, **options)
    if "outputs" in options:
        result, outputs = result
        expected, expected_outputs = expected
        torch.testing.assert_close(outputs, expected_outputs)
    assert not by_kernel(expected)
    result.sum().backward()
    expected.sum().backward()
    # some ten operations on numbers up to 3 on both sides, rounded to 16 bits once
    wide = torch.finfo(torch.float64 if dtype is torch.float64 else torch.float32)
    rounding = torch.finfo(dtype).eps if dtype.itemsize == 2 else 0.0
    tolerance = {"rtol": rounding + 16 * wide.eps, "atol": 48 * wide.eps}
    torch.testing.assert_close(result, expected, **tolerance)
    # what is too large for 16 bits, by a vector of length 0, a kernel ends at the largest number
    largest = torch.finfo(dtype).max
    found, expected = (x.grad.clamp(-largest, largest) for x in (z, by_formula))
    if name.startswith(("linear_", "adaptive_")) and dtype is torch.bfloat16:
        # products of bfloat16 take the logits' gradients rounded, terms that may cancel in a sum
        tolerance["atol"] += rounding * float(expected.abs().max())
    torch.testing.assert_close(found, expected, **tolerance)


#: Own losses that are differentiable in the target too.
IN_BOTH = [
    (case.name, tensors(case, 1.1 * Z.double()), case.options)  # no kink is at 1.1
    for case in OF_ELEMENTS
    if len(case.formula.differentiable) == len(case.formula.arguments) == 2
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", IN_BOTH, ids=named)
def test_own_losses_are_differentiable_in_their_targets(case: Any, reduction: str) -> None:
    name, arguments, options = case
    inputs = [x.double().requires_grad_() for x in arguments]

    def loss(x: Tensor, t: Tensor) -> Tensor:
        return getattr(F, name)(x, t, weight=W.double(), reduction=reduction, **options)

    assert by_kernel(loss(*inputs))
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize(
    ("name", "arguments", "options", "error", "match"),
    [
        ("log_cosh_loss", (Z.long(), Y[:, None]), {}, TypeError, r"dtype torch\.int64"),
        ("log_cosh_loss", (Z.numpy(), Z), {}, TypeError, "is ndarray"),
        ("log_cosh_loss", (Z, Z), {"weight": 2.0}, TypeError, "torch.Tensor, not float"),
        ("log_cosh_loss", (Z, Z[:2]), {}, RuntimeError, "must match the size"),
        ("log_cosh_loss", (Z, Z), {"reduction": "foo"}, ValueError, "reduction is 'foo'"),
        ("quantile_loss", (Z, Z), {"quantile": 2}, ValueError, "quantile is 2"),
        ("tweedie_loss", (Z, Z), {"power": "2"}, TypeError, "power is '2'"),
        ("sigmoid_focal_loss", (Z, P), {"alpha": 2}, ValueError, "alpha is 2"),
        ("asymmetric_loss", (Z, P), {"clip": 1}, ValueError, "clip is 1"),
        ("js_div", (Z, Z), {"beta": -1}, ValueError, "beta is -1"),
        ("focal_loss", (Z, Y), {"gamma": -1.0}, ValueError, "gamma is -1"),
        ("focal_loss", (Z, Y), {"gamma": "2"}, TypeError, "gamma is '2'"),
        ("focal_loss", (Z, Y), {"alpha": "2"}, TypeError, "alpha is '2'"),
        ("focal_loss", (Z, Y), {"alpha": torch.ones(2)}, RuntimeError, "weight tensor"),
        ("focal_loss", (Z, Y + 2), {}, IndexError, "is out of bounds"),
        ("focal_loss", (Z, Y), {"reduction": "foo"}, ValueError, "reduction is 'foo'"),
        ("focal_loss", (Z.numpy(), Y), {}, TypeError, "logits is ndarray"),
        ("focal_loss", (Z, [0, 1, 2, 1]), {}, TypeError, "target is list"),
        ("focal_loss", (Z.numpy(), Y), {"alpha": 0.5}, TypeError, "logits is ndarray"),
        ("focal_loss", (Z[0, 0], Y[0]), {"alpha": 0.5}, ValueError, "Expected"),
        ("focal_loss", (Z, Y), {"sample_weight": V[:3]}, ValueError, "sample_weight has shape"),
        ("cross_entropy", (Z, Y), {"softcap": -1.0}, ValueError, "softcap is -1"),
        ("cross_entropy", (Z, Y), {"z_loss": -1.0}, ValueError, "z_loss is -1"),
        ("cross_entropy", (Z, Y), {"outputs": ("loss",)}, ValueError, "outputs holds"),
        ("cross_entropy", (Z, Y), {"outputs": "lse"}, TypeError, "outputs is"),
        ("cross_entropy", (Z, Y + 2), {"softcap": 1.0}, IndexError, "is out of bounds"),
        ("nll_loss", (Z, Y + 2), {"sample_weight": V}, IndexError, "is out of bounds"),
        ("categorical_cross_entropy", (P, P[:2]), {}, ValueError, "target has shape"),
        ("categorical_cross_entropy", (P, Y), {"axis": 2}, IndexError, "out of range"),
        ("categorical_cross_entropy", (P, Y), {"label_smoothing": 2}, ValueError, "label_smooth"),
        ("categorical_cross_entropy", (P, Y), {"gamma": 65}, ValueError, "gamma is 65"),
        ("categorical_cross_entropy", (P, Y), {"alpha": "1"}, TypeError, "alpha is '1'"),
        ("categorical_cross_entropy", (P, Y), {"alpha": W[:2]}, ValueError, "alpha has shape"),
        ("categorical_cross_entropy", (P, Y), {"alpha": 1, "axis": 2}, IndexError, "out of range"),
        ("soft_cross_entropy", (Z, Z[:1]), {}, ValueError, "teacher_logits has shape"),
        ("soft_cross_entropy", (Z, Z), {"temperature": 0}, ValueError, "temperature is 0"),
        ("distillation_loss", (Z, Z, Y), {"alpha": 2}, ValueError, "alpha is 2"),
        ("distillation_loss", (Z, Z, Y + 2), {}, IndexError, "is out of bounds"),
        ("distillation_loss", (Z, (INDICES + 2, Q)), {}, RuntimeError, "is out of bounds"),
        ("linear_distillation_loss", (Z, P, Z, P), {"divergence": "l2"}, ValueError, "divergence"),
        ("linear_distillation_loss", (Z, P, Z, P[:2]), {}, ValueError, "teacher_weight has shape"),
        ("linear_distillation_loss", (Z, P, Z[:2], P), {}, ValueError, "teacher has shape"),
        ("linear_distillation_loss", (Z, P, Z, P), {"target": Y + 3}, IndexError, "out of bounds"),
        ("linear_binary_cross_entropy", (Z, P, INDICES + 3), {}, RuntimeError, "out of bounds"),
        ("linear_binary_cross_entropy", (Z, P, INDICES - 2), {}, RuntimeError, "out of bounds"),
        ("linear_binary_cross_entropy", (Z, P, INDICES[:2]), {}, ValueError, "target has shape"),
        ("linear_binary_cross_entropy", (Z, P, Z), {}, TypeError, "target has dtype"),
        ("distillation_loss", (Z, (INDICES, Q[:, :1])), {}, ValueError, r"teacher_logits\[1\]"),
    ],
)
def test_errors_of_own_losses(
    name: str, arguments: Any, options: Any, error: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        getattr(F, name)(*arguments, **options)


#: Options of this package's own, with which torch's functions are no longer torch's to answer.
OWN_OPTIONS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"z_loss": 0.5},
    "linear_cross_entropy": {"softcap": 2.0},
    "nll_loss": {"sample_weight": torch.ones(ROWS)},
}


def _required_tensors() -> list[tuple[str, str]]:
    """Every own loss, or one with an own option, and each tensor that it cannot be without."""
    own = [
        name for name in public(F) if name in OWN_OPTIONS or not hasattr(torch.nn.functional, name)
    ]
    return [
        (name, k)
        for name in own
        for k, p in inspect.signature(getattr(F, name)).parameters.items()
        if p.default is p.empty and is_array(valid(name).get(names_of_torch(name)[k]))
    ]


@pytest.mark.parametrize(("name", "absent"), _required_tensors())
@pytest.mark.parametrize("given", [None, [0.5]], ids=["None", "list"])
def test_what_is_no_tensor_is_named(name: str, absent: str, given: Any) -> None:
    arguments = {
        k: mapped(torch.from_numpy, x) if is_array(x := valid(name, optional=False)[ours]) else x
        for k, ours in names_of_torch(name).items()
        if ours in valid(name, optional=False)
    } | OWN_OPTIONS.get(name, {})
    function = getattr(F, name)
    function(**arguments)
    if absent in ("params", "features", "target_features") and given is not None:
        return  # lists are what these take
    with pytest.raises((TypeError, ValueError), match=rf"\b{absent}\b"):
        function(**arguments | {absent: given})


def test_distillation_of_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    z = Z.bfloat16().requires_grad_()
    loss = F.distillation_loss(z, P.bfloat16(), Y)
    monkeypatch.setattr(_bfloat16, "bfloat16", None)
    by_formula = F.distillation_loss(z, P.bfloat16(), Y)
    assert by_kernel(loss)
    assert not by_kernel(by_formula)
    torch.testing.assert_close(by_formula, loss, rtol=2.0**-7, atol=0)  # rounded once each


def test_bits_are_not_taken_for_numbers() -> None:
    """16-bit integers, which is how bfloat16 reaches the kernels."""
    weight = torch.tensor([1, 2, 3, 4], dtype=torch.uint16)
    torch.testing.assert_close(
        F.cross_entropy(Z, Y, sample_weight=weight),
        F.cross_entropy(Z, Y, sample_weight=weight.float()),
    )
    with pytest.raises(RuntimeError, match="Expected floating point type"):
        F.cross_entropy(Z, torch.ones(4, 3, dtype=torch.uint16), softcap=1.0)


def test_teachers_are_differentiable_by_formula() -> None:
    teacher = Z.flip(0).clone().requires_grad_()
    F.soft_cross_entropy(Z, teacher).backward()
    assert teacher.grad is not None
    F.distillation_loss(Z, teacher, Y).backward()


@pytest.mark.parametrize(
    "name",
    [
        x
        for x in public(F)
        if "sample_weight" in inspect.signature(getattr(F, x)).parameters
        and x != "ctc_loss"  # of sequences: test_torch_sequences.py
    ],
)
def test_sample_weights_of_other_shapes_are_named(name: str) -> None:
    """Also where they would broadcast: one number for all rows, or a number for each element."""
    names = names_of_torch(name)
    given = valid(name, optional=False)
    arguments = {
        k: torch.from_numpy(given[ours]) for k, ours in names.items() if is_array(given.get(ours))
    }
    weight = torch.ones(ROWS)
    getattr(F, name)(**arguments, sample_weight=weight)
    for wrong in (weight[:1], weight[:, None], weight[None]):
        with pytest.raises((ValueError, RuntimeError), match=r"sample_weight|size|shape"):
            getattr(F, name)(**arguments, sample_weight=wrong)
