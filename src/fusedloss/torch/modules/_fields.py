"""Options of modules: annotated fields with defaults, from which all else follows."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from inspect import signature
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from fusedloss import _check
from fusedloss.torch._autograd import overridden, transformed

T = TypeVar("T", bound="Module")

#: Sizes that other packages have in another order, by their names there.
ELSEWHERE = {
    "embedding_size": "embedding_dim",
    "in_features": "embedding_dim",
    "out_features": "num_classes",
}


def ones(*shape: int) -> Tensor:
    """Return plain ones, whatever the default device and dtype."""
    return torch.ones(shape, dtype=torch.float32, device="cpu")


def labels(*shape: int) -> Tensor:
    """Return labels of the first class."""
    return torch.zeros(shape, dtype=torch.int64, device="cpu")


class Module(nn.Module):
    """A module with options: see `with_options` and `of_torch`."""

    #: The function of `fusedloss.torch.functional`.
    function: ClassVar[Callable[..., Any]]

    #: The inputs of a small call, in which the function checks the options.
    trial: ClassVar[tuple[Any, ...]] = (ones(1), ones(1))

    #: Integers that are right or wrong for an input: they are left out of that call.
    of_input: ClassVar[tuple[str, ...]] = ()

    #: Fields that are not the function's options.
    of_module: ClassVar[tuple[str, ...]] = ()

    #: Buffers that follow the batches: never of 16 bits, in which small steps would be lost.
    statistics: ClassVar[tuple[str, ...]] = ()

    #: Options that a parameter may be given for, which is then learnt.
    learnable: ClassVar[tuple[str, ...]] = ()

    _shown: ClassVar[tuple[str, ...]] = ()  # in the order of the signature
    _names: ClassVar[tuple[str, ...]] = ()  # of these, the function's options
    _tensors: ClassVar[tuple[str, ...]] = ()  # of these, the ones that may be tensors

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Return a module that options can be assigned to: parameters and buffers, too."""
        for name in options:
            here = ELSEWHERE.get(name)
            if here in cls._shown and name not in cls._shown:
                sizes = [size for size in cls._shown if size in ELSEWHERE.values()][:2]
                raise TypeError(
                    f"{cls.__name__} has no option {name}: expected {here}; its first arguments "
                    f"are ({', '.join(sizes)})"
                )
        self = super().__new__(cls)
        nn.Module.__init__(self)
        return self

    def __post_init__(self) -> None:
        """Register tensors as buffers, and check the options."""
        for name in self._shown:
            option = getattr(self, name)
            if isinstance(option, nn.Parameter):
                if name not in self.learnable:
                    raise TypeError(
                        f"{name} is a Parameter: {type(self).__name__} does not learn it, expected "
                        f"{'a tensor' if option.ndim else 'a number'}"
                    )
            elif isinstance(option, Tensor) or (option is None and name in self._tensors):
                delattr(self, name)
                self.register_buffer(name, option)
        self.check()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        statistics = {name: getattr(self, name) for name in self.statistics}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, x in statistics.items():
            if getattr(self, name).itemsize < 4:
                setattr(self, name, x.to(getattr(self, name).device))
        return self

    def keywords(self) -> dict[str, Any]:
        """Return the function's options."""
        return {name: getattr(self, name) for name in self._names}

    def call(self, *inputs: Any, **others: Any) -> Tensor:
        """Call the function with the options."""
        loss: Tensor = self.function(*inputs, **others, **self.keywords())
        return loss

    def check(self) -> None:
        """Raise what a call raises for options that are wrong whatever the input."""
        if overridden() or transformed():
            return
        options = {
            name: option
            for name, option in self.keywords().items()
            if name not in self.of_input and not (isinstance(option, Tensor) and option.ndim)
        }
        for name in self.of_input:
            if getattr(self, name) is not None:
                _check.integer(name, getattr(self, name))
        with torch.no_grad(), torch.autocast("cpu", enabled=False), catch_warnings():
            simplefilter("ignore")
            self.function(*self.trial, **self.with_trial(), **options)

    def with_trial(self) -> dict[str, Any]:
        """Return what the options need of a batch, besides `trial`."""
        return {}

    def extra_repr(self) -> str:
        """Return the options."""
        return ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self._shown)


def _shown(option: Any) -> str:
    if not isinstance(option, Tensor):
        return repr(option)
    if option.ndim or option.is_meta:
        return f"{type(option).__name__} of shape {tuple(option.shape)}"
    return f"{type(option).__name__} of {option.item():.4g}"


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def with_options(module: type[T]) -> type[T]:
    """Make options of the annotated fields of a module: constructor, checks, keywords and repr.

    As `dataclasses.dataclass`; but modules are compared and hashed by identity, and the defaults
    are no attributes of the class, which would hide buffers and parameters.
    """
    made: Any = dataclass(eq=False, repr=False)(module)
    parameters = signature(made).parameters
    for name in parameters.keys() & vars(made).keys():
        delattr(made, name)
    of_call = made.__init__.__annotations__
    for name, of in of_call.items():  # what a caller gives
        of_call[name] = re.sub(r"^InitVar\[(.*)\]$", r"\1", str(of)) if of else of
    of_fields = {field.name: str(field.type) for field in fields(made) if field.repr}
    made._shown = tuple(name for name in parameters if name in of_fields)
    made._names = tuple(name for name in made._shown if name not in made.of_module)
    made._tensors = tuple(name for name in made._shown if "Tensor" in of_fields[name])
    return module


def of_torch(module: type[T]) -> type[T]:
    """Have a module of torch, whose constructor stays, check and show its options."""
    construct = module.__init__
    parameters = signature(construct).parameters

    @functools.wraps(construct)
    def __init__(self: Module, *args: Any, **options: Any) -> None:
        construct(self, *args, **options)
        self.check()

    module.__init__ = __init__  # type: ignore[assignment, method-assign]
    legacy = ("self", "size_average", "reduce")
    module._shown = tuple(name for name in parameters if name not in legacy)
    module._names = tuple(name for name in module._shown if name not in module.of_module)
    return module
