"""Arrays anywhere in memory: any strides, alignment and byte order, canaries round them."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import ml_dtypes  # noqa: F401 (NumPy learns the name bfloat16)
import numpy as np

from parts import Array

#: What lies round elements, and between those of a view with gaps: no byte of it may change.
CANARY = 0xA5

#: Bytes before and behind the elements.
MARGIN = 64


@dataclass(eq=False)
class Placed:
    """An array as a view of some bytes, which another array may share."""

    memory: Array  # uint8
    dtype: str  # with its byte order
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]
    writeable: bool = True

    def view(self) -> Array:
        """The array."""
        x = np.ndarray(self.shape, self.dtype, self.memory, self.offset, self.strides)
        x.flags.writeable = self.writeable
        return x

    def numbers(self) -> Array:
        """A plain copy of its elements, in native order."""
        x = self.view()
        return np.array(x, x.dtype.newbyteorder("="))

    def only_elements_differ(self, before: Array) -> bool:
        """Whether all bytes but its elements' are as before."""
        expected = before.copy()
        after = np.ndarray(self.shape, self.dtype, expected, self.offset, self.strides)
        after[...] = self.view()
        return np.array_equal(expected, self.memory)

    def code(self, memories: dict[int, str]) -> str:
        """Python that makes the array again, given the names of memories."""
        x = f"np.ndarray({self.shape}, {self.dtype!r}, {memories[id(self.memory)]}, "
        x += f"{self.offset}, {self.strides})"
        return x if self.writeable else f"read_only({x})"


def code_of_memory(memory: Array) -> str:
    """Python that makes a memory again."""
    packed = base64.b85encode(zlib.compress(memory.tobytes(), 9)).decode()
    return f"memory({packed!r})"


def place(
    x: Any, rng: np.random.Generator, odd: float = 0.5, *, written: bool = False, swap: bool = True
) -> Placed:
    """The array somewhere in memory: ``odd`` is how likely each kind of oddness is.

    Arrays that are written are aligned and of native byte order, as those of a caller are.
    """
    x = np.asarray(x)
    ndim, size = x.ndim, x.dtype.itemsize

    def likely() -> bool:
        return bool(rng.random() < odd)

    order = rng.permutation(ndim) if likely() else np.arange(ndim)
    step = rng.integers(1, 4, ndim) if likely() else np.ones(ndim, int)
    sign = rng.choice([-1, 1], ndim) if likely() else np.ones(ndim, int)
    dtype = x.dtype
    if swap and not written and dtype.kind in "iuf" and size > 1 and rng.random() < odd / 4:
        dtype = dtype.newbyteorder()
    misaligned = not written and rng.random() < odd / 4
    strides, length = [0] * ndim, size
    for axis in reversed(order):
        strides[axis] = int(length * step[axis])
        length = int(length * step[axis] * max(x.shape[axis], 1))
    offset = MARGIN + (int(rng.integers(1, 8)) if misaligned else 0)
    for axis in range(ndim):
        if sign[axis] < 0:
            offset += strides[axis] * max(x.shape[axis] - 1, 0)
            strides[axis] = -strides[axis]
    memory = np.full(length + 2 * MARGIN + 8, CANARY, np.uint8)
    name = dtype.name if dtype.name == "bfloat16" else dtype.str
    placed = Placed(memory, name, x.shape, offset, tuple(strides))
    placed.view()[...] = x
    if not written:
        if ndim and x.size and rng.random() < odd / 4:  # an axis along which all is the same
            axis = int(rng.integers(ndim))
            placed.strides = tuple(0 if k == axis else s for k, s in enumerate(placed.strides))
        placed.writeable = bool(rng.random() < 0.8)
    return placed


#: What snippets start with.
PRELUDE = """\
import base64, zlib
import ml_dtypes
import numpy as np

def memory(packed):
    return np.frombuffer(bytearray(zlib.decompress(base64.b85decode(packed))), np.uint8)

def read_only(x):
    x.flags.writeable = False
    return x
"""
