"""Losses of a linear layer's outputs that are held in part: distillation, and very many labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusedloss as fl
from checks import (
    DTYPES,
    assert_quantity,
    assert_same_bits,
    assert_within,
    compute_dtype,
    eps,
    quantity_tolerance,
    softmax_ulps,
    truth_dtype,
)
from conftest import ISAS, instruction_set
from parts import Array
from reference.linear import Layer, evaluate_distilled, evaluate_labelled
from test_linear import MEMORY

#: Workspaces with room for all rows or classes, for parts of them, and for as few as there may be.
WORKSPACES = (None, 9 * 2**20, 1)

#: Positions, features, the teacher's features, classes: see test_linear.py.
SIZES = (
    (0, 3, 2, 4),
    (1, 1, 1, 1),
    (1, 7, 3, 2),
    (33, 32, 16, 32),
    (31, 17, 40, 101),
    (70, 13, 5, 1),
    (130, 48, 24, 257),
    (530, 5, 6, 67),
    (21, 1030, 4, 26),
    (100, 8, 9, 3000),
)

DIVERGENCES: tuple[Any, ...] = ("forward", "reverse", "js")


@dataclass(frozen=True)
class Distilled:
    """One call's inputs, built on demand."""

    positions: int
    features: int
    of_teacher: int
    classes: int
    divergence: Any = "forward"
    temperature: float = 1.0
    alpha: float = 1.0
    target: bool = False
    sample_weight: bool = False
    reduction: Any = "mean"

    def build(self, dtype: Any) -> tuple[tuple[Array, ...], dict[str, Any]]:
        """Both layers, and keyword options; the same numbers in every run."""
        rng = np.random.default_rng(list(str(self).encode()))
        n, c = self.positions, self.classes
        layers = []
        for d in (self.features, self.of_teacher):
            layers.append(rng.normal(size=(n, d)).astype(dtype))
            layers.append((rng.normal(size=(c, d)) * 2 / np.sqrt(d)).astype(dtype))
        names = ("divergence", "temperature", "alpha", "reduction")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.target:
            options["target"] = np.where(rng.random(n) < 0.3, -100, rng.integers(0, c, size=n))
        if self.sample_weight:
            options["sample_weight"] = np.where(
                rng.random(n) < 0.2, 0, rng.uniform(0.25, 2, size=n)
            ).astype(dtype)
        return tuple(layers), options


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 2.5, "sample_weight": True},
    {"alpha": 0.3, "target": True},
    {"temperature": 0.5, "reduction": "none"},
    {"alpha": 0.0, "target": True, "reduction": "sum"},
)

CASES = tuple(
    Distilled(*size, divergence=divergence, **OPTIONS[(i + 2 * k) % len(OPTIONS)])
    for i, size in enumerate(SIZES)
    for k, divergence in enumerate(DIVERGENCES)
)

GRADIENTS = fl.value_and_grad(fl.linear_distillation_loss, argnums=(0, 1))
OF_LABELS = fl.value_and_grad(fl.linear_binary_cross_entropy, argnums=(0, 1))


def gradient_eps(dtype: Any) -> float:
    """What logits' gradients are rounded to where the CPU multiplies bfloat16."""
    return eps(dtype) / eps("float32") if dtype == "bfloat16" else 0.0


def assert_layer_right(
    value: Any, gradients: Any, truth: Layer, dtype: Any, classes: int, reduction: str
) -> None:
    ulps, terms = softmax_ulps(classes), truth.input.exact.shape[0]
    if reduction == "none":
        assert_quantity(value, truth.value, dtype, ulps)
    else:
        # losses of positions are rounded to the type that they are computed in
        allowed = quantity_tolerance(truth.value, compute_dtype(dtype), ulps + 1, terms=terms)
        assert_within(value, truth.value.exact, allowed)
    for gradient, quantity in zip(gradients, (truth.input, truth.weight), strict=True):
        assert_quantity(gradient, quantity, dtype, ulps, terms=terms)


