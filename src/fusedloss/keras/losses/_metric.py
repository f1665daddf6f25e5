"""The losses of distances of labelled embeddings, as losses of Keras."""

from __future__ import annotations

from typing import Any

from keras import ops

from fusedloss.keras._accelerate import Tensor
from fusedloss.keras.losses._own import OwnLoss, evaluate_own, labels_of, of_batch, register


class Metric(OwnLoss):
    """A loss of a batch of embeddings, by the labels that they share."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Compute the loss of the batch."""
        labels = ops.reshape(labels_of(y_true), (-1,))
        return ops.reshape(evaluate_own(self.loss, y_pred, labels, **of_batch(self.options)), ())


@register
class TripletLoss(Metric):
    """Triplet loss with mining in the batch: `fusedloss.triplet_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    margin, mining, soft, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean_nonzero"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import TripletLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(TripletLoss()(y_true, y_pred)), 4)
    0.7873
    """

    loss = "triplet_loss"

    def __init__(
        self,
        margin: float = 0.2,
        mining: str = "all",
        soft: bool = False,
        distance: str = "euclidean",
        normalize: bool = False,
        batch_reduction: str = "mean_nonzero",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            margin=margin,
            mining=mining,
            soft=soft,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class ContrastiveLoss(Metric):
    """Contrastive loss of all pairs of a batch: `fusedloss.contrastive_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    pos_margin, neg_margin, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean_nonzero"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import ContrastiveLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(ContrastiveLoss()(y_true, y_pred)), 4)
    1.5873
    """

    loss = "contrastive_loss"

    def __init__(
        self,
        pos_margin: float = 0.0,
        neg_margin: float = 1.0,
        distance: str = "euclidean",
        normalize: bool = True,
        batch_reduction: str = "mean_nonzero",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            pos_margin=pos_margin,
            neg_margin=neg_margin,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class FastAPLoss(Metric):
    """One minus the average precision by a soft histogram: `fusedloss.fast_ap_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    num_bins, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import FastAPLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(FastAPLoss()(y_true, y_pred)), 4)
    0.6214
    """

    loss = "fast_ap_loss"

    def __init__(
        self,
        num_bins: int = 10,
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            num_bins=num_bins,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class GeneralizedLiftedStructureLoss(Metric):
    """Soft maxima of far positives and near negatives.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    neg_margin, pos_margin, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import GeneralizedLiftedStructureLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(GeneralizedLiftedStructureLoss()(y_true, y_pred)), 4)
    2.0792
    """

    loss = "generalized_lifted_structure_loss"

    def __init__(
        self,
        neg_margin: float = 1.0,
        pos_margin: float = 0.0,
        distance: str = "euclidean",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            neg_margin=neg_margin,
            pos_margin=pos_margin,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class LiftedStructureLoss(Metric):
    """Each positive pair against the negatives of both embeddings.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    neg_margin, pos_margin, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import LiftedStructureLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(LiftedStructureLoss()(y_true, y_pred)), 4)
    3.9283
    """

    loss = "lifted_structure_loss"

    def __init__(
        self,
        neg_margin: float = 1.0,
        pos_margin: float = 0.0,
        distance: str = "euclidean",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            neg_margin=neg_margin,
            pos_margin=pos_margin,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class MarginLoss(Metric):
    """Positive pairs nearer than a boundary, negative ones farther: `fusedloss.margin_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    margin, beta, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean_nonzero"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import MarginLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(MarginLoss()(y_true, y_pred)), 4)
    0.467
    """

    loss = "margin_loss"

    def __init__(
        self,
        margin: float = 0.2,
        beta: float = 1.2,
        distance: str = "euclidean",
        normalize: bool = True,
        batch_reduction: str = "mean_nonzero",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            margin=margin,
            beta=beta,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class NCALoss(Metric):
    """Neighbourhood component analysis: `fusedloss.nca_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    softmax_scale, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import NCALoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(NCALoss()(y_true, y_pred)), 4)
    1.7629
    """

    loss = "nca_loss"

    def __init__(
        self,
        softmax_scale: float = 1.0,
        distance: str = "squared_euclidean",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            softmax_scale=softmax_scale,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class RankedListLoss(Metric):
    """Weighted means of far positives and near negatives: `fusedloss.ranked_list_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    margin, Tn, imbalance, alpha, Tp, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import RankedListLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(RankedListLoss()(y_true, y_pred)), 4)
    0.5023
    """

    loss = "ranked_list_loss"

    def __init__(
        self,
        margin: float = 0.4,
        Tn: float = 10.0,
        imbalance: float = 0.5,
        alpha: float | None = None,
        Tp: float = 0.0,
        distance: str = "euclidean",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            margin=margin,
            Tn=Tn,
            imbalance=imbalance,
            alpha=alpha,
            Tp=Tp,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )
