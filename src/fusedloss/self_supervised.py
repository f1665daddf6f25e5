"""Self-supervised losses of two views of a batch: statistics of features, no negatives."""

from __future__ import annotations

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower import self_supervised
from fusedloss._lower.loss import loss
from fusedloss._types import Call

__all__ = [
    "barlow_twins_loss",
    "vicreg_loss",
]


@loss("embeddings", "ref_embeddings", returns="float")
def vicreg_loss(
    embeddings: ArrayLike,
    ref_embeddings: ArrayLike,
    *,
    invariance_lambda: float = 25.0,
    variance_mu: float = 25.0,
    covariance_v: float = 1.0,
    eps: float = 1e-4,
    num_threads: int | None = None,
) -> Call:
    r"""VICReg: views alike, features that vary, and no two features that vary together.

    .. math::

        \ell = \lambda \frac{1}{N D} \sum_{id} (x_{id} - y_{id})^2
               + \mu \frac{v(X) + v(Y)}{2} + \nu (c(X) + c(Y))

    .. math::

        v(Z) = \frac1D \sum_d \max\Bigl(0, 1 - \sqrt{C_{dd} + \epsilon}\Bigr), \qquad
        c(Z) = \frac1D \sum_{d \ne e} C_{de}^2, \qquad
        C = \frac{1}{N - 1} \sum_i (z_i - \bar z) (z_i - \bar z)^\top

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        One view :math:`X` of at least two samples: float16, bfloat16, float32 or float64.
    ref_embeddings : array of floats, shape (N, D)
        The other view :math:`Y` of the same samples, of the same dtype.
    invariance_lambda : float, default 25.0
        The weight :math:`\lambda` of the distance between the views; not negative.
    variance_mu : float, default 25.0
        The weight :math:`\mu` of the features' missing deviations; not negative.
    covariance_v : float, default 1.0
        The weight :math:`\nu` of the features' covariances; not negative.
    eps : float, default 1e-4
        The number :math:`\epsilon` that is added to variances; not negative.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or fewer than two rows.

    Notes
    -----
    ``VICRegLoss(invariance_lambda, variance_mu, covariance_v, eps)`` of pytorch-metric-learning,
    whose names of options these are, and the authors' code. Computed in float32, or in float64 for
    float64. Some copies of both views are held, and 64 MiB of the covariances of D x D at most.
    Where a feature's deviation is 1, or 0 without `eps`, the variance term has the derivative 0.

    The same in torch:

    ::

        c = [z - z.mean(0) for z in (x, y)]
        v = [relu(1 - (z.var(0) + eps).sqrt()).mean() for z in (x, y)]
        s = [(z.T @ z / (N - 1)).fill_diagonal_(0).square().sum() / D for z in c]
        invariance_lambda * mse_loss(x, y) + variance_mu * sum(v) / 2 + covariance_v * sum(s)

    References
    ----------
    A. Bardes, J. Ponce, Y. LeCun, "VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning", ICLR 2022.

    Examples
    --------
    >>> import fusedloss as fl
    >>> x, y = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]], [[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]]
    >>> round(fl.vicreg_loss(x, y), 4)
    14.385
    """
    options = (
        _check.not_negative("invariance_lambda", invariance_lambda),
        _check.not_negative("variance_mu", variance_mu),
        _check.not_negative("covariance_v", covariance_v),
        _check.not_negative("eps", eps),
    )
    call = self_supervised.of_views(embeddings, ref_embeddings, options, num_threads)
    return self_supervised.vicreg, (call,)


@loss("embeddings", "ref_embeddings", returns="float")
def barlow_twins_loss(
    embeddings: ArrayLike,
    ref_embeddings: ArrayLike,
    *,
    lambd: float = 0.0051,
    eps: float = 1e-5,
    num_threads: int | None = None,
) -> Call:
    r"""Barlow Twins: each feature correlated with itself in the other view, and with no other.

    .. math::

        \ell = \sum_d (1 - C_{dd})^2 + \lambda \sum_{d \ne e} C_{de}^2, \qquad
        C_{de} = \frac1N \sum_i \frac{(x_{id} - \bar x_d) (y_{ie} - \bar y_e)}
                 {\sqrt{(\sigma^2(x_d) + \epsilon) (\sigma^2(y_e) + \epsilon)}}

    Parameters
    ----------
    embeddings : array of floats, shape (N, D)
        One view :math:`x` of at least two samples: float16, bfloat16, float32 or float64.
    ref_embeddings : array of floats, shape (N, D)
        The other view :math:`y` of the same samples, of the same dtype.
    lambd : float, default 0.0051
        The weight :math:`\lambda` of the correlations of different features; not negative.
    eps : float, default 1e-5
        The number :math:`\epsilon` that is added to the variances :math:`\sigma^2`, which are
        sums over N; not negative.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss: a sum over features.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or fewer than two rows.

    Notes
    -----
    The authors' code, whose names and defaults these are (`eps` is that of its
    ``BatchNorm1d(affine=False)``). Computed in float32, or in float64 for float64. Some copies of
    both views are held, and 64 MiB of the correlations of D x D at most. A feature that is constant
    has no correlation, and no gradient.

    The same in torch:

    ::

        a, b = (batch_norm(z, None, None, training=True) for z in (x, y))
        c = a.T @ b / N
        (c.diagonal() - 1).square().sum() + lambd * c.fill_diagonal_(0).square().sum()

    References
    ----------
    J. Zbontar, L. Jing, I. Misra, Y. LeCun, S. Deny, "Barlow Twins: Self-Supervised Learning via
    Redundancy Reduction", ICML 2021.

    Examples
    --------
    >>> import fusedloss as fl
    >>> x, y = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]], [[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]]
    >>> round(fl.barlow_twins_loss(x, y), 4)
    0.0101
    """
    options = (_check.not_negative("lambd", lambd), _check.not_negative("eps", eps))
    call = self_supervised.of_views(embeddings, ref_embeddings, options, num_threads)
    return self_supervised.barlow_twins, (call,)
