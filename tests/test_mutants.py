"""The table of planted faults: `make mutants` plants each of them."""

from __future__ import annotations

import ast

import pytest

from conftest import REPOSITORY
from mutants.__main__ import planted
from mutants.table import FAULTS


@pytest.mark.parametrize("number", range(1, len(FAULTS) + 1))
def test_every_fault_has_its_place(number: int) -> None:
    """Its snippet is there, and once; what is planted differs."""
    fault = FAULTS[number - 1]
    text = (REPOSITORY / "src" / fault.file).read_text()
    assert text.count(fault.text) == 1, fault.text
    assert fault.right != fault.faulty
    assert fault.right in planted(text, fault, number)
    if fault.file.endswith(".py"):
        ast.parse(planted(text, fault, number))  # an expression, not a statement
    for name in fault.tests.split():
        assert not name.endswith(".py") or (REPOSITORY / "tests" / name).exists()


def test_there_are_enough() -> None:
    assert len(set(FAULTS)) == len(FAULTS) >= 54
