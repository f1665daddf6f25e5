"""Losses over process groups: what ranks compute together is what one process computes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
import torch.distributed.checkpoint as dcp  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.distributed.checkpoint.state_dict import (  # noqa: E402
    get_state_dict,
    set_state_dict,
)
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

import fusedloss as fl  # noqa: E402
import fusedloss.torch  # noqa: E402
from conftest import REPOSITORY  # noqa: E402
from fusedloss.torch import distributed  # noqa: E402
from fusedloss.torch import functional as F  # noqa: E402
from fusedloss.torch.distributed import (  # noqa: E402
    ShardedLinearCrossEntropyLoss,
    class_range,
    sharded_linear_cross_entropy,
)
from ranks import TIMEOUT, Ranks  # noqa: E402

T = nn.functional

#: Rows and classes of each rank, for groups of 1, 2 and 4.
SHARES = (
    ((5,), (7,)),
    ((33, 33), (50, 50)),
    ((40, 3), (2, 131)),
    ((0, 9), (3, 1)),
    ((8, 0, 33, 1), (5, 70, 1, 24)),
)

FEATURES = 19


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Four processes, which all tests share."""
    four = Ranks(tmp_path_factory.mktemp("ranks"), 4)
    yield four
    four.stop()


@dataclass(frozen=True)
class Linear:
    """A linear layer's call; the same numbers in every process."""

    rows: tuple[int, ...]
    classes: tuple[int, ...]
    dtype: Any = torch.float64
    bias: bool = False
    weight: bool = False
    sample_weight: bool = False
    ignore: float = 0.0  # the share of rows
    label_smoothing: float = 0.0
    softcap: float | None = None
    z_loss: float = 0.0
    reduction: str = "mean"
    workspace: int | None = None

    def build(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors of all ranks together, and the options."""
        generator = torch.Generator().manual_seed(len(repr(self)))
        n, c = sum(self.rows), sum(self.classes)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)

        target = torch.randint(0, c, (n,), generator=generator)
        left_out = torch.rand(n, generator=generator) < self.ignore
        tensors = {
            "input": normal(n, FEATURES),
            "linear_weight": normal(c, FEATURES) / 2,
            "target": target.where(~left_out, -100),
        }
        if self.bias:
            tensors["linear_bias"] = normal(c)
        if self.weight:
            tensors["weight"] = normal(c).abs()
        if self.sample_weight:
            tensors["sample_weight"] = normal(n).abs()
        names = ("label_smoothing", "softcap", "z_loss", "reduction", "workspace")
        return tensors, {name: getattr(self, name) for name in names}


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"bias": True, "weight": True, "ignore": 0.3},
    {"label_smoothing": 0.1, "weight": True, "sample_weight": True, "bias": True},
    {"softcap": 3.0, "z_loss": 0.1, "sample_weight": True, "ignore": 0.3, "weight": True},
    {"label_smoothing": 0.2, "softcap": 2.0, "reduction": "sum", "z_loss": 0.01},
    {"reduction": "sum", "sample_weight": True, "weight": True},
    {"ignore": 1.0, "label_smoothing": 0.1},
)

CASES = (
    *(
        Linear(*shares, **options, workspace=(None, 1)[(i + k) % 2])
        for i, shares in enumerate(SHARES)
        for k, options in enumerate(OPTIONS)
    ),
    *(
        Linear((8, 0, 33, 1), (5, 70, 1, 24), dtype=dtype, bias=True, label_smoothing=0.1)
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    ),
)

#: By which arguments gradients are taken.
DIFFERENTIABLE = ("input", "linear_weight", "linear_bias")


def formula(tensors: dict[str, Tensor], options: dict[str, Any]) -> Tensor:
    """Compute the loss in one process from torch's operations."""
    x, w, y = (tensors[name] for name in ("input", "linear_weight", "target"))
    z = T.linear(x, w, tensors.get("linear_bias"))
    if options["softcap"]:
        z = options["softcap"] * torch.tanh(z / options["softcap"])
    class_weight = tensors.get("weight")
    losses = T.cross_entropy(
        z, y, class_weight, label_smoothing=options["label_smoothing"], reduction="none"
    )
    weights = tensors.get("sample_weight", torch.ones(len(y), dtype=z.dtype)) * (y != -100)
    of_target = 1 if class_weight is None else class_weight[y.clamp(min=0)]
    means = options["reduction"] == "mean"
    divisor, z_divisor = ((weights * of_target).sum(), weights.sum()) if means else (1, 1)
    z_loss = options["z_loss"] * weights * z.logsumexp(-1) ** 2
    return (weights * losses).sum() / divisor + z_loss.sum() / z_divisor


def own_part(name: str, x: Tensor, case: Any, rank: int) -> Tensor:
    """Return what a rank has of a tensor: rows or classes."""
    is_of_rows = name in ("input", "embeddings", "target", "sample_weight")
    return x.split(case.rows if is_of_rows else case.classes)[rank].clone()


def run_linear(group: Any, case: Linear) -> dict[str, Any]:
    """Loss and gradients on a rank."""
    tensors, options = case.build()
    own = {name: own_part(name, x, case, dist.get_rank(group)) for name, x in tensors.items()}
    for name in own.keys() & DIFFERENTIABLE:
        own[name].requires_grad_()
    loss = sharded_linear_cross_entropy(**own, **options, process_group=group)
    (3 * loss).backward()
    made = {name: own[name].grad.double().numpy() for name in own.keys() & DIFFERENTIABLE}
    return {"loss": loss.item(), **made}


@pytest.mark.parametrize("case", CASES)
def test_linear_cross_entropy(ranks: Ranks, case: Linear) -> None:
    size = len(case.rows)
    answers = ranks.run(size, run_linear, case)
    tensors, options = case.build()
    exact = {k: x.double() if x.is_floating_point() else x for k, x in tensors.items()}
    for name in exact.keys() & DIFFERENTIABLE:
        exact[name].requires_grad_()
    expected = formula(exact, options)
    (3 * expected).backward()
    # A gradient's rounding error is that of a sum of products, whose terms may be larger than it;
    # in 16 bits each rank's part of the input's gradient is rounded besides.
    epsilon = torch.finfo(case.dtype).eps
    assert len({str(answer["loss"]) for answer in answers}) == 1
    tolerance = 4 * epsilon if case.dtype.itemsize < 4 else 100 * epsilon
    for answer in answers:
        assert answer["loss"] == pytest.approx(expected.item(), rel=tolerance, nan_ok=True)
    for name in exact.keys() & DIFFERENTIABLE:
        made = np.concatenate([answer[name] for answer in answers])
        gradient = exact[name].grad.nan_to_num(0).numpy() * (size if name == "input" else 1)
        largest = np.abs(gradient).max(initial=0)
        np.testing.assert_allclose(made, gradient, rtol=tolerance, atol=tolerance * largest)


def run_linear_under_autocast(group: Any, case: Linear, low: Any) -> dict[str, Any]:
    """`run_linear` of embeddings of 16 bits and a layer of float32."""
    tensors, options = case.build()
    own = {name: own_part(name, x, case, dist.get_rank(group)) for name, x in tensors.items()}
    own["input"] = own["input"].to(low)
    for name in own.keys() & DIFFERENTIABLE:
        own[name].requires_grad_()
    with torch.autocast("cpu", dtype=low):
        loss = sharded_linear_cross_entropy(**own, **options, process_group=group)
    loss.backward()
    made = {name: own[name].grad for name in own.keys() & DIFFERENTIABLE}
    assert all(made[name].dtype is own[name].dtype for name in made)
    return {
        "dtype": str(loss.dtype),
        "loss": loss.item(),
        **{name: x.double().numpy() for name, x in made.items()},
    }


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", OPTIONS[:4])
def test_linear_cross_entropy_under_autocast(
    ranks: Ranks, options: dict[str, Any], low: Any
) -> None:
    """The loss is float32, and so is the accuracy of all but the embeddings' own gradient."""
    case = Linear((33, 33), (50, 50), dtype=torch.float32, **options)
    answers = ranks.run(2, run_linear_under_autocast, case, low)
    tensors, keywords = case.build()
    tensors["input"] = tensors["input"].to(low)
    exact = {k: x.double() if x.is_floating_point() else x for k, x in tensors.items()}
    for name in exact.keys() & DIFFERENTIABLE:
        exact[name].requires_grad_()
    expected = formula(exact, keywords)
    expected.backward()
    tolerance = 100 * torch.finfo(torch.float32).eps  # sums of some hundred terms
    for answer in answers:
        assert answer["dtype"] == "torch.float32"
        assert answer["loss"] == pytest.approx(expected.item(), rel=tolerance)
    for name in exact.keys() & DIFFERENTIABLE:
        made = np.concatenate([answer[name] for answer in answers])
        gradient = exact[name].grad.numpy() * (2 if name == "input" else 1)
        allowed = tolerance if name != "input" else float(torch.finfo(low).eps)
        largest = np.abs(gradient).max()
        np.testing.assert_allclose(made, gradient, rtol=allowed, atol=allowed * largest)


# ---- Training: the layers before the loss under DistributedDataParallel ------------------------

STEPS = 20
BATCHES = {1: (12,), 2: (9, 3), 4: (3, 5, 0, 4)}
NUM_CLASSES = 11


def backbone() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 8)).double()


