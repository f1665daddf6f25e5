"""Bad input of the softmax family's other losses and options; as in test_errors.py.

Every message is matched by the argument that it names, and by its value where it is short.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from conftest import Something
from parts import Array

CANARY = -12345.0

PROBS = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [1, 0, 0]], "float32")
LOGITS = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
TARGET = np.array([0, 1, 2, 1])
TEACHER = LOGITS[::-1].copy()
INDICES = np.array([[0, 1], [2, 0], [1, 2], [0, 2]])
LOG_PROBS = np.full((4, 2), -1, "float32")

#: A valid call of each loss: its positional arguments, by the name that messages use.
VALID: dict[str, dict[str, Any]] = {
    "cross_entropy": {"logits": LOGITS, "target": TARGET},
    "nll_loss": {"log_probs": LOGITS, "target": TARGET},
    "categorical_cross_entropy": {"probs": PROBS, "target": TARGET},
    "focal_loss": {"logits": LOGITS, "target": TARGET},
    "soft_cross_entropy": {"logits": LOGITS, "target_logits": TEACHER},
    "distillation_loss": {"student_logits": LOGITS, "teacher_logits": TEACHER, "target": TARGET},
}

#: The losses that take an option.
TAKERS: dict[str, tuple[str, ...]] = {
    "sample_weight": tuple(VALID),
    "softcap": ("cross_entropy", "focal_loss"),
    "z_loss": ("cross_entropy", "focal_loss"),
    "outputs": ("cross_entropy", "focal_loss"),
    "gamma": ("focal_loss", "categorical_cross_entropy"),
    "alpha": ("focal_loss", "categorical_cross_entropy"),
    "temperature": ("soft_cross_entropy", "distillation_loss"),
    "reduction": tuple(VALID),
    "num_threads": tuple(VALID),
    "ignore_index": tuple(name for name in VALID if name != "soft_cross_entropy"),
    "target": tuple(name for name in VALID if name != "soft_cross_entropy"),
}


def assert_raises(
    loss: str, error: type[Exception] | tuple[type[Exception], ...], match: str, **spoiled: Any
) -> None:
    """Value, and value and gradient, raise; neither out nor any input is written."""
    arguments = {**VALID[loss], **spoiled}
    out = arguments.pop("out", np.full((4, 3), CANARY, "float32"))
    positional = [arguments.pop(name) for name in VALID[loss]]
    arrays = [x for x in (*positional, *arguments.values(), out) if isinstance(x, np.ndarray)]
    before = [x.copy() for x in arrays]
    function = getattr(fl, loss)
    if "out" not in spoiled and "grad_output" not in spoiled:
        with pytest.raises(error, match=match):
            function(*positional, **arguments)
    with pytest.raises(error, match=match):
        fl.value_and_grad(function)(*positional, out=out, **arguments)
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


def escaped(shape: tuple[int, ...]) -> str:
    return str(shape).replace("(", r"\(").replace(")", r"\)")


@pytest.mark.parametrize("loss", VALID)
def test_the_valid_calls_are_valid(loss: str) -> None:
    out = np.empty((4, 3), "float32")
    _, gradient = fl.value_and_grad(getattr(fl, loss))(*VALID[loss].values(), out=out)
    assert gradient is out


# ---- The prediction ----------------------------------------------------------------------------

PREDICTIONS = [(loss, next(iter(arguments))) for loss, arguments in VALID.items()]


@pytest.mark.parametrize(("loss", "name"), PREDICTIONS)
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "longdouble", "U3", "object"])
def test_prediction_of_no_float_dtype(loss: str, name: str, dtype: str) -> None:
    spoiled = np.zeros((4, 3)).astype(dtype)
    if spoiled.dtype == np.float64:
        pytest.skip("long double is double here")
    assert_raises(loss, TypeError, f"(?s){name}.*dtype.*float32", **{name: spoiled})


@pytest.mark.parametrize(("loss", "name"), PREDICTIONS)
@pytest.mark.parametrize("value", [None, "text", Something(), {}], ids=repr)
def test_prediction_that_is_no_array(loss: str, name: str, value: Any) -> None:
    assert_raises(loss, TypeError, name, **{name: value})


@pytest.mark.parametrize(("loss", "name"), PREDICTIONS)
def test_prediction_of_a_bad_shape(loss: str, name: str) -> None:
    for shape in ((), (4, 0)):
        assert_raises(loss, ValueError, name, **{name: np.zeros(shape, "float32")})


@pytest.mark.parametrize(("loss", "name"), PREDICTIONS)
def test_masked_arrays_and_tensors(loss: str, name: str) -> None:
    masked = np.ma.masked_array(LOGITS)
    assert_raises(loss, TypeError, f"(?s){name}.*mask", **{name: masked})
    torch = pytest.importorskip("torch")
    for argument in VALID[loss]:
        tensor = torch.zeros(4, 3)
        match = rf"(?s){argument}.*fusedloss\.torch"
        assert_raises(loss, TypeError, match, **{argument: tensor})


# ---- The target --------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", TAKERS["target"])
@pytest.mark.parametrize("shape", [(40, 3), (9, 300), (2, 3, 20)], ids=str)
def test_label_out_of_range(loss: str, shape: tuple[int, ...]) -> None:
    """The first bad label's position and value; nothing is written."""
    rows = (shape[0], *shape[2:])
    prediction = np.full(shape, 0.5, "float32")
    others: list[Any] = [prediction.copy()] if loss == "distillation_loss" else []
    options: dict[str, Any] = {"axis": 1} if loss == "categorical_cross_entropy" else {}
    for dtype in ("int8", "int64", "uint8"):
        for bad in (-1, 120) if dtype != "uint8" else (250,):
            if 0 <= bad < shape[1]:
                continue
            target = np.zeros(rows, dtype)
            target.flat[7] = target.flat[-1] = bad
            position = ", ".join(str(int(i)) for i in np.unravel_index(7, rows))
            match = rf"(?s)target\[{position}\] is {bad}\b.*{shape[1]} classes.*ignore_index -100"
            for reduction in ("none", "mean"):
                out = np.full(shape, CANARY, "float32")
                with pytest.raises(IndexError, match=match):
                    fl.value_and_grad(getattr(fl, loss))(
                        prediction, *others, target, out=out, reduction=reduction, **options
                    )
                assert np.all(out == CANARY)
                with pytest.raises(IndexError, match=match):
                    getattr(fl, loss)(prediction, *others, target, reduction=reduction, **options)


