"""The adaptive softmax: cross-entropies of linear layers, each of the rows that fall to it.

The head is a layer over all rows, whose classes are the frequent ones and the clusters of others.
A cluster projects its own rows to fewer features, and has a layer over them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower.loss import quietly
from fusedloss._types import Array, Extras

_NONE_ASKED = Extras()


@quietly
def adaptive_log_softmax(
    input: Any,
    head_weight: Any,
    tail_weights: Any,
    target: Any,
    bias: Any,
    reduction: Any,
    outputs: Any,
    workspace: Any,
    num_threads: Any,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradients); a gradient by the tail's weights is a list."""
    given = {"input": input, "head_weight": head_weight, "bias": bias, "target": target}
    call = _check.adaptive_layer(given, tail_weights, reduction, outputs, workspace, num_threads)
    if gradient is False:
        return computed(call)[0]
    several = isinstance(gradient, tuple)
    first = call.names[: -2 * len(call.clusters)]
    numbers, places, labels = _check.each_gradient(gradient, out, 2 * len(call.clusters))
    value, made = computed(call, numbers, grad_output, places, labels)
    by_number = dict(zip(numbers, made, strict=True))
    tails = [x for k, x in by_number.items() if k >= len(first)]
    wanted = gradient if isinstance(gradient, tuple) else (0,)
    gradients = tuple(by_number[k] if k < len(first) else tails for k in wanted)
    return value, gradients if several else gradients[0]


def computed(
    call: _check.AdaptiveLayer,
    wanted: tuple[int, ...] = (),
    grad_output: Any = None,
    out: Any = None,
    labels: tuple[str, ...] | None = None,
) -> tuple[Any, tuple[Array, ...]]:
    """Return the value of a call, and gradients by the arrays of the numbers that are wanted."""
    places = _check.LinearGradients(call, wanted, grad_output, out, labels)
    rows, dtype = call.rows, _check.compute_dtype(call.rows)
    divisor = float(len(rows)) if call.reduction == "mean" else 1.0
    scales = np.broadcast_to(np.reshape(places.grad_output, -1), (len(rows),))
    scales = (scales / divisor if divisor else np.zeros(len(rows))).astype(dtype)

    edges = call.edges
    of_row = np.searchsorted(edges, call.target, side="right")
    at_head = np.where(of_row == 0, call.target, edges[0] + of_row - 1)
    written = places.written
    dx = _held(written.get("input"), rows.dtype)
    head = _Layer(rows, call.head, call.bias, at_head, scales)
    losses = head.run(call, dx, written.get("head_weight"), written.get("bias")).astype(np.float64)
    for i, (projection, weight) in enumerate(call.clusters):
        by_projection, by_weight = (written.get(f"tail_weights[{2 * i + k}]") for k in range(2))
        at = np.flatnonzero(of_row == i + 1)
        if not len(at) or not len(projection):
            # Without features all classes are as likely.
            losses[at] += np.log(len(weight))
            for gradient in (by_projection, by_weight):
                if gradient is not None:
                    gradient[...] = 0
            continue
        x, hidden = rows[at], _core.new_array((len(at), len(projection)), dtype)
        _core.linear_product(
            x, projection, hidden, workspace=call.workspace, num_threads=call.num_threads
        )
        hidden = hidden.astype(rows.dtype, copy=False)
        needed = dx is not None or by_projection is not None
        by_hidden = _core.new_array(hidden.shape, hidden.dtype) if needed else None
        layer = _Layer(hidden, weight, None, call.target[at] - edges[i], scales[at])
        losses[at] += layer.run(call, by_hidden, by_weight)
        if by_hidden is None:
            continue
        by_rows = None if dx is None else _core.new_array(x.shape, dtype)
        summed = _held(by_projection, dtype)
        counts = (scales[at] != 0).astype(dtype)
        _core.linear_product(
            *(x, projection, by_hidden.astype(dtype, copy=False), counts, by_rows, summed),
            wanted=True,
            workspace=call.workspace,
            num_threads=call.num_threads,
        )
        if dx is not None:
            dx[at] += by_rows  # in the wider type
        _deliver(summed, by_projection)
    _deliver(dx, written.get("input"))
    return _value(call, losses, divisor), tuple(places.finish())


class _Layer:
    """A linear layer's inputs, weights and targets; what its losses' gradients are scaled by."""

    def __init__(
        self, x: Array, weight: Array, bias: Array | None, target: Array, scales: Array
    ) -> None:
        self._x, self._weight, self._bias = x, weight, bias
        self._target, self._scales = target, scales

    def run(self, call: _check.AdaptiveLayer, *gradients: Array | None) -> Array:
        """Return the losses, and write gradients to the places that there are."""
        arrays = dict(zip(_check.LINEAR_DIFFERENTIABLE, self._arrays, strict=True))
        dtype = _check.compute_dtype(self._x)
        linear = _check.LinearCall(
            given=arrays,
            input=self._x,
            weight=self._weight,
            target=self._target,
            bias=self._bias,
            class_weight=None,
            sample_weight=None,
            reduction="none",
            ignore_index=_check.NOTHING_IGNORED,
            label_smoothing=0.0,
            extras=_NONE_ASKED,
            shift=0,
            precision="highest",
            workspace=call.workspace,
            num_threads=call.num_threads,
            compute_dtype=dtype,
            loss_dtype=dtype,
        )
        places = {k: x for k, x in enumerate(gradients) if x is not None}
        if not places:
            losses: Array = _core.linear_cross_entropy(linear)
            return losses
        losses, _ = _core.linear_cross_entropy(
            linear, tuple(places), self._scales, tuple(places.values())
        )
        return losses

    @property
    def _arrays(self) -> tuple[Array | None, ...]:
        return self._x, self._weight, self._bias


def _held(gradient: Array | None, dtype: np.dtype[np.generic]) -> Array | None:
    """Return an array of rows of a dtype that becomes a gradient: the gradient's own if it can."""
    if gradient is None:
        return None
    if gradient.dtype == dtype and gradient.flags.c_contiguous:
        return gradient.reshape(-1, gradient.shape[-1])
    return _core.new_array((gradient.size // gradient.shape[-1], gradient.shape[-1]), dtype)


def _deliver(made: Array | None, gradient: Array | None) -> None:
    if made is not None and gradient is not None and not np.shares_memory(made, gradient):
        np.copyto(gradient, made.reshape(gradient.shape), casting="unsafe")


def _value(call: _check.AdaptiveLayer, losses: Array, divisor: float) -> Any:
    """Return the value of losses, with the log-probabilities if they are asked for."""
    shape = call.input.shape[:-1]
    value: Any
    if call.reduction == "none":
        value = losses.reshape(shape).astype(call.input.dtype)
    else:
        value = float(losses.sum() / divisor) if divisor else np.nan
    if not call.outputs:
        return value
    return value, {"log_prob": (-losses).reshape(shape).astype(_check.compute_dtype(call.rows))}
