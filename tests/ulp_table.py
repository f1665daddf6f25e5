"""The largest error of every loss, in units in the last place: `make ulp` writes docs/accuracy.md.

The bounds are asserted by test_accuracy.py, on fewer rows, with the same code.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import fusedloss as fl
import reference
from cases import LOGITS
from checks import DTYPES, compute_dtype, stored, truth_dtype
from fusedloss import _core
from parts import Array, Quantity

#: The instruction sets of this machine, best first.
ISAS = [name for name in _core.isa_names() if _core.isa_available(name)]

# ---- Inputs ------------------------------------------------------------------------------------


def _log_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.choice([-1.0, 1.0], size=shape) * 2.0 ** rng.uniform(-24, 7, size=shape)


def _uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.uniform(-10, 10, size=shape)


DISTRIBUTIONS: dict[str, Callable[[tuple[int, ...], np.random.Generator], Array]] = {
    "log-uniform": _log_uniform,
    "uniform": _uniform,
    "Cauchy": LOGITS["cauchy"],
    "+-1e4": LOGITS["huge"],
    "ties": LOGITS["ties"],
    "masked": LOGITS["masked"],
}

#: Classes of short rows, of rows by themselves, and of rows longer than what is kept of one.
CLASSES = (2, 10, 100, 1000, 20_011)


def _labels(logits: Array, rng: np.random.Generator) -> Array:
    """Labels of classes that are not ruled out."""
    masked = np.isneginf(logits.astype(np.float64))
    return (rng.random(logits.shape) - masked).argmax(axis=-1)


def _distribution(logits: Array, rng: np.random.Generator) -> Array:
    """Probabilities, 0 where a class is ruled out."""
    masked = np.isneginf(logits.astype(np.float64))
    weights = np.where(masked, 0, rng.exponential(size=logits.shape))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def _probabilities(logits: Array) -> Array:
    """Positive numbers within a factor of 100, none near a clip; 0 for classes ruled out."""
    finite = np.where(np.isneginf(logits), 0, np.abs(logits))
    largest = np.maximum(finite.max(axis=-1, keepdims=True), 1e-30)
    return np.where(np.isneginf(logits), 0, np.maximum(finite / largest, 0.01))


# ---- Losses ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """A row of the table: how a loss is called on rows of logits (N, C)."""

    function: str
    targets: Callable[[Array, np.random.Generator], tuple[Any, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    prediction: Callable[[Array], Array] = lambda logits: logits


def _index(logits: Array, rng: np.random.Generator) -> tuple[Array]:
    return (_labels(logits, rng),)


def _soft(logits: Array, rng: np.random.Generator) -> tuple[Array]:
    return (_distribution(logits, rng),)


def _teacher(logits: Array, rng: np.random.Generator) -> tuple[Array]:
    """Logits of another student, which rules the same classes out."""
    return (rng.permuted(logits.astype(np.float64), axis=0).astype(logits.dtype),)


def _teacher_and_index(logits: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    return *_teacher(logits, rng), _labels(logits, rng)


def _finite(logits: Array) -> Array:
    """Without masks: a class that is ruled out would have an infinite loss."""
    return np.where(np.isneginf(logits), -8, logits)


LOSSES: dict[str, Loss] = {
    "cross_entropy, class index": Loss("cross_entropy", _index),
    "cross_entropy, probabilities": Loss("cross_entropy", _soft),
    "cross_entropy, label smoothing": Loss(
        "cross_entropy", _index, {"label_smoothing": 0.1}, _finite
    ),
    "cross_entropy, softcap": Loss("cross_entropy", _index, {"softcap": 30.0}),
    "cross_entropy, z-loss": Loss("cross_entropy", _index, {"z_loss": 1e-4}),
    "nll_loss": Loss("nll_loss", _index),
    "categorical_cross_entropy, class index": Loss(
        "categorical_cross_entropy", _index, {}, _probabilities
    ),
    "categorical_cross_entropy, probabilities": Loss(
        "categorical_cross_entropy", _soft, {}, _probabilities
    ),
    "focal_loss": Loss("focal_loss", _index),
    "soft_cross_entropy": Loss("soft_cross_entropy", _teacher, {"temperature": 2.0}, _finite),
    "distillation_loss": Loss("distillation_loss", _teacher_and_index, {}, _finite),
    "softmax": Loss("softmax", lambda logits, rng: ()),
    "log_softmax": Loss("log_softmax", lambda logits, rng: (), {}, _finite),
    "logsumexp": Loss("logsumexp", lambda logits, rng: ()),
}

HELPERS = ("softmax", "log_softmax", "logsumexp")


def _truth(
    loss: Loss, prediction: Array, targets: tuple[Any, ...], grad_output: Array
) -> tuple[Quantity, Quantity]:
    """Value and gradient of rows, and the sizes of their terms."""
    exact = truth_dtype(prediction.dtype)
    if loss.function in HELPERS:
        return reference.evaluate_helper(loss.function, prediction, -1, grad_output, exact)
    options = dict(loss.options)
    if loss.function == "categorical_cross_entropy":
        options |= {"axis": -1, "arithmetic": compute_dtype(prediction.dtype)}
    evaluation = reference.evaluate(
        loss.function, prediction, *targets, reduction="none", dtype=exact, **options
    )
    return evaluation.value, evaluation.gradient


# ---- Errors ------------------------------------------------------------------------------------


def unit(size: Array, moved: Array, classes: int, dtype: str) -> Array:
    """What errors are counted in, as the introduction of the table says."""
    limits = ml_dtypes.finfo(np.dtype(dtype))
    arithmetic = np.finfo(compute_dtype(dtype))
    lowest = np.frexp(float(limits.tiny))[1]
    spacing = np.ldexp(np.ones_like(size), np.maximum(np.frexp(size)[1], lowest) - 1 - limits.nmant)
    return spacing + float(arithmetic.eps) * moved + classes * float(arithmetic.tiny)


def largest_error(actual: Array, truth: Quantity, classes: int, by_row: bool) -> float:
    """The largest error of the finite numbers, in units of their own or of their row's size."""
    dtype = actual.dtype.name
    exact = stored(truth.exact, dtype)
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(actual[~finite].astype(exact.dtype), exact[~finite])
    size, moved = (np.where(finite & np.isfinite(x), x, 0) for x in truth[1:])
    if by_row:
        size, moved = (x.max(axis=-1, keepdims=True, initial=0) for x in (size, moved))
    errors = np.zeros_like(exact)
    errors[finite] = np.abs(actual[finite].astype(exact.dtype) - exact[finite])
    return float((errors / unit(size, moved, classes, dtype)).max(initial=0))


