"""Functions of losses: the gradient beside the value, or beside the Hessian."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from fusedloss._loss import Loss, lookup


def _argument_numbers(record: Loss, argnums: int | Sequence[int]) -> tuple[int, ...]:
    """Return argnums as a tuple of positions in which the loss is differentiable."""
    numbers = tuple(map(operator.index, argnums if isinstance(argnums, Sequence) else (argnums,)))
    choices = {record.parameters.index(name): name for name in record.differentiable}
    for number in numbers:
        if number not in choices:
            listed = ", ".join(f"{n} ({name})" for n, name in choices.items())
            raise ValueError(
                f"argnums holds {number}: {record.name} is differentiable in argument {listed}"
            )
    if len(set(numbers)) != len(numbers) or not numbers:
        raise ValueError(f"argnums is {argnums!r}: expected distinct argument positions")
    return numbers


def value_and_grad(
    loss: Callable[..., Any], argnums: int | Sequence[int] = 0
) -> Callable[..., tuple[Any, Any]]:
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
            input is an error. With several argnums a tuple, None in it meaning a new array.

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
    record = lookup(loss)
    numbers = _argument_numbers(record, argnums)
    lower = record.lower

    def single(*args: Any, grad_output: Any = None, out: Any = None, **options: Any) -> Any:
        kernel, arguments = lower(*args, **options)
        return kernel(*arguments, True, grad_output, out)

    def checked_out(out: Any) -> tuple[Any, ...]:
        if out is None:
            return (None,) * len(numbers)
        if not isinstance(out, tuple) or len(out) != len(numbers):
            raise ValueError(f"out is {out!r}: expected a tuple of {len(numbers)} arrays or None")
        return out

    def several(*args: Any, grad_output: Any = None, out: Any = None, **options: Any) -> Any:
        value, gradient = single(*args, grad_output=grad_output, out=checked_out(out)[0], **options)
        return value, (gradient,)

    # A loss of several differentiable arguments takes the numbers of those that are wanted.
    wanted = tuple(record.differentiable.index(record.parameters[number]) for number in numbers)

    def among_several(*args: Any, grad_output: Any = None, out: Any = None, **options: Any) -> Any:
        kernel, arguments = lower(*args, **options)
        return kernel(*arguments, wanted, grad_output, checked_out(out))

    def one_of_several(*args: Any, grad_output: Any = None, out: Any = None, **options: Any) -> Any:
        kernel, arguments = lower(*args, **options)
        value, gradients = kernel(*arguments, wanted, grad_output, None if out is None else (out,))
        return value, gradients[0]

    if len(record.differentiable) == 1 or argnums == 0:
        function = several if isinstance(argnums, Sequence) else single
    else:
        function = among_several if isinstance(argnums, Sequence) else one_of_several
    function.__name__ = function.__qualname__ = f"value_and_grad_of_{record.name}"
    function.__doc__ = (
        f"Return (value, gradient) of `{record.name}`: its arguments, grad_output and out."
    )
    return function


def grad_and_hess(loss: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
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
        It takes the loss's own arguments but `reduction` and `outputs`, and returns ``(gradient,
        hessian)``, arrays of the first argument's shape and dtype. The Hessian of a loss that is
        not convex, such as the focal loss, may be negative.

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
    record = lookup(loss)
    if not record.hessian:
        raise ValueError(f"loss is {record.name}: it has no Hessian")
    lower = record.lower

    def function(*args: Any, **options: Any) -> tuple[Any, Any]:
        for name in ("reduction", "outputs"):
            if name in options:
                raise TypeError(f"{name} is given: gradient and Hessian are those of the sum")
        kernel, arguments = lower(*args, reduction="sum", **options)
        gradient, hessian = kernel(*arguments, True, None, None, True)
        return gradient, hessian

    function.__name__ = function.__qualname__ = f"grad_and_hess_of_{record.name}"
    function.__doc__ = f"Return (gradient, hessian) of the sum of `{record.name}`."
    return function
