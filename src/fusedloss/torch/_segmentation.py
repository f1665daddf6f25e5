"""Losses of images in torch: their kernels, and formulas in torch's differentiable operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusedloss import _check
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.torch import _original as functional
from fusedloss.torch._autograd import (
    Tensors,
    array,
    detached,
    evaluate,
    expect_arguments,
    expect_given,
)
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._operators.calls import operate, operated

#: Arguments of every loss of images that are tensors.
TENSORS = ("logits", "target", "class_weight", "sample_weight")


class Pixels(NamedTuple):
    """Numbers of pixels, (N, C, P); those of pixels that do not count are 0."""

    z: Tensor
    p: Tensor
    t: Tensor
    counts: Tensor  # the weight of each label
    of_pixels: Tensor  # (N, P): that of each pixel
    class_weight: Tensor  # (C,), ones if absent
    activation: str | None
    indices: bool  # the target holds class indices
    first: int  # the first class that has a loss
    batch: bool

    @property
    def groups(self) -> tuple[int, ...]:
        """The axes of a sum over a group's pixels."""
        return (0, 2) if self.batch else (2,)

    def cross_entropy(self, smoothing: float) -> tuple[Tensor, Tensor]:
        """Return the sum of cross-entropies, and what their mean is divided by."""
        w = self.class_weight[:, None]
        if self.activation == "sigmoid":
            t = self.t * (1 - smoothing) + smoothing / 2
            bits = functional.binary_cross_entropy_with_logits(self.z, t, reduction="none")
            counts = w * self.counts
            return (counts * torch.where(counts == 0, 0, bits)).sum(), counts.sum()
        q = w * (self.t * (1 - smoothing) + smoothing / self.t.shape[1])
        entropies = -(q * torch.where(q == 0, 0, functional.log_softmax(self.z, 1))).sum(1)
        v = self.of_pixels
        divisor = ((w * self.t).sum(1) if self.indices else 1) * v
        return (v * entropies).sum(), divisor.sum()


class Segmentation(NamedTuple):
    """A call of a loss of images; its tensors are `TENSORS`."""

    loss: Callable[..., Any]  # the same of arrays
    losses: Callable[..., Tensor]  # reduced, by pixels and options
    reduction: str
    options: dict[str, Any]
    differentiable: int = 1

    @property
    def deferred(self) -> bool:
        """Whether the gradient is left to the backward pass."""
        return self.reduction == "none"

    def lowered(self, *tensors: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return a function of arrays and its arguments; an error if options are wrong."""
        return lookup(self.loss).lower(
            **dict(zip(TENSORS, tensors, strict=True)),
            reduction=self.reduction,
            num_threads=torch.get_num_threads(),
            **self.options,
        )

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: float | Array | None = None,
        out: tuple[Array, ...] = (),
    ) -> Any:
        """Run the kernels and return the loss; an error if they do not take the arguments."""
        logits, *others = tensors
        kernel, arguments = self.lowered(
            numbers_of_bits(detached(logits)),
            *(None if x is None else numbers_of_bits(array(x)) for x in others),
        )
        if not wanted:
            return bits_of_numbers(kernel(*arguments))
        if isinstance(grad_output, np.ndarray):
            grad_output = numbers_of_bits(grad_output)
        return bits_of_numbers(kernel(*arguments, True, grad_output, numbers_of_bits(out[0]))[0])

    def formula(
        self,
        logits: Tensor,
        target: Tensor,
        class_weight: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss from torch's operations."""
        options = dict(self.options)
        activation, ignored = options.pop("activation", None), options.pop("ignore_index")
        batch, first = options.pop("batch"), int(not options.pop("include_background"))
        shape = logits.shape
        z = logits.float() if logits.itemsize < 4 else logits
        z = z.flatten(2) if z.ndim > 2 else z[..., None]
        w = z.new_ones(shape[1]) if class_weight is None else class_weight.to(z.dtype)
        v = torch.ones_like(z[:, 0])
        if sample_weight is not None:
            v = sample_weight.to(z.dtype).reshape(v.shape)
        if activation != "softmax" and shape[1] == 1 and target.shape == (shape[0], *shape[2:]):
            target = target[:, None]
        indices = target.shape != shape
        if indices:
            index = target.reshape(shape[0], -1).long()
            v = torch.where(index == ignored, 0, v)
            t = functional.one_hot(torch.where(index == ignored, 0, index), shape[1])
            t = t.movedim(-1, 1).to(z.dtype)
            counts = v[:, None].expand(t.shape)
        else:
            t = target.to(z.dtype).reshape(z.shape)
            counts = v[:, None].expand(t.shape)
            if activation != "softmax":
                counts = torch.where(t == ignored, 0, counts)
        silent = counts == 0
        if activation != "softmax":
            silent = silent | (w == 0)[:, None]
        z, t = torch.where(silent, 0, z), torch.where(silent, 0, t)
        p = z
        if activation is not None:
            p = z.softmax(1) if activation == "softmax" else z.sigmoid()
        pixels = Pixels(z, p, t, counts, v, w, activation, indices, first, batch)
        return self.losses(pixels, self.reduction, **options).to(logits.dtype)

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Losses of images have no extra outputs."""
        return {}


def loss_of_images(
    loss: Callable[..., Any],
    losses: Callable[..., Tensor],
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None,
    sample_weight: Tensor | None,
    reduction: str,
    **options: Any,
) -> Tensor:
    """Compute a loss of tensors: `loss` is the same of arrays, `losses` that of pixels in torch."""
    expect_arguments(loss, logits, target)
    if not logits.is_floating_point():
        raise TypeError(f"logits has dtype {logits.dtype}: expected floating point")
    weights = {"class_weight": class_weight, "sample_weight": sample_weight}
    expect_given(**{name: x for name, x in weights.items() if x is not None})
    _check.integer("ignore_index", options["ignore_index"])
    if "activation" in options:
        _check.activation_of(options["activation"])
    if options.get("activation") == "softmax":
        _check.several_classes(tuple(logits.shape))
    _expect_shapes(logits, class_weight, sample_weight)
    tensors = dict(zip(TENSORS, (logits, target, class_weight, sample_weight), strict=True))
    if operated(*tensors.values()):
        result: Tensor = operate(loss.__name__, **tensors, reduction=reduction, **options)
        return result
    call = Segmentation(loss, losses, reduction, options)
    call.lowered(*tensors.values())
    value: Tensor = evaluate(call, *tensors.values())
    return value


def _expect_shapes(
    logits: Tensor, class_weight: Tensor | None, sample_weight: Tensor | None
) -> None:
    """Raise ValueError for weights that the formula would take in another shape."""
    shape = tuple(logits.shape)
    for name, weight, expected in (
        ("class_weight", class_weight, shape[1:2]),
        ("sample_weight", sample_weight, (*shape[:1], *shape[2:])),
    ):
        if isinstance(weight, Tensor) and tuple(weight.shape) != expected:
            raise ValueError(f"{name} has shape {tuple(weight.shape)}: expected {expected}")
