"""The tables and plots of `make bench`, from what pytest-benchmark wrote.

    python benchmarks/report.py benchmarks/results/results.json [--readme README.md README.zh-CN.md]

prints the table of ratios and writes, beside the file, report.md with all the tables and the plots:
ratios.png, options.png, dtypes.png, sizes.png, peers.png. --readme puts what concerns cross_entropy
itself, and bars beside other packages, between the markers in those files.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import fusedloss as fl
from fusedloss.cli import _plot
from fusedloss.cli._contenders import (
    CONTENDERS,
    COPY,
    PLAIN,
    READ,
    TORCH,
    VALUE_AND_GRADIENT,
    Mode,
    Work,
)
from fusedloss.cli._format import format_bytes, format_ratio, format_seconds
from fusedloss.cli._results import COLOURS
from fusedloss.cli._timing import QUIET_SPREAD, Samples, ratio, spread
from fusedloss.cli.bench import BUSY

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from comparisons import Comparison
from targets import Target
from workloads import (
    CAPABILITY_TARGET,
    CASES,
    COMPARISONS,
    CURVE_SHAPES,
    DTYPE_SHAPES,
    DTYPES,
    FLOAT32,
    LARGE,
    Case,
)

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
INTRODUCTION = """\
Times of the mean loss in copies of the logits (torch's `copy_` into touched memory, same threads),
or in the matrix products that a computation is made of (`torch.mm` into touched memory): medians of
rounds in which all take turns. With `out=` the gradient goes into an array that is
there; the others allocate theirs. "time" is that of the first figure in a line. A target is about
that one, unless it names another: its time over others', or in microseconds."""
MET, SHORT = "met", "short"
#: Yardsticks that are written in other words than their names.
IN_WORDS = {COPY: "copies of the logits"}
#: Sections whose yardstick is another package.
BESIDE_PEERS = ("steps", "inside jax.jit", "boosting", "policies")
#: What the README shows, with a gradient.
README_SECTIONS = (FLOAT32, DTYPES, *dict.fromkeys(case.section for case in COMPARISONS))


@dataclass(frozen=True)
class Group:
    """One case, mode and instruction set ("": the best), with its contenders by name."""

    case: Case | Comparison
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

    @property
    def work(self) -> Work:
        """Shape and dtype of the logits."""
        assert isinstance(self.case, Case)
        return self.case.work

    def figure(self, name: str) -> str:
        """Return the time of a contender in the yardstick; nothing for one that is not here."""
        if name not in self.samples:
            return ""
        return format_ratio(ratio(self.samples, name, self.case.yardstick))

    def seconds(self, name: str) -> float:
        """Return the time of a contender."""
        return median(self.samples[name])


def read_groups(path: Path) -> tuple[list[Group], int]:
    """Read the groups, in the order in which they were measured, and the number of threads.

    A group without fusedloss or the yardstick, in a part of the benchmarks, has nothing to show.
    """
    cases: dict[str, Case | Comparison] = {case.label: case for case in CASES}
    cases |= {case.label: case for case in COMPARISONS}
    groups: dict[tuple[str, Mode, str], Group] = {}
    threads = 0
    for each in json.loads(path.read_text())["benchmarks"]:
        info = each["extra_info"]
        threads = info["num_threads"]
        case, mode, isa = cases[info["case"]], info["mode"], info["isa"]
        group = groups.setdefault((case.label, mode, isa), Group(case, mode, isa))
        group.samples[info["contender"]] = each["stats"]["data"]
        if info.get("extra_bytes") is not None:
            group.extra_bytes[info["contender"]] = info["extra_bytes"]
    shown = [
        group
        for group in groups.values()
        if {group.case.contenders(group.mode, group.isa)[0], group.case.yardstick}
        <= group.samples.keys()
    ]
    return shown, threads


# ---- Tables -----------------------------------------------------------------------------------

Row = tuple[str, ...]

#: Columns of words; the others have figures.
WORDS = ("work", "mode", "target", "that is")


def contenders_of(groups: Sequence[Group]) -> list[str]:
    """Name the contenders of groups in the order of the tables, yardsticks apart."""
    measured = dict.fromkeys(name for group in groups for name in group.samples)
    yardsticks = {PLAIN, READ, *(group.case.yardstick for group in groups)}
    others = [name for name in measured if name not in yardsticks.union(CONTENDERS)]
    return [*(name for name in CONTENDERS if name in measured), *others]


def head_of(names: Sequence[str]) -> Row:
    """Name the columns of a table of contenders."""
    return "work", "time", *names, "target", "measured", ""


def rows_of(group: Group, names: Sequence[str] = ()) -> list[Row]:
    """Lay out a group: its ratios and first target, then a line for each other target."""
    first = next(iter(group.samples))
    figures = (
        group.case.label,
        format_seconds(group.seconds(first)),
        *map(group.figure, names),
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
    """Print tables of ratios, a section for each kind of work; one table for each yardstick."""
    print(count_met(groups))
    for yardstick in dict.fromkeys(group.case.yardstick for group in groups):
        members = [group for group in groups if group.case.yardstick == yardstick]
        _print_ratios(members, f"time in {IN_WORDS.get(yardstick, yardstick)}")


def _print_ratios(groups: Sequence[Group], title: str) -> None:
    table = importlib.import_module("rich.table").Table(
        title=title,
        box=importlib.import_module("rich.box").SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
    )
    names = contenders_of(groups)
    for name in head_of(names):
        # In two lines, for the width.
        head = re.sub(r" |(?=\.)", "\n", name)
        table.add_column(head, justify="left" if name in WORDS else "right", vertical="bottom")
    for heading, members in _sections(groups):
        table.add_section()
        table.add_row(f"[bold]{heading}")
        for group in members:
            for *cells, mark in rows_of(group, names):
                table.add_row(*cells, f"[{'green' if mark == MET else 'red'}]{mark}")
    # As wide as it is: what a narrow window wraps can still be read, what rich folds cannot.
    make_console = importlib.import_module("rich.console").Console
    width = make_console(width=1000).measure(table).maximum
    make_console(width=max(width, make_console().width)).print(table)


def _sections(groups: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    """Part what was measured at the best instruction set by kind of work and mode."""
    parts: dict[str, list[Group]] = {}
    for group in groups:
        if not group.isa:
            heading = f"{group.case.section}: {group.mode}"
            if group.case.yardstick != COPY:
                heading += f", in {group.case.yardstick}"
            parts.setdefault(heading, []).append(group)
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
    measured = dict.fromkeys(name for group in groups for name in group.extra_bytes)
    names = sorted(measured, key=lambda name: [*CONTENDERS, *measured].index(name))
    rows = []
    for group in groups:
        if group.extra_bytes:
            sizes = (group.extra_bytes.get(name) for name in names)
            cells = ("" if size is None else format_bytes(size) for size in sizes)
            logits = format_bytes(group.work.bytes) if isinstance(group.case, Case) else "not held"
            rows.append((group.case.label, group.mode, logits, *cells))
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


def make_report(groups: Sequence[Group], num_threads: int) -> str:
    """Put the tables and what they mean together."""
    parts = [
        INTRODUCTION,
        f"fusedloss {fl.__version__}, {num_threads} threads: {count_met(groups)}.",
    ]
    for heading, members in _sections(groups):
        names = contenders_of(members)
        head = head_of(names)
        rows = [row for group in members for row in rows_of(group, names)]
        used = [i for i in range(len(head)) if any(row[i] for row in rows)]
        table = [[row[i] for i in used] for row in rows]
        parts += [f"**{heading}**", _markdown([head[i] for i in used], table)]
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
    if any(spread(group.samples[group.case.yardstick]) > QUIET_SPREAD for group in groups):
        parts.append(BUSY)
    return "\n\n".join(parts) + "\n"


def make_summary(groups: Sequence[Group], num_threads: int) -> str:
    """Lay out what matters most: times in yardsticks, and how much quicker than torch that is."""
    rows = []
    for group in groups:
        if group.isa or group.mode != VALUE_AND_GRADIENT or TORCH not in group.samples:
            continue
        if group.case.section in README_SECTIONS:
            first = next(iter(group.samples))
            yardstick = IN_WORDS.get(group.case.yardstick, group.case.yardstick)
            rows.append(
                (
                    f"{group.case.section.split(',')[0]}, {group.case.label}",
                    format_seconds(group.seconds(first)),
                    f"{group.figure(first)} {yardstick}",
                    format_ratio(ratio(group.samples, TORCH, first)),
                )
            )
    parts = [
        f"fusedloss {fl.__version__}, {num_threads} threads, value and gradient.",
        _markdown(("work", "time", "that is", "times as fast as torch"), rows),
    ]
    if bars := _beside_peers(groups):
        parts += [
            "Time of whole steps and of single losses, as a multiple of the other package's:",
            _text_bars(bars),
        ]
    return "\n\n".join(parts) + "\n"


def _beside_peers(groups: Sequence[Group]) -> list[tuple[str, float]]:
    """Return what was measured beside other packages, in their time."""
    return [
        (
            f"{group.case.label}, over {group.case.yardstick}",
            ratio(group.samples, next(iter(group.samples)), group.case.yardstick),
        )
        for group in groups
        if group.case.section in BESIDE_PEERS
    ]


def _text_bars(bars: Sequence[tuple[str, float]]) -> str:
    """Draw bars that need no picture: a README is read where its files are not."""
    width = max(len(label) for label, _ in bars)
    lines = [f"{label:{width}} {x:5.2f} {'█' * max(1, round(20 * x))}" for label, x in bars]
    one = f"{'the other package itself':{width}} {1:5.2f} {'░' * 20}"
    return "\n".join(["```text", *lines, one, "```"])


def fill_readme(readme: Path, summary: str) -> None:
    """Replace what is between the markers."""
    text = readme.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{readme} has no {BEGIN} ... {END}")
    readme.write_text(pattern.sub(lambda _: f"{BEGIN}\n{summary}{END}", text))


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
    best = [group for group in groups if not group.isa and isinstance(group.case, Case)]
    with_gradient = [group for group in best if group.mode == VALUE_AND_GRADIENT]
    machine = f"threads: {num_threads}, fusedloss {fl.__version__}"
    copies = "time in copies of the logits (torch copy_)"
    paths = [
        _draw_ratios(
            [
                Entry(group.mode, group.work.label, group)
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
                    "in cache" if group.work.bytes < LARGE else "from memory",
                    group.case.label.replace(f"{group.work.label} ", f"{group.work.label}\n"),
                    group,
                    group.case.yardsticks,
                )
                for group in with_gradient
                if isinstance(group.case, Case) and group.case.yardsticks
            ],
            folder / "options.png",
            f"options of cross_entropy, value + gradient, float32, {machine}",
            "times the plain call (probabilities: and reading)",
        ),
        _draw_ratios(
            [
                Entry(group.work.label, group.work.dtype, group)
                for group in sorted(with_gradient, key=lambda group: group.work.bytes)
                if group.case.section in (FLOAT32, DTYPES) and group.work.shape in DTYPE_SHAPES
            ],
            folder / "dtypes.png",
            f"cross_entropy, value + gradient, {machine}",
            copies.replace("logits", "logits, of their dtype"),
        ),
        _draw_curves(
            [
                group
                for group in best
                if group.case.section == FLOAT32 and group.work.shape in CURVE_SHAPES
            ],
            folder / "sizes.png",
            f"cross_entropy, float32, {machine}",
        ),
        _draw_beside_peers(groups, folder / "peers.png", f"beside others, {machine}"),
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


def _draw_beside_peers(groups: Sequence[Group], path: Path, title: str) -> Path | None:
    """Draw the time of whole steps and of single losses in that of their peers."""
    bars = _beside_peers(groups)
    if not bars:
        return None
    with _plot.style():
        figure = _plot.new_figure(10, 1.4 + 0.34 * len(bars))
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.subplots()
        drawn = axes.barh(*zip(*bars, strict=True), height=0.6, color=_plot.BLUE)
        axes.bar_label(drawn, fmt="%.2f", padding=4)
        axes.axvline(1, color="black", linewidth=1)
        axes.invert_yaxis()
        axes.set_xlabel("time in that of the peer; the line at 1 is the peer's own")
        _plot.save(figure, path)
    return path


def _draw_curves(groups: Sequence[Group], path: Path, title: str) -> Path | None:
    """Draw every contender's time per element over the size."""
    if not groups:
        return None
    panels: dict[str, dict[str, list[_plot.Point]]] = {}
    for group in groups:
        work = group.work
        for name in group.samples:
            point = _plot.Point(work.label, work.elements, group.seconds(name) / work.elements)
            panels.setdefault(group.mode, {}).setdefault(name, []).append(point)
    _plot.draw_curves(panels, path, title=title, colours=COLOURS)
    return path


def main() -> None:
    """Write and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--page", type=Path, help="where a copy of the report goes")
    parser.add_argument(
        "--readme", type=Path, nargs="+", default=[], help="whose summary is replaced"
    )
    options = parser.parse_args()
    groups, num_threads = read_groups(options.results)
    print_table(groups)
    report = options.results.with_name("report.md")
    report.write_text(make_report(groups, num_threads))
    for path in (report, *draw_plots(groups, options.results.parent, num_threads)):
        print(f"written: {path}")
    if options.page:
        options.page.write_text(f"# Measured\n\n{report.read_text()}")
    for readme in options.readme:
        fill_readme(readme, make_summary(groups, num_threads))


if __name__ == "__main__":
    main()
