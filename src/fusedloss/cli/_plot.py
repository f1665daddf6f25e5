"""What the commands draw with matplotlib: figures as PNG files, without a display."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusedloss.cli._format import format_ratio

# Told apart by colour-blind readers: two of Okabe and Ito's colours, and a dark red.
BLUE, ORANGE, RED = "#0072B2", "#E69F00", "#C0392B"

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


def save(figure: Any, path: Path) -> None:
    """Write the figure as PNG."""
    figure.savefig(path, dpi=150, format="png", facecolor="white")


Bars = Mapping[str, Mapping[str, float]]


def draw_ratios(
    panels: Mapping[str, Bars],
    path: Path,
    *,
    title: str,
    axis_label: str,
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
        Words over the figure and under each axis.
    colours
        Colour of each contender; their order is the order within a group.
    targets
        For each panel and group, a value to mark at the first contender.
    """
    with style():
        rows = max(sum(len(bars) for bars in groups.values()) for groups in panels.values())
        gaps = max(len(groups) for groups in panels.values())
        figure = new_figure(5.4 * len(panels), 1.5 + 0.17 * rows + 0.16 * gaps)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        all_axes = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
        for axes, (panel, groups) in zip(all_axes, panels.items(), strict=True):
            axes.set_title(panel)
            _draw_groups(axes, groups, colours, (targets or {}).get(panel, {}))
            axes.set_xlabel(axis_label)
        present = {name for groups in panels.values() for bars in groups.values() for name in bars}
        names = [name for name in colours if name in present]
        patch = importlib.import_module("matplotlib.patches").Patch
        handles = [patch(color=colours[name], label=name) for name in names]
        if targets:
            line = importlib.import_module("matplotlib.lines").Line2D
            handles.append(line([], [], color="black", marker="|", linestyle="", label="target"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        save(figure, path)


def _draw_groups(
    axes: Any, groups: Bars, colours: Mapping[str, str], targets: Mapping[str, float]
) -> None:
    """Draw one panel: a label and its bars for each group."""
    ticks: list[float] = []
    position = 0.0
    for group, bars in groups.items():
        names: Sequence[str] = [name for name in colours if name in bars]
        first = position
        for name in names:
            # From 1 on: the length of a bar on a logarithmic axis means something only that way.
            axes.hlines(position, 1, bars[name], color=colours[name], linewidth=6, zorder=2)
            axes.plot(bars[name], position, "o", color=colours[name], markersize=8, zorder=2)
            axes.annotate(
                format_ratio(bars[name]),
                (bars[name], position),
                xytext=(7 if bars[name] >= 1 else -7, 0),
                textcoords="offset points",
                ha="left" if bars[name] >= 1 else "right",
                va="center",
                fontsize=8,
                color="#333333",
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
