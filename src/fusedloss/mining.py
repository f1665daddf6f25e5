"""Miners: which pairs and triplets of a batch a loss is taken of, as arrays of indices.

`triplet_loss` mines without them. They are for those who want to see the indices, or another
combination of miner and loss: their results are what a loss takes as `indices_tuple`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check, _pairs
from fusedloss._loss import Array

Distance = Literal["euclidean", "squared_euclidean", "cosine"]
Triplets = tuple[Array, Array, Array]
Pairs = tuple[Array, Array, Array, Array]

#: Elements of the blocks of distances that are held.
BLOCK = 1 << 21

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
    distance: str
    apart: bool  # the references are not the anchors

    def blocks(self) -> Iterator[Block]:
        """Yield the distances of a few anchors at a time."""
        count = len(self.references)
        rows = max(1, BLOCK // max(count, 1))
        squares = np.square(self.references).sum(axis=1)
        for i in range(0, len(self.anchors), rows):
            a = self.anchors[i : i + rows]
            d = a @ self.references.T
            if self.distance == "cosine":
                np.subtract(1, d, out=d)
            else:
                d *= -2
                sums = np.square(a).sum(axis=1, keepdims=True) + squares
                d += sums
                near = np.nonzero(d < sums / 256)  # too few digits are left of these
                d[near] = np.square(a[near[0]] - self.references[near[1]]).sum(axis=1)
                if self.distance == "euclidean":
                    np.sqrt(d, out=d)
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
    distance: Any,
    normalize: Any,
) -> Batch:
    choice = _pairs.choice("distance", distance, ("euclidean", "squared_euclidean", "cosine"))
    e = _pairs.embeddings_of("embeddings", embeddings)
    y = _pairs.labels_of("labels", labels, "embeddings", len(e))
    r, z = _pairs.references_of(e, ref_embeddings, ref_labels)
    anchors = _wide(e, normalize)
    if r is None or z is None:
        return Batch(anchors, anchors, y, y, choice, False)
    return Batch(anchors, _wide(r, normalize), y, z, choice, True)


def _wide(x: Array, normalize: Any) -> Array:
    wide = x.astype(np.float64)
    if normalize:
        norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
        wide /= np.maximum(norms, 1e-12)
    return wide


def _collected(
    what: str, limit: Any, found: Iterator[tuple[Array, ...]], arrays: int
) -> tuple[Array, ...]:
    """Put together what is found block by block, if that is not too much."""
    most = _check.integer("limit", limit)
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


def mine_triplets(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float = 0.2,
    type_of_triplets: Literal["all", "hard", "semihard", "easy"] = "all",
    distance: Distance = "euclidean",
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
    distance : {"euclidean", "squared_euclidean", "cosine"}, default "euclidean"
        "cosine" is one minus the dot product.
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
    chosen = kinds[_pairs.choice("type_of_triplets", type_of_triplets, tuple(kinds))]
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, distance, normalize)
    a, p, n = _collected("triplets", limit, _triplets_where(batch, chosen), 3)
    return a, p, n


def mine_semihard(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float = 0.2,
    distance: Distance = "euclidean",
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
    distance : {"euclidean", "squared_euclidean", "cosine"}, default "euclidean"
        "cosine" is one minus the dot product.
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


def _easy_hard(batch: Batch, pos: str, neg: str) -> Iterator[tuple[Array, ...]]:
    for block in batch.blocks():
        d, rows = block.distances, np.arange(len(block.distances))
        if not d.shape[1]:
            return
        positive, negative = block.positive, block.negative
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


def mine_easy_hard(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    pos_strategy: Strategy = "easy",
    neg_strategy: Strategy = "semihard",
    distance: Distance = "euclidean",
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
    distance : {"euclidean", "squared_euclidean", "cosine"}, default "euclidean"
        "cosine" is one minus the dot product.
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
    pos = _pairs.choice("pos_strategy", pos_strategy, strategies)
    neg = _pairs.choice("neg_strategy", neg_strategy, strategies)
    if "semihard" in (pos, neg) and {pos, neg} <= {"semihard", "all"}:
        raise ValueError(
            f"neg_strategy is {neg!r}: expected 'hard' or 'easy' or no 'semihard' beside "
            f"pos_strategy={pos!r}"
        )
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, distance, normalize)
    a1, p, a2, n = _collected("pairs", limit, _easy_hard(batch, pos, neg), 4)
    return a1, p, a2, n


def mine_hard(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    distance: Distance = "euclidean",
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
    distance : {"euclidean", "squared_euclidean", "cosine"}, default "euclidean"
        "cosine" is one minus the dot product.
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
    a, p, _, n = mine_easy_hard(
        embeddings,
        labels,
        pos_strategy="hard",
        neg_strategy="hard",
        distance=distance,
        normalize=normalize,
        ref_embeddings=ref_embeddings,
        ref_labels=ref_labels,
        limit=limit,
    )
    return a, p, n


def _pairs_where(
    batch: Batch, chosen: Callable[[Block], tuple[Array, Array]]
) -> Iterator[tuple[Array, ...]]:
    for block in batch.blocks():
        if not block.distances.shape[1]:
            return
        (a1, p), (a2, n) = map(np.nonzero, chosen(block))
        yield a1 + block.first, p, a2 + block.first, n


def mine_multi_similarity(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float = 0.1,
    distance: Distance = "cosine",
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
    distance : {"euclidean", "squared_euclidean", "cosine"}, default "cosine"
        "cosine" is one minus the dot product.
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

    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, distance, normalize)
    a1, p, a2, n = _collected("pairs", limit, _pairs_where(batch, chosen), 4)
    return a1, p, a2, n


def mine_pair_margin(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    pos_margin: float = 0.2,
    neg_margin: float = 0.8,
    distance: Distance = "euclidean",
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
    distance : {"euclidean", "squared_euclidean", "cosine"}, default "euclidean"
        "cosine" is one minus the dot product.
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

    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, distance, normalize)
    a1, p, a2, n = _collected("pairs", limit, _pairs_where(batch, chosen), 4)
    return a1, p, a2, n


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


def mine_distance_weighted(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    cutoff: float = 0.5,
    nonzero_loss_cutoff: float = 1.4,
    seed: int | None = None,
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
    seed : int, optional
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
        _check.positive("cutoff", cutoff),
        _check.finite("nonzero_loss_cutoff", nonzero_loss_cutoff),
    )
    rng = np.random.default_rng(seed)
    batch = _batch(embeddings, labels, ref_embeddings, ref_labels, "euclidean", True)
    a, p, n = _collected("triplets", limit, _weighted(batch, least, reach, rng), 3)
    return a, p, n
