"""Losses near their minimum: no less than 0, and right to the rounding of the similarities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import fusedloss as fl
from fusedloss.torch import functional as F
from parts import Array

#: The rounding of float32.
EPS = 2.0**-24

N, D = 150, 64


def converged(rng: np.random.Generator, dtype: str = "float32") -> tuple[Array, Array]:
    """Embeddings, and each one's partner a hundredth away."""
    a = rng.standard_normal((N, D)).astype(dtype)
    return a, (a + 0.01 * rng.standard_normal(a.shape)).astype(dtype)


class Case(NamedTuple):
    """A loss of two towers, or of a batch with pairs of the same label, at a temperature."""

    loss: str
    towers: bool
    options: Callable[[float], dict[str, Any]]


CASES = {
    "info_nce": Case("info_nce_loss", True, lambda t: {"temperature": t}),
    "clip": Case("clip_loss", True, lambda t: {"logit_scale": 1 / t}),
    "siglip": Case("siglip_loss", True, lambda t: {"logit_scale": 1 / t, "logit_bias": -0.5 / t}),
    "supcon": Case("supcon_loss", False, lambda t: {"temperature": t, "reduction": "none"}),
    "ntxent": Case("ntxent_loss", False, lambda t: {"temperature": t, "reduction": "none"}),
    "nca": Case("nca_loss", False, lambda t: {"softmax_scale": 0.5 / t, "reduction": "none"}),
    "multi_similarity": Case(
        "multi_similarity_loss",
        False,
        lambda t: {"alpha": 0.5 / t, "beta": 0.5 / t, "base": 0.5, "reduction": "none"},
    ),
    "circle": Case("circle_loss", False, lambda t: {"gamma": 0.3 / t, "reduction": "none"}),
}

#: Up to where the negatives' gradients begin to cancel each other, near convergence or not.
TEMPERATURES = (0.02, 0.05, 0.1)


def arguments(case: Case, rng: np.random.Generator, dtype: str = "float32") -> tuple[Array, ...]:
    a, b = converged(rng, dtype)
    if case.towers:
        return a, b
    return np.concatenate([a, b]), np.concatenate([np.arange(N)] * 2)


