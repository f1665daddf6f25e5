"""Fixtures of the benchmarks; the reference formula comes from the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import fusedloss as fl

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from measure import Bench


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--threads", type=int, help="threads of every contender")


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Bench:
    """Measure with as many threads as fusedloss would take, unless told otherwise."""
    num_threads = request.config.getoption("--threads") or fl.get_num_threads()
    return Bench(num_threads, small=request.config.getoption("benchmark_disable"))
