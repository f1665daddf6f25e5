"""Losses on Keras' JAX backend: those of the JAX front."""

from __future__ import annotations

from typing import Any

import fusedloss.jax
from fusedloss.keras._backends import Unrecognised

INDICES = "int32"
IGNORED = -(2**31)
DROPS_NEGATIVE, DROPS_LARGE = True, True
ANY_AXIS = False
NORMALISES_FOR_INDICES = True
LOOKS_BEHIND = False


def applies() -> bool:
    """Return True: what the kernels do not take, the JAX front computes by formulas."""
    return True


def evaluate(name: str, arrays: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Compute a loss."""
    loss = getattr(fusedloss.jax, name, None)
    if loss is None:
        raise Unrecognised
    return loss(*arrays, **options)


def logits_behind(x: Any, activation: str) -> None:
    """Return None: Keras looks behind activations on TensorFlow alone."""
