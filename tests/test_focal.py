"""focal_loss: value and gradient against the formula, its limits, and where it saturates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusedloss as fl
from cases import LOGITS
from checks import DTYPES, assert_loss_right, assert_same_bits, assert_within, eps, ulp
from parts import Array
from reference import class_axis, cross_entropy, evaluate, focal_loss

#: Rows in lanes, rows by themselves, and positions behind the classes.
SHAPES: tuple[tuple[int, ...], ...] = (
    (5,),
    (33, 2),
    (9, 64),
    (5, 128),
    (3, 129),
    (2, 4099),
    (2, 3, 65),
    (2, 150, 7),
    (1, 19, 3, 5),
)

GAMMAS = (0, 0.5, 1.0, 2.0, 3.7)

GRAD = fl.value_and_grad(fl.focal_loss)


def positions_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    axis = class_axis(len(shape))
    return shape[:axis] + shape[axis + 1 :]


def problem(
    shape: tuple[int, ...], kind: str, dtype: str, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Logits, and labels a third of which are -100."""
    logits = LOGITS[kind](shape, rng).astype(dtype)
    rows = positions_of(shape)
    target = np.asarray(rng.integers(0, shape[class_axis(len(shape))], size=rows))
    target = np.where(rng.random(rows) < 1 / 3, -100, target) if rows else target
    return logits, target


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_gradient(
    shape: tuple[int, ...], gamma: float, dtype: str, rng: np.random.Generator
) -> None:
    step = SHAPES.index(shape) + GAMMAS.index(gamma)
    kinds = [kind for kind in LOGITS if kind != "cauchy"]  # which float16 cannot hold
    logits, target = problem(shape, kinds[step % len(kinds)], dtype, rng)
    rows, classes = positions_of(shape), shape[class_axis(len(shape))]
    options: dict[str, Any] = {"gamma": gamma}
    if step % 2:
        options["alpha"] = rng.uniform(0.1, 2, size=classes).astype(dtype)
    elif step % 4:
        options["alpha"] = 0.25
    if step % 3:
        options["sample_weight"] = np.asarray(rng.uniform(0.1, 2, size=rows)).astype(dtype)
    assert_loss_right(
        "focal_loss",
        logits,
        target,
        reduction="none",
        grad_output=rng.normal(size=rows),
        **options,
    )
    reduction = ("mean", "sum")[step % 2]
    assert_loss_right("focal_loss", logits, target, reduction=reduction, grad_output=3, **options)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_with_softcap_and_z_loss(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    logits, target = problem(shape, "normal", dtype, rng)
    every: list[dict[str, Any]] = [
        {"softcap": 4.0},
        {"z_loss": 0.1},
        {"softcap": 3.0, "z_loss": 0.2, "alpha": 0.75, "gamma": 1.5},
    ]
    for options in every:
        assert_loss_right("focal_loss", logits, target, reduction="none", **options)
        assert_loss_right("focal_loss", logits, target, **options)


# ---- Worked values -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_worked_values(isa: str, dtype: str) -> None:
    """An even row of two classes, by hand; and the example of Keras' categorical focal loss."""
    even = np.zeros((1, 2), dtype)
    for gamma in GAMMAS:
        expected = 0.5**gamma * np.log(2)
        np.testing.assert_allclose(
            fl.focal_loss(even, [0], gamma=gamma), expected, rtol=8 * eps(dtype)
        )
    with np.errstate(divide="ignore"):
        logits = np.log([[0.05, 0.95, 0], [0.1, 0.8, 0.1]]).astype(dtype)
    value = fl.focal_loss(logits, [1, 2], alpha=0.25)
    assert round(value, 7) == 0.2331528


def test_without_focusing_it_is_cross_entropy(isa: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        for dtype in ("float32", "float64"):
            logits, target = problem(shape, "normal", dtype, rng)
            alpha = rng.uniform(0.5, 2, size=shape[class_axis(len(shape))]).astype(dtype)
            value, gradient = GRAD(logits, target, gamma=0, alpha=alpha, reduction="none")
            expected = fl.value_and_grad(fl.cross_entropy)(
                logits, target, weight=alpha, reduction="none"
            )
            np.testing.assert_allclose(value, expected[0], rtol=4 * eps(dtype))
            np.testing.assert_allclose(gradient, expected[1], rtol=4 * eps(dtype))


def test_mean_counts_positions(isa: str, rng: np.random.Generator) -> None:
    """Neither alpha nor (1 - p)^gamma is in the divisor; sample weights are."""
    logits, target = rng.normal(size=(6, 4)), np.array([0, 1, -100, 3, 2, 1])
    alpha, v = rng.uniform(0.1, 2, size=4), rng.uniform(0.1, 2, size=6)
    rows = fl.focal_loss(logits, target, alpha=alpha, reduction="none")
    mean = fl.focal_loss(logits, target, alpha=alpha)
    np.testing.assert_allclose(mean, rows.sum() / 5, rtol=1e-15)  # one division
    rows = fl.focal_loss(logits, target, alpha=alpha, sample_weight=v, reduction="none")
    mean = fl.focal_loss(logits, target, alpha=alpha, sample_weight=v)
    np.testing.assert_allclose(mean, rows.sum() / v[target >= 0].sum(), rtol=1e-15)


def test_alpha_is_a_number_or_one_per_class(isa: str, rng: np.random.Generator) -> None:
    for shape in ((9, 4), (3, 200), (2, 4, 5)):
        logits, target = problem(shape, "normal", "float32", rng)
        plain = GRAD(logits, target, reduction="sum")
        for alpha in (0.5, np.float32(0.5), np.full(shape[1], 0.5), np.full(shape[1], 0.5, "f2")):
            value, gradient = GRAD(logits, target, alpha=alpha, reduction="sum")
            assert value == plain[0] / 2
            assert_same_bits(gradient, plain[1] / 2)


# ---- Where it saturates ------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("shape", [(9, 2), (5, 16), (3, 300), (2, 3, 33)], ids=str)
def test_confident_rows_keep_their_digits(shape: tuple[int, ...], gamma: float, dtype: str) -> None:
    """1 - p of 1e-6 to 1e-13 is no difference of rounded numbers, nor are its powers."""
    axis = class_axis(len(shape))
    for gap in (15, 20, 30):
        logits = np.zeros(shape, dtype)
        target = np.arange(np.prod(positions_of(shape))).reshape(positions_of(shape)) * 7
        target %= shape[axis]
        np.put_along_axis(logits, np.expand_dims(target, axis), gap, axis)
        value, gradient = GRAD(logits, target, gamma=gamma, reduction="none")
        truth = evaluate(
            "focal_loss", logits, target, gamma=gamma, reduction="none", dtype=np.longdouble
        )
        # exp, the sum, log1p, the quotients: 8 as for cross-entropy; and (1 - p)^gamma, whose
        # exponent gamma log(1 - p) is off by its own rounding and gamma times log's
        allowed = 8 + 2 * gamma * gap + 2 * gamma
        for actual, (exact, _, _) in ((value, truth.value), (gradient, truth.gradient)):
            tiny = 4 * np.finfo(dtype).tiny
            assert_within(actual, exact, allowed * ulp(exact, dtype) + tiny)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("shape", [(4,), (3, 17), (2, 300), (2, 17, 5)], ids=str)
def test_certainty(shape: tuple[int, ...], gamma: float, dtype: str) -> None:
    """At p = 1 nothing, for gamma below 1 too; at p = 0 the logits' distance, as cross-entropy."""
    axis = class_axis(len(shape))
    target = np.ones(positions_of(shape), int)
    logits = np.full(shape, -1e4, dtype)
    by_class = np.moveaxis(logits, axis, 0)
    by_class[1] = 1e4
    value, gradient = GRAD(logits, target, gamma=gamma, reduction="none")
    assert np.all(value == 0)
    assert np.all(gradient == 0)
    by_class[0], by_class[1] = 1e4, -1e4
    value, gradient = GRAD(logits, target, gamma=gamma, reduction="none")
    exact = float(np.asarray(1e4).astype(dtype))
    np.testing.assert_array_equal(value.astype(float), 2 * exact)
    by_class = np.moveaxis(gradient, axis, 0)
    assert np.all(by_class[0] == 1)
    assert np.all(by_class[1] == -1)
    assert np.all(by_class[2:] == 0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("shape", [(3, 5), (2, 300), (2, 5, 4)], ids=str)
def test_infinities_and_nan(shape: tuple[int, ...], gamma: float, dtype: str) -> None:
    target = np.ones(positions_of(shape), int)
    logits = np.zeros(shape, dtype)
    logits[:, 1] = -np.inf
    value, gradient = GRAD(logits, target, gamma=gamma, reduction="none")
    assert np.all(value == np.inf)
    assert np.all(gradient[:, 1] == -1)
    np.testing.assert_allclose(gradient[:, 2], 1 / (shape[1] - 1), rtol=4 * eps(dtype))
    for bad in (np.nan, np.inf):
        logits = np.zeros(shape, dtype)
        logits[:, 0] = bad
        value, gradient = GRAD(logits, target, gamma=gamma, reduction="none")
        assert np.all(np.isnan(value))
        assert np.all(np.isnan(gradient))
        value, gradient = GRAD(logits, target - 101, gamma=gamma, reduction="none")
        assert np.all(value == 0)
        assert np.all(gradient == 0)
    value, gradient = GRAD(logits, target - 101, gamma=gamma)
    assert np.isnan(value)
    assert np.all(gradient == 0)
    logits = np.full(shape, -np.inf, dtype)
    assert np.all(np.isnan(GRAD(logits, target, gamma=gamma, reduction="none")[1]))
    logits[:, 1] = 0  # the only class that is left
    value, gradient = GRAD(logits, target, gamma=gamma, reduction="none")
    assert np.all(value == 0)
    assert np.all(gradient == 0)


def test_classes_of_no_weight(isa: str) -> None:
    """alpha = 0 silences a class even at an infinite loss."""
    for shape in ((2, 3), (2, 300), (1, 3, 2)):
        logits = np.zeros(shape)
        logits[:, 1] = -np.inf
        alpha = np.ones(shape[1])
        alpha[1] = 0
        value, gradient = GRAD(
            logits, np.ones(positions_of(shape), int), alpha=alpha, reduction="none"
        )
        assert np.all(value == 0)
        assert np.all(gradient == 0)


# ---- Threads, outputs, the oracle --------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("shape", [(30_011, 10), (1021, 257), (2, 21, 5003)], ids=str)
def test_same_bits_for_any_number_of_threads(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    logits, target = problem(shape, "normal", dtype, rng)
    options: dict[str, Any] = {"alpha": 0.25, "z_loss": 0.1, "gamma": 1.5}
    results = set()
    for count in (1, 2, 3, 7):
        value, gradient = GRAD(logits, target, num_threads=count, **options)
        assert fl.focal_loss(logits, target, num_threads=count, **options) == value
        results.add((value, gradient.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place(isa: str, dtype: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        logits, target = problem(shape, "normal", dtype, rng)
        value, gradient = GRAD(logits, target, reduction="none")
        in_place, same = GRAD(logits, target, reduction="none", out=logits)
        assert same is logits
        assert_same_bits(in_place, value)
        assert_same_bits(same, gradient)


def test_outputs_are_those_of_cross_entropy(isa: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        logits, target = problem(shape, "ties", "float32", rng)
        names = ("accuracy", "lse", "entropy")
        options: dict[str, Any] = {"outputs": names, "softcap": 2.0}
        value, arrays = fl.focal_loss(logits, target, **options)
        assert value == fl.focal_loss(logits, target, softcap=2.0)
        _, expected = fl.cross_entropy(logits, target, **options)
        assert tuple(arrays) == names
        for name in names:
            assert_same_bits(arrays[name], expected[name])


def test_reference_at_no_focusing(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(5, 4)), np.array([0, 1, 2, 3, -100])
    for left, right in zip(
        focal_loss(logits, target, gamma=0), cross_entropy(logits, target), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-14)  # a few roundings of float64


# ---- Distributions of classes ------------------------------------------------------------------


def of_shares(
    logits: Array, shares: Array, gamma: float, alpha: Any = None
) -> tuple[Array, Array, Array, Array]:
    """Losses and their gradients in long double, and the sums of what is added up for each."""
    axis = class_axis(logits.ndim)
    z = np.moveaxis(logits.astype(np.longdouble), axis, -1)
    t = np.moveaxis(shares.astype(np.longdouble), axis, -1)
    t = t if alpha is None else t * alpha.astype(np.longdouble)
    e = np.exp(z - z.max(-1, keepdims=True))
    total = e.sum(-1, keepdims=True)
    each = np.arange(z.shape[-1])
    rest = np.stack([np.where(each == c, 0, e).sum(-1) for c in each], -1) / total
    p, surprise = e / total, z.max(-1, keepdims=True) - z + np.log(total)
    with np.errstate(invalid="ignore", divide="ignore"):
        focusing = np.where(rest == 0, float(gamma == 0), rest**gamma)
        terms = np.where(t == 0, 0, t * focusing * surprise)
        ratio = np.where(rest == 0, 1, np.where(p == 0, 0, p * surprise) / rest)
    u = np.where(t == 0, 0, t * focusing * (1 + gamma * ratio))
    pull = u.sum(-1, keepdims=True)
    gradient = np.where(
        p > 0.5, p * (pull - u) - u * rest, p * pull - u
    )  # without cancellation where p is near 1
    gradient, size = np.moveaxis(gradient, -1, axis), np.moveaxis(p * pull + u, -1, axis)
    return terms.sum(-1), gradient, np.abs(terms).sum(-1), size


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("shape", [s for s in SHAPES if max(s) < 1000], ids=str)
def test_distributions(
    shape: tuple[int, ...], gamma: float, dtype: str, rng: np.random.Generator
) -> None:
    axis, rows = class_axis(len(shape)), positions_of(shape)
    wide = "float64" if dtype == "float64" else "float32"
    for kind in ("normal", "ties"):
        logits = LOGITS[kind](shape, rng).astype(dtype)
        shares = np.moveaxis(rng.dirichlet(np.full(shape[axis], 0.3), rows), -1, axis)
        shares = np.where(shares < 0.01, 0, shares).astype(wide)
        alpha = rng.uniform(0.1, 2, shape[axis]).astype(wide)
        for options in ({}, {"alpha": alpha}):
            value, gradient = GRAD(logits, shares, gamma=gamma, reduction="none", **options)
            truth, slope, sizes, spread = of_shares(logits, shares, gamma, options.get("alpha"))
            # powers of up to 3.7 triple what the exponentials' sum is off
            ulps = 4 * (min(shape[axis], 64) / 2 + 8)
            assert value.dtype == gradient.dtype == dtype
            near = ulps * eps(wide)
            # subnormal numbers
            least = 2.0**-24 if dtype == "float16" else 1e-37
            assert np.all(np.abs(value - truth) <= near * sizes + eps(dtype) * truth + least)
            allowed = near * spread + eps(dtype) * np.abs(slope) + least
            assert np.all(np.abs(gradient - slope) <= allowed)
            weight = np.asarray(rng.uniform(0.1, 2, rows)).astype(wide)
            mean = fl.focal_loss(logits, shares, gamma=gamma, sample_weight=weight, **options)
            expected = (truth * weight).sum() / weight.astype(np.longdouble).sum()
            assert abs(mean - expected) <= near * (sizes * weight).sum() / weight.sum()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_one_hot_rows_are_class_indices(gamma: float, dtype: str, rng: np.random.Generator) -> None:
    """Also where p is nearly 1, and where a class without a share has no probability."""
    logits = (6 * rng.normal(size=(60, 9))).astype(dtype)
    logits[:5] *= 3
    logits[:, 0] = -np.inf
    target = rng.integers(1, 9, 60)
    target[:30] = logits[:30].argmax(1)
    rows = np.eye(9, dtype=dtype)[target]
    for options in ({}, {"alpha": rng.uniform(0.1, 2, 9).astype("float32")}):
        expected, slope = GRAD(logits, target, gamma=gamma, reduction="none", **options)
        value, gradient = GRAD(logits, rows, gamma=gamma, reduction="none", **options)
        near = {"float64": 1e-13, "float32": 1e-5}.get(dtype, 2e-2)
        tiny = {"float64": 1e-300, "float16": 1e-6}.get(dtype, 1e-35)
        np.testing.assert_allclose(value.astype(float), expected.astype(float), near, tiny)
        np.testing.assert_allclose(gradient.astype(float), slope.astype(float), near, tiny)


def test_distributions_with_nan_where_nothing_counts(rng: np.random.Generator) -> None:
    logits, where = rng.normal(size=(4, 6, 5)), rng.random((4, 5)) < 0.6
    shares = np.moveaxis(rng.dirichlet(np.ones(6), (4, 5)), -1, 1)
    value, gradient = GRAD(logits, shares, sample_weight=where.astype(float))
    logits, shares = (np.where(where[:, None], x, np.nan) for x in (logits, shares))
    for options in ({"where": where}, {"sample_weight": where.astype(float)}):
        same, slope = GRAD(logits, shares, **options)
        assert same == value
        assert_same_bits(slope, gradient)


def test_what_distributions_do_not_take() -> None:
    logits, shares = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    every: tuple[dict[str, Any], ...] = (
        {"softcap": 2.0},
        {"z_loss": 0.1},
        {"entropy_bonus": 0.1},
        {"outputs": ("lse",)},
    )
    for options in every:
        with pytest.raises(ValueError, match="expected class indices, target has probabilities"):
            fl.focal_loss(logits, shares, **options)
    with pytest.raises(ValueError, match="focal_loss of probabilities has no Hessian"):
        fl.grad_and_hess(fl.focal_loss)(logits, shares)
    with pytest.raises(ValueError, match=r"target has shape \(2, 4\)"):
        fl.focal_loss(logits, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="gamma is 65"):
        fl.focal_loss(logits, shares, gamma=65)
