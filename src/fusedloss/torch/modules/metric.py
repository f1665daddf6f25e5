"""Losses of pairs and triplets of embeddings, without a matrix of pairs or a list of triplets."""

from __future__ import annotations

from dataclasses import KW_ONLY
from inspect import signature
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fusedloss import _check
from fusedloss._types import Distance, Mining, PairReduction
from fusedloss.torch import functional
from fusedloss.torch.functional._types import Indices
from fusedloss.torch.modules._fields import Module, labels, ones, with_options

__all__ = [
    "ContrastiveLoss",
    "FastAPLoss",
    "GeneralizedLiftedStructureLoss",
    "LiftedStructureLoss",
    "MarginLoss",
    "NCALoss",
    "RankedListLoss",
    "TripletLoss",
]


class Labelled(Module):
    """A loss of embeddings and their labels."""

    trial = (ones(2, 1), labels(2))

    _taken: ClassVar[frozenset[str]]  # the arguments of the function

    def __init_subclass__(cls) -> None:
        """Look up once what the function takes."""
        if "function" in vars(cls):
            cls._taken = frozenset(signature(cls.function).parameters)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Indices = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; with an index tuple, labels may be absent."""
        optional: dict[str, Any] = {
            "indices_tuple": indices_tuple,
            "ref_embeddings": ref_emb,
            "ref_labels": ref_labels,
            "sample_weight": sample_weight,
        }
        given = {name: x for name, x in optional.items() if x is not None}
        for name in given:
            if name not in self._taken:
                raise ValueError(f"{type(self).__name__} takes no {name}")
        return self.call(embeddings, labels, **given)


@with_options
class OfDistances(Labelled):
    """A loss of the distances, or of the similarities, of pairs."""

    _: KW_ONLY
    distance: Distance = "euclidean"
    p: float = 2.0
    power: float = 1.0
    normalize: bool = True
    reduction: PairReduction = "mean"


@with_options
class TripletLoss(OfDistances):
    """Triplet loss over the triplets of a batch: `fusedloss.torch.functional.triplet_loss`.

    Parameters
    ----------
    margin, mining, distance, p, power, soft, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import TripletLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> TripletLoss(margin=1.0)(e, y)
    tensor(0.8711)
    """

    function = staticmethod(functional.triplet_loss)

    margin: float = 0.2
    _: KW_ONLY
    mining: Mining = "all"
    soft: bool = False
    normalize: bool = False
    reduction: PairReduction = "mean_nonzero"


@with_options
class ContrastiveLoss(OfDistances):
    """Contrastive loss of pairs' distances: `fusedloss.torch.functional.contrastive_loss`.

    Parameters
    ----------
    pos_margin, neg_margin, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ContrastiveLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> ContrastiveLoss()(e, y)
    tensor(1.2620)
    """

    function = staticmethod(functional.contrastive_loss)

    pos_margin: float = 0.0
    neg_margin: float = 1.0
    _: KW_ONLY
    reduction: PairReduction = "mean_nonzero"


@with_options
class MarginLoss(OfDistances):
    """Margin loss of distances around a boundary: `fusedloss.torch.functional.margin_loss`.

    Parameters
    ----------
    margin, beta, distance, p, power, normalize, reduction
        As in the function; a Parameter `beta` is learnt.
    learn_beta : bool, default False
        Whether to make a Parameter of `beta`.
    num_classes : int, optional
        The number of classes, to have a beta of each: `beta` at first.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MarginLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> MarginLoss()(e, y)
    tensor(0.7675)
    """

    function = staticmethod(functional.margin_loss)
    learnable = ("beta",)

    of_module = ("learn_beta", "num_classes")

    margin: float = 0.2
    beta: float | Tensor = 1.2
    learn_beta: bool = False
    num_classes: int | None = None
    _: KW_ONLY
    reduction: PairReduction = "mean_nonzero"

    def __post_init__(self) -> None:
        """Make a tensor of beta where it is learnt, or one of each class."""
        beta: float | Tensor = self.beta
        if self.num_classes is not None:
            count = _check.integer("num_classes", self.num_classes)
            if count < 1:
                raise ValueError(f"num_classes is {count}: expected a positive number")
            if not isinstance(beta, Tensor):
                beta = torch.full((count,), _check.finite("beta", beta))
            elif beta.shape != (count,):
                raise ValueError(
                    f"beta has shape {tuple(beta.shape)}: expected ({count},), one per class"
                )
        if _check.flag("learn_beta", self.learn_beta) and not isinstance(beta, nn.Parameter):
            tensor = beta if isinstance(beta, Tensor) else torch.tensor(_check.finite("beta", beta))
            beta = nn.Parameter(tensor.reshape(-1))
        self.beta = beta
        super().__post_init__()


@with_options
class LiftedStructureLoss(OfDistances):
    """Lifted structure loss: `fusedloss.torch.functional.lifted_structure_loss`.

    Parameters
    ----------
    neg_margin, pos_margin, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LiftedStructureLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> LiftedStructureLoss()(e, y)
    tensor(1.3428)
    """

    function = staticmethod(functional.lifted_structure_loss)

    neg_margin: float = 1.0
    pos_margin: float = 0.0
    _: KW_ONLY


@with_options
class GeneralizedLiftedStructureLoss(OfDistances):
    """Its soft maxima: `fusedloss.torch.functional.generalized_lifted_structure_loss`.

    Parameters
    ----------
    neg_margin, pos_margin, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import GeneralizedLiftedStructureLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> GeneralizedLiftedStructureLoss()(e, y)
    tensor(0.8288)
    """

    function = staticmethod(functional.generalized_lifted_structure_loss)

    neg_margin: float = 1.0
    pos_margin: float = 0.0


@with_options
class NCALoss(OfDistances):
    """Neighbourhood component analysis: `fusedloss.torch.functional.nca_loss`.

    Parameters
    ----------
    softmax_scale, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import NCALoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> NCALoss()(e, y)
    tensor(0.5881)
    """

    function = staticmethod(functional.nca_loss)

    softmax_scale: float = 1.0
    _: KW_ONLY
    distance: Distance = "squared_euclidean"


@with_options
class RankedListLoss(OfDistances):
    """Ranked list loss: `fusedloss.torch.functional.ranked_list_loss`.

    Parameters
    ----------
    margin, Tn, imbalance, alpha, Tp, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import RankedListLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> RankedListLoss()(e, y)
    tensor(0.2207)
    """

    function = staticmethod(functional.ranked_list_loss)

    margin: float = 0.4
    Tn: float = 10.0
    imbalance: float = 0.5
    alpha: float | None = None
    Tp: float = 0.0


@with_options
class FastAPLoss(Labelled):
    """Average precision by a soft histogram: `fusedloss.torch.functional.fast_ap_loss`.

    Parameters
    ----------
    num_bins, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import FastAPLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> FastAPLoss()(e, y)
    tensor(0.2500)
    """

    function = staticmethod(functional.fast_ap_loss)

    num_bins: int = 10
    _: KW_ONLY
    normalize: bool = True
    reduction: PairReduction = "mean"
