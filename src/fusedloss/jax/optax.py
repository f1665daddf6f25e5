"""optax's losses under optax's names and conventions, through the kernels where these have them.

A call that no kernel takes (`where`, several axes, a loss of which there is none) is optax's own.

>>> import jax.numpy as jnp
>>> from fusedloss.jax import optax
>>> optax.softmax_cross_entropy_with_integer_labels(jnp.zeros((2, 4)), jnp.array([0, -1]))
Array([1.3862944, 1.3862944], dtype=float32)
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from optax import losses as own
from optax.losses import (
    binary_dice_loss,
    ctc_loss,
    ctc_loss_with_forward_probs,
    dice_loss,
    make_fenchel_young_loss,
    multiclass_generalized_dice_loss,
    multiclass_perceptron_loss,
    safe_softmax_cross_entropy,
    smooth_labels,
    triplet_margin_loss,
)

from fusedloss import _check
from fusedloss import jax as fused

__all__ = [
    "binary_dice_loss",
    "convex_kl_divergence",
    "cosine_distance",
    "cosine_similarity",
    "ctc_loss",
    "ctc_loss_with_forward_probs",
    "dice_loss",
    "generalized_kl_divergence",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "kl_divergence_with_log_targets",
    "l2_loss",
    "log_cosh",
    "make_fenchel_young_loss",
    "multiclass_generalized_dice_loss",
    "multiclass_hinge_loss",
    "multiclass_perceptron_loss",
    "multiclass_sparsemax_loss",
    "ntxent",
    "perceptron_loss",
    "poly_loss_cross_entropy",
    "ranking_softmax_loss",
    "safe_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "sparsemax_loss",
    "squared_error",
    "triplet_margin_loss",
]


def _is_float(*arrays: Any) -> bool:
    """Whether arrays are floats of one shape and dtype that the kernels take."""
    if not all(isinstance(x, jax.Array | np.ndarray) for x in arrays):
        return False
    first = arrays[0]
    return (
        jnp.issubdtype(first.dtype, jnp.floating)
        and first.dtype.itemsize in (2, 4, 8)
        and all(x.shape == first.shape and x.dtype == first.dtype for x in arrays)
    )


def _number(*options: Any) -> bool:
    return all(isinstance(x, numbers.Real) for x in options)


def _rows(x: Any, axis: int) -> Any:
    """Return an array with one axis of positions and the axis of classes."""
    x = jnp.moveaxis(x, axis, -1)
    return x.reshape(-1, x.shape[-1])


def _positions(x: Any, axis: int) -> tuple[int, ...]:
    """Return the shape without the axis of classes."""
    shape = list(x.shape)
    del shape[axis]
    return tuple(shape)


def _has_axis(x: Any, axis: Any) -> bool:
    return isinstance(axis, int) and -x.ndim <= axis < x.ndim and x.shape[axis] > 0


def softmax_cross_entropy(logits: Any, labels: Any, axis: Any = -1, where: Any = None) -> Any:
    """Cross-entropy against distributions: `optax.losses.softmax_cross_entropy`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> logits = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> optax.softmax_cross_entropy(logits, jnp.eye(2)).round(4)
    Array([0.1269, 0.6931], dtype=float32)
    """
    if where is not None or not _is_float(logits, labels) or not _has_axis(logits, axis):
        return own.softmax_cross_entropy(logits, labels, axis, where)
    losses = fused.cross_entropy(_rows(logits, axis), _rows(labels, axis), reduction="none")
    return losses.reshape(_positions(logits, axis))


def softmax_cross_entropy_with_integer_labels(
    logits: Any, labels: Any, axis: Any = -1, where: Any = None
) -> Any:
    """Cross-entropy against class indices, of which negative ones count from the last class.

    As `optax.losses.softmax_cross_entropy_with_integer_labels`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> logits = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> labels = jnp.array([0, -1])  # the last class
    >>> optax.softmax_cross_entropy_with_integer_labels(logits, labels).round(4)
    Array([0.1269, 0.6931], dtype=float32)
    """
    if (
        where is not None
        or not _is_float(logits)
        or not _has_axis(logits, axis)
        or not isinstance(labels, jax.Array | np.ndarray)
        or not jnp.issubdtype(labels.dtype, jnp.integer)
        or labels.shape != _positions(logits, axis)
    ):
        return own.softmax_cross_entropy_with_integer_labels(logits, labels, axis, where)
    wrapped = jnp.where(labels < 0, labels + logits.shape[axis], labels).reshape(-1)
    losses = fused.cross_entropy(
        _rows(logits, axis), wrapped, ignore_index=_check.NOTHING_IGNORED, reduction="none"
    )
    return losses.reshape(labels.shape)


def poly_loss_cross_entropy(
    logits: Any, labels: Any, *, epsilon: Any = 2.0, axis: Any = -1, where: Any = None
) -> Any:
    """Cross-entropy with a first-order term: `optax.losses.poly_loss_cross_entropy`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> logits = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> optax.poly_loss_cross_entropy(logits, jnp.eye(2), epsilon=1.0).round(4)
    Array([0.2461, 1.1931], dtype=float32)
    """
    plain = where is None and _number(epsilon) and _is_float(logits, labels)
    if not plain or not _has_axis(logits, axis):
        return own.poly_loss_cross_entropy(logits, labels, epsilon=epsilon, axis=axis, where=where)
    losses = fused.poly1_cross_entropy(
        _rows(logits, axis), _rows(labels, axis), epsilon=float(epsilon), reduction="none"
    )
    # optax weighs 1 - p with the labels, which need not sum to 1
    missing = jnp.sum(labels, axis) - 1
    return losses.reshape(_positions(logits, axis)) + epsilon * missing


def sigmoid_binary_cross_entropy(logits: Any, labels: Any) -> Any:
    """Cross-entropy of many labels: `optax.losses.sigmoid_binary_cross_entropy`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> logits, labels = jnp.array([2.0, 0.0]), jnp.array([1.0, 0.0])
    >>> optax.sigmoid_binary_cross_entropy(logits, labels).round(4)
    Array([0.1269, 0.6931], dtype=float32)
    """
    if not _is_float(logits):
        return own.sigmoid_binary_cross_entropy(logits, labels)
    labels = jnp.asarray(labels, logits.dtype)
    return _broadcast(fused.binary_cross_entropy_with_logits, logits, labels)


def sigmoid_focal_loss(logits: Any, labels: Any, *, alpha: Any = None, gamma: Any = 2.0) -> Any:
    """Focal loss of many labels: `optax.losses.sigmoid_focal_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> logits, labels = jnp.array([2.0, 0.0]), jnp.array([1.0, 0.0])
    >>> optax.sigmoid_focal_loss(logits, labels, gamma=1.0).round(4)
    Array([0.0151, 0.3466], dtype=float32)
    """
    known = (alpha is None or (_number(alpha) and 0 <= alpha <= 1)) and _number(gamma)
    if not known or not 0 <= gamma <= _check.MOST_GAMMA or not _is_float(logits):
        return own.sigmoid_focal_loss(logits, labels, alpha=alpha, gamma=gamma)
    labels = jnp.asarray(labels, logits.dtype)
    options = {"alpha": None if alpha is None else float(alpha), "gamma": float(gamma)}
    return _broadcast(fused.sigmoid_focal_loss, logits, labels, **options)


def _broadcast(loss: Callable[..., Any], x: Any, y: Any, **options: Any) -> Any:
    x, y = jnp.broadcast_arrays(x, y)
    return loss(x, y, reduction="none", **options)


def hinge_loss(predictor_outputs: Any, targets: Any) -> Any:
    """Hinge loss of classes -1 and 1: `optax.losses.hinge_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> optax.hinge_loss(jnp.array([0.5, -2.0]), jnp.array([1.0, 1.0]))
    Array([0.5, 3. ], dtype=float32)
    """
    if not _is_float(predictor_outputs, targets):
        return own.hinge_loss(predictor_outputs, targets)
    return fused.hinge_loss(predictor_outputs, targets, reduction="none")


def perceptron_loss(predictor_outputs: Any, targets: Any) -> Any:
    """Perceptron loss of classes -1 and 1: `optax.losses.perceptron_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> optax.perceptron_loss(jnp.array([0.5, -2.0]), jnp.array([1.0, 1.0]))
    Array([0., 2.], dtype=float32)
    """
    if not _is_float(predictor_outputs, targets):
        return own.perceptron_loss(predictor_outputs, targets)
    return fused.perceptron_loss(predictor_outputs, targets, reduction="none")


def multiclass_hinge_loss(scores: Any, labels: Any) -> Any:
    """Hinge loss of scores of classes: `optax.losses.multiclass_hinge_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> scores = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> optax.multiclass_hinge_loss(scores, jnp.array([0, 1]))
    Array([0., 1.], dtype=float32)
    """
    if not _takes_indices(scores, labels):
        return own.multiclass_hinge_loss(scores, labels)
    losses = fused.categorical_hinge_loss(_rows(scores, -1), labels.reshape(-1), reduction="none")
    return losses.reshape(labels.shape)


def sparsemax_loss(logits: Any, labels: Any) -> Any:
    """Loss of the sparsemax of two classes, 0 and 1: `optax.losses.sparsemax_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> optax.sparsemax_loss(jnp.array([2.0, 0.0]), jnp.array([1, 0]))
    Array([0.  , 0.25], dtype=float32)
    """
    if not _is_float(logits):
        return own.sparsemax_loss(logits, labels)
    labels = (jnp.asarray(labels) != 0).astype(logits.dtype)
    return _broadcast(fused.binary_sparsemax_loss, logits, labels)


def multiclass_sparsemax_loss(scores: Any, labels: Any) -> Any:
    """Loss of the sparsemax: `optax.losses.multiclass_sparsemax_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> scores = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> optax.multiclass_sparsemax_loss(scores, jnp.array([0, 1]))
    Array([0.  , 0.25], dtype=float32)
    """
    if not _takes_indices(scores, labels) or scores.ndim != 2:
        return own.multiclass_sparsemax_loss(scores, labels)
    wrapped = jnp.where(labels < 0, labels + scores.shape[-1], labels)
    return fused.sparsemax_loss(scores, wrapped, reduction="none")


def _takes_indices(scores: Any, labels: Any) -> bool:
    return (
        _is_float(scores)
        and isinstance(labels, jax.Array | np.ndarray)
        and jnp.issubdtype(labels.dtype, jnp.integer)
        and labels.shape == scores.shape[:-1]
        and scores.shape[-1] > 0
    )


def kl_divergence(log_predictions: Any, targets: Any, axis: Any = -1, where: Any = None) -> Any:
    """Kullback-Leibler divergence from predictions to targets: `optax.losses.kl_divergence`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> log_predictions = jnp.log(jnp.array([0.25, 0.75]))
    >>> divergence = optax.kl_divergence(log_predictions, jnp.array([0.5, 0.5]))
    >>> round(float(divergence), 4)
    0.1438
    """
    if not _is_float(log_predictions, targets):
        return own.kl_divergence(log_predictions, targets, axis, where)
    terms = fused.kl_div(log_predictions, targets, reduction="none")
    return jnp.sum(terms, axis=axis, where=where)


def kl_divergence_with_log_targets(
    log_predictions: Any, log_targets: Any, axis: Any = -1, where: Any = None
) -> Any:
    """`kl_divergence` of logarithms: `optax.losses.kl_divergence_with_log_targets`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> log_predictions = jnp.log(jnp.array([0.25, 0.75]))
    >>> log_targets = jnp.log(jnp.array([0.5, 0.5]))
    >>> divergence = optax.kl_divergence_with_log_targets(log_predictions, log_targets)
    >>> round(float(divergence), 4)
    0.1438
    """
    if not _is_float(log_predictions, log_targets):
        return own.kl_divergence_with_log_targets(log_predictions, log_targets, axis, where)
    terms = fused.kl_div(log_predictions, log_targets, log_target=True, reduction="none")
    return jnp.sum(terms, axis=axis, where=where)


def generalized_kl_divergence(
    log_predictions: Any, targets: Any, axis: Any = -1, where: Any = None
) -> Any:
    """`kl_divergence` of positive measures: `optax.losses.generalized_kl_divergence`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> log_predictions = jnp.log(jnp.array([1.0, 3.0]))
    >>> divergence = optax.generalized_kl_divergence(log_predictions, jnp.array([2.0, 3.0]))
    >>> round(float(divergence), 4)
    0.3863
    """
    if not _is_float(log_predictions, targets):
        return own.generalized_kl_divergence(log_predictions, targets, axis, where)
    terms = fused.generalized_kl_div(log_predictions, targets, reduction="none")
    return jnp.sum(terms, axis=axis, where=where)


def convex_kl_divergence(
    log_predictions: Any, targets: Any, axis: Any = -1, where: Any = None
) -> Any:
    """`generalized_kl_divergence` under its former name.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> log_predictions = jnp.log(jnp.array([1.0, 3.0]))
    >>> divergence = optax.convex_kl_divergence(log_predictions, jnp.array([2.0, 3.0]))
    >>> round(float(divergence), 4)
    0.3863
    """
    return generalized_kl_divergence(log_predictions, targets, axis, where)


def squared_error(predictions: Any, targets: Any = None) -> Any:
    """Squared differences: `optax.losses.squared_error`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> optax.squared_error(jnp.array([0.5, 3.0]), jnp.array([0.0, 1.0]))
    Array([0.25, 4.  ], dtype=float32)
    """
    if not _is_float(predictions, predictions if targets is None else targets):
        return own.squared_error(predictions, targets)
    if targets is None:
        return predictions**2
    return fused.mse_loss(predictions, targets, reduction="none")


def l2_loss(predictions: Any, targets: Any = None) -> Any:
    """Half of the squared differences: `optax.losses.l2_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> optax.l2_loss(jnp.array([0.5, 3.0]), jnp.array([0.0, 1.0]))
    Array([0.125, 2.   ], dtype=float32)
    """
    return 0.5 * squared_error(jnp.asarray(predictions), targets)


def huber_loss(predictions: Any, targets: Any = None, *, delta: Any = 1.0) -> Any:
    """Huber's loss: `optax.losses.huber_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> optax.huber_loss(jnp.array([0.5, 3.0]), jnp.array([0.0, 1.0]))
    Array([0.125, 1.5  ], dtype=float32)
    """
    if not _is_float(predictions) or not _number(delta) or not delta > 0:
        return own.huber_loss(predictions, targets, delta=delta)
    targets = jnp.zeros_like(predictions) if targets is None else targets
    return _broadcast(fused.huber_loss, predictions, targets, delta=float(delta))


def log_cosh(predictions: Any, targets: Any = None) -> Any:
    """Logarithm of the hyperbolic cosine of differences: `optax.losses.log_cosh`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> optax.log_cosh(jnp.array([0.5, 1.0]), jnp.array([0.0, 0.0])).round(4)
    Array([0.1201    , 0.43379998], dtype=float32)
    """
    if not _is_float(predictions):
        return own.log_cosh(predictions, targets)
    targets = jnp.zeros_like(predictions) if targets is None else targets
    return _broadcast(fused.log_cosh_loss, predictions, targets)


def cosine_similarity(
    predictions: Any, targets: Any, *, epsilon: Any = 0.0, axis: Any = -1, where: Any = None
) -> Any:
    """Cosine of the angle of vectors: `optax.losses.cosine_similarity`.

    With the default epsilon a vector of zeros has the cosine 0, where optax's is nan.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> a, b = jnp.array([[1.0, 0.0], [3.0, 4.0]]), jnp.array([[0.0, 1.0], [3.0, 4.0]])
    >>> optax.cosine_similarity(a, b).round(4)
    Array([0., 1.], dtype=float32)
    """
    plain = where is None and _number(epsilon) and epsilon == 0
    if not plain or not _is_float(predictions, targets) or not _has_axis(predictions, axis):
        return own.cosine_similarity(predictions, targets, epsilon=epsilon, axis=axis, where=where)
    return -fused.cosine_similarity_loss(predictions, targets, axis=axis, reduction="none")


def cosine_distance(
    predictions: Any, targets: Any, *, epsilon: Any = 0.0, axis: Any = -1, where: Any = None
) -> Any:
    """1 - `cosine_similarity`: `optax.losses.cosine_distance`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> a, b = jnp.array([[1.0, 0.0], [3.0, 4.0]]), jnp.array([[0.0, 1.0], [3.0, 4.0]])
    >>> optax.cosine_distance(a, b).round(4)
    Array([1., 0.], dtype=float32)
    """
    return 1.0 - cosine_similarity(predictions, targets, epsilon=epsilon, axis=axis, where=where)


def ranking_softmax_loss(
    logits: Any,
    labels: Any,
    *,
    where: Any = None,
    weights: Any = None,
    reduce_fn: Any = jnp.mean,
) -> Any:
    """Cross-entropy of relevances: `optax.losses.ranking_softmax_loss`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> logits, relevances = jnp.array([[2.0, 0.0, 0.0]]), jnp.array([[1.0, 0.0, 1.0]])
    >>> round(float(optax.ranking_softmax_loss(logits, relevances)), 4)
    2.4791
    """
    plain = where is None and weights is None and _is_float(logits)
    if not plain or logits.shape != labels.shape or reduce_fn not in (jnp.mean, jnp.sum, None):
        return own.ranking_softmax_loss(
            logits, labels, where=where, weights=weights, reduce_fn=reduce_fn
        )
    losses = fused.ranking_softmax_loss(logits, labels.astype(logits.dtype), reduction="none")
    return losses if reduce_fn is None else reduce_fn(losses)


def ntxent(embeddings: Any, labels: Any, temperature: Any = 0.07) -> Any:
    """Contrastive loss of normalised embeddings: `optax.losses.ntxent`.

    Examples
    --------
    >>> from jax import numpy as jnp
    >>> from fusedloss.jax import optax
    >>> embeddings = jnp.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.2, 1.0]])
    >>> loss = optax.ntxent(embeddings, jnp.array([0, 0, 1, 1]), temperature=0.5)
    >>> round(float(loss), 4)
    0.3564
    """
    if not _is_float(embeddings) or embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        return own.ntxent(embeddings, labels, temperature)
    if not _number(temperature):
        temperature = jnp.asarray(temperature)
    return fused.ntxent_loss(embeddings, labels, temperature=temperature)
