"""What "right" means: no worse than the naive formula in the same dtype, against the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

import fusedloss as fl
import reference
from reference import Array

#: Units in the last place that a result may be off where the naive formula happens to be nearer
#: to the truth: exp and log are good to about 1 each; a sum over the classes runs through some
#: 64 additions in a lane, which lose about 2 (4 when equal terms all round the same way), and a
#: gradient takes two such sums, of exponentials and of targets; the products with the target, the
#: weights and grad_output and the last rounding lose half of one each, as do float64 probabilities
#: rounded to float32.
SLACK_ULPS = 10

#: The same for losses, whose logarithm takes the edge off the sum of the exponentials.
LOSS_SLACK_ULPS = 6


def truth_dtype(dtype: DTypeLike) -> type[np.floating[Any]]:
    """The wider type that the formula is evaluated in to serve as the truth for ``dtype``."""
    return np.float64 if np.dtype(dtype).itemsize == 4 else np.longdouble


def eps(dtype: DTypeLike) -> float:
    """The spacing of ``dtype`` at 1: twice the largest relative error of one rounding."""
    return float(np.finfo(dtype).eps)


def ulp(size: ArrayLike, dtype: DTypeLike) -> Array:
    """The spacing of ``dtype`` at ``size``, as a number of the truth's type.

    Below the smallest normal number it stays what it is there: with subnormal inputs or results
    flushed (as some instruction sets' exp does) an absolute error of that number remains, which
    ``tolerance`` adds.
    """
    dtype = np.dtype(dtype)
    limits = np.finfo(dtype)
    clipped = np.clip(np.abs(np.asarray(size)), limits.tiny, limits.max / 2)
    return np.spacing(clipped.astype(dtype)).astype(truth_dtype(dtype))


def double_summation(terms: int) -> float:
    """The relative error that adding positive terms in double, one after another, can have.

    Of the rows' losses, or of the weights that the mean divides by.
    """
    return terms * eps("float64")


def exponent_rounding(logits: Array, axis: int) -> Array:
    """How far p_c moves, in units of eps / 2, when every exponent a_c = z_c - m is rounded.

    To first order p_c (|a_c| + sum_k p_k |a_k|). The naive formula rounds its exponents too, but by
    luck more kindly here and there.
    """
    z = np.moveaxis(logits.astype(truth_dtype(logits.dtype)), axis, -1)
    with np.errstate(invalid="ignore"):
        p = np.exp(-reference.negative_log_softmax(z))
        size = np.abs(z - z.max(axis=-1, keepdims=True))
        size = np.where(p > 0, size, 0)
        moved = p * (size + (p * size).sum(axis=-1, keepdims=True))
    return np.moveaxis(np.where(np.isfinite(moved), moved, 0), -1, axis)


def tolerance(
    truth: Array,
    naive: Array,
    dtype: DTypeLike,
    magnitude: ArrayLike,
    exponents: ArrayLike = 0,
    slack_ulps: float = SLACK_ULPS,
) -> Array:
    """The naive formula's own error, element by element, plus the slack at ``magnitude``.

    ``exponents`` is what `exponent_rounding` of p means for the result.
    """
    with np.errstate(invalid="ignore"):
        naive_error = np.abs(naive - truth)
    # where the naive formula overflows or gives NaN it sets no bound: the slack alone holds
    naive_error = np.where(np.isfinite(naive_error), naive_error, 0)
    slack = slack_ulps * ulp(magnitude, dtype)
    flushed = 4 * np.finfo(dtype).tiny  # a probability below tiny may be 0, times a grad_output
    return naive_error + slack + eps(dtype) / 2 * np.asarray(exponents) + flushed


def assert_within(actual: Any, truth: ArrayLike, allowed: ArrayLike) -> None:
    """Same shape, same NaN and infinities, every finite element within ``allowed`` of the truth."""
    actual, truth = np.asarray(actual), np.asarray(truth)
    assert actual.shape == truth.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(truth), err_msg="NaN")
    infinite = np.isinf(truth)
    np.testing.assert_array_equal(actual[infinite], truth[infinite], err_msg="infinities")
    finite = np.isfinite(truth)
    error = np.abs(actual[finite].astype(truth.dtype) - truth[finite])
    excess = error - np.broadcast_to(allowed, truth.shape)[finite]
    if np.any(~(excess <= 0)):
        worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
        index = tuple(int(axis[worst]) for axis in np.nonzero(finite)) if truth.ndim else ()
        units = error[worst] / ulp(truth[index], actual.dtype)
        raise AssertionError(
            f"{int(np.sum(~(excess <= 0)))} of {error.size} elements are off, most at {index}: "
            f"{actual[index]!r} against {truth[index]!r}: {float(units):.3g} ULP, "
            f"{float(error[worst] / np.broadcast_to(allowed, truth.shape)[index]):.3g} of the "
            "tolerance"
        )


def assert_same_bits(left: ArrayLike, right: ArrayLike) -> None:
    """Equal type, shape and bits; any NaN equals any other."""
    left, right = np.asarray(left), np.asarray(right)
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(left, right)
    zeros = left == 0
    np.testing.assert_array_equal(np.signbit(left[zeros]), np.signbit(right[zeros]))


def assert_cross_entropy_right(
    logits: Any,
    target: Any,
    *,
    reduction: str = "mean",
    grad_output: Any = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **options: Any,
) -> None:
    """Value and gradient of one call: types, shapes, numbers, and the value alone the same."""
    z = np.asarray(logits)
    dtype = z.dtype.newbyteorder("=")
    z = z.astype(dtype)  # a copy: the call may write over the logits
    options["reduction"] = reduction
    value_alone = fl.cross_entropy(logits, target, num_threads=num_threads, **options)
    value, gradient = fl.value_and_grad(fl.cross_entropy)(
        logits, target, grad_output=grad_output, out=out, num_threads=num_threads, **options
    )
    assert_same_bits(value, value_alone)
    assert gradient.dtype == dtype
    if reduction == "none":
        assert isinstance(value, np.ndarray)
        assert value.dtype == dtype
    else:
        assert type(value) is float
    if out is not None:
        assert gradient is out
    exact = truth_dtype(dtype)
    truth = reference.cross_entropy(z, target, grad_output=grad_output, dtype=exact, **options)
    naive = reference.naive_cross_entropy(
        z, target, grad_output=grad_output, dtype=dtype, **options
    )
    assert_within(value, truth.value, _value_tolerance(truth, naive, z, target, options))

    scale = reference.cross_entropy_gradient_scale(z, target, grad_output=grad_output, **options)
    magnitude = np.where(np.isfinite(scale.magnitude), scale.magnitude, 0)
    axis = reference.class_axis(z.ndim)
    exponents = scale.factor * exponent_rounding(z, axis)
    allowed = tolerance(truth.gradient, naive.gradient, dtype, magnitude, exponents)
    if reduction == "mean":
        allowed += double_summation(z.size // z.shape[axis]) * magnitude
    assert_within(gradient, truth.gradient, allowed)


def _value_tolerance(
    truth: reference.Result,
    naive: reference.Result,
    logits: Array,
    target: Any,
    options: dict[str, Any],
) -> Array:
    """A row's tolerance, or for a reduced loss the sum of its rows' tolerances."""
    if options["reduction"] == "none":
        return tolerance(
            truth.value, naive.value, logits.dtype, truth.value, slack_ulps=LOSS_SLACK_ULPS
        )
    options = {**options, "reduction": "none"}
    exact = truth_dtype(logits.dtype)
    rows = reference.cross_entropy(logits, target, dtype=exact, **options).value
    rough = reference.naive_cross_entropy(logits, target, dtype=logits.dtype, **options).value
    allowed = tolerance(rows, rough, logits.dtype, rows, slack_ulps=LOSS_SLACK_ULPS)
    with np.errstate(invalid="ignore", divide="ignore"):
        divisor = np.abs(rows.sum() / truth.value)  # 1 for a sum
    divisor = divisor if np.isfinite(divisor) and divisor else 1
    summed = allowed[np.isfinite(rows)].sum() / divisor
    return np.asarray(summed + double_summation(rows.size) * np.abs(truth.value))
