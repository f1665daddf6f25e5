"""The peers of a benchmark: torch, eager and compiled, and JAX, as their users would call them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fusedloss._types import Array


def to_tensor(torch: Any, value: Any) -> Any:
    """Return arrays as tensors on the same memory, in sequences too, and all else as it is."""
    if isinstance(value, tuple | list):
        return type(value)(to_tensor(torch, each) for each in value)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.name == "bfloat16":  # which torch does not take from NumPy
        return torch.from_numpy(value.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(value)


def torch_call(
    torch: Any,
    function: Callable[..., Any],
    arrays: Sequence[Any],
    options: Mapping[str, Any],
    *,
    with_gradient: bool,
    argnums: Sequence[int] = (0,),
) -> Callable[[], Any]:
    """Make the call of a function of tensors, perhaps with the gradients of some arguments."""
    tensors = [to_tensor(torch, each) for each in arrays]
    options = {name: to_tensor(torch, each) for name, each in options.items()}
    no_grad = torch.no_grad

    def forward() -> Any:
        with no_grad():
            return function(*tensors, **options)

    # detach, so that the other contenders' views of the same memory stay plain tensors
    inputs = list(tensors)
    for number in argnums:
        inputs[number] = _mapped(lambda one: one.detach().requires_grad_(), tensors[number])
    leaves = [leaf for number in argnums for leaf in flat(inputs[number])]

    def value_and_gradient() -> Any:
        loss = function(*inputs, **options)
        loss.backward()
        # Hand the gradients over and keep none: the next call would add to them.
        grads = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return loss.detach(), grads

    return value_and_gradient if with_gradient else forward


def flat(value: Any) -> list[Any]:
    """Return the arrays of a list or tuple, or the one that it is."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    return [function(each) for each in value] if isinstance(value, list) else function(value)


def formula_of(torch: Any, name: str) -> Callable[..., Any]:
    """Return a loss in torch's own operations: what the torch front computes without kernels.

    It does where a mode watches the calls of torch's functions, here one that lets them pass. The
    formulas call torch.nn.functional's own function of the loss where there is one.
    """
    front = getattr(importlib.import_module("fusedloss.torch.functional"), name)

    class Passing(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return function(*args, **(kwargs or {}))

    def formula(*arguments: Any, **options: Any) -> Any:
        with Passing():
            return front(*arguments, **options)

    return formula


def products(torch: Any, x: Any, weight: Any) -> Callable[[], object]:
    """Make the matrix products of a layer and its gradients alone, into arrays that are there.

    These are X W', then with a G of that shape G W and G' X: by torch where it is given.
    """
    if torch is None:
        logits = np.zeros((len(x), len(weight)), x.dtype)
        places = np.zeros_like(x), np.zeros_like(weight)

        def by_numpy() -> None:
            np.matmul(x, weight.T, out=logits)
            np.matmul(logits, weight, out=places[0])
            np.matmul(logits.T, x, out=places[1])

        return by_numpy
    logits = torch.zeros(len(x), len(weight), dtype=x.dtype)
    by_input, by_weight = torch.zeros_like(x), torch.zeros_like(weight)

    def by_torch() -> None:
        torch.mm(x, weight.t(), out=logits)
        torch.mm(logits, weight, out=by_input)
        torch.mm(logits.t(), x, out=by_weight)

    return by_torch


def torch_compile(torch: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for the shapes of the first call, which then takes seconds."""
    torch.compiler.reset()  # or the sizes compiled before count towards a limit
    # In this process: torch would start a pool of compilers, whose start disturbs what is timed.
    compiled: Callable[..., Any] = torch.compile(
        function, dynamic=False, options={"compile_threads": 1}
    )
    return compiled


def torch_compiles(torch: Any) -> bool:
    """Whether torch.compile works here: it takes a C++ compiler, and Python's headers."""
    try:
        torch_compile(torch, lambda tensor: tensor.exp().sum())(torch.zeros(8))
    except Exception:  # whatever stands in the way of the compiler's many parts
        return False
    return True


def jax_call(
    logits: Array, target: Array, num_threads: int, *, with_gradient: bool
) -> Callable[[], Any]:
    """Make the call of optax's formula under jit; computed in float32 for 16-bit logits."""
    # Read when JAX starts its threads, at the first call; later ones cannot change their number.
    os.environ.setdefault("NPROC", str(num_threads))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax, jnp = importlib.import_module("jax"), importlib.import_module("jax.numpy")

    def cross_entropy(logits: Any, target: Any) -> Any:
        logits = logits.astype(jnp.float32)
        chosen = jnp.take_along_axis(logits, jnp.expand_dims(target, 1), axis=1)
        return jnp.mean(jax.nn.logsumexp(logits, axis=1, keepdims=True) - chosen)

    function = jax.jit(jax.value_and_grad(cross_entropy) if with_gradient else cross_entropy)
    arguments = jax.device_put((logits, target.astype(np.int32)))
    return lambda: jax.block_until_ready(function(*arguments))
