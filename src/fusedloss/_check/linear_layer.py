"""Calls of a linear layer with cross-entropy."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from fusedloss import _core
from fusedloss._check.labels import (
    class_indices,
    class_target,
    mask,
    weight_of_classes,
    weight_of_samples,
)
from fusedloss._check.operands import MOST_DIMENSIONS, as_array, compute_dtype, plain_prediction
from fusedloss._check.options import (
    checked_extras,
    in_range,
    integer,
    not_negative,
    num_threads,
    one_of,
    outputs,
    outputs_of,
    reduction,
    scale,
    workspace_size,
)
from fusedloss._check.results import as_output, loss_cotangent, takes_output
from fusedloss._types import Array, Extras

PRECISIONS = ("highest", "high", "medium")

DIVERGENCES = ("forward", "reverse", "js")

#: Fills the rows of labels up.
NO_LABEL = -1

#: Arguments in which the loss of a linear layer is differentiable.
LINEAR_DIFFERENTIABLE = ("input", "linear_weight", "linear_bias")


class Margin(NamedTuple):
    """A margin-softmax head, as the kernels take it."""

    kind: str  # a row of src/kernels/margin.inc
    parameters: tuple[float, ...] = ()
    scale: float = 1.0
    annealing: float = 0.0
    filter: float = 0.0
    centers: int = 1
    temperature: float = 0.0
    keep_norm: bool = False
    keep_weight_norm: bool = False
    detached: bool = False


class Shard(NamedTuple):
    """The part of all classes that a call has: see fl_shard in fusedloss.h.

    `sums`, of float64 and shape (positions, 6), have fl_row_sums of each position.
    """

    classes: int  # of all shards
    sums: Array
    given: bool  # whether `sums` are those of all shards, or to be written
    target_cosines: Array | None = None  # of all shards, of float64


class LinearCall(NamedTuple):
    """A call of linear_cross_entropy, checked, its arrays as the kernels take them."""

    given: dict[str, Any]  # the arrays as the caller gave them, by name
    input: Array
    weight: Array | None
    target: Array
    bias: Array | None
    class_weight: Array | None
    sample_weight: Array | None
    reduction: str
    ignore_index: int
    label_smoothing: float
    extras: Extras
    shift: int
    precision: str
    workspace: int
    num_threads: int | None
    compute_dtype: np.dtype[Any]
    names: tuple[str, str, str] = LINEAR_DIFFERENTIABLE  # of input, weight and bias
    margin: Margin | None = None
    shard: Shard | None = None
    filter_eps: float = 0.0
    loss_dtype: np.dtype[Any] | None = None  # of losses per position, if not the input's
    where: Array | None = None  # positions that take part, of bools


class DistilledLayer(NamedTuple):
    """A call of linear_distillation_loss, checked; positions lie on one axis."""

    given: dict[str, Any]  # the arrays as the caller gave them, by name
    input: Array  # as given, plain
    student: Array
    student_weight: Array
    teacher: Array
    teacher_weight: Array
    target: Array | None
    sample_weight: Array  # of float64; ones if absent
    temperature: float
    alpha: float
    ignore_index: int
    divergence: str
    reduction: str
    workspace: int
    num_threads: int | None
    names: tuple[str, ...] = ("student", "student_weight", "")
    shift: int = 0


class LabelledLayer(NamedTuple):
    """A call of linear_binary_cross_entropy, checked; positions lie on one axis."""

    given: dict[str, Any]
    input: Array  # as given, plain
    rows: Array
    weight: Array
    target: Array  # (positions, labels)
    reduction: str
    workspace: int
    num_threads: int | None
    names: tuple[str, ...] = ("input", "linear_weight", "")
    shift: int = 0


def layer(given: dict[str, Any], input_name: str, weight_name: str) -> tuple[Array, Array]:
    """Return a linear layer's input, of shape (..., features), and its weights, as plain arrays."""
    x = plain_prediction(input_name, given[input_name])
    weight = plain_prediction(weight_name, given[weight_name])
    if weight.ndim != 2:
        raise ValueError(
            f"{weight_name} has shape {weight.shape}: expected 2 dimensions, (classes, features)"
        )
    classes, features = weight.shape
    if classes == 0 or features == 0:
        raise ValueError(
            f"{weight_name} has shape {weight.shape}: expected at least one class and one feature"
        )
    if x.ndim == 0 or x.shape[-1] != features:
        raise ValueError(
            f"{input_name} has shape {x.shape}: expected (..., {features}), the features of "
            f"{weight_name} of shape {weight.shape}"
        )
    if x.ndim > MOST_DIMENSIONS + 1:
        raise ValueError(
            f"{input_name} has {x.ndim} dimensions: expected at most {MOST_DIMENSIONS + 1}, "
            "reshape it"
        )
    expect_dtype(weight_name, weight, x, input_name)
    return x, weight


