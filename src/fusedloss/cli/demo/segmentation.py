"""``fusedloss demo segmentation``: find few pixels among many, by four losses.

The scenes are cut from the two photographs that come with scikit-learn, with one of its handwritten
digits written over each; the mask is the digit's ink, less than one pixel in a hundred.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _plot
from fusedloss.cli._output import Output
from fusedloss.cli.demo._part import WIDTH, Finding, Part, Picture, Report, Settings
from fusedloss.cli.demo._training import Adam, Digits, Network, load_digits

SIZE = 48  # pixels of a scene's sides
RADIUS = 4  # of the window that a pixel is told by
DIGIT = 8  # pixels of a digit's sides
INK = 0.8
SHADE = 0.9  # the photographs are darkened by: white ink shows everywhere
BATCH = 8
HELD_OUT = 40
HIDDEN = 32
STEPS = 200
LOOKS_EVERY = 20
LEARNING_RATE = 5e-3
WANTED_DICE = 0.3

CROSS_ENTROPY, DICE = "cross-entropy", "Dice"
#: Losses of logits and masks of shape (scenes, 1, height, width), the whole batch at once.
LOSSES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    CROSS_ENTROPY: (fl.binary_cross_entropy_with_logits, {}),
    DICE: (fl.dice_loss, {"activation": "sigmoid", "batch": True}),
    "focal Tversky": (fl.focal_tversky_loss, {"activation": "sigmoid", "batch": True}),
}
LOOKS: dict[str, dict[str, Any]] = {
    CROSS_ENTROPY: {"color": _plot.ORANGE, "marker": "s", "linestyle": (0, (4, 2))},
    DICE: {"color": _plot.BLUE, "marker": "o", "linestyle": "-"},
    "focal Tversky": {"color": _plot.GREEN, "marker": "^", "linestyle": ":"},
}


class Scenes(NamedTuple):
    """Grey images of shape (scenes, height, width), and masks of the digits in them."""

    images: Array
    masks: Array


@dataclass
class Painter:
    """Cuts scenes from one half of each photograph, and writes digits over them."""

    photographs: list[Array]
    digits: Array
    random: np.random.Generator

    def paint(self, count: int) -> Scenes:
        """Make so many scenes."""
        scenes = [self._scene() for _ in range(count)]
        return Scenes(*map(np.stack, zip(*scenes, strict=True)))

    def _scene(self) -> tuple[Array, Array]:
        photograph = self.photographs[self.random.integers(len(self.photographs))]
        digit = self.digits[self.random.integers(len(self.digits))].reshape(DIGIT, DIGIT)
        corner = self.random.integers(np.subtract(photograph.shape, SIZE) + 1)
        image = photograph[_square(corner, SIZE)].copy()
        mask = np.zeros_like(image)
        place = _square(self.random.integers(RADIUS, SIZE - DIGIT - RADIUS, 2), DIGIT)
        image[place] += INK * digit * (1 - image[place])  # white ink, more or less of it
        mask[place] = digit > 0.5
        return image, mask


def _square(corner: Array, size: int) -> tuple[slice, slice]:
    first, second = corner
    return slice(first, first + size), slice(second, second + size)


def make_painters(digits: Digits, seed: int) -> tuple[Painter, Painter]:
    """Make one of scenes to learn from, and one of scenes with nothing in common with them."""
    images = importlib.import_module("sklearn.datasets").load_sample_images().images
    grey = [np.asarray(image, np.float32).mean(axis=2) * (SHADE / 255) for image in images]
    middles = [image.shape[1] // 2 for image in grey]
    left = [image[:, :middle] for image, middle in zip(grey, middles, strict=True)]
    right = [image[:, middle:] for image, middle in zip(grey, middles, strict=True)]
    return (
        Painter(left, digits.images, np.random.default_rng(seed)),
        Painter(right, digits.held_out_images, np.random.default_rng(seed + 1)),
    )


def windows(images: Array) -> Array:
    """Return each pixel's neighbourhood as a row."""
    width = 2 * RADIUS + 1
    padded = np.pad(images, ((0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (width, width), axis=(1, 2))
    rows: Array = views.reshape(-1, width * width) * np.float32(2) - np.float32(1)
    return rows


class Score(NamedTuple):
    """How well pixels are found; Dice is the harmonic mean of the other two."""

    dice: float
    precision: float
    recall: float


@dataclass
class Segmenter:
    """A network of windows with a loss, and how it fares on held-out scenes."""

    loss: Callable[..., tuple[float, Array]]
    options: Mapping[str, Any]
    network: Network
    scores: list[Score] = field(default_factory=list)

    def step(self, rows: Array, masks: Array) -> None:
        """Learn from a batch of scenes."""
        activations = self.network.activations(rows)
        logits = activations[-1].reshape(len(masks), 1, SIZE, SIZE)
        _, gradient = self.loss(logits, masks[:, None], **self.options)
        self.network.learn(activations, gradient.reshape(-1, 1))

    def find(self, rows: Array) -> Array:
        """Return which pixels are held for a digit's."""
        found: Array = self.network.activations(rows)[-1].reshape(-1, SIZE, SIZE) > 0
        return found

    def look(self, rows: Array, masks: Array) -> None:
        """Note how it fares."""
        found = self.find(rows)
        hits, taken, wanted = (found * masks).sum(), found.sum(), masks.sum()
        self.scores.append(
            Score(
                float(2 * hits / (taken + wanted)),
                float(hits / max(taken, 1)),
                float(hits / wanted),
            )
        )


def train(
    painter: Painter, held_out: Scenes, steps: int, seed: int, output: Output
) -> dict[str, Segmenter]:
    """Train networks that start alike on the same scenes, turn by turn."""
    sizes = (2 * RADIUS + 1) ** 2, HIDDEN, 1
    segmenters = {
        name: Segmenter(fl.value_and_grad(loss), options, Network(sizes, seed, LEARNING_RATE, Adam))
        for name, (loss, options) in LOSSES.items()
    }
    held_out_rows = windows(held_out.images)
    with output.progress("segmentation", steps) as advance:
        for step in range(1, steps + 1):
            scenes = painter.paint(BATCH)
            rows = windows(scenes.images)
            for segmenter in segmenters.values():
                segmenter.step(rows, scenes.masks)
                if step % LOOKS_EVERY == 0 or step == steps:
                    segmenter.look(held_out_rows, held_out.masks)
            advance()
    return segmenters


def run(settings: Settings, output: Output) -> Report:
    """Train and look; what is promised is that Dice finds what cross-entropy misses."""
    painter, other = make_painters(load_digits(), settings.seed)
    held_out = other.paint(HELD_OUT)
    steps = settings.share(STEPS)
    segmenters = train(painter, held_out, steps, settings.seed, output)
    last = {name: segmenter.scores[-1] for name, segmenter in segmenters.items()}
    plain = last[CROSS_ENTROPY]
    seen = [*range(LOOKS_EVERY, steps, LOOKS_EVERY), steps]
    problems = []
    if not last[DICE].dice > max(WANTED_DICE, plain.dice):
        problems.append(
            f"Dice {last[DICE].dice:.3f} by Dice loss is not above {WANTED_DICE} and the "
            f"{plain.dice:.3f} by cross-entropy, after {steps} step{'s' * (steps > 1)}"
        )
    return Report(
        "Scenes are cut from the two photographs that come with scikit-learn, darkened, and one of "
        f"its handwritten digits is written over each: {held_out.masks.mean():.1%} of the pixels. "
        f"Networks that start alike learn in {steps} steps to find them, one by each loss; held "
        "out are the other halves of the photographs, and other digits.",
        [
            Finding(f"{what}, {name} loss", f"{mine:.3f}", "cross-entropy", f"{theirs:.3f}")
            for name in LOSSES
            if name != CROSS_ENTROPY
            for what, mine, theirs in (
                ("held-out Dice score", last[name].dice, plain.dice),
                ("  recall of pixels", last[name].recall, plain.recall),
            )
        ],
        [
            Picture(
                "segmentation-scenes",
                "Scenes",
                "Held-out scenes, their masks, and what each loss makes the network find.",
                lambda: _draw_scenes(held_out, segmenters),
            ),
            Picture(
                "segmentation-learning",
                "Learning",
                "Cross-entropy spends its time on the background; losses of overlap are after the "
                "digits from the start.",
                lambda: _draw_learning(segmenters, seen),
            ),
        ],
        problems,
    )


PART = Part(
    "segmentation",
    "digits written over photographs, by cross-entropy and losses of overlap",
    {"sklearn.datasets": "scikit-learn", "PIL": "pillow"},
    run,
)


def _draw_scenes(held_out: Scenes, segmenters: Mapping[str, Segmenter]) -> Any:
    rows = 5
    rows_of_pixels = windows(held_out.images[:rows])
    columns = {
        "scene": held_out.images[:rows],
        "mask": held_out.masks[:rows],
        **{name: segmenter.find(rows_of_pixels) for name, segmenter in segmenters.items()},
    }
    figure = _plot.new_figure(WIDTH, 5.1)
    grid = figure.subplots(rows, len(columns))
    for axes_of_column, (name, images) in zip(grid.T, columns.items(), strict=True):
        axes_of_column[0].set_title(name.replace(" ", "\n"), loc="center", fontsize=9)
        for axes, image in zip(axes_of_column, images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#999999")
    return figure


def _draw_learning(segmenters: Mapping[str, Segmenter], steps: list[int]) -> Any:
    figure = _plot.new_figure(WIDTH, 3.8)
    axes = figure.subplots()
    axes.grid(color="#E6E6E6", linewidth=0.7)
    for name, segmenter in segmenters.items():
        dice = [score.dice for score in segmenter.scores]
        axes.plot(steps, dice, label=name, markersize=5, **LOOKS[name])
    axes.set_title("Dice score on held-out scenes")
    axes.set_xlabel(f"steps of {BATCH} scenes")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3)
    return figure
