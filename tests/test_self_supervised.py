"""Losses of two views: the authors' formulas, pytorch-metric-learning, and what is at the edges."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as peers
from torch import Tensor

import fusedloss as fl
from checks import DTYPES
from fusedloss._lower.loss import lookup
from fusedloss._lower.pairs import PairCall
from fusedloss.torch import BarlowTwinsLoss, VICRegLoss
from fusedloss.torch import functional as F
from parts import Array

jax = pytest.importorskip("jax")

import fusedloss.jax as fj  # noqa: E402


def vicreg(x: Tensor, y: Tensor, **options: float) -> Tensor:
    loss: Tensor = peers.VICRegLoss(**options)(x, ref_emb=y)
    return loss


def barlow_twins(x: Tensor, y: Tensor, lambd: float = 0.0051, eps: float = 1e-5) -> Tensor:
    """The authors' code: main.py of facebookresearch/barlowtwins, of one process."""

    def off_diagonal(x: Tensor) -> Tensor:
        n = len(x)
        return x.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()

    bn = torch.nn.BatchNorm1d(x.shape[1], affine=False, eps=eps, dtype=x.dtype)
    c = bn(x).T @ bn(y) / len(x)
    on_diag = torch.diagonal(c).add(-1).pow(2).sum()
    return on_diag + lambd * off_diagonal(c).pow(2).sum()


#: Who defines it, and options.
LOSSES: dict[str, tuple[Callable[..., Tensor], tuple[dict[str, float], ...]]] = {
    "vicreg_loss": (
        vicreg,
        (
            {},
            {"invariance_lambda": 3.0, "variance_mu": 40.0, "covariance_v": 0.5, "eps": 0.1},
            {"covariance_v": 0.0},
            {"invariance_lambda": 0.0, "variance_mu": 0.0},
        ),
    ),
    "barlow_twins_loss": (barlow_twins, ({}, {"lambd": 0.3, "eps": 0.2}, {"lambd": 0.0})),
}

CASES = [(name, options) for name, (_, several) in LOSSES.items() for options in several]

#: Of sums of some hundred rounded terms, against float64 of the same numbers: of float32, and of a
#: gradient that is rounded to 16 bits.
NEAR = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-3, "bfloat16": 1.6e-2}

every_loss = pytest.mark.parametrize("name", LOSSES)


def views(dtype: str = "float64", shape: tuple[int, int] = (37, 21)) -> tuple[Array, Array]:
    """Two views whose features have deviations and covariances from small to large."""
    rng = np.random.default_rng(shape)
    x = rng.normal(size=shape) * np.linspace(0.2, 2, shape[1]) + rng.normal(size=shape[1])
    x += 0.5 * x[:, ::-1]
    y = x + 0.3 * rng.normal(size=shape)
    return x.astype(dtype), y.astype(dtype)


def exact(name: str, x: Array, y: Array, options: dict[str, float]) -> tuple[float, list[Array]]:
    """Value and gradients in float64 of the numbers that there are."""
    leaves = [torch.tensor(v.astype("float64"), requires_grad=True) for v in (x, y)]
    value = LOSSES[name][0](*leaves, **options)
    return value.item(), [g.numpy() for g in torch.autograd.grad(value, leaves)]


def assert_near(found: Array, expected: Array, dtype: str) -> None:
    bound = NEAR[dtype] * np.abs(expected).max(initial=0)
    np.testing.assert_allclose(found.astype("float64"), expected, rtol=NEAR[dtype], atol=bound)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("shape", [(4, 1), (5, 9), (37, 21), (130, 300)])
def test_value_and_gradients(
    name: str, options: dict[str, float], dtype: str, shape: tuple[int, int]
) -> None:
    x, y = views(dtype, shape)
    value, gradients = exact(name, x, y, options)
    loss = getattr(fl, name)
    found, slopes = fl.value_and_grad(loss, (0, 1))(x, y, **options)
    assert found == loss(x, y, **options)
    # Of 16 bits the value is a float32's.
    assert found == pytest.approx(value, rel=NEAR["float64" if dtype == "float64" else "float32"])
    for slope, gradient in zip(slopes, gradients, strict=True):
        assert slope.dtype == x.dtype
        assert_near(slope, gradient, dtype)


@every_loss
def test_two_rows(name: str) -> None:
    """The fewest that have a variance; correlations are all 1 but for eps, and gradients small."""
    x, y = views(shape=(2, 5))
    value, gradients = exact(name, x, y, {})
    found, slopes = fl.value_and_grad(getattr(fl, name), (0, 1))(x, y)
    assert found == pytest.approx(value, rel=1e-12)
    for slope, gradient in zip(slopes, gradients, strict=True):
        np.testing.assert_allclose(slope, gradient, rtol=1e-8, atol=1e-12)


