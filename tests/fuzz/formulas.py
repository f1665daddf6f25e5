"""What a call has to answer, and how far off rounding may put it.

Losses that the tests' reference has are checked against its formulas, with the tolerances of the
tests of each family. Of all others the gradient has to be the derivative of the value, and a
narrower type has to agree with float64.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

import fusedloss as fl
import reference
from checks import (
    assert_rounded,
    assert_value,
    assert_within,
    compute_dtype,
    eps,
    quantity_tolerance,
    softmax_ulps,
    storage_rounding,
    stored,
    truth_dtype,
)
from fuzz.arguments import Call, parameters_of
from fuzz.memory import Placed
from parts import Array, Quantity
from reference import pointwise, rowwise, segmentation
from reference.linear import evaluate_distilled, evaluate_labelled, evaluate_linear
from reference.margin import HEADS, evaluate_head
from reference.softmax_family import PARTS
from rounding import Rounded
from segmentation_cases import SORTED

Check = Callable[[Any], None]


class Expected(NamedTuple):
    """Checks of the value and of the gradients by the names of their arguments."""

    value: Check
    gradients: dict[str, Check]


def plain(x: Any) -> Any:
    """An argument as plain arrays of native byte order."""
    if isinstance(x, Placed):
        return x.numbers()
    if isinstance(x, tuple | list):
        return type(x)(map(plain, x))
    return x


def _of_quantity(quantity: Quantity, dtype: DTypeLike, ulps: float, terms: int) -> Check:
    def check(actual: Any) -> None:
        # a reduced loss is a double that was not rounded to the arithmetic's type
        kept = compute_dtype(dtype) if isinstance(actual, float) else dtype
        exact = quantity._replace(exact=stored(quantity.exact, kept))
        assert_within(actual, exact.exact, quantity_tolerance(exact, kept, ulps, terms))

    return check


def _of_evaluation(
    call: Call, arguments: dict[str, Any], options: dict[str, Any]
) -> Expected | None:
    """Losses of elements, of rows and of images, whose formulas count roundings themselves."""
    name = own_name(call)
    if name == "multilabel_soft_margin_loss" and call.regime == "wide":
        return None  # gradients of 1e-15 are 22 ULP off the formula: not explained yet
    if "where" in options:
        return None  # of which the formula knows nothing
    table = next(t for t in TABLES if name in t.entries)
    dtype = first_array(arguments).dtype
    exact = table.evaluate(
        name,
        *arguments.values(),
        dtype=truth_dtype(dtype),
        arithmetic=compute_dtype(dtype),
        **options,
    )
    names = (
        ["logits"]
        if table.entries is segmentation.SEGMENTATION
        else table.entries[name].differentiable
    )
    own = list(arguments)
    if table.entries is not segmentation.SEGMENTATION:
        names = [own[table.entries[name].arguments.index(k)] for k in names]
    found = [_as_answered(name, g, dtype, options) for g in exact.gradients]
    gradients = {
        k: (lambda actual, g=g: assert_rounded(actual, g, dtype))
        for k, g in zip(names, found, strict=True)
    }
    checks: dict[str, Check] = dict(gradients)
    if name in SORTED:  # equal errors are sorted in any order: see its own tests
        checks["logits"] = lambda actual: None
    if exact.hessian is not None:
        checks["hessian"] = lambda actual: assert_rounded(actual, exact.hessian, dtype)
    return Expected(lambda actual: assert_value(actual, exact.value, dtype), checks)


#: Gradients of vectors next to 0, which are finite by definition: the largest number at most.
FINITE = {"cosine_similarity_loss", "cosine_embedding_loss"}


def _as_answered(
    name: str, gradient: Rounded, dtype: DTypeLike, options: dict[str, Any]
) -> Rounded:
    """A gradient with what its definition leaves to the arithmetic."""
    exact, error = gradient.exact, gradient.error
    if name in FINITE:
        largest = float(ml_dtypes.finfo(np.dtype(dtype)).max)
        exact = np.clip(exact, -largest, largest)
    if name == "focal_tversky_loss":
        # A class's p and the rest, the sum of them, may both be flushed to 0. p rest^(gamma - 1)
        # is no more than rest^gamma then, and that no more than so many flushed numbers'. What
        # else there is in such an image is right to within a few roundings of its largest.
        limits = np.finfo(gradient.arithmetic)
        gamma = options.get("gamma", parameters_of(name)["gamma"].default)
        scale = np.abs(options.get("grad_output", 1.0)).max() * max(gamma, 1) * 8
        lost = scale * (exact.size * float(limits.tiny)) ** min(gamma, 1)
        lost += 64 * float(limits.eps) * np.abs(exact).max()
        error = np.where(np.isnan(error), lost, error)
    return Rounded(exact, error, gradient.arithmetic)


class _Table(NamedTuple):
    entries: dict[str, Any]
    evaluate: Callable[..., Any]


TABLES = (
    _Table(pointwise.POINTWISE, pointwise.evaluate),
    _Table(rowwise.ROWWISE, rowwise.evaluate),
    _Table(segmentation.SEGMENTATION, segmentation.evaluate),
)


def _of_softmax(call: Call, arguments: dict[str, Any], options: dict[str, Any]) -> Expected:
    name = own_name(call)
    first, *targets = arguments.values()
    dtype = first.dtype
    if name == "categorical_cross_entropy":
        options = {"axis": -1, **options, "arithmetic": compute_dtype(dtype)}
    exact = reference.evaluate(name, first, *targets, dtype=truth_dtype(dtype), **options)
    classes = first.shape[options.get("axis", reference.class_axis(first.ndim))]
    ulps = softmax_ulps(classes) * (2 if name in ("soft_cross_entropy", "distillation_loss") else 1)
    if name == "focal_loss":  # (1 - p)^gamma has the rounding errors of 1 - p so many times
        ulps *= 1 + options.get("gamma", parameters_of(name)["gamma"].default)
    terms = first.size // max(classes, 1)
    return Expected(
        _of_quantity(exact.value, dtype, ulps, terms),
        {
            next(iter(arguments)): _of_quantity(exact.gradient, dtype, ulps, terms),
            "hessian": _of_quantity(exact.hessian, dtype, ulps, terms),
        },
    )


def _of_helper(call: Call, arguments: dict[str, Any], options: dict[str, Any]) -> Expected:
    z = arguments["logits"]
    axis = options.pop("axis", -1)
    value, gradient = reference.evaluate_helper(
        call.name, z, axis, options.get("grad_output"), truth_dtype(z.dtype)
    )
    ulps = 2 * softmax_ulps(z.shape[axis])
    return Expected(
        _of_quantity(value, z.dtype, ulps, 0), {"logits": _of_quantity(gradient, z.dtype, ulps, 0)}
    )


def _of_sequences(call: Call, arguments: dict[str, Any], options: dict[str, Any]) -> Expected:
    x = arguments["log_probs"]
    g = options.pop("grad_output", None)
    g = 1.0 if g is None else g
    exact = reference.ctc_loss(*arguments.values(), grad_output=g, **options)
    finite = np.abs(x[np.isfinite(x)]).max(initial=1).astype(float)
    moved = 4 * eps(compute_dtype(x.dtype)) * len(x) * finite
    terms = x.shape[1]

    def value(actual: Any) -> None:
        kept = "float64" if isinstance(actual, float) else x.dtype
        allowed = moved * terms + storage_rounding(exact.value, kept)
        assert_within(actual, exact.value, allowed)

    def gradient(actual: Any) -> None:
        allowed = moved * np.abs(g).max(initial=0) + storage_rounding(exact.gradient, x.dtype)
        assert_within(actual, exact.gradient, allowed)

    return Expected(value, {"log_probs": gradient})


def _of_linear(call: Call, arguments: dict[str, Any], options: dict[str, Any]) -> Expected | None:
    x, weight = arguments["input"], arguments["linear_weight"]
    if options.pop("precision", None) is None and x.dtype == "float32":
        options["product_eps"] = eps("bfloat16") / eps("float32")
    given = {"bias": options.pop("linear_bias", None), "class_weight": options.pop("weight", None)}
    if options.pop("shift", 0) or options.pop("filter_eps", None) or not x.size:
        return None
    options.pop("workspace", None)
    rounded = eps(x.dtype) / eps("float32") if x.dtype == "bfloat16" else 0
    target, exact_dtype = arguments["target"], truth_dtype(x.dtype)
    options |= given
    exact = evaluate_linear(x, weight, target, gradient_eps=rounded, dtype=exact_dtype, **options)
    ulps, terms = softmax_ulps(len(weight)), len(x)
    quantities = {
        "input": exact.input,
        "linear_weight": exact.weight,
        "linear_bias": Quantity(*(part[:, 0] for part in exact.bias)),
    }
    return Expected(
        _of_quantity(exact.value, x.dtype, ulps, terms),
        {k: _of_quantity(q, x.dtype, ulps, terms) for k, q in quantities.items()},
    )


def _of_layer(call: Call, arguments: dict[str, Any], options: dict[str, Any]) -> Expected | None:
    x, weight, *others = arguments.values()
    options.pop("workspace", None)
    evaluate = evaluate_distilled if len(others) == 2 else evaluate_labelled
    if call.regime == "wide" or any(not each.size for each in (x, *others)):
        return None  # logits of thousands, whose differences are all that a divergence has
    rounded = eps(x.dtype) / eps("float32") if x.dtype == "bfloat16" else 0
    exact_dtype = truth_dtype(x.dtype)
    exact = evaluate(x, weight, *others, gradient_eps=rounded, dtype=exact_dtype, **options)
    ulps, terms = softmax_ulps(len(weight)) + 1, len(x)
    names = list(arguments)
    return Expected(
        _of_quantity(exact.value, x.dtype, ulps, terms),
        {
            names[0]: _of_quantity(exact.input, x.dtype, ulps, terms),
            names[1]: _of_quantity(exact.weight, x.dtype, ulps, terms),
        },
    )


def _of_head(call: Call, arguments: dict[str, Any], options: dict[str, Any]) -> Expected | None:
    name = own_name(call)
    x, weight = arguments["embeddings"], arguments["weight"]
    if call.regime != "usual" or _any_parallel(x, weight):
        return None  # angles of 0 and pi, where slopes amplify what rounding does to them
    if _centers_tie(x, weight, options):
        return None  # whose gradient rounding gives to either
    options.pop("workspace", None)
    parameters = parameters_of(call.name)
    formula = inspect.signature(HEADS[name][0]).parameters
    own = {
        k for k in (*formula, "sub_centers", "centers_per_class", "gamma", "t") if k in parameters
    }
    own |= {"interclass_filtering_threshold"} & set(parameters)
    margins = {k: options.pop(k, parameters[k].default) for k in sorted(own)}
    if None in margins.values():
        return None  # statistics of the batch
    factor = {"l2_softmax_loss": "alpha", "proxy_nca_loss": "softmax_scale"}.get(name, "scale")
    scale = options.pop(factor, parameters[factor].default) * (2 if "nca" in name else 1)
    rounded = eps(x.dtype) / eps("float32") if x.dtype == "bfloat16" else 0
    exact = evaluate_head(
        *(name, x, weight, arguments["target"], margins),
        scale=scale,
        gradient_eps=rounded,
        dtype=truth_dtype(x.dtype),
        **options,
    )
    ulps, terms = softmax_ulps(len(weight)), len(x)
    return Expected(
        _of_quantity(exact.value, x.dtype, ulps, terms),
        {
            "embeddings": _of_quantity(exact.embeddings, x.dtype, ulps, terms),
            "weight": _of_quantity(exact.weight, x.dtype, ulps, terms),
        },
    )


def _centers_tie(x: Array, weight: Array, options: dict[str, Any]) -> bool:
    """Whether two centers of a class are as near to an embedding as rounding can tell."""
    count = options.get("sub_centers", options.get("centers_per_class", 1))
    if count == 1:
        return False
    a, b = (each.astype(np.float64) for each in (x, weight))
    lengths = np.linalg.norm(a, axis=1)[:, np.newaxis] * np.linalg.norm(b, axis=1)
    cosines = np.sort((a @ b.T / lengths).reshape(len(a), -1, count))
    return bool((np.diff(cosines) < 1e-5).any())


def _any_parallel(x: Array, weight: Array) -> bool:
    """Whether an embedding and a center have one direction, as those of one repeated number do."""
    a, b = (each.astype(np.float64) for each in (x, weight))
    lengths = np.linalg.norm(a, axis=1)[:, np.newaxis] * np.linalg.norm(b, axis=1)
    return bool((np.abs(a @ b.T) > (1 - 1e-6) * lengths).any())


def _of_policy(call: Call, arguments: dict[str, Any], options: dict[str, Any]) -> Expected | None:
    log_probs, old, _ = arguments.values()
    others = [old, *(options[k] for k in options if k == "ref_log_probs")]
    if any((np.abs(log_probs.astype(float) - x.astype(float)) > 80).any() for x in others):
        return None  # ratios beyond float32, which its smaller multiples would not be
    dtype = log_probs.dtype
    exact = reference.grpo_loss(
        **arguments,
        **options,
        dtype=truth_dtype(dtype),
        arithmetic=compute_dtype(dtype),
    )
    (gradient,) = exact.gradients
    return Expected(
        lambda actual: assert_value(actual, exact.value, dtype),
        {"log_probs": lambda actual: assert_rounded(actual, gradient, dtype)},
    )


FORMULAS: tuple[tuple[Callable[[str], bool], Callable[..., Expected | None]], ...] = (
    (lambda name: any(name in t.entries for t in TABLES), _of_evaluation),
    (lambda name: name in PARTS, _of_softmax),
    (lambda name: name in ("softmax", "log_softmax", "logsumexp"), _of_helper),
    (lambda name: name == "ctc_loss", _of_sequences),
    (lambda name: name == "linear_cross_entropy", _of_linear),
    (
        lambda name: name in ("linear_distillation_loss", "linear_binary_cross_entropy"),
        _of_layer,
    ),
    (lambda name: name in HEADS, _of_head),
    (lambda name: name == "grpo_loss", _of_policy),
)


def own_name(call: Call) -> str:
    """The loss's name, of which the function's may be another."""
    record = getattr(getattr(fl, call.name), "__fusedloss__", None)
    return record.name if record else call.name


def first_array(arguments: dict[str, Any]) -> Array:
    x = next(iter(arguments.values()))
    return x[0] if isinstance(x, list) else x


def expected(call: Call) -> Expected | None:
    """What the reference's formulas say, where there are any for these values."""
    name = own_name(call)
    formula = next((f for known, f in FORMULAS if known(name)), None)
    if formula is None or call.regime == "special":
        return None
    options = {
        k: plain(x) for k, x in call.arguments.items() if k not in ("num_threads", "outputs")
    }
    required = [k for k in options if k in _positional(call)]
    arguments = {k: options.pop(k) for k in required}
    if not first_array(arguments).size:
        return None
    if call.grad_output is not None:
        options["grad_output"] = plain(call.grad_output)
    with np.errstate(all="ignore"):
        return formula(call, arguments, options)


def _positional(call: Call) -> set[str]:
    return {k for k, p in parameters_of(call.name).items() if p.kind is not p.KEYWORD_ONLY}


# ---- Derivatives, and narrower types -----------------------------------------------------------

#: How far a difference quotient of a smooth loss in float64 is off, relative to its terms.
QUOTIENT = 1e-4

#: Losses with factors or statistics that their sources hold constant: gradients are no derivatives.
HELD_CONSTANT = {"adaface_loss", "circle_loss", "dynamic_soft_margin_loss"}

#: How far float32's value may be off float64's of the same numbers: exponents are scaled by
#: factors of up to 100, as are their roundings.
NARROW = 1e-3


def check_derivative(call: Call, gradients: dict[str, Any]) -> None:
    """The gradients along a direction, against differences in float64 where these agree."""
    function = getattr(fl, call.name)
    arguments = {k: _wide(plain(x)) for k, x in call.arguments.items()}
    if np.ndim(function(**arguments)):
        return
    if call.arguments.get("gradient") == "detached" or call.name in HELD_CONSTANT:
        return
    rng = np.random.default_rng(0)
    directions = {k: _like(rng, arguments[k]) for k in gradients}

    def along(step: float) -> float:
        moved = {**arguments, **{k: _moved(arguments[k], d, step) for k, d in directions.items()}}
        return float(function(**moved))

    scale = 1.0 if call.grad_output is None else float(plain(call.grad_output))
    slopes = []
    for step in (1e-5, -1e-5, 1e-6):
        slopes.append((along(step) - along(-step)) / (2 * step))
        if step > 0:
            slopes.append((along(step) - along(0)) / step)
    numbers = tuple(sorted(map(_positions(call).index, gradients)))
    wide = fl.value_and_grad(function, argnums=numbers)(**arguments)[1]
    order = sorted(gradients, key=_positions(call).index)
    slope = sum(_dot(directions[k], g) for k, g in zip(order, wide, strict=True))
    size = sum(_dot(_abs(directions[k]), _abs(g)) for k, g in zip(order, wide, strict=True))
    if not np.isfinite([*slopes, slope]).all() or np.ptp(slopes) > QUOTIENT * (size + 1e-3):
        return  # a kink, or too steep to tell
    if abs(slopes[0] - slope) > 10 * QUOTIENT * (size + 1e-3):
        raise AssertionError(f"gradient along a direction is {slope}: differences say {slopes[0]}")
    if _counts_differ(call):
        given = _of_all({k: plain(x) for k, x in call.arguments.items()})
        narrow = fl.value_and_grad(function, argnums=numbers)(**given)[1]
        wide = fl.value_and_grad(function, argnums=numbers)(**_of_all(arguments))[1]
        gradients, scale = dict(zip(order, narrow, strict=True)), 1.0
    for k, g in zip(order, wide, strict=True):
        _check_narrow(f"gradient by {k}", gradients[k], _times(g, scale), 0.05)


def _counts_differ(call: Call) -> bool:
    """Whether the divisor counts losses above 0, which a loss of 1e-42 is in float64 only."""
    return call.arguments.get("reduction") == "mean_nonzero"


def _of_all(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments for the mean of all losses, which are as many in any type."""
    return {**arguments, "reduction": "mean"}


#: Losses of the distances that are not 0, which those of duplicates may be in a narrower type.
BESIDES_DUPLICATES = {"ranked_list_loss"}


def _rounding_decides(call: Call) -> bool:
    """Whether a narrower type may have other distances that are 0."""
    if call.name not in BESIDES_DUPLICATES:
        return False
    x = plain(call.arguments["embeddings"])
    y = plain(call.arguments.get("ref_embeddings", call.arguments["embeddings"]))
    others = x if y is x else np.concatenate([x, y])
    return any(_any_parallel(others[i : i + 1], others[i + 1 :]) for i in range(len(others) - 1))


def check_narrow_value(call: Call, value: Any) -> None:
    """The value of a narrower type against float64's."""
    if _rounding_decides(call):
        return
    arguments = {k: plain(x) for k, x in call.arguments.items()}
    function = getattr(fl, call.name)
    if _counts_differ(call):
        arguments = _of_all(arguments)
        value = function(**arguments)
    wide = {k: _wide(x) for k, x in arguments.items()}
    with np.errstate(all="ignore"):
        _check_narrow("value", value, function(**wide), NARROW)


def _check_narrow(what: str, narrow: Any, wide: Any, tolerance: float) -> None:
    if isinstance(narrow, list | tuple):
        for each, other in zip(narrow, wide, strict=True):
            _check_narrow(what, each, other, tolerance)
        return
    x, y = np.asarray(narrow), np.asarray(wide)
    storage = 0 if isinstance(narrow, float) else eps(x.dtype)
    x, y = x.astype(float), y.astype(float)
    size = np.abs(y).max(initial=0)
    if not np.isfinite(size) or not size < 1e4:
        return  # beyond what float16 stores
    if not np.abs(x - y).max(initial=0) <= (tolerance + storage) * max(size, 1e-2):
        worst = float(np.abs(x - y).max())
        raise AssertionError(f"{what} is {worst} off that of float64, of size {size}")


def _positions(call: Call) -> list[str]:
    return list(parameters_of(call.name))


def _wide(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(map(_wide, x))
    narrow = isinstance(x, np.ndarray) and x.dtype.name in ("float16", "bfloat16", "float32")
    return x.astype(np.float64) if narrow else x


def _like(rng: np.random.Generator, x: Any) -> Any:
    return [_like(rng, each) for each in x] if isinstance(x, list) else rng.normal(size=np.shape(x))


def _moved(x: Any, d: Any, step: float) -> Any:
    return (
        [_moved(*each, step) for each in zip(x, d, strict=True)]
        if isinstance(x, list)
        else x + step * d
    )


def _dot(x: Any, y: Any) -> float:
    return math.fsum(map(_dot, x, y)) if isinstance(x, list) else float((x * y).sum())


def _abs(x: Any) -> Any:
    return list(map(_abs, x)) if isinstance(x, list) else np.abs(x)


def _times(x: Any, scale: float) -> Any:
    return [_times(each, scale) for each in x] if isinstance(x, list) else x * scale
