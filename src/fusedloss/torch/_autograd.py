"""From tensors to kernels and back: the gradient's place in the graph.

`fused` tries a call on the kernels: `_core/calls.pxi`. Whatever they do not take, it does not
answer: torch's own formula of the same loss does, and has the last word on errors too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, is_grad_enabled
from torch._C import _are_functorch_transforms_active, _is_tracing, _len_torch_dispatch_stack
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.overrides import has_torch_function_variadic

from fusedloss import _core
from fusedloss._lower.loss import lookup
from fusedloss._types import Array

#: The tensors of a call, its prediction first; None where one is absent.
Tensors: TypeAlias = tuple[Any, ...]


#: Try a call, which is none of a compiler's, on the kernels.
fused = _core.fused


class Call(Protocol):
    """A call of a loss without its tensors: a kernel, and torch's formula of the same loss."""

    @property
    def differentiable(self) -> int:
        """How many of the tensors, from the first on, the kernel has gradients in."""

    @property
    def reduction(self) -> str:
        """How the losses of the positions are reduced: it says what grad_output is."""

    @property
    def deferred(self) -> bool:
        """Whether gradients are left to the backward pass."""

    def run(
        self,
        tensors: Tensors,
        wanted: tuple[int, ...] = (),
        grad_output: Any = None,
        out: tuple[Any, ...] = (),
    ) -> Any:
        """Run the kernel and return the loss; None if it does not take the arguments.

        The gradients in the tensors of the numbers `wanted` go to `out`.
        """

    def formula(self, *tensors: Any) -> Tensor:
        """Compute the loss from torch's differentiable operations."""

    def outputs(self, *tensors: Any) -> dict[str, Tensor]:
        """Compute the extra outputs from torch's operations."""


def evaluate(call: Call, *tensors: Any) -> Any:
    """Return a loss, by kernel or by formula; with a dict of outputs if some are asked for."""
    expect_tensors(*tensors)
    if torch.is_autocast_enabled("cpu"):
        tensors = as_autocast(*tensors)
        with without_autocast():
            return evaluate(call, *tensors)
    if not is_compiling():  # a compiler reads no further
        loss = fused(call, *tensors)
        if loss is not None:
            return loss
    value = call.formula(*tensors)
    outputs = call.outputs(*tensors)
    return (value, outputs) if outputs else value


def expect_tensors(*tensors: Any) -> None:
    """Raise TypeError for anything that is neither a tensor nor absent."""
    for tensor in tensors:
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"expected a torch.Tensor, not {type(tensor).__name__}: {tensor!r}")


def expect_mask(where: Tensor) -> None:
    """Raise TypeError for a mask that is no tensor of bools."""
    expect_tensors(where)
    if where.dtype is not torch.bool:
        raise TypeError(f"where has dtype {where.dtype}: expected bool, True for what takes part")


def expect_arguments(loss: Callable[..., Any], *tensors: Any) -> None:
    """Raise TypeError for an argument that is absent, by its name in the loss of arrays."""
    expect_given(**dict(zip(lookup(loss).parameters, tensors, strict=False)))


def expect_given(**tensors: Any) -> None:
    """Raise TypeError for an argument that is no tensor, by its name."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            shown = "None" if tensor is None else f"{type(tensor).__name__} {tensor!r}"
            raise TypeError(f"{name} is {shown}: expected a torch.Tensor")


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor of 16-bit floats in float32, in which their losses are computed."""
    return tensor.float() if tensor.itemsize < 4 and tensor.is_floating_point() else tensor


