"""Classification losses, element by element: two classes, or many labels each on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._lower.loss import loss
from fusedloss._lower.pointwise import pointwise
from fusedloss._types import Array, Call, Extras, Reduction

__all__ = [
    "asymmetric_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_sparsemax_loss",
    "exponential_loss",
    "hinge_loss",
    "logistic_loss",
    "perceptron_loss",
    "sigmoid_focal_loss",
    "soft_margin_loss",
    "squared_hinge_loss",
    "zero_one_loss",
]

#: The alpha of the kernel of the focal loss that stands for none.
OFF = -1.0


@loss("probs", "target")
def binary_cross_entropy(
    probs: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Cross-entropy of probabilities of two classes.

    .. math:: \ell = -t \log p - (1 - t) \log (1 - p)

    Parameters
    ----------
    probs : array of floats
        Probabilities :math:`p` of the class 1, in [0, 1]: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Labels :math:`t` in [0, 1], hard or soft, bool included. The arrays are broadcast against
        each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `probs` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, an option that does not fit, or a value outside of [0, 1].

    Notes
    -----
    As in torch, logarithms are no less than -100, and the :math:`p (1 - p)` that the gradient is
    divided by is no less than 1e-12. From logits, `binary_cross_entropy_with_logits` is faster and
    exact.

    Equivalent to ``torch.nn.functional.binary_cross_entropy(probs, target, weight=weight)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.binary_cross_entropy([[0.4], [0.6]], [[0.0], [1.0]]), 6)
    0.510826
    """
    operands = {"probs": probs, "target": target}
    return pointwise(
        "binary_cross_entropy", operands, (), weight, reduction, num_threads, where=where
    )


@loss("logits", "target", hessian=True)
def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Sigmoid cross-entropy: two classes, or many independent labels.

    .. math:: \ell = -u\, t \log \sigma(z) - (1 - t) \log \sigma(-z)

    Parameters
    ----------
    logits : array of floats
        Logits :math:`z`, any shape: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Labels :math:`t` in [0, 1], hard or soft, bool included. The arrays are broadcast against
        each other.
    pos_weight : array of real numbers, optional
        What the part of the class 1 is multiplied by, :math:`u`: one per label on the last axis, or
        of any shape that broadcasts; 1 if absent.
    label_smoothing : float from 0 to 1, default 0
        The share :math:`\varepsilon` of each label that becomes 1/2: :math:`t` is
        :math:`(1 - \varepsilon)\, t + \varepsilon / 2` then.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    Exact at any logit: 1 - p is never formed by subtraction. Equivalent to
    ``torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight=weight,
    pos_weight=pos_weight)``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.binary_cross_entropy_with_logits([0.0, 1000.0], [1.0, 1.0], reduction="sum"), 4)
    0.6931
    """
    operands = {"logits": logits, "target": target}
    if pos_weight is not None:
        operands["pos_weight"] = pos_weight
    row = "binary_cross_entropy_with_logits"
    parameters = (_check.in_range("label_smoothing", label_smoothing, 0, 1),)
    return pointwise(row, operands, parameters, weight, reduction, num_threads, where=where)


@loss("scores", "target", hessian=True)
def hinge_loss(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Hinge loss: :math:`\max(0, 1 - t f)`.

    Parameters
    ----------
    scores : array of floats
        Scores :math:`f`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Classes :math:`t`, 1 or -1, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `scores` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    At :math:`t f = 1` the subgradient is 0. The loss of support vector machines; in torch ``(1 -
    target * scores).clamp(min=0).mean()``.

    References
    ----------
    C. Cortes, V. Vapnik, "Support-vector networks", Machine Learning 20, 1995.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.hinge_loss([0.5, -1.0], [1, 1])
    1.25
    """
    operands = {"scores": scores, "target": target}
    return pointwise("hinge_loss", operands, (), weight, reduction, num_threads, where=where)


