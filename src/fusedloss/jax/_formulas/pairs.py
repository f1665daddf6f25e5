"""Losses of pairs of embeddings, from the matrix of all pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from fusedloss import _core
from fusedloss._lower.indices import PairList
from fusedloss._lower.pairs import PairCall
from fusedloss.jax._formulas.elementary import log_sum_exp, relu, root, softplus, unit_rows, wide

#: Embeddings are divided by no less.
LEAST_NORM = 1e-12


class Pairs(NamedTuple):
    """All pairs of anchors, by row, and references, by column; how often each one counts."""

    values: Any  # similarities or distances
    positive: Any
    negative: Any
    listed: Any


class Terms(NamedTuple):
    """The losses of one kind, added up by anchor."""

    loss: Any
    losses: Any  # how many
    nonzero: Any  # how many above 0


def formula(given: Any, call: PairCall) -> Any:
    """Return the loss."""
    names = list(call.differentiable)
    e = given(call.embeddings)
    dtype = e.dtype
    e, v = wide(e), given(call.sample_weight)
    reference = None if call.reference is None else wide(given(call.reference))
    if v is not None and reference is not None and call.loss != "clip_loss":
        e = jnp.where((v == 0)[:, None], 1, e)
    where = given(call.where)
    if where is not None:
        e, reference = _without_masked(where, e, reference, call)
    parameters: list[Any] = list(call.parameters)
    for name, learnable in call.learnable.items():
        x = given.named.get(name)
        if x is not None and learnable.classes is not None:
            y = given(call.labels)
            of_anchors = jnp.where((y >= 0) & (y < len(x)), x.astype(e.dtype)[y], jnp.nan)
            parameters[learnable.parameter] = of_anchors[:, None]
        elif x is not None and name in names:
            x = x.reshape(()).astype(e.dtype)
            parameters[learnable.parameter] = 1 / x if name == "temperature" else x
    labels, others = given(call.labels), given(call.reference_labels)
    if call.loss == "supcon_loss":
        parameters[1] = jnp.zeros((), bool)
        if others is not None:
            parameters[1] = (jnp.concatenate([labels, others]) != labels[:1]).any()
    pairs = all_pairs(e, reference, labels, others, call)
    if where is not None:
        pairs = pairs._replace(positive=pairs.positive * where, negative=pairs.negative * where)
    own = FORMULAS[call.loss]
    if call.loss == "lifted_structure_loss" and call.one_way:
        own = _lifted_of_references
    if call.loss == "intra_pair_variance_loss":
        parameters.append(jnp.ones(len(e)) if v is None else v != 0)
    kinds = own(pairs, *parameters)
    w = jnp.ones((), e.dtype) if v is None else v.astype(e.dtype)
    if call.loss_weight is not None:
        share = jnp.asarray(call.loss_weight, e.dtype)
        kinds = [Terms(share * x, n, (share > 0) * nonzero) for x, n, nonzero in kinds]
    kinds = [Terms(*(w * x for x in kind)) for kind in kinds]
    if where is not None:
        has_loss = where.any(1) if call.any_counts else jnp.diagonal(where)
        kinds = [Terms(*(jnp.where(has_loss, x, 0) for x in kind)) for kind in kinds]
    return _reduced(kinds, call.reduction, call.nonzero).astype(dtype)


def _without_masked(where: Any, a: Any, b: Any, call: PairCall) -> tuple[Any, Any]:
    """Return both towers with zeros for what a mask leaves in no loss."""
    if not call.any_counts:
        has_loss = jnp.diagonal(where)
        of_column = jnp.zeros(len(b), bool)
        if call.loss == "clip_loss":
            of_column = of_column.at[: len(a)].set(has_loss)
        where = where & (has_loss[:, None] | of_column)
    return (
        jnp.where(where.any(1)[:, None], a, 0),
        jnp.where(where.any(0)[:, None], b, 0),
    )


def proxies(given: Any, call: PairCall) -> Any:
    """Return the loss of proxies, which are the anchors, among embeddings."""
    x, y = given(call.reference), given(call.reference_labels)
    dtype = x.dtype
    weight = wide(given(call.embeddings))
    cosine = unit_rows(weight, least=LEAST_NORM) @ unit_rows(wide(x), least=LEAST_NORM).T
    margin, alpha = call.parameters[:2]
    own = jax.nn.one_hot(y, len(weight), dtype=cosine.dtype).T
    pull = log_sum_exp(alpha * (margin - cosine), own, -jnp.inf)
    push = log_sum_exp(alpha * (cosine + margin), 1 - own, -jnp.inf)
    present = jnp.maximum((own > 0).any(1).sum(), 1)
    bad = ((y < 0) | (y >= len(weight))).any()
    value = softplus(pull).sum() / present + softplus(push).mean()
    return (value * jnp.where(bad, jnp.nan, 1)).astype(dtype)


def _reduced(kinds: list[Terms], reduction: str, nonzero: bool) -> Any:
    if reduction == "none":
        return sum(kind.loss for kind in kinds)
    totals = [kind.loss.sum() for kind in kinds]
    if reduction == "mean":
        divisors = [(kind.nonzero if nonzero else kind.losses).sum() for kind in kinds]
        totals = [x / jnp.where(n == 0, 1, n) for x, n in zip(totals, divisors, strict=True)]
    return sum(totals)


def all_pairs(e: Any, reference: Any, labels: Any, others: Any, call: PairCall) -> Pairs:
    """Return the matrix of pairs, and which are positive and negative."""
    order = call.p if call.distance == _core.LP else 2.0

    def unit(x: Any) -> Any:
        x = unit_rows(x, order, LEAST_NORM) if call.normalize else x
        return _centred(x) if call.distance == _core.SNR else x

    a = unit(e)
    b = a if reference is None else unit(reference)
    values = _values(a, b, call)
    values = -values if call.opposite else values
    if call.listed is not None:
        positive, negative = (_times(x, values) for x in call.listed[:2])
        return Pairs(values, positive, negative, call.listed)
    own = jnp.eye(len(a), len(b), dtype=a.dtype)
    if labels is None:
        return Pairs(values, own, 1 - own, None)
    same = (labels[:, None] == (labels if others is None else others)).astype(a.dtype)
    return Pairs(values, same - own if reference is None else same, 1 - same, None)


def _anchors(pairs: PairList) -> Any:
    return np.repeat(np.arange(len(pairs.starts) - 1), np.diff(pairs.starts))


def _times(pairs: PairList, values: Any) -> Any:
    """Return how often each pair is listed."""
    return jnp.zeros_like(values).at[_anchors(pairs), np.asarray(pairs.at)].add(1)


def _centred(x: Any) -> Any:
    """Return rows less their means: exactly 0 where all of a row is equal."""
    x = x - x[:, :1]
    return x - x.mean(1, keepdims=True)


def _values(a: Any, b: Any, call: PairCall) -> Any:
    dots = a @ b.T
    if call.distance == _core.DOT_PRODUCT:
        return dots
    if call.distance == _core.COSINE_DISTANCE:
        return 1 - dots
    d = a[:, None] - b
    if call.distance == _core.LP:
        size = jnp.abs(d)
        powers = jnp.where(size == 0, 0, jnp.where(size == 0, 1, size) ** call.p).sum(2)
        zero = powers == 0
        return jnp.where(zero, 0, jnp.where(zero, 1, powers) ** (call.power / call.p))
    squares = (d * d).sum(2)
    if call.distance == _core.SNR:
        own = (a * a).sum(1)[:, None]
        far = (own == 0) & (squares != 0)  # of an anchor without variance: no slope
        return jnp.where(far, jnp.inf, squares / jnp.where(own == 0, 1, own))
    return squares if call.distance == _core.SQUARED_EUCLIDEAN else root(squares)


def _of_pairs(losses: Any, times: Any) -> Terms:
    losses = jnp.where(times > 0, losses, 0)
    return Terms((losses * times).sum(1), times.sum(1), ((losses > 0) * times).sum(1))


def _of_anchors(losses: Any, counted: Any = None) -> Terms:
    return Terms(losses, jnp.ones_like(losses) if counted is None else counted, losses > 0)


def _any(times: Any) -> Any:
    return (times > 0).any(1)


def _contrastive(pairs: Pairs, pos_margin: Any, neg_margin: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    near, far = relu(d - pos_margin), relu(neg_margin - d)
    return [_of_pairs(near, positive), _of_pairs(far, negative)]


def _threshold_consistent_margin(
    pairs: Pairs, lambda_plus: Any, lambda_minus: Any, margin_plus: Any, margin_minus: Any
) -> list[Terms]:
    s, positive, negative, _ = pairs

    def losses(x: Any, weight: Any, times: Any) -> Terms:
        reaches = ~(x < 0)  # nor is NaN
        loss = weight * (jnp.where(reaches & (times > 0), x, 0) * times).sum(1)
        return Terms(loss, times.sum(1), (reaches * times).sum(1))

    return [
        losses(margin_plus - s, lambda_plus, positive),
        losses(s - margin_minus, lambda_minus, negative),
    ]


def _margin(pairs: Pairs, margin: Any, beta: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    m, k = negative.sum(1), positive.sum(1)
    p, n = (
        _of_pairs(relu(d - beta + margin), positive),
        _of_pairs(relu(beta - d + margin), negative),
    )
    return [Terms(m * p.loss + k * n.loss, m * k, m * p.nonzero + k * n.nonzero)]


def _each_positive(pairs: Pairs, scale: Any, shifted: Any) -> list[Terms]:
    lse = log_sum_exp(scale * pairs.values, pairs.negative, -jnp.inf)
    return [_of_pairs(softplus(lse[:, None] - scale * shifted), pairs.positive)]


def _ntxent(pairs: Pairs, scale: Any) -> list[Terms]:
    return _each_positive(pairs, scale, pairs.values)


def _intra_pair_variance(pairs: Pairs, pos_eps: Any, neg_eps: Any, counted: Any) -> list[Terms]:
    def losses(times: Any, sign: int, eps: Any) -> Terms:
        of_mean = times * counted[:, None]
        total = (jnp.where(of_mean > 0, pairs.values, 0) * of_mean).sum()
        mean = total / jnp.maximum(of_mean.sum(), 1)
        excess = relu(sign * (pairs.values - (1 + sign * eps) * mean))
        return _of_pairs(excess * excess, times)

    return [losses(pairs.positive, -1, pos_eps), losses(pairs.negative, 1, neg_eps)]


def _tuplet_margin(pairs: Pairs, margin: float, scale: Any) -> list[Terms]:
    s = pairs.values
    square, least = 1 - s * s, float(jnp.finfo(s.dtype).eps) / 2
    sine = jnp.sqrt(jnp.where(square < least, least, square))
    return _each_positive(pairs, scale, s * math.cos(margin) + sine * math.sin(margin))


def _mean_positive(pairs: Pairs, scale: Any, alone: Any = False) -> list[Terms]:
    s, positive, negative, _ = pairs
    count = positive.sum(1)
    mean = (s * positive).sum(1) / jnp.maximum(count, 1)
    z = scale * (s - mean[:, None])
    p = jnp.where(count > 1, log_sum_exp(z, positive), 0)
    losses = p + softplus(log_sum_exp(z, negative, -jnp.inf) - p)
    counted = _any(positive) & (_any(negative) | alone)
    return [_of_anchors(jnp.where(counted, losses, 0))]


def _clip(pairs: Pairs, scale: Any) -> list[Terms]:
    s, _, negative, _ = pairs
    own = jnp.diagonal(s)
    rows = log_sum_exp(scale * (s - own[:, None]), negative, -jnp.inf)
    s, negative = s[:, : len(s)], negative[:, : len(s)]  # other references have no anchor
    columns = log_sum_exp(scale * (s - own).T, negative.T, -jnp.inf)
    return [_of_anchors((softplus(rows) + softplus(columns)) / 2)]


def _siglip(pairs: Pairs, scale: Any, bias: Any) -> list[Terms]:
    z = scale * pairs.values + bias
    losses = softplus(jnp.where(pairs.positive > 0, -z, z))
    return [_of_anchors(jnp.where(pairs.positive + pairs.negative > 0, losses, 0).sum(1))]


def _multi_similarity(pairs: Pairs, alpha: Any, beta: Any, base: Any) -> list[Terms]:
    s, positive, negative, _ = pairs
    p = softplus(log_sum_exp(alpha * (base - s), positive, -jnp.inf)) / alpha
    n = softplus(log_sum_exp(beta * (s - base), negative, -jnp.inf)) / beta
    return [_of_anchors(p + n)]


def _circle(pairs: Pairs, m: Any, gamma: Any) -> list[Terms]:
    s, positive, negative, _ = pairs
    fixed = jax.lax.stop_gradient
    p = log_sum_exp(-gamma * fixed(relu(1 + m - s)) * (s - (1 - m)), positive)
    n = log_sum_exp(gamma * fixed(relu(s + m)) * (s - m), negative)
    return [_of_anchors(jnp.where(_any(positive) & _any(negative), softplus(p + n), 0))]


def _nca(pairs: Pairs, scale: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    x = log_sum_exp(-scale * d, negative, -jnp.inf) - log_sum_exp(-scale * d, positive)
    counted = _any(positive)
    return [_of_anchors(jnp.where(counted, softplus(x), 0), counted)]


def _generalized_lifted(pairs: Pairs, neg_margin: Any, pos_margin: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    losses = log_sum_exp(d - pos_margin, positive) + log_sum_exp(neg_margin - d, negative)
    return [_of_anchors(relu(losses))]


def _lifted(pairs: Pairs, neg_margin: Any, pos_margin: Any) -> list[Terms]:
    d, positive, negative, listed = pairs
    least, some = float(jnp.finfo(d.dtype).min), _any(negative)
    lse = log_sum_exp(neg_margin - d, negative, least)
    both = jnp.where(some[:, None] | some, jnp.logaddexp(lse[:, None], lse), 0)
    x = jnp.where((positive > 0) & some.any(), both + d - pos_margin, 0)
    return [_of_pairs(relu(x) ** 2 / 2, positive / 2 if listed else positive)]


def _lifted_of_references(pairs: Pairs, neg_margin: Any, pos_margin: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    least, (rows, references) = float(jnp.finfo(d.dtype).min), d.shape
    lse, some = log_sum_exp(neg_margin - d, negative, least), _any(negative)
    missing = (0, max(references - rows, 0))
    other = jnp.pad(lse, missing, constant_values=least)[:references]
    own = jnp.eye(rows, references, dtype=bool)
    has_any = some[:, None] | jnp.pad(some, missing)[:references]
    both = jnp.where(own, lse[:, None], jnp.logaddexp(lse[:, None], other))
    both = jnp.where(has_any, both, 0)
    x = jnp.where((positive > 0) & some.any(), both + d - pos_margin, 0)
    return [_of_pairs(relu(x) ** 2 / 2, positive)]


def _ranked_list(
    pairs: Pairs, margin: Any, rate_n: Any, share: Any, alpha: Any, rate_p: Any
) -> list[Terms]:
    d, positive, negative, _ = pairs
    # Every pair's weight has 1e-5 added to it, that of the anchor with itself too.
    small = 1e-5 * (positive.sum(1) + negative.sum(1) + 1)

    def weighted(x: Any, times: Any, rate: Any) -> Any:
        x = jnp.where((times > 0) & (x > 0) & (d > 0), x, 0)
        w = jnp.where(x > 0, jnp.exp(rate * x), 0)
        return (w * x).sum(1) / (w.sum(1) + small)

    p = weighted(d - (alpha - margin), positive, rate_p)
    return [_of_anchors((1 - share) * p + share * weighted(alpha - d, negative, rate_n))]


def _bins(at: Any, bins: int) -> tuple[Any, Any]:
    first = jnp.clip(jnp.floor(jax.lax.stop_gradient(at)), 0, bins - 1)
    return first.astype(jnp.int32), at - first


def _fast_ap(pairs: Pairs, num_bins: float) -> list[Terms]:
    d, positive, negative, _ = pairs
    bins, rows = int(num_bins), jnp.arange(len(d))[:, None]
    first, second = _bins(d * bins / 4, bins)

    def histogram(times: Any) -> Any:
        counts = jnp.zeros((len(d), bins + 1), d.dtype)
        counts = counts.at[rows, first].add((1 - second) * times)
        return counts.at[rows, first + 1].add(second * times)

    h = histogram(positive)
    below, total = h.cumsum(1), histogram(positive + negative).cumsum(1)
    counts = (h * below > 0) & (total > 0)
    precision = jnp.where(counts, h * below, 0) / jnp.where(counts, total, 1)
    counted = _any(positive)
    losses = 1 - precision.sum(1) / jnp.maximum(positive.sum(1), 1)
    return [_of_anchors(jnp.where(counted, losses, 0), counted)]


def _histogram(pairs: Pairs, n_bins: float) -> list[Terms]:
    s, positive, negative, listed = pairs
    bins = int(n_bins)
    first, second = _bins((s + 1) * bins / 2, bins)
    both = jnp.ones(len(s), bool) if listed is not None else _any(positive) & _any(negative)

    def density(counted: Any) -> Any:
        counts = jnp.zeros(bins + 1, s.dtype)
        counts = counts.at[first].add(jnp.where(counted, 1 - second, 0))
        counts = counts.at[first + 1].add(jnp.where(counted, second, 0))
        return counts / jnp.maximum(counted.sum(), 1)

    of_positives = density((positive > 0) & both[:, None])
    of_negatives = density((negative > 0) & (both[:, None] | both))
    return [_of_anchors((of_negatives * of_positives.cumsum(0)).sum()[None])]


def _ranks(pairs: Pairs, rate: Any) -> tuple[Any, Any, Any]:
    """How many of its own and how many negatives are ahead of each of an anchor's own; these."""
    s = pairs.values
    own = pairs.positive + jnp.eye(len(s), dtype=s.dtype)
    ahead = jax.nn.sigmoid(rate * (s[:, None] - s[:, :, None]))
    return (ahead * own[:, None]).sum(2) - 0.5, (ahead * pairs.negative[:, None]).sum(2), own


