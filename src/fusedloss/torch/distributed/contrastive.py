"""Losses of two towers whose rows the ranks of a group have: each has negatives on all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from fusedloss import _core
from fusedloss._lower import pairs
from fusedloss.torch._autograd import as_autocast
from fusedloss.torch.distributed._group import (
    DTYPES,
    Facts,
    Group,
    agree,
    failure,
    fingerprint,
)
from fusedloss.torch.distributed._sharded import apply, gather_differentiably, numbers, tensor

#: What a kernel is given: two towers, and the parameters.
Call = Callable[..., pairs.PairCall]


def sharded_clip_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: float | Tensor = 1 / 0.07,
    *,
    normalize: bool = True,
    process_group: Group = None,
) -> Tensor:
    """CLIP's loss of the images and texts of all ranks.

    As `fusedloss.clip_loss` of all rows. Every rank of the group calls it and gets the same loss.

    Parameters
    ----------
    image_features, text_features : tensors of floats, shape (N, D)
        This rank's pairs, as many as it has, or none.
    logit_scale : float or tensor, default 1 / 0.07
        The scale itself, not its logarithm; positive, and the same on all ranks.
    normalize : bool, default True
        Whether to divide each row by its norm (or 1e-12, if that is more) first.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks that take part; all if absent.

    Returns
    -------
    tensor
        The mean over the rows of all ranks, differentiable in both towers and the scale.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `sharded_linear_cross_entropy`, whose notes on gradients hold here, too: the one by the
        features is that of the loss times the number of ranks, which DistributedDataParallel
        divides by. The one by the scale is the same on all ranks.

    Notes
    -----
    A rank compares its own images with all texts, and its own texts with all images, by
    `fusedloss.info_nce_loss`: the work is shared out, and no matrix of similarities is held.

    Examples
    --------
    A group of one rank:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import sharded_clip_loss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> sharded_clip_loss(torch.eye(2), torch.tensor([[0.8, 0.6], [0.6, 0.8]]), 2.0)
    tensor(0.5130)
    >>> dist.destroy_process_group()
    """

    def call(query: Any, key: Any, scale: float) -> pairs.PairCall:
        return pairs.towers(
            "info_nce_loss",
            {"query": query, "key": key},
            None,
            (pairs.scalar("logit_scale", scale, positive=True),),
            learnable={"logit_scale": pairs.Learnable(scale, 0, 1.0)},
            normalize=normalize,
            reduction="sum",
            num_threads=torch.get_num_threads(),
        )

    towers = _Towers("clip_loss", call, (image_features, text_features), process_group)
    images, texts, (scale,) = towers.gather((logit_scale,), normalize)
    own = towers.sum(images, texts, scale) + towers.sum(texts, images, scale)
    return towers.mean(own / 2)


def sharded_siglip_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: float | Tensor = 10.0,
    logit_bias: float | Tensor = -10.0,
    *,
    normalize: bool = True,
    process_group: Group = None,
) -> Tensor:
    """SigLIP's logistic loss of the images and texts of all ranks.

    As `fusedloss.siglip_loss` of all rows. Every rank of the group calls it and gets the same loss.

    Parameters
    ----------
    image_features, text_features : tensors of floats, shape (N, D)
        This rank's pairs, as many as it has, or none.
    logit_scale : float or tensor, default 10
        The scale itself, not its logarithm; the same on all ranks.
    logit_bias : float or tensor, default -10
        The bias; the same on all ranks.
    normalize : bool, default True
        Whether to divide each row by its norm (or 1e-12, if that is more) first.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks that take part; all if absent.

    Returns
    -------
    tensor
        The mean over the rows of all ranks, differentiable in both towers, scale and bias.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `sharded_clip_loss`, whose gradients these are, too.

    Notes
    -----
    A rank compares its own images with all texts: the work is shared out.

    Examples
    --------
    A group of one rank:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import sharded_siglip_loss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> sharded_siglip_loss(torch.eye(2), torch.tensor([[0.8, 0.6], [0.6, 0.8]]), 2.0, -1.0)
    tensor(1.2356)
    >>> dist.destroy_process_group()
    """

    def call(query: Any, key: Any, scale: float, bias: float) -> pairs.PairCall:
        return pairs.towers(
            "siglip_loss",
            {"query": query, "key": key},
            None,
            (pairs.scalar("logit_scale", scale), pairs.scalar("logit_bias", bias)),
            learnable={
                "logit_scale": pairs.Learnable(scale, 0, 1.0),
                "logit_bias": pairs.Learnable(bias, 1, 1.0),
            },
            normalize=normalize,
            reduction="sum",
            num_threads=torch.get_num_threads(),
        )

    towers = _Towers("siglip_loss", call, (image_features, text_features), process_group)
    images, texts, scalars = towers.gather((logit_scale, logit_bias), normalize)
    return towers.mean(towers.sum(images, texts, *scalars))


class _Towers:
    """Both towers of all ranks, and how a rank's own part of a loss becomes that of all."""

    def __init__(
        self, name: str, call: Call, features: tuple[Tensor, Tensor], group: Group
    ) -> None:
        self.name, self.call, self.group = name, call, group
        self.features: tuple[Tensor, ...] = as_autocast(*features)

    def gather(
        self, scalars: tuple[float | Tensor, ...], normalize: bool
    ) -> tuple[Tensor, Tensor, tuple[float | Tensor, ...]]:
        """Return both towers, this rank's rows first, and the scalars."""
        error: Exception | None = None
        try:
            facts = self._facts(scalars, normalize)
        except (TypeError, ValueError, RuntimeError) as problem:
            error, facts = problem, failure()
        table = agree(facts, self.group)
        if error:
            raise error
        rank, counts = dist.get_rank(self.group), [facts.rows for facts in table]
        self.rows, self.all_rows = counts[rank], sum(counts)
        most, returned = max(counts), any(facts.returned for facts in table)
        order = torch.cat(
            [
                torch.arange(n) + each * most
                for each, n in sorted(enumerate(counts), key=lambda item: item[0] != rank)
            ]
        )
        image, text = (
            gather_differentiably(x, most, returned, self.group)[order] for x in self.features
        )
        shared = tuple(
            apply(_Shared, x, self.group) if isinstance(x, Tensor) else x for x in scalars
        )
        return image, text, shared

    def _facts(self, scalars: tuple[float | Tensor, ...], normalize: bool) -> Facts:
        image, text = self.features
        if image.shape != text.shape:
            raise ValueError(
                f"text_features has shape {tuple(text.shape)}: expected {tuple(image.shape)}, that "
                "of image_features"
            )
        values = tuple(float(x) for x in scalars)
        self.call(*(numbers(x) for x in self.features), *values)
        features_differ = any(x.requires_grad for x in self.features)
        differentiated = torch.is_grad_enabled() and (
            features_differ or any(isinstance(x, Tensor) and x.requires_grad for x in scalars)
        )
        return Facts(
            failed=0,
            rows=len(image),
            classes=0,
            least_label=0,
            most_label=-1,
            features=image.shape[1],
            dtype=DTYPES.index(image.dtype),
            differentiated=differentiated,
            returned=differentiated and features_differ,
            options=fingerprint(self.name, normalize, values),
        )

    def sum(self, own: Tensor, others: Tensor, *scalars: float | Tensor) -> Tensor:
        """Return the sum of the losses of this rank's rows of one tower against all of another."""
        return apply(_Own, self.call, own[: self.rows], others, *scalars)

    def mean(self, own: Tensor) -> Tensor:
        """Return the mean over the rows of all ranks."""
        return apply(_Total, own, self.group) / max(self.all_rows, 1)