def as_autocast(*tensors: Any) -> tuple[Any, ...]:
    """Return the tensors of a loss as autocast has them: of 16-bit floats in float32."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    return tuple([wide(x) if isinstance(x, Tensor) else x for x in tensors])


def without_autocast() -> torch.autocast:
    """Return a context in which the operations of a loss are of the dtypes that it is given."""
    return torch.autocast("cpu", enabled=False)


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


def in_computing_type(weight: Tensor, prediction: Tensor) -> Tensor:
    """Return weights of classes as the kernels take them: contiguous, of the type computed in."""
    wide = torch.float64 if prediction.dtype is torch.float64 else torch.float32
    return weight.to(wide).contiguous()


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


def in_graph(*tensors: Tensor) -> bool:
    """Whether a loss of tensors has a place in a graph."""
    return is_grad_enabled() and any([tensor.requires_grad for tensor in tensors])


def detached(tensor: Tensor) -> Array:
    """Return a tensor's memory as an array, though a gradient may be wanted in it.

    Unlike `Tensor.numpy`, which forbids it for good, it leaves a storage free to be resized: FSDP
    does that with parameters.
    """
    if tensor.requires_grad:
        tensor = tensor.detach()
    if type(tensor) not in _PLAIN or tensor.is_neg() or tensor._is_zerotensor():
        return array(tensor)
    try:
        return np.from_dlpack(
            tensor.view(torch.uint16) if tensor.dtype is torch.bfloat16 else tensor
        )
    except BufferError as error:
        raise TypeError(str(error)) from None


#: Classes of tensors that are memory and nothing else.
_PLAIN = (Tensor, torch.nn.Parameter)


def _large_like(tensor: Tensor) -> Tensor:
    """Return memory for a large gradient, laid out as the tensor is.

    Fresh memory of megabytes costs more than the kernel: large gradients are on memory that is
    already there. Small tensors of torch's own are cheaper to give up.
    """
    return _tensor(_core.new_like(detached(tensor)), tensor.dtype)


def _tensor(made: Any, dtype: Any) -> Tensor:
    """Return an array of a kernel as a tensor."""
    if isinstance(made, Tensor):
        return made
    tensor = torch.from_numpy(made)
    return tensor.view(dtype) if made.dtype == np.uint16 else tensor


def _scalar(value: float, dtype: torch.dtype) -> Tensor:
    try:
        return torch.scalar_tensor(value, dtype=dtype)
    except RuntimeError:  # beyond the largest float32: the quick way refuses to make it inf
        return torch.tensor(value, dtype=dtype)


class _Attached(torch.autograd.Function):
    """A loss that a kernel computed, as a function of the tensors that it is differentiated in."""

    forward = staticmethod(_core.save)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the forward pass, once; compute them otherwise."""
        if is_compiling():  # a compiler reads no further
            return None, *_differentiated(ctx.call, ctx.saved_tensors, ctx.wanted, grad_output)
        return _core.gradients_of(ctx, grad_output)


def _may_be_scaled(ctx: Any, gradients: tuple[Tensor, ...], scale: float) -> bool:
    """Whether gradients that are rounded already may be multiplied.

    16 bits would be rounded twice, and what was too small for them is lost; unless only exponents
    change, of which bfloat16 has as many as float32.
    """
    kept = [x for x in gradients if x.itemsize == 2]
    if not kept:
        return True
    if any([x.dtype is not torch.bfloat16 for x in kept]):
        return False
    if abs(math.frexp(scale)[0]) == 0.5:
        return True
    try:
        ctx.saved_tensors  # noqa: B018
    except RuntimeError:  # they have changed: better twice than not at all
        return True
    return False


# What the engine calls, without two functions of Python on the way to `backward`: 1 us of 30.
_Attached._backward_cls.apply = _core.gradients_of  # type: ignore[attr-defined]

#: Without torch.autograd.Function's own apply, which looks for transforms: 2 us of 30.
_attach: Callable[..., Tensor] = super(torch.autograd.Function, _Attached).apply


def _differentiated(
    call: Call, tensors: Tensors, wanted: tuple[int, ...], grad_output: Tensor
) -> tuple[Tensor, ...]:
    """Differentiate torch's formula: for second derivatives, and under transforms."""
    create_graph = is_grad_enabled()
    with torch.enable_grad():
        # An alias has none of the hooks of the tensor, which are still to run.
        aliases = {k: tensors[k].view_as(tensors[k]) for k in wanted}
        loss = call.formula(*[aliases.get(k, x) for k, x in enumerate(tensors)])
    inputs = tuple(aliases.values())
    return torch.autograd.grad(loss, inputs, grad_output, create_graph=create_graph)


_core.use_tensors(torch, detached, _tensor, _scalar, _large_like)
_core.use_graph(torch, _attach, _may_be_scaled, _differentiated)

#: Whether the kernels are told of tensors by DLPack's C functions.
EXCHANGE: bool = _core.use_exchange(getattr(Tensor, "__dlpack_c_exchange_api__", None))
