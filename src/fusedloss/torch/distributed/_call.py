"""A rank's own arguments: what is wrong with them, and whether they fit those of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedloss.torch._autograd import as_autocast
from fusedloss.torch.distributed._group import (
    DTYPES,
    Facts,
    agree,
    failure,
    fingerprint,
    is_of_integers,
)
from fusedloss.torch.distributed._sharded import Layer, Rows, Spec, evaluate, gather, lowered


def sharded(spec: Spec, rows: Rows, layer: Layer) -> Tensor:
    """Compute a loss over the ranks of a group, the same number on all of them."""
    rows, layer = Rows(*as_autocast(*rows)), Layer(*as_autocast(*layer))
    table = agreed(spec, rows, layer)
    return evaluate(spec, table, gather(spec, table, plain(rows)), layer)


def plain(rows: Rows) -> Rows:
    """Return rows in one dimension, their targets and weights of one dtype on all ranks."""
    x = rows.embeddings.reshape(-1, rows.embeddings.shape[-1])
    weights = rows.sample_weight
    if weights is not None:
        wide = torch.promote_types(x.dtype, torch.float32)
        weights = weights.detach().reshape(-1).to(wide)
    return Rows(x, rows.target.reshape(-1).long(), weights)


def agreed(spec: Spec, rows: Rows, layer: Layer) -> list[Facts]:
    """Return what all ranks say of their arguments.

    Bad ones of any rank, and what ranks disagree on, raise an error on every rank.
    """
    error: Exception | None = None
    try:
        facts = _facts(spec, rows, layer)
    except (TypeError, ValueError, RuntimeError) as problem:
        error, facts = problem, failure()
    table = agree(facts, spec.group)
    if error:
        raise error
    classes = sum(facts.classes for facts in table)
    for rank, facts in enumerate(table):
        if facts.least_label < 0 or facts.most_label >= classes:
            label = facts.most_label if facts.most_label >= classes else facts.least_label
            raise IndexError(
                f"target of rank {rank} holds {label}: out of range for {classes} classes "
                f"(and not ignore_index {spec.ignore_index})"
            )
    return table


def _facts(spec: Spec, rows: Rows, layer: Layer) -> Facts:
    """Return what a rank says of its arguments; raise an error for what is wrong by itself."""
    embeddings, target, sample_weight = rows
    if spec.reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is {spec.reduction!r}: expected 'mean' or 'sum'")
    if layer.weight.ndim != 2 or 0 in layer.weight.shape:
        raise ValueError(
            f"weight has shape {tuple(layer.weight.shape)}: expected (classes, features), and on "
            "every rank at least one of each"
        )
    if embeddings.dtype not in DTYPES:
        raise TypeError(f"embeddings have dtype {embeddings.dtype}: expected a float dtype")
    if not is_of_integers(target.dtype):
        raise TypeError(f"target has dtype {target.dtype}: expected integers")
    for name, x in (("target", target), ("sample_weight", sample_weight)):
        if x is not None and x.shape != embeddings.shape[:-1]:
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}: expected {tuple(embeddings.shape[:-1])}, "
                "the embeddings' without their features"
            )
    # Of no rows, the same loss of arrays says what is wrong with all else.
    no_rows = Rows(embeddings.reshape(-1, embeddings.shape[-1])[:0], target.reshape(-1)[:0], None)
    _, call = lowered(spec, no_rows, layer)
    labels = target[target != spec.ignore_index]
    tensors = (embeddings, layer.weight, layer.bias)
    differentiated = torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in tensors
    )
    return Facts(
        failed=0,
        rows=target.numel(),
        classes=len(layer.weight) // (1 if call.margin is None else call.margin.centers),
        least_label=int(labels.min()) if len(labels) else 0,
        most_label=int(labels.max()) if len(labels) else -1,
        features=embeddings.shape[-1],
        dtype=DTYPES.index(embeddings.dtype),
        differentiated=differentiated,
        returned=differentiated and embeddings.requires_grad,
        options=fingerprint(
            spec.loss.__name__,
            spec.reduction,
            spec.ignore_index,
            sorted(spec.options.items()),
            [x is None for x in (layer.bias, layer.class_weight, sample_weight)],
        ),
    )
