"""What ``fusedloss bench`` measured: results, and the files that they are written to."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import fusedloss as fl
from fusedloss.cli import _plot
from fusedloss.cli._company import ONE_THREAD
from fusedloss.cli._contenders import (
    COMPILE,
    COPY,
    FRONT,
    FUSEDLOSS,
    JAX,
    NUMPY,
    OUT,
    PRODUCT,
    TORCH,
    Mode,
    Work,
)
from fusedloss.cli._timing import Samples, ratio, spread

COLOURS = {
    OUT: _plot.BLUE,
    FUSEDLOSS: _plot.LIGHT_BLUE,
    FRONT: _plot.GREEN,
    NUMPY: _plot.ORANGE,
    TORCH: _plot.RED,
    COMPILE: _plot.PINK,
    JAX: _plot.DARK_GREY,
    COPY: _plot.GREY,
}

#: What times are given in, as the tables call several of them.
PLURAL = {COPY: "copies", PRODUCT: "products", ONE_THREAD: "one thread's"}

#: A line on each contender and yardstick that needs one.
EXPLAINED = {
    COPY: "the prediction copied into memory that is there, by {copy}; a call has to read the "
    "one and to write a gradient of the same size",
    PRODUCT: "the matrix products of a layer and its gradients alone, X W', G W and G' X, into "
    "memory that is there",
    ONE_THREAD: "the same call on one thread in the same place, where it waits for no thread",
    OUT: "value and gradient of NumPy arrays, the gradient into an array that is there",
    FUSEDLOSS: "the call of NumPy arrays, as it is usually made",
    FRONT: "the same loss of tensors, through autograd",
    NUMPY: "a few lines of plain NumPy, on one thread",
    TORCH: "the same loss in torch's operations, through autograd: torch.nn.functional's own "
    "where there is one, else its formula",
    COMPILE: "the same, compiled for the shape",
    JAX: "the formula under jax.jit, on threads of its own",
}

#: What cross_entropy of the shapes asked for is measured as.
LOGITS = "cross_entropy"


@dataclass(frozen=True)
class Result:
    """One contender at one piece of work."""

    family: str
    loss: str
    shape: tuple[int, ...]  # of the prediction
    dtype: str
    mode: Mode
    contender: str
    seconds: float  # a call, median
    spread: float  # interquartile range over the median
    yardstick: str
    in_yardsticks: float  # over the yardstick
    relative_to_fusedloss: float  # over its first contender, with out= where there is one
    extra_bytes: int | None = None

    @property
    def work(self) -> Work:
        """What was computed."""
        return Work(self.shape, self.dtype)


def results_of(
    samples: Samples,
    family: str,
    loss: str,
    work: Work,
    mode: Mode,
    yardstick: str,
    extra_bytes: Callable[[str], int | None] = lambda _: None,
) -> list[Result]:
    """Make the results of contenders that took turns, fusedloss's first."""
    first = next(iter(samples))
    return [
        Result(
            family=family,
            loss=loss,
            shape=work.shape,
            dtype=work.dtype,
            mode=mode,
            contender=name,
            seconds=median(samples[name]),
            spread=spread(samples[name]),
            yardstick=yardstick,
            in_yardsticks=ratio(samples, name, yardstick),
            relative_to_fusedloss=ratio(samples, name, first),
            extra_bytes=extra_bytes(name),
        )
        for name in samples
    ]


def explain(results: Sequence[Result], copy: str) -> list[str]:
    """Return a line on each yardstick and contender."""
    present = {name for result in results for name in (result.contender, result.yardstick)}
    return [
        f"  {name}: {text.format(copy=copy)}" for name, text in EXPLAINED.items() if name in present
    ]


# ---- Files ------------------------------------------------------------------------------------


class Machine(NamedTuple):
    """What results were measured on."""

    num_threads: int
    copy: str  # whose copy the yardstick is


def write_json(path: Path, results: Sequence[Result], machine: Machine) -> None:
    """Write every figure, and what they were measured on."""
    report = {
        "version": fl.__version__,
        "threads": machine.num_threads,
        "copy": machine.copy,
        "config": fl.show_config(mode="dicts"),
        "results": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(report, indent=2, default=str) + "\n")


def write_csv(path: Path, results: Sequence[Result], machine: Machine) -> None:
    """Write a line for each result; the shape as in 4 x 21 x 512 x 512."""
    names = [field.name for field in fields(Result)]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*names, "threads"])
        for result in results:
            cells = asdict(result) | {"shape": result.work.label}
            table.writerow([*(cells[name] for name in names), machine.num_threads])


def draw(path: Path, results: Sequence[Result], machine: Machine) -> None:
    """Draw every contender's time in its yardstick: a panel for each mode, or for each family."""
    panels: dict[str, dict[str, dict[str, float]]] = {}
    axis_labels: dict[str, str] = {}
    dtypes = dict.fromkeys(result.dtype for result in results)
    for result in results:
        if result.contender == result.yardstick:
            continue
        of_logits = result.family == LOGITS
        unit = PLURAL[result.yardstick]
        panel = result.mode if of_logits else f"{result.family}, in {unit}"
        label = result.work.label if of_logits else result.loss
        label += f"\n{result.dtype}" if len(dtypes) > 1 else ""
        bars = panels.setdefault(panel, {}).setdefault(label, {})
        bars[result.contender] = result.in_yardsticks
        what = f"{unit} of the logits ({machine.copy})" if of_logits else unit
        axis_labels[panel] = f"time in {what}"
    families = dict.fromkeys(result.family for result in results)
    _plot.draw_ratios(
        panels,
        path,
        title=f"{', '.join(families)}: {', '.join(dtypes)}, threads: {machine.num_threads}",
        axis_label=axis_labels,
        colours=COLOURS,
    )


def draw_curve(path: Path, results: Sequence[Result], machine: Machine) -> None:
    """Draw every contender's time per element over the size: a panel for each mode and dtype."""
    panels: dict[str, dict[str, list[_plot.Point]]] = {}
    for result in results:
        work = result.work
        curves = panels.setdefault(f"{result.mode}, {result.dtype}", {})
        curves.setdefault(result.contender, []).append(
            _plot.Point(work.label, work.elements, result.seconds / work.elements)
        )
    title = f"cross_entropy, threads: {machine.num_threads}"
    _plot.draw_curves(panels, path, title=title, colours=COLOURS)


def read_json(path: Path) -> tuple[list[Result], dict[str, Any]]:
    """Read what `write_json` wrote, and what it was measured on; ValueError for all else."""
    try:
        report = json.loads(path.read_text())
        known = {field.name for field in fields(Result)}
        results = [
            Result(
                **{k: x for k, x in each.items() if k in known} | {"shape": tuple(each["shape"])}
            )
            for each in report.pop("results")
        ]
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path} is no file of 'fusedloss bench --json'") from None
    return results, report
