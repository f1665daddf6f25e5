"""The losses of tuplets of labelled embeddings, as losses of Keras."""

from __future__ import annotations

from typing import Any

from fusedloss.keras.losses._metric import Metric
from fusedloss.keras.losses._own import register


@register
class AngularLoss(Metric):
    """The angle at a negative of its triangle with a positive pair: `fusedloss.angular_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    alpha, normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import AngularLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(AngularLoss()(y_true, y_pred)), 4)
    3.7929
    """

    loss = "angular_loss"

    def __init__(
        self,
        alpha: float = 40.0,
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            alpha=alpha,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class HistogramLoss(Metric):
    """How probably a positive pair is less alike than a negative one: `fusedloss.histogram_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). There is one
    loss, of the batch.

    Parameters
    ----------
    n_bins
        As in the function.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import HistogramLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(HistogramLoss()(y_true, y_pred)), 4)
    0.75
    """

    loss = "histogram_loss"

    def __init__(
        self,
        n_bins: int = 100,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            n_bins=n_bins,
        )


@register
class InstanceLoss(Metric):
    """Cross-entropy with the embeddings of the batch as classes: `fusedloss.instance_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    gamma
        As in the function.
    batch_reduction : {"mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import InstanceLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(InstanceLoss()(y_true, y_pred)), 4)
    22.4
    """

    loss = "instance_loss"

    def __init__(
        self,
        gamma: float = 64.0,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            gamma=gamma,
            batch_reduction=batch_reduction,
        )


@register
class NPairsLoss(Metric):
    """One pair of each label against those of all other labels: `fusedloss.n_pairs_loss`.

    `y_true` holds labels, shape (N,) or (N, 1), and `y_pred` embeddings, shape (N, D). No matrix of
    pairs is held. There is one loss, of the batch.

    Parameters
    ----------
    normalize
        As in the function.
    batch_reduction : {"mean_nonzero", "mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import NPairsLoss
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(NPairsLoss()(y_true, y_pred)), 4)
    0.712
    """

    loss = "n_pairs_loss"

    def __init__(
        self,
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            normalize=normalize,
            batch_reduction=batch_reduction,
        )
