"""Calls of adaptive_log_softmax_loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fusedloss._check.labels import class_indices
from fusedloss._check.layers import arrays, same_length
from fusedloss._check.linear_layer import expect_bias, expect_dtype, layer
from fusedloss._check.operands import as_array, plain_prediction
from fusedloss._check.options import num_threads, outputs, reduction, workspace_size
from fusedloss._types import Array

#: The arrays of a call that it is differentiable in, before those of the clusters.
NAMES = ("input", "head_weight", "bias")


class AdaptiveLayer(NamedTuple):
    """A call of adaptive_log_softmax_loss, checked; positions lie on one axis."""

    given: dict[str, Any]  # the arrays as the caller gave them, by name
    input: Array  # as given, plain
    rows: Array
    head: Array
    bias: Array | None
    clusters: tuple[tuple[Array, Array], ...]  # a projection and the weights of classes
    target: Array  # of int64
    reduction: str
    outputs: tuple[str, ...]
    workspace: int
    num_threads: int | None
    names: tuple[str, ...]  # of the arrays that it is differentiable in
    shift: int = 0

    @property
    def edges(self) -> Array:
        """The first class of each cluster, and the number of all classes."""
        shortlist = len(self.head) - len(self.clusters)
        sizes = [len(weight) for _, weight in self.clusters]
        return np.cumsum([shortlist, *sizes])


def adaptive_layer(
    given: dict[str, Any],
    tail_weights: Any,
    reduction_name: Any,
    output_names: Any,
    workspace: Any,
    threads: Any,
) -> AdaptiveLayer:
    """Check a call of adaptive_log_softmax_loss; `given` are its other arrays."""
    x, head = layer(given, "input", "head_weight")
    bias = expect_bias("bias", given["bias"], x, len(head))
    each = {f"tail_weights[{i}]": w for i, w in enumerate(arrays("tail_weights", tail_weights))}
    plain = [plain_prediction(name, weight) for name, weight in each.items()]
    for name, weight in zip(each, plain, strict=True):
        expect_dtype(name, weight, x, "input")
    clusters_of(x, head, plain)
    target = as_array("target", given["target"])
    if target.dtype.kind not in "iu":
        raise TypeError(f"target has dtype {target.dtype}: expected integer class indices")
    if target.shape != x.shape[:-1]:
        raise ValueError(
            f"target has shape {target.shape}: expected {x.shape[:-1]} for input of shape {x.shape}"
        )
    call = AdaptiveLayer(
        given | each,
        x,
        x.reshape(-1, x.shape[-1]),
        head,
        bias,
        tuple(zip(plain[::2], plain[1::2], strict=True)),
        target,
        reduction(reduction_name),
        log_prob_alone(outputs(output_names)),
        workspace_size(workspace),
        num_threads(threads),
        (*NAMES, *each),
    )
    class_indices("target", target, int(call.edges[-1]), None)
    return call._replace(target=target.reshape(-1).astype(np.int64))


def clusters_of(x: Any, head: Any, tails: list[Any]) -> int:
    """Return the number of clusters; raise ValueError for weights whose shapes do not fit."""
    if not tails or len(tails) % 2:
        raise ValueError(
            f"tail_weights holds {len(tails)} arrays: expected two for each cluster, a projection "
            "and the weights of its classes"
        )
    clusters = len(tails) // 2
    if len(head) <= clusters:
        raise ValueError(
            f"head_weight has shape {tuple(head.shape)}: expected more rows than the {clusters} "
            "clusters of tail_weights, one at least for a class"
        )
    for i, weight in enumerate(tails):
        features = tails[i - 1].shape[0] if i % 2 else x.shape[-1]
        if weight.ndim != 2 or weight.shape[1] != features or (i % 2 and not weight.shape[0]):
            rows = "classes" if i % 2 else "features"
            raise ValueError(
                f"tail_weights[{i}] has shape {tuple(weight.shape)}: expected ({rows}, {features})"
            )
    return clusters


def log_prob_alone(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of outputs; raise ValueError for one that there is not."""
    for name in names:
        if name != "log_prob":
            raise ValueError(f"outputs holds {name!r}: expected 'log_prob', which is all there is")
    return names


def each_gradient(
    gradient: bool | tuple[int, ...], out: Any, tails: int
) -> tuple[tuple[int, ...], tuple[Any, ...], tuple[str, ...]]:
    """Return numbers of single arrays, their places and what errors call these.

    gradient: True, or numbers of arguments, of which the last is the list of the clusters' arrays.
    """
    several = isinstance(gradient, tuple)
    wanted = gradient if isinstance(gradient, tuple) else (0,) if gradient else ()
    given = out if several and out is not None else (out,) * len(wanted)
    numbers: list[int] = []
    places: list[Any] = []
    labels: list[str] = []
    for i, (k, place) in enumerate(zip(wanted, given, strict=True)):
        label = f"out[{i}]" if several else "out"
        if k < len(NAMES):
            numbers.append(k)
            places.append(place)
            labels.append(label)
            continue
        column = [None] * tails
        if place is not None:
            column = same_length(label, place, "tail_weights", column)
        numbers += range(len(NAMES), len(NAMES) + tails)
        places += column
        labels += [f"{label}[{j}]" for j in range(tails)]
    return tuple(numbers), tuple(places), tuple(labels)
