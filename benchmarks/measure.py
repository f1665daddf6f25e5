"""Timing and memory of the contenders of a group; run as a program, at a lower instruction set.

fusedloss and torch choose their instruction set when they are loaded, hence a process of its own:

    FUSEDLOSS_ISA=avx2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/measure.py 2 avx2
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from fusedloss.cli._contenders import MODES, Mode, Problem, Work
from fusedloss.cli._memory import MEASURED_FROM, fits, measure_extra_memory
from fusedloss.cli._timing import Samples, time_in_turn
from workloads import CAPABILITIES, CAPABILITY_CASES, CASES, Case

# Enough for the medians to settle; the largest shapes make their five rounds, however long.
SECONDS = 2.0
ROUNDS = 5


class Bench:
    """Measures groups as they are asked for; holds the arrays of one case at a time."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._problem: Problem | None = None
        self._samples: dict[tuple[Case, Mode, str], Samples] = {}
        self._memory: dict[str, dict[tuple[Work, Mode], int | None]] = {}

    def problem(self, case: Case) -> Problem:
        """Return the arrays of the case."""
        if self._problem is None or self._problem.work != case.work:
            self._problem = None  # free the memory first
            self._problem = Problem(case.work, self.num_threads, torch)
        return self._problem

    def time(self, case: Case, mode: Mode, names: Sequence[str]) -> Samples:
        """Time these contenders of a group, in turn."""
        problem = self.problem(case)
        contenders = {name: problem.contender(name, mode) for name in names}
        return time_in_turn(contenders, seconds=SECONDS, min_rounds=ROUNDS)

    def samples(self, case: Case, mode: Mode, isa: str = "") -> Samples:
        """Return seconds a call of every contender, round by round; timed once."""
        if (case, mode, isa) not in self._samples:
            if isa:
                self._time_capability(isa)
            else:
                self._samples[case, mode, isa] = self.time(case, mode, case.contenders(mode))
        return self._samples[case, mode, isa]

    def extra_bytes(self, name: str, case: Case, mode: Mode) -> int | None:
        """Return the peak memory of a call; one child process measures all of a contender's."""
        if case.work.bytes < MEASURED_FROM:
            return None
        if name not in self._memory:
            groups = [
                (one.work, each)
                for one in CASES
                for each in MODES
                if name in one.contenders(each)
                and one.work.bytes >= MEASURED_FROM
                and fits(one.work)
            ]
            sizes = measure_extra_memory(name, groups, self.num_threads)
            self._memory[name] = dict(zip(groups, sizes, strict=True))
        return self._memory[name].get((case.work, mode))

    def _time_capability(self, isa: str) -> None:
        variables = {"FUSEDLOSS_ISA": isa, "ATEN_CPU_CAPABILITY": CAPABILITIES[isa]}
        child = subprocess.run(
            [sys.executable, str(Path(__file__)), str(self.num_threads), isa],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        answer: list[tuple[list[int], Mode, Samples]] = json.loads(child.stdout)
        cases = {case.shape: case for case in CAPABILITY_CASES}
        for shape, mode, samples in answer:
            self._samples[cases[tuple(shape)], mode, isa] = samples


def main() -> None:
    """Time every case that is timed at lower instruction sets; print the samples as JSON."""
    num_threads, isa = int(sys.argv[1]), sys.argv[2]
    bench = Bench(num_threads)
    answer = [
        (case.shape, mode, bench.time(case, mode, case.contenders(mode, isa)))
        for case in CAPABILITY_CASES
        if fits(case.work)
        for mode in MODES
    ]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
