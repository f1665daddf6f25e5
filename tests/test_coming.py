"""The pages for those who come from other packages: each row of their tables is evaluated."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, reducers
from sklearn._loss import loss as scikit_losses

import fusedloss as fl
import fusedloss.torch as front
import peer_losses
from fusedloss.sklearn import Loss
from fusedloss.torch import functional as F

DOCS = Path(__file__).parents[1] / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="this copy has no documentation")


def table(page: str, after: str = "") -> list[list[str]]:
    """The rows of a page, or of its part after a heading, whose first two cells are code."""
    text = (DOCS / page).read_text() if DOCS.exists() else ""
    text = text.partition(f"## {after}\n")[2].partition("\n## ")[0] if after else text
    rows = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip("` |") for cell in row[:2]] for row in rows]


COMPOSED = table("coming_from_torch.md", "What torch composes")
LOSSES = table("coming_from_pytorch_metric_learning.md", "Losses")
REDUCERS = table("coming_from_pytorch_metric_learning.md", "Reducers")


def normal(*shape: int, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def assert_same(theirs: Any, ours: Any, leaves: list[Any], rtol: float) -> None:
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=rtol, atol=0)
    if not leaves:
        return
    gradients = [torch.autograd.grad(x, leaves, allow_unused=True) for x in (theirs, ours)]
    for x, y in zip(*gradients, strict=True):
        if x is not None:
            torch.testing.assert_close(y, x, rtol=0, atol=rtol * float(x.abs().max()))


@pytest.mark.parametrize(("theirs", "ours"), COMPOSED, ids=[row[1] for row in COMPOSED])
def test_what_torch_composes(theirs: str, ours: str) -> None:
    """Value and gradients, in float64."""
    names: dict[str, Any] = {"torch": torch, "T": torch.nn.functional, "F": F}
    leaves = {
        "z": normal(4, 5, seed=0),
        "t": normal(4, 5, seed=1),
        "h": normal(4, 3, seed=2),
        "w": normal(5, 3, seed=3),
    }
    names |= {"y": torch.tensor([0, 4, 2, 2]), "s": normal(4, seed=4).exp()}
    for name, leaf in leaves.items():
        # the losses here have no gradient in a teacher
        names[name] = leaf.requires_grad_(name != "t")
    of = [names[name] for name in leaves if name != "t" and re.search(rf"\b{name}\b", ours)]
    assert_same(eval(theirs, names), eval(ours, names), of, rtol=1e-12)


@pytest.mark.parametrize("module", peer_losses.MODULES)
def test_every_loss_of_a_peer_has_a_row(module: str) -> None:
    listed = peer_losses.names(module)
    assert len(listed) > 10
    assert [name for name in listed if peer_losses.here(module, name) is None] == []
    known = {*peer_losses.OTHERWISE, *peer_losses.ABSENT}
    said = {name.rpartition(".")[2] for name in known if name.startswith(f"{module}.")}
    assert said <= set(listed)


def test_the_table_of_peers_is_this_one() -> None:
    page = DOCS / "guides" / "peers_table.inc"
    assert page.read_text() == "\n".join(peer_losses.table())


#: What scikit-learn's losses are made with, in the letters of the table.
LETTERS = {"p": 1.5, "q": 0.3, "d": 0.7, "n": 3}


@pytest.mark.parametrize("name", peer_losses.names("sklearn._loss.loss"))
def test_losses_of_scikit_learn(name: str) -> None:
    """Gradients by the raw prediction; constants of the values differ."""
    if name.endswith("ArrayAPI") or f"sklearn._loss.loss.{name}" in peer_losses.ABSENT:
        return
    ours = str(peer_losses.here("sklearn._loss.loss", name)).strip("`")
    inside, _, option = ours.removesuffix(")").partition("(")[2].partition(", ")
    options: dict[str, Any] = eval(f"dict({option})", LETTERS)
    theirs = getattr(scikit_losses, name)(**options)
    rng = np.random.default_rng(0)
    raw, target = rng.standard_normal(50), rng.uniform(0.5, 3, 50)
    if name in ("HalfBinomialLoss", "ExponentialLoss"):
        target = np.floor(target) % 2
    if name == "HalfMultinomialLoss":
        raw, target = rng.standard_normal((50, 3)), np.floor(target)
    made = Loss(getattr(fl, inside), **options).gradient(target, raw)
    np.testing.assert_allclose(made, theirs.gradient(target, raw), rtol=1e-12, atol=1e-14)


def test_tables_are_read() -> None:
    assert len(COMPOSED) > 10
    assert len(REDUCERS) == 6


def test_every_loss_there_is_named() -> None:
    """In the table, or among those that are not here."""
    page = (DOCS / "coming_from_pytorch_metric_learning.md").read_text()
    absent, wrappers = (
        re.findall(r"`(\w+)`", page.partition(start)[2].partition("\n\n")[0])
        for start in ("Not here:", "Its wrappers")
    )
    present = {re.match(r"there\.(\w+)", row[0])[1] for row in LOSSES}  # type: ignore[index]
    of_theirs = {
        name
        for name, x in vars(losses).items()
        if isinstance(x, type) and issubclass(x, torch.nn.Module) and not name.startswith("Base")
    }
    mixins = {"WeightRegularizerMixin", "WeightMixin"}
    assert sorted([*present, *absent, *wrappers]) == sorted(of_theirs - mixins)


@pytest.mark.parametrize(("theirs", "ours"), LOSSES, ids=[row[0] for row in LOSSES])
def test_losses_there(theirs: str, ours: str) -> None:
    """Value and gradient of one batch; their cosines are clamped 1e-7 short of 1."""
    loss = eval(theirs, {"there": losses}).double()
    module = eval(ours, {**vars(front), "math": math}).double()
    embeddings = normal(36, 12, seed=0).requires_grad_()
    # as the average precision there wants them
    given: tuple[Any, ...] = (torch.arange(36) // 6,)
    if "VICReg" in ours:
        given = (None, None, normal(36, 12, seed=1))
    of_theirs, rtol = given, 1e-6
    if "Manifold" in ours:  # whose inverse there is of float32
        of_theirs, rtol = (None, *given), 1e-5
    for weight in loss.parameters():
        proxies = weight.data if weight.shape == module.weight.shape else weight.data.T
        module.weight.data.copy_(proxies)
    # its gradient there goes through the histogram, too: docs/metric_learning.md
    leaves = [] if "DynamicSoftMargin" in ours else [embeddings]
    # there a margin of 28.6 degrees is rounded when it is turned into radians
    value = loss(embeddings, *of_theirs).squeeze()
    assert_same(value, module(embeddings, *given), leaves, rtol=rtol)


WRAPPERS: dict[str, Any] = {
    "CrossBatchMemory": lambda loss: losses.CrossBatchMemory(loss, 12, memory_size=60),
    "MultipleLosses": lambda loss: losses.MultipleLosses([loss, loss], weights=[0.5, 2.0]),
    "SelfSupervisedLoss": losses.SelfSupervisedLoss,
}


def supports(wrapper: str, loss: str) -> bool:
    """Whether a wrapper takes a loss of that name; this package's has the same name then."""
    name = loss.removeprefix("there.").partition("(")[0]
    listed = getattr(getattr(losses, wrapper), "supported_losses", lambda: [name])()
    others = ("TripletMarginLoss", "VICRegLoss", "ManifoldLoss")  # torch's here; take no labels
    return name in listed and hasattr(front, name) and name not in others


