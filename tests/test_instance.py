"""The instance loss: against pytorch-metric-learning, and what its arguments may be."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses

import fusedloss as fl
from checks import DTYPES, assert_same_bits, eps
from fusedloss.torch import InstanceLoss
from fusedloss.torch import functional as F
from parts import Array

#: Embeddings, features, labels.
BATCHES = ((1, 3, 1), (2, 2, 2), (37, 11, 5), (130, 40, 130), (50, 1100, 2), (300, 16, 9))

GRADIENT = fl.value_and_grad(fl.instance_loss)


def batch(size: tuple[int, int, int]) -> tuple[Array, Array]:
    rng = np.random.default_rng(size)
    n, d, classes = size
    return rng.normal(size=(n, d)), 3 * rng.integers(0, classes, n) - 7


def of_peer(e: Array, y: Array, gamma: float) -> tuple[float, Array]:
    x = torch.tensor(e, dtype=torch.float64, requires_grad=True)
    value = losses.InstanceLoss(gamma=gamma)(x, torch.from_numpy(y))
    value.backward()
    assert x.grad is not None
    return value.item(), x.grad.numpy()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", [1.0, 64.0])
@pytest.mark.parametrize("size", BATCHES, ids=str)
def test_it_is_the_peer_s(size: tuple[int, int, int], gamma: float, dtype: str) -> None:
    """Cosines are rounded by eps / 2, and multiplied by gamma in exponents.

    An embedding's gradient is a sum of two of the narrow type, which are rounded: each is no more
    than gamma by its norm.
    """
    e, y = batch(size)
    e = e.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    exact, exact_gradient = of_peer(e.astype(np.float64), y, gamma)
    value, gradient = GRADIENT(e, y, gamma=gamma)
    computed = eps("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(value, exact, rtol=8 * computed, atol=8 * gamma * computed)
    assert gradient.dtype == e.dtype
    norms = np.linalg.norm(e.astype(np.float64), axis=1, keepdims=True)
    size_of = gamma / norms / len(e)
    # slopes of logits are off by what these are, relative; and all rows enter an embedding's
    allowed = (2 * eps(dtype) + 8 * (1 + gamma) * computed) * size_of * 2
    allowed = allowed + (2.0**-24 if dtype == "float16" else 0)
    assert np.all(np.abs(gradient.astype(np.float64) - exact_gradient) <= allowed)


@pytest.mark.parametrize("size", BATCHES, ids=str)
def test_the_module_is_the_peer_s(size: tuple[int, int, int]) -> None:
    e, y = batch(size)
    exact, exact_gradient = of_peer(e, y, 64.0)
    x = torch.tensor(e, requires_grad=True)
    value = InstanceLoss()(x, torch.from_numpy(y))
    value.backward()
    assert x.grad is not None
    np.testing.assert_allclose(value.item(), exact, rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), exact_gradient, rtol=1e-10, atol=1e-13)


def test_reductions() -> None:
    e, y = batch((37, 11, 5))
    each = fl.instance_loss(e, y, reduction="none")
    assert each.shape == (37,)
    np.testing.assert_allclose(each.sum(), fl.instance_loss(e, y, reduction="sum"), rtol=1e-14)
    np.testing.assert_allclose(each.mean(), fl.instance_loss(e, y), rtol=1e-14)
    factors = np.linspace(-1, 2, 37)
    _, gradient = GRADIENT(e, y, reduction="none", grad_output=factors)
    x = torch.tensor(e, requires_grad=True)
    (
        F.instance_loss(x, torch.from_numpy(y), reduction="none") * torch.tensor(factors)
    ).sum().backward()
    np.testing.assert_array_equal(x.grad, gradient)


def test_definition() -> None:
    """The k-th embedding stands for the k-th label; increasing labels are the embeddings' own."""
    e, y = batch((20, 6, 4))
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    z = 5.0 * unit @ unit.T
    at = np.searchsorted(np.unique(y), y)
    expected = np.log(np.exp(z).sum(1)) - z[np.arange(20), at]
    found = fl.instance_loss(e, y, gamma=5.0, reduction="none")
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    own = fl.instance_loss(e, np.arange(20), gamma=5.0, reduction="none")
    np.testing.assert_allclose(own, np.log(np.exp(z).sum(1)) - 5.0, rtol=1e-12, atol=1e-13)


