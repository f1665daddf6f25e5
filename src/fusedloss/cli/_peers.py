"""The peers of a benchmark: torch, eager and compiled, and JAX, as their users would call them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fusedloss._types import Array


def to_tensor(torch: Any, value: Any) -> Any:
    """Return arrays as tensors on the same memory, tuples of them too, and all else as it is."""
    if isinstance(value, tuple):
        return tuple(to_tensor(torch, each) for each in value)
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
) -> Callable[[], Any]:
    """Make the call of a function of tensors, perhaps with the gradient of its first argument."""
    prediction, *others = (to_tensor(torch, each) for each in arrays)
    options = {name: to_tensor(torch, each) for name, each in options.items()}
    no_grad = torch.no_grad

    def forward() -> Any:
        with no_grad():
            return function(prediction, *others, **options)

    # detach, so that the other contenders' views of the same memory stay plain tensors
    leaf = prediction.detach().requires_grad_()

    def value_and_gradient() -> Any:
        loss = function(leaf, *others, **options)
        loss.backward()
        # Hand the gradient over and keep none: the next call would add to it.
        grad, leaf.grad = leaf.grad, None
        return loss.detach(), grad

    return value_and_gradient if with_gradient else forward


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
