"""The manifold loss: against the peer, its own formulas, and in every front."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses

import fusedloss as fl
import fusedloss.torch as front
import fusedloss.torch.functional as F
from parts import Array
from torch_parts import by_kernel

#: Embeddings, proxies, features, and options.
CASES: list[tuple[int, int, int, dict[str, Any]]] = [
    (20, 5, 8, {}),
    (7, 7, 3, {"lambdaC": 0.3, "alpha": 0.5}),
    (30, 4, 6, {"lambdaC": 2.0, "alpha": 0.99, "margin": 0.01}),
    (12, 3, 4, {"lambdaC": 0.0, "margin": 0.3}),
    (9, 2, 5, {"alpha": 0.0, "margin": 0.1}),
    (5, 1, 4, {}),
    (2, 3, 2, {"margin": -0.01}),
]


def arrays(n: int, k: int, d: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(n)
    x, w = rng.standard_normal((n, d)), rng.standard_normal((k, d))
    return x, w, rng.integers(0, k, n)


def peer(d: int, k: int, w: Array, options: dict[str, Any]) -> Any:
    theirs = losses.ManifoldLoss(l=d, K=k, **options).double()
    with torch.no_grad():
        theirs.proxies.copy_(torch.from_numpy(w))
    return theirs


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer inverts in float32, unless `float` does nothing."""
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize(("n", "k", "d", "options"), CASES)
def test_value_and_gradients_are_the_peers(n: int, k: int, d: int, options: dict[str, Any]) -> None:
    x, w, y = arrays(n, k, d)
    theirs, leaf = peer(d, k, w, options), torch.tensor(x, requires_grad=True)
    expected = theirs(leaf, indices_tuple=torch.from_numpy(y)).squeeze()
    made = [np.zeros_like(x), np.zeros_like(w)]
    if expected.requires_grad:
        found = torch.autograd.grad(expected, [leaf, theirs.proxies], allow_unused=True)
        made = [g.numpy() if g is not None else 0 for g in found]
    function = fl.value_and_grad(fl.manifold_loss, (0, 1))
    for dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16):
        value, gradients = function(x.astype(dtype), w.astype(dtype), y, **options)
        # computed in float64; inputs of 16 bits are others, whose hinges may be open or not
        rounding = float(ml_dtypes.finfo(dtype).eps)
        if rounding > 1e-4:
            assert np.isfinite(value)
            continue
        np.testing.assert_allclose(value, expected.item(), rtol=100 * rounding)
        for gradient, by_theirs in zip(gradients, made, strict=True):
            assert gradient.dtype == dtype
            size = max(np.abs(by_theirs).max(), 1e-6)
            np.testing.assert_allclose(gradient / size, by_theirs / size, atol=1000 * rounding)


def test_16_bits_are_computed_as_their_float64() -> None:
    x, w, y = arrays(20, 5, 8)
    function = fl.value_and_grad(fl.manifold_loss, (0, 1))
    for dtype in (np.float16, ml_dtypes.bfloat16):
        low = x.astype(dtype), w.astype(dtype)
        value, gradients = function(*low, y)
        exact, by_exact = function(*[a.astype(np.float64) for a in low], y)
        assert value == exact
        for ours, wide in zip(gradients, by_exact, strict=True):
            assert ours.dtype == dtype
            np.testing.assert_array_equal(ours, wide.astype(dtype))


def test_reductions() -> None:
    x, w, y = arrays(20, 5, 8)
    each = fl.manifold_loss(x, w, y, reduction="none")
    assert each.shape == (20,)
    np.testing.assert_allclose(each.mean(), fl.manifold_loss(x, w, y), rtol=1e-14)
    np.testing.assert_allclose(each.sum(), fl.manifold_loss(x, w, y, reduction="sum"), rtol=1e-14)
    factors, out = np.linspace(-1, 2, 20), np.empty_like(x)
    function = fl.value_and_grad(fl.manifold_loss)
    _, gradient = function(x, w, y, reduction="none", grad_output=factors, out=out)
    assert gradient is out
    h = 1e-6 * np.random.default_rng(0).standard_normal(x.shape)
    around = [factors @ fl.manifold_loss(x + s * h, w, y, reduction="none") for s in (1, -1)]
    np.testing.assert_allclose((gradient * h).sum(), (around[0] - around[1]) / 2, rtol=1e-5)


def test_without_the_intrinsic_loss() -> None:
    """As lambdaC grows the context loss is what is left."""
    x, w, y = arrays(20, 5, 8)
    context = fl.manifold_loss(x, w, y, lambdaC=np.inf)
    intrinsic = fl.manifold_loss(x, w, y, lambdaC=0)
    np.testing.assert_allclose(fl.manifold_loss(x, w, y, lambdaC=3), intrinsic + 3 * context)


def test_lengths_do_not_count() -> None:
    x, w, y = arrays(20, 5, 8)
    function = fl.value_and_grad(fl.manifold_loss, (0, 1))
    value, (by_x, by_w) = function(x, w, y)
    again, (by_longer, _) = function(1e20 * x, 1e-5 * w, y)
    np.testing.assert_allclose(again, value, rtol=1e-13)
    np.testing.assert_allclose(1e20 * by_longer, by_x, atol=1e-12)
    np.testing.assert_allclose((by_w * w).sum(1), 0, atol=1e-15)


