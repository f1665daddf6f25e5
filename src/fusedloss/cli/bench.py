"""``fusedloss bench``: this machine, against plain NumPy and, where installed, torch and JAX."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import fusedloss as fl
from fusedloss.cli import _peers, _plot
from fusedloss.cli._arguments import output_path, positive, seconds
from fusedloss.cli._contenders import (
    COMPILE,
    COPY,
    FRONT,
    FUSEDLOSS,
    ITEM_SIZES,
    JAX,
    MODES,
    NUMPY,
    OUT,
    OWN_THREADS,
    TORCH,
    Mode,
    Problem,
    Work,
    contender_names,
)
from fusedloss.cli._format import format_bytes, format_ratio, format_seconds
from fusedloss.cli._memory import (
    ARRAYS,
    MEASURED_FROM,
    available_memory,
    fits,
    measure_extra_memory,
)
from fusedloss.cli._output import Advance, Output, missing, optional_import
from fusedloss.cli._timing import QUIET_SPREAD, ratio, spread, time_in_turn

DEFAULT_SHAPES = (
    (64, 10),
    (256, 1000),
    (4096, 1000),
    (100_000, 10),
    (4, 21, 512, 512),
    (512, 32_000),
)
FULL_SHAPES = (
    (1, 2),
    (64, 10),
    (1000, 100),
    (256, 1000),
    (4096, 1000),
    (100_000, 10),
    (4, 21, 512, 512),
    (2, 150, 256, 256),
    (2048, 32_000),
    (1024, 128_256),
)

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

DESCRIPTION = """\
Time cross_entropy on random logits, classes on axis 1: its value, and value and
gradient together, against plain NumPy and, where installed, torch; --peers adds
torch.compile and JAX.

All take turns, so that a disturbance hits them alike. "in copies" is the time over
that of a copy of the logits in memory (torch's copy_ with the same threads or,
without torch, NumPy's copyto, which has one thread): a call must at least read the
logits and write the gradient. "out=" writes the gradient into an array that is there,
the others allocate theirs. "extra memory" is what a call takes at its peak beyond
its inputs and gradients.
"""

BUSY = "The copies took very different times: the machine is busy, these figures are rough."


@dataclass(frozen=True)
class Result:
    """One contender at one piece of work."""

    shape: tuple[int, ...]
    dtype: str
    mode: Mode
    contender: str
    seconds: float  # a call, median
    spread: float  # interquartile range over the median
    copies: float  # over the copy of the logits
    relative_to_fusedloss: float  # with out= where there is one
    extra_bytes: int | None

    @property
    def work(self) -> Work:
        """What was computed."""
        return Work(self.shape, self.dtype)


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="time fusedloss on this machine against NumPy, torch and JAX",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    work = parser.add_mutually_exclusive_group()
    work.add_argument(
        "--shape",
        action=_ShapeAction,
        nargs="+",
        type=positive,
        metavar="N",
        help="shape of the logits, as in --shape 4096 1000 or --shape 4 21 512 512; repeatable",
    )
    work.add_argument("--full", action="store_true", help="more and larger shapes: a few minutes")
    parser.add_argument(
        "--dtype",
        action="append",
        choices=tuple(ITEM_SIZES),
        help="of the logits; repeatable (default: float32)",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="torch.compile and JAX too, where they work; compiling takes seconds a shape",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="default: as fusedloss would use"
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=1.0,
        metavar="S",
        help="to spend on a shape and mode, three rounds at least (default: 1)",
    )
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        type=output_path(".json", ".png"),
        metavar="FILE",
        help="also write FILE.json (figures) or FILE.png (plot of the ratios); repeatable",
    )
    parser.add_argument(
        "--curve",
        type=output_path(".png"),
        metavar="FILE",
        help="also plot the time per element over the size, as FILE.png",
    )
    parser.set_defaults(run=run)


class _ShapeAction(argparse.Action):
    """Collect shapes of two dimensions and more."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if len(values) < 2:
            parser.error("--shape: two numbers or more are needed: rows, classes")
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), tuple(values)])


def run(options: argparse.Namespace, output: Output) -> int:
    """Measure, print a table for each shape, write the files asked for."""
    dtypes = options.dtype or ["float32"]
    pictures = [path for path in (*options.output, options.curve) if path and path.suffix == ".png"]
    if pictures and optional_import("matplotlib") is None:
        output.error(missing("matplotlib", "'fusedloss[cli]'", "the plot"))
        return 1
    if "bfloat16" in dtypes and optional_import("ml_dtypes") is None:
        output.error(missing("ml_dtypes", "ml_dtypes", "NumPy arrays of bfloat16"))
        return 1
    num_threads = options.threads or fl.get_num_threads()
    shapes = options.shape or (FULL_SHAPES if options.full else DEFAULT_SHAPES)
    work = [Work(shape, dtype) for dtype in dtypes for shape in shapes]
    fitting = [one for one in work if fits(one)]
    for one in work:
        if one not in fitting:
            output.error(
                f"{one.label} left out: it takes {format_bytes(one.bytes * ARRAYS)} of memory, "
                f"{format_bytes(available_memory() or 0)} are available"
            )
    if not fitting:
        return 1

    torch = optional_import("torch")
    yardstick = "torch copy_" if torch is not None else "NumPy copyto, one thread"
    output.text(
        f"fusedloss {fl.__version__}, threads: {num_threads}, one copy of the logits: {yardstick}"
    )
    peers = _find_peers(torch, options.peers, output)
    output.text()

    with output.progress("extra memory", len(MEMORY_OF)) as advance:
        memory = _measure_memory(fitting, num_threads, peers, advance)
    results: list[Result] = []
    for one in fitting:
        with output.progress(one.label, len(MODES)) as advance:
            measured = _measure(one, options.seconds, num_threads, torch, peers, memory, advance)
        results += measured
        output.table(*_table(one, measured))
    if any(each.spread > QUIET_SPREAD for each in results if each.contender == COPY):
        output.text(BUSY)
    for path in options.output:
        if path.suffix == ".json":
            _write_json(path, results, num_threads, yardstick)
        else:
            _draw_ratios(path, results, num_threads, yardstick)
    if options.curve:
        _draw_curve(options.curve, results, num_threads)
    for path in (*options.output, options.curve):
        if path:
            output.text(f"written: {path}")
    return 0


def _find_peers(torch: Any, every: bool, output: Output) -> list[str]:
    """Name the peers that work here; say what is missing."""
    peers = [NUMPY]
    if torch is None:
        output.text(missing("torch", "'fusedloss[torch]'", "torch's times beside"))
    else:
        peers.append(TORCH)
        if optional_import("fusedloss.torch.functional") is not None:
            peers.append(FRONT)
        if every and _peers.torch_compiles(torch):
            peers.append(COMPILE)
        elif every:
            output.text("torch.compile left out: it finds no C++ compiler, or no Python headers")
    if every and optional_import("jax") is not None:
        peers.append(JAX)
    elif every:
        output.text(missing("JAX", "jax optax", "JAX's times beside"))
    return peers


Memory = dict[tuple[Work, Mode, str], int | None]

#: Without the compilers, whose memory is that of their compilation too.
MEMORY_OF = (FUSEDLOSS, FRONT, NUMPY, TORCH)


def _measure_memory(
    work: Sequence[Work], num_threads: int, peers: Collection[str], advance: Advance
) -> Memory:
    """Extra memory of each contender at each piece of work that is large enough."""
    large = [(one, mode) for one in work if one.bytes >= MEASURED_FROM for mode in MODES]
    memory: Memory = {}
    for name in MEMORY_OF:
        if name == FUSEDLOSS or name in peers:
            taken = measure_extra_memory(name, large, num_threads)
            memory |= {(*key, name): size for key, size in zip(large, taken, strict=True)}
        advance()
    return memory


def _measure(
    work: Work,
    duration: float,
    num_threads: int,
    torch: Any,
    peers: Sequence[str],
    memory: Memory,
    advance: Advance,
) -> list[Result]:
    """Time every contender in every mode, for so many seconds each."""
    if work.dtype == "float64":  # which JAX has behind a global switch only
        peers = [name for name in peers if name != JAX]
    problem = Problem(work, num_threads, torch)
    results = []
    for mode in MODES:
        names = contender_names(mode, peers)
        samples = time_in_turn(
            {name: problem.contender(name, mode) for name in names},
            seconds=duration,
            own_threads=OWN_THREADS,
        )
        results += [
            Result(
                shape=work.shape,
                dtype=work.dtype,
                mode=mode,
                contender=name,
                seconds=median(samples[name]),
                spread=spread(samples[name]),
                copies=ratio(samples, name, COPY),
                relative_to_fusedloss=ratio(samples, name, names[0]),
                extra_bytes=memory.get((work, mode, name)),
            )
            for name in names
        ]
        advance()
    return results


def _table(work: Work, results: Sequence[Result]) -> tuple[str, list[str], list[list[str]]]:
    """Lay out one shape: a block of lines for each mode, a line for each contender."""
    columns = ["", "time", "in copies", "over fusedloss", "extra memory"]
    rows = []
    for mode, found in groupby(results, key=lambda result: result.mode):
        rows.append([mode, *([""] * (len(columns) - 1))])
        rows += [[f"  {result.contender}", *_cells(result)] for result in found]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return f"{work.label} {work.dtype}, {format_bytes(work.bytes)}", columns, rows


def _cells(result: Result) -> list[str]:
    """Show the figures of one contender."""
    ratios = [result.copies, result.relative_to_fusedloss]
    return [
        format_seconds(result.seconds),
        *("" if result.contender == COPY else format_ratio(value) for value in ratios),
        "" if result.extra_bytes is None else format_bytes(result.extra_bytes),
    ]


def _write_json(path: Path, results: Sequence[Result], num_threads: int, yardstick: str) -> None:
    """Write every figure, and what they were measured on."""
    report = {
        "version": fl.__version__,
        "threads": num_threads,
        "copy": yardstick,
        "config": fl.show_config(mode="dicts"),
        "results": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(report, indent=2, default=str) + "\n")


def _draw_ratios(path: Path, results: Sequence[Result], num_threads: int, yardstick: str) -> None:
    """Draw every contender's time in copies."""
    panels: dict[str, dict[str, dict[str, float]]] = {mode: {} for mode in MODES}
    dtypes = {result.dtype for result in results}
    for result in results:
        if result.contender != COPY:
            label = result.work.label + (f"\n{result.dtype}" if len(dtypes) > 1 else "")
            panels[result.mode].setdefault(label, {})[result.contender] = result.copies
    _plot.draw_ratios(
        panels,
        path,
        title=f"cross_entropy, {', '.join(sorted(dtypes))}, threads: {num_threads}",
        axis_label=f"time in copies of the logits ({yardstick})",
        colours=COLOURS,
    )


def _draw_curve(path: Path, results: Sequence[Result], num_threads: int) -> None:
    """Draw every contender's time per element over the size: a panel for each mode and dtype."""
    panels: dict[str, dict[str, list[_plot.Point]]] = {}
    for result in results:
        work = result.work
        curves = panels.setdefault(f"{result.mode}, {result.dtype}", {})
        curves.setdefault(result.contender, []).append(
            _plot.Point(work.label, work.elements, result.seconds / work.elements)
        )
    _plot.draw_curves(panels, path, title=f"cross_entropy, threads: {num_threads}", colours=COLOURS)
