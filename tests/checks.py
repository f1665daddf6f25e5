"""What "right" means: no worse than the formula's rounding errors in the same arithmetic."""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

import fusedloss as fl
import reference
from parts import Array, Quantity
from rounding import Rounded

#: The dtypes of predictions. The first two are stored only: float32 computes.
DTYPES = ("float16", "bfloat16", "float32", "float64")

#: Units in the last place that a result may be off where the naive formula happens to be nearer
#: to the truth: exp and log are good to about 1 each; a sum over the classes runs through some
#: 64 additions in a lane, which lose about 2 (4 when equal terms all round the same way), and a
#: gradient takes two such sums, of exponentials and of targets; the products with the target, the
#: weights and grad_output and the last rounding lose half of one each, as do float64 probabilities
#: rounded to float32.
SLACK_ULPS = 10

#: The same for losses, whose logarithm takes the edge off the sum of the exponentials.
LOSS_SLACK_ULPS = 6


def compute_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """The type that losses of predictions of ``dtype`` are computed in."""
    return np.dtype(np.float64 if np.dtype(dtype).itemsize == 8 else np.float32)


def truth_dtype(dtype: DTypeLike) -> type[np.floating[Any]]:
    """The wider type that the formula is evaluated in to serve as the truth for ``dtype``."""
    return np.float64 if np.dtype(dtype).itemsize <= 4 else np.longdouble


def eps(dtype: DTypeLike) -> float:
    """The spacing of ``dtype`` at 1: twice the largest relative error of one rounding."""
    return float(ml_dtypes.finfo(np.dtype(dtype)).eps)


def ulp(size: ArrayLike, dtype: DTypeLike) -> Array:
    """The spacing of ``dtype`` at ``size``, as a number of the truth's type.

    Below the smallest normal number it stays what it is there: with subnormal inputs or results
    flushed (as some instruction sets' exp does) an absolute error of that number remains, which
    ``tolerance`` adds.
    """
    dtype = np.dtype(dtype)
    limits = ml_dtypes.finfo(dtype)
    clipped = np.clip(np.abs(np.asarray(size)), float(limits.tiny), float(limits.max) / 2)
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
    softmax = reference.softmax_of(z)
    moved = 2 * softmax.p * softmax.moved
    return np.moveaxis(np.where(np.isfinite(moved), moved, 0), -1, axis)


def storage_rounding(truth: ArrayLike, dtype: DTypeLike) -> Array:
    """Half a unit of a type that results are stored in but not computed in: nearest, that is."""
    if compute_dtype(dtype) == dtype:
        return np.zeros(np.shape(truth))
    limits = ml_dtypes.finfo(np.dtype(dtype))
    size = np.clip(np.abs(np.asarray(truth)), float(limits.tiny), float(limits.max))
    return np.ldexp(0.5, np.frexp(size)[1] - 1 - limits.nmant)


def stored(truth: ArrayLike, dtype: DTypeLike) -> Array:
    """The truth with infinities where numbers exceed what ``dtype`` can store."""
    truth = np.asarray(truth)
    largest = float(ml_dtypes.finfo(np.dtype(dtype)).max)
    beyond = largest + float(storage_rounding(largest, dtype))
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(truth) >= beyond, np.copysign(np.inf, truth), truth)


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
    arithmetic = compute_dtype(dtype)
    slack = slack_ulps * ulp(magnitude, arithmetic)
    # a probability below tiny may be 0, times a grad_output
    flushed = 4 * float(np.finfo(arithmetic).tiny)
    rounded = eps(arithmetic) / 2 * np.asarray(exponents)
    return naive_error + slack + rounded + flushed + storage_rounding(truth, dtype)


def assert_within(actual: Any, truth: ArrayLike, allowed: ArrayLike) -> None:
    """Same shape, same NaN and infinities, every finite element within ``allowed`` of the truth."""
    actual, truth = np.asarray(actual), np.asarray(truth)
    assert actual.shape == truth.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(truth), err_msg="NaN")
    infinite = np.isinf(truth)
    np.testing.assert_array_equal(
        actual[infinite].astype(truth.dtype), truth[infinite], err_msg="infinities"
    )
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
    if left.dtype == "bfloat16":  # NumPy takes its NaNs for different
        left, right = left.astype(np.float32), right.astype(np.float32)
    np.testing.assert_array_equal(left, right)
    zeros = left == 0
    np.testing.assert_array_equal(np.signbit(left[zeros]), np.signbit(right[zeros]))


