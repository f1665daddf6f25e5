"""Losses of more than a pair of embeddings at once: tuples, triangles and distributions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._lower import indices, pairs, soft_margin, tuplets
from fusedloss._lower.loss import loss
from fusedloss._types import Array, Call, Reduction, TupletReduction
from fusedloss.metric import Indices

__all__ = [
    "angular_loss",
    "dynamic_soft_margin_loss",
    "histogram_loss",
    "instance_loss",
    "n_pairs_loss",
    "soft_margin_histogram",
]

#: Losses here are of pairs of anchors, and have no value of an anchor alone.

REDUCTIONS = ("mean_nonzero", "mean", "sum")


@loss("embeddings")
def n_pairs_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    normalize: bool = True,
    indices_tuple: Indices = None,
    reduction: TupletReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""N-pairs loss: one positive pair of each label, against the positives of all other labels.

    .. math:: \ell_i = -\log \frac{e^{s(a_i, p_i)}}{\sum_j e^{s(a_i, p_j)}}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The embeddings: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        The first two embeddings of a label are its anchor :math:`a_i` and positive :math:`p_i`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first:
        similarities :math:`s` are cosines, else dot products.
    indices_tuple : tuple of arrays of integers, optional
        Anchors, positives and more as miners return them: each label's first pair there counts.
    reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        "mean" divides by the number of pairs, "mean_nonzero" by that of losses above 0.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss; 0 where there is no positive pair.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For an index out of range.

    Notes
    -----
    Equivalent to ``NPairsLoss()`` of pytorch-metric-learning.

    References
    ----------
    K. Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NIPS 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> e = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]]
    >>> round(fl.n_pairs_loss(e, [0, 0, 1, 1]), 4)
    0.4782
    """
    e = pairs.embeddings_of("embeddings", embeddings)
    y = pairs.labels_of("labels", labels, "embeddings", len(e))
    anchors, positives = tuplets.first_pairs(y, indices_tuple)
    choice = pairs.choice("reduction", reduction, REDUCTIONS)
    call = pairs.towers(
        "info_nce_loss",
        {"anchors": e[anchors], "positives": e[positives]},
        None,
        (1.0,),
        learnable={},
        normalize=normalize,
        reduction="sum" if choice == "sum" else "mean",
        num_threads=num_threads,
    )
    call = call._replace(nonzero=choice == "mean_nonzero")
    return tuplets.n_pairs, (embeddings, (anchors, positives), call)