def test_derivatives() -> None:
    e, y = (torch.from_numpy(x) for x in batch((7, 4, 3)))
    e.requires_grad_()
    for reduction in ("none", "mean"):
        assert torch.autograd.gradcheck(
            lambda x, r=reduction: F.instance_loss(x, y, gamma=3.0, reduction=r), e
        )
        assert torch.autograd.gradgradcheck(
            lambda x, r=reduction: F.instance_loss(x, y, gamma=3.0, reduction=r), e
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype: str, num_threads: int) -> None:
    e, y = batch((300, 16, 9))
    e = e.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    for workspace in (None, 1):
        one = GRADIENT(e, y, num_threads=1, workspace=workspace)
        many = GRADIENT(e, y, num_threads=num_threads, workspace=workspace)
        assert one[0] == many[0]
        assert_same_bits(one[1], many[1])


def test_an_embedding_of_zeros() -> None:
    e, y = batch((9, 4, 3))
    e[2] = 0
    value, gradient = GRADIENT(e, y)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert not gradient[2].any()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_embedding(reduction: Any) -> None:
    nothing = np.zeros((0, 3), "float32")
    value, gradient = GRADIENT(nothing, np.zeros(0, int), reduction=reduction)
    assert np.shape(value) == ((0,) if reduction == "none" else ())
    assert not np.any(value)
    assert gradient.shape == (0, 3)
    x = torch.zeros(0, 3, requires_grad=True)
    F.instance_loss(x, torch.zeros(0, dtype=torch.int64), reduction=reduction).sum().backward()
    assert x.grad is not None


def test_places() -> None:
    e, y = batch((9, 4, 3))
    expected = GRADIENT(e, y)[1]
    out = np.empty((4, 9)).T
    assert GRADIENT(e, y, out=out)[1] is out
    assert_same_bits(out, expected)


X, Y = np.ones((4, 3), "float32"), np.zeros(4, int)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[0], Y), {}, ValueError, r"embeddings has shape \(3,\): expected \(N, D\)"),
        ((X.astype(int), Y), {}, TypeError, "embeddings has dtype int64"),
        ((X, Y[:3]), {}, ValueError, r"labels has shape \(3,\): expected \(4,\)"),
        ((X, X[:, 0]), {}, TypeError, "labels has dtype float32"),
        ((X, None), {}, TypeError, "labels is None: expected integer labels"),
        ((X, Y), {"gamma": 0.0}, ValueError, "gamma is 0.0"),
        ((X, Y), {"gamma": np.nan}, ValueError, "gamma is nan"),
        ((X, Y), {"reduction": "mean_nonzero"}, ValueError, "reduction is 'mean_nonzero'"),
        ((X, Y), {"workspace": 0}, ValueError, "workspace is 0"),
    ],
)
def test_bad_arguments(
    arguments: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fl.instance_loss(*arguments, **options)
    out = np.full_like(X, 7)
    with pytest.raises(error, match=message):
        GRADIENT(*arguments, out=out, **options)
    assert (out == 7).all()


def test_unsigned_labels_are_numbers() -> None:
    """2**64 - 1 is the last of all labels, and not -1."""
    e, y = batch((37, 11, 5))
    ranks = np.unique(y, return_inverse=True)[1]
    large = np.uint64(2**63 - 2) + ranks.astype(np.uint64)
    expected = fl.instance_loss(e, y)
    assert fl.instance_loss(e, large) == expected
    assert F.instance_loss(torch.from_numpy(e), torch.from_numpy(large)).item() == expected
