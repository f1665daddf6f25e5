"""Objectives and metrics for LightGBM, XGBoost and CatBoost, made of this package's losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fusedloss._training import Hessian, RawLoss
from fusedloss._types import Array

__all__ = ["CatBoostObjective", "Metric", "Objective"]

#: Both libraries multiply the Hessian of counts by exp(max_delta_step): steps stay small.
MAX_DELTA_STEP = float(np.float32(0.7))


class Objective:
    """A loss as an objective of gradient boosting, for LightGBM and XGBoost.

    Parameters
    ----------
    loss : function
        One of the losses that have a Hessian: ``fl.cross_entropy``, ``fl.focal_loss``,
        ``fl.quantile_loss``, ...; or ``fl.ranking_softmax_loss``, of the items of each query.
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
            gradient and Hessian of the percentage loss are divided by the mean of 1 / abs(target).
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
    Targets of a loss of two classes or of numbers may have several columns, one for each label, as
    raw predictions then have. XGBoost keeps such targets; LightGBM does not, but a function of the
    raw predictions can bring them along, as the guide "Losses for boosting" shows.

    ``fl.ranking_softmax_loss`` takes the sizes of the queries: from a data set made with ``group=``
    or ``qid=``, or as ``group`` from ``LGBMRanker``. XGBoost's ``XGBRanker`` takes no custom
    objectives; ``xgboost.train`` does.

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
        self._raw = RawLoss(loss, hessian, options, "objective", lists=True)
        self.loss = loss
        self.hessian = hessian
        self.options = options

    def __repr__(self) -> str:
        """Return the loss and its options."""
        options = "".join(f", {name}={option!r}" for name, option in self.options.items())
        return f"Objective({self._raw.name}, hessian={self.hessian!r}{options})"

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
        group : array of int, optional
            The sizes of the queries, for a loss of lists; a ``Dataset`` brings its own.

        Returns
        -------
        tuple of array
            float32, of the shape of the raw predictions.
        """
        return self._derivatives(*self._arguments(a, b, weight, group), "lightgbm")

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
        return self._derivatives(*self._arguments(a, b, sample_weight), "xgboost")

    @property
    def catboost(self) -> CatBoostObjective:
        """The objective for CatBoost's ``loss_function``."""
        return CatBoostObjective(self)

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
        self,
        target: ArrayLike,
        raw: ArrayLike,
        sample_weight: ArrayLike | None = None,
        group: ArrayLike | None = None,
    ) -> float:
        """Return the mean loss of raw predictions; with weights, their weighted mean.

        Of a loss of lists it is the mean over queries, whose sizes are `group`.
        """
        weight = None if sample_weight is None else np.asarray(sample_weight)
        sizes = None if group is None else np.asarray(group)
        return self._raw.value(np.asarray(target), np.asarray(raw), weight, sizes)

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
        weight = None if sample_weight is None else np.asarray(sample_weight)
        return self._raw.initial(np.asarray(target), weight)

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
        return self._raw.kind.link(values)

    # ---- How ----

    def _arguments(
        self, a: Any, b: Any, weight: Any, group: Any = None
    ) -> tuple[Array, Array, Array | None, Array | None]:
        """Return targets, raw predictions, weights and sizes of queries of either interface."""
        if hasattr(b, "get_label"):
            raw, target, weight = a, b.get_label(), b.get_weight()
            group = b.get_group() if self._raw.of_lists else None
        else:
            raw, target = b, a
        if target is None:
            raise ValueError("the data set has no labels")
        if weight is not None and np.size(weight) == 0:
            weight = None
        return (
            np.asarray(target),
            np.asarray(raw),
            None if weight is None else np.asarray(weight),
            None if group is None else np.asarray(group),
        )

    def _derivatives(
        self,
        target: Array,
        raw: Array,
        weight: Array | None,
        group: Array | None,
        library: str,
    ) -> tuple[Array, Array]:
        """Return gradient and Hessian of the sum of losses, with a library's factors."""
        # LightGBM takes classes one after another, XGBoost samples.
        order: Literal["C", "F"] = "F" if library == "lightgbm" else "C"
        out = np.empty(raw.shape, np.float32, order), np.empty(raw.shape, np.float32, order)
        target = self._raw.checked(target, raw)
        factors = _factors(library, self._raw.name, raw)
        self._raw.derivatives(target, raw, weight, out, *factors, group=group)
        return out


