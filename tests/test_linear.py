"""Linear layer and cross-entropy: the loss of logits that are never held, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusedloss as fl
from checks import (
    DTYPES,
    assert_quantity,
    assert_same_bits,
    assert_within,
    compute_dtype,
    eps,
    quantity_tolerance,
    softmax_ulps,
    truth_dtype,
)
from conftest import ISAS, instruction_set
from fusedloss._check import linear_layer
from fusedloss._types import Output
from parts import Array, Quantity
from reference.linear import evaluate_linear

#: Workspaces that hold the logits of all rows; of chunks of them; where there are many classes only
#: sums of the input's gradient, logits being computed again; and nothing.
WORKSPACES = (None, 2**20, 2**19, 1)

#: Positions, features, classes: none and one of each, primes, and around panels, tiles and blocks.
SIZES = (
    (0, 3, 4),
    (1, 1, 1),
    (1, 7, 2),
    (2, 1, 5),
    (33, 32, 32),
    (31, 17, 101),
    (65, 33, 97),
    (24, 24, 25),
    (70, 13, 1),
    (130, 48, 2),
    (530, 5, 67),
    (21, 1030, 26),
    (100, 8, 3000),
)


@dataclass(frozen=True)
class Linear:
    """One call's inputs, built on demand."""

    positions: int
    features: int
    classes: int
    target: str = "index"
    bias: bool = False
    weight: bool = False
    sample_weight: bool = False
    ignore: bool = False
    label_smoothing: float = 0.0
    softcap: float | None = None
    z_loss: float = 0.0
    reduction: str = "mean"

    def build(self, dtype: Any) -> tuple[Array, Array, Array, dict[str, Any]]:
        """Input, weights, target and keyword options; the same numbers in every run."""
        rng = np.random.default_rng(list(str(self).encode()))
        n, d, c = self.positions, self.features, self.classes
        x = rng.normal(size=(n, d)).astype(dtype)
        weight = (rng.normal(size=(c, d)) * 2 / np.sqrt(d)).astype(dtype)
        options: dict[str, Any] = {"reduction": self.reduction}
        target = rng.integers(0, c, size=n)
        if self.target == "probability":
            target = rng.dirichlet(np.ones(c), size=n)
        elif self.ignore:
            target[rng.random(n) < 0.3] = -100
        if self.bias:
            options["linear_bias"] = rng.normal(size=c).astype(dtype)
        if self.weight:
            options["weight"] = rng.uniform(0.25, 2, size=c).astype(dtype)
        if self.sample_weight:
            options["sample_weight"] = rng.uniform(0.25, 2, size=n).astype(dtype)
        for name in ("label_smoothing", "softcap", "z_loss"):
            if getattr(self, name):
                options[name] = getattr(self, name)
        return x, weight, target, options


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"bias": True, "weight": True},
    {"ignore": True, "reduction": "none"},
    {"label_smoothing": 0.1, "bias": True},
    {"target": "probability"},
    {"softcap": 3.0, "reduction": "sum"},
    {"z_loss": 0.1, "sample_weight": True},
    {"target": "probability", "weight": True, "label_smoothing": 0.2, "softcap": 4.0},
    {"label_smoothing": 0.1, "weight": True, "softcap": 2.0, "z_loss": 1e-3, "ignore": True},
)

#: Every size with four of the options; the list of options walks in step.
CASES = tuple(
    Linear(*size, **OPTIONS[(4 * i + k) % len(OPTIONS)])
    for i, size in enumerate(SIZES)
    for k in range(4)
)

GRADIENTS = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))
WITH_BIAS = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1, 3))


#: Options that the formula has under another name, or not at all.
OF_CALL = ("linear_bias", "weight", "precision")


