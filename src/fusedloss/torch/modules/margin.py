"""Margin-softmax heads that own the weights of their classes."""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, normalize

import fusedloss
from fusedloss import _check
from fusedloss._types import Gradient, Reduction
from fusedloss.sampling import sample_classes
from fusedloss.torch import functional
from fusedloss.torch._autograd import wide
from fusedloss.torch._margin import (
    HEADS,
    centers_of,
    expect_labels,
    expect_options,
    of_classes,
)
from fusedloss.torch._softmax import without_masked
from fusedloss.torch.modules._fields import Module, with_options

__all__ = [
    "ASoftmaxLoss",
    "AdaFaceLoss",
    "ArcFaceLoss",
    "CombinedMarginLoss",
    "CosFaceLoss",
    "CurricularFaceLoss",
    "L2SoftmaxLoss",
    "LSoftmaxLoss",
    "MagFaceLoss",
    "NormFaceLoss",
    "SphereFaceLoss",
    "SubcenterArcFaceLoss",
]


def _coalesce(weight: Tensor) -> None:
    """Have a sparse gradient say that it is coalesced, as its rows are distinct and rising.

    torch forgets it, and optimisers would sort and copy the rows.
    """
    gradient = weight.grad
    if gradient is None or not gradient.is_sparse or gradient.requires_grad:
        return
    indices, values = gradient._indices(), gradient._values()
    if (indices[0, 1:] > indices[0, :-1]).all():
        weight.grad = torch.sparse_coo_tensor(
            indices, values, gradient.shape, check_invariants=False, is_coalesced=True
        )
    else:
        weight.grad = gradient.coalesce()


def expect_features(module: Any, embeddings: Tensor) -> None:
    """Raise ValueError for embeddings of another size, which may have been given as the other."""
    dim, classes = module.embedding_dim, module.num_classes
    if embeddings.dim() and embeddings.shape[-1] != dim:
        hint = ""
        if embeddings.shape[-1] == classes:
            hint = f": its arguments are (embedding_dim, num_classes), here ({dim}, {classes})"
        raise ValueError(
            f"embeddings has shape {tuple(embeddings.shape)}: expected (..., {dim}), the "
            f"embedding_dim of {type(module).__name__}{hint}"
        )


