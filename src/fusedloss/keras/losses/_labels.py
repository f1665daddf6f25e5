"""The losses of this package of logits and class indices, as losses of Keras."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.src.backend import set_keras_mask  # as in _classification

from fusedloss.keras._accelerate import Tensor, axis_of, classes_second, positions, without
from fusedloss.keras.losses._own import OwnLoss, evaluate_own, labels_of, register


def _indices(y_true: Tensor, y_pred: Tensor, axis: int) -> Tensor:
    """Return class indices without an axis of length 1 in the place of the classes."""
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis=axis)
    return labels_of(y_true)


@register
class FocalLoss(OwnLoss):
    """Softmax focal loss of class indices: `fusedloss.focal_loss`.

    Parameters
    ----------
    alpha : float or list of float, optional
        The weight of the loss, or one weight per class.
    gamma : float in [0, 64], default 2
        How much less positions count that are classified well.
    ignore_class : int, optional
        Positions of this class are masked: no loss, no place in the mean, no gradient.
    axis : int, default -1
        The axis of the classes of `y_pred`, which holds logits. `y_true` has the other axes.
    reduction, name, dtype
        As in `keras.losses.Loss`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import FocalLoss
    >>> y_true = np.array([1], "float32")
    >>> y_pred = np.array([[0.0, 2.0]], "float32")
    >>> round(float(FocalLoss()(y_true, y_pred)), 4)
    0.0018
    """

    loss = "focal_loss"

    def __init__(
        self,
        alpha: float | list[float] | None = None,
        gamma: float = 2.0,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        options = {"alpha": alpha, "gamma": gamma, "ignore_class": ignore_class, "axis": axis}
        super().__init__(reduction, name, dtype, **options)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Compute the loss of each position."""
        options = dict(self.options)
        axis = axis_of(options.pop("axis"), len(y_pred.shape))
        labels = _indices(y_true, y_pred, axis)
        if (ignored := options.pop("ignore_class")) is not None:
            options["ignore_index"] = ignored
        if isinstance(options["alpha"], list | tuple):
            options["alpha"] = ops.convert_to_tensor(options["alpha"], y_pred.dtype)
        given = (classes_second(y_pred, axis), positions(labels, axis))
        losses = evaluate_own(self.loss, *given, **options)
        losses = ops.reshape(losses, without(ops.shape(y_pred), axis))
        if ignored is not None:
            set_keras_mask(losses, ops.not_equal(labels, ignored))
        return losses


class Overlap(OwnLoss):
    """A loss of regions: of images of logits, and of class indices."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Compute the loss of each image and class."""
        logits, losses = self.evaluate(y_true, y_pred)
        return ops.reshape(losses, ops.shape(logits)[:2])

    def evaluate(self, y_true: Tensor, y_pred: Tensor, **more: Any) -> tuple[Tensor, Tensor]:
        """Return the logits with the classes second, and the loss."""
        options = dict(self.options)
        axis = axis_of(options.pop("axis"), len(y_pred.shape))
        if (ignored := options.pop("ignore_class")) is not None:
            options["ignore_index"] = ignored
        logits, labels = ops.moveaxis(y_pred, axis, 1), _indices(y_true, y_pred, axis)
        return logits, evaluate_own(self.loss, logits, labels, **options, **more)


