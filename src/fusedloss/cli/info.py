"""``fusedloss info``: what this machine has and what fusedloss uses of it."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import fusedloss as fl
from fusedloss import _core
from fusedloss.cli._output import Output

#: Packages that come under a second name, too.
ALSO = {"xgboost": "xgboost-cpu"}

#: What the command line and its peers use where it is installed.
OPTIONAL = (
    "rich",
    "matplotlib",
    "scikit-learn",
    "scipy",
    "lightgbm",
    "xgboost",
    "ml_dtypes",
    "torch",
    "jax",
    "keras",
)


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="show CPU features, instruction sets, threads and versions",
        description="Show what this machine has and what fusedloss uses of it, and why.",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="as JSON: an object with problems, the sections of the tables, and packages",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, output: Output) -> int:
    """Print the configuration, a table for each section, after what is wrong with variables."""
    problems = list(_core.ENVIRONMENT_PROBLEMS)
    config = fl.show_config(mode="dicts")
    packages = {name: _version(name) for name in OPTIONAL}
    if options.json:
        report = {"problems": problems, **config, "packages": packages}
        print(json.dumps(report, indent=2))
        return 0
    if problems:
        output.table("not used", [], [[problem] for problem in problems])
    for section, entries in config.items():
        rows = [[_words(key), _show(value)] for key, value in entries.items()]
        output.table(_words(section), [], rows)
    rows = [[name, found or "not installed"] for name, found in packages.items()]
    output.table("optional packages", [], rows)
    return 0


def _version(package: str) -> str | None:
    """Return the version of a package; None for one that is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return _version(ALSO[package]) if package in ALSO else None


def _words(key: str) -> str:
    """Turn a key into words."""
    return key.replace("_", " ")


def _show(value: object) -> str:
    """Show a value as text."""
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
