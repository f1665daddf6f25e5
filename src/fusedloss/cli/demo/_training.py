"""What the parts share: the digits, and a network that learns from them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fusedloss._types import Array

PIXELS = 64
BATCH = 64
MOMENTUM = 0.9
HELD_OUT = 360


@dataclass
class Digits:
    """Handwritten digits of 8 x 8 pixels, shuffled, the last ones held out."""

    images: Array
    labels: Array
    held_out_images: Array
    held_out_labels: Array


def load_digits() -> Digits:
    """Load the digits that come with scikit-learn; the same ones are held out every time."""
    bundle = importlib.import_module("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(bundle.target))
    images = (bundle.data[order] / 16).astype(np.float32)
    labels = bundle.target[order]
    return Digits(images[:-HELD_OUT], labels[:-HELD_OUT], images[-HELD_OUT:], labels[-HELD_OUT:])


def batches(digits: Digits, order: Array) -> Iterator[tuple[Array, Array]]:
    """Give every training image once, in that order."""
    for batch in np.array_split(order, math.ceil(len(order) / BATCH)):
        yield digits.images[batch], digits.labels[batch]


class Descent:
    """Gradient descent with momentum, of parameters in place."""

    def __init__(self, parameters: Iterable[Array], learning_rate: float) -> None:
        self._learning_rate = learning_rate
        self._parameters = list(parameters)
        self._velocities = [np.zeros_like(each) for each in self._parameters]

    def step(self, grads: Iterable[Array]) -> None:
        """Learn from gradients in the order of the parameters."""
        each = zip(self._parameters, self._velocities, grads, strict=True)
        for parameter, velocity, grad in each:
            velocity *= MOMENTUM
            velocity -= self._learning_rate * grad
            parameter += velocity


class Network:
    """Layers of rectified units, the last one linear."""

    def __init__(self, sizes: Iterable[int], seed: int, learning_rate: float) -> None:
        """Make a network whose parameters follow from the seed alone."""
        random = np.random.default_rng(seed)
        self.layers: list[tuple[Array, Array]] = []
        for inputs, outputs in pairwise(sizes):
            weight = random.standard_normal((inputs, outputs)) * math.sqrt(2 / inputs)
            self.layers.append((weight.astype(np.float32), np.zeros(outputs, np.float32)))
        parameters = [each for layer in self.layers for each in layer]
        self._descent = Descent(parameters, learning_rate)

    def activations(self, images: Array) -> list[Array]:
        """Return the images and what each layer makes of them, the output last."""
        values = [images]
        for i, (weight, bias) in enumerate(self.layers):
            sums = values[-1] @ weight + bias
            values.append(np.maximum(sums, 0) if i + 1 < len(self.layers) else sums)
        return values

    def learn(self, activations: list[Array], grad: Array) -> None:
        """Take one step against the gradient by the output."""
        grads: list[Array] = []
        for (weight, _), inputs in zip(reversed(self.layers), activations[-2::-1], strict=True):
            grads = [inputs.T @ grad, grad.sum(axis=0), *grads]
            grad = grad @ weight.T
            grad[inputs == 0] = 0
        self._descent.step(grads)
