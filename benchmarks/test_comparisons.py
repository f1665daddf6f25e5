"""Losses whose work is matrix products, and calls in company, against a yardstick of their own.

The contenders of a case take turns, as in `test_softmax_family`.
"""

from __future__ import annotations

from functools import cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from comparisons import Comparison
from fusedloss.cli._timing import Samples, time_in_turn
from measure import SECONDS, Bench, extra_bytes_of_comparison
from test_softmax_family import replay
from workloads import COMPARISONS


@cache
def measure(case: Comparison, bench: Bench) -> Samples:
    """Time all contenders of a case, once."""
    contenders = case.make(bench.num_threads, False)
    return time_in_turn(contenders, seconds=SECONDS, min_rounds=case.rounds)


@pytest.mark.benchmark(timer=replay)
@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, id=f"{case.section}-{case.label}-{name}")
        for case in COMPARISONS
        for name in case.names
    ],
)
def test_contender(case: Comparison, name: str, bench: Bench, benchmark: BenchmarkFixture) -> None:
    if benchmark.disabled:  # --benchmark-disable: only see that it runs
        benchmark.pedantic(case.make(bench.num_threads, True)[name])
        return
    samples = measure(case, bench)
    if name not in samples:
        pytest.skip(f"{name} takes more memory than there is")
    (mode,) = case.modes
    benchmark.group = f"{case.section}, {case.label}"
    benchmark.extra_info.update(
        case=case.label, mode=mode, isa="", contender=name, num_threads=bench.num_threads
    )
    if case.measure_memory and name != case.yardstick:
        memory = extra_bytes_of_comparison(case, name, bench.num_threads)
        benchmark.extra_info["extra_bytes"] = memory
    replay.play(benchmark, samples[name])
