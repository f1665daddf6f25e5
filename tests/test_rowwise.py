"""Every loss of rows against its formula: values, all gradients, any layout, threads, errors."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import INTEGER_DTYPES
from checks import (
    DTYPES,
    assert_rounded,
    assert_same_bits,
    assert_value,
    compute_dtype,
    truth_dtype,
)
from conftest import ISAS, instruction_set
from parts import Array
from reference.pointwise import Evaluation
from reference.rowwise import evaluate
from rowwise_cases import CASES, LOSSES, Case, Shape

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_loss = pytest.mark.parametrize("name", LOSSES)

#: Positions and a row's length: around vectors of 2 to 16 lanes, longer than a block, one, none.
SHAPES: tuple[Shape, ...] = (
    (1,),
    (9,),
    (0, 5),
    (40, 1),
    (33, 2),
    (21, 7),
    (20, 8),
    (19, 16),
    (18, 17),
    (9, 33),
    (5, 130),
    (2, 3001),
    (3, 4, 5),
    (2, 3, 2, 17),
)


def truth(case: Case, arrays: list[Array], **options: Any) -> Evaluation:
    """The results, and what the formula as it is written may lose in the arithmetic."""
    exact, arithmetic = truth_dtype(arrays[0].dtype), compute_dtype(arrays[0].dtype)
    return evaluate(case.name, *arrays, dtype=exact, arithmetic=arithmetic, **options)


def gradients_of(case: Case, arrays: list[Any], **options: Any) -> tuple[Any, tuple[Array, ...]]:
    function = fl.value_and_grad(getattr(fl, case.name), argnums=case.argnums)
    value, gradients = function(*arrays, **options)
    return value, gradients


def assert_right(
    case: Case, arrays: list[Array], expected: Evaluation | None = None, **options: Any
) -> None:
    """Value alone, and value with gradients."""
    dtype = arrays[0].dtype.newbyteorder("=")
    if expected is None:
        expected = truth(case, arrays, **options)
    value, gradients = gradients_of(case, arrays, **options)
    assert_value(value, expected.value, dtype)
    alone = {name: x for name, x in options.items() if name != "grad_output"}
    assert_value(getattr(fl, case.name)(*arrays, **alone), expected.value, dtype)
    for gradient, exact in zip(gradients, expected.gradients, strict=True):
        assert gradient.dtype == dtype
        assert_rounded(gradient, exact, dtype)


@each_dtype
@each_case
def test_values_and_gradients(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """Of every shape; the reductions, by weights or not, take turns."""
    for shape, reduction in zip(SHAPES, itertools.cycle(("none", "mean", "sum")), strict=False):
        if case.name == "multilabel_margin_loss" and shape[-1] > 1000:
            continue  # whose formula takes an array of classes times classes
        arrays, options = case.draw(shape, dtype, rng)
        arrays, positions = case.laid_out(arrays), shape[:-1]
        grad_output = np.asarray(rng.normal(size=positions if reduction == "none" else ()))
        options |= {"reduction": reduction, "grad_output": grad_output.astype(dtype)}
        weight = np.asarray(rng.uniform(0.1, 2, size=positions)).astype(dtype)
        for weights in ({}, {"sample_weight": weight}):
            expected = truth(case, arrays, **options, **weights)
            for isa in ISAS:
                with instruction_set(isa):
                    assert_right(case, arrays, expected, **options, **weights)


@pytest.mark.usefixtures("isa")
@each_case
def test_each_gradient_alone(case: Case, rng: np.random.Generator) -> None:
    arrays, options = case.draw((21, 7), "float32", rng)
    _, gradients = gradients_of(case, arrays, **options)
    for position, gradient in zip(case.argnums, gradients, strict=True):
        _, alone = fl.value_and_grad(getattr(fl, case.name), argnums=position)(*arrays, **options)
        assert_same_bits(alone, gradient)


UNBOUNDED = [case for case in CASES if case.name != "generalized_cross_entropy"]


@pytest.mark.usefixtures("isa")
@each_dtype
@pytest.mark.parametrize("case", UNBOUNDED, ids=str)
def test_equal_and_large_numbers(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """All 0, which ties, and so large that one class has it all."""
    for scale in (0, 3000):
        arrays, options = case.draw((50, 9), dtype, rng)
        for position in case.argnums:
            arrays[position] = arrays[position] * arrays[position].dtype.type(scale)
        assert_right(case, arrays, **options)


@each_dtype
@each_case
def test_nan_is_not_lost(case: Case, dtype: str, rng: np.random.Generator) -> None:
    """A NaN makes its own row's loss NaN and that of no other row."""
    arrays, options = case.draw((20, 9), dtype, rng)
    for position in case.argnums:
        spoiled = [x.copy() for x in arrays]
        row = 13
        if case.name == "multilabel_margin_loss":
            spoiled[1][row, :2] = 0, -1  # or there may be no label, or no other class
        middle = spoiled[position].shape[-1] // 2
        column = middle if spoiled[1].ndim == 2 or spoiled[1].dtype.kind == "f" else spoiled[1][row]
        spoiled[position][row, column] = np.nan
        for isa in ISAS:
            with instruction_set(isa):
                value = getattr(fl, case.name)(*spoiled, reduction="none", **options)
                wrong = np.flatnonzero(np.isnan(value)).tolist()
                assert wrong == [row]


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
@pytest.mark.parametrize(
    "name", [name for name, loss in LOSSES.items() if loss.draws[1].__name__ == "_index"]
)
def test_class_indices_of_every_dtype(name: str, dtype: str, rng: np.random.Generator) -> None:
    case = Case(name, LOSSES[name], {})
    (prediction, target), _ = case.draw((65, 100), "float32", rng)
    expected = gradients_of(case, [prediction, target])
    actual = gradients_of(case, [prediction, target.astype(dtype)])
    assert actual[0] == expected[0]
    assert_same_bits(actual[1][0], expected[1][0])


