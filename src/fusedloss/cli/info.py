"""``fusedloss info``: what this machine has and what fusedloss uses of it."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import fusedloss as fl
from fusedloss import _core
from fusedloss.cli._output import Output

#: What the command line and its peers use where it is installed.
OPTIONAL = ("rich", "matplotlib", "scikit-learn", "ml_dtypes", "torch", "jax")


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="show CPU features, instruction sets, threads and versions",
        description="Show what this machine has and what fusedloss uses of it, and why.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, output: Output) -> int:
    """Print the configuration, a table for each section, after what is wrong with variables."""
    if _core.ENVIRONMENT_PROBLEMS:
        output.table("not used", [], [[problem] for problem in _core.ENVIRONMENT_PROBLEMS])
    for section, entries in fl.show_config(mode="dicts").items():
        rows = [[_words(key), _show(value)] for key, value in entries.items()]
        output.table(_words(section), [], rows)
    rows = [[name, _version(name)] for name in OPTIONAL]
    output.table("optional packages", [], rows)
    return 0


def _version(package: str) -> str:
    """Return the version of a package that may be missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _words(key: str) -> str:
    """Turn a key into words."""
    return key.replace("_", " ")


def _show(value: object) -> str:
    """Show a value as text."""
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
