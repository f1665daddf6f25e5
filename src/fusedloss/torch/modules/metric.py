"""Losses of pairs and triplets of embeddings, of which no matrix or list is made."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Literal

from torch import Tensor, nn

from fusedloss.metric import Distance, Mining, Reduction
from fusedloss.torch import functional
from fusedloss.torch.functional._types import Indices


class WithOptions(nn.Module):
    """A module whose options are its attributes."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._names = tuple(options)
        for name, option in options.items():
            setattr(self, name, option)

    def options(self) -> dict[str, Any]:
        """Return the options by name."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """Return the options."""
        return ", ".join(f"{name}={option!r}" for name, option in self.options().items())


class Labelled(WithOptions):
    """A loss of embeddings and their labels."""

    function: Callable[..., Tensor]

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: Indices = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss."""
        given = {
            "indices_tuple": indices_tuple,
            "ref_embeddings": ref_emb,
            "ref_labels": ref_labels,
            "sample_weight": sample_weight,
        }
        options = self.options()
        taken = signature(self.function).parameters
        for name, x in given.items():
            if x is not None and name not in taken:
                raise ValueError(f"{type(self).__name__} takes no {name}")
            if x is not None:
                options[name] = x
        return self.function(embeddings, labels, **options)


class TripletLoss(Labelled):
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

    def __init__(
        self,
        margin: float = 0.2,
        *,
        mining: Mining = "all",
        distance: Distance = "euclidean",
        p: float = 2.0,
        power: float = 1.0,
        soft: bool = False,
        normalize: bool = False,
        reduction: Reduction = "mean_nonzero",
    ) -> None:
        super().__init__(
            margin=margin,
            mining=mining,
            distance=distance,
            p=p,
            power=power,
            soft=soft,
            normalize=normalize,
            reduction=reduction,
        )


class ContrastiveLoss(Labelled):
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

    def __init__(
        self,
        pos_margin: float = 0.0,
        neg_margin: float = 1.0,
        *,
        distance: Distance = "euclidean",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean_nonzero",
    ) -> None:
        super().__init__(
            pos_margin=pos_margin,
            neg_margin=neg_margin,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


class MarginLoss(Labelled):
    """Margin loss of distances around a boundary: `fusedloss.torch.functional.margin_loss`.

    Parameters
    ----------
    margin, beta, distance, p, power, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MarginLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> MarginLoss()(e, y)
    tensor(0.7675)
    """

    function = staticmethod(functional.margin_loss)

    def __init__(
        self,
        margin: float = 0.2,
        beta: float | Tensor = 1.2,
        *,
        distance: Distance = "euclidean",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean_nonzero",
    ) -> None:
        super().__init__(
            margin=margin,
            beta=beta,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


class LiftedStructureLoss(Labelled):
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

    def __init__(
        self,
        neg_margin: float = 1.0,
        pos_margin: float = 0.0,
        *,
        distance: Distance = "euclidean",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Literal["mean_nonzero", "mean", "sum"] = "mean",
    ) -> None:
        super().__init__(
            neg_margin=neg_margin,
            pos_margin=pos_margin,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


class GeneralizedLiftedStructureLoss(Labelled):
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

    def __init__(
        self,
        neg_margin: float = 1.0,
        pos_margin: float = 0.0,
        *,
        distance: Distance = "euclidean",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            neg_margin=neg_margin,
            pos_margin=pos_margin,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


class NCALoss(Labelled):
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

    def __init__(
        self,
        softmax_scale: float = 1.0,
        *,
        distance: Distance = "squared_euclidean",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            softmax_scale=softmax_scale,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


class RankedListLoss(Labelled):
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

    def __init__(
        self,
        margin: float = 0.4,
        Tn: float = 10.0,
        imbalance: float = 0.5,
        alpha: float | None = None,
        Tp: float = 0.0,
        *,
        distance: Distance = "euclidean",
        p: float = 2.0,
        power: float = 1.0,
        normalize: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            margin=margin,
            Tn=Tn,
            imbalance=imbalance,
            alpha=alpha,
            Tp=Tp,
            distance=distance,
            p=p,
            power=power,
            normalize=normalize,
            reduction=reduction,
        )


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

    def __init__(
        self,
        num_bins: int = 10,
        *,
        normalize: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(num_bins=num_bins, normalize=normalize, reduction=reduction)
