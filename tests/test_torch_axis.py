"""axis= in torch: the classes on any axis, as views that are never copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fusedloss import torch as front
from fusedloss.torch import functional as F
from module_cases import module_of
from torch_parts import by_kernel

SHAPES = ((5,), (7, 5), (3, 4, 6, 5))

#: A loss, what its target is, and options.
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("cross_entropy", "classes", {}),
    ("cross_entropy", "shares", {"label_smoothing": 0.1}),
    ("cross_entropy", "classes", {"outputs": ("lse", "entropy"), "z_loss": 0.1}),
    ("focal_loss", "classes", {"gamma": 1.5}),
    ("focal_loss", "shares", {}),
    ("generalized_cross_entropy", "classes", {}),
    ("generalized_cross_entropy", "shares", {"q": 0.7}),
    ("soft_cross_entropy", "logits", {"temperature": 2.0}),
    ("distillation_loss", "logits", {}),
    ("distillation_loss", "few", {}),
]


def drawn(name: str, kind: str, shape: tuple[int, ...]) -> tuple[Tensor, Any]:
    """Contiguous arrays with the classes last."""
    generator = torch.Generator().manual_seed(len(shape))

    def normal() -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = normal().softmax(-1) if name == "generalized_cross_entropy" else normal()
    if kind == "classes":
        return x, torch.randint(0, shape[-1], shape[:-1], generator=generator)
    if kind == "few":
        log_probs, indices = normal().log_softmax(-1).topk(2, -1)
        return x, (indices, log_probs)
    return x, normal().softmax(-1) if kind == "shares" else normal()


def second(x: Any) -> Any:
    """The classes where torch has them, copied."""
    if isinstance(x, tuple):
        return tuple(map(second, x))
    return x.movedim(-1, 1).contiguous() if x.dim() > 1 else x


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "kind", "options"), CASES, ids=str)
def test_classes_last(
    name: str, kind: str, options: dict[str, Any], shape: tuple[int, ...], reduction: str
) -> None:
    """The numbers of a copy; the gradient lies as the prediction does."""
    function: Callable[..., Any] = getattr(F, name)
    x, target = drawn(name, kind, shape)
    y = second(x)
    moved = target if kind == "classes" else second(target)
    x.requires_grad_()
    y.requires_grad_()
    found = function(x, target, axis=-1, reduction=reduction, **options)
    expected = function(y, moved, reduction=reduction, **options)
    if "outputs" in options:
        found, made = found
        expected, others = expected
        for output in made:
            torch.testing.assert_close(made[output], others[output])
    assert by_kernel(found)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.stride() == x.stride()
    torch.testing.assert_close(second(x.grad), y.grad)


@pytest.mark.parametrize(("name", "kind", "options"), CASES, ids=str)
def test_compiled_and_transformed(name: str, kind: str, options: dict[str, Any]) -> None:
    function: Callable[..., Any] = getattr(F, name)
    x, target = drawn(name, kind, (3, 4, 6, 5))
    options = {k: v for k, v in options.items() if k != "outputs"}

    def loss(x: Tensor) -> Tensor:
        result: Tensor = function(x, target, axis=-1, **options)
        return result

    expected = loss(x)
    torch._dynamo.reset()  # of the recompilations of cases before
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    gradient, value = torch.func.grad_and_value(loss)(x)
    torch.testing.assert_close(value, expected)
    leaf = x.clone().requires_grad_()
    loss(leaf).backward()
    torch.testing.assert_close(gradient, leaf.grad)


@pytest.mark.parametrize(("name", "kind", "options"), CASES, ids=str)
def test_masks_and_modules(name: str, kind: str, options: dict[str, Any]) -> None:
    x, target = drawn(name, kind, (3, 4, 6, 5))
    where = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    moved = target if kind == "classes" else second(target)
    expected = getattr(F, name)(second(x), moved, where=where, **options)
    x = torch.where(where[..., None], x, torch.nan)
    found = getattr(F, name)(x, target, where=where, axis=3, **options)
    torch.testing.assert_close(found, expected)
    made = module_of(name)
    assert made is not None
    torch.testing.assert_close(made(axis=-1, **options)(x, target, where=where), expected)


@pytest.mark.parametrize("name", ["cross_entropy", "focal_loss", "generalized_cross_entropy"])
def test_errors(name: str) -> None:
    x, target = drawn(name, "classes", (7, 5))
    for axis in (2, -3):
        with pytest.raises(ValueError, match=f"axis is {axis}: out of range for a prediction of"):
            getattr(F, name)(x, target, axis=axis)
    with pytest.raises(TypeError, match=r"axis is 1\.0"):
        getattr(F, name)(x, target, axis=1.0)
    with pytest.raises(TypeError, match="axis is 'last'"):
        front.CrossEntropyLoss(axis="last")  # type: ignore[arg-type]
