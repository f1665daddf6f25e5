"""The adaptive softmax: against torch's module, its definition and finite differences."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fusedloss as fl
import fusedloss.torch as front
from checks import DTYPES, assert_same_bits, compute_dtype, eps
from fusedloss.torch import functional as F
from parts import Array
from test_linear import MEMORY

ALL = fl.value_and_grad(fl.adaptive_log_softmax_loss, argnums=(0, 1, 2))


@dataclass(frozen=True)
class Layers:
    """The sizes of a module, and which of its classes targets are drawn from."""

    positions: int
    features: int
    classes: int
    cutoffs: tuple[int, ...]
    div_value: float = 4.0
    bias: bool = False
    first: int = 0  # class of the targets
    last: int | None = None

    def module(self, of: Any = nn) -> Any:
        torch.manual_seed(len(str(self)))
        return of.AdaptiveLogSoftmaxWithLoss(
            self.features, self.classes, list(self.cutoffs), self.div_value, self.bias
        ).double()

    def build(self) -> tuple[Array, Array]:
        """Inputs and targets."""
        rng = np.random.default_rng(list(str(self).encode()))
        x = rng.normal(size=(self.positions, self.features))
        last = self.classes if self.last is None else self.last
        return x, rng.integers(self.first, last, self.positions)


CASES = (
    Layers(50, 32, 100, (10, 40, 60), 2.0, bias=True),
    Layers(130, 17, 300, (20, 100)),
    Layers(40, 20, 100, (10, 40), last=10),  # the frequent classes alone
    Layers(40, 20, 100, (10, 40), 2.0, first=10, last=40),  # one cluster alone
    Layers(40, 20, 100, (10, 40), first=40),  # and the last one
    Layers(33, 5, 60, (1, 2, 30), bias=True),  # no features are left for two clusters
    Layers(1, 8, 10, (9,), 1.0),
    Layers(0, 8, 10, (3,)),
)

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def rounded(x: Any, dtype: Any) -> Array:
    array = x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)
    return array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def arguments_of(module: Any, x: Array, dtype: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A module's weights as arrays of a dtype, between input and target."""
    tails = [rounded(w, dtype) for w in module.tail.parameters()]
    bias = None if module.head.bias is None else rounded(module.head.bias, dtype)
    return (rounded(x, dtype), rounded(module.head.weight, dtype), tails), {"bias": bias}


def truth(module: Any, arguments: Any, bias: Any, y: Array, weights: Any = None) -> list[Any]:
    """What torch's module makes of rounded numbers in float64: losses, and gradients by all."""
    x, head, tails = arguments
    parameters = [module.head.weight]
    arrays = [head]
    if bias is not None:
        parameters, arrays = [*parameters, module.head.bias], [*arrays, bias]
    with torch.no_grad():
        for parameter, array in zip(
            [*parameters, *module.tail.parameters()], [*arrays, *tails], strict=True
        ):
            parameter.copy_(torch.from_numpy(array.astype(np.float64)))
    inputs = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    losses = -module(inputs, torch.from_numpy(y)).output
    total = losses.mean() if weights is None else (losses * torch.from_numpy(weights)).sum()
    of = [inputs, *parameters[:1], *module.tail.parameters(), *parameters[1:]]
    gradients = torch.autograd.grad(total, of, materialize_grads=True, allow_unused=True)
    return [losses.detach().numpy(), *[g.numpy() for g in gradients]]


def assert_near(found: Any, expected: Array, dtype: Any, terms: int) -> None:
    """Sums of products in float32 or float64; in 16 bits of factors that are rounded, too.

    A gradient's terms are no larger than a few times its largest element. In 16 bits projections
    and their gradients are rounded, which moves logits by some eps and every slope by as much.
    """
    narrow = np.dtype(dtype).itemsize == 2
    step = eps(dtype) * 8 if narrow else eps(dtype) * (8 + terms)
    largest = np.abs(expected).max(initial=0) + np.finfo(compute_dtype(dtype)).tiny
    tiny = 2.0**-24 if dtype == "float16" else 0  # what half precision ends at
    assert np.shape(found) == expected.shape
    np.testing.assert_allclose(
        np.asarray(found, np.float64), expected, rtol=step, atol=step * largest + tiny
    )


