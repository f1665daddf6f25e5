"""Linear models of losses of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d, validate_data

from fusedloss._training import KINDS, kinds, options_of_a_loss
from fusedloss._types import Array
from fusedloss.classification import cross_entropy
from fusedloss.sklearn._linear import Linear

#: What losses of classes take: indices beside scores, or beside probabilities; else see KINDS.
_CLASS_LOSSES = {
    "cross_entropy": "scores",
    "focal_loss": "scores",
    "generalized_cross_entropy": "probabilities",
    "multi_margin_loss": "scores",
    "poly1_cross_entropy": "scores",
    "sparsemax_loss": "scores",
}

#: Losses of classes whose softmax is a probability.
_SOFTMAX = ("cross_entropy", "focal_loss", "generalized_cross_entropy", "poly1_cross_entropy")


def _has_probabilities(self: LinearClassifier) -> bool:
    name, form = self._form()
    return name in _SOFTMAX or (form == "pointwise" and KINDS[name].link is not kinds.same)


class LinearClassifier(ClassifierMixin, Linear):  # type: ignore[misc]
    """A linear model that minimises the mean of any classification loss, and a penalty.

    It minimises what `LinearRegressor` does. Losses of several classes (cross-entropy, focal,
    generalised cross-entropy, poly-1, sparsemax, multi-margin) have a column of coefficients for
    each class; with two classes the first one's are 0. Losses of two classes (logistic, hinge,
    squared hinge, exponential, sigmoid focal, binary cross-entropy) are summed over the classes,
    each against the rest, where there are more than two; and over the labels of a matrix of zeros
    and ones, of which a sample may have any number.

    Parameters
    ----------
    loss : function, default ``fusedloss.cross_entropy``
        A loss of classes.
    loss_options : dict, optional
        The loss's options: ``{"gamma": 2.0}``, ...
    alpha : float, default 1e-2
        How much the penalty counts: ``LogisticRegression(C=c)`` is ``alpha = 1 / (c n)``.
    penalty : {"l2", "l1", "elasticnet"}, default "l2"
        Which norm of the coefficients is penalised. The intercepts are not.
    l1_ratio : float, default 0.5
        The share of "l1" in "elasticnet".
    class_weight : dict or "balanced", optional
        A weight for each class; "balanced": inversely proportional to its number of samples.
    fit_intercept : bool, default True
        Whether there are intercepts.
    max_iter : int, default 1000
        The most iterations.
    tol : float, default 1e-9
        Stop when no derivative of the objective exceeds it, losses and parameters being in units of
        their own size; 1e-6 at least for losses with kinks.
    warm_start : bool, default False
        Start from the last solution.
    n_threads : int, optional
        The threads that the loss is computed on, by default `fusedloss.get_num_threads`.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted; of a matrix of labels its columns' numbers.
    coef_ : array of shape (n_classes, n_features), or (1, n_features) of two classes
        The coefficients.
    intercept_ : array of shape (n_classes,), or (1,) of two classes
        The intercepts; 0 without any.
    n_iter_ : int
        Iterations taken.
    n_features_in_ : int
        Features seen in ``fit``.

    See Also
    --------
    LinearRegressor : The same for numbers; how it is fitted.

    Examples
    --------
    >>> import fusedloss as fl
    >>> from fusedloss.sklearn import LinearClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LinearClassifier(fl.focal_loss, loss_options={"gamma": 1.0}).fit(X, y)
    >>> model.predict(X[:3])
    array([0, 0, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Linear._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        loss: Callable[..., Any] = cross_entropy,
        *,
        loss_options: dict[str, Any] | None = None,
        alpha: float = 1e-2,
        penalty: Literal["l2", "l1", "elasticnet"] = "l2",
        l1_ratio: float = 0.5,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-9,
        warm_start: bool = False,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(
            loss,
            loss_options=loss_options,
            alpha=alpha,
            penalty=penalty,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            n_threads=n_threads,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn has to know of the estimator."""
        tags = super().__sklearn_tags__()
        try:
            tags.classifier_tags.multi_label = self._form()[1] == "pointwise"
        except (TypeError, ValueError):  # which `fit` raises
            tags.classifier_tags.multi_label = False
        return tags

    def _form(self) -> tuple[str, str]:
        """Return the loss's name and what it takes; ValueError if it is none of classes."""
        name = options_of_a_loss(self.loss, self._options())
        if name in _CLASS_LOSSES:
            return name, _CLASS_LOSSES[name]
        if name in KINDS and KINDS[name].target in ("share", "sign"):
            return name, "pointwise"
        listed = [n for n, k in KINDS.items() if k.target in ("share", "sign")]
        raise ValueError(f"loss is {name}: expected one of {', '.join([*_CLASS_LOSSES, *listed])}")

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> LinearClassifier:
        """Fit the model.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            The features.
        y : array of shape (n_samples,), or (n_samples, n_labels)
            The labels, of any kind that sorts; or zeros and ones, for a loss of two classes.
        sample_weight : array of shape (n_samples,), optional
            A weight for each sample.

        Returns
        -------
        LinearClassifier
            The same object.
        """
        self._validate_params()
        form = self._form()[1]
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.float64, multi_output=form == "pointwise"
        )
        check_classification_targets(y)
        self._of_labels = type_of_target(y) == "multilabel-indicator"
        weight = self._weights(sample_weight, X)
        if self._of_labels:
            dense = y.toarray() if hasattr(y, "toarray") else y
            return self._fit_labels(X, np.asarray(dense), weight)
        self.classes_, target = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"y has one class, {self.classes_[0]!r}: expected at least two classes"
            )
        if self.class_weight is not None:
            weight = weight * self._weights_of_classes(target, weight)[target]
        columns = 1 if n_classes == 2 else n_classes
        if form == "pointwise":
            hits = target[:, np.newaxis] == (np.arange(columns) + (columns == 1))
            target = self._as_targets(hits)
        self.coef_, self.intercept_ = self._fit(X, target, weight, form, np.zeros(columns))
        return self

    def _as_targets(self, hits: Array) -> Array:
        """Return whether samples have labels as a loss of two classes takes it."""
        return np.where(hits, 1.0, -1.0 if KINDS[self._form()[0]].target == "sign" else 0.0)

    def _fit_labels(self, X: Any, y: Array, weight: Array) -> LinearClassifier:
        """Fit a column of coefficients for each label."""
        if self.class_weight is not None:
            raise ValueError("class_weight is given: a sample has no one class of several labels")
        columns = y.shape[1]
        self.classes_ = np.arange(columns)
        target = self._as_targets(y != 0)
        found = self._fit(X, target, weight, "pointwise", np.zeros(columns))
        self.coef_, self.intercept_ = found
        return self

    def _weights_of_classes(self, target: Array, weight: Array) -> Array:
        """Return a weight for each class."""
        if isinstance(self.class_weight, dict):
            given = self.class_weight
            unknown = [label for label in given if label not in self.classes_]
            if unknown:
                raise ValueError(f"class_weight has {unknown[0]!r}: expected labels of y")
            return np.array([float(given.get(label, 1.0)) for label in self.classes_.tolist()])
        sums = np.bincount(target, weights=weight)
        return np.asarray(sums.sum() / (len(sums) * np.maximum(sums, 1e-300)))

    def decision_function(self, X: ArrayLike) -> Array:
        """Return raw predictions, of shape (n_samples, n_classes), or (n_samples,) of two."""
        raw = self._raw(X)
        return raw[:, 0] if raw.shape[1] == 1 and not self._of_labels else raw

    def predict(self, X: ArrayLike) -> Array:
        """Return the labels of the classes with the largest raw prediction.

        Of a matrix of labels one of those above 0.
        """
        raw = self.decision_function(X)
        if self._of_labels:
            return (raw > 0).astype(int)
        at = (raw > 0).astype(int) if raw.ndim == 1 else raw.argmax(axis=1)
        labels: Array = self.classes_[at]
        return labels

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probabilities of the classes, of shape (n_samples, n_classes).

        Only of losses that have a link to probabilities. Losses of two classes give each class's
        own, divided by their sum; of a matrix of labels each label's, which need no sum.
        """
        raw = self._raw(X)
        name, form = self._form()
        if form != "pointwise":
            return kinds.softmax(np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw)
        shares = KINDS[name].link(raw)
        if self._of_labels:
            return shares
        if raw.shape[1] == 1:
            return np.hstack([1 - shares, shares])
        return np.asarray(shares / np.maximum(shares.sum(1, keepdims=True), 1e-300))

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))
