"""Lower a loss of tokens with advantages to its pointwise kernel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusedloss import _check
from fusedloss._lower.loss import loss
from fusedloss._lower.pointwise import lacks_last_axis, pointwise
from fusedloss._types import Call


def policy(
    row: str,
    operands: dict[str, Any],
    parameters: tuple[float, ...],
    where: Any,
    loss_type: Any,
    divisor: Any,
    num_threads: Any,
) -> Call:
    """Return the call of a loss of tokens, the last axis, with an advantage of each or of all."""
    name, log_probs = next(iter(operands.items()))
    shape = _check.as_array(name, log_probs).shape
    if lacks_last_axis("advantages", operands["advantages"], name, log_probs):
        advantages = _check.as_array("advantages", operands["advantages"])
        operands["advantages"] = advantages[..., np.newaxis]
    others = operands if where is None else operands | {"where": where}
    _check.broadcast_to_first({key: _check.as_array(key, x).shape for key, x in others.items()})
    total, weight = _check.tokens_divisor(loss_type, divisor), None
    if loss_type == "sequence" and where is not None and shape:
        tokens = np.broadcast_to(_check.bools("where", where), shape).sum(-1, keepdims=True)
        weight, total = 1 / np.maximum(tokens, 1), float(math.prod(shape[:-1]))
    return pointwise(
        *(row, operands, parameters, weight, "sum" if total else "mean", num_threads),
        divisor=total,
        where=where,
    )


@loss("log_probs")
def weighted_grpo_loss(
    log_probs: ArrayLike,
    old_log_probs: ArrayLike,
    advantages: ArrayLike,
    *,
    ref_log_probs: ArrayLike | None = None,
    weight: ArrayLike,
    where: ArrayLike,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    beta: float = 0.0,
    divisor: float = 1.0,
    num_threads: int | None = None,
) -> Call:
    """Sum `grpo_loss` by tokens with weights, over `divisor`: the form that every other has.

    Private: `fusedloss.jax` makes the weights of sequences where JAX can see it.
    """
    operands = {"log_probs": log_probs, "old_log_probs": old_log_probs, "advantages": advantages}
    parameters = ratio_options(epsilon, epsilon_high, beta, ref_log_probs)
    if ref_log_probs is not None and parameters[2] != 0:
        operands["ref_log_probs"] = ref_log_probs
    return pointwise(
        *("grpo_loss", operands, parameters, weight, "sum", num_threads),
        divisor=divisor,
        where=where,
    )


def ratio_options(
    epsilon: float, epsilon_high: float | None, beta: float, ref_log_probs: object
) -> tuple[float, float, float]:
    """Return the kernel's options of `grpo_loss`, checked."""
    high = epsilon if epsilon_high is None else epsilon_high
    options = (
        _check.not_negative("epsilon", epsilon),
        _check.not_negative("epsilon_high", high),
        _check.not_negative("beta", beta),
    )
    if options[2] != 0 and ref_log_probs is None:
        raise ValueError(f"ref_log_probs is None: beta={beta} needs those of a reference")
    return options
