"""Rows of any norm, infinite logits, empty classes, and ties: where formulas have their limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import fusedloss as fl
from checks import DTYPES
from fusedloss._lower.pairs import PairCall
from fusedloss.torch import functional as F
from pair_cases import EVERY, EXACT, OF_DISTANCES, OF_SIMILARITIES, TUPLETS, assert_same, batch
from parts import Array
from segmentation_cases import LOSSES as IMAGES
from segmentation_cases import OF_HINGE
from test_margin import MARGINS

INF = np.inf

#: Of float32, and such that float64 has room for everything. From 1e19 on squares overflow.
NORMS = (1.2e-38, 1e-30, 1e-20, 1e-11, 1.0, 1e10, 1e19, 1e25, 1e38)

with_isa = pytest.mark.usefixtures("isa")


def rows_of_norms(norms: Array, features: int, rng: np.random.Generator) -> Array:
    x = rng.standard_normal((len(norms), features))
    return (x / np.linalg.norm(x, axis=1, keepdims=True) * norms[:, None]).astype(np.float32)


def assert_rounded_rows(actual: Array, exact: Array, tolerance: float) -> None:
    """Rows are float64's rounded to float32, each relative to its largest; inf where they overflow.

    The smallest are multiples of 2^-149.
    """
    assert actual.dtype == np.float32
    largest = np.finfo(np.float32).max
    beyond = np.abs(exact) > largest
    assert (np.abs(actual[beyond]) > 0.99 * largest).all()
    size = np.abs(exact).max(axis=1, keepdims=True, initial=0)
    error = np.abs(np.where(beyond, 0, actual.astype(np.float64) - exact))
    assert (error <= tolerance * size + 2.0**-147).all(), (error / np.maximum(size, 1e-300)).max(1)


# ---- Heads ---------------------------------------------------------------------------------------

#: Scales of 64 times the rounding of a few dozen products.
OF_HEADS = 1e-4

NORMALIZING = [
    (name, options, scale)
    for name, options, scale in MARGINS
    if name not in ("l2_softmax_loss", "l_softmax_loss", "a_softmax_loss", "proxy_nca_loss")
]


@with_isa
@pytest.mark.parametrize("workspace", [None, 1])
@pytest.mark.parametrize(("name", "options", "scale"), NORMALIZING)
def test_heads_take_rows_of_any_norm(
    name: str, options: dict[str, Any], scale: float, workspace: int | None, rng: Any
) -> None:
    centers = options.get("sub_centers", options.get("centers_per_class", 1))
    norms = np.array(NORMS)
    x = rows_of_norms(np.tile(norms, 2), 17, rng)
    w = rows_of_norms(rng.permutation(np.tile(norms, centers)), 17, rng)
    y = rng.integers(0, len(norms), len(x))
    given = {"scale": scale, "workspace": workspace, "reduction": "none", **options}
    head = fl.value_and_grad(getattr(fl, name), (0, 1))
    value, gradients = head(x, w, y, **given)
    exact, by_exact = head(x.astype(np.float64), w.astype(np.float64), y, **given)
    np.testing.assert_allclose(value, exact, rtol=OF_HEADS, atol=OF_HEADS)
    for gradient, by in zip(gradients, by_exact, strict=True):
        assert_rounded_rows(gradient, by, OF_HEADS)


# ---- Losses of pairs -----------------------------------------------------------------------------

#: Losses that normalize embeddings, all of them.
NORMALIZED = sorted(set(EVERY) - {"angular_loss"})


def normalizing(loss: str) -> dict[str, Any]:
    return {} if loss in TUPLETS - {"n_pairs_loss"} else {"normalize": True}


@with_isa
@pytest.mark.parametrize("loss", NORMALIZED)
def test_pairs_take_rows_of_any_norm(loss: str, rng: np.random.Generator) -> None:
    e = rows_of_norms(np.tile(np.array(NORMS)[3:], 6), 11, rng)
    y = np.arange(len(e)) % 7
    options = EVERY[loss] | normalizing(loss)
    function = fl.value_and_grad(getattr(fl, loss))
    value, gradient = function(e, y, **options)
    exact, by_exact = function(e.astype(np.float64), y, **options)
    np.testing.assert_allclose(value, exact, rtol=1e-4)
    # Relative to what the largest row has in its own unit.
    norms = np.linalg.norm(e.astype(np.float64), axis=1, keepdims=True)
    error = np.abs(gradient * norms - by_exact * norms)
    assert error.max() <= 2e-3 * np.abs(by_exact * norms).max()


@with_isa
@pytest.mark.parametrize("norm", [1e-13, 1e-20, 1e-37])
@pytest.mark.parametrize("loss", sorted(set(NORMALIZED) - {"histogram_loss"}))  # 0 is a node of it
def test_short_embeddings_are_divided_by_1e_12(loss: str, norm: float, rng: Any) -> None:
    """Such a norm does not move with the embedding: nothing is projected away."""
    norms = np.ones(20)
    norms[3] = norm
    e, y = rows_of_norms(norms, 6, rng), np.arange(20) % 4
    options = EVERY[loss] | normalizing(loss)
    function = fl.value_and_grad(getattr(fl, loss))
    _, gradient = function(e, y, **options)
    _, by_exact = function(e.astype(np.float64), y, **options)
    size = np.abs(by_exact[3]).max()
    np.testing.assert_allclose(gradient[3], by_exact[3], rtol=0, atol=2e-3 * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", NORMALIZED)
def test_a_zero_embedding_has_no_gradient(loss: str, dtype: str, rng: np.random.Generator) -> None:
    e = rng.standard_normal((14, 5)).astype(dtype)
    e[3] = 0
    y = np.arange(14) % 3
    options = EVERY[loss] | normalizing(loss)
    value, gradient = fl.value_and_grad(getattr(fl, loss))(e, y, **options)
    assert np.isfinite(np.float64(value))
    assert (gradient[3] == 0).all()
    assert np.isfinite(gradient.astype(np.float64)).all()


@pytest.mark.parametrize("loss", NORMALIZED)
def test_a_zero_embedding_has_no_gradient_in_torchs_formula(loss: str, rng: Any) -> None:
    e = torch.tensor(rng.standard_normal((14, 5)), requires_grad=True)
    with torch.no_grad():
        e[3] = 0
    y = torch.arange(14) % 3
    value = getattr(F, loss)(e, y, **EVERY[loss], **normalizing(loss))
    (gradient,) = torch.autograd.grad(value, e, create_graph=True)
    assert (gradient[3] == 0).all()
    assert gradient.isfinite().all()


TOWERS: dict[str, dict[str, Any]] = {"info_nce_loss": {}, "clip_loss": {}, "siglip_loss": {}}


@with_isa
@pytest.mark.parametrize("loss", TOWERS)
def test_towers_take_rows_of_any_norm_and_of_none(loss: str, rng: np.random.Generator) -> None:
    norms = np.tile(np.array([0, 1e-11, 1.0, 1e19, 1e38]), 4)
    a, b = rows_of_norms(norms, 9, rng), rows_of_norms(norms[::-1].copy(), 9, rng)
    function = fl.value_and_grad(getattr(fl, loss), (0, 1))
    value, gradients = function(a, b)
    exact, by_exact = function(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    for x, gradient, by in zip((a, b), gradients, by_exact, strict=True):
        size = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
        np.testing.assert_allclose(gradient * size, by * size, atol=1e-5, rtol=0)
        assert (gradient[size[:, 0] == 0] == 0).all()


@with_isa
@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize("shift", [0.0, 1e25])
def test_distances_whose_squares_are_numbers(shift: float, distance: str, rng: Any) -> None:
    """Embeddings of 1e18, and such that lie 1e25 away from the origin, where squares overflow."""
    e = rng.integers(-4, 5, (20, 6)).astype(np.float32) * np.float32(2.0**60)
    e += np.float32(shift)
    y = np.arange(20) % 4
    margins = {"pos_margin": 0.0, "neg_margin": 1e19 if distance == "euclidean" else 1e37}
    options = {"distance": distance, "normalize": False, "reduction": "mean", **margins}
    function = fl.value_and_grad(fl.contrastive_loss)
    value, gradient = function(e, y, **options)
    exact, by_exact = function(e.astype(np.float64), y, **options)
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    np.testing.assert_allclose(gradient, by_exact, rtol=0, atol=1e-4 * np.abs(by_exact).max())


#: A workspace of several groups of anchors whose pairs are not kept.
GROUPS = 400_000


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine", "snr"])
@pytest.mark.parametrize("loss", sorted(OF_DISTANCES | OF_SIMILARITIES))
def test_parts_of_several_groups_are_what_pairs_kept_are(
    loss: str, distance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without normalizing, which takes away what is wrong along an embedding."""
    e, y = batch("large")
    e = e / 4
    options = EVERY[loss] | {"distance": distance, "normalize": False}
    function = fl.value_and_grad(getattr(fl, loss))
    kept = function(e, y, **options)
    monkeypatch.setattr(PairCall, "workspace", GROUPS)
    value, gradient = function(e, y, **options)
    assert_same(value, kept[0], EXACT)
    assert_same(gradient, kept[1], EXACT)


