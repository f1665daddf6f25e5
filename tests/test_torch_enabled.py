"""`enable`: torch's losses replaced for the process or for a block, and put back exactly."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import fusedloss.torch as front
from fusedloss.torch import _original, enabling
from parts import public
from torch_parts import by_kernel

F: Any = nn.functional

x, y = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
labels, signs = torch.tensor([0, 2, 1, 2]), torch.tensor([1.0, -1.0, 1.0, 1.0])
log_probs = torch.randn(5, 1, 3, generator=torch.Generator().manual_seed(1)).log_softmax(2)

#: What each function is called with, and the module that calls it.
CALLS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "binary_cross_entropy": ((x.sigmoid(), y.sigmoid()), nn.BCELoss()),
    "binary_cross_entropy_with_logits": ((x, y.sigmoid()), nn.BCEWithLogitsLoss()),
    "cosine_embedding_loss": ((x, y, signs), nn.CosineEmbeddingLoss()),
    "cross_entropy": ((x, labels), nn.CrossEntropyLoss()),
    "ctc_loss": (
        (log_probs, torch.tensor([[1, 2]]), torch.tensor([5]), torch.tensor([2])),
        nn.CTCLoss(),
    ),
    "gaussian_nll_loss": ((x, y, y.exp()), nn.GaussianNLLLoss()),
    "hinge_embedding_loss": ((x[:, 0], signs), nn.HingeEmbeddingLoss()),
    "huber_loss": ((x, y), nn.HuberLoss()),
    "kl_div": ((x, y.softmax(1)), nn.KLDivLoss(reduction="batchmean")),
    "l1_loss": ((x, y), nn.L1Loss()),
    "linear_cross_entropy": ((x, torch.ones(5, 3), labels), None),
    "margin_ranking_loss": ((x[:, 0], x[:, 1], signs), nn.MarginRankingLoss()),
    "mse_loss": ((x, y), nn.MSELoss()),
    "multi_margin_loss": ((x, labels), nn.MultiMarginLoss()),
    "multilabel_margin_loss": ((x, torch.tensor([[1, 0, -1]] * 4)), nn.MultiLabelMarginLoss()),
    "multilabel_soft_margin_loss": ((x, y.sigmoid()), nn.MultiLabelSoftMarginLoss()),
    "nll_loss": ((x.log_softmax(1), labels), nn.NLLLoss()),
    "poisson_nll_loss": ((x, y.exp()), nn.PoissonNLLLoss()),
    "smooth_l1_loss": ((x, y), nn.SmoothL1Loss()),
    "soft_margin_loss": ((x, y.sign()), nn.SoftMarginLoss()),
    "triplet_margin_loss": ((x, y, x + 1), nn.TripletMarginLoss()),
    "triplet_margin_with_distance_loss": ((x, y, x + 1), nn.TripletMarginWithDistanceLoss()),
}

pytestmark = pytest.mark.filterwarnings(
    "ignore:reduction. 'mean' divides the total loss", "ignore:.*torch.jit.*:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    """Nothing of `torch.nn.functional` is other than before, whatever a test does."""
    before = dict(vars(F))
    yield
    front.disable()
    after = vars(F)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def is_replaced(name: str = "mse_loss") -> bool:
    """Whether a call with a graph is one of the kernels."""
    arguments, _ = CALLS[name]
    return by_kernel(getattr(F, name)(arguments[0].clone().requires_grad_(), *arguments[1:]))


def test_every_loss_of_both_is_replaced() -> None:
    both = {name for name in public(front.functional) if hasattr(F, name)}
    with front.enable():
        assert set(front.enabled()) == both == set(CALLS)
    assert front.enabled() == ()


@pytest.mark.parametrize("name", CALLS)
def test_functions_and_modules_are_replaced(name: str) -> None:
    """The value and the gradient are this package's, bit by bit; put back, torch's."""
    (first, *others), module = CALLS[name]
    calls = [getattr(F, name), getattr(front.functional, name)]

    def answer(call: Callable[..., Any]) -> Any:
        leaf = first.clone().requires_grad_()
        loss = call(leaf, *others)
        return by_kernel(loss), loss.detach(), torch.autograd.grad(loss, leaf)[0]

    assert not answer(calls[0])[0]
    with front.enable():
        kernel, *ours = answer(calls[1])
        assert kernel
        for replaced in (getattr(F, name), *(() if name == "kl_div" else (module,))):
            if replaced is not None:
                kernel, *numbers = answer(replaced)
                assert kernel
                torch.testing.assert_close(numbers, ours, rtol=0, atol=0)
        if name == "kl_div":
            assert answer(module)[0]
    assert not answer(getattr(F, name))[0]
    if module is not None:
        assert not answer(module)[0]


def test_enabling_again_changes_nothing() -> None:
    front.enable()
    front.enable()
    assert is_replaced()
    front.disable()
    assert not is_replaced()
    front.disable()
    assert not is_replaced()


def test_only_some() -> None:
    front.enable(only=["mse_loss", "l1_loss"])
    assert front.enabled() == ("l1_loss", "mse_loss")
    assert not is_replaced("cross_entropy")
    with front.enable(only=("cross_entropy",)):
        assert front.enabled() == ("cross_entropy", "l1_loss", "mse_loss")
    front.disable(only=["l1_loss"])
    assert front.enabled() == ("mse_loss",)


def test_wrong_names() -> None:
    with pytest.raises(ValueError, match=r"only has 'softmax': expected names of binary_cross_en"):
        front.enable(only=["mse_loss", "softmax"])
    with pytest.raises(TypeError, match=r"only is 'mse_loss': expected names, such as"):
        front.enable(only="mse_loss")
    assert front.enabled() == ()


def test_blocks_end_in_any_order() -> None:
    """The latest request that still holds has its way."""
    outer, inner = front.enable(), front.disable()
    assert not is_replaced()
    with outer:
        assert not is_replaced()
        with inner:
            assert not is_replaced()
            front.enable()
            assert is_replaced()
        assert is_replaced()
    assert is_replaced()  # enabled for the process, in the block
    front.disable()
    outer, inner = front.enable(), front.enable()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__()
    assert is_replaced()
    inner.__exit__()
    assert not is_replaced()
    with outer, outer:
        assert is_replaced()
    assert not is_replaced()


def test_requests_are_forgotten() -> None:
    """What many calls leave behind is as much as one does."""
    for _ in range(50):
        front.enable()
    assert len(enabling._holding) <= 2
    assert is_replaced()


def test_an_error_ends_a_block() -> None:
    with pytest.raises(KeyError), front.enable():
        raise KeyError
    assert not is_replaced()


def test_a_block_does_not_undo_what_was_enabled() -> None:
    front.enable()
    with front.enable():
        pass
    assert is_replaced()
    with front.disable():
        assert not is_replaced()
    assert is_replaced()


def test_blocks_of_many_threads() -> None:
    """A block finds the losses replaced, though others end meanwhile; at last none is."""
    found = []

    def work() -> None:
        for _ in range(200):
            with front.enable(only=["mse_loss"]):
                found.append("mse_loss" in front.enabled())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 800
    assert front.enabled() == ()


class Watched(torch.Tensor):  # type: ignore[misc]
    """A tensor whose class sees torch's functions."""

    seen: list[Any] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


