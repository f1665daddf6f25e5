"""Every loss of images against its formula: any layout, dtypes, threads, errors."""

from __future__ import annotations

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
from reference.segmentation import evaluate
from segmentation_cases import CASES, LOSSES, OF_HINGE, SORTED, Case, Shape

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_loss = pytest.mark.parametrize("name", LOSSES)

#: Images of no pixel axis, one and three; few classes and many; vectors' edges along both; several
#: tiles of pixels in one task.
SHAPES: tuple[Shape, ...] = (
    (3, 4),
    (2, 3, 17),
    (1, 2, 9, 8),
    (2, 17, 33),
    (3, 5, 3, 4, 5),
    (1, 130, 7),
    (2, 2, 16),
    (1, 3, 1100),
)


def truth(case: Case, logits: Array, target: Array, **options: Any) -> Evaluation:
    """The results, and what the formula as it is written may lose in the arithmetic."""
    exact, arithmetic = truth_dtype(logits.dtype), compute_dtype(logits.dtype)
    return evaluate(case.name, logits, target, dtype=exact, arithmetic=arithmetic, **options)


def assert_right(case: Case, logits: Array, target: Array, **options: Any) -> None:
    """Value alone, and value with gradient, with every instruction set."""
    expected = truth(case, logits, target, **options)
    function = getattr(fl, case.name)
    alone = {name: x for name, x in options.items() if name != "grad_output"}
    for isa in ISAS:
        with instruction_set(isa):
            value, gradient = fl.value_and_grad(function)(logits, target, **options)
            for result in (value, function(logits, target, **alone)):
                assert_value(result, expected.value, logits.dtype)
            assert gradient.dtype == logits.dtype.newbyteorder("=")
            if not has_ties(case, logits.dtype):
                assert_rounded(gradient, expected.gradients[0], logits.dtype)


def has_ties(case: Case, dtype: np.dtype[Any]) -> bool:
    """Whether errors may well be equal, which are sorted in any order: those of few digits."""
    return case.name in SORTED and dtype.itemsize == 2


@each_dtype
@each_case
def test_values_and_gradients(case: Case, dtype: str, rng: np.random.Generator) -> None:
    for k, shape in enumerate(SHAPES):
        reduction = case.loss.reductions[k % len(case.loss.reductions)]
        logits, target = case.draw(shape, dtype, rng)
        options = {**case.options, **case.weights(shape, rng), "reduction": reduction}
        scores = np.shape(evaluate(case.name, logits, target, **options).value)
        grad_output = np.asarray(rng.normal(size=scores)).astype(dtype)
        assert_right(case, logits, target, grad_output=grad_output, **options)


#: Equal errors, those of saturated logits too, are sorted in any order, which moves the gradient.
UNSORTED = [case for case in CASES if case.name not in SORTED]


@each_dtype
@pytest.mark.parametrize("case", UNSORTED, ids=str)
def test_equal_and_large_logits(case: Case, dtype: str, rng: np.random.Generator) -> None:
    for scale in (0, 1 if case.activation is None else 3000):  # chances are no larger than 1
        logits, target = case.draw((2, 5, 40), dtype, rng)
        options = {**case.options, **case.weights((2, 5, 40), rng)}
        assert_right(case, logits * logits.dtype.type(scale), target, **options)


@pytest.mark.parametrize("content", [np.nan, np.inf])
@each_loss
def test_no_softmax_is_not_lost(name: str, content: float, rng: np.random.Generator) -> None:
    """A pixel with NaN or inf has no softmax: NaN, as in torch, unless it is ignored."""
    case = Case(name, LOSSES[name], {}, "index")
    logits, target = case.draw((2, 5, 40), "float32", rng)
    logits[1, 2, 17] = content
    value, gradient = fl.value_and_grad(getattr(fl, name))(logits, target)
    if name != OF_HINGE:
        assert np.isnan(value)
        assert np.isnan(gradient[1, :, 17]).all()
    elif content != np.inf:
        assert np.isnan(value)
        assert np.isnan(gradient[1, 2, 17])
    target[1, 17] = -100
    value, gradient = fl.value_and_grad(getattr(fl, name))(logits, target)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.all(gradient[1, :, 17] == 0)


@each_loss
def test_perfect_prediction(name: str) -> None:
    """No loss, no gradient, exactly."""
    target = np.arange(40).reshape(2, 20) % 5
    logits = np.where(np.arange(5)[:, None] == target[:, None], 1e4, -1e4).astype("float32")
    value, gradient = fl.value_and_grad(getattr(fl, name))(logits, target)
    assert value == 0
    assert np.all(gradient == 0)


