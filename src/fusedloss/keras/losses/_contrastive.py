"""The losses of similarities of labelled embeddings, as losses of Keras."""

from __future__ import annotations

from typing import Any

from fusedloss.keras.losses._metric import Metric
from fusedloss.keras.losses._own import register


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

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import SupConLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(SupConLoss()(y_true, y_pred)), 4)
    6.3083
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

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import NTXentLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(NTXentLoss()(y_true, y_pred)), 4)
    8.9019
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

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import MultiSimilarityLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(MultiSimilarityLoss()(y_true, y_pred)), 4)
    0.8161
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

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CircleLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(CircleLoss()(y_true, y_pred)), 4)
    80.9093
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


@register
class IntraPairVarianceLoss(Metric):
    """Pairs as alike as the mean of their kind: `fusedloss.intra_pair_variance_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    pos_eps, neg_eps, distance, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import IntraPairVarianceLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(IntraPairVarianceLoss()(y_true, y_pred)), 4)
    0.0976
    """

    loss = "intra_pair_variance_loss"

    def __init__(
        self,
        pos_eps: float = 0.01,
        neg_eps: float = 0.01,
        distance: str = "cosine",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            pos_eps=pos_eps,
            neg_eps=neg_eps,
            distance=distance,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class PNPLoss(Metric):
    """Negatives ahead of positives, by their number: `fusedloss.pnp_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    b, alpha, anneal, variant, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import PNPLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(PNPLoss()(y_true, y_pred)), 4)
    0.75
    """

    loss = "pnp_loss"

    def __init__(
        self,
        b: float = 2.0,
        alpha: float = 1.0,
        anneal: float = 0.01,
        variant: str = "O",
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            b=b,
            alpha=alpha,
            anneal=anneal,
            variant=variant,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class SmoothAPLoss(Metric):
    """One minus the average precision by sigmoids of ranks: `fusedloss.smooth_ap_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    temperature, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import SmoothAPLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(SmoothAPLoss()(y_true, y_pred)), 4)
    0.2083
    """

    loss = "smooth_ap_loss"

    def __init__(
        self,
        temperature: float = 0.01,
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            temperature=temperature,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class ThresholdConsistentMarginLoss(Metric):
    """Similarities beside two margins, the same for all classes.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    lambda_plus, lambda_minus, margin_plus, margin_minus, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean_nonzero"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import ThresholdConsistentMarginLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(ThresholdConsistentMarginLoss()(y_true, y_pred)), 4)
    0.9933
    """

    loss = "threshold_consistent_margin_loss"

    def __init__(
        self,
        lambda_plus: float = 1.0,
        lambda_minus: float = 1.0,
        margin_plus: float = 0.9,
        margin_minus: float = 0.5,
        normalize: bool = True,
        batch_reduction: str = "mean_nonzero",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            lambda_plus=lambda_plus,
            lambda_minus=lambda_minus,
            margin_plus=margin_plus,
            margin_minus=margin_minus,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class TupletMarginLoss(Metric):
    """Each positive pair, less an angle, against the negatives: `fusedloss.tuplet_margin_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    margin, scale, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import TupletMarginLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(TupletMarginLoss()(y_true, y_pred)), 4)
    32.996
    """

    loss = "tuplet_margin_loss"

    def __init__(
        self,
        margin: float = 5.73,
        scale: float = 64.0,
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            margin=margin,
            scale=scale,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )
