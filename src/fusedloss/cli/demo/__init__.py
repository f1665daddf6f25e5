"""``fusedloss demo``: a tour of small models that train in seconds.

One module per part, each with a ``PART``; what runs them here knows no more than that.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusedloss.cli import _plot
from fusedloss.cli._arguments import folder, share, whole
from fusedloss.cli._output import Output, missing, optional_import
from fusedloss.cli.demo import (
    _page,
    boosting,
    digits,
    embeddings,
    language,
    quantiles,
    segmentation,
)
from fusedloss.cli.demo._part import Part, Report, Settings

PARTS: dict[str, Part] = {
    module.PART.name: module.PART
    for module in (digits, embeddings, language, boosting, quantiles, segmentation)
}
EXTRA = "'fusedloss[demo]'"
COLUMNS = ("part", "measured", "result", "beside", "there")

DESCRIPTION = """\
Train small models on data that is at hand, and draw what they learn: all parts of
the tour, or those that are named. It ends with a table, and with a page that shows
the pictures. Each part promises something, such as an accuracy; the exit status is 1
where one does not hold.

parts:
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    width = max(map(len, PARTS))
    parts = "\n".join(f"  {name:{width}}  {part.summary}" for name, part in PARTS.items())
    parser = commands.add_parser(
        "demo",
        help="train small models, with pictures of what they learn",
        description=DESCRIPTION + parts,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        type=_part_name,
        metavar="part",
        help="parts to run, of those above (default: all)",
    )
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="N", help="of all that is random (default: 0)"
    )
    parser.add_argument(
        "--output",
        type=folder,
        default=Path("fusedloss-demo"),
        metavar="FOLDER",
        help="for the pictures and the page (default: fusedloss-demo)",
    )
    parser.add_argument(
        "--effort",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="share of the usual training, as in 0.2: quicker, but promises may not hold",
    )
    parser.set_defaults(run=run)


def _part_name(text: str) -> str:
    """Read the name of a part."""
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(PARTS)}")
    return text


def run(options: argparse.Namespace, output: Output) -> int:
    """Run the parts, print the summary, write pictures and page; fail where a promise does."""
    if not _page.is_ours(options.output):
        output.error(f"{options.output / _page.NAME} is not of a demo: name another --output")
        return 1
    chosen = [part for name, part in PARTS.items() if name in (options.parts or PARTS)]
    able = [part for part in chosen if not _lacks(part, output)]
    settings = Settings(options.seed, options.effort)
    reports: dict[Part, Report] = {}
    for part in able:
        output.text(f"{part.name}: {part.summary}")
        reports[part] = part.run(settings, output)
    if not reports:
        return 1
    output.text()
    rows = _summarize(reports)
    output.table(f"The tour, seed {settings.seed}", COLUMNS, rows, words=(0, 1, 3))
    if optional_import("matplotlib") is None:
        output.text(missing("matplotlib", EXTRA, "the pictures"))
    else:
        _draw(reports, options.output, output)
        page = _page.write_page(options.output, reports, COLUMNS, rows, _command(options))
        output.text(f"The pictures, and what they show: {page}")
    problems = [(part, each) for part, report in reports.items() for each in report.problems]
    for part, problem in problems:
        output.error(f"{part.name}: {problem}")
    return 1 if problems or len(able) < len(chosen) else 0


def _lacks(part: Part, output: Output) -> bool:
    """Say which packages the part lacks."""
    lacking = [
        package for module, package in part.packages.items() if optional_import(module) is None
    ]
    for package in lacking:
        output.error(missing(package, EXTRA, f"the part {part.name!r}"))
    return bool(lacking)


def _summarize(reports: Mapping[Part, Report]) -> list[Sequence[str]]:
    """Lay out all that was found, the name of a part at its first line."""
    return [
        ("" if i else part.name, found.what, found.value, found.beside, found.other)
        for part, report in reports.items()
        for i, found in enumerate(report.findings)
    ]


def _draw(reports: Mapping[Part, Report], folder: Path, output: Output) -> None:
    """Draw every picture into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [picture for report in reports.values() for picture in report.pictures]
    with output.progress("pictures", len(pictures)) as advance, _plot.style():
        for picture in pictures:
            _plot.save(picture.draw(), folder / f"{picture.name}.png")
            advance()


def _command(options: argparse.Namespace) -> str:
    """Return the command line that gives the same results."""
    words = ["fusedloss", "demo", *options.parts, "--seed", str(options.seed)]
    if options.effort != 1:
        words += ["--effort", f"{options.effort:g}"]
    return shlex.join(words)
