"""Linear layer and cross-entropy in torch: torch's numbers and errors, and no logits held."""

from __future__ import annotations

import inspect
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fusedloss as fl

ml_dtypes = pytest.importorskip("ml_dtypes")

from fusedloss.torch import _linear  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from fusedloss.torch.functional._types import Outputs  # noqa: E402
from torch_parts import (  # noqa: E402
    DTYPES,
    REDUCTIONS,
    by_kernel,
    outcome,
    same_numbers,
)

T = torch.nn.functional

#: The same examples in every run; a machine shared with others sets no deadline.
PROFILE = settings(derandomize=True, deadline=None, max_examples=150)


def normal(*shape: int, dtype: Any = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def labels(*shape: int, classes: int, seed: int = 1) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def as_array(tensor: Tensor) -> Any:
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


X, W, B, Y = normal(4, 5), normal(3, 5, seed=1), normal(3, seed=2), labels(4, classes=3)
V = torch.tensor([1.0, 0.5, 0.0, 2.0], dtype=torch.float64)
P = normal(4, 3, seed=3).softmax(1)
CLASS_WEIGHT = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


@st.composite
def calls(draw: st.DrawFn) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Any]]:
    """Input, weights and target, and options of torch."""
    seed, dtype = draw(st.integers(0, 2**32)), draw(st.sampled_from(DTYPES))
    n, d, c = draw(st.integers(0, 70)), draw(st.integers(1, 40)), draw(st.integers(1, 90))
    x = normal(n, d, dtype=dtype, seed=seed)
    weight = normal(c, d, dtype=dtype, seed=seed + 1) / d**0.5
    if draw(st.booleans()):
        weight = weight.t().contiguous().t()  # an embedding's transpose
    options: dict[str, Any] = {"reduction": draw(st.sampled_from(REDUCTIONS))}
    if draw(st.booleans()):
        options["linear_bias"] = normal(c, dtype=dtype, seed=seed + 2)
    if draw(st.booleans()):
        options["weight"] = normal(c, seed=seed + 3).sigmoid().to(dtype)
    if draw(st.booleans()):
        options["label_smoothing"] = draw(st.sampled_from([0.1, 1.0]))
    if draw(st.booleans()):
        return (x, weight, normal(n, c, seed=seed + 4).softmax(1).to(dtype)), options
    target = labels(n, classes=c, seed=seed + 4)
    if draw(st.booleans()):
        options["ignore_index"] = draw(st.sampled_from([-100, -1, 0, c - 1, c]))
        target = target.masked_fill(normal(n, seed=seed + 5) > 0.5, options["ignore_index"])
    if n == 1 and draw(st.booleans()):
        x, target = x[0], target[0]
    return (x, weight, target), options


# ---- Numbers -----------------------------------------------------------------------------------


@PROFILE
@given(calls())
def test_the_numbers_of_arrays(call: Any) -> None:
    """The bits that NumPy's function gives, in torch's dtypes and shapes."""
    (x, weight, target), options = call
    given_options = {k: as_array(v) if isinstance(v, Tensor) else v for k, v in options.items()}
    arrays = [as_array(each) for each in (x, weight, target)]
    expected, gradients = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))(
        *arrays, **given_options
    )
    leaves: Any = [each.requires_grad_() for each in (x, weight)]
    loss = F.linear_cross_entropy(leaves[0], leaves[1], target, **options)
    assert by_kernel(loss)
    value = T.linear_cross_entropy(x, weight, target, **options)
    assert (loss.dtype, loss.shape) == (value.dtype, value.shape)
    expected = torch.from_numpy(np.asarray(np.asarray(expected), "float64"))
    assert torch.equal(loss.detach().nan_to_num(), expected.to(loss.dtype).nan_to_num())
    loss.sum().backward()
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert leaf.grad.dtype is leaf.dtype
        assert leaf.grad.stride() == leaf.stride()
        np.testing.assert_array_equal(as_array(leaf.grad), gradient)


@PROFILE
@given(calls())
def test_the_numbers_of_torch(call: Any) -> None:
    """In float64, where both are off by some hundred roundings at most."""
    tensors, options = call
    results = []
    for f in (F, T):
        twins = [same_numbers(each) for each in tensors]
        leaves = [each.requires_grad_() for each in twins[:2]]
        extra = {k: same_numbers(v) for k, v in options.items()}
        if "linear_bias" in extra:
            leaves.append(extra["linear_bias"].requires_grad_())
        loss = f.linear_cross_entropy(*twins, **extra)
        assert by_kernel(loss) == (f is F)
        loss.backward(torch.linspace(0.5, 2, loss.numel(), dtype=loss.dtype).reshape(loss.shape))
        results.append((loss.detach(), *[leaf.grad for leaf in leaves]))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12, equal_nan=True)


#: Options that torch has not, of positions of any shape, with the same of `F.cross_entropy`.
MORE: tuple[dict[str, Any], ...] = (
    {"softcap": 2.0, "reduction": "sum"},
    {"z_loss": 0.1, "label_smoothing": 0.1},
    {"sample_weight": V, "weight": CLASS_WEIGHT},
    {"sample_weight": V, "softcap": 2.0, "z_loss": 0.1, "reduction": "none"},
)


@pytest.mark.parametrize("target", [Y, Y.index_fill(0, torch.tensor(1), -100), P])
@pytest.mark.parametrize("options", MORE, ids=lambda options: "-".join(options))
def test_own_options(options: dict[str, Any], target: Tensor) -> None:
    """By the kernels, and by the formula where a transform watches, on (4,) and (2, 2)."""
    names: Outputs = ("lse", "entropy", "accuracy")
    if not target.is_floating_point():
        names = (*names, "log_prob")
    x = X.clone().requires_grad_()
    z = x @ W.T + B
    expected, outputs = F.cross_entropy(z, target, outputs=names, **options)
    (gradient,) = torch.autograd.grad(expected.sum(), x)

    def loss(x: Tensor, shape: tuple[int, ...] = (4,), **more: Any) -> Any:
        weights = {"sample_weight": V.reshape(shape)} if "sample_weight" in options else {}
        x, y = x.reshape(*shape, 5), target.reshape(*shape, *target.shape[1:])
        return F.linear_cross_entropy(x, W, y, linear_bias=B, **{**options, **weights, **more})

    for shape in ((4,), (2, 2)):
        twin = X.clone().requires_grad_()
        value, made = loss(twin, shape, outputs=names)
        assert by_kernel(value)
        torch.testing.assert_close(value.flatten(), expected.flatten(), rtol=1e-13, atol=1e-13)
        for name in names:
            assert made[name].shape == shape
            torch.testing.assert_close(made[name].flatten(), outputs[name])
        value.sum().backward()
        torch.testing.assert_close(twin.grad, gradient, rtol=1e-12, atol=1e-13)
        by_formula = torch.func.grad(lambda x, shape=shape: loss(x, shape).sum())(X)
        torch.testing.assert_close(by_formula, gradient, rtol=1e-12, atol=1e-13)
        watched: list[Any] = []
        torch.func.grad(
            lambda x, s=shape, w=watched: w.append(loss(x, s, outputs=names)[1]) or x.sum()
        )(X)
        for name in names:
            torch.testing.assert_close(watched[0][name].flatten(), outputs[name])


@pytest.mark.parametrize("target", [Y, P])
def test_shift(target: Tensor) -> None:
    """Position i against the target at i + shift; the last inputs have no gradient."""
    x, twin = X.clone().requires_grad_(), X.clone().requires_grad_()
    loss = F.linear_cross_entropy(x, W, target, shift=1, sample_weight=V)
    expected = F.linear_cross_entropy(twin[:-1], W, target[1:], sample_weight=V[1:])
    assert by_kernel(loss)
    assert torch.equal(loss, expected)
    loss.backward()
    expected.backward()
    assert torch.equal(x.grad, twin.grad)
    assert not x.grad[-1:].any()


def test_workspace() -> None:
    """Less of it, the same numbers but for the order of sums."""
    x, weight, target = normal(70, 8), normal(3000, 8), labels(70, classes=3000)
    little = F.linear_cross_entropy(x, weight, target, workspace=1)
    torch.testing.assert_close(
        little, T.linear_cross_entropy(x, weight, target), rtol=1e-13, atol=0
    )


def test_filter_eps() -> None:
    """All of the gradient by the logits is smaller."""
    x = X.clone().requires_grad_()
    F.linear_cross_entropy(x, W, Y, filter_eps=2.0).backward()
    assert not x.grad.any()


# ---- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_errors_are_no_larger_than_those_of_torch(dtype: Any) -> None:
    """Of losses and gradients against float64, their largest and typical ones."""
    x, weight = normal(600, 512, dtype=dtype), normal(1500, 512, dtype=dtype, seed=1) / 8
    target = labels(600, classes=1500)

    def results(f: Any, dtype: Any) -> list[Tensor]:
        leaves = [each.to(dtype, copy=True).requires_grad_() for each in (x, weight)]
        losses = f.linear_cross_entropy(leaves[0], leaves[1], target, reduction="none")
        gradients = torch.autograd.grad(losses, leaves, torch.full_like(losses, 1 / 256))
        return [each.detach().double() for each in (losses, *gradients)]

    truth = results(T, torch.float64)
    for ours, theirs, exact in zip(results(F, dtype), results(T, dtype), truth, strict=True):
        mine, other = ((each - exact).abs() for each in (ours, theirs))
        # float32 is summed in other orders: the luckier of two equals is off by less
        chance = 1.25 if dtype is torch.float32 else 1.0
        assert mine.max() <= chance * other.max()
        assert mine.square().mean() <= chance * other.square().mean()


# ---- Precision ---------------------------------------------------------------------------------


@pytest.fixture
def matmul_precision() -> Iterator[Callable[[str], None]]:
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision_is_that_of_torchs_products(
    isa: str, precision: Any, matmul_precision: Callable[[str], None]
) -> None:
    x, weight = normal(65, 33, dtype=torch.float32), normal(97, 33, dtype=torch.float32, seed=1)
    target = labels(65, classes=97)
    matmul_precision(precision)
    loss = F.linear_cross_entropy(x, weight, target, reduction="none")
    expected = fl.linear_cross_entropy(
        as_array(x), as_array(weight), as_array(target), reduction="none", precision=precision
    )
    np.testing.assert_array_equal(loss, expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: Any, reduction: Any) -> None:
    """Products of 16-bit factors, losses and their sums float32: torch's dtypes, fewer errors."""
    leaves: Any = [
        normal(*shape, dtype=torch.float32, seed=k).requires_grad_()
        for k, shape in enumerate(((30, 8), (20, 8), (20,)))
    ]
    target, weight = labels(30, classes=20), normal(20, seed=4, dtype=torch.float32).sigmoid()
    results = []
    for f in (F, T):
        for leaf in leaves:
            leaf.grad = None
        with torch.autocast("cpu", dtype):
            loss = f.linear_cross_entropy(
                *leaves[:2], target, linear_bias=leaves[2], weight=weight, reduction=reduction
            )
        assert by_kernel(loss) == (f is F)
        loss.backward(torch.linspace(0.5, 2, loss.numel()).reshape(loss.shape))
        results.append((loss.detach(), *[leaf.grad for leaf in leaves]))
    # what a sum of some rounded terms may be off by
    torch.testing.assert_close(*results, rtol=4 * torch.finfo(dtype).eps, atol=0.02)
    rounded = [leaf.detach().to(dtype).double() for leaf in leaves]
    exact = T.linear_cross_entropy(
        *rounded[:2], target, linear_bias=rounded[2], weight=weight.double(), reduction=reduction
    )
    torch.testing.assert_close(results[0][0].double(), exact, rtol=1e-6, atol=1e-6)


def test_autocast_of_float64_is_left_to_torch() -> None:
    x = X.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.linear_cross_entropy(x, W, Y)
        assert torch.equal(loss, T.linear_cross_entropy(x, W, Y))
    assert not by_kernel(loss)


