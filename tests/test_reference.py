"""The oracle itself: against hand-computed values, finite differences and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from parts import Array

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight": {"weight": [0.5, 2.0, 1.0, 0.0]},
    "ignore": {"ignore_index": 2},
    "smoothing": {"label_smoothing": 0.3},
    "all": {"weight": [0.5, 2.0, 1.0, 0.25], "ignore_index": 1, "label_smoothing": 0.1},
}


def inputs(probabilities: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    logits = rng.normal(size=(5, 4, 3)) * 3
    if probabilities:
        target = rng.dirichlet(np.ones(4), size=(5, 3)).transpose(0, 2, 1)
        return logits, target
    return logits, rng.integers(0, 4, size=(5, 3))


def test_worked_values() -> None:
    logits = [
        [0.8, 0.5, 0.2, 0.5],
        [0.2, 0.9, 0.3, 0.2],
        [0.4, 0.3, 0.7, 0.1],
        [0.1, 0.2, 0.4, 0.8],
    ]
    for target in (np.arange(4), np.eye(4)):
        rows = reference.cross_entropy(logits, target, reduction="none").value
        # the values are given with four and seven decimals
        np.testing.assert_allclose(rows, [1.1087, 0.9329, 1.0852, 0.9991], rtol=0, atol=5e-5)
        mean = reference.cross_entropy(logits, target).value
        np.testing.assert_allclose(mean, 1.0314708, rtol=0, atol=5e-8)


@pytest.mark.parametrize("gap", [30.0, 300.0])
def test_confident_row_keeps_every_digit(gap: float) -> None:
    """log(1 + 2 exp(-gap)) is 2 exp(-gap) to 1e-12 relative; the naive formula gives 0."""
    loss, gradient = reference.cross_entropy([[gap, 0.0, 0.0]], [0])
    # 1e-12: what the series' next term, exp(-30), leaves
    np.testing.assert_allclose(loss, 2 * np.exp(-gap), rtol=1e-12)
    np.testing.assert_allclose(gradient[0, 0], -2 * np.exp(-gap), rtol=1e-12)
    assert reference.naive_cross_entropy([[40.0, 0.0, 0.0]], [0], dtype=np.float64).value == 0


@pytest.mark.parametrize("probabilities", [False, True], ids=["index", "probability"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradient_is_the_finite_difference(
    options: dict[str, Any], reduction: str, probabilities: bool, rng: np.random.Generator
) -> None:
    logits, target = inputs(probabilities, rng)
    shape = (5, 3) if reduction == "none" else ()
    options = {**options, "reduction": reduction}
    grad_output = rng.normal(size=shape)

    def total(z: Array) -> float:
        return float((grad_output * reference.cross_entropy(z, target, **options).value).sum())

    gradient = reference.cross_entropy(logits, target, grad_output=grad_output, **options).gradient
    step = 1e-5  # error: step^2 of truncation and 1e-16 / step of rounding, times a few
    for index in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[index] = step
        difference = (total(logits + moved) - total(logits - moved)) / (2 * step)
        np.testing.assert_allclose(gradient[index], difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_helper_gradient_is_the_finite_difference(
    name: str, axis: int, rng: np.random.Generator
) -> None:
    function = getattr(reference, name)
    logits = rng.normal(size=(3, 4, 2))
    grad_output = rng.normal(size=function(logits, axis).value.shape)
    gradient = function(logits, axis, grad_output).gradient
    step = 1e-5  # as above
    for index in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[index] = step
        above, below = function(logits + moved, axis).value, function(logits - moved, axis).value
        difference = (grad_output * (above - below)).sum() / (2 * step)
        np.testing.assert_allclose(gradient[index], difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("probabilities", [False, True], ids=["index", "probability"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_naive_and_exact_and_torch_agree(
    options: dict[str, Any], reduction: str, probabilities: bool, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    logits, target = inputs(probabilities, rng)
    options = {**options, "reduction": reduction}
    if probabilities:
        options.pop("ignore_index", None)  # torch takes none beside probabilities
    grad_output = rng.normal(size=(5, 3) if reduction == "none" else ())
    exact = reference.cross_entropy(logits, target, grad_output=grad_output, **options)
    naive = reference.naive_cross_entropy(
        logits, target, grad_output=grad_output, dtype=np.float64, **options
    )
    z = torch.tensor(logits, requires_grad=True)
    weight = options.pop("weight", None)
    weight = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    value = torch.nn.functional.cross_entropy(z, torch.tensor(target), weight=weight, **options)
    value.backward(torch.tensor(grad_output))
    for result in (naive, (value.detach().numpy(), z.grad.numpy())):
        # a few roundings of float64 on values of about 10
        np.testing.assert_allclose(exact.value, result[0], rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(exact.gradient, result[1], rtol=1e-12, atol=1e-14)


# ---- The rest of the family --------------------------------------------------------------------

ROWS = (4, 2)
LABELS = np.array([[0, 4], [2, -100], [3, 1], [1, 4]])


def family(
    rng: np.random.Generator,
) -> dict[str, tuple[str, Array, tuple[Any, ...], dict[str, Any]]]:
    """name -> loss, prediction of shape (4, 5, 2), its targets and options."""
    logits = rng.normal(size=(4, 5, 2)) * 2
    other = rng.normal(size=(4, 5, 2)) * 2
    t = np.moveaxis(rng.dirichlet(np.ones(5), size=ROWS), -1, 1)
    w, v = rng.uniform(0.2, 2, size=5), rng.uniform(0.2, 2, size=ROWS)
    every = {"sample_weight": v, "softcap": 3.0, "z_loss": 0.3}
    smooth = {"weight": w, "label_smoothing": 0.1, **every}
    order = np.argsort(other, axis=1)[:, :3]
    top = order, np.log(np.take_along_axis(t, order, 1))
    warm = {"temperature": 2.0, "sample_weight": v}
    probs = rng.uniform(0.1, 1, size=(4, 5, 2))
    return {
        "cross_entropy": ("cross_entropy", logits, (LABELS,), smooth),
        "cross_entropy of probabilities": ("cross_entropy", logits, (t,), smooth),
        "focal 0": ("focal_loss", logits, (LABELS,), {"gamma": 0, "alpha": w, **every}),
        "focal 0.5": ("focal_loss", logits, (LABELS,), {"gamma": 0.5}),
        "focal 1": ("focal_loss", logits, (LABELS,), {"gamma": 1.0, "alpha": 0.25}),
        "focal 3.7": ("focal_loss", logits, (LABELS,), {"gamma": 3.7, "alpha": w, **every}),
        "soft_cross_entropy": ("soft_cross_entropy", logits, (other,), warm),
        "distillation": ("distillation_loss", logits, (other, LABELS), {"alpha": 0.3, **warm}),
        "distillation, no target": ("distillation_loss", logits, (other,), warm),
        "top-k": ("distillation_loss", logits, (top, LABELS), warm),
        "nll_loss": ("nll_loss", logits, (LABELS,), {"weight": w, "sample_weight": v}),
        "categorical": (
            "categorical_cross_entropy",
            probs,
            (LABELS,),
            {"axis": 1, "sample_weight": v, "label_smoothing": 0.2},
        ),
        "categorical, focal": (
            "categorical_cross_entropy",
            probs,
            (LABELS,),
            {"axis": 1, "label_smoothing": 0.2, "gamma": 1.7, "alpha": w},
        ),
        "categorical, focal of probabilities": (
            "categorical_cross_entropy",
            probs,
            (t,),
            {"axis": 1, "sample_weight": v, "gamma": 0.6},
        ),
        "categorical of probabilities": ("categorical_cross_entropy", probs, (t,), {"axis": 1}),
    }


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", family(np.random.default_rng(0)))
def test_derivatives_are_finite_differences(
    name: str, reduction: str, rng: np.random.Generator
) -> None:
    """In long double, whose rounding is nothing beside the differences' truncation."""
    loss, prediction, targets, options = family(rng)[name]
    options = {**options, "reduction": reduction, "dtype": np.longdouble}
    grad_output = rng.normal(size=ROWS if reduction == "none" else ())
    exact = reference.evaluate(loss, prediction, *targets, grad_output=grad_output, **options)
    summed = {**options, "reduction": "sum"}
    step = np.longdouble(1e-5)
    for index in np.ndindex(prediction.shape):
        moved = np.zeros(prediction.shape, np.longdouble)
        moved[index] = step
        sides = (prediction + moved, prediction - moved)
        values = [reference.evaluate(loss, x, *targets, **options).value.exact for x in sides]
        slope = (grad_output * (values[0] - values[1])).sum() / (2 * step)
        # the third derivatives, of the order of 1 for logits and 1000 for probabilities
        limit = 1e-6 if loss == "categorical_cross_entropy" else 1e-8
        np.testing.assert_allclose(exact.gradient.exact[index], slope, rtol=0, atol=limit)
        if loss in ("cross_entropy", "focal_loss"):
            slopes = [
                reference.evaluate(loss, x, *targets, **summed).gradient.exact[index] for x in sides
            ]
            bend = (slopes[0] - slopes[1]) / (2 * step)
            np.testing.assert_allclose(exact.hessian.exact[index], bend, rtol=0, atol=1e-8)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", family(np.random.default_rng(0)))
