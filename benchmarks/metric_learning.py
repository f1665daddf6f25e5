r"""Losses of pairs of embeddings, value and gradient, against pytorch-metric-learning.

The yardstick, `GRAM`, is the embeddings times themselves by `torch.mm(out=)`. As a program,

    PYTHONPATH=tests python benchmarks/metric_learning.py growth.png [--threads 2]

plots how time and peak memory grow with the batch, each in a process of its own, until the peer's
call takes longer than that is worth or does not fit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning import losses, miners

import fusedloss as fl
from comparisons import Comparison, Contenders
from fusedloss.cli._contenders import FUSEDLOSS
from fusedloss.cli._memory import available_memory
from targets import Target

FEATURES = 128
PEER, GRAM = "pytorch-metric-learning", "grams"
CONTENDERS = (FUSEDLOSS, PEER, GRAM)

#: What the peer holds: some arrays of positive by negative pairs (NT-Xent), of all pairs, or a few
#: bytes of every three embeddings (triplets).
PEER_ARRAYS = 8


@dataclass(frozen=True)
class Pairs:
    """A loss on a batch; `peer` makes the peer's function of embeddings and labels."""

    loss: str
    batch: int
    per_class: int
    peer: Callable[[], Callable[..., Any]]
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        mining = dict(self.options).get("mining")
        name = self.loss.removesuffix("_loss") + (f" {mining}" if mining else "")
        return f"{name}, {self.batch} x {FEATURES}, {self.per_class} a class"

    def make(self, num_threads: int, small: bool, features: int = FEATURES) -> Contenders:
        """Build the arrays and what is timed on them."""
        batch, per_class = (32, 4) if small else (self.batch, self.per_class)
        torch.set_num_threads(num_threads)
        e = np.random.default_rng(0).standard_normal((batch, features)).astype(np.float32)
        y = np.arange(batch) // per_class
        out, function = np.empty_like(e), fl.value_and_grad(getattr(fl, self.loss))
        leaf, labels = torch.tensor(e, requires_grad=True), torch.tensor(y)
        matrix, product = torch.tensor(e), torch.zeros(batch, batch)
        made: Contenders = {
            FUSEDLOSS: lambda: function(
                e, y, out=out, num_threads=num_threads, **dict(self.options)
            )
        }
        if small or self.peer_bytes() < (available_memory() or 0):
            peer = self.peer()
            made[PEER] = lambda: torch.autograd.grad(peer(leaf, labels), leaf)
        made[GRAM] = lambda: torch.mm(matrix, matrix.T, out=product)
        return made

    def peer_bytes(self) -> int:
        """Say about how much memory the peer takes."""
        elements = self.batch * (self.batch - self.per_class)
        if self.loss == "ntxent_loss":
            elements *= self.batch * (self.per_class - 1)
        if self.loss == "triplet_loss":
            elements = self.batch**3 // 8
        return PEER_ARRAYS * 4 * elements


def _semihard() -> Callable[..., Any]:
    loss, miner = losses.TripletMarginLoss(0.2), miners.TripletMarginMiner(0.2, "semihard")
    return lambda e, y: loss(e, y, miner(e, y))


def _all() -> Callable[..., Any]:
    return losses.TripletMarginLoss(0.2)  # type: ignore[no-any-return]


def _case(pairs: Pairs, *targets: Target, rounds: int = 5) -> Comparison:
    return Comparison("metric learning", str(pairs), CONTENDERS, pairs.make, targets, rounds)


ALL = (("mining", "all"), ("normalize", True))
SEMIHARD = (("mining", "semihard"), ("normalize", True))