def linear_distillation(
    given: dict[str, Any],
    temperature: Any,
    alpha: Any,
    ignore_index: Any,
    divergence: Any,
    reduction_name: Any,
    workspace: Any,
    threads: Any,
) -> DistilledLayer:
    """Check a call of linear_distillation_loss; `given` are its arrays."""
    x, weight = layer(given, "student", "student_weight")
    t, teacher_weight = layer(given, "teacher", "teacher_weight")
    positions, classes = x.shape[:-1], len(weight)
    if t.shape[:-1] != positions:
        raise ValueError(
            f"teacher has shape {t.shape}: expected ({', '.join(map(str, positions))}, features), "
            f"the positions of student of shape {x.shape}"
        )
    if len(teacher_weight) != classes:
        raise ValueError(
            f"teacher_weight has shape {teacher_weight.shape}: expected ({classes}, features), "
            f"the classes of student_weight"
        )
    ignored = integer("ignore_index", ignore_index)
    target = None
    if given["target"] is not None:
        logits = np.broadcast_to(np.zeros((), x.dtype), (*positions, classes))
        target = class_target(given["target"], logits, x.ndim - 1, 0)
        class_indices("target", target, classes, ignored)
        target = target.reshape(-1)
    s = given["sample_weight"]
    sample_weight = np.ones(positions) if s is None else weight_of_samples(s, x, positions)
    share = in_range("alpha", alpha, 0, 1)
    return DistilledLayer(
        given,
        x,
        x.reshape(-1, x.shape[-1]),
        weight,
        t.reshape(-1, t.shape[-1]),
        teacher_weight,
        target,
        sample_weight.astype(np.float64).reshape(-1),
        scale("temperature", temperature, x, power=2),
        1.0 if target is None else share,
        ignored,
        one_of("divergence", divergence, DIVERGENCES),
        reduction(reduction_name),
        workspace_size(workspace),
        num_threads(threads),
    )


def labelled_layer(
    given: dict[str, Any], reduction_name: Any, workspace: Any, threads: Any
) -> LabelledLayer:
    """Check a call of linear_binary_cross_entropy; `given` are its arrays."""
    x, weight = layer(given, "input", "linear_weight")
    target = as_array("target", given["target"])
    if target.dtype.kind not in "iu":
        raise TypeError(f"target has dtype {target.dtype}: expected integer class indices")
    if target.ndim != x.ndim or target.shape[:-1] != x.shape[:-1]:
        positions = ", ".join(map(str, (*x.shape[:-1], "labels")))
        raise ValueError(
            f"target has shape {target.shape}: expected ({positions}) for input of shape {x.shape}"
        )
    class_indices("target", target, len(weight), NO_LABEL, "the padding")
    return LabelledLayer(
        given,
        x,
        x.reshape(-1, x.shape[-1]),
        weight,
        target.reshape(prod(x.shape[:-1]), target.shape[-1]),
        reduction(reduction_name),
        workspace_size(workspace),
        num_threads(threads),
    )


