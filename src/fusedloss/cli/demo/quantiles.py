"""``fusedloss demo quantiles``: bands that hold a given share of what will be measured.

Linear models of quantiles on scikit-learn's diabetes data, beside a band of even width around
least squares.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _plot
from fusedloss.cli._output import Output
from fusedloss.cli.demo._part import WIDTH, Finding, Part, Picture, Report, Settings

LEVELS = np.arange(1, 10) / 10
FOLDS = 5
REPEATS = 4
#: The band lies between the first and the last of the levels.
WANTED = LEVELS[-1] - LEVELS[0]
#: With 442 patients the share within a band that is right varies by 0.02, and by chance twice that.
TOLERANCE = 0.06
GROUPS = 4
BMI = 2  # the column
QUANTILES, EVEN = "quantile loss", "even width"
LOOKS: dict[str, dict[str, Any]] = {
    QUANTILES: {"color": _plot.BLUE, "marker": "o", "linestyle": "-"},
    EVEN: {"color": _plot.ORANGE, "marker": "s", "linestyle": (0, (4, 2))},
}


def load_patients() -> tuple[Array, Array]:
    """Load ten measurements of each of 442 patients, and the disease's progression in a year."""
    bundle = importlib.import_module("sklearn.datasets").load_diabetes(scaled=False)
    return bundle.data, bundle.target


def fit_quantile(x: Array, y: Array, level: float) -> Any:
    """Fit a linear model of one quantile."""
    linear = importlib.import_module("fusedloss.sklearn").LinearRegressor
    model = linear(loss=fl.quantile_loss, loss_options={"quantile": level}, alpha=1e-4)
    return model.fit(x, y)


def predict_quantiles(x: Array, y: Array, held_out: Array) -> Array:
    """Return each level's prediction for what is held out; no level crosses another."""
    predicted = [fit_quantile(x, y, level).predict(held_out) for level in LEVELS]
    return np.sort(predicted, axis=0)


def predict_even(x: Array, y: Array, held_out: Array) -> Array:
    """Return the same from least squares and normal errors of one size."""
    model = importlib.import_module("sklearn.linear_model").LinearRegression().fit(x, y)
    deviation = np.sqrt(((y - model.predict(x)) ** 2).sum() / (len(y) - x.shape[1] - 1))
    steps = deviation * np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    predicted: Array = model.predict(held_out) + steps[:, None]
    return predicted


MODELS = {QUANTILES: predict_quantiles, EVEN: predict_even}


def cross_validate(
    x: Array, y: Array, repeats: int, seed: int, output: Output
) -> tuple[dict[str, Array], Array]:
    """Predict every patient from the others, some times over; return what was, too.

    Levels are on the first axis, predictions on the second.
    """
    random = np.random.default_rng(seed)
    predicted: dict[str, list[Array]] = {name: [] for name in MODELS}
    measured = []
    with output.progress("quantiles", repeats * FOLDS) as advance:
        for _ in range(repeats):
            for held_out in np.array_split(random.permutation(len(y)), FOLDS):
                others = np.delete(np.arange(len(y)), held_out)
                mean, deviation = x[others].mean(0), x[others].std(0)
                scaled = (x - mean) / deviation
                for name, model in MODELS.items():
                    predicted[name].append(model(scaled[others], y[others], scaled[held_out]))
                measured.append(y[held_out])
                advance()
    bands = {name: np.concatenate(each, axis=1) for name, each in predicted.items()}
    return bands, np.concatenate(measured)


def within(band: Array, y: Array) -> Array:
    """Return whether each lies between the outer levels."""
    inside: Array = (band[0] <= y) & (y <= band[-1])
    return inside


