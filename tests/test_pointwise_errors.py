"""Bad input of pointwise losses: which exception, what its message names, and nothing written."""

from __future__ import annotations

from typing import Any

import ml_dtypes  # noqa: F401  (makes NumPy know its dtypes by name)
import numpy as np
import pytest
import torch

import fusedloss as fl
from parts import Array
from pointwise_cases import LOSSES, Case

CANARY = -12345.0
SHAPE = (4, 3)

each_loss = pytest.mark.parametrize("name", LOSSES)


def valid_arrays(name: str) -> dict[str, Array]:
    case = Case(name, LOSSES[name], {})
    arrays, _ = case.draw(SHAPE, "float32", np.random.default_rng(0))
    return dict(zip(case.formula.arguments, arrays, strict=True))


def assert_raises(name: str, error: type[Exception], match: str, **spoiled: Any) -> None:
    """Value, and value and gradient, raise; neither out nor any input is written."""
    given = valid_arrays(name)
    names = tuple(given)
    arguments = {**given, **spoiled}
    out = arguments.pop("out", np.full(SHAPE, CANARY, "float32"))
    positional = [arguments.pop(argument) for argument in names]
    arrays = [x for x in (*positional, *arguments.values(), out) if isinstance(x, np.ndarray)]
    before = [x.copy() for x in arrays]
    function = getattr(fl, name)
    if not {"out", "grad_output"} & spoiled.keys():
        with pytest.raises(error, match=match):
            function(*positional, **arguments)
    with pytest.raises(error, match=match):
        fl.value_and_grad(function)(*positional, out=out, **arguments)
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


def escaped(shape: tuple[int, ...]) -> str:
    return str(shape).replace("(", r"\(").replace(")", r"\)")


@each_loss
def test_the_valid_calls_are_valid(name: str) -> None:
    out = np.empty(SHAPE, "float32")
    arrays = valid_arrays(name).values()
    assert fl.value_and_grad(getattr(fl, name))(*arrays, out=out)[1] is out


@each_loss
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "U3", "object"])
def test_prediction_of_no_float_dtype(name: str, dtype: str) -> None:
    first = next(iter(valid_arrays(name)))
    spoiled = {first: np.zeros(SHAPE).astype(dtype)}
    assert_raises(name, TypeError, f"(?s){first}.*dtype.*float32", **spoiled)


@each_loss
@pytest.mark.parametrize("dtype", ["complex64", "U3", "object", "M8[s]"])
def test_other_arguments_of_no_real_dtype(name: str, dtype: str) -> None:
    _, *others = valid_arrays(name)
    for other in (*others, "weight"):
        spoiled = {other: np.ones(SHAPE, int).astype(dtype)}
        assert_raises(name, TypeError, f"(?s){other}.*dtype.*real", **spoiled)


@each_loss
def test_what_is_no_array(name: str) -> None:
    for argument in (*valid_arrays(name), "weight"):
        for value, match in (
            (object(), argument),
            (np.ma.masked_array(np.ones(SHAPE, "f")), f"(?s){argument}.*mask"),
            (torch.ones(SHAPE), rf"(?s){argument}.*fusedloss\.torch"),
        ):
            assert_raises(name, TypeError, match, **{argument: value})
    for argument in valid_arrays(name):
        assert_raises(name, TypeError, argument, **{argument: None})


@each_loss
@pytest.mark.parametrize("shape", [(4,), (2,), (3, 3), (4, 2), (0,), (3, 4)], ids=str)
def test_shapes_that_do_not_broadcast(name: str, shape: tuple[int, ...]) -> None:
    _, *others = valid_arrays(name)
    for other in (*others, "weight"):
        if other == "var" and shape == SHAPE[:-1]:
            continue  # of rows, as torch has it
        match = rf"(?s){escaped(SHAPE)}.*{other}.*{escaped(shape)}"
        assert_raises(name, ValueError, match, **{other: np.ones(shape, "float32")})


# ---- Options -----------------------------------------------------------------------------------

BAD_OPTIONS = [
    (name, option, value)
    for name, loss in LOSSES.items()
    for option, values in loss.bad.items()
    for value in values
]


@pytest.mark.parametrize(("name", "option", "value"), BAD_OPTIONS)
def test_options_out_of_range(name: str, option: str, value: float) -> None:
    match = rf"(?s)^{option}.*{str(float(value))[:4]}.*expected"
    assert_raises(name, ValueError, match, **{option: value})


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, loss in LOSSES.items() for option in loss.bad]
)
def test_options_that_are_no_number(name: str, option: str) -> None:
    for value in ("0.5", [0.1, 0.2], 0.5j, object()):
        assert_raises(name, TypeError, option, **{option: value})


@each_loss
@pytest.mark.parametrize("reduction", ["foo", "", None, 1], ids=repr)
def test_reduction(name: str, reduction: Any) -> None:
    assert_raises(name, ValueError, "(?s)reduction.*none.*mean.*sum", reduction=reduction)


