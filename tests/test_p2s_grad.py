"""P2SGrad: the squared error of cosines, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses

import fusedloss as fl
from checks import (
    DTYPES,
    assert_quantity,
    assert_same_bits,
    assert_within,
    compute_dtype,
    quantity_tolerance,
    truth_dtype,
)
from parts import Array
from reference.margin import evaluate_p2s_grad
from test_linear_losses import SIZES, WORKSPACES

GRADIENTS = fl.value_and_grad(fl.p2s_grad_loss, argnums=(0, 1))

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"sample_weight": True, "reduction": "sum"},
    {"ignore_index": 0, "reduction": "none"},
    {"where": True, "sample_weight": True},
    {"where": True, "reduction": "none"},
)

#: Roundings besides those that the reference counts: of a factor, a sum and the result.
ULPS = 8


def built(
    size: tuple[int, ...], dtype: Any, **options: Any
) -> tuple[tuple[Array, ...], dict[str, Any]]:
    """Embeddings, weights, target, and options of arrays where there is True."""
    n, d, _, c = size
    rng = np.random.default_rng(size)
    x, weight = (3 * rng.normal(size=(rows, d)) for rows in (n, c))
    drawn = {"sample_weight": rng.uniform(0.25, 2, n).astype(dtype), "where": rng.random(n) < 0.7}
    if n > 1:
        drawn["sample_weight"][0] = 0
        drawn["where"][0] = True
    options = {name: drawn[name] if value is True else value for name, value in options.items()}
    return (x.astype(dtype), weight.astype(dtype), rng.integers(0, c, n)), options


def assert_right(
    arrays: tuple[Array, ...],
    options: dict[str, Any],
    workspace: int | None = None,
    grad_output: Any = None,
) -> None:
    """Value and both gradients: no further from the truth than the arithmetic must be."""
    dtype, terms = arrays[0].dtype, len(arrays[0])
    call = {**options, "workspace": workspace}
    value, gradients = GRADIENTS(*arrays, grad_output=grad_output, **call)
    assert_same_bits(value, fl.p2s_grad_loss(*arrays, **call))
    with np.errstate(invalid="ignore", divide="ignore"):
        truth = evaluate_p2s_grad(
            *arrays, grad_output=grad_output, dtype=truth_dtype(dtype), **options
        )
    if options.get("reduction") == "none":
        assert_quantity(value, truth.value, dtype, ULPS)
    else:
        allowed = quantity_tolerance(truth.value, compute_dtype(dtype), ULPS, terms=terms)
        assert_within(value, truth.value.exact, allowed)
    for gradient, quantity in zip(gradients, truth[1:], strict=True):
        if np.isnan(truth.value.exact).any():  # of nothing
            assert not gradient.any()
            continue
        assert_quantity(gradient, quantity, dtype, ULPS, terms=terms)


# ---- Numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size_and_option(isa: str, dtype: str, workspace: int | None) -> None:
    for i, size in enumerate(SIZES):
        options = OPTIONS[i % len(OPTIONS)]
        arrays, given = built(size, dtype, **options)
        g: Any = 0.75
        if options.get("reduction") == "none":
            g = np.linspace(-2, 3, size[0]).astype(compute_dtype(dtype))
        try:
            assert_right(arrays, given, workspace, g)
        except AssertionError as error:
            error.add_note(f"{size}, {options}")
            raise


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(
    isa: str, dtype: str, workspace: int | None, num_threads: int
) -> None:
    for size in ((530, 16, 4, 200), (100, 8, 8, 3000)):
        arrays, _ = built(size, dtype)
        one = GRADIENTS(*arrays, workspace=workspace, num_threads=1)
        many = GRADIENTS(*arrays, workspace=workspace, num_threads=num_threads)
        assert one[0] == many[0]
        for left, right in zip(one[1], many[1], strict=True):
            assert_same_bits(left, right)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
@pytest.mark.parametrize("at", [0, 1])
def test_lengths_do_not_count(at: int, scale: float) -> None:
    """Squares of float32 over- and underflow at these."""
    arrays, _ = built((40, 12, 1, 23), "float32")
    value, gradients = GRADIENTS(*arrays)
    arrays[at][...] *= np.float32(scale)
    far, of_far = GRADIENTS(*arrays, grad_output=scale)
    np.testing.assert_allclose(far, value, rtol=1e-6)  # a few roundings
    np.testing.assert_allclose(
        of_far[at], gradients[at], rtol=0, atol=1e-6 * np.abs(gradients[at]).max()
    )


def test_as_pytorch_metric_learning() -> None:
    """Which shortens weights to 1 - 1e-7 before each call, and does not differentiate that.

    Its gradient by weights is the same but for the part along them.
    """
    (x, weight, y), _ = built((40, 12, 1, 23), "float64")
    weight /= np.linalg.norm(weight, axis=1, keepdims=True)
    loss = losses.P2SGradLoss(12, 23).double()
    with torch.no_grad():
        loss.weight.copy_(torch.from_numpy(weight.T))
    embeddings = torch.from_numpy(x).requires_grad_()
    expected = loss(embeddings, torch.from_numpy(y))
    expected.backward()
    value, (by_x, by_weight) = GRADIENTS(x, weight, y)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(by_x, embeddings.grad, rtol=0, atol=1e-6 * np.abs(by_x).max())
    theirs = loss.weight.grad.numpy().T
    theirs = theirs - (theirs * weight).sum(1, keepdims=True) * weight
    np.testing.assert_allclose(by_weight, theirs, rtol=0, atol=1e-6 * np.abs(by_weight).max())


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_strides(isa: str, dtype: str) -> None:
    (x, weight, y), _ = built((67, 33, 1, 45), dtype)
    expected = GRADIENTS(x, weight, y)
    turned = np.ascontiguousarray(weight.T).T
    out = np.empty(x.shape[::-1], x.dtype).T, np.empty((45, 66), x.dtype)[:, ::2]
    for rows, weights, labels, places in (
        (x, turned, y, None),
        (np.ascontiguousarray(x[:, ::-1])[:, ::-1], weight, np.repeat(y, 2)[::2], None),
        (np.repeat(x, 2, axis=0)[::2], weight, y.astype(np.uint8), out),
    ):
        value, gradients = GRADIENTS(rows, weights, labels, out=places)
        assert value == expected[0]
        for left, right in zip(gradients, expected[1], strict=True):
            assert_same_bits(left, right)
        assert places is None or all(a is b for a, b in zip(gradients, places, strict=True))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_positions_of_several_dimensions(reduction: Any) -> None:
    (x, weight, y), _ = built((24, 6, 1, 9), "float32")
    value, gradients = GRADIENTS(x, weight, y, reduction=reduction)
    shape = (2, 3, 4)
    folded, (by_x, by_weight) = GRADIENTS(
        x.reshape(*shape, 6), weight, y.reshape(shape), reduction=reduction
    )
    assert np.shape(folded) == (shape if reduction == "none" else ())
    np.testing.assert_array_equal(np.ravel(folded), np.ravel(value))
    assert_same_bits(by_x.reshape(24, 6), gradients[0])
    assert_same_bits(by_weight, gradients[1])
    assert fl.p2s_grad_loss(x[0], weight, y[0], reduction="none").shape == ()


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("workspace", WORKSPACES)
def test_one_gradient(number: int, workspace: int | None) -> None:
    arrays, _ = built((100, 8, 1, 3000), "float32")
    both = GRADIENTS(*arrays, workspace=workspace)[1]
    one = fl.value_and_grad(fl.p2s_grad_loss, argnums=number)(*arrays, workspace=workspace)[1]
    assert_same_bits(one, both[number])


# ---- Special values ----------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", WORKSPACES)
def test_zeros_have_no_direction(workspace: int | None) -> None:
    """Cosines of 0, and no gradient; others are as without them."""
    (x, weight, y), _ = built((100, 8, 1, 3000), "float64")
    x[3] = weight[5] = 0
    value, (by_x, by_weight) = GRADIENTS(x, weight, y, reduction="none", workspace=workspace)
    assert value[3] == 1 / 3000
    assert not by_x[3].any()
    assert not by_weight[5].any()
    assert np.isfinite(by_weight).all()


def test_a_perfect_head() -> None:
    """Orthogonal classes, and an embedding on each: no error, and no gradient."""
    one = np.eye(4)
    value, gradients = GRADIENTS(3 * one, 2 * one, np.arange(4))
    assert value == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("at", [0, 1])
def test_a_nan_is_seen(at: int) -> None:
    arrays, _ = built((40, 6, 1, 90), "float32")
    arrays[at][2, 3] = np.nan
    value, gradients = GRADIENTS(*arrays)
    assert np.isnan(value)
    assert np.isnan(gradients[at][2]).all()


# ---- Errors ------------------------------------------------------------------------------------

X, W, Y = np.zeros((4, 3), "float32"), np.zeros((5, 3), "float32"), np.zeros(4, int)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, W[0], Y), {}, ValueError, r"weight has shape \(3,\): expected \(classes, features\)"),
        ((X[:, :2], W, Y), {}, ValueError, r"embeddings has shape \(4, 2\): expected \(..., 3\)"),
        ((X, W.astype("float64"), Y), {}, TypeError, "weight has dtype float64: expected float32"),
        ((X, W, Y + 0.5), {}, TypeError, "target has dtype float64"),
        ((X, W, Y[:3]), {}, ValueError, r"target has shape \(3,\): expected \(4,\)"),
        ((X, W, [0, 1, 5, 2]), {}, IndexError, r"target\[2\] is 5: out of range for 5 classes"),
        ((X, W, [0, 1, -2, 2]), {}, IndexError, r"target\[2\] is -2: .*ignore_index -1\)$"),
        ((X, W, [0, 1, -1, 2]), {"ignore_index": 3}, IndexError, r"target\[2\] is -1"),
        ((X, W, Y), {"sample_weight": np.ones(5)}, ValueError, "sample_weight has shape"),
        ((X, W, Y), {"where": np.ones(5, bool)}, ValueError, "where has shape"),
        ((X, W, Y), {"where": np.ones(4)}, TypeError, "where has dtype float64"),
        ((X, W, Y), {"reduction": "most"}, ValueError, "reduction is 'most'"),
        ((X, W, Y), {"workspace": 0}, ValueError, "workspace is 0"),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    out = np.full_like(X, 7), np.full_like(W, 7)
    with pytest.raises(error, match=message):
        fl.p2s_grad_loss(*arguments, **options)
    with pytest.raises(error):
        GRADIENTS(*arguments, out=out, **options)
    assert all((place == 7).all() for place in out)


def test_where_excuses_a_bad_class() -> None:
    where = np.array([True, True, False, True])
    assert fl.p2s_grad_loss(X + 1, W + 1, [0, 1, 99, 2], where=where) == pytest.approx(4 / 5)
