"""What the ranks of a process group tell each other, and how they agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

#: None stands for the default group.
Group: TypeAlias = dist.ProcessGroup | None

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Facts(NamedTuple):
    """What a rank says of its call before anything else is sent."""

    failed: int  # 1: its arguments are bad, and all else here is 0
    rows: int
    classes: int
    least_label: int  # of those that are not ignored; without any, 0
    most_label: int  # and -1
    features: int
    dtype: int  # a number in DTYPES
    differentiated: int
    returned: int  # 1: this rank wants a gradient by its embeddings
    options: int  # see `fingerprint`


#: Facts that are the same on all ranks, and what they are called.
COMMON = {
    "features": "the number of features",
    "dtype": "the dtype",
    "differentiated": "whether gradients are wanted",
    "options": "the loss, its options, or which arguments are given",
}


def is_of_integers(dtype: torch.dtype) -> bool:
    """Return whether a dtype is one of integers, to which bool does not belong."""
    return not (dtype.is_floating_point or dtype.is_complex or dtype is torch.bool)


def failure() -> Facts:
    """Return what a rank with bad arguments says."""
    return Facts(1, *[0] * (len(Facts._fields) - 1))


def fingerprint(*options: Any) -> int:
    """Return a number that other options are most unlikely to have, the same in every process."""
    digest = hashlib.blake2b(repr(options).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")


def exchange(own: Facts, group: Group) -> list[Facts]:
    """Return the facts of all ranks, in their order."""
    return [Facts(*row) for row in exchange_numbers(own, group)]


def exchange_numbers(own: Sequence[int], group: Group) -> list[list[int]]:
    """Return the integers of all ranks, as many of each, in their order."""
    table = torch.empty(dist.get_world_size(group), len(own), dtype=torch.int64)
    dist.all_gather(list(table), torch.tensor(own), group=group)
    numbers: list[list[int]] = table.tolist()
    return numbers


def agree(own: Facts, group: Group) -> list[Facts]:
    """Return the facts of all ranks; raise ValueError on all if they do not fit together."""
    table = exchange(own, group)
    failed = [rank for rank, facts in enumerate(table) if facts.failed]
    if failed and not own.failed:
        raise ValueError(f"{_ranks(failed)} raised an error: the others cannot go on")
    if failed:  # the caller has the error at hand
        return table
    for name, meaning in COMMON.items():
        values = [getattr(facts, name) for facts in table]
        if len(set(values)) > 1:
            named = [str(DTYPES[x]) for x in values] if name == "dtype" else values
            raise ValueError(f"ranks disagree on {meaning}: {_by_rank(named, name)}")
    return table


def _ranks(ranks: Sequence[int]) -> str:
    listed = ", ".join(map(str, ranks))
    return f"rank {listed}" if len(ranks) == 1 else f"ranks {listed}"


def _by_rank(values: Sequence[Any], name: str) -> str:
    ranks: dict[Any, list[int]] = {}
    for rank, value in enumerate(values):
        ranks.setdefault(value, []).append(rank)
    if name == "options":  # whose numbers say nothing
        return " against ".join(_ranks(of_value) for of_value in ranks.values())
    return ", ".join(f"{value} on {_ranks(of_value)}" for value, of_value in ranks.items())


def gather_rows(x: Tensor, most: int, fill: float, group: Group) -> Tensor:
    """Return the rows of all ranks, `most` of each: rows of `fill` follow its own."""
    ranks = dist.get_world_size(group)
    padded = x.new_full((most, *x.shape[1:]), fill)
    padded[: len(x)] = x
    gathered = x.new_empty((ranks, *padded.shape))
    dist.all_gather(list(gathered), padded, group=group)
    return gathered.flatten(0, 1)


def return_rows(x: Tensor, rows: int, group: Group) -> Tensor:
    """Add up what all ranks have for the rows that were gathered; return this rank's sums."""
    wide = x.float() if x.itemsize < 4 else x
    ranks = dist.get_world_size(group)
    parts = wide.reshape(ranks, len(x) // ranks, *x.shape[1:])
    sums = torch.empty_like(parts[0])
    dist.reduce_scatter(sums, list(parts), group=group)
    return sums[:rows].to(x.dtype)
