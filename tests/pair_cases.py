"""Losses of pairs, and what pytorch-metric-learning calls them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

from parts import Array


class ExactLp(distances.LpDistance):
    """Distances without the cancellation of torch.cdist's default, so that duplicates are at 0."""

    def compute_mat(self, query_emb: Any, ref_emb: Any) -> Any:
        mode = "donot_use_mm_for_euclid_dist"
        return torch.cdist(query_emb, ref_emb, p=self.p, compute_mode=mode)


class SmoothAPLoss(losses.SmoothAPLoss):
    """Of labels in any order and number, in the embeddings' precision.

    The peer's own takes n labels of n embeddings each, in order: test_metric.py holds it to this.
    """

    def compute_loss(
        self, embeddings: Any, labels: Any, indices_tuple: Any, ref_emb: Any, ref_labels: Any
    ) -> Any:
        s = self.distance(embeddings)
        own = (labels[:, None] == labels).to(s.dtype)
        others = 1 - torch.eye(len(s), dtype=s.dtype)
        ahead = torch.sigmoid((s[:, None] - s[:, :, None]) / self.temperature) * others
        precision = (1 + (ahead * own[:, None]).sum(2)) / (1 + ahead.sum(2))
        weights = lmu.convert_to_weights(indices_tuple, labels, dtype=s.dtype)
        each = (1 - (precision * own).sum(1) / own.sum(1)) * weights
        kind = {"losses": each, "indices": torch.arange(len(s)), "reduction_type": "element"}
        return {"ap_loss": kind}

    def _sub_loss_names(self) -> list[str]:
        return ["ap_loss"]


class ThresholdConsistentMarginLoss(losses.ContrastiveLoss):  # type: ignore[misc]
    """As losses of pairs, which may be reduced in any way, and with references.

    The peer's own has one mean and none: test_metric.py holds it to this.
    """

    def __init__(
        self,
        lambda_plus: float = 1.0,
        lambda_minus: float = 1.0,
        margin_plus: float = 0.9,
        margin_minus: float = 0.5,
        **more: Any,
    ) -> None:
        super().__init__(margin_plus, margin_minus, **more)
        self.weights = {"pos": lambda_plus, "neg": lambda_minus}

    def get_per_pair_loss(self, pair_dists: Any, pos_or_neg: str) -> Any:
        return self.weights[pos_or_neg] * super().get_per_pair_loss(pair_dists, pos_or_neg)

    def get_default_distance(self) -> Any:
        return distances.CosineSimilarity()


REDUCERS = {
    "mean_nonzero": reducers.AvgNonZeroReducer,
    "mean": reducers.MeanReducer,
    "sum": reducers.SumReducer,
}

DISTANCES: dict[str, Callable[[bool], Any]] = {
    "euclidean": lambda normalize: ExactLp(normalize_embeddings=normalize),
    "squared_euclidean": lambda normalize: ExactLp(normalize_embeddings=normalize, power=2),
    "cosine": lambda normalize: (
        distances.CosineSimilarity()
        if normalize
        else distances.DotProductSimilarity(normalize_embeddings=False)
    ),
}

