"""Calls of margin-softmax heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fusedloss._check.labels import (
    class_indices,
    class_target,
    mask,
    weight_of_classes,
    weight_of_samples,
)
from fusedloss._check.linear_layer import LinearCall, Margin
from fusedloss._check.operands import (
    MOST_DIMENSIONS,
    as_array,
    as_prediction,
    compute_dtype,
    plain_prediction,
)
from fusedloss._check.options import (
    MOST_GAMMA,
    in_range,
    integer,
    not_negative,
    num_threads,
    number,
    positive,
    reduction,
    workspace_size,
)
from fusedloss._lower.loss import quietly
from fusedloss._types import Array, Extras

GRADIENTS = ("analytic", "detached")


# ---- Margins: a value that no angle or cosine can reach is an error -----------------------------


def angle(name: str, x: Any, least: float = -math.pi) -> float:
    """Return a margin in radians; more than pi is an error, and may have been meant in degrees."""
    value = number(name, x)
    if not least <= value <= math.pi:
        lowest = "-pi" if least else "0"
        hint = f"; {value:g} degrees are {math.radians(value):.4f}" if value > math.pi else ""
        raise ValueError(f"{name} is {value}: expected radians from {lowest} to pi{hint}")
    return value


def cosine_margin(name: str, x: Any) -> float:
    """Return a margin of a cosine; more than 2, the largest difference of cosines, is an error."""
    return in_range(name, x, -2, 2)


def factor(name: str, x: Any) -> float:
    """Return the factor that multiplies an angle, which may then exceed pi."""
    value = number(name, x)
    if not 1 <= value < math.inf:
        raise ValueError(f"{name} is {value}: expected a factor of at least 1")
    return value


def whole_factor(name: str, x: Any) -> float:
    """Return the factor of an angle that must be an integer."""
    value = number(name, x)
    if not (value >= 1 and value.is_integer()):
        raise ValueError(f"{name} is {value}: expected a positive integer")
    return value


def three_margins(m1: Any, m2: Any, m3: Any) -> tuple[float, float, float]:
    """Return the margins of cos(m1 theta + m2) - m3."""
    return positive("m1", m1), angle("m2", m2), cosine_margin("m3", m3)


def norm_margins(
    l_a: Any, u_a: Any, l_margin: Any, u_margin: Any, lambda_g: Any
) -> tuple[float, ...]:
    """Return the parameters of a margin that grows with the embedding's norm."""
    least, most = positive("l_a", l_a), positive("u_a", u_a)
    if not least < most:
        raise ValueError(f"l_a is {least} and u_a {most}: expected l_a < u_a")
    low, high = angle("l_margin", l_margin, 0), angle("u_margin", u_margin, 0)
    if not low <= high:
        raise ValueError(f"l_margin is {low} and u_margin {high}: expected l_margin <= u_margin")
    return least, most, low, high, not_negative("lambda_g", lambda_g)


def sample_share(name: str, x: Any) -> float:
    """Return the share of classes to train on."""
    value = number(name, x)
    if not 0 < value <= 1:
        raise ValueError(f"{name} is {value}: expected a number greater than 0 and up to 1")
    return value


# ---- Calls ---------------------------------------------------------------------------------------


def margin_head(
    given: dict[str, Any],
    margin: Margin,
    reduction_name: Any,
    ignore_index: Any,
    label_smoothing: Any,
    focal_gamma: Any,
    workspace: Any,
    threads: Any,
) -> LinearCall:
    """Check a call of a margin-softmax head, except its margin; `given` holds its arrays.

    They hold embeddings and weight, or the cosine of both.
    """
    smoothing = in_range("label_smoothing", label_smoothing, 0, 1)
    focusing = in_range("focal_gamma", focal_gamma, 0, MOST_GAMMA)
    if smoothing and focusing:
        raise ValueError(
            f"focal_gamma is {focusing} and label_smoothing {smoothing}: expected one of them to "
            "be 0"
        )
    weight = None
    if "cosine" in given:
        x = plain_prediction("cosine", given["cosine"])
        if not 0 < x.ndim <= MOST_DIMENSIONS + 1 or x.shape[-1] == 0:
            raise ValueError(
                f"cosine has shape {x.shape}: expected (..., classes), at most "
                f"{MOST_DIMENSIONS + 1} dimensions and at least one class"
            )
        classes = x.shape[-1]
    else:
        x, weight = _embeddings(given["embeddings"], given["weight"], margin.centers)
        classes = len(weight) // margin.centers
    logits = np.broadcast_to(np.zeros((), x.dtype), (*x.shape[:-1], classes))
    w, s, where = given["class_weight"], given["sample_weight"], given.get("where")
    return LinearCall(
        given=given,
        input=x,
        weight=weight,
        target=class_target(given["target"], logits, x.ndim - 1, 0),
        bias=None,
        class_weight=None if w is None else weight_of_classes("class_weight", w, x, classes),
        sample_weight=None if s is None else weight_of_samples(s, x, x.shape[:-1]),
        reduction=reduction(reduction_name),
        ignore_index=integer("ignore_index", ignore_index),
        label_smoothing=smoothing,
        extras=Extras(gamma=focusing),
        shift=0,
        precision="highest",
        workspace=workspace_size(workspace),
        num_threads=num_threads(threads),
        compute_dtype=compute_dtype(x),
        names=("cosine" if weight is None else "embeddings", "weight", ""),
        margin=margin,
        where=None if where is None else mask(where, x.shape[:-1]),
    )


