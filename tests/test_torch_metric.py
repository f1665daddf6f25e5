"""Losses of pairs of tensors: NumPy's numbers, the peer's, and torch's formulas of the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses
from torch import Tensor

import fusedloss as fl
import fusedloss.torch as front
from fusedloss.torch import functional as F
from pair_cases import (
    BATCHES,
    EVERY,
    EXACT,
    LISTED,
    METRICS,
    OF_DISTANCES,
    OF_SIMILARITIES,
    PEERS,
    REDUCERS,
    SINGLE,
    WITHOUT_NONE,
    WITHOUT_REDUCTION,
    WITHOUT_REFERENCE,
    ExactLp,
    assert_same,
    batch,
    indices,
    mined,
    of_peer,
    peer,
)
from parts import public
from torch_parts import DTYPES, by_kernel

TOWERS: dict[str, dict[str, float]] = {
    "info_nce_loss": {"temperature": 0.3},
    "clip_loss": {"logit_scale": 12.0},
    "siglip_loss": {"logit_scale": 9.0, "logit_bias": -2.5},
}

#: Every option that changes a formula.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *EVERY.items(),
    *[
        ("triplet_loss", {"mining": mining, "soft": soft, "distance": distance, "margin": 0.4})
        for mining in ("all", "hard", "semihard", "semihard_closest", "easy")
        for soft in (False, True)
        for distance in ("euclidean", "squared_euclidean", "cosine")
    ],
    *[
        (loss, METRICS[metric][0] | EVERY[loss])
        for loss in sorted(OF_DISTANCES | OF_SIMILARITIES)
        for metric in ("euclidean", "squared_euclidean", "l1", "l1.5", "l3 cubed", "snr")
        if not (loss == "triplet_loss" and metric == "euclidean")  # the default, above
    ],
    ("triplet_loss", {**METRICS["l1.5"][0], "margin": 0.4, "normalize": True}),
]


def tensors(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    e, y = batch(kind)
    return torch.tensor(e, dtype=dtype), torch.tensor(y)


def as_array(tensor: Tensor) -> Any:
    if tensor.dtype is torch.bfloat16:
        return tensor.detach().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def reductions(loss: str) -> list[dict[str, str]]:
    """Every reduction of a loss, as an option."""
    if loss in WITHOUT_REDUCTION:
        return [{}]
    names = ("mean_nonzero", "mean", "sum", "none")
    return [{"reduction": name} for name in names[: 3 if loss in WITHOUT_NONE else 4]]


def differentiated(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, Any]:
    """Value and gradients of the sum, by the kernel."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    value = function(*leaves)
    assert by_kernel(value)
    return value.detach(), torch.autograd.grad(value.sum(), leaves)


# ---- By kernels -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("loss", EVERY)
def test_numbers_are_those_of_arrays(loss: str, dtype: torch.dtype) -> None:
    e, y = tensors("random", dtype)
    for reduction in reductions(loss):
        options = EVERY[loss] | reduction
        value, (gradient,) = differentiated(lambda x, o=options: getattr(F, loss)(x, y, **o), e)
        expected, by_e = fl.value_and_grad(getattr(fl, loss))(as_array(e), y.numpy(), **options)
        assert value.dtype is gradient.dtype is dtype
        np.testing.assert_array_equal(
            as_array(value), np.asarray(expected, dtype=as_array(value).dtype)
        )
        np.testing.assert_array_equal(as_array(gradient), by_e)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("loss", TOWERS)
def test_numbers_of_towers_are_those_of_arrays(loss: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 30, 12, generator=generator).to(dtype)
    names = list(TOWERS[loss])
    scalars = [torch.tensor(x, dtype=dtype) for x in TOWERS[loss].values()]

    def call(a: Tensor, b: Tensor, *scalars: Tensor) -> Tensor:
        result: Tensor = getattr(F, loss)(a, b, **dict(zip(names, scalars, strict=True)))
        return result

    value, gradients = differentiated(call, a, b, *scalars)
    parameters = getattr(fl, loss).__fusedloss__.parameters
    argnums = (0, 1, *map(parameters.index, names))
    given = dict(zip(names, map(as_array, scalars), strict=True))
    expected, by_each = fl.value_and_grad(getattr(fl, loss), argnums)(
        as_array(a), as_array(b), **given
    )
    assert as_array(value) == np.asarray(expected, dtype=as_array(value).dtype)
    for ours, theirs in zip(gradients, by_each, strict=True):
        assert ours.dtype is dtype
        np.testing.assert_array_equal(as_array(ours), theirs)
    # a number in the place of a tensor
    assert getattr(F, loss)(a, b, **{n: float(x) for n, x in zip(names, scalars)}) == value  # noqa: B905


