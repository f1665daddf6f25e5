"""What the parts share: the digits, and a network that learns from them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from fusedloss._types import Array

PIXELS = 64
BATCH = 64
MOMENTUM = 0.9
DECAYS = 0.9, 0.999  # of Adam's means of gradients and of their squares
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


class Optimiser(Protocol):
    """What changes parameters in place."""

    def step(self, grads: Iterable[Array]) -> None:
        """Learn from gradients in the order of the parameters."""


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


class Adam:
    """Adam, of parameters in place; the learning rate may change between steps."""

    def __init__(self, parameters: Iterable[Array], learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._parameters = list(parameters)
        self._means = [np.zeros_like(each) for each in self._parameters]
        self._squares = [np.zeros_like(each) for each in self._parameters]
        self._steps = 0

    def step(self, grads: Iterable[Array]) -> None:
        """Learn from gradients in the order of the parameters."""
        first, second = DECAYS
        self._steps += 1
        unbiased = math.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        each = zip(self._parameters, self._means, self._squares, grads, strict=True)
        for parameter, mean, square, grad in each:
            mean += (1 - first) * (grad - mean)
            square += (1 - second) * (grad * grad - square)
            parameter -= self.learning_rate * unbiased * mean / (np.sqrt(square) + 1e-8)


class Network:
    """Layers of rectified units, the last one linear."""

    def __init__(
        self,
        sizes: Iterable[int],
        seed: int,
        learning_rate: float,
        optimiser: Callable[[Iterable[Array], float], Optimiser] = Descent,
    ) -> None:
        """Make a network whose parameters follow from the seed alone."""
        random = np.random.default_rng(seed)
        self.layers: list[tuple[Array, Array]] = []
        for inputs, outputs in pairwise(sizes):
            weight = random.standard_normal((inputs, outputs)) * math.sqrt(2 / inputs)
            self.layers.append((weight.astype(np.float32), np.zeros(outputs, np.float32)))
        parameters = [each for layer in self.layers for each in layer]
        self._optimiser = optimiser(parameters, learning_rate)

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
        backwards = zip(reversed(self.layers), activations[-2::-1], strict=True)
        for i, ((weight, _), inputs) in enumerate(backwards):
            grads = [inputs.T @ grad, grad.sum(axis=0), *grads]
            if i + 1 < len(self.layers):
                grad = grad @ weight.T
                grad[inputs == 0] = 0
        self._optimiser.step(grads)
