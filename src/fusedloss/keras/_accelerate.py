"""How a function of `keras.losses` comes to a kernel, or to Keras' own formula.

The kernels take what they are made for: floats of one shape, class indices, plain options. All
else, bad input included, is handed to Keras, whose answer or error is the right one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeAlias

import keras
from keras import ops

from fusedloss.keras._backends import Backend, Unrecognised, backend

Tensor: TypeAlias = Any  # of Keras' backend

P = ParamSpec("P")

DTYPES = ("float16", "bfloat16", "float32", "float64")

#: The epsilon that kernels which take none clip at.
EPSILON = 1e-7


def expect(condition: object) -> None:
    """Hand the call to Keras unless a condition holds."""
    if not condition:
        raise Unrecognised


def here() -> Backend:
    """Return the backend, if kernels can be called on it now."""
    module = backend()
    if module is None or not module.applies():
        raise Unrecognised
    return module


def evaluate(name: str, *arrays: Tensor, **options: Any) -> Tensor:
    """Compute a loss of this package, by default one value for each element or row."""
    options = {"reduction": "none"} | options
    if options["reduction"] is None:  # the function has none
        del options["reduction"]
    return here().evaluate(name, arrays, options)


class Pointwise(NamedTuple):
    """A call of a pointwise loss, of which Keras wants the mean along an axis, or of everything."""

    name: str
    y_true: Tensor
    y_pred: Tensor
    options: dict[str, Any] = {}  # noqa: RUF012  never changed
    axis: int = -1

    def along_axis(self) -> Tensor:
        """Compute the mean for each sample."""
        losses = evaluate(self.name, self.y_pred, self.y_true, **self.options)
        return ops.mean(ops.reshape(losses, ops.shape(self.y_pred)), axis=self.axis)

    def mean(self) -> Tensor:
        """Compute the mean of all elements, without an array of them."""
        options = self.options | {"reduction": "mean"}
        return ops.reshape(evaluate(self.name, self.y_pred, self.y_true, **options), ())


def accelerates(original: Callable[..., Any]) -> Callable[[Callable[P, Tensor]], Callable[P, Any]]:
    """Make a loss of Keras' of a function that computes it by a kernel, or raises Unrecognised."""

    def register(function: Callable[P, Tensor]) -> Callable[P, Any]:
        @functools.wraps(function)
        def loss(*args: P.args, **options: P.kwargs) -> Any:
            try:
                result = function(*args, **options)
                return result.along_axis() if isinstance(result, Pointwise) else result
            except Unrecognised:
                return original(*args, **options)

        registered: Callable[P, Any] = keras.saving.register_keras_serializable("fusedloss")(loss)
        return registered

    return register


def prediction_of(y_pred: Any, dtype: Any = None) -> Tensor:
    """Return the prediction as a tensor of floats, of which the kernels exist."""
    here()
    expect(not isinstance(y_pred, keras.KerasTensor))
    y_pred = ops.convert_to_tensor(y_pred, dtype=dtype)
    expect(keras.backend.standardize_dtype(y_pred.dtype) in DTYPES and len(y_pred.shape) > 0)
    return y_pred


def target_of(y_true: Any, dtype: Any = None) -> Tensor:
    """Return the target as a tensor."""
    expect(not isinstance(y_true, keras.KerasTensor))
    y_true = ops.convert_to_tensor(y_true)
    return y_true if dtype is None else ops.cast(y_true, dtype)


def of_one_rank(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Squeeze or expand a last axis of length 1, as Keras does, if the ranks differ by one."""
    for x, y in ((a, b), (b, a)):
        if len(x.shape) == len(y.shape) + 1 and x.shape[-1] == 1:
            if len(y.shape) == 1:
                y = ops.expand_dims(y, -1)
            else:
                x = ops.squeeze(x, -1)
            return (x, y) if len(a.shape) > len(b.shape) else (y, x)
    return a, b


def floats(y_true: Any, y_pred: Any, *, squeeze: bool = False) -> tuple[Tensor, Tensor]:
    """Return target and prediction, of one dtype and one shape."""
    y_pred = prediction_of(y_pred)
    y_true = target_of(y_true, y_pred.dtype)
    if squeeze:
        y_true, y_pred = of_one_rank(y_true, y_pred)
    expect(tuple(y_true.shape) == tuple(y_pred.shape))
    return y_true, y_pred


def axis_of(axis: Any, rank: int) -> int:
    """Return an axis as a number from 0."""
    expect(isinstance(axis, int) and not isinstance(axis, bool) and -rank <= axis < rank)
    return int(axis) % rank


def without(shape: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    """Return the shape of the positions: without the axis of classes."""
    return shape[:axis] + shape[axis + 1 :]


def classes_second(x: Tensor, axis: int) -> Tensor:
    """Return an array of shape (N, C) or (N, C, d1, ...), without a copy for the usual axes."""
    rank = len(x.shape)
    if axis == rank - 1:
        return x if rank == 2 else ops.reshape(x, (-1, ops.shape(x)[-1]))
    return ops.moveaxis(x, axis, 1)


def positions(of: Tensor, axis: int) -> Tensor:
    """Return class indices in the shape that goes with `classes_second`."""
    return ops.reshape(of, (-1,)) if axis == len(of.shape) else of


def rows(
    name: str, y_pred: Tensor, target: Tensor, class_axis: int, *, indices: bool, **options: Any
) -> Tensor:
    """Compute a loss with one value for each position."""
    losses = evaluate(
        name,
        classes_second(y_pred, class_axis),
        (positions if indices else classes_second)(target, class_axis),
        **options,
    )
    return ops.reshape(losses, without(ops.shape(y_pred), class_axis))