@pytest.mark.parametrize("loss", ["nll_loss", "distillation_loss"])
def test_probability_targets_are_not_taken(loss: str) -> None:
    assert_raises(loss, (TypeError, ValueError), "target", target=PROBS)


@pytest.mark.parametrize("loss", TAKERS["target"])
@pytest.mark.parametrize("dtype", ["bool", "float32", "U1"])
def test_index_target_of_no_integer_dtype(loss: str, dtype: str) -> None:
    assert_raises(loss, TypeError, "(?s)target.*dtype.*integer", target=TARGET.astype(dtype))


@pytest.mark.parametrize("loss", TAKERS["target"])
@pytest.mark.parametrize("shape", [(), (3,), (5,), (4, 2), (4, 3, 1)], ids=str)
def test_target_of_the_wrong_shape(loss: str, shape: tuple[int, ...]) -> None:
    match = rf"(?s)target.*{escaped(shape)}"
    assert_raises(loss, ValueError, match, target=np.zeros(shape, int))


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64"])
def test_categorical_target_of_no_float_dtype(dtype: str) -> None:
    """One-hot targets have to be floats, as probabilities."""
    target = np.eye(4, 3).astype(dtype)
    match = f"(?s)target.*{np.dtype(dtype).name}.*float"
    assert_raises("categorical_cross_entropy", TypeError, match, target=target)


# ---- Options -----------------------------------------------------------------------------------