#: Losses, their options, and the peer's of the same options. (The peer's margin loss rounds beta to
#: float32, its histogram loss the places of nodes; its circle loss cuts off the logarithm from 20
#: on.)
PEERS: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "contrastive_loss": ({"pos_margin": 0.3, "neg_margin": 1.1}, losses.ContrastiveLoss),
    "margin_loss": ({"margin": 0.2, "beta": 1.25}, losses.MarginLoss),
    "ntxent_loss": ({"temperature": 0.2}, losses.NTXentLoss),
    "supcon_loss": ({"temperature": 0.2}, losses.SupConLoss),
    "multi_similarity_loss": ({"alpha": 2, "beta": 20, "base": 0.4}, losses.MultiSimilarityLoss),
    "circle_loss": ({"m": 0.3, "gamma": 2}, losses.CircleLoss),
    "lifted_structure_loss": ({"neg_margin": 1.2, "pos_margin": 0.1}, losses.LiftedStructureLoss),
    "generalized_lifted_structure_loss": (
        {"neg_margin": 1.2, "pos_margin": 0.1},
        losses.GeneralizedLiftedStructureLoss,
    ),
    "nca_loss": ({"softmax_scale": 3}, losses.NCALoss),
    "intra_pair_variance_loss": (
        {"pos_eps": 0.02, "neg_eps": 0.05},
        losses.IntraPairVarianceLoss,
    ),
    "threshold_consistent_margin_loss": (
        {"lambda_plus": 0.5, "lambda_minus": 2.0, "margin_plus": 0.4, "margin_minus": 0.1},
        ThresholdConsistentMarginLoss,
    ),
    "tuplet_margin_loss": ({"margin": 6.0, "scale": 20}, losses.TupletMarginLoss),
    "ranked_list_loss": (
        {"margin": 0.4, "Tn": 3.0, "imbalance": 0.4, "Tp": 1.0},
        losses.RankedListLoss,
    ),
    "fast_ap_loss": ({"num_bins": 7}, losses.FastAPLoss),
    "smooth_ap_loss": ({"temperature": 0.05}, SmoothAPLoss),
    "pnp_loss": ({"b": 3, "alpha": 2, "anneal": 0.05, "variant": "Iu"}, losses.PNPLoss),
    "n_pairs_loss": ({}, losses.NPairsLoss),
    "angular_loss": ({"alpha": 35}, losses.AngularLoss),
    "histogram_loss": ({"n_bins": 16}, losses.HistogramLoss),
}

LP = {
    "contrastive_loss",
    "margin_loss",
    "lifted_structure_loss",
    "generalized_lifted_structure_loss",
    "ranked_list_loss",
}
SQUARED = {"nca_loss", "fast_ap_loss"}
TUPLETS = {"n_pairs_loss", "angular_loss", "histogram_loss"}
#: Losses of the ranks in a batch.
OF_RANKS = {"smooth_ap_loss", "pnp_loss"}
WITHOUT_REFERENCE = {
    "lifted_structure_loss",
    "ranked_list_loss",
    "fast_ap_loss",
    *TUPLETS,
    *OF_RANKS,
}
#: Losses of pairs that belong to two anchors.
WITHOUT_NONE = {"lifted_structure_loss", "n_pairs_loss", "angular_loss"}
WITHOUT_REDUCTION = {"histogram_loss"}
#: Losses that take index tuples.
LISTED = {
    "contrastive_loss",
    "margin_loss",
    "ntxent_loss",
    "supcon_loss",
    "multi_similarity_loss",
    "circle_loss",
    "generalized_lifted_structure_loss",
    "lifted_structure_loss",
    "nca_loss",
    "fast_ap_loss",
    "smooth_ap_loss",
    "histogram_loss",
    "intra_pair_variance_loss",
    "threshold_consistent_margin_loss",
    "tuplet_margin_loss",
    "n_pairs_loss",
    "angular_loss",
    "triplet_loss",
}
#: Losses of all pairs, to which index tuples say how much an anchor counts.
WEIGHED = {"nca_loss", "fast_ap_loss", "smooth_ap_loss"}
#: Losses that can be of any distance, and those of similarities among them.
OF_SIMILARITIES = {
    "ntxent_loss",
    "supcon_loss",
    "multi_similarity_loss",
    "intra_pair_variance_loss",
}
OF_DISTANCES = {*LP, "nca_loss", "triplet_loss"}


def lp(p: float, power: float) -> dict[str, Any]:
    return {"distance": "lp", "p": p, "power": power}


#: Distances by name, and the peer's.
METRICS: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "euclidean": ({"distance": "euclidean"}, ExactLp),
    "squared_euclidean": ({"distance": "squared_euclidean"}, partial(ExactLp, power=2)),
    "l1": (lp(1, 1), partial(ExactLp, p=1)),
    "l1 squared": (lp(1, 2), partial(ExactLp, p=1, power=2)),
    "l1.5": (lp(1.5, 1), partial(ExactLp, p=1.5)),
    "l2 cubed": (lp(2, 3), partial(ExactLp, p=2, power=3)),
    "l2": (lp(2, 1), partial(ExactLp, p=2)),
    "l2 squared": (lp(2, 2), partial(ExactLp, p=2, power=2)),
    "l3 cubed": (lp(3, 3), partial(ExactLp, p=3, power=3)),
    "snr": ({"distance": "snr"}, distances.SNRDistance),
}


