"""Miners: pytorch-metric-learning's pairs and triplets, and no more of them than there may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, miners

import fusedloss as fl
from fusedloss import mining
from pair_cases import BATCHES, DISTANCES, ExactLp, batch
from parts import Array

#: Miners and the peer's of the same options.
PEERS: list[tuple[str, dict[str, Any], Callable[..., Any]]] = [
    *[
        ("mine_triplets", {"margin": 0.15, "type_of_triplets": kind}, miners.TripletMarginMiner)
        for kind in ("all", "hard", "semihard", "easy")
    ],
    ("mine_hard", {}, miners.BatchHardMiner),
    *[
        ("mine_easy_hard", {"pos_strategy": p, "neg_strategy": n}, miners.BatchEasyHardMiner)
        for p in ("hard", "semihard", "easy", "all")
        for n in ("hard", "semihard", "easy", "all")
        if not ("semihard" in (p, n) and {p, n} <= {"semihard", "all"})
    ],
    ("mine_pair_margin", {"pos_margin": 1.1, "neg_margin": 1.2}, miners.PairMarginMiner),
    ("mine_multi_similarity", {"epsilon": 0.2}, miners.MultiSimilarityMiner),
]
KINDS = [kind for kind in BATCHES if kind != "few"]


def as_rows(indices: Any) -> list[Array]:
    """Triplets or the two kinds of pairs, in order."""
    arrays = [np.asarray(x) for x in indices]
    parts = [arrays] if len(arrays) == 3 else [arrays[:2], arrays[2:]]
    return [np.unique(np.stack(part, axis=1), axis=0) for part in parts]


def assert_same_rows(ours: Any, theirs: Any) -> None:
    assert all(x.dtype == np.int64 for x in ours)
    for own, other in zip(as_rows(ours), as_rows(theirs), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "options", "peer"), PEERS)
def test_indices_are_the_peers(
    name: str, options: dict[str, Any], peer: Callable[..., Any], kind: str
) -> None:
    e, y = batch(kind)
    x, t = torch.tensor(e), torch.tensor(y)
    if name == "mine_multi_similarity":
        assert_same_rows(fl.mine_multi_similarity(e, y, **options), peer(**options)(x, t))
        return
    expected = peer(**options, distance=ExactLp())(x, t)
    assert_same_rows(getattr(fl, name)(e, y, **options), expected)


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
@pytest.mark.parametrize("normalize", [False, True])
def test_distances_are_the_peers(distance: str, normalize: bool) -> None:
    e, y = batch("random")
    e = e / 4
    ours = fl.mine_hard(e, y, distance=distance, normalize=normalize)  # type: ignore[arg-type]
    theirs = miners.BatchHardMiner(distance=DISTANCES[distance](normalize))
    assert_same_rows(ours, theirs(torch.tensor(e), torch.tensor(y)))


@pytest.mark.parametrize(("name", "options", "peer"), PEERS)
def test_references_are_the_peers(
    name: str, options: dict[str, Any], peer: Callable[..., Any]
) -> None:
    e, y = batch("random")
    r, z = batch("large")
    r, z = r[:, : e.shape[1]], z % 5
    distance = distances.CosineSimilarity() if name == "mine_multi_similarity" else ExactLp()
    theirs = peer(**options, distance=distance)(*map(torch.tensor, (e, y, r.copy(), z)))
    ours = getattr(fl, name)(e, y, ref_embeddings=r, ref_labels=z, **options)
    assert_same_rows(ours, theirs)


@pytest.mark.parametrize(("name", "options", "peer"), PEERS)
def test_blocks_do_not_matter(
    name: str, options: dict[str, Any], peer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    e, y = batch("large")
    expected = getattr(fl, name)(e, y, **options)
    monkeypatch.setattr(mining, "BLOCK", 1000)  # six anchors and six positives
    for ours, other in zip(getattr(fl, name)(e, y, **options), expected, strict=True):
        np.testing.assert_array_equal(ours, other)


def test_semihard_is_what_the_loss_mines() -> None:
    e, y = batch("random")
    mined = fl.mine_semihard(e, y, margin=0.3, normalize=False)
    value, gradient = fl.value_and_grad(fl.triplet_loss)(e, y, margin=0.3, indices_tuple=mined)
    expected = fl.value_and_grad(fl.triplet_loss)(e, y, margin=0.3, mining="semihard")
    # sums of the same some hundred triplets in another order
    assert value == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(gradient, expected[1], rtol=0, atol=1e-14)


def test_draws_are_weighted_by_distance() -> None:
    """One anchor with a positive: how often each negative comes, against the paper's formula."""
    rng = np.random.default_rng(0)
    e = rng.standard_normal((12, 5))
    y = np.array([0, 0, *range(2, 12)])
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    d = np.linalg.norm(unit[2:] - unit[0], axis=1)
    weight = np.maximum(d, 0.5) ** -3 * (1 - np.maximum(d, 0.5) ** 2 / 4) ** -1.0 * (d < 1.4)
    counts = np.zeros(12)
    draws = 4000
    for seed in range(draws):
        a, p, n = fl.mine_distance_weighted(e, y, seed=seed)
        np.testing.assert_array_equal(a, [0, 0, 1, 1])
        np.testing.assert_array_equal(p, [1, 1, 0, 0])
        counts += np.bincount(n[:2], minlength=12)
    assert not counts[:2].any()
    share = weight / weight.sum()
    # five standard deviations of a share of 8000 draws
    np.testing.assert_allclose(counts[2:] / (2 * draws), share, rtol=0, atol=5 * 0.5 / 8000**0.5)
    assert not share[counts[2:] == 0].max(initial=0) > 0.01


