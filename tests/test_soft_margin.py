"""The dynamic soft margin: weights by a running histogram, from all triplets without a list."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses

import fusedloss as fl
import fusedloss.torch as front
from checks import DTYPES, assert_same_bits
from fusedloss._lower import soft_margin
from fusedloss.torch import functional as F
from parts import Array

MODES = ("labels", "references", "pairs of rows", "triplets", "listed pairs")

GRADIENT = fl.value_and_grad(fl.dynamic_soft_margin_loss)


def batch(mode: str, seed: int, n: int = 13, d: int = 40) -> tuple[Array, Any, dict[str, Any]]:
    """Embeddings, labels, and the other arguments of a mode; x stays far from the last node."""
    rng = np.random.default_rng(seed)
    e, y = rng.normal(size=(n, d)), np.sort(rng.integers(0, 4, n))
    references = e + 0.6 * rng.normal(size=e.shape)
    if mode == "references":
        return e, y, {"ref_embeddings": references, "ref_labels": rng.integers(0, 4, n)}
    if mode == "pairs of rows":
        return e, None, {"ref_embeddings": references}
    if mode == "triplets":
        return e, y, {"indices_tuple": fl.mine_triplets(e, y, margin=0.1)}
    if mode == "listed pairs":
        return e, y, {"indices_tuple": fl.mine_multi_similarity(e, y, epsilon=0.3)}
    return e, y, {}


def tensors(given: Any) -> Any:
    """The same as tensors."""
    if isinstance(given, dict):
        return {name: tensors(x) for name, x in given.items()}
    return tuple(map(tensors, given)) if isinstance(given, tuple) else torch.from_numpy(given)


def differences(e: Array, y: Any, given: dict[str, Any]) -> Array:
    """d(a, p) - d(a, n) of every triplet, one by one."""
    r = given.get("ref_embeddings", e)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (e, r))
    d = np.linalg.norm(a[:, None] - b, axis=2)
    n = range(len(e))
    if "indices_tuple" in given:
        listed = given["indices_tuple"]
        if len(listed) == 3:
            return d[listed[0], listed[1]] - d[listed[0], listed[2]]
        positive, negative = (list(zip(*listed[k : k + 2], strict=True)) for k in (0, 2))
        both = itertools.product(positive, negative)
        return np.array([d[i, p] - d[j, q] for (i, p), (j, q) in both if i == j])
    if y is None:
        return np.array([d[i, i] - min(min(d[i, j], d[j, i]) for j in n if j != i) for i in n])
    z = given.get("ref_labels", y)
    own = r is e
    return np.array(
        [
            d[i, p] - d[i, q]
            for i, p, q in itertools.product(n, range(len(r)), range(len(r)))
            if y[i] == z[p] and y[i] != z[q] and not (own and i == p)
        ]
    )


def counted(x: Array, bins: int, least: float) -> Array:
    """The counts at the nodes."""
    at = np.clip((x - least) / (2 * abs(least) / bins), 0, bins - 1)
    first = np.floor(at).astype(int)
    counts = np.bincount(first, 1 - (at - first), minlength=bins)
    return counts + np.bincount(np.minimum(first + 1, bins - 1), at - first, minlength=bins)


def weights(x: Array, histogram: Array, least: float) -> Array:
    bins = len(histogram)
    at = np.floor((x - least) / (2 * abs(least) / bins)).astype(int)
    return (np.cumsum(histogram) / histogram.sum())[np.clip(at, 0, bins - 1)]


@pytest.mark.parametrize("bins", [1, 2, 10, 37])
@pytest.mark.parametrize("least", [-2.0, -0.2])  # x is beyond both ends of the second
@pytest.mark.parametrize(("mode", "few"), [*((x, soft_margin.FEW) for x in MODES), ("labels", 0)])
def test_formula(
    mode: str, few: int, least: float, bins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, value and gradients, of a histogram and of none, against triplets one by one."""
    monkeypatch.setattr(soft_margin, "FEW", few)
    e, y, given = batch(mode, 0)
    options: dict[str, Any] = {"num_bins": bins, "min_val": least}
    x = differences(e, y, given)
    counts = fl.soft_margin_histogram(e, y, **given, **options)
    expected = counted(x, bins, least)
    np.testing.assert_allclose(counts, expected, rtol=1e-12, atol=1e-12 * len(x))
    rng = np.random.default_rng(1)
    step = rng.normal(size=e.shape)
    for histogram in (None, rng.uniform(1, 2, bins), np.zeros(bins)):
        h = expected if histogram is None or not histogram.any() else histogram
        value, gradient = GRADIENT(e, y, histogram=histogram, **given, **options)
        assert value == fl.dynamic_soft_margin_loss(e, y, histogram=histogram, **given, **options)
        np.testing.assert_allclose(value, (weights(x, h, least) * x).mean(), rtol=1e-11)
        # the weights are constants in it
        size = 1e-6
        moved = [differences(e + s * step, y, given) for s in (size, -size)]
        slope = (weights(x, h, least) * (moved[0] - moved[1])).mean() / (2 * size)
        np.testing.assert_allclose((gradient * step).sum(), slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("bins", [10, 7])
@pytest.mark.parametrize("mode", MODES)
def test_steps_of_pytorch_metric_learning(mode: str, bins: int) -> None:
    """Values and histograms of several batches: by functions, and by the module."""
    theirs = losses.DynamicSoftMarginLoss(num_bins=bins, momentum=0.05)
    ours = front.DynamicSoftMarginLoss(num_bins=bins, momentum=0.05).double()
    histogram = np.zeros(bins)
    for seed in range(4):
        e, y, given = batch(mode, seed)
        names = {"ref_embeddings": "ref_emb"}
        of_module = {names.get(name, name): tensors(x) for name, x in given.items()}
        labels = None if y is None else tensors(y)
        full = {"indices_tuple": None, "ref_emb": None, "ref_labels": None} | of_module
        expected = theirs(tensors(e), labels, **full).item()
        counts = fl.soft_margin_histogram(e, y, num_bins=bins, **given)
        share = 0.05 if histogram.any() else 1.0
        histogram = (1 - share) * histogram + share * counts
        histogram /= histogram.sum()
        value = fl.dynamic_soft_margin_loss(e, y, histogram=histogram, num_bins=bins, **given)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(histogram, theirs.hist_, rtol=1e-12, atol=1e-15)
        module = ours(tensors(e).requires_grad_(), labels, **of_module)
        module.backward()
        np.testing.assert_allclose(module.item(), expected, rtol=1e-12)
        np.testing.assert_allclose(ours.histogram, theirs.hist_, rtol=1e-12, atol=1e-15)
    kept = ours.histogram.clone()
    ours.eval()(tensors(e), labels, **of_module)
    assert ours.histogram.equal(kept)


@pytest.mark.parametrize("mode", MODES)
def test_torch_by_formula(mode: str) -> None:
    e, y, given = batch(mode, 0)
    labels, others = None if y is None else tensors(y), tensors(given)
    for histogram in (None, torch.linspace(1, 2, 10, dtype=torch.float64)):

        def loss(x: Any, histogram: Any = histogram) -> Any:
            return F.dynamic_soft_margin_loss(x, labels, histogram=histogram, **others)

        x = tensors(e).requires_grad_()
        value = loss(x)
        by_formula, pullback = torch.func.vjp(loss, x.detach())
        torch.testing.assert_close(by_formula, value, rtol=1e-12, atol=0)
        (expected,) = pullback(torch.ones_like(value))
        (gradient,) = torch.autograd.grad(value, x)
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: str) -> None:
    """Computed in float64 whatever comes, and the gradient rounded once."""
    for mode in MODES:
        e, y, given = batch(mode, 2)
        rounded = {
            name: x.astype(dtype) if name == "ref_embeddings" else x for name, x in given.items()
        }
        wide = {
            name: x.astype("float64") if name == "ref_embeddings" else x
            for name, x in rounded.items()
        }
        e = e.astype(dtype)
        value, gradient = GRADIENT(e, y, **rounded)
        expected, exact = GRADIENT(e.astype("float64"), y, **wide)
        assert value == expected
        assert gradient.dtype == dtype
        assert_same_bits(gradient, exact.astype(dtype))


