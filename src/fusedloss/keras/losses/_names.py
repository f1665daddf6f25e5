"""Losses by their names in configurations, as Keras' `get` and `deserialize` find its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras.losses import circle, dice, kl_divergence, tversky

from fusedloss.keras.losses import _classes, _classification, _regression

#: Functions that are Keras' own: no kernel computes them faster.
OF_KERAS = (circle, dice, kl_divergence, tversky)

ABBREVIATIONS = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}


def _objects() -> dict[str, Callable[..., Any]]:
    found = {function.__name__: function for function in OF_KERAS}
    for module in (_classes, _classification, _regression):
        for name, value in vars(module).items():
            if not name.startswith("_") and hasattr(keras.losses, name):
                found[name] = value
    for short, name in ABBREVIATIONS.items():
        found[short] = found[short.upper()] = found[name]
    return found


OBJECTS = _objects()


def deserialize(name: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the loss of a name or a configuration, as `keras.losses.deserialize` does.

    Parameters
    ----------
    name : str or dict
        The name of a loss of `keras.losses`, for which this package's is returned; or what
        `serialize` made.
    custom_objects : dict, optional
        What other names mean.

    Returns
    -------
    function or keras.losses.Loss
        The loss.

    Examples
    --------
    >>> from fusedloss.keras import losses
    >>> losses.deserialize("mse").__name__
    'mean_squared_error'
    """
    objects = OBJECTS | (custom_objects or {})
    return keras.losses.deserialize(name, custom_objects=objects)


def get(identifier: Any) -> Any:
    """Return a loss, as `keras.losses.get` does.

    Parameters
    ----------
    identifier : str, dict, function, class, keras.losses.Loss or None
        The name of a loss of `keras.losses`, for which this package's is returned; a configuration;
        or a loss, which is returned as it is, an instance of a class.

    Returns
    -------
    function, keras.losses.Loss or None
        The loss.

    Raises
    ------
    ValueError
        If it is no loss.

    Examples
    --------
    >>> from fusedloss.keras import losses
    >>> losses.get("mse").__name__
    'mean_squared_error'
    """
    if isinstance(identifier, dict):
        identifier = deserialize(identifier)
    elif isinstance(identifier, str) and identifier in OBJECTS:
        identifier = OBJECTS[identifier]
    if inspect.isclass(identifier):
        identifier = identifier()
    return keras.losses.get(identifier)