def by_group(band: Array, y: Array) -> list[float]:
    """Return the share within the band, of patients with low to high predictions."""
    order = band[len(LEVELS) // 2].argsort(kind="stable")
    inside = within(band, y)[order]
    return [float(part.mean()) for part in np.array_split(inside, GROUPS)]


def run(settings: Settings, output: Output) -> Report:
    """Fit and count; what is promised is the share within the band."""
    x, y = load_patients()
    bands, measured = cross_validate(x, y, settings.share(REPEATS), settings.seed, output)
    shares = {name: float(within(band, measured).mean()) for name, band in bands.items()}
    groups = {name: by_group(band, measured) for name, band in bands.items()}
    worst = {name: max(abs(each - WANTED) for each in of) for name, of in groups.items()}
    off = abs(shares[QUANTILES] - WANTED)
    return Report(
        f"How a disease progresses in a year, from ten measurements of {len(y)} patients "
        f"(scikit-learn's diabetes data): linear models of the quantiles {LEVELS[0]:g} to "
        f"{LEVELS[-1]:g}, beside least squares with a band of even width. Each patient is "
        "predicted by models of others.",
        [
            Finding(
                f"held-out share within the {WANTED:.0%} band",
                f"{shares[QUANTILES]:.1%}",
                "even width",
                f"{shares[EVEN]:.1%}",
            ),
            Finding(
                f"  furthest from {WANTED:.0%}, of {GROUPS} groups",
                f"{worst[QUANTILES] * 100:.1f} points",
                "even width",
                f"{worst[EVEN] * 100:.1f} points",
            ),
        ],
        [
            Picture(
                "quantiles-band",
                "A band",
                "Patients and their quantiles by body mass index alone: where the index is "
                "high, progression is higher and differs more.",
                lambda: _draw_band(x[:, BMI], y),
            ),
            Picture(
                "quantiles-groups",
                "Within the band",
                f"The share of held-out patients within the {WANTED:.0%} band, from those with a "
                "low prediction to those with a high one: a band of even width is too wide "
                "for the first.",
                lambda: _draw_groups(groups),
            ),
            Picture(
                "quantiles-levels",
                "Every level",
                "The share of held-out patients below each predicted quantile; on the line it is "
                "what was asked for.",
                lambda: _draw_levels(bands, measured),
            ),
        ],
        [
            f"{shares[QUANTILES]:.1%} are within the {WANTED:.0%} band, which is off by more than "
            f"{TOLERANCE * 100:g} points"
        ]
        if off > TOLERANCE
        else [],
    )


PART = Part(
    "quantiles",
    "bands that hold four of five patients, by quantile loss",
    {"sklearn.datasets": "scikit-learn", "scipy": "scipy"},
    run,
)


def _new_axes() -> tuple[Any, Any]:
    figure = _plot.new_figure(WIDTH, 3.8)
    axes = figure.subplots()
    axes.grid(color="#E6E6E6", linewidth=0.7)
    return figure, axes


def _draw_band(bmi: Array, y: Array) -> Any:
    figure, axes = _new_axes()
    axes.scatter(bmi, y, s=9, color=_plot.GREY, label="a patient", zorder=1)
    ends = np.array([bmi.min(), bmi.max()])
    mean, deviation = bmi.mean(), bmi.std()
    lines = []
    for level, style in ((LEVELS[-1], "--"), (LEVELS[4], "-"), (LEVELS[0], ":")):
        model = fit_quantile((bmi[:, None] - mean) / deviation, y, level)
        line = model.predict((ends[:, None] - mean) / deviation)
        axes.plot(ends, line, color=_plot.BLUE, linewidth=2, linestyle=style, label=f"{level:.0%}")
        lines.append(line)
    axes.fill_between(ends, lines[-1], lines[0], color=_plot.BLUE, alpha=0.1, linewidth=0)
    axes.set_title("Progression in a year, points")
    axes.set_xlabel("body mass index, kg/m²")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_groups(groups: Mapping[str, list[float]]) -> Any:
    figure, axes = _new_axes()
    places = range(1, GROUPS + 1)
    axes.axhline(WANTED * 100, color=_plot.DARK_GREY, linewidth=1, linestyle=":", label="wanted")
    for name, shares in groups.items():
        axes.plot(places, np.multiply(shares, 100), label=name, markersize=7, **LOOKS[name])
    axes.set_title("Held-out patients within the band, percent")
    axes.set_xticks(places, ["lowest", "low", "high", "highest"])
    axes.set_xlabel("predicted progression, quarters of the patients")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw_levels(bands: Mapping[str, Array], y: Array) -> Any:
    figure, axes = _new_axes()
    axes.plot([0, 100], [0, 100], color=_plot.DARK_GREY, linewidth=1, linestyle=":", label="wanted")
    for name, band in bands.items():
        below = (y <= band).mean(axis=1) * 100
        axes.plot(LEVELS * 100, below, label=name, markersize=5, **LOOKS[name])
    axes.set_title("Held-out patients below, percent")
    axes.set_xlabel("predicted quantile, percent")
    axes.legend()
    return figure
