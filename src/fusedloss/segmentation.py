"""Losses of images, whose pixels have classes."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.segmentation import Overlap, lovasz, overlap
from fusedloss._types import Call, Reduction


@loss("logits")
def dice_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Soft Dice loss of every image and class.

    With :math:`p = \mathrm{softmax}(z)` over the classes and the labels :math:`t`, summed over the
    pixels of an image,

    .. math:: \ell = 1 - \frac{2 \sum p t + s}{\sum p + \sum t + s}

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities :math:`z`: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels
        :math:`t` in [0, 1], of any float dtype, the shape of `logits`.
    smooth : float, default 1
        :math:`s`, which makes the loss of a class that neither is there nor predicted 0. With 0 it
        is 0, too, but the loss jumps to 1 with the first probability that does not underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of shape (N, C) and the dtype of `logits`
        for "none".

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    nnU-Net's ``SoftDiceLoss(apply_nonlin=softmax)`` plus 1. The probabilities are never an array;
    in torch they are one, ``torch.softmax(logits, 1)``, and so are one-hot labels.

    References
    ----------
    F. Milletari et al., "V-Net: fully convolutional neural networks for volumetric medical image
    segmentation", 3DV 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> round(fl.dice_loss(logits, [[0, 1]]), 6)
    0.333333
    """
    score = Overlap(0.5, 0.5, _check.not_negative("smooth", smooth) / 2)
    mode = _check.reduction(reduction)
    return overlap, (logits, target, score, (1.0, 0.0), ignore_index, mode, num_threads)


@loss("logits")
def tversky_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Tversky loss of every image and class: Dice with weights for false and missed pixels.

    With :math:`p = \mathrm{softmax}(z)` over the classes and the labels :math:`t`, summed over the
    pixels of an image,

    .. math::

        \ell = 1 - \frac{\sum p t + s}
        {\sum p t + \alpha \sum p (1 - t) + \beta \sum (1 - p) t + s}

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities :math:`z`: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels
        :math:`t` in [0, 1], of any float dtype, the shape of `logits`.
    alpha, beta : float, default 0.5
        The weights of false positives and of false negatives; not negative.
    smooth : float, default 1
        :math:`s`, which makes the loss of a class that neither is there nor predicted 0. With 0 it
        is 0, too, but the loss jumps to 1 with the first probability that does not underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of shape (N, C) and the dtype of `logits`
        for "none".

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    With both weights 1/2 and half the `smooth` it is `dice_loss`, with both 1 `iou_loss`. In torch
    one sums products of ``torch.softmax(logits, 1)`` and one-hot labels.

    References
    ----------
    S. S. M. Salehi et al., "Tversky loss function for image segmentation using 3D fully
    convolutional deep networks", MLMI 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> round(fl.tversky_loss(logits, [[0, 1]], alpha=0.3, beta=0.7), 6)
    0.25
    """
    weights = (_check.not_negative("alpha", alpha), _check.not_negative("beta", beta))
    score = Overlap(*weights, _check.not_negative("smooth", smooth))
    mode = _check.reduction(reduction)
    return overlap, (logits, target, score, (1.0, 0.0), ignore_index, mode, num_threads)


@loss("logits")
def focal_tversky_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Tversky loss of every image and class to a power: :math:`\ell^\gamma`.

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels in
        [0, 1], of any float dtype, the shape of `logits`.
    alpha, beta : float, default 0.3 and 0.7
        The weights of false positives and of false negatives; not negative.
    gamma : float, default 0.75
        The power :math:`\gamma`; positive. Below 1 it favours classes that are nearly right.
    smooth : float, default 1
        What is added to numerator and denominator of the Tversky score. With 0 a class that
        neither is there nor predicted has the loss 0, which jumps to 1 with the first probability
        that does not underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of shape (N, C) and the dtype of `logits`
        for "none".

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    The gradient where the Tversky loss is 0 is 0. In torch a power of what `tversky_loss` says.

    References
    ----------
    N. Abraham and N. M. Khan, "A novel focal Tversky loss function with improved attention U-Net
    for lesion segmentation", ISBI 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> round(fl.focal_tversky_loss(logits, [[0, 1]], gamma=0.5), 6)
    0.5
    """
    weights = (_check.not_negative("alpha", alpha), _check.not_negative("beta", beta))
    power = _check.positive("gamma", gamma)
    score = Overlap(*weights, _check.not_negative("smooth", smooth), power)
    mode = _check.reduction(reduction)
    return overlap, (logits, target, score, (1.0, 0.0), ignore_index, mode, num_threads)


