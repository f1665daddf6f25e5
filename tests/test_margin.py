"""Margin-softmax heads: the loss of scaled cosines with a margin, and its gradients."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

import fusedloss as fl
import fusedloss.torch as front
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
from reference.margin import HEADS, centers_of, evaluate_head
from test_linear import MEMORY

#: Workspaces that hold the logits of all rows, of chunks of them, and of none: computed again.
WORKSPACES = (None, 3 * 2**20, 1)

#: Positions, features, classes: the fewest (with one feature all angles are 0 or pi), primes, and
#: around panels, tiles and blocks.
SIZES = (
    (1, 2, 1),
    (2, 7, 5),
    (33, 32, 32),
    (31, 17, 101),
    (70, 33, 97),
    (530, 5, 67),
    (21, 1030, 26),
)

#: Every head with margins that its cosines meet on both sides.
MARGINS: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("arcface_loss", {"margin": 0.5}, 64.0),
    ("arcface_loss", {"margin": 2.0}, 8.0),
    ("arcface_loss", {"margin": 0.5, "easy_margin": True}, 16.0),
    ("cosface_loss", {"margin": 0.35}, 64.0),
    ("combined_margin_loss", {"m1": 0.9, "m2": 0.4, "m3": 0.15}, 32.0),
    ("combined_margin_loss", {"m2": 0.5, "interclass_filtering_threshold": 0.3}, 32.0),
    ("normface_loss", {}, 20.0),
    ("l2_softmax_loss", {}, 10.0),
    ("l_softmax_loss", {"margin": 4.0}, 1.0),
    ("a_softmax_loss", {"margin": 3.0}, 1.0),
    ("sphereface_loss", {"margin": 1.5}, 30.0),
    ("subcenter_arcface_loss", {"margin": 0.5, "sub_centers": 3}, 16.0),
    ("curricularface_loss", {"margin": 0.5, "t": 0.2}, 16.0),
    ("adaface_loss", {"margin": 0.4, "h": 0.333, "norm_mean": 6.0, "norm_std": 2.0}, 16.0),
    (
        "magface_loss",
        {"l_a": 4.0, "u_a": 9.0, "l_margin": 0.45, "u_margin": 0.8, "lambda_g": 3.0},
        16.0,
    ),
    (
        "magface_loss",
        {
            **{"l_a": 4.0, "u_a": 9.0, "l_margin": 0.45, "u_margin": 0.8, "lambda_g": 3.0},
            "easy_margin": False,
        },
        16.0,
    ),
    ("proxy_nca_loss", {}, 12.0),
    ("soft_triple_loss", {"margin": 0.05, "centers_per_class": 3, "gamma": 0.2}, 20.0),
    ("arcface_loss", {"margin": -0.4}, 16.0),
)

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"gradient": "detached"},
    {"class_weight": True, "ignore": True},
    {"label_smoothing": 0.1, "sample_weight": True},
    {"annealing": 5.0, "reduction": "sum"},
    {"focal_gamma": 1.5, "class_weight": True, "ignore": True},
    {"ignore": True, "reduction": "none"},
    {"class_weight": True, "label_smoothing": 0.2, "sample_weight": True, "ignore": True},
)


@dataclass(frozen=True)
class Case:
    """One call's inputs, built on demand."""

    head: int
    positions: int
    features: int
    classes: int
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, dtype: Any) -> tuple[Array, Array, Array, dict[str, Any]]:
        """Embeddings, weights, target and options; the same numbers in every run.

        Embeddings are of norms from 3 to 10, and at angles to their class that are small, right and
        large, but none within 1e-2 of 0 or pi, where slopes amplify the error of an angle.
        """
        rng = np.random.default_rng([self.head, self.positions, self.features, self.classes])
        n, d, c = self.positions, self.features, self.classes
        centers = centers_of(MARGINS[self.head][1])
        weight = rng.normal(size=(c * centers, d))
        target = rng.integers(0, c, size=n)
        own = weight[target * centers]
        own = own / np.linalg.norm(own, axis=-1, keepdims=True)
        other = rng.normal(size=(n, d))
        other = other / np.linalg.norm(other, axis=-1, keepdims=True)
        x = rng.uniform(-1.5, 2.5, size=(n, 1)) * own + other
        x *= rng.uniform(3, 10, size=(n, 1)) / np.linalg.norm(x, axis=-1, keepdims=True)
        options = {name: x for name, x in self.options.items() if name != "ignore"}
        if options.get("class_weight"):
            options["class_weight"] = rng.uniform(0.25, 2, size=c).astype(dtype)
        if options.get("sample_weight"):
            options["sample_weight"] = rng.uniform(0.25, 2, size=n).astype(dtype)
        if self.options.get("ignore"):
            target[1:][rng.random(n - 1) < 0.3] = -1  # the mean of nothing is another test's
        return x.astype(dtype), weight.astype(dtype), target, options


