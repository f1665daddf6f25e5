"""Functions of losses: the gradient beside the value, or beside the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from fusedloss._lower.transform import GradAndHess, ValueAndGrad
from fusedloss._types import Array, LossFunction, P, ValueAndGradFunction

__all__ = [
    "grad_and_hess",
    "value_and_grad",
]


@overload
def value_and_grad(loss: LossFunction[P], argnums: int = 0) -> ValueAndGradFunction[P, Array]: ...
@overload
def value_and_grad(
    loss: LossFunction[P], argnums: Sequence[int]
) -> ValueAndGradFunction[P, tuple[Array, ...]]: ...
@overload
def value_and_grad(
    loss: Callable[P, Array], argnums: int = 0
) -> Callable[..., tuple[Array, Array]]: ...
@overload
def value_and_grad(
    loss: Callable[P, Array], argnums: Sequence[int]
) -> Callable[..., tuple[Array, tuple[Array, ...]]]: ...
def value_and_grad(loss: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Any:
    """Return a function that computes a loss and its gradient in one pass.

    The gradient is a vector-Jacobian product: ``sum(grad_output * d loss / d argument)``.

    Parameters
    ----------
    loss : function
        One of this package's losses.
    argnums : int or sequence of int, default 0
        The positions of the arguments to differentiate in. A sequence gives a tuple of gradients.

    Returns
    -------
    function
        It takes the loss's own arguments, and two more by keyword:

        grad_output : float or array, optional
            What the gradient is multiplied by: a scalar for ``reduction="mean"`` and ``"sum"``, an
            array of the loss's shape for ``"none"``; ones if absent.
        out : array, optional
            Where the gradient goes: of the argument's shape and dtype, with any strides. It may be
            the very memory of the argument, which is then overwritten; any other overlap with an
            input is an error. With several argnums a tuple, None in it meaning a new array. After a
            KeyboardInterrupt its values are unspecified, and logits that it overwrites are lost.

        It returns ``(value, gradient)``; the gradient has the argument's shape and dtype.

    Raises
    ------
    TypeError
        If `loss` is not one of this package's losses.
    ValueError
        If the loss is not differentiable in one of `argnums`.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> logits = np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, np.array([0, 1]))
    >>> round(value, 4)
    0.41
    >>> gradient.round(4)
    array([[-0.0596,  0.0596],
           [ 0.25  , -0.25  ]])
    """
    return ValueAndGrad(loss, argnums)


def grad_and_hess(loss: Callable[..., Any]) -> Callable[..., tuple[Array, Array]]:
    """Return a function that computes a loss's gradient and diagonal Hessian in one pass.

    Both are of the loss summed over all positions, with respect to its first argument: what
    gradient boosting asks of an objective.

    Parameters
    ----------
    loss : function
        One of this package's losses that has a Hessian.

    Returns
    -------
    function
        It takes the loss's own arguments but `reduction` and `outputs`, and one more by keyword:

        out : tuple of two arrays, optional
            Where gradient and Hessian go, None for a new array: of the first argument's shape, with
            any strides. Each has the first argument's dtype or float32, to which float64 results
            are rounded once. The gradient may go to the very memory of the first argument; any
            other overlap is an error.

        Class indices beside predictions of shape (N, C) may be whole-number floats here, as
        gradient boosting libraries hand them out.

        It returns ``(gradient, hessian)``, arrays of the first argument's shape and dtype. The
        Hessian of a loss that is not convex, such as the focal loss, may be negative.

    Raises
    ------
    TypeError
        If `loss` is not one of this package's losses.
    ValueError
        If it has no Hessian.

    Examples
    --------
    >>> import numpy as np
    >>> import fusedloss as fl
    >>> gradient, hessian = fl.grad_and_hess(fl.cross_entropy)(np.zeros((1, 2)), np.array([0]))
    >>> gradient, hessian
    (array([[-0.5,  0.5]]), array([[0.25, 0.25]]))
    """
    return GradAndHess(loss)
