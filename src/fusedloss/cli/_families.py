"""The losses by family, as ``fusedloss bench --family`` times them.

Which losses there are, and in what they are differentiable, is asked of the package: a new loss is
timed once its arguments can be drawn by their names. What follows is which modules make a family,
how large its arrays are, and what its arguments look like.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss._lower.loss import Loss
from fusedloss._types import Array
from fusedloss.cli import _peers
from fusedloss.cli._contenders import COPY, PRODUCT, Computation, Inputs, Work

#: Makes an argument from the prediction's random numbers, and more randomness.
Draw = Callable[[Array, np.random.Generator], Any]

#: Classes of the heads, positions of the linear ones being rows of the work.
CLASSES = 4000
LABELS_OF_A_ROW = 5
PER_CLASS = 4
#: Lengths of targets of sequences.
SYMBOLS = 20


# ---- Arguments --------------------------------------------------------------------------------


def _given(given: Array, _: np.random.Generator) -> Array:
    return given


def _like(given: Array, random: np.random.Generator) -> Array:
    drawn: Array = random.standard_normal(given.shape, np.float32).astype(given.dtype)
    return drawn


def _uniform(given: Array, random: np.random.Generator) -> Array:
    return random.uniform(0.02, 0.98, given.shape).astype(given.dtype)


def _cosines(given: Array, random: np.random.Generator) -> Array:
    return random.uniform(-1, 1, (len(given), CLASSES)).astype(given.dtype)


def _positive(given: Array, random: np.random.Generator) -> Array:
    return (random.exponential(size=given.shape) + 0.05).astype(given.dtype)


def _negative(given: Array, random: np.random.Generator) -> Array:
    return -_positive(given, random)


def _zeros_and_ones(given: Array, random: np.random.Generator) -> Array:
    return random.integers(2, size=given.shape).astype(given.dtype)


def _signs(given: Array, random: np.random.Generator) -> Array:
    signs: Array = (2 * random.integers(2, size=given.shape) - 1).astype(given.dtype)
    return signs


def _signs_of_rows(given: Array, random: np.random.Generator) -> Array:
    return _signs(given[:, 0], random)


def _probabilities(given: Array, random: np.random.Generator) -> Array:
    return fl.softmax(_like(given, random), axis=-1)


def _log_probabilities(given: Array, random: np.random.Generator) -> Array:
    return fl.log_softmax(_like(given, random), axis=-1)


def _classes(given: Array, random: np.random.Generator) -> Array:
    return random.integers(given.shape[1], size=(len(given), *given.shape[2:]))


def _classes_of_head(given: Array, random: np.random.Generator) -> Array:
    return random.integers(CLASSES, size=len(given))


def _several_classes(given: Array, random: np.random.Generator) -> Array:
    return random.integers(CLASSES, size=(len(given), LABELS_OF_A_ROW))


def _ended_classes(given: Array, random: np.random.Generator) -> Array:
    """Draw a few classes for each row, all different, and -1 behind them."""
    rows, classes = given.shape
    target = np.full(given.shape, -1)
    steps = np.arange(LABELS_OF_A_ROW) * (classes // LABELS_OF_A_ROW)
    target[:, :LABELS_OF_A_ROW] = (random.integers(classes, size=(rows, 1)) + steps) % classes
    return target


def _rows_of_classes(given: Array, _: np.random.Generator) -> Array:
    return np.arange(len(given)) // PER_CLASS


def _weights(given: Array, random: np.random.Generator, each: int = 1) -> Array:
    """Draw so many rows of weights for each class of a head."""
    rows = random.standard_normal((CLASSES * each, given.shape[1]), np.float32)
    weights: Array = (rows * np.float32(0.05)).astype(given.dtype)
    return weights


def _centers(each: int) -> Draw:
    return lambda given, random: _weights(given, random, each)


def _head(given: Array, random: np.random.Generator) -> Array:
    """Draw the weights of half of the classes, and of a cluster of the others."""
    return _weights(given, random)[: CLASSES // 2 + 1]


def _tails(given: Array, random: np.random.Generator) -> list[Array]:
    """Draw a cluster's projection to half the features, and the weights of its classes."""
    weights = _weights(given, random)
    half = given.shape[1] // 2
    return [weights[:half].copy(), weights[CLASSES // 2 :, :half].copy()]


def _boxes(given: Array, random: np.random.Generator) -> Array:
    corners = random.uniform(0, 100, (len(given), 2))
    sizes = random.uniform(1, 50, (len(given), 2))
    return np.concatenate((corners, corners + sizes), axis=1).astype(given.dtype)


def _advantages(given: Array, random: np.random.Generator) -> Array:
    return random.standard_normal(len(given), np.float32).astype(given.dtype)


def _booleans(given: Array, random: np.random.Generator) -> Array:
    return random.random(given.shape) < 0.5


def _symbols(given: Array, random: np.random.Generator) -> Array:
    return random.integers(1, given.shape[2], size=(given.shape[1], SYMBOLS))


def _input_lengths(given: Array, _: np.random.Generator) -> Array:
    return np.full(given.shape[1], given.shape[0])


def _target_lengths(given: Array, _: np.random.Generator) -> Array:
    return np.full(given.shape[1], SYMBOLS)


def _listed(draw: Draw) -> Draw:
    return lambda given, random: [draw(given, random)]


def _number(value: float) -> Draw:
    return lambda given, random: value


# ---- Families ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """A module of losses as a part of a family."""

    module: str
    shape: tuple[int, ...]  #: of the prediction
    draws: Mapping[str, Draw]  #: by the names of arguments
    yardstick: str = COPY


_SCORES: dict[str, Draw] = {
    **dict.fromkeys(("logits", "scores", "input", "student_logits"), _given),
    **dict.fromkeys(("teacher_logits", "target_logits"), _like),
    "probs": _probabilities,
    "log_probs": _log_probabilities,
    "target": _classes,
    "labels": _uniform,
}
_POINTS: dict[str, Draw] = {
    **dict.fromkeys(("input", "input1", "logits", "scores", "prediction"), _given),
    **dict.fromkeys(("target", "input2"), _like),
    "probs": _uniform,
    "var": _positive,
}
_LABELS = _POINTS | {"target": _zeros_and_ones}
_SIGNS = _POINTS | {"target": _signs}
_HEADS: dict[str, Draw] = {
    **dict.fromkeys(("input", "embeddings", "student"), _given),
    **dict.fromkeys(("weight", "linear_weight", "student_weight", "teacher_weight"), _weights),
    "teacher": _like,
    "head_weight": _head,
    "tail_weights": _tails,
    "target": _classes_of_head,
    "cosine": _cosines,
}
_PAIRS: dict[str, Draw] = {
    **dict.fromkeys(("embeddings", "query", "image_features", "anchor"), _given),
    **dict.fromkeys(("key", "text_features", "positive", "negative"), _like),
    **dict.fromkeys(("input", "input1"), _given),
    "input2": _like,
    "labels": _rows_of_classes,
}
_ANSWERS: dict[str, Draw] = {
    **dict.fromkeys(
        ("policy", "policy_chosen", "policy_rejected", "reference", "log_probs", "old_log_probs"),
        _negative,
    ),
    **dict.fromkeys(("reference_chosen", "reference_rejected"), _negative),
    "desirable": _booleans,
    "advantages": _advantages,
}

_ROWS, _ELEMENTS, _EMBEDDINGS = (1024, 1000), (1000, 1000), (256, 128)

FAMILIES: dict[str, tuple[Group, ...]] = {
    "softmax": (
        Group("classification", _ROWS, _SCORES),
        Group("multiclass", _ROWS, _SCORES),
        Group(
            "sequences",
            (100, 16, 64),
            _SCORES
            | {
                "targets": _symbols,
                "input_lengths": _input_lengths,
                "target_lengths": _target_lengths,
            },
        ),
    ),
    "linear": (Group("linear", _EMBEDDINGS, _HEADS, PRODUCT),),
    "margin": (
        Group("margin", _EMBEDDINGS, _HEADS, PRODUCT),
        Group("proxies", _EMBEDDINGS, _HEADS, PRODUCT),
    ),
    "pairs": (
        Group("metric", _EMBEDDINGS, _PAIRS, PRODUCT),
        Group("contrastive", _EMBEDDINGS, _PAIRS, PRODUCT),
        Group("tuplets", _EMBEDDINGS, _PAIRS, PRODUCT),
        Group("self_supervised", _EMBEDDINGS, _PAIRS | {"ref_embeddings": _like}),
        Group("similarity", (8192, 128), _PAIRS | {"target": _like}),
    ),
    "pointwise": (
        Group("regression", _ELEMENTS, _POINTS),
        Group("binary", _ELEMENTS, _LABELS),
        Group(
            "divergence",
            _ELEMENTS,
            _POINTS
            | {
                **dict.fromkeys(("log_probs", "log_target", "log_prediction"), _log_probabilities),
                **dict.fromkeys(("target", "probs"), _probabilities),
            },
        ),
        Group("ranking", _ELEMENTS, _SIGNS | {"labels": _uniform}),
        Group(
            "layers",
            _ELEMENTS,
            {
                **dict.fromkeys(("params", "features"), _listed(_given)),
                "target_features": _listed(_like),
                "strength": _number(0.01),
            },
        ),
    ),
    "segmentation": (Group("segmentation", (4, 8, 256, 256), _SCORES),),
    "boxes": (Group("boxes", (100_000, 4), {"input": _boxes, "target": _boxes}),),
    "preference": (Group("preference", (256, 1024), _ANSWERS),),
}

#: Arguments of a loss that differ from those of its module.
_OF_LOSSES: dict[str, Mapping[str, Draw]] = {
    "exponential_loss": {"target": _signs},
    "hinge_loss": {"target": _signs},
    "squared_hinge_loss": {"target": _signs},
    "soft_margin_loss": {"target": _signs},
    "logistic_loss": {"target": _signs},
    "perceptron_loss": {"target": _signs},
    "gamma_loss": {"target": _positive},
    "poisson_nll_loss": {"target": _positive},
    "tweedie_loss": {"target": _positive},
    "msle_loss": {"input": _positive, "target": _positive},
    "mape_loss": {"target": _positive},
    "multilabel_margin_loss": {"target": _ended_classes},
    "multilabel_soft_margin_loss": {"target": _zeros_and_ones},
    "categorical_hinge_loss": {"target": _zeros_and_ones},
    "linear_binary_cross_entropy": {"target": _several_classes},
    "subcenter_arcface_loss": {"weight": _centers(3)},
    "soft_triple_loss": {"weight": _centers(10)},
    "lovasz_hinge_loss": {"target": _zeros_and_ones},
    "cosine_embedding_loss": {"target": _signs_of_rows},
}
#: Its gradient is 0 everywhere: nobody trains by it.
_NOT_TRAINED = ("zero_one_loss",)
#: Losses that are measured otherwise than their modules.
_YARDSTICKS = {"margin_cross_entropy": COPY}

#: What a loss may be differentiated in, though nobody trains it.
_GIVEN = ("target", "log_target", "teacher", "reference", "var")


@dataclass(frozen=True)
class Timed:
    """A loss on arrays of one shape."""

    work: Work
    computation: Computation


def find_losses() -> dict[str, Loss]:
    """Return the record of every public loss that has a gradient, by its name."""
    records = {name: getattr(getattr(fl, name), "__fusedloss__", None) for name in fl.__all__}
    return {
        name: record
        for name, record in records.items()
        if record is not None
        and name not in _NOT_TRAINED
        and getattr(fl, name).__annotations__["return"] != "np.ndarray"
    }


def losses_of(family: str, dtype: str) -> list[Timed]:
    """Return the losses of a family."""
    return [
        Timed(Work(group.shape, dtype), make_computation(name, record, group))
        for group in FAMILIES[family]
        for name, record in find_losses().items()
        if getattr(fl, name).__module__ == f"fusedloss.{group.module}"
    ]


def make_computation(name: str, record: Loss, group: Group) -> Computation:
    """Describe a loss to those who time it: the gradient in all that is trained."""
    loss: Callable[..., Any] = getattr(fl, name)
    parameters = inspect.signature(loss).parameters.values()
    required = [each.name for each in parameters if each.default is each.empty]
    draws = {**group.draws, **_OF_LOSSES.get(name, {})}

    def inputs(given: Array, _labels: Array, random: np.random.Generator) -> Inputs:
        return Inputs(tuple(draws[each](given, random) for each in required), {})

    trained = [
        number
        for number, each in enumerate(required)
        if each in record.differentiable and not each.startswith(_GIVEN)
    ]
    return Computation(
        name,
        loss,
        inputs,
        lambda torch: _peers.formula_of(torch, name),
        argnums=tuple(trained),
        yardstick=_YARDSTICKS.get(name, group.yardstick),
    )
