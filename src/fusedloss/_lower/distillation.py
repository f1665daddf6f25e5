"""A teacher's softened distribution as the target, a block of rows at a time.

The kernels of losses of rows and of the softmax family do the work. Of the logits' size nothing is
made but the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower.loss import quietly
from fusedloss._types import Array, Extras

#: Elements of a block: a few megabytes, and enough work for all threads.
BLOCK_ELEMENTS = 1 << 20

CLASS_AXIS = 1

#: Rows of up to so many classes go side by side in the vector lanes, strided ones of more: what a
#: tile of few positions takes has to stay in cache.
SHORT_ROW = 128
MOST_STRIDED_CLASSES = 4096

#: The kernels' rows of divergences but the forward one, which has kernels of its own.
OTHER_DIVERGENCES = {"reverse": "reverse_distillation_loss", "js": "js_distillation_loss"}


@quietly
def distillation(
    student: Any,
    teacher: Any,
    target: Any,
    temperature: Any,
    alpha: Any,
    ignore_index: Any,
    reduction: Any,
    sample_weight: Any,
    where: Any,
    divergence: bool,
    num_threads: Any,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient), of alpha T^2 soft + (1 - alpha) hard.

    soft is the cross-entropy between teacher and student, less the teacher's entropy if
    `divergence`; hard is the cross-entropy between target and student.
    """
    mode = _check.reduction(reduction)
    ignored = _check.integer("ignore_index", ignore_index)
    warmth = _check.scale("temperature", temperature, student, power=2)
    share = _check.in_range("alpha", alpha, 0, 1)
    if target is None:
        share = 1.0
    threads = _check.num_threads(num_threads)
    names = ("student_logits", "teacher_logits") if divergence else ("logits", "target_logits")
    z, t, y, weights = _check.distillation(
        student, teacher, target, ignored, sample_weight, where, out, names
    )
    positions = weights.shape
    if y is not None:
        weights = np.where(y == ignored, 0.0, weights)
    divisor = float(weights.sum()) if mode == "mean" else 1.0
    scales = weights / divisor if divisor else np.zeros(positions)
    if grad_output is not None:
        cotangent = _check.loss_cotangent(grad_output, mode, z, positions)
        scales = np.where(scales == 0, 0.0, scales * cotangent)

    place = _check.place(out, z) if gradient else None
    lead = (None,) if z.ndim == 1 else ()  # one row of (C,)
    losses = np.empty(scales[lead].shape)
    for block in blocks_of(z[lead]):
        losses[block] = losses_of_block(
            z[lead][block],
            tuple(part[lead][block] for part in t),
            None if y is None or share == 1 else y[lead][block],
            warmth,
            share,
            ignored,
            scales[lead][block],
            "forward" if divergence else "none",
            threads,
            None if place is None else place[lead][block],
        )
    losses = np.multiply(
        weights, losses.reshape(positions), where=weights != 0, out=np.zeros(positions)
    )
    value: Any
    if mode == "none":
        with np.errstate(over="ignore"):
            value = losses.astype(z.dtype)
    else:
        value = float(losses.sum() / divisor) if divisor else np.nan
    if place is None:
        return value
    if out is not None and place is not out:
        np.copyto(out, place)
    return value, place if out is None else out


