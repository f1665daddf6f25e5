"""Every public function compiled, exported, transformed, differentiated twice, without memory."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import torch_cells  # noqa: E402
from fusedloss import _core  # noqa: E402
from fusedloss._lower import traced  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from parts import public  # noqa: E402

_CELLS = [(name, column) for name in public(F) for column in torch_cells.COLUMNS]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        pytest.param(*cell, marks=[pytest.mark.long] * (cell[1] in torch_cells.LONG))
        for cell in _CELLS
    ],
    ids=[f"{name}-{column}" for name, column in _CELLS],
)
def test_cells(name: str, column: str) -> None:
    exception = torch_cells.EXCEPTIONS.get((name, column))
    if exception is None:
        torch_cells.COLUMNS[column](name)
        return
    _, said = exception
    with pytest.raises(torch_cells.FAILURES, match=f"(?s){said}"):  # once it works, it goes
        torch_cells.COLUMNS[column](name)


def test_the_table_of_the_documentation_is_this_one() -> None:
    page = Path(__file__).parents[1] / "docs" / "guides" / "compiled_table.inc"
    if page.exists():  # not beside an installed package
        assert page.read_text() == "\n".join(torch_cells.table()) + "\n"


def test_every_exception_is_a_cell() -> None:
    assert set(_CELLS) >= torch_cells.EXCEPTIONS.keys()


@pytest.mark.parametrize("name", ["Pointwise", "Rowwise"])
def test_what_is_traced_has_the_fields_of_records(name: str) -> None:
    made = getattr(traced, f"{name}Tuple")
    assert made._fields == getattr(_core, f"{name}Call")._fields