def first_weights() -> Tensor:
    return torch.randn(NUM_CLASSES, 8, generator=torch.Generator().manual_seed(2)).double()


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step % 3)
    x = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    return x, (x[:, :2].sum(-1).abs() * 4).long().clamp(max=NUM_CLASSES - 1)


def optimiser(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def run_training(group: Any) -> tuple[list[float], Any, Any]:
    """Losses, and the parameters in the end."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    model = backbone()
    parallel = DistributedDataParallel(model, process_group=group)
    head = ShardedLinearCrossEntropyLoss(
        8, NUM_CLASSES, label_smoothing=0.1, process_group=group, dtype=torch.float64
    )
    first, end = class_range(NUM_CLASSES, group)
    with torch.no_grad():
        head.linear_weight.to_local().copy_(first_weights()[first:end])
    steps = optimiser([*parallel.parameters(), *head.parameters()])
    losses = []
    for step in range(STEPS):
        x, y = (part.split(BATCHES[size])[rank] for part in batch(step))
        steps.zero_grad()
        loss = head(parallel(x), y)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    local = head.linear_weight.to_local().detach().numpy()
    return losses, nn.utils.parameters_to_vector(model.parameters()).detach().numpy(), local


@pytest.mark.parametrize("size", BATCHES)
def test_training_equals_that_of_one_process(ranks: Ranks, size: int) -> None:
    model, weight = backbone(), nn.Parameter(first_weights())
    steps = optimiser([*model.parameters(), weight])
    losses = []
    for step in range(STEPS):
        x, y = batch(step)
        steps.zero_grad()
        loss = T.cross_entropy(T.linear(model(x), weight), y, label_smoothing=0.1)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    parameters = nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    answers = ranks.run(size, run_training)
    # Rounding errors of float64, which the steps of a descent hardly amplify.
    for made, of_model, _ in answers:
        np.testing.assert_allclose(made, losses, rtol=1e-12)
        np.testing.assert_allclose(of_model, parameters, rtol=1e-10, atol=1e-12)
    of_head = np.concatenate([local for *_, local in answers])
    np.testing.assert_allclose(of_head, weight.detach().numpy(), rtol=1e-10, atol=1e-12)


# ---- Margin-softmax heads ----------------------------------------------------------------------

#: Options of each head; numbers of classes are multiples of 4, so that any group shares them.
HEADS: dict[str, dict[str, Any]] = {
    "ArcFaceLoss": {"label_smoothing": 0.1},
    "CosFaceLoss": {"reduction": "sum"},
    "CombinedMarginLoss": {"m1": 1.1, "m3": 0.1, "interclass_filtering_threshold": 0.2},
    "NormFaceLoss": {},
    "L2SoftmaxLoss": {"alpha": 8.0},
    "LSoftmaxLoss": {"annealing": 2.0},
    "ASoftmaxLoss": {"label_smoothing": 0.2},
    "SphereFaceLoss": {"gradient": "detached"},
    "SubcenterArcFaceLoss": {"label_smoothing": 0.1, "scale": 8.0},
    "MagFaceLoss": {"l_a": 1.0, "u_a": 6.0, "scale": 8.0},
    "CurricularFaceLoss": {"scale": 8.0},
    "AdaFaceLoss": {"scale": 8.0},
    "ProxyNCALoss": {"softmax_scale": 4.0},
    "SoftTripleLoss": {"centers_per_class": 2, "label_smoothing": 0.1},
}

HEAD_CLASSES = 24


def head_batches(step: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(0, HEAD_CLASSES, (12,), generator=generator)
    return x * 2, y.where(y % 5 > 0, -1), torch.rand(12, generator=generator, dtype=torch.float64)


def train_head(head: nn.Module, weight: Tensor, share: Any) -> tuple[list[float], list[Tensor]]:
    """Three steps: losses, and the gradients by the embeddings."""
    first = torch.randn(
        head.weight.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    with torch.no_grad():
        weight.copy_(share(first))
    steps = optimiser(head.parameters())
    losses, gradients = [], []
    for step in range(3):
        x, y, sample_weight = head_batches(step)
        embeddings = share(x).clone().requires_grad_()
        steps.zero_grad()
        loss = head(embeddings, share(y), share(sample_weight))
        loss.backward()
        steps.step()
        losses.append(loss.item())
        gradients.append(embeddings.grad)
    return losses, gradients


def class_weights() -> Tensor:
    return torch.linspace(0.5, 2, HEAD_CLASSES, dtype=torch.float64)


def run_head(group: Any, name: str, options: dict[str, Any]) -> Any:
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    first, end = class_range(HEAD_CLASSES, group)
    head = getattr(distributed, f"Sharded{name}")(
        5,
        HEAD_CLASSES,
        **options,
        class_weight=class_weights()[first:end],
        dtype=torch.float64,
        process_group=group,
    )

    def share(x: Tensor) -> Tensor:
        shares = x.split(BATCHES[size]) if len(x) == 12 else x.chunk(size)
        return shares[rank]

    losses, gradients = train_head(head, head.weight.to_local(), share)
    buffers = {name: x.numpy() for name, x in head.named_buffers() if name != "class_weight"}
    return losses, [x.numpy() for x in gradients], head.weight.to_local().detach().numpy(), buffers


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", HEADS)
def test_heads_equal_those_of_one_process(ranks: Ranks, name: str, size: int) -> None:
    options = HEADS[name]
    whole = getattr(fusedloss.torch, name)(
        5, HEAD_CLASSES, **options, class_weight=class_weights(), dtype=torch.float64
    )
    losses, gradients = train_head(whole, whole.weight, lambda x: x)
    assert len(set(losses)) == 3
    answers = ranks.run(size, run_head, name, options)
    for made, *_, buffers in answers:
        # Buffers are of float32, and sums in other orders are rounded otherwise.
        np.testing.assert_allclose(made, losses, rtol=1e-8)
        for buffer, values in buffers.items():
            np.testing.assert_allclose(values, getattr(whole, buffer).numpy(), rtol=1e-6)
    for step, gradient in enumerate(gradients):
        made = np.concatenate([answer[1][step] for answer in answers])
        np.testing.assert_allclose(made, size * gradient.numpy(), rtol=1e-8, atol=1e-10)
    weights = np.concatenate([answer[2] for answer in answers])
    np.testing.assert_allclose(weights, whole.weight.detach().numpy(), rtol=1e-8, atol=1e-10)


def run_default_centers(group: Any) -> float:
    weight = torch.linspace(-1, 1, 12 * 5).reshape(12, 5).cos().chunk(2)[dist.get_rank(group)]
    loss = distributed.sharded_margin_loss(
        fusedloss.torch.functional.subcenter_arcface_loss,
        weight[:3],
        weight,
        torch.arange(3),
        process_group=group,
    )
    return loss.item()


def test_centers_are_counted_where_no_option_names_them(ranks: Ranks) -> None:
    """Twelve rows are four classes of three centers, which the head has by default."""
    weight = torch.linspace(-1, 1, 12 * 5).reshape(12, 5).cos()
    x, y = torch.cat([weight[:3], weight[6:9]]), torch.arange(3).repeat(2)
    expected = fusedloss.torch.functional.subcenter_arcface_loss(x, weight, y).item()
    for made in ranks.run(2, run_default_centers):
        assert made == pytest.approx(expected, rel=1e-5)  # float32


# ---- Checkpoints -------------------------------------------------------------------------------


def run_checkpoint(group: Any, folder: str, loads: bool) -> tuple[Any, Any, float]:
    """A step from a checkpoint, if it `loads` one; then save one. Weights, momentum and loss."""
    head = distributed.ShardedCurricularFaceLoss(
        5, NUM_CLASSES, dtype=torch.float64, process_group=group
    )
    steps = optimiser(head.parameters())
    if loads:
        weights, of_steps = get_state_dict(head, steps)
        state = {"head": weights, "steps": of_steps}
        dcp.load(state, checkpoint_id=folder, process_group=group)
        set_state_dict(head, steps, model_state_dict=state["head"], optim_state_dict=state["steps"])
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    x, y, _ = (part.split(BATCHES[size])[rank] for part in head_batches(0))
    loss = head(x, y % NUM_CLASSES)
    loss.backward()
    steps.step()
    weights, of_steps = get_state_dict(head, steps)
    dcp.save({"head": weights, "steps": of_steps}, checkpoint_id=folder, process_group=group)
    momentum = steps.state[head.weight]["momentum_buffer"].to_local()
    return head.weight.to_local().detach().numpy(), momentum.numpy(), loss.item()


def test_checkpoints_are_for_any_number_of_ranks(ranks: Ranks, tmp_path: Any) -> None:
    """Four ranks, then two, then one: each goes on as one process does from there."""
    before = None
    for size in (4, 2, 1):
        folder = str(tmp_path / "checkpoint")
        answers = ranks.run(size, run_checkpoint, folder, before is not None)
        weights, momentum = (np.concatenate([answer[k] for answer in answers]) for k in range(2))
        if before is not None:
            whole = fusedloss.torch.CurricularFaceLoss(5, NUM_CLASSES, dtype=torch.float64)
            with torch.no_grad():
                whole.weight.copy_(torch.from_numpy(before[0]))
                whole.t.fill_(before[2])
            steps = optimiser(whole.parameters())
            steps.state[whole.weight]["momentum_buffer"] = torch.from_numpy(before[1])
            x, y, _ = head_batches(0)
            loss = whole(x, y % NUM_CLASSES)
            loss.backward()
            steps.step()
            # Sums in another order than one process has.
            assert answers[0][2] == pytest.approx(loss.item(), rel=1e-8)
            np.testing.assert_allclose(weights, whole.weight.detach().numpy(), rtol=1e-8)
        state = {"head": {"t": torch.zeros(())}}
        dcp.load(state, checkpoint_id=folder, no_dist=True)
        before = weights, momentum, state["head"]["t"].item()


# ---- Samples of the classes --------------------------------------------------------------------


def run_sample(group: Any) -> Any:
    """Loss and gradients of a sample; the classes of this rank that are in it."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    head = distributed.ShardedArcFaceLoss(
        5, HEAD_CLASSES, sample_rate=0.5, seed=7, dtype=torch.float64, process_group=group
    )
    x, y, _ = (part.split(BATCHES[size])[rank] for part in head_batches(0))
    embeddings = x.clone().requires_grad_()
    loss = head(embeddings, y)
    loss.backward()
    gradient = head.weight.grad
    assert gradient.is_sparse
    weight = head.weight.detach().clone()
    torch.optim.SGD(head.parameters(), lr=1.0).step()
    moved = weight - head.weight.detach()
    rows = gradient.indices()[0]  # an error for what is not coalesced
    return loss.item(), embeddings.grad.numpy(), weight.numpy(), moved.numpy(), rows.numpy()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_samples(ranks: Ranks, size: int) -> None:
    """The loss of the classes that the ranks have chosen, whose weights alone have a gradient."""
    answers = ranks.run(size, run_sample)
    x, y, _ = head_batches(0)
    weight = torch.from_numpy(np.concatenate([answer[2] for answer in answers]))
    share = HEAD_CLASSES // size
    chosen = np.concatenate([rank * share + answer[4] for rank, answer in enumerate(answers)])
    assert set(y[y >= 0].tolist()) <= set(chosen.tolist())
    assert HEAD_CLASSES // 2 <= len(chosen) < HEAD_CLASSES
    if size > 1:
        assert len({tuple(answer[4]) for answer in answers}) > 1
    embeddings, rows = x.clone().requires_grad_(), weight[chosen].clone().requires_grad_()
    among = torch.tensor([-1 if c < 0 else chosen.tolist().index(c) for c in y.tolist()])
    loss = F.arcface_loss(embeddings, rows, among)
    loss.backward()
    assert answers[0][0] == pytest.approx(loss.item(), rel=1e-12)
    made = np.concatenate([answer[1] for answer in answers])
    np.testing.assert_allclose(made, size * embeddings.grad.numpy(), rtol=1e-8, atol=1e-10)
    moved = np.concatenate([answer[3] for answer in answers])
    np.testing.assert_allclose(moved[chosen], rows.grad.numpy(), rtol=1e-8, atol=1e-10)
    assert not np.delete(moved, chosen, axis=0).any()


