"""The options that every loss of logits shares: weights, softcap, z_loss, bonus, outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import Case, Options
from checks import (
    DTYPES,
    assert_loss_right,
    assert_quantity,
    assert_same_bits,
    compute_dtype,
    eps,
    softmax_ulps,
    truth_dtype,
)
from parts import Array
from reference import class_axis, cross_entropy, outputs

#: Short rows in lanes, rows at and beyond the length where they change their kernel, rows longer
#: than a tile, and the same with positions behind the classes.
SHAPES: tuple[tuple[int, ...], ...] = (
    (7,),
    (33, 10),
    (5, 128),
    (4, 129),
    (2, 5003),
    (3, 9, 17),
    (2, 130, 5),
    (1, 3, 2, 301),
)

OPTIONS = (
    Options(sample_weight=True),
    Options(softcap=4.0),
    Options(z_loss=0.25),
    Options(sample_weight=True, weight=True, ignore="default"),
    Options(softcap=3.0, label_smoothing=0.1),
    Options(z_loss=1e-3, weight=True, ignore="class"),
    Options(entropy_bonus=0.5),
    Options("probability", weight=True, sample_weight=True, softcap=4.0, entropy_bonus=-0.25),
    Options("probability", sample_weight=True),
    Options("probability", weight=True, softcap=5.0, z_loss=0.1, label_smoothing=0.2),
    Options(
        weight=True,
        ignore="default",
        label_smoothing=0.05,
        sample_weight=True,
        softcap=2.0,
        z_loss=0.5,
    ),
)

LOGITS = ("normal", "wide", "shifted", "ties", "masked")

#: Every shape with every option; the logits walk in step.
CASES = tuple(
    Case(shape, options, LOGITS[(i + j) % len(LOGITS)])
    for i, shape in enumerate(SHAPES)
    for j, options in enumerate(OPTIONS)
)

GRAD = fl.value_and_grad(fl.cross_entropy)

NAMES: tuple[Any, ...] = ("lse", "entropy", "accuracy", "log_prob")


def positions_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    axis = class_axis(len(shape))
    return shape[:axis] + shape[axis + 1 :]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient(case: Case, dtype: str, rng: np.random.Generator) -> None:
    logits, target, options = case.build(dtype)
    if case.logits == "masked" and (case.options.label_smoothing or case.options.z_loss):
        logits = np.where(np.isneginf(logits), -9, logits).astype(dtype)  # else the loss is inf
    rows = rng.normal(size=positions_of(case.shape))
    assert_loss_right(
        "cross_entropy", logits, target, reduction="none", grad_output=rows, **options
    )
    reduction = ("mean", "sum")[CASES.index(case) % 2]
    assert_loss_right(
        "cross_entropy", logits, target, reduction=reduction, grad_output=-2.5, **options
    )


# ---- Sample weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(6, 4), (6, 200)], ids=str)
def test_whole_sample_weights_repeat_rows(
    isa: str, shape: tuple[int, int], reduction: Any, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=shape)
    target = rng.integers(0, shape[1], size=6)
    counts = np.array([1, 0, 3, 2, 1, 1])
    weight = rng.uniform(0.5, 2, size=shape[1])
    options: dict[str, Any] = {"weight": weight, "reduction": reduction, "z_loss": 0.1}
    value, gradient = GRAD(logits, target, sample_weight=counts.astype(float), **options)
    repeated, each = GRAD(np.repeat(logits, counts, 0), np.repeat(target, counts), **options)
    np.testing.assert_allclose(value, repeated, rtol=1e-14)  # a few roundings of float64
    ends = np.cumsum(counts)
    for row, (end, count) in enumerate(zip(ends, counts, strict=True)):
        together = each[end - count : end].sum(axis=0)
        np.testing.assert_allclose(gradient[row], together, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("weight_dtype", ["float16", "bfloat16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(9, 4), (3, 200), (3, 4, 3)], ids=str)
def test_sample_weight_of_any_float_dtype(
    isa: str, shape: tuple[int, ...], dtype: str, weight_dtype: str, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=shape).astype(dtype)
    target = rng.integers(0, shape[1], size=positions_of(shape))
    weight = (np.arange(target.size) * 0.25).reshape(target.shape)  # exact in every float dtype
    expected = GRAD(logits, target, sample_weight=weight)
    actual = GRAD(logits, target, sample_weight=weight.astype(weight_dtype))
    assert actual[0] == expected[0]
    assert_same_bits(actual[1], expected[1])


@pytest.mark.parametrize("strides", ["gapped", "reversed", "fortran", "broadcast"])
def test_sample_weight_of_any_strides(isa: str, strides: str, rng: np.random.Generator) -> None:
    for shape in ((9, 4), (3, 200), (4, 5, 6)):
        logits = rng.normal(size=shape).astype("float32")
        target = rng.integers(0, shape[1], size=positions_of(shape))
        plain = rng.uniform(0.5, 2, size=target.shape).astype("float32")
        odd: Array = plain
        if strides == "gapped":
            odd = np.repeat(plain, 2, axis=-1)[..., ::2]
        elif strides == "reversed":
            odd = plain[::-1].copy()[::-1]
        elif strides == "fortran":
            odd = plain.copy(order="F")
        else:
            odd = np.broadcast_to(np.float32(1.5), target.shape)
        assert_loss_right("cross_entropy", logits, target, sample_weight=odd, reduction="none")


def test_sample_weight_of_an_unbatched_loss() -> None:
    logits = np.array([1.0, 2.0, 4.0])
    for weight in (2.0, np.float32(2), np.array(2.0)):
        value = fl.cross_entropy(logits, 2, sample_weight=weight, reduction="sum")
        np.testing.assert_allclose(value, 2 * 0.169846, atol=1e-6)  # log(1 + e^-2 + e^-3)
        np.testing.assert_allclose(
            fl.cross_entropy(logits, 2, sample_weight=weight), 0.169846, atol=5e-7
        )


def test_mean_divides_by_the_product_of_the_weights() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]])
    weight, sample_weight = np.array([1.0, 3.0]), np.array([0.5, 2.0, 7.0])
    options: dict[str, Any] = {"weight": weight, "sample_weight": sample_weight}
    rows = fl.cross_entropy(logits, [0, 1, -100], reduction="none", **options)
    assert rows[2] == 0
    mean = fl.cross_entropy(logits, [0, 1, -100], **options)
    np.testing.assert_allclose(mean, (rows[0] + rows[1]) / (0.5 * 1 + 2 * 3), rtol=1e-15)
    probabilities = np.eye(2)[[0, 1, 0]]
    rows = fl.cross_entropy(logits, probabilities, reduction="none", **options)
    mean = fl.cross_entropy(logits, probabilities, **options)
    np.testing.assert_allclose(mean, rows.sum() / 9.5, rtol=1e-15)  # one division


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 3), (4, 200), (1, 3, 4)], ids=str)
@pytest.mark.parametrize("options", [{}, {"z_loss": 0.5}, {"softcap": 3.0}], ids=str)
def test_ignored_rows_may_hold_anything(
    shape: tuple[int, ...], dtype: str, options: dict[str, Any]
) -> None:
    """NaN and infinities in an ignored row, or in its sample weight, go nowhere."""
    axis = class_axis(len(shape))
    logits = np.linspace(-1, 1, np.prod(shape)).reshape(shape).astype(dtype)
    target = np.array([0, -100, 2, -100]).reshape(positions_of(shape))
    weight = np.array([1, np.nan, 0.5, np.inf]).reshape(target.shape).astype(dtype)
    rows = np.moveaxis(logits, axis, -1).reshape(4, -1)
    spoiled = rows.copy()
    spoiled[1] = np.nan
    spoiled[3] = np.inf
    spoiled = np.moveaxis(spoiled.reshape(*target.shape, -1), -1, axis)
    for reduction in ("none", "mean", "sum"):
        options = {**options, "reduction": reduction, "outputs": NAMES}
        (value, extra), gradient = GRAD(spoiled, target, sample_weight=weight, **options)
        clean = np.where(np.isfinite(weight), weight, 0).astype(dtype)
        (expected, kept), same = GRAD(logits, target, sample_weight=clean, **options)
        assert_same_bits(value, expected)
        assert_same_bits(gradient, same)
        assert np.all(np.moveaxis(gradient, axis, -1)[target == -100] == 0)
        for name, array in extra.items():
            assert_same_bits(array, kept[name])
            assert np.all(array[target == -100] == 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_of_no_weight_may_have_an_infinite_loss(isa: str, dtype: str) -> None:
    for shape in ((2, 3), (2, 200), (1, 3, 2)):
        logits = np.zeros(shape, dtype)
        logits[:, 1] = -np.inf
        weight = np.zeros(positions_of(shape), dtype)
        for target in (1, 0):
            labels = np.full(weight.shape, target)
            for loss in (fl.cross_entropy, fl.focal_loss):
                value, gradient = fl.value_and_grad(loss)(
                    logits, labels, sample_weight=weight, reduction="sum"
                )
                assert value == 0
                assert np.all(gradient == 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sample_weights_that_sum_to_zero(isa: str, dtype: str) -> None:
    for logits in (np.ones((2, 3), dtype), np.ones((2, 200), dtype), np.ones((1, 3, 2), dtype)):
        weight = np.zeros(positions_of(logits.shape), dtype)
        target = np.ones(weight.shape, int)
        for options in ({}, {"z_loss": 0.5}):
            value, gradient = GRAD(logits, target, sample_weight=weight, **options)
            assert np.isnan(value)
            assert np.all(gradient == 0)


# ---- Soft-capped logits ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cap", [0.5, 4.0, 30.0])
def test_softcap_is_the_loss_of_capped_logits(
    isa: str, cap: float, dtype: str, rng: np.random.Generator
) -> None:
    for shape in SHAPES:
        logits = (rng.normal(size=shape) * cap).astype(dtype)
        target = rng.integers(0, shape[class_axis(len(shape))], size=positions_of(shape))
        capped = (cap * np.tanh(logits.astype(float) / cap)).astype(dtype)
        actual = fl.cross_entropy(logits, target, softcap=cap)
        # capped logits of up to cap are off by some 5 ULP of themselves on the one side, and by
        # half an ULP on the other
        np.testing.assert_allclose(
            actual,
            fl.cross_entropy(capped, target),
            rtol=16 * eps(dtype),
            atol=12 * cap * eps(dtype),
        )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 200), (1, 3, 2)], ids=str)
def test_softcap_saturates(shape: tuple[int, ...], dtype: str) -> None:
    """Logits far beyond the cap, -inf among them, stand at it; their gradient is 0."""
    axis = class_axis(len(shape))
    logits = np.zeros(shape, dtype)
    by_class = np.moveaxis(logits, axis, 0)
    by_class[0], by_class[1] = 1e4, -np.inf
    target = np.ones(positions_of(shape), int)
    value, gradient = GRAD(logits, target, softcap=2.0, reduction="none")
    others = shape[axis] - 2
    expected = np.log(np.exp(2) + np.exp(-2) + others) + 2
    np.testing.assert_allclose(value.astype(float), expected, rtol=8 * eps(dtype))
    by_class = np.moveaxis(gradient, axis, 0)
    assert np.all(by_class[:2] == 0)
    p = 1 / (np.exp(2) + np.exp(-2) + others)
    np.testing.assert_allclose(by_class[2:].astype(float), p, rtol=16 * eps(dtype))


# ---- z-loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 5), (6, 200), (2, 5, 3)], ids=str)
@pytest.mark.parametrize("probabilities", [False, True])
def test_z_loss_adds_the_square_of_lse(
    isa: str, shape: tuple[int, ...], probabilities: bool, rng: np.random.Generator
) -> None:
    """Its mean counts positions, whatever the class weights; nothing where ignored."""
    logits = rng.normal(size=shape) + 2
    rows = positions_of(shape)
    target = rng.integers(0, 5, size=rows)
    target.flat[2] = -100
    counted = target != -100
    if probabilities:
        target.flat[2] = 2
        target, counted = np.moveaxis(np.eye(shape[1])[target], -1, 1), np.ones(rows, bool)
    weight, v = rng.uniform(0.5, 2, size=shape[1]), rng.uniform(0.5, 2, size=rows)
    square = np.where(counted, fl.logsumexp(logits, axis=1) ** 2, 0)
    options: dict[str, Any] = {"weight": weight, "sample_weight": v, "label_smoothing": 0.1}
    expected = {
        "none": 0.3 * v * square,
        "sum": 0.3 * (v * square).sum(),
        "mean": 0.3 * (v * square).sum() / v[counted].sum(),
    }
    for reduction, extra in expected.items():
        options["reduction"] = reduction
        plain = fl.cross_entropy(logits, target, **options)
        with_z = fl.cross_entropy(logits, target, z_loss=0.3, **options)
        np.testing.assert_allclose(with_z, plain + extra, rtol=1e-14)  # roundings of float64


# ---- Extra outputs -----------------------------------------------------------------------------

OUTPUT_CASES = tuple(
    Case(shape, options, logits)
    for shape, logits in zip(
        SHAPES,
        ("normal", "masked", "shifted", "ties", "normal", "wide", "ties", "cauchy"),
        strict=True,
    )
    for options in (
        Options(),
        Options(weight=True, ignore="default", label_smoothing=0.1, sample_weight=True, z_loss=0.1),
        Options("probability", sample_weight=True),
        Options(softcap=4.0, ignore="class"),
    )
)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", OUTPUT_CASES, ids=str)
def test_outputs(case: Case, dtype: str) -> None:
    logits, target, options = case.build(dtype)
    if case.logits == "cauchy":
        logits = np.clip(logits, -1e4, 1e4).astype(dtype)  # no infinities in float16
    named = {key: options[key] for key in ("ignore_index", "softcap") if key in options}
    truth = outputs(logits, target, dtype=truth_dtype(dtype), **named)
    plain = GRAD(logits, target, **options)
    ulps = softmax_ulps(logits.shape[class_axis(logits.ndim)])
    names = tuple(name for name in NAMES if name in truth)
    for reduction in ("none", "mean", "sum"):
        options["reduction"] = reduction
        value, arrays = fl.cross_entropy(logits, target, outputs=names, **options)
        (with_grad, with_arrays), gradient = GRAD(logits, target, outputs=names, **options)
        assert_same_bits(value, with_grad)
        assert tuple(arrays) == tuple(with_arrays) == names
        for name, array in arrays.items():
            assert array.shape == positions_of(case.shape)
            assert_quantity(array, truth[name], compute_dtype(dtype), ulps)
            assert_same_bits(array, with_arrays[name])
        if reduction == "mean":
            # the same gradient, whatever else was asked for
            assert_same_bits(value, plain[0])
            assert_same_bits(gradient, plain[1])


def test_some_outputs(isa: str, rng: np.random.Generator) -> None:
    for shape in ((9, 10), (3, 300), (2, 10, 7)):
        logits = rng.normal(size=shape).astype("float32")
        target = rng.integers(0, 10, size=positions_of(shape))
        _, every = fl.cross_entropy(logits, target, outputs=NAMES)
        some_names: list[Any] = [("lse",), ("accuracy", "entropy"), ["entropy"], ["log_prob"]]
        for names in some_names:
            _, some = fl.cross_entropy(logits, target, outputs=names)
            assert list(some) == list(names)
            for name in names:
                assert_same_bits(some[name], every[name])
        assert isinstance(fl.cross_entropy(logits, target, outputs=()), float)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [5, 40, 300])
@pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])
def test_accuracy_takes_the_first_maximum(classes: int, columns: bool, dtype: str) -> None:
    rows = np.zeros((classes, classes), dtype)
    for i in range(classes):
        rows[i, i:] = 2  # the maximum, from i on
    rows[-1, 0] = -np.inf
    target = np.arange(classes)
    logits = np.ascontiguousarray(rows.T)[None] if columns else rows
    labels = target[None] if columns else target
    for softcap in (None, 0.01):  # beside the cap all are equal, but the logits are not
        _, arrays = fl.cross_entropy(logits, labels, outputs=("accuracy",), softcap=softcap)
        np.testing.assert_array_equal(arrays["accuracy"].ravel(), 1)
        _, arrays = fl.cross_entropy(
            logits, np.minimum(labels + 1, classes - 1), outputs=("accuracy",), softcap=softcap
        )
        np.testing.assert_array_equal(arrays["accuracy"].ravel(), (target == classes - 1) * 1.0)
    # of a distribution its first maximum is the target class
    tied = np.where(target >= target[:, None], 1.0, 0.25)
    tied = np.ascontiguousarray(tied.T)[None] if columns else tied
    _, arrays = fl.cross_entropy(logits, tied, outputs=("accuracy",))
    np.testing.assert_array_equal(arrays["accuracy"].ravel(), 1)


def test_worked_outputs() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    value, arrays = fl.cross_entropy(logits, [0, 2], outputs=NAMES, reduction="sum")
    np.testing.assert_allclose(value, np.log(20), rtol=1e-15)
    np.testing.assert_allclose(arrays["lse"], 0, atol=1e-15)
    np.testing.assert_allclose(arrays["entropy"], [1.0397208, 0.6390319], atol=5e-8)  # by hand
    np.testing.assert_array_equal(arrays["accuracy"], [1, 0])
    np.testing.assert_allclose(arrays["log_prob"], np.log([0.5, 0.1]), rtol=1e-15)


def test_probabilities_have_no_log_prob() -> None:
    match = "outputs holds 'log_prob': expected class indices, target has probabilities"
    logits, target = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match=match):
        fl.cross_entropy(logits, target, outputs=("log_prob",))
    with pytest.raises(ValueError, match=match):
        fl.linear_cross_entropy(logits, np.eye(3), target, outputs=("log_prob",))


def test_outputs_of_special_rows(isa: str) -> None:
    inf, nan = np.inf, np.nan
    rows = [[0, -inf, 0], [-inf, -inf, -inf], [nan, 0, 0], [1e4, -1e4, 1e4], [3, -inf, -inf]]
    expected_lse = [np.log(2), -inf, nan, 1e4 + np.log(2), 3]
    expected_entropy = [np.log(2), nan, nan, np.log(2), 0]
    expected_log_prob = [-np.log(2), nan, nan, -np.log(2), 0]
    for dtype in ("float32", "float64"):
        for columns in (False, True):
            logits = np.array(rows, dtype)
            logits = np.ascontiguousarray(logits.T)[None] if columns else logits
            target = np.zeros(positions_of(logits.shape), int)
            _, arrays = fl.cross_entropy(logits, target, outputs=NAMES, reduction="none")
            np.testing.assert_allclose(arrays["lse"].ravel(), expected_lse, rtol=2 * eps(dtype))
            np.testing.assert_allclose(
                arrays["entropy"].ravel(), expected_entropy, rtol=8 * eps(dtype)
            )
            np.testing.assert_allclose(
                arrays["log_prob"].ravel(), expected_log_prob, rtol=2 * eps(dtype)
            )
            ruled_out = np.ones_like(target)
            _, arrays = fl.cross_entropy(logits, ruled_out, outputs=NAMES, reduction="none")
            assert arrays["log_prob"].ravel()[0] == -inf


# ---- Where results go, and who computes them ---------------------------------------------------

EVERYTHING = Options(
    weight=True,
    ignore="default",
    label_smoothing=0.1,
    sample_weight=True,
    softcap=4.0,
    z_loss=0.1,
)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_place_and_into_strides(shape: tuple[int, ...], dtype: str) -> None:
    logits, target, options = Case(shape, EVERYTHING).build(dtype)
    for reduction in ("none", "mean"):
        options["reduction"] = reduction
        value, gradient = GRAD(logits, target, **options)
        buffer = logits.copy()
        in_place, same = GRAD(buffer, target, out=buffer, **options)
        assert same is buffer
        assert_same_bits(in_place, value)
        assert_same_bits(same, gradient)
        # with gaps a call may take another path; what lies between stays as it is
        memory = np.full((*shape[:-1], 2 * shape[-1]), -7, dtype)
        assert_loss_right("cross_entropy", logits, target, out=memory[..., ::2], **options)
        assert np.all(memory[..., 1::2] == -7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(20_011, 10), (1021, 257), (2, 21, 5003), (2, 150_001)], ids=str)
def test_same_bits_for_any_number_of_threads(shape: tuple[int, ...], dtype: str) -> None:
    logits, target, options = Case(shape, EVERYTHING).build(dtype)
    results = set()
    for count in (1, 2, 3, 7):
        (value, arrays), gradient = GRAD(
            logits, target, outputs=NAMES, num_threads=count, **options
        )
        alone = fl.cross_entropy(logits, target, num_threads=count, **options)
        assert value == alone
        results.add((value, gradient.tobytes(), *(x.tobytes() for x in arrays.values())))
    assert len(results) == 1


def test_options_at_their_defaults_change_no_bit(isa: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        logits = rng.normal(size=shape).astype("float32")
        target = rng.integers(0, 3, size=positions_of(shape))
        plain = GRAD(logits, target)
        spelt_out = GRAD(logits, target, sample_weight=None, softcap=None, z_loss=0.0, outputs=())
        assert plain[0] == spelt_out[0]
        assert_same_bits(plain[1], spelt_out[1])
        assert_same_bits(
            GRAD(logits, target, sample_weight=np.ones(target.shape, "f"))[1], plain[1]
        )


def test_more_dimensions_than_the_kernels_take(isa: str, rng: np.random.Generator) -> None:
    shape = (2, 3, 2, 1, 3, 2, 2, 2, 2, 2)
    logits = rng.normal(size=shape).astype("float32")
    rows = positions_of(shape)
    target = rng.integers(0, 3, size=rows)
    v = rng.uniform(0.5, 2, size=rows).astype("float32")
    assert_loss_right("cross_entropy", logits, target, sample_weight=v, reduction="none")
    _, arrays = fl.cross_entropy(logits, target, outputs=("lse",))
    truth = outputs(logits, target)["lse"]
    assert_quantity(arrays["lse"], truth, "float32", softmax_ulps(3))


def test_reference_of_options_in_one_line() -> None:
    """The oracle's option formulas against a value worked out by hand."""
    # softcap 1 of logits 0 and atanh(1/2): exponents 0 and 1/2; lse = log(1 + e^0.5)
    logits = np.array([[0.0, np.arctanh(0.5)]])
    lse = np.log1p(np.exp(0.5))
    for sample_weight, reduction, expected in (
        (np.array([3.0]), "sum", 3 * (lse - 0.5 + 2 * lse**2)),
        (np.array([3.0]), "mean", lse - 0.5 + 2 * lse**2),
    ):
        options: dict[str, Any] = {
            "softcap": 1.0,
            "z_loss": 2.0,
            "sample_weight": sample_weight,
            "reduction": reduction,
        }
        # a few roundings of float64
        np.testing.assert_allclose(
            cross_entropy(logits, [1], **options).value, expected, rtol=1e-15
        )
        np.testing.assert_allclose(fl.cross_entropy(logits, [1], **options), expected, rtol=1e-14)
