"""Losses of lists of arrays: penalties and the perceptual loss, by the pointwise losses of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fusedloss as fl
from checks import DTYPES, assert_same_bits
from parts import Array

SHAPES = ((3, 4), (), (70, 1000), (0, 2), (5,))

CRITERIA: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "mse": (fl.mse_loss, F.mse_loss),
    "l1": (fl.l1_loss, F.l1_loss),
}

PENALTIES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "l1_penalty": (fl.l1_penalty, fl.l1_loss, torch.abs),
    "l2_penalty": (fl.l2_penalty, fl.mse_loss, torch.square),
}

each_penalty = pytest.mark.parametrize("name", PENALTIES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def draw(rng: np.random.Generator, dtype: Any, shapes: Any = SHAPES) -> list[Array]:
    return [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in shapes]


@pytest.mark.usefixtures("isa")
@each_dtype
@each_penalty
def test_penalties(name: str, dtype: str, rng: np.random.Generator) -> None:
    """The same bits as the pointwise loss against 0 has, summed over the arrays."""
    penalty, pointwise, _ = PENALTIES[name]
    params, strength, factor = draw(rng, dtype), 0.3, -1.7
    value, gradients = fl.value_and_grad(penalty)(params, strength, grad_output=factor)
    parts = [
        fl.value_and_grad(pointwise)(w, 0, reduction="sum", grad_output=strength * factor)
        for w in params
    ]
    assert value == sum(strength * part for part, _ in parts)
    assert value == penalty(params, strength)
    assert isinstance(gradients, list)
    for gradient, (_, expected) in zip(gradients, parts, strict=True):
        assert_same_bits(gradient, expected)


@each_penalty
def test_penalties_are_torch_s(name: str, rng: np.random.Generator) -> None:
    penalty, _, function = PENALTIES[name]
    params, strength = draw(rng, "float64"), 0.3
    tensors = [torch.tensor(w, requires_grad=True) for w in params]
    expected = strength * sum(function(w).sum() for w in tensors)
    expected.backward()
    value, gradients = fl.value_and_grad(penalty)(params, strength)
    # sums of 70 000 numbers of one sign, in another order
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    for gradient, w in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, w.grad.numpy(), rtol=1e-15)  # two roundings


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("criterion", CRITERIA)
@each_dtype
def test_perceptual_loss(
    dtype: str, criterion: Any, reduction: Any, rng: np.random.Generator
) -> None:
    """The same bits as the pointwise loss of each layer, times the layer's weight."""
    shapes = ((2, 3, 5, 5), (2, 7, 40, 40), (2,))
    features, targets = draw(rng, dtype, shapes), draw(rng, dtype, shapes)
    weights, factor, pointwise = [0.5, 2.0, -0.25], 1.7, CRITERIA[criterion][0]
    options: dict[str, Any] = {"criterion": criterion, "reduction": reduction, "weights": weights}
    value, gradients = fl.value_and_grad(fl.perceptual_loss, argnums=(0, 1))(
        features, targets, grad_output=factor, **options
    )
    parts = [
        fl.value_and_grad(pointwise, argnums=(0, 1))(
            x, t, reduction=reduction, grad_output=w * factor
        )
        for x, t, w in zip(features, targets, weights, strict=True)
    ]
    assert value == sum(w * part for w, (part, _) in zip(weights, parts, strict=True))
    assert value == fl.perceptual_loss(features, targets, **options)
    for argument in (0, 1):
        alone = fl.value_and_grad(fl.perceptual_loss, argnums=argument)(
            features, targets, grad_output=factor, **options
        )[1]
        for layer, (_, expected) in enumerate(parts):
            assert_same_bits(gradients[argument][layer], expected[argument])
            assert_same_bits(alone[layer], expected[argument])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_perceptual_loss_is_torch_s(criterion: Any, rng: np.random.Generator) -> None:
    shapes = ((2, 3, 5, 5), (2, 4, 3, 3))
    features, targets = draw(rng, "float64", shapes), draw(rng, "float64", shapes)
    pairs = [
        (torch.tensor(x, requires_grad=True), torch.tensor(t))
        for x, t in zip(features, targets, strict=True)
    ]
    expected = sum((CRITERIA[criterion][1](x, t) for x, t in pairs), torch.zeros(()))
    expected.backward()  # type: ignore[no-untyped-call]
    value, gradients = fl.value_and_grad(fl.perceptual_loss)(features, targets, criterion=criterion)
    # means of 150 numbers of one sign, and three roundings
    np.testing.assert_allclose(value, expected.item(), rtol=1e-13)
    for gradient, (x, _) in zip(gradients, pairs, strict=True):
        assert x.grad is not None
        np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-15)


def test_of_no_layer() -> None:
    assert fl.value_and_grad(fl.l2_penalty)([], 1.0) == (0.0, [])
    assert fl.value_and_grad(fl.perceptual_loss)([], []) == (0.0, [])


# ---- out ---------------------------------------------------------------------------------------


def test_out(rng: np.random.Generator) -> None:
    """Of some layers; the parameters' own memory too; in a tuple by several argnums."""
    params = draw(rng, "float32", ((4,), (2, 3), (5,)))
    _, expected = fl.value_and_grad(fl.l2_penalty)(params, 0.5)
    out = [np.empty(4, "float32"), None, params[2]]
    _, gradients = fl.value_and_grad(fl.l2_penalty)(params, 0.5, out=out)
    assert gradients[0] is out[0]
    assert gradients[2] is params[2]
    for gradient, exact in zip(gradients, expected, strict=True):
        assert_same_bits(gradient, exact)

    features, targets = draw(rng, "float32", ((4,), (3,))), draw(rng, "float32", ((4,), (3,)))
    grad = fl.value_and_grad(fl.perceptual_loss, argnums=(0, 1))
    _, expected = grad(features, targets)
    place = [np.empty(4, "float32"), np.empty((3, 2), "float32")[:, 0]]
    _, gradients = grad(features, targets, out=(None, place))
    assert all(x is y for x, y in zip(gradients[1], place, strict=True))
    for row, exact_row in zip(gradients, expected, strict=True):
        for gradient, exact in zip(row, exact_row, strict=True):
            assert_same_bits(gradient, exact)