# ---- Cosines of rows -----------------------------------------------------------------------------


@with_isa
@pytest.mark.parametrize("scale_t", [1e-30, 1.0, 1e37])
@pytest.mark.parametrize("scale_x", [1e-30, 1e-17, 1e-8, 1.0, 1e25, 1e37])
@pytest.mark.parametrize("name", ["cosine_similarity_loss", "cosine_embedding_loss"])
def test_cosines_of_rows_of_any_norm(name: str, scale_x: float, scale_t: float, rng: Any) -> None:
    x, t = (rng.standard_normal((6, 7)).astype("f4") for _ in range(2))
    x, t = x * np.float32(scale_x), t * np.float32(scale_t)
    u = (np.where(np.arange(6) % 2, 1, -1),) if name == "cosine_embedding_loss" else ()
    function = fl.value_and_grad(getattr(fl, name), (0, 1))
    value, gradients = function(x, t, *u, reduction="none")
    exact, by_exact = function(x.astype("f8"), t.astype("f8"), *u, reduction="none")
    np.testing.assert_allclose(value, exact, rtol=1e-5, atol=1e-6 * np.abs(exact).max() + 2.0**-149)
    for gradient, by in zip(gradients, by_exact, strict=True):
        assert_rounded_rows(gradient, by, 1e-5)


