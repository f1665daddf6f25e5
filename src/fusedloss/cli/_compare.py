"""Two runs of ``fusedloss bench`` side by side: what became slower."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from fusedloss.cli._contenders import FRONT, FUSEDLOSS, OUT
from fusedloss.cli._format import format_ratio
from fusedloss.cli._output import Output
from fusedloss.cli._results import PLURAL, Result, read_json

#: Whose times are compared: what others take is no concern of this package.
OURS = (OUT, FUSEDLOSS, FRONT)


class Row(NamedTuple):
    """A contender's work in both runs."""

    old: Result
    new: Result

    @property
    def ratio(self) -> float:
        """How much slower it became, each time in the yardstick of its own run."""
        return self.new.in_yardsticks / self.old.in_yardsticks


def pair(old: Sequence[Result], new: Sequence[Result]) -> list[Row]:
    """Return what both runs have, the most slowed down first."""
    before = {_key(each): each for each in old if each.contender in OURS}
    rows = [Row(before[_key(each)], each) for each in new if _key(each) in before]
    return sorted(rows, key=lambda row: -row.ratio)


def _key(result: Result) -> tuple[object, ...]:
    work = (result.family, result.loss, result.shape, result.dtype, result.mode)
    return (*work, result.contender, result.yardstick)


def run(options: argparse.Namespace, output: Output) -> int:
    """Print the rows of both files; fail where one became slower than is allowed."""
    try:
        (old, of_old), (new, of_new) = map(read_json, options.compare)
    except ValueError as error:
        output.error(str(error))
        return 1
    rows = pair(old, new)
    if not rows:
        output.error("the two files have no work of fusedloss in common")
        return 1
    for word in ("version", "threads", "copy"):
        before, after = of_old.get(word), of_new.get(word)
        if before != after:
            output.text(f"{word}: {before}, then {after}")
    output.table(
        "Times in the yardstick of the same run: those before, now, and their ratio",
        ["work", "contender", "in", "before", "now", "ratio"],
        [_cells(row) for row in rows],
        words=(0, 1, 2),
    )
    slower = sum(row.ratio > options.slower for row in rows)
    alone = len(_ours(old)) + len(_ours(new)) - 2 * len(rows)
    if alone:
        output.text(f"{alone} rows are in one of the files alone, and left out")
    output.text(
        f"{slower} of {len(rows)} rows became slower by a factor above {options.slower:g}: "
        f"exit status {int(slower > 0)}"
    )
    return int(slower > 0)


def _ours(results: Sequence[Result]) -> list[Result]:
    return [each for each in results if each.contender in OURS]


def _cells(row: Row) -> list[str]:
    new = row.new
    return [
        f"{new.loss}, {new.work.label} {new.dtype}, {new.mode}",
        new.contender,
        PLURAL[new.yardstick],
        *(format_ratio(each) for each in (row.old.in_yardsticks, new.in_yardsticks, row.ratio)),
    ]
