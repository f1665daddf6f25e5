"""What torch runs when it meets an operator: kernels by dispatch key.

Each loss is two operators. `cross_entropy` returns the loss; `cross_entropy_gradients` returns the
loss and its gradients, or the product of the results' gradients with them. Below a graph, both call
the function, which runs the kernels of this package. In a graph the loss saves the gradients that
the other operator computes with it. The outputs log_prob and entropy are differentiable too: their
gradients are computed when such a gradient arrives. Derivatives of gradients, and those in forward
mode, are of the function's formula in torch's operations.

A schema that changes takes another name: caches of compiled code know operators by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import _C, Tensor
from torch._functorch.eager_transforms import enable_inplace_requires_grad
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad

from fusedloss.torch._autograd import without_autocast
from fusedloss.torch._operators.calls import OPERATORS, WITHIN
from fusedloss.torch._operators.schema import Argument, arguments_of

#: An operator's positional arguments: tensors, None where absent, and lists of tensors.
Given: TypeAlias = tuple[Any, ...]

#: Shape of the losses without reduction, by the arguments by name.
Shape: TypeAlias = Callable[[dict[str, Any]], Any]

LIBRARY: Any = torch.library.Library("fusedloss", "DEF")  # type: ignore[no-untyped-call]

_TAGS = (torch.Tag.pt2_compliant_tag,)
_AUTOGRAD = (
    _C.DispatchKey.AutogradCPU,
    _C.DispatchKey.AutogradFunctionality,
    _C.DispatchKey.ADInplaceOrView,
)


@dataclass(eq=False)
class Operator:
    """A loss as an operator."""

    name: str
    function: Callable[..., Any]
    #: the shape of losses without reduction
    shape: Shape
    #: the outputs beside the loss that are differentiable, where it has outputs
    of_outputs: tuple[str, ...] = ("log_prob", "entropy")
    #: the arguments that are given by position
    tensors: tuple[Argument, ...] = ()
    #: the arguments that are given by keyword
    options: tuple[Argument, ...] = ()
    #: whether the loss may have outputs beside it
    has_outputs: bool = False
    #: the operator that returns the loss, and the outputs that are asked for
    of_loss: Any = None
    #: the operator that returns gradients, after the loss if no result's gradient is given
    of_gradients: Any = None

    def __post_init__(self) -> None:
        """Read the signature."""
        arguments = arguments_of(self.function)
        self.tensors = tuple(x for x in arguments if x.is_tensor)
        self.options = tuple(x for x in arguments if not x.is_tensor)
        self.has_outputs = any(x.name == "outputs" for x in arguments)

    def named(self, tensors: Given, options: dict[str, Any]) -> dict[str, Any]:
        """Return the function's arguments by name."""
        given = {x.name: x.decoded(y) for x, y in zip(self.tensors, tensors, strict=True)}
        for x in self.options:
            if x.name in options:
                given[x.name] = x.decoded(options[x.name])
        return given

    @property
    def cotangents(self) -> tuple[str, ...]:
        """The names of the results' gradients, which the fused operator is given first."""
        others = self.of_outputs if self.has_outputs else ()
        return ("grad_output", *[f"grad_{name}" for name in others])

    def differentiable(self, results: list[Any], options: dict[str, Any]) -> list[Any]:
        """Return the loss and each differentiable output, None where it is not asked for."""
        made = dict(zip(options.get("outputs", ()), results[1:], strict=True))
        others = self.of_outputs if self.has_outputs else ()
        return [results[0], *[made.get(name) for name in others]]

    def reduction(self, options: dict[str, Any]) -> Any:
        """Return the reduction, None if there is no such option."""
        (default,) = [x.default for x in self.options if x.name == "reduction"] or [None]
        return options.get("reduction", default)

    def call(self, tensors: Given, options: dict[str, Any]) -> list[Tensor]:
        """Call the function, and return its loss and outputs."""
        with without_autocast():
            value = self.function(**self.named(tensors, options))
        if isinstance(value, tuple):
            return [value[0], *value[1].values()]
        return [value]

    def formula(self, tensors: Given, options: dict[str, Any]) -> list[Tensor]:
        """Compute loss and outputs from torch's operations."""
        with _within("formula"):
            return self.call(tensors, options)