# ---- The graph ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("wanted", [*itertools.product([False, True], repeat=3)], ids=str)
def test_every_subset_of_inputs(wanted: tuple[bool, bool, bool], reduction: str) -> None:
    x, weight, bias = (
        each.clone().requires_grad_(want) for each, want in zip((X, W, B), wanted, strict=True)
    )

    def loss(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear_cross_entropy(x, weight, Y, linear_bias=bias, reduction=reduction)

    value = loss(x, weight, bias)
    assert by_kernel(value) == any(wanted)
    assert value.requires_grad == any(wanted)
    if any(wanted):
        assert torch.autograd.gradcheck(loss, (x, weight, bias))
        assert torch.autograd.gradgradcheck(loss, (x, weight, bias))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("scale", [1.0, 0.5, -3.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_graph_may_be_walked_again(dtype: Any, scale: float, reduction: str) -> None:
    """Equal gradients each time, none of them in the memory of another."""
    leaves = [each.to(dtype, copy=True).requires_grad_() for each in (X, W)]
    loss = F.linear_cross_entropy(leaves[0], leaves[1], Y, reduction=reduction)
    grad_output = torch.full_like(loss, scale)
    walks = []
    for _ in range(3):
        gradients = torch.autograd.grad(loss, leaves, grad_output, retain_graph=True)
        walks.append([gradient.clone() for gradient in gradients])
        for gradient in gradients:
            gradient.fill_(99)
    for again in walks[1:]:
        # scaled after sums of products of numbers up to 3 are rounded, or before
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(again, walks[0], rtol=2 * eps, atol=2 * eps)


@pytest.mark.parametrize(
    ("dtype", "scale", "passes"),
    [
        (torch.float32, 0.3, 1),
        (torch.bfloat16, 0.25, 1),
        (torch.bfloat16, 0.3, 2),  # or gradients would be rounded twice
        (torch.float16, 0.25, 2),  # or those too small for it would be lost
    ],
    ids=str,
)
def test_scaled_losses_are_computed_once(
    monkeypatch: pytest.MonkeyPatch, dtype: Any, scale: float, passes: int
) -> None:
    """Where scaled gradients are as exact."""
    runs = []
    kernel = _linear.linear_cross_entropy

    def counted(*call: Any) -> Any:
        runs.append(call)
        return kernel(*call)

    monkeypatch.setattr(_linear, "linear_cross_entropy", counted)
    x, twin = (X.to(dtype, copy=True).requires_grad_() for _ in range(2))
    weight = W.to(dtype)
    (F.linear_cross_entropy(x, weight, Y) * scale).backward()
    assert len(runs) == passes
    F.linear_cross_entropy(twin, weight, Y).backward(torch.tensor(scale, dtype=dtype))
    torch.testing.assert_close(x.grad, twin.grad, rtol=0, atol=0)


def test_options_of_torch_do_not_limit() -> None:
    """A second backward pass, second derivatives, smoothing: refused by its chunks."""
    options = torch.nn.LinearCrossEntropyOptions()
    x = X.clone().requires_grad_()
    loss = F.linear_cross_entropy(x, W, Y, label_smoothing=0.1, options=options)
    assert by_kernel(loss)
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    (second,) = torch.autograd.grad(loss, x, retain_graph=True)
    torch.testing.assert_close(first, second)
    assert torch.autograd.grad(first.square().sum(), x)[0].any()


# ---- Language models ---------------------------------------------------------------------------

HIDDEN, TOKENS = normal(2, 6, 5), labels(2, 6, classes=3)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_hidden_states_of_sequences(shift: int, reduction: str) -> None:
    """The bits of rows, and of NumPy; by the function and by the module."""
    from fusedloss.torch import LinearCrossEntropyLoss

    hidden, weight = HIDDEN.clone().requires_grad_(), W.clone().requires_grad_()
    loss = F.linear_cross_entropy(hidden, weight, TOKENS, shift=shift, reduction=reduction)
    assert by_kernel(loss)
    rows = HIDDEN[:, : 6 - shift].reshape(-1, 5), W, TOKENS[:, shift:].flatten()
    expected = F.linear_cross_entropy(*rows, reduction=reduction)
    assert torch.equal(loss.flatten(), expected.flatten())
    step = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))
    arrays = [as_array(x) for x in (HIDDEN, W, TOKENS)]
    value, gradients = step(*arrays, shift=shift, reduction=reduction)
    np.testing.assert_array_equal(loss.detach().numpy(), value)
    loss.sum().backward()
    for leaf, gradient in zip((hidden, weight), gradients, strict=True):
        assert leaf.grad is not None
        np.testing.assert_array_equal(leaf.grad.numpy(), gradient)
    module = LinearCrossEntropyLoss(5, 3, dtype=torch.float64, shift=shift, reduction=reduction)
    module.linear.weight.data.copy_(W)
    assert torch.equal(module(HIDDEN, TOKENS), loss.detach())


def test_hidden_states_of_sequences_under_transforms() -> None:
    """By the formula: batched, and differentiated twice."""

    def loss(x: Tensor) -> Tensor:
        return F.linear_cross_entropy(x, W, TOKENS)

    batch = torch.stack([HIDDEN, HIDDEN + 1])
    expected = torch.stack([loss(x) for x in batch])
    torch.testing.assert_close(torch.vmap(loss)(batch), expected, rtol=1e-14, atol=0)
    assert torch.autograd.gradgradcheck(loss, (HIDDEN.clone().requires_grad_(),))


def test_wrong_shapes_of_sequences() -> None:
    with pytest.raises(ValueError, match=r"target has shape \(2, 5\): expected \(2, 6\)"):
        F.linear_cross_entropy(HIDDEN, W, TOKENS[:, 1:])


def test_tied_weights() -> None:
    """The gradient of an embedding that is the head too has both parts."""
    embedding = W.clone().requires_grad_()
    twin = W.clone().requires_grad_()
    F.linear_cross_entropy(embedding[TOKENS].tanh(), embedding, TOKENS, shift=1).backward()
    logits = twin[TOKENS[:, :-1]].tanh() @ twin.T
    T.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten()).backward()
    assert embedding.grad is not None
    assert twin.grad is not None
    torch.testing.assert_close(embedding.grad, twin.grad, rtol=1e-13, atol=1e-15)


