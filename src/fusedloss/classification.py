"""Classification losses, row by row, and the softmax helpers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._lower import softmax as lowered
from fusedloss._lower.distillation import distillation
from fusedloss._lower.loss import loss
from fusedloss._lower.rowwise import rowwise
from fusedloss._types import Call, Extras, Output, Reduction

__all__ = [
    "categorical_cross_entropy",
    "cross_entropy",
    "distillation_loss",
    "focal_loss",
    "log_softmax",
    "logsumexp",
    "nll_loss",
    "soft_cross_entropy",
    "softmax",
]


@loss("logits", hessian=True, by_targets=("target",))
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: Sequence[Output] = (),
    num_threads: int | None = None,
) -> Call:
    r"""Softmax cross-entropy between logits and class indices or probabilities.

    With :math:`p = \mathrm{softmax}(z)` over :math:`C` classes, class weights :math:`w`, label
    smoothing :math:`\epsilon`, and a class index :math:`y` or probabilities :math:`t` as target,

    .. math::

        \ell &= -(1 - \epsilon)\, w_y \log p_y - \frac{\epsilon}{C} \sum_c w_c \log p_c \\
        \ell &= -\sum_c w_c \left((1 - \epsilon)\, t_c + \frac{\epsilon}{C}\right) \log p_c

    With a sample weight :math:`v`, a z-loss :math:`\lambda`, an entropy bonus :math:`b` and a
    softcap :math:`s`, the loss is
    :math:`v (\ell + \lambda \log^2 \sum_c e^{z_c} + b \sum_c p_c \log p_c)`, all of it in the
    capped logits :math:`s \tanh(z / s)`.

    Parameters
    ----------
    logits : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities: float16, bfloat16, float32 or float64. -inf rules a class
        out.
    target : array
        Class indices in [0, C): any integer dtype, shape (), (N,) or (N, d1, ...); or
        probabilities: any float dtype, the shape of `logits`. They need not sum to 1;
        `value_and_grad` differentiates in them, too, in float64.
    weight : array of floats, shape (C,), optional
        A weight per class; ones if absent.
        Without label smoothing, a position whose target class has weight 0 is ignored,
        whatever it holds.
    ignore_index : int, default -100
        Positions with this class index are ignored: no loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the class weights of the positions that count, or, for
        probabilities, by the number of positions; each times its sample weight.
    label_smoothing : float in [0, 1], default 0
        The share of each target that is spread evenly over the classes.
    sample_weight : array of floats, shape (), (N,) or (N, d1, ...), optional
        A weight per position; ones if absent.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    softcap : float, optional
        What the logits are bounded by, softly; not at all if absent.
    z_loss : float, default 0
        The weight of the squared log-sum-exp. Its mean is over the positions that count, by their
        sample weights alone.
    entropy_bonus : float, default 0
        What the entropy of the softmax, in nats, is multiplied by and subtracted from the loss: a
        positive one rewards spread. Its mean is taken as that of `z_loss`.
    outputs : sequence of {"lse", "entropy", "accuracy", "log_prob"}, default ()
        What else to return of each position: the log-sum-exp, the entropy of the softmax in nats,
        whether the first maximum of the logits is the target class (of probabilities: their
        first maximum), and the target's log-probability, of class indices only, without label
        smoothing or weights.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the logits' dtype and the positions'
        shape for "none". The mean over no position is nan (and its gradient zero).
    dict of str to array
        Beside the loss, if there are `outputs`: arrays of the positions' shape, float32 (float64
        for float64 logits), 0 where ignored; weights do not change them. They are not
        differentiable.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.
    IndexError
        For a class index that is out of range and not `ignore_index`.

    See Also
    --------
    value_and_grad : the gradient in the same pass.
    grad_and_hess : the gradient and the diagonal of the Hessian.

    Notes
    -----
    No array of the logits' size is made: no log-probabilities, no one-hot targets, no permuted
    copy of (N, C, d1, ...). float16 and bfloat16 are computed in float32. Sums over positions are
    kept in float64. The loss of a confident row and its gradient are right to a few ULP, because
    1 - p is never formed by subtraction. A NaN or +inf in a row, or a row of -inf, makes the loss
    and gradient of that row nan, unless the row is ignored. A zero probability adds nothing,
    even against a logit of -inf.

    The same in torch: ``torch.nn.functional.cross_entropy``.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016
       (label smoothing).
    .. [2] B. Zoph et al., "ST-MoE: Designing Stable and Transferable Sparse Expert Models", 2022
       (z-loss).
    .. [3] Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024
       (softcap).

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> logits = np.array([[0.8, 0.5, 0.2, 0.5], [0.2, 0.9, 0.3, 0.2]])
    >>> round(fl.cross_entropy(logits, np.array([0, 1])), 4)
    1.0208
    >>> fl.cross_entropy(logits, np.eye(4)[:2], reduction="none").round(4)
    array([1.1087, 0.9329])
    """
    extras = None
    if softcap is not None or z_loss != 0 or entropy_bonus != 0 or outputs != ():
        extras = Extras(
            softcap=softcap,
            z_loss=z_loss,
            entropy_bonus=entropy_bonus,
            outputs=_check.outputs(outputs),
        )
    call = _core.SoftmaxCall(  # by position, which is quicker
        _core.CROSS_ENTROPY,
        logits,
        target,
        weight,
        sample_weight,
        ignore_index,
        label_smoothing,
        reduction,
        None,
        num_threads,
        extras,
        where,
    )
    return _core.softmax, (call,)


@loss("log_probs")
def nll_loss(
    log_probs: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Negative log-likelihood :math:`-w_y \log p_y` of class indices.

    Parameters
    ----------
    log_probs : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Log-probabilities, used as they are: float16, bfloat16, float32 or float64.
    target : array of integers, shape (), (N,) or (N, d1, ...)
        Class indices in [0, C).
    weight : array of floats, shape (C,), optional
        A weight per class; ones if absent.
        A position whose target class has weight 0 is ignored, whatever it holds.
    ignore_index : int, default -100
        Positions with this class index are ignored: no loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of class weight times sample weight over the positions that count.
    sample_weight : array of floats, shape (), (N,) or (N, d1, ...), optional
        A weight per position; ones if absent.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `log_probs` and the
        positions' shape for "none".

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
    One value of each row is read; the gradient is zero but for one value of each row. From logits,
    `cross_entropy` saves the log-probabilities. The same in torch:
    ``torch.nn.functional.nll_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> fl.nll_loss(np.array([[-0.5, -1.0], [-2.0, -0.25]]), np.array([0, 1]))
    0.375
    """
    call = _core.SoftmaxCall(
        _core.INDEX_TARGET,
        log_probs,
        target,
        weight=weight,
        sample_weight=sample_weight,
        where=where,
        ignore_index=ignore_index,
        reduction=reduction,
        num_threads=num_threads,
        extras=Extras(prediction=_core.LOG_PROBABILITIES),
    )
    return _core.softmax, (call,)