def run_one_label(group: Any) -> tuple[float, int]:
    """Of a sample that rounds to none of a rank's classes: the loss, and how many it has."""
    head = sampled_head(group)
    x = torch.ones(3, 8, dtype=torch.float64)
    loss = head(x, torch.zeros(3, dtype=torch.int64))
    loss.backward()
    return loss.item(), len(head.weight.grad.indices()[0])


def test_every_rank_takes_part_in_a_sample(ranks: Ranks) -> None:
    """Also one that has no class of the labels."""
    (loss, rows), *others = ranks.run(4, run_one_label)
    assert loss > 0
    assert rows == 1
    assert others == [(loss, rows)] * 3


#: Optimisers that take sparse gradients, and whether dense ones give the same weights.
SPARSELY: dict[str, tuple[Any, bool]] = {
    "SGD": (lambda parameters: torch.optim.SGD(parameters, lr=0.1), True),
    "momentum": (optimiser, True),
    "SparseAdam": (lambda parameters: torch.optim.SparseAdam(parameters, lr=0.01), False),
}


def sampled_head(group: Any) -> Any:
    return distributed.ShardedArcFaceLoss(
        8, NUM_CLASSES, scale=4.0, sample_rate=0.1, seed=7, dtype=torch.float64, process_group=group
    )