FROZEN = """
import sys
import fusedloss, torch
from fusedloss.cli._memory import peak_of
from fusedloss.torch import functional as F

hidden = torch.randn(4, 16, 256, requires_grad=True)
weight = torch.randn(65536, 256, requires_grad=sys.argv[1] == "learnt")
tokens = torch.randint(65536, (4, 16))

def step():
    F.linear_cross_entropy(hidden, weight, tokens, shift=1, workspace=1 << 20).backward()
    assert (weight.grad is None) == (sys.argv[1] == "frozen")
    hidden.grad = weight.grad = None
    fusedloss.empty_cache()

print(peak_of(step))
"""


@pytest.mark.long
def test_no_gradient_of_a_frozen_weight(run_python: Callable[..., str]) -> None:
    """Its 67 MB are not taken, and little else is beyond the workspace of 1 MiB."""
    assert int(run_python(FROZEN, "learnt")) >= 65536 * 256 * 4
    assert int(run_python(FROZEN, "frozen")) < 16e6


@pytest.mark.parametrize("merged", [True, False])
def test_low_rank_adapters_of_the_head(merged: bool) -> None:
    """Both ways that the guide has: logits of h (W + s B A)^T, W frozen."""
    a, b, s = normal(2, 5, seed=7).requires_grad_(), normal(3, 2, seed=8).requires_grad_(), 0.5
    h = HIDDEN.clone().requires_grad_()
    if merged:
        loss = F.linear_cross_entropy(h, W + s * b @ a, TOKENS)
    else:
        loss = F.linear_cross_entropy(torch.cat([h, s * h @ a.T], -1), torch.cat([W, b], 1), TOKENS)
    logits = h @ W.T + s * h @ a.T @ b.T
    expected = T.cross_entropy(logits.flatten(0, 1), TOKENS.flatten())
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)
    for x, y in zip(
        torch.autograd.grad(loss, (h, a, b)), torch.autograd.grad(expected, (h, a, b)), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


# ---- What is left to torch ---------------------------------------------------------------------

LEFT: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "classes of several positions": ((X, normal(3, 2, 5), labels(4, 2, classes=3)), {}),
    "three axes, and classes of several positions": ((X[None], normal(3, 2, 5), Y[None]), {}),
    "features": ((X[:, 1:], W, Y), {}),
    "one axis of weights": ((X, W[0], Y), {}),
    "bias": ((X, W, Y), {"linear_bias": B[1:]}),
    "batch": ((X, W, Y[1:]), {}),
    "class out of range": ((X, W, Y + 1), {}),
    "int32": ((X, W, Y.int()), {}),
    "uint8": ((X, W, Y.byte()), {}),
    "float labels": ((X, W, Y.double()), {}),
    "mixed dtypes": ((X, W.float(), Y), {}),
    "mixed bias": ((X, W, Y), {"linear_bias": B.float()}),
    "mixed probabilities": ((X.float(), W.float(), P), {}),
    "integers": ((X.long(), W.long(), Y), {}),
    "ignored probabilities": ((X, W, P), {"ignore_index": -100}),
    "reduction": ((X, W, Y), {"reduction": "most"}),
    "smoothing": ((X, W, Y), {"label_smoothing": 1.5}),
    "no smoothing": ((X, W, Y), {"label_smoothing": -0.5}),
    "ignore_index": ((X, W, Y), {"ignore_index": 1.5}),
    "large ignore_index": ((X, W, Y), {"ignore_index": 1 << 70}),
    "class weight": ((X, W, Y), {"weight": CLASS_WEIGHT[1:]}),
    "weight of another dtype": ((X, W, Y), {"weight": CLASS_WEIGHT.float()}),
    "no classes": ((X, W[:0], Y), {}),
    "no features": ((X[:, :0], W[:, :0], Y), {}),
    "an array": ((X.numpy(), W, Y), {}),
    "a sparse input": ((X.to_sparse(), W, Y), {}),
    "another device": ((X.to("meta"), W.to("meta"), Y.to("meta")), {}),
}