def assert_distilled_right(
    layers: tuple[Array, ...],
    *,
    grad_output: Any = None,
    num_threads: int | None = None,
    workspace: int | None = None,
    **options: Any,
) -> None:
    call = {**options, "num_threads": num_threads, "workspace": workspace}
    value, gradients = GRADIENTS(*layers, grad_output=grad_output, **call)
    assert_same_bits(value, fl.linear_distillation_loss(*layers, **call))
    dtype = layers[0].dtype
    truth = evaluate_distilled(
        *layers,
        grad_output=grad_output,
        gradient_eps=gradient_eps(dtype),
        dtype=truth_dtype(dtype),
        **options,
    )
    reduction = options["reduction"]
    assert_layer_right(value, gradients, truth, dtype, len(layers[1]), reduction)


def labels_of(positions: int, classes: int, most: int = 5) -> Array:
    """Labels, some twice, and rows filled up with -1, one of them with nothing else."""
    rng = np.random.default_rng([positions, classes])
    target = rng.integers(0, classes, size=(positions, most))
    target[rng.random(target.shape) < 0.4] = -1
    target[:1] = -1
    target[1:2, :2] = classes - 1
    return target


def assert_labels_right(
    x: Array, weight: Array, target: Array, reduction: Any, grad_output: Any, **call: Any
) -> None:
    call["reduction"] = reduction
    value, gradients = OF_LABELS(x, weight, target, grad_output=grad_output, **call)
    assert_same_bits(value, fl.linear_binary_cross_entropy(x, weight, target, **call))
    truth = evaluate_labelled(
        *(x, weight, target),
        reduction=reduction,
        grad_output=grad_output,
        gradient_eps=gradient_eps(x.dtype),
        dtype=truth_dtype(x.dtype),
    )
    assert_layer_right(value, gradients, truth, x.dtype, len(weight), reduction)


def cotangents(reduction: str, positions: int, dtype: Any) -> Any:
    if reduction != "none":
        return None
    return np.linspace(-2, 3, positions).astype(compute_dtype(dtype))


