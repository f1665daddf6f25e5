"""Makes a call, and says what is wrong with it."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import fusedloss as fl
from checks import assert_same_bits, stored
from fusedloss.torch import functional
from fuzz.arguments import THREADS, Call, names_of_torch, parameters_of
from fuzz.formulas import check_derivative, check_narrow_value, expected, plain
from fuzz.memory import PRELUDE, Placed, code_of_memory

#: Exceptions that tell a user what to change.
NAMED = (TypeError, ValueError, IndexError)


class Wrong(AssertionError):
    """What a call does that it must not."""


def built(x: Any) -> Any:
    """The argument itself."""
    if isinstance(x, Placed):
        return x.view()
    return type(x)(map(built, x)) if isinstance(x, tuple | list) else x


def made(call: Call, out: Any, num_threads: int | None) -> Any:
    """What the call returns, on a number of threads."""
    function = getattr(fl, call.name)
    arguments = {k: built(x) for k, x in call.arguments.items()}
    if num_threads is not None and "num_threads" in parameters_of(call.name):
        arguments["num_threads"] = num_threads
    if call.kind == "hessian":
        return fl.grad_and_hess(function)(**arguments, out=out)
    if call.kind == "gradient":
        more = {"grad_output": built(call.grad_output), "out": out}
        return fl.value_and_grad(function, argnums=call.argnums)(**arguments, **more)
    return function(**arguments)


def check_torch(call: Call) -> bool:
    """Whether torch's front answered, and as NumPy's does; raises `Wrong` where something is."""
    function = getattr(functional, call.name)
    names = {ours: theirs for theirs, ours in names_of_torch(call.name).items()}
    record = getattr(fl, call.name).__fusedloss__
    inputs = {k: built(x) for k, x in call.arguments.items() if k != "num_threads"}
    tensors = {k: tensors_of(x) for k, x in inputs.items()}
    before = [x.clone() for x in _tensors(tensors)]
    numbers = call.argnums if isinstance(call.argnums, tuple) else (call.argnums,)
    asked = [record.parameters[k] for k in numbers] if call.kind == "gradient" else []
    wanted = [
        k
        for k in asked
        if isinstance(tensors.get(k), torch.Tensor) and tensors[k].is_floating_point()
    ]
    for k in wanted:
        tensors[k].requires_grad_()
    try:
        value = function(**{names[k]: x for k, x in tensors.items()})
        if value.requires_grad:
            value.sum().backward()
    except (*NAMED, RuntimeError, NotImplementedError):
        return False
    except (AttributeError, OverflowError) as raised:
        # What torch's own functions say of None, lists and huge integers is its front's answer.
        if is_of_torch(call.name):
            return False
        raise Wrong(f"{type(raised).__name__}: {raised}\n{traceback.format_exc()}") from None
    except Exception as raised:
        raise Wrong(f"{type(raised).__name__}: {raised}\n{traceback.format_exc()}") from None
    for now, then in zip(_tensors(tensors), before, strict=True):
        if not torch.equal(now.detach().nan_to_num(), then.nan_to_num()):
            raise Wrong("an input was written")
    if not call.usual or call.regime != "usual" or not wanted or any(not x.numel() for x in before):
        return True
    numbers = tuple(record.parameters.index(k) for k in wanted)
    arguments = {k: plain(x) for k, x in call.arguments.items() if k != "num_threads"}
    try:
        expected = fl.value_and_grad(getattr(fl, call.name), argnums=numbers)(**arguments)
    except NAMED as refused:
        if is_of_torch(call.name):
            return True  # torch takes more: labels that are the blank, weights of other shapes
        raise Wrong(f"the torch front answers what NumPy's refuses: {refused}") from None
    actual = (value, *(tensors[k].grad for k in wanted))
    for what, ours, theirs in zip(["value", *wanted], actual, _flat(expected), strict=True):
        close(what, torch.zeros(np.shape(theirs)) if ours is None else ours, theirs)
    return True


def is_of_torch(name: str) -> bool:
    """Whether torch has a loss of that name, which answers what the kernels do not take."""
    return hasattr(torch.nn.functional, name)


def _flat(expected: Any) -> tuple[Any, ...]:
    return expected[0], *expected[1]


def close(what: str, tensor: torch.Tensor, array: Any) -> None:
    """The numbers of both fronts, one of which may be torch's own: no bits, but few roundings.

    torch's own adds up the gradient of what was broadcast in its dtype, a hundred terms perhaps.
    """
    x = tensor.detach().to(torch.float64).numpy()
    eps = torch.finfo(tensor.dtype).eps
    y = stored(np.asarray(array, np.float64), str(tensor.dtype).removeprefix("torch."))
    size = np.abs(y[np.isfinite(y)]).max(initial=1e-3)
    with np.errstate(invalid="ignore"):
        off = np.abs(x - y)
    off = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0, off)
    if not (off <= 64 * eps * size).all():
        raise Wrong(f"{what} is {off.max()} off NumPy's front, of size {size}")


def tensors_of(x: Any) -> Any:
    """The tensors of arrays, bfloat16 and all."""
    if isinstance(x, list | tuple):
        return type(x)(map(tensors_of, x))
    if not isinstance(x, np.ndarray) or x.dtype.kind in "OSUc":
        return x
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(x.copy())


def _tensors(x: Any) -> list[torch.Tensor]:
    if isinstance(x, torch.Tensor):
        return [x]
    x = list(x.values()) if isinstance(x, dict) else x
    return [y for each in x for y in _tensors(each)] if isinstance(x, tuple | list) else []


def check(call: Call) -> bool:
    """Whether the call was answered; raises `Wrong` where something is."""
    if call.front == "torch":
        return check_torch(call)
    before = {id(x.memory): (x.memory, x.memory.copy()) for x in call.placed()}
    outs = list(_leaves(call.out))
    own = {id(x.memory) for x in outs}
    result, error = None, None
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            result = made(call, built(call.out), None)
        except NAMED as raised:
            error = raised
        except Exception as raised:
            raise Wrong(f"{type(raised).__name__}: {raised}\n{traceback.format_exc()}") from None
    changed = [k for k, (now, then) in before.items() if not np.array_equal(now, then)]
    if error is not None:
        if changed:
            raise Wrong(f"memory was written before this error: {error}")
        check_message(call, error)
        return False
    if any(k not in own for k in changed):
        raise Wrong("an input was written")
    for out in outs:
        if not out.only_elements_differ(before[id(out.memory)][1]):
            raise Wrong("memory round out was written")
    shared = own & {id(x.memory) for x in call.placed() if x not in outs}
    if shared:
        return True  # written over an input, which is gone
    try:
        check_answer(call, result)
    except AssertionError as wrong:
        notes = "\n".join(getattr(wrong, "__notes__", ()))
        raise Wrong(f"{wrong}\n{notes}") from None
    return True


def _leaves(x: Any) -> list[Placed]:
    if isinstance(x, Placed):
        return [x]
    return [y for each in x for y in _leaves(each)] if isinstance(x, tuple | list) else []


def check_message(call: Call, error: Exception) -> None:
    """An error names an argument, and is not one that Python or NumPy raised in passing."""
    names = {*parameters_of(call.name), "out", "grad_output", "argnums"}
    message = str(error)
    if not any(re.search(rf"\b{re.escape(name)}\b", message) for name in names):
        raise Wrong(f"names no argument: {type(error).__name__}: {message}")
    if re.search(r"object at 0x(?!.*expected)|has no attribute|_core\.|NoneType' object", message):
        raise Wrong(f"not worded: {type(error).__name__}: {message}")


def same(left: Any, right: Any) -> None:
    if isinstance(left, tuple | list):
        for x, y in zip(left, right, strict=True):
            same(x, y)
    elif isinstance(left, float | np.ndarray):
        assert_same_bits(np.asarray(left), np.asarray(right))


def check_answer(call: Call, result: Any) -> None:
    """The same bits for any number of threads, and the formula's numbers."""
    if not call.wrong:
        for n in THREADS:
            try:
                same(made(call, None, n), result)
            except AssertionError as error:
                error.add_note(f"on {n} threads")
                raise
    if not call.usual or not hasattr(getattr(fl, call.name), "__fusedloss__"):
        return
    names = list(parameters_of(call.name))
    value, gradients = result, {}
    if call.kind == "gradient":
        value, found = result
        numbers = call.argnums
        if isinstance(numbers, int):
            numbers, found = (numbers,), (found,)
        gradients = dict(zip([names[k] for k in numbers], found, strict=True))
    truth = expected(call)
    if call.kind == "hessian":
        if truth is not None:
            call.arguments["reduction"] = "sum"
            truth = expected(call)
            assert truth is not None
            truth.gradients[names[0]](result[0])
            truth.gradients["hessian"](result[1])
            del call.arguments["reduction"]
        return
    if truth is not None:
        _noted("value", truth.value, value)
        for name, gradient in gradients.items():
            _noted(f"gradient by {name}", truth.gradients[name], gradient)
    elif call.regime == "usual" and "seed" not in call.arguments:
        check_narrow_value(call, value)
        if gradients:
            check_derivative(call, gradients)


