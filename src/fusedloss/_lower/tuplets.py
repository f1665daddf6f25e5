"""Losses of more than two embeddings, composed of pairwise kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower import pairs
from fusedloss._lower.indices import lists
from fusedloss._lower.loss import quietly
from fusedloss._lower.units import norms
from fusedloss._types import Array

#: The number of listed pairs processed at a time.
CHUNK = 4096


def _sorted(labels: Array) -> tuple[Array, Array]:
    order = np.argsort(labels, kind="stable")
    return order, labels[order]


def first_pairs(labels: Array, indices_tuple: Any) -> tuple[Array, Array]:
    """Return anchors and positives: the first two embeddings of each label, or its first listed."""
    if indices_tuple is not None:
        lists(indices_tuple, len(labels), len(labels), "pairs")
        anchors, positives = (np.asarray(x, np.int64) for x in indices_tuple[:2])
        first = np.unique(labels[anchors], return_index=True)[1]
        return anchors[first], positives[first]
    order, y = _sorted(labels)
    begins = np.ones(len(y), bool)
    begins[1:] = y[1:] != y[:-1]
    second = np.flatnonzero(begins[:-1] & ~begins[1:]) + 1
    return order[second - 1], order[second]


def n_pairs(
    given: Any,
    at: tuple[Array, Array],
    call: pairs.PairCall,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Return the value, or (value, gradient), of a call whose towers are rows of the embeddings."""
    if not gradient:
        return _core.pairwise(call)
    value, slopes = _core.pairwise(call, (0, 1), grad_output)
    inputs = {"grad_output": grad_output}
    made = _check.zeros_like("embeddings", np.asarray(given), out, inputs)
    for rows, slope in zip(at, slopes, strict=True):
        np.add.at(made, rows, slope)  # an embedding may be an anchor here, a positive there
    return value, made


