"""Functions of losses: the gradient beside the value, or beside the Hessian."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusedloss import _check, _core
from fusedloss._lower import targets
from fusedloss._lower.loss import Loss, lookup

if TYPE_CHECKING:
    import inspect

#: Options of a value that gradient and Hessian do not have.
OF_THE_VALUE = frozenset(("reduction", "outputs"))


def _argument_numbers(record: Loss, argnums: int | Sequence[int]) -> tuple[int, ...]:
    """Return argnums as a tuple of positions; the loss must be differentiable in each."""
    numbers = tuple(map(operator.index, argnums if isinstance(argnums, Sequence) else (argnums,)))
    names = (*record.differentiable, *record.by_targets)
    choices = {record.parameters.index(name): name for name in names}
    for number in numbers:
        if number not in choices:
            listed = ", ".join(f"{n} ({name})" for n, name in choices.items())
            raise ValueError(
                f"argnums holds {number}: {record.name} is differentiable in argument {listed}"
            )
    if len(set(numbers)) != len(numbers) or not numbers:
        raise ValueError(f"argnums is {argnums!r}: expected distinct argument positions")
    return numbers


class _Transform:
    """A function made of a loss; it has the loss's signature, and pickles as its recipe."""

    def __init__(self, loss: Callable[..., Any], name: str, made_by: tuple[Any, ...]) -> None:
        self._made_by = made_by
        self._record = lookup(loss)
        self._lower = self._record.lower
        self.__name__ = self.__qualname__ = f"{name}_of_{self._record.name}"
        self.__module__ = __name__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_by

    def __repr__(self) -> str:
        return f"<function {self.__name__}>"


def _signature(
    lower: Callable[..., Any], without: Collection[str] = (), also: tuple[str, ...] = ()
) -> inspect.Signature:
    """Return a loss's signature without some arguments, and with others by keyword."""
    import inspect  # slow to import

    kept = [p for p in inspect.signature(lower).parameters.values() if p.name not in without]
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in also]
    return inspect.Signature([*kept, *added])


class ValueAndGrad(_Transform):
    def __init__(self, loss: Callable[..., Any], argnums: int | Sequence[int]) -> None:
        super().__init__(loss, "value_and_grad", (loss, argnums))
        record = self._record
        numbers = _argument_numbers(record, argnums)
        self._names = tuple(record.parameters[number] for number in numbers)
        self._several = isinstance(argnums, Sequence)
        # A loss of several differentiable arguments takes the numbers of those that are wanted.
        self._by_targets = not set(record.by_targets).isdisjoint(self._names)
        is_plain = len(record.differentiable) == 1 or argnums == 0
        self._wanted: Any = is_plain or tuple(map(record.differentiable.index, self._names))
        # The usual call asks for one gradient, which the kernel returns outside a tuple.
        self._direct = is_plain and not self._several

    @property
    def __signature__(self) -> inspect.Signature:
        return _signature(self._lower, also=("grad_output", "out"))

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        name = self._record.name
        return (
            f"Return (value, gradient) of `{name}`, by {', '.join(self._names)}.\n\n"
            f"It takes the arguments of `{name}`, and by keyword `grad_output`, which the\n"
            "gradient is multiplied by, and `out`, where it goes."
        )

    def __call__(self, *args: Any, grad_output: Any = None, out: Any = None, **options: Any) -> Any:
        """Return the value and the gradient."""
        if self._by_targets:
            return self._with_targets(args, options, grad_output, out)
        kernel, arguments = self._lower(*args, **options)
        if self._direct:
            return kernel(*arguments, True, grad_output, out)
        if self._several:
            out = self._places(out)
        if self._wanted is True:
            value, gradient = kernel(*arguments, True, grad_output, out[0])
            return value, (gradient,)
        if self._several:
            return kernel(*arguments, self._wanted, grad_output, out)
        out = None if out is None else (out,)
        value, gradients = kernel(*arguments, self._wanted, grad_output, out)
        return value, gradients[0]

    def _with_targets(
        self, args: tuple[Any, ...], options: dict[str, Any], grad_output: Any, out: Any
    ) -> Any:
        """Return the value and gradients, some by targets, which no kernel has."""
        import inspect  # slow to import

        record = self._record
        bound = inspect.signature(self._lower).bind(*args, **options)
        bound.apply_defaults()
        given = dict(bound.arguments)
        places = self._places(out) if self._several else (out,)
        kernel, arguments = self._lower(*args, **options)
        value = kernel(*arguments)  # which checks all arguments
        gradients: list[Any] = [None] * len(places)
        for k, (name, place) in enumerate(zip(self._names, places, strict=True)):
            if name not in record.by_targets:
                continue
            gradients[k] = targets.by_target(record.name, name, given, grad_output)
            if place is not None:
                others = {n: x for n, x in given.items() if n != name} | {
                    f"out[{i}]": x for i, x in enumerate(places) if i != k
                }
                others["grad_output"] = grad_output
                own = f"out[{k}]" if self._several else "out"
                _check.as_output(own, place, name, np.asarray(given[name]), others)
        for k, (name, place) in enumerate(zip(self._names, places, strict=True)):
            if name not in record.by_targets:
                value, gradients[k] = kernel(*arguments, True, grad_output, place)
            elif place is not None:
                np.copyto(place, gradients[k])
                gradients[k] = place
        return value, tuple(gradients) if self._several else gradients[0]

    def _places(self, out: Any) -> tuple[Any, ...]:
        if out is None:
            return (None,) * len(self._names)
        if not isinstance(out, tuple) or len(out) != len(self._names):
            raise ValueError(
                f"out is {out!r}: expected a tuple of {len(self._names)} arrays or None"
            )
        return out


class GradAndHess(_Transform):
    def __init__(self, loss: Callable[..., Any]) -> None:
        super().__init__(loss, "grad_and_hess", (loss,))
        record = self._record
        if not record.hessian:
            raise ValueError(f"loss is {record.name}: it has no Hessian")

    @property
    def __signature__(self) -> inspect.Signature:
        return _signature(self._lower, without=OF_THE_VALUE, also=("out",))

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        name = self._record.name
        return (
            f"Return (gradient, hessian) of the sum of `{name}`.\n\n"
            f"It takes the arguments of `{name}` but `reduction` and `outputs`, and by keyword\n"
            "`out`, a pair of arrays where they go."
        )

    def __call__(self, *args: Any, out: Any = None, **options: Any) -> Any:
        """Return the gradient and the Hessian."""
        if not OF_THE_VALUE.isdisjoint(options):
            name = next(name for name in options if name in OF_THE_VALUE)
            raise TypeError(f"{name} is given: gradient and Hessian are those of the sum")
        if out is not None and not (isinstance(out, tuple) and len(out) == 2):
            raise ValueError(
                f"out is a {type(out).__name__}: expected a tuple (gradient, hessian) of two arrays"
                " or None"
            )
        kernel, arguments = self._lower(*args, reduction="sum", **options)
        if kernel is _core.rowwise:
            raise ValueError(f"{self._record.name} of probabilities has no Hessian")
        return kernel(*arguments, True, None, out, True)
