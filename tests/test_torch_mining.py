"""Miners of tensors: those of arrays, and beside pytorch-metric-learning's in training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import miners
from torch import Tensor

import fusedloss as fl
import fusedloss.torch as front
from pair_cases import EVERY, EXACT, LISTED, PEERS, REDUCERS, ExactLp, assert_same, batch, peer

#: Miners by their name here and there, options, and the same of arrays.
MINERS: dict[str, tuple[dict[str, Any], str]] = {
    "TripletMarginMiner": ({"margin": 0.05, "type_of_triplets": "semihard"}, "mine_triplets"),
    "BatchHardMiner": ({}, "mine_hard"),
    "BatchEasyHardMiner": ({"neg_strategy": "hard"}, "mine_easy_hard"),
    "MultiSimilarityMiner": ({"epsilon": 0.2}, "mine_multi_similarity"),
    "PairMarginMiner": ({"pos_margin": 1.1, "neg_margin": 1.3}, "mine_pair_margin"),
    "AngularMiner": ({"angle": 38}, "mine_angular"),
    "HDCMiner": ({"filter_percentage": 0.3}, "mine_hardest_share"),
    "DistanceWeightedMiner": ({"cutoff": 0.6}, "mine_distance_weighted"),
    "UniformHistogramMiner": ({"num_bins": 8, "pos_per_bin": 4}, "mine_uniform_histogram"),
}
RANDOM = {"DistanceWeightedMiner", "UniformHistogramMiner"}
#: Which end of a pair is the anchor is a matter of rounding there: for losses of pairs alone.
OF_PAIRS = {"HDCMiner"}


def seeded(name: str) -> dict[str, int]:
    return {"seed": 0} if name in RANDOM else {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("with_references", [False, True])
@pytest.mark.parametrize("name", MINERS)
def test_indices_are_those_of_arrays(name: str, with_references: bool, dtype: torch.dtype) -> None:
    options, function = MINERS[name]
    e, y = batch("random")
    tensors = [torch.tensor(e, dtype=dtype, requires_grad=True), torch.tensor(y)]
    if with_references:
        tensors += [torch.tensor(e[::-1] + 0.5, dtype=dtype), torch.tensor(y[::-1].copy())]
    found = getattr(front, name)(**options, **seeded(name))(*tensors)
    names = ("embeddings", "labels", "ref_embeddings", "ref_labels")
    arrays = [x.detach().double().numpy() if x.is_floating_point() else x.numpy() for x in tensors]
    expected = getattr(fl, function)(
        **dict(zip(names, arrays, strict=False)), **options, **seeded(name)
    )
    assert isinstance(found, tuple)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype is torch.int64
        np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("name", MINERS)
def test_signatures_are_the_peers(name: str) -> None:
    """What they take is taken, in their order and with their defaults; their calls are ours."""
    ours, theirs = getattr(front, name), getattr(miners, name)
    names = [inspect.signature(each.__init__).parameters for each in (ours, theirs)]
    shared = [n for n in names[1] if n not in ("self", "kwargs")]
    assert [n for n in names[0] if n in shared] == shared
    assert all(names[0][n].default == names[1][n].default for n in shared)
    calls = [list(inspect.signature(each.forward).parameters) for each in (ours, theirs)]
    assert calls[0] == calls[1]


def test_draws_go_on_from_their_seed() -> None:
    e, y = batch("random")
    for name in RANDOM:
        miner, again = (getattr(front, name)(seed=3) for _ in range(2))
        first, second = (miner(torch.tensor(e), torch.tensor(y)) for _ in range(2))
        assert any(not torch.equal(x, z) for x, z in zip(first, second, strict=True))
        for x, z in zip(first, again(torch.tensor(e), torch.tensor(y)), strict=True):
            assert torch.equal(x, z)


def test_a_miner_says_what_is_wrong() -> None:
    with pytest.raises(TypeError, match=r"expected a torch\.Tensor, not list"):
        front.BatchHardMiner()([[1.0]], torch.tensor([0]))
    with pytest.raises(ValueError, match=r"labels has shape \(1,\): expected \(2,\)"):
        front.BatchHardMiner()(torch.ones(2, 3), torch.tensor([0]))
    with pytest.raises(TypeError, match="margin is 'x': expected a number"):
        front.TripletMarginMiner("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit is -1"):
        front.HDCMiner(limit=-1)
    assert repr(front.PairMarginMiner(0.1)).startswith("PairMarginMiner(pos_margin=0.1, neg_")


def trained(miner: Callable[..., Any], loss: Callable[..., Tensor]) -> Any:
    """The weight of a layer after a few steps."""
    e, y = batch("random")
    weight = torch.tensor(np.random.default_rng(0).standard_normal((11, 8)), requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        embeddings, labels = torch.tensor(e) @ weight, torch.tensor(y)
        loss(embeddings, labels, miner(embeddings, labels)).backward()
        optimizer.step()
    return weight.detach().numpy()


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("loss", sorted(LISTED))
def test_training_is_the_same_with_either_package(loss: str, name: str) -> None:
    if name in OF_PAIRS and loss not in ("contrastive_loss", "lifted_structure_loss"):
        return
    if name == "MultiSimilarityMiner" and loss == "n_pairs_loss":
        return  # which takes a label's first pair, and the miners' are in another order
    options = dict(EVERY[loss])
    reducer = {}
    if loss == "supcon_loss":  # the peer counts pairs that are alone above 0 or not, by rounding
        options, reducer = options | {"reduction": "mean"}, {"reducer": REDUCERS["mean"]()}
    of_peer = peer(loss, EVERY[loss], **reducer)
    module = "TripletLoss" if loss == "triplet_loss" else PEERS[loss][1].__name__
    ours = getattr(front, module)(**options)
    mine = lambda: getattr(front, name)(**MINERS[name][0], **seeded(name))  # noqa: E731
    expected = trained(mine(), of_peer)
    runs = [trained(mine(), ours)]
    if name not in RANDOM:
        distance = (
            {} if name in ("MultiSimilarityMiner", "AngularMiner") else {"distance": ExactLp()}
        )
        theirs = getattr(miners, name)(**MINERS[name][0], **distance)
        runs += [trained(theirs, ours), trained(theirs, of_peer)]
    for weight in runs:
        assert_same(weight, expected, 100 * EXACT)  # of gradients, over three steps
