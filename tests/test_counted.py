"""What counts nothing changes nothing, whatever it holds; a NaN that counts is seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from checks import DTYPES
from conftest import ISAS, instruction_set
from counted_cases import CASES, SHAPES, WITHOUT_WEIGHTS, Call, Case
from fusedloss._lower.loss import lookup
from parts import Array
from reference.margin import centers_of

#: What a position of weight 0 may hold in all its places; the last is past the largest float16.
CONTENTS = (np.nan, np.inf, -np.inf, 1e38)

#: Losses with weights that are in no table: every embedding of these is part of another one's loss
#: (clip_loss, manifold_loss, those of ranks), or the loss has no gradient, is another one's
#: (zero_one_loss, logistic_loss) or of sequences, which have tests of their own.
ELSEWHERE = {
    *("ctc_loss", "clip_loss", "zero_one_loss", "logistic_loss", "proxy_anchor_loss"),
    "manifold_loss",
    *("smooth_ap_loss", "pnp_loss"),
}

#: Arguments whose NaN is no number that counts: probabilities are refused, and what says which
#: formula holds.
UNSEEN: dict[str, tuple[str, ...]] = {"binary_cross_entropy": ("probs", "target")}

WEIGHTS = {"weight", "sample_weight", "class_weight"}


def test_every_loss_with_a_weight_is_in_the_table() -> None:
    with_weights = {
        name
        for name in fl.__all__
        if hasattr(getattr(fl, name), "__fusedloss__")
        and WEIGHTS & set(lookup(getattr(fl, name)).parameters)
    }
    assert with_weights - ELSEWHERE <= {case.name for case in CASES}


def results(case: Case, call: Call, **options: Any) -> list[Array]:
    """The value, the extra outputs apart, and all gradients."""
    names = case.differentiable(call)
    argnums = tuple(map(lookup(case.loss).parameters.index, names))
    value, gradients = fl.value_and_grad(case.loss, argnums)(
        **call.arrays, **call.options, **options
    )
    value = value[0] if isinstance(value, tuple) else value
    return [np.asarray(x).astype(float) for x in (value, *gradients)]


def silent_positions(case: Case, call: Call, kind: str, rng: np.random.Generator) -> Array:
    """Which positions are to be ignored, not all of them."""
    if kind == case.class_weight:
        return np.asarray(call.arrays["target"]) == 0
    first = np.asarray(call.arrays[case.rows[0]])
    silent = rng.random(first.shape if case.by_element else first.shape[0]) < 0.4
    silent.reshape(-1)[:2] = True, False
    return silent


def weight_of(case: Case, call: Call, kind: str, silent: Array, rng: np.random.Generator) -> Array:
    dtype = np.asarray(call.arrays[case.rows[0]]).dtype
    if kind == case.class_weight:
        arrays = call.arrays
        classes = {
            "linear_weight": lambda x: x.shape[0],
            "weight": lambda x: x.shape[0] // centers_of(call.options),
        }
        for name, count in classes.items():
            if name in arrays:
                weight = rng.uniform(0.5, 2, count(arrays[name]))
                break
        else:
            weight = rng.uniform(0.5, 2, arrays[case.rows[0]].shape[1])
        weight[0] = 0
        return weight.astype(dtype)
    return np.where(silent, 0, rng.uniform(0.5, 2, silent.shape)).astype(dtype)


def filled(case: Case, call: Call, silent: Array, content: float) -> Call:
    """The same call with something else in the positions that are ignored."""
    arrays = dict(call.arrays)
    for name in case.rows:
        x = np.array(arrays[name])
        if x.dtype.kind in "iub":
            continue
        with np.errstate(over="ignore"):
            x[silent] = np.array(content).astype(x.dtype)
        arrays[name] = x
    return call._replace(arrays=arrays)


def kinds(case: Case) -> Iterator[str]:
    yield from case.weights
    if case.class_weight:
        yield case.class_weight


TABLE = [(case, kind) for case in CASES for kind in kinds(case)]


@pytest.mark.parametrize(("case", "kind"), TABLE, ids=lambda x: str(x))
def test_what_counts_nothing_changes_nothing(
    case: Case, kind: str, rng: np.random.Generator
) -> None:
    """The value and all gradients are the same bits whatever a position of weight 0 holds."""
    for i, dtype in enumerate(DTYPES):
        for j, shape in enumerate(SHAPES):
            call = case.make(rng, shape, dtype)
            silent = silent_positions(case, call, kind, rng)
            weight = weight_of(case, call, kind, silent, rng)
            reduction = case.reductions[(i + j) % len(case.reductions)]
            options: dict[str, Any] = {kind: weight, "reduction": reduction}
            if reduction == "none":
                cotangent = np.ones(silent.shape)
                cotangent[silent] = np.nan
                options["grad_output"] = cotangent.astype(dtype)
            for isa in ISAS:
                with instruction_set(isa):
                    usual = results(case, call, **options)
                    assert not any(np.isnan(x).any() for x in usual)
                    for content in CONTENTS:
                        odd = results(case, filled(case, call, silent, content), **options)
                        for x, y in zip(usual, odd, strict=True):
                            np.testing.assert_array_equal(x, y)
                    for name, gradient in zip(case.differentiable(call), usual[1:], strict=True):
                        if name in case.rows:
                            assert np.all(gradient[silent] == 0)
                    if reduction == "none":
                        assert np.all(usual[0][silent] == 0)


@pytest.mark.parametrize("case", [*CASES, *WITHOUT_WEIGHTS], ids=str)
def test_nan_that_counts_is_seen(case: Case, rng: np.random.Generator) -> None:
    """NaN in one element gives NaN in the value, and in the gradients there."""
    for i, dtype in enumerate(DTYPES):
        for shape in SHAPES:
            call = case.make(rng, shape, dtype)
            options = weights_of_one(case, call) if i % 2 else {}
            for name in case.rows:
                if name in UNSEEN.get(case.name, ()):
                    continue
                for position in {0, shape[0] - 1}:
                    place, odd = with_nan(case, call, name, position, rng)
                    if odd is not None:
                        for isa in ISAS:
                            with instruction_set(isa):
                                assert_nan_is_seen(case, odd, name, place, options)


def weights_of_one(case: Case, call: Call) -> dict[str, Array]:
    first = np.asarray(call.arrays[case.rows[0]])
    shape = first.shape if case.by_element else first.shape[0]
    return {kind: np.ones(shape, first.dtype) for kind in case.weights}


def with_nan(
    case: Case, call: Call, name: str, position: int, rng: np.random.Generator
) -> tuple[Any, Call | None]:
    """The place of an element of a position that its loss depends on, and a call with NaN there."""
    x = np.array(call.arrays[name])
    if x.dtype.kind in "iub":
        return None, None
    place: tuple[Any, ...] = (position,)
    if case.of_target:
        place = (position, int(np.asarray(call.arrays["target"])[position]))
    elif x.ndim > 1:
        place = (position, *(int(rng.integers(n)) for n in x.shape[1:]))
    x[place] = np.nan
    return place, call._replace(arrays=call.arrays | {name: x})


def assert_nan_is_seen(
    case: Case, call: Call, name: str, place: tuple[Any, ...], options: dict[str, Any]
) -> None:
    reduction = {"reduction": "sum"} if case.reductions else {}
    value, *gradients = results(case, call, **options, **reduction)
    assert np.isnan(value)
    if "none" in case.reductions:
        losses = results(case, call, **options, reduction="none")[0]
        assert np.isnan(losses[place if case.by_element else place[0]])
    for other, gradient in zip(case.differentiable(call), gradients, strict=True):
        if other in case.rows:
            alike = gradient.ndim == len(place) and (case.by_element or other == name)
            assert np.isnan(gradient[place if alike else place[0]]).all()
