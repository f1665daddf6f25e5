"""A small valid call of every public function that takes arrays, found from its signature."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

import fusedloss as fl
from parts import Array

ROWS, CLASSES, FEATURES = 6, 3, 4
ERRORS = (TypeError, ValueError, IndexError)

_random = np.random.default_rng(0)
_VALUES = _random.uniform(0.1, 0.9, (ROWS, CLASSES)).astype("float32")
_EMBEDDINGS = _random.normal(size=(ROWS, FEATURES)).astype("float32")
_PROBABILITIES = _VALUES / _VALUES.sum(axis=1, keepdims=True)
_INDICES = np.array([0, 0, 1, 1, 2, 2])
_ENDED_LABELS = np.array([[0, -1, -1], [1, 2, -1], [2, 1, 0]] * 2)
_WEIGHTS = np.array([0.5, 1.0, 2.0], "float32")
_BOXES = (
    np.array([[0, 0, 2, 1]] * ROWS, "float32") + np.arange(ROWS, dtype="float32")[:, np.newaxis]
)
_CENTERS = [_random.normal(size=(n, FEATURES)).astype("float32") for n in (3, 9, 30)]

#: What a required argument may be; the first that a function takes is used.
_CANDIDATES: dict[str, list[Any]] = {
    "target": [_INDICES, _VALUES, _ENDED_LABELS, _BOXES[::-1].copy()],
    "labels": [_INDICES, _VALUES],
    "embeddings": [_EMBEDDINGS],
    "ref_embeddings": [_EMBEDDINGS[::-1].copy()],
    "weight": _CENTERS,
    "linear_weight": _CENTERS[:1],
    "head_weight": [_CENTERS[0][:2]],
    "tail_weights": [[_CENTERS[0][1:].copy(), _CENTERS[1][:2, :2].copy()]],
    "student": [_EMBEDDINGS],
    "student_weight": _CENTERS[:1],
    "teacher": [_EMBEDDINGS[::-1].copy()],
    "teacher_weight": [_CENTERS[0][::-1].copy()],
    "query": [_EMBEDDINGS],
    "key": [_EMBEDDINGS[::-1].copy()],
    "image_features": [_EMBEDDINGS],
    "text_features": [_EMBEDDINGS[::-1].copy()],
    "probs": [_PROBABILITIES],
    "log_probs": [np.log(_PROBABILITIES), np.log(_PROBABILITIES)[:, np.newaxis]],
    "log_prediction": [np.log(_VALUES[::-1])],
    "policy_chosen": [np.log(_PROBABILITIES)],
    "policy_rejected": [np.log(_PROBABILITIES[::-1])],
    "log_target": [np.log(_PROBABILITIES[::-1])],
    "targets": [np.array([[1, 2]])],
    "input_lengths": [np.array([ROWS])],
    "target_lengths": [np.array([2])],
    "input": [_VALUES, _EMBEDDINGS, _BOXES],
    "params": [[_VALUES, _WEIGHTS]],
    "strength": [0.5],
    "features": [[_VALUES, _EMBEDDINGS]],
    "target_features": [[_VALUES[::-1].copy(), _EMBEDDINGS[::-1].copy()]],
    "var": [_VALUES],
    "num_classes": [CLASSES],
    "sample_rate": [0.5],
}

#: Optional arrays.
_OPTIONAL: dict[str, Any] = {
    "weight": _WEIGHTS,
    "sample_weight": np.linspace(0.5, 2, ROWS, dtype="float32"),
    "class_weight": _WEIGHTS,
    "pos_weight": _WEIGHTS,
    "linear_bias": _WEIGHTS,
    "bias": _WEIGHTS[:2],
    "where": np.ones((ROWS, CLASSES), bool),
    "histogram": np.linspace(1, 2, 10, dtype="float32"),
}
_REFERENCES = {"ref_embeddings": _EMBEDDINGS[::-1].copy(), "ref_labels": _INDICES[::-1].copy()}

#: Public functions that take arrays: losses, and what goes with them.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(fl, name)
    for name in fl.__all__
    if hasattr(getattr(fl, name), "__fusedloss__")
    or name.startswith("mine_")
    or name == "sample_classes"
}


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or (isinstance(x, list) and is_array(x[0]))


def mapped(function: Callable[[Array], Any], x: Any) -> Any:
    """Apply a function to an array, or to each of a list."""
    return [function(each) for each in x] if isinstance(x, list) else function(x)


@cache
def _valid(name: str) -> dict[str, Any]:
    function = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters
    required = [p.name for p in parameters.values() if p.default is p.empty]
    for values in itertools.product(*(_CANDIDATES.get(r, [_VALUES]) for r in required)):
        arguments = dict(zip(required, values, strict=True))
        try:
            run(name, arguments)
        except ERRORS:
            continue
        if "seed" in parameters:
            arguments["seed"] = 0
        return arguments
    raise AssertionError(f"no valid call of {name} was found")


def valid(name: str, optional: bool = True) -> dict[str, Any]:
    """Return a valid call's arguments by name, with the optional arrays."""
    arguments = dict(_valid(name))
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    if optional:
        arguments |= {k: x for k, x in _OPTIONAL.items() if k in parameters and k not in arguments}
        if name == "ctc_loss":
            del arguments["sample_weight"]  # of sequences, which the others are not
        if name == "zero_one_loss":
            arguments["weight"] = _OPTIONAL["sample_weight"]  # of rows, whose classes are scored
        # Masks of elements, or of positions, or of pairs.
        for shape in ((ROWS,), (ROWS, ROWS)):
            if "where" in parameters and not _takes(name, arguments):
                arguments["where"] = np.ones(shape, bool)
        if "ref_labels" in parameters:
            arguments |= _REFERENCES
    return arguments


def _takes(name: str, arguments: dict[str, Any]) -> bool:
    try:
        FUNCTIONS[name](**arguments)
    except ERRORS:
        return False
    return True


def arrays_of(name: str) -> dict[str, Any]:
    """Return the arrays of a valid call by name."""
    return {key: x for key, x in valid(name).items() if is_array(x)}


def run(name: str, arguments: dict[str, Any]) -> list[Any]:
    """Return what a function gives, and for a loss its gradient by all that it has one by."""
    function = FUNCTIONS[name]
    found = [function(**arguments)]
    record = getattr(function, "__fusedloss__", None)
    if record is not None:
        numbers = [
            record.parameters.index(k)
            for k in record.differentiable
            if arguments.get(k) is not None
        ]
        found += fl.value_and_grad(function, numbers)(**arguments)
    return list(_flat(found))


def _flat(x: Any) -> Iterator[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        for each in x:
            yield from _flat(each)
    else:
        yield x


def assert_same(found: list[Any], expected: list[Any]) -> None:
    """The same bits."""
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)
