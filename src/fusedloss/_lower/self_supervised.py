"""Losses of two views of a batch, which are statistics of the features over its rows.

Features are what a kernel of pairs takes for embeddings: their dot products are covariances or
correlations, of which it holds some rows at a time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower import pairs
from fusedloss._lower.loss import quietly
from fusedloss._types import Array


class Views(NamedTuple):
    """A checked call of a loss of two views."""

    given: dict[str, Any]
    views: tuple[Array, Array]
    options: tuple[float, ...]
    num_threads: int | None

    def reals(self) -> list[Array]:
        """Return the views in the type that is computed in."""
        dtype = _check.compute_dtype(self.views[0])
        return [np.asarray(view, dtype) for view in self.views]


def of_views(
    embeddings: Any, ref_embeddings: Any, options: tuple[float, ...], num_threads: Any
) -> Views:
    """Return a checked call."""
    given = {"embeddings": embeddings, "ref_embeddings": ref_embeddings}
    a = pairs.embeddings_of("embeddings", embeddings)
    b = pairs.reference_of("ref_embeddings", ref_embeddings, "embeddings", a)
    if len(a) != len(b):
        raise ValueError(
            f"ref_embeddings has {len(b)} rows: expected {len(a)}, as many as embeddings"
        )
    if len(a) < 2:
        raise ValueError(f"embeddings has {len(a)} rows: expected at least 2, to have a variance")
    return Views(given, (a, b), options, _check.num_threads(num_threads))


class _Places:
    """Which gradients of a call are wanted, and where they go."""

    def __init__(
        self, call: Views, gradient: bool | tuple[int, ...], grad_output: Any, out: Any
    ) -> None:
        self.factor = 1.0
        if grad_output is not None:
            self.factor = _check.scalar_cotangent(grad_output, "a loss of two views")
        self.operands = {name: np.asarray(x) for name, x in call.given.items()}
        inputs = call.given | {"grad_output": grad_output}
        self.wanted, self.places = _check.gradient_places(gradient, out, self.operands, inputs)
        self.single = not isinstance(gradient, tuple)

    def delivered(self, value: float, slopes: dict[int, Array]) -> Any:
        """Return the value, with the gradients if any are wanted, which are made of `slopes`."""
        if not self.wanted:
            return value
        operands = list(self.operands.values())
        of = [operands[k] for k in self.wanted]
        made = tuple(slopes[k] for k in self.wanted)
        if self.factor != 1:
            for x in made:
                np.multiply(x, self.factor, out=x)
        is_plain = all(x.dtype == operand.dtype for x, operand in zip(made, of, strict=True))
        if is_plain and all(place is None for place in self.places):
            gradients = made
        else:
            gradients = _check.delivered(made, of, self.places, made[0].dtype)
        return value, gradients[0] if self.single else gradients


def _centered(x: Array) -> Array:
    centered: Array = x - x.mean(axis=0, dtype=np.float64).astype(x.dtype)
    return centered


def _squares(x: Array) -> Array:
    """Return the sums of squares of features, (D,), in float64."""
    sums: Array = np.square(x).sum(axis=0, dtype=np.float64)
    return sums


def _squared_products(
    views: tuple[Array, Array | None],
    pull: float,
    push: float,
    wanted: tuple[int, ...],
    num_threads: int | None,
) -> tuple[float, dict[int, Array]]:
    """Return pull (1 - s)^2 of the products of the same feature and push s^2 of the others, summed.

    Views and gradients are (N, D). Of one view, what a feature's product with itself is counts
    nothing.
    """
    x, y = views[0].T, None if views[1] is None else views[1].T
    numbers = np.arange(len(x))
    call = pairs.PairCall(
        loss="squared_correlations",
        given={"x": x, "y": y},
        embeddings=x,
        reference=y,
        labels=numbers,
        reference_labels=None if y is None else numbers,
        sample_weight=None,
        parameters=(pull, push),
        distance=_core.DOT_PRODUCT,
        normalize=False,
        reduction="sum",
        nonzero=False,
        num_threads=num_threads,
        differentiable=("x", "y"),
    )
    if not wanted:
        return _core.pairwise(call), {}
    like = views[0]
    made = tuple(_core.new_array(like.shape, like.dtype) for _ in wanted)
    value, _ = _core.pairwise(call, wanted, None, tuple(gradient.T for gradient in made))
    return value, dict(zip(wanted, made, strict=True))


@quietly
def vicreg(
    call: Views,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient); of a tuple of arguments, a tuple of gradients."""
    places = _Places(call, gradient, grad_output, out)
    invariance, variance, covariance, eps = call.options
    views = call.reals()
    rows, features = views[0].shape
    apart = views[0] - views[1]
    value = invariance * float(_squares(apart).sum()) / apart.size
    slopes = {k: (1 - 2 * k) * (2 * invariance / apart.size) * apart for k in places.wanted}
    for k, view in enumerate(views):
        x = _centered(view)
        deviation = np.sqrt(_squares(x) / (rows - 1) + eps)
        value += variance / 2 * float(np.maximum(1 - deviation, 0).mean())
        is_wanted = k in places.wanted
        scale = 1 / math.sqrt(rows - 1)
        np.multiply(x, scale, out=x)
        if covariance:
            total, made = _squared_products(
                *((x, None), 0.0, covariance / features),
                *((0,) if is_wanted else (), call.num_threads),
            )
            value += total
            if is_wanted:
                slopes[k] += np.multiply(made[0], scale, out=made[0])
        if is_wanted:
            # The root has no derivative at 0, where there is no deviation to scale.
            is_short = (deviation < 1) & (deviation > 0)
            factor = -variance / 2 / features * scale
            by_x = np.divide(factor, deviation, out=np.zeros_like(deviation), where=is_short)
            by_x = np.where(np.isnan(deviation), np.nan, by_x).astype(x.dtype)
            slopes[k] += np.multiply(x, by_x, out=x)
    return places.delivered(value, slopes)


@quietly
def barlow_twins(
    call: Views,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any:
    """Value, or (value, gradient); of a tuple of arguments, a tuple of gradients."""
    places = _Places(call, gradient, grad_output, out)
    lambd, eps = call.options
    units, scales = [], []
    for view in call.reals():
        x = _centered(view)
        norm = np.sqrt(_squares(x) + eps * len(x))
        # A feature that is constant has no correlation, and no gradient.
        scale = np.where(norm == 0, 0, 1 / norm).astype(x.dtype)
        units.append(np.multiply(x, scale, out=x))
        scales.append(scale)
    value, slopes = _squared_products(
        (units[0], units[1]), 1.0, lambd, places.wanted, call.num_threads
    )
    for k, slope in slopes.items():
        along = (slope * units[k]).sum(axis=0, dtype=np.float64).astype(slope.dtype)
        np.subtract(slope, np.multiply(units[k], along, out=units[k]), out=slope)
        np.multiply(slope, scales[k], out=slope)
    return places.delivered(value, slopes)
