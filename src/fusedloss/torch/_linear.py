"""Linear layer and cross-entropy in torch: kernel calls, and the formula in torch's operations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusedloss import _check
from fusedloss._core import linear_cross_entropy
from fusedloss._lower import adaptive
from fusedloss._lower.linear import linear_binary_cross_entropy, linear_distillation
from fusedloss._types import Array
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import Tensors, array, detached, transformed, wide
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._operators.calls import readable
from fusedloss.torch._softmax import NO_EXTRAS, Distillation, Softmax, expect_shape

_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_INDICES = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


class Linear(NamedTuple):
    """A call of the linear kernels.

    Its tensors are input, linear weight, linear bias, target, weight and sample weight.
    """

    of_logits: Softmax
    ignore_index: int | None  # None: that of `of_logits` for indices, none for probabilities
    filter_eps: float
    workspace: int
    differentiable: int  # the bias, if there is one
    dtype: torch.dtype  # the loss's

    @property
    def reduction(self) -> str:
        """How the losses of the positions are reduced."""
        return self.of_logits.reduction

    @property
    def deferred(self) -> bool:
        """Whether gradients are left to the backward pass."""
        return self.of_logits.deferred

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss; None if it does not take the arguments."""
        if not self._takes(*tensors):
            return None
        x, linear_weight, linear_bias, target, weight, sample_weight = tensors
        layer = {"input": detached(x), "linear_weight": detached(linear_weight)}
        if linear_bias is not None:
            layer["linear_bias"] = detached(linear_bias)
        computed = torch.float64 if x.dtype is torch.float64 else torch.float32
        weights = [
            None if each is None else array(each.to(computed).contiguous())
            for each in (weight, sample_weight)
        ]
        if isinstance(grad_output, np.ndarray):
            grad_output = torch.from_numpy(grad_output).view(self.dtype).to(computed).numpy()
        options = self.of_logits.checked(x)
        extras = options.extras or NO_EXTRAS
        _check.outputs_of(extras.outputs, target.is_floating_point())
        call = _check.LinearCall(
            given=layer,
            input=layer["input"],
            weight=layer["linear_weight"],
            target=array(target),
            bias=layer.get("linear_bias"),
            class_weight=weights[0],
            sample_weight=weights[1],
            reduction=options.reduction,
            ignore_index=options.ignore_index,
            label_smoothing=options.label_smoothing,
            extras=extras,
            shift=0,
            precision=torch.get_float32_matmul_precision(),
            workspace=self.workspace,
            num_threads=torch.get_num_threads(),
            compute_dtype=_check.compute_dtype(layer["input"]),
            filter_eps=self.filter_eps,
            loss_dtype=None if x.dtype is self.dtype else np.dtype(np.float32),
        )
        result = linear_cross_entropy(call, wanted or False, grad_output, out or None, True)
        value = result[0] if wanted else result
        if x.dtype is self.dtype or not isinstance(value, float):
            return value
        return np.asarray(value, np.float32)

    def of_surprise(self) -> Linear:
        """Return the call whose losses, without weights, are minus the output log_prob."""
        computed = torch.float64 if self.dtype is torch.float64 else torch.float32
        return self._replace(of_logits=self.of_logits.of_surprise(), dtype=computed)

    def _takes(
        self,
        x: Tensor,
        linear_weight: Tensor,
        linear_bias: Tensor | None,
        target: Tensor,
        weight: Tensor | None,
        sample_weight: Tensor | None,
    ) -> bool:
        """Whether dtypes and shapes are what the kernels take."""
        is_index = target.dtype in _INDICES
        positions, classes = x.shape[:-1], linear_weight.shape[:1]
        return (
            x.dtype in _DTYPES
            and linear_weight.dtype is x.dtype
            and (is_index or (target.dtype in _DTYPES and self.ignore_index is None))
            and linear_weight.dim() == 2
            and linear_weight.numel() > 0
            and 0 < x.dim() <= _check.MOST_DIMENSIONS + 1
            and x.shape[-1] == linear_weight.shape[1]
            and (linear_bias is None or linear_bias.shape == classes)
            and (linear_bias is None or linear_bias.dtype is x.dtype)
            and target.shape == (positions if is_index else positions + classes)
            and (weight is None or weight.shape == classes)
            and (sample_weight is None or sample_weight.shape == positions)
        )

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations."""
        x, linear_weight, _, target, weight, sample_weight = tensors
        if x.dim() > 0 and linear_weight.dim() == 2:
            # 0 times NaN is NaN, so ignored positions enter the weight's gradient as zeros.
            logits = x[..., :1].expand(*x.shape[:-1], len(linear_weight))
            silent = self.of_logits.silent(logits, x.dim() - 1, target, weight, sample_weight)
            tensors = (x.masked_fill(silent.unsqueeze(-1), 0), *tensors[1:])
        z, *others, shape = self._of_rows(*tensors)
        loss = self.of_logits.formula(z, *others).to(self.dtype)
        return loss.reshape(shape) if self.reduction == "none" else loss

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Compute the extra outputs from torch's operations."""
        if not (self.of_logits.extras or NO_EXTRAS).outputs:
            return {}
        *others, shape = self._of_rows(*tensors)
        return {k: x.reshape(shape) for k, x in self.of_logits.outputs(*others).items()}

    def _of_rows(
        self,
        x: Tensor,
        linear_weight: Tensor,
        linear_bias: Tensor | None,
        target: Tensor,
        weight: Tensor | None,
        sample_weight: Tensor | None,
    ) -> tuple[Any, ...]:
        """Return logits, target and weights with one axis of positions; the shape of positions."""
        if self.ignore_index is not None and target.is_floating_point():
            raise ValueError(
                "ignore_index is given: expected class indices, target has probabilities"
            )
        z = functional.linear(x, linear_weight, linear_bias)
        positions = z.shape[:-1]
        expect_shape("target", target, z.shape if target.is_floating_point() else positions)
        if sample_weight is not None:
            expect_shape("sample_weight", sample_weight, positions)
            sample_weight = sample_weight.reshape(-1)
        rows = target.reshape(-1, *target.shape[len(positions) :])
        return z.reshape(-1, z.shape[-1]).to(self.dtype), rows, weight, sample_weight, positions


