r"""Losses of pairs against pytorch-metric-learning, in grams: `torch.mm(E, E')` of the embeddings.

    python benchmarks/metric_learning.py [--threads 2] [--growth growth.png]

The contenders of a row take turns, and ratios are medians over the rounds. `--growth` plots how
time and peak memory grow with the batch, each in a process of its own, until the peer does not fit.
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
from fusedloss.cli._memory import available_memory
from fusedloss.cli._timing import ratio, time_in_turn

FEATURES = 128
PEER, GRAM = "pytorch-metric-learning", "gram"
TripletMarginMiner = miners.TripletMarginMiner


@dataclass(frozen=True)
class Row:
    """A loss on a batch, and what the project asks of itself: a figure over another's, at most."""

    loss: str
    batch: int
    per_class: int
    peer: Callable[[], Callable[..., Any]] | None = None
    bound: tuple[float, str] | None = None
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        options = "".join(f", {value}" for _, value in self.options)
        return f"{self.loss}{options}, {self.batch} x {FEATURES}, {self.per_class} a class"


def semihard() -> Callable[..., Any]:
    """Return the peer's loss of the semihard triplets."""
    loss, miner = losses.TripletMarginLoss(0.2), TripletMarginMiner(0.2, "semihard")
    return lambda e, y: loss(e, y, miner(e, y))


TRIPLETS = (("mining", "all"), ("normalize", True))
SEMIHARD = (("mining", "semihard"), ("normalize", True))

ROWS = (
    Row("triplet_loss", 512, 8, lambda: losses.TripletMarginLoss(0.2), (1 / 100, PEER), TRIPLETS),
    Row("triplet_loss", 512, 8, semihard, (1 / 100, PEER), SEMIHARD),
    Row("triplet_loss", 8192, 8, None, (8, GRAM), TRIPLETS),
    Row("triplet_loss", 8192, 4096, None, None, TRIPLETS),
    Row("ntxent_loss", 256, 8, losses.NTXentLoss),
    Row("ntxent_loss", 512, 8, losses.NTXentLoss, (1 / 1000, PEER)),
    Row("ntxent_loss", 2048, 8, None, (4, GRAM)),
    Row("supcon_loss", 2048, 8, losses.SupConLoss, (4, GRAM)),
    Row("multi_similarity_loss", 2048, 8, losses.MultiSimilarityLoss, (4, GRAM)),
    Row("circle_loss", 2048, 8, losses.CircleLoss, (4, GRAM)),
    Row("contrastive_loss", 2048, 8, losses.ContrastiveLoss),
)

#: What the peer holds: some arrays of positive by negative pairs (NT-Xent), of all pairs, or a few
#: bytes of every three embeddings (triplets).
PEER_ARRAYS = 8


def data(row: Row) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return embeddings and labels of a row."""
    rng = np.random.default_rng(0)
    e = rng.standard_normal((row.batch, FEATURES)).astype(np.float32)
    return e, np.arange(row.batch) // row.per_class


def peer_fits(row: Row) -> bool:
    """Whether this machine has the memory that the peer takes."""
    pairs = row.batch * (row.per_class - 1)
    negatives = row.batch * (row.batch - row.per_class)
    elements = pairs * negatives if row.loss == "ntxent_loss" else negatives
    if row.loss == "triplet_loss":
        elements = row.batch**3 // 8
    return PEER_ARRAYS * 4 * elements < (available_memory() or 0)


def contenders(row: Row, num_threads: int) -> dict[str, Callable[[], object]]:
    """Return value and gradient of a loss as functions without arguments, by name."""
    e, y = data(row)
    out, function = np.empty_like(e), fl.value_and_grad(getattr(fl, row.loss))
    tensor, labels = torch.tensor(e, requires_grad=True), torch.tensor(y)
    matrix, product = torch.tensor(e), torch.empty(row.batch, row.batch)
    made: dict[str, Callable[[], object]] = {
        "fusedloss": lambda: function(e, y, out=out, num_threads=num_threads, **dict(row.options)),
        GRAM: lambda: torch.mm(matrix, matrix.T, out=product),
    }
    if row.peer is not None and peer_fits(row):
        peer = row.peer()
        made[PEER] = lambda: torch.autograd.grad(peer(tensor, labels), tensor)
    return made


def table(num_threads: int) -> None:
    """Print every row's time, in milliseconds, grams and times the peer."""
    print(f"value + gradient, float32, {num_threads} threads")
    for row in ROWS:
        samples = time_in_turn(contenders(row, num_threads), seconds=1.5, min_rounds=3)
        own, grams = median(samples["fusedloss"]), ratio(samples, "fusedloss", GRAM)
        text = f"{row!s:60} {own * 1e3:9.2f} ms {grams:6.1f} grams"
        if PEER in samples:
            text += f"   peer {median(samples[PEER]) * 1e3:9.1f} ms"
            text += f" = {1 / ratio(samples, 'fusedloss', PEER):.0f} x"
        if row.bound is not None and row.bound[1] in samples:
            kept = ratio(samples, "fusedloss", row.bound[1]) <= row.bound[0]
            text += f"   {'' if kept else 'NOT '}<= {row.bound[0]:g} {row.bound[1]}"
        print(text, flush=True)


# ---- Growth -----------------------------------------------------------------------------------

CURVES = {
    "triplet_loss": lambda: losses.TripletMarginLoss(0.2),
    "ntxent_loss": losses.NTXentLoss,
}
BATCHES = (256, 512, 1024, 2048, 4096, 8192, 16384)
#: The peer's curve ends where a call takes longer.
PEER_SECONDS = 20


def one_call(loss: str, batch: int, name: str, num_threads: int) -> None:
    """Print the seconds and the peak bytes of a warm call."""
    options = TRIPLETS if loss == "triplet_loss" else ()
    row = Row(loss, batch, 4, CURVES[loss], None, options)
    call = contenders(row, num_threads)[name]
    call()
    Path("/proc/self/clear_refs").write_text("5")
    before, start = peak(), perf_counter()
    call()
    print(json.dumps([perf_counter() - start, peak() - before]))


def peak() -> int:
    """Return the high-water mark of resident memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def growth(path: str, num_threads: int) -> None:
    """Plot time and peak memory over the batch."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for loss in CURVES:
        for name in ("fusedloss", PEER):
            points: list[tuple[int, float, float]] = []
            for batch in BATCHES:
                arguments = ["--one", loss, str(batch), name, "--threads", str(num_threads)]
                child = subprocess.run(
                    [sys.executable, __file__, *arguments],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if child.returncode:
                    break
                seconds, size = json.loads(child.stdout)
                points.append((batch, seconds, size / 2**20))
                print(f"{loss} {name} {batch}: {seconds * 1e3:.2f} ms, {size / 2**20:.1f} MiB")
                if seconds > PEER_SECONDS:
                    break
            for axis, values in zip(axes, list(zip(*points, strict=True))[1:], strict=True):
                axis.loglog([p[0] for p in points], values, "o-", label=f"{loss}, {name}")
    for axis, label in zip(axes, ("seconds", "MiB beyond inputs and gradient"), strict=True):
        axis.set(xlabel="batch", ylabel=label)
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=fl.get_num_threads())
    parser.add_argument("--growth", metavar="FILE")
    parser.add_argument("--one", nargs=3, metavar=("LOSS", "BATCH", "CONTENDER"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        loss, batch, name = arguments.one
        one_call(loss, int(batch), name, arguments.threads)
    elif arguments.growth:
        growth(arguments.growth, arguments.threads)
    else:
        table(arguments.threads)


if __name__ == "__main__":
    main()
