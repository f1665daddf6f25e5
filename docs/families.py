"""Draw losses as families for the gallery: value and slope along a path of their first argument.

One panel for each loss, one colour for each value of an option; the value is a solid line, its
derivative along the path a dashed one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import fusedloss as fl

Array: TypeAlias = NDArray[np.float64]


class Path(NamedTuple):
    """Where the first argument of a loss goes: points (n, ...) over an abscissa, and its name."""

    over: str
    x: Array
    points: Array

    def slopes(self, gradients: Array) -> Array:
        """Return the derivatives along the path of losses with such gradients."""
        steps = np.gradient(self.points, self.x, axis=0)
        return np.sum(gradients * steps, axis=tuple(range(1, steps.ndim)))


class Family(NamedTuple):
    """A loss with its other arguments, and the values of the option that is drawn."""

    loss: Callable[..., Any]
    others: tuple[Any, ...] = ()
    option: str = ""
    values: Sequence[Any] = (None,)
    options: Mapping[str, Any] = MappingProxyType({})
    path: Path | None = None  # instead of the figure's

    @property
    def name(self) -> str:
        """The loss's name."""
        return self.loss.__name__

    def along(self, path: Path, **options: Any) -> tuple[Array, Array]:
        """Return losses and slopes along a path, each point by a call of its own."""
        call = fl.value_and_grad(self.loss)
        made = [call(point, *self.others, **self.options, **options) for point in path.points]
        values, gradients = zip(*made, strict=True)
        return np.array([np.sum(x) for x in values]), path.slopes(np.stack(gradients))


def colours(n: int) -> Any:
    """Return n colours that are as far apart in grey."""
    return plt.colormaps["viridis"](np.linspace(0, 0.8, n) if n > 1 else [0.3])


def draw(path: Path, families: Sequence[Family], columns: int = 4) -> None:
    """Draw a panel for each family."""
    rows = -(-len(families) // columns)
    size = (2.9 * columns, 2.5 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axes in grid.flat[len(families) :]:
        axes.remove()
    for axes, family in zip(grid.flat, families, strict=False):
        _panel(axes, family.path or path, family)
    lines = [plt.Line2D([], [], color="black", linestyle=style) for style in ("-", "--")]
    figure.legend(lines, ["loss", "its slope"], loc="outside upper right", ncols=2, frameon=False)
    plt.show()


def _panel(axes: Any, path: Path, family: Family) -> None:
    for value, colour in zip(family.values, colours(len(family.values)), strict=True):
        option = {} if value is None else {family.option: value}
        losses, slopes = family.along(path, **option)
        label = f"{family.option} = {value}" if option else None
        axes.plot(path.x, losses, color=colour, label=label)
        axes.plot(path.x, slopes, color=colour, linestyle="--", linewidth=1)
    axes.set_title(family.name, fontsize="medium")
    axes.set_xlabel(path.over, fontsize="small")
    axes.tick_params(labelsize="small")
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    if family.option:
        axes.legend(fontsize="x-small", edgecolor="none", framealpha=0.8, handlelength=1.2)
