"""Formulas of losses of two views."""

from __future__ import annotations

from typing import Any

from jax import numpy as jnp

from fusedloss._lower.self_supervised import Views
from fusedloss.jax._formulas.elementary import wide


def vicreg(given: Any, call: Views) -> Any:
    """Return VICReg's loss."""
    invariance, variance, covariance, eps = call.options
    views = [given(view) for view in call.views]
    dtype, views = views[0].dtype, [wide(x) for x in views]
    value = invariance * jnp.square(views[0] - views[1]).mean()
    for view in views:
        x = view - view.mean(0)
        square = jnp.square(x).sum(0) / (len(x) - 1) + eps
        deviation = jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
        missing = 1 - deviation
        value += variance / 2 * jnp.where(missing <= 0, 0, missing).mean()
        value += covariance / x.shape[1] * _squares_beside(x.T @ x / (len(x) - 1))
    return value.astype(dtype)


def barlow_twins(given: Any, call: Views) -> Any:
    """Return the loss of Barlow Twins."""
    lambd, eps = call.options
    views = [given(view) for view in call.views]
    dtype, units = views[0].dtype, []
    for view in map(wide, views):
        x = view - view.mean(0)
        square = jnp.square(x).sum(0) + eps * len(x)
        is_constant = square == 0
        scale = jnp.where(is_constant, 0, 1 / jnp.sqrt(jnp.where(is_constant, 1, square)))
        units.append(x * scale)
    correlations = units[0].T @ units[1]
    pulled = jnp.square(1 - jnp.diagonal(correlations)).sum()
    return (pulled + lambd * _squares_beside(correlations)).astype(dtype)


def _squares_beside(x: Any) -> Any:
    """Return the sum of the squares beside the diagonal."""
    return jnp.square(jnp.where(jnp.eye(len(x), dtype=bool), 0, x)).sum()
