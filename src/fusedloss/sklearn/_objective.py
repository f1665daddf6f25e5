"""What a linear model minimises: the mean loss of X w + b, its gradient, and a penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.classification import softmax
from fusedloss.regression import huber_loss
from fusedloss.transform import value_and_grad

#: Up to so many features are made independent of each other.
MOST_DECORRELATED = 256

#: Rows of which products of features are summed at a time.
BLOCK = 4096


@dataclass(frozen=True)
class Penalty:
    """l1 |w|_1 + l2 / 2 |w|_2^2."""

    l1: float
    l2: float


@dataclass(frozen=True)
class Kinks:
    """A loss slope (x - t) + size |x - t|: what it is rounded off by."""

    slope: Array | float
    size: Array | float


def kinks_of(name: str, target: Array, options: dict[str, Any]) -> Kinks | None:
    """Return a loss's kinks; None if it is smooth."""
    if name == "l1_loss":
        return Kinks(0.0, 1.0)
    if name == "quantile_loss":
        return Kinks(0.5 - options.get("quantile", 0.5), 0.5)
    if name == "mape_loss":
        return Kinks(0.0, 100 / np.maximum(np.abs(target), 1e-7))
    if name == "hinge_loss":  # of signs t: |1 - t x| is |x - t|
        return Kinks(-target / 2, 0.5)
    return None


