"""What is measured beside plain cross-entropy: its options and its relatives, torch's formula too.

torch has no sample_weight, softcap, z_loss or outputs, and no focal, distillation or categorical
cross-entropy: there the formula is what its users write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss.cli._contenders import CROSS_ENTROPY, Computation, Inputs

IGNORED_SHARE = 0.1
SMOOTHING = {"label_smoothing": 0.1}
SOFTCAP = {"softcap": 30.0}
Z_LOSS = {"z_loss": 1e-4}
OUTPUTS = {"outputs": ("lse", "entropy", "accuracy")}
GAMMA = {"gamma": 2.0}
DISTILLATION = {"temperature": 2.0, "alpha": 0.5}
TOP_K = 32


def _option(
    name: str,
    options: Callable[[Any, Any, np.random.Generator], dict[str, Any]],
    torch: Callable[[Any], Callable[..., Any]] = CROSS_ENTROPY.torch,
) -> Computation:
    """Cross-entropy with class indices and these options."""
    return Computation(
        name,
        fl.cross_entropy,
        lambda logits, labels, random: Inputs((logits, labels), options(logits, labels, random)),
        torch,
    )


def _class_weight(logits: Any, labels: Any, random: np.random.Generator) -> dict[str, Any]:
    return {"weight": random.uniform(0.5, 2, logits.shape[1]).astype(np.float32)}


def _sample_weight(logits: Any, labels: Any, random: np.random.Generator) -> dict[str, Any]:
    return {"sample_weight": random.uniform(0.5, 2, labels.shape).astype(np.float32)}


def _ignored(logits: Any, labels: Any, random: np.random.Generator) -> Inputs:
    return Inputs((logits, np.where(random.random(labels.shape) < IGNORED_SHARE, -100, labels)), {})


def _probabilities(logits: Any, labels: Any, random: np.random.Generator) -> Inputs:
    return Inputs((logits, _softmax(logits.shape, random)), {})


def _softmax(shape: tuple[int, ...], random: np.random.Generator) -> Any:
    return fl.softmax(random.standard_normal(shape, dtype=np.float32), axis=1)


# ---- torch's formulas -------------------------------------------------------------------------


def _torch_sample_weight(torch: Any) -> Callable[..., Any]:
    def cross_entropy(logits: Any, target: Any, sample_weight: Any) -> Any:
        losses = torch.nn.functional.cross_entropy(logits, target, reduction="none")
        return (sample_weight * losses).sum() / sample_weight.sum()

    return cross_entropy


def _torch_softcap(torch: Any) -> Callable[..., Any]:
    def cross_entropy(logits: Any, target: Any, softcap: float) -> Any:
        return torch.nn.functional.cross_entropy(softcap * torch.tanh(logits / softcap), target)

    return cross_entropy


def _torch_z_loss(torch: Any) -> Callable[..., Any]:
    def cross_entropy(logits: Any, target: Any, z_loss: float) -> Any:
        penalty = torch.logsumexp(logits, 1).square().mean()
        return torch.nn.functional.cross_entropy(logits, target) + z_loss * penalty

    return cross_entropy


def _torch_outputs(torch: Any) -> Callable[..., Any]:
    functional, no_grad = torch.nn.functional, torch.no_grad

    def cross_entropy(logits: Any, target: Any, outputs: Any) -> Any:
        log_p = functional.log_softmax(logits, 1)
        with no_grad():
            torch.logsumexp(logits, 1)
            (log_p.exp() * log_p).sum(1).neg()
            torch.eq(logits.argmax(1), target)
        return functional.nll_loss(log_p, target)

    return cross_entropy


def _torch_focal(torch: Any) -> Callable[..., Any]:
    def focal_loss(logits: Any, target: Any, gamma: float) -> Any:
        log_p = torch.log_softmax(logits, 1).gather(1, target.unsqueeze(1))
        return ((1 - log_p.exp()) ** gamma * -log_p).mean()

    return focal_loss


def _torch_distillation(torch: Any) -> Callable[..., Any]:
    functional = torch.nn.functional

    def distillation_loss(
        student: Any, teacher: Any, target: Any, temperature: float, alpha: float
    ) -> Any:
        divergence = functional.kl_div(
            functional.log_softmax(student / temperature, 1),
            functional.log_softmax(teacher / temperature, 1),
            log_target=True,
            reduction="batchmean",
        )
        hard = functional.cross_entropy(student, target)
        return alpha * temperature**2 * divergence + (1 - alpha) * hard

    return distillation_loss


def _torch_top_k_distillation(torch: Any) -> Callable[..., Any]:
    functional = torch.nn.functional

    def distillation_loss(
        student: Any, teacher: Any, target: Any, temperature: float, alpha: float
    ) -> Any:
        indices, log_q = teacher
        log_p = functional.log_softmax(student / temperature, 1).gather(1, indices)
        divergence = functional.kl_div(log_p, log_q, log_target=True, reduction="batchmean")
        hard = functional.cross_entropy(student, target)
        return alpha * temperature**2 * divergence + (1 - alpha) * hard

    return distillation_loss


def _torch_categorical(torch: Any) -> Callable[..., Any]:
    def categorical_cross_entropy(probs: Any, target: Any) -> Any:
        q = (probs / probs.sum(1, keepdim=True)).clamp(1e-7, 1 - 1e-7)
        return torch.nn.functional.nll_loss(q.log(), target)

    return categorical_cross_entropy


def _top_k_teacher(shape: tuple[int, ...], random: np.random.Generator) -> tuple[Any, Any]:
    rows, classes = shape
    k = min(TOP_K, classes)
    # Distinct classes per row: a random first one, and steps that never come back to it.
    first = random.integers(classes, size=(rows, 1))
    indices = (first + np.arange(k) * (classes // k)) % classes
    return indices, fl.log_softmax(random.standard_normal((rows, k), dtype=np.float32), axis=1)


# ---- The tables -------------------------------------------------------------------------------

WEIGHT = _option("weight", _class_weight)
LABEL_SMOOTHING = _option("label_smoothing", lambda *_: SMOOTHING)
PROBABILITIES = Computation("probabilities", fl.cross_entropy, _probabilities, CROSS_ENTROPY.torch)

#: Options of cross-entropy that cost no more reading than the plain call.
OPTIONS = (
    WEIGHT,
    LABEL_SMOOTHING,
    _option("weight, label_smoothing", lambda *given: _class_weight(*given) | SMOOTHING),
    Computation("ignore_index", fl.cross_entropy, _ignored, CROSS_ENTROPY.torch),
    _option("sample_weight", _sample_weight, _torch_sample_weight),
    _option("softcap", lambda *_: SOFTCAP, _torch_softcap),
    _option("z_loss", lambda *_: Z_LOSS, _torch_z_loss),
    _option("outputs", lambda *_: OUTPUTS, _torch_outputs),
)

NLL_LOSS = Computation(
    "nll_loss",
    fl.nll_loss,
    lambda logits, labels, _: Inputs((fl.log_softmax(logits, axis=1), labels), {}),
    lambda torch: torch.nn.functional.nll_loss,
)
#: Losses whose torch formula is what its users write.
RELATIVES = (
    Computation(
        "categorical_cross_entropy",
        fl.categorical_cross_entropy,
        lambda logits, labels, _: Inputs((fl.softmax(logits, axis=1), labels), {}),
        _torch_categorical,
    ),
    Computation(
        "focal_loss",
        fl.focal_loss,
        lambda logits, labels, _: Inputs((logits, labels), GAMMA),
        _torch_focal,
    ),
    Computation(
        "distillation_loss",
        fl.distillation_loss,
        lambda logits, labels, random: Inputs(
            (logits, random.standard_normal(logits.shape, dtype=np.float32), labels), DISTILLATION
        ),
        _torch_distillation,
    ),
    Computation(
        f"distillation_loss, top {TOP_K}",
        fl.distillation_loss,
        lambda logits, labels, random: Inputs(
            (logits, _top_k_teacher(logits.shape, random), labels), DISTILLATION
        ),
        _torch_top_k_distillation,
    ),
)
