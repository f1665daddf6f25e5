"""bfloat16, which NumPy knows by ml_dtypes alone, and the fronts as its bits in uint16."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss._types import Array

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None


def numbers_of_bits(bits: Array) -> Array:
    """Return an array of bfloat16 numbers for one of their bits; any other as it is."""
    if bits.dtype != np.uint16:
        return bits
    if bfloat16 is None:
        raise TypeError("NumPy has no bfloat16 without ml_dtypes")
    return bits.view(bfloat16)


def bits_of_numbers(numbers: Any) -> Any:
    """Return the bits of an array of bfloat16 numbers; anything else as it is."""
    if isinstance(numbers, np.ndarray) and numbers.dtype.name == "bfloat16":
        return numbers.view(np.uint16)
    return numbers
