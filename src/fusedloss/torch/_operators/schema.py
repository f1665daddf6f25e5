"""An operator's arguments, read from the signature of the function that it calls.

Tensors come first and by position, as `torch.vmap` demands; options follow, by keyword. Python's
types become those of torch's schemas:

==============================  =========================  ======================================
annotation                      schema                     what the operator is given
==============================  =========================  ======================================
Tensor, Tensor | None           Tensor, Tensor?            the tensor
float | Tensor                  Tensor                     the tensor, or the number as a tensor
tuple[Tensor, ...] | None       Tensor[]                   the tensors, none for None
Tensor | tuple[Tensor, Tensor]  Tensor[]                   one tensor or two
int, float, bool, str, Literal  SymInt, float, bool, str   the option
tuple[Literal, ...]             str[]                      the options
==============================  =========================  ======================================
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

#: What torch has deprecated, and functions turn into a reduction.
_LEGACY = ("size_average", "reduce")

_OPTIONS = {int: "SymInt", float: "float", bool: "bool", str: "str", torch.dtype: "ScalarType"}


@dataclass(frozen=True)
class Argument:
    """An argument of an operator."""

    name: str
    type: str  # as a schema has it
    default: Any  # inspect.Parameter.empty if there is none
    number: bool = False  # whether a number may stand for the tensor
    single: bool = False  # whether a list of one tensor is the tensor

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor, or a list of them."""
        return self.type.startswith("Tensor")

    @property
    def is_list(self) -> bool:
        """Whether it is a list of tensors."""
        return self.type == "Tensor[]"

    def __str__(self) -> str:
        """Return the argument as it is written in a schema."""
        if self.is_tensor or self.type == "str[]" or self.default is inspect.Parameter.empty:
            return f"{self.type} {self.name}"  # schemas have no lists of text as defaults
        text = f'"{self.default}"' if isinstance(self.default, str) else str(self.default)
        return f"{self.type} {self.name}={text}"

    def encoded(self, given: Any) -> Any:
        """Return what the operator is given for an argument of the function."""
        if self.is_list:
            if given is None:
                return []
            return [given] if isinstance(given, Tensor) else list(given)
        if self.number and isinstance(given, int | float):
            return torch.scalar_tensor(given, dtype=torch.float64)
        if self.type == "str[]":
            return list(given)
        return given

    def decoded(self, given: Any) -> Any:
        """Return what the function is given for an argument of the operator."""
        if self.is_list:
            if self.single and len(given) == 1:
                return given[0]
            return tuple(given) or None
        return tuple(given) if self.type == "str[]" else given


def arguments_of(function: Callable[..., Any]) -> tuple[Argument, ...]:
    """Return the arguments of a function's operator, in the order of the function."""
    hints = typing.get_type_hints(function)
    return tuple(
        _argument(parameter, hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in _LEGACY
    )


def _argument(parameter: inspect.Parameter, hint: Any) -> Argument:
    name, default = parameter.name, parameter.default
    kinds = set(get_args(hint)) if get_origin(hint) in (types.UnionType, typing.Union) else {hint}
    optional = "?" if type(None) in kinds else ""
    kinds -= {type(None)}
    tuples = {kind for kind in kinds if get_origin(kind) is tuple}
    if tuples:
        (of,) = {get_args(kind)[0] for kind in tuples}
        if of is Tensor:
            return Argument(name, "Tensor[]", default, single=Tensor in kinds)
        return Argument(name, "str[]", default)
    if Tensor in kinds:
        return Argument(name, "Tensor" + optional, default, number=len(kinds) > 1)
    (kind,) = kinds
    if get_origin(kind) is Literal:
        kind = str
    return Argument(name, _OPTIONS[kind] + optional, default)