@loss("embeddings")
def instance_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: float = 64.0,
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Instance loss: cross-entropy with the embeddings of the batch as classes.

    .. math:: \ell_i = -\log \frac{e^{\gamma\, s(x_i, x_{t_i})}}{\sum_j e^{\gamma\, s(x_i, x_j)}}

    with cosines :math:`s`, and :math:`t_i` the rank of the embedding's label among the labels of
    the batch: the k-th embedding stands for the k-th label, whatever its own is. With labels that
    increase, as ``arange(N)`` does, each embedding stands for itself.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The embeddings: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        The labels of the embeddings.
    gamma : float, default 64
        The factor :math:`\gamma` of cosines, greater than 0.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by N.
    workspace : int, optional
        About how many bytes may be used besides the embeddings and two gradients; 64 MiB if absent.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the embeddings' dtype and shape (N,) for
        "none"; 0 where there is no embedding.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``InstanceLoss(gamma)`` of pytorch-metric-learning. It is `normface_loss` with the
    embeddings for weights, too: cosines exist for a few rows at a time. An embedding of zeros has
    cosines and a gradient of 0.

    References
    ----------
    Z. Zheng et al., "Dual-Path Convolutional Image-Text Embeddings with Instance Loss", ACM TOMM
    16(2), 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> e = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]
    >>> round(fl.instance_loss(e, [0, 1, 2], gamma=4.0), 4)
    0.3614
    """
    e = pairs.embeddings_of("embeddings", embeddings)
    y = pairs.labels_of("labels", labels, "embeddings", len(e))
    ranks = np.unique(y, return_inverse=True)[1]
    scale = _check.scale("gamma", gamma, e)
    mode = _check.reduction(reduction)
    resources = _check.workspace_size(workspace) or None, _check.num_threads(num_threads)
    call = None
    if len(e):
        call = _check.margin_head(
            {
                "embeddings": e,
                "weight": e,
                "target": ranks,
                "class_weight": None,
                "sample_weight": None,
            },
            _check.Margin("combined", (1.0, 0.0, 0.0), scale=scale),
            mode,
            _check.NOTHING_IGNORED,
            0.0,
            0.0,
            *resources,
        )
    return tuplets.instance, (embeddings, call, np.zeros(0, e.dtype) if mode == "none" else 0.0)


@loss("embeddings", "ref_embeddings")
def angular_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: float = 40.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    reduction: TupletReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Angular loss: the angle at a negative of the triangle it makes with a positive pair.

    .. math:: \ell_{ap} = \log\Bigl(1 + \sum_{n \in N} e^{4 t^2 (a + p) \cdot n
              - 2 (1 + t^2)\, a \cdot p}\Bigr), \qquad t = \tan \alpha

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The embeddings: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Pairs of the same label are positive; the negatives :math:`N` of a pair have another one.
    alpha : float, default 40.0
        The largest angle :math:`\alpha` at a negative, in degrees, from 0 to 90.
    normalize : bool, default True
        Whether to divide anchors and positives by their norms (or 1e-12, if that is more) first;
        negatives are taken as they are.
    ref_embeddings : array of the same dtype, shape (M, D), optional
        What the anchors are paired with: positives and negatives; the embeddings themselves if
        absent.
    ref_labels : array of integers, shape (M,), optional
        The labels of `ref_embeddings`.
    indices_tuple : tuple of arrays of integers, optional
        Anchors, positives and more as miners return them: the positive pairs that count, with all
        negatives; none count where no negative pair is listed.
    reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        "mean" divides by the number of positive pairs, "mean_nonzero" by that of losses above 0.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss; 0 where there is no positive pair.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For an index out of range.

    Notes
    -----
    Equivalent to ``AngularLoss(alpha)`` of pytorch-metric-learning. As many pairs are worked on at
    a time as there are embeddings.

    References
    ----------
    J. Wang, F. Zhou, S. Wen, X. Liu, Y. Lin, "Deep Metric Learning with Angular Loss", ICCV 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.angular_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.8026
    """
    e = pairs.embeddings_of("embeddings", embeddings)
    y, reference, reference_labels = pairs.labels_and_references(
        e, labels, ref_embeddings, ref_labels
    )
    listed = None
    if indices_tuple is not None:
        references = len(e if reference is None else reference)
        found = indices.lists(indices_tuple, len(e), references, "pairs")
        a, p = (np.asarray(x, np.int64) for x in indices_tuple[:2])
        listed = (a, p) if found.negative.at.size else (a[:0], p[:0])
    call = tuplets.Angular(
        {"embeddings": embeddings, "ref_embeddings": ref_embeddings},
        e,
        y,
        reference,
        reference_labels,
        listed,
        math.radians(_check.in_range("alpha", alpha, 0, 90)),
        _check.flag("normalize", normalize),
        pairs.choice("reduction", reduction, REDUCTIONS),
        _check.num_threads(num_threads),
    )
    return tuplets.angular, (call,)