@quietly
def instance(
    given: Any,
    call: _check.LinearCall | None,
    nothing: Any,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Return the value, or (value, gradient), of a head whose weights are the embeddings."""
    slopes: tuple[Array, ...] = ()
    if call is None:  # no embedding
        value = nothing
    elif gradient:
        value, slopes = _core.linear_cross_entropy(call, (0, 1), grad_output)
    else:
        value = _core.linear_cross_entropy(call)
    if not gradient:
        return value
    inputs = {"grad_output": grad_output}
    made = _check.zeros_like("embeddings", np.asarray(given), out, inputs)
    for slope in slopes:
        made += slope
    return value, made


class Angular(NamedTuple):
    """A checked call of the angular loss."""

    given: dict[str, Any]  # embeddings and references
    embeddings: Array
    labels: Array
    reference: Array | None
    reference_labels: Array | None
    listed: tuple[Array, Array] | None  # anchors and positives
    alpha: float  # in radians
    normalize: bool
    reduction: str
    num_threads: int | None

    def chunks(self) -> Iterator[tuple[Array, Array, float]]:
        """Yield positive pairs, and how often each counts."""
        if self.listed is not None:
            for i in range(0, len(self.listed[0]), CHUNK):
                yield self.listed[0][i : i + CHUNK], self.listed[1][i : i + CHUNK], 1.0
        elif self.reference_labels is not None:
            order, y = _sorted(self.reference_labels)
            first = np.searchsorted(y, self.labels)
            ends = (np.searchsorted(y, self.labels, "right") - first).cumsum()
            for i in range(0, ends[-1] if len(ends) else 0, CHUNK):
                chosen = np.arange(i, min(i + CHUNK, ends[-1]))
                a = np.searchsorted(ends, chosen, "right")
                yield a, order[first[a] + chosen - np.where(a, ends[a - 1], 0)], 1.0
        else:
            order, y = _sorted(self.labels)
            for apart in range(1, len(y)):
                same = np.flatnonzero(y[apart:] == y[:-apart])
                if not same.size:
                    return
                # The pair of p and a has the loss of the pair of a and p.
                yield order[same], order[same + apart], 2.0


class Embeddings:
    """Embeddings, the unit vectors that enter a loss, and the gradients by both."""

    def __init__(self, x: Array, normalize: bool, p: float = 2.0, centred: bool = False) -> None:
        # One layout for all, since NumPy's order of summation depends on it.
        self.x = x.astype(_check.compute_dtype(x), order="C")
        self.normalize, self.p = normalize, p
        self.norm = norms(self.x, p)
        self.scale = np.ones_like(self.norm)
        if normalize:
            self.scale = 1 / np.maximum(self.norm, self.x.dtype.type(1e-12))
        self.direction = self.unit = self.x * self.scale
        self.centred = centred
        if centred:
            self.unit = self.unit - self.unit[:, :1]  # so that equal elements become 0
            self.unit -= self.unit.mean(axis=1, keepdims=True)
        self.by_unit, self.direct = np.zeros_like(self.x), np.zeros_like(self.x)

    def gradient(self) -> Array:
        """Return the gradient by the embeddings."""
        slopes = self.by_unit
        if self.centred:
            slopes = slopes - slopes.mean(axis=1, keepdims=True)
        if self.normalize:
            unit = self.direction
            along = (slopes * unit).sum(axis=1, keepdims=True)
            of_norm = np.sign(unit) * abs(unit) ** (self.p - 1)
            slopes = slopes - np.where(self.norm < 1e-12, 0, along * of_norm)
            slopes[self.norm[:, 0] == 0] = 0  # which has no direction
        gradient: Array = slopes * self.scale + self.direct
        return gradient


class Places:
    """Which gradients of a call are wanted, and where they go."""

    def __init__(
        self,
        call: Any,  # Angular, or another call that has its arrays and reduction
        gradient: bool | tuple[int, ...],
        grad_output: Any,
        out: Any,
    ) -> None:
        self.factor: float = 1.0
        if grad_output is not None:
            self.factor = _check.scalar_cotangent(grad_output, f"reduction={call.reduction!r}")
        if isinstance(gradient, tuple) and 1 in gradient and call.reference is None:
            raise ValueError("argnums asks for the gradient by ref_embeddings, which is not given")
        names = ("embeddings", "ref_embeddings")
        self.given = {name: np.asarray(call.given[name]) for name in names}
        inputs = call.given | {"labels": call.labels, "grad_output": grad_output}
        self.wanted, self.places = _check.gradient_places(gradient, out, self.given, inputs)
        self.single = not isinstance(gradient, tuple)

    def delivered(self, units: tuple[Embeddings, Embeddings], divisor: float) -> Any:
        """Return the gradients of a sum over a divisor."""
        scale = self.factor / divisor if divisor else 0.0
        operands = list(self.given.values())
        made = tuple(scale * units[k].gradient() for k in self.wanted)
        of = [operands[k] for k in self.wanted]
        gradients = _check.delivered(made, of, self.places, units[0].x.dtype)
        return gradients[0] if self.single else gradients


@quietly
def angular(
    call: Angular,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient); of a tuple of arguments, a tuple of gradients.

    A pair's loss is log(1 + sum_N exp z), z = 4 t^2 (a + p) n - 2 (1 + t^2) a p: a dot product of
    n and a constant with a vector of the pair's. As the peer has it, only a and p are normalized.
    """
    places = Places(call, gradient, grad_output, out)
    anchor = other = Embeddings(call.embeddings, call.normalize)
    other_labels = call.labels
    if call.reference is not None and call.reference_labels is not None:
        other, other_labels = Embeddings(call.reference, call.normalize), call.reference_labels
    square = math.tan(call.alpha) ** 2
    by_sum, by_product = 4 * square, -2 * (1 + square)
    references = np.concatenate([other.x, np.ones((len(other.x), 1), other.x.dtype)], axis=1)
    total = count = nonzero = 0.0
    for a, p, times in call.chunks():
        unit_a, unit_p = anchor.unit[a], other.unit[p]
        dots = (unit_a * unit_p).sum(axis=1, keepdims=True)
        of_pairs = pairs.batch(
            "softplus_of_negatives",
            np.concatenate([by_sum * (unit_a + unit_p), by_product * dots], axis=1),
            call.labels[a],
            references,
            other_labels,
            None,
            (),
            distance=_core.DOT_PRODUCT,
            normalize=False,
            reduction="none",
            num_threads=call.num_threads,
        )
        if not places.wanted:
            losses = _core.pairwise(of_pairs)
        else:
            losses, made = _core.pairwise(of_pairs, (0, 1), np.full(len(a), times))
            by_pair, by_dot = by_sum * made[0][:, :-1], by_product * made[0][:, -1:]
            other.direct += made[1][:, :-1]
            add_rows(anchor.by_unit, a, by_pair + by_dot * unit_p)
            add_rows(other.by_unit, p, by_pair + by_dot * unit_a)
        total += times * float(losses.sum(dtype=np.float64))
        count += times * len(a)
        nonzero += times * np.count_nonzero(losses)
    divisor = {"mean_nonzero": nonzero, "mean": count, "sum": 1.0}[call.reduction]
    value = float(total / divisor) if divisor else 0.0
    if not places.wanted:
        return value
    return value, places.delivered((anchor, other), divisor)


def add_rows(to: Array, at: Array, rows: Array) -> None:
    """Add rows to the rows `at`, which may name a row more than once."""
    order = np.argsort(at, kind="stable")
    numbers = at[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    to[numbers[starts]] += np.add.reduceat(rows[order], starts, axis=0)


# ---- Lifted structure, one way -------------------------------------------------------------


class _Distances:
    """Distances of an anchor to all references, and the gradients through them."""

    def __init__(self, call: pairs.PairCall) -> None:
        of_units = (
            call.normalize,
            call.p if call.distance == _core.LP else 2.0,
            call.distance == _core.SNR,
        )
        self.anchors = self.references = Embeddings(call.embeddings, *of_units)
        if call.reference is not None:
            self.references = Embeddings(call.reference, *of_units)
        self.cosine = call.distance == _core.COSINE_DISTANCE
        self.snr = call.distance == _core.SNR
        self.p, self.power = of_units[1], 1.0
        if call.distance != _core.EUCLIDEAN:
            self.power = call.power if call.distance == _core.LP else 2.0

    def __call__(self, anchor: int) -> Array:
        """Return the distances of an anchor."""
        a, r = self.anchors.unit[anchor], self.references.unit
        distances: Array = 1 - r @ a
        if not self.cosine:
            distances = np.linalg.norm(r - a, self.p, axis=1) ** self.power
        if self.snr:
            some = distances > 0
            distances[some] /= a @ a
        return distances.astype(np.float64)

    def add(self, anchor: int, slopes: Array) -> None:
        """Add an anchor's part to the gradients, given the slopes of its distances."""
        a, r = self.anchors.unit[anchor], self.references.unit
        if self.cosine:
            self.anchors.by_unit[anchor] -= slopes @ r
            self.references.by_unit -= slopes[:, None] * a
            return
        difference = r - a
        if self.snr:
            own = a @ a
            if own == 0:
                return
            slopes = slopes / own
            squares = np.square(difference).sum(axis=1)
            self.anchors.by_unit[anchor] -= 2 * (slopes @ squares) / own * a
        norm = np.linalg.norm(difference, self.p, axis=1)
        some = norm > 0
        factor = slopes[some] * self.power * norm[some] ** (self.power - self.p)
        x = difference[some]
        by_reference = factor[:, None] * np.sign(x) * abs(x) ** (self.p - 1)
        self.references.by_unit[some] += by_reference
        self.anchors.by_unit[anchor] -= by_reference.sum(axis=0)


@quietly
def lifted(
    call: pairs.PairCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), of lifted structure with references; a row at a time.

    A pair's loss is x^2 / 2, x = max(0, log(exp L_a + exp L_p) + d_ap - pos_margin), with L =
    LSE_N(neg_margin - d) of the anchor and of the one with the reference's number, as the peer has
    it; once, if these are the same. Where neither has negatives, 0 in place of log(...). Without
    references, of distances that are others from a pair's other end.
    """
    neg_margin, pos_margin = call.parameters
    places, distances = Places(call, gradient, grad_output, out), _Distances(call)
    rows = range(len(call.embeddings))
    both_kinds = [_pairs_of(call, a) for a in rows]
    both = sum(len(p) for p, _ in both_kinds) and sum(len(n) for _, n in both_kinds)
    lse = np.full(len(distances.references.x) + len(rows), -np.inf)
    for a in rows:
        z = neg_margin - distances(a)[both_kinds[a][1]]
        lse[a] = np.logaddexp.reduce(z, initial=-np.inf)
    total = count = nonzero = 0.0
    xs, by_lse = [], np.zeros_like(lse)
    for a in rows:
        p = both_kinds[a][0] if both else both_kinds[a][0][:0]
        others = np.where(p == a, -np.inf, lse[p])
        of_both = np.logaddexp(lse[a], others)
        some = of_both > -np.inf
        of_both[~some] = 0
        x = np.maximum(distances(a)[p] - pos_margin + of_both, 0)
        total += float(np.square(x).sum()) / 2
        count += len(p)
        nonzero += np.count_nonzero(x)
        xs.append((p, x))
        by_lse[a] += (x * np.exp(lse[a] - of_both))[some].sum()
        np.add.at(by_lse, p[some], (x * np.exp(others - of_both))[some])
    divisor = 1.0 if call.reduction == "sum" else nonzero if call.nonzero else count
    value = float(total / divisor) if divisor else 0.0
    if not places.wanted:
        return value
    for a, (p, x) in zip(rows, xs, strict=True):
        d, n = distances(a), both_kinds[a][1]
        slopes = np.zeros_like(d)
        np.add.at(slopes, p, x)
        if by_lse[a]:
            np.add.at(slopes, n, -by_lse[a] * np.exp(neg_margin - d[n] - lse[a]))
        distances.add(a, slopes.astype(distances.anchors.x.dtype))
    return value, places.delivered((distances.anchors, distances.references), divisor)


def _pairs_of(call: pairs.PairCall, anchor: int) -> tuple[Array, Array]:
    """Return the row numbers of an anchor's positives and of its negatives."""
    if call.listed is not None:
        positive, negative = (
            x.at[x.starts[anchor] : x.starts[anchor + 1]] for x in call.listed[:2]
        )
        return positive, negative
    assert call.labels is not None
    others = call.labels if call.reference_labels is None else call.reference_labels
    same = others == call.labels[anchor]
    negative = np.flatnonzero(~same)
    if call.reference is None:
        same[anchor] = False
    return np.flatnonzero(same), negative
