"""Losses of pairs in torch: kernel calls, and formulas in torch's differentiable operations.

A formula answers where the kernels do not: it says what is wrong with bad input, runs on other
devices and under torch's transforms, and is what second derivatives are taken of. Unlike the
kernels it holds the matrix of all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._C import _DisableFuncTorch
from torch._C._functorch import get_unwrapped, is_gradtrackingtensor
from torch.nn.functional import logsigmoid, pad

from fusedloss import _check, _core
from fusedloss._check import LinearCall
from fusedloss._lower.indices import Lists, PairList, lists
from fusedloss._lower.loss import lookup
from fusedloss._lower.manifold import Manifold
from fusedloss._lower.pairs import PairCall
from fusedloss._lower.self_supervised import Views
from fusedloss._lower.soft_margin import SoftMargin
from fusedloss._lower.tuplets import Angular
from fusedloss._types import Array
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import (
    Tensors,
    array,
    detached,
    evaluate,
    expect_given,
    expect_mask,
    expect_tensors,
    transformed,
    wide,
)
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._operators.calls import operate, operated, readable
from fusedloss.torch._unit import unit_rows
from fusedloss.transform import value_and_grad
from fusedloss.tuplets import dynamic_soft_margin_loss, soft_margin_histogram

#: Embeddings are divided by no less.
LEAST_NORM = 1e-12

#: Arguments of one number that may be a tensor, and are differentiable then.
SCALARS = {"temperature", "beta", "logit_scale", "logit_bias"}


class Pairs(NamedTuple):
    """All pairs of anchors, by row, and references, by column; how often each one counts."""

    values: Tensor  # similarities or distances
    positive: Tensor
    negative: Tensor
    listed: Lists | None


class Terms(NamedTuple):
    """The losses of one kind, added up by anchor."""

    loss: Tensor
    losses: Tensor  # how many
    nonzero: Tensor  # how many above 0


class PairLoss(NamedTuple):
    """A call of a loss of pairs; its tensors are those of `names`."""

    loss: Callable[..., Any]  # the same of arrays
    names: tuple[str, ...]
    differentiable: int
    options: dict[str, Any]

    @property
    def reduction(self) -> str:
        """How the losses of the anchors are reduced."""
        reduction: str = self.options.get("reduction", "sum")
        return reduction

    @property
    def deferred(self) -> bool:
        """Whether the gradients are left to the backward pass."""
        return self.reduction == "none"

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss."""
        last = self.differentiable
        arrays = [*map(detached, tensors[:last]), *map(array, tensors[last:])]
        given = dict(zip(self.names, map(numbers_of_bits, arrays), strict=True))
        options = {**self.options, "num_threads": torch.get_num_threads()}
        if not wanted:
            return bits_of_numbers(self.loss(**given, **options))
        if isinstance(grad_output, np.ndarray):
            grad_output = numbers_of_bits(grad_output)
        places = tuple(map(numbers_of_bits, out))
        parameters = lookup(self.loss).parameters
        function = value_and_grad(self.loss, [parameters.index(self.names[k]) for k in wanted])
        return bits_of_numbers(function(**given, **options, grad_output=grad_output, out=places)[0])

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations, in float32 or float64."""
        stand_ins = dict(zip(self.names, map(_stand_in, tensors), strict=True))
        arguments = lookup(self.loss).lower(**stand_ins, **self.options)[1]
        dtype = tensors[0].dtype
        wide = torch.float32 if tensors[0].itemsize < 4 else dtype
        given = {
            name: x.to(wide) if x.is_floating_point() else x
            for name, x in zip(self.names, tensors, strict=True)
        }
        compose = COMPOSED.get(self.loss.__name__)
        if compose is not None:
            indices = self.options.get("indices_tuple")
            return compose(given, indices, *arguments).to(dtype)
        call: PairCall = arguments[0]
        first, second = call.differentiable[:2]
        if second in given and call.loss != "clip_loss":
            # An anchor of weight 0 that is no one's reference takes no part.
            for weights in (given.get("sample_weight"), _tensor_of(call.loss_weight)):
                if weights is not None:
                    silent = (weights == 0).to(given[first].device)
                    x = given[first]
                    filling = 1 + torch.arange(x.shape[1], device=x.device) % 2  # has a variance
                    given[first] = torch.where(silent[:, None], filling.to(x), x)
        where = given.get("where")
        if where is not None:
            given |= _without_masked(where, given[first], given[second], call, first, second)
        if call.listed is not None:
            given |= _silenced(given[first], given.get(second), call.listed, first, second)
        parameters: list[Any] = list(call.parameters)
        for name, learnable in call.learnable.items():
            if learnable.classes is not None:
                of_classes = given.get(name)
                if of_classes is None:
                    of_classes = torch.as_tensor(learnable.given).to(given[first])
                parameters[learnable.parameter] = _chosen(of_classes, given["labels"])[:, None]
            elif name in given:
                x = given[name].reshape(())
                parameters[learnable.parameter] = 1 / x if name == "temperature" else x
        pairs = _all_pairs(
            given[first], given.get(second), given.get("labels"), given.get("ref_labels"), call
        )
        if where is not None:
            pairs = pairs._replace(positive=pairs.positive * where, negative=pairs.negative * where)
        weight = given.get("sample_weight")
        if pairs.values.numel():
            formula = FORMULAS[call.loss]
            if call.loss == "lifted_structure_loss" and call.one_way:
                formula = _lifted_of_references
            if call.loss == "intra_pair_variance_loss":
                counted = torch.ones_like(pairs.values[:, 0])
                parameters.append(counted if weight is None else (weight != 0).to(counted))
            kinds = formula(pairs, *parameters)
        else:
            kinds = [_of_anchors(0 * given[first].sum(1))]
        weight = torch.ones((), dtype=wide, device=tensors[0].device) if weight is None else weight
        if call.loss_weight is not None:
            share = torch.from_numpy(call.loss_weight).to(weight)
            kinds = [Terms(share * x, n, (share > 0) * nonzero) for x, n, nonzero in kinds]
        kinds = [Terms(*[weight * x for x in kind]) for kind in kinds]
        if where is not None:
            has_loss = where.any(1) if call.any_counts else where.diagonal()
            kinds = [Terms(*[x.where(has_loss, 0) for x in kind]) for kind in kinds]
        return _reduced(kinds, call.reduction, call.nonzero).to(dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Losses of pairs have no extra outputs."""
        return {}


