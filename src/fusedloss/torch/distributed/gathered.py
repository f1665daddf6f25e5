"""Losses of pairs, over the rows of all ranks of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fusedloss.torch.distributed._group import (
    DTYPES,
    Facts,
    Group,
    agree,
    exchange_numbers,
    failure,
    fingerprint,
    gather_rows,
    is_of_integers,
)
from fusedloss.torch.distributed._sharded import apply
from fusedloss.torch.functional._types import Indices

#: What the members of an index tuple are indices of, by its length.
MEMBERS = {
    3: ("anchors", "references", "references"),
    4: ("anchors", "references", "anchors", "references"),
}


class GatheredLoss(nn.Module):
    """A loss of embeddings and labels, of the batches of all ranks as one.

    Every rank calls it with its own batch and gets the loss of all of them, in the order of ranks:
    each row has its positives and negatives on all ranks.

    Parameters
    ----------
    loss : torch.nn.Module
        A loss module of this package that takes embeddings and labels, such as `SupConLoss`, or one
        that is called like them: pytorch-metric-learning's, and `CrossBatchMemory` around either.
        On all ranks the same, with the same options.
    miner : torch.nn.Module, optional
        A miner of either package. It sees the rows of all ranks; the indices that it returns on the
        first rank are used by all, so it may draw at random.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks that take part; all if absent.

    Raises
    ------
    TypeError, ValueError, IndexError
        In a call, before anything else is sent: on every rank if the arguments of any are wrong, or
        if those of different ranks do not fit together.

    Notes
    -----
    The loss is the same number on all ranks. Its gradient by a rank's embeddings is that of one
    process with all rows, times the number of ranks: DistributedDataParallel averages the gradients
    of ranks, and the layers before get the gradient of the loss. Without it, divide by the number
    of ranks. The gradient by parameters of `loss`, such as a temperature, is that of one process on
    every rank, which an average leaves as it is.

    Each rank computes the loss of all rows. The backward pass sends nothing. Second derivatives are
    not supported.

    Examples
    --------
    A group of one rank:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch import SupConLoss
    >>> from fusedloss.torch.distributed import GatheredLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> e, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> GatheredLoss(SupConLoss())(e, y)
    tensor(1.0647)
    >>> dist.destroy_process_group()
    """

    def __init__(
        self, loss: nn.Module, miner: nn.Module | None = None, process_group: Group = None
    ) -> None:
        super().__init__()
        for name, module in (("loss", loss), ("miner", miner)):
            if not isinstance(module, nn.Module) and not (name == "miner" and module is None):
                raise TypeError(f"{name} is of type {type(module).__name__}: expected a module")
        self.loss = loss
        self.miner = miner
        self.process_group = process_group

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Indices = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss of all ranks' rows.

        Parameters
        ----------
        embeddings : tensor of floats, shape (N, D)
            This rank's rows, as many as it has, or none.
        labels : tensor, shape (N,), optional
            Their labels: the same number stands for the same class on all ranks.
        indices_tuple : tuple of tensors, optional
            Pairs or triplets among this rank's own rows; those of all ranks count. Not with a
            miner, which finds them among the rows of all ranks.
        ref_emb : tensor of floats, shape (M, D), optional
            This rank's references; anchors are compared with those of all ranks.
        ref_labels : tensor, shape (M,), optional
            Their labels.
        sample_weight : tensor of floats, shape (N,), optional
            The weights of this rank's rows.
        """
        given = {
            "embeddings": embeddings,
            "labels": labels,
            "ref_emb": ref_emb,
            "ref_labels": ref_labels,
            "sample_weight": sample_weight,
        }
        own = {name: x for name, x in given.items() if x is not None}
        error: Exception | None = None
        try:
            own, indices = self._checked(own, indices_tuple)
            facts = self._facts(own, indices)
        except (TypeError, ValueError, IndexError) as problem:
            error, facts = problem, failure()
        agree(facts, self.process_group)
        if error:
            raise error
        return self._of_all(own, indices)

    def _checked(
        self, own: dict[str, Tensor], indices_tuple: Indices
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Return a rank's tensors and indices, checked; integers as int64."""
        for name, x in own.items():
            if not isinstance(x, Tensor):
                raise TypeError(f"{name} is of type {type(x).__name__}: expected a tensor")
        embeddings = own["embeddings"]
        for name in own.keys() & {"embeddings", "ref_emb"}:
            x = own[name]
            if x.dtype not in DTYPES:
                raise TypeError(f"{name} has dtype {x.dtype}: expected a float dtype")
            if x.dtype is not embeddings.dtype:
                raise TypeError(
                    f"{name} has dtype {x.dtype}: expected {embeddings.dtype}, that of embeddings"
                )
            if x.ndim != 2 or x.shape[1] != embeddings.shape[-1]:
                features = "D" if name == "embeddings" else embeddings.shape[1]
                raise ValueError(f"{name} has shape {tuple(x.shape)}: expected (N, {features})")
        for name, of in (
            ("labels", "embeddings"),
            ("ref_labels", "ref_emb"),
            ("sample_weight", "embeddings"),
        ):
            if name not in own:
                continue
            if of not in own:
                raise ValueError(f"{name} is given without {of}")
            x, rows = own[name], len(own[of])
            if x.ndim == 0 or len(x) != rows:
                raise ValueError(
                    f"{name} has shape {tuple(x.shape)}: expected ({rows},), one for each row of "
                    f"{of}"
                )
        checked = {name: x.long() if is_of_integers(x.dtype) else x for name, x in own.items()}
        if "sample_weight" in own:
            wide = torch.promote_types(embeddings.dtype, torch.float32)
            checked["sample_weight"] = own["sample_weight"].to(wide)
        if indices_tuple is None:
            return checked, ()
        if self.miner is not None:
            raise ValueError("indices_tuple is given with a miner: expected one of them")
        return checked, self._indices(indices_tuple, own)

    def _indices(self, indices_tuple: Any, own: dict[str, Tensor]) -> tuple[Tensor, ...]:
        members = tuple(indices_tuple)
        if len(members) not in MEMBERS:
            raise ValueError(f"indices_tuple has {len(members)} members: expected 3 or 4")
        lengths = {
            "anchors": len(own["embeddings"]),
            "references": len(own.get("ref_emb", own["embeddings"])),
        }
        for k, (x, of) in enumerate(zip(members, MEMBERS[len(members)], strict=True)):
            if not isinstance(x, Tensor) or x.ndim != 1 or not is_of_integers(x.dtype):
                raise TypeError(f"indices_tuple[{k}] is no tensor of integers in one dimension")
            wrong = x[(x < 0) | (x >= lengths[of])]
            if len(wrong):
                raise IndexError(
                    f"indices_tuple[{k}] holds {wrong[0]}: out of range for {lengths[of]} rows of "
                    "this rank"
                )
        return tuple(x.long() for x in members)

    def _facts(self, own: dict[str, Tensor], indices: tuple[Tensor, ...]) -> Facts:
        embeddings = own["embeddings"]
        kinds = [(name, x.dtype, x.shape[1:]) for name, x in own.items() if name != "embeddings"]
        return failure()._replace(
            failed=0,
            rows=len(embeddings),
            features=embeddings.shape[1],
            dtype=DTYPES.index(embeddings.dtype),
            options=fingerprint(repr(self.loss), type(self.miner).__name__, kinds, len(indices)),
        )

    def _of_all(self, own: dict[str, Tensor], indices: tuple[Tensor, ...]) -> Tensor:
        """Return the loss of the rows of all ranks, whose arguments fit together."""
        group = self.process_group
        numbers = exchange_numbers([len(x) for x in (*own.values(), *indices)], group)
        lengths = list(zip(*numbers, strict=True))  # of each tensor, those of all ranks
        of_rows = dict(zip(own, lengths, strict=False))
        rows: dict[str, Any] = {
            name: apply(_RowsOfAll, x, of_rows[name], group) for name, x in own.items()
        }
        if indices:
            anchors = of_rows["embeddings"]
            of = {"anchors": anchors, "references": of_rows.get("ref_emb", anchors)}
            rows["indices_tuple"] = tuple(
                rows_of_all(x + sum(of[name][: dist.get_rank(group)]), of_ranks, group)
                for x, name, of_ranks in zip(
                    indices, MEMBERS[len(indices)], lengths[len(own) :], strict=True
                )
            )
        elif self.miner is not None:
            rows["indices_tuple"] = self._mined(rows)
        first = [rows.pop(name) for name in ("embeddings", "labels") if name in rows]
        loss: Tensor = self.loss(*first, **rows)
        return loss

    def _mined(self, rows: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Return what the first rank's miner finds."""
        group = self.process_group or dist.group.WORLD
        assert self.miner is not None
        assert group is not None
        seen = {name: x.detach() for name, x in rows.items() if name != "sample_weight"}
        found = self.miner(seen.pop("embeddings"), seen.pop("labels", None), **seen)
        lengths = exchange_numbers([len(x) for x in found], group)[0]
        is_first = dist.get_rank(group) == 0
        shared = tuple(
            x.long().contiguous() if is_first else torch.empty(length, dtype=torch.int64)
            for x, length in zip(found, lengths, strict=True)
        )
        for x in shared:
            dist.broadcast(x, dist.get_global_rank(group, 0), group=group)
        return shared


def rows_of_all(x: Tensor, lengths: Sequence[int], group: Group) -> Tensor:
    """Return the rows of all ranks, in their order; `lengths` says how many each has."""
    most = max(lengths)
    padded = gather_rows(x, most, 0, group).reshape(len(lengths), most, *x.shape[1:])
    return torch.cat([part[:n] for part, n in zip(padded, lengths, strict=True)])


class _RowsOfAll(torch.autograd.Function):
    """The rows of all ranks, of which each computes the same loss, as a whole."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lengths: Sequence[int], group: Group) -> Tensor:
        """Gather the rows."""
        ctx.lengths, ctx.rank = lengths, dist.get_rank(group)
        return rows_of_all(x, lengths, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient by this rank's rows, times the number of ranks.

        DistributedDataParallel averages the gradients of the layers before.
        """
        own = torch.split(grad_output, list(ctx.lengths))[ctx.rank]
        return own * len(ctx.lengths), None, None