def test_blocks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in MODES:
        e, y, given = batch(mode, 3)
        value, gradient = GRADIENT(e, y, **given)
        monkeypatch.setattr(soft_margin, "BLOCK", 40)
        monkeypatch.setattr(soft_margin, "CHUNK", 5)
        monkeypatch.setattr(soft_margin, "FEW", 0)
        for threads in (1, 3):
            parts, by_parts = GRADIENT(e, y, **given, num_threads=threads)
            np.testing.assert_allclose(parts, value, rtol=1e-13)
            np.testing.assert_allclose(by_parts, gradient, rtol=1e-10, atol=1e-15)
        monkeypatch.undo()


def test_both_towers_and_places() -> None:
    e, y, given = batch("references", 0)
    both = fl.value_and_grad(fl.dynamic_soft_margin_loss, argnums=(0, 5))
    out = np.empty_like(e), np.empty_like(e)
    _, gradients = both(e, y, **given, grad_output=2.0, out=out)
    assert all(x is y for x, y in zip(gradients, out, strict=True))
    assert_same_bits(gradients[0], 2 * GRADIENT(e, y, **given)[1])
    size, step = 1e-6, np.random.default_rng(0).normal(size=e.shape)
    histogram = fl.soft_margin_histogram(e, y, **given)
    sides = [
        fl.dynamic_soft_margin_loss(
            *(e, y),
            histogram=histogram,
            ref_embeddings=given["ref_embeddings"] + s * step,
            ref_labels=given["ref_labels"],
        )
        for s in (size, -size)
    ]
    np.testing.assert_allclose((gradients[1] * step).sum(), (sides[0] - sides[1]) / size, rtol=1e-5)


