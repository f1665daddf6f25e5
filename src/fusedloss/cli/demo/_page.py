"""The page of the tour: the pictures with a sentence each, and the summary, in one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from fusedloss.cli.demo._part import Part, Picture, Report

NAME = "index.html"
#: By which the page is known again: a page of someone else is not written over.
GENERATOR = '<meta name="generator" content="fusedloss demo">'

STYLE = """
:root { color-scheme: light dark; --text: #1d2733; --soft: #55606d; --page: #f6f7f9;
  --card: #ffffff; --line: #d9dee4; --link: #005a9c; --bad: #a3271b; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ed; --soft: #a7b0ba; --page: #14181d; --card: #1f252c; --line: #39424c;
    --link: #7db8e8; --bad: #ff9c8f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page);
  color: var(--text); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin: 2.5rem 0 .3rem; font-size: 1.25rem; }
p { max-width: 46rem; } a { color: var(--link); } code { overflow-wrap: anywhere; }
.pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
figure { margin: 0; max-width: 34rem; padding: .8rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: .25rem; }
figcaption { padding-top: .6rem; font-size: .95rem; color: var(--soft); }
figcaption b { color: var(--text); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .95rem; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bad { color: var(--bad); font-weight: 600; }
@media (max-width: 34rem) { body { padding: .6rem; } figure { padding: .5rem; }
  th, td { padding-right: .5rem; font-size: .75rem; } }
"""


def is_ours(folder: Path) -> bool:
    """Whether a page may be written there: there is none, or one of an earlier tour."""
    page = folder / NAME
    return not page.exists() or GENERATOR in page.read_text("utf-8", "replace")


def write_page(
    folder: Path,
    reports: Mapping[Part, Report],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    command: str,
) -> Path:
    """Write the page beside its pictures."""
    parts = "".join(_part(part, report) for part, report in reports.items())
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{GENERATOR}
<title>fusedloss: a tour</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<h1>fusedloss: a tour</h1>
<p>Small models that were trained on this machine, on data that is at hand. Every picture is a file
beside this page. Made by <code>{escape(command)}</code></p>
<div class="scroll">{_table(columns, rows)}</div>
{parts}</body>
</html>
"""
    path = folder / NAME
    path.write_text(page, "utf-8")
    return path


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out the summary; columns with figures are set to the right."""
    right = [all(re.match(r"\s*[\d.]", row[i]) for row in rows) for i in range(len(columns))]

    def line(tag: str, cells: Sequence[str]) -> str:
        classes = (' class="figure"' if one else "" for one in right)
        marks = zip(classes, cells, strict=True)
        return f"<tr>{''.join(f'<{tag}{of}>{escape(cell)}</{tag}>' for of, cell in marks)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return f"<table>\n<thead>{line('th', columns)}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _part(part: Part, report: Report) -> str:
    """Show one part: its story, what does not hold, and its pictures."""
    problems = "".join(f'<p class="bad">{escape(each)}</p>\n' for each in report.problems)
    pictures = "\n".join(_picture(part, picture) for picture in report.pictures)
    return f"""<h2 id="{part.name}">{escape(part.name.capitalize())}</h2>
<p>{escape(report.story)}</p>
{problems}<div class="pictures">
{pictures}
</div>
"""


def _picture(part: Part, picture: Picture) -> str:
    """Show one picture, which leads to itself at its full size."""
    title, file = escape(picture.title), f"{picture.name}.png"
    return f"""<figure><a href="{file}"><img src="{file}" alt="{part.name}: {title}"></a>
<figcaption><b>{title}.</b> {escape(picture.sentence)}</figcaption></figure>"""