def assert_rows_near(actual: Array, exact: Array, most: float) -> None:
    """Each row's norm-wise relative error is within a bound."""
    actual, exact = actual.astype(np.float64), exact.astype(np.float64)
    error = np.linalg.norm(actual - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert error.max() <= most, f"row {error.argmax()}: {error.max()} > {most}"


def wide(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(x.astype(np.float64) if x.dtype.kind == "f" else x for x in arrays)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", CASES)
def test_rows_are_right_to_the_similarities_rounding(
    name: str, temperature: float, rng: np.random.Generator
) -> None:
    case = CASES[name]
    given = arguments(case, rng)
    options = case.options(temperature) | {"reduction": "none"}
    function = fl.value_and_grad(getattr(fl, case.loss), (0, 1) if case.towers else 0)
    value, gradients = function(*given, **options)
    exact, by_exact = function(*wide(given), **options)
    most = 16 * EPS / temperature
    assert (value >= 0).all()
    np.testing.assert_allclose(value, exact, rtol=most, atol=0)
    pairs = zip(gradients, by_exact, strict=True) if case.towers else [(gradients, by_exact)]
    for gradient, by in pairs:
        assert_rows_near(gradient, by, most)


def softmax_losses(s: Array, positive: Array, negative: Array) -> Array:
    """log(1 + sum_N exp(s - s_p)) summed over the positives of each row."""
    own = np.where(positive, s, np.nan)
    each = np.exp(np.where(negative, s, -np.inf)[:, None, :] - own[:, :, None]).sum(-1)
    return np.nansum(np.log1p(each), axis=1)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", ["info_nce", "clip", "supcon", "ntxent"])
def test_float64_is_the_formula_less_the_positive(
    name: str, temperature: float, rng: np.random.Generator
) -> None:
    case = CASES[name]
    given = arguments(case, rng, "float64")
    a = given[0] / np.linalg.norm(given[0], axis=1, keepdims=True)
    b, same = a, given[1][:, None] == given[1]
    if case.towers:
        b = given[1] / np.linalg.norm(given[1], axis=1, keepdims=True)
        same = np.eye(N, dtype=bool)
    positive = same & ~np.eye(len(a), dtype=bool) if not case.towers else same
    s = a @ b.T / temperature
    exact = softmax_losses(s, positive, ~same)
    if name == "clip":
        exact = (exact + softmax_losses(s.T, positive, ~same)) / 2
    options = case.options(temperature) | {"reduction": "none"}
    value = getattr(fl, case.loss)(*given, **options)
    np.testing.assert_allclose(value, exact, rtol=16 * 2.0**-53 / temperature, atol=0)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", CASES)
def test_torch_formulas_are_the_kernels(
    name: str, temperature: float, rng: np.random.Generator
) -> None:
    """What second derivatives are taken of: its value and its gradient."""
    case = CASES[name]
    given = arguments(case, rng)
    options = case.options(temperature) | {"reduction": "none"}
    tensors = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in given]
    leaves = [x for x in tensors if x.requires_grad]
    loss = getattr(F, case.loss)(*tensors, **options)
    gradients = torch.autograd.grad(loss.sum(), leaves, create_graph=True)
    function = fl.value_and_grad(getattr(fl, case.loss), (0, 1) if case.towers else 0)
    exact, by_exact = function(*wide(given), **options)
    most = 16 * EPS / temperature
    np.testing.assert_allclose(loss.detach().numpy(), exact, rtol=most, atol=0)
    by = by_exact if case.towers else (by_exact,)
    for gradient, expected in zip(gradients, by, strict=True):
        assert_rows_near(gradient.detach().numpy(), expected, most)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", CASES)
def test_no_loss_is_negative(name: str, rng: np.random.Generator) -> None:
    """Partners that are the same, at temperatures down to where nothing is left of the loss."""
    case = CASES[name]
    a = rng.standard_normal((40, 8)).astype(np.float32)
    given = (a, a) if case.towers else (np.concatenate([a, a]), np.concatenate([np.arange(40)] * 2))
    for temperature in (0.005, 0.02, 0.1, 1.0):
        options = case.options(temperature) | {"reduction": "none"}
        value, gradient = fl.value_and_grad(getattr(fl, case.loss))(*given, **options)
        assert (value >= 0).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_mean_of_nonzero_losses_divides_what_it_sums(
    dtype: str, rng: np.random.Generator
) -> None:
    a = rng.standard_normal((40, 8)).astype(dtype)
    e, y = np.concatenate([a, a]), np.concatenate([np.arange(40)] * 2)
    for temperature in (0.003, 0.01, 0.1):
        each = fl.supcon_loss(e, y, temperature=temperature, reduction="none")
        mean = fl.supcon_loss(e, y, temperature=temperature)
        expected = each[each > 0].astype(np.float64).mean() if (each > 0).any() else 0
        np.testing.assert_allclose(mean, expected, rtol=1e-6)


@pytest.mark.parametrize("positives", [2, 5])
def test_several_equal_positives(positives: int, isa: str) -> None:
    """Of positives that are all alike each has 1/|P| of the softmax, less what negatives have."""
    e = np.zeros((positives + 2, 2), np.float32)
    e[: positives + 1, 0] = 1
    e[positives + 1, 1] = 1
    y = np.array([0] * (positives + 1) + [1])
    value, gradient = fl.value_and_grad(fl.supcon_loss)(
        e, y, temperature=0.05, reduction="none", grad_output=np.eye(len(e), dtype="f4")[0]
    )
    others = np.exp(-20.0)
    np.testing.assert_allclose(value[0], np.log(positives + others), rtol=4 * EPS)
    # The one negative is orthogonal to the anchor, which moves away from it.
    share = others / (positives + others) / 0.05
    np.testing.assert_allclose(gradient[0], [0, share], rtol=16 * EPS, atol=0)
    np.testing.assert_allclose(gradient[-1], [share, 0], rtol=16 * EPS, atol=0)


# ---- A teacher's distribution --------------------------------------------------------------------


def divergence(student: Array, teacher: Array, temperature: float) -> tuple[Array, Array]:
    """KL(teacher, student) T^2 of rows and its gradient, in long double."""
    x, t = (y.astype(np.longdouble) / temperature for y in (student, teacher))
    e = np.exp(t - t.max(1, keepdims=True))
    q = e / e.sum(1, keepdims=True)
    d = x - t
    d = d - (q * d).sum(1, keepdims=True)
    rise = np.expm1(d) - (q * np.expm1(d)).sum(1, keepdims=True)
    total = 1 + (q * np.expm1(d)).sum(1)
    near = np.abs(d) < 1e-2
    growth = np.where(near, d**2 / 2 + d**3 / 6 + d**4 / 24 + d**5 / 120 + d**6 / 720, 0)
    growth = np.where(near, growth + d**7 / 5040 + d**8 / 40320, np.expm1(d) - d)
    losses = np.log1p((q * growth).sum(1)) * temperature**2
    return losses, q * rise / total[:, None] * temperature


def assert_divergence_right(
    x: Array, t: Array, temperature: float, most: float, is_image: bool
) -> None:
    """Every row's value and gradient to `most`, as rows or as the positions of an image."""
    function = fl.value_and_grad(fl.distillation_loss)
    student, teacher = (np.ascontiguousarray(y.T[None]) if is_image else y for y in (x, t))
    value, gradient = function(student, teacher, temperature=temperature, reduction="none")
    if is_image:
        value, gradient = value[0], gradient[0].T
    exact, by_exact = divergence(x, t, temperature)
    assert (value >= 0).all()
    some = exact > 2.0**-120  # smaller ones are sums of what underflows
    np.testing.assert_allclose(value[some], exact[some].astype(float), rtol=most, atol=0)
    some &= np.abs(by_exact).max(1) > 0
    assert_rows_near(gradient[some], by_exact[some], most)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("is_image", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("noise", [1e-6, 1e-3, 0.1])
@pytest.mark.parametrize(("shift", "classes"), [(0.0, 2), (0.0, 100), (40.0, 100), (0.0, 3001)])
def test_distillation_near_the_teacher(
    shift: float,
    classes: int,
    noise: float,
    temperature: float,
    is_image: bool,
    rng: np.random.Generator,
) -> None:
    # No further apart than 16: larger exponents are rounded to 16 EPS and more.
    t = (rng.standard_normal((60, classes)) * 4).clip(-8, 8).astype(np.float32)
    x = (t + np.float32(shift) + noise * rng.standard_normal(t.shape)).astype(np.float32)
    # Exponents that are rounded once, of logits over the temperature.
    assert_divergence_right(x, t, temperature, 16 * EPS / min(temperature, 1), is_image)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("is_image", [False, True])
@pytest.mark.parametrize("spread", [1.0, 4.0, 10.0, 40.0])
@pytest.mark.parametrize("classes", [2, 100, 1001])
def test_distillation_far_from_the_teacher(
    classes: int, spread: float, is_image: bool, rng: np.random.Generator
) -> None:
    """One pass does for some of these rows, and the logarithms of both softmaxes for the others."""
    x, t = ((rng.standard_normal((60, classes)) * spread).astype(np.float32) for _ in range(2))
    for temperature in (1.0, 4.0):
        # Exponents, in which the logits' differences are rounded, and sums of up to 1001 terms,
        # which four lanes add up one after another.
        assert_divergence_right(x, t, temperature, max(64, 4 * spread) * EPS, is_image)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("is_image", [False, True])
@pytest.mark.parametrize("classes", [5, 300])
def test_classes_that_only_the_student_knows(
    classes: int, is_image: bool, rng: np.random.Generator
) -> None:
    """Of which the teacher's share underflows, and not the student's."""
    t = rng.standard_normal((40, classes)).astype(np.float32)
    x = (t + 0.01 * rng.standard_normal(t.shape)).astype(np.float32)
    t[:, 3] = np.repeat([-80, -95, -120, -1000], 10)
    x[:, 3] = np.tile([-75, -60, -20, -9.5, 4], 8)
    # The logarithm of the student's share there, of 80 and more, is rounded.
    assert_divergence_right(x, t, 1.0, 64 * EPS, is_image)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5,), (300, 2), (40, 100), (3, 7, 5, 4), (4, 5001)])
