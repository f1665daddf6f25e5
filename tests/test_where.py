"""where=: what it leaves out counts nothing, whatever it holds; the rest is as if it were all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from checks import DTYPES, assert_same_bits
from parts import Array
from pointwise_cases import LOSSES, Domain

ROWS, CLASSES, FEATURES = 37, 7, 5

REDUCTIONS: tuple[Any, ...] = ("none", "mean", "sum")

#: Losses whose mask is of pairs.
PAIRS = {"clip_loss", "info_nce_loss", "siglip_loss"}


def logits(rng: np.random.Generator) -> Array:
    return rng.normal(size=(ROWS, CLASSES))


def positive(rng: np.random.Generator) -> Array:
    return rng.uniform(0.1, 0.9, size=(ROWS, CLASSES))


def distribution(rng: np.random.Generator) -> Array:
    p = positive(rng)
    return p / p.sum(axis=1, keepdims=True)


def log_distribution(rng: np.random.Generator) -> Array:
    return np.log(distribution(rng))


def signs(rng: np.random.Generator) -> Array:
    return rng.choice([-1.0, 1.0], size=(ROWS, CLASSES))


def labels(rng: np.random.Generator) -> Array:
    return rng.integers(0, CLASSES, size=ROWS)


def ended_labels(rng: np.random.Generator) -> Array:
    y = np.tile(rng.permutation(CLASSES), (ROWS, 1))
    y[np.arange(ROWS), rng.integers(1, CLASSES, size=ROWS)] = -1
    return y


def row_signs(rng: np.random.Generator) -> Array:
    return rng.choice([-1.0, 1.0], size=ROWS)


def vectors(rng: np.random.Generator) -> Array:
    return rng.normal(size=(ROWS, FEATURES))


def boxes(rng: np.random.Generator) -> Array:
    low = rng.normal(size=(ROWS, 2))
    return np.concatenate([low, low + rng.uniform(0.5, 2, size=(ROWS, 2))], axis=1)


Maker = Callable[[np.random.Generator], Array]


def of_domain(domain: Domain) -> Maker:
    return lambda rng: domain.draw(rng, (ROWS, CLASSES))


#: Losses of elements: their operands.
ELEMENTS: dict[str, tuple[Maker, ...]] = {
    **{name: tuple(map(of_domain, loss.domains)) for name, loss in LOSSES.items()},
    "logistic_loss": (logits, signs),
    "zero_one_loss": (logits, logits),
}

HEAD = (vectors, logits, labels)  # the second stands for the weights of classes


def parameters_of(name: str) -> set[str]:
    value = getattr(fl, name)
    return {*inspect.signature(value).parameters} if hasattr(value, "__fusedloss__") else set()


#: Losses of rows: their operands, the prediction first.
POSITIONS: dict[str, tuple[Maker, ...]] = {
    "categorical_cross_entropy": (distribution, labels),
    "categorical_hinge_loss": (logits, labels),
    "complete_box_iou_loss": (boxes, boxes),
    "cosine_embedding_loss": (vectors, vectors, row_signs),
    "cosine_similarity_loss": (vectors, vectors),
    "cross_entropy": (logits, labels),
    "distance_box_iou_loss": (boxes, boxes),
    "distillation_loss": (logits, logits, labels),
    "focal_loss": (logits, labels),
    "generalized_box_iou_loss": (boxes, boxes),
    "generalized_cross_entropy": (distribution, labels),
    "margin_cross_entropy": (lambda rng: np.tanh(logits(rng)), labels),
    "multi_margin_loss": (logits, labels),
    "multilabel_margin_loss": (logits, ended_labels),
    "multilabel_soft_margin_loss": (logits, positive),
    "nll_loss": (log_distribution, labels),
    "poly1_cross_entropy": (logits, labels),
    "soft_cross_entropy": (logits, logits),
    "sparsemax_loss": (logits, labels),
    "triplet_margin_loss": (vectors, vectors, vectors),
    "linear_cross_entropy": HEAD,
    **{
        name: HEAD
        for name in fl.__all__
        if {"embeddings", "weight", "target", "where"} <= parameters_of(name)
    },
}

#: Options that a loss needs, or that lead another way.
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "cross_entropy": (
        {"label_smoothing": 0.1},
        {"z_loss": 0.1, "softcap": 5.0},
        {"weight": np.linspace(0.5, 2, CLASSES)},
        {"ignore_index": 2},
    ),
    "focal_loss": ({"alpha": np.linspace(0.5, 2, CLASSES)}, {"gamma": 0.5, "z_loss": 0.1}),
    "categorical_cross_entropy": (
        {"label_smoothing": 0.1},
        {"gamma": 2.0, "alpha": np.linspace(0.5, 2, CLASSES)},
        {"gamma": 0.5, "label_smoothing": 0.1},
    ),
    "linear_cross_entropy": ({"z_loss": 0.1}, {"label_smoothing": 0.2}),
    "arcface_loss": ({"label_smoothing": 0.1}, {"focal_gamma": 2.0}),
    "distillation_loss": ({"alpha": 0.3, "temperature": 2.0, "ignore_index": 2},),
    "soft_cross_entropy": ({"temperature": 2.0},),
    "multi_margin_loss": ({"weight": np.linspace(0.5, 2, CLASSES)}, {"p": 2}),
    "poisson_nll_loss": ({"full": True},),
}

CASES = [
    (name, options) for name in (*ELEMENTS, *POSITIONS) for options in ({}, *OPTIONS.get(name, ()))
]


def test_every_loss_with_a_mask_is_here() -> None:
    having = {
        name
        for name in fl.__all__
        if "where" in parameters_of(name)
        # The mask of one is of a row's elements, test_preference.py has another; others are of
        # pairs, in test_where_pairs.py.
        and name not in {"ranking_softmax_loss", "grpo_loss", *PAIRS}
    }
    assert having == {*ELEMENTS, *POSITIONS}


def spoiled(x: Array, left_out: Array) -> Array:
    """NaN where a mask leaves out, and class indices of no class."""
    x = x.copy()
    x[left_out] = 99 if x.dtype.kind == "i" else np.nan
    return x


def drawn(name: str, dtype: str, seed: int = 0) -> tuple[list[Array], Array, bool]:
    """The operands of a call, with a mask of about a third."""
    rng = np.random.default_rng([seed, *name.encode()])
    elements = name in ELEMENTS
    made = [make(rng) for make in (ELEMENTS if elements else POSITIONS)[name]]
    operands = [x.astype(dtype) if x.dtype.kind == "f" else x for x in made]
    if POSITIONS.get(name) == HEAD:
        rows = 3 * CLASSES if name == "subcenter_arcface_loss" else CLASSES
        operands[1] = rng.normal(size=(rows, FEATURES)).astype(dtype)
    shape = operands[0].shape if elements else operands[0].shape[:1]
    return operands, rng.random(shape) < 2 / 3, elements


def of_rows(name: str, k: int) -> bool:
    """Whether an operand has a part for each row: weights of classes have not."""
    return not (POSITIONS.get(name) == HEAD and k == 1)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_the_rest_is_all_there_is(
    name: str, options: dict[str, Any], weighted: bool, dtype: str
) -> None:
    """Losses and gradients are those of what takes part; the others' are 0, whatever they hold."""
    operands, where, elements = drawn(name, dtype)
    record = getattr(fl, name).__fusedloss__
    named = record.differentiable[: len(operands)]
    argnums = tuple(record.parameters.index(x) for x in named if x != "linear_bias")
    rng = np.random.default_rng(1)
    weight_name = "weight" if elements else "sample_weight"
    given, kept = list(operands), list(operands)
    for k, x in enumerate(operands):
        if of_rows(name, k):
            given[k], kept[k] = spoiled(x, ~where), x[where]
    weight = rng.uniform(0.5, 2, size=where.shape).astype(dtype)
    own: dict[str, Any] = {weight_name: spoiled(weight, ~where)} if weighted else {}
    rest: dict[str, Any] = {weight_name: weight[where]} if weighted else {}
    call = fl.value_and_grad(getattr(fl, name), argnums)
    for reduction in REDUCTIONS:
        g: Any = -2.5
        of_rest: Any = g
        if reduction == "none":
            g = rng.normal(size=where.shape).astype(dtype)
            of_rest, g = g[where], spoiled(g, ~where)
        value, gradients = call(
            *given, where=where, **own, **options, reduction=reduction, grad_output=g
        )
        expected, others = call(*kept, **rest, **options, reduction=reduction, grad_output=of_rest)
        if reduction == "none":
            assert np.all(value[~where] == 0)
            assert_same_bits(value[where], expected)
        else:
            np.testing.assert_allclose(value, expected, rtol=1e-6 if dtype != "float64" else 1e-13)
        for k, (gradient, other) in enumerate(zip(gradients, others, strict=True)):
            assert gradient.dtype == dtype
            if of_rows(name, k):
                assert np.all(gradient[~where] == 0)
                gradient = gradient[where]
            near = {"float64": 1e-12, "float32": 1e-5}.get(dtype, 2e-2)
            size = np.abs(other.astype("float64")).max(initial=1e-3)
            if not np.isfinite(size):  # float16 overflows alike
                np.testing.assert_array_equal(np.isfinite(gradient), np.isfinite(other))
                continue
            difference = np.abs(gradient.astype("float64") - other.astype("float64"))
            assert np.all(difference <= near * size)


