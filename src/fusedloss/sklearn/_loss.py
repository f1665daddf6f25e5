"""A loss of this package in the form of scikit-learn's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn._loss.link import (
    BaseLink,
    HalfLogitLink,
    IdentityLink,
    Interval,
    LogitLink,
    LogLink,
    MultinomialLogit,
)
from sklearn._loss.loss import BaseLoss, PinballLoss
from sklearn.utils.metaestimators import available_if

from fusedloss._training import Hessian, RawLoss, kinds
from fusedloss._types import Array
from fusedloss.transform import value_and_grad

_LINKS: dict[Callable[..., Any], Callable[[], BaseLink]] = {
    kinds.same: IdentityLink,
    kinds.sigmoid: LogitLink,
    kinds.sigmoid_of_double: HalfLogitLink,
    np.exp: LogLink,
    kinds.softmax: MultinomialLogit,
}

#: Of each kind of targets: the lowest and the highest, and whether they are among them.
_INTERVALS = {
    "real": (-np.inf, np.inf, False, False),
    "share": (0, 1, True, True),
    "sign": (-1, 1, True, True),
    "count": (0, np.inf, True, False),
    "positive": (0, np.inf, False, False),
    "class": (0, np.inf, True, False),
}


def _predicts_probabilities(self: Loss) -> bool:
    """Whether a loss has `predict_proba`: by this scikit-learn tells classification."""
    return self._raw.of_classes or isinstance(self.link, LogitLink | HalfLogitLink)


class Loss(BaseLoss):  # type: ignore[misc]
    """A loss for ``HistGradientBoostingRegressor`` and ``HistGradientBoostingClassifier``.

    It has the interface of scikit-learn's own losses, which is private there: scikit-learn 1.6 to
    1.9 are supported, of which 1.7 and 1.9 were tested.

    Parameters
    ----------
    loss : function
        One of the losses that `fusedloss.boosting.Objective` takes: ``fl.mse_loss``,
        ``fl.huber_loss``, ``fl.focal_loss``, ...
    n_classes : int, optional
        How many classes there are, at least 3: ``fl.cross_entropy`` and ``fl.focal_loss`` have to
        know it. Two classes have one raw prediction: take
        ``fl.binary_cross_entropy_with_logits`` or ``fl.sigmoid_focal_loss`` for them.
    hessian : {"auto", "exact", "positive", "gauss_newton", "constant"}, default "auto"
        The second derivative to train by, as in `fusedloss.boosting.Objective`. The absolute and
        the quantile loss have none: scikit-learn computes leaves of them anew, as the median or
        the quantile of what is left.
    **options
        The loss's options: ``gamma=2.0``, ``quantile=0.9``, ...

    Raises
    ------
    TypeError
        If `loss` is not one of this package's losses, or does not have one of the options.
    ValueError
        If the loss has no Hessian, or none of the kind asked for, or `n_classes` is missing, out of
        range or without a meaning. In ``fit``: for targets that the loss does not take.

    See Also
    --------
    fusedloss.boosting.Objective : The same for LightGBM, XGBoost and CatBoost.

    Notes
    -----
    ``fl.mse_loss`` is halved, as scikit-learn's ``"squared_error"`` is. Losses of signs take the
    classes 0 and 1, as scikit-learn encodes them, for -1 and 1. Gradient and Hessian are computed
    in one pass, straight into scikit-learn's float32 arrays.

    Examples
    --------
    >>> import fusedloss as fl
    >>> import numpy as np
    >>> from fusedloss.sklearn import Loss
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(200, 2))
    >>> y = X[:, 0] + rng.normal(size=200)
    >>> model = HistGradientBoostingRegressor(loss=Loss(fl.huber_loss, delta=0.5)).fit(X, y)
    >>> model.predict(X[:2]).shape
    (2,)
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        *,
        n_classes: int | None = None,
        hessian: Hessian = "auto",
        **options: Any,
    ) -> None:
        raw = RawLoss(loss, hessian, options, "loss of gradient boosting")
        if raw.of_classes and (n_classes is None or n_classes < 3):
            raise ValueError(
                f"n_classes is {n_classes}: expected at least 3, the number of classes of "
                f"{raw.name}; two classes have losses of one raw prediction"
            )
        if not raw.of_classes and n_classes is not None:
            raise ValueError(f"n_classes is {n_classes}: {raw.name} is no loss of several classes")
        link = _LINKS[raw.kind.link]()
        super().__init__(closs=None, link=link, n_classes=n_classes)
        self.is_multiclass = raw.of_classes
        self.interval_y_true = Interval(*_INTERVALS[raw.kind.target])
        self.differentiable = raw.name not in ("l1_loss", "quantile_loss")
        self.approx_hessian = raw.policy != "exact"
        self._raw = raw
        self._hessian = hessian
        self._factor = 0.5 if raw.name == "mse_loss" else 1.0

    def __repr__(self) -> str:
        """Return the loss and its options."""
        options = "".join(f", {name}={option!r}" for name, option in self._raw.options.items())
        classes = "" if self.n_classes is None else f", n_classes={self.n_classes}"
        return f"Loss({self._raw.name}{classes}, hessian={self._hessian!r}{options})"

    # ---- Values and derivatives ----

    def loss(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None = None,
        loss_out: Array | None = None,
        n_threads: int = 1,
    ) -> Array:
        """Return the loss of each sample, weighted."""
        target, raw = self._arguments(y_true, raw_prediction)
        options = self._raw.call_options(raw, sample_weight, n_threads)
        losses = self._raw.loss(raw, target, reduction="none", **options)
        return _into(loss_out, losses, self._factor)

    def loss_gradient(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None = None,
        loss_out: Array | None = None,
        gradient_out: Array | None = None,
        n_threads: int = 1,
    ) -> tuple[Array, Array]:
        """Return the loss of each sample and the gradients of their sum."""
        target, raw = self._arguments(y_true, raw_prediction)
        options = self._raw.call_options(raw, sample_weight, n_threads)
        function = value_and_grad(self._raw.loss)
        losses, gradient = function(raw, target, reduction="none", **options)
        return _into(loss_out, losses, self._factor), _into(gradient_out, gradient, self._factor)

    def gradient(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None = None,
        gradient_out: Array | None = None,
        n_threads: int = 1,
    ) -> Array:
        """Return the gradients of the sum of losses."""
        target, raw = self._arguments(y_true, raw_prediction)
        options = self._raw.call_options(raw, sample_weight, n_threads)
        function = value_and_grad(self._raw.loss)
        _, gradient = function(raw, target, reduction="sum", **options)
        return _into(gradient_out, gradient, self._factor)

    def gradient_hessian(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None = None,
        gradient_out: Array | None = None,
        hessian_out: Array | None = None,
        n_threads: int = 1,
    ) -> tuple[Array, Array]:
        """Return gradients and Hessians of the sum of losses."""
        target, raw = self._arguments(y_true, raw_prediction)
        places = [None if x is None else x.reshape(raw.shape) for x in (gradient_out, hessian_out)]
        out = tuple(np.empty_like(raw) if x is None else x for x in places)
        if self.differentiable:
            weight = None if sample_weight is None else np.asarray(sample_weight)
            self._raw.derivatives(target, raw, weight, out, self._factor, 1.0, n_threads)
        else:
            self.gradient(y_true, raw_prediction, sample_weight, out[0], n_threads)
            out[1][...] = 1 if sample_weight is None else sample_weight
        return (
            out[0] if gradient_out is None else gradient_out,
            out[1] if hessian_out is None else hessian_out,
        )

    # ---- Constants and links ----

    def fit_intercept_only(self, y_true: Array, sample_weight: Array | None = None) -> Array:
        """Return the best constant raw prediction; an array of one for each class."""
        if not self.differentiable:  # of the leaves, too: by scikit-learn's own definition
            level = self._raw.options.get("quantile", 0.5)
            own = PinballLoss(quantile=level)
            return np.asarray(own.fit_intercept_only(self._in_range(y_true), sample_weight))
        constant = self._raw.initial(self._in_range(y_true), sample_weight)
        if self.is_multiclass and np.size(constant) != self.n_classes:
            raise ValueError(
                f"target has {np.size(constant)} classes: expected {self.n_classes}, as n_classes"
                " says"
            )
        return np.asarray(constant, y_true.dtype)

    @available_if(_predicts_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, raw_prediction: ArrayLike) -> Array:
        """Return the probabilities of the classes, of shape (n_samples, n_classes)."""
        raw = np.asarray(raw_prediction)
        if self.is_multiclass:
            probabilities: Array = self.link.inverse(raw)
            return probabilities
        share = self.link.inverse(raw[:, 0] if raw.ndim == 2 else raw)
        return np.stack([1 - share, share], axis=1)

    # ---- How ----

    def _in_range(self, y_true: Array) -> Array:
        """Return targets as the loss takes them; ValueError names the first that it does not."""
        if self._raw.kind.target == "sign" and np.isin(y_true, (0, 1)).all():
            y_true = 2 * y_true - 1
        return self._raw.checked_targets(y_true, self.n_classes)

    def _arguments(self, y_true: Array, raw_prediction: Array) -> tuple[Array, Array]:
        """Return targets and raw predictions as the loss takes them."""
        raw = np.asarray(raw_prediction)
        if raw.ndim == 2 and raw.shape[1] == 1:
            raw = raw[:, 0]
        columns = raw.shape[1] if raw.ndim == 2 else 1
        if columns != (self.n_classes or 1):
            raise ValueError(
                f"raw_prediction has {columns} columns: expected {self.n_classes or 1} of {self!r}"
            )
        return self._in_range(np.asarray(y_true)), raw


def _into(out: Array | None, made: Array, factor: float) -> Array:
    """Return what was made times a factor, in the place that was given for it, if any."""
    if out is None:
        return made if factor == 1 else made * factor
    np.multiply(made, factor, out=out.reshape(made.shape), casting="same_kind")
    return out