def odd_copies(x: Array) -> list[Array]:
    """The same numbers, laid out in every way."""
    gapped = np.repeat(x, 2, axis=-1)[..., ::2]
    backwards = np.flip(np.flip(x).copy())
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    swapped = x.astype(x.dtype.newbyteorder("S"))
    return [x.copy(order="F"), gapped, backwards, raw, read_only, swapped]


@pytest.mark.usefixtures("isa")
@each_dtype
@each_loss
def test_strides(name: str, dtype: str, rng: np.random.Generator) -> None:
    case = Case(name, LOSSES[name], {})
    arrays = case.laid_out(case.draw((6, 5, 17), dtype, rng)[0])
    expected = truth(case, arrays, reduction="none")
    for given in zip(*map(odd_copies, arrays), strict=True):
        if given[0].dtype.kind == "V":  # there is no byte-swapped bfloat16
            continue
        value, gradients = gradients_of(case, list(given), reduction="none")
        assert_rounded(value, expected.value, dtype)
        for gradient, exact in zip(gradients, expected.gradients, strict=True):
            assert_rounded(gradient, exact, dtype)


@each_dtype
@each_loss
def test_into_any_memory(name: str, dtype: str, rng: np.random.Generator) -> None:
    case = Case(name, LOSSES[name], {})
    arrays, _ = case.draw((37, 29), dtype, rng)
    n, width = arrays[0].shape
    value, gradients = gradients_of(case, arrays)
    gapped = np.full((n, 2 * width), 7, dtype)
    backwards = np.empty((n, width), dtype)[::-1, ::-1]
    for out in (np.empty((width, n), dtype).T, backwards, gapped[:, ::2]):
        again, same = fl.value_and_grad(getattr(fl, name))(*arrays, out=out)
        assert same is out
        assert again == value
        assert_same_bits(out, gradients[0])
    assert np.all(gapped[:, 1::2] == 7)


@each_loss
def test_inputs_are_not_written(name: str, rng: np.random.Generator) -> None:
    case = Case(name, LOSSES[name], {})
    arrays, _ = case.draw((12, 9), "float32", rng)
    before = [x.copy() for x in arrays]
    gradients_of(case, arrays)
    for x, copy in zip(arrays, before, strict=True):
        assert_same_bits(x, copy)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20_011, 10), (1021, 257)], ids=str)
@each_loss
def test_same_bits_for_any_number_of_threads(
    name: str, shape: Shape, dtype: str, rng: np.random.Generator
) -> None:
    case = Case(name, LOSSES[name], {})
    arrays, _ = case.draw(shape if name != "multilabel_margin_loss" else (4001, 10), dtype, rng)
    weight = rng.uniform(0.1, 2, size=arrays[0].shape[0]).astype(dtype)
    results = set()
    for count in (1, 2, 3, 7):
        value, gradients = gradients_of(case, arrays, sample_weight=weight, num_threads=count)
        results.add((value, *(gradient.tobytes() for gradient in gradients)))
    assert len(results) == 1


