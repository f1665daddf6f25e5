"""Calls of losses of images."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fusedloss._check.labels import (
    axis_of_classes,
    class_target,
    weight_of_classes,
    weight_of_samples,
)
from fusedloss._check.operands import (
    MOST_DIMENSIONS,
    as_array,
    as_numbers,
    as_plain,
    as_prediction,
    first_bad,
)
from fusedloss._check.options import flag, integer, num_threads, one_of
from fusedloss._check.results import as_output
from fusedloss._types import Array

#: By their numbers in the C API.
ACTIVATIONS: dict[str | None, int] = {"softmax": 0, "sigmoid": 1, None: 2}

#: Pixels that are sorted together have numbers of so many bits.
MOST_SORTED = 2**32 - 1


class Images(NamedTuple):
    """What losses of images have in common, as it is given."""

    logits: Any
    target: Any
    activation: Any
    batch: Any
    include_background: Any
    class_weight: Any
    sample_weight: Any
    ignore_index: Any
    num_threads: Any


class PixelCall(NamedTuple):
    """Checked arrays, with axes of pixels, and options as the kernels take them."""

    logits: Array
    target: Array
    sample_weight: Array | None
    class_weight: Array | None  # contiguous float64
    activation: int
    ignore_index: int
    skips: bool  # labels that equal it do not count
    label_smoothing: float
    num_threads: int | None


class CheckedImages(NamedTuple):
    """A checked call of a loss of images."""

    pixels: PixelCall
    shape: tuple[int, ...]  # of the logits as they are given
    batch: bool
    first: int  # the first class that has a loss
    weights: Array  # of the losses of those that have one, float64

    @property
    def groups(self) -> int:
        """How many sets of pixels there are that losses are made of."""
        return 1 if self.batch else self.shape[0]


def several_classes(shape: tuple[int, ...]) -> None:
    """Raise ValueError for logits of images with a single class."""
    if shape[1:2] == (1,):
        raise ValueError(
            f"logits has shape {shape}: expected at least 2 classes, as the softmax over one is 1 "
            "everywhere; for logits z of one class and the rest take activation='sigmoid', or "
            "stack (0, z) along axis 1"
        )


def activation_of(x: Any) -> str | None:
    """Return what makes chances of logits, checked."""
    if x is None:
        return None
    if not isinstance(x, str) or x not in ACTIVATIONS:
        raise ValueError(f"activation is {x!r}: expected 'softmax', 'sigmoid' or None")
    return x


def logits_or_sigmoids(x: Any) -> str:
    """Return an activation, checked, of a loss that there is of logits alone."""
    if x is None:
        raise ValueError(
            "activation is None: expected 'softmax' or 'sigmoid', as the cross-entropy is of logits"
        )
    return one_of("activation", x, ("softmax", "sigmoid"))


def _pixel_target(target: Any, logits: Array, independent: bool) -> Array:
    """Return class indices, or labels in the shape of the logits."""
    array = as_array("target", target)
    if independent and logits.shape[1] == 1 and array.shape == logits.shape[:1] + logits.shape[2:]:
        array = np.expand_dims(array, 1)
    if array.shape == logits.shape:
        return as_numbers("target", array)
    return class_target(target, logits, 1, -1)


def images(given: Images, out: Any, label_smoothing: float = 0.0) -> CheckedImages:
    """Check a call of a loss of images, and an `out` too."""
    activation = activation_of(given.activation)
    batch = flag("batch", given.batch)
    first = int(not flag("include_background", given.include_background))
    ignored = integer("ignore_index", given.ignore_index)
    threads = num_threads(given.num_threads)
    logits = as_prediction("logits", given.logits)
    if logits.ndim < 2:
        raise ValueError(f"logits has shape {logits.shape}: expected (N, C) or (N, C, d1, ...)")
    independent = activation != "softmax"
    if not independent:
        several_classes(logits.shape)
    axis_of_classes("logits", logits, None)
    if first and logits.shape[1] == 1:
        raise ValueError(
            f"logits has shape {logits.shape}: expected more than the background, which "
            "include_background=False leaves out"
        )
    y = _pixel_target(given.target, logits, independent)
    positions = logits.shape[:1] + logits.shape[2:]
    v, w = given.sample_weight, None
    if v is not None:
        v = weight_of_samples(v, logits, positions)
    if given.class_weight is not None:
        own = weight_of_classes("class_weight", given.class_weight, logits, logits.shape[1])
        w = np.ascontiguousarray(own, np.float64)
    if out is not None:
        others = {"target": given.target, "class_weight": w, "sample_weight": given.sample_weight}
        as_output("out", out, "logits", logits, others)
    z = as_plain(logits)
    if not 2 < z.ndim <= MOST_DIMENSIONS:
        z = z.reshape(*z.shape[:2], math.prod(z.shape[2:]))
        y = y.reshape(z.shape if y.ndim == logits.ndim else (len(z), z.shape[2]))
        v = None if v is None else v.reshape(len(z), z.shape[2])
    pixels = PixelCall(
        *(z, y, v, w, ACTIVATIONS[activation], ignored),
        *(independent and y.shape == z.shape, label_smoothing, threads),
    )
    weights = np.ones(z.shape[1]) if w is None else w
    return CheckedImages(pixels, logits.shape, batch, first, weights[first:])


def sortable(call: CheckedImages) -> None:
    """Raise ValueError for more pixels than are sorted."""
    size = math.prod(call.shape) // call.shape[1]
    if size // max(1 if call.batch else len(call.pixels.logits), 1) > MOST_SORTED:
        raise ValueError(f"logits has shape {call.shape}: expected at most 2^32 - 1 pixels")


def raise_bad_label(call: CheckedImages) -> NoReturn:
    """Raise ValueError for the first label that is neither 0 nor 1."""
    y = call.pixels.target
    bad = (y != 0) & (y != 1)
    if call.pixels.skips:
        bad &= y != call.pixels.ignore_index
    if call.pixels.sample_weight is not None:
        bad &= np.expand_dims(call.pixels.sample_weight, 1) != 0
    shape = call.shape
    where, value = first_bad("target", y.reshape(shape), np.asarray(bad).reshape(shape))
    raise ValueError(f"{where} is {value}: expected a label, 0 or 1")
