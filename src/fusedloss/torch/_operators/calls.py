"""Which calls become operators, and how."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor
from torch._C import _get_dispatch_mode, _is_tracing, _TorchDispatchModeKey
from torch._subclasses.fake_tensor import is_fake
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.overrides import has_torch_function_variadic

from fusedloss.torch._autograd import as_autocast, transformed


class _Within(threading.local):
    """What an operator that calls a function wants of it: its kernel, or its formula."""

    kernel = False
    formula = False


WITHIN = _Within()

#: Pointwise losses whose kernels are quicker than their compiled formulas, neighbours included:
#: a third to four fifths of their time was measured, of losses without exponentials more.
POINTWISE = ("binary_cross_entropy_with_logits", "log_cosh_loss", "sigmoid_focal_loss")

#: By the names of functions; they are put here where they are registered.
OPERATORS: dict[str, Any] = {}


def operated(*tensors: Any) -> bool:
    """Whether a call becomes an operator: one that is compiled, transformed or without memory.

    The first tensor is the prediction.
    """
    prediction = tensors[0]
    if is_dynamo_compiling():
        return _has_kernels(prediction)
    overridden = not is_compiling() and has_torch_function_variadic(*tensors)  # export has a mode
    recorded = overridden and _is_recorded()  # so has make_fx
    return (
        (
            is_compiling()
            or transformed()
            or recorded
            or (isinstance(prediction, Tensor) and prediction.is_meta)
        )
        and not WITHIN.formula
        and not WITHIN.kernel
        and not _is_tracing()
        and _has_kernels(prediction)
        and (recorded or not overridden)
    )


def operated_pointwise(name: str, *tensors: Any) -> bool:
    """Whether a call of a pointwise loss becomes an operator: one of `POINTWISE` in a graph.

    Transforms differentiate and batch the formula, which takes no call for each element of a batch.
    """
    return name in POINTWISE and (is_compiling() or _is_recorded()) and operated(*tensors)


def _is_recorded() -> bool:
    """Whether make_fx records operations."""
    return get_proxy_mode() is not None


def readable(tensor: Any) -> bool:
    """Whether a program may look at a tensor's numbers, and choose its way by them."""
    return not (
        is_compiling()
        or _is_recorded()
        or _get_dispatch_mode(_TorchDispatchModeKey.FAKE) is not None
        or (isinstance(tensor, Tensor) and (tensor.is_meta or is_fake(tensor)))
    )


def _has_kernels(prediction: Any) -> bool:
    """Whether a tensor is one that kernels take, had it memory."""
    return (
        isinstance(prediction, Tensor)
        and prediction.device.type in ("cpu", "meta")
        and prediction.layout is torch.strided
        and prediction.is_floating_point()
    )


def operate(name: str, **given: Any) -> Any:
    """Call a function's operator with arguments of the function."""
    import fusedloss.torch.operators  # noqa: F401 - a tenth of a second, before the first one

    operator = OPERATORS[name]
    tensors = [x.encoded(given.get(x.name)) for x in operator.tensors]
    # views have the classes where `axis` says, so that it is not passed on
    options = {x.name: x.encoded(given[x.name]) for x in operator.options if x.name in given}
    made = operator.of_loss(*as_autocast(*tensors), **options)
    if isinstance(made, Tensor):
        return made
    names = given["outputs"]
    return (made[0], dict(zip(names, made[1:], strict=True))) if names else made[0]
