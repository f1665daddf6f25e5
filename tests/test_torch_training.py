"""What training wraps around a loss: checkpoints, hooks, scaled gradients, layouts, processes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import fusedloss.torch as front  # noqa: E402
import torch_cells  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from parts import public  # noqa: E402
from ranks import Ranks  # noqa: E402
from torch_cells import Recorded  # noqa: E402

ROWS, WIDTH, CLASSES = 8, 6, 5

#: Losses of embeddings (ROWS, WIDTH) and labels, the head among their parameters if they have one.
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "CrossEntropyLoss": front.CrossEntropyLoss,
    "LinearCrossEntropyLoss": partial(front.LinearCrossEntropyLoss, WIDTH, CLASSES),
    "ArcFaceLoss": partial(front.ArcFaceLoss, WIDTH, CLASSES, scale=8.0),
    "SupConLoss": front.SupConLoss,
    "TripletLoss": front.TripletLoss,
}

#: Float64 summed in another order.
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


class Model(nn.Module):
    """A network and a loss of its output."""

    def __init__(self, name: str, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, WIDTH))
        self.loss = LOSSES[name]()
        self.double()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = self.loss(self.network(x), y)
        return loss


def batch(step: int = 0, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return x, torch.arange(rows) // 2 % CLASSES


def gradients(model: nn.Module, step: Callable[..., Tensor], *given: Tensor) -> list[Tensor]:
    """The loss of a step and the gradients in a model's parameters."""
    model.zero_grad()
    loss = step(*given)
    loss.backward()
    return [loss.detach(), *[x.grad.clone() for x in model.parameters() if x.grad is not None]]


def assert_same(made: list[Tensor], expected: list[Tensor]) -> None:
    assert len(made) == len(expected)
    for x, y in zip(made, expected, strict=True):
        torch.testing.assert_close(x, y, **CLOSE)


def as_eager(model: nn.Module) -> Callable[..., Any]:
    return model


def as_operators(model: nn.Module) -> Callable[..., Any]:
    """Compiled, with the loss as an operator."""
    torch._dynamo.reset()
    return torch.compile(model, backend="aot_eager")


WAYS = {"eager": as_eager, "operators": as_operators}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reentrant", [False, True], ids=["", "reentrant"])
def test_activation_checkpoints(name: str, way: str, reentrant: bool) -> None:
    """The loss and the layers before it are computed again in the backward pass."""
    model = Model(name)
    x, y = batch()
    x.requires_grad_()  # what reentrant checkpoints ask for
    expected = gradients(model, model, x, y)
    run = WAYS[way](model)
    step = partial(checkpoint, run, use_reentrant=reentrant)
    assert_same(gradients(model, step, x, y), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_checkpoints_within_a_compiled_step(name: str) -> None:
    model = Model(name)
    x, y = batch()
    expected = gradients(model, model, x, y)
    torch._dynamo.reset()
    recorded = Recorded()

    @torch.compile(backend=recorded, fullgraph=True)
    def step(x: Tensor, y: Tensor) -> Any:
        return checkpoint(model, x, y, use_reentrant=False)

    assert_same(gradients(model, step, x, y), expected)


def numpy_hooks(count: list[int]) -> AbstractContextManager[Any]:
    """Hooks that keep saved tensors as arrays, and count them."""

    def pack(x: Tensor) -> Any:
        count.append(x.numel())
        return x.detach().numpy().copy()

    return torch.autograd.graph.saved_tensors_hooks(pack, torch.from_numpy)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hooks", ["saved_tensors_hooks", "save_on_cpu"])
@pytest.mark.parametrize("name", LOSSES)
def test_saved_tensors(name: str, hooks: str, way: str) -> None:
    model = Model(name)
    x, y = batch()
    expected = gradients(model, model, x, y)
    run = WAYS[way](model)
    count: list[int] = []

    def step(x: Tensor, y: Tensor) -> Any:
        own = hooks == "saved_tensors_hooks"
        with numpy_hooks(count) if own else torch.autograd.graph.save_on_cpu():
            return run(x, y)

    assert_same(gradients(model, step, x, y), expected)
    assert bool(count) == (hooks == "saved_tensors_hooks")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LOSSES)
def test_scaled_gradients(name: str, way: str) -> None:
    """Of float16 under autocast: what is too small for it arrives, an overflow skips the step."""
    model = Model(name).float()
    reference = copy.deepcopy(model).double()
    x, y = batch()
    small = 2.0**-18  # of the gradients, which float16 rounds to few digits or to 0
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    run = WAYS[way](model)

    def backward(factor: float) -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = run(x.float(), y) * factor
        assert loss.dtype is torch.float32
        scaler.scale(loss).backward()

    backward(small)
    scaler.unscale_(optimiser)
    (reference(x, y) * small).backward()
    # products of float16, a few of them after each other
    atol = 2.0**-7 * max(x.grad.abs().max().item() for x in reference.parameters())
    for made, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(made.grad.double(), expected.grad, rtol=0, atol=atol)
    scaler.step(optimiser)
    scaler.update()

    before = [x.detach().clone() for x in model.parameters()]
    backward(2.0**16)
    scaler.step(optimiser)
    scaler.update()
    assert scaler.get_scale() == 2.0**15
    for made, expected in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(made.detach(), expected, rtol=0, atol=0)


