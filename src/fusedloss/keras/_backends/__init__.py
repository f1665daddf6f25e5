"""What runs a loss of this package on tensors of Keras' backend: a module for each.

Each has

- ``evaluate(name, arrays, options)``: a loss of this package as a tensor, differentiable in what
  the loss is differentiable in;
- ``applies()``: whether tensors can be handed to kernels where the call is made;
- ``logits_behind(x, activation)``: the tensor that Keras takes in the place of probabilities `x`,
  which it sees come from a softmax or a sigmoid; None if there is none;
- ``INDICES``, the dtype of class indices, and what Keras does about indices that are no class.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import keras

#: The backends of Keras for which there is a module here.
BACKENDS = ("jax", "numpy", "tensorflow", "torch")


class Unrecognised(Exception):
    """Raised for what no kernel takes: Keras gets it."""


class Backend(Protocol):
    """What the modules have in common."""

    INDICES: str
    #: The index of what is ignored.
    IGNORED: int
    #: Whether the loss of an index below or above all classes is 0, instead of an error.
    DROPS_NEGATIVE: bool
    DROPS_LARGE: bool
    #: Whether `sparse_categorical_crossentropy` takes any axis, instead of the last alone.
    ANY_AXIS: bool
    #: Whether probabilities are divided by their sum when the target is an index.
    NORMALISES_FOR_INDICES: bool
    #: Whether Keras looks for the logits behind probabilities.
    LOOKS_BEHIND: bool

    def evaluate(self, name: str, arrays: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Compute a loss."""

    def applies(self) -> bool:
        """Tell whether kernels can be called."""

    def logits_behind(self, x: Any, activation: str) -> Any:
        """Return the logits of which `x` is the softmax or sigmoid, or None."""


def backend() -> Backend | None:
    """Return the module of Keras' backend, or None."""
    name = keras.config.backend()
    if name not in BACKENDS:
        return None
    module: Any = importlib.import_module(f"{__name__}._{name}")
    return module  # type: ignore[no-any-return]