@every_loss
def test_gradients_are_differences_of_values(name: str) -> None:
    x, y = views(shape=(9, 4))
    loss = getattr(fl, name)
    gradients = fl.value_and_grad(loss, (0, 1))(x, y)[1]
    for k, gradient in enumerate(gradients):
        for at in np.ndindex(x.shape):
            given = [x.copy(), y.copy()]
            h = 1e-5
            given[k][at] += h
            above = loss(*given)
            given[k][at] -= 2 * h
            slope = (above - loss(*given)) / (2 * h)
            assert slope == pytest.approx(gradient[at], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("workspace", [0, 2 * 300 * 300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_loss
def test_bits_do_not_depend_on_threads(
    name: str, dtype: str, workspace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the value on what is wanted with it; less workspace holds fewer products."""
    monkeypatch.setattr(PairCall, "workspace", workspace)
    x, y = views(dtype, (130, 300))
    function = fl.value_and_grad(getattr(fl, name), (0, 1))
    found = {
        (value, *(slope.tobytes() for slope in slopes))
        for n in (1, 2, 3, 7)
        for value, slopes in [function(x, y, num_threads=n)]
    }
    assert len(found) == 1
    value, gradients = exact(name, x, y, {})
    assert next(iter(found))[0] == pytest.approx(value, rel=NEAR[dtype])
    for k in range(2):
        alone = fl.value_and_grad(getattr(fl, name), k)(x, y)[1]
        assert_near(alone, gradients[k], dtype)


@every_loss
def test_layouts_outputs_and_factors(name: str) -> None:
    """Any strides, a gradient over its own argument, and grad_output."""
    x, y = views("float32")
    function = fl.value_and_grad(getattr(fl, name), (0, 1))
    value, slopes = function(x, y)
    strided = np.repeat(x, 2, axis=1)[:, ::2]
    for a, b in ((np.asfortranarray(x), y[::-1].copy()[::-1]), (strided, y)):
        again, others = function(a, b)
        assert again == value
        for slope, other in zip(slopes, others, strict=True):
            np.testing.assert_array_equal(other, slope)
    places = (x.copy(), np.empty_like(np.asfortranarray(y)))
    again, others = function(places[0], y, out=places, grad_output=2.0)
    assert again == value
    for place, other, slope in zip(places, others, slopes, strict=True):
        assert other is place
        np.testing.assert_array_equal(other, 2 * slope)


@every_loss
def test_the_same_array_twice(name: str) -> None:
    """As one view, whose gradient is the sum of both."""
    x, _ = views()
    leaf = torch.tensor(x, requires_grad=True)
    expected = LOSSES[name][0](leaf, leaf)
    (gradient,) = torch.autograd.grad(expected, leaf)
    value, slopes = fl.value_and_grad(getattr(fl, name), (0, 1))(x, x)
    assert value == pytest.approx(expected.item(), rel=1e-10)
    np.testing.assert_allclose(sum(slopes), gradient, rtol=1e-8, atol=1e-12)


@every_loss
def test_features_that_are_constant(name: str) -> None:
    """With eps as in the formula; without, as little as can be: no correlation, no derivative."""
    x, y = views(shape=(8, 3))
    x[:, 1] = y[:, 2] = 4.0
    value, gradients = exact(name, x, y, {})
    found, slopes = fl.value_and_grad(getattr(fl, name), (0, 1))(x, y)
    assert found == pytest.approx(value, rel=1e-12)
    for slope, gradient in zip(slopes, gradients, strict=True):
        np.testing.assert_allclose(slope, gradient, rtol=1e-9, atol=1e-9)
    found, slopes = fl.value_and_grad(getattr(fl, name), (0, 1))(x, y, eps=0.0)
    assert np.isfinite(found)
    assert all(np.isfinite(slope).all() for slope in slopes)
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, y)]
    formula = getattr(F, name)(*leaves, eps=0.0)
    assert formula.item() == found
    by_formula = torch.autograd.grad(formula, leaves, create_graph=True)
    for slope, gradient in zip(slopes, by_formula, strict=True):
        np.testing.assert_allclose(slope, gradient.detach(), rtol=1e-9, atol=1e-12)


def test_deviations_of_1_have_no_derivative() -> None:
    """And none beyond: the variance term is 0 there."""
    x = np.array([[1.0, 3.0], [-1.0, -3.0], [1.0, 3.0], [-1.0, -3.0], [0.0, 0.0]])
    options = {"invariance_lambda": 0.0, "covariance_v": 0.0, "eps": 0.0}
    assert x.var(0, ddof=1)[0] == 1
    value, gradient = fl.value_and_grad(fl.vicreg_loss)(x, x, **options)
    assert value == 0
    assert not gradient.any()


@every_loss
def test_numbers_that_are_not_finite(name: str) -> None:
    x, y = views("float32")
    for bad in (np.nan, np.inf):
        spoiled = x.copy()
        spoiled[3, 4] = bad
        value, gradient = fl.value_and_grad(getattr(fl, name))(spoiled, y)
        assert np.isnan(value) or np.isinf(value)
        assert np.isnan(gradient[:, 4]).any()


@every_loss
def test_errors_name_the_argument(name: str) -> None:
    loss, x = getattr(fl, name), np.ones((4, 3))
    out = np.full_like(x, 7)
    for given, error, message in (
        ((x[0], x), ValueError, r"embeddings has shape \(3,\): expected \(N, D\)"),
        ((x, x[0]), ValueError, r"ref_embeddings has shape \(3,\): expected \(N, D\)"),
        ((x, x[:, :2]), ValueError, r"ref_embeddings has shape \(4, 2\): expected \(M, 3\)"),
        ((x, x[:3]), ValueError, "ref_embeddings has 3 rows: expected 4, as many as embeddings"),
        ((x[:1], x[:1]), ValueError, "embeddings has 1 rows: expected at least 2"),
        ((x[:0], x[:0]), ValueError, "embeddings has 0 rows: expected at least 2"),
        ((x, x.astype("f4")), TypeError, "ref_embeddings has dtype float32: expected float64"),
        ((x.astype(int), x.astype(int)), TypeError, "embeddings has dtype int64"),
    ):
        with pytest.raises(error, match=message):
            loss(*given)
    for option in set(lookup(loss).parameters[2:]) - {"num_threads"}:
        with pytest.raises(ValueError, match=f"{option} is -1.0: expected a number of at least 0"):
            fl.value_and_grad(loss)(x, x, **{option: -1.0}, out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match=r"grad_output has shape \(4,\): expected a scalar"):
        fl.value_and_grad(loss)(x, x, grad_output=np.ones(4))


# ---- In torch ---------------------------------------------------------------------------------


def tensors(dtype: str) -> list[Tensor]:
    arrays = views(dtype)
    if dtype == "bfloat16":
        return [torch.from_numpy(x.astype("float32")).bfloat16() for x in arrays]
    return [torch.from_numpy(x) for x in arrays]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_torch(name: str, options: dict[str, float], dtype: str) -> None:
    """The numbers of arrays, once rounded; the formula's are near."""
    x, y = (v.requires_grad_() for v in tensors(dtype))
    arrays = views(dtype)
    value, gradients = fl.value_and_grad(getattr(fl, name), (0, 1))(*arrays, **options)
    loss = getattr(F, name)(x, y, **options)
    assert loss.dtype is x.dtype
    assert loss.item() == float(np.asarray(value).astype(dtype))
    found = torch.autograd.grad(loss, (x, y))
    for slope, gradient in zip(found, gradients, strict=True):
        np.testing.assert_array_equal(slope.float().numpy(), gradient.astype("float32"))
    if dtype in ("float32", "float64"):
        again = getattr(F, name)(x, y, **options)
        by_formula = torch.autograd.grad(again, (x, y), create_graph=True)
        for slope, gradient in zip(by_formula, gradients, strict=True):
            assert_near(slope.detach().numpy(), gradient.astype("float64"), dtype)


@every_loss
def test_second_derivatives(name: str) -> None:
    x, y = (torch.tensor(v, requires_grad=True) for v in views(shape=(6, 3)))
    assert torch.autograd.gradgradcheck(getattr(F, name), (x, y))


@pytest.mark.parametrize("options", LOSSES["vicreg_loss"][1])
def test_vicreg_module_is_called_as_the_peers(options: dict[str, float]) -> None:
    """Also by its wrapper, and of one view."""
    x, y = tensors("float64")
    ours, theirs = VICRegLoss(**options), peers.VICRegLoss(**options)
    torch.testing.assert_close(ours(x, ref_emb=y), theirs(x, ref_emb=y), rtol=1e-12, atol=0)
    torch.testing.assert_close(ours(x, None, None, y, None), theirs(x, ref_emb=y))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=0)
    several = [peers.MultipleLosses([loss], weights=[2.0]) for loss in (ours, theirs)]
    found, expected = (loss(x, None) for loss in several)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("module", [VICRegLoss, BarlowTwinsLoss])
def test_modules_take_no_labels(module: Any) -> None:
    x, y = tensors("float32")
    name = module.__name__
    with pytest.raises(ValueError, match=f"{name} takes no labels: expected the other view as ref"):
        module()(x, y)
    with pytest.raises(ValueError, match=f"{name} takes no indices_tuple"):
        module()(x, indices_tuple=(torch.tensor([0]),) * 3, ref_emb=y)
    with pytest.raises(ValueError, match=f"{name} takes no ref_labels"):
        module()(x, ref_emb=y, ref_labels=torch.zeros(37))


# ---- In JAX -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_jax(name: str, options: dict[str, float], dtype: str) -> None:
    x, y = views(dtype)
    value, gradients = fl.value_and_grad(getattr(fl, name), (0, 1))(x, y, **options)
    loss = functools.partial(getattr(fj, name), **options)
    found, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, y)
    assert found.dtype == x.dtype
    assert float(found) == float(np.asarray(value).astype(dtype))
    for slope, gradient in zip(slopes, gradients, strict=True):
        np.testing.assert_array_equal(np.asarray(slope), gradient)
    # The derivative along a direction is the formula's.
    if dtype == "float32":
        _, along = jax.jvp(jax.grad(loss), (x, y), (x, y))
        assert np.isfinite(along).all()
        _, slope = jax.jvp(loss, (x, y), (x, 0 * y))
        assert float(slope) == pytest.approx(float((gradients[0] * x).sum()), rel=1e-3, abs=1e-3)