def pair_loss(
    loss: Callable[..., Any],
    differentiable: dict[str, Tensor | float | None],
    others: dict[str, Tensor | None],
    **options: Any,
) -> Tensor:
    """Compute a loss of pairs; `loss` is the same of arrays, whose kernel and checks are taken.

    `differentiable` are the arguments that may have a gradient, numbers among them.
    """
    numbers = {
        name: differentiable[name]
        for name in SCALARS & differentiable.keys()
        if not isinstance(differentiable[name], Tensor)
    }
    if operated(*differentiable.values()):
        result: Tensor = operate(loss.__name__, **differentiable, **others, **options)
        return result
    absent = {name: None for name, x in others.items() if x is None}
    first = {k: x for k, x in differentiable.items() if x is not None and k not in numbers}
    rest = {k: x for k, x in others.items() if x is not None}
    expect_given(**first, **rest)
    if "where" in rest:
        expect_mask(rest["where"])
    beta = differentiable.get("beta")
    are_classes = isinstance(beta, Tensor) and beta.numel() != 1
    of_labels = {k: x for k, x in rest.items() if k in ("labels", "ref_labels")}
    rest |= _comparable(of_labels, are_classes)
    if options.get("indices_tuple") is not None:
        expect_tensors(*options["indices_tuple"])
        options["indices_tuple"] = tuple(map(_integers, options["indices_tuple"]))
    call = PairLoss(loss, (*first, *rest), len(first), {**numbers, **absent, **options})
    value: Tensor = evaluate(call, *first.values(), *rest.values())
    return value


def _comparable(labels: dict[str, Any], are_classes: bool) -> dict[str, Any]:
    """Return labels of unsigned dtypes as int64 that are equal exactly where the numbers are.

    torch compares hardly any unsigned integers. Class indices stay the same numbers; those beyond
    int64 are out of any range.
    """
    unsigned = (torch.uint16, torch.uint32, torch.uint64)
    if not any(isinstance(x, Tensor) and x.dtype in unsigned for x in labels.values()):
        return labels
    arrays = [_integers(x).ravel() for x in labels.values()]
    if any(x.dtype.kind not in "iu" for x in arrays):
        return labels  # which the checks refuse
    numbers = [x.astype(np.int64) if x.itemsize < 8 else x for x in arrays]
    if are_classes:
        most = np.iinfo(np.int64).max
        numbers = [np.minimum(x, np.asarray(most, x.dtype)).astype(np.int64) for x in numbers]
    with _DisableFuncTorch():
        found = map(torch.from_numpy, _check.identities(*numbers))
        given = labels.items()
        return {k: y.reshape(x.shape).to(x.device) for (k, x), y in zip(given, found, strict=True)}


def _integers(tensor: Tensor) -> Array:
    """Return labels or indices as an array; transforms that differentiate leave them as they are.

    Forward mode wraps what an operator is given once for each of its levels.
    """
    with _DisableFuncTorch():
        while is_gradtrackingtensor(tensor):
            tensor = get_unwrapped(tensor)
        return tensor.detach().cpu().numpy()


def _stand_in(tensor: Tensor) -> Array:
    """Return an array whose checks are the tensor's; of a number, the number if it can be read."""
    if tensor.ndim == 0:
        if not readable(tensor):
            return np.ones(())
        try:
            return np.asarray(tensor.item())
        except RuntimeError:  # being transformed
            return np.ones(())
    # A loss takes float32 wherever it takes bfloat16.
    dtype = torch.float32 if tensor.dtype is torch.bfloat16 else tensor.dtype
    return np.broadcast_to(np.zeros((), str(dtype).removeprefix("torch.")), tuple(tensor.shape))


def _chosen(of_classes: Tensor, labels: Tensor) -> Tensor:
    """Return the element of each label's class; raise IndexError for a label that has none."""
    if readable(labels):
        try:
            numbers = labels.detach().cpu().numpy()
        except RuntimeError:  # being transformed
            pass
        else:
            _check.class_indices("labels", numbers, len(of_classes), None)
    return of_classes[labels.long()]


def _reduced(kinds: list[Terms], reduction: str, nonzero: bool) -> Tensor:
    if reduction == "none":
        return torch.stack([kind.loss for kind in kinds]).sum(0)
    totals = [kind.loss.sum() for kind in kinds]
    if reduction == "mean":
        divisors = [(kind.nonzero if nonzero else kind.losses).sum() for kind in kinds]
        totals = [x / torch.where(n == 0, 1, n) for x, n in zip(totals, divisors, strict=True)]
    return torch.stack(totals).sum()


