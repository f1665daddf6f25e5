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
    """Compute `keras.losses.mean_squared_error`."""
    return _mean("mse_loss", y_true, y_pred)


@accelerates(keras.losses.mean_absolute_error)
def mean_absolute_error(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.mean_absolute_error`; at a difference of 0 the slope is 0."""
    return _mean("l1_loss", y_true, y_pred)


@accelerates(keras.losses.mean_absolute_percentage_error)
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.mean_absolute_percentage_error`."""
    expect(keras.config.epsilon() == EPSILON)
    y_pred = prediction_of(y_pred)
    # A percentage is more likely to be above what float16 holds than the mean that Keras makes one.
    expect(keras.backend.standardize_dtype(y_pred.dtype) != "float16")
    return _mean("mape_loss", y_true, y_pred)


@accelerates(keras.losses.mean_squared_logarithmic_error)
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.mean_squared_logarithmic_error`."""
    expect(keras.config.epsilon() == EPSILON)
    return _mean("msle_loss", y_true, y_pred)


@accelerates(keras.losses.huber)
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Pointwise:
    """Compute `keras.losses.huber`."""
    expect(isinstance(delta, int | float) and delta > 0)
    return _mean("huber_loss", y_true, y_pred, delta=delta)


@accelerates(keras.losses.log_cosh)
def log_cosh(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.log_cosh`."""
    return _mean("log_cosh_loss", y_true, y_pred)


@accelerates(keras.losses.poisson)
def poisson(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.poisson`."""
    y_true, y_pred = floats(y_true, y_pred)
    options = {"log_input": False, "eps": keras.config.epsilon()}
    return Pointwise("poisson_nll_loss", y_true, y_pred, options)


@accelerates(keras.losses.cosine_similarity)
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Compute `keras.losses.cosine_similarity`."""
    expect(keras.config.epsilon() == EPSILON)
    y_true, y_pred = floats(y_true, y_pred, squeeze=True)
    axis = axis_of(axis, len(y_pred.shape))
    losses = evaluate("cosine_similarity_loss", y_pred, y_true, axis=axis)
    return ops.reshape(losses, without(ops.shape(y_pred), axis))