# ---- Any loss against its formula --------------------------------------------------------------


#: Additions one after another in a sum over classes, before partial sums are added.
LONGEST_RUN = 64


def softmax_ulps(classes: int) -> float:
    """What a softmax and what is made of it may lose, in units in the last place, at the very most.

    Each addition of a run loses half a unit, which of equal terms may be lost the same way. exp and
    log lose 1 each, the quotient, the products with target, weights and grad_output and the last
    rounding half of one each; softcap and temperature are in a `Quantity`'s ``moved``.
    """
    return min(classes, LONGEST_RUN) / 2 + 6


def quantity_tolerance(quantity: Quantity, dtype: DTypeLike, ulps: float, terms: int = 0) -> Array:
    """What arithmetic in the compute type and storage in ``dtype`` may be off.

    ``ulps`` is what the arithmetic may lose, ``terms`` how many losses or weights were added up in
    double.
    """
    arithmetic = compute_dtype(dtype)
    size, moved = (np.where(np.isfinite(x), x, 0) for x in (quantity.size, quantity.moved))
    rounded = ulps * ulp(size, arithmetic) + eps(arithmetic) * moved
    # a probability below tiny may be 0, times weights, a grad_output, and gamma log p of up to 400
    flushed = 4096 * float(np.finfo(arithmetic).tiny)
    # of what may be stored instead of the exact result
    stored_at = storage_rounding(np.abs(quantity.exact) + eps(arithmetic) * moved, dtype)
    return rounded + flushed + double_summation(terms) * size + stored_at


def assert_quantity(
    actual: Any, quantity: Quantity, dtype: DTypeLike, ulps: float, terms: int = 0
) -> None:
    """An array of ``dtype``, no further from the truth than arithmetic must be."""
    assert isinstance(actual, np.ndarray)
    assert actual.dtype == dtype
    exact = quantity._replace(exact=stored(quantity.exact, dtype))
    assert_within(actual, exact.exact, quantity_tolerance(exact, dtype, ulps, terms))


def assert_loss_right(
    loss: str,
    prediction: Any,
    *targets: Any,
    reduction: str = "mean",
    grad_output: Any = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **options: Any,
) -> None:
    """Value and gradient of one call: types, shapes, numbers, and the value alone the same."""
    z = np.asarray(prediction)
    dtype = z.dtype.newbyteorder("=")
    z = z.astype(dtype)  # a copy: the call may write over the prediction
    function = getattr(fl, loss)
    given = {**options, "reduction": reduction, "num_threads": num_threads}
    value_alone = function(prediction, *targets, **given)
    value, gradient = fl.value_and_grad(function)(
        prediction, *targets, grad_output=grad_output, out=out, **given
    )
    assert_same_bits(value, value_alone)
    if out is not None:
        assert gradient is out
    if loss == "categorical_cross_entropy":
        options = {"axis": -1, **options, "arithmetic": compute_dtype(dtype)}
    truth = reference.evaluate(
        loss,
        z,
        *targets,
        reduction=reduction,
        grad_output=grad_output,
        dtype=truth_dtype(dtype),
        **options,
    )
    classes = z.shape[options.get("axis", reference.class_axis(z.ndim))]
    positions = z.size // max(classes, 1)
    ulps = softmax_ulps(classes)
    if loss in ("soft_cross_entropy", "distillation_loss"):
        # The teacher's softmax too, and the exponentials of the student's distance: up to 2.2 times
        # what one softmax may be off was measured.
        ulps *= 3
    if reduction == "none":
        assert_quantity(value, truth.value, dtype, ulps)
    else:
        assert type(value) is float
        # the double is not rounded to the arithmetic's type, let alone to the storage's
        allowed = quantity_tolerance(truth.value, compute_dtype(dtype), ulps, terms=positions)
        assert_within(value, truth.value.exact, allowed)
    assert_quantity(gradient, truth.gradient, dtype, ulps, terms=positions)


class Expected(NamedTuple):
    """A cross-entropy and its gradient, and what each may be off."""

    value: Array
    value_tolerance: Array
    gradient: Array
    gradient_tolerance: Array