@pytest.mark.parametrize(
    "name",
    [name for name in (*ELEMENTS, *POSITIONS) if getattr(fl, name).__fusedloss__.hessian],
)
def test_hessian(name: str) -> None:
    operands, where, _ = drawn(name, "float64")
    of = fl.grad_and_hess(getattr(fl, name))
    found = of(*[spoiled(x, ~where) for x in operands], where=where)
    expected = of(*[x[where] for x in operands])
    for whole, rest in zip(found, expected, strict=True):
        assert np.all(whole[~where] == 0)
        np.testing.assert_allclose(whole[where], rest, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("name", [*ELEMENTS, *POSITIONS])
def test_nothing_left(name: str) -> None:
    """The mean of nothing is nan, its gradient zero; the sum is 0."""
    operands, where, _ = drawn(name, "float32")
    spoils = [
        spoiled(x, ~where & ~where) if of_rows(name, k) else x for k, x in enumerate(operands)
    ]
    nothing = np.zeros_like(where)
    call = fl.value_and_grad(getattr(fl, name))
    value, gradient = call(*spoils, where=nothing)
    assert np.isnan(value)
    assert np.all(gradient == 0)
    value, gradient = call(*spoils, where=nothing, reduction="sum")
    assert value == 0
    assert np.all(gradient == 0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(20011, 3), (600, 40), (300, 1000), (2, 5003), (3, 9, 17), (2, 130, 5), (1, 3, 700)],
    ids=str,
)
def test_positions_of_any_layout(
    shape: tuple[int, ...], probabilities: bool, rng: np.random.Generator
) -> None:
    """Every walk of the softmax family, more positions than a chunk has, masks of any strides."""
    positions = (shape[0], *shape[2:])
    z = rng.normal(size=shape).astype("float32")
    target: Array = rng.integers(0, shape[1], size=positions)
    if probabilities:
        target = rng.uniform(size=shape).astype("float32")
    where = rng.random(positions) < 0.7
    dirty = np.moveaxis(z.copy(), 1, -1)
    dirty[~where] = np.nan
    dirty = np.moveaxis(dirty, -1, 1)
    weight = where.astype("float32")
    outputs: Any = ("lse", "entropy", "accuracy") + (() if probabilities else ("log_prob",))
    call = fl.value_and_grad(fl.cross_entropy)
    for reduction in REDUCTIONS:
        options: dict[str, Any] = {"reduction": reduction, "outputs": outputs}
        (expected, extras), gradient = call(z, target, sample_weight=weight, **options)
        for mask in (where, np.repeat(where, 2, -1)[..., ::2], where[::-1].copy()[::-1]):
            (value, made), same = call(dirty, target, where=mask, **options)
            assert_same_bits(np.asarray(value), np.asarray(expected))
            assert_same_bits(same, gradient)
            for output, x in made.items():
                assert np.all(x[~where] == 0)
                assert_same_bits(x[where], extras[output][where])


