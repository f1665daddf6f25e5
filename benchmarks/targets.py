"""What the project asks of itself."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from fusedloss.cli._contenders import COPY
from fusedloss.cli._timing import Average, Samples, ratio


@dataclass(frozen=True)
class Target:
    """What the project asks of itself: a contender's time over that of others together, at most.

    Without others, the bound is in microseconds. The contender is the group's first, fusedloss with
    `out=` where there is a gradient, unless it is named.
    """

    bound: float
    others: tuple[str, ...] = (COPY,)
    contender: str = ""
    average: Average = "median"

    def __str__(self) -> str:
        others = " + ".join("copies" if name == COPY else name for name in self.others) or "us"
        mean = "mean" if self.average == "mean" else ""
        return " ".join(filter(None, (mean, self.contender, f"<= {self.bound:g} {others}")))

    def measure(self, samples: Samples) -> float:
        """Return the figure that the bound is for."""
        name = self.contender or next(iter(samples))
        if self.others:
            return ratio(samples, name, *self.others, average=self.average)
        return median(samples[name]) * 1e6
