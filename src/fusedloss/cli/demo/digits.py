"""``fusedloss demo digits``: train a small network on handwritten digits, in NumPy and fusedloss.

Two networks start from the same numbers and see the same batches. One takes its loss and gradient
from `fusedloss.value_and_grad`, the other from a few lines of plain NumPy; all else is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _plain_numpy, _plot
from fusedloss.cli._format import format_ratio
from fusedloss.cli._output import Output
from fusedloss.cli.demo._part import WIDTH, Finding, Part, Picture, Report, Settings
from fusedloss.cli.demo._training import (
    BATCH,
    HELD_OUT,
    PIXELS,
    Digits,
    Network,
    batches,
    load_digits,
)

LossAndGrad = Callable[[Array, Array], tuple[float, Array]]

EPOCHS = 40
HIDDEN = 128
LEARNING_RATE = 0.05
WANTED_ACCURACY = 0.96

# Both losses round to float32, in different order, so their gradients differ by about 1e-7 of their
# size. Training carries that on, most of all where it leaves a hidden unit on the other side of 0.
# Over twenty seeds and ten times the epochs the curves differed by up to 1.1e-5.
TOLERANCE = 1e-4


@dataclass
class Classifier:
    """A network with a loss, and how it fares."""

    loss_and_grad: LossAndGrad
    network: Network
    losses: list[float] = field(default_factory=list)  # per epoch, mean over the batches
    accuracies: list[float] = field(default_factory=list)  # per epoch, held out
    seconds: list[float] = field(default_factory=list)  # per epoch, in loss_and_grad

    def predict(self, images: Array) -> Array:
        """Return the most likely class of each image."""
        labels: Array = self.network.activations(images)[-1].argmax(axis=1)
        return labels

    def step(self, images: Array, labels: Array) -> tuple[float, float]:
        """Learn from one batch; return its loss and the time that loss and gradient took."""
        activations = self.network.activations(images)
        start = perf_counter()
        loss, grad_logits = self.loss_and_grad(activations[-1], labels)
        seconds = perf_counter() - start
        self.network.learn(activations, grad_logits)
        return loss, seconds

    def epoch(self, digits: Digits, order: Array) -> None:
        """Learn from every training image once, in that order."""
        steps = [self.step(images, labels) for images, labels in batches(digits, order)]
        self.losses.append(float(np.mean([loss for loss, _ in steps])))
        self.seconds.append(sum(seconds for _, seconds in steps))
        correct = self.predict(digits.held_out_images) == digits.held_out_labels
        self.accuracies.append(float(np.mean(correct)))


def train(digits: Digits, epochs: int, seed: int, output: Output) -> tuple[Classifier, Classifier]:
    """Train both networks, turn by turn; return fusedloss's and plain NumPy's."""
    sizes = PIXELS, HIDDEN, 10
    classifiers = (
        Classifier(fl.value_and_grad(fl.cross_entropy), Network(sizes, seed, LEARNING_RATE)),
        Classifier(_plain_numpy.cross_entropy_and_grad, Network(sizes, seed, LEARNING_RATE)),
    )
    random = np.random.default_rng(seed)
    with output.progress("digits", epochs) as advance:
        for _ in range(epochs):
            order = random.permutation(len(digits.labels))
            for classifier in classifiers:
                classifier.epoch(digits, order)
            advance()
    return classifiers


def run(settings: Settings, output: Output) -> Report:
    """Train and compare; what is promised is accuracy and agreement."""
    digits = load_digits()
    epochs = settings.share(EPOCHS)
    fused, plain = train(digits, epochs, settings.seed, output)
    pairs = zip(fused.losses, plain.losses, strict=True)
    difference = max(abs(mine - other) for mine, other in pairs)
    problems = []
    if not difference <= TOLERANCE:
        problems.append(f"the loss curves differ by {difference:.1e}, more than {TOLERANCE:g}")
    if fused.accuracies[-1] < WANTED_ACCURACY:
        problems.append(
            f"held-out accuracy {fused.accuracies[-1]:.3f} is below {WANTED_ACCURACY} "
            f"after {epochs} epoch{'s' * (epochs > 1)}"
        )
    predicted = fused.predict(digits.held_out_images)
    wrong = np.count_nonzero(predicted != digits.held_out_labels)
    return Report(
        f"A network of {HIDDEN} hidden units learns from {len(digits.labels)} of scikit-learn's "
        f"handwritten digits in batches of {BATCH}; {HELD_OUT} digits are held out. Its loss and "
        "gradient are fusedloss's; a second network, the same in all else, takes plain NumPy's.",
        [
            Finding(
                "held-out accuracy",
                f"{fused.accuracies[-1]:.3f}",
                "plain NumPy",
                f"{plain.accuracies[-1]:.3f}",
            ),
            Finding(
                "time of loss and gradient",
                "1",
                "plain NumPy",
                format_ratio(median(plain.seconds) / median(fused.seconds)),
            ),
            Finding("the two loss curves differ by", f"{difference:.1e}", "allowed", "1e-04"),
        ],
        [
            Picture(
                "digits-learning",
                "Learning",
                "Loss and accuracy are the same with fusedloss and with plain NumPy; the time that "
                "they take of an epoch is not.",
                lambda: _draw_curves(fused, plain),
            ),
            Picture(
                "digits-held-out",
                "Held-out digits",
                f"Digits that the network has not seen, under what it takes them for: {wrong} of "
                f"{HELD_OUT} are wrong, and are shown first.",
                lambda: _draw_digits(digits, predicted),
            ),
        ],
        problems,
    )


PART = Part(
    "digits",
    "a classifier of handwritten digits, fusedloss beside plain NumPy",
    {"sklearn.datasets": "scikit-learn"},
    run,
)


def _draw_curves(fused: Classifier, plain: Classifier) -> Any:
    """Draw loss and accuracy over the epochs, and the time in the loss."""
    figure = _plot.new_figure(WIDTH, 4.6)
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1))
    loss, accuracy = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    time = figure.add_subplot(grid[1, :])
    epochs = range(1, len(fused.losses) + 1)
    for axes, of in ((loss, "losses"), (accuracy, "accuracies")):
        axes.plot(epochs, getattr(fused, of), color=_plot.BLUE, linewidth=2.6, label="fusedloss")
        axes.plot(
            epochs,
            getattr(plain, of),
            color=_plot.ORANGE,
            linewidth=1.2,
            linestyle=(0, (3, 2)),
            label="plain NumPy",
        )
        axes.set_xlabel("epoch")
        axes.margins(x=0.02)
        axes.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    loss.set_title("Training loss, nats")
    loss.set_yscale("log")
    loss.legend()
    accuracy.set_title("Held-out accuracy")
    seconds = [median(plain.seconds) * 1e3, median(fused.seconds) * 1e3]
    time.set_title("Milliseconds in loss and gradient, an epoch")
    bars = time.barh(
        ["plain NumPy", "fusedloss"], seconds, color=[_plot.ORANGE, _plot.BLUE], height=0.7
    )
    time.bar_label(bars, [format_ratio(value) for value in seconds], padding=3)
    time.margins(x=0.12)
    time.spines[["left", "bottom"]].set_visible(False)
    time.tick_params(length=0)
    time.set_xticks([])
    return figure


def _draw_digits(digits: Digits, predicted: Array) -> Any:
    """Draw held-out digits under their predictions, the mistakes first and in red."""
    rows, columns = 6, 6
    wrong = predicted != digits.held_out_labels
    shown = np.argsort(~wrong, kind="stable")[: rows * columns]
    figure = _plot.new_figure(WIDTH, 5.6)
    for axes, i in zip(figure.subplots(rows, columns).flat, shown, strict=True):
        axes.imshow(digits.held_out_images[i].reshape(8, 8), cmap="Greys", interpolation="nearest")
        label = f"{predicted[i]}, not {digits.held_out_labels[i]}" if wrong[i] else predicted[i]
        axes.set_title(
            label,
            loc="center",
            fontsize=9.5,
            pad=3,
            fontweight="bold" if wrong[i] else "normal",
            color=_plot.RED if wrong[i] else "#333333",
        )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=_plot.RED if wrong[i] else "#DDDDDD")
    return figure
