"""A loss of raw predictions with its options: values, derivatives, the best constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fusedloss._lower.loss import lookup
from fusedloss._training import constants
from fusedloss._training.kinds import KINDS, KINDS_OF_LISTS, Hessian, Kind, same
from fusedloss._training.lists import Lists, derivatives_of_lists, losses_of_lists
from fusedloss._training.targets import as_classes, checked
from fusedloss._types import Array
from fusedloss.transform import grad_and_hess, value_and_grad

HESSIANS = ("auto", "exact", "positive", "gauss_newton", "constant")

#: The least value of the "positive" Hessian, as a share of the largest that the loss has.
FLOOR = 1e-6

#: What a call of a loss decides, and not its options.
OF_A_CALL = {"num_threads", "outputs", "reduction", "sample_weight", "target", "where"}


def options_of_a_loss(loss: Callable[..., Any], options: dict[str, Any]) -> str:
    """Return a loss's name; TypeError if it does not have one of the options."""
    record = lookup(loss)
    taken = set(record.parameters[2:]) - OF_A_CALL
    for name in options:
        if name not in taken:
            listed = ", ".join(sorted(taken)) or "none"
            raise TypeError(f"{record.name} has no option {name!r} here: expected {listed}")
    return record.name


class RawLoss:
    """A loss, the options of its calls, and the Hessian to train by."""

    def __init__(
        self,
        loss: Callable[..., Any],
        hessian: Hessian,
        options: dict[str, Any],
        what: str,
        lists: bool = False,
    ) -> None:
        name = lookup(loss).name
        kinds = KINDS | KINDS_OF_LISTS if lists else KINDS
        kind = kinds.get(name)
        if kind is None:
            raise ValueError(f"loss is {name}: it is no {what}; expected one of {', '.join(kinds)}")
        if hessian not in HESSIANS:
            raise ValueError(f"hessian is {hessian!r}: expected one of {', '.join(HESSIANS)}")
        options_of_a_loss(loss, options)
        if options.get("log_input", True) is not True:
            raise ValueError("log_input is False: raw predictions are logarithms of rates")
        policy = kind.auto if hessian == "auto" else hessian
        if policy == "gauss_newton" and kind.expected is None and name in KINDS:
            raise ValueError(f"hessian is 'gauss_newton': {name} has none")
        bounded = kind.curvature is not None or kind.kinked is not None or name not in KINDS
        if policy == "constant" and not bounded:
            raise ValueError(f"hessian is 'constant': that of {name} has no bound")
        self.loss = loss
        self.options = options
        self.name = name
        self.policy = policy

    @property
    def kind(self) -> Kind:
        """What the policies have to know of the loss; looked up, for it cannot be pickled."""
        return KINDS.get(self.name) or KINDS_OF_LISTS[self.name]

    @property
    def of_lists(self) -> bool:
        """Whether a loss is one of a query's items, and not of each sample."""
        return self.name in KINDS_OF_LISTS

    @property
    def of_classes(self) -> bool:
        """Whether targets are class indices, and raw predictions have a column for each class."""
        return self.kind.target == "class"

    def call_options(
        self, raw: Array, weight: Array | None, num_threads: int | None
    ) -> dict[str, Any]:
        """Return the options of a call, with a weight for each sample."""
        options = self.options | {"num_threads": num_threads}
        if weight is not None:
            weight = np.asarray(weight)
            weight = weight if weight.dtype.kind == "f" else weight.astype(np.float64)
            name = "sample_weight" if self.of_classes else "weight"
            options[name] = weight if self.of_classes else as_column(weight, raw)
        return options

    def checked_targets(self, target: Array, n_classes: int | None) -> Array:
        """Return targets as the loss takes them; ValueError names the first that it does not."""
        if self.of_classes:
            return as_classes(target, n_classes)
        return checked(self.kind.target, target)

    def checked(self, target: Array, raw: Array) -> Array:
        """Return targets of raw predictions as the loss takes them."""
        if self.of_classes and raw.ndim != 2:
            raise ValueError(
                f"raw predictions have shape {raw.shape}: expected (N, C), one column per class"
            )
        target = self.checked_targets(target, raw.shape[1] if self.of_classes else None)
        same_size = not self.of_classes and target.size == raw.size
        return target.reshape(raw.shape) if same_size else target

    def value(
        self, target: Array, raw: Array, weight: Array | None, group: Array | None = None
    ) -> float:
        """Return the mean loss; with weights, their weighted mean.

        A query's weight is the mean of its items'.
        """
        target = self.checked(target, raw)
        if self.of_lists:
            lists = Lists(group, raw.size, self.name)
            losses = losses_of_lists(self.loss, raw, target, lists, self.options)
            if weight is not None:
                of_items = np.append(lists.of_items(weight), 0)  # a last query may be empty
                weight = np.add.reduceat(of_items, lists.starts) / np.maximum(lists.sizes, 1)
                weight[lists.sizes == 0] = 0
            return float(np.average(losses, weights=weight))
        losses = self.loss(raw, target, reduction="none", **self.options)
        if weight is None:
            return float(np.mean(losses))
        weight = as_column(weight, losses)
        return float(np.average(losses, weights=np.broadcast_to(weight, losses.shape)))

    def derivatives(
        self,
        target: Array,
        raw: Array,
        weight: Array | None,
        out: tuple[Array, ...],
        of_both: float,
        of_hessian: float,
        num_threads: int | None = None,
        group: Array | None = None,
    ) -> None:
        """Write gradient and Hessian of the sum of losses of checked targets.

        Both are multiplied by `of_both`, and the Hessian by `of_hessian` besides.
        """
        if self.of_lists:
            lists = Lists(group, raw.size, self.name)
            options = self.options | {"num_threads": num_threads}
            call = (self.loss, self.policy, raw, target, lists, options, FLOOR / 4)
            factors = 1.0 if weight is None else lists.of_items(weight)
            for derivative, to in zip(derivatives_of_lists(*call), out, strict=True):
                np.multiply(derivative, factors, out=to, casting="same_kind")
            return
        exact = self.policy == "exact"
        options = self.call_options(raw, weight if exact else None, num_threads)
        if exact:
            # A Hessian that is yet multiplied is rounded to float32 after that.
            places = out if of_both * of_hessian == 1 else (out[0], None)
            gradient, hessian = grad_and_hess(self.loss)(raw, target, out=places, **options)
            weight = None
        else:
            gradient, hessian = self._by_policy(target, raw, options)
        factor: Any = of_both if weight is None else of_both * as_column(weight, raw)
        for derivative, to, by in zip((gradient, hessian), out, (1.0, of_hessian), strict=True):
            if derivative is not to or weight is not None or factor * by != 1:
                np.multiply(derivative, factor * by, out=to, casting="same_kind")

    def _by_policy(self, target: Array, raw: Array, options: dict[str, Any]) -> tuple[Array, Any]:
        """Return gradient and Hessian of a policy other than the exact one."""
        kind = self.kind
        if self.policy == "positive":
            gradient, hessian = grad_and_hess(self.loss)(raw, target, **options)
            largest = kind.curvature(options) if kind.curvature else 1.0
            return gradient, np.maximum(hessian, FLOOR * largest, out=hessian)
        gradient = value_and_grad(self.loss)(raw, target, reduction="sum", **options)[1]
        if self.policy == "gauss_newton":
            assert kind.expected is not None
            return gradient, kind.expected(raw, gradient, target, options)
        if kind.kinked is not None:
            gradient, hessian = kind.kinked(gradient, options)
            gradient *= spread(target)
            return gradient, hessian
        assert kind.curvature is not None
        return gradient, kind.curvature(options)

    # ---- The best constant ----

    def initial(self, target: Array, weight: Array | None) -> float | Array:
        """Return the best constant raw prediction; an array of one for each class."""
        values = np.asarray(target, np.float64)
        if values.size == 0:
            raise ValueError("target is empty: expected at least one")
        weights = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
        if self.of_classes:
            return self._initial_of_classes(as_classes(values, None), weights)
        self.checked_targets(values, None)
        if values.ndim == 2:
            return np.array([self._initial_of_column(column, weights) for column in values.T])
        return self._initial_of_column(values, weights)

    def _initial_of_column(self, target: Array, weight: Array) -> float:
        if self.kind.initial is not None:
            return self.kind.initial(target, weight, self.options)
        return self._best_constant(target, weight)

    def _initial_of_classes(self, target: Array, weight: Array) -> Array:
        """Return the constants of the classes: from one row for each class, by its weight."""
        sums = np.bincount(target, weights=weight)
        present = np.flatnonzero(sums)
        share: Array = np.log(np.maximum(sums / sums.sum(), 1e-15))
        if self.name == "cross_entropy" and not self.options:
            return share
        function = value_and_grad(self.loss)

        def of_constants(constants: Array) -> tuple[float, Array]:
            rows = np.tile(constants, (len(present), 1))
            options = self.options | {"sample_weight": sums[present] / sums.sum()}
            value, gradient = function(rows, present, reduction="sum", **options)
            return value, gradient.sum(0)

        return constants.minimum(of_constants, share)

    def _best_constant(self, target: Array, weight: Array) -> float:
        function = value_and_grad(self.loss)
        weight = weight / weight.sum()

        def of_constant(constant: Array) -> tuple[float, Array]:
            raw = np.full(target.shape, constant[0])
            value, gradient = function(raw, target, reduction="sum", weight=weight, **self.options)
            return value, gradient.sum(keepdims=True)

        start = np.median(target) if self.kind.link is same else 0.0
        return float(constants.minimum(of_constant, np.array([start]))[0])


def as_column(weight: Array, like: Array) -> Array:
    """Return a weight for each sample as it multiplies arrays of (N, ...)."""
    return weight.reshape(-1, *(1,) * (like.ndim - 1)) if weight.ndim == 1 else weight


def spread(target: Array) -> float:
    """Return the mean distance of targets from their median; 1 where they are all equal."""
    values = np.asarray(target, np.float64)
    return float(np.mean(np.abs(values - np.median(values)))) or 1.0