CANARY = -12345.0
PARAMS = [np.ones((2, 3), "float32"), np.full(4, 2.0, "float32")]


@pytest.mark.parametrize(
    ("error", "match", "second"),
    [
        (ValueError, r"out\[1\] has shape \(5,\).*\(4,\).*params\[1\]", np.empty(5, "float32")),
        (TypeError, r"out\[1\] has dtype float64", np.empty(4)),
        (ValueError, r"out\[1\] overlaps params\[0\]", PARAMS[0].reshape(-1)[:4]),
        (TypeError, r"out\[1\] is a list", [0.0] * 4),
    ],
)
def test_out_that_does_not_fit(error: type[Exception], match: str, second: Any) -> None:
    """Nothing is written, not even what comes before."""
    first = np.full((2, 3), CANARY, "float32")
    before = [w.copy() for w in PARAMS]
    with pytest.raises(error, match=match):
        fl.value_and_grad(fl.l2_penalty)(PARAMS, 1.0, out=[first, second])
    assert np.all(first == CANARY)
    for w, copy in zip(PARAMS, before, strict=True):
        np.testing.assert_array_equal(w, copy)


def test_outs_that_overlap() -> None:
    memory = np.full(8, CANARY, "float32")
    with pytest.raises(ValueError, match=r"out\[1\] overlaps out\[0\]"):
        fl.value_and_grad(fl.l2_penalty)(PARAMS, 1.0, out=[memory[:6].reshape(2, 3), memory[4:]])
    with pytest.raises(ValueError, match=r"out holds 1: expected 2"):
        fl.value_and_grad(fl.l2_penalty)(PARAMS, 1.0, out=[None])
    with pytest.raises(TypeError, match="out is a ndarray: expected a list"):
        fl.value_and_grad(fl.l2_penalty)(PARAMS, 1.0, out=memory)
    assert np.all(memory == CANARY)


def test_out_is_not_written_when_a_later_layer_is_at_fault() -> None:
    first = np.full((2, 3), CANARY, "float32")
    for fault, error in ((np.arange(4), TypeError), ("abcd", TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"params\[1\]"):
            fl.value_and_grad(fl.l2_penalty)([PARAMS[0], fault], 1.0, out=[first, None])
    with pytest.raises(ValueError, match=r"features\[1\] \(4,\), target_features\[1\] \(3,\)"):
        fl.value_and_grad(fl.perceptual_loss)(PARAMS, [PARAMS[0], np.zeros(3)], out=[first, None])
    assert np.all(first == CANARY)


# ---- Bad arguments -----------------------------------------------------------------------------


@each_penalty
@pytest.mark.parametrize(
    ("error", "match", "arguments", "options"),
    [
        (TypeError, "params is a ndarray: expected a list", (PARAMS[0], 1.0), {}),
        (TypeError, r"params\[0\] has dtype int64", ([np.arange(3)], 1.0), {}),
        (TypeError, r"params\[1\] is None", ([PARAMS[0], None], 1.0), {}),
        (TypeError, r"params\[0\] is a torch.Tensor", ([torch.zeros(3)], 1.0), {}),
        (TypeError, "strength is '1'", (PARAMS, "1"), {}),
        (ValueError, "strength is -1.0: expected a number of at least 0", (PARAMS, -1), {}),
        (ValueError, "strength is nan", (PARAMS, np.nan), {}),
        (ValueError, "num_threads is 0", (PARAMS, 1.0), {"num_threads": 0}),
        (TypeError, "reduction", (PARAMS, 1.0), {"reduction": "sum"}),
    ],
)
def test_bad_arguments_of_penalties(
    name: str, error: type[Exception], match: str, arguments: Any, options: Any
) -> None:
    with pytest.raises(error, match=match):
        PENALTIES[name][0](*arguments, **options)


@pytest.mark.parametrize(
    ("error", "match", "targets", "options"),
    [
        (TypeError, "target_features is a ndarray: expected a list", PARAMS[0], {}),
        (ValueError, "target_features holds 1: expected 2, as many as features", PARAMS[:1], {}),
        (ValueError, r"shapes do not broadcast: features\[0\] \(2, 3\)", PARAMS[::-1], {}),
        (ValueError, "weights holds 1: expected 2", PARAMS, {"weights": [1.0]}),
        (TypeError, r"weights\[1\] is None", PARAMS, {"weights": [1.0, None]}),
        (ValueError, r"weights\[0\] is inf", PARAMS, {"weights": [np.inf, 1.0]}),
        (ValueError, "criterion is 'l2': expected 'mse' or 'l1'", PARAMS, {"criterion": "l2"}),
        (ValueError, "reduction is 'none': expected 'mean' or", PARAMS, {"reduction": "none"}),
        (ValueError, "num_threads is 0", PARAMS, {"num_threads": 0}),
    ],
)
def test_bad_arguments_of_the_perceptual_loss(
    error: type[Exception], match: str, targets: Any, options: Any
) -> None:
    with pytest.raises(error, match=match):
        fl.perceptual_loss(PARAMS, targets, **options)


def test_grad_output_is_a_number() -> None:
    with pytest.raises(ValueError, match=r"grad_output has shape \(2,\): expected a scalar"):
        fl.value_and_grad(fl.l2_penalty)(PARAMS, 1.0, grad_output=np.ones(2))