@each_loss
def test_of_no_row(name: str) -> None:
    case = Case(name, LOSSES[name], {})
    arrays, _ = case.draw((0, 4), "float32", np.random.default_rng(0))
    for reduction, expected in (("mean", np.nan), ("sum", 0.0)):
        value, gradients = gradients_of(case, arrays, reduction=reduction)
        np.testing.assert_equal(value, expected)
        assert all(gradient.shape == arrays[0].shape for gradient in gradients)


# ---- Errors ------------------------------------------------------------------------------------

CANARY = -12345.0
SHAPE = (4, 3)


def valid_arrays(name: str) -> dict[str, Array]:
    """The arguments of a valid call, by the names that the public function gives them."""
    arrays, _ = Case(name, LOSSES[name], {}).draw(SHAPE, "float32", np.random.default_rng(0))
    return dict(zip(inspect.signature(getattr(fl, name)).parameters, arrays, strict=False))


def assert_raises(name: str, error: type[Exception], match: str, **spoiled: Any) -> None:
    """Value, and value and gradient, raise; neither out nor any input is written."""
    given = valid_arrays(name)
    names = tuple(given)
    arguments = {**given, **spoiled}
    out = arguments.pop("out", np.full(given[names[0]].shape, CANARY, "float32"))
    positional = [arguments.pop(argument) for argument in names]
    arrays = [x for x in (*positional, *arguments.values(), out) if isinstance(x, np.ndarray)]
    before = [x.copy() for x in arrays]
    function = getattr(fl, name)
    if "out" not in spoiled:
        with pytest.raises(error, match=match):
            function(*positional, **arguments)
    with pytest.raises(error, match=match):
        fl.value_and_grad(function)(*positional, out=out, **arguments)
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


@each_loss
def test_predictions_that_are_not_taken(name: str) -> None:
    first, valid = next(iter(valid_arrays(name).items()))
    for dtype in ("int64", "bool", "complex64", "object"):
        spoiled = {first: np.ones(valid.shape, int).astype(dtype)}
        assert_raises(name, TypeError, f"(?s){first}.*dtype.*float32", **spoiled)
    for value in (None, object(), np.ma.masked_array(np.ones(valid.shape, "f"))):
        assert_raises(name, TypeError, first, **{first: value})
    assert_raises(name, ValueError, first, **{first: np.float32(1)})


@each_loss
def test_other_arguments_of_the_wrong_shape(name: str) -> None:
    _, *others = valid_arrays(name)
    for other in others:
        for shape in ((5,), (4, 2), (5, 4), (4, 3, 1), (2, 2, 2)):
            spoiled = np.zeros(shape, valid_arrays(name)[other].dtype)
            match = rf"(?s){other}.*\({', '.join(map(str, shape))}"
            assert_raises(name, ValueError, match, **{other: spoiled})


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(40, 3), (9, 300), (2, 20, 3)], ids=str)
@pytest.mark.parametrize(
    "name", [name for name, loss in LOSSES.items() if loss.draws[1].__name__ == "_index"]
)
def test_class_out_of_range(name: str, shape: Shape, rng: np.random.Generator) -> None:
    """The first bad class's position and number; nothing is written."""
    case = Case(name, LOSSES[name], {})
    for dtype, bad in (("int64", -1), ("int64", shape[-1]), ("uint8", 250)):
        if bad < shape[-1] and bad >= 0:
            continue
        prediction, target = case.laid_out(case.draw(shape, "float32", rng)[0])
        target = (target % 200).astype(dtype)
        target.flat[7] = target.flat[-1] = bad
        place = ", ".join(str(int(i)) for i in np.unravel_index(7, target.shape))
        out = np.full(prediction.shape, CANARY, "float32")
        match = rf"(?s)target\[{place}\] is {bad}\b.*{shape[-1]} classes"
        with pytest.raises(IndexError, match=match):
            fl.value_and_grad(getattr(fl, name))(prediction, target, out=out)
        assert np.all(out == CANARY)


def test_listed_class_out_of_range() -> None:
    """Behind the end of a list too, as in torch."""
    for row, column, bad in ((1, 1, 3), (0, 2, 7), (0, 0, -2)):
        target = np.array([[0, -1, 2], [1, 2, -1]])
        target[row, column] = bad
        with pytest.raises(IndexError, match=rf"(?s)target\[{row}, {column}\] is {bad}.*3 classes"):
            fl.multilabel_margin_loss(np.zeros((2, 3)), target)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for name, loss in LOSSES.items()
        for option, values in loss.bad.items()
        for value in values
    ],
)
def test_options_out_of_range(name: str, option: str, value: float) -> None:
    match = rf"(?s)^{option} is {str(value)[:4]}.*expected"
    assert_raises(name, ValueError, match, **{option: value})


