"""Margin-softmax heads: losses on angles between embeddings and the weights of their classes."""

from __future__ import annotations

from torch import Tensor

from fusedloss import margin as heads
from fusedloss._types import Gradient, Reduction
from fusedloss.torch._margin import head

__all__ = [
    "a_softmax_loss",
    "adaface_loss",
    "arcface_loss",
    "combined_margin_loss",
    "cosface_loss",
    "curricularface_loss",
    "l2_softmax_loss",
    "l_softmax_loss",
    "magface_loss",
    "margin_cross_entropy",
    "normface_loss",
    "sphereface_loss",
    "subcenter_arcface_loss",
]


def arcface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    easy_margin: bool = False,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """ArcFace: an additive angular margin; `fusedloss.arcface_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale, easy_margin
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.arcface_loss(rows, weight, torch.tensor([0, 1]), scale=4.0)
    tensor(0.2422)
    """
    return head(
        heads.arcface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin, "easy_margin": easy_margin},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def cosface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """CosFace: an additive margin on the cosine; `fusedloss.cosface_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.cosface_loss(rows, weight, torch.tensor([0, 1]), scale=4.0)
    tensor(0.3969)
    """
    return head(
        heads.cosface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def combined_margin_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    m1: float = 1.0,
    m2: float = 0.5,
    m3: float = 0.0,
    scale: float = 64.0,
    interclass_filtering_threshold: float = 0.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """All three margins at once; `fusedloss.combined_margin_loss`.

    Parameters
    ----------
    embeddings, weight, target, m1, m2, m3, scale, interclass_filtering_threshold
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.combined_margin_loss(rows, weight, torch.tensor([0, 1]), scale=4.0)
    tensor(0.2422)
    """
    return head(
        heads.combined_margin_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {
            "m1": m1,
            "m2": m2,
            "m3": m3,
            "interclass_filtering_threshold": interclass_filtering_threshold,
        },
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def normface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    scale: float = 20.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """NormFace: scaled cosines without a margin; `fusedloss.normface_loss`.

    Parameters
    ----------
    embeddings, weight, target, scale
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.normface_loss(rows, weight, torch.tensor([0, 1]), scale=4.0)
    tensor(0.1198)
    """
    return head(
        heads.normface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def l2_softmax_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    alpha: float = 16.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Embeddings on a sphere of radius `alpha`; `fusedloss.l2_softmax_loss`.

    Parameters
    ----------
    embeddings, weight, target, alpha
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.l2_softmax_loss(rows, weight, torch.tensor([0, 1]), alpha=4.0)
    tensor(0.1198)
    """
    return head(
        heads.l2_softmax_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"alpha": alpha},
        reduction,
        where,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def l_softmax_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 4.0,
    scale: float = 1.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Large-margin softmax: a multiplicative angular margin; `fusedloss.l_softmax_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.l_softmax_loss(rows, weight, torch.tensor([0, 1]), margin=2)
    tensor(0.6060)
    """
    return head(
        heads.l_softmax_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def a_softmax_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 4.0,
    scale: float = 1.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """A-Softmax: a multiplicative angular margin; `fusedloss.a_softmax_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.a_softmax_loss(rows, weight, torch.tensor([0, 1]), margin=2)
    tensor(0.6060)
    """
    return head(
        heads.a_softmax_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def sphereface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 1.5,
    scale: float = 30.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """SphereFace on normalised embeddings; `fusedloss.sphereface_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.sphereface_loss(rows, weight, torch.tensor([0, 1]), scale=4.0)
    tensor(0.1492)
    """
    return head(
        heads.sphereface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def subcenter_arcface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    sub_centers: int = 3,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """ArcFace with several centers per class; `fusedloss.subcenter_arcface_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale, sub_centers
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.subcenter_arcface_loss(rows, weight, torch.tensor([0, 1]), scale=4.0, sub_centers=1)
    tensor(0.2422)
    """
    return head(
        heads.subcenter_arcface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin, "sub_centers": sub_centers},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def curricularface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    t: float = 0.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """CurricularFace: ArcFace that turns to hard negatives; `fusedloss.curricularface_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale, t
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.curricularface_loss(rows, weight, torch.tensor([0, 1]), scale=4.0)
    tensor(0.2422)
    """
    return head(
        heads.curricularface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin, "t": t},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def adaface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    margin: float = 0.4,
    scale: float = 64.0,
    h: float = 0.333,
    norm_mean: float | None = None,
    norm_std: float | None = None,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """AdaFace: margins by the embedding's norm; `fusedloss.adaface_loss`.

    Parameters
    ----------
    embeddings, weight, target, margin, scale, h, norm_mean, norm_std
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> options = {"margin": 0.4, "scale": 4.0, "norm_mean": 1.5, "norm_std": 1.0}
    >>> F.adaface_loss(rows, weight, torch.tensor([0, 1]), **options)
    tensor(0.4131)
    """
    return head(
        heads.adaface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {"margin": margin, "h": h, "norm_mean": norm_mean, "norm_std": norm_std},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def magface_loss(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    scale: float = 64.0,
    l_a: float = 10.0,
    u_a: float = 110.0,
    l_margin: float = 0.45,
    u_margin: float = 0.8,
    lambda_g: float = 35.0,
    easy_margin: bool = True,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """MagFace: a margin that grows with the embedding's norm; `fusedloss.magface_loss`.

    Parameters
    ----------
    embeddings, weight, target, scale, l_a, u_a, l_margin, u_margin, lambda_g, easy_margin
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `embeddings`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> weight = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    >>> F.magface_loss(rows, weight, torch.tensor([0, 1]), scale=4.0, lambda_g=0.0)
    tensor(0.2169)
    """
    return head(
        heads.magface_loss,
        (embeddings, weight, target, class_weight, sample_weight),
        {
            "l_a": l_a,
            "u_a": u_a,
            "l_margin": l_margin,
            "u_margin": u_margin,
            "lambda_g": lambda_g,
            "easy_margin": easy_margin,
        },
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )


def margin_cross_entropy(
    cosine: Tensor,
    target: Tensor,
    *,
    m1: float = 1.0,
    m2: float = 0.0,
    m3: float = 0.0,
    scale: float = 64.0,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    where: Tensor | None = None,
    ignore_index: int = -1,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    annealing: float = 0.0,
    gradient: Gradient = "analytic",
    reduction: Reduction = "mean",
    workspace: int | None = None,
) -> Tensor:
    """Given cosines with margins on that of the target; `fusedloss.margin_cross_entropy`.

    Parameters
    ----------
    cosine, target, m1, m2, m3, scale
        As in the function of arrays.
    class_weight, sample_weight, where, ignore_index, label_smoothing
        As in the function of arrays.
    focal_gamma, annealing, gradient, reduction, workspace
        As in the function of arrays.

    Returns
    -------
    Tensor
        The loss, of the dtype of `cosine`.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import functional as F
    >>> cosines = torch.tensor([[0.9, 0.2], [0.1, 0.7]])
    >>> F.margin_cross_entropy(cosines, torch.tensor([0, 1]), m2=0.3, m3=0.1, scale=4.0)
    tensor(0.2346)
    """
    return head(
        heads.margin_cross_entropy,
        (cosine, target, class_weight, sample_weight),
        {"m1": m1, "m2": m2, "m3": m3},
        reduction,
        where,
        scale=scale,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        annealing=annealing,
        gradient=gradient,
        workspace=workspace,
    )
