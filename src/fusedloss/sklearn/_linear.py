"""What linear models of any loss share: the parameters, and how they are fitted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from fusedloss._training import refuse
from fusedloss._types import Array
from fusedloss.sklearn._objective import Objective, Penalty
from fusedloss.sklearn._solver import minimize


class Linear(BaseEstimator):  # type: ignore[misc]
    """What the two estimators share: the parameters, and how they are fitted."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "loss": [callable],
        "loss_options": [dict, None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"})],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        loss: Callable[..., Any],
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
        self.loss = loss
        self.loss_options = loss_options
        self.alpha = alpha
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.n_threads = n_threads

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn has to know of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _options(self) -> dict[str, Any]:
        return dict(self.loss_options or {})

    def _weights(self, sample_weight: ArrayLike | None, X: Any) -> Array:
        weight: Array = _check_sample_weight(sample_weight, X, dtype=np.float64)
        refuse("sample_weight", weight, weight < 0, "a number of at least 0")
        return weight

    def _fit(
        self,
        X: Any,
        targets: Array,
        weight: Array,
        form: str,
        constants: Array,
        unit: float = 1.0,
    ) -> tuple[Array, Array]:
        """Return coefficients (columns, features) and intercepts (columns,).

        constants: what to predict without features, to start from; in so many units.
        """
        columns = len(constants)
        share = {"l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio}[self.penalty]
        objective = Objective(
            self.loss,
            self._options(),
            X,
            targets,
            weight,
            columns=columns,
            form=form,
            penalty=Penalty(l1=self.alpha * share, l2=self.alpha * (1 - share)),
            fit_intercept=self.fit_intercept,
            unit=unit,
            num_threads=self.n_threads,
        )
        start = None
        if self.warm_start and hasattr(self, "coef_"):
            coefficients = np.atleast_2d(self.coef_)
            if coefficients.shape == (columns, X.shape[1]):
                start = coefficients, np.atleast_1d(self.intercept_)
        found = minimize(objective, constants, start, self.max_iter, self.tol)
        self.n_iter_ = found.iterations
        if not found.converged:
            warnings.warn(
                f"{type(self).__name__} stopped after {found.iterations} iterations: "
                f"{found.message}. Give more iterations as max_iter, or a larger tol.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return found.coefficients, found.intercepts

    def _raw(self, X: Any) -> Array:
        """Return raw predictions, of shape (n_samples, columns)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        raw: Array = X @ np.atleast_2d(self.coef_).T + self.intercept_
        return raw
