"""Margin-softmax heads in torch: kernel calls, and formulas in torch's differentiable operations.

A formula answers where the kernels do not: it says what is wrong with bad input, runs on other
devices and under torch's transforms, and is what second derivatives are taken of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.functional import cross_entropy

from fusedloss import _check
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.torch._autograd import Tensors, array, detached, evaluate, expect_arguments
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._operators.calls import operate, operated
from fusedloss.torch._softmax import expect_shape, without_masked
from fusedloss.torch._unit import unit_rows

#: What a head makes of tensors, given all its options by name, of which it takes those that it has.
Formula = Callable[..., Tensor]


def _scale(*, scale: float, **_: Any) -> float:
    return float(scale)


class Head(NamedTuple):
    """A head's traits: how its logits differ from scaled cosines.

    Nothing but these says what an option does: names of options have no meaning across heads.
    """

    psi: Formula  # of the target's cosine and the norm of its embedding
    keep_norm: bool = False
    keep_weight_norm: bool = False
    scale: Callable[..., float] = _scale  # what cosines are multiplied by
    centers: str | None = None  # the option that says how many rows of weights a class has
    pool: Formula | None = None  # the cosine of a class, of its centers' cosines (..., centers)
    bend: Formula | None = None  # cosines of other classes, of those and of the target's
    penalty: Formula | None = None  # of the embedding's norm, added to the loss
    of_statistics: bool = False  # psi takes the mean and deviation of the batch's norms


class HeadCall(NamedTuple):
    """A call of a head; its tensors are its arrays, class weights and sample weights last."""

    loss: Callable[..., Any]  # the same of arrays
    head: Head
    reduction: str
    margins: dict[str, Any]
    options: dict[str, Any]  # all others
    differentiable: int = 2
    deferred: bool = False

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss."""
        floats = [numbers_of_bits(detached(x)) for x in tensors[: self.differentiable]]
        target, class_weight, sample_weight = (
            None if x is None else numbers_of_bits(array(x)) for x in tensors[self.differentiable :]
        )
        kernel, arguments = lookup(self.loss).lower(
            *floats,
            target,
            class_weight=class_weight,
            sample_weight=sample_weight,
            reduction=self.reduction,
            num_threads=torch.get_num_threads(),
            **self.margins,
            **self.options,
        )
        if not wanted:
            return bits_of_numbers(kernel(*arguments))
        if isinstance(grad_output, np.ndarray):
            grad_output = numbers_of_bits(grad_output)
        places = tuple(map(numbers_of_bits, out))
        return bits_of_numbers(kernel(*arguments, wanted, grad_output, places)[0])

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's operations, in float32 or float64."""
        expect_options(self.loss, reduction=self.reduction, **self.margins, **self.options)
        *floats, target, class_weight, sample_weight = tensors
        dtype = floats[0].dtype
        wide = torch.float32 if floats[0].itemsize < 4 else dtype
        margins, options = self.margins, self.options
        expect_labels(target, floats[0].shape[:-1])
        expect_one_dtype(*floats)
        if sample_weight is not None:
            expect_shape("sample_weight", sample_weight, floats[0].shape[:-1])
        target, floats = target.long(), [x.to(wide) for x in floats]
        weight = None if class_weight is None else class_weight.to(wide)
        counted = target != options["ignore_index"]
        labels = torch.where(counted, target, 0)
        at = labels.unsqueeze(-1)
        silent = ~counted
        if sample_weight is not None:
            silent = silent | (sample_weight == 0)
        if weight is not None and options["label_smoothing"] == 0:
            silent = silent | (weight[labels] == 0)
        floats[0] = floats[0].masked_fill(silent.unsqueeze(-1), 0.5)
        norm: Any = None
        if self.differentiable == 2:
            x, w = floats
            norm = x.norm(dim=-1)
            cosine = of_classes(self.head, unit_rows(x) @ unit_rows(w).T, margins)
        else:
            (cosine,) = floats
        # Where rounding decides the angle its slope has no meaning: none there.
        most = 1 - torch.finfo(wide).eps / 2
        c = cosine.gather(-1, at).squeeze(-1)
        if self.head.of_statistics:
            margins = _with_statistics(margins, norm, ~silent)
        psi = self.head.psi(c.clamp(-most, most), norm, **margins)
        share = 1 / (1 + options["annealing"])
        psi = share * (options["annealing"] * c + psi)
        if options["gradient"] == "detached":
            psi = c + (psi - c).detach()
        if self.head.bend:
            cosine = self.head.bend(cosine, c, **margins)
        z = self.head.scale(**margins, **options) * cosine.scatter(-1, at, psi.unsqueeze(-1))
        if self.head.keep_norm:
            z = z * norm.unsqueeze(-1)
        if self.head.keep_weight_norm:
            z = z * w.norm(dim=-1)
        classes = z.shape[-1]
        losses = cross_entropy(
            z.reshape(-1, classes),
            torch.where(silent, -100, target).reshape(-1),
            weight=weight,
            reduction="none",
            label_smoothing=options["label_smoothing"],
        ).reshape(target.shape)
        if options["focal_gamma"]:
            others = -torch.expm1(z.log_softmax(-1).gather(-1, at).squeeze(-1))
            losses = losses * others ** options["focal_gamma"]
        if self.head.penalty:
            losses = losses + ~silent * self.head.penalty(norm, **margins)
        weights = counted.to(wide)
        if sample_weight is not None:
            weights = weights * sample_weight.to(wide)
            losses = losses * sample_weight.to(wide)
        if self.reduction == "none":
            return losses.to(dtype)
        total = losses.sum()
        if self.reduction == "mean":
            if weight is not None:
                weights = weights * weight[at.squeeze(-1)]
            total = total / weights.sum()
        return total.to(dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Heads have no extra outputs."""
        return {}


def expect_labels(target: Tensor, shape: torch.Size) -> None:
    """Raise an error for a target that is no class index for each embedding."""
    if target.is_floating_point() or target.is_complex() or target.dtype is torch.bool:
        raise TypeError(f"target has dtype {target.dtype}: expected integers")
    if target.shape != shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)}: expected {tuple(shape)}, a class index for "
            "each embedding"
        )


def expect_one_dtype(embeddings: Tensor, *weight: Tensor) -> None:
    """Raise torch's error for a product of tensors of two dtypes."""
    for w in weight:
        if w.dtype is not embeddings.dtype:
            raise RuntimeError(
                "expected embeddings and weight to have the same dtype, but got: "
                f"{embeddings.dtype} != {w.dtype}"
            )


def expect_options(loss: Callable[..., Any], **options: Any) -> None:
    """Raise what the loss of arrays raises for options that it does not take: of no rows.

    A compiler could not read it: there options are as they are.
    """
    if is_compiling():
        return
    head = HEADS.get(loss.__name__)
    centers = 1 if head is None else centers_of(head, options)
    rows, layer = np.empty((0, 1)), np.empty((centers, 1))
    floats = (rows, layer)[: len(lookup(loss).differentiable)]
    lookup(loss).lower(*floats, np.empty(0, np.int64), **options)


def centers_of(head: Head, options: dict[str, Any]) -> int:
    """Return how many rows of weights a class has."""
    return 1 if head.centers is None else _check.count(head.centers, options[head.centers])


def of_classes(head: Head, cosine: Tensor, options: dict[str, Any]) -> Tensor:
    """Return the cosines of classes from those of their centers, if they have several."""
    if head.pool is None:
        return cosine
    centers = centers_of(head, options)
    return head.pool(cosine.reshape(*cosine.shape[:-1], -1, centers), **options)


def _best_center(cosine: Tensor, **_: Any) -> Tensor:
    return cosine.amax(-1)


def _soft_center(cosine: Tensor, *, gamma: float, **_: Any) -> Tensor:
    return (torch.softmax(cosine / gamma, -1) * cosine).sum(-1)


def _filtered(
    cosine: Tensor, c: Tensor, *, interclass_filtering_threshold: float, **_: Any
) -> Tensor:
    if not interclass_filtering_threshold:
        return cosine
    return torch.where(cosine > interclass_filtering_threshold, 0, cosine)


def _hardened(cosine: Tensor, c: Tensor, *, margin: float, t: float, **_: Any) -> Tensor:
    hard = cosine > torch.cos(torch.acos(c.clamp(-1, 1)) + margin).unsqueeze(-1)
    return torch.where(hard, cosine * (t + cosine), cosine)


def _norm_penalty(norm: Tensor, *, l_a: float, u_a: float, lambda_g: float, **_: Any) -> Tensor:
    a = norm.clamp(l_a, u_a)
    return lambda_g * (a / u_a**2 + 1 / a)


def _alpha(*, alpha: float, **_: Any) -> float:
    return float(alpha)


def _of_distances(*, softmax_scale: float, **_: Any) -> float:
    return 2 * float(softmax_scale)


def _shifted(c: Tensor, margin: Tensor | float, easy: bool) -> Tensor:
    theta, m = torch.acos(c), torch.as_tensor(margin, dtype=c.dtype, device=c.device)
    if easy:
        return torch.where(c > 0, torch.cos(theta + m), c)
    return torch.where(theta <= math.pi - m, torch.cos(theta + m), c - m * torch.sin(m))


def _arcface(
    c: Tensor, norm: Tensor, *, margin: float, easy_margin: bool = False, **_: Any
) -> Tensor:
    return _shifted(c, margin, easy_margin)


def _combined(c: Tensor, norm: Tensor, *, m1: float, m2: float, m3: float, **_: Any) -> Tensor:
    return torch.cos(m1 * torch.acos(c) + m2) - m3


def _cosface(c: Tensor, norm: Tensor, *, margin: float, **_: Any) -> Tensor:
    return c - margin


def _plain(c: Tensor, norm: Tensor, **_: Any) -> Tensor:
    return c


def _multiplicative(c: Tensor, norm: Tensor, *, margin: float) -> Tensor:
    theta = margin * torch.acos(c)
    k = torch.floor(theta.detach() / math.pi)
    return (1 - 2 * (k % 2)) * torch.cos(theta) - 2 * k


def _with_statistics(margins: dict[str, Any], norms: Tensor, counted: Tensor) -> dict[str, Any]:
    """Return AdaFace's margins with mean and standard deviation of the norms that count.

    Those are not picked out, since a compiler would not know how many there are.
    """
    norms = norms.detach().clamp(1e-3, 100).masked_fill(~counted, 0)
    count = counted.sum()
    mean = norms.sum() / count.clamp_min(1)
    squares = (norms - mean).square().masked_fill(~counted, 0)
    found = {"norm_mean": mean, "norm_std": (squares.sum() / (count - 1).clamp_min(1)).sqrt()}
    return margins | {name: x for name, x in found.items() if margins[name] is None}


def _adaface(
    c: Tensor,
    norm: Tensor,
    *,
    margin: float,
    h: float,
    norm_mean: Tensor | float,
    norm_std: Tensor | float,
) -> Tensor:
    norm = norm.detach().clamp(1e-3, 100)
    q = (h * (norm - norm_mean) / (norm_std + 1e-3)).clamp(-1, 1)
    theta = torch.acos(c.clamp(-1 + 1e-3, 1 - 1e-3))
    return torch.cos((theta - margin * q).clamp(1e-3, math.pi - 1e-3)) - margin - margin * q


def _magface(
    c: Tensor,
    norm: Tensor,
    *,
    l_a: float,
    u_a: float,
    l_margin: float,
    u_margin: float,
    lambda_g: float,
    easy_margin: bool,
) -> Tensor:
    m = (u_margin - l_margin) / (u_a - l_a) * (norm.clamp(l_a, u_a) - l_a) + l_margin
    return _shifted(c, m, easy_margin)


HEADS = {
    "a_softmax_loss": Head(_multiplicative, keep_norm=True),
    "adaface_loss": Head(_adaface, of_statistics=True),
    "arcface_loss": Head(_arcface),
    "combined_margin_loss": Head(_combined, bend=_filtered),
    "cosface_loss": Head(_cosface),
    "curricularface_loss": Head(_arcface, bend=_hardened),
    "l2_softmax_loss": Head(_plain, keep_weight_norm=True, scale=_alpha),
    "l_softmax_loss": Head(_multiplicative, keep_norm=True, keep_weight_norm=True),
    "magface_loss": Head(_magface, penalty=_norm_penalty),
    "margin_cross_entropy": Head(_combined),
    "normface_loss": Head(_plain),
    "proxy_nca_loss": Head(_plain, scale=_of_distances),
    "soft_triple_loss": Head(_cosface, centers="centers_per_class", pool=_soft_center),
    "sphereface_loss": Head(_multiplicative),
    "subcenter_arcface_loss": Head(_arcface, centers="sub_centers", pool=_best_center),
}


def _without_masked(
    where: Tensor, tensors: tuple[Tensor | None, ...], call: HeadCall
) -> tuple[Tensor | None, ...]:
    """Return a head's tensors, what `where` leaves out having the class index that is ignored."""
    at, given = call.differentiable, cast("tuple[Tensor, ...]", tensors)
    shape = given[0].shape[:-1]
    expect_labels(given[at], shape)
    target, _ = without_masked(where, shape, given[at], None, call.options["ignore_index"])
    return *tensors[:at], target, *tensors[at + 1 :]


def head(
    loss: Callable[..., Any],
    tensors: tuple[Tensor | None, ...],
    margins: dict[str, Any],
    reduction: str,
    where: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Compute a head; `loss` is the same of arrays, whose checks are taken."""
    call = HeadCall(
        loss,
        HEADS[loss.__name__],
        _check.reduction(reduction),
        margins,
        options,
        differentiable=len(lookup(loss).differentiable),
    )
    expect_arguments(loss, *tensors[: call.differentiable + 1])
    if where is not None:
        tensors = _without_masked(where, tensors, call)
    if operated(*tensors):
        names = (*lookup(loss).parameters[: len(tensors) - 2], "class_weight", "sample_weight")
        given = dict(zip(names, tensors, strict=True))
        result: Tensor = operate(loss.__name__, reduction=reduction, **given, **margins, **options)
        return result
    value: Tensor = evaluate(call, *tensors)
    return value