def _smooth_ap(pairs: Pairs, rate: Any) -> list[Terms]:
    positives, negatives, own = _ranks(pairs, rate)
    return [_of_anchors((negatives / (1 + positives + negatives) * own).sum(1) / own.sum(1))]


def _pnp(pairs: Pairs, rate: Any, variant: float, b: float, alpha: float) -> list[Terms]:
    _, r, own = _ranks(pairs, rate)
    penalties: list[Callable[[], Any]] = [  # by the kernel's numbers
        lambda: r,
        lambda: jnp.log1p(r),
        lambda: -jnp.expm1(-alpha * jnp.log1p(r)),
        lambda: (1 + r) * jnp.log1p(r),
        lambda: (b * r - jnp.log1p(b * r)) / b**2,
    ]
    counted = _any(pairs.positive)
    losses = (penalties[int(variant)]() * own).sum(1) / own.sum(1)
    return [_of_anchors(jnp.where(counted, losses, 0), counted)]


# ---- Triplets -----------------------------------------------------------------------------------


def _hinge(x: Any, soft: Any) -> Any:
    return softplus(x) if soft else relu(x)


def _triplet_hardest(pairs: Pairs, margin: Any, soft: Any, easy: bool = False) -> list[Terms]:
    d, positive, negative, _ = pairs
    n = jnp.where(negative > 0, d, jnp.inf).min(1)
    p = jnp.where(positive > 0, d, jnp.inf if easy else -jnp.inf)
    p = p.min(1) if easy else p.max(1)
    counted = _any(positive) & _any(negative)
    gap = jnp.where(counted, p, 0) - jnp.where(counted, n, 0)
    losses = _hinge(gap + margin, soft)
    return [_of_anchors(jnp.where(counted, losses, 0), counted)]


