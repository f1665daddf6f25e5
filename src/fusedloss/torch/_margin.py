"""Margin-softmax heads in torch: kernel calls, and formulas in torch's differentiable operations.

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
from torch.compiler import is_compiling
from torch.nn.functional import cross_entropy

from fusedloss import _check
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.torch._autograd import Tensors, array, detached, evaluate, expect_arguments
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._softmax import expect_shape
from fusedloss.torch._unit import unit_rows

#: psi of a target's cosine, of the norm of its embedding and of a head's margins.
Psi = Callable[..., Tensor]


class Head(NamedTuple):
    """How a head's logits differ from scaled cosines."""

    psi: Psi
    keep_norm: bool = False
    keep_weight_norm: bool = False


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
            cosine = of_classes(unit_rows(x) @ unit_rows(w).T, margins)
        else:
            (cosine,) = floats
        # Where rounding decides the angle its slope has no meaning: none there.
        most = 1 - torch.finfo(wide).eps / 2
        c = cosine.gather(-1, at).squeeze(-1)
        if "norm_mean" in margins:
            margins = _with_statistics(margins, norm[~silent])
        psi = self.head.psi(c.clamp(-most, most), norm, **margins)
        share = 1 / (1 + options["annealing"])
        psi = share * (options["annealing"] * c + psi)
        if options["gradient"] == "detached":
            psi = c + (psi - c).detach()
        if margins.get("interclass_filtering_threshold"):
            cosine = torch.where(cosine > margins["interclass_filtering_threshold"], 0, cosine)
        if "t" in margins:
            hard = cosine > torch.cos(torch.acos(c.clamp(-1, 1)) + margins["margin"]).unsqueeze(-1)
            cosine = torch.where(hard, cosine * (margins["t"] + cosine), cosine)
        z = scale_of(margins | options) * cosine.scatter(-1, at, psi.unsqueeze(-1))
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
        if "lambda_g" in margins:
            a = norm.clamp(margins["l_a"], margins["u_a"])
            losses = losses + ~silent * margins["lambda_g"] * (a / margins["u_a"] ** 2 + 1 / a)
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
    rows, centers = np.empty((0, 1)), np.empty((centers_of(options), 1))
    floats = (rows, centers)[: len(lookup(loss).differentiable)]
    lookup(loss).lower(*floats, np.empty(0, np.int64), **options)


def centers_of(options: dict[str, Any]) -> int:
    """Return how many rows of weights a class has."""
    for name in ("sub_centers", "centers_per_class"):
        if name in options:
            return _check.count(name, options[name])
    return 1


def of_classes(cosine: Tensor, margins: dict[str, Any]) -> Tensor:
    """Return the cosines of classes from those of their centers, if they have several."""
    centers = centers_of(margins)
    if centers == 1:
        return cosine
    cosine = cosine.reshape(*cosine.shape[:-1], -1, centers)
    if "gamma" in margins:
        return (torch.softmax(cosine / margins["gamma"], -1) * cosine).sum(-1)
    return cosine.amax(-1)


def scale_of(options: dict[str, Any]) -> float:
    """Return what cosines are multiplied by."""
    if "softmax_scale" in options:
        return 2 * float(options["softmax_scale"])
    return float(options["scale"] if "scale" in options else options["alpha"])


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


def _with_statistics(margins: dict[str, Any], norms: Tensor) -> dict[str, Any]:
    """Return AdaFace's margins with mean and standard deviation of the norms that count."""
    norms = norms.detach().clamp(1e-3, 100)
    found = {
        "norm_mean": norms.mean() if len(norms) else 0.0,
        "norm_std": norms.std() if len(norms) > 1 else 0.0,
    }
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
    "adaface_loss": Head(_adaface),
    "arcface_loss": Head(_arcface),
    "combined_margin_loss": Head(_combined),
    "cosface_loss": Head(_cosface),
    "curricularface_loss": Head(_arcface),
    "l2_softmax_loss": Head(_plain, keep_weight_norm=True),
    "l_softmax_loss": Head(_multiplicative, keep_norm=True, keep_weight_norm=True),
    "magface_loss": Head(_magface),
    "margin_cross_entropy": Head(_combined),
    "normface_loss": Head(_plain),
    "proxy_nca_loss": Head(_plain),
    "soft_triple_loss": Head(_cosface),
    "sphereface_loss": Head(_multiplicative),
    "subcenter_arcface_loss": Head(_arcface),
}


def head(
    loss: Callable[..., Any],
    tensors: tuple[Tensor | None, ...],
    margins: dict[str, Any],
    reduction: str,
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
    value: Tensor = evaluate(call, *tensors)
    return value