class Watching(TorchFunctionMode):  # type: ignore[misc]
    """A mode that sees torch's functions."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Watched.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CALLS)
def test_handlers_see_the_originals(name: str) -> None:
    arguments, _ = CALLS[name]
    original = getattr(_original, name)
    seen = []
    for enabled in (False, True):
        with front.enable() if enabled else front.disable():
            Watched.seen = []
            losses = [getattr(F, name)(arguments[0].as_subclass(Watched), *arguments[1:])]
            with Watching():
                losses.append(getattr(F, name)(*arguments))
            assert Watched.seen[0] is original
            seen.append((list(Watched.seen), [x.as_subclass(torch.Tensor) for x in losses]))
    assert seen[0][0] == seen[1][0]
    torch.testing.assert_close(seen[0][1], seen[1][1], rtol=0, atol=0)


def test_a_traced_module_calls_torch() -> None:
    class Model(nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return F.mse_loss(x, y)

    with front.enable():
        traced = torch.fx.symbolic_trace(Model())
    assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [
        _original.mse_loss
    ]


def test_scripted_modules_are_as_before() -> None:
    with front.enable():
        scripted = torch.jit.script(nn.CrossEntropyLoss())
        assert not by_kernel(scripted(x.clone().requires_grad_(), labels))


def test_pickles_are_as_before() -> None:
    modules = [module for _, module in CALLS.values() if module is not None]
    before = pickle.dumps([modules, F.mse_loss])
    with front.enable():
        assert pickle.dumps([modules, F.mse_loss]) == before
        assert pickle.loads(before)[1] is F.mse_loss
        assert all(
            type(x) is type(y) for x, y in zip(modules, pickle.loads(before)[0], strict=True)
        )


def test_earlier_imports_stay_torch() -> None:
    imported = F.mse_loss
    with front.enable():
        assert not by_kernel(imported(x.clone().requires_grad_(), y))


def test_others_replacements_stay() -> None:
    """What was there before comes back; what is put there meanwhile is left there."""
    original = F.mse_loss
    try:
        F.mse_loss = earlier = lambda *arguments: original(*arguments)
        with front.enable():
            assert is_replaced()
        assert F.mse_loss is earlier
        with front.enable():
            F.mse_loss = later = lambda *arguments: original(*arguments)
        assert F.mse_loss is later
        assert front.enabled() == ()
    finally:
        F.mse_loss = original


def test_second_derivatives_do_not_recur() -> None:
    """They are torch's, whose formulas call functions that are replaced."""
    with front.enable():
        for name in ("cross_entropy", "linear_cross_entropy", "triplet_margin_with_distance_loss"):
            first, *others = CALLS[name][0]
            leaf = first.clone().requires_grad_()
            loss = getattr(F, name)(leaf, *others)
            (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
            torch.autograd.grad(gradient.square().sum(), leaf)


@pytest.mark.parametrize("module", [nn.CrossEntropyLoss(), None])
def test_toggling_compiles_again(module: Any) -> None:
    """A compiled model calls what is in the place, by a module or by name."""
    compiled = []

    def backend(graph: Any, _inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()

    @torch.compile(backend=backend)  # type: ignore[untyped-decorator]
    def step(x: Any) -> Any:
        return module(x, labels) if module else F.cross_entropy(x, labels)

    expected = step(x)
    assert len(compiled) == 1
    with front.enable():
        torch.testing.assert_close(step(x), expected)
        assert len(compiled) == 2
        torch.testing.assert_close(step(x), expected)
        assert len(compiled) == 2
    torch.testing.assert_close(step(x), expected, rtol=0, atol=0)
    assert len(compiled) == 2
