"""``fusedloss bench``: this machine, against plain NumPy and, where installed, torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import fusedloss as fl
from fusedloss.cli import _plot
from fusedloss.cli._arguments import output_path, positive, seconds
from fusedloss.cli._contenders import (
    COPY,
    FUSEDLOSS,
    MODES,
    NUMPY,
    OUT,
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
    (64, 10),
    (256, 1000),
    (4096, 1000),
    (100_000, 10),
    (4, 21, 512, 512),
    (2, 150, 256, 256),
    (2048, 32_000),
    (1024, 128_256),
)
COLOURS = {OUT: _plot.BLUE, FUSEDLOSS: "#7FB8DA", NUMPY: _plot.ORANGE, TORCH: _plot.RED}


DESCRIPTION = """\
Time cross_entropy on random logits, classes on axis 1: its value, and value and
gradient together, against plain NumPy and, where installed, torch.

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


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="time fusedloss on this machine against NumPy and torch",
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
    work.add_argument("--full", action="store_true", help="larger shapes too: a few minutes")
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="default: float32"
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
        help="also write FILE.json (figures) or FILE.png (plot); repeatable",
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
    plots = any(path.suffix == ".png" for path in options.output)
    if plots and optional_import("matplotlib") is None:
        output.error(missing("matplotlib", "cli", "the plot"))
        return 1
    torch = optional_import("torch")
    num_threads = options.threads or fl.get_num_threads()
    shapes = options.shape or (FULL_SHAPES if options.full else DEFAULT_SHAPES)
    work = [Work(shape, options.dtype) for shape in shapes]
    fitting = [one for one in work if fits(one)]
    for one in work:
        if one not in fitting:
            output.error(
                f"{one.label} left out: it takes {format_bytes(one.bytes * ARRAYS)} of memory, "
                f"{format_bytes(available_memory() or 0)} are available"
            )
    if not fitting:
        return 1

    yardstick = "torch copy_" if torch is not None else "NumPy copyto, one thread"
    output.text(
        f"fusedloss {fl.__version__}, threads: {num_threads}, one copy of the logits: {yardstick}"
    )
    if torch is None:
        output.text(missing("torch", "bench", "torch's times beside"))
    output.text()

    with output.progress("extra memory", 3 if torch is not None else 2) as advance:
        memory = _measure_memory(fitting, num_threads, torch is not None, advance)
    results: list[Result] = []
    for one in fitting:
        with output.progress(one.label, len(MODES)) as advance:
            measured = _measure(one, options.seconds, num_threads, torch, memory, advance)
        results += measured
        output.table(*_table(one, measured))
    if any(each.spread > QUIET_SPREAD for each in results if each.contender == COPY):
        output.text(BUSY)
    _write_files(options.output, results, num_threads, yardstick, output)
    return 0


Memory = dict[tuple[Work, Mode, str], int | None]


def _measure_memory(
    work: Sequence[Work], num_threads: int, with_torch: bool, advance: Advance
) -> Memory:
    """Extra memory of each contender at each piece of work that is large enough."""
    large = [(one, mode) for one in work if one.bytes >= MEASURED_FROM for mode in MODES]
    memory: Memory = {}
    for name in (FUSEDLOSS, NUMPY, *((TORCH,) if with_torch else ())):
        taken = measure_extra_memory(name, large, num_threads)
        memory |= {(*key, name): size for key, size in zip(large, taken, strict=True)}
        advance()
    return memory


def _measure(
    work: Work, duration: float, num_threads: int, torch: Any, memory: Memory, advance: Advance
) -> list[Result]:
    """Time every contender in every mode, for so many seconds each."""
    problem = Problem(work, num_threads, torch)
    results = []
    for mode in MODES:
        names = contender_names(mode, torch=torch is not None)
        samples = time_in_turn(
            {name: problem.contender(name, mode) for name in names}, seconds=duration
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
    """Lay out one shape: contenders side by side, a block of lines for each mode."""
    names = list(dict.fromkeys(result.contender for result in results))
    rows = []
    for mode in MODES:
        found = {result.contender: result for result in results if result.mode == mode}
        rows.append([mode, *(_cell(found.get(name), "time") for name in names)])
        for label in ("in copies", "over fusedloss", "extra memory"):
            cells = [_cell(found.get(name), label) for name in names]
            if any(cells):
                rows.append([f"  {label}", *cells])
    return f"{work.label} {work.dtype}, {format_bytes(work.bytes)}", ["", *names], rows


def _cell(result: Result | None, label: str) -> str:
    """Show one figure; nothing where there is none."""
    if result is None:
        return ""
    if label == "time":
        return format_seconds(result.seconds)
    if label == "extra memory":
        return "" if result.extra_bytes is None else format_bytes(result.extra_bytes)
    if result.contender == COPY:
        return ""
    return format_ratio(result.copies if label == "in copies" else result.relative_to_fusedloss)


def _write_files(
    paths: Sequence[Path],
    results: Sequence[Result],
    num_threads: int,
    yardstick: str,
    output: Output,
) -> None:
    """Write what --output asked for."""
    for path in paths:
        if path.suffix == ".json":
            report = {
                "version": fl.__version__,
                "threads": num_threads,
                "copy": yardstick,
                "config": fl.show_config(mode="dicts"),
                "results": [asdict(result) for result in results],
            }
            path.write_text(json.dumps(report, indent=2, default=str) + "\n")
        else:
            panels: dict[str, dict[str, dict[str, float]]] = {mode: {} for mode in MODES}
            for result in results:
                if result.contender != COPY:
                    label = Work(result.shape).label
                    panels[result.mode].setdefault(label, {})[result.contender] = result.copies
            _plot.draw_ratios(
                panels,
                path,
                title=f"cross_entropy, {results[0].dtype}, threads: {num_threads}",
                axis_label=f"time in copies of the logits ({yardstick})",
                colours=COLOURS,
            )
        output.text(f"written: {path}")