def top_k_teacher(where: Array) -> tuple[tuple[Array, Array], ...]:
    """Of (7, 9, 4) logits the best three classes; the same with no class and NaN where masked."""
    rng = np.random.default_rng(5)
    teacher = fl.log_softmax(rng.normal(size=(7, 9, 4)), axis=1)
    indices = np.argsort(-teacher, axis=1)[:, :3].astype("int32")
    log_probs = np.take_along_axis(teacher, indices, 1)
    masked = np.broadcast_to(~where[:, None], indices.shape)
    return (indices, log_probs), (
        spoiled(indices, masked),
        spoiled(log_probs, masked),
    )


def test_a_teacher_of_few_classes() -> None:
    rng = np.random.default_rng(0)
    z, where = rng.normal(size=(7, 9, 4)), rng.random((7, 4)) < 0.6
    teacher, dirty = top_k_teacher(where)
    x = np.where(where[:, None], z, np.nan)
    call = fl.value_and_grad(fl.distillation_loss)
    value, gradient = call(x, dirty, where=where, temperature=2.0)
    expected, slope = call(z, teacher, sample_weight=where.astype(float), temperature=2.0)
    assert value == expected
    assert_same_bits(gradient, slope)


def test_a_mask_that_is_broadcast(rng: np.random.Generator) -> None:
    x, t = rng.normal(size=(2, 6, 5))
    for where in (np.array([True, False, True, True, False]), np.eye(6, 1, dtype=bool)):
        whole = np.broadcast_to(where, x.shape)
        value, gradient = fl.value_and_grad(fl.mse_loss)(x, t, where=where)
        np.testing.assert_allclose(value, ((x - t) ** 2)[whole].mean(), rtol=1e-14)
        assert np.all(gradient[~whole] == 0)


