"""The manifold loss: random walks among a batch of embeddings and their proxies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fusedloss import _check
from fusedloss._lower.loss import quietly
from fusedloss._lower.tuplets import Embeddings
from fusedloss._types import Array


class Manifold(NamedTuple):
    """A checked call of the manifold loss."""

    given: dict[str, Any]  # embeddings and weight
    embeddings: Array
    weight: Array
    target: Array
    alpha: float
    margin: float
    shares: tuple[float, float]  # of the intrinsic and of the context loss
    reduction: str


def _beyond_own(s: Array, target: Array, margin: float) -> tuple[Array, Array]:
    """Return log(1 + sum exp x) of rows, x = s - s_own + margin of others where x >= 0; slopes."""
    rows = np.arange(len(s))
    x = s - s[rows, target][:, np.newaxis] + margin
    counts = ~(x < 0)  # NaN does, too
    counts[rows, target] = False
    x = np.where(counts, x, -np.inf)
    largest = x.max(axis=1, initial=0.0)
    slopes = np.exp(x - largest[:, np.newaxis])
    sums = np.exp(-largest) + slopes.sum(axis=1)
    slopes /= sums[:, np.newaxis]
    slopes[rows, target] = -slopes.sum(axis=1)
    return largest + np.log(sums), slopes


class _Walk:
    """Random walks from every node, and the gradients through them; in float64."""

    def __init__(self, call: Manifold) -> None:
        x, w = (array.astype(np.float64) for array in (call.embeddings, call.weight))
        self.nodes = Embeddings(np.concatenate([x, w]), True)
        self.alpha = call.alpha
        u = self.nodes.unit
        self.cosine = u @ u.T
        self.similarity = np.exp(2 * np.maximum(self.cosine, 0))
        np.fill_diagonal(self.similarity, 0)
        sums = self.similarity.sum(axis=1)  # 0 of a node that is the only one
        self.root = np.where(sums == 0, 0, 1 / np.sqrt(sums))
        steps = self.similarity * self.root * self.root[:, np.newaxis]
        self.ends = np.full_like(steps, np.nan)
        if np.isfinite(steps).all():
            walks = np.eye(len(steps)) - call.alpha * steps
            self.ends = (1 - call.alpha) * np.linalg.inv(walks)

    def gradient(self, by_ends: Array) -> Array:
        """Return the gradient by all nodes."""
        by_steps = self.alpha / (1 - self.alpha) * self.ends @ by_ends @ self.ends
        by_steps += by_steps.T
        by_root = (by_steps * self.similarity) @ self.root
        by_sum = -0.5 * self.root**3 * by_root
        by_similarity = by_steps * self.root * self.root[:, np.newaxis]
        by_similarity += by_sum + by_sum[:, np.newaxis]
        by_cosine = np.where(self.cosine < 0, 0, 2 * self.similarity * by_similarity)
        self.nodes.by_unit += by_cosine @ self.nodes.unit
        return self.nodes.gradient()


@quietly
def manifold(
    call: Manifold,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient); of a tuple of arguments, a tuple of gradients."""
    operands = {name: np.asarray(x) for name, x in call.given.items()}
    inputs = call.given | {"target": call.target, "grad_output": grad_output}
    wanted, places = _check.gradient_places(gradient, out, operands, inputs)
    count = len(call.embeddings)
    factor: Any = 1.0
    if grad_output is not None:
        factor = _check.loss_cotangent(grad_output, call.reduction, call.embeddings, (count,))
    divisor = max(count, 1) if call.reduction == "mean" else 1
    walk = _Walk(call)
    ends, others = walk.ends[:count], walk.ends[count:]
    norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in (ends, others)]
    unit, unit_others = ends / norms[0], others / norms[1]
    intrinsic, by_ends = _beyond_own(ends[:, count:], call.target, call.margin)
    context, by_cosine = _beyond_own(unit @ unit_others.T, call.target, call.margin)
    losses = np.zeros(count)
    for share, part in zip(call.shares, (intrinsic, context), strict=True):
        losses += share * part
    value: Any = losses.astype(call.embeddings.dtype)
    if call.reduction != "none":
        value = float(losses.sum() / divisor)
    if not wanted:
        return value

    of_rows = np.broadcast_to(factor / divisor, count)[:, np.newaxis]
    by_all = np.zeros_like(walk.ends)
    by_all[:count, count:] = call.shares[0] * of_rows * by_ends
    by_cosine *= call.shares[1] * of_rows
    for rows, u, norm, by_unit in (
        (slice(None, count), unit, norms[0], by_cosine @ unit_others),
        (slice(count, None), unit_others, norms[1], by_cosine.T @ unit),
    ):
        along = (by_unit * u).sum(axis=1, keepdims=True)
        by_all[rows] += (by_unit - along * u) / norm
    by_nodes = walk.gradient(by_all)
    made = by_nodes[:count], by_nodes[count:]
    inputs_of = list(operands.values())
    gradients = _check.delivered(
        tuple(made[k] for k in wanted),
        [inputs_of[k] for k in wanted],
        places,
        _check.compute_dtype(call.embeddings),
    )
    return value, gradients if isinstance(gradient, tuple) else gradients[0]