def test_the_boundary_is_learnt() -> None:
    e, y = tensors("random")
    beta = torch.tensor([1.25], dtype=torch.float64)
    value, (by_e, by_beta) = differentiated(lambda x, b: F.margin_loss(x, y, beta=b), e, beta)
    at = fl.margin_loss.__fusedloss__.parameters.index("beta")  # type: ignore[attr-defined]
    expected, gradients = fl.value_and_grad(fl.margin_loss, (0, at))(
        e.numpy(), y.numpy(), beta=beta.numpy()
    )
    assert value == expected
    np.testing.assert_array_equal(by_e, gradients[0])
    np.testing.assert_array_equal(by_beta, gradients[1])
    module = front.MarginLoss(beta=torch.nn.Parameter(beta))
    assert list(module.state_dict()) == ["beta"]


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("labels", [torch.int64, torch.uint8, torch.uint64], ids=str)
def test_boundaries_of_classes_are_learnt(labels: torch.dtype, listed: bool) -> None:
    """By kernel, by formula, and in second derivatives."""
    e, y = tensors("random")
    t = tuple(map(torch.tensor, indices("triplets", y.numpy()))) if listed else None
    beta = torch.tensor([0.75, 1.0, 1.25, 1.5, 1.375], dtype=torch.float64)
    call = lambda x, b: F.margin_loss(x, y.to(labels), beta=b, indices_tuple=t)  # noqa: E731
    value, (by_e, by_beta) = differentiated(call, e, beta)
    expected, gradients = by_formula(call, e, beta)
    for ours, theirs in ((value, expected), (by_e, gradients[0]), (by_beta, gradients[1])):
        assert_same(ours.numpy(), theirs.numpy(), EXACT)
    at = fl.margin_loss.__fusedloss__.parameters.index("beta")  # type: ignore[attr-defined]
    array, (of_beta,) = fl.value_and_grad(fl.margin_loss, (at,))(
        e.numpy(),
        y.numpy(),
        beta=beta.numpy(),
        indices_tuple=None if t is None else tuple(x.numpy() for x in t),
    )
    assert value == array
    np.testing.assert_array_equal(by_beta, of_beta)
    inputs = e[:6, :3].clone().requires_grad_(), beta.clone().requires_grad_()
    own = torch.tensor([0, 0, 0, 1, 1, 2])
    assert torch.autograd.gradgradcheck(
        lambda x, b: F.margin_loss(x, own, beta=b), inputs, atol=1e-4, rtol=1e-3
    )