def assert_linear_right(
    x: Array,
    linear_weight: Array,
    target: Array,
    *,
    grad_output: Any = None,
    num_threads: int | None = None,
    workspace: int | None = None,
    **options: Any,
) -> None:
    """Value and every gradient: no further from the truth than the products must be."""
    dtype, bias = x.dtype, options.get("linear_bias")
    call = {**options, "num_threads": num_threads, "workspace": workspace}
    function = GRADIENTS if bias is None else WITH_BIAS
    value, gradients = function(x, linear_weight, target, grad_output=grad_output, **call)
    assert_same_bits(value, fl.linear_cross_entropy(x, linear_weight, target, **call))
    formula = {name: y for name, y in options.items() if name not in OF_CALL}
    truth = evaluate_linear(
        x,
        linear_weight,
        target,
        bias=bias,
        class_weight=options.get("weight"),
        grad_output=grad_output,
        # where the CPU multiplies bfloat16, logits' gradients are rounded to it
        gradient_eps=eps(dtype) / eps("float32") if dtype == "bfloat16" else 0,
        product_eps=PRODUCT_ERRORS.get(options.get("precision", ""), 0) / eps("float32"),
        dtype=truth_dtype(dtype),
        **formula,
    )
    ulps = softmax_ulps(len(linear_weight))
    if options.get("reduction") == "none":
        assert_quantity(value, truth.value, dtype, ulps)
    else:
        allowed = quantity_tolerance(truth.value, compute_dtype(dtype), ulps, terms=len(x))
        assert_within(value, truth.value.exact, allowed)
    by_bias = Quantity(*(part[:, 0] for part in truth.bias))
    quantities = [truth.input, truth.weight, by_bias]
    for gradient, quantity in zip(gradients, quantities, strict=False):
        assert_quantity(gradient, quantity, dtype, ulps, terms=len(x))


# ---- Numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size_and_option(isa: str, dtype: str, workspace: int | None) -> None:
    for case in CASES:
        x, weight, target, options = case.build(dtype)
        grad_output = None
        if case.reduction == "none":
            grad_output = np.linspace(-2, 3, case.positions).astype(compute_dtype(dtype))
        try:
            assert_linear_right(
                x, weight, target, grad_output=grad_output, workspace=workspace, **options
            )
        except AssertionError as error:
            error.add_note(str(case))
            raise


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_combination_of_options(data: st.DataObject) -> None:
    draw = data.draw
    case = Linear(
        draw(st.integers(1, 80)),
        draw(st.integers(1, 70)),
        draw(st.integers(1, 120)),
        target=draw(st.sampled_from(("index", "probability"))),
        bias=draw(st.booleans()),
        weight=draw(st.booleans()),
        sample_weight=draw(st.booleans()),
        ignore=draw(st.booleans()),
        label_smoothing=draw(st.sampled_from((0.0, 0.1, 1.0))),
        softcap=draw(st.sampled_from((None, 2.0))),
        z_loss=draw(st.sampled_from((0.0, 0.1))),
        reduction=draw(st.sampled_from(("none", "mean", "sum"))),
    )
    x, weight, target, options = case.build(draw(st.sampled_from(DTYPES)))
    with instruction_set(draw(st.sampled_from(ISAS))):
        assert_linear_right(
            x, weight, target, workspace=draw(st.sampled_from(WORKSPACES)), **options
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("workspace", WORKSPACES)
def test_same_bits_for_any_number_of_threads(
    isa: str, dtype: str, workspace: int | None, num_threads: int
) -> None:
    for sizes in ((530, 16, 200), (100, 8, 3000)):
        x, weight, target, options = Linear(*sizes, bias=True, ignore=True).build(dtype)
        options["workspace"] = workspace
        one = WITH_BIAS(x, weight, target, num_threads=1, **options)
        many = WITH_BIAS(x, weight, target, num_threads=num_threads, **options)
        assert one[0] == many[0]
        for left, right in zip(one[1], many[1], strict=True):
            assert_same_bits(left, right)


@pytest.mark.parametrize("workspace", WORKSPACES)
def test_outputs(isa: str, workspace: int | None) -> None:
    x, weight, target, _ = Linear(130, 20, 50, ignore=True).build("float64")
    names: tuple[Output, ...] = ("lse", "entropy", "accuracy", "log_prob")
    _, outputs = fl.linear_cross_entropy(x, weight, target, outputs=names, workspace=workspace)
    _, expected = fl.cross_entropy(x @ weight.T, target, outputs=names)
    for name in names:
        np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-13, atol=1e-14)


#: What the product of two factors may be off by, relative to it. Rounding to bfloat16 takes 2^-8 of
#: a factor; of one that is two parts 2^-16 are missing, as much as the product of both low parts,
#: and either part is as much larger as it was rounded.
PRODUCT_ERRORS = {
    "medium": 2 * 2.0**-8 + 2.0**-16,
    "bfloat16x3": 3 * 2.0**-16 * (1 + 2.0**-7),
}

#: Not for the public, but by the name of "high".
PARTS: Any = "bfloat16x3"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What "high" is where there are tiles may be asked for by name."""
    monkeypatch.setattr(linear_layer, "PRECISIONS", (*linear_layer.PRECISIONS, PARTS))


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("precision", PRODUCT_ERRORS)
def test_precision(isa: str, precision: Any, workspace: int | None) -> None:
    """float32 whose factors are one or two bfloat16: no further off than that must be."""
    for case in CASES:
        x, weight, target, options = case.build("float32")
        grad_output = np.float32(1.5) if case.reduction != "none" else None
        options["precision"] = precision
        try:
            assert_linear_right(
                x, weight, target, grad_output=grad_output, workspace=workspace, **options
            )
        except AssertionError as error:
            error.add_note(str(case))
            raise
    _, gradients = GRADIENTS(x, weight, target, workspace=workspace, **options)
    del options["precision"]
    _, highest = GRADIENTS(x, weight, target, workspace=workspace, **options)
    for gradient, other in zip(gradients, highest, strict=True):
        assert np.array_equal(gradient, other) == (isa not in ("amx", "avx512bf16"))


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("dtype", DTYPES)
def test_high_precision(isa: str, dtype: str) -> None:
    """Three products of parts of float32 where they are the faster ones; of nothing else."""
    x, weight, target, _ = Linear(65, 33, 97).build(dtype)
    three = isa == "amx" and dtype == "float32"
    same: Any = PARTS if three else "highest"
    value, gradients = GRADIENTS(x, weight, target, precision="high")
    expected = GRADIENTS(x, weight, target, precision=same)
    assert value == expected[0]
    for left, right in zip(gradients, expected[1], strict=True):
        assert_same_bits(left, right)
    if dtype != "float32":
        assert value == fl.linear_cross_entropy(x, weight, target, precision=PARTS)


@pytest.mark.usefixtures("parts")
def test_filtered_products_of_parts(isa: str) -> None:
    """Those that are listed, of both parts: in the order of all of them, but for tiles."""
    x, weight, target, _ = Linear(130, 33, 300).build("float32")
    _, gradients = GRADIENTS(x, weight, target, precision=PARTS)
    _, filtered = GRADIENTS(x, weight, target, precision=PARTS, filter_eps=1e-300)
    for left, right in zip(filtered, gradients, strict=True):
        if isa == "amx":
            allowed = 64 * eps("float32") * float(np.abs(right).max())  # as many terms, reordered
            np.testing.assert_allclose(left, right, rtol=0, atol=allowed)
        else:
            np.testing.assert_array_equal(left, right)


# ---- Filtered gradients ------------------------------------------------------------------------


def assert_filtered_right(
    case: Linear, dtype: str, filter_eps: float, workspace: int | None
) -> None:
    """Off by no more than all that may be left out; of value and bias's gradient nothing is."""
    x, weight, target, options = case.build(dtype)
    x = (4 * x).astype(dtype)  # few classes are likely
    call = {**options, "workspace": workspace}
    value, gradients = WITH_BIAS(x, weight, target, **call)
    filtered_value, filtered = WITH_BIAS(x, weight, target, filter_eps=filter_eps, **call)
    assert filtered_value == value
    assert_same_bits(filtered[2], gradients[2])
    assert not np.array_equal(filtered[0], gradients[0])
    assert not np.array_equal(filtered[1], gradients[1])
    # without one by the bias not even logits are computed again
    _, without = GRADIENTS(x, weight, target, filter_eps=filter_eps, **call)

    options["bias"] = options.pop("linear_bias")
    truth = evaluate_linear(
        x,
        weight,
        target,
        gradient_eps=eps(dtype) / eps("float32") if dtype == "bfloat16" else 0,
        dtype=truth_dtype(dtype),
        **options,
    )
    factors = options.get("sample_weight", np.ones(len(x))).astype("float64")
    if target.ndim == 1:
        factors = np.where(target == -100, 0, factors)
    factors = filter_eps / eps(compute_dtype(dtype)) * factors / factors.sum()
    sizes = np.abs(weight.astype("float64")).sum(0)
    left_out = np.outer(factors, sizes), factors @ np.abs(x.astype("float64"))
    ulps = softmax_ulps(len(weight))
    for found in (filtered[:2], without):
        for gradient, quantity, moved in zip(
            found, (truth.input, truth.weight), left_out, strict=True
        ):
            within = quantity._replace(moved=quantity.moved + moved)
            assert_quantity(gradient, within, dtype, ulps, terms=len(x))


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_filtered_gradients(isa: str, dtype: str, workspace: int | None) -> None:
    for case in (
        Linear(130, 40, 300, bias=True, ignore=True, sample_weight=True),
        Linear(65, 13, 1000, bias=True, label_smoothing=0.1, softcap=20.0),
        Linear(70, 20, 1000, bias=True, target="probability"),
    ):
        assert_filtered_right(case, dtype, 1e-2, workspace)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_filtered_logits(isa: str, dtype: str) -> None:
    """Of more classes than there is memory for, but for the largest logits of each 32."""
    case = Linear(40, 8, 16000, bias=True, ignore=True, softcap=30.0, z_loss=1e-4)
    assert_filtered_right(case, dtype, 1e-3, 2**22)


