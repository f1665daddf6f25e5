"""From tensors to kernels and back: what is recognised, and the gradient's place in the graph.

`fused` tries a call on the kernels. Whatever they do not take, `fused` does not answer: torch's
own formula of the same loss does, and has the last word on errors too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, is_grad_enabled
from torch._C import _are_functorch_transforms_active, _is_tracing, _len_torch_dispatch_stack
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.overrides import has_torch_function_variadic

from fusedloss._loss import Array

#: The tensors of a call after its prediction, which no gradient is taken in; None where absent.
Others: TypeAlias = tuple[Any, ...]

#: Bytes of an array from which NumPy asks for huge pages.
HUGE_PAGES_FROM = 1 << 22

#: What a tensor, an array or an option that the kernels do not take raises on its way to them.
_REFUSALS = (TypeError, ValueError, IndexError, RuntimeError)


class Call(Protocol):
    """A call of a loss without its tensors: a kernel, and torch's formula of the same loss."""

    @property
    def reduction(self) -> str:
        """How the losses of the positions are reduced: it says what grad_output is."""

    @property
    def deferred(self) -> bool:
        """Whether the gradient is left to the backward pass."""

    def run(
        self,
        prediction: Array,
        others: Others,
        gradient: bool = False,
        grad_output: float | Array | None = None,
        out: Array | None = None,
    ) -> Any:
        """Run the kernel; None if it does not take the arguments."""

    def formula(self, prediction: Tensor, others: Others) -> Tensor:
        """Compute the loss from torch's differentiable operations."""


def array(tensor: Tensor) -> Array:
    """Return a tensor's memory as an array, that of bfloat16 as its bits.

    A tensor that is not plain memory here raises TypeError or RuntimeError: it is sparse, on
    another device, without data, lazily negated, being transformed, or requires a gradient.
    """
    if tensor.dtype is torch.bfloat16:
        if tensor.requires_grad:  # which a view of another dtype would hide
            raise RuntimeError("a tensor that requires a gradient")
        return tensor.view(torch.uint16).numpy()
    if tensor.dtype is torch.uint16:
        raise TypeError("numbers that would pass for bits")
    return tensor.numpy()


def overridden(*tensors: Any) -> bool:
    """Whether a compiler, a tracer, a tensor's class or a mode wants to see torch's own calls."""
    return (
        is_compiling()  # first: a compiler reads no further
        or _is_tracing()
        or has_torch_function_variadic(*tensors)
    )


def transformed() -> bool:
    """Whether operations are more here than computed: batched, differentiated forward, watched."""
    return (
        _are_functorch_transforms_active()
        or _len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )


def in_graph(prediction: Tensor) -> bool:
    """Whether a loss of a prediction has a place in a graph."""
    return prediction.requires_grad and is_grad_enabled()


def fused(call: Call, prediction: Tensor, others: Others) -> Any:
    """Return a loss, and a dict of outputs if the kernel returns some; None if it takes no part."""
    differentiated = in_graph(prediction)
    if differentiated and prediction.is_inference():  # which cannot be saved
        return None
    try:
        z = array(prediction.detach() if prediction.requires_grad else prediction)
        if differentiated and not call.deferred:
            gradient = _empty_like(prediction, z)
            result = call.run(z, others, True, None, array(gradient))
        else:
            gradient = None
            result = call.run(z, others)
    except _REFUSALS:
        return None
    if result is None:
        return None
    dtype = prediction.dtype
    value, outputs = result if gradient is None else result[0], None
    if isinstance(value, tuple):
        value, outputs = value
    loss = _scalar(value, dtype) if isinstance(value, float) else _tensor(value, dtype)
    if differentiated:
        loss = _attach(prediction, (call, loss, gradient, others))
    if outputs is None:
        return loss
    return loss, {name: torch.from_numpy(output) for name, output in outputs.items()}


def _empty_like(prediction: Tensor, z: Array) -> Tensor:
    """Return memory for the gradient, laid out as the prediction is.

    Fresh memory of megabytes costs more than the kernel, unless it comes in huge pages, which
    NumPy asks for and torch does not. Small tensors of torch's own are cheaper to give up.
    """
    if prediction.nbytes < HUGE_PAGES_FROM:
        return torch.empty_like(prediction)
    return _tensor(np.empty_like(z), prediction.dtype)


def _tensor(made: Array, dtype: torch.dtype) -> Tensor:
    """Return an array of a kernel as a tensor."""
    tensor = torch.from_numpy(made)
    return tensor.view(dtype) if dtype is torch.bfloat16 else tensor


def _scalar(value: float, dtype: torch.dtype) -> Tensor:
    try:
        return torch.scalar_tensor(value, dtype=dtype)
    except RuntimeError:  # beyond the largest float32: the quick way refuses to make it inf
        return torch.tensor(value, dtype=dtype)


class _Attached(torch.autograd.Function):
    """A loss that a kernel computed, as a function of its prediction."""

    @staticmethod
    def forward(
        ctx: Any, prediction: Tensor, result: tuple[Call, Tensor, Tensor | None, Others]
    ) -> Tensor:
        """Give the loss its place in the graph."""
        ctx.call, loss, gradient, others = result
        ctx.fresh = gradient is not None
        # Freed by the backward pass, where an attribute would live as long as the loss.
        ctx.save_for_backward(prediction, gradient, *others)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the forward pass, once; compute it otherwise."""
        call: Call = ctx.call
        prediction, gradient, *others = ctx.saved_tensors
        if is_grad_enabled() or overridden(grad_output) or transformed():
            return _differentiated(call, prediction, tuple(others), grad_output), None
        fresh, ctx.fresh = ctx.fresh, False
        try:
            scale: float | Array
            if call.reduction == "none":
                scale = array(grad_output.detach())
            else:
                scale = grad_output.item()
                if fresh and scale == 1:
                    return gradient.data, None
                # 16 bits would be rounded twice, and what was too small for them is lost.
                if fresh and gradient.itemsize > 2:
                    return gradient.data.mul_(scale), None
            # After its first use the memory is someone else's.
            z = array(prediction.detach())
            out: Tensor = gradient.data if fresh else _empty_like(prediction, z)
            if call.run(z, tuple(others), True, scale, array(out)) is not None:
                return out, None
        except _REFUSALS:
            pass
        return _differentiated(call, prediction, tuple(others), grad_output), None


#: Without torch.autograd.Function's own apply, which looks for transforms: 2 us of 30.
_attach: Callable[..., Tensor] = super(torch.autograd.Function, _Attached).apply


def _differentiated(call: Call, prediction: Tensor, others: Others, grad_output: Tensor) -> Tensor:
    """Differentiate torch's formula: for second derivatives, and under transforms."""
    create_graph = is_grad_enabled()
    with torch.enable_grad():
        # An alias has none of the hooks of the prediction, which are still to run.
        alias = prediction.view_as(prediction)
        loss = call.formula(alias, others)
    return torch.autograd.grad(loss, alias, grad_output, create_graph=create_graph)[0]
