"""Losses of bounding boxes: of their intersection over union."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.rowwise import rowwise
from fusedloss._types import Call, Reduction

__all__ = [
    "complete_box_iou_loss",
    "distance_box_iou_loss",
    "generalized_box_iou_loss",
]


@loss("input", "target")
def generalized_box_iou_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    eps: float = 1e-7,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""One less the generalized intersection over union of boxes: from 0, equal, to 2, far apart.

    .. math::

        \ell = 1 - \frac{|x \cap t|}{|x \cup t|} + \frac{|e| - |x \cup t|}{|e|}

    where :math:`e` is the smallest box that encloses both.

    Parameters
    ----------
    input : array of floats, shape (..., 4)
        Boxes :math:`x`, each (x1, y1, x2, y2) with x1 < x2 and y1 < y2: float16, bfloat16, float32
        or float64.
    target : array of real numbers, shape (..., 4)
        The boxes :math:`t` that they should be. The arrays are broadcast against each other.
    eps : float, default 1e-7
        Is added to what divides.
    sample_weight : array of floats, one per box, optional
        A weight per box; ones if absent.
    where : array of bools, one per box, optional
        Which boxes take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of boxes, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per box, of the dtype of
        `input`, for "none". The mean over no box is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Unlike the plain intersection over union it has a gradient where the boxes do not overlap. Edges
    that are equal share a gradient, as in torch. Equivalent to
    ``torchvision.ops.generalized_box_iou_loss(input, target, reduction, eps)``, whose default
    reduction is "none".

    References
    ----------
    H. Rezatofighi et al., "Generalized intersection over union: a metric and a loss for bounding
    box regression", CVPR 2019.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.generalized_box_iou_loss([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 3.0, 2.0]]), 6)
    0.666667
    """
    return _boxes(
        "generalized_box_iou_loss", input, target, eps, sample_weight, where, reduction, num_threads
    )


@loss("input", "target")
def distance_box_iou_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    eps: float = 1e-7,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""One less the intersection over union of boxes, and the distance of their centers.

    .. math::

        \ell = 1 - \frac{|x \cap t|}{|x \cup t|} + \frac{d^2}{c^2}

    where :math:`d` is the distance of the centers and :math:`c` that of opposite corners of the
    smallest box that encloses both.

    Parameters
    ----------
    input : array of floats, shape (..., 4)
        Boxes :math:`x`, each (x1, y1, x2, y2) with x1 < x2 and y1 < y2: float16, bfloat16, float32
        or float64.
    target : array of real numbers, shape (..., 4)
        The boxes :math:`t` that they should be. The arrays are broadcast against each other.
    eps : float, default 1e-7
        Is added to what divides.
    sample_weight : array of floats, one per box, optional
        A weight per box; ones if absent.
    where : array of bools, one per box, optional
        Which boxes take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of boxes, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per box, of the dtype of
        `input`, for "none". The mean over no box is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    Equivalent to ``torchvision.ops.distance_box_iou_loss(input, target, reduction, eps)``, whose
    default reduction is "none".

    References
    ----------
    Z. Zheng et al., "Distance-IoU loss: faster and better learning for bounding box regression",
    AAAI 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.distance_box_iou_loss([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 3.0, 2.0]]), 6)
    0.74359
    """
    return _boxes(
        "distance_box_iou_loss", input, target, eps, sample_weight, where, reduction, num_threads
    )


@loss("input", "target")
def complete_box_iou_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    eps: float = 1e-7,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""One less the intersection over union of boxes, the distance of centers, and the shapes.

    .. math::

        \ell = 1 - \frac{|x \cap t|}{|x \cup t|} + \frac{d^2}{c^2} + \alpha v,
        \quad v = \frac{4}{\pi^2}
            \left( \arctan \frac{w_t}{h_t} - \arctan \frac{w_x}{h_x} \right)^2,
        \quad \alpha = \frac{v}{1 - |x \cap t| / |x \cup t| + v}

    where :math:`d` is the distance of the centers, :math:`c` that of opposite corners of the
    smallest box that encloses both, and :math:`w, h` are widths and heights.

    Parameters
    ----------
    input : array of floats, shape (..., 4)
        Boxes :math:`x`, each (x1, y1, x2, y2) with x1 < x2 and y1 < y2: float16, bfloat16, float32
        or float64.
    target : array of real numbers, shape (..., 4)
        The boxes :math:`t` that they should be. The arrays are broadcast against each other.
    eps : float, default 1e-7
        Is added to what divides.
    sample_weight : array of floats, one per box, optional
        A weight per box; ones if absent.
    where : array of bools, one per box, optional
        Which boxes take part; all do if absent. The others are ignored, whatever they hold: no
        loss, no weight in the mean, zero gradient.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of boxes, or by the sum of `sample_weight`.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float or array
        The loss: a float for "mean" and "sum", an array with one value per box, of the dtype of
        `input`, for "none". The mean over no box is nan (and its gradient zero).

    Raises
    ------
    TypeError
        For a dtype that is not taken.
    ValueError
        For a shape or an option that does not fit.

    Notes
    -----
    :math:`\alpha` is a constant to the gradient, as in the paper and in torchvision. Equivalent to
    ``torchvision.ops.complete_box_iou_loss(input, target, reduction, eps)``, whose default
    reduction is "none".

    References
    ----------
    Z. Zheng et al., "Distance-IoU loss: faster and better learning for bounding box regression",
    AAAI 2020.

    Examples
    --------
    >>> import fusedloss as fl
    >>> round(fl.complete_box_iou_loss([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 3.0, 1.0]]), 6)
    0.898245
    """
    return _boxes(
        "complete_box_iou_loss", input, target, eps, sample_weight, where, reduction, num_threads
    )


def _boxes(
    row: str,
    input: Any,
    target: Any,
    eps: Any,
    sample_weight: Any,
    where: Any,
    reduction: Any,
    num_threads: Any,
) -> Call:
    """Return the call of a loss of boxes, which lie along the last axis."""
    operands = {"input": input, "target": target}
    for name, x in operands.items():
        _check.boxes(name, x)
    return rowwise(
        *(row, operands, (_check.ROWS,), (_check.positive("eps", eps),), reduction, num_threads),
        sample_weight=sample_weight,
        where=where,
        axis=-1,
    )
