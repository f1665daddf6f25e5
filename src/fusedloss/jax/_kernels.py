"""Kernels inside of XLA's programs: custom calls, and where they do not fit calls of Python.

A custom call holds the argument struct of a kernel as the functions of arrays fill it in: they are
called once, with arrays of zeros in the places of XLA's, while `_core` records instead of running.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.custom_batching import custom_vmap

from fusedloss import _core
from fusedloss._types import Array, Call

#: The name of the custom call in XLA's programs.
TARGET = "fusedloss_call"


@cache
def has_custom_calls() -> bool:
    """Register the custom call with XLA; False, with a warning, for another version of it."""
    handler, version = _core.xla_handler()
    found = interface_version()
    if found == version:
        jax.ffi.register_ffi_target(TARGET, handler, platform="cpu")
        return True
    warnings.warn(
        f"fusedloss.jax: its custom calls are for version {version[0]}.{version[1]} of XLA's FFI, "
        f"jax {jax.__version__} has {found}; every call goes through Python instead, by "
        "jax.pure_callback",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def interface_version() -> tuple[int, int] | None:
    """Return the version of XLA's FFI, as the header says that JAX comes with; None without one.

    A handler of another version must not be registered: JAX would have no CPU any more.
    """
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h")
    if not header.exists():
        return None
    text = header.read_text()
    numbers = [re.search(rf"#define XLA_FFI_API_{part} (\d+)", text) for part in ("MAJOR", "MINOR")]
    major, minor = (None if n is None else int(n[1]) for n in numbers)
    return None if major is None or minor is None else (major, minor)


class Place(NamedTuple):
    """A pointer of the argument struct, and the array that it leads to."""

    pointer: int
    array: int  # operands, then results
    offset: int


class Recorded(NamedTuple):
    """A kernel call, its memory apart."""

    family: int
    threads: int
    struct: bytes
    places: tuple[Place, ...]
    results: tuple[jax.ShapeDtypeStruct, ...]
    value: int  # the result that is the reduced loss; -1: none

    def __call__(self, *operands: Any, calls: int = 1, batched: Sequence[bool] = ()) -> Any:
        """Return the results; of a batch of calls, with its axis first where operands have it."""
        many = tuple(batched) or (False,) * len(operands)
        each = [x.size // calls if b else x.size for x, b in zip(operands, many, strict=True)]
        sizes = [n * x.dtype.itemsize for n, x in zip(each, operands, strict=True)]
        steps = [size if b else 0 for size, b in zip(sizes, many, strict=True)]
        steps += [int(np.prod(r.shape)) * r.dtype.itemsize for r in self.results]
        words = [_core.recording_version(), self.family, calls, self.threads, self.value]
        words.append(len(self.places))
        for place in self.places:
            words += [*place, steps[place.array]]
        struct = self.struct + bytes(-len(self.struct) % 8)
        call = np.concatenate([np.array(words, np.int64), np.frombuffer(struct, np.int64)])
        lead = (calls,) if batched else ()
        results = [jax.ShapeDtypeStruct((*lead, *r.shape), r.dtype) for r in self.results]
        return tuple(jax.ffi.ffi_call(TARGET, results)(*operands, call=call))


def record(
    lowered: Call,
    family: int,
    wanted: tuple[int, ...],
    several: bool,
    operands: Sequence[Array],
) -> Recorded | None:
    """Record a lowered call of zeros; None where it is more than one call of a kernel.

    wanted: numbers of the differentiable arguments whose gradients are results. The results are
    the loss, its extra outputs, and the gradients.
    """
    kernel, arguments = lowered
    gradient = () if not wanted else (wanted if several else True, None, None)
    recorded = _core.record(kernel, (*arguments, *gradient), family)
    if recorded is None:
        return None
    result, threads, struct, pointers = recorded
    value, gradients = result if wanted else (result, ())
    if wanted and not several:
        gradients = (gradients,)
    value, extras = value if isinstance(value, tuple) else (value, {})
    results = [value, *extras.values(), *gradients]
    reduced = isinstance(value, float)
    if reduced:
        results[0] = np.empty((), _wide(operands[0].dtype))
    if not all(isinstance(x, np.ndarray) and x.flags.c_contiguous for x in results):
        return None
    places = []
    arrays = [*operands, *results]
    for pointer, address in pointers.items():
        if not address:
            continue
        for number, x in enumerate(arrays):
            offset = address - x.ctypes.data
            if 0 <= offset < max(x.nbytes, 1):
                places.append(Place(pointer, number, offset))
                break
        else:
            return None  # made in between, of zeros
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in results)
    return Recorded(family, threads, struct, tuple(places), shapes, 0 if reduced else -1)


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that losses of a dtype are computed in."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def with_batches(recorded: Recorded) -> Callable[..., Any]:
    """Return a recorded call as a function that `jax.vmap` makes one call of a batch of."""

    def of_batch(calls: int, batched: tuple[bool, ...]) -> Callable[..., Any]:
        @custom_vmap
        def function(*operands: Any) -> Any:
            return recorded(*operands, calls=calls, batched=batched)

        @function.def_vmap
        def rule(size: int, mapped: Sequence[bool], *operands: Any) -> Any:
            """Make one batch of both: the new axis first, then the old one."""
            flat = []
            for x, new, old in zip(operands, mapped, batched or mapped, strict=True):
                if batched and (new or old):
                    if not new:
                        x = jnp.broadcast_to(x, (size, *x.shape))
                    if not old:
                        x = jnp.broadcast_to(x[:, None], (size, calls, *x.shape[1:]))
                    x = x.reshape(size * calls, *x.shape[2:])
                flat.append(x)
            either = tuple(a or b for a, b in zip(mapped, batched or mapped, strict=True))
            results = of_batch(size * calls, either)(*flat)
            if batched:
                results = tuple(x.reshape(size, calls, *x.shape[1:]) for x in results)
            return results, (True,) * len(results)

        return function

    return of_batch(1, ())


def by_python(
    function: Callable[..., Any], results: Sequence[jax.ShapeDtypeStruct]
) -> Callable[..., Any]:
    """Return a function of arrays as one of JAX's: XLA calls Python, which calls it."""

    def host(*operands: Any) -> Any:
        try:
            made = function(*map(np.asarray, operands))
        except IndexError:  # a class index out of range: nothing raises in XLA's programs
            return tuple(np.full(r.shape, np.nan, r.dtype) for r in results)
        return tuple(np.asarray(x, r.dtype) for x, r in zip(made, results, strict=True))

    def call(*operands: Any) -> Any:
        return tuple(jax.pure_callback(host, tuple(results), *operands, vmap_method="sequential"))

    return call
