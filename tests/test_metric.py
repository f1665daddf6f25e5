"""Losses of pairs: against pytorch-metric-learning, enumeration, and their own invariants."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, reducers

import fusedloss as fl
from fusedloss._lower.pairs import PairCall
from pair_cases import (
    BATCHES,
    DISTANCES,
    EVERY,
    EXACT,
    LISTED,
    METRICS,
    OF_DISTANCES,
    OF_RANKS,
    OF_SIMILARITIES,
    PEERS,
    REDUCERS,
    SINGLE,
    WEIGHED,
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
from parts import Array


@pytest.fixture(params=[0, 1], ids=["kept", "parts"])
def workspace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs are kept, and multiplied at the end; or there is no memory for that."""
    monkeypatch.setattr(PairCall, "workspace", request.param)


WITH_WORKSPACES = pytest.mark.usefixtures("workspace")


@functools.cache
def expected_of_peer(loss: str, kind: str) -> tuple[float, Array]:
    e, y = batch(kind)
    return of_peer(peer(loss, PEERS[loss][0]), e, torch.tensor(y))


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("loss", PEERS)
@WITH_WORKSPACES
def test_value_and_gradient_are_the_peers(loss: str, kind: str, isa: str) -> None:
    if (loss, kind) == ("histogram_loss", "duplicates"):
        return  # the peer has no bin for a similarity of 1
    e, y = batch(kind)
    options, _ = PEERS[loss]
    expected = expected_of_peer(loss, kind)
    for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
        value, gradient = fl.value_and_grad(getattr(fl, loss))(e.astype(dtype), y, **options)
        assert gradient.dtype == dtype
        assert_same(value, expected[0], tolerance)
        assert_same(gradient, expected[1], tolerance)


#: Every batch whose pairs of pairs the peer can hold in all combinations.
SMALL = [kind for kind in BATCHES if kind not in ("large", "few")]


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("reduction", REDUCERS)
@pytest.mark.parametrize("loss", sorted(set(EVERY) - WITHOUT_REDUCTION))
def test_reductions_are_the_peers(loss: str, reduction: str, kind: str) -> None:
    e, y = batch(kind)
    if loss == "pnp_loss":
        return  # a mean of the anchors there, whatever the reducer
    if (loss, kind) == ("tuplet_margin_loss", "duplicates"):
        return  # the peer's angle of a cosine of 1 is NaN, by rounding, and not above 0
    reducer = {"reducer": REDUCERS[reduction]()}
    if (loss, reduction) == ("margin_loss", "mean_nonzero"):
        reducer = {}  # the peer's default, which counts terms, where the reducer counts triplets
    expected = of_peer(peer(loss, EVERY[loss], **reducer), e, torch.tensor(y))
    value, gradient = fl.value_and_grad(getattr(fl, loss))(e, y, reduction=reduction, **EVERY[loss])
    assert_same(value, expected[0], EXACT)
    assert_same(gradient, expected[1], EXACT)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(
    "loss", sorted(set(EVERY) - WITHOUT_REDUCTION - WITHOUT_NONE - {"pnp_loss"})
)
def test_losses_of_anchors_are_the_peers_added_up(loss: str, kind: str) -> None:
    e, y = batch(kind)
    found = peer(loss, EVERY[loss], reducer=reducers.DoNothingReducer())(
        torch.tensor(e), torch.tensor(y)
    )
    expected = torch.zeros(len(e), dtype=torch.float64)
    for part in found.values():
        if part["indices"] is not None:
            anchors = part["indices"]
            anchors = anchors if isinstance(anchors, torch.Tensor) else anchors[0]
            losses_of_part = torch.as_tensor(part["losses"], dtype=torch.float64)  # or the number 0
            expected.index_add_(0, anchors, losses_of_part.flatten().expand(len(anchors)))
    each = getattr(fl, loss)(e, y, reduction="none", **EVERY[loss])
    assert_same(each, expected.numpy(), EXACT)


#: Losses of pairs, and options that leave one kind of pairs.
PER_ANCHOR: dict[str, list[dict[str, Any]]] = {
    "ntxent_loss": [{"temperature": 0.2}],
    "contrastive_loss": [
        {"pos_margin": 0.3, "neg_margin": -1.0},
        {"pos_margin": 9.0, "neg_margin": 1.1},
    ],
}


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("loss", PER_ANCHOR)
def test_means_of_anchors_means_are_the_peers(loss: str, kind: str) -> None:
    """PerAnchorReducer is a mean of the losses of anchors, each divided by its number of pairs."""
    e, y = batch(kind)
    for options, of_positives in zip(PER_ANCHOR[loss], (True, False), strict=False):
        same = (y[:, None] == y) & ~np.eye(len(y), dtype=bool)
        pairs = (same if of_positives else y[:, None] != y).sum(1)
        share = 1 / np.maximum(pairs, 1) / len(y)
        each, gradient = fl.value_and_grad(getattr(fl, loss))(
            e, y, reduction="none", grad_output=share, **options
        )
        reduced = peer(loss, options, reducer=reducers.PerAnchorReducer())
        value, by_e = of_peer(reduced, e, torch.tensor(y))
        assert_same((share * each).sum(), value, EXACT)
        assert_same(gradient, by_e, EXACT)


