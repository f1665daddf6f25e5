"""The dynamic soft margin: triplets weighted by how their differences are distributed.

x = d(a, p) - d(a, n) of a triplet has a place among the nodes of a histogram. Triplets of all
negatives are not listed: with an anchor's negatives sorted, those of a positive that lie between
two nodes are neighbours, and their sum is a difference of running sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower import pairs
from fusedloss._lower.indices import lists
from fusedloss._lower.loss import quietly
from fusedloss._lower.tuplets import CHUNK, Embeddings, Places, add_rows
from fusedloss._lower.units import squared_distances
from fusedloss._types import Array

#: So many triplets of a block are listed: faster than to sort the negatives of each anchor.
FEW = 1 << 17

#: Elements of the blocks of distances that are held, and the bytes that their products may use.
BLOCK = 1 << 19
WORKSPACE = 16 << 20


class SoftMargin(NamedTuple):
    """A checked call of the dynamic soft margin loss."""

    given: dict[str, Any]  # embeddings and references
    embeddings: Array
    labels: Array | None  # None: rows are pairs, and negatives the nearest of other pairs
    reference: Array | None
    reference_labels: Array | None
    listed: tuple[Array, ...] | None  # an index tuple, of 3 or 4 arrays
    histogram: Array | None
    nodes: Array
    num_threads: int | None
    reduction: str = "mean"

    @property
    def width(self) -> float:
        """The width of a bin, between one node and the next."""
        return float(self.nodes[1] - self.nodes[0]) if len(self.nodes) > 1 else 1.0


def checked(
    embeddings: Any,
    labels: Any,
    histogram: Any,
    num_bins: Any,
    min_val: Any,
    ref_embeddings: Any,
    ref_labels: Any,
    indices_tuple: Any,
    num_threads: Any,
) -> SoftMargin:
    """Return a checked call."""
    e = pairs.embeddings_of("embeddings", embeddings)
    reference = y = z = listed = None
    if labels is not None and indices_tuple is None:
        y, reference, z = pairs.labels_and_references(e, labels, ref_embeddings, ref_labels)
    elif ref_embeddings is not None:
        reference = pairs.reference_of("ref_embeddings", ref_embeddings, "embeddings", e)
    references = len(e if reference is None else reference)
    if indices_tuple is not None:
        if labels is not None:
            pairs.labels_of("labels", labels, "embeddings", len(e))
        e, reference = pairs.of_pairs(
            e, reference, lists(indices_tuple, len(e), references, "pairs")
        )
        listed = tuple(np.asarray(x, np.int64) for x in indices_tuple)
    elif labels is None:
        if reference is None:
            raise TypeError(
                "labels is None: expected integer labels, or ref_embeddings, whose rows are the "
                "positives"
            )
        if ref_labels is not None:
            raise ValueError("labels is None: expected labels and ref_labels together")
        if references != len(e):
            raise ValueError(
                f"ref_embeddings has {references} rows: expected {len(e)}, a positive of each "
                "embedding, where labels is None"
            )
        if references == 1:
            raise ValueError("embeddings has 1 row: expected none or at least 2, to have negatives")
    bins, least = _check.count("num_bins", num_bins), _check.finite("min_val", min_val)
    if least >= 0:
        raise ValueError(f"min_val is {least}: expected a negative number")
    return SoftMargin(
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        e,
        y,
        reference,
        z,
        listed,
        None if histogram is None else _histogram(histogram, bins),
        least * (1 - np.arange(bins) / bins * 2),
        _check.num_threads(num_threads),
    )


def _histogram(x: Any, bins: int) -> Array:
    array = _check.plain_prediction("histogram", x)
    if array.shape != (bins,):
        raise ValueError(f"histogram has shape {array.shape}: expected ({bins},), one per bin")
    array = array.astype(np.float64)
    bad = ~((array >= 0) & (array < np.inf))
    if bad.any():
        where, value = _check.first_bad("histogram", array, bad)
        raise ValueError(f"{where} is {value}: expected a finite number of at least 0")
    with np.errstate(over="ignore"):
        total = array.sum()
    if total == np.inf:
        raise ValueError("histogram has an infinite sum: expected a finite one")
    return array


@quietly
def counts_of(call: SoftMargin) -> Array:
    """Return how many triplets there are at each node; one between two is shared out to both."""
    return _Batch(call).sums().at_nodes(call)


@quietly
def soft_margin(
    call: SoftMargin,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient); of a tuple of arguments, a tuple of gradients.

    The mean of C(x) x, with C the cumulative histogram, a constant in gradients.
    """
    places, batch = Places(call, gradient, grad_output, out), _Batch(call)
    sums, weights = None, None if call.histogram is None else _weights(call.histogram)
    if weights is None:
        sums = batch.sums()
        weights = _weights(sums.at_nodes(call))
    if sums is None or (places.wanted and weights is not None):
        sums = batch.sums(weights if places.wanted else None)
    count = float(sums.counts.sum())
    value = 0.0 if weights is None or not count else float(weights @ sums.totals) / count
    if not places.wanted:
        return value
    return value, places.delivered((batch.anchors, batch.references), count)


