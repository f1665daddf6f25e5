"""The pointwise losses as they are measured: every one, on usual values of its arguments.

The table of them, what they take and torch's formula of each are the tests'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fusedloss as fl
from fusedloss.cli._contenders import Computation, Inputs
from pointwise_cases import LOSSES, Loss


def _computation(name: str, loss: Loss) -> Computation:
    def inputs(given: Any, _labels: Any, random: np.random.Generator) -> Inputs:
        arrays = (domain.draw(random, given.shape) for domain in loss.domains)
        return Inputs(tuple(np.asarray(x).astype(given.dtype) for x in arrays), {})

    def formula(torch: Any) -> Callable[..., Any]:
        each = loss.formula
        if hasattr(torch.nn.functional, name) or each is None:
            own: Callable[..., Any] = getattr(torch.nn.functional, name)
            return own
        return lambda *arrays: each(*arrays).mean()

    return Computation(name, getattr(fl, name), inputs, formula)


POINTWISE = tuple(_computation(name, loss) for name, loss in LOSSES.items())
