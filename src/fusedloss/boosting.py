"""Objectives and metrics for LightGBM and XGBoost, made of this package's losses."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fusedloss._check.operands import first_bad
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.classification import softmax
from fusedloss.transform import grad_and_hess, value_and_grad

__all__ = ["Metric", "Objective"]

Hessian: TypeAlias = Literal["auto", "exact", "positive", "gauss_newton", "constant"]

HESSIANS = ("auto", "exact", "positive", "gauss_newton", "constant")

#: The least value of the "positive" Hessian, as a share of the largest that the loss has.
FLOOR = 1e-6

#: Both libraries multiply the Hessian of counts by exp(max_delta_step): steps stay small.
MAX_DELTA_STEP = float(np.float32(0.7))


# ---- What a loss's raw predictions and targets are ---------------------------------------------


def _same(raw: Array) -> Array:
    return raw


def _sigmoid(raw: Array) -> Array:
    """Return 1 / (1 + exp(-raw)), without overflow."""
    small = np.exp(-np.abs(raw))
    made: Array = np.where(raw >= 0, 1, small) / (1 + small)
    return made


def _sigmoid_of_double(raw: Array) -> Array:
    return _sigmoid(2 * raw)


def _softmax(raw: Array) -> Array:
    probabilities: Array = softmax(raw, axis=-1)
    return probabilities


@dataclass(frozen=True)
class _Kind:
    """What the policies have to know of a loss."""

    #: From raw predictions to what the loss predicts.
    link: Callable[[Array], Array] = _same
    #: The Hessian that "auto" stands for.
    auto: Hessian = "exact"
    #: The largest second derivative, by the loss's options; None where there is no bound.
    curvature: Callable[[dict[str, Any]], float] | None = None
    #: For a loss with kinks instead of curvature: scales the gradient so that a leaf at the median
    #: can move by one spread of the targets, and gives the Hessian to go with it.
    kinked: Callable[[Array, dict[str, Any]], tuple[Array, Array]] | None = None
    #: What targets may be: "real", "share", "sign", "count", "positive" or "class".
    target: str = "real"
    #: The expected Hessian, of the raw predictions, the gradient and the classes or targets.
    expected: Callable[[Array, Array, Array, dict[str, Any]], Array] | None = None
    #: The best constant, of targets and weights; found numerically where there is no formula.
    initial: Callable[[Array, Array, dict[str, Any]], float] | None = None


def _mean(target: Array, weight: Array, _options: dict[str, Any]) -> float:
    return float(np.average(target, weights=weight))


def _log_mean(target: Array, weight: Array, options: dict[str, Any]) -> float:
    return float(np.log(max(_mean(target, weight, options), np.finfo(np.float64).tiny)))


def _log_odds(target: Array, weight: Array, options: dict[str, Any]) -> float:
    share = np.clip(_mean(target, weight, options), 1e-15, 1 - 1e-15)
    return float(np.log(share / (1 - share)))


def _quantile(level: float, target: Array, weight: Array) -> float:
    """Return the least target up to which there is this share of the weights."""
    order = np.argsort(target, kind="stable")
    sums = np.cumsum(weight[order])
    return float(target[order][np.searchsorted(sums, level * sums[-1])])


def _median(target: Array, weight: Array, _options: dict[str, Any]) -> float:
    return _quantile(0.5, target, weight)


def _level(target: Array, weight: Array, options: dict[str, Any]) -> float:
    return _quantile(options.get("quantile", 0.5), target, weight)


def _median_of_shares(target: Array, weight: Array, _options: dict[str, Any]) -> float:
    return _quantile(0.5, target, weight / np.maximum(np.abs(target), 1e-7))


def _expected_of_classes(
    raw: Array, gradient: Array, target: Array, _options: dict[str, Any]
) -> Array:
    """Return -l' times the curvature of -log p_y, for a loss l(log p_y): never negative.

    The curvature is p_c (1 - p_c), and the gradient -l' (p_c - [c = y]), so that one factor of each
    is left. Of cross-entropy it is the Hessian.
    """
    hessian = softmax(raw, axis=-1)
    at = np.expand_dims(target, -1)
    of_target = np.take_along_axis(hessian, at, -1)
    np.subtract(1, hessian, out=hessian)
    np.put_along_axis(hessian, at, -of_target, -1)
    hessian *= gradient
    made: Array = hessian
    return made


def _expected_of_shares(
    raw: Array, gradient: Array, target: Array, _options: dict[str, Any]
) -> Array:
    """Return the same for two classes, of which one has raw prediction 0."""
    p = _sigmoid(raw)
    return np.abs(gradient) * np.where(target > 0.5, p, 1 - p)


def _signs(gradient: Array, _options: dict[str, Any]) -> tuple[Array, Array]:
    return gradient, np.ones_like(gradient)


def _levels(gradient: Array, options: dict[str, Any]) -> tuple[Array, Array]:
    """Divide by the standard deviation of the gradient at its quantile: signs at the median."""
    level = options.get("quantile", 0.5)
    return gradient / max(level * (1 - level), 1e-6) ** 0.5, np.ones_like(gradient)


def _signs_by_size(gradient: Array, _options: dict[str, Any]) -> tuple[Array, Array]:
    size = np.abs(gradient)
    mean = size.mean() or 1.0
    return gradient / mean, size / mean


_SHARES: dict[str, Any] = {"link": _sigmoid, "target": "share"}

_KINDS: dict[str, _Kind] = {
    "binary_cross_entropy_with_logits": _Kind(
        **_SHARES,
        curvature=lambda options: 0.25,
        expected=_expected_of_shares,
        initial=_log_odds,
    ),
    "cross_entropy": _Kind(
        _softmax, curvature=lambda options: 0.25, target="class", expected=_expected_of_classes
    ),
    "exponential_loss": _Kind(_sigmoid_of_double, target="sign"),
    "focal_loss": _Kind(_softmax, "gauss_newton", target="class", expected=_expected_of_classes),
    "gamma_loss": _Kind(
        np.exp,
        target="positive",
        expected=lambda raw, *_: np.ones_like(raw),
        initial=_log_mean,
    ),
    "hinge_loss": _Kind(auto="constant", curvature=lambda options: 1.0, target="sign"),
    "huber_loss": _Kind(auto="constant", curvature=lambda options: 1.0),
    "l1_loss": _Kind(auto="constant", kinked=_signs, initial=_median),
    "log_cosh_loss": _Kind(auto="constant", curvature=lambda options: 1.0),
    "logistic_loss": _Kind(_sigmoid, curvature=lambda options: 0.25, target="sign"),
    "mape_loss": _Kind(auto="constant", kinked=_signs_by_size, initial=_median_of_shares),
    "mse_loss": _Kind(curvature=lambda options: 2.0, initial=_mean),
    "poisson_nll_loss": _Kind(
        np.exp, target="count", expected=lambda raw, *_: np.exp(raw), initial=_log_mean
    ),
    "quantile_loss": _Kind(auto="constant", kinked=_levels, initial=_level),
    "sigmoid_focal_loss": _Kind(**_SHARES, auto="gauss_newton", expected=_expected_of_shares),
    "smooth_l1_loss": _Kind(
        auto="constant", curvature=lambda options: 1 / options.get("beta", 1.0)
    ),
    "soft_margin_loss": _Kind(_sigmoid, curvature=lambda options: 0.25, target="sign"),
    "squared_hinge_loss": _Kind(auto="constant", curvature=lambda options: 2.0, target="sign"),
    "tweedie_loss": _Kind(
        np.exp,
        target="count",
        expected=lambda raw, _g, _t, options: np.exp((2 - options.get("power", 1.5)) * raw),
        initial=_log_mean,
    ),
}

# ---- Targets -----------------------------------------------------------------------------------

#: What targets are to be, and which are not so.
_TARGETS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "real": ("finite numbers", lambda t: ~np.isfinite(t)),
    "share": ("numbers in [0, 1]", lambda t: ~((t >= 0) & (t <= 1))),
    "sign": ("-1 or 1", lambda t: np.abs(t) != 1),
    "count": ("numbers of at least 0", lambda t: ~((t >= 0) & (t < np.inf))),
    "positive": ("positive numbers", lambda t: ~((t > 0) & (t < np.inf))),
}


def _classes(target: Array, number: int | None) -> Array:
    """Return class indices, which boosters hand out as floats."""
    bad = ~((target >= 0) & (target == np.floor(target)))
    expected = "whole numbers of at least 0"
    if number is not None:
        bad |= ~(target < number)
        expected = f"whole numbers in [0, {number})"
    _refuse(target, bad, expected)
    return target.astype(np.int64, copy=False)


def _refuse(target: Array, bad: Array, expected: str) -> None:
    if bad.any():
        where, value = first_bad("target", target, bad)
        raise ValueError(f"{where} is {value}: expected {expected}")


# ---- The objective -----------------------------------------------------------------------------


class Objective:
    """A loss as an objective of gradient boosting, for LightGBM and XGBoost.

    Parameters
    ----------
    loss : function
        One of the losses that have a Hessian: ``fl.cross_entropy``, ``fl.focal_loss``,
        ``fl.quantile_loss``, ...
    hessian : {"auto", "exact", "positive", "gauss_newton", "constant"}, default "auto"
        What the libraries get as the second derivative, by which they divide the sum of gradients
        of a leaf:

        "exact"
            The second derivative as it is, negative where the loss is not convex.
        "positive"
            The same, but at least a millionth of the largest that the loss has.
        "gauss_newton"
            What is never negative: of a loss of probabilities, the part that stems from the
            curvature of the logarithm; of gamma, Poisson and Tweedie, the expected one.
        "constant"
            The largest second derivative that the loss has, with which no step is too long. The
            absolute, quantile and percentage losses have none: for them it is 1, and the gradient
            is multiplied by d, the mean distance of the targets from their median, so that a leaf
            moves by d at most, whatever the targets' unit. The gradient of a quantile q is first
            divided by its standard deviation sqrt(q (1 - q)), which makes signs of the median's;
            gradient and Hessian of the percentage loss are divided by the mean of 1 / |target|.
        "auto"
            "constant" for losses that have kinks or flat tails (absolute, quantile, percentage,
            Huber, smooth L1, log-cosh, hinge), "gauss_newton" for the focal losses, else "exact".
    **options
        The loss's options: ``gamma=2.0``, ``quantile=0.9``, ...

    Raises
    ------
    TypeError
        If `loss` is not one of this package's losses, or does not have one of the options.
    ValueError
        If the loss has no Hessian, or none of the kind asked for.

    See Also
    --------
    fusedloss.grad_and_hess : Gradient and exact Hessian, for other libraries.

    Notes
    -----
    An objective has no state: it can be pickled, copied and used by several boosters at once.
    Targets are checked in every round, so that a bad one is an error before the first tree.

    Both libraries begin custom objectives at 0. Give them `initial`'s constant as ``init_score`` or
    ``base_margin``, and to `predict` too.

    The factors of the libraries' own objectives are applied, so that the same loss trains the same
    trees: half of squared errors; the Hessian of several classes times C / (C - 1) in LightGBM and
    2 in XGBoost; that of Poisson times exp(0.7). XGBoost's own ``count:poisson`` also limits the
    weights of leaves: give ``max_delta_step=0.7`` to have the same.

    Examples
    --------
    >>> import fusedloss as fl
    >>> from fusedloss.boosting import Objective
    >>> objective = Objective(fl.quantile_loss, quantile=0.9)
    >>> objective
    Objective(quantile_loss, hessian='auto', quantile=0.9)

    With LightGBM, by either interface::

        LGBMRegressor(objective=objective.lightgbm).fit(X, y)
        lightgbm.train({"objective": objective.lightgbm}, lightgbm.Dataset(X, y))

    and with XGBoost::

        XGBRegressor(objective=objective.xgboost, base_score=0).fit(X, y)
        xgboost.train({"base_score": 0}, xgboost.DMatrix(X, y), obj=objective.xgboost)
    """

    def __init__(
        self, loss: Callable[..., Any], *, hessian: Hessian = "auto", **options: Any
    ) -> None:
        record = lookup(loss)
        kind = _KINDS.get(record.name)
        if kind is None:
            raise ValueError(
                f"loss is {record.name}: it is no objective; expected one of {', '.join(_KINDS)}"
            )
        if hessian not in HESSIANS:
            raise ValueError(f"hessian is {hessian!r}: expected one of {', '.join(HESSIANS)}")
        taken = set(record.parameters[2:]) - _OF_A_CALL
        for name in options:
            if name not in taken:
                listed = ", ".join(sorted(taken)) or "none"
                raise TypeError(f"{record.name} has no option {name!r} here: expected {listed}")
        if options.get("log_input", True) is not True:
            raise ValueError("log_input is False: raw predictions are logarithms of rates")
        policy = kind.auto if hessian == "auto" else hessian
        if policy == "gauss_newton" and kind.expected is None:
            raise ValueError(f"hessian is 'gauss_newton': {record.name} has none")
        if policy == "constant" and kind.curvature is None and kind.kinked is None:
            raise ValueError(f"hessian is 'constant': that of {record.name} has no bound")
        self.loss = loss
        self.hessian = hessian
        self.options = options
        self._name = record.name
        self._kind = kind
        self._policy = policy

    def __repr__(self) -> str:
        """Return the loss and its options."""
        options = "".join(f", {name}={option!r}" for name, option in self.options.items())
        return f"Objective({self._name}, hessian={self.hessian!r}{options})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again."""
        return _objective, (self.loss, self.hessian, self.options)

    # ---- What the libraries call ----

    def lightgbm(
        self, a: Any, b: Any, weight: Any = None, group: Any = None
    ) -> tuple[Array, Array]:
        """Return gradient and Hessian as LightGBM asks for them.

        Parameters
        ----------
        a, b
            Targets and raw predictions, as its scikit-learn interface calls an objective; or raw
            predictions and a ``lightgbm.Dataset``, as ``lightgbm.train`` does.
        weight : array, optional
            A weight for each sample; a ``Dataset`` brings its own.
        group
            Sizes of query groups, which no loss here needs.

        Returns
        -------
        tuple of array
            float32, of the shape of the raw predictions.
        """
        target, raw, weight = _arguments(a, b, weight)
        return self._derivatives(target, raw, weight, "lightgbm")

    def xgboost(self, a: Any, b: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Return gradient and Hessian as XGBoost asks for them.

        Parameters
        ----------
        a, b
            Targets and raw predictions, as its scikit-learn interface calls an objective; or raw
            predictions and an ``xgboost.DMatrix``, as ``xgboost.train`` does.
        sample_weight : array, optional
            A weight for each sample; a ``DMatrix`` brings its own.

        Returns
        -------
        tuple of array
            float32, of the shape of the raw predictions.
        """
        target, raw, weight = _arguments(a, b, sample_weight)
        return self._derivatives(target, raw, weight, "xgboost")

    @property
    def lightgbm_metric(self) -> Metric:
        """The mean loss, for LightGBM's ``eval_metric`` or ``feval``."""
        return Metric(self, "lightgbm")

    @property
    def xgboost_metric(self) -> Metric:
        """The mean loss, for XGBoost's ``eval_metric`` or ``custom_metric``."""
        return Metric(self, "xgboost")

    # ---- What users call ----

    def value(
        self, target: ArrayLike, raw: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean loss of raw predictions; with weights, their weighted mean."""
        values = np.asarray(raw)
        checked = self._checked(np.asarray(target), values)
        losses = self.loss(values, checked, reduction="none", **self.options)
        if sample_weight is None:
            return float(np.mean(losses))
        weight = _as_column(np.asarray(sample_weight), losses)
        return float(np.average(losses, weights=np.broadcast_to(weight, losses.shape)))

    def initial(self, target: ArrayLike, sample_weight: ArrayLike | None = None) -> float | Array:
        """Return the best constant for all raw predictions; an array of one for each class.

        Parameters
        ----------
        target : array
            The training targets.
        sample_weight : array, optional
            A weight for each sample.

        Returns
        -------
        float or array of shape (C,)
            What LightGBM takes as ``init_score``, repeated for every sample, and XGBoost as
            ``base_margin``.
        """
        values = np.asarray(target, np.float64)
        if values.size == 0:
            raise ValueError("target is empty: expected at least one")
        weight = np.ones(len(values))
        if sample_weight is not None:
            weight = np.asarray(sample_weight, np.float64)
        if self._kind.target == "class":
            return self._initial_of_classes(_classes(values, None), weight)
        self._checked(values, values)
        if self._kind.initial is not None:
            return self._kind.initial(values, weight, self.options)
        return self._best_constant(values, weight)

    def predict(self, raw: ArrayLike, initial: float | ArrayLike | None = None) -> Array:
        """Return what raw predictions stand for: probabilities, rates or values.

        Parameters
        ----------
        raw : array
            What a booster predicts when asked for raw scores: with ``raw_score=True`` in LightGBM,
            ``output_margin=True`` in XGBoost.
        initial : float or array, optional
            The constant of `initial`, where the booster was given it as ``init_score`` or
            ``base_margin``: LightGBM does not add it to predictions. It is added here.

        Returns
        -------
        array
            Of the shape of `raw`.
        """
        values = np.asarray(raw)
        if initial is not None:
            values = values + np.asarray(initial)
        return self._kind.link(values)

    # ---- How ----

    def _checked(self, target: Array, raw: Array) -> Array:
        """Return targets as the loss takes them."""
        if self._kind.target == "class":
            if raw.ndim != 2:
                raise ValueError(
                    f"raw predictions have shape {raw.shape}: expected (N, C), one column per class"
                )
            return _classes(target, raw.shape[1])
        expected, bad = _TARGETS[self._kind.target]
        _refuse(target, bad(target), expected)
        return target.reshape(raw.shape) if target.size == raw.size else target

    def _derivatives(
        self, target: Array, raw: Array, weight: Array | None, library: str
    ) -> tuple[Array, Array]:
        """Return gradient and Hessian of the sum of losses, with a library's factors."""
        target = self._checked(target, raw)
        arrays, options = (raw, target), self.options
        kind, policy, name = self._kind, self._policy, self._name
        if policy in ("exact", "positive"):
            gradient, hessian = grad_and_hess(self.loss)(*arrays, **options)
            if policy == "positive":
                largest = kind.curvature(options) if kind.curvature else 1.0
                np.maximum(hessian, FLOOR * largest, out=hessian)
        else:
            _, gradient = value_and_grad(self.loss)(*arrays, reduction="sum", **options)
            if policy == "gauss_newton":
                assert kind.expected is not None
                hessian = kind.expected(raw, gradient, target, options)
            elif kind.kinked is not None:
                gradient, hessian = kind.kinked(gradient, options)
                gradient = gradient * _spread(target)
            else:
                assert kind.curvature is not None
                hessian = np.full_like(raw, kind.curvature(options))
        of_both, of_hessian = _factors(library, name, raw)
        if weight is not None:
            of_both = of_both * _as_column(weight, raw)
        # LightGBM takes classes one after another, XGBoost samples.
        in_order = np.asfortranarray if library == "lightgbm" else np.ascontiguousarray
        return (
            in_order(gradient * of_both, np.float32),
            in_order(hessian * (of_both * of_hessian), np.float32),
        )

    def _initial_of_classes(self, target: Array, weight: Array) -> Array:
        """Return the constants of the classes: from one row for each class, by its weight."""
        sums = np.bincount(target, weights=weight)
        present = np.flatnonzero(sums)
        share: Array = np.log(np.maximum(sums / sums.sum(), 1e-15))
        if self._name == "cross_entropy" and not self.options:
            return share
        function = value_and_grad(self.loss)

        def of_constants(constants: Array) -> tuple[float, Array]:
            rows = np.tile(constants, (len(present), 1))
            options = self.options | {"sample_weight": sums[present] / sums.sum()}
            value, gradient = function(rows, present, reduction="sum", **options)
            return value, gradient.sum(0)

        return _minimize(of_constants, share)

    def _best_constant(self, target: Array, weight: Array) -> float:
        function = value_and_grad(self.loss)
        weight = weight / weight.sum()

        def of_constant(constant: Array) -> tuple[float, Array]:
            raw = np.full(target.shape, constant[0])
            value, gradient = function(raw, target, reduction="sum", weight=weight, **self.options)
            return value, gradient.sum(keepdims=True)

        start = np.median(target) if self._kind.link is _same else 0.0
        return float(_minimize(of_constant, np.array([start]))[0])


class Metric:
    """The mean loss of an `Objective`, as a library asks for a metric; less is better.

    Parameters
    ----------
    objective : Objective
        The loss.
    library : {"lightgbm", "xgboost"}
        Whose answer it gives: LightGBM's is (name, value, False), XGBoost's native interface takes
        (name, value), and its scikit-learn interface the value.
    """

    def __init__(self, objective: Objective, library: str) -> None:
        self.objective = objective
        self.library = library
        self.__name__ = objective._name

    def __call__(
        self, a: Any, b: Any, sample_weight: Any = None, group: Any = None
    ) -> tuple[str, float, bool] | tuple[str, float] | float:
        """Return the mean loss of targets and raw predictions, or of these and a data set."""
        target, raw, weight = _arguments(a, b, sample_weight)
        value = self.objective.value(target, raw, weight)
        if self.library == "lightgbm":
            return self.__name__, value, False
        return (self.__name__, value) if hasattr(b, "get_label") else value


#: What a call of an objective decides, and not its options.
_OF_A_CALL = {"num_threads", "outputs", "reduction", "sample_weight", "target"}


def _objective(loss: Callable[..., Any], hessian: Hessian, options: dict[str, Any]) -> Objective:
    return Objective(loss, hessian=hessian, **options)


def _arguments(a: Any, b: Any, weight: Any) -> tuple[Array, Array, Array | None]:
    """Return targets, raw predictions and weights of either interface."""
    if hasattr(b, "get_label"):
        raw, target, weight = a, b.get_label(), b.get_weight()
    else:
        raw, target = b, a
    if target is None:
        raise ValueError("the data set has no labels")
    if weight is not None and np.size(weight) == 0:
        weight = None
    return np.asarray(target), np.asarray(raw), None if weight is None else np.asarray(weight)


def _as_column(weight: Array, like: Array) -> Array:
    """Return a weight for each sample as it multiplies arrays of (N, ...)."""
    return weight.reshape(-1, *(1,) * (like.ndim - 1)) if weight.ndim == 1 else weight


def _factors(library: str, name: str, raw: Array) -> tuple[Any, float]:
    """Return what a library multiplies both derivatives by, and the second one besides."""
    if name == "mse_loss":
        return 0.5, 1.0
    if name == "poisson_nll_loss":
        return 1.0, float(np.exp(MAX_DELTA_STEP))
    if name in ("cross_entropy", "focal_loss"):
        classes = raw.shape[1]
        return 1.0, classes / (classes - 1) if library == "lightgbm" else 2.0
    return 1.0, 1.0


def _spread(target: Array) -> float:
    """Return the mean distance of targets from their median; 1 where they are all equal."""
    values = np.asarray(target, np.float64)
    return float(np.mean(np.abs(values - np.median(values)))) or 1.0


def _minimize(function: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
    # scipy comes with LightGBM, XGBoost and scikit-learn.
    optimize = importlib.import_module("scipy.optimize")
    found: Array = optimize.minimize(
        function, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 0}
    ).x
    return found