def takers(option: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("loss", TAKERS[option])


@takers("sample_weight")
@pytest.mark.parametrize("shape", [(), (3,), (5,), (1,), (4, 1), (4, 3), (0,)], ids=str)
def test_sample_weight_of_the_wrong_shape(loss: str, shape: tuple[int, ...]) -> None:
    match = rf"(?s)sample_weight.*{escaped(shape)}.*\(4,\)"
    assert_raises(loss, ValueError, match, sample_weight=np.ones(shape, "float32"))


@takers("sample_weight")
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "object", "U1"])
def test_sample_weight_of_no_float_dtype(loss: str, dtype: str) -> None:
    weight = np.ones(4, int).astype(dtype)
    assert_raises(loss, TypeError, "(?s)sample_weight.*dtype.*float", sample_weight=weight)


@takers("sample_weight")
def test_masked_sample_weight(loss: str) -> None:
    weight = np.ma.masked_array(np.ones(4))
    assert_raises(loss, TypeError, "(?s)sample_weight.*mask", sample_weight=weight)


@pytest.mark.parametrize("option", ["softcap", "temperature"])
@pytest.mark.parametrize("value", [0, 0.0, -1.0, np.nan, -np.inf, np.float32(-2)])
def test_positive_options(option: str, value: Any) -> None:
    for loss in TAKERS[option]:
        match = rf"(?s){option}.*{str(float(value))[:4]}"
        assert_raises(loss, ValueError, match, **{option: value})


@pytest.mark.parametrize("option", ["z_loss", "gamma"])
@pytest.mark.parametrize("value", [-1e-3, -1, np.nan, np.inf, -np.inf])
def test_options_that_are_not_negative(option: str, value: Any) -> None:
    for loss in TAKERS[option]:
        match = rf"(?s){option}.*{str(float(value))[:4]}"
        assert_raises(loss, ValueError, match, **{option: value})


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, np.inf])
def test_alpha_of_a_mixture(value: float) -> None:
    match = rf"(?s)alpha.*{str(value)[:4]}"
    assert_raises("distillation_loss", ValueError, match, alpha=value)


@pytest.mark.parametrize("option", ["softcap", "temperature", "z_loss", "gamma"])
@pytest.mark.parametrize("value", ["1", [1.0, 2.0], 1j, Something()], ids=repr)
def test_options_that_are_no_numbers(option: str, value: Any) -> None:
    for loss in TAKERS[option]:
        assert_raises(loss, TypeError, option, **{option: value})


@pytest.mark.parametrize("option", ["temperature", "z_loss", "gamma"])
def test_options_that_are_none(option: str) -> None:
    for loss in TAKERS[option]:
        assert_raises(loss, TypeError, option, **{option: None})


@pytest.mark.parametrize("value", [np.float32(2), np.float64(2), np.array(2.0), 2])
@pytest.mark.parametrize("option", ["softcap", "temperature", "z_loss", "gamma"])
def test_options_of_other_number_types(option: str, value: Any) -> None:
    for loss in TAKERS[option]:
        function, arguments = getattr(fl, loss), VALID[loss].values()
        assert function(*arguments, **{option: value}) == function(*arguments, **{option: 2.0})


@takers("outputs")
@pytest.mark.parametrize("names", [("loss",), ("lse", "perplexity"), ("LSE",), (1,), (None,)])
def test_unknown_outputs(loss: str, names: Any) -> None:
    match = r"(?s)outputs.*lse.*entropy.*accuracy"
    assert_raises(loss, (TypeError, ValueError), match, outputs=names)


@takers("outputs")
@pytest.mark.parametrize("names", ["lse", None, 1, True], ids=repr)
def test_outputs_that_are_no_sequence(loss: str, names: Any) -> None:
    """A string is no sequence of names: "lse" would be three."""
    assert_raises(loss, (TypeError, ValueError), "outputs", outputs=names)


@takers("alpha")
@pytest.mark.parametrize("shape", [(2,), (4,), (1,), (0,), (3, 1), (4, 3)], ids=str)
def test_alpha_of_the_wrong_shape(loss: str, shape: tuple[int, ...]) -> None:
    match = rf"(?s)alpha.*{escaped(shape)}.*3"
    assert_raises(loss, ValueError, match, alpha=np.ones(shape, "float32"))