@with_options
class Head(Module):
    """A margin-softmax head: a weight of shape (num_classes, embedding_dim), and a loss."""

    loss: ClassVar[str]  # the function of functional
    of_module: ClassVar[tuple[str, ...]] = (
        "embedding_dim",
        "num_classes",
        "class_weight",
        "sample_rate",
    )

    embedding_dim: int
    num_classes: int
    _: KW_ONLY
    class_weight: Tensor | None = None
    ignore_index: int = -1
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    annealing: float = 0.0
    gradient: Gradient = "analytic"
    reduction: Reduction = "mean"
    workspace: int | None = None
    sample_rate: float = 1.0
    seed: InitVar[int | None] = None
    device: InitVar[Any] = None
    dtype: InitVar[torch.dtype | None] = None

    def __post_init__(self, seed: int | None, device: Any, dtype: torch.dtype | None) -> None:
        """Check the options, and make the weight."""
        super().__post_init__()
        self.embedding_dim = _check.count("embedding_dim", self.embedding_dim)
        self.num_classes = _check.count("num_classes", self.num_classes)
        self.sample_rate = _check.sample_share("sample_rate", self.sample_rate)
        self.generator = _check.generator("seed", seed)
        self.centers = centers_of(HEADS[self.loss], self.keywords())
        self.weight = self.new_weight(self.num_classes * self.centers, device, dtype)
        self._watch()
        self.reset_parameters()

    def check(self) -> None:
        """Raise what a call raises for options that are wrong whatever the input."""
        if self.class_weight is not None and not isinstance(self.class_weight, Tensor):
            raise TypeError(f"class_weight is {self.class_weight!r}: expected a tensor")
        expect_options(getattr(fusedloss, self.loss), **self.keywords())

    def _watch(self) -> None:
        """Have the weight's sparse gradients coalesced."""
        if self.sample_rate < 1:
            self.weight.register_post_accumulate_grad_hook(_coalesce)  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copied module, whose weight has lost its hook."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._watch()

    def new_weight(self, rows: int, device: Any, dtype: torch.dtype | None) -> nn.Parameter:
        """Return the parameter, its numbers still to be drawn."""
        return nn.Parameter(torch.empty(rows, self.embedding_dim, device=device, dtype=dtype))

    @property
    def weight_here(self) -> Tensor:
        """The weights of the classes that are in this process: all."""
        return self.weight

    def reset_parameters(self) -> None:
        """Draw the weights from a normal distribution of standard deviation 0.01."""
        nn.init.normal_(self.weight, std=0.01)

    def forward(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        embeddings : Tensor of floats, shape (N, embedding_dim)
            What a network gives; normalised here where the loss is of cosines.
        target : Tensor of integers, shape (N,)
            Class indices in [0, num_classes), or `ignore_index`.
        sample_weight : Tensor of floats, shape (N,), optional
            A weight per embedding; ones if absent. A mean divides by its sum.
        where : Tensor of bools, shape (N,), optional
            Which embeddings take part; all do if absent. The others are ignored.

        Returns
        -------
        Tensor
            The loss, of shape (N,) if it is not reduced. In training with a `sample_rate` below 1
            it is that of a sample of the classes.
        """
        expect_features(self, embeddings)
        target = self.labels_of(embeddings, target, where)
        weight, class_weight = self.weight_here, self.class_weight
        if self.training and self.sample_rate < 1:
            weight, class_weight, target = self.sample(target)
        return self.evaluate(embeddings, target, sample_weight, weight, class_weight)

    def labels_of(self, embeddings: Tensor, target: Tensor, where: Tensor | None) -> Tensor:
        """Return the class indices of embeddings, `ignore_index` where they take no part."""
        expect_labels(target, embeddings.shape[:-1])
        if where is None:
            return target
        return without_masked(where, target.shape, target, None, self.ignore_index)[0]

    def sample(self, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the weights of a sample of the classes here, and the targets in it."""
        classes, among = sample_classes(
            target.numpy(),
            len(self.weight_here) // self.centers,
            self.sample_rate,
            ignore_index=self.ignore_index,
            seed=self.generator,
        )
        chosen = torch.from_numpy(classes)
        rows = (chosen.unsqueeze(-1) * self.centers + torch.arange(self.centers)).flatten()
        weight = embedding(rows, self.weight_here, sparse=True)
        class_weight = None if self.class_weight is None else self.class_weight[chosen]
        return weight, class_weight, torch.from_numpy(among)

    def counted(self, target: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return which embeddings count: neither ignored nor of weight 0."""
        counted = target != self.ignore_index
        if sample_weight is not None:
            counted = counted & (sample_weight != 0)
        if self.class_weight is not None and not self.label_smoothing:
            counted = counted & (self.weights_of(target, self.class_weight) != 0)
        return counted

    def weights_of(self, target: Tensor, class_weight: Tensor) -> Tensor:
        """Return the weights of the target's classes; of what is no class, any."""
        return class_weight[target.long().clamp(0, len(class_weight) - 1)]

    def evaluate(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        weight: Tensor,
        class_weight: Tensor | None,
    ) -> Tensor:
        """Compute the loss of some classes."""
        loss: Tensor = getattr(functional, self.loss)(
            embeddings,
            weight,
            target,
            class_weight=class_weight,
            sample_weight=sample_weight,
            **self.keywords(),
        )
        return loss

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits without a margin, for evaluation.

        Parameters
        ----------
        embeddings : Tensor of floats, shape (N, embedding_dim)
            What a network gives.

        Returns
        -------
        Tensor, shape (N, num_classes)
            Scaled cosines, or what the loss has instead; the largest is the predicted class's.
        """
        head = HEADS[self.loss]
        x = embeddings if head.keep_norm else normalize(embeddings, dim=-1)
        weight = self.weight_here
        weight = weight if head.keep_weight_norm else normalize(weight, dim=-1)
        options = self.keywords()
        return head.scale(**options) * of_classes(head, linear(x, weight), options)


def _statistic(start: float, device: Any, dtype: torch.dtype | None) -> Tensor:
    """Return a number that follows those of a module of a dtype."""
    wide = torch.promote_types(dtype or torch.get_default_dtype(), torch.float32)
    return torch.tensor(start, device=device, dtype=wide)


def _follow(statistic: Tensor, of_batch: Tensor, share: float) -> None:
    """Move a statistic a share of the way to that of a batch."""
    statistic.lerp_(of_batch.to(statistic.dtype), share)


@with_options
class ArcFaceLoss(Head):
    """ArcFace: an additive angular margin: `fusedloss.torch.functional.arcface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale, easy_margin
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ArcFaceLoss
    >>> head = ArcFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "arcface_loss"

    margin: float = 0.5
    scale: float = 64.0
    easy_margin: bool = False


@with_options
class CosFaceLoss(Head):
    """CosFace: an additive margin on the cosine: `fusedloss.torch.functional.cosface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CosFaceLoss
    >>> head = CosFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "cosface_loss"

    margin: float = 0.35
    scale: float = 64.0


@with_options
class CombinedMarginLoss(Head):
    """All three margins at once: `fusedloss.torch.functional.combined_margin_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    m1, m2, m3, scale, interclass_filtering_threshold
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CombinedMarginLoss
    >>> head = CombinedMarginLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "combined_margin_loss"

    m1: float = 1.0
    m2: float = 0.5
    m3: float = 0.0
    scale: float = 64.0
    interclass_filtering_threshold: float = 0.0


@with_options
class NormFaceLoss(Head):
    """NormFace: scaled cosines without a margin: `fusedloss.torch.functional.normface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    scale
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import NormFaceLoss
    >>> head = NormFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "normface_loss"

    scale: float = 20.0


@with_options
class L2SoftmaxLoss(Head):
    """Embeddings on a sphere of radius `alpha`: `fusedloss.torch.functional.l2_softmax_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    alpha
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import L2SoftmaxLoss
    >>> head = L2SoftmaxLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "l2_softmax_loss"

    alpha: float = 16.0


@with_options
class LSoftmaxLoss(Head):
    """Large-margin softmax: `fusedloss.torch.functional.l_softmax_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import LSoftmaxLoss
    >>> head = LSoftmaxLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "l_softmax_loss"

    margin: float = 4.0
    scale: float = 1.0


@with_options
class ASoftmaxLoss(Head):
    """A-Softmax: a multiplicative angular margin: `fusedloss.torch.functional.a_softmax_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import ASoftmaxLoss
    >>> head = ASoftmaxLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "a_softmax_loss"

    margin: float = 4.0
    scale: float = 1.0


@with_options
class SphereFaceLoss(Head):
    """SphereFace on normalised embeddings: `fusedloss.torch.functional.sphereface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SphereFaceLoss
    >>> head = SphereFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "sphereface_loss"

    margin: float = 1.5
    scale: float = 30.0


@with_options
class SubcenterArcFaceLoss(Head):
    """ArcFace with several centers per class: `fusedloss.torch.functional.subcenter_arcface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes * sub_centers, embedding_dim).
    margin, scale, sub_centers
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import SubcenterArcFaceLoss
    >>> head = SubcenterArcFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "subcenter_arcface_loss"

    margin: float = 0.5
    scale: float = 64.0
    sub_centers: int = 3


@with_options
class MagFaceLoss(Head):
    """A margin that grows with the norm: `fusedloss.torch.functional.magface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    scale, l_a, u_a, l_margin, u_margin, lambda_g, easy_margin
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import MagFaceLoss
    >>> head = MagFaceLoss(8, 10)
    >>> loss = head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3]))
    >>> loss.backward()
    >>> head.logits(torch.ones(4, 8)).shape
    torch.Size([4, 10])
    """

    loss = "magface_loss"

    scale: float = 64.0
    l_a: float = 10.0
    u_a: float = 110.0
    l_margin: float = 0.45
    u_margin: float = 0.8
    lambda_g: float = 35.0
    easy_margin: bool = True


@with_options
class CurricularFaceLoss(Head):
    """ArcFace that turns to hard negatives: `fusedloss.torch.functional.curricularface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale
        As in the function.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Notes
    -----
    The buffer `t` follows the mean of the targets' cosines, a hundredth of the way in each call in
    training.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import CurricularFaceLoss
    >>> head = CurricularFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    """

    loss = "curricularface_loss"
    statistics = ("t",)

    t: Tensor = field(init=False)
    margin: float = 0.5
    scale: float = 64.0

    def __post_init__(self, seed: int | None, device: Any, dtype: torch.dtype | None) -> None:
        """Start from no cosines."""
        self.register_buffer("t", _statistic(0.0, device, dtype))
        super().__post_init__(seed, device, dtype)

    def keywords(self) -> dict[str, Any]:
        """Return the function's options."""
        return {**super().keywords(), "t": self.t.item()}

    def forward(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; in training after moving `t`."""
        target = self.labels_of(embeddings, target, where)
        counted = self.counted(target, sample_weight)
        if self.training and counted.any():
            cosines = self.target_cosines(embeddings.detach()[counted], target[counted])
            _follow(self.t, cosines.mean(), 0.01)
        return super().forward(embeddings, target, sample_weight)

    def target_cosines(self, embeddings: Tensor, target: Tensor) -> Tensor:
        """Return the cosines of the angles between embeddings and the weights of their classes."""
        x, w = wide(embeddings), wide(self.weight.detach()[target.long()])
        return (normalize(x, dim=-1) * normalize(w, dim=-1)).sum(-1)


@with_options
class AdaFaceLoss(Head):
    """Margins by the embedding's norm: `fusedloss.torch.functional.adaface_loss`.

    Parameters
    ----------
    embedding_dim, num_classes
        The sizes of `weight`, a parameter of shape (num_classes, embedding_dim).
    margin, scale, h
        As in the function.
    t_alpha : float in [0, 1], default 1
        How far the buffers `norm_mean` and `norm_std` move to those of the batch in each call in
        training.
    class_weight, ignore_index, label_smoothing, focal_gamma, annealing, gradient, reduction,
    workspace
        As in the function.
    sample_rate, seed
        As in `fusedloss.sample_classes`, with which the weight's gradient is a sparse tensor.
    device, dtype
        Of the weight.

    Examples
    --------
    >>> import torch
    >>> from fusedloss.torch import AdaFaceLoss
    >>> head = AdaFaceLoss(8, 10)
    >>> head(torch.ones(4, 8), torch.tensor([0, 1, 2, 3])).backward()
    """

    loss = "adaface_loss"
    of_module = (*Head.of_module, "t_alpha")
    statistics = ("norm_mean", "norm_std")

    norm_mean: Tensor = field(init=False)
    norm_std: Tensor = field(init=False)
    margin: float = 0.4
    scale: float = 64.0
    h: float = 0.333
    t_alpha: float = 1.0

    def __post_init__(self, seed: int | None, device: Any, dtype: torch.dtype | None) -> None:
        """Start where the paper's code does."""
        self.register_buffer("norm_mean", _statistic(20.0, device, dtype))
        self.register_buffer("norm_std", _statistic(100.0, device, dtype))
        super().__post_init__(seed, device, dtype)
        self.t_alpha = _check.in_range("t_alpha", self.t_alpha, 0, 1)

    def keywords(self) -> dict[str, Any]:
        """Return the function's options."""
        statistics = {name: getattr(self, name).item() for name in self.statistics}
        return {**super().keywords(), **statistics}

    def forward(
        self,
        embeddings: Tensor,
        target: Tensor,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; in training after moving the statistics of the norms."""
        target = self.labels_of(embeddings, target, where)
        counted = self.counted(target, sample_weight)
        if self.training and counted.any():
            norms = wide(embeddings.detach()[counted]).norm(dim=-1).clamp(1e-3, 100)
            std = norms.std() if len(norms) > 1 else torch.zeros_like(norms[0])
            _follow(self.norm_mean, norms.mean(), self.t_alpha)
            _follow(self.norm_std, std, self.t_alpha)
        return super().forward(embeddings, target, sample_weight)
