"""The losses in JAX: every loss under every transformation, and what its derivatives are of.

`test_cells` is the table: a row for each name of `fusedloss.jax`, a column for each
transformation. The losses of `FAST` are in `make test`, all others in `make check`: what takes the
time is XLA's compiler.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
)
jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402
from jax.sharding import PartitionSpec  # noqa: E402

import fusedloss as fl  # noqa: E402
import fusedloss.jax as fj  # noqa: E402
from fusedloss._lower.loss import lookup  # noqa: E402
from jax_cases import arguments  # noqa: E402
from parts import public  # noqa: E402

#: A loss for each kind of kernel call and formula.
FAST = {
    "cross_entropy",
    "focal_loss",
    "binary_cross_entropy",
    "mse_loss",
    "gaussian_nll_loss",
    "triplet_margin_loss",
    "linear_cross_entropy",
    "arcface_loss",
    "supcon_loss",
    "dice_loss",
    "zero_one_loss",
}


#: Which are arrays, and no sums.
ARRAYS = {"softmax", "log_softmax", "logsumexp"}


class Case:
    """A loss as a function of its differentiable arguments, in JAX and of arrays."""

    def __init__(self, name: str, dtype: Any = np.float32) -> None:
        given, self.options = arguments(name)
        record = lookup(getattr(fl, name))
        self.given = jax.tree.map(
            lambda x: x.astype(dtype) if np.asarray(x).dtype == np.float32 else x, given
        )
        self.numbers = tuple(
            record.parameters.index(each)
            for each in record.differentiable
            if record.parameters.index(each) < len(given)
        )
        self.numbers = tuple(
            n for n in self.numbers if not isinstance(self.given[n], float)
            and all(x.dtype.kind != "i" for x in jax.tree.leaves(self.given[n]))
        )  # fmt: skip
        self.by_jax, self.by_arrays = getattr(fj, name), getattr(fl, name)
        self.some = tuple(self.given[n] for n in self.numbers)
        self.factors: Any = None  # of what is no loss: its sum has gradients of rounding alone
        if name in ARRAYS:
            shape = getattr(fl, name)(*self.given).shape
            self.factors = np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape).astype(dtype)

    def __call__(self, *some: Any) -> Any:
        """Return the loss, or the sum of its elements times their factors."""
        value = self.with_others(self.by_jax, some)
        return value if self.factors is None else (value * self.factors).sum()

    def with_others(self, loss: Callable[..., Any], some: tuple[Any, ...]) -> Any:
        every = list(self.given)
        for n, x in zip(self.numbers, some, strict=True):
            every[n] = x
        return loss(*every, **self.options)

    def expected(self) -> tuple[Any, Any]:
        """Return value and gradients of the loss of arrays."""
        if self.factors is not None:
            self.options = {"grad_output": self.factors}
        value, gradients = self.with_others(
            fl.value_and_grad(self.by_arrays, self.numbers), self.some
        )
        self.options.pop("grad_output", None)
        return value if self.factors is None else np.sum(value * self.factors), gradients


def close(actual: Any, expected: Any, rtol: float, atol: float = 0.0) -> None:
    for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        np.testing.assert_allclose(x, y, rtol, atol + rtol * float(np.abs(y).max(initial=0)))


def with_value(case: Case) -> Callable[..., Any]:
    return jax.value_and_grad(case, tuple(range(len(case.some))))


def of_jit(case: Case) -> None:
    # The same kernels: what differs is the float32 of the value, and sums of contractions.
    close(jax.jit(with_value(case))(*case.some), case.expected(), 1e-5)


def of_grad(case: Case) -> None:
    # by way of jvp's transpose, twice the loss
    gradients = jax.grad(lambda *x: 2 * case(*x), tuple(range(len(case.some))))(*case.some)
    close(gradients, jax.tree.map(lambda x: 2 * x, case.expected()[1]), 1e-5)


def of_vmap(case: Case) -> None:
    first = jax.tree.map(lambda x: np.stack([x, 0.5 * x]), case.some)
    values, gradients = jax.vmap(with_value(case))(*first)
    for i in range(2):
        case.some = jax.tree.map(lambda x, i=i: x[i], first)
        close((values[i], jax.tree.map(lambda x, i=i: x[i], gradients)), case.expected(), 1e-5)


def of_jvp(case: Case) -> None:
    value, tangent = jax.jvp(case, case.some, case.some)
    expected, gradients = case.expected()
    products = jax.tree.map(lambda g, x: (g.astype(np.float64) * x).sum(), gradients, case.some)
    sizes = jax.tree.map(lambda g, x: np.abs(g * x).sum(), gradients, case.some)
    close(value, expected, 1e-5)
    # a sum of products, of either sign, in float32
    close(tangent, sum(jax.tree.leaves(products)), 1e-5, 1e-6 * sum(jax.tree.leaves(sizes)))


def of_hessian(case: Case) -> None:
    """H v by forward over reverse is that by reverse over forward, and symmetric."""
    numbers = tuple(range(len(case.some)))
    rng = np.random.default_rng(0)
    u, v = (
        jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), case.some)
        for _ in range(2)
    )

    @jax.jit
    def products(u: Any, v: Any) -> Any:
        def along(direction: Any) -> Any:
            return jax.jvp(jax.grad(case, numbers), case.some, direction)[1]

        def dot(a: Any, b: Any) -> Any:
            return sum((x * y).sum() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))

        def slope(*some: Any) -> Any:
            return jax.jvp(case, some, v)[1]

        return dot(u, along(v)), dot(v, along(u)), dot(u, jax.grad(slope, numbers)(*case.some))

    one, other, mixed = products(u, v)
    # sums of some hundred products in float32, of either sign
    close((other, mixed), (one, one), 1e-3, 1e-4)


def of_bfloat16(case: Case) -> None:
    value, gradients = with_value(case)(*case.some)
    assert value.dtype == jnp.bfloat16
    assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(gradients))
    # a rounding of the value, and of the gradients another one in sums
    close((value, gradients), case.expected(), 2**-7)


def devices() -> Any:
    return jax.make_mesh((2,), ("device",), axis_types=(jax.sharding.AxisType.Auto,))


def of_shard_map(case: Case) -> None:
    """Every device has all of it: what a loss with a batch axis of its own may be called on."""
    mesh = devices()
    spec = PartitionSpec()
    function = jax.shard_map(with_value(case), mesh=mesh, in_specs=spec, out_specs=spec)
    close(jax.jit(function)(*case.some), case.expected(), 1e-5)


COLUMNS: dict[str, Callable[[Case], None]] = {
    "jit": of_jit,
    "vmap": of_vmap,
    "grad": of_grad,
    "jvp": of_jvp,
    "hessian": of_hessian,
    "bfloat16": of_bfloat16,
    "shard_map": of_shard_map,
}


def cells() -> list[Any]:
    return [
        pytest.param(name, column, marks=() if name in FAST else pytest.mark.long)
        for name in public(fj)
        for column in COLUMNS
    ]


@pytest.mark.parametrize(("name", "column"), cells())
def test_cells(name: str, column: str) -> None:
    case = Case(name, jnp.bfloat16 if column == "bfloat16" else np.float32)
    COLUMNS[column](case)


def test_every_loss_has_a_row() -> None:
    of_arrays = {n for n in fl.__all__ if hasattr(getattr(fl, n), "__fusedloss__")}
    assert set(public(fj)) == of_arrays


# ---- Class indices out of range -----------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_a_label_out_of_range_is_nan_where_it_is(compiled: bool) -> None:
    z, y = jnp.zeros((3, 5)), jnp.array([0, 7, -100])
    transform = jax.jit if compiled else lambda f: f
    losses = transform(partial(fj.cross_entropy, reduction="none"))(z, y)
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
    gradient = transform(jax.grad(fj.cross_entropy))(z, y)
    np.testing.assert_array_equal(np.isnan(gradient).all(1), [False, True, False])
    assert np.isfinite(gradient[0]).all()
    assert (gradient[2] == 0).all()


def test_a_label_out_of_range_of_a_head() -> None:
    x, w, y = jnp.ones((3, 4)), jnp.eye(5, 4), jnp.array([0, 9, 2])
    by_input, by_weight = jax.grad(fj.linear_cross_entropy, (0, 1))(x, w, y)
    np.testing.assert_array_equal(np.isnan(by_input).all(1), [False, True, False])
    assert np.isfinite(by_input[0]).all()
    assert np.isnan(by_weight).all()


def test_a_label_out_of_range_through_python_is_nan() -> None:
    z, y = jnp.zeros((1, 3, 2, 2)), jnp.full((1, 2, 2), 9)
    value, gradient = jax.jit(jax.value_and_grad(fj.dice_loss))(z, y)
    assert np.isnan(value)
    assert np.isnan(gradient).all()


def test_a_value_outside_of_the_domain_is_nan() -> None:
    probs, target = jnp.array([0.5, 1.5]), jnp.array([1.0, 1.0])
    losses = fj.binary_cross_entropy(probs, target, reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [False, True])


# ---- What else programs do ----------------------------------------------------------------------


def test_value_and_gradient_are_the_kernels_bits() -> None:
    z, y = arguments("cross_entropy")[0]
    value, gradient = jax.jit(jax.value_and_grad(fj.cross_entropy))(z, y)
    of_arrays = fl.value_and_grad(fl.cross_entropy)(z, y)
    assert float(value) == np.float32(of_arrays[0])
    np.testing.assert_array_equal(gradient, of_arrays[1])


def test_one_custom_call_for_value_and_gradient() -> None:
    z, y = arguments("cross_entropy")[0]
    text = jax.jit(jax.value_and_grad(fj.cross_entropy)).lower(z, y).as_text()
    assert text.count("@fusedloss_call") == 1
    assert "callback" not in text


def test_a_vmap_is_one_custom_call() -> None:
    z, y = arguments("cross_entropy")[0]
    text = jax.jit(jax.vmap(jax.grad(fj.cross_entropy))).lower(z, y).as_text()
    assert text.count("@fusedloss_call") == 1
    assert "while" not in text


def test_donated_logits() -> None:
    z, y = arguments("cross_entropy")[0]
    step = jax.jit(lambda z, y: z - jax.grad(fj.cross_entropy)(z, y), donate_argnums=0)
    expected = z - fl.value_and_grad(fl.cross_entropy)(z, y)[1]
    np.testing.assert_allclose(step(jnp.asarray(z), y), expected, rtol=1e-6)


def test_scan() -> None:
    z, y = arguments("cross_entropy")[0]

    def step(z: Any, _: Any) -> Any:
        value, gradient = jax.value_and_grad(fj.cross_entropy)(z, y)
        return z - gradient, value

    values = jax.jit(lambda z: jax.lax.scan(step, z, None, length=4))(jnp.asarray(z))[1]
    assert (np.diff(values) < 0).all()


def test_positions_of_shards() -> None:
    """Each device has half of the positions; a mean is of both."""
    z, y = arguments("cross_entropy")[0]
    rows = PartitionSpec("device")

    def total(z: Any, y: Any) -> Any:
        return jax.lax.psum(fj.cross_entropy(z, y, reduction="sum"), "device")

    loss = jax.shard_map(total, mesh=devices(), in_specs=(rows, rows), out_specs=PartitionSpec())
    close(jax.jit(loss)(z, y), fl.cross_entropy(z, y, reduction="sum"), 1e-6)


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("name", ["linear_cross_entropy", "arcface_loss", "dice_loss", "mse_loss"])
def test_gradients_of_shards(name: str, checked: bool) -> None:
    """Devices have some positions each, and all weights, whose gradient is a sum over devices.

    `check_vma` lets JAX add that sum; without it the caller does.
    """
    case = Case(name)
    case.options |= {"reduction": "sum"}
    if name == "mse_loss":
        case.numbers, case.some = (0,), case.some[:1]
    rows, whole = PartitionSpec("device"), PartitionSpec()
    specs = tuple(
        whole if n == 1 and name.startswith(("linear", "arc")) else rows
        for n in range(len(case.given))
    )
    some = tuple(specs[n] for n in case.numbers)

    def total(given: Any, *some: Any) -> Any:
        every = list(given)
        for n, x in zip(case.numbers, some, strict=True):
            every[n] = x
        return case.by_jax(*every, **case.options)

    def step(given: Any, *some: Any) -> Any:
        value, gradients = jax.value_and_grad(
            lambda *x: (
                total(given, *x) if not checked else jax.lax.psum(total(given, *x), "device")
            ),
            tuple(range(len(some))),
        )(*some)
        if not checked:
            value = jax.lax.psum(value, "device")
            gradients = tuple(
                jax.lax.psum(g, "device") if specs[n] == whole else g
                for n, g in zip(case.numbers, gradients, strict=True)
            )
        return value, gradients

    function = jax.shard_map(
        step,
        mesh=devices(),
        in_specs=(specs, *some),
        out_specs=(whole, some),
        check_vma=checked,
    )
    close(jax.jit(function)(case.given, *case.some), case.expected(), 1e-5)


def test_export_names_the_target() -> None:
    from jax import export

    z, y = arguments("cross_entropy")[0]
    loss = jax.jit(fj.cross_entropy)
    with pytest.raises(ValueError, match="fusedloss_call"):
        export.export(loss)(z, y)
    allowed = [export.DisabledSafetyCheck.custom_call("fusedloss_call")]
    exported = export.export(loss, disabled_checks=allowed)(z, y)
    again = export.deserialize(exported.serialize())
    close(again.call(z, y), fl.cross_entropy(z, y), 1e-6)


@pytest.mark.parametrize(
    "name", ["cross_entropy", "mse_loss", "linear_cross_entropy", "supcon_loss"]
)
def test_gradients_of_each_loss(name: str) -> None:
    """Those by arguments with a part in several losses are the formula's, others the kernel's."""
    case = Case(name)
    case.options = {"reduction": "none"}
    losses = case.with_others(case.by_arrays, case.some)
    factors = np.linspace(-1, 1, losses.size).reshape(losses.shape).astype(np.float32)
    expected = case.with_others(
        partial(fl.value_and_grad(case.by_arrays, case.numbers), grad_output=factors), case.some
    )[1]

    def total(*some: Any) -> Any:
        return (factors * case.with_others(case.by_jax, some)).sum()

    gradients = jax.jit(jax.grad(total, tuple(range(len(case.some)))))(*case.some)
    close(gradients, expected, 2e-5)  # of the formula: a few roundings of float32


def test_gradients_by_weights_are_the_formulas() -> None:
    z, y = arguments("cross_entropy")[0]
    v = np.linspace(0.5, 1.5, len(y), dtype=np.float32)
    gradient = jax.grad(lambda v: fj.cross_entropy(z, y, sample_weight=v, reduction="sum"))(v)
    close(gradient, fl.cross_entropy(z, y, reduction="none"), 1e-5)


@pytest.mark.parametrize(
    "name", ["distillation_loss", "soft_cross_entropy", "linear_distillation_loss"]
)
def test_a_traced_temperature_is_differentiable(name: str) -> None:
    given, _ = arguments(name)

    def loss(temperature: Any) -> Any:
        return getattr(fj, name)(*given, temperature=temperature)

    value, slope = jax.jit(jax.value_and_grad(loss))(2.0)
    wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in given]
    function = getattr(fl, name)
    h = 1e-4
    around = [function(*wide, temperature=2 + step) for step in (-h, h)]
    close(value, function(*wide, temperature=2.0), 2e-5)
    close(slope, np.diff(around)[0] / (2 * h), 1e-4)  # of float32, with differences of logits
    by_first = jax.jit(
        jax.grad(jax.grad(lambda z, t: getattr(fj, name)(z, *given[1:], temperature=t).sum(), 1))
    )(given[0], 2.0)
    assert np.abs(by_first).max() > 0


@pytest.mark.parametrize("listed", [None, ([0, 2, 5], [1, 3, 4], [2, 0, 6])])
def test_a_boundary_of_each_class(listed: Any) -> None:
    """Of margin_loss: value and gradient are the kernel's; the Hessian is the formula's."""
    e, y = arguments("margin_loss")[0]
    beta, options = jnp.array([0.75, 1.25, 1.5], np.float32), {"indices_tuple": listed}

    def loss(e: Any, beta: Any) -> Any:
        return fj.margin_loss(e, y, beta=beta, **options)

    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(e, beta)
    at = fl.margin_loss.__fusedloss__.parameters.index("beta")  # type: ignore[attr-defined]
    expected, own = fl.value_and_grad(fl.margin_loss, (0, at))(
        e, y, beta=np.asarray(beta), **options
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for ours, theirs in zip(gradients, own, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    second = jax.jacfwd(jax.grad(loss, (0, 1)), (0, 1))(e, beta)
    assert not np.asarray(second[1][1]).any()  # hinges are straight in it
    assert np.isfinite(second[0][0]).all()
    assert np.isnan(loss(e, beta[:2]))  # as of other labels out of range


@pytest.mark.parametrize("name", ["contrastive_loss", "lifted_structure_loss", "ntxent_loss"])
def test_distances_of_signal_to_noise(name: str) -> None:
    """The kernel's and, differentiating forward, the formula's; with an anchor without variance."""
    e, y = arguments(name)[0]
    e, y = e.copy(), np.asarray(y).copy()
    e[3] = 0.1
    y[3] = y.max() + 1  # it has no positive

    def loss(e: Any) -> Any:
        return getattr(fj, name)(e, y, distance="snr", reduction="sum")

    value, gradient = jax.jit(jax.value_and_grad(loss))(e)
    expected = fl.value_and_grad(getattr(fl, name))(e, y, distance="snr", reduction="sum")
    close(value, expected[0], 1e-6)
    close(gradient, expected[1], 1e-6)
    forward = jax.jit(jax.jacfwd(loss))(e)
    assert np.asarray(gradient).any()
    close(forward, gradient, 1e-4)  # a few dozen roundings of float32, of values of some hundred


def test_a_traced_option_is_named() -> None:
    z, y = arguments("cross_entropy")[0]
    with pytest.raises(TypeError, match="label_smoothing is traced"):
        jax.jit(lambda e: fj.cross_entropy(z, y, label_smoothing=e))(0.1)


def test_options_are_checked_while_tracing() -> None:
    z, y = arguments("cross_entropy")[0]
    with pytest.raises(ValueError, match=r"label_smoothing is 2"):
        jax.jit(partial(fj.cross_entropy, label_smoothing=2.0))(z, y)


def test_without_custom_calls_python_is_called_and_said_so() -> None:
    program = """
