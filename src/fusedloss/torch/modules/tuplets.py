"""Losses of more than a pair of embeddings at once: tuples, triangles and distributions."""

from __future__ import annotations

from dataclasses import KW_ONLY

from fusedloss._types import Reduction, TupletReduction
from fusedloss.torch import functional
from fusedloss.torch.modules._fields import with_options
from fusedloss.torch.modules.metric import Labelled

__all__ = [
    "AngularLoss",
    "HistogramLoss",
    "InstanceLoss",
    "NPairsLoss",
]


@with_options
class NPairsLoss(Labelled):
    """N-pairs loss: `fusedloss.torch.functional.n_pairs_loss`.

    Parameters
    ----------
    normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import NPairsLoss
    >>> e = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]])
    >>> NPairsLoss()(e, torch.tensor([0, 0, 1, 1]))
    tensor(0.4782)
    """

    function = staticmethod(functional.n_pairs_loss)

    _: KW_ONLY
    normalize: bool = True
    reduction: TupletReduction = "mean"


@with_options
class InstanceLoss(Labelled):
    """Instance loss: `fusedloss.torch.functional.instance_loss`.

    Parameters
    ----------
    gamma, reduction, workspace
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import InstanceLoss
    >>> e = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> InstanceLoss(gamma=4.0)(e, torch.arange(3))
    tensor(0.3614)
    """

    function = staticmethod(functional.instance_loss)

    gamma: float = 64.0
    _: KW_ONLY
    reduction: Reduction = "mean"
    workspace: int | None = None


@with_options
class AngularLoss(Labelled):
    """Angular loss: `fusedloss.torch.functional.angular_loss`.

    Parameters
    ----------
    alpha, normalize, reduction
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AngularLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> AngularLoss()(e, y)
    tensor(0.8026)
    """

    function = staticmethod(functional.angular_loss)

    alpha: float = 40.0
    _: KW_ONLY
    normalize: bool = True
    reduction: TupletReduction = "mean"


@with_options
class HistogramLoss(Labelled):
    """Histogram loss: `fusedloss.torch.functional.histogram_loss`.

    Parameters
    ----------
    n_bins
        As in the function.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import HistogramLoss
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> HistogramLoss()(e, y)
    tensor(0.5000)
    """

    function = staticmethod(functional.histogram_loss)

    n_bins: int = 100
