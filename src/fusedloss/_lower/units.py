"""Rows divided by their norms, gradients through that, and distances of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss import _core
from fusedloss._types import Array

#: Elements of the blocks of distances that are held.
BLOCK = 1 << 21


def squared_distances(products: Array, a: Array, b: Array) -> Array:
    """Turn the products of rows into their squared distances."""
    products *= -2
    sums = np.square(a).sum(axis=1, keepdims=True) + np.square(b).sum(axis=1)
    products += sums
    rows, columns = np.nonzero(products < sums / 256)  # too few digits are left of these
    step = max(1, BLOCK // a.shape[1])
    for i in range(0, len(rows), step):
        near = rows[i : i + step], columns[i : i + step]
        products[near] = np.square(a[near[0]] - b[near[1]]).sum(axis=1)
    return products


def norms(x: Array, p: float = 2.0) -> Array:
    """Return the norms of rows, (N, 1), also where powers overflow or underflow."""
    most = np.abs(x).max(axis=1, keepdims=True, initial=0)
    far = np.finfo(x.dtype).max ** 0.25
    is_far = (most > 0) & (most < np.inf) & ((most < 1 / far) | (most > far))
    unit = np.where(is_far, most, x.dtype.type(1))
    found: Array = np.linalg.norm(x / unit if is_far.any() else x, p, axis=1, keepdims=True) * unit
    return found


class Units:
    """Unit vectors of some rows after others, in memory for the most of them at a time."""

    def __init__(self, most: int, features: int, dtype: np.dtype[Any]) -> None:
        self._held = _core.new_array((most, features), dtype)

    def read(self, x: Array, counts: Array | None = None) -> None:
        """Write the unit vectors of rows; zeros for those that do not count, and those of zeros."""
        self.unit = self._held[: len(x)]
        self.unit[...] = x
        if counts is not None:
            self.unit[~counts] = 0
        squares = np.einsum("ij,ij->i", self.unit, self.unit)
        self.norm = np.sqrt(squares)[:, np.newaxis]
        far = np.finfo(squares.dtype).max ** 0.5
        odd = ~((squares > 1 / far) & (squares < far))
        if odd.any():
            self.norm[odd] = norms(self.unit[odd])
        self.unit /= np.where(self.norm == 0, 1, self.norm)

    def pull(self, slopes: Array, factor: Array | float = 1.0) -> None:
        """Turn a factor's part of slopes by unit vectors into slopes by rows; these are used up.

        Zeros have no direction: their slopes are 0.
        """
        self.unit *= np.einsum("ij,ij->i", slopes, self.unit)[:, np.newaxis]
        slopes -= self.unit
        slopes *= (factor / self.norm).astype(slopes.dtype)
        slopes[(self.norm == 0)[:, 0]] = 0