def run_sampled_training(group: Any, name: str) -> Any:
    """Losses, the parameters in the end, and the classes of each step."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    model = backbone()
    parallel = DistributedDataParallel(model, process_group=group)
    head = sampled_head(group)
    first, end = class_range(NUM_CLASSES, group)
    with torch.no_grad():
        head.weight.copy_(first_weights()[first:end])
    both = optimiser(parallel.parameters()), SPARSELY[name][0](head.parameters())
    losses, chosen = [], []
    for step in range(STEPS):
        x, y = (part.split(BATCHES[size])[rank] for part in batch(step))
        for steps in both:
            steps.zero_grad()
        loss = head(parallel(x), y)
        loss.backward()
        for steps in both:
            steps.step()
        losses.append(loss.item())
        chosen.append((first + head.weight.grad.indices()[0]).numpy())
    of_model = nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    return losses, of_model, head.weight.detach().numpy(), chosen


def train_on_samples(
    name: str, chosen: list[Tensor], sparse: bool
) -> tuple[list[float], Tensor, Tensor]:
    """Train in one process on given classes; losses, and the parameters in the end."""
    model, weight = backbone(), nn.Parameter(first_weights())
    both = optimiser(model.parameters()), SPARSELY[name][0]([weight])
    losses = []
    for step, classes in enumerate(chosen):
        x, y = batch(step)
        for steps in both:
            steps.zero_grad()
        rows = T.embedding(classes, weight, sparse=sparse)
        loss = F.arcface_loss(model(x), rows, torch.searchsorted(classes, y), scale=4.0)
        loss.backward()
        for steps in both:
            steps.step()
        losses.append(loss.item())
    return losses, nn.utils.parameters_to_vector(model.parameters()), weight


@pytest.mark.parametrize("size", BATCHES)
@pytest.mark.parametrize("name", SPARSELY)
def test_training_on_samples(ranks: Ranks, name: str, size: int) -> None:
    """As one process trains on the same classes, by sparse gradients and by dense ones."""
    answers = ranks.run(size, run_sampled_training, name)
    of_ranks = zip(*(answer[3] for answer in answers), strict=True)
    chosen = [torch.from_numpy(np.concatenate(classes)) for classes in of_ranks]
    assert len({tuple(classes.tolist()) for classes in chosen}) > 1
    assert all(len(classes) < NUM_CLASSES for classes in chosen)
    made = np.concatenate([answer[2] for answer in answers])
    for sparse in {True, not SPARSELY[name][1]}:
        losses, of_model, weight = train_on_samples(name, chosen, sparse)
        # Rounding errors of float64: see above; a step of Adam divides by the gradient's size.
        np.testing.assert_allclose(made, weight.detach().numpy(), rtol=1e-8, atol=1e-10)
        for answer in answers:
            np.testing.assert_allclose(answer[0], losses, rtol=1e-10)
            np.testing.assert_allclose(answer[1], of_model.detach().numpy(), rtol=1e-8, atol=1e-10)


def run_sampled_checkpoint(group: Any, name: str, folder: str, loads: bool) -> Any:
    """Load a checkpoint, if there is one, take a step, and save: what was loaded and was saved."""
    head = sampled_head(group)
    steps = SPARSELY[name][0](head.parameters())
    distributed.shard_state_dict(steps, head)

    def kept() -> dict[str, Any]:
        state = {"weight": head.weight, **steps.state[head.weight]}
        count = state.pop("step", None)  # of the steps that SparseAdam has taken
        arrays = {name: x.detach().to_dense().numpy().copy() for name, x in state.items()}
        return {"arrays": arrays, "count": count}

    if loads:
        weights, of_steps = get_state_dict(head, steps)
        state = {"head": weights, "steps": of_steps}
        dcp.load(state, checkpoint_id=folder, process_group=group)
        set_state_dict(head, steps, model_state_dict=state["head"], optim_state_dict=state["steps"])
    loaded = kept()
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    x, y = (part.split(BATCHES[size])[rank] for part in batch(size))
    head(T.pad(x, (1, 1)), y).backward()
    steps.step()
    weights, of_steps = get_state_dict(head, steps)
    dcp.save({"head": weights, "steps": of_steps}, checkpoint_id=folder, process_group=group)
    return loaded, kept()


@pytest.mark.parametrize("name", ["momentum", "SparseAdam"])
def test_checkpoints_of_sampled_heads(ranks: Ranks, name: str, tmp_path: Any) -> None:
    """What four ranks save two load, and what these save one, and a head without ranks."""
    folder, before = str(tmp_path / "checkpoint"), None
    for taken, size in enumerate((4, 2, 1)):
        answers = ranks.run(size, run_sampled_checkpoint, name, folder, before is not None)
        loaded, saved = (
            {
                key: np.concatenate([answer[k]["arrays"][key] for answer in answers])
                for key in answers[0][k]["arrays"]
            }
            for k in range(2)
        )
        assert len(saved) == {"momentum": 2, "SparseAdam": 3}[name]
        if name == "SparseAdam":
            counts = {(was["count"], now["count"]) for was, now in answers}
            assert counts == {(taken, taken + 1)}
        if before is not None:
            assert loaded.keys() == before.keys()
            for key, values in before.items():
                np.testing.assert_array_equal(loaded[key], values)
                assert (saved[key] != values).any()
        before = saved
    whole = {"head": {"weight": torch.zeros(NUM_CLASSES, 8, dtype=torch.float64)}}
    dcp.load(whole, checkpoint_id=folder, no_dist=True)
    np.testing.assert_array_equal(whole["head"]["weight"], saved["weight"])


# ---- Two towers --------------------------------------------------------------------------------

TOWERS = {"clip_loss": {"logit_scale": 3.0}, "siglip_loss": {"logit_scale": 2.0, "logit_bias": -1}}


def tower_rows(dtype: Any) -> tuple[Tensor, Tensor]:
    numbers = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return numbers[0].to(dtype), numbers[1].to(dtype)


def run_towers(group: Any, name: str, dtype: Any, learnt: bool) -> Any:
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    own = [x.split(BATCHES[size])[rank].clone().requires_grad_() for x in tower_rows(dtype)]
    numbers = TOWERS[name].items()
    scalars: dict[str, Any] = {
        k: torch.tensor(float(x), requires_grad=True) if learnt else x for k, x in numbers
    }
    loss = getattr(distributed, f"sharded_{name}")(*own, **scalars, process_group=group)
    (2 * loss).backward()
    of_scalars = {k: x.grad.item() for k, x in scalars.items() if learnt}
    return loss.item(), [x.grad.double().numpy() for x in own], of_scalars


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", TOWERS)
def test_towers(ranks: Ranks, name: str, size: int, dtype: Any) -> None:
    learnt = dtype is torch.float64
    answers = ranks.run(size, run_towers, name, dtype, learnt)
    options = TOWERS[name]
    wanted = (0, 1, *range(2, 2 + len(options)))
    rows = [x.double().numpy() for x in tower_rows(dtype)]
    value, gradients = fl.value_and_grad(getattr(fl, name), wanted)(*rows, *options.values())
    # Sums in another order; in 16 bits the loss and each rank's part of a gradient are rounded.
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.02}[dtype]
    for loss, _, of_scalars in answers:
        assert loss == pytest.approx(value, rel=tolerance)
        for made, expected in zip(of_scalars.values(), gradients[2:], strict=learnt):
            assert made == pytest.approx(2 * expected, rel=1e-6)  # of float32
    for k in range(2):
        made = np.concatenate([answer[1][k] for answer in answers])
        expected = 2 * size * gradients[k]
        bound = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(made, expected, rtol=tolerance, atol=bound)


def run_tower_disagreement(group: Any) -> str:
    features = torch.ones(2, 3 + dist.get_rank(group))
    with pytest.raises(ValueError, match="ranks disagree on the number of features") as raised:
        distributed.sharded_clip_loss(features, features, process_group=group)
    return str(raised.value)


def test_towers_that_do_not_fit_together(ranks: Ranks) -> None:
    assert len(set(ranks.run(2, run_tower_disagreement))) == 1


# ---- Losses of pairs ---------------------------------------------------------------------------


def learnt_ntxent() -> nn.Module:
    return fusedloss.torch.NTXentLoss(nn.Parameter(torch.tensor(0.3, dtype=torch.float64)))


def remembering() -> nn.Module:
    pml = pytest.importorskip("pytorch_metric_learning.losses")
    memory: nn.Module = pml.CrossBatchMemory(fusedloss.torch.SupConLoss(), PAIR_FEATURES, 30)
    return memory


def of_pytorch_metric_learning() -> nn.Module:
    loss: nn.Module = pytest.importorskip("pytorch_metric_learning.losses").NTXentLoss()
    return loss


def triplet_miner() -> nn.Module:
    return fusedloss.torch.TripletMarginMiner(margin=0.5)


def drawing_miner() -> nn.Module:
    """Another draw on each rank, and in one process that of the first one."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    return fusedloss.torch.DistanceWeightedMiner(seed=rank)


