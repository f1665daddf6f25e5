"""Processes that are the ranks of process groups, and run functions of the tests."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

#: Groups of so many ranks, the first ones of all.
SIZES = (1, 2, 4)

#: Seconds that a rank waits for the others: long for these tests, short for a hang.
TIMEOUT = 60.0


class RankError(Exception):
    """What a rank raised: its type's name, and its text with the traceback."""


def _serve(
    rank: int, size: int, store: str, timeout: float, startup: float, pipe: Connection
) -> None:
    """Run what comes through the pipe, until it closes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=startup),
    )
    patience = timedelta(seconds=timeout)
    groups = {n: dist.new_group(list(range(n)), timeout=patience) for n in SIZES if n <= size}
    while True:
        try:
            function, number, arguments = pipe.recv()
        except EOFError:
            break
        try:
            answer = (True, function(groups[number], *arguments))
        except Exception as error:
            answer = (False, (type(error).__name__, f"{error}\n{traceback.format_exc()}"))
        pipe.send(answer)
    os._exit(0)  # a group whose other ranks are gone is not taken down in good order


class Ranks:
    """Processes, each of which is a rank of a group of the first 1, 2 and 4 of them."""

    def __init__(
        self, folder: Any, size: int, timeout: float = TIMEOUT, startup: float = TIMEOUT
    ) -> None:
        context = mp.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for rank in range(size):
            pipe, far = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(rank, size, f"{folder}/store", timeout, startup, far),
                daemon=True,
            )
            process.start()
            far.close()
            self.pipes.append(pipe)
            self.processes.append(process)

    def send(self, size: int, function: Callable[..., Any], *arguments: Any) -> None:
        """Have the first `size` ranks run `function(group, *arguments)`."""
        for pipe in self.pipes[:size]:
            pipe.send((function, size, arguments))

    def answers(self, size: int, timeout: float = 3 * TIMEOUT) -> list[Any]:
        """Return what every rank's function returned, or a RankError of what it raised."""
        made = []
        for pipe in self.pipes[:size]:
            assert pipe.poll(timeout), f"no answer within {timeout} seconds"
            is_good, answer = pipe.recv()
            made.append(answer if is_good else RankError(*answer))
        return made

    def run(self, size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Run a function on the first `size` ranks; return what each returned."""
        self.send(size, function, *arguments)
        answers = self.answers(size)
        for answer in answers:
            if isinstance(answer, RankError):
                raise answer
        return answers

    def stop(self) -> None:
        """End the processes."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(1)
            if process.is_alive():
                process.kill()
