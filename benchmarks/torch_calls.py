"""Small calls of every loss that torch.nn.functional has, with its gradient, against torch's own.

At such sizes the time is that of the calls themselves: of Python and of torch's graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from comparisons import Comparison, Contenders
from fusedloss.cli._contenders import FRONT, TORCH
from fusedloss.torch import functional
from targets import Target

#: Rows and columns, and what a call may take in times of torch's.
SIZES = (((5, 6), 1.2), ((20, 50), 1.0))

Shape = tuple[int, int]
Arguments = tuple[Tensor, ...]


def _reals(shape: Shape) -> Arguments:
    return torch.randn(shape), torch.randn(shape)


def _signs(shape: Shape) -> Arguments:
    return torch.randn(shape), torch.randn(shape).sign()


def _shares(shape: Shape) -> Arguments:
    return torch.rand(shape), torch.rand(shape)


def _logits(shape: Shape) -> Arguments:
    return torch.randn(shape), torch.rand(shape)


def _counts(shape: Shape) -> Arguments:
    return torch.randn(shape), torch.randn(shape).exp()


def _variances(shape: Shape) -> Arguments:
    return *_reals(shape), torch.rand(shape) + 0.1


def _labels(shape: Shape) -> Arguments:
    return torch.randn(shape), torch.randint(shape[1], shape[:1])


def _label_rows(shape: Shape) -> Arguments:
    return torch.randn(shape), torch.randint(-1, shape[1], shape)


def _log_probabilities(shape: Shape) -> Arguments:
    return torch.randn(shape).log_softmax(1), torch.randint(shape[1], shape[:1])


def _distributions(shape: Shape) -> Arguments:
    return torch.randn(shape).log_softmax(1), torch.randn(shape).softmax(1)


def _pairs(shape: Shape) -> Arguments:
    return *_reals(shape), torch.randn(shape[:1]).sign()


def _rankings(shape: Shape) -> Arguments:
    return *_reals(shape), torch.randn(shape).sign()


def _triplets(shape: Shape) -> Arguments:
    return *_reals(shape), torch.randn(shape)


def _sequences(shape: Shape) -> Arguments:
    frames, classes = shape
    log_probs = torch.randn(frames, 1, classes).log_softmax(2)
    labels = torch.randint(1, classes, (1, 2))
    return log_probs, labels, torch.tensor([frames]), torch.tensor([2])


#: What each function is called with.
ARGUMENTS: dict[str, Callable[[Shape], Arguments]] = {
    "binary_cross_entropy": _shares,
    "binary_cross_entropy_with_logits": _logits,
    "cosine_embedding_loss": _pairs,
    "cross_entropy": _labels,
    "ctc_loss": _sequences,
    "gaussian_nll_loss": _variances,
    "hinge_embedding_loss": _signs,
    "huber_loss": _reals,
    "kl_div": _distributions,
    "l1_loss": _reals,
    "margin_ranking_loss": _rankings,
    "mse_loss": _reals,
    "multi_margin_loss": _labels,
    "multilabel_margin_loss": _label_rows,
    "multilabel_soft_margin_loss": _logits,
    "nll_loss": _log_probabilities,
    "poisson_nll_loss": _counts,
    "smooth_l1_loss": _reals,
    "soft_margin_loss": _signs,
    "triplet_margin_loss": _triplets,
}

#: The mean that torch means to have later; it warns of the present one.
OPTIONS: dict[str, dict[str, Any]] = {"kl_div": {"reduction": "batchmean"}}


def _case(name: str, shape: Shape, bound: float) -> Comparison:
    def make(num_threads: int, _small: bool) -> Contenders:
        torch.set_num_threads(num_threads)
        torch.manual_seed(0)
        first, *others = ARGUMENTS[name](shape)
        options = OPTIONS.get(name, {})
        first.requires_grad_()

        def step(loss: Callable[..., Any]) -> Callable[[], None]:
            def call() -> None:
                loss(first, *others, **options).backward()
                first.grad = None

            return call

        return {
            FRONT: step(getattr(functional, name)),
            TORCH: step(getattr(torch.nn.functional, name)),
        }

    label = f"{name}, {shape[0]} x {shape[1]}"
    target = Target(bound, (TORCH,))
    return Comparison("small calls of torch", label, (FRONT, TORCH), make, (target,), rounds=15)


TORCH_CALLS = tuple(_case(name, shape, bound) for shape, bound in SIZES for name in ARGUMENTS)