class _Own(torch.autograd.Function):
    """The sum of losses of some rows, whose gradients are computed with it."""

    @staticmethod
    def forward(ctx: Any, call: Call, own: Tensor, others: Tensor, *scalars: Any) -> Tensor:
        """Compute the loss, and the gradients that are wanted."""
        checked = call(numbers(own), numbers(others), *(float(x) for x in scalars))
        ctx.wanted = tuple(k for k, is_wanted in enumerate(ctx.needs_input_grad[1:]) if is_wanted)
        if not ctx.wanted:
            return torch.tensor(_core.pairwise(checked), dtype=own.dtype)
        value, gradients = _core.pairwise(checked, ctx.wanted)
        arguments = (own, others, *scalars)
        ctx.save_for_backward(
            *(
                tensor(gradient) if k < 2 else torch.full_like(arguments[k], gradient)
                for k, gradient in zip(ctx.wanted, gradients, strict=True)
            )
        )
        return torch.tensor(value, dtype=own.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients."""
        scaled = {k: x * grad_output for k, x in zip(ctx.wanted, ctx.saved_tensors, strict=True)}
        return None, *(scaled.get(k) for k in range(len(ctx.needs_input_grad) - 1))


class _Total(torch.autograd.Function):
    """The sum of what all ranks have."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Group) -> Tensor:
        """Add up."""
        total = own.double()
        dist.all_reduce(total, group=group)
        return total.to(own.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        """Return the gradient by this rank's part."""
        return grad_output, None


class _Shared(torch.autograd.Function):
    """A number that all ranks have: its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        """Return the number."""
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        """Add up the gradients."""
        total = grad_output.double()
        dist.all_reduce(total, group=ctx.group)
        return total.to(grad_output.dtype), None
