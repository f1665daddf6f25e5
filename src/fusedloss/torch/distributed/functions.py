"""Functions of a rank's own tensors, over a process group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor

import fusedloss
from fusedloss._types import Precision
from fusedloss.torch._margin import HEADS
from fusedloss.torch.distributed._call import sharded
from fusedloss.torch.distributed._group import Group
from fusedloss.torch.distributed._sharded import Layer, Rows, Spec


def class_range(num_classes: int, process_group: Group = None) -> tuple[int, int]:
    """Return the first class of this rank's shard, and the one after its last.

    All shards have the same size but the last ones, which may have fewer: as
    `torch.distributed.tensor.Shard` has it, so that weights can be loaded by another number of
    ranks.

    Parameters
    ----------
    num_classes : int
        The number of all classes.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks that share them; all if absent.

    Returns
    -------
    tuple of int
        The range of this rank's classes.

    Raises
    ------
    ValueError
        If a rank would have no class.

    Examples
    --------
    The second of two ranks has the classes 5288 to 10574. A group of one rank has all:

    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import class_range
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> class_range(10_575)
    (0, 10575)
    >>> dist.destroy_process_group()
    """
    ranks = dist.get_world_size(process_group)
    size = -(-num_classes // ranks)
    if size * (ranks - 1) >= num_classes:
        raise ValueError(
            f"num_classes is {num_classes}: in shards of {size} not every one of {ranks} ranks "
            "has a class"
        )
    first = dist.get_rank(process_group) * size
    return first, min(first + size, num_classes)


def sharded_linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    sample_weight: Tensor | None = None,
    softcap: float | None = None,
    z_loss: float = 0.0,
    precision: Precision | None = None,
    workspace: int | None = None,
    process_group: Group = None,
) -> Tensor:
    r"""Softmax cross-entropy of a linear layer whose classes are shared out among ranks.

    As `fusedloss.linear_cross_entropy` of the batches of all ranks and of all their classes. Every
    rank of the group calls it, with the same options, and gets the same loss.

    Parameters
    ----------
    input : tensor of floats, shape (..., D)
        This rank's inputs, as many as it has, or none.
    linear_weight : tensor of the same dtype, shape (C of this rank, D)
        The weights of this rank's classes. The first rank has the first classes, and so on; shards
        may be of any sizes.
    target : tensor of integers, shape (...)
        The class of each input, among those of all ranks.
    linear_bias : tensor of the same dtype, shape (C of this rank,), optional
        The bias of this rank's classes; zeros if absent.
    weight : tensor of floats, shape (C of this rank,), optional
        A weight for each of this rank's classes; ones if absent.
    reduction : {"mean", "sum"}, default "mean"
        Over the inputs of all ranks. "mean" divides by the weights of the classes of all that
        count.
    ignore_index : int, default -100
        Inputs with this target are ignored, and their gradient is zero.
    label_smoothing : float in [0, 1], default 0
        The share of the target that is spread evenly over the classes of all ranks.
    sample_weight : tensor of floats, shape (...), optional
        A weight for each of this rank's inputs; ones if absent.
    softcap, z_loss, precision, workspace
        As in `fusedloss.linear_cross_entropy`.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks that take part; all if absent.

    Returns
    -------
    tensor
        The loss of all ranks' inputs: the same number on every rank.

    Raises
    ------
    TypeError, ValueError, IndexError
        On the rank whose arguments are wrong, and a ValueError or IndexError on all others; on
        all ranks, if they disagree on features, dtype or options.
    RuntimeError
        If a rank is gone, or does not answer within the group's timeout.

    Notes
    -----
    The gradient by `linear_weight` and `linear_bias` is that of the loss. The one by `input` is
    that of the loss times the number of ranks: `torch.nn.parallel.DistributedDataParallel`, which
    has the layers before this one, divides by it when it averages their gradients. The gradients
    of its parameters are then those of the loss, too. Every rank has to run the backward pass,
    with the same gradient by the loss.

    A rank sends its inputs, and receives those of all others and as many gradients; of each input
    three numbers are summed up over the ranks, and its largest logit is found. Logits are computed
    twice, and never held. See :doc:`/distributed`.

    Examples
    --------
    A group of one rank:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import sharded_linear_cross_entropy
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> x, w = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> sharded_linear_cross_entropy(x, w, torch.tensor([0, 1]))
    tensor(0.4100)
    >>> dist.destroy_process_group()
    """
    spec = Spec(
        fusedloss.linear_cross_entropy,
        "weight",
        reduction,
        ignore_index,
        {
            "label_smoothing": label_smoothing,
            "softcap": softcap,
            "z_loss": z_loss,
            "precision": precision,
            "workspace": workspace,
        },
        process_group,
    )
    rows = Rows(input, target, sample_weight)
    return sharded(spec, rows, Layer(linear_weight, linear_bias, weight))


def sharded_margin_loss(
    loss: Callable[..., Any],
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    class_weight: Tensor | None = None,
    sample_weight: Tensor | None = None,
    ignore_index: int = -1,
    reduction: str = "mean",
    process_group: Group = None,
    **options: Any,
) -> Tensor:
    """Compute a margin-softmax head whose classes are shared out among ranks.

    As the head of the batches of all ranks and of all their classes. Every rank of the group calls
    it, with the same options, and gets the same loss.

    Parameters
    ----------
    loss : function
        A head of `fusedloss.torch.functional` that takes weights: `arcface_loss`, for example.
    embeddings : tensor of floats, shape (..., D)
        This rank's embeddings, as many as it has, or none.
    weight : tensor of the same dtype, shape (C of this rank, D)
        The weights of this rank's classes. The first rank has the first classes, and so on; shards
        may be of any sizes.
    target : tensor of integers, shape (...)
        The class of each embedding, among those of all ranks.
    class_weight : tensor of floats, shape (C of this rank,), optional
        A weight for each of this rank's classes; ones if absent.
    sample_weight : tensor of floats, shape (...), optional
        A weight for each of this rank's embeddings; ones if absent.
    ignore_index : int, default -1
        Embeddings with this target are ignored, and their gradient is zero.
    reduction : {"mean", "sum"}, default "mean"
        Over the embeddings of all ranks. "mean" divides by the weights of the classes of all that
        count.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks that take part; all if absent.
    **options
        The head's other options.

    Returns
    -------
    tensor
        The loss of all ranks' embeddings: the same number on every rank.

    Raises
    ------
    TypeError, ValueError, IndexError, RuntimeError
        As `sharded_linear_cross_entropy`, whose notes on gradients hold here, too.

    Examples
    --------
    A group of one rank:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch import functional as F
    >>> from fusedloss.torch.distributed import sharded_margin_loss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> x, w = torch.tensor([[2.0, 0.0], [1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 3.0]])
    >>> sharded_margin_loss(F.arcface_loss, x, w, torch.tensor([0, 1]), scale=4.0)
    tensor(0.9963)
    >>> dist.destroy_process_group()
    """
    name = getattr(loss, "__name__", "")
    if name not in HEADS or name == "margin_cross_entropy":
        raise ValueError(f"loss is {loss!r}: expected a margin-softmax head that takes weights")
    spec = Spec(
        getattr(fusedloss, name), "class_weight", reduction, ignore_index, options, process_group
    )
    return sharded(spec, Rows(embeddings, target, sample_weight), Layer(weight, None, class_weight))
