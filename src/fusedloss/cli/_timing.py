"""Timing of functions side by side on a machine that others may be using."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles
from time import perf_counter, sleep
from typing import Literal

Samples = dict[str, list[float]]

# A sample is long enough for the clock and short enough for many rounds; shorter calls are
# repeated within one sample.
SAMPLE_SECONDS = 0.002
# Calls below this size may find their data in cache: each sample then follows an untimed call of
# its own, so that no contender pays for what the one before it left there.
CACHE_SECONDS = 0.02
# OpenMP's threads wait busily for some 3 ms before they sleep: two pools at once are in each
# other's way.
POOL_SECONDS = 0.005
# A copy whose spread is larger than this says that something else keeps the machine busy.
QUIET_SPREAD = 0.25


@dataclass(frozen=True)
class After:
    """A call that is timed right after another, which is not timed."""

    before: Callable[[], object]
    call: Callable[[], object]

    def __call__(self) -> None:
        """Make both calls."""
        self.before()
        self.call()


def time_in_turn(
    contenders: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    min_rounds: int = 3,
    max_rounds: int = 200,
    own_threads: Collection[str] = (),
) -> Samples:
    """Time every contender once a round, for as many rounds as ``seconds`` allow.

    Parameters
    ----------
    contenders
        Functions without arguments, by name.
    seconds
        Time to spend, in seconds; ``min_rounds`` are made even if they take longer.
    min_rounds, max_rounds
        Bounds on the number of rounds.
    own_threads
        Those contenders that have a pool of threads of their own: they start when the others'
        threads have gone to sleep.

    Returns
    -------
    dict
        Seconds a call, one for each round, by name. The same index is the same round, so ratios
        are taken round by round: a disturbance that lasts longer than a round cancels.
    """
    calls: dict[str, int] = {}
    warm: dict[str, bool] = {}
    for name, contender in contenders.items():
        contender()
        once = _sample(contender, 1)
        calls[name] = max(1, math.ceil(SAMPLE_SECONDS / max(once, 1e-7)))
        warm[name] = once < CACHE_SECONDS
        if isinstance(contender, After):  # one call each, in the state that the other left
            calls[name], warm[name] = 1, False
    samples: Samples = {name: [] for name in contenders}
    order = list(contenders)
    end = perf_counter() + seconds
    rounds = 0
    while rounds < min_rounds or (rounds < max_rounds and perf_counter() < end):
        for name in order:
            if name in own_threads:
                sleep(POOL_SECONDS)
            if warm[name]:
                contenders[name]()
            samples[name].append(_sample(contenders[name], calls[name]))
        order.reverse()
        rounds += 1
    return samples


def _sample(function: Callable[[], object], calls: int) -> float:
    """Seconds a call, over so many calls."""
    if isinstance(function, After):
        function.before()
        function = function.call
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = perf_counter()
        for _ in range(calls):
            function()
        return (perf_counter() - start) / calls
    finally:
        if collecting:
            gc.enable()


Average = Literal["median", "mean"]


def ratio(samples: Samples, name: str, *yardstick: str, average: Average = "median") -> float:
    """Time of one contender over that of others together: the median over the rounds.

    The mean, which shows rare long calls, is that of the times, not of the rounds' ratios.
    """
    others = list(map(sum, zip(*(samples[other] for other in yardstick), strict=True)))
    if average == "mean":
        return mean(samples[name]) / mean(others)
    return median(mine / other for mine, other in zip(samples[name], others, strict=True))


def spread(times: Sequence[float]) -> float:
    """Interquartile range over the median: how far apart the rounds were."""
    first, _, third = quantiles(times, n=4, method="inclusive")
    return (third - first) / median(times)
