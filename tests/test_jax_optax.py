"""`fusedloss.jax.optax` beside optax: the same names, signatures, values, gradients and errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from jax import numpy as jnp  # noqa: E402

from conftest import REPOSITORY  # noqa: E402
from fusedloss.jax import optax as ours  # noqa: E402
from jax_cases import labels, log_softmax, normal, shares, signs  # noqa: E402

own = optax.losses


def names() -> list[str]:
    return [n for n in dir(own) if not n.startswith("_") and callable(getattr(own, n))]


def soft() -> Any:
    return np.exp(log_softmax(normal(4, 6)))


#: Calls: a loss, its arguments, options.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("softmax_cross_entropy", (normal(4, 6), soft()), {}),
    ("softmax_cross_entropy", (normal(3, 6, 2), shares(3, 6, 2)), {"axis": 1}),
    ("softmax_cross_entropy", (normal(4, 6), soft()), {"axis": 0}),
    ("softmax_cross_entropy", (normal(4, 6), soft()), {"where": normal(4, 6) > -1}),
    ("softmax_cross_entropy", (normal(6), shares(6)), {}),
    ("softmax_cross_entropy_with_integer_labels", (normal(4, 6), labels(4)), {}),
    ("softmax_cross_entropy_with_integer_labels", (normal(4, 6), labels(4) - 6), {}),
    ("softmax_cross_entropy_with_integer_labels", (normal(3, 6, 2), labels(3, 2)), {"axis": 1}),
    ("softmax_cross_entropy_with_integer_labels", (normal(2, 3, 4), labels(2)), {"axis": (1, 2)}),
    (
        "softmax_cross_entropy_with_integer_labels",
        (normal(4, 6), labels(4) * 0),
        {"where": (normal(4, 6) > 0) | (np.arange(6) == 0)},
    ),
    ("poly_loss_cross_entropy", (normal(4, 6), soft()), {}),
    ("poly_loss_cross_entropy", (normal(4, 6), shares(4, 6)), {"epsilon": -1.0, "axis": 0}),
    ("safe_softmax_cross_entropy", (normal(4, 6), soft()), {}),
    ("sigmoid_binary_cross_entropy", (normal(4, 6), shares(4, 6)), {}),
    ("sigmoid_binary_cross_entropy", (normal(4, 6), labels(4, 1, classes=2)), {}),
    ("sigmoid_focal_loss", (normal(4, 6), shares(4, 6)), {}),
    ("sigmoid_focal_loss", (normal(4, 6), shares(4, 6)), {"alpha": 0.3, "gamma": 1.5}),
    ("hinge_loss", (normal(8), signs(8)), {}),
    ("perceptron_loss", (normal(8), signs(8)), {}),
    ("sparsemax_loss", (normal(8), labels(8, classes=2)), {}),
    ("multiclass_hinge_loss", (normal(4, 6), labels(4)), {}),
    ("multiclass_perceptron_loss", (normal(4, 6), labels(4)), {}),
    ("multiclass_sparsemax_loss", (normal(4, 6), labels(4)), {}),
    ("kl_divergence", (log_softmax(normal(4, 6)), soft()), {}),
    ("kl_divergence", (log_softmax(normal(4, 6)), soft()), {"axis": (0, 1)}),
    ("kl_divergence", (log_softmax(normal(4, 6)), soft()), {"where": normal(4, 6) > 0}),
    ("kl_divergence_with_log_targets", (log_softmax(normal(4, 6)), log_softmax(normal(4, 6))), {}),
    ("generalized_kl_divergence", (log_softmax(normal(4, 6)), soft()), {"axis": 0}),
    ("convex_kl_divergence", (log_softmax(normal(4, 6)), soft()), {}),
    ("squared_error", (normal(4, 6), normal(4, 6)), {}),
    ("squared_error", (normal(4, 6),), {}),
    ("l2_loss", (normal(4, 6), normal(4, 6)), {}),
    ("huber_loss", (3 * normal(4, 6), normal(4, 6)), {"delta": 0.7}),
    ("huber_loss", (normal(4, 6), normal(6)), {}),
    ("log_cosh", (3 * normal(4, 6), normal(4, 6)), {}),
    ("cosine_similarity", (normal(4, 6), normal(4, 6)), {}),
    ("cosine_similarity", (normal(4, 6), normal(4, 6)), {"epsilon": 1e-3, "axis": 0}),
    ("cosine_distance", (normal(4, 6), normal(4, 6)), {"axis": 0}),
    ("ranking_softmax_loss", (normal(4, 6), shares(4, 6)), {}),
    ("ranking_softmax_loss", (normal(4, 6), shares(4, 6)), {"reduce_fn": None}),
    ("ranking_softmax_loss", (normal(4, 6), shares(4, 6)), {"weights": shares(4, 6)}),
    ("ranking_softmax_loss", (normal(4, 6), shares(4, 6)), {"where": normal(4, 6) > -1}),
    ("ntxent", (normal(6, 8), np.array([0, 1, 2, 0, 1, 2])), {}),
    ("ntxent", (normal(6, 8), np.array([0, 1, 2, 0, 1, 2])), {"temperature": 0.5}),
    ("triplet_margin_loss", (shares(4, 6), shares(4, 6), shares(4, 6)), {}),
    ("smooth_labels", (shares(4, 6), 0.1), {}),
    ("dice_loss", (normal(2, 4, 3), np.eye(3, dtype=np.float32)[labels(2, 4, classes=3)]), {}),
    (
        "multiclass_generalized_dice_loss",
        (normal(2, 4, 3), np.eye(3, dtype=np.float32)[labels(2, 4, classes=3)]),
        {},
    ),
    ("binary_dice_loss", (normal(2, 4), shares(2, 4)), {}),
    (
        "ctc_loss",
        (normal(2, 5, 6), np.zeros((2, 5)), labels(2, 3) + 1, np.zeros((2, 3))),
        {},
    ),
    (
        "ctc_loss_with_forward_probs",
        (normal(2, 5, 6), np.zeros((2, 5)), labels(2, 3) + 1, np.zeros((2, 3))),
        {},
    ),
]

#: Which makes a loss, and is none.
MAKES_LOSSES = {"make_fenchel_young_loss"}


def test_every_loss_of_optax_is_there_and_called() -> None:
    assert set(ours.__all__) == set(names())
    assert {name for name, _, _ in CALLS} | MAKES_LOSSES == set(names())


@pytest.mark.parametrize("name", names())
def test_parameters_are_optax_s(name: str) -> None:
    def parameters(f: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
        return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]

    assert parameters(getattr(ours, name)) == parameters(getattr(own, name))


@pytest.mark.parametrize(("name", "given", "options"), CALLS, ids=[c[0] for c in CALLS])
def test_values_and_gradients(name: str, given: Any, options: dict[str, Any]) -> None:
    given = tuple(map(jnp.asarray, given))
    floats = tuple(i for i, x in enumerate(given) if x.dtype == jnp.float32 and x.ndim)

    def of(module: Any) -> Any:
        def total(*arrays: Any) -> Any:
            loss = jax.tree.leaves(getattr(module, name)(*arrays, **options))[0]
            return (loss * jnp.linspace(0.5, 1.5, loss.size).reshape(loss.shape)).sum(), loss

        return jax.jit(jax.value_and_grad(total, floats, has_aux=True))(*given)

    (_, actual), gradients = of(ours)
    (_, expected), expected_gradients = of(own)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    # both are of float32; optax's subtractions lose a few digits
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)
    for x, y in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_errors_are_optax_s() -> None:
    z, y = jnp.zeros((2, 3)), jnp.zeros((3, 2))
    for name in ("softmax_cross_entropy", "squared_error", "hinge_loss"):
        messages = []
        for module in (ours, own):
            with pytest.raises((TypeError, ValueError)) as found:
                getattr(module, name)(z, y)
            messages.append((found.type, str(found.value)))
        assert messages[0] == messages[1]


def test_the_page_lists_every_loss() -> None:
    page = REPOSITORY / "docs" / "guides" / "optax.md"
    if not page.exists():
        pytest.skip("this copy has no documentation")
    rows = re.findall(r"^\| `(\w+)` \| (yes)? ?\|", page.read_text(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(names())
    with_kernels = {name for name in names() if getattr(ours, name) is not getattr(own, name)}
    assert {name for name, kernel in rows if kernel} == with_kernels
