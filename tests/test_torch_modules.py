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
from torch_parts import kernels_at_any_size  # noqa: E402, F401

nn = torch.nn

Z = torch.linspace(-1, 1, 12).reshape(4, 3)
Y = torch.tensor([0, 1, 2, 1])
W = torch.tensor([0.5, 1.0, 2.0])
V = torch.tensor([1.0, 0.5, 0.0, 2.0])
P = Z.softmax(1)


#: (module, its options, its inputs, the function, its options)
MODULES: list[tuple[str, dict[str, Any], tuple[Any, ...], str, dict[str, Any]]] = [
    ("CrossEntropyLoss", {}, (Z, Y), "cross_entropy", {}),
    (
        "CrossEntropyLoss",
        {"weight": W, "ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1},
        (Z, Y),
        "cross_entropy",
        {"weight": W, "ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1},
    ),
    (
        "CrossEntropyLoss",
        {"softcap": 2.0, "z_loss": 0.1, "outputs": ("lse",)},
        (Z, Y, V),
        "cross_entropy",
        {"softcap": 2.0, "z_loss": 0.1, "outputs": ("lse",), "sample_weight": V},
    ),
    (
        "NLLLoss",
        {"weight": W, "ignore_index": 1, "reduction": "none"},
        (Z, Y, V),
        "nll_loss",
        {"weight": W, "ignore_index": 1, "reduction": "none", "sample_weight": V},
    ),
    (
        "CategoricalCrossEntropyLoss",
        {"axis": 0, "label_smoothing": 0.1, "ignore_index": 1, "reduction": "sum"},
        (P, Y[:3], V[:3]),
        "categorical_cross_entropy",
        {
            "axis": 0,
            "label_smoothing": 0.1,
            "ignore_index": 1,
            "reduction": "sum",
            "sample_weight": V[:3],
        },
    ),
    (
        "FocalLoss",
        {"alpha": 0.25, "gamma": 1.0, "ignore_index": 1, "reduction": "none", "softcap": 2.0},
        (Z, Y),
        "focal_loss",
        {"alpha": 0.25, "gamma": 1.0, "ignore_index": 1, "reduction": "none", "softcap": 2.0},
    ),
    (
        "FocalLoss",
        {"alpha": W, "z_loss": 0.1, "outputs": ("entropy",)},
        (Z, Y, V),
        "focal_loss",
        {"alpha": W, "z_loss": 0.1, "outputs": ("entropy",), "sample_weight": V},
    ),
    (
        "SoftCrossEntropyLoss",
        {"temperature": 2.0, "reduction": "sum"},
        (Z, Z.flip(0), V),
        "soft_cross_entropy",
        {"temperature": 2.0, "reduction": "sum", "sample_weight": V},
    ),
    (
        "DistillationLoss",
        {"temperature": 2.0, "alpha": 0.25, "ignore_index": 1, "reduction": "none"},
        (Z, Z.flip(0), Y, V),
        "distillation_loss",
        {
            "temperature": 2.0,
            "alpha": 0.25,
            "ignore_index": 1,
            "reduction": "none",
            "sample_weight": V,
        },
    ),
    ("DistillationLoss", {}, (Z, Z.flip(0)), "distillation_loss", {}),
]


@pytest.mark.parametrize(
    ("name", "module_options", "inputs", "function", "options"),
    MODULES,
    ids=[f"{case[0]}-{'-'.join(case[1])}" for case in MODULES],
)
def test_modules_are_their_functions(
    name: str, module_options: Any, inputs: Any, function: str, options: Any
) -> None:
    module = getattr(front, name)(**module_options)
    arguments = inputs[:-1] if "sample_weight" in options else inputs
    expected = getattr(F, function)(*arguments, **options)
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(*inputs), expected, rtol=0, atol=0)


def test_every_module_is_tested() -> None:
    assert {case[0] for case in MODULES} == set(front.__all__) - {"functional"}


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
def test_modules_of_torch(name: str) -> None:
    """torch's class, parameters in torch's order, and state."""
    ours, theirs = getattr(front, name), getattr(nn, name)
    parameters = [
        [(p.name, p.default, p.kind) for p in inspect.signature(cls).parameters.values()]
        for cls in (ours, theirs)
    ]
    assert parameters[0][: len(parameters[1])] == parameters[1]
    module = ours(W, ignore_index=1, reduction="sum")
    twin = theirs(torch.ones(3))
    assert isinstance(module, theirs)
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
