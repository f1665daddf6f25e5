"""Margin-softmax heads in torch: kernels and formulas agree, modules own their weights."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fusedloss as fl
import fusedloss.torch as front
from fusedloss._lower.loss import lookup
from fusedloss._lower.loss import loss as register_loss
from fusedloss.torch import _margin as formulas
from fusedloss.torch import functional as F
from fusedloss.torch.modules.margin import Head
from test_margin import MARGINS, OPTIONS, Case, scale_of

HEADS = range(len(MARGINS))


def call_of(head: int, options: dict[str, Any], dtype: torch.dtype) -> tuple[Any, ...]:
    """The loss, its tensors and its options."""
    x, weight, target, rest = Case(head, 40, 12, 23, options).build("float64")
    name, margins, scale = MARGINS[head]
    call = {
        name: torch.from_numpy(x).to(dtype) if isinstance(x, np.ndarray) else x
        for name, x in rest.items()
    }
    tensors = [torch.from_numpy(x).to(dtype).requires_grad_() for x in (x, weight)]
    return (
        getattr(F, name),
        [*tensors, torch.from_numpy(target)],
        {
            **margins,
            **call,
            **scale_of(name, scale),
        },
    )


def gradients(loss: Tensor, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss.sum(), tensors[:2])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("head", HEADS)
def test_kernel_and_formula_agree(head: int, options: dict[str, Any]) -> None:
    """The formula is what runs where gradients are to be differentiated."""
    loss, tensors, call = call_of(head, options, torch.float64)
    x, weight, target = tensors
    value = loss(*tensors, **call)
    # under a transform nothing but the formula runs
    by_formula = torch.func.vjp(
        lambda x, w: loss(x, w, target, **call), x.detach(), weight.detach()
    )
    torch.testing.assert_close(value, by_formula[0], rtol=1e-11, atol=1e-11)
    ones = torch.ones_like(by_formula[0])
    for gradient, expected in zip(gradients(value, tensors), by_formula[1](ones), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("head", HEADS)
def test_as_arrays(head: int, dtype: torch.dtype) -> None:
    """The bits of the function of arrays, and gradients of the tensors' dtype."""
    loss, tensors, call = call_of(head, {}, dtype)
    x, weight, target = tensors
    value = loss(*tensors, **call)
    assert value.dtype is dtype
    name = MARGINS[head][0]
    numbers = [t.detach().double().numpy().astype(str(dtype)[6:]) for t in (x, weight)]
    expected, by_arrays = fl.value_and_grad(getattr(fl, name), argnums=(0, 1))(
        *numbers, target.numpy(), **call
    )
    assert value.item() == torch.tensor(expected, dtype=dtype).item()
    for gradient, by_array in zip(gradients(value, tensors), by_arrays, strict=True):
        assert gradient.dtype is dtype
        assert (gradient.double().numpy() == by_array.astype(np.float64)).all()


def test_given_cosines() -> None:
    cosine = torch.tensor([[0.8, 0.1], [0.3, 0.6]], requires_grad=True)
    value = F.margin_cross_entropy(cosine, torch.tensor([0, 1]), m2=0.5, scale=4.0)
    value.backward()
    expected, gradient = fl.value_and_grad(fl.margin_cross_entropy)(
        cosine.detach().numpy(), np.array([0, 1]), m2=0.5, scale=4.0
    )
    assert value.item() == np.float32(expected)
    assert (cosine.grad.numpy() == gradient).all()


def test_gradients_are_differentiable() -> None:
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, -1])

    def loss(x: Tensor, weight: Tensor) -> Tensor:
        return F.arcface_loss(x, weight, target, scale=4.0)

    assert torch.autograd.gradcheck(loss, (x, weight))
    assert torch.autograd.gradgradcheck(loss, (x, weight))


#: Options that have a meaning in some heads.
OPTIONS_OF_SOME: dict[str, Any] = {
    "alpha": 3.0,
    "centers_per_class": 2,
    "gamma": 0.1,
    "interclass_filtering_threshold": 0.01,
    "lambda_g": 2.0,
    "norm_mean": None,
    "norm_std": None,
    "softmax_scale": 3.0,
    "sub_centers": 2,
    "t": 0.3,
}


