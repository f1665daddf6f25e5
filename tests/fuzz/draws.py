"""Which call has which number."""

from __future__ import annotations

import functools

import numpy as np

import fusedloss as fl
from fusedloss.torch import functional
from fuzz.arguments import NOT_CALLED, Call, draw_call
from parts import public


@functools.cache
def functions() -> list[tuple[str, str]]:
    """Every front and function."""
    numpy = [("numpy", name) for name in fl.__all__ if name not in NOT_CALLED]
    return numpy + [("torch", name) for name in public(functional)]


def call_of(seed: int, index: int) -> Call:
    """The call of this number; functions take turns."""
    names = functions()
    front, name = names[index % len(names)]
    return draw_call(name, front, np.random.default_rng([seed, index]))