def test_zeros_nan_and_nothing() -> None:
    x, w, y = arrays(20, 5, 8)
    function = fl.value_and_grad(fl.manifold_loss, (0, 1))
    x[3] = 0
    value, (by_x, by_w) = function(x, w, y)
    assert np.isfinite(value) & np.isfinite(by_x).all() & np.isfinite(by_w).all()
    assert not by_x[3].any()
    x[3, 2] = np.nan
    value, gradients = function(x, w, y)
    assert np.isnan(value) & all(np.isnan(g).any() for g in gradients)
    value, gradients = function(x[:0], w, y[:0])
    assert value == 0
    assert [g.shape for g in gradients] == [(0, 8), (5, 8)]
    assert not gradients[1].any()
    value, gradients = function(x[:0], w[:1], y[:0])  # a proxy alone
    assert value == 0
    assert not gradients[1].any()


@pytest.mark.parametrize("margin", [1e3, 1e100])
def test_margins_beyond_exponentials(margin: float) -> None:
    """The loss grows by what the margin does, with the same gradients; JAX has them in float32."""
    x, w, y = arrays(20, 5, 8)
    function = fl.value_and_grad(fl.manifold_loss, (0, 1))
    usual, expected = function(x, w, y, margin=100)  # where every other proxy counts, too
    value, gradients = function(x, w, y, margin=margin)
    np.testing.assert_allclose(value, usual + 2 * (margin - 100), rtol=1e-14)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w)]
    of_torch = F.manifold_loss(leaves[0], leaves[1], torch.from_numpy(y), margin=margin)
    by_formula = torch.autograd.grad(of_torch, leaves, create_graph=True)
    # Cosines are added to the margin, and lose digits of its size; 1e100 leaves none of them.
    for made in (gradients, [g.detach().numpy() for g in by_formula]):
        for ours, truth in zip(made, expected, strict=True):
            assert np.isfinite(ours).all()
            if margin < 1e10:
                np.testing.assert_allclose(ours, truth, atol=1e-9)
    jax, fj = (pytest.importorskip(name) for name in ("jax", "fusedloss.jax"))
    low = [a.astype(np.float32) for a in (x, w)]
    for of in (jax.grad, jax.hessian):  # by what NumPy has, and by the formula
        made = of(lambda x, w: fj.manifold_loss(x, w, y, margin=1e3), (0, 1))(*low)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(made))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"alpha": 1.0}, ValueError, "alpha is 1.0: expected a number of at least 0 and less than"),
        ({"lambdaC": -1.0}, ValueError, "lambdaC is -1.0: expected a number of at least 0, or inf"),
        ({"lambdaC": np.nan}, ValueError, "lambdaC is nan"),
        ({"margin": np.inf}, ValueError, "margin is inf: expected a finite number"),
        ({"target": np.array([0, 5, 1])}, IndexError, r"target\[1\] is 5"),
        ({"reduction": "mean_nonzero"}, ValueError, "reduction is 'mean_nonzero'"),
        ({"num_threads": 0}, ValueError, "num_threads is 0"),
    ],
)
def test_errors(change: dict[str, Any], error: type[Exception], text: str) -> None:
    x, w, _ = arrays(3, 4, 2)
    with pytest.raises(error, match=text):
        fl.manifold_loss(**{"embeddings": x, "weight": w, "target": np.arange(3), **change})


# ---- torch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("lambdaC", [0.7, np.inf])
def test_formula_is_the_arrays(lambdaC: float, reduction: Any) -> None:
    x, w, y = map(torch.from_numpy, arrays(11, 4, 6))
    call = lambda x, w: F.manifold_loss(  # noqa: E731
        x, w, y, lambdaC=lambdaC, margin=0.05, reduction=reduction
    )
    leaves = [a.clone().requires_grad_() for a in (x, w)]
    value = call(*leaves)
    assert by_kernel(value)
    by_formula, pullback = torch.func.vjp(call, x, w)
    torch.testing.assert_close(value.detach(), by_formula)
    factors = torch.linspace(-1, 2, value.numel(), dtype=torch.float64).reshape(value.shape)
    for ours, theirs in zip(
        torch.autograd.grad(value, leaves, factors), pullback(factors), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_second_derivatives() -> None:
    x, w, y = map(torch.from_numpy, arrays(5, 3, 4))
    leaves = x.requires_grad_(), w.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, w: F.manifold_loss(x, w, y, margin=0.3), leaves)


@pytest.mark.usefixtures("exactly")
def test_module_draws_as_the_peer() -> None:
    x, w, y = arrays(11, 4, 6)
    theirs, ours = peer(6, 4, w, {}), front.ManifoldLoss(6, 4, dtype=torch.float64)
    assert theirs.proxies.shape == ours.weight.shape
    with torch.no_grad():
        ours.weight.copy_(theirs.proxies)
    values = []
    for module in (theirs, ours):
        torch.manual_seed(5)
        values.append(module(torch.from_numpy(x)).item())
    assert values[1] == pytest.approx(values[0], rel=1e-12)
    target = torch.from_numpy(y)
    given = theirs(torch.from_numpy(x), indices_tuple=target).item()
    assert ours(torch.from_numpy(x), target).item() == pytest.approx(given, rel=1e-12)
    with pytest.raises(ValueError, match="embeddings has 3 rows: expected at least 4, one per"):
        ours(torch.from_numpy(x[:3]))
