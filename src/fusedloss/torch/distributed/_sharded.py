"""A softmax whose classes are shared out among the ranks of a group.

Each rank has the weights of its classes and a batch of its own, and all batches are gathered. In
the forward pass each rank sums the exponentials of its logits, which are never held; two small
reductions make of these the sums over all classes. In the backward pass each rank computes its
logits again, and with them the gradient by its weights, which stays where it is, and its part of
the gradient by the rows of all ranks. These parts are added up and returned to the ranks that the
rows came from.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from fusedloss import _core
from fusedloss._check import LinearCall, Shard
from fusedloss._lower.loss import lookup
from fusedloss._types import Array
from fusedloss.torch._autograd import detached
from fusedloss.torch._bfloat16 import bits_of_numbers, numbers_of_bits
from fusedloss.torch._unit import unit_rows
from fusedloss.torch.distributed._group import Facts, Group, gather_rows, return_rows

#: The target that the kernels ignore.
IGNORED = -1

#: What a row's sums are: the columns of fl_row_sums.
MAX, OTHERS, TARGET_LOGIT, TARGET_WEIGHT, DENSE, DENSE_LOGITS = range(6)


class Spec(NamedTuple):
    """A loss over a group, but for its tensors."""

    loss: Callable[..., Any]  # of arrays
    class_weight: str  # the name of its argument of that meaning
    reduction: str
    ignore_index: int
    options: dict[str, Any]
    group: Group


class Rows(NamedTuple):
    """The rows of all ranks."""

    embeddings: Tensor
    target: Tensor
    sample_weight: Tensor | None


class Layer(NamedTuple):
    """What a rank has of the layer: its own classes."""

    weight: Tensor
    bias: Tensor | None
    class_weight: Tensor | None


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    result: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return result


# ---- Rows ----------------------------------------------------------------------------------------


class _Gather(torch.autograd.Function):
    """The rows of all ranks, of which each has computed a loss that is the same on all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, most: int, group: Group) -> Tensor:
        """Gather the rows."""
        ctx.rows, ctx.group = len(x), group
        return gather_rows(x, most, 0, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        """Return each row's gradient to its rank, times the number of ranks.

        DistributedDataParallel averages the gradients of the layers before.
        """
        gradient = return_rows(grad_output.contiguous(), ctx.rows, ctx.group)
        return gradient.mul_(dist.get_world_size(ctx.group)), None, None


def gather_differentiably(x: Tensor, most: int, returned: bool, group: Group) -> Tensor:
    """Return the rows of all ranks; `returned`: whether any rank wants a gradient by its own."""
    if returned and not x.requires_grad:  # others wait for this one's part of theirs
        x = x.detach().requires_grad_()
    return apply(_Gather, x, most, group)


def gather(spec: Spec, table: list[Facts], own: Rows) -> Rows:
    """Return the rows of all ranks; rows that are ignored fill up those of each to the most."""
    most = max(facts.rows for facts in table)
    returned = any(facts.returned for facts in table)
    weights = own.sample_weight
    return Rows(
        gather_differentiably(own.embeddings, most, returned, spec.group),
        gather_rows(own.target, most, spec.ignore_index, spec.group),
        None if weights is None else gather_rows(weights, most, 0, spec.group),
    )


# ---- Kernel calls --------------------------------------------------------------------------------


def numbers(x: Tensor | None) -> Array | None:
    """Return a tensor's memory as an array, that of bfloat16 too."""
    return None if x is None else numbers_of_bits(detached(x))


def tensor(array: Array) -> Tensor:
    """Return a new array as a tensor."""
    bits = bits_of_numbers(array)
    made = torch.from_numpy(bits)
    return made if bits is array else made.view(torch.bfloat16)


def lowered(spec: Spec, rows: Rows, layer: Layer) -> tuple[Callable[..., Any], LinearCall]:
    """Return the kernel and its call: a sum, whose divisor is not known yet."""
    options = dict(spec.options)
    if layer.bias is not None:
        options["linear_bias"] = numbers(layer.bias)
    options[spec.class_weight] = numbers(layer.class_weight)
    kernel, (call,) = lookup(spec.loss).lower(
        numbers(rows.embeddings),
        numbers(layer.weight),
        numbers(rows.target),
        sample_weight=numbers(rows.sample_weight),
        ignore_index=IGNORED,
        reduction="sum",
        num_threads=torch.get_num_threads(),
        **options,
    )
    return kernel, call


class Part(NamedTuple):
    """Which classes a rank has."""

    first: int
    end: int
    classes: int  # of all ranks

    def own(self, target: Tensor) -> Tensor:
        """Return which targets are of this rank's classes."""
        return (target >= self.first) & (target < self.end)


def part_of(table: list[Facts], group: Group) -> Part:
    """Return which classes this rank has."""
    ends = list(itertools.accumulate(facts.classes for facts in table))
    rank = dist.get_rank(group)
    return Part(ends[rank] - table[rank].classes, ends[rank], ends[-1])


def target_cosines(part: Part, rows: Rows, weight: Tensor, group: Group) -> Tensor:
    """Return the cosines of the angles between rows and the weights of their classes."""
    own = part.own(rows.target)
    x, w = rows.embeddings[own].double(), weight[rows.target[own] - part.first].double()
    cosines = torch.zeros(len(own), dtype=torch.float64)
    cosines[own] = (unit_rows(x) * unit_rows(w)).sum(-1)
    dist.all_reduce(cosines, group=group)
    return cosines


def _sums(kernel: Callable[..., Any], call: LinearCall, shard: Shard, group: Group) -> None:
    """Write each row's sums over the classes of all ranks into a shard's."""
    kernel(call._replace(shard=shard))
    sums = torch.from_numpy(shard.sums)
    own = sums[:, MAX]
    largest = own.clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=group)
    # Sums are relative to a maximum, or to 0 where it is -inf.
    reference, raised = (x.where(x != -torch.inf, 0.0) for x in (own, largest))
    sums[:, OTHERS] *= torch.exp(own - raised)
    sums[:, DENSE_LOGITS] -= sums[:, DENSE] * (raised - reference)
    used = slice(OTHERS, (DENSE_LOGITS if call.label_smoothing else TARGET_WEIGHT) + 1)
    parts = sums[:, used].contiguous()
    dist.all_reduce(parts, group=group)
    sums[:, used], sums[:, MAX] = parts, largest