#: Every head with every option, and every size with some; the sizes walk in step.
CASES = tuple(
    Case(head, *SIZES[(3 * head + i) % len(SIZES)], options)
    for head in range(len(MARGINS))
    for i, options in enumerate(OPTIONS)
)


def call_of(head: int) -> tuple[Any, Any, dict[str, Any]]:
    """The loss, the function of its value and gradients, and its margins and scale."""
    name, margins, scale = MARGINS[head]
    loss = getattr(fl, name)
    return loss, fl.value_and_grad(loss, argnums=(0, 1)), {**margins, **scale_of(name, scale)}


def scale_of(name: str, scale: float) -> dict[str, float]:
    """The option of a loss that multiplies cosines by this."""
    if name == "proxy_nca_loss":
        return {"softmax_scale": scale / 2}
    return {"alpha" if name == "l2_softmax_loss" else "scale": scale}


def assert_head_right(
    head: int,
    x: Array,
    weight: Array,
    target: Array,
    *,
    grad_output: Any = None,
    workspace: int | None = None,
    **options: Any,
) -> None:
    """Value and both gradients: no further from the truth than the arithmetic must be."""
    name, margins, scale = MARGINS[head]
    loss, gradients_of, margin_options = call_of(head)
    dtype, call = x.dtype, {**margin_options, **options, "workspace": workspace}
    value, gradients = gradients_of(x, weight, target, grad_output=grad_output, **call)
    assert_same_bits(value, loss(x, weight, target, **call))
    truth = evaluate_head(
        *(name, x, weight, target, margins),
        scale=scale,
        grad_output=grad_output,
        # where the CPU multiplies bfloat16, gradients by products are rounded to it
        gradient_eps=eps(dtype) / eps("float32") if dtype == "bfloat16" else 0,
        dtype=truth_dtype(dtype),
        **options,
    )
    ulps = softmax_ulps(len(weight))
    if options.get("reduction") == "none":
        assert_quantity(value, truth.value, dtype, ulps)
    else:
        allowed = quantity_tolerance(truth.value, compute_dtype(dtype), ulps, terms=len(x))
        assert_within(value, truth.value.exact, allowed)
    for gradient, quantity in zip(gradients, truth[1:], strict=True):
        assert_quantity(gradient, quantity, dtype, ulps, terms=len(x))


# ---- Numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_head_and_option(isa: str, dtype: str) -> None:
    """Every dtype with another workspace."""
    for i, case in enumerate(CASES, DTYPES.index(dtype)):
        x, weight, target, options = case.build(dtype)
        grad_output = None
        if options.get("reduction") == "none":
            grad_output = np.linspace(-2, 3, case.positions).astype(compute_dtype(dtype))
        try:
            assert_head_right(
                *(case.head, x, weight, target),
                grad_output=grad_output,
                workspace=WORKSPACES[i % len(WORKSPACES)],
                **options,
            )
        except AssertionError as error:
            error.add_note(f"{MARGINS[case.head]} {case}")
            raise


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_combination_of_options(data: st.DataObject) -> None:
    draw = data.draw
    options = {
        "class_weight": draw(st.booleans()),
        "sample_weight": draw(st.booleans()),
        "ignore": draw(st.booleans()),
        "label_smoothing": draw(st.sampled_from((0.0, 0.1, 1.0))),
        "annealing": draw(st.sampled_from((0.0, 2.0))),
        "gradient": draw(st.sampled_from(("analytic", "detached"))),
        "reduction": draw(st.sampled_from(("none", "mean", "sum"))),
    }
    if not options["label_smoothing"]:
        options["focal_gamma"] = draw(st.sampled_from((0.0, 2.0)))
    options = {name: option for name, option in options.items() if option}
    sizes = draw(st.integers(1, 80)), draw(st.integers(2, 70)), draw(st.integers(1, 120))
    case = Case(draw(st.integers(0, len(MARGINS) - 1)), *sizes, options)
    x, weight, target, options = case.build(draw(st.sampled_from(DTYPES)))
    with instruction_set(draw(st.sampled_from(ISAS))):
        assert_head_right(
            case.head, x, weight, target, workspace=draw(st.sampled_from(WORKSPACES)), **options
        )


