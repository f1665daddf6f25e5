"""The types that several modules name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar, overload

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
    entropy_bonus: float = 0.0
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

Distance: TypeAlias = Literal["euclidean", "squared_euclidean", "cosine", "lp", "snr"]

Mining: TypeAlias = Literal["all", "hard", "semihard", "semihard_closest", "easy"]

#: How much a positive costs by the number of negatives that are ahead of it.
RankPenalty: TypeAlias = Literal["Ds", "Dq", "Iu", "Ib", "O"]

#: Of a margin head: through the margin, or as if the margin were a constant.
Gradient: TypeAlias = Literal["analytic", "detached"]

#: Of losses of images: what makes chances of logits.
Activation: TypeAlias = Literal["softmax", "sigmoid"] | None

Output: TypeAlias = Literal["lse", "entropy", "accuracy", "log_prob"]

Precision: TypeAlias = Literal["highest", "high", "medium"]

P = ParamSpec("P")
G_co = TypeVar("G_co", covariant=True)


# An overload that names one option leaves the others unchecked: between a ParamSpec's positional
# and keyword arguments there is no room for a parameter. Type checkers call that an overlap.


class LossFunction(Protocol[P]):
    """A loss: a float, an array for reduction "none", with a dict of what `outputs` asks for."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, *args: Any, outputs: Sequence[Output], **options: Any
    ) -> tuple[Any, dict[str, Array]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, *args: Any, reduction: Literal["none"], **options: Any
    ) -> Array: ...
    @overload
    def __call__(self, *args: P.args, **options: P.kwargs) -> float: ...


class ValueAndGradFunction(Protocol[P, G_co]):
    """What `value_and_grad` makes of a loss."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, *args: Any, outputs: Sequence[Output], **options: Any
    ) -> tuple[tuple[Any, dict[str, Array]], G_co]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, *args: Any, reduction: Literal["none"], **options: Any
    ) -> tuple[Array, G_co]: ...
    @overload
    def __call__(self, *args: P.args, **options: P.kwargs) -> tuple[float, G_co]: ...
    @overload
    def __call__(self, *args: Any, out: Any, **options: Any) -> tuple[float, G_co]: ...
    @overload
    def __call__(self, *args: Any, grad_output: Any, **options: Any) -> tuple[float, G_co]: ...
