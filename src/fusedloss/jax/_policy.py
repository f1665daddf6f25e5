"""The loss of policies whose weights of tokens depend on a mask, an array of JAX's."""

from __future__ import annotations

import functools
import math
from typing import Any

from jax import numpy as jnp

import fusedloss as fl
from fusedloss._lower.policy import weighted_grpo_loss
from fusedloss.jax._call import front

_of_tokens = front(fl.grpo_loss)
_of_weights = front(weighted_grpo_loss)


@functools.wraps(_of_tokens)
def grpo_loss(
    log_probs: Any,
    old_log_probs: Any,
    advantages: Any,
    *,
    where: Any = None,
    loss_type: str = "token",
    divisor: float | None = None,
    **options: Any,
) -> Any:
    if where is None or loss_type != "sequence" or divisor is not None:
        options |= {"where": where, "loss_type": loss_type, "divisor": divisor}
        return _of_tokens(log_probs, old_log_probs, advantages, **options)
    log_probs, advantages = jnp.asarray(log_probs), jnp.asarray(advantages)
    mask = jnp.broadcast_to(jnp.asarray(where, bool), log_probs.shape)
    if log_probs.ndim == advantages.ndim + 1 and log_probs.shape[:-1] == advantages.shape:
        advantages = advantages[..., None]
    weight = 1 / jnp.maximum(mask.sum(-1, keepdims=True), 1)
    options |= {
        "weight": weight,
        "where": mask,
        "divisor": float(math.prod(log_probs.shape[:-1]) or 1),
    }
    return _of_weights(log_probs, old_log_probs, advantages, **options)