def batch(kind: str) -> tuple[Array, Array]:
    """The embeddings and labels of a kind, always the same."""
    rng = np.random.default_rng(list(kind.encode()))
    n, d, classes = {"large": (170, 40, 30), "few": (140, 9, 2), "wide": (50, 1100, 4)}.get(
        kind, (37, 11, 5)
    )
    e = rng.standard_normal((n, d))
    y = rng.integers(0, classes, n)
    if kind == "duplicates":
        e[3], e[5], e[9] = e[4], e[6], e[4]
        y[3] = y[4]
        y[5] = y[6] + 1
    if kind == "one class":
        y[:] = 7
    if kind == "distinct":
        y = np.arange(n)
    if kind == "one":
        return e[:1], y[:1]
    return e, y


BATCHES = ("random", "large", "few", "wide", "duplicates", "one class", "distinct", "one")


def indices(kind: str, y: Array, z: Array | None = None) -> tuple[Array, ...]:
    """Some triplets or pairs of labels y, with references of labels z; a few come twice."""
    rng = np.random.default_rng(3)
    same = y[:, None] == (y if z is None else z)
    negative = np.argwhere(~same)
    positive = np.argwhere(same & ~np.eye(len(y), dtype=bool) if z is None else same)
    positive = positive[rng.integers(0, len(positive), 50)]
    if kind == "triplets":
        chosen = [rng.choice(negative[negative[:, 0] == a]) for a in positive[:, 0]]
        return *positive.T, np.array(chosen)[:, 1]
    return *positive.T, *negative[rng.integers(0, len(negative), 70)].T


def peer(loss: str, options: dict[str, Any], **more: Any) -> Any:
    if loss == "triplet_loss":
        more.setdefault("distance", ExactLp(normalize_embeddings=False))
        return losses.TripletMarginLoss(**options, **more)
    if loss in LP:
        more.setdefault("distance", ExactLp())
    if loss in SQUARED:
        more.setdefault("distance", ExactLp(power=2))
    return PEERS[loss][1](**options, **more)


def of_peer(
    function: Callable[..., Any], e: Array, *arguments: Any, wanted: tuple[Any, ...] = ()
) -> tuple[float, Any]:
    """The peer's value and gradients, by the embeddings first."""
    x = torch.tensor(e, dtype=torch.float64, requires_grad=True)
    value = function(x, *arguments)
    if not value.requires_grad:
        return float(value), np.zeros_like(e)
    gradients = torch.autograd.grad(value, (x, *wanted), allow_unused=True)
    arrays = [np.zeros(e.shape) if g is None else g.numpy() for g in gradients]
    return float(value.detach()), arrays[0] if not wanted else arrays


def assert_same(ours: Any, theirs: Any, tolerance: float) -> None:
    """Equal relative to the largest element; the gradient of a loss that vanishes is tiny.

    Where the peer has NaN, the derivative of an angle of 0 or the mean of nothing, any number does.
    """
    assert np.isfinite(ours).all()
    theirs = np.where(np.isfinite(theirs), theirs, ours)
    size = max(np.abs(theirs).max(initial=0), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * size)


#: Sums of some hundred products in double; the peers' losses have a few roundings more.
EXACT = 1e-10
#: Similarities and distances are rounded to 2^-24, their square roots to sqrt(2^-24 / 2^8) at worst
#: (closer pairs are computed from differences), and enter exponents with factors of 20.
SINGLE = 1e-3


def mined(mining: str, distance: Any, margin: float) -> Any:
    if mining == "semihard":
        return miners.TripletMarginMiner(margin, "semihard", distance=distance)
    if mining == "hard":
        return miners.BatchHardMiner(distance=distance)
    if mining == "easy":
        return miners.BatchEasyHardMiner("easy", "hard", distance=distance)
    return lambda e, y: None


EVERY = {**{name: options for name, (options, _) in PEERS.items()}, "triplet_loss": {"margin": 0.4}}
