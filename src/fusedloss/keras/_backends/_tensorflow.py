"""Losses on Keras' TensorFlow backend: NumPy's, called from eager code and from graphs.

The gradient is computed in the backward pass by one call of a kernel that has the value, too, so
that nothing of the predictions' size is kept between, and evaluation computes no gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import fusedloss
from fusedloss._lower.loss import lookup

INDICES = "int64"
IGNORED = -(2**31)
DROPS_NEGATIVE, DROPS_LARGE = False, False
ANY_AXIS = False
NORMALISES_FOR_INDICES = False
LOOKS_BEHIND = True


def _surprise(probs: Any, gamma: float = 0.0, alpha: Any = None, **_: Any) -> Any:
    """Return alpha_c (1 - q_c)^gamma (-log q_c) of each class, q being the clipped shares."""
    with np.errstate(all="ignore"):
        q = np.clip(probs / probs.sum(1, keepdims=True), 1e-7, 1 - 1e-7)
        losses = (1 - q) ** gamma * -np.log(q)
    if alpha is not None:
        losses *= np.reshape(alpha, (-1, *[1] * (q.ndim - 2)))
    return losses


#: The slope of a row's loss by its target's probabilities, which kernels do not give.
TARGET_SLOPES: dict[str, Callable[..., Any]] = {
    "cross_entropy": lambda logits, **options: -fusedloss.log_softmax(logits, axis=1),
    "categorical_cross_entropy": _surprise,
}


def applies() -> bool:
    """Unless XLA compiles the graph that is being traced: it takes no calls of Python."""
    try:  # there is no public way to ask
        from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
    except ImportError:
        return True
    return not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def logits_behind(x: Any, activation: str) -> Any:
    """Return the logits of which `x` is the softmax or sigmoid, as Keras finds them."""
    if (logits := getattr(x, "_keras_logits", None)) is not None:
        return logits
    if tf.is_symbolic_tensor(x) and x.op.type == activation:
        return x.op.inputs[0]
    return None


class _OutsideError(ValueError):
    """An index that is no class: in graphs TensorFlow makes InvalidArgumentError of ValueError."""


def _run(function: Callable[..., Any], inputs: Any, dtypes: list[Any]) -> list[Any]:
    """Call a function of arrays, with TensorFlow's own error for an index that is no class."""

    def call(*arrays: Any) -> Any:
        try:
            return function(*arrays)
        except IndexError as error:
            raise _OutsideError(str(error)) from None

    try:
        result = tf.numpy_function(call, inputs, dtypes, stateful=False)
    except _OutsideError as error:
        raise tf.errors.InvalidArgumentError(None, None, str(error)) from None
    return list(result) if isinstance(result, list | tuple) else [result]


def evaluate(name: str, arrays: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Compute a loss."""
    loss = getattr(fusedloss, name)
    record = lookup(loss)
    # Tensors among the options are inputs of the operation, too.
    by_keyword = [key for key, option in options.items() if tf.is_tensor(option)]
    inputs = map(tf.convert_to_tensor, (*arrays, *(options[key] for key in by_keyword)))
    plain = {key: option for key, option in options.items() if key not in by_keyword}
    names = (*record.parameters[: len(arrays)], *by_keyword)
    wanted = [i for i, x in enumerate(names) if x in record.differentiable]
    # A target's gradient has a call of its own, which graphs leave out when nobody takes it.
    groups = [[i for i in wanted if (names[i] == "target") == of_target] for of_target in (0, 1)]

    def with_arguments(function: Callable[..., Any], given: tuple[Any, ...], **more: Any) -> Any:
        keywords = dict(zip(by_keyword, given[len(arrays) :], strict=True))
        return function(*given[: len(arrays)], **keywords, **plain, **more)

    def value(*given: Any) -> Any:
        return np.asarray(with_arguments(loss, given), given[0].dtype)

    def gradients(group: list[int], grad_output: Any, *given: Any) -> Any:
        numbers = [record.parameters.index(names[i]) for i in group]
        function = fusedloss.value_and_grad(loss, numbers)
        factor = grad_output if grad_output.ndim else grad_output.item()
        return with_arguments(function, given, grad_output=factor)[1]

    def target_gradient(grad_output: Any, prediction: Any, *keywords: Any) -> Any:
        share = np.expand_dims(grad_output, 1) * (1 - plain.get("label_smoothing", 0))
        options = plain | dict(zip(by_keyword, keywords, strict=True))
        return (TARGET_SLOPES[name](prediction, **options) * share).astype(prediction.dtype)

    @tf.custom_gradient
    def call(*tensors: Any) -> Any:
        def backward(grad_output: Any) -> Any:
            result: list[Any] = [None] * len(tensors)
            for group in filter(None, groups):
                for i, gradient in zip(group, once(group)(grad_output, *tensors), strict=True):
                    gradient.set_shape(tensors[i].shape)
                    result[i] = gradient
            if name in TARGET_SLOPES and tensors[1].dtype.is_floating:
                inputs = (grad_output, tensors[0], *tensors[len(arrays) :])
                (result[1],) = _run(target_gradient, inputs, [tensors[0].dtype])
            return result

        return _run(value, tensors, [tensors[0].dtype])[0], backward

    def once(group: list[int]) -> Any:
        """Return the gradients as a function that cannot be differentiated."""

        @tf.custom_gradient
        def function(*given: Any) -> Any:
            def backward(*_: Any) -> Any:
                raise NotImplementedError(
                    f"{name} is differentiated twice: on TensorFlow the losses of fusedloss can "
                    "be differentiated once, those of keras.losses twice"
                )

            dtypes = [given[1 + i].dtype for i in group]
            return _run(functools.partial(gradients, group), given, dtypes), backward

        return function

    return call(*inputs)
