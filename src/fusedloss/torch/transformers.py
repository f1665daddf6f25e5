"""Language models of the `transformers` library, trained without their logits."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from fusedloss.torch import _original, functional

__all__ = ["patch_transformers"]

#: The heads whose logits wait, of the models that are being called.
_waiting: ContextVar[tuple[nn.Module, ...]] = ContextVar("waiting", default=())


def patch_transformers(model: nn.Module) -> None:
    """Have a language model of the `transformers` library compute its loss without its logits.

    In training mode, where a call with ``labels`` is for the loss alone, head and cross-entropy are
    one `fusedloss.torch.functional.linear_cross_entropy`, and ``logits`` is None in the output. All
    else is the library's own code: the shift of the labels, ``num_items_in_batch`` for accumulated
    gradients, ignored tokens, caps and scales of the logits, auxiliary losses.

    Parameters
    ----------
    model : torch.nn.Module
        A model whose ``get_output_embeddings()`` is a `torch.nn.Linear`, such as LlamaForCausalLM;
        also one that `peft` has given adapters, if they are not the head's. It is changed in place,
        its parameters and its class are not.

    Raises
    ------
    TypeError
        If the model has no such head.

    Notes
    -----
    Calls make the logits as before without ``labels``, in evaluation mode, and with
    ``skip_logits=False``; ``skip_logits=True`` leaves them out in evaluation too. The library's
    Trainer calls a model without ``labels`` where it needs the logits itself: with
    ``label_smoothing_factor`` and with ``compute_loss_func``. A model that computes more of its
    logits than scaled or capped ones and their cross-entropy makes them, then and there.

    In 16 bits the logits are not rounded before the loss, as the library's are; the loss is float32
    there and here. A head that has hooks or is on another device is left alone. Of a tied weight
    both parts of the gradient are computed, of a frozen one none.

    Other packages do the same on GPUs: Liger-Kernel's ``apply_liger_kernel_to_llama``.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM  # doctest: +SKIP
    >>> from fusedloss.torch import patch_transformers
    >>> model = LlamaForCausalLM(LlamaConfig())  # doctest: +SKIP
    >>> patch_transformers(model)  # doctest: +SKIP
    >>> model(input_ids, labels=input_ids).loss.backward()  # doctest: +SKIP
    """
    find = getattr(model, "get_output_embeddings", None)
    head = find() if callable(find) else None
    if type(head) is Head:
        return
    if type(head) is not nn.Linear:
        raise TypeError(
            f"the head of {type(model).__name__} is {type(head).__name__}: expected a model of "
            "transformers whose get_output_embeddings() is a torch.nn.Linear"
        )
    head.__class__ = Head
    model.register_forward_pre_hook(_begin, with_kwargs=True)
    model.register_forward_hook(_end, with_kwargs=True, always_call=True)


class Head(nn.Linear):
    """A linear layer whose outputs wait while its model is asked for the loss alone."""

    def forward(self, input: Tensor) -> Any:
        """Return the outputs, or what stands for them."""
        alone = not (self._forward_hooks or self._forward_pre_hooks) and input.device.type == "cpu"
        if alone and any([head is self for head in _waiting.get()]):
            return Logits(input, self.weight, self.bias)
        return super().forward(input)


def _begin(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Have the logits of a call wait if they are not asked for."""
    skip = kwargs.get("skip_logits")
    if skip is None:
        given = [kwargs.get(name) for name in ("labels", "shift_labels")]
        skip = model.training and any([labels is not None for labels in given])
    head = model.get_output_embeddings() if skip else model  # which has an end, too
    _waiting.set((*_waiting.get(), head))
    return args, {name: x for name, x in kwargs.items() if name != "skip_logits"}


