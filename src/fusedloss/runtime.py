"""Threads, instruction set and configuration of this process."""

from __future__ import annotations

from fusedloss import _core


def set_num_threads(n: int) -> None:
    """Set threads."""
    _core.set_num_threads(n)


def get_num_threads() -> int:
    """Get threads."""
    return _core.get_num_threads()


def get_include() -> str:
    """Return the folder of fusedloss.h."""
    import os

    return os.path.join(os.path.dirname(__file__), "include")


def show_config(mode: str = "stdout") -> None:
    """Show."""


class threads:
    def __init__(self, n: int) -> None:
        self.n = n

    def __enter__(self) -> None:
        self.before = _core.push_num_threads(self.n)

    def __exit__(self, *args: object) -> None:
        _core.push_num_threads(self.before)
