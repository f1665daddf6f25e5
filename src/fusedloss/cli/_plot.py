"""What the commands draw with matplotlib: figures as PNG files, without a display."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fusedloss.cli._format import format_ratio

# Told apart by colour-blind readers: Okabe and Ito's colours, a dark red, and greys.
BLUE, LIGHT_BLUE, GREEN = "#0072B2", "#7FB8DA", "#009E73"
ORANGE, RED, PINK = "#E69F00", "#C0392B", "#CC79A7"
DARK_GREY, GREY = "#555555", "#AAAAAA"

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#999999",
    "font.size": 9.5,
    "legend.frameon": False,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
}


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure of that size in inches; call it within `style`."""
    figure = importlib.import_module("matplotlib.figure")
    return figure.Figure(figsize=(width, height), layout="constrained")


def style() -> Any:
    """Return a context in which figures have the project's looks."""
    return importlib.import_module("matplotlib").rc_context(STYLE)


def _titled_figure(width: float, height: float, title: str) -> Any:
    figure = new_figure(width, height)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def save(figure: Any, path: Path) -> None:
    """Write the figure as PNG."""
    figure.savefig(path, dpi=150, format="png", facecolor="white")


Bars = Mapping[str, Mapping[str, float]]


def draw_ratios(
    panels: Mapping[str, Bars],
    path: Path,
    *,
    title: str,
    axis_label: str | Mapping[str, str],
    colours: Mapping[str, str],
    targets: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Draw ratios on a logarithmic axis as bars that start at 1.

    Parameters
    ----------
    panels
        For each panel, for each group of bars (top to bottom), the ratio of each contender.
    path
        The PNG file.
    title, axis_label
        Words over the figure, and under each axis, all alike or each panel's own.
    colours
        Colour of each contender; their order is the order within a group.
    targets
        For each panel and group, a value to mark at the first contender.
    """
    with style():
        columns = min(PANELS, len(panels))
        lines = [list(panels)[i : i + columns] for i in range(0, len(panels), columns)]
        heights = [max(_height(panels[panel]) for panel in line) for line in lines]
        figure = _titled_figure(5.4 * columns, 0.9 + sum(heights), title)
        grid = figure.subplots(
            len(lines), columns, sharex=len(lines) == 1, squeeze=False, height_ratios=heights
        )
        for line, all_axes in zip(lines, grid, strict=True):
            for panel, axes in zip(line, all_axes, strict=False):
                axes.set_title(panel)
                _draw_groups(axes, panels[panel], colours, (targets or {}).get(panel, {}))
                axes.set_xlabel(axis_label if isinstance(axis_label, str) else axis_label[panel])
            # bars as far apart in a short panel as in the longest beside it
            bottom = max(axes.get_ylim()[0] for axes in all_axes[: len(line)])
            for axes in all_axes[: len(line)]:
                axes.set_ylim(bottom, -0.7)
            for axes in all_axes[len(line) :]:
                axes.remove()
        present = {name for groups in panels.values() for bars in groups.values() for name in bars}
        names = [name for name in colours if name in present]
        line = importlib.import_module("matplotlib.lines").Line2D
        handles = [
            line(
                [], [], color=colours[name], marker=_marker(name, colours), linewidth=6, label=name
            )
            for name in names
        ]
        if targets:
            mark = {"marker": "|", "markersize": 13, "markeredgewidth": 1.5, "linestyle": ""}
            handles.append(line([], [], color="black", label="target", **mark))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        save(figure, path)


#: Panels side by side, at most.
PANELS = 3


def _marker(name: str, colours: Mapping[str, str]) -> str:
    """Return the sign at the end of a contender's bars, which tells them apart in grey, too."""
    return "osD^vPX*"[list(colours).index(name) % 8]


def _height(groups: Bars) -> float:
    """Return the inches that a panel takes."""
    return 0.6 + 0.17 * sum(len(bars) for bars in groups.values()) + 0.16 * len(groups)


def _draw_groups(
    axes: Any, groups: Bars, colours: Mapping[str, str], targets: Mapping[str, float]
) -> None:
    """Draw one panel: a label and its bars for each group."""
    patheffects = importlib.import_module("matplotlib.patheffects")
    halo = patheffects.withStroke(linewidth=2.5, foreground="white")
    ticks: list[float] = []
    position = 0.0
    for group, bars in groups.items():
        names: Sequence[str] = [name for name in colours if name in bars]
        first = position
        for name in names:
            # From 1 on: the length of a bar on a logarithmic axis means something only that way.
            axes.hlines(position, 1, bars[name], color=colours[name], linewidth=6, zorder=2)
            mark = _marker(name, colours)
            axes.plot(bars[name], position, mark, color=colours[name], markersize=8, zorder=2)
            axes.annotate(
                format_ratio(bars[name]),
                (bars[name], position),
                xytext=(7 if bars[name] >= 1 else -7, 0),
                textcoords="offset points",
                ha="left" if bars[name] >= 1 else "right",
                va="center",
                fontsize=8,
                color="#333333",
                path_effects=[halo],
                zorder=4,
            )
            position += 1
        if group in targets:
            axes.vlines(targets[group], first - 0.6, first + 0.6, color="black", zorder=3)
        ticks.append((first + position - 1) / 2)
        position += 0.9
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_ylim(-0.7, position - 1.2)
    axes.axvline(1, color="#555555", linewidth=0.9, zorder=1)
    axes.set_yticks(ticks, list(groups))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.invert_yaxis()
    formatter = importlib.import_module("matplotlib.ticker").FormatStrFormatter("%g")
    axes.xaxis.set_major_formatter(formatter)


class Point(NamedTuple):
    """One measurement of a curve."""

    label: str
    size: int
    seconds: float  # per unit of size


def draw_curves(
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    path: Path,
    *,
    title: str,
    colours: Mapping[str, str],
) -> None:
    """Draw the time per element over the number of elements, both logarithmic.

    Parameters
    ----------
    panels
        For each panel, the points of each contender.
    path
        The PNG file.
    title
        Words over the figure.
    colours
        Colour of each contender; their order is that of the legend.
    """
    with style():
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        figure = _titled_figure(6.4 * columns, 1 + 4.2 * rows, title)
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        all_axes = list(grid.flat)
        for axes, (panel, curves) in zip(all_axes, panels.items(), strict=False):
            axes.set_title(panel)
            _draw_panel(axes, curves, colours)
        for axes in all_axes[len(panels) :]:
            axes.remove()
        for axes in grid[:, 0]:
            axes.set_ylabel("nanoseconds an element")
        present = {name for curves in panels.values() for name in curves}
        names = [name for name in colours if name in present]
        line = importlib.import_module("matplotlib.lines").Line2D
        handles = [line([], [], color=colours[name], marker="o", label=name) for name in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        save(figure, path)


def _draw_panel(
    axes: Any, curves: Mapping[str, Sequence[Point]], colours: Mapping[str, str]
) -> None:
    """Draw one panel: a line for each contender, the shapes under the axis."""
    for name in reversed([name for name in colours if name in curves]):  # the first on top
        points = sorted(curves[name], key=lambda point: point.size)
        axes.plot(
            [point.size for point in points],
            [point.seconds * 1e9 for point in points],
            color=colours[name],
            marker="o",
            markersize=4.5,
            linewidth=1.8,
        )
    axes.set(xscale="log", yscale="log")
    labels = {point.size: point.label for points in curves.values() for point in points}
    axes.set_xticks(list(labels), list(labels.values()), rotation=45, ha="right", fontsize=8)
    axes.set_xticks([], minor=True)
    axes.tick_params(labelleft=True)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    formatter = importlib.import_module("matplotlib.ticker").FormatStrFormatter("%g")
    axes.yaxis.set_major_formatter(formatter)