def test_a_target_that_is_broadcast(rng: np.random.Generator) -> None:
    """Its gradient has a part of every element that takes part."""
    x, t = rng.normal(size=(6, 5)), rng.normal(size=5)
    where = rng.random((6, 5)) < 0.5
    _, gradient = fl.value_and_grad(fl.mse_loss, argnums=1)(x, t, where=where, reduction="sum")
    np.testing.assert_allclose(gradient, (2 * (t - x) * where).sum(axis=0), rtol=1e-13)


def test_bad_labels_that_count_raise() -> None:
    z, where = np.zeros((4, 3)), np.array([True, False, True, True])
    with pytest.raises(IndexError, match=r"target\[2\] is 7"):
        fl.cross_entropy(z, np.array([0, 9, 7, 1]), where=where)
    with pytest.raises(IndexError, match=r"target\[2\] is 7"):
        fl.multi_margin_loss(z, np.array([0, 9, 7, 1]), where=where)
    with pytest.raises(ValueError, match=r"probs\[2\] is 3\.0"):
        fl.binary_cross_entropy(np.array([0.5, 2, 3, 0.5]), np.zeros(4), where=where)
    with pytest.raises(IndexError, match=r"target\[2\] is 7"):
        fl.linear_cross_entropy(np.zeros((4, 2)), np.zeros((3, 2)), [0, 9, 7, 1], where=where)


@pytest.mark.parametrize("name", ["cross_entropy", "mse_loss", "multi_margin_loss", "arcface_loss"])
def test_errors_name_the_mask(name: str) -> None:
    operands, where, _ = drawn(name, "float32")
    loss = getattr(fl, name)
    with pytest.raises(TypeError, match="where has dtype float64: expected bool"):
        loss(*operands, where=where.astype(float))
    with pytest.raises(TypeError, match="where has dtype uint8: expected bool"):
        loss(*operands, where=where.astype("u1"))
    with pytest.raises(ValueError, match="where"):
        loss(*operands, where=where[:-1])
