"""The JAX that is needed: imported before anything that takes more of it."""

import jax

LEAST = (0, 6)

if tuple(map(int, jax.__version__.split(".")[:2])) < LEAST:
    raise ImportError(
        f"fusedloss.jax needs jax {LEAST[0]}.{LEAST[1]} or newer: "
        f"jax {jax.__version__} is installed"
    )