@loss("embeddings")
def histogram_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    n_bins: int = 100,
    indices_tuple: Indices = None,
    num_threads: int | None = None,
) -> Call:
    r"""Histogram loss: how probably a positive pair is less alike than a negative one.

    .. math:: \ell = \sum_b h^-_b \sum_{c \le b} h^+_c

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The embeddings: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, the others negative.
    n_bins : int, default 100
        The number of bins of the histograms of cosines :math:`h^+` and :math:`h^-`, at most 256.
    indices_tuple : tuple of arrays of integers, optional
        Triplets as miners return them, (anchors, positives, negatives), or pairs, (anchors,
        positives, anchors, negatives): the pairs of triplets count, each once, whichever of its
        embeddings is the anchor; if absent, all of them.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss; 0 where there are no positive or no negative pairs.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For an index out of range.

    Notes
    -----
    Equivalent to ``HistogramLoss(n_bins)`` of pytorch-metric-learning. A similarity is shared out
    to the two nodes of a bin; negative pairs count if one of the two embeddings has a positive.

    References
    ----------
    E. Ustinova, V. Lempitsky, "Learning Deep Embeddings with Histogram Loss", NIPS 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.histogram_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.5
    """
    call = pairs.batch(
        "histogram_loss",
        embeddings,
        labels,
        None,
        None,
        None,
        (float(pairs.bins("n_bins", n_bins)),),
        distance=_core.DOT_PRODUCT,
        normalize=True,
        reduction="sum",
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="unordered",
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def dynamic_soft_margin_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    histogram: ArrayLike | None = None,
    num_bins: int = 10,
    min_val: float = -2.0,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    num_threads: int | None = None,
) -> Call:
    r"""Dynamic soft margin: a triplet counts by the share of triplets that are no harder.

    .. math:: \ell = \frac{1}{T} \sum_{apn} C(x_{apn})\, x_{apn}, \qquad x_{apn} = d(a, p) - d(a, n)

    with d the distance of directions, T the number of triplets, and C the cumulative histogram of
    x, which takes the place of a margin. It is a constant in gradients.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors, of any length: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None
        Positives of an anchor have its label, negatives another one: all triplets count. None with
        `indices_tuple`; or with `ref_embeddings`, whose row i is then the positive of embedding i.
        Its negative is the nearest that another pair has, of the embedding or of its positive.
    histogram : array of floats, shape (num_bins,), optional
        How x is distributed, of any sum. If it is absent, or all 0, that of this batch is taken.
        The rule in training, before each step, is ``histogram = 0.99 * histogram + 0.01 *
        soft_margin_histogram(embeddings, labels)``, which is then divided by its sum.
    num_bins : int, default 10
        The number of nodes of the histogram, :math:`2 |m|` / `num_bins` apart.
    min_val : float, default -2
        The first node m: negative.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        The triplets that count, as miners return them: (anchors, positives, negatives), or
        (anchors, positives, anchors, negatives) of pairs; if absent, all of them.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss; 0 where there is no triplet.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For an index out of range.

    Notes
    -----
    Equivalent to ``DynamicSoftMarginLoss(min_val, num_bins, momentum)`` of
    pytorch-metric-learning, which keeps the histogram. Three things differ: x beyond the last node
    counts at it, where there the call fails; gradients are the paper's, by which the weights are
    constants; and so there may be more than one step.

    Triplets are not listed: an anchor's negatives are sorted, and those between two nodes taken
    together. Distances are computed in float64, of a block of anchors to all references.

    References
    ----------
    L. Zhang, S. Rusinkiewicz, "Learning Local Descriptors With a CDF-Based Dynamic Soft Margin",
    ICCV 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> e, y = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]
    >>> round(fl.dynamic_soft_margin_loss(e, y), 4)
    0.0492
    """
    call = soft_margin.checked(
        *(embeddings, labels, histogram, num_bins, min_val),
        *(ref_embeddings, ref_labels, indices_tuple, num_threads),
    )
    return soft_margin.soft_margin, (call,)


def soft_margin_histogram(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    num_bins: int = 10,
    min_val: float = -2.0,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    num_threads: int | None = None,
) -> Array:
    """Count the triplets of a batch by d(a, p) - d(a, n), for `dynamic_soft_margin_loss`.

    Parameters
    ----------
    embeddings, labels, num_bins, min_val
        As in `dynamic_soft_margin_loss`.
    ref_embeddings, ref_labels, indices_tuple, num_threads
        As in `dynamic_soft_margin_loss`.

    Returns
    -------
    array of float64, shape (num_bins,)
        The counts. A triplet between two nodes is shared out to both by its distances to them, one
        before the first or beyond the last counts there: their sum is the number of triplets.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `dynamic_soft_margin_loss`.

    Examples
    --------
    >>> import fusedloss as fl
    >>> e, y = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]
    >>> fl.soft_margin_histogram(e, y, num_bins=4).round(4)
    array([0.    , 0.5198, 1.2182, 0.262 ])
    """
    return soft_margin.counts_of(
        soft_margin.checked(
            *(embeddings, labels, None, num_bins, min_val),
            *(ref_embeddings, ref_labels, indices_tuple, num_threads),
        )
    )