import warnings
import numpy as np
import fusedloss as fl
from fusedloss import _core
_core.xla_handler = lambda: (object(), (9, 9))
import jax
import fusedloss.jax as fj
z, y = np.eye(3, dtype=np.float32), np.arange(3)
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    value, gradient = jax.jit(jax.value_and_grad(fj.cross_entropy))(z, y)
assert any("through Python" in str(w.message) for w in found), found
np.testing.assert_allclose(gradient, fl.value_and_grad(fl.cross_entropy)(z, y)[1], rtol=1e-6)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross_entropy", {"label_smoothing": 0.1}),
        ("focal_loss", {}),
        ("focal_loss", {"gamma": 0.5, "alpha": np.linspace(0.5, 2, 5, dtype="f4")}),
        ("categorical_cross_entropy", {"gamma": 1.5, "alpha": 0.25}),
        (
            "categorical_cross_entropy",
            {"gamma": 0.5, "alpha": np.linspace(0.5, 2, 5, dtype="f4"), "label_smoothing": 0.1},
        ),
        ("generalized_cross_entropy", {"q": 0.7}),
        ("poly1_cross_entropy", {}),
    ],
    ids=str,
)
def test_distributions_of_classes(name: str, options: dict[str, Any]) -> None:
    """Kernels, and formulas, of which second derivatives are."""
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(9, 5)).astype("f4"), rng.dirichlet(np.ones(5), 9).astype("f4")
    t[0] = [0, 1, 0, 0, 0]
    if name in ("generalized_cross_entropy", "categorical_cross_entropy"):
        z = np.asarray(fl.softmax(z))
    for reduction in ("mean", "sum"):
        value, gradient = fl.value_and_grad(getattr(fl, name))(z, t, reduction=reduction, **options)

        def loss(z: Any, t: Any, reduction: str = reduction) -> Any:
            return getattr(fj, name)(z, t, reduction=reduction, **options)

        found, slope = jax.jit(jax.value_and_grad(loss))(z, t)
        np.testing.assert_allclose(found, value, rtol=1e-6)
        np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-6)
        step, ones = 1e-3, np.ones_like(z) * np.linspace(-1, 1, 5, dtype="f4")
        _, along = jax.jvp(lambda x: jax.grad(loss)(x, t), (z,), (ones,))
        after = jax.grad(loss)(z + step * ones, t) - jax.grad(loss)(z - step * ones, t)
        # differences of gradients in float32, over a small part of each p
        np.testing.assert_allclose(along, after / (2 * step), rtol=2e-2, atol=2e-3)


def test_importing_the_package_does_not_load_jax() -> None:
    program = "import sys, fusedloss; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