@pytest.mark.parametrize(("arguments", "options"), LEFT.values(), ids=LEFT)
def test_left_to_torch(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Result, error and warnings are torch's."""
    ours = outcome(F.linear_cross_entropy, *arguments, **options)
    theirs = outcome(T.linear_cross_entropy, *arguments, **options)
    if isinstance(theirs[0], Tensor) and theirs[0].device.type == "cpu":
        assert torch.equal(ours[0], theirs[0])
    elif isinstance(theirs[0], Tensor):
        assert ours[0].shape == theirs[0].shape
    else:
        assert ours == theirs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": -1}, "shift is -1"),
        ({"shift": 5}, "shift is 5: expected at most 4"),
        ({"softcap": 0.0}, "softcap is 0.0"),
        ({"z_loss": 0.1, "reduction": "most"}, "reduction is 'most'"),
        ({"workspace": 0}, "workspace is 0"),
        ({"filter_eps": -1.0}, "filter_eps is -1.0"),
        ({"outputs": ("p",)}, "outputs holds 'p'"),
        ({"sample_weight": V[1:]}, "sample_weight has shape"),
        ({"target": Y[1:], "shift": 1}, r"target has shape \(3,\): expected \(4,\)"),
        ({"sample_weight": V[1:], "shift": 1}, r"sample_weight has shape \(3,\): expected \(4,\)"),
        ({"target": Y[1:], "softcap": 1.0}, "target has shape"),
        ({"target": P, "softcap": 1.0, "ignore_index": 1}, "ignore_index is given"),
    ],
)
def test_errors_of_own_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F.linear_cross_entropy(X, W, **{"target": Y, **options})


def test_signature_begins_with_that_of_torch() -> None:
    ours, theirs = (
        [(p.name, p.default, p.kind) for p in inspect.signature(f).parameters.values()]
        for f in (F.linear_cross_entropy, T.linear_cross_entropy)
    )
    assert ours[: len(theirs)] == theirs


# ---- Modules -----------------------------------------------------------------------------------