# ---- Numbers -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("workspace", [None, 1])
@each_case
def test_values_and_gradients_are_torch_s(case: Layers, dtype: str, workspace: int | None) -> None:
    module, (x, y) = case.module(), case.build()
    arguments, options = arguments_of(module, x, dtype)
    losses, *expected = truth(module, arguments, options["bias"], y)
    numbers = (0, 1, 2) if options["bias"] is None else (0, 1, 2, 4)
    value, (dx, dw, tails, *of_bias) = fl.value_and_grad(fl.adaptive_log_softmax_loss, numbers)(
        *arguments, y, workspace=workspace, **options
    )
    terms = case.features + case.positions
    for reduction, reduced in (("none", losses), ("sum", losses.sum())):
        found = fl.adaptive_log_softmax_loss(*arguments, y, reduction=reduction, **options)
        assert_near(found, np.asarray(reduced), dtype, terms)
    if not case.positions:
        assert np.isnan(value)
        assert not any(gradient.any() for gradient in (dx, dw, *tails))
        return
    assert_near(value, np.asarray(losses.mean()), dtype, terms)
    assert value == fl.adaptive_log_softmax_loss(*arguments, y, workspace=workspace, **options)
    for found, exact in zip((dx, dw, *tails, *of_bias), expected, strict=True):
        assert found.dtype == arguments[0].dtype
        assert_near(found, exact, dtype, terms)


@pytest.mark.parametrize("dtype", DTYPES)
@each_case
def test_gradients_of_each_position(case: Layers, dtype: str) -> None:
    """A factor for each loss, 0 among them; and the log-probabilities beside."""
    module, (x, y) = case.module(), case.build()
    arguments, options = arguments_of(module, x, dtype)
    factors = np.resize([0.5, 0.0, -2.0, 1.0], len(y))
    losses, *expected = truth(module, arguments, options["bias"], y, factors)
    (value, outputs), (dx, dw, tails) = ALL(
        *(*arguments, y),
        reduction="none",
        outputs=("log_prob",),
        grad_output=factors.astype("float32"),
        **options,
    )
    terms = case.features + case.positions
    assert_near(value, losses, dtype, terms)
    assert outputs["log_prob"].dtype == compute_dtype(dtype)
    np.testing.assert_array_equal(value, (-outputs["log_prob"]).astype(value.dtype))
    for found, exact in zip((dx, dw, *tails), expected, strict=False):
        assert_near(found, exact, dtype, terms)
    assert not dx[factors == 0].any()


def test_it_is_a_distribution() -> None:
    """Over all classes the probabilities sum to 1, to the roundings of 100 terms."""
    case = CASES[0]
    arguments, options = arguments_of(case.module(), case.build()[0][:1], "float64")
    losses = [
        fl.adaptive_log_softmax_loss(*arguments, np.array([y]), **options)
        for y in range(case.classes)
    ]
    np.testing.assert_allclose(np.exp(-np.array(losses)).sum(), 1, rtol=1e-13)


def test_derivatives_are_finite_differences() -> None:
    """Truncation leaves some 1e-9 of a step of 1e-5, and rounding 1e-11."""
    case = Layers(9, 6, 20, (4, 9), 2.0)
    x, y = case.build()
    (x, head, tails), _ = arguments_of(case.module(), x, "float64")
    _, (dx, dw, of_tails) = ALL(x, head, tails, y)
    rng = np.random.default_rng(0)
    for array, gradient in ((x, dx), (head, dw), *zip(tails, of_tails, strict=True)):
        direction = rng.normal(size=array.shape)
        sides = []
        for step in (1e-5, -2e-5):
            array += step * direction
            sides.append(fl.adaptive_log_softmax_loss(x, head, tails, y))
        array += 1e-5 * direction
        slope = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype: str, num_threads: int) -> None:
    case = Layers(530, 48, 900, (200, 500), 2.0)
    module, (x, y) = case.module(), case.build()
    arguments, options = arguments_of(module, x, dtype)
    one, many = (ALL(*arguments, y, num_threads=n, **options) for n in (1, num_threads))
    assert one[0] == many[0]
    for left, right in zip((*one[1][:2], *one[1][2]), (*many[1][:2], *many[1][2]), strict=True):
        assert_same_bits(left, right)


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_strides_and_places(dtype: str) -> None:
    case = CASES[0]
    module, (x, y) = case.module(), case.build()
    (x, head, tails), options = arguments_of(module, x, dtype)
    value, expected = ALL(x, head, tails, y, **options)
    out = (
        np.empty(x.shape[::-1], x.dtype).T,
        np.empty((len(head), 2 * case.features), x.dtype)[:, ::2],
        [np.empty(w.shape[::-1], w.dtype).T if i % 2 else None for i, w in enumerate(tails)],
    )
    turned = [np.ascontiguousarray(w.T).T for w in tails]
    backwards = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    again, found = ALL(backwards, head, turned, y, out=out, **options)
    assert again == value
    assert found[0] is out[0]
    assert found[1] is out[1]
    assert all(a is b for a, b in zip(found[2], out[2], strict=True) if b is not None)
    for left, right in zip((*found[:2], *found[2]), (*expected[:2], *expected[2]), strict=True):
        assert_same_bits(left, right)