def test_a_clamped_length_has_no_derivative() -> None:
    x, t, step = np.array([[1e-8, 2e-8]]), np.array([[1.0, 2.0]]), 1e-12
    _, gradient = fl.value_and_grad(fl.cosine_similarity_loss)(x, t)
    for k in range(2):
        move = step * np.eye(2)[[k]]
        up, down = (fl.cosine_similarity_loss(x + sign * move, t) for sign in (1, -1))
        np.testing.assert_allclose(gradient[0, k], (up - down) / (2 * step), rtol=1e-6)


@with_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cosine_similarity_loss", "cosine_embedding_loss"])
def test_a_zero_row_has_the_gradient_of_its_source(name: str, dtype: str) -> None:
    """Their epsilons make it 1e7 and 1e6, of which float16 has 65504."""
    x, t = np.zeros((1, 2), dtype), np.array([[3, 4]], dtype)
    u, size = (([1],), 1e6) if name == "cosine_embedding_loss" else ((), 1e7)
    _, gradient = fl.value_and_grad(getattr(fl, name))(x, t, *u)
    expected = -size * np.array([[0.6, 0.8]])
    if dtype == "float16":
        expected = np.maximum(expected, -65504)
    np.testing.assert_allclose(gradient.astype("f8"), expected, rtol=1e-2)


# ---- Logits --------------------------------------------------------------------------------------


