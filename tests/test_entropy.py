"""The entropy of the softmax as a part of the loss, and as an output that torch differentiates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import fusedloss as fl
from checks import DTYPES, compute_dtype
from fusedloss.torch import functional as F
from parts import Array

#: Short rows in lanes, rows beyond them, rows whose exponentials are not kept, and strided classes.
SHAPES = (
    (7,),
    (33, 10),
    (5, 128),
    (4, 129),
    (9, 1000),
    (2, 5003),
    (1, 300_001),
    (3, 9, 17),
    (2, 130, 5),
)

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"softcap": 3.0},
    {"label_smoothing": 0.1, "z_loss": 0.1},
    {"weight": True, "ignore_index": 1},
    {"sample_weight": True, "where": True},
    {"probabilities": True, "weight": True},
)


def entropy_of(z: Array, axis: int, softcap: float | None) -> tuple[Array, Array, Array]:
    """The entropy, its gradient and the diagonal of its Hessian, in the widest type."""
    z = np.moveaxis(z.astype(np.longdouble), axis, -1)
    slope, bend = np.ones_like(z), np.zeros_like(z)
    if softcap is not None:
        tanh = np.tanh(z / softcap)
        z, slope = softcap * tanh, 1 - tanh**2
        bend = -2 * tanh * slope / softcap
    shifted = z - z.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    p = np.exp(log_p)
    log_p = np.where(p == 0, 0, log_p)
    entropy = -(p * log_p).sum(axis=-1)
    q = np.where(p == 0, 0, log_p + entropy[..., np.newaxis])
    by_capped = -p * q
    second = -(p * (1 - p) + p * (1 - 2 * p) * q)
    gradient, hessian = by_capped * slope, second * slope**2 + by_capped * bend
    return entropy, np.moveaxis(gradient, -1, axis), np.moveaxis(hessian, -1, axis)


def drawn(
    shape: tuple[int, ...], dtype: str, options: dict[str, Any]
) -> tuple[Array, Array, dict[str, Any], Array]:
    """Logits, target, options, and which positions count."""
    rng = np.random.default_rng([len(options), *shape])
    axis = 1 if len(shape) > 1 else 0
    classes, positions = shape[axis], shape[:axis] + shape[axis + 1 :]
    z = (rng.normal(size=shape) * 2).astype(dtype)
    given = dict(options)
    target: Array = np.asarray(rng.integers(0, classes, size=positions))
    counted = target != given.get("ignore_index", -100)
    if given.pop("probabilities", False):
        target = rng.uniform(size=shape).astype("float32") / np.float32(classes / 2)
        counted = np.ones(positions, bool)
    if given.get("weight"):
        given["weight"] = rng.uniform(0.5, 2, size=classes)
    if given.get("sample_weight"):
        given["sample_weight"] = np.asarray(rng.uniform(0.5, 2, size=positions))
    if given.get("where"):
        given["where"] = np.asarray(rng.random(positions) < 0.7)
        counted = counted & given["where"]
    return z, target, given, counted


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bonus(shape: tuple[int, ...], options: dict[str, Any], dtype: str) -> None:
    """The loss less the entropy, whose mean is over the positions that count."""
    z, target, given, counted = drawn(shape, dtype, options)
    axis = 1 if len(shape) > 1 else 0
    entropy, slope, _ = entropy_of(z, axis, given.get("softcap"))
    v = np.where(counted, given.get("sample_weight", 1.0), 0.0)
    call = fl.value_and_grad(fl.cross_entropy)
    eps = float(np.finfo(compute_dtype(dtype)).eps)
    stored = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 0.0)
    for reduction in ("none", "mean", "sum"):
        divisor = v.sum() if reduction == "mean" else 1.0
        if divisor == 0:
            continue
        value, gradient = call(
            z, target, entropy_bonus=0.7, reduction=reduction, grad_output=None, **given
        )
        plain, without = call(z.astype("float64"), target, reduction=reduction, **given)
        part = -0.7 * np.asarray(v * entropy / divisor)
        expected = plain + (part if reduction == "none" else part.sum())
        size = 1 + np.abs(expected) + (0 if reduction == "none" else np.abs(part).sum())
        assert np.all(np.abs(value - expected) <= (60 * eps + stored) * size)
        by_logits = without - 0.7 * np.expand_dims(np.asarray(v / divisor), axis) * slope
        most = (
            np.abs(without).max(initial=0) + np.abs(slope).max(initial=0) * 0.7 * v.max() / divisor
        )
        assert np.all(
            np.abs(gradient.astype("float64") - by_logits.astype("float64"))
            <= (60 * eps + stored) * most
        )
        assert np.all(np.moveaxis(gradient, axis, -1)[~counted] == 0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["cross_entropy", "focal_loss"])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("shape", [(33, 10), (4, 129), (9, 1000), (3, 9, 17)], ids=str)
def test_hessian(
    shape: tuple[int, ...], softcap: float | None, name: str, rng: np.random.Generator
) -> None:
    z = rng.normal(size=shape)
    target = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
    _, slope, bend = entropy_of(z, 1, softcap)
    of = fl.grad_and_hess(getattr(fl, name))
    gradient, hessian = of(z, target, softcap=softcap, entropy_bonus=0.7)
    without, plain = of(z, target, softcap=softcap)
    np.testing.assert_allclose(gradient, without - 0.7 * slope, rtol=0, atol=1e-13)
    np.testing.assert_allclose(hessian, plain - 0.7 * bend, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(3, 5), (3, 200), (3, 5, 4)], ids=str)
def test_masked_classes_and_certain_rows(shape: tuple[int, ...]) -> None:
    """-inf rules a class out: it adds nothing, and has a gradient of 0; NaN stays NaN."""
    z = np.zeros(shape)
    z[0, 2:] = -np.inf
    z[1, 0] = 1e4
    target = np.zeros((shape[0], *shape[2:]), int)
    call = fl.value_and_grad(fl.cross_entropy)
    value, gradient = call(z, target, entropy_bonus=1.0, reduction="none")
    np.testing.assert_allclose(value[0], 0.0, atol=1e-12)  # log 2 less log 2
    np.testing.assert_allclose(value[1], 0.0, atol=1e-12)
    assert np.all(gradient[0, 2:] == 0)
    assert np.all(np.isfinite(gradient))
    z[2, 1] = np.nan
    value, gradient = call(z, target, entropy_bonus=1.0, reduction="none")
    assert np.all(np.isnan(value[2]))
    assert np.all(np.isnan(gradient[2]))
    assert np.all(np.isfinite(gradient[:2]))


def test_in_place(rng: np.random.Generator) -> None:
    for shape in ((40, 10), (40, 300), (3, 7, 30), (2, 300_001)):
        z = rng.normal(size=shape).astype("float32")
        target = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
        call = fl.value_and_grad(fl.cross_entropy)
        value, gradient = call(z, target, entropy_bonus=0.5)
        again, out = call(z, target, entropy_bonus=0.5, out=z)
        assert out is z
        assert again == value
        np.testing.assert_array_equal(z, gradient)


def test_errors() -> None:
    z, y = np.zeros((2, 3)), np.zeros(2, int)
    with pytest.raises(ValueError, match="entropy_bonus is nan: expected a finite number"):
        fl.cross_entropy(z, y, entropy_bonus=np.nan)
    with pytest.raises(TypeError, match="entropy_bonus is 'much': expected a number"):
        fl.cross_entropy(z, y, entropy_bonus="much")  # type: ignore[call-overload]
    assert fl.cross_entropy(z, y, entropy_bonus=1) == fl.cross_entropy(z, y, entropy_bonus=1.0)


# ---- torch -------------------------------------------------------------------------------------


def in_torch(z: torch.Tensor, softcap: float | None = None) -> torch.Tensor:
    z = z if softcap is None else softcap * torch.tanh(z / softcap)
    log_p = z.log_softmax(1)
    p = log_p.exp()
    return -(p * log_p.masked_fill(p == 0, 0)).sum(1)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("name", ["cross_entropy", "focal_loss"])
@pytest.mark.parametrize("shape", [(33, 10), (4, 300), (3, 9, 17)], ids=str)
def test_the_output_is_differentiable(
    shape: tuple[int, ...], name: str, softcap: float | None
) -> None:
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    target.view(-1)[::3] = -100
    factor = torch.randn(target.shape, dtype=torch.float64)
    loss, made = getattr(F, name)(z, target, outputs=("entropy",), softcap=softcap)
    counted = target != -100
    expected = in_torch(z, softcap)
    torch.testing.assert_close(made["entropy"], expected.where(counted, 0.0))
    (gradient,) = torch.autograd.grad((made["entropy"] * factor).sum(), z, retain_graph=True)
    (truth,) = torch.autograd.grad((expected * factor * counted).sum(), z)
    torch.testing.assert_close(gradient, truth, rtol=1e-11, atol=1e-13)
    (of_loss,) = torch.autograd.grad(loss, z)
    (alone,) = torch.autograd.grad(getattr(F, name)(z, target, softcap=softcap), z)
    torch.testing.assert_close(of_loss, alone)


def test_a_bonus_of_the_output_is_the_option() -> None:
    torch.manual_seed(0)
    z = torch.randn(20, 7, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 7, (20,))
    loss, made = F.cross_entropy(z, target, outputs=("entropy",))
    (gradient,) = torch.autograd.grad(loss - 0.3 * made["entropy"].mean(), z)
    whole = F.cross_entropy(z, target, entropy_bonus=0.3)
    (same,) = torch.autograd.grad(whole, z)
    torch.testing.assert_close(whole, loss - 0.3 * made["entropy"].mean())
    torch.testing.assert_close(gradient, same)


def test_second_derivatives() -> None:
    torch.manual_seed(0)
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 2, -100, 1])

    def whole(z: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = F.cross_entropy(z, target, entropy_bonus=0.3)
        return loss

    def output(z: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = F.cross_entropy(z, target, outputs=("entropy",))[1]["entropy"]
        return made

    for function in (whole, output):
        assert torch.autograd.gradcheck(function, (z,))
        assert torch.autograd.gradgradcheck(function, (z,))
