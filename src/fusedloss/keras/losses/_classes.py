"""Keras' losses as classes: Keras' own, with the functions of this package in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras

# Not among Keras' public names, but what `keras.losses.Loss` does.
from keras.src.backend import get_keras_mask
from keras.src.losses.loss import scale_loss_for_distribution

from fusedloss.keras._accelerate import expect, of_one_rank, prediction_of, target_of
from fusedloss.keras._backends import Unrecognised
from fusedloss.keras.losses import _classification, _regression

register = keras.saving.register_keras_serializable("fusedloss")


class Accelerated(keras.losses.Loss):
    """What makes a class of Keras' call a function of this package.

    Keras' constructors put theirs into `fn`; which it is depends on the class alone here.
    """

    function: ClassVar[Callable[..., Any]]

    @property
    def fn(self) -> Callable[..., Any]:
        """The function."""
        return type(self).function

    @fn.setter
    def fn(self, of_keras: Callable[..., Any]) -> None:
        """Leave Keras' function out."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor: all, of which Keras leaves some out."""
        return {**super().get_config(), **self._fn_kwargs}


#: What `reduction` may be for the mean of all elements.
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


class Elementwise(Accelerated):
    """A pointwise loss, whose mean needs no array of the elements' losses."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Compute the loss, at once if it is the mean of all samples alike."""
        alike = sample_weight is None and get_keras_mask(y_pred) is None
        if alike and self.reduction in MEANS:
            try:
                return self.mean(y_true, y_pred)
            except Unrecognised:
                pass
        return super().__call__(y_true, y_pred, sample_weight)

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the mean of all elements; Unrecognised if no kernel does."""
        with keras.name_scope(self.name):
            y_pred = prediction_of(y_pred, self.dtype)
            y_true, y_pred = of_one_rank(target_of(y_true, self.dtype), y_pred)
            expect(0 not in y_pred.shape)
            function: Any = type(self).function
            call = function.__wrapped__(y_true, y_pred, **self._fn_kwargs)
            return scale_loss_for_distribution(call.mean())


@register
class MeanSquaredError(Elementwise, keras.losses.MeanSquaredError):
    """`keras.losses.MeanSquaredError`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import MeanSquaredError
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(MeanSquaredError()(y_true, y_pred)), 4)
    0.035
    """

    function = staticmethod(_regression.mean_squared_error)


@register
class MeanAbsoluteError(Elementwise, keras.losses.MeanAbsoluteError):
    """`keras.losses.MeanAbsoluteError`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import MeanAbsoluteError
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(MeanAbsoluteError()(y_true, y_pred)), 4)
    0.15
    """

    function = staticmethod(_regression.mean_absolute_error)


@register
class MeanAbsolutePercentageError(Elementwise, keras.losses.MeanAbsolutePercentageError):
    """`keras.losses.MeanAbsolutePercentageError`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import MeanAbsolutePercentageError
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(MeanAbsolutePercentageError()(y_true, y_pred)), 4)
    13.75
    """

    function = staticmethod(_regression.mean_absolute_percentage_error)


@register
class MeanSquaredLogarithmicError(Elementwise, keras.losses.MeanSquaredLogarithmicError):
    """`keras.losses.MeanSquaredLogarithmicError`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import MeanSquaredLogarithmicError
    >>> y_true = np.array([[0.0, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.5, 1.0], [1.0, 2.5]], "float32")
    >>> round(float(MeanSquaredLogarithmicError()(y_true, y_pred)), 4)
    0.0867
    """

    function = staticmethod(_regression.mean_squared_logarithmic_error)


@register
class CosineSimilarity(Accelerated, keras.losses.CosineSimilarity):
    """`keras.losses.CosineSimilarity`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CosineSimilarity
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(CosineSimilarity()(y_true, y_pred)), 4)
    -0.9987
    """

    function = staticmethod(_regression.cosine_similarity)


@register
class Huber(Elementwise, keras.losses.Huber):
    """`keras.losses.Huber`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import Huber
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(Huber()(y_true, y_pred)), 4)
    0.0175
    """

    function = staticmethod(_regression.huber)


@register
class LogCosh(Elementwise, keras.losses.LogCosh):
    """`keras.losses.LogCosh`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import LogCosh
    >>> y_true = np.array([[0.5, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.6, 1.2], [1.7, 3.0]], "float32")
    >>> round(float(LogCosh()(y_true, y_pred)), 4)
    0.0173
    """

    function = staticmethod(_regression.log_cosh)


@register
class Poisson(Elementwise, keras.losses.Poisson):
    """`keras.losses.Poisson`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import Poisson
    >>> y_true = np.array([[0.0, 1.0], [2.0, 3.0]], "float32")
    >>> y_pred = np.array([[0.5, 1.0], [1.0, 2.5]], "float32")
    >>> round(float(Poisson()(y_true, y_pred)), 4)
    0.5628
    """

    function = staticmethod(_regression.poisson)


@register
class Hinge(Elementwise, keras.losses.Hinge):
    """`keras.losses.Hinge`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import Hinge
    >>> y_true = np.array([[-1.0, 1.0]], "float32")
    >>> y_pred = np.array([[-0.5, 0.2]], "float32")
    >>> round(float(Hinge()(y_true, y_pred)), 4)
    0.65
    """

    function = staticmethod(_classification.hinge)


@register
class SquaredHinge(Elementwise, keras.losses.SquaredHinge):
    """`keras.losses.SquaredHinge`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import SquaredHinge
    >>> y_true = np.array([[-1.0, 1.0]], "float32")
    >>> y_pred = np.array([[-0.5, 0.2]], "float32")
    >>> round(float(SquaredHinge()(y_true, y_pred)), 4)
    0.445
    """

    function = staticmethod(_classification.squared_hinge)


@register
class CategoricalHinge(Accelerated, keras.losses.CategoricalHinge):
    """`keras.losses.CategoricalHinge`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CategoricalHinge
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(CategoricalHinge()(y_true, y_pred)), 4)
    0.4
    """

    function = staticmethod(_classification.categorical_hinge)


@register
class BinaryCrossentropy(Elementwise, keras.losses.BinaryCrossentropy):
    """`keras.losses.BinaryCrossentropy`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import BinaryCrossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.7]], "float32")
    >>> round(float(BinaryCrossentropy()(y_true, y_pred)), 4)
    0.2899
    """

    function = staticmethod(_classification.binary_crossentropy)


@register
class BinaryFocalCrossentropy(Elementwise, keras.losses.BinaryFocalCrossentropy):
    """`keras.losses.BinaryFocalCrossentropy`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import BinaryFocalCrossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.7]], "float32")
    >>> round(float(BinaryFocalCrossentropy()(y_true, y_pred)), 4)
    0.0205
    """

    function = staticmethod(_classification.binary_focal_crossentropy)


@register
class CategoricalCrossentropy(Accelerated, keras.losses.CategoricalCrossentropy):
    """`keras.losses.CategoricalCrossentropy`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CategoricalCrossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(CategoricalCrossentropy()(y_true, y_pred)), 4)
    0.2231
    """

    function = staticmethod(_classification.categorical_crossentropy)


@register
class CategoricalFocalCrossentropy(Accelerated, keras.losses.CategoricalFocalCrossentropy):
    """`keras.losses.CategoricalFocalCrossentropy`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CategoricalFocalCrossentropy
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(CategoricalFocalCrossentropy()(y_true, y_pred)), 4)
    0.0022
    """

    function = staticmethod(_classification.categorical_focal_crossentropy)


@register
class SparseCategoricalCrossentropy(Accelerated, keras.losses.SparseCategoricalCrossentropy):
    """`keras.losses.SparseCategoricalCrossentropy`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import SparseCategoricalCrossentropy
    >>> y_true = np.array([1], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(SparseCategoricalCrossentropy()(y_true, y_pred)), 4)
    0.2231
    """

    function = staticmethod(_classification.sparse_categorical_crossentropy)


@register
class CategoricalGeneralizedCrossEntropy(
    Accelerated, keras.losses.CategoricalGeneralizedCrossEntropy
):
    """`keras.losses.CategoricalGeneralizedCrossEntropy`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CategoricalGeneralizedCrossEntropy
    >>> y_true = np.array([1], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(CategoricalGeneralizedCrossEntropy()(y_true, y_pred)), 4)
    0.2111
    """

    function = staticmethod(_classification.categorical_generalized_cross_entropy)


@register
class CTC(Accelerated, keras.losses.CTC):
    """`keras.losses.CTC`: the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import CTC
    >>> y_true = np.array([[1, 2]], "float32")
    >>> y_pred = np.ones((1, 4, 3), "float32")
    >>> round(float(CTC()(y_true, y_pred)), 4)
    1.6864
    """

    function = staticmethod(_classification.ctc)


@register
class KLDivergence(keras.losses.KLDivergence):
    """`keras.losses.KLDivergence` as it is: no kernel computes it faster.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import KLDivergence
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.8]], "float32")
    >>> round(float(KLDivergence()(y_true, y_pred)), 4)
    0.2231
    """


@register
class Dice(keras.losses.Dice):
    """`keras.losses.Dice` as it is: no kernel computes it faster.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import Dice
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.7]], "float32")
    >>> round(float(Dice()(y_true, y_pred)), 4)
    0.2632
    """


@register
class Tversky(keras.losses.Tversky):
    """`keras.losses.Tversky` as it is: no kernel computes it faster.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import Tversky
    >>> y_true = np.array([[0.0, 1.0]], "float32")
    >>> y_pred = np.array([[0.2, 0.7]], "float32")
    >>> round(float(Tversky()(y_true, y_pred)), 4)
    0.2632
    """


@register
class Circle(keras.losses.Circle):
    """`keras.losses.Circle` as it is: no kernel computes it faster.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedloss.keras.losses import Circle
    >>> y_true = np.array([0, 0, 1, 1], "float32")
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]], "float32")
    >>> round(float(Circle()(y_true, y_pred)), 4)
    80.9093
    """