@takers("alpha")
@pytest.mark.parametrize(
    "alpha", ["1", Something(), np.ones(3, complex), np.ones(3, bool)], ids=repr
)
def test_alpha_that_is_no_number(loss: str, alpha: Any) -> None:
    assert_raises(loss, TypeError, "alpha", alpha=alpha)


@takers("reduction")
@pytest.mark.parametrize("reduction", ["foo", "", None, 1, ["mean"]], ids=repr)
def test_reduction(loss: str, reduction: Any) -> None:
    match = r"(?s)reduction.*none.*mean.*sum"
    assert_raises(loss, (TypeError, ValueError), match, reduction=reduction)


@takers("num_threads")
def test_num_threads(loss: str) -> None:
    assert_raises(loss, ValueError, "num_threads.*0", num_threads=0)
    assert_raises(loss, TypeError, "num_threads", num_threads=1.5)


@takers("ignore_index")
def test_ignore_index(loss: str) -> None:
    for value in (1.5, "1", None):
        assert_raises(loss, TypeError, "ignore_index", ignore_index=value)


@pytest.mark.parametrize("amount", [-0.1, 1.5, np.nan])
def test_label_smoothing_of_probabilities(amount: float) -> None:
    assert_raises(
        "categorical_cross_entropy", ValueError, "label_smoothing", label_smoothing=amount
    )


@pytest.mark.parametrize("axis", [2, -3, 100])
def test_axis_out_of_range(axis: int) -> None:
    match = f"(?s)axis.*{axis}"
    assert_raises("categorical_cross_entropy", (IndexError, ValueError), match, axis=axis)


@pytest.mark.parametrize("axis", [1.0, "1", (0, 1), None], ids=repr)
def test_axis_that_is_no_integer(axis: Any) -> None:
    assert_raises("categorical_cross_entropy", TypeError, "axis", axis=axis)


@pytest.mark.parametrize("loss", VALID)
def test_options_of_other_losses(loss: str) -> None:
    """An option that a loss lacks is a TypeError that names it, never ignored."""
    for option in ("softcap", "temperature", "gamma", "axis", "weight", "label_smoothing"):
        if option not in inspect.signature(getattr(fl, loss)).parameters:
            assert_raises(loss, TypeError, option, **{option: 1.0})


# ---- Teachers ----------------------------------------------------------------------------------

TEACHERS = (("soft_cross_entropy", "target_logits"), ("distillation_loss", "teacher_logits"))


@pytest.mark.parametrize(("loss", "name"), TEACHERS)
@pytest.mark.parametrize("shape", [(4,), (3,), (4, 2), (3, 4), (4, 3, 1), (0, 3)], ids=str)
def test_teacher_of_the_wrong_shape(loss: str, name: str, shape: tuple[int, ...]) -> None:
    match = rf"(?s){name}.*{escaped(shape)}.*\(4, 3\)"
    assert_raises(loss, ValueError, match, **{name: np.zeros(shape, "float32")})


@pytest.mark.parametrize(("loss", "name"), TEACHERS)
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "object"])
def test_teacher_of_no_float_dtype(loss: str, name: str, dtype: str) -> None:
    spoiled = np.zeros((4, 3)).astype(dtype)
    assert_raises(loss, TypeError, f"(?s){name}.*dtype.*float", **{name: spoiled})


def assert_teacher_raises(error: Any, match: str, teacher: Any) -> None:
    assert_raises("distillation_loss", error, match, teacher_logits=teacher)


def test_top_k_teacher_is_two_arrays() -> None:
    for teacher in ((INDICES,), (INDICES, LOG_PROBS, LOG_PROBS), ()):
        assert_teacher_raises((TypeError, ValueError), "teacher_logits", teacher)


