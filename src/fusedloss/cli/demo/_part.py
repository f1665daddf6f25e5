"""What a part of the tour is, and what it hands to the one who runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fusedloss.cli._output import Output

#: Inches, as wide as a telephone shows at a size that can be read.
WIDTH = 5.0


class Settings(NamedTuple):
    """What the user chose for all parts."""

    seed: int = 0
    effort: float = 1.0

    def share(self, usual: int, least: int = 1) -> int:
        """Return that share of the usual number of steps, files or whatever takes time."""
        return max(least, round(usual * self.effort))


@dataclass(frozen=True)
class Finding:
    """A line of the summary: a figure, and the one beside which it means something."""

    what: str
    value: str
    beside: str = ""
    other: str = ""


@dataclass(frozen=True)
class Picture:
    """A file of the tour, ``name``.png, WIDTH inches wide."""

    name: str
    title: str
    sentence: str
    draw: Callable[[], Any]  #: makes the figure; called in the project's style


@dataclass(frozen=True)
class Report:
    """What a part found."""

    story: str  #: what was done, in a sentence or two
    findings: list[Finding]
    pictures: list[Picture]
    problems: list[str] = field(default_factory=list)  #: what was promised and does not hold


@dataclass(frozen=True, eq=False)
class Part:
    """A stop of the tour."""

    name: str
    summary: str  #: a line of the help, without a full stop
    packages: Mapping[str, str]  #: what is imported, and the name under which pip knows it
    run: Callable[[Settings, Output], Report]