class DistilledLayer(NamedTuple):
    """A call of linear_distillation_loss.

    Its tensors are the student's input and weight, the teacher's, target and sample weight.
    """

    temperature: float
    alpha: float
    divergence: str
    ignore_index: int
    reduction: str
    workspace: int
    deferred: bool = False
    differentiable: int = 2

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernels and return the loss; None if they do not take the arguments."""
        student, student_weight, teacher, teacher_weight, target, sample_weight = (
            None if x is None else numbers_of_bits(detached(x)) for x in tensors
        )
        result = linear_distillation(
            student,
            student_weight,
            teacher,
            teacher_weight,
            target,
            self.temperature,
            self.alpha,
            self.ignore_index,
            self.divergence,
            self.reduction,
            sample_weight,
            self.workspace or None,
            torch.get_num_threads(),
            *_places(wanted, grad_output, out),
        )
        return bits_of_numbers(result[0] if wanted else result)

    def checked(self, student: Tensor) -> DistilledLayer:
        """Return the call with its options checked."""
        return self._replace(
            temperature=_check.scale("temperature", self.temperature, student, power=2),
            alpha=_check.in_range("alpha", self.alpha, 0, 1),
            divergence=_check.one_of("divergence", self.divergence, _check.DIVERGENCES),
            ignore_index=_check.integer("ignore_index", self.ignore_index),
            reduction=_check.reduction(self.reduction),
        )

    def formula(
        self,
        student: Tensor,
        student_weight: Tensor,
        teacher: Tensor,
        teacher_weight: Tensor,
        target: Tensor | None,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Compute the loss from torch's operations."""
        positions = student.shape[:-1]
        expect_shape("teacher", teacher, torch.Size((*positions, teacher.shape[-1])))
        silent = torch.zeros(positions, dtype=torch.bool, device=student.device)
        if sample_weight is not None:
            expect_shape("sample_weight", sample_weight, positions)
            silent = sample_weight == 0
        if target is not None:
            expect_shape("target", target, positions)
            silent = silent | (target == self.ignore_index)
        # 0 times NaN is NaN, so ignored positions enter the weight's gradient as zeros.
        z, t = (
            functional.linear(wide(x).masked_fill(silent.unsqueeze(-1), 0), wide(weight))
            for x, weight in ((student, student_weight), (teacher, teacher_weight))
        )
        expect_shape("teacher_weight", teacher_weight, torch.Size((z.shape[-1], teacher.shape[-1])))
        of_logits = Distillation(
            self.temperature, self.alpha, self.ignore_index, self.reduction, self.divergence
        )
        target, sample_weight = (
            None if x is None else x.reshape(-1) for x in (target, sample_weight)
        )
        z, t = (x.reshape(-1, x.shape[-1]) for x in (z, t.to(z.dtype)))
        loss = of_logits.formula(z, target, sample_weight, t).to(student.dtype)
        return loss.reshape(positions) if self.reduction == "none" else loss

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """There are no extra outputs."""
        return {}


def _places(
    wanted: tuple[int, ...], grad_output: float | Array | None, out: tuple[Array, ...]
) -> tuple[Any, Any, Any]:
    """Return what the functions of arrays are told of gradients."""
    if not wanted:
        return False, None, None
    if isinstance(grad_output, np.ndarray):
        grad_output = numbers_of_bits(grad_output)
    return wanted, grad_output, tuple(map(numbers_of_bits, out)) or None