@loss("logits")
def iou_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    smooth: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Soft Jaccard loss of every image and class: one minus intersection over union.

    With :math:`p = \mathrm{softmax}(z)` over the classes and the labels :math:`t`, summed over the
    pixels of an image,

    .. math:: \ell = 1 - \frac{\sum p t + s}{\sum p + \sum t - \sum p t + s}

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities :math:`z`: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels
        :math:`t` in [0, 1], of any float dtype, the shape of `logits`.
    smooth : float, default 1
        :math:`s`, which makes the loss of a class that neither is there nor predicted 0. With 0 it
        is 0, too, but the loss jumps to 1 with the first probability that does not underflow.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of shape (N, C) and the dtype of `logits`
        for "none".

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    References
    ----------
    M. A. Rahman and Y. Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation", ISVC 2016.

    Notes
    -----
    `tversky_loss` with both weights 1: the soft Jaccard distance. In torch one sums products of
    ``torch.softmax(logits, 1)`` and one-hot labels.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> round(fl.iou_loss(logits, [[0, 1]]), 6)
    0.4
    """
    score = Overlap(1.0, 1.0, _check.not_negative("smooth", smooth))
    mode = _check.reduction(reduction)
    return overlap, (logits, target, score, (1.0, 0.0), ignore_index, mode, num_threads)


@loss("logits")
def lovasz_softmax_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Lovász extension of the Jaccard loss of every class, over all images.

    With the errors :math:`m_i` of a class, :math:`1 - p` at its own pixels and :math:`p` at all
    others, sorted from the largest, and :math:`\Delta` the Jaccard loss of mispredicting just the
    first pixels,

    .. math:: \ell = \sum_i m_i \left(\Delta_i - \Delta_{i-1}\right)

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities: float16, bfloat16, float32 or float64.
    target : array of integers, shape (N,) or (N, d1, ...)
        Class indices in [0, C).
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of classes that there are; of the others the loss is 0. If
        there is none it is nan (and its gradient zero).
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of shape (C,) and the dtype of `logits`
        for "none".

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    The probabilities are an array here, and the pixels of a class are sorted. Which of equal errors
    comes first is left open. In torch ``torch.sort`` and ``torch.cumsum`` of each class's errors.

    References
    ----------
    M. Berman et al., "The Lovász-Softmax loss: a tractable surrogate for the optimization of the
    intersection-over-union measure in neural networks", CVPR 2018.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> fl.lovasz_softmax_loss(logits, [[0, 1]])
    0.5
    """
    mode = _check.reduction(reduction)
    return lovasz, (logits, target, ignore_index, mode, num_threads)


@loss("logits", returns="float")
def dice_ce_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    smooth: float = 1.0,
    lambda_dice: float = 1.0,
    lambda_ce: float = 1.0,
    ignore_index: int = -100,
    reduction: Literal["mean", "sum"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Dice loss and cross-entropy in one pass: :math:`\lambda_d\, \ell_d + \lambda_c\, \ell_c`.

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2
        Unnormalised log-probabilities: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels in
        [0, 1], of any float dtype, the shape of `logits`.
    smooth : float, default 1
        As in `dice_loss`.
    lambda_dice, lambda_ce : float, default 1
        The factors of the two; not negative.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count.
    reduction : {"mean", "sum"}, default "mean"
        "mean" divides the Dice losses by the number of images times that of classes, and the
        cross-entropies by the number of pixels that count.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss.

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Like MONAI's ``DiceCELoss(to_onehot_y=True, softmax=True)``, whose Dice loss adds `smooth` once
    to numerator and denominator. In torch two walks: `dice_loss` and
    ``torch.nn.functional.cross_entropy``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> round(fl.dice_ce_loss(logits, [[0, 1]]), 6)
    1.026481
    """
    factors = (
        _check.not_negative("lambda_dice", lambda_dice),
        _check.not_negative("lambda_ce", lambda_ce),
    )
    score = Overlap(0.5, 0.5, _check.not_negative("smooth", smooth) / 2)
    mode = _check.one_of("reduction", reduction, ("mean", "sum"))
    return overlap, (logits, target, score, factors, ignore_index, mode, num_threads)