def test_positions_of_several_dimensions() -> None:
    case = Layers(24, 8, 30, (5, 12), 2.0)
    module, (x, y) = case.module(), case.build()
    (x, head, tails), _ = arguments_of(module, x, "float32")
    expected = ALL(x, head, tails, y, reduction="none")
    value, gradients = ALL(x.reshape(2, 3, 4, 8), head, tails, y.reshape(2, 3, 4), reduction="none")
    np.testing.assert_array_equal(value, expected[0].reshape(2, 3, 4))
    assert_same_bits(gradients[0].reshape(24, 8), expected[1][0])
    (one, outputs), _ = ALL(x[0], head, tails, y[0], reduction="none", outputs=("log_prob",))
    assert one.shape == outputs["log_prob"].shape == ()
    np.testing.assert_allclose(one, expected[0][0], rtol=1e-6)


def test_one_gradient() -> None:
    case = CASES[0]
    module, (x, y) = case.module(), case.build()
    arguments, options = arguments_of(module, x, "float32")
    numbers = (0, 1, 2, 4)
    of_all = fl.value_and_grad(fl.adaptive_log_softmax_loss, numbers)(*arguments, y, **options)[1]
    for k, expected in zip(numbers, of_all, strict=True):
        found = fl.value_and_grad(fl.adaptive_log_softmax_loss, k)(*arguments, y, **options)[1]
        for left, right in zip(*([x] if k != 2 else x for x in (found, expected)), strict=True):
            assert_same_bits(left, right)


@pytest.mark.parametrize("dtype", [*np.typecodes["Integer"]])
def test_any_integer_targets(dtype: str) -> None:
    case = CASES[0]
    module, (x, y) = case.module(), case.build()
    arguments, options = arguments_of(module, x, "float32")
    expected = fl.adaptive_log_softmax_loss(*arguments, y, **options)
    assert fl.adaptive_log_softmax_loss(*arguments, y.astype(dtype), **options) == expected


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no high-water mark here")
@pytest.mark.parametrize("of_tail", [False, True])
def test_memory_is_bounded(run_python: Callable[..., str], of_tail: bool) -> None:
    """64 MiB beyond inputs and gradients, where logits are 480 MB; a cluster's rows are copied."""
    head, tail = ("weight", "[weight[:8], weight[:9, :8]]")
    target = "target"
    if of_tail:  # of projections of 16 features to 16, whose gradients are made anew
        head, tail = "weight[:5]", "[weight[:16], weight]"
        target = "(target + 4)"
    program = MEMORY.replace("linear_cross_entropy, argnums=(0, 1)", f"{LOSS}, argnums=(0,)")
    program = program.replace("out = np.zeros_like(x), np.zeros_like(weight)", "out = x.copy(),")
    program = program.replace("out=(out[0][:8], out[1])", "out=(out[0][:8],)")
    program = program.replace("weight, *others(8)", f"{head}, {tail}, {target}[:8]")
    program = program.replace("weight, *others(positions)", f"{head}, {tail}, {target}")
    assert float(run_python(program, "3000", "16", "40000", "float32")) < 66


LOSS = "adaptive_log_softmax_loss"


# ---- Errors ------------------------------------------------------------------------------------

