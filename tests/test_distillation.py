"""soft_cross_entropy and distillation_loss: a teacher's distribution as the target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import LOGITS
from checks import DTYPES, assert_loss_right, assert_same_bits, eps
from parts import Array
from reference import class_axis

SHAPES: tuple[tuple[int, ...], ...] = (
    (5,),
    (0, 5),
    (33, 2),
    (9, 100),
    (3, 300),
    (2, 4099),
    (4, 10, 17),
    (2, 3, 4, 5),
)

KINDS = ("normal", "shifted", "ties", "wide")

#: Every shape with two kinds of logits; the kinds walk in step.
PROBLEMS = [(shape, KINDS[(i + j) % 4]) for i, shape in enumerate(SHAPES) for j in (0, 1)]

SOFT = fl.value_and_grad(fl.soft_cross_entropy)
GRAD = fl.value_and_grad(fl.distillation_loss)


def positions_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    axis = class_axis(len(shape))
    return shape[:axis] + shape[axis + 1 :]


def problem(
    shape: tuple[int, ...], kind: str, dtype: str, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Student, teacher, and labels some of which are -100."""
    student, teacher = (LOGITS[kind](shape, rng).astype(dtype) for _ in range(2))
    rows = positions_of(shape)
    target = np.asarray(rng.integers(0, shape[class_axis(len(shape))], size=rows))
    return student, teacher, np.where(rng.random(rows) < 0.3, -100, target) if rows else target