def test_top_k_indices() -> None:
    assert_teacher_raises(TypeError, "teacher_logits", (INDICES.astype(float), LOG_PROBS))
    assert_teacher_raises(TypeError, "teacher_logits", (INDICES.astype(bool), LOG_PROBS))
    for bad in (3, -1, -100, 1000):
        indices = INDICES.copy()
        indices[2, 1] = indices[3, 0] = bad
        match = rf"(?s)teacher_logits.*\[2, 1\] is {bad}\b.*3 classes"
        assert_teacher_raises(IndexError, match, (indices, LOG_PROBS))


def test_top_k_log_probs() -> None:
    assert_teacher_raises(TypeError, "teacher_logits", (INDICES, LOG_PROBS.astype(int)))
    assert_teacher_raises(ValueError, "teacher_logits", (INDICES, LOG_PROBS[:, :1]))
    assert_teacher_raises(ValueError, "teacher_logits", (INDICES[:3], LOG_PROBS[:3]))
    assert_teacher_raises(ValueError, "teacher_logits", (INDICES[:, 0], LOG_PROBS[:, 0]))


# ---- Gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", VALID)
def test_grad_output(loss: str) -> None:
    assert_raises(loss, ValueError, "(?s)grad_output.*scalar", grad_output=np.ones(4, "float32"))
    wrong = np.ones(3, "float32")
    match = r"(?s)grad_output.*\(3,\).*\(4,\)"
    assert_raises(loss, ValueError, match, grad_output=wrong, reduction="none")
    assert_raises(loss, TypeError, "grad_output", grad_output=1j)


@pytest.mark.parametrize(("loss", "name"), PREDICTIONS)
def test_out(loss: str, name: str) -> None:
    assert_raises(loss, ValueError, r"(?s)out.*\(3, 4\)", out=np.full((3, 4), CANARY, "float32"))
    assert_raises(loss, TypeError, "(?s)out.*float64", out=np.full((4, 3), CANARY))
    assert_raises(loss, TypeError, "out", out=[[0.0] * 3] * 4)
    read_only = np.full((4, 3), CANARY, "float32")
    read_only.flags.writeable = False
    assert_raises(loss, ValueError, "(?s)out.*(read-only|writ)", out=read_only)
    memory = np.full(24, 0.25, "float32")
    prediction = memory[:12].reshape(4, 3)
    match = f"(?s)out.*overlap.*{name}"
    assert_raises(loss, ValueError, match, out=memory[3:15].reshape(4, 3), **{name: prediction})
    weight = memory[11:15]
    match = "(?s)out.*overlap.*sample_weight"
    assert_raises(loss, ValueError, match, out=prediction, sample_weight=weight)


@pytest.mark.parametrize(("loss", "name"), TEACHERS)
def test_out_that_overlaps_the_teacher(loss: str, name: str) -> None:
    memory = np.full(24, 0.25, "float32")
    teacher = memory[:12].reshape(4, 3)
    match = f"(?s)out.*overlap.*{name}"
    for out in (teacher, memory[3:15].reshape(4, 3)):
        assert_raises(loss, ValueError, match, out=out, **{name: teacher})
    if loss == "distillation_loss":
        log_probs = memory[:8].reshape(4, 2)
        assert_raises(
            loss, ValueError, match, out=memory[3:15].reshape(4, 3), **{name: (INDICES, log_probs)}
        )


@pytest.mark.parametrize("option", ["reduction", "outputs", "grad_output"])
def test_hessian_takes_no_such_option(option: str) -> None:
    value: Array | str = "sum" if option == "reduction" else np.empty((4, 3), "float32")
    with pytest.raises(TypeError, match=option):
        fl.grad_and_hess(fl.cross_entropy)(LOGITS, TARGET, **{option: value})


@pytest.mark.parametrize("loss", VALID)
@pytest.mark.parametrize("argnums", [1, 2, -1, (0, 1)], ids=repr)
def test_argnums_that_cannot_be_differentiated(loss: str, argnums: Any) -> None:
    if argnums in (1, (0, 1)) and getattr(fl, loss).__fusedloss__.by_targets:
        return  # probabilities and teachers can be
    with pytest.raises(ValueError, match="argnums"):
        fl.value_and_grad(getattr(fl, loss), argnums=argnums)
