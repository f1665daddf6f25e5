"""Whole steps of training: a network, its loss, the way back and the optimiser's step.

The yardstick is the same step with torch's losses, or those of pytorch-metric-learning.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn

import fusedloss.torch as front
from comparisons import Comparison, Contenders
from fusedloss.torch import functional
from targets import Target

#: The step of torch's losses, and with them replaced.
TORCH, ENABLED = "torch", "enabled"
#: The step with this package's own functions, or with those of others.
FUSEDLOSS, PEER = "fusedloss.torch", "pytorch-metric-learning"


def compiled(name: str) -> str:
    """Name the same step compiled."""
    return f"{name}, compiled"


T = nn.functional

Loss = Callable[..., Tensor]
#: A network, the batch that it is trained on, and the losses of its output, by contender.
Made = tuple[nn.Module, tuple[Tensor, Tensor], Mapping[str, Loss]]


class Training(nn.Module):
    """A network and a loss of its output, which are trained together."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the loss of a batch."""
        return self.loss(self.network(x), y)


class Decoder(nn.Module):
    """A small GPT up to its head, whose weight is the embedding's."""

    def __init__(self, words: int, width: int, length: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden states, and the head's weight."""
        hidden = self.layers(self.words(tokens), mask=self.mask, is_causal=True)
        return hidden, self.words.weight


def classifier(images: int, classes: int) -> Callable[[bool], Made]:
    """Images of 32 x 32, two convolutions and a linear layer."""

    def make(small: bool) -> Made:
        network = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(256, classes),
        )
        size = 2 if small else images
        batch = torch.randn(size, 3, 32, 32), torch.randint(classes, (size,))
        return network, batch, {name: nn.CrossEntropyLoss() for name in (ENABLED, TORCH)}

    return make


def gpt(small: bool) -> Made:
    """Next words of 4 x 128 tokens, a vocabulary of 32,000."""
    length = 8 if small else 128
    tokens = torch.randint(32_000, (1 if small else 4, length))

    def of_logits(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        hidden, weight = output
        logits = T.linear(hidden[:, :-1], weight)
        return T.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())

    def without_logits(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return functional.linear_cross_entropy(*output, target, shift=1)

    by_name = {FUSEDLOSS: without_logits} | dict.fromkeys((ENABLED, TORCH), of_logits)
    return Decoder(32_000, 128, length), (tokens, tokens), by_name


def _embedder() -> nn.Module:
    return nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 128))


def arcface(small: bool) -> Made:
    """Embeddings of 128, 10,000 classes."""
    size, classes = (4, 100) if small else (256, 10_000)
    batch = torch.randn(size, 512), torch.randint(classes, (size,))
    peer = losses.ArcFaceLoss(num_classes=classes, embedding_size=128)
    return _embedder(), batch, {FUSEDLOSS: front.ArcFaceLoss(128, classes), PEER: peer}


def supcon(small: bool) -> Made:
    """A batch of 1024, 4 of each class."""
    size = 16 if small else 1024
    batch = torch.randn(size, 512), torch.arange(size) // 4
    return _embedder(), batch, {FUSEDLOSS: front.SupConLoss(), PEER: losses.SupConLoss()}


def segmentation(small: bool) -> Made:
    """Images of 128 x 128, 21 classes, Dice and cross-entropy."""
    size, classes = (16, 21) if small else (128, 21)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, classes, 3, padding=1)
    )
    batch = torch.randn(4, 3, size, size), torch.randint(classes, (4, size, size))

    def dice_ce(z: Tensor, y: Tensor) -> Tensor:
        p = z.softmax(1).flatten(2)
        t = T.one_hot(y, classes).movedim(-1, 1).flatten(2).to(z)
        dice = 1 - (2 * (p * t).sum(2) + 1) / (p.sum(2) + t.sum(2) + 1)
        return dice.mean() + T.cross_entropy(z, y)

    by_name = {FUSEDLOSS: functional.dice_ce_loss} | dict.fromkeys((ENABLED, TORCH), dice_ce)
    return network, batch, by_name


def _trained(step: Training, batch: tuple[Tensor, Tensor], backend: str | None) -> Any:
    """Return a call that makes a step of training."""
    optimizer = torch.optim.SGD(step.parameters(), lr=1e-3)
    model: Callable[..., Tensor] = torch.compile(step, backend=backend) if backend else step

    def call() -> None:
        optimizer.zero_grad()
        model(*batch).backward()
        optimizer.step()

    return call


def _enabled(call: Callable[[], None]) -> Callable[[], None]:
    def replaced() -> None:
        with front.enable():
            call()

    return replaced


def _case(
    label: str,
    make: Callable[[bool], Made],
    names: tuple[str, ...],
    *targets: Target,
    **options: Any,
) -> Comparison:
    def contenders(num_threads: int, small: bool) -> Contenders:
        torch.set_num_threads(num_threads)
        torch.manual_seed(0)
        network, batch, by_name = make(small)
        made: Contenders = {}
        for name in names:
            kind = name.removesuffix(compiled(""))
            backend = ("aot_eager" if small else "inductor") if kind != name else None
            call = _trained(Training(copy.deepcopy(network), by_name[kind]), batch, backend)
            made[name] = _enabled(call) if kind == ENABLED else call
        return made

    return Comparison("steps", label, names, contenders, targets, **options)


_TORCH = (ENABLED, compiled(ENABLED), compiled(TORCH), TORCH)
_OF_TORCH = (
    Target(1.02, (TORCH,), ENABLED),
    Target(1.02, (compiled(TORCH),), compiled(ENABLED)),
)

STEPS = (
    _case("images, 64, 1000 classes", classifier(64, 1000), _TORCH, *_OF_TORCH),
    _case("images, 128, 50000 classes", classifier(128, 50_000), _TORCH, *_OF_TORCH),
    _case(
        "GPT, 4 x 128 tokens of 32000",
        gpt,
        (FUSEDLOSS, compiled(FUSEDLOSS), *_TORCH),
        Target(1, (TORCH,)),
        Target(1, (compiled(TORCH),), compiled(FUSEDLOSS)),
        *_OF_TORCH,
        measure_memory=True,
    ),
    _case(
        "ArcFace, 256, 10000 classes",
        arcface,
        (FUSEDLOSS, compiled(FUSEDLOSS), compiled(PEER), PEER),
        Target(1, (PEER,)),
        Target(1.02, (compiled(PEER),), compiled(FUSEDLOSS)),
    ),
    _case(
        "SupCon, 1024",
        supcon,
        (FUSEDLOSS, compiled(FUSEDLOSS), compiled(PEER), PEER),
        Target(1, (PEER,)),
        Target(1.02, (compiled(PEER),), compiled(FUSEDLOSS)),
    ),
    _case(
        "dice_ce, 4 x 128 x 128, 21 classes",
        segmentation,
        (FUSEDLOSS, compiled(FUSEDLOSS), *_TORCH),
        Target(1, (TORCH,)),
        Target(1.02, (compiled(TORCH),), compiled(FUSEDLOSS)),
        *_OF_TORCH,
    ),
)