def test_every_head_is_in_the_table() -> None:
    assert {name for name, *_ in MARGINS} == set(HEADS)


@pytest.mark.parametrize("head", range(len(MARGINS)))
def test_reference_against_differences(head: int) -> None:
    """Along a random direction of embeddings and weights, in the wider type."""
    name, margins, scale = MARGINS[head]
    x, weight, target, _ = Case(head, 12, 6, 7).build("float64")
    rng = np.random.default_rng(head)
    dx, dw = rng.normal(size=x.shape), rng.normal(size=weight.shape)
    options: dict[str, Any] = {"scale": scale, "label_smoothing": 0.1, "dtype": np.longdouble}
    if name == "adaface_loss":  # whose gradient does not see norms: only along the sphere
        dx -= (dx * x).sum(-1, keepdims=True) * x / (x * x).sum(-1, keepdims=True)
    h = 1e-6
    high, low = (
        evaluate_head(name, x + s * dx, weight + s * dw, target, margins, **options).value.exact
        for s in (np.longdouble(h), np.longdouble(-h))
    )
    truth = evaluate_head(name, x, weight, target, margins, **options)
    slope = (truth.embeddings.exact * dx).sum() + (truth.weight.exact * dw).sum()
    np.testing.assert_allclose((high - low) / (2 * h), slope, rtol=1e-7)


@pytest.mark.parametrize("m3", [0.0, 0.35])
def test_as_insightface(m3: float) -> None:
    """Its CombinedMarginLoss and PartialFC, whose gradients do not see the margin."""
    x, weight, target, _ = Case(0, 40, 16, 30).build("float64")
    inputs = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, weight)]
    labels, rows = torch.from_numpy(target), torch.arange(len(x))
    logits = torch.nn.functional.linear(*map(normalize, inputs)).clamp(-1, 1)
    if m3:
        logits[rows, labels] = logits[rows, labels] - m3
    else:
        with torch.no_grad():
            logits[rows, labels] = torch.cos(torch.arccos(logits[rows, labels]) + 0.5)
    expected = cross_entropy(64 * logits, labels)
    expected.backward()
    value, gradients = fl.value_and_grad(fl.combined_margin_loss, argnums=(0, 1))(
        x, weight, target, m2=0.0 if m3 else 0.5, m3=m3, gradient="detached"
    )
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    for gradient, tensor in zip(gradients, inputs, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-9, atol=1e-12)


def test_same_bits_for_any_number_of_threads(isa: str, num_threads: int) -> None:
    for head in range(len(MARGINS)):
        x, weight, target, options = Case(head, 530, 16, 200, {"ignore": True}).build("float32")
        _, gradients_of, margins = call_of(head)
        for workspace in WORKSPACES:
            call = {**margins, **options, "workspace": workspace}
            one = gradients_of(x, weight, target, num_threads=1, **call)
            many = gradients_of(x, weight, target, num_threads=num_threads, **call)
            assert one[0] == many[0]
            for left, right in zip(one[1], many[1], strict=True):
                assert_same_bits(left, right)


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_strides(isa: str, dtype: str) -> None:
    x, weight, target, _ = Case(0, 67, 33, 45).build(dtype)
    gradients_of = fl.value_and_grad(fl.arcface_loss, argnums=(0, 1))
    expected = gradients_of(x, weight, target)
    turned = np.ascontiguousarray(weight.T).T
    spread = np.repeat(x, 2, axis=0)[::2]
    out = np.empty(x.shape[::-1], x.dtype).T, np.empty((45, 66), x.dtype)[:, ::2]
    for inputs, weights, places in ((x, turned, None), (spread, weight, None), (x, weight, out)):
        value, gradients = gradients_of(inputs, weights, target, out=places)
        assert value == expected[0]
        for left, right in zip(gradients, expected[1], strict=True):
            assert_same_bits(left, right)


