"""The largest error of every pointwise loss, in units in the last place, for `make ulp`.

Where terms cancel, an error in such units says more about the inputs than about the code. So they
are counted where the formula as it is written loses no more than a few, and everywhere an error is
also held against what that formula may lose. test_pointwise.py asserts that it is no larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import fusedloss as fl
from checks import compute_dtype, storage_rounding, stored, truth_dtype
from conftest import ISAS, instruction_set
from parts import Array
from pointwise_cases import CASES, Case
from reference.pointwise import evaluate
from rounding import Rounded
from ulp_table import unit

#: The formula's own loss, in units, up to which errors are counted in them.
WELL_CONDITIONED = 32


@dataclass(frozen=True)
class Errors:
    """The largest errors of values and gradients in ULP, and of all over what the formula loses."""

    value: float = 0.0
    gradient: float = 0.0
    share: float = 0.0

    def or_larger(self, other: Errors) -> Errors:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Errors(*(max(pair) for pair in pairs))

    def __str__(self) -> str:
        return f"{self.value:.2g} / {self.gradient:.2g} ({self.share:.2g})"


def measure(case: Case, dtype: str, elements: int) -> dict[str, Errors]:
    """The largest errors with every instruction set, on usual values and on special ones."""
    rng = np.random.default_rng(list(str(case).encode()))
    worst = dict.fromkeys(ISAS, Errors())
    usual, options = case.draw((elements,), dtype, rng)
    options = {k: v if not isinstance(v, np.ndarray) else v[:1] for k, v in options.items()}
    special = case.special(dtype)
    finite = np.all([np.isfinite(x.astype(np.float64)) for x in special], axis=0)
    for arrays in (usual, [x[finite] for x in special]):
        expected = evaluate(
            case.name,
            *arrays,
            reduction="none",
            dtype=truth_dtype(dtype),
            arithmetic=compute_dtype(dtype),
            **options,
        )
        grad = fl.value_and_grad(getattr(fl, case.name), argnums=case.argnums)
        for isa in ISAS:
            with instruction_set(isa):
                value, gradients = grad(*arrays, reduction="none", **options)
            of_value, share = _error(value, expected.value, dtype)
            worst[isa] = worst[isa].or_larger(Errors(of_value, 0, share))
            for gradient, exact in zip(gradients, expected.gradients, strict=True):
                of_gradient, share = _error(gradient, exact, dtype)
                worst[isa] = worst[isa].or_larger(Errors(0, of_gradient, share))
    return worst


def _error(actual: Array, expected: Rounded, dtype: str) -> tuple[float, float]:
    """The largest error in units where few are lost, and over what may be lost."""
    exact = stored(expected.exact, dtype)
    finite = np.isfinite(exact) & np.isfinite(actual.astype(exact.dtype))
    exact, lost = exact[finite], np.broadcast_to(expected.error, finite.shape)[finite]
    error = np.abs(actual[finite].astype(exact.dtype) - exact)
    own = unit(np.abs(exact), np.zeros(exact.shape), 0, np.dtype(compute_dtype(dtype)).name)
    well = lost <= WELL_CONDITIONED * own
    units = (error / unit(np.abs(exact), np.zeros(exact.shape), 0, dtype))[well]
    allowed = lost + storage_rounding(exact, dtype)
    share = np.divide(error, allowed, out=np.zeros_like(error), where=error > 0)
    return float(units.max(initial=0)), float(share.max(initial=0))


INTRODUCTION = f"""\

# Accuracy of the pointwise losses

The same for the losses of one element, on {{elements}} usual values of their arguments and on each
of their special values with each: kinks, saturation, subnormal numbers. Errors are in units in the
last place of the result, value / gradient, wherever the formula as it is written may lose no more
than {WELL_CONDITIONED} of them by its own roundings; in brackets, everywhere, the largest error
over what that formula may lose (a running error analysis, `tests/rounding.py`).
`tests/test_pointwise.py` asserts that this is at most 1.
"""


def lines(dtype: str, elements: int) -> Iterator[str]:
    """The lines of a dtype's table."""
    yield f"\n## {dtype}, pointwise\n"
    yield f"| loss | {' | '.join(ISAS)} |"
    yield f"|---|{'---|' * len(ISAS)}"
    for case in CASES:
        errors = measure(case, dtype, elements).values()
        yield f"| {str(case).replace('-', ', ', 1)} | {' | '.join(map(str, errors))} |"