class Objective:
    """The mean loss in parameters in which it curves alike in all directions.

    These are the coefficients of features that are centred, if there is an intercept, and made
    independent, if the L1 norm is not penalised: that is of single coefficients, whose features are
    divided by their standard deviation. X is not copied for that, and the solution is the same: the
    centre is subtracted from raw predictions, and the penalty is that of the coefficients.

    form: "pointwise" for targets of the shape of raw predictions, (n, columns); "scores" or
    "probabilities" for class indices beside (n, columns), or beside 0 and the only column.
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        options: dict[str, Any],
        X: Any,
        target: Array,
        weight: Array,
        *,
        columns: int,
        form: str,
        penalty: Penalty,
        fit_intercept: bool,
        unit: float,
        num_threads: int | None,
    ) -> None:
        self.X, self.target, self.columns, self.form = X, target, columns, form
        self.features = int(X.shape[1])
        self.penalty, self.fit_intercept = penalty, fit_intercept
        total = weight.sum()
        if not total > 0:
            raise ValueError("sample_weight sums to 0: expected a positive weight")
        self.weight = weight / total
        self.centre, squares = self._moments()
        #: parameters = coefficients @ forth and back, both (features, features) or diagonals
        self.forth, self.back = self._bases(squares)
        #: of raw predictions, and so of parameters
        self.unit = unit
        #: the least second derivative that the penalty sees to, by parameters
        self.flattest = penalty.l2 / float(self.largest) * unit**2
        self.kinks = kinks_of(lookup(loss).name, target, options)
        self.rounding = 0.0  #: how far from its kinks a loss is rounded off
        self._function = value_and_grad(loss)
        self._huber = value_and_grad(huber_loss)
        self._softmax = value_and_grad(softmax)
        self._options = options | {"num_threads": num_threads}
        self._threads = num_threads

    def _moments(self) -> tuple[Array, Array]:
        """Return what features are centred by, and their covariances or variances about it."""
        X, weight = self.X, self.weight
        centre = np.asarray(X.T @ weight) if self.fit_intercept else np.zeros(self.features)
        if self.penalty.l1 or self.features > MOST_DECORRELATED:
            by_square = X.power(2).T @ weight if hasattr(X, "power") else _squares(X, weight)
            variances = np.asarray(by_square)
            left = variances - centre**2
            return centre, np.where(left > 1e-12 * variances, left, 0.0)
        products = np.zeros((self.features, self.features))
        for first in range(0, len(weight), BLOCK):
            rows = X[first : first + BLOCK]
            if hasattr(rows, "toarray"):
                rows = rows.toarray()
            rows = rows - centre
            products += (rows * weight[first : first + BLOCK, np.newaxis]).T @ rows
        return centre, products

    def _bases(self, squares: Array) -> tuple[Array, Array]:
        """Return what takes coefficients to parameters, and back."""
        if squares.ndim == 1:
            scale = np.sqrt(squares + self.penalty.l2)
            scale = np.where(scale > 0, scale, 1.0)
            self.largest = scale.max() ** 2
            return scale, 1 / scale
        # The penalty curves too: with it no direction is flat, but where features depend on others.
        diagonal = squares.diagonal().mean() or 1.0
        curvature = squares + (self.penalty.l2 + 1e-12 * diagonal) * np.eye(self.features)
        values, vectors = np.linalg.eigh(curvature)
        self.largest = max(values[-1], 1e-300)
        roots = np.sqrt(np.maximum(values, 1e-12 * self.largest))
        return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T

    # ---- Coefficients ----

    def packed(self, coefficients: Array, intercepts: Array) -> Array:
        """Return (columns, features) and (columns,) as the parameters of `value_and_grad`."""
        own = _times(coefficients, self.forth).ravel()
        if self.fit_intercept:
            own = np.concatenate([own, intercepts + coefficients @ self.centre])
        return own / self.unit

    def unpacked(self, parameters: Array) -> tuple[Array, Array]:
        """Return the coefficients and intercepts of parameters."""
        split = self.columns * self.features
        parameters = parameters * self.unit
        own = parameters[:split].reshape(self.columns, self.features)
        coefficients = _times(own, self.back)
        if not self.fit_intercept:
            return coefficients, np.zeros(self.columns)
        return coefficients, parameters[split:] - coefficients @ self.centre

    @property
    def size(self) -> int:
        """The number of parameters: of coefficients, then of intercepts."""
        return self.columns * (self.features + int(self.fit_intercept))

    @property
    def l1(self) -> Array:
        """The weight of each parameter's absolute value."""
        weights = np.zeros(self.size)
        if self.penalty.l1:
            split = self.columns * self.features
            weights[:split] = np.tile(self.penalty.l1 * self.unit * self.back, self.columns)
        return weights

    # ---- Value and gradient ----

    def value_and_grad(self, parameters: Array) -> tuple[float, Array]:
        """Return the mean loss with the L2 penalty, and the gradient; the L1 norm is left out."""
        coefficients, intercepts = self.unpacked(parameters)
        value, slopes = self._loss(self.X @ coefficients.T + intercepts)
        gradient = np.empty_like(parameters)
        split = self.columns * self.features
        sums = slopes.sum(axis=0)
        by_coefficients = np.asarray(self.X.T @ slopes).T - np.outer(sums, self.centre)
        by_coefficients += self.penalty.l2 * coefficients
        gradient[:split] = _times(by_coefficients, self.back).ravel()
        gradient[split:] = sums[: len(gradient) - split]
        gradient *= self.unit
        return value + self.penalty.l2 / 2 * float(np.sum(coefficients**2)), gradient

    def magnitude(self, intercepts: Array) -> float:
        """Return the size that losses have at constant predictions: that of slopes, in units."""
        raw = np.tile(intercepts, (len(self.weight), 1))
        return float(np.abs(self._loss(raw)[1]).sum()) * self.unit or 1.0

    def _loss(self, raw: Array) -> tuple[float, Array]:
        """Return the weighted sum of losses, and its gradient, which may take raw's memory."""
        if self.form == "pointwise":
            return self._rounded(raw) if self.rounding else self._pointwise(raw)
        scores = np.hstack([np.zeros_like(raw), raw]) if self.columns == 1 else raw
        call = {"reduction": "sum", "sample_weight": self.weight, **self._options}
        if self.form == "probabilities":
            probabilities = softmax(scores)
            value, slopes = self._function(probabilities, self.target, **call)
            slopes = self._softmax(scores, grad_output=slopes)[1]
        else:
            value, slopes = self._function(scores, self.target, out=scores, **call)
        return value, slopes[:, 1:] if self.columns == 1 else slopes

    def _pointwise(self, raw: Array) -> tuple[float, Array]:
        weight = self.weight[:, np.newaxis]
        made: tuple[float, Array] = self._function(
            raw, self.target, reduction="sum", weight=weight, out=raw, **self._options
        )
        return made

    def _rounded(self, raw: Array) -> tuple[float, Array]:
        """Do the same with the kinks rounded off: |d| becomes Huber's function over delta."""
        assert self.kinks is not None
        weight = self.weight[:, np.newaxis]
        straight = weight * self.kinks.slope
        value = float(np.sum(straight * (raw - self.target)))
        of_huber, gradient = self._huber(
            raw,
            self.target,
            delta=self.rounding,
            weight=np.broadcast_to(weight * self.kinks.size / self.rounding, raw.shape),
            reduction="sum",
            out=raw,
            num_threads=self._threads,
        )
        gradient += straight
        return value + of_huber, gradient


def _times(rows: Array, basis: Array) -> Array:
    """Return rows in another basis, a symmetric matrix or its diagonal."""
    return rows * basis if basis.ndim == 1 else rows @ basis


def _squares(X: Array, weight: Array) -> Array:
    """Return the weighted sums of the squares of columns, without an array of them."""
    sums: Array = np.einsum("ij,ij,i->j", X, X, weight)
    return sums