METRIC_LEARNING = (
    _case(Pairs("triplet_loss", 512, 8, _all, ALL), Target(1 / 100, (PEER,))),
    _case(Pairs("triplet_loss", 512, 8, _semihard, SEMIHARD), Target(1 / 100, (PEER,))),
    _case(Pairs("triplet_loss", 8192, 8, _all, ALL), Target(8, (GRAM,))),
    # The peer's call takes 14 s and 6.5 GB.
    _case(Pairs("ntxent_loss", 512, 4, losses.NTXentLoss), Target(1 / 1000, (PEER,)), rounds=1),
    _case(Pairs("ntxent_loss", 2048, 8, losses.NTXentLoss), Target(4, (GRAM,))),
    _case(Pairs("supcon_loss", 2048, 8, losses.SupConLoss), Target(4, (GRAM,))),
    _case(Pairs("multi_similarity_loss", 2048, 8, losses.MultiSimilarityLoss), Target(4, (GRAM,))),
    _case(Pairs("circle_loss", 2048, 8, losses.CircleLoss), Target(4, (GRAM,))),
    _case(Pairs("contrastive_loss", 2048, 8, losses.ContrastiveLoss)),
)


# ---- Growth -----------------------------------------------------------------------------------

CURVES = {
    "triplet_loss": lambda batch: Pairs("triplet_loss", batch, 4, _all, ALL),
    "ntxent_loss": lambda batch: Pairs("ntxent_loss", batch, 4, losses.NTXentLoss),
}
BATCHES = (256, 512, 1024, 2048, 4096, 8192, 16384)
#: A curve ends where a call takes longer.
SECONDS = 10


def one_call(loss: str, batch: int, name: str, num_threads: int) -> None:
    """Print the median seconds of up to nine warm calls, and how they raise the peak of memory."""
    call = CURVES[loss](batch).make(num_threads, False)[name]
    call()
    Path("/proc/self/clear_refs").write_text("5")
    before, seconds = _peak(), list[float]()
    while len(seconds) < 9 and sum(seconds) < 1:
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    print(json.dumps([median(seconds), _peak() - before]))


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def curve(loss: str, name: str, num_threads: int) -> list[tuple[int, float, float]]:
    """Return batches with seconds and MiB, as far as the contender goes."""
    points = []
    for batch in BATCHES:
        arguments = ["--one", loss, str(batch), name, "--threads", str(num_threads)]
        child = subprocess.run(
            [sys.executable, __file__, *arguments], capture_output=True, text=True, check=False
        )
        if child.returncode:
            break
        seconds, size = json.loads(child.stdout)
        points.append((batch, seconds, max(size, 4096) / 2**20))
        print(f"{loss} {name} {batch}: {seconds * 1e3:.2f} ms, {size / 2**20:.1f} MiB", flush=True)
        if seconds > SECONDS:
            break
    return points


def growth(path: str, num_threads: int) -> None:
    """Plot time and peak memory over the batch."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for colour, loss in enumerate(CURVES):
        for name, style in ((FUSEDLOSS, "o-"), (PEER, "s--")):
            points = curve(loss, name, num_threads)
            for axis, values in zip(axes, list(zip(*points, strict=True))[1:], strict=True):
                label = f"{loss}, {name}"
                axis.loglog([p[0] for p in points], values, style, color=f"C{colour}", label=label)
    for axis, label in zip(axes, ("seconds", "MiB beyond inputs and gradient"), strict=True):
        axis.set(xlabel="batch", ylabel=label, xticks=BATCHES, xticklabels=BATCHES)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    figure.suptitle(
        f"value + gradient, float32, {FEATURES} features, 4 a class, threads: {num_threads}"
    )
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plot", nargs="?", default="growth.png")
    parser.add_argument("--threads", type=int, default=fl.get_num_threads())
    parser.add_argument("--one", nargs=3, metavar=("LOSS", "BATCH", "CONTENDER"))
    arguments = parser.parse_args()
    if arguments.one:
        loss, batch, name = arguments.one
        one_call(loss, int(batch), name, arguments.threads)
    else:
        growth(arguments.plot, arguments.threads)


if __name__ == "__main__":
    main()