@register
class DiceLoss(Overlap):
    """Dice loss of the softmax of logits: `fusedloss.dice_loss`.

    Parameters
    ----------
    smooth : float, default 1
        What is added to both sides of the fraction.
    ignore_class : int, optional
        Pixels of this class do not count.
    axis : int, default -1
        The axis of the classes of `y_pred`, which holds logits; the first axis is that of the
        images. `y_true` holds class indices and has the other axes.
    reduction, name, dtype
        As in `keras.losses.Loss`. There is a loss for each image and class.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import DiceLoss
    >>> y_true = np.array([[[0, 1]]], "float32")
    >>> y_pred = np.array([[[[2.0, 0.0], [0.0, 1.0]]]], "float32")
    >>> round(float(DiceLoss()(y_true, y_pred)), 4)
    0.1297
    """

    loss = "dice_loss"

    def __init__(
        self,
        smooth: float = 1.0,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        options = {"smooth": smooth}
        super().__init__(reduction, name, dtype, **options, ignore_class=ignore_class, axis=axis)


@register
class IoULoss(Overlap):
    """Jaccard loss of the softmax of logits: `fusedloss.iou_loss`.

    Parameters
    ----------
    smooth : float, default 1
        What is added to both sides of the fraction.
    ignore_class : int, optional
        Pixels of this class do not count.
    axis : int, default -1
        The axis of the classes of `y_pred`, which holds logits; the first axis is that of the
        images. `y_true` holds class indices and has the other axes.
    reduction, name, dtype
        As in `keras.losses.Loss`. There is a loss for each image and class.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import IoULoss
    >>> y_true = np.array([[[0, 1]]], "float32")
    >>> y_pred = np.array([[[[2.0, 0.0], [0.0, 1.0]]]], "float32")
    >>> round(float(IoULoss()(y_true, y_pred)), 4)
    0.1771
    """

    loss = "iou_loss"

    def __init__(
        self,
        smooth: float = 1.0,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        options = {"smooth": smooth}
        super().__init__(reduction, name, dtype, **options, ignore_class=ignore_class, axis=axis)


@register
class TverskyLoss(Overlap):
    """Tversky loss of the softmax of logits: `fusedloss.tversky_loss`.

    Parameters
    ----------
    alpha, beta : float
        The weights of false positives and of false negatives.
    smooth : float, default 1
        What is added to both sides of the fraction.
    ignore_class : int, optional
        Pixels of this class do not count.
    axis : int, default -1
        The axis of the classes of `y_pred`, which holds logits; the first axis is that of the
        images. `y_true` holds class indices and has the other axes.
    reduction, name, dtype
        As in `keras.losses.Loss`. There is a loss for each image and class.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import TverskyLoss
    >>> y_true = np.array([[[0, 1]]], "float32")
    >>> y_pred = np.array([[[[2.0, 0.0], [0.0, 1.0]]]], "float32")
    >>> round(float(TverskyLoss()(y_true, y_pred)), 4)
    0.0972
    """

    loss = "tversky_loss"

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        smooth: float = 1.0,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        options = {"alpha": alpha, "beta": beta, "smooth": smooth}
        super().__init__(reduction, name, dtype, **options, ignore_class=ignore_class, axis=axis)


@register
class FocalTverskyLoss(Overlap):
    """A power of the Tversky loss of the softmax of logits: `fusedloss.focal_tversky_loss`.

    Parameters
    ----------
    alpha, beta : float
        The weights of false positives and of false negatives.
    gamma : float, default 0.75
        The power.
    smooth : float, default 1
        What is added to both sides of the fraction.
    ignore_class : int, optional
        Pixels of this class do not count.
    axis : int, default -1
        The axis of the classes of `y_pred`, which holds logits; the first axis is that of the
        images. `y_true` holds class indices and has the other axes.
    reduction, name, dtype
        As in `keras.losses.Loss`. There is a loss for each image and class.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import FocalTverskyLoss
    >>> y_true = np.array([[[0, 1]]], "float32")
    >>> y_pred = np.array([[[[2.0, 0.0], [0.0, 1.0]]]], "float32")
    >>> round(float(FocalTverskyLoss()(y_true, y_pred)), 4)
    0.1739
    """

    loss = "focal_tversky_loss"

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 1.0,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        options = {"alpha": alpha, "beta": beta, "gamma": gamma, "smooth": smooth}
        super().__init__(reduction, name, dtype, **options, ignore_class=ignore_class, axis=axis)


@register
class LovaszSoftmaxLoss(Overlap):
    """Lovász extension of the Jaccard loss of a batch: `fusedloss.lovasz_softmax_loss`.

    Parameters
    ----------
    ignore_class : int, optional
        Pixels of this class do not count.
    axis : int, default -1
        The axis of the classes of `y_pred`, which holds logits; the first axis is that of the
        images. `y_true` holds class indices and has the other axes.
    reduction, name, dtype
        As in `keras.losses.Loss`.
        There is one loss, of the batch: the mean over the classes that are in it.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import LovaszSoftmaxLoss
    >>> y_true = np.array([[[0, 1]]], "float32")
    >>> y_pred = np.array([[[[2.0, 0.0], [0.0, 1.0]]]], "float32")
    >>> round(float(LovaszSoftmaxLoss()(y_true, y_pred)), 4)
    0.2315
    """

    loss = "lovasz_softmax_loss"

    def __init__(
        self,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype, ignore_class=ignore_class, axis=axis)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Compute the loss of the batch."""
        return ops.reshape(self.evaluate(y_true, y_pred, reduction="mean")[1], ())