@with_isa
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 2.7])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_focal_loss_at_infinity(dtype: str, alpha: float | None, gamma: float) -> None:
    x, t = np.array([-INF, INF, -INF, INF], dtype), np.array([1, 0, 0, 1], dtype)
    function = fl.value_and_grad(fl.sigmoid_focal_loss, (0, 1))
    options: dict[str, Any] = {"alpha": alpha, "gamma": gamma, "reduction": "none"}
    value, (by_x, by_t) = function(x, t, **options)
    weights = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    np.testing.assert_array_equal(value.astype("f8"), [INF, INF, 0, 0])
    np.testing.assert_array_equal(by_x.astype("f8"), [-weights[0], weights[1], 0, 0])
    slopes = function(np.array([-1e4, 1e4, -1e4, 1e4]), t.astype("f8"), **options)[1][1]
    expected = np.where(slopes == 0, 0, np.sign(slopes) * INF)
    np.testing.assert_array_equal(by_t.astype("f8"), expected)


@with_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gamma_and_tweedie_of_large_arguments(dtype: str) -> None:
    """Factors that leave the range of a type, and products that do not."""
    far = 100.0 if dtype == "float32" else 720.0
    tiny, huge = (1e-38, 1e38) if dtype == "float32" else (1e-300, 1e300)
    x = np.array([-far, -far, far, far, 0.9 * far], dtype)
    t = np.array([tiny, 0, huge, 0, huge], dtype)
    wide = np.longdouble
    xw, tw = x.astype(wide), t.astype(wide)
    function = fl.value_and_grad(fl.gamma_loss)
    value, gradient = function(x, t, reduction="none")
    np.testing.assert_allclose(value, (xw + tw * np.exp(-xw)).astype(dtype), rtol=1e-5)
    np.testing.assert_allclose(gradient, (1 - tw * np.exp(-xw)).astype(dtype), rtol=1e-5)
    for power in (-1.0, 0.5, 1.5, 2.5, 3.0):
        with np.errstate(over="ignore"):
            a, b = np.exp((2 - wide(power)) * xw), np.exp((1 - wide(power)) * xw)
            loss = (a / (2 - wide(power)) - tw * b / (1 - wide(power))).astype(dtype)
            slope = (a - tw * b).astype(dtype)
        value, gradient = fl.value_and_grad(fl.tweedie_loss)(x, t, power=power, reduction="none")
        # An exponent of 1000 that is rounded once, and the exponential of a quarter to the fourth.
        tolerance = 1e-4 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(value, loss, rtol=tolerance)
        np.testing.assert_allclose(gradient, slope, rtol=tolerance)


# ---- Images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, loss in IMAGES.items() if loss.activations])
def test_the_softmax_over_one_class_is_refused(name: str) -> None:
    logits, target = np.zeros((2, 1, 3), "f4"), np.zeros((2, 3), int)
    text = r"logits has shape \(2, 1, 3\): expected at least 2 classes.* stack \(0, z\)"
    with pytest.raises(ValueError, match=text):
        getattr(fl, name)(logits, target)
    with pytest.raises(ValueError, match=text):
        getattr(F, name)(torch.tensor(logits), torch.tensor(target))


def test_cross_entropy_of_one_class_is_0() -> None:
    value, gradient = fl.value_and_grad(fl.cross_entropy)(np.full((2, 1), -9.0), [0, 0])
    assert value == 0
    assert (gradient == 0).all()


OVERLAPS = [name for name, loss in IMAGES.items() if "smooth" in loss.bad and loss.by_class]


@with_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OVERLAPS)
def test_a_class_neither_there_nor_predicted_scores_perfectly(name: str, dtype: str) -> None:
    """Without smoothing, too; it counts in the mean."""
    logits = np.zeros((1, 3, 4), dtype)
    logits[0, 0] = 1e4
    logits[0, 1, 2:] = 1e4
    target = np.array([[0, 0, 1, 1]])
    given = logits, target
    value, gradient = fl.value_and_grad(getattr(fl, name))(*given, smooth=0.0)
    tensor = torch.tensor(logits.astype("f4"), requires_grad=True)
    formula = getattr(F, name)(tensor, torch.tensor(target), smooth=0.0)
    (by_formula,) = torch.autograd.grad(formula, tensor, create_graph=True)
    if "none" in IMAGES[name].reductions and IMAGES[name].by_class:
        each = getattr(fl, name)(*given, smooth=0.0, reduction="none").astype("f8")
        assert each[0, 2] == 0
        np.testing.assert_allclose(np.float64(value), each.sum() / 3, rtol=1e-2)
    assert np.isfinite(np.float64(value))
    assert np.isfinite(gradient.astype("f8")).all()
    assert (gradient[0, 2] == 0).all()
    assert by_formula.isfinite().all()
    np.testing.assert_allclose(formula.item(), np.float64(value), rtol=1e-2)


