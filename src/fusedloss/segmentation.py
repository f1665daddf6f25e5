"""Losses of images, whose pixels have classes."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._check import Images
from fusedloss._lower.loss import loss
from fusedloss._lower.segmentation import GeneralizedDice, Overlap, lovasz, overlap
from fusedloss._types import Activation, Call, Reduction

__all__ = [
    "dice_ce_loss",
    "dice_loss",
    "focal_tversky_loss",
    "generalized_dice_loss",
    "iou_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "tversky_loss",
]


@loss("logits")
def dice_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Soft Dice loss of every image and class.

    With :math:`p`, the softmax over the classes or what `activation` says, and the labels
    :math:`t`, summed over the pixels of an image,

    .. math:: \ell = 1 - \frac{2 \sum p t + s}{\sum p + \sum t + s}

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities :math:`z`, or probabilities: float16, bfloat16, float32
        or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels :math:`t`
        in [0, 1], of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    smooth : float, default 1
        :math:`s`, which makes the loss of a class that neither is there nor predicted 0. With 0 it
        is 0, too, but the loss jumps to 1 with the first probability that does not underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What :math:`p` is: the softmax over the classes; the sigmoid of each logit, of labels
        that do not exclude each other; or, for None, `logits` as they are.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : array of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides; ones if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none", of
        shape (N, C): without N for all images together, without the class of a background that
        is left out.

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
    in torch they are one, ``torch.softmax(logits, 1)``, and so are one-hot labels. What the losses
    of MONAI, segmentation-models-pytorch and nnU-Net are here: docs/guides/segmentation.md.

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
    images = Images(
        *(logits, target, activation, batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    score = Overlap(0.5, 0.5, _check.not_negative("smooth", smooth) / 2)
    return overlap, (images, score, (1.0, 0.0), 0.0, _check.reduction(reduction))


@loss("logits")
def tversky_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Tversky loss of every image and class: Dice with weights for false and missed pixels.

    With :math:`p`, the softmax over the classes or what `activation` says, and the labels
    :math:`t`, summed over the pixels of an image,

    .. math::

        \ell = 1 - \frac{\sum p t + s}
        {\sum p t + \alpha \sum p (1 - t) + \beta \sum (1 - p) t + s}

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities :math:`z`, or probabilities: float16, bfloat16, float32
        or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels :math:`t`
        in [0, 1], of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    alpha, beta : float, default 0.5
        The weights of false positives and of false negatives; not negative.
    smooth : float, default 1
        :math:`s`, which makes the loss of a class that neither is there nor predicted 0. With 0 it
        is 0, too, but the loss jumps to 1 with the first probability that does not underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What :math:`p` is: the softmax over the classes; the sigmoid of each logit, of labels
        that do not exclude each other; or, for None, `logits` as they are.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : array of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides; ones if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none", of
        shape (N, C): without N for all images together, without the class of a background that
        is left out.

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
    images = Images(
        *(logits, target, activation, batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    weights = (_check.not_negative("alpha", alpha), _check.not_negative("beta", beta))
    score = Overlap(*weights, _check.not_negative("smooth", smooth))
    return overlap, (images, score, (1.0, 0.0), 0.0, _check.reduction(reduction))


@loss("logits")
def focal_tversky_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Tversky loss of every image and class to a power: :math:`\ell^\gamma`.

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels
        in [0, 1], of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    alpha, beta : float, default 0.3 and 0.7
        The weights of false positives and of false negatives; not negative.
    gamma : float, default 0.75
        The power :math:`\gamma`; positive. Below 1 it favours classes that are nearly right.
    smooth : float, default 1
        What is added to numerator and denominator of the Tversky score. With 0 a class that
        neither is there nor predicted has the loss 0, which jumps to 1 with the first probability
        that does not underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What a probability is: the softmax over the classes; the sigmoid of each logit, of labels
        that do not exclude each other; or, for None, `logits` as they are.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : array of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides; ones if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none", of
        shape (N, C): without N for all images together, without the class of a background that
        is left out.

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
    images = Images(
        *(logits, target, activation, batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    weights = (_check.not_negative("alpha", alpha), _check.not_negative("beta", beta))
    power = _check.positive("gamma", gamma)
    score = Overlap(*weights, _check.not_negative("smooth", smooth), power)
    return overlap, (images, score, (1.0, 0.0), 0.0, _check.reduction(reduction))


@loss("logits")
def iou_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    smooth: float = 1.0,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Soft Jaccard loss of every image and class: one minus intersection over union.

    With :math:`p`, the softmax over the classes or what `activation` says, and the labels
    :math:`t`, summed over the pixels of an image,

    .. math:: \ell = 1 - \frac{\sum p t + s}{\sum p + \sum t - \sum p t + s}

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities :math:`z`, or probabilities: float16, bfloat16, float32
        or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels :math:`t`
        in [0, 1], of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    smooth : float, default 1
        :math:`s`, which makes the loss of a class that neither is there nor predicted 0. With 0 it
        is 0, too, but the loss jumps to 1 with the first probability that does not underflow.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What :math:`p` is: the softmax over the classes; the sigmoid of each logit, of labels
        that do not exclude each other; or, for None, `logits` as they are.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : array of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides; ones if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of classes.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none", of
        shape (N, C): without N for all images together, without the class of a background that
        is left out.

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
    `tversky_loss` with both weights 1: the soft Jaccard distance. In torch one sums products of
    ``torch.softmax(logits, 1)`` and one-hot labels.

    References
    ----------
    M. A. Rahman and Y. Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation", ISVC 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> round(fl.iou_loss(logits, [[0, 1]]), 6)
    0.4
    """
    images = Images(
        *(logits, target, activation, batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    score = Overlap(1.0, 1.0, _check.not_negative("smooth", smooth))
    return overlap, (images, score, (1.0, 0.0), 0.0, _check.reduction(reduction))


@loss("logits")
def generalized_dice_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight_type: Literal["square", "simple", "uniform"] = "square",
    smooth: float = 1e-5,
    activation: Activation = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Dice loss of every image, whose classes count by the inverse of their size.

    With :math:`p`, the softmax over the classes or what `activation` says, and the labels
    :math:`t`, summed over the pixels of an image, and :math:`w_c = 1 / (\sum t_c)^2`,

    .. math::

        \ell = 1 - \frac{2 \sum_c w_c \sum p_c t_c + s}
        {\sum_c w_c \left(\sum p_c + \sum t_c\right) + s}

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities :math:`z`, or probabilities: float16, bfloat16, float32
        or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels :math:`t`
        in [0, 1], of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    weight_type : {"square", "simple", "uniform"}, default "square"
        What :math:`w_c` is: the inverse of the square of the sum of labels, of that sum, or 1. A
        class that is not there has the largest weight of the image.
    smooth : float, default 1e-5
        :math:`s`. With 0 an image without labels and probabilities has the loss 0.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What :math:`p` is: the softmax over the classes; the sigmoid of each logit, of labels
        that do not exclude each other; or, for None, `logits` as they are.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : array of floats, shape (C,), optional
        Factors of :math:`w_c`; ones if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none", of
        shape (N,), or () for all images together.

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
    MONAI's ``GeneralizedDiceLoss(to_onehot_y=True, softmax=True)``. The weights are constants for
    the gradient. In torch the sums are ``(p * t).sum((2, 3))`` and so on, for every image.

    References
    ----------
    C. H. Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly
    unbalanced segmentations", DLMIA 2017.

    Examples
    --------
    >>> import fusedloss as fl
    >>> logits = [[[0.0, 0.0], [0.0, 0.0]]]
    >>> round(fl.generalized_dice_loss(logits, [[0, 1]]), 6)
    0.499999
    """
    images = Images(
        *(logits, target, activation, batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    kind = _check.one_of("weight_type", weight_type, ("square", "simple", "uniform"))
    score = GeneralizedDice(kind, _check.not_negative("smooth", smooth))
    return overlap, (images, score, (1.0, 0.0), 0.0, _check.reduction(reduction))


@loss("logits")
def lovasz_softmax_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    activation: Activation = "softmax",
    batch: bool = True,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
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
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities, or probabilities: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels, 0 or 1,
        of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    activation : {"softmax", "sigmoid"} or None, default "softmax"
        What :math:`p` is: the softmax over the classes; the sigmoid of each logit, of labels
        that do not exclude each other; or, for None, `logits` as they are.
    batch : bool, default True
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a loss. It has a place in the softmax in any case.
    class_weight : array of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum over those that there are a mean divides; ones
        if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of classes that there are, of each image, and by the number of
        images that have any; of other classes the loss is 0. If there is none it is nan (and its
        gradient zero).
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none", of
        shape (N, C): without N for all images together, without the class of a background that
        is left out.

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or a label that is neither 0 nor 1.

    Notes
    -----
    Berman's ``lovasz_softmax``, whose ``per_image=True`` is ``batch=False``. Each class's errors
    are sorted by a task of its own; of equal ones any comes first. In torch ``torch.sort`` and
    ``torch.cumsum`` of each class's errors.

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
    images = Images(
        *(logits, target, activation, batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    return lovasz, (images, False, _check.reduction(reduction))


@loss("logits")
def lovasz_hinge_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    batch: bool = False,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Lovász extension of the Jaccard loss of every image and label, of hinge errors.

    With the errors :math:`m_i = \max(0, 1 - z)` of a label's own pixels and
    :math:`\max(0, 1 + z)` of all others, sorted from the largest, and :math:`\Delta` the Jaccard
    loss of mispredicting just the first pixels,

    .. math:: \ell = \sum_i m_i \left(\Delta_i - \Delta_{i-1}\right)

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...)
        Scores :math:`z` of labels: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels, 0 or 1,
        of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether label 0 has a loss.
    class_weight : array of floats, shape (C,), optional
        Weights of the classes' losses, by whose sum a mean divides; ones if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count, and neither do labels that equal it.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of images times that of labels.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array of the dtype of `logits` for "none", of
        shape (N, C): without N for all images together, without the class of a background that
        is left out.

    Raises
    ------
    IndexError
        For a class index that is out of range.
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit, or a label that is neither 0 nor 1.

    Notes
    -----
    Berman's ``lovasz_hinge``, whose ``per_image=True`` is ``batch=False``, of C labels that do not
    exclude each other; and segmentation-models-pytorch's ``LovaszLoss`` of labels, with
    ``batch=True``. Errors of 0 have the gradient 0.

    References
    ----------
    M. Berman et al., "The Lovász-Softmax loss: a tractable surrogate for the optimization of the
    intersection-over-union measure in neural networks", CVPR 2018; J. Yu and M. Blaschko, "The
    Lovász hinge: a novel convex surrogate for submodular losses", 2015.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.lovasz_hinge_loss([[[0.5, -2.0, 0.0]]], [[1, 0, 0]])
    0.75
    """
    images = Images(
        *(logits, target, None, batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    return lovasz, (images, True, _check.reduction(reduction))


@loss("logits", returns="float")
def dice_ce_loss(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    smooth: float = 1.0,
    lambda_dice: float = 1.0,
    lambda_ce: float = 1.0,
    activation: Literal["softmax", "sigmoid"] = "softmax",
    batch: bool = False,
    include_background: bool = True,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Literal["mean", "sum"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Dice loss and cross-entropy in one pass: :math:`\lambda_d\, \ell_d + \lambda_c\, \ell_c`.

    Parameters
    ----------
    logits : array of floats, shape (N, C) or (N, C, d1, ...), C at least 2 with the softmax
        Unnormalised log-probabilities: float16, bfloat16, float32 or float64.
    target : array
        Class indices in [0, C): any integer dtype, shape (N,) or (N, d1, ...); or labels
        in [0, 1], of any real dtype: the shape of `logits`, or that of its pixels if C is 1.
    smooth : float, default 1
        As in `dice_loss`.
    lambda_dice, lambda_ce : float, default 1
        The factors of the two; not negative.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What a probability is: the softmax over the classes; or the sigmoid of each logit, of labels
        that do not exclude each other, whose cross-entropy is the binary one.
    batch : bool, default False
        Whether the pixels of all images are one image's.
    include_background : bool, default True
        Whether class 0 has a Dice loss. The cross-entropy is of all classes.
    class_weight : array of floats, shape (C,), optional
        Weights of the classes' Dice losses and cross-entropies; ones if absent.
    sample_weight : array of floats, shape (N,) or (N, d1, ...), optional
        Weights of the pixels in every sum; ones if absent. Pixels of weight 0 do not count.
    label_smoothing : float from 0 to 1, default 0
        The share :math:`\varepsilon` of the cross-entropy's labels that is spread evenly over the
        classes, or over yes and no.
    ignore_index : int, default -100
        Pixels whose class index equals it do not count; without the softmax, neither do labels
        that equal it.
    reduction : {"mean", "sum"}, default "mean"
        "mean" divides the Dice losses by the number of images times that of classes, and the
        cross-entropies by the number of pixels that count, each by its index's class weight; with
        sigmoids by that of labels, each by its class's weight.
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
    images = Images(
        *(logits, target, _check.logits_or_sigmoids(activation), batch, include_background),
        *(class_weight, sample_weight, ignore_index, num_threads),
    )
    score = Overlap(0.5, 0.5, _check.not_negative("smooth", smooth) / 2)
    smoothing = _check.in_range("label_smoothing", label_smoothing, 0, 1)
    mode = _check.one_of("reduction", reduction, ("mean", "sum"))
    return overlap, (images, score, factors, smoothing, mode)