def test_a_label_without_a_boundary() -> None:
    e, y = tensors("random")
    for x in (e, e.clone().requires_grad_()):
        with pytest.raises(IndexError, match=r"labels\[\d+\] is \d: out of range for 2 classes"):
            F.margin_loss(x, y, beta=torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("num_classes", [None, 5])
@pytest.mark.parametrize("learn_beta", [False, True])
def test_boundaries_of_modules_are_the_peers(learn_beta: bool, num_classes: int | None) -> None:
    options: dict[str, Any] = {"beta": 1.25, "learn_beta": learn_beta, "num_classes": num_classes}
    ours, theirs = front.MarginLoss(**options), losses.MarginLoss(distance=ExactLp(), **options)
    assert isinstance(ours.beta, torch.nn.Parameter) == learn_beta
    assert [x.shape for x in ours.parameters()] == [x.shape for x in theirs.parameters()]
    e, y = batch("random")
    value, by_e = of_peer(theirs, e, torch.tensor(y))
    x = torch.tensor(e, requires_grad=True)
    loss = ours(x, torch.tensor(y))
    loss.backward()
    assert_same(loss.item(), value, EXACT)
    assert_same(x.grad.numpy(), by_e, EXACT)
    if learn_beta:
        theirs(torch.tensor(e), torch.tensor(y)).backward()
        torch.testing.assert_close(*(next(x.parameters()).grad for x in (ours, theirs)))
    again = front.MarginLoss(**options)
    again.load_state_dict(ours.state_dict())


def test_bad_boundaries_of_modules() -> None:
    with pytest.raises(ValueError, match="num_classes is 0: expected a positive number"):
        front.MarginLoss(num_classes=0)
    with pytest.raises(ValueError, match=r"beta has shape \(2,\): expected \(3,\), one per class"):
        front.MarginLoss(beta=torch.ones(2), num_classes=3)
    with pytest.raises(TypeError, match="beta is 'x'"):
        front.MarginLoss(beta="x", num_classes=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="learn_beta is 2"):
        front.MarginLoss(learn_beta=2)  # type: ignore[arg-type]
    (beta,) = front.MarginLoss(beta=torch.ones(3), num_classes=3, learn_beta=True).parameters()
    assert beta.shape == (3,)


@pytest.mark.parametrize("loss", sorted(set(EVERY) - WITHOUT_REFERENCE))
def test_references_and_weights_are_those_of_arrays(loss: str) -> None:
    e, y = tensors("random")
    r, z = e.flip(0)[:20] + 0.5, y.flip(0)[:20]
    weight = torch.linspace(0.5, 2, len(e))
    given = {"ref_embeddings": r, "ref_labels": z, "sample_weight": weight}

    def call(e: Tensor, r: Tensor) -> Tensor:
        result: Tensor = getattr(F, loss)(
            e, y, **{**given, "ref_embeddings": r}, **EVERY[loss], reduction="sum"
        )
        return result

    value, gradients = differentiated(call, e, r)
    function = getattr(fl, loss)
    at = function.__fusedloss__.parameters.index("ref_embeddings")
    expected, by_each = fl.value_and_grad(function, (0, at))(
        e.numpy(),
        y.numpy(),
        **{name: x.numpy() for name, x in given.items()},
        **EVERY[loss],
        reduction="sum",
    )
    assert value == expected
    for ours, theirs in zip(gradients, by_each, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_gradients_are_scaled_and_taken_again() -> None:
    """Where the upstream gradient is not 1, and on a second backward pass."""
    e, y = tensors("random")
    e.requires_grad_()
    value = F.ntxent_loss(e, y)
    (once,) = torch.autograd.grad(value, e, retain_graph=True)
    (twice,) = torch.autograd.grad(2 * value, e, retain_graph=True)
    torch.testing.assert_close(twice, 2 * once, rtol=1e-15, atol=0)
    each = F.ntxent_loss(e, y, reduction="none")
    weight = torch.linspace(0.5, 2, len(e), dtype=torch.float64)
    (ours,) = torch.autograd.grad(each, e, weight)
    (expected,) = torch.autograd.grad(F.ntxent_loss(e, y, sample_weight=weight, reduction="sum"), e)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-14)


# ---- The peer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("loss", PEERS)
def test_modules_are_the_peers(loss: str, kind: str) -> None:
    options, theirs = PEERS[loss]
    ours = getattr(front, theirs.__name__)
    if (loss, kind) == ("histogram_loss", "duplicates"):
        return  # the peer has no bin for a similarity of 1
    e, y = batch(kind)
    expected = of_peer(peer(loss, options), e, torch.tensor(y))
    x = torch.tensor(e, requires_grad=True)
    value = ours(**options)(x, torch.tensor(y))
    value.backward()
    assert_same(value.item(), expected[0], EXACT)
    assert_same(x.grad.numpy(), expected[1], EXACT)


@pytest.mark.parametrize("metric", ["squared_euclidean", "l1", "l3 cubed", "snr"])
@pytest.mark.parametrize("loss", sorted(set(PEERS) & (OF_DISTANCES | OF_SIMILARITIES)))
def test_modules_of_distances_are_the_peers(loss: str, metric: str) -> None:
    options, theirs = PEERS[loss]
    distance, of_peers = METRICS[metric]
    e, y = batch("random")
    expected = of_peer(peer(loss, options, distance=of_peers()), e, torch.tensor(y))
    x = torch.tensor(e, requires_grad=True)
    value = getattr(front, theirs.__name__)(**options, **distance)(x, torch.tensor(y))
    value.backward()
    assert_same(value.item(), expected[0], EXACT)
    assert_same(x.grad.numpy(), expected[1], EXACT)


def test_what_a_loss_does_not_take_is_an_error() -> None:
    """Of the peer, too."""
    e, y = tensors("random")
    listed = tuple(map(torch.tensor, indices("triplets", y.numpy())))
    with pytest.raises(ValueError, match="indices_tuple is not supported"):
        losses.RankedListLoss(0.4, 1.0)(e, y, listed)
    with pytest.raises(ValueError, match="RankedListLoss takes no indices_tuple"):
        front.RankedListLoss()(e, y, listed)
    with pytest.raises(ValueError, match="ref_emb is not supported"):
        losses.HistogramLoss()(e, y, ref_emb=e[:2], ref_labels=y[:2])
    with pytest.raises(ValueError, match="HistogramLoss takes no ref_embeddings"):
        front.HistogramLoss()(e, y, ref_emb=e[:2], ref_labels=y[:2])


@pytest.mark.parametrize("loss", PEERS)
def test_signatures_are_the_peers(loss: str) -> None:
    """The options that both have come in the same order."""
    theirs = PEERS[loss][1]
    ours = getattr(front, theirs.__name__)
    names = [list(inspect.signature(each.__init__).parameters) for each in (ours, theirs)]
    assert [n for n in names[1] if n in names[0]] == [n for n in names[0] if n in names[1]]
    shared = set(names[0]) & set(names[1]) - {"self"}
    for name in shared & set(PEERS[loss][0]) - {"n_bins"}:  # whose default the peer computes
        ours_by, theirs_by = (
            inspect.signature(x.__init__).parameters[name] for x in (ours, theirs)
        )
        assert theirs_by.default in (ours_by.default, inspect.Parameter.empty)


@pytest.mark.parametrize("mining", ["all", "semihard", "hard", "easy"])
def test_triplets_are_the_peers(mining: str) -> None:
    e, y = batch("random")
    loss = losses.TripletMarginLoss(0.3)
    miner = mined(mining, loss.distance, 0.3)
    expected = of_peer(lambda x, t: loss(x, t, miner(x, t)), e, torch.tensor(y))
    x = torch.tensor(e, requires_grad=True)
    value = front.TripletLoss(0.3, mining=mining, normalize=True)(x, torch.tensor(y))  # type: ignore[arg-type]
    value.backward()
    assert_same(value.item(), expected[0], EXACT)
    assert_same(x.grad.numpy(), expected[1], EXACT)


@pytest.mark.parametrize("kind", ["triplets", "pairs"])
@pytest.mark.parametrize("loss", sorted(LISTED - {"triplet_loss"}))
def test_index_tuples_are_the_peers(loss: str, kind: str) -> None:
    """As third argument, where the peer takes them; by kernel and by formula."""
    e, y = batch("random")
    listed = tuple(map(torch.tensor, indices(kind, y)))
    options, reducer = EVERY[loss], {}
    if loss == "supcon_loss":  # the peer counts pairs that are alone above 0 or not, by rounding
        options, reducer = options | {"reduction": "mean"}, {"reducer": REDUCERS["mean"]()}
    theirs = peer(loss, EVERY[loss], **reducer)
    expected = of_peer(lambda x: theirs(x, torch.tensor(y), listed), e)
    module = getattr(front, PEERS[loss][1].__name__)(**options)
    call = lambda x: module(x, torch.tensor(y), listed)  # noqa: E731
    x = torch.tensor(e)
    for value, (gradient,) in (differentiated(call, x), by_formula(call, x)):
        assert_same(value.numpy(), expected[0], EXACT)
        assert_same(gradient.numpy(), expected[1], EXACT)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["triplets", "pairs"])
