"""The largest error of every loss, dtype and instruction set, on a sample of the table's inputs."""

from __future__ import annotations

import numpy as np
import pytest

import ulp_table
from checks import DTYPES

#: About so many logits of every distribution and number of classes; `make ulp` takes 50,000.
ELEMENTS = 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ulp_table.LOSSES)
def test_errors_are_within_bounds(name: str, dtype: str) -> None:
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("long double, the truth for float64, is double here")
    bound = ulp_table.bound(name, dtype)
    for isa, errors in ulp_table.measure(name, dtype, ELEMENTS).items():
        assert errors.within(bound), f"{isa}: {errors} exceeds {bound}"


def test_a_wrong_digit_exceeds_the_bounds() -> None:
    """The same measure on a value that is off by 1e-5, or a bfloat16 off by one."""
    for dtype in ("float32", "bfloat16"):
        exact = np.float64([0.75, 0.5])
        wrong = (exact * (1.00001 if dtype == "float32" else 1.006)).astype(dtype)
        quantity = ulp_table.Quantity(exact, exact, np.zeros(2))
        error = ulp_table.largest_error(wrong, quantity, classes=2, by_row=False)
        assert error > ulp_table.bound("focal_loss", dtype).value