#: Losses that own weights, and the one whose gradient is another one there.
NOT_WRAPPED = "23, 12|12, 23|num_classes|DynamicSoftMargin"

WRAPPED = [
    (wrapper, *row)
    for wrapper in WRAPPERS
    for row in LOSSES
    if not re.search(NOT_WRAPPED, row[0]) and supports(wrapper, row[0])
]


@pytest.mark.parametrize(("wrapper", "theirs", "ours"), WRAPPED)
def test_wrappers_there(wrapper: str, theirs: str, ours: str) -> None:
    """Values and gradients of three batches, of which a memory keeps some."""
    there = WRAPPERS[wrapper](eval(theirs, {"there": losses}))
    here = WRAPPERS[wrapper](eval(ours, vars(front)))
    for seed in range(3):
        embeddings = normal(25, 12, seed=seed).float().requires_grad_()
        second = torch.arange(25) // 5
        if wrapper == "SelfSupervisedLoss":
            second = normal(25, 12, seed=seed + 10).float()
        # float32, and cosines that are clamped 1e-7 short of 1
        assert_same(there(embeddings, second), here(embeddings, second), [embeddings], rtol=1e-4)


@pytest.mark.parametrize(("theirs", "ours"), REDUCERS, ids=[row[0] for row in REDUCERS])
def test_reducers_there(theirs: str, ours: str) -> None:
    name, reduction = theirs.partition("()")[0], ours.partition("`")[0]
    embeddings, labels = normal(12, 4, seed=0), torch.arange(12) % 3
    kind = "MarginLoss" if "margin loss" in theirs else "NTXentLoss"
    there = getattr(losses, kind)(reducer=getattr(reducers, name)())(embeddings, labels)
    here = eval(f"{kind}({reduction})", vars(front))(embeddings, labels)
    if name == "DoNothingReducer":
        there = there["loss"]["losses"].sum()
        here = here.sum()
    if name == "PerAnchorReducer":
        here = (here / 3).mean()  # of four embeddings of each label
    torch.testing.assert_close(here, there, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["ArcFaceLoss", "CosFaceLoss", "ProxyAnchorLoss", "ProxyNCALoss"])
def test_sizes_in_the_other_order(name: str) -> None:
    module = getattr(front, name)
    with pytest.raises(TypeError, match=r"no option embedding_size: expected embedding_dim; its"):
        module(num_classes=10, embedding_size=4)
    swapped = module(10, 4)
    with pytest.raises(ValueError, match=r"\(embedding_dim, num_classes\), here \(10, 4\)$"):
        swapped(torch.ones(2, 4), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 10\), the embedding_dim of \w+$"):
        swapped(torch.ones(2, 3), torch.tensor([0, 1]))


def test_margins_in_degrees() -> None:
    with pytest.raises(ValueError, match=r"from -pi to pi; 28.6 degrees are 0.4992$"):
        front.ArcFaceLoss(4, 10, margin=28.6)
    with pytest.raises(ValueError, match=r"from -pi to pi$"):
        front.ArcFaceLoss(4, 10, margin=-4.0)
