"""The losses in JAX."""

from __future__ import annotations

import numpy as np
import pytest

import fusedloss as fl

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402

import fusedloss.jax as fj  # noqa: E402


def test_value_and_gradient() -> None:
    z = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    y = np.array([0, 1, 2, 3, 4, 0])
    value, gradient = jax.jit(jax.value_and_grad(fj.cross_entropy))(z, y)
    of_arrays = fl.value_and_grad(fl.cross_entropy)(z, y)
    assert float(value) == np.float32(of_arrays[0])
    np.testing.assert_array_equal(gradient, of_arrays[1])


def test_a_label_out_of_range_is_nan_where_it_is() -> None:
    z, y = jnp.zeros((3, 5)), jnp.array([0, 7, -100])
    losses = fj.cross_entropy(z, y, reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
    gradient = jax.grad(fj.cross_entropy)(z, y)
    np.testing.assert_array_equal(np.isnan(gradient).all(1), [False, True, False])
    assert np.isfinite(gradient[0]).all()
