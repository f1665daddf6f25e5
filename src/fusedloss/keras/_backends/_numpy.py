"""Losses on Keras' NumPy backend, which has no gradients."""

from __future__ import annotations

from typing import Any

import fusedloss

INDICES = "int32"
IGNORED = -(2**31)
DROPS_NEGATIVE, DROPS_LARGE = True, False
ANY_AXIS = False
NORMALISES_FOR_INDICES = True
LOOKS_BEHIND = False


def applies() -> bool:
    """Return True: arrays are what the kernels take."""
    return True


def evaluate(name: str, arrays: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Compute a loss."""
    return getattr(fusedloss, name)(*arrays, **options)


def logits_behind(x: Any, activation: str) -> None:
    """Return None: Keras looks behind activations on TensorFlow alone."""