@each_loss
def test_options_that_are_no_number(name: str) -> None:
    for option in LOSSES[name].bad:
        for value in ("0.5", [0.1, 0.2], object()):
            assert_raises(name, TypeError, option, **{option: value})
    assert_raises(name, ValueError, "(?s)reduction.*none.*mean.*sum", reduction="batchmean")
    assert_raises(name, ValueError, "num_threads.*0", num_threads=0)


@each_loss
def test_weights_of_the_wrong_shape(name: str) -> None:
    shapes: tuple[Shape, ...] = ((3,), (4, 3), (4, 1))
    for shape in shapes:
        match = rf"(?s)sample_weight.*\({', '.join(map(str, shape))}.*\(4,\)"
        assert_raises(name, ValueError, match, sample_weight=np.ones(shape, "float32"))
    if {"weight": "drawn"}.items() <= LOSSES[name].options[-1].items():
        for shape in (*shapes, ()):
            if shape == (3,):
                continue
            assert_raises(name, ValueError, "(?s)weight.*3", weight=np.ones(shape, "float32"))


@each_loss
def test_bad_outputs(name: str) -> None:
    first, valid = next(iter(valid_arrays(name).items()))
    n, width = valid.shape
    match = rf"(?s)out.*\({n + 1}, {width}\).*\({n}, {width}\)"
    assert_raises(name, ValueError, match, out=np.full((n + 1, width), CANARY, "float32"))
    assert_raises(name, TypeError, "(?s)out.*dtype.*float32", out=np.zeros(valid.shape))
    assert_raises(name, TypeError, "out", out=valid.tolist())
    memory = np.full(2 * valid.size, 0.5, "float32")
    prediction = memory[: valid.size].reshape(valid.shape)
    overlapping = {"out": memory[3 : valid.size + 3].reshape(valid.shape), first: prediction}
    assert_raises(name, ValueError, f"(?s)out.*overlap.*{first}", **overlapping)


@each_loss
def test_argnums(name: str) -> None:
    case = Case(name, LOSSES[name], {})
    wrong: list[Any] = [n for n in range(4) if n not in case.argnums]
    for argnums in (*wrong, -1, (0, 0), ()):
        with pytest.raises(ValueError, match="argnums"):
            fl.value_and_grad(getattr(fl, name), argnums=argnums)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_label_that_is_listed_twice_counts_twice(isa: str, dtype: str) -> None:
    """As in torch; by hand: each label against each class that is none."""
    x = np.array([[0.25, 0.5, -0.75, 1.0]], dtype)
    target = np.array([[1, 3, 1, -1]])
    value, gradient = fl.value_and_grad(fl.multilabel_margin_loss)(x, target)
    expected, slopes = 0.0, np.zeros(4)
    for label in (1, 3, 1):
        for other in (0, 2):
            hinge = max(0.0, 1 - float(x[0, label]) + float(x[0, other]))
            expected += hinge / 4
            slopes[other] += (hinge > 0) / 4
            slopes[label] -= (hinge > 0) / 4
    assert value == expected  # sums of quarters: nothing is rounded
    np.testing.assert_array_equal(gradient.astype(float), [slopes])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classes_of_no_share_may_have_probability_0(dtype: Any) -> None:
    """The slope of p^q at 0 is infinite; 0 times it is 0."""
    probs = np.array([[0.0, 0.4, 0.6], [0.3, 0.0, 0.7]], dtype)
    shares = np.array([[0.0, 0.5, 0.5], [0.25, 0.0, 0.75]], dtype)
    value, gradient = fl.value_and_grad(fl.generalized_cross_entropy)(probs, shares, q=0.5)
    held = shares != 0
    expected = np.where(held, shares, 0).sum() - (shares * np.sqrt(probs)).sum()
    assert value == pytest.approx(expected / (2 * 0.5), rel=1e-6)
    np.testing.assert_array_equal(gradient[~held], 0)
    slopes = -shares[held] / np.sqrt(probs[held]) / 2
    np.testing.assert_allclose(gradient[held], slopes, rtol=1e-6)
