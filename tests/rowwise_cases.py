"""The table of losses of rows: what they take, and who else defines them so.

A loss is one entry of `LOSSES`; every test of test_rowwise*.py runs over it. Its formula and the
names of its arguments are in the table of reference/rowwise.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import DTypeLike

from parts import Array
from reference.rowwise import ROWWISE, Formula

Shape = tuple[int, ...]

#: An argument's values for rows of a shape, the rows on the last axis: floats, or class indices.
Draw = Callable[[np.random.Generator, Shape], Array]


def _real(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.normal(size=shape) * 2


def _probabilities(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.uniform(0.02, 0.98, size=shape)


def _distribution(rng: np.random.Generator, shape: Shape) -> Array:
    weights = rng.exponential(size=shape)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _index(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.integers(0, shape[-1], size=shape[:-1]))


def _one_hot(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(np.eye(shape[-1])[_index(rng, shape)])


def _labels(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.integers(0, 2, size=shape) * 1.0)


def _listed(rng: np.random.Generator, shape: Shape) -> Array:
    """Some classes, -1, and others that do not count."""
    order = rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)
    end = rng.integers(0, shape[-1] + 1, size=(*shape[:-1], 1))
    return np.where(np.arange(shape[-1]) == end, -1, order)


def _side(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.choice([-1.0, 1.0], size=shape[:-1]))


def _relevances(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.integers(0, 4, size=shape) * 1.0)


def _boxes(rng: np.random.Generator, shape: Shape) -> Array:
    """Boxes of four numbers, whatever the rows' length, some of which overlap."""
    low = rng.normal(size=(*shape[:-1], 2))
    return np.concatenate([low, low + rng.uniform(0.2, 3, size=low.shape)], axis=-1)


def whole_boxes(rng: np.random.Generator, shape: Shape) -> Array:
    """Boxes of whole numbers, whose edges are often equal."""
    low = rng.integers(0, 4, size=(*shape[:-1], 2))
    return np.concatenate([low, low + rng.integers(1, 4, size=low.shape)], axis=-1) * 1.0


