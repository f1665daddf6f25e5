"""The tables and plots of `make bench`, from what pytest-benchmark wrote.

    python benchmarks/report.py benchmarks/results/results.json [--readme README.md]

prints the table of ratios and writes, beside the file, report.md with all the tables and the plots:
ratios.png, options.png, dtypes.png, sizes.png. --readme puts what concerns cross_entropy itself
between the markers in that file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import fusedloss as fl
from fusedloss.cli import _plot
from fusedloss.cli._contenders import (
    CONTENDERS,
    COPY,
    CROSS_ENTROPY,
    OUT,
    VALUE_AND_GRADIENT,
    Mode,
)
from fusedloss.cli._format import format_bytes, format_ratio, format_seconds
from fusedloss.cli._timing import QUIET_SPREAD, Samples, ratio, spread
from fusedloss.cli.bench import BUSY, COLOURS
from workloads import (
    CAPABILITY_TARGET,
    CASES,
    CURVE_SHAPES,
    DTYPE_SHAPES,
    DTYPES,
    FLOAT32,
    LARGE,
    Case,
    Target,
)

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
INTRODUCTION = """\
Times of the mean loss in copies of the logits (torch's `copy_` into touched memory, same threads):
medians of rounds in which all take turns. With `out=` the gradient goes into an array that is
there; the others allocate theirs. "time" is that of the first figure in a line. A target is about
that one, unless it names another: its time over others', or in microseconds."""
MET, SHORT = "met", "short"
#: What the README shows.
README_SECTIONS = (FLOAT32, DTYPES)


@dataclass(frozen=True)
class Group:
    """One case, mode and instruction set ("": the best), with its contenders by name."""

    case: Case
    mode: Mode
    isa: str
    samples: Samples = field(default_factory=dict)
    extra_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def targets(self) -> Sequence[Target]:
        """What is asked of those that were measured."""
        asked = (CAPABILITY_TARGET,) if self.isa else self.case.targets.get(self.mode, ())
        here = {"", *self.samples}
        return [target for target in asked if {target.contender, *target.others} <= here]

    def copies(self, name: str) -> str:
        """Return the time of a contender in copies; nothing for one that is not here."""
        return format_ratio(ratio(self.samples, name, COPY)) if name in self.samples else ""

    def seconds(self, name: str) -> float:
        """Return the time of a contender."""
        return median(self.samples[name])


def read_groups(path: Path) -> tuple[list[Group], int]:
    """Read the groups, in the order in which they were measured, and the number of threads.

    A group without fusedloss or the copy, in a part of the benchmarks, has nothing to show.
    """
    cases = {case.label: case for case in CASES}
    groups: dict[tuple[str, Mode, str], Group] = {}
    threads = 0
    for each in json.loads(path.read_text())["benchmarks"]:
        info = each["extra_info"]
        if "case" not in info:
            continue  # of another table
        threads = info["num_threads"]
        case, mode, isa = cases[info["case"]], info["mode"], info["isa"]
        group = groups.setdefault((case.label, mode, isa), Group(case, mode, isa))
        group.samples[info["contender"]] = each["stats"]["data"]
        if info.get("extra_bytes") is not None:
            group.extra_bytes[info["contender"]] = info["extra_bytes"]
    shown = [
        group
        for group in groups.values()
        if {group.case.contenders(group.mode, group.isa)[0], COPY} <= group.samples.keys()
    ]
    return shown, threads


# ---- Tables -----------------------------------------------------------------------------------

Row = tuple[str, ...]

#: Columns of words; the others have figures.
WORDS = ("work", "mode", "target")

HEAD = ("work", "time", *CONTENDERS, "target", "measured", "")


def rows_of(group: Group) -> list[Row]:
    """Lay out a group: its ratios and first target, then a line for each other target."""
    first = next(iter(group.samples))
    figures = (
        group.case.label,
        format_seconds(group.seconds(first)),
        *map(group.copies, CONTENDERS),
    )
    judged = [_judge(target, group.samples) for target in group.targets] or [("", "", "")]
    blank = ("",) * len(figures)
    return [(*(blank if i else figures), *each) for i, each in enumerate(judged)]


def _judge(target: Target, samples: Samples) -> Row:
    measured = target.measure(samples)
    return str(target), format_ratio(measured), MET if measured <= target.bound else SHORT


def count_met(groups: Sequence[Group]) -> str:
    """Say how many targets are met."""
    marks = [row[-1] for group in groups for row in rows_of(group) if row[-1]]
    return f"{marks.count(MET)} of {len(marks)} targets met"


def print_table(groups: Sequence[Group]) -> None:
    """Print the table of ratios, a section for each kind of work."""
    table = importlib.import_module("rich.table").Table(
        title=f"time in copies of the logits; {count_met(groups)}",
        box=importlib.import_module("rich.box").SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
    )
    for name in HEAD:
        # In two lines, for the width.
        head = re.sub(r" |(?=\.)", "\n", name)
        table.add_column(head, justify="left" if name in WORDS else "right", vertical="bottom")
    for heading, members in _sections(groups):
        table.add_section()
        table.add_row(f"[bold]{heading}")
        for group in members:
            for *cells, mark in rows_of(group):
                table.add_row(*cells, f"[{'green' if mark == MET else 'red'}]{mark}")
    # As wide as it is: what a narrow window wraps can still be read, what rich folds cannot.
    make_console = importlib.import_module("rich.console").Console
    width = make_console(width=1000).measure(table).maximum
    make_console(width=max(width, make_console().width)).print(table)


def _sections(
    groups: Sequence[Group], sections: Sequence[str] | None = None
) -> list[tuple[str, list[Group]]]:
    """Part what was measured at the best instruction set by kind of work and mode."""
    parts: dict[str, list[Group]] = {}
    for group in groups:
        if not group.isa and (sections is None or group.case.section in sections):
            parts.setdefault(f"{group.case.section}: {group.mode}", []).append(group)
    return list(parts.items())


def make_capability_table(groups: Sequence[Group]) -> str:
    """Lay out the time over torch's where both are held to a lower instruction set."""
    isas = list(dict.fromkeys(group.isa for group in groups if group.isa))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for group in groups:
        for target in group.targets if group.isa else ():
            cells = rows.setdefault((group.case.label, group.mode), {})
            cells[group.isa] = format_ratio(target.measure(group.samples))
    lines = [(*work, *(cells.get(isa, "") for isa in isas)) for work, cells in rows.items()]
    return _markdown(("work", "mode", *isas), lines)


def make_memory_table(groups: Sequence[Group]) -> str:
    """Lay out the peak memory of a call."""
    names = [
        name
        for name in CONTENDERS
        if name != OUT and any(name in group.extra_bytes for group in groups)
    ]
    rows = []
    for group in groups:
        if group.extra_bytes:
            sizes = (group.extra_bytes.get(name) for name in names)
            cells = ("" if size is None else format_bytes(size) for size in sizes)
            rows.append((group.case.label, group.mode, format_bytes(group.case.work.bytes), *cells))
    return _markdown(("work", "mode", "logits", *names), rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table that reads as plain text too: words to the left, figures to the right."""
    left = [name in WORDS for name in head]
    widths = [max(3, *(len(line[i]) for line in (head, *rows))) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if words else cell.rjust(width)
            for cell, width, words in zip(cells, widths, left, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [
        "-" * width if words else "-" * (width - 1) + ":"
        for width, words in zip(widths, left, strict=True)
    ]
    return "\n".join([line(head), "| " + " | ".join(rule) + " |", *map(line, rows)])


def make_report(
    groups: Sequence[Group], num_threads: int, sections: Sequence[str] | None = None
) -> str:
    """Put the tables and what they mean together, for all sections or some."""
    parts = [
        INTRODUCTION,
        f"fusedloss {fl.__version__}, {num_threads} threads: {count_met(groups)}.",
    ]
    for heading, members in _sections(groups, sections):
        rows = [row for group in members for row in rows_of(group)]
        used = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
        table = [[row[i] for i in used] for row in rows]
        parts += [f"**{heading}**", _markdown([HEAD[i] for i in used], table)]
    if any(group.extra_bytes for group in groups):
        parts += [
            "**Peak memory of a call beyond inputs and gradients**",
            make_memory_table(groups),
        ]
    if any(group.isa for group in groups):
        parts += [
            "**Lower instruction sets**: time over torch's, both held to them "
            f"(`FUSEDLOSS_ISA`, `ATEN_CPU_CAPABILITY`); target {CAPABILITY_TARGET}",
            make_capability_table(groups),
        ]
    if any(spread(group.samples[COPY]) > QUIET_SPREAD for group in groups):
        parts.append(BUSY)
    return "\n\n".join(parts) + "\n"


def fill_readme(readme: Path, report: str) -> None:
    """Replace what is between the markers."""
    text = readme.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{readme} has no {BEGIN} ... {END}")
    readme.write_text(pattern.sub(lambda _: f"{BEGIN}\n{report}{END}", text))


# ---- Plots ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A group of bars: where it stands, under which label, and what its times are divided by."""

    panel: str
    label: str
    group: Group
    yardstick: tuple[str, ...] = (COPY,)


def draw_plots(groups: Sequence[Group], folder: Path, num_threads: int) -> list[Path]:
    """Draw every plot for which something was measured; return the files."""
    best = [group for group in groups if not group.isa]
    with_gradient = [group for group in best if group.mode == VALUE_AND_GRADIENT]
    machine = f"threads: {num_threads}, fusedloss {fl.__version__}"
    copies = "time in copies of the logits (torch copy_)"
    paths = [
        _draw_ratios(
            [
                Entry(group.mode, group.case.work.label, group)
                for group in best
                if group.case.section == FLOAT32
            ],
            folder / "ratios.png",
            f"cross_entropy, float32, {machine}",
            copies,
        ),
        _draw_ratios(
            [
                Entry(
                    "in cache" if group.case.work.bytes < LARGE else "from memory",
                    f"{group.case.computation.name}\n{group.case.work.label}",
                    group,
                    group.case.yardsticks,
                )
                for group in with_gradient
                if group.case.yardsticks
            ],
            folder / "options.png",
            f"options of cross_entropy, value + gradient, float32, {machine}",
            "times the plain call (probabilities: and reading)",
        ),
        _draw_ratios(
            [
                Entry(group.case.work.label, group.case.work.dtype, group)
                for group in sorted(with_gradient, key=lambda group: group.case.work.bytes)
                if group.case.computation is CROSS_ENTROPY and group.case.work.shape in DTYPE_SHAPES
            ],
            folder / "dtypes.png",
            f"cross_entropy, value + gradient, {machine}",
            copies.replace("logits", "logits, of their dtype"),
        ),
        _draw_curves(
            [
                group
                for group in best
                if group.case.section == FLOAT32 and group.case.work.shape in CURVE_SHAPES
            ],
            folder / "sizes.png",
            f"cross_entropy, float32, {machine}",
        ),
    ]
    return [path for path in paths if path]


def _draw_ratios(entries: Sequence[Entry], path: Path, title: str, axis_label: str) -> Path | None:
    """Draw every contender's ratio, and the target of fusedloss in the same measure."""
    if not entries:
        return None
    panels: dict[str, dict[str, dict[str, float]]] = {}
    marks: dict[str, dict[str, float]] = {}
    for entry in entries:
        samples = entry.group.samples
        bars = {
            name: ratio(samples, name, *entry.yardstick) for name in CONTENDERS if name in samples
        }
        panels.setdefault(entry.panel, {})[entry.label] = bars
        for target in entry.group.targets[:1]:
            if not target.contender:
                bound = target.bound / target.measure(samples) * next(iter(bars.values()))
                marks.setdefault(entry.panel, {})[entry.label] = bound
    _plot.draw_ratios(
        panels, path, title=title, axis_label=axis_label, colours=COLOURS, targets=marks
    )
    return path


def _draw_curves(groups: Sequence[Group], path: Path, title: str) -> Path | None:
    """Draw every contender's time per element over the size."""
    if not groups:
        return None
    panels: dict[str, dict[str, list[_plot.Point]]] = {}
    for group in groups:
        work = group.case.work
        for name in group.samples:
            point = _plot.Point(work.label, work.elements, group.seconds(name) / work.elements)
            panels.setdefault(group.mode, {}).setdefault(name, []).append(point)
    _plot.draw_curves(panels, path, title=title, colours=COLOURS)
    return path


def main() -> None:
    """Write and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--readme", type=Path)
    options = parser.parse_args()
    groups, num_threads = read_groups(options.results)
    print_table(groups)
    report = options.results.with_name("report.md")
    report.write_text(make_report(groups, num_threads))
    for path in (report, *draw_plots(groups, options.results.parent, num_threads)):
        print(f"written: {path}")
    if options.readme:
        fill_readme(options.readme, make_report(groups, num_threads, README_SECTIONS))


if __name__ == "__main__":
    main()