X, H, Y = np.zeros((4, 3), "float32"), np.zeros((5, 3), "float32"), np.zeros(4, int)
P, W = np.zeros((2, 3), "float32"), np.zeros((7, 2), "float32")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, H[0], [P, W], Y), {}, ValueError, r"head_weight has shape \(3,\): expected 2"),
        ((X[:, :2], H, [P, W], Y), {}, ValueError, r"input has shape \(4, 2\): expected \(..., 3"),
        ((X, H, P, Y), {}, TypeError, "tail_weights is a ndarray: expected a list of arrays"),
        ((X, H, [], Y), {}, ValueError, "tail_weights holds 0 arrays: expected two for each"),
        ((X, H, [P, W, P], Y), {}, ValueError, "tail_weights holds 3 arrays"),
        ((X, H[:1], [P, W], Y), {}, ValueError, r"head_weight has shape \(1, 3\): expected more"),
        ((X, H, [P[:, :2], W], Y), {}, ValueError, r"tail_weights\[0\] has shape \(2, 2\): .* 3\)"),
        ((X, H, [P, W.T], Y), {}, ValueError, r"tail_weights\[1\] has shape \(2, 7\): .* 2\)"),
        ((X, H, [P, W[:0]], Y), {}, ValueError, r"tail_weights\[1\] has shape \(0, 2\)"),
        ((X, H, [P[0], W], Y), {}, ValueError, r"tail_weights\[0\] has shape \(3,\)"),
        (
            (X, H, [P, W.astype("float64")], Y),
            {},
            TypeError,
            r"tail_weights\[1\] has dtype float64",
        ),
        ((X, H, [P, W], Y), {"bias": np.zeros(4, "f")}, ValueError, r"bias has shape \(4,\)"),
        ((X, H, [P, W], Y), {"bias": np.zeros(5)}, TypeError, "bias has dtype float64"),
        ((X, H, [P, W], Y[:3]), {}, ValueError, r"target has shape \(3,\): expected \(4,\)"),
        ((X, H, [P, W], Y + 0.5), {}, TypeError, "target has dtype float64"),
        ((X, H, [P, W], Y + 11), {}, IndexError, r"target\[0\] is 11"),
        ((X, H, [P, W], Y - 1), {}, IndexError, r"target\[0\] is -1"),
        ((X, H, [P, W], Y), {"reduction": "most"}, ValueError, "reduction is 'most'"),
        (
            (X, H, [P, W], Y),
            {"outputs": ("lse",)},
            ValueError,
            "outputs holds 'lse': expected 'log",
        ),
        ((X, H, [P, W], Y), {"workspace": 0}, ValueError, "workspace is 0"),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fl.adaptive_log_softmax_loss(*arguments, **options)
    out = np.full_like(X, 7), np.full_like(H, 7), [np.full_like(P, 7), np.full_like(W, 7)]
    with pytest.raises(error):
        ALL(*arguments, out=out, **options)
    assert all((place == 7).all() for place in (*out[:2], *out[2]))


def test_bad_places() -> None:
    arguments = X, H, [P, W], Y
    by_tails = fl.value_and_grad(fl.adaptive_log_softmax_loss, 2)
    with pytest.raises(ValueError, match=r"out\[2\]\[1\] overlaps tail_weights\[1\]"):
        ALL(*arguments, out=(None, None, [None, W]))
    with pytest.raises(ValueError, match=r"out\[0\] holds 1: expected 2, as many as tail_weights"):
        by_tails(*arguments, out=[None])
    with pytest.raises(ValueError, match=r"out\[0\]\[0\] has shape \(7, 2\): expected \(2, 3\)"):
        by_tails(*arguments, out=[np.zeros_like(W), None])
    with pytest.raises(ValueError, match="bias is None: there is no gradient by it"):
        fl.value_and_grad(fl.adaptive_log_softmax_loss, 4)(*arguments)


# ---- The module --------------------------------------------------------------------------------


def both(case: Layers) -> tuple[Any, Any, Tensor, Tensor]:
    """This package's module and torch's, of the same weights; inputs and targets."""
    module, twin = case.module(front), case.module(nn)
    x, y = (torch.from_numpy(each) for each in case.build())
    return module, twin, x, y