def linear(
    given: dict[str, Any],
    reduction_name: Any,
    ignore_index: Any,
    label_smoothing: Any,
    extras: Extras,
    shift: Any,
    precision: Any,
    filter_eps: Any,
    workspace: Any,
    threads: Any,
) -> LinearCall:
    """Check a call of linear_cross_entropy; `given` are its arrays."""
    x, weight = layer(given, "input", "linear_weight")
    classes = len(weight)
    bias = expect_bias("linear_bias", given["linear_bias"], x, classes)

    # An array of the logits' shape and dtype that holds no memory for them.
    logits = np.broadcast_to(np.zeros((), x.dtype), (*x.shape[:-1], classes))
    axis = x.ndim - 1
    target = class_target(given["target"], logits, axis, -1)
    is_index = target.ndim < logits.ndim
    if ignore_index is None:
        ignore_index = -100
    elif not is_index:
        raise ValueError("ignore_index is given: expected class indices, target has probabilities")
    w, s, where = given["weight"], given["sample_weight"], given["where"]
    class_weight = None if w is None else weight_of_classes("weight", w, x, classes)
    sample_weight = None if s is None else weight_of_samples(s, x, x.shape[:-1])

    where = None if where is None else mask(where, x.shape[:-1])
    extras = extras._replace(outputs=outputs_of(outputs(extras.outputs), not is_index))
    steps = shifted_by(shift, x.shape)
    if steps:
        x = x[..., :-steps, :]
        target = target[..., steps:] if is_index else target[..., steps:, :]
        sample_weight = None if sample_weight is None else sample_weight[..., steps:]
        where = None if where is None else where[..., steps:]
    return LinearCall(
        given,
        x,
        weight,
        target,
        bias,
        class_weight,
        sample_weight,
        reduction(reduction_name),
        integer("ignore_index", ignore_index),
        in_range("label_smoothing", label_smoothing, 0, 1),
        checked_extras(extras, x),
        steps,
        "highest" if precision is None else one_of("precision", precision, PRECISIONS),
        workspace_size(workspace),
        num_threads(threads),
        compute_dtype(x),
        filter_eps=0.0 if filter_eps is None else not_negative("filter_eps", filter_eps),
        where=where,
    )


def expect_bias(name: str, given: Any, x: Array, classes: int) -> Array | None:
    """Return a layer's bias as a plain array; None for None."""
    if given is None:
        return None
    bias = plain_prediction(name, given)
    expect_dtype(name, bias, x, "input")
    if bias.shape != (classes,):
        raise ValueError(f"{name} has shape {bias.shape}: expected ({classes},)")
    return bias


def expect_dtype(name: str, array: Array, like: Array, of: str) -> None:
    """Raise TypeError for an array of another dtype."""
    if array.dtype != like.dtype:
        raise TypeError(f"{name} has dtype {array.dtype}: expected {like.dtype}, that of {of}")


def shifted_by(shift: Any, shape: tuple[int, ...]) -> int:
    """Check `shift`, by how many positions targets are shifted; `shape` is the input's."""
    steps = integer("shift", shift)
    if steps < 0:
        raise ValueError(f"shift is {steps}: expected a number of at least 0")
    if steps and len(shape) < 2:
        raise ValueError(f"shift is {steps}: expected an input of shape (..., length, features)")
    if steps and steps > shape[-2]:
        raise ValueError(f"shift is {steps}: expected at most {shape[-2]}, the input's length")
    return steps


class LinearGradients:
    """The output arrays of a call's gradients."""

    def __init__(
        self,
        call: Any,  # LinearCall, or another call that has its names
        gradient: bool | tuple[int, ...],
        grad_output: Any,
        out: Any,
        labels: tuple[str, ...] | None = None,  # what errors call the places
    ) -> None:
        self._several = isinstance(gradient, tuple)
        wanted = gradient if isinstance(gradient, tuple) else (0,) if gradient else ()
        places = out if self._several and out is not None else (out,) * len(wanted)
        self.grad_output: Any = 1.0
        if grad_output is not None:
            positions = call.input.shape[:-1]
            self.grad_output = loss_cotangent(grad_output, call.reduction, call.input, positions)
        inputs = call.given | {"grad_output": grad_output}
        self._results: list[Array] = []
        self.written: dict[str, Array] = {}  # by the names of what they are gradients of
        for i, (k, place) in enumerate(zip(wanted, places, strict=True)):
            name = call.names[k]
            if call.given[name] is None:
                raise ValueError(f"{name} is None: there is no gradient by it")
            of = np.asarray(call.given[name])
            made = _core.new_array(of.shape, of.dtype.newbyteorder("="))
            if place is not None:
                label = f"out[{i}]" if self._several else "out"
                label = label if labels is None else labels[i]
                inputs[label] = as_output(label, place, name, of, inputs)
                made = place if takes_output(place, of, ()) else made
            self._results.append(made if place is None else place)
            self.written[name] = made
        self.input, self.weight, self.bias = map(self.written.get, call.names[:3])
        self._without_targets: Array | None = None
        if self.input is not None and call.shift:
            self._without_targets = self.input[..., -call.shift :, :]
            self.input = self.input[..., : -call.shift, :]

    def finish(self) -> Array | tuple[Array, ...]:
        """Return the gradients in the requested order."""
        if self._without_targets is not None:
            self._without_targets[...] = 0
        for result, written in zip(self._results, self.written.values(), strict=True):
            if result is not written:
                np.copyto(result, written)
        return tuple(self._results) if self._several else self._results[0]