# ---- Pairs --------------------------------------------------------------------------------------


def _all_pairs(
    embeddings: Tensor,
    reference: Tensor | None,
    labels: Tensor | None,
    reference_labels: Tensor | None,
    call: PairCall,
) -> Pairs:
    root = call.p if call.distance == _core.LP else 2

    def as_compared(x: Tensor) -> Tensor:
        x = unit_rows(x, root, LEAST_NORM) if call.normalize else x
        return _centred(x) if call.distance == _core.SNR else x

    a = as_compared(embeddings)
    b = a if reference is None else as_compared(reference)
    values = -_values(a, b, call) if call.opposite else _values(a, b, call)
    if call.listed is not None:
        positive, negative = (
            _times(call.listed.positive, values),
            _times(call.listed.negative, values),
        )
        return Pairs(values, positive, negative, call.listed)
    own = torch.eye(len(a), len(b), dtype=a.dtype, device=a.device)
    if labels is None:
        return Pairs(values, own, 1 - own, None)
    other = labels if reference_labels is None else reference_labels
    same = (labels[:, None] == other).to(a.dtype)
    return Pairs(values, same - own if reference is None else same, 1 - same, None)


def _silenced(
    e: Tensor, reference: Tensor | None, listed: Lists, first: str, second: str
) -> dict[str, Tensor]:
    """Return the embeddings with zeros for what no pair has."""

    def zeroed(x: Tensor, used: Array) -> Tensor:
        return x.masked_fill(torch.from_numpy(~used).to(x.device)[:, None], 0)

    anchors = listed.are_anchors()
    if reference is None:
        return {first: zeroed(e, anchors | listed.are_references(len(e)))}
    return {
        first: zeroed(e, anchors),
        second: zeroed(reference, listed.are_references(len(reference))),
    }


def _without_masked(
    where: Tensor, a: Tensor, b: Tensor, call: PairCall, first: str, second: str
) -> dict[str, Tensor]:
    """Return both towers with zeros for what a mask leaves in no loss."""
    if not call.any_counts:
        has_loss = where.diagonal()
        of_column = torch.zeros_like(where[0])
        if call.loss == "clip_loss":
            of_column = pad(has_loss, (0, len(b) - len(a)))
        where = where & (has_loss[:, None] | of_column)
    return {
        first: a.masked_fill(~where.any(1)[:, None], 0),
        second: b.masked_fill(~where.any(0)[:, None], 0),
    }


def _tensor_of(x: Array | None) -> Tensor | None:
    return None if x is None else torch.from_numpy(x)


def _anchors(pairs: PairList, device: torch.device) -> Tensor:
    anchors = np.repeat(np.arange(len(pairs.starts) - 1), np.diff(pairs.starts))
    return torch.from_numpy(anchors).to(device)


def _references(pairs: PairList, device: torch.device) -> Tensor:
    return torch.from_numpy(pairs.at).to(device, torch.int64)


def _times(pairs: PairList, values: Tensor) -> Tensor:
    """How often each pair is listed."""
    at = _anchors(pairs, values.device), _references(pairs, values.device)
    ones = torch.ones(len(pairs.at), dtype=values.dtype, device=values.device)
    return torch.zeros_like(values).index_put(at, ones, accumulate=True)


def _centred(x: Tensor) -> Tensor:
    """Return rows less their means: exactly 0 where all of a row is equal."""
    x = x - x[:, :1]
    return x - x.mean(1, keepdim=True)


def _values(a: Tensor, b: Tensor, call: PairCall) -> Tensor:
    if call.distance == _core.LP:
        difference = (a[:, None] - b).abs()
        same = difference == 0
        powers = difference.masked_fill(same, 1).pow(call.p).masked_fill(same, 0).sum(2)
        zero = powers == 0
        return powers.masked_fill(zero, 1).pow(call.power / call.p).masked_fill(zero, 0)
    dots = a @ b.T
    if call.distance == _core.DOT_PRODUCT:
        return dots
    if call.distance == _core.COSINE_DISTANCE:
        return 1 - dots
    squares = _squares(a, b, dots)
    if call.distance == _core.SNR:
        own = a.square().sum(1)[:, None]
        far = (own == 0) & (squares != 0)  # of an anchor without variance: no slope
        return (squares / own.masked_fill(own == 0, 1)).masked_fill(far, torch.inf)
    return squares if call.distance == _core.SQUARED_EUCLIDEAN else _root(squares)


def _squares(a: Tensor, b: Tensor, dots: Tensor) -> Tensor:
    """Return squared distances of rows, whose dot products are known."""
    sums = a.square().sum(1)[:, None] + b.square().sum(1)
    squares = sums - 2 * dots
    i, j = (squares < sums / 256).nonzero(as_tuple=True)  # too few digits are left of these
    return squares.index_put((i, j), (a[i] - b[j]).square().sum(1))


def _root(squares: Tensor) -> Tensor:
    """Return square roots; the derivative at 0 is 0."""
    zero = squares == 0
    return squares.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp x), without loss where it is small."""
    return -logsigmoid(-x)


def log_sum_exp(z: Tensor, times: Tensor, of_nothing: float = 0.0) -> Tensor:
    """Log-sum-exp of each row's elements, of which some come several times and others never."""
    some = times.any(1)
    z = torch.where(times > 0, z + times.clamp_min(1).log(), -torch.inf)
    return z.masked_fill(~some[:, None], 0).logsumexp(1).where(some, of_nothing)


