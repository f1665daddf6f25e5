"""Every pointwise loss against its formula: values, all gradients, Hessians, special values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from checks import DTYPES, assert_rounded, assert_value, compute_dtype, truth_dtype
from conftest import ISAS, instruction_set
from parts import Array
from pointwise_cases import CASES, LOG_RATE, LOGIT, REAL, Case
from reference.pointwise import Evaluation, evaluate

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def truth(case: Case, arrays: list[Array], **options: Any) -> Evaluation:
    """The results, and what the formula as it is written may lose in the arithmetic."""
    exact, arithmetic = truth_dtype(arrays[0].dtype), compute_dtype(arrays[0].dtype)
    return evaluate(case.name, *arrays, dtype=exact, arithmetic=arithmetic, **options)


@each_dtype
@each_case
def test_values_and_gradients(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """Of every element and reduced; by every argument at once and by each alone."""
    arrays, options = case.draw((67, 31), dtype, rng)
    function = getattr(fl, case.name)
    for reduction in case.loss.reductions:
        grad_output = rng.normal(size=arrays[0].shape if reduction == "none" else ())
        grad_output = grad_output.astype(dtype) if reduction == "none" else float(grad_output)
        given = {**options, "reduction": reduction}
        expected = truth(case, arrays, grad_output=grad_output, **given)
        for isa in ISAS:
            with instruction_set(isa):
                value, gradients = fl.value_and_grad(function, argnums=case.argnums)(
                    *arrays, grad_output=grad_output, **given
                )
                for result in (value, function(*arrays, **given)):
                    assert isinstance(result, np.ndarray if reduction == "none" else float)
                    assert_value(result, expected.value, dtype)
                for position, *both in zip(
                    case.argnums, gradients, expected.gradients, strict=True
                ):
                    _, alone = fl.value_and_grad(function, argnums=position)(
                        *arrays, grad_output=grad_output, **given
                    )
                    for gradient in (both[0], alone):
                        assert gradient.dtype == dtype
                        assert_rounded(gradient, both[1], dtype)


@each_dtype
@pytest.mark.parametrize("case", [case for case in CASES if case.loss.hessian], ids=str)
def test_hessians(case: Case, dtype: str, rng: np.random.Generator) -> None:
    arrays, options = case.draw((67, 31), dtype, rng)
    options["weight"] = rng.uniform(0.1, 2, size=31).astype(dtype)
    expected = truth(case, arrays, reduction="sum", **options)
    for isa in ISAS:
        with instruction_set(isa):
            gradient, hessian = fl.grad_and_hess(getattr(fl, case.name))(*arrays, **options)
            for actual, exact in ((gradient, expected.gradients[0]), (hessian, expected.hessian)):
                assert actual.dtype == dtype
                assert_rounded(actual, exact, dtype)


@each_dtype
@each_case
def test_special_values(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """Zeros, kinks, saturation, subnormal numbers; of infinite predictions the loss and slope."""
    arrays = case.special(dtype)
    options = case.draw_options((1,), dtype, rng)
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(np.sum([x.astype(np.float64) for x in arrays], axis=0))
    function = getattr(fl, case.name)
    expected = truth(case, arrays, reduction="none", **options)
    for isa in ISAS:
        with instruction_set(isa):
            value, gradients = fl.value_and_grad(function, argnums=case.argnums)(
                *arrays, reduction="none", **options
            )
            assert_rounded(value, expected.value, dtype)
            assert_rounded(gradients[0], expected.gradients[0], dtype)
            for gradient, exact in zip(gradients[1:], expected.gradients[1:], strict=True):
                assert_rounded(gradient[finite], exact[finite], dtype)
            if case.loss.hessian:
                _, hessian = fl.grad_and_hess(function)(*arrays, **options)
                assert_rounded(hessian[finite], expected.hessian[finite], dtype)


UNBOUNDED = [case for case in CASES if case.loss.domains[0] in (REAL, LOGIT, LOG_RATE)]


@each_dtype
@pytest.mark.parametrize("case", UNBOUNDED, ids=str)
def test_nan_is_not_lost(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """One NaN makes its own loss NaN and that of no other element."""
    arrays, options = case.draw((97,), dtype, rng)
    options = options if "pos_weight" not in options else {}
    for position in case.argnums:
        spoiled = [x.copy() for x in arrays]
        spoiled[position][41] = np.nan
        for isa in ISAS:
            with instruction_set(isa):
                value = getattr(fl, case.name)(*spoiled, reduction="none", **options)
                assert np.flatnonzero(np.isnan(value)).tolist() == [41]
                assert np.isnan(getattr(fl, case.name)(*spoiled, **options))