@pytest.mark.parametrize("case", CASES[:-1], ids=str)
def test_the_module_is_torch_s(case: Layers) -> None:
    """Outputs, and gradients of both of them; float64, in sums of some hundred products."""
    module, twin, x, y = both(case)
    assert isinstance(module, nn.AdaptiveLogSoftmaxWithLoss)
    assert list(module.state_dict()) == list(twin.state_dict())
    for left, right in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(left, right)
    for total in (
        lambda o: o.loss,
        lambda o: 3 * o.loss + (o.output * torch.arange(len(y))).sum(),
        lambda o: o.output.square().sum(),
    ):
        made = []
        for each in (module, twin):
            inputs = x.clone().requires_grad_()
            output = each(inputs, y)
            value = total(output)
            of = [inputs, *each.parameters()]
            gradients = torch.autograd.grad(value, of, allow_unused=True, materialize_grads=True)
            made.append([output.output, output.loss, *gradients])
        torch.testing.assert_close(made[0], made[1], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(module.log_prob(x), twin.log_prob(x))
    assert torch.equal(module.predict(x), twin.predict(x))
    for each in (pickle.loads(pickle.dumps(module)), module):
        torch.testing.assert_close(each(x[0], y[0]), twin(x[0], y[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtypes_of_the_module(dtype: Any) -> None:
    module, twin, x, y = both(CASES[0])
    module, x = module.to(dtype), x.to(dtype)
    twin.load_state_dict(module.state_dict())
    output = module(x, y)
    assert output.output.dtype is output.loss.dtype is dtype
    assert module(x, y).output.grad_fn is not None
    # 16 bits: 8 or 11 digits of a loss of some 5; projections are rounded as well
    step = torch.finfo(dtype).eps * (16 if dtype is torch.float32 else 4)
    expected = twin(x.double(), y)
    for found, exact in zip(output, expected, strict=True):
        torch.testing.assert_close(found.double(), exact, rtol=step, atol=step)


def test_second_derivatives() -> None:
    case = Layers(5, 4, 12, (3, 7), 2.0, bias=True)
    module, _, x, y = both(case)
    tensors = (x.requires_grad_(), module.head.weight, module.head.bias, *module.tail.parameters())

    def loss(x: Tensor, head: Tensor, bias: Tensor, *tails: Tensor) -> Tensor:
        made: Tensor = F.adaptive_log_softmax_loss(x, head, tails, y, bias=bias)  # type: ignore[assignment]
        return made

    assert torch.autograd.gradcheck(loss, tensors)
    assert torch.autograd.gradgradcheck(loss, tensors)


def test_frozen_weights() -> None:
    """Nothing is computed by what needs no gradient; the others' are the same."""
    module, _, x, y = both(CASES[0])
    module(x, y).loss.backward()
    expected = module.tail[0][0].weight.grad.clone()
    module.zero_grad()
    module.requires_grad_(False)
    module.tail[0][0].weight.requires_grad_()
    module(x, y).loss.backward()
    torch.testing.assert_close(module.tail[0][0].weight.grad, expected, rtol=1e-13, atol=1e-16)
    assert module.head.weight.grad is None


def test_it_learns() -> None:
    """Steps of this module and of torch's lead to the same weights; float64."""
    module, twin, x, y = both(Layers(60, 8, 30, (5, 12), 2.0, bias=True))
    first = twin(x, y).loss.item()
    losses = []
    for each in (module, twin):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.5)
        for _ in range(30):
            optimizer.zero_grad()
            loss = each(x, y).loss
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] < 0.8 * first
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_a_compiled_module() -> None:
    module, twin, x, y = both(CASES[0])
    compiled = torch.compile(lambda x: module(x, y), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), twin(x, y), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(3, 8), torch.tensor([0, 30, 1])),
        (torch.zeros(3, 8), torch.tensor([0, -1, 1])),
        (torch.zeros(3, 8), torch.tensor([0, 1])),
        (torch.zeros(8), torch.tensor([0])),
        (torch.zeros(3, 8), torch.tensor(0)),
        (torch.zeros(2, 3, 8), torch.zeros(2, 3, dtype=torch.int64)),
    ],
    ids=str,
)
def test_errors_of_the_module_are_torch_s(arguments: Any) -> None:
    messages = []
    for of in (front, nn):
        module = of.AdaptiveLogSoftmaxWithLoss(8, 30, [5, 12])  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError) as error:
            module(*arguments)
        messages.append(str(error.value).strip())
    assert messages[0] == messages[1]


def test_errors_of_the_function() -> None:
    x, head, y = torch.zeros(4, 3), torch.zeros(5, 3), torch.zeros(4, dtype=torch.int64)
    tails = torch.zeros(2, 3), torch.zeros(7, 2)
    with pytest.raises(TypeError, match=r"tail_weights\[1\] is None"):
        F.adaptive_log_softmax_loss(x, head, (tails[0], None), y)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="tail_weights holds 1"):
        F.adaptive_log_softmax_loss(x, head, tails[:1], y)
    with pytest.raises(ValueError, match="outputs holds 'entropy'"):
        F.adaptive_log_softmax_loss(x, head, tails, y, outputs=("entropy",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="target has dtype"):
        F.adaptive_log_softmax_loss(x, head, tails, x[:, 0])
    with pytest.raises(ValueError, match="target has shape"):
        F.adaptive_log_softmax_loss(x, head, tails, y[:3])
    with pytest.raises(RuntimeError, match=r"in \[0, 10\], but values in range \[11, 11\]"):
        F.adaptive_log_softmax_loss(x, head, tails, y + 11)
