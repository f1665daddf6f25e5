"""Modules that own the weights of a rank's classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, field
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

import fusedloss
from fusedloss import _check
from fusedloss._types import Precision
from fusedloss.torch import modules as unsharded
from fusedloss.torch._autograd import as_autocast
from fusedloss.torch._margin import expect_options
from fusedloss.torch.distributed._call import agreed, plain
from fusedloss.torch.distributed._group import Facts, Group, exchange
from fusedloss.torch.distributed._sharded import (
    Layer,
    Rows,
    Spec,
    evaluate,
    gather,
    part_of,
    target_cosines,
)
from fusedloss.torch.distributed.functions import class_range, sharded_linear_cross_entropy
from fusedloss.torch.modules._fields import Module, with_options
from fusedloss.torch.modules.margin import Head


def own_generator() -> torch.Generator:
    """Return random numbers that differ from rank to rank, where those of all ranks are alike."""
    seed = int(torch.randint(2**40, ()))
    return torch.Generator().manual_seed(seed + dist.get_rank())


def sharded_tensor(local: Tensor, rows: int, group: Group) -> DTensor:
    """Return a tensor of `rows` rows over a group, of which this rank has some."""
    mesh = DeviceMesh.from_group(group or dist.distributed_c10d._get_default_group(), "cpu")
    return DTensor.from_local(
        local,
        mesh,
        [Shard(0)],
        run_check=False,
        shape=torch.Size((rows, *local.shape[1:])),
        stride=local.stride(),
    )


@with_options
class ShardedLinearCrossEntropyLoss(Module):
    """A linear layer and its cross-entropy, the classes shared out among ranks.

    `sharded_linear_cross_entropy` with the weights of this rank's classes, which are those of
    `class_range`.

    Parameters
    ----------
    in_features, num_classes : int
        The sizes of the layer, of all ranks together.
    bias : bool, default False
        Whether the layer has a bias.
    weight : tensor of floats, shape (C of this rank,), optional
        A weight for each of this rank's classes.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks that share the classes; all if absent.
    dtype : torch.dtype, optional
        That of the layer.
    reduction, ignore_index, label_smoothing, softcap, z_loss, precision, workspace
        As in the function.

    Notes
    -----
    `linear_weight`, of shape (num_classes, in_features), and `linear_bias` are tensors of
    `torch.distributed.tensor` that are sharded by their first dimension. So is what an optimiser
    keeps of them, and `torch.distributed.checkpoint` saves and loads both with any number of ranks.
    Keep this module out of DistributedDataParallel, which is for the layers before it.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedLinearCrossEntropyLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedLinearCrossEntropyLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """

    function = staticmethod(sharded_linear_cross_entropy)
    of_module = ("in_features", "num_classes", "weight")

    in_features: int
    num_classes: int
    _: KW_ONLY
    bias: InitVar[bool] = False
    weight: Tensor | None = None
    process_group: Group = field(default=None, repr=False)
    dtype: InitVar[torch.dtype | None] = None
    reduction: Literal["mean", "sum"] = "mean"
    ignore_index: int = -100
    label_smoothing: float = 0.0
    softcap: float | None = None
    z_loss: float = 0.0
    precision: Precision | None = None
    workspace: int | None = None

    def __post_init__(self, bias: bool, dtype: torch.dtype | None) -> None:
        """Check the options, and make this rank's part of the layer."""
        super().__post_init__()
        classes, group = _check.count("num_classes", self.num_classes), self.process_group
        first, end = class_range(classes, group)
        local = torch.empty(end - first, _check.count("in_features", self.in_features), dtype=dtype)
        self.linear_weight = nn.Parameter(sharded_tensor(local, classes, group))
        self.linear_bias = (
            nn.Parameter(sharded_tensor(local.new_empty(end - first), classes, group))
            if bias
            else None
        )
        self.reset_parameters()

    def check(self) -> None:
        """Raise what a call raises for options that are wrong whatever the input."""
        expect_options(fusedloss.linear_cross_entropy, **self.keywords())

    def reset_parameters(self) -> None:
        """Draw weights and bias as torch.nn.Linear does."""
        bound, generator = self.in_features**-0.5, own_generator()
        for parameter in self.parameters():
            nn.init.uniform_(_local(parameter).detach(), -bound, bound, generator=generator)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Compute the loss of all ranks' inputs."""
        return self.call(
            input,
            _local(self.linear_weight),
            target,
            linear_bias=None if self.linear_bias is None else _local(self.linear_bias),
            weight=self.weight,
            sample_weight=sample_weight,
            process_group=self.process_group,
        )


