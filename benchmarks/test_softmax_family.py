"""cross_entropy and its relatives against torch, JAX, plain NumPy and a copy of the logits.

pytest-benchmark runs one benchmark to its end before the next, so whatever else the machine does
meanwhile hits one contender and not the other. Here the contenders of a group take turns
(`fusedloss.cli._timing.time_in_turn`), once a round, and ratios are medians over the rounds. The
samples then go to pytest-benchmark through its timer option, for its statistics and comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accuracy import assert_right
from fusedloss import _core
from fusedloss.cli._contenders import COMPILE, COPY, OUT, PLAIN, READ, Mode
from fusedloss.cli._format import format_bytes
from fusedloss.cli._memory import ARRAYS, fits
from fusedloss.cli._timing import Samples
from measure import Bench
from workloads import CAPABILITIES, CAPABILITY_CASES, CASES, Case


class Replay:
    """A timer that tells pytest-benchmark the durations measured before."""

    def __init__(self) -> None:
        self._durations: list[float] = []
        self._now = 0.0
        self._running = False

    def __call__(self) -> float:
        """Return the time: one more duration has passed at every second call."""
        if self._running:
            self._now += self._durations.pop(0)
        self._running = not self._running
        return self._now

    def play(self, benchmark: BenchmarkFixture, durations: Sequence[float]) -> None:
        """Have the benchmark run as many rounds as there are durations, and take those."""
        self._durations, self._now, self._running = list(durations), 0.0, False
        benchmark.pedantic(lambda: None, rounds=len(durations))


replay = Replay()


def _parameters(cases: Sequence[Case], isas: Sequence[str] = ("",)) -> list[Any]:
    """List case, mode, contender and instruction set, group by group."""
    return [
        pytest.param(case, mode, name, isa, id="-".join(filter(None, parts)))
        for isa in isas
        for case in cases
        for mode in case.modes
        for name in case.contenders(mode, isa)
        for parts in [(case.label, mode, name, isa)]
    ]


def _record(
    benchmark: BenchmarkFixture, bench: Bench, case: Case, mode: Mode, name: str, isa: str
) -> None:
    """Give pytest-benchmark the samples and, beside them, what the report needs."""
    if benchmark.disabled:  # --benchmark-disable: only see that it runs
        benchmark.pedantic(bench.problem(case).contender(name, mode))
        return
    samples: Samples = bench.samples(case, mode, isa)
    benchmark.group = ", ".join(filter(None, (case.label, mode, isa)))
    benchmark.extra_info.update(
        case=case.label, mode=mode, isa=isa, contender=name, num_threads=bench.num_threads
    )
    replay.play(benchmark, samples[name])


def _skip_without_memory(case: Case, bench: Bench) -> None:
    if not (bench.small or fits(case.work)):
        pytest.skip(f"{case.label} takes {format_bytes(case.work.bytes * ARRAYS)} of memory")


# torch.compile uses what torch deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
@pytest.mark.benchmark(timer=replay)
@pytest.mark.parametrize(("case", "mode", "name", "isa"), _parameters(CASES))
def test_contender(
    case: Case, mode: Mode, name: str, isa: str, bench: Bench, benchmark: BenchmarkFixture
) -> None:
    _skip_without_memory(case, bench)
    if name == COMPILE and bench.small and case is not CASES[0]:
        pytest.skip("one compilation shows that it runs; each takes seconds")
    if name not in (COPY, READ, PLAIN):
        assert_right(bench.problem(case), mode, name)
        if benchmark.enabled and name != OUT:
            benchmark.extra_info["extra_bytes"] = bench.extra_bytes(name, case, mode)
    _record(benchmark, bench, case, mode, name, isa)


@pytest.mark.benchmark(timer=replay)
@pytest.mark.parametrize(
    ("case", "mode", "name", "isa"),
    _parameters(CAPABILITY_CASES, [isa for isa in CAPABILITIES if _core.isa_available(isa)]),
)
def test_lower_instruction_set(
    case: Case, mode: Mode, name: str, isa: str, bench: Bench, benchmark: BenchmarkFixture
) -> None:
    """Where a CPU lacks AVX-512 or AVX2, torch held to the same instruction set."""
    _skip_without_memory(case, bench)
    _record(benchmark, bench, case, mode, name, isa)
