"""The softmax family in torch: kernel calls, and formulas in torch's differentiable operations.

A formula answers where the kernels do not: it says what is wrong with bad input, runs on other
devices and under torch's transforms, and is what second derivatives are taken of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusedloss import _check
from fusedloss._core import ENTROPY, SoftmaxCall, softmax_plain
from fusedloss._lower.distillation import distillation
from fusedloss._types import Array, Extras
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import (
    Tensors,
    detached,
    expect_mask,
    expect_tensors,
    in_computing_type,
    wide,
)
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits

NO_EXTRAS = Extras()

#: categorical_cross_entropy keeps probabilities so far from 0 and 1.
EPSILON = 1e-7


class Softmax(NamedTuple):
    """A call of the softmax kernels; its other tensors are target, weight and sample weight."""

    #: (call, z, axis, target, weight) to losses by position; where ignored they may be anything
    losses: Callable[[Softmax, Tensor, int, Tensor, Tensor | None], Tensor]
    kind: int
    ignore_index: int
    label_smoothing: float
    reduction: str
    axis: int | None = None
    extras: Extras | None = None
    deferred: bool = False
    differentiable: int = 1
    takes_tensors: bool = True

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: Any = None,
        out: tuple[Any, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss; None if it does not take the arguments."""
        prediction, target, weight, sample_weight = tensors
        where = None
        if self.kind == ENTROPY:
            where = None if _has_classes(target) else target != self.ignore_index
            target = None
        if weight is not None:
            weight = in_computing_type(weight, prediction)
        call = SoftmaxCall(
            self.kind,
            prediction,
            target,
            weight,
            sample_weight,
            self.ignore_index,
            self.label_smoothing,
            self.reduction,
            self.axis,
            torch.get_num_threads(),
            self.extras,
            where,
        )
        place = out[0] if wanted else None
        result = softmax_plain(call, bool(wanted), grad_output, place, False, True)
        return result[0] if wanted and result is not None else result

    def checked(self, prediction: Tensor) -> Softmax:
        """Return the call with its options checked."""
        return self._replace(
            ignore_index=_check.integer("ignore_index", self.ignore_index),
            label_smoothing=_check.in_range("label_smoothing", self.label_smoothing, 0, 1),
            reduction=_check.reduction(self.reduction),
            extras=None if self.extras is None else _check.checked_extras(self.extras, prediction),
        )

    def formula(
        self,
        prediction: Tensor,
        target: Tensor,
        weight: Tensor | None,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Compute the loss from torch's operations."""
        extras = self.extras or NO_EXTRAS
        axis = _class_axis(prediction, self.axis)
        silent = self.silent(prediction, axis, target, weight, sample_weight)
        others = prediction
        if prediction.dim() > 0:
            others = prediction.masked_fill(silent.unsqueeze(axis), 1)
        z = _capped(others, extras)
        weight = None if weight is None else weight.to(z.dtype)
        if _has_classes(target) and target.shape == z.shape:
            target = target.masked_fill(silent.unsqueeze(axis), 0)
        losses = self.losses(self, z, axis, target, weight)
        counts = _counts(losses, target, self.ignore_index, sample_weight)
        divisors = counts
        if weight is not None and not _has_classes(target) and not extras.mean_of_positions:
            labels = target.masked_fill(target == self.ignore_index, 0).long()
            divisors = counts * weight[labels].reshape(counts.shape)
        value = _reduced(losses, silent, counts, divisors, self.reduction)
        if extras.z_loss:
            squares = extras.z_loss * z.logsumexp(axis).square()
            value = value + _reduced(squares, silent, counts, counts, self.reduction)
        if extras.entropy_bonus:
            spread = -extras.entropy_bonus * entropy(self, z, axis, target, None)
            value = value + _reduced(spread, silent, counts, counts, self.reduction)
        return value if extras.wide else value.to(prediction.dtype)

    def of_surprise(self) -> Softmax:
        """Return the call whose losses, without weights, are minus the output log_prob."""
        softcap = None if self.extras is None else self.extras.softcap
        return self._replace(
            losses=cross_entropy,
            label_smoothing=0.0,
            reduction="none",
            extras=Extras(softcap=softcap, wide=True),
            deferred=True,
        )

    def of_entropy(self) -> Softmax:
        """Return the call whose losses are the output entropy."""
        softcap = None if self.extras is None else self.extras.softcap
        return self._replace(
            losses=entropy,
            kind=ENTROPY,
            label_smoothing=0.0,
            reduction="none",
            extras=Extras(softcap=softcap, wide=True),
            deferred=True,
        )

    def silent(
        self,
        prediction: Tensor,
        axis: int,
        target: Tensor,
        weight: Tensor | None,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Return which positions are ignored; none where the arguments do not fit each other."""
        axis %= max(1, prediction.dim())
        shape = prediction.shape[:axis] + prediction.shape[axis + 1 :]
        silent = torch.zeros(shape, dtype=torch.bool, device=prediction.device)
        if sample_weight is not None and sample_weight.shape == shape:
            silent = silent | (sample_weight == 0)
        if _has_classes(target) or target.shape != shape:
            return silent
        silent = silent | (target == self.ignore_index)
        if weight is None or weight.dim() != 1 or weight.shape != prediction.shape[axis : axis + 1]:
            return silent
        labels = target.masked_fill(silent, 0).long().clamp(0, len(weight) - 1)
        return silent | (weight[labels] == 0) if self.label_smoothing == 0 else silent

    def outputs(self, prediction: Tensor, target: Tensor, *weights: Any) -> dict[str, Tensor]:
        """Compute the extra outputs from torch's operations."""
        extras = self.extras or NO_EXTRAS
        if not extras.outputs:
            return {}
        _check.outputs_of(extras.outputs, _has_classes(target))
        with torch.no_grad():
            z, axis = _capped(prediction, extras), _class_axis(prediction, self.axis)
            label = target.argmax(axis) if _has_classes(target) else target
            made = {
                "lse": z.logsumexp(axis),
                "accuracy": (z.argmax(axis) == label).to(z.dtype),
            }
            if not _has_classes(target):
                ignored = target == self.ignore_index
                made = {name: output.masked_fill(ignored, 0) for name, output in made.items()}
        if "entropy" in extras.outputs:
            made["entropy"] = self.of_entropy().formula(prediction, target, None, None)
        if "log_prob" in extras.outputs:
            made["log_prob"] = -self.of_surprise().formula(prediction, target, None, None)
        return {name: made[name] for name in extras.outputs}


def cross_entropy(
    call: Softmax, z: Tensor, axis: int, target: Tensor, weight: Tensor | None
) -> Tensor:
    return functional.cross_entropy(
        z,
        target,
        weight,
        ignore_index=call.ignore_index,
        reduction="none",
        label_smoothing=call.label_smoothing,
    )


def entropy(call: Softmax, z: Tensor, axis: int, target: Tensor, weight: Tensor | None) -> Tensor:
    log_p = functional.log_softmax(z, axis)
    p = log_p.exp()
    # 0 times -inf is 0, and so is its gradient.
    return -(p * log_p.masked_fill(p == 0, 0)).sum(axis)


def negative_log_likelihood(
    call: Softmax, log_p: Tensor, axis: int, target: Tensor, weight: Tensor | None
) -> Tensor:
    return functional.nll_loss(
        log_p, target, weight, ignore_index=call.ignore_index, reduction="none"
    )


def focal(call: Softmax, z: Tensor, axis: int, target: Tensor, weight: Tensor | None) -> Tensor:
    log_p = functional.log_softmax(z, axis)
    losses = negative_log_likelihood(call, log_p, axis, target, None)
    # 1 - p, and not quite 0: a power below 1 has no derivative there.
    rest = (-torch.expm1(-losses)).clamp_min(torch.finfo(z.dtype).tiny)
    if weight is not None:
        losses = negative_log_likelihood(call, log_p, axis, target, weight)
    return rest ** (call.extras or NO_EXTRAS).gamma * losses


def focal_of_shares(
    logits: Tensor, target: Tensor, gamma: float, weight: Tensor | None = None
) -> Tensor:
    """Return the focal losses of distributions of classes."""
    expect_shape("target", target, logits.shape)
    axis = _class_axis(logits)
    log_p = functional.log_softmax(logits, axis)
    rest = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
    shares = target
    if weight is not None:
        shares = (target.movedim(axis, -1) * weight).movedim(-1, axis)
    return _expectation(shares, -log_p.masked_fill(shares == 0, 0) * rest**gamma, axis)


def categorical(
    call: Softmax, probs: Tensor, axis: int, target: Tensor, weight: Tensor | None
) -> Tensor:
    share, gamma = call.label_smoothing, (call.extras or NO_EXTRAS).gamma
    q = (probs / probs.sum(axis, keepdim=True)).clamp(EPSILON, 1 - EPSILON)
    log_q = q.log()
    if gamma:
        log_q = log_q * (1 - q) ** gamma
    if weight is not None:
        expect_shape("alpha", weight, probs.shape[axis:][:1])
        log_q = (log_q.movedim(axis, -1) * weight).movedim(-1, axis)
    even = -log_q.mean(axis)
    if _has_classes(target):
        expect_shape("target", target, probs.shape)
        return share * even - (1 - share) * (target * log_q).sum(axis)
    log_q = log_q.movedim(axis, _class_axis(probs, None))
    losses = (1 - share) * negative_log_likelihood(call, log_q, axis, target, None)
    return losses + share * even


class Distillation(NamedTuple):
    """A call of distillation; its other tensors are target, sample weight and the teacher's."""

    temperature: float
    alpha: float
    ignore_index: int
    reduction: str
    divergence: str  # one of `_check.DIVERGENCES`; "none": with the teacher's entropy
    deferred: bool = False
    differentiable: int = 1

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernels and return the loss; None if they do not take the arguments."""
        prediction, *others = tensors
        target, sample_weight, *teacher = (
            None if x is None else numbers_of_bits(detached(x)) for x in others
        )
        if isinstance(grad_output, np.ndarray):
            grad_output = numbers_of_bits(grad_output)
        result = distillation(
            numbers_of_bits(detached(prediction)),
            teacher[0] if len(teacher) == 1 else tuple(teacher),
            target,
            self.temperature,
            self.alpha,
            self.ignore_index,
            self.reduction,
            sample_weight,
            None,
            self.divergence != "none",
            torch.get_num_threads(),
            bool(wanted),
            grad_output,
            numbers_of_bits(out[0]) if wanted else None,
        )
        return bits_of_numbers(result[0] if wanted else result)

    def checked(self, prediction: Tensor) -> Distillation:
        """Return the call with its options checked."""
        return self._replace(
            temperature=_check.scale("temperature", self.temperature, prediction, power=2),
            alpha=_check.in_range("alpha", self.alpha, 0, 1),
            ignore_index=_check.integer("ignore_index", self.ignore_index),
            reduction=_check.reduction(self.reduction),
        )

    def formula(
        self,
        prediction: Tensor,
        target: Tensor | None,
        sample_weight: Tensor | None,
        *teacher: Tensor,
    ) -> Tensor:
        """Compute the loss from torch's operations."""
        z, axis = wide(prediction), _class_axis(prediction)
        positions = positions_of(z)
        silent = torch.zeros(positions, dtype=torch.bool, device=z.device)
        if sample_weight is not None and sample_weight.shape == positions:
            silent = sample_weight == 0
        if target is not None and target.shape == positions:
            silent = silent | (target == self.ignore_index)
        z = z.masked_fill(silent.unsqueeze(axis), 1)
        if teacher[-1].dim() == z.dim() and positions_of(teacher[-1]) == positions:
            teacher = (*teacher[:-1], teacher[-1].masked_fill(silent.unsqueeze(axis), 1))
        log_p = functional.log_softmax(z / self.temperature, axis)
        log_q = wide(teacher[-1])
        if len(teacher) == 1:
            expect_shape("teacher_logits", log_q, prediction.shape)
            log_q = functional.log_softmax(log_q / self.temperature, axis)
        else:
            log_p = log_p.gather(axis, teacher[0])
            expect_shape("teacher_logits[1]", log_q, log_p.shape)
        soft = _divergence(self.divergence, log_p, log_q, axis)
        share = self.alpha if target is not None else 1.0
        losses = share * self.temperature**2 * soft
        if target is not None:
            losses = losses + (1 - share) * functional.cross_entropy(
                z, target, ignore_index=self.ignore_index, reduction="none"
            )
        counts = _counts(losses, target, self.ignore_index, sample_weight)
        return _reduced(losses, counts == 0, counts, counts, self.reduction).to(prediction.dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Distillation has no extra outputs."""
        return {}


def weight_of_classes(alpha: float | Tensor, logits: Tensor, axis: int | None = None) -> Tensor:
    """Return a focal loss's alpha with an element per class."""
    expect_tensors(logits)
    if not isinstance(alpha, Tensor):
        number = _check.number("alpha", alpha)
        alpha = torch.tensor(number, dtype=torch.float64, device=logits.device)
    classes = logits.shape[_class_axis(logits, axis) :][:1]
    return alpha.expand(classes) if alpha.dim() == 0 else alpha


def _capped(logits: Tensor, extras: Extras) -> Tensor:
    z = wide(logits)
    return z if extras.softcap is None else extras.softcap * torch.tanh(z / extras.softcap)


def _class_axis(prediction: Tensor, axis: int | None = None) -> int:
    if axis is None:
        return 1 if prediction.dim() > 1 else 0
    return axis


def _has_classes(target: Tensor) -> bool:
    """Whether a target is one of probabilities, which has an axis of classes."""
    return target.is_floating_point()


def _divergence(name: str, log_p: Tensor, log_q: Tensor, axis: int) -> Tensor:
    """Return what a student's p is from a teacher's q; or, of "none", their cross-entropy."""
    if name == "none":
        return _expectation(log_q.exp(), -log_p, axis)
    if name == "forward":
        return _expectation(log_q.exp(), log_q - log_p, axis)
    if name == "reverse":
        return _expectation(log_p.exp(), log_p - log_q, axis)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    of_p, of_q = (_expectation(x.exp(), x - log_m, axis) for x in (log_p, log_q))
    return (of_p + of_q) / 2


def _expectation(p: Tensor, x: Tensor, axis: int) -> Tensor:
    """Sum of p x, where 0 times infinity is 0."""
    return (p * x.masked_fill(p == 0, 0)).sum(axis)


def without_masked(
    where: Tensor,
    shape: torch.Size,
    target: Tensor,
    sample_weight: Tensor | None,
    ignore_index: int,
) -> tuple[Tensor, Tensor | None]:
    """Return target and sample weight by which positions that `where` leaves out are ignored.

    Class indices become `ignore_index` there; against probabilities sample weights are 0.
    """
    expect_mask(where)
    expect_shape("where", where, shape)
    if not isinstance(target, Tensor) or _has_classes(target):
        if sample_weight is None:
            return target, where.float()
        return target, sample_weight.masked_fill(~where, 0)
    expect_shape("target", target, shape)
    if target.dtype is not torch.int64 and not target.is_complex():
        target = target.long()  # which holds any ignore_index
    return target.masked_fill(~where, ignore_index), sample_weight


def classes_second(axis: int | None, *tensors: Tensor | None) -> tuple[Any, ...]:
    """Return views of tensors whose classes are where torch has them, on the second axis.

    axis: where they are; None means that they are there already. Of the tensors, the first of which
    is the prediction, those of fewer axes have none of classes.
    """
    first = tensors[0]
    if axis is None or first is None:
        return tensors
    at, to = _check.integer("axis", axis), _class_axis(first)
    if not -first.dim() <= at < first.dim():
        raise ValueError(
            f"axis is {at}: out of range for a prediction of shape {tuple(first.shape)}"
        )
    return tuple(
        x.movedim(at, to) if x is not None and x.dim() == first.dim() else x for x in tensors
    )


def silenced(result: Any, where: Tensor | None) -> Any:
    """Return a loss and its outputs, those 0 that `where` leaves out."""
    if where is None or not isinstance(result, tuple):
        return result
    loss, outputs = result
    return loss, {name: x.masked_fill(~where, 0) for name, x in outputs.items()}


def positions_of(prediction: Tensor, axis: int | None = None) -> torch.Size:
    """Return the shape of a prediction without its axis of classes."""
    at = _class_axis(prediction, axis) % max(1, prediction.dim())
    return torch.Size([*prediction.shape[:at], *prediction.shape[at + 1 :]])


def expect_shape(name: str, tensor: Tensor, shape: torch.Size) -> None:
    """Raise ValueError for a tensor of another shape."""
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: expected {tuple(shape)}")


def _counts(
    losses: Tensor, target: Tensor | None, ignore_index: int, sample_weight: Tensor | None
) -> Tensor:
    """Return what the position counts in a mean: its sample weight, or 0 where it is ignored."""
    counts = torch.ones_like(losses)
    if sample_weight is not None:
        expect_shape("sample_weight", sample_weight, losses.shape)
        counts = sample_weight.to(losses.dtype)
    if target is None or _has_classes(target):
        return counts
    return counts.masked_fill((target == ignore_index).reshape(losses.shape), 0)


def _reduced(
    losses: Tensor, silent: Tensor, counts: Tensor, divisors: Tensor, reduction: str
) -> Tensor:
    """Weigh and reduce losses but the `silent` ones; a mean divides by the sum of `divisors`."""
    losses = losses.masked_fill(silent.reshape(losses.shape), 0) * counts
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    divisor = divisors.sum()
    nothing = divisor == 0
    # The mean of nothing is nan, but its gradient zero.
    mean = losses.sum() / divisor.masked_fill(nothing, 1)
    return mean.masked_fill(nothing, math.nan)