def test_listed_triplets_are_the_peers(kind: str, soft: bool) -> None:
    e, y = batch("random")
    listed = tuple(map(torch.tensor, indices(kind, y)))
    loss = losses.TripletMarginLoss(0.4, smooth_loss=soft)
    expected = of_peer(lambda x: loss(x, torch.tensor(y), listed), e)
    module = front.TripletLoss(0.4, soft=soft, normalize=True)
    call = lambda x: module(x, torch.tensor(y), listed)  # noqa: E731
    x = torch.tensor(e)
    for value, (gradient,) in (differentiated(call, x), by_formula(call, x)):
        assert_same(value.numpy(), expected[0], EXACT)
        assert_same(gradient.numpy(), expected[1], EXACT)


# ---- By formulas ------------------------------------------------------------------------------


def by_formula(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, Any]:
    """Value and gradients under a transform, which wants torch's own operations."""
    value, pullback = torch.func.vjp(function, *inputs)
    return value, pullback(torch.ones_like(value))


@pytest.mark.parametrize("kind", ["random", "duplicates", "one class", "one"])
@pytest.mark.parametrize(("loss", "options"), VARIANTS)
def test_formulas_are_the_kernels(loss: str, options: dict[str, Any], kind: str) -> None:
    e, y = tensors(kind)
    for reduction in reductions(loss) if options == EVERY[loss] else [{}]:
        call = lambda x, r=reduction: getattr(F, loss)(x, y, **r, **options)  # noqa: E731
        value, (gradient,) = differentiated(call, e)
        expected, (by_e,) = by_formula(call, e)
        assert_same(value.numpy(), expected.numpy(), EXACT)
        assert_same(gradient.numpy(), by_e.numpy(), EXACT)