def cosine_head(
    given: dict[str, Any], reduction_name: Any, ignore_index: Any, workspace: Any, threads: Any
) -> LinearCall:
    """Check a call of a head that has no softmax, and its class indices."""
    of_class = {"class_weight": None}
    resources = (workspace, threads)
    call = margin_head(
        given | of_class, Margin(""), reduction_name, ignore_index, 0.0, 0.0, *resources
    )
    assert call.weight is not None
    counted = call.target if call.where is None else np.where(call.where, call.target, 0)
    class_indices("target", counted, len(call.weight), call.ignore_index)
    return call._replace(margin=None)


def _embeddings(embeddings: Any, weight: Any, centers: int) -> tuple[Array, Array]:
    x, w = plain_prediction("embeddings", embeddings), plain_prediction("weight", weight)
    if w.ndim != 2 or 0 in w.shape or len(w) % centers:
        rows = "classes" if centers == 1 else f"classes * {centers}"
        raise ValueError(f"weight has shape {w.shape}: expected ({rows}, features), none of them 0")
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"embeddings has shape {x.shape}: expected (..., {w.shape[1]}), the features of weight "
            f"of shape {w.shape}"
        )
    if x.ndim > MOST_DIMENSIONS + 1:
        raise ValueError(
            f"embeddings has {x.ndim} dimensions: expected at most {MOST_DIMENSIONS + 1}"
        )
    if w.dtype != x.dtype:
        raise TypeError(f"weight has dtype {w.dtype}: expected {x.dtype}, that of embeddings")
    return x, w


def embeddings_of_classes(embeddings: Any, weight: Any, target: Any) -> tuple[Array, Array, Array]:
    """Return embeddings, class weights and class indices, all of them in range."""
    x, w = _embeddings(embeddings, weight, 1)
    if x.ndim != 2:
        raise ValueError(f"embeddings has shape {x.shape}: expected (N, {w.shape[1]})")
    logits = np.broadcast_to(np.zeros((), x.dtype), (len(x), len(w)))
    y = class_target(target, logits, 1, 0)
    class_indices("target", y, len(w), None)
    return x, w, y


@quietly
def norm_statistics(
    embeddings: Any,
    target: Any,
    ignore_index: Any,
    sample_weight: Any,
    class_weight: Any,
    where: Any = None,
) -> tuple[float, float]:
    """Return mean and standard deviation of the norms of the embeddings that count.

    What does not fit together is left to `margin_head`.
    """
    x, y = as_prediction("embeddings", embeddings), as_array("target", target)
    if y.shape != x.shape[:-1] or y.dtype.kind not in "iu":
        return 0.0, 0.0
    counted = y != ignore_index
    if where is not None:
        part = as_array("where", where)
        counted &= part if part.shape == y.shape and part.dtype.kind == "b" else True
    if sample_weight is not None:
        weights = as_array("sample_weight", sample_weight)
        counted &= weights != 0 if weights.shape == y.shape else True
    if class_weight is not None:
        weights = as_array("class_weight", class_weight)
        known = counted & (y >= 0) & (y < weights.size)
        counted[known] = weights.reshape(-1)[y[known]] != 0
    rows = x[counted].astype(compute_dtype(x))
    norms = np.clip(np.linalg.norm(rows, axis=-1), 1e-3, 100.0).astype(np.float64)
    if norms.size == 0:
        return 0.0, 0.0
    return float(norms.mean()), float(norms.std(ddof=1)) if norms.size > 1 else 0.0