# ---- Losses -------------------------------------------------------------------------------------


def _of_pairs(losses: Tensor, times: Tensor) -> Terms:
    losses = losses.where(times > 0, 0)
    return Terms((losses * times).sum(1), times.sum(1), ((losses > 0) * times).sum(1))


def _of_anchors(losses: Tensor, counted: Tensor | None = None) -> Terms:
    return Terms(losses, torch.ones_like(losses) if counted is None else counted, losses > 0)


def _contrastive(pairs: Pairs, pos_margin: Any, neg_margin: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    return [
        _of_pairs((d - pos_margin).relu(), positive),
        _of_pairs((neg_margin - d).relu(), negative),
    ]


def _threshold_consistent_margin(
    pairs: Pairs, lambda_plus: Any, lambda_minus: Any, margin_plus: Any, margin_minus: Any
) -> list[Terms]:
    s, positive, negative, _ = pairs

    def losses(x: Tensor, weight: Any, times: Tensor) -> Terms:
        reaches = ~(x < 0)  # nor is NaN
        loss = weight * (x.where(reaches, 0).where(times > 0, 0) * times).sum(1)
        return Terms(loss, times.sum(1), (reaches * times).sum(1))

    return [
        losses(margin_plus - s, lambda_plus, positive),
        losses(s - margin_minus, lambda_minus, negative),
    ]


def _margin(pairs: Pairs, margin: Any, beta: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    of_positive, of_negative = negative.sum(1), positive.sum(1)
    p = _of_pairs((d - beta + margin).relu(), positive)
    n = _of_pairs((beta - d + margin).relu(), negative)
    return [
        Terms(
            of_positive * p.loss + of_negative * n.loss,
            of_positive * of_negative,
            of_positive * p.nonzero + of_negative * n.nonzero,
        )
    ]


def _each_positive(pairs: Pairs, scale: Any, shifted: Tensor) -> list[Terms]:
    """Each positive, as `shifted`, against the softmax of all negatives."""
    lse = log_sum_exp(scale * pairs.values, pairs.negative, -torch.inf)
    return [_of_pairs(softplus(lse[:, None] - scale * shifted), pairs.positive)]


def _ntxent(pairs: Pairs, scale: Any) -> list[Terms]:
    return _each_positive(pairs, scale, pairs.values)


def _intra_pair_variance(pairs: Pairs, pos_eps: Any, neg_eps: Any, counted: Tensor) -> list[Terms]:
    """Around the means of the pairs of anchors that count."""

    def losses(times: Tensor, sign: int, eps: Any) -> Terms:
        of_mean = times * counted[:, None]
        total = (pairs.values.where(of_mean > 0, 0) * of_mean).sum()
        mean = total / of_mean.sum().clamp_min(1)
        excess = (sign * (pairs.values - (1 + sign * eps) * mean)).relu()
        return _of_pairs(excess.square(), times)

    return [losses(pairs.positive, -1, pos_eps), losses(pairs.negative, 1, neg_eps)]


def _tuplet_margin(pairs: Pairs, margin: float, scale: Any) -> list[Terms]:
    s = pairs.values
    sine = (1 - s.square()).clamp_min(torch.finfo(s.dtype).eps / 2).sqrt()
    return _each_positive(pairs, scale, s * math.cos(margin) + sine * math.sin(margin))


def _mean_positive(pairs: Pairs, scale: Any, alone: bool = False) -> list[Terms]:
    s, positive, negative, _ = pairs
    count = positive.sum(1)
    mean = (s * positive).sum(1) / count.clamp_min(1)
    z = scale * (s - mean[:, None])
    # Of a single positive it is 0, and so is its derivative: small losses keep their digits.
    p = log_sum_exp(z, positive).where(count > 1, 0)
    losses = p + softplus(log_sum_exp(z, negative, -torch.inf) - p)
    counted = positive.any(1)
    if not alone:
        counted = counted & negative.any(1)
    return [_of_anchors(losses.where(counted, 0))]


def _supcon(pairs: Pairs, scale: Any, alone: Any) -> list[Terms]:
    return _mean_positive(pairs, scale, bool(alone))


def _clip(pairs: Pairs, scale: Any) -> list[Terms]:
    s, _, negative, _ = pairs
    own = s.diagonal()
    rows = log_sum_exp(scale * (s - own[:, None]), negative, -torch.inf)
    s, negative = s[:, : len(s)], negative[:, : len(s)]  # other references have no anchor
    columns = log_sum_exp(scale * (s - own).T, negative.T, -torch.inf)
    return [_of_anchors((softplus(rows) + softplus(columns)) / 2)]


def _siglip(pairs: Pairs, scale: Any, bias: Any) -> list[Terms]:
    z = scale * pairs.values + bias
    losses = softplus(torch.where(pairs.positive > 0, -z, z))
    return [_of_anchors(losses.where(pairs.positive + pairs.negative > 0, 0).sum(1))]


def _multi_similarity(pairs: Pairs, alpha: Any, beta: Any, base: Any) -> list[Terms]:
    s, positive, negative, _ = pairs
    p = softplus(log_sum_exp(alpha * (base - s), positive, -torch.inf)) / alpha
    n = softplus(log_sum_exp(beta * (s - base), negative, -torch.inf)) / beta
    return [_of_anchors(p + n)]


def _circle(pairs: Pairs, m: Any, gamma: Any) -> list[Terms]:
    s, positive, negative, _ = pairs
    p = log_sum_exp(-gamma * (1 + m - s).relu().detach() * (s - (1 - m)), positive)
    n = log_sum_exp(gamma * (s + m).relu().detach() * (s - m), negative)
    return [_of_anchors(softplus(p + n).where(positive.any(1) & negative.any(1), 0))]


def _nca(pairs: Pairs, scale: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    x = log_sum_exp(-scale * d, negative, -torch.inf) - log_sum_exp(-scale * d, positive)
    counted = positive.any(1)
    return [_of_anchors(softplus(x).where(counted, 0), counted)]


def _generalized_lifted(pairs: Pairs, neg_margin: Any, pos_margin: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    losses = log_sum_exp(d - pos_margin, positive) + log_sum_exp(neg_margin - d, negative)
    return [_of_anchors(losses.relu())]


def _lifted(pairs: Pairs, neg_margin: Any, pos_margin: Any) -> list[Terms]:
    d, positive, negative, listed = pairs
    least = torch.finfo(d.dtype).min  # no infinity: the difference of two has no derivative
    lse, some = log_sum_exp(neg_margin - d, negative, least), negative.any(1)
    of_both = torch.logaddexp(lse[:, None], lse).where(some[:, None] | some, 0)
    x = (of_both + d - pos_margin).where((positive > 0) & some.any(), 0)
    # A list has each pair both ways.
    return [_of_pairs(x.relu().square() / 2, positive / 2 if listed else positive)]


def _lifted_of_references(pairs: Pairs, neg_margin: Any, pos_margin: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    least, (rows, references) = torch.finfo(d.dtype).min, d.shape
    lse, some = log_sum_exp(neg_margin - d, negative, least), negative.any(1)
    missing = (0, max(references - rows, 0))
    other = pad(lse, missing, value=least)[:references]
    own = torch.eye(rows, references, dtype=torch.bool, device=d.device)
    has_any = some[:, None] | pad(some, missing)[:references]
    of_both = torch.logaddexp(lse[:, None], other).where(~own, lse[:, None]).where(has_any, 0)
    x = (of_both + d - pos_margin).where((positive > 0) & some.any(), 0)
    return [_of_pairs(x.relu().square() / 2, positive)]


def _ranked_list(
    pairs: Pairs, margin: Any, rate_n: Any, share: Any, alpha: Any, rate_p: Any
) -> list[Terms]:
    d, positive, negative, _ = pairs
    # Every pair's weight has 1e-5 added to it, that of the anchor with itself too.
    small = 1e-5 * (positive.sum(1) + negative.sum(1) + 1)

    def weighted(x: Tensor, times: Tensor, rate: Any) -> Tensor:
        x = x.where((times > 0) & (x > 0) & (d > 0), 0)
        w: Tensor = (rate * x).exp().where(x > 0, 0)
        return (w * x).sum(1) / (w.sum(1) + small)

    p = weighted(d - (alpha - margin), positive, rate_p)
    return [_of_anchors((1 - share) * p + share * weighted(alpha - d, negative, rate_n))]


def _bins(at: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return the first of two nodes that values are shared out to, and the second's share."""
    first = at.detach().floor().clamp(0, bins - 1)
    return first.long(), at - first


def _fast_ap(pairs: Pairs, num_bins: float) -> list[Terms]:
    d, positive, negative, _ = pairs
    bins = int(num_bins)
    first, second = _bins(d * bins / 4, bins)

    def histogram(times: Tensor) -> Tensor:
        counts = torch.zeros(len(d), bins + 1, dtype=d.dtype, device=d.device)
        counts = counts.scatter_add(1, first, (1 - second) * times)
        return counts.scatter_add(1, first + 1, second * times)

    h = histogram(positive)
    below, total = h.cumsum(1), histogram(positive + negative).cumsum(1)
    counts = (h * below > 0) & (total > 0)
    precision = (h * below).where(counts, 0) / total.where(counts, 1)
    counted = positive.any(1)
    losses = 1 - precision.sum(1) / positive.sum(1).clamp_min(1)
    return [_of_anchors(losses.where(counted, 0), counted)]


def _histogram(pairs: Pairs, n_bins: float) -> list[Terms]:
    s, positive, negative, listed = pairs
    bins = int(n_bins)
    first, second = _bins((s + 1) * bins / 2, bins)
    has_both = positive.any(1) & negative.any(1)
    if listed is not None:
        has_both = torch.ones_like(has_both)

    def density(counted: Tensor) -> Tensor:
        counts = torch.zeros(bins + 1, dtype=s.dtype, device=s.device)
        counts = counts.scatter_add(0, first[counted], 1 - second[counted])
        counts = counts.scatter_add(0, first[counted] + 1, second[counted])
        return counts / counted.sum().clamp_min(1)

    of_positives = density((positive > 0) & has_both[:, None])
    of_negatives = density((negative > 0) & (has_both[:, None] | has_both))
    return [_of_anchors((of_negatives * of_positives.cumsum(0)).sum()[None])]


def _ranks(pairs: Pairs, rate: Any) -> tuple[Tensor, Tensor, Tensor]:
    """How many of its own and how many negatives are ahead of each of an anchor's own; these."""
    s = pairs.values
    own = pairs.positive + torch.eye(len(s), dtype=s.dtype, device=s.device)
    ahead = (rate * (s[:, None] - s[:, :, None])).sigmoid()
    return (ahead * own[:, None]).sum(2) - 0.5, (ahead * pairs.negative[:, None]).sum(2), own


def _smooth_ap(pairs: Pairs, rate: Any) -> list[Terms]:
    positives, negatives, own = _ranks(pairs, rate)
    return [_of_anchors((negatives / (1 + positives + negatives) * own).sum(1) / own.sum(1))]


def _pnp(pairs: Pairs, rate: Any, variant: float, b: float, alpha: float) -> list[Terms]:
    _, r, own = _ranks(pairs, rate)
    penalties: list[Callable[[], Tensor]] = [  # by the kernel's numbers
        lambda: r,
        r.log1p,
        lambda: -torch.expm1(-alpha * r.log1p()),
        lambda: (1 + r) * r.log1p(),
        lambda: (b * r - (b * r).log1p()) / b**2,
    ]
    counted = pairs.positive.any(1)
    losses = (penalties[int(variant)]() * own).sum(1) / own.sum(1)
    return [_of_anchors(losses.where(counted, 0), counted)]


# ---- Losses that are made of others -------------------------------------------------------------


def _begins(labels: Tensor) -> Tensor:
    """Which of sorted labels are the first of their kind."""
    return torch.cat([torch.ones_like(labels[:1], dtype=torch.bool), labels[1:] != labels[:-1]])


def _n_pairs(
    given: dict[str, Tensor], indices: Any, of_arrays: Any, at: Any, call: PairCall
) -> Tensor:
    e, labels = given["embeddings"], given["labels"]
    if indices is None:
        order = labels.argsort(stable=True)
        begins = _begins(labels[order])
        second = (begins[:-1] & ~begins[1:]).nonzero().squeeze(1) + 1
        anchors, positives = order[second - 1], order[second]
    else:
        anchors, positives = (torch.from_numpy(x).to(e.device) for x in indices[:2])
        order = labels[anchors].argsort(stable=True)
        first = order[_begins(labels[anchors][order])]
        anchors, positives = anchors[first], positives[first]
    pairs = _all_pairs(e[anchors], e[positives], None, None, call)
    kinds = _mean_positive(pairs, 1) if len(anchors) else [_of_anchors(0 * e.sum(1))]
    return _reduced(kinds, call.reduction, call.nonzero)


def _instance(
    given: dict[str, Tensor], indices: Any, of_arrays: Any, call: LinearCall | None, nothing: Any
) -> Tensor:
    e, labels = given["embeddings"], given["labels"]
    if call is None or call.margin is None:
        losses = 0 * e.sum(1)
        return losses if isinstance(nothing, np.ndarray) else losses.sum()
    order = labels.argsort(stable=True)
    ranks = _begins(labels[order]).cumsum(0) - 1
    target = torch.zeros_like(ranks).scatter(0, order, ranks)
    x = unit_rows(e)
    z = call.margin.scale * (x @ x.T)
    losses = functional.cross_entropy(z, target, reduction=call.reduction)
    return losses


def _angular(given: dict[str, Tensor], indices: Any, call: Angular) -> Tensor:
    e, labels = given["embeddings"], given["labels"]
    other, other_labels = given.get("ref_embeddings", e), given.get("ref_labels", labels)
    of_e, of_other = (unit_rows(x, least=LEAST_NORM) if call.normalize else x for x in (e, other))
    same = labels[:, None] == other_labels
    if call.listed is not None:
        a, p = (torch.from_numpy(x).to(e.device) for x in call.listed)
    elif other is e:
        a, p = (same & ~torch.eye(len(e), dtype=torch.bool, device=e.device)).nonzero().T
    else:
        a, p = same.nonzero().T
    square, s = math.tan(call.alpha) ** 2, of_e @ of_other.T
    z = 4 * square * (of_e[a] + of_other[p]) @ other.T - 2 * (1 + square) * s[a, p][:, None]
    losses = softplus(log_sum_exp(z, (~same[a]).to(z.dtype), -torch.inf))
    nonzero = call.reduction == "mean_nonzero"
    return _reduced([_of_anchors(losses)], "mean" if nonzero else call.reduction, nonzero)


def _soft_margin(given: dict[str, Tensor], indices: Any, call: SoftMargin) -> Tensor:
    x, times = _differences(given, call)
    counts = _at_nodes(x.detach(), times, call)
    if "histogram" in given:
        histogram = given["histogram"].to(x.dtype)
        counts = torch.where(histogram.sum() == 0, counts, histogram)
    total = counts.sum()
    weights = counts.cumsum(0) / total.where(total > 0, 1)
    losses = weights[_first_nodes(x.detach(), call)] * x
    return losses.where(times > 0, 0).mul(times).sum() / times.sum().clamp_min(1)


def _differences(given: dict[str, Tensor], call: SoftMargin) -> tuple[Tensor, Tensor]:
    """Return d(a, p) - d(a, n), and how often each counts."""
    listed, e, other = call.listed, given["embeddings"], given.get("ref_embeddings")
    found = None
    if listed is not None:
        found = lists(listed, len(e), len(e if other is None else other), "pairs")
        kept = _silenced(e, other, found, "embeddings", "ref_embeddings")
        e, other = kept["embeddings"], kept.get("ref_embeddings")
    a = unit_rows(e, least=LEAST_NORM)
    b = a if other is None else unit_rows(other, least=LEAST_NORM)
    d = _root(_squares(a, b, a @ b.T))
    if listed is not None and len(listed) == 3:
        i, p, n = (torch.from_numpy(x).to(d.device) for x in listed)
        x = d[i, p] - d[i, n]
        return x, torch.ones_like(x)
    own = torch.eye(len(a), len(b), dtype=torch.bool, device=d.device)
    if listed is None and "labels" not in given:
        if not len(d):
            return d.flatten(), d.flatten()
        others = d.masked_fill(own, torch.inf)
        of_row, of_column = others.amin(1), others.amin(0)
        x = d.diagonal() - torch.where(of_row <= of_column, of_row, of_column)
        return x, torch.ones_like(x)
    if found is not None:
        positive, negative = (_times(kind, d) for kind in found[:2])
    else:
        labels = given["labels"]
        same = labels[:, None] == given.get("ref_labels", labels)
        positive, negative = (same if other is not None else same & ~own).to(d), (~same).to(d)
    x = d[:, :, None] - d[:, None, :]
    return x.flatten(), (positive[:, :, None] * negative[:, None, :]).flatten()


def _first_nodes(x: Tensor, call: SoftMargin) -> Tensor:
    """Return the last node that x is not below, or the first."""
    nodes = torch.from_numpy(call.nodes).to(x)
    first = torch.searchsorted(nodes, x.contiguous(), right=True) - 1
    return first.clamp(0, len(nodes) - 1)


def _at_nodes(x: Tensor, times: Tensor, call: SoftMargin) -> Tensor:
    """Return the counts at the nodes, those between two shared out."""
    nodes, first = torch.from_numpy(call.nodes).to(x), _first_nodes(x, call)
    beyond = ((x - nodes[first]) / call.width).clamp(0, 1) * times
    counts = torch.zeros_like(nodes).index_add(0, first, times - beyond)
    return counts.index_add(0, (first + 1).clamp_max(len(nodes) - 1), beyond)


def soft_margin_counts(
    differentiable: dict[str, Tensor | None], others: dict[str, Tensor | None], **options: Any
) -> Tensor:
    """Return `fusedloss.soft_margin_histogram` of tensors, which gradients stop at."""
    given = {k: x.detach() for k, x in (differentiable | others).items() if x is not None}
    e = given["embeddings"]
    of_labels = {k: x for k, x in given.items() if k in ("labels", "ref_labels")}
    given |= _comparable(of_labels, False)
    if options["indices_tuple"] is not None:
        options["indices_tuple"] = tuple(map(_integers, options["indices_tuple"]))
    options |= {name: None for name in ("labels",) if name not in given}
    if readable(e) and not transformed() and e.device.type == "cpu":
        arrays: dict[str, Any] = {k: numbers_of_bits(array(x)) for k, x in given.items()}
        counts = soft_margin_histogram(**arrays, num_threads=torch.get_num_threads(), **options)
        return torch.from_numpy(counts)
    stand_ins = {k: _stand_in(x) for k, x in given.items()}
    call = lookup(dynamic_soft_margin_loss).lower(**stand_ins, **options)[1][0]
    given = {k: wide(x) for k, x in given.items()}
    return _at_nodes(*_differences(given, call), call)


def _vicreg(given: dict[str, Tensor], indices: Any, call: Views) -> Tensor:
    invariance, variance, covariance, eps = call.options
    views = given["embeddings"], given["ref_embeddings"]
    loss = invariance * (views[0] - views[1]).square().mean()
    for view in views:
        x = view - view.mean(0)
        square = x.square().sum(0) / (len(x) - 1) + eps
        deviation = square.masked_fill(square == 0, 1).sqrt().masked_fill(square == 0, 0)
        loss = loss + variance / 2 * (1 - deviation).relu().mean()
        loss = loss + covariance / x.shape[1] * _squares_beside(x.T @ x / (len(x) - 1))
    return loss


def _barlow_twins(given: dict[str, Tensor], indices: Any, call: Views) -> Tensor:
    lambd, eps = call.options
    units = []
    for view in (given["embeddings"], given["ref_embeddings"]):
        x = view - view.mean(0)
        square = x.square().sum(0) + eps * len(x)
        scale = square.masked_fill(square == 0, 1).rsqrt().masked_fill(square == 0, 0)
        units.append(x * scale)
    correlations = units[0].T @ units[1]
    pulled = (1 - correlations.diagonal()).square().sum()
    return pulled + lambd * _squares_beside(correlations)


def _manifold(given: dict[str, Tensor], indices: Any, call: Manifold) -> Tensor:
    e, target = given["embeddings"], given["target"].long()
    u = unit_rows(torch.cat([e, given["weight"]]), least=LEAST_NORM)
    own = torch.eye(len(u), dtype=torch.bool, device=u.device)
    similarity = (2 * (u @ u.T).clamp(min=0)).exp().masked_fill(own, 0)
    sums = similarity.sum(1)
    root = sums.masked_fill(sums == 0, torch.inf).rsqrt()  # of a node that is the only one
    walks = own.to(u) - call.alpha * similarity * root * root[:, None]
    ends = (1 - call.alpha) * torch.linalg.inv_ex(walks).inverse
    unit = ends / torch.linalg.vector_norm(ends, dim=1, keepdim=True)
    cosines = unit[: len(e)] @ unit[len(e) :].T
    losses = torch.zeros_like(e[:, 0])
    for share, s in zip(call.shares, (ends[: len(e), len(e) :], cosines), strict=True):
        x = s - s.gather(1, target[:, None]) + call.margin
        is_own = torch.arange(x.shape[1], device=x.device) == target[:, None]
        counts = ~(x < 0) & ~is_own  # NaN does, too
        losses = losses + share * pad(x.masked_fill(~counts, -torch.inf), (1, 0)).logsumexp(1)
    if call.reduction == "none":
        return losses
    return losses.sum() / (max(len(e), 1) if call.reduction == "mean" else 1)


def _squares_beside(x: Tensor) -> Tensor:
    """Return the sum of the squares beside the diagonal."""
    return x.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), 0).square().sum()


# ---- Triplets -----------------------------------------------------------------------------------


def _hinge(x: Tensor, soft: Any) -> Tensor:
    return softplus(x) if soft else x.relu()


def _triplet_hardest(pairs: Pairs, margin: Any, soft: Any, easy: bool = False) -> list[Terms]:
    d, positive, negative, _ = pairs
    n = d.where(negative > 0, torch.inf).min(1).values
    p = d.where(positive > 0, torch.inf if easy else -torch.inf)
    of_p = (p.min(1) if easy else p.max(1)).values
    counted = positive.any(1) & negative.any(1)
    losses = _hinge((of_p - n).where(counted, 0) + margin, soft)
    return [_of_anchors(losses.where(counted, 0), counted)]


def _triplet_easy(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    return _triplet_hardest(pairs, margin, soft, easy=True)


def _triplet_closest(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    d, positive, negative, _ = pairs
    negatives = d.where(negative > 0, torch.inf).sort(dim=1, stable=True).values
    order = negatives.detach()
    last = order.gather(1, (negative > 0).sum(1, keepdim=True).sub(1).clamp_min(0))
    last = torch.searchsorted(order, last)  # the first of those that are as far
    n = torch.searchsorted(order, d.detach().contiguous(), right=True)
    counted = positive * negative.any(1)[:, None]
    x = (d - negatives.gather(1, n.minimum(last))).where(counted > 0, 0)
    return [_of_pairs(_hinge(x + margin, soft), counted)]


def _triplet_all(pairs: Pairs, margin: Any, soft: Any, semihard: bool = False) -> list[Terms]:
    d, positive, negative, _ = pairs
    if soft:
        x = d[:, :, None] - d[:, None, :] + margin
        times = positive[:, :, None] * negative[:, None, :]
        if semihard:
            times = times * ((d[:, None, :] > d[:, :, None]) & (x >= 0))
        return [_of_pairs(softplus(x).flatten(1), times.flatten(1))]
    # A positive makes triplets with the negatives between two places of their order.
    negatives, at = d.where(negative > 0, torch.inf).sort(1)
    times = negative.gather(1, at)
    numbers = pad(times, (1, 0)).cumsum(1)
    sums = pad((negatives * times).where(times > 0, 0), (1, 0)).cumsum(1)
    order, reach = negatives.detach(), d + margin
    high = torch.searchsorted(order, reach.detach())
    low, losses = torch.zeros_like(high), numbers[:, -1:].expand(d.shape)
    if semihard:
        low = torch.searchsorted(order, d.detach().contiguous(), right=True)
        last = torch.searchsorted(order, reach.detach(), right=True)
        losses = (numbers.gather(1, last) - numbers.gather(1, low)).clamp_min(0)
    nonzero = (numbers.gather(1, high) - numbers.gather(1, low)).clamp_min(0)
    loss = nonzero * reach - (sums.gather(1, high) - sums.gather(1, low))
    loss = loss.where(nonzero > 0, 0) * positive
    return [Terms(loss.sum(1), (losses * positive).sum(1), (nonzero * positive).sum(1))]


def _triplet_semihard(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    return _triplet_all(pairs, margin, soft, semihard=True)


def _of_triplets(
    pairs: Pairs, losses: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> list[Terms]:
    """Add up listed triplets; `losses` gives the loss, and how many terms of it are above 0."""
    v, _, _, listed = pairs
    assert listed is not None
    a = _anchors(listed.positive, v.device)
    p, n = (v[a, _references(x, v.device)] for x in (listed.positive, listed.negative))
    loss, nonzero = losses(p, n)
    nothing = torch.zeros(len(v), dtype=v.dtype, device=v.device)
    return [Terms(*[nothing.index_add(0, a, x) for x in (loss, torch.ones_like(p), nonzero)])]


def _triplet_listed(pairs: Pairs, margin: Any, soft: Any) -> list[Terms]:
    def losses(p: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x = _hinge(p - n + margin, soft)
        return x, (x > 0).to(x.dtype)

    return _of_triplets(pairs, losses)


def _margin_listed(pairs: Pairs, margin: Any, beta: Any) -> list[Terms]:
    if isinstance(beta, Tensor) and beta.ndim:  # of the anchors
        assert pairs.listed is not None
        beta = beta[_anchors(pairs.listed.positive, beta.device), 0]

    def losses(p: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x, y = (p - beta + margin).relu(), (beta - n + margin).relu()
        return x + y, (x > 0).to(x.dtype) + (y > 0).to(x.dtype)

    return _of_triplets(pairs, losses)


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

#: By the losses' names.
COMPOSED: dict[str, Callable[..., Tensor]] = {
    "angular_loss": _angular,
    "barlow_twins_loss": _barlow_twins,
    "dynamic_soft_margin_loss": _soft_margin,
    "instance_loss": _instance,
    "manifold_loss": _manifold,
    "n_pairs_loss": _n_pairs,
    "vicreg_loss": _vicreg,
}