def top_k(
    shape: tuple[int, ...], k: int, dtype: str, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The indices of k different classes and the logarithms of probabilities that sum below 1."""
    axis = class_axis(len(shape))
    rows, classes = positions_of(shape), shape[axis]
    indices = rng.permuted(np.broadcast_to(np.arange(classes), (*rows, classes)), axis=-1)[..., :k]
    q = rng.dirichlet(np.ones(k + 1), size=rows)[..., :k]
    return np.moveaxis(indices, -1, axis), np.moveaxis(np.log(q), -1, axis).astype(dtype)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kind"), PROBLEMS, ids=str)
def test_soft_cross_entropy(
    shape: tuple[int, ...], kind: str, dtype: str, rng: np.random.Generator
) -> None:
    student, teacher, _ = problem(shape, kind, dtype, rng)
    rows = positions_of(shape)
    v = np.asarray(rng.uniform(0.1, 2, size=rows)).astype(dtype)
    loss = "soft_cross_entropy"
    assert_loss_right(loss, student, teacher, reduction="none", grad_output=rng.normal(size=rows))
    for reduction in ("none", "mean", "sum"):
        assert_loss_right(
            loss, student, teacher, temperature=2.5, sample_weight=v, reduction=reduction
        )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kind"), PROBLEMS, ids=str)
def test_distillation_loss(
    shape: tuple[int, ...], kind: str, dtype: str, rng: np.random.Generator
) -> None:
    student, teacher, target = problem(shape, kind, dtype, rng)
    rows = positions_of(shape)
    v = np.asarray(rng.uniform(0.1, 2, size=rows)).astype(dtype)
    loss = "distillation_loss"
    assert_loss_right(loss, student, teacher, reduction="none", grad_output=rng.normal(size=rows))
    for reduction in ("none", "mean", "sum"):
        options: dict[str, Any] = {"reduction": reduction, "temperature": 3.0}
        assert_loss_right(loss, student, teacher, target, **options)
        assert_loss_right(loss, student, teacher, target, alpha=0.9, sample_weight=v, **options)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kind"), PROBLEMS, ids=str)
def test_top_k_teacher(
    shape: tuple[int, ...], kind: str, dtype: str, rng: np.random.Generator
) -> None:
    student, _, target = problem(shape, kind, dtype, rng)
    v = np.asarray(rng.uniform(0.1, 2, size=positions_of(shape))).astype(dtype)
    loss = "distillation_loss"
    classes = shape[class_axis(len(shape))]
    for k in {1, 2, min(classes, 17)}:
        teacher = top_k(shape, k, dtype, rng)
        for reduction in ("none", "mean"):
            options: dict[str, Any] = {"reduction": reduction, "temperature": 2.0}
            assert_loss_right(loss, student, teacher, **options)
            assert_loss_right(loss, student, teacher, target, alpha=0.7, sample_weight=v, **options)


# ---- Worked values and identities --------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_worked_values(isa: str, dtype: str) -> None:
    """A student without opinion, a teacher of 3 to 1: log 2, and less log 2 - entropy."""
    student, teacher = np.zeros((1, 2), dtype), np.array([[np.log(3), 0]], dtype)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    tolerance = 8 * eps(dtype)
    np.testing.assert_allclose(fl.soft_cross_entropy(student, teacher), np.log(2), rtol=tolerance)
    np.testing.assert_allclose(
        fl.distillation_loss(student, teacher), np.log(2) - entropy, rtol=0, atol=tolerance
    )
    _, gradient = GRAD(student, teacher)
    np.testing.assert_allclose(gradient, [[-0.25, 0.25]], rtol=tolerance)
    value, gradient = GRAD(student, teacher, [0])
    np.testing.assert_allclose(value, np.log(2) - entropy / 2, rtol=0, atol=tolerance)
    np.testing.assert_allclose(gradient, [[-0.375, 0.375]], rtol=tolerance)
    # T = 2: softmax(log 3 / 2, 0) = (sqrt 3, 1) / (1 + sqrt 3), the gradient T (p - q)
    q = np.sqrt(3) / (1 + np.sqrt(3))
    value, gradient = SOFT(student, teacher, temperature=2)
    np.testing.assert_allclose(value, 4 * np.log(2), rtol=tolerance)
    np.testing.assert_allclose(gradient, [[2 * (0.5 - q), 2 * (q - 0.5)]], rtol=tolerance)


def test_soft_cross_entropy_is_cross_entropy_with_the_teachers_softmax(
    isa: str, rng: np.random.Generator
) -> None:
    for shape in SHAPES:
        student, teacher, _ = problem(shape, "normal", "float64", rng)
        for temperature in (1.0, 4.0):
            probabilities = fl.softmax(teacher / temperature, axis=class_axis(len(shape)))
            expected, gradient = fl.value_and_grad(fl.cross_entropy)(
                student / temperature, probabilities, reduction="none"
            )
            value, actual = SOFT(student, teacher, temperature=temperature, reduction="none")
            np.testing.assert_allclose(value, temperature**2 * expected, rtol=1e-13)  # float64
            np.testing.assert_allclose(actual, temperature * gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_student_like_its_teacher_has_nothing_to_learn(
    isa: str, dtype: str, rng: np.random.Generator
) -> None:
    arithmetic = "float64" if dtype == "float64" else "float32"
    for shape in SHAPES:
        _, teacher, _ = problem(shape, "normal", dtype, rng)
        value, gradient = GRAD(teacher, teacher, temperature=2.0, reduction="none")
        # cross-entropy and entropy of some 8 at T^2 = 4 cancel; each is off by some 4 ULP
        assert np.all(np.abs(value.astype(float)) <= 4 * 4 * 8 * eps(arithmetic))
        assert np.all(np.abs(gradient.astype(float)) <= 8 * eps(arithmetic))
        moved, _ = GRAD(teacher + 1, teacher, reduction="none")
        assert np.all(np.abs(moved.astype(float)) <= 64 * eps(dtype))  # teacher + 1 was rounded


def test_without_a_target_alpha_counts_for_nothing(isa: str, rng: np.random.Generator) -> None:
    student, teacher, target = problem((9, 10), "normal", "float32", rng)
    expected = GRAD(student, teacher)
    for alpha in (0.0, 0.25, 1.0):
        value, gradient = GRAD(student, teacher, alpha=alpha)
        assert value == expected[0]
        assert_same_bits(gradient, expected[1])
    target = np.maximum(target, 0)
    value, gradient = GRAD(student, teacher, target, alpha=1.0)
    np.testing.assert_allclose(value, expected[0], rtol=4 * eps("float32"))
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-5, atol=1e-7)  # float32
    value, gradient = GRAD(student, teacher, target, alpha=0.0)
    hard = fl.value_and_grad(fl.cross_entropy)(student, target)
    np.testing.assert_allclose(value, hard[0], rtol=4 * eps("float32"))
    np.testing.assert_allclose(gradient, hard[1], rtol=1e-5, atol=1e-7)


def test_a_top_k_teacher_of_all_classes_is_the_teacher(isa: str, rng: np.random.Generator) -> None:
    for shape in ((9, 10), (2, 300), (3, 10, 7), (10,)):
        student, teacher, target = problem(shape, "normal", "float64", rng)
        axis = class_axis(len(shape))
        order = np.argsort(-teacher, axis=axis)
        for temperature in (1.0, 2.0):
            log_probs = fl.log_softmax(teacher / temperature, axis=axis)
            chosen = order, np.take_along_axis(log_probs, order, axis)
            options: dict[str, Any] = {"temperature": temperature, "reduction": "none"}
            for labels in (None, target):
                expected = GRAD(student, teacher, labels, **options)
                value, gradient = GRAD(student, chosen, labels, **options)
                # a difference of entropies of up to 6 at T^2 = 4
                np.testing.assert_allclose(value, expected[0], rtol=1e-12, atol=1e-13)
                np.testing.assert_allclose(gradient, expected[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("index_dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_top_k_indices_of_any_integer_dtype(
    isa: str, index_dtype: str, rng: np.random.Generator
) -> None:
    student, _, target = problem((9, 20), "normal", "float32", rng)
    indices, log_probs = top_k((9, 20), 4, "float32", rng)
    expected = GRAD(student, (indices, log_probs), target)
    value, gradient = GRAD(student, (indices.astype(index_dtype), log_probs), target)
    assert value == expected[0]
    assert_same_bits(gradient, expected[1])


def test_top_k_teacher_of_repeated_and_impossible_classes(isa: str) -> None:
    """A class named twice has both shares; one of log-probability -inf has none."""
    student = np.array([[0.5, -1.0, 2.0, 0.0]])
    twice = np.array([[2, 0, 2]]), np.log([[0.25, 0.5, 0.125]])
    assert_loss_right("distillation_loss", student, twice, temperature=2.0)
    with np.errstate(divide="ignore"):
        impossible = np.array([[2, 0, 1]]), np.log([[0.25, 0.75, 0.0]])
    value, gradient = GRAD(student, impossible)
    expected = GRAD(student, (impossible[0][:, :2], impossible[1][:, :2]))
    np.testing.assert_allclose(value, expected[0], rtol=1e-15)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-15)


# ---- Special rows ------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4), (3, 300), (1, 4, 3)], ids=str)
def test_masked_classes(shape: tuple[int, ...], dtype: str) -> None:
    """A class ruled out by teacher and student alike counts nothing; by the student alone, inf."""
    student, teacher = (np.zeros(shape, dtype) for _ in range(2))
    student[:, 0] = teacher[:, 0] = -np.inf
    # p and q, each 1 / (C - 1), are equal but for their roundings
    atol = 4 * eps("float64" if dtype == "float64" else "float32")
    value, gradient = GRAD(student, teacher, reduction="none")
    np.testing.assert_allclose(value.astype(float), 0, atol=8 * atol)
    np.testing.assert_allclose(gradient.astype(float), 0, atol=atol)
    assert np.all(gradient[:, 0] == 0)
    value, _ = SOFT(student, teacher, reduction="none")
    np.testing.assert_allclose(value.astype(float), np.log(shape[1] - 1), rtol=8 * eps(dtype))
    teacher[:, 0] = 0
    for grad in (GRAD, SOFT):
        value, gradient = grad(student, teacher, reduction="none")
        assert np.all(value == np.inf)
        np.testing.assert_allclose(gradient[:, 0].astype(float), -1 / shape[1], rtol=8 * eps(dtype))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 3), (4, 300), (1, 3, 4)], ids=str)
@pytest.mark.parametrize("chosen", [False, True], ids=["logits", "top_k"])
def test_ignored_positions(shape: tuple[int, ...], chosen: bool, dtype: str) -> None:
    """Neither term counts there; NaN there goes nowhere."""
    rows = positions_of(shape)
    student = np.linspace(-1, 1, np.prod(shape)).reshape(shape).astype(dtype)
    teacher: Any = student[::-1, :, ...].copy()
    target = np.array([0, -100, 2, 1]).reshape(rows)
    v = np.array([1, np.nan, 0.5, 2]).reshape(rows).astype(dtype)

    def spoil(x: Array) -> Array:
        spoiled = np.moveaxis(x, 1, -1).copy()
        spoiled[target == -100] = np.nan
        return np.ascontiguousarray(np.moveaxis(spoiled, -1, 1))

    if chosen:
        indices = np.zeros((shape[0], 2, *shape[2:]), int)
        indices[:, 1] = 2
        log_probs = np.full(indices.shape, -1, dtype)
        teacher, bad_teacher = (indices, log_probs), (indices, spoil(log_probs))
    else:
        bad_teacher = spoil(teacher)
    clean = np.where(np.isnan(v), 1, v).astype(dtype)
    for reduction in ("none", "mean", "sum"):
        options: dict[str, Any] = {"reduction": reduction, "temperature": 2.0}
        expected = GRAD(student, teacher, target, sample_weight=clean, **options)
        value, gradient = GRAD(spoil(student), bad_teacher, target, sample_weight=v, **options)
        assert_same_bits(value, expected[0])
        assert_same_bits(gradient, expected[1])
        assert np.all(np.moveaxis(gradient, 1, -1)[target == -100] == 0)
    nothing = np.full(rows, -100)
    value, gradient = GRAD(spoil(student), bad_teacher, nothing)
    assert np.isnan(value)
    assert np.all(gradient == 0)
    value, gradient = GRAD(student, teacher, nothing, reduction="sum")
    assert value == 0
    assert np.all(gradient == 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_makes_its_row_nan(isa: str, dtype: str) -> None:
    for spoiled in (0, 1):
        for bad in (np.nan, np.inf):
            both = [np.zeros((3, 5), dtype), np.zeros((3, 5), dtype)]
            both[spoiled][1, 2] = bad
            for grad in (SOFT, GRAD):
                value, gradient = grad(*both, reduction="none")
                np.testing.assert_array_equal(np.isnan(value), [False, True, False])
                np.testing.assert_array_equal(np.isnan(gradient).any(axis=1), [False, True, False])


def test_infinities_raise_no_warning(isa: str) -> None:
    """Results say what happened; NumPy's warnings on the way are not the caller's business."""
    inf = np.inf
    big = np.array([[6e4, -6e4, 0]], "float16")
    masked = np.array([[0.0, -inf, 1.0]])
    top = np.array([[0, 1]]), np.array([[-inf, -0.5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SOFT(big, -big, reduction="none")[0] == inf
        assert GRAD(big, -big, [1], reduction="none")[0] == inf
        assert GRAD(big, (top[0], top[1].astype("float16")), [1], reduction="none")[0] == inf
        assert SOFT(masked, np.zeros((1, 3)))[0] == inf
        assert GRAD(masked, top)[0] == inf
        assert np.isnan(GRAD(np.full((1, 3), np.nan), top)[0])
        assert np.isnan(GRAD(np.full((1, 3), -inf), masked)[0])


# ---- Where results go, and who computes them ---------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("shape", [(30_011, 10), (1021, 300), (2, 21, 5003)], ids=str)
def test_same_bits_for_any_number_of_threads(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    student, teacher, target = problem(shape, "normal", dtype, rng)
    for given in ((teacher, target), (top_k(shape, 3, dtype, rng), target), (teacher,)):
        results = set()
        for count in (1, 2, 3, 7):
            value, gradient = GRAD(student, *given, num_threads=count)
            assert fl.distillation_loss(student, *given, num_threads=count) == value
            results.add((value, gradient.tobytes()))
        assert len(results) == 1
    results = set()
    for count in (1, 2, 3, 7):
        value, gradient = SOFT(student, teacher, num_threads=count)
        assert fl.soft_cross_entropy(student, teacher, num_threads=count) == value
        results.add((value, gradient.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_and_into_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        student, teacher, target = problem(shape, "normal", dtype, rng)
        for given in ((teacher, target), (top_k(shape, 2, dtype, rng), target), (teacher,)):
            value, gradient = GRAD(student, *given, reduction="none")
            memory = np.full((*shape[:-1], 2 * shape[-1]), 7, dtype)
            assert_loss_right(
                "distillation_loss", student, *given, out=memory[..., ::2], reduction="none"
            )
            assert np.all(memory[..., 1::2] == 7)
            buffer = student.copy()
            in_place, same = GRAD(buffer, *given, reduction="none", out=buffer)
            assert same is buffer
            assert_same_bits(in_place, value)
            assert_same_bits(same, gradient)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_odd_strides(isa: str, dtype: str, rng: np.random.Generator) -> None:
    student, teacher, target = problem((9, 6, 5), "normal", dtype, rng)
    indices, log_probs = top_k((9, 6, 5), 3, dtype, rng)

    def gapped(x: Array) -> Array:
        return np.repeat(x, 2, axis=1)[:, ::2]

    for odd in (np.asfortranarray, gapped, lambda x: x[::-1].copy()[::-1]):
        inputs = [odd(x) for x in (student, teacher)]
        assert_loss_right("soft_cross_entropy", inputs[0], inputs[1])
        assert_loss_right("distillation_loss", inputs[0], inputs[1], target)
        assert_loss_right("distillation_loss", inputs[0], (odd(indices), odd(log_probs)), target)


def test_teacher_of_another_dtype(isa: str, rng: np.random.Generator) -> None:
    """A float16 teacher of a float32 student, and the other way about."""
    for mine, other in (("float32", "float16"), ("float16", "float32"), ("bfloat16", "float64")):
        student, _, _ = problem((9, 10), "normal", mine, rng)
        _, teacher, _ = problem((9, 10), "ties", other, rng)  # exact in every dtype
        expected = SOFT(student, teacher.astype(mine))
        value, gradient = SOFT(student, teacher)
        np.testing.assert_allclose(value, expected[0], rtol=4 * eps("float32"))
        np.testing.assert_allclose(
            gradient.astype(float), expected[1].astype(float), rtol=2 * eps(mine)
        )


def test_more_positions_than_a_block(rng: np.random.Generator) -> None:
    """Many rows and long ones: every row is as it is by itself."""
    for shape in ((700, 4099), (3, 400_001)):
        student, teacher, target = problem(shape, "normal", "float32", rng)
        value, gradient = GRAD(student, teacher, target, reduction="none")
        for row in (0, 1, shape[0] // 2, shape[0] - 1):
            alone, each = GRAD(
                student[row : row + 1],
                teacher[row : row + 1],
                target[row : row + 1],
                reduction="none",
            )
            np.testing.assert_allclose(value[row], alone[0], rtol=1e-6)  # float32
            np.testing.assert_allclose(gradient[row], each[0], rtol=1e-5, atol=1e-12)
