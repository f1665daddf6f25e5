"""A layer that owns the weights of classes and computes a loss."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from fusedloss.keras._accelerate import Tensor
from fusedloss.keras.losses._own import evaluate_own, labels_of


class Head(keras.layers.Layer):
    """A layer with a weight of shape (num_classes, features), and a loss."""

    loss: ClassVar[str]
    rows_per_class = 1

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        initializer: Any,
        layer: dict[str, Any],
        **options: Any,
    ) -> None:
        super().__init__(**layer)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.initializer = keras.initializers.get(initializer)
        self.options = options

    def build(self, embeddings_shape: Any, *_: Any, **__: Any) -> None:
        """Make the weight."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.num_classes * self.rows_per_class, embeddings_shape[-1]),
            initializer=self.initializer,
        )
        self.built = True

    def compute_output_shape(
        self, embeddings_shape: Any, labels_shape: Any = None, sample_weight_shape: Any = None
    ) -> Any:
        """Return the shape of the losses, or without labels of the logits."""
        given = tuple(embeddings_shape[:-1])
        return given if labels_shape is not None else (*given, self.num_classes)

    def call(
        self, embeddings: Tensor, labels: Tensor = None, sample_weight: Tensor = None
    ) -> Tensor:
        """Add the mean loss to those of the model and return that of each position; or logits.

        Parameters
        ----------
        embeddings : tensor, shape (..., features)
            What comes before the layer of classes.
        labels : tensor, shape (...), optional
            Class indices. Positions of `ignore_index` are ignored.
        sample_weight : tensor, shape (...), optional
            A weight for each position; the mean divides by their sum.

        Returns
        -------
        tensor
            The loss of each position, by its weight; without labels, the logits.
        """
        if labels is None:
            return self.logits(embeddings)
        shape = ops.shape(embeddings)[:-1]
        indices = ops.reshape(labels_of(ops.convert_to_tensor(labels)), (-1,))
        losses = evaluate_own(
            self.loss,
            ops.reshape(embeddings, (-1, embeddings.shape[-1])),
            ops.convert_to_tensor(self.kernel, embeddings.dtype),
            indices,
            ignore_index=self.ignore_index,
            **self.keywords(embeddings.dtype),
        )
        losses = ops.reshape(losses, (-1,))
        count = ops.cast(ops.not_equal(indices, self.ignore_index), losses.dtype)
        if sample_weight is not None:
            factors = ops.reshape(ops.cast(sample_weight, losses.dtype), (-1,))
            losses, count = losses * factors, count * factors
        self.add_loss(ops.divide_no_nan(ops.sum(losses), ops.sum(count)))
        return ops.reshape(losses, shape)

    def keywords(self, dtype: Any) -> dict[str, Any]:
        """Return the options of the function."""
        return self.options

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits without a margin."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_index": self.ignore_index,
            "initializer": keras.initializers.serialize(self.initializer),
            **self.options,
        }
