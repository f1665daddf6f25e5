"""Losses as modules: torch's constructors, classes and state, and training with them."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import fusedloss.torch as front  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from fusedloss.torch.modules.mining import Miner  # noqa: E402
from module_cases import MODULES, OWNING, W  # noqa: E402
from parts import public  # noqa: E402

nn = torch.nn


@pytest.mark.parametrize(
    ("name", "module_options", "inputs", "function", "options"),
    MODULES,
    ids=[f"{case[0]}-{'-'.join(case[1])}" for case in MODULES],
)
def test_modules_are_their_functions(
    name: str, module_options: Any, inputs: Any, function: str, options: Any
) -> None:
    module = getattr(front, name)(**module_options)
    by_keyword = {"sample_weight", "weight", "where"} & (options.keys() - module_options.keys())
    if function == "linear_distillation_loss":
        by_keyword |= {"target"} & options.keys()
    arguments = inputs[: len(inputs) - len(by_keyword)]
    expected = getattr(F, function)(*arguments, **options)
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(*inputs), expected, rtol=0, atol=0)


def test_every_module_is_tested() -> None:
    """Here, or where those are that own weights or are no losses."""
    others = (*OWNING, front.PerceptualLoss, Miner)
    owners = {name for name in public(front.modules) if issubclass(getattr(front, name), others)}
    assert {case[0] for case in MODULES} == set(public(front.modules)) - owners


@pytest.mark.parametrize("name", [name for name in public(front.modules) if hasattr(nn, name)])
def test_signatures_of_modules_of_torch(name: str) -> None:
    """torch's class, its parameters and those of its call in torch's order."""
    ours, theirs = getattr(front, name), getattr(nn, name)
    assert issubclass(ours, theirs)
    for function in ("__init__", "forward"):
        parameters = [
            [(p.name, p.default, p.kind) for p in inspect.signature(each).parameters.values()]
            for each in (getattr(ours, function), getattr(theirs, function))
        ]
        assert parameters[0][: len(parameters[1])] == parameters[1]


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss"])
def test_state_of_modules_of_torch(name: str) -> None:
    ours, theirs = getattr(front, name), getattr(nn, name)
    module = ours(W, reduction="sum")
    twin = theirs(torch.ones(3))
    assert list(module.state_dict()) == list(twin.state_dict()) == ["weight"]
    twin.load_state_dict(module.state_dict())
    assert torch.equal(twin.weight, W)
    assert module.double().weight.dtype is torch.float64
    with pytest.warns(UserWarning, match="size_average and reduce args will be deprecated"):
        assert ours(size_average=False).reduction == "sum"


def test_alpha_is_a_buffer() -> None:
    module = front.FocalLoss(alpha=W)
    assert list(module.state_dict()) == ["alpha"]
    assert module.double().alpha.dtype is torch.float64
    assert not front.FocalLoss(alpha=0.25).state_dict()


def test_training_is_that_of_torch() -> None:
    """A hundred steps of SGD with momentum, weights and smoothing on 3 blobs; float64."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, (60,), generator=generator)
    x = torch.randn(60, 2, generator=generator, dtype=torch.float64) + target[:, None]
    losses, parameters = [], []
    for module in (front, nn):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        criterion = module.CrossEntropyLoss(W.double(), label_smoothing=0.1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(100):
            optimizer.zero_grad()
            loss = criterion(model(x), target)
            loss.backward()
            optimizer.step()
        losses.append(loss.detach())
        parameters.append(list(model.parameters()))
    assert losses[0] < 0.9
    # a hundred steps amplify the last bits of the gradients, by some thousands
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(parameters[0], parameters[1], rtol=1e-10, atol=1e-12)