def test_module() -> None:
    """torch's parameters and results, also of several positions' classes."""
    from fusedloss.torch import LinearCrossEntropyLoss

    for of_each, target in (((), Y), ((2,), labels(4, 2, classes=3))):
        torch.manual_seed(0)
        options: dict[str, Any] = {"out_features": of_each, "bias": True, "weight": CLASS_WEIGHT}
        ours = LinearCrossEntropyLoss(5, 3, dtype=torch.float64, **options)
        theirs = torch.nn.LinearCrossEntropyLoss(5, 3, dtype=torch.float64, **options)
        theirs.load_state_dict(ours.state_dict())
        losses = [module(X, target) for module in (ours, theirs)]
        assert by_kernel(losses[0]) == (of_each == ())
        torch.testing.assert_close(*losses, rtol=1e-14, atol=0)
        for loss in losses:
            loss.backward()
        for parameter, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, twin.grad, rtol=1e-13, atol=1e-15)


def test_options_of_the_module() -> None:
    from fusedloss.torch import LinearCrossEntropyLoss

    options: dict[str, Any] = {
        "label_smoothing": 0.1,
        "softcap": 2.0,
        "z_loss": 0.1,
        "shift": 1,
        "filter_eps": 1e-3,
        "outputs": ("lse",),
        "workspace": 1 << 20,
    }
    module = LinearCrossEntropyLoss(5, 3, dtype=torch.float64, **options)
    expected = F.linear_cross_entropy(X, module.linear.weight, Y, sample_weight=V, **options)
    torch.testing.assert_close(module(X, Y, V), expected, rtol=0, atol=0)


# ---- Memory ------------------------------------------------------------------------------------

PEAKS = """
import ctypes, gc, json, sys
import torch
from fusedloss.torch import functional as F

rows, features, classes = 2048, 64, 32768
dtype = getattr(torch, sys.argv[1])
x = torch.randn(rows, features).to(dtype).requires_grad_()
weight = torch.randn(classes, features).to(dtype).requires_grad_()
target = torch.randint(classes, (rows,))

def forward():
    with torch.no_grad():
        F.linear_cross_entropy(x, weight, target)

def mean():
    F.linear_cross_entropy(x, weight, target).backward()

def scaled():
    (F.linear_cross_entropy(x, weight, target, softcap=30.0) * 0.3).backward()

def none():
    F.linear_cross_entropy(x, weight, target, reduction="none").sum().backward()

def autocast():
    with torch.autocast("cpu"):
        loss = F.linear_cross_entropy(x, weight, target)
    loss.backward()

def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024

def peak(call):
    call()
    x.grad = weight.grad = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    call()
    return (status("VmHWM") - before) / 2**20

calls = forward, mean, scaled, none, autocast
print(json.dumps({call.__name__: peak(call) for call in calls}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_never_held(dtype: str, run_python: Callable[..., str]) -> None:
    """Peak memory, where logits take 256 or 128 MiB and gradients 8.5 or 4.25.

    64 MiB of workspace, and a little for the allocator; under autocast of float32 twice the
    gradients more, inputs and gradients of 16 bits.
    """
    peaks = json.loads(run_python(PEAKS, dtype))
    gradients = 8.5 if dtype == "float32" else 4.25
    assert peaks.pop("forward") < 64 + 2
    assert peaks.pop("autocast") < 64 + 2 * gradients + 2
    assert all(peak < 64 + gradients + 2 for peak in peaks.values()), peaks


def test_ignored_rows_hold_nan_by_formula() -> None:
    """In the gradient of the weight, too, which is a product with all inputs."""
    results = []
    for create_graph in (False, True):
        x, w = X.clone(), W.clone().requires_grad_()
        x[1] = torch.nan
        x.requires_grad_()
        target = Y.clone()
        target[1] = -100
        loss = F.linear_cross_entropy(x, w, target, z_loss=0.1)
        results.append(torch.autograd.grad(loss, (x, w), create_graph=create_graph))
    for first, second in zip(*results, strict=True):
        assert bool(first.isfinite().all())
        torch.testing.assert_close(second, first)