@dataclass(frozen=True)
class Errors:
    """The largest error of the values and of the gradients, in ULP."""

    value: float = 0.0
    gradient: float = 0.0

    def or_larger(self, other: Errors) -> Errors:
        return Errors(max(self.value, other.value), max(self.gradient, other.gradient))

    def within(self, bound: Errors) -> bool:
        return self.value <= bound.value and self.gradient <= bound.gradient

    def __str__(self) -> str:
        return f"{self.value:.3g} / {self.gradient:.3g}"


def measure(name: str, dtype: str, elements: int) -> dict[str, Errors]:
    """The largest errors of a loss with every instruction set, of some logits per distribution.

    Of rows (N, C), and of the same numbers as columns (1, C, N).
    """
    loss = LOSSES[name]
    worst = dict.fromkeys(ISAS, Errors())
    for draw in DISTRIBUTIONS.values():
        for classes in CLASSES:
            rng = np.random.default_rng([classes, *name.encode()])
            raw = loss.prediction(draw((max(1, elements // classes), classes), rng))
            limit = float(ml_dtypes.finfo(np.dtype(dtype)).max)
            rows = np.where(np.isneginf(raw), raw, np.clip(raw, -limit, limit)).astype(dtype)
            targets = loss.targets(rows, rng)
            positions = rows.shape[: 2 if loss.function in ("softmax", "log_softmax") else 1]
            grad_output = rng.normal(size=positions).astype(dtype)
            truth = _truth(loss, rows, targets, grad_output)
            for isa in ISAS:
                for results in _results(loss, isa, rows, targets, grad_output):
                    errors = Errors(
                        largest_error(results[0], truth[0], classes, by_row=False),
                        largest_error(results[1], truth[1], classes, by_row=True),
                    )
                    worst[isa] = worst[isa].or_larger(errors)
    return worst


def _results(
    loss: Loss, isa: str, rows: Array, targets: tuple[Any, ...], grad_output: Array
) -> Iterator[tuple[Array, Array]]:
    """Value and gradient of rows, then of columns laid out as the rows'."""
    grad = fl.value_and_grad(getattr(fl, loss.function))
    options: dict[str, Any] = dict(loss.options)
    if loss.function not in HELPERS:
        options["reduction"] = "none"
    if loss.function in (*HELPERS, "categorical_cross_entropy"):
        options["axis"] = 1
    before = _core.current_isa()
    _core.select_isa(isa)
    try:
        for columns in (False, True):
            arguments = [_as_columns(x) if columns else x for x in (rows, *targets)]
            if loss.function in HELPERS:
                options["grad_output"] = _as_columns(grad_output) if columns else grad_output
            value, gradient = grad(*arguments, **options)
            yield (value[0].T, gradient[0].T) if columns else (value, gradient)
    finally:
        _core.select_isa(before)


def _as_columns(x: Array) -> Array:
    return np.ascontiguousarray(x.T)[None]


# ---- Bounds ------------------------------------------------------------------------------------

#: Sums of exponentials take up to 64 additions in a row, each of which may lose half a unit and, of
#: equal terms, lose it the same way: 32, where a unit is half that of the sum; exp, the quotient
#: and the products with target and grad_output lose some 6 more. A logarithm takes the edge off.
ARITHMETIC = Errors(value=10, gradient=40)

#: Rounded once from float32, whose own 40 units are less than a hundredth of one.
STORAGE = Errors(value=0.51, gradient=0.51)


def bound(name: str, dtype: str) -> Errors:
    """The errors that no result may exceed."""
    if name == "nll_loss":  # a number, and its sign
        return Errors(0, 0)
    largest = ARITHMETIC if compute_dtype(dtype) == dtype else STORAGE
    # probabilities themselves are results here
    return Errors(largest.gradient, largest.gradient) if name == "softmax" else largest


# ---- The table ---------------------------------------------------------------------------------

INTRODUCTION = """\
# Accuracy

The largest errors found, value / gradient, by `make ulp`: every loss and dtype with every
instruction set of the machine, on {elements} logits of each of {distributions} distributions
({names})
and {counts} numbers of classes ({classes}), as rows (N, C) and as columns (1, C, N).
`tests/test_accuracy.py` asserts the bounds on fewer logits.

The truth is the formula in float64, or in long double for float64. Errors are counted in units. A
unit is

- the spacing of the dtype (one unit in the last place) at the size of the result: of a row's loss
  the sum of its terms' sizes, of a gradient that of the largest element of its row. Where terms
  need not cancel, as for a class index, their sum is the result itself, however small;
- and what rounding the exponents moves the result by, to first order: each z_c - max z once, those
  under a softcap or temperature by the {exponent_ulps} units that tanh and the factors lose, and
  the exponent of the focal loss's power. No formula in the same arithmetic can avoid that;
- and the smallest normal number for every class, since without AVX-512 smaller exponentials are 0.

float16 and bfloat16 are types of storage: 0.5 is a result rounded to the nearest.
"""


def table(dtype: str, elements: int) -> Iterator[str]:
    """The lines of a dtype's table."""
    yield f"\n## {dtype}\n"
    yield f"| loss | {' | '.join(ISAS)} | bound |"
    yield f"|---|{'---|' * len(ISAS)}---|"
    for name in LOSSES:
        errors = measure(name, dtype, elements).values()
        yield f"| {name} | {' | '.join(map(str, errors))} | {bound(name, dtype)} |"


def main() -> None:
    import ulp_pointwise  # which counts in this module's units

    """Print the tables, or write them to a file too."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--elements", type=int, default=50_000)
    arguments = parser.parse_args()
    lines = INTRODUCTION.format(
        elements=arguments.elements,
        distributions=len(DISTRIBUTIONS),
        names=", ".join(DISTRIBUTIONS),
        counts=len(CLASSES),
        classes=", ".join(map(str, CLASSES)),
        exponent_ulps=reference.EXPONENT_ULPS,
    ).splitlines()
    tables = chain(
        *(table(dtype, arguments.elements) for dtype in DTYPES),
        ulp_pointwise.INTRODUCTION.format(elements=arguments.elements).splitlines(),
        *(ulp_pointwise.lines(dtype, arguments.elements) for dtype in DTYPES),
    )
    for line in tables:
        print(line, flush=True)
        lines.append(line)
    if arguments.output is not None:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