def expected_cross_entropy(
    logits: Any,
    target: Any,
    *,
    reduction: str = "mean",
    grad_output: Any = None,
    **options: Any,
) -> Expected:
    """The truth, and a tolerance that is no worse than the textbook formula's error."""
    z = np.asarray(logits)
    z = z.astype(z.dtype.newbyteorder("="))
    arithmetic = compute_dtype(z.dtype)
    options["reduction"] = reduction
    truth = reference.evaluate(
        "cross_entropy",
        z,
        target,
        grad_output=grad_output,
        dtype=truth_dtype(z.dtype),
        **options,
    )
    naive = reference.naive_cross_entropy(
        z, target, grad_output=grad_output, dtype=arithmetic, **options
    )
    size, moved = (np.where(np.isfinite(x), x, 0) for x in truth.gradient[1:])
    allowed = tolerance(truth.gradient.exact, naive.gradient, z.dtype, size, 2 * moved)
    if reduction == "mean":
        allowed += double_summation(z.size // z.shape[reference.class_axis(z.ndim)]) * size
    return Expected(
        stored(truth.value.exact, z.dtype if reduction == "none" else arithmetic),
        _value_tolerance(truth.value, naive, z, target, options),
        truth.gradient.exact,
        allowed,
    )


def assert_cross_entropy_right(
    logits: Any,
    target: Any,
    *,
    reduction: str = "mean",
    grad_output: Any = None,
    out: Array | None = None,
    num_threads: int | None = None,
    expected: Expected | None = None,
    **options: Any,
) -> None:
    """The same for cross-entropy, which besides is no worse than the textbook formula."""
    dtype = np.asarray(logits).dtype.newbyteorder("=")
    options["reduction"] = reduction
    if expected is None:  # before the call, which may write over the logits
        expected = expected_cross_entropy(logits, target, grad_output=grad_output, **options)
    options["num_threads"] = num_threads
    value_alone = fl.cross_entropy(logits, target, **options)
    value, gradient = fl.value_and_grad(fl.cross_entropy)(
        logits, target, grad_output=grad_output, out=out, **options
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
    assert_within(value, expected.value, expected.value_tolerance)
    assert_within(gradient, expected.gradient, expected.gradient_tolerance)


def _value_tolerance(
    truth: Quantity,
    naive: reference.Result,
    logits: Array,
    target: Any,
    options: dict[str, Any],
) -> Array:
    """A row's tolerance, or for a reduced loss the sum of its rows' tolerances."""
    if options["reduction"] == "none":
        return tolerance(
            truth.exact, naive.value, logits.dtype, truth.exact, slack_ulps=LOSS_SLACK_ULPS
        )
    options = {**options, "reduction": "none"}
    exact, arithmetic = truth_dtype(logits.dtype), compute_dtype(logits.dtype)
    rows = reference.cross_entropy(logits, target, dtype=exact, **options).value
    rough = reference.naive_cross_entropy(logits, target, dtype=arithmetic, **options).value
    allowed = tolerance(rows, rough, arithmetic, rows, slack_ulps=LOSS_SLACK_ULPS)
    with np.errstate(invalid="ignore", divide="ignore"):
        divisor = np.abs(rows.sum() / truth.exact)  # 1 for a sum
    divisor = divisor if np.isfinite(divisor) and divisor else 1
    summed = allowed[np.isfinite(rows)].sum() / divisor
    return np.asarray(summed + double_summation(rows.size) * np.abs(truth.exact))


# ---- Losses of elements and of rows ------------------------------------------------------------


def assert_rounded(actual: ArrayLike, expected: Rounded, dtype: DTypeLike) -> None:
    """No further off than the formula's own steps may put its results in the arithmetic."""
    exact = stored(expected.exact, dtype)
    assert_within(actual, exact, expected.error + storage_rounding(exact, dtype))


def assert_value(value: Any, expected: Rounded, dtype: DTypeLike) -> None:
    """An array of the dtype, or for a reduced loss a float that was not rounded to it."""
    if isinstance(value, float):
        assert_rounded(np.float64(value), expected, compute_dtype(dtype))
    else:
        assert value.dtype == dtype
        assert_rounded(value, expected, dtype)