def test_an_anchor_without_variance_is_infinitely_far() -> None:
    e, y = tensors("random")
    e[3], y[3] = 0.1, 7
    call = lambda x: F.contrastive_loss(x, y, distance="snr", neg_margin=2.0)  # noqa: E731
    (value, gradients), (expected, by_e) = differentiated(call, e), by_formula(call, e)
    assert_same(value.numpy(), expected.numpy(), EXACT)
    assert_same(gradients[0].numpy(), by_e[0].numpy(), EXACT)


@pytest.mark.parametrize("loss", sorted(set(EVERY) - WITHOUT_REFERENCE))
def test_formulas_with_references_are_the_kernels(loss: str) -> None:
    e, y = tensors("random")
    r, z = e.flip(0)[:20] + 0.5, y.flip(0)[:20]
    weight = torch.linspace(0.5, 2, len(e), dtype=torch.float64)
    call = lambda e, r: getattr(F, loss)(  # noqa: E731
        e, y, ref_embeddings=r, ref_labels=z, sample_weight=weight, reduction="none", **EVERY[loss]
    )
    for ours, theirs in zip(
        *[[x, *more] for x, more in (differentiated(call, e, r), by_formula(call, e, r))],
        strict=True,
    ):
        assert_same(ours.numpy(), theirs.numpy(), EXACT)


@pytest.mark.parametrize("rows", [1, 2, 30])
@pytest.mark.parametrize("more", [0, 7])
@pytest.mark.parametrize("loss", TOWERS)
def test_formulas_of_towers_are_the_kernels(loss: str, more: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, rows + more, 12, generator=generator, dtype=torch.float64)
    a = a[:rows]
    scalars = [torch.tensor(x, dtype=torch.float64) for x in TOWERS[loss].values()]
    call = lambda a, b, *s: getattr(F, loss)(  # noqa: E731
        a, b, **dict(zip(TOWERS[loss], s, strict=True))
    )
    ours, theirs = differentiated(call, a, b, *scalars), by_formula(call, a, b, *scalars)
    for x, y in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
        assert_same(x.numpy(), y.numpy(), EXACT)


