"""Type checkers accept a right program that calls the public functions, and find mistakes."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "typed"

CHECKERS = {
    "mypy": ("mypy", "--config-file=", "--strict", "--no-incremental", "--no-error-summary"),
    "pyright": ("basedpyright", "--level", "error", "--outputjson"),
}


def reported(checker: str, program: Path) -> dict[int, str]:
    """What a checker says of lines of a program, by their numbers."""
    name, *options = CHECKERS[checker]
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}, of the dependency group lint")
    command = [sys.executable, "-m", name, *options, str(program)]
    if name == "basedpyright":
        command += ["--pythonpath", sys.executable]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if name == "mypy":
        assert run.stderr == ""
        errors = re.findall(r"^\S+?:(\d+): error: (.*)$", run.stdout, re.MULTILINE)
        return {int(line): message for line, message in errors}
    diagnostics = json.loads(run.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1: each["message"] for each in diagnostics}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_right_program_is_accepted(checker: str) -> None:
    assert reported(checker, PROGRAMS / "right.py") == {}


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_mistake_is_found(checker: str) -> None:
    program = PROGRAMS / "wrong.py"
    lines = enumerate(program.read_text().splitlines(), 1)
    mistakes = {number for number, line in lines if "# mistake:" in line}
    assert len(mistakes) > 10
    found = reported(checker, program)
    assert set(found) == mistakes, found
