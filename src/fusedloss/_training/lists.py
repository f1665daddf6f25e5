"""Losses of lists: items that come query by query, each query a list of its own length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fusedloss._types import Array
from fusedloss.classification import softmax
from fusedloss.transform import value_and_grad


class Lists:
    """Where the items of each query are.

    Parameters
    ----------
    group : array of int or None
        The sizes of the queries, whose items come one query after another.
    items : int
        How many items there are.
    name : str
        The loss, for errors.
    """

    def __init__(self, group: Any, items: int, name: str) -> None:
        if group is None or np.size(group) == 0:
            raise ValueError(
                f"group is missing: {name} takes the sizes of the queries, which data sets of"
                " LightGBM and XGBoost have when they are made with group="
            )
        self.sizes = np.asarray(group)
        if self.sizes.ndim != 1 or self.sizes.dtype.kind not in "iu":
            raise ValueError(
                f"group has dtype {self.sizes.dtype} and shape {self.sizes.shape}: expected whole"
                " numbers, one for each query"
            )
        self.sizes = self.sizes.astype(np.int64, copy=False)
        if (self.sizes < 0).any() or self.sizes.sum() != items:
            raise ValueError(
                f"group sums to {self.sizes.sum()}: expected the sizes of queries, of {items} items"
                " together"
            )
        self.starts = np.cumsum(self.sizes) - self.sizes

    def by_length(self) -> Iterator[tuple[Array, Array]]:
        """Give the numbers of all queries of one length, and where their items are: (n, L)."""
        for length in np.unique(self.sizes[self.sizes > 0]):
            queries = np.flatnonzero(self.sizes == length)
            yield queries, self.starts[queries, np.newaxis] + np.arange(length)

    def of_items(self, weight: Array) -> Array:
        """Return a weight for each item, from one for each item (LightGBM) or query (XGBoost)."""
        items = int(self.sizes.sum())
        if weight.shape == (items,):
            return weight
        if weight.shape == self.sizes.shape:
            return np.repeat(weight, self.sizes)
        raise ValueError(
            f"weight has shape {weight.shape}: expected one for each of {items} items, or for each"
            f" of {len(self.sizes)} queries"
        )


def losses_of_lists(
    loss: Callable[..., Any], raw: Array, target: Array, lists: Lists, options: dict[str, Any]
) -> Array:
    """Return the loss of each query; 0 of one without items."""
    losses = np.zeros(lists.sizes.shape)
    for queries, at in lists.by_length():
        losses[queries] = loss(raw[at], target[at], reduction="none", **options)
    return losses


def derivatives_of_lists(
    loss: Callable[..., Any],
    policy: str,
    raw: Array,
    target: Array,
    lists: Lists,
    options: dict[str, Any],
    floor: float,
) -> tuple[Array, Array]:
    """Return gradient and Hessian of the sum of the queries' softmax losses.

    With p the softmax over a query's items and T the sum of its relevances, the second derivative
    is T p (1 - p), and T / 4 at most.
    """
    gradient, hessian = np.empty_like(raw), np.empty_like(raw)
    function = value_and_grad(loss)
    for _, at in lists.by_length():
        scores, relevances = raw[at], target[at]
        total = relevances.sum(axis=1, dtype=raw.dtype, keepdims=True)
        gradient[at] = function(scores, relevances, reduction="sum", **options)[1]
        if policy == "constant":
            hessian[at] = total / 4
            continue
        p = softmax(scores, axis=-1)
        curvature = total * (p * (1 - p))
        hessian[at] = np.maximum(curvature, floor * total) if policy == "positive" else curvature
    return gradient, hessian
