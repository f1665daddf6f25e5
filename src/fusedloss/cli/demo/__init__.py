"""``fusedloss demo``: small networks that train in seconds.

One module per part, each with ``add_part``, which adds its arguments and returns its parser, and
``run``. Without a part named, all of them run.
"""

from __future__ import annotations

import argparse
from typing import Any

from fusedloss.cli._output import Output
from fusedloss.cli.demo import digits, embeddings, language

PARTS = (digits, embeddings, language)


def add_command(commands: Any) -> None:
    """Add the command and its parts to the parser."""
    parser = commands.add_parser(
        "demo",
        help="train small networks, with pictures of what they learn",
        description="Train small networks and draw what they learn: all parts, or one.",
    )
    parts = parser.add_subparsers(metavar="part")
    parsers = [part.add_part(parts) for part in PARTS]

    def run(_: argparse.Namespace, output: Output) -> int:
        """Run all parts with their defaults; fail where one does."""
        runs = [each.parse_args([]) for each in parsers]
        statuses: list[int] = [options.run(options, output) for options in runs]
        return max(statuses)

    parser.set_defaults(run=run)
