"""What the project asks of itself."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from fusedloss.cli._contenders import COPY
from fusedloss.cli._timing import Samples, ratio


@dataclass(frozen=True)
class Target:
    """What the project asks of itself: a contender's time over that of others together, at most.

    Without others, the bound is in microseconds. The contender is the group's first, fusedloss with
    `out=` where there is a gradient, unless it is named.
    """

    bound: float
    others: tuple[str, ...] = (COPY,)
    contender: str = ""

    def __str__(self) -> str:
        others = " + ".join("copies" if name == COPY else name for name in self.others) or "us"
        return f"{self.contender} <= {self.bound:g} {others}".strip()

    def measure(self, samples: Samples) -> float:
        """Return the figure that the bound is for."""
        name = self.contender or next(iter(samples))
        return ratio(samples, name, *self.others) if self.others else median(samples[name]) * 1e6
