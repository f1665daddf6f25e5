"""Exact ties, kinks and clamps, sizes beyond constants: small fixtures of whole numbers per family.

Random floats never meet them. Each test is known to fail with a fault of `mutants/table.py`.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import fusedloss as fl
import pointwise_cases
import rowwise_cases
import segmentation_cases
from checks import assert_same_bits
from fusedloss._lower.pairs import PairCall
from pair_cases import (
    EVERY,
    EXACT,
    PEERS,
    ExactLp,
    assert_same,
    batch,
    of_peer,
    peer,
)
from reference import pointwise, rowwise


def assert_close(actual: Any, exact: Any) -> None:
    """Within few roundings: bounds that allow for rounding would excuse either side of a tie."""
    with np.errstate(invalid="ignore"):
        size = np.abs(exact[np.isfinite(exact)]).max(initial=1)
    eps = float(np.finfo(np.asarray(actual).dtype).eps)
    np.testing.assert_allclose(actual, exact, rtol=64 * eps, atol=4 * eps * size)


# ---- Elements ----------------------------------------------------------------------------------

#: Options that put the kinks on whole numbers.
WHOLE_OPTIONS: dict[str, dict[str, Any]] = {
    "huber_loss": {"delta": 2.0},
    "smooth_l1_loss": {"beta": 2.0},
    "margin_ranking_loss": {"margin": 1.0},
    "hinge_embedding_loss": {"margin": 2.0},
}

WHOLE = np.arange(-4.0, 5)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", pointwise_cases.LOSSES)
def test_elements_at_kinks(name: str, dtype: str) -> None:
    """Every whole prediction with every whole target that the loss takes, derivatives too."""
    loss = pointwise_cases.LOSSES[name]
    taken = [
        WHOLE if d in (pointwise_cases.REAL, pointwise_cases.LOGIT) else np.array(d.special[:4])
        for d in loss.domains
    ]
    arrays = [x.reshape(-1).astype(dtype) for x in np.meshgrid(*taken, indexing="ij")]
    options = WHOLE_OPTIONS.get(name, {})
    case = pointwise_cases.Case(name, loss, options)
    given = {"reduction": "none", **options}
    exact = pointwise.evaluate(name, *arrays, dtype=np.longdouble, **given)
    value, gradients = fl.value_and_grad(getattr(fl, name), argnums=case.argnums)(*arrays, **given)
    assert_close(value, exact.value)
    for actual, expected in zip(gradients, exact.gradients, strict=True):
        assert_close(actual, expected)
    if loss.hessian:
        _, hessian = fl.grad_and_hess(getattr(fl, name))(*arrays, **options)
        assert_close(hessian, exact.hessian)


# ---- Rows --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", rowwise_cases.CASES, ids=str)
def test_rows_at_ties(case: rowwise_cases.Case, dtype: str, rng: np.random.Generator) -> None:
    """Rows of few whole numbers, so that maxima and hinges meet; lengths below the clamps."""
    if case.name == "generalized_cross_entropy":
        return  # of probabilities
    arrays, options = case.draw((60, 3), dtype, rng)
    whole = [rng.integers(-1, 2, x.shape).astype(dtype) for x in arrays]
    if case.loss.draws[0].__name__ == "_boxes":
        whole = arrays = [rowwise_cases.whole_boxes(rng, x.shape).astype(dtype) for x in arrays]
    if case.name == "cosine_embedding_loss":
        whole[2] = arrays[2]
    mixed = [
        w if i == 0 or draw.__name__ == "_real" or case.name == "cosine_embedding_loss" else a
        for i, (a, w, draw) in enumerate(zip(arrays, whole, case.loss.draws, strict=True))
    ]
    sizes = (1.0, 1e-8) if case.name == "cosine_similarity_loss" else (1.0,)
    for size in sizes:
        given = [x * np.dtype(dtype).type(size) if x.dtype.kind == "f" else x for x in mixed]
        options["reduction"] = "none"
        if case.name == "triplet_margin_loss":
            options["eps"] = 0.0
        exact = rowwise.evaluate(case.name, *given, dtype=np.longdouble, **options)
        value, gradients = fl.value_and_grad(getattr(fl, case.name), argnums=case.argnums)(
            *given, **options
        )
        assert_close(value, exact.value)
        for actual, expected in zip(gradients, exact.gradients, strict=True):
            assert_close(actual, expected)


def test_categorical_hinge_at_its_kink() -> None:
    x = np.array([[1.0, 0.0]])
    value, gradient = fl.value_and_grad(fl.categorical_hinge_loss)(x, x)
    assert value == 0
    assert np.all(gradient == 0)


# ---- Softmax -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_first_of_equal_maxima_counts(dtype: str) -> None:
    """In one block, in two, and in the last; a maximum in a later block alone is found there."""
    classes = 5000
    for first, second in ((10, 4000), (10, 11), (2047, 2048), (1023, 1024), (3000, 4999)):
        logits = np.zeros((2, classes), dtype)
        logits[:, [first, second]] = 3
        _, outputs = fl.cross_entropy(
            logits, np.array([first, second]), outputs=("accuracy",), reduction="none"
        )
        assert outputs["accuracy"].tolist() == [1, 0]


@pytest.mark.usefixtures("isa")
def test_equal_logits_of_a_linear_layer() -> None:
    """Equal maxima in different blocks of classes: the first counts there too."""
    classes = 5000
    x, weight = np.ones((2, 4), np.float32), np.zeros((classes, 4), np.float32)
    weight[[10, 4000]] = 1
    for workspace in (None, 2**16, 1):
        _, outputs = fl.linear_cross_entropy(
            x, weight, np.array([10, 4000]), outputs=("accuracy",), workspace=workspace
        )
        assert outputs["accuracy"].tolist() == [1, 0]


@pytest.mark.usefixtures("isa")
def test_what_is_not_filtered_is_as_without_a_filter(rng: np.random.Generator) -> None:
    """More classes than products are added up at once."""
    x, weight = rng.normal(size=(40, 8)), rng.normal(size=(40_000, 8)) / 8
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    target = rng.integers(0, 40_000, 40)
    function = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))
    plain = function(x, weight, target, precision="highest")
    filtered = function(x, weight, target, filter_eps=1e-12, precision="highest")
    np.testing.assert_allclose(filtered[0], plain[0], rtol=1e-6)
    for left, right in zip(filtered[1], plain[1], strict=True):
        size = np.abs(right).max()
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-4 * size)


# ---- Images ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    "name", [name for name in segmentation_cases.LOSSES if name != segmentation_cases.OF_HINGE]
)
def test_an_infinite_logit_gives_nan(name: str, rng: np.random.Generator) -> None:
    """As torch's softmax does."""
    logits, target = rng.normal(size=(2, 3, 5)), rng.integers(0, 3, (2, 5))
    logits[1, 2, 3] = np.inf
    value, gradient = fl.value_and_grad(getattr(fl, name))(logits, target)
    assert np.isnan(value)
    assert np.isnan(gradient[1, :, 3]).all()


