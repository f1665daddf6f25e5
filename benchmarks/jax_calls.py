"""Value and gradient of the mean cross-entropy inside `jax.jit`, against optax's formula.

The gradient is memory that XLA allocates for every call, whoever writes it.
"""

from __future__ import annotations

from typing import Any

from comparisons import Comparison, Contenders
from targets import Target

FRONT, CONVENTIONS, OPTAX = "fusedloss.jax", "fusedloss.jax.optax", "optax"

#: Rows and classes, and what a call may take in times of optax's.
SIZES = (((64, 10), 1.5), ((2048, 8000), 1 / 3), ((2048, 32_000), 1 / 3))


def _case(shape: tuple[int, int], bound: float) -> Comparison:
    def make(_num_threads: int, small: bool) -> Contenders:
        import jax
        import optax

        import fusedloss.jax
        import fusedloss.jax.optax as conventions

        rows, classes = (8, 5) if small else shape
        z = jax.random.normal(jax.random.key(0), (rows, classes))
        y = jax.random.randint(jax.random.key(1), (rows,), 0, classes)

        def call(loss: Any) -> Any:
            function = jax.jit(jax.value_and_grad(lambda z: loss(z, y).mean()))
            return lambda: jax.block_until_ready(function(z))

        name = "softmax_cross_entropy_with_integer_labels"
        return {
            FRONT: call(fusedloss.jax.cross_entropy),
            CONVENTIONS: call(getattr(conventions, name)),
            OPTAX: call(getattr(optax.losses, name)),
        }

    label = f"cross_entropy, {shape[0]} x {shape[1]}"
    names = (FRONT, CONVENTIONS, OPTAX)
    return Comparison("inside jax.jit", label, names, make, (Target(bound, (OPTAX,)),))


JAX_CALLS = tuple(_case(shape, bound) for shape, bound in SIZES)