def blocks_of(z: Array, elements: int = BLOCK_ELEMENTS) -> Iterator[slice]:
    """Yield the rows of each block of about so many elements."""
    rows = max(1, elements // max(1, z[:1].size))
    for first in range(0, len(z), rows):
        yield slice(first, first + rows)


def losses_of_block(
    z: Array,
    teacher: tuple[Array, ...],
    target: Array | None,
    temperature: float,
    share: float,
    ignore_index: int,
    scale: Array,
    divergence: str,
    threads: int | None,
    place: Array | None,
) -> Array:
    """Return the unweighted losses of a block; its gradient times `scale` goes to `place`.

    divergence: one of `_check.DIVERGENCES`, or "none" for the cross-entropy.
    """
    dtype = _check.compute_dtype(z)
    # Rounded once: after both parts are added.
    soft_place = place if place is None or z.dtype == dtype else _core.new_array(z.shape, dtype)
    hard: Array | float = 0.0
    hard_place = None
    if target is not None:
        # First, since the soft part may overwrite the logits with their gradient.
        hard_place = None if place is None else _core.new_array(z.shape, dtype)
        kind, extras = _core.INDEX_TARGET, Extras(wide=True)
        hard = _kernel(
            kind, z, target, ignore_index, threads, extras, (1 - share) * scale, hard_place
        )
    soft_scale = share * temperature**2 * scale
    if len(teacher) == 1:
        soft = _from_logits(z, teacher[0], temperature, divergence, threads, soft_scale, soft_place)
    else:
        indices, log_probs = teacher
        soft = _from_top_k(z, indices, log_probs, temperature, threads, soft_scale, soft_place)
    if place is not None and soft_place is not None:
        if hard_place is not None:
            soft_place += hard_place
        if soft_place is not place:
            np.copyto(place, soft_place, casting="unsafe")
        # An ignored row may hold anything.
        np.moveaxis(place, CLASS_AXIS, -1)[scale == 0] = 0
    if target is None:
        return temperature**2 * soft
    return share * temperature**2 * soft + (1 - share) * hard


def _kernel(
    kind: int,
    z: Array,
    target: Array | None,
    ignore_index: int,
    threads: int | None,
    extras: Extras,
    scale: Array | float,
    place: Array | None,
) -> Any:
    """Return the losses of one kernel call, with their extra outputs if it has some."""
    reduction = "none" if isinstance(scale, np.ndarray) else "sum"
    cotangent: Any = scale
    if isinstance(scale, np.ndarray):
        cotangent = None if place is None else scale.astype(_check.compute_dtype(z))
    gradient = (False,) if place is None else (True, cotangent, place)
    call = _core.SoftmaxCall(
        *(kind, z, target),
        ignore_index=ignore_index,
        reduction=reduction,
        axis=CLASS_AXIS,
        num_threads=threads,
        extras=extras,
    )
    result = _core.softmax_plain(call, *gradient)
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    return result if place is None else result[0]


def _from_logits(
    z: Array,
    t: Array,
    temperature: float,
    divergence: str,
    threads: int | None,
    scale: Array,
    place: Array | None,
) -> Array:
    """Cross-entropy, or a divergence, between softmax(t / T) and softmax(z / T)."""
    classes, strided = z.shape[CLASS_AXIS], z.strides[CLASS_AXIS] != z.itemsize
    row = OTHER_DIVERGENCES.get(divergence)
    if row is None and (classes <= SHORT_ROW or (strided and classes <= MOST_STRIDED_CLASSES)):
        kind = _core.TEACHER_TARGET if divergence == "none" else _core.TEACHER_DIVERGENCE
        extras = Extras(temperature=temperature, wide=True)
        by_columns: Array = _kernel(kind, z, t, -100, threads, extras, scale, place)
        return by_columns.astype(np.float64)
    cotangent = None if place is None else scale.astype(_check.compute_dtype(z))
    own = () if row else (float(divergence == "none"),)
    call = _core.RowwiseCall(
        *(row or "distillation_loss", (z, t), (_check.ROWS,)),
        parameters=(temperature, *own),
        reduction="none",
        axis=CLASS_AXIS,
        num_threads=threads,
        wide=True,
    )
    result = _core.rowwise_plain(call, place is not None, cotangent, place)
    if result is None:
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    losses: Array = result if place is None else result[0]
    return losses.astype(np.float64)


def _from_top_k(
    z: Array,
    indices: Array,
    log_probs: Array,
    temperature: float,
    threads: int | None,
    scale: Array,
    place: Array | None,
) -> Array:
    """Sum over the teacher's classes of q (log q - log softmax(z / T))."""
    log_q = log_probs.astype(np.float64)
    q = np.exp(log_q)
    total = q.sum(CLASS_AXIS)
    chosen = np.take_along_axis(z, indices.astype(np.intp), CLASS_AXIS).astype(np.float64)
    # sum of q (log q - (z - z_i) / T) - log softmax(z / T)_i sum of q, i being the largest of the
    # teacher's classes: no large numbers cancel.
    largest = chosen.argmax(CLASS_AXIS, keepdims=True)
    pivot = np.take_along_axis(indices, largest, CLASS_AXIS)
    extras = Extras(temperature=temperature, wide=True)
    options = (-100, threads, extras, scale * total)
    losses: Array = _kernel(_core.INDEX_TARGET, z, pivot.squeeze(CLASS_AXIS), *options, None)
    if place is not None:
        # Sum of q times the softmax, less q: that of the log-sum-exp rounds no pivot.
        _kernel(_core.LOGSUMEXP, z, None, *options, place)
        share = np.moveaxis(q, CLASS_AXIS, -1) * (scale / temperature)[..., None]
        at = np.moveaxis(indices, CLASS_AXIS, -1)
        grid = np.ogrid[tuple(slice(n) for n in (*scale.shape, 1))]
        by_class = np.moveaxis(place, CLASS_AXIS, -1)
        np.subtract.at(by_class, (*grid[:-1], at), share.astype(place.dtype))
    top = np.take_along_axis(chosen, largest, CLASS_AXIS)
    with np.errstate(invalid="ignore"):
        behind = np.where(chosen == top, 0.0, chosen - top)
        terms = np.where(q > 0, q * (log_q - behind / temperature), 0.0)
        soft: Array = terms.sum(CLASS_AXIS) + losses * total
    return soft
