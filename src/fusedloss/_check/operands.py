"""Convert input arrays to what the kernels take, copying only where needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss._types import Array

FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
MOST_DIMENSIONS = 8  #: of the kernels, into which more are folded
MOST_ARRAY_DIMENSIONS = 32  #: that NumPy broadcasts


def as_array(name: str, x: Any) -> Array:
    """Return x as an ndarray, without a copy if it is one; TypeError if that would lose meaning."""
    if x is None:
        raise TypeError(f"{name} is None: expected an array")
    front = type(x).__module__.partition(".")[0]
    if front == "torch":
        raise TypeError(f"{name} is a torch.{type(x).__name__}: use fusedloss.torch for tensors")
    if front in ("jax", "jaxlib"):
        raise TypeError(f"{name} is a JAX array: convert it with numpy.asarray")
    if front == "scipy" and hasattr(x, "toarray"):
        raise TypeError(f"{name} is a scipy.sparse.{type(x).__name__}: convert it with toarray()")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: expected an array without a mask")
    try:
        array = np.asarray(x)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} does not form an array: {error}") from None
    if array.ndim > MOST_ARRAY_DIMENSIONS:
        raise ValueError(
            f"{name} has {array.ndim} dimensions: expected at most {MOST_ARRAY_DIMENSIONS}"
        )
    return array


def is_real(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def as_prediction(name: str, x: Any) -> Array:
    array = as_array(name, x)
    if array.dtype.newbyteorder("=").name not in FLOAT_DTYPES:
        raise TypeError(f"{name} has dtype {array.dtype}: expected {' or '.join(FLOAT_DTYPES)}")
    return array


def plain_prediction(name: str, x: Any) -> Array:
    """Return a prediction as the kernels take it."""
    return as_plain(as_prediction(name, x))


def compute_dtype(array: Array) -> np.dtype[Any]:
    """Return the dtype that losses of an array are computed in."""
    return np.dtype(np.float64 if array.dtype.name == "float64" else np.float32)


def as_floats(name: str, x: Any) -> Array:
    array = as_array(name, x)
    if not is_real(array.dtype):
        raise TypeError(f"{name} has dtype {array.dtype}: expected a float dtype")
    return array


def as_numbers(name: str, x: Any) -> Array:
    """Return real numbers of any dtype as the kernels take them."""
    array = as_array(name, x)
    if array.dtype.kind not in "biuf" and not is_real(array.dtype):
        raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers")
    if array.dtype.kind == "b":
        return as_plain(array).view(np.uint8)
    exact = array.dtype.kind in "iu" or array.dtype.newbyteorder("=").name in FLOAT_DTYPES
    return as_plain(array, None if exact else np.float64)


def bools(name: str, x: Any) -> Array:
    """Return a mask as an array."""
    array = as_array(name, x)
    if array.dtype.kind != "b":
        raise TypeError(f"{name} has dtype {array.dtype}: expected bool, True for what takes part")
    return array


def as_plain(array: Array, dtype: Any = None) -> Array:
    """Return the array in native byte order, aligned, with strides of whole elements.

    A number beyond the largest of the dtype is infinite, as it is where kernels convert.
    """
    dtype = array.dtype.newbyteorder("=") if dtype is None else dtype
    whole = all(stride % array.dtype.itemsize == 0 for stride in array.strides)
    if array.dtype == dtype and array.dtype.isnative and array.flags.aligned and whole:
        return array if type(array) is np.ndarray else array.view(np.ndarray)
    with np.errstate(over="ignore"):
        return array.astype(dtype, order="K", subok=False)


def first_bad(name: str, array: Array, bad: Array) -> tuple[str, Any]:
    """Return the first bad element of an array, and an expression for its place."""
    if not bad.any():
        raise IndexError(f"{name} held a value out of range, and was changed during the call")
    position = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"{name}[{', '.join(map(str, position))}]" if position else name
    return where, array[position]


def broadcast(arrays: dict[str, Array]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(x.shape for x in arrays.values()))
    except ValueError:
        listed = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
        raise ValueError(f"shapes do not broadcast: {listed}") from None