@dataclass(frozen=True)
class Loss:
    """An entry: what the tests know of a loss besides its formula."""

    draws: tuple[Draw, ...]
    options: tuple[dict[str, Any], ...] = ({},)  # "drawn" as a value: one number per class
    torch: Callable[..., Any] | None = None  # torch's own function, row by row
    formula: Callable[..., Any] | None = None  # or the formula of the source in torch's words
    bad: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # values of options that raise


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loss of torch.nn.functional without reduction."""
    return lambda *arrays, **options: function(*arrays, reduction="none", **options)


def _categorical_hinge(x: Any, target: Any) -> Any:
    t = F.one_hot(target, x.shape[-1]) if target.ndim < x.ndim else target
    gap = ((1 - t) * x).max(dim=-1).values - (t * x).sum(dim=-1) + 1
    return gap.clamp(min=0)


def _poly1(z: Any, target: Any, epsilon: float = 2.0) -> Any:
    t = F.one_hot(target, z.shape[-1]) if target.ndim < z.ndim else target
    log_p = F.log_softmax(z, -1)
    return -(t * log_p).sum(-1) + epsilon * (1 - (t * log_p.exp()).sum(-1))


def _generalized(p: Any, target: Any, q: float = 0.5) -> Any:
    if target.ndim == p.ndim:
        return (target * (1 - p**q) / q).sum(-1)
    return (1 - p.gather(-1, target[..., None])[..., 0] ** q) / q


def _sparsemax(x: Any, target: Any) -> Any:
    """Martins and Astudillo (2016), equation 15."""
    ordered = x.sort(dim=-1, descending=True).values
    count = torch.arange(1, x.shape[-1] + 1)
    size = (1 + count * ordered > ordered.cumsum(-1)).sum(-1, keepdim=True)
    tau = (ordered.cumsum(-1).gather(-1, size - 1) - 1) / size
    inside = torch.where(x > tau, x**2 - tau**2, 0).sum(-1)
    return -x.gather(-1, target[..., None])[..., 0] + inside / 2 + 0.5


def _cosine_similarity(x: Any, t: Any) -> Any:
    return -(F.normalize(x, dim=-1, eps=1e-7) * F.normalize(t, dim=-1, eps=1e-7)).sum(-1)


# ---- torchvision 0.28, torchvision/ops/{giou,diou,ciou}_loss.py


def _inter_union(x: Any, t: Any) -> tuple[Any, Any]:
    x1, y1, x2, y2 = x.unbind(-1)
    x1g, y1g, x2g, y2g = t.unbind(-1)
    left, top = torch.max(x1, x1g), torch.max(y1, y1g)
    right, bottom = torch.min(x2, x2g), torch.min(y2, y2g)
    inside = torch.zeros_like(x1)
    mask = (bottom > top) & (right > left)
    inside[mask] = (right[mask] - left[mask]) * (bottom[mask] - top[mask])
    return inside, (x2 - x1) * (y2 - y1) + (x2g - x1g) * (y2g - y1g) - inside


def _around(x: Any, t: Any) -> tuple[Any, Any]:
    x1, y1, x2, y2 = x.unbind(-1)
    x1g, y1g, x2g, y2g = t.unbind(-1)
    width = torch.max(x2, x2g) - torch.min(x1, x1g)
    return width, torch.max(y2, y2g) - torch.min(y1, y1g)


def _generalized_box(x: Any, t: Any, eps: float = 1e-7) -> Any:
    inside, union = _inter_union(x, t)
    width, height = _around(x, t)
    area = width * height
    return 1 - (inside / (union + eps) - (area - union) / (area + eps))


def _distance_box(x: Any, t: Any, eps: float = 1e-7) -> Any:
    inside, union = _inter_union(x, t)
    width, height = _around(x, t)
    diagonal = width**2 + height**2 + eps
    centers = [((b[..., k] + b[..., k + 2]) / 2) for b in (x, t) for k in (0, 1)]
    apart = (centers[0] - centers[2]) ** 2 + (centers[1] - centers[3]) ** 2
    return 1 - inside / (union + eps) + apart / diagonal


def _complete_box(x: Any, t: Any, eps: float = 1e-7) -> Any:
    inside, union = _inter_union(x, t)
    of_x, of_t = ((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1]) for b in (x, t))
    v = (4 / math.pi**2) * (torch.atan(of_t) - torch.atan(of_x)) ** 2
    with torch.no_grad():
        alpha = v / (1 - inside / (union + eps) + v + eps)
    return _distance_box(x, t, eps) + alpha * v


FINITE_MARGIN = (np.nan, np.inf, -np.inf)
POSITIVE = (0.0, -1.0, np.nan)

LOSSES: dict[str, Loss] = {
    # ---- Many classes
    "multi_margin_loss": Loss(
        (_real, _index),
        ({}, {"p": 2}, {"margin": 0.3, "weight": "drawn"}, {"p": 2, "weight": "drawn"}),
        torch=_each(F.multi_margin_loss),
        bad={"p": (0, 3, 1.5, np.nan), "margin": FINITE_MARGIN},
    ),
    "categorical_hinge_loss": Loss((_real, _index), formula=_categorical_hinge),
    "multilabel_margin_loss": Loss((_real, _listed), torch=_each(F.multilabel_margin_loss)),
    "multilabel_soft_margin_loss": Loss(
        (_real, _labels),
        ({}, {"weight": "drawn"}),
        torch=_each(F.multilabel_soft_margin_loss),
    ),
    "poly1_cross_entropy": Loss(
        (_real, _index),
        ({}, {"epsilon": -0.5}, {"epsilon": 0.0}),
        formula=_poly1,
        bad={"epsilon": (np.nan, np.inf)},
    ),
    "generalized_cross_entropy": Loss(
        (_probabilities, _index),
        ({}, {"q": 0.1}, {"q": 1.0}),
        formula=_generalized,
        bad={"q": (*POSITIVE, 1.5)},
    ),
    "sparsemax_loss": Loss((_real, _index), formula=_sparsemax),
    "ranking_softmax_loss": Loss(
        (_real, _relevances), formula=lambda z, y: -(y * F.log_softmax(z, -1)).sum(-1)
    ),
    # ---- Angles and distances
    "cosine_similarity_loss": Loss((_real, _real), formula=_cosine_similarity),
    "cosine_embedding_loss": Loss(
        (_real, _real, _side),
        ({}, {"margin": 0.4}, {"margin": -0.5}),
        torch=_each(F.cosine_embedding_loss),
        bad={"margin": FINITE_MARGIN},
    ),
    "triplet_margin_loss": Loss(
        (_real, _real, _real),
        (
            {},
            {"p": 1.0},
            {"p": 3.0},
            {"swap": True},
            {"p": np.inf},
            {"margin": 4.0, "swap": True, "p": 1.0},
        ),
        torch=_each(F.triplet_margin_loss),
        bad={"margin": (*POSITIVE, np.inf), "p": POSITIVE, "eps": (-1.0, np.nan)},
    ),
    # ---- Boxes
    **{
        name: Loss((_boxes, _boxes), ({}, {"eps": 0.5}), formula=peer, bad={"eps": POSITIVE})
        for name, peer in (
            ("generalized_box_iou_loss", _generalized_box),
            ("distance_box_iou_loss", _distance_box),
            ("complete_box_iou_loss", _complete_box),
        )
    },
}

#: Losses with a factor that is constant to the gradient, which is not the value's derivative then.
CONSTANT_FACTOR = {"complete_box_iou_loss"}

#: Forms of a loss whose target is of another kind.
FORMS: dict[str, Loss] = {
    "categorical_hinge_loss": Loss((_real, _one_hot), formula=_categorical_hinge),
    "generalized_cross_entropy": Loss(
        (_probabilities, _distribution), ({}, {"q": 0.1}, {"q": 1.0}), formula=_generalized
    ),
    "poly1_cross_entropy": Loss((_real, _distribution), ({"epsilon": 1.0},), formula=_poly1),
}


@dataclass(frozen=True)
class Case:
    """A loss with one set of its options."""

    name: str
    loss: Loss
    options: dict[str, Any]
    form: str = ""

    def __str__(self) -> str:
        parts = (f"{name}_{value}" for name, value in self.options.items())
        return "-".join([self.name, *([self.form] if self.form else []), *parts])

    @property
    def formula(self) -> Formula:
        return ROWWISE[self.name]

    @property
    def argnums(self) -> tuple[int, ...]:
        """The positions of the differentiable arguments."""
        return tuple(map(self.formula.arguments.index, self.formula.differentiable))

    def draw(
        self, shape: Shape, dtype: DTypeLike, rng: np.random.Generator
    ) -> tuple[list[Array], dict[str, Any]]:
        """Arrays whose rows lie on the last axis, and the options.

        Rows have the shape's length, but those of a loss that takes no other than its own.
        """
        arrays = [draw(rng, shape) for draw in self.loss.draws]
        arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]
        options = {
            name: rng.uniform(0.2, 2, size=shape[-1]).astype(dtype) if x == "drawn" else x
            for name, x in self.options.items()
        }
        return arrays, options

    def laid_out(self, arrays: list[Array]) -> list[Array]:
        """The rows where the loss expects them: classes on the axis 1."""
        if not self.formula.of_classes:
            return arrays
        ndim = arrays[0].ndim
        return [np.moveaxis(x, -1, 1) if x.ndim == ndim > 1 else x for x in arrays]


CASES = (
    *(Case(name, loss, options) for name, loss in LOSSES.items() for options in loss.options),
    *(
        Case(name, loss, options, loss.draws[1].__name__.strip("_"))
        for name, loss in FORMS.items()
        for options in loss.options
    ),
)
