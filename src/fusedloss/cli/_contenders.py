"""The contenders of a benchmark: fusedloss, its peers and the memory copy they are measured in.

``fusedloss bench`` uses them, and so does the ``benchmarks/`` folder of the repository.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

import fusedloss as fl
from fusedloss._types import Array
from fusedloss.cli import _peers, _plain_numpy

Mode = Literal["value + gradient", "forward"]
VALUE_AND_GRADIENT: Mode = "value + gradient"
FORWARD: Mode = "forward"
MODES: tuple[Mode, ...] = (VALUE_AND_GRADIENT, FORWARD)

OUT = "fusedloss, out="
FUSEDLOSS = "fusedloss"
FRONT = "fusedloss.torch"
NUMPY = "NumPy"
TORCH = "torch eager"
COMPILE = "torch.compile"
JAX = "JAX jit"
#: cross_entropy of the same logits with class indices and no options.
PLAIN = "plain call"
#: Reading the probabilities of the target.
READ = "reading"
#: A copy of the logits, or of another prediction, in memory that is there.
COPY = "copy"
#: The matrix products that a loss is made of.
PRODUCT = "product"

#: What is compared, in the order of the tables; yardsticks are beside it.
CONTENDERS = (OUT, FUSEDLOSS, FRONT, NUMPY, TORCH, COMPILE, JAX)
#: Those that need torch.
WITH_TORCH = frozenset({FRONT, TORCH, COMPILE})
#: Those whose threads are not the ones that fusedloss and torch share.
OWN_THREADS = frozenset({JAX})

#: Bytes of an element.
ITEM_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Work:
    """Shape and dtype of the logits, classes on axis 1."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def label(self) -> str:
        """The shape as the tables show it."""
        return " x ".join(map(str, self.shape))

    @property
    def elements(self) -> int:
        """Number of logits."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size of the logits."""
        return self.elements * ITEM_SIZES[self.dtype]


class Inputs(NamedTuple):
    """What a loss is called with."""

    arrays: tuple[Any, ...]  # the prediction first
    options: dict[str, Any]


@dataclass(frozen=True)
class Computation:
    """A mean loss with its options: as fusedloss is called for it, and as torch computes it."""

    name: str
    loss: Callable[..., Any]
    #: Makes what the loss is called with from random logits, random labels and more randomness.
    inputs: Callable[[Array, Array, np.random.Generator], Inputs]
    #: Takes the torch module and returns a function of the same arguments in torch's operations.
    torch: Callable[[Any], Callable[..., Any]]
    #: The arguments by which there are gradients.
    argnums: tuple[int, ...] = (0,)
    #: What times are given in.
    yardstick: str = COPY


CROSS_ENTROPY = Computation(
    "",
    fl.cross_entropy,
    lambda logits, labels, _: Inputs((logits, labels), {}),
    lambda torch: torch.nn.functional.cross_entropy,
)


def contender_names(mode: Mode, peers: Collection[str]) -> list[str]:
    """Name fusedloss's contenders of a mode, those of the peers, and the copy last."""
    ours = {OUT, FUSEDLOSS} if mode == VALUE_AND_GRADIENT else {FUSEDLOSS}
    return [*(name for name in CONTENDERS if name in ours or name in peers), COPY]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of that name; bfloat16 is ml_dtypes'."""
    if name == "bfloat16":
        dtype: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
        return dtype
    return np.dtype(name)