class CatBoostObjective:
    """An `Objective` as CatBoost asks for one: the derivatives of a function that is maximised.

    Parameters
    ----------
    objective : Objective
        The loss. Its Hessian may be any but the constant one of the absolute, the quantile and the
        percentage loss, which takes the scale of all targets: CatBoost hands them out in blocks.

    Raises
    ------
    ValueError
        For one of these losses, which CatBoost has itself (``MAE``, ``Quantile``, ``MAPE``), and
        for a loss of lists.

    Notes
    -----
    CatBoost maximises minus the loss, so that gradient and Hessian have the other sign, and
    asks for them weighted. Of several classes it
    asks sample by sample, and takes a matrix of second derivatives: theirs is a diagonal one.

    Examples
    --------
    >>> import fusedloss as fl
    >>> from fusedloss.boosting import Objective
    >>> Objective(fl.mse_loss).catboost.calc_ders_range([3.0], [1.0], None)
    [(-2.0, -1.0)]
    """

    def __init__(self, objective: Objective) -> None:
        raw = objective._raw
        if raw.of_lists:
            raise ValueError(
                f"loss is {raw.name}: CatBoost hands out no groups; take its own, such as"
                " QuerySoftMax"
            )
        if raw.kind.kinked is not None and raw.policy == "constant":
            raise ValueError(
                f"loss is {raw.name}: its scale is that of all targets, which CatBoost hands out in"
                " blocks; take CatBoost's own"
            )
        self.objective = objective

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[Any]:
        """Return the first and second derivative of each sample, weights included.

        Parameters
        ----------
        approxes, targets : sequence of float
            Raw predictions and targets.
        weights : sequence of float or None
            A weight for each sample.

        Returns
        -------
        list of tuple
            (first, second) of each sample.
        """
        weight = None if weights is None else np.asarray(weights)
        gradient, hessian = self._derivatives(np.asarray(targets), np.asarray(approxes), weight)
        return list(zip((-gradient).tolist(), (-hessian).tolist(), strict=True))

    def calc_ders_multi(self, approxes: Any, target: Any, weight: Any) -> tuple[Any, Any]:
        """Return the first derivatives of one sample, and the matrix of its second ones.

        Parameters
        ----------
        approxes : sequence of float
            The raw predictions of the classes.
        target : float
            The class.
        weight : float
            The weight of the sample.

        Returns
        -------
        tuple
            (first, second), a list and a list of lists.
        """
        of_one = np.asarray(approxes)[np.newaxis]
        gradient, hessian = self._derivatives(np.array([target]), of_one, np.array([weight]))
        return (-gradient[0]).tolist(), np.diag(-hessian[0]).tolist()

    def _derivatives(self, target: Array, raw: Array, weight: Array | None) -> tuple[Array, Array]:
        loss = self.objective._raw
        out = np.empty(raw.shape), np.empty(raw.shape)
        half = 0.5 if loss.name == "mse_loss" else 1.0
        loss.derivatives(loss.checked(target, raw), raw, weight, out, half, 1.0)
        return out


class Metric:
    """The mean loss of an `Objective`, as a library asks for a metric; less is better.

    Parameters
    ----------
    objective : Objective
        The loss.
    library : {"lightgbm", "xgboost"}
        Whose answer it gives: LightGBM's is (name, value, False), XGBoost's native interface takes
        (name, value), and its scikit-learn interface the value.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> from fusedloss.boosting import Metric, Objective
    >>> metric = Metric(Objective(fl.mse_loss), "lightgbm")
    >>> metric(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    ('mse_loss', 2.0, False)
    """

    def __init__(self, objective: Objective, library: str) -> None:
        self.objective = objective
        self.library = library
        self.__name__ = objective._raw.name

    def __call__(
        self, a: Any, b: Any, sample_weight: Any = None, group: Any = None
    ) -> tuple[str, float, bool] | tuple[str, float] | float:
        """Return the mean loss of targets and raw predictions, or of these and a data set."""
        value = self.objective.value(*self.objective._arguments(a, b, sample_weight, group))
        if self.library == "lightgbm":
            return self.__name__, value, False
        return (self.__name__, value) if hasattr(b, "get_label") else value


def _objective(loss: Callable[..., Any], hessian: Hessian, options: dict[str, Any]) -> Objective:
    return Objective(loss, hessian=hessian, **options)


def _factors(library: str, name: str, raw: Array) -> tuple[float, float]:
    """Return what a library multiplies both derivatives by, and the second one besides."""
    if name == "mse_loss":
        return 0.5, 1.0
    if name == "poisson_nll_loss":
        return 1.0, float(np.exp(MAX_DELTA_STEP))
    if name in ("cross_entropy", "focal_loss"):
        classes = raw.shape[1]
        return 1.0, classes / (classes - 1) if library == "lightgbm" else 2.0
    return 1.0, 1.0
