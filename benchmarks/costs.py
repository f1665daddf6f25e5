"""What options cost beside the same call without them; losses beside compositions in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as torch_functional

import fusedloss as fl
from comparisons import Comparison, Contenders
from fusedloss.cli._contenders import COPY, FRONT, FUSEDLOSS, TORCH
from fusedloss.torch import functional
from targets import Target

WITHOUT = "without"
ONE_THREAD = "one thread"


def _shape(shape: tuple[int, ...], small: bool) -> tuple[int, ...]:
    return tuple(min(n, 8) for n in shape) if small else shape


# ---- Options ------------------------------------------------------------------------------------

Given = tuple[Callable[..., Any], tuple[Any, ...], Any]


def _classes(shape: tuple[int, ...]) -> Given:
    """Cross-entropy, its arguments, and a mask of seven positions in ten."""
    random = np.random.default_rng(0)
    logits = random.standard_normal(shape, dtype=np.float32)
    labels = random.integers(shape[-1], size=shape[:-1])
    return fl.cross_entropy, (logits, labels), random.uniform(size=shape[:-1]) < 0.7


def _elements(shape: tuple[int, ...]) -> Given:
    """Squared errors, their arguments, and a mask of seven elements in ten."""
    random = np.random.default_rng(0)
    arrays = tuple(random.standard_normal(shape, dtype=np.float32) for _ in range(2))
    return fl.mse_loss, arrays, random.uniform(size=shape) < 0.7


def _option(
    given: Callable[[tuple[int, ...]], Given], shape: tuple[int, ...], name: str, value: Any = None
) -> Comparison:
    """Compare a call that has an option; a mask, unless there is a value."""

    def make(num_threads: int, small: bool) -> Contenders:
        loss, arrays, mask = given(_shape(shape, small))
        call = partial(fl.value_and_grad(loss), *arrays, num_threads=num_threads)
        place = np.empty_like(arrays[0])
        option = {name: mask if value is None else value}
        return {FUSEDLOSS: partial(call, **option, out=place), WITHOUT: partial(call, out=place)}

    label = f"{name} of {given.__name__.strip('_')}, {' x '.join(map(str, shape))}"
    return Comparison(
        "what options cost", label, (FUSEDLOSS, WITHOUT), make, (Target(1.15, (WITHOUT,)),)
    )


# ---- Segmentation -------------------------------------------------------------------------------


def _masks(loss: Callable[..., Any], num_threads: int, small: bool) -> Contenders:
    random = np.random.default_rng(0)
    shape = _shape((4, 21, 256, 256), small)
    logits = random.standard_normal(shape, dtype=np.float32)
    labels = random.integers(shape[1], size=(shape[0], *shape[2:]))
    call = partial(fl.value_and_grad(loss), logits, labels, out=np.empty_like(logits))
    return {
        FUSEDLOSS: partial(call, num_threads=num_threads),
        ONE_THREAD: partial(call, num_threads=1),
    }


def _independent_labels(num_threads: int, small: bool) -> Contenders:
    random = np.random.default_rng(0)
    logits = random.standard_normal(_shape((4, 8, 512, 512), small), dtype=np.float32)
    target = (random.uniform(size=logits.shape) < 0.3).astype(np.float32)
    place = np.empty_like(logits)
    call = partial(fl.value_and_grad(fl.dice_loss), activation="sigmoid", num_threads=num_threads)
    return {
        FUSEDLOSS: partial(call, logits, target, out=place),
        COPY: partial(np.copyto, place, logits),
    }


def _threads(loss: Callable[..., Any]) -> Comparison:
    label = f"{loss.__name__} of 4 x 21 x 256 x 256"
    asked = (Target(round(1 / 1.7, 2), (ONE_THREAD,)),)
    return Comparison("segmentation", label, (FUSEDLOSS, ONE_THREAD), partial(_masks, loss), asked)


# ---- Preferences and policies -------------------------------------------------------------------


def _dpo(chosen: Any, rejected: Any, of_chosen: Any, of_rejected: Any) -> Any:
    margin = (chosen - rejected) - (of_chosen - of_rejected)
    return -torch_functional.logsigmoid(0.1 * margin).mean()


def _simpo(chosen: Any, rejected: Any) -> Any:
    return -torch_functional.logsigmoid(2.0 * (chosen - rejected) - 1.0).mean()


def _grpo(log_probs: Any, old: Any, advantages: Any) -> Any:
    ratio = torch.exp(log_probs - old)
    clipped = ratio.clamp(0.8, 1.2)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()


def _log_probs(
    loss: Callable[..., Any], composition: Callable[..., Any], count: int, threads: int, small: bool
) -> Contenders:
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    shape = _shape((4096, 1000), small)
    first, *others = (-torch.rand(shape, generator=generator) for _ in range(count))
    first.requires_grad_()

    def step(function: Callable[..., Any]) -> None:
        first.grad = None
        function(first, *others).backward()

    return {FRONT: partial(step, loss), TORCH: partial(step, composition)}


def _beside_torch(loss: Callable[..., Any], composition: Callable[..., Any], n: int) -> Comparison:
    label = f"{loss.__name__} of 4096 x 1000"
    asked = (Target(0.33, (TORCH,)),)
    return Comparison(
        "policies", label, (FRONT, TORCH), partial(_log_probs, loss, composition, n), asked
    )


COSTS = (
    _option(_elements, (200_000,), "where"),
    _option(_elements, (8_000_000,), "where"),
    *(
        _option(_classes, shape, name, value)
        for shape in ((20_000, 10), (2048, 1000), (2048, 32_000))
        for name, value in (("where", None), ("entropy_bonus", 0.1), ("outputs", ("log_prob",)))
    ),
    _threads(fl.dice_loss),
    _threads(fl.lovasz_softmax_loss),
    Comparison(
        "segmentation",
        "dice_loss of sigmoids, 4 x 8 x 512 x 512",
        (FUSEDLOSS, COPY),
        _independent_labels,
        (Target(2.0),),
    ),
    _beside_torch(functional.dpo_loss, _dpo, 4),
    _beside_torch(functional.simpo_loss, _simpo, 2),
    _beside_torch(functional.grpo_loss, _grpo, 3),
)
