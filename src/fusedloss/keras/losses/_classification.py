"""Keras' losses of classification: cross-entropies and hinges."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

# Not among Keras' public names, but how its own losses give theirs a mask.
from keras.src.backend import set_keras_mask

from fusedloss.keras._accelerate import (
    EPSILON,
    Pointwise,
    Tensor,
    accelerates,
    axis_of,
    evaluate,
    expect,
    floats,
    here,
    prediction_of,
    rows,
    target_of,
    without,
)


def _logits(y_pred: Tensor, from_logits: bool, activation: str) -> Tensor | None:
    """Return the logits that Keras computes from, if it does."""
    behind = here().logits_behind(y_pred, activation)
    expect(behind is None or not from_logits)  # of which Keras warns
    return y_pred if from_logits else behind


def _smoothed(y_true: Tensor, label_smoothing: float, even: float) -> Tensor:
    """Return binary labels or rows of them, a share of which is spread evenly."""
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + label_smoothing * even


@accelerates(keras.losses.binary_crossentropy)
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Pointwise:
    """Compute `keras.losses.binary_crossentropy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import binary_crossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.7]], "float32")
    >>> round(float(binary_crossentropy(y_true, y_pred)[0]), 4)
    0.2899
    """
    y_true, y_pred = floats(y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, 0.5)
    logits = _logits(y_pred, from_logits, "Sigmoid")
    if logits is None:
        clipped = ops.clip(y_pred, keras.config.epsilon(), 1.0 - keras.config.epsilon())
        return Pointwise("binary_cross_entropy", y_true, clipped, axis=axis)
    return Pointwise("binary_cross_entropy_with_logits", y_true, logits, axis=axis)


@accelerates(keras.losses.binary_focal_crossentropy)
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Pointwise:
    """Compute `keras.losses.binary_focal_crossentropy`.

    From logits: probabilities get Keras' own formula. Keras clips the probabilities of logits at
    its epsilon, but on TensorFlow, where it sees the logits behind them; here logits are clipped,
    where their probabilities are at epsilon.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import binary_focal_crossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.7]], "float32")
    >>> round(float(binary_focal_crossentropy(y_true, y_pred)[0]), 4)
    0.0205
    """
    y_true, y_pred = floats(y_true, y_pred)
    expect(isinstance(gamma, int | float) and 0 <= gamma <= 64)
    expect(not apply_class_balancing or (isinstance(alpha, int | float) and 0 <= alpha <= 1))
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    expect(dtype in ("float32", "float64"))  # in fewer bits 1 - epsilon is 1
    least, most = np.array([keras.config.epsilon(), 1.0 - keras.config.epsilon()], dtype)
    logits = y_pred if from_logits else here().logits_behind(y_pred, "Sigmoid")
    expect(logits is not None)
    if not here().LOOKS_BEHIND:
        logits = ops.clip(logits, np.log(least / (1 - least)), np.log(most / (1 - most)))
    options = {"alpha": alpha if apply_class_balancing else None, "gamma": gamma}
    y_true = _smoothed(y_true, label_smoothing, 0.5)
    return Pointwise("sigmoid_focal_loss", y_true, logits, options, axis)


def _distributions(
    y_true: Any, y_pred: Any, label_smoothing: float, axis: int
) -> tuple[Tensor, Tensor, int]:
    """Return labels and predictions that are distributions of classes, and the classes' axis."""
    y_true, y_pred = floats(y_true, y_pred)
    axis = axis_of(axis, len(y_pred.shape))
    expect(y_pred.shape[-1] != 1)  # of which Keras warns
    # Keras shares out by the last axis, whatever that of classes is.
    expect(not label_smoothing or axis == len(y_pred.shape) - 1)
    expect(isinstance(label_smoothing, int | float) and 0 <= label_smoothing <= 1)
    return y_true, y_pred, axis


@accelerates(keras.losses.categorical_crossentropy)
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Compute `keras.losses.categorical_crossentropy`; no smoothed labels are made.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import categorical_crossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(categorical_crossentropy(y_true, y_pred)[0]), 4)
    0.2231
    """
    y_true, y_pred, axis = _distributions(y_true, y_pred, label_smoothing, axis)
    logits = _logits(y_pred, from_logits, "Softmax")
    if logits is None:
        expect(keras.config.epsilon() == EPSILON)
        name, y_pred = "categorical_cross_entropy", y_pred
    else:
        name, y_pred = "cross_entropy", logits
    options: dict[str, Any] = {"axis": 1} if logits is None else {}
    return rows(
        *(name, y_pred, y_true, axis),
        indices=False,
        label_smoothing=float(label_smoothing),
        **options,
    )


@accelerates(keras.losses.categorical_focal_crossentropy)
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Compute `keras.losses.categorical_focal_crossentropy`; no smoothed labels are made.

    Logits become probabilities by Keras' softmax, which the kernel clips as Keras does.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import categorical_focal_crossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(categorical_focal_crossentropy(y_true, y_pred)[0]), 4)
    0.0022
    """
    y_true, y_pred, axis = _distributions(y_true, y_pred, label_smoothing, axis)
    expect(keras.config.epsilon() == EPSILON)
    expect(isinstance(gamma, int | float) and 0 <= gamma <= 64)
    if isinstance(alpha, list | tuple | np.ndarray):
        # Keras multiplies along the last axis, whatever that of classes is.
        expect(np.shape(alpha) == (y_pred.shape[-1],) and axis == len(y_pred.shape) - 1)
        is_double = keras.backend.standardize_dtype(y_pred.dtype) == "float64"
        alpha = ops.convert_to_tensor(alpha, "float64" if is_double else "float32")
    else:
        expect(isinstance(alpha, int | float))
        alpha = float(alpha)
    if from_logits:
        y_pred = ops.softmax(y_pred, axis=axis)
    return rows(
        *("categorical_cross_entropy", y_pred, y_true, axis),
        indices=False,
        axis=1,
        label_smoothing=float(label_smoothing),
        gamma=float(gamma),
        alpha=alpha,
    )


def _labels(y_true: Tensor, classes: Any) -> Tensor:
    """Return class indices, those that Keras gives no loss for marked as ignored."""
    backend = here()
    labels = ops.cast(y_true, backend.INDICES)
    ignored = ops.cast(backend.IGNORED, backend.INDICES)
    if backend.DROPS_NEGATIVE:
        labels = ops.where(labels < 0, ignored, labels)
    if backend.DROPS_LARGE:
        labels = ops.where(labels >= classes, ignored, labels)
    return labels


@accelerates(keras.losses.sparse_categorical_crossentropy)
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Compute `keras.losses.sparse_categorical_crossentropy`; no one-hot rows are made.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import sparse_categorical_crossentropy
    >>> y_true = np.array([1], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(sparse_categorical_crossentropy(y_true, y_pred)[0]), 4)
    0.2231
    """
    y_pred, y_true = prediction_of(y_pred), target_of(y_true)
    backend, rank = here(), len(y_pred.shape)
    axis = axis_of(axis, rank)
    if len(y_true.shape) == rank and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis=axis)
    expect(tuple(y_true.shape) == without(tuple(y_pred.shape), axis))
    expect(rank > 1 and (axis == rank - 1 or backend.ANY_AXIS))

    labels, valid = _labels(y_true, y_pred.shape[axis]), None
    if ignore_class is None:
        logits = _logits(y_pred, from_logits, "Softmax")
    else:
        logits = y_pred if from_logits else None
        valid = ops.not_equal(y_true, ops.cast(ignore_class, y_pred.dtype))
        labels = ops.where(valid, labels, ops.cast(backend.IGNORED, backend.INDICES))
    options: dict[str, Any] = {"ignore_index": backend.IGNORED}
    if logits is not None:
        name, y_pred = "cross_entropy", logits
    elif not backend.NORMALISES_FOR_INDICES:
        epsilon = keras.config.epsilon()
        name, y_pred = "cross_entropy", ops.log(ops.clip(y_pred, epsilon, 1 - epsilon))
    else:
        expect(keras.config.epsilon() == EPSILON)
        name, options["axis"] = "categorical_cross_entropy", 1
    losses = rows(name, y_pred, labels, axis, indices=True, **options)
    if valid is not None:
        set_keras_mask(losses, valid)
    return losses


@accelerates(keras.losses.categorical_generalized_cross_entropy)
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Tensor:
    """Compute `keras.losses.categorical_generalized_cross_entropy` without one-hot rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import categorical_generalized_cross_entropy
    >>> y_true = np.array([1], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(categorical_generalized_cross_entropy(y_true, y_pred, q=0.5)[0]), 4)
    0.2111
    """
    y_pred, y_true = prediction_of(y_pred), target_of(y_true, "int32")
    classes = y_pred.shape[-1]
    expect(tuple(y_true.shape) == tuple(y_pred.shape[:-1]) and classes is not None)
    inside = ops.logical_and(y_true >= 0, y_true < classes)
    index = ops.expand_dims(ops.where(inside, y_true, 0), -1)
    p = ops.squeeze(ops.take_along_axis(y_pred, index, axis=-1), -1)
    p = ops.where(inside, p, ops.zeros_like(p))  # a class that there is not has no probability
    return (1 - ops.power(p, q)) / q


def _signs(y_true: Tensor) -> Tensor:
    """Return labels of 0 and 1 as -1 and 1, and others as they are."""
    binary = ops.all(ops.logical_or(ops.equal(y_true, 0), ops.equal(y_true, 1)))
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


@accelerates(keras.losses.hinge)
def hinge(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.hinge`; where the loss starts the slope is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import hinge
    >>> y_true = np.array([[-1.0, 1.0]], "float32")
    >>> y_pred = np.array([[-0.5, 0.2]], "float32")
    >>> round(float(hinge(y_true, y_pred)[0]), 4)
    0.65
    """
    y_true, y_pred = floats(y_true, y_pred)
    return Pointwise("hinge_loss", _signs(y_true), y_pred)


@accelerates(keras.losses.squared_hinge)
def squared_hinge(y_true: Any, y_pred: Any) -> Pointwise:
    """Compute `keras.losses.squared_hinge`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import squared_hinge
    >>> y_true = np.array([[-1.0, 1.0]], "float32")
    >>> y_pred = np.array([[-0.5, 0.2]], "float32")
    >>> round(float(squared_hinge(y_true, y_pred)[0]), 4)
    0.445
    """
    y_true, y_pred = floats(y_true, y_pred)
    return Pointwise("squared_hinge_loss", _signs(y_true), y_pred)


@accelerates(keras.losses.categorical_hinge)
def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """Compute `keras.losses.categorical_hinge`; of equal maxima the first has the slope.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import categorical_hinge
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(categorical_hinge(y_true, y_pred)[0]), 4)
    0.4
    """
    y_true, y_pred = floats(y_true, y_pred)
    return rows("categorical_hinge_loss", y_pred, y_true, len(y_pred.shape) - 1, indices=False)


@accelerates(keras.losses.ctc)
def ctc(y_true: Any, y_pred: Any) -> Tensor:
    """Compute `keras.losses.ctc`: the blank, and what pads labels, is class 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import ctc
    >>> y_true = np.array([[1, 2]], "float32")
    >>> y_pred = np.ones((1, 4, 3), "float32")
    >>> round(float(ctc(y_true, y_pred)[0]), 4)
    1.6864
    """
    y_pred, y_true = prediction_of(y_pred), target_of(y_true)
    expect(len(y_true.shape) == 2 and len(y_pred.shape) == 3)
    if keras.backend.standardize_dtype(y_pred.dtype) in ("float16", "bfloat16"):
        y_pred = ops.cast(y_pred, "float32")
    indices = here().INDICES
    log_probs = ops.transpose(ops.log_softmax(y_pred, axis=-1), (1, 0, 2))
    batch, steps = ops.shape(y_pred)[0], ops.shape(y_pred)[1]
    lengths = ops.cast(ops.sum(ops.cast(y_true != 0, indices), axis=-1), indices)
    input_lengths = ops.cast(ops.ones((batch,), indices) * steps, indices)
    losses = evaluate("ctc_loss", log_probs, ops.cast(y_true, indices), input_lengths, lengths)
    return ops.reshape(losses, (batch,))