def flat(given: Given) -> tuple[Any, ...]:
    """Return the tensors of positional arguments without lists."""
    return tuple(y for x in given for y in (x if isinstance(x, list | tuple) else (x,)))


def like(given: Given, tensors: Any) -> Given:
    """Return tensors in lists where positional arguments have them."""
    left = iter(tensors)
    return tuple(
        [next(left) for _ in x] if isinstance(x, list | tuple) else next(left) for x in given
    )


@contextmanager
def _within(what: str) -> Iterator[None]:
    before = getattr(WITHIN, what)
    setattr(WITHIN, what, True)
    try:
        yield
    finally:
        setattr(WITHIN, what, before)


# ---- In memory ----------------------------------------------------------------------------------


def _with_autograd() -> Any:
    """Return a context in which operations make graphs, which torch may have switched off."""
    excluded = _C._dispatch_tls_local_exclude_set()
    for key in _AUTOGRAD:
        excluded = excluded.remove(key)
    return _C._ForceDispatchKeyGuard(_C._dispatch_tls_local_include_set(), excluded)


def _loss(operator: Operator, tensors: Given, options: dict[str, Any]) -> list[Tensor]:
    with _within("kernel"), torch.no_grad():
        return operator.call(tensors, options)


def _gradients(
    operator: Operator,
    cotangents: Given,
    known: list[Tensor],
    tensors: Given,
    wanted: list[bool],
    options: dict[str, Any],
) -> list[Tensor]:
    grad_output, *others = cotangents
    if known and grad_output is not None:
        gradients = [grad_output * x for x in known]
        if all(x is None for x in others):
            return gradients
        rest = _gradients(operator, (None, *others), [], tensors, wanted, options)
        return [x.add_(y) for x, y in zip(gradients, rest, strict=True)]
    taken = [x for x in cotangents if x is not None]
    has_values = not taken
    if grad_output is None and taken:
        options = {**options, "reduction": "none"}  # which computes no gradients of the loss
    with _within("kernel"), _with_autograd(), torch.enable_grad():
        aliases = [
            x.detach().requires_grad_() if w else x
            for x, w in zip(flat(tensors), wanted, strict=True)
        ]
        inputs = [x for x, w in zip(aliases, wanted, strict=True) if w]
        results = operator.call(like(tensors, aliases), options)
        gradients = _derivatives(operator.differentiable(results, options), inputs, cotangents)
    for k, (x, gradient) in enumerate(zip(inputs, gradients, strict=True)):
        # laid out as the compiler was told, and no alias of another result
        expected = torch.empty_like(x.detach())
        if gradient.stride() != expected.stride() or any(_same(gradient, y) for y in taken):
            gradients[k] = expected.copy_(gradient)
        taken.append(gradients[k])
    return [*[x.detach() for x in results], *gradients] if has_values else gradients


def _same(x: Tensor, y: Tensor) -> bool:
    return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()


def _derivatives(
    results: list[Any], inputs: list[Tensor], cotangents: Given, create_graph: bool = False
) -> list[Tensor]:
    """Return the product of results' gradients with those in inputs, 0 where they do not vary.

    If no result's gradient is given, that of the loss, the first result, is 1.
    """
    if all(x is None for x in cotangents):
        cotangents = (torch.ones_like(results[0]), *cotangents[1:])
    pairs = [
        (result, x)
        for result, x in zip(results, cotangents, strict=True)
        if x is not None and result is not None and result.requires_grad
    ]
    if not pairs:
        return [torch.zeros_like(x) for x in inputs]
    of, seeds = zip(*pairs, strict=True)
    return list(
        torch.autograd.grad(of, inputs, seeds, create_graph=create_graph, materialize_grads=True)
    )


# ---- Without memory -----------------------------------------------------------------------------


def _fake_loss(operator: Operator, tensors: Given, options: dict[str, Any]) -> list[Tensor]:
    given = operator.named(tensors, options)
    prediction = next(x for x in flat(tensors) if x is not None)
    dtype = options.get("dtype", prediction.dtype)
    positions = operator.shape(given)
    shape = positions if operator.reduction(options) == "none" else ()
    wide = torch.float64 if prediction.dtype is torch.float64 else torch.float32
    outputs = options.get("outputs", ())
    return [
        prediction.new_empty(shape, dtype=dtype),
        *[prediction.new_empty(positions, dtype=wide) for _ in outputs],
    ]


