"""Calls of every loss, and which numbers of theirs a position, or an element, holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

import fusedloss as fl
from fusedloss._lower.loss import lookup
from parts import Array
from pointwise_cases import CASES as POINTWISE_CASES
from rowwise_cases import CASES as ROWWISE_CASES
from segmentation_cases import LOSSES as IMAGES
from test_margin import MARGINS

Rng: TypeAlias = np.random.Generator
Shape: TypeAlias = tuple[int, int]

#: Positions and classes (or features, or what else a position has): below and above a vector, more
#: classes than lie side by side in lanes, than fit a block.
SHAPES: tuple[Shape, ...] = ((4, 3), (67, 17), (9, 300), (3, 2100))


class Call(NamedTuple):
    """Arguments of a loss by name."""

    arrays: dict[str, Any]  # in the order of the signature
    options: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A loss with some of its options."""

    name: str
    make: Callable[[Rng, Shape, DTypeLike], Call]
    #: the arguments that hold numbers of each position: floats along their first axis
    rows: tuple[str, ...]
    note: str = ""
    #: weights, by name: of positions (or elements), or of the target's class
    weights: tuple[str, ...] = ("sample_weight",)
    class_weight: str | None = None
    by_element: bool = False  # positions are elements
    reductions: tuple[str, ...] = ("mean", "sum", "none")
    of_target: bool = False  # of a position's elements only that of the target counts

    def __str__(self) -> str:
        return f"{self.name}-{self.note}" if self.note else self.name

    @property
    def loss(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(fl, self.name)
        return function

    def differentiable(self, call: Call) -> tuple[str, ...]:
        """The arguments to differentiate in, numbers among them; the others may be left out."""
        names = lookup(self.loss).differentiable
        optional = ("linear_bias", "ref_embeddings")
        return tuple(name for name in names if name in call.arrays or name not in optional)


def _normal(rng: Rng, *shape: int) -> Array:
    return rng.normal(size=shape)


def _labels(rng: Rng, shape: Shape) -> Array:
    """Class indices of which 0 is one, and not the only one."""
    labels = rng.integers(0, shape[1], size=shape[0])
    labels[:2] = 0, min(1, shape[1] - 1)
    return labels


def _probabilities(rng: Rng, shape: Shape) -> Array:
    p = rng.exponential(size=shape) + 0.05
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _softmax(
    first: str,
    draw: Callable[[Rng, Shape], Array],
    target: Callable[[Rng, Shape], Array] = _labels,
    second: str = "target",
    **options: Any,
) -> Callable[[Rng, Shape, DTypeLike], Call]:
    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        y = target(rng, shape)
        y = y.astype(dtype) if y.dtype.kind == "f" else y
        return Call({first: draw(rng, shape).astype(dtype), second: y}, options)

    return make


def _logits(rng: Rng, shape: Shape) -> Array:
    return _normal(rng, *shape) * 2


def _log_probabilities(rng: Rng, shape: Shape) -> Array:
    return np.log(_probabilities(rng, shape))


def _distillation(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
    student, teacher = (_logits(rng, shape).astype(dtype) for _ in range(2))
    arrays = {"student_logits": student, "teacher_logits": teacher, "target": _labels(rng, shape)}
    return Call(arrays, {"temperature": 2.0, "alpha": 0.3})


def _distilled_layer(divergence: str) -> Callable[[Rng, Shape, DTypeLike], Call]:
    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        arrays = {
            "student": _normal(rng, shape[0], 5).astype(dtype),
            "student_weight": _normal(rng, shape[1], 5).astype(dtype),
            "teacher": _normal(rng, shape[0], 3).astype(dtype),
            "teacher_weight": _normal(rng, shape[1], 3).astype(dtype),
            "target": _labels(rng, shape),
        }
        return Call(arrays, {"temperature": 2.0, "alpha": 0.3, "divergence": divergence})

    return make


def _linear(bias: bool, **options: Any) -> Callable[[Rng, Shape, DTypeLike], Call]:
    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        arrays = {
            "input": _normal(rng, shape[0], 5).astype(dtype),
            "linear_weight": _normal(rng, shape[1], 5).astype(dtype),
            "target": _labels(rng, shape),
        }
        if bias:
            arrays["linear_bias"] = _normal(rng, shape[1]).astype(dtype)
        return Call(arrays, options)

    return make


def _linear_to_probabilities(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
    call = _linear(False)(rng, shape, dtype)
    return call._replace(arrays=call.arrays | {"target": _probabilities(rng, shape).astype(dtype)})


def _head(name: str, margins: dict[str, Any], scale: float) -> Case:
    parameters = inspect.signature(getattr(fl, name)).parameters
    centers = margins.get("sub_centers", margins.get("centers_per_class", 1))
    scale_name = next(x for x in ("scale", "alpha", "softmax_scale") if x in parameters)
    options = {**margins, scale_name: scale}
    from_cosines = "cosine" in parameters

    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        target = _labels(rng, shape)
        if from_cosines:
            return Call(
                {"cosine": rng.uniform(-0.9, 0.9, shape).astype(dtype), "target": target}, options
            )
        arrays = {
            "embeddings": _normal(rng, shape[0], 5).astype(dtype),
            "weight": _normal(rng, shape[1] * centers, 5).astype(dtype),
            "target": target,
        }
        return Call(arrays, options)

    rows = ("cosine",) if from_cosines else ("embeddings",)
    note = "-".join(str(value) for value in margins.values())
    return Case(name, make, rows, note, ("sample_weight",), "class_weight")


def _squared_head(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
    rows, weight = (_normal(rng, n, 5).astype(dtype) for n in shape)
    return Call({"embeddings": rows, "weight": weight, "target": _labels(rng, shape)}, {})


def _two_sided(first: str, second: str, **options: Any) -> Callable[..., Call]:
    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        arrays = {name: _normal(rng, shape[0], 5).astype(dtype) for name in (first, second)}
        return Call(arrays, options)

    return make


def _pairs(**options: Any) -> Callable[..., Call]:
    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        references = shape[0] + 3
        arrays = {
            "embeddings": _normal(rng, shape[0], 5).astype(dtype),
            "labels": np.arange(shape[0]) % 3,
            "ref_embeddings": _normal(rng, references, 5).astype(dtype),
            "ref_labels": np.arange(references) % 3,
        }
        return Call(arrays, options)

    return make


def _pair_cases() -> list[Case]:
    cases = []
    for name in fl.__all__:
        if not hasattr(getattr(fl, name), "__fusedloss__"):
            continue
        parameters = inspect.signature(getattr(fl, name)).parameters
        if not {"ref_embeddings", "sample_weight"} <= set(parameters):
            continue
        metrics = ("euclidean", "squared_euclidean", "cosine", "lp", "snr")
        default = parameters["distance"].default if "distance" in parameters else None
        for distance in metrics if default in metrics else (None,):
            options = {} if distance is None else {"distance": distance}
            reductions: tuple[str, ...] = ("mean", "sum", "none")
            if "mean_nonzero" in str(parameters["reduction"].annotation):
                reductions = (*reductions, "mean_nonzero")
            cases.append(
                Case(
                    name, _pairs(**options), ("embeddings",), distance or "", reductions=reductions
                )
            )
    return cases


def _elements(case: Any) -> Case:
    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        arrays, options = case.draw(shape, dtype, rng)
        return Call(dict(zip(case.formula.arguments, arrays, strict=True)), options)

    return Case(case.name, make, case.formula.arguments, str(case), ("weight",), by_element=True)


def _rows(case: Any) -> Case:
    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        arrays, options = case.draw(shape, dtype, rng)
        laid_out = case.laid_out(arrays)
        if case.name == "multilabel_margin_loss":
            laid_out[1][:, :2] = 0, -1  # without any label, or other class, nothing of a row counts
        return Call(dict(zip(case.formula.arguments, laid_out, strict=True)), options)

    of_target = case.name == "generalized_cross_entropy" and not case.form
    return Case(case.name, make, case.formula.arguments, str(case), of_target=of_target)


def _images(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
    """Images of five pixels; the last class is that of none."""
    n, classes = shape
    logits = _normal(rng, n, classes, 5).astype(dtype)
    return Call({"logits": logits, "target": rng.integers(0, classes - 1, (n, 5))}, {})


def _without_references() -> list[Case]:
    """Losses of the pairs within a batch."""

    def make(rng: Rng, shape: Shape, dtype: DTypeLike) -> Call:
        labels = np.minimum(np.arange(shape[0]), np.arange(shape[0])[::-1])
        return Call({"embeddings": _normal(rng, shape[0], 5).astype(dtype), "labels": labels}, {})

    cases = []
    for name in fl.__all__:
        if not hasattr(getattr(fl, name), "__fusedloss__"):
            continue
        parameters = inspect.signature(getattr(fl, name)).parameters
        if "embeddings" not in parameters or "labels" not in parameters:
            continue
        reductions: tuple[str, ...] = ()
        if "reduction" in parameters:
            by_anchor = "none" in str(parameters["reduction"])
            reductions = ("sum", "none") if by_anchor else ("sum",)
        cases.append(Case(name, make, ("embeddings",), weights=(), reductions=reductions))
    return cases


#: Losses whose weights are elsewhere, or that have none.
WITHOUT_WEIGHTS: tuple[Case, ...] = (
    *(Case(name, _images, ("logits",), weights=(), reductions=("sum",)) for name in IMAGES),
    *_without_references(),
    Case(
        "clip_loss", _two_sided("image_features", "text_features"), ("image_features",), weights=()
    ),
)

CASES: tuple[Case, ...] = (
    *map(_elements, POINTWISE_CASES),
    *map(_rows, ROWWISE_CASES),
    *(
        Case(name, _softmax("logits", _logits), ("logits",), "pixels", reductions=("mean", "sum"))
        for name in IMAGES
    ),
    *(
        Case(
            "cross_entropy",
            _softmax("logits", _logits, **options),
            ("logits",),
            note,
            ("sample_weight",),
            "weight",
        )
        for note, options in (
            ("", {}),
            ("softcap", {"softcap": 3.0}),
            ("z_loss", {"z_loss": 0.1}),
            ("outputs", {"outputs": ("lse", "entropy", "accuracy", "log_prob")}),
        )
    ),
    Case(
        "cross_entropy",
        _softmax("logits", _logits, label_smoothing=0.2),
        ("logits",),
        "smoothing",
    ),
    Case(
        "cross_entropy",
        _softmax("logits", _logits, _probabilities),
        ("logits", "target"),
        "probabilities",
    ),
    Case("focal_loss", _softmax("logits", _logits), ("logits",), "", ("sample_weight",), "alpha"),
    Case(
        "nll_loss",
        _softmax("log_probs", _log_probabilities),
        ("log_probs",),
        "",
        ("sample_weight",),
        "weight",
        of_target=True,
    ),
    Case("categorical_cross_entropy", _softmax("probs", _probabilities), ("probs",)),
    Case(
        "categorical_cross_entropy",
        _softmax("probs", _probabilities, gamma=1.5),
        ("probs",),
        "focal",
        ("sample_weight",),
        "alpha",
    ),
    Case(
        "categorical_cross_entropy",
        _softmax("probs", _probabilities, _probabilities, gamma=1.5),
        ("probs", "target"),
        "focal of probabilities",
    ),
    Case(
        "categorical_cross_entropy",
        _softmax("probs", _probabilities, label_smoothing=0.1),
        ("probs",),
        "smoothing",
    ),
    Case(
        "categorical_cross_entropy",
        _softmax("probs", _probabilities, _probabilities),
        ("probs", "target"),
        "probabilities",
    ),
    Case(
        "soft_cross_entropy",
        _softmax("logits", _logits, _logits, "target_logits"),
        ("logits", "target_logits"),
    ),
    Case("distillation_loss", _distillation, ("student_logits", "teacher_logits")),
    *(
        Case("linear_distillation_loss", _distilled_layer(name), ("student", "teacher"), name)
        for name in ("forward", "reverse", "js")
    ),
    *(
        Case(
            "linear_cross_entropy",
            _linear(bias, **options),
            ("input",),
            note,
            ("sample_weight",),
            "weight",
        )
        for note, bias, options in (
            ("", False, {}),
            ("bias", True, {}),
            ("again", True, {"workspace": 1}),
            ("filter", False, {"filter_eps": 1e-4}),
            ("softcap", True, {"softcap": 3.0, "z_loss": 0.1}),
            ("outputs", False, {"outputs": ("lse", "entropy", "accuracy", "log_prob")}),
        )
    ),
    Case("linear_cross_entropy", _linear(True, label_smoothing=0.2), ("input",), "smoothing"),
    Case("linear_cross_entropy", _linear_to_probabilities, ("input", "target"), "probabilities"),
    *(_head(*margins) for margins in MARGINS),
    _head("margin_cross_entropy", {"m2": 0.5}, 16.0),
    _head("adaface_loss", {"margin": 0.4}, 16.0),  # the batch's statistics of norms
    Case("p2s_grad_loss", _squared_head, ("embeddings",)),
    Case("info_nce_loss", _two_sided("query", "key"), ("query",)),
    Case("siglip_loss", _two_sided("image_features", "text_features"), ("image_features",)),
    *_pair_cases(),
)
