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
    """`keras.losses.MeanSquaredError`: the same arguments."""

    function = staticmethod(_regression.mean_squared_error)


@register
class MeanAbsoluteError(Elementwise, keras.losses.MeanAbsoluteError):
    """`keras.losses.MeanAbsoluteError`: the same arguments."""

    function = staticmethod(_regression.mean_absolute_error)


@register
class MeanAbsolutePercentageError(Elementwise, keras.losses.MeanAbsolutePercentageError):
    """`keras.losses.MeanAbsolutePercentageError`: the same arguments."""

    function = staticmethod(_regression.mean_absolute_percentage_error)


@register
class MeanSquaredLogarithmicError(Elementwise, keras.losses.MeanSquaredLogarithmicError):
    """`keras.losses.MeanSquaredLogarithmicError`: the same arguments."""

    function = staticmethod(_regression.mean_squared_logarithmic_error)


@register
class CosineSimilarity(Accelerated, keras.losses.CosineSimilarity):
    """`keras.losses.CosineSimilarity`: the same arguments."""

    function = staticmethod(_regression.cosine_similarity)


@register
class Huber(Elementwise, keras.losses.Huber):
    """`keras.losses.Huber`: the same arguments."""

    function = staticmethod(_regression.huber)


@register
class LogCosh(Elementwise, keras.losses.LogCosh):
    """`keras.losses.LogCosh`: the same arguments."""

    function = staticmethod(_regression.log_cosh)


@register
class Poisson(Elementwise, keras.losses.Poisson):
    """`keras.losses.Poisson`: the same arguments."""

    function = staticmethod(_regression.poisson)


@register
class Hinge(Elementwise, keras.losses.Hinge):
    """`keras.losses.Hinge`: the same arguments."""

    function = staticmethod(_classification.hinge)


@register
class SquaredHinge(Elementwise, keras.losses.SquaredHinge):
    """`keras.losses.SquaredHinge`: the same arguments."""

    function = staticmethod(_classification.squared_hinge)


@register
class CategoricalHinge(Accelerated, keras.losses.CategoricalHinge):
    """`keras.losses.CategoricalHinge`: the same arguments."""

    function = staticmethod(_classification.categorical_hinge)


@register
class BinaryCrossentropy(Elementwise, keras.losses.BinaryCrossentropy):
    """`keras.losses.BinaryCrossentropy`: the same arguments."""

    function = staticmethod(_classification.binary_crossentropy)


@register
class BinaryFocalCrossentropy(Elementwise, keras.losses.BinaryFocalCrossentropy):
    """`keras.losses.BinaryFocalCrossentropy`: the same arguments."""

    function = staticmethod(_classification.binary_focal_crossentropy)


@register
class CategoricalCrossentropy(Accelerated, keras.losses.CategoricalCrossentropy):
    """`keras.losses.CategoricalCrossentropy`: the same arguments."""

    function = staticmethod(_classification.categorical_crossentropy)


@register
class CategoricalFocalCrossentropy(Accelerated, keras.losses.CategoricalFocalCrossentropy):
    """`keras.losses.CategoricalFocalCrossentropy`: the same arguments."""

    function = staticmethod(_classification.categorical_focal_crossentropy)


@register
class SparseCategoricalCrossentropy(Accelerated, keras.losses.SparseCategoricalCrossentropy):
    """`keras.losses.SparseCategoricalCrossentropy`: the same arguments."""

    function = staticmethod(_classification.sparse_categorical_crossentropy)


@register
class CategoricalGeneralizedCrossEntropy(
    Accelerated, keras.losses.CategoricalGeneralizedCrossEntropy
):
    """`keras.losses.CategoricalGeneralizedCrossEntropy`: the same arguments."""

    function = staticmethod(_classification.categorical_generalized_cross_entropy)


@register
class CTC(Accelerated, keras.losses.CTC):
    """`keras.losses.CTC`: the same arguments."""

    function = staticmethod(_classification.ctc)


@register
class KLDivergence(keras.losses.KLDivergence):
    """`keras.losses.KLDivergence` as it is: no kernel computes it faster."""


@register
class Dice(keras.losses.Dice):
    """`keras.losses.Dice` as it is: no kernel computes it faster."""


@register
class Tversky(keras.losses.Tversky):
    """`keras.losses.Tversky` as it is: no kernel computes it faster."""


@register
class Circle(keras.losses.Circle):
    """`keras.losses.Circle` as it is: no kernel computes it faster."""