@loss("scores", "target", hessian=True)
def perceptron_loss(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Perceptron loss: :math:`\max(0, -t f)`.

    Parameters
    ----------
    scores : array of floats
        Scores :math:`f`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Classes :math:`t`, 1 or -1, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `scores` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    At :math:`t f = 0` the subgradient is :math:`-t / 2`, in the middle of those that there are, so
    that scores which are all 0 can be trained. Equivalent to ``optax.losses.perceptron_loss(scores,
    target)``; in torch ``(-target * scores).clamp(min=0).mean()``.

    References
    ----------
    F. Rosenblatt, "The perceptron: a probabilistic model for information storage and organization
    in the brain", Psychological Review 65(6), 1958.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.perceptron_loss([0.5, -1.0], [1, 1])
    0.5
    """
    operands = {"scores": scores, "target": target}
    return pointwise("perceptron_loss", operands, (), weight, reduction, num_threads, where=where)


@loss("scores", "target", hessian=True)
def squared_hinge_loss(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Squared hinge loss: :math:`\max(0, 1 - t f)^2`.

    Parameters
    ----------
    scores : array of floats
        Scores :math:`f`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Classes :math:`t`, 1 or -1, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `scores` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    Its gradient is continuous; the Hessian at :math:`t f = 1` is 0. In torch ``(1 - target *
    scores).clamp(min=0).square().mean()``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.squared_hinge_loss([0.5, -1.0], [1, 1])
    2.125
    """
    operands = {"scores": scores, "target": target}
    return pointwise(
        "squared_hinge_loss", operands, (), weight, reduction, num_threads, where=where
    )


@loss("scores", "target", hessian=True)
def exponential_loss(
    scores: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    """Exponential loss: :math:`e^{-t f}`.

    Parameters
    ----------
    scores : array of floats
        Scores :math:`f`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Classes :math:`t`, 1 or -1, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `scores` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    What AdaBoost minimises. In torch ``torch.exp(-target * scores).mean()``.

    References
    ----------
    Y. Freund, R. E. Schapire, "A decision-theoretic generalization of on-line learning and an
    application to boosting", Journal of Computer and System Sciences 55(1), 1997.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.exponential_loss([0.0], [1])
    1.0
    """
    operands = {"scores": scores, "target": target}
    return pointwise("exponential_loss", operands, (), weight, reduction, num_threads, where=where)


@loss("input", "target", hessian=True)
def soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Logistic loss of classes 1 and -1: :math:`\log(1 + e^{-t x})`.

    Parameters
    ----------
    input : array of floats
        Scores :math:`x`: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Classes :math:`t`, 1 or -1, of any real dtype. The arrays are broadcast against each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `input` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    Finite at any score. `logistic_loss` is the same function. Equivalent to
    ``torch.nn.functional.soft_margin_loss(input, target)``, which overflows for scores below -88.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.soft_margin_loss([0.0, -1000.0], [1, 1], reduction="sum"), 4)
    1000.6931
    """
    operands = {"input": input, "target": target}
    return pointwise("soft_margin_loss", operands, (), weight, reduction, num_threads, where=where)


logistic_loss = soft_margin_loss


@loss("logits", "target", hessian=True)
def binary_sparsemax_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Sparsemax loss of two classes, or of many independent labels.

    .. math::

        \ell = s(z) - t z, \quad s(z) = \begin{cases}
        0 & z \le -1 \\ (z + 1)^2 / 4 & -1 < z < 1 \\ z & z \ge 1 \end{cases}

    the counterpart of `binary_cross_entropy_with_logits`, whose :math:`s` is :math:`\log(1 + e^z)`.
    The probability of the class 1 is :math:`s'(z)`: :math:`(z + 1) / 2`, cut off at 0 and 1.

    Parameters
    ----------
    logits : array of floats
        Logits :math:`z`, any shape: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Labels :math:`t` in [0, 1], hard or soft, bool included. The arrays are broadcast against
        each other.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    What is certain has loss and gradient 0: right labels beyond a margin of 1. The Hessian at
    :math:`|z| = 1` is 0. The same as `sparsemax_loss` of the scores :math:`(0, z)`. Equivalent to
    ``optax.losses.sparsemax_loss(logits, target)`` for labels 0 and 1; torch has no such loss.

    References
    ----------
    A. F. T. Martins and R. F. Astudillo, "From softmax to sparsemax", ICML 2016; M. Blondel, A. F.
    T. Martins, V. Niculae, "Learning with Fenchel-Young losses", JMLR 21, 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.binary_sparsemax_loss([0.0, 2.0, 2.0], [1, 1, 0], reduction="none")
    array([0.25, 0.  , 2.  ])
    """
    operands = {"logits": logits, "target": target}
    return pointwise(
        "binary_sparsemax_loss", operands, (), weight, reduction, num_threads, where=where
    )


@loss("logits", "target", hessian=True)
def sigmoid_focal_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Sigmoid focal loss: two classes, or many independent labels.

    .. math::

        \ell = (\alpha t + (1 - \alpha) (1 - t))\, (1 - q)^\gamma\, c, \quad
        q = t p + (1 - t) (1 - p), \quad p = \sigma(z)

    :math:`c` being the cross-entropy :math:`-t \log p - (1 - t) \log (1 - p)`.

    Parameters
    ----------
    logits : array of floats
        Logits :math:`z`, any shape: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Labels :math:`t` in [0, 1], hard or soft, bool included. The arrays are broadcast against
        each other.
    alpha : float in [0, 1], optional
        The weight of the class 1, :math:`\alpha`, that of the class 0 being :math:`1 - \alpha`.
        None: both 1.
    gamma : float in [0, 64], default 2
        How much well-classified elements count less; 0 gives the cross-entropy.
    label_smoothing : float from 0 to 1, default 0
        The share :math:`\varepsilon` of each label that becomes 1/2: :math:`t` is
        :math:`(1 - \varepsilon)\, t + \varepsilon / 2` then.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    1 - q is never formed by subtraction: loss, gradient and Hessian keep their digits at any logit,
    and are finite for any gamma. The Hessian may be negative. The same as
    ``torchvision.ops.sigmoid_focal_loss(logits, target, alpha, gamma, reduction="mean")``, where an
    alpha of -1 stands for None.

    References
    ----------
    T.-Y. Lin et al., "Focal Loss for Dense Object Detection", 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.sigmoid_focal_loss([2.0, 0.0], [1, 1], reduction="sum"), 4)
    0.0438
    """
    operands = {"logits": logits, "target": target}
    parameters = (
        OFF if alpha is None else _check.in_range("alpha", alpha, 0, 1),
        _check.in_range("gamma", gamma, 0, _check.MOST_GAMMA),
        _check.in_range("label_smoothing", label_smoothing, 0, 1),
    )
    return pointwise(
        "sigmoid_focal_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


@loss("logits", "target")
def asymmetric_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    gamma_neg: float = 4.0,
    gamma_pos: float = 1.0,
    clip: float = 0.05,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Asymmetric loss for multi-label classification, where most labels are 0.

    .. math::

        \ell = -t\, (1 - p)^{\gamma_+} \log p - (1 - t)\, m^{\gamma_-} \log (1 - m), \quad
        p = \sigma(z), \quad m = \max(p - c, 0)

    Parameters
    ----------
    logits : array of floats
        Logits :math:`z`, any shape: float16, bfloat16, float32 or float64.
    target : array of real numbers
        Labels :math:`t` in [0, 1], hard or soft, bool included. The arrays are broadcast against
        each other.
    gamma_neg : float in [0, 64], default 4
        How much well-classified labels 0 count less, :math:`\gamma_-`.
    gamma_pos : float in [0, 64], default 1
        The same of labels 1, :math:`\gamma_+`.
    clip : float in [0, 1), default 0.05
        The probability :math:`c` below which a label of 0 adds nothing to the loss.
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none". The
        mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes that do not broadcast, or an option that does not fit.

    Notes
    -----
    timm's ``AsymmetricLossMultiLabel``, element by element, but for its clamp of logarithms at
    :math:`\log 10^{-8}`; in torch ``p = z.sigmoid()``, ``m = (p - clip).clamp(min=0)`` and ``-(t *
    (1 - p)**gamma_pos * p.log() + (1 - t) * m**gamma_neg * (1 - m).log()).sum()``.

    References
    ----------
    T. Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.asymmetric_loss([0.0, -4.0], [1, 0], reduction="sum"), 4)
    0.3466
    """
    operands = {"logits": logits, "target": target}
    parameters = (
        _check.in_range("gamma_neg", gamma_neg, 0, _check.MOST_GAMMA),
        _check.in_range("gamma_pos", gamma_pos, 0, _check.MOST_GAMMA),
        _check.less_than_one("clip", clip),
    )
    return pointwise(
        "asymmetric_loss", operands, parameters, weight, reduction, num_threads, where=where
    )


