"""Lower a margin-softmax head to the kernel of the linear layer."""

from __future__ import annotations

from numpy.typing import ArrayLike

from fusedloss import _check, _core
from fusedloss._check import Margin
from fusedloss._types import Call, Gradient, Reduction

#: The options of every head: ignore_index, label_smoothing, focal_gamma, annealing, gradient,
#: reduction, workspace, num_threads.
Options = tuple[int, float, float, float, Gradient, Reduction, int | None, int | None]


def head(
    given: dict[str, ArrayLike | None],
    margin: Margin,
    scale: float,
    options: Options,
) -> Call:
    """Return the kernel call of a head; fill in the fields of `margin` that all heads share."""
    ignore_index, smoothing, focal_gamma, annealing, gradient, reduction, *resources = options
    margin = margin._replace(
        scale=_check.scale("scale", scale, given.get("embeddings", given.get("cosine"))),
        annealing=_check.not_negative("annealing", annealing),
        detached=_check.one_of("gradient", gradient, _check.GRADIENTS) == "detached",
    )
    call = _check.margin_head(
        given, margin, reduction, ignore_index, smoothing, focal_gamma, *resources
    )
    return _core.linear_cross_entropy, (call,)