@loss("probs")
def categorical_cross_entropy(
    probs: ArrayLike,
    target: ArrayLike,
    *,
    axis: int = -1,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    alpha: float | ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Cross-entropy of probabilities, for models that end in a softmax.

    With :math:`q = p / \sum_c p_c`, clipped to :math:`[10^{-7}, 1 - 10^{-7}]`, and label smoothing
    :math:`\epsilon`,

    .. math:: \ell = -\sum_c \alpha_c \left((1 - \epsilon)\, t_c + \frac{\epsilon}{C}\right)
              (1 - q_c)^\gamma \log q_c

    With :math:`\gamma > 0` this is the focal loss of probabilities.

    Parameters
    ----------
    probs : array of floats, any shape of at least one dimension
        Probabilities, which need not sum to 1: float16, bfloat16, float32 or float64.
    target : array
        Class indices: any integer dtype, the shape of `probs` without the axis of classes; or
        probabilities: any float dtype, the shape of `probs`.
    axis : int, default -1
        The axis of classes.
    label_smoothing : float in [0, 1], default 0
        The share of each target that is spread evenly over the classes.
    gamma : float in [0, 64], default 0
        How much well-classified positions count less; 0 gives the cross-entropy.
    alpha : float or array of floats of shape (C,), optional
        The weight of the loss, or one weight per class; ones if absent.
        Without label smoothing, a position whose target class has weight 0 is ignored, whatever it
        holds.
    ignore_index : int, default -100
        Positions with this class index are ignored: no loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the sample weights of the positions that count; not by alpha.
    sample_weight : array of floats, one per position, optional
        Ones if absent.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `probs` and the positions'
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
    Keras' ``categorical_crossentropy`` and ``sparse_categorical_crossentropy``, and with alpha and
    gamma its ``categorical_focal_crossentropy``, whose defaults are 0.25 and 2; no one-hot target
    and no normalised copy is made. Where a probability is clipped its gradient is zero. Under
    gamma, 1 - q is never formed by subtraction from 1, so that it keeps its digits where q is near
    1. From logits, `cross_entropy` and `focal_loss` are faster and exact.

    The same in torch: ``q = (p / p.sum(-1, keepdim=True)).clamp(1e-7, 1 - 1e-7)`` and
    ``-(alpha * t * (1 - q) ** gamma * q.log()).sum(-1).mean()``.

    References
    ----------
    .. [1] T.-Y. Lin et al., "Focal Loss for Dense Object Detection", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> probs = np.array([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
    >>> round(fl.categorical_cross_entropy(probs, np.array([1, 2])), 6)
    1.176939
    >>> round(fl.categorical_cross_entropy(probs, np.array([1, 2]), gamma=2.0, alpha=0.25), 6)
    0.233153
    """
    position = _check.integer("axis", axis)
    if np.ndim(alpha) == 0 and alpha is not None:  # type: ignore[arg-type]
        classes = _check.classes("probs", probs, position)
        alpha = np.full(classes, _check.number("alpha", alpha))
    call = _core.SoftmaxCall(
        _core.CROSS_ENTROPY,
        probs,
        target,
        weight=alpha,
        sample_weight=sample_weight,
        where=where,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        axis=position,
        num_threads=num_threads,
        extras=Extras(prediction=_core.PROBABILITIES, mean_of_positions=True, gamma=gamma),
    )
    return _core.softmax, (call,)


@loss("logits", hessian=True)
def focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | ArrayLike | None = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    outputs: Sequence[Output] = (),
    num_threads: int | None = None,
) -> Call:
    r"""Softmax focal loss :math:`-\alpha_y (1 - p_y)^\gamma \log p_y`.

    Of a distribution :math:`t` of classes, :math:`-\sum_c \alpha_c t_c (1 - p_c)^\gamma \log p_c`.

    Parameters
    ----------
    logits : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (), (N,) or (N, d1, ...); or
        probabilities :math:`t` of any float dtype, the shape of `logits`, for which there is no
        Hessian.
    alpha : float or array of floats of shape (C,), optional
        The weight of the loss, or one weight per class; ones if absent.
        A position whose target class has weight 0 is ignored, whatever it holds.
    gamma : float in [0, 64], default 2
        How much well-classified positions count less; 0 gives the cross-entropy.
    ignore_index : int, default -100
        Positions with this class index are ignored: no loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights;
        not by alpha.
    sample_weight : array of floats, shape (), (N,) or (N, d1, ...), optional
        A weight per position; ones if absent.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    softcap, z_loss, entropy_bonus, outputs
        As in `cross_entropy`; of class indices alone.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the logits' dtype and the positions'
        shape for "none"; with `outputs` a tuple of it and a dict.

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
    No probabilities are materialised. 1 - p is never formed by subtraction, so that loss and
    gradient keep their digits where p is near 1, whatever gamma is.

    The same in torch: ``ce = torch.nn.functional.cross_entropy(logits, target, reduction="none")``
    and ``(alpha[target] * (1 - (-ce).exp()) ** gamma * ce).mean()``.

    References
    ----------
    .. [1] T.-Y. Lin et al., "Focal Loss for Dense Object Detection", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> round(fl.focal_loss(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 1])), 4)
    0.0875
    """
    if np.ndim(alpha) == 0 and alpha is not None:  # type: ignore[arg-type]
        alpha = np.full(_check.classes("logits", logits), _check.number("alpha", alpha))
    if _check.are_shares(logits, target):
        _check.expect_none_of(
            {"softcap": softcap, "z_loss": z_loss, "entropy_bonus": entropy_bonus},
            _check.outputs(outputs),
        )
        return rowwise(
            "focal_loss_of_shares",
            {"logits": logits, "target": target},
            (_check.INDICES_OR_ROWS,),
            (_check.in_range("gamma", gamma, 0, _check.MOST_GAMMA),),
            reduction,
            num_threads,
            weight=alpha,
            sample_weight=sample_weight,
            where=where,
        )
    call = _core.SoftmaxCall(
        _core.INDEX_TARGET,
        logits,
        target,
        weight=alpha,
        sample_weight=sample_weight,
        where=where,
        ignore_index=ignore_index,
        reduction=reduction,
        num_threads=num_threads,
        extras=Extras(
            mean_of_positions=True,
            gamma=gamma,
            softcap=softcap,
            z_loss=z_loss,
            entropy_bonus=entropy_bonus,
            outputs=_check.outputs(outputs),
        ),
    )
    return _core.softmax, (call,)


@loss("logits", by_targets=("target_logits",))
def soft_cross_entropy(
    logits: ArrayLike,
    target_logits: ArrayLike,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Cross-entropy between two softmaxes: the soft target loss of distillation.

    .. math:: \ell = -T^2 \sum_c \mathrm{softmax}(t / T)_c \log \mathrm{softmax}(z / T)_c

    Parameters
    ----------
    logits : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities z: float16, bfloat16, float32 or float64.
    target_logits : array of floats, the shape of `logits`
        The teacher's t, of any of these dtypes. `value_and_grad` differentiates in it, too, in
        float64.
    temperature : float, default 1
        T. The factor of its square keeps the gradient's scale.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions, or the sum of their sample weights.
    sample_weight : array of floats, shape (), (N,) or (N, d1, ...), optional
        A weight per position; ones if absent.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the logits' dtype and the positions'
        shape for "none".

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    The teacher's probabilities exist a block of rows at a time. The same in torch:
    ``T**2 * torch.nn.functional.cross_entropy(z / T, (t / T).softmax(1))``.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> z, t = np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]])
    >>> round(fl.soft_cross_entropy(z, t, temperature=2.0), 4)
    2.4342
    """
    options = (None, temperature, 1.0, -100, reduction, sample_weight, where, False)
    return distillation, (logits, target_logits, *options, num_threads)


@loss("student_logits", by_targets=("teacher_logits",))
def distillation_loss(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike | tuple[ArrayLike, ArrayLike],
    target: ArrayLike | None = None,
    *,
    temperature: float = 1.0,
    alpha: float = 0.5,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Call:
    r"""Distillation: divergence from a teacher, mixed with cross-entropy against labels.

    With the teacher's :math:`q = \mathrm{softmax}(t / T)` and the student's
    :math:`p = \mathrm{softmax}(z / T)`,

    .. math:: \ell = \alpha T^2 \sum_c q_c \log \frac{q_c}{p_c}
              - (1 - \alpha) \log \mathrm{softmax}(z)_y

    Parameters
    ----------
    student_logits : array of floats, shape (C,), (N, C) or (N, C, d1, ...)
        Unnormalised log-probabilities z: float16, bfloat16, float32 or float64.
    teacher_logits : array of floats, the shape of `student_logits`, or a tuple of two arrays
        The teacher's t, of any of these dtypes; or ``(indices, log_probs)`` of its k likeliest
        classes, both of that shape with k for C: log q, used as it is, for the classes listed.
        `value_and_grad` differentiates in logits of all classes, too, in float64.
    target : array of integers, shape (), (N,) or (N, d1, ...), optional
        Class indices in [0, C). Without them alpha is 1.
    temperature : float, default 1
        T.
    alpha : float in [0, 1], default 0.5
        The share of the divergence.
    ignore_index : int, default -100
        Positions with this class index are ignored in both parts.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of positions that count, or the sum of their sample weights.
    sample_weight : array of floats, shape (), (N,) or (N, d1, ...), optional
        A weight per position; ones if absent.
        A position of weight 0 is ignored, whatever it holds.
    where : array of bools, one per position, optional
        Which positions take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the student's dtype and the positions'
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
    Probabilities exist a block of rows at a time; those of a top-k teacher never spread over all
    classes. The same in torch: ``alpha * T**2 * kl_div(log_softmax(z / T, 1), log_softmax(t / T,
    1), log_target=True, reduction="batchmean") + (1 - alpha) * cross_entropy(z, y)``.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> z, t = np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]])
    >>> round(fl.distillation_loss(z, t, np.array([0]), temperature=2.0), 4)
    0.2093
    """
    return distillation, (
        student_logits,
        teacher_logits,
        target,
        temperature,
        alpha,
        ignore_index,
        reduction,
        sample_weight,
        where,
        True,
        num_threads,
    )


# ---- The softmax helpers ----------------------------------------------------------------------


@loss("logits", returns="np.ndarray")
def softmax(logits: ArrayLike, *, axis: int = -1, num_threads: int | None = None) -> Call:
    r"""Softmax along one axis: :math:`p_c = e^{z_c} / \sum_k e^{z_k}`.

    Parameters
    ----------
    logits : array of float16, bfloat16, float32 or float64
        Any shape of at least one dimension.
    axis : int, default -1
        The axis along which the probabilities sum to 1.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    array
        Of the shape and dtype of `logits`.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For an axis that is out of range, or of length 0.

    Notes
    -----
    Differentiable by `value_and_grad`. The same in torch: ``torch.softmax(logits, dim)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.softmax([0.0, 0.0])
    array([0.5, 0.5])
    """
    return lowered.softmax, (logits, axis, num_threads)


@loss("logits", returns="np.ndarray")
def log_softmax(logits: ArrayLike, *, axis: int = -1, num_threads: int | None = None) -> Call:
    r"""Logarithm of the softmax along one axis: :math:`z_c - \log \sum_k e^{z_k}`.

    Parameters
    ----------
    logits : array of float16, bfloat16, float32 or float64
        Any shape of at least one dimension.
    axis : int, default -1
        The axis along which the probabilities sum to 1.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    array
        Of the shape and dtype of `logits`.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For an axis that is out of range, or of length 0.

    Notes
    -----
    Differentiable by `value_and_grad`. The same in torch: ``torch.log_softmax(logits, dim)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.log_softmax([0.0, 0.0]).round(4)
    array([-0.6931, -0.6931])
    """
    return lowered.log_softmax, (logits, axis, num_threads)


@loss("logits", returns="np.ndarray")
def logsumexp(logits: ArrayLike, *, axis: int = -1, num_threads: int | None = None) -> Call:
    r"""Logarithm of the sum of exponentials along one axis: :math:`\log \sum_k e^{z_k}`.

    Parameters
    ----------
    logits : array of float16, bfloat16, float32 or float64
        Any shape of at least one dimension.
    axis : int, default -1
        The axis that is summed over.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    array
        Of the dtype of `logits`, without that axis.

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For an axis that is out of range, or of length 0.

    Notes
    -----
    Differentiable by `value_and_grad`; its gradient is the softmax. The same in torch:
    ``torch.logsumexp(logits, dim)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.logsumexp([[0.0, 0.0], [1.0, 1.0]]).round(4)
    array([0.6931, 1.6931])
    """
    return lowered.logsumexp, (logits, axis, num_threads)