@pytest.mark.parametrize(
    "name", [name for name, loss in LOSSES.items() if "batchmean" not in loss.reductions]
)
def test_batchmean_is_of_distributions(name: str) -> None:
    assert_raises(name, ValueError, "(?s)reduction.*batchmean", reduction="batchmean")


@each_loss
def test_num_threads(name: str) -> None:
    assert_raises(name, ValueError, "num_threads.*0", num_threads=0)
    assert_raises(name, TypeError, "num_threads", num_threads=1.5)


@each_loss
def test_unknown_options(name: str) -> None:
    assert_raises(name, TypeError, "temperature", temperature=1.0)


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("binary_cross_entropy", "probs", 1.25),
        ("binary_cross_entropy", "probs", -0.5),
        ("binary_cross_entropy", "probs", np.nan),
        ("binary_cross_entropy", "target", 1.25),
        ("gaussian_nll_loss", "var", -0.5),
    ],
)
def test_values_outside_of_the_domain(name: str, argument: str, value: float) -> None:
    """The first such value is named; as in torch these losses alone check theirs."""
    array = np.full(SHAPE, 0.5, "float32")
    array[1, 2] = array[3, 0] = value
    assert_raises(name, ValueError, rf"{argument}\[1, 2\] is {value}", **{argument: array})


# ---- Gradients ---------------------------------------------------------------------------------


@each_loss
def test_argnums(name: str) -> None:
    case = Case(name, LOSSES[name], {})
    wrong: list[Any] = [n for n in range(4) if n not in case.argnums]
    for argnums in (*wrong, -1, (0, 0), ()):
        with pytest.raises(ValueError, match="argnums"):
            fl.value_and_grad(getattr(fl, name), argnums=argnums)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if not loss.hessian])
def test_losses_without_a_hessian(name: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){name}.*Hessian"):
        fl.grad_and_hess(getattr(fl, name))


@each_loss
@pytest.mark.parametrize("shape", [(3, 4), (12,), (4, 3, 1), ()], ids=str)
def test_out_of_the_wrong_shape(name: str, shape: tuple[int, ...]) -> None:
    match = rf"(?s)out.*{escaped(shape)}.*{escaped(SHAPE)}"
    assert_raises(name, ValueError, match, out=np.full(shape, CANARY, "float32"))


@each_loss
def test_out_of_another_dtype_read_only_or_none_at_all(name: str) -> None:
    assert_raises(name, TypeError, "(?s)out.*dtype.*float32", out=np.zeros(SHAPE))
    read_only = np.zeros(SHAPE, "float32")
    read_only.flags.writeable = False
    assert_raises(name, ValueError, "(?s)out.*(read-only|writ)", out=read_only)
    assert_raises(name, TypeError, "out", out=[[0.0] * 3] * 4)


@each_loss
def test_out_that_overlaps(name: str) -> None:
    """Only the very memory of its own argument will do."""
    memory = np.full(48, 0.5, "float32")
    first, *others = valid_arrays(name)
    prediction = memory[:12].reshape(SHAPE)
    for out in (memory[3:15].reshape(SHAPE), prediction[::-1], prediction[:, ::-1]):
        assert_raises(
            name, ValueError, f"(?s)out.*overlap.*{first}", out=out, **{first: prediction}
        )
    for other in (*others, "weight"):
        for out in (memory[3:15].reshape(SHAPE), prediction):
            spoiled = {other: prediction, "out": out}
            assert_raises(name, ValueError, f"(?s)out.*overlap.*{other}", **spoiled)
    repeated = np.lib.stride_tricks.as_strided(memory, SHAPE, (0, 4))
    assert_raises(name, ValueError, "out", out=repeated)


@pytest.mark.parametrize("name", ["mse_loss", "gaussian_nll_loss", "margin_ranking_loss"])
def test_outs_that_overlap_each_other(name: str) -> None:
    case = Case(name, LOSSES[name], {})
    out = np.full(SHAPE, CANARY, "float32")
    grad = fl.value_and_grad(getattr(fl, name), argnums=case.argnums)
    outs = (out, out[::-1], *(None,) * (len(case.argnums) - 2))
    with pytest.raises(ValueError, match=r"(?s)out.*overlap"):
        grad(*valid_arrays(name).values(), out=outs)
    assert np.all(out == CANARY)
    for wrong in (out, (out,) * 7, ()):
        with pytest.raises((TypeError, ValueError), match="out"):
            grad(*valid_arrays(name).values(), out=wrong)


@each_loss
def test_grad_output(name: str) -> None:
    for reduction, shape, expected in (("mean", (4, 3), "scalar"), ("none", (3,), escaped(SHAPE))):
        match = rf"(?s)grad_output.*{escaped(shape)}.*{expected}"
        grad_output = np.ones(shape, "float32")
        spoiled = {"grad_output": grad_output, "reduction": reduction}
        assert_raises(name, ValueError, match, **spoiled)
    assert_raises(name, TypeError, "grad_output", grad_output=1j)
