"""Options of a call: numbers, names, and their ranges."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from fusedloss._types import Extras

REDUCTIONS = ("none", "mean", "sum")
OUTPUTS = ("lse", "entropy", "accuracy", "log_prob")
MOST_GAMMA = 64.0
MOST_POWER = 64.0
MOST_THREADS = 1 << 20
MOST_SCALES = {name: float(np.finfo(name).max) for name in ("float32", "float64")}

#: Rejected although `float` takes them: text, and arrays of complex numbers, objects or times.
NO_NUMBERS = (str, bytes, bytearray)
NO_NUMBER_KINDS = "cOSUmM"


def number(name: str, x: Any) -> float:
    """Return an option as a float."""
    if type(x) is float:
        return x
    is_array = isinstance(x, (np.ndarray, np.generic))
    try:
        if isinstance(x, NO_NUMBERS) or (is_array and (x.ndim or x.dtype.kind in NO_NUMBER_KINDS)):
            raise TypeError
        return float(x)
    except OverflowError:
        raise ValueError(f"{name} is {shown(x)}: expected a number that a float holds") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}: expected a number") from None


def shown(x: Any) -> str:
    """Return a number as text, shortened if it is a very long integer."""
    bits = x.bit_length() if isinstance(x, int) else 0
    return f"an integer of {bits} bits" if bits > 256 else repr(x)


def in_range(name: str, x: Any, lowest: float, highest: float) -> float:
    """Return an option as a float, if it lies in a closed range."""
    value = number(name, x)
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}: expected a number from {lowest:g} to {highest:g}")
    return value


def count(name: str, x: Any) -> int:
    """Return a whole number of at least 1."""
    value = integer(name, x)
    if value < 1:
        raise ValueError(f"{name} is {value}: expected a number of at least 1")
    return value


def positive(name: str, x: Any) -> float:
    """Return an option as a float, if it is positive and finite."""
    value = number(name, x)
    if not 0 < value < np.inf:
        raise ValueError(f"{name} is {value}: expected a positive number")
    return value


def scale(name: str, x: Any, of: Any, power: int = 1) -> float:
    """Return a positive option that multiplies or divides `of`: it and its inverse are finite.

    That is, in the dtype that a loss of `of` is computed in, and of a power of it.
    """
    value = positive(name, x)
    given = getattr(of, "dtype", "float64")
    dtype = getattr(given, "name", str(given)).removeprefix("torch.")
    most = MOST_SCALES["float64" if dtype == "float64" else "float32"] ** (1 / power)
    if not 1 / most <= value <= most:
        raise ValueError(
            f"{name} is {value}: expected a number from {1 / most:.3g} to {most:.3g} for {dtype}"
        )
    return value


def not_negative(name: str, x: Any) -> float:
    """Return an option as a float, if it is finite and not negative."""
    value = number(name, x)
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} is {value}: expected a number of at least 0")
    return value


def less_than_one(name: str, x: Any) -> float:
    """Return an option as a float, if it is at least 0 and less than 1."""
    value = number(name, x)
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}: expected a number of at least 0 and less than 1")
    return value


def finite(name: str, x: Any) -> float:
    """Return an option as a float, if it is finite."""
    value = number(name, x)
    if not -math.inf < value < math.inf:  # which a compiler of torch's reads
        raise ValueError(f"{name} is {value}: expected a finite number")
    return value


def one_or_two(name: str, x: Any) -> float:
    """Return a power as a float, if it is 1 or 2."""
    value = number(name, x)
    if value not in (1, 2):
        raise ValueError(f"{name} is {x!r}: expected 1 or 2")
    return value


def norm(name: str, x: Any) -> float:
    """Return the power of a norm as a float."""
    value = number(name, x)
    if not 1 <= value <= MOST_POWER and value != math.inf:
        raise ValueError(f"{name} is {value}: expected a number from 1 to {MOST_POWER:g} or inf")
    return value


def one_of(name: str, x: Any, choices: Iterable[str]) -> str:
    """Return a name, if it is one of the choices."""
    *others, last = map(repr, choices)
    if not isinstance(x, str) or repr(str(x)) not in (*others, last):
        raise ValueError(f"{name} is {x!r}: expected {', '.join(others)} or {last}")
    return str(x)


def outputs(names: Any) -> tuple[str, ...]:
    """Return the names of extra outputs, checked."""
    if names == ():
        return ()
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"outputs is {names!r}: expected a tuple of names out of {OUTPUTS}")
    listed = tuple(names)
    for name in listed:
        if not isinstance(name, str) or name not in OUTPUTS:
            raise ValueError(f"outputs holds {name!r}: expected names out of {OUTPUTS}")
    return listed


def outputs_of(names: tuple[str, ...], has_classes: bool) -> tuple[str, ...]:
    """Return the names of extra outputs; raise ValueError if the target does not have them."""
    if has_classes and "log_prob" in names:
        raise ValueError(
            "outputs holds 'log_prob': expected class indices, target has probabilities"
        )
    return names


def expect_none_of(options: dict[str, float | None], names: tuple[str, ...]) -> None:
    """Raise ValueError for an option that losses of probabilities do not take."""
    for name, x in options.items():
        if x is not None and x != 0:
            raise ValueError(f"{name} is {x!r}: expected class indices, target has probabilities")
    if names:
        raise ValueError(
            f"outputs holds {names[0]!r}: expected class indices, target has probabilities"
        )


def checked_extras(extras: Extras, logits: Any) -> Extras:
    """Return the less common options, checked."""
    return extras._replace(
        gamma=in_range("gamma", extras.gamma, 0, MOST_GAMMA),
        temperature=scale("temperature", extras.temperature, logits),
        softcap=None if extras.softcap is None else scale("softcap", extras.softcap, logits),
        z_loss=not_negative("z_loss", extras.z_loss),
        entropy_bonus=finite("entropy_bonus", extras.entropy_bonus),
    )


def integer(name: str, x: Any) -> int:
    """Return an option as a 64-bit integer."""
    try:
        if isinstance(x, (bool, np.bool_)):
            raise TypeError
        value = operator.index(x)
    except TypeError:
        raise TypeError(f"{name} is {x!r}: expected an integer") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is {shown(value)}: expected a 64-bit integer")
    return value


def flag(name: str, x: Any) -> bool:
    """Return an option as a bool: what is neither True nor False, 1 nor 0 may be a mistake."""
    if isinstance(x, (bool, np.bool_)):
        return bool(x)
    try:
        value = operator.index(x)
    except TypeError:
        raise TypeError(f"{name} is {x!r}: expected True or False") from None
    if value not in (0, 1):
        raise ValueError(f"{name} is {shown(value)}: expected True or False")
    return value == 1


def generator(name: str, x: Any) -> np.random.Generator:
    """Return the random numbers of a seed, or a generator itself."""
    try:
        return np.random.default_rng(x)
    except (TypeError, ValueError, OverflowError) as error:
        raise type(error)(
            f"{name} is {shown(x)}: expected an integer of at least 0, a Generator or None"
        ) from None


def num_threads(x: Any) -> int | None:
    """Return a call's number of threads, checked."""
    if x is None:
        return None
    count = integer("num_threads", x)
    if not 0 < count < MOST_THREADS:
        raise ValueError(f"num_threads is {count}: expected a positive number of threads")
    return count


def reduction(x: Any) -> str:
    """Return a reduction's name, checked."""
    return one_of("reduction", x, REDUCTIONS)


def workspace_size(workspace: Any) -> int:
    if workspace is None:
        return 0
    size = integer("workspace", workspace)
    if size <= 0:
        raise ValueError(f"workspace is {size}: expected a positive number of bytes")
    return size
