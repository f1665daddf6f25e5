"""Triplets by a distance that is a loss of this package: against torch, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import fusedloss as fl
from checks import assert_same_bits, eps

T = torch.nn.functional
NAMES = ("anchor", "positive", "negative")

#: The distance here and in torch, neither of which is clamped anywhere.
DISTANCES: dict[str, Any] = {
    "cosine_similarity_loss": lambda a, b: -T.cosine_similarity(a, b, dim=-1),
    "mse_loss": lambda a, b: T.mse_loss(a, b, reduction="none"),
}


def draw(dtype: str, rng: np.random.Generator) -> list[Any]:
    return [rng.normal(size=(6, 5)).astype(dtype) for _ in NAMES]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("name", DISTANCES)
def test_values_and_gradients(
    name: str, swap: bool, reduction: str, dtype: str, rng: np.random.Generator
) -> None:
    arrays = draw(dtype, rng)
    inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in arrays]
    options: dict[str, Any] = {"margin": 0.75, "swap": swap, "reduction": reduction}
    truth = T.triplet_margin_with_distance_loss(
        *inputs, distance_function=DISTANCES[name], **options
    )
    scale = rng.normal(size=tuple(truth.shape)).astype(dtype)
    truths = torch.autograd.grad(truth, inputs, torch.tensor(scale.astype("float64")))
    options["distance_function"] = getattr(fl, name)
    function = fl.value_and_grad(fl.triplet_margin_with_distance_loss, argnums=(0, 1, 2))
    value, gradients = function(*arrays, grad_output=scale, **options)
    assert value == pytest.approx(fl.triplet_margin_with_distance_loss(*arrays, **options), abs=0)
    # terms of up to some 20, thirty of them in a sum; rounded to 16 bits last
    arithmetic = eps("float64" if dtype == "float64" else "float32")
    rounding = eps(dtype) if dtype == "float16" else 0.0
    tolerance = {"rtol": rounding, "atol": 600 * arithmetic}
    np.testing.assert_allclose(np.float64(value), truth.detach().numpy(), **tolerance)
    for gradient, expected in zip(gradients, truths, strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient.astype("float64"), expected.numpy(), **tolerance)


def test_one_gradient_into_an_output(rng: np.random.Generator) -> None:
    arrays = draw("float32", rng)
    options = {"distance_function": fl.cosine_similarity_loss}
    everything = fl.value_and_grad(fl.triplet_margin_with_distance_loss, argnums=(0, 1, 2))
    expected = everything(*arrays, **options)[1]
    out = np.empty((6, 10), "float32")[:, ::2]
    function = fl.value_and_grad(fl.triplet_margin_with_distance_loss, argnums=2)
    gradient = function(*arrays, out=out, **options)[1]
    assert gradient is out
    assert_same_bits(out, expected[2])


def returning(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """A loss under a wrapper that changes what it returns."""

    @functools.wraps(fl.mse_loss)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        return change(fl.mse_loss(*arguments, **options))

    return wrapper


def test_without_a_distance_it_is_the_triplet_margin_loss(rng: np.random.Generator) -> None:
    arrays = draw("float32", rng)
    value = fl.triplet_margin_with_distance_loss(*arrays, margin=3.0, swap=True)
    assert value == fl.triplet_margin_loss(*arrays, margin=3.0, swap=True)


@pytest.mark.parametrize(
    ("spoiled", "error", "match"),
    [
        (
            {"distance_function": lambda a, b: a - b},
            TypeError,
            "distance_function is <function .*lambda.*: expected one of fusedloss's losses",
        ),
        ({"distance_function": 3}, TypeError, "distance_function is 3: expected one of"),
        (
            {"distance_function": fl.cross_entropy},
            ValueError,
            "distance_function is cross_entropy: expected .* not in logits",
        ),
        (
            {"distance_function": fl.arcface_loss},
            TypeError,
            "distance_function is arcface_loss: expected a loss of two arguments .*'target'",
        ),
        (
            {"distance_function": fl.proxy_anchor_loss},
            TypeError,
            "distance_function is proxy_anchor_loss: expected a loss of two arguments",
        ),
        (
            {"distance_function": returning(lambda loss: loss.mean())},
            ValueError,
            r"distance_function mse_loss returned .*: expected .* shape \(6, 5\)",
        ),
        (
            {"distance_function": returning(lambda loss: loss.T)},
            ValueError,
            r"distance_function mse_loss returned an array of shape \(5, 6\) and dtype float32",
        ),
        (
            {"distance_function": returning(lambda loss: None)},
            ValueError,
            "distance_function mse_loss returned None",
        ),
        ({"margin": 0.0}, ValueError, "margin is 0"),
        ({"reduction": "foo"}, ValueError, "reduction is 'foo'"),
        ({"positive": np.ones((1, 5), "float32")}, ValueError, r"positive.*\(1, 5\).*\(6, 5\)"),
        ({"negative": np.ones((6, 5), int)}, TypeError, "negative has dtype int64"),
    ],
)
def test_errors(spoiled: dict[str, Any], error: Any, match: str, rng: np.random.Generator) -> None:
    arguments = dict(zip(NAMES, draw("float32", rng), strict=True))
    options = {"distance_function": fl.cosine_similarity_loss, **arguments, **spoiled}
    with pytest.raises(error, match=match):
        fl.triplet_margin_with_distance_loss(**options)
