"""``fusedloss demo boosting``: LightGBM on rare classes, by focal loss and by plain cross-entropy.

Ten tasks of scikit-learn's handwritten digits: is it a 0, is it a 1, ...? Only a few images of the
digit in question are kept to learn from. The boosters differ in the objective alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.boosting import Objective
from fusedloss.cli import _plot
from fusedloss.cli._output import Output
from fusedloss.cli.demo._part import WIDTH, Finding, Part, Picture, Report, Settings
from fusedloss.cli.demo._training import HELD_OUT, Digits, load_digits

DIGITS = range(10)
KEPT = 20  # images of the digit that is asked for
ROUNDS = 60
EVERY = 5  # rounds between two looks at the held-out digits
GAMMA = 2.0
PLAIN, FOCAL = "cross-entropy", "focal loss"
LOOKS: dict[str, dict[str, Any]] = {
    PLAIN: {"color": _plot.ORANGE, "linestyle": (0, (4, 2)), "marker": "s"},
    FOCAL: {"color": _plot.BLUE, "linestyle": "-", "marker": "o"},
}


def make_objectives() -> dict[str, Objective]:
    """Make the two that are compared."""
    return {
        PLAIN: Objective(fl.binary_cross_entropy_with_logits),
        FOCAL: Objective(fl.sigmoid_focal_loss, gamma=GAMMA, alpha=None),
    }


class Course(NamedTuple):
    """How one objective fared on the held-out digits, a row for each task."""

    precisions: list[list[float]]  # average precision, after EVERY rounds, 2 EVERY rounds, ...
    curves: list[Array]  # precision at each of RECALLS, after the last round


RECALLS = np.linspace(0, 1, 101)


def rank(found: Array, scores: Array) -> tuple[Array, Array]:
    """Return precision and recall when the best 1, 2, ... images are taken."""
    hits = found[np.argsort(-scores, kind="stable")].cumsum()
    return hits / np.arange(1, len(hits) + 1), hits / hits[-1]


def average_precision(found: Array, scores: Array) -> float:
    """Return the mean precision over the places where one more is found."""
    precision, recall = rank(found, scores)
    return float((np.diff(recall, prepend=0) * precision).sum())


def precision_at_recalls(found: Array, scores: Array) -> Array:
    """Return the best precision that is to be had at each of RECALLS, or above."""
    precision, recall = rank(found, scores)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at: Array = best[np.searchsorted(recall, RECALLS)]
    return at


def boost(digits: Digits, digit: int, objective: Objective, rounds: int, seed: int) -> Any:
    """Train on all other digits and a few of this one."""
    lightgbm = importlib.import_module("lightgbm")
    wanted = digits.labels == digit
    chosen = np.sort(np.concatenate((np.flatnonzero(wanted)[:KEPT], np.flatnonzero(~wanted))))
    target = wanted[chosen].astype(np.float64)
    options = {
        "objective": objective.lightgbm,
        "learning_rate": 0.1,
        "num_leaves": 8,
        "min_data_in_leaf": 5,
        "num_threads": fl.get_num_threads(),
        "deterministic": True,
        "seed": seed,
        "verbose": -1,
    }
    start = np.full(len(target), objective.initial(target))
    data = lightgbm.Dataset(digits.images[chosen], target, init_score=start, params=options)
    return lightgbm.train(options, data, rounds)


def train(digits: Digits, rounds: int, seed: int, output: Output) -> dict[str, Course]:
    """Train both objectives on all ten tasks, and rank the held-out digits."""
    objectives = make_objectives()
    courses = {name: Course([], []) for name in objectives}
    with output.progress("boosting", len(DIGITS) * len(objectives)) as advance:
        for digit in DIGITS:
            found = digits.held_out_labels == digit
            for name, objective in objectives.items():
                booster = boost(digits, digit, objective, rounds, seed)
                scores = [
                    booster.predict(digits.held_out_images, raw_score=True, num_iteration=number)
                    for number in looks(rounds)
                ]
                courses[name].precisions.append([average_precision(found, one) for one in scores])
                courses[name].curves.append(precision_at_recalls(found, scores[-1]))
                advance()
    return courses


def looks(rounds: int) -> list[int]:
    """Return after how many rounds the held-out digits are ranked, the last one included."""
    return [*range(EVERY, rounds, EVERY), rounds]


def run(settings: Settings, output: Output) -> Report:
    """Train and rank; what is promised is that focal loss finds more of the rare digits."""
    digits = load_digits()
    rounds = settings.share(ROUNDS)
    courses = train(digits, rounds, settings.seed, output)
    means = {name: np.mean(course.precisions, axis=0) for name, course in courses.items()}
    last = {name: float(mean[-1]) for name, mean in means.items()}
    better = sum(
        focal[-1] > plain[-1]
        for focal, plain in zip(courses[FOCAL].precisions, courses[PLAIN].precisions, strict=True)
    )
    share = KEPT / (len(digits.labels) * 0.9 + KEPT)
    return Report(
        f"Is it a 0, a 1, ..., a 9? Ten tasks of scikit-learn's handwritten digits, with {KEPT} "
        f"images of the digit in question among all the others, {share:.1%}. LightGBM trains "
        f"{rounds} rounds of the same trees by plain cross-entropy and by focal loss (gamma "
        f"{GAMMA:g}), then ranks {HELD_OUT} held-out digits.",
        [
            Finding(
                "average precision, rare digits",
                f"{last[FOCAL]:.3f}",
                "plain cross-entropy",
                f"{last[PLAIN]:.3f}",
            ),
            Finding("tasks that focal loss ranks better", str(better), "of", str(len(DIGITS))),
        ],
        [
            Picture(
                "boosting-rounds",
                "Rounds",
                "Average precision on held-out digits after so many rounds, the mean of the ten "
                "tasks.",
                lambda: _draw_rounds(means, looks(rounds)),
            ),
            Picture(
                "boosting-precision",
                "Precision and recall",
                "Whoever wants to find more of the rare digits has to take more of the others; the "
                "higher curve takes fewer.",
                lambda: _draw_precision(courses),
            ),
            Picture(
                "boosting-gradients",
                "Why",
                "How hard an image of another digit is pushed down. Most are easy, at the left: "
                "focal loss leaves them alone, and the few hard ones count.",
                _draw_gradients,
            ),
        ],
        []
        if last[FOCAL] > last[PLAIN]
        else [
            f"focal loss has an average precision of {last[FOCAL]:.3f}, plain cross-entropy of "
            f"{last[PLAIN]:.3f}, after {rounds} round{'s' * (rounds > 1)}"
        ],
    )


PART = Part(
    "boosting",
    "LightGBM on rare digits, by focal loss and by cross-entropy",
    {"sklearn.datasets": "scikit-learn", "lightgbm": "lightgbm", "scipy": "scipy"},
    run,
)


def _new_axes(height: float) -> tuple[Any, Any]:
    figure = _plot.new_figure(WIDTH, height)
    axes = figure.subplots()
    axes.grid(color="#E6E6E6", linewidth=0.7)
    return figure, axes


def _draw_rounds(means: Mapping[str, Array], rounds: list[int]) -> Any:
    figure, axes = _new_axes(3.6)
    for name, mean in means.items():
        axes.plot(rounds, mean, label=name, markersize=5, **LOOKS[name])
    axes.set_title("Average precision on held-out digits")
    axes.set_xlabel("rounds of boosting")
    axes.legend()
    return figure


def _draw_precision(courses: Mapping[str, Course]) -> Any:
    figure, axes = _new_axes(3.6)
    for name, course in courses.items():
        curve = np.mean(course.curves, axis=0)
        axes.plot(RECALLS, curve, label=name, markevery=10, markersize=5, **LOOKS[name])
    axes.set_title("Precision, the mean of ten tasks")
    axes.set_xlabel("recall: share of the rare digits that are found")
    axes.set_ylim(0, 1.03)
    axes.legend(loc="lower left")
    return figure


def _draw_gradients() -> Any:
    figure, axes = _new_axes(3.6)
    probability = np.linspace(0.001, 0.999, 400)
    logits = np.log(probability / (1 - probability))
    losses: dict[str, tuple[Any, dict[str, Any]]] = {
        PLAIN: (fl.binary_cross_entropy_with_logits, {}),
        FOCAL: (fl.sigmoid_focal_loss, {"gamma": GAMMA, "alpha": None}),
    }
    for name, (loss, options) in losses.items():
        gradient = fl.value_and_grad(loss)(logits, np.zeros(400), reduction="sum", **options)[1]
        axes.plot(probability, gradient, label=name, markevery=50, markersize=5, **LOOKS[name])
    axes.set_title("Gradient by the logit, of what is not the digit")
    axes.set_xlabel("predicted probability of the digit")
    axes.legend()
    return figure
