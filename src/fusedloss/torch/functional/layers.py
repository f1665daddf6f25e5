"""Losses of several tensors at once: penalties of parameters, distances of feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from fusedloss import _check, layers, regression
from fusedloss._lower.loss import lookup
from fusedloss.torch._autograd import expect_tensors
from fusedloss.torch._pointwise import own_loss
from fusedloss.torch.functional.regression import l1_loss, mse_loss

__all__ = [
    "l1_penalty",
    "l2_penalty",
    "perceptual_loss",
]

CRITERIA = {"mse": mse_loss, "l1": l1_loss}


def l1_penalty(params: Iterable[Tensor], strength: float) -> Tensor:
    """Lasso penalty, `strength` times the sum of absolute values; `fusedloss.l1_penalty`.

    Parameters
    ----------
    params : iterable of Tensor of floats
        Parameters of any shapes, such as ``module.parameters()``.
    strength : float
        The factor; not negative.

    Returns
    -------
    Tensor
        The penalty, a scalar.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.l1_penalty([torch.tensor([1.0, -2.0]), torch.tensor([[3.0]])], 0.5)
    tensor(3.)
    """
    return _penalty(regression.l1_loss, _absolute, params, strength)


def _absolute(w: Tensor, zero: Tensor) -> Tensor:
    return w.abs()


def l2_penalty(params: Iterable[Tensor], strength: float) -> Tensor:
    """Ridge penalty, `strength` times the sum of squares; `fusedloss.l2_penalty`.

    Parameters
    ----------
    params : iterable of Tensor of floats
        Parameters of any shapes, such as ``module.parameters()``.
    strength : float
        The factor; not negative.

    Returns
    -------
    Tensor
        The penalty, a scalar.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> F.l2_penalty([torch.tensor([1.0, -2.0]), torch.tensor([[3.0]])], 0.5)
    tensor(7.)
    """
    return _penalty(regression.mse_loss, _square, params, strength)


def _square(w: Tensor, zero: Tensor) -> Tensor:
    return w.square()


def _penalty(
    loss: Callable[..., object],
    formula: Callable[[Tensor, Tensor], Tensor],
    params: Iterable[Tensor],
    strength: float,
) -> Tensor:
    """Sum a loss of parameters against 0; the factor is a weight, and so in the gradients."""
    if not isinstance(params, Iterable):
        raise TypeError(f"params is {params!r}: expected an iterable of torch.Tensor")
    factor = torch.tensor(_check.not_negative("strength", strength), dtype=torch.float64)
    penalty = None
    for param in params:
        expect_tensors(param)
        zero = torch.zeros((), dtype=param.dtype, device=param.device)
        part = own_loss(loss, formula, (param, zero), factor.to(param.device), "sum")
        penalty = part if penalty is None else penalty + part
    return torch.zeros(()) if penalty is None else penalty


def perceptual_loss(
    features: Sequence[Tensor],
    target_features: Sequence[Tensor],
    *,
    weights: Sequence[float] | None = None,
    criterion: Literal["mse", "l1"] = "mse",
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Distance of two images in a network's features; `fusedloss.perceptual_loss`.

    Parameters
    ----------
    features : list or tuple of Tensor of floats
        What each layer makes of the image.
    target_features : list or tuple of Tensor
        What it makes of the image that is wanted, of the same shapes.
    weights : list or tuple of float, optional
        A weight for each layer; ones if absent.
    criterion : {"mse", "l1"}, default "mse"
        Squared or absolute differences.
    reduction : {"mean", "sum"}, default "mean"
        Of each layer's differences.

    Returns
    -------
    Tensor
        The loss, a scalar, differentiable in all features.

    See Also
    --------
    fusedloss.torch.PerceptualLoss : The same from the images and the network.

    References
    ----------
    J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses for real-time style transfer and
    super-resolution", ECCV 2016.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> features = [torch.ones(1, 2, 4, 4), torch.ones(1, 4, 2, 2)]
    >>> F.perceptual_loss(features, [torch.zeros_like(x) for x in features], weights=[1.0, 0.5])
    tensor(1.5000)
    """
    options = {"weights": weights, "criterion": criterion, "reduction": reduction}
    lower = lookup(layers.perceptual_loss).lower
    _, _, factors, mode, _ = lower(features, target_features, **options)[1]
    expect_tensors(*features, *target_features)
    distance = CRITERIA[criterion]
    parts = [
        factor * distance(x, t, reduction=mode)
        for x, t, factor in zip(features, target_features, factors, strict=True)
    ]
    return torch.stack(parts).sum() if parts else torch.zeros(())
