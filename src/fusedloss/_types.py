"""The types that several modules name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

Value: TypeAlias = float | Array


class Extras(NamedTuple):
    """What few calls of the softmax family ask for."""

    prediction: int = 0  # what the first argument holds: LOGITS, LOG_PROBABILITIES, PROBABILITIES
    mean_of_positions: bool = False  # a mean counts positions, not class weights
    gamma: float = 0.0
    temperature: float = 1.0
    softcap: float | None = None
    z_loss: float = 0.0
    outputs: tuple[str, ...] = ()
    wide: bool = False  # losses per position have the compute dtype


#: A kernel takes its own arguments, then (gradient, grad_output, out) when a gradient is wanted and
#: (gradient, grad_output, out, hessian) when a Hessian is.
Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]

Reduction: TypeAlias = Literal["none", "mean", "sum"]

#: Of losses of pairs and triplets: "mean_nonzero" is the mean of what is not 0.
PairReduction: TypeAlias = Literal["mean_nonzero", "mean", "sum", "none"]

#: Of losses of more embeddings than a pair.
TupletReduction: TypeAlias = Literal["mean_nonzero", "mean", "sum"]

Distance: TypeAlias = Literal["euclidean", "squared_euclidean", "cosine", "lp"]

Mining: TypeAlias = Literal["all", "hard", "semihard", "semihard_closest", "easy"]

#: Of a margin head: through the margin, or as if the margin were a constant.
Gradient: TypeAlias = Literal["analytic", "detached"]

Output: TypeAlias = Literal["lse", "entropy", "accuracy"]

Precision: TypeAlias = Literal["highest", "high", "medium"]
