"""Margin-softmax heads: losses on angles between embeddings and the weights of their classes.

Every head normalises, multiplies, changes the target's logit and takes the softmax cross-entropy
without a normalised copy of the weights or the logits as a whole.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._check import Margin
from fusedloss._lower.heads import head
from fusedloss._lower.loss import loss
from fusedloss._types import Call, Gradient, Reduction

__all__ = [
    "a_softmax_loss",
    "adaface_loss",
    "arcface_loss",
    "combined_margin_loss",
    "cosface_loss",
    "curricularface_loss",
    "l2_softmax_loss",
    "l_softmax_loss",
    "magface_loss",
    "margin_cross_entropy",
    "normface_loss",
    "sphereface_loss",
    "subcenter_arcface_loss",
]


@loss("embeddings", "weight")
def arcface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    easy_margin: bool = False,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""ArcFace: an additive angular margin.

    Cross-entropy of the logits :math:`s \cos\theta_c`, that of the target class being

    .. math:: s \cos(\theta + m) \text{ for } \theta \le \pi - m, \quad
              s (\cos\theta - m \sin m) \text{ beyond}

    with :math:`\theta_c` the angle between an embedding and the weights of class c.

    Parameters
    ----------
    embeddings : array of floats, shape (..., D)
        One per position, of any length: float16, bfloat16, float32 or float64.
    weight : array of floats of the same dtype, shape (C, D)
        The weights of each class, of any length and with any strides.
    target : array of integers, shape (...)
        Class indices in [0, C).
    margin : float, default 0.5
        The margin m in radians, from :math:`-\pi` to :math:`\pi`. The paper's is positive; a
        negative one draws embeddings to that angle from their class.
    scale : float, default 64
        The scale s.
    easy_margin : bool, default False
        The margin for angles below :math:`\pi/2` alone: :math:`s \cos\theta` beyond.
    class_weight : array of floats, shape (C,), optional
        A weight per class; ones if absent.
        Without label smoothing, a position whose target class has weight 0 is ignored,
        whatever it holds.
    sample_weight : array of floats, shape (...), optional
        A weight per position; ones if absent. "mean" divides by their sum, times class weights.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    ignore_index : int, default -1
        Positions with this class index are ignored: no loss, no weight in the mean, zero gradient.
    label_smoothing : float in [0, 1], default 0
        The share of the target that is spread evenly over the classes.
    focal_gamma : float in [0, 64], default 0
        The exponent :math:`\gamma` of the focal loss: each cross-entropy is multiplied by
        :math:`(1 - p)^\gamma`, p the target's probability. Without label smoothing alone.
    annealing : float, default 0
        A weight :math:`\lambda` of the logit without margin: with :math:`s \psi` the target's logit
        it becomes :math:`s (\lambda \cos\theta + \psi) / (1 + \lambda)`.
    gradient : {"analytic", "detached"}, default "analytic"
        "detached" takes the slope of the target's logit by :math:`\cos\theta` for s, as
        insightface does.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the weights of the classes of all positions that count.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the embeddings' dtype and the target's
        shape for "none".

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For a class index that is out of range and not `ignore_index`.

    Notes
    -----
    The analytic slope :math:`\sin(\theta + m) / \sin\theta` has no bound at angles of 0 and
    :math:`\pi`; the angle in it is kept from them by the square root of the rounding error of a
    cosine. An embedding of zeros, or weights of zeros, have cosines and gradients of 0.

    Loss and gradients are the same bits for any number of threads. float16 and bfloat16 are
    computed and summed in float32, the targets' angles in float64.

    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``cross_entropy(scale * where(one_hot, psi, cosine), target)`` with
    ``psi = where(acos(c) <= pi - margin, cos(acos(c) + margin), c - margin * sin(margin))``.

    References
    ----------
    .. [1] J. Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> value, (dx, dw) = fl.value_and_grad(fl.arcface_loss, argnums=(0, 1))(
    ...     x, w, np.array([0, 1]), scale=4.0
    ... )
    >>> round(value, 4)
    0.9963
    >>> dx.round(4)
    array([[ 0.    ,  0.0099],
           [ 0.7457, -0.3729]])
    """
    easy = _check.flag("easy_margin", easy_margin)
    kind = "easy_arcface" if easy else "arcface"
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin(kind, (_check.angle("margin", margin),)),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def cosface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""CosFace, also AM-Softmax: an additive margin on the cosine.

    As `arcface_loss` with the target's logit :math:`s (\cos\theta - m)`.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    margin : float, default 0.35
        The margin m, of a cosine: from -2 to 2. The paper's is positive; a negative one asks
        less of an embedding, for the sake of classes that training does not see [2]_.
    scale : float, default 64
        The scale s.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``cross_entropy(scale * where(one_hot, c - margin, cosine), target)``.

    References
    ----------
    .. [1] H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018.
    .. [2] B. Liu et al., "Negative Margin Matters: Understanding Margin in Few-shot
       Classification", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.cosface_loss(x, w, np.array([0, 1]), scale=4.0), 4)
    1.0065
    """
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("combined", (1.0, 0.0, _check.cosine_margin("margin", margin))),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def normface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    scale: float = 20.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""NormFace: softmax cross-entropy of scaled cosines, without a margin.

    As `arcface_loss` with the target's logit :math:`s \cos\theta`.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    scale : float, default 20
        The scale s: the inverse of a temperature.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``cross_entropy(scale * cosine, target)``.

    References
    ----------
    .. [1] F. Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.normface_loss(x, w, np.array([0, 1]), scale=4.0), 4)
    0.4325
    """
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("combined", (1.0, 0.0, 0.0)),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def l2_softmax_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 16.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Softmax cross-entropy of embeddings on a sphere.

    As `arcface_loss` with the logits :math:`\alpha \lVert w_c \rVert \cos\theta_c`: weights keep
    their norms, and there is no margin.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    alpha : float, default 16
        The radius of the sphere.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``cross_entropy(alpha * normalize(embeddings) @ weight.T, target)``.

    References
    ----------
    .. [1] R. Ranjan et al., "L2-constrained Softmax Loss for Discriminative Face
       Verification", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.l2_softmax_loss(x, w, np.array([0, 1]), alpha=4.0), 4)
    0.0114
    """
    scale = _check.scale("alpha", alpha, embeddings)
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("combined", (1.0, 0.0, 0.0), keep_weight_norm=True),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def combined_margin_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    m1: float = 1.0,
    m2: float = 0.5,
    m3: float = 0.0,
    scale: float = 64.0,
    interclass_filtering_threshold: float = 0.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""All three margins at once: multiplicative, additive angular and additive.

    As `arcface_loss` with the target's logit :math:`s (\cos(m_1 \theta + m_2) - m_3)`, whatever the
    angle.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    m1, m2, m3
        The three margins, 1, 0.5 and 0 by default: a positive factor, radians from :math:`-\pi` to
        :math:`\pi`, and of a cosine, from -2 to 2.
    scale : float, default 64
        The scale s.
    interclass_filtering_threshold : float, default 0
        The logits of other classes whose cosine is above it become 0, without a gradient; 0: none.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``cross_entropy(scale * where(one_hot, psi, cosine), target)``
    with ``psi = cos(m1 * acos(c) + m2) - m3``.

    References
    ----------
    .. [1] X. An et al., "Killing Two Birds with One Stone: Efficient and Robust Training of Face
       Recognition CNNs by Partial FC", 2022, and the code of insightface.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.combined_margin_loss(x, w, np.array([0, 1]), m1=0.9, m3=0.1, scale=4.0), 4)
    1.114
    """
    threshold = _check.in_range(
        "interclass_filtering_threshold", interclass_filtering_threshold, 0, 1
    )
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("combined", _check.three_margins(m1, m2, m3), filter=threshold),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def l_softmax_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 4.0,
    scale: float = 1.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Large-margin softmax: a multiplicative angular margin.

    As `arcface_loss` with the logits :math:`s \lVert w_c \rVert \lVert x \rVert \cos\theta_c`.
    In place of :math:`\cos\theta` the target has

    .. math:: \psi(\theta) = (-1)^k \cos(m \theta) - 2k, \quad k = \lfloor m \theta / \pi \rfloor

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    margin : float, default 4.0
        The factor m of the angle: a positive integer.
    scale : float, default 1.0
        The scale s.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    Training starts with a large `annealing`, which falls to a small one: without it the loss of
    untrained embeddings hardly moves them.

    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``scale * embeddings.norm() * weight.norm() * where(one_hot, psi, cosine)``
    are the logits, with ``k = floor(margin * acos(c) / pi)`` and
    ``psi = (-1) ** k * cos(margin * acos(c)) - 2 * k``.

    References
    ----------
    .. [1] W. Liu et al., "Large-Margin Softmax Loss for Convolutional Neural Networks", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.l_softmax_loss(x, w, np.array([0, 1]), annealing=5.0), 4)
    0.2171
    """
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin(
            "multiplicative",
            (_check.whole_factor("margin", margin),),
            keep_norm=True,
            keep_weight_norm=True,
        ),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def a_softmax_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 4.0,
    scale: float = 1.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""A-Softmax, the loss of SphereFace: a multiplicative angular margin.

    As `arcface_loss` with the logits :math:`s \lVert x \rVert \cos\theta_c`.
    In place of :math:`\cos\theta` the target has

    .. math:: \psi(\theta) = (-1)^k \cos(m \theta) - 2k, \quad k = \lfloor m \theta / \pi \rfloor

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    margin : float, default 4.0
        The factor m of the angle: a positive integer.
    scale : float, default 1.0
        The scale s.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    Training starts with a large `annealing`, which falls to a small one: without it the loss of
    untrained embeddings hardly moves them.

    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``scale * embeddings.norm() * where(one_hot, psi, cosine)`` are the
    logits, with ``k = floor(margin * acos(c) / pi)`` and
    ``psi = (-1) ** k * cos(margin * acos(c)) - 2 * k``.

    References
    ----------
    .. [1] W. Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.a_softmax_loss(x, w, np.array([0, 1]), annealing=5.0), 4)
    0.6843
    """
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("multiplicative", (_check.whole_factor("margin", margin),), keep_norm=True),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def sphereface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 1.5,
    scale: float = 30.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""SphereFace with normalised embeddings: a multiplicative angular margin.

    As `arcface_loss` with the logits :math:`s \cos\theta_c`.
    In place of :math:`\cos\theta` the target has

    .. math:: \psi(\theta) = (-1)^k \cos(m \theta) - 2k, \quad k = \lfloor m \theta / \pi \rfloor

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    margin : float, default 1.5
        The factor m of the angle, at least 1.
    scale : float, default 30.0
        The scale s.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    Training starts with a large `annealing`, which falls to a small one: without it the loss of
    untrained embeddings hardly moves them.

    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``scale * where(one_hot, psi, cosine)`` are the logits, with
    ``k = floor(margin * acos(c) / pi)`` and ``psi = (-1) ** k * cos(margin * acos(c)) - 2 * k``.

    References
    ----------
    .. [1] W. Liu et al., "SphereFace Revived: Unifying Hyperspherical Face Recognition", 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.sphereface_loss(x, w, np.array([0, 1]), annealing=5.0), 4)
    1.1801
    """
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("multiplicative", (_check.factor("margin", margin),)),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def subcenter_arcface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    sub_centers: int = 3,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""ArcFace with several centers per class; the nearest one counts.

    `arcface_loss` with :math:`\cos\theta_c = \max_k \cos\theta_{ck}`.

    Parameters
    ----------
    embeddings, target
        As in `arcface_loss`.
    weight : array of floats, shape (C K, D)
        The centers, those of a class in successive rows.
    margin, scale
        As in `arcface_loss`.
    sub_centers : int, default 3
        The number K of centers of each class.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``arcface_loss`` of
    ``cosine.unflatten(-1, (-1, sub_centers)).amax(-1)``.

    References
    ----------
    .. [1] J. Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web
       Faces", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> w = np.vstack([w, -w])
    >>> round(fl.subcenter_arcface_loss(x, w, np.array([0, 1]), sub_centers=2, scale=4.0), 4)
    4.3062
    """
    centers = _check.count("sub_centers", sub_centers)
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("arcface", (_check.angle("margin", margin),), centers=centers),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def curricularface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    t: float = 0.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""CurricularFace: ArcFace that emphasizes hard negatives as training proceeds.

    `arcface_loss` with the logits :math:`s \cos\theta_c (t + \cos\theta_c)` of other classes whose
    cosine is above :math:`\cos(\theta + m)`.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    margin : float, default 0.5
        The margin m in radians, from 0 to :math:`\pi`: classes nearer than it are hard.
    scale : float, default 64
        The scale s.
    t : float, default 0
        How far training is: the running mean of the targets' cosines. The paper's rule, before each
        step, is ``t = 0.99 * t + 0.01 * mean``.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: with ``hard = cosine > cos(acos(c) + margin)``,
    ``arcface_loss`` of ``where(hard, cosine * (t + cosine), cosine)``.

    References
    ----------
    .. [1] Y. Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
       Recognition", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.curricularface_loss(x, w, np.array([0, 1]), scale=4.0, t=0.1), 4)
    1.0732
    """
    parameters = (_check.angle("margin", margin, 0), _check.finite("t", t))
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("curricularface", parameters),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def adaface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.4,
    scale: float = 64.0,
    h: float = 0.333,
    norm_mean: float | None = None,
    norm_std: float | None = None,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""AdaFace: margins that follow image quality, which the embedding's norm estimates.

    As `arcface_loss` with the target's logit

    .. math:: s (\cos(\theta - m q) - m - m q), \quad
              q = h (\lVert x \rVert - \mu) / (\sigma + 10^{-3}) \text{ clipped to } [-1, 1],

    the angle clipped to :math:`[10^{-3}, \pi - 10^{-3}]` and norms to :math:`[10^{-3}, 100]`.
    Gradients do not see q.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    margin : float, default 0.4
        The margin m, in radians and of a cosine: from 0 to :math:`\pi`. A negative one would turn
        round which norms have the larger margins.
    scale : float, default 64
        The scale s.
    h : float, default 0.333
        The concentration h, at least 0.
    norm_mean, norm_std
        Mean :math:`\mu` and standard deviation :math:`\sigma` of the norms: those of the batch, or
        running ones. If absent they are computed of the positions that are not ignored.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``cross_entropy(scale * where(one_hot, psi, cosine), target)``
    with ``psi = cos(acos(c) - margin * q) - margin - margin * q``. The paper's code clips the
    cosines of other classes to 0.999 too.

    References
    ----------
    .. [1] M. Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.adaface_loss(x, w, np.array([0, 1]), scale=4.0), 4)
    1.1988
    """
    if norm_mean is None or norm_std is None:
        by_class = class_weight if label_smoothing == 0 else None
        mean, std = _check.norm_statistics(
            embeddings, target, ignore_index, sample_weight, by_class, where
        )
    if norm_mean is not None:
        mean = _check.not_negative("norm_mean", norm_mean)
    if norm_std is not None:
        std = _check.not_negative("norm_std", norm_std)
    parameters = (_check.angle("margin", margin, 0), _check.not_negative("h", h), mean, std)
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("adaface", parameters),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def magface_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    scale: float = 64.0,
    l_a: float = 10.0,
    u_a: float = 110.0,
    l_margin: float = 0.45,
    u_margin: float = 0.8,
    lambda_g: float = 35.0,
    easy_margin: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""MagFace: a margin that grows with the embedding's norm, which measures quality.

    `arcface_loss` with the margin

    .. math:: m = l_m + (u_m - l_m) (a - l_a) / (u_a - l_a), \quad
              a = \lVert x \rVert \text{ clipped to } [l_a, u_a],

    and :math:`\lambda_g (a / u_a^2 + 1 / a)` added to the loss of each position that counts.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    scale : float, default 64
        The scale s.
    l_a, u_a
        The range of norms, 10 to 110 by default.
    l_margin, u_margin
        The margins in radians at its ends, 0.45 and 0.8 by default: ``0 <= l_margin <= u_margin``,
        as the margin has to grow with the norm.
    lambda_g : float, default 35
        The factor of the penalty on small norms.
    easy_margin : bool, default True
        The margin for angles below :math:`\pi/2` alone.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and its column
    ``c`` of the target: ``arcface_loss`` with a margin for each row, and the mean of
    ``lambda_g * (a / u_a**2 + 1 / a)``, where ``a = embeddings.norm(dim=-1).clamp(l_a, u_a)``.

    References
    ----------
    .. [1] Q. Meng et al., "MagFace: A Universal Representation for Face Recognition and Quality
       Assessment", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.magface_loss(20 * x, w, np.array([0, 1]), scale=4.0), 4)
    2.0765
    """
    parameters = _check.norm_margins(l_a, u_a, l_margin, u_margin, lambda_g)
    easy = _check.flag("easy_margin", easy_margin)
    kind = "easy_magface" if easy else "magface"
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin(kind, parameters),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("cosine")
def margin_cross_entropy(
    cosine: ArrayLike,
    target: ArrayLike,
    *,
    m1: float = 1.0,
    m2: float = 0.0,
    m3: float = 0.0,
    scale: float = 64.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Cross-entropy of scaled cosines with margins on that of the target.

    The logits are :math:`s \cos\theta_c`, that of the target class
    :math:`s (\cos(m_1 \theta + m_2) - m_3)`.

    Parameters
    ----------
    cosine : array of floats, shape (..., C)
        Cosines in [-1, 1]: float16, bfloat16, float32 or float64. That of a target is taken for the
        nearer bound beyond them.
    target : array of integers, shape (...)
        Class indices in [0, C).
    m1, m2, m3
        The three margins, 1, 0 and 0 by default: a positive factor, radians from :math:`-\pi` to
        :math:`\pi`, and of a cosine, from -2 to 2.
    scale : float, default 64
        The scale s.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in `arcface_loss`.
    focal_gamma, annealing, gradient, reduction, workspace, num_threads
        As in `arcface_loss`.

    Returns
    -------
    float or array
        The loss, as in `arcface_loss`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    The slope at the target is kept finite as in `arcface_loss`.

    The same in torch, of the column ``c`` of the target:
    ``cross_entropy(scale * where(one_hot, cos(m1 * acos(c) + m2) - m3, cosine), target)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> cosine = np.array([[0.8, 0.1], [0.3, 0.6]])
    >>> value, gradient = fl.value_and_grad(fl.margin_cross_entropy)(
    ...     cosine, np.array([0, 1]), m2=0.5, scale=4.0
    ... )
    >>> round(value, 4)
    0.6529
    """
    return head(
        {
            "cosine": cosine,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "where": where,
        },
        Margin("combined", _check.three_margins(m1, m2, m3)),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )
