"""``fusedloss demo digits``: train a small network on handwritten digits, in NumPy and fusedloss.

Two networks start from the same numbers and see the same batches. One takes its loss and gradient
from `fusedloss.value_and_grad`, the other from a few lines of plain NumPy; all else is shared.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _plain_numpy, _plot
from fusedloss.cli._arguments import output_path, positive, whole
from fusedloss.cli._format import format_ratio, format_seconds
from fusedloss.cli._output import Output, missing, optional_import
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
    with output.progress("training", epochs) as advance:
        for _ in range(epochs):
            order = random.permutation(len(digits.labels))
            for classifier in classifiers:
                classifier.epoch(digits, order)
            advance()
    return classifiers


def add_part(parts: Any) -> argparse.ArgumentParser:
    """Add this part to the parser of ``demo``; return its own."""
    parser: argparse.ArgumentParser = parts.add_parser(
        "digits",
        help="a classifier of handwritten digits, fusedloss beside plain NumPy",
        description=(
            "Train a small network on scikit-learn's handwritten digits, fusedloss computing loss "
            "and gradient, and the same network with a plain NumPy loss beside it. Fails where "
            f"held-out accuracy stays below {WANTED_ACCURACY} or the loss curves differ by more "
            f"than {TOLERANCE:g}."
        ),
    )
    parser.add_argument("--epochs", type=positive, default=40, metavar="N", help="default: 40")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--output",
        type=output_path(".png"),
        default=Path("fusedloss-digits.png"),
        metavar="FILE",
        help="the picture (default: fusedloss-digits.png)",
    )
    parser.set_defaults(run=run)
    return parser


def run(options: argparse.Namespace, output: Output) -> int:
    """Train, compare, draw; fail where accuracy or agreement is not reached."""
    if optional_import("sklearn.datasets") is None:
        output.error(missing("scikit-learn", "'fusedloss[demo]'", "the handwritten digits"))
        return 1
    digits = load_digits()
    fused, plain = train(digits, options.epochs, options.seed, output)
    difference = max(
        abs(mine - other) for mine, other in zip(fused.losses, plain.losses, strict=True)
    )
    title = (
        f"{len(digits.labels)} digits to learn from, {HELD_OUT} held out, {HIDDEN} hidden units, "
        f"{options.epochs} epochs in batches of {BATCH}"
    )
    slower = format_ratio(median(plain.seconds) / median(fused.seconds))
    output.table(
        title,
        ["", "fusedloss", "plain NumPy"],
        [
            ["last training loss", f"{fused.losses[-1]:.6f}", f"{plain.losses[-1]:.6f}"],
            ["held-out accuracy", f"{fused.accuracies[-1]:.3f}", f"{plain.accuracies[-1]:.3f}"],
            [
                "loss and gradient, an epoch",
                *(format_seconds(median(each.seconds)) for each in (fused, plain)),
            ],
            ["  over fusedloss", "1.00", slower],
        ],
    )
    output.text(
        f"The loss curves differ by at most {difference:.1e} (tolerance {TOLERANCE:g}, float32)."
    )
    if optional_import("matplotlib") is None:
        output.text(missing("matplotlib", "'fusedloss[cli]'", "the picture"))
    else:
        _draw(digits, fused, plain, options.output)
        output.text(f"The learning curves and some held-out digits: {options.output}")

    status = 0
    if not difference <= TOLERANCE:
        output.error(f"the loss curves differ by {difference:.1e}, more than {TOLERANCE:g}")
        status = 1
    if fused.accuracies[-1] < WANTED_ACCURACY:
        output.error(
            f"held-out accuracy {fused.accuracies[-1]:.3f} is below {WANTED_ACCURACY} "
            f"after {options.epochs} epoch{'s' * (options.epochs > 1)}"
        )
        status = 1
    return status


def _draw(digits: Digits, fused: Classifier, plain: Classifier, path: Path) -> None:
    """Draw the learning curves, the time that each loss took, and held-out digits."""
    with _plot.style():
        figure = _plot.new_figure(11, 5.2)
        figure.suptitle(
            "A small network learns handwritten digits: loss and gradient by fusedloss, in NumPy",
            x=0.01,
            ha="left",
            fontsize=12.5,
            fontweight="bold",
        )
        curves, gallery = figure.subfigures(1, 2, width_ratios=(1.02, 1))
        _draw_curves(curves, fused, plain)
        _draw_digits(gallery, digits, fused)
        _plot.save(figure, path)


def _draw_curves(figure: Any, fused: Classifier, plain: Classifier) -> None:
    """Draw loss and accuracy over the epochs, and the time in the loss."""
    (loss, accuracy), (time, empty) = figure.subplots(2, 2, height_ratios=(2.6, 1))
    epochs = range(1, len(fused.losses) + 1)
    grid = time.get_gridspec()
    time.remove()
    empty.remove()
    time = figure.add_subplot(grid[1, :])
    for axes, of in ((loss, "losses"), (accuracy, "accuracies")):
        axes.plot(epochs, getattr(fused, of), color=_plot.BLUE, linewidth=2.4, label="fusedloss")
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
    loss.set_title("Training loss")
    loss.set_yscale("log")
    loss.legend()
    accuracy.set_title("Held-out accuracy")
    accuracy.axhline(WANTED_ACCURACY, color="#555555", linewidth=0.8, linestyle=":")
    accuracy.annotate(
        f"last epoch: {fused.accuracies[-1]:.3f}",
        (0.98, 0.04),
        xycoords="axes fraction",
        ha="right",
        fontsize=8.5,
        color="#333333",
    )
    seconds = [median(plain.seconds) * 1e3, median(fused.seconds) * 1e3]
    time.set_title("Milliseconds in loss and gradient, an epoch")
    time.barh(["plain NumPy", "fusedloss"], seconds, color=[_plot.ORANGE, _plot.BLUE], height=0.7)
    for i, value in enumerate(seconds):
        time.annotate(
            format_ratio(value),
            (value, i),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )
    time.spines[["left", "bottom"]].set_visible(False)
    time.tick_params(length=0)
    time.set_xticks([])


def _draw_digits(figure: Any, digits: Digits, classifier: Classifier) -> None:
    """Draw held-out digits under their predictions, the mistakes first and in red."""
    rows, columns = 6, 8
    predicted = classifier.predict(digits.held_out_images)
    wrong = predicted != digits.held_out_labels
    shown = np.argsort(~wrong, kind="stable")[: rows * columns]
    figure.suptitle(
        f"Held-out digits as predicted: {np.count_nonzero(wrong)} of {len(wrong)} wrong",
        x=0.02,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    for axes, i in zip(figure.subplots(rows, columns).flat, shown, strict=True):
        axes.imshow(digits.held_out_images[i].reshape(8, 8), cmap="Greys", interpolation="nearest")
        label = f"{predicted[i]}, not {digits.held_out_labels[i]}" if wrong[i] else predicted[i]
        axes.set_title(
            label,
            loc="center",
            fontsize=8.5,
            pad=3,
            fontweight="bold" if wrong[i] else "normal",
            color=_plot.RED if wrong[i] else "#333333",
        )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=_plot.RED if wrong[i] else "#DDDDDD")