#: (The circle loss's weights are constants of each derivative.)
@pytest.mark.parametrize(("loss", "options"), [v for v in VARIANTS if v[0] != "circle_loss"])
def test_second_derivatives(loss: str, options: dict[str, Any]) -> None:
    e, y = tensors("random")
    e = e[:6, :3].clone().requires_grad_()
    y = torch.tensor([0, 0, 0, 1, 1, 2])
    assert torch.autograd.gradgradcheck(
        lambda x: getattr(F, loss)(x, y, **options), e, atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("loss", EVERY)
def test_formulas_of_16_bits_are_computed_in_float32(loss: str, dtype: torch.dtype) -> None:
    e, y = tensors("random", dtype)
    call = lambda x: getattr(F, loss)(x, y, **EVERY[loss])  # noqa: E731
    value, (gradient,) = by_formula(call, e)
    exact, (by_e,) = by_formula(call, e.double())
    assert value.dtype is gradient.dtype is dtype
    rounding = torch.finfo(dtype).eps
    assert_same(value.double().numpy(), exact.numpy(), SINGLE + rounding)
    assert_same(gradient.double().numpy(), by_e.numpy(), SINGLE + rounding)


@pytest.mark.parametrize("loss", EVERY)
def test_nothing_costs_nothing(loss: str) -> None:
    e, y = torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    call = lambda x: getattr(F, loss)(x, y, **EVERY[loss])  # noqa: E731
    for value, (gradient,) in (differentiated(call, e), by_formula(call, e)):
        assert value == 0
        assert gradient.shape == (0, 4)


# ---- Errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"embeddings": torch.zeros(3)}, ValueError, r"embeddings has shape \(3,\)"),
        ({"embeddings": torch.zeros(3, 2).long()}, TypeError, "embeddings has dtype int64"),
        (
            {"embeddings": [[0.0, 0.0]] * 3},
            TypeError,
            r"embeddings is list .*: expected a torch\.Tensor",
        ),
        ({"labels": torch.zeros(3)}, TypeError, "labels has dtype float32"),
        ({"labels": torch.zeros(2).long()}, ValueError, r"labels has shape \(2,\)"),
        ({"margin": "x"}, TypeError, "margin is 'x'"),
        ({"mining": "some"}, ValueError, "mining is 'some'"),
        ({"reduction": "max"}, ValueError, "reduction is 'max'"),
        ({"ref_labels": torch.zeros(3).long()}, ValueError, "ref_embeddings is None"),
        (
            {"ref_embeddings": torch.zeros(3, 2).double(), "ref_labels": torch.zeros(3).long()},
            TypeError,
            "ref_embeddings has dtype float64: expected float32",
        ),
        ({"sample_weight": torch.ones(2)}, ValueError, r"sample_weight has shape \(2,\)"),
    ],
)
def test_errors_are_those_of_arrays(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    given = {"embeddings": torch.zeros(3, 2), "labels": torch.zeros(3).long(), **arguments}
    with pytest.raises(error, match=text):
        F.triplet_loss(**given)


def test_a_learnt_number_is_checked() -> None:
    a = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="temperature is -1"):
        F.info_nce_loss(a, a, temperature=torch.tensor(-1.0))
    with pytest.raises(ValueError, match=r"logit_scale has shape \(2,\)"):
        F.clip_loss(a, a, torch.ones(2))


UNSIGNED = [torch.uint8, torch.uint16, torch.uint32, torch.uint64]
OF_LABELS = [
    name
    for name in public(F)
    if {"embeddings", "labels"} <= {*inspect.signature(getattr(F, name)).parameters}
]


@pytest.mark.parametrize("dtype", UNSIGNED, ids=str)
@pytest.mark.parametrize("name", OF_LABELS)
def test_identity_labels_of_unsigned_dtypes(name: str, dtype: torch.dtype) -> None:
    """Up to 2**64 - 1, and beside references of int64; value and gradient."""
    function = getattr(F, name)
    random = torch.Generator().manual_seed(0)
    e, r = torch.randn(2, 6, 4, generator=random)
    e.requires_grad_()
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    most = torch.iinfo(dtype).max
    large = torch.from_numpy(np.array([1, 1, most - 1, most - 1, most, most], np.uint64))
    with_references = {"ref_embeddings", "ref_labels"} <= {*inspect.signature(function).parameters}
    calls: list[Any] = [(y, large.to(dtype), {}, {})]
    if with_references:
        others = torch.tensor([0, 7, 0, 7, 0, 7])
        mixed = torch.tensor([1, -1, 1, -1, 1, -1])
        calls.append((y, large.to(dtype), {"ref_labels": others}, {"ref_labels": mixed}))
        calls.append((others, mixed, {"ref_labels": y}, {"ref_labels": large.to(dtype)}))
    for plain, given, plain_options, options in calls:
        results = []
        for labels, more in ((plain, plain_options), (given, options)):
            e.grad = None
            more = more | ({"ref_embeddings": r} if more else {})
            loss = function(e, labels, **more)
            loss.backward()
            results.append((loss, e.grad))
        # The order of labels may be that in which terms are added up.
        torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("distance", ["euclidean", "snr"])
@pytest.mark.parametrize("name", ["intra_pair_variance_loss", "contrastive_loss", "supcon_loss"])
def test_an_anchor_of_weight_0_may_hold_anything(name: str, distance: str) -> None:
    """In second derivatives, too: its place is taken by numbers at a distance from all others."""
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, weight = torch.arange(6) // 2, torch.tensor([1.0, 1, 1, 1, 1, 0]).double()
    for create_graph in (False, True):
        found = []
        for value in (0.5, float("nan")):
            spoiled = x.clone()
            spoiled[5] = value
            spoiled.requires_grad_()
            loss = getattr(F, name)(
                spoiled,
                labels,
                ref_embeddings=x,
                ref_labels=labels,
                sample_weight=weight,
                distance=distance,
            )
            found += torch.autograd.grad(loss, spoiled, create_graph=create_graph)
        torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
        assert not found[1][5].any()