@pytest.mark.parametrize("spread", [1.0, 30.0, 3000.0])
def test_a_student_that_is_its_teacher(
    spread: float, shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    t = (rng.standard_normal(shape) * spread).astype(dtype)
    for temperature in (0.3, 1.0, 4.0):
        value, gradient = fl.value_and_grad(fl.distillation_loss)(
            t, t, temperature=temperature, reduction="none"
        )
        assert (value == 0).all()
        assert (gradient == 0).all()
    x = torch.tensor(t.astype("f4"), requires_grad=True)
    loss = F.distillation_loss(x, x.detach().clone(), temperature=2.0)
    (by_x,) = torch.autograd.grad(loss, x, create_graph=True)
    assert loss == 0
    np.testing.assert_allclose(by_x.detach(), 0, atol=8 * EPS)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_soft_cross_entropy_of_sure_teachers(temperature: float, rng: np.random.Generator) -> None:
    """Teacher and student have nearly all of their probability in one class."""
    t = rng.standard_normal((80, 50)).astype(np.float32)
    t[:, 7] += 12 * min(2 * temperature, 1)
    x = (t + 0.1 * rng.standard_normal(t.shape)).astype(np.float32)
    function = fl.value_and_grad(fl.soft_cross_entropy)
    value, gradient = function(x, t, temperature=temperature, reduction="none")
    q, p = (y.astype(np.longdouble) / temperature for y in (t, x))
    q, p = (y - y.max(1, keepdims=True) for y in (q, p))
    # log of the sum less the largest, which is 1.
    others = np.exp(np.where(p == 0, -np.inf, p)).sum(1)
    share = np.exp(q) / np.exp(q).sum(1, keepdims=True)
    exact = (np.log1p(others) - (share * p).sum(1)) * temperature**2
    most = 16 * EPS / temperature
    some = exact > 1e-36
    np.testing.assert_allclose(value[some], exact[some].astype(float), rtol=most, atol=0)
    assert (value >= 0).all()
    some &= np.linalg.norm(gradient, axis=1) > 1e-30
    assert_rows_near(gradient[some], divergence(x, t, temperature)[1][some], most)