class _Shard(torch.autograd.Function):
    """The loss of all ranks' rows, as a function of them and of this rank's layer."""

    @staticmethod
    def forward(
        ctx: Any,
        spec: Spec,
        table: list[Facts],
        embeddings: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        sample_weight: Tensor | None,
        class_weight: Tensor | None,
    ) -> Tensor:
        """Compute the loss."""
        part = part_of(table, spec.group)
        counted = target != spec.ignore_index
        local = torch.where(part.own(target), target - part.first, part.end - part.first)
        rows = Rows(embeddings, local.where(counted, IGNORED), sample_weight)
        layer = Layer(weight, bias, class_weight)
        kernel, call = lowered(spec, rows, layer)
        sums = torch.zeros(len(target), 6, dtype=torch.float64)
        cosines = None
        if call.margin is not None and _core.bends_others(call.margin.kind):
            cosines = target_cosines(part, Rows(embeddings, target, None), weight, spec.group)
        shard = Shard(part.classes, sums.numpy(), False, numbers(cosines))
        _sums(kernel, call, shard, spec.group)

        divisor, z_loss = 1.0, call.extras.z_loss
        if spec.reduction == "mean":
            weights = counted.double() if sample_weight is None else sample_weight.double()
            weights = weights.where(counted, 0.0)
            divisor, count = (weights * sums[:, TARGET_WEIGHT]).sum().item(), weights.sum().item()
            z_loss *= divisor / count if count else 0.0  # which counts rows, whatever their class
        extras = call.extras._replace(z_loss=z_loss)
        call = call._replace(shard=shard._replace(given=True), extras=extras)
        value = kernel(call)

        ctx.spec, ctx.classes, ctx.z_loss = spec, part.classes, z_loss
        ctx.scale = 1 / divisor if divisor else 0.0
        ctx.save_for_backward(*rows, *layer, sums, cosines)
        return torch.tensor(value / divisor if divisor else torch.nan, dtype=embeddings.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients by all rows, as far as this rank's classes go, and by its layer."""
        *saved, sums, cosines = ctx.saved_tensors
        kernel, call = lowered(ctx.spec, Rows(*saved[:3]), Layer(*saved[3:]))
        shard = Shard(ctx.classes, sums.numpy(), True, numbers(cosines))
        wanted = tuple(k for k in range(3) if ctx.needs_input_grad[2 + k])
        extras = call.extras._replace(z_loss=ctx.z_loss)
        call = call._replace(shard=shard, extras=extras)
        _, made = kernel(call, wanted, grad_output.item() * ctx.scale)
        gradients = dict(zip(wanted, map(tensor, made), strict=True))
        return None, None, *(gradients.get(k) for k in range(3)), None, None, None


def evaluate(spec: Spec, table: list[Facts], rows: Rows, layer: Layer) -> Tensor:
    """Compute the loss of all ranks' rows."""
    return apply(
        _Shard,
        spec,
        table,
        rows.embeddings,
        layer.weight,
        layer.bias,
        rows.target,
        rows.sample_weight,
        layer.class_weight,
    )
