"""What the commands print: rich tables and progress bars on a terminal, plain text otherwise.

The commands call an `Output` and need not know which of the two they have. Plain text is for a
terminal without rich and for every pipe and file, where boxes and colours are in the way.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Advance = Callable[[], None]


def optional_import(name: str) -> Any:
    """Import a module of an optional extra; None where it is missing or cannot be loaded."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):
        return None


class Output:
    """Plain text on standard output, complaints on standard error."""

    def text(self, line: str = "") -> None:
        """Print one line."""
        print(line, flush=True)

    def error(self, message: str) -> None:
        """Print a complaint on standard error."""
        print(f"fusedloss: {message}", file=sys.stderr, flush=True)

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        words: Collection[int] = (0,),
    ) -> None:
        """Print a table: columns of words to the left, the others to the right; or no head."""
        lines = [columns, *rows] if columns else list(rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        right = bool(columns)
        print(title)
        for line in lines:
            cells = [
                cell.rjust(width) if right and i not in words else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            print("  " + "  ".join(cells).rstrip())
        print(flush=True)

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[Advance]:
        """Show how far a long task is while the block runs; the block calls what it is given."""
        yield lambda: None


class RichOutput(Output):
    """The same through rich; only for terminals."""

    def __init__(self) -> None:
        self._console = importlib.import_module("rich.console").Console()
        self._table = importlib.import_module("rich.table").Table
        self._box = importlib.import_module("rich.box").SIMPLE_HEAD
        self._progress = importlib.import_module("rich.progress")

    def text(self, line: str = "") -> None:
        """Print one line."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        words: Collection[int] = (0,),
    ) -> None:
        """Print a table: columns of words to the left, the others to the right; or no head."""
        table = self._table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=self._box if columns else None,
            show_header=bool(columns),
        )
        for i in range(len(rows[0])):
            table.add_column(
                columns[i] if columns else "",
                justify="right" if columns and i not in words else "left",
                style="" if i else "cyan",
                overflow="fold",
            )
        escape = importlib.import_module("rich.markup").escape
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self._console.print(table)
        self._console.print()

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[Advance]:
        """Show how far a long task is while the block runs; the block calls what it is given."""
        bar = self._progress.Progress(console=self._console, transient=True)
        task = bar.add_task(description, total=total)
        with bar:
            yield lambda: bar.advance(task)


def make_output() -> Output:
    """Choose the output for where standard output goes."""
    if sys.stdout.isatty() and optional_import("rich") is not None:
        return RichOutput()
    return Output()


def missing(package: str, install: str, purpose: str) -> str:
    """Say what to install for an optional part: what pip takes."""
    return f"{package} is not installed; for {purpose}: pip install {install}"
