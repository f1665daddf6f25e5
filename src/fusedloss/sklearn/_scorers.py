"""Scorers: the mean loss of an estimator's predictions, negated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import make_scorer as make_scorer_of

from fusedloss._training import KINDS, Kind, as_column, checked, options_of_a_loss, refuse
from fusedloss._types import Array

#: Probabilities are kept this far from 0 and 1, as scikit-learn's log_loss keeps them.
_EPSILON = float(np.finfo(np.float64).eps)


class MeanLoss:
    """The mean loss of predictions, as ``sklearn.metrics`` has its functions."""

    def __init__(
        self, loss: Callable[..., Any], options: dict[str, Any], labels: ArrayLike | None
    ) -> None:
        name = options_of_a_loss(loss, options)
        if name not in KINDS:
            raise ValueError(f"loss is {name}: expected one of {', '.join(KINDS)}")
        self.loss = loss
        self.options = options
        self.labels = labels
        self.__name__ = name

    @property
    def _kind(self) -> Kind:
        return KINDS[self.__name__]

    @property
    def response(self) -> str | tuple[str, ...]:
        """What it asks of an estimator."""
        if self._kind.target in ("class", "share"):
            return "predict_proba"
        return "decision_function" if self._kind.target == "sign" else "predict"

    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean loss."""
        predicted = np.asarray(y_pred)
        target, raw = self._target(np.asarray(y_true), predicted), self._raw(predicted)
        losses = self.loss(raw, target, reduction="none", **self.options)
        if sample_weight is None:
            return float(np.mean(losses))
        weight = as_column(np.asarray(sample_weight), losses)
        return float(np.average(losses, weights=np.broadcast_to(weight, losses.shape)))

    def _raw(self, predicted: Array) -> Array:
        """Return the raw predictions behind what an estimator predicts."""
        if self._kind.target == "class":
            if predicted.ndim == 1:  # of the second of two classes
                predicted = np.stack([1 - predicted, predicted], axis=1)
            return np.asarray(np.log(np.maximum(predicted, _EPSILON)))
        if self._kind.target == "share":
            shares = np.clip(predicted, _EPSILON, 1 - _EPSILON)
            return np.asarray(np.log(shares) - np.log1p(-shares))
        if self._kind.link is np.exp:
            if not (predicted > 0).all():
                raise ValueError("a prediction is not positive: expected positive rates")
            return np.asarray(np.log(predicted))
        return predicted

    def _target(self, target: Array, predicted: Array) -> Array:
        if self._kind.target not in ("class", "share", "sign"):
            return checked(self._kind.target, target)
        labels = np.unique(target if self.labels is None else np.asarray(self.labels))
        columns = predicted.shape[1] if predicted.ndim == 2 else 2
        if len(labels) != columns:
            raise ValueError(
                f"there are {len(labels)} labels and {columns} classes predicted: give all the "
                "labels as labels="
            )
        if self._kind.target != "class" and len(labels) != 2:
            raise ValueError(f"there are {len(labels)} labels: {self.__name__} is of two")
        at = np.searchsorted(labels, target)
        unknown = (at == len(labels)) | (labels[np.minimum(at, len(labels) - 1)] != target)
        refuse("target", target, unknown, f"one of the labels {labels}")
        if self._kind.target == "class":
            return np.asarray(at)
        return np.asarray(2.0 * at - 1 if self._kind.target == "sign" else at, np.float64)


def make_scorer(
    loss: Callable[..., Any], *, labels: ArrayLike | None = None, **options: Any
) -> Any:
    """Return a scorer for model selection: the negative mean loss of an estimator's predictions.

    Parameters
    ----------
    loss : function
        One of the losses that `fusedloss.boosting.Objective` takes.
    labels : array, optional
        All labels of a classification, where a fold may lack some; otherwise those of the fold.
    **options
        The loss's options: ``gamma=2.0``, ``quantile=0.9``, ...

    Returns
    -------
    scorer
        As ``sklearn.metrics.make_scorer`` makes it: called with (estimator, X, y), and with
        ``sample_weight``. It asks the estimator for ``predict_proba`` if the loss is one of
        probabilities, for ``decision_function`` if it is one of signs, else for ``predict``, and
        turns the answer back into what the loss takes: logarithms of probabilities and of rates.

    Raises
    ------
    TypeError
        If `loss` is not one of this package's losses, or does not have one of the options.
    ValueError
        If it is not one of predictions. When scoring: for targets that it does not take.

    Examples
    --------
    >>> import fusedloss as fl
    >>> from fusedloss.sklearn import make_scorer
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = make_scorer(fl.focal_loss, gamma=2.0)
    >>> bool((cross_val_score(LogisticRegression(max_iter=500), X, y, scoring=scorer) < 0).all())
    True
    """
    function = MeanLoss(loss, options, labels)
    return make_scorer_of(function, greater_is_better=False, response_method=function.response)