def _noted(what: str, check: Callable[[Any], None], actual: Any) -> None:
    try:
        check(actual)
    except AssertionError as error:
        error.add_note(what)
        raise


# ---- The call as a program ---------------------------------------------------------------------


#: What makes tensors of a snippet's arrays.
TENSORS = """
import torch
import fusedloss.torch

def tensors(x):
    if isinstance(x, (list, tuple)):
        return type(x)(map(tensors, x))
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.uint16).copy()).view(torch.bfloat16)
    x = torch.from_numpy(x.copy())
    return x.requires_grad_() if x.is_floating_point() else x
"""


def snippet(call: Call) -> str:
    """A program of its own that makes the call."""
    memories: dict[int, str] = {}
    lines = []
    for x in call.placed():
        if id(x.memory) not in memories:
            memories[id(x.memory)] = f"m{len(memories)}"
            lines.append(f"m{len(memories) - 1} = {code_of_memory(x.memory)}")

    def code(x: Any) -> str:
        if isinstance(x, Placed):
            return x.code(memories)
        if isinstance(x, tuple):
            return f"({''.join(code(each) + ', ' for each in x)})"
        if isinstance(x, list):
            return f"[{', '.join(map(code, x))}]"
        if isinstance(x, float) and not np.isfinite(x):
            return f"float('{x}')"
        if isinstance(x, np.ma.MaskedArray):
            return f"np.ma.masked_array(np.array({x.data.tolist()}, {x.dtype.name!r}))"
        if isinstance(x, np.ndarray):
            return f"np.array({x.tolist()}, {x.dtype.name!r})"
        if x is object:
            return "object"
        return "object()" if type(x) is object else repr(x)

    given = [f"    {k}={code(x)}," for k, x in call.arguments.items()]
    function = f"fl.{call.name}"
    if call.front == "torch":
        names = {ours: theirs for theirs, ours in names_of_torch(call.name).items()}
        given = [
            f"    {names[k]}=tensors({code(x)}),"
            for k, x in call.arguments.items()
            if k != "num_threads"
        ]
        lines = [TENSORS, *lines]
        function = f"fusedloss.torch.functional.{call.name}"
    elif call.kind == "hessian":
        function = f"fl.grad_and_hess({function})"
    elif call.kind == "gradient":
        function = f"fl.value_and_grad({function}, argnums={call.argnums})"
        given.append(f"    grad_output={code(call.grad_output)},")
        given.append(f"    out={code(call.out)},")
    where = "import fusedloss as fl"
    start, end = "print(", "))"
    if call.front == "torch":
        start, end = "value = ", ")\nprint(value)\nvalue.sum().backward()"
    return "\n".join([PRELUDE + where, "", *lines, f"{start}{function}(", *given, end])