class LabelledLayer(NamedTuple):
    """A call of linear_binary_cross_entropy; its tensors are input, weight and target."""

    reduction: str
    workspace: int
    deferred: bool = False
    differentiable: int = 2

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernels and return the loss; None if they do not take the arguments."""
        x, linear_weight, target = (numbers_of_bits(detached(x)) for x in tensors)
        result = linear_binary_cross_entropy(
            x,
            linear_weight,
            target,
            self.reduction,
            self.workspace or None,
            torch.get_num_threads(),
            *_places(wanted, grad_output, out),
        )
        return bits_of_numbers(result[0] if wanted else result)

    def formula(self, input: Tensor, linear_weight: Tensor, target: Tensor) -> Tensor:
        """Compute the loss from torch's operations."""
        z = functional.linear(wide(input), wide(linear_weight))
        if target.dtype not in _INDICES:
            raise TypeError(f"target has dtype {target.dtype}: expected integer class indices")
        expect_shape("target", target, torch.Size((*z.shape[:-1], target.shape[-1])))
        classes = z.shape[-1]
        at = target.long().masked_fill(target == _check.NO_LABEL, classes)
        labels = torch.zeros((*z.shape[:-1], classes + 1), dtype=z.dtype, device=z.device)
        labels = labels.scatter(-1, at, 1)[..., :-1]
        losses = functional.binary_cross_entropy_with_logits(z, labels, reduction="none").mean(-1)
        if self.reduction == "mean":
            losses = losses.mean()
        elif self.reduction == "sum":
            losses = losses.sum()
        return losses.to(input.dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """There are no extra outputs."""
        return {}


class AdaptiveLayer(NamedTuple):
    """A call of adaptive_log_softmax_loss.

    Its tensors are input, the head's weight and bias, two for each cluster, and target; two more
    stand for weights, which there are none of.
    """

    clusters: int
    reduction: str
    outputs_asked: tuple[str, ...]
    workspace: int
    dtype: torch.dtype  # the loss's
    deferred: bool = False

    @property
    def differentiable(self) -> int:
        """How many of the tensors, from the first on, there are gradients in."""
        return 3 + 2 * self.clusters

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernels and return the loss; None if they do not take the arguments."""
        x, head, bias, *tails, target = (
            None if each is None else numbers_of_bits(detached(each)) for each in tensors[:-2]
        )
        call = _check.adaptive_layer(
            {"input": x, "head_weight": head, "bias": bias, "target": target},
            tails,
            self.reduction,
            self.outputs_asked,
            self.workspace or None,
            torch.get_num_threads(),
        )
        _, grad_output, places = _places(wanted, grad_output, out)
        value, _ = adaptive.computed(call, wanted, grad_output, places)
        if self.outputs_asked:
            return bits_of_numbers(value[0]), value[1]
        return bits_of_numbers(value)

    def of_surprise(self) -> AdaptiveLayer:
        """Return the call whose losses are minus the output log_prob."""
        computed = torch.float64 if self.dtype is torch.float64 else torch.float32
        return self._replace(reduction="none", outputs_asked=(), dtype=computed, deferred=True)

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations."""
        losses = self._losses(*tensors[:-2])
        if self.reduction == "mean":
            losses = losses.mean()
        elif self.reduction == "sum":
            losses = losses.sum()
        return losses.to(self.dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Compute the log-probabilities from torch's operations."""
        return {name: -self._losses(*tensors[:-2]) for name in self.outputs_asked}

    def _losses(
        self, input: Tensor, head_weight: Tensor, bias: Tensor | None, *others: Tensor
    ) -> Tensor:
        """Compute the losses of all positions, each cluster for all of them."""
        *tails, target = others
        if target.dtype not in _INDICES:
            raise TypeError(f"target has dtype {target.dtype}: expected integers, class indices")
        expect_shape("target", target, input.shape[:-1])
        for weight in (head_weight, bias, *tails):
            if weight is not None and weight.dtype is not input.dtype:
                raise RuntimeError(
                    f"expected input and weights of the same dtype, but found {input.dtype} and "
                    f"{weight.dtype}"
                )
        x, at = wide(input), target.long()
        z = functional.linear(x, wide(head_weight), None if bias is None else wide(bias))
        shortlist = z.shape[-1] - self.clusters
        begins = [shortlist]
        for weight in tails[1::2]:
            begins.append(begins[-1] + len(weight))
        if readable(target) and not transformed() and at.numel():
            least, most = int(at.min()), int(at.max())
            if least < 0 or most >= begins[-1]:
                raise RuntimeError(
                    f"Target values should be in [0, {begins[-1] - 1}], but values in range "
                    f"[{least}, {most}] were found."
                )
        # What is beyond the last cluster is an index beyond the head's.
        of_head = torch.where(at < shortlist, at, shortlist - 1)
        for begin in begins:
            of_head = of_head + (at >= begin)
        losses = -z.log_softmax(-1).gather(-1, of_head.unsqueeze(-1)).squeeze(-1)
        for i in range(self.clusters):
            projection, weight = (wide(each) for each in tails[2 * i : 2 * i + 2])
            here = (at >= begins[i]) & (at < begins[i + 1])
            hidden = functional.linear(x, projection).to(input.dtype)
            own = functional.linear(wide(hidden), weight).log_softmax(-1)
            of_class = (at - begins[i]).clamp(0, len(weight) - 1).unsqueeze(-1)
            losses = losses - own.gather(-1, of_class).squeeze(-1).masked_fill(~here, 0)
        return losses
