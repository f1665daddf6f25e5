"""Losses of pairs and triplets of embeddings, without a matrix of pairs or a list of triplets."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._lower import pairs, tuplets
from fusedloss._lower.loss import loss
from fusedloss._types import Call, Distance, Mining, PairReduction

__all__ = [
    "contrastive_loss",
    "fast_ap_loss",
    "generalized_lifted_structure_loss",
    "lifted_structure_loss",
    "margin_loss",
    "nca_loss",
    "ranked_list_loss",
    "triplet_loss",
]

#: (anchors, positives, negatives), or (anchors, positives, anchors, negatives).
Indices = tuple[ArrayLike, ...] | None

MININGS = ("all", "hard", "semihard", "semihard_closest", "easy")


@loss("embeddings", "ref_embeddings")
def triplet_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    margin: float = 0.2,
    mining: Mining = "all",
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    soft: bool = False,
    normalize: bool = False,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean_nonzero",
    num_threads: int | None = None,
) -> Call:
    r"""Triplet loss over the triplets of a batch, exact and without listing them.

    .. math:: \ell_{apn} = \max(0,\; d(a, p) - d(a, n) + m)

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Positives of an anchor have its label, negatives another one.
    margin : float, default 0.2
        The margin :math:`m`.
    mining : str, default "all"
        Which triplets count:

        - "all": every one;
        - "semihard": those with :math:`d(a, p) < d(a, n) \le d(a, p) + m`;
        - "semihard_closest": each positive pair with the closest negative that is farther than the
          positive, or else with the farthest negative;
        - "hard": each anchor's farthest positive and closest negative;
        - "easy": each anchor's closest positive and closest negative.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        "cosine" is one minus the dot product; of vectors of any length, unless `normalize` is set.
        "lp" is :math:`(\sum_k |x_k - y_k|^p)^{q/p}`, which takes longer. "snr" is
        :math:`\mathrm{var}_k(x_k - y_k) / \mathrm{var}_k(x_k)`, the inverse of a signal-to-noise
        ratio, of the anchor x; it is not symmetric. An anchor whose elements are all equal is
        infinitely far, with derivatives of 0, from all but other such embeddings.
    p : float, default 2.0
        The power :math:`p` of the distance "lp", at least 1.
    power : float, default 1.0
        The power :math:`q` that the distance "lp" is raised to; positive.
    soft : bool, default False
        Whether to take :math:`\log(1 + e^x)` in place of :math:`\max(0, x)`.
    normalize : bool, default False
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first; for "lp" by
        its p-norm.
    ref_embeddings : array, shape (M, D), optional
        Where positives and negatives come from, of the embeddings' dtype; if absent, the other
        embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        The triplets that count, as miners return them: (anchors, positives, negatives), or
        (anchors, positives, anchors, negatives) of pairs; if absent, all of them.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by.
        An embedding of weight 0 is ignored as an anchor, whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean_nonzero"
        "mean_nonzero" divides by the number of triplets whose loss is above 0, "mean" by that of
        all mined triplets; "none" gives each anchor's sum.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 where
        there is no triplet.

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
    Equivalent to ``TripletMarginLoss(margin, distance=LpDistance(normalize_embeddings=False))`` of
    pytorch-metric-learning, with ``smooth_loss=True`` for `soft`,
    ``TripletMarginMiner(margin, "semihard")`` for "semihard", ``BatchHardMiner()`` for "hard",
    ``BatchEasyHardMiner("easy", "hard")`` for "easy". There is no ``swap``, and triplets are not
    drawn: all count, or those of `indices_tuple`.

    Distances are held in 64 MiB at most. The derivative of a distance of 0 is 0.

    References
    ----------
    F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet: A Unified Embedding for Face Recognition and
    Clustering", CVPR 2015. A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for
    Person Re-Identification", 2017. H. Xuan, A. Stylianou, R. Pless, "Improved Embeddings with Easy
    Positive Triplet Mining", WACV 2020. "snr": T. Yuan, W. Deng, J. Tang, Y. Tang, B. Chen,
    "Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning", CVPR 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.triplet_loss([[0.0], [1.0], [1.5]], [0, 0, 1], margin=1.0)
    1.0
    """
    mined = pairs.choice("mining", mining, MININGS if indices_tuple is None else ("all",))
    call = pairs.batch(
        f"triplet_{mined}",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (_check.finite("margin", margin), float(_check.flag("soft", soft))),
        distance=pairs.metric(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="triplets",
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def contrastive_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    pos_margin: float = 0.0,
    neg_margin: float = 1.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean_nonzero",
    num_threads: int | None = None,
) -> Call:
    r"""Contrastive loss: positive pairs nearer than one margin, negative ones beyond another.

    .. math:: \ell_{ap} = \max(0,\; d(a, p) - m_+), \qquad \ell_{an} = \max(0,\; m_- - d(a, n))

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    pos_margin : float, default 0.0
        The margin :math:`m_+`.
    neg_margin : float, default 1.0
        The margin :math:`m_-`.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        The distance :math:`d`, as in `triplet_loss`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        What the anchors are paired with, of the embeddings' dtype; if absent, the other embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        The pairs that count, as miners return them: (anchors, positives, anchors, negatives), or
        (anchors, positives, negatives) of triplets; if absent, all of them.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by.
        An embedding of weight 0 is ignored as an anchor, whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean_nonzero"
        Positive and negative pairs have a mean each, and the loss is the sum of the two:
        "mean_nonzero" divides by the number of losses above 0, "mean" by that of pairs; "none"
        gives each anchor's sum.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 where
        there is nothing to take a mean of.

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
    Equivalent to ``ContrastiveLoss(pos_margin, neg_margin)`` of pytorch-metric-learning, whose loss
    of at most one positive and one negative pair is 0.
    Distances are held in 64 MiB at most. The derivative of a distance of 0 is 0.

    References
    ----------
    R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality Reduction by Learning an Invariant Mapping",
    CVPR 2006.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.contrastive_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    1.262
    """
    call = pairs.batch(
        "contrastive_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (_check.finite("pos_margin", pos_margin), _check.finite("neg_margin", neg_margin)),
        distance=pairs.metric(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings", "beta")
def margin_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    margin: float = 0.2,
    beta: float | ArrayLike = 1.2,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean_nonzero",
    num_threads: int | None = None,
) -> Call:
    r"""Margin loss: positive pairs nearer than a boundary, negative ones farther, by a margin.

    .. math:: \ell_{apn} = \max(0,\; d(a, p) - \beta + m) + \max(0,\; \beta - d(a, n) + m)

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`. With a beta
        of each class they are class indices, and needed.
    margin : float, default 0.2
        The margin :math:`m`.
    beta : float or array of floats, shape (C,), default 1.2
        The boundary :math:`\beta`, or that of each class, which the label of the anchor chooses;
        the loss is differentiable in it.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        The distance :math:`d`, as in `triplet_loss`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        What the anchors are paired with, of the embeddings' dtype; if absent, the other embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        The triplets that count, as miners return them: (anchors, positives, negatives), or
        (anchors, positives, anchors, negatives) of pairs; if absent, all of them.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by.
        An embedding of weight 0 is ignored as an anchor, whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean_nonzero"
        "mean_nonzero" divides by how many of the terms of all triplets are above 0, "mean" by the
        number of triplets; "none" gives each anchor's sum.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 where
        there is nothing to take a mean of.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For an index out of range, or a label that has no beta.

    Notes
    -----
    Equivalent to ``MarginLoss(margin, beta=beta)`` of pytorch-metric-learning, with ``num_classes``
    for a beta of each class; its regularization is left to the caller.
    Distances are held in 64 MiB at most. The derivative of a distance of 0 is 0.

    References
    ----------
    C.-Y. Wu, R. Manmatha, A. J. Smola, P. Krähenbühl, "Sampling Matters in Deep Embedding
    Learning", ICCV 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.margin_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.7675
    """
    betas = pairs.numbers_of_classes("beta", beta)
    call = pairs.batch(
        "margin_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (_check.finite("margin", margin), pairs.scalar("beta", beta) if betas is None else 0.0),
        distance=pairs.metric(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="triplets",
        of_classes=betas,
        learnable={"beta": pairs.Learnable(beta, 1, 1.0)},
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def lifted_structure_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    neg_margin: float = 1.0,
    pos_margin: float = 0.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    reduction: Literal["mean_nonzero", "mean", "sum"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Lifted structure loss: each positive pair against the negatives of both of its embeddings.

    .. math:: \ell_{ap} = \frac12 \Bigl[d(a, p) - m_+ + \log \Bigl(
              \sum_{n \in N_a} e^{m_- - d(a, n)}
              + \sum_{n \in N_p} e^{m_- - d(p, n)}\Bigr)\Bigr]_+^2

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    neg_margin : float, default 1.0
        The margin :math:`m_-`.
    pos_margin : float, default 0.0
        The margin :math:`m_+`.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        The distance :math:`d`, as in `triplet_loss`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array of the same dtype, shape (M, D), optional
        What the anchors are paired with; the embeddings themselves if absent. :math:`N_p` is then
        of the embedding with the number of p, if there is one, and these pairs are worked on in
        NumPy, an anchor at a time.
    ref_labels : array of integers, shape (M,), optional
        The labels of `ref_embeddings`.
    indices_tuple : tuple of arrays of integers, optional
        The pairs that count, as miners return them: (anchors, positives, anchors, negatives), or
        (anchors, positives, negatives) of triplets; if absent, all of them.
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
    Equivalent to ``LiftedStructureLoss(neg_margin, pos_margin)`` of pytorch-metric-learning, whose
    loss of at most one positive and one negative pair is 0. The sum over no pairs counts as 1.
    Distances are held in 64 MiB at most. The derivative of a distance of 0 is 0.

    References
    ----------
    H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese, "Deep Metric Learning via Lifted Structured
    Feature Embedding", CVPR 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.lifted_structure_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    1.3428
    """
    call = pairs.batch(
        "lifted_structure_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        None,
        (_check.finite("neg_margin", neg_margin), _check.finite("pos_margin", pos_margin)),
        distance=pairs.metric(distance, p, power),
        normalize=normalize,
        reduction=pairs.choice("reduction", reduction, ("mean_nonzero", "mean", "sum")),
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="mutual" if ref_embeddings is None and distance != "snr" else "pairs",
    )
    return tuplets.lifted if call.one_way else _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def generalized_lifted_structure_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    neg_margin: float = 1.0,
    pos_margin: float = 0.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Generalized lifted structure loss: soft maxima of far positives and near negatives.

    .. math:: \ell_a = \Bigl[\log \sum_{p \in P} e^{d(a, p) - m_+}
              + \log \sum_{n \in N} e^{m_- - d(a, n)}\Bigr]_+

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    neg_margin : float, default 1.0
        The margin :math:`m_-`.
    pos_margin : float, default 0.0
        The margin :math:`m_+`.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        The distance :math:`d`, as in `triplet_loss`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        What the anchors are paired with, of the embeddings' dtype; if absent, the other embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        The pairs that count, as miners return them: (anchors, positives, anchors, negatives), or
        (anchors, positives, negatives) of triplets; if absent, all of them.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by.
        An embedding of weight 0 is ignored as an anchor, whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean"
        "mean" divides by the number of anchors, "mean_nonzero" by that of losses above 0; "none"
        gives each anchor's loss.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 where
        there is nothing to take a mean of.

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
    Equivalent to ``GeneralizedLiftedStructureLoss(neg_margin, pos_margin)`` of
    pytorch-metric-learning, whose loss of at most one positive and one negative pair is 0.
    Distances are held in 64 MiB at most. The sum over no pairs counts as 1. The
    derivative of a distance of 0 is 0.

    References
    ----------
    A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for Person Re-Identification",
    2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> embeddings, labels = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]
    >>> round(fl.generalized_lifted_structure_loss(embeddings, labels), 4)
    0.8288
    """
    call = pairs.batch(
        "generalized_lifted_structure_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (_check.finite("neg_margin", neg_margin), _check.finite("pos_margin", pos_margin)),
        distance=pairs.metric(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="unique",
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def nca_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    softmax_scale: float = 1.0,
    distance: Distance = "squared_euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Neighbourhood component analysis: the probability of a neighbour of the anchor's label.

    .. math:: \ell_a = -\log \frac{\sum_{p \in P} e^{-c\, d(a, p)}}{\sum_{i \in P \cup N} e^{-c\,
              d(a, i)}}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    softmax_scale : float, default 1.0
        The factor :math:`c` of distances; positive.
    distance : str, default "squared_euclidean"
        The distance :math:`d`, one of those of `triplet_loss`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        What the anchors are paired with, of the embeddings' dtype; if absent, the other embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        Pairs or triplets as miners return them: each anchor's loss, of all its pairs, is multiplied
        by how often the anchor is listed, as whatever of a pair or triplet (with references: as an
        anchor), in relation to the one that is listed most often. No part of the divisor of a mean.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by.
        An embedding of weight 0 is ignored as an anchor, whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean"
        "mean" divides by the number of anchors that have positives, "mean_nonzero" by that of
        losses above 0; "none" gives each anchor's loss.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 where
        there is nothing to take a mean of.

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
    Equivalent to ``NCALoss(softmax_scale)`` of pytorch-metric-learning, whose loss of a single
    anchor is 0, and which leaves out anchors whose probability is rounded to 0.
    Distances are held in 64 MiB at most.

    References
    ----------
    J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov, "Neighbourhood Components Analysis", NIPS
    2004.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.nca_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.5881
    """
    call = pairs.batch(
        "nca_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (_check.scale("softmax_scale", softmax_scale, embeddings),),
        distance=pairs.metric(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="weights",
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def ranked_list_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float = 0.4,
    Tn: float = 10.0,
    imbalance: float = 0.5,
    alpha: float | None = None,
    Tp: float = 0.0,
    distance: Distance = "euclidean",
    p: float = 2.0,
    power: float = 1.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Ranked list loss: weighted means of how far positives and how near negatives are.

    .. math:: \ell_a = (1 - \lambda) \frac{\sum_p w_p\, x_p}{\sum_p w_p}
              + \lambda \frac{\sum_n w_n\, x_n}{\sum_n w_n},
             \quad x_p = [d(a, p) - \alpha + m]_+, \; x_n = [\alpha - d(a, n)]_+, \; w = e^{T x}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    margin : float, default 0.4
        The margin :math:`m` between positives and negatives.
    Tn : float, default 10.0
        The rate :math:`T` of negatives' weights.
    imbalance : float, default 0.5
        The share :math:`\lambda` of negatives, from 0 to 1.
    alpha : float | None, default None
        The least distance :math:`\alpha` of negatives; ``1 + margin / 2`` if None.
    Tp : float, default 0.0
        The rate :math:`T` of positives' weights.
    distance : {"euclidean", "squared_euclidean", "cosine", "lp", "snr"}, default "euclidean"
        The distance :math:`d`, as in `triplet_loss`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        What the anchors are paired with, of the embeddings' dtype; if absent, the other embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by.
        An embedding of weight 0 is ignored as an anchor, whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean"
        "mean" divides by the number of anchors, "mean_nonzero" by that of losses above 0; "none"
        gives each anchor's loss.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 where
        there is nothing to take a mean of.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``RankedListLoss(margin, Tn, imbalance, alpha, Tp)`` of pytorch-metric-learning,
    which takes no `indices_tuple` either.
    Distances are held in 64 MiB at most. Only pairs with
    :math:`x > 0` have a weight, and 1e-5 is added to the weight of each. The derivative of a
    distance of 0 is 0.

    References
    ----------
    X. Wang, Y. Hua, E. Kodirov, G. Hu, R. Garnier, N. M. Robertson, "Ranked List Loss for Deep
    Metric Learning", CVPR 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.ranked_list_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.2207
    """
    call = pairs.batch(
        "ranked_list_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (
            _check.finite("margin", margin),
            _check.finite("Tn", Tn),
            _check.in_range("imbalance", imbalance, 0, 1),
            _check.finite("alpha", 1 + margin / 2 if alpha is None else alpha),
            _check.finite("Tp", Tp),
        ),
        distance=pairs.metric(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def fast_ap_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    num_bins: int = 10,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""FastAP: one minus the average precision of an anchor's neighbours, by a soft histogram.

    .. math:: \ell_a = 1 - \frac{1}{|P|} \sum_b \frac{h_b H_b}{T_b}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    num_bins : int, default 10
        The number of bins of the squared distances from 0 to 4; at most 256.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first.
    ref_embeddings : array, shape (M, D), optional
        What the anchors are paired with, of the embeddings' dtype; if absent, the other embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        Pairs or triplets as miners return them: each anchor's loss, of all its pairs, is multiplied
        by how often the anchor is listed, as whatever of a pair or triplet, in relation to the one
        that is listed most often. No part of the divisor of a mean.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by.
        An embedding of weight 0 is ignored as an anchor, whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean"
        "mean" divides by the number of anchors that have positives, "mean_nonzero" by that of
        losses above 0; "none" gives each anchor's loss.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 where
        there is nothing to take a mean of.

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
    Equivalent to ``FastAPLoss(num_bins)`` of pytorch-metric-learning.
    Distances are held in 64 MiB at most. :math:`h_b` counts the positives in
    a bin, each shared out to the two nearest, :math:`H_b` is its cumulative sum, :math:`T_b` that
    of all pairs. Meant for `normalize=True`.

    References
    ----------
    F. Cakir, K. He, X. Xia, B. Kulis, S. Sclaroff, "Deep Metric Learning to Rank", CVPR 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.fast_ap_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.25
    """
    call = pairs.batch(
        "fast_ap_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (float(pairs.bins("num_bins", num_bins)),),
        distance=_core.SQUARED_EUCLIDEAN,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="weights",
    )
    return _core.pairwise, (call,)
