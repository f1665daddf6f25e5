"""Miners: which pairs and triplets of a batch a loss is taken of, as tensors of indices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fusedloss import _check, mining
from fusedloss._types import Distance
from fusedloss.mining import Range, Strategy
from fusedloss.torch._autograd import array, expect_tensors
from fusedloss.torch._bfloat16 import numbers_of_bits
from fusedloss.torch.modules._fields import Module, with_options

__all__ = [
    "AngularMiner",
    "BatchEasyHardMiner",
    "BatchHardMiner",
    "DistanceWeightedMiner",
    "HDCMiner",
    "MultiSimilarityMiner",
    "PairMarginMiner",
    "TripletMarginMiner",
    "UniformHistogramMiner",
]


class Miner(Module):
    """A miner: its call returns what a loss takes as third argument."""

    mine: ClassVar[Callable[..., tuple[Any, ...]]]  # the same of arrays

    def check(self) -> None:
        """Raise what a call raises for options that are wrong whatever the input."""
        self.mine(np.empty((0, 1)), np.empty(0, np.int64), **self.keywords())

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return (anchors, positives, negatives), or (anchors, positives, anchors, negatives)."""
        given = {"ref_embeddings": ref_emb, "ref_labels": ref_labels}
        tensors = {"embeddings": embeddings, "labels": labels} | {
            name: x for name, x in given.items() if x is not None
        }
        expect_tensors(*tensors.values())
        arrays = {name: numbers_of_bits(array(x.detach().cpu())) for name, x in tensors.items()}
        found = self.mine(**arrays, **self.keywords())
        return tuple(torch.from_numpy(x).to(embeddings.device) for x in found)


@with_options
class OfDistances(Miner):
    """A miner by the distances of pairs."""

    _: KW_ONLY
    distance: Distance = "euclidean"
    p: float = 2.0
    power: float = 1.0
    normalize: bool = True
    limit: int = mining.LIMIT


class Random(Miner):
    """A miner that draws: from one sequence of random numbers in all calls."""

    seed: int | np.random.Generator | None

    def __post_init__(self) -> None:
        """Make a generator of the seed."""
        self.seed = _check.generator("seed", self.seed)
        super().__post_init__()


@with_options
class TripletMarginMiner(OfDistances):
    """Triplets by a margin: `fusedloss.mine_triplets`.

    Parameters
    ----------
    margin, type_of_triplets, distance, p, power, normalize, limit
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TripletMarginMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> TripletMarginMiner()(e, y)
    (tensor([1]), tensor([0]), tensor([2]))
    """

    mine = staticmethod(mining.mine_triplets)

    margin: float = 0.2
    type_of_triplets: Literal["all", "hard", "semihard", "easy"] = "all"


@with_options
class BatchHardMiner(OfDistances):
    """Each anchor's farthest positive and nearest negative: `fusedloss.mine_hard`.

    Parameters
    ----------
    distance, p, power, normalize, limit
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BatchHardMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> BatchHardMiner()(e, y)
    (tensor([0, 1]), tensor([1, 0]), tensor([2, 2]))
    """

    mine = staticmethod(mining.mine_hard)


@with_options
class BatchEasyHardMiner(OfDistances):
    """Each anchor's nearest or farthest positive and negative: `fusedloss.mine_easy_hard`.

    Parameters
    ----------
    pos_strategy, neg_strategy, allowed_pos_range, allowed_neg_range, distance, p, power,
    normalize, limit
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import BatchEasyHardMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> BatchEasyHardMiner()(e, y)
    (tensor([0]), tensor([1]), tensor([0]), tensor([2]))
    """

    mine = staticmethod(mining.mine_easy_hard)

    pos_strategy: Strategy = "easy"
    neg_strategy: Strategy = "semihard"
    allowed_pos_range: Range | None = None
    allowed_neg_range: Range | None = None


@with_options
class MultiSimilarityMiner(OfDistances):
    """Positives beyond the nearest negative, and the like: `fusedloss.mine_multi_similarity`.

    Parameters
    ----------
    epsilon, distance, p, power, normalize, limit
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MultiSimilarityMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> MultiSimilarityMiner()(e, y)
    (tensor([1]), tensor([0]), tensor([1]), tensor([2]))
    """

    mine = staticmethod(mining.mine_multi_similarity)

    epsilon: float = 0.1
    _: KW_ONLY
    distance: Distance = "cosine"


@with_options
class PairMarginMiner(OfDistances):
    """Pairs by two margins: `fusedloss.mine_pair_margin`.

    Parameters
    ----------
    pos_margin, neg_margin, distance, p, power, normalize, limit
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import PairMarginMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> PairMarginMiner()(e, y)
    (tensor([0, 1]), tensor([1, 0]), tensor([1, 2]), tensor([2, 1]))
    """

    mine = staticmethod(mining.mine_pair_margin)

    pos_margin: float = 0.2
    neg_margin: float = 0.8


@with_options
class AngularMiner(Miner):
    """Triplets by an angle: `fusedloss.mine_angular`.

    Parameters
    ----------
    angle, normalize, limit
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AngularMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> AngularMiner()(e, y)
    (tensor([0, 1]), tensor([1, 0]), tensor([2, 2]))
    """

    mine = staticmethod(mining.mine_angular)

    angle: float = 20.0
    _: KW_ONLY
    normalize: bool = False
    limit: int = mining.LIMIT


@with_options
class DistanceWeightedMiner(Random):
    """Negatives of all distances equally often: `fusedloss.mine_distance_weighted`.

    Parameters
    ----------
    cutoff, nonzero_loss_cutoff, seed, limit
        As in the function.
        A number as `seed` is that of the first call; the others go on from there.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import DistanceWeightedMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> DistanceWeightedMiner(seed=0)(e, y)
    (tensor([1, 1]), tensor([0, 0]), tensor([2, 2]))
    """

    mine = staticmethod(mining.mine_distance_weighted)

    cutoff: float = 0.5
    nonzero_loss_cutoff: float = 1.4
    _: KW_ONLY
    seed: int | np.random.Generator | None = None
    limit: int = mining.LIMIT


@with_options
class HDCMiner(OfDistances):
    """The hardest share of all pairs: `fusedloss.mine_hardest_share`.

    Parameters
    ----------
    filter_percentage, distance, p, power, normalize, limit
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import HDCMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> HDCMiner()(e, y)
    (tensor([0]), tensor([1]), tensor([1, 2]), tensor([2, 1]))
    """

    mine = staticmethod(mining.mine_hardest_share)

    filter_percentage: float = 0.5


@with_options
class UniformHistogramMiner(Random, OfDistances):
    """Pairs of all distances equally often: `fusedloss.mine_uniform_histogram`.

    Parameters
    ----------
    num_bins, pos_per_bin, neg_per_bin, seed, distance, p, power, normalize, limit
        As in the function.
        A number as `seed` is that of the first call; the others go on from there.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import UniformHistogramMiner
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> UniformHistogramMiner(pos_per_bin=2, neg_per_bin=1, seed=0)(e, y)
    (tensor([1, 1]), tensor([0, 0]), tensor([2, 0]), tensor([1, 2]))
    """

    mine = staticmethod(mining.mine_uniform_histogram)

    num_bins: int = 100
    pos_per_bin: int = 10
    neg_per_bin: int = 10
    _: KW_ONLY
    seed: int | np.random.Generator | None = None