def _triplet_easy(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    return _triplet_hardest(pairs, margin, soft, easy=True)


def _triplet_closest(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    far = jnp.where(negative[:, None, :] > 0, d[:, None, :], jnp.inf)
    beyond = jnp.where(far > d[:, :, None], far, jnp.inf).min(2)
    last = jnp.where(negative > 0, d, -jnp.inf).max(1)[:, None]
    n = jnp.where(jnp.isinf(beyond), last, beyond)
    counted = positive * _any(negative)[:, None]
    x = jnp.where(counted > 0, d, 0) - jnp.where(counted > 0, n, 0)
    return [_of_pairs(_hinge(x + margin, soft), counted)]


def _triplet_all(pairs: Pairs, margin: Any, soft: Any, semihard: bool = False) -> list[Terms]:
    d, positive, negative, _ = pairs
    x = d[:, :, None] - d[:, None, :] + margin
    times = positive[:, :, None] * negative[:, None, :]
    if semihard:
        times = times * ((d[:, None, :] > d[:, :, None]) & (x >= 0))
    return [_of_pairs(_hinge(x, soft).reshape(len(d), -1), times.reshape(len(d), -1))]


def _triplet_semihard(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    return _triplet_all(pairs, margin, soft, semihard=True)


def _of_triplets(pairs: Pairs, losses: Callable[[Any, Any], tuple[Any, Any]]) -> list[Terms]:
    v, listed = pairs.values, pairs.listed
    a = _anchors(listed.positive)
    p, n = (v[a, np.asarray(x.at)] for x in (listed.positive, listed.negative))
    loss, nonzero = losses(p, n)
    nothing = jnp.zeros(len(v), v.dtype)
    return [Terms(*(nothing.at[a].add(x) for x in (loss, jnp.ones_like(p), nonzero)))]


def _triplet_listed(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    def losses(p: Any, n: Any) -> tuple[Any, Any]:
        x = _hinge(p - n + margin, soft)
        return x, (x > 0).astype(x.dtype)

    return _of_triplets(pairs, losses)


def _margin_listed(pairs: Pairs, margin: Any, beta: Any) -> list[Terms]:
    if jnp.ndim(beta):  # of the anchors
        beta = beta[_anchors(pairs.listed.positive), 0]

    def losses(p: Any, n: Any) -> tuple[Any, Any]:
        x, y = relu(p - beta + margin), relu(beta - n + margin)
        return x + y, (x > 0).astype(x.dtype) + (y > 0).astype(x.dtype)

    return _of_triplets(pairs, losses)


def _supcon(pairs: Pairs, scale: Any, alone: Any) -> list[Terms]:
    return _mean_positive(pairs, scale, alone)


#: By the kernels' names.
FORMULAS: dict[str, Callable[..., list[Terms]]] = {
    "circle_loss": _circle,
    "clip_loss": _clip,
    "contrastive_loss": _contrastive,
    "fast_ap_loss": _fast_ap,
    "generalized_lifted_structure_loss": _generalized_lifted,
    "histogram_loss": _histogram,
    "info_nce_loss": _mean_positive,
    "intra_pair_variance_loss": _intra_pair_variance,
    "lifted_structure_loss": _lifted,
    "margin_listed": _margin_listed,
    "margin_loss": _margin,
    "multi_similarity_loss": _multi_similarity,
    "nca_loss": _nca,
    "ntxent_loss": _ntxent,
    "pnp_loss": _pnp,
    "ranked_list_loss": _ranked_list,
    "siglip_loss": _siglip,
    "smooth_ap_loss": _smooth_ap,
    "supcon_loss": _supcon,
    "threshold_consistent_margin_loss": _threshold_consistent_margin,
    "triplet_all": _triplet_all,
    "triplet_easy": _triplet_easy,
    "triplet_hard": _triplet_hardest,
    "triplet_listed": _triplet_listed,
    "triplet_semihard": _triplet_semihard,
    "triplet_semihard_closest": _triplet_closest,
    "tuplet_margin_loss": _tuplet_margin,
}