def _weights(histogram: Array) -> Array | None:
    """Return the weight of each segment: before the first node, between two, after the last."""
    total = histogram.sum()
    if total == 0:
        return None
    cumulative = np.cumsum(histogram) / total
    return np.concatenate([cumulative[:1], cumulative])


class Sums(NamedTuple):
    """Of the triplets in each segment between nodes: how many there are, and the sum of their x."""

    counts: Array
    totals: Array

    def add(self, x: Array, nodes: Array) -> Array:
        """Add triplets; return their segments."""
        segment = np.searchsorted(nodes, x, side="right")
        self.counts[...] += np.bincount(segment, minlength=len(self.counts))
        self.totals[...] += np.bincount(segment, x, minlength=len(self.counts))
        return segment

    def at_nodes(self, call: SoftMargin) -> Array:
        """Return the counts at nodes, those between two shared out by their distances to both."""
        inner = self.counts[1:-1]
        beyond = self.totals[1:-1] / call.width - inner * (call.nodes[:-1] / call.width)
        found = np.zeros(len(call.nodes))
        found[:-1] += inner - beyond
        found[1:] += beyond
        found[0] += self.counts[0]
        found[-1] += self.counts[-1]
        return np.maximum(found, 0)  # of rounding


class _Batch:
    """Anchors and references as unit vectors in float64, and what is added up of them."""

    def __init__(self, call: SoftMargin) -> None:
        self.call = call
        self.anchors = self.references = Embeddings(call.embeddings.astype(np.float64), True)
        if call.reference is not None:
            self.references = Embeddings(call.reference.astype(np.float64), True)

    def sums(self, weights: Array | None = None) -> Sums:
        """Return the sums; with weights of the segments add up the gradients by unit vectors."""
        segments = len(self.call.nodes) + 1
        sums = Sums(np.zeros(segments), np.zeros(segments))
        listed = self.call.listed
        if listed is not None and len(listed) == 3:
            a, p, n = listed
            self._add_listed((a, p), (a, n), sums, weights)
        elif listed is None and self.call.labels is None:
            own = np.arange(len(self.call.embeddings))
            self._add_listed((own, own), self._nearest(), sums, weights)
        else:
            self._add_all(sums, weights)
        return sums

    # ---- Triplets that are known one by one ----

    def _add_listed(
        self,
        positive: tuple[Array, Array],
        negative: tuple[Array, Array],
        sums: Sums,
        weights: Array | None,
    ) -> None:
        """Add triplets of a positive pair and a negative one, of anchors and references."""
        for i in range(0, len(positive[0]), CHUNK):
            both = [tuple(x[i : i + CHUNK] for x in pair) for pair in (positive, negative)]
            apart = [self.anchors.unit[a] - self.references.unit[b] for a, b in both]
            near, far = (np.sqrt(np.square(x).sum(axis=1)) for x in apart)
            segment = sums.add(near - far, self.call.nodes)
            if weights is None:
                continue
            for (a, b), difference, d, sign in zip(both, apart, (near, far), (1, -1), strict=True):
                slope = np.where(d == 0, 0, sign * weights[segment] / d)[:, np.newaxis]
                add_rows(self.anchors.by_unit, a, slope * difference)
                add_rows(self.references.by_unit, b, -slope * difference)

    def _nearest(self) -> tuple[Array, Array]:
        """Return for each row the nearer of two pairs: of its embedding, and of its reference."""
        rows = len(self.call.embeddings)
        of_row, of_column = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        by_row, by_column = np.full(rows, np.inf), np.full(rows, np.inf)
        for first, d in self._distances():
            some = np.arange(first, first + len(d))
            d[np.arange(len(d)), some] = np.inf
            of_row[some] = d.argmin(axis=1)
            by_row[some] = d.min(axis=1)
            nearest = d.argmin(axis=0)
            least = d[nearest, np.arange(rows)]
            nearer = ~(least >= by_column)
            of_column[nearer], by_column[nearer] = first + nearest[nearer], least[nearer]
        own = np.arange(rows)
        inside = by_row <= by_column
        return np.where(inside, own, of_column), np.where(inside, of_row, own)

    # ---- Triplets of all positives and negatives of an anchor ----

    def _distances(self) -> Iterator[tuple[int, Array]]:
        """Yield the distances of some anchors to all references, and which the first is."""
        a, r = self.anchors.unit, self.references.unit
        step = max(1, BLOCK // max(len(r), 1))
        for first in range(0, len(a), step):
            some = a[first : first + step]
            if not r.size:
                yield first, np.zeros((len(some), len(r)))
                continue
            products = _core.new_array((len(some), len(r)), a.dtype)
            _core.linear_product(
                *(some, r, products), workspace=WORKSPACE, num_threads=self.call.num_threads
            )
            yield first, np.sqrt(squared_distances(products, some, r))

    def _kinds(self, first: int, rows: int) -> Iterator[tuple[Array, Array]]:
        """Yield the references that are positives and negatives of each anchor, from the first."""
        call = self.call
        if call.listed is not None:
            count = len(self.references.unit)
            positive, negative = lists(call.listed, len(call.embeddings), count, "pairs")[:2]
            for i in range(first, first + rows):
                yield tuple(  # type: ignore[misc]
                    kind.at[kind.starts[i] : kind.starts[i + 1]] for kind in (positive, negative)
                )
            return
        assert call.labels is not None
        others = call.labels if call.reference_labels is None else call.reference_labels
        for i in range(first, first + rows):
            same = others == call.labels[i]
            positives = np.flatnonzero(same)
            if call.reference is None:
                positives = positives[positives != i]
            yield positives, np.flatnonzero(~same)

    def _masks(self, first: int, rows: int) -> tuple[Array, Array] | None:
        """Return masks of positives and negatives if they make few triplets."""
        call = self.call
        if call.labels is None:
            return None
        others = call.labels if call.reference_labels is None else call.reference_labels
        positive = call.labels[first : first + rows, np.newaxis] == others
        negative = ~positive
        if call.reference is None:
            positive[np.arange(rows), np.arange(first, first + rows)] = False
        return (positive, negative) if positive.sum(axis=1) @ negative.sum(axis=1) <= FEW else None

    def _add_few(
        self,
        d: Array,
        masks: tuple[Array, Array],
        sums: Sums,
        weights: Array | None,
        slopes: Array | None,
    ) -> None:
        positive, negative = masks
        a, p = np.nonzero(positive)
        k, n = np.nonzero(negative[a])
        a, p = a[k], p[k]
        segment = sums.add(d[a, p] - d[a, n], self.call.nodes)
        if weights is None or slopes is None:
            return
        for of, sign in ((p, 1), (n, -1)):
            added = np.bincount(a * d.shape[1] + of, sign * weights[segment], d.size)
            slopes += added.reshape(d.shape)

    def _add_all(self, sums: Sums, weights: Array | None) -> None:
        for first, d in self._distances():
            slopes = None if weights is None else np.zeros_like(d)
            masks = self._masks(first, len(d))
            if masks is not None:
                self._add_few(d, masks, sums, weights, slopes)
            for i, (p, n) in enumerate(self._kinds(first, 0 if masks else len(d))):
                if not (len(p) and len(n)):
                    continue
                order = np.argsort(d[i, n])
                by_positive, by_negative = self._add_anchor(d[i, p], d[i, n[order]], sums, weights)
                if slopes is not None:
                    np.add.at(slopes[i], p, by_positive)  # which an index tuple may repeat
                    np.add.at(slopes[i], n[order], by_negative)
            if slopes is not None:
                self._add_slopes(first, d, slopes)

    def _add_anchor(
        self, positive: Array, negative: Array, sums: Sums, weights: Array | None
    ) -> tuple[Any, Any]:
        """Add an anchor's triplets, its negatives being sorted; return the slopes by distances.

        The negatives below ends[k] have x at or beyond node k.
        """
        nodes, count = self.call.nodes, len(negative)
        ends = np.searchsorted(negative, positive[:, np.newaxis] - nodes, side="right")
        edges = np.concatenate(
            [np.full((len(positive), 1), count), ends, np.zeros((len(positive), 1), np.int64)],
            axis=1,
        )
        running = np.concatenate([[0.0], np.cumsum(negative)])
        counts = edges[:, :-1] - edges[:, 1:]
        of_negatives = running[edges[:, :-1]] - running[edges[:, 1:]]
        sums.counts[...] += counts.sum(axis=0)
        sums.totals[...] += (counts * positive[:, np.newaxis] - of_negatives).sum(axis=0)
        if weights is None:
            return None, None
        falls = np.broadcast_to(-np.diff(weights), ends.shape)
        changes = np.bincount(ends.ravel(), falls.ravel(), count + 1)
        by_negative = -(len(positive) * weights[-1] + np.cumsum(changes)[:count])
        return counts @ weights, by_negative

    def _add_slopes(self, first: int, d: Array, slopes: Array) -> None:
        """Add the gradients by unit vectors of some anchors' distances to all references."""
        a = self.anchors.unit[first : first + len(d)]
        if not self.references.unit.size:
            return
        h = np.where(d == 0, 0, slopes / d)
        by_anchor, by_reference = (np.zeros_like(x) for x in (a, self.references.unit))
        _core.linear_product(
            *(a, self.references.unit, h, np.ones(len(a)), by_anchor, by_reference),
            wanted=True,
            workspace=WORKSPACE,
            num_threads=self.call.num_threads,
        )
        self.anchors.by_unit[first : first + len(d)] += h.sum(axis=1)[:, np.newaxis] * a - by_anchor
        self.references.by_unit += h.sum(axis=0)[:, np.newaxis] * self.references.unit
        self.references.by_unit -= by_reference
