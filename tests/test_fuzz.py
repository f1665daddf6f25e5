"""Random calls of every public function: `make fuzz`, a fixed number of a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fuzz.__main__ import run
from fuzz.arguments import NOT_CALLED, family_of, parameters_of
from fuzz.calls import Wrong, check, snippet
from fuzz.draws import call_of, functions
from fuzz.memory import Placed, place

SEED = 20261129

#: Some fifteen of each function of each front.
CALLS = 2500


def test_random_calls() -> None:
    report = run(SEED, CALLS)
    assert not report.findings, "\n".join(report.findings)
    assert report.calls == CALLS
    unanswered = {f"{front}.{name}" for front, name in functions()} - set(+report.answered)
    assert not unanswered


def test_every_function_has_its_arguments() -> None:
    """A new function is called without being named; an array it calls otherwise has to be known."""
    for front, name in functions():
        assert name not in NOT_CALLED
        if front == "numpy":
            assert callable(family_of(name))
            assert parameters_of(name)


def test_calls_are_the_same_again() -> None:
    for index in range(0, 400, 7):
        assert snippet(call_of(SEED, index)) == snippet(call_of(SEED, index))


def test_a_snippet_is_a_program() -> None:
    for index in range(0, 60, 5):
        compile(snippet(call_of(SEED, index)), "snippet", "exec")


def canary_of(placed: Placed) -> None:
    """One byte behind the elements."""
    placed.memory[-1] ^= 1


@pytest.mark.parametrize("written", [False, True])
def test_writes_round_the_elements_are_seen(written: bool, rng: np.random.Generator) -> None:
    for shape in ((), (3,), (2, 3, 4)):
        placed = place(rng.normal(size=shape), rng, 0.9, written=True)
        before = placed.memory.copy()
        placed.view()[...] = 1
        if written:
            canary_of(placed)
        assert placed.only_elements_differ(before) != written


def calls_with_gradients(name: str) -> Iterator[int]:
    """The numbers of calls with a gradient that a formula tells, every part of it."""
    for index in range(10_000):
        call = call_of(SEED, index)
        asked = (call.front, call.name, call.kind, call.regime)
        exact = call.usual and not {"filter_eps", "shift"} & call.arguments.keys()
        if asked == ("numpy", name, "gradient", "usual") and exact:
            yield index


SEEN = ("mse_loss", "cross_entropy", "dice_loss", "linear_cross_entropy")


@pytest.mark.parametrize("name", [*SEEN, "complete_box_iou_loss", "grpo_loss"])
def test_a_wrong_answer_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients that are a tenth off, at the largest element of each row of the last axis."""
    import fuzz.calls

    made, changed = fuzz.calls.made, True

    def wrong(*arguments: Any) -> Any:
        nonlocal changed
        value, gradients = made(*arguments)
        for x in gradients if isinstance(gradients, tuple) else (gradients,):
            changed = changed and bool(np.isfinite(x.astype(np.float64)).all())
            if not x.size or not x.ndim:
                changed = False
                continue
            at = np.abs(x.astype(np.float64)).argmax(axis=-1, keepdims=True)
            off = np.take_along_axis(x, at, -1) * 1.1 + 0.1
            np.put_along_axis(x, at, off.astype(x.dtype), -1)
        return value, gradients

    for index in calls_with_gradients(name):
        assert check(call_of(SEED, index))
        changed = True
        with monkeypatch.context() as planted:
            planted.setattr(fuzz.calls, "made", wrong)
            try:
                check(call_of(SEED, index))
            except Wrong:
                return
        assert not changed, index  # of nan, nothing or a number: the next call
    raise LookupError(name)