@pytest.mark.parametrize("name", [name for name in IMAGES if name != OF_HINGE])
def test_an_infinite_logit_is_nan_as_in_torch(name: str, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((2, 3, 20)).astype("f4")
    logits[1, 2, 7] = INF
    target = rng.integers(0, 3, (2, 20))
    value, gradient = fl.value_and_grad(getattr(fl, name))(logits, target)
    assert np.isnan(value)
    assert np.isnan(gradient[1]).any()


# ---- Ties and kinks ------------------------------------------------------------------------------


def test_distances_past_the_last_bin(rng: np.random.Generator) -> None:
    """Without normalizing, distances may be larger than 4: they belong to the last two nodes."""
    e, y = 3 * rng.standard_normal((9, 3)), np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    bins = 10
    d = np.square(e[:, None] - e).sum(-1)
    assert (d > 4).any()
    losses = []
    for a in range(9):
        counts = np.zeros((2, bins + 1))
        for j in set(range(9)) - {a}:
            at = d[a, j] * bins / 4
            first = min(int(at), bins - 1)
            counts[int(y[a] != y[j]), [first, first + 1]] += 1 - (at - first), at - first
        h, total = counts[0], counts.sum(0).cumsum()
        below = h.cumsum()
        some = (h * below > 0) & (total > 0)
        losses.append(1 - (h * below)[some] @ (1 / total[some]) / 2)
    value = fl.fast_ap_loss(e, y, num_bins=bins, normalize=False, reduction="none")
    np.testing.assert_allclose(value, losses, rtol=1e-9)


@with_isa
def test_tied_centers_count_once() -> None:
    """Of a class's best centers the first is its logit; the others have no gradient."""
    x, w = np.array([[1.0, 0.5]]), np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    value, (_, by_w) = fl.value_and_grad(fl.subcenter_arcface_loss, (0, 1))(
        x, w, [0], sub_centers=2, margin=0.3, scale=4.0
    )
    single, (_, by_single) = fl.value_and_grad(fl.arcface_loss, (0, 1))(
        x, w[::2].copy(), [0], margin=0.3, scale=4.0
    )
    np.testing.assert_allclose(value, single, rtol=1e-12)
    np.testing.assert_allclose(by_w[::2], by_single, rtol=1e-12)
    assert (by_w[1::2] == 0).all()


@with_isa
@pytest.mark.parametrize("name", ["arcface_loss", "magface_loss"])
def test_an_easy_margin_leaves_a_right_angle_alone(name: str) -> None:
    """Only angles below it have one."""
    x, w = np.array([[1.0, 0]]), np.array([[0.0, 1], [1, 0]])
    options = {"lambda_g": 0.0} if name == "magface_loss" else {}
    value = getattr(fl, name)(x, w, [0], easy_margin=True, scale=2.0, **options)
    np.testing.assert_allclose(value, np.log1p(np.exp(2.0)), rtol=1e-12)


@with_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_semihard_negatives_at_the_margin_are_triplets(dtype: str) -> None:
    """Embeddings 0, 1 and 3: the negative 3 is a margin of 2 farther than the positive 1 from 0."""
    e, y = np.array([[0], [1], [3]], dtype), np.array([0, 0, 1])
    options = {"margin": 2.0, "mining": "semihard", "normalize": False}
    value, gradient = fl.value_and_grad(fl.triplet_loss)(e, y, reduction="mean", **options)
    # (0, 1, 3) with the loss 0, which counts, and (1, 0, 3) with 1 - 2 + 2.
    assert value == 0.5
    np.testing.assert_array_equal(gradient, [[-0.5], [1.0], [-0.5]])