@pytest.mark.parametrize("kind", ["random", "duplicates", "one class", "distinct", "one"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("loss", sorted(OF_DISTANCES | OF_SIMILARITIES))
def test_distances_are_the_peers(loss: str, metric: str, kind: str) -> None:
    e, y = batch(kind)
    e = e / np.sqrt(e.shape[1])
    distance, of_peers = METRICS[metric]
    for normalize in (False, True):
        expected = of_peer(
            peer(loss, EVERY[loss], distance=of_peers(normalize_embeddings=normalize)),
            e,
            torch.tensor(y),
        )
        for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
            value, gradient = fl.value_and_grad(getattr(fl, loss))(
                e.astype(dtype), y, normalize=normalize, **distance, **EVERY[loss]
            )
            assert_same(value, expected[0], tolerance)
            # hinges at their edge are open or not, by rounding
            assert_same(gradient, expected[1], tolerance if dtype is np.float64 else 1e-2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("loss", sorted((OF_DISTANCES | OF_SIMILARITIES) - WITHOUT_REFERENCE))
def test_distances_to_references_are_the_peers(loss: str, metric: str) -> None:
    e, y = batch("random")
    r, z = batch("large")
    e, r, z = e / 4, r[:, : e.shape[1]] / 4, z % 5
    distance, of_peers = METRICS[metric]
    x = torch.tensor(r, requires_grad=True)
    theirs = peer(loss, EVERY[loss], distance=of_peers())
    value, (by_e, by_r) = of_peer(
        lambda q: theirs(q, torch.tensor(y), ref_emb=x, ref_labels=torch.tensor(z)),
        e,
        wanted=(x,),
    )
    function = getattr(fl, loss)
    at = function.__fusedloss__.parameters.index("ref_embeddings")
    given = {**distance, **EVERY[loss], "normalize": True}
    ours, gradients = fl.value_and_grad(function, argnums=(0, at))(
        e, y, ref_embeddings=r, ref_labels=z, **given
    )
    assert_same(ours, value, EXACT)
    assert_same(gradients[0], by_e, EXACT)
    assert_same(gradients[1], by_r, EXACT)


#: What the peer calls a margin of similarities is one of distances from 1.
OF_COSINES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "contrastive_loss": (
        {"pos_margin": 0.1, "neg_margin": 0.9},
        {"pos_margin": 0.9, "neg_margin": 0.1},
    ),
    "margin_loss": ({"beta": 0.75}, {"beta": 0.25}),
    "lifted_structure_loss": (
        {"pos_margin": 0.1, "neg_margin": 0.9},
        {"pos_margin": 0.9, "neg_margin": 0.1},
    ),
    "generalized_lifted_structure_loss": (
        {"pos_margin": 0.1, "neg_margin": 0.9},
        {"pos_margin": 0.9, "neg_margin": 0.1},
    ),
    "nca_loss": ({"softmax_scale": 4.0}, {"softmax_scale": 4.0}),
}


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("loss", OF_COSINES)
def test_cosine_distances_are_the_peers_similarities(loss: str, kind: str) -> None:
    e, y = batch(kind)
    ours, theirs = OF_COSINES[loss]
    for normalize in (False, True):
        x = e if normalize else e / 4
        expected = of_peer(
            peer(loss, theirs, distance=DISTANCES["cosine"](normalize)), x, torch.tensor(y)
        )
        value, gradient = fl.value_and_grad(getattr(fl, loss))(
            x, y, distance="cosine", normalize=normalize, **ours
        )
        assert_same(value, expected[0], EXACT)
        assert_same(gradient, expected[1], EXACT)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"distance": "lp", "p": 0.5}, ValueError, r"p is 0\.5: expected a number from 1"),
        ({"distance": "lp", "p": np.inf}, ValueError, "p is inf: expected a finite number"),
        ({"distance": "lp", "power": 0}, ValueError, "power is 0.*: expected a positive number"),
        ({"distance": "l1"}, ValueError, "distance is 'l1': expected 'euclidean' or"),
    ],
)
@pytest.mark.parametrize("loss", sorted(OF_DISTANCES | OF_SIMILARITIES))
def test_bad_distances(
    loss: str, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        getattr(fl, loss)(np.ones((3, 2)), [0, 0, 1], **options)


@pytest.mark.parametrize("loss", sorted(set(PEERS) - WITHOUT_REFERENCE))
@WITH_WORKSPACES
def test_reference_embeddings_are_the_peers(loss: str) -> None:
    e, y = batch("random")
    r, z = batch("large")
    r, z = r[:, : e.shape[1]].copy(), z % 5
    options, _ = PEERS[loss]
    x = torch.tensor(r, requires_grad=True)
    value, (by_e, by_r) = of_peer(
        lambda q: peer(loss, options)(q, torch.tensor(y), ref_emb=x, ref_labels=torch.tensor(z)),
        e,
        wanted=(x,),
    )
    function = getattr(fl, loss)
    at = function.__fusedloss__.parameters.index("ref_embeddings")
    ours, gradients = fl.value_and_grad(function, argnums=(0, at))(
        e, y, ref_embeddings=r, ref_labels=z, **options
    )
    assert_same(ours, value, EXACT)
    assert_same(gradients[0], by_e, EXACT)
    assert_same(gradients[1], by_r, EXACT)


@pytest.mark.parametrize("loss", ["contrastive_loss", "lifted_structure_loss"])
def test_statistics_of_many_anchors_have_room(
    loss: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far more of them than references; pairs that are kept come behind them in memory."""
    e, y = rng.standard_normal((50_000, 2)), rng.integers(0, 3, 50_000)
    given = {"ref_embeddings": e[:4] + 0.1, "ref_labels": y[:4], **EVERY[loss]}
    results = []
    for workspace in (0, 1):
        monkeypatch.setattr(PairCall, "workspace", workspace)
        results.append(fl.value_and_grad(getattr(fl, loss))(e, y, **given))
    (value, gradient), (again, without) = results
    np.testing.assert_allclose(again, value, rtol=1e-12)
    np.testing.assert_allclose(without, gradient, rtol=1e-10, atol=1e-12 * abs(gradient).max())


@pytest.mark.parametrize("of_anchors", [(0, 0, 0, 1, 1, 1), (0,) * 6, (1,) * 6])
@pytest.mark.parametrize("loss", sorted(set(PEERS) - WITHOUT_REFERENCE))
def test_references_of_one_class_are_the_peers(loss: str, of_anchors: tuple[int, ...]) -> None:
    e, y = batch("random")[0][:6], np.array(of_anchors)
    r, z = batch("large")[0][:4, : e.shape[1]].copy(), np.zeros(4, int)
    options = EVERY[loss] | {"reduction": "sum"}
    references = {"ref_emb": torch.tensor(r), "ref_labels": torch.tensor(z)}
    expected = of_peer(
        lambda x: peer(loss, EVERY[loss], reducer=reducers.SumReducer())(
            x, torch.tensor(y), **references
        ),
        e,
    )
    value, gradient = fl.value_and_grad(getattr(fl, loss))(
        e, y, ref_embeddings=r, ref_labels=z, **options
    )
    assert_same(value, expected[0], EXACT)
    assert_same(gradient, expected[1], EXACT)


#: Where the peer takes a pair of each kind for none.
GENERIC = sorted(
    LISTED & {"contrastive_loss", "circle_loss", *OF_SIMILARITIES}
    | {"lifted_structure_loss", "generalized_lifted_structure_loss", "tuplet_margin_loss"}
)


@pytest.mark.parametrize("loss", GENERIC)
def test_a_single_pair_of_each_kind_counts(loss: str) -> None:
    """Unlike the peer's: as it does beside the same of another anchor."""
    e, y = batch("random")
    e, y = np.concatenate([e[:3], e[:3]]), np.array([0, 0, 1] * 2)
    single, both = ([0], [1], [0], [2]), ([0, 3], [1, 4], [0, 3], [2, 5])
    listed = tuple(map(torch.tensor, single))
    assert peer(loss, EVERY[loss])(torch.tensor(e), torch.tensor(y), listed) == 0
    function, options = getattr(fl, loss), EVERY[loss] | {"reduction": "sum"}
    value = function(e, y, indices_tuple=single, **options)
    assert value > 0
    assert_same(2 * value, function(e, y, indices_tuple=both, **options), EXACT)


@pytest.mark.parametrize("with_references", [False, True])
@pytest.mark.parametrize("kind", ["triplets", "pairs"])
@pytest.mark.parametrize(
    ("loss", "metric"),
    [(loss, {}) for loss in sorted(LISTED)]
    + [(loss, METRICS["snr"][0]) for loss in sorted(LISTED & (OF_DISTANCES | OF_SIMILARITIES))],
)
@WITH_WORKSPACES
def test_index_tuples_are_the_peers(
    loss: str, metric: dict[str, Any], kind: str, with_references: bool, isa: str
) -> None:
    e, y = batch("random")
    given: dict[str, Any] = {}
    if with_references:
        if loss in WITHOUT_REFERENCE:
            return
        r, z = batch("large")
        given = {"ref_embeddings": r[:, : e.shape[1]].copy(), "ref_labels": z % 5}
    listed = indices(kind, y, given.get("ref_labels"))
    options, of_peers = EVERY[loss] | metric, {}
    if loss == "supcon_loss":  # the peer counts pairs that are alone above 0 or not, by rounding
        options, of_peers = options | {"reduction": "mean"}, {"reducer": REDUCERS["mean"]()}
    if metric:
        of_peers["distance"] = METRICS["snr"][1](normalize_embeddings=loss != "triplet_loss")
    theirs = {"ref_emb" if n == "ref_embeddings" else n: torch.tensor(x) for n, x in given.items()}
    expected = of_peer(
        lambda x: peer(loss, EVERY[loss], **of_peers)(
            x, torch.tensor(y), tuple(map(torch.tensor, listed)), **theirs
        ),
        e,
    )
    for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
        own = {n: x.astype(dtype) if x.dtype == np.float64 else x for n, x in given.items()}
        value, gradient = fl.value_and_grad(getattr(fl, loss))(
            e.astype(dtype), y, indices_tuple=listed, **own, **options
        )
        assert_same(value, expected[0], tolerance)
        assert_same(gradient, expected[1], tolerance)


@pytest.mark.parametrize("positives", [False, True])
@pytest.mark.parametrize("loss", sorted(LISTED))
def test_pairs_of_one_kind_are_the_peers(loss: str, positives: bool) -> None:
    e, y = batch("random")
    a, p, a2, n = indices("pairs", y)
    nothing = np.zeros(0, int)
    listed = (a, p, nothing, nothing) if positives else (nothing, nothing, a2, n)
    expected = of_peer(
        lambda x: peer(loss, EVERY[loss])(x, torch.tensor(y), tuple(map(torch.tensor, listed))), e
    )
    value, gradient = fl.value_and_grad(getattr(fl, loss))(
        e, y, indices_tuple=listed, **EVERY[loss]
    )
    assert_same(value, expected[0], EXACT)
    assert_same(gradient, expected[1], EXACT)


@pytest.mark.parametrize("loss", sorted(LISTED))
def test_all_pairs_listed_are_all_pairs(loss: str) -> None:
    e, y = batch("random")
    same = y[:, None] == y
    listed = *np.nonzero(same & ~np.eye(len(y), dtype=bool)), *np.nonzero(~same)
    value, gradient = fl.value_and_grad(getattr(fl, loss))(e, y, **EVERY[loss])
    other, by_listed = fl.value_and_grad(getattr(fl, loss))(
        e, y, indices_tuple=listed, **EVERY[loss]
    )
    assert_same(other, value, EXACT)
    assert_same(by_listed, gradient, EXACT)


@pytest.mark.parametrize("loss", sorted(WEIGHED))
def test_nothing_listed_weighs_nothing(loss: str) -> None:
    e, y = batch("random")
    value, gradient = fl.value_and_grad(getattr(fl, loss))(e, y, **EVERY[loss])
    nothing: list[tuple[Any, ...]] = [([], [], []), ([], [], [], [])]
    for listed in nothing:
        other, by_listed = fl.value_and_grad(getattr(fl, loss))(
            e, y, indices_tuple=listed, **EVERY[loss]
        )
        assert other == value
        np.testing.assert_array_equal(by_listed, gradient)


@pytest.mark.parametrize("reduction", REDUCERS)
@pytest.mark.parametrize("kind", ["triplets", "pairs"])
@pytest.mark.parametrize("loss", sorted(WEIGHED))
def test_weights_of_anchors_are_no_divisor(loss: str, kind: str, reduction: str) -> None:
    e, y = batch("random")
    listed = tuple(x[:7] for x in indices(kind, y))  # anchors that are not listed, too
    expected = of_peer(
        lambda x: peer(loss, EVERY[loss], reducer=REDUCERS[reduction]())(
            x, torch.tensor(y), tuple(map(torch.tensor, listed))
        ),
        e,
    )
    function = fl.value_and_grad(getattr(fl, loss))
    options = {"indices_tuple": listed, **EVERY[loss]}
    value, gradient = function(e, y, reduction=reduction, **options)
    assert_same(value, expected[0], EXACT)
    assert_same(gradient, expected[1], EXACT)
    each, by_each = function(e, y, reduction="none", **options)
    value, gradient = function(e, y, reduction="sum", **options)
    assert_same(each.sum(), value, EXACT)
    assert_same(by_each, gradient, EXACT)


def test_lifted_structure_is_that_enumerated() -> None:
    """Pairs whose anchor has no negatives, whose positive has none, and where neither has one."""
    e, y = batch("random")
    e = e / np.linalg.norm(e, axis=1, keepdims=True)
    a, p = np.array([0, 1, 2, 3, 4, 0]), np.array([1, 0, 5, 6, 0, 4])
    a2, n = np.array([0, 0, 2, 6, 6, 9]), np.array([7, 8, 8, 7, 7, 1])
    x = torch.tensor(e, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for i, j in zip(a, p, strict=True):
        near = [1.2 - (x[k] - x[m]).norm() for k, m in zip(a2, n, strict=True) if k in (i, j)]
        lse = torch.logsumexp(torch.stack(near), 0) if near else 0
        total = total + (lse + (x[i] - x[j]).norm() - 0.1).relu() ** 2 / 2
    (expected,) = torch.autograd.grad(total / len(a), x)
    value, gradient = fl.value_and_grad(fl.lifted_structure_loss)(
        e, y, neg_margin=1.2, pos_margin=0.1, normalize=False, indices_tuple=(a, p, a2, n)
    )
    assert_same(value, total.item() / len(a), EXACT)
    assert_same(gradient, expected.numpy(), EXACT)
    with pytest.raises(ValueError, match="indices_tuple pairs embedding 3 with itself"):
        fl.lifted_structure_loss(e, y, indices_tuple=([0, 3], [1, 3], [5, 5]))


@pytest.mark.parametrize("loss", sorted(LISTED - WEIGHED))
def test_nothing_listed_costs_nothing(loss: str) -> None:
    e, y = batch("random")
    nothing = np.zeros(0, int)
    listed: Any
    for listed in ((nothing,) * 3, (nothing,) * 4, ([], [], [])):
        value, gradient = fl.value_and_grad(getattr(fl, loss))(
            e, y, indices_tuple=listed, **EVERY[loss]
        )
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize(
    ("listed", "error", "text"),
    [
        (np.zeros((3, 2), int), TypeError, "indices_tuple is 'ndarray': expected a tuple of 3"),
        (([0], [1]), TypeError, "expected a tuple of 3 arrays"),
        (([0], [1], [5]), IndexError, r"indices_tuple\[2\]\[0\] is 5: out of range for 3 ref"),
        (
            ([0, -1], [1, 1], [2, 2]),
            IndexError,
            r"indices_tuple\[0\]\[1\] is -1: out of range for 3",
        ),
        (([0], [1, 2], [2]), ValueError, r"indices_tuple\[1\] has shape \(2,\): expected \(1,\)"),
        (([0], [1], [2], [1, 0]), ValueError, r"that of indices_tuple\[2\]"),
        (([0.0], [1], [2]), TypeError, r"indices_tuple\[0\] has dtype float64"),
        (([[0]], [1], [2]), ValueError, r"indices_tuple\[0\] has shape \(1, 1\)"),
        (([0], [1], [1]), ValueError, "lists a pair as positive and as negative"),
    ],
)
def test_bad_index_tuples(listed: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fl.circle_loss(np.ones((3, 2)), [0, 0, 1], indices_tuple=listed)


def test_listed_triplets_are_not_mined() -> None:
    with pytest.raises(ValueError, match="mining is 'hard': expected 'all'"):
        fl.triplet_loss(np.ones((3, 2)), [0, 0, 1], mining="hard", indices_tuple=([0], [1], [2]))


# ---- A boundary of each class -----------------------------------------------------------------

#: Of five classes, without rounding in float32, in which the peer keeps them.
BETAS = np.array([0.75, 1.0, 1.25, 1.5, 1.375])


def margin_gradients(*numbers: str) -> Any:
    parameters = fl.margin_loss.__fusedloss__.parameters  # type: ignore[attr-defined]
    return fl.value_and_grad(fl.margin_loss, tuple(map(parameters.index, numbers)))


@pytest.mark.parametrize("kind", ["triplets", "pairs", None])
@pytest.mark.parametrize("with_references", [False, True])
@WITH_WORKSPACES
def test_boundaries_of_classes_are_the_peers(
    with_references: bool, kind: str | None, isa: str
) -> None:
    e, y = batch("random")
    given: dict[str, Any] = {}
    if with_references:
        r, z = batch("large")
        given = {"ref_embeddings": r[:, : e.shape[1]].copy(), "ref_labels": z % 5}
    listed = None if kind is None else indices(kind, y, given.get("ref_labels"))
    theirs = losses.MarginLoss(distance=ExactLp(), num_classes=5, learn_beta=True)
    theirs.beta.data = torch.tensor(BETAS)
    others = {"ref_emb" if n == "ref_embeddings" else n: torch.tensor(x) for n, x in given.items()}
    value, (by_e, by_beta) = of_peer(
        lambda x: theirs(
            x,
            torch.tensor(y),
            None if listed is None else tuple(map(torch.tensor, listed)),
            **others,
        ),
        e,
        wanted=(theirs.beta,),
    )
    for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
        own = {n: x.astype(dtype) if x.dtype == np.float64 else x for n, x in given.items()}
        ours, gradients = margin_gradients("embeddings", "beta")(
            e.astype(dtype), y, beta=BETAS.astype(dtype), indices_tuple=listed, **own
        )
        assert_same(ours, value, tolerance)
        # hinges at their edge are open or not, by rounding
        assert_same(gradients[0], by_e, tolerance if dtype is np.float64 else 1e-2)
        assert_same(gradients[1], by_beta, tolerance if dtype is np.float64 else 1e-2)
        assert gradients[1].dtype == dtype


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_class_has_the_gradient_of_its_anchors(dtype: Any, isa: str) -> None:
    """That of a call with one boundary, of the losses of these anchors."""
    e, y = batch("random")
    e = e.astype(dtype)
    weight, cotangent = np.arange(len(e)) % 4 / 2, np.linspace(-1, 2, len(e)).astype(dtype)
    cotangent[weight == 0] = np.nan
    options = {"sample_weight": weight, "reduction": "none"}
    each, (by_e, by_beta) = margin_gradients("embeddings", "beta")(
        e, y, beta=BETAS.astype(dtype), grad_output=cotangent, **options
    )
    total = np.zeros(e.shape)
    for c, beta in enumerate(BETAS):
        own, (by_own, slope) = margin_gradients("embeddings", "beta")(
            e, y, beta=beta, grad_output=np.where(y == c, cotangent, 0).astype(dtype), **options
        )
        np.testing.assert_array_equal(each[y == c], own[y == c])
        # The sum is of other groups of anchors, and rounded to its type.
        np.testing.assert_allclose(
            float(by_beta[c]), slope, rtol=1e-12 + float(ml_dtypes.finfo(dtype).eps)
        )
        total += by_own.astype(np.float64)
    assert_same(by_e.astype(np.float64), total, 1e-12 + 4 * float(ml_dtypes.finfo(dtype).eps))


def test_equal_boundaries_are_one() -> None:
    e, y = batch("random")
    value, (by_e, slope) = margin_gradients("embeddings", "beta")(e, y, beta=1.25)
    out = np.zeros(e.shape), np.zeros(5)
    for beta in (np.full(5, 1.25), [1.25] * 5, (1.25,) * 5):
        same, gradients = margin_gradients("embeddings", "beta")(e, y, beta=beta, out=out)
        assert gradients[1] is out[1]
        assert same == value
        np.testing.assert_array_equal(gradients[0], by_e)
        np.testing.assert_allclose(gradients[1].sum(), slope, rtol=1e-12)
    nothing, gradients = margin_gradients("embeddings", "beta")(
        e[:0], y[:0], beta=BETAS, reduction="mean"
    )
    assert nothing == 0
    np.testing.assert_array_equal(gradients[1], np.zeros(5))


@pytest.mark.parametrize(
    ("beta", "labels", "error", "text"),
    [
        (
            np.ones((2, 2)),
            [0, 0, 1],
            ValueError,
            r"beta has shape \(2, 2\): expected one number, or",
        ),
        ([1.0, np.nan], [0, 0, 1], ValueError, r"beta\[1\] is nan: expected a finite number"),
        (np.ones(2, int), [0, 0, 1], TypeError, "beta has dtype int64"),
        ([[1.0], [1.0, 2.0]], [0, 0, 1], (TypeError, ValueError), r"\bbeta\b"),
        (np.ones(2), [0, 0, 2], IndexError, r"labels\[2\] is 2: out of range for 2 classes"),
        (np.ones(2), [0, -1, 1], IndexError, r"labels\[1\] is -1: out of range for 2 classes"),
        (np.ones(2), None, TypeError, "labels is None: expected integer labels"),
    ],
)
def test_bad_boundaries_of_classes(beta: Any, labels: Any, error: Any, text: str) -> None:
    for listed in (None, ([0], [1], [2])):
        with pytest.raises(error, match=text):
            fl.margin_loss(np.ones((3, 2)), labels, beta=beta, indices_tuple=listed)


# ---- Ranks ------------------------------------------------------------------------------------


def test_smooth_average_precision_is_the_peers(isa: str) -> None:
    """In its order of labels; it adds up in float32."""
    e, y = batch("random")[0][:36], np.arange(36) // 6
    expected = of_peer(losses.SmoothAPLoss(0.05), e, torch.tensor(y))
    value, gradient = fl.value_and_grad(fl.smooth_ap_loss)(e, y, temperature=0.05)
    assert_same(value, expected[0], 1e-6)
    assert_same(gradient, expected[1], 1e-6)


@pytest.mark.parametrize("kind", ["random", "large", "one class", "distinct", "at the margins"])
def test_threshold_consistent_margin_is_the_peers(kind: str, isa: str) -> None:
    """With its one reduction, of pairs at the margins, too."""
    options = {"lambda_plus": 0.5, "lambda_minus": 2.0, "margin_plus": 0.4, "margin_minus": 0.1}
    e, y = batch(kind)
    if kind == "at the margins":
        e, y = np.concatenate([np.eye(4), -np.eye(4)]), np.arange(8) % 3
        options |= {"margin_plus": 0.0, "margin_minus": 0.0}
    expected = of_peer(losses.ThresholdConsistentMarginLoss(**options), e, torch.tensor(y))
    value, gradient = fl.value_and_grad(fl.threshold_consistent_margin_loss)(e, y, **options)
    assert_same(value, expected[0], EXACT)
    assert_same(gradient, expected[1], EXACT)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("loss", sorted(OF_RANKS))
def test_ranks_of_dot_products(loss: str, normalize: bool, isa: str) -> None:
    """Of differences in float64: an anchor is among its own, and its own similarity moves."""
    e, y = batch("random")
    e = e[:12] / 4
    y = y[:12]
    options = EVERY[loss] | {"normalize": normalize}
    function = fl.value_and_grad(getattr(fl, loss))
    _, gradient = function(e, y, **options)
    direction, step = np.random.default_rng(0).standard_normal(e.shape), 1e-6
    high, low = (function(e + h * direction, y, **options)[0] for h in (step, -step))
    np.testing.assert_allclose((high - low) / (2 * step), (direction * gradient).sum(), rtol=1e-6)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("variant", ["O", "Ds", "Dq", "Iu", "Ib"])
@WITH_WORKSPACES
def test_penalties_of_ranks_are_the_peers(variant: str, kind: str, isa: str) -> None:
    e, y = batch(kind)
    for options in ({}, {"b": 0.7, "alpha": 2.5, "anneal": 0.1}):
        expected = of_peer(losses.PNPLoss(variant=variant, **options), e, torch.tensor(y))
        value, gradient = fl.value_and_grad(fl.pnp_loss)(e, y, variant=variant, **options)
        assert_same(value, expected[0], EXACT)
        assert_same(gradient, expected[1], EXACT)
        each = fl.pnp_loss(e, y, variant=variant, reduction="none", **options)
        counted = max(1, ((y[:, None] == y).sum(1) > 1).sum())
        assert_same(each.sum() / counted, expected[0], EXACT)


@pytest.mark.parametrize("variant", ["O", "Ds", "Dq", "Iu", "Ib"])
def test_small_ranks_keep_their_digits(variant: str, isa: str) -> None:
    """One negative far behind the anchor and its positive."""
    angles = np.array([0, 0.01, 1.0])
    e = np.stack([np.cos(angles), np.sin(angles)], 1)
    s = np.cos(angles[:, None] - angles)
    for anneal in (0.02, 0.05):
        r = np.exp((s[:2, 2:] - s[:2, :2]) / anneal)  # / (1 + the same), which is 1
        penalty = r * r / 2 if variant == "Ib" else r
        each = fl.pnp_loss(e, [0, 0, 1], variant=variant, b=1.0, anneal=anneal, reduction="none")
        # Cosines are rounded to 2^-53, which the exponent has 50 times; and r itself is 1e-3.
        np.testing.assert_allclose(each[:2], penalty.mean(1), rtol=1e-3)
        half = fl.smooth_ap_loss(e, [0, 0, 1], temperature=anneal, reduction="none")
        assert (half[:2] > 0).all()


def test_bad_penalties_of_ranks() -> None:
    e, y = np.ones((3, 2)), [0, 0, 1]
    for options, text in (
        ({"variant": "X"}, "variant is 'X': expected 'O' or 'Ds' or 'Dq' or 'Iu' or 'Ib'"),
        ({"b": 0}, r"b is 0\.0: expected a positive number"),
        ({"alpha": -1}, r"alpha is -1\.0: expected a positive number"),
        ({"anneal": 0}, r"anneal is 0\.0: expected a positive number"),
    ):
        with pytest.raises(ValueError, match=text):
            fl.pnp_loss(e, y, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"temperature is 0\.0: expected a positive number"):
        fl.smooth_ap_loss(e, y, temperature=0)


# ---- Triplets ---------------------------------------------------------------------------------


@functools.cache
def expected_triplets(
    mining: str, distance: str, kind: str, reduction: str, normalize: bool
) -> tuple[float, Array]:
    e, y = batch(kind)
    metric = DISTANCES[distance](normalize)
    loss = losses.TripletMarginLoss(0.3, distance=metric, reducer=REDUCERS[reduction]())
    miner = mined(mining, metric, 0.3)
    return of_peer(lambda x, t: loss(x, t, miner(x, t)), e, torch.tensor(y))


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("mining", ["all", "semihard", "hard", "easy"])
@pytest.mark.parametrize("reduction", REDUCERS)
def test_triplets_are_the_peers(
    mining: str, distance: str, kind: str, reduction: str, isa: str
) -> None:
    e, y = batch(kind)
    for normalize in (False, True):
        expected = expected_triplets(mining, distance, kind, reduction, normalize)
        value, gradient = fl.value_and_grad(fl.triplet_loss)(
            e,
            y,
            margin=0.3,
            mining=mining,
            distance=distance,
            normalize=normalize,
            reduction=reduction,
        )
        assert_same(value, expected[0], EXACT)
        assert_same(gradient, expected[1], EXACT)


@pytest.mark.parametrize("kind", ["random", "duplicates", "wide", "one class"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_powers_of_distances_are_the_peers(p: float, normalize: bool, kind: str, isa: str) -> None:
    e, y = batch(kind)
    metric = ExactLp(p=p, normalize_embeddings=normalize)
    loss = losses.TripletMarginLoss(0.3, distance=metric)
    expected = of_peer(lambda x: loss(x, torch.tensor(y)), e)
    options: dict[str, Any] = {"margin": 0.3, "distance": "lp", "p": p, "normalize": normalize}
    for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
        value, gradient = fl.value_and_grad(fl.triplet_loss)(e.astype(dtype), y, **options)
        assert_same(value, expected[0], tolerance)
        # triplets at the edge of the margin count or not, by rounding
        assert_same(gradient, expected[1], tolerance if dtype is np.float64 else 3e-3)


@functools.cache
def enumerated(kind: str, mining: str, margin: float, soft: bool) -> tuple[float, Array]:
    """Every triplet of its own, in float64: the mean and its gradient."""
    e, y = batch(kind)
    difference = e[:, None] - e[None]
    d = np.sqrt((difference**2).sum(-1))
    total, count, slope = 0.0, 0, np.zeros_like(d)
    for a in range(len(e)):
        positives = np.flatnonzero((y == y[a]) & (np.arange(len(e)) != a))
        negatives = np.flatnonzero(y != y[a])
        for p in positives:
            chosen = negatives
            if mining == "semihard":
                farther = (d[a, negatives] > d[a, p]) & (d[a, negatives] <= d[a, p] + margin)
                chosen = negatives[farther]
            if mining == "semihard_closest" and len(negatives):
                beyond = negatives[d[a, negatives] > d[a, p]]
                closest = beyond[np.argmin(d[a, beyond])] if len(beyond) else None
                chosen = [negatives[np.argmax(d[a, negatives])] if closest is None else closest]
            for n in chosen:
                x = d[a, p] - d[a, n] + margin
                weight = 1 / (1 + np.exp(-x)) if soft else float(x > 0)
                total += np.logaddexp(0, x) if soft else max(0, x)
                count += 1
                slope[a, p] += weight
                slope[a, n] -= weight
    rate = np.divide(slope, d, out=np.zeros_like(d), where=d > 0)
    gradient = (rate[:, :, None] * difference).sum(1) - (rate[:, :, None] * difference).sum(0)
    return (total / count, gradient / count) if count else (0.0, gradient)


@pytest.mark.parametrize("mining", ["all", "semihard", "semihard_closest"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("margin", [0.5, -0.2])
def test_triplets_are_those_enumerated(
    mining: str, soft: bool, kind: str, margin: float, isa: str
) -> None:
    """With few classes an anchor has positives enough for its negatives to be sorted."""
    e, y = batch(kind)
    value, gradient = fl.value_and_grad(fl.triplet_loss)(
        e, y, margin=margin, mining=mining, soft=soft, reduction="mean"
    )
    expected = enumerated(kind, mining, margin, soft)
    assert_same(value, expected[0], EXACT)
    assert_same(gradient, expected[1], EXACT)


# ---- Two towers -------------------------------------------------------------------------------


def logits(a: Any, b: Any, scale: Any) -> Any:
    return scale * torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T


def cross_entropies(z: Any) -> Any:
    return torch.nn.functional.cross_entropy(z, torch.arange(len(z)), reduction="none")


def info_nce(a: Any, b: Any, temperature: Any) -> Any:
    return cross_entropies(logits(a, b, 1 / temperature))


def clip(a: Any, b: Any, scale: Any) -> Any:
    z = logits(a, b, scale)
    return (cross_entropies(z) + cross_entropies(z[:, : len(z)].T)) / 2


def siglip(a: Any, b: Any, scale: Any, bias: Any) -> Any:
    sign = 2 * torch.eye(len(a), len(b)) - 1
    return -torch.nn.functional.logsigmoid(sign * (logits(a, b, scale) + bias)).sum(1)


TOWERS: dict[str, tuple[Callable[..., Any], dict[str, float]]] = {
    "info_nce_loss": (info_nce, {"temperature": 0.3}),
    "clip_loss": (clip, {"logit_scale": 12.0}),
    "siglip_loss": (siglip, {"logit_scale": 9.0, "logit_bias": -2.5}),
}


def of_weights(cotangent: Any, weight: Any, reduction: str) -> dict[str, Any]:
    """What is asked of a loss of rows: sample weights, and none reduced, a grad_output of each."""
    given: dict[str, Any] = {"reduction": reduction}
    if weight is not None:
        given["sample_weight"] = weight
    if reduction == "none":
        given["grad_output"] = cotangent
    return given


@pytest.mark.parametrize("rows", [1, 2, 33, 300])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("more", [0, 25])
@pytest.mark.parametrize("loss", TOWERS)
@WITH_WORKSPACES
def test_towers_are_torchs(
    loss: str,
    more: int,
    weighted: bool,
    reduction: str,
    rows: int,
    isa: str,
    rng: np.random.Generator,
) -> None:
    """Weights and cotangents of a row go with its loss, wherever in its column it comes from.

    `more` rows of the second tower belong to none of the first.
    """
    formula, options = TOWERS[loss]
    a, b = rng.standard_normal((rows, 21)), rng.standard_normal((rows + more, 21))
    weight = rng.integers(0, 4, rows) / 2 if weighted else None
    if weight is not None:
        weight[0] = 1
    given = of_weights(rng.standard_normal(rows), weight, reduction)
    x, y = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    scalars = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in options.values()]
    each = formula(x, y, *scalars) * torch.tensor(np.ones(rows) if weight is None else weight)
    expected = {
        "none": each,
        "sum": each.sum(),
        "mean": each.sum() / (rows if weight is None else weight.sum()),
    }[reduction]
    cotangent = torch.tensor(given["grad_output"]) if reduction == "none" else None
    gradients = torch.autograd.grad(expected, (x, y, *scalars), cotangent)
    function = getattr(fl, loss)
    names = function.__fusedloss__.parameters
    argnums = (0, 1, *(names.index(name) for name in options))
    for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
        value, ours = fl.value_and_grad(function, argnums=argnums)(
            a.astype(dtype), b.astype(dtype), **options, **given
        )
        assert_same(value, expected.detach().numpy(), tolerance)
        for own, theirs in zip(ours, gradients, strict=True):
            assert_same(own, theirs.numpy(), tolerance)


@pytest.mark.parametrize("loss", TOWERS)
def test_rows_of_the_first_tower_without_their_own_are_an_error(loss: str) -> None:
    second = {"info_nce_loss": "key"}.get(loss, "text_features")
    with pytest.raises(ValueError, match=f"{second} has 3 rows: expected at least 4"):
        getattr(fl, loss)(np.ones((4, 2)), np.ones((3, 2)))


# ---- What holds for all of them ---------------------------------------------------------------


@pytest.mark.parametrize("workspace_size", [0, 2 * 700 * 700])
@pytest.mark.parametrize("loss", EVERY)
def test_bits_do_not_depend_on_threads(
    loss: str, workspace_size: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smaller workspace has room for several groups' gradients, but not for all pairs."""
    monkeypatch.setattr(PairCall, "workspace", workspace_size)
    e = rng.standard_normal((700, 33)).astype(np.float32)
    y = rng.integers(0, 60, 700)
    results = {
        (value, gradient.tobytes())
        for n in (1, 2, 3, 7)
        for value, gradient in [
            fl.value_and_grad(getattr(fl, loss))(e, y, num_threads=n, **EVERY[loss])
        ]
    }
    assert len(results) == 1


@pytest.mark.parametrize("loss", EVERY)
def test_groups_of_anchors_add_up(
    loss: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above: groups have the answer of one, but for the order of sums in float64.

    The first workspace keeps all pairs, and several panels take their gradients from them at once.
    """
    e, y = rng.standard_normal((700, 33)), rng.integers(0, 60, 700)
    results = []
    for workspace in (0, 4 * 700 * 700):
        monkeypatch.setattr(PairCall, "workspace", workspace)
        results.append(fl.value_and_grad(getattr(fl, loss))(e, y, **EVERY[loss]))
    (value, gradient), (again, in_groups) = results
    np.testing.assert_allclose(again, value, rtol=1e-12)
    np.testing.assert_allclose(in_groups, gradient, rtol=1e-10, atol=1e-12 * abs(gradient).max())


def test_bits_of_towers_do_not_depend_on_threads(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 500, 20)).astype(np.float32)
    function = fl.value_and_grad(fl.clip_loss, argnums=(0, 1, 2))
    results = set()
    for n in (1, 2, 3, 7):
        value, (by_a, by_b, by_scale) = function(a, b, 5.0, num_threads=n)
        results.add((value, by_a.tobytes(), by_b.tobytes(), by_scale))
    assert len(results) == 1


@pytest.mark.parametrize("loss", EVERY)
@WITH_WORKSPACES
def test_none_adds_up_and_weights_anchors(loss: str) -> None:
    if loss in WITHOUT_REDUCTION:
        return
    if loss in WITHOUT_NONE:
        with pytest.raises(ValueError, match="'mean_nonzero' or 'mean' or 'sum'"):
            getattr(fl, loss)(*batch("random"), reduction="none")
        return
    e, y = batch("random")
    weight = np.linspace(0.5, 2, len(e))
    function, options = getattr(fl, loss), EVERY[loss]
    each = function(e, y, reduction="none", **options)
    assert_same(function(e, y, reduction="sum", **options), each.sum(), EXACT)
    weighted = function(e, y, reduction="none", sample_weight=weight, **options)
    assert_same(weighted, weight * each, EXACT)
    _, gradient = fl.value_and_grad(function)(
        e, y, reduction="sum", sample_weight=weight, **options
    )
    _, as_cotangent = fl.value_and_grad(function)(
        e, y, reduction="none", grad_output=weight, **options
    )
    assert_same(gradient, as_cotangent, EXACT)
    mean = function(e, y, reduction="mean", sample_weight=weight, **options)
    assert_same(mean, function(e, y, reduction="mean", sample_weight=3 * weight, **options), EXACT)


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_nonzero", "none"])
@WITH_WORKSPACES
def test_mean_similarities_are_of_anchors_that_count(reduction: str) -> None:
    """Once each, whatever their weight; those of weight 0 may hold anything."""
    e, y = batch("random")
    r, z = batch("large")
    references = {"ref_embeddings": r[:, : e.shape[1]].copy(), "ref_labels": z % 5}
    weight = np.arange(len(e)) % 4 / 2
    cotangent = np.arange(len(e)) % 3 - 1.0
    kept = weight != 0
    x = e.copy()
    x[~kept] = np.nan
    at_references = fl.intra_pair_variance_loss.__fusedloss__.parameters.index("ref_embeddings")  # type: ignore[attr-defined]
    function = fl.value_and_grad(fl.intra_pair_variance_loss, (0, at_references))
    given = {"reduction": reduction, **references, **EVERY["intra_pair_variance_loss"]}
    more: list[dict[str, Any]] = [{}, {}]
    if reduction == "none":
        more = [{"grad_output": cotangent}, {"grad_output": cotangent[kept]}]
    value, gradients = function(x, y, sample_weight=weight, **given, **more[0])
    expected, by_each = function(e[kept], y[kept], sample_weight=weight[kept], **given, **more[1])
    assert_same(value[kept] if reduction == "none" else value, expected, EXACT)
    assert_same(gradients[0][kept], by_each[0], EXACT)
    assert not gradients[0][~kept].any()
    assert_same(gradients[1], by_each[1], EXACT)
    if reduction == "sum":  # the means are part of the derivative
        at, step = references["ref_embeddings"], 1e-6
        direction = np.random.default_rng(0).standard_normal(at.shape)
        given |= {"sample_weight": weight[kept]}
        high, low = (
            function(e[kept], y[kept], **given | {"ref_embeddings": at + h * direction})[0]
            for h in (step, -step)
        )
        # An error of the step's square, and a rounding over the step.
        np.testing.assert_allclose((high - low) / (2 * step), (direction * by_each[1]).sum(), 1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("loss", EVERY)
def test_16_bits_are_computed_in_float32(loss: str, dtype: Any) -> None:
    """Only the gradient is rounded to them: half a unit of 8 or 11 bits."""
    e, y = batch("random")
    short = e.astype(dtype)
    value, gradient = fl.value_and_grad(getattr(fl, loss))(short, y, **EVERY[loss])
    expected, wide = fl.value_and_grad(getattr(fl, loss))(
        short.astype(np.float32), y, **EVERY[loss]
    )
    assert value == expected
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, wide.astype(dtype))


@pytest.mark.parametrize("loss", EVERY)
def test_layout_does_not_matter(loss: str) -> None:
    e, y = batch("random")
    value, gradient = fl.value_and_grad(getattr(fl, loss))(e, y, **EVERY[loss])
    wide = np.zeros((2 * len(e), 3 * e.shape[1]))
    wide[::2, ::-3] = e
    for x, t in (
        (np.asfortranarray(e), y.astype(np.int16)),
        (wide[::2, ::-3], np.repeat(y, 2)[::2].astype(np.uint8)),
        (e.astype(">f8"), y.astype(">i4")),
    ):
        out = np.zeros((e.shape[1], 2 * len(e)))[:, ::2].T
        other, where = fl.value_and_grad(getattr(fl, loss))(x, t, out=out, **EVERY[loss])
        assert where is out
        assert other == value
        np.testing.assert_array_equal(out, gradient)


def other_layouts(x: Array) -> list[Array]:
    """Arrays of the same numbers: three whose rows lie side by side, and two of every other row."""
    n, d = x.shape
    layouts = [
        np.empty((d, n), x.dtype).T,
        np.empty((2 * d, n + 5), x.dtype)[::2, 3 : n + 3].T,
        np.empty((d, n), x.dtype)[::-1].T,
        np.empty((2 * n, d), x.dtype)[::2],
        np.empty((d, 2 * n), x.dtype)[:, ::2].T,
    ]
    for layout in layouts:
        layout[:] = x
    return layouts


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (37, 1), (5, 70), (150, 11), (700, 33)])
@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("contrastive_loss", {"neg_margin": 1.1}),
        ("contrastive_loss", {"distance": "snr", "neg_margin": 0.5}),  # subtracts means
        ("contrastive_loss", {"distance": "lp", "p": 1.0, "power": 1.0}),  # keeps no pairs
        ("ntxent_loss", {"temperature": 0.2}),
    ],
)
@WITH_WORKSPACES
def test_rows_may_lie_side_by_side(
    loss: str,
    options: dict[str, Any],
    shape: tuple[int, int],
    dtype: Any,
    rng: np.random.Generator,
    isa: str,
) -> None:
    """In embeddings, references and gradients: not a bit differs from contiguous rows."""
    e, r = rng.standard_normal((2, *shape)).astype(dtype)
    y = rng.integers(0, 4, len(e))
    function = getattr(fl, loss)
    alone = fl.value_and_grad(function)
    both = fl.value_and_grad(
        function, (0, function.__fusedloss__.parameters.index("ref_embeddings"))
    )
    value, gradient = alone(e, y, **options)
    towers, gradients = both(e, y, ref_embeddings=r, ref_labels=y, **options)
    for x, z in zip(other_layouts(e), other_layouts(r), strict=True):
        out = np.zeros_like(e, order="F")
        assert alone(x, y, out=out, **options)[0] == value
        np.testing.assert_array_equal(out, gradient)
        places = (np.zeros_like(x), z)  # the second gradient over its own argument
        given = {"ref_embeddings": z, "ref_labels": y, "out": places}
        assert both(x, y, **given, **options)[0] == towers
        for place, expected in zip(places, gradients, strict=True):
            np.testing.assert_array_equal(place, expected)


def test_labels_differ_in_any_bit() -> None:
    e = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    few = fl.ntxent_loss(e, np.array([0, 0, 1]))
    assert few > 0
    assert fl.ntxent_loss(e, np.array([5, 5, 5 + 2**40])) == few
    assert fl.ntxent_loss(e.astype(np.float32), np.array([5, 5, 5 + 2**40])) == pytest.approx(few)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "snr"])
@WITH_WORKSPACES
def test_near_pairs_keep_their_digits(distance: str, rng: np.random.Generator) -> None:
    """Embeddings a thousandth apart, far from the origin: nothing is left of their dot products."""
    e = (1 + 1e-3 * rng.standard_normal((40, 16))).astype(np.float32)
    y = rng.integers(0, 4, 40)
    options: dict[str, Any] = {"margin": 1e-3, "distance": distance, "reduction": "mean"}
    exact, by_exact = fl.value_and_grad(fl.triplet_loss)(e.astype(np.float64), y, **options)
    value, gradient = fl.value_and_grad(fl.triplet_loss)(e, y, **options)
    # Sums of 16 squares and of some thousand triplets in float32.
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    assert_same(gradient, by_exact, 1e-5)


@pytest.mark.usefixtures("isa")
@WITH_WORKSPACES
def test_an_anchor_without_variance_is_infinitely_far(rng: np.random.Generator) -> None:
    """Its negatives cost nothing, a positive everything; it is as good a reference as any."""
    e, y = rng.standard_normal((40, 11)), np.arange(40) % 5
    e[3], y[3] = 0.1, 7  # whose mean is another number
    function = fl.value_and_grad(fl.contrastive_loss)
    options: dict[str, Any] = {"distance": "snr", "neg_margin": 2.0, "reduction": "sum"}
    same = y[:, None] == y
    positive = np.argwhere(same & ~np.eye(40, dtype=bool)).T
    negative = np.argwhere(~same & (np.arange(40) != 3)[:, None]).T
    value, gradient = function(e, y, indices_tuple=(*positive, *negative), **options)
    assert (value > 0) & gradient[3].any()
    for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
        ours, by_e = function(e.astype(dtype), y, **options)
        assert_same(ours, value, tolerance)
        assert_same(by_e, gradient, tolerance)
    for loss in sorted(OF_DISTANCES - {"triplet_loss"}):  # infinitely far, both of them
        given = EVERY[loss] | {"distance": "snr"}
        assert not np.isfinite(getattr(fl, loss)(e, np.arange(40) % 2, **given)), loss


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_signal_to_noise_is_that_of_numpy(dtype: Any) -> None:
    """One-way: each end of a pair has its own, and a constant changes none, nor does a factor."""
    x = np.array([[1, 2, 4, 5], [2, 0, 1, 9], [8, 8, 8, 8]], dtype)
    for a, other in ((0, 1), (1, 0), (0, 2), (1, 2)):
        expected = np.var(x[a] - x[other], dtype=np.float64) / np.var(x[a], dtype=np.float64)
        for change in (lambda e: e, lambda e: 4 * e, lambda e: e + dtype(16)):
            e, r = change(x[[a]]), change(x[[other]])
            value = fl.contrastive_loss(
                e, [0], ref_embeddings=r, ref_labels=[0], distance="snr", normalize=False
            )
            np.testing.assert_allclose(value, expected, rtol=1e-6)  # a few roundings of float32


@pytest.mark.parametrize("loss", EVERY)
def test_nothing_costs_nothing(loss: str) -> None:
    value, gradient = fl.value_and_grad(getattr(fl, loss))(
        np.zeros((0, 4)), np.zeros(0, int), **EVERY[loss]
    )
    assert value == 0
    assert gradient.shape == (0, 4)


def test_nan_is_not_hidden() -> None:
    e, y = batch("random")
    e[3, 2] = np.nan
    for loss, options in EVERY.items():
        assert np.isnan(getattr(fl, loss)(e, y, **options)), loss


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"embeddings": np.zeros(3)},
            ValueError,
            r"embeddings has shape \(3,\): expected \(N, D\)",
        ),
        ({"embeddings": np.zeros((3, 2), int)}, TypeError, "embeddings has dtype int64"),
        ({"labels": np.zeros(3)}, TypeError, "labels has dtype float64: expected integer labels"),
        ({"labels": np.zeros(2, int)}, ValueError, r"labels has shape \(2,\): expected \(3,\)"),
        ({"margin": "x"}, TypeError, "margin is 'x': expected a number"),
        ({"mining": "some"}, ValueError, "mining is 'some': expected 'all' or 'hard'"),
        ({"distance": "l1"}, ValueError, "distance is 'l1'"),
        ({"reduction": "max"}, ValueError, "reduction is 'max': expected 'mean_nonzero'"),
        ({"ref_labels": np.zeros(3, int)}, ValueError, "ref_embeddings is None"),
        (
            {"ref_embeddings": np.zeros((3, 2), np.float32), "ref_labels": np.zeros(3, int)},
            TypeError,
            "ref_embeddings has dtype float32: expected float64",
        ),
        (
            {"ref_embeddings": np.zeros((3, 5)), "ref_labels": np.zeros(3, int)},
            ValueError,
            r"ref_embeddings has shape \(3, 5\): expected \(M, 2\)",
        ),
        ({"sample_weight": np.ones(2)}, ValueError, r"sample_weight has shape \(2,\)"),
        ({"num_threads": 0}, ValueError, "num_threads is 0"),
    ],
)
def test_errors_say_what_is_wrong(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    given = {"embeddings": np.zeros((3, 2)), "labels": np.zeros(3, int), **arguments}
    with pytest.raises(error, match=text):
        fl.triplet_loss(given.pop("embeddings"), given.pop("labels"), **given)


def test_gradients_go_where_they_may() -> None:
    e, y = batch("random")
    function = fl.value_and_grad(fl.ntxent_loss)
    _, gradient = function(e, y)
    own = e.copy()
    assert function(own, y, out=own)[1] is own
    np.testing.assert_array_equal(own, gradient)
    memory = np.zeros((len(e) + 1, e.shape[1]))
    memory[:-1] = e
    with pytest.raises(ValueError, match="out overlaps embeddings"):
        function(memory[:-1], y, out=memory[1:])
    at = fl.ntxent_loss.__fusedloss__.parameters.index("ref_embeddings")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="ref_embeddings, which is not given"):
        fl.value_and_grad(fl.ntxent_loss, argnums=at)(e, y)


MEMORY = """
import numpy as np, fusedloss as fl
n = 6000
e = np.random.default_rng(0).standard_normal((n, 64)).astype(np.float32)
y = np.arange(n) // 4
out = np.empty_like(e)
function = fl.value_and_grad(fl.triplet_loss)
function(e[:500], y[:500])
open("/proc/self/clear_refs", "w").write("5")
peak = lambda: int([l for l in open("/proc/self/status") if l.startswith("VmHWM")][0].split()[1])
before = peak()
function(e, y, out=out)
print(peak() - before)
"""


def test_memory_is_that_of_the_workspace(run_python: Callable[..., str]) -> None:
    """One matrix of all pairs would take 144 MB; the workspace is 64 MiB."""
    assert int(run_python(MEMORY)) < 64 * 1024


# ---- Gradients where no peer has one -------------------------------------------------------------


def differences(function: Callable[[Array], float], x: Array, step: float = 1e-6) -> Array:
    """Central differences, good to some 1e-9 of the function's size."""
    made = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[at] += step
        behind[at] -= step
        made[at] = (function(ahead) - function(behind)) / (2 * step)
    return made


@pytest.mark.usefixtures("isa")
def test_an_embedding_may_be_anchor_and_positive(rng: np.random.Generator) -> None:
    """In one pair or in two: its gradients add up."""
    embeddings, labels = rng.normal(size=(8, 5)), np.arange(8) // 2
    pairs = [np.array(x) for x in ((0, 2, 4), (0, 3, 5), (0, 0, 2), (2, 4, 0))]

    def loss(x: Array) -> float:
        return float(fl.n_pairs_loss(x, labels, indices_tuple=tuple(pairs)))

    _, gradient = fl.value_and_grad(fl.n_pairs_loss)(embeddings, labels, indices_tuple=tuple(pairs))
    np.testing.assert_allclose(gradient, differences(loss, embeddings), rtol=0, atol=1e-8)


@pytest.mark.usefixtures("isa")
def test_no_angle_has_a_cosine_beyond_1(rng: np.random.Generator) -> None:
    """Of embeddings as they are, whose products are no cosines, the sine is a constant."""
    embeddings, labels = 4 * rng.normal(size=(8, 5)), np.arange(8) // 2

    def loss(x: Array) -> float:
        return float(fl.tuplet_margin_loss(x, labels, normalize=False))

    _, gradient = fl.value_and_grad(fl.tuplet_margin_loss)(embeddings, labels, normalize=False)
    np.testing.assert_allclose(gradient, differences(loss, embeddings), rtol=1e-6, atol=1e-4)
