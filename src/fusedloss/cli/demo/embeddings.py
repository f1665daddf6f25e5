"""``fusedloss demo embeddings``: images become vectors, by three losses side by side.

Three networks start from the same numbers and see the same batches. Softmax and ArcFace learn
weights of the classes too, the triplet loss has none: it compares the images of a batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _plot
from fusedloss.cli._arguments import output_path, positive, whole
from fusedloss.cli._output import Output, missing, optional_import
from fusedloss.cli.demo._training import (
    BATCH,
    HELD_OUT,
    PIXELS,
    Descent,
    Digits,
    Network,
    batches,
    load_digits,
)

HIDDEN = 128, 64
DIMENSIONS = 16
CLASSES = 10
LEARNING_RATE = 0.02
WANTED_RECALL = 0.95

#: The gradient by the embeddings of a batch; whatever else learns has taken a step.
Loss = Callable[[Array, Array], Array]


def with_weights(loss: Callable[..., Any], seed: int, **options: float) -> Loss:
    """Return a loss of embeddings and the weights of the classes, which learn."""
    weight = np.random.default_rng(seed).standard_normal((CLASSES, DIMENSIONS)).astype(np.float32)
    descent = Descent([weight], LEARNING_RATE)
    grads = fl.value_and_grad(loss, argnums=(0, 1))

    def gradient(embeddings: Array, labels: Array) -> Array:
        grad: Array
        _, (grad, weight_grad) = grads(embeddings, weight, labels, **options)
        descent.step([weight_grad])
        return grad

    return gradient


def triplets(embeddings: Array, labels: Array) -> Array:
    """Return the gradient of the triplet loss."""
    grad: Array
    loss_and_grad = fl.value_and_grad(fl.triplet_loss)
    _, grad = loss_and_grad(embeddings, labels, margin=0.3, normalize=True)
    return grad


class Space(NamedTuple):
    """What a network learns from a loss."""

    loss: Loss
    network: Network

    def embed(self, images: Array) -> Array:
        """Return the embeddings of images, of length 1: it is their angles that the losses know."""
        embeddings = self.network.activations(images)[-1]
        unit: Array = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        return unit

    def epoch(self, digits: Digits, order: Array) -> None:
        """Learn from every training image once, in that order."""
        for images, labels in batches(digits, order):
            activations = self.network.activations(images)
            self.network.learn(activations, self.loss(activations[-1], labels))


def make_spaces(seed: int) -> dict[str, Space]:
    """Make three networks of the same numbers."""
    losses = {
        "softmax": with_weights(fl.linear_cross_entropy, seed),
        "ArcFace": with_weights(fl.arcface_loss, seed, scale=16.0),
        "triplet": triplets,
    }
    sizes = PIXELS, *HIDDEN, DIMENSIONS
    return {name: Space(loss, Network(sizes, seed, LEARNING_RATE)) for name, loss in losses.items()}


def train(digits: Digits, epochs: int, seed: int, output: Output) -> dict[str, Space]:
    """Train the networks, turn by turn."""
    spaces = make_spaces(seed)
    random = np.random.default_rng(seed)
    with output.progress("training", epochs) as advance:
        for _ in range(epochs):
            order = random.permutation(len(digits.labels))
            for space in spaces.values():
                space.epoch(digits, order)
            advance()
    return spaces


class Retrieval(NamedTuple):
    """How often the neighbours of an image are of its digit, in the mean over all of them."""

    recall: float  # the nearest one
    precision: float  # as many as there are of its digit


def retrieve(embeddings: Array, labels: Array) -> Retrieval:
    """Look for each image's neighbours among the others."""
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -np.inf)
    alike = labels[(-cosines).argsort(axis=1)] == labels[:, np.newaxis]
    others = np.bincount(labels)[labels] - 1
    found = alike.cumsum(axis=1)[np.arange(len(labels)), others - 1]
    return Retrieval(float(alike[:, 0].mean()), float((found / others).mean()))