@pytest.mark.parametrize("head", range(len(MARGINS)))
def test_one_gradient_is_that_of_both(isa: str, head: int) -> None:
    x, weight, target, _ = Case(head, 70, 16, 50).build("float32")
    loss, gradients_of, margins = call_of(head)
    value, (by_embeddings, by_weight) = gradients_of(x, weight, target, **margins)
    for number, expected in enumerate((by_embeddings, by_weight)):
        alone, gradient = fl.value_and_grad(loss, argnums=number)(x, weight, target, **margins)
        assert alone == value
        # chunks hold other numbers of rows, so sums are cut elsewhere
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_positions_of_several_dimensions() -> None:
    x, weight, target, _ = Case(0, 24, 6, 9).build("float32")
    gradients_of = fl.value_and_grad(fl.arcface_loss, argnums=(0, 1))
    value, (by_x, by_weight) = gradients_of(x, weight, target)
    shaped = gradients_of(x.reshape(2, 12, 6), weight, target.reshape(2, 12))
    assert shaped[0] == value
    assert_same_bits(shaped[1][0].reshape(24, 6), by_x)
    assert_same_bits(shaped[1][1], by_weight)


# ---- Given cosines -----------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_given_cosines(
    isa: str, dtype: str, options: dict[str, Any], workspace: int | None
) -> None:
    """Against torch's differentiable operations, in float64."""
    _, _, target, call = Case(0, 70, 5, 67, options).build(dtype)
    rng = np.random.default_rng(3)
    cosine = rng.uniform(-0.9, 0.9, size=(70, 67)).astype(dtype)
    margins = {"m1": 0.9, "m2": 0.3, "m3": 0.1, "scale": 16.0}
    grad_output = None
    if call.get("reduction") == "none":
        grad_output = np.linspace(-2, 3, 70).astype(compute_dtype(dtype))
    value, gradient = fl.value_and_grad(fl.margin_cross_entropy)(
        cosine, target, grad_output=grad_output, workspace=workspace, **margins, **call
    )
    share = 1 / (1 + call.get("annealing", 0.0))
    z = torch.from_numpy(cosine.astype(np.float64)).requires_grad_()
    rows, labels = torch.arange(70), torch.from_numpy(target)
    at = labels.clamp(min=0)
    c = z[rows, at]
    psi = share * (call.get("annealing", 0.0) * c + torch.cos(0.9 * torch.acos(c) + 0.3) - 0.1)
    if call.get("gradient") == "detached":
        psi = c + (psi - c).detach()
    class_weight = call.get("class_weight")
    logits = 16 * z.index_put((rows, at), psi)
    losses = cross_entropy(
        logits,
        labels,
        weight=None if class_weight is None else torch.from_numpy(class_weight.astype(np.float64)),
        ignore_index=-1,
        reduction="none",
        label_smoothing=call.get("label_smoothing", 0.0),
    )
    weights = torch.from_numpy(np.asarray(call.get("sample_weight", np.ones(70)), np.float64))
    losses = losses * weights * (1 - logits.softmax(-1)[rows, at]) ** call.get("focal_gamma", 0.0)
    counted = weights * (labels >= 0)
    if class_weight is not None:
        counted = counted * torch.from_numpy(class_weight.astype(np.float64))[at]
    reduction = call.get("reduction", "mean")
    total = losses.sum() / (counted.sum() if reduction == "mean" else 1)
    if grad_output is not None:
        total = (losses * torch.from_numpy(grad_output.astype(np.float64))).sum()
    total.backward()
    expected = losses.detach() if reduction == "none" else total.item()
    # logits of up to 16 are rounded once, and results to their dtype
    tolerance = 64 * eps(compute_dtype(dtype))
    stored = tolerance + (eps(dtype) if reduction == "none" else 0)
    np.testing.assert_allclose(np.asarray(value, np.float64), expected, rtol=stored, atol=tolerance)
    size = float(z.grad.abs().max())
    np.testing.assert_allclose(
        gradient.astype(np.float64), z.grad, rtol=eps(dtype), atol=tolerance * size
    )


