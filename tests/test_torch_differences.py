"""The documentation's table of differences from torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, inf, nan

from fusedloss.torch import functional as F

T = torch.nn.functional

PAGE = Path(__file__).parents[1] / "docs" / "differences.md"

#: call, torch's answer and the one here
ROWS = [
    tuple(cell.strip() for cell in line.strip("| \n").split(" | ")[:3])
    for line in PAGE.read_text().splitlines()
    if line.startswith("| `") and ", gradient " in line
]

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")


def answer(functions: Any, call: str) -> tuple[Tensor, Tensor]:
    """Value and gradient in the first tensor of a call."""
    leaves: list[Tensor] = []

    def t(numbers: Any) -> Tensor:
        x = torch.tensor(numbers)
        leaves.append(x if leaves else x.requires_grad_())
        return x

    name, arguments = call.split("(", 1)
    value = eval(
        f"function({arguments}",
        {"function": getattr(functions, name), "t": t, "nan": nan, "inf": inf},
    )
    value.backward()
    assert leaves[0].grad is not None
    return value.detach(), leaves[0].grad


def of_cell(cell: str) -> tuple[Tensor, Tensor]:
    """Value and gradient that a cell of the table has."""
    value, gradient = cell.split(", gradient ")
    numbers = [float(x) for x in gradient.strip("[]").split(", ")]
    return torch.tensor(float(value)), torch.tensor(numbers)


@pytest.mark.parametrize(("call", "theirs", "ours"), ROWS, ids=[row[0] for row in ROWS])
def test_the_table_says_what_is(call: str, theirs: str, ours: str) -> None:
    call = call.strip("`")
    for functions, cell in ((T, theirs), (F, ours)):
        value, gradient = answer(functions, call)
        expected_value, expected_gradient = of_cell(cell)
        torch.testing.assert_close(value, expected_value, rtol=1e-3, atol=0, equal_nan=True)
        torch.testing.assert_close(
            gradient.reshape(-1), expected_gradient, rtol=1e-3, atol=0, equal_nan=True
        )
