"""Contrastive losses: softmax and related losses of similarities, without a similarity matrix."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._lower import pairs
from fusedloss._lower.loss import loss
from fusedloss._types import Call, Distance, PairReduction, RankPenalty, Reduction
from fusedloss.metric import Indices

__all__ = [
    "circle_loss",
    "clip_loss",
    "info_nce_loss",
    "intra_pair_variance_loss",
    "multi_similarity_loss",
    "ntxent_loss",
    "pnp_loss",
    "siglip_loss",
    "smooth_ap_loss",
    "supcon_loss",
    "threshold_consistent_margin_loss",
    "tuplet_margin_loss",
]

# ---- Embeddings and their labels ---------------------------------------------------------------


@loss("embeddings", "ref_embeddings", "temperature")
def ntxent_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    temperature: float = 0.07,
    distance: Distance = "cosine",
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
    r"""Cross-entropy at a temperature of each positive pair against the anchor's negatives.

    .. math:: \ell_{ap} = -\log \frac{e^{s_{ap}/\tau}}{e^{s_{ap}/\tau}
              + \sum_{n \in N} e^{s_{an}/\tau}}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    temperature : float, default 0.07
        The temperature :math:`\tau`; positive.
    distance : {"cosine", "euclidean", "squared_euclidean", "lp", "snr"}, default "cosine"
        "cosine" for similarities, or a distance as in `triplet_loss`: :math:`s = -d`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
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
        "mean" divides by the number of positive pairs, "mean_nonzero" by that of losses above 0;
        "none" gives each anchor's sum.
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
    Equivalent to ``NTXentLoss(temperature)`` of pytorch-metric-learning, where a pair's loss ends
    at 87 in float32, and the loss of at most one positive and one negative pair is 0.
    Similarities are held in 64 MiB at most.

    References
    ----------
    T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A Simple Framework for Contrastive Learning of
    Visual Representations", ICML 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.ntxent_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    1.4566
    """
    factor = 1 / pairs.scale("temperature", temperature, embeddings)
    call = pairs.batch(
        "ntxent_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (factor,),
        distance=pairs.similarity(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        learnable={"temperature": pairs.Learnable(temperature, 0, -factor * factor)},
        indices_tuple=indices_tuple,
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings", "temperature")
def supcon_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    temperature: float = 0.1,
    distance: Distance = "cosine",
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
    r"""Supervised contrastive loss: an anchor's positives against all other embeddings.

    .. math:: \ell_a = -\frac{1}{|P|} \sum_{p \in P} \log \frac{e^{s_{ap}/\tau}}{\sum_{i \in P \cup
              N} e^{s_{ai}/\tau}}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    temperature : float, default 0.1
        The temperature :math:`\tau`; positive.
    distance : {"cosine", "euclidean", "squared_euclidean", "lp", "snr"}, default "cosine"
        "cosine" for similarities, or a distance as in `triplet_loss`: :math:`s = -d`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
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
    Equivalent to ``SupConLoss(temperature)`` of pytorch-metric-learning, whose loss of at most one
    positive and one negative pair is 0.
    Similarities are held in 64 MiB at most. An anchor without
    positives has the loss 0, and all have it if none has negatives.

    References
    ----------
    P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.supcon_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    1.0647
    """
    alone = indices_tuple is not None or pairs.any_negative(labels, ref_labels)
    factor = 1 / pairs.scale("temperature", temperature, embeddings)
    call = pairs.batch(
        "supcon_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (factor, float(alone)),
        distance=pairs.similarity(distance, p, power),
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        learnable={"temperature": pairs.Learnable(temperature, 0, -factor * factor)},
        indices_tuple=indices_tuple,
        listing="both",
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def multi_similarity_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    distance: Distance = "cosine",
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
    r"""Multi-similarity loss: soft maxima of an anchor's far positives and near negatives.

    .. math:: \ell_a = \frac{1}{\alpha} \log\Bigl(1
              + \sum_{p \in P} e^{-\alpha (s_{ap} - \lambda)}\Bigr)
              + \frac{1}{\beta} \log\Bigl(1 + \sum_{n \in N} e^{\beta (s_{an} - \lambda)}\Bigr)

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    alpha : float, default 2.0
        The factor :math:`\alpha` of positives; positive.
    beta : float, default 50.0
        The factor :math:`\beta` of negatives; positive.
    base : float, default 0.5
        The similarity :math:`\lambda` that both are compared with, or the distance
        :math:`-\lambda`.
    distance : {"cosine", "euclidean", "squared_euclidean", "lp", "snr"}, default "cosine"
        "cosine" for similarities, or a distance as in `triplet_loss`: :math:`s = -d`.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
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
    Equivalent to ``MultiSimilarityLoss(alpha, beta, base)`` of pytorch-metric-learning, whose loss
    of at most one positive and one negative pair is 0.
    Similarities are held in 64 MiB at most.

    References
    ----------
    X. Wang, X. Han, W. Huang, D. Dong, M. R. Scott, "Multi-Similarity Loss with General Pair
    Weighting for Deep Metric Learning", CVPR 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.multi_similarity_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.3994
    """
    kind = pairs.similarity(distance, p, power)
    call = pairs.batch(
        "multi_similarity_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (
            _check.positive("alpha", alpha),
            _check.positive("beta", beta),
            _check.finite("base", -base if kind.opposite else base),
        ),
        distance=kind,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="unique",
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def circle_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    m: float = 0.4,
    gamma: float = 80.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean_nonzero",
    num_threads: int | None = None,
) -> Call:
    r"""Circle loss: every similarity weighted by how far it is from its optimum.

    .. math:: \ell_a = \log\Bigl(1 + \sum_{n \in N} e^{\gamma [s_{an} + m]_+ (s_{an} - m)}
              \sum_{p \in P} e^{-\gamma [1 + m - s_{ap}]_+ (s_{ap} - 1 + m)}\Bigr)

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    m : float, default 0.4
        The relaxation :math:`m`.
    gamma : float, default 80.0
        The scale :math:`\gamma`; positive.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
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
    Equivalent to ``CircleLoss(m, gamma)`` of pytorch-metric-learning, whose loss of at most one
    positive and one negative pair is 0.
    Similarities are held in 64 MiB at most. The weights in brackets
    are no part of the derivative. An anchor without positives or without negatives has the loss 0.

    References
    ----------
    Y. Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.circle_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    19.2
    """
    call = pairs.batch(
        "circle_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (_check.finite("m", m), _check.positive("gamma", gamma)),
        distance=_core.DOT_PRODUCT,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="unique",
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def threshold_consistent_margin_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    lambda_plus: float = 1.0,
    lambda_minus: float = 1.0,
    margin_plus: float = 0.9,
    margin_minus: float = 0.5,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean_nonzero",
    num_threads: int | None = None,
) -> Call:
    r"""Threshold-consistent margin loss: similarities beside two margins, the same for all classes.

    .. math:: \ell = \lambda_+ \frac{\sum_{ap \in P} [m_+ - s_{ap}]_+}
              {\#\{s_{ap} \le m_+\}}
              + \lambda_- \frac{\sum_{an \in N} [s_{an} - m_-]_+}{\#\{s_{an} \ge m_-\}}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    lambda_plus, lambda_minus : float, default 1.0
        The weights :math:`\lambda_+, \lambda_-` of both parts; not negative.
    margin_plus : float, default 0.9
        The similarity :math:`m_+` that positive pairs are to have at least.
    margin_minus : float, default 0.5
        The similarity :math:`m_-` that negative pairs are to have at most.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
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
        "mean_nonzero" divides each part by the number of its pairs that miss the margin or are at
        it, as the formula does, "mean" by that of all; "none" gives each anchor's sum.
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
    Equivalent to ``ThresholdConsistentMarginLoss(lambda_plus, lambda_minus, margin_plus,
    margin_minus)`` of pytorch-metric-learning, which has no references: its indices of them are
    looked up among the embeddings. Similarities are held in 64 MiB at most. A pair at the margin
    has the derivative of one beside it.

    References
    ----------
    Q. Zhang, L. Xu, Q. Tang, J. Fang, Y. N. Wu, J. Tighe, Y. Xing, "Threshold-Consistent Margin
    Loss for Open-World Deep Metric Learning", ICLR 2024.

    Examples
    --------
    >>> import fusedloss as fl
    >>> e, y = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]
    >>> round(fl.threshold_consistent_margin_loss(e, y), 4)
    0.6
    """
    call = pairs.batch(
        "threshold_consistent_margin_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (
            _check.not_negative("lambda_plus", lambda_plus),
            _check.not_negative("lambda_minus", lambda_minus),
            _check.finite("margin_plus", margin_plus),
            _check.finite("margin_minus", margin_minus),
        ),
        distance=_core.DOT_PRODUCT,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def tuplet_margin_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    margin: float = 5.73,
    scale: float = 64.0,
    normalize: bool = True,
    ref_embeddings: ArrayLike | None = None,
    ref_labels: ArrayLike | None = None,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Tuplet margin loss: each positive pair, its angle less a margin, against the negatives.

    .. math:: \ell_{ap} = \log\Bigl(1 + \sum_{n \in N} e^{s (\cos\theta_{an} - \cos(\theta_{ap}
              - m))}\Bigr)

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, :math:`P`, the others negative, :math:`N`.
    margin : float, default 5.73
        The margin :math:`m`, in degrees.
    scale : float, default 64.0
        The scale :math:`s`; positive.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
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
        "mean" divides by the number of positive pairs, "mean_nonzero" by that of losses above 0;
        "none" gives each anchor's sum.
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
    Equivalent to ``TupletMarginLoss(margin, scale)`` of pytorch-metric-learning.
    Similarities are held in 64 MiB at most. The derivative stays
    finite at an angle of 0.

    References
    ----------
    B. Yu, D. Tao, "Deep Metric Learning with Tuplet Margin Loss", ICCV 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.tuplet_margin_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    3.9402
    """
    call = pairs.batch(
        "tuplet_margin_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (math.radians(_check.finite("margin", margin)), _check.scale("scale", scale, embeddings)),
        distance=_core.DOT_PRODUCT,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
    )
    return _core.pairwise, (call,)


@loss("embeddings", "ref_embeddings")
def intra_pair_variance_loss(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    *,
    pos_eps: float = 0.01,
    neg_eps: float = 0.01,
    distance: Distance = "cosine",
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
    r"""Intra-pair variance loss: no pair much less alike, or more, than the mean of its kind.

    .. math:: \ell_{ap} = \max(0,\; (1 - \epsilon_+)\, \bar s_+ - s_{ap})^2, \qquad
              \ell_{an} = \max(0,\; s_{an} - (1 + \epsilon_-)\, \bar s_-)^2

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,), or None with indices_tuple
        Pairs of the same label are positive, the others negative; :math:`\bar s_+` and
        :math:`\bar s_-` are the mean similarities of all positive and of all negative pairs.
    pos_eps, neg_eps : float, default 0.01
        The shares :math:`\epsilon_+` and :math:`\epsilon_-` of the means that cost nothing.
    distance : {"cosine", "euclidean", "squared_euclidean", "lp", "snr"}, default "cosine"
        The similarity :math:`s`: the dot product, or a distance as in `triplet_loss`, of which
        positive pairs are kept from :math:`(1 + \epsilon_+)` of their mean on, negative ones up to
        :math:`(1 - \epsilon_-)` of theirs.
    p, power : float
        Of the distance "lp", as in `triplet_loss`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: dot products
        are cosines then.
    ref_embeddings : array, shape (M, D), optional
        What the anchors are paired with, of the embeddings' dtype; if absent, the other embeddings.
    ref_labels : array of integers, shape (M,), optional
        Their labels.
    indices_tuple : tuple of arrays of integers, optional
        The pairs that count, as miners return them: (anchors, positives, anchors, negatives), or
        (anchors, positives, negatives) of triplets; if absent, all of them.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's losses, and its part of the divisor of a mean, are multiplied by. It does
        not weigh similarities in :math:`\bar s`. An embedding of weight 0 is ignored as an anchor,
        whatever it holds.
    reduction : {"mean_nonzero", "mean", "sum", "none"}, default "mean"
        Positive and negative pairs have a mean each, and the loss is the sum of the two: "mean"
        divides by the number of pairs, "mean_nonzero" by that of losses above 0; "none" gives each
        anchor's sum.
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
    Equivalent to ``IntraPairVarianceLoss(pos_eps, neg_eps)`` of pytorch-metric-learning, whose loss
    of at most one positive and one negative pair is 0. The means are part of the derivative.
    Similarities are held in 64 MiB at most.

    References
    ----------
    B. Yu, D. Tao, "Deep Metric Learning with Tuplet Margin Loss", ICCV 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.intra_pair_variance_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.0784
    """
    kind = pairs.similarity(distance, p, power)
    sign = -1 if kind.opposite else 1  # the shares are beyond the means of distances, too
    call = pairs.batch(
        "intra_pair_variance_loss",
        embeddings,
        labels,
        ref_embeddings,
        ref_labels,
        sample_weight,
        (sign * _check.finite("pos_eps", pos_eps), sign * _check.finite("neg_eps", neg_eps)),
        distance=kind,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
    )
    return _core.pairwise, (call,)


@loss("embeddings")
def smooth_ap_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: float = 0.01,
    normalize: bool = True,
    indices_tuple: Indices = None,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Smooth-AP: one minus the average precision of an anchor's neighbours, by sigmoids of ranks.

    .. math:: \ell_a = 1 - \frac{1}{|Q|} \sum_{i \in Q} \frac{1 + r(i, Q)}{1 + r(i, Q) + r(i, N)},
              \qquad r(i, S) = \sum_{j \in S,\, j \neq i} \sigma\Bigl(\frac{s_{aj} - s_{ai}}{\tau}
              \Bigr)

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        :math:`Q` are the anchor itself and the others of its label, :math:`N` all of other labels.
    temperature : float, default 0.01
        The temperature :math:`\tau` of similarities; positive.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
    indices_tuple : tuple of arrays of integers, optional
        Pairs or triplets as miners return them: each anchor's loss, of all its pairs, is multiplied
        by how often the anchor is listed, as whatever of a pair or triplet, in relation to the one
        that is listed most often. No part of the divisor of a mean.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's loss, and its part of the divisor of a mean, are multiplied by.
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
    Equivalent to ``SmoothAPLoss(temperature)`` of pytorch-metric-learning where that is the loss of
    the paper: it takes only labels that are equally frequent, and takes for embeddings of one label
    those that follow each other, as many as there are labels; so there have to be n labels of n
    embeddings each, in order. It computes the precision in float32.

    It takes time by the number of an anchor's positives times that of all embeddings.
    Similarities are held in 64 MiB at most, and ranks of one positive at a time. A loss is computed
    as the mean of :math:`r(i, N) / (1 + r(i, Q) + r(i, N))`, which keeps the digits of small ones.

    References
    ----------
    A. Brown, W. Xie, V. Kalogeiton, A. Zisserman, "Smooth-AP: Smoothing the Path Towards
    Large-Scale Image Retrieval", ECCV 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.smooth_ap_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.0556
    """
    call = pairs.batch(
        "smooth_ap_loss",
        embeddings,
        labels,
        None,
        None,
        sample_weight,
        (1 / _check.scale("temperature", temperature, embeddings),),
        distance=_core.DOT_PRODUCT,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        indices_tuple=indices_tuple,
        listing="weights",
    )
    return _core.pairwise, (call,)


#: What a positive costs, in the order of the kernel's numbers.
RANK_PENALTIES = ("O", "Ds", "Dq", "Iu", "Ib")


@loss("embeddings")
def pnp_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    b: float = 2.0,
    alpha: float = 1.0,
    anneal: float = 0.01,
    variant: RankPenalty = "O",
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    reduction: PairReduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""PNP: penalises negatives ahead of positives, by their number.

    .. math:: \ell_a = \frac{1}{|Q|} \sum_{i \in Q} f(r_i), \qquad
              r_i = \sum_{n \in N} \sigma\Bigl(\frac{s_{an} - s_{ai}}{\tau}\Bigr)

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        The anchors: float16, bfloat16, float32 or float64.
    labels : array of integers, shape (N,)
        :math:`Q` are the anchor itself and the others of its label, :math:`N` all of other labels.
        An anchor without others of its label has no loss.
    b : float, default 2.0
        The constant :math:`b` of "Ib"; positive.
    alpha : float, default 1.0
        The exponent :math:`\alpha` of "Dq"; positive.
    anneal : float, default 0.01
        The temperature :math:`\tau` of similarities; positive.
    variant : {"Ds", "Dq", "Iu", "Ib", "O"}, default "O"
        The penalty of a positive with :math:`r` negatives ahead of it:

        - "O": :math:`f(r) = r`;
        - "Ds": :math:`\log(1 + r)`, whose slope decreases slowly;
        - "Dq": :math:`1 - (1 + r)^{-\alpha}`, whose slope decreases quickly;
        - "Iu": :math:`(1 + r) \log(1 + r)`, whose slope increases without bound;
        - "Ib": :math:`(b r - \log(1 + b r)) / b^2`, whose slope increases up to :math:`1 / b`.
    normalize : bool, default True
        Whether to divide each embedding by its norm (or 1e-12, if that is more) first: similarities
        are cosines, else dot products.
    sample_weight : array of floats, shape (N,), optional
        What each anchor's loss, and its part of the divisor of a mean, are multiplied by.
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

    Notes
    -----
    Equivalent to ``PNPLoss(b, alpha, anneal, variant)`` of pytorch-metric-learning, where the loss
    is the mean whatever the reducer, and a sigmoid no less than 2e-22; it takes no `indices_tuple`
    either.

    It takes time by the number of an anchor's positives times that of its negatives. Similarities
    are held in 64 MiB at most, and ranks of one positive at a time.

    References
    ----------
    Z. Li, W. Min, J. Song, Y. Zhu, L. Kang, X. Wei, X. Wei, S. Jiang, "Rethinking the Optimization
    of Average Precision: Only Penalizing Negative Instances before Positive Ones is Enough", AAAI
    2022.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.pnp_loss([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0, 0, 1]), 4)
    0.25
    """
    options = (_check.positive("b", b), _check.positive("alpha", alpha))
    penalty = RANK_PENALTIES.index(pairs.choice("variant", variant, RANK_PENALTIES))
    call = pairs.batch(
        "pnp_loss",
        embeddings,
        labels,
        None,
        None,
        sample_weight,
        (1 / _check.scale("anneal", anneal, embeddings), float(penalty), *options),
        distance=_core.DOT_PRODUCT,
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
    )
    return _core.pairwise, (call,)


# ---- Two towers: row i of one belongs to row i of the other -------------------------------------


@loss("query", "key", "temperature")
def info_nce_loss(
    query: ArrayLike,
    key: ArrayLike,
    *,
    temperature: float = 0.1,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Cross-entropy of each query's key against all other keys (InfoNCE).

    .. math:: \ell_i = -\log \frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}}

    Parameters
    ----------
    query : array of floats, shape (N, D)
        Queries: float16, bfloat16, float32 or float64.
    key : array of floats, shape (M, D)
        Keys, of the same dtype: the first N belong to the queries, others are negatives only.
    temperature : float, default 0.1
        The temperature :math:`\tau`; positive.
    normalize : bool, default True
        Whether to divide each row by its norm (or 1e-12, if that is more) first: similarities
        :math:`s` are cosines, else dot products.
    sample_weight : array of floats, shape (N,), optional
        What the loss of each row of `query`, and its part of the divisor of a mean, are
        multiplied by. A row of weight 0 is ignored, whatever it holds.
    where : array of bools, shape (N, M), optional
        The pairs that take part: where it is False a key is no negative of the query, as one that
        is as right as the query's own. A query whose own key is masked has no loss and no part in
        the mean. An embedding that is left in no loss may hold anything, NaN too.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by N, less the queries that `where` leaves out; "none" gives the loss of each
        row.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the dtype of `query`. 0
        where there is no row.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Differentiable in both towers and the temperature. Similarities are held for a few rows at a
    time. With ``a`` and ``b`` the normalized rows, equivalent to

    ::

        cross_entropy(a @ b.T / temperature, torch.arange(N))

    References
    ----------
    A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive Predictive
    Coding", 2018.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.info_nce_loss([[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6], [0.6, 0.8]]), 4)
    0.1269
    """
    factor = 1 / pairs.scale("temperature", temperature, query)
    call = pairs.towers(
        "info_nce_loss",
        {"query": query, "key": key},
        sample_weight,
        (factor,),
        learnable={"temperature": pairs.Learnable(temperature, 0, -factor * factor)},
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        where=where,
    )
    return _core.pairwise, (call,)


@loss("image_features", "text_features", "logit_scale")
def clip_loss(
    image_features: ArrayLike,
    text_features: ArrayLike,
    logit_scale: float | ArrayLike = 1 / 0.07,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""CLIP's loss: the mean of InfoNCE of images against texts and of texts against images.

    .. math:: \ell_i = -\frac12 \log \frac{e^{\lambda s_{ii}}}{\sum_j e^{\lambda s_{ij}}}
              - \frac12 \log \frac{e^{\lambda s_{ii}}}{\sum_j e^{\lambda s_{ji}}}

    Parameters
    ----------
    image_features : array of floats, shape (N, D)
        One tower: float16, bfloat16, float32 or float64.
    text_features : array of floats, shape (M, D)
        The other tower, of the same dtype: the first N texts belong to the images, others are
        negatives only.
    logit_scale : float, default 1 / 0.07
        The scale :math:`\lambda` itself, not its logarithm; positive.
    normalize : bool, default True
        Whether to divide each row by its norm (or 1e-12, if that is more) first: similarities
        :math:`s` are cosines, else dot products.
    sample_weight : array of floats, shape (N,), optional
        What the loss of each row of `image_features`, and its part of the divisor of a mean, are
        multiplied by. A row of weight 0 is still a negative of the other rows' texts.
    where : array of bools, shape (N, M), optional
        The pairs, images by texts, that take part: where it is False neither is a negative of the
        other. A row whose own pair is masked has no loss and no part in the mean, but stays a
        negative of other rows. An embedding that is left in no loss may hold anything, NaN too.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by N, less the rows that `where` leaves out; "none" gives the loss of each
        row.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the dtype of `image_features`. 0
        where there is no row.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Differentiable in both towers and the scale. Similarities are held for a few rows at a
    time. Texts of no image have no loss of their own; for images of no text, swap the towers. With
    ``a`` and ``b`` the normalized rows, equivalent to

    ::

        z, i = logit_scale * a @ b.T, torch.arange(N)
        (cross_entropy(z, i) + cross_entropy(z[:, :N].T, i)) / 2

    References
    ----------
    A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML
    2021.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.clip_loss([[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6], [0.6, 0.8]], 2.0), 4)
    0.513
    """
    call = pairs.towers(
        "clip_loss",
        {"image_features": image_features, "text_features": text_features},
        sample_weight,
        (pairs.scale("logit_scale", logit_scale, image_features),),
        learnable={"logit_scale": pairs.Learnable(logit_scale, 0, 1.0)},
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        where=where,
    )
    return _core.pairwise, (call,)


@loss("image_features", "text_features", "logit_scale", "logit_bias")
def siglip_loss(
    image_features: ArrayLike,
    text_features: ArrayLike,
    logit_scale: float | ArrayLike = 10.0,
    logit_bias: float | ArrayLike = -10.0,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""SigLIP's loss: the logistic loss of every pair of an image and a text.

    .. math:: \ell_i = \sum_j \log\bigl(1 + e^{-y_{ij} (\lambda s_{ij} + b)}\bigr), \qquad
              y_{ij} = \begin{cases} 1 & i = j \\ -1 & \text{else} \end{cases}

    Parameters
    ----------
    image_features : array of floats, shape (N, D)
        One tower: float16, bfloat16, float32 or float64.
    text_features : array of floats, shape (M, D)
        The other tower, of the same dtype: the first N texts belong to the images, others are
        negatives only.
    logit_scale : float, default 10
        The scale :math:`\lambda` itself, not its logarithm.
    logit_bias : float, default -10
        The bias :math:`b`.
    normalize : bool, default True
        Whether to divide each row by its norm (or 1e-12, if that is more) first: similarities
        :math:`s` are cosines, else dot products.
    sample_weight : array of floats, shape (N,), optional
        What the loss of each row of `image_features`, and its part of the divisor of a mean, are
        multiplied by. A row of weight 0 is ignored, whatever it holds.
    where : array of bools, shape (N, M), optional
        The pairs, images by texts, that take part: others have no loss. A row of which no pair does
        has no part in the mean. An embedding that is in no such pair may hold anything, NaN too.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by N, less the rows that `where` leaves out; "none" gives the loss of each
        row.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the dtype of `image_features`. 0
        where there is no row.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Differentiable in both towers, the scale and the bias. Similarities are held for a few rows at a
    time. With ``a`` and ``b`` the normalized rows, equivalent to

    ::

        z = logit_scale * a @ b.T + logit_bias
        -logsigmoid(z * (2 * torch.eye(N, M) - 1)).sum() / N

    References
    ----------
    X. Zhai, B. Mustafa, A. Kolesnikov, L. Beyer, "Sigmoid Loss for Language Image Pre-Training",
    ICCV 2023.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.siglip_loss([[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6], [0.6, 0.8]], 2.0, -1.0), 4)
    1.2356
    """
    call = pairs.towers(
        "siglip_loss",
        {"image_features": image_features, "text_features": text_features},
        sample_weight,
        (pairs.scalar("logit_scale", logit_scale), pairs.scalar("logit_bias", logit_bias)),
        learnable={
            "logit_scale": pairs.Learnable(logit_scale, 0, 1.0),
            "logit_bias": pairs.Learnable(logit_bias, 1, 1.0),
        },
        normalize=normalize,
        reduction=reduction,
        num_threads=num_threads,
        where=where,
        any_counts=True,
    )
    return _core.pairwise, (call,)
