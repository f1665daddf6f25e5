"""Miners: which pairs and triplets of a batch a loss is taken of, as arrays of indices.

`triplet_loss` mines without them. They are for those who want to see the indices, or another
combination of miner and loss: their results are what a loss takes as `indices_tuple`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._lower import pairs
from fusedloss._lower.loss import quietly
from fusedloss._lower.units import BLOCK, squared_distances
from fusedloss._types import Array, Distance

__all__ = [
    "mine_angular",
    "mine_distance_weighted",
    "mine_easy_hard",
    "mine_hard",
    "mine_hardest_share",
    "mine_multi_similarity",
    "mine_pair_margin",
    "mine_semihard",
    "mine_triplets",
    "mine_uniform_histogram",
]

Triplets = tuple[Array, Array, Array]
Pairs = tuple[Array, Array, Array, Array]

#: What a miner returns at most, unless it is told otherwise.
LIMIT = 1 << 24


class Block(NamedTuple):
    """Some anchors and all references: distances, and which of the pairs are of which kind."""

    first: int
    distances: Array
    positive: Array
    negative: Array


class Batch(NamedTuple):
    """Embeddings and labels of anchors and of references, checked."""

    anchors: Array  # float64
    references: Array
    labels: Array
    reference_labels: Array
    metric: pairs.Metric
    apart: bool  # the references are not the anchors

    def blocks(self) -> Iterator[Block]:
        """Yield the distances of a few anchors at a time."""
        count = len(self.references)
        rows = max(1, BLOCK // max(count, 1))
        for i in range(0, len(self.anchors), rows):
            a = self.anchors[i : i + rows]
            d = _distances(a, self.references, self.metric)
            same = self.labels[i : i + rows, np.newaxis] == self.reference_labels
            negative = ~same
            if not self.apart:
                same[np.arange(len(a)), np.arange(i, i + len(a))] = False
            yield Block(i, d, same, negative)


def _batch(
    embeddings: Any,
    labels: Any,
    ref_embeddings: Any,
    ref_labels: Any,
    metric: pairs.Metric,
    normalize: Any,
) -> Batch:
    e = pairs.embeddings_of("embeddings", embeddings)
    y, r, z = pairs.labels_and_references(e, labels, ref_embeddings, ref_labels)
    unit = _check.flag("normalize", normalize)
    root = (metric.p if metric.distance == _core.LP else 2.0) if unit else None
    anchors = _wide(e, root)
    if r is None or z is None:
        return Batch(anchors, anchors, y, y, metric, False)
    return Batch(anchors, _wide(r, root), y, z, metric, True)


def _wide(x: Array, root: float | None) -> Array:
    """Return float64 of embeddings, divided by their norms if there is a root."""
    wide = x.astype(np.float64)
    if root is not None:
        wide /= np.maximum(np.linalg.norm(wide, root, axis=1, keepdims=True), 1e-12)
    return wide


def _distances(a: Array, b: Array, metric: pairs.Metric) -> Array:
    if metric.distance == _core.LP:
        sums = np.zeros((len(a), len(b)))
        for x, y in zip(a.T, b.T, strict=True):
            sums += np.abs(x[:, np.newaxis] - y) ** metric.p
        return sums ** (metric.power / metric.p)
    if metric.distance == _core.SNR:
        a, b = _centred(a), _centred(b)
    d: Array = a @ b.T
    if metric.distance == _core.COSINE_DISTANCE:
        return np.subtract(1, d, out=d)
    d = squared_distances(d, a, b)
    if metric.distance == _core.SNR:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(d == 0, 0, d / np.square(a).sum(axis=1, keepdims=True))
    return d if metric.distance == _core.SQUARED_EUCLIDEAN else np.sqrt(d, out=d)


def _centred(x: Array) -> Array:
    """Return rows less their means: exactly 0 where all of a row is equal."""
    x = x - x[:, :1]
    centred: Array = x - x.mean(axis=1, keepdims=True)
    return centred


def _limit(limit: Any) -> int:
    most = _check.integer("limit", limit)
    if most < 0:
        raise ValueError(f"limit is {most}: expected a number of at least 0")
    return most


def _collected(
    what: str, limit: Any, found: Iterator[tuple[Array, ...]], arrays: int
) -> tuple[Array, ...]:
    """Put together what is found block by block, if that is not too much."""
    most = _limit(limit)
    parts: list[tuple[Array, ...]] = [(np.zeros(0, np.int64),) * arrays]
    total = 0
    for part in found:
        total += max(len(x) for x in part)
        if total > most:
            raise ValueError(
                f"there are more than {most} {what}: expected no more than limit; a loss without "
                "indices_tuple takes all of them and lists none"
            )
        parts.append(part)
    return tuple(np.concatenate(x) for x in zip(*parts, strict=True))


def _triplets_where(
    batch: Batch, chosen: Callable[[Array, Array], Array]
) -> Iterator[tuple[Array, ...]]:
    """Yield the triplets of which chosen(d_p, d_n) is true, an anchor at a time."""
    for block in batch.blocks():
        for row, d in enumerate(block.distances):
            positives = np.flatnonzero(block.positive[row])
            negatives = np.flatnonzero(block.negative[row])
            if not (len(positives) and len(negatives)):
                continue
            # An anchor's triplets a few positives at a time.
            step = max(1, BLOCK // len(negatives))
            for i in range(0, len(positives), step):
                some = positives[i : i + step]
                p, n = np.nonzero(chosen(d[some, np.newaxis], d[negatives]))
                yield np.full(len(p), block.first + row), some[p], negatives[n]


@quietly
def mine_triplets(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float = 0.2,
    type_of_triplets: Literal["all", "hard", "semihard", "easy"] = "all",
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Triplets:
    """Find the triplets that violate a margin, or that do not.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    margin : float, default 0.2
        The margin, m.
    type_of_triplets : {"all", "hard", "semihard", "easy"}, default "all"
        "all" with d(a, n) - d(a, p) <= m; "hard", those of them with d(a, n) <= d(a, p);
        "semihard", the others of them; "easy" with d(a, n) - d(a, p) > m.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many triplets there may be at most.

    Returns
    -------
    anchors, positives, negatives : arrays of int64
        The triplets, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``TripletMarginMiner(margin, type_of_triplets)`` of pytorch-metric-learning.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_triplets([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1])
    (array([1]), array([0]), array([2]))
    """
    m = _check.finite("margin", margin)
    kinds: dict[str, Callable[[Array, Array], Array]] = {
        "all": lambda p, n: n - p <= m,
        "hard": lambda p, n: (n - p <= m) & (n <= p),
        "semihard": lambda p, n: (n - p <= m) & (n > p),
        "easy": lambda p, n: n - p > m,
    }
    chosen = kinds[pairs.choice("type_of_triplets", type_of_triplets, tuple(kinds))]
    metric = pairs.metric(distance, p, power)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, normalize)
    anchors, positives, negatives = _collected("triplets", limit, _triplets_where(batch, chosen), 3)
    return anchors, positives, negatives


@quietly
def mine_semihard(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float = 0.2,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Triplets:
    """Find the triplets inside the margin: d(a, p) < d(a, n) <= d(a, p) + m.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    margin : float, default 0.2
        The margin, m.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many triplets there may be at most.

    Returns
    -------
    anchors, positives, negatives : arrays of int64
        The triplets, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``TripletMarginMiner(margin, "semihard")`` of pytorch-metric-learning.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_semihard([[0.0], [1.0], [1.1]], [0, 0, 1], normalize=False)
    (array([0]), array([1]), array([2]))
    """
    return mine_triplets(
        embeddings,
        labels,
        margin=margin,
        type_of_triplets="semihard",
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
        ref_embeddings=ref_embeddings,
        ref_labels=ref_labels,
        limit=limit,
    )


Strategy = Literal["hard", "semihard", "easy", "all"]


def _nearest(d: Array, chosen: Array, far: bool) -> tuple[Array, Array]:
    """Return which of the chosen columns is the nearest or farthest, and whether there is one."""
    d = np.where(chosen, d, -np.inf if far else np.inf)
    found: Array = np.asarray(chosen.any(axis=1))
    return (d.argmax(axis=1) if far else d.argmin(axis=1)), found


#: The least and the greatest distance.
Range = tuple[float, float]


def _easy_hard(
    batch: Batch, pos: str, neg: str, ranges: tuple[Range, Range]
) -> Iterator[tuple[Array, ...]]:
    for block in batch.blocks():
        d, rows = block.distances, np.arange(len(block.distances))
        if not d.shape[1]:
            return
        positive, negative = (
            pairs if strategy == "all" else pairs & (d >= least) & (d <= most)
            for pairs, strategy, (least, most) in (
                (block.positive, pos, ranges[0]),
                (block.negative, neg, ranges[1]),
            )
        )
        # A semihard one is beyond what the other side has chosen.
        if pos == "semihard":
            nearest, found = _nearest(d, negative, far=neg == "easy")
            positive = positive & found[:, np.newaxis] & (d < d[rows, nearest][:, np.newaxis])
        if neg == "semihard":
            nearest, found = _nearest(d, positive, far=pos == "hard")
            negative = negative & found[:, np.newaxis] & (d > d[rows, nearest][:, np.newaxis])
        p, has_positive = _nearest(d, positive, far=pos != "easy")
        n, has_negative = _nearest(d, negative, far=neg == "easy")
        if pos != "all" and neg != "all":
            has_positive = has_negative = has_positive & has_negative
        of_p, of_n = rows[has_positive], rows[has_negative]
        a1, at_p = np.nonzero(positive) if pos == "all" else (of_p, p[of_p])
        a2, at_n = np.nonzero(negative) if neg == "all" else (of_n, n[of_n])
        yield a1 + block.first, at_p, a2 + block.first, at_n


def _range(name: str, x: Any) -> Range:
    if x is None:
        return -math.inf, math.inf
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(f"{name} is {x!r}: expected two numbers, the least and the greatest")
    return _check.number(name, x[0]), _check.number(name, x[1])


@quietly
def mine_easy_hard(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    pos_strategy: Strategy = "easy",
    neg_strategy: Strategy = "semihard",
    allowed_pos_range: Range | None = None,
    allowed_neg_range: Range | None = None,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Pairs:
    """Find each anchor's nearest or farthest positive and negative.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    pos_strategy : {"hard", "semihard", "easy", "all"}, default "easy"
        "hard" takes the farthest positive, "easy" the nearest, "semihard" the farthest that is
        nearer than the negative, "all" every one.
    neg_strategy : {"hard", "semihard", "easy", "all"}, default "semihard"
        "hard" takes the nearest negative, "easy" the farthest, "semihard" the nearest that is
        farther than the positive, "all" every one.
    allowed_pos_range, allowed_neg_range : (float, float), optional
        The least and the greatest distance of positives and of negatives that are chosen, unless
        all are.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many pairs there may be at most.

    Returns
    -------
    anchors, positives, anchors, negatives : arrays of int64
        The positive pairs and the negative ones, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``BatchEasyHardMiner(pos_strategy, neg_strategy)`` of pytorch-metric-learning.
    Anchors that lack one of the two are left out, unless all are taken. Not both strategies can be
    "semihard", nor one of them with "all".

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_easy_hard([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1])
    (array([0]), array([1]), array([0]), array([2]))
    """
    strategies = ("hard", "semihard", "easy", "all")
    pos = pairs.choice("pos_strategy", pos_strategy, strategies)
    neg = pairs.choice("neg_strategy", neg_strategy, strategies)
    if "semihard" in (pos, neg) and {pos, neg} <= {"semihard", "all"}:
        raise ValueError(
            f"neg_strategy is {neg!r}: expected 'hard' or 'easy' or no 'semihard' beside "
            f"pos_strategy={pos!r}"
        )
    ranges = (
        _range("allowed_pos_range", allowed_pos_range),
        _range("allowed_neg_range", allowed_neg_range),
    )
    metric = pairs.metric(distance, p, power)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, normalize)
    found = _easy_hard(batch, pos, neg, ranges)
    a1, positives, a2, negatives = _collected("pairs", limit, found, 4)
    return a1, positives, a2, negatives


@quietly
def mine_hard(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Triplets:
    """Find each anchor's farthest positive and nearest negative.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many triplets there may be at most.

    Returns
    -------
    anchors, positives, negatives : arrays of int64
        The triplets, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``BatchHardMiner()`` of pytorch-metric-learning. Anchors that lack one of the two
    are left out.

    References
    ----------
    A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for Person Re-Identification",
    2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_hard([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1])
    (array([0, 1]), array([1, 0]), array([2, 2]))
    """
    anchors, positives, _, negatives = mine_easy_hard(
        embeddings,
        labels,
        pos_strategy="hard",
        neg_strategy="hard",
        distance=distance,
        p=p,
        power=power,
        normalize=normalize,
        ref_embeddings=ref_embeddings,
        ref_labels=ref_labels,
        limit=limit,
    )
    return anchors, positives, negatives


def _pairs_where(
    batch: Batch, chosen: Callable[[Block], tuple[Array, Array]]
) -> Iterator[tuple[Array, ...]]:
    for block in batch.blocks():
        if not block.distances.shape[1]:
            return
        (a1, p), (a2, n) = map(np.nonzero, chosen(block))
        yield a1 + block.first, p, a2 + block.first, n


@quietly
def mine_multi_similarity(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float = 0.1,
    distance: Distance = "cosine",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Pairs:
    """Find positives farther than the nearest negative, and negatives nearer than a positive.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    epsilon : float, default 0.1
        By how much less is enough: a positive is as far as the nearest negative less epsilon, a
        negative as near as the farthest positive and epsilon.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "cosine"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many pairs there may be at most.

    Returns
    -------
    anchors, positives, anchors, negatives : arrays of int64
        The positive pairs and the negative ones, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``MultiSimilarityMiner(epsilon)`` of pytorch-metric-learning.

    References
    ----------
    X. Wang, X. Han, W. Huang, D. Dong, M. R. Scott, "Multi-Similarity Loss with General Pair
    Weighting for Deep Metric Learning", CVPR 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_multi_similarity([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1])
    (array([1]), array([0]), array([1]), array([2]))
    """
    e = _check.finite("epsilon", epsilon)

    def chosen(block: Block) -> tuple[Array, Array]:
        d = block.distances
        nearest = np.where(block.negative, d, np.inf).min(axis=1, keepdims=True)
        farthest = np.where(block.positive, d, -np.inf).max(axis=1, keepdims=True)
        return block.positive & (d + e > nearest), block.negative & (d - e < farthest)

    metric = pairs.metric(distance, p, power)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, normalize)
    a1, positives, a2, negatives = _collected("pairs", limit, _pairs_where(batch, chosen), 4)
    return a1, positives, a2, negatives


@quietly
def mine_pair_margin(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    pos_margin: float = 0.2,
    neg_margin: float = 0.8,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Pairs:
    """Find positives beyond a distance and negatives within another.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    pos_margin : float, default 0.2
        Positives farther than that are taken.
    neg_margin : float, default 0.8
        Negatives nearer than that are taken.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many pairs there may be at most.

    Returns
    -------
    anchors, positives, anchors, negatives : arrays of int64
        The positive pairs and the negative ones, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``PairMarginMiner(pos_margin, neg_margin)`` of pytorch-metric-learning.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_pair_margin([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1])
    (array([0, 1]), array([1, 0]), array([1, 2]), array([2, 1]))
    """
    most, least = _check.finite("pos_margin", pos_margin), _check.finite("neg_margin", neg_margin)

    def chosen(block: Block) -> tuple[Array, Array]:
        d = block.distances
        return block.positive & (d > most), block.negative & (d < least)

    metric = pairs.metric(distance, p, power)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, normalize)
    a1, positives, a2, negatives = _collected("pairs", limit, _pairs_where(batch, chosen), 4)
    return a1, positives, a2, negatives


def _weighted(
    batch: Batch, cutoff: float, reach: float, rng: np.random.Generator
) -> Iterator[tuple[Array, ...]]:
    features = batch.anchors.shape[1]
    for block in batch.blocks():
        d = np.maximum(block.distances, cutoff)
        with np.errstate(all="ignore"):
            logs = (2.0 - features) * np.log(d) - (features - 3) / 2 * np.log(1 - d**2 / 4)
        allowed = block.negative & (d < reach) & np.isfinite(logs)
        logs = np.where(allowed, logs, -np.inf)
        for row in np.flatnonzero(allowed.any(axis=1)):
            positives = np.flatnonzero(block.positive[row])
            if not len(positives):
                continue
            # As many triplets as there are of the label, as the peer draws.
            count = len(positives) + (not batch.apart)
            weights = np.exp(logs[row] - logs[row].max()).cumsum()
            at = np.searchsorted(weights, rng.random(count) * weights[-1], side="right")
            yield np.full(count, block.first + row), rng.choice(positives, count), at


@quietly
def mine_distance_weighted(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    cutoff: float = 0.5,
    nonzero_loss_cutoff: float = 1.4,
    seed: int | np.random.Generator | None = None,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Triplets:
    """Draw negatives such that all distances are equally frequent.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    cutoff : float, default 0.5
        Negatives nearer than that are as probable as those there.
    nonzero_loss_cutoff : float, default 1.4
        Negatives from that distance on are not drawn.
    seed : int or numpy.random.Generator, optional
        Of the random numbers; if absent, each call draws others.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many triplets there may be at most.

    Returns
    -------
    anchors, positives, negatives : arrays of int64
        The triplets, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``DistanceWeightedMiner(cutoff, nonzero_loss_cutoff)`` of pytorch-metric-learning.
    Embeddings are normalized; an anchor has as many triplets as its label has embeddings.

    References
    ----------
    C.-Y. Wu, R. Manmatha, A. J. Smola, P. Krähenbühl, "Sampling Matters in Deep Embedding
    Learning", ICCV 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_distance_weighted([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1], seed=0)
    (array([1, 1]), array([0, 0]), array([2, 2]))
    """
    least, reach = (
        _check.not_negative("cutoff", cutoff),
        _check.finite("nonzero_loss_cutoff", nonzero_loss_cutoff),
    )
    rng = _check.generator("seed", seed)
    metric = pairs.Metric(_core.EUCLIDEAN)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, True)
    a, p, n = _collected("triplets", limit, _weighted(batch, least, reach, rng), 3)
    return a, p, n


def _angular(batch: Batch, tangent: float) -> Iterator[tuple[Array, ...]]:
    euclidean = pairs.Metric(_core.EUCLIDEAN)
    for block in batch.blocks():
        for row, d in enumerate(block.distances):
            negatives = np.flatnonzero(block.negative[row])
            positives = np.flatnonzero(block.positive[row])
            a, others = batch.anchors[block.first + row], batch.references[negatives]
            # An anchor's triplets a few positives at a time.
            step = max(1, BLOCK // max(len(negatives), 1))
            for i in range(0, len(positives), step):
                some = positives[i : i + step]
                centers = (a + batch.references[some]) / 2
                far = _distances(centers, others, euclidean)
                p, n = np.nonzero(d[some, np.newaxis] > 2 * tangent * far)
                yield np.full(len(p), block.first + row), some[p], negatives[n]


@quietly
def mine_angular(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    angle: float = 20.0,
    normalize: bool = False,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Triplets:
    r"""Find the triplets whose negative sees the positive pair at more than an angle.

    .. math:: \arctan \frac{d(a, p)}{2\, d(n, c)} > \alpha, \qquad c = \frac{a + p}{2}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    angle : float, default 20
        The angle :math:`\alpha` in degrees, from 0 to 90.
    normalize : bool, default False
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many triplets there may be at most.

    Returns
    -------
    anchors, positives, negatives : arrays of int64
        The triplets, anchor by anchor.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``AngularMiner(angle)`` of pytorch-metric-learning, which does not normalize
    either, and adds 1e-6 to every difference.

    References
    ----------
    J. Wang, F. Zhou, S. Wen, X. Liu, Y. Lin, "Deep Metric Learning with Angular Loss", ICCV 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_angular([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1])
    (array([0, 1]), array([1, 0]), array([2, 2]))
    """
    tangent = math.tan(math.radians(_check.in_range("angle", angle, 0, 90)))
    metric = pairs.Metric(_core.EUCLIDEAN)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, normalize)
    a, p, n = _collected("triplets", limit, _angular(batch, tangent), 3)
    return a, p, n


class Found(NamedTuple):
    """Pairs of one kind, and their distances."""

    anchors: Array
    others: Array
    distances: Array


def _kinds(batch: Batch) -> Iterator[tuple[Found, Found]]:
    """Yield the positive and the negative pairs of a few anchors at a time."""
    for block in batch.blocks():
        positive, negative = (
            Found(rows + block.first, others, block.distances[rows, others])
            for rows, others in map(np.nonzero, (block.positive, block.negative))
        )
        yield positive, negative


@quietly
def mine_hardest_share(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    filter_percentage: float = 0.5,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Pairs:
    """Find the farthest of all positive pairs, and the nearest of all negative ones.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    filter_percentage : float, default 0.5
        The share of each kind's pairs that is found, from 0 to 1.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many pairs there may be at most.

    Returns
    -------
    anchors, positives, anchors, negatives : arrays of int64
        The positive pairs and the negative ones, the hardest first.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``HDCMiner(filter_percentage)`` of pytorch-metric-learning. No more pairs are held
    than are found, and those of a few anchors.

    References
    ----------
    Y. Yuan, K. Yang, C. Zhang, "Hard-Aware Deeply Cascaded Embedding", ICCV 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.mine_hardest_share([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1])
    (array([0]), array([1]), array([1, 2]), array([2, 1]))
    """
    share = _check.in_range("filter_percentage", filter_percentage, 0, 1)
    most = _limit(limit)
    metric = pairs.metric(distance, p, power)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, normalize)
    values, counts = np.unique(batch.reference_labels, return_counts=True)
    same = int(counts[np.searchsorted(values, batch.labels[np.isin(batch.labels, values)])].sum())
    positives = same if batch.apart else same - len(batch.labels)
    numbers = [
        math.ceil(share * n)
        for n in (positives, len(batch.labels) * len(batch.reference_labels) - same)
    ]
    if max(numbers) > most:
        raise ValueError(f"there are more than {most} pairs: expected no more than limit")
    nothing = np.zeros(0, np.int64)
    hardest = [Found(nothing, nothing, np.zeros(0))] * 2
    for kinds in _kinds(batch):
        for kind, (found, number, sign) in enumerate(zip(kinds, numbers, (-1, 1), strict=True)):
            every = Found(*map(np.concatenate, zip(hardest[kind], found, strict=True)))
            order = np.argsort(sign * every.distances, kind="stable")[:number]
            hardest[kind] = Found(*(x[order] for x in every))
    (a1, near, _), (a2, far, _) = hardest
    return a1, near, a2, far


@quietly
def mine_uniform_histogram(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    num_bins: int = 100,
    pos_per_bin: int = 10,
    neg_per_bin: int = 10,
    seed: int | np.random.Generator | None = None,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    limit: int = LIMIT,
) -> Pairs:
    """Draw pairs such that all distances between the least and the greatest are equally frequent.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Positives of an anchor have its label, negatives another one.
    num_bins : int, default 100
        The number of bins of the distances of each kind of pairs.
    pos_per_bin, neg_per_bin : int, default 10
        How many pairs are drawn of each bin that has one; a pair may come more than once.
    seed : int or numpy.random.Generator, optional
        Of the random numbers; if absent, each call draws others.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        As in `triplet_loss`: "cosine" is one minus the dot product.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    limit : int, default 16777216
        How many pairs there may be at most.

    Returns
    -------
    anchors, positives, anchors, negatives : arrays of int64
        The positive pairs and the negative ones, the nearest bins first.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or if there are more than `limit`.

    Notes
    -----
    Equivalent to ``UniformHistogramMiner(num_bins, pos_per_bin, neg_per_bin)`` of
    pytorch-metric-learning. Distances are held for a few anchors at a time, and computed three
    times: for their range, for the bins, and for the pairs that are drawn.

    Examples
    --------
    >>> import fusedloss as fl
    >>> embeddings, labels = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]
    >>> fl.mine_uniform_histogram(embeddings, labels, pos_per_bin=2, neg_per_bin=1, seed=0)
    (array([1, 1]), array([0, 0]), array([2, 0]), array([1, 2]))
    """
    bins = _check.count("num_bins", num_bins)
    draws = _check.count("pos_per_bin", pos_per_bin), _check.count("neg_per_bin", neg_per_bin)
    most = _limit(limit)
    rng = _check.generator("seed", seed)
    metric = pairs.metric(distance, p, power)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, metric, normalize)
    ends = [[math.inf, -math.inf], [math.inf, -math.inf]]
    for kinds in _kinds(batch):
        for end, found in zip(ends, kinds, strict=True):
            end[0] = min(end[0], found.distances.min(initial=math.inf))
            end[1] = max(end[1], found.distances.max(initial=-math.inf))
    edges = [
        np.linspace(least, greatest, bins + 1) if least <= greatest else np.zeros(bins + 1)
        for least, greatest in ends
    ]

    def bins_of(kind: int, found: Found) -> Array:
        return np.minimum(np.searchsorted(edges[kind], found.distances, "right") - 1, bins - 1)

    counts = np.zeros((2, bins), np.int64)
    for kinds in _kinds(batch):
        for kind, found in enumerate(kinds):
            counts[kind] += np.bincount(bins_of(kind, found), minlength=bins)
    if any(np.count_nonzero(n) * k > most for n, k in zip(counts, draws, strict=True)):
        raise ValueError(f"there are more than {most} pairs: expected no more than limit")
    # Which pair of its bin each draw is.
    drawn = [rng.integers(0, np.repeat(n[n > 0], k)) for n, k in zip(counts, draws, strict=True)]
    wanted = [
        np.repeat((np.cumsum(n) - n)[n > 0], k) + x
        for n, k, x in zip(counts, draws, drawn, strict=True)
    ]
    chosen = [np.zeros((2, len(x)), np.int64) for x in drawn]
    seen = np.cumsum(counts, axis=1) - counts  # a pair's number: bin by bin, as they come
    for kinds in _kinds(batch):
        for kind, found in enumerate(kinds):
            at = bins_of(kind, found)
            order = np.argsort(at, kind="stable")
            here = np.bincount(at, minlength=bins)
            first = np.repeat(seen[kind] - (np.cumsum(here) - here), here)
            numbers = first + np.arange(len(order))
            places = np.searchsorted(numbers, wanted[kind])
            inside = places < len(numbers)
            inside[inside] = numbers[places[inside]] == wanted[kind][inside]
            found_at = order[places[inside]]
            chosen[kind][:, inside] = found.anchors[found_at], found.others[found_at]
            seen[kind] += here
    return *chosen[0], *chosen[1]
