"""where= of pairs: a masked pair counts nothing; an embedding that is left in no loss neither."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor

import fusedloss as fl
from fusedloss._lower.pairs import PairCall
from fusedloss.torch import CLIPLoss, InfoNCELoss, SigLIPLoss
from fusedloss.torch import functional as F
from fusedloss.transform import value_and_grad
from parts import Array

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402

import fusedloss.jax as fj  # noqa: E402

ROWS, FEATURES = 41, 19

#: Losses with their scalars, and how many more columns than rows there are.
LOSSES: dict[str, tuple[dict[str, float], int]] = {
    "info_nce_loss": ({"temperature": 0.3}, 25),
    "clip_loss": ({"logit_scale": 12.0}, 9),
    "siglip_loss": ({"logit_scale": 9.0, "logit_bias": -2.5}, 9),
}

MODULES = {"info_nce_loss": InfoNCELoss, "clip_loss": CLIPLoss, "siglip_loss": SigLIPLoss}

#: What is masked.
MASKS = ("some", "positives", "padding", "alone", "nothing", "everything")

#: Sums of some tens of rounded terms, against float64.
NEAR = {
    "float64": 1e-12,
    "float32": 2e-5,
    "float16": 4e-3,
    "bfloat16": 3e-2,
}


def mask(kind: str, rows: int, columns: int) -> Array:
    rng = np.random.default_rng([rows, columns])
    where = np.ones((rows, columns), bool)
    own = np.arange(rows)
    if kind in ("some", "positives"):
        where = rng.random((rows, columns)) < 0.7
        where[own, own] = True
    if kind == "positives":
        left = rng.random(rows) < 0.4
        where[own[left], own[left]] = False
    if kind == "padding":
        where[rows * 2 // 3 :] = where[:, rows * 2 // 3 : rows] = False
    if kind == "alone":  # no negatives
        where = np.eye(rows, columns, dtype=bool)
    if kind == "everything":
        where[:] = False
    return where


def of_loss(where: Array, name: str) -> tuple[Array, Array]:
    """Which pairs are in a loss, and which rows have one."""
    own = np.diagonal(where).copy()
    if name == "siglip_loss":
        return where, where.any(1)
    columns = np.zeros(where.shape[1], bool)
    if name == "clip_loss":
        columns[: len(own)] = own
    return where & (own[:, None] | columns), own


def drawn(name: str, kind: str, dtype: str) -> tuple[Array, Array, Array, dict[str, float]]:
    scalars, more = LOSSES[name]
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((ROWS, FEATURES)), rng.standard_normal((ROWS + more, FEATURES))
    return a.astype(dtype), b.astype(dtype), mask(kind, ROWS, ROWS + more), scalars


def without(name: str, a: Array, b: Array, where: Array) -> tuple[Array, Array]:
    """The towers with NaN for what is in no loss."""
    pairs, _ = of_loss(where, name)
    a, b = a.copy(), b.copy()
    a[~pairs.any(1)] = np.nan
    b[~pairs.any(0)] = np.nan
    return a, b


def formula(name: str, a: Tensor, b: Tensor, where: Array, *scalars: Tensor) -> Tensor:
    """The losses of rows by the definition, of clean embeddings."""
    kept = torch.from_numpy(where)
    z = torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T
    own = torch.arange(len(a))
    has_loss = torch.from_numpy(of_loss(where, name)[1])
    if name == "siglip_loss":
        z = scalars[0] * z + scalars[1]
        sign = 2 * torch.eye(len(a), len(b), dtype=z.dtype) - 1
        return torch.where(kept, -torch.nn.functional.logsigmoid(sign * z), 0).sum(1)
    z = z / scalars[0] if name == "info_nce_loss" else z * scalars[0]
    z = torch.where(kept | torch.eye(*z.shape, dtype=torch.bool), z, -torch.inf)
    each = torch.nn.functional.cross_entropy(z, own, reduction="none")
    if name == "clip_loss":
        z = z[:, : len(z)].T
        each = (each + torch.nn.functional.cross_entropy(z, own, reduction="none")) / 2
    return torch.where(has_loss, each, 0)


def options_of(weighted: bool, reduction: str, dtype: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"reduction": reduction}
    if weighted:
        options["sample_weight"] = np.linspace(0.5, 2, ROWS, dtype="float32")
    if reduction == "none":
        options["grad_output"] = np.linspace(-1, 1, ROWS).astype(dtype)
    return options


@functools.cache
def expected(
    name: str, kind: str, weighted: bool, reduction: str, dtype: Any
) -> tuple[Array, list[Array]]:
    a, b, where, scalars = drawn(name, kind, dtype)
    options = options_of(weighted, reduction, dtype)
    wide = [torch.tensor(x.astype("float64"), requires_grad=True) for x in (a, b)]
    numbers = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in scalars.values()]
    each = formula(name, *wide, where, *numbers)
    weight = torch.as_tensor(options.get("sample_weight", np.ones(len(a))).astype("float64"))
    has_loss = torch.from_numpy(of_loss(where, name)[1])
    weight = torch.where(has_loss, weight, 0)
    each = each * weight
    total = weight.sum()
    value = {
        "none": each,
        "sum": each.sum(),
        "mean": each.sum() / torch.where(total == 0, 1, total),
    }[options["reduction"]]
    cotangent = options.get("grad_output")
    seed = None if cotangent is None else torch.tensor(cotangent.astype("float64"))
    gradients = torch.autograd.grad(value, (*wide, *numbers), seed, materialize_grads=True)
    return value.detach().numpy(), [x.numpy() for x in gradients]


@pytest.fixture(params=["kept", "in groups"])
def workspace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs are kept, or there is no room for them."""
    if request.param != "kept":
        monkeypatch.setattr(PairCall, "workspace", 2048)