def test_draws_are_those_of_their_seed() -> None:
    e, y = batch("large")
    first, second = (fl.mine_distance_weighted(e, y, seed=3) for _ in range(2))
    for x, z in zip(first, second, strict=True):
        np.testing.assert_array_equal(x, z)
    assert (y[first[0]] == y[first[1]]).all()
    assert (y[first[0]] != y[first[2]]).all()
    assert (first[0] != first[1]).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_dtypes(dtype: Any) -> None:
    e, y = batch("random")
    short = e.astype(dtype)
    for ours, other in zip(
        fl.mine_hard(short, y), fl.mine_hard(short.astype(np.float64), y), strict=True
    ):
        np.testing.assert_array_equal(ours, other)


MINERS = [name for name in fl.__all__ if name.startswith("mine_")]


@pytest.mark.parametrize("name", MINERS)
def test_nothing_is_found_in_nothing(name: str) -> None:
    for rows in (0, 1):
        found = getattr(fl, name)(np.ones((rows, 4)), np.zeros(rows, int))
        assert all(x.shape == (0,) and x.dtype == np.int64 for x in found)


@pytest.mark.parametrize("name", MINERS)
def test_what_is_returned_is_bounded(name: str) -> None:
    e, y = batch("large")
    found = getattr(fl, name)(e, y)
    most = max(len(x) for x in found)
    getattr(fl, name)(e, y, limit=most)
    with pytest.raises(ValueError, match=f"there are more than {most - 1} .*: expected no more"):
        getattr(fl, name)(e, y, limit=most - 1)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: fl.mine_hard(np.ones(3), [0, 0, 1]), ValueError, r"embeddings has shape \(3,\)"),
        (lambda: fl.mine_hard(np.ones((3, 2)), [0, 1]), ValueError, r"labels has shape \(2,\)"),
        (
            lambda: fl.mine_hard(np.ones((3, 2)), [0, 0, 1], ref_labels=[1]),
            ValueError,
            "ref_embeddings is None",
        ),
        (
            lambda: fl.mine_hard(np.ones((3, 2)), [0, 0, 1], distance="l1"),  # type: ignore[arg-type]
            ValueError,
            "distance is 'l1'",
        ),
        (
            lambda: fl.mine_easy_hard(
                np.ones((3, 2)), [0, 0, 1], pos_strategy="all", neg_strategy="semihard"
            ),
            ValueError,
            "neg_strategy is 'semihard'",
        ),
        (
            lambda: fl.mine_triplets(np.ones((3, 2)), [0, 0, 1], type_of_triplets="most"),  # type: ignore[arg-type]
            ValueError,
            "type_of_triplets is 'most'",
        ),
        (
            lambda: fl.mine_hard(np.ones((3, 2)), [0, 0, 1], limit=1.5),  # type: ignore[arg-type]
            TypeError,
            "limit is 1.5: expected an integer",
        ),
    ],
)
def test_errors_say_what_is_wrong(
    call: Callable[[], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call()
