"""What this package's own losses have in common as losses of Keras."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from fusedloss.keras._accelerate import Tensor, evaluate, here
from fusedloss.keras._backends import Unrecognised

register = keras.saving.register_keras_serializable("fusedloss")


def evaluate_own(name: str, *arrays: Tensor, **options: Any) -> Tensor:
    """Compute a loss for which Keras has no formula that could take its place."""
    try:
        return evaluate(name, *arrays, **options)
    except Unrecognised:
        raise NotImplementedError(
            f"{name} cannot be computed here: it needs Keras' backend jax, numpy, tensorflow or "
            "torch, and on tensorflow a graph that is not compiled by XLA (jit_compile=False)"
        ) from None


def labels_of(y_true: Tensor) -> Tensor:
    """Return class indices, of whatever dtype they come."""
    try:
        return ops.cast(y_true, here().INDICES)
    except Unrecognised:
        return y_true


def of_batch(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a function of the batch: its own reduction has another name here."""
    return {"reduction": None} | {
        "reduction" if k == "batch_reduction" else k: x for k, x in options.items()
    }


class OwnLoss(keras.losses.Loss):
    """A loss of this package with its options."""

    loss: ClassVar[str]

    def __init__(self, reduction: str | None, name: str | None, dtype: Any, **options: Any) -> None:
        super().__init__(name=name or self.loss, reduction=reduction, dtype=dtype)
        self.options = options

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), **self.options}