#: Losses of images (2, 3, 4, 5), whose targets are classes or images.
OF_CLASSES = ("cross_entropy", "focal_loss", "dice_loss", "dice_ce_loss", "lovasz_softmax_loss")
OF_IMAGES = ("mse_loss", "huber_loss", "binary_cross_entropy_with_logits")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_CLASSES + OF_IMAGES)
def test_channels_last(name: str, way: str) -> None:
    """The gradient lies as the images do; that of a formula as its compiler likes."""
    generator = torch.Generator().manual_seed(0)
    x, t = torch.rand(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    y = torch.arange(40).reshape(2, 4, 5) % 3 if name in OF_CLASSES else t
    function: Any = getattr(F, name)
    torch._dynamo.reset()
    run = torch.compile(function, backend="aot_eager") if way == "operators" else function
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.clone(memory_format=layout).requires_grad_()
        target = y.contiguous(memory_format=layout) if y.dim() == 4 else y
        value = run(given, target)
        (gradient,) = torch.autograd.grad(value, given)
        if way == "eager" or name in OF_CLASSES:
            assert gradient.is_contiguous(memory_format=layout)
        results.append([value.detach(), gradient])
    assert_same(*results)


@pytest.mark.parametrize("name", public(F))
def test_storages_may_be_resized(name: str) -> None:
    """FSDP frees the storages of parameters between their uses."""
    given = torch_cells.mapped(torch_cells.arguments(name), torch.clone)
    flat = [y for x in given.values() for y in (x if isinstance(x, list) else [x])]
    floats = [x for x in flat if isinstance(x, Tensor) and x.is_floating_point()]
    floats[0].requires_grad_()
    loss = getattr(F, name)(**given)
    if loss.requires_grad:
        loss.backward()
    assert all(x.untyped_storage().resizable() for x in floats)


# ---- On several processes ------------------------------------------------------------------------

STEPS = 3


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Two processes."""
    started = Ranks(tmp_path_factory.mktemp("ranks"), 2)
    yield started
    started.stop()


def trained(model: nn.Module, run: Callable[..., Tensor], rank: int, size: int) -> list[float]:
    """Losses of steps on a rank's share of each batch."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(STEPS):
        x, y = (part.chunk(size)[rank] for part in batch(step))
        optimiser.zero_grad()
        loss = run(x, y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def run_data_parallel(group: Any, name: str, way: str) -> Any:
    """Losses, and the parameters in the end."""
    model = Model(name, seed=dist.get_rank(group))  # rank 0's parameters are everybody's
    parallel = DistributedDataParallel(model, process_group=group)
    losses = trained(model, WAYS[way](parallel), dist.get_rank(group), dist.get_world_size(group))
    return losses, [x.detach().numpy() for x in model.parameters()]


def run_sharded(group: Any, name: str, way: str) -> Any:
    """Losses, and the parameters in the end, which lie on both processes meanwhile."""
    model = Model(name)
    if way == "operators":  # torch compiles what is between the hooks of the parts
        torch._dynamo.reset()
        model.network.compile(backend="aot_eager")
        model.loss.compile(backend="aot_eager", fullgraph=True)
    mesh = init_device_mesh("cpu", (dist.get_world_size(group),))
    for part in (model.network, model.loss, model):
        fully_shard(part, mesh=mesh)
    losses = trained(model, model, dist.get_rank(group), dist.get_world_size(group))
    parameters: list[Any] = list(model.parameters())
    return losses, [x.full_tensor().detach().numpy() for x in parameters]


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "LinearCrossEntropyLoss", "ArcFaceLoss"])
@pytest.mark.parametrize("run", [run_data_parallel, run_sharded], ids=["DDP", "FSDP2"])
def test_processes(ranks: Ranks, run: Callable[..., Any], name: str, way: str) -> None:
    """Two processes with half of each batch train as one process with all of it."""
    model = Model(name)
    expected = trained(model, model, 0, 1)
    answers = ranks.run(2, run, name, way)
    for step, loss in enumerate(expected):
        mean = sum(losses[step] for losses, _ in answers) / len(answers)
        assert mean == pytest.approx(loss, rel=1e-12)
    for _, parameters in answers:
        made = [torch.from_numpy(x) for x in parameters]
        assert_same(made, [x.detach() for x in model.parameters()])
