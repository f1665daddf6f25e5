"""From tensors to kernels and back: what is recognised, and the gradient's place in the graph.

`fused` tries a call on the kernels. Whatever they do not take, `fused` does not answer: torch's
own formula of the same loss does, and has the last word on errors too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
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

#: What a tensor, an array or an option that the kernels do not take raises on its way to them.
_REFUSALS = (TypeError, ValueError, IndexError, RuntimeError)


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
    if not overridden(*tensors) and not transformed():
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
    """Return a tensor's memory as an array, though a gradient may be wanted in it."""
    return array(tensor.detach() if tensor.requires_grad else tensor)


def fused(call: Call, *tensors: Any) -> Any:
    """Return a loss, and a dict of outputs if the kernel returns some; None if it takes no part."""
    wanted: tuple[int, ...] = ()
    gradients: tuple[Any, ...] = ()
    if is_grad_enabled():
        wanted = tuple([k for k, x in enumerate(tensors) if x is not None and x.requires_grad])
        if wanted and (
            wanted[-1] >= call.differentiable
            or any([tensors[k].is_inference() for k in wanted])  # which cannot be saved
        ):
            return None
    try:
        if wanted and not call.deferred:
            gradients = tuple([_empty_like(tensors[k]) for k in wanted])
            value = call.run(tensors, wanted, None, _taken(call, gradients))
        else:
            value = call.run(tensors)
    except _REFUSALS:
        return None
    if value is None:
        return None
    dtype, outputs = tensors[0].dtype, None
    if type(value) is tuple:
        value, outputs = value
    loss = _scalar(value, dtype) if type(value) is float else _tensor(value, dtype)
    if wanted:
        inputs = [tensors[k] for k in wanted]
        loss = _attach((call, loss, wanted, tensors, gradients), *inputs)
    if outputs is None:
        return loss
    return loss, {name: _tensor(output, output.dtype) for name, output in outputs.items()}


def _taken(call: Call, tensors: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Return new tensors as a call takes them: as they are if it says so, as arrays if not."""
    return tensors if getattr(call, "takes_tensors", False) else tuple(map(array, tensors))


def _empty_like(tensor: Tensor) -> Tensor:
    """Return memory for a gradient, laid out as the tensor is.

    Fresh memory of megabytes costs more than the kernel: large gradients are on memory that is
    already there. Small tensors of torch's own are cheaper to give up.
    """
    if not _core.is_large(tensor.nbytes):
        return torch.empty_like(tensor)
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
    """A loss that a kernel computed, as a function of the tensors that it is differentiated in.

    The gradients of the forward pass are good whatever becomes of the tensors; whatever needs the
    tensors again, autograd tells if they have changed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        result: tuple[Call, Tensor, tuple[int, ...], Tensors, tuple[Tensor, ...]],
        *inputs: Tensor,
    ) -> Tensor:
        """Give the loss its place in the graph."""
        call, loss, wanted, tensors, gradients = result
        ctx.state = call, wanted, len(tensors)
        ctx.fresh = len(gradients) > 0
        # Freed by the backward pass, where an attribute would live as long as the loss.
        ctx.save_for_backward(*tensors, *gradients)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the forward pass, once; compute them otherwise."""
        call, wanted, count = ctx.state
        given: Any = None
        if not (is_grad_enabled() or overridden(grad_output) or transformed()):
            with suppress(RuntimeError):  # of a batch of them
                given = grad_output.detach() if call.reduction == "none" else grad_output.item()
        if given is None:
            return None, *_differentiated(call, ctx.saved_tensors[:count], wanted, grad_output)
        fresh = []
        if ctx.fresh:
            # After their first use the memory is someone else's.
            ctx.fresh = False
            fresh = [x.unpack().data for x in ctx._raw_saved_tensors[count:]]
        if fresh and call.reduction != "none":
            if given == 1:
                return None, *fresh
            if _may_be_scaled(ctx, fresh, given):
                return None, *[x.mul_(given) for x in fresh]
        tensors = ctx.saved_tensors[:count]
        try:
            if call.reduction == "none":
                (given,) = _taken(call, (given,))
            out = fresh or [_empty_like(tensors[k]) for k in wanted]
            if call.run(tensors, wanted, given, _taken(call, tuple(out))) is not None:
                return None, *out
        except _REFUSALS:
            pass
        return None, *_differentiated(call, tensors, wanted, grad_output)


def _may_be_scaled(ctx: Any, gradients: list[Tensor], scale: float) -> bool:
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


#: Whether the kernels are told of tensors by DLPack's C functions.
EXCHANGE: bool = _core.use_tensors(
    getattr(Tensor, "__dlpack_c_exchange_api__", None),
    (Tensor, torch.nn.Parameter),
    detached,
    torch.empty,
    _empty_like,
    (torch.float32, torch.float64),
)
