"""Gradients by probabilities and by teachers' logits, against torch's own functions in float64."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor

import fusedloss as fl
from fusedloss._lower import targets
from parts import Array

SHAPES = ((5,), (7, 5), (3, 5, 4, 2))

#: A loss, the place of its target among the arguments, and options.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("cross_entropy", {}),
    ("cross_entropy", {"label_smoothing": 0.2, "weight": np.linspace(0.5, 2, 5)}),
    ("cross_entropy", {"softcap": 3.0, "z_loss": 0.1, "entropy_bonus": 0.2}),
    ("soft_cross_entropy", {"temperature": 2.0}),
    ("distillation_loss", {"temperature": 2.0}),
    ("distillation_loss", {"alpha": 0.3, "target": True, "ignore_index": 1}),
]

DTYPES = ("float64", "float32", "float16", "bfloat16")


def drawn(name: str, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array, Array, Array]:
    """Logits, targets or teachers, class indices and sample weights."""
    rng = np.random.default_rng(len(shape))
    axis = 1 if len(shape) > 1 else 0
    positions = shape[:axis] + shape[axis + 1 :]
    t = rng.normal(size=shape)
    if name == "cross_entropy":
        t = np.moveaxis(rng.dirichlet(np.ones(shape[axis]), positions), -1, axis)
    y = np.asarray(rng.integers(0, shape[axis], positions))
    weight = np.asarray(rng.uniform(0.5, 2, positions))
    return rng.normal(size=shape).astype(dtype), t.astype(dtype), y, weight


def losses_of(name: str, z: Tensor, t: Tensor, y: Tensor | None, options: Any) -> Tensor:
    """By position, in torch's own functions; less what does not depend on the target."""
    T, axis = torch.nn.functional, 1 if z.dim() > 1 else 0
    if name == "cross_entropy":
        cap = options.get("softcap")
        z = z if cap is None else cap * torch.tanh(z / cap)
        weight = options.get("weight")
        return T.cross_entropy(
            z,
            t,
            None if weight is None else torch.tensor(weight),
            reduction="none",
            label_smoothing=options.get("label_smoothing", 0.0),
        )
    warmth = options.get("temperature", 1.0)
    log_p, log_q = (T.log_softmax(x / warmth, axis) for x in (z, t))
    q = log_q.exp()
    if name == "soft_cross_entropy":
        return -(warmth**2) * (q * log_p).sum(axis)
    share = 1.0 if y is None else options.get("alpha", 0.5)
    losses = share * warmth**2 * (q * (log_q - log_p)).sum(axis)
    return losses if y is None else losses.masked_fill(y == options["ignore_index"], 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_gradient(
    name: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
    reduction: str,
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With weights, masks and cotangents; beside that by the logits, which does not change."""
    monkeypatch.setattr(targets, "BLOCK_ELEMENTS", 60)
    z, t, y, weight = drawn(name, shape, getattr(ml_dtypes, dtype, dtype))
    options = dict(options)
    labels = y if options.pop("target", None) else None
    where = np.asarray(np.random.default_rng(3).random(weight.shape) < 0.7)
    cotangent = np.random.default_rng(4).normal(size=weight.shape) if reduction == "none" else -2.5
    given: dict[str, Any] = {
        **options,
        "sample_weight": weight,
        "where": where,
        "reduction": reduction,
    }
    if labels is not None:
        given["target"] = labels
    function = getattr(fl, name)
    value, (by_z, by_t) = fl.value_and_grad(function, (0, 1))(z, t, grad_output=cotangent, **given)
    same, alone = fl.value_and_grad(function, 1)(z, t, grad_output=cotangent, **given)
    expected, usual = fl.value_and_grad(function)(z, t, grad_output=cotangent, **given)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(same, expected)
    np.testing.assert_array_equal(by_z, usual)
    np.testing.assert_array_equal(by_t, alone)

    leaf = torch.tensor(t.astype("float64"), requires_grad=True)
    index = None if labels is None else torch.tensor(labels)
    losses = losses_of(name, torch.tensor(z.astype("float64")), leaf, index, options)
    counts = torch.tensor(np.where(where, weight, 0.0))
    if index is not None:
        counts = counts.masked_fill(index == options["ignore_index"], 0)
    scale = counts * torch.as_tensor(cotangent)
    if reduction == "mean":
        scale = scale / counts.sum()
    (losses * scale).sum().backward()
    assert leaf.grad is not None
    assert by_t.dtype == t.dtype
    wide = by_t.astype("float64")
    # rounded once, from float64
    near = {"float64": 1e-12, "float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}[dtype]
    least = {"float16": 1e-7}.get(dtype, 1e-14)
    np.testing.assert_allclose(wide, leaf.grad.numpy(), rtol=near, atol=least)


@pytest.mark.parametrize("name", ["cross_entropy", "soft_cross_entropy", "distillation_loss"])
def test_outputs(name: str) -> None:
    """In place of either argument, or of both; nothing of what counts nothing."""
    z, t, _, _ = drawn(name, (7, 5), "float64")
    where = np.arange(7) % 3 > 0
    z[~where] = t[~where] = np.nan
    call = fl.value_and_grad(getattr(fl, name), (0, 1))
    value, (by_z, by_t) = call(z, t, where=where)
    assert np.all(by_t[~where] == 0)
    x, y = z.copy(), t.copy()
    same, places = call(x, y, where=where, out=(x, y))
    assert same == value
    assert places[0] is x
    assert places[1] is y
    np.testing.assert_array_equal(x, by_z)
    np.testing.assert_array_equal(y, by_t)
    with pytest.raises(ValueError, match="overlaps"):
        fl.value_and_grad(getattr(fl, name), 1)(z, t, where=where, out=z)


def test_certain_classes() -> None:
    """A class ruled out has an infinite slope, one that a teacher rules out none."""
    z = np.array([[0.0, -np.inf, 1.0]])
    _, slope = fl.value_and_grad(fl.cross_entropy, 1)(z, np.array([[0.5, 0.0, 0.5]]))
    assert np.isinf(slope[0, 1])
    assert np.all(np.isfinite(slope[0, ::2]))
    for loss in (fl.soft_cross_entropy, fl.distillation_loss):
        _, slope = fl.value_and_grad(loss, 1)(z, z + 1)
        assert np.all(np.isfinite(slope))
        assert slope[0, 1] == 0


def test_errors() -> None:
    z, y = np.zeros((2, 3)), np.array([0, 1])
    with pytest.raises(ValueError, match="argnums asks for the gradient by target, which has"):
        fl.value_and_grad(fl.cross_entropy, 1)(z, y)
    few = np.zeros((2, 1), int), np.zeros((2, 1))
    with pytest.raises(ValueError, match="teacher_logits: expected logits of all classes"):
        fl.value_and_grad(fl.distillation_loss, 1)(z, few)
    with pytest.raises(ValueError, match=r"differentiable in argument 0 \(logits\), 1 \(target\)"):
        fl.value_and_grad(fl.cross_entropy, 2)
