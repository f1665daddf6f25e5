"""The losses of two views of a batch or of two towers, as losses of Keras."""

from __future__ import annotations

from typing import Any

from keras import ops

from fusedloss.keras._accelerate import Tensor
from fusedloss.keras.losses._own import OwnLoss, evaluate_own, of_batch, register


class Views(OwnLoss):
    """A loss of two arrays of a row for each sample, of which either may be learnt."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Compute the loss of the batch."""
        return ops.reshape(evaluate_own(self.loss, y_pred, y_true, **of_batch(self.options)), ())


@register
class InfoNCELoss(Views):
    """Cross-entropy of each query's key against all other keys: `fusedloss.info_nce_loss`.

    `y_pred` holds queries, shape (N, D), and `y_true` keys, of the same shape; both may be
    differentiated. There is one loss, of the batch.

    Parameters
    ----------
    temperature, normalize
        As in the function.
    batch_reduction : {"mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import InfoNCELoss
    >>> y_true = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.8, 0.6], [-0.6, 0.8]], "float32")
    >>> round(float(InfoNCELoss()(y_true, y_pred)), 4)
    0.0635
    """

    loss = "info_nce_loss"

    def __init__(
        self,
        temperature: float = 0.1,
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
class CLIPLoss(Views):
    """InfoNCE of images against texts and of texts against images: `fusedloss.clip_loss`.

    `y_pred` holds features of images, shape (N, D), and `y_true` those of texts, of the same shape;
    both may be differentiated. There is one loss, of the batch.

    Parameters
    ----------
    logit_scale, normalize
        As in the function.
    batch_reduction : {"mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CLIPLoss
    >>> y_true = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.8, 0.6], [-0.6, 0.8]], "float32")
    >>> round(float(CLIPLoss()(y_true, y_pred)), 4)
    0.0279
    """

    loss = "clip_loss"

    def __init__(
        self,
        logit_scale: float = 1 / 0.07,
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            logit_scale=logit_scale,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class SigLIPLoss(Views):
    """The logistic loss of every pair of an image and a text: `fusedloss.siglip_loss`.

    `y_pred` holds features of images, shape (N, D), and `y_true` those of texts, of the same shape;
    both may be differentiated. There is one loss, of the batch.

    Parameters
    ----------
    logit_scale, logit_bias, normalize
        As in the function.
    batch_reduction : {"mean", "sum"}, default "mean"
        The function's `reduction`.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import SigLIPLoss
    >>> y_true = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.8, 0.6], [-0.6, 0.8]], "float32")
    >>> round(float(SigLIPLoss()(y_true, y_pred)), 4)
    2.136
    """

    loss = "siglip_loss"

    def __init__(
        self,
        logit_scale: float = 10.0,
        logit_bias: float = -10.0,
        normalize: bool = True,
        batch_reduction: str = "mean",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            logit_scale=logit_scale,
            logit_bias=logit_bias,
            normalize=normalize,
            batch_reduction=batch_reduction,
        )


@register
class BarlowTwinsLoss(Views):
    """Each feature correlated with itself in the other view alone: `fusedloss.barlow_twins_loss`.

    `y_pred` holds one view, shape (N, D), and `y_true` the other, of the same shape; both may be
    differentiated. There is one loss, of the batch.

    Parameters
    ----------
    lambd, eps
        As in the function.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import BarlowTwinsLoss
    >>> y_true = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]], "float32")
    >>> y_pred = np.array([[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]], "float32")
    >>> round(float(BarlowTwinsLoss()(y_true, y_pred)), 4)
    0.0101
    """

    loss = "barlow_twins_loss"

    def __init__(
        self,
        lambd: float = 0.0051,
        eps: float = 1e-05,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            lambd=lambd,
            eps=eps,
        )


@register
class VICRegLoss(Views):
    """Views alike, features that vary, and not together: `fusedloss.vicreg_loss`.

    `y_pred` holds one view, shape (N, D), and `y_true` the other, of the same shape; both may be
    differentiated. There is one loss, of the batch.

    Parameters
    ----------
    invariance_lambda, variance_mu, covariance_v, eps
        As in the function.
    reduction, name, dtype
        As in `keras.losses.Loss`; `reduction` finds one value.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import VICRegLoss
    >>> y_true = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]], "float32")
    >>> y_pred = np.array([[0.8, 0.1], [0.1, 0.9], [0.5, 0.4]], "float32")
    >>> round(float(VICRegLoss()(y_true, y_pred)), 4)
    14.385
    """

    loss = "vicreg_loss"

    def __init__(
        self,
        invariance_lambda: float = 25.0,
        variance_mu: float = 25.0,
        covariance_v: float = 1.0,
        eps: float = 0.0001,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(reduction, name, dtype),
            invariance_lambda=invariance_lambda,
            variance_mu=variance_mu,
            covariance_v=covariance_v,
            eps=eps,
        )
