"""``fusedloss bench``: this machine, against plain NumPy and, where installed, torch and JAX."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import fusedloss as fl
from fusedloss.cli import _compare, _measuring, _peers, _results
from fusedloss.cli._arguments import factor, output_path, positive, seconds
from fusedloss.cli._contenders import (
    COMPILE,
    COPY,
    FRONT,
    FUSEDLOSS,
    ITEM_SIZES,
    JAX,
    MODES,
    NUMPY,
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
from fusedloss.cli._results import LOGITS, Machine, Result, results_of
from fusedloss.cli._timing import QUIET_SPREAD, time_in_turn

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

DESCRIPTION = """\
Time cross_entropy on random logits, classes on axis 1: its value, and value and
gradient together, against plain NumPy and, where installed, torch; --peers adds
torch.compile and JAX. With --family, time value and gradient of every loss of a
family instead, or calls in company: right after a NumPy product, a boosting round, ...

All take turns, so that a disturbance hits them alike. Times are also given in those
of a yardstick from the same rounds, which says more than seconds do: a copy of the
prediction, the matrix products that a loss is made of, or, in company, the same call
on one thread. What they are is printed with the tables. "extra memory" is what a call
takes at its peak beyond its inputs and gradients.

--compare OLD NEW measures nothing: it compares two files of --json, in yardsticks,
what became slower first. Its exit status is 1 where a row is slower than --slower
allows, or where the files have nothing in common, else 0.
"""

BUSY = "A yardstick took very different times: the machine is busy, these figures are rough."

#: Seconds for a shape and mode, and for a loss of a family.
SECONDS, SECONDS_OF_A_LOSS = 1.0, 0.2
ALL = "all"


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
    work.add_argument(
        "--family",
        action="append",
        choices=(*_measuring.NAMES, ALL),
        help=f"losses of a family: {', '.join(_measuring.NAMES)}, or {ALL}; repeatable",
        metavar="NAME",
    )
    work.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("OLD.json", "NEW.json"),
        help="compare two files of --json instead",
    )
    parser.add_argument(
        "--slower",
        type=factor,
        default=1.25,
        metavar="F",
        help="the factor up to which --compare lets a row become slower (default: 1.25)",
    )
    parser.add_argument(
        "--dtype",
        action="append",
        choices=tuple(ITEM_SIZES),
        help="of the prediction; repeatable (default: float32)",
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
        metavar="S",
        help=f"to spend on a shape and mode (default: {SECONDS:g}) or a loss of a family "
        f"(default: {SECONDS_OF_A_LOSS:g}), three rounds at least",
    )
    for name, suffix, what in (
        ("json", ".json", "every figure, and what they were measured on"),
        ("csv", ".csv", "a line for each contender"),
        ("png", ".png", "a plot of the ratios"),
        ("curve", ".png", "a plot of the time per element over the size"),
    ):
        parser.add_argument(
            f"--{name}", type=output_path(suffix), metavar="FILE", help=f"also write {what}"
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
    """Measure, print a table for each shape or family, write the files asked for."""
    if options.compare:
        return _compare.run(options, output)
    dtypes = options.dtype or ["float32"]
    if (options.png or options.curve) and optional_import("matplotlib") is None:
        output.error(missing("matplotlib", "'fusedloss[cli]'", "the plot"))
        return 1
    if options.curve and options.family:
        output.error("--curve is of shapes: it goes with --shape or --full")
        return 1
    if "bfloat16" in dtypes and optional_import("ml_dtypes") is None:
        output.error(missing("ml_dtypes", "ml_dtypes", "NumPy arrays of bfloat16"))
        return 1
    num_threads = options.threads or fl.get_num_threads()
    torch = optional_import("torch")
    copy = "torch's copy_" if torch is not None else "NumPy's copyto, on one thread"
    machine = Machine(num_threads, copy)
    if options.family:
        results = _run_families(options, dtypes, machine, torch, output)
    else:
        results = _run_shapes(options, dtypes, machine, torch, output)
    if not results:
        return 1
    for line in _results.explain(results, copy):
        output.text(line)
    if any(each.spread > QUIET_SPREAD for each in results if each.contender == each.yardstick):
        output.text(BUSY)
    writers = (
        (options.json, _results.write_json),
        (options.csv, _results.write_csv),
        (options.png, _results.draw),
        (options.curve, _results.draw_curve),
    )
    for path, write in writers:
        if path:
            write(path, results, machine)
            output.text(f"written: {path}")
    return 0


def _run_families(
    options: argparse.Namespace, dtypes: Sequence[str], machine: Machine, torch: Any, output: Output
) -> list[Result]:
    """Time the families asked for, a table for each."""
    families = _measuring.NAMES if ALL in options.family else tuple(dict.fromkeys(options.family))
    output.text(f"fusedloss {fl.__version__}, threads: {machine.num_threads}")
    if torch is None:
        output.text(missing("torch", "'fusedloss[torch]'", "torch's times beside"))
    output.text()
    results: list[Result] = []
    for family in families:
        for dtype in dtypes if family != _measuring.COMPANY else ("float32",):
            measured = _measuring.measure(
                family,
                dtype,
                options.seconds or SECONDS_OF_A_LOSS,
                machine.num_threads,
                torch,
                output,
            )
            results += measured
            if measured:
                output.table(f"{family}, {dtype}, value + gradient", *_measuring.lay_out(measured))
    return results


def _run_shapes(
    options: argparse.Namespace, dtypes: Sequence[str], machine: Machine, torch: Any, output: Output
) -> list[Result]:
    """Time cross_entropy of the shapes asked for, a table for each; nothing where none fits."""
    num_threads = machine.num_threads
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
        return []
    output.text(
        f"fusedloss {fl.__version__}, threads: {num_threads}, "
        f"one copy of the logits: {machine.copy}"
    )
    peers = _find_peers(torch, options.peers, output)
    output.text()

    with output.progress("extra memory", len(MEMORY_OF)) as advance:
        memory = _measure_memory(fitting, num_threads, peers, advance)
    results: list[Result] = []
    duration = options.seconds or SECONDS
    for one in fitting:
        with output.progress(one.label, len(MODES)) as advance:
            measured = _measure(one, duration, num_threads, torch, peers, memory, advance)
        results += measured
        output.table(*_table(one, measured))
    return results


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
        results += results_of(
            samples,
            LOGITS,
            LOGITS,
            work,
            mode,
            COPY,
            lambda name, mode=mode: memory.get((work, mode, name)),  # type: ignore[misc]
        )
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
    ratios = [result.in_yardsticks, result.relative_to_fusedloss]
    return [
        format_seconds(result.seconds),
        *("" if result.contender == COPY else format_ratio(value) for value in ratios),
        "" if result.extra_bytes is None else format_bytes(result.extra_bytes),
    ]