def assert_near(found: Any, truth: Any, dtype: str) -> None:
    found = np.asarray(found).astype("float64")
    size = np.abs(truth).max(initial=1e-3)
    np.testing.assert_allclose(found / size, truth / size, rtol=NEAR[dtype], atol=NEAR[dtype])


def numbered(name: str) -> tuple[int, ...]:
    parameters = getattr(fl, name).__fusedloss__.parameters
    return (0, 1, *map(parameters.index, LOSSES[name][0]))


@pytest.mark.usefixtures("isa", "workspace")
@pytest.mark.parametrize("dtype", list(NEAR))
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", LOSSES)
def test_what_is_masked_counts_nothing(name: str, kind: str, dtype: str) -> None:
    """Value and every gradient, whatever is masked; the weights of rows without a loss, too."""
    for reduction in ("none", "mean", "sum"):
        for weighted in (False, True):
            check_masked(name, kind, weighted, reduction, dtype)


def check_masked(name: str, kind: str, weighted: bool, reduction: str, dtype: str) -> None:
    a, b, where, scalars = drawn(name, kind, getattr(ml_dtypes, dtype, dtype))
    _, has_loss = of_loss(where, name)
    options = options_of(weighted, reduction, a.dtype)
    for spoils in {"sample_weight", "grad_output"} & options.keys():
        options[spoils][~has_loss] = np.nan
    truth, gradients = expected(name, kind, weighted, reduction, a.dtype)
    x, y = without(name, a, b, where)
    call = value_and_grad(getattr(fl, name), numbered(name))
    value, found = call(x, y, where=where, **options, **scalars)
    assert_near(value, truth, dtype)
    for own, theirs in zip(found, gradients, strict=True):
        # 16-bit gradients are of float32, rounded; those by scalars are of it, too
        assert_near(own, theirs, dtype)
    pairs, _ = of_loss(where, name)
    assert np.all(found[0][~pairs.any(1)] == 0)
    assert np.all(found[1][~pairs.any(0)] == 0)
    if reduction == "none":
        assert np.all(value[~has_loss] == 0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_mask_of_any_layout_and_any_number_of_threads(name: str) -> None:
    a, b, where, scalars = drawn(name, "positives", "float32")
    call = value_and_grad(getattr(fl, name), (0, 1))
    value, (by_a, by_b) = call(a, b, where=where, **scalars)
    masks = (
        np.asfortranarray(where),
        np.repeat(where, 2, 1)[:, ::2],
        where[::-1, ::-1].copy()[::-1, ::-1],
    )
    for threads in (1, 2, 3):
        for each in (where, *masks):
            same, (x, y) = call(a, b, where=each, num_threads=threads, **scalars)
            assert same == value
            np.testing.assert_array_equal(x, by_a)
            np.testing.assert_array_equal(y, by_b)


@pytest.mark.parametrize("name", LOSSES)
def test_a_mask_of_everything_is_no_mask(name: str) -> None:
    a, b, where, scalars = drawn(name, "nothing", "float32")
    call = value_and_grad(getattr(fl, name), (0, 1))
    value, gradients = call(a, b, **scalars)
    same, others = call(a, b, where=where, **scalars)
    assert same == value
    for x, y in zip(gradients, others, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", LOSSES)
def test_nan_that_counts_is_nan(name: str) -> None:
    a, b, where, scalars = drawn(name, "some", "float32")
    a[3] = np.nan
    assert np.isnan(getattr(fl, name)(a, b, where=where, **scalars))


@pytest.mark.parametrize("name", LOSSES)
def test_errors_name_the_mask(name: str) -> None:
    a, b, where, scalars = drawn(name, "some", "float32")
    loss = getattr(fl, name)
    with pytest.raises(TypeError, match="where has dtype float64: expected bool"):
        loss(a, b, where=where.astype(float), **scalars)
    with pytest.raises(ValueError, match=r"where has shape \(40, .*: expected \(41, .* per pair"):
        loss(a, b, where=where[:-1], **scalars)
    with pytest.raises(TypeError, match=r"where has dtype torch\.float32: expected bool"):
        getattr(F, name)(*map(torch.from_numpy, (a, b)), where=torch.ones(where.shape), **scalars)
    with pytest.raises(ValueError, match="where has shape"):
        getattr(F, name)(*map(torch.from_numpy, (a, b)), where=torch.tensor(where[1:]), **scalars)
    with pytest.raises(TypeError, match="where has dtype float32: expected bool"):
        getattr(fj, name)(a, b, where=np.ones(where.shape, "f4"), **scalars)


# ---- In torch ---------------------------------------------------------------------------------


def in_torch(name: str, kind: str) -> tuple[Callable[..., Tensor], list[Tensor], Any, list[Array]]:
    """A loss of clean and spoiled tensors, with what arrays have for them."""
    a, b, where, scalars = drawn(name, kind, "float64")
    x, y = without(name, a, b, where)
    value, gradients = value_and_grad(getattr(fl, name), numbered(name))(
        x, y, where=where, **scalars
    )
    given = [torch.tensor(v, dtype=torch.float64) for v in (x, y, *scalars.values())]

    def loss(a: Tensor, b: Tensor, *numbers: Tensor) -> Tensor:
        named = dict(zip(scalars, numbers, strict=True))
        result: Tensor = getattr(F, name)(a, b, where=torch.from_numpy(where), **named)
        return result

    return loss, given, value, gradients


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", LOSSES)
def test_torch(name: str, kind: str) -> None:
    """By kernels, and by the formula, as an operator and where a graph of the gradient is made."""
    loss, given, value, gradients = in_torch(name, kind)
    leaves = [x.requires_grad_() for x in given]
    found = loss(*leaves)
    np.testing.assert_allclose(found.detach().numpy(), value, rtol=1e-12)
    for x, y in zip(torch.autograd.grad(found, leaves), gradients, strict=True):
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-10, atol=1e-13)
    by_formula = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
    for x, y in zip(by_formula, gradients, strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y, rtol=1e-9, atol=1e-12)
    # second derivatives are of the formula alone
    total = sum((x * x.detach()).sum() for x in by_formula)
    assert isinstance(total, Tensor)
    if total.requires_grad:
        for x in torch.autograd.grad(total, leaves, materialize_grads=True):
            assert torch.isfinite(x).all()
    transformed = torch.func.grad(loss, argnums=tuple(range(len(given))))
    for x, y in zip(transformed(*[x.detach() for x in given]), gradients, strict=True):
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_compiled(name: str) -> None:
    loss, given, value, gradients = in_torch(name, "positives")
    leaves = [x.requires_grad_() for x in given]
    found = torch.compile(loss, fullgraph=True, backend="aot_eager")(*leaves)
    np.testing.assert_allclose(found.detach().numpy(), value, rtol=1e-12)
    for x, y in zip(torch.autograd.grad(found, leaves), gradients, strict=True):
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_module(name: str) -> None:
    """The mask comes with the batch."""
    a, b, where, _ = drawn(name, "positives", "float32")
    x, y, m = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(where)
    module: Any = MODULES[name]()
    torch.testing.assert_close(module(x, y, where=m), getattr(F, name)(x, y, where=m))


# ---- In JAX -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", LOSSES)
def test_jax(name: str, kind: str) -> None:
    """Kernels, where scalars are options; the formula, where they are arrays or differentiated."""
    a, b, where, scalars = drawn(name, kind, "float32")
    x, y = without(name, a, b, where)
    value, gradients = value_and_grad(getattr(fl, name), numbered(name))(
        x, y, where=where, **scalars
    )

    def loss(a: Any, b: Any, *numbers: Any) -> Any:
        named = dict(zip(scalars, numbers, strict=True)) if numbers else scalars
        return getattr(fj, name)(a, b, where=jnp.asarray(where), **named)

    found, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, y)
    np.testing.assert_allclose(found, value, rtol=1e-6)
    for each, own in zip(slopes, gradients[:2], strict=True):
        np.testing.assert_allclose(each, own, rtol=1e-4, atol=1e-6)
    numbers = [jnp.float32(v) for v in scalars.values()]
    argnums = tuple(range(2 + len(numbers)))
    for each, own in zip(jax.grad(loss, argnums)(x, y, *numbers), gradients, strict=True):
        np.testing.assert_allclose(each, own, rtol=1e-4, atol=1e-5)
    direction = (jnp.ones_like(x), jnp.ones_like(y))
    _, along = jax.jvp(jax.grad(loss, (0, 1)), (jnp.asarray(x), jnp.asarray(y)), direction)
    pairs, _ = of_loss(where, name)
    for each, used in zip(along, (pairs.any(1), pairs.any(0)), strict=True):
        assert np.all(np.isfinite(each))
        assert np.all(np.asarray(each)[~used] == 0)


def test_masks_in_batches() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 9, 5)).astype("f4")
    where = rng.random((4, 9, 9)) < 0.6
    values = jax.vmap(lambda a, b, m: fj.clip_loss(a, b, where=m))(a, b, where)
    each = [fl.clip_loss(x, y, where=m) for x, y, m in zip(a, b, where, strict=True)]
    np.testing.assert_allclose(values, each, rtol=1e-6)
