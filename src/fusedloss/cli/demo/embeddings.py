"""``fusedloss demo embeddings``: images become vectors, by three losses side by side.

Three networks start from the same numbers and see the same batches. Softmax and ArcFace learn
weights of the classes too, the triplet loss has none: it compares the images of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _plot
from fusedloss.cli._output import Output, optional_import
from fusedloss.cli.demo._part import WIDTH, Finding, Part, Picture, Report, Settings
from fusedloss.cli.demo._training import (
    HELD_OUT,
    PIXELS,
    Descent,
    Digits,
    Network,
    batches,
    load_digits,
)

EPOCHS = 60
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
    with output.progress("embeddings", epochs) as advance:
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


#: What the picture of each space says.
SENTENCES = {
    "softmax": "A plain classifier's embeddings: digits part, and their groups are wide.",
    "ArcFace": "A margin on the angle draws each digit together and pushes the others away.",
    "triplet": "The triplet loss has no classes' weights: it compares the images of a batch.",
}


def run(settings: Settings, output: Output) -> Report:
    """Train and look for neighbours; what is promised is how often the nearest is of its digit."""
    digits = load_digits()
    epochs = settings.share(EPOCHS)
    spaces = train(digits, epochs, settings.seed, output)
    embeddings = {name: space.embed(digits.held_out_images) for name, space in spaces.items()}
    found = {name: retrieve(each, digits.held_out_labels) for name, each in embeddings.items()}
    plain = found["softmax"]

    def picture(name: str) -> Picture:
        return Picture(
            f"embeddings-{name.lower()}",
            f"{name}: recall@1 {found[name].recall:.3f}",
            f"{SENTENCES[name]} Above, where {HELD_OUT} held-out digits lie; below, the cosine of "
            "each pair of them.",
            lambda: _draw(embeddings[name], digits.held_out_labels),
        )

    return Report(
        f"Three networks that start alike turn {len(digits.labels)} handwritten digits into "
        f"vectors of {DIMENSIONS} numbers, by three losses; then {HELD_OUT} held-out digits look "
        "for their neighbours.",
        [
            Finding(what, f"{mine:.3f}", "softmax", f"{other:.3f}")
            for name in ("ArcFace", "triplet")
            for what, mine, other in (
                (f"recall@1, {name}", found[name].recall, plain.recall),
                (f"R-precision, {name}", found[name].precision, plain.precision),
            )
        ],
        [picture(name) for name in spaces],
        [
            f"{name}: recall@1 {each.recall:.3f} is below {WANTED_RECALL} "
            f"after {epochs} epoch{'s' * (epochs > 1)}"
            for name, each in found.items()
            if each.recall < WANTED_RECALL
        ],
    )


PART = Part(
    "embeddings",
    "digits as vectors, by softmax, ArcFace and triplet loss",
    {"sklearn.datasets": "scikit-learn"},
    run,
)


def _draw(embeddings: Array, labels: Array) -> Any:
    """Draw a space: as a plane, and as the cosines of all pairs."""
    order = labels.argsort(kind="stable")
    figure = _plot.new_figure(WIDTH, 8.2)
    plane, cosines = figure.subplots(2, 1, height_ratios=(1, 1.05))
    plane.set_title("First two principal components")
    _draw_plane(plane, embeddings, labels)
    cosines.set_title("Cosine of each pair, sorted by digit")
    ordered = embeddings[order]
    # a scale whose lightness rises all the way: it reads in grey, too
    image = cosines.imshow(ordered @ ordered.T, cmap="cividis", vmin=-1, vmax=1)
    _label_digits(cosines, labels)
    figure.colorbar(image, ax=cosines, shrink=0.85, pad=0.02)
    return figure


def _draw_plane(axes: Any, embeddings: Array, labels: Array) -> None:
    """Draw each embedding as its digit, where its two largest components are."""
    centred = embeddings - embeddings.mean(axis=0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    colours = optional_import("matplotlib").colormaps["tab10"]
    axes.scatter(*plane.T, s=0)  # for the limits
    for (x, y), label in zip(plane, labels, strict=True):
        axes.text(
            x, y, str(label), color=colours(int(label)), fontsize=8.5, ha="center", va="center"
        )
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")


def _label_digits(axes: Any, labels: Array) -> None:
    """Write each digit beside the middle of its rows."""
    counts = np.bincount(labels)
    middles = counts.cumsum() - counts / 2
    axes.set_xticks(middles, range(CLASSES))
    axes.set_yticks(middles, range(CLASSES))
    axes.tick_params(length=0)