def _end(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Any:
    """Leave out of the outputs the logits that still wait."""
    _waiting.set(_waiting.get()[:-1])
    if isinstance(outputs, tuple):
        return tuple([_shown(x) for x in outputs])
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        waiting = {
            field.name: _shown(x)
            for field in dataclasses.fields(outputs)
            if isinstance(x := getattr(outputs, field.name), Logits)
        }
        return dataclasses.replace(outputs, **waiting) if waiting else outputs
    return outputs


def _shown(output: Any) -> Any:
    return output.made if isinstance(output, Logits) else output


class Logits:
    """Outputs of a linear layer that are made if they are wanted for more than cross-entropy.

    They are softcap * tanh(scale / softcap * z) for outputs z, or scale * z without a cap.
    """

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
        softcap: float | None = None,
        make: Callable[[], Tensor] | None = None,
        earlier: Logits | None = None,
    ) -> None:
        self.hidden = hidden
        self.weight = weight
        self.bias = bias
        self.dtype = dtype or hidden.dtype
        self.scale = scale  # to be multiplied by, and divided by
        self.softcap = softcap
        self.make = make or (lambda: _original.linear(hidden, weight, bias))
        self.earlier = earlier
        self.made: Tensor | None = None

    def tensor(self) -> Tensor:
        """Return the logits."""
        if self.made is None:
            self.made = self.make()
        return self.made

    def changed(self, make: Callable[[], Tensor], **fields: Any) -> Logits:
        """Return what stands for a function of these logits."""
        bases = self.hidden, self.weight, self.bias, self.dtype, self.scale, self.softcap
        other = Logits(*bases, make, self)
        vars(other).update(fields)
        return other

    @property
    def waits(self) -> bool:
        """Whether nobody has wanted the numbers."""
        return self.made is None and (self.earlier is None or self.earlier.waits)

    @property
    def shape(self) -> torch.Size:
        """The shape of the logits."""
        return torch.Size((*self.hidden.shape[:-1], len(self.weight)))

    @property
    def device(self) -> torch.device:
        """The device of the logits."""
        return self.hidden.device

    def size(self, dim: int | None = None) -> Any:
        """Return the shape of the logits, or a part of it."""
        return self.shape if dim is None else self.shape[dim]

    def contiguous(self) -> Logits:
        """Return these logits."""
        return self

    def float(self) -> Any:
        """Return the logits in float32."""
        return self.to(torch.float32)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Return the logits in another dtype."""
        same = (self.dtype,), (self.device,)
        raised = args == (torch.float32,) and self.dtype is not torch.float64
        if not kwargs and (raised or args in same):
            dtype = args[0] if isinstance(args[0], torch.dtype) else self.dtype
            return self.changed(lambda: self.tensor().to(dtype), dtype=dtype)
        return self.tensor().to(*args, **kwargs)

    def view(self, *shape: Any) -> Any:
        """Return the logits with other axes of positions."""
        sizes = tuple(shape[0]) if shape and isinstance(shape[0], tuple | list) else shape
        if sizes and sizes[-1] == len(self.weight):
            hidden = self.hidden.reshape(*sizes[:-1], self.hidden.shape[-1])
            return self.changed(lambda: self.tensor().view(*shape), hidden=hidden)
        return self.tensor().view(*shape)

    reshape = view

    def __getitem__(self, index: Any) -> Any:
        """Return the logits of some positions."""
        if isinstance(index, tuple) and index and index[-1] == slice(None):
            whole = len(index) == len(self.shape) or index.count(Ellipsis) == 1
            if whole and all([x is Ellipsis or isinstance(x, slice) for x in index]):
                hidden = self.hidden[index]
                return self.changed(lambda: self.tensor()[index], hidden=hidden)
        return self.tensor()[index]

    def __mul__(self, factor: Any) -> Any:
        """Return multiples of the logits; after tanh the factor is the cap."""
        by, over = self.scale
        if isinstance(factor, int | float) and self.softcap is None:
            return self.changed(lambda: self.tensor() * factor, scale=(by * factor, over))
        if isinstance(factor, int | float) and self.softcap == 1.0 and factor > 0:
            scale = (by * factor, over)
            return self.changed(lambda: self.tensor() * factor, scale=scale, softcap=float(factor))
        return self.tensor() * factor

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Any:
        """Return a fraction of the logits."""
        by, over = self.scale
        if isinstance(divisor, int | float) and divisor and self.softcap is None:
            return self.changed(lambda: self.tensor() / divisor, scale=(by, over * divisor))
        return self.tensor() / divisor

    def tanh(self) -> Any:
        """Return the hyperbolic tangent, a cap at 1."""
        if self.softcap is None:
            return self.changed(lambda: self.tensor().tanh(), softcap=1.0)
        return self.tensor().tanh()

    def cross_entropy(
        self,
        target: Tensor,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: Any = 0.0,
    ) -> Any:
        """Return the cross-entropy of the logits, which are made only if they have to be."""
        if not (self.waits and self.hidden.dim() == 2 and size_average is None and reduce is None):
            return _original.cross_entropy(
                self.tensor(),
                target,
                weight,
                size_average,
                ignore_index,
                reduce,
                reduction,
                label_smoothing,
            )
        hidden, bias, scale = self.hidden, self.bias, self.scale[0] / self.scale[1]
        if scale != 1:
            hidden = hidden * scale
            bias = None if bias is None else bias * scale
        # Logits of 16 bits that were made float32 have a loss of float32: as under autocast.
        raised = self.dtype is not hidden.dtype and not torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", hidden.dtype if raised else None, enabled=raised):
            return functional.linear_cross_entropy(
                hidden,
                self.weight,
                target,
                linear_bias=bias,
                weight=weight,
                reduction=reduction,
                ignore_index=None if target.is_floating_point() else ignore_index,
                label_smoothing=label_smoothing,
                softcap=self.softcap,
            )

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer tanh and cross-entropy; make the logits for any other function."""
        kwargs = kwargs or {}
        if args and isinstance(args[0], Logits):
            if func is torch.tanh and len(args) == 1 and not kwargs:
                return args[0].tanh()
            if inspect.unwrap(func) is _original.cross_entropy:
                return args[0].cross_entropy(*args[1:], **kwargs)
        made = torch.utils._pytree.tree_map_only(Logits, Logits.tensor, (args, kwargs))
        return func(*made[0], **made[1])

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the logits, which are made for it."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.tensor(), name)


def _by_numbers(name: str) -> Callable[..., Any]:
    def operator(self: Logits, *operands: Any) -> Any:
        others = [x.tensor() if isinstance(x, Logits) else x for x in operands]
        return getattr(self.tensor(), name)(*others)

    return operator


for _name in ("add", "radd", "sub", "rsub", "rtruediv", "pow", "matmul", "neg", "len", "setitem"):
    setattr(Logits, f"__{_name}__", _by_numbers(f"__{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "iter"):
    setattr(Logits, f"__{_name}__", _by_numbers(f"__{_name}__"))
