"""A linear layer whose outputs are never held in training."""

from __future__ import annotations

from typing import Any

from keras import ops

from fusedloss.keras._accelerate import Tensor
from fusedloss.keras.layers._head import Head
from fusedloss.keras.losses._own import register


@register
class LinearCrossEntropy(Head):
    """A linear layer and the cross-entropy of its outputs: `fusedloss.linear_cross_entropy`.

    Parameters
    ----------
    num_classes : int
        The outputs of the layer.
    use_bias : bool, default False
        Whether there is a bias.
    label_smoothing, softcap, z_loss
        As in the function.
    ignore_index : int, default -100
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default "glorot_uniform"
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import LinearCrossEntropy
    >>> head = LinearCrossEntropy(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "linear_cross_entropy"

    def __init__(
        self,
        num_classes: int,
        use_bias: bool = False,
        label_smoothing: float = 0.0,
        softcap: float | None = None,
        z_loss: float = 0.0,
        ignore_index: int = -100,
        initializer: Any = "glorot_uniform",
        **layer: Any,
    ) -> None:
        options = {"label_smoothing": label_smoothing, "softcap": softcap, "z_loss": z_loss}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)
        self.use_bias = use_bias

    def build(self, embeddings_shape: Any, *_: Any, **__: Any) -> None:
        """Make the weight and the bias."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.num_classes,), initializer="zeros")
        super().build(embeddings_shape)

    def keywords(self, dtype: Any) -> dict[str, Any]:
        """Return the options of the function, the bias among them."""
        if self.bias is None:
            return self.options
        return self.options | {"linear_bias": ops.convert_to_tensor(self.bias, dtype)}

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the outputs of the layer."""
        logits = ops.matmul(embeddings, ops.transpose(self.kernel))
        if self.bias is not None:
            logits = logits + self.bias
        softcap = self.options["softcap"]
        return logits if softcap is None else softcap * ops.tanh(logits / softcap)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "use_bias": self.use_bias}
