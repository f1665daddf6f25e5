"""Keras', JAX's and optax's losses that docs/peers.toml names: the same values and gradients.

Those of torch are in test_torch_*.py, pytorch-metric-learning's in test_metric.py, scikit-learn's
in pointwise_cases.py.
"""

from __future__ import annotations

import functools
import importlib
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import keras
import numpy as np
import pytest
import torch

import fusedloss as fl
from conftest import REPOSITORY
from parts import Array

Draw = Callable[[np.random.Generator], Array]

ROWS, CLASSES = 6, 5


@pytest.fixture(autouse=True)
def float64_in_jax() -> Iterator[None]:
    """JAX keeps float64 here, and not in other files' tests."""
    with jax.enable_x64(True):
        yield


# ---- Arguments -----------------------------------------------------------------------------------


def real(rng: np.random.Generator) -> Array:
    return 2 * rng.normal(size=(ROWS, CLASSES))


def positive(rng: np.random.Generator) -> Array:
    return rng.uniform(0.25, 4, size=(ROWS, CLASSES))


def fraction(rng: np.random.Generator) -> Array:
    return rng.uniform(0.02, 0.98, size=(ROWS, CLASSES))


def zero_or_one(rng: np.random.Generator) -> Array:
    return rng.integers(0, 2, size=(ROWS, CLASSES)) * 1.0


def sign(rng: np.random.Generator) -> Array:
    return rng.choice([-1.0, 1.0], size=(ROWS, CLASSES))


def index(rng: np.random.Generator) -> Array:
    return rng.integers(CLASSES, size=ROWS)


def one_hot(rng: np.random.Generator) -> Array:
    return np.eye(CLASSES)[index(rng)]


def distribution(rng: np.random.Generator) -> Array:
    return fl.softmax(real(rng))


def log_distribution(rng: np.random.Generator) -> Array:
    return fl.log_softmax(real(rng))


def images(rng: np.random.Generator) -> Array:
    return rng.normal(size=(2, 7, CLASSES))


def labels_of_images(rng: np.random.Generator) -> Array:
    return np.eye(CLASSES)[rng.integers(CLASSES, size=(2, 7))]


# ---- The table -----------------------------------------------------------------------------------


class Peer(NamedTuple):
    """A loss here and its peer; both give losses that are not reduced."""

    loss: str
    arguments: tuple[Draw, ...]
    options: dict[str, Any] = {}  # of the peer  # noqa: RUF012
    over_classes: str = ""  # what the peer does with the losses of a row's elements
    rearranged: Callable[[Array], Array] = lambda x: x  # the peer's arrays, as they are here


