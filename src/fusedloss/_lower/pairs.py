"""Check the arguments of a pair loss, and lower it to its kernel.

Unlike the calls of other losses, one of these takes long enough to be checked in Python always.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower.indices import Listing, Lists, PairList, lists, weights
from fusedloss._types import Array

#: The distances of two embeddings.
DISTANCES = {
    "euclidean": _core.EUCLIDEAN,
    "squared_euclidean": _core.SQUARED_EUCLIDEAN,
    "cosine": _core.COSINE_DISTANCE,
    "lp": _core.LP,
    "snr": _core.SNR,
}

#: The largest number of bins that the kernels have room for.
MOST_BINS = 256

#: The kernels for triplets listed by an index tuple.
LISTED = {"triplet_all": "triplet_listed", "margin_loss": "margin_listed"}

REDUCTIONS = ("mean_nonzero", "mean", "sum", "none")


class Metric(NamedTuple):
    """A distance, as the kernels take it."""

    distance: int
    p: float = 2.0
    power: float = 1.0
    opposite: bool = False


class Learnable(NamedTuple):
    """A scalar argument, or one of a number for each class, that is differentiable."""

    given: Any
    parameter: int  # the kernel's parameter that it decides,
    slope: float  # and the derivative of that one by it
    classes: Array | None = None  # those of the anchors; None: one number


class PairCall(NamedTuple):
    """A checked call: arrays as the kernels take them, and what the caller named them."""

    loss: str
    given: dict[str, Any]  # every array argument; the first are the embeddings
    embeddings: Array
    reference: Array | None
    labels: Array | None
    reference_labels: Array | None
    sample_weight: Array | None
    parameters: tuple[float, ...]
    distance: int
    normalize: bool
    reduction: str
    nonzero: bool
    num_threads: int | None
    differentiable: tuple[str, ...]
    learnable: Mapping[str, Learnable] = MappingProxyType({})
    p: float = 2.0  # of the distance LP
    power: float = 1.0  # of the same
    opposite: bool = False  # distances have their sign changed
    listed: Lists | None = None
    loss_weight: Array | None = None  # of anchors, and no part of the divisor of a mean
    anchor_parameters: Array | None = None  # one of each, in the place of parameters[1]
    workspace: int = 0  # about so many bytes may be used; 0 stands for 64 MiB
    where: Array | None = None  # which pairs take part: bools, anchors by references
    any_counts: bool = False  # with it, anchors without their positive pair have a loss, too

    @property
    def one_way(self) -> bool:
        """Whether the distance of a pair is another one from its other end."""
        return self.reference is not None or self.distance == _core.SNR

    @property
    def positives(self) -> PairList | None:
        """The positive pairs, or None if all of them count."""
        return None if self.listed is None else self.listed.positive

    @property
    def negatives(self) -> PairList | None:
        """The negative pairs, or None if all of them count."""
        return None if self.listed is None else self.listed.negative

    @property
    def longest(self) -> int:
        """The largest number of listed pairs of one anchor."""
        return max((pairs.longest for pairs in self.listed[:2]), default=0) if self.listed else 0

    def plan(self, gradient: bool | tuple[int, ...], grad_output: Any, out: Any) -> Gradients:
        """Return the outputs of the gradients that `value_and_grad` asks for."""
        return Gradients(self, gradient, grad_output, out)


class Gradients:
    """The arrays that the kernels write gradients to, and their way to the caller."""

    def __init__(
        self, call: PairCall, gradient: bool | tuple[int, ...], grad_output: Any, out: Any
    ) -> None:
        self.call = call
        self.single = not isinstance(gradient, tuple)
        wanted = gradient if isinstance(gradient, tuple) else (0,) if gradient else ()
        self.names = tuple(call.differentiable[k] for k in wanted)
        places = (out,) * len(wanted) if self.single or out is None else out
        self.places = dict(zip(self.names, places, strict=True))
        self.grad_output: float | Array | None = None
        if grad_output is not None:
            self.grad_output = _check.loss_cotangent(
                grad_output, call.reduction, call.embeddings, call.embeddings.shape[:1]
            )
        self._check_places(grad_output)
        first, second = (*call.differentiable, "")[:2]
        self.gradient = self._made(first, call.embeddings)
        self.reference_gradient = self._made(second, call.reference)
        of_classes = any(call.learnable[k].classes is not None for k in self._learnt())
        self.anchor_slopes = np.empty(len(call.embeddings)) if of_classes else None

    def _learnt(self) -> list[str]:
        return [name for name in self.names if name in self.call.learnable]

    def _check_places(self, grad_output: Any) -> None:
        inputs = self.call.given | {"grad_output": grad_output}
        earlier: dict[str, Any] = {}
        for i, (name, place) in enumerate(self.places.items()):
            if place is None:
                continue
            if name in self.call.given and self.call.given[name] is None:
                raise ValueError(f"argnums asks for the gradient by {name}, which is not given")
            own = "out" if self.single or len(self.places) == 1 else f"out[{i}]"
            others = {other: x for other, x in inputs.items() if other != name}
            of = self.call.learnable[name].given if name in self.call.learnable else None
            of = self.call.given[name] if of is None else of
            _check.as_output(own, place, name, np.asarray(of), others | earlier)
            earlier[own] = place

    def _made(self, name: str, of: Array | None) -> Array | None:
        """Return the array that the kernels write a gradient to: its output, or a new one."""
        if name not in self.places or name in self.call.learnable:
            return None
        if of is None:
            raise ValueError(f"argnums asks for the gradient by {name}, which is not given")
        place = self.places[name]
        plain = place is not None and _check.as_plain(place) is place
        return place if plain else _core.new_array(of.shape, of.dtype)

    def finish(self, slopes: tuple[float, ...]) -> Any:
        """Return the gradients, each in its output."""
        results = tuple(self._result(name, slopes) for name in self.names)
        return results[0] if self.single else results

    def _result(self, name: str, slopes: tuple[float, ...]) -> Any:
        place = self.places[name]
        made: Any
        if name in self.call.learnable:
            given, parameter, slope, classes = self.call.learnable[name]
            made = slopes[parameter] and slopes[parameter] * slope  # 0 of an infinite slope, too
            if classes is not None:
                made = np.bincount(classes, self.anchor_slopes, minlength=np.size(given))
            if isinstance(given, np.ndarray):
                made = np.asarray(made, given.dtype).reshape(given.shape)
        else:
            made = self.gradient if name == self.call.differentiable[0] else self.reference_gradient
        if place is None or place is made:
            return made
        np.copyto(place, made)
        return place


# ---- Checks -----------------------------------------------------------------------------------


def embeddings_of(name: str, x: Any) -> Array:
    array = _check.plain_prediction(name, x)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}: expected (N, D), one embedding per row")
    return array


def labels_of(name: str, x: Any, of_name: str, rows: int, alone: bool = True) -> Array:
    """Return labels, checked; as the kernels take them unless others are compared with them."""
    if x is None:
        raise TypeError(f"{name} is None: expected integer labels")
    array = _check.as_array(name, x)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: expected integer labels")
    if array.shape != (rows,):
        raise ValueError(
            f"{name} has shape {array.shape}: expected ({rows},), one per row of {of_name}"
        )
    return _check.as_plain(_check.identities(array)[0]) if alone else array


def _reduction(x: Any) -> tuple[str, bool]:
    if not isinstance(x, str) or x not in REDUCTIONS:
        raise ValueError(f"reduction is {x!r}: expected 'mean_nonzero', 'mean', 'sum' or 'none'")
    return ("mean", True) if x == "mean_nonzero" else (x, False)


def scalar(name: str, x: Any, positive: bool = False) -> float:
    """Return a scalar argument, which may be an array of one element."""
    value = _one(name, x)
    return _check.positive(name, value) if positive else _check.finite(name, value)


def scale(name: str, x: Any, of: Any) -> float:
    """Return a positive scalar argument that scales the logits of `of`."""
    return _check.scale(name, _one(name, x), of)


def _one(name: str, x: Any) -> Any:
    if isinstance(x, np.ndarray) and x.size != 1:
        raise ValueError(f"{name} has shape {x.shape}: expected one number")
    return x.reshape(())[()] if isinstance(x, np.ndarray) else x


def numbers_of_classes(name: str, x: Any) -> Array | None:
    """Return an argument of a finite number for each class, or None if it is one number."""
    if not isinstance(x, np.ndarray | list | tuple):
        return None
    if (x.size if isinstance(x, np.ndarray) else len(x)) == 1:
        return None
    array = _check.plain_prediction(name, x)
    if array.ndim != 1:
        raise ValueError(
            f"{name} has shape {array.shape}: expected one number, or (C,), one per class"
        )
    if not np.isfinite(array).all():
        where, value = _check.first_bad(name, array, ~np.isfinite(array))
        raise ValueError(f"{where} is {value}: expected a finite number")
    return array


def bins(name: str, x: Any) -> int:
    """Return a number of bins, checked."""
    count = _check.integer(name, x)
    if not 0 < count <= MOST_BINS:
        raise ValueError(f"{name} is {count}: expected a number from 1 to {MOST_BINS}")
    return count


def metric(distance: Any, p: Any, power: Any) -> Metric:
    """Return the distance with a name and powers; only "lp" takes powers."""
    kind = DISTANCES[choice("distance", distance, tuple(DISTANCES))]
    root = _check.finite("p", _check.in_range("p", p, 1, math.inf))
    exponent = _check.positive("power", power)
    if kind == _core.LP and root == 2 and exponent in (1, 2):
        kind = _core.EUCLIDEAN if exponent == 1 else _core.SQUARED_EUCLIDEAN
    return Metric(kind, root, exponent)


def similarity(distance: Any, p: Any, power: Any) -> Metric:
    """Return the similarity of a loss: dot products, or negated distances."""
    found = metric(distance, p, power)
    if found.distance == _core.COSINE_DISTANCE:
        return Metric(_core.DOT_PRODUCT)
    return found._replace(opposite=True)


def choice(name: str, x: Any, choices: tuple[str, ...]) -> str:
    """Return an option, which must be one of several words."""
    if not isinstance(x, str) or x not in choices:
        raise ValueError(f"{name} is {x!r}: expected {' or '.join(map(repr, choices))}")
    return x


# ---- Lowering ---------------------------------------------------------------------------------


def batch(
    loss: str,
    embeddings: Any,
    labels: Any,
    ref_embeddings: Any,
    ref_labels: Any,
    sample_weight: Any,
    parameters: tuple[float, ...],
    *,
    distance: int | Metric,
    normalize: Any,
    reduction: Any,
    num_threads: Any,
    learnable: dict[str, Learnable] | None = None,
    indices_tuple: Any = None,
    listing: Listing = "pairs",
    of_classes: Array | None = None,
) -> PairCall:
    """Return the call of a loss of labelled embeddings, with or without references.

    of_classes: the learnable parameter's number of each class, which labels are then.
    """
    e = embeddings_of("embeddings", embeddings)
    of_embeddings, of_references = labels, ref_labels
    if indices_tuple is not None and listing != "weights":  # the list says which pairs are positive
        if labels is None and of_classes is None:
            of_embeddings = np.zeros(len(e), np.int64)
        if ref_labels is None and ref_embeddings is not None:
            rows = len(embeddings_of("ref_embeddings", ref_embeddings))
            of_references = np.zeros(rows, np.int64)
    y, reference, reference_labels = labels_and_references(
        e, of_embeddings, ref_embeddings, of_references
    )
    mode, nonzero = _reduction(reduction)
    metric = Metric(distance) if isinstance(distance, int) else distance
    listed = weight = loss_weight = anchor_parameters = None
    if of_classes is not None:
        classes = _check.as_array("labels", labels)
        _check.class_indices("labels", classes, len(of_classes), None)
        classes = classes.astype(np.int64)
        anchor_parameters = of_classes[classes]
        learnable = {k: x._replace(classes=classes) for k, x in (learnable or {}).items()}
    references = len(e if reference is None else reference)
    if indices_tuple is not None and listing == "weights":
        loss_weight = weights(indices_tuple, len(e), references, apart=reference is not None)
    elif indices_tuple is not None:
        listed = lists(indices_tuple, len(e), references, listing)
        loss = LISTED[loss] if listed.aligned else loss
        e, reference = of_pairs(e, reference, listed)
    if sample_weight is not None:
        weight = _check.weight_of_samples(sample_weight, e, e.shape[:1])
    return PairCall(
        loss=loss,
        given={
            "embeddings": embeddings,
            "labels": labels,
            "ref_embeddings": ref_embeddings,
            "ref_labels": ref_labels,
            "sample_weight": sample_weight,
        },
        embeddings=e,
        reference=reference,
        labels=y,
        reference_labels=reference_labels,
        sample_weight=weight,
        parameters=parameters,
        distance=metric.distance,
        normalize=_check.flag("normalize", normalize),
        reduction=mode,
        nonzero=nonzero,
        num_threads=_check.num_threads(num_threads),
        differentiable=("embeddings", "ref_embeddings", *(learnable or ())),
        learnable=learnable or {},
        p=metric.p,
        power=metric.power,
        opposite=metric.opposite,
        listed=listed,
        loss_weight=loss_weight,
        anchor_parameters=anchor_parameters,
    )


def of_pairs(e: Array, reference: Array | None, listed: Lists) -> tuple[Array, Array | None]:
    """Return the embeddings, with zeros for what no pair has and is not finite.

    They take no part, but 0 times NaN would be NaN in a product of matrices.
    """
    anchors = listed.are_anchors()
    if reference is None:
        return _zeroed(e, ~(anchors | listed.are_references(len(e)))), None
    return _zeroed(e, ~anchors), _zeroed(reference, ~listed.are_references(len(reference)))


def _zeroed(x: Array, silent: Array) -> Array:
    silent = np.flatnonzero(silent)
    odd = silent[~np.isfinite(x[silent]).all(axis=1)]
    if odd.size:
        x = x.copy()
        x[odd] = 0
    return x


def towers(
    loss: str,
    given: dict[str, Any],
    sample_weight: Any,
    parameters: tuple[float, ...],
    *,
    learnable: dict[str, Learnable],
    normalize: Any,
    reduction: Any,
    num_threads: Any,
    where: Any = None,
    any_counts: bool = False,
) -> PairCall:
    """Return the call of a loss of two towers, named in `given`; the second may have more rows."""
    (first, first_given), (second, second_given) = given.items()
    a = embeddings_of(first, first_given)
    b = reference_of(second, second_given, first, a)
    if b.shape[0] < a.shape[0]:
        raise ValueError(
            f"{second} has {b.shape[0]} rows: expected at least {a.shape[0]}, as many as {first}"
        )
    weight = (
        None if sample_weight is None else _check.weight_of_samples(sample_weight, a, a.shape[:1])
    )
    return PairCall(
        loss=loss,
        given=given | {"sample_weight": sample_weight, "where": where},
        embeddings=a,
        reference=b,
        labels=None,
        reference_labels=None,
        sample_weight=weight,
        parameters=parameters,
        distance=_core.DOT_PRODUCT,
        normalize=_check.flag("normalize", normalize),
        reduction=_check.reduction(reduction),
        nonzero=False,
        num_threads=_check.num_threads(num_threads),
        differentiable=(first, second, *learnable),
        learnable=learnable,
        where=None if where is None else _check.mask(where, (len(a), len(b)), "pair"),
        any_counts=any_counts,
    )


def any_negative(labels: Any, reference_labels: Any) -> bool:
    """Whether an anchor and a reference have different labels; without references, False.

    An anchor that has no negatives among the other anchors is of their one class.
    """
    if reference_labels is None:
        return False
    given = {"labels": labels, "ref_labels": reference_labels}
    arrays = [_check.as_array(name, x).ravel() for name, x in given.items()]
    if any(x.dtype.kind not in "iu" for x in arrays):
        return False  # no labels, which the loss says
    both = np.concatenate(_check.identities(*arrays))
    return bool((both != both[:1]).any())


def labels_and_references(
    e: Array, labels: Any, ref_embeddings: Any, ref_labels: Any
) -> tuple[Array, Array | None, Array | None]:
    """Return the labels, what the embeddings are paired with, and its labels; None if absent."""
    if (ref_embeddings is None) != (ref_labels is None):
        absent = "ref_embeddings" if ref_embeddings is None else "ref_labels"
        raise ValueError(f"{absent} is None: expected ref_embeddings and ref_labels together")
    if ref_embeddings is None:
        return labels_of("labels", labels, "embeddings", len(e)), None, None
    reference = reference_of("ref_embeddings", ref_embeddings, "embeddings", e)
    y, z = _check.identities(
        labels_of("labels", labels, "embeddings", len(e), alone=False),
        labels_of("ref_labels", ref_labels, "ref_embeddings", len(reference), alone=False),
    )
    return _check.as_plain(y), reference, _check.as_plain(z)


def reference_of(name: str, x: Any, of_name: str, of: Array) -> Array:
    reference = embeddings_of(name, x)
    if reference.dtype != of.dtype:
        raise TypeError(
            f"{name} has dtype {reference.dtype}: expected {of.dtype}, that of {of_name}"
        )
    if reference.shape[1] != of.shape[1]:
        raise ValueError(
            f"{name} has shape {reference.shape}: expected (M, {of.shape[1]}), the embedding size "
            f"of {of_name}"
        )
    return reference
