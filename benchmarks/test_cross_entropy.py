"""cross_entropy in float32 against torch eager, plain NumPy and a copy of the logits.

pytest-benchmark runs one benchmark to its end before the next, so whatever else the machine does
meanwhile hits one contender and not the other. Here the contenders of a group take turns
(`fusedloss.cli._timing.time_in_turn`), once a round, and ratios are medians over the rounds. The
samples then go to pytest-benchmark through its timer option, for its statistics and comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fusedloss as fl
import reference
from fusedloss import _core
from fusedloss.cli._contenders import COPY, MODES, TORCH, Mode
from fusedloss.cli._memory import ARRAYS, fits
from fusedloss.cli._timing import Samples, ratio
from measure import Bench
from workloads import CAPABILITY_CASES, CASES, Case

# The reference computes in float64, several copies of it.
REFERENCE_UP_TO = 5_000_000


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
        for mode in MODES
        for name in case.contenders(mode, isa)
        for parts in [(case.work.label, mode, name, isa)]
    ]


def _record(
    benchmark: BenchmarkFixture, bench: Bench, case: Case, mode: Mode, name: str, isa: str
) -> None:
    """Give pytest-benchmark the samples and, beside them, what the report needs."""
    if benchmark.disabled:  # --benchmark-disable: only see that it runs
        benchmark.pedantic(bench.problem(case).contender(name, mode))
        return
    samples: Samples = bench.samples(case, mode, isa)
    benchmark.group = ", ".join(filter(None, (case.work.label, mode, isa)))
    benchmark.extra_info.update(
        shape=case.shape,
        mode=mode,
        isa=isa,
        contender=name,
        num_threads=bench.num_threads,
        copies=ratio(samples, name, COPY),
        times_torch=ratio(samples, TORCH, name),
    )
    replay.play(benchmark, samples[name])


def _skip_without_memory(case: Case) -> None:
    if not fits(case.work):
        pytest.skip(f"{case.work.label} takes {case.work.bytes * ARRAYS / 1e9:.1f} GB of memory")


@pytest.mark.benchmark(timer=replay)
@pytest.mark.parametrize(("case", "mode", "name", "isa"), _parameters(CASES))
def test_cross_entropy(
    case: Case, mode: Mode, name: str, isa: str, bench: Bench, benchmark: BenchmarkFixture
) -> None:
    _skip_without_memory(case)
    if name != COPY:
        _assert_right(bench, case, mode, name)
        if benchmark.enabled:
            benchmark.extra_info["extra_bytes"] = bench.extra_bytes(name, case, mode)
    _record(benchmark, bench, case, mode, name, isa)


@pytest.mark.benchmark(timer=replay)
@pytest.mark.parametrize(
    ("case", "mode", "name", "isa"),
    _parameters(
        CAPABILITY_CASES, [isa for isa in _core.isa_names()[1:] if _core.isa_available(isa)]
    ),
)
def test_lower_instruction_set(
    case: Case, mode: Mode, name: str, isa: str, bench: Bench, benchmark: BenchmarkFixture
) -> None:
    """Where a CPU lacks AVX-512 or AVX2, torch held to the same instruction set."""
    _skip_without_memory(case)
    _record(benchmark, bench, case, mode, name, isa)


def _assert_right(bench: Bench, case: Case, mode: Mode, name: str) -> None:
    """Whoever is timed must compute the right thing."""
    problem = bench.problem(case)
    answer: Any = problem.contender(name, mode)()
    value, gradient = answer if mode == "value + gradient" else (answer, None)
    expected: Any
    if problem.logits.size <= REFERENCE_UP_TO:
        expected = reference.cross_entropy(problem.logits, problem.target)
    else:
        expected = fl.value_and_grad(fl.cross_entropy)(problem.logits, problem.target)
    # torch and NumPy sum up to 128256 float32 exponentials: 1e-5 leaves room for their rounding.
    np.testing.assert_allclose(float(value), float(expected[0]), rtol=1e-5)
    if gradient is not None:
        np.testing.assert_allclose(np.asarray(gradient), expected[1], rtol=1e-5, atol=1e-12)
