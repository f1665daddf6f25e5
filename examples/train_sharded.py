"""Train an embedding on more classes than one process would hold, on the processes of torchrun.

    torchrun --nproc-per-node 2 examples/train_sharded.py --checkpoint identities

Each process has the weights of its share of the classes and a batch of its own. Started again,
with any number of processes, it goes on from the checkpoint. The data are made up: an identity is
a point, its pictures are points around it, and the network is to tell them apart.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from fusedloss.torch.distributed import ShardedArcFaceLoss

PIXELS, NOISE = 32, 0.6


def pictures(identities: Tensor) -> Tensor:
    """Return a new picture of each identity."""
    points = [
        torch.randn(PIXELS, generator=torch.Generator().manual_seed(int(identity)))
        for identity in identities
    ]
    return torch.stack(points) + NOISE * torch.randn(len(identities), PIXELS)


@torch.no_grad()
def retrieval(model: nn.Module, classes: int, pairs: int = 500) -> float:
    """Return how often the nearest of `pairs` other pictures is of the same identity."""
    identities = torch.randperm(classes)[:pairs]
    one, other = (normalize(model(pictures(identities)), dim=-1) for _ in range(2))
    nearest = (one @ other.T).argmax(-1)
    return (nearest == torch.arange(len(identities))).double().mean().item()


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--batch", type=int, default=256, help="rows of each process")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()

    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(PIXELS, 256), nn.ReLU(), nn.Linear(256, options.features))
    parallel = DistributedDataParallel(network)
    head = ShardedArcFaceLoss(options.features, options.classes, margin=0.2, scale=32.0)
    whole = nn.ModuleDict({"network": network, "head": head})
    steps = torch.optim.SGD(whole.parameters(), lr=0.1, momentum=0.9)
    if options.checkpoint and options.checkpoint.exists():
        parameters, of_steps = get_state_dict(whole, steps)
        state = {"parameters": parameters, "steps": of_steps}
        dcp.load(state, checkpoint_id=options.checkpoint)
        set_state_dict(
            whole, steps, model_state_dict=state["parameters"], optim_state_dict=state["steps"]
        )

    torch.manual_seed(1 + rank)
    started = time.perf_counter()
    for step in range(1, options.steps + 1):
        identities = torch.randint(0, options.classes, (options.batch,))
        loss = head(parallel(pictures(identities)), identities)
        steps.zero_grad()
        loss.backward()
        steps.step()
        if rank == 0 and step % 20 == 0:
            rate = step * options.batch * ranks / (time.perf_counter() - started)
            found = retrieval(network, options.classes)
            print(f"step {step}: loss {loss:.3f}, retrieval {found:.1%}, {rate:,.0f} rows/s")

    if options.checkpoint:
        parameters, of_steps = get_state_dict(whole, steps)
        dcp.save({"parameters": parameters, "steps": of_steps}, checkpoint_id=options.checkpoint)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