@dataclass(frozen=True)
class Gathered:
    """A loss of pairs, and which arguments it is given; the same numbers in every process."""

    loss: Any
    given: tuple[str, ...] = ("labels",)
    miner: Any = None
    dtype: Any = torch.float64

    def rows(self) -> dict[str, Tensor]:
        """The arguments of all ranks together."""
        generator = torch.Generator().manual_seed(4)
        e, ref = torch.randn(2, 12, PAIR_FEATURES, generator=generator, dtype=torch.float64)
        rows = {
            "labels": torch.arange(12, dtype=torch.int32) % 4,
            "ref_emb": ref.to(self.dtype),
            "ref_labels": torch.arange(12) // 3,
            "sample_weight": torch.rand(12, generator=generator),
        }
        return {"embeddings": e.to(self.dtype)} | {k: rows[k] for k in self.given if k in rows}

    def indices(self, first: int, count: int) -> tuple[Tensor, ...]:
        """Triplets or pairs of `count` rows from `first`, as indices of all ranks' rows."""
        i = torch.arange(first, first + count)
        a, p, n = i[: max(count - 2, 0)], i[1:-1], i[2:]
        return (a, p, n) if "triplets" in self.given else (a, p, a[:1], n[:1])


PAIR_FEATURES = 5

GATHERED = {
    "supcon": Gathered(fusedloss.torch.SupConLoss),
    "supcon, float32": Gathered(fusedloss.torch.SupConLoss, dtype=torch.float32),
    "supcon, bfloat16": Gathered(fusedloss.torch.SupConLoss, dtype=torch.bfloat16),
    "ntxent": Gathered(learnt_ntxent),
    "triplet": Gathered(fusedloss.torch.TripletLoss),
    "contrastive": Gathered(fusedloss.torch.ContrastiveLoss, ("labels", "sample_weight")),
    "multi-similarity": Gathered(
        fusedloss.torch.MultiSimilarityLoss, ("labels", "ref_emb", "ref_labels", "sample_weight")
    ),
    "margin of triplets": Gathered(fusedloss.torch.MarginLoss, ("triplets",)),
    "contrastive of pairs": Gathered(fusedloss.torch.ContrastiveLoss, ("labels", "pairs")),
    "pairs with references": Gathered(fusedloss.torch.NTXentLoss, ("pairs", "ref_emb")),
    "mined": Gathered(fusedloss.torch.TripletLoss, miner=triplet_miner),
    "mined with references": Gathered(
        fusedloss.torch.TripletLoss, ("labels", "ref_emb", "ref_labels"), triplet_miner
    ),
    "drawn": Gathered(fusedloss.torch.MarginLoss, miner=drawing_miner),
    "memory": Gathered(remembering),
    "another package's": Gathered(of_pytorch_metric_learning),
    "views": Gathered(fusedloss.torch.VICRegLoss, ("ref_emb",)),
}


