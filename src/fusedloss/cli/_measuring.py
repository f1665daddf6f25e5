"""Families of losses, and calls in company, timed for ``fusedloss bench --family``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fusedloss.cli import _company, _families
from fusedloss.cli._contenders import (
    FRONT,
    FUSEDLOSS,
    OUT,
    TORCH,
    VALUE_AND_GRADIENT,
    Problem,
    Work,
)
from fusedloss.cli._format import format_ratio, format_seconds
from fusedloss.cli._output import Output, optional_import
from fusedloss.cli._results import PLURAL, Result, results_of
from fusedloss.cli._timing import After, time_in_turn

COMPANY = "company"
NAMES = (*_families.FAMILIES, COMPANY)

#: Calls that are timed in company, float32: a small one of each kind.
_CALLS: Mapping[str, tuple[tuple[int, ...], Callable[[int], _company.Call]]] = {
    "cross_entropy": ((256, 1000), _company.cross_entropy(256, 1000)),
    "mse_loss": ((200_000,), _company.mse_loss),
}


def measure(
    family: str, dtype: str, seconds: float, num_threads: int, torch: Any, output: Output
) -> list[Result]:
    """Time a family's losses, or calls in company."""
    if family == COMPANY:
        return _measure_company(seconds, num_threads, output)
    losses = _families.losses_of(family, dtype)
    results: list[Result] = []
    with output.progress(family, len(losses)) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, such as on the mean of kl_div
        for loss in losses:
            results += _measure_loss(family, loss, seconds, num_threads, torch)
            advance()
    return results


def _measure_loss(
    family: str, loss: _families.Timed, seconds: float, num_threads: int, torch: Any
) -> list[Result]:
    problem = Problem(loss.work, num_threads, torch, loss.computation)
    yardstick = loss.computation.yardstick
    names = [OUT, *([] if torch is None else [FRONT, TORCH]), yardstick]
    contenders = {name: problem.contender(name, VALUE_AND_GRADIENT) for name in names}
    if TORCH in contenders and not _runs(contenders[TORCH]):
        del contenders[TORCH]
    samples = time_in_turn(contenders, seconds=seconds)
    shape = getattr(problem.prediction, "shape", loss.work.shape)  # the work's is of a list's one
    work = Work(shape, loss.work.dtype)
    return results_of(samples, family, loss.computation.name, work, VALUE_AND_GRADIENT, yardstick)


def _runs(call: Callable[[], object]) -> bool:
    """Whether torch's operations take the dtype: some have none of 16 bits on the CPU."""
    try:
        call()
    except RuntimeError:
        return False
    return True


def _measure_company(seconds: float, num_threads: int, output: Output) -> list[Result]:
    """Time calls right after others of their program's, on several threads and on one."""
    results: list[Result] = []
    with output.progress(COMPANY, len(_company.COMPANIES) * len(_CALLS)) as advance:
        for company in _company.COMPANIES:
            if optional_import(company.module) is None:
                output.text(f"{company.label} left out: {company.module} is not installed")
                continue
            before = company.make(num_threads)
            for name, (shape, make) in _CALLS.items():
                places = {
                    FUSEDLOSS: After(before, make(num_threads)),
                    _company.ONE_THREAD: After(before, make(1)),
                }
                samples = time_in_turn(places, seconds=seconds, min_rounds=15)
                label = f"{name} after {company.label}"
                work = Work(shape)
                results += results_of(
                    samples, COMPANY, label, work, VALUE_AND_GRADIENT, _company.ONE_THREAD
                )
                advance()
    return results


def lay_out(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Lay out a family: a row for each loss, the others' times over fusedloss's."""
    groups: dict[tuple[str, Work], dict[str, Result]] = {}
    for result in results:
        groups.setdefault((result.loss, result.work), {})[result.contender] = result
    yardsticks = dict.fromkeys(result.yardstick for result in results)
    others = [
        name for name in (FRONT, TORCH) if any(name in contenders for contenders in groups.values())
    ]
    head = ["loss", "of", "time", *(f"in {PLURAL[each]}" for each in yardsticks)]
    rows = []
    for (loss, work), contenders in groups.items():
        first = next(iter(contenders.values()))
        rows.append(
            [
                loss,
                work.label,
                format_seconds(first.seconds),
                *(
                    format_ratio(first.in_yardsticks) if each == first.yardstick else ""
                    for each in yardsticks
                ),
                *(
                    format_ratio(contenders[name].relative_to_fusedloss)
                    if name in contenders
                    else ""
                    for name in others
                ),
            ]
        )
    return [*head, *(f"{name}, times that" for name in others)], rows