def classes_second(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


PEERS = {
    "optax.losses.huber_loss": Peer("huber_loss", (real, real)),
    "optax.losses.log_cosh": Peer("log_cosh_loss", (real, real)),
    "optax.losses.squared_error": Peer("mse_loss", (real, real)),
    "optax.losses.sigmoid_binary_cross_entropy": Peer(
        "binary_cross_entropy_with_logits", (real, fraction)
    ),
    "optax.losses.hinge_loss": Peer("hinge_loss", (real, sign)),
    "optax.losses.perceptron_loss": Peer("perceptron_loss", (real, sign)),
    "optax.losses.sparsemax_loss": Peer("binary_sparsemax_loss", (real, zero_or_one)),
    "optax.losses.sigmoid_focal_loss": Peer(
        "sigmoid_focal_loss", (real, fraction), {"alpha": 0.25}
    ),
    "optax.losses.softmax_cross_entropy": Peer("cross_entropy", (real, distribution)),
    "optax.losses.softmax_cross_entropy_with_integer_labels": Peer("cross_entropy", (real, index)),
    "optax.losses.poly_loss_cross_entropy": Peer("poly1_cross_entropy", (real, distribution)),
    "optax.losses.multiclass_sparsemax_loss": Peer("sparsemax_loss", (real, index)),
    "optax.losses.kl_divergence": Peer("kl_div", (log_distribution, distribution), {}, "sum"),
    "optax.losses.generalized_kl_divergence": Peer(
        "generalized_kl_div", (real, positive), {}, "sum"
    ),
    "optax.losses.ranking_softmax_loss": Peer(
        "ranking_softmax_loss", (real, positive), {"reduce_fn": None}
    ),
    "optax.losses.dice_loss": Peer(
        "tversky_loss", (images, labels_of_images), {"reduction": "none"}, rearranged=classes_second
    ),
    "jax.nn.softmax": Peer("softmax", (real,)),
    "jax.nn.log_softmax": Peer("log_softmax", (real,)),
    "jax.nn.logsumexp": Peer("logsumexp", (real,), {"axis": -1}),
    "keras.losses.CosineSimilarity": Peer("cosine_similarity_loss", (real, real)),
    "keras.losses.Huber": Peer("huber_loss", (real, real), {}, "mean"),
    "keras.losses.MeanAbsoluteError": Peer("l1_loss", (real, real), {}, "mean"),
    "keras.losses.LogCosh": Peer("log_cosh_loss", (real, real), {}, "mean"),
    "keras.losses.MeanAbsolutePercentageError": Peer("mape_loss", (real, real), {}, "mean"),
    "keras.losses.MeanSquaredError": Peer("mse_loss", (real, real), {}, "mean"),
    "keras.losses.MeanSquaredLogarithmicError": Peer("msle_loss", (positive, positive), {}, "mean"),
    "keras.losses.Hinge": Peer("hinge_loss", (real, sign), {}, "mean"),
    "keras.losses.SquaredHinge": Peer("squared_hinge_loss", (real, sign), {}, "mean"),
    "keras.losses.CategoricalCrossentropy": Peer(
        "categorical_cross_entropy", (fraction, distribution)
    ),
    "keras.losses.SparseCategoricalCrossentropy": Peer(
        "categorical_cross_entropy", (fraction, index)
    ),
    "keras.losses.CategoricalHinge": Peer("categorical_hinge_loss", (real, one_hot)),
    "keras.losses.CategoricalGeneralizedCrossEntropy": Peer(
        "generalized_cross_entropy", (distribution, index)
    ),
}


def ours(peer: Peer, arrays: list[Array]) -> tuple[Any, Any]:
    """Losses, and the gradient of their sum."""
    function = getattr(fl, peer.loss)
    helper = peer.loss in ("softmax", "log_softmax", "logsumexp")
    options: dict[str, Any] = {} if helper else {"reduction": "none"}
    losses, gradient = fl.value_and_grad(function)(*map(peer.rearranged, arrays), **options)
    if peer.over_classes == "mean":
        return losses.mean(axis=-1), gradient / CLASSES
    return losses.sum(axis=-1) if peer.over_classes == "sum" else losses, gradient


def compiled(losses: Callable[..., Any], *arrays: Array) -> tuple[Array, Array]:
    """Losses, and the gradient of their sum, compiled as one: quicker than one by one."""

    @jax.jit
    def both(prediction: Any, *others: Any) -> tuple[Any, Any]:
        values, pullback = jax.vjp(lambda x: losses(x, *others), prediction)
        return values, pullback(jax.numpy.ones_like(values))[0]

    values, gradient = both(*arrays)
    return np.asarray(values), np.asarray(gradient)


def by_jax(peer: Peer, function: Callable[..., Any], arrays: list[Array]) -> tuple[Any, Any]:
    values, gradient = compiled(functools.partial(function, **peer.options), *arrays)
    return values, peer.rearranged(gradient)


def by_keras(peer: Peer, function: Callable[..., Any], arrays: list[Array]) -> tuple[Any, Any]:
    keras.config.set_floatx("float64")
    prediction = torch.tensor(arrays[0], requires_grad=True)
    losses = function(reduction=None, **peer.options)(*arrays[1:], prediction)
    losses.sum().backward()
    return losses.numpy(force=True), prediction.grad


@pytest.mark.parametrize("name", PEERS)
def test_values_and_gradients(name: str, rng: np.random.Generator) -> None:
    """In float64, though Keras takes means in float32; to some digits that cancellation takes."""
    peer = PEERS[name]
    module, _, attribute = name.rpartition(".")
    function = getattr(importlib.import_module(module), attribute)
    arrays = [draw(rng) for draw in peer.arguments]
    of_keras = module.startswith("keras")
    expected = (by_keras if of_keras else by_jax)(peer, function, arrays)
    rtol, atol = (1e-6, 1e-7) if of_keras else (1e-11, 1e-13)
    np.testing.assert_allclose(ours(peer, arrays)[0], expected[0], rtol, atol)
    np.testing.assert_allclose(ours(peer, arrays)[1], expected[1], rtol, atol)


def test_ctc_loss_is_optax_s(rng: np.random.Generator) -> None:
    """optax takes logits and marks what is padding; its logarithm of 0 is -1e5."""
    import optax

    logits = rng.normal(size=(9, 3, CLASSES))
    labels = rng.integers(1, CLASSES, size=(3, 4))
    frames, lengths = np.array([9, 7, 8]), np.array([3, 4, 0])
    padding = (np.arange(9) >= frames[:, np.newaxis]).astype(float)
    label_padding = (np.arange(4) >= lengths[:, np.newaxis]).astype(float)

    def losses(logits: Any) -> Any:
        return optax.losses.ctc_loss(logits.swapaxes(0, 1), padding, labels, label_padding)

    log_probs = fl.log_softmax(logits)
    values, gradient = fl.value_and_grad(fl.ctc_loss)(
        log_probs, labels, frames, lengths, reduction="none"
    )
    expected, expected_gradient = compiled(losses, logits)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-10, atol=1e-13)


def test_every_peer_of_the_documentation_is_compared() -> None:
    documented = tomllib.loads((REPOSITORY / "docs" / "peers.toml").read_text())
    named = {
        (peer.partition("(")[0], loss)
        for loss, peers in documented.items()
        for peer in peers
        if peer.startswith(("jax.", "keras.", "optax."))
    }
    compared = {(name, peer.loss) for name, peer in PEERS.items()}
    assert named == compared | {("optax.losses.ctc_loss", "ctc_loss")}