def _zero_one_of_scores(
    scores: Array,
    target: Array,
    weight: Any,
    where: Any,
    reduction: Any,
    num_threads: Any,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), by the accuracy that the softmax family's kernels give."""
    masked = None
    if where is not None:
        mask, shape = _check.bools("where", where), np.shape(target)
        _check.broadcast_to_first({"target": shape, "where": mask.shape})
        masked = np.broadcast_to(mask, shape)
    call = _core.SoftmaxCall(
        *(_core.INDEX_TARGET, scores, target),
        ignore_index=_check.NOTHING_IGNORED,
        reduction="sum",
        num_threads=num_threads,
        extras=Extras(outputs=("accuracy",)),
        where=masked,
    )
    _, found = _core.softmax(call)
    operands = {"prediction": found["accuracy"], "target": np.ones_like(found["accuracy"])}
    kernel, arguments = pointwise(
        "zero_one_loss", operands, (), weight, reduction, num_threads, where=where
    )
    value, _ = kernel(*arguments, True, grad_output)
    if isinstance(value, np.ndarray):
        value = value.astype(scores.dtype.newbyteorder("="))
    if not gradient:
        return value
    inputs = {"target": target, "weight": weight, "where": where, "grad_output": grad_output}
    return value, _check.zeros_like("prediction", scores, out, inputs)


