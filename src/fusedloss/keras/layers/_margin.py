"""Margin-softmax heads."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fusedloss.keras._accelerate import Tensor
from fusedloss.keras.layers._head import Head
from fusedloss.keras.losses._own import register

#: How the weights of margin heads start.
START = keras.initializers.RandomNormal(stddev=0.01)


class MarginHead(Head):
    """A head of cosines."""

    #: Whether logits keep the length of the embeddings, and of the weight's rows.
    keep_norm = keep_weight_norm = False

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the scaled cosines without a margin."""
        kernel = ops.convert_to_tensor(self.kernel, embeddings.dtype)
        x = embeddings if self.keep_norm else ops.normalize(embeddings, axis=-1)
        rows = kernel if self.keep_weight_norm else ops.normalize(kernel, axis=-1)
        cosines = ops.matmul(x, ops.transpose(rows))
        if self.rows_per_class > 1:
            shape = (*ops.shape(x)[:-1], self.num_classes, self.rows_per_class)
            cosines = ops.max(ops.reshape(cosines, shape), axis=-1)
        return cosines * self.options.get("scale", self.options.get("alpha"))


@register
class ArcFace(MarginHead):
    """ArcFace, an additive angular margin: `fusedloss.arcface_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    margin, scale, easy_margin, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import ArcFace
    >>> head = ArcFace(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "arcface_loss"

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        easy_margin: bool = False,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {
            "margin": margin,
            "scale": scale,
            "easy_margin": easy_margin,
            "label_smoothing": label_smoothing,
        }
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class CosFace(MarginHead):
    """CosFace, an additive cosine margin: `fusedloss.cosface_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    margin, scale, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import CosFace
    >>> head = CosFace(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "cosface_loss"

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.35,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"margin": margin, "scale": scale, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class SphereFace(MarginHead):
    """SphereFace, a multiplicative angular margin: `fusedloss.sphereface_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    margin, scale, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import SphereFace
    >>> head = SphereFace(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "sphereface_loss"

    def __init__(
        self,
        num_classes: int,
        margin: float = 1.5,
        scale: float = 30.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"margin": margin, "scale": scale, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class NormFace(MarginHead):
    """NormFace, the softmax of scaled cosines: `fusedloss.normface_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    scale, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import NormFace
    >>> head = NormFace(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "normface_loss"

    def __init__(
        self,
        num_classes: int,
        scale: float = 20.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"scale": scale, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class CombinedMargin(MarginHead):
    """Three margins at once: `fusedloss.combined_margin_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    m1, m2, m3, scale, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import CombinedMargin
    >>> head = CombinedMargin(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "combined_margin_loss"

    def __init__(
        self,
        num_classes: int,
        m1: float = 1.0,
        m2: float = 0.5,
        m3: float = 0.0,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"m1": m1, "m2": m2, "m3": m3, "scale": scale, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class AdaFace(MarginHead):
    """AdaFace, a margin by the embedding's place among the batch's lengths.

    The loss is `fusedloss.adaface_loss`. Mean and deviation of the lengths are those of each batch,
    of the positions that are not ignored.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    margin, scale, h, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import AdaFace
    >>> head = AdaFace(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "adaface_loss"

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.4,
        scale: float = 64.0,
        h: float = 0.333,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"margin": margin, "scale": scale, "h": h, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class MagFace(MarginHead):
    """MagFace, a margin that grows with the embedding's length: `fusedloss.magface_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    scale, l_a, u_a, l_margin, u_margin, lambda_g, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import MagFace
    >>> head = MagFace(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "magface_loss"

    def __init__(
        self,
        num_classes: int,
        scale: float = 64.0,
        l_a: float = 10.0,
        u_a: float = 110.0,
        l_margin: float = 0.45,
        u_margin: float = 0.8,
        lambda_g: float = 35.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {
            "scale": scale,
            "l_a": l_a,
            "u_a": u_a,
            "l_margin": l_margin,
            "u_margin": u_margin,
            "lambda_g": lambda_g,
            "label_smoothing": label_smoothing,
        }
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class SubcenterArcFace(MarginHead):
    """ArcFace with several centers for each class: `fusedloss.subcenter_arcface_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    margin, scale, sub_centers, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import SubcenterArcFace
    >>> head = SubcenterArcFace(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "subcenter_arcface_loss"

    @property
    def rows_per_class(self) -> int:  # type: ignore[override]
        """The centers of a class."""
        centers: int = self.options["sub_centers"]
        return centers

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        sub_centers: int = 3,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {
            "margin": margin,
            "scale": scale,
            "sub_centers": sub_centers,
            "label_smoothing": label_smoothing,
        }
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class L2Softmax(MarginHead):
    """L2-constrained softmax: `fusedloss.l2_softmax_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    alpha, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import L2Softmax
    >>> head = L2Softmax(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "l2_softmax_loss"
    keep_weight_norm = True

    def __init__(
        self,
        num_classes: int,
        alpha: float = 16.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"alpha": alpha, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class LSoftmax(MarginHead):
    """Large-margin softmax: `fusedloss.l_softmax_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    margin, scale, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import LSoftmax
    >>> head = LSoftmax(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "l_softmax_loss"
    keep_norm = keep_weight_norm = True

    def __init__(
        self,
        num_classes: int,
        margin: float = 4.0,
        scale: float = 1.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"margin": margin, "scale": scale, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)


@register
class ASoftmax(MarginHead):
    """A-Softmax, the margin of the first SphereFace: `fusedloss.a_softmax_loss`.

    Parameters
    ----------
    num_classes : int
        The number of classes.
    margin, scale, label_smoothing
        As in the function.
    ignore_index : int, default -1
        Positions with this label are ignored: no loss, no weight in the mean, zero gradient.
    initializer : str or keras.Initializer, default a normal distribution of deviation 0.01
        How the weight starts.
    **layer
        As in `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.layers import ASoftmax
    >>> head = ASoftmax(10)
    >>> len(head(np.ones((2, 4), "float32"), np.array([3, 5])))
    2
    """

    loss = "a_softmax_loss"
    keep_norm = True

    def __init__(
        self,
        num_classes: int,
        margin: float = 4.0,
        scale: float = 1.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -1,
        initializer: Any = START,
        **layer: Any,
    ) -> None:
        options = {"margin": margin, "scale": scale, "label_smoothing": label_smoothing}
        super().__init__(num_classes, ignore_index, initializer, layer, **options)
