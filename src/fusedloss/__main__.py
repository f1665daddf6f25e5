"""The command line: ``python -m fusedloss`` and ``fusedloss``, with info, bench and demo."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fusedloss import __version__
from fusedloss.cli import bench, demo, info
from fusedloss.cli._output import make_output

EXAMPLES = """\
examples:
  fusedloss info                  what this machine has and what fusedloss uses of it
  fusedloss bench                 times against NumPy and torch, some 30 seconds
  fusedloss bench --shape 8192 5000 --threads 1
  fusedloss bench --family pairs --json pairs.json
  fusedloss bench --compare old.json new.json
  fusedloss demo                  train small models, with pictures of what they learn
  fusedloss demo digits boosting --output pictures

exit status: 0 done; 1 the command failed, or what it checks does not hold; 2 wrong arguments
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line; each command adds its own arguments."""
    parser = argparse.ArgumentParser(
        prog="fusedloss",
        description="Loss functions and their gradients in one cache-friendly pass, on the CPU.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fusedloss {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (info, bench, demo):
        command.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = make_parser().parse_args(arguments)
    output = make_output()
    try:
        status: int = options.run(options, output)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, say) has gone; keep the interpreter's last flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        output.error("interrupted")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
