"""Proxy losses: pairs and triplets of embeddings and the weights of classes, their proxies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._check import Margin
from fusedloss._lower import linear, manifold, pairs
from fusedloss._lower.heads import head
from fusedloss._lower.loss import loss
from fusedloss._types import Call, Gradient, Reduction

__all__ = [
    "manifold_loss",
    "p2s_grad_loss",
    "proxy_anchor_loss",
    "proxy_nca_loss",
    "soft_triple_loss",
]


@loss("embeddings", "weight")
def proxy_nca_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    softmax_scale: float = 1.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Proxy-NCA: the probability of the embedding's own proxy by squared distances to all.

    .. math:: \ell = -\log \frac{e^{-s\, d(x, w_y)^2}}{\sum_c e^{-s\, d(x, w_c)^2}}

    with :math:`d` the distance of directions. As :math:`d^2 = 2 - 2 \cos\theta` it is
    `normface_loss` with a scale of 2 s.

    Parameters
    ----------
    embeddings, weight, target
        As in `arcface_loss`.
    softmax_scale : float, default 1
        The scale s.
    class_weight, sample_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient
        As in `arcface_loss`.
    reduction, workspace, num_threads
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
    ``ProxyNCALoss(softmax_scale=softmax_scale)`` of pytorch-metric-learning: the own proxy is in
    the sum, which the paper leaves out.

    The same in torch: ``cross_entropy(-softmax_scale * cdist(normalize(embeddings),
    normalize(weight)) ** 2, target)``.

    References
    ----------
    .. [1] Y. Movshovitz-Attias et al., "No Fuss Distance Metric Learning Using Proxies", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.proxy_nca_loss(x, w, np.array([0, 1])), 4)
    0.4832
    """
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
        },
        Margin("combined", (1.0, 0.0, 0.0)),
        2 * _check.scale("softmax_scale", softmax_scale, embeddings),
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def soft_triple_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.01,
    scale: float = 20.0,
    centers_per_class: int = 10,
    gamma: float = 0.1,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""SoftTriple: several centers per class, weighted by their similarity.

    Cross-entropy of the logits :math:`s\, S_c`, that of the target class being :math:`s (S_y - m)`,
    with

    .. math:: S_c = \sum_k \cos\theta_{ck} \frac{e^{\cos\theta_{ck} / \gamma}}
              {\sum_j e^{\cos\theta_{cj} / \gamma}}

    Parameters
    ----------
    embeddings, target
        As in `arcface_loss`.
    weight : array of floats, shape (C K, D)
        The centers, those of a class in successive rows.
    margin : float, default 0.01
        The margin m, of a cosine: from -2 to 2.
    scale : float, default 20
        The scale s, :math:`\lambda` in the paper.
    centers_per_class : int, default 10
        The number K of centers of each class.
    gamma : float, default 0.1
        The temperature :math:`\gamma` at which centers count.
    class_weight, sample_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient
        As in `arcface_loss`.
    reduction, workspace, num_threads
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
    ``SoftTripleLoss(centers_per_class, la=scale, gamma=gamma, margin=margin)`` of
    pytorch-metric-learning.

    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` in the shape
    ``(N, C, K)``: ``s = (softmax(cosine / gamma, -1) * cosine).sum(-1)`` and
    ``cross_entropy(scale * (s - margin * one_hot(target)), target)``.

    References
    ----------
    .. [1] Q. Qian et al., "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1], [2, 0], [0, 3], [-1, 1]])
    >>> round(fl.soft_triple_loss(x, w, np.array([0, 1]), centers_per_class=2), 4)
    0.7527
    """
    centers = _check.count("centers_per_class", centers_per_class)
    return head(
        {
            "embeddings": embeddings,
            "weight": weight,
            "target": target,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
        },
        Margin(
            "combined",
            (1.0, 0.0, _check.cosine_margin("margin", margin)),
            centers=centers,
            temperature=_check.scale("gamma", gamma, embeddings),
        ),
        scale,
        (
            *(ignore_index, label_smoothing, focal_gamma),
            *(annealing, gradient, reduction, workspace, num_threads),
        ),
    )


@loss("embeddings", "weight")
def proxy_anchor_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.1,
    alpha: float = 32.0,
    num_threads: int | None = None,
) -> Call:
    r"""Proxy-Anchor: each proxy pulls the embeddings of its class and pushes others.

    .. math:: \ell = \frac{1}{|C^+|} \sum_{c \in C^+}
              \log\Bigl(1 + \sum_{y_i = c} e^{-\alpha (\cos\theta_{ic} - m)}\Bigr)
              + \frac{1}{|C|} \sum_c
              \log\Bigl(1 + \sum_{y_i \ne c} e^{\alpha (\cos\theta_{ic} + m)}\Bigr)

    with :math:`C^+` the classes of the batch.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        Of any length: float16, bfloat16, float32 or float64.
    weight : array of floats of the same dtype, shape (C, D)
        The proxy of each class, of any length.
    target : array of integers, shape (N,)
        Class indices in [0, C).
    margin : float, default 0.1
        The margin m, of a cosine: from -2 to 2.
    alpha : float, default 32
        The scale :math:`\alpha`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss; its first part is 0 without embeddings.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    ``ProxyAnchorLoss(margin=margin, alpha=alpha)`` of pytorch-metric-learning. Cosines are held for
    a few proxies at a time.

    The same in torch, of ``cosine = normalize(embeddings) @ normalize(weight).T`` and
    ``own = one_hot(target, C).bool()``: ``log1p((exp(-alpha * (cosine - margin)) * own).sum(0))``
    by its sum over ``own.any(0).sum()``, and the mean of
    ``log1p((exp(alpha * (cosine + margin)) * ~own).sum(0))``.

    References
    ----------
    .. [1] S. Kim et al., "Proxy Anchor Loss for Deep Metric Learning", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.proxy_anchor_loss(x, w, np.array([0, 1]), alpha=4.0), 4)
    2.624
    """
    x, w, y = _check.embeddings_of_classes(embeddings, weight, target)
    proxies = np.arange(len(w))
    pulls = 1 / max(len(np.unique(y)), 1)
    call = pairs.PairCall(
        loss="proxy_anchor_loss",
        given={"weight": weight, "embeddings": embeddings, "target": target},
        embeddings=w,
        reference=x,
        labels=proxies,
        reference_labels=y,
        sample_weight=None,
        parameters=(
            *(_check.cosine_margin("margin", margin), _check.positive("alpha", alpha)),
            *(pulls, 1 / len(w)),
        ),
        distance=_core.DOT_PRODUCT,
        normalize=True,
        reduction="sum",
        nonzero=False,
        num_threads=_check.num_threads(num_threads),
        differentiable=("weight", "embeddings"),
    )
    return _of_proxies, (call,)


@loss("embeddings", "weight")
def p2s_grad_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    ignore_index: int = -1,
    reduction: Reduction = "mean",
    workspace: int | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""P2SGrad: the squared error of cosines, without margin or scale.

    .. math:: \ell = \frac 1 C \sum_c (\cos\theta_c - [c = y])^2

    with :math:`\theta_c` the angle between an embedding and the weights of class c. Its gradient by
    a cosine is proportional to the cosine's own error, which the paper puts in the place of the
    probability of the softmax.

    Parameters
    ----------
    embeddings : array of floats, shape (..., D)
        One per position, of any length: float16, bfloat16, float32 or float64.
    weight : array of floats of the same dtype, shape (C, D)
        The weights of each class, of any length and with any strides.
    target : array of integers, shape (...)
        Class indices in [0, C).
    sample_weight : array of floats, shape (...), optional
        A weight per position; ones if absent. "mean" divides by their sum.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, shape (...), optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold.
    ignore_index : int, default -1
        Positions with this class index are ignored: no loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights:
        it is the mean over all positions and classes.
    workspace : int, optional
        About how many bytes may be used besides inputs and gradients; 64 MiB if absent.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the embeddings' dtype and the target's
        shape for "none". The mean over no position is nan (and its gradient zero).

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
    Cosines, and unit vectors of embeddings and weights, exist for one group of classes and one
    chunk of positions at a time, in the workspace. float16 and bfloat16 are computed in float32;
    the gradient by such arrays is summed in a float32 array of their shape beside the workspace.
    Zeros have no direction: their cosines are 0, and so is their gradient. The results have the
    same bits for any number of threads.

    ``P2SGradLoss(descriptors_dim, num_classes)`` of pytorch-metric-learning, whose weights are the
    transpose. It makes them unit vectors before each call instead of differentiating through their
    norms: its gradient by weights has a part along them, too.

    The same in torch: ``mse_loss(normalize(embeddings) @ normalize(weight).T,
    one_hot(target, C).float())``.

    References
    ----------
    .. [1] X. Zhang et al., "P2SGrad: Refined Gradients for Optimizing Deep Face Models", 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.p2s_grad_loss(x, w, np.array([0, 1])), 4)
    0.2492
    """
    given = {
        "embeddings": embeddings,
        "weight": weight,
        "target": target,
        "sample_weight": sample_weight,
        "where": where,
    }
    call = _check.cosine_head(given, reduction, ignore_index, workspace, num_threads)
    return linear.p2s_grad, (call,)


def _of_proxies(
    call: pairs.PairCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Run the kernel of pairs; its anchors, the proxies, are the loss's second argument."""
    if gradient is False:
        return _core.pairwise(call)
    if isinstance(gradient, tuple):
        return _core.pairwise(call, tuple(1 - k for k in gradient), grad_output, out)
    value, (by_embeddings,) = _core.pairwise(call, (1,), grad_output, (out,))
    return value, by_embeddings


@loss("embeddings", "weight")
def manifold_loss(
    embeddings: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    *,
    lambdaC: float = 1.0,
    alpha: float = 0.8,
    margin: float = 5e-4,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Manifold similarity: the own proxy is where a random walk from an embedding ends most often.

    .. math:: \ell_i = L(F_{ik}) + \lambda_C\, L(\cos(F_i, F_k)), \qquad
              L(s_k) = \log\Bigl(1 + \sum_{k \ne y_i} [x_k \ge 0]\, e^{x_k}\Bigr), \quad
              x_k = s_k - s_{y_i} + m

    over the proxies k, with

    .. math:: F = (1 - \alpha) (I - \alpha D^{-1/2} S D^{-1/2})^{-1}, \qquad
              S_{ij} = [i \ne j]\, e^{2 \max(\cos\theta_{ij}, 0)}, \quad D_{ii} = \sum_j S_{ij}

    of the embeddings and the proxies together; :math:`F_i` is a row of F.

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        Of any length: float16, bfloat16, float32 or float64.
    weight : array of floats of the same dtype, shape (K, D)
        The proxies, of any length.
    target : array of integers, shape (N,)
        The proxy of each embedding, in [0, K). These are no classes: the paper draws them anew for
        each of several ensemble members, pytorch-metric-learning for each call.
    lambdaC : float, default 1
        The factor :math:`\lambda_C` of the context loss; inf for that loss alone.
    alpha : float, default 0.8
        The probability :math:`\alpha` of another step, at least 0 and less than 1.
    margin : float, default 5e-4
        The margin m.
    reduction : {"mean", "sum", "none"}, default "mean"
        "none" gives each embedding's loss.
    num_threads : int, optional
        Checked, but of no effect: products and the inverse take the threads of NumPy's BLAS.

    Returns
    -------
    float or array
        The loss: a float, or for "none" an array of shape (N,) and the embeddings' dtype. 0 without
        embeddings.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `arcface_loss`.

    Notes
    -----
    ``ManifoldLoss(D, K, lambdaC, alpha, margin)`` of pytorch-metric-learning, given ``target`` as
    its indices_tuple; but its lambdaC of inf gives inf. F is dense, N + K by N + K, and computed in
    float64 whatever the dtype. A zero embedding has a gradient of 0.

    References
    ----------
    .. [1] N. Aziere, S. Todorovic, "Ensemble Deep Manifold Similarity Learning using Hard Proxies",
       CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> x, w = np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])
    >>> round(fl.manifold_loss(x, w, np.array([0, 1])), 4)
    0.7021
    """
    x, w, y = _check.embeddings_of_classes(embeddings, weight, target)
    share = _check.number("lambdaC", lambdaC)
    if not share >= 0:
        raise ValueError(f"lambdaC is {share}: expected a number of at least 0, or inf")
    _check.num_threads(num_threads)
    call = manifold.Manifold(
        given={"embeddings": embeddings, "weight": weight},
        embeddings=x,
        weight=w,
        target=y,
        alpha=_check.less_than_one("alpha", alpha),
        margin=_check.finite("margin", margin),
        shares=(0.0, 1.0) if share == math.inf else (1.0, share),
        reduction=_check.reduction(reduction),
    )
    return manifold.manifold, (call,)