@each_loss
def test_nothing_counts(name: str) -> None:
    """Every pixel ignored: scores of no pixel, or the mean of nothing; in any case no gradient."""
    target = np.full((2, 7), -100)
    value, gradient = fl.value_and_grad(getattr(fl, name))(np.zeros((2, 3, 7)), target)
    expected = evaluate(name, np.zeros((2, 3, 7)), target).value
    np.testing.assert_equal(value, float(expected))
    assert np.all(gradient == 0)


# ---- Options of all of them --------------------------------------------------------------------

ACTIVATED = [
    pytest.param(name, activation, id=f"{name}-{activation}")
    for name, loss in LOSSES.items()
    for activation in loss.activations
]

#: Losses of labels that do not exclude each other.
INDEPENDENT = [
    pytest.param(
        name, {} if name == OF_HINGE else {"activation": activation}, id=f"{name}-{activation}"
    )
    for name, loss in LOSSES.items()
    for activation in loss.activations or (None,)
    if activation != "softmax"
]


def chances(name: str, options: dict[str, Any], shape: Shape, rng: np.random.Generator) -> Array:
    """Logits, or what an activation of None takes for them."""
    case = Case(name, LOSSES[name], options, "index")
    return case.draw(shape, "float64", rng)[0]


@pytest.mark.parametrize(("name", "options"), INDEPENDENT)
def test_one_channel(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    """Labels of any dtype, with an axis of one class or without one."""
    logits = chances(name, options, (3, 1, 4, 5), rng)
    bits = rng.integers(0, 2, (3, 4, 5))
    gradient = fl.value_and_grad(getattr(fl, name))
    expected = evaluate(name, logits, bits, **options)
    for dtype in ("bool", "uint8", "int64", "float16", "bfloat16", "float64"):
        for labels in (bits.astype(dtype), bits.astype(dtype)[:, np.newaxis]):
            value, found = gradient(logits, labels, **options)
            np.testing.assert_allclose(value, expected.value, rtol=1e-12)
            np.testing.assert_allclose(found, expected.gradients[0], rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.activations])
def test_one_channel_has_no_softmax(name: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)at least 2 classes.*activation='sigmoid'"):
        getattr(fl, name)(np.zeros((2, 1, 4)), np.zeros((2, 4), int))


@pytest.mark.parametrize(("name", "options"), INDEPENDENT)
def test_what_does_not_count_may_hold_anything(
    name: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    """Labels that are ignored, pixels and classes of weight 0: no value, gradient exactly 0."""
    shape = (2, 3, 40)
    logits = chances(name, options, shape, rng)
    labels = rng.integers(0, 2, shape)
    silent = rng.random(shape) < 0.3
    labels[silent] = 255
    v, w = rng.uniform(0.5, 2, (2, 40)), np.array([1.0, 0.0, 2.0])
    v[:, :5] = 0
    silent[..., :5] = silent[:, 1] = True
    options = {**options, "sample_weight": v, "class_weight": w, "ignore_index": 255}
    function = fl.value_and_grad(getattr(fl, name))
    usual = function(logits, labels, **options)
    assert np.isfinite(usual[0])
    for content in (np.nan, np.inf, -np.inf):
        odd = function(np.where(silent, content, logits), labels, **options)
        assert odd[0] == usual[0]
        assert_same_bits(odd[1], usual[1])
        assert np.all(odd[1][silent] == 0)


@each_loss
def test_classes_of_weight_0_are_a_background_left_out(name: str, rng: np.random.Generator) -> None:
    logits, target = Case(name, LOSSES[name], {}, "ignored").draw((3, 4, 50), "float64", rng)
    if name == "dice_ce_loss":
        return  # whose cross-entropy has the weights, and the background
    without = fl.value_and_grad(getattr(fl, name))(logits, target, include_background=False)
    silent = fl.value_and_grad(getattr(fl, name))(logits, target, class_weight=[0.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(without[0], silent[0], rtol=1e-14)
    np.testing.assert_allclose(without[1], silent[1], rtol=1e-12, atol=1e-16)


@each_loss
def test_images_together_are_one_image(name: str, rng: np.random.Generator) -> None:
    logits, target = Case(name, LOSSES[name], {}, "ignored").draw((3, 4, 50), "float64", rng)
    joined = np.moveaxis(logits, 0, 1).reshape(1, 4, 150), target.reshape(1, 150)
    function = fl.value_and_grad(getattr(fl, name))
    together = function(logits, target, batch=True)
    one = function(*joined, batch=False)
    np.testing.assert_allclose(together[0], one[0], rtol=1e-14)
    gradient = np.moveaxis(one[1].reshape(4, 3, 50), 0, 1)
    np.testing.assert_allclose(together[1], gradient, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("name", "activation"), ACTIVATED)
def test_same_bits_of_options_for_any_number_of_threads(
    name: str, activation: str | None, dtype: str, rng: np.random.Generator
) -> None:
    shape = (3, 4, 211, 103)
    given = {"activation": activation, "class_weight": True, "sample_weight": True}
    case = Case(name, LOSSES[name], given, "ignored")
    logits, target = case.draw(shape, dtype, rng)
    options = {**case.options, **case.weights(shape, rng)}
    results = set()
    for count in (1, 2, 3, 7):
        value, gradient = fl.value_and_grad(getattr(fl, name))(
            logits, target, num_threads=count, **options
        )
        results.add((value, gradient.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("name", SORTED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sorted_errors_of_many_pixels(name: str, dtype: str, rng: np.random.Generator) -> None:
    """Enough that a sort has several passes; most errors are small, and some equal."""
    case = Case(name, LOSSES[name], {}, "index")
    logits, target = case.draw((2, 3, 20_000), dtype, rng)
    logits[0] *= np.asarray(8, dtype)
    expected = truth(case, logits, target, batch=False)
    for isa in ISAS:
        with instruction_set(isa):
            value = getattr(fl, name)(logits, target, batch=False)
            assert_value(value, expected.value, logits.dtype)


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
@each_loss
def test_class_indices_of_every_dtype(name: str, dtype: str, rng: np.random.Generator) -> None:
    logits, target = Case(name, LOSSES[name], {}, "index").draw((2, 9, 50), "float32", rng)
    expected = fl.value_and_grad(getattr(fl, name))(logits, target)
    actual = fl.value_and_grad(getattr(fl, name))(logits, target.astype(dtype))
    assert actual[0] == expected[0]
    assert_same_bits(actual[1], expected[1])


@each_loss
def test_ignore_index(name: str, rng: np.random.Generator) -> None:
    case = Case(name, LOSSES[name], {}, "index")
    logits, target = case.draw((2, 4, 30), "float32", rng)
    assert_right(case, logits, target, ignore_index=2)


@each_dtype
@each_loss
def test_strides(name: str, dtype: str, rng: np.random.Generator) -> None:
    case = Case(name, LOSSES[name], {}, "index")
    logits, target = case.draw((2, 5, 6, 7), dtype, rng)
    channels_last = np.moveaxis(np.moveaxis(logits, 1, -1).copy(), -1, 1)
    gapped = np.repeat(logits, 2, axis=-1)[..., ::2]
    for given in (channels_last, logits.copy(order="F"), gapped, np.flip(np.flip(logits).copy())):
        assert_right(case, given, target[::-1].copy()[::-1])
        out = np.empty_like(given)
        value, same = fl.value_and_grad(getattr(fl, name))(given, target, out=out)
        assert same is out
        again, gradient = fl.value_and_grad(getattr(fl, name))(given, target)
        assert again == value
        assert_same_bits(out, gradient)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4, 211, 103), (1, 21, 5003)], ids=str)
@each_loss
def test_same_bits_for_any_number_of_threads(
    name: str, shape: Shape, dtype: str, rng: np.random.Generator
) -> None:
    logits, target = Case(name, LOSSES[name], {}, "ignored").draw(shape, dtype, rng)
    results = set()
    for count in (1, 2, 3, 7):
        value, gradient = fl.value_and_grad(getattr(fl, name))(logits, target, num_threads=count)
        results.add((value, gradient.tobytes()))
    assert len(results) == 1


# ---- Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SORTED)
def test_labels_that_are_sorted_are_0_or_1(name: str) -> None:
    labels = np.zeros((2, 3, 4))
    labels[1, 2, 3] = 0.5
    assert_raises(
        name, ValueError, r"target\[1, 2, 3\] is 0.5: expected a label, 0 or 1", target=labels
    )


@each_loss
def test_bad_options_of_all(name: str) -> None:
    v = np.ones((2, 5), "float32")
    assert_raises(name, ValueError, r"(?s)sample_weight.*\(2, 5\).*\(2, 4\)", sample_weight=v)
    assert_raises(name, TypeError, "sample_weight.*float", sample_weight=np.ones((2, 4), int))
    assert_raises(name, ValueError, r"(?s)class_weight.*\(2,\).*\(3,\)", class_weight=v[:, 0])
    assert_raises(name, TypeError, "class_weight.*float", class_weight=np.ones(3, int))
    for option in ("batch", "include_background"):
        assert_raises(
            name, TypeError, f"{option} is 'yes': expected True or False", **{option: "yes"}
        )
        assert_raises(name, ValueError, f"{option} is 2: expected True or False", **{option: 2})
    if LOSSES[name].activations:
        assert_raises(
            name, ValueError, "activation is 'relu': expected 'softmax'", activation="relu"
        )
    one = {"logits": np.zeros((2, 1, 4), "float32"), "target": np.zeros((2, 4), int)}
    more = {} if name == OF_HINGE else {"activation": "sigmoid"}
    bare = {**one, **more, "include_background": False}
    with pytest.raises(ValueError, match="more than the background"):
        getattr(fl, name)(**bare)


@pytest.mark.usefixtures("isa")
def test_sure_labels_keep_their_slopes() -> None:
    """Where a label is all but certain: exp(-|z|) to the rounding of float32, and not 0."""
    z = np.linspace(3, 60, 200, dtype=np.float32).reshape(1, 1, 200)
    logits = np.concatenate([z, -z], axis=1)
    target = np.concatenate([np.ones_like(z), np.zeros_like(z)], axis=1)
    _, gradient = fl.value_and_grad(fl.dice_ce_loss)(
        logits, target, activation="sigmoid", lambda_dice=0.0, reduction="sum"
    )
    rest = 1 / (1 + np.exp(z.astype(np.float64)))
    exact = np.concatenate([-rest, rest], axis=1)
    scale = gradient[0, 1, 0] / exact[0, 1, 0]  # what the mean over labels divides by
    # an exponential, a division, three products
    np.testing.assert_allclose(gradient, scale * exact, rtol=8 * np.finfo(np.float32).eps)


def test_cross_entropy_is_of_logits() -> None:
    match = "activation is None: expected 'softmax' or 'sigmoid'"
    assert_raises("dice_ce_loss", ValueError, match, activation=None)
    for value in (-0.1, 1.5):
        match = f"label_smoothing is {value}: expected a number from 0 to 1"
        assert_raises("dice_ce_loss", ValueError, match, label_smoothing=value)


CANARY = -12345.0
SHAPE = (2, 3, 4)
VALID: dict[str, Any] = {
    "logits": np.linspace(-1, 1, 24, dtype="float32").reshape(SHAPE),
    "target": np.arange(8).reshape(2, 4) % 3,
}


def assert_raises(name: str, error: type[Exception], match: str, **spoiled: Any) -> None:
    """Value, and value and gradient, raise; neither out nor any input is written."""
    arguments = {**VALID, **spoiled}
    out = arguments.pop("out", np.full(SHAPE, CANARY, "float32"))
    positional = [arguments.pop(argument) for argument in VALID]
    arrays = [x for x in (*positional, out) if isinstance(x, np.ndarray)]
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
def test_bad_logits(name: str) -> None:
    for dtype in ("int64", "bool", "complex64"):
        spoiled = np.ones(SHAPE, int).astype(dtype)
        assert_raises(name, TypeError, "(?s)logits.*dtype.*float32", logits=spoiled)
    assert_raises(name, TypeError, "logits", logits=None)
    assert_raises(name, ValueError, "logits", logits=np.zeros((2, 0, 4), "float32"))


@each_loss
def test_bad_targets(name: str) -> None:
    for shape in ((2,), (2, 5), (3, 4), (2, 4, 1)):
        match = rf"(?s)target.*\({', '.join(map(str, shape))}"
        assert_raises(name, ValueError, match, target=np.zeros(shape, int))
    assert_raises(name, TypeError, "(?s)target.*dtype.*integer", target=np.zeros((2, 4)))
    target = VALID["target"].copy()
    target[1, 2] = 5
    match = r"(?s)target\[1, 2\] is 5.*3 classes.*ignore_index -100"
    assert_raises(name, IndexError, match, target=target)


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
def test_other_options(name: str) -> None:
    for option in LOSSES[name].bad:
        assert_raises(name, TypeError, option, **{option: "1"})
    assert_raises(name, ValueError, "reduction", reduction="batchmean")
    if "none" not in LOSSES[name].reductions:
        assert_raises(name, ValueError, "(?s)reduction.*none.*mean.*sum", reduction="none")
    assert_raises(name, TypeError, "ignore_index", ignore_index=1.5)
    assert_raises(name, ValueError, "num_threads.*0", num_threads=0)


@each_loss
def test_bad_outputs(name: str) -> None:
    match = r"(?s)out.*\(2, 4, 3\).*\(2, 3, 4\)"
    assert_raises(name, ValueError, match, out=np.full((2, 4, 3), CANARY, "float32"))
    assert_raises(name, TypeError, "(?s)out.*dtype.*float32", out=np.zeros(SHAPE))
    memory = np.full(48, 0.5, "float32")
    overlapping = {"out": memory[3:27].reshape(SHAPE), "logits": memory[:24].reshape(SHAPE)}
    assert_raises(name, ValueError, "(?s)out.*overlap.*logits", **overlapping)