@loss("prediction")
def zero_one_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Share of wrong predictions: 0 where a class is right, 1 where it is not.

    .. math:: \ell = [\hat y \ne y]

    Parameters
    ----------
    prediction : array
        Classes, of any integer or float dtype; or scores of floats, shape (C,), (N, C) or (N, C,
        d1, ...), whose first maximum is the class.
    target : array of real numbers
        The true classes: for classes an array that broadcasts against them, for scores one of
        integers in [0, C), shape (), (N,) or (N, d1, ...).
    weight : array of real numbers, optional
        What the loss of each element is multiplied by; ones if absent.
        An element of weight 0 adds nothing to the loss and has a zero gradient, whatever it holds.
    where : array of bools, optional
        Which elements take part, of any shape that broadcasts; all do if absent. The others are
        left out, whatever they hold: no loss, no part in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the prediction's dtype, float64 for
        integers, for "none". The mean over no element is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For shapes or an option that do not fit.
    IndexError
        For a class that is out of range for the scores.

    Notes
    -----
    The gradient is zero everywhere. For scores of C classes in torch: ``(scores.argmax(1) !=
    target).double().mean()``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.zero_one_loss([1, 2, 3, 3], [1, 2, 3, 4])
    0.25
    >>> fl.zero_one_loss([[0.1, 0.9], [0.8, 0.2]], [1, 1], reduction="none")
    array([0., 1.])
    """
    given, classes, of_scores = _check.scores_or_classes(prediction, target)
    if of_scores:
        return _zero_one_of_scores, (given, classes, weight, where, reduction, num_threads)
    operands = {"prediction": given, "target": classes}
    return pointwise("zero_one_loss", operands, (), weight, reduction, num_threads, where=where)