def gathered_gradients(loss: nn.Module, rows: dict[str, Tensor], indices: Any) -> dict[str, Any]:
    """A loss, and three times its gradients by what has floats."""
    for name in rows.keys() & {"embeddings", "ref_emb"}:
        rows[name] = rows[name].clone().requires_grad_()
    given = rows if indices is None else {**rows, "indices_tuple": indices}
    value = loss(**given)
    (3 * value).backward()
    tensors = {k: x for k, x in rows.items() if x.requires_grad} | dict(loss.named_parameters())
    made = {name: x.grad.double().numpy() for name, x in tensors.items()}
    return {"value": value.item(), **{name.removeprefix("loss."): x for name, x in made.items()}}


def run_gathered(group: Any, case: Gathered) -> dict[str, Any]:
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    own = {name: x.split(BATCHES[size])[rank] for name, x in case.rows().items()}
    miner = None if case.miner is None else case.miner()
    loss = distributed.GatheredLoss(case.loss(), miner, group)
    indices = None
    if {"triplets", "pairs"} & set(case.given):
        indices = case.indices(0, BATCHES[size][rank])
    return gathered_gradients(loss, own, indices)


@pytest.mark.parametrize("size", BATCHES)
@pytest.mark.parametrize("name", GATHERED)
def test_gathered_losses_equal_those_of_one_process(ranks: Ranks, name: str, size: int) -> None:
    case = GATHERED[name]
    loss, rows = case.loss(), case.rows()
    indices = None
    if {"triplets", "pairs"} & set(case.given):
        firsts = np.cumsum((0, *BATCHES[size]))[:-1]
        parts = [case.indices(*part) for part in zip(firsts, BATCHES[size], strict=True)]
        indices = tuple(torch.cat(members) for members in zip(*parts, strict=True))
    elif case.miner is not None:
        others = {k: x for k, x in rows.items() if k.startswith("ref")}
        indices = case.miner()(rows["embeddings"], rows["labels"], **others)
        assert len(indices[0])
    expected = gathered_gradients(loss, rows, indices)
    assert expected["value"] > 0
    answers = ranks.run(size, run_gathered, case)
    for answer in answers:
        assert answer["value"] == expected["value"]
    # The same kernels on the same rows; only the factor of the gradients is taken elsewhere.
    tolerance = 4 * torch.finfo(case.dtype).eps
    for key in expected.keys() - {"value"}:
        parts = [answer[key] for answer in answers]
        if key in rows:
            made = np.concatenate(parts)
            np.testing.assert_allclose(made, size * expected[key], rtol=tolerance)
        else:
            for part in parts:
                np.testing.assert_allclose(part, expected[key], rtol=tolerance)


def run_gathered_training(group: Any) -> Any:
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    model = backbone()
    parallel = DistributedDataParallel(model, process_group=group)
    head = DistributedDataParallel(
        distributed.GatheredLoss(learnt_ntxent(), process_group=group), process_group=group
    )
    steps = optimiser([*parallel.parameters(), *head.parameters()])
    for step in range(STEPS):
        x, y = (part.split(BATCHES[size])[rank] for part in batch(step))
        steps.zero_grad()
        head(parallel(x), y).backward()
        steps.step()
    parameters = [*model.parameters(), *head.parameters()]
    return nn.utils.parameters_to_vector(parameters).detach().numpy()


@pytest.mark.parametrize("size", BATCHES)
def test_training_with_gathered_rows_equals_that_of_one_process(ranks: Ranks, size: int) -> None:
    model, loss = backbone(), learnt_ntxent()
    steps = optimiser([*model.parameters(), *loss.parameters()])
    for step in range(STEPS):
        x, y = batch(step)
        steps.zero_grad()
        loss(model(x), y).backward()
        steps.step()
    expected = nn.utils.parameters_to_vector([*model.parameters(), *loss.parameters()])
    # Sums over ranks are rounded, and the steps of a descent amplify it.
    for made in ranks.run(size, run_gathered_training):
        np.testing.assert_allclose(made, expected.detach().numpy(), rtol=1e-8, atol=1e-10)


def run_gathered_disagreement(group: Any, changes: dict[int, dict[str, Any]]) -> Any:
    """A call with what `changes` says for this rank; then one that all agree on."""
    changed = changes.get(dist.get_rank(group), {})
    rows: dict[str, Any] = {"embeddings": torch.eye(3), "labels": torch.tensor([0, 0, 1])}
    loss = changed.get("loss", fusedloss.torch.SupConLoss())
    try:
        arguments = {k: x for k, x in changed.items() if k not in ("loss", "miner")}
        gathered = distributed.GatheredLoss(loss, changed.get("miner"), group)
        gathered(**(rows | arguments))
        problem = None
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    agreed = distributed.GatheredLoss(fusedloss.torch.SupConLoss(), process_group=group)
    return problem, agreed(**rows).item()