def test_family_agrees_with_torch(name: str, reduction: str, rng: np.random.Generator) -> None:
    """The formulas again, in torch's words."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    loss, prediction, targets, options = family(rng)[name]
    grad_output = rng.normal(size=ROWS if reduction == "none" else ())
    exact = reference.evaluate(
        loss, prediction, *targets, reduction=reduction, grad_output=grad_output, **options
    )
    x = torch.tensor(prediction, requires_grad=True)
    v = torch.tensor(options.get("sample_weight", np.ones(ROWS)))
    z = x
    if "softcap" in options:
        z = options["softcap"] * torch.tanh(x / options["softcap"])
    warm = z / options.get("temperature", 1.0)
    log_p = F.log_softmax(warm, 1)
    labels = targets[-1] if targets[-1] is LABELS else None
    counted = torch.ones(ROWS) if labels is None else torch.tensor((LABELS != -100) * 1.0)
    w = torch.tensor(options.get("weight", np.ones(5)))
    share = v * counted
    if loss == "cross_entropy":
        smoothing = {"label_smoothing": options["label_smoothing"], "reduction": "none"}
        rows = v * F.cross_entropy(z, torch.tensor(targets[0]), w, **smoothing)
        if labels is not None:
            share = share * w[torch.tensor(LABELS).clamp(0)]
    elif loss == "nll_loss":
        rows = v * F.nll_loss(x, torch.tensor(LABELS), w, reduction="none")
        share = share * w[torch.tensor(LABELS).clamp(0)]
    elif loss == "focal_loss":
        surprise = F.cross_entropy(z, torch.tensor(LABELS), reduction="none")
        alpha = torch.as_tensor(options.get("alpha", 1.0)) * torch.ones(5)
        alpha = alpha[torch.tensor(LABELS).clamp(0)]
        rows = v * alpha * (1 - torch.exp(-surprise)) ** options["gamma"] * surprise
    elif loss == "categorical_cross_entropy":
        t = targets[0]
        if labels is not None:
            t = np.moveaxis(np.eye(5)[np.maximum(LABELS, 0)], -1, 1)
        e = options.get("label_smoothing", 0.0)
        q = (x / x.sum(1, keepdim=True)).clamp(1e-7, 1 - 1e-7)
        alpha = torch.as_tensor(options.get("alpha", 1.0)) * torch.ones(5)
        focused = alpha[:, None] * (1 - q) ** options.get("gamma", 0.0)
        rows = -v * counted * (focused * (torch.tensor(t) * (1 - e) + e / 5) * q.log()).sum(1)
    else:
        rows = _distilled(torch, loss, log_p, x, targets, options)
        rows = rows * v * counted
    square = torch.logsumexp(z, 1) ** 2 * options.get("z_loss", 0.0) * v * counted
    value = {
        "none": rows + square,
        "sum": (rows + square).sum(),
        "mean": rows.sum() / share.sum() + square.sum() / (v * counted).sum(),
    }[reduction]
    value.backward(torch.tensor(grad_output))
    # a few roundings of float64 on values of about 10, and 1 - p as a difference
    np.testing.assert_allclose(exact.value.exact, value.detach().numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(exact.gradient.exact, x.grad.numpy(), rtol=1e-11, atol=1e-13)


def _distilled(
    torch: Any, loss: str, log_p: Any, x: Any, targets: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """A teacher's losses per position."""
    F = torch.nn.functional
    warmth = options["temperature"]
    if isinstance(targets[0], tuple):
        indices, log_q = map(torch.tensor, targets[0])
        soft = (log_q.exp() * (log_q - log_p.gather(1, indices))).sum(1)
    else:
        q = F.softmax(torch.tensor(targets[0]) / warmth, 1)
        soft = -(q * log_p).sum(1)
        if loss == "distillation_loss":
            soft = F.kl_div(log_p, q, reduction="none").sum(1)
    soft = warmth**2 * soft
    if loss == "soft_cross_entropy" or len(targets) == 1:
        return soft
    alpha = options.get("alpha", 0.5)
    hard = F.cross_entropy(x, torch.tensor(LABELS), reduction="none")
    return alpha * soft + (1 - alpha) * hard


def test_worked_values_of_the_family() -> None:
    """Keras' categorical cross-entropy and categorical focal cross-entropy of their examples."""
    probs = [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]
    value = reference.categorical_cross_entropy(probs, np.eye(3)[[1, 2]], axis=-1).value
    np.testing.assert_allclose(value, 1.176939, rtol=0, atol=5e-7)  # six decimals
    with np.errstate(divide="ignore"):
        value = reference.focal_loss(np.log(probs), [1, 2], alpha=0.25).value
    np.testing.assert_allclose(value, 0.2331528, rtol=0, atol=5e-8)  # seven


def test_long_double_is_truth_enough_for_float64() -> None:
    """Its losses and gradients against 50 digits: some 2000 times as exact as float64's own."""
    mpmath = pytest.importorskip("mpmath")
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("long double is double here")
    rng = np.random.default_rng(0)
    with mpmath.workdps(50):
        for scale in (0.1, 3.0, 300.0):
            logits = rng.normal(size=7) * scale
            truth = reference.evaluate("focal_loss", logits, 2, gamma=1.5, dtype=np.longdouble)
            e = [mpmath.exp(mpmath.mpf(float(z))) for z in logits]
            p = [x / sum(e) for x in e]
            u = (sum(e) - e[2]) / sum(e)
            exact = -(u**1.5) * mpmath.log(p[2])
            factor = u**1.5 * (1 - 1.5 * p[2] * mpmath.log(p[2]) / u)
            gradient = [factor * (-u if c == 2 else p[c]) for c in range(7)]
            pairs = [(truth.value.exact, exact), *zip(truth.gradient.exact, gradient, strict=True)]
            for actual, expected in pairs:
                error = abs(mpmath.mpf(str(actual)) / expected - 1)
                # exponents of up to 1000 and a power of 1.5, each rounded in long double
                assert error < 2000 * float(np.finfo(np.longdouble).eps)
