"""The contenders of a benchmark: fusedloss, its peers and the memory copy they are measured in.

``fusedloss bench`` uses them, and so does the ``benchmarks/`` folder of the repository.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import fusedloss as fl
from fusedloss.cli import _plain_numpy

Mode = Literal["value + gradient", "forward"]
MODES: tuple[Mode, ...] = ("value + gradient", "forward")

COPY = "copy"
OUT = "fusedloss, out="
FUSEDLOSS = "fusedloss"
NUMPY = "NumPy"
TORCH = "torch eager"


@dataclass(frozen=True)
class Work:
    """Mean cross-entropy of random logits of one shape, classes on axis 1."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def label(self) -> str:
        """The shape as the tables show it."""
        return " x ".join(map(str, self.shape))

    @property
    def bytes(self) -> int:
        """Size of the logits."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def contender_names(mode: Mode, *, torch: bool) -> list[str]:
    """Name the contenders of a mode, fusedloss first and the copy last."""
    ours = [OUT, FUSEDLOSS] if mode == "value + gradient" else [FUSEDLOSS]
    return [*ours, NUMPY, *([TORCH] if torch else []), COPY]


class Problem:
    """The arrays of one `Work` and the contenders that work on them.

    Parameters
    ----------
    work
        Shape and dtype of the logits.
    num_threads
        Threads for fusedloss, torch and the copy; plain NumPy has one.
    torch
        The torch module, or None to do without.
    """

    def __init__(self, work: Work, num_threads: int, torch: Any) -> None:
        random = np.random.default_rng(0)
        self.work = work
        self.num_threads = num_threads
        self.torch = torch
        # As wide as a network's logits, so that no exponential underflows.
        self.logits = random.standard_normal(work.shape, dtype=np.dtype(work.dtype).type)
        self.target = random.integers(work.shape[1], size=(work.shape[0], *work.shape[2:]))
        if torch is not None:
            torch.set_num_threads(num_threads)

    def contender(self, name: str, mode: Mode) -> Callable[[], object]:
        """Make the function to time, on memory that is there and touched."""
        match name, mode:
            case "copy", _:
                return self._copy()
            case "fusedloss", "forward":
                return self._forward()
            case "fusedloss", _:
                return self._value_and_grad(None)
            case "fusedloss, out=", "value + gradient":
                return self._value_and_grad(np.zeros_like(self.logits))
            case "NumPy", "forward":
                return lambda: _plain_numpy.cross_entropy(self.logits, self.target)
            case "NumPy", _:
                return lambda: _plain_numpy.cross_entropy_and_grad(self.logits, self.target)
            case "torch eager", "forward":
                return self._torch_forward()
            case "torch eager", _:
                return self._torch_value_and_grad()
        raise ValueError(f"no contender {name!r} for {mode}")

    def _copy(self) -> Callable[[], object]:
        """Copy the logits: torch's copy where there is torch, since NumPy's has one thread."""
        copied = np.zeros_like(self.logits)
        if self.torch is None:
            return lambda: np.copyto(copied, self.logits)
        source, destination = self.torch.from_numpy(self.logits), self.torch.from_numpy(copied)
        return lambda: destination.copy_(source)

    def _forward(self) -> Callable[[], object]:
        logits, target, threads = self.logits, self.target, self.num_threads
        return lambda: fl.cross_entropy(logits, target, num_threads=threads)

    def _value_and_grad(self, out: Any) -> Callable[[], object]:
        logits, target, threads = self.logits, self.target, self.num_threads
        function = fl.value_and_grad(fl.cross_entropy)
        return lambda: function(logits, target, num_threads=threads, out=out)

    def _torch_forward(self) -> Callable[[], object]:
        logits, target = self.torch.from_numpy(self.logits), self.torch.from_numpy(self.target)
        cross_entropy, no_grad = self.torch.nn.functional.cross_entropy, self.torch.no_grad

        def call() -> object:
            with no_grad():
                return cross_entropy(logits, target)

        return call

    def _torch_value_and_grad(self) -> Callable[[], object]:
        # detach, so that the other contenders' views of the same memory stay plain tensors
        logits = self.torch.from_numpy(self.logits).detach().requires_grad_()
        target = self.torch.from_numpy(self.target)
        cross_entropy = self.torch.nn.functional.cross_entropy

        def call() -> object:
            loss = cross_entropy(logits, target)
            loss.backward()
            # Hand the gradient over and keep none: the next call would add to it.
            grad, logits.grad = logits.grad, None
            return loss.detach(), grad

        return call