def add_part(parts: Any) -> argparse.ArgumentParser:
    """Add this part to the parser of ``demo``; return its own."""
    parser: argparse.ArgumentParser = parts.add_parser(
        "embeddings",
        help="digits as vectors, by softmax, ArcFace and triplet loss",
        description=(
            "Train three small networks that turn scikit-learn's handwritten digits into vectors, "
            "by softmax, ArcFace and triplet loss, and look for the neighbours of digits that were "
            "held out. Fails where the nearest one is of the same digit for less than "
            f"{WANTED_RECALL} of them."
        ),
    )
    parser.add_argument("--epochs", type=positive, default=60, metavar="N", help="default: 60")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--output",
        type=output_path(".png"),
        default=Path("fusedloss-embeddings.png"),
        metavar="FILE",
        help="the picture (default: fusedloss-embeddings.png)",
    )
    parser.set_defaults(run=run)
    return parser


def run(options: argparse.Namespace, output: Output) -> int:
    """Train, look for neighbours, draw; fail where they are wrong too often."""
    if optional_import("sklearn.datasets") is None:
        output.error(missing("scikit-learn", "'fusedloss[demo]'", "the handwritten digits"))
        return 1
    digits = load_digits()
    spaces = train(digits, options.epochs, options.seed, output)
    embeddings = {name: space.embed(digits.held_out_images) for name, space in spaces.items()}
    found = {name: retrieve(each, digits.held_out_labels) for name, each in embeddings.items()}
    output.table(
        f"{len(digits.labels)} digits to learn from, {HELD_OUT} held out, vectors of {DIMENSIONS}, "
        f"{options.epochs} epochs in batches of {BATCH}",
        ["held-out neighbours of the same digit", *found],
        [
            [
                "the nearest neighbour (recall@1)",
                *(f"{each.recall:.3f}" for each in found.values()),
            ],
            [
                "as many as share its digit (R-precision)",
                *(f"{each.precision:.3f}" for each in found.values()),
            ],
        ],
    )
    if optional_import("matplotlib") is None:
        output.text(missing("matplotlib", "'fusedloss[cli]'", "the picture"))
    else:
        _draw(embeddings, digits.held_out_labels, found, options.output)
        output.text(f"The three spaces: {options.output}")
    poor = {name: each.recall for name, each in found.items() if each.recall < WANTED_RECALL}
    for name, recall in poor.items():
        output.error(f"{name}: recall@1 {recall:.3f} is below {WANTED_RECALL}")
    return 1 if poor else 0


def _draw(
    embeddings: dict[str, Array], labels: Array, found: dict[str, Retrieval], path: Path
) -> None:
    """Draw each space: as a plane, and as the cosines of all pairs."""
    order = labels.argsort(kind="stable")
    with _plot.style():
        figure = _plot.new_figure(11.5, 8)
        figure.suptitle(
            f"{len(labels)} held-out digits where three losses put them",
            x=0.01,
            ha="left",
            fontsize=12.5,
            fontweight="bold",
        )
        planes, cosines = figure.subplots(2, len(embeddings), height_ratios=(1.1, 1))
        for axes, (name, each) in zip(planes, embeddings.items(), strict=True):
            axes.set_title(f"{name}: recall@1 {found[name].recall:.3f}")
            _draw_plane(axes, each, labels)
        for axes, each in zip(cosines, embeddings.values(), strict=True):
            image = axes.imshow(each[order] @ each[order].T, cmap="RdBu_r", vmin=-1, vmax=1)
            _label_digits(axes, labels)
        planes[0].set_ylabel("first two principal components")
        cosines[0].set_ylabel("cosine of each pair, by digit")
        figure.colorbar(image, ax=cosines, shrink=0.8, pad=0.01)
        _plot.save(figure, path)


def _draw_plane(axes: Any, embeddings: Array, labels: Array) -> None:
    """Draw each embedding as its digit, where its two largest components are."""
    centred = embeddings - embeddings.mean(axis=0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    colours = optional_import("matplotlib").colormaps["tab10"]
    axes.scatter(*plane.T, s=0)  # for the limits
    for (x, y), label in zip(plane, labels, strict=True):
        axes.text(x, y, str(label), color=colours(int(label)), fontsize=7, ha="center", va="center")
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")


def _label_digits(axes: Any, labels: Array) -> None:
    """Write each digit beside the middle of its rows."""
    counts = np.bincount(labels)
    middles = counts.cumsum() - counts / 2
    axes.set_xticks(middles, range(CLASSES))
    axes.set_yticks(middles, range(CLASSES))
    axes.tick_params(length=0)