# ---- Special values ----------------------------------------------------------------------------


def test_no_triplets() -> None:
    e = np.eye(4)
    for y in (np.zeros(4, int), np.arange(4)):
        value, gradient = GRADIENT(e, y)
        assert value == 0
        assert not gradient.any()
        assert not fl.soft_margin_histogram(e, y).any()
    nothing = e[:0]
    value, gradient = GRADIENT(nothing, None, ref_embeddings=nothing)
    assert value == 0
    assert gradient.shape == (0, 4)
    empty = torch.zeros(0, 4, requires_grad=True)
    of_rows = F.dynamic_soft_margin_loss(empty, None, ref_embeddings=empty)
    (gradient,) = torch.autograd.grad(of_rows, empty, create_graph=True)
    assert gradient.shape == (0, 4)
    module = front.DynamicSoftMarginLoss()
    assert module(torch.eye(4), torch.arange(4)).item() == 0
    assert not module.histogram.any()


def test_duplicates_and_zeros() -> None:
    """Distances of 0 and embeddings of no direction: finite, and no gradient by the latter."""
    e = np.array([[1.0, 0], [1, 0], [1, 0], [0, 0], [0, 1]])
    value, gradient = GRADIENT(e, [0, 0, 1, 1, 0])
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert not gradient[3].any()


def test_opposite_directions() -> None:
    """x = 2 is past the last node, where pytorch-metric-learning finds no bin."""
    e, y = np.array([[1.0, 0], [-1, 0], [1, 0]]), [0, 0, 1]
    counts = fl.soft_margin_histogram(e, y)
    assert counts[-1] == counts[5] == 1  # x = 0 is of the other anchor
    with pytest.raises(RuntimeError, match="out of bounds"):
        losses.DynamicSoftMarginLoss()(torch.from_numpy(e), torch.tensor(y))


