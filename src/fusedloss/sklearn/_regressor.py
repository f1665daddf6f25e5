"""Linear models of losses of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.validation import (
    validate_data,
)

from fusedloss._training import KINDS, RawLoss, checked, kinds, options_of_a_loss
from fusedloss._types import Array
from fusedloss.regression import mse_loss
from fusedloss.sklearn._linear import Linear


class LinearRegressor(RegressorMixin, Linear):  # type: ignore[misc]
    """A linear model that minimises the mean of any regression loss, and a penalty.

    It minimises, over coefficients w and a free intercept b, ::

        mean(loss(X w + b, y)) + alpha (r |w|_1 + (1 - r) / 2 |w|_2^2)

    with r = 0 for ``penalty="l2"``, 1 for ``"l1"`` and `l1_ratio` for ``"elasticnet"``. With sample
    weights the mean is weighted.

    Parameters
    ----------
    loss : function, default ``fusedloss.mse_loss``
        A loss of numbers: squared, absolute, quantile, percentage, Huber, smooth L1, log-cosh;
        or of rates: Poisson, gamma, Tweedie, of which the model predicts the logarithm.
    loss_options : dict, optional
        The loss's options: ``{"quantile": 0.9}``, ...
    alpha : float, default 1e-2
        How much the penalty counts.
    penalty : {"l2", "l1", "elasticnet"}, default "l2"
        Which norm of the coefficients is penalised. The intercept is not.
    l1_ratio : float, default 0.5
        The share of "l1" in "elasticnet".
    fit_intercept : bool, default True
        Whether there is an intercept.
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
    coef_ : array of shape (n_features,)
        The coefficients.
    intercept_ : float
        The intercept; 0 without one.
    n_iter_ : int
        Iterations taken.
    n_features_in_ : int
        Features seen in ``fit``.

    See Also
    --------
    LinearClassifier : The same for classes.

    Notes
    -----
    scipy's L-BFGS-B takes value and gradient from one pass over the raw predictions. Features are
    centred and scaled inside it, without a copy of X and without an effect on the solution. For the
    L1 norm w is split into p - n, neither of them negative, so that coefficients become exactly 0.
    Losses with kinks are rounded off around them, less and less, down to a ten-thousandth of the
    targets' standard deviation.

    ``mse_loss`` is not halved: ``Ridge(alpha=a)`` is ``alpha = 2 a / n`` here, ``Lasso(alpha=a)``
    is ``penalty="l1"`` and ``alpha = 2 a``, ``QuantileRegressor(alpha=a)`` is ``penalty="l1"`` and
    ``alpha = a``.

    Examples
    --------
    >>> import fusedloss as fl
    >>> import numpy as np
    >>> from fusedloss.sklearn import LinearRegressor
    >>> X, y = np.arange(8.0).reshape(-1, 1), np.arange(8.0) * 2 + 1
    >>> y[3] = 100
    >>> model = LinearRegressor(fl.l1_loss, alpha=0).fit(X, y)
    >>> model.coef_.round(3), round(model.intercept_, 2)
    (array([2.]), 1.0)
    """

    def __init__(
        self,
        loss: Callable[..., Any] = mse_loss,
        *,
        loss_options: dict[str, Any] | None = None,
        alpha: float = 1e-2,
        penalty: Literal["l2", "l1", "elasticnet"] = "l2",
        l1_ratio: float = 0.5,
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

    def _kind(self) -> kinds.Kind:
        """Return what the loss predicts; ValueError if it is none of numbers."""
        options = self._options()
        name = options_of_a_loss(self.loss, options)
        kind = KINDS.get(name)
        if kind is None or kind.target not in ("real", "count", "positive"):
            listed = [n for n, k in KINDS.items() if k.target in ("real", "count", "positive")]
            raise ValueError(f"loss is {name}: expected one of {', '.join(listed)}")
        if options.get("log_input", True) is not True:
            raise ValueError("log_input is False: raw predictions are logarithms of rates")
        return kind

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> LinearRegressor:
        """Fit the model.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            The features.
        y : array of shape (n_samples,)
            The targets.
        sample_weight : array of shape (n_samples,), optional
            A weight for each sample.

        Returns
        -------
        LinearRegressor
            The same object.
        """
        self._validate_params()
        kind = self._kind()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, y_numeric=True)
        weight = self._weights(sample_weight, X)
        target = checked(kind.target, np.asarray(y, np.float64))
        constant, unit = 0.0, 1.0
        if self.fit_intercept:
            raw_loss = RawLoss(self.loss, "auto", self._options(), "loss")
            constant = float(raw_loss.initial(target, weight))
        if kind.link is kinds.same:
            unit = float(np.sqrt(np.average((target - constant) ** 2, weights=weight))) or 1.0
        coefficients, intercepts = self._fit(
            X, target[:, np.newaxis], weight, "pointwise", np.array([constant]), unit
        )
        self.coef_ = coefficients[0]
        self.intercept_ = float(intercepts[0])
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return predictions: values or rates, of shape (n_samples,)."""
        raw = self._raw(X)
        return self._kind().link(raw[:, 0])