# ---- Numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_distillation(isa: str, dtype: str, workspace: int | None) -> None:
    for case in CASES:
        layers, options = case.build(dtype)
        grad_output = cotangents(case.reduction, case.positions, dtype)
        try:
            assert_distilled_right(layers, grad_output=grad_output, workspace=workspace, **options)
        except AssertionError as error:
            error.add_note(str(case))
            raise


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_labels(isa: str, dtype: str, workspace: int | None) -> None:
    for i, (n, d, _, c) in enumerate(SIZES):
        case = Distilled(n, d, 1, c)
        (x, weight, *_), _ = case.build(dtype)
        reduction = ("mean", "sum", "none")[i % 3]
        grad_output = cotangents(reduction, n, dtype)
        target = labels_of(n, c)
        assert_labels_right(x, weight, target, reduction, grad_output, workspace=workspace)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_combination_of_options(data: st.DataObject) -> None:
    draw = data.draw
    case = Distilled(
        draw(st.integers(1, 80)),
        draw(st.integers(1, 70)),
        draw(st.integers(1, 70)),
        draw(st.integers(1, 150)),
        divergence=draw(st.sampled_from(DIVERGENCES)),
        temperature=draw(st.sampled_from((0.5, 1.0, 3.0))),
        alpha=draw(st.sampled_from((0.0, 0.4, 1.0))),
        target=draw(st.booleans()),
        sample_weight=draw(st.booleans()),
        reduction=draw(st.sampled_from(("none", "mean", "sum"))),
    )
    layers, options = case.build(draw(st.sampled_from(DTYPES)))
    workspace = draw(st.sampled_from(WORKSPACES))
    with instruction_set(draw(st.sampled_from(ISAS))):
        assert_distilled_right(layers, workspace=workspace, **options)
        target = labels_of(case.positions, case.classes)
        x, weight = layers[:2]
        assert_labels_right(x, weight, target, case.reduction, None, workspace=workspace)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_as_the_loss_of_logits(isa: str, dtype: str, divergence: Any) -> None:
    """Identity weights: the logits are the inputs, and so are both losses."""
    rng = np.random.default_rng(0)
    z, t = (rng.normal(size=(40, 24)).astype(dtype) for _ in range(2))
    one = np.eye(24, dtype=dtype)
    y = rng.integers(0, 24, 40)
    value = fl.linear_distillation_loss(
        z, one, t, one, target=y, temperature=2.0, alpha=0.5, divergence=divergence
    )
    if divergence == "forward":
        expected = fl.distillation_loss(z, t, y, temperature=2.0)
    else:
        truth = evaluate_distilled(
            *(z, one, t, one, y), temperature=2.0, alpha=0.5, divergence=divergence
        )
        expected = float(truth.value.exact)
    np.testing.assert_allclose(value, expected, rtol=64 * eps(compute_dtype(dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_teachers_of_any_dtype(isa: str, dtype: str) -> None:
    (x, w, y, v), options = Distilled(33, 8, 9, 40).build("float32")
    y, v = y.astype("float16"), v.astype("float16")
    expected = fl.linear_distillation_loss(x, w, y, v, **options)
    value = fl.linear_distillation_loss(x, w, y.astype(dtype), v.astype(dtype), **options)
    steps = 2.0**-6 if dtype == "bfloat16" else 64 * eps("float32")
    np.testing.assert_allclose(value, expected, rtol=steps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("workspace", WORKSPACES)
def test_same_bits_for_any_number_of_threads(
    isa: str, dtype: str, workspace: int | None, num_threads: int
) -> None:
    for size in ((530, 16, 4, 200), (100, 8, 8, 3000)):
        layers, options = Distilled(*size, target=True, alpha=0.5).build(dtype)
        target = labels_of(size[0], size[-1])
        for function, arguments, given_options in (
            (GRADIENTS, layers, options),
            (OF_LABELS, (*layers[:2], target), {}),
        ):
            call = {**given_options, "workspace": workspace}
            one = function(*arguments, num_threads=1, **call)
            many = function(*arguments, num_threads=num_threads, **call)
            assert one[0] == many[0]
            for left, right in zip(one[1], many[1], strict=True):
                assert_same_bits(left, right)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_student_that_is_its_teacher(isa: str, divergence: Any) -> None:
    (x, w, *_), _ = Distilled(50, 12, 1, 300).build("float32")
    value, gradients = GRADIENTS(x, w, x, w, divergence=divergence)
    assert value == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_near_and_far_from_the_teacher(isa: str, dtype: str, divergence: Any) -> None:
    """Losses keep their digits near 0, are not negative, and are finite far away."""
    rng = np.random.default_rng(0)
    one = np.eye(64, dtype=dtype)
    t = rng.normal(size=(20, 64)).astype(dtype)
    for step in (2.0**-8, 2.0**-4, 1.0, 64.0, 4096.0):
        z = (t + step * rng.integers(-2, 3, t.shape)).astype(dtype)
        value, (by_input, _) = GRADIENTS(z, one, t, one, divergence=divergence)
        truth = evaluate_distilled(*(z, one, t, one), divergence=divergence, dtype=np.longdouble)
        assert value >= 0
        # of steps near 0 some ulps are an eps / step; far ones are rounded as differences
        allowed = (64 + 16 / step + 4 * step) * eps(dtype)
        np.testing.assert_allclose(value, float(truth.value.exact), rtol=allowed)
        if step > 1:  # where the likely classes are as likely, their gradients are what is left
            assert np.isfinite(by_input).all()
            continue
        largest = np.abs(truth.input.exact).max()
        np.testing.assert_allclose(by_input, truth.input.exact, rtol=0, atol=allowed * largest)


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_strides(isa: str, dtype: str) -> None:
    (x, w, y, v), options = Distilled(67, 33, 8, 45).build(dtype)
    target = labels_of(67, 45)
    turned = np.ascontiguousarray(w.T).T
    backwards = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    out = np.empty(x.shape[::-1], x.dtype).T, np.empty((45, 66), x.dtype)[:, ::2]
    for function, others, given_options in (
        (GRADIENTS, (y, v), options),
        (OF_LABELS, (target,), {}),
    ):
        expected = function(x, w, *others, **given_options)
        for inputs, weights, places in (
            (x, turned, None),
            (backwards, w, None),
            (np.repeat(x, 2, axis=0)[::2], w, out),
        ):
            value, gradients = function(inputs, weights, *others, out=places, **given_options)
            assert value == expected[0]
            for left, right in zip(gradients, expected[1], strict=True):
                assert_same_bits(left, right)
            assert places is None or all(a is b for a, b in zip(gradients, places, strict=True))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_positions_of_several_dimensions(reduction: Any) -> None:
    (x, w, y, v), _ = Distilled(24, 6, 5, 9).build("float32")
    labels, target = np.arange(24) % 9, labels_of(24, 9)
    shape = (2, 3, 4)
    folded = {"target": labels.reshape(shape), "reduction": reduction}
    flat = {"target": labels, "reduction": reduction}
    for function, others, folded_others, options, folded_options in (
        (GRADIENTS, (y, v), (y.reshape(*shape, 5), v), flat, folded),
        (OF_LABELS, (target,), (target.reshape(*shape, -1),), {"reduction": reduction}, None),
    ):
        expected = function(x, w, *others, **options)
        folded_options = options if folded_options is None else folded_options
        value, (by_input, by_weight) = function(
            x.reshape(*shape, 6), w, *folded_others, **folded_options
        )
        np.testing.assert_array_equal(np.ravel(value), np.ravel(expected[0]))
        assert np.shape(value) == (shape if reduction == "none" else ())
        assert_same_bits(by_input.reshape(24, 6), expected[1][0])
        assert_same_bits(by_weight, expected[1][1])


def test_one_position() -> None:
    (x, w, y, v), _ = Distilled(1, 6, 5, 9).build("float32")
    value = fl.linear_distillation_loss(x[0], w, y[0], v, reduction="none")
    assert value.shape == ()
    assert value == fl.linear_distillation_loss(x, w, y, v, reduction="none")[0]
    value = fl.linear_binary_cross_entropy(x[0], w, np.array([3, -1]), reduction="none")
    assert value.shape == ()


@pytest.mark.parametrize("number", [0, 1])
def test_one_gradient(number: int) -> None:
    (x, w, y, v), _ = Distilled(40, 6, 5, 90).build("float32")
    for loss, others in (
        (fl.linear_distillation_loss, (y, v)),
        (fl.linear_binary_cross_entropy, (labels_of(40, 90),)),
    ):
        both = fl.value_and_grad(loss, argnums=(0, 1))(x, w, *others)[1]
        one = fl.value_and_grad(loss, argnums=number)(x, w, *others)[1]
        assert_same_bits(one, both[number])


@pytest.mark.parametrize("dtype", [*np.typecodes["Integer"]])
def test_any_integer_labels(dtype: str) -> None:
    (x, w, *_), _ = Distilled(40, 6, 5, 90).build("float32")
    target = labels_of(40, 90)
    expected = fl.linear_binary_cross_entropy(x, w, target)
    assert fl.linear_binary_cross_entropy(x, w, target.astype(dtype)) == expected


# ---- Special values ----------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", WORKSPACES)
def test_ignored_positions_reach_no_gradient(isa: str, workspace: int | None) -> None:
    (x, w, y, v), _ = Distilled(100, 20, 5, 50).build("float32")
    target = np.arange(100) % 50
    counted = np.arange(100) % 3 != 0
    target[~counted] = -100
    call = {"alpha": 0.5, "workspace": workspace}
    expected = GRADIENTS(x[counted], w, y[counted], v, target=target[counted], **call)
    x[~counted], y[~counted] = np.nan, np.inf
    value, (by_input, by_weight) = GRADIENTS(x, w, y, v, target=target, **call)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    assert not by_input[~counted].any()
    np.testing.assert_allclose(by_weight, expected[1][1], rtol=1e-5, atol=1e-7)


def test_nothing_counted(isa: str) -> None:
    (x, w, y, v), _ = Distilled(30, 20, 5, 50).build("float32")
    value, gradients = GRADIENTS(x, w, y, v, target=np.full(30, -100))
    assert np.isnan(value)
    assert not any(gradient.any() for gradient in gradients)


# ---- Memory ------------------------------------------------------------------------------------

#: What a loss takes besides the input and the weights of n positions.
OTHERS = {
    "linear_distillation_loss": "(x[:n], weight)",
    "linear_binary_cross_entropy": "(np.ones((n, 3), int),)",
    "p2s_grad_loss": "(target[:n],)",
}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no high-water mark here")
@pytest.mark.parametrize("loss", OTHERS)
@pytest.mark.parametrize("sizes", [(3000, 16, 40000), (20000, 64, 3000), (64, 64, 300000)])
def test_memory_is_bounded(
    run_python: Callable[..., str], sizes: tuple[int, int, int], loss: str
) -> None:
    """64 MiB beyond inputs and gradients, whatever the shape, and a little for the allocator."""
    program = MEMORY.replace("linear_cross_entropy", loss).replace("(target[:n],)", OTHERS[loss])
    assert float(run_python(program, *map(str, sizes), "float32")) < 66


# ---- Errors ------------------------------------------------------------------------------------

X, W, Y, V = (np.zeros(shape, "float32") for shape in ((4, 3), (5, 3), (4, 2), (5, 2)))
LABELS = np.zeros((4, 2), int)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, W[0], Y, V), {}, ValueError, r"student_weight has shape \(3,\): expected 2"),
        ((X[:, :2], W, Y, V), {}, ValueError, r"student has shape \(4, 2\): expected \(..., 3\)"),
        ((X, W.astype("float64"), Y, V), {}, TypeError, "student_weight has dtype float64"),
        ((X, W, Y.astype(int), V), {}, TypeError, "teacher has dtype int64"),
        ((X, W, Y, V.astype("float16")), {}, TypeError, "float32, that of teacher"),
        ((X, W, Y[:3], V), {}, ValueError, r"teacher has shape \(3, 2\)"),
        ((X, W, Y, V[:4]), {}, ValueError, r"teacher_weight has shape \(4, 2\): expected \(5"),
        ((X, W, Y, V), {"target": [0, 1]}, ValueError, r"target has shape \(2,\)"),
        ((X, W, Y, V), {"target": [0, 1, 5, 2]}, IndexError, r"target\[2\] is 5"),
        ((X, W, Y, V), {"temperature": 0.0}, ValueError, "temperature is 0.0"),
        ((X, W, Y, V), {"target": LABELS[:, 0], "alpha": 2.0}, ValueError, "alpha is 2.0"),
        ((X, W, Y, V), {"divergence": "half"}, ValueError, "divergence is 'half'"),
        ((X, W, Y, V), {"sample_weight": np.ones(5)}, ValueError, "sample_weight has shape"),
        ((X, W, Y, V), {"reduction": "most"}, ValueError, "reduction is 'most'"),
        ((X, W, Y, V), {"workspace": 0}, ValueError, "workspace is 0"),
        ((X, W, LABELS[:, 0]), {}, ValueError, r"target has shape \(4,\): expected \(4, labels\)"),
        ((X, W, LABELS[:3]), {}, ValueError, r"target has shape \(3, 2\)"),
        ((X, W, LABELS + 0.5), {}, TypeError, "target has dtype float64"),
        ((X, W, LABELS + 5), {}, IndexError, r"target\[0, 0\] is 5"),
        ((X, W, LABELS - 2), {}, IndexError, r"is -2: .* \(and not the padding -1\)$"),
        ((X, W, LABELS), {"reduction": "most"}, ValueError, "reduction is 'most'"),
        ((X, W, LABELS), {"workspace": 0}, ValueError, "workspace is 0"),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    many = len(arguments) > 3
    loss: Any = fl.linear_distillation_loss if many else fl.linear_binary_cross_entropy
    out = np.full_like(X, 7), np.full_like(W, 7)
    with pytest.raises(error, match=message):
        loss(*arguments, **options)
    with pytest.raises(error):
        fl.value_and_grad(loss, argnums=(0, 1))(*arguments, out=out, **options)
    assert all((place == 7).all() for place in out)


def test_bad_places() -> None:
    with pytest.raises(ValueError, match="out overlaps student"):
        fl.value_and_grad(fl.linear_distillation_loss)(X, W, Y, V, out=X)
    with pytest.raises(ValueError, match=r"out\[1\] overlaps linear_weight"):
        OF_LABELS(X, W, LABELS, out=(np.zeros_like(X), W))