WRONG_PAIRS: dict[str, tuple[dict[int, dict[str, Any]], tuple[str, str]]] = {
    "features": (
        {1: {"embeddings": torch.ones(3, 4)}},
        ("ValueError: ranks disagree on the number of features: 3 on rank 0, 4 on rank 1",) * 2,
    ),
    "dtype": (
        {1: {"embeddings": torch.ones(3, 3, dtype=torch.float64)}},
        ("ValueError: ranks disagree on the dtype: torch.float32 on rank 0, ",) * 2,
    ),
    "options": (
        {1: {"loss": fusedloss.torch.SupConLoss(temperature=0.2)}},
        ("ValueError: ranks disagree on the loss, its options, or which arguments",) * 2,
    ),
    "miners": (
        {0: {"miner": triplet_miner()}},
        ("ValueError: ranks disagree on the loss, its options, or which arguments",) * 2,
    ),
    "arguments": (
        {1: {"sample_weight": torch.ones(3)}},
        ("ValueError: ranks disagree on the loss, its options, or which arguments",) * 2,
    ),
    "embeddings of one rank": (
        {1: {"embeddings": torch.ones(3)}},
        ("ValueError: rank 1 raised an error", "ValueError: embeddings has shape (3,)"),
    ),
    "embeddings of integers": (
        {0: {"embeddings": torch.ones(3, 3, dtype=torch.int64)}},
        ("TypeError: embeddings has dtype torch.int64", "ValueError: rank 0 raised an error"),
    ),
    "embeddings that are no tensor": (
        {0: {"embeddings": [[1.0]]}},
        ("TypeError: embeddings is of type list", "ValueError: rank 0 raised an error"),
    ),
    "labels that are as many on all ranks together": (
        {0: {"labels": torch.arange(2)}, 1: {"labels": torch.arange(4)}},
        (
            "ValueError: labels has shape (2,): expected (3,)",
            "ValueError: labels has shape (4,): expected (3,)",
        ),
    ),
    "references": (
        {rank: {"ref_emb": torch.ones(2, 4), "ref_labels": torch.arange(2)} for rank in (0, 1)},
        ("ValueError: ref_emb has shape (2, 4): expected (N, 3)",) * 2,
    ),
    "dtype of references": (
        {rank: {"ref_emb": torch.ones(2, 3).double()} for rank in (0, 1)},
        ("TypeError: ref_emb has dtype torch.float64: expected torch.float32",) * 2,
    ),
    "labels of no references": (
        {rank: {"ref_labels": torch.arange(2)} for rank in (0, 1)},
        ("ValueError: ref_labels is given without ref_emb",) * 2,
    ),
    "an index of another rank": (
        {0: {"indices_tuple": (torch.tensor([0]), torch.tensor([1]), torch.tensor([3]))}},
        (
            "IndexError: indices_tuple[2] holds 3: out of range for 3 rows of this rank",
            "ValueError: rank 0 raised an error",
        ),
    ),
    "two members": (
        {0: {"indices_tuple": (torch.tensor([0]), torch.tensor([1]))}},
        (
            "ValueError: indices_tuple has 2 members: expected 3 or 4",
            "ValueError: rank 0 raised an error",
        ),
    ),
    "indices of floats": (
        {0: {"indices_tuple": (torch.ones(1),) * 3}},
        ("TypeError: indices_tuple[0] is no tensor of", "ValueError: rank 0 raised an error"),
    ),
    "indices and a miner": (
        {
            rank: {"indices_tuple": (torch.tensor([0]),) * 3, "miner": triplet_miner()}
            for rank in (0, 1)
        },
        ("ValueError: indices_tuple is given with a miner",) * 2,
    ),
}


@pytest.mark.parametrize("name", WRONG_PAIRS)
def test_errors_of_gathered_losses_are_raised_on_every_rank(ranks: Ranks, name: str) -> None:
    changes, expected = WRONG_PAIRS[name]
    answers = ranks.run(2, run_gathered_disagreement, changes)
    assert len({loss for _, loss in answers}) == 1
    for (problem, _), text in zip(answers, expected, strict=True):
        assert problem.startswith(text)


def test_what_is_no_module_is_not_gathered() -> None:
    with pytest.raises(TypeError, match="loss is of type function: expected a module"):
        distributed.GatheredLoss(F.supcon_loss)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="miner is of type function: expected a module"):
        distributed.GatheredLoss(fusedloss.torch.SupConLoss(), fl.mine_triplets)  # type: ignore[arg-type]


# ---- Shares and traffic ------------------------------------------------------------------------


def run_class_ranges(group: Any, numbers: tuple[int, ...]) -> list[Any]:
    made: list[Any] = []
    for number in numbers:
        try:
            made.append(class_range(number, group))
        except ValueError as error:
            made.append(str(error))
    return made


def test_class_ranges(ranks: Ranks) -> None:
    """Those of torch.distributed.tensor.Shard, none of them empty."""
    numbers = (4, 7, 10, 11)
    for rank, answer in enumerate(ranks.run(4, run_class_ranges, (*numbers, 5))):
        parts = [torch.arange(n).chunk(4)[rank] for n in numbers]
        assert answer[:-1] == [(int(part[0]), int(part[-1]) + 1) for part in parts]
        assert answer[-1].startswith("num_classes is 5: in shards of 2 not every one of 4 ranks")


def run_split_centers(group: Any) -> str:
    with pytest.raises(ValueError, match="multiple of the number of ranks") as raised:
        distributed.ShardedSubcenterArcFaceLoss(5, 5, process_group=group)
    return str(raised.value)


def test_centers_of_a_class_stay_together(ranks: Ranks) -> None:
    ranks.run(2, run_split_centers)


