"""The losses of this package of embeddings and labels, as losses of Keras."""

from __future__ import annotations

from typing import Any

from keras import ops

from fusedloss.keras._accelerate import Tensor
from fusedloss.keras.losses._own import OwnLoss, evaluate_own, labels_of, register


class Metric(OwnLoss):
    """A loss of a batch of embeddings, by the labels that they share."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Compute the loss of the batch."""
        options = dict(self.options)
        labels = ops.reshape(labels_of(y_true), (-1,))
        mean = options.pop("batch_reduction")
        loss = evaluate_own(self.loss, y_pred, labels, reduction=mean, **options)
        return ops.reshape(loss, ())


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
class SupConLoss(Metric):
    """Supervised contrastive loss: `fusedloss.supcon_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    temperature, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean_nonzero"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.
    """

    loss = "supcon_loss"

    def __init__(
        self,
        temperature: float = 0.1,
        distance: str = "cosine",
        normalize: bool = True,
        batch_reduction: str = "mean_nonzero",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            temperature=temperature,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class NTXentLoss(Metric):
    """Normalised temperature-scaled cross-entropy of pairs: `fusedloss.ntxent_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    temperature, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.
    """

    loss = "ntxent_loss"

    def __init__(
        self,
        temperature: float = 0.07,
        distance: str = "cosine",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            temperature=temperature,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class MultiSimilarityLoss(Metric):
    """Multi-similarity loss: `fusedloss.multi_similarity_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    alpha, beta, base, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.
    """

    loss = "multi_similarity_loss"

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        distance: str = "cosine",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            alpha=alpha,
            beta=beta,
            base=base,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class CircleLoss(Metric):
    """Circle loss with weights that are not differentiated: `fusedloss.circle_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    m, gamma, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean_nonzero"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.
    """

    loss = "circle_loss"

    def __init__(
        self,
        m: float = 0.4,
        gamma: float = 80.0,
        normalize: bool = True,
        batch_reduction: str = "mean_nonzero",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            m=m,
            gamma=gamma,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )
