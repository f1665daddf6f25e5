"""What a loss is in JAX: the same function as of arrays, with derivatives and batches.

A loss is a `custom_jvp`, whose rule calls one kernel for value and gradient, and is linear in the
tangents: JAX transposes it for `grad`. That kernel call is a `custom_jvp` too, whose rule is the
formula's: so there are second derivatives.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any, overload

import jax
import numpy as np
from jax import numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike

from fusedloss import _check
from fusedloss._check.points import DOMAINS
from fusedloss._lower.loss import Loss, lookup
from fusedloss._types import Array, Call, LossFunction, P
from fusedloss.jax import _kernels
from fusedloss.jax._formulas import BY_FORMULA, FAMILIES, Given, axes_of, formula_of
from fusedloss.transform import value_and_grad

#: Weights, which the kernels take in the type that they compute in.
WEIGHTS = ("weight", "alpha", "class_weight", "sample_weight", "pos_weight")

#: Whose alpha is a weight of the classes.
FOCAL = ("focal_loss", "categorical_cross_entropy")

#: Which are arrays, whatever the reduction.
ARRAYS = ("softmax", "log_softmax", "logsumexp")

#: Whose mask is an operand of the kernel's, and no mask of rows.
OF_ELEMENTS = ("ranking_softmax_loss",)

#: Options that may be arrays, in which the losses are differentiable.
SCALARS = {"temperature", "beta", "logit_scale", "logit_bias"}

#: Kinds of dtypes.
FLOATS, BOOLS = jnp.floating, jnp.bool_


@overload
def front(loss: LossFunction[P]) -> Callable[P, Any]: ...
@overload
def front(loss: Callable[P, Array]) -> Callable[P, Any]: ...
def front(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Make a loss of JAX's arrays of a loss of NumPy's, with its signature."""
    record = lookup(loss)
    signature = inspect.signature(record.lower)
    annotations = record.lower.__annotations__
    takes_arrays = {name for name in record.parameters if "ArrayLike" in annotations[name]}

    @functools.wraps(loss)
    def function(*args: Any, **options: Any) -> Any:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        dynamic: dict[str, Any] = {}
        static: dict[str, Any] = {}
        for name, given in bound.arguments.items():
            if name == "indices_tuple" and given is not None:
                static[name] = Known(given)
            elif name == "where" and given is not None and record.name not in OF_ELEMENTS:
                dynamic[name] = _mask(given)
            elif name in takes_arrays and not _is_static(given, annotations[name]):
                dynamic[name] = jax.tree.map(_array, given, is_leaf=_is_leaf)
            elif name in SCALARS and isinstance(given, jax.Array | np.ndarray):
                dynamic[name] = _array(given)
            else:
                static[name] = _static(name, given)
        _convert(record, dynamic, static)
        leaves, tree = jax.tree.flatten(dynamic)
        call = _call(record, tree, tuple(static.items()))
        value, *extras = call.run(*leaves)
        names = static.get("outputs", ())
        return (value, dict(zip(names, extras, strict=True))) if names else value

    del function.__fusedloss__  # type: ignore[attr-defined]
    function.__module__ = "fusedloss.jax"
    function.__annotations__["return"] = "jax.Array"
    function.__doc__ = _doc(loss)
    return function


class Known:
    """Arrays that are known when JAX traces a loss, compared by their values."""

    def __init__(self, arrays: Any) -> None:
        if any(isinstance(x, jax.core.Tracer) for x in arrays):
            raise TypeError("indices_tuple is traced: expected arrays made outside of jit")
        self.arrays = tuple(map(np.asarray, arrays))
        self._values = tuple((x.dtype, x.shape, x.tobytes()) for x in self.arrays)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)


def _is_static(given: Any, annotation: str) -> bool:
    """Whether an argument that may be an array is none, but an option of the kernels'."""
    return given is None or ("float" in annotation and isinstance(given, numbers.Real))


def _is_leaf(x: Any) -> bool:
    """Whether a list is an array, and no list of arrays."""
    if not isinstance(x, list | tuple):
        return True
    return all(
        isinstance(each, numbers.Number) or (_is_leaf(each) and isinstance(each, list | tuple))
        for each in x
    )


def _array(x: Any) -> jax.Array:
    array = jnp.asarray(x)
    return array.astype(jnp.uint8) if array.dtype == BOOLS else array


def _mask(where: Any) -> jax.Array:
    array = jnp.asarray(where)
    if array.dtype != BOOLS:
        raise TypeError(f"where has dtype {array.dtype}: expected bool, True for what takes part")
    return array


def _static(name: str, given: Any) -> Hashable:
    if isinstance(given, jax.Array):
        if isinstance(given, jax.core.Tracer):
            raise TypeError(
                f"{name} is traced: expected an option that is known when JAX traces the loss"
            )
        given = np.asarray(given)
    if isinstance(given, np.ndarray | np.generic):
        given = given.item() if given.ndim == 0 else given.tolist()
    if isinstance(given, list):
        given = tuple(given)
    if not isinstance(given, Hashable):
        raise TypeError(f"{name} is {given!r}: expected an option that can be hashed")
    return given


def _convert(record: Loss, dynamic: dict[str, Any], static: dict[str, Any]) -> None:
    """Bring weights into the dtype that the kernels take; a number that stands for several, too."""
    first = jax.tree.leaves(dynamic[record.parameters[0]])[0]
    wide = wide_of(first.dtype)
    for name, _, _ in DOMAINS.get(record.name, {}).values():  # where nan has a place
        dynamic[name] = dynamic[name].astype(first.dtype)
    if record.name == "linear_cross_entropy" and static["shift"]:
        _shift(dynamic, static)
    if record.name in FOCAL and isinstance(static.get("alpha"), numbers.Real):
        axis = static.get("axis", 1 if first.ndim > 1 else 0)
        if isinstance(axis, int) and -first.ndim <= axis < first.ndim:
            dynamic["alpha"] = jnp.full(first.shape[axis], static.pop("alpha"), wide)
    for name in WEIGHTS:
        if name in dynamic and name not in record.differentiable:
            dynamic[name] = dynamic[name].astype(wide)


def _shift(dynamic: dict[str, Any], static: dict[str, Any]) -> None:
    """Leave out the positions without targets, so that none are shifted."""
    x, t = dynamic["input"], dynamic["target"]
    steps = _check.shifted_by(static["shift"], x.shape)
    static["shift"] = 0
    dynamic["input"] = x[..., : x.shape[-2] - steps, :]
    dynamic["target"] = t[..., steps:, :] if t.ndim == x.ndim else t[..., steps:]
    for name in ("sample_weight", "where"):
        if name in dynamic:
            dynamic[name] = dynamic[name][..., steps:]


def wide_of(dtype: DTypeLike) -> Any:
    """Return the dtype that losses of a dtype are computed in."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


@functools.lru_cache(4096)
def _call(record: Loss, tree: Any, static: tuple[tuple[str, Any], ...]) -> LossCall:
    return LossCall(record, tree, dict(static))


class LossCall:
    """Calls of a loss whose arrays have the same names, and whose options are the same."""

    def __init__(self, record: Loss, tree: Any, static: dict[str, Any]) -> None:
        self.record, self.tree, self.static = record, tree, static
        numbers = jax.tree.unflatten(tree, range(tree.num_leaves))
        self.leaves = {name: tuple(jax.tree.leaves(part)) for name, part in numbers.items()}
        loss = jax.custom_jvp(self.value)
        loss.defjvp(self._differentiate, symbolic_zeros=True)
        self.run = jax.jit(loss, inline=True)
        self._with_gradient = functools.lru_cache(self._make_with_gradient)

    # ---- The loss, and its derivatives ----

    def value(self, *leaves: Any) -> tuple[Any, ...]:
        """Return the loss and its extra outputs."""
        outputs: tuple[Any, ...] = self._computed((), leaves)[0]
        return outputs

    def _make_with_gradient(self, wanted: tuple[int, ...]) -> Callable[..., Any]:
        function = jax.custom_jvp(functools.partial(self._computed, wanted))

        @function.defjvp
        def rule(primals: Any, tangents: Any) -> Any:
            def by_formula(leaves: Any) -> Any:
                return self._computed(wanted, leaves, formula=True)

            return jax.jvp(by_formula, primals, tangents)

        return lambda *leaves: function(leaves)

    def _differentiate(self, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        moved = {
            i for i, t in enumerate(tangents)
            if not isinstance(t, SymbolicZero) and t.dtype != jax.dtypes.float0
        }  # fmt: skip
        lowered = self._lowered(primals)[1]
        reduced = self.static.get("reduction") != "none" and self.record.name not in ARRAYS
        by_kernel = [
            k for k, name in enumerate(self.record.differentiable)
            if moved.intersection(self.leaves.get(name, ()))
            and lowered[0] not in BY_FORMULA
            and (reduced or axes_of(lowered, k) is not None)
        ]  # fmt: skip
        outputs, gradients = self._with_gradient(tuple(by_kernel))(*primals)
        of_kernel = [(k, i) for k in by_kernel for i in self.leaves[self.record.differentiable[k]]]
        tangent = jnp.zeros_like(outputs[0])
        for (k, i), gradient in zip(of_kernel, gradients, strict=True):
            if i in moved:
                moved.remove(i)
                axes = None if reduced else axes_of(lowered, k)
                part = _contracted(gradient, tangents[i], axes, outputs[0].dtype)
                tangent = tangent + part
        if moved:
            tangent = tangent + self._by_formula(primals, tangents, sorted(moved))
        return outputs, (tangent, *map(jnp.zeros_like, outputs[1:]))

    def _by_formula(self, primals: Any, tangents: Any, moved: Sequence[int]) -> Any:
        """Return the tangent of the loss by arguments that no kernel has the gradient of."""

        def loss(*some: Any) -> Any:
            leaves = list(primals)
            for i, x in zip(moved, some, strict=True):
                leaves[i] = x
            return self._formula(leaves)[0]

        return jax.jvp(loss, [primals[i] for i in moved], [tangents[i] for i in moved])[1]

    # ---- Arguments ----

    def _arguments(self, leaves: Sequence[Any]) -> dict[str, Any]:
        static = {k: x.arrays if isinstance(x, Known) else x for k, x in self.static.items()}
        return {**jax.tree.unflatten(self.tree, leaves), **static}

    def _depends_on_values(self) -> bool:
        """Whether the kernel's options are found from values of arrays."""
        name, given = self.record.name, self.leaves
        return (
            not SCALARS.isdisjoint(given)
            or (name == "adaface_loss" and None in map(self.static.get, ("norm_mean", "norm_std")))
            or (name == "supcon_loss" and "ref_labels" in given)
        )

    def _lowered(self, leaves: Sequence[Any]) -> tuple[list[Array], Call]:
        zeros = [np.zeros(x.shape, x.dtype) for x in leaves]
        for name in SCALARS & self.leaves.keys():
            zeros[self.leaves[name][0]][...] = 1  # which each of them may be
        return zeros, self.record.lower(**self._arguments(zeros))

    # ---- Kernels and formulas ----

    def _computed(self, wanted: tuple[int, ...], leaves: Any, formula: bool = False) -> Any:
        """Return the outputs, and the gradients by the leaves of the wanted arguments."""
        by_formula = functools.partial(self._formula_with_gradient, wanted)
        if formula:
            return by_formula(*leaves)
        zeros, lowered = self._lowered(leaves)
        if lowered[0] in BY_FORMULA:
            return by_formula(*leaves)
        recorded = None
        family = None if self._depends_on_values() else FAMILIES.get(lowered[0])
        if family is not None and _kernels.has_custom_calls():
            several = len(self.record.differentiable) > 1
            recorded = _kernels.record(lowered, family, wanted, several, zeros)
        shapes = jax.eval_shape(by_formula, *leaves)
        flat, tree = jax.tree.flatten(shapes)
        if recorded is not None:
            kernel = _kernels.with_batches(recorded)
        else:
            kernel = _kernels.by_python(functools.partial(self._by_python, wanted), flat)

        def on_cpu(*leaves: Any) -> Any:
            leaves, outside = self._in_domain(leaves)
            made = [
                x.astype(s.dtype).reshape(s.shape)
                for x, s in zip(kernel(*leaves), flat, strict=True)
            ]
            if outside is not None:
                made = [_spoiled(x, outside) for x in made]
            return jax.tree.unflatten(tree, made)

        return jax.lax.platform_dependent(
            *leaves, cpu=_as_varying(on_cpu), default=_as_varying(by_formula)
        )

    def _in_domain(self, leaves: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        """Return leaves inside of the loss's domain, and where they were outside; None: nowhere."""
        each, outside = list(leaves), None
        for name, least, most in DOMAINS.get(self.record.name, {}).values():
            i = self.leaves[name][0]
            own = ~((each[i] >= least) & (each[i] <= most))
            each[i] = jnp.where(own, 0.5, each[i])
            outside = own if outside is None else outside | own
        if outside is not None and "weight" in self.leaves:
            outside = outside & (each[self.leaves["weight"][0]] != 0)
        if outside is not None and "where" in self.leaves:
            outside = outside & each[self.leaves["where"][0]]
        return tuple(each), outside

    def _by_python(self, wanted: tuple[int, ...], *leaves: Array) -> list[Any]:
        """Return outputs and gradients of the functions of arrays."""
        arguments = self._arguments(leaves)
        loss = _LossOf(self.record)
        gradients: tuple[Any, ...] = ()
        if not wanted:
            value = loss(**arguments)
        else:
            positions = [
                self.record.parameters.index(self.record.differentiable[k]) for k in wanted
            ]
            value, gradients = value_and_grad(loss, positions)(**arguments)
        outputs = [value[0], *value[1].values()] if isinstance(value, tuple) else [value]
        return outputs + jax.tree.leaves(gradients)

    def _formula(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """Return the loss and its extra outputs from JAX's operations."""
        zeros, lowered = self._lowered(leaves)
        named = {name: leaves[own[0]] for name, own in self.leaves.items() if len(own) == 1}
        return formula_of(lowered, Given(zeros, leaves, named, self.static))

    def _formula_with_gradient(self, wanted: tuple[int, ...], *leaves: Any) -> Any:
        of = [i for k in wanted for i in self.leaves[self.record.differentiable[k]]]

        def total(*some: Any) -> Any:
            each = list(leaves)
            for i, x in zip(of, some, strict=True):
                each[i] = x
            outputs = self._formula(each)
            return outputs[0].sum(), outputs

        if not of:
            return self._formula(leaves), ()
        gradients, outputs = jax.grad(total, tuple(range(len(of))), has_aux=True)(
            *(leaves[i] for i in of)
        )
        return outputs, gradients


def _as_varying(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let all results differ between a `shard_map`'s devices where one of the arguments does.

    A custom call's say nothing of that, and JAX takes them for equal.
    """

    def wrapped(*leaves: Any) -> Any:
        axes = frozenset[str]().union(*(_axes_of(x) for x in leaves))
        return jax.tree.map(lambda x: _varying(x, axes - _axes_of(x)), function(*leaves))

    return wrapped


def _axes_of(x: Any) -> frozenset[str]:
    """Return the axes of `shard_map` along whose devices an array differs."""
    kind: Any = jax.typeof(x)
    kind = getattr(kind, "manual_axis_type", kind)
    # "varying" since JAX 0.10, "vma" before; 0.6 has neither
    axes: Any = getattr(kind, "varying", None) or getattr(kind, "vma", ())
    return frozenset(axes)


def _varying(x: Any, axes: frozenset[str]) -> Any:
    if not axes:
        return x
    lax: Any = jax.lax
    if hasattr(lax, "pcast"):
        return lax.pcast(x, tuple(axes), to="varying")
    return lax.pvary(x, tuple(axes))  # before JAX 0.8


def _spoiled(x: Any, outside: Any) -> Any:
    """Return a result with nan where an element was outside of the domain, or all nan."""
    return jnp.where(outside if outside.shape == x.shape else outside.any(), jnp.nan, x)


def _contracted(gradient: Any, tangent: Any, axes: tuple[int, ...] | None, dtype: DTypeLike) -> Any:
    """Return the sum of their product: over the axes of each loss, or for None over all."""
    wide = wide_of(gradient.dtype)
    return (gradient.astype(wide) * tangent.astype(wide)).sum(axes).astype(dtype)


class _LossOf:
    """A loss of arrays, found by its record."""

    def __init__(self, record: Loss) -> None:
        self.__fusedloss__ = record

    def __call__(self, **arguments: Any) -> Any:
        kernel, lowered = self.__fusedloss__.lower(**arguments)
        return kernel(*lowered)


#: What documentation of arrays has of its own.
OF_ARRAYS = re.compile(r"^(Raises|Examples)\n-+\n(?:(?!^\w.*\n-+\n).*\n?)*", re.MULTILINE)


def _doc(loss: Callable[..., Any]) -> str:
    """Return the documentation of a loss of arrays, made that of JAX's arrays."""
    name = loss.__name__
    doc = OF_ARRAYS.sub("", inspect.getdoc(loss) or "").replace("float or array", "array")
    summary, _, rest = doc.rstrip().partition("\n")
    return f"""\
{summary}

The function of JAX's arrays; that of NumPy's is `fusedloss.{name}`.
{rest}

Examples
--------
>>> import jax
>>> from fusedloss import jax as fljax
>>> value_and_gradient = jax.jit(jax.value_and_grad(fljax.{name}))
"""
