"""Losses of several tensors in torch: penalties, perceptual loss, and which classes are wrong."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import fusedloss as fl

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from fusedloss.torch import PerceptualLoss  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from torch_parts import DTYPES, REDUCTIONS  # noqa: E402

T = nn.functional


# ---- Penalties ---------------------------------------------------------------------------------

PENALTIES = {"l1_penalty": torch.abs, "l2_penalty": torch.square}


def parameters(dtype: Any) -> list[Tensor]:
    numbers = torch.linspace(-2, 3, 24, dtype=torch.float64).to(dtype)
    return [
        x.clone().requires_grad_() for x in (numbers[:6].reshape(2, 3).T, numbers[6:], numbers[0])
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties(name: str, dtype: Any) -> None:
    params = parameters(dtype)
    penalty = getattr(F, name)(params, 0.3)
    assert penalty.dtype is dtype
    (3 * penalty).backward()
    exact = [x.detach().double().requires_grad_() for x in params]
    expected = 0.3 * sum(PENALTIES[name](x).sum() for x in exact)
    (3 * expected).backward()
    # a sum of three numbers, each rounded once
    torch.testing.assert_close(penalty.double(), expected, rtol=8 * torch.finfo(dtype).eps, atol=0)
    for x, y in zip(params, exact, strict=True):
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=4 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_those_of_numpy(name: str) -> None:
    params = parameters(torch.float64)
    penalty = getattr(F, name)(iter(params), 0.3)
    expected = getattr(fl, name)([x.detach().numpy() for x in params], 0.3)
    assert penalty.item() == pytest.approx(expected, rel=1e-15)
    assert torch.autograd.gradgradcheck(lambda *params: getattr(F, name)(params, 0.3), params)


def test_penalties_of_a_module_and_of_nothing() -> None:
    module = nn.Linear(3, 2)
    loss = F.l2_penalty(module.parameters(), 0.5)
    expected = sum(0.5 * x.square().sum() for x in module.parameters())
    torch.testing.assert_close(loss, expected)
    assert F.l1_penalty([], 1) == 0
    with pytest.raises(ValueError, match="strength is -1"):
        F.l1_penalty(module.parameters(), -1)
    with pytest.raises(TypeError, match="Tensor, not list"):
        F.l1_penalty([[1.0]], 1)
    with pytest.raises(TypeError, match=r"dtype torch\.int64"):
        F.l1_penalty([torch.ones(2, dtype=torch.int64)], 1)


# ---- Perceptual loss ---------------------------------------------------------------------------


def features(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 3, 8, 8), (2, 5, 4, 4))
    ]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("criterion", ["mse", "l1"])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0]])
def test_perceptual_loss(weights: Any, criterion: Any, reduction: Any) -> None:
    x, y = features(0), features(1)
    options = {"weights": weights, "criterion": criterion, "reduction": reduction}
    loss = F.perceptual_loss(x, y, **options)
    gradients = torch.autograd.grad(loss, [*x, *y])
    arrays = [[z.detach().numpy() for z in each] for each in (x, y)]
    expected, truths = fl.value_and_grad(fl.perceptual_loss, argnums=(0, 1))(*arrays, **options)
    assert loss.item() == pytest.approx(expected, rel=1e-14)
    for gradient, truth in zip(gradients, [*truths[0], *truths[1]], strict=True):
        torch.testing.assert_close(gradient, torch.from_numpy(truth), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((features(0), features(1)[:1]), {}, ValueError, "target_features holds 1: expected 2"),
        ((features(0), features(1)), {"weights": [1.0]}, ValueError, "weights holds 1"),
        ((features(0), features(1)), {"criterion": "huber"}, ValueError, "criterion is 'huber'"),
        ((features(0), features(1)), {"reduction": "none"}, ValueError, "reduction is 'none'"),
        ((features(0)[0], features(1)[0]), {}, TypeError, "features is a Tensor: expected a list"),
        (([[1.0]], [[1.0]]), {}, TypeError, "torch.Tensor, not list"),
    ],
)
def test_errors_of_perceptual_loss(arguments: Any, options: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        F.perceptual_loss(*arguments, **options)


def network() -> nn.Module:
    torch.manual_seed(0)
    blocks = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 5, 3), nn.Tanh()), nn.Flatten()
    )
    return blocks.double().eval().requires_grad_(False)


def test_perceptual_loss_of_images() -> None:
    """The gradient goes to the image alone, and is that of torch."""
    net = network()
    image, target = (
        torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True) for _ in range(2)
    )
    loss = PerceptualLoss(net, ["1", "2.0"], weights=[0.5, 2.0], criterion="l1")
    value = loss(image, target)
    value.backward()
    assert target.grad is None
    twin = image.detach().requires_grad_()
    first = [net[:2](x) for x in (twin, target.detach())]
    second = [net[2][0](x) for x in first]
    expected = 0.5 * T.l1_loss(*first) + 2 * T.l1_loss(*second)
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(image.grad, twin.grad, rtol=1e-13, atol=1e-18)


def test_perceptual_loss_leaves_the_network_as_it_is() -> None:
    net = network()
    loss = PerceptualLoss(net, ["1"])
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    expected = loss(image, 1 - image)
    assert not any(module._forward_hooks for module in net.modules())
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(image, 1 - image), expected)
    assert list(loss.state_dict()) == [f"feature_extractor.{name}" for name in net.state_dict()]

    def fail(*arguments: Any) -> None:
        raise RuntimeError("of the network")

    net[3].forward = fail
    with pytest.raises(RuntimeError, match="of the network"):
        loss(image, image)
    assert not any(module._forward_hooks for module in net.modules())


def test_errors_of_perceptual_loss_of_images() -> None:
    with pytest.raises(AttributeError, match="has no attribute `9`"):
        PerceptualLoss(network(), ["9"])
    with pytest.raises(ValueError, match="weights holds 1: expected 2"):
        PerceptualLoss(network(), ["0", "1"], weights=[1.0])
    with pytest.raises(ValueError, match="criterion is 'foo'"):
        PerceptualLoss(network(), ["0"], criterion="foo")  # type: ignore[arg-type]


# ---- Wrong classes -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_zero_one_loss(reduction: Any, dtype: Any) -> None:
    """Of scores, of classes as floats and as integers: the same numbers as NumPy's."""
    scores = torch.tensor([[0.5, 2.0, 2.0], [0.1, 0.0, 0.0], [0.0, 0.0, 1.0]]).to(dtype)
    target = torch.tensor([1, 2, 2])
    weight = torch.tensor([1.0, 0.5, 2.0])
    classes = scores.argmax(1)
    for prediction in (scores, classes.to(dtype), classes):
        loss = F.zero_one_loss(
            prediction.requires_grad_(prediction.is_floating_point()),
            target,
            weight=weight,
            reduction=reduction,
        )
        expected_dtype = dtype if prediction.is_floating_point() else torch.float32
        expected = fl.zero_one_loss(
            prediction.detach().to(torch.float64).numpy(),
            target.numpy(),
            weight=weight.numpy(),
            reduction=reduction,
        )
        assert not loss.requires_grad
        torch.testing.assert_close(loss, torch.tensor(expected).to(expected_dtype))


def test_zero_one_loss_of_images_and_of_one_row() -> None:
    scores = torch.rand(2, 3, 4, 5)
    target = scores.argmax(1)
    target[0, 0, 0] = (target[0, 0, 0] + 1) % 3
    assert F.zero_one_loss(scores, target, reduction="sum") == 1
    assert F.zero_one_loss(torch.tensor([0.0, 1.0]), torch.tensor(1)) == 0
    with pytest.raises(ValueError, match="reduction is 'foo'"):
        F.zero_one_loss(scores, target, reduction="foo")  # type: ignore[arg-type]