@pytest.mark.parametrize("option", OPTIONS_OF_SOME)
def test_an_option_means_what_its_own_head_says(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head may have an option of any name: what the formula makes of it are the head's traits."""
    calls = {"ignore_index": -1, "label_smoothing": 0.0, "focal_gamma": 0.0, "annealing": 0.0}

    def other_loss(embeddings: Any, weight: Any, target: Any, **options: Any) -> Any:
        options.pop(option)
        return lookup(fl.arcface_loss).lower(embeddings, weight, target, **options)

    other = register_loss("embeddings", "weight")(other_loss)
    monkeypatch.setitem(formulas.HEADS, "other_loss", formulas.HEADS["arcface_loss"])
    monkeypatch.setattr(formulas, "operated", lambda *tensors: False)  # it is no operator
    _, (x, weight, target), _ = call_of(0, {}, torch.float64)

    def loss(x: Tensor, weight: Tensor) -> Tensor:
        margins = {"margin": 0.4, "scale": 8.0, option: OPTIONS_OF_SOME[option]}
        return formulas.head(
            other, (x, weight, target, None, None), margins, "mean", gradient="analytic", **calls
        )

    value = loss(x, weight)
    by_formula, _ = torch.func.vjp(loss, x.detach(), weight.detach())
    torch.testing.assert_close(value, by_formula, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(
        value, F.arcface_loss(x, weight, target, margin=0.4, scale=8.0), rtol=0, atol=0
    )


# ---- Modules -----------------------------------------------------------------------------------


def modules() -> dict[str, Head]:
    """Every module, of 6 features and 9 classes."""
    classes: list[Callable[[int, int], Head]] = [
        value
        for value in vars(front).values()
        if isinstance(value, type) and issubclass(value, Head)
    ]
    made = [each(6, 9) for each in classes]
    return {type(head).__name__: head for head in made}


MODULES = modules()


def test_every_head_has_a_module() -> None:
    assert {module.loss for module in MODULES.values()} == {name for name, *_ in MARGINS}


@pytest.mark.parametrize("name", MODULES)
def test_module(name: str) -> None:
    """Its loss is the function's of its weight; it learns, and is saved and loaded."""
    torch.manual_seed(0)
    module = modules()[name].train()
    x, target = torch.randn(30, 6), torch.randint(9, (30,))
    before = module(x, target)
    expected = getattr(F, module.loss)(x, module.weight, target, **module.keywords())
    assert before.item() == expected.item()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4)
    before.backward()
    optimizer.step()
    module.eval()
    assert module(x, target) < before
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = modules()[name].eval()
    other.load_state_dict(torch.load(file))
    assert other(x, target).item() == module(x, target).item()


@pytest.mark.parametrize("name", MODULES)
def test_logits_are_those_without_a_margin(name: str) -> None:
    module = modules()[name].eval()
    x = torch.randn(20, 6)
    logits = module.logits(x)
    assert logits.shape == (20, 9)
    weight = module.weight.reshape(9, -1, 6)
    cosine = torch.nn.functional.cosine_similarity(x[:, None, None], weight[None], dim=-1)
    factor = module.keywords().get("scale", module.keywords().get("alpha"))
    if module.loss == "proxy_nca_loss":
        factor = 2 * module.keywords()["softmax_scale"]
    of_classes = cosine.amax(-1)
    if module.loss == "soft_triple_loss":
        of_classes = ((cosine / module.keywords()["gamma"]).softmax(-1) * cosine).sum(-1)
    if module.loss in ("l_softmax_loss", "a_softmax_loss"):
        factor = factor * x.norm(dim=-1)[:, None]
    if module.loss in ("l_softmax_loss", "l2_softmax_loss"):
        factor = factor * module.weight.norm(dim=-1)
    torch.testing.assert_close(logits, of_classes * factor, rtol=1e-4, atol=1e-5)


def test_curricularface_follows_the_targets_cosines() -> None:
    module = front.CurricularFaceLoss(6, 9)
    x, target = torch.randn(30, 6), torch.randint(9, (30,))
    cosine = torch.nn.functional.cosine_similarity(x, module.weight[target]).mean().item()
    module(x, target)
    assert module.t.item() == pytest.approx(0.01 * cosine, rel=1e-5)
    module.eval()(x, target)
    assert module.t.item() == pytest.approx(0.01 * cosine, rel=1e-5)


def test_adaface_follows_the_norms() -> None:
    module = front.AdaFaceLoss(6, 9, t_alpha=0.5)
    x, target = torch.randn(30, 6), torch.randint(9, (30,))
    norms = x.norm(dim=-1)
    module(x, target)
    assert module.norm_mean.item() == pytest.approx((20 + norms.mean().item()) / 2, rel=1e-6)
    assert module.norm_std.item() == pytest.approx((100 + norms.std().item()) / 2, rel=1e-6)


def proxies() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x, weight = torch.randn(20, 6).double(), torch.randn(9, 6).double()
    return x.requires_grad_(), weight.requires_grad_(), torch.randint(7, (20,))


def test_proxy_anchor() -> None:
    x, weight, target = proxies()
    value = F.proxy_anchor_loss(x, weight, target)
    by_formula, pullback = torch.func.vjp(
        lambda x, w: F.proxy_anchor_loss(x, w, target), x.detach(), weight.detach()
    )
    torch.testing.assert_close(value, by_formula)
    expected = pullback(torch.ones_like(value))
    for gradient, other in zip(gradients(value, [x, weight]), expected, strict=True):
        torch.testing.assert_close(gradient, other)
    module = front.ProxyAnchorLoss(6, 9, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(weight)
    assert module(x, target).item() == value.item()
    assert module.logits(x).argmax(-1).equal((x @ weight.T / weight.norm(dim=-1)).argmax(-1))


def test_p2s_grad() -> None:
    """Kernel, formula and module; the formula is differentiated twice."""
    x, weight, target = proxies()
    target[3] = -1
    counts, where = torch.rand(20, dtype=x.dtype), torch.rand(20) < 0.7
    for reduction in ("mean", "sum", "none"):
        options: Any = {"sample_weight": counts, "where": where, "reduction": reduction}

        def loss(x: Any, w: Any, options: Any = options) -> Any:
            return F.p2s_grad_loss(x, w, target, **options)

        value = loss(x, weight)
        by_formula, pullback = torch.func.vjp(loss, x.detach(), weight.detach())
        torch.testing.assert_close(value, by_formula)
        outer = torch.linspace(-1, 2, value.numel(), dtype=x.dtype).reshape(value.shape)
        expected = pullback(outer)
        for gradient, other in zip(
            torch.autograd.grad(value, [x, weight], outer), expected, strict=True
        ):
            torch.testing.assert_close(gradient, other)
        assert torch.autograd.gradgradcheck(loss, (x, weight))
        module = front.P2SGradLoss(6, 9, reduction=reduction, dtype=torch.float64)
        with torch.no_grad():
            module.weight.copy_(weight)
        torch.testing.assert_close(module(x, target, counts, where), value, rtol=0, atol=0)
    assert module.logits(x).argmax(-1).equal((x @ weight.T / weight.norm(dim=-1)).argmax(-1))


# ---- Sampling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sub_centers", [1, 3])
def test_sampled_gradient_is_of_the_touched_rows(sub_centers: int) -> None:
    def head() -> Head:
        torch.manual_seed(0)
        return front.SubcenterArcFaceLoss(
            6, 100, sub_centers=sub_centers, sample_rate=0.1, seed=3, class_weight=torch.rand(100)
        )

    one, two = head(), head()
    x, target = torch.randn(5, 6), torch.tensor([7, 99, 7, -1, 50])
    value = one(x, target)
    value.backward()
    gradient, class_weight = one.weight.grad, one.class_weight
    assert class_weight is not None
    assert gradient.is_sparse
    assert gradient.is_coalesced()
    rows = gradient.indices()[0]
    classes = rows[::sub_centers] // sub_centers
    assert len(classes) == 10
    assert {7, 50, 99} <= set(classes.tolist())
    among = torch.tensor([(classes == y).nonzero().item() if y >= 0 else -1 for y in target])
    weight = one.weight.detach()[rows].requires_grad_()
    expected = F.subcenter_arcface_loss(
        *(x, weight, among), sub_centers=sub_centers, class_weight=class_weight[classes]
    )
    expected.backward()
    assert value.item() == expected.item()
    assert (gradient.values() == weight.grad).all()
    assert two(x, target).item() == value.item()  # by the seed
    assert two.eval()(x, target) > value  # of all classes


def test_sampled_gradients_add_up() -> None:
    head = front.ArcFaceLoss(6, 100, sample_rate=0.1, seed=3)
    x, target = torch.randn(5, 6), torch.tensor([7, 99, 7, -1, 50])
    gradients = []
    for _ in range(2):
        head.weight.grad = None
        head(x, target).backward()
        gradients.append(head.weight.grad.to_dense())
    head.generator = np.random.default_rng(3)
    head.weight.grad = None
    for _ in range(2):
        head(x, target).backward()
    assert head.weight.grad.is_coalesced()
    assert len(head.weight.grad.indices()[0]) == sum(gradients).any(-1).sum()
    torch.testing.assert_close(head.weight.grad.to_dense(), sum(gradients), rtol=0, atol=0)


def test_sample_classes() -> None:
    target = np.array([[3, 9], [-1, 3]], np.int16)
    classes, among = fl.sample_classes(target, 20, 0.25, seed=1)
    assert len(classes) == 5
    assert (np.diff(classes) > 0).all()
    counted = target != -1
    assert (classes[among[counted]] == target[counted]).all()
    assert (among[~counted] == -1).all()
    again = fl.sample_classes(target, 20, 0.25, seed=1)
    assert (again[0] == classes).all()
    seen = {c for seed in range(200) for c in fl.sample_classes(target, 20, 0.25, seed=seed)[0]}
    assert seen == set(range(20))
    assert fl.sample_classes(target, 20, 0.01)[0].tolist() == [3, 9]
    assert len(fl.sample_classes([-1], 20, 0.01)[0]) == 1
    assert fl.sample_classes(target, 20, 1.0)[0].tolist() == list(range(20))
    with pytest.raises(IndexError, match=r"target\[0\] is 20"):
        fl.sample_classes([20], 20, 0.5)
    for share in (0, -0.5, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"sample_rate is {float(share)}"):
            fl.sample_classes([2], 20, share)
    with pytest.raises(TypeError, match="target has dtype float64"):
        fl.sample_classes([2.0], 20, 0.5)
