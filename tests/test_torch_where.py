"""where= in torch and in JAX: the answers of arrays, from functions, modules and transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fusedloss as fl
from fusedloss.torch import functional as F
from fusedloss.torch.modules.margin import Head
from fusedloss.torch.modules.proxies import Proxies
from module_cases import module_of
from parts import Array
from test_completeness import WITHOUT_MODULE
from test_where import ELEMENTS, POSITIONS, drawn, of_rows, spoiled, top_k_teacher

NAMES = (*ELEMENTS, *POSITIONS)


def tensors_of(
    name: str, dtype: str = "float64"
) -> tuple[list[Tensor], Tensor, list[Array], Array]:
    operands, where, _ = drawn(name, dtype)
    given = [spoiled(x, ~where) if of_rows(name, k) else x for k, x in enumerate(operands)]
    return [torch.from_numpy(x) for x in given], torch.from_numpy(where), given, where


def of_arrays(name: str, **options: Any) -> tuple[Any, Array]:
    _, _, given, where = tensors_of(name)
    value, gradient = fl.value_and_grad(getattr(fl, name))(*given, where=where, **options)
    return value, gradient


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", NAMES)
def test_function(name: str, reduction: str) -> None:
    tensors, where, _, left = tensors_of(name)
    x = tensors[0].requires_grad_()
    loss = getattr(F, name)(x, *tensors[1:], where=where, reduction=reduction)
    value, gradient = of_arrays(name, reduction=reduction)
    np.testing.assert_allclose(loss.detach().numpy(), value, rtol=1e-12, atol=1e-15)
    if name == "zero_one_loss":
        return
    loss.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-10, atol=1e-13)
    assert np.all(x.grad.numpy()[~left] == 0)


@pytest.mark.parametrize("name", NAMES)
def test_under_transforms(name: str) -> None:
    """Formulas and operators answer as kernels do."""
    if name == "zero_one_loss":
        return
    tensors, where, _, _ = tensors_of(name)

    def loss(x: Tensor) -> Tensor:
        result: Tensor = getattr(F, name)(x, *tensors[1:], where=where)
        return result

    gradient, value = torch.func.grad_and_value(loss)(tensors[0])
    expected, by_arrays = of_arrays(name)
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(gradient.numpy(), by_arrays, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_MODULE])
def test_module(name: str) -> None:
    """The mask comes with the batch."""
    made = module_of(name)
    assert made is not None
    tensors, where, _, _ = tensors_of(name, "float32")
    if issubclass(made, (Head, Proxies)):
        module = made(tensors[0].shape[1], 7)
        module.eval()
        tensors = [tensors[0], tensors[2]]
        weights = (module.weight.detach(),)
        options = module.keywords()
        function = getattr(F, name)(tensors[0], *weights, tensors[1], where=where, **options)
    elif name == "linear_cross_entropy":
        module = made(tensors[0].shape[1], 7)
        tensors = [tensors[0], tensors[2]]
        parameters = {
            "linear_weight": module.linear.weight.detach(),
            "linear_bias": None if module.linear.bias is None else module.linear.bias.detach(),
        }
        function = F.linear_cross_entropy(tensors[0], target=tensors[1], where=where, **parameters)
    else:
        module = made()
        function = getattr(F, name)(*tensors, where=where)
    torch.testing.assert_close(module(*tensors, where=where).detach(), function)
    assert torch.isfinite(function)


@pytest.mark.parametrize(
    "name", ["cross_entropy", "mse_loss", "cosine_similarity_loss", "arcface_loss"]
)
def test_errors(name: str) -> None:
    tensors, where, _, _ = tensors_of(name)
    with pytest.raises(TypeError, match=r"where has dtype torch\.float32: expected bool"):
        getattr(F, name)(*tensors, where=where.float())
    with pytest.raises((ValueError, RuntimeError)):
        getattr(F, name)(*tensors, where=where[:-1])
    with pytest.raises(TypeError):
        getattr(F, name)(*tensors, where=where.numpy())


def test_probabilities_and_outputs() -> None:
    """What is masked has outputs of 0 against probabilities, too."""
    torch.manual_seed(0)
    z = torch.randn(12, 5, dtype=torch.float64)
    t = torch.rand(12, 5, dtype=torch.float64)
    where = torch.rand(12) < 0.6
    names: Any = ("lse", "entropy", "accuracy")
    loss, made = F.cross_entropy(z, t, where=where, outputs=names)
    value, expected = fl.cross_entropy(z.numpy(), t.numpy(), where=where.numpy(), outputs=names)
    np.testing.assert_allclose(loss.numpy(), value, rtol=1e-12)
    for output, x in made.items():
        np.testing.assert_allclose(x.numpy(), expected[output], rtol=1e-12)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_teacher_of_few_classes(labelled: bool) -> None:
    """By kernels and under a transform, where the formula answers."""
    rng = np.random.default_rng(0)
    z, where = rng.normal(size=(7, 9, 4)), rng.random((7, 4)) < 0.6
    _, dirty = top_k_teacher(where)
    z[~np.broadcast_to(where[:, None], z.shape)] = np.nan
    y = spoiled(rng.integers(0, 9, (7, 4)), ~where) if labelled else None
    value, expected = fl.value_and_grad(fl.distillation_loss)(z, dirty, y, where=where)
    teacher = (torch.from_numpy(dirty[0]).long(), torch.from_numpy(dirty[1]))
    target = None if y is None else torch.from_numpy(y)

    def loss(x: Tensor) -> Tensor:
        return F.distillation_loss(x, teacher, target, where=torch.from_numpy(where))

    x = torch.tensor(z, requires_grad=True)
    found = loss(x)
    found.backward()
    assert x.grad is not None
    gradient, same = torch.func.grad_and_value(loss)(torch.from_numpy(z))
    for each, slope in ((found, x.grad), (same, gradient)):
        np.testing.assert_allclose(each.detach().numpy(), value, rtol=1e-12)
        np.testing.assert_allclose(slope.numpy(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_linear_layer(probabilities: bool) -> None:
    """Its outputs and its shift."""
    torch.manual_seed(0)
    x, w = torch.randn(3, 6, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    target = torch.randint(0, 5, (3, 6))
    where = torch.rand(3, 6) < 0.6
    target[~where] = 77
    t = torch.rand(3, 6, 5, dtype=torch.float64) if probabilities else target
    names: Any = ("lse", "entropy")
    loss, made = F.linear_cross_entropy(x, w, t, where=where, shift=1, outputs=names)
    value, expected = fl.linear_cross_entropy(
        x.numpy(), w.numpy(), t.numpy(), where=where.numpy(), shift=1, outputs=names
    )
    np.testing.assert_allclose(loss.numpy(), value, rtol=1e-12)
    for output, given in made.items():
        np.testing.assert_allclose(given.numpy(), expected[output], rtol=1e-12)
