"""where= in JAX: kernels and formulas leave out what arrays' functions leave out."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402

import fusedloss as fl  # noqa: E402
import fusedloss.jax as fj  # noqa: E402
from test_where import ELEMENTS, POSITIONS, drawn, of_rows, spoiled, top_k_teacher  # noqa: E402

#: One of each kind of kernel in `make test`, all in `make check`.
FAST = (
    *("cross_entropy", "mse_loss", "multi_margin_loss", "arcface_loss", "linear_cross_entropy"),
    "distillation_loss",
)

NAMES = [
    name if name in FAST else pytest.param(name, marks=pytest.mark.long)
    for name in (*ELEMENTS, *POSITIONS)
    if name != "zero_one_loss"
]


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient(name: str) -> None:
    operands, where, _ = drawn(name, "float32")
    given = [spoiled(x, ~where) if of_rows(name, k) else x for k, x in enumerate(operands)]
    given = [x.astype("int32") if x.dtype.kind == "i" else x for x in given]
    value, gradient = fl.value_and_grad(getattr(fl, name))(*given, where=where)
    loss = partial(getattr(fj, name), where=jnp.asarray(where))
    found, slope = jax.jit(jax.value_and_grad(loss))(*map(jnp.asarray, given))
    np.testing.assert_allclose(found, value, rtol=1e-6)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-7)
    assert np.all(np.asarray(slope)[~where] == 0)


@pytest.mark.parametrize(
    "name", ["cross_entropy", "distillation_loss", "mse_loss", "multi_margin_loss"]
)
def test_formula(name: str) -> None:
    """Second derivatives are of the formula, whose own first ones are the kernel's."""
    operands, where, _ = drawn(name, "float32")
    given = [spoiled(x, ~where) for x in operands]
    first, *others = [jnp.asarray(x.astype("int32") if x.dtype.kind == "i" else x) for x in given]

    def loss(x: Any) -> Any:
        return getattr(fj, name)(x, *others, where=jnp.asarray(where))

    _, along = jax.jit(lambda x: jax.jvp(jax.grad(loss), (x,), (jnp.ones_like(x),)))(first)
    assert np.all(np.isfinite(along))
    assert np.all(np.asarray(along)[~where] == 0)


def test_masks_in_batches() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(4, 9, 5)).astype("f4"), rng.integers(0, 5, (4, 9)).astype("i4")
    where = rng.random((4, 9)) < 0.6
    y[~where] = 50
    values = jax.vmap(lambda z, y, m: fj.cross_entropy(z, y, where=m))(z, y, where)
    expected = [fl.cross_entropy(*each, where=m) for *each, m in zip(z, y, where, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_a_teacher_of_few_classes() -> None:
    rng = np.random.default_rng(0)
    z, where = rng.normal(size=(7, 9, 4)).astype("f4"), rng.random((7, 4)) < 0.6
    _, (indices, log_probs) = top_k_teacher(where)
    teacher = (indices, log_probs.astype("f4"))
    z[~np.broadcast_to(where[:, None], z.shape)] = np.nan
    value, gradient = fl.value_and_grad(fl.distillation_loss)(z, teacher, where=where)
    loss = partial(fj.distillation_loss, where=jnp.asarray(where))
    found, slope = jax.jit(jax.value_and_grad(loss))(z, teacher)
    np.testing.assert_allclose(found, value, rtol=1e-6)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-7)
    _, along = jax.jvp(lambda x: jax.grad(loss)(x, teacher), (z,), (np.ones_like(z),))
    assert np.all(np.isfinite(along))


def test_a_label_out_of_range_that_counts_is_nan() -> None:
    z, y = np.zeros((3, 4), "f4"), np.array([9, 9, 1], "i4")
    where = np.array([True, False, True])
    value = fj.cross_entropy(z, y, where=where, reduction="none")
    np.testing.assert_array_equal(np.isnan(value), [True, False, False])


def test_errors() -> None:
    z, y = np.zeros((3, 4), "f4"), np.zeros(3, "i4")
    with pytest.raises(TypeError, match="where has dtype float32: expected bool"):
        fj.cross_entropy(z, y, where=np.ones(3, "f4"))


def test_entropy_bonus() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(9, 5)).astype("f4"), rng.integers(0, 5, 9).astype("i4")
    z[0, 3:] = -np.inf
    y[0] = 0
    options: dict[str, Any] = {"entropy_bonus": 0.3, "softcap": 5.0}
    value, gradient = fl.value_and_grad(fl.cross_entropy)(z, y, **options)
    found, slope = jax.jit(jax.value_and_grad(partial(fj.cross_entropy, **options)))(z, y)
    np.testing.assert_allclose(found, value, rtol=1e-6)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-7)
    second = jax.hessian(partial(fj.cross_entropy, **options))(jnp.asarray(z[1:]), y[1:])
    assert np.all(np.isfinite(second))