def run_counted(group: Any, case: Linear) -> dict[str, int]:
    """The bytes that a rank hands to each collective."""
    own = {"all_gather": 1, "all_reduce": 0, "reduce_scatter": 1}  # the argument that is sent
    sent = dict.fromkeys(own, 0)

    def counting(name: str, collective: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> None:
            given = arguments[own[name]]
            sent[name] += sum(x.nbytes for x in (given if isinstance(given, list) else [given]))
            collective(*arguments, **options)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name in own:
            patch.setattr(dist, name, counting(name, getattr(dist, name)))
        run_linear(group, case)
    return sent


def test_traffic_is_what_the_page_says(ranks: Ranks) -> None:
    """Of n rows on each of P ranks: docs/distributed.md."""
    n, size = 40, 4
    case = Linear((n,) * size, (3,) * size, torch.float32)
    for sent in ranks.run(size, run_counted, case):
        assert sent["all_gather"] == n * (4 * FEATURES + 8) + 80  # rows, targets, facts
        assert sent["all_reduce"] == size * n * (1 + 3) * 8  # the maximum, and three sums
        assert sent["reduce_scatter"] == size * n * 4 * FEATURES


PAGE = REPOSITORY / "docs" / "distributed.md"

#: What the page's code finds there: a network and a batch.
FOUND = """
import torch
network, images = torch.nn.Linear(8, 512), torch.randn(4, 8)
labels = torch.randint(9_000, (4,))
"""


@pytest.mark.skipif(not PAGE.exists(), reason="this copy has no documentation")
def test_code_of_the_page_runs(tmp_path: Path) -> None:
    """In a group of one process, as torchrun would start it, with fewer classes."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    program = tmp_path / "page.py"
    program.write_text(FOUND + "\n".join(blocks).replace("10_000_000", "9_000"))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# ---- What goes wrong ---------------------------------------------------------------------------


def run_disagreement(group: Any, changes: dict[int, dict[str, Any]]) -> Any:
    """A call with what `changes` says for this rank; then one that all agree on."""
    arguments: dict[str, Any] = {
        "input": torch.ones(3, 4, requires_grad=True),
        "linear_weight": torch.ones(2, 4, requires_grad=True),
        "target": torch.tensor([0, 1, 0]),
    }
    changed = arguments | changes.get(dist.get_rank(group), {})
    try:
        sharded_linear_cross_entropy(**changed, process_group=group)
        problem = None
    except Exception as error:
        problem = (type(error).__name__, str(error))
    return problem, sharded_linear_cross_entropy(**arguments, process_group=group).item()


def run_bad_options(group: Any) -> list[str]:
    """What the constructor of a head and the function say of bad options; nothing is sent."""
    made = []
    bad: list[dict[str, Any]] = [{"margin": -9.0}, {"scale": 0.0}, {"sample_rate": 1.5}]
    for options in bad:
        with pytest.raises(ValueError, match="expected") as raised:
            distributed.ShardedArcFaceLoss(5, 4, process_group=group, **options)
        made.append(str(raised.value))
    x, target = torch.ones(1, 5), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="expected") as raised:
        distributed.sharded_margin_loss(
            F.cosface_loss, x, torch.ones(2, 5), target, margin=35.0, process_group=group
        )
    return [*made, str(raised.value)]


def test_bad_options_of_heads(ranks: Ranks) -> None:
    expected = ("margin is -9.0", "scale is 0.0", "sample_rate is 1.5", "margin is 35.0")
    for answer in ranks.run(2, run_bad_options):
        for message, start in zip(answer, expected, strict=True):
            assert message.startswith(start)


#: What is different on which rank, and what each rank of two says.
DISAGREEMENTS: dict[str, tuple[dict[int, dict[str, Any]], tuple[str, str]]] = {
    "features": (
        {1: {"input": torch.ones(3, 5), "linear_weight": torch.ones(2, 5, requires_grad=True)}},
        ("ValueError: ranks disagree on the number of features: 4 on rank 0, 5 on rank 1",) * 2,
    ),
    "dtype": (
        {
            0: {
                "input": torch.ones(3, 4, dtype=torch.float64),
                "linear_weight": torch.ones(2, 4, dtype=torch.float64, requires_grad=True),
            }
        },
        ("ValueError: ranks disagree on the dtype: torch.float64 on rank 0, ",) * 2,
    ),
    "options": (
        {1: {"label_smoothing": 0.5}},
        ("ValueError: ranks disagree on the loss, its options, or which arguments ",) * 2,
    ),
    "sample weights": (
        {1: {"sample_weight": torch.ones(3)}},
        ("ValueError: ranks disagree on the loss, its options, or which arguments ",) * 2,
    ),
    "gradients": (
        {1: {"input": torch.ones(3, 4), "linear_weight": torch.ones(2, 4)}},
        ("ValueError: ranks disagree on whether gradients are wanted: 1 on rank 0, ",) * 2,
    ),
    "shapes of one rank": (
        {0: {"input": torch.ones(3, 5)}},
        ("ValueError: input has shape", "ValueError: rank 0 raised an error"),
    ),
    "an option of one rank": (
        {1: {"reduction": "median"}},
        ("ValueError: rank 1 raised an error", "ValueError: reduction is 'median'"),
    ),
    "a target that is not of integers": (
        {1: {"target": torch.ones(3)}},
        ("ValueError: rank 1 raised an error", "TypeError: target has dtype torch.float32"),
    ),
    "no classes": (
        {1: {"linear_weight": torch.ones(0, 4)}},
        ("ValueError: rank 1 raised an error", "ValueError: weight has shape (0, 4)"),
    ),
    "a target out of range": (
        {1: {"target": torch.tensor([0, 4, 0])}},
        ("IndexError: target of rank 1 holds 4: out of range for 4 classes",) * 2,
    ),
    "a negative target": (
        {0: {"target": torch.tensor([0, -1, 0])}},
        ("IndexError: target of rank 0 holds -1: out of range for 4 classes",) * 2,
    ),
}


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_errors_are_raised_on_every_rank(ranks: Ranks, name: str) -> None:
    changes, expected = DISAGREEMENTS[name]
    for (problem, loss), text in zip(
        ranks.run(2, run_disagreement, changes), expected, strict=True
    ):
        assert problem is not None
        assert ": ".join(problem).startswith(text)
        assert loss == pytest.approx(np.log(4), rel=1e-6)


def run_until_gone(group: Any, gone: int, dies: bool) -> None:
    """A call that one rank does not take part in."""
    dist.barrier()  # with the patience that starting takes
    if dist.get_rank(group) == gone:
        if dies:
            os._exit(1)
        time.sleep(TIMEOUT)
        return
    weight, target = torch.ones(2, 4, requires_grad=True), torch.tensor([0, 1, 0])
    sharded_linear_cross_entropy(torch.ones(3, 4), weight, target, process_group=group)


@pytest.mark.parametrize("dies", [True, False], ids=["dead", "silent"])
def test_a_rank_that_is_gone_is_no_hang(tmp_path: Any, dies: bool) -> None:
    """Others raise an error within the group's timeout; seconds more are the machine's."""
    two = Ranks(tmp_path, 2, timeout=2.0)
    try:
        two.run(2, run_class_ranges, (2,))  # everything is imported
        two.send(2, run_until_gone, 1, dies)
        assert two.pipes[0].poll(TIMEOUT / 2)
        is_good, (name, _) = two.pipes[0].recv()
        assert not is_good
        assert name in ("RuntimeError", "DistBackendError")
    finally:
        two.stop()
