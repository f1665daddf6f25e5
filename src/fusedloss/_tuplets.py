"""Losses of more than a pair of embeddings, made of calls of the pairwise kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fusedloss import _check, _core, _pairs
from fusedloss._indices import lists
from fusedloss._loss import Array, quietly

#: So many listed pairs are worked on at a time.
CHUNK = 4096


def _sorted(labels: Array) -> tuple[Array, Array]:
    order = np.argsort(labels, kind="stable")
    return order, labels[order]


def first_pairs(labels: Array, indices_tuple: Any) -> tuple[Array, Array]:
    """Return anchors and positives: of each label the first two embeddings, or the first listed."""
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
    call: _pairs.PairCall,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), of a call whose towers are the rows `at` of the embeddings."""
    if not gradient:
        return _core.pairwise(call)
    value, slopes = _core.pairwise(call, (0, 1), grad_output)
    inputs = {"grad_output": grad_output}
    made = _check.zeros_like("embeddings", np.asarray(given), out, inputs)
    for rows, slope in zip(at, slopes, strict=True):
        made[rows] = slope
    return value, made


class Angular(NamedTuple):
    """A checked call of the angular loss."""

    given: Any
    embeddings: Array
    labels: Array
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
            return
        order, y = _sorted(self.labels)
        for apart in range(1, len(y)):
            same = np.flatnonzero(y[apart:] == y[:-apart])
            if not same.size:
                return
            # The pair of p and a has the loss of the pair of a and p.
            yield order[same], order[same + apart], 2.0


@quietly
def angular(call: Angular, gradient: bool = False, grad_output: Any = None, out: Any = None) -> Any:
    """Value, or (value, gradient).

    A pair's loss is log(1 + sum_N exp z), z = 4 t^2 (a + p) n - 2 (1 + t^2) a p: a dot product of
    n and a constant with a vector of the pair's. As the peer has it, only a and p are normalized.
    """
    factor: float = 1.0
    if grad_output is not None:
        factor = _check.scalar_cotangent(grad_output, f"reduction={call.reduction!r}")
    # In one layout, or NumPy's sums would be of another order.
    e = call.embeddings.astype(_check.compute_dtype(call.embeddings), order="C")
    unit, scale = e, np.ones((len(e), 1), e.dtype)
    norm = np.sqrt(np.square(e).sum(axis=1, keepdims=True))
    if call.normalize:
        scale = 1 / np.maximum(norm, e.dtype.type(1e-12))
        unit = e * scale
    square = math.tan(call.alpha) ** 2
    by_sum, by_product = 4 * square, -2 * (1 + square)
    references = np.concatenate([e, np.ones((len(e), 1), e.dtype)], axis=1)
    slopes, of_negatives = np.zeros_like(e), np.zeros_like(e)
    total = count = nonzero = 0.0
    for a, p, times in call.chunks():
        dots = (unit[a] * unit[p]).sum(axis=1, keepdims=True)
        of_pairs = _pairs.batch(
            "softplus_of_negatives",
            np.concatenate([by_sum * (unit[a] + unit[p]), by_product * dots], axis=1),
            call.labels[a],
            references,
            call.labels,
            None,
            (),
            distance=_core.DOT_PRODUCT,
            normalize=False,
            reduction="none",
            num_threads=call.num_threads,
        )
        if not gradient:
            losses = _core.pairwise(of_pairs)
        else:
            losses, made = _core.pairwise(of_pairs, (0, 1), np.full(len(a), times))
            by_pair, by_dot = by_sum * made[0][:, :-1], by_product * made[0][:, -1:]
            of_negatives += made[1][:, :-1]
            _add_rows(slopes, a, by_pair + by_dot * unit[p])
            _add_rows(slopes, p, by_pair + by_dot * unit[a])
        total += times * float(losses.sum(dtype=np.float64))
        count += times * len(a)
        nonzero += times * np.count_nonzero(losses)
    divisor = {"mean_nonzero": nonzero, "mean": count, "sum": 1.0}[call.reduction]
    value = total / divisor if divisor else 0.0
    if not gradient:
        return value
    if call.normalize:
        along = (slopes * unit).sum(axis=1, keepdims=True) * unit
        slopes -= np.where(norm < 1e-12, 0, along)
    slopes = (slopes * scale + of_negatives) * (factor / divisor if divisor else 0.0)
    inputs = {"labels": call.labels, "grad_output": grad_output}
    made = _check.zeros_like("embeddings", np.asarray(call.given), out, inputs)
    made += slopes.astype(made.dtype)
    return value, made


def _add_rows(to: Array, at: Array, rows: Array) -> None:
    """Add rows to those of numbers `at`, which may come more than once."""
    order = np.argsort(at, kind="stable")
    numbers = at[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    to[numbers[starts]] += np.add.reduceat(rows[order], starts, axis=0)
