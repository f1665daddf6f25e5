"""Losses of several arrays at once: penalties of parameters, distances of feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.pointwise import pointwise
from fusedloss._types import Array, Call

__all__ = [
    "l1_penalty",
    "l2_penalty",
    "perceptual_loss",
]

ZERO = np.zeros((), np.float32)

CRITERIA = {"mse": "mse_loss", "l1": "l1_loss"}


def _summed(
    row: str,
    layers: list[dict[str, Any]],
    factors: list[float],
    reduction: str,
    num_threads: int | None,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradients), of the sum of a pointwise loss of each layer times a factor.

    Gradients by one argument are a list with an array for each layer.
    """
    calls = [pointwise(row, operands, (), None, reduction, num_threads) for operands in layers]
    if not gradient:
        return _weighted_sum(factors, [kernel(*arguments) for kernel, arguments in calls])
    several = isinstance(gradient, tuple)
    wanted = gradient if isinstance(gradient, tuple) else (0,)
    scale = 1.0 if grad_output is None else _check.scalar_cotangent(grad_output, "a sum of layers")
    parts = []
    gradients: tuple[list[Array], ...] = tuple([] for _ in wanted)
    places = _check.places(out, layers, wanted, several)
    for (kernel, arguments), factor, place in zip(calls, factors, places, strict=True):
        part, of_layer = kernel(*arguments, wanted, factor * scale, place)
        parts.append(part)
        for listed, array in zip(gradients, of_layer, strict=True):
            listed.append(array)
    return _weighted_sum(factors, parts), gradients if several else gradients[0]


def _weighted_sum(factors: list[float], parts: list[float]) -> float:
    return sum((factor * part for factor, part in zip(factors, parts, strict=True)), 0.0)


def _penalty(row: str, params: Any, strength: Any, num_threads: Any) -> Call:
    layers = [
        {f"params[{i}]": x, "zero": ZERO} for i, x in enumerate(_check.arrays("params", params))
    ]
    factors = [_check.not_negative("strength", strength)] * len(layers)
    return _summed, (row, layers, factors, "sum", _check.num_threads(num_threads))


@loss("params", returns="float")
def l1_penalty(
    params: Sequence[ArrayLike], strength: float, *, num_threads: int | None = None
) -> Call:
    r"""Lasso penalty of a model's parameters: :math:`s \sum |w|`.

    Parameters
    ----------
    params : list or tuple of arrays of floats
        The parameters :math:`w`, of any shapes: float16, bfloat16, float32 or float64.
    strength : float
        The factor :math:`s`; not negative.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The penalty. Its gradient by `value_and_grad` is a list with an array for each of `params`,
        and so is `out`.

    Raises
    ------
    TypeError
        For a dtype that is not taken, or `params` that are no list.
    ValueError
        For a negative strength.

    Notes
    -----
    At 0 the subgradient is 0. In torch ``strength * sum(w.abs().sum() for w in params)``.

    References
    ----------
    R. Tibshirani, "Regression shrinkage and selection via the lasso", Journal of the Royal
    Statistical Society B 58(1), 1996.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.value_and_grad(fl.l1_penalty)([[1.0, -2.0], [0.0]], 0.5)
    (1.5, [array([ 0.5, -0.5]), array([0.])])
    """
    return _penalty("l1_loss", params, strength, num_threads)


@loss("params", returns="float")
def l2_penalty(
    params: Sequence[ArrayLike], strength: float, *, num_threads: int | None = None
) -> Call:
    r"""Ridge penalty of a model's parameters: :math:`s \sum w^2`.

    Parameters
    ----------
    params : list or tuple of arrays of floats
        The parameters :math:`w`, of any shapes: float16, bfloat16, float32 or float64.
    strength : float
        The factor :math:`s`; not negative.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The penalty. Its gradient by `value_and_grad` is a list with an array for each of `params`,
        and so is `out`.

    Raises
    ------
    TypeError
        For a dtype that is not taken, or `params` that are no list.
    ValueError
        For a negative strength.

    Notes
    -----
    The gradient is :math:`2 s w`: what weight decay of :math:`2 s` adds to it. In torch
    ``strength * sum(w.square().sum() for w in params)``.

    References
    ----------
    A. E. Hoerl, R. W. Kennard, "Ridge regression: biased estimation for nonorthogonal problems",
    Technometrics 12(1), 1970.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.value_and_grad(fl.l2_penalty)([[1.0, -2.0], [0.5]], 0.5)
    (2.625, [array([ 1., -2.]), array([0.5])])
    """
    return _penalty("mse_loss", params, strength, num_threads)


@loss("features", "target_features", returns="float")
def perceptual_loss(
    features: Sequence[ArrayLike],
    target_features: Sequence[ArrayLike],
    *,
    weights: Sequence[float] | None = None,
    criterion: Literal["mse", "l1"] = "mse",
    reduction: Literal["mean", "sum"] = "mean",
    num_threads: int | None = None,
) -> Call:
    r"""Perceptual loss: the distance of two images in a network's features.

    .. math:: \ell = \sum_k w_k \, d\bigl(\phi_k(\hat y), \phi_k(y)\bigr)

    with :math:`\phi_k` the output of the network's layer :math:`k`, and :math:`d` the mean, or sum,
    of squared or absolute differences.

    Parameters
    ----------
    features : list or tuple of arrays of floats
        What each layer makes of the image, of any shapes: float16, bfloat16, float32 or float64.
    target_features : list or tuple of arrays of real numbers
        What it makes of the image that is wanted; broadcast against `features`, layer by layer.
    weights : list or tuple of floats, optional
        A weight :math:`w_k` for each layer; ones if absent.
    criterion : {"mse", "l1"}, default "mse"
        Squared or absolute differences.
    reduction : {"mean", "sum"}, default "mean"
        Of each layer's differences.
    num_threads : int, optional
        Threads for this call, instead of `get_num_threads()`.

    Returns
    -------
    float
        The loss. A gradient of it by `value_and_grad` is a list with an array for each layer, and
        so is its `out`.

    Raises
    ------
    TypeError
        For a dtype that is not taken, or an argument that is no list.
    ValueError
        For lists of different lengths, shapes that do not broadcast, or an option that does not
        fit.

    Notes
    -----
    The network is the caller's: its backward pass takes the gradients from here to the image. In
    torch ``sum(w * torch.nn.functional.mse_loss(x, t) for w, x, t in zip(weights, features,
    target_features))``.

    References
    ----------
    J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses for real-time style transfer and
    super-resolution", ECCV 2016.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.perceptual_loss([[1.0, 3.0], [2.0]], [[0.0, 0.0], [0.0]], weights=[1.0, 0.5])
    7.0
    """
    inputs = _check.arrays("features", features)
    targets = _check.same_length("target_features", target_features, "features", inputs)
    factors = [1.0] * len(inputs)
    if weights is not None:
        given = _check.same_length("weights", weights, "features", inputs)
        factors = [_check.finite(f"weights[{i}]", w) for i, w in enumerate(given)]
    layers = [
        {f"features[{i}]": x, f"target_features[{i}]": t}
        for i, (x, t) in enumerate(zip(inputs, targets, strict=True))
    ]
    row = CRITERIA[_check.one_of("criterion", criterion, CRITERIA)]
    mode = _check.one_of("reduction", reduction, ("mean", "sum"))
    return _summed, (row, layers, factors, mode, _check.num_threads(num_threads))