def _local(parameter: Tensor) -> Tensor:
    """Return this rank's part of a parameter, differentiably."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


@with_options
class Sharded(Head):
    """A margin-softmax head whose classes are shared out among ranks.

    Before the head of that name among the bases of a class, it gives that head the rows of all
    ranks and the weights of this rank's classes, and evaluates it over the group.

    `weight`, of shape (num_classes, embedding_dim), is a tensor of `torch.distributed.tensor` that
    is sharded by classes. With a `sample_rate` it is a plain one of this rank's classes alone,
    because a sharded tensor cannot have a sparse gradient; in `state_dict` it is sharded then, too.
    What an optimiser keeps of it: see `shard_state_dict`.

    Examples
    --------
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import Sharded, ShardedArcFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedArcFaceLoss(8, 10)
    >>> isinstance(head, Sharded)
    True
    >>> head.weight.shape, head.weight_here.shape  # of all ranks, of this one
    (torch.Size([10, 8]), torch.Size([10, 8]))
    >>> dist.destroy_process_group()
    """

    _: KW_ONLY
    process_group: Group = field(default=None, repr=False)

    #: What the ranks have said of the call at hand.
    _table: list[Facts] = field(init=False, repr=False)

    def __post_init__(self, seed: int | None, device: Any, dtype: torch.dtype | None) -> None:
        """Check the options, and make the weight of this rank's classes."""
        super().__post_init__(seed, device, dtype)
        if seed is not None:  # each rank draws from classes of its own
            self.generator = np.random.default_rng([seed, dist.get_rank(self.process_group)])

    def new_weight(self, rows: int, device: Any, dtype: torch.dtype | None) -> nn.Parameter:
        """Return the parameter, of which the weights of this rank's classes are here."""
        first, end = class_range(rows, self.process_group)
        if first % self.centers or end % self.centers:
            raise ValueError(
                f"num_classes is {self.num_classes}: expected a multiple of the number of ranks, "
                "so that all centers of a class are on one"
            )
        local = torch.empty(end - first, self.embedding_dim, dtype=dtype)
        if self.sample_rate < 1:
            return nn.Parameter(local)
        return nn.Parameter(self.sharded(local))

    def sharded(self, local: Tensor) -> DTensor:
        """Return what the ranks have for their weights as one tensor; `local` is this rank's."""
        return sharded_tensor(local, self.num_classes * self.centers, self.process_group)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        weight = destination[f"{prefix}weight"]
        if not isinstance(weight, DTensor):
            destination[f"{prefix}weight"] = self.sharded(weight)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if isinstance(weight, DTensor) and not isinstance(self.weight, DTensor):
            state_dict[f"{prefix}weight"] = weight.to_local()
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def weight_here(self) -> Tensor:
        """The weights of the classes of this rank."""
        return _local(self.weight)

    def reset_parameters(self) -> None:
        """Draw the weights from a normal distribution of standard deviation 0.01."""
        nn.init.normal_(self.weight_here.detach(), std=0.01, generator=own_generator())

    def _spec(self) -> Spec:
        options = self.keywords()
        del options["reduction"], options["ignore_index"]
        return Spec(
            getattr(fusedloss, self.loss),
            "class_weight",
            self.reduction,
            self.ignore_index,
            options,
            self.process_group,
        )

    def forward(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss of all ranks' embeddings."""
        target = target if where is None else self.labels_of(embeddings, target, where)
        spec, rows = self._spec(), Rows(*as_autocast(embeddings, target, sample_weight))
        layer = Layer(*as_autocast(self.weight_here, None, self.class_weight))
        self._table = agreed(spec, rows, layer)
        return super().forward(*gather(spec, self._table, plain(rows)))

    def sample(self, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the weights of a sample of this rank's classes, and targets in those of all."""
        ignored = self._spec().ignore_index
        part = part_of(self._table, self.process_group)
        own = part.own(target) & (target != ignored)
        weight, class_weight, among = super().sample(torch.where(own, target - part.first, ignored))
        facts = self._table[dist.get_rank(self.process_group)]
        sampled = facts._replace(classes=len(weight) // self.centers)
        self._table = exchange(sampled, self.process_group)
        first = part_of(self._table, self.process_group).first
        elsewhere = target.where(target == ignored, min(ignored, 0) - 1)
        return weight, class_weight, torch.where(own, first + among, elsewhere)

    def weights_of(self, target: Tensor, class_weight: Tensor) -> Tensor:
        """Return the weights of the target's classes, of all ranks."""
        part = part_of(self._table, self.process_group)
        weights = super().weights_of(target - part.first, class_weight).where(part.own(target), 0)
        dist.all_reduce(weights, group=self.process_group)
        return weights

    def target_cosines(self, embeddings: Tensor, target: Tensor) -> Tensor:
        """Return the cosines of the angles between embeddings and the weights of their classes."""
        part, rows = part_of(self._table, self.process_group), Rows(embeddings, target, None)
        weight = self.weight_here.detach()
        return target_cosines(part, rows, weight, self.process_group).float()

    def evaluate(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        weight: Tensor,
        class_weight: Tensor | None,
    ) -> Tensor:
        """Compute the loss over the ranks."""
        rows = Rows(embeddings, target, sample_weight)
        layer = Layer(*as_autocast(weight, None, class_weight))
        return evaluate(self._spec(), self._table, rows, layer)


@with_options
class ShardedArcFaceLoss(Sharded, unsharded.ArcFaceLoss):
    """`fusedloss.torch.ArcFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedArcFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedArcFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedCosFaceLoss(Sharded, unsharded.CosFaceLoss):
    """`fusedloss.torch.CosFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedCosFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedCosFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedCombinedMarginLoss(Sharded, unsharded.CombinedMarginLoss):
    """`fusedloss.torch.CombinedMarginLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedCombinedMarginLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedCombinedMarginLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedNormFaceLoss(Sharded, unsharded.NormFaceLoss):
    """`fusedloss.torch.NormFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedNormFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedNormFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedL2SoftmaxLoss(Sharded, unsharded.L2SoftmaxLoss):
    """`fusedloss.torch.L2SoftmaxLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedL2SoftmaxLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedL2SoftmaxLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedLSoftmaxLoss(Sharded, unsharded.LSoftmaxLoss):
    """`fusedloss.torch.LSoftmaxLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedLSoftmaxLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedLSoftmaxLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedASoftmaxLoss(Sharded, unsharded.ASoftmaxLoss):
    """`fusedloss.torch.ASoftmaxLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedASoftmaxLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedASoftmaxLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedSphereFaceLoss(Sharded, unsharded.SphereFaceLoss):
    """`fusedloss.torch.SphereFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedSphereFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedSphereFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedSubcenterArcFaceLoss(Sharded, unsharded.SubcenterArcFaceLoss):
    """`fusedloss.torch.SubcenterArcFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedSubcenterArcFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedSubcenterArcFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedMagFaceLoss(Sharded, unsharded.MagFaceLoss):
    """`fusedloss.torch.MagFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedMagFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedMagFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedCurricularFaceLoss(Sharded, unsharded.CurricularFaceLoss):
    """`fusedloss.torch.CurricularFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedCurricularFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedCurricularFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedAdaFaceLoss(Sharded, unsharded.AdaFaceLoss):
    """`fusedloss.torch.AdaFaceLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedAdaFaceLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedAdaFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedProxyNCALoss(Sharded, unsharded.ProxyNCALoss):
    """`fusedloss.torch.ProxyNCALoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedProxyNCALoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedProxyNCALoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


@with_options
class ShardedSoftTripleLoss(Sharded, unsharded.SoftTripleLoss):
    """`fusedloss.torch.SoftTripleLoss`, the classes shared out among ranks: see `Sharded`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedSoftTripleLoss
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedSoftTripleLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    >>> dist.destroy_process_group()
    """


def shard_state_dict(optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
    """Have an optimiser's state dict hold as sharded tensors what it keeps of sampled heads.

    For `torch.distributed.checkpoint`, which then saves and loads it with any number of ranks. Only
    heads with a `sample_rate` need it: the parameters of others are sharded tensors themselves.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        That of all or some of the parameters. A `torch.optim.SparseAdam` that has not taken a step
        is given its first state, for which torch would have it take one with dense gradients.
    module : torch.nn.Module
        A sharded head, or a module that has some.

    Notes
    -----
    Sparse state, such as the momentum of sparse gradients, is dense in the state dict, and once it
    is loaded.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> from fusedloss.torch.distributed import ShardedArcFaceLoss, shard_state_dict
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> head = ShardedArcFaceLoss(8, 10, sample_rate=0.5)
    >>> steps = torch.optim.SparseAdam(head.parameters())
    >>> shard_state_dict(steps, head)
    >>> type(steps.state_dict()["state"][0]["exp_avg"]).__name__
    'DTensor'
    >>> dist.destroy_process_group()
    """
    heads = {id(each.weight): each for each in module.modules() if isinstance(each, Sharded)}

    def changed(
        state_dict: dict[str, Any], change: Callable[[Sharded, Any], Any]
    ) -> dict[str, Any]:
        state = dict(state_dict["state"])
        for group, named in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
            for parameter, name in zip(group["params"], named["params"], strict=True):
                head = heads.get(id(parameter))
                if head is not None and name in state:
                    state[name] = {key: change(head, x) for key, x in state[name].items()}
        return {**state_dict, "state": state}

    def sharded(head: Sharded, x: Any) -> Any:
        if not isinstance(x, Tensor) or isinstance(x, DTensor) or x.shape != head.weight.shape:
            return x
        return head.sharded(x.to_dense())

    def local(head: Sharded, x: Any) -> Any:
        return _local(x) if not isinstance(head.weight, DTensor) and isinstance(x, Tensor) else x

    optimizer.register_state_dict_post_hook(lambda _, state_dict: changed(state_dict, sharded))
    optimizer.register_load_state_dict_pre_hook(lambda _, state_dict: changed(state_dict, local))
    if isinstance(optimizer, torch.optim.SparseAdam) and not optimizer.state:
        _start(optimizer)


def _start(optimizer: torch.optim.SparseAdam) -> None:
    """Have an optimiser make its state, by a step of gradients without rows."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters]
    for p in parameters:
        p.grad = torch.zeros(p.shape, dtype=p.dtype, layout=torch.sparse_coo)
    optimizer.step()  # type: ignore[no-untyped-call]
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient
        optimizer.state[p]["step"] = 0
