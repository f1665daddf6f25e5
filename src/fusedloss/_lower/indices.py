"""Index tuples of pairs and triplets, as miners return them, sorted by anchor."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from fusedloss import _check
from fusedloss._types import Array

#: What a loss makes of an index tuple: pairs, each as often as it is listed; every pair once; the
#: same, and nothing unless there are both kinds; triplets; pairs and, of positive ones, also those
#: of positive and anchor, and nothing unless there are both kinds; the pairs of triplets, every one
#: once, whichever of its two embeddings is the anchor; or how much each anchor's loss counts.
Listing = Literal["pairs", "unique", "both", "triplets", "mutual", "unordered", "weights"]


class PairList(NamedTuple):
    """The references that each anchor has a pair with, one anchor after another."""

    starts: Array  # int64: where each anchor's are, and at last the end of all
    at: Array  # int32

    @property
    def longest(self) -> int:
        """The most pairs of an anchor."""
        return int(np.diff(self.starts).max(initial=0))


class Lists(NamedTuple):
    """Positive and negative pairs of anchors."""

    positive: PairList
    negative: PairList
    aligned: bool  # each positive makes a triplet with the negative at its place

    def are_anchors(self) -> Array:
        """Return whether each embedding is the anchor of a pair."""
        return np.logical_or(*(np.diff(pairs.starts) > 0 for pairs in self[:2]))

    def are_references(self, count: int) -> Array:
        """Return whether each of so many references is in a pair."""
        return np.bincount(np.concatenate([pairs.at for pairs in self[:2]]), minlength=count) > 0


def lists(indices: Any, rows: int, references: int, listing: Listing) -> Lists:
    """Return what an index tuple says: (a, p, n), or (a1, p, a2, n)."""
    arrays = _checked(indices, rows, references)
    is_triplets = len(arrays) == 3
    a1, p, a2, n = (*arrays[:2], arrays[0], arrays[2]) if is_triplets else arrays
    if listing == "triplets" and is_triplets:
        return Lists(_by_anchor(a1, p, rows), _by_anchor(a1, n, rows), True)
    if listing == "unordered":
        kept = np.isin(a1, a2), np.isin(a2, a1)  # of anchors that have both kinds
        (a1, p), (a2, n) = (
            (np.minimum(a, x)[chosen], np.maximum(a, x)[chosen])
            for a, x, chosen in ((a1, p, kept[0]), (a2, n, kept[1]))
        )
    if listing in ("unique", "both", "unordered"):
        positive, negative = (np.unique(a * references + x) for a, x in ((a1, p), (a2, n)))
        if np.intersect1d(positive, negative, assume_unique=True).size:
            raise ValueError("indices_tuple lists a pair as positive and as negative")
        (a1, p), (a2, n) = (np.divmod(pairs, max(references, 1)) for pairs in (positive, negative))
    if listing == "mutual":
        if (a1 == p).any():
            at = int((a1 == p).argmax())
            raise ValueError(f"indices_tuple pairs embedding {a1[at]} with itself")
        a1, p = np.concatenate([a1, p]), np.concatenate([p, a1])
    if listing in ("both", "mutual") and not (a1.size and a2.size):
        a1 = p = a2 = n = a1[:0]
    return Lists(_by_anchor(a1, p, rows), _by_anchor(a2, n, rows), False)


def weights(indices: Any, rows: int, references: int, apart: bool) -> Array:
    """Return how often each anchor is listed, in relation to the one that is listed most often.

    Of references that are not `apart` from the anchors, their places are the anchors', too.
    """
    arrays = _checked(indices, rows, references)
    counted = arrays[: len(arrays) - 1 : 2] if apart else arrays  # (a, p, n) or (a1, p, a2, n)
    counts = np.bincount(np.concatenate(counted), minlength=rows)
    most = counts.max(initial=0)
    return counts / most if most else np.ones(rows)


def _checked(indices: Any, rows: int, references: int) -> list[Array]:
    if not isinstance(indices, tuple | list) or len(indices) not in (3, 4):
        raise TypeError(
            f"indices_tuple is {type(indices).__name__!r}: expected a tuple of 3 arrays, anchors, "
            "positives and negatives, or of 4, anchors and positives, anchors and negatives"
        )
    arrays = [_index_array(f"indices_tuple[{k}]", x) for k, x in enumerate(indices)]
    last = len(arrays) - 1
    for k, first in ((1, 0), (last, 0 if last == 2 else 2)):
        anchors, x = arrays[first], arrays[k]
        if x.shape != anchors.shape:
            raise ValueError(
                f"indices_tuple[{k}] has shape {x.shape}: expected {anchors.shape}, that of "
                f"indices_tuple[{first}]"
            )
        _check_range(f"indices_tuple[{first}]", anchors, rows, "embeddings")
        _check_range(f"indices_tuple[{k}]", x, references, "references")
    return arrays


def _index_array(name: str, x: Any) -> Array:
    array = _check.as_array(name, x)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}: expected one axis")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: expected integers")
    if array.dtype == np.uint64:
        array = np.minimum(array, np.iinfo(np.int64).max)  # out of range, too
    return array.astype(np.int64)  # a copy, which stays what it is checked to be


def _check_range(name: str, array: Array, count: int, of: str) -> None:
    bad = (array < 0) | (array >= count)
    if bad.any():
        at = int(bad.argmax())
        raise IndexError(f"{name}[{at}] is {array[at]}: out of range for {count} {of}")


def _by_anchor(anchors: Array, at: Array, rows: int) -> PairList:
    order = np.argsort(anchors, kind="stable")
    starts = np.searchsorted(anchors[order], np.arange(rows + 1))
    return PairList(starts.astype(np.int64), at[order].astype(np.int32))
