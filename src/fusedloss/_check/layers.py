"""Losses of several arrays: penalties of parameters, perceptual losses of layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusedloss._check.operands import as_numbers, as_prediction, broadcast
from fusedloss._check.results import as_output
from fusedloss._types import Array


def arrays(name: str, x: Any) -> list[Any]:
    """Return a list or tuple of arrays as a list."""
    if not isinstance(x, (list, tuple)):
        raise TypeError(f"{name} is a {type(x).__name__}: expected a list of arrays")
    return list(x)


def same_length(name: str, x: Any, of_name: str, of: list[Any]) -> list[Any]:
    """Return a list or tuple as a list; raise ValueError unless it has another's length."""
    listed = arrays(name, x)
    if len(listed) != len(of):
        raise ValueError(f"{name} holds {len(listed)}: expected {len(of)}, as many as {of_name}")
    return listed


def places(
    out: Any, layers: list[dict[str, Any]], wanted: tuple[int, ...], several: bool
) -> list[tuple[Any, ...] | None]:
    """Check the output arrays of gradients; return what each layer's kernel takes.

    Then no layer may fail after another's gradient is written: each is checked whole.
    """
    lists = tuple(out) if several and out is not None else (out,) * len(wanted)
    if all(each is None for each in lists):
        return [None] * len(layers)
    inputs: dict[str, Array] = {}
    for operands in layers:
        first, *others = operands
        given = {first: as_prediction(first, operands[first])}
        given |= {name: as_numbers(name, operands[name]) for name in others}
        broadcast(given)
        inputs |= {name: np.asarray(x) for name, x in operands.items()}
    columns = []
    for i, (k, each) in enumerate(zip(wanted, lists, strict=True)):
        of_names = [tuple(operands)[k] for operands in layers]
        name = f"out[{i}]" if several else "out"
        column = same_length(name, [None] * len(layers) if each is None else each, "layers", layers)
        for j, (place, of) in enumerate(zip(column, of_names, strict=True)):
            if place is not None:
                others_of = {other: x for other, x in inputs.items() if other != of}
                inputs[f"{name}[{j}]"] = as_output(f"{name}[{j}]", place, of, inputs[of], others_of)
        columns.append(column)
    return list(zip(*columns, strict=True))
