r"""Timing and memory of the contenders of a group; run as a program for what takes a process.

fusedloss and torch choose their instruction set when they are loaded; peak memory is a process's:

    PYTHONPATH=tests FUSEDLOSS_ISA=avx2 ATEN_CPU_CAPABILITY=avx2 \
        python benchmarks/measure.py 2 avx2
    PYTHONPATH=tests python benchmarks/measure.py 2 "2048 x 768 x 32000" fusedloss
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from comparisons import Comparison
from fusedloss.cli._contenders import OWN_THREADS, Mode, Problem, Work
from fusedloss.cli._memory import fits, measure_extra_memory, peak_of
from fusedloss.cli._timing import Samples, time_in_turn
from workloads import CAPABILITIES, CAPABILITY_CASES, COMPARISONS, MEMORY_CASES, Case

# Enough for the medians to settle; the largest shapes make their five rounds, however long.
SECONDS = 1.5
ROUNDS = 5

# Enough for every path of the code, little enough to be through with it in a moment.
SMALL = 500_000


class Bench:
    """Measures groups as they are asked for; holds the arrays of one case at a time.

    With `small`, shapes are cut down: to see that it runs, not how fast.
    """

    def __init__(self, num_threads: int, small: bool = False) -> None:
        self.num_threads = num_threads
        self.small = small
        self._held: tuple[Case, Problem] | None = None
        self._samples: dict[tuple[Case, Mode, str], Samples] = {}
        self._memory: dict[str, dict[tuple[Case, Mode], int | None]] = {}

    def problem(self, case: Case) -> Problem:
        """Return the arrays of the case."""
        if self._held is None or self._held[0] is not case:
            self._held = None  # free the memory first
            work = cut_down(case.work) if self.small else case.work
            self._held = case, Problem(work, self.num_threads, torch, case.computation)
        return self._held[1]

    def time(self, case: Case, mode: Mode, names: Sequence[str]) -> Samples:
        """Time these contenders of a group, in turn."""
        problem = self.problem(case)
        contenders = {name: problem.contender(name, mode) for name in names}
        return time_in_turn(contenders, seconds=SECONDS, min_rounds=ROUNDS, own_threads=OWN_THREADS)

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
        if name not in self._memory:
            groups = [
                (one, each)
                for one in MEMORY_CASES
                for each in one.modes
                if name in one.contenders(each) and fits(one.work)
            ]
            work = [(one.work, each) for one, each in groups]
            sizes = measure_extra_memory(name, work, self.num_threads)
            self._memory[name] = dict(zip(groups, sizes, strict=True))
        return self._memory[name].get((case, mode))

    def _time_capability(self, isa: str) -> None:
        variables = {"FUSEDLOSS_ISA": isa, "ATEN_CPU_CAPABILITY": CAPABILITIES[isa]}
        answer: list[tuple[str, Mode, Samples]]
        answer = json.loads(_child([str(self.num_threads), isa], **variables))
        cases = {case.label: case for case in CAPABILITY_CASES}
        for label, mode, samples in answer:
            self._samples[cases[label], mode, isa] = samples


def extra_bytes_of_comparison(case: Comparison, name: str, num_threads: int) -> int:
    """Return the peak memory of a call beyond inputs and gradients."""
    return int(_child([str(num_threads), case.label, name]))


def _child(arguments: list[str], **variables: str) -> str:
    """Return what this program prints."""
    variables["PYTHONPATH"] = str(Path(__file__).parents[1] / "tests")
    return subprocess.run(
        [sys.executable, str(Path(__file__)), *arguments],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def cut_down(work: Work) -> Work:
    """Halve the longest axis but that of the classes, again and again, until the work is small."""
    shape = list(work.shape)
    while Work(tuple(shape)).elements > SMALL:
        longest = max((i for i in range(len(shape)) if i != 1), key=lambda i: shape[i])
        shape[longest] //= 2
    return Work(tuple(shape), work.dtype)


def main() -> None:
    """Print a contender's memory, or as JSON the samples of all cases at an instruction set."""
    num_threads = int(sys.argv[1])
    if len(sys.argv) > 3:
        label, name = sys.argv[2:]
        case = next(case for case in COMPARISONS if case.label == label)
        print(peak_of(case.make(num_threads, False)[name]))
        return
    isa = sys.argv[2]
    bench = Bench(num_threads)
    answer = [
        (case.label, mode, bench.time(case, mode, case.contenders(mode, isa)))
        for case in CAPABILITY_CASES
        if fits(case.work)
        for mode in case.modes
    ]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
