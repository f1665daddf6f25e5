"""How work is described whose contenders are not those of cross-entropy on an array of logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fusedloss.cli._contenders import VALUE_AND_GRADIENT, Mode
from targets import Target

#: What is timed, by name: a call on arrays that are there.
Contenders = dict[str, Callable[[], object]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Work with its contenders: fusedloss first, then its peers, the yardstick last."""

    section: str
    label: str
    names: tuple[str, ...]
    #: makes those that there is memory for, with so many threads; small ones, to see that they run
    make: Callable[[int, bool], Contenders]
    asked: tuple[Target, ...] = ()
    rounds: int = 5
    measure_memory: bool = False
    modes: tuple[Mode, ...] = (VALUE_AND_GRADIENT,)

    @property
    def targets(self) -> Mapping[Mode, tuple[Target, ...]]:
        """What the project asks of itself."""
        return dict.fromkeys(self.modes, self.asked)

    @property
    def yardstick(self) -> str:
        """What times are given in: matrix products, or the same call elsewhere."""
        return self.names[-1]

    def contenders(self, _mode: Mode, _isa: str = "") -> list[str]:
        """Name what is timed."""
        return list(self.names)
