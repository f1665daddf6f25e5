"""The losses' formulas in JAX's operations, by the kernels that compute them.

They are what second derivatives are taken of, and what runs on other devices. A formula takes the
arguments of a lowered call, whose arrays stand for JAX's, and returns the loss, followed by its
extra outputs. Unlike the kernels it makes whatever arrays it needs: logits, pairs, probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusedloss import _core, binary, layers, proxies
from fusedloss._lower import (
    adaptive,
    ctc,
    distillation,
    linear,
    manifold,
    pointwise,
    segmentation,
    self_supervised,
    soft_margin,
    triplets,
    tuplets,
)
from fusedloss._lower import softmax as helpers
from fusedloss._types import Array, Call
from fusedloss.jax._formulas import heads, others, pairs, points, rows, softmax, views


class Given:
    """JAX's arrays, by the arrays of zeros that stand for them in a lowered call."""

    def __init__(
        self,
        zeros: Sequence[Array],
        leaves: Sequence[Any],
        named: dict[str, Any],
        static: dict[str, Any],
    ) -> None:
        self.named, self.static = named, static
        each = list(zip(zeros, leaves, strict=True))
        self._leaves = {id(x): leaf for x, leaf in each}
        self._at = {x.ctypes.data: leaf for x, leaf in each if x.size > 0}

    def has(self, x: Array) -> bool:
        """Whether an array stands for one of JAX's."""
        return id(x) in self._leaves or x.ctypes.data in self._at

    def number(self, name: str, known: float) -> Any:
        """Return an option that may be an array: JAX's, or what is known of it."""
        x = self.named.get(name)
        return known if x is None else x.reshape(())

    def __call__(self, x: Any) -> Any:
        """Return what an array stands for; None for None."""
        if x is None:
            return None
        leaf = self._leaves.get(id(x))
        if leaf is None and isinstance(x, np.ndarray):
            leaf = self._at.get(x.ctypes.data)  # of another shape
            if leaf is not None:
                leaf = leaf.reshape(x.shape)
        if leaf is None:
            raise SystemError("fusedloss: an array of a lowered call stands for none of JAX's")
        return leaf


#: By the functions that lowered calls are of.
FORMULAS: dict[Callable[..., Any], Callable[..., Any]] = {
    _core.softmax: softmax.formula,
    _core.pointwise: points.formula,
    _core.rowwise: rows.formula,
    _core.linear_cross_entropy: heads.formula,
    _core.pairwise: pairs.formula,
    adaptive.adaptive_log_softmax: heads.adaptive_layers,
    binary._zero_one_of_scores: others.zero_one_of_scores,
    ctc.ctc: others.ctc,
    distillation.distillation: others.distillation,
    helpers.log_softmax: others.log_softmax,
    helpers.logsumexp: others.logsumexp,
    helpers.softmax: others.softmax,
    layers._summed: others.layers,
    linear.linear_binary_cross_entropy: heads.labelled_layer,
    linear.linear_distillation: heads.distilled_layer,
    linear.p2s_grad: heads.p2s_grad,
    manifold.manifold: others.manifold,
    pointwise.variances_of_rows: points.variances_of_rows,
    proxies._of_proxies: pairs.proxies,
    segmentation.lovasz: others.lovasz,
    segmentation.overlap: others.overlap,
    self_supervised.barlow_twins: views.barlow_twins,
    self_supervised.vicreg: views.vicreg,
    soft_margin.soft_margin: others.soft_margin,
    triplets.triplets: others.triplets,
    tuplets.angular: others.angular,
    tuplets.lifted: pairs.formula,
    tuplets.instance: others.instance,
    tuplets.n_pairs: others.n_pairs,
}

#: Those of which XLA makes loops as good as the kernels.
BY_FORMULA = {
    binary._zero_one_of_scores,
    helpers.log_softmax,
    helpers.softmax,
    layers._summed,
}

#: The family of kernels that a function calls once, by its number in `_core.record`.
FAMILIES: dict[Callable[..., Any], int] = {
    _core.softmax: 0,
    helpers.logsumexp: 0,
    _core.pointwise: 1,
    pointwise.variances_of_rows: 1,
    _core.rowwise: 2,
    _core.linear_cross_entropy: 3,
    _core.pairwise: 4,
}

#: The axes of the gradient by an argument, by its number, that belong to one loss.
AXES: dict[Callable[..., Any], Callable[..., Any]] = {
    _core.softmax: softmax.axes,
    helpers.logsumexp: others.logsumexp_axes,
    _core.pointwise: points.axes,
    _core.rowwise: rows.axes,
    _core.linear_cross_entropy: heads.axes,
    ctc.ctc: others.ctc_axes,
    distillation.distillation: others.distillation_axes,
    linear.linear_binary_cross_entropy: heads.axes,
    linear.linear_distillation: heads.axes,
    linear.p2s_grad: heads.axes,
    adaptive.adaptive_log_softmax: heads.axes,
}


def formula_of(lowered: Call, given: Given) -> tuple[Any, ...]:
    """Return the outputs of a lowered call."""
    kernel, arguments = lowered
    made = FORMULAS[kernel](given, *arguments)
    return made if isinstance(made, tuple) else (made,)


def axes_of(lowered: Call, number: int) -> tuple[int, ...] | None:
    """Return the axes of a gradient that belong to one loss; None if it has a part in several."""
    kernel, arguments = lowered
    return AXES[kernel](number, *arguments) if kernel in AXES else None
