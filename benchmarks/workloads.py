"""The work that is measured and what it should take: the one table of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fusedloss.cli._contenders import NUMPY, Mode, Work, contender_names

Unit = Literal["copies", "times torch", "us"]


@dataclass(frozen=True)
class Target:
    """What the project asks of itself for one piece of work."""

    bound: float
    unit: Unit

    def __str__(self) -> str:
        if self.unit == "copies":
            return f"<= {self.bound:.1f} copies"
        return f"{'>=' if self.unit == 'times torch' else '<='} {self.bound:g} {self.unit}"

    def met(self, seconds: float, copies: float, times_torch: float) -> bool:
        """Whether a measurement reaches it."""
        if self.unit == "times torch":
            return times_torch >= self.bound
        return (copies if self.unit == "copies" else seconds * 1e6) <= self.bound


@dataclass(frozen=True, eq=False)
class Case:
    """A shape, with its targets by mode; `numpy`: small enough to time plain NumPy too."""

    shape: tuple[int, ...]
    targets: Mapping[Mode, Target] = field(default_factory=dict)
    numpy: bool = True

    @property
    def work(self) -> Work:
        """The work as the contenders know it."""
        return Work(self.shape)

    def contenders(self, mode: Mode, isa: str = "") -> list[str]:
        """Name the contenders that are timed, the copy last; NumPy cannot be held to an `isa`."""
        names = contender_names(mode, torch=True)
        return [name for name in names if name != NUMPY or (self.numpy and not isa)]


def _copies(value_and_gradient: float, forward: float | None = None) -> dict[Mode, Target]:
    targets: dict[Mode, Target] = {"value + gradient": Target(value_and_gradient, "copies")}
    if forward is not None:
        targets["forward"] = Target(forward, "copies")
    return targets


CASES = (
    Case((64, 10), {"value + gradient": Target(3, "us")}),
    Case((256, 1000), {"value + gradient": Target(5, "times torch")}),
    Case((100_000, 10), {"value + gradient": Target(20, "times torch")}),
    Case((4096, 1000), _copies(1.3, forward=0.8)),
    Case((4, 21, 512, 512), _copies(1.3), numpy=False),
    Case((2, 150, 256, 256), _copies(1.3), numpy=False),
    Case((2048, 32_000), _copies(1.0, forward=0.6), numpy=False),
    Case((1024, 128_256), _copies(1.0, forward=0.6), numpy=False),
)

#: Lower instruction sets, and the ATEN_CPU_CAPABILITY that holds torch to the same one.
CAPABILITIES = {"avx2": "avx2", "x86-64-v2": "default"}
CAPABILITY_TARGET = Target(1, "times torch")
#: Without 1024 x 128256: 2048 x 32000 shows the same in half the time.
CAPABILITY_CASES = tuple(case for case in CASES if case.shape != (1024, 128_256))