@pytest.mark.parametrize("bins", [1, 2, 10])
@pytest.mark.parametrize("least", [-1e-320, -1e-300, -1e300, -1e308])
def test_bins_of_any_width(bins: int, least: float) -> None:
    """Distances are shared out between the nodes round them, and none is lost."""
    e, y, _ = batch("labels", 0)
    counts = fl.soft_margin_histogram(e, y, num_bins=bins, min_val=least)
    usual = fl.soft_margin_histogram(e, y, num_bins=bins)
    np.testing.assert_allclose(counts.sum(), usual.sum(), rtol=1e-12)  # sums of products
    value, gradient = GRADIENT(e, y, num_bins=bins, min_val=least)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_nan_is_seen() -> None:
    for mode in ("labels", "references", "pairs of rows"):
        e, y, given = batch(mode, 0)
        e[3, 2] = np.nan
        assert np.isnan(fl.dynamic_soft_margin_loss(e, y, **given))


@pytest.mark.parametrize("convert", ["half", "bfloat16", "double"])
def test_the_histogram_is_never_of_16_bits(convert: str) -> None:
    module = getattr(front.DynamicSoftMarginLoss(), convert)()
    assert module.histogram.dtype is (torch.float64 if convert == "double" else torch.float32)


MEMORY = """
import numpy as np, fusedloss as fl
rng = np.random.default_rng(0)
n, d = 3000, 16
e, y = rng.normal(size=(n, d)), np.arange(n) % 100
grad = fl.value_and_grad(fl.dynamic_soft_margin_loss)
grad(e[:200], y[:200], num_threads=1)
def status(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
grad(e, y, num_threads=1)
print((status("VmHWM") - before) / 2**20)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no high-water mark here")
def test_memory_is_bounded(run_python: Callable[..., str]) -> None:
    """258 million triplets; the distances of a few anchors to all references are held."""
    assert float(run_python(MEMORY)) < 66


# ---- Errors ------------------------------------------------------------------------------------

E, Y = np.eye(4), np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((E[0], Y), {}, ValueError, r"embeddings has shape \(4,\): expected \(N, D\)"),
        ((E, Y[:3]), {}, ValueError, r"labels has shape \(3,\): expected \(4,\)"),
        ((E, Y + 0.5), {}, TypeError, "labels has dtype float64: expected integer labels"),
        ((E, None), {}, TypeError, "labels is None: expected integer labels, or ref_embeddings"),
        ((E, None), {"ref_embeddings": E[:3]}, ValueError, "ref_embeddings has 3 rows: expected 4"),
        ((E[:1], None), {"ref_embeddings": E[:1]}, ValueError, "embeddings has 1 row: expected"),
        ((E, None), {"ref_embeddings": E, "ref_labels": Y}, ValueError, "labels is None"),
        ((E, Y), {"ref_embeddings": E}, ValueError, "ref_labels is None"),
        ((E, Y), {"num_bins": 0}, ValueError, "num_bins is 0"),
        ((E, Y), {"min_val": 0.0}, ValueError, "min_val is 0.0: expected a negative number"),
        ((E, Y), {"min_val": -np.inf}, ValueError, "min_val is -inf"),
        ((E, Y), {"histogram": np.ones(9)}, ValueError, r"histogram has shape \(9,\): expected"),
        ((E, Y), {"histogram": np.arange(10) - 3.0}, ValueError, r"histogram\[0\] is -3.0"),
        ((E, Y), {"histogram": np.full(10, np.inf)}, ValueError, r"histogram\[0\] is inf"),
        ((E, Y), {"histogram": np.full(10, 1e308)}, ValueError, "histogram has an infinite sum"),
        ((E, Y), {"indices_tuple": (Y, Y, Y + 9)}, IndexError, r"indices_tuple\[2\]"),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fl.dynamic_soft_margin_loss(*arguments, **options)
    if "histogram" not in options:
        with pytest.raises(error, match=message):
            fl.soft_margin_histogram(*arguments, **options)


def test_a_bad_momentum() -> None:
    for momentum in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"momentum is .*: expected a number from 0 to 1"):
            front.DynamicSoftMarginLoss(momentum=momentum)
