"""The report of the benchmarks, from measurements that are made up: its verdicts, and its files."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from statistics import median
from time import sleep
from typing import Any

import pytest

from conftest import REPOSITORY
from fusedloss.cli._timing import After, time_in_turn

FOLDER = REPOSITORY / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="this copy has no benchmarks")


@pytest.fixture(scope="module")
def modules() -> tuple[Any, Any]:
    """The modules `report` and `workloads` of the benchmarks."""
    sys.path.append(str(FOLDER))
    try:
        return importlib.import_module("report"), importlib.import_module("workloads")
    finally:
        sys.path.remove(str(FOLDER))


#: Microseconds of every contender, in all rounds; a copy takes 10.
MICROSECONDS = {
    "fusedloss, out=": 10.0,
    "fusedloss": 20.0,
    "fusedloss.torch": 20.0,
    "torch eager": 100.0,
    "plain call": 9.0,
    "reading": 1.0,
    "copy": 10.0,
}


def write_results(path: Path, workloads: Any, changes: dict[str, float]) -> None:
    """Write a file as pytest-benchmark's, with these microseconds for every case."""
    microseconds = MICROSECONDS | changes
    benchmarks = [
        {
            "stats": {"data": [1e-6 * microseconds.get(name, 50.0)] * 3},
            "extra_info": {
                "case": case.label,
                "mode": mode,
                "isa": isa,
                "contender": name,
                "num_threads": 2,
                "extra_bytes": 1_000_000 if case in workloads.MEMORY_CASES else None,
            },
        }
        for isa, cases in (
            ("", (*workloads.CASES, *workloads.COMPARISONS)),
            ("avx2", workloads.CAPABILITY_CASES),
        )
        for case in cases
        for mode in case.modes
        for name in case.contenders(mode, isa)
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks}))


def verdicts(report: Any, path: Path) -> dict[tuple[str, str, str], str]:
    """Whether each target of each piece of work is met."""
    groups, _ = report.read_groups(path)
    return {
        (group.case.label, group.mode, target): mark
        for group in groups
        if not group.isa
        for *_, target, _, mark in report.rows_of(group)
    }


LARGE = ("2048 x 32000", "value + gradient")
HEAD = ("2048 x 768 x 32000", "value + gradient")
COMPANY = ("256 x 1000 after a NumPy product", "value + gradient")


@pytest.mark.parametrize(
    ("changes", "work", "target", "mark"),
    [
        ({}, LARGE, "<= 1 copies", "met"),
        ({"fusedloss, out=": 10.1}, LARGE, "<= 1 copies", "short"),
        ({"fusedloss.torch": 11.4}, LARGE, "fusedloss.torch <= 1.15 fusedloss, out=", "met"),
        ({"fusedloss.torch": 11.6}, LARGE, "fusedloss.torch <= 1.15 fusedloss, out=", "short"),
        ({"fusedloss.torch": 99.9}, LARGE, "fusedloss.torch <= 1 torch eager", "met"),
        ({"fusedloss.torch": 100.1}, LARGE, "fusedloss.torch <= 1 torch eager", "short"),
        ({"fusedloss, out=": 2.9}, ("64 x 10", LARGE[1]), "<= 3 us", "met"),
        ({"fusedloss, out=": 3.1}, ("64 x 10", LARGE[1]), "<= 3 us", "short"),
        (
            {"fusedloss, out=": 11.4},
            ("2048 x 32000 probabilities", LARGE[1]),
            "<= 1.15 plain call + reading",
            "met",
        ),
        (
            {"fusedloss, out=": 11.6},
            ("2048 x 32000 probabilities", LARGE[1]),
            "<= 1.15 plain call + reading",
            "short",
        ),
        ({"fusedloss": 5.9}, ("2048 x 32000", "forward"), "<= 0.6 copies", "met"),
        ({"fusedloss": 6.1}, ("2048 x 32000", "forward"), "<= 0.6 copies", "short"),
        ({"fusedloss": 10.9, "gemm": 10.0}, HEAD, "<= 1.1 gemm", "met"),
        ({"fusedloss": 11.1, "gemm": 10.0}, HEAD, "<= 1.1 gemm", "short"),
        ({"fusedloss": 12.9, "one thread": 10.0}, COMPANY, "<= 1.3 one thread", "met"),
        ({"fusedloss": 13.1, "one thread": 10.0}, COMPANY, "<= 1.3 one thread", "short"),
    ],
)
def test_verdicts(
    changes: dict[str, float],
    work: tuple[str, str],
    target: str,
    mark: str,
    modules: tuple[Any, Any],
    tmp_path: Path,
) -> None:
    """Met below the bound, short beyond it."""
    report, workloads = modules
    write_results(tmp_path / "results.json", workloads, changes)
    assert verdicts(report, tmp_path / "results.json")[*work, target] == mark


def test_what_comes_before_a_call_is_not_timed() -> None:
    """Each call follows its own company, at once, in every sample and in the first call."""
    order: list[str] = []

    def before() -> None:
        sleep(0.01)
        order.append("before")

    samples = time_in_turn({"ours": After(before, lambda: order.append("call"))}, seconds=0.05)
    assert order == ["before", "call"] * (2 + len(samples["ours"]))
    assert median(samples["ours"]) < 0.005


def test_a_mean_shows_rare_long_calls(modules: tuple[Any, Any]) -> None:
    """Of a hundred calls one that takes a hundred times as long: twice the time, not the median."""
    samples = {"ours": [1.0] * 99 + [101.0], "theirs": [1.0] * 100}
    target = importlib.import_module("targets").Target
    assert target(1, ("theirs",)).measure(samples) == 1
    assert target(1, ("theirs",), average="mean").measure(samples) == 2
    assert str(target(2, ("theirs",), average="mean")) == "mean <= 2 theirs"


def test_report_is_written_and_put_into_the_readme(
    modules: tuple[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    report, workloads = modules
    results, readme, page = (tmp_path / name for name in ("results.json", "README.md", "page.md"))
    write_results(results, workloads, {})
    readme.write_text(f"before\n{report.BEGIN}\nlast year's\n{report.END}\nafter\n")
    arguments = ["--readme", str(readme), "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["report.py", str(results), *arguments])
    report.main()

    shown = capsys.readouterr().out
    whole = (tmp_path / "report.md").read_text()
    for case in (*workloads.CASES, *workloads.COMPARISONS):
        assert case.label in shown
        assert f"| {case.label} " in whole
    assert "1.00 MB" in whole  # the peak memory
    assert "avx2" in whole
    for name in ("ratios", "options", "dtypes", "sizes"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    text = readme.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "last year's" not in text
    assert re.search(r"cross_entropy, 2048 x 32000 bfloat16 +\| 10.0 us \| 1.00 copies of", text)
    assert "| linear_cross_entropy, 2048 x 768 x 32000 " in text
    assert "label_smoothing" not in text
    assert "| 2048 x 32000 bfloat16 " in page.read_text()