class Problem:
    """The arrays of one computation and the contenders that work on them.

    Parameters
    ----------
    work
        Shape and dtype of the logits.
    num_threads
        Threads of every contender but plain NumPy, which has one.
    torch
        The torch module, or None to do without.
    computation
        What is computed; plain NumPy and JAX know cross-entropy without options alone.
    """

    def __init__(
        self, work: Work, num_threads: int, torch: Any, computation: Computation = CROSS_ENTROPY
    ) -> None:
        random = np.random.default_rng(0)
        self.work = work
        self.computation = computation
        self.num_threads = num_threads
        self.torch = torch
        dtype = numpy_dtype(work.dtype)
        # As wide as a network's logits, so that no exponential underflows.
        drawn = np.float64 if dtype == np.float64 else np.float32
        logits = random.standard_normal(work.shape, dtype=drawn).astype(dtype, copy=False)
        self.labels = random.integers(work.shape[1], size=(work.shape[0], *work.shape[2:]))
        self.inputs = computation.inputs(logits, self.labels, random)
        self.prediction: Any = self.inputs.arrays[0]
        self._contenders: dict[tuple[str, Mode], Callable[[], Any]] = {}
        if torch is not None:
            torch.set_num_threads(num_threads)

    def contender(self, name: str, mode: Mode) -> Callable[[], Any]:
        """Return the function to time, on memory that is there and touched."""
        if (name, mode) not in self._contenders:
            self._contenders[name, mode] = self._make(name, mode)
        return self._contenders[name, mode]

    def _make(self, name: str, mode: Mode) -> Callable[[], Any]:
        torch, formula, loss = self.torch, self.computation.torch, self.computation.loss
        with_gradient = mode == VALUE_AND_GRADIENT

        def of_tensors(function: Callable[..., Any]) -> Callable[[], Any]:
            return _peers.torch_call(
                torch,
                function,
                *self.inputs,
                with_gradient=with_gradient,
                argnums=self.computation.argnums,
            )

        if name == OUT:
            places = tuple(_zeros(self.inputs.arrays[each]) for each in self.computation.argnums)
            return self._fused(loss, self.inputs, mode, places)
        if name == FUSEDLOSS:
            return self._fused(loss, self.inputs, mode)
        if name == PLAIN:
            plain = Inputs((self.prediction, self.labels), {})
            return self._fused(fl.cross_entropy, plain, mode, (np.zeros_like(self.prediction),))
        if name == FRONT:
            front = importlib.import_module("fusedloss.torch.functional")
            return of_tensors(getattr(front, loss.__name__))
        if name == TORCH:
            return of_tensors(formula(torch))
        if name == COMPILE:
            return of_tensors(_peers.torch_compile(torch, formula(torch)))
        logits, labels, threads = self.prediction, self.labels, self.num_threads
        if name == JAX:
            return _peers.jax_call(logits, labels, threads, with_gradient=with_gradient)
        if name == NUMPY:
            if with_gradient:
                return lambda: _plain_numpy.cross_entropy_and_grad(logits, labels)
            return lambda: _plain_numpy.cross_entropy(logits, labels)
        if name == READ:
            target = _peers.to_tensor(torch, self.inputs.arrays[1])
            return lambda: target.sum()
        if name == COPY:
            return self._copy()
        if name == PRODUCT:
            return self._products()
        raise ValueError(f"no contender {name!r}")

    def _copy(self) -> Callable[[], Any]:
        """Copy the prediction: torch's copy where there is torch, since NumPy's has one thread."""
        arrays = _peers.flat(self.prediction)
        sources = arrays if self.torch is None else _peers.to_tensor(self.torch, arrays)
        copied = [np.zeros_like(each) for each in arrays]
        places = copied if self.torch is None else _peers.to_tensor(self.torch, copied)
        copy = np.copyto if self.torch is None else self.torch.Tensor.copy_
        pairs = list(zip(places, sources, strict=True))

        def call() -> None:
            for place, source in pairs:
                copy(place, source)

        return call

    def _products(self) -> Callable[[], Any]:
        """Multiply the first two arrays, or the first one by itself where it is compared so."""
        first, second = self.inputs.arrays[:2]
        x, weight = first, (second if second.ndim == 2 else first)
        if self.torch is not None:
            x, weight = _peers.to_tensor(self.torch, (x, weight))
        return _peers.products(self.torch, x, weight)

    def _fused(
        self,
        loss: Callable[..., Any],
        inputs: Inputs,
        mode: Mode,
        out: tuple[Any, ...] | None = None,
    ) -> Callable[[], Any]:
        arrays, options = inputs.arrays, inputs.options | {"num_threads": self.num_threads}
        if mode == FORWARD:
            return lambda: loss(*arrays, **options)
        argnums: Any = self.computation.argnums
        places: Any = out
        if len(argnums) == 1:
            argnums, places = argnums[0], out and out[0]
        function = fl.value_and_grad(loss, argnums)
        return lambda: function(*arrays, out=places, **options)


def _zeros(value: Any) -> Any:
    """Return memory that is there for the gradient of an argument."""
    if isinstance(value, list):
        return [np.zeros_like(each) for each in value]
    return np.zeros_like(value)