# ---- Pairs -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("workspace", [0, 1 << 17, 1 << 26])
@pytest.mark.parametrize("loss", PEERS)
def test_large_embeddings_in_any_workspace(
    loss: str, workspace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unnormalized, so that errors along an embedding show; groups of anchors, or one."""
    monkeypatch.setattr(PairCall, "workspace", workspace)
    e, y = batch("large")
    e = 0.5 * e
    options, _ = PEERS[loss]
    if loss == "histogram_loss":
        return  # of similarities between -1 and 1
    distances: dict[str, Any] = {
        "nca_loss": ExactLp(normalize_embeddings=False, power=2),
        "contrastive_loss": ExactLp(normalize_embeddings=False),
        "margin_loss": ExactLp(normalize_embeddings=False),
        "lifted_structure_loss": ExactLp(normalize_embeddings=False),
        "generalized_lifted_structure_loss": ExactLp(normalize_embeddings=False),
    }
    if loss not in distances:
        return  # angles, or similarities whose peers normalize
    theirs = peer(loss, options, distance=distances[loss])
    expected = of_peer(theirs, e, torch.tensor(y))
    value, gradient = fl.value_and_grad(getattr(fl, loss))(e, y, normalize=False, **options)
    assert_same(value, expected[0], EXACT)
    assert_same(gradient, expected[1], EXACT)


@pytest.mark.usefixtures("isa")
def test_a_pair_at_its_margin_has_no_gradient() -> None:
    """Distances of 1, 2 and 3 on a line, with margins of the same."""
    e, y = np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1])
    options = {"pos_margin": 1.0, "neg_margin": 2.0, "normalize": False, "reduction": "mean"}
    value, gradient = fl.value_and_grad(fl.contrastive_loss)(e, y, **options)
    assert value == 0
    assert np.all(gradient == 0)


@pytest.mark.usefixtures("isa")
def test_semihard_negatives_are_no_nearer_than_the_margin() -> None:
    """A negative at the positive's distance plus the margin is semihard, with a loss of 0."""
    e, y = np.array([[0.0], [1.0], [3.0], [-2.0]]), np.array([0, 0, 1, 2])
    options: dict[str, Any] = {"margin": 2.0, "mining": "semihard", "reduction": "mean"}
    # anchor 0: positive at 1; negatives at 3 (loss 0) and 2 (1); anchor 1: at 2 (1) and 3 (0)
    value = fl.triplet_loss(e, y, **options)
    assert value == 0.5


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("length", [1e-13, 1e-11])
def test_tiny_embeddings(length: float) -> None:
    """Below the least norm an embedding is scaled by a constant, which has no derivative."""
    rng = np.random.default_rng(1)
    e, y = rng.normal(size=(6, 4)), np.array([0, 0, 1, 1, 2, 2])
    e[0] *= length / np.linalg.norm(e[0])
    expected = of_peer(peer("ntxent_loss", EVERY["ntxent_loss"]), e, torch.tensor(y))
    _, gradient = fl.value_and_grad(fl.ntxent_loss)(e, y, **EVERY["ntxent_loss"])
    x = torch.tensor(e, requires_grad=True)
    unit = torch.nn.functional.normalize(x, eps=1e-12)
    (own,) = torch.autograd.grad(_ntxent(unit, y, EVERY["ntxent_loss"]["temperature"]), x)
    assert np.isfinite(expected[1]).all()
    np.testing.assert_allclose(gradient[0], own[0].numpy(), rtol=1e-8)


def _ntxent(unit: Any, y: Any, temperature: float) -> Any:
    s = unit @ unit.T / temperature
    losses = []
    for i in range(len(y)):
        for p in range(len(y)):
            if p != i and y[p] == y[i]:
                negatives = [s[i, k] for k in range(len(y)) if y[k] != y[i]]
                losses.append(torch.logsumexp(torch.stack([s[i, p], *negatives]), 0) - s[i, p])
    return torch.stack(losses).mean()


@pytest.mark.usefixtures("isa")
def test_average_precision_of_distances_beyond_the_last_bin() -> None:
    """Unnormalized distances of more than 4: all in the last bin, whose gradient is 0."""
    e, y = np.array([[0.0], [9.0], [20.0], [-30.0]]), np.array([0, 0, 1, 1])
    value, gradient = fl.value_and_grad(fl.fast_ap_loss)(e, y, normalize=False, num_bins=5)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


# ---- Heads -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("isa")
def test_the_first_of_equal_centers_is_the_class(rng: np.random.Generator) -> None:
    """Centers that are the same: the loss of one each, and a gradient by the first alone."""
    x, weight = rng.normal(size=(20, 8)), rng.normal(size=(5, 8))
    target = rng.integers(0, 5, 20)
    value, (by_x, by_weight) = fl.value_and_grad(fl.arcface_loss, argnums=(0, 1))(x, weight, target)
    twice = np.repeat(weight, 2, axis=0)
    value2, (by_x2, by_twice) = fl.value_and_grad(fl.subcenter_arcface_loss, argnums=(0, 1))(
        x, twice, target, sub_centers=2
    )
    np.testing.assert_allclose(value2, value, rtol=1e-12)
    np.testing.assert_allclose(by_x2, by_x, rtol=0, atol=1e-12 * np.abs(by_x).max())
    assert np.all(by_twice[1::2] == 0)
    np.testing.assert_allclose(by_twice[::2], by_weight, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("isa")
def test_an_easy_margin_ends_at_a_right_angle() -> None:
    """cos 90 degrees is not above 0: no margin."""
    x, weight = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    target = np.array([0])
    easy = fl.arcface_loss(x, weight, target, easy_margin=True, scale=2.0)
    np.testing.assert_allclose(easy, fl.normface_loss(x, weight, target, scale=2.0), rtol=1e-14)


# ---- Miners, outputs ---------------------------------------------------------------------------


def test_ranges_of_a_miner_are_inclusive() -> None:
    e, y = np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1])
    anchors, positives, _, _ = fl.mine_easy_hard(
        e, y, normalize=False, pos_strategy="all", neg_strategy="all", allowed_pos_range=(0, 1)
    )
    assert sorted(zip(anchors, positives, strict=True)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["mse_loss", "cross_entropy", "cosine_similarity_loss"])
def test_out_that_is_the_prediction_backwards(name: str, dtype: str) -> None:
    """Only the very memory of an argument may be its gradient's."""
    x = np.arange(12.0).reshape(3, 4).astype(getattr(ml_dtypes, dtype, None) or dtype)
    target = np.array([0, 1, 2]) if name == "cross_entropy" else x.copy()
    before = x.copy()
    for view in (x[::-1], x[:, ::-1], x[::-1, ::-1]):
        with pytest.raises(ValueError, match="out"):
            fl.value_and_grad(getattr(fl, name))(x, target, out=view)
        assert_same_bits(x, before)
