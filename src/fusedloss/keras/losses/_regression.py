"""Keras' losses of regression."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fusedloss.keras._accelerate import (
    EPSILON,
    Pointwise,
    Tensor,
    accelerates,
    axis_of,
    evaluate,
    expect,
    floats,
    prediction_of,
    without,
)


def _mean(name: str, y_true: Any, y_pred: Any, **options: Any) -> Pointwise:
    """Return the call of a pointwise loss of arrays of one shape, or nearly."""
    return Pointwise(name, *floats(y_true, y_pred, squeeze=True), options)


@accelerates(keras.losses.mean_squared_error)
def mean_squared_error(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.mean_squared_error`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import mean_squared_error
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(mean_squared_error(y_true, y_pred)[0]), 4)
    0.025
    """
    return _mean("mse_loss", y_true, y_pred)


@accelerates(keras.losses.mean_absolute_error)
def mean_absolute_error(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.mean_absolute_error`; at a difference of 0 the slope is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import mean_absolute_error
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(mean_absolute_error(y_true, y_pred)[0]), 4)
    0.15
    """
    return _mean("l1_loss", y_true, y_pred)


@accelerates(keras.losses.mean_absolute_percentage_error)
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.mean_absolute_percentage_error`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import mean_absolute_percentage_error
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(mean_absolute_percentage_error(y_true, y_pred)[0]), 4)
    20.0
    """
    expect(keras.config.epsilon() == EPSILON)
    y_pred = prediction_of(y_pred)
    # A percentage is more likely to be above what float16 holds than the mean that Keras makes one.
    expect(keras.backend.standardize_dtype(y_pred.dtype) != "float16")
    return _mean("mape_loss", y_true, y_pred)


@accelerates(keras.losses.mean_squared_logarithmic_error)
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.mean_squared_logarithmic_error`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import mean_squared_logarithmic_error
    >>> y_true = np.array([[0.0, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.5, 1.0], [1.0, 2.5]], "float32")
    >>> round(float(mean_squared_logarithmic_error(y_true, y_pred)[0]), 4)
    0.0822
    """
    expect(keras.config.epsilon() == EPSILON)
    return _mean("msle_loss", y_true, y_pred)


@accelerates(keras.losses.huber)
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Pointwise:
    """Compute `keras.losses.huber`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import huber
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(huber(y_true, y_pred)[0]), 4)
    0.0125
    """
    expect(isinstance(delta, int | float) and delta > 0)
    return _mean("huber_loss", y_true, y_pred, delta=delta)


@accelerates(keras.losses.log_cosh)
def log_cosh(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.log_cosh`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import log_cosh
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(log_cosh(y_true, y_pred)[0]), 4)
    0.0124
    """
    return _mean("log_cosh_loss", y_true, y_pred)


@accelerates(keras.losses.poisson)
def poisson(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.poisson`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import poisson
    >>> y_true = np.array([[0.0, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.5, 1.0], [1.0, 2.5]], "float32")
    >>> round(float(poisson(y_true, y_pred)[0]), 4)
    0.75
    """
    y_true, y_pred = floats(y_true, y_pred)
    options = {"log_input": False, "eps": keras.config.epsilon()}
    return Pointwise("poisson_nll_loss", y_true, y_pred, options)


@accelerates(keras.losses.cosine_similarity)
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Compute `keras.losses.cosine_similarity`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import cosine_similarity
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(cosine_similarity(y_true, y_pred)[0]), 4)
    -1.0
    """
    expect(keras.config.epsilon() == EPSILON)
    y_true, y_pred = floats(y_true, y_pred, squeeze=True)
    axis = axis_of(axis, len(y_pred.shape))
    losses = evaluate("cosine_similarity_loss", y_pred, y_true, axis=axis)
    return ops.reshape(losses, without(ops.shape(y_pred), axis))
