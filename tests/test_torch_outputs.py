"""Extra outputs in torch: log_prob, the target's log-probability, is differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from fusedloss.torch import _softmax  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from torch_cells import Recorded  # noqa: E402

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

Z = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.25, 0.0], [-2.0, 1.0, 1.5], [0.0, 4.0, -0.5]])
Y = torch.tensor([0, -100, 2, 1])
W = torch.tensor([0.5, 1.0, 2.0])
V = torch.tensor([1.0, 0.5, 0.0, 2.0])
COTANGENT = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


def of_layer(x: Tensor, target: Tensor, **options: Any) -> Any:
    """The linear layer is the identity: logits are its input."""
    return F.linear_cross_entropy(x, torch.eye(3, dtype=x.dtype), target, **options)


LOSSES: dict[str, Callable[..., Any]] = {
    "cross_entropy": F.cross_entropy,
    "focal_loss": F.focal_loss,
    "linear_cross_entropy": of_layer,
}

#: What changes the loss, but of log_prob the softcap alone.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "none"},
    {"softcap": 2.0, "z_loss": 0.1},
    {"sample_weight": V, "reduction": "sum"},
]


def log_prob_of(z: Tensor, softcap: float | None = None) -> Tensor:
    """log p_y in float64, from torch's operations; 0 where ignored."""
    z = z.double()
    z = z if softcap is None else softcap * torch.tanh(z / softcap)
    own = z.log_softmax(-1).gather(-1, Y.clamp(min=0)[:, None])[:, 0]
    return own.where(Y >= 0, 0.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_of_log_prob(name: str, options: dict[str, Any], dtype: Any) -> None:
    """By kernel and by formula, alone and beside the loss's; none arrives through ignored rows."""
    loss = LOSSES[name]
    x = Z.to(dtype, copy=True).requires_grad_()
    truth = Z.to(dtype).double().requires_grad_()
    expected = log_prob_of(truth, options.get("softcap"))
    (slope,) = torch.autograd.grad(expected, truth, COTANGENT)

    value, made = loss(x, Y, outputs=("log_prob",), **options)
    log_prob = made["log_prob"]
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    assert log_prob.dtype is wide
    # a few roundings of numbers up to 4; the gradient is rounded to its own dtype once
    eps = torch.finfo(wide).eps
    torch.testing.assert_close(log_prob.double(), expected, rtol=8 * eps, atol=16 * eps)
    tolerance = {"rtol": torch.finfo(dtype).eps, "atol": 64 * eps}
    of_it, of_loss = (
        torch.autograd.grad(each, x, each_cotangent, retain_graph=True)[0].double()
        for each, each_cotangent in (
            (log_prob, COTANGENT.to(wide)),
            (value, torch.ones_like(value)),
        )
    )
    torch.testing.assert_close(of_it, slope, **tolerance)
    assert (of_it[1] == 0).all()
    both = (value.sum() + (log_prob * COTANGENT.to(wide)).sum(),)
    (of_both,) = torch.autograd.grad(both, x)
    # either part is rounded to the dtype, and so is their sum
    most = max(of_it.abs().max().item(), of_loss.abs().max().item())
    torch.testing.assert_close(
        of_both.double(), of_it + of_loss, rtol=0, atol=2 * torch.finfo(dtype).eps * most
    )

    def by_formula(x: Tensor) -> Tensor:
        made = loss(x, Y, outputs=("log_prob",), **options)[1]["log_prob"]
        return (made * COTANGENT.to(wide)).sum()

    torch.testing.assert_close(torch.func.grad(by_formula)(x.detach()).double(), slope, **tolerance)


@pytest.mark.parametrize("name", LOSSES)
def test_log_prob_is_differentiable_twice(name: str) -> None:
    def log_prob(z: Tensor) -> Tensor:
        made: Tensor = LOSSES[name](z, Y, outputs=("log_prob",))[1]["log_prob"]
        return made

    z = Z.double().requires_grad_()
    assert torch.autograd.gradcheck(log_prob, z)
    assert torch.autograd.gradgradcheck(log_prob, z)


def test_who_does_not_differentiate_it_pays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gradient is computed in the backward pass, and there if one arrives."""
    calls = []
    run = _softmax.Softmax.run

    def counted(self: Any, *arguments: Any) -> Any:
        calls.append(self.reduction)
        return run(self, *arguments)

    monkeypatch.setattr(_softmax.Softmax, "run", counted)
    x = Z.clone().requires_grad_()
    value, made = F.cross_entropy(x, Y, outputs=("log_prob", "lse"))
    value.backward()
    assert calls == ["mean"]
    made["log_prob"].sum().backward()
    assert calls == ["mean", "none"]


def losses_and_gradients(loss: Callable[..., Any], x: Tensor) -> list[Tensor]:
    """A loss, its outputs, the gradients of each that has one, and of all together."""
    x = x.clone().requires_grad_()
    value, made = loss(x)
    each = [value.sum()]
    each += [(y * COTANGENT.to(y.dtype)).sum() for y in made.values() if y.requires_grad]
    gradients = [torch.autograd.grad(y, x, retain_graph=True)[0] for y in (*each, sum(each))]
    return [value, *made.values(), *gradients]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_outputs_compiled(name: str, options: dict[str, Any], dtype: Any) -> None:
    """By the operator alone: neither logits nor probabilities are made."""

    def loss(x: Tensor) -> Any:
        return LOSSES[name](x, Y, outputs=("lse", "log_prob", "entropy"), **options)

    torch._dynamo.reset()
    recorded = Recorded()
    compiled = torch.compile(loss, backend=recorded, fullgraph=True)
    made = losses_and_gradients(compiled, Z.to(dtype))
    (graph,) = recorded.graphs
    assert f"torch.ops.fusedloss.{name}.default" in graph
    assert "softmax" not in graph
    assert "linear(" not in graph
    for x, y in zip(made, losses_and_gradients(loss, Z.to(dtype)), strict=True):
        torch.testing.assert_close(x, y, rtol=2 * torch.finfo(dtype).eps, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_log_prob_under_transforms(name: str) -> None:
    """Both results are differentiated, forward and twice, as torch's own operations are."""

    def loss(x: Tensor) -> Tensor:
        value, made = LOSSES[name](x, Y, outputs=("log_prob",))
        return value + (made["log_prob"] * COTANGENT).sum()

    def formula(x: Tensor) -> Tensor:
        slope = {"gamma": 2.0} if name == "focal_loss" else {}
        return LOSSES[name](x, Y, **slope) + (log_prob_of(x) * COTANGENT).sum()

    x, v = Z.double(), COTANGENT[:, None] * torch.ones_like(Z)
    made, expected = (
        [
            torch.func.grad(f)(x),
            torch.func.vmap(torch.func.grad(f))(torch.stack([x, -x])),
            torch.func.jvp(f, (x,), (v,))[1],
            torch.func.hessian(f)(x),
            torch.func.grad(lambda x, f=f: (torch.func.grad(f)(x) * v).sum())(x),  # type: ignore[misc]
        ]
        for f in (loss, formula)
    )
    for a, b in zip(made, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["cross_entropy", "linear_cross_entropy"])
def test_probabilities_have_no_log_prob(name: str) -> None:
    with pytest.raises(ValueError, match="outputs holds 'log_prob': expected class indices"):
        LOSSES[name](Z, Z.softmax(-1), outputs=("log_prob",))