# ---- Special values ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", range(len(MARGINS)))
def test_angles_of_0_and_pi(isa: str, dtype: str, head: int) -> None:
    """Embeddings along their weights, against them, and equal ones: finite, and right angles."""
    loss, gradients_of, margins = call_of(head)
    centers = centers_of(margins)
    weight = np.repeat(np.eye(4), centers, axis=0).astype(dtype)
    x = (7 * np.array([[1, 0, 0, 0], [-1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])).astype(dtype)
    value, gradients = gradients_of(x, weight, np.array([0, 0, 0, 0]), **margins)
    assert math.isfinite(value)
    for gradient in gradients:
        assert np.isfinite(gradient.astype(np.float64)).all()
    assert_same_bits(gradients[0][0], gradients[0][2])
    assert loss(x[3:], weight, np.array([1]), **margins) < loss(
        x[3:], weight, np.array([0]), **margins
    )


@pytest.mark.parametrize("head", range(len(MARGINS)))
def test_zeros_have_no_direction(isa: str, head: int) -> None:
    x, weight, target, _ = Case(head, 20, 8, 6).build("float32")
    _, gradients_of, margins = call_of(head)
    x[3] = 0
    centers = centers_of(margins)
    weight[2 * centers : 3 * centers] = 0
    value, (by_x, by_weight) = gradients_of(x, weight, target, **margins)
    assert math.isfinite(value)
    assert np.isfinite(by_x).all()
    assert np.isfinite(by_weight).all()
    if not HEADS[MARGINS[head][0]][1]:
        assert not by_x[3].any()
    if not HEADS[MARGINS[head][0]][2]:
        assert not by_weight[2 * centers : 3 * centers].any()


@pytest.mark.parametrize("head", range(len(MARGINS)))
@pytest.mark.parametrize("workspace", WORKSPACES)
def test_ignored_positions_reach_no_gradient(isa: str, head: int, workspace: int | None) -> None:
    x, weight, target, _ = Case(head, 100, 20, 50).build("float32")
    _, gradients_of, margins = call_of(head)
    target[::3] = -1
    counted = target != -1
    expected = gradients_of(x[counted], weight, target[counted], workspace=workspace, **margins)
    x[~counted] = np.nan
    value, (by_x, by_weight) = gradients_of(x, weight, target, workspace=workspace, **margins)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    assert not by_x[~counted].any()
    np.testing.assert_allclose(by_weight, expected[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", range(len(MARGINS)))
@pytest.mark.parametrize("positions", [0, 3])
def test_the_mean_of_nothing(head: int, positions: int) -> None:
    x, weight, _, _ = Case(head, 3, 5, 7).build("float32")
    _, gradients_of, margins = call_of(head)
    target = np.full(positions, -1)
    value, (by_x, by_weight) = gradients_of(x[:positions], weight, target, **margins)
    assert math.isnan(value)
    assert by_x.shape == (positions, 5)
    assert not by_x.any()
    assert not by_weight.any()


# ---- Memory and statistics ---------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no high-water mark here")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sizes", [(3000, 16, 40000), (64, 256, 300000)])
def test_memory_is_bounded(
    run_python: Callable[..., str], sizes: tuple[int, int, int], dtype: str
) -> None:
    """64 MiB beyond inputs and gradients, whatever the shape, and a little for the allocator."""
    program = MEMORY.replace("linear_cross_entropy", "arcface_loss")
    assert float(run_python(program, *map(str, sizes), dtype)) < 66


def test_adaface_takes_the_norms_of_the_batch() -> None:
    x, weight, target, _ = Case(0, 30, 8, 6).build("float64")
    target[:4] = -1
    norms = np.linalg.norm(x[4:], axis=-1)
    assert fl.adaface_loss(x, weight, target) == fl.adaface_loss(
        x, weight, target, norm_mean=norms.mean(), norm_std=norms.std(ddof=1)
    )


# ---- Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "options", "error", "message"),
    [
        (
            "arcface_loss",
            {"focal_gamma": 2.0, "label_smoothing": 0.1},
            ValueError,
            r"focal_gamma is 2\.0 and label_smoothing 0\.1",
        ),
        ("arcface_loss", {"target": [0, 7, -1]}, IndexError, r"target\[1\] is 7"),
        ("arcface_loss", {"target": [0, 1]}, ValueError, r"target has shape \(2,\)"),
        ("arcface_loss", {"target": [0.0, 1, 2]}, TypeError, "target has dtype float64"),
        ("arcface_loss", {"weight": np.ones((7, 4))}, ValueError, "embeddings has shape"),
        ("arcface_loss", {"weight": np.ones((0, 5))}, ValueError, "weight has shape"),
        ("arcface_loss", {"weight": np.ones((7, 5), "float32")}, TypeError, "weight has dtype"),
        ("arcface_loss", {"class_weight": np.ones(6)}, ValueError, "class_weight has shape"),
        ("arcface_loss", {"sample_weight": np.ones(6)}, ValueError, "sample_weight has shape"),
        ("subcenter_arcface_loss", {"sub_centers": 2}, ValueError, r"classes \* 2"),
    ],
)
def test_errors(loss: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    arrays = {"embeddings": np.ones((3, 5)), "weight": np.ones((7, 5)), "target": [0, 1, -1]}
    call = {**arrays, **options}
    with pytest.raises(error, match=message):
        getattr(fl, loss)(**call)


NAN, INF = math.nan, math.inf
SIGNED_ANGLE, ANGLE = "expected radians from -pi to pi", "expected radians from 0 to pi"
COSINE, POSITIVE = "expected a number from -2 to 2", "expected a positive number"
SHARE, NOT_NEGATIVE = "expected a number from 0 to 1", "expected a number of at least 0"

#: What heads make no sense of, and what they ask for.
REFUSED: tuple[tuple[str, str, tuple[Any, ...], str], ...] = (
    ("arcface_loss", "margin", (-9, 3.2, 28.6, NAN, -INF), SIGNED_ANGLE),
    ("subcenter_arcface_loss", "margin", (-9, 28.6, NAN), SIGNED_ANGLE),
    ("curricularface_loss", "margin", (-0.1, 28.6, NAN), ANGLE),
    ("adaface_loss", "margin", (-0.1, 28.6, NAN), ANGLE),
    ("magface_loss", "l_margin", (-0.1, 28.6, NAN), ANGLE),
    ("magface_loss", "u_margin", (-0.1, 28.6, NAN), ANGLE),
    ("magface_loss", "u_margin", (0.3,), "expected l_margin <= u_margin"),
    ("cosface_loss", "margin", (-2.5, 35, NAN, INF), COSINE),
    ("soft_triple_loss", "margin", (-2.5, 35, NAN), COSINE),
    ("proxy_anchor_loss", "margin", (-2.5, 35, NAN), COSINE),
    *(
        (name, option, values, expected)
        for name in ("combined_margin_loss", "margin_cross_entropy")
        for option, values, expected in (
            ("m1", (0, -1, NAN, INF), POSITIVE),
            ("m2", (-9, 28.6, NAN), SIGNED_ANGLE),
            ("m3", (-2.5, 35, NAN), COSINE),
        )
    ),
    ("combined_margin_loss", "interclass_filtering_threshold", (-0.1, 1.5, NAN), SHARE),
    ("l_softmax_loss", "margin", (0, -4, 2.5, NAN, INF), "expected a positive integer"),
    ("a_softmax_loss", "margin", (0, -4, 2.5, NAN, INF), "expected a positive integer"),
    ("sphereface_loss", "margin", (0, 0.5, -4, NAN, INF), "expected a factor of at least 1"),
    ("subcenter_arcface_loss", "sub_centers", (0, -1), "expected a number of at least 1"),
    ("soft_triple_loss", "centers_per_class", (0, -1), "expected a number of at least 1"),
    ("curricularface_loss", "t", (NAN, INF), "expected a finite number"),
    ("magface_loss", "l_a", (0, -1, NAN, INF), POSITIVE),
    ("magface_loss", "u_a", (0, -1, NAN, INF), POSITIVE),
    ("magface_loss", "u_a", (3,), "expected l_a < u_a"),
    ("magface_loss", "lambda_g", (-1, NAN, INF), NOT_NEGATIVE),
    ("adaface_loss", "h", (-1, NAN, INF), NOT_NEGATIVE),
    ("adaface_loss", "norm_mean", (-1, NAN, INF), NOT_NEGATIVE),
    ("adaface_loss", "norm_std", (-1, NAN, INF), NOT_NEGATIVE),
    ("l2_softmax_loss", "alpha", (0, -1, NAN, INF), POSITIVE),
    ("proxy_anchor_loss", "alpha", (0, -1, NAN, INF), POSITIVE),
    ("proxy_nca_loss", "softmax_scale", (0, -1, NAN, INF), POSITIVE),
    ("soft_triple_loss", "gamma", (0, -1, NAN, INF), POSITIVE),
    *(
        (name, option, values, expected)
        for name in (*dict.fromkeys(name for name, *_ in MARGINS), "margin_cross_entropy")
        for option, values, expected in (
            ("scale", (0, -1, NAN, INF), POSITIVE),
            ("annealing", (-1, NAN, INF), NOT_NEGATIVE),
            ("label_smoothing", (-0.1, 1.5, NAN), SHARE),
            ("focal_gamma", (-1, 65, NAN), "expected a number from 0 to 64"),
            ("gradient", ("none",), "expected 'analytic' or 'detached'"),
            ("reduction", ("median",), "expected 'none', 'mean' or 'sum'"),
            ("workspace", (0, -1), "expected a positive number of bytes"),
        )
        if option in inspect.signature(getattr(fl, name)).parameters
    ),
)


def arguments_of(loss: str, options: dict[str, Any]) -> list[Array]:
    """Arrays that a loss takes, in its order."""
    defaults = {
        "soft_triple_loss": {"centers_per_class": 10},
        "subcenter_arcface_loss": {"sub_centers": 3},
    }
    centers = max(centers_of(defaults.get(loss, {}) | options), 1)
    target = np.array([0, 1, 2])
    if loss == "margin_cross_entropy":
        return [np.ones((3, 7)), target]
    return [np.ones((3, 5)), np.ones((7 * centers, 5)), target]


def refusal(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(ValueError, match="expected") as raised:
        function(*arguments, **options)
    return str(raised.value)


@pytest.mark.parametrize(
    ("loss", "option", "values", "expected"), REFUSED, ids=lambda x: x if isinstance(x, str) else ""
)
def test_options_of_no_sense(
    loss: str, option: str, values: tuple[Any, ...], expected: str
) -> None:
    """The same error of arrays, of tensors, and in the constructor of the module."""
    for value in values:
        options = {option: value}
        arrays = arguments_of(loss, options)
        message = refusal(getattr(fl, loss), *arrays, **options)
        assert expected in message
        assert option in message
        assert str(value if isinstance(value, str | int) else float(value)) in message
        tensors = map(torch.from_numpy, arrays)
        assert refusal(getattr(front.functional, loss), *tensors, **options) == message
        if loss != "margin_cross_entropy":
            module = "".join(loss.split("_"))
            (module_class,) = (
                value for name, value in vars(front).items() if name.lower() == module
            )
            if option in inspect.signature(module_class).parameters:  # what it keeps is no option
                assert refusal(module_class, 5, 7, **options) == message


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        *(("arcface_loss", {"margin": m}) for m in (-math.pi, -0.5, 0, math.pi)),
        *(("cosface_loss", {"margin": m}) for m in (-2, -0.3, 0, 2)),
        *(("combined_margin_loss", {"m1": 0.1, "m2": m, "m3": m}) for m in (-1, 0)),
        ("l_softmax_loss", {"margin": 1}),
        ("sphereface_loss", {"margin": 1}),
        ("magface_loss", {"l_margin": 0, "u_margin": 0, "lambda_g": 0}),
        ("curricularface_loss", {"margin": 0}),
        ("adaface_loss", {"margin": 0, "h": 0}),
        ("arcface_loss", {"scale": 1e-3}),
    ],
)
def test_options_at_their_ends(loss: str, options: dict[str, Any]) -> None:
    assert math.isfinite(getattr(fl, loss)(*arguments_of(loss, options), **options))


MODULE_REFUSALS: tuple[tuple[str, str, tuple[Any, ...], str], ...] = (
    *(
        (name, option, (0, -1), "expected a number of at least 1")
        for name in ("ArcFaceLoss", "SoftTripleLoss", "ProxyAnchorLoss")
        for option in ("embedding_dim", "num_classes")
    ),
    (
        *("ArcFaceLoss", "sample_rate", (0.0, -0.1, 1.5, NAN)),
        "expected a number greater than 0 and up to 1",
    ),
    ("AdaFaceLoss", "t_alpha", (-0.1, 1.5, NAN), SHARE),
)


@pytest.mark.parametrize(("name", "option", "values", "expected"), MODULE_REFUSALS)
def test_module_options_of_no_sense(
    name: str, option: str, values: tuple[Any, ...], expected: str
) -> None:
    for value in values:
        options = {"embedding_dim": 5, "num_classes": 7, option: value}
        message = refusal(getattr(front, name), **options)
        assert message.startswith(f"{option} is {value}")
        assert expected in message


def test_errors_of_cosines() -> None:
    with pytest.raises(ValueError, match=r"cosine has shape \(\)"):
        fl.margin_cross_entropy(0.5, 0)
    with pytest.raises(IndexError, match="target is 3"):
        fl.margin_cross_entropy([0.5, 0.1], 3)
