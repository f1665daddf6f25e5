"""Losses on Keras' torch backend: those of the torch front."""

from __future__ import annotations

from typing import Any

from fusedloss.torch import functional

INDICES = "int64"
IGNORED = -100  # which torch ignores, and Keras with it
DROPS_NEGATIVE, DROPS_LARGE = False, False
ANY_AXIS = True
NORMALISES_FOR_INDICES = True
LOOKS_BEHIND = False


def applies() -> bool:
    """Return True: what the kernels do not take, the torch front hands to torch."""
    return True


def evaluate(name: str, arrays: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Compute a loss."""
    return getattr(functional, name)(*arrays, **options)


def logits_behind(x: Any, activation: str) -> None:
    """Return None: Keras looks behind activations on TensorFlow alone."""
