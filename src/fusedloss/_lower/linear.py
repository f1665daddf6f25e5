"""Losses of a linear layer whose outputs exist for some positions and classes at a time.

The kernels multiply, and those of the losses of logits do the rest, in place: what is held of the
outputs fits the workspace.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fusedloss import _check, _core
from fusedloss._core import RowwiseCall
from fusedloss._lower.distillation import blocks_of, losses_of_block
from fusedloss._lower.loss import quietly
from fusedloss._lower.units import Units
from fusedloss._types import Array

#: What a call may use unless it says otherwise.
WORKSPACE_BYTES = 64 << 20

#: What the products take whatever their size, and for each row and feature: one copy of the input
#: for either product, and parts of its gradient.
PRODUCT_BYTES = 8 << 20
PRODUCT_VALUES = 18

#: Classes of a group whose weights are read for all positions: as many make products efficient.
GROUP_CLASSES = 1024

#: Values of a row that are added up without rounding errors that grow with their number.
RUN = 256

#: Rows, or classes, that the kernels' panels have.
PANEL = 32

#: With fewer rows at a time the weights take longer to read than to multiply; it needs a workspace.
FEWEST_ROWS = 8


@quietly
def linear_distillation(
    student: Any,
    student_weight: Any,
    teacher: Any,
    teacher_weight: Any,
    target: Any,
    temperature: Any,
    alpha: Any,
    ignore_index: Any,
    divergence: Any,
    reduction: Any,
    sample_weight: Any,
    workspace: Any,
    num_threads: Any,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradients), of alpha T^2 divergence + (1 - alpha) cross-entropy.

    For some rows after another: the logits of both, the gradient in place of the student's, and the
    products with it.
    """
    given = {
        "student": student,
        "student_weight": student_weight,
        "teacher": teacher,
        "teacher_weight": teacher_weight,
        "target": target,
        "sample_weight": sample_weight,
    }
    call = _check.linear_distillation(
        given, temperature, alpha, ignore_index, divergence, reduction, workspace, num_threads
    )
    made = _Gradients(call, gradient, grad_output, out)
    rows, classes = len(call.student), len(call.student_weight)
    dtype, of_teacher = _check.compute_dtype(call.student), _check.compute_dtype(call.teacher)
    weights = call.sample_weight
    if call.target is not None:
        weights = np.where(call.target == call.ignore_index, 0.0, weights)
    divisor = float(weights.sum()) if call.reduction == "mean" else 1.0
    scales = weights / divisor if divisor else np.zeros(rows)
    scales = np.where(scales == 0, 0.0, scales * np.reshape(made.grad_output, -1))

    logits_bytes = classes * (dtype.itemsize + of_teacher.itemsize)
    features = max(call.student.shape[1], call.teacher.shape[1])
    limit = call.workspace or WORKSPACE_BYTES
    each = logits_bytes + PRODUCT_VALUES * features * dtype.itemsize
    count = _fitting(max(limit - PRODUCT_BYTES, FEWEST_ROWS * each), each, rows)
    left = max(1, limit - count * logits_bytes)
    z = _core.new_array((count, classes), dtype)
    t = _core.new_array((count, classes), of_teacher)
    losses = np.empty(rows)
    for first in range(0, rows, count):
        part = slice(first, min(first + count, rows))
        x, own, others = call.student[part], z[: part.stop - first], t[: part.stop - first]
        _core.linear_product(
            *(x, call.student_weight, own), workspace=left, num_threads=call.num_threads
        )
        _core.linear_product(
            *(call.teacher[part], call.teacher_weight, others),
            workspace=left,
            num_threads=call.num_threads,
        )
        for block in blocks_of(own):
            at = slice(first + block.start, min(first + block.stop, part.stop))
            losses[at] = losses_of_block(
                own[block],
                (others[block],),
                None if call.target is None or call.alpha == 1 else call.target[at],
                call.temperature,
                call.alpha,
                call.ignore_index,
                scales[at],
                call.divergence,
                call.num_threads,
                own[block] if made.wanted else None,
            )
        if made.wanted:
            made.add(x, call.student_weight, own, part, slice(0, classes), scales[part], left)
    losses = np.multiply(weights, losses, where=weights != 0, out=np.zeros(rows))
    return made.delivered(losses, divisor)