def _fake_gradients(
    operator: Operator,
    cotangents: Given,
    known: list[Tensor],
    tensors: Given,
    wanted: list[bool],
    options: dict[str, Any],
) -> list[Tensor]:
    has_values = all(x is None for x in cotangents)
    made = _fake_loss(operator, tensors, options) if has_values else []
    inputs = [x for x, w in zip(flat(tensors), wanted, strict=True) if w]
    return [*made, *map(torch.empty_like, inputs)]


# ---- In a graph ---------------------------------------------------------------------------------


def _varies(tensors: Any) -> bool:
    """Whether tensors are differentiated in forward mode."""
    if forward_ad._current_level < 0 and not _C._are_functorch_transforms_active():
        return False
    unpack: Any = forward_ad.unpack_dual
    return any(
        x is not None and x.is_floating_point() and unpack(x, level=0).tangent is not None
        for x in tensors
    )


def _in_graph(tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def _applied(function: type[torch.autograd.Function], *arguments: Any) -> list[Tensor]:
    """Apply a function at the level of transforms that the dispatcher is at."""
    with enable_single_level_autograd_function():
        # without torch.autograd.Function's own apply, which begins with the topmost level
        apply: Any = super(torch.autograd.Function, function)
        return list(apply.apply(*arguments))


@contextmanager
def _levels_below() -> Iterator[None]:
    """Have the levels of transforms below make their graphs."""
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        yield


class _Loss(torch.autograd.Function):
    """A loss as a function of its tensors."""

    @staticmethod
    def forward(ctx: Any, call: Any, *tensors: Any) -> tuple[Tensor, ...]:
        """Compute the loss, and its gradients too unless they are left to the backward pass."""
        operator, keyset, given, options = call
        given = like(given, tensors)
        wanted = list(ctx.needs_input_grad[1:])
        deferred = operator.reduction(options) == "none" or any(
            x.dtype is torch.float16 for x, w in zip(tensors, wanted, strict=True) if w
        )  # float16 has no room for gradients that are still to be scaled
        with _levels_below():
            if deferred:
                made = operator.of_loss.redispatch(keyset, *given, **options)
                results = list(made) if isinstance(made, list | tuple) else [made]
            else:
                nothing = [None] * len(operator.cotangents)
                results = operator.of_gradients.redispatch(
                    keyset, *nothing, [], *given, wanted=wanted, **options
                )
        count = len(results) - (0 if deferred else sum(wanted))
        results, gradients = results[:count], results[count:]
        ctx.call = operator, given_like(given), wanted, options
        ctx.save_for_backward(*tensors, *gradients)
        differentiable = operator.differentiable(results, options)
        ctx.mark_non_differentiable(
            *[x for x in results if not any(x is y for y in differentiable)]
        )
        ctx.set_materialize_grads(False)  # which of the results are used is worth knowing
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of the forward pass times the output's, or compute them."""
        operator, lists, wanted, options = ctx.call
        tensors, known = ctx.saved_tensors[: len(wanted)], ctx.saved_tensors[len(wanted) :]
        grad_output, *others = operator.differentiable(list(grad_outputs), options)
        has_others = any(x is not None for x in others)
        if grad_output is None and not has_others:
            return None, *[None for _ in wanted]
        if known and not torch.is_grad_enabled() and not has_others:
            gradients = [grad_output * x for x in known]
        else:
            gradients = operator.of_gradients(
                grad_output, *others, list(known), *like(lists, tensors), wanted=wanted, **options
            )
        left = iter(gradients)
        return None, *[next(left) if w else None for w in wanted]


def given_like(given: Given) -> Given:
    """Return positional arguments' lists without their tensors."""
    return tuple([None] * len(x) if isinstance(x, list | tuple) else None for x in given)


class _Gradients(torch.autograd.Function):
    """Gradients of a loss as a function of its tensors and the results' gradients."""

    @staticmethod
    def forward(ctx: Any, call: Any, *cotangents_and_tensors: Any) -> tuple[Tensor, ...]:
        """Compute the gradients."""
        operator, keyset, known, given, wanted, options = call
        count = len(operator.cotangents)
        cotangents, tensors = cotangents_and_tensors[:count], cotangents_and_tensors[count:]
        given = like(given, tensors)
        with _levels_below():
            results = operator.of_gradients.redispatch(
                keyset, *cotangents, known, *given, wanted=wanted, **options
            )
        ctx.call = operator, given_like(given), wanted, options
        ctx.save_for_backward(*cotangents, *tensors)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """Differentiate the gradients of the formula."""
        operator, lists, wanted, options = ctx.call
        saved, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        at = [k for k, n in enumerate(needed) if n]

        def results(*inputs: Tensor) -> tuple[Tensor, ...]:
            count, given = len(operator.cotangents), _replaced(saved, at, inputs)
            cotangents, tensors = tuple(given[:count]), given[count:]
            return tuple(_formula(operator, cotangents, tensors, lists, wanted, options))

        vjp: Any = torch.func.vjp
        _, pull = vjp(results, *[saved[k] for k in at])
        left = iter(pull(grad_outputs))
        return None, *[next(left) if n else None for n in needed]


def _replaced(tensors: Any, at: list[int], by: Any) -> list[Any]:
    result = list(tensors)
    for k, x in zip(at, by, strict=True):
        result[k] = x
    return result


def _formula(
    operator: Operator,
    cotangents: Given,
    tensors: list[Any],
    lists: Given,
    wanted: list[bool],
    options: dict[str, Any],
) -> list[Tensor]:
    """Return what the fused operator does, by torch's transforms of the formula."""
    at = [k for k, w in enumerate(wanted) if w]
    has_values = all(x is None for x in cotangents)
    names = options.get("outputs", ())
    asked = [True, *[name in names for name in operator.of_outputs if operator.has_outputs]]

    def loss(*inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        results = operator.formula(like(lists, _replaced(tensors, at, inputs)), options)
        found = operator.differentiable(results, options)
        return [x for x in found if x is not None], results[1:]

    vjp: Any = torch.func.vjp
    values, pull, outputs = vjp(loss, *[tensors[k] for k in at], has_aux=True)
    given = [x for x, a in zip(cotangents, asked, strict=True) if a]
    if has_values:
        given[0] = torch.ones_like(values[0])
    given = [torch.zeros_like(y) if x is None else x for x, y in zip(given, values, strict=True)]
    gradients = pull(given)
    return [values[0], *outputs, *gradients] if has_values else list(gradients)


def _loss_in_graph(
    operator: Operator, keyset: Any, tensors: Given, options: dict[str, Any]
) -> list[Tensor]:
    each = flat(tensors)
    if _varies(each):
        return operator.formula(tensors, options)
    below = keyset & _C._after_autograd_keyset
    if _in_graph(each):
        return _applied(_Loss, (operator, below, given_like(tensors), options), *each)
    made = operator.of_loss.redispatch(below, *tensors, **options)
    return list(made) if isinstance(made, list | tuple) else [made]


def _gradients_in_graph(
    operator: Operator,
    keyset: Any,
    cotangents: Given,
    known: list[Tensor],
    tensors: Given,
    wanted: list[bool],
    options: dict[str, Any],
) -> list[Tensor]:
    each = flat(tensors)
    if _varies((*cotangents, *each)):
        # Transforms cannot begin here, between two levels of them: a graph of this level.
        with enable_inplace_requires_grad(True), torch.enable_grad():
            aliases = [x.view_as(x) if w else x for x, w in zip(each, wanted, strict=True)]
            inputs = [x for x, w in zip(aliases, wanted, strict=True) if w]
            for x in inputs:
                if not x.requires_grad:
                    x.requires_grad_()
            results = operator.formula(like(tensors, aliases), options)
            differentiable = operator.differentiable(results, options)
            create_graph = _in_graph((*cotangents, *each))
            gradients = _derivatives(differentiable, inputs, cotangents, create_graph)
        has_values = all(x is None for x in cotangents)
        return [*results, *gradients] if has_values else gradients
    below = keyset & _C._after_autograd_keyset
    if _in_graph((*cotangents, *each)):
        call = operator, below, known, given_like(tensors), wanted, options
        return _applied(_Gradients, call, *cotangents, *each)
    made: list[Tensor] = operator.of_gradients.redispatch(
        below, *cotangents, known, *tensors, wanted=wanted, **options
    )
    return made


# ---- In a batch ---------------------------------------------------------------------------------


def _batched(overload: Any) -> Callable[..., Any]:
    """Return the rule by which an operator is batched: one call for each element."""

    def rule(info: Any, in_dims: Any, *given: Any, **options: Any) -> Any:
        each = [
            overload(
                *[_element(x, dim, k) for x, dim in zip(given, in_dims, strict=True)], **options
            )
            for k in range(info.batch_size)
        ]
        if isinstance(each[0], Tensor):
            return torch.stack(each), 0
        return [torch.stack(x) for x in zip(*each, strict=True)], [0] * len(each[0])

    return rule


def _element(given: Any, dim: Any, k: int) -> Any:
    if isinstance(given, list | tuple) and isinstance(dim, list | tuple):
        return [_element(x, d, k) for x, d in zip(given, dim, strict=True)]
    return given if dim is None or not isinstance(given, Tensor) else given.select(dim, k)


# ---- Registration -------------------------------------------------------------------------------


def register(operator: Operator) -> None:
    """Define a loss's operators and their kernels."""
    OPERATORS[operator.name] = operator
    tensors = ", ".join(map(str, operator.tensors))
    options = ", ".join(map(str, operator.options))
    listed = operator.has_outputs
    name, fused = operator.name, f"{operator.name}_gradients"
    cotangents = ", ".join(f"Tensor? {x}" for x in operator.cotangents)
    count = len(operator.cotangents)
    star = f", *, {options}" if options else ""
    LIBRARY.define(f"{name}({tensors}{star}) -> Tensor{'[]' if listed else ''}", tags=_TAGS)
    LIBRARY.define(
        f"{fused}({cotangents}, Tensor[] known, {tensors}, *, bool[] wanted"
        f"{', ' if options else ''}{options}) -> Tensor[]",
        tags=_TAGS,
    )

    def result(made: list[Tensor]) -> Any:
        return made if listed else made[0]

    def full(given: Given) -> Given:
        """Return positional arguments; what AOTInductor gives for an empty list is None."""
        return tuple(
            [] if x is None and argument.is_list else x
            for x, argument in zip(given, operator.tensors, strict=True)
        )

    def split(given: Given) -> tuple[Given, Any, Given]:
        """Return the results' gradients, gradients that are known, and the loss's tensors."""
        return given[:count], given[count] or [], full(given[count + 1 :])

    def loss(*given: Any, **options: Any) -> Any:
        return result(_loss(operator, full(given), options))

    def gradients(*given: Any, wanted: Any, **options: Any) -> Any:
        return _gradients(operator, *split(given), wanted, options)

    def fake_loss(*given: Any, **options: Any) -> Any:
        return result(_fake_loss(operator, full(given), options))

    def fake_gradients(*given: Any, wanted: Any, **options: Any) -> Any:
        return _fake_gradients(operator, *split(given), wanted, options)

    def loss_in_graph(keyset: Any, *given: Any, **options: Any) -> Any:
        return result(_loss_in_graph(operator, keyset, full(given), options))

    def gradients_in_graph(keyset: Any, *given: Any, wanted: Any, **options: Any) -> Any:
        return _gradients_in_graph(operator, keyset, *split(given), wanted, options)

    kernels = (
        (name, loss, fake_loss, loss_in_graph),
        (fused, gradients, fake_gradients, gradients_in_graph),
    )
    overloads = []
    for defined, in_memory, fake, in_graph in kernels:
        qualified = f"fusedloss::{defined}"
        LIBRARY.impl(defined, in_memory, "CPU")
        LIBRARY.impl(defined, in_graph, "Autograd", with_keyset=True)
        torch.library.register_fake(qualified, fake, lib=LIBRARY)
        overload = getattr(torch.ops.fusedloss, defined).default
        torch.library.register_vmap(qualified, _batched(overload), lib=LIBRARY)
        overloads.append(overload)
    operator.of_loss, operator.of_gradients = overloads
