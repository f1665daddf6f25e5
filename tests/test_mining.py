"""Miners: pytorch-metric-learning's pairs and triplets, and no more of them than there may be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, miners

import fusedloss as fl
from fusedloss import mining
from pair_cases import BATCHES, DISTANCES, METRICS, ExactLp, batch
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
    *[
        (
            "mine_easy_hard",
            {
                "pos_strategy": p,
                "neg_strategy": n,
                "allowed_pos_range": (0.9, 1.4),
                "allowed_neg_range": (1.0, 1.5),
            },
            miners.BatchEasyHardMiner,
        )
        for p, n in (("hard", "hard"), ("easy", "semihard"), ("all", "easy"), ("semihard", "hard"))
    ],
]

#: Those that compute or choose in another way, and their options.
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("mine_angular", {"angle": 25.0}),
    (
        "mine_hardest_share",  # of a pair and the same from its other end, either may be found
        {
            "filter_percentage": 0.3,
            "ref_embeddings": batch("large")[0][::-1] + 0.5,
            "ref_labels": batch("large")[1],
        },
    ),
    ("mine_uniform_histogram", {"num_bins": 20, "seed": 0}),
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


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("name", "options", "peer"), PEERS[:7])
def test_powers_of_distances_are_the_peers(
    name: str, options: dict[str, Any], peer: Callable[..., Any], normalize: bool, metric: str
) -> None:
    e, y = batch("random")
    e = e / 4
    distance, of_peers = METRICS[metric]
    theirs = peer(**options, distance=of_peers(normalize_embeddings=normalize))
    ours = getattr(fl, name)(e, y, normalize=normalize, **distance, **options)
    assert_same_rows(ours, theirs(torch.tensor(e), torch.tensor(y)))


@pytest.mark.parametrize("with_references", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_angles_are_the_peers(kind: str, with_references: bool) -> None:
    e, y = batch(kind)
    given = {}
    if with_references:
        r, z = batch("random")
        given = {"ref_embeddings": np.resize(r, (len(r), e.shape[1])), "ref_labels": z}
    theirs = miners.AngularMiner(25)(*map(torch.tensor, (e, y, *given.values())))
    assert_same_rows(fl.mine_angular(e, y, angle=25, **given), theirs)


@pytest.mark.parametrize("with_references", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_hardest_share_is_the_peers(kind: str, share: float, with_references: bool) -> None:
    """By distance: a pair is as hard as the same pair from its other end."""
    e, y = batch(kind)
    given = {}
    if with_references:
        r, z = batch("random")
        given = {"ref_embeddings": np.resize(r, (len(r), e.shape[1])), "ref_labels": z}
    arguments = [*map(torch.tensor, (e, y, *given.values()))]
    ours = fl.mine_hardest_share(e, y, filter_percentage=share, **given)
    theirs = miners.HDCMiner(share, distance=ExactLp())(*arguments)
    if with_references:
        assert_same_rows(ours, theirs)
    distances = ExactLp()(arguments[0], arguments[2] if with_references else None).numpy()
    labels = given.get("ref_labels", y)
    for k, same in ((0, True), (2, False)):
        assert ((y[ours[k]] == labels[ours[k + 1]]) == same).all()
        assert with_references or (ours[k] != ours[k + 1]).all()
        assert len(np.unique(np.stack(ours[k : k + 2], axis=1), axis=0)) == len(ours[k])
        found = distances[ours[k], ours[k + 1]]
        np.testing.assert_array_equal(found, np.sort(found)[:: -1 if same else 1])
        expected = np.sort(distances[theirs[k], theirs[k + 1]])
        # distances of float64, from dot products there and from differences here
        np.testing.assert_allclose(np.sort(found), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_bins_are_drawn_from_as_the_peer_does(kind: str) -> None:
    e, y = batch(kind)
    ours = fl.mine_uniform_histogram(e, y, num_bins=9, pos_per_bin=3, neg_per_bin=5, seed=1)
    x, t = torch.tensor(e), torch.tensor(y)
    theirs = miners.UniformHistogramMiner(9, 3, 5, distance=ExactLp())(x, t)
    distances = ExactLp()(x).numpy()
    own = np.eye(len(y), dtype=bool)
    for k, pairs in ((0, (y[:, None] == y) & ~own), (2, y[:, None] != y)):
        assert pairs[ours[k], ours[k + 1]].all()
        if not pairs.any():
            assert not len(ours[k])
            continue
        edges = np.linspace(distances[pairs].min(), distances[pairs].max(), 10)
        counts = [
            np.histogram(distances[found[k], found[k + 1]], edges)[0] for found in (ours, theirs)
        ]
        np.testing.assert_array_equal(*counts)


def test_draws_of_a_bin_are_uniform() -> None:
    e, y = batch("random")
    draws = 5000
    _, _, a, n = fl.mine_uniform_histogram(e, y, num_bins=4, pos_per_bin=1, neg_per_bin=draws)
    distances = ExactLp()(torch.tensor(e)).numpy()
    negative = y[:, None] != y
    edges = np.linspace(distances[negative].min(), distances[negative].max(), 5)
    counts = np.zeros_like(distances)
    np.add.at(counts, (a, n), 1)
    for k in range(4):
        inside = negative & (distances >= edges[k]) & (distances < edges[k + 1] + (k == 3))
        share = 1 / inside.sum()
        assert counts[inside].sum() == draws
        # six standard deviations of each of about a thousand shares
        assert np.abs(counts[inside] - draws * share).max() < 6 * (draws * share) ** 0.5 + 1


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


@pytest.mark.parametrize(("name", "options"), [*[case[:2] for case in PEERS], *OTHERS])
def test_blocks_do_not_matter(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
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
            lambda: fl.mine_easy_hard(np.ones((3, 2)), [0, 0, 1], allowed_pos_range=0.5),  # type: ignore[arg-type]
            TypeError,
            "allowed_pos_range is 0.5: expected two numbers",
        ),
        (
            lambda: fl.mine_hardest_share(np.ones((3, 2)), [0, 0, 1], filter_percentage=1.5),
            ValueError,
            "filter_percentage is 1.5: expected a number from 0 to 1",
        ),
        (
            lambda: fl.mine_angular(np.ones((3, 2)), [0, 0, 1], angle=95),
            ValueError,
            "angle is 95.*: expected a number from 0 to 90",
        ),
        (
            lambda: fl.mine_hard(np.ones((3, 2)), [0, 0, 1], limit=1.5),  # type: ignore[arg-type]
            TypeError,
            "limit is 1.5: expected an integer",
        ),
        *(
            (
                functools.partial(getattr(fl, name), np.ones((3, 2)), [0, 0, 1], limit=-1),
                ValueError,
                "limit is -1: expected a number of at least 0",
            )
            for name in ("mine_hard", "mine_hardest_share", "mine_uniform_histogram")
        ),
        *(
            (call, ValueError, "there are more than 16777216 pairs: expected no more than limit")
            for call in (
                lambda: fl.mine_uniform_histogram(
                    np.ones((3, 2)), [0, 0, 1], pos_per_bin=2**63 - 1
                ),
                lambda: fl.mine_uniform_histogram(
                    np.ones((3, 2)), [0, 0, 1], neg_per_bin=2**63 - 1
                ),
            )
        ),
    ],
)
def test_errors_say_what_is_wrong(
    call: Callable[[], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call()