@quietly
def linear_binary_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    reduction: Any,
    workspace: Any,
    num_threads: Any,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradients), of the mean binary cross-entropy of each position.

    No class depends on another: for a group of classes after another, and in it for some rows, the
    logits, the gradient in their place, and the products with it.
    """
    given = {"input": input, "linear_weight": linear_weight, "target": target}
    call = _check.labelled_layer(given, reduction, workspace, num_threads)
    made = _Gradients(call, gradient, grad_output, out)
    rows, classes = len(call.rows), len(call.weight)
    dtype = _check.compute_dtype(call.rows)
    divisor = float(rows) if call.reduction == "mean" else 1.0
    scales = np.broadcast_to(np.reshape(made.grad_output, -1), (rows,))
    scales = scales / divisor if divisor else np.zeros(rows)

    limit = call.workspace or WORKSPACE_BYTES
    logit_bytes = dtype.itemsize + 1
    logits = max(FEWEST_ROWS * GROUP_CLASSES, (limit - PRODUCT_BYTES) // 2 // logit_bytes)
    count = _fitting(logits, min(classes, GROUP_CLASSES), rows)
    group = _fitting(logits, max(count, 1), classes)
    left = max(1, limit - count * group * logit_bytes)
    losses = np.zeros(rows)
    held, held_labels = _core.new_array((count * group,), dtype), np.empty(count * group, np.uint8)
    for first_class in range(0, classes, group):
        some = slice(first_class, min(first_class + group, classes))
        weight = call.weight[some]
        share = len(weight) / classes
        for first in range(0, rows, count):
            part = slice(first, min(first + count, rows))
            x, labels = call.rows[part], call.target[part]
            shape = len(x), len(weight)
            z, one_hot = (each[: prod(shape)].reshape(shape) for each in (held, held_labels))
            _mark(labels, some, one_hot)
            _core.linear_product(x, weight, z, workspace=left, num_threads=call.num_threads)
            kernel = RowwiseCall(
                "multilabel_soft_margin_loss",
                (z, one_hot),
                (_check.ROWS,),
                reduction="none",
                axis=1,
                num_threads=call.num_threads,
                wide=True,
            )
            wanted = (True, (share * scales[part]).astype(dtype), z) if made.wanted else ()
            result = _core.rowwise_plain(kernel, *wanted)
            if result is None:
                raise SystemError("fusedloss: arguments that passed every check were not taken")
            losses[part] += share * (result[0] if made.wanted else result)
            if made.wanted:
                made.add(x, weight, z, part, some, scales[part], left)
    return made.delivered(losses, divisor)


@quietly
def p2s_grad(
    call: _check.LinearCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradients), of the mean squared error of each position's cosines.

    For a group of classes after another, and in it for some rows: the products of unit rows, less 1
    at the targets. These residuals are the gradient by the products, but for a factor of each row.
    """
    assert call.weight is not None
    made = _Gradients(call, gradient, grad_output, out)
    features, classes = call.input.shape[-1], len(call.weight)
    x, target = call.input.reshape(-1, features), call.target.reshape(-1)
    rows, dtype = len(x), call.compute_dtype
    counts = target != call.ignore_index
    if call.where is not None:
        counts = counts & call.where.reshape(-1)
    weights = counts.astype(np.float64)
    if call.sample_weight is not None:
        weights = np.where(counts, call.sample_weight.reshape(-1).astype(np.float64), 0)
    divisor = float(weights.sum()) if call.reduction == "mean" else 1.0
    scales = weights * np.reshape(made.grad_output, -1) * (2 / classes)
    scales = np.where(weights == 0, 0, scales / divisor if divisor else 0)
    # The class of no position that is left out is looked for.
    target = np.where(weights == 0, 0, target).astype(np.int64)

    limit = (call.workspace or WORKSPACE_BYTES) // dtype.itemsize
    values = max(FEWEST_ROWS * GROUP_CLASSES, (limit - PRODUCT_BYTES // dtype.itemsize) // 2)
    some_classes = min(classes, GROUP_CLASSES, max(1, values // 2 // features))
    count = _fitting(values - some_classes * features, some_classes + 2 * features, rows)
    group = _fitting(values - 2 * count * features, count + features, classes)
    left = max(1, limit - count * group - (2 * count + group) * features) * dtype.itemsize
    held = _core.new_array((count * group,), dtype)
    of_rows, of_classes = (Units(most, features, dtype) for most in (count, group))
    scaled = _core.new_array((count, features), dtype)
    losses = np.zeros(rows)
    parts = [slice(first, min(first + count, rows)) for first in range(0, rows, count)]
    for first_class in range(0, classes, group):
        some = slice(first_class, min(first_class + group, classes))
        of_classes.read(call.weight[some])
        for part in parts:
            if len(parts) > 1 or first_class == 0:
                of_rows.read(x[part], weights[part] != 0)
            u, w = of_rows.unit, of_classes.unit
            z = held[: len(u) * len(w)].reshape(len(u), len(w))
            _core.linear_product(u, w, z, workspace=left, num_threads=call.num_threads)
            own = target[part] - some.start
            at = np.flatnonzero((own >= 0) & (own < len(w)) & (weights[part] != 0))
            z[at, own[at]] -= 1
            for j in range(0, len(w), RUN):
                run = z[:, j : j + RUN]
                losses[part] += np.einsum("ij,ij->i", run, run)
            if made.wanted:
                factors = scales[part, np.newaxis].astype(dtype)
                of_weights = np.multiply(u, factors, out=scaled[: len(u)])
                made.add(of_weights, w, z, part, some, scales[part], left)
        made.through_weight_norms(some, of_classes)
    for part in parts:
        if made.by_input and len(parts) > 1:
            of_rows.read(x[part], weights[part] != 0)
        made.through_input_norms(part, of_rows, scales[part])
    return made.delivered(np.where(weights == 0, 0, weights * losses / classes), divisor)


def _mark(labels: Array, classes: slice, one_hot: Array) -> None:
    """Write 1 for the labels of each row among some classes, 0 for the others."""
    one_hot[...] = 0
    row, at = np.nonzero((labels >= classes.start) & (labels < classes.stop))
    one_hot[row, labels[row, at].astype(np.int64) - classes.start] = 1


def _fitting(bytes_: int, each: int, most: int) -> int:
    """Return how many of `most` rows fit, in parts of about one size."""
    fitting = max(1, bytes_ // each)
    if fitting > PANEL:
        fitting = fitting // PANEL * PANEL
    parts = -(-most // fitting)
    even = -(-most // max(parts, 1))
    return max(1, min(fitting, -(-even // PANEL) * PANEL))


class _Gradients:
    """The gradients of a call, by the inputs and the weights of a layer."""

    def __init__(
        self,
        call: _check.DistilledLayer | _check.LabelledLayer | _check.LinearCall,
        gradient: bool | tuple[int, ...],
        grad_output: Any,
        out: Any,
    ) -> None:
        self._call = call
        self._places = _check.LinearGradients(call, gradient, grad_output, out)
        self.grad_output = self._places.grad_output
        self.wanted = gradient is not False
        self._by_input, self._by_weight = self._places.input, self._places.weight
        self._dx = self._summed(self._by_input)
        self._dw = self._summed(self._by_weight)

    def _summed(self, gradient: Array | None) -> Array | None:
        """Return an array that products can be added to: the gradient's own, or one beside it."""
        if gradient is None:
            return None
        rows = gradient.reshape(-1, gradient.shape[-1])
        dtype = _check.compute_dtype(gradient)
        if gradient.dtype == dtype and gradient.flags.c_contiguous:
            return rows
        return _core.new_array(rows.shape, dtype)

    def add(
        self,
        x: Array,
        weight: Array,
        gradient: Array,
        rows: slice,
        classes: slice,
        scales: Array,
        workspace: int,
    ) -> None:
        """Add the products of the gradient by the logits of some rows and classes."""
        counts = (scales != 0).astype(_check.compute_dtype(x))
        dx = None if self._dx is None else self._dx[rows]
        dw = None if self._dw is None else self._dw[classes]
        # The first groups of classes of these rows, and the first rows of these classes.
        begins = [
            start == 0 for start, of in ((classes.start, dx), (rows.start, dw)) if of is not None
        ]
        if not all(begins):
            for start, of in ((classes.start, dx), (rows.start, dw)):
                if start == 0 and of is not None:
                    of[...] = 0
        _core.linear_product(
            *(x, weight, gradient, counts, dx, dw),
            wanted=True,
            accumulate=not all(begins),
            workspace=workspace,
            num_threads=self._call.num_threads,
        )

    @property
    def by_input(self) -> bool:
        """Whether the gradient by the inputs is wanted."""
        return self._dx is not None

    def through_weight_norms(self, classes: slice, units: Units) -> None:
        """Turn what was added for the unit vectors of some classes into the gradient by weights."""
        if self._dw is not None:
            units.pull(self._dw[classes])

    def through_input_norms(self, rows: slice, units: Units, scales: Array) -> None:
        """Turn what was added for the unit vectors of some rows, each scaled, into the gradient."""
        if self._dx is not None:
            units.pull(self._dx[rows], scales[:, np.newaxis])
            self._dx[rows][scales == 0] = 0

    def delivered(self, losses: Array, divisor: float) -> Any:
        """Return the value of a call, whose losses are weighted, and its gradients if wanted."""
        shape = self._call.input.shape[:-1]
        value: Any
        if self._call.reduction == "none":
            with np.errstate(over="ignore"):
                value = losses.reshape(shape).astype(self._call.input.dtype)
        else:
            value = float(losses.sum() / divisor) if divisor else np.nan
        if not self.wanted:
            return value
        for gradient, summed in ((self._by_input, self._dx), (self._by_weight, self._dw)):
            if gradient is None or summed is None:
                continue
            if not len(losses):
                summed[...] = 0
            if not np.shares_memory(summed, gradient):
                np.copyto(gradient, summed.reshape(gradient.shape), casting="unsafe")
        return value, self._places.finish()
