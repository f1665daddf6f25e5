"""The table and the plot of `make bench`, from what pytest-benchmark wrote.

    python benchmarks/report.py benchmarks/results.json [--readme README.md]

writes results.md and results.png beside the file and prints the table; --readme puts the table
between the markers in that file.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fusedloss as fl
from fusedloss.cli import _plot
from fusedloss.cli._contenders import COPY, FUSEDLOSS, MODES, NUMPY, OUT, TORCH, Work
from fusedloss.cli._format import format_bytes, format_ratio, format_seconds
from fusedloss.cli._timing import QUIET_SPREAD
from fusedloss.cli.bench import BUSY, COLOURS
from workloads import CAPABILITY_TARGET, CASES, Target

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Entry:
    """One contender of a group."""

    seconds: float
    copies: float
    times_torch: float
    extra_bytes: int | None
    spread: float


@dataclass(frozen=True)
class Group:
    """One shape, mode and instruction set ("": the best), with its contenders by name."""

    shape: tuple[int, ...]
    mode: str
    isa: str
    entries: dict[str, Entry]

    @property
    def target(self) -> Target | None:
        """What is asked of the first contender here, if anything."""
        if self.isa:
            return CAPABILITY_TARGET
        targets = {case.shape: case.targets for case in CASES}[self.shape]
        return {str(mode): target for mode, target in targets.items()}.get(self.mode)

    @property
    def ours(self) -> Entry:
        """The measurement that the target is about: into memory that is there."""
        return self.entries[OUT if OUT in self.entries else FUSEDLOSS]


def read_groups(path: Path) -> list[Group]:
    """Read the groups, in the order in which they were measured."""
    groups: dict[tuple[Any, ...], Group] = {}
    for each in json.loads(path.read_text())["benchmarks"]:
        info = each["extra_info"]
        key = tuple(info["shape"]), info["mode"], info["isa"]
        group = groups.setdefault(key, Group(*key, entries={}))
        group.entries[info["contender"]] = Entry(
            each["stats"]["median"],
            info["copies"],
            info["times_torch"],
            info.get("extra_bytes"),
            each["stats"]["iqr"] / each["stats"]["median"],
        )
    return list(groups.values())


def make_table(groups: Sequence[Group]) -> str:
    """Lay out the ratios as a markdown table that reads as plain text too."""
    head = (
        "logits",
        "",
        "target",
        "fusedloss, out=",
        "met",
        "fusedloss",
        "torch eager",
        "NumPy",
        "torch / fusedloss",
        "extra memory",
        "torch's memory",
    )
    return _markdown(head, [_row(group) for group in groups if not group.isa])


def make_capability_table(groups: Sequence[Group]) -> str:
    """Lay out how much longer torch takes where both are held to a lower instruction set."""
    isas = list(dict.fromkeys(group.isa for group in groups if group.isa))
    rows: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        if group.isa:
            key = Work(group.shape).label, group.mode
            rows.setdefault(key, []).append(format_ratio(group.ours.times_torch))
    return _markdown(("logits", "", *isas), [(*key, *cells) for key, cells in rows.items()])


def _row(group: Group) -> tuple[str, ...]:
    ours, target = group.ours, group.target
    met = target.met(ours.seconds, ours.copies, ours.times_torch) if target else None
    torch = group.entries.get(TORCH)

    def copies(name: str) -> str:
        entry = group.entries.get(name)
        return format_ratio(entry.copies) if entry else ""

    return (
        Work(group.shape).label,
        group.mode,
        str(target or ""),
        f"{format_ratio(ours.copies)} ({format_seconds(ours.seconds)})",
        "" if met is None else "yes" if met else "no",
        copies(FUSEDLOSS) if OUT in group.entries else "",
        copies(TORCH),
        copies(NUMPY),
        format_ratio(ours.times_torch),
        _size(group.entries.get(FUSEDLOSS)),
        _size(torch),
    )


def _size(entry: Entry | None) -> str:
    return "" if entry is None or entry.extra_bytes is None else format_bytes(entry.extra_bytes)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    left = 2  # columns of words

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [
        "-" * max(3, width) if i < left else "-" * max(2, width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    return "\n".join([line(head), "| " + " | ".join(rule) + " |", *map(line, rows)])


def make_report(groups: Sequence[Group], num_threads: int) -> str:
    """Put the tables and what they mean together."""
    parts = [
        f"Mean cross-entropy, float32, {num_threads} threads; times in copies of the logits "
        "(torch's `copy_` into touched memory, same threads), medians of rounds in which all take "
        "turns. With `out=` the gradient goes into an array that is there; the others allocate "
        "theirs. Extra memory: at a call's peak, beyond inputs and gradients.",
        make_table(groups),
    ]
    if any(group.isa for group in groups):
        parts += [
            "torch / fusedloss with both held to a lower instruction set "
            f"(`FUSEDLOSS_ISA`, `ATEN_CPU_CAPABILITY`; target: {CAPABILITY_TARGET}):",
            make_capability_table(groups),
        ]
    if any(group.entries[COPY].spread > QUIET_SPREAD for group in groups):
        parts.append(BUSY)
    return "\n\n".join(parts) + "\n"


def draw(groups: Sequence[Group], path: Path, num_threads: int) -> None:
    """Draw the ratios to a copy, with the targets where they can be given in copies."""
    panels: dict[str, dict[str, dict[str, float]]] = {mode: {} for mode in MODES}
    marks: dict[str, dict[str, float]] = {mode: {} for mode in MODES}
    for group in groups:
        if group.isa:
            continue
        label = Work(group.shape).label
        panels[group.mode][label] = {
            name: entry.copies for name, entry in group.entries.items() if name != COPY
        }
        target = group.target
        if target is not None:
            scale = {
                "copies": 1.0,
                "us": group.ours.copies / (group.ours.seconds * 1e6),
                "times torch": group.entries[TORCH].copies / target.bound**2,
            }
            marks[group.mode][label] = target.bound * scale[target.unit]
    _plot.draw_ratios(
        panels,
        path,
        title=f"cross_entropy, float32, threads: {num_threads}, fusedloss {fl.__version__}",
        axis_label="time in copies of the logits (torch copy_)",
        colours=COLOURS,
        targets=marks,
    )


def fill_readme(readme: Path, report: str) -> None:
    """Replace what is between the markers."""
    text = readme.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{readme} has no {BEGIN} ... {END}")
    readme.write_text(pattern.sub(lambda _: f"{BEGIN}\n{report}{END}", text))


def main() -> None:
    """Write and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--readme", type=Path)
    options = parser.parse_args()
    groups = read_groups(options.results)
    first = json.loads(options.results.read_text())["benchmarks"][0]["extra_info"]
    report = make_report(groups, first["num_threads"])
    print(report)
    for suffix in (".md", ".png"):
        print(f"written: {options.results.with_suffix(suffix)}")
    options.results.with_suffix(".md").write_text(report)
    draw(groups, options.results.with_suffix(".png"), first["num_threads"])
    if options.readme:
        fill_readme(options.readme, report)


if __name__ == "__main__":
    main()