@pytest.mark.parametrize("workspace", WORKSPACES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_filter_of_nothing_and_of_all(isa: str, dtype: str, workspace: int | None) -> None:
    """All but zeros, in the order of an unfiltered sum; and nothing.

    A small workspace may hold fewer rows beside what tells which logits are filtered, and tiles
    multiply what is not.
    """
    for case in CASES[::3]:
        x, weight, target, options = case.build(dtype)
        call = {**options, "workspace": workspace}
        _, gradients = GRADIENTS(x, weight, target, **call)
        _, filtered = GRADIENTS(x, weight, target, filter_eps=1e-300, **call)
        for left, right in zip(filtered, gradients, strict=True):
            if workspace is None and (isa, dtype) != ("amx", "bfloat16"):
                np.testing.assert_array_equal(left, right)  # zeros of either sign
            else:
                largest = float(np.abs(right).max(initial=0))
                allowed = 64 * eps(dtype) * largest  # another order of a hundred terms
                np.testing.assert_allclose(
                    left.astype(float), right.astype(float), rtol=0, atol=allowed
                )
        if not case.z_loss:
            _, filtered = GRADIENTS(x, weight, target, filter_eps=9.0, **call)
            assert not any(gradient.any() for gradient in filtered)


@pytest.mark.parametrize("dtype", [*np.typecodes["AllInteger"]])
def test_any_integer_target(dtype: str) -> None:
    x, weight, target, _ = Linear(50, 8, 30).build("float32")
    expected = GRADIENTS(x, weight, target)
    value, gradients = GRADIENTS(x, weight, target.astype(dtype))
    assert value == expected[0]
    for left, right in zip(gradients, expected[1], strict=True):
        assert_same_bits(left, right)


# ---- Arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_strides(isa: str, dtype: str) -> None:
    """The transpose of an embedding, every other row, backwards: the bits of a plain copy."""
    x, weight, target, _ = Linear(67, 33, 45).build(dtype)
    expected = GRADIENTS(x, weight, target)
    turned = np.ascontiguousarray(weight.T).T
    spread = np.repeat(x, 2, axis=0)[::2]
    backwards = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    out = np.empty(x.shape[::-1], x.dtype).T, np.empty((45, 66), x.dtype)[:, ::2]
    for inputs, weights, places in (
        (x, turned, None),
        (spread, weight, None),
        (backwards, turned, None),
        (x, weight, out),
    ):
        value, gradients = GRADIENTS(inputs, weights, target, out=places)
        assert value == expected[0]
        for left, right in zip(gradients, expected[1], strict=True):
            assert_same_bits(left, right)
        assert places is None or all(a is b for a, b in zip(gradients, places, strict=True))


@pytest.mark.parametrize("target", ["index", "probability"])
def test_positions_of_several_dimensions(target: str) -> None:
    x, weight, labels, _ = Linear(24, 6, 9, target=target).build("float32")
    expected = GRADIENTS(x, weight, labels)
    value, (by_input, by_weight) = GRADIENTS(
        x.reshape(2, 3, 4, 6), weight, labels.reshape(2, 3, 4, *labels.shape[1:])
    )
    assert value == expected[0]
    assert_same_bits(by_input.reshape(24, 6), expected[1][0])
    assert_same_bits(by_weight, expected[1][1])


def test_one_position() -> None:
    x, weight, target, _ = Linear(1, 6, 9).build("float32")
    value = fl.linear_cross_entropy(x[0], weight, target[0], reduction="none")
    assert value.shape == ()
    assert value == fl.linear_cross_entropy(x, weight, target, reduction="none")[0]


@pytest.mark.parametrize("target", ["index", "probability"])
def test_shift(target: str) -> None:
    """Position i against the target at i + shift; the last inputs have no gradient."""
    x, weight, labels, options = Linear(24, 6, 9, target=target, sample_weight=True).build(
        "float32"
    )
    x, labels = x.reshape(2, 12, 6), labels.reshape(2, 12, *labels.shape[1:])
    s = options["sample_weight"].reshape(2, 12)
    expected = GRADIENTS(x[:, :-3], weight, labels[:, 3:], sample_weight=s[:, 3:])
    value, (by_input, by_weight) = GRADIENTS(x, weight, labels, sample_weight=s, shift=3)
    assert value == expected[0]
    assert_same_bits(by_input[:, :-3], expected[1][0])
    assert not by_input[:, -3:].any()
    assert_same_bits(by_weight, expected[1][1])


def test_shift_of_all_positions() -> None:
    x, weight, target, _ = Linear(4, 6, 9).build("float32")
    value, gradients = GRADIENTS(x, weight, target, shift=4)
    assert np.isnan(value)
    assert not any(gradient.any() for gradient in gradients)


# ---- Special values ----------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", WORKSPACES)
def test_ignored_positions_reach_no_gradient(isa: str, workspace: int | None) -> None:
    x, weight, target, _ = Linear(100, 20, 50).build("float32")
    target[::3] = -100
    counted = target != -100
    expected = GRADIENTS(x[counted], weight, target[counted], workspace=workspace)
    x[~counted] = np.nan
    value, (by_input, by_weight) = GRADIENTS(x, weight, target, workspace=workspace)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    assert not by_input[~counted].any()
    np.testing.assert_allclose(by_weight, expected[1][1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("workspace", WORKSPACES)
def test_nothing_counted(isa: str, workspace: int | None) -> None:
    x, weight, _, _ = Linear(100, 20, 50).build("float32")
    value, gradients = GRADIENTS(x, weight, np.full(100, -100), workspace=workspace)
    assert np.isnan(value)
    assert not any(gradient.any() for gradient in gradients)


def test_large_logits(isa: str) -> None:
    """Rows whose maximum comes late, logits of +-1e4 and ruled-out classes."""
    weight = np.arange(-150, 151, dtype="float64")[:, None]
    x = np.array([[70.0], [-70.0], [0.0]])
    bias = np.where(np.arange(301) % 3 == 1, -np.inf, 0.0)
    target = np.array([300, 0, 3])
    value, (by_input, by_weight) = GRADIENTS(x, weight, target, linear_bias=bias, reduction="sum")
    z = x @ weight.T + bias
    expected, g = fl.value_and_grad(fl.cross_entropy)(z, target, reduction="sum")
    assert value == expected
    np.testing.assert_allclose(by_input, g @ weight, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(by_weight, g.T @ x, rtol=1e-13, atol=1e-13)


# ---- Memory ------------------------------------------------------------------------------------

MEMORY = """
import sys
import ml_dtypes, numpy as np, fusedloss as fl
positions, features, classes, dtype = *map(int, sys.argv[1:4]), sys.argv[4]
rng = np.random.default_rng(0)
def array(*shape):
    return rng.random(shape, "float32").astype(dtype)
x, weight, target = array(positions, features), array(classes, features), np.zeros(positions, int)
others = lambda n: (target[:n],)
out = np.zeros_like(x), np.zeros_like(weight)
grad = fl.value_and_grad(fl.linear_cross_entropy, argnums=(0, 1))
grad(x[:8], weight, *others(8), out=(out[0][:8], out[1]), num_threads=2)
def status(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
grad(x, weight, *others(positions), out=out, num_threads=2)
print((status("VmHWM") - before) / 2**20)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no high-water mark here")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sizes", [(3000, 16, 40000), (20000, 64, 3000), (64, 256, 300000)])
def test_memory_is_bounded(
    run_python: Callable[..., str], sizes: tuple[int, int, int], dtype: str
) -> None:
    """64 MiB beyond inputs and gradients, whatever the shape, and a little for the allocator."""
    assert float(run_python(MEMORY, *map(str, sizes), dtype)) < 66


# ---- Errors ------------------------------------------------------------------------------------

X, W, Y = np.zeros((4, 3), "float32"), np.zeros((5, 3), "float32"), np.zeros(4, int)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, W[0], Y), {}, ValueError, r"linear_weight has shape \(3,\): expected 2 dimensions"),
        ((X, W[:0], Y), {}, ValueError, r"linear_weight has shape \(0, 3\): expected at least one"),
        ((X[:, :2], W, Y), {}, ValueError, r"input has shape \(4, 2\): expected \(..., 3\)"),
        ((X, W.astype("float64"), Y), {}, TypeError, "linear_weight has dtype float64: expected"),
        ((X.astype(int), W, Y), {}, TypeError, "input has dtype int64"),
        ((X, W, Y[:3]), {}, ValueError, r"target has shape \(3,\)"),
        ((X, W, Y + 0.5), {}, TypeError, "target has dtype float64"),
        ((X, W, Y), {"linear_bias": X[0]}, ValueError, r"linear_bias has shape \(3,\)"),
        ((X, W, Y), {"linear_bias": np.zeros(5)}, TypeError, "linear_bias has dtype float64"),
        ((X, W, Y), {"weight": np.zeros(4)}, ValueError, r"weight has shape \(4,\)"),
        ((X, W, Y), {"sample_weight": np.zeros(5)}, ValueError, "sample_weight has shape"),
        ((X, W, Y), {"reduction": "most"}, ValueError, "reduction is 'most'"),
        ((X, W, Y), {"label_smoothing": -0.1}, ValueError, "label_smoothing is -0.1"),
        ((X, W, Y), {"softcap": 0.0}, ValueError, "softcap is 0.0"),
        ((X, W, Y), {"z_loss": -1.0}, ValueError, "z_loss is -1.0"),
        ((X, W, Y), {"shift": -1}, ValueError, "shift is -1"),
        ((X, W, Y), {"shift": 5}, ValueError, "shift is 5: expected at most 4"),
        ((X, W, Y), {"filter_eps": -1.0}, ValueError, "filter_eps is -1.0"),
        ((X, W, Y), {"precision": "low"}, ValueError, "precision is 'low'"),
        ((X, W, Y), {"workspace": 0}, ValueError, "workspace is 0"),
        ((X, W, Y), {"outputs": ("p",)}, ValueError, "outputs holds 'p'"),
        ((X, W, np.ones((4, 5))), {"ignore_index": 1}, ValueError, "ignore_index is given"),
        ((X, W, Y + 7), {}, IndexError, r"target\[0\] is 7: out of range for 5 classes"),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fl.linear_cross_entropy(*arguments, **options)


def test_outputs_are_untouched_by_an_error() -> None:
    out = np.full_like(X, 7), np.full_like(W, 7)
    with pytest.raises(IndexError):
        GRADIENTS(X, W, Y + 7, out=out)
    assert all((place == 7).all() for place in out)


def test_bad_places() -> None:
    grad = fl.value_and_grad(fl.linear_cross_entropy)
    with pytest.raises(ValueError, match="out overlaps input"):
        grad(X, W, Y, out=X)
    shared = np.zeros((5, 3), "float32")
    with pytest.raises(ValueError, match=r"out\[1\] overlaps out\[0\]"):
        GRADIENTS(X, W, Y, out=(shared[:4], shared))
    with pytest.raises(ValueError, match="linear_bias is None"):
        WITH_BIAS(X, W, Y)
